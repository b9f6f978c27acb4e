"""ModeView without a browser: what is sent, what follows what, and what is refused."""

import json

import numpy as np
import pytest
from ase.build import bulk

from matterscape.potentials import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice.harmonic import force_constants
from matterscape.transport.lattice.modes import vibrational_modes
from matterscape_widgets import LiveAtoms
from matterscape_widgets.mode_view import ModeView

pytestmark = pytest.mark.unit
D = "diffusivity (Å²/ps)"


@pytest.fixture(scope="module")
def glass():
    cell = bulk("Si", "diamond", a=5.432, cubic=True) * 2
    masses = np.random.default_rng(1).choice([20.0, 40.0, 80.0], len(cell))
    return vibrational_modes(force_constants(Tersoff.silicon(), Structures.from_ase(cell)), masses=masses)


@pytest.fixture(scope="module")
def crystal():
    silicon = bulk("Si", "diamond", a=5.432)
    return vibrational_modes(force_constants(Tersoff.silicon(), Structures.from_ase(silicon)), (3, 3, 3))


@pytest.fixture
def view(glass):
    return ModeView(glass, properties={D: np.arange(192.0), "kind": np.where(np.arange(192) < 90, "slow", "fast")})


def _pattern(atoms):
    return np.frombuffer(atoms._vibration, "<f4").reshape(atoms.n_atoms, -1)


def test_it_starts_with_the_slowest_mode(view, glass):
    assert view.chosen == (0, 3) and view.point == 0
    assert view.map.n_points == 189 and view.map.active == 0
    assert (view.map.x_label, view.map.y_label, view.map.colour_label) == ("frequency (THz)", D, "kind")
    assert view.readouts["frequency (THz)"].text == f"{glass.frequencies_THz[0, 3]:.4g}"
    assert view.atoms._vibration and view.atoms.playing


def test_the_pattern_is_that_of_the_mode(view, glass):
    view.chosen = (0, 150)
    u = glass.eigenvectors[0][:, 150].reshape(-1, 3) / np.sqrt(glass.masses)[:, None]
    sent = _pattern(view.atoms)
    assert sent.shape == (64, 3)  # a standing wave: half the bytes
    assert np.linalg.norm(sent, axis=1).max() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(sent, u / np.linalg.norm(u, axis=1).max(), atol=1e-6)


def test_a_mode_is_sent_once(view):
    sent = []
    view.atoms.send_state = lambda key=None: sent.append(key if isinstance(key, str) else set(key))
    view.chosen = (0, 77)
    patterns = [keys for keys in sent if "_vibration" in keys]
    assert len(patterns) == 1 and {"_vibration", "_colour", "_radii"} <= patterns[0]
    sent.clear()
    view.atoms.amplitude = 0.9
    assert sent == ["amplitude"]


def test_everything_follows_the_choice_and_leads_to_it(view):
    view.chosen = (0, 100)
    assert view.map.active == 97 and view.controls["mode"].value == 98
    view.map.active = 4
    assert view.chosen == (0, 7) and view.controls["mode"].value == 5
    view.controls["mode"].value = 189
    assert view.chosen == (0, 191) and view.map.active == 188
    view._step(None, {"step": 1}, [])  # no further
    assert view.chosen == (0, 191)
    view._step(None, {"step": -1}, [])
    assert view.chosen == (0, 190)
    assert view.readouts["kind"].text == "fast" and view.readouts[D].text == "190"


def test_colours_are_shares_of_the_motion(view, glass):
    view.chosen = (0, 60)
    offset, scale = view.atoms._frame
    colours = offset + scale * np.frombuffer(view.atoms._colour, "<f4")
    squares = (glass.eigenvectors[0][:, 60] ** 2).reshape(-1, 3).sum(axis=1)
    np.testing.assert_allclose(colours, 64 * squares, atol=1e-4)
    radii = np.frombuffer(view.atoms._radii, "<f4")
    assert np.argmax(radii) == np.argmax(squares)
    view.controls["paint"].value = "element"
    assert view.atoms._colour == b"" and np.ptp(np.frombuffer(view.atoms._radii, "<f4")) == 0


def test_axes_follow_their_menus(view):
    view.controls["x"].value, view.controls["size"].value = D, "frequency (THz)"
    assert (view.map.x_label, view.map.size_label) == (D, "frequency (THz)")
    view.controls["colour"].value = "nothing"
    assert view.map._colour == b""
    view.controls["log"].value = True
    assert view.map.y_label == f"log10 of {D}"
    # the zero of the diffusivity is none of the modes shown; a zero has no logarithm
    assert view.message.startswith("189 modes by")


def test_missing_numbers_are_shown_as_missing(glass):
    widths = np.full(192, np.nan)
    widths[50] = 0.3
    view = ModeView(glass, properties={"half width (rad/ps)": widths}, chosen=(0, 51))
    assert view.readouts["half width (rad/ps)"].text == "–"
    view.chosen = (0, 50)
    assert view.readouts["half width (rad/ps)"].text == "0.3"


