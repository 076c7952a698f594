"""Figures of a report as files for a manuscript, each with the numbers behind it."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

from gfnode.errors import InputError
from gfnode.files import make_folder, whole, write_text
from gfnode.report.comparison.curves import comparison_pictures
from gfnode.report.comparison.runs import Compared
from gfnode.report.downloads import csv_text
from gfnode.report.loading import RunFiles, fitting
from gfnode.report.page import all_pictures
from gfnode.report.pictures import COLUMN, PAGE, Picture
from gfnode.report.svg import SETTINGS

FORMATS = ("png", "pdf", "svg")
SIZES = {"85mm": COLUMN, "170mm": PAGE}
"""Widths of one and of two columns of a journal."""
DPI = 600


def write_figures(
    folders: Sequence[str | Path], out: str | Path, formats: Sequence[str] = ("png", "pdf")
) -> list[Path]:
    """Write every figure of a run, or of several side by side, in two widths, with its numbers.

    ``errors-85mm.pdf`` fits one column of a journal and ``errors-170mm.pdf`` two, with letters of
    6.5 to 8 points; ``errors.csv`` holds what they show.

    Parameters
    ----------
    folders
        Of runs, as for :func:`gfnode.report.write_page`.
    out
        Folder for the files.
    formats
        Of ``png`` (600 dpi), ``pdf`` and ``svg``.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    InputError
        When a format is unknown, a run folder lacks something, or a file cannot be written.
    """
    check_formats(formats)
    out = make_folder(Path(out))
    written = []
    for picture in _pictures([Path(each) for each in folders]):
        written += _write(picture, out, list(dict.fromkeys(formats)))
    return written


def check_formats(formats: Sequence[str]) -> None:
    """Refuse formats that figures cannot be written in.

    Raises
    ------
    InputError
        When one is unknown.
    """
    if unknown := [each for each in formats if each not in FORMATS]:
        raise InputError(
            f"unknown format of figures {', '.join(unknown)!r}: expected one or more of "
            f"{', '.join(FORMATS)}, separated by commas"
        )


def _pictures(folders: Sequence[Path]) -> list[Picture]:
    with fitting(*folders):
        if len(folders) > 1:
            return list(comparison_pictures(Compared.read(folders)).values())
        return all_pictures(RunFiles.read(folders[0]))


def _write(picture: Picture, out: Path, formats: Sequence[str]) -> list[Path]:
    written = []
    # letters stay letters in every format, so that a journal may set them anew
    with matplotlib.rc_context(SETTINGS | {"pdf.fonttype": 42, "svg.hashsalt": picture.name}):
        for size, layout in SIZES.items():
            for ending in formats:
                path = out / f"{picture.name}-{size}.{ending}"
                with whole(path) as partial:
                    picture.draw(layout).savefig(partial, dpi=DPI, metadata=_METADATA[ending])
                written.append(path)
    return [*written, write_text(out / f"{picture.name}.csv", csv_text(picture.rows))]


# the same run gives the same bytes
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
}
