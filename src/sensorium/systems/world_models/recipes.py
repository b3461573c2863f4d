"""Recipes that reproduce the paper's numbers (Ha & Schmidhuber 2018, tables 1 and 2)."""

from dataclasses import replace
from typing import Any

from sensorium.core.env import World
from sensorium.core.errors import Usage
from sensorium.core.recipe import Preset, Recipe, Stages, add_stage
from sensorium.core.stage import Folder
from sensorium.envs.car_racing import CarRacing
from sensorium.envs.pixel_cart_pole import PixelCartPole
from sensorium.envs.take_cover import TakeCover
from sensorium.es.cma import CMA
from sensorium.systems.world_models.behaviour import HeldActions
from sensorium.systems.world_models.model import Linear
from sensorium.systems.world_models.stages import Collect, Controller, Identity, Memory, Vision

CAR, DOOM = CarRacing(), TakeCover(engine="vizdoom", faithful=True)


def tiny(stages: Stages, world: World) -> Stages:
    """The stages in a size that runs in seconds, not compiled, for tests."""
    eager = {"steps": 2, "checkpoint_every": 1, "bfloat16": False, "compile": False}
    small: dict[type, dict[str, Any]] = {
        Collect: {"world": world, "rows": 4, "steps": 2, "shortest": 0},
        Vision: {"batch": 4, "updates": 2, "group": 2, **eager},
        Identity: {},
        Memory: {"batch": 2, "length": 12, "updates": 2, "hidden": 16, **eager},
        Controller: {
            "world": world,
            "search": CMA(6, 0.1),
            "episodes": 1,
            "block": 2,
            "evaluate_every": 2,
            "evaluation_episodes": 4,
            **eager,
        },
    }
    shrunk = {name: replace(stage, **small[type(stage)]) for name, stage in stages.items()}  # type: ignore[type-var]
    for name, stage in shrunk.items():
        if isinstance(stage, Controller):
            shrunk[name] = replace(stage, controller=replace(stage.controller, hidden=16))
    return shrunk


def car(preset: Preset, controller: Linear, *, reward: bool = False) -> Stages:
    """V, M and C for CarRacing. If the only input of C is z, there is no M."""
    collect, vision = Collect(world=CAR, steps=64), Vision(episodes=Folder("../1-collect"), latents=32, steps=140)
    memory = Memory(reward=reward, reward_limit=10.0 if reward else 0.0, steps=150)
    evolve = Controller(world=CAR, controller=controller, episodes=2, steps=45, evaluate_every=15, block=32)
    if preset == "paper":
        collect, vision = replace(collect, steps=625), replace(vision, steps=1000)
        memory, evolve = (
            replace(memory, steps=400),
            Controller(world=CAR, controller=controller, steps=1800, evaluation_episodes=1024, block=2),
        )
    stages: Stages = {"collect": collect, "vision": vision}
    if controller.uses_memory or reward:
        stages.update({"memory": memory, "controller": evolve})
    else:
        stages.update({"controller": replace(evolve, memory=Folder(""))})
    return tiny(stages, CarRacing(horizon=30)) if preset == "tiny" else stages


def car_racing(preset: Preset = "laptop") -> Stages:
    """CarRacing with the full world model: the inputs of C are z and h.

    sensorium train car-racing
    published: 906 +- 21 over 100 tracks (table 1; 1,800 generations, 47 days of 64 processors)
    """
    return car(preset, Linear("zh"))


def car_racing_z(preset: Preset = "laptop") -> Stages:
    """CarRacing without M: the input of C is z.

    sensorium train car-racing-z
    published: 632 +- 251 over 100 tracks (table 1)
    """
    return car(preset, Linear("z"))


def car_racing_z_hidden(preset: Preset = "laptop") -> Stages:
    """CarRacing without M: the input of C is z, and C has a hidden layer of 40 units.

    sensorium train car-racing-z-hidden
    published: 788 +- 141 over 100 tracks (table 1)
    """
    return car(preset, Linear("z-hidden"))


