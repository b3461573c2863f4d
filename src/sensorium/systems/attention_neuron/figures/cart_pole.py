"""The report page of cart-pole agents."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sensorium.core import card, checkpoint, zoo
from sensorium.core.log import tracked
from sensorium.core.policy import Policy
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds
from sensorium.envs.cart_pole import CartPole, draw
from sensorium.envs.wrappers import wrapped
from sensorium.systems.attention_neuron.figures.panels import facts_of
from sensorium.systems.attention_neuron.model import FeedForwardPolicy, SensoryPolicy
from sensorium.systems.attention_neuron.probes import recovery, under
from sensorium.viz.curves import BLUE, GREEN, INK, ORANGE, RED, bars, canvas, picture
from sensorium.viz.learning import learning
from sensorium.viz.report import Page, Section, compose, table, video
from sensorium.viz.video import beside, write_mp4

EPISODES = 1000
TREATMENTS = (
    ("as trained", ""),
    ("shuffled", "shuffle"),
    ("reshuffled every 100", "shuffle:every=100"),
    ("3 swaps", "swap:3"),
    ("every sensor twice", "duplicate"),
    ("5 channels of noise", "noise:5"),
    ("40 % removed", "drop:0.4"),
)
SENSOR_NAMES = CartPole().spec.sensors
OURS, BASELINE, ZOO = "this run's agent", "feed-forward network", "zoo agent"


def agents_of(folder: Path) -> dict[str, Policy]:
    """Name -> policy: the run's agents, and agents of the zoo for comparison."""
    found: dict[str, Policy] = {}
    stages = [folder] if (folder / "card.json").exists() else checkpoint.stages_of(folder)
    for path in stages:
        if not checkpoint.step_of(path) and card.read(path)["stage"]["steps"]:
            continue
        policy = checkpoint.policy(path)
        found[BASELINE if isinstance(policy, FeedForwardPolicy) else OURS] = policy
    compared = {BASELINE: ("cart-pole-mlp",), ZOO: ("cart-pole-clone", "cart-pole")}
    for name, choices in compared.items():
        path = zoo.at_hand(*choices)
        if name not in found and path and path.resolve() != folder.resolve():
            found[name] = checkpoint.policy(path)
    return found


COLOURS = {BASELINE: ORANGE, OURS: BLUE, ZOO: GREEN}


def fits(policy: Policy, senses: str) -> bool:
    """Whether the policy accepts the number of channels after a treatment."""
    channels = wrapped(CartPole(), policy, senses)[0].spec.observation[0]
    return not isinstance(policy, FeedForwardPolicy) or policy.agent.observations == channels


def treatments(agents: dict[str, Policy]) -> Section:
    """Score with each treatment of the senses."""
    scores: dict[str, dict[str, Any]] = {name: {} for name in agents}
    cases = [(name, label, spec) for name, policy in agents.items() for label, spec in TREATMENTS if fits(policy, spec)]
    for name, label, spec in tracked(cases, "altered senses"):
        scores[name][label] = under(agents[name], spec, EPISODES)
    labels = [label for label, _ in TREATMENTS]
    cells = [
        (name, *(f"{results[label]['mean']:.0f}" if label in results else "n/a" for label in labels)) for name, results in scores.items()
    ]
    return Section(
        "Scores with altered senses",
        (
            "The observation has five numbers: position and velocity of the cart, cosine and sine of the pole's angle, and angular velocity of the pole. "
            "A feed-forward network depends on their order. A permutation-invariant agent has one identical small neuron per sensor, and each neuron has to "
            "infer which sensor it has from the values over time.",
            "From about four in ten initial states no policy can keep the cart on the track, so mean scores stay far below 1,000.",
        ),
        (
            (
                bars(scores, labels, COLOURS, "mean score (at most 1,000)"),
                f"Mean of {EPISODES:,} episodes with 95 % intervals. All bars have the same initial states.",
            ),
            (
                table(("mean score", *labels), cells),
                "n/a: a feed-forward network has a fixed number of inputs.",
            ),
        ),
    )


