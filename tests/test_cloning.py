"""Imitation: teachers' observations, executed actions, recorded demonstrations, and learning from them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import sensorium
from sensorium import registry, train
from sensorium.core import checkpoint
from sensorium.core.errors import Usage
from sensorium.core.evaluate import evaluate
from sensorium.core.machine import compiled, products
from sensorium.core.rollout import play, stream
from sensorium.core.run import run
from sensorium.core.seeding import Seeds, row_seeds
from sensorium.core.stage import Folder
from sensorium.data.demonstrations import Demonstrations
from sensorium.data.episodes import Episode, Episodes, write
from sensorium.envs.ant import Ant
from sensorium.envs.car_racing import CarPatches, CarRacing
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.pong import Pong, PongMemory, crossing
from sensorium.envs.take_cover import TakeCover
from sensorium.envs.toy import Toy
from sensorium.envs.wrappers import wrapped
from sensorium.es.evolve import Evolve
from sensorium.es.pgpe import PGPE
from sensorium.imitation.clone import Clone, Resources, outputs, readout
from sensorium.imitation.dagger import Dagger
from sensorium.imitation.demonstrate import Demonstrate, Mixture, views
from sensorium.imitation.external import External
from sensorium.imitation.pong_planner import Planner, paddle_positions
from sensorium.nets.agent import first_vector
from sensorium.rl.actor_critic import ActorCritic
from sensorium.rl.sac import SAC
from sensorium.rl.short_horizon import ShortHorizonActorCritic
from sensorium.systems.attention_neuron.figures import sections
from sensorium.systems.attention_neuron.figures.panels import agents_of, fits, reward_rate
from sensorium.systems.attention_neuron.model import FeedForwardAgent, PongAgent, SensoryAgent, VisionNeurons, VotingAgent
from sensorium.systems.attention_neuron.recipes.clone import ANT_AGENT, ANT_STUDENT, CAR_STUDENT, PONG_STUDENT, clone, student_for
from sensorium.systems.attention_neuron.tables.agents import TrainedAgent
from tests.conftest import needs, trained

# observations


@pytest.mark.parametrize(("ours", "theirs"), [(CarPatches(horizon=25), CarRacing(horizon=25)), (Pong(horizon=40), PongMemory(horizon=40))])
def test_a_teacher_gets_its_own_worlds_observations(ours, theirs):
    pytest.importorskip("envpool")
    seeds = row_seeds(3, 2)
    mine, other = ours.open(), theirs.open()
    view = views(ours, mine, theirs)
    obs, expected = mine.reset(seeds), other.reset(seeds)
    for t in range(ours.horizon):
        torch.testing.assert_close(view(obs), expected, rtol=0, atol=0)
        action = torch.rand(2, ours.spec.action, generator=torch.Generator().manual_seed(t // 5))
        obs, expected = mine.step(action).obs, other.step(action).obs
    mine.close()
    other.close()


@pytest.mark.parametrize(
    ("world", "teacher"), [(CarPatches(), Pong()), (CarPatches(), CartPole()), (Toy(), CartPole()), (Pong(), CarRacing())]
)
def test_an_unsuitable_teacher_is_a_usage_error(world, teacher):
    with pytest.raises(Usage, match=f"a teacher from {teacher.spec.name} cannot act in {world.spec.name}"):
        views(world, world.open(), teacher)


def test_a_teacher_from_a_world_without_students_is_a_usage_error():
    with pytest.raises(Usage, match="there is no student"):
        student_for(TakeCover())


def test_a_ball_is_reflected_at_the_walls():
    random = np.random.default_rng(0)
    for _ in range(200):
        x, y, dx, dy = random.uniform(50, 187), random.uniform(44, 207), random.choice([2.0, 4.0]), random.uniform(-9, 9)
        there, then, speed = x, y, dy
        while there < 187:
            # a step in 200 parts, reflected at each wall
            for _ in range(200):
                there, then = there + dx / 200, then + speed / 200
                if not 44 <= then <= 207:
                    then, speed = (88 - then if then < 44 else 414 - then), -speed
                if there >= 187:
                    break
        found, steps = crossing(*torch.tensor([x, y, dx, dy], dtype=torch.float64))
        assert abs(float(found) - then) < 0.1
        assert abs(float(steps) - (187 - x) / dx) < 1e-6
    assert crossing(*torch.tensor([100.0, 60.0, -4.0, 3.0])) == (60.0, 0.0)


@dataclass
class Games:
    """The planner's observations in some games, the consoles' RAM at these steps, and the points."""

    obs: torch.Tensor
    ram: torch.Tensor
    won: int
    lost: int


@pytest.fixture(scope="module")
def games() -> Games:
    pytest.importorskip("envpool")
    env = PongMemory(horizon=700).open()
    obs, ram, points = [], [], []
    for transition in stream(env, Planner(), row_seeds(0, 16)):
        obs.append(transition.obs)
        ram.append(torch.from_numpy(env.simulators.ram))
        points.append(transition.step.reward)
    env.close()
    points = torch.stack(points)
    # RAM is read after the step, the observation is from before it
    return Games(torch.stack(obs[1:]), torch.stack(ram[:-1]), int((points > 0).sum()), int((points < 0).sum()))


def test_the_paddles_target_equals_ram(games: Games):
    """In every second step RAM byte 4 also holds the target."""
    obs, ram = games.obs, games.ram
    even = obs[..., 7] == 0
    assert even.any()
    assert not even.all()
    assert (obs[..., 5] - ram[..., 4])[even].abs().quantile(0.9) <= 4


def test_the_paddle_moves_as_the_planner_predicts(games: Games):
    obs = games.obs
    held = obs[:-1, :, 5] == obs[1:, :, 5]
    place, rest, odd = (obs[:-1, :, i][held] for i in (4, 5, 7))
    believed = paddle_positions(place, rest, odd, torch.zeros(1, 1), 1)[1, :, 0]
    assert (believed - obs[1:, :, 4][held]).abs().quantile(0.9) <= 3


def test_a_plan_without_moves_ends_at_the_paddles_target():
    place, rest, odd = torch.tensor([60.0, 150.0]), torch.tensor([100.0, 150.0]), torch.tensor([0.0, 1.0])
    places = paddle_positions(place, rest, odd, torch.tensor([[0.0, 0.0], [1.0, -1.0]]), 12)
    assert torch.equal(places[0, :, 0], place)
    assert torch.allclose(places[-1], rest[:, None].expand(2, 2), atol=1e-3)
    # bounded by the wall
    assert paddle_positions(rest, rest, odd, torch.ones(1, 9), 20)[-1].max() == pytest.approx(204, abs=1e-3)


def test_the_planner_wins(games: Games):
    """16 games of 700 steps from RAM observations, without training."""
    assert games.won > 50
    assert games.lost == 0


def test_the_planner_repeats_few_states(games: Games):
    """Few distinct states make the game easier to imitate."""
    assert len(games.obs.flatten(0, 1).unique(dim=0)) < 0.2 * games.obs[..., 0].numel()


# executed actions


class Constant:
    """A policy with a constant action that stores the executed action."""

    members = 1

    def __init__(self, value: float):
        self.value = value

    def take(self, members):
        return self

    def begin(self, seeds):
        return torch.zeros(len(seeds), 1)

    def act(self, obs, memory, t):
        return torch.full((len(obs), 1), self.value), memory

    def with_action(self, memory, action):
        return action


def test_both_get_the_executed_action_and_teacher_actions_are_without_noise():
    low = torch.tensor([-1.0])
    seeds = row_seeds(0, 64)
    for noise, guided in ((0.3, 0.5), (0.0, 0.5), (0.0, 1.0), (0.0, 0.0)):
        stage = Demonstrate(Ant(), action_noise=noise, teacher_share=guided, turn_steps=10)
        mixture = Mixture(stage, Constant(0.25), Constant(-0.5), low, lambda obs: obs)  # type: ignore[arg-type]
        action, (_, teaching, learning, teacher_actions) = mixture.act(torch.zeros(64, 3), mixture.begin(seeds), 0)
        assert torch.equal(teacher_actions, torch.full((64, 1), 0.25))
        assert torch.equal(teaching, action)
        assert torch.equal(learning, action)
        share = float((action != -0.5).float().mean())
        assert abs(share - guided) < 0.2
    mixture = Mixture(Demonstrate(Ant(), teacher_share=0.5, turn_steps=10), Constant(0.25), Constant(-0.5), low, lambda obs: obs)  # type: ignore[arg-type]
    turns = torch.stack([mixture.act(torch.zeros(64, 3), mixture.begin(seeds), t)[0][:, 0] for t in range(20)])
    assert torch.equal(turns[:10], turns[:1].expand(10, -1))
    assert torch.equal(turns[10:], turns[10:11].expand(10, -1))
    assert not torch.equal(turns[0], turns[10])
    alone = Mixture(Demonstrate(Ant(), action_noise=0.5), Constant(0.9), None, low, lambda obs: obs)  # type: ignore[arg-type]
    action, memory = alone.act(torch.zeros(64, 3), alone.begin(seeds), 0)
    assert action.unique().numel() > 20
    assert float(action.max()) <= 1.0
    assert torch.equal(memory[-1], torch.full((64, 1), 0.9))


def test_voting_agents_get_the_executed_action():
    agent = VotingAgent(VisionNeurons(code=64), compile=False)
    policy = agent.policy(0.3 * torch.randn(agent.layout.size))
    obs, memory = torch.randint(0, 256, (2, 9, 4, 36), dtype=torch.uint8), policy.begin(torch.arange(2))
    action, memory = policy.act(obs, memory, 0)
    # with its own action the memory is unchanged; another action replaces it
    same = policy.with_action(memory, action)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(same, memory, strict=True))
    other = policy.with_action(memory, torch.tensor([[0.5, 0.0, 1.0]] * 2))
    assert other[0].tolist() == [[0.5, -1.0, 1.0]] * 2
    assert all(torch.equal(a, b) for a, b in zip(other[1:], memory[1:], strict=True))


@pytest.mark.parametrize("limit", [6e9, 100])
def test_demonstrations_may_be_memory_mapped(limit, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("sensorium.data.demonstrations.MEMORY", limit)
    random = np.random.default_rng(1)
    write(
        tmp_path,
        1,
        [
            Episode(
                random.normal(size=(9, 5)).astype(np.float32),
                *(random.normal(size=n) for n in ((9, 2), 9)),
                True,
                random.normal(size=(9, 2)),
            )
        ],
    )
    demonstrations = Demonstrations(sorted(tmp_path.glob("shard-*")), 0)
    assert torch.equal(demonstrations.frames, torch.from_numpy(disk_read(tmp_path)))
    assert demonstrations.draw(4, 3, 0).obs.shape == (3, 4, 5)
    assert [path.name[:5] for path in tmp_path.iterdir()] == ["shard"]


def disk_read(folder: Path) -> np.ndarray:
    return Episodes(sorted(folder.glob("shard-*"))).frames(0)


@pytest.mark.parametrize("stack", [0, 4])
def test_windows_equal_the_recorded_episodes(stack, tmp_path: Path):
    random = np.random.default_rng(1)

    def made(length: int) -> Episode:
        frames = random.integers(0, 256, (length, 5, 36), dtype=np.uint8) if stack else random.normal(size=(length, 5)).astype(np.float32)
        return Episode(frames, random.normal(size=(length, 2)), random.normal(size=length), True, random.normal(size=(length, 2)))

    episodes = [made(length) for length in (3, 9, 20)]
    write(tmp_path, 1, episodes[:2])
    write(tmp_path, 2, episodes[2:])
    demonstrations = Demonstrations(sorted(tmp_path.glob("shard-*")), stack)
    drawn, found = demonstrations.draw(300, 6, 5), set()
    assert torch.equal(drawn.obs, demonstrations.draw(300, 6, 5).obs)
    for row in range(300):
        # the episode and step, from the first teacher_actions
        number, start = next(
            (n, t)
            for n, e in enumerate(episodes)
            for t in range(len(e))
            if np.allclose(e.teacher_actions[t], drawn.teacher_actions[0, row])
        )
        episode = episodes[number]
        found.add((number, start))
        assert drawn.first[:, row].tolist() == [start + t == 0 for t in range(6)]
        for t in range(6):
            assert bool(drawn.live[t, row]) == (start + t < len(episode))
            if not drawn.live[t, row]:
                continue
            np.testing.assert_allclose(drawn.teacher_actions[t, row], episode.teacher_actions[start + t], rtol=1e-6)
            np.testing.assert_allclose(drawn.before[t, row], episode.actions[start + t - 1] if start + t else np.zeros(2), rtol=1e-6)
            seen = episode.frames[start + t] if not stack else np.stack([episode.frames[max(start + t - k, 0)] for k in (3, 2, 1, 0)], 1)
            assert np.array_equal(drawn.obs[t, row].numpy(), seen)
    assert found == {(0, 0), *((1, t) for t in range(4)), *((2, t) for t in range(15))}
    # episodes are drawn in proportion to their lengths
    assert 150 < sum(float(np.isclose(drawn.teacher_actions[0, row], episodes[2].teacher_actions).all(1).any()) for row in range(300)) < 240


def toy_demonstrations(folder: Path, lengths: tuple[int, ...]) -> Demonstrations:
    """Demonstrations on the toy whose teacher_actions encode episode and step."""
    random = np.random.default_rng(2)
    episodes = [
        Episode(
            random.normal(size=(length, 3)).astype(np.float32), random.normal(size=(length, 1)), np.zeros(length), True,
            np.full((length, 1), 100.0 * number) + np.arange(length)[:, None],
        )
        for number, length in enumerate(lengths)
    ]  # fmt: skip
    write(folder, 1, episodes)
    return Demonstrations(sorted(folder.glob("shard-*")), 0)


def test_recurrent_students_go_through_whole_episodes(tmp_path: Path):
    lengths = (3, 9, 20)
    demonstrations, seen = toy_demonstrations(tmp_path, lengths), []
    stage = Clone(Toy(), SensoryAgent(), batch=200, window=4, restart_probability=0.2, compile=False)
    state = stage.init(Seeds(0, "clone"))
    for k in range(12):
        for name in ("hidden", "cell"):
            # the memory counts the windows since its last reset
            state[name] = state[name] + 1
        drawn = stage.drawn(state, demonstrations, Seeds(0, "clone", k))
        number, step = (drawn.teacher_actions[0, :, 0] / 100).long(), drawn.teacher_actions[0, :, 0].long() % 100
        assert torch.equal(drawn.first[0], step == 0)
        assert torch.equal(state["hidden"][:, 0, 0], torch.div(step, 4, rounding_mode="floor").float())
        assert torch.equal(state["hidden"], state["cell"])
        seen.append(torch.stack([number, step], 1))
    assert (seen[0][:, 1] == 0).all()
    left = stayed = 0
    for before, after in pairwise(seen):
        for (number, step), (then, there) in zip(before.tolist(), after.tolist(), strict=True):
            over = step + 4 >= lengths[number]
            assert there == 0 or (not over and (then, there) == (number, step + 4))
            left, stayed = left + (not over and there == 0), stayed + (there > 0)
    assert abs(left / (left + stayed) - 0.2) < 0.05


# learning


@pytest.mark.parametrize("agent", [ANT_STUDENT, SensoryAgent(), PONG_STUDENT, CAR_STUDENT], ids=["ant", "cart-pole", "pong", "car"])
def test_every_parameter_of_a_student_has_a_gradient(agent):
    vector = first_vector(agent, 1.0, 2.0, 7).requires_grad_()
    student = agent.policy(vector)
    obs = torch.randint(0, 256, (3, 30, 4, 36), dtype=torch.uint8) if isinstance(agent, PongAgent) else torch.randn(3, 6)
    memory = student.begin(torch.arange(3))
    total = torch.zeros(())
    for t in range(3):
        said, memory = student.predict(obs, student.with_action(memory, torch.rand(3, agent.actions) + t))
        total = total + (said * torch.rand(3, agent.actions)).sum()
    (gradient,) = torch.autograd.grad(total, vector)
    silent = [name for name, part in agent.layout.split(gradient).items() if not bool((part != 0).any())]
    # a softmax is invariant to a shift of all scores, so the key's bias of a PongAgent has no gradient
    assert set(silent) <= ({"key.bias"} if isinstance(agent, PongAgent) else set())


def test_memory_is_carried_from_window_to_window(tmp_path: Path):
    """With learning rate 0, two windows give the same memory as single steps; the memory of dropped sensors is unchanged."""
    demonstrations, agent = toy_demonstrations(tmp_path, (8,)), SensoryAgent()
    for occlude, present in ((0.0, 3), (0.4, 2)):
        stage = Clone(
            Toy(),
            agent,
            batch=2,
            window=4,
            restart_probability=0.0,
            learning_rate=0.0,
            sensor_id_weight=1.0,
            action_noise=0.0,
            sensor_dropout=occlude,
            compile=False,
        )
        state = stage.init(Seeds(0, "clone"))
        for k in range(2):
            metrics = stage.update(state, Resources(demonstrations, readout), Seeds(0, "clone", k))
            # an untrained classifier predicts the first sensor for all
            assert float(metrics["sensor_id_accuracy"]) == pytest.approx(
                float((stage.present(3, Seeds(0, "clone", k)) == 0).float().mean())
            )
        student = agent.policy(state["agent"])
        hidden, cell = torch.zeros(2, 3, 8), torch.zeros(2, 3, 8)
        drawn, errors = demonstrations.window(np.zeros(2, int), np.zeros(2, int), 8), []
        for t in range(8):
            there = stage.present(3, Seeds(0, "clone", t // 4))
            assert len(there) == present
            said, (now, then, _) = student.predict(drawn.obs[t][:, there], (hidden[:, there], cell[:, there], drawn.before[t]))
            hidden[:, there], cell[:, there] = now, then
            errors.append((said - drawn.teacher_actions[t]).square().mean())
        torch.testing.assert_close(state["hidden"], hidden)
        torch.testing.assert_close(state["cell"], cell)
        torch.testing.assert_close(metrics["loss"], torch.stack(errors[4:]).mean())


def test_reshuffles_in_a_window_are_those_of_an_environment():
    """Unrolled with `reshuffle`, the neurons do what they do step by step while their sensors change places every 3 steps."""
    agent, rows, sensors, steps = SensoryAgent(), 2, 5, 8
    student = agent.student(first_vector(agent, 1.0, 2.0, 7))
    obs, before = torch.randn(steps, rows, sensors), torch.randn(steps, rows, 1)
    stage = Clone(Toy(), agent, reshuffle=3, compile=False)
    start = torch.randn(2, rows, sensors, agent.hidden)
    hidden, (last, _) = stage.unrolled(student, obs, before, *start, Seeds(0, "clone", 1))
    assert torch.equal(hidden[-1], last)
    # the neuron of each sensor, found from the orders of the segments
    generator, neuron, memory = (
        torch.Generator().manual_seed(Seeds(0, "clone", 1)("reshuffle")),
        torch.arange(sensors).expand(rows, -1),
        start,
    )
    for t in range(steps):
        if t % 3 == 0:
            neuron = neuron.take_along_dim(torch.rand(rows, sensors, generator=generator).argsort(1), 1)
        seen = torch.zeros(rows, sensors).scatter(1, neuron, obs[t])
        said, (*memory, _) = student.predict(seen, (*memory, before[t]))
        torch.testing.assert_close(hidden[t], memory[0].take_along_dim(neuron[..., None], 1))
        torch.testing.assert_close(student.readout(obs[t], hidden[t]), said)
    assert len({tuple(row) for row in neuron.tolist()}) == rows


def test_the_student_of_demonstrations_may_have_reshuffled_sensors():
    """Its order is kept for `reshuffle` steps, is another one in each row and then, and the teacher's is not changed."""
    seen: dict[str, list[torch.Tensor]] = {"teacher": [], "student": []}

    class Recorder(Constant):
        def __init__(self, name: str):
            super().__init__(0.0)
            self.seen = seen[name]

        def act(self, obs, memory, t):
            self.seen.append(obs)
            return super().act(obs, memory, t)

    stage, obs = Demonstrate(Ant(), reshuffle=4), torch.arange(28.0).expand(16, -1)
    mixture = Mixture(stage, Recorder("teacher"), Recorder("student"), torch.tensor([-1.0]), lambda obs: obs)  # type: ignore[arg-type]
    memory = mixture.begin(row_seeds(0, 16))
    for t in range(8):
        _, memory = mixture.act(obs, memory, t)
    assert all(torch.equal(each, obs) for each in seen["teacher"])
    student = torch.stack(seen["student"])
    assert torch.equal(student.sort(2).values, obs.expand(8, -1, -1))
    assert torch.equal(student[:4], student[:1].expand(4, -1, -1))
    assert torch.equal(student[4:], student[4:5].expand(4, -1, -1))
    assert len(torch.cat([student[0], student[4]]).unique(dim=0)) == 32
    with pytest.raises(Usage, match="reshuffle is for vectors of sensors"):
        Demonstrate(CarPatches(), reshuffle=4)


