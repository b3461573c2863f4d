"""World Models (Ha & Schmidhuber 2018): a VAE encodes frames, an MDN-RNN predicts the next code, a small evolved controller acts."""

_HERE = "sensorium.systems.world_models"

PARTS = {
    "collect": f"{_HERE}.stages.collect:Collect",
    "vision": f"{_HERE}.stages.vision:Vision",
    "identity": f"{_HERE}.stages.identity:Identity",
    "memory": f"{_HERE}.stages.memory:Memory",
    "controller": f"{_HERE}.stages.controller:Controller",
    "linear": f"{_HERE}.model.controller:Linear",
    "random-networks": f"{_HERE}.behaviour:RandomNetworks",
    "held-actions": f"{_HERE}.behaviour:HeldActions",
}
RECIPES = {
    "car-racing": f"{_HERE}.recipes:CAR_RACING",
    "car-racing-z": f"{_HERE}.recipes:CAR_RACING_Z",
    "car-racing-z-hidden": f"{_HERE}.recipes:CAR_RACING_Z_HIDDEN",
    "car-racing-dream": f"{_HERE}.recipes:CAR_RACING_DREAM",
    "take-cover": f"{_HERE}.recipes:TAKE_COVER",
    "iterate": f"{_HERE}.recipes:ITERATE",
    "world-model": f"{_HERE}.anywhere:WORLD_MODEL",
}
TABLES = {
    "car-racing": f"{_HERE}.tables:car_racing",
    "temperature": f"{_HERE}.tables:temperature",
    "import": f"{_HERE}.tables:imported",
}
IMPORTS = {
    "car-racing": f"{_HERE}.official:car_racing",
    "take-cover": f"{_HERE}.official:take_cover",
}
REPORT = f"{_HERE}.figures:sections"
