"""Recipes that reproduce published numbers of Proto-RL, URLB and DrQ-v2, and the same methods in any world with continuous actions.

Recipe names take a task after a dot: one of the control suite, or the name of a world such as gym:HalfCheetah-v5, for which no numbers
are published.
"""

from dataclasses import replace
from typing import Any, TypeVar

from sensorium.core.env import World, frames_per_step
from sensorium.core.errors import Usage, nearest
from sensorium.core.recipe import Preset, Recipe, Stages
from sensorium.core.stage import NOWHERE, Folder
from sensorium.envs.control import PRIMAL, Control
from sensorium.envs.wrappers import shortened
from sensorium.rl.ddpg import DDPG
from sensorium.rl.off_policy import named
from sensorium.rl.sac import SAC
from sensorium.systems.proto_rl.model import Proto
from sensorium.systems.proto_rl.stages import Finetune, Pretrain, ProtoStage, Scratch

EASY = ("cartpole_balance", "cartpole_balance_sparse", "cartpole_swingup", "ball_in_cup_catch", "finger_spin", "hopper_stand", "pendulum_swingup",
        "walker_stand", "walker_walk")  # fmt: skip
HARD = ("humanoid_stand", "humanoid_walk", "humanoid_run")
L = TypeVar("L", bound=ProtoStage)


def pixels(task: str, preset: Preset, pretrained: Folder = NOWHERE) -> World:
    """A task with the paper's observations, 9 x 84 x 84 pixels, and each action repeated twice; in a named world as often as it says."""
    if named.is_named(task):
        return named.prepared(task, True, pretrained)
    return Control(task, pixels=True, repeat=2, visuals="full" if preset == "paper" else "fast")


def with_frames(stage: L, frames: int, evaluations: int, **fields: Any) -> L:
    """The stage with these fields, a length in frames of the world, and a number of evaluations."""
    return replace(stage, **fields).for_frames(frames, evaluations)


def variant_of(name: str, known: tuple[str, ...] = ("official", "urlb")) -> str:
    """The name of a variant. Errors: core.errors.Usage if it is not known."""
    if name not in known:
        raise Usage(nearest(name, list(known), "variant here"))
    return name


def tiny(stages: Stages, pixels: bool) -> Stages:
    """The stages in a size that runs in seconds, for tests."""
    found: Stages = {}
    for name, stage in stages.items():
        assert isinstance(stage, ProtoStage)
        some: dict[str, Any] = {"prototypes": 16, "queue": 32, "standardise": pixels} if stage.proto.prototypes else {}
        proto, learner = replace(stage.proto, channels=4, projection=8, hidden=16, **some), stage.learner
        assert isinstance(learner, (SAC, DDPG))
        small: dict[str, Any] = {
            "world": shortened(stage.world, 10), "proto": proto, "learner": replace(learner, hidden=32, features=min(learner.features, 8)), "rows": 2, "batch": 8,
            "random": min(stage.random, 8), "warmup": 8, "capacity": 60, "evaluate_every": 2, "evaluation_episodes": 2, "bfloat16": False, "steps": 4,
            "checkpoint_every": 2, "every": 2,
        }  # fmt: skip
        if isinstance(stage, Pretrain):
            small["snapshots"] = (20 * frames_per_step(stage.world),)
        found[name] = replace(stage, **small)
    return found


def phases(explore: Pretrain, tune: Finetune, pretrained: Folder, preset: Preset, pixels: bool) -> Stages:
    """Both phases, or the second phase alone if `pretrained` names an earlier pre-training run."""
    stages: Stages = {"finetune": replace(tune, pretrained=pretrained)} if pretrained else {"pretrain": explore, "finetune": tune}
    return tiny(stages, pixels) if preset == "tiny" else stages


def laptop(stage: L, frames: int, evaluations: int, *, batch: int, every: int, rate: float) -> L:
    """A stage from pixels for two cores: fewer updates, smaller batches, a larger learning rate, and as many prototypes as a batch has samples."""
    proto = replace(stage.proto, prototypes=batch, queue=4 * batch, learning_rate=rate, standardise=True)
    assert isinstance(stage.learner, (SAC, DDPG))
    learner = replace(stage.learner, learning_rate=rate)
    if isinstance(learner, SAC):
        # log alpha changes by at most about a learning rate every other update; with few updates it starts closer to its final value
        learner = replace(learner, alpha=0.01)
    return with_frames(stage, frames, evaluations, proto=proto, learner=learner, rows=2, batch=batch, every=every)


