"""The parameters of Fumi and Tosi, and of Pedone."""

import numpy as np
import pytest
import torch
from ase import Atoms

from matterscape.potentials.alkali_halides import SALTS, fumi_tosi
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.silicates import pedone
from matterscape.structures import Structures

pytestmark = pytest.mark.unit

# per salt: rho, then ++, +-, -- of B, sums of sizes, C, D in eV and Å
TABLE = {
    "CsF": (0.282, (0.263704, 0.210963, 0.158222), (3.440, 2.899, 2.358),
            (94.8709, 32.4558, 11.9213), (173.5140, 48.6838, 14.3555)),
    "NaCl": (0.317, (0.263704, 0.210963, 0.158222), (2.340, 2.755, 3.170),
             (1.04857, 6.99049, 72.4015), (0.49932, 8.67570, 145.4272)),
    "KCl": (0.337, (0.263704, 0.210963, 0.158222), (2.926, 3.048, 3.170),
            (15.1669, 29.9592, 77.7068), (14.9796, 45.5630, 156.0377)),
    "LiCl": (0.342, (0.421926, 0.290074, 0.158222), (1.632, 2.401, 3.170),
             (0.045563, 1.24830, 69.2808), (0.018725, 1.49796, 139.1857)),
}  # fmt: skip


@pytest.mark.parametrize("salt", TABLE)
def test_curves_from_the_printed_numbers(salt):
    potential = fumi_tosi(salt, cutoff=12.0)
    cation, anion = potential.symbols
    assert potential.charges == {cation: 1.0, anion: -1.0}
    rho, *columns = TABLE[salt]
    r = np.linspace(1.5, 8.0, 30)
    for (a, b), (prefactor, size, c, d) in zip(((cation, cation), (cation, anion), (anion, anion)), zip(*columns)):
        expected = prefactor * np.exp((size - r) / rho) - c / r**6 - d / r**8
        own = potential.pair_energy(a, b, torch.from_numpy(r)).numpy()
        scale = prefactor * np.exp((size - r) / rho) + c / r**6 + d / r**8
        assert np.all(np.abs(own - expected) < 3e-5 * scale)  # six digits are printed


@pytest.mark.parametrize(("salt", "distance"), [("NaCl", 0.94), ("KCl", 1.16), ("LiCl", 0.89), ("CsF", 0.99)])
def test_inner_turning_points(salt, distance):
    potential = fumi_tosi(salt).with_coulomb(alpha=0.3, cutoff=9.0)
    cation, anion = potential.symbols
    closest = potential.closest_distance(cation, anion)
    assert closest == pytest.approx(distance, abs=0.005)
    r = torch.tensor([closest - 1e-3, closest, closest + 1e-3], dtype=torch.float64)
    whole = fumi_tosi(salt).pair_energy(cation, anion, r) - COULOMB / r
    assert whole[1] > whole[0]
    assert whole[1] > whole[2]


def test_the_barrier_of_lithium_chloride_is_low():
    potential = fumi_tosi("LiCl")
    r = torch.tensor([potential.closest_distance("Li", "Cl")], dtype=torch.float64)
    assert float(potential.pair_energy("Li", "Cl", r) - COULOMB / r) == pytest.approx(1.6, abs=0.05)


def test_every_salt_binds_at_a_sensible_distance():
    r = torch.linspace(1.3, 5.0, 800, dtype=torch.float64)
    minima = {}
    for salt in SALTS:
        potential = fumi_tosi(salt)
        energies = potential.pair_energy(*potential.symbols, r) - COULOMB / r
        outside = r > potential.closest_distance(*potential.symbols) + 0.2
        minima[salt] = float(r[outside][energies[outside].argmin()])
    for anion in ("F", "Cl", "Br", "I"):  # larger cations, longer molecules
        lengths = [minima[cation + anion] for cation in ("Li", "Na", "K", "Rb")]
        assert lengths == sorted(lengths)
    assert all(1.3 < length < 3.3 for length in minima.values())


def test_unknown_salts_and_species():
    with pytest.raises(ValueError, match="salt is 'CsCl'; accepted are LiF, LiCl"):
        fumi_tosi("CsCl")
    with pytest.raises(ValueError, match="species has 'Al'; accepted are Li, Na, Ca, Si, O"):
        pedone(("Al", "O"))


def test_pedone_cations_feel_their_charges_only():
    potential = pedone(("Li", "Na", "Ca", "Si", "O"))
    assert potential.cutoff == 8.0
    interacting = {pair for pair, forms in potential.forms.items() if "Morse" in forms}
    assert interacting == {tuple(sorted((symbol, "O"))) for symbol in ("Li", "Na", "Ca", "Si", "O")}
    assert all("Coulomb" in forms for forms in potential.forms.values())
    for pair, charge in ((("Si", "Si"), 2.4 * 2.4), (("Li", "Si"), 0.6 * 2.4)):
        assert potential.forms[pair]["Coulomb"][3] == pytest.approx(COULOMB * charge)


def test_pedone_keeps_silica_apart():
    """Beyond 5.5 Å only the charges act, and an isolated Si-O pair is bound."""
    potential = pedone(("Si", "O"))
    r = torch.linspace(1.0, 3.0, 400, dtype=torch.float64)
    assert 1.2 < float(r[potential.pair_energy("Si", "O", r).argmin()]) < 1.7
    neutral = Structures.from_ase(Atoms("SiO2", positions=[[0, 0, 0], [1.6, 0, 0], [-1.6, 0, 0]]))
    assert float(potential(neutral).energy) < 0
