"""Fit of a linear atomic cluster expansion to energies, forces and stresses.

The coefficients minimise

    sum_A [(E_A - E'_A) / (n_A s_E)]^2 + sum_k [(F_k - F'_k) / s_F]^2 + sum [(stress - stress') / s_S]^2
        + lambda s^2 sum_f (gamma_f c_f)^2

with the errors s_E, s_F and s_S that are expected of the three, the smoothness gamma_f of each function
(:attr:`matterscape.potentials.ace.ACEBasis.penalties`), and one scale s that makes lambda dimensionless. The energies
of free atoms are fitted with them, without a penalty. The normal equations are summed structure by structure, so that
the memory does not grow with their number.

Source: R. Drautz, Phys. Rev. B 99, 014104 (2019), for the fit; W. C. Witt et al., J. Chem. Phys. 159, 164101 (2023),
for the smoothness prior; E. V. Podryabinkin and A. V. Shapeev, Comput. Mater. Sci. 140, 171 (2017), for extrapolation
told from the functions alone.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from scipy.linalg import eigh

from matterscape.checks import check_number, check_whole, is_number, real_array
from matterscape.models.files import ArrayFile
from matterscape.models.normal_equations import NormalEquations, RegularisationPath
from matterscape.models.training_sets import TrainingSet
from matterscape.potentials.ace import ACEBasis, LinearACE, ace_features, ace_rows
from matterscape.potentials.base import Potential, check_potential
from matterscape.progress import progress
from matterscape.structures import Structures

DEFAULT_REGULARISATIONS = np.logspace(-12, 0, 25)
# functions whose variance in the training set is this far below the mean do not tell extrapolation
_RESOLVED = 1e-8
_UNSEEN = 1e12


class ExtrapolationWarning(UserWarning):
    """Surroundings of some atoms are unlike all of the training set."""


@dataclass(frozen=True)
class ACEErrors:
    """Root mean square errors.

    Attributes
    ----------
    energy : float
        Of the energies, in eV per atom.
    force : float
        Of the force components, in eV/Å.
    stress_GPa : float
        Of the stress components, in GPa; NaN where no stresses are known.
    """

    energy: float
    force: float
    stress_GPa: float


@dataclass(frozen=True, eq=False)
class ACEFit(ArrayFile):
    """A fitted potential, an ensemble of fits to resampled data, and what tells extrapolation.

    Attributes
    ----------
    potential : LinearACE
        The fit to all structures.
    members : tuple of LinearACE
        Fits to structures drawn with replacement; the spread of what they predict estimates its error.
    regularisation : float
        lambda.
    held_out : ACEErrors or None
        Errors for structures that were left out of the fit, from cross-validation.
    path : RegularisationPath or None
        Errors along the grid of lambda; None if lambda was given, or the fit was read from a file.
    extrapolation : ndarray (n_species, n_functions, n_functions)
        Metric of the functions of each species of the centre, see :meth:`leverages`.
    """

    potential: LinearACE
    members: tuple[LinearACE, ...]
    regularisation: float
    held_out: ACEErrors | None
    path: RegularisationPath | None
    extrapolation: np.ndarray

    def leverages(self, structures: Structures) -> np.ndarray:
        """How far the surroundings of each atom (n_atoms,) are from those of the training set.

        The squared length of an atom's functions in the metric of their scatter over the training set, divided by the
        largest there: up to 1 for atoms of the training set, above 1 where the potential extrapolates.
        """
        basis = self.potential.basis
        features = ace_features(basis, structures) / basis.penalties
        types = self.potential.types(structures.species).cpu().numpy()
        return _squared_lengths(features, types, self.extrapolation)

    def warn_of_extrapolation(self, structures: Structures, limit: float = 2.0) -> None:
        """Warn of atoms whose leverage exceeds a limit, an :class:`ExtrapolationWarning` with their numbers."""
        check_number("limit", limit, positive=True)
        leverages = self.leverages(structures)
        beyond = np.flatnonzero(leverages > limit)
        if len(beyond):
            named = ", ".join(str(atom) for atom in beyond[:10]) + (", ..." if len(beyond) > 10 else "")
            warnings.warn(
                f"the surroundings of {len(beyond)} of {len(leverages)} atoms ({named}) are unlike the training set: "
                f"leverage up to {leverages.max():.3g}, where at most {limit:g} is accepted",
                ExtrapolationWarning,
                stacklevel=2,
            )

    def state_dict(self) -> dict[str, np.ndarray]:
        """Arrays that :meth:`from_state_dict` restores the fit from."""
        basis, models = self.potential.basis, (self.potential, *self.members)
        errors = self.held_out or ACEErrors(np.nan, np.nan, np.nan)
        return {
            "species": np.array(basis.species),
            "cutoff": np.array(basis.cutoff),
            "max_radial": np.array(basis.max_radial),
            "max_angular": np.array(basis.max_angular, dtype=np.int64),
            "steepness": np.array(basis.steepness),
            "bonded": np.array(list(basis.bond_lengths), dtype=str).reshape(-1, 2),
            "bond_lengths": np.array(list(basis.bond_lengths.values())),
            "coefficients": np.stack([model.coefficients for model in models]),
            "atomic_energies": np.stack([model.atomic_energies for model in models]),
            "regularisation": np.array(self.regularisation),
            "held_out": np.array([errors.energy, errors.force, errors.stress_GPa]),
            "extrapolation": self.extrapolation,
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, np.ndarray]) -> "ACEFit":
        """The fit that :meth:`state_dict` described."""
        names = (
            "species", "cutoff", "max_radial", "max_angular", "steepness", "bonded", "bond_lengths", "coefficients",
            "atomic_energies", "regularisation", "held_out", "extrapolation",
        )  # fmt: skip
        cls._check_entries(state, names)
        basis = ACEBasis(
            tuple(map(str, state["species"])),
            float(state["cutoff"]),
            tuple(map(int, state["max_radial"])),
            tuple(map(int, state["max_angular"])),
            int(state["steepness"]),
            {(str(a), str(b)): float(length) for (a, b), length in zip(state["bonded"], state["bond_lengths"])},
        )
        first, *members = (LinearACE(basis, *pair) for pair in zip(state["coefficients"], state["atomic_energies"]))
        held_out = ACEErrors(*map(float, state["held_out"]))
        return cls(
            first,
            tuple(members),
            float(state["regularisation"]),
            None if np.isnan(held_out.force) else held_out,
            None,
            state["extrapolation"],
        )


def labelled(frames: Sequence[Atoms], potential: Potential) -> list[Atoms]:
    """Copies of structures with the energies, forces and stresses of a potential, as :func:`fit_ace` reads them.

    Parameters
    ----------
    frames : sequence of ase.Atoms
    potential : Potential

    Returns
    -------
    list of ase.Atoms
        With ``info["energy"]`` in eV, ``arrays["forces"]`` in eV/Å and, where there is a cell, ``info["stress"]``
        in eV/Å^3, Voigt order, positive under tension.
    """
    check_potential("potential", potential)
    copies = []
    for atoms in frames:
        result = potential(Structures.from_ase(atoms))
        atoms = atoms.copy()
        atoms.calc = None
        atoms.info["energy"] = float(result.energy)
        atoms.arrays["forces"] = result.forces.detach().numpy()
        if atoms.cell.rank == 3:
            atoms.info["stress"] = full_3x3_to_voigt_6_stress(result.stress[0].detach().numpy())
        copies.append(atoms)
    return copies


def fit_ace(
    basis: ACEBasis,
    frames: Sequence[Atoms],
    *,
    ridge: float | None = None,
    energy_error: float = 2e-3,
    force_error: float = 0.05,
    stress_error_GPa: float = 0.1,
    folds: int = 5,
    members: int = 0,
    seed: int = 0,
) -> ACEFit:
    """Fit a linear atomic cluster expansion.

    Parameters
    ----------
    basis : ACEBasis
    frames : sequence of ase.Atoms
        With ``info["energy"]`` (total, in eV), ``arrays["forces"]`` (eV/Å) and, where known, ``info["stress"]`` (eV/Å^3
        in Voigt order or 3 x 3, positive under tension); see :func:`labelled`.
    ridge : float, optional
        lambda, the strength of the smoothness prior; chosen by cross-validation from 1e-12 to 1 if not given.
    energy_error, force_error, stress_error_GPa : float
        Errors in eV per atom, eV/Å and GPa that count as much as each other.
    folds : int
        Parts of the structures that the cross-validation leaves out in turn.
    members : int
        Fits to structures drawn with replacement.
    seed : int
        Of the folds and the draws.

    Returns
    -------
    ACEFit

    Raises
    ------
    ValueError
        If an atom is of a species that the basis does not have, a label is missing or not finite, there are fewer
        structures than folds, or a number is out of its range.
    TypeError
        If the basis is something else.
    """
    if not isinstance(basis, ACEBasis):
        raise TypeError(f"basis is a {type(basis).__name__}; accepted is an ACEBasis")
    for name, value in (
        ("energy_error", energy_error), ("force_error", force_error), ("stress_error_GPa", stress_error_GPa),
    ):  # fmt: skip
        check_number(name, value, positive=True)
    check_whole("folds", folds, 2)
    check_whole("members", members, 0)
    if ridge is not None and not (is_number(ridge) and ridge > 0):
        raise ValueError(f"ridge is {ridge!r}; accepted is a positive number, or None to choose it")
    frames = list(frames)
    if len(frames) < folds:
        raise ValueError(f"frames holds {len(frames)} structures; accepted are at least as many as folds, {folds}")
    rng = np.random.default_rng(seed)
    fold_of = rng.permutation(len(frames)) % folds
    draws = rng.multinomial(len(frames), np.full(len(frames), 1 / len(frames)), size=members)
    equations = _Equations.summed(basis, frames, fold_of, draws, (energy_error, force_error, stress_error_GPa))
    grid = DEFAULT_REGULARISATIONS if ridge is None else np.array([float(ridge)])
    path, errors = equations.cross_validated(grid)
    best = int(path.best)
    coefficients, energies = equations.solved(sum(equations.parts[1:], start=equations.parts[0]), grid[best])
    return ACEFit(
        potential=LinearACE(basis, coefficients, energies),
        members=tuple(LinearACE(basis, *equations.solved(part, grid[best])) for part in equations.drawn),
        regularisation=float(grid[best]),
        held_out=errors[best],
        path=path if ridge is None else None,
        extrapolation=_extrapolation_metric(basis, frames),
    )


@dataclass
class _Equations:
    """Normal equations of the scaled problem, one for each fold and each draw, and what errors are measured with."""

    parts: list[NormalEquations]
    drawn: list[NormalEquations]
    forces: list[NormalEquations]  # of each fold, in eV/Å and without weights
    energy_rows: np.ndarray  # (n_frames, n_coefficients) per atom
    energies: np.ndarray  # (n_frames,) per atom, less that of free atoms
    compositions: np.ndarray  # (n_frames, n_species) fractions
    stress_rows: np.ndarray  # (n_stresses, n_coefficients) in GPa
    stresses: np.ndarray
    stress_of: np.ndarray  # (n_stresses,) structure of each
    fold_of: np.ndarray
    scale: np.ndarray
    free: np.ndarray
    expected: tuple[float, float, float]

    @classmethod
    def summed(cls, basis, frames, fold_of, draws, expected) -> "_Equations":
        labels = TrainingSet.from_ase(frames)
        stresses = [_stress(atoms, index) for index, atoms in enumerate(frames)]
        numbers = np.array(basis.numbers)
        compositions = np.array([(atoms.numbers[:, None] == numbers).mean(axis=0) for atoms in frames])
        per_atom = labels.energies / labels.n_atoms
        # taken off before anything is squared, so that energies of thousands of eV lose no digits
        free = np.linalg.lstsq(compositions, per_atom, rcond=1e-10)[0]
        n, n_species = basis.n_coefficients, len(numbers)
        scale = np.tile(basis.penalties, n_species)
        forces = [NormalEquations.zero(n, n_species) for _ in range(int(fold_of.max()) + 1)]
        of_draws = [NormalEquations.zero(n, n_species) for _ in draws]
        energy_rows, stress_rows, known, stress_of = np.empty((len(frames), n)), [], [], []
        for index in progress(range(len(frames)), "Functions of the structures"):
            rows = ace_rows(basis, labels.structures[index])
            n_atoms = len(frames[index])
            energy_rows[index] = rows.energy / n_atoms / scale
            of_forces = NormalEquations.zero(n, n_species)
            wanted = labels.forces[labels.atom_rows(index)].reshape(-1)
            of_forces.add_rows(-rows.jacobian / scale, np.zeros((3 * n_atoms, n_species)), wanted)
            _add(forces[fold_of[index]], of_forces, 1.0)
            for member, counts in enumerate(draws):
                if counts[index]:
                    _add(of_draws[member], of_forces, float(counts[index]))
            if stresses[index] is not None:
                stress = rows.virials.reshape(3, 3, n) / frames[index].get_volume() / units.GPa
                upper = np.triu_indices(3)
                stress_rows.append(((stress + stress.swapaxes(0, 1)) / 2)[upper] / scale)
                known.append(stresses[index][upper])
                stress_of.append(np.full(6, index))
        result = cls(
            parts=[],
            drawn=[],
            forces=forces,
            energy_rows=energy_rows,
            energies=per_atom - compositions @ free,
            compositions=compositions,
            stress_rows=np.concatenate(stress_rows) if stress_rows else np.empty((0, n)),
            stresses=np.concatenate(known) if known else np.empty(0),
            stress_of=np.concatenate(stress_of) if stress_of else np.empty(0, dtype=int),
            fold_of=fold_of,
            scale=scale,
            free=free,
            expected=expected,
        )
        result.parts = [result._weighted(part, (fold_of == fold).astype(float)) for fold, part in enumerate(forces)]
        result.drawn = [result._weighted(part, counts.astype(float)) for part, counts in zip(of_draws, draws)]
        # one number that makes lambda dimensionless
        common = np.sqrt(sum(np.trace(part.xx) for part in result.parts) / n) or 1.0
        for name in ("parts", "drawn", "forces"):
            setattr(result, name, [part.rescaled(np.full(n, common)) for part in getattr(result, name)])
        result.energy_rows /= common
        result.stress_rows /= common
        result.scale = scale * common
        return result

    def _weighted(self, forces: NormalEquations, counts: np.ndarray) -> NormalEquations:
        """Equations of all rows with their expected errors, each structure (n_frames,) as often as it counts."""
        total = NormalEquations.zero(*self.energy_rows.shape[1:], self.compositions.shape[1])
        _add(total, forces, 1 / self.expected[1] ** 2)
        weights = np.sqrt(counts) / self.expected[0]
        total.add_rows(
            self.energy_rows * weights[:, None], self.compositions * weights[:, None], self.energies * weights
        )
        weights = np.sqrt(counts[self.stress_of]) / self.expected[2]
        no_baseline = np.zeros((len(weights), self.compositions.shape[1]))
        return total.add_rows(self.stress_rows * weights[:, None], no_baseline, self.stresses * weights)

    def solved(self, equations: NormalEquations, regularisation: float) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of the functions and energies of free atoms."""
        solution = equations.solve(np.array([regularisation]))
        return solution.coefficients[:, 0] / self.scale, self.free + solution.baseline[:, 0]

    def cross_validated(self, grid: np.ndarray) -> tuple[RegularisationPath, list[ACEErrors]]:
        """Errors for the folds that were left out, along a grid."""
        n_folds = len(self.parts)
        total = sum(self.parts[1:], start=self.parts[0])
        energy, force, stress = (np.zeros((n_folds, len(grid))) for _ in range(3))
        for fold in progress(range(n_folds), "Cross-validation"):
            solution = (total - self.parts[fold]).solve(grid)
            own = self.fold_of == fold
            predicted = self.energy_rows[own] @ solution.coefficients + self.compositions[own] @ solution.baseline
            energy[fold] = ((predicted - self.energies[own, None]) ** 2).sum(axis=0)
            force[fold] = self.forces[fold].squared_error(solution.coefficients)
            own = self.fold_of[self.stress_of] == fold
            difference = self.stress_rows[own] @ solution.coefficients - self.stresses[own, None]
            stress[fold] = (difference**2).sum(axis=0)
        losses = sum((part / e**2).sum(axis=0) for part, e in zip((energy, force, stress), self.expected))
        n_forces, n_stresses = sum(part.n_rows for part in self.forces), len(self.stresses)
        counts = np.bincount(self.fold_of)
        eigenvalues = eigh(total.xx, eigvals_only=True)
        path = RegularisationPath(
            regularisations=grid,
            rmse=np.sqrt(energy.sum(axis=0) / len(self.energies)),
            fold_rmse=np.sqrt(energy / counts[:, None]),
            force_rmse=np.sqrt(force.sum(axis=0) / n_forces),
            degrees_of_freedom=(np.maximum(eigenvalues, 0)[:, None] / (np.maximum(eigenvalues, 0)[:, None] + grid)).sum(
                0
            ),
            best=int(np.argmin(losses)),
        )
        of_stress = np.sqrt(stress.sum(axis=0) / n_stresses) if n_stresses else np.full(len(grid), np.nan)
        return path, [ACEErrors(*map(float, errors)) for errors in zip(path.rmse, path.force_rmse, of_stress)]


