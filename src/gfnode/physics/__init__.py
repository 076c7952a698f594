"""Physical validity of predictions: geometry, shape, spectra and kinetics, against the truth.

Each measure uses the same test windows (:class:`Predictions`) and returns a :class:`Section`:
numbers, and the curves and densities behind them. Every number is accompanied by two references:

- the **floor**: the difference between two independent stretches of the true trajectory;
- the **constant**: the result of a fixed mean geometry.

:func:`assess` runs all measures; a run folder stores them as ``physics.json`` and ``physics.npz``,
whose keys are explained in docs/physics.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from gfnode import runfiles
from gfnode.evaluation import Evaluation
from gfnode.examples import MEASURED, digest
from gfnode.files import write_arrays, write_json
from gfnode.models import TRIVIAL
from gfnode.molecule.torsions import read_torsions
from gfnode.physics.energy import check_engine, measure_energy
from gfnode.physics.kinetics import measure_kinetics
from gfnode.physics.motion import measure_motion
from gfnode.physics.predictions import Predictions, predict_unseen
from gfnode.physics.section import Section
from gfnode.physics.spectra import measure_spectra
from gfnode.physics.structure import geometry, shape
from gfnode.physics.torsions import torsions
from gfnode.physics.wholeness import integrity
from gfnode.trajectory import Trajectory
from gfnode.trajectory.given import loaded

if TYPE_CHECKING:
    from gfnode.run import Run

__all__ = [
    "SECTIONS",
    "Physics",
    "Predictions",
    "Section",
    "assess",
    "predict_unseen",
    "stages",
]

SECTIONS: dict[str, Callable[[Predictions], Section | None]] = {
    "geometry": geometry,
    "integrity": integrity,
    "shape": shape,
    "torsions": torsions,
    "kinetics": measure_kinetics,
    "motion": measure_motion,
    "spectra": measure_spectra,
}
"""``measure(predictions)`` by the key of its section; None where it does not apply."""


@dataclass(frozen=True, eq=False)
class Physics:
    """Results of all measures.

    Parameters
    ----------
    sections
        By key.
    weights
        SHA-256 of the weights; see :func:`gfnode.examples.digest`.
    """

    sections: dict[str, Section]
    weights: str

    def __repr__(self) -> str:
        return f"Physics({', '.join(self.sections)})"

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
        write_arrays(folder / runfiles.DENSITIES, self.arrays)
        write_json(folder / runfiles.PHYSICS, self.numbers | {MEASURED: self.weights})


def assess(
    run: "Run",
    data: Trajectory | Sequence[Trajectory] | None = None,
    *,
    atoms: Literal["heavy", "all"] = "heavy",
    torsions: Sequence[str] = (),
    energy: str | None = None,
    evaluation: Evaluation | None = None,
    advance: Callable[[str], None] = lambda done: None,
) -> Physics:
    """Measure physical properties of the predictions of a run, on unseen windows.

    Parameters
    ----------
    data
        None, or the trajectories of training: the test part of their split is used. Other
        trajectories of the same system: windows over all of them; the constant geometry is still
        that of training if its data is found, else that of these starts.
    atoms
        Atoms for geometry and shape: the heavy ones, or all state atoms.
    torsions
        Further dihedrals, ``NAME=A-B-C-D``; see :func:`gfnode.molecule.torsions.read_torsions`.
    energy
        Engine of potential energies (``xtb``, ``openmm``); None leaves them out.
    evaluation
        On the same data: its predictions are reused.
    advance
        Called with the name of each method that has predicted, and of each section.

    Raises
    ------
    InputError
        As in :meth:`gfnode.run.Run.evaluate`, and for an invalid torsion.
    """
    weights = digest(run.folder)
    given = loaded(data, run.trajectories)
    read_torsions(torsions, given[0].n_atoms, given[0].topology)  # says at once what is wrong
    if energy is not None:
        check_engine(run.model.system, energy, given[0].topology)
    predictions = predict_unseen(
        run,
        given,
        known=None if evaluation is None else evaluation.predicted,
        advance=advance,
        looked=atoms,
        torsions=torsions,
    )
    sections = {}
    for name, measure in SECTIONS.items():
        if (found := measure(predictions)) is not None:
            sections[name] = found
        advance(name)
    if energy is not None:
        sections["energy"] = measure_energy(predictions, energy)
        advance("energy")
    return Physics(sections, weights)


def stages(run: "Run") -> int:
    """Number of calls of ``advance`` in :func:`assess`, without energies."""
    return len({run.experiment.model["name"], *TRIVIAL}) + len(SECTIONS)
