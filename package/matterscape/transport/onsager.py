"""Onsager coefficients and conductivities from the spectra of currents at zero frequency.

    L_ab = S_ab(0) / (2 V k_B),   sigma = L_ZZ / T,   kappa = 1 / (T^2 (L^-1)_EE)

for the extensive currents of energy E, charge Z, and any others. kappa is the conductivity of heat while no other
current flows; it does not change when a multiple of another current is added to that of energy, whose definition is
arbitrary by just this. Bertossa, Grasselli, Ercole, Baroni, Phys. Rev. Lett. 122, 255901 (2019).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import units

from matterscape.checks import check_number
from matterscape.transport.cepstral import Cepstral, cepstral_analysis
from matterscape.transport.currents import Currents
from matterscape.transport.spectra import CrossPeriodogram, ReducedPeriodogram, cross_periodogram, resampled

#: 1 eV/(Å ps K) in W/(m K), and 1 e^2/(Å ps eV) in S/m.
TO_SI = units._e * 1e22


@dataclass(frozen=True, eq=False)
class Conductivity:
    """A conductivity with its error, and what it was computed from.

    Attributes
    ----------
    cepstral : Cepstral
        Of the resampled currents.
    periodogram : ReducedPeriodogram
        Of the resampled currents.
    factor : float
        Conductivity per S(0).
    unit : str
        "W/(m K)" or "S/cm".
    """

    cepstral: Cepstral
    periodogram: ReducedPeriodogram
    factor: float
    unit: str

    @property
    def value(self) -> float:
        """The conductivity."""
        return self.factor * self.cepstral.zero_frequency

    @property
    def error(self) -> float:
        """Its standard deviation, see :attr:`Cepstral.log_error`."""
        return self.factor * self.cepstral.zero_frequency_error

    @property
    def cutoff_THz(self) -> float:
        """True cutoff frequency f* in THz, the Nyquist frequency of the resampled currents."""
        return self.periodogram.nyquist_THz

    @property
    def n_coefficients(self) -> int:
        """Last cepstral coefficient K that is kept."""
        return self.cepstral.n_coefficients

    @property
    def degrees_of_freedom(self) -> int:
        """nu = l - M + 1 of the periodogram."""
        return self.periodogram.degrees_of_freedom

    def with_coefficients(self, n_coefficients: int) -> "Conductivity":
        """The same with another number K of cepstral coefficients; takes no time."""
        return replace(self, cepstral=self.cepstral.with_coefficients(n_coefficients))

    def scan(self, largest: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Conductivity and error for every K from 0 to ``largest`` (by default N/2): two arrays (largest + 1,)."""
        logarithms, errors = self.cepstral.scan(largest)
        values = self.factor * np.exp(logarithms)
        return values, values * errors

    def __repr__(self) -> str:
        return (
            f"<Conductivity ({self.value:.4g} ± {self.error:.2g}) {self.unit}, f* = {self.cutoff_THz:.4g} THz, "
            f"K = {self.n_coefficients}, nu = {self.degrees_of_freedom}>"
        )


def thermal_conductivity(
    currents: Currents, cutoff_THz: float, *, energy: str = "energy", n_coefficients: int | None = None
) -> Conductivity:
    """Thermal conductivity at vanishing other currents, kappa = 1 / (T^2 (L^-1)_EE).

    With the current of energy alone this is L_EE / T^2, which is too large where matter diffuses.

    Parameters
    ----------
    currents : Currents
        Of energy, and of whatever else flows (charge, or the summed velocities of all species but one that diffuse).
    cutoff_THz : float
        f* in THz, see :func:`matterscape.transport.spectra.resampled`.
    energy : str
        Name of the current of energy.
    n_coefficients : int, optional
        Last cepstral coefficient K; by default chosen by the information criterion.

    Returns
    -------
    Conductivity
        In W/(m K). With components that are not equivalent (a crystal), of their mean over directions, up to 2 %
        too small where the largest is three times the smallest.

    Raises
    ------
    ValueError
        If the current is not one of energy, or there are more currents than equivalent components.
    """
    periodogram = cross_periodogram(resampled(currents, cutoff_THz))
    return _thermal(periodogram, currents, energy, n_coefficients)


def electrical_conductivity(
    currents: Currents, cutoff_THz: float, *, charge: str = "charge", n_coefficients: int | None = None
) -> Conductivity:
    """Electrical conductivity at uniform temperature, sigma = L_ZZ / T = S_ZZ(0) / (2 V k_B T).

    Parameters
    ----------
    currents : Currents
    cutoff_THz : float
        f* in THz.
    charge : str
        Name of the current of charge; the others do not matter.
    n_coefficients : int, optional
        Last cepstral coefficient K; by default chosen by the information criterion.

    Returns
    -------
    Conductivity
        In S/cm.

    Raises
    ------
    ValueError
        If the current is not one of charge.
    """
    _check_kind(currents, charge, "charge")
    reduced = cross_periodogram(resampled(currents.select(charge), cutoff_THz)).reduced(charge)
    factor = TO_SI / 100 / (2 * currents.volume * units.kB * currents.temperature_K)
    return Conductivity(cepstral_analysis(reduced, n_coefficients), reduced, factor, "S/cm")


