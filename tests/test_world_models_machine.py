"""World Models' stages: dreams, M's training data, the authors' files, and the stages together."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sensorium
from sensorium import cli, registry
from sensorium.core import checkpoint
from sensorium.core.errors import Usage
from sensorium.core.rollout import play
from sensorium.core.run import run
from sensorium.core.seeding import Seeds, fold, normal, row_seeds
from sensorium.core.stage import Folder
from sensorium.data import episodes as disk
from sensorium.data.episodes import Episode
from sensorium.envs.pixel_cart_pole import PixelCartPole
from sensorium.nets import descent
from sensorium.rl.acting import RandomTurns
from sensorium.settings import described
from sensorium.systems.world_models import equations as eq
from sensorium.systems.world_models import official, probes
from sensorium.systems.world_models.curiosity import CuriosityEnv
from sensorium.systems.world_models.dream import Dream, DreamWorld
from sensorium.systems.world_models.latents import Latents, load_model
from sensorium.systems.world_models.model import ConvVAE, LatentPolicy, Linear, pixels
from sensorium.systems.world_models.stages import Collect, Controller, Memory, Vision
from sensorium.systems.world_models.stages.collect import NoisyPolicy
from sensorium.systems.world_models.stages.memory import losses
from sensorium.systems.world_models.tables import prediction_errors
from tests import foreign  # noqa: F401  registers environments
from tests.conftest import REFERENCE, needs, trained
from tests.test_world_models import a_memory, random

# dreams


def a_dream(temperature: float = 1.0, horizon: int = 12, dropout: float = 0.0, **heads: bool) -> DreamWorld:
    return DreamWorld(a_memory(**heads), random(3, 4, seed=8), random(3, 4, seed=9) - 1, temperature, horizon, (), dropout)


def test_the_dream_step_by_step():
    """Reward 1 or M's, the end where the restart logit exceeds 0, and M's memory."""
    for heads in ({}, {"reward": True}):
        world = a_dream(**heads)
        state = world.initial(row_seeds(3, 64))
        z, hidden, cell, _ = state
        assert not hidden.any()
        torch.testing.assert_close(world.observe(state), torch.cat([z, cell, hidden], 1))
        action, first = random(64, 1), torch.ones(64)
        for t in range(3):
            hidden, cell = world.memory.step(z, action, first if t == 0 else 0 * first, hidden, cell)
            seen = world.memory.predict(hidden)
            state, step = world.transition(state, action, t)
            z = state[0]
            torch.testing.assert_close(state[1], hidden)
            assert seen.restart is not None
            assert torch.equal(step.terminated, seen.restart > 0)
            torch.testing.assert_close(step.reward, torch.ones(64) if seen.reward is None else seen.reward)
            torch.testing.assert_close(step.obs, torch.cat([z, cell, hidden], 1))


def test_a_dream_is_a_function_of_its_seed_independent_of_other_rows():
    world, c = a_dream(), Linear("zch", 4, 6, 1, bias=False, car=False)
    policy, seeds = LatentPolicy(c, random(c.layout.size)), row_seeds(0, 32)
    together = play(world.open(), policy, seeds, keep=("observations",))
    alone = play(world.open(), policy, seeds[5:6], keep=("observations",))
    length = int(alone.lengths[0])
    torch.testing.assert_close(together.observations[:length, 5], alone.observations[:length, 0])
    other = play(world.open(), policy, row_seeds(1, 32), keep=("observations",))
    assert not torch.allclose(together.observations[0], other.observations[0])


def test_each_episode_of_a_dream_with_dropout_has_its_own_mask():
    """The mask is the same at all steps; without dropout there is none."""
    plain, world = a_dream(), a_dream(dropout=0.3)
    seeds = row_seeds(3, 400)
    state = world.initial(seeds)
    assert torch.equal(state[0], plain.initial(seeds)[0])
    mask = world.mask(state[3])
    assert plain.mask(state[3]) is None
    assert mask is not None
    assert mask.shape == (400, 4 + 6)
    assert float((mask == 0).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert len(mask.unique(dim=0)) > 100
    action = random(400, 1)
    for t in range(3):
        hidden, _ = world.memory.step(state[0], action, torch.full((400,), float(t == 0)), state[1], state[2], mask)
        state, _ = world.transition(state, action, t)
        torch.testing.assert_close(state[1], hidden)
    without, _ = plain.transition(plain.initial(seeds), action, 0)
    with_mask, _ = world.transition(world.initial(seeds), action, 0)
    assert not torch.allclose(without[1], with_mask[1])


def test_a_cold_dream_follows_the_likeliest_component():
    """At a temperature near 0 z is the mean of the likeliest component."""
    world = a_dream(temperature=1e-6)
    state = world.initial(row_seeds(0, 16))
    following, _ = world.transition(state, torch.zeros(16, 1), 1)
    seen = world.memory.predict(following[1])
    best = seen.log_weight.argmax(-1, keepdim=True)
    torch.testing.assert_close(following[0], seen.mean.gather(-1, best)[..., 0], atol=0.02, rtol=0.02)


def test_temperature_zero_is_a_usage_error():
    with pytest.raises(Usage, match="more than 0"):
        Dream("x", temperature=0.0)


@pytest.mark.slow
@pytest.mark.compiled
def test_a_compiled_dream_in_bfloat16_equals_the_eager_one():
    world, c = a_dream(horizon=40, dropout=0.2), Linear("zch", 4, 6, 1, bias=False, car=False)
    policy, seeds = LatentPolicy(c, random(c.layout.size)), row_seeds(0, 512)
    eager = play(world.open(), policy, seeds, compile=False)
    # each batch size takes half a minute to compile, so only one is tested
    plain, fast = (play(world.open(), policy, seeds[:16], compile=flag) for flag in (False, True))
    assert len(plain.lengths.unique()) > 1
    assert (plain.lengths == fast.lengths).all()
    world.memory.to(torch.bfloat16)
    half = play(world.open(), policy, seeds, compile=False)
    assert float(half.returns.mean()) == pytest.approx(float(eager.returns.mean()), rel=0.05)


# M's training data


def some_latents() -> Latents:
    lengths = torch.tensor([5, 3, 6, 4])
    frames = torch.arange(18, dtype=torch.float32)
    terminated = torch.tensor([True, True, False, True])
    return Latents(frames[:, None].half(), torch.full((18, 1), -20.0).half(), frames[:, None].half(), frames, lengths, terminated)


def test_whole_episodes_start_at_their_beginning_and_count_to_their_end():
    data = some_latents()
    for number in range(4):
        index, follows, earns, fresh = data.batch("episodes", number, 2, 4, seed=1, across=False)
        assert fresh
        for row in range(2):
            start = int(index[0, row])
            episode = data.starts.tolist().index(start)
            length = int(data.lengths[episode])
            assert index[:, row].tolist() == [start + min(t, length - 1) for t in range(5)]
            assert follows[:, row].tolist() == [float(t + 1 < length) for t in range(4)]
            assert earns[:, row].tolist() == [float(t < length) for t in range(4)]  # the last action has a reward too


def test_streams_continue_from_window_to_window_and_cover_an_epoch_once():
    data, seen = some_latents(), []
    for number in range(2):  # 2 streams of 9 frames, windows of 4 steps
        index, follows, earns, fresh = data.batch("streams", number, 2, 4, seed=1, across=False)
        assert fresh == (number == 0)
        assert follows.tolist() == (1 - data.first[index[1:]].float()).tolist()
        assert bool(earns.all())
        # M is trained to predict restarts after terminations, but not after truncations: the third episode, frames 8 to 13
        assert data.batch("streams", number, 2, 4, seed=1, across=True).next_mask.tolist() == (index[:-1] != 13).float().tolist()
        seen.append(index)
    assert torch.equal(seen[0][-1], seen[1][0])
    flat = torch.cat([seen[0], seen[1][1:]]).T.flatten().tolist()
    assert sorted(flat) == list(range(18))
    assert data.batch("streams", 2, 2, 4, seed=1, across=True).fresh
    with pytest.raises(Usage, match="too few"):
        data.batch("streams", 0, 9, 4, seed=1, across=True)


def test_rewards_are_limited_as_targets_of_m():
    limited = Memory(reward=True, reward_limit=1.0).limited(torch.tensor([-100.0, 0.5, 3.0]))
    assert limited.tolist() == [-1.0, 0.5, 1.0]
    with pytest.raises(Usage, match="reward_limit cannot be -1"):
        Memory(reward=True, reward_limit=-1.0)
    with pytest.raises(Usage, match="reward_limit needs reward"):
        Memory(reward_limit=1.0)
    stage = a_memory_stage("car-racing-dream")

    def cost(limit: float) -> float:
        limited = replace(stage, reward_limit=limit)
        state = limited.init(Seeds(0))
        return limited.step(state, limited.open(state), Seeds(0, "memory", 1))["reward"]

    assert cost(0.0) == cost(1000.0) > cost(0.1)


def test_m_is_trained_with_one_mask_for_each_sequence(monkeypatch: pytest.MonkeyPatch):
    """z as an input and the hidden state are masked, and z as a target is not."""
    stage = replace(a_memory_stage("take-cover"), dropout=0.5)
    masks: list[torch.Tensor] = []
    drawn = Memory.mask

    def kept(self: Memory, *given: Any) -> torch.Tensor | None:
        mask = drawn(self, *given)
        if mask is not None:
            masks.append(mask)
        return mask

    monkeypatch.setattr(Memory, "mask", kept)

    def cost(stage: Memory, step: int, updates: int = 1) -> float:
        state = stage.init(Seeds(0))
        live = stage.open(state)
        return [stage.update(state, live, Seeds(0, "memory", step), k)["z"] for k in range(updates)][-1]

    state = stage.init(Seeds(0))
    live = stage.open(state)
    assert live.lstm == "explicit"
    batch = live.latents.batch("streams", 0, stage.batch, stage.length, Seeds(0, "memory")("order"), across=True)
    data = live.latents.gather(batch.index, torch.device("cpu"))
    z = eq.latent(data.mu, data.log_variance, descent.noise(Seeds(0, "memory", 1)("noise 0"), *data.mu.shape))
    found = cost(stage, 1)
    [mask] = masks
    hidden = cell = torch.zeros(stage.batch, stage.hidden)
    total = torch.zeros(())
    for t in range(stage.length):
        hidden, cell = live.model.step(z[t], data.action[t], data.restart[t], hidden, cell, mask)
        seen = live.model.predict(hidden)
        likelihood = eq.mixture_log_likelihood(z[t + 1], seen.log_weight, seen.mean, seen.log_sd).mean(-1)
        total = total - (likelihood * batch.next_mask[t]).sum() / batch.next_mask.sum()
    assert found == pytest.approx(float(total.detach()), rel=1e-4)
    masks.clear()
    cost(stage, 1, updates=2)
    cost(stage, 2)
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == len(masks) == 3


def test_perturbed_actions_are_executed_and_remembered():
    agent = checkpoint.agent(trained("car-racing"))
    stage, state = checkpoint.restored(agent)
    assert isinstance(stage, Controller)
    policy, spec, rows = stage.policy(state), stage.world.spec, 64
    frames = torch.randint(256, (rows, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seeds, turned, actions = row_seeds(0, rows), RandomTurns(policy, spec.action, 0.4, 5, spec.low), []
    memory, own = turned.begin(seeds), policy.begin(seeds)
    for t in range(10):
        action, memory = turned.act(frames, memory, t)
        undisturbed, own = policy.act(frames, own, t)
        own = policy.with_action(own, action)
        torch.testing.assert_close(memory[-1], own)
        assert (action >= torch.tensor(spec.low)).all()
        actions.append((action, (action != undisturbed).all(1)))
    for turn in (actions[:5], actions[5:]):
        replaced = turn[0][1]
        assert all(torch.equal(one, replaced) for _, one in turn)
        assert float(replaced.float().mean()) == pytest.approx(0.4, abs=0.2)
        assert all(torch.equal(action[replaced], turn[0][0][replaced]) for action, _ in turn)
    assert not torch.equal(actions[0][0], actions[5][0])
    noisy = NoisyPolicy(policy, 0.3, spec)
    action, memory = noisy.act(frames, noisy.begin(seeds), 0)
    assert torch.equal(memory[-1][-1], action)
    assert not torch.equal(action, policy.act(frames, policy.begin(seeds), 0)[0])
    both = Collect(stage.world, agent=Folder(str(agent)), noise=0.3, random_turn_share=0.5, turn_steps=5).policy({})
    action, memory = both.act(frames, both.begin(seeds), 0)
    assert torch.equal(memory[-1][-1][-1], action)
    assert 10 < int((action == noisy.act(frames, noisy.begin(seeds), 0)[0]).all(1).sum()) < 54
    with pytest.raises(Usage, match="give agent"):
        Collect(random_turn_share=0.1)


def test_dropout_that_cannot_be_is_refused():
    for wrong in (-0.1, 1.0):
        for stage in (Memory, Controller, Dream):
            given = {"world": PixelCartPole()} if stage is Controller else {"memory": "x"} if stage is Dream else {}
            with pytest.raises(Usage, match=f"dropout cannot be {wrong}; at least 0, less than 1"):
                stage(**given, dropout=wrong)  # type: ignore[arg-type]
    with pytest.raises(Usage, match="dropout is that of M in the dream"):
        Controller(PixelCartPole(), memory=Folder(""), controller=Linear("z"), dropout=0.1)
    with pytest.raises(ValueError, match="no mask"):
        a_memory().sequence(torch.zeros(2, 1, 6), torch.ones(2, 1, 1), *torch.zeros(2, 1, 6), implementation="fused", mask=torch.ones(1, 6))


def test_the_dream_has_the_dropout_of_the_stage_and_the_world_has_none():
    agent = checkpoint.agent(trained("take-cover"))
    stage, state = checkpoint.restored(agent)
    assert isinstance(stage, Controller)
    dropped = replace(stage, dropout=0.5)
    assert stage.dream_world().world.dropout == 0
    assert dropped.dream_world().world.dropout == 0.5
    frames, seeds = torch.randint(256, (3, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)), row_seeds(0, 3)
    plain, policy = stage.policy(state), dropped.policy(state)
    memories = [one.begin(seeds) for one in (plain, policy)]
    for t in range(3):
        (action, memories[0]), (other, memories[1]) = plain.act(frames, memories[0], t), policy.act(frames, memories[1], t)
        assert torch.equal(action, other)
        assert torch.equal(memories[0][1], memories[1][1])


@pytest.mark.slow
def test_m_with_dropout_resumes_exactly(tmp_path: Path):
    stage = replace(a_memory_stage("take-cover"), dropout=0.3, steps=3)
    run(stage, tmp_path / "whole" / "3-memory", 0)
    run(replace(stage, steps=1), tmp_path / "parts" / "3-memory", 0)
    run(stage, tmp_path / "parts" / "3-memory", 0)
    whole, parts = (checkpoint.load(tmp_path / name / "3-memory") for name in ("whole", "parts"))
    assert whole is not None
    assert parts is not None
    assert all(torch.equal(tensor, parts[1][name]) for name, tensor in whole[1].items())


def a_memory_stage(recipe: str) -> Memory:
    """The stage of M of a tiny recipe, with the folders of its trained run."""
    folder = next(path for path in checkpoint.stages_of(trained(recipe)) if path.name.endswith("memory"))
    stage = checkpoint.placed(checkpoint.stage(folder), folder)
    assert isinstance(stage, Memory)
    return stage


def test_costs_of_m_by_brute_force():
    memory, steps, rows = a_memory(reward=True, action=True), 3, 2
    hidden, z, action = random(steps, rows, 6), random(steps, rows, 4, seed=1), random(steps, rows, 1, seed=2)
    restart, reward = (random(steps, rows, seed=3) > 0).float(), random(steps, rows, seed=4)
    follows, earns = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    costs = losses(memory, hidden, z, action, restart, reward, follows, earns, 10.0, torch.float32)
    expected = dict.fromkeys(costs, 0.0)
    for t, row in earns.nonzero().tolist():
        predicted = memory.predict(hidden[t, row][None]).reward
        assert predicted is not None
        expected["reward"] += float((predicted - reward[t, row]) ** 2) / 5
    for t, row in follows.nonzero().tolist():
        seen = memory.predict(hidden[t, row][None])
        assert seen.restart is not None
        assert seen.action is not None
        likelihood = eq.mixture_log_likelihood(z[t, row][None], seen.log_weight, seen.mean, seen.log_sd)
        p, r = 1 / (1 + math.exp(-float(seen.restart))), float(restart[t, row])
        expected["z"] -= float(likelihood.mean()) / 4
        expected["restart"] -= (10 * math.log(p) if r else math.log(1 - p)) / 4
        expected["action"] += float((seen.action - action[t, row]) ** 2) / 4
    for name, cost in costs.items():
        assert float(cost) == pytest.approx(expected[name], rel=1e-4)


def moving_square(length: int, seed: int) -> Episode:
    """A bright square that moves by its action, which V can reconstruct and M can predict."""
    random = np.random.default_rng(seed)
    actions = random.choice([-1.0, 1.0], (length, 1))
    place, frames = random.integers(0, 13), np.full((length, 64, 64, 3), 90, dtype=np.uint8)
    for t in range(length):
        frames[t, 20:44, 4 * place : 4 * place + 16] = 230
        place = int(np.clip(place + actions[t, 0], 0, 12))
    return Episode(frames, actions, np.zeros(length), True)


@pytest.mark.slow
def test_v_learns_to_reconstruct_and_m_to_predict(tmp_path: Path):
    collect = registry.recipe("take-cover").stages("tiny")["collect"]
    run(replace(collect, steps=0), tmp_path / "1-collect", 0)  # type: ignore[type-var]
    for number in range(1, 5):
        disk.write(tmp_path / "1-collect", number, [moving_square(100, 10 * number + i) for i in range(4)])
    vision = Vision(latents=8, batch=24, updates=10, group=16, learning_rate=5e-4, bfloat16=False, compile=False, steps=15)
    run(vision, tmp_path / "2-vision", 0)
    rows = [json.loads(line) for line in (tmp_path / "2-vision" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["reconstruction"] < 0.35 * rows[0]["reconstruction"]
    memory = Memory(hidden=32, batch=8, length=99, updates=20, learning_rate=1e-2, bfloat16=False, compile=False, steps=6)
    run(memory, tmp_path / "3-memory", 0)
    rows = [json.loads(line) for line in (tmp_path / "3-memory" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["z"] < rows[0]["z"] - 0.3
    # with wrong actions its predictions are worse
    model, data = load_model(str(tmp_path / "3-memory"), bfloat16=False), memory.__class__.latents
    placed = checkpoint.placed(memory, tmp_path / "3-memory")
    latents = data(placed, "cpu")
    sample = latents.gather(torch.arange(100)[:, None], torch.device("cpu"))

    def cost(action: torch.Tensor) -> float:
        inputs = model.inputs(sample.mu[:-1], action[:-1], sample.restart[:-1])
        blank = torch.zeros(1, 32)
        hiddens, _ = model.sequence(inputs, torch.ones(99, 1, 1), blank, blank, compile=False)
        seen = model.predict(hiddens)
        return -float(eq.mixture_log_likelihood(sample.mu[1:], seen.log_weight, seen.mean, seen.log_sd).mean())

    assert cost(sample.action) < cost(-sample.action) - 0.05


@pytest.mark.slow
def test_fitted_initial_weights_let_v_learn_from_white_frames(tmp_path: Path):
    """Frames with a white background and a thin bar, as of many simulators: V learns where the bar is."""
    run(replace(registry.recipe("take-cover").stages("tiny")["collect"], steps=0), tmp_path / "1-collect", 0)  # type: ignore[type-var]
    frames = np.full((60, 64, 64, 3), 255, dtype=np.uint8)
    for t in range(60):
        frames[t, 10:50, t : t + 4, 1:] = 60
    disk.write(tmp_path / "1-collect", 1, [Episode(frames, np.zeros((60, 1), np.float32), np.zeros(60), True)])
    vision = Vision(latents=4, batch=30, updates=15, group=1, learning_rate=1e-3, fitted=True, bfloat16=False, compile=False, steps=6)
    run(vision, tmp_path / "2-vision", 0)
    rows = [json.loads(line) for line in (tmp_path / "2-vision" / "metrics.jsonl").read_text().splitlines()]
    picture = frames / 255
    one_picture = np.square(picture - picture.mean(0)).sum((1, 2, 3)).mean()
    assert rows[-1]["reconstruction"] < 0.5 * one_picture


# the authors' files


@pytest.fixture
def authors() -> Path:
    folder = REFERENCE / "world_models"
    if not folder.is_dir():
        pytest.skip(f"the authors' files are not at {folder} (SENSORIUM_REFERENCE names another folder)")
    return folder


def test_the_authors_m_predicts_the_authors_latents(authors: Path, tmp_path: Path):
    said = official.car_racing([authors / "car_racing_rnn.json", authors / "car_racing_controller.json"], tmp_path / "out")
    assert said[0] == "missing: vision (vae.json)"
    with np.load(authors / "car_racing_official_latents.npz") as file:
        z = torch.from_numpy(file["mu"])
    likelihood, error = prediction_errors(load_model(str(tmp_path / "out" / "3-memory"), bfloat16=False), z)
    assert float(likelihood.mean()) == pytest.approx(0.54, abs=0.02)
    assert float(error.mean()) == pytest.approx(0.013, abs=0.002)


def integers(*shapes: tuple[int, ...]) -> list:
    random = np.random.default_rng(0)
    return [random.integers(-400, 400, shape).tolist() for shape in shapes]


VAE = [
    (4, 4, 3, 32), (32,), (4, 4, 32, 64), (64,), (4, 4, 64, 128), (128,), (4, 4, 128, 256), (256,), (1024, 32), (32,), (1024, 32), (32,),
    (32, 1024), (1024,), (5, 5, 128, 1024), (128,), (5, 5, 64, 128), (64,), (6, 6, 32, 64), (32,), (6, 6, 3, 32), (3,),
]  # fmt: skip


def test_v_is_imported_in_tensorflows_layout():
    """A fully connected layer after the last convolution, with features in the order height, width, channels."""
    tensors = [torch.tensor(part, dtype=torch.float32) for part in integers(*VAE)]
    model = descent.loaded(ConvVAE(32), official.vision_state(tensors, 32)).requires_grad_(False)
    features = random(1, 256, 2, 2)
    flat = features.permute(0, 2, 3, 1).flatten(1)  # TensorFlow's order
    torch.testing.assert_close(model.mu(features.flatten(1)), flat @ (tensors[8] / 1e4) + tensors[9] / 1e4, rtol=1e-3, atol=1e-3)
    kernel = tensors[0] / 1e4
    image = random(1, 3, 4, 4, seed=1)
    by_hand = sum(image[0, c, y, x] * kernel[y, x, c, 5] for c in range(3) for y in range(4) for x in range(4)) + tensors[1][5] / 1e4
    assert float(model.encoder[0](image)[0, 5, 0, 0]) == pytest.approx(float(by_hand), rel=1e-3)
    up = tensors[20] / 1e4
    one = torch.zeros(1, 32, 1, 1)
    one[0, 7] = 1
    assert float(model.decoder[3](one)[0, 2, 4, 3]) == pytest.approx(float(up[4, 3, 2, 7] + tensors[21][2] / 1e4), rel=1e-4)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 3, 0, 1)])
def test_both_gate_orders_of_m_are_imported(tmp_path: Path, order):
    parts = integers((256, 480), (480,), (291, 1024), (1024,))
    (tmp_path / "rnn.json").write_text(json.dumps([parts[i] for i in order]))
    official.car_racing([tmp_path / "rnn.json"], tmp_path / "out")
    model = load_model(str(tmp_path / "out" / "3-memory"), bfloat16=False)
    kernel = np.array(parts[2]) / 1e4
    assert model.kernel[3, 300].item() == pytest.approx(kernel[3, 2 * 256 + 300 - 256], abs=1e-4)  # forget: third there, second here
    assert model.head_bias.tolist() == pytest.approx((np.array(parts[1]) / 1e4).tolist(), abs=1e-4)


def test_an_imported_controller_acts_the_same():
    values, c = random(867), Linear("zh")
    z, hidden = random(2, 32, seed=1), random(2, 256, seed=2)
    ours = c.act(c.layout.split(official.controller_vector(values, c)), z, hidden, hidden)
    theirs = torch.tanh(torch.cat([z, hidden], 1) @ values[3:].view(288, 3) + values[:3])
    torch.testing.assert_close(ours, eq.car_action(theirs), rtol=1e-4, atol=1e-5)


def test_a_complete_set_of_files_plays(tmp_path: Path):
    pytest.importorskip("envpool")
    random = np.random.default_rng(1)
    files = {
        "vae.json": integers(*VAE), "rnn.json": integers((256, 480), (480,), (291, 1024), (1024,)),
        "x.best.json": [random.normal(size=867).tolist(), 900.0], "initial_z.json": integers((4, 32), (4, 32)),
    }  # fmt: skip
    for name, value in files.items():
        (tmp_path / name).write_text(json.dumps(value))
    said = official.car_racing([tmp_path / name for name in files], tmp_path / "out")
    assert not [line for line in said if "missing" in line]
    stage = checkpoint.stage(tmp_path / "out" / "4-controller")
    env = replace(stage.world, horizon=3).open()  # type: ignore[attr-defined]
    assert play(env, checkpoint.policy(tmp_path / "out"), row_seeds(0, 2)).lengths.tolist() == [3, 3]


def test_unknown_files_are_usage_errors(tmp_path: Path):
    (tmp_path / "x.json").write_text("[[1, 2], [3]]")
    with pytest.raises(Usage, match="none of their files"):
        official.car_racing([tmp_path / "x.json"], tmp_path / "out")
    (tmp_path / "y.json").write_text("[[1, 2, 3], 5]")
    with pytest.raises(Usage, match="867 are needed"):
        official.car_racing([tmp_path / "y.json"], tmp_path / "out")


# stages


def test_agents_of_the_real_world_and_of_the_dream_play_in_both():
    import sensorium

    for recipe, world in (("car-racing-dream", "car-racing"), ("take-cover", "take-cover")):
        folder = trained(recipe)
        dream = sensorium.evaluate(folder, 4, world="dream")
        assert dream["world"] == "dream"
        assert dream["sd"] > 0
        assert sensorium.evaluate(folder, 2)["world"] == world


def test_a_dream_without_reward_and_end_is_a_usage_error():
    import sensorium

    with pytest.raises(Usage, match="neither reward nor end"):
        sensorium.evaluate(trained("car-racing"), 2, world="dream")


def test_widths_that_do_not_fit_are_a_usage_error():
    stage = registry.recipe("car-racing").stages("tiny")["controller"]
    wrong = replace(stage, controller=Linear("zh", hidden=17))  # type: ignore[type-var,call-arg]
    with pytest.raises(Usage, match="V and M have 32 and 16"):
        checkpoint.placed(wrong, trained("car-racing") / "4-controller").init(Seeds(0))


def test_a_dream_without_memory_is_a_usage_error():
    import sensorium

    with pytest.raises(Usage, match="dream"):
        sensorium.evaluate(trained("car-racing-z"), 2, world="dream")


def test_stages_without_a_policy_are_usage_errors():
    for part in ("2-vision", "3-memory"):
        with pytest.raises(Usage, match="does not act"):
            checkpoint.policy(trained("take-cover") / part)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_every_stage_learns_on_a_gpu(tmp_path: Path):
    device = "cuda"
    for number, (name, stage) in enumerate(registry.recipe("take-cover").stages("tiny").items(), 1):
        state = run(stage, tmp_path / f"{number}-{name}", 0, device=device, last=name == "controller")
        assert {tensor.device.type for tensor in state.values()} == {device}
    world, policy = checkpoint.restored(tmp_path, device)[0].in_dream(state)  # type: ignore[attr-defined]
    assert play(world.open(), policy, row_seeds(0, 4, device)).returns.device.type == device


def test_report_sections():
    from sensorium.systems.world_models.figures import sections

    titles = {
        "car-racing": [
            "Evaluation",
            "Reconstructions and predictions",
            "Latent traversals",
            "Dream and real episode",
        ],
        "car-racing-z": ["Evaluation", "Reconstructions and predictions", "Latent traversals"],
    }
    for recipe, expected in titles.items():
        page = sections(trained(recipe))
        assert [section.title for section in page.sections] == [*expected, "Training of V and M", "Evolution of C"]
        assert all(section.shown for section in page.sections)
    with pytest.raises(Usage, match="nothing to show"):
        sections(trained("car-racing") / "2-vision")


def test_processes_collect_and_evolve_bit_identically(tmp_path: Path):
    from sensorium.core.jobs import on

    stages = registry.recipe("car-racing-z").stages("tiny")
    for number, name in ((1, "collect"), (3, "controller")):
        found = {}
        for place in ("here", "processes:2"):
            folder = tmp_path / place.partition(":")[0]
            folder.mkdir(exist_ok=True)
            for earlier in list(trained("car-racing-z").glob("[12]-*")):
                if number == 3 and not (folder / earlier.name).exists():
                    (folder / earlier.name).symlink_to(earlier)
            target = folder / f"{number}-{name}"
            with on(place):
                found[place] = run(stages[name], target if number == 3 else folder / "0-collect", 4)
        here, there = found.values()
        assert all(torch.equal(here[key], there[key]) for key in here)


def test_the_best_mean_is_kept(tmp_path: Path):
    """The agent is the mean with the best score on new episodes, not the last one."""
    stage = checkpoint.placed(registry.recipe("take-cover").stages("tiny")["controller"], trained("take-cover") / "4-controller")
    state = stage.init(Seeds(0, "x", 0))
    live = stage.open(state)
    state["mean"] = random(len(state["mean"])).to(state["mean"].dtype)
    state["best"] = torch.tensor(1e9)
    before = state["agent"].clone()
    stage.evaluate_mean(state, live, Seeds(0, "x", 1))  # type: ignore[attr-defined]
    assert torch.equal(state["agent"], before)
    state["best"] = torch.tensor(-1e9)
    score = stage.evaluate_mean(state, live, Seeds(0, "x", 1))  # type: ignore[attr-defined]
    torch.testing.assert_close(state["agent"], state["mean"].float())
    assert float(state["best"]) == pytest.approx(score)
    live.close()


def test_curiosity_adds_a_reward_in_the_real_world():
    vision, memory, world, seeds = ConvVAE(4), a_memory(), PixelCartPole(horizon=4), row_seeds(0, 3)
    descent.glorot(vision, 1)
    vision.requires_grad_(False)
    env, plain = CuriosityEnv(world.open(), vision, memory, 0.5), world.open()
    frames = [env.reset(seeds)]
    plain.reset(seeds)
    hidden, cell = torch.zeros(3, 6), torch.zeros(3, 6)

    def seen(t: int) -> torch.Tensor:
        mu, log_variance = vision.encode(pixels(frames[t]))
        return eq.latent(mu, log_variance, normal(fold(seeds, "curiosity"), t, 4))

    for t in range(4):
        action = random(3, 1, seed=t)
        step, other = env.step(action), plain.step(action)
        frames.append(step.obs)
        hidden, cell = memory.step(seen(t), action, torch.full((3,), float(t == 0)), hidden, cell)
        expected = memory.predict(hidden)
        surprise = -eq.mixture_log_likelihood(seen(t + 1), expected.log_weight, expected.mean, expected.log_sd).mean(1)
        torch.testing.assert_close(step.reward, other.reward + 0.5 * surprise)


@pytest.mark.parametrize(
    ("name", "flags"), [("iterate", {}), ("iterate", {"curiosity": 0.5}), ("take-cover", {}), ("car-racing-dream", {})]
)
def test_the_folders_of_rounds_refer_to_their_own_stages(name, flags, tmp_path: Path):
    """Every folder of a later round's stage is that of an earlier stage."""
    stages = registry.recipe(name).stages("laptop", rounds=3, **flags)
    folders = [tmp_path / f"{number}-{stage}" for number, stage in enumerate(stages, 1)]
    for number, stage in enumerate(stages.values()):
        placed = checkpoint.placed(stage, folders[number])
        for field in ("episodes", "vision", "memory", "agent", "earlier", "start"):
            named = getattr(placed, field, "")
            assert not isinstance(named, str) or not named or Path(named) in folders[:number]
    assert ("explorer" in stages) == bool(flags)
    assert list(stages)[-1] == "controller-3"
    places = {stage: f"../{number}-{stage}" for number, stage in enumerate(stages, 1)}
    third = stages["collect-3"], stages["memory-3"], stages["controller-3"]
    assert third[0].agent == places["explorer-2" if flags else "controller-2"]
    assert third[0].earlier == places["collect-2"]
    assert third[1].episodes == places["collect-3"]
    assert third[1].start == places["memory-2"]
    assert third[2].memory == places["memory-3"]
    assert third[1].steps == stages["memory"].steps // (1 if name == "iterate" else 2)
    assert ("vision-3" in stages) == (name == "iterate")
    with pytest.raises(Usage, match="rounds cannot be 0"):
        registry.recipe(name).stages("laptop", rounds=0)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "flags"), [("iterate", {"curiosity": 0.5}), ("take-cover", {}), ("car-racing-dream", {})])
