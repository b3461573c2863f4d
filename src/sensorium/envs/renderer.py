"""Pictures of MuJoCo models without a screen, many bodies from one context."""

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
"""most shapes of a scene"""
PROBE = (
    "import mujoco; from sensorium.envs.renderer import surface; c = surface(8); c.make_current(); "
    "mujoco.MjrContext(mujoco.MjModel.from_xml_string('<mujoco/>'), mujoco.mjtFontScale.mjFONTSCALE_150); c.free()"
)
"""a program that draws, or dies"""


def surface(size: int) -> Any:
    """What OpenGL draws on: by EGL on Linux, unless MUJOCO_GL says otherwise."""
    way = os.environ.get("MUJOCO_GL", "egl" if sys.platform.startswith("linux") else "glfw")
    if way not in ("egl", "osmesa", "glfw"):
        raise Failure(f"MUJOCO_GL cannot be '{way}'; allowed: egl, osmesa, glfw")
    # chosen here and not by mujoco, which chooses when it is first imported, by whomever
    return importlib.import_module(f"mujoco.{way}").GLContext(size, size)


def choose() -> None:
    """On Linux, have mujoco and dm_control draw by EGL unless the user wants otherwise; before they are imported, for they look only then."""
    load_triton()
    if sys.platform.startswith("linux"):
        os.environ.setdefault("MUJOCO_GL", "egl")


@functools.cache
def prepare() -> None:
    """Choose a way to draw, and try in a child process whether it works at all."""
    choose()
    try:
        child = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        raise Failure("nothing can be drawn here: a trial was not done within two minutes") from None
    if child.returncode:
        why = (child.stderr.strip().splitlines() or [f"died with signal {-child.returncode}"])[-1]
        raise Failure(f"nothing can be drawn here ({why}); apt-get install libegl1 libgl1, or set MUJOCO_GL=osmesa")


class Renderer:
    """Draws bodies of one kind; opened, used and closed in one thread."""

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
        self.view, self.eye = mujoco.MjvOption(), mujoco.MjvCamera()
        self.frame = mujoco.MjrRect(0, 0, self.size, self.size)
        self.eye.type = mujoco.mjtCamera.mjCAMERA_FIXED

    def ready(self, physics: Any) -> None:
        """Make a context, unless there is one. While that is done no other thread may draw: OpenGL's functions are looked up anew for all."""
        if self.context is None:
            self.open(physics.model.ptr)

    def draw(self, physics: Any) -> UInt8[np.ndarray, "size size 3"]:
        """A dm_control physics as it is now."""
        model, data = physics.model.ptr, physics.data.ptr
        self.ready(physics)
        mj = self.mujoco
        self.surface.make_current()
        self.eye.fixedcamid = self.camera if isinstance(self.camera, int) else physics.model.name2id(self.camera, "camera")
        mj.mjv_updateScene(model, data, self.view, None, self.eye, mj.mjtCatBit.mjCAT_ALL.value, self.scene)
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
