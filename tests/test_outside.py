"""Parts for other people's code: treatments as Gymnasium wrappers, the paper's layers as torch modules, the extractor for Stable-Baselines3."""

import importlib
import math
import subprocess
import sys
from functools import partial

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import sensorium
from sensorium.core.errors import Failure, Usage
from sensorium.core.seeding import row_seeds
from sensorium.envs.gym import episode_seeds
from sensorium.envs.sensors import GRAMMAR, Drop, Noise, parse
from sensorium.gym import Senses, VectorSenses
from sensorium.nn import AttentionNeurons, FeedForwardNeurons, PatchNeurons, history_features
from sensorium.systems.attention_neuron.official import LAYOUTS

CART_POLE = "sensorium/CartPoleSwingUpHarder-v0"
TREATMENTS = [spec.strip() for spec in GRAMMAR.split(",") if "forget" not in spec]
SPECS = [*TREATMENTS, "noise:3,shuffle:every=5,drop:0.3", "shuffle,duplicate,noise:2"]


class Counter(gymnasium.Env):
    """Observations (episode, step, 10, 20, 30) in float64; an episode ends after `length` steps."""

    def __init__(self, length: int = 4):
        self.observation_space, self.action_space = (
            Box(np.array([0, 0, 10, 20, 30.0]), np.array([99, 99, 10, 20, 30.0]), dtype=np.float64),
            Box(-1, 1),
        )
        self.length, self.episode = length, -1

    def look(self):
        return np.array([self.episode, self.t, 10, 20, 30.0])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return self.look(), {}

    def step(self, action):
        self.t += 1
        return self.look(), 1.0, self.t == self.length, False, {}


# single environments


@pytest.mark.parametrize("spec", SPECS)
def test_a_wrapped_environment_equals_the_world_with_senses_to_the_bit(spec):
    env, world = Senses(gymnasium.make(CART_POLE), spec), sensorium.world("cart-pole", senses=spec).open()
    for seed in (5, 6):
        obs, _ = env.reset(seed=seed)
        assert np.array_equal(obs, world.reset(row_seeds(seed, 1))[0])
        for t in range(12):
            action = np.array([math.sin(t)], dtype=np.float32)
            obs, reward, terminated, truncated, _ = env.step(action)
            step = world.step(torch.from_numpy(action)[None])
            assert np.array_equal(obs, step.obs[0])
            assert (reward, terminated, truncated) == (float(step.reward[0]), bool(step.terminated[0]), bool(step.truncated[0]))
            assert env.observation_space.contains(obs)
            if terminated:
                break


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")
@pytest.mark.filterwarnings("ignore:.*infinity. This is probably too")
def test_gymnasiums_check_passes(spec):
    check_env(Senses(gymnasium.make("CartPole-v1"), spec), skip_render_check=True)


@pytest.mark.parametrize("spec", SPECS)
def test_observations_are_inside_their_space_and_reach_its_bounds(spec):
    """A box whose observations are its corners: no treatment leaves the new space, and each channel but noise reaches both bounds."""

    class Corners(Counter):
        def look(self):
            space = self.observation_space
            return space.low if self.t % 2 else space.high

    env = Senses(Corners(400), spec)
    seen = [env.reset(seed=0)[0], *(env.step(np.zeros(1))[0] for _ in range(399))]
    seen += [env.reset(seed=seed)[0] for seed in range(200)]
    assert all(env.observation_space.contains(obs) for obs in seen)
    real = np.abs(seen[0]) >= 10 if "noise" in spec and "shuffle" not in spec else slice(None)
    # noise does not reach its bounds
    if "noise:3" not in spec and "gaussian" not in spec:
        assert (env.observation_space.high[real] >= np.max(seen, 0)[real]).all()
        assert np.isclose(env.observation_space.high[real], np.max(seen, 0)[real]).mean() > 0.5


def test_the_bounds_of_each_treatment():
    bounds = torch.tensor([[0.0, -5.0, 1.0], [1.0, 5.0, math.inf]])
    assert parse("shuffle")[0].limits(bounds).tolist() == [[-5] * 3, [math.inf] * 3]
    assert Drop(0.3).limits(bounds).tolist() == [[-5] * 2, [math.inf] * 2]
    assert parse("duplicate")[0].limits(bounds)[0].tolist() == [0, -5, 1, 0, -5, 1]
    np.testing.assert_allclose(Noise(2).limits(bounds), [[0, -5, 1, -0.6, -0.6], [1, 5, math.inf, 0.6, 0.6]], rtol=1e-6)
    # the largest number that core.seeding.normal can return
    assert 0.1 * math.sqrt(-2 * math.log(2.0**-24)) < 0.6


