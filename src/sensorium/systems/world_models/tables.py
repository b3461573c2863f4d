"""The paper's tables, as data, and how each cell is measured (Ha & Schmidhuber 2018, tables 1 and 2; 100 episodes each)."""

import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.errors import Usage
from sensorium.core.evaluate import evaluate
from sensorium.core.stats import bootstrap_interval
from sensorium.core.table import Row, Table
from sensorium.systems.world_models import equations as eq
from sensorium.systems.world_models.behaviour import HeldActions
from sensorium.systems.world_models.model import MDNRNN
from sensorium.systems.world_models.official import car_racing as import_car_racing
from sensorium.systems.world_models.recipes import DOOM
from sensorium.systems.world_models.stages import Controller

EPISODES = 100

CAR_RACING = (
    ("V alone, z", "car-racing-z", "z", 632, 251),
    ("V alone, z and a hidden layer", "car-racing-z-hidden", "z-hidden", 788, 141),
    ("the full world model, z and h", "car-racing", "zh", 906, 21),
)
"""cell, the zoo's agent, what C reads, paper's mean and sd (table 1)"""
TEMPERATURE = (
    (0.10, 2086, 140, 193, 58), (0.50, 2060, 277, 196, 50), (1.00, 1145, 690, 868, 511), (1.15, 918, 546, 1092, 556), (1.30, 732, 269, 753, 139),
)  # fmt: skip
"""temperature, mean and sd in the dream and in the game (table 2)"""
RANDOM = (210, 108)
"""a player that acts at random (table 2)"""
OFFICIAL = (("negative log-likelihood, nats a dimension", 0.54), ("mean squared error of the expected z", 0.013))
"""the authors' M on what their V made of 984 frames of their demo"""


def controllers(folder: str | None, names: list[str]) -> dict[str, Path]:
    """The agents to judge, by name: the one that is given under every name, or those of the zoo."""
    if folder:
        return dict.fromkeys(names, checkpoint.agent(folder))
    return {name: checkpoint.agent(folder) for name, folder in checkpoint.shipped().items() if name in names}


def driven(place: Path) -> Controller:
    """The stage of an agent of World Models."""
    stage, _ = checkpoint.restored(place)
    if not isinstance(stage, Controller):
        raise Usage(f"{place} is no controller of a world model")
    return stage


def car_racing(folder: str | None = None, episodes: int | None = None) -> Table:
    """Table 1: what C reads decides how well it drives."""
    found, rows = controllers(folder, [name for _, name, *_ in CAR_RACING]), []
    stages = {name: driven(place) for name, place in found.items()}
    wrong = [stage for stage in stages.values() if stage.world.spec.name != "car-racing"]
    if wrong:
        raise Usage(f"car-racing is about drivers; {folder} plays {wrong[0].world.spec.name}")
    for cell, name, features, mean, sd in CAR_RACING:
        row, stage = Row(cell, "at-least", mean, sd, EPISODES), stages.get(name)
        if stage is not None and stage.controller.features == features:
            row = row.measured(evaluate(stage.world.open(), checkpoint.policy(found[name]), episodes or EPISODES))
        rows.append(row)
    meaning = (
        "The paper drove CarRacing-v0, which no longer exists; this is version 3, whose camera turns with the car and not with its velocity, and whose "
        "episodes end when 95 % of the track has been visited."
    )
    return Table("Ha & Schmidhuber 2018, table 1 (mean ± sd of the return over 100 tracks)", rows, meaning)


def variant(temperature: float) -> str:
    """The zoo's agent that was trained at a temperature."""
    return "take-cover" if temperature == 1.15 else f"take-cover.{temperature:.2f}"


