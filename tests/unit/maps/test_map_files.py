"""The files of a finished map, and what a map refuses to be made of."""

import base64
import gzip
import json
import os
import re
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from ase.build import bulk, molecule

from matterscape.maps import MapResult
from matterscape.structures.properties import Property

pytestmark = pytest.mark.unit


def _viewer():
    folder = files("chemiscope") / "sphinx" / "static"
    return (folder / "chemiscope.min.js").read_text(encoding="utf-8").replace("<!--", "\\x3C!--")


@pytest.fixture
def result():
    frames = [molecule("H2O"), molecule("CH4"), bulk("Si", cubic=True)]
    properties = {
        "energy": Property("energy", np.array([-1.0, np.nan, 3.0]), "structure", "eV"),
        "origin": Property("origin", np.array(["a", "</script><!--", "NaN"]), "structure"),
    }
    coordinates = np.arange(6.0).reshape(3, 2)
    return MapResult(coordinates, ("PCA 1", "PCA 2"), properties, frames, colour="energy", remarks=("a remark",))


@pytest.fixture
def environments(result):
    atoms = np.array([[0, 0], [1, 2], [2, 7], [2, 1]])
    label = Property("label", np.arange(4.0), "atom")
    coordinates = np.zeros((4, 2))
    return replace(
        result, coordinates=coordinates, properties={"label": label}, environments=atoms, cutoff=4.5, colour="label"
    )


def test_structures_and_their_properties(result):
    data = result.chemiscope_input("my map")
    assert data["meta"]["name"] == "my map" and "a remark" in data["meta"]["description"]
    assert [structure["size"] for structure in data["structures"]] == [3, 5, 8]
    assert ["cell" in structure for structure in data["structures"]] == [False, False, True]
    assert data["properties"]["PCA 2"]["values"] == [1.0, 3.0, 5.0]
    assert data["properties"]["energy"]["units"] == "eV" and np.isnan(data["properties"]["energy"]["values"][1])
    assert data["properties"]["origin"]["values"][0] == "a"
    assert data["settings"]["map"]["x"] == {"property": "PCA 1"}
    assert data["settings"]["map"]["color"] == {"property": "energy"}
    assert data["settings"]["target"] == "structure" and "environments" not in data


def test_environments_carry_their_cutoff(environments):
    data = environments.chemiscope_input()
    assert environments.level == "atom" and data["settings"]["target"] == "atom"
    assert data["environments"][2] == {"structure": 2, "center": 7, "cutoff": 4.5}
    assert data["properties"]["label"]["target"] == "atom"


def test_json_and_compressed_json_hold_the_same(result, tmp_path):
    plain, packed = result.write(tmp_path / "a.json"), result.write(tmp_path / "a.json.gz")
    assert plain.read_text() == gzip.decompress(packed.read_bytes()).decode()
    data = json.loads(plain.read_text())
    assert data["meta"]["name"] == "a" and np.isnan(data["properties"]["energy"]["values"][1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.json.gz"]


def test_html_is_one_file_without_a_network(result, tmp_path):
    page = result.write(tmp_path / "map.html").read_text()
    assert not re.search(r"<(link|img|iframe)|<script[^>]*src", page.replace(_viewer(), ""))
    assert page.count("</script>") == 4  # nothing inside ends a script early
    dataset = re.search(r'id="dataset">([^<]+)<', page).group(1)
    data = json.loads(gzip.decompress(base64.b64decode(dataset)))
    assert data["properties"]["origin"]["values"] == ["a", "</script><!--", "NaN"]
    assert "Chemiscope" in page and "chemiscope developers" in page  # viewer and licence


def test_an_interrupted_write_leaves_the_old_file(result, tmp_path, monkeypatch):
    path = tmp_path / "map.json"
    path.write_text("old")
    monkeypatch.setattr(MapResult, "chemiscope_input", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        result.write(path)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["map.png", "map", "map.gz"])
def test_other_extensions_are_refused(result, tmp_path, name):
    with pytest.raises(ValueError, match=rf"path must end in .html, .json or .json.gz, got '{name}'"):
        result.write(tmp_path / name)


def test_a_missing_folder_is_named(result, tmp_path):
    with pytest.raises(OSError, match="path must lie in an existing folder that can be written to"):
        result.write(tmp_path / "missing" / "map.html")


@pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="needs a user whom permissions bind")
def test_a_read_only_folder_is_named(result, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="can be written to"):
        result.write(tmp_path / "map.html")


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(coordinates=np.zeros((2, 2))), r"coordinates must have shape \(3, 2\), got \(2, 2\)"),
        (dict(colour="mass"), "colour must be one of energy, origin, got 'mass'"),
        (
            dict(properties={"forces": Property("forces", np.zeros((3, 3)), "structure")}),
            "property 'forces' must have one value for each of 3 samples",
        ),
    ],
)
def test_a_map_must_be_consistent(result, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(result, **{"colour": None, **changes})
