"""Contract tests for every stage of every system in the registry."""

import json
import math
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from sensorium import registry
from sensorium.core import card, checkpoint
from sensorium.core.env import closing
from sensorium.core.errors import Usage
from sensorium.core.rollout import play, stream
from sensorium.core.run import run
from sensorium.core.seeding import Seeds, row_seeds
from sensorium.core.stage import Stage, placed
from sensorium.envs.sensed import Sensed
from sensorium.systems.world_models.stages import Identity
from tests.conftest import EXTRAS, finished, with_predecessors

Tiny = tuple[str, str]


def left(folder: Path) -> tuple[bytes, bytes]:
    """A run's deterministic output: the newest tensors and the metrics."""
    latest = json.loads((folder / "latest.json").read_text())["checkpoints"][-1]["file"]
    return (folder / latest).read_bytes(), (folder / "metrics.jsonl").read_bytes()


def world_of(stage: Stage):
    """The world of a stage's policy, with the senses of training; None for stages without a policy."""
    if not hasattr(stage, "world"):
        pytest.skip("this stage learns what others act with")
    senses = getattr(stage, "senses", "")
    return Sensed(stage.world, senses) if senses else stage.world  # type: ignore[attr-defined]


def test_killed_and_resumed_equals_uninterrupted(tiny: Tiny, tmp_path: Path):
    stage, folder = finished(tiny)
    _, other = with_predecessors(tiny, tmp_path)
    run(replace(stage, steps=stage.steps // 2), other, 0)  # type: ignore[type-var]
    run(stage, other, 0)
    assert left(folder) == left(other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_gpu_runs_resume_bit_identically(tiny: Tiny, tmp_path: Path):
    # the folder's name is part of the seed
    (stage, folder), (_, other) = (with_predecessors(tiny, tmp_path / place) for place in "ab")
    state = run(stage, folder, 3, device="cuda")
    assert {tensor.device.type for tensor in state.values()} == {"cuda"}
    run(replace(stage, steps=stage.steps // 2), other, 3, device="cuda")  # type: ignore[type-var]
    run(stage, other, 3, device="cuda")
    assert left(folder)[0] == left(other)[0]


def test_another_seed_gives_another_run():
    stage, folder = finished(("cart-pole-mlp", "evolve"))
    other = folder.with_name("other") / folder.name
    run(stage, other, 1)
    assert left(folder)[0] != left(other)[0]


def test_one_step_is_a_function_of_its_seeds(tiny: Tiny, tmp_path: Path):
    stage, folder = with_predecessors(tiny, tmp_path)
    stage = placed(stage, folder)
    results = []
    for seed in (5, 5, 6):
        state = stage.init(Seeds(seed, "x", 0))
        live = stage.open(state)
        results.append((stage.step(state, live, Seeds(seed, "x", 1)), state))
    (first, one), (second, two), (_, three) = results
    assert first == second
    assert one.keys() == two.keys() == three.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    # the identity has no random numbers
    assert all(torch.equal(one[name], three[name]) for name in one) == isinstance(stage, Identity)


def test_metrics_are_finite_and_learned_names_are_in_the_state(tiny: Tiny):
    stage, folder = finished(tiny)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, stage.steps + 1))
    assert all(math.isfinite(value) for row in rows for value in row.values())
    loaded = checkpoint.load(folder)
    assert loaded is not None
    assert set(stage.learned) <= set(loaded[1])


def test_the_card_restores_the_stage(tiny: Tiny):
    stage = registry.recipe(tiny[0]).stages("tiny")[tiny[1]]
    assert card.build(json.loads(json.dumps(card.plain(stage)))) == stage


def test_another_stages_folder_is_a_usage_error(tiny: Tiny):
    stage, folder = finished(tiny)
    with pytest.raises(Usage, match="holds a run with other settings"):
        run(replace(stage, checkpoint_every=stage.checkpoint_every + 1), folder, 0)  # type: ignore[type-var]
    with pytest.raises(Usage, match="seed"):
        run(stage, folder, 1)


def test_a_run_from_before_a_setting_existed_has_its_default():
    stage, folder = finished(("cart-pole-mlp", "evolve"))
    path = folder / "card.json"
    known = json.loads(path.read_text())
    older = {**known, "stage": {name: value for name, value in known["stage"].items() if name != "common_seeds"}}
    assert older != known
    path.write_text(json.dumps(older))
    run(stage, folder, 0)
    assert json.loads(path.read_text())["stage"] == known["stage"]
    path.write_text(json.dumps(older))
    with pytest.raises(Usage, match="common_seeds: True there, False here"):
        run(replace(stage, common_seeds=False), folder, 0)  # type: ignore[call-arg, type-var]


def test_only_the_last_stages_steps_may_grow(tiny: Tiny):
    stage, folder = finished(tiny)
    longer = replace(stage, steps=stage.steps + 1)  # type: ignore[type-var]
    with pytest.raises(Usage, match="steps"):
        run(longer, folder, 0, last=False)
    run(longer, folder, 0)
    assert checkpoint.step_of(folder) == stage.steps + 1


def test_the_policy_plays_and_a_row_is_equal_alone_and_in_a_batch(tiny: Tiny):
    """Up to the tolerance of matrix products of different shapes."""
    stage, folder = finished(tiny)
    world = world_of(stage)
    policy, seeds = checkpoint.policy(folder), row_seeds(1, world.spec.rows // 4 or 64)
    with closing(world) as env:
        together, alone = (play(env, policy, some, compile=False) for some in (seeds, seeds[3:4]))
    assert together.returns.isfinite().all()
    assert (together.lengths >= 1).all()
    assert together.lengths[3] == alone.lengths[0]
    torch.testing.assert_close(together.returns[3], alone.returns[0], rtol=1e-3, atol=1e-3)


def test_a_published_agent_keeps_what_its_policy_needs(tiny: Tiny, tmp_path: Path):
    stage, folder = finished(tiny)
    world, seeds = world_of(stage), row_seeds(0, 8)
    for earlier in folder.parent.glob("[0-9]*-*"):
        (tmp_path / earlier.name).symlink_to(earlier)
    published = tmp_path / f"{folder.name}-published"
    checkpoint.publish(folder, published, {"fixed": {"mean": 1.0}})
    with closing(world) as env:
        whole, half = (next(stream(env, checkpoint.policy(path), seeds)).action for path in (folder, published))
    torch.testing.assert_close(whole, half, atol=0.02, rtol=0.02)
    assert card.read(published)["results"] == {"fixed": {"mean": 1.0}}


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.parametrize(
    ("recipe", "name"), [("cart-pole-clone", "clone"), ("cart-pole-clone", "ascend"), ("cart-pole", "evolve"), ("ant-clone", "clone")]
)
def test_compiled_stages_resume_bit_identically(recipe, name, tmp_path: Path):
    """Compiled kernels depend on memory layout and alignment: a restored state needs those of an uninterrupted run."""
    for place in ("whole", "resumed"):
        if not all(find_spec(EXTRAS[extra]) for extra in registry.recipe(recipe).extras):
            pytest.skip(f"{recipe} needs what is not installed")
        _, folder = with_predecessors((recipe, name), tmp_path / place)
        stage = registry.recipe(recipe).stages("tiny")[name]
        stage = replace(stage, compile=True, steps=4)  # type: ignore[type-var]
        if place == "resumed":
            run(replace(stage, steps=2), folder, 3)
        run(stage, folder, 3)
    assert left(tmp_path / "whole" / folder.name) == left(tmp_path / "resumed" / folder.name)


def test_the_card_keeps_the_implementation_of_the_lstm(tmp_path: Path):
    stage, folder = with_predecessors(("car-racing", "memory"), tmp_path)
    run(replace(stage, steps=1), folder, 0)  # type: ignore[type-var]
    kept = card.read(folder)
    assert kept["implementations"]["lstm"] in ("explicit", "fused")
    # as if the run had started on another machine
    checkpoint.write_json(folder / "card.json", {**kept, "implementations": {"lstm": "explicit"}})
    run(stage, folder, 0)
    assert card.read(folder)["implementations"] == {"lstm": "explicit"}
