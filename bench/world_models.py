"""World Models: training of V and M, dreams, closed loop and collection, each compared with a plain formulation.

Plain means: torch's own layers, float32, eager, images with channels first. For worlds: two processes, each with one environment and one
frame at a time, as in public re-implementations.
"""

import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.interleave import interleaved, row, seconds
from bench.limit import products_per_second
from sensorium.core import card, checkpoint
from sensorium.core.env import World
from sensorium.core.jobs import on
from sensorium.core.machine import compiled, keep_pages, one_thread, product_type
from sensorium.core.rollout import play
from sensorium.core.run import run
from sensorium.core.seeding import Seeds, row_seeds
from sensorium.envs.car_racing import CarRacing
from sensorium.envs.take_cover import TakeCover
from sensorium.es.workers import Workers
from sensorium.nets import descent
from sensorium.nets.lstm import FORGET_BIAS, faster
from sensorium.systems.world_models.behaviour import HeldActions, RandomNetworks
from sensorium.systems.world_models.dream import DreamWorld, of_run, starts
from sensorium.systems.world_models.latents import load_model
from sensorium.systems.world_models.model import MDNRNN, ConvVAE, LatentPolicy, Linear
from sensorium.systems.world_models.stages import Collect, Memory, Vision
from sensorium.systems.world_models.stages.controller import InWorldAgent
from sensorium.systems.world_models.stages.memory import losses as memory_losses
from sensorium.systems.world_models.stages.vision import losses as vision_losses

ROUNDS = 5
BATCH = 100


class PlainVAE(nn.Module):
    """The same network from torch's own layers."""

    def __init__(self, latents: int):
        super().__init__()
        self.latents = latents
        sizes, widths, kernels = (3, 32, 64, 128, 256), (1024, 128, 64, 32, 3), (5, 5, 6, 6)
        self.encoder = nn.Sequential(*(part for a, b in itertools.pairwise(sizes) for part in (nn.Conv2d(a, b, 4, 2), nn.ReLU())))
        self.mu, self.log_variance, self.expand = nn.Linear(1024, latents), nn.Linear(1024, latents), nn.Linear(latents, 1024)
        ups = [nn.ConvTranspose2d(a, b, k, 2) for a, b, k in zip(widths, widths[1:], kernels, strict=False)]
        self.decoder = nn.Sequential(*(part for up in ups[:-1] for part in (up, nn.ReLU())), ups[-1], nn.Sigmoid())

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.encoder(image).flatten(1)
        return self.mu(features), self.log_variance(features)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(self.expand(z)[:, :, None, None])

    def loss(self, image: Tensor) -> Tensor:
        mu, log_variance = self.encode(image)
        decoded = self.decode(mu + torch.exp(log_variance / 2) * torch.randn_like(mu))
        divergence = -0.5 * (1 + log_variance - mu**2 - log_variance.exp()).sum(1)
        return ((image - decoded) ** 2).sum((1, 2, 3)).mean() + divergence.clamp(min=16).mean()


def plain_image(frames: Tensor) -> Tensor:
    """Frames [rows, 64, 64, 3], uint8, as floats in [0, 1] with channels first."""
    return frames.permute(0, 3, 1, 2).contiguous().float() / 255


def vae() -> list[dict[str, Any]]:
    """Images per second: training with batches of 100, and encoding 1,000 at a time, with 32 latents."""
    frames = torch.randint(0, 256, (1000, 64, 64, 3), dtype=torch.uint8)
    ours, plain, dtype = ConvVAE(32), PlainVAE(32), product_type()
    descent.glorot(ours, 0)
    state = descent.first(ours)
    descent.loaded(ours, state)
    step, adam, plain_adam = compiled(vision_losses), descent.optimizer(ours, state, 1e-4), torch.optim.Adam(plain.parameters(), 1e-4)
    noise = torch.randn(BATCH, 32)

    def train() -> None:
        for batch in frames.split(BATCH):
            adam.zero_grad()
            step(ours, batch, noise, 0.5, dtype)[0].backward()
            adam.step()

    def train_plainly() -> None:
        for batch in frames.split(BATCH):
            plain_adam.zero_grad()
            plain.loss(plain_image(batch)).backward()
            plain_adam.step()

    encoder = ConvVAE(32).requires_grad_(False).to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode() -> None:
        encoder.encode(frames.permute(0, 3, 1, 2).to(dtype) / 255)

    def encode_plainly() -> None:
        with torch.no_grad():
            plain.encode(plain_image(frames))

    works = {"train": train, "train plainly": train_plainly, "encode": encode, "encode plainly": encode_plainly}
    for work in works.values():
        work()
    measured = interleaved({**{n: lambda w=w: seconds(w) for n, w in works.items()}, "rate": products_per_second(dtype)}, ROUNDS)
    speed = {name: len(frames) / measured[name] for name in works}
    plainly, rows = "torch's layers, float32, eager", []
    for name in ("train", "encode"):
        with FlopCounterMode(display=False) as operations:
            works[f"{name} plainly"]()
        limit = measured["rate"] * len(frames) / operations.get_total_flops()
        rows.append(row(f"vae/{name}", speed[name], "images/s", plainly, speed[f"{name} plainly"], limit=limit))
    return rows


