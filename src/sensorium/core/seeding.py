"""Counter-based random numbers: functions of (root seed, stage, step, name), and in worlds of (row seed, t, index).

The generator is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), a keyed hash of a counter. Rows share
no generator state, checkpoints store none, and a row's numbers do not depend on where it runs.
"""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_WORD = 0xFFFFFFFF


def name_hash(*parts: object) -> int:
    """A 63-bit hash of the parts, the same in every process and on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def _multiply(constant: int, word: Tensor) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of a 32 x 32 bit product, in int64. Computed in halves of 16 bits: compilers assume that int64 does not overflow."""
    low = (word & 0xFFFF) * constant
    high = (word >> 16) * constant + (low >> 16)
    return high >> 16, ((high & 0xFFFF) << 16) | (low & 0xFFFF)


def philox(key: tuple[Tensor, Tensor], counter: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four random 32-bit words, in int64, for a 64-bit key and a 128-bit counter (both as 32-bit words that broadcast)."""
    k0, k1 = key
    c0, c1, c2, c3 = counter
    for _ in range(10):
        high0, low0 = _multiply(_MULTIPLIERS[0], c0)
        high1, low1 = _multiply(_MULTIPLIERS[1], c2)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return c0, c1, c2, c3


def bits(seeds: Int[Tensor, "rows"], t: int | Tensor, n: int) -> Int[Tensor, "rows n"]:
    """n random 32-bit words per row (in int64), a function of (row seed, t, index); t is one number or one per row."""
    blocks = -(-n // 4)
    # masked, so that Inductor treats it as data: on a GPU it computes index arithmetic in 32 bits, too few for Philox's products
    block = torch.arange(blocks, device=seeds.device)[None, :] & _WORD
    zero = torch.zeros_like(block)
    time = torch.as_tensor(t, dtype=torch.int64, device=seeds.device).reshape(-1, 1)
    key = ((seeds & _WORD)[:, None], ((seeds >> 32) & _WORD)[:, None])
    words = torch.stack(torch.broadcast_tensors(*philox(key, (block, time & _WORD, zero, zero))), -1)
    return words.reshape(len(seeds), 4 * blocks)[:, :n]


def uniform(seeds: Int[Tensor, "rows"], t: int | Tensor, n: int) -> Float[Tensor, "rows n"]:
    """Uniform numbers in [0, 1) with 24 random bits, a function of (row seed, t, index)."""
    return (bits(seeds, t, n) >> 8).to(torch.float32) * 2.0**-24


def normal(seeds: Int[Tensor, "rows"], t: int | Tensor, n: int) -> Float[Tensor, "rows n"]:
    """Standard normal numbers, a function of (row seed, t, index), by the Box-Muller transform."""
    half = -(-n // 2)
    draws = uniform(seeds, t, 2 * half)
    radius = torch.sqrt(-2.0 * torch.log(1.0 - draws[:, :half]))
    angle = 2.0 * torch.pi * draws[:, half:]
    return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], 1)[:, :n]


def fold(seeds: Int[Tensor, "rows"], *parts: object) -> Int[Tensor, "rows"]:
    """New row seeds, functions of the old ones and the parts; numbers drawn with old and new seeds are independent."""
    number = name_hash(*parts)
    key = (seeds & _WORD, (seeds >> 32) & _WORD)
    counter = [torch.full_like(seeds, word) for word in (number & _WORD, number >> 32, 1, 0)]
    low, high, _, _ = philox(key, (counter[0], counter[1], counter[2], counter[3]))
    return ((high & 0x7FFFFFFF) << 32) | low


def row_seeds(seed: int, rows: int, device: torch.device | str = "cpu") -> Int[Tensor, "rows"]:
    """One seed per row; the first k do not depend on `rows`."""
    base = torch.arange(rows, dtype=torch.int64, device=device)
    return fold(base, "rows", seed)


@dataclass(frozen=True)
class Seeds:
    """The seeds of one step of one stage: `seeds("ask")` is an int, `seeds.rows("episodes", 16)` a tensor of row seeds."""

    root: int
    stage: str = ""
    step: int = 0

    def __call__(self, name: str) -> int:
        return name_hash(self.root, self.stage, self.step, name)

    def rows(self, name: str, rows: int, device: torch.device | str = "cpu") -> Int[Tensor, "rows"]:
        return row_seeds(self(name), rows, device)
