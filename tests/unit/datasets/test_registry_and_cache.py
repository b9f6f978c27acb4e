"""Data sets: the registry, the verified cache, and every way in which a download can go wrong."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pooch
import pytest
import requests

from matterscape import datasets
from matterscape.datasets import registry

pytestmark = pytest.mark.unit

PAYLOAD = b'{"Si": [[3, 0, 0]]}\n'


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder of this test."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("MATTERSCAPE_DATA", str(folder))
    return folder


@pytest.fixture
def small(monkeypatch):
    """A registry with one small file, whose bytes are ``PAYLOAD``."""
    row = registry.Dataset(
        name="small", file="small.json", kind="json", content="a test", repository="owner/name", commit="0" * 40,
        path="small.json", sha256=hashlib.sha256(PAYLOAD).hexdigest(), bytes=len(PAYLOAD), licence="none", papers=(),
        citations=(), units={},
    )  # fmt: skip
    monkeypatch.setattr(registry, "_table", lambda: {"small": row})
    return row


@pytest.fixture
def server(monkeypatch):
    """``server(action)`` answers every download with ``action(output_file)``; counts the requests."""
    requested = []

    def install(action):
        def transfer(self, url, output_file, _pooch, check_only=False):
            requested.append(url)
            action(Path(output_file))

        monkeypatch.setattr(pooch.HTTPDownloader, "__call__", transfer)
        return requested

    return install


def test_registry_is_complete():
    for name in datasets.names():
        row = datasets.describe(name)
        assert row.name == name and len(row.sha256) == 64 and len(row.commit) == 40 and row.bytes > 0
        assert row.url == f"https://raw.githubusercontent.com/{row.repository}/{row.commit}/{row.path}"
        assert row.licence and row.content and row.citations
        assert row.kind in ("structures", "array", "json", "currents")
        assert all(paper in citation for paper, citation in zip(row.papers, row.citations, strict=True))


def test_rows_are_frozen():
    with pytest.raises(AttributeError):
        datasets.describe("mad-sample").sha256 = "0"


def test_unknown_name_offers_close_matches():
    with pytest.raises(ValueError, match=r"name is 'mad-sampl'.*did you mean mad-sample"):
        datasets.describe("mad-sampl")
    with pytest.raises(datasets.UnknownDataset, match=r"'zzz'.*accepted are batio3-dft-val, "):
        datasets.load("zzz")


def test_download_is_kept_and_not_repeated(cache, small, server):
    requested = server(lambda output: output.write_bytes(PAYLOAD))
    assert not datasets.is_available("small")
    assert datasets.load("small") == {"Si": [[3, 0, 0]]}
    assert datasets.fetch("small") == cache / "small.json"
    assert requested == [small.url]
    assert datasets.is_available("small")
    assert os.listdir(cache) == ["small.json"]


def test_download_with_another_hash_is_removed(cache, small, server):
    server(lambda output: output.write_bytes(b"an error page"))
    found = hashlib.sha256(b"an error page").hexdigest()
    with pytest.raises(datasets.DatasetCorrupted, match=f"{found} where {small.sha256} is expected; it was removed"):
        datasets.fetch("small")
    assert os.listdir(cache) == []


@pytest.mark.parametrize("action", ["interrupt", "drop"])
def test_interrupted_download_leaves_nothing(cache, small, server, action):
    def stop_half_way(output):
        output.write_bytes(PAYLOAD[:7])
        raise KeyboardInterrupt if action == "interrupt" else requests.ConnectionError

    server(stop_half_way)
    with pytest.raises(KeyboardInterrupt if action == "interrupt" else datasets.DatasetUnavailable):
        datasets.fetch("small")
    assert os.listdir(cache) == [] and not datasets.is_available("small")
    server(lambda output: output.write_bytes(PAYLOAD))
    assert datasets.load("small") == {"Si": [[3, 0, 0]]}


def test_remains_of_a_killed_process_are_never_read(cache, small, server):
    (cache / "tmp1234").write_bytes(PAYLOAD[:7])  # what the downloader's temporary file would be
    (cache / "small.json").write_bytes(PAYLOAD[:7])  # and even a truncated file under the final name
    requested = server(lambda output: output.write_bytes(PAYLOAD))
    assert not datasets.is_available("small")
    assert datasets.load("small") == {"Si": [[3, 0, 0]]}
    assert len(requested) == 1


@pytest.mark.parametrize(
    "error, reason",
    [(requests.ConnectionError("a page of text"), "no connection"), (requests.Timeout(), "no answer within 30 s")],
)
def test_no_network_says_what_to_do(cache, small, server, error, reason):
    def fail(output):
        raise error

    server(fail)
    with pytest.raises(datasets.DatasetUnavailable) as caught:
        datasets.load("small")
    message = str(caught.value)
    assert reason in message and small.url in message and str(cache / "small.json") in message
    assert "a page of text" not in message and "\n" not in message


def test_server_error_is_named(cache, small, server):
    response = requests.Response()
    response.status_code = 404

    def fail(output):
        raise requests.HTTPError(response=response)

    server(fail)
    with pytest.raises(datasets.DatasetUnavailable, match="the server answered 404"):
        datasets.fetch("small")


def test_file_put_by_hand_is_verified(cache, small, server):
    def fail(output):
        raise requests.ConnectionError

    server(fail)
    (cache / "small.json").write_bytes(b"something else")
    with pytest.raises(datasets.DatasetUnavailable, match=r"another SHA-256, .* and is not used"):
        datasets.load("small")
    (cache / "small.json").write_bytes(PAYLOAD)
    assert datasets.load("small") == {"Si": [[3, 0, 0]]}


def test_cache_that_cannot_be_created(tmp_path, monkeypatch, small, server):
    server(lambda output: output.write_bytes(PAYLOAD))
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MATTERSCAPE_DATA", str(tmp_path / "file" / "cache"))
    with pytest.raises(datasets.CacheNotWritable, match=r"data cache .* can't be written to .*set MATTERSCAPE_DATA"):
        datasets.fetch("small")


def test_read_only_cache(cache, small, server, monkeypatch):
    requested = server(lambda output: output.write_bytes(PAYLOAD))

    def refuse(*args, **kwargs):  # as a read-only file system does, also for root
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    with pytest.raises(datasets.CacheNotWritable, match="Read-only file system"):
        datasets.fetch("small")
    assert requested == []
    (cache / "small.json").write_bytes(PAYLOAD)  # a read-only cache that is filled serves
    assert datasets.load("small") == {"Si": [[3, 0, 0]]}


def test_cache_folder(monkeypatch):
    monkeypatch.setenv("MATTERSCAPE_DATA", "~/somewhere")
    assert datasets.cache_folder() == Path.home() / "somewhere"
    monkeypatch.delenv("MATTERSCAPE_DATA")
    assert datasets.cache_folder().name == "matterscape"


def test_every_structure_set_has_unified_keys(dataset):
    for name in datasets.names():
        row = datasets.describe(name)
        if row.kind != "structures":
            continue
        frames = dataset(name)
        assert all(atoms.calc is None and np.isfinite(atoms.positions).all() for atoms in frames)
        found = datasets.survey(frames)
        assert not {"energy", "forces"} & set(found.partial)
        assert {"energy", "forces", "stress"} & set(row.units) == {"energy", "forces", "stress"} & set(found.complete)
        for key in row.units:
            assert key in found.complete


def test_water_keys_are_renamed(dataset):
    atoms = dataset("water-dft-val")[0]
    assert atoms.info["energy"] == -30028.640412405373 and "TotEnergy" not in atoms.info
    np.testing.assert_array_equal(atoms.arrays["forces"][0], [0.21788918, -0.17906604, -0.09016294])
    assert "force" not in atoms.arrays and atoms.info["CONVERTED_ID"] == 205


def test_water_molecules_without_a_cell_are_not_periodic(dataset):
    frames = dataset("water-structures")
    assert len(frames) == 1000 and not any(atoms.pbc.any() for atoms in frames)
    assert frames[0].info["potential"] == -76.3156397666 and "energy" not in frames[0].info  # hartree, not eV


def test_arrays_and_orbitals(dataset):
    fock, orbitals = dataset("water-hamiltonians"), dataset("water-orbitals")
    assert fock.shape == (1000, 6, 6) and len(orbitals["O"]) + 2 * len(orbitals["H"]) == 6
    assert dataset("ethanol-fock").shape == (1000, 18, 18) and set(dataset("ethanol-orbitals")) == {"H", "C", "O"}


def test_currents_of_molten_salt(dataset):
    currents = dataset("nacl-currents")
    assert currents.names == currents.kinds == ("energy", "charge")
    assert currents.values.shape == (2, 1, 3, 20000) and currents.timestep_fs == 5.0
    assert currents.temperature_K == pytest.approx(1399.35, abs=0.01) and currents.volume == 65013.301261
    np.testing.assert_array_equal(currents["energy"][0, :, 0], [250.86549, 20.619423, 200.115])
    # J_Z = N_Na (v_Na - v_Cl) = N_Na (1 + m_Na / m_Cl) v_Na where the total momentum vanishes
    np.testing.assert_allclose(currents["charge"][0, 0, 0], -0.15991832 * 864 * (1 + 22.98976928 / 35.45), rtol=1e-6)
