"""ASE calculators as potentials."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from matterscape.dynamics import relax
from matterscape.dynamics.restart import fingerprint
from matterscape.potentials import Evaluator, ExternalPotential, LennardJones, StillingerWeber, Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice.cubic import cubic_force_constants
from matterscape.transport.lattice.harmonic import force_constants
from matterscape.transport.lattice.supercells import Supercell

pytestmark = pytest.mark.unit


@pytest.fixture
def copper():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def test_energies_and_forces_are_the_calculators(copper):
    other = bulk("Cu", cubic=True) * (2, 1, 1)
    structures = Structures.from_ase([copper, other])
    evaluate = Evaluator(ExternalPotential(EMT()), structures)
    evaluate(structures.positions.numpy(), structures.cells.numpy())
    for atoms, own in ((copper, slice(0, 4)), (other, slice(4, 12))):
        atoms.calc = EMT()
        assert evaluate.energies[own].sum() == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
        assert np.allclose(evaluate.forces[own], atoms.get_forces(), atol=1e-12)


def test_relaxation_ends_where_the_calculators_forces_vanish(copper):
    relaxed = relax(copper, ExternalPotential(EMT()), force_tolerance=1e-3)
    atoms = relaxed.to_ase()[0]
    atoms.calc = EMT()
    assert np.abs(atoms.get_forces()).max() < 1e-3


def test_force_constants_of_our_own_potential_through_ase_are_its_own():
    tersoff = Tersoff.silicon()
    structures = Structures.from_ase(bulk("Si", a=5.432, cubic=True))
    exact = tersoff.hessian(structures).dense()
    found = force_constants(ExternalPotential(tersoff.calculator()), structures, step=1e-3).dense()
    assert np.abs(found - exact).max() < 1e-4 * np.abs(exact).max()


class Interrupting(EMT):
    """Stops like a user after some calls."""

    calls, most = 0, 10**9

    def calculate(self, *arguments, **keywords):
        type(self).calls += 1
        if type(self).calls > type(self).most:
            raise KeyboardInterrupt
        super().calculate(*arguments, **keywords)


def test_an_interrupted_calculation_goes_on(copper, tmp_path, monkeypatch):
    structures, file = Structures.from_ase(copper), tmp_path / "second.npz"
    whole = force_constants(ExternalPotential(EMT()), structures, step=1e-2).dense()
    monkeypatch.setattr(Interrupting, "most", 9)
    with pytest.raises(KeyboardInterrupt):
        force_constants(ExternalPotential(Interrupting()), structures, step=1e-2, file=file)
    monkeypatch.setattr(Interrupting, "most", 10**9)
    before = Interrupting.calls
    resumed = force_constants(ExternalPotential(Interrupting()), structures, step=1e-2, file=file).dense()
    assert np.array_equal(resumed, whole)
    assert Interrupting.calls - before == 24 - 2 * 4
    with pytest.raises(ValueError, match="unfinished work on another structure, potential or step"):
        force_constants(ExternalPotential(Interrupting()), structures, step=2e-2, file=file)
    with pytest.raises(ValueError, match="unfinished work on another structure, potential or step"):
        force_constants(ExternalPotential(Interrupting(asap_cutoff=True)), structures, step=1e-2, file=file)


def test_a_calculator_that_was_used_goes_on_with_its_own_work(copper, tmp_path):
    structures, potential = Structures.from_ase(copper), ExternalPotential(EMT())
    first = force_constants(potential, structures, step=1e-2, file=tmp_path / "second.npz").dense()
    again = force_constants(potential, structures, step=1e-2, file=tmp_path / "second.npz").dense()
    assert np.array_equal(first, again)


def test_our_own_potentials_through_ase_are_told_apart(tmp_path):
    structures, file = Structures.from_ase(bulk("Si", a=5.432)), tmp_path / "second.npz"
    tersoff, other = Tersoff.silicon(), StillingerWeber.silicon()
    first = force_constants(ExternalPotential(tersoff.calculator()), structures, step=1e-2, file=file).dense()
    again = force_constants(ExternalPotential(Tersoff.silicon().calculator()), structures, step=1e-2, file=file)
    assert np.array_equal(first, again.dense())
    with pytest.raises(ValueError, match="unfinished work on another structure, potential or step"):
        force_constants(ExternalPotential(other.calculator()), structures, step=1e-2, file=file)
    soft, stiff = (LennardJones({("Si", "Si"): (depth, 2.0)}, 5.0).calculator() for depth in (0.1, 0.2))
    assert fingerprint(ExternalPotential(soft)) != fingerprint(ExternalPotential(stiff))


def test_third_order_through_ase(tmp_path):
    tersoff = Tersoff.silicon()
    supercell = Supercell.repeated(bulk("Si", a=5.432), (2, 2, 2))
    exact = cubic_force_constants(tersoff, supercell)
    found = cubic_force_constants(
        ExternalPotential(tersoff.calculator()), supercell, step=5e-3, file=tmp_path / "third.npz"
    )
    assert np.abs(found.values - exact.values).max() < 2e-3 * np.abs(exact.values).max()


def test_what_a_calculator_does_not_give_is_refused(copper):
    structures = Structures.from_ase(copper)
    potential = ExternalPotential(EMT())
    with pytest.raises(NotImplementedError, match="EMT through ASE has no flux tensors"):
        potential(structures)
    with pytest.raises(NotImplementedError, match="no stress and no heat flux"):
        relax(copper, potential, cell="isotropic")
    with pytest.raises(NotImplementedError, match="has no hessian"):
        force_constants(potential, structures)
    with pytest.raises(TypeError, match="calculator is a str; accepted is an ASE calculator"):
        ExternalPotential("EMT")
    with pytest.raises(ValueError, match="accepted is None without a step"):
        force_constants(Tersoff.silicon(), structures, file="x.npz")
