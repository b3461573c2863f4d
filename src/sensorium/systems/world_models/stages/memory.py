"""Memory: train the MDN-RNN (M) to predict the next z."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor

from sensorium.core import checkpoint
from sensorium.core.errors import Usage
from sensorium.core.machine import compiled, implementation, product_type
from sensorium.core.seeding import Seeds, uniform
from sensorium.core.stage import NOWHERE, Folder, Metrics, State, at_least, below_one
from sensorium.nets import descent, lstm
from sensorium.systems.world_models import equations as eq
from sensorium.systems.world_models.latents import Latents, encoded, load_model
from sensorium.systems.world_models.model import MDNRNN
from sensorium.systems.world_models.stages.collect import whole

STARTS = 1000
"""largest number of first frames stored with M, from which dreams start"""


def losses(
    model: MDNRNN, hidden: Tensor, z: Tensor, action: Tensor, restart: Tensor, reward: Tensor, next_mask: Tensor, reward_mask: Tensor, factor: float, dtype: torch.dtype
) -> dict[str, Tensor]:  # fmt: skip
    """Losses of a batch by name, means over the steps where the masks `next_mask` and `reward_mask` are 1. Tensors are [steps, rows, ...].

    `reward` is that of the step; `z`, `action` and `restart` are those of the next frame.
    """
    out = model.predict(hidden, dtype)
    count = next_mask.sum().clamp(min=1)
    likelihood = eq.mixture_log_likelihood(z, out.log_weight, out.mean, out.log_sd).mean(-1)
    costs = {"z": -(likelihood * next_mask).sum() / count}
    if out.restart is not None:
        costs["restart"] = (eq.restart_cost(out.restart, restart, factor) * next_mask).sum() / count
    if out.reward is not None:
        costs["reward"] = ((out.reward - reward) ** 2 * reward_mask).sum() / reward_mask.sum()
    if out.action is not None:
        costs["action"] = (((out.action - action) ** 2).mean(-1) * next_mask).sum() / count
    return costs


@dataclass
class Resources:
    """Open resources of the stage."""

    model: MDNRNN
    optimizer: torch.optim.Adam
    latents: Latents
    losses: Any
    dtype: torch.dtype
    lstm: lstm.Implementation


@dataclass(frozen=True)
class Memory:
    """Train the MDN-RNN on recorded episodes encoded by V (P section 4.2, step 3)."""

    episodes: Folder = Folder("../1-collect")
    """the recorded episodes"""
    vision: Folder = Folder("../2-vision")
    """V"""
    start: Folder = NOWHERE
    """an earlier M whose parameters training starts from"""
    folder: Folder = Folder(".")
    """where the encoded episodes are stored: the stage's own folder"""
    hidden: int = 256
    """units of the LSTM"""
    mixtures: int = 5
    """components of the mixture of each latent dimension"""
    restart: bool = False
    """whether M predicts that the next frame starts another episode, and has this flag as an input"""
    reward: bool = False
    """whether M predicts the reward"""
    reward_limit: float = 0.0
    """absolute value to which M's targets of the reward are clipped, so that rare large ones do not dominate its error; 0: no limit"""
    action: bool = False
    """whether M predicts the next action"""
    restart_factor: float = 10.0
    """weight of positive examples in the cross-entropy of restarts"""
    dropout: float = 0.0
    """probability that an element of z or of the hidden state is zero as an input of M, with one mask for all steps of a sequence"""
    sequences: Literal["episodes", "streams"] = "episodes"
    """whole episodes from their beginning, or windows of concatenated episodes with the LSTM state carried over"""
    batch: int = 100
    """sequences per update"""
    length: int = 999
    """steps per sequence"""
    updates: int = 10
    """updates per step"""
    learning_rate: float = 1e-3
    """initial learning rate of Adam"""
    decay: float = 1.0
    """factor per update on the difference between learning rate and `last_rate`"""
    last_rate: float = 1e-5
    """limit of the learning rate"""
    clip: float = 1.0
    """gradients are clipped to this absolute value per element"""
    bfloat16: bool = True
    """whether matrix products use bfloat16 if the processor supports it"""
    compile: bool = True
    """whether the steps of the LSTM and the loss are compiled"""
    steps: int = 400
    checkpoint_every: int = 5

    def __post_init__(self) -> None:
        if self.restart and self.sequences == "episodes":
            raise Usage("restart needs sequences streams; single episodes contain no restart")
        if self.reward_limit and not self.reward:
            raise Usage("reward_limit needs reward True: without it M does not predict rewards")
        at_least(self, steps=0, hidden=1, mixtures=1, batch=1, length=1, updates=1, checkpoint_every=1, reward_limit=0)
        below_one(self, "dropout")

    @property
    def learned(self) -> tuple[str, ...]:
        return (*descent.names(self.empty(1, 1)), "start/mu", "start/log_variance")

    def empty(self, latents: int, actions: int) -> MDNRNN:
        return MDNRNN(latents, actions, self.hidden, self.mixtures, self.restart, self.reward, self.action)

    def init(self, seeds: Seeds) -> State:
        data = self.latents("cpu")
        model = self.empty(data.mu.shape[1], data.actions.shape[1])
        descent.glorot(model, seeds("parameters"))
        first = data.starts[:STARTS]
        blank = torch.zeros(self.batch, self.hidden) if self.sequences == "streams" else torch.zeros(0, self.hidden)
        return {
            **descent.first(model), **descent.earlier(self.start), "start/mu": data.mu[first].float(), "start/log_variance": data.log_variance[first].float(),
            "hidden": blank, "cell": blank.clone(),
        }  # fmt: skip

    def latents(self, device: str) -> Latents:
        vision = load_model(self.vision, device, self.bfloat16)
        return encoded(whole(self.episodes), vision, checkpoint.checksum(Path(self.vision)) or "", Path(self.folder))

    def model(self, state: State) -> MDNRNN:
        """M with the parameters of a state."""
        latents = state["start/mu"].shape[1]
        width = state["model/kernel"].shape[0] - self.hidden - latents - self.restart
        return descent.loaded(self.empty(latents, width), state)

    def open(self, state: State) -> Resources:
        device = state["updates"].device
        model = self.model(state)
        dtype = product_type(device) if self.bfloat16 else torch.float32
        optimizer = descent.optimizer(model, state, self.learning_rate)
        # torch's own LSTM has no dropout of the hidden state
        chosen = "explicit" if self.dropout else implementation("lstm", lstm.faster(device, dtype))
        return Resources(model, optimizer, self.latents(str(device)), compiled(losses) if self.compile else losses, dtype, chosen)

    def step(self, state: State, live: Resources, seeds: Seeds) -> Metrics:
        sums: Metrics = {}
        for k in range(self.updates):
            for name, cost in self.update(state, live, seeds, k).items():
                sums[name] = sums.get(name, 0.0) + cost / self.updates
        return {"loss": sum(sums.values()), **sums}

    def update(self, state: State, live: Resources, seeds: Seeds, k: int) -> Metrics:
        """One step of Adam on one batch of sequences; returns the losses by name."""
        model, number = live.model, int(state["updates"])
        order = Seeds(seeds.root, seeds.stage)("order")
        batch = live.latents.batch(self.sequences, number, self.batch, self.length, order, across=self.restart)
        device = state["updates"].device
        data = live.latents.gather(batch.index, device)
        # a new sample of z from V's posterior in each update
        z = eq.latent(data.mu, data.log_variance, descent.noise(seeds(f"noise {k}"), *data.mu.shape, device=device))
        mask = self.mask(seeds, k, model)
        inputs = model.inputs(z[:-1] if mask is None else z[:-1] * mask[:, : model.latents], data.action[:-1], data.restart[:-1])
        keep = 1 - data.restart[:-1, :, None]
        blank = torch.zeros(self.batch, self.hidden, device=device)
        hidden, cell = (blank, blank) if batch.fresh else (state["hidden"], state["cell"])
        recurrent = None if mask is None else mask[:, model.latents :]
        hiddens, last = model.sequence(inputs, keep, hidden, cell, live.dtype, self.compile, live.lstm, recurrent)
        costs = live.losses(
            model,
            hiddens,
            z[1:],
            data.action[1:],
            data.restart[1:],
            self.limited(data.reward[:-1]),
            batch.next_mask.to(device),
            batch.reward_mask.to(device),
            self.restart_factor,
            live.dtype,
        )
        for group in live.optimizer.param_groups:
            group["lr"] = (self.learning_rate - self.last_rate) * self.decay**number + self.last_rate
        live.optimizer.zero_grad()
        torch.stack(list(costs.values())).sum().backward()
        torch.nn.utils.clip_grad_value_(model.parameters(), self.clip)
        live.optimizer.step()
        state["updates"] = state["updates"] + 1
        if self.sequences == "streams":
            state["hidden"], state["cell"] = hiddens[-1].detach().float(), last.detach()
        return {name: float(cost.detach()) for name, cost in costs.items()}

    def mask(self, seeds: Seeds, k: int, model: MDNRNN) -> Tensor | None:
        """Masks on z and the hidden state of the k-th batch of a step, one per sequence, [batch, z + h]; None without dropout."""
        if not self.dropout:
            return None
        rows = seeds.rows(f"dropout {k}", self.batch).to(model.kernel.device)
        return eq.dropout_mask(uniform(rows, 0, model.latents + model.hidden), self.dropout)

    def limited(self, reward: Tensor) -> Tensor:
        """Rewards as targets of M: clipped to +- `reward_limit` where it is not 0."""
        return reward.clamp(-self.reward_limit, self.reward_limit) if self.reward_limit else reward

    def policy(self, state: State) -> NoReturn:
        raise Usage("this stage holds M, which does not act; give a run with a controller")
