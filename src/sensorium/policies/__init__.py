"""Policies from outside: functions, torch modules, Stable-Baselines3 models and ONNX files."""

from pathlib import Path
from typing import Any, Literal

from torch import nn

from sensorium.core.env import World
from sensorium.core.errors import Usage
from sensorium.core.policy import Policy
from sensorium.policies.actions import Actions, Units


def policy(
    source: Any, world: World | None = None, *, deterministic: bool = True, units: Units | None = None,
    arrays: Literal["torch", "numpy"] | None = None, normalise: Any = None,
) -> Policy:  # fmt: skip
    """The Policy of a function, a torch module, a Stable-Baselines3 or sb3-contrib model, or an ONNX file (a path or its bytes).

    `deterministic` False samples the actions of a Stable-Baselines3 model. `units` says what the source returns: the actions that the world
    takes ("world"), or the environment's own, which `EnvSpec.bounds` scales to [-1, 1] ("environment"); default: "environment" for
    Stable-Baselines3, else "world". `arrays`: what a function is given, torch tensors or NumPy arrays. `normalise`: the VecNormalize of a
    Stable-Baselines3 model; default: the one of the model's own environment.
    Errors: core.errors.Usage for a source or an option that does not fit, core.errors.Failure for an invalid ONNX file; when the policy
    acts, core.errors.Failure for actions of another shape, for NaN, and for observations that it does not take.
    """
    from sensorium.policies import stable_baselines

    spec = world.spec if world is not None else None
    if stable_baselines.made(source):
        if arrays is not None:
            raise Usage("arrays is for functions; a Stable-Baselines3 model converts its observations itself")
        return stable_baselines.adapted(source, spec, deterministic, units or "environment", normalise)
    name = f"the {'module' if isinstance(source, nn.Module) else 'ONNX file' if isinstance(source, (str, Path, bytes)) else 'function'}"
    if not deterministic or normalise is not None:
        option = "normalise" if deterministic else "deterministic=False"
        raise Usage(f"{option} is for Stable-Baselines3 models, not for {name}")
    if units == "environment" and spec is None:
        raise Usage("units='environment' needs the world, whose bounds scale the actions")
    actions = Actions(name, spec, units or "world")
    if arrays is not None and (isinstance(source, (nn.Module, str, Path, bytes)) or arrays not in ("torch", "numpy")):
        raise Usage(f"arrays cannot be '{arrays}' for {name}; allowed: torch or numpy for functions")
    if isinstance(source, nn.Module):
        from sensorium.policies.callables import ModulePolicy

        return ModulePolicy(source, actions)
    if isinstance(source, (str, Path, bytes)):
        from sensorium.policies.onnx import OnnxPolicy, read

        data = source if isinstance(source, bytes) else read(Path(source))
        return OnnxPolicy(data, actions)
    if callable(source):
        from sensorium.policies.callables import FunctionPolicy

        return FunctionPolicy(source, actions, arrays or "torch")
    raise Usage(
        f"a {type(source).__name__} is no policy; allowed: a function, a torch module, a Stable-Baselines3 model, an ONNX file (path or bytes)"
    )
