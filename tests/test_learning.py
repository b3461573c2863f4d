"""Learning tests on the toy world, in seconds, with several seeds."""

from pathlib import Path

import pytest

from sensorium.core import checkpoint
from sensorium.core.evaluate import evaluate
from sensorium.core.run import run
from sensorium.core.stage import Folder
from sensorium.envs.toy import Toy
from sensorium.envs.wrappers import wrapped
from sensorium.es.cma import CMA
from sensorium.es.evolve import Evolve
from sensorium.es.pgpe import PGPE
from sensorium.imitation.dagger import Dagger
from sensorium.rl.short_horizon import ShortHorizonActorCritic
from sensorium.systems.attention_neuron.model import FeedForwardAgent, SensoryAgent

SOLVED = 18.0
"""target score of at most 20; a fixed point scores 10 on average, the best policy 19"""


def score(folder: Path, senses: str = "") -> float:
    world, policy = wrapped(Toy(), checkpoint.policy(folder), senses)
    return evaluate(world, policy, 400, seed=7)["mean"]


def toy(agent, search, **fields) -> Evolve:
    settings = {"episodes": 8, "steps": 80, "evaluate_every": 80, "compile": False, **fields}
    return Evolve(world=Toy(), agent=agent, search=search, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    "search", [PGPE(64, 0.3, 0.1), PGPE(64, 0.3, 0.5, optimizer="clipup", max_speed=0.3), CMA(32, 0.3)], ids=["adam", "clipup", "cma"]
)
def test_every_strategy_solves_the_toy(search, seed, tmp_path):
    run(toy(FeedForwardAgent(3, layers=(4,)), search), tmp_path / "evolve", seed)
    assert score(tmp_path / "evolve") > SOLVED


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_clone_scores_like_its_teacher_even_shuffled(seed, tmp_path):
    run(toy(FeedForwardAgent(3, layers=(4,)), PGPE(64, 0.3, 0.1)), tmp_path / "1-baseline", seed)
    agent = SensoryAgent(code=8, key=8)
    clone = Dagger(
        world=Toy(),
        agent=agent,
        teacher=Folder("../1-baseline"),
        rows=128,
        window=20,
        windows=20,
        steps=10,
        half_life=100,
        ema_decay=0.98,
        compile=False,
    )
    run(clone, tmp_path / "2-clone", seed)
    teacher, student = score(tmp_path / "1-baseline"), score(tmp_path / "2-clone", "shuffle")
    assert teacher > SOLVED
    assert student > 0.9 * teacher
    assert score(tmp_path / "1-baseline", "shuffle") < 0.8 * teacher


@pytest.mark.slow
def test_evolution_from_a_clone_does_not_lower_its_score(tmp_path):
    agent = SensoryAgent(code=8, key=8)
    run(toy(agent, PGPE(64, 0.3, 0.1), init_scale=1.0, steps=30), tmp_path / "1-evolve", 0)
    further = toy(agent, PGPE(64, 0.1, 0.02), start=Folder("../1-evolve"), steps=30, ema_decay=0.8)
    run(further, tmp_path / "2-evolve", 0)
    assert score(tmp_path / "2-evolve") > score(tmp_path / "1-evolve") - 0.5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_short_horizon_actor_critic_learns_even_shuffled(seed, tmp_path):
    agent = SensoryAgent(code=8, key=8)
    run(toy(agent, PGPE(64, 0.3, 0.1), init_scale=1.0, steps=1), tmp_path / "1-start", seed)
    climb = ShortHorizonActorCritic(
        Toy(), agent, start=Folder("../1-start"), rows=128, window=10, windows=20, discount=0.9, warmup_windows=20, half_life=200, ema_decay=0.98, steps=14,
        learning_rate=1e-2, compile=False,
    )  # fmt: skip
    run(climb, tmp_path / "2-ascend", seed)
    assert score(tmp_path / "1-start") < 13
    assert score(tmp_path / "2-ascend", "shuffle") > SOLVED