def memory(hidden: int) -> Callable[[], list[dict[str, Any]]]:
    """Sequence steps per second: training M with batches of 100 sequences of 200 steps, with the loss of the mixtures."""

    def work() -> list[dict[str, Any]]:
        latents, actions, restart = (64, 1, True) if hidden == 512 else (32, 3, False)
        steps, dtype = 200, product_type()
        model = MDNRNN(latents, actions, hidden, restart=restart)
        descent.glorot(model, 0)
        state = descent.first(model)
        descent.loaded(model, state)
        adam, cost = descent.optimizer(model, state, 1e-3), compiled(memory_losses)
        z, action, zeros = torch.randn(steps + 1, BATCH, latents), torch.rand(steps + 1, BATCH, actions), torch.zeros(steps + 1, BATCH)
        keep, blank = torch.ones(steps, BATCH, 1), torch.zeros(BATCH, hidden)

        def ours() -> None:
            inputs = model.inputs(z[:-1], action[:-1], zeros[:-1])
            hiddens, _ = model.sequence(inputs, keep, blank, blank, dtype, implementation=faster(blank.device, dtype))
            costs = cost(
                model, hiddens, z[1:], action[1:], zeros[1:], zeros[:-1], torch.ones(steps, BATCH), torch.ones(steps, BATCH), 10.0, dtype
            )
            adam.zero_grad()
            torch.stack(list(costs.values())).sum().backward()
            adam.step()

        plain, head = nn.LSTM(latents + actions + restart, hidden), nn.Linear(hidden, model.head.shape[1])
        parameters = [*plain.parameters(), *head.parameters()]
        plain_adam = torch.optim.Adam(parameters, 1e-3)

        def plainly() -> None:
            out = head(plain(model.inputs(z[:-1], action[:-1], zeros[:-1]))[0])
            logit, mean, log_sd = out[..., int(restart) :].reshape(steps, BATCH, latents, 3, 5).unbind(3)
            normal = torch.distributions.Normal(mean, log_sd.exp())
            loss = -torch.logsumexp(torch.log_softmax(logit, -1) + normal.log_prob(z[1:, ..., None]), -1).mean()
            if restart:
                loss = loss + nn.functional.binary_cross_entropy_with_logits(out[..., 0], zeros[1:])
            plain_adam.zero_grad()
            loss.backward()
            plain_adam.step()

        ours()
        plainly()
        works = {"ours": lambda: seconds(ours), "plain": lambda: seconds(plainly), "rate": products_per_second(dtype)}
        found, total = interleaved(works, ROUNDS), steps * BATCH
        # forward, and the gradients of inputs and weights
        operations = 3 * 2 * (model.kernel.numel() + model.head.numel())
        limit, baseline = found["rate"] / operations, "torch's LSTM, float32, eager"
        return [row(f"memory/train-{hidden}", total / found["ours"], "steps/s", baseline, total / found["plain"], limit=limit)]

    return work


