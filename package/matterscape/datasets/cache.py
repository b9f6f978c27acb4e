"""The cache of downloaded files: verified, atomic, and clear about what to do when there is no network."""

import hashlib
import logging
import os
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from matterscape.datasets.registry import Dataset, describe
from matterscape.progress import progress

TIMEOUT_S = 30


class DatasetUnavailable(OSError):
    """A data set that is neither in the cache nor within reach."""


class DatasetCorrupted(OSError):
    """A downloaded file whose SHA-256 is not the registry's."""


class CacheNotWritable(OSError):
    """A cache folder that can't be created or written to."""


def cache_folder() -> Path:
    """Folder of the downloaded files: ``MATTERSCAPE_DATA`` where set, else the platform's cache folder."""
    chosen = os.environ.get("MATTERSCAPE_DATA")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("matterscape"))


def is_available(name: str) -> bool:
    """True if the data set lies verified in the cache, so that ``load`` needs no network.

    The network is not asked. Raises ``UnknownDataset`` for a name that is not in the registry.
    """
    row = describe(name)
    return _digest(cache_folder() / row.file) == row.sha256


def fetch(name: str) -> Path:
    """Path of a data set's file, downloaded and verified if it is not in the cache yet.

    A file in the cache, whoever put it there, is used only if its SHA-256 is the registry's; else it is replaced. A
    download goes to a temporary file and is renamed only once verified, so that an interrupt leaves nothing behind
    that could be read.

    Parameters
    ----------
    name : str
        One of ``names()``.

    Returns
    -------
    pathlib.Path
        The verified file.

    Raises
    ------
    UnknownDataset
        If the name is not in the registry.
    DatasetUnavailable
        If the file can't be downloaded; the sentence says which file to put where.
    DatasetCorrupted
        If what was downloaded has another SHA-256; it is removed.
    CacheNotWritable
        If the cache folder can't be created or written to.
    """
    row = describe(name)
    target = cache_folder() / row.file
    found = _digest(target)
    if found != row.sha256:
        _download(row, target, damaged=found)
    return target


def _digest(path: Path) -> str | None:
    """SHA-256 of a file, or None where there is no readable file."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError:
        return None


def _download(row: Dataset, target: Path, damaged: str | None) -> None:
    import pooch
    import requests

    bar = progress((), row.file, total=row.bytes)
    bar.unit, bar.unit_scale = "B", True
    transfer = pooch.HTTPDownloader(progressbar=bar, timeout=TIMEOUT_S)

    def download_and_verify(url: str, temporary: str, _) -> None:
        transfer(url, temporary, None)
        found = _digest(Path(temporary))
        if found != row.sha256:
            raise DatasetCorrupted(
                f"{row.name}: the file downloaded from {url} has the SHA-256 {found} where {row.sha256} is expected; "
                "it was removed, try again later"
            )

    try:
        with _quiet(pooch.get_logger()), bar:
            pooch.retrieve(
                row.url,
                known_hash=f"sha256:{row.sha256}",
                fname=target.name,
                path=target.parent,
                downloader=download_and_verify,
            )
    except requests.RequestException as error:
        cached = f" (the file that lies there has another SHA-256, {damaged}, and is not used)" if damaged else ""
        raise DatasetUnavailable(
            f"{row.name} can't be downloaded ({_cause(error)}); connect to the network, or download {row.url} "
            f"elsewhere and put it at {target}{cached}"
        ) from error
    except DatasetCorrupted:
        raise
    except OSError as error:
        raise CacheNotWritable(
            f"the data cache {target.parent} can't be written to ({error.strerror or error}); set MATTERSCAPE_DATA to "
            "a folder of your own"
        ) from error


def _cause(error: Exception) -> str:
    """The reason for a failed request in a few words; the full chain of a connection error is a page."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT_S} s"
    return "no connection"


@contextmanager
def _quiet(logger: logging.Logger):
    """Silence a library's chatter: the progress bar says it already."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
