"""``matterscape conductivity``: one file in, conductivities out, one sentence for every mistake."""

import json

import numpy as np
import pytest

from matterscape.cli import main
from matterscape.transport.currents import Currents
from matterscape.transport.onsager import electrical_conductivity, thermal_conductivity
from matterscape.transport.synthetic import spectral_matrix, synthetic_currents

pytestmark = pytest.mark.unit

CONDITIONS = {"timestep_fs": 5.0, "temperature_K": 1400.0, "volume": 65000.0}
GIVEN = ("--timestep", "5", "--temperature", "1400", "--volume", "65000")


@pytest.fixture(scope="module")
def salt():
    matrix = spectral_matrix(
        lambda f: 4000 / (1 + (f / 5) ** 2) ** 2 + 1e-2,
        lambda f: 20 * np.exp(-0.5 * ((f - 6) / 4) ** 2) + 1e-3,
        lambda f: 0.8 / (1 + (f / 10) ** 2),
    )
    return synthetic_currents(matrix, ("energy", "charge"), n_samples=4000, seed=1, **CONDITIONS)


@pytest.fixture
def path(salt, tmp_path):
    rows = salt.values[:, 0].reshape(6, -1).T
    path = tmp_path / "own.dat"
    np.savetxt(path, rows, fmt="%.17g", header="Jx Jy Jz Jcx Jcy Jcz")
    return path


@pytest.fixture
def run(capfd):
    def run(*arguments):
        status = main([str(argument) for argument in ("conductivity", *arguments)])
        output = capfd.readouterr()
        return status, output.out, output.err

    return run


@pytest.fixture
def fails(run):
    def fails(*arguments):
        status, out, err = run(*arguments)
        assert status == 1 and out == "" and err.count("\n") == 1 and err.startswith("matterscape: ")
        return err

    return fails


def test_numbers_are_those_of_the_package(run, path, salt):
    status, out, err = run(path, *GIVEN, "--cutoff", 20, "--json")
    assert status == 0 and "note: own.dat: energy current guessed to be J" in err
    both, alone, sigma = json.loads(out)
    for row, expected in (
        (both, thermal_conductivity(salt, 20)),
        (alone, thermal_conductivity(salt.select("energy"), 20)),
        (sigma, electrical_conductivity(salt, 20)),
    ):
        assert row["value"] == pytest.approx(expected.value, rel=1e-9)
        assert row["error"] == pytest.approx(expected.error, rel=1e-9)
        assert (row["unit"], row["n_coefficients"]) == (expected.unit, expected.n_coefficients)
        assert row["cutoff_THz"] == 20.0 and row["degrees_of_freedom"] == expected.degrees_of_freedom
    assert [row["quantity"] for row in (both, alone, sigma)] == [
        "kappa, no charge current", "kappa, energy current alone", "sigma"
    ]  # fmt: skip


def test_a_table_for_people(run, path):
    chosen = ("--current", "energy=0,1,2", "--factor", "energy=2", "--units", "metal", "--coefficients", 7)
    status, out, err = run(path, *GIVEN, *chosen, "--stop", 10)
    lines = out.splitlines()
    assert status == 0 and err == "" and len(lines) == 3
    assert lines[0].startswith("Currents energy (eV Å/ps): 1 x 3 x 2000 samples every 5 fs, 1400 K")
    assert lines[1].split() == ["value", "error", "unit", "f*", "/", "THz", "K*", "nu"]
    assert lines[2].startswith("kappa, energy current alone") and lines[2].split()[-2:] == ["7", "3"]


def test_data_set_by_name(run, dataset):
    currents = dataset("nacl-currents")
    status, out, _ = run("nacl-currents", "--cutoff", 14.7, "--json")
    both = json.loads(out)[0]
    assert status == 0 and both["value"] == pytest.approx(thermal_conductivity(currents, 14.7).value)
    assert abs(both["value"] - 0.49) < 3 * both["error"]  # what is published of this melt and model


def test_saved_currents(run, salt, tmp_path):
    salt.save(tmp_path / "saved.npz")
    status, out, err = run(tmp_path / "saved.npz")
    assert status == 0 and err == "" and "sigma" in out


def test_mistakes(fails, path, salt, tmp_path):
    assert "does not say how much time lies between its rows; give timestep_fs" in fails(path)
    assert "there is no file" in fails(tmp_path / "nowhere.dat")
    assert "--current is 'energy'; accepted is NAME=" in fails(path, "--current", "energy")
    assert "--factor is 'two'; accepted is a number" in fails(path, "--factor", "energy=two")
    assert "--run is 'second'; accepted is a whole number, or all" in fails(path, "--run", "second")
    assert "no column 'c_flux' for the current 'energy'" in fails(path, *GIVEN, "--current", "energy=c_flux")
    assert "accepted is at most the Nyquist frequency 100 THz" in fails(path, *GIVEN, "--cutoff", 300)
    assert "is a data set of the kind 'structures'" in fails("water-dft-val")
    assert "which says everything itself; volume can't be given" in fails("nacl-currents", "--volume", 3)
    Currents(salt.values[1:], ["Na"], kinds=["number"], **CONDITIONS).save(tmp_path / "number.npz")
    assert "currents are number; a conductivity needs one" in fails(tmp_path / "number.npz")
    path.write_text("Jx Jy Jz\n1 2 3\n4 5\n6 7 8\n")
    assert "own.dat, line 3 has 2 columns; the others have 3" in fails(path)
