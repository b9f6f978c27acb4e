"""Occupation of vibrational modes and their heat capacities, after Bose and in the classical limit."""

import numpy as np

from matterscape.checks import check_number
from matterscape.transport.lattice.constants import BOLTZMANN, REDUCED_PLANCK

STATISTICS = ("quantum", "classical")


def occupations(angular_frequencies: np.ndarray, temperature_K: float, statistics: str = "quantum") -> np.ndarray:
    """Mean number of quanta of each mode: 1 / (e^x - 1) with x = hbar omega / k_B T, or 1 / x in classical physics.

    Parameters
    ----------
    angular_frequencies : ndarray
        In rad/ps, positive.
    temperature_K : float
    statistics : "quantum" or "classical"

    Raises
    ------
    ValueError
        If the temperature is not positive, or the statistics none of those.
    """
    x = reduced_frequencies(angular_frequencies, temperature_K, statistics)
    return 1 / x if statistics == "classical" else 1 / np.expm1(np.minimum(x, 700.0))


def heat_capacities(angular_frequencies: np.ndarray, temperature_K: float, statistics: str = "quantum") -> np.ndarray:
    """Heat capacity of each mode in k_B: (x/2)^2 / sinh^2(x/2) with x = hbar omega / k_B T, or 1 in classical physics.

    Parameters and errors as of :func:`occupations`.
    """
    half = reduced_frequencies(angular_frequencies, temperature_K, statistics) / 2
    return np.ones(half.shape) if statistics == "classical" else (half / np.sinh(np.minimum(half, 350.0))) ** 2


def reduced_frequencies(angular_frequencies: np.ndarray, temperature_K: float, statistics: str) -> np.ndarray:
    """hbar omega / k_B T, after a check of the arguments of :func:`occupations`."""
    check_number("temperature_K", temperature_K, "K", positive=True)
    if statistics not in STATISTICS:
        raise ValueError(f"statistics is {statistics!r}; accepted are {', '.join(map(repr, STATISTICS))}")
    return np.asarray(angular_frequencies) * (REDUCED_PLANCK / (BOLTZMANN * temperature_K))
