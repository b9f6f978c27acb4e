"""More of eight numbers at once (:mod:`matterscape.basis._lanes`): division, roots, selection, exp and erfc.

The polynomials keep double accuracy in plain vector arithmetic, where a mathematical library would be called once for
each lane.
"""

import math
import operator

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.extending import intrinsic
from scipy.special import erfcx

from matterscape.basis._lanes import LANES, Lanes, _broadcast, _define

FAST = {"contract", "nsz"}  # no reassociation: the rounding trick in `exponential` relies on the order
_FLAGS = ("contract", "nsz")

_EXPONENTIAL = tuple(1 / math.factorial(k) for k in range(12, -1, -1))
_ROUND = 1.5 * 2.0**52  # adding it leaves an integer in the lowest bits
_LOG2E, _LN2_HIGH, _LN2_LOW = 1 / math.log(2), 6.93147180369123816490e-01, 1.90821492927058770002e-10

_define(operator.truediv, "fdiv")


def _scaled_erfc_coefficients() -> tuple[float, ...]:
    """Polynomial of (x + 4) exp(x^2) erfc(x) in u = 2 - 12 / (x + 4), x from 0 to 8, highest power first."""

    def function(u):
        x_plus_4 = 12 / (2 - u)
        return x_plus_4 * erfcx(x_plus_4 - 4)

    chebyshev = np.polynomial.chebyshev.Chebyshev.interpolate(function, 18)
    return tuple(float(c) for c in np.polynomial.chebyshev.cheb2poly(chebyshev.coef)[::-1])


_ERFC = _scaled_erfc_coefficients()


def _is_double(kind) -> bool:
    return isinstance(kind, Lanes) and kind.scalar == types.float64


@intrinsic
def square_root(typingctx, x):
    """Square root of lanes."""
    if not _is_double(x):
        return None

    def lower(context, builder, sig, args):
        kind = ir.FunctionType(args[0].type, [args[0].type])
        function = builder.module.declare_intrinsic(f"llvm.sqrt.v{LANES}f64", (), kind)
        return builder.call(function, args)

    return x(x), lower


def _limit(comparison: str):
    """The larger or smaller of lanes and one number."""

    @intrinsic
    def function(typingctx, x, bound):
        if not (_is_double(x) and isinstance(bound, types.Float)):
            return None

        def lower(context, builder, sig, args):
            bound = _broadcast(builder, args[1])
            return builder.select(builder.fcmp_ordered(comparison, args[0], bound), args[0], bound)

        return x(x, types.float64), lower

    return function


at_least, at_most = _limit(">"), _limit("<")


@intrinsic
def where_below(typingctx, squares, limit, x):
    """``x`` in the lanes whose ``squares`` are below ``limit``, elsewhere 0."""
    if not (_is_double(squares) and squares == x):
        return None

    def lower(context, builder, sig, args):
        below = builder.fcmp_ordered("<", args[0], _broadcast(builder, args[1]))
        return builder.select(below, args[2], ir.Constant(args[2].type, [0.0] * LANES))

    return x(squares, types.float64, x), lower


@intrinsic
def any_below(typingctx, x, limit):
    """Is any lane below ``limit``?"""
    if not _is_double(x):
        return None

    def lower(context, builder, sig, args):
        below = builder.fcmp_ordered("<", args[0], _broadcast(builder, args[1]))
        bits = builder.bitcast(below, ir.IntType(LANES))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(x, types.float64), lower


@intrinsic
def _times_power_of_two(typingctx, x, rounded):
    """``x 2^n`` with the integers n that sit in the lowest bits of ``rounded``."""
    if not (_is_double(x) and _is_double(rounded)):
        return None

    def lower(context, builder, sig, args):
        bits = ir.VectorType(ir.IntType(64), LANES)
        biased = builder.add(builder.bitcast(args[1], bits), ir.Constant(bits, [1023] * LANES))
        power = builder.bitcast(builder.shl(biased, ir.Constant(bits, [52] * LANES)), args[0].type)
        return builder.fmul(args[0], power, flags=_FLAGS)

    return x(x, rounded), lower


@numba.njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def exponential(x):
    """exp of lanes between -708 and 709 to 3e-16 relative; below, exp(-708)."""
    x = at_least(x, -708.0)
    rounded = x * _LOG2E + _ROUND
    n = rounded - _ROUND
    f = (x - n * _LN2_HIGH) - n * _LN2_LOW
    value = f * _EXPONENTIAL[0] + _EXPONENTIAL[1]
    for k in range(2, 13):
        value = value * f + _EXPONENTIAL[k]
    return _times_power_of_two(value, rounded)


@numba.njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")
def scaled_erfc(x):
    """exp(x^2) erfc(x) of lanes between 0 and 8 to 2e-15 relative; beyond, where erfc(x) < 1e-28, a rough value."""
    q = 1.0 / (x + 4.0)
    u = at_most(2.0 - 12.0 * q, 1.0)
    value = u * _ERFC[0] + _ERFC[1]
    for k in range(2, 19):
        value = value * u + _ERFC[k]
    return value * q
