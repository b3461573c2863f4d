"""Measurements of a pre-trained agent: linear probes of its codes, visited states, and the state nearest to each prototype."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.core.env import WithStates, closing
from sensorium.core.rollout import stream
from sensorium.core.seeding import Seeds, row_seeds
from sensorium.core.stage import State
from sensorium.nets.mlp import orthogonal
from sensorium.systems.proto_rl.model import Standardised
from sensorium.systems.proto_rl.stages import ProtoStage

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""penalties of the ridge regression, relative to the mean square of the codes; chosen on a held-out half of the training data"""


@dataclass(frozen=True)
class Trajectories:
    """Observations and simulator states of some episodes, [steps x rows, ...], time first."""

    observations: Tensor
    states: Float[Tensor, "n s"]


def record(stage: ProtoStage, policy: Any, rows: int, seed: int) -> Trajectories:
    """Play one episode in each of `rows` worlds and record observations and simulator states."""
    observations, states = [], []
    with closing(stage.world) as env:
        assert isinstance(env, WithStates)
        for moment in stream(env, policy, row_seeds(seed, rows)):
            observations.append(moment.step.obs.clone())
            states.append(env.states())
    return Trajectories(torch.cat(observations), torch.cat(states))


def untrained(stage: ProtoStage, data: Trajectories) -> nn.Module:
    """f at initialisation. If codes are standardised, their statistics come from `data`."""
    model = stage.proto.representation(stage.world.spec.observation)
    orthogonal(model, Seeds(0, "untrained", 0)("representation"))
    if isinstance(model.encoder, Standardised):
        code = codes(model.encoder.inner, data.observations)
        model.encoder.mean.data, model.encoder.variance.data = code.mean(0), code.var(0)
    return model.encoder


@torch.no_grad()
def codes(encoder: nn.Module, observations: Tensor, block: int = 256) -> Float[Tensor, "n width"]:
    """Codes y = f(x), computed in blocks of `block` observations."""
    return torch.cat([encoder(part).float() for part in observations.split(block)])


def ridge(code: Tensor, truth: Tensor, code_test: Tensor, truth_test: Tensor, penalty: float) -> Float[np.ndarray, "k"]:
    """R^2 of ridge regression with an intercept on test data, per coordinate. In dual form: codes have more dimensions than samples."""
    centre, mean = code.mean(0), truth.mean(0)
    x, y = (code - centre).double(), (truth - mean).double()
    kernel = x @ x.T
    weights = torch.linalg.solve(kernel + penalty * kernel.diagonal().mean() * torch.eye(len(x), dtype=torch.float64), y)
    guess = (code_test - centre).double() @ x.T @ weights + mean
    left = ((truth_test - guess) ** 2).sum(0)
    return (1 - left / ((truth_test - truth_test.mean(0)) ** 2).sum(0).clamp(min=1e-12)).numpy()


def linear_probe(encoder: nn.Module, train: Trajectories, test: Trajectories, truth: Any, samples: int = 1000) -> Float[np.ndarray, "k"]:
    """R^2 on test episodes of a linear map from codes to each of the k coordinates `truth(states)`."""
    picked = [torch.linspace(0, len(p.states) - 1, min(samples, len(p.states))).long() for p in (train, test)]
    parts = [(codes(encoder, p.observations[i]), truth(p.states[i]).double()) for p, i in zip((train, test), picked, strict=True)]
    (code, known), (code_test, known_test) = parts
    fit, check = slice(0, None, 2), slice(1, None, 2)
    best = max(PENALTIES, key=lambda penalty: ridge(code[fit], known[fit], code[check], known[check], penalty).mean())
    return ridge(code, known, code_test, known_test, best)


def nearest_states(stage: ProtoStage, state: State, data: Trajectories) -> Float[Tensor, "M s"]:
    """For each prototype the recorded simulator state whose z is nearest to it."""
    return data.states[stage.nearest_to_prototypes(state, data.observations)]
