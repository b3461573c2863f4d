"""An ordinary policy becomes one that does not depend on the order of its sensors: PPO of Stable-Baselines3, cloned into sensory neurons.

    python examples/clone_any_policy.py --world LunarLander-v3 --steps 1000000 --out runs/lander

Trains PPO, clones it by DAgger, and prints the returns of both, with the sensors in order and shuffled, over episodes with new seeds.
"""

import argparse

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

import sensorium


def main() -> None:
    """Train, clone, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", default="LunarLander-v3", help="a Gymnasium environment with a vector of observations")
    parser.add_argument("--steps", type=int, default=1_000_000, help="environment steps of PPO")
    parser.add_argument("--rounds", type=int, default=8, help="rounds of DAgger")
    parser.add_argument("--preset", default="laptop", choices=("tiny", "laptop"), help="size of the clone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=100, help="episodes of each evaluation")
    parser.add_argument("--out", default="runs/clone-of-ppo")
    options = parser.parse_args()

    torch.set_num_threads(1)
    model = PPO("MlpPolicy", make_vec_env(options.world, 16, seed=options.seed), n_steps=256, gamma=0.999, seed=options.seed, device="cpu")
    model.learn(options.steps)
    world = sensorium.world(f"gym:{options.world}")
    teacher = sensorium.policy(model, world)
    folder = sensorium.clone(world, teacher, options.out, options.preset, options.seed, rounds=options.rounds)
    for name, agent in (("teacher", teacher), ("clone", sensorium.load(folder))):
        for senses in ("", "shuffle"):
            found = sensorium.evaluate(agent, options.episodes, seed=1_000_000 + options.seed, senses=senses, world=world)
            low, high = found["ci95"]
            print(f"{name}, {'shuffled' if senses else 'in order'}: {found['mean']:.1f} [{low:.1f}, {high:.1f}]")


if __name__ == "__main__":
    main()
