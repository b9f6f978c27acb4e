"""The explorer as a widget: sources, what its controls do, what it writes, and its sentences."""

import csv
import gzip
import json
import re
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

import matterscape_widgets
from matterscape import datasets
from matterscape.datasets.generators import random_molecules
from matterscape.maps import fits
from matterscape.maps.exploration import Settings
from matterscape.maps.samples import Cancelled
from matterscape.structures.properties import Property
from matterscape.uq import error_lines
from matterscape_widgets import Explorer
from matterscape_widgets.explorer import sources, text
from matterscape_widgets.explorer.app import DROPPED
from matterscape_widgets.explorer.exports import KINDS, export
from matterscape_widgets.explorer.plots import ENSEMBLE, PLOTS, RIDGE, SELECTED, make_plot

pytestmark = [pytest.mark.unit, pytest.mark.filterwarnings("ignore:chemiscope.show only displays")]

SMALL = {"cutoff": 3.5, "max_radial": 3, "max_angular": 2, "smearing": 0.3}


def molecules(n: int = 30) -> list[Atoms]:
    frames = random_molecules(n, 5, seed=1)
    for atoms in frames:
        distances = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]
        atoms.info["energy"] = float(np.exp(-distances).sum() - atoms.numbers.sum())
    return frames


@pytest.fixture
def app(tmp_path):
    return Explorer(molecules(), settings=SMALL, folder=tmp_path)


def submit(app: Explorer, path: str) -> None:
    """Type a path and press Enter, as a person would; wait until it has been dealt with."""
    app.controls.path.value = path
    app.controls.path._submission_callbacks(app.controls.path)
    app.run.wait(60)


# ---- sources ---------------------------------------------------------------------------------------------------------


def test_the_menu_names_every_set_of_structures():
    names = [name for _, name in sources.offered()]
    rows = {name for name in datasets.names() if datasets.describe(name).kind == "structures"}
    assert sources.GENERATED in names
    assert set(names) - {sources.GENERATED} <= rows
    assert set(sources.PREFERRED) <= set(names)
    for label, name in sources.offered():
        if name != sources.GENERATED:
            assert ("download" in label) == (not datasets.is_available(name))


def test_preferred_data_fall_back_to_generated_ones(monkeypatch):
    def unreachable(name):
        raise datasets.DatasetUnavailable(f"{name} can't be downloaded (no connection)")

    monkeypatch.setattr(sources.datasets, "load", unreachable)
    monkeypatch.setattr(sources, "GENERATED_SIZE", 9)
    source = sources.load_preferred()
    assert source.name == sources.GENERATED and len(source.frames) == 9
    assert "Generated data" in source.remark and "no connection" in source.remark
    with pytest.raises(datasets.DatasetUnavailable):
        sources.load_source("mad-sample")


def test_registry_data_say_where_they_come_from(dataset):
    frames = dataset("li3ps4-dft-val")
    source = sources.load_source("li3ps4-dft-val")
    assert len(source.frames) == len(frames)
    assert "Li3PS4" in source.remark and "github.com" in source.remark
    with pytest.raises(ValueError, match="dataset is 'nacl-currents', which holds no structures"):
        sources.load_source("nacl-currents")


def test_a_path_and_an_upload_are_the_same(tmp_path):
    write(tmp_path / "mine.xyz", molecules(4))
    by_path = sources.read_source(f" {tmp_path}/mine.xyz ")
    upload = {"name": "mine.xyz", "content": memoryview((tmp_path / "mine.xyz").read_bytes())}
    by_upload = sources.read_source(upload)
    assert by_path.name == by_upload.name == "mine"
    assert [a.info["energy"] for a in by_path.frames] == [a.info["energy"] for a in by_upload.frames]
    with pytest.raises(ValueError, match="the path is empty"):
        sources.read_source("  ")


# ---- construction ----------------------------------------------------------------------------------------------------


