"""ONNX files as policies, and the stage that an imported one is.

A file from a stranger cannot run code or read other files: external data, custom operators and files that are no ONNX are refused before
ONNX Runtime gets them. An agent's folder holds the file's bytes as its state, so a card names no file.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sensorium.core import card as cards
from sensorium.core import checkpoint
from sensorium.core.env import World
from sensorium.core.errors import Failure, Usage
from sensorium.core.machine import facts
from sensorium.core.seeding import Seeds
from sensorium.core.stage import State
from sensorium.envs.host import extra
from sensorium.policies.actions import Actions, Units, uncompiled

STANDARD = ("", "ai.onnx", "ai.onnx.ml")
"""domains of ONNX's own operators"""
RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
"""operators whose results are no functions of their inputs"""
MEMORY, NEXT = "memory.", "next_memory."
"""prefixes of the inputs and outputs that carry the memory of a recurrent policy"""
KINDS = {"tensor(float)": torch.float32, "tensor(uint8)": torch.uint8}
"""types of observations"""
LARGEST = 2**26
"""largest number of memory entries of a row"""


def read(path: Path) -> bytes:
    """The bytes of a file. Errors: core.errors.Usage where there is none, core.errors.Failure where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise Usage(f"no file {path}") from None
    except OSError as error:
        raise Failure(f"{path} cannot be read ({error.strerror})") from None


def parts(message: Any) -> Iterator[Any]:
    """A protobuf message and all messages in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            # a single message, or several
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from parts(part)


def require_safe(data: bytes, what: str) -> None:
    """Check that bytes are an ONNX model whose nodes and data are all in these bytes.

    Errors: core.errors.Failure for other formats, external data, operators that are not ONNX's own and operators that draw random numbers.
    """
    onnx = extra("onnx", "onnx")
    message = extra("google.protobuf.message", "onnx")
    try:
        model = onnx.load_model_from_string(data)
        found = list(parts(model))
    except (message.DecodeError, ValueError, RecursionError) as error:
        raise Failure(f"{what} is damaged, or no ONNX file ({first_line(error)})") from None
    own = {(function.domain, function.name) for function in model.functions}
    for part in found:
        if isinstance(part, onnx.TensorProto) and (part.data_location == onnx.TensorProto.EXTERNAL or part.external_data):
            raise Failure(f"{what} keeps data in other files, which is refused; save it as one file")
        if isinstance(part, onnx.NodeProto) and part.domain not in STANDARD and (part.domain, part.op_type) not in own:
            raise Failure(f"{what} uses the operator {part.op_type!r} of {part.domain!r}; allowed: ONNX's own operators")
        if isinstance(part, onnx.NodeProto) and part.op_type in RANDOM:
            raise Failure(f"{what} draws random numbers ({part.op_type}); export its deterministic action")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, shortened."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200]


