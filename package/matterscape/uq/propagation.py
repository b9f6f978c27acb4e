"""Propagation of an ensemble through any calculation, member by member.

Arrays of members carry the member as their last axis. A derived quantity is computed once per member, and the spread of
the results is its uncertainty, with all correlations between the inputs kept (Kellner and Ceriotti, Mach. Learn.: Sci.
Technol. 5, 035006 (2024)).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from matterscape.checks import check_number
from matterscape.uq.arrays import as_array, feature_matrix


@dataclass(frozen=True)
class Propagated:
    """A derived quantity with its uncertainty.

    Attributes
    ----------
    mean : array (...)
    standard_deviation : array (...)
        Over the members, with ddof = 1.
    members : array (..., n_members)
    """

    mean: np.ndarray
    standard_deviation: np.ndarray
    members: np.ndarray


def _member_array(members, name: str) -> np.ndarray:
    values = as_array(members)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold real numbers, got dtype {values.dtype}")
    if values.ndim == 0 or values.shape[-1] < 2:
        raise ValueError(f"{name} must have at least two members along its last axis, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return values.astype(np.float64, copy=False)


def propagate(function: Callable, *members) -> Propagated:
    """Mean and standard deviation of a function of the members.

    For a linear function this is the usual propagation of the covariance matrix; for any other it is no worse than the
    ensemble, with no derivative needed.

    Parameters
    ----------
    function : callable
        Called once per member with the arrays (...) of that member; returns a number or an array of fixed shape.
    *members : arrays (..., n_members)
        One or several inputs predicted by the same ensemble, e.g. energies of a crystal and of one with a vacancy.

    Returns
    -------
    Propagated

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If there is no input, there are fewer than two members, inputs differ in the number of members, or a number
        that goes in or comes out is not finite.
    """
    if not members:
        raise ValueError("members must hold at least one array, got none")
    arrays = [_member_array(values, f"members[{i}]") for i, values in enumerate(members)]
    n_members = arrays[0].shape[-1]
    for i, values in enumerate(arrays):
        if values.shape[-1] != n_members:
            raise ValueError(f"members[{i}] must have {n_members} members like the first, got {values.shape[-1]}")
    results = np.stack(
        [np.asarray(function(*(values[..., k] for values in arrays)), dtype=np.float64) for k in range(n_members)],
        axis=-1,
    )
    if not np.isfinite(results).all():
        bad = int(np.argwhere(~np.isfinite(results))[0, -1])
        raise ValueError(f"function must return finite numbers, got NaN or infinity for member {bad}")
    return Propagated(results.mean(axis=-1), results.std(axis=-1, ddof=1), results)


def stretched(members, factor: float) -> np.ndarray:
    """Members moved away from their mean, y_k -> mean + factor (y_k - mean), as recalibration by alpha asks.

    Stretch before propagating: then every derived quantity is recalibrated too, and those that are linear have
    standard deviations larger by exactly this factor.

    Parameters
    ----------
    members : array (..., n_members)
    factor : float
        alpha, the root of the variance scale; positive.

    Returns
    -------
    array (..., n_members), float64

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If there are fewer than two members, a number is not finite, or the factor is not positive.
    """
    values = _member_array(members, "members")
    check_number("factor", factor, positive=True)
    mean = values.mean(axis=-1, keepdims=True)
    return mean + factor * (values - mean)


@dataclass(frozen=True)
class SizeDecomposition:
    """Standard deviation of energies, split into what all frames share and the rest; total^2 = shared^2 + random^2.

    Attributes
    ----------
    total : float
        Root mean variance of the members over the frames.
    shared : float
        Standard deviation over members of each member's mean offset from the ensemble; grows like the number of atoms.
    random : float
        What differs from frame to frame; grows like the square root of the number of atoms.
    """

    total: float
    shared: float
    random: float


def decompose_size(member_energies) -> SizeDecomposition:
    """Split the spread of an ensemble's energies into an offset common to all frames and a part of each frame.

    With D_k(A) = E_k(A) - mean over members, b_k = <D_k>_A is the offset of member k; shared = std_k(b_k) and
    random^2 = <var_k(D_k - b_k)>_A (Kellner and Ceriotti (2024), public code). An offset is estimated from finitely
    many frames, so that shared^2 holds about random^2 / n_frames of noise.

    Parameters
    ----------
    member_energies : array (n_frames, n_members)
        Total energies of frames of one composition and size.

    Returns
    -------
    SizeDecomposition
        In the units of the energies.

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If there are fewer than two frames or members, or a number is not finite.
    """
    energies = _member_array(feature_matrix(member_energies, "member_energies"), "member_energies")
    if len(energies) < 2:
        raise ValueError(f"member_energies must hold at least two frames, got {len(energies)}")
    deviations = energies - energies.mean(axis=1, keepdims=True)
    offsets = deviations.mean(axis=0)
    return SizeDecomposition(
        total=float(np.sqrt(deviations.var(axis=1, ddof=1).mean())),
        shared=float(offsets.std(ddof=1)),
        random=float(np.sqrt((deviations - offsets).var(axis=1, ddof=1).mean())),
    )
