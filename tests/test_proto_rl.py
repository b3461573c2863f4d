"""Proto-RL's equations against independent numbers, their properties, and which loss trains which part."""

import copy
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sensorium.core import checkpoint
from sensorium.core.errors import Failure, Usage
from sensorium.core.machine import products
from sensorium.core.policy import Uniform
from sensorium.core.run import run
from sensorium.core.seeding import Seeds
from sensorium.core.stage import placed
from sensorium.nets.mlp import orthogonal
from sensorium.registry import recipe
from sensorium.rl.acting import Acting
from sensorium.rl.ddpg import DDPG
from sensorium.rl.off_policy import Resources
from sensorium.rl.off_policy.entropy import particle_entropy
from sensorium.systems.proto_rl import equations as eq
from sensorium.systems.proto_rl.figures import load_parts, probe_section, sections
from sensorium.systems.proto_rl.model import Encoder, Proto, unit
from sensorium.systems.proto_rl.probes import ridge
from sensorium.systems.proto_rl.stages import Finetune, Pretrain, ProtoStage, Scratch
from sensorium.systems.proto_rl.tables import EXPERT, STATES, pixels, urlb_states
from tests.conftest import trained

pytest.importorskip("dm_control")


def grid(*sizes: int) -> list[Tensor]:
    return list(torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in sizes], indexing="ij"))


b, m = grid(4, 3)
SCORES = torch.sin(0.7 * b + 1.3 * m + 0.1)
m, d = grid(3, 5)
C = normalize(torch.sin(1.1 * m + 0.6 * d + 0.2), dim=1)
b, d = grid(4, 5)
S = normalize(torch.cos(0.3 * b * d + 0.2 * d + 0.5 * b + 0.1), dim=1)
T = normalize(torch.sin(0.4 * b + 0.9 * d + 0.3), dim=1)
THIRD = normalize(torch.cos(0.2 * b - 0.5 * d), dim=1)


