"""Proto-RL (Yarats et al. 2021): explore without reward, rewarded by the distance to recent codes, then fine-tune on a task."""

_HERE = "sensorium.systems.proto_rl"

PARTS = {
    "pretrain": f"{_HERE}.stages:Pretrain",
    "finetune": f"{_HERE}.stages:Finetune",
    "scratch": f"{_HERE}.stages:Scratch",
    "proto": f"{_HERE}.model:Proto",
}
RECIPES = {
    "proto-pixels": f"{_HERE}.recipes:PROTO_PIXELS",
    "proto-states": f"{_HERE}.recipes:PROTO_STATES",
    "drq-v2": f"{_HERE}.recipes:DRQ_V2",
    "scratch": f"{_HERE}.recipes:SCRATCH",
}
TABLES = {
    "pixels": f"{_HERE}.tables:pixels",
    "urlb-states": f"{_HERE}.tables:urlb_states",
}
IMPORTS: dict[str, str] = {}
"""the authors published no weights"""
REPORT = f"{_HERE}.figures:sections"
