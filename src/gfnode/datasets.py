"""Windows as a PyTorch dataset, for people who bring their own model."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, Literal, SupportsIndex

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from gfnode.ambient import usual
from gfnode.errors import InputError
from gfnode.evaluation import Evaluation, evaluate
from gfnode.experiment import Experiment, configure, prepare
from gfnode.experiment.baselines import fit_baselines
from gfnode.models import TRIVIAL, Model
from gfnode.models.base import check_prediction
from gfnode.molecule.system import System
from gfnode.prediction import check_whole
from gfnode.readers.reader import Data, Reader
from gfnode.units import format_time
from gfnode.windows import Batch, Windows, select_atoms
from gfnode.windows.cutting import PARTS

Part = Literal["train", "validation", "test"]
Item = dict[str, Tensor]
Indices = SupportsIndex | slice | Sequence[int] | NDArray[Any] | Tensor
Predict = Callable[[Tensor, Tensor, Tensor], Tensor]


class WindowDataset(Dataset[Item]):
    """Windows of trajectories: a start, its velocities, lags, and the positions at these lags.

    Cutting, splits, lags and velocities are those of gfnode, with the same settings and the same
    defaults, so that a model of one's own sees what gfnode would see. An item is a dictionary:

    ==============  =====================  ==========
    key             shape                  unit
    ==============  =====================  ==========
    ``positions``   ``(atom, 3)``          Å
    ``velocities``  ``(atom, 3)``          Å/fs
    ``lags``        ``(time,)``            fs
    ``targets``     ``(time, atom, 3)``    Å
    ==============  =====================  ==========

    Atoms are the state atoms (``windows.state``, default all). An index gives one window; a slice,
    a list of indices or a mask windows with a first axis ``batch``, gathered all at once. It works
    with ``torch.utils.data.DataLoader``, also with several workers: with the default collation,
    with :meth:`collate`, or with a batch sampler and ``batch_size=None``.

    Parameters
    ----------
    data
        A trajectory, a file, or several of one molecule (replicas).
    split
        ``train``, ``validation`` or ``test``; :meth:`part` gives the others of the same data.
    preset, changes
        Settings as of :func:`gfnode.fit`; ``windows.*`` and ``graph.*`` count here, and ``seed``.
    reader
        How to read files.

    Raises
    ------
    InputError
        For anything wrong with data or settings, and for an unknown split.
    """

    @usual()
    def __init__(
        self,
        data: Data,
        split: Part = "train",
        *,
        preset: str = "default",
        changes: Mapping[str, Any] | None = None,
        reader: Reader | None = None,
    ) -> None:
        _check(split)
        self.experiment: Experiment = configure(preset, changes)
        trajectories, _ = Reader.chosen(reader).gather(data)
        self.prepared = prepare(trajectories, self.experiment)
        self._parts = select_atoms(self.prepared.parts, self.system.atoms)
        for windows in self._parts.values():
            windows.targets.share_memory_()  # so that workers see the lags of a new epoch
        self.split: Part = split

    @property
    def system(self) -> System:
        """Elements, bonds, edges, scored atoms, time step and horizon."""
        return self.prepared.system

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the data and the graph."""
        return self.prepared.notes

    @property
    def windows(self) -> Windows:
        """The windows of this split, over the state atoms."""
        return self._parts[self.split]

    @property
    def lags(self) -> Tensor:
        """Lags of all windows, ``(window, time)`` in fs, float64."""
        return self.windows.lags

    def part(self, split: Part) -> "WindowDataset":
        """Another split of the same data; the frames are shared."""
        _check(split)
        other = copy(self)
        other.split = split
        return other

    @usual()
    def set_epoch(self, epoch: int) -> None:
        """Draw the lags of training anew, as gfnode does before each epoch.

        The same seed and epoch give the same lags. Validation and test keep theirs, and so does
        training unless ``windows.lags`` is ``fresh``, the default. Call it between two passes
        through a loader.
        """
        check_whole(epoch, "the epoch")
        if self.split == "train" and self.experiment.windows.lags == "fresh":
            seed = [self.experiment.seed, int(epoch)]
            drawn = self.windows.redraw(self.system.horizon, seed)
            self.windows.targets.copy_(drawn.targets)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: Indices) -> Item:
        if isinstance(index, slice):
            return vars(self.batch(range(*index.indices(len(self)))))
        chosen = _tensor(index)
        found = vars(self.batch(chosen.reshape(1) if chosen.ndim == 0 else chosen))
        return {key: value[0] for key, value in found.items()} if chosen.ndim == 0 else found

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        """Many items, gathered at once: what a ``DataLoader`` asks for."""
        found = vars(self.batch(indices))
        keys = tuple(found)
        return [dict(zip(keys, row, strict=True)) for row in zip(*found.values(), strict=True)]

    @usual()
    def batch(self, indices: Sequence[int] | NDArray[Any] | Tensor) -> Batch:
        """Windows by number as a :class:`gfnode.windows.Batch`, with a first axis ``batch``.

        Raises
        ------
        InputError
            For anything but whole numbers or a mask ``(window,)``.
        IndexError
            For a number that is not there.
        """
        index, count = _tensor(indices), len(self)
        if index.dtype == torch.bool and index.shape == (count,):
            index = index.nonzero()[:, 0]
        whole = not (index.is_floating_point() or index.is_complex() or index.dtype == torch.bool)
        if not whole or index.ndim != 1:
            raise InputError(
                f"windows are chosen by whole numbers from 0 to {count - 1}, a slice, or a mask "
                f"({count},), got {str(index.dtype).removeprefix('torch.')} {tuple(index.shape)}"
            )
        index = index.long()  # of 8 bits it would be a mask, and hold no large count
        if index.numel() and not -count <= int(index.min()) <= int(index.max()) < count:
            raise IndexError(f"windows are numbered 0 to {count - 1}, got {index.tolist()[:8]}")
        return self.windows.batch(index % count)

    @staticmethod
    def collate(items: Sequence[Item]) -> Batch:
        """For ``DataLoader(collate_fn=WindowDataset.collate)``: items as one ``Batch``."""
        keys = ("positions", "velocities", "lags", "targets")
        return Batch(*(torch.stack([item[key] for item in items]) for key in keys))

    def compare(self, predict: Predict | nn.Module, name: str = "own model") -> Evaluation:
        """Compare a model of one's own with the trivial baselines on the windows of this split.

        Parameters
        ----------
        predict
            ``predict(positions, velocities, lags)``, shapes ``(batch, atom, 3)`` twice and
            ``(batch, time)``, gives ``(batch, time, atom, 3)`` in Å. A module is asked in its
            evaluation mode, on the device of its parameters.
        name
            What to call it.

        Returns
        -------
        Evaluation
            The same as :meth:`gfnode.Run.evaluate` gives: errors of the scored atoms, intervals
            over blocks of time, paired verdicts. The baselines were fitted on the training split.

        Raises
        ------
        InputError
            For predictions of another shape, or the name of a baseline.

        Warns
        -----
        UserWarning
            Where predictions are not finite.
        """
        if name in TRIVIAL:
            raise InputError(
                f"{name!r} is the name of a baseline: choose another name for the model"
            )
        with usual():
            models = {name: _Foreign(self.system, predict), **fit_baselines(self.prepared)}
        parameter = next(models[name].parameters(), None)
        for model in models.values():
            model.to("cpu" if parameter is None else parameter.device)
        modes = [(module, module.training) for module in models[name].modules()]
        try:
            windows = self.prepared.parts[self.split]
            found = evaluate(name, models, windows, self.system.horizon)
        finally:
            for module, training in modes:  # each by itself: some may be kept in evaluation mode
                module.training = training
        _warn_if_not_finite(found)
        return found


