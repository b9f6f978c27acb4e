"""ConductivityView and CurrentsUpload without a browser."""

import datetime
import json

import numpy as np
import pytest

from matterscape.transport.currents import Currents
from matterscape.transport.onsager import electrical_conductivity, thermal_conductivity
from matterscape.transport.synthetic import spectral_matrix, synthetic_currents
from matterscape_widgets.conductivity_analysis import PIECE, PIECES, Analysis, Shift
from matterscape_widgets.conductivity_view import ConductivityView, plus_minus
from matterscape_widgets.currents_upload import CurrentsUpload

pytestmark = pytest.mark.unit

CONDITIONS = {"timestep_fs": 5.0, "temperature_K": 1400.0, "volume": 65000.0}


@pytest.fixture(scope="module")
def salt():
    matrix = spectral_matrix(
        lambda f: 4000 / (1 + (f / 5) ** 2) ** 2 + 1e-2,
        lambda f: 20 * np.exp(-0.5 * ((f - 6) / 4) ** 2) + 1e-3,
        lambda f: 0.8 / (1 + (f / 10) ** 2),
    )
    return synthetic_currents(matrix, ("energy", "charge"), n_samples=6000, n_segments=2, seed=1, **CONDITIONS)


@pytest.fixture
def view(salt):
    return ConductivityView(salt)


def cutoff(view):
    return view.controls["cutoff"].value


# -- the view ----------------------------------------------------------------------------------------------------------


def test_shows_what_the_package_computes(view, salt):
    expected = thermal_conductivity(salt, cutoff(view))
    assert view.conductivity.value == pytest.approx(expected.value, rel=1e-12)
    assert view.conductivity.error == pytest.approx(expected.error, rel=1e-12)
    assert view.conductivity.n_coefficients == expected.n_coefficients == view.controls["n_coefficients"].value
    assert view.readouts["Conductivity"].text == plus_minus(expected.value, expected.error)
    alone = thermal_conductivity(salt.select("energy"), cutoff(view))
    assert view.readouts["… one current"].text == plus_minus(alone.value, alone.error)
    assert "Akaike" in view.readouts["Coefficients"].text and view.readouts["Conductivity"].unit == "W/(m K)"


@pytest.mark.filterwarnings("ignore::matterscape.transport.spectra.SpectrumWarning")
def test_every_control_reaches_the_number(view, salt):
    for position in (3, -1):
        view.controls["cutoff"].value = view.controls["cutoff"].options[position][1]
        assert view.conductivity.value == pytest.approx(thermal_conductivity(salt, cutoff(view)).value, rel=1e-12)
    view.controls["cutoff"].value = view.controls["cutoff"].options[-4][1]
    view.controls["n_coefficients"].value = 9
    assert not view.controls["akaike"].value
    expected = thermal_conductivity(salt, cutoff(view), n_coefficients=9)
    assert (view.conductivity.value, view.conductivity.error) == pytest.approx((expected.value, expected.error))
    view.controls["used"].value = (5.0, 20.0)
    expected = thermal_conductivity(salt.window(5, 20), cutoff(view), n_coefficients=9)
    assert view.conductivity.value == pytest.approx(expected.value, rel=1e-12)
    view.controls["segment"].value = 1
    one = Currents(salt.values[:, [1]], salt.names, **CONDITIONS).window(5, 20)
    expected = thermal_conductivity(one, cutoff(view), n_coefficients=9)
    assert view.conductivity.value == pytest.approx(expected.value, rel=1e-12)
    view.taking_part["charge"].value = False
    view.controls["component"].value = 2
    expected = thermal_conductivity(one.select("energy").components(2), cutoff(view), n_coefficients=9)
    assert view.conductivity.value == pytest.approx(expected.value, rel=1e-12)
    view.controls["akaike"].value = True
    assert view.conductivity.n_coefficients == view.conductivity.cepstral.best_n_coefficients


def test_a_shift_moves_one_current_and_not_two(view, salt):
    before = view.conductivity.value
    shift = view.controls["shift"]
    alone = []
    for value in (shift.max / 2, -shift.max / 2):
        shift.value = value
        assert view.conductivity.value == pytest.approx(before, rel=1e-9)
        alone.append(view.readouts["… one current"].text)
    assert alone[0] != alone[1]
    view.taking_part["charge"].value = False
    shifted = salt.shifted("energy", "charge", shift.value).select("energy")
    assert view.conductivity.value == pytest.approx(thermal_conductivity(shifted, cutoff(view)).value, rel=1e-9)


