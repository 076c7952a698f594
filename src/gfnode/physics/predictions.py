"""True and predicted conformations of test windows: the input of all measures."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from gfnode.errors import InputError
from gfnode.evaluation import MOST_VALUES
from gfnode.experiment import molecular_graph, prepare
from gfnode.metrics import Blocks, lags
from gfnode.models import Model
from gfnode.models.inference import predictions
from gfnode.molecule.internal import FRAMES, Internal
from gfnode.molecule.system import System
from gfnode.thinning import evenly
from gfnode.trajectory import Doubles, Floats, Integers, Topology, Trajectory
from gfnode.trajectory.given import loaded
from gfnode.windows import Windows

if TYPE_CHECKING:
    from gfnode.run import Run

Values = TypeVar("Values", Floats, Doubles)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Test windows of a run, true and predicted.

    Parameters
    ----------
    run
        The run.
    trajectories
        Its training data, in order, or other data that was given.
    windows
        The test windows, over all atoms; evenly chosen where there are many.
    training
        Conformations of training starts, all of the state atoms, ``(sample, atom, 3)`` in Å.
    starts
        Positions at the starts, ``(window, atom, 3)`` in Å.
    true
        ``(window, time, atom, 3)`` in Å.
    predicted
        By method, the model first, then the trivial baselines: ``(window, time, atom, 3)`` in Å.
        All hold the state atoms of the run.
    lags_fs
        ``(window, time)``.
    looked
        Atoms for geometry and shape: heavy atoms, or all state atoms.
    torsions
        Further dihedrals to compare, in the form of :func:`gfnode.molecule.torsions.read_torsions`.
    """

    run: "Run"
    trajectories: Sequence[Trajectory]
    windows: Windows
    training: Floats
    starts: Floats
    true: Floats
    predicted: dict[str, Floats]
    lags_fs: Doubles
    looked: Literal["heavy", "all"] = "heavy"
    torsions: tuple[str, ...] = ()

    @property
    def system(self) -> System:
        """System of the model, whose state atoms are those of every array here."""
        return self.run.model.system

    @cached_property
    def lag_edges(self) -> list[float]:
        """Ends of the lag bins in fs, as in an evaluation."""
        edges: list[float] = lags.lag_edges(self.system.horizon).tolist()
        return edges

    @cached_property
    def lag_bins(self) -> Integers:
        """Lag bin of each window and lag, ``(window, time)``; −1 beyond the last."""
        return lags.lag_bins(self.lags_fs, self.lag_edges)

    @property
    def model(self) -> str:
        """Name of the evaluated model."""
        return next(iter(self.predicted))

    @cached_property
    def topology(self) -> Topology | None:
        """Topology of the state atoms, if the data has one."""
        whole = self.trajectories[0].topology
        return None if whole is None else whole.select(self.system.atoms)

    @cached_property
    def internal(self) -> Internal:
        """Internal coordinates of the selected atoms, with indices of state atoms.

        Where no two heavy atoms are bonded (water), all atoms are selected. Coordinates that are
        undefined in training conformations are left out: dihedrals with collinear atoms (nitriles),
        flat tetrahedra (square planar metals).
        """
        return self._internal.defined(self.training[evenly(len(self.training), FRAMES)])

    @property
    def _internal(self) -> Internal:
        system = self.system
        whole, bonds = len(system.source_numbers), system.bonds
        if len(bonds) and system.n_atoms < whole:  # stereocentres are found with all atoms
            found, _ = molecular_graph(self.trajectories[0], self.run.experiment.graph)
            outer = Internal.of(found, system.source_numbers, system.atoms)
            place = system.place
            everything = outer.renumbered(place)
        else:
            everything = Internal.of(bonds, system.numbers)
        heavy = Internal.of(bonds, system.numbers, np.flatnonzero(system.numbers > 1))
        if self.looked == "all" or not len(heavy.bonds):
            return everything
        if system.n_atoms == len(heavy.atoms):
            return everything
        return heavy

    @property
    def looked_at(self) -> Literal["heavy", "all"]:
        """``heavy`` if the molecule has hydrogens that are not selected, else ``all``."""
        missing = len(self.internal.atoms) < len(self.system.source_numbers)
        without = (self.system.numbers[self.internal.atoms] > 1).all()
        return "heavy" if missing and without else "all"

    @cached_property
    def blocks(self) -> Blocks:
        """Blocks of start time for intervals."""
        return blocks_of(self.windows, self.system.horizon)

    @cached_property
    def partners(self) -> Integers:
        """Index of a window from another stretch of the data, for each window, ``(window,)``.

        The difference between a window and its partner is that between independent stretches of
        the true trajectory: the floor of distances between distributions, and the error of a
        prediction drawn at random.
        """
        count = len(self.windows)
        return (np.arange(count) + max(1, count // 2)) % count

    def unrelated(self, values: Values) -> Values:
        """Values of each window's partner, ``(window, ...)``; nan for a single window."""
        found = values[self.partners]
        return found if len(found) > 1 else np.full_like(found, np.nan)


def predict_unseen(
    run: "Run",
    data: Trajectory | Sequence[Trajectory] | None = None,
    *,
    known: Tensor | None = None,
    most_values: int = MOST_VALUES,
    advance: Callable[[str], None] = lambda method: None,
    looked: Literal["heavy", "all"] = "heavy",
    torsions: Sequence[str] = (),
) -> Predictions:
    """Predict unseen windows, by the model of a run and every trivial baseline.

    Parameters
    ----------
    data
        As of :meth:`gfnode.run.Run.evaluate`.
    known
        Existing predictions of the model for all of the windows, to reuse.
    most_values
        Largest number of coordinates held for one method.
    advance
        Called with the name of each method that is done.
    looked, torsions
        See :class:`Predictions`.
    """
    given = loaded(data, run.trajectories)
    everything, _ = run.held_out(given)
    atoms = run.model.system.atoms
    each = everything.targets.shape[1] * len(atoms) * 3
    chosen = everything.evenly(max(1, most_values // each))
    windows = everything.take(chosen)
    whole = windows.select(atoms).batch(slice(None))
    predicted = {}
    for key, model in run.judged().items():
        told = known if model is run.model else None
        found = predict_all(model, windows) if told is None else told[chosen]
        predicted[key] = found.numpy()[:, :, model.system.place[atoms]]
        advance(key)
    return Predictions(
        run,
        run.provenance.arrange(given) or given,
        windows,
        _training(run, everything)[:, torch.as_tensor(atoms)].numpy(),
        whole.positions.numpy(),
        whole.targets.numpy(),
        predicted,
        windows.lags.numpy(),
        looked,
        tuple(torsions),
    )


def _training(run: "Run", windows: Windows) -> Tensor:
    """Conformations of all atoms that define the constant geometry."""
    try:
        return prepare(run.trajectories(), run.experiment).parts["train"].conformations()
    except InputError:
        warnings.warn(
            "an exported model has no training data: the constant geometry compared with its "
            "predictions is the mean over the evaluated starts",
            stacklevel=2,
        )
        return windows.conformations()


def blocks_of(windows: Windows, horizon: float) -> Blocks:
    """Blocks of start time of windows; the horizon in fs."""
    starts, frames = windows.starts.numpy(), windows.frames
    return Blocks.of(frames.times.numpy()[starts], horizon, frames.segments[starts])


def predict_all(model: Model, windows: Windows) -> Tensor:
    """Predictions of all windows, ``(window, time, atom, 3)``, of the atoms of the model."""
    mine = windows.select(model.system.atoms)
    return torch.cat([found for _, found, _ in predictions(model, mine)])
