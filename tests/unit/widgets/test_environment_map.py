"""EnvironmentMap without a browser: what its points are, and how map, times and structures are tied."""

import numpy as np
import pytest
from ase.build import bulk

from matterscape_widgets import EnvironmentMap

pytestmark = pytest.mark.unit

CRYSTAL = bulk("Ar", "fcc", a=5.35, cubic=True) * 3


def _run(n=4):
    """Frames of a crystal that is more and more disordered."""
    frames = []
    for k in range(n):
        frame = CRYSTAL.copy()
        frame.positions += 0.35 * k * np.random.default_rng(k).normal(size=frame.positions.shape)
        frame.info = {"time_ps": 2.0 * k, "temperature_K": 60.0 + k}
        frame.set_array("atomic_energy", np.full(len(frame), -0.08 + 0.01 * k))
        frames.append(frame)
    return frames


@pytest.fixture(scope="module")
def environments():
    return EnvironmentMap(_run(), 4.6, max_points=200)


def test_points_are_the_same_atoms_in_every_frame(environments):
    assert environments.map.n_points == 200 and len(environments.atoms) == 50
    assert environments.map.labels[0] == f"atom {environments.atoms[0]} at 0 ps"
    assert environments.pane.environments[50] == (1, environments.atoms[0])
    np.testing.assert_allclose(environments.properties["time (ps)"][[0, 50, 199]], [0, 2, 6])
    np.testing.assert_allclose(environments.properties["energy of the atom (eV)"][[0, 199]], [-0.08, -0.05])


def test_order_is_lost_with_time(environments):
    assert environments.crystalline[0] == 1
    assert np.all(np.diff(environments.crystalline) <= 0) and environments.crystalline[-1] < 0.1


def test_a_time_selects_and_a_selection_marks_times(environments):
    environments.order_plot.active = ("order", 2)
    assert set(environments._frame_of_point[list(environments.map.selected)]) == {2}
    assert len(environments.map.selected) == 50 and environments.pane.structure == 2
    np.testing.assert_allclose(environments.temperature_plot.series["selected"].x, [4.0])
    assert environments.readouts["Times"].text == "4"
    environments.map.selected = (0, 199)
    np.testing.assert_allclose(environments.order_plot.series["selected"].x, [0.0, 6.0])
    assert environments.readouts["Selected"].text == "2" and environments.readouts["Times"].text == "0 to 6"
    environments.temperature_plot.active = ("selected", 1)  # a mark stands for its time
    assert set(environments._frame_of_point[list(environments.map.selected)]) == {3}
    environments.map.selected = ()
    assert "selected" not in environments.order_plot.series and environments.readouts["Times"].text == "–"
    with pytest.raises(ValueError, match="frame is 9, but the frames are 0 to 3"):
        environments.select_frame(9)


def test_map_and_structure_follow_each_other(environments):
    environments.map.active = 120
    assert (environments.pane.structure, environments.pane.atom) == (2, environments.atoms[20])
    environments.pane.show_point(7)
    assert environments.map.active == 7


def test_axes_and_colours(environments):
    for name in environments.properties:
        environments.colour.value = name
        assert environments.map.colour_label == name
    environments.axes.value = "averaged SOAP"
    assert environments.map.x_label == "SOAP 1" and environments.message.startswith("200 environments by averaged SOAP")
    components = environments.soap_covariates()
    crystal, last = components[:50], components[150:]
    assert np.ptp(crystal[:, 0]) < 1e-3 * np.ptp(components[:, 0])
    assert abs(last[:, 0].mean() - crystal[:, 0].mean()) > 0.3 * np.ptp(components[:, 0])
    assert {"averaged q4", "SOAP 1", "time (ps)"} <= set(environments.pane.properties())


def test_bad_frames():
    with pytest.raises(ValueError, match="frames is empty"):
        EnvironmentMap([], 4.6)
    frames = _run(2)
    del frames[1].info["time_ps"]
    with pytest.raises(ValueError, match=r"frames\[1\] has no time_ps in its info"):
        EnvironmentMap(frames, 4.6)
    with pytest.raises(ValueError, match=r"frames\[1\] has other atoms than the first"):
        EnvironmentMap([*_run(1), bulk("Si")], 4.6)


def test_soap_where_all_are_crystalline():
    frames = _run(1) * 2
    frames[1] = frames[1].copy()
    frames[1].rattle(0.05, seed=3)
    frames[1].info["time_ps"] = 1.0
    alike = EnvironmentMap(frames, 4.6)
    np.testing.assert_array_equal(alike.crystalline, 1)
    assert np.isfinite(alike.soap_covariates()).all()