def car_racing_dream(
    preset: Preset = "laptop", temperature: float = 1.0, rounds: int = 1, dropout: float = 0.0, dream_dropout: float = 0.0
) -> Stages:
    """CarRacing with C evolved in the dream only; M also predicts the reward, with targets clipped to +-10.

    In each further round C records 512 episodes with noise, and the training of M continues on all episodes for half as many steps.
    Then a new C evolves in the dream. V is that of the first round.

    `dropout` is that of M in training, `dream_dropout` that of M in the dream (Wellmer & Kwok 2021: 0.05 and 0.1).

    sensorium train car-racing-dream
    published: none; the paper shows dreams of CarRacing but does not train in them
    """
    stages = car(preset, Linear("zh"), reward=True)
    memory, evolve = stages["memory"], stages["controller"]
    assert isinstance(memory, Memory)
    assert isinstance(evolve, Controller)
    evolve = replace(evolve, dream=True, temperature=temperature, dropout=dream_dropout, block=0)
    if preset == "laptop":
        evolve = replace(evolve, episodes=8, steps=200, evaluate_every=20)
    stages = further_rounds({**stages, "memory": replace(memory, dropout=dropout), "controller": evolve}, rounds)
    return tiny(stages, CarRacing(horizon=30)) if preset == "tiny" else stages


def round_numbers(rounds: int) -> range:
    """The numbers of the rounds. Errors: core.errors.Usage if there is none."""
    if rounds < 1:
        raise Usage(f"rounds cannot be {rounds}; at least 1")
    return range(1, rounds + 1)


