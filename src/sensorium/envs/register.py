"""Our names in Gymnasium's registry, as strings: nothing of ours is imported for them. `import sensorium` is enough."""

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
    gymnasium.register("sensorium/Awake-v0", entry_point="sensorium.systems.world_models.gym:awake")
