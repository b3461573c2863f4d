"""A trained agent as a permutation-invariant one; and what all recipes that clone from recorded lessons share."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sensorium.core import checkpoint
from sensorium.core.env import World
from sensorium.core.errors import Usage
from sensorium.core.recipe import Preset, Recipe, Stages
from sensorium.core.stage import NOWHERE, Folder
from sensorium.envs.ant import Ant, AntV5
from sensorium.envs.car_racing import CarPatches, CarRacing
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.pong import Pong, PongMemory
from sensorium.envs.toy import Toy
from sensorium.imitation.clone import Clone
from sensorium.imitation.dagger import Dagger
from sensorium.imitation.demonstrate import Demonstrate, training_world
from sensorium.rl.short_horizon import ShortHorizonActorCritic
from sensorium.systems.attention_neuron.model import PongAgent, SensoryAgent, VisionNeurons
from sensorium.systems.attention_neuron.recipes.cart_pole import SMALL

WALKER = SensoryAgent(actions=8, code=32, layers=(32,), bias=True, scale=True)
"""the agent for Ant (2,504 numbers)"""
PUPIL = replace(WALKER, hidden=32)
"""one for Ant that can soon be taught by gradient: neurons of 32 units in place of 8 learn sooner what they hear"""
PLAYER = PongAgent()
"""the agent for Pong"""
DRIVER = PongAgent(VisionNeurons(actions=3, code=400, width=32, time_last=False, learned_norms=True), actions=3, drives=True)
"""an agent for CarRacing that can be taught by gradient"""


CONSTANT = 10**9
"""updates after which a learning rate halves that is not to change"""


def cloned(preset: Preset, before: Stages, teach: Demonstrate, clone: Clone, rounds: int, noise: float = 0.0) -> Stages:
    """Demonstrations and a clone, after the stages before them; in further rounds the student plays more and more, and the teacher says what it would
    have done. `noise`: what then disturbs the teacher's turns."""
    if rounds < 1:
        raise Usage(f"rounds cannot be {rounds}; at least 1, or 0 for as many as the preset has")
    stages = dict(before)

    def add(name: str, stage: Demonstrate | Clone) -> Folder:
        stages[name] = stage
        return Folder(f"../{len(stages)}-{name}")

    for number in range(1, rounds + 1):
        after = f"-{number}" if number > 1 else ""
        lessons = add(f"teach{after}", teach)
        student = add(f"clone{after}", replace(clone, demonstrations=lessons))
        share = round(1 - number / rounds, 3)
        teach, clone = (
            replace(teach, student=student, earlier=lessons, action_noise=noise, teacher_share=share),
            replace(clone, start=student),
        )
    return tiny(stages) if preset == "tiny" else stages


def tiny(stages: Stages) -> Stages:
    """A few seconds of everything, eager."""
    short: dict[type, dict[str, Any]] = {
        Demonstrate: {"rows": 2, "steps": 2},
        Clone: {
            "batch": 4,
            "updates": 2,
            "steps": 4,
            "checkpoint_every": 2,
            "evaluate_every": 2,
            "evaluation_episodes": 2,
            "bfloat16": False,
            "compile": False,
        },
    }
    found: Stages = {}
    for name, stage in stages.items():
        if isinstance(stage, Demonstrate):
            # games of Pong look alike for some steps
            stage = replace(stage, student_world=replace(stage.student_world, horizon=24), **short[Demonstrate])  # type: ignore[type-var]
        if isinstance(stage, Clone):
            stage = replace(stage, world=replace(stage.world, horizon=12), window=min(stage.window, 5), **short[Clone])  # type: ignore[type-var]
            if isinstance(stage.agent, SensoryAgent):
                stage = replace(stage, agent=replace(stage.agent, code=4, key=4, hidden=4, layers=(4,)))
        found[name] = stage
    return found


