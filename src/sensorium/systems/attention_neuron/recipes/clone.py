"""Cloning of any trained agent into a permutation-invariant one, and the parts shared by all recipes that clone from demonstrations."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sensorium.core import checkpoint, zoo
from sensorium.core.env import EnvSpec, StudentVariant, TorchWorld, World
from sensorium.core.errors import Usage
from sensorium.core.recipe import Preset, Recipe, Stages, add_stage
from sensorium.core.stage import NOWHERE, Folder
from sensorium.envs import worlds
from sensorium.envs.cart_pole import CartPole
from sensorium.envs.normalised import fitted
from sensorium.envs.wrappers import Calibrated, shortened
from sensorium.imitation.clone import Clone
from sensorium.imitation.dagger import Dagger
from sensorium.imitation.demonstrate import Demonstrate, training_world
from sensorium.rl.short_horizon import ShortHorizonActorCritic
from sensorium.systems.attention_neuron.model import PongAgent, SensoryAgent, VisionNeurons
from sensorium.systems.attention_neuron.recipes.cart_pole import SMALL

ANT_AGENT = SensoryAgent(actions=8, code=32, layers=(32,), bias=True, scale=True)
"""the paper's agent for Ant (2,504 parameters)"""
ANT_STUDENT = replace(ANT_AGENT, hidden=32)
"""student for Ant: neurons of 32 units instead of 8 are faster to train by gradient"""
PONG_STUDENT = PongAgent()
"""the paper's agent for Pong"""
CAR_STUDENT = PongAgent(VisionNeurons(actions=3, code=400, width=32, time_last=False, learned_norms=True), actions=3, drives=True)
"""student for CarRacing that can be trained by gradient"""


CONSTANT = 10**9
"""half life of a constant learning rate, in updates"""


def clone_rounds(
    preset: Preset, before: Stages, teach: Demonstrate, clone: Clone, rounds: int, noise: float = 0.0, reshuffle: int = 0
) -> Stages:
    """Stages of `rounds` rounds of demonstration and cloning, after the stages `before`.

    From the second round on, the student acts in a growing share of the turns, and the teacher labels all steps (DAgger). `noise` is the
    action noise in the teacher's turns then. With `reshuffle` the student's sensors change places every so many steps of its training,
    and half as often where it acts in demonstrations, so that it also acts with sensors that it has identified.
    """
    if rounds < 1:
        raise Usage(f"rounds cannot be {rounds}; at least 1, or 0 for as many as the preset has")
    stages, clone = dict(before), replace(clone, reshuffle=reshuffle)
    for number in range(1, rounds + 1):
        demonstrations = add_stage(stages, "teach", number, teach)
        student = add_stage(stages, "clone", number, replace(clone, demonstrations=demonstrations))
        share = round(1 - number / rounds, 3)
        teach, clone = (
            replace(teach, student=student, earlier=demonstrations, action_noise=noise, teacher_share=share, reshuffle=2 * reshuffle),
            replace(clone, start=student),
        )
    return tiny(stages) if preset == "tiny" else stages


def tiny(stages: Stages) -> Stages:
    """The stages in a size that runs in seconds, not compiled, for tests."""
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
            # the first steps of all games of Pong are alike
            stage = replace(stage, student_world=shortened(stage.student_world, 24), **short[Demonstrate])
        if isinstance(stage, Clone):
            stage = replace(stage, world=shortened(stage.world, 12), window=min(stage.window, 5), **short[Clone])
            if isinstance(stage.agent, SensoryAgent):
                stage = replace(stage, agent=replace(stage.agent, code=4, key=4, hidden=4, layers=(4,)))
        found[name] = stage
    return found


def neurons_for(spec: EnvSpec) -> SensoryAgent:
    """The agent of sensory neurons for a world with a vector of sensors: the student for Ant, with its number of actions."""
    return replace(ANT_STUDENT, actions=spec.action, discrete=spec.discrete)


def student_for(world: World) -> tuple[World, SensoryAgent | PongAgent]:
    """The world of the student for a teacher of this world, and the student. Errors: core.errors.Usage if there is no student for it."""
    if isinstance(world, StudentVariant):
        world = world.student
    spec = world.spec
    if spec.kind == "vector":
        return world, SensoryAgent(actions=spec.action) if isinstance(world, TorchWorld) else neurons_for(spec)
    if spec.kind == "patches":
        return world, patches_student(spec)
    raise Usage(f"there is no student for a teacher from {spec.name}; allowed: worlds with a vector of sensors, and worlds of patches")


