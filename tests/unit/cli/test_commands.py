"""The command line: what every command prints, and one sentence for every mistake."""

import json
import subprocess
import sys
import types

import ase.io
import pytest
from ase.build import bulk

from matterscape import datasets
from matterscape.cli import main

pytestmark = pytest.mark.unit


@pytest.fixture
def run(capfd):
    """``run(*arguments)`` returns exit status, stdout and stderr of the command."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        output = capfd.readouterr()
        return status, output.out, output.err

    return run


@pytest.fixture
def fails(run):
    """``fails(*arguments)`` returns the one sentence of a command that must fail."""

    def fails(*arguments, expected=1):
        status, out, err = run(*arguments)
        assert status == expected and out == ""
        assert err.startswith("matterscape: ") and err.count("\n") == 1 and "Traceback" not in err
        return err

    return fails


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("MATTERSCAPE_DATA", str(folder))
    return folder


def test_version_and_help(run):
    assert run("--version")[0] == 0
    status, out, _ = run("--help")
    assert status == 0 and all(name in out for name in ("map", "studies", "run", "data", "bench", "doctor", "--debug"))


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from matterscape.cli import main; main(['--help'])\n"
        "heavy = {'torch', 'numba', 'ase', 'numpy', 'sklearn', 'pooch', 'nbclient'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_mistakes_in_the_arguments(fails):
    assert "No such command 'mapp'" in fails("mapp", expected=2)
    assert "Missing argument" in fails("map", expected=2)
    assert "--cutoff" in fails("map", "a.xyz", "--cutoff", "far", expected=2)
    assert "--per" in fails("map", "a.xyz", "--per", "molecule", expected=2)


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(FileNotFoundError):
        main(["--debug", "map", str(tmp_path / "nowhere.xyz"), "-o", str(tmp_path / "map.html")])
    with pytest.raises(FileNotFoundError):
        main(["map", str(tmp_path / "nowhere.xyz"), "-o", str(tmp_path / "map.html"), "--debug"])


def test_errors_that_nobody_expected(fails, monkeypatch):
    def broken():
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(datasets, "names", broken)
    assert "unexpected ZeroDivisionError: division by zero (run again with --debug" in fails("data", "list")


def test_interrupt(run, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "names", interrupted)
    assert run("data", "list") == (130, "", "matterscape: interrupted; nothing half-written was left behind\n")


# --- data


def test_data_list(run, empty_cache):
    for arguments in (("data",), ("data", "list")):
        status, out, _ = run(*arguments)
        assert status == 0 and all(name in out for name in datasets.names()) and str(empty_cache) in out
    rows = json.loads(run("data", "list", "--json")[1])
    assert [row["name"] for row in rows] == datasets.names()
    assert not any(row["cached"] for row in rows) and rows[0]["url"].startswith("https://")


def test_data_path_and_fetch_from_the_cache(run, dataset, data_cache):
    dataset("water-orbitals")
    expected = f"{data_cache / 'water-orbitals.json'}\n"
    assert run("data", "path", "water-orbitals") == (0, expected, "")
    assert run("data", "fetch", "water-orbitals") == (0, expected, "")


def test_data_mistakes(fails, empty_cache, monkeypatch):
    import requests

    def offline(*args, **kwargs):
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "get", offline)
    assert "did you mean mad-sample?" in fails("data", "path", "mad-sampel")
    assert "run matterscape data fetch mad-sample" in fails("data", "path", "mad-sample")
    assert "fetch needs names of data sets or --all" in fails("data", "fetch")
    assert "fetch needs names of data sets or --all" in fails("data", "fetch", "mad-sample", "--all")
    assert "mad-sample can't be downloaded (no connection); connect" in fails("data", "fetch", "mad-sample")
    assert "is not a data set" in fails("data", "fetch", "mad-sample", "nothing-like-it")  # before any download


# --- doctor


def test_doctor(run):
    status, out, _ = run("doctor", "--json")
    found = json.loads(out)
    assert status == 0
    assert found["memory_gb"] > 0
    assert set(found) == {
        "memory_gb",
        "matterscape", "python", "platform", "libraries", "threads", "numba_cache", "gpu", "data", "chromium",
    }  # fmt: skip
    assert (
        found["libraries"]["torch"].startswith("2.") and 1 <= found["threads"]["kernels"] <= found["threads"]["cores"]
    )
    assert found["threads"]["layer"] in ("omp", "tbb", "workqueue") and found["numba_cache"]["writable"] in (
        True,
        False,
    )
    assert sorted(found["data"]["present"] + found["data"]["missing"]) == sorted(datasets.names())
    status, text, _ = run("doctor")
    assert status == 0 and found["data"]["folder"] in text and f"torch {found['libraries']['torch']}" in text


def test_doctor_names_what_is_missing():
    from matterscape.cli.doctor import describe, report

    found = report()
    found["libraries"]["featomic"] = None
    found["threads"]["quota"] = 1.5
    found |= {"chromium": None, "gpu": []}
    text = describe(found)
    assert "not installed      featomic" in text and "quota 1.5 cores" in text
    assert "no Chromium found" in text and "GPU                none" in text


# --- bench


@pytest.fixture
def benchmarks(monkeypatch):
    """Benchmarks that take no time; a row without peer among them."""
    import matterscape.benchmarks

    def rows(names, memory):
        if "nothing" in names:
            raise ValueError("there is no benchmark 'nothing'; accepted are soap, forces")
        measured = ("peer_s", "ratio", "ratio_low", "ratio_high", "ours_mb", "peer_mb")
        soap = dict(zip(measured, (1.0, 2.0, 1.9, 2.1, 10.0, 40.0))) | ({} if memory else dict.fromkeys(measured[-2:]))
        yield {"task": "soap", "ours_s": 0.5, "peer": "featomic", **soap}
        yield {"task": "forces", "ours_s": 1e-3, "peer": "featomic", **dict.fromkeys(measured)}

    monkeypatch.setattr(matterscape.benchmarks, "run", rows)
    monkeypatch.setattr(matterscape.benchmarks, "TASKS", {"soap": None, "forces": None})


def test_bench(run, fails, benchmarks):
    status, out, _ = run("bench")
    lines = [line.split() for line in out.splitlines()]
    assert status == 0
    assert lines == [
        ["task", "ours_s", "peer", "peer_s", "ratio", "ratio_low", "ratio_high", "ours_mb", "peer_mb"],
        ["soap", "0.5", "featomic", "1", "2.00", "1.90", "2.10", "10.0", "40.0"],
        ["forces", "0.001", "featomic", "-", "-", "-", "-", "-", "-"],
    ]
    assert json.loads(run("bench", "soap", "--json")[1])[0]["ratio"] == 2.0
    assert json.loads(run("bench", "soap", "--json", "--no-memory")[1])[0]["peer_mb"] is None
    assert "no benchmark 'nothing'; accepted are" in fails("bench", "nothing")


# --- map


@pytest.fixture
def build_map(monkeypatch):
    """A stand-in for the map's construction that records how it was called."""
    calls = []

    class Result:
        remarks = ()

        def write(self, path):
            path.write_text("map")

    def build(frames, **options):
        options.pop("on_progress")(0.5, "half way")
        calls.append((frames, options))
        return Result()

    monkeypatch.setitem(sys.modules, "matterscape.maps", types.SimpleNamespace(build_map=build))
    monkeypatch.setattr("matterscape.maps", sys.modules["matterscape.maps"], raising=False)
    return calls


