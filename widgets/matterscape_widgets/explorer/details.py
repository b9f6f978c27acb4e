"""The card of one point of a map."""

import traitlets

from ..view import HERE, View, front_end


class PointCard(View):
    """Numbers of a point, a verdict on what the model knows there, and its neighbours as buttons.

    Attributes
    ----------
    title, verdict : str
    level : {"low", "middle", "high"}
        How well the point is known; colours the verdict.
    rows : list of (name, value, unit)
    neighbours : list of (point, label, similarity)
    jump : int or None
        The neighbour that was clicked.
    """

    _esm = front_end("explorer/details")
    _css = HERE / "explorer" / "explorer.css"

    title = traitlets.Unicode("No point is chosen").tag(sync=True)
    verdict = traitlets.Unicode("").tag(sync=True)
    level = traitlets.Enum(["low", "middle", "high"], "middle").tag(sync=True)
    rows = traitlets.List().tag(sync=True)
    neighbours = traitlets.List().tag(sync=True)
    point = traitlets.Int(-1).tag(sync=True)
    jump = traitlets.Int(None, allow_none=True).tag(sync=True)
