"""Second and third derivatives of star potentials against matscipy's analytic second derivatives."""

import ase.build
import numpy as np
import pytest
from ase import Atoms
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms import StillingerWeber as PeerStillingerWeber
from matscipy.calculators.manybody.explicit_forms import TersoffBrenner
from matscipy.calculators.manybody.explicit_forms.stillinger_weber import Stillinger_Weber_PRB_31_5262_Si
from matscipy.calculators.manybody.explicit_forms.tersoff_brenner import Tersoff_PRB_39_5566_Si_C

from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.potentials.tersoff import Tersoff
from matterscape.structures import Structures

# the peer leaves unused elements of its powers unset, and says so
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore:'where' used without 'out'")]

CASES = [
    pytest.param(
        StillingerWeber.silicon, lambda: PeerStillingerWeber(Stillinger_Weber_PRB_31_5262_Si), id="stillinger-weber"
    ),
    pytest.param(Tersoff.silicon, lambda: TersoffBrenner(Tersoff_PRB_39_5566_Si_C), id="tersoff"),
]


def silicon(rattle: float = 0.08) -> Atoms:
    atoms = ase.build.bulk("Si", a=5.43, cubic=True).repeat(2)
    atoms.rattle(rattle, seed=5)
    return atoms


def peer_hessian(form, atoms: Atoms) -> np.ndarray:
    return np.asarray(Manybody(**form()).get_hessian(atoms, "sparse").todense())


@pytest.mark.parametrize("potential, form", CASES)
def test_hessian(potential, form):
    atoms = silicon()
    own = potential().hessian(Structures.from_ase(atoms)).dense()
    peer = peer_hessian(form, atoms)
    np.testing.assert_allclose(own, peer, rtol=0, atol=1e-11 * np.abs(peer).max())


@pytest.mark.parametrize("potential, form", CASES)
def test_third_order(potential, form):
    """Contracted third derivatives against a central difference of the peer's Hessians."""
    atoms = silicon()
    direction = np.random.default_rng(2).normal(size=(len(atoms), 3))
    own = potential().third_order(Structures.from_ase(atoms)).contract(direction).dense()
    step = 1e-5
    ends = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * step * direction
        ends.append(peer_hessian(form, moved))
    peer = (ends[0] - ends[1]) / (2 * step)
    assert np.abs(peer).max() > 10
    np.testing.assert_allclose(own, peer, rtol=0, atol=1e-7 * np.abs(peer).max())
