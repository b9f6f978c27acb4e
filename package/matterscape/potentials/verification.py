"""Is a potential what it claims to be? Forces, stress, heat flux, invariances and smoothness, measured.

    print(verify(StillingerWeber.silicon(), [rattled_silicon]))

runs every check on every structure and prints the largest errors beside their limits.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from matterscape.potentials._verification_checks import CHECKS, Case, Factory, Impossible, threads_set
from matterscape.potentials.base import Potential


@dataclass(frozen=True)
class Check:
    """One line of a report.

    Attributes
    ----------
    name, meaning : str
    error : float or None
        Largest over the structures, relative to the scale that ``meaning`` names; None where the check does not apply.
    limit : float
    reason : str
        Why the check does not apply.
    """

    name: str
    meaning: str
    error: float | None
    limit: float
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether the error is within the limit; NaN is not. Checks that don't apply pass."""
        return self.error is None or self.error <= self.limit


@dataclass(frozen=True)
class Report:
    """What :func:`verify` found; prints as a table.

    Attributes
    ----------
    potential : str
    checks : tuple of Check
    """

    potential: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check that applies is within its limit."""
        return all(check.passed for check in self.checks)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks beyond their limits."""
        return tuple(check.name for check in self.checks if not check.passed)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of the checks that don't apply."""
        return tuple(check.name for check in self.checks if check.error is None)

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    def __str__(self) -> str:
        lines = [f"{self.potential}: {'passed' if self.passed else 'FAILED ' + ', '.join(self.failed)}"]
        for check in self.checks:
            outcome = "-" if check.error is None else f"{check.error:.1e}"
            mark = " " if check.passed else "!"
            lines.append(f"{mark} {check.name:<16}{outcome:>9} <= {check.limit:.0e}  {check.reason or check.meaning}")
        return "\n".join(lines)


def verify(
    potential: Potential | Factory,
    structures: Atoms | Iterable[Atoms],
    *,
    seed: int = 0,
    checks: Sequence[str] | None = None,
    limits: Mapping[str, float] | None = None,
) -> Report:
    """Measure whether a potential keeps what every potential promises.

    Parameters
    ----------
    potential : Potential or callable
        Or a function that makes the potential of an ``ase.Atoms``, where it holds something that belongs to the
        structure, such as bonds.
    structures : ase.Atoms or iterable of ase.Atoms
        Small, and off their symmetric positions. Periodic ones are cut into open clusters where a check needs one.
    seed : int
        Of the random displacements, strains and rotations.
    checks : sequence of str, optional
        Names of the checks to run, see ``CHECKS``; all of them if not given.
    limits : mapping of str to float, optional
        Other limits for some of the checks, say for sums that are converged to a chosen accuracy.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        If a check is unknown, there are no structures, or the potential refuses one of them.
    """
    chosen = tuple(CHECKS) if checks is None else tuple(checks)
    limits = dict(limits or {})
    unknown = [name for name in (*chosen, *limits) if name not in CHECKS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no check; accepted are {', '.join(CHECKS)}")
    frames = [structures] if isinstance(structures, Atoms) else list(structures)
    if not frames:
        raise ValueError("structures is empty; at least one structure is needed")
    plain = [frame.copy() for frame in frames]
    for frame in plain:
        frame.set_constraint()
    shared = isinstance(potential, Potential)
    make = (lambda atoms: potential) if shared else potential
    rng = np.random.default_rng(seed)
    cases = [Case(make, frame, plain, rng, shared) for frame in plain]
    with threads_set(1):  # more of them would wait for each other on small structures
        rows = [_measured(name, cases, limits) for name in chosen]
    return Report(str(cases[0].potential), tuple(rows))


def _measured(name: str, cases: list[Case], limits: Mapping[str, float]) -> Check:
    function, limit, meaning = CHECKS[name]
    errors, reasons = [], []
    for case in cases:
        try:
            errors.append(float(function(case)))
        except Impossible as reason:
            reasons.append(str(reason))
    # NaN counts as the largest error
    worst = None if not errors else float("nan") if np.isnan(errors).any() else max(errors)
    return Check(name, meaning, worst, limits.get(name, limit), "" if errors else reasons[0])