def orders(env: gymnasium.Env, episodes: int, seed: int | None) -> list[tuple[float, ...]]:
    """The constant channels (10, 20, 30) of the first observations of some episodes, of which only the first is given a seed."""
    first = [env.reset(seed=seed)[0], *(env.reset()[0] for _ in range(episodes - 1))]
    return [tuple(float(x) if x >= 10 else 0 for x in obs) for obs in first]


def test_later_episodes_are_functions_of_the_first_seed_and_their_number():
    one, other = (orders(Senses(Counter(), "shuffle"), 20, 3) for _ in range(2))
    assert one == other
    assert len(set(one)) > 15
    assert orders(Senses(Counter(), "shuffle"), 20, 4) != one
    # a seed begins anew, without any seed treatments are random
    env = Senses(Counter(), "shuffle")
    assert orders(env, 5, 9) == orders(env, 5, 9)
    assert orders(Senses(Counter(), "shuffle"), 20, None) != orders(Senses(Counter(), "shuffle"), 20, None)


def test_it_follows_an_environment_that_restarts_by_itself():
    def orders(env: gymnasium.Env) -> list[list[float]]:
        seen = [env.reset(seed=3)[0], *(env.step(np.zeros(1))[0] for _ in range(30))]
        return [[float(x) for x in obs] for obs in seen]

    outside = Senses(gymnasium.wrappers.Autoreset(Counter()), "shuffle:every=3")
    assert orders(outside) == orders(gymnasium.wrappers.Autoreset(Senses(Counter(), "shuffle:every=3")))


def test_the_wrapped_environments_own_random_numbers_are_unchanged():
    plain, treated = gymnasium.make("CartPole-v1"), Senses(gymnasium.make("CartPole-v1"), "noise:2")
    for seed in (7, None, None):
        assert np.array_equal(plain.reset(seed=seed)[0], treated.reset(seed=seed)[0][:4])


def test_it_can_be_registered_with_an_environment():
    wrappers = (Senses.wrapper_spec(senses="noise:5,shuffle"),)
    gymnasium.register("Shuffled-v0", "gymnasium.envs.classic_control:CartPoleEnv", additional_wrappers=wrappers)
    made = gymnasium.make("Shuffled-v0")
    again = gymnasium.make(made.spec)
    assert isinstance(made, Senses)
    assert made.observation_space.shape == again.observation_space.shape == (9,)
    assert np.array_equal(made.reset(seed=1)[0], again.reset(seed=1)[0])
    assert gymnasium.envs.registration.EnvSpec.from_json(made.spec.to_json()).additional_wrappers == made.spec.additional_wrappers


def test_dtypes():
    assert Senses(Counter(), "noise:2").reset(seed=0)[0].dtype == np.float64

    class Bytes(Counter):
        def __init__(self):
            super().__init__()
            self.observation_space = Box(0, 255, (128,), np.uint8)

        def look(self):
            return np.arange(128, dtype=np.uint8)

    for spec, dtype in (("shuffle", np.uint8), ("noise:2", np.float32)):
        env = Senses(Bytes(), spec)
        obs, _ = env.reset(seed=0)
        assert obs.dtype == env.observation_space.dtype == dtype
        assert env.observation_space.contains(obs)
    assert sorted(Senses(Bytes(), "shuffle").reset(seed=0)[0].tolist()) == list(range(128))


@pytest.mark.parametrize(
    ("space", "spec", "words"),
    [
        (Box(0, 255, (96, 96, 3), np.uint8), "shuffle", "patches"),
        (gymnasium.spaces.Dict(x=Box(0, 1)), "shuffle", "FlattenObservation"),
        (gymnasium.spaces.Discrete(3), "shuffle", "FlattenObservation"),
        (Box(0, 1, (3,)), "shuffle:every=5:forget", "forget"),
        (Box(0, 1, (3,)), "shufle", "did you mean shuffle"),
        (Box(0, 1, (3,)), "drop:0.1", "at least one"),
    ],
)
def test_what_cannot_be_treated_is_refused_in_a_sentence(space, spec, words):
    env = Counter()
    env.observation_space = space
    with pytest.raises(Usage, match=words) as error:
        Senses(env, spec)
    assert "\n" not in str(error.value)


# vector environments


