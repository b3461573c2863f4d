"""ViZDoom's TakeCover as in World Models: 64 x 64 images, one action, a reward of 1 per tic (1/35 s) survived.

Monsters throw fireballs from the far wall; the player moves left or right. There are three monsters at first, one more every 60 tics.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sensorium.core.env import EnvSpec
from sensorium.core.errors import Usage
from sensorium.core.processes import guarded
from sensorium.envs.host import HostEnv, Pool, extra, temporary_directory
from sensorium.envs.pixels import SIZE, small
from sensorium.envs.pixels import legacy as legacy_pixels

THRESHOLD = 1 / 3
"""actions above it move right, below its negative left; between them the player stands still"""
SKILL = 4
"""skill 4: the authors set 5, which old ViZDoom treated as 4"""
SCREEN = 400
"""height of the paper's screen above the panel, of 480"""


def moves(action: np.ndarray) -> np.ndarray:
    """-1 left, 0 stand, 1 right."""
    return (action[:, 0] > THRESHOLD).astype(np.int64) - (action[:, 0] < -THRESHOLD)


@dataclass(frozen=True)
class TakeCover:
    """One action in [-1, 1]: left below -1/3, right above 1/3. The score is the number of tics survived."""

    engine: Literal["envpool", "vizdoom"] = "envpool"
    """the simulator: EnvPool, or ViZDoom's own API"""
    faithful: bool = False
    """the paper's screen: 640 x 480 with the panel, cropped to the upper 400 rows, from tic 14 on; needs engine vizdoom"""
    horizon: int = 2100
    """tics until an episode is truncated: one minute"""
    legacy: bool = False
    """images preprocessed as in the authors' code, for their weights; needs engine vizdoom"""

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("take-cover", (SIZE, SIZE, 3), 1, self.horizon, rows=16, kind="image")

    @property
    def steering(self) -> dict[str, tuple[str, tuple[float, ...]]]:
        """Key -> what it does and its action."""
        return {"left": ("move left", (-1.0,)), "right": ("move right", (1.0,))}

    def open(self) -> HostEnv:
        if self.engine == "vizdoom":
            return HostEnv(self.spec, Games(self.faithful, self.legacy))
        if self.engine != "envpool":
            raise Usage(f"engine cannot be '{self.engine}'; allowed: envpool, vizdoom")
        if self.faithful or self.legacy:
            raise Usage("faithful and legacy need engine vizdoom: EnvPool renders small images without the panel")
        # EnvPool's joint actions: 0 nothing, 1 left, 2 right
        pool = Pool(
            "TakeCover-v1", lambda frames: torch.from_numpy(frames).permute(0, 2, 3, 1).contiguous(), lambda action: moves(action) % 3,
            max_episode_steps=self.horizon + 1, img_height=SIZE, img_width=SIZE, stack_num=1, frame_skip=1, use_combined_action=True,
        )  # fmt: skip
        return HostEnv(self.spec, Survival(pool))


class Survival:
    """Simulators with reward 1 per step."""

    def __init__(self, pool: Pool):
        self.close, self.pool = pool.close, pool

    def begin(self, seeds: list[int]) -> Tensor:
        # each game is a separate process
        with guarded():
            return self.pool.begin(seeds)

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        obs, reward, ended = self.pool.step(action, live)
        return obs, np.ones_like(reward), ended


class Games:
    """ViZDoom games, one process each, stepped in parallel by one thread per core."""

    def __init__(self, faithful: bool, legacy: bool):
        self.faithful, self.prepare = faithful, legacy_pixels if legacy else small
        self.games: list[Any] = []
        self.threads = ThreadPoolExecutor(torch.get_num_threads())

    def open(self) -> Any:
        vizdoom = extra("vizdoom", "doom")
        game = vizdoom.DoomGame()
        game.load_config(f"{vizdoom.scenarios_path}/take_cover.cfg")
        game.set_mode(vizdoom.Mode.PLAYER)
        game.set_window_visible(False)
        game.set_screen_format(vizdoom.ScreenFormat.RGB24)
        game.set_doom_skill(SKILL)
        game.set_episode_timeout(0)
        for part in ("crosshair", "weapon", "decals", "particles"):
            getattr(game, f"set_render_{part}")(False)
        resolution = vizdoom.ScreenResolution
        game.set_screen_resolution(resolution.RES_640X480 if self.faithful else resolution.RES_320X240)
        game.set_render_hud(self.faithful)
        game.set_episode_start_time(14 if self.faithful else 1)
        game.set_doom_config_path(os.devnull)  # otherwise it writes its settings to a file when it ends
        with temporary_directory(), guarded():
            # each game creates this folder where it starts, and fails if another one is faster
            os.makedirs("_vizdoom", exist_ok=True)
            game.init()
        return game

    def begin(self, seeds: list[int]) -> Tensor:
        while len(self.games) < len(seeds):
            self.games.append(self.open())
        self.playing = self.games[: len(seeds)]
        self.frames = np.zeros((len(seeds), SIZE, SIZE, 3), dtype=np.uint8)

        def new(row: int) -> None:
            self.playing[row].set_seed(seeds[row])
            self.playing[row].new_episode()
            self.capture(row)

        list(self.threads.map(new, range(len(seeds))))
        return torch.from_numpy(self.frames.copy())

    def capture(self, row: int) -> None:
        """Store the image of a row in `frames`; black after the end of the game, as in the authors' code."""
        state = self.playing[row].get_state()
        picture = torch.zeros(1, 480, 640, 3, dtype=torch.uint8) if state is None else torch.from_numpy(state.screen_buffer)[None]
        self.frames[row] = self.prepare(picture, SCREEN if self.faithful else picture.shape[1])[0].numpy()

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        way = moves(action)

        def tic(row: int) -> bool:
            game = self.playing[row]
            # the scenario's buttons: left, right
            game.make_action([bool(way[row] < 0), bool(way[row] > 0)])
            self.capture(row)
            return game.is_episode_finished()

        rows = np.flatnonzero(live)
        ended = np.zeros(len(live), dtype=bool)
        ended[rows] = list(self.threads.map(tic, rows.tolist()))
        return torch.from_numpy(self.frames.copy()), np.ones(len(live)), ended

    def close(self) -> None:
        for game in self.games:
            game.close()
        self.games = []
        self.threads.shutdown()