def test_a_clone_starts_from_one_with_other_sensors(tmp_path: Path):
    """Its neurons are reused, the sensor classifier is not; demonstrations of other sensors are a usage error."""
    here, wide = (
        Clone(Toy(), SensoryAgent(), sensor_id_weight=0.1, steps=0, batch=2),
        Clone(CartPole(), SensoryAgent(), sensor_id_weight=0.1, steps=0, batch=2),
    )
    state = run(here, tmp_path / "3-clone", 0)
    state["sensor-id/agent"] += 1.0
    checkpoint.save(tmp_path / "3-clone", 0, state)
    for stage, expected in ((here, 1.0), (wide, 0.0)):
        begun = replace(stage, start=Folder(str(tmp_path / "3-clone"))).init(Seeds(0, "other"))
        assert torch.equal(begun["agent"], state["agent"])
        assert begun["sensor-id/agent"].unique().tolist() == [expected]
        assert len(begun["sensor-id/agent"]) == 9 * stage.world.spec.observation[0]
    run(UNTRAINED, tmp_path / "1-teacher", 0)
    run(Demonstrate(Toy(), rows=2, steps=1), tmp_path / "2-teach", 0)
    with pytest.raises(Usage, match="demonstrations of 3 sensors; cart-pole has 5"):
        replace(wide, demonstrations=Folder(str(tmp_path / "2-teach"))).open(state)


