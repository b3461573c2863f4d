"""Recipes for Ant (Tang & Ha 2021): evolution, and cloning of a feed-forward teacher."""

from dataclasses import replace
from typing import Any

from sensorium.core.errors import Usage
from sensorium.core.recipe import Preset, Recipe, Stages
from sensorium.core.stage import NOWHERE, Folder
from sensorium.envs.ant import Ant
from sensorium.es.cma import CMA
from sensorium.es.evolve import Evolve
from sensorium.es.pgpe import PGPE
from sensorium.imitation.clone import Clone
from sensorium.rl.actor_critic import ActorCritic
from sensorium.rl.sac import SAC
from sensorium.systems.attention_neuron.model import FeedForwardAgent
from sensorium.systems.attention_neuron.recipes.clone import ANT_AGENT, ANT_STUDENT, CONSTANT, clone_rounds, demonstrate_and_clone


def ant(preset: Preset = "laptop") -> Stages:
    """The permutation-invariant agent for Ant, by evolution.

    sensorium train ant --preset paper      # CMA-ES, population 256, 16 episodes, 12,000 generations
    published: 2576 +- 75 over 100 episodes, shuffled (256 processors, 5 days)
    """
    evolve = Evolve(world=Ant(), agent=ANT_AGENT, search=CMA(population=256, sigma=0.1), block=8, steps=12_000, checkpoint_every=5)
    if preset == "paper":
        return {"evolve": evolve}
    search = PGPE(population=64, sigma=0.1, optimizer="clipup", learning_rate=0.5, max_speed=0.4)
    evolve = replace(evolve, search=search, episodes=1, ema_decay=0.9, init_scale=1.0, steps=300, evaluation_episodes=32)
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
    """A teacher for Ant by soft actor-critic; `paper` has the paper's teacher, a network of 32 and 32 units by evolution.

    sensorium train ant-teacher
    published: 2700 +- 28 over 100 episodes, 232 +- 112 shuffled
    """
    if preset == "paper":
        evolve = Evolve(world=Ant(), agent=FeedForwardAgent(28, 8, (32, 32)), search=CMA(population=256, sigma=0.1), block=8, steps=12_000)
        return {"teacher": evolve}
    # with normalised features, as for pixels, the value estimates on Ant diverge
    learner = SAC(learning_rate=5e-4, discount=0.98, tau=0.01, slow=1, features=0, hidden=256)
    teacher = ActorCritic(Ant(), learner)
    if preset == "tiny":
        small: dict[str, Any] = {
            "learner": replace(learner, hidden=16),
            "rows": 2,
            "batch": 8,
            "random": 8,
            "capacity": 100,
            "steps": 4,
            "checkpoint_every": 2,
        }
        teacher = replace(teacher, world=Ant(horizon=12), evaluate_every=2, evaluation_episodes=2, **small)
    return {"teacher": teacher}


def ant_clone(
    preset: Preset = "laptop", teacher: Folder = NOWHERE, rounds: int = 0, width: int = 32, units: int = 0, reshuffle: int = 0
) -> Stages:
    """The permutation-invariant agent for Ant, cloned with DAgger. The paper clones from episodes of the teacher only.

    sensorium train ant-clone                    # --units 8: the paper's small neurons; --width 128: its larger student, with one layer more
    sensorium train ant-clone --reshuffle 50     # train with sensors that change places during an episode
    published: 2034 +- 948 shuffled, 2579 +- 457 with the larger student (5 days on a V100)
    """
    before = {} if teacher else ant_teacher(preset)
    if width not in (32, 128):
        raise Usage(f"width cannot be {width}; allowed: 32, 128")
    if units < 0:
        raise Usage(f"units cannot be {units}; at least 1, or 0 for as many as preset and width have")
    if preset == "tiny" and (units or width != 32):
        raise Usage("tiny has a size of its own; --width and --units are for laptop and paper")
    teach, clone = demonstrate_and_clone(Ant(), ANT_STUDENT, teacher or "../1-teacher")
    agent = ANT_STUDENT if width == 32 else replace(ANT_STUDENT, code=width, key=width, hidden=width, layers=(width, width))
    if preset == "paper":
        # the first 500 steps of 1,000 episodes of the teacher, whole sequences per update; the smaller student is the agent of evolution
        agent = ANT_AGENT if width == 32 else agent
        teach = replace(teach, student_world=Ant(horizon=500), action_noise=0.0, rows=50, steps=20)
        clone = Clone(Ant(), agent, window=500, restart_probability=0.0, updates=1000, steps=1000, half_life=CONSTANT)
    clone = replace(clone, agent=replace(agent, hidden=units or agent.hidden))
    rounds = rounds or {"tiny": 2, "laptop": 8 if width == 32 else 6, "paper": 1}[preset]
    return clone_rounds(preset, before, teach, clone, rounds, teach.action_noise, reshuffle)


ANT = Recipe(
    "ant",
    ant,
    "not measured; paper 2576 +- 75 (100 episodes, shuffled)",
    {"tiny": 0.2, "laptop": 150, "paper": 20_000},
    ("bullet",),
)
ANT_TEACHER = Recipe("ant-teacher", ant_teacher, "2835 +- 14 (seed 0, 100 episodes), 212 +- 156 shuffled; paper 2700 +- 28", {"tiny": 0.2, "laptop": 45, "paper": 20_000}, ("bullet",))  # fmt: skip
ANT_CLONE = Recipe("ant-clone", ant_clone, "2565 +- 557 and 2579 +- 546 (seeds 0 and 1, 100 episodes, shuffled); paper 2034 +- 948, its larger student 2579 +- 457 (100 episodes, shuffled)", {"tiny": 0.3, "laptop": 78, "paper": 7200}, ("bullet",))  # fmt: skip
