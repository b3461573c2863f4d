"""An environment that is defined in this script: permutation-invariant neurons evolved in it, and the ordinary network beside them.

    python examples/evolve_your_environment.py --out runs/tracker

Prints the mean return of both, with the sensors in order and shuffled.
"""

import argparse
from dataclasses import replace

import gymnasium
import numpy as np

import sensorium
from sensorium.registry import recipe


class Tracker(gymnasium.Env):
    """A cart on a line follows a target that changes its place now and then. Observed are the place, the speed and the target."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.speed, self.target = 0.0, 0.0, float(self.np_random.uniform(-2, 2))
        return self._observation(), {}

    def step(self, action):
        self.speed = 0.9 * self.speed + 0.1 * float(action[0])
        self.place += self.speed
        if self.np_random.random() < 0.02:
            self.target = float(self.np_random.uniform(-2, 2))
        return self._observation(), 1.0 - min(1.0, abs(self.place - self.target)), False, False, {}

    def _observation(self):
        return np.array([self.place, self.speed, self.target], dtype=np.float32)


def main() -> None:
    """Evolve both agents, compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="laptop", choices=("tiny", "laptop"))
    parser.add_argument("--generations", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=100, help="episodes of each evaluation")
    parser.add_argument("--out", default="runs/tracker")
    options = parser.parse_args()

    gymnasium.register("Tracker-v0", entry_point=Tracker, max_episode_steps=100)
    for method in ("neurons", "neurons-mlp"):
        name = f"{method}.gym:Tracker-v0"
        stages = recipe(name).stages(options.preset)
        stages = {key: replace(stage, steps=options.generations) for key, stage in stages.items()}
        # other processes do not know a class of this script
        folder = sensorium.train(name, options.preset, f"{options.out}/{method}", options.seed, on="here", stages=stages)
        for senses in ("", "shuffle"):
            found = sensorium.evaluate(folder, options.episodes, seed=1_000_000 + options.seed, senses=senses)
            low, high = found["ci95"]
            print(f"{method}, {'shuffled' if senses else 'in order'}: {found['mean']:.1f} [{low:.1f}, {high:.1f}]")


if __name__ == "__main__":
    main()