def test_what_is_on_display(app):
    outcome = app.outcome
    assert outcome.settings.cutoff == 3.5 == app.controls.cutoff.value == app.settings.cutoff
    assert app.map.n_points == 30 == app.pane.n_points
    assert app.map.active == 0 and app.card.point == 0
    assert app.map.colour_label == "energy above baseline (eV/atom)"
    assert app.controls.target.value == "energy per atom"
    assert "30 structures, 150 atoms" in app.controls.note.value
    assert "cross-validated error" in app.message
    assert set(app.curve.series) == {"ideal", RIDGE}


def test_wrong_construction():
    with pytest.raises(ValueError, match="frames and dataset exclude each other"):
        Explorer(molecules(3), "generated")
    with pytest.raises(datasets.UnknownDataset, match="did you mean"):
        Explorer(dataset="mad-sampel")
    with pytest.raises(ValueError, match="at least one structure"):
        Explorer([])
    with pytest.raises(ValueError, match="settings has no entry 'cutof'; accepted are per, cutoff"):
        Explorer(molecules(3), settings={"cutof": 3.0})


# ---- controls --------------------------------------------------------------------------------------------------------


def test_a_slider_moves_the_map_and_keeps_points_labels_and_selection(app):
    before, pane = app.outcome, app.pane
    app.map.selected, app.map.active = (2, 5), 5
    app.controls.cutoff.value = 4.0
    app.run.wait(60)
    assert app.outcome is not before and app.outcome.settings.cutoff == 4.0
    assert app.pane is pane and app.map.selected == (2, 5) and app.map.active == 5
    overlap = (app.outcome.projection.coordinates * before.projection.coordinates).sum(axis=0)
    assert (overlap > 0).all()  # no flips


def test_a_change_during_a_run_is_not_lost(app):
    app._last_seconds.clear()  # nothing is known, so everything goes to the background
    app.controls.cutoff.value = 4.0
    app.controls.cutoff.value = 4.5
    for _ in range(3):
        app.run.wait(60)
    assert app.outcome.settings.cutoff == 4.5


def test_a_slider_does_not_stop_data_from_being_read(app):
    gate = threading.Event()

    def slow():
        gate.wait(30)
        return sources.Source("slow", molecules(11), "Slow data")

    app._last_seconds[("features",)] = 100.0
    app._open(slow)
    app.controls.cutoff.value = 4.0
    app.controls.learn.click()
    assert "wait for it or cancel it" in app.message
    gate.set()
    app.run.wait(60)
    assert app.source.name == "slow" and app.map.n_points == 11


def test_cancelling_keeps_the_map_and_sets_the_controls_back(app):
    gate = threading.Event()
    before = app.outcome

    def never(progress, cancelled):
        gate.wait(30)
        assert cancelled()
        raise Cancelled

    app._start(never, "computing")
    app.run.cancel()
    gate.set()
    app.run.wait(60)
    assert app.outcome is before and app.message.startswith("Cancelled.")
    assert app.settings == before.settings


def test_colour_and_size_follow_their_menus(app):
    app.controls.colour.value = "formula" if "formula" in app.outcome.properties else "error"
    app.controls.size.value = "uncertainty"
    assert app.map.size_label == "uncertainty (eV/atom)"
    app.controls.colour.value = "none"
    assert app.map.colour_label == ""
    app.controls.cutoff.value = 4.0
    app.run.wait(60)
    assert app.controls.colour.value == "none" and app.controls.size.value == "uncertainty"


def test_environments_instead_of_structures(app):
    app.controls.per.value = "atom"
    app.run.wait(60)
    assert app.map.n_points == 150 == app.pane.n_points
    assert app.map.colour_label == "element" and len(app.map.categories) > 1
    app.map.active = 23
    assert (app.pane.structure, app.pane.atom) == (4, 3)
    assert app.card.title.endswith("atom 3 of structure 4")
    assert "relative to its element" in app.card.rows[0][0]
    app.controls.per.value = "structure"
    app.run.wait(60)
    assert app.map.n_points == 30


