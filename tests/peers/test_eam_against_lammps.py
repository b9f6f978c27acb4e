"""Embedded-atom potentials against LAMMPS' ``eam/alloy``, number by number.

Tables read from a file agree to rounding, because both sides make the same splines of them. The analytic potential
agrees with its own file as far as LAMMPS' cubic splines follow the functions.
"""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from lammps_results import lammps_results
from matterscape.benchmarks.lammps_peer import potential_file
from matterscape.potentials.eam import EAM
from matterscape.potentials.setfl import Setfl
from matterscape.potentials.zhou_metals import PARAMETERS, zhou2004
from matterscape.structures import Structures

pytestmark = pytest.mark.peers

ALLOY = ("Cu", "Ni", "Pd", "Ag", "Au")
SHIPPED = {
    "W_zhou": ("W", "bcc", 3.165), "Cu_zhou": ("Cu", "fcc", 3.615), "Al_zhou": ("Al", "fcc", 4.05),
    "Cu_mishin1": ("Cu", "fcc", 3.615), "CuNi": ("Cu Ni", "fcc", 3.57), "AlCu": ("Al Cu", "fcc", 3.8),
    "CoAl": ("Co Al", "fcc", 3.8), "AlO": ("Al O", "fcc", 4.2), "CuTa": ("Cu Ta", "bcc", 3.1),
    "NiAlH_jea": ("Ni Al H", "fcc", 3.7),
}  # fmt: skip


def _rattled(symbols, lattice, a, *, repeat=3, rattle=0.12, seed=0):
    atoms = bulk("X", lattice, a=a, cubic=True).repeat(repeat)
    rng = np.random.default_rng(seed)
    atoms.symbols = rng.choice(symbols, len(atoms))
    atoms.symbols[: len(symbols)] = symbols
    atoms.positions += rng.normal(scale=rattle, size=atoms.positions.shape)
    return atoms


def _from_lammps(atoms: Atoms, path: str) -> dict[str, np.ndarray]:
    names = [atoms.symbols[int(np.flatnonzero(atoms.numbers == number)[0])] for number in np.unique(atoms.numbers)]
    return lammps_results(atoms, ["pair_style eam/alloy", f"pair_coeff * * {path} {' '.join(names)}"])


def _compare(potential: EAM, atoms: Atoms, path: str, *, energy: float, force: float) -> None:
    """``energy`` in eV per atom, ``force`` in eV/Å."""
    peer = _from_lammps(atoms, path)
    own = potential(Structures.from_ase(atoms))
    assert np.abs(peer["forces"]).max() > 0.5
    np.testing.assert_allclose(own.energies, peer["energies"], rtol=0, atol=energy)
    np.testing.assert_allclose(own.forces, peer["forces"], rtol=0, atol=force)
    np.testing.assert_allclose(own.virials[0], peer["virial"], rtol=0, atol=10 * len(atoms) * force)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_files(name):
    symbols, lattice, a = SHIPPED[name]
    path = potential_file(f"{name}.eam.alloy")
    atoms = _rattled(symbols.split(), lattice, a)
    _compare(EAM.from_setfl(path), atoms, path, energy=1e-12, force=1e-11)


@pytest.mark.parametrize("a", [2.9, 3.165, 4.2, 7.0])
def test_shipped_tungsten_from_dense_to_dilute(a):
    """The densities reach all branches of the embedding energy."""
    path = potential_file("W_zhou.eam.alloy")
    atoms = _rattled(["W"], "bcc", a, rattle=0.2, seed=1)
    peer = _from_lammps(atoms, path)
    own = EAM.from_setfl(path)(Structures.from_ase(atoms))
    np.testing.assert_allclose(own.energies, peer["energies"], rtol=0, atol=1e-8)
    np.testing.assert_allclose(own.forces, peer["forces"], rtol=0, atol=1e-8)


def test_tungsten_of_2004_is_the_shipped_one_up_to_the_last_joint():
    """The shipped file is of 2001, when the embedding energy went on in another way beyond 1.15 rho_e."""
    file, potential = Setfl.read(potential_file("W_zhou.eam.alloy")), zhou2004(["W"], cutoff=8.5)
    r, rho = file.step * np.arange(file.densities.shape[1]), file.density_step * np.arange(file.embedding.shape[1])
    near, thin = (r > 0.8) & (r < 7.8), rho < 1.15 * PARAMETERS["W"][2]
    np.testing.assert_allclose(potential.density("W", r[near]), file.densities[0, near], atol=1e-10)
    np.testing.assert_allclose(
        r[near] * potential.pair_energy("W", "W", r[near]), file.products[0, 0, near], atol=1e-10
    )
    np.testing.assert_allclose(potential.embedding_energy("W", rho[thin]), file.embedding[0, thin], atol=5e-7)


@pytest.mark.parametrize("seed", range(3))
def test_alloy_of_five_elements_with_the_file_that_we_write(seed, tmp_path):
    path = str(tmp_path / "alloy.eam.alloy")
    analytic = zhou2004(ALLOY)
    analytic.to_setfl(path)
    atoms = _rattled(ALLOY, "fcc", 3.9, seed=seed)
    _compare(EAM.from_setfl(path), atoms, path, energy=1e-12, force=1e-11)
    # what is left is the interpolation of LAMMPS, mostly of the embedding energy near its joints
    _compare(analytic, atoms, path, energy=1e-6, force=1e-5)


def test_what_lammps_interpolates_converges_to_the_analytic_potential(tmp_path):
    """Away from the joints of the embedding energy the fourth power of the step is left."""
    atoms = _rattled(["Cu", "Ag"], "fcc", 3.85, rattle=0.05, seed=4)
    analytic = zhou2004(["Cu", "Ag"])
    errors = []
    for n in (1000, 4000):
        path = str(tmp_path / f"{n}.eam.alloy")
        analytic.to_setfl(path, n_distances=n, n_densities=n)
        difference = analytic(Structures.from_ase(atoms)).energies - _from_lammps(atoms, path)["energies"]
        errors.append(float(difference.abs().max()))
    assert errors[1] < 1e-8
    assert errors[1] < errors[0] / 30


def test_dense_alloy_beyond_the_last_joint(tmp_path):
    path = str(tmp_path / "dense.eam.alloy")
    analytic = zhou2004(["W", "Ag"])
    analytic.to_setfl(path, max_density=400.0, n_densities=20000)
    atoms = _rattled(["W", "Ag"], "fcc", 3.4, rattle=0.1, seed=5)
    _compare(analytic, atoms, path, energy=1e-6, force=1e-5)


@pytest.mark.parametrize("symbols", [["Fe", "Cr", "Mo"], ["Ti", "Zr", "Co"], ["Pt", "Pb", "Al"], ["Mg", "Ta", "W"]])
def test_the_other_elements(symbols, tmp_path):
    path = str(tmp_path / "alloy.eam.alloy")
    analytic = zhou2004(symbols)
    analytic.to_setfl(path)
    _compare(analytic, _rattled(symbols, "bcc", 3.3, seed=6), path, energy=1e-6, force=1e-5)
