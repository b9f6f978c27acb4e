"""One HTML file that holds a chemiscope viewer with its data and needs no network."""

import base64
import gzip
from html import escape
from importlib.metadata import distribution
from importlib.resources import files

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
html, body {{ margin: 0; height: 100%; background: #fff; color: #222; font-family: system-ui, sans-serif; }}
#message {{ padding: 1em; white-space: pre-wrap; }}
#message:empty {{ display: none; }}
#viewer {{ display: flex; flex-wrap: wrap; gap: 0 12px; height: 100vh; padding: 0 12px; box-sizing: border-box; }}
.column {{ flex: 1 1 380px; min-width: 0; height: 100%; min-height: 420px; display: flex; flex-direction: column; }}
.column > .fill {{ flex: 1; min-height: 0; position: relative; display: flex; flex-direction: column; }}
.column > .fill > div:first-child {{ flex: 1; min-height: 0; height: auto !important; }}
</style>
</head>
<body>
<div id="message" role="status">Loading the map&#8230;</div>
<noscript>This map needs JavaScript.</noscript>
<div id="viewer">
<div class="column"><div id="map-meta"></div><div id="map-plot" class="fill"></div></div>
<div class="column"><div id="map-structure" class="fill"></div><div id="map-info"></div></div>
</div>
<script type="text/plain" id="licences">{licences}</script>
<script type="text/plain" id="dataset">{dataset}</script>
<script>{viewer}</script>
<script>
(async () => {{
  const message = document.getElementById("message");
  try {{
    const packed = atob(document.getElementById("dataset").textContent);
    const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const text = await new Response(stream).text();
    // Python writes NaN, which JSON does not know: "value unknown" for the viewer
    const mark = "\\u0000NaN";
    const tokens = /"(?:[^"\\\\]|\\\\.)*"|\\bNaN\\b/g;
    const quoted = text.replace(tokens, (token) => (token === "NaN" ? '"\\\\u0000NaN"' : token));
    const dataset = JSON.parse(quoted, (key, value) => (value === mark ? NaN : value));
    const warnings = new Chemiscope.Warnings();
    warnings.addHandler((warning) => console.warn(warning));
    const places = {{ meta: "map-meta", map: "map-plot", structure: "map-structure", info: "map-info" }};
    await Chemiscope.DefaultVisualizer.load(places, dataset, warnings);
    message.textContent = "";
    document.body.dataset.ready = "yes";
  }} catch (error) {{
    message.textContent = "The map could not be shown: " + error.message;
    document.body.dataset.ready = "failed";
  }}
}})();
</script>
</body>
</html>
"""


def standalone_page(dataset: str, *, title: str) -> str:
    """HTML page with the viewer of the installed chemiscope, its licences and a data set.

    Parameters
    ----------
    dataset : str
        JSON text of a chemiscope data set; NaN may stand for unknown numbers.
    title : str

    Returns
    -------
    str

    Raises
    ------
    RuntimeError
        If the installed chemiscope does not bring its viewer.
    """
    package = files("chemiscope")
    try:
        viewer = (package / "sphinx" / "static" / "chemiscope.min.js").read_text(encoding="utf-8")
        licences = (package / "static" / "chemiscope-widget.mjs.LICENSE.txt").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RuntimeError(
            f"the installed chemiscope lacks {error.filename}, install chemiscope 1.1 or later"
        ) from None
    licences = (distribution("chemiscope").read_text("licenses/LICENSE") or "") + "\n" + licences
    return _PAGE.format(
        title=escape(title),
        viewer=_inside_script(viewer),
        licences=_inside_script(licences),
        dataset=base64.b64encode(gzip.compress(dataset.encode(), mtime=0)).decode(),
    )


def _inside_script(text: str) -> str:
    """Text without the two sequences that would end or suspend a script element."""
    return text.replace("</script", "<\\/script").replace("<!--", "\\x3C!--")
