"""A generation of 256 permutation-invariant cart-pole agents x 16 episodes x 1,000 steps, compared with a plain loop and EvoJAX."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.evojax_generation import KINDS
from bench.interleave import interleaved, row
from sensorium.core import checkpoint, zoo
from sensorium.core.errors import Failure
from sensorium.core.log import memory_megabytes
from sensorium.core.rollout import play
from sensorium.core.seeding import Seeds
from sensorium.envs.cart_pole import CartPole
from sensorium.es.pgpe import PGPE
from sensorium.systems.attention_neuron.model import SensoryAgent

POPULATION, EPISODES, HORIZON, SIGMA = 256, 16, 1000, 0.1
NOMINAL = POPULATION * EPISODES * HORIZON
ROUNDS = 7


def good_weights() -> tuple[str, np.ndarray]:
    """Label and parameters: the authors' weights if SENSORIUM_REFERENCE has them, else those of the zoo."""
    reference = Path(os.environ.get("SENSORIUM_REFERENCE", Path(__file__).resolve().parents[2] / "shared" / "reference"))
    path = reference / "attention_neuron" / "cartpole_pi.npz"
    if path.exists():
        return "the authors' weights", np.load(path)["params"]
    found = checkpoint.load(checkpoint.agent(zoo.FOLDER / "cart-pole-clone"))
    assert found is not None
    return "the zoo's weights", found[1]["agent"].float().numpy()


class Ours:
    """Ask, play and tell, as in `Evolve`."""

    def __init__(self, start: np.ndarray):
        self.search, self.start = PGPE(population=POPULATION, sigma=SIGMA), torch.from_numpy(start)
        self.generation, self.steps = 0, 0

    def __call__(self) -> float:
        """Seconds of one generation around the start vector."""
        self.generation += 1
        seeds, state, agent = Seeds(0, "bench", self.generation), self.search.init(self.start), SensoryAgent()
        began = time.perf_counter()
        candidates = self.search.ask(state, seeds("ask"))
        rollout = play(CartPole().open(), agent.policy(candidates), seeds.rows("episodes", EPISODES).repeat(POPULATION))
        self.search.tell(state, candidates, rollout.returns.view(POPULATION, EPISODES).mean(1))
        took = time.perf_counter() - began
        self.steps = int(rollout.lengths.sum())
        return took


class PlainLoop:
    """One candidate and one episode at a time, as in the authors' loop; seconds scaled to the nominal steps of a generation."""

    def __init__(self, start: np.ndarray):
        self.weights, self.seed, self.steps_per_second = torch.from_numpy(start), 0, 0.0

    def __call__(self) -> float:
        world, policy = CartPole(), SensoryAgent().policy(self.weights)
        began, steps = time.perf_counter(), 0
        with torch.no_grad():
            while steps < 1500:
                self.seed += 1
                seeds = torch.tensor([self.seed])
                state, memory = world.initial(seeds), policy.begin(seeds)
                obs = world.observe(state)
                for t in range(HORIZON):
                    action, memory = policy.act(obs, memory, t)
                    state, step = world.transition(state, action, t)
                    obs, steps = step.obs, steps + 1
                    if bool(step.terminated[0]) or steps >= 1500:
                        break
        self.steps_per_second = steps / (time.perf_counter() - began)
        return NOMINAL / self.steps_per_second


class EvoJAX:
    """EvoJAX's PermutationInvariantPolicy on its CartPoleSwingUp, with the interpreter in SENSORIUM_EVOJAX_PYTHON."""

    def __init__(self, kind: str, start: np.ndarray):
        script = Path(__file__).with_name("evojax_generation.py")
        path = Path(os.environ.get("TMPDIR", "/tmp")) / f"sensorium-bench-{os.getpid()}-{kind}.npy"
        np.save(path, start)
        python = os.environ["SENSORIUM_EVOJAX_PYTHON"]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        try:
            self.child = subprocess.Popen(
                [python, str(script), kind, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
        except OSError as error:
            raise Failure(f"SENSORIUM_EVOJAX_PYTHON names no interpreter ({error})") from None
        self()  # compile
        path.unlink()

    def __call__(self) -> float:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write("go\n")
        self.child.stdin.flush()
        for line in self.child.stdout:
            if line.startswith("took "):
                return float(line.split()[1])
        raise Failure(f"EvoJAX ended with exit code {self.child.wait()}; its output is above")

    def close(self) -> None:
        assert self.child.stdin is not None
        self.child.stdin.close()
        self.child.wait()


def generation() -> list[dict[str, Any]]:
    """Steps per second, nominal and before the end of episodes, around zero and around good weights; vs. plain loop and EvoJAX."""
    rows = []
    label, good = good_weights()
    for kind, start in zip(KINDS, (np.zeros_like(good), good), strict=True):
        where = "zero" if kind == "zero" else label
        ours, plain = Ours(start), PlainLoop(start)
        works: dict[str, Any] = {"ours": ours, "plain": plain}
        if os.environ.get("SENSORIUM_EVOJAX_PYTHON"):
            works["evojax"] = EvoJAX(kind, start)
        for _ in range(3):  # compile for all batch sizes
            ours()
        steps: list[float] = []
        works["ours"] = lambda ours=ours, steps=steps: (ours(), steps.append(ours.steps))[0]
        found = interleaved(works, ROUNDS)
        played = float(np.median(steps)) / found["ours"]
        more = "" if kind == "good" else "-around-zero"
        rows.append(row(f"cart-pole/generation{more}", NOMINAL / found["ours"], f"nominal steps/s, around {where}"))
        rows.append(row(f"cart-pole/plain-loop{more}", played, "played steps/s", "one at a time, not compiled", NOMINAL / found["plain"]))
        if "evojax" in found:
            works["evojax"].close()
            rows.append(row(f"cart-pole/evojax{more}", found["ours"], "s/generation", "EvoJAX", found["evojax"], faster=False))
        else:
            rows.append(row(f"cart-pole/evojax{more}", found["ours"], "s/generation", "EvoJAX not measured: set SENSORIUM_EVOJAX_PYTHON"))
    rows.append(row("cart-pole/generation-memory", memory_megabytes(), "MB, peak"))
    return rows


ROWS = {"cart-pole/generation": generation, "cart-pole/plain-loop": generation, "cart-pole/evojax": generation}
