"""What the physics of a run is measured on: true and predicted conformations, side by side."""

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
from gfnode.models.pieces import predictions
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
        The test windows looked at, over all atoms; evenly chosen where there are many.
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
        Whether geometry and shape are those of the heavy atoms or of all state atoms.
    torsions
        Further dihedrals to be compared, as :func:`gfnode.molecule.torsions.read_torsions` takes
        them.
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
        """Of the model: its atoms are those of every array here."""
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
        """Name of the model that is judged."""
        return next(iter(self.predicted))

    @cached_property
    def topology(self) -> Topology | None:
        """Names of the state atoms, where the data has them."""
        whole = self.trajectories[0].topology
        return None if whole is None else whole.select(self.system.atoms)

    @cached_property
    def internal(self) -> Internal:
        """Internal coordinates of the atoms looked at, numbered as state atoms.

        Where heavy atoms are asked for and no two of them are bonded (water), all are looked at.
        What conformations of training do not define is left out: dihedrals of atoms in a line
        (nitriles), tetrahedra that are flat (a metal in a square).
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
        """``heavy`` where the molecule has hydrogens that are not among the atoms looked at."""
        missing = len(self.internal.atoms) < len(self.system.source_numbers)
        without = (self.system.numbers[self.internal.atoms] > 1).all()
        return "heavy" if missing and without else "all"

    @cached_property
    def blocks(self) -> Blocks:
        """Blocks of start time that intervals are taken over."""
        return blocks_of(self.windows, self.system.horizon)

    @cached_property
    def partners(self) -> Integers:
        """For each window one of another stretch of the data, ``(window,)``: unrelated real MD.

        What a quantity of a window differs by from that of its partner is what two independent
        stretches differ by: the floor of distances between distributions, and the error of
        predicting a frame drawn at random.
        """
        count = len(self.windows)
        return (np.arange(count) + max(1, count // 2)) % count

    def unrelated(self, values: Values) -> Values:
        """Of each window's partner, ``(window, ...)``; nan of a single window, which has none."""
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
    """Predict windows that a run has not seen, by its model and every trivial baseline.

    Parameters
    ----------
    data
        As of :meth:`gfnode.run.Run.evaluate`.
    known
        What the model predicts for all of the windows, where that was done before.
    most_values
        Coordinates of one method that may be held.
    advance
        Told which method is done.
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
    """Conformations that a constant geometry is taken from, all atoms."""
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