def test_no_target_no_model(app):
    app.controls.target.value = "none"
    app.run.wait(60)
    assert app.outcome.fit is None and "prediction" not in app.outcome.properties
    assert app.controls.learn.disabled and "Choose a target" in app._plot_note.value
    app.controls.method.value = "pcovr"
    app.run.wait(60)
    assert "needs a target" in app.message
    assert app.controls.method.value == "pca"


def test_map_plot_pane_card_are_one(app):
    app.map.active = 11
    assert app.pane.structure == 11 and app.card.point == 11 and app.curve.active == (RIDGE, 11)
    app.curve.active = (RIDGE, 4)
    assert app.map.active == 4 and app.pane.structure == 4
    app.pane.show(9)
    assert app.map.active == 9 and app.card.title.startswith("Structure 9")
    neighbour = app.card.neighbours[0][0]
    app.card.jump = neighbour
    assert app.map.active == neighbour == app.card.point and app.card.jump is None
    app.map.selected = (3, 8, 12)
    assert "3 of 30 points are selected" in app.message
    assert len(app.curve.series[SELECTED[RIDGE]].x) == 3
    app.curve.active = (SELECTED[RIDGE], 1)
    assert app.map.active == 8


def test_learning_curve_button(app):
    app.controls.learn.click()
    app.run.wait(60)
    assert app.controls.plot.value == "learning curve"
    assert set(app.curve.series) == {"mean of the shuffles", "baseline"}
    assert app.message.startswith("Learning curve: test error")
    app.controls.cutoff.value = 4.2
    app.run.wait(60)
    assert app.curve.series == {}  # of another descriptor


# ---- ensembles -------------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(app, monkeypatch):
    """The app after a press on "Train ensemble"."""
    monkeypatch.setattr(fits, "STEPS", 60)
    app.controls.train.click()
    app.run.wait(120)
    return app


def names_in_menus(app) -> set[str]:
    return {name for menu in (app.controls.colour, app.controls.size) for _, name in menu.options if "ensemble" in name}


def test_train_ensemble_button(trained):
    ridge, ensemble = trained.outcome.fit, trained.outcome.ensemble
    assert trained.controls.plot.value == "uncertainty" and trained.controls.train.disabled
    assert trained.message.startswith("Ensemble of 32 networks: cross-validated error ")
    assert f"{ensemble.rmse:.3g} eV/atom (ridge {ridge.rmse:.3g} eV/atom)" in trained.message
    assert f"area of miscalibration {ensemble.miscalibration_area:.3f} (ridge" in trained.message
    assert "ranks of the two uncertainties correlate by" in trained.message
    assert names_in_menus(trained) == {"ensemble prediction", "ensemble |error|", "ensemble uncertainty"}
    trained.controls.colour.value = "ensemble uncertainty"
    assert trained.map.colour_label == "ensemble uncertainty (eV/atom)"
    assert "ensemble uncertainty" in trained._map_properties()


def test_the_plots_show_both_kinds(trained):
    outcome, series = trained.outcome, trained.curve.series
    assert list(series) == ["68 % of errors", "95 %", "99.7 %", ENSEMBLE, RIDGE]
    for name, fit in ((RIDGE, outcome.fit), (ENSEMBLE, outcome.ensemble)):
        np.testing.assert_array_equal(series[name].x, fit.uncertainty)
        far = np.abs(fit.error) > 1e-3 * outcome.fit.rmse
        np.testing.assert_allclose(np.asarray(series[name].y)[far], np.abs(fit.error)[far])
    band = series["68 % of errors"]
    np.testing.assert_allclose(band.low / band.x, error_lines(1.0)[0])
    np.testing.assert_allclose(band.high / band.x, error_lines(1.0)[1])
    trained.controls.plot.value = "parity"
    assert list(trained.curve.series) == ["ideal", ENSEMBLE, RIDGE]
    np.testing.assert_array_equal(trained.curve.series[ENSEMBLE].y, outcome.ensemble.prediction)


