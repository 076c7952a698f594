"""Is a prediction physical? Geometry, shape, spectra, kinetics of predictions beside the truth.

Each measure looks at the same test windows (:class:`Predictions`) and gives a :class:`Section`:
numbers, and the curves and densities behind them. Every number stands beside two others, without
which it would mislead:

- the **floor**: what two independent stretches of the true trajectory differ by;
- the **constant**: what a fixed mean geometry gives.

:func:`assess` takes all of them; a run folder keeps them as ``physics.json`` and ``physics.npz``,
whose keys docs/physics.md explains.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from gfnode.files import write_arrays, write_json
from gfnode.physics.energy import measure_energy
from gfnode.physics.kinetics import measure_kinetics
from gfnode.physics.motion import measure_motion
from gfnode.physics.predictions import Predictions, predict_test_part
from gfnode.physics.section import Section
from gfnode.physics.spectra import measure_spectra
from gfnode.physics.structure import geometry, shape
from gfnode.physics.torsions import torsions
from gfnode.physics.wholeness import integrity
from gfnode.trajectory import Trajectory

if TYPE_CHECKING:
    from gfnode.run import Run

__all__ = ["SECTIONS", "Physics", "Predictions", "Section", "assess", "predict_test_part"]

SECTIONS: dict[str, Callable[[Predictions], Section | None]] = {
    "kinetics": measure_kinetics,
    "motion": measure_motion,
    "spectra": measure_spectra,
    "geometry": geometry,
    "integrity": integrity,
    "shape": shape,
    "torsions": torsions,
}
"""``measure(predictions)`` by the key of its section; None where it does not apply."""


@dataclass(frozen=True, eq=False)
class Physics:
    """Everything measured.

    Parameters
    ----------
    sections
        By key.
    """

    sections: dict[str, Section]

    @property
    def numbers(self) -> dict[str, Any]:
        """All numbers, by section."""
        return {name: each.numbers for name, each in self.sections.items()}

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays, as ``section.name``."""
        return {
            f"{name}.{key}": value
            for name, each in self.sections.items()
            for key, value in each.arrays.items()
        }

    def save(self, folder: Path) -> None:
        """Write ``physics.json`` and ``physics.npz``."""
        write_arrays(folder / "physics.npz", self.arrays)
        write_json(folder / "physics.json", self.numbers)


def assess(
    run: "Run",
    trajectories: Sequence[Trajectory],
    *,
    energy: str | None = None,
    advance: Callable[[str], None] = lambda done: None,
) -> Physics:
    """Measure how physical the predictions of a run are, on its test windows.

    Parameters
    ----------
    trajectories
        Those of training, in order.
    energy
        Engine of potential energies (``xtb``, ``openmm``); None leaves them out.
    advance
        Told what is done: the name of a method that has predicted, or of a section.
    """
    predictions = predict_test_part(run, trajectories, advance=advance)
    sections = {}
    for name, measure in SECTIONS.items():
        if (found := measure(predictions)) is not None:
            sections[name] = found
        advance(name)
    if energy is not None:
        sections["energy"] = measure_energy(predictions, energy)
        advance("energy")
    return Physics(sections)