def proto_pixels(
    preset: Preset = "laptop", task: str = "pendulum_swingup", variant: str = "official", pretrained: Folder = NOWHERE
) -> Stages:
    """Explore from pixels without reward, then learn a task: with SAC as in the paper (`official`), or with DDPG as in URLB (`urlb`).

    sensorium train proto-pixels.pendulum_swingup --variant official
    sensorium train proto-pixels.gym:Pendulum-v1      # any world with continuous actions that renders images
    published: 847 after 500,000 frames of each phase (P figure 4, digitised); laptop: 80,000 frames of each phase; none for gym:ID, laptop:
    20,000 frames of each phase with an update for each agent step
    """
    world, foreign = pixels(task, preset, pretrained), named.is_named(task)
    if variant_of(variant) == "official":
        explore, tune = with_frames(Pretrain(world), 500_000, 5), with_frames(Finetune(world), 500_000, 5)
    else:
        explore, tune = urlb(world, primal(world), Proto(every=1, centre=0.5), batch=256)
    if foreign:
        # the scale of the task's reward is not known
        tune = replace(tune, intrinsic_reward=0.0)
    if preset == "laptop":
        less: dict[str, Any] = {"batch": 64, "every": 1 if foreign else 2, "rate": 3e-4}
        frames = 20_000 if foreign else 80_000
        explore, tune = laptop(replace(explore, snapshots=()), frames, 10, **less), laptop(tune, frames, 10, **less)
    return phases(explore, tune, pretrained, preset, pixels=True)


def primal(world: World) -> World:
    """The world in which URLB pre-trains for a task."""
    return replace(world, task=PRIMAL.get(world.domain, world.task)) if isinstance(world, Control) else world


def urlb(world: World, primal: World, proto: Proto, batch: int) -> tuple[Pretrain, Finetune]:
    """Both phases as in URLB: DDPG, one update every other agent step, and only the task's reward in the second phase."""
    common: dict[str, Any] = {
        "proto": proto,
        "batch": batch,
        "every": 2,
        "random": 4000 // frames_per_step(world),
        "warmup": 4000 // frames_per_step(world),
        "capacity": 1_000_000,
    }
    explore = Pretrain(primal, learner=DDPG(returns=1), snapshots=(100_000, 500_000, 1_000_000, 2_000_000), **common)
    tune = Finetune(world, learner=DDPG(), keep_critic=True, intrinsic_reward=0.0, **common)
    return with_frames(explore, 2_000_000, 100), with_frames(tune, 100_000, 10)


def proto_states(preset: Preset = "laptop", task: str = "walker_run", pretrained: Folder = NOWHERE) -> Stages:
    """URLB from states: explore a domain without reward, then learn one of its tasks in 100,000 frames.

    sensorium train proto-states.walker_run
    sensorium train proto-states.gym:HalfCheetah-v5 --world.coverage 0,8      # any world with continuous actions and a vector of sensors
    published: 225 +- 16 (re-run of URLB by MOSS, 2,000,000 frames without reward); none for gym:ID; laptop: 100,000 frames of each phase,
    SAC with an update for each agent step instead of DDPG with one for two
    """
    world = named.prepared(task, False, pretrained) if named.is_named(task) else Control(task)
    if preset == "paper":
        explore, tune = urlb(world, primal(world), Proto(every=1), batch=1024)
    else:
        common: dict[str, Any] = {"learner": named.LEARNER, "proto": Proto(every=1, prototypes=256, queue=1024), **named.SETTINGS}
        explore = with_frames(Pretrain(primal(world)), 100_000, 5, **common)
        tune = with_frames(Finetune(world, intrinsic_reward=0.0), 100_000, 10, **common)
    return phases(explore, tune, pretrained, preset, pixels=False)