def _thermal(
    periodogram: CrossPeriodogram, currents: Currents, energy: str, n_coefficients: int | None
) -> Conductivity:
    _check_kind(currents, energy, "energy")
    reduced = periodogram.reduced(energy)
    factor = TO_SI / (2 * currents.volume * units.kB * currents.temperature_K**2)
    return Conductivity(cepstral_analysis(reduced, n_coefficients), reduced, factor, "W/(m K)")


def _check_kind(currents: Currents, name: str, kind: str) -> None:
    found = currents.kinds[currents.index(name)]
    if found != kind:
        raise ValueError(f"current {name!r} is one of {found}; accepted is one of {kind}")


def conductivity_tensor(
    currents: Currents,
    cutoff_THz: float,
    conductivity: Callable[[Currents, float], Conductivity] = thermal_conductivity,
) -> tuple[Conductivity, ...]:
    """Conductivities along each Cartesian direction, as crystals need, from several independent runs.

    The segments take the part of the equivalent components: R of them leave nu = R - M + 1 degrees of freedom in each
    direction. nu = 1 is refused: its logarithm is so skewed that errors mean little.

    Parameters
    ----------
    currents : Currents
        With at least M + 1 segments; :meth:`Currents.split` makes them from one long run.
    cutoff_THz : float
        f* in THz.
    conductivity : callable
        :func:`thermal_conductivity`, :func:`electrical_conductivity`, or one of them with some arguments filled in.

    Returns
    -------
    tuple of Conductivity
        Of x, y, z.

    Raises
    ------
    ValueError
        If there are too few segments.
    """
    results = []
    for direction in range(currents.n_components):
        results.append(conductivity(currents.components(direction), cutoff_THz))
        if results[-1].degrees_of_freedom < 2:
            raise ValueError(
                f"{currents.n_segments} segments leave 1 degree of freedom in each direction; accepted are at least "
                f"{currents.n_segments + 1} independent segments (Currents.split makes them from a long run)"
            )
    return tuple(results)


@dataclass(frozen=True, eq=False)
class CutoffScan:
    """A conductivity at several cutoff frequencies.

    Attributes
    ----------
    cutoffs_THz : array (n,)
        True cutoff frequencies, ascending and all different.
    values, errors : array (n,)
    n_coefficients : array (n,)
        K chosen by the information criterion.
    unit : str
    """

    cutoffs_THz: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    n_coefficients: np.ndarray
    unit: str


def scan_cutoff(
    currents: Currents,
    cutoffs_THz: Sequence[float],
    conductivity: Callable[[Currents, float], Conductivity] = thermal_conductivity,
) -> CutoffScan:
    """A conductivity as a function of the cutoff frequency: a plateau is what one looks for.

    Parameters
    ----------
    currents : Currents
    cutoffs_THz : sequence of float
        In THz; those that round to the same true cutoff count once.
    conductivity : callable
        :func:`thermal_conductivity`, :func:`electrical_conductivity`, or one of them with some arguments filled in.

    Returns
    -------
    CutoffScan

    Raises
    ------
    ValueError
        If there is no cutoff, or one is out of range.
    """
    cutoffs = np.atleast_1d(np.asarray(cutoffs_THz, dtype=np.float64))
    if not cutoffs.size:
        raise ValueError("cutoffs_THz are empty; accepted is at least one frequency in THz")
    for cutoff in cutoffs:
        check_number("cutoff_THz", float(cutoff), "THz", positive=True)
    _, first = np.unique(np.rint(currents.nyquist_THz / cutoffs), return_index=True)
    results = [conductivity(currents, float(cutoffs[index])) for index in first[::-1]]
    return CutoffScan(
        *(
            np.array([getattr(result, what) for result in results])
            for what in ("cutoff_THz", "value", "error", "n_coefficients")
        ),
        unit=results[0].unit,
    )


@dataclass(frozen=True, eq=False)
class OnsagerMatrix:
    """Onsager coefficients with their errors.

    Attributes
    ----------
    values, errors : array (M, M)
        L_ab in (unit of a)(unit of b) ps K / (eV Å^3), symmetric.
    schur_complements, schur_errors : array (M,)
        1 / (L^-1)_aa of each current, from its reduced periodogram.
    names : tuple of str
    """

    values: np.ndarray
    errors: np.ndarray
    schur_complements: np.ndarray
    schur_errors: np.ndarray
    names: tuple[str, ...]


