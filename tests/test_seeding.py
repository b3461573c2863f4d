"""Counter-based random numbers: Philox's published vectors, uniformity, and independence of rows."""

import numpy as np
import pytest
import torch

from sensorium.core.seeding import Seeds, bits, fold, normal, philox, row_seeds, uniform

# Random123's known-answer tests of philox4x32-10: counter, key, result
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_philox_gives_the_published_words(counter, key, expected):
    words = philox(tuple(torch.tensor([k]) for k in key), tuple(torch.tensor([c]) for c in counter))
    assert tuple(int(word) for word in words) == expected


@pytest.mark.slow
@pytest.mark.parametrize("n", [4, 5, 40])
def test_compiled_words_are_equal(n):
    seeds, t = row_seeds(4, 32), torch.tensor(3)
    assert torch.equal(torch.compile(lambda seeds, t: bits(seeds, t, n), dynamic=False)(seeds, t), bits(seeds, t, n))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_words_compiled_for_a_gpu_are_equal():
    seeds = row_seeds(0, 5)
    assert torch.equal(torch.compile(bits)(seeds.cuda(), 7, 40).cpu(), bits(seeds, 7, 40))


def test_uniform_is_uniform():
    draws = uniform(row_seeds(0, 1000), 3, 100).flatten().double().numpy()
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = np.histogram(draws, bins=50, range=(0, 1))[0]
    chi_squared = ((counts - 2000) ** 2 / 2000).sum()
    assert chi_squared < 94  # the 99.99 % quantile with 49 degrees of freedom


def test_normal_numbers_have_the_right_moments():
    draws = normal(row_seeds(1, 2000), 0, 101).flatten().double()
    assert abs(draws.mean()) < 0.01
    assert abs(draws.std() - 1) < 0.01
    assert abs((draws**4).mean() - 3) < 0.1
    assert draws.isfinite().all()


def test_rows_times_and_indices_are_uncorrelated():
    seeds = row_seeds(2, 4000)
    here = uniform(seeds, 0, 8).double().numpy()
    later = uniform(seeds, 1, 8).double().numpy()
    neighbours = np.abs(np.corrcoef(np.concatenate([here, later], 1).T) - np.eye(16))
    assert neighbours.max() < 0.08
    assert abs(np.corrcoef(here[:-1, 0], here[1:, 0])[0, 1]) < 0.08


def test_a_rows_numbers_do_not_depend_on_other_rows():
    seeds = row_seeds(3, 10)
    assert torch.equal(uniform(seeds, 5, 7)[4], uniform(seeds[4:5], 5, 7)[0])
    assert torch.equal(uniform(seeds, 5, 7), uniform(seeds, 5, 9)[:, :7])
    assert torch.equal(row_seeds(3, 10), row_seeds(3, 20)[:10])
    assert torch.equal(uniform(seeds, torch.tensor(5), 7), uniform(seeds, 5, 7))


def test_names_seeds_and_steps_give_different_streams():
    seeds = row_seeds(4, 100)
    assert not torch.equal(fold(seeds, "shuffle"), fold(seeds, "noise"))
    assert len(set(fold(seeds, "shuffle").tolist())) == 100
    assert (fold(seeds, "x") >= 0).all()
    numbers = {Seeds(root, stage, step)(name) for root in (0, 1) for stage in "ab" for step in (0, 1) for name in "xy"}
    assert len(numbers) == 16
    assert int(bits(seeds, 0, 4).max()) < 2**32
