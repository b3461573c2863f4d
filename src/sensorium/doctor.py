"""Checks of this machine: each world and tool is tested in a child process, so that a crash is reported as a result."""

import multiprocessing
import os
import re
import signal
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from sensorium.core.errors import Usage
from sensorium.envs import worlds
from sensorium.envs.rows import MODULES

EXTRAS = {
    "envpool": "envpool",
    "box2d": "Box2D",
    "doom": "vizdoom",
    "control": "dm_control",
    "bullet": "pybullet_envs_gymnasium",
    "atari": "ale_py",
    "minari": "minari",
    "onnx": "onnxruntime",
    "sb3": "sb3_contrib",
    "web": "fastapi",
    "ray": "ray",
}
"""extra -> module that it installs"""

CHECKS = (
    ("cart-pole", "import sensorium; w = sensorium.world('cart-pole'); import torch; print(tuple(w.open().reset(torch.arange(3)).shape))", "pip install -e ."),
    (
        "compiled steps",
        "import torch; print(float(torch.compile(lambda x: (x * 2).sum(), dynamic=False)(torch.ones(3))))",
        "apt-get install g++ (without a compiler steps run uncompiled, several times slower)",
    ),
    (
        "memory allocator settings",
        "from sensorium.core.machine import keep_pages; assert keep_pages(); print('mallopt set; SENSORIUM_MALLOC=system disables it')",
        "glibc on Linux only; unset SENSORIUM_MALLOC",
    ),
    (
        "bfloat16",
        "import torch; c = torch.backends.cpu.get_cpu_capability(); f = open('/proc/cpuinfo').read(); assert 'avx512_bf16' in f or 'amx_bf16' in f; print(c)",
        "this processor has no bfloat16 products; float32 is used",
    ),
    ("CUDA", "import torch; assert torch.cuda.is_available(); print(torch.cuda.get_device_name())", "no CUDA device, or a CPU build of torch (pytorch.org/get-started)"),
    (
        "video (H.264)",
        "import tempfile, pathlib, numpy as np; from sensorium.viz.video import write_mp4; "
        "p = pathlib.Path(tempfile.mkdtemp()) / 'x.mp4'; write_mp4(p, [np.zeros((64, 64, 3), np.uint8)] * 5); print(p.stat().st_size, 'bytes written')",
        "pip install imageio-ffmpeg",
    ),
    *(
        (
            f"world {name}, engine {engine}",
            f"import torch, sensorium; e = sensorium.world('{name}', engine='{engine}', horizon=3).open(); e.reset(torch.arange(2)); "
            f"s = e.step(torch.zeros(2, e.spec.action)); e.close(); print(tuple(s.obs.shape), s.obs.dtype)",
            f"pip install 'sensorium[{extra}]'",
        )
        for name, engine, extra in (
            ("car-racing", "envpool", "envpool"), ("car-racing", "gymnasium", "box2d"), ("take-cover", "envpool", "envpool"), ("take-cover", "vizdoom", "doom"),
            ("control", "envpool", "envpool"), ("control", "dm_control", "control"),
        )
    ),
    *(
        (
            f"world {name}",
            f"import torch, sensorium; e = sensorium.world('{name}', horizon=3).open(); e.reset(torch.arange(2)); "
            f"s = e.step(torch.zeros(2, e.spec.action)); e.close(); print(tuple(s.obs.shape), s.obs.dtype)",
            mend,
        )
        for name, mend in (
            ("pong", "pip install 'sensorium[envpool]'"), ("ant-v5", "pip install 'sensorium[envpool]'"),
            ("ant", "pip install 'sensorium[bullet]' (PyBullet has wheels for Python 3.11 alone; newer ones need its source and a compiler)"),
        )
    ),
    (
        "offscreen rendering",
        "from sensorium.envs.renderer import prepare; prepare(); import torch, sensorium; e = sensorium.world('control', pixels=True, horizon=3).open(); "
        "o = e.reset(torch.arange(2)); e.close(); print(tuple(o.shape), o.dtype)",
        "pip install 'sensorium[control]'; apt-get install libegl1 libgl1 (or MUJOCO_GL=osmesa, with libosmesa6)",
    ),
    *(
        (f"extra {name}", f"import {module}; print(getattr({module}, '__version__', 'works'))", f"pip install 'sensorium[{name}]'")
        for name, module in EXTRAS.items()
    ),
    (
        "Gymnasium",
        "import sensorium, gymnasium; e = gymnasium.make('sensorium/CartPoleSwingUpHarder-v0'); e.reset(seed=0); print(gymnasium.__version__)",
        "pip install 'gymnasium>=1.1'",
    ),
    ("EvoJAX, for `bench`", "import os, subprocess; p = os.environ['SENSORIUM_EVOJAX_PYTHON']; print(subprocess.check_output([p, '-c', 'import evojax; print(evojax.__file__)'], text=True).strip())", "set SENSORIUM_EVOJAX_PYTHON to an interpreter that has the evojax package"),
)  # fmt: skip
"""name, a program that prints the details, and the line that fixes a failure"""


