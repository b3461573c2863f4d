"""From recorded episodes to an agent that has trained in a dream only: Minari dataset -> V and M -> PPO in the dream -> the real environment.

    python examples/dream_from_data.py --out runs/from-data

Records a Minari dataset of held random actions, trains a world model on it, trains PPO of Stable-Baselines3 in the dream, and prints its
return in the dream and in the environment, before and after, beside random actions.
"""

import argparse
import os
import warnings
from pathlib import Path

import gymnasium
import minari
import numpy as np
import torch
from minari.data_collector import EpisodeBuffer
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import sensorium
from sensorium.core.policy import Uniform
from sensorium.registry import recipe


def record(world: str, name: str, episodes: int) -> None:
    """Write a Minari dataset of random actions, each held for 1 to 10 steps."""
    env, random, buffers = gymnasium.make(world), np.random.default_rng(0), []
    for number in range(episodes):
        seen, steps, over, action = [env.reset(seed=number)[0]], [], False, None
        while not over:
            if action is None or random.random() < 0.2:
                action = random.uniform(env.action_space.low, env.action_space.high).astype(np.float32)
            obs, reward, terminated, truncated, _ = env.step(action)
            seen.append(obs)
            steps.append((action, float(reward), bool(terminated), bool(truncated)))
            over = terminated or truncated
        actions, rewards, terminations, truncations = (list(part) for part in zip(*steps, strict=True))
        buffers.append(
            EpisodeBuffer(observations=np.stack(seen), actions=actions, rewards=rewards, terminations=terminations, truncations=truncations)
        )
    with warnings.catch_warnings():
        # no author is given
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            name, buffers, env=env, data_format="hdf5", algorithm_name="held random actions", description=world
        )
    env.close()


def score(agent: PPO, environment: str, episodes: int, **arguments: object) -> str:
    """Mean and sd of the return in an environment, with new seeds."""
    env = make_vec_env(environment, 1, seed=1_000_000, env_kwargs=arguments)
    returns, _ = evaluate_policy(agent, env, episodes, return_episode_rewards=True)
    env.close()
    return f"{np.mean(returns):.0f} +- {np.std(returns):.0f}"


def main() -> None:
    """Record, train the world model, train PPO in the dream, evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--world", default="Pendulum-v1", help="a Gymnasium environment with a vector of observations and continuous actions"
    )
    parser.add_argument("--record", type=int, default=200, help="recorded episodes")
    parser.add_argument("--preset", default="laptop", help="size of the world model: tiny or laptop")
    parser.add_argument("--steps", type=int, default=100_000, help="steps of PPO in the dream")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--episodes", type=int, default=100, help="episodes per evaluation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/from-data"))
    options = parser.parse_args()

    torch.set_num_threads(1)
    name = f"example/{options.world.lower()}-v0"
    os.environ["MINARI_DATASETS_PATH"] = str(options.out.absolute() / "datasets")
    if name not in minari.list_local_datasets():
        record(options.world, name, options.record)
    # C of the recipe is not needed for PPO, but a run with C can be evaluated and has a report
    run, task = options.out / "model", f"world-model.gym:{options.world}"
    stages = recipe(task).stages(options.preset, data=f"minari:{name}")
    sensorium.train(task, options.preset, run, options.seed, on="here", stages=stages)

    dream = make_vec_env("sensorium/Dream-v0", 8, seed=options.seed, env_kwargs={"run": str(run), "temperature": options.temperature})
    agent = PPO("MlpPolicy", dream, n_steps=min(256, max(options.steps // 8, 2)), batch_size=min(64, max(options.steps // 8, 2)), gamma=0.95, seed=options.seed, device="cpu")  # fmt: skip
    for when in ("before", "after"):
        if when == "after":
            agent.learn(options.steps)
        inside = score(agent, "sensorium/Dream-v0", options.episodes, run=str(run), temperature=options.temperature)
        outside = score(agent, "sensorium/Awake-v0", options.episodes, run=str(run))
        print(f"{when} training: {inside} in the dream, {outside} in {options.world} ({options.episodes} episodes)")
    random = sensorium.play(sensorium.world(f"gym:{options.world}"), Uniform(dream.action_space.shape[0]), options.episodes, seed=7).returns
    print(f"random actions: {random.mean():.0f} +- {random.std():.0f} in {options.world}")


if __name__ == "__main__":
    main()
