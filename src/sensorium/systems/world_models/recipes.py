"""Settings that reproduce the paper's numbers (Ha & Schmidhuber 2018, tables 1 and 2). Two cores of an AMD Zen 5 unless said otherwise."""

from dataclasses import replace

from sensorium.core.recipe import Preset, Recipe, Stages
from sensorium.core.stage import Folder
from sensorium.envs.car_racing import CarRacing
from sensorium.envs.take_cover import TakeCover
from sensorium.es.cma import CMA
from sensorium.systems.world_models.model import HeldActions, Linear
from sensorium.systems.world_models.stages import Collect, Controller, Memory, Vision

CAR, DOOM = CarRacing(), TakeCover(engine="vizdoom", faithful=True)


def tiny(stages: Stages, world: CarRacing | TakeCover) -> Stages:
    """A few seconds of everything, eager: what the tests run."""
    small = {
        "collect": {"world": world, "rows": 4, "steps": 2, "shortest": 0},
        "vision": {"batch": 4, "updates": 2, "group": 2, "steps": 2, "checkpoint_every": 1, "half": False, "compile": False},
        "memory": {"batch": 2, "length": 12, "updates": 2, "hidden": 16, "steps": 2, "checkpoint_every": 1, "half": False, "compile": False},
        "controller": {
            "world": world, "search": CMA(population=6, sigma=0.1), "episodes": 1, "block": 2, "evaluate_every": 2, "evaluation_episodes": 4, "steps": 2,
            "half": False, "compile": False,
        },
    }  # fmt: skip
    shrunk = {name: replace(stage, **small[name]) for name, stage in stages.items()}  # type: ignore[type-var]
    controller = shrunk["controller"]
    assert isinstance(controller, Controller)
    shrunk["controller"] = replace(controller, controller=replace(controller.controller, hidden=16))
    return shrunk


def car(preset: Preset, controller: Linear, *, reward: bool = False) -> Stages:
    """V, M and C for CarRacing. A controller that reads z alone needs no M."""
    collect, vision = Collect(world=CAR, steps=64), Vision(episodes=Folder("../1-collect"), latents=32, steps=140)
    memory = Memory(reward=reward, steps=150)
    evolve = Controller(world=CAR, controller=controller, episodes=2, steps=75, evaluate_every=15, block=16)
    if preset == "paper":
        collect, vision = replace(collect, steps=625), replace(vision, steps=1000)
        memory, evolve = (
            replace(memory, steps=400),
            Controller(world=CAR, controller=controller, steps=1800, evaluation_episodes=1024, block=4),
        )
    stages: Stages = {"collect": collect, "vision": vision}
    if controller.remembers or reward:
        stages.update({"memory": memory, "controller": evolve})
    else:
        stages.update({"controller": replace(evolve, memory=Folder(""))})
    return tiny(stages, CarRacing(horizon=30)) if preset == "tiny" else stages


def car_racing(preset: Preset = "laptop") -> Stages:
    """The full world model drives: C reads z and h.

    sensorium train car-racing
    published: 906 +- 21 over 100 tracks (table 1; 1,800 generations, 47 days of 64 processors)
    """
    return car(preset, Linear("zh"))


def car_racing_z(preset: Preset = "laptop") -> Stages:
    """V drives without M: C reads z alone.

    sensorium train car-racing-z
    published: 632 +- 251 over 100 tracks (table 1)
    """
    return car(preset, Linear("z"))


def car_racing_z_hidden(preset: Preset = "laptop") -> Stages:
    """V drives without M, through a hidden layer of 40.

    sensorium train car-racing-z-hidden
    published: 788 +- 141 over 100 tracks (table 1)
    """
    return car(preset, Linear("z-hidden"))


def car_racing_dream(preset: Preset = "laptop") -> Stages:
    """M also predicts the reward; C evolves in the dream only, and drives the real car.

    sensorium train car-racing-dream
    published: nothing; the paper dreams of CarRacing only to look at it
    """
    stages = car(preset, Linear("zh"), reward=True)
    evolve = stages["controller"]
    assert isinstance(evolve, Controller)
    dreamt = replace(evolve, dream=True)
    if preset == "laptop":
        dreamt = replace(dreamt, episodes=8, steps=200, evaluate_every=20)
    return {**stages, "controller": dreamt}


def take_cover(preset: Preset = "laptop", temperature: float = 1.15) -> Stages:
    """C evolves in the dream only, and plays the real game.

    sensorium train take-cover --temperature 1.15
    published: 1092 +- 556 over 100 episodes at temperature 1.15 (table 2; 54 hours of 64 processors for C)
    """
    collect = Collect(world=DOOM, player=HeldActions(), shortest=100, steps=100)
    vision = Vision(latents=64, group=100, steps=140)
    memory = Memory(hidden=512, restart=True, sequences="streams", length=499, decay=0.99999, steps=180)
    controller = Linear("zch", latents=64, hidden=512, actions=1, bias=False, car=False)
    evolve = Controller(world=DOOM, controller=controller, dream=True, temperature=temperature, steps=300, evaluation_episodes=1024)
    stages: Stages = {"collect": collect, "vision": vision, "memory": memory, "controller": evolve}
    if preset == "paper":
        stages.update(
            {"collect": replace(collect, steps=800), "vision": replace(vision, steps=3081), "memory": replace(memory, steps=2440)}
        )
        stages.update({"controller": replace(evolve, steps=1800)})
    return tiny(stages, TakeCover(horizon=30)) if preset == "tiny" else stages


CAR_RACING = Recipe(
    "car-racing", car_racing, "not measured yet; paper 906 +- 21 (100 tracks, table 1)", {"tiny": 0.5, "laptop": 140, "paper": 20000}, ("envpool",)
)  # fmt: skip
CAR_RACING_Z = Recipe(
    "car-racing-z", car_racing_z, "not measured yet; paper 632 +- 251 (100 tracks, table 1)", {"tiny": 0.5, "laptop": 120, "paper": 20000}, ("envpool",)
)  # fmt: skip
CAR_RACING_Z_HIDDEN = Recipe(
    "car-racing-z-hidden", car_racing_z_hidden, "not measured yet; paper 788 +- 141 (100 tracks, table 1)",
    {"tiny": 0.5, "laptop": 120, "paper": 20000}, ("envpool",),
)  # fmt: skip
CAR_RACING_DREAM = Recipe(
    "car-racing-dream", car_racing_dream, "not measured yet; not in the paper", {"tiny": 0.5, "laptop": 120, "paper": 2000}, ("envpool",)
)  # fmt: skip
TAKE_COVER = Recipe(
    "take-cover", take_cover, "not measured yet; paper 1092 +- 556 (100 episodes, table 2)", {"tiny": 0.5, "laptop": 140, "paper": 3000}, ("doom",)
)  # fmt: skip