def dream(hidden: int) -> Callable[[], list[dict[str, Any]]]:
    """Steps per second of 1,024 parallel dreams with 64 controllers; no dream ends early."""

    def work() -> list[dict[str, Any]]:
        latents, actions, restart = (64, 1, True) if hidden == 512 else (32, 3, False)
        rows, horizon = 1024, 61
        model = MDNRNN(latents, actions, hidden, restart=restart).requires_grad_(False)
        descent.glorot(model, 0)
        if restart:
            model.head_bias[0] = -30.0
        controller = Linear("zch", latents, hidden, actions, bias=False, car=hidden == 256)
        vectors, start = 0.1 * torch.randn(64, controller.layout.size), torch.zeros(8, latents)
        fast = MDNRNN(latents, actions, hidden, restart=restart).requires_grad_(False)
        fast.load_state_dict(model.state_dict())
        world = DreamWorld(fast.to(product_type()), start, start, 1.15, horizon, ())

        def ours() -> None:
            play(world.open(), LatentPolicy(controller, vectors), row_seeds(0, rows))

        lstm, head = nn.LSTMCell(latents + actions + restart, hidden), nn.Linear(hidden, model.head.shape[1])
        weight = vectors.view(64, actions, -1)

        @torch.no_grad()
        def plainly() -> None:
            z, h, c = torch.randn(rows, latents), torch.zeros(rows, hidden), torch.zeros(rows, hidden)
            for _ in range(horizon):
                features = torch.cat([z, c, h], 1).view(64, rows // 64, -1)
                action = torch.tanh(features @ weight.mT).view(rows, actions)
                h, c = lstm(torch.cat([z, action, torch.zeros(rows, int(restart))], 1), (h, c))
                logit, mean, log_sd = head(h)[:, int(restart) :].view(rows, latents, 3, 5).unbind(2)
                chosen = torch.distributions.Categorical(logits=logit / 1.15).sample()[..., None]
                mean, sd = mean.gather(-1, chosen)[..., 0], log_sd.exp().gather(-1, chosen)[..., 0]
                z = mean + sd * 1.15**0.5 * torch.randn(rows, latents)

        ours()
        plainly()
        works = {"ours": lambda: seconds(ours), "plain": lambda: seconds(plainly), "rate": products_per_second(product_type())}
        found, total = interleaved(works, ROUNDS), rows * horizon
        limit, baseline = found["rate"] / (2 * (model.kernel.numel() + model.head.numel())), "torch's cell, float32, eager"
        return [row(f"dream/{hidden}", total / found["ours"], "steps/s", baseline, total / found["plain"], limit=limit)]

    return work


def vector_env() -> list[dict[str, Any]]:
    """Steps per second of 64 dreams of the zoo's TakeCover agent through `gymnasium.make_vec`, with random actions.

    The plain formulation does the same with torch's own layers and distributions, with the weights in float32. It runs with one thread
    and with all; the faster of the two is the baseline.
    """
    rows, steps, temperature, run = 64, 100, 1.15, "zoo/take-cover"
    env = gymnasium.make_vec("sensorium/Dream-v0", num_envs=rows, run=run, temperature=temperature)
    actions = [env.action_space.sample() for _ in range(steps)]
    dream = of_run(run, temperature)[0]
    model, (mu, log_variance) = load_model(dream.memory, bfloat16=False), starts(dream.memory, "cpu")
    plain = PlainDreams(model, mu, log_variance, temperature, dream.horizon, rows)

    def play_all(step: Callable[[Any], Any]) -> Callable[[], float]:
        return lambda: seconds(lambda: [step(action) for action in actions])

    def alone() -> float:
        with one_thread():
            return play_all(plain.step)()

    env.reset(seed=0)
    env.step(actions[0])
    found = interleaved({"ours": play_all(env.step), "plain": play_all(plain.step), "alone": alone}, ROUNDS)
    total = rows * steps
    baseline = "torch's cell and distributions, float32, eager"
    return [row("dream/vector-env", total / found["ours"], "steps/s", baseline, total / min(found["plain"], found["alone"]))]


class PlainDreams:
    """A vector environment of dreams with next-step autoreset, from torch's own layers and distributions."""

    def __init__(self, model: MDNRNN, mu: Tensor, log_variance: Tensor, temperature: float, horizon: int, rows: int):
        self.model, self.temperature, self.horizon, self.rows = model, temperature, horizon, rows
        self.mu, self.sd = mu, torch.exp(log_variance / 2)
        inputs = len(model.kernel) - model.hidden
        self.lstm, self.head = nn.LSTMCell(inputs, model.hidden), nn.Linear(model.hidden, model.head.shape[1])
        # gates and bias in the same order; its forget gate has no constant of its own
        bias = model.bias.clone()
        bias[model.hidden : 2 * model.hidden] += FORGET_BIAS
        weights = {"weight_ih": model.kernel[:inputs].T, "weight_hh": model.kernel[inputs:].T, "bias_ih": bias, "bias_hh": 0 * bias}
        self.lstm.load_state_dict(weights)
        self.head.load_state_dict({"weight": model.head.T, "bias": model.head_bias})
        self.z, self.h, self.c = self.begin(rows), torch.zeros(rows, model.hidden), torch.zeros(rows, model.hidden)
        self.ages, self.ended = torch.zeros(rows), torch.zeros(rows, dtype=torch.bool)

    def begin(self, rows: int) -> Tensor:
        chosen = torch.randint(len(self.mu), (rows,))
        return torch.normal(self.mu[chosen], self.sd[chosen])

    @torch.no_grad()
    def step(self, actions: Any) -> tuple[Any, ...]:
        first = (self.ages == 0).float()[:, None]
        self.h, self.c = self.lstm(torch.cat([self.z, torch.from_numpy(actions), first], 1), (self.h, self.c))
        output = self.head(self.h)
        logit, mean, log_sd = output[:, 1:].view(self.rows, -1, 3, self.model.mixtures).unbind(2)
        chosen = torch.distributions.Categorical(logits=logit / self.temperature).sample()[..., None]
        mean, sd = mean.gather(-1, chosen)[..., 0], log_sd.exp().gather(-1, chosen)[..., 0]
        self.z = mean + sd * self.temperature**0.5 * torch.randn_like(mean)
        begins = self.ended
        if begins.any():
            self.z[begins], self.h[begins], self.c[begins] = self.begin(int(begins.sum())), 0.0, 0.0
        self.ages = torch.where(begins, 0, self.ages + 1)
        terminated = (output[:, 0] > 0) & ~begins
        truncated = (self.ages >= self.horizon) & ~terminated
        self.ended = terminated | truncated
        return torch.cat([self.z, self.c, self.h], 1).numpy(), (~begins).double().numpy(), terminated.numpy(), truncated.numpy(), {}


STEPS = 300
"""steps per episode in closed loops and collection"""


def untrained(folder: Path, latents: int, hidden: int, actions: int, restart: bool) -> InWorldAgent:
    """An agent with untrained V and M, written as finished stages."""
    run(Vision(latents=latents, steps=0), folder / "2-vision")
    stage = Memory(hidden=hidden, restart=restart, sequences="streams" if restart else "episodes", steps=0)
    model = stage.empty(latents, actions)
    descent.glorot(model, 0)
    (folder / "3-memory").mkdir()
    checkpoint.write_json(folder / "3-memory" / "card.json", {"format": card.FORMAT, "stage": card.plain(stage), "seed": 0})
    start = torch.zeros(1, latents)
    checkpoint.save(folder / "3-memory", 0, {**descent.first(model), "start/mu": start, "start/log_variance": start.clone()})
    controller = Linear("zch" if restart else "zh", latents, hidden, actions, bias=not restart, car=not restart)
    return InWorldAgent(controller, str(folder / "2-vision"), str(folder / "3-memory"))


BASELINES = {
    "whole": "two processes, one environment and one frame at a time, encoded and decoded as in the best public loop, float32",
    "needed": "two processes, one environment and one frame at a time, float32",
    "random": "two processes, one environment at a time, nothing stored",
}
"""form of the plain loop -> description; `whole` (github.com/ctallec/world-models) also computes unused decoder and mixture outputs"""


def plain_loop(name: str, form: str) -> float:
    """Steps per second of two processes with one environment each."""
    command = [sys.executable, "-m", "bench.world_models", name, form]
    root = Path(__file__).resolve().parents[1]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(2)]
    return sum(float(process.communicate()[0].split()[-1]) for process in both)


