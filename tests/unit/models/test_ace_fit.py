"""Fit of the atomic cluster expansion: exact recovery, brute force, left-out errors, ensembles, files, bad input."""

import warnings

import numpy as np
import pytest
from ase import units
from ase.build import bulk

from matterscape.models.ace_fit import ACEFit, ExtrapolationWarning, fit_ace, labelled
from matterscape.potentials import Tersoff
from matterscape.potentials.ace import ACEBasis, LinearACE, ace_rows
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

BASIS = ACEBasis(("Si",), 3.4, (4, 2, 1), (2, 2))
ALLOY = ACEBasis(("Si", "Ge"), 3.4, (3, 1), (1,))


def rattled(n_frames: int, basis: ACEBasis = BASIS, seed: int = 0):
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n_frames):
        atoms = bulk("Si", a=5.43, cubic=True)
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.12, size=(8, 3))
        if len(basis.species) == 2:
            atoms.numbers[rng.random(8) < rng.random()] = 32
        frames.append(atoms)
    return frames


def truth(basis: ACEBasis, offset: float = 0.0) -> LinearACE:
    rng = np.random.default_rng(1)
    coefficients = rng.normal(size=basis.n_coefficients) / np.tile(basis.penalties, len(basis.species))
    return LinearACE(basis, coefficients, offset - np.arange(len(basis.species)))


@pytest.mark.parametrize("basis", [BASIS, ALLOY], ids=["Si", "SiGe"])
@pytest.mark.parametrize("offset", [0.0, -1e4])
def test_a_potential_of_the_same_basis_is_recovered(basis, offset):
    """Also from energies of -10 keV per atom, as electronic-structure codes give."""
    label = truth(basis, offset)
    fit = fit_ace(basis, labelled(rattled(12, basis), label), ridge=1e-13)
    assert fit.held_out.force < 1e-6 and fit.held_out.energy < 1e-6 and fit.held_out.stress_GPa < 1e-5
    for atoms in rattled(3, basis, seed=9):
        structures = Structures.from_ase(atoms)
        expected, found = label(structures), fit.potential(structures)
        assert np.abs(found.forces - expected.forces).max() < 1e-6
        assert float(found.energy) == pytest.approx(float(expected.energy), abs=1e-5)


def brute_force(frames, ridge, expected):
    """Coefficients from the stacked rows, with the penalty as rows more."""
    x, y = [], []
    for atoms in frames:
        rows, n = ace_rows(BASIS, Structures.from_ase(atoms)), len(atoms)
        x.append(np.append(rows.energy, n)[None] / n / expected[0])
        y.append([atoms.info["energy"] / n / expected[0]])
        x.append(np.c_[-rows.jacobian, np.zeros(3 * n)] / expected[1])
        y.append(atoms.arrays["forces"].reshape(-1) / expected[1])
        stress = rows.virials / atoms.get_volume() / units.GPa / expected[2]
        voigt = [stress[0], stress[4], stress[8]]
        voigt += [(stress[3 * a + b] + stress[3 * b + a]) / 2 for a, b in ((1, 2), (0, 2), (0, 1))]
        x.append(np.c_[voigt, np.zeros(6)])
        y.append(atoms.info["stress"] / units.GPa / expected[2])
    x, y = np.concatenate(x), np.concatenate(y)
    scaled = x[:, :-1] / BASIS.penalties
    common = (scaled**2).sum() / BASIS.n_coefficients
    penalty = np.diag(np.append(np.sqrt(ridge * common) * BASIS.penalties, 0.0))
    return np.linalg.lstsq(np.r_[x, penalty], np.r_[y, np.zeros(len(penalty))], rcond=None)[0]


def test_solution_and_left_out_errors_are_those_of_brute_force():
    frames = labelled(rattled(10), Tersoff.silicon())
    expected = (5e-3, 0.1, 0.2)
    options = {"energy_error": 5e-3, "force_error": 0.1, "stress_error_GPa": 0.2}
    fit = fit_ace(BASIS, frames, ridge=1e-4, folds=2, seed=3, **options)
    solution = brute_force(frames, 1e-4, expected)
    np.testing.assert_allclose(fit.potential.coefficients, solution[:-1], rtol=1e-6, atol=1e-8)
    assert fit.potential.atomic_energies[0] == pytest.approx(solution[-1], rel=1e-8)
    assert fit.path is None

    everything = fit_ace(BASIS, frames, folds=2, seed=3, **options)
    assert everything.regularisation in everything.path.regularisations
    assert np.argmin(everything.path.force_rmse) != len(everything.path.force_rmse) - 1
    fold_of = np.random.default_rng(3).permutation(10) % 2
    squares = 0.0
    for fold in range(2):
        # the scale is that of all structures, so the penalty differs a little from that of half of them
        part = fit_ace(BASIS, [f for f, k in zip(frames, fold_of) if k != fold], ridge=1e-10, folds=2, **options)
        for atoms in (f for f, k in zip(frames, fold_of) if k == fold):
            forces = part.potential(Structures.from_ase(atoms)).forces.numpy()
            squares += ((forces - atoms.arrays["forces"]) ** 2).sum()
    found = fit_ace(BASIS, frames, ridge=1e-10, folds=2, seed=3, **options).held_out.force
    assert found == pytest.approx(np.sqrt(squares / (10 * 24)), rel=0.02)


