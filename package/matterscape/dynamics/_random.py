"""Counter-based random numbers: every draw is a pure function of (stream key, step, purpose, index).

There is no generator state to keep: a restarted run draws what the uninterrupted one would have drawn, whatever the
number of threads, and a replica in a batch draws what it would draw alone.
"""

import math
from collections.abc import Sequence

import numba
import numpy as np

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")

# What a draw is for; part of the counter, so that no two purposes ever share numbers.
VELOCITIES, LANGEVIN, RESCALING, CELL = (np.uint64(purpose) for purpose in range(4))

_MASK = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_TO_UNIT = 2.0**-32


def stream_keys(seed: int, streams: Sequence[int] | np.ndarray) -> np.ndarray:
    """Key of each stream of a seed.

    Parameters
    ----------
    seed : int
        Not negative, of any size.
    streams : sequence of int
        Not negative; equal numbers give equal streams.

    Returns
    -------
    array (n_streams, 2), uint64
        Two words of 32 bits each, hashed from seed and stream by ``numpy.random.SeedSequence``.
    """
    words = [np.random.SeedSequence(seed, spawn_key=(int(stream),)).generate_state(2, np.uint32) for stream in streams]
    return np.array(words, dtype=np.uint64)


@compiled
def philox(c0, c1, c2, c3, k0, k1):
    """Philox 4x32 with ten rounds: four words of 32 bits (in uint64) from a counter of four and a key of two.

    J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11 (2011).
    """
    for _ in range(10):
        product0 = _MULTIPLIERS[0] * c0
        product1 = _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (product1 >> _WORD) ^ c1 ^ k0,
            product1 & _MASK,
            (product0 >> _WORD) ^ c3 ^ k1,
            product0 & _MASK,
        )
        k0 = (k0 + _WEYL[0]) & _MASK
        k1 = (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


@compiled
def words(index, step, purpose, key):
    """Four random words of draw ``index`` (< 2^32) of a purpose at a step (all uint64) in the stream ``key`` (2,)."""
    return philox(index, step & _MASK, step >> _WORD, purpose, key[0], key[1])


@compiled
def uniform(word):
    """A word of 32 bits as a number strictly between 0 and 1."""
    return (np.float64(word) + 0.5) * _TO_UNIT


@compiled
def normal_pair(word0, word1):
    """Two independent standard normal numbers from two words (Box and Muller 1958); at most 6.7 in size."""
    radius = math.sqrt(-2.0 * math.log(uniform(word0)))
    angle = 2.0 * math.pi * uniform(word1)
    return radius * math.cos(angle), radius * math.sin(angle)


@compiled
def three_normals(index, step, purpose, key):
    """Three independent standard normal numbers."""
    w0, w1, w2, w3 = words(index, step, purpose, key)
    x, y = normal_pair(w0, w1)
    z = math.sqrt(-2.0 * math.log(uniform(w2))) * math.cos(2.0 * math.pi * uniform(w3))
    return x, y, z


@compiled
def normal_and_chi_squared(freedoms, step, purpose, key):
    """A standard normal number, and an independent chi-squared number with ``freedoms`` degrees of freedom.

    The latter is twice a gamma number of shape ``freedoms``/2, by rejection: G. Marsaglia, W. W. Tsang, ACM Trans.
    Math. Softw. 26, 363 (2000); with a single degree of freedom it is the square of a normal number.
    """
    w0, w1, _, _ = words(np.uint64(0), step, purpose, key)
    normal, second = normal_pair(w0, w1)
    if freedoms <= 0:
        return normal, 0.0
    if freedoms == 1:
        return normal, second * second
    d = 0.5 * freedoms - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    index = np.uint64(1)
    while True:
        w0, w1, w2, _ = words(index, step, purpose, key)
        x, _ = normal_pair(w0, w1)
        v = (1.0 + c * x) ** 3
        if v > 0.0 and math.log(uniform(w2)) < 0.5 * x * x + d * (1.0 - v + math.log(v)):
            return normal, 2.0 * d * v
        index += np.uint64(1)


@compiled
def fill_normals(step, purpose, keys, offsets, out):
    """Fill ``out`` (n, 3) with normal numbers, three per atom, each structure from its own stream.

    ``keys`` (B, 2) uint64, ``offsets`` (B + 1,) int64; an atom is known by its place within its structure.
    """
    for structure in range(len(offsets) - 1):
        start = offsets[structure]
        for i in range(start, offsets[structure + 1]):
            x, y, z = three_normals(np.uint64(i - start), step, purpose, keys[structure])
            out[i, 0], out[i, 1], out[i, 2] = x, y, z
