"""Files of other codes, written here from known force constants and read back."""

import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import bulk
from scipy.sparse import coo_array, save_npz

from matterscape.potentials import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice.files.reading import read_lattice
from matterscape.transport.lattice.supercells import Supercell
from matterscape.transport.lattice.triplet_symmetry import impose_sum_rule
from matterscape.transport.lattice.triplets import TripletForceConstants

pytestmark = pytest.mark.unit

REPEATS = (3, 3, 3)
LAMMPS_UNIT = 10 * units.J / units.mol


@pytest.fixture(scope="module")
def unit():
    atoms = bulk("Si", a=5.432)
    atoms.numbers[1] = 6
    atoms.set_cell(atoms.cell * 0.83, scale_atoms=True)
    return atoms


@pytest.fixture(scope="module")
def exact(unit):
    """Force constants of both orders of the unit cell: silicon carbide, whose two atoms differ."""
    potential, structures = Tersoff.silicon_carbide(), Structures.from_ase(unit)
    return potential.hessian(structures), TripletForceConstants.from_stars(potential.third_order(structures))


def over_supercell(exact, supercell):
    """Sums over images: second order (n, R, n, 3, 3), and triplets (T, 3) of cell-by-cell atoms with blocks."""
    second, third = exact
    repeats, n_atoms = np.array(supercell.repeats), supercell.primitive.n_atoms

    def cell(shifts):
        return np.ravel_multi_index(tuple((shifts % repeats).T), supercell.repeats)

    values = np.zeros((n_atoms, supercell.n_cells, n_atoms, 3, 3))
    np.add.at(values, (second.first, cell(second.shifts), second.second), second.blocks)
    members = np.column_stack(
        [
            third.first,
            cell(third.second_shifts) * n_atoms + third.second,
            cell(third.third_shifts) * n_atoms + third.third,
        ]
    )
    triplets, inverse = np.unique(members, axis=0, return_inverse=True)
    blocks = np.zeros((len(triplets), 3, 3, 3))
    np.add.at(blocks, inverse.reshape(-1), third.blocks)
    return values, triplets, blocks


@pytest.fixture(scope="module")
def supercell(unit):
    return Supercell.repeated(unit, REPEATS)


@pytest.fixture(scope="module")
def sums(exact, supercell):
    return over_supercell(exact, supercell)


def write_kaldo(folder, unit, exact, supercell, sums):
    values, triplets, blocks = sums
    ase.io.write(folder / "replicated_atoms.xyz", supercell.structures.to_ase()[0], format="extxyz")
    np.save(folder / "second.npy", values.transpose(0, 3, 1, 2, 4)[None])
    n_atoms, n_all = values.shape[0], values.shape[0] * values.shape[1]
    t, a, b, c = np.nonzero(blocks)
    rows = np.ravel_multi_index((triplets[t, 0], a, triplets[t, 1], b), (n_atoms, 3, n_all, 3))
    shape = (9 * n_atoms * n_all, 3 * n_all)
    save_npz(folder / "third.npz", coo_array((blocks[t, a, b, c], (rows, 3 * triplets[t, 2] + c)), shape=shape))


def write_lammps(folder, unit, exact, supercell, sums):
    whole = Tersoff.silicon_carbide()
    atoms = supercell.structures.to_ase()[0]
    roots = np.repeat(np.sqrt(atoms.get_masses()), 3)
    matrix = whole.hessian(supercell.structures).dense() / roots / roots[:, None] / LAMMPS_UNIT
    np.savetxt(folder / "Dyn.form", matrix.reshape(-1, 3), fmt="%.10e")
    ase.io.write(folder / "CONFIG", atoms, format="dlp4")
    third = TripletForceConstants.from_stars(whole.third_order(supercell.structures))
    members = np.column_stack([third.first, third.second, third.third])
    triplets, inverse = np.unique(members, axis=0, return_inverse=True)
    blocks = np.zeros((len(triplets), 3, 3, 3))
    np.add.at(blocks, inverse.reshape(-1), third.blocks)
    t, a, b = np.indices((len(triplets), 3, 3)).reshape(3, -1)
    columns = [triplets[t, 0] + 1, a + 1, triplets[t, 1] + 1, b + 1, triplets[t, 2] + 1]
    table = np.column_stack([*columns, -blocks[t, a, b] / LAMMPS_UNIT])
    np.savetxt(folder / "THIRD", table, fmt=["%d"] * 5 + ["%.10e"] * 3)


