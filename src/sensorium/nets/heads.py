"""Actor and critic heads on codes, as in DrQ, DrQ-v2 and Proto-RL."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.core.errors import Usage
from sensorium.nets.mlp import exact, mlp


class Trunk(nn.Module):
    """Linear layer and LayerNorm from codes to features; with `bounded` a tanh follows."""

    def __init__(self, width: int, features: int, bounded: bool):
        super().__init__()
        self.linear, self.norm, self.bounded = nn.Linear(width, features), nn.LayerNorm(features), bounded

    def forward(self, code: Float[Tensor, "rows n"]) -> Float[Tensor, "rows f"]:
        features = self.norm(self.linear(code).float())
        return torch.tanh(features) if self.bounded else features


class Actor(nn.Module):
    """Codes -> `outputs` numbers. With `states`: trunk as wide as the hidden layer, one layer fewer (URLB). No features: no trunk."""

    def __init__(self, width: int, outputs: int, features: int, hidden: int, bounded: bool, states: bool):
        super().__init__()
        sizes = (hidden, hidden) if features and states else (features or width, hidden, hidden)
        self.width = width
        self.trunk = Trunk(width, sizes[0], bounded) if features else nn.Identity()
        self.body, self.last = mlp(*sizes), nn.Linear(hidden, outputs)

    def forward(self, code: Float[Tensor, "rows n"]) -> Float[Tensor, "rows outputs"]:
        if code.shape[1] != self.width:
            raise Usage(f"this network takes {self.width} inputs, not {code.shape[1]}")
        return exact(self.last, torch.relu(self.body(self.trunk(code))))


class Critic(nn.Module):
    """Two Q-functions of codes and actions with a shared trunk. With `states` actions enter before the trunk. No features: no trunk."""

    def __init__(self, width: int, actions: int, features: int, hidden: int, bounded: bool, states: bool):
        super().__init__()
        self.early = states and features > 0
        sizes = (hidden, hidden) if self.early else ((features or width) + actions, hidden, hidden)
        self.trunk = Trunk(width + actions * self.early, hidden if self.early else features, bounded) if features else nn.Identity()
        self.bodies = nn.ModuleList(mlp(*sizes) for _ in range(2))
        self.lasts = nn.ModuleList(nn.Linear(hidden, 1) for _ in range(2))

    def forward(self, code: Float[Tensor, "rows n"], action: Float[Tensor, "rows a"]) -> Float[Tensor, "2 rows"]:
        features = self.trunk(torch.cat([code, action], 1)) if self.early else torch.cat([self.trunk(code), action], 1)
        pairs = zip(self.bodies, self.lasts, strict=True)
        return torch.stack([exact(last, torch.relu(body(features)))[:, 0] for body, last in pairs])  # type: ignore[arg-type]
