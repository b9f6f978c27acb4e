"""Scans of the half width of Allen and Feldman against single conductivities, and the order of their limits."""

import warnings

import ase.build
import numpy as np
import pytest

from matterscape.potentials.stillinger_weber import StillingerWeber
from matterscape.structures import Structures
from matterscape.transport.lattice.allen_feldman import allen_feldman_scan
from matterscape.transport.lattice.mode_properties import level_spacing
from matterscape.transport.lattice.modes import UnstableModesError, VibrationalModes, vibrational_modes
from matterscape.transport.lattice.qhgk import qhgk

pytestmark = pytest.mark.unit


def disordered(repeats=(2, 1, 1), mesh=(1, 1, 1)) -> VibrationalModes:
    atoms = ase.build.bulk("Si", a=5.43, cubic=True).repeat(repeats)
    atoms.rattle(0.05, seed=2)
    return vibrational_modes(StillingerWeber.silicon().hessian(Structures.from_ase(atoms)), mesh)


@pytest.mark.parametrize("statistics", ["quantum", "classical"])
@pytest.mark.parametrize("mesh", [(1, 1, 1), (1, 2, 1)])
def test_each_half_width_is_a_conductivity(statistics, mesh):
    modes = disordered(mesh=mesh)
    half_widths = [7.0, 2.3, 4.0]
    scan = allen_feldman_scan(modes, half_widths, 250.0, statistics=statistics)
    for number, half_width in enumerate(half_widths):
        single = qhgk(modes, half_width, 250.0, statistics=statistics)
        np.testing.assert_allclose(scan.tensors[number], single.tensor, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(scan.diffusivities[number], single.diffusivities, rtol=1e-10)
        assert scan.values[number] == pytest.approx(single.value, rel=1e-10)
    assert scan.resolved.all()
    assert scan.level_spacing == pytest.approx(level_spacing(modes))


def test_a_finite_cell_at_vanishing_half_width():
    """The limits must not be interchanged: below the spacing of levels the conductivity falls with the half width."""
    modes = disordered()
    spacing = level_spacing(modes)
    with pytest.warns(UserWarning, match="2 half widths, .* are below the spacing of the levels"):
        scan = allen_feldman_scan(modes, [1e-7, 1e-6, 2 * spacing], 300.0, statistics="classical")
    assert scan.resolved.tolist() == [False, False, True]
    assert scan.values[1] == pytest.approx(10 * scan.values[0], rel=1e-4)
    assert scan.values[1] < 1e-4 * scan.values[2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        allen_feldman_scan(modes, [spacing], 300.0)


def test_bad_input():
    modes = disordered((1, 1, 1))
    for bad in ([], [0.1, 0.0], [np.nan], 0.1):
        with pytest.raises(ValueError, match="half_widths are .*accepted are positive numbers"):
            allen_feldman_scan(modes, bad, 300.0)
    with pytest.raises(ValueError, match="statistics is 'fermi'"):
        allen_feldman_scan(modes, [5.0], 300.0, statistics="fermi")
    stretched = StillingerWeber.silicon().hessian(Structures.from_ase(ase.build.bulk("Si", a=7.0, cubic=True)))
    with pytest.raises(UnstableModesError, match="relax again"):
        allen_feldman_scan(vibrational_modes(stretched), [5.0], 300.0)
