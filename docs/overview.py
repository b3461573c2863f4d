"""Make docs/overview.gif from the agents of the zoo: `python docs/overview.py` (two minutes; extras envpool, control).

Left: cart-pole with shuffled sensors, an ordinary network above an AttentionNeuron agent. Middle: CarRacing above the dream of its world model,
with the same actions. Right: walker, random actions above the agent that has explored without reward.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import sensorium
from sensorium.core import checkpoint, zoo
from sensorium.core.env import closing
from sensorium.core.rollout import stream
from sensorium.core.seeding import row_seeds
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.control import Control, ControlEnv
from sensorium.envs.wrappers import wrapped
from sensorium.rl.off_policy import Uniform
from sensorium.systems.attention_neuron.figures.cart_pole import frames as cart_pole_frames
from sensorium.systems.world_models.dream import decoded
from sensorium.systems.world_models.figures.run import encoded, load_run, open_loop

OUT = Path(__file__).with_name("overview.gif")
FRAMES, MILLISECONDS = 72, 90
WIDTH, HEIGHT, CAPTION, GAP = 240, 135, 22, 8
FONT = ImageFont.truetype(str(Path(__import__("matplotlib").get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 12)


def cart_poles() -> list[tuple[str, list[np.ndarray]]]:
    """The two agents in the episode of 64 with the largest difference in return, every fourth step."""
    agents = {"ordinary network, shuffled": "cart-pole-mlp", "AttentionNeuron, shuffled": "cart-pole-clone"}
    policies = {name: checkpoint.policy(zoo.FOLDER / folder) for name, folder in agents.items()}
    seeds = row_seeds(4, 64)
    returns = [sensorium.play(*wrapped(CartPole(), policy, "shuffle"), episodes=64, seed=4).returns for policy in policies.values()]
    row = int((returns[1] - returns[0]).argmax())
    return [(name, cart_pole_frames(CartPole(), policy, seeds[row : row + 1], "senses")[::2]) for name, policy in policies.items()]


def dreams() -> list[tuple[str, list[np.ndarray]]]:
    """An episode of CarRacing from step 60 on, and M's own continuation with the recorded actions, every second step."""
    with torch.no_grad():
        run = load_run(zoo.FOLDER / "car-racing")
        assert run.vision is not None
        mu, _ = encoded(run)
        dream = decoded(run.vision, open_loop(run, mu, 60, 2 * FRAMES, 1.0))
    return [("CarRacing", list(run.frames[60 : 60 + 2 * FRAMES : 2])), ("the world model's dream", list(dream[::2]))]


def walkers() -> list[tuple[str, list[np.ndarray]]]:
    """Random actions, and the explorer after pre-training, every second step."""
    folder = zoo.FOLDER / "proto-states.walker_run" / "1-pretrain"
    world = Control("walker_run")
    found = []
    for name, policy in (("random actions", Uniform(world.spec.action)), ("explorer, no reward", checkpoint.policy(folder))):
        with closing(world) as env:
            assert isinstance(env, ControlEnv)
            shown = []
            for step in stream(env, policy, row_seeds(31, 1)):
                if step.t % 2 == 0:
                    shown.append(env.picture(0))
                if len(shown) == FRAMES:
                    break
        found.append((name, shown))
    return found


def panel(frame: np.ndarray, caption: str) -> Image.Image:
    """A frame cut to the panel's shape and scaled, under its caption."""
    image, shape = Image.fromarray(frame), WIDTH / HEIGHT
    width, height = image.size
    cut_width, cut_height = (width, round(width / shape)) if width / height < shape else (round(height * shape), height)
    left, top = (width - cut_width) // 2, round(0.7 * (height - cut_height))
    image = image.crop((left, top, left + cut_width, top + cut_height)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    whole = Image.new("RGB", (WIDTH, HEIGHT + CAPTION), "white")
    whole.paste(image, (0, CAPTION))
    ImageDraw.Draw(whole).text((2, 3), caption, fill="#1c2833", font=FONT)
    return whole


def main() -> None:
    """Write the picture."""
    columns: list[Any] = [cart_poles(), dreams(), walkers()]
    pictures = []
    for t in range(FRAMES):
        whole = Image.new("RGB", (3 * WIDTH + 2 * GAP, 2 * (HEIGHT + CAPTION)), "white")
        for x, column in enumerate(columns):
            for y, (caption, frames) in enumerate(column):
                whole.paste(panel(frames[min(t, len(frames) - 1)], caption), (x * (WIDTH + GAP), y * (HEIGHT + CAPTION)))
        pictures.append(whole.quantize(64, dither=Image.Dither.NONE))
    pictures[0].save(OUT, save_all=True, append_images=pictures[1:], duration=MILLISECONDS, loop=0, optimize=True)
    print(f"{OUT}: {OUT.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