def test_electrical_conductivity(view, salt):
    view.controls["shift"].value = view.controls["shift"].max
    view.controls["quantity"].value = "charge"
    expected = electrical_conductivity(salt, cutoff(view))
    assert view.conductivity.value == pytest.approx(expected.value, rel=1e-12)
    assert view.readouts["Conductivity"].unit == "S/cm" and view.symbol == "σ" and view.shift is None
    assert view.part.names == ("charge",)
    view.controls["quantity"].value = "energy"
    assert view.part.names == ("energy", "charge") and view.readouts["Conductivity"].unit == "W/(m K)"


def test_scan_and_curves_agree_with_the_number(view, salt):
    numbers = view.numbers()
    place = int(np.argmin(np.abs(np.array(numbers["by_cutoff"]["cutoff_THz"]) - cutoff(view))))
    scanned = numbers["by_cutoff"]["cutoff_THz"][place]
    assert numbers["by_cutoff"]["value"][place] == pytest.approx(thermal_conductivity(salt, scanned).value)
    k = numbers["n_coefficients"]
    assert numbers["by_n_coefficients"]["value"][k] == pytest.approx(numbers["value"])
    assert np.argmin(numbers["by_n_coefficients"]["information_criterion"]) == numbers["n_coefficients_akaike"]
    assert numbers["spectrum"]["value"][0] == pytest.approx(numbers["value"])
    assert numbers["spectrum"]["log_error"][0] * numbers["value"] == pytest.approx(numbers["error"])
    assert len(view.spectrum.series["periodogram"].columns()["x"]) <= 500
    periodogram = view.spectrum.series["periodogram"].columns()
    low = periodogram["y"][(periodogram["x"] < 2)].mean()
    assert low == pytest.approx(numbers["value"], rel=0.25)  # both meet zero frequency where the conductivity is


def test_clicks_on_curves(view):
    view.truncation.active = ("κ", 7)
    assert view.conductivity.n_coefficients == 7
    view.criterion.active = ("AIC", 5)
    assert view.conductivity.n_coefficients == 5
    view.cutoffs.active = ("κ", 1)
    assert cutoff(view) == pytest.approx(view.numbers()["by_cutoff"]["cutoff_THz"][1])
    view.cutoffs.active = ("chosen", 0)
    assert cutoff(view) == pytest.approx(view.numbers()["by_cutoff"]["cutoff_THz"][1])


def test_a_window_too_short_is_a_sentence_and_is_overcome(view):
    before = view.conductivity
    view.controls["used"].value = (0.0, 0.3)
    assert "accepted is a cutoff that leaves at least 100" in view.message and view.conductivity is before
    view.controls["used"].value = (0.0, 20.0)
    assert view.message.startswith("energy, charge: 20 ps")


def test_too_many_currents_for_the_components(salt):
    one = Currents(salt.values[:, :1, :1], salt.names, **CONDITIONS)
    view = ConductivityView(one)
    assert view.part.names == ("energy",)  # two currents would leave no degree of freedom
    before = view.conductivity
    view.taking_part["charge"].value = True
    assert "leave 0 degrees of freedom" in view.message and view.conductivity is before


def test_few_samples_are_warned_of(salt):
    view = ConductivityView(salt.window(0, 15))
    view.controls["cutoff"].value = view.controls["cutoff"].options[0][1]
    assert "a spectrum wants at least 500" in view.message


def test_observable_exported_and_replaced(view, salt, tmp_path):
    seen = []
    view.observe(lambda change: seen.append(change["new"].value), "conductivity")
    view.controls["n_coefficients"].value += 1
    assert seen == [view.conductivity.value]
    view.save(tmp_path / "numbers.json")
    assert json.loads((tmp_path / "numbers.json").read_text())["value"] == view.conductivity.value
    view.export_button.click()
    assert 'download="conductivity.json"' in view._link.value
    view.load(salt.select("charge").window(0, 10), cutoff_THz=30.0)
    assert view.symbol == "σ" and cutoff(view) == pytest.approx(33.3, rel=0.1) and view.part.names == ("charge",)