def further_rounds(stages: Stages, rounds: int) -> Stages:
    """The stages of a first round and of further ones, in which C records episodes, M is trained further, and a new C evolves."""
    stages = dict(stages)
    collect, memory, evolve = stages["collect"], stages["memory"], stages["controller"]
    assert isinstance(collect, Collect)
    assert isinstance(memory, Memory)
    assert isinstance(evolve, Controller)
    folders = {part: Folder(f"../{place}-{part}") for place, part in enumerate(stages, 1)}
    episodes, trained, agent = folders["collect"], folders["memory"], folders["controller"]
    for number in round_numbers(rounds)[1:]:
        record = replace(collect, agent=agent, noise=0.3, earlier=episodes, steps=32)
        episodes = add_stage(stages, "collect", number, record)
        train = replace(memory, episodes=episodes, start=trained, steps=memory.steps // 2)
        trained = add_stage(stages, "memory", number, train)
        agent = add_stage(stages, "controller", number, replace(evolve, memory=trained))
    return stages


def take_cover(
    preset: Preset = "laptop", temperature: float = 1.15, rounds: int = 1, dropout: float = 0.0, dream_dropout: float = 0.0
) -> Stages:
    """TakeCover with C evolved in the dream only.

    In each further round C records 512 episodes with noise, and the training of M continues on all episodes for half as many steps.
    Then a new C evolves in the dream. V is that of the first round. In the paper (section 5) V is trained in each round; it has no settings.

    `dropout` is that of M in training, `dream_dropout` that of M in the dream (Wellmer & Kwok 2021: 0.05 and 0.1).

    sensorium train take-cover --temperature 1.15
    published: 1092 +- 556 over 100 episodes at temperature 1.15 (table 2; 54 hours of 64 processors for C)
    """
    collect = Collect(world=DOOM, player=HeldActions(varied=10), shortest=100, steps=100)
    vision = Vision(latents=64, group=100, steps=140)
    memory = Memory(hidden=512, restart=True, dropout=dropout, sequences="streams", length=499, decay=0.99999, steps=120)
    controller = Linear("zch", latents=64, hidden=512, actions=1, bias=False, car=False)
    evolve = Controller(
        DOOM, controller=controller, dream=True, temperature=temperature, dropout=dream_dropout, steps=75, evaluation_episodes=1024, block=0
    )
    if preset == "paper":
        collect = replace(collect, player=HeldActions(), steps=625)
        vision, memory = replace(vision, steps=308), replace(memory, steps=2440)
        evolve = replace(evolve, steps=1800)
    stages = further_rounds({"collect": collect, "vision": vision, "memory": memory, "controller": evolve}, rounds)
    return tiny(stages, TakeCover(engine="vizdoom", horizon=30)) if preset == "tiny" else stages


def iterate(preset: Preset = "laptop", rounds: int = 4, curiosity: float = 0.0) -> Stages:
    """The iterative procedure of section 5: episodes of C train V and M, and C evolves in the dream; on a cart-pole from pixels.

    With `curiosity` a second C records the episodes. It is evolved in the real world on the reward plus M's prediction error.

    sensorium train iterate --rounds 4
    published: videos of a pendulum after 1 and 20 rounds, no numbers, no settings; `paper` equals `laptop`
    """
    world, controller = PixelCartPole(), Linear("zh", latents=16, hidden=128, actions=1, car=False)
    collect = Collect(world=world, player=HeldActions(), rows=64, steps=4)
    vision, memory, stages = Folder(""), Folder(""), Stages()
    for number in round_numbers(rounds):
        episodes = add_stage(stages, "collect", number, collect)
        train_vision = Vision(episodes, vision, latents=16, group=64, learning_rate=3e-4, steps=20)
        vision = add_stage(stages, "vision", number, train_vision)
        train_memory = Memory(
            episodes, vision, memory, hidden=128, restart=True, reward=True, action=True, sequences="streams",
            batch=64, length=125, updates=50, steps=20,
        )  # fmt: skip
        memory = add_stage(stages, "memory", number, train_memory)
        evolve = Controller(world, vision, memory, controller, dream=True, steps=80, evaluate_every=20, block=0)
        agent = add_stage(stages, "controller", number, evolve)
        if curiosity and number < rounds:
            explore = replace(evolve, dream=False, curiosity=curiosity, episodes=2, steps=20, block=8)
            agent = add_stage(stages, "explorer", number, explore)
        collect = replace(collect, agent=agent, noise=0.3, earlier=episodes)
    return tiny(stages, PixelCartPole(horizon=30)) if preset == "tiny" else stages


CAR_RACING = Recipe(
    "car-racing", car_racing, "805 +- 109 (seed 0, 100 tracks); paper 906 +- 21 (table 1)", {"tiny": 0.5, "laptop": 140, "paper": 20000}, ("envpool",)
)  # fmt: skip
CAR_RACING_Z = Recipe(
    "car-racing-z", car_racing_z, "332 +- 177 (seed 0, 100 tracks); paper 632 +- 251 (table 1)", {"tiny": 0.5, "laptop": 120, "paper": 20000}, ("envpool",)
)  # fmt: skip
CAR_RACING_Z_HIDDEN = Recipe(
    "car-racing-z-hidden", car_racing_z_hidden, "not measured yet; paper 788 +- 141 (100 tracks, table 1)",
    {"tiny": 0.5, "laptop": 120, "paper": 20000}, ("envpool",),
)  # fmt: skip
CAR_RACING_DREAM = Recipe(
    "car-racing-dream", car_racing_dream, "-60 +- 13 in one round (seed 0, 100 tracks), zoo/car-racing-dream 699 +- 223 with rounds and episodes of a driver; not in the paper", {"tiny": 0.5, "laptop": 120, "paper": 2000}, ("envpool",)
)  # fmt: skip
TAKE_COVER = Recipe(
    "take-cover", take_cover, "761 +- 496 in the game, trained in the dream only (100 episodes, seed 0); paper 1092 +- 556 (table 2)",
    {"tiny": 0.5, "laptop": 130, "paper": 3000}, ("doom",)
)  # fmt: skip
ITERATE = Recipe("iterate", iterate, "not measured yet; the paper shows videos, no numbers", {"tiny": 0.5, "laptop": 60, "paper": 60})
