"""Vector environments of torch worlds: next-step autoreset written out for single rows, determinism, and independence of rows."""

import numpy as np
import pytest
import torch

from sensorium.core.env import TorchWorld
from sensorium.core.seeding import fold, row_seeds
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.gym import TorchVector
from sensorium.nets import descent
from sensorium.systems.world_models.dream import DreamWorld
from sensorium.systems.world_models.model import MDNRNN

ROWS, STEPS = 6, 60


def dream() -> DreamWorld:
    """A dream whose episodes end after a few steps: the logit of an end is about -2 +- 1."""
    memory = MDNRNN(3, 1, 8, restart=True).requires_grad_(False)
    descent.glorot(memory, 0)
    memory.kernel *= 3
    memory.head[:, 0] *= 8
    memory.head_bias[0] = -2.0
    return DreamWorld(memory, torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(5, 3), 1.15, 25, ())


WORLDS = {"cart-pole": CartPole(horizon=25), "dream": dream()}


def played(vector: TorchVector, actions: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Observations, rewards, terminated and truncated: of `reset`, then of every step."""
    rows = len(actions[0])
    found = [(vector.reset(seed=4)[0], np.zeros(rows), np.zeros(rows, bool), np.zeros(rows, bool))]
    return found + [vector.step(action)[:4] for action in actions]


def by_hand(world: TorchWorld, seed: torch.Tensor, actions: np.ndarray) -> list[tuple]:
    """The same for one row, which begins its next episode in the step after an end."""
    state, t, episodes = world.initial(seed), 0, 0
    found = [(world.observe(state)[0].numpy(), 0.0, False, False)]
    for action in actions:
        if found[-1][2] or found[-1][3]:
            episodes += 1
            state, t = world.initial(fold(seed + episodes, "next episode")), 0
            found.append((world.observe(state)[0].numpy(), 0.0, False, False))
        else:
            state, step = world.transition(state, torch.from_numpy(action)[None], t)
            t += 1
            found.append((step.obs[0].numpy(), float(step.reward), bool(step.terminated), bool(step.truncated)))
    return found


@pytest.fixture
def actions() -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (STEPS, ROWS, 1)).astype(np.float32)


@pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", WORLDS)
def test_rows_equal_single_rows_with_autoreset_by_hand(name, compile, actions):
    world = WORLDS[name]
    together = played(TorchVector(world, ROWS, compile=compile), actions)
    ends = np.zeros(2)
    for row, seed in enumerate(row_seeds(4, ROWS).split(1)):
        for now, then in zip(together, by_hand(world, seed, actions[:, row]), strict=True):
            for part, single in zip(now, then, strict=True):
                np.testing.assert_allclose(part[row], single, rtol=1e-4, atol=1e-4)
            ends += then[2:]
    assert (ends > 2).all()  # both kinds of end occur


@pytest.mark.parametrize("name", WORLDS)
def test_the_same_seed_and_actions_give_the_same_bits_whatever_other_rows_do(name, actions):
    world, others = WORLDS[name], actions.copy()
    others[:, 1:] *= -1
    first, again, changed = (played(TorchVector(world, ROWS, compile=False), some) for some in (actions, actions, others))
    for a, b, c in zip(first, again, changed, strict=True):
        for part, same, other in zip(a, b, c, strict=True):
            np.testing.assert_array_equal(part, same)
            np.testing.assert_array_equal(part[0], other[0])


def test_arrays_belong_to_the_caller(actions):
    vector, reference = (TorchVector(WORLDS["dream"], ROWS, compile=False) for _ in range(2))
    expected = played(reference, actions)
    actions.flags.writeable = False
    obs, _ = vector.reset(seed=4)
    for action, then in zip(actions, expected[1:], strict=True):
        obs.fill(np.nan)
        obs, *others, _ = vector.step(action)
        np.testing.assert_array_equal(obs, then[0])
        for flags in others[1:]:
            flags.fill(True)
