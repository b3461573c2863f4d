"""ViZDoom's TakeCover as World Models sees it: 64 x 64 pictures, one action, a reward of 1 for every tic (1/35 s) survived.

Imps throw fireballs from the far wall; the player can only step left and right. Three imps at first, one more every 60 tics.
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
from sensorium.envs.host import HostEnv, Pool, extra
from sensorium.envs.pixels import SIZE, small
from sensorium.envs.pixels import legacy as legacy_pixels

THRESHOLD = 1 / 3
"""actions beyond it, to either side, are steps; what lies between stands still"""
SKILL = 4
"""Ultra-Violence: old ViZDoom took the 5 that the authors asked for as 4"""
SCREEN = 400
"""lines of 480 above the panel at the foot of the paper's screen"""


def moves(action: np.ndarray) -> np.ndarray:
    """-1 left, 0 stand, 1 right."""
    return (action[:, 0] > THRESHOLD).astype(np.int64) - (action[:, 0] < -THRESHOLD)


@dataclass(frozen=True)
class TakeCover:
    """One action in [-1, 1]: left below -1/3, right above 1/3. The score is the number of tics survived."""

    engine: Literal["envpool", "vizdoom"] = "envpool"
    """the simulator: EnvPool's batches, or ViZDoom's own games"""
    faithful: bool = False
    """the paper's screen: 640 x 480 with the panel, of which the upper 400 lines are kept, from tic 14 on; needs engine vizdoom"""
    horizon: int = 2100
    """tics until an episode is truncated: one minute"""
    legacy: bool = False
    """pictures as the authors' code prepared them, for their own weights; needs engine vizdoom"""

    @property
    def spec(self) -> EnvSpec:
        return EnvSpec("take-cover", (SIZE, SIZE, 3), 1, self.horizon, rows=16)

    def open(self) -> HostEnv:
        if self.engine == "vizdoom":
            return HostEnv(self.spec, Games(self.faithful, self.legacy))
        if self.engine != "envpool":
            raise Usage(f"engine cannot be '{self.engine}'; allowed: envpool, vizdoom")
        if self.faithful or self.legacy:
            raise Usage("faithful and legacy need engine vizdoom: EnvPool draws without the panel, and small")
        # EnvPool's joint actions: 0 nothing, 1 left, 2 right
        pool = Pool(
            "TakeCover-v1", lambda frames: torch.from_numpy(frames).permute(0, 2, 3, 1).contiguous(), lambda action: moves(action) % 3,
            max_episode_steps=self.horizon + 1, img_height=SIZE, img_width=SIZE, stack_num=1, frame_skip=1, use_combined_action=True,
        )  # fmt: skip
        return HostEnv(self.spec, Survival(pool))


class Survival:
    """A batch in which every step is worth 1, whatever the simulator says."""

    def __init__(self, pool: Pool):
        self.close, self.pool = pool.close, pool

    def begin(self, seeds: list[int]) -> Tensor:
        # each game is a process
        with guarded():
            return self.pool.begin(seeds)

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        obs, reward, ended = self.pool.step(action, live)
        return obs, np.ones_like(reward), ended


class Games:
    """ViZDoom's own games, a process each, stepped side by side from a thread a core."""

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
        game.set_doom_config_path(os.devnull)  # it would write its settings when it ends
        with guarded():
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
            self.look(row)

        list(self.threads.map(new, range(len(seeds))))
        return torch.from_numpy(self.frames.copy())

    def look(self, row: int) -> None:
        """The picture of a row; black when the game is over, as the authors had it."""
        state = self.playing[row].get_state()
        picture = torch.zeros(1, 480, 640, 3, dtype=torch.uint8) if state is None else torch.from_numpy(state.screen_buffer)[None]
        self.frames[row] = self.prepare(picture, SCREEN if self.faithful else picture.shape[1])[0].numpy()

    def step(self, action: np.ndarray, live: np.ndarray) -> tuple[Tensor, np.ndarray, np.ndarray]:
        way = moves(action)

        def tic(row: int) -> bool:
            game = self.playing[row]
            # the buttons of the scenario: left, right
            game.make_action([bool(way[row] < 0), bool(way[row] > 0)])
            self.look(row)
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