def attention_section(policy: SensoryPolicy, name: str) -> Section:
    """Attention over an episode, and the code around a reshuffle; only a text if no episode is long enough."""
    world, altered = wrapped(CartPole(), policy, "shuffle:every=500")
    seeds = row_seeds(2, 64)
    rollout = play(world.open(), altered, seeds, keep=("observations", "memory", "rewards"))
    if int(rollout.lengths.max()) < 600:
        return Section("Attention and code", (f"None of 64 episodes of {name} lasts six seconds, so there is nothing to show yet.",))
    row = int(rollout.rewards[300:600].sum(0).argmax())
    obs, hidden = rollout.observations[:, row], rollout.memory[0][:, row]
    # the hidden state at step t is the one after observation t; all steps of one row form one batch
    weights = policy.weights(hidden)
    code = policy.encode(obs, hidden)
    own = world.own(seeds)  # type: ignore[attr-defined]
    layouts = [world.redrawn(world.layouts(own), own, t)[0][row] for t in (0, 500)]  # type: ignore[attr-defined]
    figure, axes = canvas(columns=3, height=3.6, width=9.2)
    for axis, t in zip(axes, (5, 300, 560), strict=True):
        order = torch.argsort(layouts[int(t >= 500)])
        image = axis.imshow(weights[t][order].T.numpy(), cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        axis.set_xticks(range(5), [name.replace(" ", "\n") for name in SENSOR_NAMES], fontsize=8.5)
        axis.set_title(f"step {t}" + (", after the reshuffle" if t > 500 else ""), fontsize=10.5)
        axis.grid(False)
    axes[0].set_ylabel("row of the code")
    figure.colorbar(image, ax=axes, shrink=0.85, label="attention")
    strip, axis = canvas(height=2.9)
    span = slice(440, 600)
    axis.imshow(code[span].T.numpy(), cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", extent=(440, 600, 15.5, -0.5), interpolation="nearest")
    axis.axvline(500, color=INK, linewidth=2)
    axis.set(xlabel="step", ylabel="row of the code", yticks=range(0, 16, 5))
    axis.grid(False)
    return Section(
        "Attention and code",
        (
            f"One episode of {name}. Each row of the code is a sum over sensors, weighted by attention; weights are between -1 and 1. "
            "In the figure the columns are in the original order of the sensors, which is not an input of the agent.",
            "After the reshuffle each neuron has another sensor, and its LSTM state still belongs to the old one. The code changes until the states have adapted.",
        ),
        (
            (picture(figure, "attention matrices"), "Attention shortly after the start, while balancing, and 60 steps after a reshuffle."),
            (
                picture(strip, "code over time"),
                "The code (16 numbers) around the reshuffle at step 500 (black line). Red is +1, blue is -1.",
            ),
        ),
    )


def recovery_section(agents: dict[str, Policy]) -> Section:
    """Reward rate around a reshuffle, and recovery times."""
    figure, axis = canvas(height=3.2)
    sentences = []
    for name, policy in agents.items():
        found = recovery(policy, EPISODES)
        if not found.episodes:
            sentences.append(f"{name}: never balances with shuffled sensors, so there is no recovery to measure.")
            continue
        x = np.arange(len(found.share)) + found.first
        axis.plot(x, found.share, color=COLOURS[name], label=f"{name} ({found.episodes} episodes)")
        axis.fill_between(x, found.low, found.high, color=COLOURS[name], alpha=0.25, linewidth=0)
        times = (found.steps, *found.interval)
        interval = "" if np.isinf(times).all() else f" (95 % interval: {recovery_time(times[1])} to {recovery_time(times[2])})"
        sentences.append(f"{name}: at 90 % or more {recovery_time(times[0])}{interval}.")
    axis.axvline(0, color=INK)
    axis.axhline(0.9, color=RED, linewidth=1, linestyle="--")
    axis.set(xlabel="steps since the reshuffle (100 are one second)", ylabel="relative reward rate", ylim=(0, 1.15), xlim=(-75, 500))
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=9.5, loc="lower right")
    return Section(
        "Recovery from a reshuffle",
        (
            "All sensors are reshuffled once while the agent balances. The curve is the reward per step relative to the reward before the reshuffle.",
            *(sentence[0].upper() + sentence[1:] for sentence in sentences),
        ),
        (
            (
                picture(figure, "recovery curve"),
                "Mean over episodes in which the agent balances before the reshuffle; bands are 95 % bootstrap intervals.",
            ),
        ),
    )


def recovery_time(steps: float) -> str:
    """A recovery time in words."""
    return "not within 500 steps" if np.isinf(steps) else f"after {steps:.0f} steps"


def video_section(agents: dict[str, Policy]) -> Section:
    """A video of the agent and the baseline, both with shuffled sensors, in the same episode."""
    names = [name for name in (OURS, ZOO, BASELINE) if name in agents]
    pair = [names[0], *([BASELINE] if BASELINE in names[1:] else names[1:2])]
    seeds, clips = row_seeds(4, 64), []
    played = {name: play(wrapped(CartPole(), agents[name], "shuffle")[0].open(), agents[name], seeds, keep=("actions",)) for name in pair}
    row = int((played[pair[0]].returns - sum(played[name].returns for name in pair[1:])).argmax())
    for name in pair:
        clips.append(frames(CartPole(), agents[name], seeds[row : row + 1], name))
    length = max(len(clip) for clip in clips)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shuffled.mp4"
        write_mp4(path, (beside(*(clip[min(t, len(clip) - 1)] for clip in clips)) for t in range(length)))
        shown = video(path)
    return Section(
        "Video",
        ("Both agents have the same initial state, and their sensors are shuffled at the start of the episode.",),
        (
            (
                shown,
                "One episode at real speed: the one of 64 with the largest difference in score. The video of an agent stops when its cart leaves the track.",
            ),
        ),
    )


def frames(world: CartPole, policy: Policy, seeds: Any, title: str) -> list[np.ndarray]:
    """Every second frame of one episode with shuffled sensors."""
    sensed, policy = wrapped(world, policy, "shuffle")
    env, memory, found, score = sensed.open(), policy.begin(seeds), [], 0.0
    obs = env.reset(seeds)
    with torch.no_grad():
        for t in range(world.horizon):
            action, memory = policy.act(obs, memory, t)
            step = env.step(action)
            obs, score = step.obs, score + float(step.reward[0])
            if t % 2 == 0:
                state = env.state[0]  # type: ignore[attr-defined]
                found.append(draw(float(state[0][0]), float(state[2][0]), float(action[0, 0]), f"{title}, shuffled: {score:.0f}"))
            if bool(step.terminated[0] | step.truncated[0]):
                break
    return found


def sections(folder: Path) -> Page:
    """The report page of a run folder, a stage folder or a zoo agent."""
    agents = agents_of(folder)
    sensory = next((name for name in (OURS, ZOO) if isinstance(agents.get(name), SensoryPolicy)), None)
    shuffled = {name: policy for name, policy in agents.items() if fits(policy, "shuffle")}
    parts: list[Any] = [("video", lambda: video_section(shuffled))] if shuffled else []
    parts += [("altered senses", lambda: treatments(agents)), ("learning curves", lambda: learning(folder))]
    if sensory:
        chosen = agents[sensory]
        assert isinstance(chosen, SensoryPolicy)
        parts += [("attention", lambda: attention_section(chosen, sensory)), ("recovery", lambda: recovery_section(shuffled))]
    return Page(
        "Cart-pole with shuffled sensors",
        "The task is to swing up the pole on a cart and to balance it. A permutation-invariant agent does this with its sensors in any order; a feed-forward network does not.",
        facts_of(folder),
        compose(parts),
    )
