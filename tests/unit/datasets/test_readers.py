"""Readers: one name for each target, and a sentence for every file that can't be used."""

import gzip
import io
import warnings

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io.formats import string2index

from matterscape.datasets import MixedPropertiesWarning, StructureFileError, read_structures, survey

pytestmark = pytest.mark.unit

WATER = """3
{comment}
O 0.0 0.0 0.0
H 0.96 0.0 0.0
H -0.24 0.93 0.0
"""
THREE = "".join(WATER.format(comment=f"step={i}") for i in range(3))


@pytest.fixture
def write(tmp_path):
    """``write(text, name)`` makes a file and returns its path."""

    def write(text: str, name: str = "water.xyz"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    "key", ["energy", "TotEnergy", "total_energy", "REF_energy", "dft_energy", "E_tot", "Energy", "energy_ref"]
)
def test_energy_has_one_name(write, key):
    (atoms,) = read_structures(write(WATER.format(comment=f"{key}=-14.5 name=water")))
    assert atoms.info == {"energy": -14.5, "name": "water"} and atoms.calc is None
    assert type(atoms.info["energy"]) is float


def test_the_common_name_wins_and_aliases_stay(write):
    (atoms,) = read_structures(write(WATER.format(comment="REF_energy=-1.0 energy=-2.0 free_energy=-3.0")))
    assert atoms.info == {"energy": -2.0, "REF_energy": -1.0, "free_energy": -3.0}


@pytest.mark.parametrize("comment", ["energy=unknown", "potential=-76.3", "free_energy=-3.0", 'energies="1 2 3"'])
def test_what_is_no_energy_is_not_renamed(write, comment):
    (atoms,) = read_structures(write(WATER.format(comment=comment)))
    assert not isinstance(atoms.info.get("energy"), float)
    assert comment.split("=")[0] in {**atoms.info, **atoms.arrays}


