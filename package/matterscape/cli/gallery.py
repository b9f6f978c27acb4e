"""The notebooks of the project, as their own metadata describe them: one source for gallery and command line."""

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

REQUIRED = ("title", "claim", "minutes")


def notebooks_folder() -> Path:
    """The folder ``notebooks`` of the source tree: that of the package, else one in or above the working directory.

    Raises
    ------
    ValueError
        If there is none, as with a package installed without its source tree.
    """
    source_tree = Path(__file__).resolve().parents[3]
    for folder in (source_tree, Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks" / "start.ipynb").is_file():
            return folder / "notebooks"
    raise ValueError(f"no folder 'notebooks' was found from {Path.cwd()}; run inside the source tree or give --folder")


def entries(folder: str | Path) -> list[dict[str, Any]]:
    """Notebooks that describe themselves, sorted by path.

    A notebook belongs to the gallery if its metadata have a table ``matterscape`` with at least ``title``, ``claim``
    (a sentence) and ``minutes`` (of a live run); ``arxiv``, ``picture`` and whatever else it has come along.

    Parameters
    ----------
    folder : str or pathlib.Path
        Searched with its subfolders.

    Returns
    -------
    list of dict
        The metadata, with ``name`` (file name without suffix), ``path`` (relative to ``folder``, with forward slashes)
        and ``kind``: ``"study"`` or ``"tutorial"`` by subfolder, else ``"tool"``.

    Raises
    ------
    ValueError
        If the folder does not exist, or a notebook can't be read or lacks a required key; names the notebook.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"folder is {str(folder)!r}, which does not exist; a folder of notebooks is needed")
    found = []
    for path in sorted(folder.rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts:
            continue
        described = _metadata(path)
        if described is not None:
            relative = path.relative_to(folder)
            kind = {"studies": "study", "tutorials": "tutorial"}.get(relative.parts[0], "tool")
            found.append({**described, "name": path.stem, "path": relative.as_posix(), "kind": kind})
    return found


def _metadata(path: Path) -> dict[str, Any] | None:
    try:
        described = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("matterscape")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no notebook that can be read: {error}") from error
    if described is None:
        return None
    missing = [key for key in REQUIRED if key not in described]
    if missing:
        raise ValueError(f"the metadata 'matterscape' of {path} lack {', '.join(missing)}")
    return described


def find(name: str, folder: str | Path | None = None) -> Path:
    """The notebook that ``name`` means: a path, a file name without suffix, an arXiv id, or the part after the id.

    Parameters
    ----------
    name : str
    folder : str or pathlib.Path, optional
        Where names are looked up; that of the source tree if not given.

    Raises
    ------
    ValueError
        If it means none or more than one; the sentence lists them.
    FileNotFoundError
        If it is a path that does not exist.
    """
    path = Path(name).expanduser()
    if path.suffix == ".ipynb":
        if not path.is_file():
            raise FileNotFoundError(f"there is no notebook {name}")
        return path
    folder = Path(folder or notebooks_folder())
    gallery = entries(folder)
    known = {entry["name"]: folder / entry["path"] for entry in gallery}
    arxiv = {entry["name"]: str(entry.get("arxiv", "")) for entry in gallery}
    matches = [stem for stem in known if name == stem] or [
        stem for stem in known if name == arxiv[stem] or stem.endswith(f"-{name}") or stem.startswith(f"{name}-")
    ]
    if len(matches) == 1:
        return known[matches[0]]
    offered = matches or get_close_matches(name, known, n=3, cutoff=0.3) or list(known)
    reason = "means several notebooks" if matches else "is no notebook of the gallery"
    raise ValueError(f"STUDY is {name!r}, which {reason}; accepted are a path or, for instance, {', '.join(offered)}")
