"""RND (Burda et al. 2018): explore without reward, with the error of a predictor network as reward, then fine-tune on a task."""

_HERE = "sensorium.systems.rnd"

PARTS = {"pretrain": f"{_HERE}.stages:Pretrain", "finetune": f"{_HERE}.stages:Finetune", "rnd": f"{_HERE}.model:RND"}
RECIPES = {"rnd-states": f"{_HERE}.recipes:RND_STATES", "rnd-pixels": f"{_HERE}.recipes:RND_PIXELS"}
TABLES: dict[str, str] = {}
IMPORTS: dict[str, str] = {}
REPORT = f"{_HERE}.figures:sections"
