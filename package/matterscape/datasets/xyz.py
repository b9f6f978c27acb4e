"""Extended XYZ, frame by frame: ASE parses each frame, this module finds them and says where a file breaks."""

from collections.abc import Collection, Iterator
from io import StringIO
from itertools import islice
from typing import TextIO

from ase import Atoms
from ase.io.extxyz import read_xyz


class StructureFileError(ValueError):
    """A file of structures that can't be used; the sentence says why and where."""


def count_frames(handle: TextIO, name: str, needed: int | None = None) -> int:
    """Number of complete frames, counting no further than ``needed``.

    Raises ``StructureFileError`` where the file is cut off or is no XYZ file, naming frame and line.
    """
    return sum(1 for _ in islice(_chunks(handle, name), needed))


def read_frames(handle: TextIO, name: str, members: Collection[int]) -> Iterator[tuple[int, Atoms]]:
    """Parse the frames whose numbers are in ``members``, in the order of the file."""
    remaining = len(members)
    chunks = enumerate(_chunks(handle, name))
    while remaining:
        number, (line, text) = next(chunks)
        if number in members:
            yield number, _parse(text, name, number, line)
            remaining -= 1


def _chunks(handle: TextIO, name: str) -> Iterator[tuple[int, str]]:
    """Line number and text of every frame; blank lines between frames are skipped."""
    try:
        yield from _split(handle, name)
    except (UnicodeDecodeError, EOFError, OSError) as error:  # binary content, or a compressed file that is cut off
        raise StructureFileError(f"{name} can't be read as text: {error}") from error


def _split(handle: TextIO, name: str) -> Iterator[tuple[int, str]]:
    number, line = 0, 1
    header = handle.readline()
    while header:
        if not header.strip():
            line, header = line + 1, handle.readline()
            continue
        try:
            n_atoms = int(header)
        except ValueError:
            raise StructureFileError(
                f"{name}: line {line} is {header.strip()[:60]!r} where frame {number} should begin with its number of "
                "atoms; is it an XYZ file?"
            ) from None
        body = list(islice(handle, n_atoms + 1)) if n_atoms >= 0 else []
        if len(body) < n_atoms + 1:
            raise StructureFileError(
                f"{name} is truncated: frame {number} (line {line}) announces {n_atoms} atoms but the file ends after "
                f"{max(len(body) - 1, 0)}{_keep(number)}"
            )
        following = handle.readline()
        while following.lstrip().startswith("VEC"):  # cell vectors may follow the atoms
            body.append(following)
            following = handle.readline()
        yield line, "".join([header, *body])
        number, line, header = number + 1, line + 1 + len(body), following
    if number == 0:
        raise StructureFileError(f"{name} is empty; it needs at least one structure")


def _keep(number: int) -> str:
    return f"; the {number} before it can be read with index=':{number}'" if number else ""


def _parse(text: str, name: str, number: int, line: int) -> Atoms:
    try:
        return next(read_xyz(StringIO(text), 0))
    except Exception as error:  # the parser raises KeyError, ValueError, TypeError, XYZError, ...
        reason = f"it has the unknown element {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        broken = "" if text.endswith("\n") else "; its last line is incomplete, the file seems truncated"
        raise StructureFileError(
            f"{name}: frame {number} (line {line}) can't be read as XYZ: {reason}{broken}{_keep(number)}"
        ) from error
