"""Treatments of vector observations: their effects, dependence on the row's seed only, and composition."""

import numpy as np
import pytest
import torch

from sensorium.core.env import TorchEnv
from sensorium.core.errors import Usage
from sensorium.core.rollout import play
from sensorium.core.seeding import fold, row_seeds, uniform
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.sensed import Sensed, SensedEnv
from sensorium.envs.sensors import Drop, Shuffle, Swap, parse
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
    "shuffle:every=7:late",
    "blank:2",
    "freeze:2",
    "delay:3",
    "scale:-2",
    "gaussian:0.1",
    "delay:2,drop:0.4,freeze:1,shuffle:every=5,delay:1,noise:1,gaussian:0.2,scale:3,blank:1",
]
SEEDS = row_seeds(0, 40)
PINNED = {
    "shuffle": [[4, 1, 0, 3, 2], [1, 0, 3, 2, 4]],
    "swap": [[4, 2, 1, 0, 3], [1, 2, 0, 4, 3]],
    "drop": [[0, 1, 3], [0, 2, 4]],
}
"""layouts of the first two rows of seed 0, of five channels"""


def observe(spec: str, steps: int = 30, seeds: torch.Tensor = SEEDS, hard: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Raw and treated observations [T + 1, rows, channels] for the same actions; without `hard` no episode ends."""
    plain, altered = CartPole(hard).open(), Sensed(CartPole(hard), spec).open()
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


def test_layouts_are_those_of_earlier_versions():
    """Results of the zoo depend on them."""
    seeds = row_seeds(0, 2)
    assert Sensed(CartPole(), "shuffle").layouts(Sensed(CartPole(), "shuffle").own(seeds))[0].tolist() == PINNED["shuffle"]
    assert Swap(3).layout(seeds, 0, 5).tolist() == PINNED["swap"]
    assert Drop(0.4).layout(seeds, 0, 5).tolist() == PINNED["drop"]


def faulty(spec: str) -> np.ndarray:
    """The chosen channels of a fault in each row, by the generator alone."""
    seeds = fold(fold(SEEDS, "sense", 0), "fault")
    return np.argsort(uniform(seeds, 0, 5).numpy(), axis=1)[:, : int(spec.partition(":")[2])]


@pytest.mark.parametrize("spec", ["blank:1", "blank:2", "freeze:1", "freeze:3"])
def test_blank_and_frozen_channels_in_numpy(spec):
    raw, seen = (found.numpy() for found in observe(spec))
    expected = raw.copy()
    for row, channels in enumerate(faulty(spec)):
        for channel in channels:
            expected[:, row, channel] = 0 if spec.startswith("blank") else raw[0, row, channel]
    np.testing.assert_array_equal(seen, expected)
    assert not np.array_equal(seen, raw)


def test_the_same_channels_fail_in_every_kind_of_fault():
    raw, blank = observe("blank:1")
    _, scaled = observe("scale:2")
    _, more = observe("blank:3")
    changed = (blank[5] != raw[5]).int().argmax(1)
    assert torch.equal((scaled[5] != raw[5]).int().argmax(1), changed)
    assert (more[5].gather(1, changed[:, None]) == 0).all()
    assert len(set(changed.tolist())) == 5


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_delay_in_numpy(steps):
    raw, seen = (found.numpy() for found in observe(f"delay:{steps}", hard=False))
    expected = np.stack([raw[max(t - steps, 0)] for t in range(len(raw))])
    np.testing.assert_array_equal(seen, expected)


def test_one_channel_is_scaled():
    raw, seen = (found.numpy() for found in observe("scale:-2"))
    expected = raw.copy()
    for row, (channel,) in enumerate(faulty("scale:1")):
        expected[:, row, channel] *= -2
    np.testing.assert_array_equal(seen, expected)


def test_gaussian_noise_is_new_at_each_step_in_every_channel():
    raw, seen = observe("gaussian:0.5", 60, row_seeds(0, 400))
    noise = seen - raw
    # rows that have ended repeat their last observation
    alive = (raw[1:] != raw[:-1]).any(2)
    sample = noise[1:][alive]
    assert (sample.mean(0).abs() < 5 * 0.5 / len(sample) ** 0.5).all()
    assert ((sample.std(0) - 0.5).abs() < 5 * 0.5 / (2 * len(sample)) ** 0.5).all()
    assert (torch.corrcoef(sample.T) - torch.eye(5)).abs().max() < 0.05
    assert abs(float((noise[1] * noise[2]).mean())) < 0.05


def test_a_late_shuffle_equals_no_shuffle_up_to_its_step():
    raw, seen = observe("shuffle:every=7:late", 28, hard=False)
    _, early = observe("shuffle:every=7", 28, hard=False)
    assert torch.equal(seen[:7], raw[:7])
    assert torch.equal(seen[7:], early[7:])
    assert not torch.equal(seen[7], raw[7])


def test_treatments_apply_in_order():
    raw, seen = (found.numpy() for found in observe("delay:1,duplicate,delay:2", hard=False))
    expected = np.stack([np.concatenate([raw[max(t - 3, 0)]] * 2, 1) for t in range(len(raw))])
    np.testing.assert_array_equal(seen, expected)


def test_too_few_channels_are_a_usage_error():
    for spec in ("blank:6", "freeze:6", "drop:0.5,blank:4"):
        with pytest.raises(Usage, match="channels"):
            Sensed(CartPole(), spec).spec  # noqa: B018


def test_channels_that_keep_their_places_keep_their_names():
    assert Sensed(CartPole(), "blank:1,freeze:1,delay:2,scale:2,gaussian:0.1").spec.sensors == CartPole().spec.sensors


@pytest.mark.slow
@pytest.mark.compiled
def test_a_compiled_step_has_the_same_treatments():
    """Returns of a policy that sums what it observes; compiled steps may round in another way."""
    world = Sensed(CartPole(horizon=30), "delay:2,freeze:1,blank:1,scale:3,gaussian:0.2,shuffle:every=10:late")
    compiled, eager = (play(world.open(), Summing(), row_seeds(4, 32), compile=compile) for compile in (True, False))
    torch.testing.assert_close(compiled.returns, eager.returns, rtol=1e-3, atol=1e-3)
    assert torch.equal(compiled.lengths, eager.lengths)


class Summing:
    """A policy whose action is the sum of its inputs."""

    members = 1

    def begin(self, seeds: torch.Tensor) -> tuple[()]:
        return ()

    def act(self, obs: torch.Tensor, memory: tuple[()], t: int | torch.Tensor) -> tuple[torch.Tensor, tuple[()]]:
        return torch.tanh(obs.sum(1, keepdim=True) / 10), memory

    def take(self, members: torch.Tensor) -> "Summing":
        return self


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
    for _ in range(30):
        one, other = (env.step(torch.ones(len(SEEDS), 1)) for env in (inside, outside))
        assert torch.equal(one.obs, other.obs)
        assert torch.equal(one.terminated, other.terminated)


@pytest.mark.parametrize(
    "spec",
    [
        "shufle",
        "swap",
        "swap:0",
        "noise:x",
        "drop:1.5",
        "shuffle:evry=3",
        "duplicate:2",
        "shuffle:every=-1",
        "shuffle:late",
        "shuffle:every=5:soon",
        "blank",
        "blank:0",
        "freeze:0.5",
        "delay:-1",
        "scale:inf",
        "scale",
        "gaussian:0",
        "gaussian:nan",
    ],
)
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
