"""Physics of a run as panels of its report: one module for each kind of measure.

A section that was not measured has no panel; one that could not be measured says why.
"""

from collections.abc import Callable

from gfnode.report.loading import RunFiles
from gfnode.report.panels.geometry import geometry_panel
from gfnode.report.panels.motion import energy_panel, kinetics_panel, motion_panel
from gfnode.report.panels.spectra import spectra_panel
from gfnode.report.panels.torsions import torsions_panel
from gfnode.report.pictures import Panel

PANELS: dict[str, tuple[str, Callable[[RunFiles], Panel | None]]] = {
    "geometry": ("Geometry", geometry_panel),
    "torsions": ("Torsions", torsions_panel),
    "spectra": ("Spectra", spectra_panel),
    "kinetics": ("Kinetics", kinetics_panel),
    "motion": ("Momentum and temperature", motion_panel),
    "energy": ("Energy", energy_panel),
}


def physics_panels(run: RunFiles) -> list[Panel]:
    """A panel for every section that was measured."""
    found = []
    for key, (title, make) in PANELS.items():
        try:
            panel = make(run)
        except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
            words = f"These numbers cannot be read ({error!r}); evaluate the run again."
            panel = Panel(key, title, [words])
        if panel is not None:
            found.append(panel)
    return found
