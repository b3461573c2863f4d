"""Machine-specific settings: memory allocator, threads, compilation, data types, and the machine's description for cards."""

import ctypes
import functools
import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sensorium.core.seeding import name_hash

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's mallopt


def keep_pages() -> bool:
    """Set glibc to keep the pages of freed tensors instead of returning them to the system. Returns whether it succeeded.

    SENSORIUM_MALLOC=system disables this.
    """
    if os.environ.get("SENSORIUM_MALLOC") == "system" or not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


@functools.cache
def load_triton() -> None:
    """Load Triton, where torch brings it, before an OpenGL library: Mesa and Triton both contain LLVM, and loading Triton second ends the process.

    It is not loaded if Mesa's LLVM is there already; then torch.compile may end the process later.
    """
    with suppress(OSError):
        if "libLLVM" in Path("/proc/self/maps").read_text():
            return
    with suppress(ImportError):
        importlib.import_module("triton._C.libtriton")


@functools.cache
def can_compile() -> bool:
    """Whether a C++ compiler is available for Inductor; prints one warning where it is not."""
    if shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++"):
        return True
    print("sensorium: no C++ compiler found (apt-get install g++): steps run uncompiled, several times slower", file=sys.stderr)
    return False


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.compile` for static shapes; `function` itself where there is no compiler."""
    if not can_compile():
        return function
    import torch._dynamo
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    # kernels of one instruction set that another loads from a shared cache overwrite memory (torch 2.13)
    place = os.path.join(os.path.expanduser("~"), ".cache", "sensorium", "inductor", capability().lower())
    # torch itself sets its default as soon as it looks for the folder
    if os.environ.get("TORCHINDUCTOR_CACHE_DIR", default_cache_dir()) == default_cache_dir():
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = place

    # each batch size and each policy type is compiled separately
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    # names of seeds are constants
    torch.compiler.assume_constant_result(name_hash)
    return torch.compile(function, dynamic=False)


@contextmanager
def one_thread() -> Iterator[None]:
    """Context in which torch uses one thread, as in worker processes."""
    with at_most(1):
        yield


@contextmanager
def at_most(limit: int) -> Iterator[None]:
    """Context in which torch uses at most this number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(min(limit, threads))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def capability() -> str:
    """The instruction set of torch's CPU kernels: the processor's, or a lower one by the environment variable ATEN_CPU_CAPABILITY."""
    return torch.backends.cpu.get_cpu_capability()


def product_type(device: torch.device | str = "cpu") -> torch.dtype:
    """bfloat16 where the device and the instruction set in use support it natively, else float32."""
    if torch.device(device).type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if "bf16" in _flags() and "AVX512" in capability() else torch.float32


_kept: dict[str, str] | None = None


@contextmanager
def keeping(implementations: dict[str, str]) -> Iterator[dict[str, str]]:
    """Context in which `implementation` returns those given, of a run's card; yields the dict, to which new choices are added."""
    global _kept
    before, _kept = _kept, dict(implementations)
    try:
        yield _kept
    finally:
        _kept = before


def implementation(subject: str, preferred: Any) -> Any:
    """Name of the implementation of `subject` that this run uses: its card's, else `preferred`, which the machine decides.

    For `Stage.open`: `run` writes what is chosen there into the card, so that a run resumed on another machine keeps it.
    """
    return preferred if _kept is None else _kept.setdefault(subject, preferred)


def products(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Autocast context for large matrix products in `dtype`.

    The cast cache is off: a weight cast under no_grad must not be reused where its gradient is needed.
    """
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32, cache_enabled=False)


def repeatable(device: str) -> None:
    """Make CUDA deterministic; call before the first matrix product. CPUs need nothing."""
    if torch.device(device).type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False


def facts(device: str = "cpu") -> dict[str, Any]:
    """Hardware and versions that affect the bits and speed of results, for cards and `bench`."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "capability": capability(),
        "flags": _flags(),
        "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "compiler": can_compile(),
    }


def _flags() -> str:
    """The CPU flags that select kernels, separated by spaces."""
    wanted = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16")
    try:
        with open("/proc/cpuinfo") as lines:
            found = next((line for line in lines if line.startswith("flags")), "").split()
    except OSError:
        found = []
    return " ".join(flag for flag in wanted if flag in found)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
