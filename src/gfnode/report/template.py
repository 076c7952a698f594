"""HTML of the pages: templates, filters, scripts and what they may do."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gfnode import __version__
from gfnode.errors import InputError
from gfnode.files import check_writable, make_folder, write_text
from gfnode.report import summary
from gfnode.report.cells import verdict_cell, with_interval
from gfnode.report.numbers import BOUNDLESS, hundredths, three
from gfnode.report.pictures import NARROW, WIDE, Picture
from gfnode.report.svg import inline_svg
from gfnode.report.tables import in_one_unit
from gfnode.units import count, format_time

ASSETS = Path(__file__).parent / "assets"
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:Å|%|fs|ps|ns|K|kcal)(?!\w))")
SCRIPTS = ("3Dmol-min.js", "numbers.js", "player.js", "page.js")


def check_target(out: Path) -> Path:
    """Refuse what a page cannot be written to.

    Raises
    ------
    InputError
        When it is a folder or a device, its suffix is none of HTML, or its folder is read-only.
    """
    if out.exists() and not out.is_file():  # a rename would replace a device
        raise InputError(f"{out}: is not a file; give the name of an HTML file")
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(
            f"{out}: a report is an HTML page: expected a name that ends with .html or .htm; "
            "--figures DIR --format pdf,png writes its figures"
        )
    check_writable(out)
    return out


def save(text: str, out: Path) -> Path:
    """Write a page whole.

    Raises
    ------
    InputError
        When it cannot be written.
    """
    make_folder(out.parent)
    return write_text(out, text)


def fill(name: str, context: Mapping[str, Any]) -> str:
    """A template with its context, scripts and styles as HTML."""
    scripts = [_script(each) for each in SCRIPTS]
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,  # every name and path is a stranger's
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "time": format_time,
        "counted": count,
        "in_one_unit": in_one_unit,
        "hundredths": hundredths,
        "rms": rms,
        "estimate": with_interval,
        "unbroken": unbroken,
        "ratio": partial(with_interval, digits=three),
        "svg": _figure,
        "verdict": verdict_cell,
    }
    return environment.get_template(name).render(
        context,
        version=__version__,
        style=Markup(_read("page.css")),
        scripts=[text for text, _ in scripts],
        policy=_policy(digest for _, digest in scripts),
        licence=_read("3Dmol-LICENSE.txt"),
    )


def unbroken(text: str) -> str:
    """Text in which no line ends between a number and its unit."""
    return _BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", text)


def rms(error: float | None) -> str:
    """Root mean square distance of an atom in Å, from an error per coordinate in Å²."""
    return three(summary.rms(error), BOUNDLESS)


def _figure(picture: Picture) -> list[Markup]:
    """A figure twice: for wide and for narrow screens."""
    return [
        inline_svg(partial(picture.draw, layout), f"{picture.name}-{width}", picture.words)
        for width, layout in (("wide", WIDE), ("narrow", NARROW))
    ]


def _read(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _script(name: str) -> tuple[Markup, str]:
    """A script and the hash by which the page allows it, and no other, to run."""
    text = _read(name)
    if "</script" in text.lower() or "<!--" in text or "\r" in text:
        raise ValueError(f"{name} cannot stand inside a page")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return Markup(text), f"'sha256-{digest}'"


def _policy(digests: Iterable[str]) -> str:
    """What the page may do: run its own scripts, show its own pictures, fetch nothing."""
    return (
        f"default-src 'none'; script-src {' '.join(digests)}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