def test_points_of_both_kinds_can_be_clicked(trained):
    trained.curve.active = (ENSEMBLE, 7)
    assert trained.map.active == 7 and trained.curve.active == (ENSEMBLE, 7)
    trained.map.active = 3
    assert trained.curve.active == (ENSEMBLE, 3)
    trained.curve.active = (RIDGE, 5)
    assert trained.map.active == 5
    trained.map.selected = (3, 8, 12)
    assert list(trained.curve.series)[-2:] == [SELECTED[ENSEMBLE], SELECTED[RIDGE]]
    x = trained.curve.series[SELECTED[ENSEMBLE]].x
    np.testing.assert_array_equal(x, trained.outcome.ensemble.uncertainty[[3, 8, 12]])
    trained.curve.active = (SELECTED[ENSEMBLE], 1)
    assert trained.map.active == 8 and trained.curve.active == (ENSEMBLE, 8)


def test_the_card_tells_both_uncertainties(trained):
    trained.map.active = 4
    rows = {name: value for name, value, _ in trained.card.rows}
    told = trained.outcome.properties
    for label, name in (
        ("predicted energy per atom", "uncertainty"),
        ("energy per atom by the ensemble", "ensemble uncertainty"),
    ):
        assert rows[label].endswith(f" ± {told[name].values[4]:.2g}")
    assert rows["error of the ensemble"] == f"{trained.outcome.ensemble.error[4]:+.2g}"
    assert len(rows) == len(trained.card.rows)  # nothing is told twice
    assert not {"ensemble prediction", "ensemble |error|"} & set(rows)


def test_the_ensemble_survives_another_map_and_no_other_features(trained):
    ensemble = trained.outcome.ensemble
    trained.controls.colour.value = "ensemble uncertainty"
    trained.controls.method.value = "kpca"
    trained.run.wait(60)
    assert trained.outcome.ensemble is ensemble and trained.controls.colour.value == "ensemble uncertainty"
    assert DROPPED not in trained.message
    trained.curve.active = (ENSEMBLE, 7)
    trained.controls.cutoff.value = 4.0
    trained.run.wait(60)
    assert trained.outcome.ensemble is None and DROPPED in trained.message
    assert names_in_menus(trained) == set() and trained.map.colour_label == "energy above baseline (eV/atom)"
    assert ENSEMBLE not in trained.curve.series and trained.curve.active[0] == RIDGE
    assert not any("ensemble" in name for name, _, _ in trained.card.rows)
    assert not trained.controls.train.disabled
    trained.controls.max_radial.value = 4
    trained.run.wait(60)
    assert DROPPED not in trained.message  # said once


@pytest.mark.parametrize(("control", "value", "kept"), [("cutoff", 4.0, False), ("method", "kpca", True)])
def test_a_change_during_the_training(app, monkeypatch, control, value, kept):
    """Other features end it at once; another map waits for it."""
    asked, gate = threading.Event(), threading.Event()
    real = app.exploration.ensemble

    def slow(outcome, progress, cancelled):
        asked.set()
        gate.wait(30)
        if cancelled():
            raise Cancelled
        return real(outcome, progress, cancelled)

    monkeypatch.setattr(fits, "STEPS", 60)
    monkeypatch.setattr(app.exploration, "ensemble", slow)
    app.controls.train.click()
    assert asked.wait(30)
    getattr(app.controls, control).value = value
    gate.set()
    while (thread := app.run._thread).is_alive():  # one run may start the next
        thread.join(120)
    app.run.wait()
    assert getattr(app.outcome.settings, control) == value
    assert (app.outcome.ensemble is not None) == kept


def test_cancelling_the_training_keeps_what_was_there(app):
    before = app.outcome
    app.controls.train.click()
    app.run.cancel()
    app.run.wait(120)
    assert app.outcome is before and app.message.startswith("Cancelled.")
    assert names_in_menus(app) == set() and not app.controls.train.disabled


def test_too_few_samples_for_an_ensemble_are_a_sentence(tmp_path):
    app = Explorer(molecules(12), settings=SMALL, folder=tmp_path)
    app.controls.train.click()
    app.run.wait(60)
    assert app._status.kind == "error"
    assert app.message == "an ensemble needs at least 20 structures, got 12."
    app.controls.target.value = "none"
    app.run.wait(60)
    assert app.controls.train.disabled