def counters(rows: int, mode: AutoresetMode, *wrappers) -> SyncVectorEnv:
    def make(row: int):
        env = Counter(3 + row)
        for wrapper in wrappers:
            env = wrapper(env)
        return env

    return SyncVectorEnv([partial(make, row) for row in range(rows)], autoreset_mode=mode)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_a_vector_environment_equals_wrapped_single_ones(spec, mode):
    outside, inside = VectorSenses(counters(3, mode), spec), counters(3, mode, partial(Senses, senses=spec))
    assert outside.observation_space == inside.observation_space
    assert outside.single_observation_space == inside.single_observation_space
    # 5 and later resets without a seed; a list of seeds
    for seed in (5, None, [9, None, 8]):
        one, other = outside.reset(seed=seed)[0], inside.reset(seed=seed)[0]
        np.testing.assert_allclose(one, other, rtol=1e-6)
        for _ in range(17):
            (one, *rest, info), (other, *others, others_info) = (env.step(np.zeros((3, 1))) for env in (outside, inside))
            np.testing.assert_allclose(one, other, rtol=1e-6)
            assert outside.observation_space.contains(one)
            assert all(np.array_equal(a, b) for a, b in zip(rest, others, strict=True))
            assert ("final_obs" in info) == ("final_obs" in others_info)
            if "final_obs" in info:
                for row, found in enumerate(others_info["final_obs"]):
                    assert (found is None) == (info["final_obs"][row] is None)
                    if found is not None:
                        np.testing.assert_allclose(info["final_obs"][row], found, rtol=1e-6)


def test_a_row_that_restarts_has_a_new_layout_and_its_time_begins_at_0():
    envs = VectorSenses(counters(2, AutoresetMode.NEXT_STEP), "shuffle:every=4")
    seen = [envs.reset(seed=0)[0], *(envs.step(np.zeros((2, 1)))[0] for _ in range(40))]

    def order(t: int, row: int) -> list[float]:
        return [float(x) if x >= 10 else 0 for x in seen[t][row]]

    # row 1 has 4 steps, then one of a reset: its reshuffle at step 4 is seen at t = 4, 9, 14, ..., a new episode begins at t = 5, 10, 15, ...
    changes = [t for t in range(1, 41) if order(t, 1) != order(t - 1, 1)]
    assert all(t % 5 in (0, 4) for t in changes)
    assert len(changes) > 10
    # the expected layout of each episode, from its seed
    for episode in range(8):
        seeds = episode_seeds(row_seeds(1, 1), torch.tensor([episode]))
        layout = parse("shuffle:every=4")[0].layout(envs.rows.sensed.own(seeds)[0], 0, 5)[0]
        assert order(5 * episode, 1) == [(0, 0, 10, 20, 30)[i] for i in layout.tolist()]


def test_rows_are_reset_one_by_one_without_autoreset():
    envs = VectorSenses(counters(3, AutoresetMode.DISABLED), "shuffle:every=2,noise:1")
    envs.reset(seed=0)
    for _ in range(3):
        before, _, terminated, _, _ = envs.step(np.zeros((3, 1)))
    assert terminated.tolist() == [True, False, False]
    after, _ = envs.reset(options={"reset_mask": terminated})
    assert np.array_equal(after[1:], before[1:])
    assert not np.array_equal(after[0], before[0])
    assert envs.rows.state[2].tolist() == [0, 3, 3]
    assert envs.rows.episodes.tolist() == [1, 0, 0]


@pytest.mark.parametrize("spec", SPECS)
def test_our_own_vector_environment_equals_the_world_in_every_episode(spec):
    """A vector environment in torch draws its rows' seeds itself: dynamics and treatments of each episode have the same row seed."""
    envs = VectorSenses(gymnasium.make_vec(CART_POLE, 3), spec)
    world = sensorium.world("cart-pole", senses=spec).open()
    obs, _ = envs.reset(seed=4)
    assert np.array_equal(obs, world.reset(row_seeds(4, 3)))
    action = np.ones((3, 1), dtype=np.float32)
    episode, ended = np.zeros(3, dtype=int), np.zeros(3, dtype=bool)
    for _ in range(120):
        restarted = ended
        obs, _, terminated, truncated, _ = envs.step(action)
        episode, ended = episode + restarted, terminated | truncated
        for row in np.flatnonzero(restarted):
            seeds = episode_seeds(row_seeds(4, 3), torch.from_numpy(episode))
            np.testing.assert_allclose(obs[row], world.reset(seeds)[row], rtol=1e-6, atol=1e-7)
    assert sorted(episode)[1] >= 2