def classroom(world: Any) -> tuple[World, SensoryAgent | PongAgent]:
    """Where a teacher from a world can teach, and whom."""
    walker: tuple[World, SensoryAgent] = (world, PUPIL)
    known: dict[type, tuple[World, SensoryAgent | PongAgent]] = {
        CartPole: (world, SensoryAgent()), Toy: (world, SensoryAgent(code=8, key=8)), Ant: walker, AntV5: walker, CarPatches: (CarPatches(), DRIVER),
        CarRacing: (CarPatches(), DRIVER), Pong: (Pong(), PLAYER), PongMemory: (Pong(), PLAYER),
    }  # fmt: skip
    if type(world) not in known:
        raise Usage(
            f"no student is known for a teacher from {world.spec.name}; one from cart-pole, toy, ant, ant-v5, car-racing, car-patches or pong is needed"
        )
    return known[type(world)]


def lessons_in(world: World, agent: SensoryAgent | PongAgent, teacher: str) -> tuple[Demonstrate, Clone]:
    """Demonstrations and a clone for a laptop."""
    teach = Demonstrate(world, Folder(teacher), action_noise={Ant: 0.3, AntV5: 0.3, CarPatches: 0.1}.get(type(world), 0.0))
    clone = Clone(world, agent)
    if isinstance(world, (Ant, AntV5)):
        clone = replace(clone, batch=32, sensor_id_weight=0.1, learning_rate=4e-3, half_life=500, steps=16, evaluate_every=8)
    if isinstance(agent, PongAgent):
        clone = replace(clone, batch=128, window=1, half_life=3000)
    if isinstance(world, Pong):
        # a button is one of six, and may be heard as no other
        # the teacher presses another one every 300th time
        teach = replace(teach, student_world=Pong(horizon=3000), action_noise=0.22, steps=6)
        clone = replace(clone, loss="cross-entropy", action_noise=0.0)
    return teach, clone


def clone(
    preset: Preset = "laptop", teacher: Folder = NOWHERE, rounds: int = 0, sensor_dropout: float = 0.0, onward: bool = False
) -> Stages:
    """Any agent of cart-pole, Ant, CarRacing or Pong as a permutation-invariant one: worlds in torch by DAgger, others from recorded lessons.

    sensorium train clone --teacher runs/mine                     # --rounds and --sensor-dropout are for recorded lessons
    sensorium train clone --teacher runs/mine --onward True       # in cart-pole and the toy: then climb its own return (26 minutes beside another training)
    published: nothing; the paper clones the teachers that it names
    """
    teacher = teacher or Folder(str(checkpoint.ZOO / "cart-pole-mlp"))
    world, agent = classroom(training_world(teacher) if Path(teacher).is_dir() else CartPole())
    if isinstance(world, (CartPole, Toy)):
        assert isinstance(agent, SensoryAgent)
        if rounds or sensor_dropout:
            raise Usage(f"a clone in {world.spec.name} is taught while it plays: --rounds and --sensor-dropout are for recorded lessons")
        dagger, ascend = Dagger(world, agent, teacher=teacher), ShortHorizonActorCritic(world, agent, start=Folder("../1-clone"))
        if preset == "tiny":
            small = {**SMALL, "world": replace(world, horizon=20)}
            dagger, ascend = replace(dagger, **small), replace(ascend, warmup_windows=4, **small)
        return {"clone": dagger, "ascend": ascend} if onward else {"clone": dagger}
    if onward:
        raise Usage(f"--onward climbs the gradient of the return, which {world.spec.name} does not have; cart-pole and toy do")
    teach, student = lessons_in(world, agent, teacher)
    walks = isinstance(agent, SensoryAgent)
    rounds = rounds or (8 if walks and preset != "tiny" else 2)
    return cloned(preset, {}, teach, replace(student, sensor_dropout=sensor_dropout), rounds, teach.action_noise if walks else 0.0)


CLONE = Recipe(
    "clone",
    clone,
    "351 +- 308 from the zoo's cart-pole-mlp (639), shuffled; from the authors' agent (522) 310 +- 279, 560 +- 417 onward (seed 0, 1,000 episodes); not in the paper",
    {"tiny": 0.2, "laptop": 3, "paper": 3},
)