def closed_loop(name: str, world: World) -> Callable[[], list[dict[str, Any]]]:
    """Steps per second of a population of controllers in the real world, with one process per core."""
    car = name == "car"
    forms = {"closed-loop": "whole", "closed-loop-lean": "needed"} if car else {"closed-loop": "needed"}

    def work() -> list[dict[str, Any]]:
        with tempfile.TemporaryDirectory() as place, on(""):
            agent = untrained(Path(place), *((32, 256, 3, False) if car else (64, 512, 1, True)))
            # as in the recipes: one job per core for CarRacing, smaller jobs for TakeCover, which needs more memory
            workers, episodes = Workers(world, agent, 32 if car else 16, False), 2 if car else 1
            vectors, seeds = 0.01 * torch.randn(64, agent.controller.layout.size), row_seeds(0, 64 * episodes).view(64, episodes)

            def ours() -> float:
                began = time.perf_counter()
                lengths = workers.scores(vectors, seeds)[:, 1]
                return float(episodes * lengths.sum()) / (time.perf_counter() - began)

            ours()
            found = interleaved({"ours": ours, **{form: lambda form=form: plain_loop(name, form) for form in forms.values()}}, 3)
            workers.close()
        return [row(f"{name}/{loop}", found["ours"], "steps/s", BASELINES[form], found[form]) for loop, form in forms.items()]

    return work