def test_the_auxiliary_loss_needs_recurrent_neurons():
    with pytest.raises(Usage, match="sensor_id_weight is for agents of sensory neurons"):
        Clone(CarPatches(), PongAgent(VisionNeurons(actions=3), actions=3), sensor_id_weight=0.1)
    with pytest.raises(Usage, match="reshuffle is for agents of sensory neurons"):
        Clone(CarPatches(), PongAgent(VisionNeurons(actions=3), actions=3), reshuffle=5)


def test_an_agent_without_gradient_is_a_usage_error():
    with pytest.raises(Usage, match="its output has no gradient"):
        Clone(CarPatches(), VotingAgent())  # type: ignore[arg-type]
    with pytest.raises(Usage, match="nothing can be learned by gradient"):
        VotingAgent(VisionNeurons(code=64), compile=False).policy(torch.zeros(7212)).predict(
            torch.zeros(1, 4, 4, 36, dtype=torch.uint8), ()
        )


UNTRAINED = Evolve(world=Toy(), agent=FeedForwardAgent(3), search=PGPE(4), episodes=2, steps=1, evaluation_episodes=2, compile=False)
"""an untrained teacher"""


def toy_teacher(folder: Path) -> Path:
    search = Evolve(world=Toy(), agent=FeedForwardAgent(3, layers=(4,)), search=PGPE(64, 0.3, 0.1), episodes=8, steps=80, compile=False)
    run(search, folder, 0)
    return folder


