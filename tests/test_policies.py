"""Policies from outside: equal to their own library's results, exact per row, refused in one sentence where they do not fit, and harmless as files."""

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

import sensorium
from sensorium import cli
from sensorium.core import checkpoint
from sensorium.core.card import build, plain
from sensorium.core.checkpoint import agent
from sensorium.core.env import EnvSpec, Step, TorchEnv
from sensorium.core.errors import Failure, Usage
from sensorium.core.policy import MixedPrecision, Policy, Stochastic
from sensorium.core.run import run
from sensorium.core.seeding import Seeds, row_seeds
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.toy import Toy
from sensorium.imitation.demonstrate import Demonstrate
from sensorium.policies.export import export
from sensorium.policies.onnx import Onnx, OnnxPolicy, imported
from sensorium.policies.stable_baselines import sample
from sensorium.registry import ROOT
from tests.conftest import needs

LOW, HIGH = (-2.0, 0.5), (2.0, 3.0)
"""bounds of two actions, which a world scales"""


@dataclass(frozen=True)
class Field:
    """A world with the given observation and action: the observation is a hash of row and step, the reward the first action."""

    observation: tuple[int, ...] = (4,)
    action: int = 2
    bounds: tuple[tuple[float, float], ...] = ((LOW[0], HIGH[0]), (LOW[1], HIGH[1]))
    discrete: bool = False
    kind: Any = "vector"
    horizon: int = 6

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("field", self.observation, self.action, self.horizon, bounds=self.bounds, discrete=self.discrete, kind=self.kind)

    def open(self) -> TorchEnv:
        return TorchEnv(self)

    def initial(self, seeds: Tensor) -> tuple[Tensor, ...]:
        return (seeds % 1000,)

    def observe(self, state: tuple[Tensor, ...]) -> Tensor:
        size = torch.Size(self.observation)
        numbers = torch.sin(state[0][:, None] + torch.arange(size.numel()) * 1.7).view(-1, *size)
        return numbers if self.kind == "vector" else ((numbers + 1) * 127).to(torch.uint8)

    def transition(self, state: tuple[Tensor, ...], action: Tensor, t: Any) -> tuple[tuple[Tensor, ...], Step]:
        state = (state[0] + 1,)
        ended = torch.zeros_like(state[0], dtype=torch.bool)
        return state, Step(self.observe(state), action[:, 0], ended, (torch.as_tensor(t) + 1 >= self.horizon).expand(len(ended)))


BUTTONS = Field(action=3, bounds=(), discrete=True)
IMAGES = Field(observation=(36, 36, 3), action=3, bounds=(), discrete=True, kind="image")


class Single(gymnasium.Env):
    """Spaces for models of Stable-Baselines3; it is never stepped."""

    def __init__(self, observation: spaces.Space, action: spaces.Space):
        self.observation_space, self.action_space = observation, action


VECTOR = spaces.Box(-np.inf, np.inf, (4,), np.float32)
BOX = spaces.Box(np.array(LOW, np.float32), np.array(HIGH, np.float32))
UNIT = spaces.Box(-1.0, 1.0, (2,), np.float32)
IMAGE = spaces.Box(0, 255, (36, 36, 3), np.uint8)


def model(name: str, action: spaces.Space = BOX, observation: spaces.Space = VECTOR, policy: str = "", **how: Any) -> Any:
    """An untrained model, with large random weights so that actions differ and some are clipped."""
    stable = pytest.importorskip("stable_baselines3")
    contrib = pytest.importorskip("sb3_contrib")
    policy = policy or {"RecurrentPPO": "MlpLstmPolicy"}.get(name, "MlpPolicy")
    nets = {"net_arch": [8]} | ({"lstm_hidden_size": 8} if name == "RecurrentPPO" else {}) | how.pop("policy_kwargs", {})
    make = getattr(stable, name, None) or getattr(contrib, name)
    made = make(policy, Single(observation, action), seed=0, device="cpu", policy_kwargs=nets, **how)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.policy.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (0.7 if parameter.dim() < 3 else 0.1))
    return made


def observations(rows: int = 32, scale: float = 2.0) -> Tensor:
    return torch.randn(rows, 4, generator=torch.Generator().manual_seed(0)) * scale


def own_units(action: Tensor) -> np.ndarray:
    """What a world does with actions in [-1, 1]: scale them to its bounds."""
    low, high = np.array(LOW), np.array(HIGH)
    return low + (action.numpy() + 1) / 2 * (high - low)


def act(policy: Policy, obs: Tensor, t: int = 0) -> Tensor:
    return policy.act(obs, policy.begin(row_seeds(0, len(obs))), t)[0]


# Stable-Baselines3