def collect(name: str, world: Any, player: Any) -> Callable[[], list[dict[str, Any]]]:
    """Frames per second, played, compressed and written, with one process per core."""

    def work() -> list[dict[str, Any]]:
        with tempfile.TemporaryDirectory() as place, on(""):
            stage = Collect(world=world, player=player, folder=place, steps=8)  # type: ignore[arg-type]
            state = stage.init(Seeds(0))
            live = stage.open(state)
            for step in (1, 2):  # start processes and worlds
                stage.step(state, live, Seeds(0, "collect", step))
            began, frames = time.perf_counter(), 0.0
            for step in range(3, 9):
                frames += stage.step(state, live, Seeds(0, "collect", step))["frames"]
            took = time.perf_counter() - began
            live.close()
        return [row(f"collect/{name}", frames / took, "frames/s", BASELINES["random"], plain_loop(name, "random"))]

    return work


def one_at_a_time(name: str, form: str) -> float:
    """Steps per second of the plain loop in this process."""
    torch.set_num_threads(1)
    if name == "car":
        world, plain, lstm, head = CarRacing("gymnasium", horizon=STEPS), PlainVAE(32), nn.LSTMCell(35, 256), nn.Linear(288, 3)
    else:
        world, plain, lstm, head = TakeCover("vizdoom", horizon=STEPS), PlainVAE(64), nn.LSTMCell(65, 512), nn.Linear(576, 1)
    env, mixtures = world.open(), nn.Linear(lstm.hidden_size, 15 * plain.latents)
    obs, h, c = env.reset(row_seeds(0, 1)), torch.zeros(1, lstm.hidden_size), torch.zeros(1, lstm.hidden_size)
    began, steps = time.perf_counter(), 0
    with torch.no_grad():
        for _ in range(STEPS):
            if form != "random":
                mu, log_variance = plain.encode(plain_image(obs))
                z = mu + torch.exp(log_variance / 2) * torch.randn_like(mu)
                if form == "whole":
                    plain.decode(z)
                action = torch.tanh(head(torch.cat([z, h], 1)))
                h, c = lstm(torch.cat([z, action], 1), (h, c))
                if form == "whole":
                    mixtures(h)
            else:
                action = 2 * torch.rand(1, world.spec.action) - 1
            step = env.step(action)
            obs, steps = step.obs, steps + 1
            if bool(step.terminated | step.truncated):
                obs = env.reset(row_seeds(steps, 1))
    took = time.perf_counter() - began
    env.close()
    return steps / took


CAR, DOOM = CarRacing(horizon=STEPS), TakeCover("vizdoom", horizon=STEPS)
ROWS = {
    "vae/train": vae, "vae/encode": vae,
    "memory/train-256": memory(256), "memory/train-512": memory(512),
    "dream/256": dream(256), "dream/512": dream(512), "dream/vector-env": vector_env,
    "car/closed-loop": closed_loop("car", CAR), "take-cover/closed-loop": closed_loop("take-cover", DOOM),
    "collect/car": collect("car", CAR, RandomNetworks()), "collect/take-cover": collect("take-cover", DOOM, HeldActions()),
}  # fmt: skip

if __name__ == "__main__":
    keep_pages()
    print(one_at_a_time(sys.argv[1], sys.argv[2]))
