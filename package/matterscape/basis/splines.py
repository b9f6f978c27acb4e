"""Many functions of one distance as one table of quintic polynomials."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
import torch
from scipy.interpolate import make_interp_spline

_FIRST_INTERVALS = 12


@dataclass(frozen=True, eq=False)
class Spline:
    """Piecewise quintic polynomials of many functions at once on ``[0, upper]``, uniform knots.

    Inside interval ``i`` the value of function ``f`` is ``sum_k coefficients[i, k, f] t**k`` with
    ``t = r / step - i`` from 0 to 1.

    Parameters
    ----------
    coefficients : numpy.ndarray, (n_intervals, 6, n_functions), float64
        Contiguous, so that a Horner sweep vectorises over the functions.
    upper : float
        End of the range, in the unit of the distances.
    error, derivative_error : float
        Estimated largest absolute error of the values and of the first derivatives.
    """

    coefficients: np.ndarray
    upper: float
    error: float = 0.0
    derivative_error: float = 0.0

    @classmethod
    def fit(
        cls,
        function: Callable[[np.ndarray], np.ndarray],
        upper: float,
        tolerance: float = 1e-10,
        max_intervals: int = 4096,
    ) -> "Spline":
        """Interpolate a function with as few intervals as the tolerance allows.

        Parameters
        ----------
        function : callable
            Maps distances (M,) to values (M, n_functions).
        upper : float
            End of the range.
        tolerance : float
            Largest error of the values, measured between the knots against the function itself, relative to the
            largest absolute value.
        max_intervals : int
            Where the search gives up.

        Returns
        -------
        Spline

        Raises
        ------
        ValueError
            If an argument is out of range, a value is not finite, the values have another shape, or the tolerance
            is not reached (the message names the error that was).
        """
        if not (np.isfinite(upper) and upper > 0):
            raise ValueError(f"upper is {upper!r}; accepted is a positive, finite distance")
        if not 0 < tolerance < 1:
            raise ValueError(f"tolerance is {tolerance!r}; accepted is a number between 0 and 1")
        if max_intervals < _FIRST_INTERVALS:
            raise ValueError(f"max_intervals is {max_intervals!r}; accepted is {_FIRST_INTERVALS} or more")
        intervals = _FIRST_INTERVALS
        while True:
            # knots are every fourth point; the three between them measure the error
            grid = np.linspace(0.0, upper, 4 * intervals + 1)
            values = _checked_values(function, grid)
            coefficients = _clamped_interpolant(grid, values)
            between = np.arange(len(grid)) % 4 != 0
            error = np.abs(cls(coefficients, upper).evaluate(grid[between]) - values[between]).max(initial=0.0)
            scale = np.abs(values).max(initial=0.0)
            if error <= tolerance * scale:
                break
            if intervals == max_intervals:
                raise ValueError(
                    f"tolerance {tolerance:.1e} is not reached with max_intervals {max_intervals}: the relative error "
                    f"is {error / scale:.1e}; accepted are smooth functions, a larger tolerance or more intervals"
                )
            # the error falls with the sixth power of the step, once the features are resolved
            growth = (error / (tolerance * scale)) ** (1 / 6)
            intervals = min(math.ceil(intervals * min(max(growth, 1.05), 2.0)), max_intervals)
        coarse = cls(coefficients, float(upper))
        fine = make_interp_spline(grid, values, k=5)  # its derivative is about 4**5 times more accurate
        derivative_error = np.abs(coarse.derivative(grid) - fine(grid, nu=1)).max(initial=0.0)
        return cls(coefficients, float(upper), float(error), float(derivative_error))

    @property
    def n_intervals(self) -> int:
        """Number of intervals."""
        return self.coefficients.shape[0]

    @property
    def n_functions(self) -> int:
        """Number of functions."""
        return self.coefficients.shape[2]

    @property
    def inverse_step(self) -> float:
        """Reciprocal length of an interval."""
        return self.n_intervals / self.upper

    def evaluate(self, distances: np.ndarray) -> np.ndarray:
        """Values (M, n_functions) at distances (M,)."""
        return self.derivative(distances, order=0)

    def derivative(self, distances: np.ndarray, order: int = 1) -> np.ndarray:
        """Derivatives of the given order (M, n_functions) at distances (M,).

        Raises
        ------
        ValueError
            If a distance is outside ``[0, upper]`` or the order is not from 0 to 5.
        """
        if order not in range(6):
            raise ValueError(f"order is {order!r}; accepted is a whole number from 0 to 5")
        distances = np.asarray(distances, dtype=np.float64)
        if distances.size and not (distances.min() >= 0 and distances.max() <= self.upper):
            raise ValueError(
                f"distances range from {distances.min():g} to {distances.max():g}; accepted is 0 to {self.upper:g}"
            )
        position = distances * self.inverse_step
        interval = np.minimum(position.astype(np.int64), self.n_intervals - 1)
        t = (position - interval)[:, None]
        result = np.zeros((len(distances), self.n_functions))
        for k in range(5, order - 1, -1):
            result = result * t + math.factorial(k) / math.factorial(k - order) * self.coefficients[interval, k]
        return result * self.inverse_step**order

    def __call__(self, distances: torch.Tensor) -> torch.Tensor:
        """Values (M, n_functions) at distances (M,), in their dtype; differentiable up to five times.

        Distances outside ``[0, upper]`` follow the polynomial of the nearest interval.
        """
        position = distances * self.inverse_step
        interval = position.detach().long().clamp(0, self.n_intervals - 1)
        t = (position - interval)[:, None]
        coefficients = torch.as_tensor(self.coefficients).to(distances)[interval]  # (M, 6, n_functions)
        result = coefficients[:, 5]
        for k in range(4, -1, -1):
            result = result * t + coefficients[:, k]
        return result


def _checked_values(function: Callable[[np.ndarray], np.ndarray], grid: np.ndarray) -> np.ndarray:
    values = np.asarray(function(grid), dtype=np.float64)
    if values.ndim != 2 or len(values) != len(grid):
        raise ValueError(
            f"function returned shape {values.shape} for {len(grid)} distances; accepted is ({len(grid)}, n_functions)"
        )
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise ValueError(f"function is not finite at distance {grid[~finite][0]:g}; accepted are finite values")
    return values


def _clamped_interpolant(grid: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Coefficients (n_intervals, 6, n_functions) of the quintic interpolant whose knots are every fourth point.

    First and second derivative at the ends come from the interpolant of all points: without them the ends would be
    far less accurate than the interior.
    """
    fine = make_interp_spline(grid, values, k=5)
    knots = grid[::4]
    ends = [[(order, fine(end, nu=order)) for order in (1, 2)] for end in (knots[0], knots[-1])]
    interpolant = make_interp_spline(knots, values[::4], k=5, bc_type=tuple(ends))
    step = knots[1] - knots[0]
    taylor = [interpolant(knots[:-1], nu=k) * (step**k / math.factorial(k)) for k in range(6)]
    return np.ascontiguousarray(np.stack(taylor, axis=1))


@numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
def evaluate_spline(r, inverse_step, coefficients, values, derivatives):  # pragma: no cover - compiled
    """Write the values and the derivatives d/dr of all functions at one distance (device function).

    Parameters
    ----------
    r : float
        Distance; beyond the range it follows the last polynomial.
    inverse_step : float
        ``Spline.inverse_step``.
    coefficients : array (n_intervals, 6, n_functions), contiguous
        ``Spline.coefficients``, in the dtype of the outputs.
    values, derivatives : array (n_functions,), contiguous
        Outputs.
    """
    position = r * inverse_step
    interval = min(int(position), coefficients.shape[0] - 1)
    t = position - interval
    piece = coefficients[interval]
    for f in range(piece.shape[1]):
        value = piece[5, f] * t + piece[4, f]
        slope = piece[5, f] * t + value
        value = value * t + piece[3, f]
        slope = slope * t + value
        value = value * t + piece[2, f]
        slope = slope * t + value
        value = value * t + piece[1, f]
        slope = slope * t + value
        values[f] = value * t + piece[0, f]
        derivatives[f] = slope * inverse_step
