"""Treatments of vector observations: their effects, dependence on the row's seed only, and composition."""

import pytest
import torch

from sensorium.core.env import TorchEnv
from sensorium.core.errors import Usage
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.sensors import Sensed, SensedEnv, Shuffle, parse
from sensorium.envs.wrappers import wrapped
from sensorium.systems.attention_neuron.model import SensoryAgent

SPECS = [
    "",
    "shuffle",
    "shuffle:every=7",
    "swap:1",
    "swap:3",
    "noise:5",
    "duplicate",
    "drop:0.4",
    "shuffle,duplicate,noise:2",
    "noise:3,shuffle:every=5,drop:0.3",
]
SEEDS = row_seeds(0, 40)


def observe(spec: str, steps: int = 30, seeds: torch.Tensor = SEEDS) -> tuple[torch.Tensor, torch.Tensor]:
    """Raw and treated observations [T + 1, rows, channels] for the same actions."""
    plain, altered = CartPole().open(), Sensed(CartPole(), spec).open()
    raw, seen = [plain.reset(seeds)], [altered.reset(seeds)]
    for t in range(steps):
        action = torch.full((len(seeds), 1), 0.5 - (t % 2))
        raw.append(plain.step(action).obs)
        seen.append(altered.step(action).obs)
    return torch.stack(raw), torch.stack(seen)


def test_a_shuffle_is_one_permutation_for_the_episode():
    raw, seen = observe("shuffle")
    for row in range(len(SEEDS)):
        order = [int((raw[:, row] == seen[:, row, slot, None]).all(0).nonzero()[0]) for slot in range(5)]
        assert sorted(order) == list(range(5))
    first = (seen[0, :, 0, None] == raw[0]).float().argmax(1)
    assert len(set(first.tolist())) == 5


def test_permutations_are_uniform():
    layout = Shuffle().layout(row_seeds(3, 12000), 0, 3)
    counts = torch.bincount(layout[:, 0] * 9 + layout[:, 1] * 3 + layout[:, 2], minlength=27)
    counts = counts[counts > 0]
    assert len(counts) == 6
    assert ((counts - 2000).abs() < 200).all()


def test_reshuffles_happen_only_when_due():
    raw, seen = observe("shuffle:every=7", 28)
    orders = [(seen[t][:, :, None] == raw[t][:, None, :]).float().argmax(2) for t in range(29)]
    for t in range(1, 29):
        alive = (raw[t] != raw[t - 1]).any(1)
        changed = (orders[t] != orders[t - 1]).any(1)[alive].float().mean()
        assert changed > 0.9 if t % 7 == 0 else changed == 0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_swaps_move_at_most_two_channels_each(count):
    raw, seen = observe(f"swap:{count}")
    moved = (raw[0] != seen[0]).sum(1)
    assert (moved <= 2 * count).all()
    if count == 1:
        assert (moved == 2).all()


def test_noise_channels_come_last_with_sd_0_1_and_change_at_each_step():
    raw, seen = observe("noise:5")
    assert torch.equal(seen[..., :5], raw)
    noise = seen[..., 5:]
    assert abs(float(noise.std()) - 0.1) < 0.005
    assert abs(float(noise.mean())) < 0.005
    assert not torch.equal(noise[0], noise[1])


def test_duplicate_and_drop():
    raw, seen = observe("duplicate")
    assert torch.equal(seen, torch.cat([raw, raw], 2))
    raw, seen = observe("drop:0.4")
    assert seen.shape[2] == 3
    for row in range(len(SEEDS)):
        places = [int((raw[:, row] == seen[:, row, slot, None]).all(0).nonzero()[0]) for slot in range(3)]
        assert places == sorted(set(places))


@pytest.mark.parametrize("spec", SPECS)
def test_treatments_do_not_change_the_world(spec):
    seeds, action = row_seeds(1, 16), torch.ones(16, 1)
    plain, altered = CartPole().open(), Sensed(CartPole(), spec).open()
    plain.reset(seeds)
    assert altered.reset(seeds).shape == (16, *altered.spec.observation)
    assert len(altered.spec.sensors) == altered.spec.observation[0]
    for _ in range(10):
        assert torch.equal(plain.step(action).reward, altered.step(action).reward)


@pytest.mark.parametrize("spec", SPECS)
def test_a_rows_treatment_does_not_depend_on_other_rows(spec):
    _, together = observe(spec)
    _, alone = observe(spec, seeds=SEEDS[11:12])
    torch.testing.assert_close(together[:, 11], alone[:, 0])


@pytest.mark.parametrize("spec", SPECS[1:])
def test_any_env_can_be_treated(spec):
    inside, outside = TorchEnv(Sensed(CartPole(), spec)), SensedEnv(CartPole().open(), Sensed(CartPole(), spec))
    assert torch.equal(inside.reset(SEEDS), outside.reset(SEEDS))
    for _ in range(12):
        one, other = (env.step(torch.ones(len(SEEDS), 1)) for env in (inside, outside))
        assert torch.equal(one.obs, other.obs)
        assert torch.equal(one.terminated, other.terminated)


@pytest.mark.parametrize("spec", ["shufle", "swap", "swap:0", "noise:x", "drop:1.5", "shuffle:evry=3", "duplicate:2", "shuffle:every=-1"])
def test_invalid_specifications_are_usage_errors_with_the_grammar(spec):
    with pytest.raises(Usage, match="allowed"):
        parse(spec)


def test_memory_stays_with_its_slot_unless_forget_is_set():
    agent = SensoryAgent()
    vector = torch.randn(agent.layout.size, generator=torch.Generator().manual_seed(0))
    seeds = row_seeds(2, 8)
    runs = {}
    for spec in ("shuffle:every=5", "shuffle:every=5:forget"):
        world, policy = wrapped(CartPole(horizon=6), agent.policy(vector), spec)
        runs[spec] = play(world.open(), policy, seeds, keep=("memory", "observations"))
    kept, cleared = runs["shuffle:every=5"], runs["shuffle:every=5:forget"]
    assert torch.equal(kept.memory[0][:5], cleared.memory[0][:5])
    # at step 5 the reset memory equals that of an agent that starts there with the same observation
    policy = agent.policy(vector)
    hidden, _ = policy.neurons(cleared.observations[5], policy.begin(seeds))
    torch.testing.assert_close(cleared.memory[0][5], hidden)
    assert not torch.allclose(kept.memory[0][5], hidden)
