"""The layers of Tang & Ha 2021 (arXiv 2109.02869) as torch modules: permutation-invariant codes of sensors or image patches.

AttentionNeurons(actions=2)                 obs [rows, n], previous action, memory -> code [rows, 16], memory
FeedForwardNeurons(steps=4)                 the last 4 observations [rows, 4, n] -> code [rows, 64]
PatchNeurons(frames=4)                      grey frames, uint8 [rows, 4, height, width] -> code [rows, 1024, 16]

n, the number of sensors, may differ from call to call, and their order does not matter. The equations are those of
`systems.attention_neuron`; parameters have the names of its agents, so weights can be exchanged.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from sensorium.core.errors import Usage
from sensorium.envs.patches import SIDE, cut
from sensorium.systems.attention_neuron import equations as eq
from sensorium.systems.attention_neuron.model import SensoryAgent, SensoryPolicy, VisionNeurons, fold


class NeuronMemory(NamedTuple):
    """The state of every sensor's LSTM: hidden and cell, [rows, n, H] each."""

    hidden: Float[Tensor, "rows n h"]
    cell: Float[Tensor, "rows n h"]


class AttentionNeurons(nn.Module):
    """One LSTM with shared weights per sensor, then attention (section 3.1): obs [rows, n] -> code [rows, code].

    Parameters: 4 H (1 + actions + H + 2) + key (query + H), and 2 key with `bias`; 896 with the defaults, those of the paper's cart-pole.
    """

    def __init__(
        self, actions: int = 1, code: int = 16, query: int = 8, key: int = 32, hidden: int = 8, bias: bool = False, scale: bool = False,
        gain: float = 1.0,
    ):  # fmt: skip
        """Arguments as in `SensoryAgent`; `actions` is the width of the previous action."""
        super().__init__()
        self.agent = SensoryAgent(actions=actions, code=code, query=query, key=key, hidden=hidden, bias=bias, scale=scale, gain=gain)
        self.neuron = nn.LSTMCell(1 + actions, hidden)
        self.query, self.key = nn.Linear(query, key, bias), nn.Linear(hidden, key, bias)

    def forward(
        self, obs: Float[Tensor, "rows n"], previous_action: Float[Tensor, "rows actions"], memory: NeuronMemory | None = None
    ) -> tuple[Float[Tensor, "rows code"], NeuronMemory]:
        """The code after one step, and the memory for the next one; None begins an episode."""
        policy = self._policy()
        hidden, cell = policy.neurons(obs, (*(memory or self.begin(*obs.shape)), previous_action))
        return policy.encode(obs, hidden), NeuronMemory(hidden, cell)

    def unroll(
        self, obs: Float[Tensor, "steps rows n"], previous_actions: Float[Tensor, "steps rows actions"], memory: NeuronMemory | None = None
    ) -> tuple[Float[Tensor, "steps rows code"], NeuronMemory]:
        """The codes after each of many steps, as `forward` in a loop, and the last memory."""
        policy = self._policy()
        hidden, cell = policy.unroll(obs, previous_actions, *(memory or self.begin(*obs.shape[1:])))
        codes = policy.encode(obs.flatten(0, 1), hidden.flatten(0, 1))
        return codes.unflatten(0, obs.shape[:2]), NeuronMemory(hidden[-1], cell)

    def begin(self, rows: int, n: int) -> NeuronMemory:
        """The memory at the start of an episode."""
        zero = self.key.weight.new_zeros(rows, n, self.agent.hidden)
        return NeuronMemory(zero, zero)

    def _policy(self) -> SensoryPolicy:
        return SensoryPolicy(self.agent, fold(self.agent, {name: weight[None] for name, weight in self.named_parameters()}))


RMS_FLOOR = 1e-4
"""smallest root mean square that `history_features` distinguishes from 0"""