def write_shengbte(folder, unit, exact, supercell, sums):
    ase.io.write(folder / "POSCAR", unit, format="vasp")
    values, n_atoms = sums[0], len(unit)
    # phonopy's order: all translations of an atom together, the first repeat fastest
    grid = values.reshape(n_atoms, *REPEATS, n_atoms, 3, 3).transpose(0, 4, 3, 2, 1, 5, 6)
    compact = grid.reshape(n_atoms, -1, 3, 3)
    lines = [f"{n_atoms} {compact.shape[1]}"]
    for i, row in enumerate(compact):
        for j, block in enumerate(row):
            lines += [f"{i * supercell.n_cells + 1} {j + 1}", *(" ".join(f"{x:.15f}" for x in part) for part in block)]
    (folder / "FORCE_CONSTANTS_2ND").write_text("\n".join(lines) + "\n")
    third = exact[1]
    lines = [str(len(third.first)), ""]
    for number in range(len(third.first)):
        lines.append(str(number + 1))
        for shift in (third.second_shifts[number], third.third_shifts[number]):
            lines.append(" ".join(f"{x:.10e}" for x in shift @ unit.cell.array))
        members = third.first[number], third.second[number], third.third[number]
        lines.append(" ".join(str(atom + 1) for atom in members))
        for place in np.ndindex(3, 3, 3):
            lines.append(" ".join(str(x + 1) for x in place) + f" {third.blocks[number][place]:.12e}")
        lines.append("")
    (folder / "FORCE_CONSTANTS_3RD").write_text("\n".join(lines))


def write_tdep(folder, unit, exact, supercell, sums):
    ase.io.write(folder / "infile.ucposcar", unit, format="vasp")
    second, third = exact
    rows = lambda array: [" ".join(f"{x:.12f}" for x in row) for row in np.reshape(array, (-1, 3))]  # noqa: E731
    lines = [f"{len(unit)}  How many atoms per unit cell", "6.0  Realspace cutoff (A)"]
    for atom in range(len(unit)):
        own = np.flatnonzero(second.first == atom)
        lines.append(f"{len(own)}  How many neighbours")
        for pair in own:
            lines += [f"{second.second[pair] + 1}  index", *rows(second.shifts[pair]), *rows(second.blocks[pair])]
    (folder / "infile.forceconstant").write_text("\n".join(lines) + "\n")
    lines = lines[:2]
    for atom in range(len(unit)):
        own = np.flatnonzero(third.first == atom)
        lines.append(f"{len(own)}  How many triplets")
        for t in own:
            lines += [f"{member[t] + 1}  atom" for member in (third.first, third.second, third.third)]
            # a triplet may begin in any cell
            lines += rows([[1, 0, 2], third.second_shifts[t] + [1, 0, 2], third.third_shifts[t] + [1, 0, 2]])
            lines += rows(third.blocks[t])
    (folder / "infile.forceconstant_thirdorder").write_text("\n".join(lines) + "\n")


CODES = {
    "kaldo": (write_kaldo, {"repeats": REPEATS}),
    "lammps": (write_lammps, {"repeats": REPEATS}),
    "shengbte": (write_shengbte, {"repeats": REPEATS}),
    "tdep": (write_tdep, {}),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, unit, exact, supercell, sums):
    made = {}
    for code, (write, _) in CODES.items():
        made[code] = tmp_path_factory.mktemp(code)
        write(made[code], unit, exact, supercell, sums)
    return made