def test_more_functions_describe_tersoff_better():
    frames, unseen = (labelled(rattled(n, seed=s), Tersoff.silicon()) for n, s in ((30, 0), (6, 7)))
    errors = []
    for sizes in (((4,), ()), ((8, 5), (4,)), ((8, 6, 2), (4, 3))):
        fit = fit_ace(ACEBasis(("Si",), 3.3, *sizes, steepness=6), frames)
        deviations = [fit.potential(Structures.from_ase(a)).forces.numpy() - a.arrays["forces"] for a in unseen]
        errors.append(np.sqrt(np.mean(np.square(deviations))))
    scale = np.sqrt(np.mean([a.arrays["forces"] ** 2 for a in unseen]))
    assert errors[0] > 2 * errors[1] and errors[1] > errors[2] and errors[2] < 0.1 * scale


def test_members_are_fits_to_draws():
    frames = labelled(rattled(8), Tersoff.silicon())
    fit, again = (fit_ace(BASIS, frames, ridge=1e-6, members=3, seed=5) for _ in range(2))
    assert len(fit.members) == 3
    for one, other in zip(fit.members, again.members):
        np.testing.assert_array_equal(one.coefficients, other.coefficients)
    rng = np.random.default_rng(5)
    rng.permutation(8)
    draw = rng.multinomial(8, np.full(8, 1 / 8), size=3)[1]
    repeated = [atoms for atoms, count in zip(frames, draw) for _ in range(count)]
    structures = Structures.from_ase(frames[0])
    # the penalty of the draw is scaled by all structures: with a weak one the two agree
    weak = fit_ace(BASIS, frames, ridge=1e-12, members=3, seed=5).members[1]
    direct = fit_ace(BASIS, repeated, ridge=1e-12).potential
    scale = np.abs(direct(structures).forces).max()
    assert np.abs(weak(structures).forces - direct(structures).forces).max() < 1e-3 * scale


def test_extrapolation_is_told_with_the_atoms():
    frames = labelled(rattled(10), Tersoff.silicon())
    fit = fit_ace(BASIS, frames, ridge=1e-6)
    batch = Structures.from_ase(frames)
    leverages = fit.leverages(batch)
    assert leverages.max() == pytest.approx(1.0) and leverages.min() > 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit.warn_of_extrapolation(batch)
    vacancy = frames[0].copy()
    vacancy.positions[5] = vacancy.positions[2] + [0.0, 0.0, 1.4]
    with pytest.warns(ExtrapolationWarning, match=r"of 8 atoms \(.*2.*5.*\) are unlike the training set: leverage up"):
        fit.warn_of_extrapolation(Structures.from_ase(vacancy))


def test_a_species_without_structures_is_all_new():
    fit = fit_ace(ALLOY, labelled(rattled(6), truth(BASIS)), ridge=1e-6)
    assert fit.leverages(Structures.from_ase(rattled(1)[0])).max() < 10
    assert fit.leverages(Structures.from_ase(bulk("Ge", a=5.5, cubic=True))).min() > 1e3


def test_files(tmp_path):
    frames = labelled(rattled(6, ALLOY), truth(ALLOY))
    basis = ACEBasis(ALLOY.species, 3.2, (3, 2), (1,), 2, {("Si", "Ge"): 2.4})
    fit = fit_ace(basis, frames, ridge=1e-6, members=2)
    fit.save(tmp_path / "fit.npz")
    found = ACEFit.load(tmp_path / "fit.npz")
    structures = Structures.from_ase(frames[0])
    assert found.held_out == fit.held_out and found.regularisation == 1e-6 and found.path is None
    np.testing.assert_array_equal(found.leverages(structures), fit.leverages(structures))
    for one, other in zip((found.potential, *found.members), (fit.potential, *fit.members), strict=True):
        assert (one(structures).forces == other(structures).forces).all()
    with pytest.raises(ValueError, match="fitted ACEFit, got none of its entries atomic_energies"):
        ACEFit.from_state_dict({"species": np.array(["Si"])})


def test_labels():
    label, atoms = Tersoff.silicon(), rattled(1)[0]
    (copy,) = labelled([atoms], label)
    result = label(Structures.from_ase(atoms))
    assert "energy" not in atoms.info and copy.info["energy"] == float(result.energy)
    atoms.calc = label.calculator()
    np.testing.assert_allclose(copy.info["stress"], atoms.get_stress(), atol=1e-14)
    molecule = atoms.copy()
    molecule.set_cell(None)
    molecule.pbc = False
    (open_copy,) = labelled([molecule], label)
    assert "stress" not in open_copy.info
    fit = fit_ace(BASIS, labelled([molecule] * 2, label), ridge=1e-3, folds=2)
    assert np.isnan(fit.held_out.stress_GPa) and np.isfinite(fit.held_out.force)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ridge": 0.0}, "ridge is 0.0"),
        ({"ridge": np.nan}, "ridge is nan"),
        ({"force_error": -1.0}, "force_error is -1.0"),
        ({"folds": 1}, "folds is 1"),
        ({"folds": 7}, "frames holds 6 structures; accepted are at least as many as folds, 7"),
        ({"members": -1}, "members is -1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        fit_ace(BASIS, labelled(rattled(6), truth(BASIS)), **options)


def test_bad_frames():
    frames = labelled(rattled(6), truth(BASIS))
    with pytest.raises(TypeError, match="basis is a tuple"):
        fit_ace(("Si",), frames)
    with pytest.raises(ValueError, match=r'frames\[0\] has no info\["energy"\]'):
        fit_ace(BASIS, rattled(6))
    frames[2].info["stress"] = np.zeros(5)
    with pytest.raises(ValueError, match=r'frames\[2\].info\["stress"\] has shape \(5,\)'):
        fit_ace(BASIS, frames)
    foreign = labelled(rattled(6, ALLOY), truth(ALLOY))
    with pytest.raises(ValueError, match="is Ge, which LinearACE has no parameters for; accepted are Si"):
        fit_ace(BASIS, foreign)
