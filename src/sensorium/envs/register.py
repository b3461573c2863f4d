"""Registration of our Gymnasium ids, with entry points as strings that are imported on use. `import sensorium` calls it."""

import gymnasium


def register() -> None:
    """Make `gymnasium.make("sensorium/...")` and `gymnasium.make_vec` work."""
    gymnasium.register(
        "sensorium/CartPoleSwingUpHarder-v0",
        entry_point="sensorium.envs.gym:cart_pole",
        vector_entry_point="sensorium.envs.gym:cart_pole_vector",
    )
    gymnasium.register(
        "sensorium/Dream-v0",
        entry_point="sensorium.systems.world_models.gym:dream",
        vector_entry_point="sensorium.systems.world_models.gym:dream_vector",
    )
    gymnasium.register(
        "sensorium/Awake-v0",
        entry_point="sensorium.systems.world_models.gym:awake",
        vector_entry_point="sensorium.systems.world_models.gym:awake_vector",
    )