@pytest.mark.parametrize("name", ["PPO", "A2C", "TRPO", "SAC", "TD3", "DDPG", "TQC"])
def test_continuous_actions_are_those_of_predict_row_by_row(name):
    made, obs = model(name), observations()
    scaled = act(sensorium.policy(made, Field()), obs)
    assert scaled.abs().max() <= 1 + 1e-6
    for row in range(len(obs)):
        expected, _ = made.predict(obs[row].numpy(), deterministic=True)
        np.testing.assert_allclose(own_units(scaled[row]), expected, atol=2e-5)
    # without a world that scales, predict's own numbers
    raw = act(sensorium.policy(made, Field(bounds=()), units="world"), obs)
    np.testing.assert_allclose(raw, made.predict(obs.numpy(), deterministic=True)[0], atol=2e-5)


@pytest.mark.parametrize("name", ["PPO", "A2C", "DQN", "QRDQN", "TRPO"])
def test_discrete_choices_are_those_of_predict_row_by_row(name):
    made, obs = model(name, spaces.Discrete(3)), observations()
    action = act(sensorium.policy(made, BUTTONS), obs)
    chosen = [int(made.predict(row.numpy(), deterministic=True)[0]) for row in obs]
    assert action.argmax(1).tolist() == chosen
    assert action.sum(1).eq(1).all()
    assert len(set(chosen)) > 1
    assert torch.equal(act(sensorium.policy(made), obs), action)
    assert torch.equal(act(sensorium.policy(made.policy, BUTTONS), obs), action)


@pytest.mark.parametrize("action", [BOX, spaces.Discrete(3)], ids=["continuous", "discrete"])
def test_a_recurrent_model_passes_its_state_as_memory(action):
    made = model("RecurrentPPO", action)
    world = Field() if action is BOX else BUTTONS
    policy, obs = sensorium.policy(made, world), torch.stack([observations(), observations(scale=1.0), observations(scale=3.0)])
    memory, found = policy.begin(row_seeds(0, 32)), []
    for t in range(3):
        step, memory = policy.act(obs[t], memory, t)
        found.append(step)
    for row in range(0, 32, 5):
        state = None
        for t in range(3):
            expected, state = made.predict(obs[t, row].numpy(), state, np.array([t == 0]), deterministic=True)
            ours = own_units(found[t][row]) if action is BOX else found[t][row].argmax().numpy()
            np.testing.assert_allclose(ours, expected, atol=2e-5)
    # batch first, so that play can select rows
    rollout = sensorium.play(world, policy, 3, keep=("memory",))
    assert [tuple(part.shape) for part in rollout.memory] == [(6, 3, 1, 8)] * 2


