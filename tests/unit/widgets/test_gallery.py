"""The start page's gallery and report come from what notebooks and environment say, not from typed lists."""

import json

import pytest

from matterscape_widgets.gallery import environment, gallery

pytestmark = pytest.mark.unit


def _notebook(path, **described):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"cells": [], "metadata": {"matterscape": described}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content))


def test_cards_follow_the_notebooks(tmp_path):
    _notebook(tmp_path / "start.ipynb", title="Start", claim="", minutes=0.1)
    _notebook(tmp_path / "explore.ipynb", title="Explore <own>", claim="A map.", minutes=0.5, picture="reference/a.png")
    _notebook(tmp_path / "studies" / "1234.56789-x.ipynb", title="Study", claim="C.", minutes=2, arxiv="1234.56789")
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "a.png").write_bytes(b"\x89PNG")
    html = gallery(tmp_path).data
    assert html.count('class="ms-card"') == 2 and "Start</a>" not in html
    assert "Explore &lt;own&gt;" in html and 'href="explore.ipynb"' in html and "runs in 30 s" in html
    assert "data:image/png;base64," in html
    assert "HEAD?urlpath=lab/tree/notebooks/studies/1234.56789-x.ipynb" in html
    assert "https://arxiv.org/abs/1234.56789" in html and "runs in 2 min" in html
    assert html.index("Tools") < html.index("Studies") and "Tutorials" not in html


def test_incomplete_description_is_named(tmp_path):
    _notebook(tmp_path / "bad.ipynb", title="No claim")
    with pytest.raises(ValueError, match=r"bad.ipynb lack claim, minutes"):
        gallery(tmp_path)


def test_environment_reports_versions_and_threads():
    html = environment().data
    assert "torch 2.13" in html and "for the kernels" in html and "data sets" in html
