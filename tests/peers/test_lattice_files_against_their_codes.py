"""Force constants read from files of phonopy, phono3py and kALDo against what these codes make of them."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from matterscape.potentials import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice.files.phonopy_files import from_phono3py, from_phonopy
from matterscape.transport.lattice.files.reading import read_lattice
from matterscape.transport.lattice.modes import vibrational_modes
from matterscape.transport.lattice.triplets import TripletForceConstants

phonopy = pytest.importorskip("phonopy")
phono3py = pytest.importorskip("phono3py")
from phonopy.structure.atoms import PhonopyAtoms  # noqa: E402

pytestmark = pytest.mark.peers


def cell_of(atoms):
    return PhonopyAtoms(symbols=atoms.get_chemical_symbols(), cell=atoms.cell.array, positions=atoms.positions)


def forces_of(cells, potential):
    frames = [Atoms(c.symbols, c.positions, cell=c.cell, pbc=True) for c in cells]
    return potential(Structures.from_ase(frames)).forces.numpy().reshape(len(frames), -1, 3)


@pytest.fixture(scope="module")
def phonon():
    """Silicon carbide in 2 x 2 x 2 conventional cells, no whole number of primitive ones along each axis."""
    potential = Tersoff.silicon_carbide()
    atoms = bulk("SiC", "zincblende", a=4.32, cubic=True)
    made = phonopy.Phonopy(cell_of(atoms), 2 * np.eye(3), primitive_matrix="auto", log_level=0)
    made.generate_displacements(distance=1e-3)
    made.forces = forces_of(made.supercells_with_displacements, potential)
    return made


@pytest.mark.parametrize("full", [True, False])
def test_frequencies_of_a_phonopy_object(phonon, full, tmp_path):
    phonon.produce_force_constants(calculate_full_force_constants=full)
    phonon.symmetrize_force_constants()
    phonon.save(tmp_path / "phonopy_params.yaml", settings={"force_constants": True})
    for constants in (from_phonopy(phonon), read_lattice(tmp_path).force_constants):
        modes = vibrational_modes(constants, (4, 4, 4))
        frequencies = [phonon.get_frequencies(q) for q in modes.wavevectors]
        assert np.abs(modes.frequencies_THz - frequencies).max() < 2e-5 * np.max(frequencies)


def test_force_constants_in_text_and_hdf5(phonon, tmp_path):
    from phonopy.file_IO import write_FORCE_CONSTANTS, write_force_constants_to_hdf5

    phonon.produce_force_constants(calculate_full_force_constants=True)
    expected = from_phonopy(phonon)
    for write, name in (
        (write_FORCE_CONSTANTS, "FORCE_CONSTANTS"),
        (write_force_constants_to_hdf5, "force_constants.hdf5"),
    ):
        folder = tmp_path / name[:5].replace(".", "")
        folder.mkdir(exist_ok=True)
        phonon.save(folder / "phonopy.yaml", settings={"force_constants": False, "force_sets": False})
        write(phonon.force_constants, filename=str(folder / name))
        found = read_lattice(folder).force_constants
        assert np.abs((found + -1.0 * expected).blocks).max() < 1e-8


def test_third_order_of_a_phono3py_object(tmp_path):
    potential = Tersoff.silicon()
    atoms = bulk("Si", a=5.432)
    structures = Structures.from_ase(atoms)
    exact = TripletForceConstants.from_stars(potential.third_order(structures))
    made = phono3py.Phono3py(cell_of(atoms), 3 * np.eye(3), primitive_matrix=np.eye(3), log_level=0)
    made.generate_displacements(distance=5e-3)
    made.forces = forces_of(made.supercells_with_displacements, potential)
    made.produce_fc2()
    made.produce_fc3(symmetrize_fc3r=True)
    second, third = from_phono3py(made)
    assert np.abs((third + -1.0 * exact).blocks).max() < 2e-3 * np.abs(exact.blocks).max()
    made.save(tmp_path / "phono3py_params.yaml", settings={"force_sets": False, "force_constants": False})
    from phono3py.file_IO import write_fc2_to_hdf5, write_fc3_to_hdf5

    write_fc2_to_hdf5(made.fc2, filename=str(tmp_path / "fc2.hdf5"), p2s_map=made.primitive.p2s_map)
    write_fc3_to_hdf5(made.fc3, filename=str(tmp_path / "fc3.hdf5"), p2s_map=made.primitive.p2s_map)
    found = read_lattice(tmp_path)
    assert found.code == "phono3py"
    assert np.abs((found.third_order + -1.0 * third).blocks).max() < 1e-8
    assert np.abs((found.force_constants + -1.0 * second).blocks).max() < 1e-8
    assert found.with_sum_rules().third_order.acoustic_residual() < 1e-6


KALDO = {
    "lammps": ("si-crystal", {"repeats": (3, 3, 3), "code": "lammps"}, {"format": "eskm", "supercell": (3, 3, 3)}),
    "tdep": ("si-tdep", {}, {"format": "tdep", "supercell": (5, 5, 5)}),
    "shengbte": (
        "si-crystal/vasp",
        {"repeats": (5, 5, 5)},
        {"format": "vasp-sheng", "supercell": (5, 5, 5), "third_supercell": (5, 5, 5)},
    ),
}


@pytest.mark.parametrize("code", KALDO)
def test_frequencies_of_kaldo_s_own_data(code):
    kaldo = pytest.importorskip("kaldo")
    from kaldo.forceconstants import ForceConstants
    from kaldo.phonons import Phonons

    name, options, theirs = KALDO[code]
    folder = Path(kaldo.__file__).parent / "tests" / name
    constants = ForceConstants.from_folder(folder=str(folder), only_second=True, **theirs)
    phonons = Phonons(forceconstants=constants, kpts=(3, 3, 3), is_classic=False, temperature=300, storage="memory")
    found = read_lattice(folder, **options)
    modes = vibrational_modes(found.force_constants, (3, 3, 3))
    expected = np.sort(np.asarray(phonons.frequency).reshape(modes.frequencies_THz.shape), axis=1)
    assert np.abs(modes.frequencies_THz - expected)[modes.vibrating].max() < 1e-4 * expected.max()
    assert found.third_order is not None and found.third_order.acoustic_residual() < 1e-3
