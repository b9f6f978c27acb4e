"""The container of currents: what it accepts, what its parts are, and that it never touches a mean."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk

from matterscape import Structures
from matterscape.dynamics import Langevin, Simulation, StochasticVelocityRescaling, VelocityVerlet
from matterscape.potentials.coulomb import alkali_halide
from matterscape.transport import Currents, MomentumWarning

pytestmark = pytest.mark.unit

CONDITIONS = {"timestep_fs": 5.0, "temperature_K": 1000.0, "volume": 2000.0}


def currents(m: int = 2, r: int = 3, n: int = 40, **changes) -> Currents:
    values = np.random.default_rng(0).normal(size=(m, r, 3, n))
    return Currents(values, ["energy", "charge", "mass"][:m], **(CONDITIONS | changes))


def test_shapes_units_and_times():
    made = currents()
    assert (made.n_currents, made.n_segments, made.n_components, made.n_samples) == (2, 3, 3, 40)
    assert made.units == ("eV Å/ps", "e Å/ps")
    assert made.duration_ps == pytest.approx(0.2) and made.nyquist_THz == pytest.approx(100.0)
    assert Currents(made.values[:, 0], made.names, **CONDITIONS).n_segments == 1
    assert Currents(made.values.astype(np.float32), made.names, **CONDITIONS).values.dtype == np.float32


def test_values_keep_their_means():
    values = np.random.default_rng(1).normal(3.0, 1.0, size=(1, 1, 3, 100))
    assert np.array_equal(Currents(values, ["energy"], **CONDITIONS)["energy"], values[0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_subtracted_mean_is_refused(dtype):
    values = np.random.default_rng(1).normal(3.0, 1.0, size=(2, 1, 3, 1000))
    values[1] -= values[1].mean(axis=-1, keepdims=True)
    with pytest.raises(ValueError, match="time mean of current 'charge' has been subtracted"):
        Currents(values.astype(dtype), ["energy", "charge"], **CONDITIONS)


def test_parts_and_combinations():
    made = currents()
    assert made.select("charge").names == ("charge",) and made.select("charge", "energy").kinds == ("charge", "energy")
    shifted = made.shifted("energy", "charge", -2.5)
    assert np.array_equal(shifted["energy"], made["energy"] - 2.5 * made["charge"])
    assert np.array_equal(shifted["charge"], made["charge"])
    assert np.array_equal(made.window(0.05, 0.15).values, made.values[..., 10:30])
    parts = made.split(4)
    assert parts.n_segments == 12 and np.array_equal(parts.values[:, 5], made.values[:, 1, :, 10:20])
    strided = made.strided(4)
    assert strided.timestep_fs == 20 and np.array_equal(strided.values, made.values[..., ::4])
    assert np.array_equal(made.components(2)["energy"], made["energy"][:, 2:])
    mass = np.random.default_rng(2).normal(size=made.values.shape[1:])
    assert currents(1).with_current("flow", "mass", mass).units[1] == "amu Å/ps"


def test_the_frame_of_the_centre_of_mass():
    made = currents(3)
    velocity = np.random.default_rng(4).normal(size=made.values.shape[1:])
    seen = made.from_centre_of_mass(velocity, {"energy": -3.5, "mass": 20.0})
    assert np.array_equal(seen["energy"], made["energy"] + 3.5 * velocity)
    assert np.array_equal(seen["charge"], made["charge"])
    # the mass current is the momentum, of which nothing is left
    momentum = currents(2).with_current("mass", "mass", 20.0 * velocity).from_centre_of_mass(velocity, {"mass": 20.0})
    assert not momentum["mass"].any()
    one = made.from_centre_of_mass(velocity[0], {"charge": 1.0})
    assert np.array_equal(one["charge"], made["charge"] - velocity[0])


def test_a_crystal_that_flies_carries_its_enthalpy():
    atoms, velocity = bulk("NaCl", "rocksalt", a=5.3, cubic=True) * 2, np.array([2.0, -1.0, 0.5])  # Å/ps
    simulation = Simulation(
        atoms,
        alkali_halide("NaCl", cutoff=5.0),
        integrator=VelocityVerlet(),
        timestep_fs=1.0,
        velocities=np.tile(velocity / (1000 * units.fs), (len(atoms), 1)),
    )
    for name in ("heat_flux", "species_flux", "temperature_K"):
        simulation.record(name, every=1)
    simulation.run(5, show_progress=False)
    with pytest.warns(MomentumWarning):
        made = Currents.from_records(simulation, {"energy": "heat_flux", "Na": "species_flux:Na"})
    at_rest = alkali_halide("NaCl", cutoff=5.0)(Structures.from_ase(atoms))
    work = float(at_rest.flux_tensors.sum(0).diagonal().mean())  # P V, whatever way the momentum goes
    assert work > 10
    flying = np.tile(velocity[:, None], made.n_samples)
    seen = made.from_centre_of_mass(flying, {"energy": float(simulation.total_energy[0]) + work, "Na": 32})
    assert np.abs(seen["Na"]).max() < 1e-9
    assert np.abs(seen["energy"]).max() < 1e-6 * np.abs(made["energy"]).max()


def test_joining_runs_is_the_inverse_of_taking_them_apart():
    made = currents()
    runs = [Currents(made.values[:, k], made.names, **CONDITIONS) for k in range(3)]
    assert np.array_equal(Currents.join(runs).values, made.values)
    hotter = Currents(made.values, made.names, **(CONDITIONS | {"temperature_K": 1040.0}))
    assert Currents.join([runs[0], hotter]).temperature_K == pytest.approx(1030.0)


def test_files_bring_everything_back(tmp_path):
    made = currents()
    made.save(tmp_path / "currents.npz")
    again = Currents.load(tmp_path / "currents.npz")
    assert np.array_equal(again.values, made.values) and again.values.dtype == made.values.dtype
    assert repr(again) == repr(made)
    np.savez(tmp_path / "other.npz", values=made.values)
    with pytest.raises(ValueError, match="lacks kinds, names, temperature_K, timestep_fs, volume"):
        Currents.load(tmp_path / "other.npz")


def test_records_of_a_simulation_are_converted():
    atoms = bulk("NaCl", "rocksalt", a=5.7, cubic=True) * 2
    simulation = Simulation(
        [atoms, atoms],
        alkali_halide("NaCl", cutoff=5.5),
        integrator=StochasticVelocityRescaling(1000.0),
        timestep_fs=2.0,
        charges=np.tile(np.where(atoms.numbers == 11, 1.0, -1.0), 2),
    )
    for name in ("heat_flux", "charge_flux", "species_flux", "temperature_K"):
        simulation.record(name, every=5)
    simulation.run(40, show_progress=False)
    made = Currents.from_records(simulation, structure=1)
    per_ps = 1000 * units.fs
    assert made.names == ("energy", "charge") and made.timestep_fs == 10
    assert np.allclose(made["energy"][0].T, simulation.records["heat_flux"].values[:, 1] * per_ps)
    assert made.temperature_K == pytest.approx(simulation.records["temperature_K"].values[:, 1].mean())
    assert made.volume == pytest.approx(atoms.get_volume())
    ions = Currents.from_records(simulation, {"cations": "species_flux:Na", "anions": "species_flux:Cl"}, structure=1)
    assert ions.kinds == ("number", "number")
    assert np.allclose(ions["cations"] - ions["anions"], made["charge"])
    with pytest.raises(ValueError, match="'species_flux:K', an element that does not occur"):
        Currents.from_records(simulation, {"potassium": "species_flux:K"})
    with pytest.raises(ValueError, match="read from 'positions'"):
        Currents.from_records(simulation, {"energy": "positions"})


@pytest.mark.parametrize("conserved", [True, False])
def test_a_moving_centre_of_mass_is_told(conserved, recwarn):
    atoms = bulk("NaCl", "rocksalt", a=5.7, cubic=True) * 2
    bath = StochasticVelocityRescaling(1000.0) if conserved else Langevin(1000.0, friction_per_ps=50.0)
    charges = np.where(atoms.numbers == 11, 1.0, -1.0)
    simulation = Simulation(atoms, alkali_halide("NaCl", cutoff=5.5), integrator=bath, timestep_fs=2.0, charges=charges)
    simulation.record("heat_flux")
    simulation.record("charge_flux")
    simulation.run(10, show_progress=False)
    Currents.from_records(simulation, {"charge": "charge_flux"}, temperature_K=1000.0)  # neutral: does not matter
    assert not [one for one in recwarn if one.category is MomentumWarning]
    Currents.from_records(simulation, temperature_K=1000.0)
    assert bool([one for one in recwarn if one.category is MomentumWarning]) is not conserved


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timestep_fs": 0.0}, "timestep_fs is 0.0; accepted is a positive number of fs"),
        ({"temperature_K": -3}, "temperature_K is -3"),
        ({"volume": np.nan}, "volume is nan"),
        ({"kinds": ("energy", "heat")}, "kinds are .*'heat'.*accepted is one of energy, charge, number, mass"),
    ],
)
def test_bad_conditions_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        currents(**changes)


def test_bad_samples_are_named():
    values = np.random.default_rng(0).normal(size=(2, 1, 3, 50))
    broken = values.copy()
    broken[1, 0, 2, 17] = np.nan
    with pytest.raises(ValueError, match=r"current 'charge' is nan at sample 17 of component 2 in segment 0"):
        Currents(broken, ["energy", "charge"], **CONDITIONS)
    broken = values.copy()
    broken[0, 0, 1] = 0
    with pytest.raises(ValueError, match="current 'energy' vanishes throughout component 1"):
        Currents(broken, ["energy", "charge"], **CONDITIONS)
    with pytest.raises(ValueError, match="names are .* accepted are 2 different names"):
        Currents(values, ["energy", "energy"], **CONDITIONS)
    with pytest.raises(ValueError, match="values have shape"):
        Currents(values[0, 0], ["energy"], **CONDITIONS)
    with pytest.raises(ValueError, match="ragged"):
        Currents([[1.0, 2.0], [1.0]], ["energy", "charge"], **CONDITIONS)
    with pytest.raises(TypeError, match="complex128; accepted are real numbers"):
        Currents(values + 1j, ["energy", "charge"], **CONDITIONS)


def test_bad_parts_are_named():
    made = currents()
    for call, message in (
        (lambda: made["heat"], "no current 'heat'; accepted are energy, charge"),
        (lambda: made.select(), "names are empty"),
        (lambda: made.shifted("energy", "energy", 1.0), "other is 'energy'"),
        (lambda: made.shifted("energy", "charge", "much"), "coefficient is 'much'"),
        (lambda: made.window(0.1, 0.3), "start_ps is 0.1 and stop_ps is 0.3"),
        (lambda: made.split(30), "n_segments is 30; accepted is at most 20"),
        (lambda: made.strided(0), "every is 0"),
        (lambda: made.components(3), "component is 3"),
        (lambda: made.with_current("flow", "mass", np.ones(4)), "the shape of values is"),
        (lambda: made.from_centre_of_mass(np.ones(4), {"energy": 1.0}), "the shape of velocity is"),
        (lambda: made.from_centre_of_mass(made["energy"] * np.nan, {"energy": 1.0}), "velocity has samples"),
        (lambda: made.from_centre_of_mass(made["energy"], {"heat": 1.0}), "no current 'heat'"),
        (lambda: made.from_centre_of_mass(made["energy"], {"energy": np.inf}), r"carried\['energy'\] is inf"),
        (lambda: Currents.join([]), "runs are empty"),
        (lambda: Currents.join([made, made.strided(2)]), "run 1 has n_samples 20, run 0 has 40"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
