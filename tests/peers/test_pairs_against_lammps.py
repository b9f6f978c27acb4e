"""Pair potentials against LAMMPS: energies, forces, per-atom energies and virials, heat flux."""

import math

import ase.build
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.neighborlist import neighbor_list
from scipy.special import erfc

from lammps_results import lammps_results
from matterscape.benchmarks.lammps_peer import ANGSTROM_PER_PS
from matterscape.potentials.alkali_halides import fumi_tosi
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.lennard_jones import LennardJones
from matterscape.potentials.pair import PairPotential
from matterscape.potentials.short_range import BornMayerHuggins, Buckingham, Morse, ZieglerBiersackLittmark
from matterscape.potentials.silicates import CHARGES, pedone
from matterscape.structures import Structures

pytestmark = pytest.mark.peers

# constants of LAMMPS' metal units: e^2 / (4 pi eps0), eV in amu (Å/ps)^2
LAMMPS_COULOMB, LAMMPS_KINETIC = 14.399645, 1.0364269e-4
CHARGE_SCALE = math.sqrt(COULOMB / LAMMPS_COULOMB)
PAIRS = [("Na", "Na"), ("Na", "Cl"), ("Cl", "Cl")]
IONS = {"Na": 1.0, "Cl": -1.0}
CUT = 6.2


def salt(*, rattle: float = 0.25) -> Atoms:
    """Disordered rock salt, smaller than twice the cut-off, with velocities."""
    atoms = ase.build.bulk("NaCl", "rocksalt", a=5.7, cubic=True) * (2, 2, 2)
    atoms.rattle(rattle, seed=3)
    atoms.set_velocities(np.random.default_rng(4).normal(size=(len(atoms), 3)) * 0.02)
    return atoms


def excess_of_lammps_erfc(atoms: Atoms, charges: dict[str, float], alpha: float, cutoff: float) -> dict:
    """What LAMMPS adds by its polynomial for erfc (Abramowitz and Stegun 7.1.26, accurate to 1.5e-7)."""
    i, j, r, vectors = neighbor_list("ijdD", atoms, cutoff)
    t = 1 / (1 + 0.3275911 * alpha * r)
    series = np.polyval([1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592, 0.0], t)
    error = series * np.exp(-((alpha * r) ** 2)) - erfc(alpha * r)
    q = np.array([charges[symbol] for symbol in atoms.symbols])
    energies = 0.5 * COULOMB * q[i] * q[j] * error / r
    on_i = -2 * energies[:, None] * vectors / r[:, None] ** 2
    return {
        "energy": energies.sum(),
        "energies": np.bincount(i, energies),
        "forces": np.stack([np.bincount(i, component) for component in on_i.T], axis=1),
    }


def compare(
    potential: PairPotential,
    atoms: Atoms,
    commands: list[str],
    *,
    charges: dict[str, float] | None = None,
    tolerance: float = 1e-8,
    scale: float = 1.0,
    screening: tuple[float, float] | None = None,
) -> None:
    """``scale`` multiplies the own results; ``screening`` is (alpha, cutoff) where LAMMPS approximates erfc."""
    scaled = None if charges is None else {symbol: CHARGE_SCALE * charge for symbol, charge in charges.items()}
    peer = lammps_results(atoms, commands, charges=scaled)
    if screening is not None:
        for name, excess in excess_of_lammps_erfc(atoms, charges, *screening).items():
            peer[name] = peer[name] - excess
    own = potential(Structures.from_ase(atoms))
    velocities = torch.from_numpy(atoms.get_velocities())
    kinetic = LAMMPS_KINETIC * ANGSTROM_PER_PS**2
    flux = own.heat_flux(velocities, torch.from_numpy(atoms.get_masses()) * kinetic)[0] * 1000 * units.fs
    pairs = {
        "energies": scale * own.energies,
        "forces": scale * own.forces,
    }
    if screening is None:
        pairs["tensors"] = scale * own.flux_tensors
    assert abs(scale * float(own.energy) - peer["energy"]) < tolerance * abs(peer["energy"])
    for name, values in pairs.items():
        assert np.abs(values.numpy() - peer[name]).max() < tolerance * np.abs(peer[name]).max(), name
    if scale == 1.0 and screening is None:
        assert np.abs(flux.numpy() - peer["flux"]).max() < tolerance * np.abs(peer["flux"]).max()


def coefficients(values, style: str = "") -> list[str]:
    """LAMMPS numbers its types by atomic number: Na 1, Cl 2."""
    return [
        f"pair_coeff {i} {j} {style} " + " ".join(f"{number:.17g}" for number in row)
        for (i, j), row in zip([(1, 1), (1, 2), (2, 2)], values)
    ]


LJ = [(0.010, 2.6), (0.025, 2.5), (0.015, 3.4)]
MORSE = [(0.1, 1.3, 3.4), (0.4, 1.6, 2.7), (0.2, 1.1, 3.9)]
BUCK = [(420.0, 0.31, 2.0), (1250.0, 0.317, 8.0), (3400.0, 0.32, 70.0)]


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize(
    ("form", "style", "values"),
    [(LennardJones, "lj/cut", LJ), (Morse, "morse", MORSE), (Buckingham, "buck", BUCK)],
)
def test_simple_forms(form, style, values, shift):
    potential = form(dict(zip(PAIRS, values)), CUT, shift=shift)
    modify = [f"pair_modify shift {'yes' if shift else 'no'}"]
    compare(potential, salt(), [f"pair_style {style} {CUT}", *coefficients(values), *modify], tolerance=1e-11)