def test_rounds_train(name, flags, tmp_path: Path):
    """The second M is trained on the episodes of both rounds and starts from the parameters of the first."""
    needs(registry.recipe(name).extras)
    stages = registry.recipe(name).stages("tiny", rounds=2, **flags)
    for number, (part, stage) in enumerate(stages.items(), 1):
        run(stage, tmp_path / f"{number}-{part}", 0, last=part == "controller-2")
    folders = {path.name.partition("-")[2]: path for path in checkpoint.stages_of(tmp_path)}
    second = checkpoint.placed(stages["memory-2"], folders["memory-2"])
    assert len(second.latents("cpu").lengths) == sum(stages[part].rows * stages[part].steps for part in ("collect", "collect-2"))
    first = checkpoint.load(folders["memory"])[1]
    fresh = second.init(Seeds(0))
    assert all(torch.equal(fresh[key], first[key]) for key in first if key.startswith("model/"))
    world = replace(stages["controller"].world, horizon=5)
    assert play(world.open(), checkpoint.policy(tmp_path), row_seeds(0, 2)).lengths.tolist() == [5, 5]


@pytest.mark.parametrize("task", ["gym:Pendulum-v1", "gym:foreign/Choice-v0", "gym:foreign/Grey-v0", "cart-pole"])
def test_a_world_model_of_any_world(task, tmp_path):
    """Tiny recipes train, act in the world and in the dream, and have a page."""
    if task.endswith("Choice-v0"):
        task = described(task, {"keys": ["last", "where"]})
    sensorium.train(f"world-model.{task}", "tiny", tmp_path, on="here")
    assert len(sensorium.evaluate(tmp_path, 2)["returns"]) == 2
    assert np.isfinite(sensorium.evaluate(tmp_path, 2, world="dream")["returns"]).all()
    assert cli.main(["report", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    assert ("Latent traversals" in page) == ("Grey" in task)
    assert "Dream" in page


def test_trust_of_a_dream():
    """Weakened policies keep the size of the agent; M's likelihood is that of a loop over single episodes."""
    vector = torch.randn(500, generator=torch.Generator().manual_seed(2))
    shares, vectors = probes.weakened(vector, 5)
    assert shares == (1, 0.75, 0.5, 0.25, 0)
    assert torch.equal(vectors[0], vector)
    torch.testing.assert_close(vectors.square().mean(1), vector.square().mean().expand(5), rtol=0.2, atol=0)
    folder = trained("world-model")
    found = probes.trust(folder, policies=3, episodes=4)
    assert found.dream.shape == found.world.shape == (3, 4)
    path = checkpoint.agent(folder)
    stage, state = checkpoint.restored(path)
    vision, memory = load_model(stage.vision), load_model(stage.memory)
    scores = []
    for seed in row_seeds(probes.SEED + 1, 4):
        rollout = play(stage.world.open(), stage.policy(state), seed[None], keep=("observations", "actions"))
        hidden = cell = torch.zeros(1, memory.hidden)
        for t in range(int(rollout.lengths) - 1):
            z, following = (
                eq.latent(*vision.posterior(rollout.observations[u]), normal(seed[None], u, vision.latents)) for u in (t, t + 1)
            )
            hidden, cell = memory.step(z, rollout.actions[t], torch.tensor([float(t == 0)]), hidden, cell)
            out = memory.predict(hidden)
            density = (
                out.log_weight.exp() * torch.exp(torch.distributions.Normal(out.mean, out.log_sd.exp()).log_prob(following[..., None]))
            ).sum(-1)
            scores.append(density.log().mean())
    assert found.likelihood == pytest.approx(float(torch.stack(scores).mean()), rel=1e-3)