def session(data: bytes, what: str) -> Any:
    """An ONNX Runtime session of a model on the CPU. Errors: core.errors.Failure as `require_safe`, or where ONNX Runtime refuses it."""
    require_safe(data, what)
    runtime = extra("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # its other format would pass by `require_safe`
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:
        raise Failure(f"{what} cannot be opened by ONNX Runtime ({first_line(error)})") from None


class OnnxPolicy:
    """An ONNX model as a Policy: one input, observations [batch, ...] in float32 or uint8, and one output, actions or logits.

    A recurrent model also has float inputs `memory.*` [batch, ...], which begin at zero, and outputs `next_memory.*`.
    """

    members = 1

    def __init__(self, data: bytes, actions: Actions):
        self.actions, self.session, what = actions, session(data, actions.policy), actions.policy
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        try:
            [(part.name, part.type, part.shape) for part in (*inputs, *outputs)]
        except UnicodeDecodeError:
            raise Failure(f"{what} is damaged (a name is no text)") from None
        self.memory = [part for part in inputs if part.name.startswith(MEMORY)]
        observed, acted = ([p for p in side if not p.name.startswith(prefix)] for side, prefix in ((inputs, MEMORY), (outputs, NEXT)))
        for side, found in (("input", observed), ("output", acted)):
            if len(found) != 1:
                raise Failure(
                    f"{what} has {len(found)} {side}s ({', '.join(p.name for p in found)}); a policy has one, besides those named memory.*"
                )
        self.observation, self.acted = observed[0], acted[0]
        if self.observation.type not in KINDS:
            raise Failure(f"{what} takes {self.observation.type}; allowed: {', '.join(KINDS)}")
        carried = {part.name for part in outputs} - {self.acted.name}
        if carried != {NEXT + part.name.removeprefix(MEMORY) for part in self.memory}:
            raise Failure(f"the inputs named {MEMORY}* and the outputs named {NEXT}* of {what} do not correspond")
        for part in (self.observation, *self.memory):
            if not part.shape or isinstance(part.shape[0], int):
                raise Failure(f"{what} has the input {part.name} {part.shape}; its first axis has to be a batch of any size")
        for part in self.memory:
            sizes = part.shape[1:]
            if part.type != "tensor(float)" or not all(isinstance(n, int) and n > 0 for n in sizes) or math.prod(sizes) > LARGEST:
                raise Failure(f"{what} has the memory {part.name} {part.type} {part.shape}; it has to be float with fixed sizes")
        if spec := actions.spec:
            self.require_fit(spec.observation, torch.float32 if spec.kind == "vector" else torch.uint8)

    def require_fit(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        """Check an observation's shape and type. Errors: core.errors.Failure."""
        sizes, wanted = self.observation.shape[1:], KINDS[self.observation.type]
        fits = len(sizes) == len(shape) and all(not isinstance(size, int) or size == n for size, n in zip(sizes, shape, strict=False))
        if not fits or dtype != wanted:
            mine, given = (str(kind).removeprefix("torch.") for kind in (wanted, dtype))
            raise Failure(f"{self.actions.policy} takes observations {mine} {sizes}, not {given} {list(shape)}")

    def take(self, members: Int[Tensor, "some"]) -> "OnnxPolicy":
        return self

    def begin(self, seeds: Int[Tensor, "rows"]) -> tuple[Tensor, ...]:
        return tuple(torch.zeros(len(seeds), *part.shape[1:], device=seeds.device) for part in self.memory)

    @uncompiled
    def act(self, obs: Tensor, memory: tuple[Tensor, ...], t: int | Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        self.require_fit(tuple(obs.shape[1:]), obs.dtype)
        given = {self.observation.name: obs, **{part.name: value for part, value in zip(self.memory, memory, strict=True)}}
        carried = [NEXT + part.name.removeprefix(MEMORY) for part in self.memory]
        try:
            found = self.session.run(
                [self.acted.name, *carried], {name: np.ascontiguousarray(part.cpu().numpy()) for name, part in given.items()}
            )
        except Exception as error:
            raise Failure(f"{self.actions.policy} failed on {len(obs)} observations ({first_line(error)})") from None
        action = self.actions(found[0], len(obs), obs.device)
        after = tuple(torch.from_numpy(part).to(obs.device) for part in found[1:])
        for name, old, new in zip(carried, memory, after, strict=True):
            if old.shape != new.shape:
                raise Failure(f"{self.actions.policy} returned {name} {list(new.shape)}; expected {list(old.shape)}")
        return action, after


@dataclass(frozen=True)
class Onnx:
    """A policy from an ONNX file, as a stage without training. Its state holds the bytes of the file."""

    learned = ("onnx",)

    world: World
    sha256: str
    """SHA-256 of the ONNX file"""
    units: Units = "world"
    """what the file returns: actions that the world takes, or the environment's own, which the world scales"""
    steps: int = 0
    checkpoint_every: int = 1

    def __post_init__(self) -> None:
        if self.steps:
            raise Usage(f"steps cannot be {self.steps}; an imported policy is not trained: 0")

    def init(self, seeds: Seeds) -> NoReturn:
        raise Usage("an imported policy has no training; `sensorium import onnx` makes its folder")

    def open(self, state: State) -> None:
        return None

    def step(self, state: State, live: None, seeds: Seeds) -> NoReturn:
        raise Usage("an imported policy has no training")

    def file(self, state: State) -> bytes:
        """The bytes of the file. Errors: core.errors.Failure where they are not those of the card."""
        data = state["onnx"].cpu().numpy().tobytes() if "onnx" in state else b""
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise Failure("the ONNX file in the checkpoint is not the one that the card names (SHA-256); import it again")
        return data

    def policy(self, state: State) -> OnnxPolicy:
        return OnnxPolicy(self.file(state), Actions("the ONNX file", self.world.spec, self.units))


def imported(files: list[Path], out: Path, world: World, units: Units = "world") -> list[str]:
    """Write an ONNX file as an agent's folder; returns lines for the user.

    Errors: core.errors.Usage for several files or a folder in use, core.errors.Failure for a file that is no policy of the world.
    """
    if len(files) != 1:
        raise Usage(f"this kind takes one file, not {len(files)}")
    if (out / "card.json").exists():
        raise Usage(f"{out} holds an agent already; use another --out")
    data = read(files[0])
    stage = Onnx(world, hashlib.sha256(data).hexdigest(), units)
    state = {"onnx": torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.zeros(0, dtype=torch.uint8)}
    spec = world.spec
    # one step, so that an output that does not fit is found here
    policy, seeds = stage.policy(state), torch.arange(2)
    policy.act(torch.zeros(2, *spec.observation, dtype=torch.float32 if spec.kind == "vector" else torch.uint8), policy.begin(seeds), 0)
    card = {
        "format": cards.FORMAT, "stage": cards.plain(stage), "seed": None, "recipe": "", "preset": "imported", "source": files[0].name,
        "machine": facts(),
    }  # fmt: skip
    with checkpoint.writing(out):
        out.mkdir(parents=True, exist_ok=True)
        checkpoint.write_json(out / "card.json", card)
    checkpoint.save(out, 0, state)
    memory = f" with a memory of {len(policy.memory)} parts" if policy.memory else ""
    return [f"imported a policy{memory} of {len(data):,} bytes for {spec.name} into {out} (`sensorium evaluate {out}`)"]