def test_heat_flux_of_lennard_jones_at_one_species():
    atoms = ase.build.bulk("Ar", "fcc", a=5.3, cubic=True) * (3, 3, 3)
    atoms.rattle(0.2, seed=1)
    atoms.set_velocities(np.random.default_rng(2).normal(size=(len(atoms), 3)) * 0.01)
    potential = LennardJones({("Ar", "Ar"): (0.0103, 3.4)}, 8.5)
    compare(potential, atoms, ["pair_style lj/cut 8.5", "pair_coeff 1 1 0.0103 3.4"], tolerance=1e-10)


@pytest.mark.parametrize(("mixing", "rule"), [("lorentz-berthelot", "arithmetic"), ("geometric", "geometric")])
def test_mixing_rules(mixing, rule):
    table = {("Na", "Na"): LJ[0], ("Cl", "Cl"): LJ[2]}
    commands = [f"pair_style lj/cut {CUT}", f"pair_modify mix {rule}", "pair_coeff 1 1 0.010 2.6",
                "pair_coeff 2 2 0.015 3.4"]  # fmt: skip
    compare(LennardJones(table, CUT, mixing=mixing), salt(), commands, tolerance=1e-11)


def fumi_tosi_table(salt_name: str) -> list[tuple[float, ...]]:
    """What LAMMPS' born styles want: A, rho, sigma, C and minus D."""
    forms = fumi_tosi(salt_name)
    rows = []
    for pair in PAIRS:
        _, _, _, a, rate, c, d = forms.forms[tuple(sorted(pair))]["Born-Mayer"]
        rows.append((a, 1 / rate, 0.0, c, -d))
    return rows


def test_born_mayer_huggins():
    values = [(0.264, 0.317, 2.34, 1.05, 0.5), (0.211, 0.317, 2.755, 7.0, 8.7), (0.158, 0.317, 3.17, 72.4, 145.0)]
    commands = [f"pair_style born {CUT}", *coefficients([(*row[:4], -row[4]) for row in values])]
    compare(BornMayerHuggins(dict(zip(PAIRS, values)), CUT), salt(), commands, tolerance=1e-11)


def test_ziegler_biersack_littmark():
    commands = ["pair_style zbl 2.2 3.9", "pair_coeff 1 1 11 11", "pair_coeff 1 2 11 17", "pair_coeff 2 2 17 17"]
    potential = ZieglerBiersackLittmark(("Na", "Cl"), inner=2.2, outer=3.9)
    compare(potential, salt(), commands, tolerance=1e-11, scale=LAMMPS_COULOMB / COULOMB)


def test_fumi_tosi_with_damped_shifted_coulomb():
    potential = fumi_tosi("NaCl", cutoff=CUT).with_damped_shifted_coulomb(alpha=0.25, cutoff=7.1)
    born = coefficients(fumi_tosi_table("NaCl"), "born")
    commands = [f"pair_style hybrid/overlay born {CUT} coul/dsf 0.25 7.1", *born, "pair_coeff * * coul/dsf"]
    compare(potential, salt(), commands, charges=IONS, screening=(0.25, 7.1))


def test_undamped_shifted_coulomb():
    """Without damping LAMMPS' erfc is 1 to nine digits, and everything can be compared."""
    potential = fumi_tosi("NaCl", cutoff=CUT).with_damped_shifted_coulomb(alpha=0.0, cutoff=7.1)
    commands = [f"pair_style born/coul/dsf 0.0 {CUT} 7.1", *coefficients(fumi_tosi_table("NaCl"))]
    compare(potential, salt(), commands, charges=IONS)


def test_bare_truncated_coulomb_with_buckingham():
    potential = Buckingham(dict(zip(PAIRS, BUCK)), CUT).with_coulomb(IONS, alpha=0.0, cutoff=7.1)
    commands = [f"pair_style buck/coul/cut {CUT} 7.1", *coefficients(BUCK)]
    compare(potential, salt(), commands, charges=IONS)


def test_real_space_of_an_ewald_sum():
    alpha = 0.31
    potential = Buckingham(dict(zip(PAIRS, BUCK)), CUT).with_coulomb(IONS, alpha=alpha, cutoff=7.1)
    commands = [
        f"pair_style buck/coul/long {CUT} 7.1", *coefficients(BUCK), "pair_modify table 0", "kspace_style ewald 1e-4",
        f"kspace_modify gewald {alpha} compute no",
    ]  # fmt: skip
    compare(potential, salt(), commands, charges=IONS, screening=(alpha, 7.1))


@pytest.mark.parametrize("damped", [False, True])
def test_pedone(damped):
    atoms = salt(rattle=0.2)
    atoms.symbols = ["O" if k % 2 else ("Li", "Si")[(k // 2) % 3 == 0] for k in range(len(atoms))]
    morse = [  # Li, O, Si
        "pair_coeff 1 2 pedone 0.001114 3.429506 2.681360 1.0", "pair_coeff 2 2 pedone 0.042395 1.379316 3.618701 22.0",
        "pair_coeff 2 3 pedone 0.340554 2.006700 2.100000 1.0",
    ]  # fmt: skip
    alpha = 0.25 if damped else 0.0
    commands = [f"pair_style hybrid/overlay pedone 5.5 coul/dsf {alpha} 8.0", "pair_coeff * * coul/dsf", *morse]
    potential = pedone(("Li", "Si", "O"), cutoff=5.5, alpha=alpha, coulomb_cutoff=8.0)
    compare(potential, atoms, commands, charges=CHARGES, screening=(alpha, 8.0) if damped else None)
