"""Peltier and Seebeck coefficients of ionic conductors from the currents of energy and charge.

Charge that flows at uniform temperature drags energy along. The energy Peltier coefficient

    Pi_E = L_EZ / L_ZZ = rho(0) sqrt(S_EE(0) / S_ZZ(0))

follows from the currents alone, rho being their coherence. The Seebeck coefficient is that of heat, which is energy
without the enthalpy that the ions carry, J_q = J_E - sum_s h_s J_s. In a salt of two ions without net momentum
sum_s h_s J_s = h* J_Z / e, and with E = S grad T at vanishing charge current

    S = (Pi_E - h* / e) / T,   h* / e = (m_- h_+ - m_+ h_-) / (q_+ m_- - q_- m_+) .

Pi_E does not depend on how a pair energy is shared between two atoms; h_s, and S with it, do. A value of S means
nothing without the definition of h_s.

Source: E. Drigo, S. Baroni, P. Pegolo, arXiv:2402.04873 (2024), for the regression; the rest is linear response.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from matterscape.checks import check_number, check_whole, real_array
from matterscape.transport.cepstral import Cepstral, cepstral_analysis
from matterscape.transport.coherence import KNOTS, SPACING, Coherence, regress_coherence
from matterscape.transport.currents import Currents
from matterscape.transport.spectra import CrossPeriodogram, ReducedPeriodogram, cross_periodogram, resampled
from matterscape.uq.reweighting import integrated_correlation_time


@dataclass(frozen=True, eq=False)
class Slope:
    """Regression of one current on the other at zero frequency: S_12(0) / S_22(0), and what it was computed from.

    Attributes
    ----------
    value, error : float
        In units of current 1 per current 2; for energy and charge in V.
    coherence : Coherence
    first, second : Cepstral
        Smooth spectra of the two currents.
    z : array (F,)
        Normalised cross-periodogram 2 m Re S^_12 / sqrt(S_11 S_22).
    """

    value: float
    error: float
    coherence: Coherence
    first: Cepstral
    second: Cepstral
    z: np.ndarray


@dataclass(frozen=True, eq=False)
class Peltier:
    """Energy Peltier coefficient of a conductor.

    Attributes
    ----------
    value, error : float
        Pi_E in V and its standard error.
    raw : Slope
        Of the currents as they are.
    residual : Slope
        Of J_E - ``shift`` J_Z and J_Z; that of the raw currents if they were not decorrelated.
    shift : float
        In V.
    frequencies_THz : array (F,)
        Of the bins of the regression, 0 and f* excluded.
    m : int
        Equivalent components: segments times Cartesian components.
    cutoff_THz : float
        True cutoff f*.
    """

    value: float
    error: float
    raw: Slope
    residual: Slope
    shift: float
    frequencies_THz: np.ndarray
    m: int
    cutoff_THz: float

    def __repr__(self) -> str:
        return f"<Peltier ({self.value:.4g} ± {self.error:.2g}) V, f* = {self.cutoff_THz:.4g} THz>"


def peltier_coefficient(
    currents: Currents,
    cutoff_THz: float,
    *,
    decorrelate: int = 2,
    energy: str = "energy",
    charge: str = "charge",
    n_knots: int | Iterable[int] = KNOTS,
    spacing: float = SPACING,
) -> Peltier:
    """Energy Peltier coefficient Pi_E = L_EZ / L_ZZ.

    The periodogram's off-diagonal element knows little of a coherence close to 1, the whole matrix much. Therefore
    Pi_E J_Z is subtracted from J_E with the present Pi_E, what is left is regressed again and added: the coherence of
    what is left is close to zero, where nothing is lost, and the errors of S_EE and S_ZZ drop out.

    Parameters
    ----------
    currents : Currents
        Of energy and charge, from runs without thermostat.
    cutoff_THz : float
        f* in THz, see :func:`matterscape.transport.spectra.resampled`.
    decorrelate : int
        How often J_E is decorrelated; with 0 the raw currents are regressed.
    energy, charge : str
        Names of the two currents.
    n_knots, spacing
        As of :func:`matterscape.transport.coherence.regress_coherence`.

    Returns
    -------
    Peltier

    Raises
    ------
    ValueError
        If a current is missing or of another kind, or a number is out of range.

    Source: regression as in Drigo, Baroni, Pegolo, arXiv:2402.04873 (2024); the decorrelation is ours.
    """
    check_whole("decorrelate", decorrelate, 0)
    for name, kind in ((energy, "energy"), (charge, "charge")):
        found = currents.kinds[currents.index(name)]
        if found != kind:
            raise ValueError(f"current {name!r} is one of {found}; accepted is one of {kind}")
    n_knots = tuple(n_knots) if isinstance(n_knots, Iterable) else n_knots
    periodogram = cross_periodogram(resampled(currents.select(energy, charge), cutoff_THz))
    raw = residual = slope_at_zero(periodogram, n_knots=n_knots, spacing=spacing)
    shift = 0.0
    for _ in range(decorrelate):
        shift += residual.value
        residual = slope_at_zero(_shifted(periodogram, -shift), n_knots=n_knots, spacing=spacing)
    return Peltier(
        value=shift + residual.value,
        error=residual.error,
        raw=raw,
        residual=residual,
        shift=shift,
        frequencies_THz=periodogram.frequencies_THz[1:-1],
        m=periodogram.n_equivalent,
        cutoff_THz=float(periodogram.frequencies_THz[-1]),
    )


def slope_at_zero(
    periodogram: CrossPeriodogram, *, n_knots: int | Iterable[int] = KNOTS, spacing: float = SPACING
) -> Slope:
    """Regression of the first of two currents on the second at zero frequency, from their periodogram.

    rho(0) sqrt(S_11(0) / S_22(0)), with smooth spectra by cepstral analysis. An error of S_11 cancels, since it
    enters the normalisation of z as well; one of S_22 enters twice by halves, so that the variance is that of rho(0)
    plus rho(0)^2 var ln S_22(0), times S_11(0) / S_22(0).

    Parameters
    ----------
    periodogram : CrossPeriodogram
        Of two currents.
    n_knots, spacing
        As of :func:`matterscape.transport.coherence.regress_coherence`.

    Returns
    -------
    Slope

    Raises
    ------
    ValueError
        If there are not two currents, or a number is out of range.
    """
    if len(periodogram.names) != 2:
        raise ValueError(f"periodogram is of {', '.join(periodogram.names)}; accepted are two currents")
    m = periodogram.n_equivalent
    first, second = (
        cepstral_analysis(ReducedPeriodogram(periodogram.frequencies_THz, periodogram.spectrum(name), m))
        for name in periodogram.names
    )
    scale = np.sqrt(first.spectrum() * second.spectrum())
    z = (2 * m * periodogram.matrix[:, 0, 1].real / scale)[1:-1]
    coherence = regress_coherence(z, m, n_knots=n_knots, spacing=spacing)
    ratio = np.sqrt(first.zero_frequency / second.zero_frequency)
    error = np.hypot(coherence.error, coherence.zero_frequency * second.log_error)
    return Slope(float(ratio * coherence.zero_frequency), float(ratio * error), coherence, first, second, z)


def _shifted(periodogram: CrossPeriodogram, coefficient: float) -> CrossPeriodogram:
    """Periodogram of J_1 + coefficient J_2 and J_2."""
    mixing = np.array([[1.0, coefficient], [0.0, 1.0]])
    return CrossPeriodogram(
        periodogram.frequencies_THz,
        mixing @ periodogram.matrix @ mixing.T,
        periodogram.names,
        periodogram.n_equivalent,
        periodogram.n_samples,
    )


@dataclass(frozen=True, eq=False)
class PartialEnthalpies:
    """Enthalpy that an ion of each species carries.

    Attributes
    ----------
    names : tuple of str
        Chemical symbols.
    values : array (S,)
        In eV.
    covariance : array (S, S)
        Of the values, in eV^2.
    convention : str
        How they are defined.
    """

    names: tuple[str, ...]
    values: np.ndarray
    covariance: np.ndarray
    convention: str

    @property
    def errors(self) -> np.ndarray:
        """Standard errors (S,) in eV."""
        return np.sqrt(np.diag(self.covariance))


def partial_enthalpies(
    names: Sequence[str], energies: np.ndarray, virials: np.ndarray, kinetic: np.ndarray
) -> PartialEnthalpies:
    """Partial enthalpies as means over the ions of a species, h_s = <U_i + ke_i + Tr W_i / 3 + 2 ke_i / 3>_s.

    U_i is the share of an ion in the potential energy and W_i its flux tensor, equal shares of every pair energy being
    the convention of :mod:`matterscape.potentials`; an isolated ion at rest has none. The sum over all ions is the
    enthalpy E + P V.

    Parameters
    ----------
    names : sequence of str
        Symbols of the S species.
    energies : array (T, S)
        Mean of U_i over the ions of each species, in T frames, in eV.
    virials : array (T, S)
        Likewise of Tr W_i.
    kinetic : array (T, S)
        Likewise of the kinetic energy.

    Returns
    -------
    PartialEnthalpies
        The covariance takes the correlation time of the frames into account.

    Raises
    ------
    ValueError
        If shapes differ, there are fewer than two frames, or a number is not finite.
    """
    names = tuple(names)
    arrays = [
        real_array(name, values)
        for name, values in (("energies", energies), ("virials", virials), ("kinetic", kinetic))
    ]
    for name, values in zip(("energies", "virials", "kinetic"), arrays):
        if values.ndim != 2 or values.shape != (len(arrays[0]), len(names)) or len(values) < 2:
            raise ValueError(
                f"{name} have shape {values.shape}; accepted is (frames, {len(names)}), equal for all and with at "
                "least two frames"
            )
        if not np.isfinite(values).all():
            raise ValueError(f"{name} hold {values[~np.isfinite(values)][0]}; accepted are finite numbers")
    potential, traces, motion = arrays
    series = potential + traces / 3 + 5 / 3 * motion
    correlated = 2 * np.max(integrated_correlation_time(series))
    covariance = np.atleast_2d(np.cov(series.T)) * (correlated / len(series))
    return PartialEnthalpies(names, series.mean(axis=0), covariance, "species mean, equal shares of pair energies")


@dataclass(frozen=True, eq=False)
class Seebeck:
    """Seebeck coefficient of a salt, with the convention that it depends on.

    Attributes
    ----------
    value, error : float
        S in mV/K, and its standard error.
    peltier : float
        Pi_E in V.
    enthalpy, enthalpy_error : float
        h* / e in V.
    temperature_K : float
    convention : str
        Definition of the partial enthalpies.
    """

    value: float
    error: float
    peltier: float
    enthalpy: float
    enthalpy_error: float
    temperature_K: float
    convention: str

    def __repr__(self) -> str:
        return f"<Seebeck ({self.value:.3g} ± {self.error:.1g}) mV/K, partial enthalpies: {self.convention}>"


def carried_enthalpy(
    enthalpies: PartialEnthalpies, masses: Mapping[str, float], charges: Mapping[str, float]
) -> tuple[float, float]:
    """h* / e: enthalpy that the ions of a binary salt carry per charge, when their total momentum vanishes.

    Parameters
    ----------
    enthalpies : PartialEnthalpies
        Of two species.
    masses : mapping of str to float
        In amu.
    charges : mapping of str to float
        In e, of opposite signs.

    Returns
    -------
    tuple of float
        (m_- h_+ - m_+ h_-) / (q_+ m_- - q_- m_+) in V, and its standard error.

    Raises
    ------
    ValueError
        If there are not two species, or their masses or charges are missing or unsuitable.
    """
    if len(enthalpies.names) != 2:
        raise ValueError(f"enthalpies are of {', '.join(enthalpies.names)}; accepted are two species")
    for what, mapping in (("masses", masses), ("charges", charges)):
        for name in enthalpies.names:
            if name not in mapping:
                raise ValueError(f"{what} lack {name}; accepted is one for each of {', '.join(enthalpies.names)}")
            check_number(f"{what} of {name}", mapping[name], positive=what == "masses", signed=what == "charges")
    (m_a, m_b), (q_a, q_b) = ([mapping[name] for name in enthalpies.names] for mapping in (masses, charges))
    if q_a * q_b >= 0:
        raise ValueError(f"charges are {q_a:g} and {q_b:g}; accepted are two of opposite signs")
    weights = np.array([m_b, -m_a]) / (q_a * m_b - q_b * m_a)
    return float(weights @ enthalpies.values), float(np.sqrt(weights @ enthalpies.covariance @ weights))


def seebeck_coefficient(
    coefficient: Peltier,
    enthalpies: PartialEnthalpies | Mapping[str, float] | None,
    *,
    temperature_K: float,
    masses: Mapping[str, float],
    charges: Mapping[str, float],
) -> Seebeck:
    """Seebeck coefficient S = (Pi_E - h* / e) / T of a salt of two ions; E = S grad T where no charge flows.

    Parameters
    ----------
    coefficient : Peltier
    enthalpies : PartialEnthalpies, mapping of str to float, or None
        From :func:`partial_enthalpies`; or h_s of each species in eV by a definition of your own, taken as exact; or
        None for no enthalpies at all, S = Pi_E / T.
    temperature_K : float
        Mean temperature in K.
    masses, charges : mapping of str to float
        Of each species, in amu and e.

    Returns
    -------
    Seebeck

    Raises
    ------
    ValueError
        If the temperature is not positive, or as :func:`carried_enthalpy`.
    """
    check_number("temperature_K", temperature_K, "K", positive=True)
    if enthalpies is None:
        carried, carried_error, convention = 0.0, 0.0, "none"
    else:
        if not isinstance(enthalpies, PartialEnthalpies):
            names = tuple(enthalpies)
            values = real_array("enthalpies", [enthalpies[name] for name in names])
            enthalpies = PartialEnthalpies(names, values, np.zeros((len(names), len(names))), "given")
        carried, carried_error = carried_enthalpy(enthalpies, masses, charges)
        convention = enthalpies.convention
    return Seebeck(
        value=1e3 * (coefficient.value - carried) / temperature_K,
        error=1e3 * float(np.hypot(coefficient.error, carried_error)) / temperature_K,
        peltier=coefficient.value,
        enthalpy=carried,
        enthalpy_error=carried_error,
        temperature_K=float(temperature_K),
        convention=convention,
    )