def test_waves_of_a_crystal(crystal):
    speeds = np.linalg.norm(crystal.group_velocities(), axis=2)
    view = ModeView(crystal, properties={"group velocity (Å/ps)": speeds})
    assert view.map.n_points == 27 * 6 - 3 and view.atoms.n_atoms == 54
    wavevector = int(np.flatnonzero((crystal.wavevectors == [1 / 3, 0, 0]).all(axis=1))[0])
    view.chosen = (wavevector, 2)
    assert _pattern(view.atoms).shape == (54, 6)
    assert view.readouts["wavevector"].text == "0.333 0 0" and "running" in view.message
    assert view.readouts["index"].text == f"{wavevector}, 2"
    view.chosen = (0, 5)
    assert "standing" in view.message


def test_speed_can_be_true_to_scale(view, glass):
    view.controls["pace"].value = 2.0
    assert view.atoms.pace == 2.0
    view.controls["scale"].value = "true to scale"
    view.chosen = (0, 20)
    assert view.atoms.pace == pytest.approx(2 * glass.frequencies_THz[0, 20] / glass.frequencies_THz[0, -1])


def test_shares_of_elements_where_there_are_several():
    salt = bulk("SiC", "zincblende", a=4.36)
    modes = vibrational_modes(force_constants(Tersoff.silicon_carbide(), Structures.from_ase(salt)), (2, 2, 2))
    view = ModeView(modes, properties={"a": np.zeros(modes.angular_frequencies.shape)})
    shares = [float(view.readouts[f"share of {name} (%)"].text) for name in ("Si", "C")]
    assert sum(shares) == pytest.approx(100, abs=0.1)


def test_participation_is_shown_where_nothing_is_given(glass):
    view = ModeView(glass)
    assert view.map.y_label == "participation ratio"
    shares = (glass.eigenvectors[0] ** 2).reshape(64, 3, -1).sum(axis=1)
    np.testing.assert_allclose(view.properties["participation ratio"], 1 / (64 * (shares[:, 3:] ** 2).sum(axis=0)))


def test_modes_outside_a_range_are_left_out(glass):
    frequencies = glass.frequencies_THz[0]
    view = ModeView(glass, properties={"a": np.arange(192.0)}, range_THz=(5, 12))
    assert view.map.n_points == ((frequencies > 5) & (frequencies < 12)).sum()
    first = int(np.flatnonzero(frequencies > 5)[0])
    assert view.chosen == (0, first) and view.readouts["a"].text == str(first)
    with pytest.raises(ValueError, match=r"range_THz is \(50, 60\), but no mode lies between"):
        ModeView(glass, properties={"a": np.zeros(192)}, range_THz=(50, 60))


def test_modes_are_written_for_chemiscope(view, tmp_path):
    path = view.write(tmp_path / "modes.json", chosen=[(0, 3), (0, 191)])
    data = json.loads(path.read_text())
    assert len(data["structures"]) == 2 and "displacement" in data["shapes"]
    assert data["properties"]["kind"]["values"] == ["slow", "fast"]


def test_refusals(glass, view):
    with pytest.raises(TypeError, match="modes is a list; accepted are VibrationalModes"):
        ModeView([], properties={})
    with pytest.raises(ValueError, match=r"properties\['a'\] has shape \(3,\)"):
        ModeView(glass, properties={"a": np.zeros(3)})
    with pytest.raises(ValueError, match="y is 'b'; accepted are 'frequency \\(THz\\)', 'a'"):
        ModeView(glass, properties={"a": np.zeros(192)}, y="b")
    with pytest.raises(ValueError, match=r"chosen is \(0, 1\), but must be a wavevector, 0 to 0, and a mode, 0 to 191"):
        view.chosen = (0, 1)
    assert view.chosen == (0, 3)


def test_live_atoms_take_a_vibration():
    atoms = bulk("Si", cubic=True)
    view = LiveAtoms(atoms)
    assert view._vibration == b""
    u = np.zeros((8, 3), complex)
    u[2] = [0, 2j, 0]
    view.update(vibration=u, sizes=np.full(8, 0.5))
    np.testing.assert_allclose(_pattern(view)[2], [0, 0, 0, 0, 1, 0])
    np.testing.assert_allclose(np.frombuffer(view._radii, "<f4"), 0.5 * 0.75 * 1.11)
    for keywords, message in (
        ({"vibration": np.zeros((8, 3))}, "vibration is zero everywhere"),
        ({"vibration": np.ones((7, 3))}, r"vibration has shape \(7, 3\), but \(8, 3\) is needed"),
        ({"vibration": np.full((8, 3), np.nan)}, "vibration"),
        ({"sizes": np.zeros(8)}, "sizes contains 0, but must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            view.update(**keywords)
        assert view.error
    view.update(vibration=None, sizes=None)
    assert view._vibration == b"" and view.error == ""