def score(folder: Path, senses: str = "") -> float:
    world, policy = wrapped(Toy(), checkpoint.policy(folder), senses)
    return evaluate(world, policy, 400, seed=7)["mean"]


@pytest.mark.slow
def test_cloning_and_a_round_of_dagger_learn_the_shuffled_toy(tmp_path: Path):
    toy_teacher(tmp_path / "1-teacher")
    agent = SensoryAgent(code=8, key=8)
    run(Demonstrate(Toy(), action_noise=0.2, rows=64, steps=4), tmp_path / "2-teach", 0)
    settings = {"batch": 128, "window": 20, "updates": 25, "learning_rate": 5e-3, "half_life": 300, "ema_decay": 0.98, "compile": False}
    run(Clone(Toy(), agent, steps=12, **settings), tmp_path / "3-clone", 0)  # type: ignore[arg-type]
    run(Demonstrate(Toy(), student=Folder("../3-clone"), earlier=Folder("../2-teach"), rows=64, steps=4), tmp_path / "4-teach-2", 0)
    second = Clone(Toy(), agent, Folder("../4-teach-2"), start=Folder("../3-clone"), steps=7, **settings)  # type: ignore[arg-type]
    run(second, tmp_path / "5-clone-2", 0)
    teacher, once, twice = (
        score(tmp_path / name, senses) for name, senses in (("1-teacher", ""), ("3-clone", "shuffle"), ("5-clone-2", "shuffle"))
    )
    assert once > 0.9 * teacher
    assert twice > 0.95 * teacher
    # with the auxiliary loss
    run(replace(Clone(Toy(), agent, steps=12, **settings), sensor_id_weight=0.1), tmp_path / "6-clone", 0)  # type: ignore[arg-type]
    accuracy = [row["sensor_id_accuracy"] for row in map(json.loads, (tmp_path / "6-clone" / "metrics.jsonl").read_text().splitlines())]
    assert accuracy[-1] > max(0.8, accuracy[0] + 0.2)
    assert score(tmp_path / "6-clone", "shuffle") > 0.9 * teacher


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_an_actor_critic_solves_the_toy(seed, tmp_path: Path):
    learner = SAC(learning_rate=2e-3, discount=0.98, tau=0.01, slow=1, features=0, hidden=32)
    stage = ActorCritic(
        Toy(), learner, rows=8, batch=64, every=4, random=400, capacity=4000, steps=30, checkpoint_every=10, evaluate_every=30
    )
    run(stage, tmp_path / "1-teacher", seed)
    assert score(tmp_path / "1-teacher") > 18