def drq_v2(preset: Preset = "laptop", task: str = "pendulum_swingup") -> Stages:
    """DrQ-v2 (Yarats et al. 2021b): DDPG from pixels, encoder trained by the critic, no pre-training.

    sensorium train drq-v2.pendulum_swingup
    published: 840 +- 26 after 500,000 frames (the authors' raw curves, 9 seeds); laptop: 120,000 frames; none for gym:ID, laptop: 40,000
    frames with an update for each agent step
    """
    frames, noise = (1_100_000, 100_000) if task in EASY else (30_100_000, 2_000_000) if task in HARD else (3_100_000, 500_000)
    walker, rate = task.startswith("walker"), 8e-5 if task in HARD else 1e-4
    learner = DDPG(
        learning_rate=rate, noise_first=1.0, noise=0.1, noise_steps=noise, returns=1 if walker else 3, features=100 if task in HARD else 50
    )
    stage = Scratch(
        pixels(task, preset), learner, proto=Proto(prototypes=0, by_critic=True, centre=0.5, learning_rate=rate), batch=512 if walker else 256, every=2,
        random=2000, warmup=2000, capacity=100_000 if task == "quadruped_run" else 1_000_000,
    )  # fmt: skip
    if preset == "laptop" and named.is_named(task):
        stage = with_frames(stage, 40_000, 8, learner=replace(learner, noise_steps=25_000), rows=2, batch=64, every=1)
    elif preset == "laptop":
        stage = with_frames(stage, 120_000, 12, learner=replace(learner, noise_steps=40_000), rows=2, batch=128)
    else:
        stage = with_frames(stage, frames, frames // 20_000)
    return tiny({"scratch": stage}, pixels=True) if preset == "tiny" else {"scratch": stage}


def scratch(preset: Preset = "laptop", task: str = "pendulum_swingup", variant: str = "", observations: str = "") -> Stages:
    """Baseline without pre-training: same learner and representation, the task's reward from the first step, as many frames as both phases.

    sensorium train scratch.walker_run --observations states      # variants: pixels official or urlb; states urlb
    sensorium train scratch.gym:HalfCheetah-v5                    # states are the default here, and pixels in the control suite
    published: none
    """
    observations = observations or ("states" if named.is_named(task) else "pixels")
    if observations not in ("pixels", "states"):
        raise Usage(f"observations cannot be '{observations}'; allowed: pixels, states")
    large: Preset = "laptop" if preset == "tiny" else preset
    if observations == "states":
        variant_of(variant or "urlb", ("urlb",))
        both = proto_states(large, task)
    else:
        both = proto_pixels(large, task, variant or "official")
    explore, tune = both["pretrain"], both["finetune"]
    assert isinstance(explore, Pretrain)
    assert isinstance(tune, Finetune)
    stage = Scratch(
        tune.world, tune.learner, proto=tune.proto, rows=tune.rows, batch=tune.batch, every=tune.every, random=explore.random, warmup=explore.warmup,
        capacity=explore.capacity + tune.capacity, evaluate_every=tune.evaluate_every, steps=explore.steps + tune.steps,
    )  # fmt: skip
    if preset != "paper" and observations == "states":
        # no representation: the encoder of a vector is the identity
        stage = replace(stage, proto=Proto(prototypes=0, by_critic=True))
    return tiny({"scratch": stage}, observations == "pixels") if preset == "tiny" else {"scratch": stage}


CONTROL = ("control",)
PROTO_PIXELS = Recipe(
    "proto-pixels", proto_pixels, "728 on pendulum_swingup (seed 0, 100 episodes); paper 847 (figure 4, digitised)", {"tiny": 0.5, "laptop": 102, "paper": 6000}, CONTROL
)  # fmt: skip
PROTO_STATES = Recipe(
    "proto-states", proto_states, "577 on walker_run (seed 0, 100 episodes); 225 in MOSS's re-run of URLB", {"tiny": 0.5, "laptop": 40, "paper": 3000}, CONTROL
)  # fmt: skip
DRQ_V2 = Recipe(
    "drq-v2", drq_v2, "not measured yet; the authors' curves 840 +- 26 on pendulum_swingup", {"tiny": 0.5, "laptop": 120, "paper": 6000}, CONTROL
)  # fmt: skip
SCRATCH = Recipe(
    "scratch",
    scratch,
    "0.5 on pendulum_swingup; 345 and 555 on walker_run from states after 100,000 frames (seeds 0 and 1); no published number",
    {"tiny": 0.5, "laptop": 120, "paper": 6000},
    CONTROL,
)