def rows(*numbers: list[float]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def test_sinkhorn_on_a_worked_example():
    q = eq.sinkhorn(SCORES, temperature=0.1, iterations=3)
    expected = rows(
        [7.8650929e-06, 1.8705842e-01, 8.1293372e-01], [6.3272184e-02, 9.2201116e-01, 1.4716654e-02], [9.9547341e-01, 4.4759957e-03, 5.0590236e-05],
        [9.9991193e-01, 3.1287071e-05, 5.6787613e-05],
    )  # fmt: skip
    torch.testing.assert_close(q, expected, rtol=1e-6, atol=1e-8)


def test_sinkhorn_runs_the_given_iterations_and_does_not_change_its_argument():
    before = SCORES.clone()
    q = [eq.sinkhorn(SCORES, temperature=0.1, iterations=n) for n in (0, 1, 3, 200)]
    assert torch.equal(SCORES, before)
    assert not torch.allclose(q[1], q[2])
    torch.testing.assert_close(q[0], torch.softmax(SCORES / 0.1, 1))
    torch.testing.assert_close(q[3].sum(0), torch.full((3,), 4 / 3, dtype=torch.float64), rtol=0.02, atol=0)


def test_sinkhorn_of_permuted_duplicated_and_shifted_scores():
    q = eq.sinkhorn(SCORES, temperature=0.1, iterations=3)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(eq.sinkhorn(SCORES[:, order], temperature=0.1, iterations=3), q[:, order])
    torch.testing.assert_close(eq.sinkhorn(torch.cat([SCORES, SCORES]), temperature=0.1, iterations=3), torch.cat([q, q]))
    torch.testing.assert_close(eq.sinkhorn(SCORES + 7, temperature=0.1, iterations=3), q)


def test_sinkhorn_in_single_precision_and_far_from_all_prototypes():
    scores = eq.scores(torch.randn(512, 128, generator=torch.Generator().manual_seed(0)), normalize(torch.randn(512, 128), dim=1))
    single, double = (eq.sinkhorn(x, temperature=0.1, iterations=3) for x in (scores, scores.double()))
    assert (single - double).abs().max() < 1e-5
    far = torch.tensor([[1.0, -1.0], [1.0, -1.0]])
    assert eq.sinkhorn(far, temperature=0.001, iterations=3).isfinite().all()


def test_the_loss_and_its_gradient_on_a_worked_example():
    seen = (S @ C.T).requires_grad_()
    torch.testing.assert_close(
        seen.detach(),
        rows([0.8948016, 0.6975340, -0.2918065], [-0.1985927, 0.7625424, 0.9039158], [-0.8782317, -0.1023817, 0.8190046], [-0.3068612, -0.7638780, -0.3798697]),
        rtol=1e-6, atol=1e-7,
    )  # fmt: skip
    q = eq.sinkhorn(eq.scores(5 * T, C), temperature=0.1, iterations=3)
    expected = rows(
        [8.9903308e-01, 1.0068356e-01, 2.8336900e-04], [2.2165031e-01, 7.3857425e-01, 3.9775441e-02], [1.8330913e-02, 4.8339225e-01, 4.9827683e-01],
        [7.2166836e-04, 5.4756394e-02, 9.4452194e-01],
    )  # fmt: skip
    torch.testing.assert_close(q, expected, rtol=1e-6, atol=1e-8)
    each = torch.stack([eq.prototype_loss(seen[i : i + 1], q[i : i + 1], 0.1) for i in range(4)])
    torch.testing.assert_close(each.detach(), rows([0.3322093, 3.7055900, 4.7651289, 1.3400947])[0], rtol=1e-6, atol=0)
    loss = eq.prototype_loss(seen, q, 0.1)
    loss.backward()
    assert loss.item() == pytest.approx(2.5357557126, abs=1e-6)
    assert seen.grad is not None
    torch.testing.assert_close(seen.grad[0], rows([-5.2850532e-02, 5.3543537e-02, -6.9300522e-04])[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("frozen_pointer", "second", "third"), [
    (False, 0.8895429, [0.4435960, 0.3549408, 0.3888884, 0.5548655]), (True, 1.0, [0.5548655, 0.3549408, 0.3888884, 0.5548655]),
])  # fmt: skip
def test_the_particle_reward_on_a_worked_example(frozen_pointer, second, third):
    queue, pointer, rewards = torch.zeros(6, 5, dtype=torch.float64), torch.zeros((), dtype=torch.int64), []
    for z, chosen in ((S, [0, 2, 3]), (T, [1, 1, 0]), (THIRD, [2, 0, 3])):
        queue, pointer = eq.enqueue(queue, pointer, z[chosen], frozen_pointer=frozen_pointer)
        rewards.append(eq.particle_reward(z, queue, 3))
    torch.testing.assert_close(rewards[0], torch.ones(4, dtype=torch.float64))
    if frozen_pointer:
        assert rewards[1][-1].item() == pytest.approx(second, abs=1e-6)
    else:
        torch.testing.assert_close(rewards[1], rows([0.3968831, 0.3968831, 0.7191413, second])[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(rewards[2], rows(third)[0], rtol=0, atol=1e-6)
    assert int(pointer) == (0 if frozen_pointer else 3)


def test_candidates_are_sampled_with_the_right_frequencies():
    expected = rows(
        [0.5538362, 0.1855779, 0.0940508, 0.1665351],
        [0.3638423, 0.3882809, 0.1634987, 0.0843782],
        [0.1210878, 0.4003097, 0.3677220, 0.1108805],
    )
    uniforms = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for ratio, shares in ((False, expected), (True, (S @ C.T).T.clamp(min=0) / (S @ C.T).T.clamp(min=0).sum(1, keepdim=True))):
        drawn = torch.stack([eq.candidates(S @ C.T, u, ratio) for u in uniforms])
        counts = torch.stack([torch.bincount(drawn[:, k], minlength=4) for k in range(3)]) / len(uniforms)
        torch.testing.assert_close(counts.double(), shares, rtol=0, atol=0.012)


def test_the_reward_is_the_distance_to_the_kth_neighbour_by_brute_force():
    generator = torch.Generator().manual_seed(1)
    z, queue = (normalize(torch.randn(n, 16, generator=generator), dim=1) for n in (64, 40))
    queue[:3], queue[3:6] = z[0], 0.0  # one sample occurs three times, and three rows are empty
    brute = np.sort(np.linalg.norm(z.numpy()[:, None] - queue.numpy()[None], axis=2), axis=1)[:, 2]
    reward = eq.particle_reward(z, queue, 3).numpy()
    np.testing.assert_allclose(reward, brute, atol=1e-4)
    assert reward[0] == 0
    assert ((reward >= 0) & (reward <= 2)).all()


def test_the_queue_overwrites_its_oldest_and_wraps():
    queue, pointer = torch.zeros(4, 1), torch.zeros((), dtype=torch.int64)
    for number in range(1, 4):
        queue, pointer = eq.enqueue(queue, pointer, torch.full((3, 1), float(number)))
    assert sorted(queue[:, 0].tolist()) == [2, 3, 3, 3]
    assert int(pointer) == 1


def test_particle_entropy_of_densities_with_known_entropy():
    generator = torch.Generator().manual_seed(0)
    for dimension in (1, 2, 4):
        points = 2 * torch.randn(4000, dimension, generator=generator, dtype=torch.float64)
        truth = dimension / 2 * math.log(2 * math.pi * math.e * 4)
        assert particle_entropy(points, 3).item() == pytest.approx(truth, abs=0.06 * dimension)
    turns = 2 * math.pi * torch.rand(4000, 2, generator=generator, dtype=torch.float64)
    torus = torch.cat([torch.cos(turns), torch.sin(turns)], 1)
    assert particle_entropy(torus, 3, dimension=2).item() == pytest.approx(2 * math.log(2 * math.pi), abs=0.1)


def test_usage_counts_prototypes():
    one, all_ = torch.zeros(8, 4), torch.eye(4).repeat(2, 1)
    one[:, 0] = 1
    assert eq.usage(one, 0.01).item() == pytest.approx(1, abs=1e-3)
    assert eq.usage(all_, 0.01).item() == pytest.approx(4, abs=1e-3)


def test_shapes_and_parameters_as_published():
    model = Proto().representation((9, 84, 84))
    count = lambda part: sum(p.numel() for p in part.parameters())  # noqa: E731
    assert [count(model.encoder), count(model.projector), count(model.predictor), model.prototypes.numel()] == [
        30_368,
        5_017_728,
        131_712,
        65_536,
    ]
    stage = Pretrain.__dataclass_fields__["learner"].default
    assert count(stage.actor(39_200, 6, False)) == 3_074_274
    assert count(stage.critic(39_200, 6, False)) == 4_178_136
    code = model.encoder(torch.randint(0, 256, (2, 9, 84, 84), dtype=torch.uint8))
    assert code.shape == (2, 39_200)


def test_standardisation_separates_codes_with_a_large_common_part():
    """Codes that differ by 1/50 of their common part have nearly equal z, unless they are standardised. Standardisation is invariant to
    shift and scale. In training it uses batch statistics, else running averages from the loss, independent of the batch."""
    generator = torch.Generator().manual_seed(0)
    own, common = torch.randn(64, 24, generator=generator), 100 * torch.rand(24, generator=generator)
    plain, standard = (Proto(prototypes=8, queue=8, standardise=flag).representation((24,)) for flag in (False, True))
    for model in (plain, standard):
        orthogonal(model, 0)
    z = {model: lambda obs, model=model: model.project(model.encoder(obs)) for model in (plain, standard)}
    assert torch.pdist(z[plain](own + common)).mean() < 0.05
    assert torch.pdist(z[standard](own + common)).mean() < 0.05  # running averages are still initial
    for _ in range(200):
        Proto(prototypes=8, queue=8).loss(standard, standard.target(), own + common, own + common)
    assert torch.pdist(z[standard](own + common)).mean() > 1
    expected = (own - own.mean(0)) / (own.var(0) + 1e-3).sqrt()
    torch.testing.assert_close(standard.encoder(own + common), expected, atol=0.02, rtol=0)
    torch.testing.assert_close(standard.encoder(own[:3] + common), expected[:3], atol=0.02, rtol=0)
    standard.train()
    torch.testing.assert_close(z[standard](3 * own + common), z[standard](own), atol=0.01, rtol=0)


def test_the_encoder_equals_plain_convolutions_on_pixels_between_0_and_1():
    encoder = Encoder(4, 0.5)
    frames = torch.randint(0, 256, (3, 9, 84, 84), dtype=torch.uint8)
    picture = frames.float() / 255 - 0.5
    for layer in encoder.layers:
        picture = torch.relu(layer(picture))
    assert picture.shape[2:] == (35, 35)
    torch.testing.assert_close(encoder(frames).view(3, 35, 35, 4).permute(0, 3, 1, 2), picture)
    torch.testing.assert_close(encoder(frames.contiguous(memory_format=torch.channels_last)), encoder(frames))


def after_one_episode(folder: Path, name: str = "proto-pixels", stage: str = "pretrain", **changes) -> Resources:
    """Open resources of a tiny stage after one episode."""
    chosen = recipe(name).stages("tiny")[stage]
    chosen = placed(replace(chosen, **changes), folder / f"9-{stage}")  # type: ignore[type-var]
    state = chosen.init(Seeds(0, stage, 0))
    opened = chosen.open(state)
    opened.episode(Seeds(0, stage, 1))
    return opened


def learned_between(live: Resources, updates: range) -> dict[str, bool]:
    """Which parts of a state change in some updates."""
    before = {name: tensor.clone() for name, tensor in live.state.items() if "/model/" in name}
    for number in updates:
        live.update(number, Seeds(0, "x", number))
    changed: dict[str, bool] = {}
    for name, tensor in before.items():
        part = name.partition("/")[0] + ("/encoder" if "encoder" in name else "")
        # an update changes numbers by about 1e-4; normalising prototypes again changes the last bit
        changed[part] = changed.get(part, False) or not torch.allclose(tensor, live.state[name], rtol=0, atol=1e-6)
    return changed


def test_critic_and_actor_do_not_train_the_encoder_with_prototypes(tmp_path):
    # without the representation's updates, an update of critic and actor gives it no gradient
    proto = recipe("proto-pixels").stages("tiny")["pretrain"].proto  # type: ignore[attr-defined]
    live = after_one_episode(tmp_path, proto=replace(proto, every=1000))
    live.exploration.model.zero_grad(set_to_none=True)
    changed = learned_between(live, range(12, 13))
    assert changed["critic"]
    assert changed["actor"]
    assert changed["critic-target"]
    assert not any(changed[part] for part in ("representation", "representation/encoder", "target", "target/encoder"))
    assert all(parameter.grad is None for parameter in live.exploration.model.parameters())
    live.close()
    live = after_one_episode(tmp_path / "as it is")
    assert all(learned_between(live, range(12, 13)).values())
    norms = live.state["representation/model/prototypes"].norm(dim=1)
    live.update(13, Seeds(0, "x", 13))
    torch.testing.assert_close(live.state["representation/model/prototypes"].norm(dim=1), torch.ones_like(norms))
    live.close()


@pytest.mark.parametrize("half", [False, True])
def test_the_critic_trains_the_encoder_with_by_critic(tmp_path, half):
    live = after_one_episode(tmp_path, "drq-v2", "scratch", bfloat16=half)
    changed = learned_between(live, range(11, 12))
    assert changed["representation/encoder"]
    assert changed["actor"]
    live.close()
    both = after_one_episode(
        tmp_path / "both", bfloat16=half, proto=replace(recipe("proto-pixels").stages("tiny")["pretrain"].proto, by_critic=True)
    )  # type: ignore[attr-defined]
    changed = learned_between(both, range(11, 12))
    assert changed["representation/encoder"]
    assert not changed["representation"]
    both.close()


def test_standardised_states_have_no_parameters_for_the_critic_to_train(tmp_path):
    proto = replace(recipe("proto-states").stages("tiny")["pretrain"].proto, by_critic=True, standardise=True)  # type: ignore[attr-defined]
    live = after_one_episode(tmp_path, "proto-states", proto=proto)
    assert not live.exploration.by_critic
    assert learned_between(live, range(11, 12))["representation/encoder"]  # the running averages
    live.close()


@pytest.mark.parametrize("half", [False, True])
def test_every_layer_of_the_actor_is_trained(tmp_path, half):
    live = after_one_episode(tmp_path, bfloat16=half)
    before = {name: tensor.clone() for name, tensor in live.state.items() if name.startswith(("actor/model", "critic/model"))}
    for number in range(10, 14):
        live.update(number, Seeds(0, "x", number))
    assert all(not torch.equal(tensor, live.state[name]) for name, tensor in before.items())
    live.close()


def test_an_encoder_trained_by_both_resumes_bit_identically(tmp_path):
    stage = recipe("proto-pixels").stages("tiny")["pretrain"]
    stage = replace(stage, proto=replace(stage.proto, by_critic=True))  # type: ignore[type-var, attr-defined]
    run(stage, tmp_path / "a" / "1-pretrain", 0)
    run(replace(stage, steps=2), tmp_path / "b" / "1-pretrain", 0)
    run(stage, tmp_path / "b" / "1-pretrain", 0)
    a, b = (checkpoint.load(tmp_path / place / "1-pretrain") for place in "ab")
    assert a is not None
    assert b is not None
    assert all(torch.equal(a[1][name], b[1][name]) for name in a[1])


def test_finetuning_freezes_the_representation_but_not_the_queue(tmp_path):
    for earlier in trained("proto-pixels").iterdir():
        (tmp_path / earlier.name).symlink_to(earlier)
    live = after_one_episode(tmp_path, stage="finetune")
    queue = live.state["queue"].clone()
    changed = learned_between(live, range(10, 30))
    assert changed["actor"]
    assert changed["critic"]
    assert not any(changed[part] for part in changed if part.startswith(("representation", "target")))
    assert not torch.equal(queue, live.state["queue"])
    live.close()


@pytest.mark.parametrize(("name", "keep"), [("proto-pixels", False), ("proto-states", False), ("proto-states", True)])
def test_which_parts_finetuning_keeps_and_which_it_initialises(name, keep):
    stage = placed(recipe(name).stages("tiny")["finetune"], trained(name) / "2-finetune")
    assert isinstance(stage, Finetune)
    stage = replace(stage, keep_critic=keep)
    loaded = checkpoint.load(trained(name) / "1-pretrain")
    assert loaded is not None
    theirs, ours = loaded[1], stage.init(Seeds(0, "finetune", 0))
    models = [key for key in ours if "/model/" in key]
    same = {
        part: all(torch.equal(theirs[key], ours[key]) for key in models if key.startswith(f"{part}/"))
        for part in {key.partition("/")[0] for key in models}
    }
    assert same["actor"]
    assert same["representation"]
    assert same["target"]
    assert same["critic"] is keep
    assert not same["critic-target"]
    assert torch.equal(theirs["queue"], ours["queue"])
    assert int(ours["agent-steps"]) == int(ours["replay/written"]) == 0
    assert all(not ours[key].any() for key in ours if "/first/" in key or "/second/" in key)


def test_snapshots_are_agents_and_can_be_fine_tuned(tmp_path):
    place = trained("proto-states") / "1-pretrain" / "snapshots" / "20"
    assert checkpoint.policy(place)
    stage = replace(recipe("proto-states").stages("tiny", task="walker_flip", pretrained=str(place))["finetune"], steps=1)  # type: ignore[type-var]
    run(stage, tmp_path / "1-finetune", 0)
    assert checkpoint.step_of(tmp_path / "1-finetune") == 1


@pytest.mark.parametrize(("change", "says"), [
    ({"pretrained": "nowhere"}, "no pre-trained agent at .*train one first"), ({"world": "pendulum_swingup"}, "another domain: walker there, pendulum here"),
    ({"proto": Proto()}, "another representation"), ({"standardise": True}, "another representation"),
])  # fmt: skip
def test_an_unsuitable_snapshot_is_a_usage_error(change, says, tmp_path):
    stage = recipe("proto-states").stages("tiny")["finetune"]
    assert isinstance(stage, Finetune)
    if "world" in change:
        change = {"world": replace(stage.world, task=change["world"])}
    if "standardise" in change:
        change = {"proto": replace(stage.proto, **change)}
    stage = replace(stage, **{"pretrained": str(trained("proto-states") / "1-pretrain"), **change})
    with pytest.raises(Usage, match=says):
        run(stage, tmp_path / "2-finetune", 0)
    with pytest.raises(Usage, match="holds no pre-trained agent"):
        run(replace(stage, pretrained=str(trained("cart-pole-mlp") / "1-evolve")), tmp_path / "2-finetune", 0)


@pytest.mark.parametrize(("build", "says"), [
    (lambda: recipe("proto-pixels.pendulum_swing").stages("tiny")["pretrain"].world.spec, "did you mean pendulum_swingup"),  # type: ignore[attr-defined]
    (lambda: recipe("cart-pole.walker"), "cart-pole has no tasks"), (lambda: recipe("proto-pixels").stages("tiny", variant="offical"), "did you mean official"),
    (lambda: recipe("scratch").stages("tiny", observations="sound"), "allowed: pixels, states"),
    (lambda: recipe("scratch").stages("tiny", observations="states", variant="official"), "known: urlb"),
    (lambda: Pretrain(recipe("proto-states").stages("tiny")["pretrain"].world, learner=DDPG(returns=3)), "intrinsic_reward is a one-step reward"),  # type: ignore[attr-defined]
    (lambda: Proto(queue=1000), "no multiple"),
    (lambda: Proto(prototypes=0), "nothing trains the encoder"), (lambda: Proto(prototypes=0, by_critic=True, standardise=True), "give prototypes"), (lambda: Scratch(recipe("drq-v2").stages("tiny")["scratch"].world, batch=0), "at least 1"),  # type: ignore[attr-defined]
])  # fmt: skip
def test_invalid_settings_are_usage_errors(build, says):
    with pytest.raises(Usage, match=says):
        build()


def test_the_pretrained_agent_of_a_finished_run_is_used_for_another_task():
    stage = recipe("proto-states").stages("tiny", task="walker_flip", pretrained=str(trained("proto-states")))["finetune"]
    theirs = checkpoint.load(trained("proto-states") / "1-pretrain")
    assert isinstance(stage, Finetune)
    assert theirs is not None
    ours = stage.init(Seeds(0, "finetune", 0))
    assert all(torch.equal(ours[name], theirs[1][name]) for name in ours if name.startswith("actor/model/"))


@pytest.mark.parametrize("stages", [
    recipe("proto-pixels.walker_flip").stages("tiny", variant="urlb"), recipe("scratch.reach_duplo").stages("tiny", variant="urlb"),
], ids=["urlb", "scratch of urlb on the arm"])  # fmt: skip
def test_the_other_variant_runs_from_pixels(stages, tmp_path):
    for number, (name, stage) in enumerate(stages.items(), 1):
        state = run(replace(stage, steps=2), tmp_path / f"{number}-{name}", 0)
        assert int(state["critic-updates"]) > 0


def test_presets_have_the_stated_number_of_frames():
    def frames(name: str, preset: str, stage: str, **flags) -> int:
        chosen = recipe(name).stages(preset, **flags)[stage]
        assert isinstance(chosen, ProtoStage)
        return chosen.steps * chosen.rows * chosen.world.frames

    for task in ("walker_run", "jaco_reach_top_left"):
        assert [frames(f"proto-states.{task}", "paper", stage) for stage in ("pretrain", "finetune")] == [2_000_000, 100_000]
        assert frames(f"proto-states.{task}", "laptop", "pretrain") == 100_000
    assert [frames("proto-pixels.reach_duplo", "paper", stage) for stage in ("pretrain", "finetune")] == [500_000, 500_000]
    assert frames("drq-v2.humanoid_run", "paper", "scratch") == 30_100_000
    assert frames("scratch.walker_run", "laptop", "scratch", observations="states") == 200_000
    for preset in ("laptop", "paper"):
        for name in ("proto-pixels", "proto-states"):
            explore = recipe(name).stages(preset)["pretrain"]
            # with more prototypes than samples most samples would be their own candidates, with reward 0
            assert explore.proto.prototypes <= explore.batch  # type: ignore[attr-defined]


def test_tasks_follow_the_name_after_a_dot_and_select_urlbs_pretraining_task():
    stages = recipe("proto-states.quadruped_jump").stages("paper")
    assert (stages["pretrain"].world.task, stages["finetune"].world.task) == ("quadruped_walk", "quadruped_jump")  # type: ignore[attr-defined]
    assert recipe("scratch.hopper_hop").stages("laptop")["scratch"].world.task == "hopper_hop"  # type: ignore[attr-defined]


def test_a_damaged_replay_is_reported(tmp_path):
    stage = replace(recipe("proto-states").stages("tiny")["pretrain"], steps=3, checkpoint_every=1)  # type: ignore[type-var]
    run(stage, tmp_path / "1-pretrain", 0)
    path = tmp_path / "1-pretrain" / "replay-observations.bin"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(Failure, match="is damaged"):
        run(replace(stage, steps=4), tmp_path / "1-pretrain", 0)


@pytest.mark.parametrize("half", [False, True])
def test_losses_and_rewards_equal_the_plain_formulation(half):
    """At full size, against float32, channels-first, torch's layers and a full distance matrix; to the tolerance of bfloat16."""
    proto, generator = Proto(), torch.Generator().manual_seed(0)
    online = proto.representation((9, 84, 84))
    orthogonal(online, 3)
    target = copy.deepcopy(online.target())
    obs, next_obs = (torch.randint(0, 256, (16, 9, 84, 84), dtype=torch.uint8, generator=generator) for _ in range(2))
    dtype = torch.bfloat16 if half else torch.float32
    with torch.no_grad():
        loss, _ = proto.loss(online, target, obs, next_obs, dtype)
        with products(obs.device, dtype):
            z = online.project(online.encoder(next_obs))
        queue = normalize(torch.randn(2048, 128, generator=generator), dim=1)
        reward = eq.particle_reward(z, queue, 3)

        def plain(frames: Tensor) -> Tensor:
            picture = frames.float() / 255
            for i, layer in enumerate(online.encoder.layers):  # type: ignore[arg-type]
                picture = torch.relu(nn.functional.conv2d(picture, layer.weight, layer.bias, stride=2 if i == 0 else 1))
            return online.projector(picture.permute(0, 2, 3, 1).reshape(len(frames), -1))

        s, t = normalize(online.predictor(plain(obs)), dim=1) @ online.prototypes.T, normalize(plain(next_obs), dim=1) @ online.prototypes.T
        q = torch.exp((t - t.max()) / 0.1).T
        q = q / q.sum()
        for _ in range(3):
            q = q * (1 / 512 / q.sum(1))[:, None]
            q = q * (1 / 16 / q.sum(0))
        expected = -((q / q.sum(0)).T * torch.log_softmax(s / 0.1, 1)).sum(1).mean()
        distances = torch.norm(normalize(plain(next_obs), dim=1)[:, None] - queue, dim=2).topk(3, 1, largest=False).values[:, -1]
    close = {"rtol": 0.02, "atol": 0.01} if half else {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(loss, expected, **close)
    torch.testing.assert_close(reward, distances, **close)


def test_initial_actions_are_random_and_evaluation_is_without_noise():
    live = recipe("proto-states").stages("tiny")["pretrain"]
    policy = checkpoint.policy(trained("proto-states") / "1-pretrain")
    assert isinstance(policy, Acting)
    obs, seeds = torch.randn(3, *live.world.spec.observation), torch.arange(3)  # type: ignore[attr-defined]
    calm = [policy.act(obs, seeds, t)[0] for t in (0, 5)]
    assert torch.equal(calm[0], calm[1])
    eager = Acting(policy.encoder, policy.actor, policy.learner, policy.actions, noisy=True, step=0, random=10)
    assert torch.equal(eager.act(obs, seeds, 2)[0], Uniform(policy.actions).act(obs, seeds, 2)[0])
    noisy = eager.act(obs, seeds, 8)[0]
    assert not torch.equal(noisy, calm[0])
    assert noisy.abs().max() < 1


def test_prototypes_are_normalised_in_place():
    prototypes = torch.nn.Parameter(torch.randn(5, 3))
    where = prototypes.data_ptr()
    unit(prototypes.data)
    torch.testing.assert_close(prototypes.norm(dim=1), torch.ones(5))
    assert prototypes.data_ptr() == where


def test_a_linear_probe_finds_only_existing_relations():
    generator = torch.Generator().manual_seed(0)
    truth, other = torch.randn(400, 2, generator=generator), torch.randn(400, 600, generator=generator)
    code = truth @ torch.randn(2, 600, generator=generator) + 0.1 * other
    assert ridge(code[:300], truth[:300], code[300:], truth[300:], 0.01).min() > 0.95
    assert ridge(other[:300], truth[:300], other[300:], truth[300:], 1.0).max() < 0.2


def test_the_report_shows_exploration():
    page = sections(trained("proto-pixels"))
    titles = [section.title for section in page.sections]
    assert titles == [
        "Evaluation", "Return", "Exploration without reward", "Prototypes", "Visited states and linear probes", "Videos",
    ]  # fmt: skip
    shown = [html for section in page.sections for html, _ in section.shown]
    assert sum("<video" in html for html in shown) == 2
    assert any("R² of a linear probe" in html for html in shown)
    assert "cells" in str(page.sections[2].paragraphs)


def test_published_agents_can_be_fine_tuned_and_reported(tmp_path):
    """A published pre-trained agent has the tensors for fine-tuning, a fine-tuned one those for acting."""
    for name in ("1-pretrain", "2-finetune"):
        checkpoint.publish(trained("proto-pixels") / name, tmp_path / "zoo" / name)
    tune = recipe("proto-pixels").stages("tiny", pretrained=str(tmp_path / "zoo"))["finetune"]
    kept, ours = checkpoint.load(tmp_path / "zoo" / "1-pretrain"), run(replace(tune, steps=0), tmp_path / "1-finetune", 0)  # type: ignore[type-var]
    assert kept is not None
    assert all(torch.equal(ours[name], kept[1][name].to(ours[name].dtype)) for name in kept[1])
    parts = load_parts(tmp_path / "zoo" / "2-finetune")
    assert "representation/model/prototypes" not in parts["finetune"].state
    assert probe_section(parts["finetune"]) is not None
    checkpoint.save(tmp_path / "zoo" / "1-pretrain", 5, {name: tensor for name, tensor in kept[1].items() if "projector" not in name})
    with pytest.raises(Usage, match=r"another version.*projector"):
        run(tune, tmp_path / "2-finetune", 0)


def test_tables_accept_fine_tuned_agents_of_their_tasks():
    table = pixels(str(trained("proto-pixels")), 3)
    rows = {row.cell.split()[0]: row for row in table.rows}
    assert (rows["pendulum_swingup"].paper_mean, rows["pendulum_swingup"].episodes) == (847, 3)
    assert rows["walker_run"].verdict == "not-run"
    with pytest.raises(Usage, match="not fine-tuned for a task of this table"):
        pixels(str(trained("proto-pixels") / "1-pretrain"), 3)
    assert [row.paper_mean for row in urlb_states(None, None).rows][:2] == [378, 225]
    # the published mean over walker tasks, divided by the published expert scores
    assert np.mean([mean / EXPERT[task] for task, mean, _ in STATES if task.startswith("walker")]) == pytest.approx(0.556, abs=5e-4)
