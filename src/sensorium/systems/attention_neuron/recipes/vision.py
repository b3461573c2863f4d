"""Recipes for Pong and CarRacing from shuffled patches (Tang & Ha 2021, figure 5 and table 4)."""

from dataclasses import replace
from typing import Any

from sensorium.core import zoo
from sensorium.core.recipe import Preset, Recipe, Stages
from sensorium.core.stage import NOWHERE, Folder
from sensorium.envs.car_racing import CarPatches
from sensorium.envs.pong import Pong, PongMemory
from sensorium.es.cma import CMA
from sensorium.es.evolve import Evolve
from sensorium.es.pgpe import PGPE
from sensorium.imitation.clone import Clone
from sensorium.imitation.demonstrate import Demonstrate
from sensorium.imitation.pong_planner import Planner
from sensorium.imitation.scripted import Scripted
from sensorium.systems.attention_neuron.model import VisionNeurons, VotingAgent
from sensorium.systems.attention_neuron.recipes.clone import CAR_STUDENT, CONSTANT, PONG_STUDENT, clone_rounds, demonstrate_and_clone


def car_patches(preset: Preset = "laptop") -> Stages:
    """The agent for CarRacing from shuffled grey patches, by evolution.

    sensorium train car-patches --preset paper   # CMA-ES, population 256, 16 episodes, 4,000 generations
    published: 801 +- 147 over 100 tracks, in order and shuffled (table 4; 256 processors, 10 days)
    """
    evolve = Evolve(world=CarPatches(), agent=VotingAgent(), search=CMA(population=256, sigma=0.1), block=2, steps=4000, checkpoint_every=1)
    if preset == "paper":
        return {"evolve": evolve}
    search = PGPE(population=64, sigma=0.1, optimizer="clipup", learning_rate=0.5, max_speed=0.4)
    evolve = replace(evolve, search=search, episodes=1, init_scale=1.0, steps=100, evaluate_every=10, evaluation_episodes=32)
    if preset == "laptop":
        return {"evolve": evolve}
    agent = VotingAgent(VisionNeurons(code=64, width=4), compile=False)
    small = {
        "world": CarPatches(horizon=10),
        "agent": agent,
        "search": PGPE(population=4),
        "steps": 4,
        "checkpoint_every": 2,
        "evaluate_every": 2,
    }
    return {"evolve": replace(evolve, **small, evaluation_episodes=2, compile=False)}


def car_patches_clone(preset: Preset = "laptop", teacher: Folder = NOWHERE, rounds: int = 0) -> Stages:
    """An agent for CarRacing from shuffled grey patches, cloned from a World Models agent with colour frames.

    sensorium train car-patches-clone --teacher zoo/car-racing
    published: none for a clone; 801 +- 147 by evolution (100 tracks, table 4)
    """
    before: Stages = {}
    if not teacher and preset == "tiny":
        # an untrained teacher
        before, teacher = {"teacher": car_patches("tiny")["evolve"]}, Folder("../1-teacher")
    teach, clone = demonstrate_and_clone(CarPatches(), CAR_STUDENT, teacher or str(zoo.FOLDER / "car-racing"))
    return clone_rounds(preset, before, replace(teach, steps=8), replace(clone, steps=60), rounds or (3 if preset == "laptop" else 1))


ROUNDS: dict[str, dict[str, Any]] = {
    "clone": {"steps": 80}, "teach-2": {"teacher_share": 0.5}, "teach-3": {"teacher_share": 0.333, "steps": 8}, "teach-4": {"teacher_share": 0.25, "steps": 5},
    "clone-4": {"steps": 45, "learning_rate": 5e-4, "half_life": 1500, "evaluate_every": 45},
}  # fmt: skip
"""settings of the rounds of Pong in the laptop preset; the last round has a smaller learning rate"""


def pong_clone(preset: Preset = "laptop", teacher: Folder = NOWHERE, rounds: int = 0, sensor_dropout: float = 0.0) -> Stages:
    """The agent for Pong from shuffled patches, cloned from `Planner`. `sensor_dropout` is the share of patches occluded in training.

    sensorium train pong-clone --sensor-dropout 0.5
    published: 21 in order and shuffled without occlusion (figure 5; teacher by PPO; 1 day on a V100)
    """
    script = Scripted(PongMemory(), Planner()) if preset != "tiny" else Scripted(PongMemory(horizon=12), Planner(), episodes=2)
    before: Stages = {} if teacher else {"teacher": script}
    teach, clone = demonstrate_and_clone(Pong(), PONG_STUDENT, teacher or "../1-teacher")
    if preset == "paper":
        # 1,000 episodes of the teacher only, with its output for every button as target
        teach = replace(teach, student_world=Pong(), action_noise=0.0, steps=63)
        clone = replace(clone, loss="mse", batch=256, steps=2000, half_life=CONSTANT)
    stages = clone_rounds(preset, before, teach, replace(clone, sensor_dropout=sensor_dropout), rounds or (4 if preset == "laptop" else 1))
    if preset != "laptop":
        return stages
    return {
        name: replace(stage, **ROUNDS.get(name, {})) if isinstance(stage, (Demonstrate, Clone)) else stage for name, stage in stages.items()
    }


CAR_PATCHES = Recipe(
    "car-patches", car_patches, "not measured; paper 801 +- 147 (100 tracks, table 4), the authors' weights here 801 +- 117",
    {"tiny": 0.2, "laptop": 140, "paper": 14000}, ("envpool",),
)  # fmt: skip
CAR_PATCHES_CLONE = Recipe(
    "car-patches-clone", car_patches_clone, "652 +- 192 (seed 0, 64 tracks, shuffled); paper 801 +- 147 by evolution (100 tracks, table 4)",
    {"tiny": 0.3, "laptop": 55, "paper": 55}, ("envpool",),
)  # fmt: skip
PONG_CLONE = Recipe(
    "pong-clone", pong_clone, "21 +- 0 (seed 0, 100 games, shuffled); paper 21 (100 games, shuffled, figure 5)", {"tiny": 0.3, "laptop": 95, "paper": 3000}, ("envpool",)
)  # fmt: skip
