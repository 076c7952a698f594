"""The model behind the interface of scikit-learn: ``fit``, ``predict``, ``score``, parameters.

It needs no scikit-learn. Where that is installed, ``sklearn.base.clone``, ``cross_val_score`` and
``GridSearchCV`` take it; a sample is then a trajectory.
"""

import inspect
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from gfnode.ambient import usual
from gfnode.errors import InputError
from gfnode.prediction import check_finite, read_times, warn_if_beyond
from gfnode.readers.reader import Data, Reader
from gfnode.rollout import predict
from gfnode.run import Run
from gfnode.run.fitting import fit
from gfnode.trajectory import Doubles, Floats, Trajectory
from gfnode.trajectory.given import one, place, several

LAGS = 8
"""Of a prediction that names no times."""


class GFNODE:
    """Learns motion from trajectories: an estimator in the manner of scikit-learn.

    Parameters
    ----------
    model
        Name of the model, see ``gfnode models``.
    preset
        ``default``, ``paper`` or ``published``.
    changes
        Settings that differ from the preset, dotted or nested: ``{"training.epochs": 5}``.
    seed
        Of everything random.
    out
        The run folder; None: a temporary one, gone with the estimator unless it is saved.
    reader
        How to read files.
    progress
        Show a live display.

    Attributes
    ----------
    run_
        After :meth:`fit`: the :class:`gfnode.Run`.
    """

    _estimator_type = "regressor"
    run_: Run
    _forget: "weakref.finalize[..., Any] | None" = None  # removes the temporary run folder

    def __init__(
        self,
        model: str = "gfnode",
        *,
        preset: str = "default",
        changes: Mapping[str, Any] | None = None,
        seed: int = 0,
        out: str | Path | None = None,
        reader: Reader | None = None,
        progress: bool = False,
    ) -> None:
        self.model = model
        self.preset = preset
        self.changes = changes
        self.seed = seed
        self.out = out
        self.reader = reader
        self.progress = progress

    def __repr__(self) -> str:
        defaults = type(self)().get_params()
        given = (f"{k}={v!r}" for k, v in self.get_params().items() if v != defaults[k])
        return f"{type(self).__name__}({', '.join(given)})"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters of the constructor, as they were given."""
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> Self:
        """Set parameters; a dotted name is a setting: ``set_params(**{"training.epochs": 5})``.

        Raises
        ------
        InputError
            For a name that is neither, and where ``changes`` are no settings.
        """
        known = self.get_params()
        for name, value in params.items():
            if "." in name:
                changes = {} if self.changes is None else self.changes
                if not isinstance(changes, Mapping):
                    raise InputError(
                        f"changes are {changes!r}, expected settings by name, such as "
                        "{'training.epochs': 5}"
                    )
                self.changes = {**changes, name: value}
            elif name in known:
                setattr(self, name, value)
            else:
                raise InputError(
                    f"unknown parameter {name!r}: expected {', '.join(known)}, or a setting such "
                    "as training.epochs"
                )
        return self

    def fit(self, X: Data, y: object = None) -> Self:
        """Train on trajectories or files of one molecule.

        Parameters
        ----------
        X
            A trajectory, a file, or several (replicas). Training, validation and test parts are cut
            from them.
        y
            Ignored: what is learnt is in the trajectories.

        Raises
        ------
        InputError
            For anything wrong with data or settings.
        """
        changes: Any = {} if self.changes is None else self.changes
        if isinstance(changes, Mapping):  # what is none is refused with the other settings
            changes = {"model.name": self.model, "seed": self.seed, **changes}
        scratch = Path(tempfile.mkdtemp(prefix="gfnode-")) if self.out is None else None
        try:
            run = fit(
                X,
                preset=self.preset,
                changes=changes,
                out=self.out if scratch is None else scratch / "run",
                reader=self.reader,
                progress=self.progress,
            )
        except BaseException:
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)
            raise
        if self._forget is not None:
            self._forget()
            self._forget = None
        if scratch is not None:
            self._forgets(scratch)
        self.run_ = run
        return self

    @usual()
    def predict(
        self,
        starts: Trajectory | str | Path | Iterable[Trajectory | str | Path],
        times: Iterable[float | str] | None = None,
        *,
        frames: Sequence[int] | slice | None = None,
    ) -> Floats:
        """Predict the conformations at later times of many starts.

        Parameters
        ----------
        starts
            A trajectory or its file: every frame is a start (or those of ``frames``). Or several:
            the first frame of each that has velocities.
        times
            Lags after each start: fs, or text with a unit. In the order of the result. Default:
            :meth:`default_times`.
        frames
            Which frames of the one trajectory begin, from 0.

        Returns
        -------
        ndarray
            Positions of the state atoms, ``(start, time, atom, 3)`` in Å.

        Raises
        ------
        InputError
            Before :meth:`fit`; for other atoms than the model's, starts whose velocities are not
            known, and times that are not positive.

        Warns
        -----
        BeyondHorizonWarning
            For lags beyond the horizon of training.
        """
        run = self._fitted()
        lags = np.array(read_times(times)) if times is not None else self._lags()
        if not lags.size or not (np.isfinite(lags) & (lags > 0)).all():
            raise InputError(
                f"times to predict at must be later than the start, got {lags.tolist()} fs"
            )
        warn_if_beyond(lags.max(), run.model.system.horizon)
        if isinstance(starts, Trajectory | str | Path):
            begun = [self._starts(starts, frames)]
        else:
            if frames is not None:
                raise InputError(
                    "frames can only be chosen from one trajectory, but several were given"
                )
            begun = [self._starts(start, None, first=True) for start in several(starts)]
        if not begun:
            raise InputError("no start given to predict from")
        x, v = (torch.from_numpy(np.concatenate(each)) for each in zip(*begun, strict=True))
        found = predict(run.model, x, v, lags.tolist())
        check_finite(found.sum(0), lags.tolist(), run.model.system.horizon, str(run.folder))
        return found.numpy()

    def default_times(self) -> list[float]:
        """Eight lags in fs, evenly spaced up to the horizon of training."""
        return self._lags().tolist()

    def score(self, X: Data | None = None, y: object = None) -> float:
        """Skill: 1 − error / error of the best trivial baseline, on the same windows.

        Errors are mean squared errors per coordinate over windows and lags. 1 is perfect, 0 as good
        as the best of the baselines, which were fitted in training, below 0 worse than it.

        Parameters
        ----------
        X
            None, or the trajectories of training: their test part. Others of the same system: all
            of their windows.
        y
            Ignored.
        """
        run = self._fitted()
        given = None if X is None else Reader.chosen(self.reader).gather(X)[0]
        result = run.evaluate(given)
        names = result.model, result.best_trivial
        own, best = (float(result.errors[name].mean()) for name in names)
        if own == best:  # both may be zero, of a molecule that does not move
            return 0.0
        return 1.0 - own / best if best else -np.inf

    def save(self, folder: str | Path) -> Path:
        """Copy the run folder, to go on with :class:`gfnode.Run`, ``gfnode report`` and the like.

        Raises
        ------
        InputError
            When there is something already, or it cannot be written.
        """
        target = place(folder, "a run folder")
        if target.exists():
            raise InputError(f"{target} already exists: choose another folder")
        try:
            shutil.copytree(self._fitted().folder, target)
        except (OSError, shutil.Error) as error:
            raise InputError(f"{target}: cannot be written: {error}") from error
        return target

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "run_")

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn wants to know; asked for by scikit-learn alone."""
        from sklearn.utils import InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type="regressor",
            target_tags=TargetTags(required=False),
            regressor_tags=RegressorTags(),
            input_tags=InputTags(two_d_array=False, three_d_array=True),
        )

    def __getstate__(self) -> dict[str, Any]:
        """For pickles, joblib and copies: a temporary run folder goes along, file by file."""
        state = self.__dict__.copy()
        if state.pop("_forget", None) is not None:
            folder = self.run_.folder
            every = (path for path in folder.rglob("*") if path.is_file())
            state["_files"] = {str(path.relative_to(folder)): path.read_bytes() for path in every}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        files = state.pop("_files", None)
        self.__dict__.update(state)
        if files is None:
            return
        scratch = Path(tempfile.mkdtemp(prefix="gfnode-"))
        self._forgets(scratch)
        self.run_ = copy(self.run_)  # of a shallow copy it is the run of another, too
        self.run_.folder = scratch / "run"
        for name, content in files.items():
            path = self.run_.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def _forgets(self, scratch: Path) -> None:
        self._forget = weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)

    def _fitted(self) -> Run:
        if not hasattr(self, "run_"):
            raise InputError(f"this {type(self).__name__} is not trained: call fit first")
        return self.run_

    def _lags(self) -> Doubles:
        return self._fitted().model.system.horizon * np.arange(1, LAGS + 1) / LAGS

    def _starts(
        self,
        start: Trajectory | str | Path,
        frames: Sequence[int] | slice | None,
        *,
        first: bool = False,
    ) -> tuple[Floats, Floats]:
        """Positions and velocities, ``(start, atom, 3)``; of the first that has any."""
        run = self._fitted()
        if not isinstance(start := one(start), Trajectory):
            start = run.provenance.reader(start, self.reader).load(start)[0]
        system = run.model.system
        state = system.state_of(start)
        rule = run.velocity_rule
        frames = [rule.first(state)] if first else frames
        every = np.arange(len(state))
        try:
            chosen = every if frames is None else every[frames]
        except IndexError as error:
            raise InputError(
                f"{start.label} has frames 0 to {len(state) - 1}, got {frames}"
            ) from error
        if chosen.ndim != 1:
            raise InputError(
                f"frames are {frames!r:.80}, expected a list of frame numbers or a slice"
            )
        if not len(chosen):
            raise InputError("no start given to predict from")
        velocities = rule.at(state, chosen, system.time_step, system.whole_of(start))
        return state.positions[chosen], velocities