def test_what_a_view_does_not_take(salt):
    number = Currents(salt.values[1:], ["Na"], kinds=["number"], **CONDITIONS)
    with pytest.raises(ValueError, match="currents are number; a conductivity needs one of energy or of charge"):
        ConductivityView(number)
    with pytest.raises(ValueError, match="cutoff_THz is -1"):
        ConductivityView(salt, cutoff_THz=-1)
    empty = ConductivityView()
    assert empty.message == "Upload a file of currents." and empty.conductivity is None
    with pytest.raises(ValueError, match="there is no conductivity yet"):
        empty.numbers()
    empty.export_button.click()
    assert "there is no conductivity yet" in empty.message


def test_numbers_with_errors():
    assert plus_minus(0.49163, 0.02986) == "0.492 ± 0.030"
    assert plus_minus(393.2, 12.4) == "393 ± 12"
    assert plus_minus(1.2345678, 0.0) == "1.235"


# -- the analysis behind it --------------------------------------------------------------------------------------------


def test_pieces_of_a_long_series_show_the_same_spectrum():
    def spectrum(f):
        return 40 / (1 + (f / 30) ** 2) ** 2 + 1

    long = synthetic_currents(spectrum, n_samples=2 * PIECE * PIECES, timestep_fs=1.0, seed=3)
    analysis = Analysis(long, "energy")
    frequencies, values = analysis.unfiltered_spectrum(analysis.everything(("energy",)), 100.0)
    assert len(frequencies) <= 500 and frequencies[-1] == pytest.approx(100, abs=0.5)
    ratio = values / (analysis.factor * spectrum(frequencies))
    per_bin = 3 * PIECES * PIECE * 0.1 / len(frequencies)
    assert ratio.mean() == pytest.approx(1.0, abs=0.01)
    assert ratio.std() == pytest.approx(1 / np.sqrt(per_bin), rel=0.25)


def test_what_was_computed_is_kept(salt, monkeypatch):
    analysis = Analysis(salt, "energy")
    part, f = analysis.everything(("energy", "charge")), analysis.suggested_THz
    first, _ = analysis.conductivity(part, f)
    monkeypatch.setattr("matterscape_widgets.conductivity_analysis.resampled", None)
    assert analysis.conductivity(part, f)[0] is first
    again, _ = analysis.conductivity(part, f, n_coefficients=4)
    assert again.cepstral.coefficients is first.cepstral.coefficients
    assert analysis.conductivity(part, f, Shift("charge", 3.0))[0].value == pytest.approx(first.value)
    monkeypatch.setattr("matterscape_widgets.conductivity_analysis.KEPT_BYTES", 1.0)
    analysis.conductivity(part, f, Shift("charge", 4.0))
    assert len(analysis._kept) == 1  # what is too much is forgotten


# -- uploads -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(salt):
    rows = salt.values[:, 0, :, :1000].reshape(6, -1).T
    return "\n".join(" ".join(f"{value:.17g}" for value in row) for row in rows) + "\n"


def give(upload, name, text):
    file = {"name": name, "content": memoryview(text.encode()), "type": "", "size": len(text)}
    upload.upload.value = ({**file, "last_modified": datetime.datetime.now(datetime.UTC)},)


def say(upload, **numbers):
    for name, value in numbers.items():
        upload.numbers[name].value = value


def test_upload_asks_for_what_is_missing(table, salt):
    view = ConductivityView()
    give(view.upload, "own.dat", "c_flux[1] c_flux[2] c_flux[3] Jcx Jcy Jcz\n" + table)
    assert "not said: timestep_fs, temperature_K, volume. Fill in what is missing" in view.upload.message
    assert view.upload.menus["energy"].label == "c_flux" and view.upload.menus["charge"].label == "Jc"
    assert view.upload.menus["number"].label == "none"
    shown = {name: box.layout.display for name, box in (*view.upload.menus.items(), *view.upload.numbers.items())}
    assert set(shown.values()) <= {"", None} and view.upload.run.layout.display == "none"
    view.upload.button.click()
    assert "own.dat does not say how much time lies between its rows" in view.upload.message
    say(view.upload, timestep_fs="5", temperature_K="1400", volume="sixty")
    view.upload.button.click()
    assert view.upload.message == "volume (Å³) is 'sixty'; accepted is a positive number"
    say(view.upload, volume="65000")
    view.upload.button.click()
    assert view.upload.message.startswith("Read: own.dat: energy from c_flux; charge from Jc; units taken to be metal")
    np.testing.assert_array_equal(view.currents.values[:, 0], salt.values[:, 0, :, :1000])
    assert view.conductivity is not None and view.message.startswith("energy, charge: 5 ps")
    view.upload.menus["charge"].value = "none"
    view.upload.units.value = "real"
    view.upload.button.click()
    assert view.currents.names == ("energy",)
    np.testing.assert_allclose(view.currents.values[0, 0], 43.36410 * salt.values[0, 0, :, :1000], rtol=1e-6)