def test_images_are_transposed_as_in_predict():
    made = model("PPO", spaces.Discrete(3), IMAGE, "CnnPolicy", policy_kwargs={"net_arch": []})
    assert made.observation_space.shape == (3, 36, 36)
    obs = torch.randint(0, 256, (12, 36, 36, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    chosen = made.predict(obs.numpy(), deterministic=True)[0]
    policy = sensorium.policy(made, IMAGES)
    assert act(policy, obs).argmax(1).tolist() == chosen.tolist()
    assert act(policy, obs.permute(0, 3, 1, 2)).argmax(1).tolist() == chosen.tolist()
    assert sensorium.play(IMAGES, policy, 2, keep=("actions",)).actions.shape == (6, 2, 3)


@pytest.mark.parametrize("given", ["argument", "own environment"])
def test_observations_are_normalised_by_vec_normalize(given):
    made = model("PPO")
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    normalise = VecNormalize(DummyVecEnv([lambda: Single(VECTOR, BOX)]), clip_obs=3.0)
    normalise.obs_rms.mean, normalise.obs_rms.var = np.arange(4.0), np.array([0.5, 1, 2, 4.0])  # type: ignore[union-attr]
    obs = observations()
    # an independent formula of the same statistics
    expected = np.clip((obs.numpy() - np.arange(4.0)) / np.sqrt(np.array([0.5, 1, 2, 4.0]) + 1e-8), -3, 3)
    wanted = made.predict(expected.astype(np.float32), deterministic=True)[0]
    if given == "own environment":
        made.set_env(normalise)
    policy = sensorium.policy(made, Field(), normalise=normalise if given == "argument" else None)
    np.testing.assert_allclose(own_units(act(policy, obs)), wanted, atol=2e-5)
    assert not np.allclose(wanted, made.predict(obs.numpy(), deterministic=True)[0])


def test_a_flat_vector_is_split_into_a_dict_observation():
    parts = spaces.Dict(OrderedDict(goal=spaces.Box(-9, 9, (2,)), body=spaces.Box(-9, 9, (1, 2))))
    made, obs = model("PPO", observation=parts, policy="MultiInputPolicy"), observations(8, 1.0)
    for row, action in zip(obs, act(sensorium.policy(made, Field()), obs), strict=True):
        given = spaces.unflatten(parts, row.numpy())
        np.testing.assert_allclose(own_units(action), made.predict(given, deterministic=True)[0], atol=2e-5)


def test_a_model_of_rescaled_actions_fits_a_world_that_scales():
    made, obs = model("SAC", UNIT), observations()
    np.testing.assert_allclose(act(sensorium.policy(made, Field()), obs), made.predict(obs.numpy(), deterministic=True)[0], atol=2e-5)


@pytest.mark.parametrize(
    ("name", "action"),
    [("PPO", BOX), ("PPO", spaces.Discrete(3)), ("SAC", BOX), ("TQC", BOX), ("RecurrentPPO", BOX), ("RecurrentPPO", spaces.Discrete(3))],
)
def test_sampled_actions_of_a_row_depend_on_its_seed_alone(name, action):
    made, world = model(name, action), Field() if action is BOX else BUTTONS
    policy = sensorium.policy(made, world, deterministic=False)
    obs, seeds = observations(), row_seeds(3, 32)
    together = policy.act(obs, policy.begin(seeds), 4)[0]
    alone = torch.cat([policy.act(obs[row, None], policy.begin(seeds[row, None]), 4)[0] for row in range(32)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(together, policy.act(obs, policy.begin(seeds), 5)[0])
    assert isinstance(policy, Stochastic)
    assert torch.equal(act(policy.deterministic(), obs), act(sensorium.policy(made, world), obs))


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_sampled_actions_have_the_distribution_of_the_model(name):
    made, rows = model(name), 20_000
    if name == "PPO":
        with torch.no_grad():
            made.policy.log_std.fill_(-1.5)
    obs = observations(1, 0.2).expand(rows, 4)
    ours = own_units(act(sensorium.policy(made, Field(), deterministic=False), obs))
    torch.manual_seed(0)
    theirs = made.predict(obs.numpy(), deterministic=False)[0]
    for a, b in zip(ours.T, theirs.T, strict=True):
        # the two-sample Kolmogorov-Smirnov distance, whose 1 % point is 0.016; float32 rounds numbers at the bounds
        points = np.quantile(b, np.linspace(0.02, 0.98, 49)) + 1e-5
        distance = max(abs(float((a <= point).mean() - (b <= point).mean())) for point in points)
        assert distance < 0.016


def test_choices_are_drawn_with_their_probabilities():
    probabilities = torch.tensor([0.1, 0.0, 0.6, 0.3])
    drawn = sample(torch.distributions.Categorical(probs=probabilities.expand(40_000, 4)), row_seeds(0, 40_000), 0)
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 40_000, probabilities, atol=0.01)
    assert not (drawn == 1).any()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: sensorium.policy(model("TD3"), Field(), deterministic=False), "no distribution"),
        (lambda: sensorium.policy(model("DQN", spaces.Discrete(3)), BUTTONS, deterministic=False), "no distribution"),
        (lambda: sensorium.policy(model("SAC", use_sde=True), Field(), deterministic=False), "use_sde"),
        (lambda: sensorium.policy(model("PPO"), BUTTONS), "2 continuous actions, field has 3 discrete"),
        (lambda: sensorium.policy(model("PPO"), Field(observation=(7,))), r"trained on observations \(4,\)"),
        (lambda: sensorium.policy(model("PPO")), "without a world"),
        (lambda: sensorium.policy(model("PPO"), Field(bounds=())), "give the world that it was trained in"),
        (lambda: sensorium.policy(model("PPO", spaces.MultiDiscrete([2, 2])), Field()), "MultiDiscrete"),
        (lambda: sensorium.policy(model("PPO", observation=spaces.Discrete(4)), Field()), "Discrete space"),
        (lambda: sensorium.policy(model("PPO"), Field(), arrays="numpy"), "arrays is for functions"),
        (lambda: sensorium.policy(model("PPO").policy.mlp_extractor, Field()), "is no model"),
        (lambda: sensorium.policy(torch.tanh, deterministic=False), "is for Stable-Baselines3"),
        (lambda: sensorium.policy(torch.tanh, units="environment"), "needs the world"),
        (lambda: sensorium.policy(torch.tanh, units="metres"), "units cannot be 'metres'"),  # type: ignore[arg-type]
        (lambda: sensorium.policy(nn.Tanh(), arrays="numpy"), "arrays cannot be"),
        (lambda: sensorium.policy(7), "a int is no policy"),
        (lambda: sensorium.policy("nowhere.onnx"), "no file nowhere.onnx"),
        (lambda: sensorium.evaluate(sensorium.policy(torch.tanh)), "needs a world"),
    ],
)
def test_what_does_not_fit_is_one_sentence(make, says):
    with pytest.raises(Usage, match=says) as error:
        make()
    assert "\n" not in str(error.value)


def test_a_model_refuses_other_observations_while_it_acts():
    with pytest.raises(Failure, match=r"trained on observations \(4,\), not \(9,\)"):
        act(sensorium.policy(model("PPO"), Field()), torch.zeros(3, 9))