def test_damaged_demonstrations_are_recorded_again(tmp_path: Path, capsys):
    run(UNTRAINED, tmp_path / "1-teacher", 0)
    run(Demonstrate(Toy(), rows=4, steps=2), tmp_path / "2-teach", 0)
    shards = sorted((tmp_path / "2-teach").glob("shard-*"))
    whole = [path.read_bytes() for path in shards]
    shards[1].write_bytes(whole[1][:-40])
    run(Clone(Toy(), SensoryAgent(code=8, key=8), batch=4, window=5, updates=1, steps=1, compile=False), tmp_path / "3-clone", 0)
    assert [path.read_bytes() for path in shards] == whole
    assert shards[1].name in capsys.readouterr().err


def test_the_clone_of_a_torch_world_uses_dagger_and_others_use_demonstrations(tmp_path: Path):
    run(UNTRAINED, tmp_path / "toy", 0)
    assert [type(stage) for stage in clone("laptop", Folder(str(tmp_path / "toy"))).values()] == [Dagger]
    onward = clone("laptop", Folder(str(tmp_path / "toy")), onward=True)
    assert [type(stage) for stage in onward.values()] == [Dagger, ShortHorizonActorCritic]
    assert {stage.world for stage in onward.values()} == {Toy()}  # type: ignore[attr-defined]
    stages = registry.recipe("car-patches-clone").stages("tiny", rounds=3)
    assert list(stages) == ["teacher", "teach", "clone", "teach-2", "clone-2", "teach-3", "clone-3"]
    assert stages["teach-3"].student == "../5-clone-2"
    assert stages["teach-3"].earlier == "../4-teach-2"
    assert stages["clone-3"].start == "../5-clone-2"
    assert stages["clone-3"].demonstrations == "../6-teach-3"


