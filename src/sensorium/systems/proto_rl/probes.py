"""Questions to a pre-trained agent: what do its codes know, where has it been, and where do its prototypes stand."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.core.env import closing
from sensorium.core.rollout import stream
from sensorium.core.seeding import Seeds, row_seeds
from sensorium.core.stage import State
from sensorium.envs.control import ControlEnv
from sensorium.nets import descent
from sensorium.nets.mlp import orthogonal
from sensorium.systems.proto_rl.model import Standardised
from sensorium.systems.proto_rl.stages import Learning

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""of the ridge regression, in shares of the codes' mean square; the best on a part of the training data is taken"""


@dataclass(frozen=True)
class Passage:
    """What was seen on the way, step by step and row by row: [steps x rows, ...]."""

    observations: Tensor
    states: Float[Tensor, "n s"]


def passage(stage: Learning, policy: Any, rows: int, seed: int) -> Passage:
    """An episode of some rows. A policy that draws its actions explores nothing, one that has learned does."""
    seen, states = [], []
    with closing(stage.world) as env:
        assert isinstance(env, ControlEnv)
        for moment in stream(env, policy, row_seeds(seed, rows)):
            seen.append(moment.step.obs.clone())
            states.append(env.states())
    return Passage(torch.cat(seen), torch.cat(states))


def untrained(stage: Learning, way: Passage) -> nn.Module:
    """f as it begins; codes that are to be standardised are so by those of the way."""
    model = stage.proto.representation(stage.world.spec.observation)
    orthogonal(model, Seeds(0, "untrained", 0)("representation"))
    if isinstance(model.encoder, Standardised):
        code = codes(model.encoder.inner, way.observations)
        model.encoder.mean.data, model.encoder.variance.data = code.mean(0), code.var(0)
    return model.encoder


@torch.no_grad()
def codes(encoder: nn.Module, observations: Tensor, block: int = 256) -> Float[Tensor, "n width"]:
    """y = f(x)."""
    return torch.cat([encoder(part).float() for part in observations.split(block)])


def ridge(code: Tensor, truth: Tensor, code_test: Tensor, truth_test: Tensor, penalty: float) -> Float[np.ndarray, "k"]:
    """R^2 on other data of ridge regression with an intercept, in its dual form: there are more numbers in a code than samples."""
    centre, mean = code.mean(0), truth.mean(0)
    x, y = (code - centre).double(), (truth - mean).double()
    kernel = x @ x.T
    weights = torch.linalg.solve(kernel + penalty * kernel.diagonal().mean() * torch.eye(len(x), dtype=torch.float64), y)
    guess = (code_test - centre).double() @ x.T @ weights + mean
    left = ((truth_test - guess) ** 2).sum(0)
    return (1 - left / ((truth_test - truth_test.mean(0)) ** 2).sum(0).clamp(min=1e-12)).numpy()


def linear_probe(encoder: nn.Module, way: Passage, test: Passage, truth: Any, samples: int = 1000) -> Float[np.ndarray, "k"]:
    """Share of the variance of each true coordinate that a linear function of the code explains, on episodes that it was not fitted to."""
    picked = [torch.linspace(0, len(p.states) - 1, min(samples, len(p.states))).long() for p in (way, test)]
    parts = [(codes(encoder, p.observations[i]), truth(p.states[i]).double()) for p, i in zip((way, test), picked, strict=True)]
    (code, known), (code_test, known_test) = parts
    fit, check = slice(0, None, 2), slice(1, None, 2)
    best = max(PENALTIES, key=lambda penalty: ridge(code[fit], known[fit], code[check], known[check], penalty).mean())
    return ridge(code, known, code_test, known_test, best)


@torch.no_grad()
def standing(stage: Learning, state: State, way: Passage) -> Float[Tensor, "M s"]:
    """For each prototype the state, among those passed through, whose z lies nearest to it."""
    model = descent.loaded(stage.proto.representation(stage.world.spec.observation), descent.part("representation", state))
    z = torch.cat([model.project(model.encoder(part)) for part in way.observations.split(256)])
    return way.states[(z @ torch.nn.functional.normalize(model.prototypes, dim=1).T).argmax(0)]
