"""Offscreen rendering of MuJoCo models; one context serves many simulations of a model."""

import functools
import importlib
import os
import subprocess
import sys
from typing import Any

import numpy as np
from jaxtyping import UInt8

from sensorium.core.errors import Failure
from sensorium.core.machine import load_triton

GEOMS = 2000
"""maximum number of geoms in a scene"""
PROBE = (
    "import mujoco; from sensorium.envs.renderer import surface; c = surface(8); c.make_current(); "
    "mujoco.MjrContext(mujoco.MjModel.from_xml_string('<mujoco/>'), mujoco.mjtFontScale.mjFONTSCALE_150); c.free()"
)
"""program that tests rendering; it may crash"""


def surface(size: int) -> Any:
    """An OpenGL context of size x size pixels; EGL on Linux unless MUJOCO_GL is set. Errors: core.errors.Failure for an invalid one."""
    way = os.environ.get("MUJOCO_GL", "egl" if sys.platform.startswith("linux") else "glfw")
    if way not in ("egl", "osmesa", "glfw"):
        raise Failure(f"MUJOCO_GL cannot be '{way}'; allowed: egl, osmesa, glfw")
    # mujoco itself would select it at its first import
    return importlib.import_module(f"mujoco.{way}").GLContext(size, size)


def choose() -> None:
    """On Linux, set MUJOCO_GL to egl unless it is set; call before mujoco and dm_control are imported."""
    load_triton()
    if sys.platform.startswith("linux"):
        os.environ.setdefault("MUJOCO_GL", "egl")


@functools.cache
def prepare() -> None:
    """Select the rendering backend and test it in a child process. Errors: core.errors.Failure where rendering fails."""
    choose()
    try:
        child = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        raise Failure("rendering does not work here: a test did not end within two minutes") from None
    if child.returncode:
        why = (child.stderr.strip().splitlines() or [f"killed by signal {-child.returncode}"])[-1]
        raise Failure(f"rendering does not work here ({why}); apt-get install libegl1 libgl1, or set MUJOCO_GL=osmesa")


class Renderer:
    """Renders simulations of one model; opened, used and closed in the same thread."""

    def __init__(self, size: int, camera: int | str, fast: bool):
        self.size, self.camera, self.fast = size, camera, fast
        self.context: Any = None

    def open(self, model: Any) -> None:
        mujoco: Any = importlib.import_module("mujoco")
        self.mujoco = mujoco
        self.surface = surface(self.size)
        self.surface.make_current()
        quality = model.vis.quality
        kept = quality.offsamples, quality.shadowsize
        if self.fast:
            quality.offsamples, quality.shadowsize = 0, 0
        self.context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        quality.offsamples, quality.shadowsize = kept
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self.context)
        self.scene = mujoco.MjvScene(model, GEOMS)
        if self.fast:
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                self.scene.flags[flag] = 0
        self.view, self.viewpoint = mujoco.MjvOption(), mujoco.MjvCamera()
        self.frame = mujoco.MjrRect(0, 0, self.size, self.size)
        self.viewpoint.type = mujoco.mjtCamera.mjCAMERA_FIXED

    def ready(self, physics: Any) -> None:
        """Create the context where there is none. Meanwhile no other thread may render: OpenGL's functions are loaded globally."""
        if self.context is None:
            self.open(physics.model.ptr)

    def draw(self, physics: Any) -> UInt8[np.ndarray, "size size 3"]:
        """An image of the current state of a dm_control physics."""
        model, data = physics.model.ptr, physics.data.ptr
        self.ready(physics)
        mj = self.mujoco
        self.surface.make_current()
        self.viewpoint.fixedcamid = self.camera if isinstance(self.camera, int) else physics.model.name2id(self.camera, "camera")
        mj.mjv_updateScene(model, data, self.view, None, self.viewpoint, mj.mjtCatBit.mjCAT_ALL.value, self.scene)
        mj.mjr_render(self.frame, self.scene, self.context)
        picture = np.empty((self.size, self.size, 3), dtype=np.uint8)
        mj.mjr_readPixels(picture, None, self.frame, self.context)
        return picture[::-1]

    def close(self) -> None:
        if self.context is not None:
            self.surface.make_current()
            self.context.free()
            self.surface.free()
            self.context = None