# functions and modules


def test_functions_of_torch_and_numpy_play_alike():
    weights = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    torch_policy = sensorium.policy(lambda obs: torch.tanh(obs @ weights.T), Field())
    numpy_policy = sensorium.policy(lambda obs: np.tanh(obs @ weights.numpy().T), Field(), arrays="numpy")
    # compiled and compacted, and step by step
    found = [sensorium.play(Field(), policy, 5).returns for policy in (torch_policy, numpy_policy)]
    found.append(sensorium.play(Field(), torch_policy, 5, keep=("actions",)).returns)
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])
    wanted = [torch.tanh(Field().observe((row_seeds(0, 5) % 1000 + t,)) @ weights.T)[:, 0] for t in range(6)]
    torch.testing.assert_close(found[0], torch.stack(wanted).sum(0))


def test_a_function_cannot_change_the_observation_of_the_world():
    def greedy(obs: Any) -> Any:
        obs += 1
        return obs[:, :2]

    for arrays in ("torch", "numpy"):
        obs = observations(3)
        kept = obs.clone()
        act(sensorium.policy(greedy, Field(), arrays=arrays), obs)  # type: ignore[arg-type]
        assert torch.equal(obs, kept)


def test_environment_units_are_the_inverse_of_the_scaling():
    action = torch.tensor([[-2.0, 0.5], [2.0, 3.0], [0.0, 1.75], [1.0, 0.5]])
    found = act(sensorium.policy(lambda obs: action, Field(), units="environment"), observations(4))
    assert found.tolist() == [[-1, -1], [1, 1], [0, 0], [0.5, -1]]
    # a world that does not scale takes them as they are
    assert torch.equal(act(sensorium.policy(lambda obs: action, Field(bounds=()), units="environment"), observations(4)), action)


def test_choices_and_logits_of_a_function():
    choices = sensorium.policy(lambda obs: obs.argmax(1) % 3, BUTTONS)
    logits = sensorium.policy(lambda obs: obs[:, :3], BUTTONS)
    obs = observations(6)
    assert act(choices, obs).argmax(1).tolist() == (obs.argmax(1) % 3).tolist()
    assert torch.equal(act(logits, obs), obs[:, :3])


def test_a_module_is_in_evaluation_mode_and_has_no_gradient():
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 2)).train()
    policy, obs = sensorium.policy(module, Field()), observations()
    first = act(policy, obs)
    assert torch.equal(first, act(policy, obs))
    assert not first.requires_grad
    torch.testing.assert_close(first[:1], act(policy, obs[:1]))


@pytest.mark.parametrize(
    ("function", "world", "says"),
    [
        (lambda obs: obs[:, :3], Field(), r"returned float32 \[5, 3\]; expected actions \[5, 2\]"),
        (lambda obs: obs[:2, :2], Field(), r"returned float32 \[2, 2\]"),
        (lambda obs: obs[:, 0], Field(), r"returned float32 \[5\]"),
        (lambda obs: obs[:, :2] / 0, Field(), "returned (inf|-inf) in row 0"),
        (lambda obs: torch.where(torch.arange(5)[:, None] == 3, torch.nan, obs[:, :2]), Field(), "returned nan in row 3"),
        (lambda obs: (obs, None), Field(), "returned a tuple"),
        (lambda obs: obs[:, :2].numpy().astype(str), Field(), "returned an array of <U32"),
        (lambda obs: torch.full((5,), 3), BUTTONS, "chose 3; allowed: 0 to 2"),
        (lambda obs: torch.full((5,), -1), BUTTONS, "chose -1"),
        (lambda obs: obs[:, 0], BUTTONS, r"expected choices \[5\] or logits \[5, 3\]"),
        (lambda obs: obs.astype(float), Field(), r"AttributeError.*arrays='numpy' gives it the other kind"),
        (nn.Linear(4, 5), Field(), r"the module returned float32 \[5, 5\]"),
    ],
)
def test_wrong_results_are_one_sentence_at_the_first_step(function, world, says):
    with pytest.raises(Failure, match=says) as error:
        sensorium.play(world, sensorium.policy(function, world), 5)
    assert "\n" not in str(error.value)


def test_any_policy_is_evaluated_and_its_observations_treated():
    weights = torch.tensor([[-5.0, 0.0, 0.0]]).T
    policy = sensorium.policy(lambda obs: torch.tanh(obs @ weights), Toy())
    good, shuffled = (sensorium.evaluate(policy, 64, world=world, senses=senses) for world, senses in ((Toy(), ""), ("toy", "shuffle")))
    assert good["mean"] > 15 > shuffled["mean"]
    assert good["episodes"] == 64
    assert (good["world"], good["recipe"]) == ("toy", "")


# ONNX


