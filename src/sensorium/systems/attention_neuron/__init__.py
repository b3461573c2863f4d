"""AttentionNeuron (Tang & Ha 2021): permutation-invariant sensory neurons."""

_HERE = "sensorium.systems.attention_neuron"

PARTS = {
    "evolve": f"{_HERE}.stages:Evolve",
    "clone": f"{_HERE}.stages:Clone",
    "sensory-agent": f"{_HERE}.model:SensoryAgent",
    "feed-forward-agent": f"{_HERE}.model:FeedForwardAgent",
}
RECIPES = {
    "cart-pole": f"{_HERE}.recipes:CART_POLE",
    "cart-pole-clone": f"{_HERE}.recipes:CART_POLE_CLONE",
    "cart-pole-mlp": f"{_HERE}.recipes:CART_POLE_MLP",
    "cart-pole-mlp-10": f"{_HERE}.recipes:CART_POLE_MLP_10",
    "cart-pole-mlp-shuffled": f"{_HERE}.recipes:CART_POLE_MLP_SHUFFLED",
}
TABLES = {
    "cart-pole": f"{_HERE}.tables:cart_pole",
    "cart-pole-reshuffle": f"{_HERE}.tables:cart_pole_reshuffle",
    "cart-pole-probe": f"{_HERE}.tables:cart_pole_probe",
}
IMPORTS = {"cart-pole": f"{_HERE}.official:cart_pole"}
REPORT = f"{_HERE}.figures:sections"
