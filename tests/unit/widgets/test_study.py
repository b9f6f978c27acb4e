"""Study and Readout without a browser; the package outside notebooks."""

import subprocess
import sys

import ipywidgets
import pytest

from matterscape_widgets import Readout, Study
from matterscape_widgets.study import sentence

pytestmark = pytest.mark.unit


def test_columns_hold_what_is_given():
    slider, view = ipywidgets.IntSlider(), ipywidgets.Label("map")
    study = Study([slider], [view], title="A study")
    row = study.children[1]
    assert [box._dom_classes for box in row.children] == [("matterscape-controls",), ("matterscape-views",)]
    assert row.children[0].children == (slider,)
    assert "matterscape-study" in study._dom_classes


def test_status_and_error():
    study = Study()
    study.status("1,200 environments")
    assert (study.message, study._status.kind) == ("1,200 environments", "status")
    study.error(ValueError("cutoff is -1, but must be positive.\nmore detail"))
    assert (study.message, study._status.kind) == ("cutoff is -1, but must be positive.", "error")


def test_reporting_catches_what_a_handler_raises():
    study = Study()
    with study.reporting("done"):
        raise KeyError("energy")
    assert (study.message, study._status.kind) == ("KeyError: 'energy'", "error")
    with study.reporting(lambda: "3 maps"):
        pass
    assert (study.message, study._status.kind) == ("3 maps", "status")


def test_sentence_of_an_empty_error():
    assert sentence(MemoryError()) == "The computation stopped with MemoryError."


def test_readout_formats_numbers():
    readout = Readout("Features", 12345)
    assert readout.text == "12,345"
    readout.show(0.123456)
    assert readout.text == "0.1235"
    readout.show("none")
    assert readout.text == "none"


def test_the_package_loads_nothing_heavy():
    heavy = ("torch", "sklearn", "numba", "matplotlib")
    code = f"import sys, matterscape_widgets; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
