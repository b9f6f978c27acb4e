"""The README's code runs as it stands, and what it names exists."""

import re
from pathlib import Path

import numpy as np
import pytest
from ase.io import write

from matterscape.datasets import generators, is_available

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("structures.xyz", generators.random_molecules(3, 6, (1, 6, 8), seed=0), format="extxyz")
    names: dict = {}
    for code in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        if all(is_available(name) for name in re.findall(r"load\(\"(.+?)\"\)", code)):  # tests don't use the network
            exec(code, names)
    assert names["force"].shape == (18, 3)
    assert float(names["force"].sum(0).abs().max()) < 1e-9
    assert names["flux"].values.shape == (21, 1, 3)
    assert names["constants"].acoustic_residual() < 1e-10
    assert names["silicon"].get_potential_energy() < -4.2 * len(names["silicon"])
    if is_available("nacl-currents"):
        assert names["plateau"].values == pytest.approx(0.49, abs=0.05)
    far = names["countries"].out_of_domain
    for deviations in (names["by_heads"], names["by_rigidity"]):
        assert np.median(deviations[far]) > 1.3 * np.median(deviations[~far])


def test_files_and_targets_that_it_names_exist():
    for link in re.findall(r"\]\((?!https?://)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`?make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_modules_that_it_names_import():
    import importlib

    for module in set(re.findall(r"`(matterscape(?:_widgets)?(?:\.\w+)?)`", README)):
        importlib.import_module(module)