def test_the_ants_student_may_be_the_papers():
    recipe = registry.recipe("ant-clone")
    chosen = [("laptop", 8), ("laptop", 0), ("paper", 0)]
    small, ours, papers = (recipe.stages(preset, units=units)["clone"].agent for preset, units in chosen)  # type: ignore[attr-defined]
    assert (small, ours, papers) == (ANT_AGENT, ANT_STUDENT, ANT_AGENT)
    with pytest.raises(Usage, match="tiny has a size of its own"):
        recipe.stages("tiny", units=8)


def test_rounds_with_reshuffles():
    """The student is trained with them in every round, and acts with half as many from the second on."""
    stages = registry.recipe("ant-clone").stages("laptop", reshuffle=50, rounds=2)
    assert [stages[name].reshuffle for name in ("teach", "clone", "teach-2", "clone-2")] == [0, 50, 100, 50]
    assert all(not getattr(stage, "reshuffle", 0) for stage in registry.recipe("ant-clone").stages("laptop").values())
    with pytest.raises(Usage, match="--reshuffle are for recorded demonstrations"):
        registry.recipe("clone").stages("tiny", reshuffle=5)


def test_cards_have_no_absolute_paths_of_teachers(tmp_path: Path):
    run(UNTRAINED, tmp_path / "toy", 0)
    train("clone", "tiny", tmp_path / "run", teacher=str(tmp_path / "toy"))
    assert '"teacher": "../../toy"' in (tmp_path / "run" / "1-clone" / "card.json").read_text()
    with pytest.raises(Usage, match="no folder nowhere"):
        train("clone", "tiny", tmp_path / "other", teacher="nowhere")
    with pytest.raises(Usage, match="did you mean teacher"):
        train("clone", "tiny", tmp_path / "other", teachr="nowhere")
    with pytest.raises(Usage, match="are for recorded demonstrations"):
        train("clone", "tiny", tmp_path / "other", teacher=str(tmp_path / "toy"), sensor_dropout=0.5)
    train("clone", "tiny", tmp_path / "onward", teacher=str(tmp_path / "toy"), onward=True)
    assert checkpoint.step_of(tmp_path / "onward" / "2-ascend") == 4


