"""PPO of Stable-Baselines3 on a cart-pole whose sensors are in a new order in every episode: an MLP, and the MLP behind our extractor.

    python examples/ppo_under_shuffling.py --policy mlp
    python examples/ppo_under_shuffling.py --policy attention

Both have the last eight observations. Prints the mean and sd of the return over episodes with new seeds, each with an order of its own.
"""

import argparse

import gymnasium
import numpy as np
import torch
from gymnasium.wrappers import FrameStackObservation
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

import sensorium.gym
import sensorium.sb3

POLICIES = {"mlp": {}, "attention": {"features_extractor_class": sensorium.sb3.AttentionExtractor}}


def make(world: str, senses: str, stack: int) -> gymnasium.Env:
    """The environment with treated senses and stacked observations."""
    return FrameStackObservation(sensorium.gym.Senses(Monitor(gymnasium.make(world)), senses), stack)


def main() -> None:
    """Train, then evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", choices=POLICIES, default="attention")
    parser.add_argument("--world", default="CartPole-v1", help="a Gymnasium environment with a vector of observations")
    parser.add_argument("--senses", default="shuffle", help="treatments in training and evaluation; '' for none")
    parser.add_argument("--stack", type=int, default=8, help="observations in a history")
    parser.add_argument("--steps", type=int, default=200_000, help="environment steps of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=100, help="episodes of the evaluation")
    options = parser.parse_args()

    torch.set_num_threads(1)
    train = DummyVecEnv([lambda: make(options.world, options.senses, options.stack)] * 8)
    rollout = min(256, max(1, options.steps // 8))
    agent = PPO(
        "MlpPolicy", train, n_steps=rollout, batch_size=min(256, 8 * rollout), learning_rate=1e-3, policy_kwargs=POLICIES[options.policy],
        seed=options.seed, device="cpu",
    )  # fmt: skip
    agent.learn(options.steps)

    test = DummyVecEnv([lambda: make(options.world, options.senses, options.stack)])
    test.seed(1_000_000 + options.seed)
    returns, _ = evaluate_policy(agent, test, options.episodes, return_episode_rewards=True)
    senses = options.senses or "as they are"
    print(
        f"{options.policy}, senses {senses}, seed {options.seed}: {np.mean(returns):.0f} +- {np.std(returns):.0f} over {options.episodes} episodes"
    )


if __name__ == "__main__":
    main()
