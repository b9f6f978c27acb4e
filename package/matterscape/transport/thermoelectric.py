"""Thermoelectric figure of merit: electrons of one parabolic band beside the heat conducted by the lattice.

Electrons are scattered by acoustic phonons or by an alloy's disorder, whose lifetime falls as E^-1/2. With the
Fermi-Dirac integrals F_j of the reduced Fermi level eta,

    S = (k_B / e) (2 F_1 / F_0 - eta),   n = 4 pi (2 m k_B T / h^2)^(3/2) F_1/2,
    sigma = n e mu (sqrt(pi) / 2) F_0 / F_1/2,   kappa_e = L sigma T,   L = (k_B / e)^2 (3 F_0 F_2 - 4 F_1^2) / F_0^2,

mu being the mobility of few carriers. It is a model, meant for how much a change of the lattice's conductivity gains.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.special
from ase import units

from matterscape.checks import check_number, real_array

REFERENCE_TEMPERATURE_K = 300.0
_STEP_HALF_WIDTH = 40.0  # in k_B T: beyond it the Fermi function is 0 or 1 to rounding
_PANELS, _NODES = 24, 20


@dataclass(frozen=True)
class ElectronTransport:
    """What electrons contribute to thermoelectric transport.

    Attributes
    ----------
    reduced_level : float
        Fermi level above the band edge in k_B T.
    seebeck_uV_K : float
        Magnitude of the Seebeck coefficient in uV/K.
    conductivity_S_cm : float
        Electrical conductivity in S/cm.
    lorenz : float
        Lorenz number in V^2/K^2.
    thermal_conductivity : float
        kappa_e in W/(m K).
    temperature_K : float
    """

    reduced_level: float
    seebeck_uV_K: float
    conductivity_S_cm: float
    lorenz: float
    thermal_conductivity: float
    temperature_K: float


@dataclass(frozen=True)
class ParabolicBand:
    """One parabolic band; defaults are rough values for heavily doped silicon-germanium.

    Parameters
    ----------
    effective_mass : float
        Density-of-states mass in electron masses.
    mobility_cm2_Vs : float
        Mobility of few carriers at 300 K in cm^2/(V s).
    mobility_exponent : float
        r in the mobility's law (T / 300 K)^r: -3/2 for acoustic phonons, -1/2 for an alloy's disorder.

    Raises
    ------
    ValueError
        If mass or mobility are not positive, or the exponent is not finite.

    Source: A. F. May and G. J. Snyder, in Materials, Preparation, and Characterization in Thermoelectrics, ch. 11 (CRC,
    2012), with scattering exponent r = -1/2.
    """

    effective_mass: float = 1.2
    mobility_cm2_Vs: float = 100.0
    mobility_exponent: float = -0.5

    def __post_init__(self) -> None:
        check_number("effective_mass", self.effective_mass, "electron masses", positive=True)
        check_number("mobility_cm2_Vs", self.mobility_cm2_Vs, "cm^2/(V s)", positive=True)
        check_number("mobility_exponent", self.mobility_exponent, signed=True)

    def carriers_cm3(self, reduced_level: float, temperature_K: float) -> float:
        """Carriers in 1/cm^3 at a reduced Fermi level."""
        check_number("reduced_level", reduced_level, signed=True)
        return self._density_scale(temperature_K) * float(fermi_dirac_integral(0.5, reduced_level))

    def reduced_level(self, carriers_cm3: float, temperature_K: float) -> float:
        """Fermi level above the band edge in k_B T at a number of carriers in 1/cm^3."""
        check_number("carriers_cm3", carriers_cm3, "1/cm^3", positive=True)
        wanted = carriers_cm3 / self._density_scale(temperature_K)
        # F_1/2 lies below both of its limits, sqrt(pi)/2 exp(eta) and (2/3) eta^(3/2) (1 + pi^2 / (8 eta^2))
        lowest = math.log(2 * wanted / math.sqrt(math.pi)) - 1e-6
        highest = max(lowest, 0.0) + 2 + (1.5 * wanted) ** (2 / 3)
        return float(
            scipy.optimize.brentq(
                lambda eta: math.log(fermi_dirac_integral(0.5, eta) / wanted), lowest, highest, xtol=1e-12
            )
        )

    def transport(self, carriers_cm3: float, temperature_K: float) -> ElectronTransport:
        """Seebeck coefficient and conductivities of electrons.

        Parameters
        ----------
        carriers_cm3 : float
            In 1/cm^3.
        temperature_K : float

        Raises
        ------
        ValueError
            If one of them is not positive.
        """
        eta = self.reduced_level(carriers_cm3, temperature_K)
        zero, half, one, two = (float(fermi_dirac_integral(j, eta)) for j in (0, 0.5, 1, 2))
        mobility = self.mobility_cm2_Vs * (temperature_K / REFERENCE_TEMPERATURE_K) ** self.mobility_exponent
        conductivity = carriers_cm3 * units._e * mobility * 0.5 * math.sqrt(math.pi) * zero / half
        volt_per_kelvin = units._k / units._e
        lorenz = volt_per_kelvin**2 * (3 * zero * two - 4 * one**2) / zero**2
        return ElectronTransport(
            eta,
            1e6 * volt_per_kelvin * (2 * one / zero - eta),
            conductivity,
            lorenz,
            lorenz * 100 * conductivity * temperature_K,
            float(temperature_K),
        )

    def _density_scale(self, temperature_K: float) -> float:
        """4 pi (2 m k_B T / h^2)^(3/2) in 1/cm^3."""
        check_number("temperature_K", temperature_K, "K", positive=True)
        mass = self.effective_mass * units._me
        return 4e-6 * math.pi * (2 * mass * units._k * temperature_K / units._hplanck**2) ** 1.5


def fermi_dirac_integral(order: float, reduced_level: np.ndarray | float) -> np.ndarray:
    """F_j(eta), the integral of x^j / (1 + exp(x - eta)) over x > 0, without a gamma function in front.

    Gauss-Legendre panels where the Fermi function changes, the power law below; relative error about 1e-14.

    Parameters
    ----------
    order : float
        j, a multiple of 1/2 from -1/2 on.
    reduced_level : array or float
        eta.

    Returns
    -------
    ndarray, of the shape of ``reduced_level``

    Raises
    ------
    ValueError
        If the order is another number, or a level is not finite.
    """
    check_number("order", order, signed=True)
    if order < -0.5 or 2 * order != int(2 * order):
        raise ValueError(f"order is {order}; accepted are multiples of 1/2 from -1/2 on")
    eta = real_array("reduced_level", reduced_level)
    if not np.isfinite(eta).all():
        raise ValueError(f"reduced_level is {reduced_level!r}; accepted are finite numbers")
    # x = start + u^2 takes the square-root singularity at x = 0 away
    start = np.maximum(eta - _STEP_HALF_WIDTH, 0.0)
    edges = np.sqrt(np.maximum(eta, 0.0) + _STEP_HALF_WIDTH + 2 * abs(order) - start)[..., None]
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    places = ((np.arange(_PANELS)[:, None] + 0.5 * (nodes + 1)) / _PANELS).ravel()
    u = edges * places
    x = start[..., None] + u * u
    values = 2 * u * x**order * scipy.special.expit(eta[..., None] - x)
    panels = edges * values * np.tile(0.5 * weights / _PANELS, _PANELS)
    return start ** (order + 1) / (order + 1) + panels.sum(axis=-1)


def figure_of_merit(
    seebeck_uV_K: np.ndarray | float,
    conductivity_S_cm: np.ndarray | float,
    thermal_conductivity: np.ndarray | float,
    temperature_K: np.ndarray | float,
) -> np.ndarray:
    """Z T = S^2 sigma T / kappa.

    Parameters
    ----------
    seebeck_uV_K : array or float
        In uV/K.
    conductivity_S_cm : array or float
        In S/cm.
    thermal_conductivity : array or float
        Of lattice and electrons together, in W/(m K).
    temperature_K : array or float

    Raises
    ------
    ValueError
        If a temperature or a conductivity of heat is not positive, or one of electricity negative.
    """
    seebeck, sigma = real_array("seebeck_uV_K", seebeck_uV_K), real_array("conductivity_S_cm", conductivity_S_cm)
    kappa = real_array("thermal_conductivity", thermal_conductivity)
    temperature = real_array("temperature_K", temperature_K)
    for name, values in (("thermal_conductivity", kappa), ("temperature_K", temperature)):
        if not (values > 0).all():
            raise ValueError(f"{name} is {values.min():g}; accepted are positive numbers")
    if not (sigma >= 0).all():
        raise ValueError(f"conductivity_S_cm is {sigma.min():g}; accepted are numbers from 0 on")
    return (1e-6 * seebeck) ** 2 * (100 * sigma) * temperature / kappa