def children(*imported: str) -> ForkServerContext:
    """A forkserver context with these modules imported; importing torch in each child would take 2 s of CPU time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(imported))
    return context


def attempt(program: str, stdout: str, stderr: str) -> None:
    """In a child process: run a program with stdout and stderr redirected to files, in a new process group that can be killed."""
    os.setsid()
    for path, stream in ((stdout, 1), (stderr, 2)):
        with open(path, "wb") as file:
            os.dup2(file.fileno(), stream)
    exec(program, {})


def examine(name: str, program: str, mend: str) -> dict[str, Any]:
    """Run one check in a child process, for at most two minutes; returns an item of `diagnose`."""
    with tempfile.TemporaryDirectory() as place:
        stdout, stderr = Path(place, "stdout"), Path(place, "stderr")
        child = children("torch", "sensorium").Process(target=attempt, args=(program, str(stdout), str(stderr)))
        child.start()
        child.join(120)
        late = child.is_alive()
        assert child.pid
        with suppress(ProcessLookupError):  # simulators may still run
            os.killpg(child.pid, signal.SIGKILL)
        if late:
            return {"name": name, "works": False, "detail": "no answer within two minutes", "mend": mend}
        works = child.exitcode == 0
        output = stdout if works else stderr
        lines = output.read_text(errors="replace").strip().splitlines() if output.exists() else []
        code = child.exitcode or 0
    died = f"killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
    detail = re.sub(r"^sensorium\.core\.errors\.\w+: ", "", lines[-1] if lines else "" if works else died)
    mend = mend or detail
    return {"name": name, "works": works, "detail": detail, "mend": mend}


WORLD_CHECKS = (("Gymnasium's check_env", "interface"), ("a row is a function of its seed and actions", "repeats"), ("speed", "speed"))
"""name, and the function of `envs.examine`"""


def diagnose_world(name: str) -> list[dict[str, Any]]:
    """Checks of one Gymnasium environment, each in a child process; items as of `diagnose`."""
    if not name.startswith(worlds.GYM):
        raise Usage(f"doctor cannot examine '{name}'; allowed: gym:ID (without --world it checks all other worlds)")
    worlds.world(name)
    # the server that starts the children may be older than this environment variable
    program = "import os; os.environ[{0!r}] = {1!r}; from sensorium.envs import worlds; from sensorium.envs.examine import {2}; print({2}(worlds.world({3!r})))"
    modules = os.environ.get(MODULES, "")
    return [examine(label, program.format(MODULES, modules, check, name), "") for label, check in WORLD_CHECKS]


def diagnose() -> list[dict[str, Any]]:
    """Run all checks, one per core at a time; returns a list of {"name", "works", "detail", "mend"}."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(examine, *zip(*CHECKS, strict=True)))
