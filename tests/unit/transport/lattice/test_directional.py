"""Third order along directions by finite differences against third derivatives of the potential's own."""

import ase.build
import numpy as np
import pytest

from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.structures import Structures
from matterscape.transport.lattice.directional import DirectionalThirdOrder
from matterscape.transport.lattice.linewidths import ModeCouplings, linewidths
from matterscape.transport.lattice.modes import vibrational_modes

pytestmark = pytest.mark.unit


def silicon() -> Structures:
    atoms = ase.build.bulk("Si", a=5.43, cubic=True)
    atoms.rattle(0.05, seed=4)
    return Structures.from_ase(atoms)


def test_error_falls_as_the_square_of_the_step():
    potential, structures = StillingerWeber.silicon(), silicon()
    vector = np.random.default_rng(0).normal(size=(8, 3))
    exact = potential.third_order(structures).contract(vector).dense()
    scale = np.abs(exact).max()
    errors = []
    for step in (2e-2, 1e-2, 5e-3):
        directional = DirectionalThirdOrder(potential, structures, step=step)
        errors.append(np.abs(directional.contract(vector).dense() - exact).max())
        estimate = directional.error(vector) * np.abs(vector).max()
        assert estimate == pytest.approx(0.75 * errors[-1], rel=0.2)
    assert errors[0] == pytest.approx(4 * errors[1], rel=0.05)
    assert errors[2] < 2e-3 * scale
    # by forces alone
    forces = DirectionalThirdOrder(potential, structures, force_step=1e-3).contract(vector.ravel()).dense()
    np.testing.assert_allclose(forces, exact, atol=3e-3 * scale)
    assert not DirectionalThirdOrder(potential, structures).contract(np.zeros(24)).dense().any()


@pytest.mark.filterwarnings("ignore:the broadening of:UserWarning")
def test_widths():
    potential, structures = StillingerWeber.silicon(), silicon()
    modes = vibrational_modes(potential.hessian(structures))
    exact, found = (
        linewidths(ModeCouplings(modes, third), 300.0, broadening_THz=0.7)
        for third in (potential.third_order(structures), DirectionalThirdOrder(potential, structures, step=2e-3))
    )
    np.testing.assert_allclose(found, exact, rtol=2e-3, atol=1e-6)


def test_bad_input():
    potential, structures = StillingerWeber.silicon(), silicon()
    with pytest.raises(ValueError, match="step is 0"):
        DirectionalThirdOrder(potential, structures, step=0)
    with pytest.raises(ValueError, match="structures are 2"):
        DirectionalThirdOrder(potential, Structures.from_ase(structures.to_ase() * 2))
    for bad in (np.zeros(3), np.full((8, 3), np.nan)):
        with pytest.raises(ValueError, match=r"vector has shape .* accepted are finite ones of \(8, 3\)"):
            DirectionalThirdOrder(potential, structures).contract(bad)