def test_an_ensemble_of_environments(app, monkeypatch):
    monkeypatch.setattr(fits, "STEPS", 60)
    app.controls.per.value = "atom"
    app.run.wait(60)
    app.controls.train.click()
    app.run.wait(120)
    assert "ensemble local prediction" in app.outcome.properties
    app.map.active = 23
    rows = {name: value for name, value, _ in app.card.rows}
    value = app.outcome.properties["ensemble uncertainty"].values[23]
    assert rows["local energy per atom by the ensemble"].endswith(f"± {value:.2g}")
    app.controls.per.value = "structure"
    app.run.wait(60)
    assert app.outcome.ensemble is None and DROPPED in app.message


@pytest.mark.parametrize("kind", PLOTS)
def test_every_plot_has_labels_with_units(app, kind):
    plot = make_plot(kind, app.outcome, np.array([1, 2]), None)
    assert "(eV/atom)" in plot.labels["y_label"] and plot.labels["x_label"]


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per", ["structure", "atom"])
def test_exported_files(app, tmp_path, per):
    outcome = app.exploration.run(replace(app.settings, per=per))
    written = {kind: export(outcome, kind, tmp_path, "set", "element") for kind in KINDS}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "set-features.csv",
        "set-map.html",
        "set-map.json.gz",
        "set-predictions.csv",
    ]
    chemiscope = json.loads(gzip.decompress(written["map, chemiscope JSON"].read_bytes()))
    assert len(chemiscope["structures"]) == 30 and "log10 rigidity" in chemiscope["properties"]

    rows = list(csv.reader(written["features, CSV"].open(encoding="utf-8")))
    keys = 2 if per == "structure" else 3
    assert len(rows) == 1 + len(outcome.samples) and rows[0][keys:] == outcome.features.labels
    values = np.array([row[keys:] for row in rows[1:]], float)
    np.testing.assert_allclose(values, outcome.features.rows, rtol=1e-6, atol=1e-12)

    rows = list(csv.DictReader(written["predictions, CSV"].open(encoding="utf-8")))
    name = "prediction" if per == "structure" else "local prediction"
    found = [float(row[f"{name} (eV/atom)"]) for row in rows]
    np.testing.assert_allclose(found, outcome.properties[name].values, rtol=1e-7)
    if per == "atom":
        assert [[int(row["structure"]), int(row["atom"])] for row in rows] == outcome.samples.environments.tolist()
    with pytest.raises(ValueError, match="kind is 'pdf'; accepted are"):
        export(outcome, "pdf", tmp_path, "set")


def test_settings_without_a_control_are_kept(tmp_path):
    app = Explorer(molecules(), settings={**SMALL, "species_channels": 2}, folder=tmp_path)
    app.controls.cutoff.value = 4.0
    app.run.wait(60)
    assert app.outcome.settings.cutoff == 4.0 and app.outcome.settings.species_channels == 2


def test_export_button(app, tmp_path):
    app.controls.kind.value = "predictions, CSV"
    app.controls.write.click()
    app.run.wait(60)
    path = tmp_path / "structures-predictions.csv"
    assert path.is_file() and str(path) in app.message
    assert 'download="structures-predictions.csv"' in app.controls.link.value
    app.folder = tmp_path / "missing"
    app.controls.write.click()
    app.run.wait(60)
    assert app._status.kind == "error"


# ---- sentences -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no file"),
        ("", "is empty; it needs at least one structure"),
        ("5\n\nC 0 0 0\nH 1 0 0\n", "is truncated"),
        ("what is this\n", "is it an XYZ file"),
        ("2\n\nH 0 0 0\nH nan 0 0\n", "is not finite"),
        ("2\n\nH 0 0 0\nH 0 0 0\n", "coincide|same place"),
        ("1\n\nXx 0 0 0\n", "species|known|atomic number|Xx"),
    ],
)
def test_unfit_files_are_explained_and_change_nothing(app, tmp_path, content, sentence):
    before = app.outcome
    path = tmp_path / "mine.xyz"
    if content is not None:
        path.write_text(content)
    submit(app, str(path))
    assert app._status.kind == "error"
    assert re.search(sentence, app.message), app.message
    assert "\n" not in app.message and app.outcome is before and app.controls.source.value == "own"
    assert not app.busy


