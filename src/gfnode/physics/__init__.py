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
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

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
    """Everything measured.

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
        write_arrays(folder / "physics.npz", self.arrays)
        write_json(folder / "physics.json", self.numbers | {MEASURED: self.weights})


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
    """Measure how physical the predictions of a run are, on windows it has not seen.

    Parameters
    ----------
    data
        None, or the trajectories of training: the test part of their split. Other trajectories of
        the same system: windows all over them; the constant geometry is still that of training
        where its data is found, else that of these starts.
    atoms
        Geometry and shape of the heavy atoms, or of all that the model sees.
    torsions
        Further dihedrals, ``NAME=A-B-C-D``; see :func:`gfnode.molecule.torsions.read_torsions`.
    energy
        Engine of potential energies (``xtb``, ``openmm``); None leaves them out.
    evaluation
        On the same data: what it predicted is not predicted again.
    advance
        Told what is done: the name of a method that has predicted, or of a section.

    Raises
    ------
    InputError
        As of :meth:`gfnode.run.Run.evaluate`, and for a torsion that is none.
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
    """How often :func:`assess` says that something is done."""
    return len({run.experiment.model["name"], *TRIVIAL}) + len(SECTIONS)
