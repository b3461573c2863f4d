"""The paper's equations against NumPy with explicit loops, their properties, and the authors' numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sensorium.core.rollout import play
from sensorium.core.run import run
from sensorium.core.seeding import Seeds, row_seeds
from sensorium.core.stage import NOWHERE, Folder
from sensorium.data import parallel_rollouts
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.wrappers import wrapped
from sensorium.es.evolve import Evolve
from sensorium.imitation.equations import recognition
from sensorium.rl.short_horizon import ShortHorizonActorCritic
from sensorium.systems.attention_neuron import equations
from sensorium.systems.attention_neuron.model import FeedForwardAgent, SensoryAgent
from sensorium.systems.attention_neuron.official import LAYOUTS
from sensorium.systems.attention_neuron.probes import r_squared

AGENTS = {
    "cart-pole": LAYOUTS["cart-pole"],
    "ant": LAYOUTS["ant"],
    "no memory": SensoryAgent(recurrent=False),
    "deaf to actions": SensoryAgent(hears_action=False),
    "mean": SensoryAgent(pooling="mean"),
    "max": SensoryAgent(pooling="max"),
}


def vector_for(agent, seed=0, members=()):
    return 0.7 * torch.randn(*members, agent.layout.size, generator=torch.Generator().manual_seed(seed))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def reference_actions(agent, vector, observations):
    """One row's actions by explicit loops in float64, from the paper's description; attention with LSTM only."""
    p = {name: t.double().numpy() for name, t in agent.layout.split(vector).items()}
    n, h = observations.shape[1], agent.hidden
    table = [
        [(math.sin if j % 2 == 0 else math.cos)(i / 10000 ** (2 * (j // 2) / agent.query)) for j in range(agent.query)]
        for i in range(agent.code)
    ]
    hidden, cell, action, actions = np.zeros((n, h)), np.zeros((n, h)), np.zeros(agent.actions), []
    for obs in observations:
        for k in range(n):
            x = np.concatenate([[obs[k]], action])
            gates = p["neuron.weight_ih"] @ x + p["neuron.bias_ih"] + p["neuron.weight_hh"] @ hidden[k] + p["neuron.bias_hh"]
            i, f, g, o = (gates[part * h : (part + 1) * h] for part in range(4))
            for unit in range(h):
                cell[k, unit] = sigmoid(f[unit]) * cell[k, unit] + sigmoid(i[unit]) * math.tanh(g[unit])
                hidden[k, unit] = sigmoid(o[unit]) * math.tanh(cell[k, unit])
        code = np.zeros(agent.code)
        for m in range(agent.code):
            query = p["query.weight"] @ table[m] + p.get("query.bias", 0)
            for k in range(n):
                key = p["key.weight"] @ hidden[k] + p.get("key.bias", 0)
                code[m] += math.tanh(query @ key / (math.sqrt(agent.key) if agent.scale else 1)) * obs[k]
        x = np.tanh(agent.gain * code)
        for layer in range(len(agent.layers) + 1):
            x = np.tanh(p[f"head.{layer}.weight"] @ x + p[f"head.{layer}.bias"])
        action = x
        actions.append(action)
    return np.array(actions)


@pytest.mark.parametrize("name", ["cart-pole", "ant"])
def test_the_agent_equals_the_reference_in_plain_loops(name):
    agent = replace(AGENTS[name], gain=0.5) if name == "ant" else AGENTS[name]
    vector, draw = vector_for(agent), np.random.default_rng(0)
    observations = torch.tensor(draw.normal(size=(6, 3, 7)), dtype=torch.float32)
    policy, memory = agent.policy(vector), agent.policy(vector).begin(torch.arange(3))
    ours = []
    for t in range(6):
        action, memory = policy.act(observations[t], memory, t)
        ours.append(action)
    for row in range(3):
        np.testing.assert_allclose(
            torch.stack(ours)[:, row], reference_actions(agent, vector, observations[:, row].double().numpy()), atol=2e-5
        )


@pytest.mark.parametrize("name", AGENTS)
def test_unroll_equals_single_steps(name):
    """The gradients are equal too."""
    agent, draw = AGENTS[name], torch.Generator().manual_seed(2)
    vector = vector_for(agent).requires_grad_()
    policy, (obs, before) = agent.policy(vector), (torch.randn(9, 3, 5, generator=draw), torch.rand(9, 3, agent.actions, generator=draw))
    first, cell = (torch.randn(3, 5, agent.hidden, generator=draw) for _ in range(2))
    after, last = policy.unroll(obs, before, first, cell)
    hidden, found = first, []
    for t in range(9):
        hidden, cell = policy.neurons(obs[t], (hidden, cell, before[t]))
        found.append(hidden)
    torch.testing.assert_close(after, torch.stack(found))
    if agent.recurrent:
        torch.testing.assert_close(last, cell)
    ours, other = (torch.autograd.grad((x**2).sum(), vector)[0] for x in (after, torch.stack(found)))
    torch.testing.assert_close(ours, other, atol=1e-4, rtol=1e-4)


def test_sensor_identification_equals_numpy():
    draw = np.random.default_rng(3)
    hidden, layer = draw.normal(size=(2, 4, 3)), draw.normal(size=(5, 4))
    ours = recognition(torch.from_numpy(hidden), torch.from_numpy(layer)).numpy()
    for row in range(2):
        for neuron in range(4):
            scores = [sum(hidden[row, neuron, h] * layer[n, h] for h in range(3)) + layer[n, 3] for n in range(5)]
            total = sum(math.exp(score) for score in scores)
            np.testing.assert_allclose(ours[row, neuron], [math.log(math.exp(score) / total) for score in scores])


def test_parameter_counts_are_the_published_ones():
    assert {name: agent.layout.size for name, agent in LAYOUTS.items()} == {
        "cart-pole": 913, "ant": 2504, "ant-mlp": 2248, "car-racing": 7212, "attention-agent": 3667, "pong": 1_687_726,
    }  # fmt: skip
    assert FeedForwardAgent(5).layout.size == 113
    assert FeedForwardAgent(10).layout.size == 193


def test_the_layout_equals_the_authors():
    offsets, at = {}, 0
    for name, shape in LAYOUTS["ant"].layout.shapes:
        offsets[name] = (at, shape)
        at += math.prod(shape)
    assert offsets["neuron.weight_hh"] == (288, (32, 8))
    assert offsets["query.weight"] == (608, (32, 8))
    assert offsets["key.bias"] == (1152, (32,))
    assert offsets["head.0.weight"] == (1184, (32, 32))
    assert offsets["head.1.bias"] == (2496, (8,))


def test_positional_table_has_known_values():
    table = equations.positional_table(16, 8)
    assert table[0].tolist() == [0, 1, 0, 1, 0, 1, 0, 1]
    assert float(table[3, 0]) == pytest.approx(math.sin(3))
    assert float(table[3, 3]) == pytest.approx(math.cos(3 / 10))
    assert float(table[15, 6]) == pytest.approx(math.sin(15 / 1000))


def test_fast_tanh_equals_tanh():
    x = torch.linspace(-100, 100, 100001, requires_grad=True)
    torch.testing.assert_close(equations.tanh(x), torch.tanh(x), atol=3e-7, rtol=0)
    (slope,) = torch.autograd.grad(equations.tanh(x).sum(), x)
    torch.testing.assert_close(slope, 1 - torch.tanh(x) ** 2, atol=1e-6, rtol=0)


def test_product_is_equal_for_shared_and_separate_weights():
    weight, x = torch.randn(4, 3, 1), torch.randn(3, 5, 7)
    shared, own = equations.product(weight, x), equations.product(weight.expand(4, 3, 7), x)
    torch.testing.assert_close(shared, own)
    np.testing.assert_allclose(shared, np.einsum("oi,inr->onr", weight[..., 0], x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", AGENTS)
def test_permuting_sensors_changes_nothing(name):
    agent = AGENTS[name]
    policy, draw = agent.policy(vector_for(agent).double()), torch.Generator().manual_seed(1)
    observations, order = torch.randn(20, 4, 6, generator=draw, dtype=torch.float64), torch.randperm(6, generator=draw)
    plain, mixed = policy.begin(torch.arange(4)), policy.begin(torch.arange(4))
    for t, obs in enumerate(observations):
        one, plain = policy.act(obs, plain, t)
        other, mixed = policy.act(obs[:, order], mixed, t)
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(plain[0][:, order], mixed[0], atol=1e-9, rtol=1e-9)


def test_a_zero_sensor_and_duplicated_sensors_change_nothing():
    """A channel that is always 0 adds nothing to the message; every channel twice at half the gain gives the same message."""
    agent = SensoryAgent()
    vector, obs = vector_for(agent), torch.randn(4, 5)
    alone, _ = agent.policy(vector).act(obs, agent.policy(vector).begin(torch.arange(4)), 0)
    silent, _ = agent.policy(vector).act(torch.cat([obs, torch.zeros(4, 3)], 1), agent.policy(vector).begin(torch.arange(4)), 0)
    half = replace(agent, gain=0.5).policy(vector)
    doubled, _ = half.act(torch.cat([obs, obs], 1), half.begin(torch.arange(4)), 0)
    torch.testing.assert_close(alone, silent)
    torch.testing.assert_close(alone, doubled)


@pytest.mark.parametrize("agent", [*AGENTS.values(), FeedForwardAgent(5)], ids=[*AGENTS, "feed-forward"])
def test_a_population_equals_its_members(agent):
    vectors, seeds = vector_for(agent, members=(3,)), row_seeds(0, 4)
    world = CartPole(horizon=25)
    if agent.actions != 1:
        agent = replace(agent, actions=1)
        vectors = vector_for(agent, members=(3,))
    together = play(world.open(), agent.policy(vectors), seeds.repeat(3), compile=False).returns.view(3, 4)
    for member in range(3):
        alone = play(world.open(), agent.policy(vectors[member]), seeds, compile=False).returns
        torch.testing.assert_close(together[member], alone, atol=1e-3, rtol=1e-3)


def test_every_parameter_has_a_gradient():
    for name, agent in AGENTS.items():
        vector = vector_for(agent).requires_grad_()
        policy = agent.policy(vector)
        memory = policy.begin(torch.arange(8))
        for t in range(4):
            action, memory = policy.act(torch.randn(8, 5), memory, t)
        (gradient,) = torch.autograd.grad(action.sum(), vector)
        assert gradient.isfinite().all(), name
        assert (gradient != 0).float().mean() > 0.95, name


def test_r_squared_of_known_relations():
    code = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(5000, generator=torch.Generator().manual_seed(1))
    state = torch.stack([code @ torch.tensor([1.0, -2.0, 0.5]) + 3, noise, code[:, 0] + noise], 1)
    found = r_squared(code, state)
    assert float(found[0]) == pytest.approx(1, abs=1e-6)
    assert float(found[1]) == pytest.approx(0, abs=0.01)
    assert float(found[2]) == pytest.approx(0.5, abs=0.03)


@pytest.mark.slow
@pytest.mark.compiled
def test_compiled_steps_equal_eager_ones():
    """The compiled step of world and population against the eager one, within the drift of 200 chaotic steps."""
    agent, world = SensoryAgent(), CartPole(horizon=200)
    vectors, seeds = 0.3 * vector_for(agent, members=(2,)), row_seeds(0, 16).repeat(2)
    eager, compiled = (play(world.open(), agent.policy(vectors), seeds, compile=flag) for flag in (False, True))
    assert (eager.lengths == compiled.lengths).all()
    close = (eager.returns - compiled.returns).abs() < 0.05
    assert close.float().mean() > 0.95


@pytest.mark.parametrize(
    ("senses", "gain", "score"), [("", 1.0, 494), ("shuffle", 1.0, 494), ("duplicate", 0.5, 494), ("noise:5", 0.5, 480)]
)
def test_the_authors_agent_scores_as_measured_independently(authors_cart_pole, senses, gain, score):
    """491 and 479 +- 13 by an independent NumPy program; 4,000 episodes, standard error 6.6."""
    agent = SensoryAgent(gain=gain)
    vector = torch.from_numpy(np.load(authors_cart_pole)["params"])
    world, policy = wrapped(CartPole(), agent.policy(vector), senses)
    returns = play(world.open(), policy, row_seeds(11, 4000), compile=False).returns
    assert float(returns.mean()) == pytest.approx(score, abs=30)


def test_shuffling_hardly_changes_the_authors_agents_episodes(authors_cart_pole):
    vector = torch.from_numpy(np.load(authors_cart_pole)["params"])
    scores = []
    for senses in ("", "shuffle"):
        world, policy = wrapped(CartPole(), SensoryAgent().policy(vector), senses)
        scores.append(play(world.open(), policy, row_seeds(0, 1000), compile=False).returns)
    plain, shuffled = scores
    assert abs(float(plain.mean() - shuffled.mean())) < 5
    # measured: 77 % within 1 point, 95 % within 2.3, 98.7 % within 5; rounding errors of the reordered sum grow while the pole swings
    assert ((plain - shuffled).abs() < 5).float().mean() > 0.95


def test_half_of_the_rows_restart_early_and_all_ages_occur():
    stage = ShortHorizonActorCritic(
        CartPole(horizon=60), SensoryAgent(), start=NOWHERE, early_reset_steps=20, window=5, rows=32, compile=False
    )
    state = stage.init(Seeds(0, "ascend", 0))
    live, ages = stage.open(state), []
    early = torch.arange(32) < 16
    for k in range(24):
        stage.update(state, live, Seeds(0, "ascend", k).rows("worlds", 32))
        ages.append(state["ages"])
    assert all(int(age[early].max()) < 20 for age in ages)
    assert max(int(age[~early].max()) for age in ages) >= 40
    # not all at once
    assert min(len(age[early].unique()) for age in ages) > 3


def test_per_row_gradients_equal_finite_differences_of_the_return(tmp_path):
    """The window is replayed in double precision with each parameter perturbed."""
    agent = FeedForwardAgent(5, layers=(4,))
    run(Evolve(CartPole(), agent, init_scale=1.0, steps=0, compile=False), tmp_path / "start", 0)
    stage = ShortHorizonActorCritic(
        CartPole(), agent, start=Folder(str(tmp_path / "start")), rows=32, window=20, discount=0.9, compile=False
    )
    state = stage.init(Seeds(0, "ascend", 0))
    for name, tensor in state.items():
        # a critic with value one half everywhere, 0 after the end
        if name.startswith("critic/model/"):
            tensor.fill_(0.5 * name.endswith("4.bias"))

    def worth(vector):
        policy, world = agent.policy(vector), tuple(part.double() for part in parallel_rollouts.group(state, "world"))
        earned, alive = torch.zeros(32, dtype=torch.float64), torch.ones(32, dtype=torch.bool)
        for t in range(stage.window):
            world, step = stage.world.transition(world, policy.act(stage.world.observe(world), (), t)[0], t)
            earned = earned + alive * (1 - stage.discount) * stage.discount**t * step.reward
            alive = alive & ~step.terminated
        return earned + alive * stage.discount**stage.window * 0.5

    nudges = 1e-6 * torch.eye(agent.layout.size, dtype=torch.float64)
    middle = state["weights"].double()
    slopes = torch.stack([(worth(middle + nudge) - worth(middle - nudge)) / 2e-6 for nudge in nudges], 1)
    gradients = -stage.play_window(state, stage.open(state)).gradients.double()
    assert (slopes.abs() > 1e-4).float().mean() > 0.3
    torch.testing.assert_close(gradients, slopes, rtol=1e-3, atol=1e-5)
