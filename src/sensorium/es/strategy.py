"""What every strategy is: ask for candidates, be told how they scored, maximise."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

State = dict[str, Tensor]
"""plain tensors, `mean` among them, so that a resumed search is the same search"""


@runtime_checkable
class Strategy(Protocol):
    """A frozen dataclass of settings; `ask` changes nothing, `tell` changes the state in place."""

    @property
    def population(self) -> int:
        """candidates a generation"""
        ...

    def init(self, mean: Float[Tensor, "n"]) -> State: ...

    def ask(self, state: State, seed: int) -> Float[Tensor, "population n"]: ...

    def tell(self, state: State, candidates: Float[Tensor, "population n"], fitness: Float[Tensor, "population"]) -> None: ...