def exported(module: nn.Module, observation: Tensor, fixed: bool = False) -> bytes:
    """A module as an ONNX file, by torch's exporter."""
    pytest.importorskip("onnxscript")
    from sensorium.policies.export import silence

    shapes = None if fixed else ({0: torch.export.Dim("batch")},)
    with silence():
        program = torch.onnx.export(module.eval(), (observation,), None, dynamo=True, verbose=False, dynamic_shapes=shapes)
    assert program is not None
    return program.model_proto.SerializeToString()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


@pytest.fixture(scope="module")
def file(network: nn.Module) -> bytes:
    return exported(network, observations(3))


@pytest.fixture
def toy_file(tmp_path: Path) -> Path:
    """An ONNX policy of the toy world, written by hand with the onnx package: the action is minus twice the place."""
    path = tmp_path / "toy.onnx"
    path.write_bytes(graph([("MatMul", "")], {"weights": np.array([[-2.0], [0], [0]], np.float32)}).SerializeToString())
    return path


def graph(operators: list[tuple[str, str]], constants: dict[str, np.ndarray], width: int = 3, outputs: int = 1, kind: int = 1) -> Any:
    """An ONNX model: operators (name, domain) with the constants as second arguments, one after the other."""
    onnx = pytest.importorskip("onnx")
    helper, nodes, before, names = onnx.helper, [], "observation", list(constants)
    for number, (operator, domain) in enumerate(operators):
        after = "action" if number == len(operators) - 1 else f"value{number}"
        nodes.append(helper.make_node(operator, [before, *names[number : number + 1]], [after], domain=domain))
        before = after
    graph = helper.make_graph(
        nodes, "policy", [helper.make_tensor_value_info("observation", kind, ["batch", width])],
        [helper.make_tensor_value_info("action", kind, ["batch", outputs])],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    domains = [helper.make_opsetid(domain, 20 if not domain else 1) for domain in dict.fromkeys(["", *(d for _, d in operators)])]
    return helper.make_model(graph, opset_imports=domains, ir_version=10)


def test_an_onnx_file_acts_as_its_module(network, file, tmp_path):
    obs = observations(50)
    (tmp_path / "policy.onnx").write_bytes(file)
    for source in (file, tmp_path / "policy.onnx", str(tmp_path / "policy.onnx")):
        found = act(sensorium.policy(source, Field()), obs)
        torch.testing.assert_close(found, network(obs).detach(), atol=1e-6, rtol=1e-6)
    scaled = act(sensorium.policy(file, Field(), units="environment"), obs)
    np.testing.assert_allclose(own_units(scaled), network(obs).detach(), atol=1e-5)
    assert sensorium.play(Field(), sensorium.policy(file, Field()), 5).returns.isfinite().all()


def test_an_onnx_file_of_images_and_choices():
    module = nn.Sequential(nn.Flatten(), nn.Linear(36 * 36 * 3, 3))

    class Choice(nn.Module):
        def forward(self, obs: Tensor) -> Tensor:
            return module(obs.float() / 255).argmax(1)

    obs = torch.randint(0, 256, (7, 36, 36, 3), dtype=torch.uint8)
    found = act(sensorium.policy(exported(Choice(), obs[:3]), IMAGES), obs)
    assert found.argmax(1).tolist() == module(obs.float() / 255).argmax(1).tolist()


def with_external_data() -> Any:
    import onnx

    made = graph([("MatMul", "")], {"weights": np.zeros((3, 1), np.float32)})
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return made


def with_hidden_external_data() -> Any:
    """External data in the attribute of a node of a branch, where a look at the initializers does not find it."""
    import onnx

    made = with_external_data()
    tensor = onnx.TensorProto()
    tensor.CopyFrom(made.graph.initializer[0])
    branch = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["c"], value=tensor)], "branch", [], [])
    made = graph([("MatMul", "")], {"weights": np.zeros((3, 1), np.float32)})
    made.graph.node.add().CopyFrom(onnx.helper.make_node("If", ["condition"], ["never"], then_branch=branch, else_branch=branch))
    return made


def with_two_inputs() -> Any:
    made = graph([("MatMul", "")], {"weights": np.zeros((3, 1), np.float32)})
    made.graph.input.add().CopyFrom(made.graph.input[0])
    made.graph.input[1].name = "other"
    return made


def with_two_outputs() -> Any:
    made = graph([("MatMul", "")], {"weights": np.zeros((3, 1), np.float32)})
    made.graph.output.add().CopyFrom(made.graph.input[0])
    return made


