"""This machine, used as it is: the allocator, threads, whether steps can be compiled, and the facts that go into a card."""

import ctypes
import functools
import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's mallopt


def keep_pages() -> bool:
    """Have glibc keep the pages of freed tensors instead of handing them back at every step; True where that worked.

    SENSORIUM_MALLOC=system leaves the allocator alone.
    """
    if os.environ.get("SENSORIUM_MALLOC") == "system" or not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1))


@functools.cache
def load_triton() -> None:
    """Load Triton, where torch brings it, before an OpenGL library: Mesa and Triton both contain LLVM, and loading Triton second ends the process."""
    with suppress(ImportError):
        importlib.import_module("triton._C.libtriton")


@functools.cache
def can_compile() -> bool:
    """Whether Inductor finds a C++ compiler; says so once where it does not."""
    if shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++"):
        return True
    print("sensorium: no C++ compiler found (apt-get install g++): steps run uncompiled, several times slower", file=sys.stderr)
    return False


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` for static shapes, compiled where this machine can."""
    if not can_compile():
        return function
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(os.path.expanduser("~"), ".cache", "sensorium", "inductor"))
    import torch._dynamo

    # each rung of the ladder and each kind of policy is a version of its own
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    return torch.compile(function, dynamic=False)


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, torch works with one thread, as jobs do in processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def product_type(device: torch.device | str = "cpu") -> torch.dtype:
    """The type in which this machine multiplies matrices fastest without loss that matters: bfloat16 where it is built in, else float32."""
    if torch.device(device).type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if "bf16" in _flags() else torch.float32


def products(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Within, large products run in `dtype`. Nothing is cached: a weight that was cast without a gradient must not be met again with one."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32, cache_enabled=False)


def repeatable(device: str) -> None:
    """Have a GPU compute the same bits each time; a processor does so anyway. Before its first product."""
    if torch.device(device).type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False


def facts(device: str = "cpu") -> dict[str, Any]:
    """What the bits of a result depend on, and what its speed does: for cards and `doctor`."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "flags": _flags(),
        "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "compiler": can_compile(),
    }


def _flags() -> str:
    """Those of the processor's abilities that decide which kernels run."""
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
