"""The page of an agent with eyes: what it attends to, what its code knows, and what shuffled patches do to it."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sensorium.core.env import closing
from sensorium.core.seeding import row_seeds
from sensorium.envs import patches
from sensorium.envs.pong import BALL_Y, Consoles, Pong
from sensorium.systems.attention_neuron.figures.panels import OURS, cast, facts_of, learning, recovering, treated
from sensorium.systems.attention_neuron.model import VisionPolicy
from sensorium.systems.attention_neuron.tables.agents import Player
from sensorium.systems.attention_neuron.tables.vision import OCCLUDED, SHARES, occluded
from sensorium.viz.curves import canvas, picture
from sensorium.viz.report import Page, Section, video
from sensorium.viz.video import beside, write_mp4

EPISODES = 4
FILM = 300
"""steps that are looked at and filmed"""
LARGE = 4
"""pixels of a page for one of the screen"""
TREATMENTS = {
    "pong": (("in order", ""), ("shuffled", "patches"), ("reshuffled every 100", "patches:every=100"), ("half of them taken away", "patches,occlude:0.5")),
    "car-patches": (
        ("in order", ""), ("shuffled", "patches"), ("reshuffled every 100", "patches:every=100"), ("20 % black", "patches,blackout:0.2"),
        ("before dunes", "patches,background:dunes"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class PatchView:
    """A moment: the screen as it comes and as it is, which patches of it are attended, and what the agent makes of it."""

    shuffled: np.ndarray
    restored: np.ndarray
    code: np.ndarray
    scene: float
    """what is in the scene: the height of the ball, or how the wheel is turned"""


def look(agent: Player, steps: int) -> list[PatchView]:
    """A shuffled episode, moment by moment."""
    policy, world = agent.policy, replace(agent.world, senses="patches")  # type: ignore[type-var]
    assert isinstance(policy, VisionPolicy)
    neurons, found, seeds = policy.agent.neurons, [], row_seeds(4, 1)  # type: ignore[attr-defined]
    with closing(world) as env, torch.no_grad():
        assert isinstance(env, patches.PatchEnv)
        obs, memory = env.reset(seeds), policy.begin(seeds)
        for t in range(min(steps, world.spec.horizon)):
            before = memory[0]
            listened = neurons.weights(policy.tensors, obs, before)[0].argmax(1).unique()
            code = neurons(policy.tensors, obs, before)[0]
            action, memory = policy.act(obs, memory, t)
            grey, order = env.world.grey(env.raw), env.chosen[0][0]
            height, width = grey.shape[1:]
            shuffled = marked(patches.mosaic(obs[:, :, -1], height, width)[0], listened)
            ball = env.env.simulators.ram[0, BALL_Y] if isinstance(env.env.simulators, Consoles) else float(action[0, 0])
            found.append(PatchView(shuffled, marked(grey[0], order[listened]), code.flatten().numpy(), float(ball)))
            step = env.step(action)
            obs = step.obs
            if bool(step.terminated[0] | step.truncated[0]):
                break
    return found


def marked(screen: torch.Tensor, chosen: torch.Tensor) -> np.ndarray:
    """A grey screen, enlarged, with some patches tinted."""
    height, width = screen.shape
    light = torch.zeros(height // patches.SIDE * (width // patches.SIDE), patches.SIDE**2)
    light[chosen] = 1
    shown = screen.float()[..., None].expand(-1, -1, 3).clone()
    tint = patches.mosaic(light[None], height, width)[0][..., None]
    shown = shown * (1 - 0.45 * tint) + 0.45 * tint * torch.tensor([255.0, 190.0, 40.0])
    return np.kron(shown.to(torch.uint8).numpy(), np.ones((LARGE, LARGE, 1), np.uint8))


def watching(views: list[PatchView]) -> Section:
    """The film, and one moment of it."""
    still = views[len(views) // 2]
    gap = np.full((still.shuffled.shape[0], 16, 3), 255, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "patches.mp4"
        write_mp4(path, (beside(g.shuffled, gap, g.restored) for g in views), fps=30)
        shown = video(path)
    figure, axes = canvas(columns=2, height=4.0)
    for axis, screen, title in zip(axes, (still.shuffled, still.restored), ("what the agent gets", "what that is"), strict=True):
        axis.imshow(screen)
        axis.set(title=title, xticks=[], yticks=[])
        axis.grid(False)
    text = "Left the screen as the agent gets it, in 6 x 6 pieces that were shuffled before the episode began; right the same pieces put back. Orange pieces are those to which some row of the code listens most."
    return Section(
        "Through its eyes",
        (text,),
        ((shown, f"The first {len(views)} steps of an episode."), (picture(figure, "a moment"), "One moment of it.")),
    )


def knowing(views: list[PatchView], what: str) -> Section | None:
    """The code in two dimensions, coloured by what is in the scene."""
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
    text = f"Every moment as a dot: the agent's code, of {codes.shape[1]:,} numbers, in the two directions in which it varies most ({share:.0%} of its variance), coloured by {what}."
    return Section(
        "What its code knows", (text,), ((picture(figure, "codes in two dimensions"), f"{len(views)} moments of a shuffled episode."),)
    )


def occlusion(agent: Player) -> Section | None:
    """Pong with patches taken away, beside the paper's row."""
    if not isinstance(agent.world, Pong):
        return None
    if occluded(agent) not in SHARES:
        return None
    trained, shares = SHARES.index(occluded(agent)), SHARES[::3]
    ours = [agent.scores(f"patches,occlude:{share:g}" if share else "patches", EPISODES)["mean"] for share in shares]
    figure, axis = canvas(height=2.2)
    grid: Any = np.array([ours, [OCCLUDED[trained][round(10 * share)] for share in shares]], dtype=float)
    image = axis.imshow(grid, cmap="RdYlGn", vmin=-21, vmax=21, aspect="auto")
    for (row, column), value in np.ndenumerate(grid):
        axis.text(column, row, f"{value:.0f}", ha="center", va="center")
    axis.set_yticks([0, 1], ["ours", "the paper"])
    axis.set_xticks(range(len(shares)), [f"{share:.0%}" for share in shares])
    axis.set(xlabel="of the patches taken away in the test")
    axis.grid(False)
    figure.colorbar(image, ax=axis, label="mean score")
    text = f"In training {trained * 10} % of the patches were missing. Every third column of the paper's grid, {EPISODES} games each where the paper played 100; `sensorium verify attention-neuron/pong` plays them all."
    return Section(
        "With patches taken away",
        (text,),
        ((picture(figure, "scores by share taken away"), "From -21, every point lost, to 21, every point won."),),
    )


def sections(folder: Path) -> Page:
    """The page of a run, a stage or a zoo agent."""
    agents = cast(folder)
    ours = agents[OURS]
    views = look(ours, FILM)
    text = "The screen is cut into pieces of 6 x 6 pixels. Every piece has the same small neuron, which sees how it changed over four frames, and no neuron knows where its piece lies."
    made = [
        watching(views), treated(agents, TREATMENTS[ours.world.spec.name], EPISODES, "What happens when the eyes are disturbed", (text,)), learning(folder),
        knowing(views, "the height of the ball, of which nobody told it" if isinstance(ours.world, Pong) else "how it turns the wheel"), occlusion(ours),
        recovering({OURS: ours}, "patches", EPISODES, "All pieces change places in the middle of an episode. Of the four frames that it then sees, three still have the pieces where they lay."),
    ]  # fmt: skip
    lead = "An agent that plays although its screen arrives as a pile of shuffled pieces."
    return Page(
        f"{ours.world.spec.name.capitalize()} from shuffled pieces",
        lead,
        facts_of(folder),
        [section for section in made if section is not None],
    )
