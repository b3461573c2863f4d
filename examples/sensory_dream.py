"""A world model whose V is a layer of sensory neurons: an agent that has trained in its dream only acts on shuffled sensors.

    python examples/sensory_dream.py --vision neurons --out runs/sensory-dream
    python examples/sensory_dream.py --vision identity --out runs/ordinary-dream

The sensory neurons of AttentionNeuron are trained as an autoencoder on episodes of random actions, without reward: a decoder reconstructs the
sensors in their order from the code, which does not depend on it. M and C of World Models get the code instead of z. C evolves in the dream of
the cart-pole; M is trained further on episodes of C in each further round. Prints the return in the dream, and in the world with the sensors
in order, shuffled, and shuffled again every 200 steps. The control is a V that is the identity.
"""

import argparse
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import sensorium
from sensorium.core import card, checkpoint
from sensorium.core.env import EnvSpec, Step, TorchEnv, World
from sensorium.core.evaluate import evaluate
from sensorium.core.stage import Stage
from sensorium.data.episodes import Episodes
from sensorium.envs.wrappers import altered
from sensorium.nets.agent import first_vector
from sensorium.systems.attention_neuron.model import SensoryAgent, SensoryPolicy
from sensorium.systems.world_models.anywhere import world_model
from sensorium.systems.world_models.recipes import further_rounds
from sensorium.systems.world_models.stages import Collect, Controller

AGENT = SensoryAgent()
"""the paper's neurons for the cart-pole; the policy head is not used"""

SENSES = {"in order": "", "shuffled": "shuffle", "shuffled every 200 steps": "shuffle:every=200"}
"""what is printed -> treatment of the sensors"""


@functools.cache
def neurons(file: str) -> SensoryPolicy:
    """The trained neurons of a file."""
    return AGENT.policy(load_file(file)["agent"])


@dataclass(frozen=True)
class Encoded:
    """A world in torch whose observation is the code of sensory neurons. Its state is (inner state, (hidden, cell), code)."""

    world: World
    file: str
    """parameters of the neurons"""

    @property
    def spec(self) -> EnvSpec:
        return replace(self.world.spec, observation=(AGENT.code,), sensors=())

    def open(self) -> TorchEnv:
        return TorchEnv(self)

    def initial(self, seeds: Tensor) -> Any:
        inner = self.world.initial(seeds)
        return self.encoded(inner, self.world.observe(inner), neurons(self.file).begin(seeds))

    def observe(self, state: Any) -> Tensor:
        return state[2]

    def transition(self, state: Any, action: Tensor, t: int | Tensor) -> tuple[Any, Step]:
        inner, memory, _ = state
        inner, step = self.world.transition(inner, action, t)
        state = self.encoded(inner, step.obs, (*memory, action))
        return state, step._replace(obs=state[2])

    def encoded(self, inner: Any, obs: Tensor, memory: Any) -> Any:
        """The state with the neurons' memory and the code after an observation."""
        policy = neurons(self.file)
        hidden, cell = policy.neurons(obs, memory)
        return inner, (hidden, cell), policy.encode(obs, hidden)


# a card holds the world's name; this one exists in this process only
card.NAMES["encoded"] = f"{Encoded.__module__}:{Encoded.__qualname__}"