def patches_student(spec: EnvSpec) -> PongAgent:
    """The student for a world of patches: that for Pong with the world's actions, or that for CarRacing, whose actions have bounds."""
    if spec.low:
        return CAR_STUDENT
    neurons, first = replace(PONG_STUDENT.neurons, actions=spec.action), min(PONG_STUDENT.first, spec.action - 1)
    return replace(PONG_STUDENT, neurons=neurons, actions=spec.action, first=first, continuous=not spec.discrete)


def demonstrate_and_clone(world: World, agent: SensoryAgent | PongAgent, teacher: str) -> tuple[Demonstrate, Clone]:
    """The stages `Demonstrate` and `Clone` of a laptop preset, by the kinds of observation and action of the world."""
    vector, discrete = world.spec.kind == "vector", world.spec.discrete
    if vector:
        # as for Ant
        clone = Clone(world, agent, batch=32, sensor_id_weight=0.1, learning_rate=4e-3, half_life=500, steps=16, evaluate_every=8)
        if discrete:
            clone = replace(clone, loss="cross-entropy", action_noise=0.0)
        return Demonstrate(world, Folder(teacher), action_noise=0.22 if discrete else 0.3), clone
    clone = Clone(world, agent, batch=128, window=1, half_life=3000)
    if not discrete:
        return Demonstrate(world, Folder(teacher), action_noise=0.1), clone
    # of six buttons, as in Pong, the executed one differs from the teacher's in about one of 300 steps
    shorter = shortened(world, min(world.spec.horizon, 3000))
    return Demonstrate(shorter, Folder(teacher), action_noise=0.22, steps=6), replace(clone, loss="cross-entropy", action_noise=0.0)


def clone(
    preset: Preset = "laptop", teacher: Folder = NOWHERE, world: str = "", rounds: int = 0, sensor_dropout: float = 0.0, reshuffle: int = 0,
    normalise: bool = True, onward: bool = False,
) -> Stages:  # fmt: skip
    """Clone any agent into a permutation-invariant one: by online DAgger in worlds in torch, else from recorded demonstrations.

    sensorium train clone --teacher runs/mine                     # --rounds, --normalise, --sensor-dropout, --reshuffle: for demonstrations
    sensorium train clone --teacher runs/mine --world gym:Hopper-v5
    sensorium train clone --teacher runs/mine --onward True       # cart-pole and toy: then train by the gradient of the return (26 minutes)
    published: none; the paper clones its own teachers only
    """
    teacher = teacher or Folder(str(zoo.FOLDER / "cart-pole-mlp"))
    trained = training_world(teacher) if Path(teacher).is_dir() else CartPole()
    place, agent = student_for(worlds.world(world) if world else trained)
    if isinstance(place, TorchWorld) and isinstance(agent, SensoryAgent):
        if rounds or sensor_dropout or reshuffle:
            raise Usage(
                f"a clone in {place.spec.name} is trained while it acts; --rounds, --sensor-dropout and --reshuffle are for recorded demonstrations"
            )
        dagger, ascend = Dagger(place, agent, teacher=teacher), ShortHorizonActorCritic(place, agent, start=Folder("../1-clone"))
        if preset == "tiny":
            small = {**SMALL, "world": shortened(place, 20)}
            dagger, ascend = replace(dagger, **small), replace(ascend, warmup_windows=4, **small)
        return {"clone": dagger, "ascend": ascend} if onward else {"clone": dagger}
    if onward:
        raise Usage(f"--onward needs a differentiable world such as cart-pole, which {place.spec.name} is not")
    sensory = isinstance(agent, SensoryAgent)
    if sensory and normalise and not isinstance(place, Calibrated):
        episodes, seen = (2, shortened(place, 24)) if preset == "tiny" else (16, place)
        place = replace(fitted(seen, checkpoint.policy(teacher), episodes), world=place)
    teach, student = demonstrate_and_clone(place, agent, teacher)
    rounds = rounds or (8 if sensory and preset != "tiny" else 2)
    noise = teach.action_noise if sensory else 0.0
    return clone_rounds(preset, {}, teach, replace(student, sensor_dropout=sensor_dropout), rounds, noise, reshuffle)


CLONE = Recipe(
    "clone",
    clone,
    "351 +- 308 from the zoo's cart-pole-mlp (639), shuffled; from the authors' agent (522) 310 +- 279, 560 +- 417 onward (seed 0, 1,000 episodes); not in the paper",
    {"tiny": 0.2, "laptop": 3, "paper": 3},
)