@pytest.mark.parametrize("key", ["forces", "force", "REF_forces", "dft_forces", "forces_ref"])
def test_forces_have_one_name(write, key):
    text = f"2\nProperties=species:S:1:pos:R:3:{key}:R:3:label:I:1\nH 0 0 0 1 2 3 7\nH 0 0 .74 4 5 6 8\n"
    (atoms,) = read_structures(write(text))
    np.testing.assert_array_equal(atoms.arrays["forces"], [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(atoms.arrays["label"], [7, 8])
    assert set(atoms.arrays) == {"numbers", "positions", "forces", "label"}


@pytest.mark.parametrize("key", ["stress", "REF_stress", "dft_stress"])
def test_stress_has_one_name_and_the_virial_its_own(write, key):
    lattice = 'Lattice="5 0 0 0 5 0 0 0 5"'
    (atoms,) = read_structures(
        write(WATER.format(comment=f'{lattice} {key}="1 6 5 6 2 4 5 4 3" virial="1 0 0 0 1 0 0 0 1"'))
    )
    expected = [1, 2, 3, 4, 5, 6] if key == "stress" else [[1, 6, 5], [6, 2, 4], [5, 4, 3]]
    np.testing.assert_array_equal(atoms.info["stress"], expected)
    np.testing.assert_array_equal(atoms.info["virial"], np.eye(3))


def test_nothing_is_lost_from_a_trajectory(tmp_path):
    crystal = bulk("Si", cubic=True)
    crystal.set_constraint(FixAtoms([0]))
    crystal.set_initial_magnetic_moments(np.arange(8.0))
    crystal.info["source"] = "test"
    crystal.calc = SinglePointCalculator(
        crystal, energy=-1.0, forces=np.ones((8, 3)), stress=np.arange(6.0), charges=np.arange(8.0), free_energy=-2.0
    )
    ase.io.write(tmp_path / "si.traj", [crystal, crystal])
    frames = read_structures(tmp_path / "si.traj")
    assert len(frames) == 2
    atoms = frames[1]
    assert atoms.calc is None and atoms.info["energy"] == -1.0 and atoms.info["free_energy"] == -2.0
    assert atoms.info["source"] == "test" and atoms.constraints[0].index.tolist() == [0]
    np.testing.assert_array_equal(atoms.arrays["forces"], np.ones((8, 3)))
    np.testing.assert_array_equal(atoms.arrays["charges"], np.arange(8.0))
    np.testing.assert_array_equal(atoms.arrays["initial_magmoms"], np.arange(8.0))
    np.testing.assert_array_equal(atoms.info["stress"], np.arange(6.0))


@pytest.mark.parametrize("name", ["si.cif", "POSCAR", "si.pdb", "si.json", "si.xsf"])
def test_other_formats(tmp_path, name):
    ase.io.write(tmp_path / name, bulk("Si", cubic=True))
    (atoms,) = read_structures(tmp_path / name)
    assert len(atoms) == 8 and set(atoms.symbols) == {"Si"} and atoms.calc is None
    np.testing.assert_allclose(atoms.cell.lengths(), 5.43, atol=1e-6)


def test_index_means_what_it_means_for_a_list(write):
    path = write("".join(WATER.format(comment=f"step={i}") for i in range(7)))
    for index in (":", "2:5", "::3", "-2:", "::-2", ":4", "5:1:-1", "-5:-1:2", slice(1, 3), slice(None, 2)):
        expected = list(range(7))[string2index(index) if isinstance(index, str) else index]
        assert [atoms.info["step"] for atoms in read_structures(path, index)] == expected
    assert [atoms.info["step"] for atoms in read_structures(path, -1)] == [6]
    assert [atoms.info["step"] for atoms in read_structures(path, "3")] == [3]
    for index in (7, -8, "9:"):
        with pytest.raises(StructureFileError, match="no structure at the index"):
            read_structures(path, index)


@pytest.mark.parametrize("index", ["a:b", 1.5, None, True])
def test_index_that_is_none(write, index):
    with pytest.raises(ValueError, match=r"index is .*accepted are"):
        read_structures(write(THREE), index)


def test_blank_lines_and_cell_vectors_between_frames(write):
    text = THREE.replace("3\nstep=1", "\n   \n3\nstep=1") + "1\nadf\nHe 0 0 0\nVEC1 5 0 0\nVEC2 0 6 0\n\n"
    with pytest.warns(MixedPropertiesWarning):
        frames = read_structures(write(text), ":")
    assert [len(atoms) for atoms in frames] == [3, 3, 3, 1]
    np.testing.assert_array_equal(frames[3].pbc, [True, True, False])


def test_uploads_and_open_files(write):
    content = THREE.encode()
    upload = {"name": "../../water.xyz", "type": "", "size": len(content), "content": memoryview(content)}
    assert len(read_structures(upload)) == 3
    handle = io.BytesIO(content)
    handle.name = "water.xyz"
    assert len(read_structures(handle)) == 3
    assert len(read_structures(io.StringIO(THREE), "1:")) == 2
    with write(THREE).open("rb") as handle:
        assert len(read_structures(handle)) == 3
    with pytest.raises(ValueError, match=r"source has the keys \['name'\]"):
        read_structures({"name": "water.xyz"})
    with pytest.raises(StructureFileError, match=r"^water.xyz is empty"):
        read_structures({"name": "water.xyz", "content": b""})


def test_compressed_file_and_name_with_an_at_sign(tmp_path, write):
    (tmp_path / "water.xyz.gz").write_bytes(gzip.compress(THREE.encode()))
    assert len(read_structures(tmp_path / "water.xyz.gz")) == 3
    (tmp_path / "broken.xyz.gz").write_bytes(gzip.compress(THREE.encode() * 9)[:-20])
    with pytest.raises(StructureFileError, match=r"broken.xyz.gz can't be read"):
        read_structures(tmp_path / "broken.xyz.gz")
    assert len(read_structures(write(THREE, "water@300.xyz"))) == 3
    ase.io.write(tmp_path / "si@0.traj", bulk("Si"))
    assert len(read_structures(tmp_path / "si@0.traj")) == 1


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere.xyz"):
        read_structures(tmp_path / "nowhere.xyz")
    with pytest.raises(StructureFileError, match="is a folder"):
        read_structures(tmp_path)


@pytest.mark.parametrize("text", ["", "\n \n\n"])
def test_empty_file(write, text):
    with pytest.raises(StructureFileError, match=r"water.xyz is empty; it needs at least one structure"):
        read_structures(write(text))


@pytest.mark.parametrize("name", ["notes.pdf", "notes", "figure.png", "notes.docx"])
def test_unknown_format(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x00some bytes that are no structure")
    with pytest.raises(StructureFileError, match=r"format that is not known; accepted is .*extended XYZ, CIF"):
        read_structures(tmp_path / name)


def test_truncated_between_lines(write):
    path = write(THREE[: THREE.rindex("H -0.24")])
    with pytest.raises(
        StructureFileError,
        match=r"water.xyz is truncated: frame 2 \(line 11\) announces 3 atoms but the file ends after 2; "
        r"the 2 before it can be read with index=':2'",
    ):
        read_structures(path)
    assert len(read_structures(path, ":2")) == 2  # the advice holds
    assert len(read_structures(path, 1)) == 1


def test_truncated_after_the_count(write):
    with pytest.raises(StructureFileError, match=r"frame 1 \(line 6\) announces 3 atoms but the file ends after 0"):
        read_structures(write(WATER.format(comment="") + "3\n"))


def test_truncated_within_a_line(write):
    path = write(THREE[: -len("93 0.0\n") - 2])
    with pytest.raises(StructureFileError, match=r"frame 2 \(line 11\) can't be read.*incomplete.*truncated.*':2'"):
        read_structures(path)


@pytest.mark.parametrize(
    "text, message",
    [
        (WATER.replace("3\n", "three\n", 1), r"line 1 is 'three' where frame 0 should begin with its number of atoms"),
        (WATER.replace("3\n", "2\n", 1), r"line 5 is 'H -0.24 0.93 0.0' where frame 1 should begin"),
        (WATER.replace("H 0.96", "Qq 0.96"), r"frame 0 \(line 1\).*unknown element 'Qq'"),
        (WATER.replace("0.96", "abc"), r"frame 0 \(line 1\) can't be read as XYZ: .*abc"),
        (WATER.replace("0.96", "nan"), r"frame 0, atom 1: the position .* is not finite"),
        (WATER.replace("0.93", "inf"), r"frame 0, atom 2: the position .* is not finite"),
        (WATER.replace("{comment}", 'Lattice="nan 0 0 0 5 0 0 0 5"'), r"frame 0: the cell .* is not finite"),
        ("0\n\n", r"frame 0 has no atoms"),
    ],
)
def test_broken_xyz_says_where(write, text, message):
    with pytest.raises(StructureFileError, match=message) as caught:
        read_structures(write(text))
    assert "\n" not in str(caught.value)


def test_binary_content_under_the_name_of_xyz(tmp_path):
    (tmp_path / "water.xyz").write_bytes(b"\xff\xfe\x00\x80" * 100)
    with pytest.raises(StructureFileError, match=r"water.xyz can't be read as text"):
        read_structures(tmp_path / "water.xyz")


@pytest.mark.parametrize(
    "name, text", [("a.cif", "data_a\nloop_\n_cell"), ("a.traj", "nothing"), ("POSCAR", "Si\n1\n")]
)
def test_broken_files_of_other_formats(write, name, text):
    with pytest.raises(StructureFileError, match=f"{name} "):
        read_structures(write(text, name))


def test_mixed_properties_are_told_and_kept(write):
    text = WATER.format(comment="energy=-1.0") + WATER.format(comment="name=b") + WATER.format(comment="energy=-3.0")
    with pytest.warns(MixedPropertiesWarning, match=r"energy in 2 of 3, name in 1 of 3"):
        frames = read_structures(write(text))
    assert [atoms.info.get("energy") for atoms in frames] == [-1.0, None, -3.0]
    found = survey(frames)
    assert found.partial == {"energy": 2, "name": 1} and found.complete == {}


def test_uniform_properties_do_not_warn(write):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_structures(write(THREE))


def test_periodic_flag_without_a_cell(write):
    (atoms,) = read_structures(write(WATER.format(comment='pbc="T T T"')))
    assert not atoms.pbc.any()


def test_survey():
    crystal, water = bulk("Si", cubic=True), molecule("H2O")
    crystal.info["energy"] = -1.0
    for atoms in (crystal, water):
        atoms.set_array("charge", np.zeros(len(atoms)))
    found = survey([crystal, water])
    assert (found.n_structures, found.n_atoms, found.smallest, found.largest, found.n_periodic) == (2, 11, 3, 8, 1)
    assert found.species == ("H", "O", "Si")
    assert found.complete == {"charge": "atom"} and found.partial == {"energy": 1}
    assert str(found) == (
        "2 structures of 3 to 8 atoms (H, O, Si), 1 periodic; properties: charge; only in some: energy (1 of 2)"
    )
    with pytest.raises(ValueError, match="frames is empty"):
        survey([])


def test_many_structures_in_little_memory(tmp_path):
    import psutil

    path = tmp_path / "many.xyz"
    ase.io.write(path, [Atoms("H8", positions=np.arange(24.0).reshape(8, 3))] * 10)
    path.write_text(path.read_text() * 300)
    before = psutil.Process().memory_info().rss
    frames = read_structures(path)
    assert len(frames) == 3000
    assert psutil.Process().memory_info().rss - before < 60e6  # so 10^4 structures stay below 200 MB
