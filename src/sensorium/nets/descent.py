"""Adam whose parameters and moments are a stage's state (Kingma & Ba 2015)."""

from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from sensorium.core import checkpoint
from sensorium.core.errors import Usage

State = dict[str, Tensor]

M = TypeVar("M", bound=nn.Module)


def parameters(module: nn.Module) -> State:
    """The model itself, as it lies in a state."""
    return {f"model/{name}": tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in module.named_parameters()}


def first(module: nn.Module) -> State:
    """The state of a model before its first update."""
    moments = {f"{moment}/{name}": torch.zeros_like(tensor) for moment in ("first", "second") for name, tensor in module.named_parameters()}
    return {**parameters(module), **moments, "updates": torch.zeros((), dtype=torch.int64)}


def under(name: str, state: State) -> State:
    """A state as a part of a larger one."""
    return {f"{name}/{key}": tensor for key, tensor in state.items()}


def part(name: str, state: State) -> State:
    """That part again: its tensors, not copies of them."""
    return {key.removeprefix(f"{name}/"): tensor for key, tensor in state.items() if key.startswith(f"{name}/")}


def earlier(folder: str) -> State:
    """The model of an earlier stage, for one that goes on from it with fresh moments; nothing where no folder is named."""
    if not folder:
        return {}
    loaded = checkpoint.load(Path(folder))
    if loaded is None:
        raise Usage(f"{folder} holds no trained model; train the earlier stages first")
    return {name: tensor.float() for name, tensor in loaded[1].items() if name.startswith("model/")}


def names(module: nn.Module) -> tuple[str, ...]:
    """Names of the model itself in such a state."""
    return tuple(f"model/{name}" for name, _ in module.named_parameters())


def loaded(module: M, state: State) -> M:
    """The model with the parameters of a state: its tensors, not copies of them."""
    for name, _ in list(module.named_parameters()):
        *path, leaf = name.split(".")
        parent = module.get_submodule(".".join(path))
        setattr(parent, leaf, nn.Parameter(state[f"model/{name}"]))
    return module


def optimizer(module: nn.Module, state: State, learning_rate: float) -> torch.optim.Adam:
    """Adam that goes on from a state, in place."""
    chosen = torch.optim.Adam(module.parameters(), learning_rate, fused=True)
    for name, parameter in module.named_parameters():
        # torch counts the updates of each parameter
        step = state["updates"].to(torch.float32).clone()
        chosen.state[parameter] = {"step": step, "exp_avg": state[f"first/{name}"], "exp_avg_sq": state[f"second/{name}"]}
    return chosen


def descend(loss: Tensor, *optimizers: torch.optim.Optimizer) -> None:
    """One step down the loss for the parameters of all optimizers."""
    for each in optimizers:
        each.zero_grad(set_to_none=True)
    loss.backward()
    for each in optimizers:
        each.step()


def glorot(module: nn.Module, seed: int) -> None:
    """Uniform first weights after Glorot & Bengio 2010, biases 0: TensorFlow's defaults."""
    generator = torch.Generator().manual_seed(seed & 0x7FFFFFFFFFFFFFFF)
    for tensor in module.parameters():
        if tensor.dim() > 1:
            nn.init.xavier_uniform_(tensor, generator=generator)
        else:
            nn.init.zeros_(tensor)


def noise(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Standard normal numbers for one update, a function of its seed; drawn where the device draws fastest."""
    return torch.randn(shape, generator=torch.Generator(device).manual_seed(seed & 0x7FFFFFFFFFFFFFFF), device=device)