def history_features(obs: Float[Tensor, "rows steps n"]) -> Float[Tensor, "rows n features"]:
    """Of each sensor's last values, their first and second differences: the logarithm of the root mean square, and the values divided by it.

    So sensors are told apart by how they change, over several orders of magnitude; another unit of a sensor shifts the logarithms only.
    """
    orders, features = [obs], []
    while len(orders) < 3 and orders[-1].shape[1] > 1:
        orders.append(eq.differences(orders[-1]))
    for order in orders:
        rms = (order.square().mean(1, keepdim=True) + RMS_FLOOR**2).sqrt()
        features += [rms.log(), order / rms]
    return torch.cat(features, 1).mT


class FeedForwardNeurons(nn.Module):
    """One feed-forward network with shared weights per sensor, then attention: the last observations [rows, steps, n] -> [rows, steps code].

    The network reads `history_features` in place of the LSTM's memory. The code has a part for each step: the observation of that step,
    weighted by the attention of now (eq. 2). Not from the paper; with steps=1 it is close to its ablation without memory. Parameters, with
    F features: H (F + 1) + H (H + 1) + key (query + H); F is 2, 5 and then 3 steps for 1, 2 and more steps.
    """

    def __init__(self, steps: int = 4, code: int = 16, query: int = 8, key: int = 32, hidden: int = 32, gain: float = 1.0):
        """`steps`: observations in a history, oldest first. The others as in `SensoryAgent`."""
        super().__init__()
        features = history_features(torch.zeros(1, steps, 1)).shape[2]
        self.width, self.gain = steps * code, gain
        self.neuron = nn.Sequential(nn.Linear(features, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.query, self.key = nn.Linear(query, key, bias=False), nn.Linear(hidden, key, bias=False)
        self.register_buffer("table", eq.positional_table(code, query), persistent=False)

    def forward(self, obs: Float[Tensor, "rows steps n"]) -> Float[Tensor, "rows width"]:
        """The code [rows, steps * code]."""
        queries = self.query(self.table) @ self.key.weight
        weights = eq.attention(queries[..., None], self.neuron(history_features(obs)).permute(2, 1, 0))
        return torch.cat([eq.message(weights, step.mT, self.gain).mT for step in obs.unbind(1)], 1)


class PatchNeurons(nn.Module):
    """One neuron with shared weights per patch of 6 x 6 pixels, then attention with a softmax over patches (section 3.2).

    Keys are made of the differences of consecutive frames, values of all frames. The paper's keys have the previous action too; its term is
    the same for every patch, so the softmax cancels it. Parameters, with T frames: width (query + 1) + width (36 (T - 1) + 1) +
    width (36 T + 1), and 72 + 2 width with `learned_norms`; 4,208 with the defaults, those of the paper's CarRacing.
    """

    def __init__(self, frames: int = 4, code: int = 1024, width: int = 16, query: int = 8, learned_norms: bool = False):
        """Arguments as in `VisionNeurons`."""
        super().__init__()
        pixels = SIDE * SIDE
        self.neurons = VisionNeurons(0, code, width, query, frames, pixels, learned_norms=learned_norms)
        self.query, self.key = nn.Linear(query, width), nn.Linear(pixels * (frames - 1), width)
        self.value = nn.Linear(pixels * frames, width)
        if learned_norms:
            self.input_norm, self.output_norm = nn.LayerNorm(pixels), nn.LayerNorm(width)

    def forward(self, images: UInt8[Tensor, "rows frames height width"]) -> Float[Tensor, "rows code d"]:
        """The code of stacked grey frames, oldest first. Errors: core.errors.Usage for sides that are not multiples of 6."""
        height, width = images.shape[2:]
        if height % SIDE or width % SIDE:
            raise Usage(f"height and width have to be multiples of {SIDE} for patches; these images have {height} x {width}")
        return self.encode(cut(images.flatten(0, 1)).unflatten(0, images.shape[:2]).transpose(1, 2))

    def encode(self, patches: UInt8[Tensor, "rows n frames 36"]) -> Float[Tensor, "rows code d"]:
        """The code of patches, in any order and number."""
        tensors = self.neurons.fold({name: weight[None] for name, weight in self.named_parameters()})
        return self.neurons(tensors, patches, self.key.weight.new_zeros(len(patches), 0))
