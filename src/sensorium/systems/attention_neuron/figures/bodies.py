"""The page of an agent with a body: Ant, and every other world of vectors that has no page of its own."""

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
from sensorium.systems.attention_neuron.figures.panels import OURS, TEACHER, cast, facts_of, learning, recovering, treated
from sensorium.systems.attention_neuron.model import SensoryPolicy
from sensorium.systems.attention_neuron.tables.agents import Player
from sensorium.viz.curves import canvas, picture
from sensorium.viz.report import Page, Section, video
from sensorium.viz.video import beside, write_mp4

EPISODES = 8
TREATMENTS = (
    ("in order", ""), ("shuffled", "shuffle"), ("reshuffled every 100", "shuffle:every=100"), ("5 channels of noise", "noise:5"), ("20 % unplugged", "drop:0.2"),
)  # fmt: skip
FILM = 240
"""steps of a video, of which every second is shown"""
KNOWING, KNOWN_IN = 150, 32
"""steps and episodes in which neurons are asked what they hear"""


def filmed(agent: Player, steps: int) -> list[np.ndarray]:
    """Every second step of a shuffled episode as a picture."""
    assert isinstance(agent.world, Ant)
    seeds, inner = row_seeds(4, 1), agent.world.filmed()
    sensed = altered(agent.world, "shuffle")
    own = sensed.own(seeds)  # type: ignore[attr-defined]
    layouts = sensed.layouts(own)  # type: ignore[attr-defined]
    obs, memory, found = inner.reset(seeds), agent.policy.begin(seeds), []
    with torch.no_grad():
        for t in range(min(steps, agent.world.horizon)):
            action, memory = agent.policy.act(sensed.alter(obs, layouts, own, t), memory, t)  # type: ignore[attr-defined]
            step = inner.step(action)
            obs = step.obs
            if t % 2 == 0:
                found.append(agent.world.picture(inner))
            if bool(step.terminated[0]):
                break
    inner.close()
    return found


def film(agents: dict[str, Player]) -> Section | None:
    """The shuffled agent beside its shuffled teacher, from the same start."""
    names = [name for name in (OURS, TEACHER) if name in agents]
    if not isinstance(agents[OURS].world, Ant):
        return None
    clips = [filmed(agents[name], FILM) for name in names]
    length = max(len(clip) for clip in clips)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shuffled.mp4"
        write_mp4(path, (beside(*(clip[min(t, len(clip) - 1)] for clip in clips)) for t in range(length)), fps=30)
        shown = video(path)
    who = " Left " + OURS + ", right " + TEACHER + ", which knows its sensors by their place." if len(names) > 1 else ""
    return Section("Watch it", ("All sensors were shuffled before it began.",), ((shown, f"One episode from seed 4, its first {FILM} steps.{who} A film that freezes ends there."),))  # fmt: skip


def listening(agent: Player) -> Section | None:
    """How much each row of the code listens to each sensor, over an episode."""
    if not isinstance(agent.policy, SensoryPolicy):
        return None
    seeds, weights = row_seeds(2, 1), []
    with closing(agent.world) as env, torch.no_grad():
        obs, memory = env.reset(seeds), agent.policy.begin(seeds)
        for t in range(min(300, agent.world.spec.horizon)):
            action, memory = agent.policy.act(obs, memory, t)
            weights.append(agent.policy.weights(memory[0])[0])
            obs = env.step(action).obs
    mean, spread = torch.stack(weights).mean(0), torch.stack(weights).std(0, correction=0)
    figure, axes = canvas(columns=2, height=4.4, width=9.2)
    names = agent.world.spec.sensors or tuple(str(i + 1) for i in range(len(mean)))
    for axis, values, title, colours, low in (
        (axes[0], mean, "on average", "RdBu_r", -1),
        (axes[1], spread, "how much it changes", "magma", 0),
    ):
        image = axis.imshow(values.numpy(), cmap=colours, vmin=low, vmax=1, aspect="auto")
        axis.set(title=title, xlabel="row of the code")
        axis.set_yticks(range(len(names)), names if axis is axes[0] else [""] * len(names), fontsize=7)
        axis.grid(False)
        figure.colorbar(image, ax=axis, shrink=0.7)
    text = "The neurons at the sensors speak through attention: how much, and with which sign, each row of the code listens to each of them. Nothing tells a neuron which sensor it is."
    return Section("Who is listened to", (text,), ((picture(figure, "attention"), f"{len(weights)} steps of one episode, sensors in their own order; standard deviation on the right."),))  # fmt: skip


def knowing(folder: Path, agent: Player) -> Section | None:
    """From when on each neuron knows what it hears, as the linear layer tells that learned to tell it while the agent was cloned."""
    layer = checkpoint.restored(folder)[1].get("sensor-id/agent")
    if layer is None:
        return None
    sensors, right, lived = agent.world.spec.observation[0], [], []
    with closing(agent.world) as env:
        for moment in islice(stream(env, agent.policy, row_seeds(3, KNOWN_IN)), KNOWING):
            known = recognition(moment.memory[0], layer.view(sensors, -1)).argmax(2)
            right.append((known == torch.arange(sensors)).float() * moment.live[:, None])
            lived.append(moment.live.sum())
    share = (torch.stack(right).sum(1) / torch.stack(lived)[:, None]).mT
    figure, axis = canvas(height=4.4)
    image = axis.imshow(share.numpy(), cmap="viridis", vmin=0, vmax=1, aspect="auto")
    names = agent.world.spec.sensors or tuple(str(i + 1) for i in range(sensors))
    axis.set_yticks(range(sensors), names, fontsize=7)
    axis.set(xlabel="steps since the beginning")
    axis.grid(False)
    figure.colorbar(image, ax=axis, shrink=0.7, label="share of episodes")
    text = "All neurons begin alike. What each of them remembers comes to tell which sensor it hears: from its sensor's numbers, and from the action that was taken before each."
    means = ", ".join(f"{float(share[:, t - 1].mean()):.0%} after {t}" for t in (20, 50, 100) if t <= share.shape[1])
    what = f"In which share of those of {KNOWN_IN} episodes that still go on a linear layer, learned along with the clone, takes a neuron for the sensor that it hears{f': {means} steps' if means else ''}."
    return Section("When they know what they hear", (text,), ((picture(figure, "recognition"), what),))  # fmt: skip


def sections(folder: Path) -> Page:
    """The page of a run, a stage or a zoo agent."""
    agents = cast(folder)
    lead = "An agent that acts on many sensors. The page asks what happens when they arrive in another order, in another number, or among noise."
    text = "An ordinary network knows each sensor by its place. A permutation-invariant one has one small neuron at every sensor, all of them identical; each finds out what it is connected to."
    again = "Every neuron suddenly hears another sensor, with a memory that still believes in the old one. What it earns in a step, before and after:"
    made = [
        film(agents), treated(agents, TREATMENTS, EPISODES, "What happens when the senses are disturbed", (text,)), learning(folder),
        listening(agents[OURS]), knowing(folder, agents[OURS]), recovering(agents, "shuffle", EPISODES, again),
    ]  # fmt: skip
    title = f"{agents[OURS].world.spec.name.capitalize()} with its senses shuffled"
    return Page(title, lead, facts_of(folder), [section for section in made if section is not None])
