"""Wheel and source distribution carry both import packages and the files beside them."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.setup

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    path.relative_to(ROOT).as_posix()
    for folder in ("package", "widgets")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_wheel_is_complete(distributions):
    (wheel,) = distributions.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"matterscape/__init__.py", "matterscape_widgets/__init__.py"} <= names
    assert {source.split("/", 1)[1] for source in SOURCES} - names == set()
    extra = {name.split("/")[0] for name in names} - {"matterscape", "matterscape_widgets"}
    assert [name.endswith(".dist-info") for name in extra] == [True]


def test_wheel_describes_itself(distributions):
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        by_end = {
            name.rsplit("/", 1)[-1]: archive.read(name).decode() for name in archive.namelist() if "info/" in name
        }
    assert "matterscape = matterscape.cli:main" in by_end["entry_points.txt"]
    assert "License-Expression: BSD-3-Clause" in by_end["METADATA"]
    assert "Requires-Dist: torch==2.13.0" in by_end["METADATA"]
    assert by_end["LICENSE"] == (ROOT / "LICENSE").read_text()


def test_source_distribution_is_complete(distributions):
    (archive,) = distributions.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.split("/", 1)[1] for name in tar.getnames() if "/" in name}
    assert SOURCES - names == set()
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", "binder/constraints.txt"} <= names
    assert not [name for name in names if name.endswith((".pyc", ".nbi", ".nbc"))]
