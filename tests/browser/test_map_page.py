"""``matterscape map``: the page that it writes, opened as a file, draws map and structure without a network."""

import pytest

lab_browser = pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from ase.io import write  # noqa: E402
from lab_browser import colours  # noqa: E402

from matterscape.cli import main  # noqa: E402
from matterscape.datasets import generators  # noqa: E402

pytestmark = pytest.mark.browser


def test_standalone_page_draws_offline(tmp_path, page, pictures, capsys):
    write(tmp_path / "molecules.xyz", generators.random_molecules(40, 6, (1, 6, 8), seed=1), format="extxyz")
    target = tmp_path / "map.html"
    assert main(["map", str(tmp_path / "molecules.xyz"), "-o", str(target), "--max-radial", "4"]) == 0
    assert "40 structures" in capsys.readouterr().out
    asked = []
    page.on("request", lambda request: asked.append(request.url) if request.url.startswith("http") else None)
    page.goto(target.as_uri())
    page.wait_for_selector('body[data-ready="yes"]', timeout=120_000)
    page.wait_for_timeout(2000)
    page.screenshot(path=str(pictures / "map-page.png"))
    assert colours(page.locator("#map-plot")) > 50
    assert colours(page.locator("#map-structure")) > 50
    assert [url for url in asked if "plausible" not in url] == []
