"""Import of the authors' published weights (Apache-2.0): one flat float32 vector per file, under the key `params`."""

import zipfile
from pathlib import Path

import numpy as np
import torch

from sensorium.core import card as cards
from sensorium.core import checkpoint
from sensorium.core.errors import Failure, Usage
from sensorium.core.machine import facts
from sensorium.envs.ant import Ant
from sensorium.envs.car_racing import CarFrames, CarPatches
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.pong import Pong
from sensorium.es.evolve import Evolve
from sensorium.nets.flat import Layout
from sensorium.systems.attention_neuron.model import AttentionAgent, FeedForwardAgent, PongAgent, SensoryAgent, VotingAgent

# the released vectors have the same order as our layouts: LSTM, Wq, Wk, head
LAYOUTS = {
    "cart-pole": SensoryAgent(),
    "ant": SensoryAgent(actions=8, code=32, layers=(32,), bias=True, scale=True),
    "ant-mlp": FeedForwardAgent(28, 8, (32, 32)),
    "car-racing": VotingAgent(),
    "attention-agent": AttentionAgent(),
    "pong": PongAgent(),
}
"""name -> architecture of each known layout"""


def known() -> str:
    """A sentence with the known layouts and their sizes, for error messages."""
    sizes = ", ".join(f"{name} {agent.layout.size}" for name, agent in LAYOUTS.items())
    return f"known layouts and their numbers of parameters: {sizes}"


def read_vector(path: Path, layout: Layout) -> torch.Tensor:
    """The flat vector of a file. Errors: core.errors.Usage for another format or length, Failure for damaged or non-finite data."""
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            if "params" not in file:
                raise Usage(f"{path} has no `params` (it holds {', '.join(file) or 'nothing'}); it is not one of the authors' files")
            vector = file["params"]
    except FileNotFoundError:
        raise Usage(f"no file {path}") from None
    except (OSError, ValueError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise Failure(f"{path} cannot be read as .npz ({error})") from None
    if vector.ndim != 1 or len(vector) != layout.size:
        raise Usage(f"{path} holds {vector.size} parameters where {layout.size} are needed; {known()}")
    if not np.isfinite(vector).all():
        raise Failure(f"{path} holds numbers that are not finite")
    return torch.from_numpy(vector.astype(np.float32))


def cart_pole(files: list[Path], out: Path) -> list[str]:
    """Import the permutation-invariant cart-pole agent; returns lines for the user."""
    return imported("cart-pole", files, out, Evolve(CartPole(), LAYOUTS["cart-pole"], steps=0))


def ant(files: list[Path], out: Path) -> list[str]:
    """Import the permutation-invariant agent for Ant."""
    return imported("ant", files, out, Evolve(world=Ant(), agent=LAYOUTS["ant"], block=8, steps=0))


def ant_mlp(files: list[Path], out: Path) -> list[str]:
    """Import the authors' released feed-forward network for Ant. It is not the teacher of the paper, which scores higher."""
    return imported("ant-teacher", files, out, Evolve(world=Ant(), agent=LAYOUTS["ant-mlp"], block=8, steps=0))


def attention_agent(files: list[Path], out: Path) -> list[str]:
    """Import the baseline AttentionAgent for CarRacing, whose observations are whole frames."""
    return imported("", files, out, Evolve(world=CarFrames(), agent=LAYOUTS["attention-agent"], block=2, steps=0))


def car_racing(files: list[Path], out: Path) -> list[str]:
    """Import the permutation-invariant agent for CarRacing, trained on CarRacing-v0; here it acts in version 3."""
    return imported("car-patches", files, out, Evolve(world=CarPatches(), agent=LAYOUTS["car-racing"], block=2, steps=0))


def pong(files: list[Path], out: Path) -> list[str]:
    """Import the permutation-invariant agent for Pong."""
    return imported("pong-clone", files, out, Evolve(world=Pong(), agent=LAYOUTS["pong"], block=2, steps=0))


def imported(recipe: str, files: list[Path], out: Path, stage: Evolve) -> list[str]:
    """Write one of the authors' files as a finished stage of a recipe."""
    if len(files) != 1:
        raise Usage(f"this kind takes one file, not {len(files)}")
    vector = read_vector(files[0], stage.agent.layout)
    if (out / "card.json").exists():
        raise Usage(f"{out} holds an agent already; use another --out")
    card = {
        "format": cards.FORMAT,
        "stage": cards.plain(stage),
        "seed": None,
        "recipe": recipe,
        "preset": "imported",
        "source": files[0].name,
        "machine": facts(),
    }
    with checkpoint.writing(out):
        out.mkdir(parents=True, exist_ok=True)
        checkpoint.write_json(out / "card.json", card)
    checkpoint.save(out, 0, {"agent": vector})
    return [f"imported {len(vector)} parameters into {out}"]
