"""Ionic conductivity from displacements: Nernst-Einstein, Einstein, the Haven ratio, and who contributes what.

    sigma = (e^2 / (6 V k_B T)) d/dt <|sum_i q_i (r_i(t) - r_i(0))|^2> = sum_ab q_a q_b L_ab

Everything is a linear function of the curves in :class:`~matterscape.transport.diffusion.Displacements`, so other
charges cost nothing. Charges are whole numbers that stay with what moves together: by topological quantisation and
gauge invariance any set of them in which an unbroken unit has its total gives the same sigma, whatever charges the
forces were computed with (F. Grasselli, S. Baroni, Nat. Phys. 15, 967 (2019)).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import units

from matterscape.transport._block_statistics import jackknife, refuse_bend, slopes, window_lags
from matterscape.transport.currents import Currents
from matterscape.transport.diffusion import (
    Displacements,
    Estimate,
    Posterior,
    estimate_of,
    slope_estimate,
    slope_posterior,
)
from matterscape.transport.onsager import TO_SI
from matterscape.transport.trajectories import charge_values

_NEUTRAL = 1e-3  # e per atom


def einstein_conductivity(
    displacements: Displacements, charges: dict[str, float], window_ps: tuple[float, float]
) -> Estimate:
    """Conductivity in S/cm from the mean square of the charge displacement, with the error of blocks and directions.

        sigma = (e^2 / (6 V k_B T)) d/dt <|M(t) - M(0)|^2>,   M = sum_i q_i r_i

    Parameters
    ----------
    displacements : Displacements
    charges : dict of str to float
        Of each species in e, such as ``{"Li": 1, "P": 5, "S": -2}``; in sum neutral.
    window_ps : (float, float)
        Times between which the slope is taken.

    Raises
    ------
    ValueError
        If the charges are not neutral, which would make sigma depend on the frame, or the window is out of range.
    """
    curves = displacements.weighted(_charges(displacements, charges))
    estimate = slope_estimate(displacements, curves, window_ps, "the mean-square charge displacement", "Å^2/ps")
    return estimate.times(_prefactor(displacements), "S/cm")


def conductivity_posterior(
    displacements: Displacements, charges: dict[str, float], window_ps: tuple[float, float]
) -> Posterior:
    """Probability density of the conductivity in S/cm, by generalised least squares.

    As :func:`matterscape.transport.diffusion.self_diffusion_posterior`, for the charge displacement: a sum over many
    ions, so a Gaussian walker.

    Parameters
    ----------
    displacements, charges, window_ps
        As in :func:`einstein_conductivity`.
    """
    curves = displacements.weighted(_charges(displacements, charges))
    found = slope_posterior(displacements, curves, window_ps, "the mean-square charge displacement", "S/cm")
    factor = _prefactor(displacements)
    return Posterior(found.values * factor, found.density / factor, "S/cm", found.n_walkers)


def nernst_einstein(
    displacements: Displacements,
    charges: dict[str, float],
    window_ps: tuple[float, float],
    carriers: Sequence[str] | None = None,
) -> Estimate:
    """Conductivity in S/cm if all ions moved independently.

        sigma_NE = (e^2 / (V k_B T)) sum_a q_a^2 N_a D_a

    Parameters
    ----------
    displacements, charges, window_ps
        As in :func:`einstein_conductivity`.
    carriers : sequence of str, optional
        Species that diffuse; all, if not given. Atoms of a framework, or of a unit that moves as a whole, are none.
    """
    return split_conductivity(displacements, charges, window_ps, carriers).nernst_einstein


def haven_ratio(
    displacements: Displacements,
    charges: dict[str, float],
    window_ps: tuple[float, float],
    carriers: Sequence[str] | None = None,
) -> Estimate:
    """Haven ratio H = sigma_NE / sigma, which is D / D_sigma with one carrier; below one if ions move together.

    Numerator and denominator come from the same blocks, so their errors are correlated: the error of the ratio is that
    of the jackknife over blocks and directions.

    Parameters
    ----------
    displacements, charges, window_ps, carriers
        As in :func:`nernst_einstein`.
    """
    alone, pairs = _parts(displacements, charges, window_ps, carriers)
    rows = np.stack([alone.sum(axis=1), pairs.sum(axis=(1, 2))], axis=-1)  # (B, 3, 2)
    (_, total), (_, error) = jackknife(rows, lambda mean: mean)
    if total <= error:
        raise ValueError(
            f"the conductivity is {total:.3g} +- {error:.2g} S/cm, which cannot be told from zero, so it has no Haven "
            "ratio; accepted are longer runs"
        )
    ratio, error = jackknife(rows, lambda mean: mean[0] / mean[1])
    return Estimate(float(ratio), float(error), "")


@dataclass(frozen=True, eq=False)
class SplitConductivity:
    """Who contributes to a conductivity.

    Attributes
    ----------
    total, nernst_einstein : Estimate
        In S/cm.
    single : dict of str to Estimate
        Each carrier's own motion, q_a^2 N_a D_a; in sum Nernst-Einstein's.
    distinct : dict of str to Estimate
        Correlation between different ions of a carrier; for other species all that moves, since their atoms are not
        taken one by one.
    cross : dict of (str, str) to Estimate
        Correlation between two species, both orders together. Single, distinct and cross parts sum up to the total;
        the parts depend on the frame, the total does not.
    """

    total: Estimate
    nernst_einstein: Estimate
    single: dict[str, Estimate]
    distinct: dict[str, Estimate]
    cross: dict[tuple[str, str], Estimate]


def split_conductivity(
    displacements: Displacements,
    charges: dict[str, float],
    window_ps: tuple[float, float],
    carriers: Sequence[str] | None = None,
) -> SplitConductivity:
    """Conductivity as a sum of self, distinct and cross parts, all with the errors of blocks and directions.

        sigma = sum_a q_a^2 [N_a D_a + (L_aa - N_a D_a)] + 2 sum_{a < b} q_a q_b L_ab

    Parameters
    ----------
    displacements, charges, window_ps, carriers
        As in :func:`nernst_einstein`.

    References
    ----------
    K. D. Fong, H. K. Bergstrom, B. D. McCloskey, K. K. Mandadapu, AIChE J. 66, e17091 (2020), for the split.
    """
    own, pairs = _parts(displacements, charges, window_ps, carriers)
    elements = displacements.elements
    indices = range(len(elements))
    return SplitConductivity(
        total=estimate_of(pairs.sum(axis=(1, 2)), "S/cm"),
        nernst_einstein=estimate_of(own.sum(axis=1), "S/cm"),
        single={elements[a]: estimate_of(own[:, a], "S/cm") for a in indices if own[:, a].any()},
        distinct={elements[a]: estimate_of(pairs[:, a, a] - own[:, a], "S/cm") for a in indices},
        cross={
            (elements[a], elements[b]): estimate_of(2.0 * pairs[:, a, b], "S/cm")
            for a in indices
            for b in indices
            if a < b
        },
    )


def charge_current(currents: Currents, charges: dict[str, float]) -> Currents:
    """Currents with one of charge, from those of number of all species: J_Z = e sum_a q_a J_a.

    Its conductivity is :func:`matterscape.transport.onsager.electrical_conductivity`, of Green and Kubo; that of any
    whole charges of units that do not break is the same.

    Parameters
    ----------
    currents : Currents
        With currents of number, named like the species, as ``Currents.from_records(simulation, {"Li":
        "species_flux:Li", ...})`` makes them.
    charges : dict of str to float
        Of each of these species in e.

    Returns
    -------
    Currents
        With one more current, ``charge``.
    """
    names = [name for name, kind in zip(currents.names, currents.kinds) if kind == "number"]
    values = charge_values(charges, names)
    total = np.tensordot(values, currents.select(*names).values, axes=1)
    return currents.with_current("charge", "charge", total)


def _parts(
    displacements: Displacements,
    charges: dict[str, float],
    window_ps: tuple[float, float],
    carriers: Sequence[str] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """S/cm of each block along each axis: the carriers' own motion (B, S, 3), and pairs of species (B, S, S, 3)."""
    elements, counts, timestep = displacements.elements, displacements.counts, displacements.timestep_fs
    values = _charges(displacements, charges)
    carriers = elements if carriers is None else (carriers,) if isinstance(carriers, str) else tuple(carriers)
    carry = np.zeros(len(elements))
    for carrier in carriers:
        carry[displacements.index(carrier)] = 1.0
    if not (carry * values).any():
        raise ValueError(f"carriers are {carriers!r}; accepted are some of {', '.join(elements)} with a charge")
    lags = window_lags(window_ps, timestep, displacements.single.shape[1])
    weights = values**2 * counts * carry
    alone = np.einsum("blsx,s->blx", displacements.single, weights)
    for curves, what in ((displacements.weighted(values), "charge"), (alone, "carriers'")):
        refuse_bend(curves, lags, timestep, window_ps, f"the mean-square {what} displacement")
    factor = 0.5 * _prefactor(displacements)
    own = factor * slopes(displacements.single, lags, timestep) * weights[:, None]
    return own, factor * slopes(displacements.collective, lags, timestep) * np.outer(values, values)[..., None]


def _charges(displacements: Displacements, charges: dict[str, float]) -> np.ndarray:
    values = charge_values(charges, displacements.elements)
    excess = float(values @ displacements.counts)
    if abs(excess) > _NEUTRAL * displacements.counts.sum():
        raise ValueError(
            f"charges are {charges!r}, {excess:g} e in sum; accepted are neutral ones, since the conductivity "
            "of others depends on the frame of reference"
        )
    if not values.any():
        raise ValueError(f"charges are {charges!r}; accepted are some that differ from zero")
    return values


def _prefactor(displacements: Displacements) -> float:
    """S/cm of half a slope in e^2 Å^2/ps."""
    return TO_SI / 100 / (displacements.volume * units.kB * displacements.temperature_K)
