"""The start page's gallery and environment report, drawn from what the notebooks say of themselves."""

from __future__ import annotations

import base64
import html
from pathlib import Path

from IPython.display import HTML

_STYLE = """
<style>
.ms-gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 16px;
  margin: 8px 0 20px; }
.ms-card { border: 1px solid var(--jp-border-color2, #ddd); border-radius: 8px; overflow: hidden; display: flex;
  flex-direction: column; background: var(--jp-layout-color1, #fff); color: var(--jp-content-font-color1, #222); }
.ms-card .ms-picture { aspect-ratio: 16 / 9; background: var(--jp-layout-color2, #f3f3f3) center / cover no-repeat; }
.ms-card .ms-text { padding: 10px 14px 12px; display: flex; flex-direction: column; gap: 6px; flex: 1; }
.ms-card .ms-title { font-size: 15px; font-weight: 600; line-height: 1.3; }
.ms-card .ms-claim { font-size: 13px; line-height: 1.45; flex: 1; }
.ms-card .ms-foot { font-size: 12px; color: var(--jp-content-font-color2, #666); display: flex; gap: 12px; }
.ms-report { border-collapse: collapse; font-size: 13px; }
.ms-report td { padding: 3px 14px 3px 0; text-align: left; vertical-align: top; }
.ms-report td:first-child { color: var(--jp-content-font-color2, #666); white-space: nowrap; }
</style>
"""
BINDER = "https://mybinder.org/v2/gh/matterscape/matterscape/HEAD?urlpath=lab/tree/notebooks/"
_KINDS = {"tool": "Tools", "tutorial": "Tutorials", "study": "Studies"}
_MIME = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}


def gallery(folder: str | Path = ".", *, without: str = "start") -> HTML:
    """Cards of all notebooks below a folder that describe themselves: picture, title, claim, time, links.

    Parameters
    ----------
    folder : str or pathlib.Path
        The folder of the notebooks; links are relative to it.
    without : str
        Name of the notebook that shows the gallery, which needs no card.

    Raises
    ------
    ValueError
        If the folder does not exist, or a notebook's description is incomplete.
    """
    from matterscape.cli.gallery import entries

    found = [entry for entry in entries(folder) if entry["name"] != without]
    parts = [_STYLE]
    for kind, heading in _KINDS.items():
        cards = [_card(entry, Path(folder)) for entry in found if entry["kind"] == kind]
        if cards:
            parts.append(f'<h3>{heading}</h3><div class="ms-gallery">{"".join(cards)}</div>')
    return HTML("".join(parts))


def _card(entry: dict, folder: Path) -> str:
    text = {key: html.escape(str(value)) for key, value in entry.items()}
    picture = ""
    if entry.get("picture"):
        file = folder / entry["picture"]
        if file.is_file() and file.suffix in _MIME:
            data = base64.b64encode(file.read_bytes()).decode()
            picture = f' style="background-image:url(data:{_MIME[file.suffix]};base64,{data})"'
    minutes = float(entry["minutes"])
    time = f"{minutes:g} min" if minutes >= 1 else f"{60 * minutes:.0f} s"
    foot = [f"runs in {time}", f'<a href="{BINDER}{text["path"]}" target="_blank">open on Binder</a>']
    if entry.get("arxiv"):
        foot.append(f'<a href="https://arxiv.org/abs/{text["arxiv"]}" target="_blank">arXiv:{text["arxiv"]}</a>')
    return (
        f'<div class="ms-card"><div class="ms-picture"{picture}></div><div class="ms-text">'
        f'<div class="ms-title"><a href="{text["path"]}">{text["title"]}</a></div>'
        f'<div class="ms-claim">{text["claim"]}</div>'
        f'<div class="ms-foot">{"".join(f"<span>{part}</span>" for part in foot)}</div></div></div>'
    )


def environment() -> HTML:
    """What ``matterscape doctor`` reports, as a table."""
    from matterscape.cli.doctor import report

    state = report()
    libraries = ", ".join(f"{name} {version}" for name, version in state["libraries"].items() if version)
    missing = [name for name, version in state["libraries"].items() if not version]
    threads, data = state["threads"], state["data"]
    rows = {
        "matterscape": f"{state['matterscape']} on Python {state['python']}",
        "machine": state["platform"],
        "threads": f"{threads['kernels']} for the kernels ({threads['cores']} cores, numba layer {threads['layer']})",
        "GPU": ", ".join(state["gpu"]) or "none (not needed)",
        "compiled kernels": state["numba_cache"]["folder"]
        + ("" if state["numba_cache"]["writable"] else " (not writable: kernels are compiled anew in every session)"),
        "data sets": f"{len(data['present'])} in {data['folder']}, {len(data['missing'])} can be downloaded",
        "libraries": libraries + (f"; not installed: {', '.join(missing)}" if missing else ""),
    }
    cells = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(str(v))}</td></tr>" for k, v in rows.items())
    return HTML(f'{_STYLE}<table class="ms-report">{cells}</table>')
