"""The report page for Ant and other worlds with vector observations."""

import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from sensorium.core import checkpoint
from sensorium.core.env import closing
from sensorium.core.rollout import stream
from sensorium.core.seeding import row_seeds
from sensorium.envs.ant import Ant
from sensorium.envs.wrappers import altered
from sensorium.imitation.equations import recognition
from sensorium.systems.attention_neuron.figures.panels import OURS, TEACHER, agents_of, facts_of, recovery_section, treatments
from sensorium.systems.attention_neuron.model import SensoryPolicy
from sensorium.systems.attention_neuron.tables.agents import TrainedAgent
from sensorium.viz.curves import canvas, picture
from sensorium.viz.learning import learning
from sensorium.viz.report import Page, Section, compose, video
from sensorium.viz.video import beside, write_mp4

EPISODES = 8
TREATMENTS = (
    ("in order", ""), ("shuffled", "shuffle"), ("reshuffled every 100", "shuffle:every=100"), ("5 channels of noise", "noise:5"), ("20 % removed", "drop:0.2"),
)  # fmt: skip
VIDEO_STEPS = 240
"""steps of a video, of which every second is shown"""
RECOGNITION_STEPS, RECOGNITION_EPISODES = 150, 32
"""steps and episodes of the measurement of sensor recognition"""


def filmed(agent: TrainedAgent, steps: int) -> list[np.ndarray]:
    """Every second frame of an episode with shuffled sensors."""
    assert isinstance(agent.world, Ant)
    seeds, inner = row_seeds(4, 1), agent.world.filmed()
    sensed = altered(agent.world, "shuffle")
    own = sensed.own(seeds)  # type: ignore[attr-defined]
    layouts, histories = sensed.layouts(own), sensed.histories(own)  # type: ignore[attr-defined]
    obs, memory, found = inner.reset(seeds), agent.policy.begin(seeds), []
    with torch.no_grad():
        for t in range(min(steps, agent.world.horizon)):
            seen, histories = sensed.alter(obs, layouts, histories, own, t)  # type: ignore[attr-defined]
            action, memory = agent.policy.act(seen, memory, t)
            step = inner.step(action)
            obs = step.obs
            if t % 2 == 0:
                found.append(agent.world.picture(inner))
            if bool(step.terminated[0]):
                break
    inner.close()
    return found


def video_section(agents: dict[str, TrainedAgent]) -> Section | None:
    """A video of the agent and its teacher, both with shuffled sensors, from the same initial state."""
    names = [name for name in (OURS, TEACHER) if name in agents]
    if not isinstance(agents[OURS].world, Ant):
        return None
    clips = [filmed(agents[name], VIDEO_STEPS) for name in names]
    length = max(len(clip) for clip in clips)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shuffled.mp4"
        write_mp4(path, (beside(*(clip[min(t, len(clip) - 1)] for clip in clips)) for t in range(length)), fps=30)
        shown = video(path)
    who = " Left: " + OURS + ". Right: " + TEACHER + ", which depends on the order of its sensors." if len(names) > 1 else ""
    return Section("Video", ("All sensors are shuffled at the start of the episode.",), ((shown, f"The first {VIDEO_STEPS} steps of one episode (seed 4).{who} A video that stops has ended there."),))  # fmt: skip