class _Foreign(Model):
    """Somebody's function or module as a model."""

    promises = frozenset()

    def __init__(self, system: System, predict: Predict | nn.Module) -> None:
        super().__init__(system)
        self.predict = predict

    def forward(self, positions: Tensor, velocities: Tensor, lags: Tensor) -> Tensor:
        return check_prediction(self.predict(positions, velocities, lags), positions, lags)


def _warn_if_not_finite(found: Evaluation) -> None:
    """Name predictions of the scored atoms that are not finite."""
    wrong = np.argwhere(~np.isfinite(found.errors[found.model]))
    if len(wrong):
        window, time = wrong[0]
        warnings.warn(
            f"{found.model}: {len(wrong)} of {found.lags_fs.size} predictions (windows × lags) are "
            f"not finite, the first of them {format_time(found.lags_fs[window, time])} after the "
            f"start at {format_time(found.starts_fs[window])}; their errors count as infinite, so "
            "the verdicts call it worse. Look for an overflow or a division by zero in the model",
            stacklevel=3,
        )


@usual()
def _tensor(indices: Any) -> Tensor:
    try:
        found = torch.as_tensor(indices)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{indices!r:.80} selects no windows: expected window numbers") from error
    return found if found.numel() else found.long()


def _check(split: str) -> None:
    if split not in PARTS:
        raise InputError(f"unknown split {split!r}: expected {', '.join(PARTS)}")
