"""Our names in Gymnasium's registry, as strings: nothing of ours is imported for them. `import sensorium` is enough."""

import gymnasium


def register() -> None:
    """Make `gymnasium.make("sensorium/CartPoleSwingUpHarder-v0")` and `gymnasium.make_vec` work."""
    gymnasium.register(
        "sensorium/CartPoleSwingUpHarder-v0",
        entry_point="sensorium.envs.gym:cart_pole",
        vector_entry_point="sensorium.envs.gym:cart_pole_vector",
    )
