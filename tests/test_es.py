"""Strategies against references: pycma for CMA-ES, explicit formulas for PGPE, and functions with known optima for both."""

import cma
import numpy as np
import pytest
import torch

from sensorium.core import jobs
from sensorium.core.errors import Usage
from sensorium.core.seeding import row_seeds
from sensorium.envs.toy import Toy
from sensorium.es.cma import CMA, constants
from sensorium.es.pgpe import PGPE
from sensorium.es.ranking import centred_ranks
from sensorium.es.workers import Workers
from sensorium.systems.attention_neuron.model import FeedForwardAgent


@pytest.mark.slow
@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("n", [8, 60])
def test_cma_follows_pycma(n, active):
    oracle = cma.CMAEvolutionStrategy(np.full(n, 0.5), 0.3, {"verbose": -9, "seed": 3, "CMA_active": active})
    ours = CMA(oracle.popsize, 0.3, active)
    state, scales = ours.init(torch.full((n,), 0.5)), np.logspace(0, 3, n)
    for _ in range(200):
        candidates = oracle.ask()
        costs = [float((scales * x**2).sum() + 0.1 * np.abs(x).sum()) for x in candidates]
        oracle.tell(candidates, costs)
        ours.tell(state, torch.tensor(np.array(candidates)), -torch.tensor(costs, dtype=torch.float64))
        pairs = {"mean": oracle.mean, "sigma": oracle.sigma, "C": oracle.sm.C, "p_c": oracle.pc, "p_sigma": oracle.adapt_sigma.ps}
        for name, theirs in pairs.items():
            off = np.abs(np.asarray(theirs) - state[name].numpy()).max() / np.abs(theirs).max()
            assert off < 1e-9, (name, off)


def test_cma_samples_with_its_own_covariance():
    ours = CMA(20000, 0.5)
    state = ours.init(torch.tensor([1.0, -1.0, 2.0]))
    root = torch.tensor([[2.0, 0, 0], [0.5, 1, 0], [0, -0.7, 0.3]], dtype=torch.float64)
    state["C"] = root @ root.mT
    ours.decompose(state)
    sample = ours.ask(state, 7)
    torch.testing.assert_close(sample.mean(0), state["mean"], atol=0.03, rtol=0)
    torch.testing.assert_close(sample.mT.cov(), 0.25 * state["C"], atol=0.04, rtol=0)


def test_cma_constants_have_the_published_properties():
    c = constants(913, 256, True)
    assert sum(c.weights[: c.mu]) == pytest.approx(1)
    assert c.c1 + c.cmu * sum(c.weights) == pytest.approx(0, abs=1e-12) or sum(c.weights[c.mu :]) > -1 - 2 * c.mueff
    assert all(a >= b for a, b in zip(c.weights, c.weights[1:], strict=False))


def test_centred_ranks_are_evenly_spaced_centred_and_equal_for_ties():
    ranks = centred_ranks(torch.tensor([3.0, -1.0, 7.0, 3.0, 0.0]))
    assert ranks.tolist() == [0.125, -0.5, 0.5, 0.125, -0.25]
    assert abs(float(ranks.sum())) < 1e-6


def test_pgpe_samples_symmetric_pairs():
    strategy = PGPE(population=2000, sigma=0.2)
    state = strategy.init(torch.linspace(-1, 1, 5))
    sample = strategy.ask(state, 3)
    torch.testing.assert_close((sample[0::2] + sample[1::2]) / 2, state["mean"].expand(1000, 5))
    torch.testing.assert_close(sample.std(0), torch.full((5,), 0.2), atol=0.01, rtol=0)
    assert torch.equal(sample, strategy.ask(state, 3))
    assert not torch.equal(sample, strategy.ask(state, 4))


@pytest.mark.parametrize("optimizer", ["adam", "clipup"])
def test_pgpe_follows_the_formulas(optimizer):
    """One generation by explicit loops: gradients of mean and sigma, one optimiser step."""
    strategy = PGPE(population=6, sigma=0.5, optimizer=optimizer, learning_rate=0.1, sigma_learning_rate=0.3)
    state = strategy.init(torch.zeros(2))
    candidates, fitness = strategy.ask(state, 1), torch.tensor([4.0, 1.0, 0.0, 2.0, 5.0, 3.0])
    ranks = [(sum(other < f for other in fitness.tolist())) / 5 - 0.5 for f in fitness.tolist()]
    baseline = sum(ranks) / 6
    mean_step, sigma_step = np.zeros(2), np.zeros(2)
    for pair in range(3):
        noise = candidates[2 * pair].double().numpy()
        plus, minus = ranks[2 * pair], ranks[2 * pair + 1]
        mean_step += (plus - minus) / 2 * noise / 3
        sigma_step += ((plus + minus) / 2 - baseline) * (noise**2 - 0.25) / 0.5 / 3
    strategy.tell(state, candidates, fitness)
    expected = 0.1 * np.sign(mean_step) if optimizer == "adam" else 0.1 * 0.3 * mean_step / np.linalg.norm(mean_step)
    np.testing.assert_allclose(state["mean"], expected, rtol=1e-4)
    np.testing.assert_allclose(state["sigma"], 0.5 + np.clip(0.3 * sigma_step, -0.1, 0.1), rtol=1e-4)


def sphere(x):
    return -(x**2).sum(1)


def rosenbrock(x):
    return -(100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)


def noisy(x):
    return sphere(x) + 0.1 * torch.randn(len(x), generator=torch.Generator().manual_seed(int(x.abs().sum() * 1e6) % 2**31))


OPTIMA = [
    (CMA(16, 0.5), sphere, 200, 1e-9),
    (CMA(24, 0.5), rosenbrock, 500, 1e-6),
    (CMA(64, 0.5), noisy, 200, 0.1),
    (PGPE(64, 0.5, 0.1, decay=0.98), sphere, 400, 1e-3),
    (PGPE(200, 0.3, 0.05, decay=0.9995), rosenbrock, 4000, 0.05),
    (PGPE(64, 0.5, 0.1, decay=0.98), noisy, 400, 0.1),
    (PGPE(64, 0.5, 0.5, optimizer="clipup", decay=0.98), sphere, 400, 1e-3),
]


@pytest.mark.parametrize(("strategy", "function", "generations", "within"), OPTIMA)
def test_both_reach_the_optimum(strategy, function, generations, within):
    """All optima have the value 0; evaluation is without noise."""
    state = strategy.init(torch.full((6,), -1.5))
    for generation in range(generations):
        candidates = strategy.ask(state, 1000 + generation)
        strategy.tell(state, candidates, function(candidates))
    exact = sphere if function is noisy else function
    assert -float(exact(state["mean"][None])) < within


def test_jobs_are_bit_identical_here_and_on_processes():
    agent = FeedForwardAgent(3)
    vectors = torch.randn(12, agent.layout.size, generator=torch.Generator().manual_seed(0))
    seeds = row_seeds(0, 5).expand(12, -1)
    here = Workers(Toy(), agent, 4, False)
    with jobs.on("processes:2"):
        assert torch.equal(here.scores(vectors, seeds), Workers(Toy(), agent, 4, False).scores(vectors, seeds))
    with jobs.on("processes:2"), pytest.raises(Usage, match="block"):
        Workers(Toy(), agent, 0, False)
    for place in ("there", "processes", "processes:0", "ray:", "here:2"):
        with pytest.raises(Usage, match="allowed: here, processes:N, ray"), jobs.on(place):
            pass