def _add(total: NormalEquations, equations: NormalEquations, factor: float) -> None:
    """Add equations whose rows weigh ``factor`` times as much in the sum of squares, in place."""
    for name in ("xx", "xc", "xy", "cc", "cy"):
        sums = getattr(total, name)
        sums += factor * getattr(equations, name)
    total.yy += factor * equations.yy
    total.n_rows += equations.n_rows


def _stress(atoms: Atoms, index: int) -> np.ndarray | None:
    """Stress (3, 3) in GPa, if it is known."""
    if atoms.info.get("stress") is None:
        return None
    stress = real_array(f'frames[{index}].info["stress"]', atoms.info["stress"])
    if stress.shape not in ((6,), (3, 3)) or not np.isfinite(stress).all():
        raise ValueError(
            f'frames[{index}].info["stress"] has shape {stress.shape}; accepted are 6 or 3 x 3 finite numbers'
        )
    return (voigt_6_to_full_3x3_stress(stress) if stress.shape == (6,) else stress) / units.GPa


def _extrapolation_metric(basis: ACEBasis, frames: Sequence[Atoms]) -> np.ndarray:
    """Metric (S, F, F) in which no atom of the training set is longer than 1."""
    numbers = np.array(basis.numbers)
    metric = np.zeros((len(numbers), basis.n_functions, basis.n_functions))
    atoms_of = np.zeros(len(numbers))
    features = []
    for atoms in frames:
        own = ace_features(basis, Structures.from_ase(atoms)) / basis.penalties
        types = (atoms.numbers[:, None] == numbers).argmax(axis=1)
        features.append((own, types))
        for z in range(len(numbers)):
            metric[z] += own[types == z].T @ own[types == z]
            atoms_of[z] += (types == z).sum()
    for z in np.flatnonzero(atoms_of):
        values, vectors = eigh(metric[z] / atoms_of[z])
        metric[z] = (vectors / (np.maximum(values, 0) + _RESOLVED * values.mean())) @ vectors.T
    longest = np.zeros(len(numbers))
    for own, types in features:
        lengths = _squared_lengths(own, types, metric)
        np.maximum.at(longest, types, lengths)
    # surroundings of a species that the training set lacks are all new
    metric[longest == 0] = _UNSEEN * np.eye(basis.n_functions)
    return metric / np.where(longest > 0, longest, 1.0)[:, None, None]


def _squared_lengths(features: np.ndarray, types: np.ndarray, metric: np.ndarray) -> np.ndarray:
    lengths = np.empty(len(features))
    for z in range(len(metric)):
        own = features[types == z]
        lengths[types == z] = np.einsum("nf,nf->n", own @ metric[z], own)
    return lengths
