"""RND as in URLB (Laskin et al. 2021): DDPG, 2,000,000 frames without reward, 100,000 with reward. Recipe names take a task after a dot."""

from dataclasses import replace
from typing import Any

from sensorium.core.env import World, frames_per_step
from sensorium.core.recipe import Preset, Recipe, Stages
from sensorium.core.stage import NOWHERE, Folder
from sensorium.envs.control import PRIMAL, Control
from sensorium.envs.wrappers import shortened
from sensorium.rl.ddpg import DDPG
from sensorium.rl.off_policy import named
from sensorium.systems.rnd.model import RND
from sensorium.systems.rnd.stages import Finetune, Pretrain

LAPTOP: dict[bool, dict[str, Any]] = {
    False: {"frames": 100_000, "batch": 256, "every": 1, "hidden": 256, "rate": 3e-4},
    True: {"frames": 80_000, "batch": 64, "every": 2, "hidden": 1024, "rate": 3e-4},
}
"""laptop settings by whether observations are pixels: frames without reward and a smaller learner, as in the Proto-RL laptop presets; named worlds differ"""


def phases(world: World, preset: Preset, pixels: bool, pretrained: Folder, foreign: bool) -> Stages:
    """Both phases, or the second phase alone if `pretrained` names an earlier pre-training run; `foreign`: not of the control suite."""
    primal = replace(world, task=PRIMAL.get(world.domain, world.task)) if isinstance(world, Control) else world
    early, batch = 4000 // frames_per_step(world), 256 if pixels else 1024
    common: dict[str, Any] = {"batch": batch, "every": 2, "random": early, "warmup": early, "capacity": 1_000_000, "rnd": RND()}
    explore = Pretrain(primal, DDPG(returns=1), snapshots=(100_000, 500_000, 1_000_000, 2_000_000), **common)
    tune = Finetune(world, DDPG(), **common)
    frames, labelled = 2_000_000, 100_000
    if preset == "laptop" or (foreign and preset == "tiny"):
        light = LAPTOP[pixels] | ({"frames": 20_000, "every": 1} if foreign and pixels else {})  # an update for each agent step
        frames, labelled = light["frames"], min(light["frames"], labelled)
        rnd, learner = RND(hidden=light["hidden"], learning_rate=light["rate"]), {"hidden": light["hidden"], "learning_rate": light["rate"]}
        less: dict[str, Any] = {"rows": 2, "batch": light["batch"], "every": light["every"], "rnd": rnd}
        explore = replace(explore, learner=replace(DDPG(returns=1), **learner), snapshots=(), **less)
        tune = replace(tune, learner=replace(DDPG(), **learner), **less)
        if not pixels:
            explore = replace(explore, learner=named.LEARNER, **named.SETTINGS)
            tune = replace(tune, learner=named.LEARNER, keep_critic=False, **named.SETTINGS)
    stages: Stages = {} if pretrained else {"pretrain": explore.for_frames(frames, 5)}
    stages["finetune"] = replace(tune, pretrained=pretrained or tune.pretrained).for_frames(labelled, 10)
    return {name: tiny(stage) for name, stage in stages.items()} if preset == "tiny" else stages


def tiny(stage: Any) -> Any:
    """The stage in a size that runs in seconds, for tests."""
    return replace(
        stage, world=shortened(stage.world, 10), rnd=RND(outputs=8, hidden=16, channels=4), learner=replace(stage.learner, hidden=32, features=min(stage.learner.features, 8)),
        rows=2, batch=8, every=2, random=min(stage.random, 8), warmup=8, capacity=60, steps=4, checkpoint_every=2, evaluate_every=2, evaluation_episodes=2,
        bfloat16=False,
    )  # fmt: skip


def rnd_states(preset: Preset = "laptop", task: str = "walker_run", pretrained: Folder = NOWHERE) -> Stages:
    """Explore a domain from states without reward, then learn one of its tasks in 100,000 frames.

    sensorium train rnd-states.walker_run
    sensorium train rnd-states.gym:HalfCheetah-v5 --world.coverage 0,8      # any world with continuous actions and a vector of sensors
    published: 267 +- 18 on walker_run (re-run of URLB by MOSS, 2,000,000 frames without reward); none for gym:ID; laptop: 100,000 frames
    of each phase, SAC with an update for each agent step instead of DDPG with one for two
    """
    foreign = named.is_named(task)
    return phases(named.prepared(task, False, pretrained) if foreign else Control(task), preset, False, pretrained, foreign)


def rnd_pixels(preset: Preset = "laptop", task: str = "walker_run", pretrained: Folder = NOWHERE) -> Stages:
    """As `rnd_states`, from pixels: observations 9 x 84 x 84, each action repeated twice.

    sensorium train rnd-pixels.walker_run
    sensorium train rnd-pixels.gym:Pendulum-v1      # any world with continuous actions that renders images
    published: none; laptop: 80,000 frames of each phase, and 20,000 for gym:ID with an update for each agent step
    """
    if named.is_named(task):
        return phases(named.prepared(task, True, pretrained), preset, True, pretrained, True)
    return phases(Control(task, pixels=True, repeat=2, visuals="full" if preset == "paper" else "fast"), preset, True, pretrained, False)


RND_STATES = Recipe("rnd-states", rnd_states, "not measured yet; 429 on walker_run with DDPG and an update for four steps; 267 +- 18 in MOSS's re-run of URLB after 2,000,000 frames without reward", {"tiny": 0.3, "laptop": 40, "paper": 3000}, ("control",))  # fmt: skip
RND_PIXELS = Recipe("rnd-pixels", rnd_pixels, "not measured yet", {"tiny": 0.5, "laptop": 102, "paper": 6000}, ("control",))