# layers

LAYERS = {
    "recurrent": lambda obs, layer: layer(obs[:, -1], obs.new_zeros(len(obs), 1))[0],
    "feed-forward": lambda obs, layer: layer(obs),
}


def layer_of(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return (AttentionNeurons() if name == "recurrent" else FeedForwardNeurons(steps=5)).double()


@pytest.mark.parametrize("name", LAYERS)
def test_the_code_is_the_same_for_any_order_and_with_zero_sensors(name):
    layer, code = layer_of(name), LAYERS[name]
    obs = torch.randn(4, 5, 7, dtype=torch.float64)
    expected = code(obs, layer)
    torch.testing.assert_close(code(obs[:, :, torch.randperm(7)], layer), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(code(torch.cat([obs, torch.zeros(4, 5, 3)], 2), layer), expected, atol=1e-12, rtol=0)
    assert not torch.allclose(code(obs[:, :, :6], layer), expected)
    assert code(obs[:, :, :1], layer).shape == expected.shape


@pytest.mark.parametrize("name", LAYERS)
def test_doubled_sensors_at_half_the_gain_give_the_same_code(name):
    torch.manual_seed(0)
    layer = layer_of(name)
    half = AttentionNeurons(gain=0.5) if name == "recurrent" else FeedForwardNeurons(steps=5, gain=0.5)
    half.double().load_state_dict(layer.state_dict())
    obs = torch.randn(4, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(LAYERS[name](torch.cat([obs, obs], 2), half), LAYERS[name](obs, layer))


@pytest.mark.parametrize("agent", ["cart-pole", "ant"])
def test_the_recurrent_layer_is_that_of_the_agent_with_the_same_weights(agent):
    """The agent is tested against the paper's equations in plain loops (test_attention_neuron.py); here it acts through the layer's code."""
    torch.manual_seed(1)
    architecture = LAYOUTS[agent]
    vector = 0.5 * torch.randn(architecture.layout.size)
    layer = AttentionNeurons(architecture.actions, architecture.code, bias=architecture.bias, scale=architecture.scale)
    weights = {name: weight for name, weight in architecture.layout.split(vector).items() if not name.startswith("head")}
    layer.load_state_dict(weights)
    policy, memory = architecture.policy(vector), None
    state = policy.begin(torch.arange(3))
    observations, codes, before = torch.randn(6, 3, 9), [], []
    for t in range(6):
        code, memory = layer(observations[t], state[2], memory)
        before.append(state[2])
        codes.append(code)
        action, state = policy.act(observations[t], state, t)
        torch.testing.assert_close(policy.read(code), action)
        torch.testing.assert_close(memory.hidden, state[0])
    unrolled, last = layer.unroll(observations, torch.stack(before))
    torch.testing.assert_close(unrolled, torch.stack(codes), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(last.cell, memory.cell, atol=1e-5, rtol=1e-5)
    # from the middle of an episode
    _, middle = layer.unroll(observations[:2], torch.stack(before[:2]))
    torch.testing.assert_close(layer.unroll(observations[2:], torch.stack(before[2:]), middle)[0], unrolled[2:])


def test_the_feed_forward_layer_equals_plain_loops():
    torch.manual_seed(2)
    layer = FeedForwardNeurons(steps=4, code=3, query=4, key=5, hidden=6, gain=0.7)
    obs = 2 * torch.randn(2, 4, 3)
    p = {name: weight.detach().double().numpy() for name, weight in layer.named_parameters()}
    table = [[(math.sin, math.cos)[j % 2](i / 10000 ** (2 * (j // 2) / 4)) for j in range(4)] for i in range(3)]
    for row in range(2):
        totals = np.zeros((4, 3))
        for sensor in range(3):
            features, order = [], obs[row, :, sensor].double().numpy()
            for _ in range(3):
                rms = math.sqrt(sum(x * x for x in order) / len(order) + 1e-8)
                features += [math.log(rms), *(x / rms for x in order)]
                order = order[1:] - order[:-1]
            hidden = np.tanh(p["neuron.0.weight"] @ features + p["neuron.0.bias"])
            key = p["key.weight"] @ np.tanh(p["neuron.2.weight"] @ hidden + p["neuron.2.bias"])
            for m in range(3):
                weight = math.tanh((p["query.weight"] @ table[m]) @ key)
                totals[:, m] += weight * obs[row, :, sensor].double().numpy()
        np.testing.assert_allclose(layer(obs)[row].detach(), np.tanh(0.7 * totals).flatten(), atol=1e-5)


def test_history_features_do_not_depend_on_the_unit_of_a_sensor_but_for_the_logarithms():
    obs = torch.randn(3, 6, 2, dtype=torch.float64)
    plain, scaled = history_features(obs), history_features(1000 * obs)
    change = scaled - plain
    logarithms = [0, 7, 13]
    torch.testing.assert_close(change[..., logarithms], torch.full((3, 2, 3), math.log(1000), dtype=torch.float64), atol=1e-5, rtol=0)
    change[..., logarithms] = 0
    assert change.abs().max() < 1e-5
    assert history_features(torch.zeros(1, 6, 1)).isfinite().all()
    assert [history_features(torch.zeros(1, steps, 1)).shape[2] for steps in (1, 2, 3, 8)] == [2, 5, 9, 24]


def test_patches_in_any_order_give_the_code_that_the_image_gives():
    torch.manual_seed(3)
    layer = PatchNeurons(code=32, learned_norms=True)
    images = torch.randint(0, 256, (2, 4, 18, 24), dtype=torch.uint8)
    code = layer(images)
    assert code.shape == (2, 32, 16)
    # patches cut by hand, in another order
    pieces = [images[:, :, 6 * i : 6 * i + 6, 6 * j : 6 * j + 6].flatten(2) for i in range(3) for j in range(4)]
    patches = torch.stack([pieces[i] for i in torch.randperm(12)], 1)
    torch.testing.assert_close(layer.encode(patches), code, atol=1e-5, rtol=1e-5)
    # softmax: every patch twice changes nothing; other numbers of patches
    torch.testing.assert_close(layer.encode(torch.cat([patches, patches], 1)), code, atol=1e-5, rtol=1e-5)
    assert layer(images[:, :, :12, :6]).shape == code.shape
    assert not torch.allclose(layer.encode(patches[:, :11]), code)
    with pytest.raises(Usage, match="multiples of 6"):
        layer(images[:, :, :17])


def test_the_patch_layer_is_that_of_the_agent_for_car_racing_whatever_the_previous_action():
    torch.manual_seed(4)
    agent = LAYOUTS["car-racing"]
    vector = 0.3 * torch.randn(agent.layout.size)
    weights = {name: weight for name, weight in agent.layout.split(vector).items() if name.split(".")[0] in ("query", "key", "value")}
    # the columns of the previous action come last
    layer = PatchNeurons()
    layer.load_state_dict(weights | {"key.weight": weights["key.weight"][:, :108]})
    patches = torch.randint(0, 256, (2, 10, 4, 36), dtype=torch.uint8)
    tensors = agent.neurons.fold({name: weight[None] for name, weight in weights.items()})
    for action in (torch.zeros(2, agent.neurons.actions), torch.randn(2, agent.neurons.actions)):
        torch.testing.assert_close(layer.encode(patches), agent.neurons(tensors, patches, action), atol=1e-5, rtol=1e-5)


def test_parameter_counts_are_those_of_the_docstrings():
    def count(layer: torch.nn.Module) -> int:
        return sum(weight.numel() for weight in layer.parameters())

    # the paper's agents without their heads
    assert count(AttentionNeurons()) == 913 - 17 == 896
    assert count(AttentionNeurons(8, 32, bias=True, scale=True)) == 2504 - (32 * 32 + 32 + 32 * 8 + 8)
    for a, h, q, k in ((1, 8, 8, 32), (3, 5, 6, 7)):
        assert count(AttentionNeurons(a, query=q, key=k, hidden=h)) == 4 * h * (1 + a + h + 2) + k * (q + h)
    for steps, features in ((1, 2), (2, 5), (4, 12)):
        assert count(FeedForwardNeurons(steps)) == 32 * (features + 1) + 32 * 33 + 32 * (8 + 32)
    assert count(PatchNeurons()) == 4208 == 16 * 9 + 16 * (36 * 3 + 1) + 16 * (36 * 4 + 1)
    assert count(PatchNeurons(learned_norms=True)) == count(PatchNeurons()) + 72 + 32


@pytest.mark.parametrize(
    "layer", [AttentionNeurons(2), AttentionNeurons(2, bias=True, scale=True), FeedForwardNeurons(5), FeedForwardNeurons(1)]
)
def test_every_parameter_gets_a_gradient(layer):
    obs = torch.randn(6, layer.width // 16 if isinstance(layer, FeedForwardNeurons) else 5, 4)
    if isinstance(layer, FeedForwardNeurons):
        code = layer(obs)
    else:
        codes, _ = layer.unroll(obs.transpose(0, 1), torch.randn(5, 6, 2))
        code = codes[-1]
    code.square().sum().backward()
    assert all(weight.grad.isfinite().all() and (weight.grad != 0).any() for weight in layer.parameters())


def test_every_parameter_of_the_patch_layer_gets_a_gradient():
    layer = PatchNeurons(code=8, learned_norms=True)
    code = layer(torch.randint(0, 256, (2, 4, 12, 12), dtype=torch.uint8))
    (code * torch.randn_like(code)).sum().backward()
    # the softmax cancels the key's bias, as it is the same for every patch
    gradients = {name: float(weight.grad.abs().max()) for name, weight in layer.named_parameters()}
    assert gradients.pop("key.bias") < 1e-6
    assert all(1e-6 < gradient < math.inf for gradient in gradients.values())


# Stable-Baselines3


def ppo(stack: int, **arguments):
    stable_baselines3 = pytest.importorskip("stable_baselines3")
    from sensorium.sb3 import AttentionExtractor

    env = gymnasium.wrappers.FrameStackObservation(Senses(gymnasium.make("CartPole-v1"), "shuffle"), stack)
    policy = {"features_extractor_class": AttentionExtractor, "features_extractor_kwargs": arguments}
    return stable_baselines3.PPO("MlpPolicy", env, n_steps=32, batch_size=16, n_epochs=1, policy_kwargs=policy, seed=0, device="cpu")


def test_a_policy_with_the_extractor_learns_saves_and_does_not_depend_on_the_order(tmp_path):
    agent = ppo(4, code=8)
    before = agent.policy.features_extractor.neurons.neuron[0].weight.clone()
    agent.learn(64)
    assert not torch.equal(before, agent.policy.features_extractor.neurons.neuron[0].weight)
    agent.save(tmp_path / "agent")
    again = type(agent).load(tmp_path / "agent", device="cpu")
    obs = torch.randn(20, 4, 4)
    probabilities = [policy.get_distribution(obs[:, :, order]).distribution.probs for policy in (agent.policy, again.policy) for order in ([0, 1, 2, 3], [3, 1, 0, 2])]  # fmt: skip
    for other in probabilities[1:]:
        torch.testing.assert_close(other, probabilities[0])


def test_both_forms_of_stacked_observations_give_the_same_features():
    pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

    from sensorium.sb3 import AttentionExtractor

    stacked = VecFrameStack(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]), 3)
    frames = gymnasium.wrappers.FrameStackObservation(gymnasium.make("CartPole-v1"), 3, padding_type="zero")
    flat, square = AttentionExtractor(stacked.observation_space, steps=3), AttentionExtractor(frames.observation_space)
    square.load_state_dict(flat.state_dict())
    stacked.seed(5)
    one, (other, _) = stacked.reset(), frames.reset(seed=5)
    for _ in range(4):
        torch.testing.assert_close(flat(torch.tensor(one)), square(torch.tensor(other)[None]))
        one, other = stacked.step(np.array([1]))[0], frames.step(1)[0]
    assert flat.features_dim == flat(torch.tensor(one)).shape[1] == 3 * 32


@pytest.mark.parametrize(("shape", "steps"), [((4,), 0), ((8, 84, 84), 0), ((10,), 4), ((3, 4), 3)])
def test_observations_without_a_history_are_refused(shape, steps):
    pytest.importorskip("stable_baselines3")
    from sensorium.sb3 import AttentionExtractor

    with pytest.raises(Usage, match=r"\[steps, n\]"):
        AttentionExtractor(Box(-1, 1, shape), steps=steps)


def test_without_stable_baselines3_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    for name in [name for name in sys.modules if name.startswith("stable_baselines3.") or name == "sensorium.sb3"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(Failure, match=r"pip install 'sensorium\[sb3\]'"):
        importlib.import_module("sensorium.sb3")


def test_import_sensorium_imports_none_of_these():
    code = "import sys, sensorium; assert not {'sensorium.nn', 'sensorium.sb3', 'stable_baselines3'} & set(sys.modules); sensorium.gym.Senses, sensorium.nn.PatchNeurons"
    subprocess.run([sys.executable, "-c", code], check=True)
