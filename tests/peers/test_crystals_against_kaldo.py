"""Widths and conductivities of crystalline silicon beside kaldo's, from the force constants that it is tested with."""

import numpy as np
import pytest

from matterscape.benchmarks.kaldo_crystal import REPEATS, silicon
from matterscape.transport.lattice.crystals._disorder_kernels import add_mass_scattering
from matterscape.transport.lattice.crystals.boltzmann import boltzmann_conductivity
from matterscape.transport.lattice.crystals.mass_disorder import tamura_half_widths
from matterscape.transport.lattice.crystals.scattering import (
    degenerate_averages,
    lattice_vectors,
    three_phonon_scattering,
)
from matterscape.transport.lattice.linewidths import SHAPES
from matterscape.transport.lattice.modes import vibrational_modes

pytest.importorskip("kaldo")
pytestmark = pytest.mark.peers

VARIANCE = 2.01e-4
BANDWIDTH_THZ = 0.5


@pytest.fixture(scope="module")
def constants():
    try:
        return silicon()
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def phonons(constants):
    from kaldo.phonons import Phonons

    def make(**options):
        return Phonons(
            forceconstants=constants[0],
            kpts=list(REPEATS),
            is_classic=False,
            temperature=300,
            storage="memory",
            **options,
        )

    return make


@pytest.fixture(scope="module")
def modes(constants):
    """On the mesh that the supercell holds, where images do not matter."""
    return vibrational_modes(constants[1], REPEATS, masses=constants[0].atoms.get_masses())


@pytest.fixture(scope="module")
def ordered(modes, phonons):
    """A function that puts kaldo's numbers (27 x 6) into our order, degenerate modes given their mean."""
    points = np.array(phonons()._reciprocal_grid.fractional_points)
    apart = (modes.wavevectors[:, None] - points + 0.5) % 1 - 0.5
    places = np.abs(apart).sum(axis=2).argmin(axis=1)
    means = degenerate_averages(modes.angular_frequencies)
    return lambda values: np.einsum("qmn,qn->qm", means, np.asarray(values).reshape(27, 6)[places])


def test_frequencies(modes, phonons, ordered):
    found = ordered(phonons().frequency)
    np.testing.assert_allclose(modes.frequencies_THz[modes.vibrating], found[modes.vibrating], rtol=1e-7)


def test_anharmonic_widths_and_conductivity(constants, modes, phonons, ordered):
    from kaldo.conductivity import Conductivity

    peer = phonons(third_bandwidth=BANDWIDTH_THZ)
    found = three_phonon_scattering(modes, constants[2], 300.0, broadening_THz=BANDWIDTH_THZ, collisions=True)
    expected = ordered(peer.bandwidth)
    np.testing.assert_allclose(2 * found.half_widths[0], expected, atol=2e-6 * expected.max())
    # kaldo's velocities of degenerate modes, half of all on this mesh, are those of its eigenvectors
    for method, own in (("rta", "relaxation-time"), ("inverse", "direct")):
        tensor = Conductivity(phonons=peer, method=method, storage="memory").conductivity.sum(axis=0)
        assert np.trace(tensor) / 3 == pytest.approx(boltzmann_conductivity(found, method=own)[0].value, rel=0.05)


def test_isotopes_where_energy_is_sharp(modes, phonons, ordered):
    """Peaks so narrow that only equivalent modes scatter into each other."""
    peer = phonons(include_isotopes=True, third_bandwidth=1e-4, g_factor=np.full(2, VARIANCE))
    expected = ordered(peer.isotopic_bandwidth)
    found = 2 * tamura_half_widths(modes, VARIANCE, broadening_THz=1e-4)
    assert (expected[modes.vibrating] > 0).all()
    np.testing.assert_allclose(found[modes.vibrating], expected[modes.vibrating], rtol=1e-6)


@pytest.mark.parametrize("shape", ["triangle", "lorentz"])
def test_isotopes_with_broad_peaks(modes, phonons, ordered, shape):
    """kaldo takes the square of the final frequency, Tamura that of the initial one: our kernel's sum with kaldo's."""
    peer = phonons(
        include_isotopes=True,
        third_bandwidth=BANDWIDTH_THZ,
        g_factor=np.full(2, VARIANCE),
        broadening_shape=shape,
        iso_speed_up=False,
    )
    sums = np.zeros(modes.angular_frequencies.shape)
    add_mass_scattering(
        np.arange(27),
        np.round(modes.wavevectors * 3).astype(np.int64),
        np.ones(3, np.int64),
        lattice_vectors(modes),
        modes.angular_frequencies,
        modes.angular_frequencies**2 * modes.vibrating,
        VARIANCE * np.eye(2, dtype=np.complex128)[None],
        2 * np.pi * BANDWIDTH_THZ,
        SHAPES[shape],
        4,
        sums,
    )
    expected = ordered(peer.isotopic_bandwidth)
    found = np.einsum("qmn,qn->qm", degenerate_averages(modes.angular_frequencies), np.pi / 2 / 27 * sums)
    np.testing.assert_allclose(found[modes.vibrating], expected[modes.vibrating], rtol=1e-6)
