"""AttentionNeuron (Tang & Ha 2021): permutation-invariant sensory neurons."""

_HERE = "sensorium.systems.attention_neuron"

PARTS = {
    "sensory-agent": f"{_HERE}.model.sensory:SensoryAgent",
    "feed-forward-agent": f"{_HERE}.model.sensory:FeedForwardAgent",
    "vision-neurons": f"{_HERE}.model.vision:VisionNeurons",
    "voting-agent": f"{_HERE}.model.voting:VotingAgent",
    "attention-agent": f"{_HERE}.model.voting:AttentionAgent",
    "pong-agent": f"{_HERE}.model.pong:PongAgent",
}
RECIPES = {
    "cart-pole": f"{_HERE}.recipes:CART_POLE",
    "cart-pole-clone": f"{_HERE}.recipes:CART_POLE_CLONE",
    "cart-pole-ascend": f"{_HERE}.recipes:CART_POLE_ASCEND",
    "cart-pole-mlp": f"{_HERE}.recipes:CART_POLE_MLP",
    "cart-pole-mlp-10": f"{_HERE}.recipes:CART_POLE_MLP_10",
    "cart-pole-mlp-shuffled": f"{_HERE}.recipes:CART_POLE_MLP_SHUFFLED",
    "ant": f"{_HERE}.recipes:ANT",
    "ant-teacher": f"{_HERE}.recipes:ANT_TEACHER",
    "ant-clone": f"{_HERE}.recipes:ANT_CLONE",
    "pong-clone": f"{_HERE}.recipes:PONG_CLONE",
    "car-patches": f"{_HERE}.recipes:CAR_PATCHES",
    "car-patches-clone": f"{_HERE}.recipes:CAR_PATCHES_CLONE",
    "clone": f"{_HERE}.recipes:CLONE",
    "neurons": f"{_HERE}.recipes:NEURONS",
    "neurons-mlp": f"{_HERE}.recipes:NEURONS_MLP",
}
TABLES = {
    "cart-pole": f"{_HERE}.tables:cart_pole",
    "cart-pole-reshuffle": f"{_HERE}.tables:cart_pole_reshuffle",
    "cart-pole-probe": f"{_HERE}.tables:cart_pole_probe",
    "ant": f"{_HERE}.tables:ant",
    "pong": f"{_HERE}.tables:pong",
    "car-racing": f"{_HERE}.tables:car_racing",
    "reshuffle": f"{_HERE}.tables:reshuffle",
}
IMPORTS = {
    "cart-pole": f"{_HERE}.official:cart_pole",
    "ant": f"{_HERE}.official:ant",
    "ant-mlp": f"{_HERE}.official:ant_mlp",
    "car-racing": f"{_HERE}.official:car_racing",
    "attention-agent": f"{_HERE}.official:attention_agent",
    "pong": f"{_HERE}.official:pong",
}
REPORT = f"{_HERE}.figures:sections"
