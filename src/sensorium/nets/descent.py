"""Adam with parameters and moments stored in a stage's state (Kingma & Ba 2015)."""

from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from sensorium.core import checkpoint
from sensorium.core.errors import Usage

State = dict[str, Tensor]

M = TypeVar("M", bound=nn.Module)


def parameters(module: nn.Module) -> State:
    """The parameters of a module as state entries model/NAME."""
    return {f"model/{name}": tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in module.named_parameters()}


def first(module: nn.Module) -> State:
    """The initial state of a module: its parameters, zero moments and update count 0."""
    trained = [(name, tensor) for name, tensor in module.named_parameters() if tensor.requires_grad]
    moments = {f"{moment}/{name}": torch.zeros_like(tensor) for moment in ("first", "second") for name, tensor in trained}
    return {**parameters(module), **moments, "updates": torch.zeros((), dtype=torch.int64)}


def moments(module: nn.Module) -> State:
    """The initial state of an additional optimizer for a module whose parameters are stored elsewhere in the state."""
    return {name: tensor for name, tensor in first(module).items() if not name.startswith("model/")}


def under(name: str, state: State) -> State:
    """A state with all names prefixed by `name`/."""
    return {f"{name}/{key}": tensor for key, tensor in state.items()}


def part(name: str, state: State) -> State:
    """The inverse of `under`: the entries with the prefix `name`/, without it. Tensors are shared, not copied."""
    return {key.removeprefix(f"{name}/"): tensor for key, tensor in state.items() if key.startswith(f"{name}/")}


def earlier(folder: str) -> State:
    """The model parameters of an earlier stage, in float32; {} for an empty folder name. Errors: core.errors.Usage without a checkpoint."""
    if not folder:
        return {}
    loaded = checkpoint.load(Path(folder))
    if loaded is None:
        raise Usage(f"{folder} holds no trained model; train the earlier stages first")
    return {name: tensor.float() for name, tensor in loaded[1].items() if name.startswith("model/")}


def names(module: nn.Module) -> tuple[str, ...]:
    """Names of a module's parameters in a state."""
    return tuple(f"model/{name}" for name, _ in module.named_parameters())


def loaded(module: M, state: State) -> M:
    """The module with its parameters replaced by those of a state. Tensors are shared, not copied."""
    for name, parameter in list(module.named_parameters()):
        *path, leaf = name.split(".")
        parent = module.get_submodule(".".join(path))
        setattr(parent, leaf, nn.Parameter(state[f"model/{name}"], requires_grad=parameter.requires_grad))
    return module


def optimizer(module: nn.Module, state: State, learning_rate: float) -> torch.optim.Adam:
    """Adam that continues from a state and updates it in place."""
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    chosen = torch.optim.Adam(trained.values(), learning_rate, fused=True)
    for name, parameter in trained.items():
        # torch keeps one update count per parameter
        step = state["updates"].to(torch.float32).clone()
        chosen.state[parameter] = {"step": step, "exp_avg": state[f"first/{name}"], "exp_avg_sq": state[f"second/{name}"]}
    return chosen


def descend(loss: Tensor, *optimizers: torch.optim.Optimizer) -> None:
    """One optimisation step of all optimizers on the loss."""
    for each in optimizers:
        each.zero_grad(set_to_none=True)
    loss.backward()
    for each in optimizers:
        each.step()


def init_vector(weights: Tensor) -> State:
    """The initial state for training one parameter vector: weights, Adam's moments, and `agent`, the moving average of the weights."""
    zeros = torch.zeros_like(weights)
    return {
        "agent": weights.clone(),
        "weights": weights,
        "first": zeros,
        "second": zeros.clone(),
        "updates": torch.zeros((), dtype=torch.int64),
    }


@torch.no_grad()
def update_vector(state: State, gradient: Tensor, learning_rate: float, half_life: int, clip: float, ema_decay: float) -> None:
    """One Adam step (Kingma & Ba 2015, algorithm 1) in place, then one update of the moving average.

    The gradient's norm is clipped to `clip`; the learning rate halves every `half_life` updates.
    """
    t, weights = int(state["updates"]) + 1, state["weights"].detach()
    state["updates"] = state["updates"] + 1
    gradient = gradient * (clip / gradient.norm().clamp(min=1e-12)).clamp(max=1.0)
    state["first"].lerp_(gradient, 0.1)
    state["second"].mul_(0.999).addcmul_(gradient, gradient, value=0.001)
    unbiased = (state["second"] / (1 - 0.999**t)).sqrt_().add_(1e-8)
    state["weights"] = weights.addcdiv_(state["first"], unbiased, value=-learning_rate * 0.5 ** (t / half_life) / (1 - 0.9**t))
    # a smaller decay at the beginning of training
    state["agent"].lerp_(weights, 1 - min(ema_decay, t / (t + 10)))


def glorot(module: nn.Module, seed: int) -> None:
    """Glorot-uniform initial weights (Glorot & Bengio 2010) and zero biases, TensorFlow's defaults."""
    generator = torch.Generator().manual_seed(seed & 0x7FFFFFFFFFFFFFFF)
    for tensor in module.parameters():
        if tensor.dim() > 1:
            nn.init.xavier_uniform_(tensor, generator=generator)
        else:
            nn.init.zeros_(tensor)


def noise(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Standard normal numbers, a function of the seed, drawn on `device`."""
    return torch.randn(shape, generator=torch.Generator(device).manual_seed(seed & 0x7FFFFFFFFFFFFFFF), device=device)
