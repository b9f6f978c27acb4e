"""SporTran as the peer of cepstral analysis, in the state that its authors released for older libraries."""

import sys
import types
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from matterscape.transport.currents import Currents

_RENAMED = {"NaN": np.nan, "trapz": np.trapezoid, "row_stack": np.vstack}  # what numpy 2 calls otherwise


class _OlderNumpy(types.ModuleType):
    """numpy with the names that it has dropped, for the modules of SporTran alone."""

    def __getattr__(self, name: str) -> Any:
        return _RENAMED[name] if name in _RENAMED else getattr(np, name)


def import_sportran() -> Any:
    """The module ``sportran`` 1.0.0rc4, silent, with matplotlib's style and numpy left as they are.

    Raises
    ------
    ImportError
        If the extra ``peers`` is not installed.
    """
    if "sportran" in sys.modules:
        return sys.modules["sportran"]
    resources = types.ModuleType("pkg_resources")  # setuptools no longer has it; only a style sheet is asked for
    resources.resource_filename = lambda package, name: str(Path(*package.split("."), name))
    missing = sys.modules.setdefault("pkg_resources", resources) is resources
    try:
        with mock.patch("matplotlib.pyplot.style.use"):
            import sportran
    finally:
        if missing:
            del sys.modules["pkg_resources"]
    older = _OlderNumpy("numpy")
    for name, module in list(sys.modules.items()):
        if name.startswith("sportran.") and getattr(module, "np", None) is np:
            module.np = older
    sportran.utils.log.set_method("other")
    sportran.utils.log.set_func(lambda *arguments, **options: None)
    return sportran


def heat_current(currents: Currents) -> Any:
    """``sportran.HeatCurrent`` of the same samples, of which the first current is the one of energy.

    Its spectra are in (eV Å/ps)^2 fs.
    """
    m, r, l, n = currents.values.shape
    series = currents.values.transpose(0, 3, 1, 2).reshape(m, n, r * l)
    return import_sportran().HeatCurrent(
        series, DT_FS=currents.timestep_fs, UNITS="metal", TEMPERATURE=currents.temperature_K, VOLUME=currents.volume
    )