def train_neurons(collect: Path, file: Path, updates: int, seed: int, batch: int = 64, steps: int = 200) -> None:
    """Train the neurons to encode the first steps of recorded episodes, and write them to a file.

    The loss is the mean squared error of the sensors, each divided by its standard deviation.
    """
    episodes = Episodes(sorted(collect.glob("shard-*.npz")))
    generator = torch.Generator().manual_seed(seed)
    vector = first_vector(AGENT, 1.0, 2.0, seed).requires_grad_()
    torch.manual_seed(seed)
    decoder = nn.Sequential(nn.Linear(AGENT.code, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 5))
    optimizer = torch.optim.Adam([vector, *decoder.parameters()], 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    # zeros after the end of an episode have no weight
    recorded = [episodes[i] for i in range(len(episodes))]
    obs, before, live = torch.zeros(steps, len(recorded), 5), torch.zeros(steps, len(recorded), 1), torch.zeros(steps, len(recorded))
    for i, episode in enumerate(recorded):
        n = min(len(episode), steps)
        obs[:n, i], live[:n, i] = torch.from_numpy(episode.frames[:n]), 1
        before[1:n, i] = torch.from_numpy(episode.actions[: n - 1])
    mean = (obs * live[..., None]).sum((0, 1)) / live.sum()
    sd = (((obs - mean) ** 2 * live[..., None]).sum((0, 1)) / live.sum()).sqrt()
    for update in range(1, updates + 1):
        chosen = torch.randint(len(recorded), (batch,), generator=generator)
        student = AGENT.student(vector)
        blank = torch.zeros(batch, 5, AGENT.hidden)
        hidden, _ = student.unroll(obs[:, chosen], before[:, chosen], blank, blank)
        code = student.encode(obs[:, chosen].flatten(0, 1), hidden.flatten(0, 1))
        error = ((decoder(code) - ((obs[:, chosen] - mean) / sd).flatten(0, 1)) ** 2).mean(-1).view(steps, batch)
        loss = (error * live[:, chosen]).sum() / live[:, chosen].sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([vector, *decoder.parameters()], 0.5)
        optimizer.step()
        schedule.step()
        if update % 100 == 0 or update == updates:
            late = (error[50:] * live[50:, chosen]).sum() / live[50:, chosen].sum().clamp(min=1)
            print(f"neurons {update}/{updates}: error {loss.item():.3f} of the variance, {late.item():.3f} from step 50 on", flush=True)
    save_file({"agent": vector.detach()}, file)


def recipe(preset: str, seen: Callable[[World], World], rounds: int, generations: int) -> dict[str, Stage]:
    """The stages of `world-model` for the cart-pole as `seen` shows it, with further rounds."""
    found = world_model(preset, "cart-pole")
    collect, evolve = found["collect"], found["controller"]
    assert isinstance(collect, Collect)
    assert isinstance(evolve, Controller)
    world = seen(collect.world)
    linear = replace(evolve.controller, latents=world.spec.observation[0])
    evolve = replace(evolve, world=world, controller=linear, steps=min(evolve.steps, generations))
    return further_rounds({**found, "collect": replace(collect, world=world), "controller": evolve}, rounds)


def main() -> None:
    """Train V, M and C, then evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vision", choices=("neurons", "identity"), default="neurons", help="what encodes the sensors")
    parser.add_argument("--preset", default="laptop", choices=("tiny", "laptop"))
    parser.add_argument("--updates", type=int, default=3000, help="updates of the autoencoder")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of episodes, M and C")
    parser.add_argument("--generations", type=int, default=60, help="largest number of generations of C in a round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=100, help="episodes of each evaluation")
    parser.add_argument("--out", type=Path, default=Path("runs/sensory-dream"))
    options = parser.parse_args()
    out, seed, file = options.out.resolve(), options.seed, str(options.out.resolve() / "neurons.safetensors")

    def seen(world: World) -> World:
        return Encoded(world, file) if options.vision == "neurons" else world

    if options.vision == "neurons" and not Path(file).exists():
        ordered = {"collect": world_model(options.preset, "cart-pole")["collect"]}
        # other processes do not know a class of this script
        sensorium.train("world-model", options.preset, out / "ordered", seed, on="here", stages=ordered)
        train_neurons(out / "ordered" / "1-collect", Path(file), options.updates, seed)
    stages = recipe(options.preset, seen, options.rounds, options.generations)
    sensorium.train("world-model", options.preset, out, seed, on="here", stages=stages)
    for folder in sorted((path for path in out.glob("*-controller*")), key=lambda path: int(path.name.split("-")[0])):
        stage, state = checkpoint.restored(folder)
        assert isinstance(stage, Controller)
        places = {"its dream": stage.in_dream(state)}
        inner = stage.world.world if isinstance(stage.world, Encoded) else stage.world
        places |= {name: (seen(altered(inner, senses)), stage.policy(state)) for name, senses in SENSES.items()}
        for name, (world, policy) in places.items():
            found = evaluate(world, policy, options.episodes, 1_000_000 + seed)
            low, high = found["ci95"]
            print(f"{options.vision}, {folder.name}, {name}: {found['mean']:.0f} [{low:.0f}, {high:.0f}]", flush=True)


if __name__ == "__main__":
    main()
