"""The ask/tell interface of evolution strategies; all maximise."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

State = dict[str, Tensor]
"""tensors, including `mean`; complete, so that a resumed search equals an uninterrupted one"""


@runtime_checkable
class Strategy(Protocol):
    """A frozen dataclass of settings; `ask` is pure, `tell` updates the state in place."""

    @property
    def population(self) -> int:
        """candidates per generation"""
        ...

    def init(self, mean: Float[Tensor, "n"]) -> State: ...

    def ask(self, state: State, seed: int) -> Float[Tensor, "population n"]: ...

    def tell(self, state: State, candidates: Float[Tensor, "population n"], fitness: Float[Tensor, "population"]) -> None: ...
