"""Modes as chemiscope data: arrows along the displacements, films of one period."""

import numpy as np
import pytest
from ase.build import bulk

from matterscape.maps import mode_map
from matterscape.potentials import Tersoff
from matterscape.structures import Structures
from matterscape.transport.lattice.harmonic import force_constants
from matterscape.transport.lattice.mode_shapes import ModeShapes
from matterscape.transport.lattice.modes import vibrational_modes

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def shapes():
    silicon = bulk("Si", "diamond", a=5.432)
    return ModeShapes(vibrational_modes(force_constants(Tersoff.silicon(), Structures.from_ase(silicon)), (2, 2, 2)))


@pytest.fixture(scope="module")
def properties(shapes):
    table = shapes.modes.angular_frequencies
    return {"speed (Å/ps)": np.arange(float(table.size)).reshape(table.shape), "kind": np.full(table.shape, "slow")}


def test_arrows_are_the_displacements(shapes, properties):
    chosen = [(0, 5), (1, 2)]
    data = mode_map(shapes, properties, chosen=chosen, amplitude=0.7).chemiscope_input()
    assert [structure["size"] for structure in data["structures"]] == [16, 16]
    arrows = np.array([one["vector"] for one in data["shapes"]["displacement"]["parameters"]["atom"]]).reshape(2, 16, 3)
    for arrow, point in zip(arrows, chosen):
        u = shapes.displacements(*point)
        np.testing.assert_allclose(arrow, 0.7 * u.real / np.linalg.norm(u, axis=1).max(), atol=6e-4)
    assert data["properties"]["speed (Å/ps)"]["values"] == [5.0, 8.0]
    assert data["properties"]["frequency (THz)"]["values"][0] == pytest.approx(shapes.modes.frequencies_THz[0, 5])
    assert data["settings"]["structure"][0]["shape"] == "displacement"
    assert data["settings"]["map"]["color"] == {"property": "kind"}


def test_frames_are_one_period(shapes, properties):
    result = mode_map(shapes, properties, chosen=[(1, 2)], kind="frames", n_frames=4, amplitude=0.5)
    positions = np.array([frame.positions for frame in result.frames]) - shapes.atoms.positions
    u = shapes.displacements(1, 2)
    u = 0.5 * u / np.linalg.norm(u, axis=1).max()
    np.testing.assert_allclose(positions, [u.real, u.imag, -u.real, -u.imag], atol=1e-12)
    assert result.properties["phase"].values.tolist() == [0, 90, 180, 270]
    data = result.chemiscope_input()
    assert len(data["structures"]) == 4 and "shapes" not in data


def test_modes_are_chosen_evenly(shapes, properties, monkeypatch):
    monkeypatch.setattr("matterscape.maps.vibrations.MAX_ATOMS", 16 * 10)
    result = mode_map(shapes, properties)
    assert len(result.frames) == 10 and "10 of 45 modes" in result.remarks
    frequencies = result.coordinates[:, 0]
    every = np.sort(shapes.modes.frequencies_THz[tuple(shapes.points.T)])
    assert (np.diff(frequencies) >= 0).all()
    assert frequencies[[0, -1]].tolist() == every[[0, -1]].tolist()


def test_bad_input(shapes, properties):
    for options, message in (
        ({"kind": "film"}, "kind is 'film'; accepted are 'arrows', 'frames'"),
        ({"chosen": [(0, 0)]}, r"chosen holds \(0, 0\); accepted are pairs"),
        ({"chosen": []}, "chosen holds nothing"),
        ({"amplitude": 0}, "amplitude is 0; accepted is a positive number of Å"),
        ({"n_frames": 1}, "n_frames is 1; accepted is a whole number, at least 2"),
    ):
        with pytest.raises(ValueError, match=message):
            mode_map(shapes, properties, **options)
    with pytest.raises(ValueError, match="properties is empty"):
        mode_map(shapes, {})
    with pytest.raises(ValueError, match="properties holds no numbers"):
        mode_map(shapes, {"kind": properties["kind"]})
