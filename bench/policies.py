"""A policy of Stable-Baselines3 through `play`, compared with the library's own `evaluate_policy`."""

from typing import Any

from bench.interleave import interleaved, row, seconds
from sensorium.core.errors import Failure
from sensorium.core.machine import one_thread
from sensorium.core.rollout import play
from sensorium.core.seeding import row_seeds
from sensorium.envs import worlds
from sensorium.policies import policy

ID, STEPS, EPISODES, FEW, ROUNDS = "HalfCheetah-v5", 1000, 64, 8, 3


def stable_baselines() -> list[dict[str, Any]]:
    """Steps per second of an untrained SAC with one torch thread: 64 rows of `play`, and `evaluate_policy` with one environment."""
    try:
        from stable_baselines3 import SAC
        from stable_baselines3.common.env_util import make_vec_env
        from stable_baselines3.common.evaluation import evaluate_policy
    except ImportError:
        raise Failure("this row needs Stable-Baselines3; pip install 'sensorium[sb3]'") from None
    theirs = make_vec_env(ID, 1, seed=0)
    model = SAC("MlpPolicy", theirs, seed=0, device="cpu")
    world = worlds.world(f"gym:{ID}")
    env, agent = world.open(), policy(model, world)

    def ours() -> None:
        play(env, agent, row_seeds(0, EPISODES))

    with one_thread():
        found = interleaved(
            {
                "ours": lambda: EPISODES * STEPS / seconds(ours),
                "theirs": lambda: FEW * STEPS / seconds(lambda: evaluate_policy(model, theirs, FEW)),
            },
            ROUNDS,
        )
    env.close()
    return [row("policy/stable-baselines3", found["ours"], "steps/s", "evaluate_policy", found["theirs"])]


ROWS = {"policy/stable-baselines3": stable_baselines}