@pytest.fixture
def silicon(tmp_path):
    path = tmp_path / "silicon.xyz"
    ase.io.write(path, [bulk("Si", cubic=True)] * 5)
    return path


def test_map_leaves_to_the_library_what_is_not_given(run, build_map, silicon, tmp_path):
    status, out, err = run("map", silicon, "-o", tmp_path / "map.html")
    assert status == 0 and err == "" and "map.html: 5 structures" in out
    ((frames, options),) = build_map
    assert len(frames) == 5 and options == {"seed": 0}
    assert (tmp_path / "map.html").read_text() == "map"


def test_map_hands_over_every_option(run, build_map, silicon, tmp_path):
    arguments = "--index ::2 --cutoff 4.5 --max-radial 6 --max-angular 4 --smearing 0.4 --per atom --projection pcovr"
    arguments += " --property energy --max-environments 100 --seed 7 --mixing 0.3 --species-channels 4 --ensemble"
    assert run("map", silicon, "--output", tmp_path / "map.json.gz", *arguments.split())[0] == 0
    ((frames, options),) = build_map
    assert len(frames) == 3
    assert options == {
        "cutoff": 4.5, "max_radial": 6, "max_angular": 4, "smearing": 0.4, "per": "atom", "projection": "pcovr",
        "target": "energy", "mixing": 0.3, "species_channels": 4, "max_environments": 100, "seed": 7,
        "ensemble": True,
    }  # fmt: skip


