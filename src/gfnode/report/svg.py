"""Figures as SVG inside a page: text stays text, colours follow the page's light or dark theme."""

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from gfnode.report.plots import COLOURS

SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text that can be read, searched and selected
    "text.parse_math": False,  # a name with a dollar sign is a name
    "axes.edgecolor": "0.55",
    "xtick.color": "0.55",
    "ytick.color": "0.55",
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
}
# what figures are drawn in, and the variable of the page's style sheet in its place
_VARIABLES = {colour: f"--series-{number}" for number, colour in enumerate(COLOURS)} | {
    "black": "--ink",
    "0.35": "--muted",
    "0.55": "--muted",
    "0.9": "--line",
}


def inline_svg(draw: Callable[[], Figure], name: str, words: str) -> Markup:
    """Draw a figure as an ``<svg>`` element.

    Parameters
    ----------
    draw
        Makes the figure.
    name
        Unique in the page: begins every id.
    words
        What the figure shows, for those who do not see it.
    """
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context(SETTINGS | {"svg.hashsalt": name}):
        draw().savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.S)  # it would hold for the page
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.S)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'\s(?:d|x|y)="[^"]*"', _hundredths, text)
    text = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", text)
    for colour, variable in _VARIABLES.items():
        text = re.sub(f"(fill|stroke): {to_hex(colour)}", rf"\1: var({variable})", text)
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None
    head = f'<svg class="{name}" {box[0]} role="img" aria-label="{escape(words)}">'
    return Markup(head + text[text.index(">") + 1 :])


def _hundredths(attribute: re.Match[str]) -> str:
    """Places to a hundredth of a point: more digits would only make the page larger."""
    return re.sub(r"(\.\d{2})\d+", r"\1", attribute[0])
