"""Physics of a run as panels of its report: one module for each kind of measure.

A section that was not measured has no panel; one that could not be measured says why.
"""

from collections.abc import Callable
from typing import NamedTuple

from gfnode.report.loading import RunFiles
from gfnode.report.panels.common import Content
from gfnode.report.panels.geometry import geometry
from gfnode.report.panels.motion import energy, kinetics, motion
from gfnode.report.panels.spectra import spectra
from gfnode.report.panels.torsions import torsions
from gfnode.report.pictures import Panel


class Kind(NamedTuple):
    """A panel's title, what makes its content, and what stands before the reason for none."""

    title: str
    make: Callable[[RunFiles], Content | None]
    lacking: str = ""


PANELS = {
    "geometry": Kind("Geometry", geometry),
    "torsions": Kind("Torsions", torsions),
    "spectra": Kind("Spectra", spectra, "No spectra"),
    "kinetics": Kind("Kinetics", kinetics, "No kinetics"),
    "motion": Kind("Momentum and temperature", motion, "Not measured"),
    "energy": Kind("Energy", energy, "No energies"),
}
"""By their keys, which are those of sections of ``physics.json``."""


def physics_panels(run: RunFiles) -> list[Panel]:
    """A panel for every section that was measured."""
    found = []
    for key, kind in PANELS.items():
        try:
            content = _content(run, key, kind)
        except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
            content = Content(
                [f"These numbers cannot be read ({error!r}); evaluate the run again."]
            )
        if content is not None:
            found.append(Panel(key, kind.title, *content))
    return found


def _content(run: RunFiles, key: str, kind: Kind) -> Content | None:
    section = run.physics.get(key, {})
    if kind.lacking and "reason" in section:
        return Content([f"{kind.lacking}: {section['reason']}."])
    return kind.make(run)
