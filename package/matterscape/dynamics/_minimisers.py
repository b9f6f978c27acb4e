"""Minimisers of many functions at once: each structure of a batch has its own step, its rows are moved together.

Coordinates and gradients are (M, 3); row m belongs to structure ``owner[m]``. One call of ``advance`` takes the values
of all functions at the present coordinates and gives the next ones.
"""

import numpy as np

LONGEST_STEP = 0.2  # Å: no row moves further at once


class _Minimiser:
    """Sums over the rows of a structure, and the choice of those that go on."""

    per_structure: tuple[str, ...] = ()
    per_row: tuple[str, ...] = ()

    def __init__(self, owner: np.ndarray, n_structures: int):
        self.owner, self.n_structures = owner, n_structures

    def select(self, structures: np.ndarray, rows: np.ndarray, owner: np.ndarray) -> None:
        """Go on with some of the structures (mask) and their rows (mask), which get a new ``owner``."""
        for names, chosen in ((self.per_structure, structures), (self.per_row, rows)):
            for name in names:
                setattr(self, name, getattr(self, name)[chosen])
        self.owner, self.n_structures = owner, int(np.count_nonzero(structures))

    def _dot(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Scalar product of each structure (B,)."""
        return np.bincount(self.owner, np.einsum("ma,ma->m", a, b), self.n_structures)

    def _longest(self, a: np.ndarray) -> np.ndarray:
        """Norm of the longest row of each structure (B,)."""
        longest = np.zeros(self.n_structures)
        np.maximum.at(longest, self.owner, np.einsum("ma,ma->m", a, a))
        return np.sqrt(longest)

    def _rows(self, values: np.ndarray) -> np.ndarray:
        """A number of each structure, as a column over its rows (M, 1)."""
        return values[self.owner, None]


class Fire(_Minimiser):
    """FIRE 2.0 with semi-implicit Euler steps (J. Guénolé et al., Comput. Mater. Sci. 175, 109584 (2020), algorithm 2).

    Masses are one in the units of the coordinates; time is in Å / sqrt(eV).
    """

    TIMESTEP, LONGEST_TIMESTEP, SHORTEST_TIMESTEP = 0.1, 1.0, 0.002
    DELAY, GROWTH, SHRINKAGE = 20, 1.1, 0.5
    MIXING, MIXING_DECAY = 0.25, 0.99
    per_structure = ("timestep", "mixing", "n_downhill", "n_steps")
    per_row = ("velocities",)

    def __init__(self, owner: np.ndarray, n_structures: int):
        super().__init__(owner, n_structures)
        self.velocities = np.zeros((len(owner), 3))
        self.timestep = np.full(n_structures, self.TIMESTEP)
        self.mixing = np.full(n_structures, self.MIXING)
        self.n_downhill = np.zeros(n_structures, int)
        self.n_steps = np.zeros(n_structures, int)

    def advance(self, coordinates: np.ndarray, values: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Next coordinates (M, 3) from values (B,) and gradient (M, 3) at the present ones."""
        downhill = self._dot(gradient, self.velocities) < 0
        at_rest = self.n_steps == 0
        self.n_downhill = np.where(downhill, self.n_downhill + 1, 0)
        accelerate = self.n_downhill > self.DELAY
        self.timestep = np.where(
            accelerate, np.minimum(self.timestep * self.GROWTH, self.LONGEST_TIMESTEP), self.timestep
        )
        self.mixing = np.where(accelerate, self.mixing * self.MIXING_DECAY, self.mixing)
        uphill = ~downhill & ~at_rest
        back = np.where(uphill, 0.5 * self.timestep, 0.0)  # half a step back from where it went uphill
        coordinates = coordinates - self._rows(back) * self.velocities
        shorter = np.maximum(self.timestep * self.SHRINKAGE, self.SHORTEST_TIMESTEP)
        self.timestep = np.where(uphill & (self.n_steps >= self.DELAY), shorter, self.timestep)
        self.mixing = np.where(uphill, self.MIXING, self.mixing)
        self.n_steps += 1

        velocities = np.where(self._rows(uphill), 0.0, self.velocities) - self._rows(self.timestep) * gradient
        norm = np.sqrt(self._dot(gradient, gradient))
        speed = np.sqrt(self._dot(velocities, velocities))
        turn = self.mixing * speed / np.where(norm > 0, norm, 1.0)
        velocities = self._rows(1 - self.mixing) * velocities - self._rows(turn) * gradient
        longest = self._longest(velocities) * self.timestep
        velocities *= self._rows(np.minimum(1.0, LONGEST_STEP / np.maximum(longest, 1e-300)))
        self.velocities = velocities
        return coordinates + self._rows(self.timestep) * velocities


class ConjugateGradients(_Minimiser):
    """Nonlinear conjugate gradients (Polak-Ribière, restarted when beta < 0) with a line search on the slope.

    The search brackets the zero of the slope along the direction and closes in by the secant until 0.7 of the slope are
    left (J. Nocedal and S. J. Wright, Numerical Optimization (2006), ch. 3 and 5.2). Values only stop it from climbing
    a barrier: near a minimum they no longer resolve it, and at the cutoff of a truncated potential they jump.
    """

    FIRST_STEP = 0.05  # Å^2/eV
    SLOPE_LEFT = 0.7
    HIGHEST_RISE = 0.1  # eV
    MOST_TRIALS = 12
    per_structure = ("base_value", "base_slope", "step", "low", "low_slope", "high", "high_slope", "n_trials")
    per_row = ("base", "base_gradient", "direction")

    def __init__(self, owner: np.ndarray, n_structures: int):
        super().__init__(owner, n_structures)
        self.base = self.base_gradient = self.direction = np.zeros((len(owner), 3))
        self.base_value = np.full(n_structures, np.inf)
        self.base_slope = np.zeros(n_structures)
        self.step = np.full(n_structures, self.FIRST_STEP)
        self.low = self.low_slope = self.high_slope = np.zeros(n_structures)
        self.high = np.full(n_structures, np.inf)
        self.n_trials = np.zeros(n_structures, int)

    def advance(self, coordinates: np.ndarray, values: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Next coordinates (M, 3) from values (B,) and gradient (M, 3) at the present ones."""
        slope = self._dot(gradient, self.direction)
        lower = values <= self.base_value + self.HIGHEST_RISE
        taken = lower & (np.abs(slope) <= self.SLOPE_LEFT * np.abs(self.base_slope))
        taken |= np.isinf(self.base_value)
        trial = self.step
        self._search_on(slope, lower)
        failed = ~taken & (self.n_trials >= self.MOST_TRIALS)
        taken |= failed & lower
        self._turn(taken, failed & ~lower, trial, coordinates, values, gradient)
        return self.base + self._rows(self.step) * self.direction

    def _search_on(self, slope: np.ndarray, lower: np.ndarray) -> None:
        """Narrow the brackets by the present trial and choose the next step."""
        beyond = ~lower | (slope > 0)
        old_low, old_slope = self.low, self.low_slope
        self.high = np.where(beyond, self.step, self.high)
        self.high_slope = np.where(beyond, slope, self.high_slope)
        self.low = np.where(beyond, self.low, self.step)
        self.low_slope = np.where(beyond, self.low_slope, slope)
        self.n_trials = self.n_trials + 1
        bracketed = np.isfinite(self.high)
        width = np.where(bracketed, self.high - self.low, 0.0)
        crossing = bracketed & (self.high_slope > 0)
        fraction = np.where(crossing, -self.low_slope / np.where(crossing, self.high_slope - self.low_slope, 1.0), 0.5)
        inside = self.low + width * np.clip(fraction, 0.05, 0.95)
        rise = slope - old_slope
        secant = self.step - slope * (self.step - old_low) / np.where(rise > 0, rise, 1.0)
        outside = np.where(rise > 0, np.clip(secant, 1.2 * self.step, 4 * self.step), 3 * self.step)
        self.step = np.where(bracketed, inside, np.minimum(outside, self._longest_step()))

    def _turn(self, taken, restart, trial, coordinates, values, gradient) -> None:
        """Choose new directions: from the trial where it was taken, downhill from the old point where all failed."""
        rows = self._rows(taken)
        norm = self._dot(self.base_gradient, self.base_gradient)
        mixed = self._dot(gradient, gradient - self.base_gradient)
        beta = np.where(norm > 0, np.maximum(0.0, mixed / np.where(norm > 0, norm, 1.0)), 0.0)
        turned = self._rows(beta) * self.direction - gradient
        beta[self._dot(turned, gradient) > -0.1 * self._dot(gradient, gradient)] = 0.0
        turned = self._rows(beta) * self.direction - gradient
        old_slope = self.base_slope
        self.base = np.where(rows, coordinates, self.base)
        self.base_value = np.where(taken, values, self.base_value)
        self.base_gradient = np.where(rows, gradient, self.base_gradient)
        self.direction = np.where(rows, turned, np.where(self._rows(restart), -self.base_gradient, self.direction))
        fresh = taken | restart
        self.base_slope = np.where(fresh, self._dot(self.base_gradient, self.direction), self.base_slope)
        guess = np.where(
            old_slope < 0, trial * old_slope / np.where(self.base_slope < 0, self.base_slope, -1.0), self.FIRST_STEP
        )
        guess = np.where(restart, 0.01 * self.FIRST_STEP, guess)
        self.step = np.where(fresh, np.minimum(guess, self._longest_step()), self.step)
        self.low, self.high = np.where(fresh, 0.0, self.low), np.where(fresh, np.inf, self.high)
        self.low_slope = np.where(fresh, self.base_slope, self.low_slope)
        self.n_trials = np.where(fresh, 0, self.n_trials)

    def _longest_step(self) -> np.ndarray:
        return LONGEST_STEP / np.maximum(self._longest(self.direction), 1e-300)
