"""Functions and torch modules on batches of observations as policies without memory."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor, nn

from sensorium.core.errors import Failure
from sensorium.policies.actions import Actions, uncompiled


class FunctionPolicy:
    """A function from observations [rows, ...] to actions [rows, actions], choices [rows] or logits. It is never compiled."""

    members = 1

    def __init__(self, function: Callable[[Any], Any], actions: Actions, arrays: Literal["torch", "numpy"]):
        self.function, self.actions, self.arrays = function, actions, arrays

    def take(self, members: Int[Tensor, "some"]) -> "FunctionPolicy":
        return self

    def begin(self, seeds: Int[Tensor, "rows"]) -> tuple[()]:
        return ()

    @uncompiled
    def act(self, obs: Tensor, memory: tuple[()], t: int | Tensor) -> tuple[Tensor, tuple[()]]:
        # a copy, because the function may write to it
        given = obs.clone() if self.arrays == "torch" else obs.cpu().numpy().copy()
        try:
            with torch.no_grad():
                found = self.function(given)
        except (TypeError, AttributeError) as error:
            what, other = ("a torch tensor", "numpy") if self.arrays == "torch" else ("a NumPy array", "torch")
            raise Failure(
                f"the function failed ({type(error).__name__}: {str(error).splitlines()[0]}); "
                f"it was given {what} {list(obs.shape)}, arrays='{other}' gives it the other kind"
            ) from error
        return self.actions(found, len(obs), obs.device), memory


class ModulePolicy:
    """A torch module from observations to actions or logits, in evaluation mode, without gradients, on the device of its parameters."""

    members = 1

    def __init__(self, module: nn.Module, actions: Actions):
        self.module, self.actions = module, actions

    def take(self, members: Int[Tensor, "some"]) -> "ModulePolicy":
        return self

    def begin(self, seeds: Int[Tensor, "rows"]) -> tuple[()]:
        self.module.eval()
        return ()

    @uncompiled
    def act(self, obs: Tensor, memory: tuple[()], t: int | Tensor) -> tuple[Tensor, tuple[()]]:
        device = next((parameter.device for parameter in self.module.parameters()), obs.device)
        with torch.no_grad():
            found = self.module(obs.to(device))
        return self.actions(found, len(obs), obs.device), memory
