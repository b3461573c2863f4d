"""CMA-ES with the constants and the order of operations of pycma 4.5.0, the implementation used by the papers' authors.

"H" is Hansen 2016, "The CMA Evolution Strategy: A Tutorial" (arXiv 1604.00772); comments mark where pycma differs. The state includes
the eigendecomposition, which is updated only every `gap` generations: a resumed search must use the same one.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.core.errors import Failure, Usage
from sensorium.core.machine import one_thread
from sensorium.core.seeding import normal
from sensorium.es import linear
from sensorium.es.strategy import State


class Constants(NamedTuple):
    """Strategy parameters for dimension n and population size lambda (H table 1)."""

    mu: int
    weights: tuple[float, ...]
    mueff: float
    cc: float
    c1: float
    cmu: float
    cs: float
    damps: float
    chi: float
    gap: float


@lru_cache
def constants(n: int, population: int, active: bool) -> Constants:
    """The strategy parameters: recombination weights and learning rates."""
    raw = [math.log((population + 1) / 2) - math.log(i) for i in range(1, population + 1)]  # H eq. 49
    mu = sum(w > 0 for w in raw)
    positive = [w / sum(raw[:mu]) for w in raw[:mu]]
    mueff = 1 / sum(w**2 for w in positive)  # H eq. 8
    cc = (4 + mueff / n) / (n + 4 + 2 * mueff / n)  # H eq. 56
    c1 = min(1, population / 6) * 2 / ((n + 1.3) ** 2 + mueff)  # H eq. 57; pycma: less for small populations
    cmu = min(1 - c1, 2 * (0.25 + mueff + 1 / mueff - 2) / ((n + 2) ** 2 + mueff))  # H eq. 58
    negative = [0.0] * (population - mu)
    if active:
        total = sum(raw[mu:])
        shares = [w / total for w in raw[mu:]]
        mueff_minus = 1 / sum(w**2 for w in shares)
        # H eqs. 50 to 53: no decay of C, not faster than the positive part, and C stays positive definite
        size = min(1 + c1 / cmu, (1 - c1 - cmu) / cmu / n, 1 + 2 * mueff_minus / (mueff + 2))
        negative = [-size * share for share in shares]
    cs = min(0.5, (mueff + 2) / (n + mueff + 3))  # H eq. 55 has n + mueff + 5
    inner = max(1.0, 3 * (1 - 0.5 ** (n / 9)))
    damps = 1 + 2 * max(0.0, inner * math.sqrt((mueff - 1) / (n + 1)) - 1) + cs  # H eq. 55 has inner = 1
    chi = math.sqrt(2) * math.exp(math.lgamma((n + 1) / 2) - math.lgamma(n / 2))  # H p. 28, exact
    gap = 1 / (c1 + cmu + 1e-23) / n / 10
    return Constants(mu, (*positive, *negative), mueff, cc, c1, cmu, cs, damps, chi, gap)


@dataclass(frozen=True)
class CMA:
    """Covariance matrix adaptation; maximises. Double precision throughout."""

    population: int = 256
    """candidates per generation, at least 6 (pycma uses mirrored sampling below)"""
    sigma: float = 0.1
    """initial step size"""
    active: bool = True
    """whether bad candidates reduce C along their direction (active CMA, pycma's default)"""

    def __post_init__(self) -> None:
        if self.population < 6:
            raise Usage(f"population cannot be {self.population}; at least 6")

    def constants(self, n: int) -> Constants:
        return constants(n, self.population, self.active)

    def init(self, mean: Float[Tensor, "n"]) -> State:
        n, mean = len(mean), mean.double()
        zeros = torch.zeros_like(mean)
        # pycma: initial variances span 1e-4, so that no two eigenvalues of the first C are equal
        variances = torch.exp(1e-4 / n * torch.arange(n, dtype=torch.float64, device=mean.device))
        number = {"dtype": torch.int64, "device": mean.device}
        return {
            "mean": mean.clone(), "sigma": torch.full((), self.sigma, dtype=torch.float64, device=mean.device), "C": torch.diag(variances),
            "p_c": zeros.clone(), "p_sigma": zeros.clone(), "axes": torch.eye(n, dtype=torch.float64, device=mean.device),
            "lengths": variances.sqrt(), "generation": torch.zeros((), **number), "decomposed": torch.zeros((), **number),
        }  # fmt: skip

    @one_thread()  # the thread pools of torch and NumPy otherwise compete for the cores
    def ask(self, state: State, seed: int) -> Float[Tensor, "population n"]:
        """Candidates mean + sigma B D z (H eqs. 38 to 40)."""
        n, mean = len(state["mean"]), state["mean"]
        rows = seed ^ (torch.arange(self.population, dtype=torch.int64, device=mean.device) << 32)
        z = normal(rows, 0, n).double()
        return mean + state["sigma"] * linear.product(z * state["lengths"], state["axes"].mT)

    def whitened(self, state: State, x: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows n"]:
        """x in the eigenbasis of C, scaled by the axes' inverse lengths; its norm equals that of C^(-1/2) x."""
        return linear.product(x, state["axes"]) / state["lengths"]

    @one_thread()
    def tell(self, state: State, candidates: Float[Tensor, "population n"], fitness: Float[Tensor, "population"]) -> None:
        """Update the mean, the evolution paths, C and the step size in place; recompute the eigendecomposition when it is due."""
        n, c = candidates.shape[1], self.constants(candidates.shape[1])
        old, sigma = state["mean"], state["sigma"]
        ranked = candidates.double()[torch.argsort(-fitness, stable=True)]
        weights = torch.tensor(c.weights, dtype=torch.float64, device=old.device)
        generation = int(state["generation"]) + 1
        mean = weights[: c.mu] @ ranked[: c.mu]  # H eqs. 41, 42
        step = (mean - old) / sigma
        # paths (H eqs. 43, 45); the step in the coordinates of C^(-1/2)
        shift = linear.product(self.whitened(state, step), state["axes"].mT)
        p_sigma = (1 - c.cs) * state["p_sigma"] + math.sqrt(c.cs * (2 - c.cs) * c.mueff) * shift
        length = float(p_sigma @ p_sigma) / (1 - (1 - c.cs) ** (2 * generation))
        steady = float(length / n - 1 < 1 + 4 / (n + 1))  # pycma compares squares, H p. 30 lengths
        p_c = (1 - c.cc) * state["p_c"] + steady * math.sqrt(c.cc * (2 - c.cc) * c.mueff) * step
        # covariance (H eq. 47), with a correction while p_c is stalled
        y = (ranked - old) / sigma
        rates = c.cmu * weights
        kept = 1 - c.c1 * (1 - (1 - steady) * c.cc * (2 - c.cc)) - float(rates.sum())
        if self.active:
            norms = self.whitened(state, y[c.mu :]).norm(dim=1)
            rates = torch.cat([rates[: c.mu], rates[c.mu :] * n / (norms + 1e-9) ** 2])  # H eq. 46
        else:
            y, rates = y[: c.mu], rates[: c.mu]
        covariance = linear.product((rates[:, None] * y).mT, y).add_(state["C"], alpha=kept).addr_(p_c, p_c, alpha=c.c1)
        # step-size (H eq. 44; pycma: at most a factor e a generation)
        change = min(1.0, max(-1.0, c.cs / c.damps * (float(p_sigma.norm()) / c.chi - 1)))
        state.update(mean=mean, p_sigma=p_sigma, p_c=p_c, C=covariance, sigma=sigma * math.exp(change))
        state["generation"] = torch.full_like(state["generation"], generation)
        if generation >= int(state["decomposed"]) + c.gap:
            self.decompose(state)

    def decompose(self, state: State) -> None:
        """Eigendecomposition of the symmetrised C: axes [n, n] in columns, lengths the square roots of the eigenvalues.

        Errors: core.errors.Failure where C is not positive definite.
        """
        covariance = (state["C"] + state["C"].mT) / 2
        values, axes = linear.eigensystem(covariance)
        if not float(values[0]) > 0:
            raise Failure(f"the covariance matrix has lost positive definiteness (smallest eigenvalue {float(values[0]):.3g})")
        state.update(C=covariance, axes=axes.contiguous(), lengths=values.sqrt(), decomposed=state["generation"].clone())
