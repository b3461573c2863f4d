"""Replay against a list of all transitions."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.core.errors import Failure, Usage
from sensorium.data.replay import Layout

STEPS, ROWS = 6, 2


def layout(folder: Path, **changes) -> Layout:
    settings = {"capacity": 40, "steps": STEPS, "rows": ROWS, "between": 2, "shape": (3, 4, 4), "actions": 2, "stack": 3}
    return Layout(folder, **{**settings, **changes})


def frame(episode: int, row: int, t: int) -> int:
    """A number that encodes a frame's episode, row and step."""
    return (14 * episode + 7 * row + t) % 250


def write_episode(replay, episode: int, steps: int = STEPS, ends: tuple[int, int] | None = None) -> None:
    """Write an episode whose frames and rewards encode their origin; `ends` = (row, step) terminates a row at a step."""

    def obs(t: int) -> torch.Tensor:
        last = [torch.full((3, 4, 4), frame(episode, row, t), dtype=torch.uint8) for row in range(ROWS)]
        return torch.stack(last).repeat(1, 3, 1, 1)

    replay.begin(obs(0))
    alive = torch.ones(ROWS, dtype=torch.bool)
    for t in range(steps):
        reward = torch.tensor([float(frame(episode, row, t)) for row in range(ROWS)])
        terminated = torch.tensor([ends == (row, t) for row in range(ROWS)])
        replay.add(torch.full((ROWS, 2), float(t)), reward, obs(t + 1), terminated & alive, alive)
        alive = alive & ~terminated
    if steps == STEPS:
        replay.end()


@pytest.mark.parametrize("n", [1, 3])
def test_stacks_and_rewards_equal_the_written_ones(tmp_path, n):
    kind = layout(tmp_path)
    replay = kind.open(kind.init())
    for episode in range(5):
        write_episode(replay, episode)
    write_episode(replay, 5, steps=4)
    drawn = replay.draw(500, n, seed=3)
    seen, then = drawn.obs[:, ::3, 0, 0].int(), drawn.next_obs[:, ::3, 0, 0].int()
    found = set()
    for i in range(500):
        t = int(drawn.action[i, 0])
        episode, row = next(
            (e, r)
            for e in range(6)
            for r in range(ROWS)
            if frame(e, r, t) == int(seen[i, 2]) and float(drawn.rewards[i, 0]) == frame(e, r, t)
        )
        found.add((episode, row, t))
        assert seen[i].tolist() == [frame(episode, row, max(t - k, 0)) for k in (2, 1, 0)]
        assert then[i].tolist() == [frame(episode, row, max(t + n - k, 0)) for k in (2, 1, 0)]
        assert drawn.rewards[i].tolist() == [frame(episode, row, t + k) for k in range(n)]
        assert not drawn.terminated[i].any()
    # the newest 40 of 68, without starts that lack n rewards: a part of episode 2 remains
    assert len(replay) == 40
    expected = {(e, r, t) for e in range(2, 6) for r in range(ROWS) for t in range((4 if e == 5 else STEPS) - n + 1) if e > 2 or t >= 2}
    assert found == expected
    replay.close()


def test_rewards_after_an_end_are_zero(tmp_path):
    kind = layout(tmp_path)
    replay = kind.open(kind.init())
    write_episode(replay, 0, ends=(0, 3))
    drawn = replay.draw(400, 3, seed=0)
    for i in range(400):
        t, row = int(drawn.action[i, 0]), int(drawn.rewards[i, 0]) // 7
        if row == 0:
            assert t <= 3
            assert drawn.terminated[i].tolist() == [t + k == 3 for k in range(min(3, 4 - t))] + [True] * (t + 3 - 4 if t > 1 else 0)
            assert drawn.rewards[i].tolist() == [frame(0, 0, t + k) if t + k <= 3 else 0 for k in range(3)]
        else:
            assert t <= STEPS - 3
    assert len(replay) == 4 + STEPS
    replay.close()


def test_a_killed_and_resumed_run_samples_the_same(tmp_path):
    whole, killed = layout(tmp_path / "whole"), layout(tmp_path / "killed")
    states = [whole.init(), killed.init()]
    for kind, state in zip((whole, killed), states, strict=True):
        replay = kind.open(state)
        for episode in range(9):
            write_episode(replay, episode)
        replay.close()
    saved = {name: tensor.clone() for name, tensor in states[1].items()}
    # two more episodes and a part of one after the last checkpoint, then the process dies
    replay = killed.open(states[1])
    write_episode(replay, 100)
    write_episode(replay, 101, steps=3)
    one, other = whole.open(states[0]), killed.open(saved)
    for episode in (9, 10):
        for replay in (one, other):
            write_episode(replay, episode, steps=4)
        for a, b in zip(one.draw(200, 1, seed=episode), other.draw(200, 1, seed=episode), strict=True):
            assert torch.equal(a, b)
        for replay in (one, other):
            write_episode(replay, episode)
    one.close()
    other.close()


def test_sampling_is_uniform(tmp_path):
    kind = layout(tmp_path, capacity=24)
    replay = kind.open(kind.init())
    for episode in range(3):
        write_episode(replay, episode)
    drawn = replay.draw(24_000, 1, seed=0)
    counts = torch.bincount(drawn.rewards[:, 0].long())
    counts = counts[counts > 0]
    assert len(counts) == 24
    assert ((counts - 1000).abs() < 5 * np.sqrt(1000)).all()
    replay.close()


def test_states_need_no_stack(tmp_path):
    kind = layout(tmp_path, shape=(5,), stack=1)
    replay = kind.open(kind.init())
    replay.begin(torch.zeros(ROWS, 5))
    for t in range(STEPS):
        replay.add(
            torch.zeros(ROWS, 2),
            torch.zeros(ROWS),
            torch.full((ROWS, 5), t + 1.0),
            torch.zeros(ROWS, dtype=torch.bool),
            torch.ones(ROWS, dtype=torch.bool),
        )
    replay.end()
    drawn = replay.draw(50, 1, seed=0)
    assert drawn.obs.shape == (50, 5)
    assert torch.equal(drawn.next_obs, drawn.obs + 1)
    replay.close()


def test_100_000_steps_of_pixels_take_2_2_gigabytes_and_too_large_a_replay_is_a_usage_error(tmp_path):
    kind = Layout(tmp_path, 100_000, 500, 1, 1, (3, 84, 84), 6, 3)
    assert kind.bytes < 2.2e9
    huge = Layout(tmp_path, 10**9, 500, 1, 1, (3, 84, 84), 6, 3)
    with pytest.raises(Usage, match=r"replay needs .* GB"):
        huge.open(huge.init())
    assert not list(tmp_path.glob("*.bin"))


def test_sampling_from_an_empty_replay_is_a_failure(tmp_path):
    kind = layout(tmp_path)
    with pytest.raises(Failure, match="empty replay"):
        kind.open(kind.init()).draw(3, 1, seed=0)