@pytest.mark.parametrize("code", CODES)
def test_what_is_written_is_read_image_by_image(folders, exact, code):
    found = read_lattice(folders[code], **CODES[code][1])
    assert found.code == code
    second, third = exact
    scale = np.abs(second.blocks).max(), np.abs(third.blocks).max()
    assert np.abs((found.force_constants + -1.0 * second_of(second, found)).blocks).max() < 1e-7 * scale[0]
    assert np.abs((found.third_order + -1.0 * third).blocks).max() < 1e-7 * scale[1]
    report = found.report()
    assert report.startswith(f"CSi, 2 atoms, read from files of {code}\n")
    assert f"second order: {len(second.first)} pairs" in report or code != "tdep"
    assert f"third order: {len(third.first)} triplets" in report


def second_of(second, found):
    """The exact ones as if of the structure that was read, whose positions have fewer digits."""
    return type(second)(second.first, second.second, second.shifts, second.blocks, found.structures)


def test_a_format_is_found_by_its_files(folders, tmp_path):
    with pytest.raises(ValueError, match=r"holds no file of force constants; accepted is one of .*Dyn.form"):
        read_lattice(tmp_path)
    with pytest.raises(ValueError, match="accepted is a folder that exists"):
        read_lattice(tmp_path / "nothing")
    with pytest.raises(ValueError, match="code is 'vasp'; accepted are 'phonopy'"):
        read_lattice(folders["tdep"], code="vasp")


@pytest.mark.parametrize(
    ("code", "repeats", "message"),
    [
        ("kaldo", (2, 3, 3), "accepted are whole unit cells|off every translated atom|has shape"),
        ("lammps", (2, 2, 2), "accepted are symmetries"),
        ("shengbte", (2, 2, 2), r"between 2 and 54 atoms; accepted are those of 2 atoms, or all, and the 16"),
    ],
)
def test_wrong_repeats_are_noticed(folders, code, repeats, message):
    with pytest.raises(ValueError, match=message):
        read_lattice(folders[code], repeats=repeats)


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("tdep", "infile.forceconstant", "ends too early"),
        ("tdep", "infile.forceconstant_thirdorder", "ends too early"),
        ("shengbte", "FORCE_CONSTANTS_3RD", "31 for each and one before"),
        ("lammps", "Dyn.form", "accepted are the 26244 of the dynamical matrix"),
    ],
)
def test_files_cut_short_are_noticed(folders, tmp_path, code, name, message):
    for path in folders[code].iterdir():
        text = path.read_text()
        (tmp_path / path.name).write_text("\n".join(text.splitlines()[:-40]) if path.name == name else text)
    with pytest.raises(ValueError, match=message):
        read_lattice(tmp_path, **CODES[code][1])


def test_sum_rule_is_imposed_by_the_least_change(exact):
    third = exact[1]
    generator = np.random.default_rng(1)
    scale = np.abs(third.blocks).max()
    noisy = type(third)(
        third.first,
        third.second,
        third.third,
        third.second_shifts,
        third.third_shifts,
        third.blocks + 1e-3 * scale * generator.normal(size=third.blocks.shape),
        third.structures,
    )
    noise = np.sqrt(((noisy.blocks - third.blocks) ** 2).sum())
    assert noisy.acoustic_residual() > 1e-3 * scale and noisy.index_asymmetry() > 1e-3 * scale
    mended = impose_sum_rule(noisy)
    assert mended.acoustic_residual() < 2e-8 * scale and mended.index_asymmetry() < 1e-12 * scale
    # the exact ones have both properties, so the nearest that has them is nearer to the noisy ones
    moved = np.sqrt(((mended + -1.0 * noisy).blocks ** 2).sum())
    left = np.sqrt(((mended + -1.0 * third).blocks ** 2).sum())
    assert moved < noise and left < noise and moved**2 + left**2 == pytest.approx(noise**2, rel=1e-6)
    same = impose_sum_rule(third)
    assert np.abs((same + -1.0 * third).blocks).max() < 1e-7 * scale


def test_sum_rules_of_what_was_read(folders):
    found = read_lattice(folders["tdep"]).with_sum_rules()
    assert found.force_constants.acoustic_residual() < 1e-12
    assert found.third_order.acoustic_residual() < 1e-6
