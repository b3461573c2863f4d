"""Replay against a list of all transitions."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.core.env import EnvSpec, Step
from sensorium.core.errors import Failure, Usage
from sensorium.core.policy import Uniform
from sensorium.core.seeding import fold, row_seeds
from sensorium.data.replay import Layout, collect

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


class Short:
    """An Env of frames whose episodes end after a number of steps that depends on the seed; frames and rewards count all steps of a row."""

    def __init__(self, horizon: int, longest: int):
        self.spec, self.longest = EnvSpec("short", (9, 4, 4), 2, horizon, kind="frames", stack=3), longest
        self.episodes: list[tuple[list[int], list[int], list[bool]]] = []
        self.count = torch.zeros(ROWS, dtype=torch.int64)

    def picture(self) -> torch.Tensor:
        # the number of a row's observation, in two channels: the tens of all rows are different
        number = self.count + torch.arange(ROWS) * 10_000
        newest = torch.stack([number // 250, number % 250, torch.zeros(ROWS, dtype=torch.int64)], 1).byte()
        return newest[:, :, None, None].expand(-1, -1, 4, 4)

    def reset(self, seeds: torch.Tensor) -> torch.Tensor:
        self.ends = (seeds % self.longest + 1).tolist()
        self.dies = (seeds // 1000 % 2 == 0).tolist()
        self.count = self.count + 1
        self.episodes.append((self.count.tolist(), self.ends, self.dies))
        self.t = 0
        self.stack = self.picture().repeat(1, 3, 1, 1)
        return self.stack

    def step(self, action: torch.Tensor) -> Step:
        self.t += 1
        live = torch.tensor([self.t <= end for end in self.ends])
        self.count = self.count + live
        self.stack = torch.where(live[:, None, None, None], torch.cat([self.stack[:, 3:], self.picture()], 1), self.stack)
        over = torch.tensor([self.t == end for end in self.ends])
        died = over & torch.tensor(self.dies)
        return Step(self.stack, torch.where(live, self.count.float(), 0.0), died, over & ~died)

    def close(self) -> None: ...


def twin(env: Short, horizon: int, first: int = 0) -> list[list[tuple[int, int, bool]]]:
    """The episodes of an entry of each row as (number of the first observation, length, terminated); cut after `horizon` steps in all."""
    found: list[list[tuple[int, int, bool]]] = [[] for _ in range(ROWS)]
    for count, ends, dies in env.episodes[first:]:
        for row in range(ROWS):
            left = horizon - sum(length for _, length, _ in found[row])
            if left:
                found[row].append((count[row], min(ends[row], left), dies[row] and ends[row] <= left))
    return found


def seen(obs: torch.Tensor) -> list[list[int]]:
    """The numbers of the stacked frames."""
    planes = obs[:, :, 0, 0].int()
    return (planes[:, ::3] * 250 + planes[:, 1::3]).tolist()


@pytest.mark.parametrize("n", [1, 3])
def test_short_episodes_are_packed(tmp_path, n):
    """Every draw is a transition of a list of episodes; all of the newest transitions are drawn; frames before an episode are not."""
    horizon, longest, capacity = 60, 24, 200
    kind = layout(tmp_path, steps=horizon, capacity=capacity, packed=True, between=1)
    replay, env, count, numbers = kind.open(kind.init()), Short(horizon, longest), torch.zeros((), dtype=torch.int64), []
    for entry in range(5):
        before = len(env.episodes)
        steps = list(collect(env, lambda: Uniform(2), row_seeds(entry, ROWS), replay, count))
        numbers.append(twin(env, horizon, before))
        assert [sum(length for _, length, _ in row) for row in numbers[-1]] == [horizon] * ROWS
        assert sum(int(step.live.sum()) for step in steps) == ROWS * horizon
    assert int(count) == 5 * ROWS * horizon
    assert len(env.episodes) > 10
    # the first episode has the row's seed, later ones a function of it
    assert env.episodes[0][1] == (row_seeds(0, ROWS) % longest + 1).tolist()
    assert env.episodes[1][1] == (fold(row_seeds(0, ROWS), "episode", 1) % longest + 1).tolist()
    assert len(replay) == capacity
    expected: dict[tuple[int, int], tuple[list[int], list[int], list[float], list[bool]]] = {}
    for row in range(ROWS):
        transitions = [(start, t, length, died) for entry in numbers for start, length, died in entry[row] for t in range(length)]
        for start, t, length, died in transitions[-capacity // ROWS :]:
            ahead = min(t + n, length)
            if died or t + n <= length:
                stack = [start + max(t - k, 0) + 10_000 * row for k in (2, 1, 0)]
                then = [start + max(ahead - k, 0) + 10_000 * row for k in (2, 1, 0)]
                rewards = [float(start + t + k + 1) if t + k < length else 0.0 for k in range(n)]
                expected[row, start + t] = stack, then, rewards, [died and t + k >= length - 1 for k in range(n)]
    drawn = replay.draw(4000, n, seed=1)
    found = set()
    for stack, then, rewards, terminated in zip(
        seen(drawn.obs), seen(drawn.next_obs), drawn.rewards.tolist(), drawn.terminated.tolist(), strict=True
    ):
        row, number = divmod(stack[-1], 10_000)
        found.add((row, number))
        assert (stack, then, rewards, terminated) == expected[row, number]
    assert found == set(expected)
    replay.close()


def test_a_packed_entry_without_space_for_last_observations_is_full_earlier(tmp_path):
    kind = layout(tmp_path, steps=40, capacity=160, packed=True)
    replay, env, count = kind.open(kind.init()), Short(40, 1), torch.zeros((), dtype=torch.int64)
    for entry in range(6):
        list(collect(env, lambda: Uniform(2), row_seeds(entry, ROWS), replay, count))
    # episodes of one step take two slots each
    assert int(count) == 6 * ROWS * (kind.slots // 2) == 6 * ROWS * 23
    assert (replay.draw(200, 1, seed=0).obs[:, :3] == replay.draw(200, 1, seed=0).obs[:, 6:]).all()
    replay.close()


def test_a_packed_replay_killed_and_resumed_samples_the_same(tmp_path):
    kinds = [layout(tmp_path / name, steps=60, capacity=200, packed=True, between=2) for name in ("whole", "killed")]
    states = [kind.init() for kind in kinds]

    def write(replay, entry: int, steps: int = 10**6) -> None:
        env = Short(60, 24)
        env.count += 100 * entry
        for number, _ in enumerate(collect(env, lambda: Uniform(2), row_seeds(entry, ROWS), replay, torch.zeros((), dtype=torch.int64))):
            if number == steps:
                return

    for kind, state in zip(kinds, states, strict=True):
        replay = kind.open(state)
        for entry in range(6):
            write(replay, entry)
        replay.close()
    saved = {name: tensor.clone() for name, tensor in states[1].items()}
    replay = kinds[1].open(states[1])
    write(replay, 6)
    write(replay, 7, steps=50)
    one, other = kinds[0].open(states[0]), kinds[1].open(saved)
    for entry in (6, 7):
        for a, b in zip(one.draw(300, 3, seed=entry), other.draw(300, 3, seed=entry), strict=True):
            assert torch.equal(a, b)
        for replay in (one, other):
            write(replay, entry)
    assert all(torch.equal(states[0][name], saved[name]) for name in saved)
    data = bytearray((tmp_path / "killed" / "replay-rewards.bin").read_bytes())
    # a reward of the last entry, the eighth of a ring of five
    data[4 * 2 * kinds[1].slots * ROWS] ^= 1
    (tmp_path / "killed" / "replay-rewards.bin").write_bytes(bytes(data))
    with pytest.raises(Failure, match="damaged"):
        kinds[1].open(saved)
    one.close()
    other.close()


def test_capacity_holds_where_episodes_are_short(tmp_path):
    """Episodes of 10 of 200 steps on average: a replay of 2,000 transitions samples 2,000, from files an eighth larger."""
    full, packed = (layout(tmp_path, steps=200, capacity=2000, shape=(3,), stack=1, packed=flag) for flag in (False, True))
    assert packed.bytes < 1.13 * full.bytes
    replay, count = packed.open(packed.init()), torch.zeros((), dtype=torch.int64)
    replay.latest = lambda obs: obs[:, -3:, 0, 0].float()  # type: ignore[method-assign]
    env = Short(200, 19)
    for entry in range(6):
        list(collect(env, lambda: Uniform(2), row_seeds(entry, ROWS), replay, count))
    assert int(count) == 2400
    assert len(replay) == 2000
    replay.close()
