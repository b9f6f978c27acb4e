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

BLOCK = 64  # atoms whose random numbers are drawn together

_LN_2 = math.log(2.0)
_BITS_OF_ROOT_HALF = int(np.float64(math.sqrt(0.5)).view(np.int64))
# coefficients of power series, highest power first: artanh(z) / z, cos(x) and sin(x) / x in the square of the argument
_ARTANH = tuple(1.0 / (2 * k + 1) for k in range(10, -1, -1))
_COSINE = tuple((-1.0) ** k / math.factorial(2 * k) for k in range(9, -1, -1))
_SINE = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(9, -1, -1))


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
        c0, c1, c2, c3 = _philox_round(c0, c1, c2, c3, k0, k1)
        k0, k1 = _next_key(k0, k1)
    return c0, c1, c2, c3


@compiled
def _philox_round(c0, c1, c2, c3, k0, k1):
    product0 = _MULTIPLIERS[0] * c0
    product1 = _MULTIPLIERS[1] * c2
    return (product1 >> _WORD) ^ c1 ^ k0, product1 & _MASK, (product0 >> _WORD) ^ c3 ^ k1, product0 & _MASK


@compiled
def _next_key(k0, k1):
    return (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK


@compiled
def words(index, step, purpose, key):
    """Four random words of draw ``index`` (< 2^32) of a purpose at a step (all uint64) in the stream ``key`` (2,)."""
    return philox(index, step & _MASK, step >> _WORD, purpose, key[0], key[1])


@compiled
def uniform(word):
    """A word of 32 bits as a number strictly between 0 and 1."""
    return (np.float64(word) + 0.5) * _TO_UNIT


# Logarithm, cosine and sine of their own: without branches, so that a loop over atoms fills the processor's lanes, and
# with the same bits in every lane and on every machine.


@compiled
def logarithm(x):
    """Natural logarithm of a positive number: with x = 2^n m, m from 0.7 to 1.4, ln m = 2 artanh((m - 1) / (m + 1))."""
    bits = np.float64(x).view(np.int64)
    exponent = (bits - _BITS_OF_ROOT_HALF) >> 52
    m = np.int64(bits - (exponent << 52)).view(np.float64)
    z = (m - 1.0) / (m + 1.0)
    square = z * z
    series = _ARTANH[0]
    for coefficient in _ARTANH[1:]:
        series = series * square + coefficient
    return exponent * _LN_2 + 2.0 * z * series


@compiled
def cosine_and_sine(turns):
    """Cosine and sine of an angle in whole turns, 0 to 1: Taylor series within an eighth of a turn of each quarter."""
    quarter = np.floor(4.0 * turns + 0.5)
    angle = 2.0 * math.pi * (turns - 0.25 * quarter)
    square = angle * angle
    cosine, sine = _COSINE[0], _SINE[0]
    for k in range(1, len(_COSINE)):
        cosine = cosine * square + _COSINE[k]
        sine = sine * square + _SINE[k]
    sine *= angle
    quadrant = np.int64(quarter)
    swapped = quadrant & 1 == 1
    x, y = sine if swapped else cosine, cosine if swapped else sine
    return -x if (quadrant + 1) & 2 == 2 else x, -y if quadrant & 2 == 2 else y


@compiled
def normal_pair(word0, word1):
    """Two independent standard normal numbers from two words (Box and Muller 1958); at most 6.7 in size."""
    radius = _radius(word0)
    cosine, sine = cosine_and_sine(uniform(word1))
    return radius * cosine, radius * sine


@compiled
def _radius(word):
    return math.sqrt(-2.0 * logarithm(uniform(word)))


@compiled
def normals(first, step, purpose, key, out):
    """Three independent standard normal numbers each for ``BLOCK`` draws from ``first`` on: ``out`` (3, BLOCK)."""
    # draws in the inner loops, which fill the processor's lanes
    counters = np.empty((4, BLOCK), np.uint64)
    for k in range(BLOCK):
        counters[0, k], counters[1, k] = first + np.uint64(k), step & _MASK
        counters[2, k], counters[3, k] = step >> _WORD, purpose
    k0, k1 = key[0], key[1]
    for _ in range(10):
        for k in range(BLOCK):
            c0, c1, c2, c3 = _philox_round(counters[0, k], counters[1, k], counters[2, k], counters[3, k], k0, k1)
            counters[0, k], counters[1, k], counters[2, k], counters[3, k] = c0, c1, c2, c3
        k0, k1 = _next_key(k0, k1)
    for k in range(BLOCK):  # normal_pair is too long for the compiler to inline it
        radius = _radius(counters[0, k])
        cosine, sine = cosine_and_sine(uniform(counters[1, k]))
        out[0, k], out[1, k] = radius * cosine, radius * sine
    for k in range(BLOCK):
        cosine, _ = cosine_and_sine(uniform(counters[3, k]))
        out[2, k] = _radius(counters[2, k]) * cosine


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
    block = np.empty((3, BLOCK))
    for structure in range(len(offsets) - 1):
        start = offsets[structure]
        for first in range(start, offsets[structure + 1], BLOCK):
            normals(np.uint64(first - start), step, purpose, keys[structure], block)
            for i in range(first, min(first + BLOCK, offsets[structure + 1])):
                for a in range(3):
                    out[i, a] = block[a, i - first]