def test_upload_of_columns_without_titles(table, salt):
    upload = CurrentsUpload()
    give(upload, "own.dat", table)
    assert [label for label, _ in upload.menus["energy"].options][:2] == ["none", "column 0, column 1, column 2"]
    say(upload, timestep_fs="5", temperature_K="1400", volume="65000")
    upload.button.click()
    assert upload.message == "no column is chosen as a current; choose at least one"
    upload.menus["charge"].value = (3, 4, 5)
    upload.button.click()
    np.testing.assert_array_equal(upload.currents["charge"][0], salt["charge"][0, :, :1000])


def test_upload_reads_at_once_what_says_everything(salt, tmp_path):
    salt.save(tmp_path / "saved.npz")
    upload = CurrentsUpload()
    upload.take(tmp_path / "saved.npz")
    np.testing.assert_array_equal(upload.currents.values, salt.values)
    np.savez(tmp_path / "dict.npz", qflux=salt["energy"][0].T, Temperature=1400.0, Volume=65000.0, DT_FS=5.0)
    upload.take(tmp_path / "dict.npz")
    assert upload.currents.names == ("energy",) and upload.message.startswith("Read: dict.npz: energy from qflux")


def test_upload_of_a_log_with_several_runs():
    block = "Per MPI rank memory\nStep Temp Jx Jy Jz Volume\n{}Loop time of 1\n"
    runs = ["".join(f"{k} 300 {k + run} {k - 7} {3 * k + run} 1000\n" for k in range(20)) for run in range(2)]
    log = "LAMMPS (2 Aug 2023)\nunits metal\ntimestep 0.001\n" + "".join(block.format(run) for run in runs)
    upload = CurrentsUpload()
    give(upload, "log.lammps", log)
    assert [label for label, _ in upload.run.options] == ["last", "1 of 2", "2 of 2", "all, as segments"]
    assert upload.currents.n_segments == 1 and upload.currents["energy"][0, 0, 0] == 1.0
    upload.run.value = "all"
    upload.button.click()
    assert upload.currents.n_segments == 2


def test_wrong_uploads_are_sentences_and_change_nothing(view):
    before = view.conductivity
    for name, text, sentence in (
        ("a.dat", "1 2 3\n4 5\n6 7 8\n", "a.dat, line 2 has 2 columns; the others have 3"),
        ("b.dat", "some\nwords\n", "b.dat, line 2 has 'words'; accepted are numbers"),
        ("c.npz", "PK\x03\x04", "c.npz can't be read as a file of numpy"),
        ("d.xyz", "2\nno frames\n", "d.xyz can't be read as a trajectory"),
    ):
        give(view.upload, name, text)
        assert view.upload.message.startswith(sentence), view.upload.message
        assert view.conductivity is before
    view.upload.path.value = "/nowhere/to/be/found"
    view.upload._guarded(lambda: view.upload.take(view.upload.path.value))
    assert "there is no file /nowhere/to/be/found" in view.upload.message
    fresh = CurrentsUpload()
    fresh.button.click()
    assert fresh.message == "no file has been given; upload one first"


def test_upload_of_a_trajectory(tmp_path):
    import ase.io
    from ase.build import bulk

    rng = np.random.default_rng(2)
    frames = []
    for _ in range(5):
        atoms = bulk("NaCl", "rocksalt", a=5.7, cubic=True)
        atoms.set_velocities(0.01 * rng.normal(size=(8, 3)))
        frames.append(atoms)
    ase.io.write(tmp_path / "run.traj", frames)
    upload = CurrentsUpload()
    upload._guarded(lambda: upload.take(tmp_path / "run.traj"))
    assert "the frames do not say how much time lies between them" in upload.message
    say(upload, timestep_fs="2")
    upload.button.click()
    assert upload.currents.names == ("Na", "Cl") and upload.currents.timestep_fs == 2.0
