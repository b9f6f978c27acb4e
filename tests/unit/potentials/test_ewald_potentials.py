"""Long-ranged potentials as users meet them: derivatives, batches, dynamics, alkali halides, bad input."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from matterscape import Structures
from matterscape.potentials import Evaluator
from matterscape.potentials.alkali_halides import fumi_tosi
from matterscape.potentials.constants import COULOMB
from matterscape.potentials.coulomb import Coulomb, Ionic, alkali_halide
from matterscape.potentials.ewald_parameters import Parameters
from matterscape.potentials.long_range import InversePower
from unit.potentials.ionic_systems import IONS, melt

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("method", ["ewald", "mesh"])
@pytest.mark.parametrize("exponent", [1, 6])
def test_forces_stress_and_charges_by_differences(method, exponent):
    atoms = melt(1)
    del atoms[0]
    charges = torch.tensor([1.0, -0.9, 1.1, -1.0, 0.3, -0.4, 0.8], dtype=torch.float64)
    options = {"force_error": 1e-4, "net_charge": "background", "prefactor": COULOMB}
    parameters = InversePower(charges, exponent, method=method, **options).parameters_for(Structures.from_ase(atoms))
    charges.requires_grad_()
    potential = InversePower(charges, exponent, parameters=parameters, **options)
    structures = Structures.from_ase(atoms).with_gradients(strain=True)
    result = potential(structures)
    result.energy.sum().backward()
    assert torch.allclose(structures.leaf_positions.grad, -result.forces, atol=1e-10)
    assert torch.allclose(structures.strain.grad, -result.virials, atol=1e-10)

    def energy(displacement=0.0, strain=0.0, charge=0.0):
        moved = atoms.copy()
        moved.positions += displacement
        moved.set_cell(moved.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
        return float(InversePower(charges.detach() + charge, exponent, parameters=parameters, **options)(
            Structures.from_ase(moved)).energy)  # fmt: skip

    rng, h = np.random.default_rng(0), 1e-5
    for name, gradient in (
        ("displacement", -result.forces),
        ("strain", structures.strain.grad[0]),
        ("charge", charges.grad),
    ):
        direction = rng.normal(size=gradient.shape)
        if name == "strain":  # pairs crossing the cut-off see the truncation: that is the requested error
            direction = direction + direction.T
        step = h * direction if name != "charge" else torch.from_numpy(h * direction)
        difference = (energy(**{name: step}) - energy(**{name: -step})) / (2 * h)
        expected = float((gradient.detach() * torch.from_numpy(direction)).sum())
        assert difference == pytest.approx(expected, rel=2e-3, abs=1e-4), name


def test_gradients_flow_through_forces_and_flux_tensors():
    structures = Structures.from_ase(melt(1)).with_gradients(strain=True)
    scale = torch.tensor(1.1, dtype=torch.float64, requires_grad=True)
    parameters = Parameters("ewald", 0.5, 7.0, 4.0)
    result = Coulomb({"Na": scale, "Cl": -1.1}, parameters=parameters, net_charge="background")(structures)
    loss = (result.forces**2).sum() + (result.flux_tensors**2).sum()
    (slope,) = torch.autograd.grad(loss, scale)
    h, losses = 1e-5, []
    for step in (h, -h):
        charges = {"Na": 1.1 + step, "Cl": -1.1}
        shifted = Coulomb(charges, parameters=parameters, net_charge="background")(Structures.from_ase(melt(1)))
        losses.append(float((shifted.forces**2).sum() + (shifted.flux_tensors**2).sum()))
    assert float(slope) == pytest.approx((losses[0] - losses[1]) / (2 * h), rel=1e-7)


@pytest.mark.parametrize("pbc", [True, (True, True, False), False])
def test_hessian_is_the_second_derivative(pbc):
    from dataclasses import replace

    atoms = melt(1)
    atoms.pbc = pbc
    structures = Structures.from_ase(atoms)
    potential = Coulomb(IONS, force_error=1e-5, method="ewald", cutoff=6.0, surface="vacuum")
    mine = potential.hessian(structures).dense()
    energy = lambda x: potential(replace(structures, positions=x)).energy.sum()  # noqa: E731
    expected = torch.autograd.functional.hessian(energy, structures.positions).reshape(24, 24).numpy()
    assert np.abs(mine - expected).max() < 1e-11
    assert np.abs(mine.reshape(24, 8, 3).sum(1)).max() < 1e-10


def test_batch_equals_its_structures():
    """Crystals, a slab and a molecule in one batch."""
    frames = [melt(1), melt(1, seed=2), melt(1, seed=3), melt(1, seed=4)]
    frames[1].pbc = (True, False, True)
    frames[2].pbc = False
    potential = Coulomb(IONS, force_error=1e-9, cutoff=8.0)
    together = potential(Structures.from_ase(frames))
    for value in ("energies", "forces", "flux_tensors"):
        alone = torch.cat([getattr(potential(Structures.from_ase(frame)), value) for frame in frames])
        assert torch.allclose(getattr(together, value), alone, atol=1e-7)


@pytest.mark.parametrize("method", ["ewald", "mesh"])
@pytest.mark.parametrize("make", [
    lambda method: Coulomb(IONS, method=method),
    lambda method: Coulomb(torch.tensor([1.0, -1.0] * 4, dtype=torch.float64), method=method),
    lambda method: InversePower({"Na": 1.0, "Cl": 2.0}, 6, prefactor=-1.0, method=method),
    lambda method: alkali_halide("NaCl", method=method),
])  # fmt: skip
@pytest.mark.parametrize("pbc", [True, (False, True, True), False])
def test_bound_equals_called(make, method, pbc):
    atoms = melt(1)
    atoms.pbc = pbc
    structures = Structures.from_ase(atoms)
    potential = make(method)
    if pbc == (False, True, True) and isinstance(potential, InversePower) and potential.exponent == 6:
        with pytest.raises(ValueError, match="not implemented"):
            potential(structures)
        return
    called = potential(structures)
    evaluator = Evaluator(potential, structures)
    evaluator(structures.positions.numpy(), structures.cells.numpy(), pieces=True)
    tolerance = 1e-9 if pbc in (True, False) else 1e-5  # a bound slab may have more vacuum
    assert np.allclose(evaluator.energies, called.energies, atol=tolerance)
    assert np.allclose(evaluator.forces, called.forces, atol=tolerance)
    assert np.allclose(evaluator.flux_tensors, called.flux_tensors, atol=tolerance)


def test_bound_follows_the_cell():
    structures = Structures.from_ase(melt(1))
    parameters = Coulomb(IONS).parameters_for(structures)
    potential = Coulomb(IONS, parameters=parameters)
    evaluator = Evaluator(potential, structures)
    positions, cells = structures.positions.numpy(), structures.cells.numpy()
    evaluator(positions, cells)
    evaluator(1.01 * positions, 1.01 * cells, pieces=True)
    grown = potential(
        Structures.from_ase(Atoms("NaCl" * 4, positions=1.01 * positions, cell=1.01 * cells[0], pbc=True))
    )
    assert np.allclose(evaluator.energies.sum(), float(grown.energy), atol=1e-4)
    assert np.allclose(evaluator.forces, grown.forces, atol=1e-3)


def test_float32():
    structures = Structures.from_ase(melt(1))
    potential = Coulomb(IONS, force_error=1e-3)
    single, double = potential(structures.to(dtype=torch.float32)), potential(structures)
    assert single.forces.dtype == torch.float32
    assert torch.allclose(single.forces.double(), double.forces, atol=2e-5)
    assert torch.allclose(single.energies.double(), double.energies, atol=2e-5)


@pytest.mark.parametrize(
    ("salt", "lattice_constant", "energy_kj_mol"),
    [("NaCl", 5.6180, -777.8), ("KCl", 6.2256, -708.4), ("LiCl", 5.0750, -844.7), ("CsF", 5.9602, -761.7)],
)
def test_lattice_table_of_the_alkali_halides(salt, lattice_constant, energy_kj_mol):
    potential = alkali_halide(salt, cutoff=30.0, force_error=1e-6)
    sides = lattice_constant + np.array([-0.02, 0.0, 0.02])
    batch = Structures.from_ase([bulk(salt, "rocksalt", a=side) for side in sides])
    curve = np.polyfit(sides - lattice_constant, potential(batch).energy.numpy(), 2)
    shift = -curve[1] / (2 * curve[0])
    assert abs(shift) < 1e-3
    assert (curve[2] + curve[1] * shift / 2) * 96.4853 == pytest.approx(energy_kj_mol, abs=0.2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Coulomb({"Na": 1.0, "Cl2": 1}), "'Cl2'; accepted are chemical symbols"),
        (lambda: Coulomb({"Na": float("nan")}), "finite number"),
        (lambda: Coulomb({}), "one finite number for each species"),
        (lambda: Coulomb(torch.ones(2, 2)), r"\(2, 2\).*\(n_atoms,\)"),
        (lambda: Coulomb(IONS, force_error=0.0), "force_error is 0.0; accepted is a positive number"),
        (lambda: Coulomb(IONS, relative_force_error=-1), "relative_force_error is -1"),
        (lambda: Coulomb(IONS, cutoff=float("inf")), "cutoff is inf"),
        (lambda: Coulomb(IONS, method="pppm"), "method is 'pppm'; accepted are 'auto', 'ewald', 'mesh'"),
        (lambda: Coulomb(IONS, net_charge="allow"), "net_charge is 'allow'.*'forbid', 'background'"),
        (lambda: Coulomb(IONS, surface="metal"), "surface is 'metal'.*'tin-foil', 'vacuum'"),
        (lambda: InversePower(IONS, 6, surface="vacuum"), "surface is 'vacuum' and the exponent 6"),
        (lambda: InversePower(IONS, 0), "exponent is 0; accepted are whole numbers from 1 to 9"),
        (lambda: InversePower(IONS, 6, prefactor=float("nan")), "prefactor is nan"),
        (lambda: Ionic(fumi_tosi("NaCl"), {"Na": 1.0}), "charges has none for Cl"),
        (lambda: alkali_halide("NaXe"), "NaXe"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_structures():
    crystal = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    with pytest.raises(
        ValueError, match="atom 0 of structure 0 is Na, which Coulomb has no parameters for; accepted are Cl"
    ):
        Coulomb({"Cl": 0.0})(Structures.from_ase(crystal))
    charged = crystal[:-1]
    for call in (Coulomb(IONS), lambda s: Evaluator(Coulomb(IONS), s)):
        with pytest.raises(
            ValueError, match="structure 0 is periodic and has the net charge 1; accepted are neutral cells"
        ):
            call(Structures.from_ase(charged))
    with pytest.raises(ValueError, match="net charge 1; accepted are neutral cells$"):
        InversePower(IONS, 3, net_charge="background")(Structures.from_ase(charged))
    with pytest.raises(ValueError, match="3 coefficients but 8 atoms"):
        Coulomb(torch.zeros(3))(Structures.from_ase(crystal))
    wire = crystal.copy()
    wire.pbc = (True, False, False)
    with pytest.raises(ValueError, match=r"structure 0 is periodic along \[True, False, False\]"):
        Coulomb(IONS)(Structures.from_ase(wire))
    molecule = crystal.copy()
    molecule.pbc = False
    with pytest.raises(ValueError, match="periodic along 0 and 3 directions"):
        Evaluator(Coulomb(IONS), Structures.from_ase([crystal, molecule]))
    overlapping = crystal.copy()
    overlapping.positions[1] = overlapping.positions[0] + [0.5, 0, 0]
    with pytest.raises(ValueError, match=r"\(atom [01]\) of structure 0 are 0.500 Å apart, closer than Fumi-Tosi NaCl"):
        alkali_halide("NaCl")(Structures.from_ase(overlapping))
