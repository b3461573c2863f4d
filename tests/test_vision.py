"""Patch observations and vision agents, against plain layers, brute force and invariances."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sensorium.core import checkpoint, zoo
from sensorium.core.errors import Usage
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds
from sensorium.envs import patches
from sensorium.envs.car_racing import CarFrames, CarPatches
from sensorium.envs.pong import Pong
from sensorium.envs.wrappers import MemoryReset, sensed, wrapped
from sensorium.nets.attention import votes
from sensorium.systems.attention_neuron import equations as eq
from sensorium.systems.attention_neuron import official
from sensorium.systems.attention_neuron.model import AttentionAgent, PongAgent, VisionNeurons, VotingAgent
from sensorium.systems.attention_neuron.official import LAYOUTS, car_racing, read_vector
from sensorium.systems.attention_neuron.tables import car_racing as table
from tests.conftest import REFERENCE

pytest.importorskip("envpool")


class Still:
    """A scene with known frames: pixel values encode row, step and position."""

    def __init__(self, senses: str = "", horizon: int = 30):
        self.treatments, self.horizon = patches.parse(senses), horizon

    @property
    def spec(self):
        n = patches.patches_of(16, self.treatments)
        return replace(Pong().spec, observation=(n, 4, 36), horizon=self.horizon)

    def frames(self):
        scene = self

        class Env:
            spec = scene.spec

            def reset(self, seeds):
                self.t, self.rows = 0, len(seeds)
                return self.observation()

            def observation(self):
                place = torch.arange(16).repeat_interleave(36).view(1, 16, 36) * 10
                return patches.mosaic((place + self.t).to(torch.uint8), 24, 24).repeat(self.rows, 1, 1)

            def step(self, action):
                self.t += 1
                blank = torch.zeros(self.rows, dtype=torch.bool)
                return patches.Step(self.observation(), torch.zeros(self.rows), blank, blank)

            def close(self): ...

        return Env()

    def grey(self, frames):
        return frames

    def ground(self, frames):
        return None


def observe(senses: str, steps: int, rows: int = 3) -> list[torch.Tensor]:
    env = patches.PatchEnv(Still(senses))  # type: ignore[arg-type]
    seen = [env.reset(row_seeds(0, rows))]
    for _ in range(steps):
        seen.append(env.step(torch.zeros(rows, 6)).obs)
    return seen


def test_cut_is_row_major_and_mosaic_inverts_it():
    picture = torch.arange(2 * 12 * 18, dtype=torch.int32).view(2, 12, 18)
    pieces = patches.cut(picture)
    assert pieces.shape == (2, 6, 36)
    assert torch.equal(pieces[1, 4].view(6, 6), picture[1, 6:12, 6:12])
    assert torch.equal(patches.mosaic(pieces, 12, 18), picture)


def test_luma_equals_opencv():
    colours = torch.tensor([[[[255, 0, 0], [0, 255, 0], [0, 0, 255], [102, 230, 102], [255, 255, 255]]]], dtype=torch.uint8)
    assert patches.luma(colours)[0, 0].tolist() == [76, 150, 29, 177, 255]


def test_the_stack_holds_four_frames_oldest_first():
    seen = observe("", 5)
    assert seen[0][0, 0, :, 0].tolist() == [0, 0, 0, 0]
    assert seen[2][0, 0, :, 0].tolist() == [0, 0, 1, 2]
    assert seen[5][0, 3, :, 0].tolist() == [32, 33, 34, 35]


def test_patches_are_shuffled_by_the_rows_seed_and_older_frames_keep_their_order():
    seen = observe("patches:every=3", 6)
    order = [(frame[:, :, 3, 0].int() - t) // 10 for t, frame in enumerate(seen)]
    assert all(sorted(row.tolist()) == list(range(16)) for row in order[0])
    assert not torch.equal(order[0][0], order[0][1])
    assert torch.equal(order[0], order[2])
    assert not torch.equal(order[2], order[3])
    # just after the reshuffle the older frames keep their order
    assert torch.equal((seen[3][:, :, 2, 0].int() - 2) // 10, order[0])
    assert torch.equal(observe("patches:every=3", 6)[6], seen[6])
    assert torch.equal(observe("patches:every=3", 6, rows=1)[6], seen[6][:1])


def test_occluded_patches_are_removed_and_blackout_patches_are_black():
    assert Pong(senses="occlude:0.7").spec.observation == (59, 4, 36)
    seen = observe("occlude:0.5", 3)
    assert seen[3].shape == (3, 8, 4, 36)
    kept = (seen[3][:, :, 3, 0].int() - 3) // 10
    assert (kept.diff(dim=1) > 0).all()
    assert torch.equal(kept, (seen[0][:, :, 3, 0].int()) // 10)
    black = observe("blackout:0.25", 2)
    assert ((black[2][:, :, 3] == 0).all(2).sum(1) == 4).all()
    assert black[2].shape[1] == 16


def test_swapped_and_noise_patches():
    order = (observe("swap:1", 0)[0][:, :, 3, 0].int()) // 10
    assert ((order != torch.arange(16)).sum(1) == 2).all()
    noisy = observe("noise:5", 2)
    assert noisy[0].shape[1] == 21
    assert not torch.equal(noisy[1][:, 16:, 3], noisy[2][:, 16:, 3])
    assert noisy[2][:, 16:].float().std() > 60


@pytest.mark.parametrize("name", patches.SCENERY)
def test_backgrounds_replace_only_the_grass(name):
    plain, behind = (CarPatches(senses=senses).open() for senses in ("", f"background:{name}"))
    seen = [env.reset(row_seeds(0, 1)) for env in (plain, behind)]
    changed = patches.mosaic((seen[0] != seen[1])[0, :, 3][None], 96, 96)[0]
    grass = plain.world.ground(plain.raw)[0]
    assert changed.any()
    assert not (changed & ~grass).any()
    assert not changed[84:].any()


def test_a_background_from_a_file(tmp_path):
    Image.new("RGB", (50, 40), (200, 10, 10)).save(tmp_path / "red.png")
    assert patches.scenery(str(tmp_path / "red.png"), 96, 96).unique(dim=0).shape[0] == 1
    (tmp_path / "no.png").write_text("no")
    with pytest.raises(Usage, match="cannot be read as an image"):
        patches.parse(f"background:{tmp_path / 'no.png'}")


@pytest.mark.parametrize(("senses", "says"), [
    ("patch", "did you mean patches"), ("patches:often", "allowed"), ("occlude:1", "allowed"), ("swap:0", "allowed"), ("background:duns", "did you mean dunes"),
    ("shuffle", "no treatment of images"),
])  # fmt: skip
def test_invalid_image_treatments_are_usage_errors(senses, says):
    with pytest.raises(Usage, match=says):
        patches.parse(senses)


def test_evaluation_uses_the_given_senses():
    world, policy = wrapped(CarPatches(senses="noise:3"), LAYOUTS["car-racing"].policy(torch.zeros(7212)), "patches:every=5:forget")
    assert world.senses == "patches:every=5:forget"  # type: ignore[attr-defined]
    assert isinstance(policy, MemoryReset)
    assert sensed(CarPatches(), "patches").senses == "patches"  # type: ignore[attr-defined]
    # an empty specification keeps the world's own senses
    assert sensed(CarPatches(senses="patches"), "").senses == "patches"  # type: ignore[attr-defined]
    assert wrapped(CarPatches(senses="patches"), policy, "")[0].senses == ""  # type: ignore[attr-defined]


def test_forget_is_for_evaluation_only_and_not_confused_with_file_names(tmp_path):
    with pytest.raises(Usage, match="forget resets"):
        sensed(CarPatches(senses="patches:every=5:forget"), "")
    Image.new("RGB", (4, 4)).save(tmp_path / "forget.png")
    assert sensed(CarPatches(), f"background:{tmp_path / 'forget.png'}").treatments  # type: ignore[attr-defined]


def test_a_background_for_pong_is_a_usage_error():
    with pytest.raises(Usage, match="no background to replace"):
        Pong(senses="background:dunes")


# neurons


def weights(agent, seed: int = 0, members: int = 1) -> torch.Tensor:
    return 0.3 * torch.randn(members, agent.layout.size, generator=torch.Generator().manual_seed(seed))


def random_patches(rows: int, n: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (rows, n, 4, 36), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def plain_code(neurons: VisionNeurons, t: dict[str, torch.Tensor], obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """One row, layer by layer with loops, from the description of the released module."""
    frames, keys, values = obs.double().numpy() / 255, [], []
    table = np.array([[np.sin(i / 10000 ** (2 * (j // 2) / 8)) if j % 2 == 0 else np.cos(i / 10000 ** (2 * (j // 2) / 8)) for j in range(8)] for i in range(neurons.code)])  # fmt: skip
    w = {name: tensor[0].double().numpy() for name, tensor in t.items()}
    for patch in frames:
        change = patch[1:] - patch[:-1]
        heard = (change.T if neurons.time_last else change).ravel()
        keys.append(w["key.weight"] @ np.concatenate([heard, action.double().numpy()]) + w["key.bias"])
        mean, sd = patch.mean(1, keepdims=True), np.sqrt(patch.var(1, keepdims=True) + 1e-5)
        scaled = (patch - mean) / sd
        if neurons.learned_norms:
            scaled = scaled * w["input_norm.weight"] + w["input_norm.bias"]
        values.append(w["value.weight"] @ scaled.ravel() + w["value.bias"])
    queries = table @ w["query.weight"].T + w["query.bias"]
    scores = queries @ np.array(keys).T / np.sqrt(neurons.width)
    shares = np.exp(scores - scores.max(1, keepdims=True))
    said = np.maximum(shares / shares.sum(1, keepdims=True) @ np.array(values), 0)
    said = (said - said.mean(1, keepdims=True)) / np.sqrt(said.var(1, keepdims=True) + 1e-5)
    if neurons.learned_norms:
        said = said * w["output_norm.weight"] + w["output_norm.bias"]
    return torch.from_numpy(said)


@pytest.mark.parametrize(
    "neurons", [VisionNeurons(code=16), VisionNeurons(actions=6, code=25, width=32, time_last=False, learned_norms=True)]
)
def test_the_code_equals_the_description_row_by_row(neurons):
    agent = VotingAgent(neurons) if neurons.actions == 3 else PongAgent(neurons)
    raw = agent.layout.split(weights(agent))
    obs, action = random_patches(2, 7), torch.randn(2, neurons.actions)
    code = neurons(neurons.fold(raw), obs, action)
    for row in range(2):
        torch.testing.assert_close(code[row].double(), plain_code(neurons, raw, obs[row], action[row]), rtol=1e-4, atol=2e-4)


def test_the_code_is_invariant_to_the_order_of_patches_and_allows_any_number():
    neurons, agent = VisionNeurons(code=64), VotingAgent(VisionNeurons(code=64))
    tensors = neurons.fold(agent.layout.split(weights(agent)))
    obs, action, order = random_patches(1, 30), torch.randn(1, 3), torch.randperm(30)
    torch.testing.assert_close(neurons(tensors, obs, action), neurons(tensors, obs[:, order], action), rtol=1e-4, atol=1e-4)
    assert neurons(tensors, obs[:, :11], action).shape == (1, 64, 16)
    # duplicated patches change nothing
    torch.testing.assert_close(neurons(tensors, obs, action), neurons(tensors, obs.repeat(1, 2, 1, 1), action), rtol=1e-4, atol=1e-4)


def test_a_population_equals_its_members():
    for agent, actions in ((VotingAgent(VisionNeurons(code=64)), 3), (PongAgent(), 6)):
        vectors = weights(agent, members=2)
        obs = random_patches(4, 20)
        together = agent.policy(vectors).take(torch.tensor([0, 0, 1, 1]))
        action, memory = together.act(obs, together.begin(torch.arange(4)), 0)
        action, _ = together.act(obs, memory, 1)
        assert action.shape == (4, actions)
        for member in range(2):
            alone, rows = agent.policy(vectors[member]), slice(2 * member, 2 * member + 2)
            mine, memory = alone.act(obs[rows], alone.begin(torch.arange(2)), 0)
            mine, _ = alone.act(obs[rows], memory, 1)
            torch.testing.assert_close(action[rows], mine, rtol=1e-3, atol=1e-3)


def test_votes_are_column_sums_compiled_and_eager():
    q, k = torch.randn(3, 256, 4), 5 * torch.randn(3, 256, 4)
    with torch.no_grad():
        found = [votes(q, k, False), votes(q, k, True)]
        huge = votes(9 * q, 9 * k)
    assert huge.isfinite().all()
    expected = torch.stack([eq.votes(a, b) for a, b in zip(q, k, strict=True)])
    for each in found:
        torch.testing.assert_close(each, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(expected.sum(1), torch.full((3,), 256.0))


def test_the_pong_agent_equals_the_released_layers():
    agent = PongAgent()
    assert agent.layout.size == 1_687_726
    vector = weights(agent)
    tensors = agent.neurons.fold(agent.layout.split(vector))
    convolutions = nn.Sequential(
        nn.Conv2d(32, 64, 4, 2),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3136, 512),
        nn.ReLU(),
        nn.Linear(512, 6),
    )
    with torch.no_grad():
        nn.utils.vector_to_parameters(vector[0, -sum(p.numel() for p in convolutions.parameters()) :], convolutions.parameters())
        obs, before = random_patches(2, 196), agent.begin(2, vector)[0]
        assert before.argmax(1).tolist() == [3, 3]
        code = agent.neurons(tensors, obs, before)
        picture = torch.relu(code.reshape(2, 20, 20, 32).permute(0, 3, 1, 2))
        torch.testing.assert_close(agent.predict(tensors, obs, before), convolutions(picture), rtol=1e-3, atol=1e-3)


def test_the_voting_agent_by_hand():
    """Averaging, voting, the LSTM and the share of the old code, step by step with torch's cell."""
    agent = VotingAgent(VisionNeurons(code=64), compile=False)
    raw = agent.layout.split(weights(agent, 3))
    tensors, cell = agent.neurons.fold(raw), nn.LSTMCell(20, 16)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, name).copy_(raw[f"lstm.{name}"][0])
        memory, state, share, code, drive = (
            agent.begin(1, raw["query.bias"]),
            (torch.zeros(1, 16), torch.zeros(1, 16)),
            0.0,
            0.0,
            torch.zeros(1, 3),
        )
        for t in range(3):
            obs = random_patches(1, 12, t)
            action, memory = agent.act(tensors, obs, memory)
            code = (1 - share) * agent.neurons(tensors, obs, drive) + share * code
            q, k = (code[0] @ raw[f"vote.{name}.weight"][0].T + raw[f"vote.{name}.bias"][0] for name in ("query", "key"))
            best = torch.softmax(q @ k.T, 1).sum(0).argsort(descending=True)[:10]
            state = cell(torch.stack([best // 8 / 8, best % 8 / 8], 1).view(1, 20), state)
            drive = torch.tanh(state[0] @ raw["act.weight"][0].T + raw["act.bias"][0])
            hidden = torch.tanh(torch.cat([state[0], drive], 1) @ raw["mix.0.weight"][0].T + raw["mix.0.bias"][0])
            share = torch.sigmoid(hidden @ raw["mix.1.weight"][0].T + raw["mix.1.bias"][0])
            torch.testing.assert_close(action, torch.cat([drive[:, :1], (drive[:, 1:] + 1) / 2], 1), rtol=1e-3, atol=1e-3)


def test_the_baseline_by_hand():
    agent = AttentionAgent()
    assert agent.layout.size == 3667
    vector = weights(agent, seed=3)
    t = {name: tensor[0] for name, tensor in agent.layout.split(vector).items()}
    cell = nn.LSTMCell(20, 16)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, name).copy_(t[f"lstm.{name}"])
        policy = replace(agent, compile=False).policy(vector)
        memory, known = policy.begin(torch.arange(2)), (torch.zeros(1, 16), torch.zeros(1, 16))
        for step in range(3):
            frames = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(step))
            action, memory = policy.act(frames, memory, step)
            # one row, patch by patch
            seen = torch.stack([frames[0, i : i + 7, j : j + 7].reshape(-1) for i in range(0, 90, 4) for j in range(0, 90, 4)]) / 255
            assert len(seen) == 529
            scores = (seen @ t["query.weight"].T + t["query.bias"]) @ (seen @ t["key.weight"].T + t["key.bias"]).T / 2
            winners = torch.softmax(scores, 1).sum(0).topk(10).indices
            places = torch.tensor([[(3 + 4 * (int(w) // 23)) / 96, (3 + 4 * (int(w) % 23)) / 96] for w in winners])
            known = cell(places.view(1, 20), known)
            drive = torch.tanh(known[0] @ t["act.weight"].T + t["act.bias"])[0]
            torch.testing.assert_close(action[0], torch.stack([drive[0], (drive[1] + 1) / 2, (drive[2] + 1) / 2]), rtol=1e-4, atol=1e-4)


def test_whole_frames_allow_only_backgrounds():
    with pytest.raises(Usage, match="whole frames allow only background"):
        CarFrames(senses="patches")
    seeds, grass = row_seeds(0, 2), patches.scenery("sunset", 96, 96)
    plain, other = CarFrames(horizon=5).open().reset(seeds), CarFrames(horizon=5, senses="background:sunset").open().reset(seeds)
    changed = (plain != other).any(-1)
    assert 0.2 < float(changed.float().mean()) < 0.95
    assert torch.equal(other[changed], grass.expand(2, -1, -1, -1)[changed])


@pytest.mark.parametrize(
    ("read", "name", "world", "recipe"),
    [(official.ant, "ant", "ant", "ant"), (official.ant_mlp, "ant-mlp", "ant", "ant-teacher"),
     (official.attention_agent, "attention-agent", "car-frames", ""), (official.pong, "pong", "pong", "pong-clone")],
)  # fmt: skip
def test_every_released_layout_is_imported(read, name, world, recipe, tmp_path):
    vector = np.random.default_rng(0).normal(size=LAYOUTS[name].layout.size).astype(np.float32)
    np.savez(tmp_path / "model.npz", params=vector)
    read([tmp_path / "model.npz"], tmp_path / "out")
    stage, loaded = checkpoint.stage(tmp_path / "out"), checkpoint.load(tmp_path / "out")
    assert loaded is not None
    assert np.array_equal(loaded[1]["agent"], vector)
    assert stage.world.spec.name == world  # type: ignore[attr-defined]
    assert checkpoint.cards.read(tmp_path / "out")["recipe"] == recipe
    np.savez(tmp_path / "other.npz", params=vector[:-1])
    with pytest.raises(Usage, match="known layouts"):
        read([tmp_path / "other.npz"], tmp_path / "other")


def test_training_episodes_end_after_negative_rewards():
    agent = VotingAgent(VisionNeurons(code=64), compile=False)
    idle = agent.policy(torch.zeros(agent.layout.size))
    world = CarPatches(horizon=60)
    training, true = (play(place.open(), idle, row_seeds(0, 2)) for place in (world.training, world))
    assert true.lengths.tolist() == [60, 60]
    assert (training.lengths < 60).all()


def test_pong_is_played():
    world = Pong(horizon=40, senses="occlude:0.7")
    agent = PongAgent()
    rollout = play(world.open(), agent.policy(weights(agent)), row_seeds(0, 2), keep=("observations",))
    assert rollout.observations.shape[2:] == (59, 4, 36)
    assert rollout.lengths.tolist() == [40, 40]
    plain = Pong(horizon=5).open()
    screen = patches.mosaic(plain.reset(row_seeds(0, 1))[:, :, 3], 84, 84)[0]
    assert (screen[:10] == 0).all()
    assert screen[20:80].float().std() > 1


def test_the_authors_car_racing_agent_is_imported_and_scores(tmp_path):
    path = REFERENCE / "attention_neuron" / "carracing_pi.npz"
    if not path.exists():
        pytest.skip(f"the authors' weights are not at {path} (SENSORIUM_REFERENCE names another folder)")
    assert LAYOUTS["car-racing"].layout.size == 7212
    vector = read_vector(path, LAYOUTS["car-racing"].layout)
    np.testing.assert_allclose(vector[:4], [0.02969269, 0.62455153, -0.15446287, 0.20009418], rtol=1e-6)
    assert vector.std().item() == pytest.approx(0.640, abs=1e-3)
    car_racing([path], tmp_path / "car")
    stage, policy = checkpoint.stage(tmp_path / "car"), checkpoint.policy(tmp_path / "car")
    assert isinstance(stage.world, CarPatches)  # type: ignore[attr-defined]
    scores = [play(CarPatches(horizon=100, senses=senses).open(), policy, row_seeds(0, 6)).returns for senses in ("", "patches")]
    # after two seconds of a lap; a standing car has -10
    assert all(score.mean() > 30 for score in scores)
    torch.testing.assert_close(scores[0].mean(), scores[1].mean(), rtol=0.15, atol=0)


def test_the_table_has_every_cell_of_the_paper(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    rows = {row.cell: row for row in table(None, 1).rows}
    assert rows["AttentionNeuron, usual grass, patches shuffled"].paper_mean == 801
    assert rows["NetRand, mt_fuji"].paper_mean == 356
    assert all(row.verdict == "not-run" for row in rows.values())


def test_unknown_folders_are_usage_errors(tmp_path):
    with pytest.raises(Usage, match="no folder"):
        table(str(Path(tmp_path) / "x"), 1)