# reports


TITLES = {
    "ant-clone": [
        "Video",
        "Scores with altered senses",
        "Learning curves",
        "Attention weights",
        "Sensor recognition",
    ],
    "car-patches-clone": ["Input and attention", "Scores with altered patches", "Learning curves"],
    "pong-clone": ["Input and attention", "Scores with altered patches", "Learning curves", "Occluded patches"],
}


@pytest.mark.parametrize("recipe", TITLES)
def test_report_sections(recipe, monkeypatch):
    needs(registry.recipe(recipe).extras)
    monkeypatch.setattr("sensorium.systems.attention_neuron.figures.patches.EPISODES", 2)
    found = {section.title: section for section in sections(trained(recipe)).sections}
    assert list(found) == TITLES[recipe]
    assert found["Learning curves"].shown


def test_a_stage_without_an_agent_has_no_page():
    needs(registry.recipe("ant-clone").extras)
    with pytest.raises(Usage, match="have nothing to show"):
        sections(trained("ant-clone") / "2-teach")


def test_the_teacher_of_a_run_is_found():
    pytest.importorskip("pybullet_envs_gymnasium")
    agents = agents_of(trained("ant-clone"))
    assert list(agents) == ["this run's agent", "its teacher"]
    assert isinstance(agents["its teacher"].stage, ActorCritic)
    assert fits(agents["this run's agent"], "noise:5")
    assert not fits(agents["its teacher"], "noise:5")
    assert fits(agents["its teacher"], "shuffle")