def test_map_of_a_data_set(run, fails, build_map, dataset, tmp_path, monkeypatch):
    dataset("li3ps4-sample-val")
    monkeypatch.chdir(tmp_path)
    assert run("map", "li3ps4-sample-val", "--index", "-2:")[0] == 0
    assert len(build_map[0][0]) == 2 and "energy" in build_map[0][0][0].info
    assert "needs one of structures" in fails("map", "water-orbitals")


def test_map_notes_mixed_properties(run, build_map, tmp_path):
    text = "".join(f"1\nproperty_{i}=1\nHe 0 0 0\n" for i in range(2))
    (tmp_path / "mixed.xyz").write_text(text)
    status, _, err = run("map", tmp_path / "mixed.xyz", "-o", tmp_path / "map.html")
    assert status == 0 and err.startswith("note: ") and "property_0 in 1 of 2" in err and err.count("\n") == 1


def test_map_mistakes(fails, silicon, tmp_path):
    output = tmp_path / "map.html"
    assert "accepted are names that end in .html, .json, .json.gz" in fails("map", silicon, "-o", tmp_path / "map.png")
    assert "there is no folder" in fails("map", silicon, "-o", tmp_path / "nowhere" / "map.html")
    (tmp_path / "folder.html").mkdir()
    assert "is a folder" in fails("map", silicon, "-o", tmp_path / "folder.html")
    assert "there is no file" in fails("map", tmp_path / "nowhere.xyz", "-o", output)
    (tmp_path / "empty.xyz").touch()
    assert "is empty" in fails("map", tmp_path / "empty.xyz", "-o", output)
    (tmp_path / "cut.xyz").write_text(silicon.read_text()[:-200])
    assert "is truncated: frame 4" in fails("map", tmp_path / "cut.xyz", "-o", output)
    assert "index is 'some'" in fails("map", silicon, "--index", "some", "-o", output)
    assert not output.exists()


def test_map_end_to_end(tmp_path, capsys):
    """A file becomes a chemiscope file whose properties cover every structure; the remarks are printed."""
    from ase.io import write

    from matterscape.datasets import generators

    frames = generators.random_molecules(30, 5, (1, 6, 8), seed=2)
    for k, atoms in enumerate(frames):
        atoms.info["energy"] = float(k % 7)
    write(tmp_path / "in.xyz", frames, format="extxyz")
    options = ["--max-radial", "3", "--max-angular", "2", "--cutoff", "3.5", "--target", "energy"]
    assert main(["map", str(tmp_path / "in.xyz"), "-o", str(tmp_path / "out.json"), *options]) == 0
    content = json.loads((tmp_path / "out.json").read_text())
    assert len(content["structures"]) == 30
    assert all(len(p["values"]) == 30 for p in content["properties"].values() if p["target"] == "structure")
    printed = capsys.readouterr().out
    assert "30 structures" in printed and "Leave-one-out error of energy" in printed
    assert main(["map", str(tmp_path / "in.xyz"), "-o", str(tmp_path / "out.json"), "--cutoff", "-1"]) != 0
    assert "cutoff is -1" in capsys.readouterr().err
