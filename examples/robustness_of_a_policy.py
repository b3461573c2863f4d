"""How much of its return does an ordinary policy keep when its observations are disturbed? A Stable-Baselines3 model in the senses suite.

    python examples/robustness_of_a_policy.py --world CartPole-v1 --steps 100000 --out runs/robustness
    python examples/robustness_of_a_policy.py --world LunarLander-v3 --algorithm PPO --model model.zip

Trains the model, unless its file is given, and plays it under every treatment of the suite with the same seeds. Prints a table, and writes
senses.json and senses.html.
"""

import argparse
import json
from pathlib import Path

import stable_baselines3
import torch
from stable_baselines3.common.env_util import make_vec_env

import sensorium
from sensorium.robustness.page import page, text
from sensorium.viz.report import write


def main() -> None:
    """Train or load, then examine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", default="CartPole-v1", help="a Gymnasium environment with a vector of observations")
    parser.add_argument("--algorithm", default="PPO", choices=("PPO", "A2C", "SAC", "TD3", "DDPG", "DQN"))
    parser.add_argument("--model", help="a saved model of your own: the file can run code")
    parser.add_argument("--steps", type=int, default=100_000, help="environment steps of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=100, help="episodes under each treatment")
    parser.add_argument("--out", type=Path, default=Path("runs/robustness"))
    options = parser.parse_args()

    torch.set_num_threads(1)
    algorithm = getattr(stable_baselines3, options.algorithm)
    if options.model:
        model = algorithm.load(options.model, device="cpu")
    else:
        model = algorithm("MlpPolicy", make_vec_env(options.world, 4, seed=options.seed), seed=options.seed, device="cpu").learn(
            options.steps
        )

    world = sensorium.world(f"gym:{options.world}")
    document = sensorium.senses(world, sensorium.policy(model, world), options.episodes, seed=1_000_000 + options.seed)
    document["agent"] = f"{options.algorithm} in {options.world}"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "senses.json").write_text(json.dumps(document, indent=1))
    print(text(document))
    print(f"written: {write(options.out, page([document]), 'senses.html')}")


if __name__ == "__main__":
    main()