def test_a_reshuffle_lowers_the_reward_rate():
    search = Evolve(
        world=Toy(horizon=100), agent=FeedForwardAgent(3, layers=(4,)), search=PGPE(64, 0.3, 0.1), episodes=8, steps=1, compile=False
    )
    plain = FeedForwardAgent(3, layers=()).layout.join(
        {"head.0.weight": torch.tensor([[[-5.0, 0.0, 0.0]]]), "head.0.bias": torch.zeros(1, 1)}
    )
    policy = FeedForwardAgent(3, layers=()).policy(plain)
    episodes = 64
    found = reward_rate(TrainedAgent(search, Toy(horizon=100), policy), "shuffle", 50, episodes, window=1)
    world, player = wrapped(Toy(horizon=100), policy, "shuffle:every=50")
    rewards = play(world.open(), player, row_seeds(5, episodes), keep=("rewards",)).rewards
    assert np.allclose(found.mean, rewards.mean(1), atol=1e-6)
    # rows with a lucky first permutation score lower with the second
    lucky = rewards[40:50].mean(0) > 0.9
    assert bool(lucky.any())
    assert float(rewards[60:, lucky].mean()) < float(rewards[40:50, lucky].mean()) - 0.05


class Seeking:
    """A teacher that exists in Python only: it walks towards 1."""

    members = 1

    def take(self, members):
        return self

    def begin(self, seeds):
        return ()

    def act(self, obs, memory, t):
        # actions in [-1, 1] are [-2, 6] in the environment
        return ((1 - obs[:, :1]) / 4 - 0.5).clamp(-1, 1), memory


def test_a_python_object_is_cloned_and_its_clone_stands_alone(tmp_path):
    pytest.importorskip("gymnasium")
    from tests import foreign  # noqa: F401  registers environments

    out = tmp_path / "seeking"
    folder = sensorium.clone("gym:foreign/Walk-v0", Seeking(), out, "tiny")
    first = sensorium.evaluate(folder, 4)["returns"]
    assert sensorium.evaluate(out / "teacher", 4)["mean"] > -12
    # resumed by the same call, also after the process has forgotten the object
    External.given.clear()
    assert sensorium.evaluate(folder, 4)["returns"] == first
    with pytest.raises(Usage, match=r"give it to sensorium\.clone again"):
        sensorium.evaluate(out / "teacher", 4)
    assert sensorium.clone("gym:foreign/Walk-v0", Seeking(), out, "tiny") == out


@pytest.mark.slow
def test_a_compiled_student_of_pictures_has_the_gradient_of_the_eager_one():
    vector, draw = first_vector(CAR_STUDENT, 1.0, 0.0, 0), torch.Generator().manual_seed(0)
    obs = torch.randint(0, 256, (4, 16, 4, 36), dtype=torch.uint8, generator=draw)
    before = torch.zeros(4, 3)

    def gradient(network: Callable, dtype: torch.dtype) -> torch.Tensor:
        weights = vector.clone().requires_grad_()
        with products(torch.device("cpu"), dtype):
            result = network(CAR_STUDENT.student(weights), obs, before).float()
        return torch.autograd.grad((result**2).sum(), weights)[0]

    exact = gradient(outputs, torch.float32)
    for network in (outputs, compiled(outputs)):
        assert float((gradient(network, torch.bfloat16) - exact).norm() / exact.norm()) < 0.05
