"""The start page in JupyterLab: cards with working links, the report, no errors."""

import pytest

pytest.importorskip("lab_browser", reason="playwright or Pillow is not installed (extra: test)")
from lab_browser import open_notebook

pytestmark = pytest.mark.browser


def test_start_page_shows_the_gallery(lab, page, pictures):
    assert open_notebook(page, lab, "start.ipynb") == []
    page.wait_for_selector(".ms-card", timeout=60_000)
    titles = page.locator(".ms-card .ms-title a").all_text_contents()
    assert any("Explore" in title for title in titles)
    assert page.locator(".ms-report").is_visible()
    page.locator(".ms-gallery").first.scroll_into_view_if_needed()
    page.screenshot(path=str(pictures / "start.png"))
    page.locator(".ms-card a[href*='explore']").first.click()
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget?.context?.path?.endsWith('explore.ipynb')", timeout=30_000
    )
