"""The paper's tables as data, and the measurement of each cell (Ha & Schmidhuber 2018, tables 1 and 2; 100 episodes each)."""

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
from sensorium.systems.world_models.latents import load_model
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
"""cell, name of the zoo agent, inputs of C, mean and sd of the paper (table 1)"""
TEMPERATURE = (
    (0.10, 2086, 140, 193, 58), (0.50, 2060, 277, 196, 50), (1.00, 1145, 690, 868, 511), (1.15, 918, 546, 1092, 556), (1.30, 732, 269, 753, 139),
)  # fmt: skip
"""temperature, mean and sd in the dream and in the game (table 2)"""
RANDOM = (210, 108)
"""mean and sd of a random policy (table 2)"""
OFFICIAL = (("negative log-likelihood, nats a dimension", 0.54), ("mean squared error of the expected z", 0.013))
"""the authors' M on 984 frames of their demo, encoded by their V"""


def controllers(folder: str | None, names: list[str]) -> dict[str, Path]:
    """Name -> agent folder: the given agent under every name, or the zoo's agents."""
    if folder:
        return dict.fromkeys(names, checkpoint.agent(folder))
    return {name: checkpoint.agent(folder) for name, folder in checkpoint.shipped().items() if name in names}


def controller_stage(place: Path) -> Controller:
    """The stage of an agent of World Models. Errors: core.errors.Usage if the folder holds another stage."""
    stage, _ = checkpoint.restored(place)
    if not isinstance(stage, Controller):
        raise Usage(f"{place} is not a controller of a world model")
    return stage


def car_racing(folder: str | None = None, episodes: int | None = None) -> Table:
    """Table 1: return on CarRacing by the inputs of C."""
    found, rows = controllers(folder, [name for _, name, *_ in CAR_RACING]), []
    stages = {name: controller_stage(place) for name, place in found.items()}
    wrong = [stage for stage in stages.values() if stage.world.spec.name != "car-racing"]
    if wrong:
        raise Usage(f"the table needs agents of car-racing; {folder} is an agent of {wrong[0].world.spec.name}")
    for cell, name, features, mean, sd in CAR_RACING:
        row, stage = Row(cell, "at-least", mean, sd, EPISODES), stages.get(name)
        if stage is not None and stage.controller.features == features:
            row = row.measured(evaluate(stage.world, checkpoint.policy(found[name]), episodes or EPISODES))
        rows.append(row)
    meaning = (
        "The paper uses CarRacing-v0, which is no longer available. Here it is version 3: the camera turns with the car instead of its velocity, and "
        "episodes end when 95 % of the track has been visited."
    )
    return Table("Ha & Schmidhuber 2018, table 1 (mean ± sd of the return over 100 tracks)", rows, meaning)


def variant(temperature: float) -> str:
    """Name of the zoo agent that was trained at this temperature."""
    return "take-cover" if temperature == 1.15 else f"take-cover.{temperature:.2f}"


def temperature(folder: str | None = None, episodes: int | None = None) -> Table:
    """Table 2: agents trained in dreams at different temperatures, evaluated in their dream and in the game."""
    count = episodes or EPISODES
    found, rows = controllers(folder, [variant(t) for t, *_ in TEMPERATURE]), []
    for t, dream_mean, dream_sd, mean, sd in TEMPERATURE:
        row = Row(f"temperature {t:.2f}, in the dream", "same", dream_mean, dream_sd, EPISODES)
        real = Row(f"temperature {t:.2f}, in the game", "at-least" if t >= 1 else "same", mean, sd, EPISODES)
        place = found.get(variant(t))
        if place is not None:
            stage, state = checkpoint.restored(place)
            if not isinstance(stage, Controller) or not stage.dream or stage.world.spec.name != "take-cover":
                raise Usage(f"the table needs agents of TakeCover trained in a dream; {place} is not one")
            if abs(stage.temperature - t) < 1e-6 and not stage.dropout:
                world, policy = stage.in_dream(state)
                row = row.measured(evaluate(world, policy, count))
                real = real.measured(evaluate(stage.world, stage.policy(state), count))
        rows += [row, real]
    random = Row("a new action at random at every tic, in the game", "same", *RANDOM, EPISODES)
    rows.append(random.measured(evaluate(DOOM, HeldActions(longest=1), count)))
    meaning = (
        "At low temperatures M predicts with little uncertainty, and C exploits its errors: C survives in the dream and fails in the game. At higher temperatures "
        "the dream is harder than the game, and C transfers to the game. One agent per temperature, as in the paper."
    )
    return Table("Ha & Schmidhuber 2018, table 2 (mean ± sd of the tics survived)", rows, meaning)


def prediction_errors(memory: MDNRNN, z: Float[Tensor, "steps z"]) -> tuple[Float[Tensor, "less"], Float[Tensor, "less"]]:
    """One-step prediction errors of M on a sequence of z with zero actions: nats per dimension, and squared error of the mean."""
    hidden = cell = torch.zeros(1, memory.hidden)
    likelihoods, errors = [], []
    for now, following in zip(z[:-1, None], z[1:, None], strict=True):
        hidden, cell = memory.step(now, torch.zeros(1, memory.actions), torch.zeros(1), hidden, cell)
        out = memory.predict(hidden)
        likelihoods.append(-eq.mixture_log_likelihood(following, out.log_weight, out.mean, out.log_sd).mean())
        errors.append(((eq.cooled(out.logit, 1.0) * out.mean).sum(-1) - following).square().mean())
    return torch.stack(likelihoods), torch.stack(errors)


def imported(folder: str | None = None, episodes: int | None = None) -> Table:
    """Prediction errors of the authors' M on the authors' latents, as a check of the importer."""
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
                    f"{folder} holds no imported M (3-memory); `sensorium import world-models/car-racing rnn.json --out DIR` imports one"
                )
            with open(latents, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                z = torch.from_numpy(file["mu"])
            parts = prediction_errors(load_model(str(memory), bfloat16=False), z)
        for i, part in enumerate(parts):
            values = part.numpy()
            rows[i] = rows[i].measured(
                {"mean": float(values.mean()), "sd": float(values.std(ddof=1)), "ci95": bootstrap_interval(values), "episodes": len(values)}
            )
    meaning = (
        "Input: means of the authors' encoder for 500 consecutive frames, with zero actions, because the actions were not published. The files are not part of "
        "Sensorium; SENSORIUM_REFERENCE names the folder with world_models/car_racing_rnn.json and world_models/car_racing_official_latents.npz."
    )
    return Table("The authors' published M (per step of one sequence)", rows, meaning)