def temperature(folder: str | None = None, episodes: int | None = None) -> Table:
    """Table 2: agents that were trained in dreams of different temperature, in their dream and in the game."""
    count = episodes or EPISODES
    found, rows = controllers(folder, [variant(t) for t, *_ in TEMPERATURE]), []
    for t, dream_mean, dream_sd, mean, sd in TEMPERATURE:
        row = Row(f"temperature {t:.2f}, in the dream", "same", dream_mean, dream_sd, EPISODES)
        real = Row(f"temperature {t:.2f}, in the game", "at-least" if t >= 1 else "same", mean, sd, EPISODES)
        place = found.get(variant(t))
        if place is not None:
            stage, state = checkpoint.restored(place)
            if not isinstance(stage, Controller) or not stage.dream or stage.world.spec.name != "take-cover":
                raise Usage(f"temperature is about players of TakeCover that learned in a dream; {place} is none")
            if abs(stage.temperature - t) < 1e-6:
                world, dreamer = stage.in_dream(state)
                row = row.measured(evaluate(world.open(), dreamer, count))
                real = real.measured(evaluate(stage.world.open(), stage.policy(state), count))
        rows += [row, real]
    random = Row("a new action at random at every tic, in the game", "same", *RANDOM, EPISODES)
    rows.append(random.measured(evaluate(DOOM.open(), HeldActions(longest=1), count)))
    meaning = (
        "In a cold dream M is sure of itself, and C learns to exploit what M gets wrong: it never dies there, and at once in the game. A hotter dream is "
        "harder than the game, and what survives in it survives outside. One agent a temperature, as in the paper."
    )
    return Table("Ha & Schmidhuber 2018, table 2 (mean ± sd of the tics survived)", rows, meaning)


def foreseen(memory: MDNRNN, z: Float[Tensor, "steps z"]) -> tuple[Float[Tensor, "less"], Float[Tensor, "less"]]:
    """How M foresees a sequence of z that it is told step by step, with no action: nats a dimension, and squared error of its mean."""
    hidden = cell = torch.zeros(1, memory.hidden)
    likelihoods, errors = [], []
    for now, following in zip(z[:-1, None], z[1:, None], strict=True):
        hidden, cell = memory.step(now, torch.zeros(1, memory.actions), torch.zeros(1), hidden, cell)
        seen = memory.predict(hidden)
        likelihoods.append(-eq.mixture_log_likelihood(following, seen.log_weight, seen.mean, seen.log_sd).mean())
        errors.append(((eq.cooled(seen.log_weight, 1.0) * seen.mean).sum(-1) - following).square().mean())
    return torch.stack(likelihoods), torch.stack(errors)


def imported(folder: str | None = None, episodes: int | None = None) -> Table:
    """The authors' M on the authors' latents: does the importer read what they wrote?"""
    rows = [Row(cell, "same", value, None, 1) for cell, value in OFFICIAL]
    reference = Path(os.environ.get("SENSORIUM_REFERENCE", "reference")) / "world_models"
    latents, weights = reference / "car_racing_official_latents.npz", reference / "car_racing_rnn.json"
    if latents.exists() and (folder or weights.exists()):
        with tempfile.TemporaryDirectory() as place:
            if not folder:
                import_car_racing([weights], Path(place))
            memory = Path(folder or place) / "3-memory"
            if not memory.is_dir():
                raise Usage(
                    f"{folder} holds no imported M (3-memory); `sensorium import world-models/car-racing rnn.json --out DIR` makes one"
                )
            with open(latents, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                z = torch.from_numpy(file["mu"])
            parts = foreseen(opened(str(memory), bfloat16=False), z)
        for i, part in enumerate(parts):
            values = part.numpy()
            rows[i] = rows[i].measured(
                {"mean": float(values.mean()), "sd": float(values.std(ddof=1)), "ci95": bootstrap_interval(values), "episodes": len(values)}
            )
    meaning = (
        "On the means of the authors' encoder, 500 consecutive frames, without the actions, which were not published. The files are not part of Sensorium; "
        "SENSORIUM_REFERENCE names the folder that holds world_models/car_racing_rnn.json and world_models/car_racing_official_latents.npz."
    )
    return Table("The authors' published M (per step of one sequence)", rows, meaning)