def test_ones_own_file(app, tmp_path):
    frames = molecules(14)
    write(tmp_path / "mine.xyz", frames)
    submit(app, f"{tmp_path}/mine.xyz")
    assert app.source.name == "mine" and app.map.n_points == 14
    assert "Your file mine.xyz" in app.controls.note.value
    assert app.controls.source.value == "own" and "your own: mine" in app.controls.source.options[0][0]


def test_mixed_properties_are_left_out(app, tmp_path):
    frames = molecules(14)
    del frames[3].info["energy"]
    write(tmp_path / "mine.xyz", frames)
    submit(app, f"{tmp_path}/mine.xyz")
    assert "some structures lack properties that others have (energy in 13 of 14)" in app.controls.note.value
    assert app.outcome.fit is None and "energy per atom" not in app.outcome.properties


def test_files_without_properties_give_a_map(app, tmp_path):
    frames = molecules(12)
    for atoms in frames:
        atoms.info.clear()
    write(tmp_path / "bare.xyz", frames)
    submit(app, f"{tmp_path}/bare.xyz")
    assert app.outcome.fit is None and "a map and no model" in app._plot_note.value
    assert app.map.colour_label == "formula"


def test_verdicts(app):
    order = np.argsort(app.outcome.properties["log10 rigidity"].values)
    assert text.card(app.outcome, int(order[0]))["level"] == "low"
    assert "knows little here" in text.card(app.outcome, int(order[0]))["verdict"]
    assert text.card(app.outcome, int(order[-1]))["level"] == "high"


def test_numbers_and_complaints():
    energies = Property("energy", np.array([-241.123456, -241.5, np.nan]), "structure", "eV")
    assert [text.number(energies, k) for k in range(3)] == ["-241.123", "-241.500", "unknown"]
    assert text.number(Property("atoms", np.array([1234.0, 5.0]), "structure"), 0) == "1,234"
    assert text.number(Property("formula", np.array(["H2O"]), "structure"), 0) == "H2O"
    assert text.complaint(datasets.DatasetUnavailable("no network")) == "no network."
    assert text.complaint(ValueError("cutoff is -1")) == "cutoff is -1."
    assert text.complaint(KeyError("x")).startswith("KeyError")


def test_settings_can_be_given_whole():
    frames = molecules(12)
    app = Explorer(frames, settings=Settings(per="atom", **SMALL))
    assert app.outcome.settings.per == "atom" and app.outcome.fit is None
    app = Explorer(frames, settings={**SMALL, "per": "atom"})
    assert app.outcome.fit is not None


# ---- the notebook's exercises ----------------------------------------------------------------------------------------


def test_the_solutions_of_the_exercises_solve_them():
    import nbformat

    notebook = nbformat.read(Path(__file__).parents[3] / "notebooks" / "explore.ipynb", as_version=4)
    cells = {cell.id: cell.source for cell in notebook.cells}
    solutions = re.search(r"```python\n(.*?)```", cells["explore-exercises-text"], re.DOTALL).group(1)
    known = {"np": np, "features": np.random.default_rng(0).normal(size=(9, 4)) + 1}
    known |= {name: getattr(matterscape_widgets, name) for name in ("Check", "Invariance", "Limit")}
    for cell in ("explore-exercise-similarity", "explore-exercise-rigidity"):
        exec(cells[cell], known)
    assert not known["similarities"].passed and not known["rigidities"].passed
    exec(solutions, known)
    assert known["similarities"](known["similarity"]).passed
    assert known["rigidities"](known["prediction_rigidity"]).passed
