"""The tests never use the network: data sets come from a folder beside the repository, or the test is skipped."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def data_cache():
    """A private data cache, filled with links to (or copies of) the files of ``SHARED_DATA`` where that exists."""
    with tempfile.TemporaryDirectory(prefix="matterscape-data-") as folder, pytest.MonkeyPatch.context() as patch:
        if SHARED_DATA.is_dir():
            for source in SHARED_DATA.iterdir():
                _link_or_copy(source, Path(folder) / source.name)
        patch.setenv("MATTERSCAPE_DATA", folder)
        yield Path(folder)


@pytest.fixture(autouse=True, scope="session")
def interrupts():
    """Interrupts are Python's to handle, also where the shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.symlink(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture
def dataset(data_cache):
    """``dataset(name)`` loads a data set of the registry, or skips the test with the reason."""
    from matterscape import datasets

    def load(name: str):
        if not datasets.is_available(name):
            pytest.skip(f"the data set {name} is not in {SHARED_DATA}, and tests don't use the network")
        return datasets.load(name)

    return load
