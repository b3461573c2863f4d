"""Actions of policies from outside: checked, and converted to those of a world."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from sensorium.core.env import EnvSpec
from sensorium.core.errors import Failure, Usage

Units = Literal["world", "environment"]
"""what a policy returns: actions as the world takes them, or in the environment's own units (`EnvSpec.bounds`)"""


F = TypeVar("F")


def uncompiled(function: F) -> F:
    """The function, run as it is where a step is compiled: the code of other libraries is not traced."""
    return torch.compiler.disable(function)  # type: ignore[arg-type, return-value]


@dataclass(frozen=True)
class Actions:
    """Conversion of a policy's results to the actions of a world."""

    policy: str
    """what messages call the policy, e.g. "the function" """
    spec: EnvSpec | None = None
    """the world's; None: any number of continuous actions"""
    units: Units = "world"

    def __post_init__(self) -> None:
        if self.units not in ("world", "environment"):
            raise Usage(f"units cannot be '{self.units}'; allowed: world, environment")

    def __call__(self, found: Any, rows: int, device: torch.device) -> Float[Tensor, "rows actions"]:
        """Actions [rows, actions], of choices [rows] their one-hot vectors. Errors: core.errors.Failure for other shapes, NaN or infinity."""
        if not isinstance(found, (np.ndarray, Tensor)):
            raise Failure(f"{self.policy} returned a {type(found).__name__}; expected {self.expected(rows)}")
        try:
            action = torch.as_tensor(found).detach().to(device)
        except TypeError as error:
            raise Failure(f"{self.policy} returned an array of {found.dtype}; expected {self.expected(rows)}") from error
        if self.discrete and action.shape == (rows,) and not action.is_floating_point():
            return self.one_hot(action.long())
        shape, n = tuple(action.shape), self.spec.action if self.spec else action.shape[-1:].numel()
        if shape != (rows, n) or action.is_complex():
            kind = str(action.dtype).removeprefix("torch.")
            raise Failure(f"{self.policy} returned {kind} {list(shape)}; expected {self.expected(rows)}")
        action = action.float()
        # minus infinity is a valid logit
        wrong = action.isnan() if self.discrete else ~action.isfinite()
        if bool(wrong.any()):
            row = int(wrong.any(1).nonzero()[0])
            raise Failure(f"{self.policy} returned {float(action[row][wrong[row]][0])} in row {row}; expected finite {self.expected(rows)}")
        return self.scaled(action) if self.units == "environment" else action

    @property
    def discrete(self) -> bool:
        """Whether an action is a choice."""
        return self.spec is not None and self.spec.discrete

    def expected(self, rows: int) -> str:
        """The shapes that a policy may return, for messages."""
        n = self.spec.action if self.spec else "n"
        return f"choices [{rows}] or logits [{rows}, {n}]" if self.discrete else f"actions [{rows}, {n}]"

    def one_hot(self, choices: Tensor) -> Float[Tensor, "rows actions"]:
        """One-hot vectors of choices [rows]. Errors: core.errors.Failure for a choice that does not exist."""
        assert self.spec
        wrong = (choices < 0) | (choices >= self.spec.action)
        if bool(wrong.any()):
            raise Failure(f"{self.policy} chose {int(choices[wrong][0])}; allowed: 0 to {self.spec.action - 1}")
        return one_hot(choices, self.spec.action).float()

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """The environment's lower and upper bounds; None where the world does not scale actions."""
        if self.spec is None or not self.spec.bounds:
            return None
        low, high = torch.tensor(self.spec.bounds).unbind(1)
        return low, high

    def scaled(self, action: Float[Tensor, "rows actions"]) -> Float[Tensor, "rows actions"]:
        """Actions in the environment's units as those in [-1, 1] that the world scales back."""
        if self.bounds is None:
            return action
        low, high = (bound.to(action) for bound in self.bounds)
        return 2 * (action - low) / (high - low) - 1
