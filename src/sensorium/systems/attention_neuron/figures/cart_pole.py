"""What a cart-pole run has to show: the page that `sensorium report` writes, told for one who has not read the paper."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sensorium.core import card, checkpoint, zoo
from sensorium.core.policy import Policy
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds
from sensorium.envs.cart_pole import CartPole, draw
from sensorium.envs.wrappers import wrapped
from sensorium.systems.attention_neuron.figures.panels import bars, facts_of, learning
from sensorium.systems.attention_neuron.model import FeedForwardPolicy, SensoryPolicy
from sensorium.systems.attention_neuron.probes import recovery, under
from sensorium.viz.curves import BLUE, GREEN, INK, ORANGE, RED, canvas, picture
from sensorium.viz.report import Page, Section, table, video
from sensorium.viz.video import beside, write_mp4

EPISODES = 1000
TREATMENTS = (
    ("as trained", ""),
    ("shuffled", "shuffle"),
    ("reshuffled every 100", "shuffle:every=100"),
    ("3 swaps", "swap:3"),
    ("every sense twice", "duplicate"),
    ("5 channels of noise", "noise:5"),
    ("40 % unplugged", "drop:0.4"),
)
SENSOR_NAMES = CartPole().spec.sensors


def cast(folder: Path) -> dict[str, Policy]:
    """Who appears on the page: the run's agents, and the zoo's for comparison."""
    found: dict[str, Policy] = {}
    stages = [folder] if (folder / "card.json").exists() else checkpoint.stages_of(folder)
    for path in stages:
        if not checkpoint.step_of(path) and card.read(path)["stage"]["steps"]:
            continue
        policy = checkpoint.policy(path)
        found["an ordinary network" if isinstance(policy, FeedForwardPolicy) else "this run's agent"] = policy
    compared = {"an ordinary network": ("cart-pole-mlp",), "the zoo's agent": ("cart-pole-clone", "cart-pole")}
    for name, choices in compared.items():
        path = zoo.at_hand(*choices)
        if name not in found and path and path.resolve() != folder.resolve():
            found[name] = checkpoint.policy(path)
    return found


COLOURS = {"an ordinary network": ORANGE, "this run's agent": BLUE, "the zoo's agent": GREEN}


def fits(policy: Policy, senses: str) -> bool:
    """Whether a policy can be given as many channels as a treatment makes."""
    channels = wrapped(CartPole(), policy, senses)[0].spec.observation[0]
    return not isinstance(policy, FeedForwardPolicy) or policy.agent.observations == channels


def treatments(agents: dict[str, Policy]) -> Section:
    """Score under each treatment of the senses."""
    scores = {
        name: {label: under(policy, spec, EPISODES) for label, spec in TREATMENTS if fits(policy, spec)} for name, policy in agents.items()
    }
    labels = [label for label, _ in TREATMENTS]
    cells = [
        (name, *(f"{results[label]['mean']:.0f}" if label in results else "cannot" for label in labels)) for name, results in scores.items()
    ]
    return Section(
        "What happens when the senses are disturbed",
        (
            "Five numbers come in: where the cart is, how fast it moves, the cosine and the sine of the pole's angle, and how fast the pole turns. "
            "An ordinary network knows each by its place. Exchange two of them and it acts on the wrong one. The other kind of agent has one small neuron "
            "at every sensor, all of them identical; each finds out from what it hears which sensor it must be connected to.",
            "About four starts in ten throw the cart off the track whatever one does, so no agent comes near 1,000 on average.",
        ),
        (
            (
                bars(scores, labels, COLOURS, "mean score (at most 1,000)"),
                f"Mean of {EPISODES:,} episodes, with 95 % intervals. The same starts for every bar.",
            ),
            (
                table(("mean score", *labels), cells),
                "'cannot': an ordinary network has a fixed number of inputs.",
            ),
        ),
    )


def inside(policy: SensoryPolicy, name: str) -> Section:
    """Attention over an episode, and the code before and after a shuffle; only words where no episode lasts that long."""
    world, player = wrapped(CartPole(), policy, "shuffle:every=500")
    seeds = row_seeds(2, 64)
    rollout = play(world.open(), player, seeds, keep=("observations", "memory", "rewards"))
    if int(rollout.lengths.max()) < 600:
        return Section(
            "What goes on inside", (f"In none of 64 episodes did {name} stay on the track for six seconds; there is nothing to see yet.",)
        )
    row = int(rollout.rewards[300:600].sum(0).argmax())
    seen, hidden = rollout.observations[:, row], rollout.memory[0][:, row]
    # the memory at step t holds what the neurons knew after having seen observation t; all steps of one row as one batch
    weights = policy.weights(hidden)
    code = policy.listen(seen, hidden)
    own = world.own(seeds)  # type: ignore[attr-defined]
    layouts = [world.redrawn(world.layouts(own), own, t)[0][row] for t in (0, 500)]  # type: ignore[attr-defined]
    figure, axes = canvas(columns=3, height=3.6, width=9.2)
    for axis, t in zip(axes, (5, 300, 560), strict=True):
        order = torch.argsort(layouts[int(t >= 500)])
        image = axis.imshow(weights[t][order].T.numpy(), cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        axis.set_xticks(range(5), [name.replace(" ", "\n") for name in SENSOR_NAMES], fontsize=8.5)
        axis.set_title(f"step {t}" + (", after the shuffle" if t > 500 else ""), fontsize=10.5)
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
        "What goes on inside",
        (
            f"One episode of {name}. The neurons speak through attention: how much, and with which sign, each row of the code listens to each sensor. "
            "The columns are put back into the sensors' own order here; the agent never sees that order.",
            "At the shuffle every neuron suddenly hears another sensor, with a memory that still believes in the old one. The code is disturbed, and then finds back.",
        ),
        (
            (picture(figure, "attention matrices"), "Attention shortly after the start, while balancing, and 60 steps after a reshuffle."),
            (
                picture(strip, "code over time"),
                "The code (16 numbers) around the reshuffle at step 500, the black line. Red is +1, blue is -1.",
            ),
        ),
    )


def recovering(agents: dict[str, Policy]) -> Section:
    """Reward rate around a reshuffle."""
    figure, axis = canvas(height=3.2)
    words = []
    for name, policy in agents.items():
        found = recovery(policy, EPISODES)
        if not found.episodes:
            words.append(f"{name} never balances under a shuffle, so there is nothing to recover.")
            continue
        x = np.arange(len(found.share)) + found.first
        axis.plot(x, found.share, color=COLOURS[name], label=f"{name} ({found.episodes} episodes)")
        axis.fill_between(x, found.low, found.high, color=COLOURS[name], alpha=0.25, linewidth=0)
        times = (found.steps, *found.interval)
        spread = "" if np.isinf(times).all() else f" (95 % interval: {said(times[1])} to {said(times[2])})"
        words.append(f"{name}: back at 90 %, and staying there, {said(times[0])}{spread}.")
    axis.axvline(0, color=INK)
    axis.axhline(0.9, color=RED, linewidth=1, linestyle="--")
    axis.set(xlabel="steps since the reshuffle (100 are one second)", ylabel="share of its score rate", ylim=(0, 1.15), xlim=(-75, 500))
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=9.5, loc="lower right")
    return Section(
        "How fast it recovers",
        (
            "While the agent balances, all its sensors are exchanged at once. How much of what it earned a step before does it earn after?",
            *(word[0].upper() + word[1:] for word in words),
        ),
        (
            (
                picture(figure, "recovery curve"),
                "Mean over episodes in which the agent was balancing, as a share of the mean before; bands are 95 % bootstrap intervals.",
            ),
        ),
    )


def said(steps: float) -> str:
    """A recovery time in words."""
    return "not within 500 steps" if np.isinf(steps) else f"after {steps:.0f} steps"


def film(agents: dict[str, Policy]) -> Section:
    """The shuffled agent beside the shuffled baseline, in the same episode."""
    names = [name for name in ("this run's agent", "the zoo's agent", "an ordinary network") if name in agents]
    pair = [names[0], *(["an ordinary network"] if "an ordinary network" in names[1:] else names[1:2])]
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
        "Watch it",
        ("Both have the same start, and both have had their senses shuffled before it.",),
        (
            (
                shown,
                "One episode at real speed, chosen for the largest difference in score out of 64. The film ends, or freezes, where a cart leaves the track.",
            ),
        ),
    )


def frames(world: CartPole, policy: Policy, seeds: Any, title: str) -> list[np.ndarray]:
    """Every second step of one shuffled episode as a picture."""
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
    """The page of a run folder, a stage folder or a zoo agent."""
    agents = cast(folder)
    sensory = next((name for name in ("this run's agent", "the zoo's agent") if isinstance(agents.get(name), SensoryPolicy)), None)
    shuffled = {name: policy for name, policy in agents.items() if fits(policy, "shuffle")}
    found = [film(shuffled)] if shuffled else []
    found += [treatments(agents), learning(folder)]
    if sensory:
        chosen = agents[sensory]
        assert isinstance(chosen, SensoryPolicy)
        found += [inside(chosen, sensory), recovering(shuffled)]
    return Page(
        "A pole that balances with its senses shuffled",
        "A cart is pushed left and right so that the pole on it swings up and stays up. This page shows an agent that can do so when its senses arrive in any order, and an ordinary network that cannot.",
        facts_of(folder),
        found,
    )