def attention_section(agent: TrainedAgent) -> Section | None:
    """Mean and standard deviation of the attention weights over an episode."""
    if not isinstance(agent.policy, SensoryPolicy):
        return None
    seeds, weights = row_seeds(2, 1), []
    with closing(agent.world) as env, torch.no_grad():
        obs, memory = env.reset(seeds), agent.policy.begin(seeds)
        for t in range(min(300, agent.world.spec.horizon)):
            action, memory = agent.policy.act(obs, memory, t)
            weights.append(agent.policy.weights(memory[0])[0])
            obs = env.step(action).obs
    mean, sd = torch.stack(weights).mean(0), torch.stack(weights).std(0, correction=0)
    figure, axes = canvas(columns=2, height=4.4, width=9.2)
    names = agent.world.spec.sensors or tuple(str(i + 1) for i in range(len(mean)))
    for axis, values, title, colours, low in (
        (axes[0], mean, "mean", "RdBu_r", -1),
        (axes[1], sd, "standard deviation", "magma", 0),
    ):
        image = axis.imshow(values.numpy(), cmap=colours, vmin=low, vmax=1, aspect="auto")
        axis.set(title=title, xlabel="row of the code")
        axis.set_yticks(range(len(names)), names if axis is axes[0] else [""] * len(names), fontsize=7)
        axis.grid(False)
        figure.colorbar(image, ax=axis, shrink=0.7)
    text = "Each row of the code is a sum over sensors, weighted by attention. The weights are between -1 and 1. The index of a sensor is not an input of its neuron."
    return Section("Attention weights", (text,), ((picture(figure, "attention"), f"{len(weights)} steps of one episode, with sensors in order."),))  # fmt: skip


def recognition_section(folder: Path, agent: TrainedAgent) -> Section | None:
    """Accuracy over time of the linear layer that predicts a neuron's sensor from its hidden state; None without such a layer."""
    layer = checkpoint.restored(folder)[1].get("sensor-id/agent")
    if layer is None:
        return None
    sensors, correct, live = agent.world.spec.observation[0], [], []
    with closing(agent.world) as env:
        for moment in islice(stream(env, agent.policy, row_seeds(3, RECOGNITION_EPISODES)), RECOGNITION_STEPS):
            predicted = recognition(moment.memory[0], layer.view(sensors, -1)).argmax(2)
            correct.append((predicted == torch.arange(sensors)).float() * moment.live[:, None])
            live.append(moment.live.sum())
    share = (torch.stack(correct).sum(1) / torch.stack(live)[:, None]).mT
    figure, axis = canvas(height=4.4)
    image = axis.imshow(share.numpy(), cmap="viridis", vmin=0, vmax=1, aspect="auto")
    names = agent.world.spec.sensors or tuple(str(i + 1) for i in range(sensors))
    axis.set_yticks(range(sensors), names, fontsize=7)
    axis.set(xlabel="steps since the start")
    axis.grid(False)
    figure.colorbar(image, ax=axis, shrink=0.7, label="share of episodes")
    text = "All neurons start with the same state. Over time the state of a neuron becomes specific to its sensor, because its inputs are the sensor's values and the previous actions."
    means = ", ".join(f"{float(share[:, t - 1].mean()):.0%} after {t}" for t in (20, 50, 100) if t <= share.shape[1])
    what = f"Accuracy of a linear layer, trained together with the clone, that predicts the sensor of a neuron from its hidden state; over {RECOGNITION_EPISODES} episodes{f': {means} steps' if means else ''}."
    return Section("Sensor recognition", (text,), ((picture(figure, "recognition"), what),))  # fmt: skip


def sections(folder: Path) -> Page:
    """The report page of a run, a stage or a zoo agent."""
    agents = agents_of(folder)
    lead = "Scores of an agent with vector observations when its sensors are shuffled, removed, or mixed with noise."
    text = "A feed-forward network depends on the order of its sensors. A permutation-invariant agent has one identical small neuron per sensor, and each neuron has to infer which sensor it has."
    again = "After a reshuffle each neuron has another sensor, and its LSTM state still belongs to the old one. The curve is the reward per step before and after."
    ours = agents[OURS]
    made = compose((
        ("video", lambda: video_section(agents)),
        ("altered senses", lambda: treatments(agents, TREATMENTS, EPISODES, "Scores with altered senses", (text,))),
        ("learning curves", lambda: learning(folder)), ("attention", lambda: attention_section(ours)),
        ("sensor recognition", lambda: recognition_section(folder, ours)), ("recovery", lambda: recovery_section(agents, "shuffle", EPISODES, again)),
    ))  # fmt: skip
    title = f"{agents[OURS].world.spec.name.capitalize()} with shuffled sensors"
    return Page(title, lead, facts_of(folder), made)