WEIGHTS = {"weights": np.zeros((3, 1), np.float32)}
BAD = {
    "external data": (with_external_data, "keeps data in other files"),
    "hidden external data": (with_hidden_external_data, "keeps data in other files"),
    "custom operator": (lambda: graph([("Shell", "evil.org")], WEIGHTS), "uses the operator 'Shell' of 'evil.org'"),
    "runtime's own operator": (lambda: graph([("Gelu", "com.microsoft")], {}), "of 'com.microsoft'"),
    "unknown operator": (lambda: graph([("Shell", "")], WEIGHTS), "cannot be opened by ONNX Runtime"),
    "random operator": (lambda: graph([("RandomNormalLike", "")], {}, outputs=3), "draws random numbers"),
    "two inputs": (with_two_inputs, "has 2 inputs (observation, other)"),
    "two outputs": (with_two_outputs, "has 2 outputs"),
    "other width": (lambda: graph([("MatMul", "")], {"weights": np.zeros((5, 1), np.float32)}, width=5), "[5], not float32 [3]"),
    "other type": (
        lambda: graph([("Identity", "")], {}, outputs=3, kind=11),
        "takes tensor(double); allowed: tensor(float), tensor(uint8)",
    ),
    "bytes for floats": (lambda: graph([("Identity", "")], {}, outputs=3, kind=2), "takes observations uint8 [3], not float32 [3]"),
    "two actions": (lambda: graph([("MatMul", "")], {"weights": np.zeros((3, 2), np.float32)}, outputs=2), "expected actions [2, 1]"),
    "NaN": (lambda: graph([("MatMul", "")], {"weights": np.full((3, 1), np.nan, np.float32)}), "returned nan in row 0"),
    "nothing": (lambda: b"", "cannot be opened by ONNX Runtime"),
    "text": (lambda: b"{}", "damaged, or no ONNX file"),
    "runtime's other format": (lambda: b"\x00\x00\x00\x00ORTM" + bytes(100), "damaged, or no ONNX file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_sentence(name, tmp_path, capsys):
    make, says = BAD[name]
    made = make()
    (tmp_path / "bad.onnx").write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    assert cli.main(["import", "onnx", str(tmp_path / "bad.onnx"), "--world", "toy", "--out", str(tmp_path / "out")]) == 1
    streams = capsys.readouterr()
    assert says in streams.err
    assert len(streams.err.splitlines()) == 1
    assert not streams.out
    assert not (tmp_path / "out").exists()


def test_a_fixed_batch_is_refused(network):
    with pytest.raises(Failure, match="has to be a batch of any size"):
        sensorium.policy(exported(network, observations(3), fixed=True), Field())


@pytest.mark.parametrize("harm", ["truncated", "bytes", "numbers"])
def test_damaged_files_are_one_sentence_or_play(file, harm, capfd):
    """Neither a traceback nor the end of this process; a file whose weights alone have changed still plays."""
    refused: list[str] = []
    for number in range(150):
        random, data = np.random.default_rng(number), bytearray(file)
        if harm == "truncated":
            data = data[: random.integers(len(data))]
        elif harm == "bytes":
            for _ in range(random.integers(1, 6)):
                data[random.integers(len(data))] = random.integers(256)
        else:
            data = bytearray(renumbered(file, random))
        try:
            policy = sensorium.policy(bytes(data), Field())
            act(policy, observations(3))
        except Failure as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert not any("\n" in sentence for sentence in refused)
    assert capfd.readouterr() == ("", "")


def renumbered(file: bytes, random: np.random.Generator) -> bytes:
    """The file with one number of its graph replaced, well-formed as before."""
    import onnx

    from sensorium.policies.onnx import parts

    made = onnx.load_model_from_string(file)
    found = [(part, field) for part in parts(made) for field, _ in part.ListFields() if field.cpp_type in (1, 2, 3, 4)]
    part, field = found[random.integers(len(found))]
    new, value = int(random.choice([0, -1, 1, 7, 2**31 - 1])), getattr(part, field.name)
    if hasattr(value, "__len__"):
        value[random.integers(len(value))] = new
    else:
        setattr(part, field.name, new)
    return made.SerializeToString()


# agents from ONNX files


def test_an_imported_file_is_an_agent_for_every_command(toy_file, tmp_path, capsys):
    out = tmp_path / "agent"
    assert cli.main(["import", "onnx", str(toy_file), "--world", "toy", "--out", str(out)]) == 0
    toy_file.unlink()
    result = sensorium.evaluate(out, 50)
    rollout = sensorium.play(Toy(), sensorium.policy(lambda obs: -2 * obs[:, :1], Toy()), 50)
    np.testing.assert_allclose(result["returns"], rollout.returns, atol=1e-3)
    assert result["world"] == "toy"
    capsys.readouterr()
    assert cli.main(["report", str(out)]) == 2
    assert "belongs to no system" in capsys.readouterr().err
    assert cli.main(["evaluate", str(out), "--episodes", "2", "--senses", "noise:2"]) == 1
    assert "takes observations float32 [3], not float32 [5]" in capsys.readouterr().err
    assert cli.main(["evaluate", str(out), "--episodes", "2", "--world", "cart-pole"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    # in a run folder and published in the zoo's form
    (tmp_path / "run").mkdir()
    out.rename(tmp_path / "run" / "1-onnx")
    checkpoint.publish(tmp_path / "run" / "1-onnx", tmp_path / "published")
    assert agent(tmp_path / "run").name == "1-onnx"
    assert sensorium.evaluate(tmp_path / "published", 50)["returns"] == result["returns"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["onnx", "FILE"], 2, "needs --world NAME"),
        (["onnx", "FILE", "FILE", "--world", "toy"], 2, "takes one file, not 2"),
        (["onnx", "FILE", "--world", "tyo"], 2, "did you mean toy?"),
        (["onnx", "nowhere", "--world", "toy"], 2, "no file nowhere"),
        (["onnx", ".", "--world", "toy"], 1, "cannot be read"),
        (["attention-neuron/cart-pole", "FILE", "--world", "toy"], 2, "--world is not for attention-neuron/cart-pole"),
        (["onyx", "FILE", "--world", "toy"], 2, "did you mean onnx?"),
    ],
)
def test_wrong_imports_are_one_sentence(toy_file, tmp_path, capsys, arguments, code, says):
    arguments = [str(toy_file) if argument == "FILE" else argument for argument in arguments]
    assert cli.main(["import", *arguments, "--out", str(tmp_path / "out")]) == code
    assert says in capsys.readouterr().err


def test_an_import_does_not_overwrite_an_agent(toy_file, tmp_path):
    imported([toy_file], tmp_path / "agent", Toy())
    with pytest.raises(Usage, match="holds an agent already"):
        imported([toy_file], tmp_path / "agent", Toy())


def test_the_card_gives_the_stage_back_and_it_cannot_be_trained(toy_file, tmp_path):
    imported([toy_file], tmp_path / "agent", Toy(horizon=7), "environment")
    stage = checkpoint.stage(tmp_path / "agent")
    assert stage == Onnx(Toy(horizon=7), hashlib.sha256(toy_file.read_bytes()).hexdigest(), "environment")
    assert build(plain(stage)) == stage
    for attempt in (lambda: stage.init(Seeds(0)), lambda: replace(stage, steps=3), lambda: run(stage, tmp_path / "other")):  # type: ignore[type-var]
        with pytest.raises(Usage):
            attempt()


@pytest.mark.parametrize("change", ["file", "sha256", "checkpoint", "units", "bytes"])
def test_a_strangers_folder_reads_no_other_file_and_plays_no_other_model(toy_file, tmp_path, capsys, change):
    """The model's bytes are in the checkpoint: a card has no field for a path, and other bytes than the card's are refused."""
    folder = tmp_path / "agent"
    imported([toy_file], folder, Toy())
    card = json.loads((folder / "card.json").read_text())
    other = graph([("MatMul", "")], {"weights": np.ones((3, 1), np.float32)}).SerializeToString()
    if change == "file":
        card["stage"]["file"] = "../../../etc/passwd"
    elif change == "sha256":
        card["stage"]["sha256"] = hashlib.sha256(other).hexdigest()
    elif change == "checkpoint":
        checkpoint.save(folder, 0, {"onnx": torch.frombuffer(bytearray(other), dtype=torch.uint8)})
    elif change == "units":
        card["stage"]["units"] = "parsecs"
    else:
        checkpoint.save(folder, 0, {"agent": torch.zeros(3)})
    (folder / "card.json").write_text(json.dumps(card))
    assert cli.main(["evaluate", str(folder), "--episodes", "2"]) == 1
    lines = capsys.readouterr().err.splitlines()
    says = {"file": "onnx: no field 'file'", "units": "field 'units' cannot be 'parsecs'"}.get(change, "is not the one that the card names")
    assert len(lines) == 1
    assert says in lines[0]


def test_a_card_of_a_malicious_model_is_one_sentence(tmp_path, capsys):
    """A folder made by hand, with a fitting checksum: the model is examined again whenever it is opened."""
    folder, data = tmp_path / "agent", with_external_data().SerializeToString()
    imported_like(folder, data)
    assert cli.main(["evaluate", str(folder), "--episodes", "2"]) == 1
    assert "keeps data in other files" in capsys.readouterr().err


def imported_like(folder: Path, data: bytes) -> None:
    """An agent's folder with these bytes, without any check."""
    from sensorium.core import card

    folder.mkdir()
    stage = Onnx(Toy(), hashlib.sha256(data).hexdigest())
    (folder / "card.json").write_text(json.dumps({"format": card.FORMAT, "stage": plain(stage), "seed": None}))
    checkpoint.save(folder, 0, {"onnx": torch.frombuffer(bytearray(data), dtype=torch.uint8)})


@pytest.mark.slow
def test_an_imported_file_is_a_teacher(toy_file, tmp_path):
    imported([toy_file], tmp_path / "teacher", Toy())
    assert cli.main(["train", "clone", "--preset", "tiny", "--teacher", str(tmp_path / "teacher"), "--out", str(tmp_path / "clone")]) == 0
    assert np.isfinite(sensorium.evaluate(tmp_path / "clone", 4)["mean"])
    # by recorded demonstrations
    teach = Demonstrate(Toy(), teacher=str(tmp_path / "teacher"), rows=3, steps=1)  # type: ignore[arg-type]
    run(teach, tmp_path / "2-teach", 0)
    with np.load(next((tmp_path / "2-teach").glob("shard-*.npz"))) as shard:
        np.testing.assert_allclose(shard["advice-000"], -2 * shard["frames-000"][:, :1], atol=1e-6)


# export


@pytest.mark.parametrize("name", ["cart-pole-mlp", "cart-pole", "ant-clone", "ant-teacher", "scratch.walker_run"])
def test_an_exported_agent_acts_as_before(name, tmp_path, capsys):
    """Feed-forward, recurrent and SAC and DDPG agents of the zoo; the file is played step by step by ONNX Runtime alone."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    if "walker" in name:
        needs(["control"])
    folder = ROOT / "zoo" / name
    assert cli.main(["export", str(folder), "--to", "onnx", "--out", str(tmp_path)]) == 0
    assert "largest difference from torch" in capsys.readouterr().err
    policy, spec = sensorium.load(folder), checkpoint.stage(agent(folder)).world.spec  # type: ignore[attr-defined]
    # the agents of the suite compute in bfloat16 where the processor has it
    policy = policy.float32() if isinstance(policy, MixedPrecision) else policy
    session = runtime.InferenceSession(tmp_path / "policy.onnx", providers=["CPUExecutionProvider"])
    names = [part.name for part in session.get_inputs()]
    assert names[0] == "observation"
    assert [part.name for part in session.get_outputs()] == ["action", *(f"next_{name}" for name in names[1:])]
    memory, theirs = policy.begin(row_seeds(0, 9)), [np.zeros((9, *part.shape[1:]), np.float32) for part in session.get_inputs()[1:]]
    for t in range(4):
        obs = torch.randn(9, *spec.observation, generator=torch.Generator().manual_seed(t))
        with torch.no_grad():
            action, memory = policy.act(obs, memory, t)
        found, *theirs = session.run(None, {"observation": obs.numpy(), **dict(zip(names[1:], theirs, strict=True))})
        np.testing.assert_allclose(found, action, atol=1e-4)
    imported([tmp_path / "policy.onnx"], tmp_path / "again", checkpoint.stage(agent(folder)).world)  # type: ignore[attr-defined]
    assert len(checkpoint.policy(tmp_path / "again").begin(row_seeds(0, 2))) == len(names) - 1  # type: ignore[arg-type]
    # and out again: the same file
    export(tmp_path / "again", tmp_path / "out")
    assert (tmp_path / "out" / "policy.onnx").read_bytes() == (tmp_path / "policy.onnx").read_bytes()


def test_an_exported_recurrent_agent_scores_as_before(tmp_path):
    pytest.importorskip("onnxscript")
    world = CartPole(horizon=40)
    export(ROOT / "zoo" / "cart-pole", tmp_path)
    imported([tmp_path / "policy.onnx"], tmp_path / "again", world)
    before = sensorium.play(world, sensorium.load(ROOT / "zoo" / "cart-pole"), 12, keep=("actions",)).returns
    after = sensorium.play(world, sensorium.load(tmp_path / "again"), 12).returns
    torch.testing.assert_close(before, after, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("name", ["pong-clone", "take-cover"])
def test_what_cannot_be_exported_is_one_sentence(name, tmp_path, capsys):
    pytest.importorskip("onnxscript")
    assert cli.main(["export", str(ROOT / "zoo" / name), "--to", "onnx", "--out", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "exported are networks on observations" in lines[0]


def test_an_export_does_not_overwrite(tmp_path):
    (tmp_path / "policy.onnx").write_bytes(b"")
    with pytest.raises(Usage, match="exists; use another --out"):
        export(ROOT / "zoo" / "cart-pole-mlp", tmp_path)


def test_an_agent_that_depends_on_the_step_is_not_exported(tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")

    class Clock:
        members = 1

        def take(self, members: Tensor) -> "Clock":
            return self

        def begin(self, seeds: Tensor) -> tuple[()]:
            return ()

        def act(self, obs: Tensor, memory: Any, t: int) -> tuple[Tensor, Any]:
            return torch.sin(obs[:, :1] + t), memory

    monkeypatch.setattr("sensorium.es.evolve.Evolve.policy", lambda self, state: Clock())
    with pytest.raises(Failure, match="depends on the step"):
        export(ROOT / "zoo" / "cart-pole-mlp", tmp_path)
    assert not list(tmp_path.iterdir())


def test_policies_of_onnx_files_are_policies(file):
    assert isinstance(sensorium.policy(file, Field()), (Policy, OnnxPolicy))
    assert isinstance(sensorium.policy(torch.tanh), Policy)
