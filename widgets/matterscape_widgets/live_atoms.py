"""LiveAtoms: atoms that move, many times a second."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import traitlets
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from ase.geometry import wrap_positions

from .canvas import CanvasWidget, column, pack
from .view import front_end

UNCHANGED = object()


class LiveAtoms(CanvasWidget):
    """Atoms as shaded spheres in their cell, redrawn while a simulation runs or while they vibrate.

    Drag to turn, scroll to zoom (after a click), click an atom to mark it; the arrow keys turn, plus and minus zoom, 0
    shows everything, S saves the picture. chemiscope draws more, but reads its structures only once; this view takes
    new positions at the rate of a slider. A vibration is sent once and moves in the browser, where space plays and
    pauses it and A shows arrows.

    Parameters
    ----------
    atoms : ase.Atoms
        What is shown first; its species and number of atoms stay.
    colour : array_like, shape (n_atoms,), optional
        Numbers for a colour bar; without it the atoms have their elements' colours. nan is drawn in grey.
    colour_range : (low, high), optional
        Ends of the colour bar; by default those of the numbers. Fix it to compare one moment with the next.
    colour_label : str
        Name and unit of the colour bar.
    wrap : bool
        Show each atom inside the cell, wherever its unwrapped position is.
    height : int
        Height in CSS pixels.

    Attributes
    ----------
    active : int or None
        The atom last clicked; assign to mark another.
    playing, arrows : bool
        Whether a vibration moves, and whether arrows show where it goes.
    amplitude : float
        Largest displacement of a vibration on the screen in Å.
    pace : float
        Periods of a vibration in a second on the screen.
    picture_name : str
        Name of the file of a picture that is saved.
    error : str
        A sentence shown above the atoms; set by an `update` that fails, cleared by one that succeeds.

    Raises
    ------
    TypeError
        If `atoms` is no ase.Atoms.
    ValueError
        If there are no atoms, or a number is missing or infinite where it must not be.
    """

    _esm = front_end("canvas", "live_atoms")

    active = traitlets.Int(None, allow_none=True).tag(sync=True)
    colour_label = traitlets.Unicode("").tag(sync=True)
    playing = traitlets.Bool(True).tag(sync=True)
    arrows = traitlets.Bool(False).tag(sync=True)
    amplitude = traitlets.Float(0.5, min=0.0, max=100.0).tag(sync=True)
    pace = traitlets.Float(1.0, min=0.0, max=20.0).tag(sync=True)
    picture_name = traitlets.Unicode("atoms.png").tag(sync=True)

    _positions = traitlets.Bytes().tag(sync=True)
    _radii = traitlets.Bytes().tag(sync=True)
    _vibration = traitlets.Bytes().tag(sync=True)
    _colour = traitlets.Bytes().tag(sync=True)
    _frame = traitlets.List([0, 1]).tag(sync=True)
    _range = traitlets.List(None, allow_none=True).tag(sync=True)
    _cell = traitlets.List().tag(sync=True)
    _symbols = traitlets.List().tag(sync=True)
    _elements = traitlets.List().tag(sync=True)

    def __init__(
        self,
        atoms: Atoms,
        colour: Sequence[float] | np.ndarray | None = None,
        *,
        colour_range: tuple[float, float] | None = None,
        colour_label: str = "",
        wrap: bool = True,
        height: int = 380,
    ):
        if not isinstance(atoms, Atoms):
            raise TypeError(f"atoms is a {type(atoms).__name__}; accepted is ase.Atoms.")
        if len(atoms) == 0:
            raise ValueError("atoms holds no atoms; LiveAtoms needs at least one.")
        self._n = len(atoms)
        self._pbc = atoms.pbc.copy()
        self._wrap = bool(wrap)
        super().__init__(height=height)
        self._symbols = [chemical_symbols[number] for number in atoms.numbers]
        self._usual_radii = 0.75 * covalent_radii[atoms.numbers]
        self._radii = self._usual_radii.astype("<f4").tobytes()
        self._elements = [[round(255 * float(c)) for c in jmol_colors[number]] for number in atoms.numbers]
        self.update(atoms.positions, atoms.cell[:], colour, colour_range, colour_label=colour_label)

    @property
    def n_atoms(self) -> int:
        """The number of atoms."""
        return self._n

    def update(
        self,
        positions=UNCHANGED,
        cell=UNCHANGED,
        colour=UNCHANGED,
        colour_range=UNCHANGED,
        *,
        vibration=UNCHANGED,
        sizes=UNCHANGED,
        **texts: str,
    ) -> None:
        """Change some or all of what is shown in one message.

        Parameters
        ----------
        positions : array_like, shape (n_atoms, 3), optional
            In Å, wrapped or not.
        cell : array_like, shape (3, 3), optional
            Cell vectors as rows in Å; zeros where there is none.
        colour, colour_range : as for the constructor
            What is left out stays; None removes it.
        vibration : array_like, shape (n_atoms, 3), real or complex, optional
            Pattern u of displacements: the atoms move by the real part of u exp(-i omega t), scaled so that the largest
            displacement is ``amplitude``. None lets them rest.
        sizes : array_like, shape (n_atoms,), optional
            Radii of the spheres in parts of the elements' usual ones, positive; None restores these.
        **texts : str
            A new `colour_label`.

        Raises
        ------
        ValueError
            If shapes do not fit or positions are not finite; the view then keeps its old data and shows the sentence.
        TypeError
            If a keyword is none of the above.
        """
        unknown = set(texts) - {"colour_label"}
        if unknown:
            raise TypeError(f"update got {sorted(unknown)[0]!r}, which is neither data nor a label of LiveAtoms.")
        try:
            traits = self._checked(positions, cell, colour, colour_range) | self._checked_marks(vibration, sizes)
        except ValueError as error:
            self.error = str(error)
            raise
        with self.hold_sync():
            for name, value in traits.items():
                self.set_trait(name, value)
            self.error = ""
            for name, text in texts.items():
                setattr(self, name, text)

    def _checked(self, positions, cell, colour, colour_range) -> dict:
        """Validate new data before any of it is sent: the traits."""
        traits = {}
        if cell is not UNCHANGED:
            traits["_cell"] = _table("cell", cell, 3).tolist()
        if positions is not UNCHANGED:
            points = _table("positions", positions, self._n)
            if self._wrap:
                points = wrap_positions(points, traits.get("_cell", self._cell), self._pbc, eps=0)
            traits["_positions"] = points.astype("<f4").tobytes()
        if colour is not UNCHANGED:
            values = np.zeros(0) if colour is None else column("colour", colour, self._n)
            traits["_colour"], traits["_frame"] = pack(values)
        if colour_range is not UNCHANGED:
            if colour_range is not None:
                low, high = (float(end) for end in colour_range)
                if not (np.isfinite([low, high]).all() and low < high):
                    raise ValueError(f"colour_range is ({low}, {high}), but must be finite, the lower first.")
                colour_range = [low, high]
            traits["_range"] = colour_range
        return traits

    def _checked_marks(self, vibration, sizes) -> dict:
        traits = {}
        if vibration is not UNCHANGED:
            traits["_vibration"] = b"" if vibration is None else self._pattern(np.asarray(vibration))
        if sizes is not UNCHANGED:
            sizes = np.ones(self._n) if sizes is None else column("sizes", sizes, self._n)
            if not (sizes > 0).all():
                raise ValueError(f"sizes contains {sizes.min():g}, but must be positive.")
            traits["_radii"] = (sizes * self._usual_radii).astype("<f4").tobytes()
        return traits

    def _pattern(self, vibration: np.ndarray) -> bytes:
        """Real and, if there is one, imaginary part side by side, the largest displacement being one."""
        columns = [_table("vibration", vibration.real, self._n)]
        if np.iscomplexobj(vibration):
            columns.append(_table("vibration", vibration.imag, self._n))
        pattern = np.hstack(columns)
        largest = np.linalg.norm(pattern, axis=1).max()
        if not largest > 0:
            raise ValueError("vibration is zero everywhere, but at least one atom must move.")
        return (pattern / largest).astype("<f4").tobytes()

    @traitlets.validate("active")
    def _check_active(self, proposal) -> int | None:
        value = proposal["value"]
        if value is not None and not 0 <= value < self._n:
            raise ValueError(f"active is {value}, but the atoms are 0 to {self._n - 1}.")
        return value


def _table(name: str, values: Sequence, rows: int) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (rows, 3):
        raise ValueError(f"{name} has shape {array.shape}, but ({rows}, 3) is needed.")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise ValueError(f"{name}[{bad[0][0]}] is {array[bad[0][0]].tolist()}, but must be finite.")
    return array