def onsager_matrix(currents: Currents, cutoff_THz: float, *, n_coefficients: int | None = None) -> OnsagerMatrix:
    """All Onsager coefficients L_ab = S_ab(0) / (2 V k_B) of some currents.

    The diagonal comes from cepstral analysis. Off the diagonal the sampled spectrum may be negative, so that it has no
    logarithm; but the spectra S+ and S- of the sum and the difference of two currents, each divided by the root of its
    own S(0), have one. The coherence is rho = (S+ - S-) / (S+ + S-), always between -1 and 1, with error
    (1 - rho^2) / 2 sqrt(var ln S+ + var ln S-), and L_ab = rho sqrt(L_aa L_bb).

    Parameters
    ----------
    currents : Currents
    cutoff_THz : float
        f* in THz.
    n_coefficients : int, optional
        Last cepstral coefficient K of every spectrum; by default chosen by the information criterion for each.

    Returns
    -------
    OnsagerMatrix
    """
    periodogram = cross_periodogram(resampled(currents, cutoff_THz))
    matrix, count = periodogram.matrix, len(periodogram.names)

    def analysed(values: np.ndarray) -> Cepstral:
        reduced = ReducedPeriodogram(periodogram.frequencies_THz, values, periodogram.n_equivalent)
        return cepstral_analysis(reduced, n_coefficients)

    diagonal = [analysed(periodogram.spectrum(name)) for name in periodogram.names]
    values = np.diag([one.zero_frequency for one in diagonal])
    errors = np.diag([one.zero_frequency_error for one in diagonal])
    for a in range(count):
        for b in range(a):
            scale = np.sqrt(values[a, a] * values[b, b])
            mean = 0.5 * (matrix[:, a, a].real / values[a, a] + matrix[:, b, b].real / values[b, b])
            shared = matrix[:, a, b].real / scale
            plus, minus = analysed(mean + shared), analysed(mean - shared)
            coherence = np.tanh(0.5 * (plus.log_zero_frequency - minus.log_zero_frequency))
            # variance of rho, then what fluctuates with the diagonal: together (1 + rho^2) / 2 for equal errors
            variance = (1 - coherence**2) ** 2 * (plus.log_error**2 + minus.log_error**2) / 4
            variance += (3 - coherence**2) * coherence**2 / 2 * diagonal[a].log_error * diagonal[b].log_error
            values[a, b] = values[b, a] = coherence * scale
            errors[a, b] = errors[b, a] = np.sqrt(variance) * scale
    reduced = [cepstral_analysis(periodogram.reduced(name), n_coefficients) for name in periodogram.names]
    factor = 1 / (2 * currents.volume * units.kB)
    return OnsagerMatrix(
        factor * values,
        factor * errors,
        factor * np.array([one.zero_frequency for one in reduced]),
        factor * np.array([one.zero_frequency_error for one in reduced]),
        periodogram.names,
    )


def schur_complement(matrix: np.ndarray, index: int) -> np.ndarray:
    """1 / (A^-1)_ii of symmetric or Hermitian matrices, A_ii - A_iB (A_BB)^-1 A_Bi with B the other rows.

    Parameters
    ----------
    matrix : array (..., M, M)
    index : int
        i, from 0 to M - 1.

    Returns
    -------
    array (...)
        Real.

    Raises
    ------
    ValueError
        If the matrices are not square, or ``index`` is out of range.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"matrix has shape {matrix.shape}; accepted are square matrices (..., M, M)")
    size = matrix.shape[-1]
    if index not in range(size):
        raise ValueError(f"index is {index!r}; accepted is a whole number from 0 to {size - 1}")
    others = [i for i in range(size) if i != index]
    own = matrix[..., index, index].real
    if not others:
        return own
    column = matrix[..., others, index]
    solved = np.linalg.solve(matrix[..., others, :][..., others], column[..., None])[..., 0]
    return own - np.einsum("...i,...i->...", column.conj(), solved).real


def gauge_deviation(
    currents: Currents,
    cutoff_THz: float,
    coefficients: Sequence[float] = (-1.0, 0.5, 3.0),
    *,
    energy: str = "energy",
    n_coefficients: int | None = None,
) -> float:
    """Largest relative change of the thermal conductivity when multiples of other currents are added to energy.

    The conductivity is invariant, so that this is rounding. With the current of energy alone it is not, which
    ``currents.shifted(...).select(energy)`` shows.

    Parameters
    ----------
    currents : Currents
        With at least two currents.
    cutoff_THz : float
        f* in THz.
    coefficients : sequence of float
        Multiples of rms(J_E) / rms(J_other), so that 1 adds as much as there is.
    energy : str
        Name of the current of energy.
    n_coefficients : int, optional
        Last cepstral coefficient K; by default that chosen for the currents as given.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there is only one current.
    """
    others = [name for name in currents.names if name != energy]
    if not others or not len(coefficients):
        raise ValueError(
            f"currents are {', '.join(currents.names)} and coefficients {tuple(coefficients)!r}; accepted are at least "
            "one current besides that of energy, and one coefficient"
        )
    filtered = resampled(currents, cutoff_THz)
    expected = thermal_conductivity(filtered, filtered.nyquist_THz, energy=energy, n_coefficients=n_coefficients)
    size = np.linalg.norm(filtered[energy])
    deviations = []
    for other in others:
        for coefficient in coefficients:
            shifted = filtered.shifted(energy, other, float(coefficient * size / np.linalg.norm(filtered[other])))
            found = thermal_conductivity(
                shifted, filtered.nyquist_THz, energy=energy, n_coefficients=expected.n_coefficients
            )
            deviations.append(abs(found.value / expected.value - 1))
    return float(max(deviations))
