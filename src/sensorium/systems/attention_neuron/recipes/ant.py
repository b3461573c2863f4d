"""Ant (Tang & Ha 2021): by evolution, and by cloning a teacher that knows its sensors by their place."""

from dataclasses import replace
from typing import Any

from sensorium.core.errors import Usage
from sensorium.core.recipe import Preset, Recipe, Stages
from sensorium.core.stage import NOWHERE, Folder
from sensorium.envs.ant import Ant
from sensorium.es.cma import CMA
from sensorium.es.pgpe import PGPE
from sensorium.systems.attention_neuron.model import FeedForwardAgent
from sensorium.systems.attention_neuron.recipes.clone import CONSTANT, WALKER, cloned, lessons_in
from sensorium.systems.attention_neuron.stages import ActorCritic, Evolve


def ant(preset: Preset = "laptop") -> Stages:
    """The permutation-invariant ant by evolution, paid for running alone while it learns.

    sensorium train ant --preset paper      # CMA-ES, population 256, 16 episodes, 12,000 generations
    published: 2576 +- 75 over 100 episodes, shuffled (256 processors, 5 days)
    """
    evolve = Evolve(world=Ant(), agent=WALKER, search=CMA(population=256, sigma=0.1), block=8, steps=12_000, checkpoint_every=5)
    if preset == "paper":
        return {"evolve": evolve}
    search = PGPE(population=64, sigma=0.1, optimizer="clipup", learning_rate=0.5, max_speed=0.4)
    evolve = replace(evolve, search=search, episodes=1, average=0.9, spread=1.0, steps=300, evaluation_episodes=32)
    if preset == "laptop":
        return {"evolve": evolve}
    small: dict[str, Any] = {
        "world": Ant(horizon=12),
        "search": PGPE(population=4),
        "block": 2,
        "steps": 4,
        "checkpoint_every": 2,
        "evaluate_every": 2,
    }
    return {"evolve": replace(evolve, **small, evaluation_episodes=2, compile=False)}


def ant_teacher(preset: Preset = "laptop") -> Stages:
    """A teacher for Ant: soft actor-critic; in `paper` the paper's own, a network of 32 units by evolution.

    sensorium train ant-teacher
    published: 2700 +- 28 over 100 episodes, 232 +- 112 shuffled
    """
    if preset == "paper":
        evolve = Evolve(world=Ant(), agent=FeedForwardAgent(28, 8, (32, 32)), search=CMA(population=256, sigma=0.1), block=8, steps=12_000)
        return {"teacher": evolve}
    teacher = ActorCritic()
    if preset == "tiny":
        learner = replace(teacher.learner, hidden=16)
        small: dict[str, Any] = {"learner": learner, "rows": 2, "batch": 8, "random": 8, "capacity": 100, "steps": 4, "checkpoint_every": 2}
        teacher = replace(teacher, world=Ant(horizon=12), evaluate_every=2, evaluation_episodes=2, **small)
    return {"teacher": teacher}


def ant_clone(preset: Preset = "laptop", teacher: Folder = NOWHERE, rounds: int = 0, width: int = 32) -> Stages:
    """The permutation-invariant ant, cloned: by DAgger, where the paper clones what was recorded once.

    sensorium train ant-clone                    # --width 128: the larger student, with a layer more
    published: 2034 +- 948 shuffled, 2579 +- 457 with the larger student (5 days on a V100)
    """
    before = {} if teacher else ant_teacher(preset)
    if width not in (32, 128):
        raise Usage(f"width cannot be {width}; allowed: 32, 128")
    agent = WALKER if width == 32 else replace(WALKER, code=width, key=width, hidden=width, layers=(width, width))
    teach, clone = lessons_in(Ant(), agent, teacher or "../1-teacher")
    clone = replace(clone, window=150, opening=0.5)
    if width == 32:
        clone = replace(clone, whiten=True, learning_rate=1e-2, half_life=1000, steps=12, evaluate_every=4)
    else:
        clone = replace(clone, learning_rate=4e-3, steps=40)
    if preset == "paper":
        # the first 500 steps of 1,000 episodes of the teacher's alone, whole ones in an update
        teach = replace(teach, place=Ant(horizon=500), noise=0.0, rows=50, steps=20)
        clone = replace(clone, whiten=False, learning_rate=1e-3, window=500, updates=1000, steps=1000, half_life=CONSTANT)
    return cloned(preset, before, teach, clone, rounds or {"tiny": 2, "laptop": 4 if width == 32 else 6, "paper": 1}[preset], teach.noise)


ANT = Recipe(
    "ant",
    ant,
    "not measured; paper 2576 +- 75 (100 episodes, shuffled)",
    {"tiny": 0.2, "laptop": 150, "paper": 20_000},
    ("bullet",),
)
ANT_TEACHER = Recipe("ant-teacher", ant_teacher, "2835 +- 14 (seed 0, 100 episodes), 212 +- 156 shuffled; paper 2700 +- 28", {"tiny": 0.2, "laptop": 45, "paper": 20_000}, ("bullet",))  # fmt: skip
ANT_CLONE = Recipe("ant-clone", ant_clone, "808 +- 197 (seed 0, 100 episodes, shuffled; standing still earns 500): not there yet; paper 2034 +- 948 (100 episodes, shuffled)", {"tiny": 0.3, "laptop": 62, "paper": 7200}, ("bullet",))  # fmt: skip
