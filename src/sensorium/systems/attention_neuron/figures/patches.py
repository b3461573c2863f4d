"""The report page of agents on image patches: attention, scores with altered patches, and the code in two dimensions."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sensorium.core.env import closing
from sensorium.core.log import tracked
from sensorium.core.seeding import row_seeds
from sensorium.envs import patches
from sensorium.envs.pong import BALL_Y, Consoles, Pong
from sensorium.systems.attention_neuron.figures.panels import OURS, agents_of, facts_of, recovery_section, treatments
from sensorium.systems.attention_neuron.model import VisionPolicy
from sensorium.systems.attention_neuron.tables.agents import TrainedAgent
from sensorium.systems.attention_neuron.tables.vision import OCCLUDED, SHARES, occluded
from sensorium.viz.curves import canvas, picture
from sensorium.viz.learning import learning
from sensorium.viz.report import Page, Section, compose, video
from sensorium.viz.video import beside, write_mp4

EPISODES = 4
VIDEO_STEPS = 300
"""steps of the recorded episode"""
LARGE = 4
"""magnification of the screen"""
TREATMENTS = {
    "pong": (("in order", ""), ("shuffled", "patches"), ("reshuffled every 100", "patches:every=100"), ("50 % occluded", "patches,occlude:0.5")),
    "car-patches": (
        ("in order", ""), ("shuffled", "patches"), ("reshuffled every 100", "patches:every=100"), ("20 % black", "patches,blackout:0.2"),
        ("background dunes", "patches,background:dunes"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class PatchView:
    """One step: the shuffled and the restored screen with attended patches highlighted, and the code."""

    shuffled: np.ndarray
    restored: np.ndarray
    code: np.ndarray
    scene: float
    """a quantity of the scene: vertical position of the ball, or steering"""


def recorded(agent: TrainedAgent, steps: int) -> list[PatchView]:
    """The steps of one episode with shuffled patches."""
    policy, world = agent.policy, replace(agent.world, senses="patches")  # type: ignore[type-var]
    assert isinstance(policy, VisionPolicy)
    neurons, found, seeds = policy.agent.neurons, [], row_seeds(4, 1)  # type: ignore[attr-defined]
    with closing(world) as env, torch.no_grad():
        assert isinstance(env, patches.PatchEnv)
        obs, memory = env.reset(seeds), policy.begin(seeds)
        for t in range(min(steps, world.spec.horizon)):
            before = memory[0]
            attended = neurons.weights(policy.tensors, obs, before)[0].argmax(1).unique()
            code = neurons(policy.tensors, obs, before)[0]
            action, memory = policy.act(obs, memory, t)
            grey, order = env.world.grey(env.raw), env.chosen[0][0]
            height, width = grey.shape[1:]
            shuffled = highlighted(patches.mosaic(obs[:, :, -1], height, width)[0], attended)
            ball = env.env.simulators.ram[0, BALL_Y] if isinstance(env.env.simulators, Consoles) else float(action[0, 0])
            found.append(PatchView(shuffled, highlighted(grey[0], order[attended]), code.flatten().numpy(), float(ball)))
            step = env.step(action)
            obs = step.obs
            if bool(step.terminated[0] | step.truncated[0]):
                break
    return found


def highlighted(screen: torch.Tensor, chosen: torch.Tensor) -> np.ndarray:
    """A grey screen, enlarged, with the chosen patches tinted; uint8 [height, width, 3]."""
    height, width = screen.shape
    light = torch.zeros(height // patches.SIDE * (width // patches.SIDE), patches.SIDE**2)
    light[chosen] = 1
    shown = screen.float()[..., None].expand(-1, -1, 3).clone()
    tint = patches.mosaic(light[None], height, width)[0][..., None]
    shown = shown * (1 - 0.45 * tint) + 0.45 * tint * torch.tensor([255.0, 190.0, 40.0])
    return np.kron(shown.to(torch.uint8).numpy(), np.ones((LARGE, LARGE, 1), np.uint8))


def attention_section(views: list[PatchView]) -> Section:
    """A video of the episode, and one frame of it."""
    still = views[len(views) // 2]
    gap = np.full((still.shuffled.shape[0], 16, 3), 255, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "patches.mp4"
        write_mp4(path, (beside(g.shuffled, gap, g.restored) for g in views), fps=30)
        shown = video(path)
    figure, axes = canvas(columns=2, height=4.0)
    for axis, screen, title in zip(axes, (still.shuffled, still.restored), ("input of the agent", "patches in order"), strict=True):
        axis.imshow(screen)
        axis.set(title=title, xticks=[], yticks=[])
        axis.grid(False)
    text = "Left: the input of the agent, patches of 6 x 6 pixels, shuffled at the start of the episode. Right: the same patches in order. Orange patches have the largest attention weight of at least one row of the code."
    return Section(
        "Input and attention",
        (text,),
        ((shown, f"The first {len(views)} steps of an episode."), (picture(figure, "one step"), "One step of it.")),
    )


def code_section(views: list[PatchView], what: str) -> Section | None:
    """The code in two dimensions, coloured by a quantity of the scene."""
    if len(views) < 20:
        return None
    codes = torch.from_numpy(np.stack([view.code for view in views]))
    centred = codes - codes.mean(0)
    left, sizes, _ = torch.linalg.svd(centred @ centred.T)
    places = (left[:, :2] * sizes[:2].sqrt()).numpy()
    figure, axis = canvas(width=6.4, height=4.2)
    dots = axis.scatter(places[:, 0], places[:, 1], c=[view.scene for view in views], cmap="viridis", s=12)
    figure.colorbar(dots, label=what.partition(",")[0])
    share = float(sizes[:2].sum() / sizes.sum())
    axis.set(xlabel="first principal component of the code", ylabel="second")
    text = f"Each dot is the code of one step ({codes.shape[1]:,} numbers), projected on its first two principal components ({share:.0%} of the variance). The colour is {what}."
    return Section(
        "Principal components of the code",
        (text,),
        ((picture(figure, "codes in two dimensions"), f"{len(views)} steps of an episode with shuffled patches."),),
    )


def occlusion(agent: TrainedAgent) -> Section | None:
    """Scores on Pong by share of occluded patches, compared with the paper."""
    if not isinstance(agent.world, Pong):
        return None
    if occluded(agent) not in SHARES:
        return None
    trained, shares = SHARES.index(occluded(agent)), SHARES[::3]
    ours = [agent.scores(f"patches,occlude:{share:g}" if share else "patches", EPISODES)["mean"] for share in tracked(shares, "occlusion")]
    figure, axis = canvas(height=2.2)
    grid: Any = np.array([ours, [OCCLUDED[trained][round(10 * share)] for share in shares]], dtype=float)
    image = axis.imshow(grid, cmap="RdYlGn", vmin=-21, vmax=21, aspect="auto")
    for (row, column), value in np.ndenumerate(grid):
        axis.text(column, row, f"{value:.0f}", ha="center", va="center")
    axis.set_yticks([0, 1], ["ours", "paper"])
    axis.set_xticks(range(len(shares)), [f"{share:.0%}" for share in shares])
    axis.set(xlabel="share of occluded patches in the test")
    axis.grid(False)
    figure.colorbar(image, ax=axis, label="mean score")
    text = f"In training {trained * 10} % of the patches are occluded. Every third column of the paper's grid, with {EPISODES} games each (paper: 100). `sensorium verify attention-neuron/pong` measures all columns."
    return Section(
        "Occluded patches",
        (text,),
        ((picture(figure, "score by share of occluded patches"), "Scores are between -21 (all points lost) and 21 (all points won)."),),
    )


def sections(folder: Path) -> Page:
    """The report page of a run, a stage or a zoo agent."""
    agents = agents_of(folder)
    ours = agents[OURS]
    views = recorded(ours, VIDEO_STEPS)
    text = "The screen is split into patches of 6 x 6 pixels. Each patch is the input of one neuron, and all neurons are identical. A neuron gets the last four frames of its patch, but not its position."
    coded = "the vertical position of the ball, which is not a training target" if isinstance(ours.world, Pong) else "the steering"
    again = "All patches are reshuffled in the middle of an episode. Three of the four stacked frames then still have the old order."
    made = compose((
        ("attention", lambda: attention_section(views)),
        ("altered patches", lambda: treatments(agents, TREATMENTS[ours.world.spec.name], EPISODES, "Scores with altered patches", (text,))),
        ("learning curves", lambda: learning(folder)), ("code", lambda: code_section(views, coded)), ("occlusion", lambda: occlusion(ours)),
        ("recovery", lambda: recovery_section({OURS: ours}, "patches", EPISODES, again)),
    ))  # fmt: skip
    lead = "A permutation-invariant agent whose input is the screen as shuffled patches."
    return Page(
        f"{ours.world.spec.name.capitalize()} from shuffled patches",
        lead,
        facts_of(folder),
        made,
    )
