"""LiveAtoms without a browser: what is sent and what is refused."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from matterscape_widgets import LiveAtoms

pytestmark = pytest.mark.unit


def _sent(view):
    return np.frombuffer(view._positions, "<f4").reshape(-1, 3)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False), (False, False, True)])
def test_atoms_are_shown_inside_the_cell(pbc):
    atoms = bulk("Si", cubic=True)
    atoms.pbc = pbc
    view = LiveAtoms(atoms)
    view.update(atoms.positions + np.array([3, -2, 5]) @ atoms.cell[:] * pbc)
    np.testing.assert_allclose(_sent(view), atoms.positions, atol=1e-5)
    outside = atoms.positions + np.array([0.0, 0, 20]) * (not pbc[2])
    view.update(outside)
    np.testing.assert_allclose(_sent(view), outside, atol=1e-5)


def test_unwrapped_on_request():
    atoms = bulk("Si", cubic=True)
    view = LiveAtoms(atoms, wrap=False)
    view.update(atoms.positions + 20)
    np.testing.assert_allclose(_sent(view), atoms.positions + 20, atol=1e-5)


def test_update_sends_everything_at_once():
    atoms = molecule("CH4")
    view = LiveAtoms(atoms)
    sent = []
    view.send_state = lambda key=None: sent.append(set(key) if key is not None else None)
    view.update(atoms.positions + 1, colour=[1.0, 2, 3, 4, np.nan], colour_range=(0, 5), colour_label="speed (km/s)")
    assert len(sent) == 1
    assert {"_positions", "_colour", "_frame", "_range", "colour_label"} <= sent[0]
    view.update(colour=None)
    assert view._colour == b""


def test_refused_data_leaves_the_view_as_it_was():
    atoms = molecule("CH4")
    view = LiveAtoms(atoms)
    before = view._positions
    for keywords, message in (
        ({"positions": atoms.positions[:3]}, r"positions has shape \(3, 3\), but \(5, 3\) is needed"),
        ({"positions": np.full((5, 3), np.nan)}, r"positions\[0\] is \[nan, nan, nan\], but must be finite"),
        ({"colour": [1.0, 2.0]}, "colour has 2 values, but 5 are needed"),
        ({"colour_range": (2, 1)}, r"colour_range is \(2.0, 1.0\), but must be finite, the lower first"),
    ):
        with pytest.raises(ValueError, match=message):
            view.update(**keywords)
        assert view.error
        assert view._positions == before
    view.update(atoms.positions)
    assert view.error == ""
    with pytest.raises(TypeError, match="update got 'size'"):
        view.update(size=3)


def test_bad_input():
    with pytest.raises(TypeError, match=r"atoms is a list; accepted is ase.Atoms"):
        LiveAtoms([molecule("CH4")])
    with pytest.raises(ValueError, match="atoms holds no atoms"):
        LiveAtoms(Atoms())
    view = LiveAtoms(molecule("CH4"))
    with pytest.raises(ValueError, match="active is 5, but the atoms are 0 to 4"):
        view.active = 5
