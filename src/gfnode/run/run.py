"""A run: a folder with a trained model, its configuration and provenance.

Its files are those of :mod:`gfnode.runfiles`. Opening one reads text and safetensors only.
"""

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from gfnode import examples, prediction, runfiles
from gfnode.ambient import usual
from gfnode.errors import InputError
from gfnode.evaluation import Evaluation, evaluate
from gfnode.experiment import Dataset, Experiment, baselines
from gfnode.experiment.held_out import held_out
from gfnode.experiment.provenance import Provenance
from gfnode.files import check_apart, check_writable, write_json
from gfnode.models import Model
from gfnode.models.calibration import Calibration
from gfnode.models.molecular import Molecular
from gfnode.progress import Report, silent
from gfnode.readers import Reader
from gfnode.readers.reader import Data
from gfnode.run import exported as layout
from gfnode.run import opening
from gfnode.run.creation import create_folder
from gfnode.trajectory import Trajectory
from gfnode.trajectory.given import loaded, one, place
from gfnode.units import format_time
from gfnode.weights import load_tensors, load_weights, save_tensors
from gfnode.windows import Windows
from gfnode.windows.velocities import VelocityRule

if TYPE_CHECKING:
    from gfnode.physics import Physics
    from gfnode.rollout.runs import Rolled


class Run:
    """A trained model in its folder.

    Parameters
    ----------
    folder
        The run folder.
    experiment
        Its configuration.
    model
        With its best weights, on the CPU.
    facts
        The content of ``run.json``.
    """

    def __init__(
        self, folder: Path, experiment: Experiment, model: Model, facts: dict[str, Any]
    ) -> None:
        self.folder, self.experiment, self.model, self.facts = folder, experiment, model, facts
        self._trajectories: list[Trajectory] | None = None  # of training, where in memory

    def __repr__(self) -> str:
        system = self.model.system
        return (
            f"Run({self.folder}: {self.experiment.model['name']} for {system.n_atoms} atoms, "
            f"horizon {format_time(system.horizon)})"
        )

    def _repr_html_(self) -> str:
        from gfnode.notebook import run_html

        return run_html(self)

    @classmethod
    def create(
        cls,
        folder: Path,
        experiment: Experiment,
        dataset: Dataset,
        trajectories: Sequence[Trajectory],
        files: Sequence[str],
        *,
        reader: Reader | None = None,
    ) -> Self:
        """Create the folder of a new run, before training.

        ``files`` and their ``reader`` are stored, so that the run can read its data again.

        Raises
        ------
        InputError
            When the folder holds a run already, or cannot be written.
        """
        model, facts = create_folder(
            folder, experiment, dataset, trajectories, files, reader=reader or Reader()
        )
        run = cls(folder, experiment, model, facts)
        run._trajectories = list(trajectories)
        return run

    @classmethod
    @usual()
    def open(cls, folder: str | Path, *, weights: bool = True) -> Self:
        """Open a run, or a model that ``gfnode export`` wrote.

        Parameters
        ----------
        weights
            Load the best weights; False leaves the model as it was before training.

        Raises
        ------
        InputError
            When the folder holds no run, one of another version, or a damaged one; an exported
            model that was changed.

        Warns
        -----
        UserWarning
            When its training has not ended.
        """
        folder = place(folder, "a run folder")
        facts, where = opening.read_facts(folder)
        experiment, model = opening.assemble(facts, where)
        run = cls(folder, experiment, model, facts)
        if weights:
            run.load_best()
            opening.warn_if_unfinished(facts, model, folder)
        return run

    def load_best(self) -> None:
        """Load the best weights into the model."""
        path = self.folder / (layout.WEIGHTS if self.exported else runfiles.WEIGHTS)
        if not path.exists():
            raise InputError(
                f"{self.folder} has no validated weights yet: `gfnode train --resume --out "
                f"{self.folder}` continues its training, or says again why it failed"
            )
        tensors, _ = load_tensors(path)
        load_weights(self.model, tensors, path)
        self.model.eval()

    @property
    def exported(self) -> bool:
        """Whether this is an exported model, to whose folder nothing is written."""
        return self.facts.get("format") == layout.FORMAT

    def _keeps(self, file: str, asked: bool) -> bool:
        """Whether results are written to the folder; InputError if it is read-only."""
        if keeps := asked and not self.exported and not isinstance(self.model, Molecular):
            check_writable(self.folder / file, "save=False measures the motion but stores nothing")
        return keeps

    @property
    def _error_bars(self) -> Calibration | None:
        """Calibration of predictions; none for `Molecular`, whose errors are larger."""
        return None if isinstance(self.model, Molecular) else self.calibration

    def save_best(self, model: Model) -> None:
        """Save the weights of a model as the best."""
        save_tensors(self.folder / runfiles.WEIGHTS, model.state_dict(), {})

    def record(self, **facts: Any) -> None:
        """Add facts to ``run.json``."""
        self.facts |= facts
        write_json(self.folder / runfiles.RUN, self.facts)

    @property
    def velocity_rule(self) -> VelocityRule:
        """Definition of velocities in training."""
        return VelocityRule.of(self.experiment.windows, self.facts)

    @property
    def provenance(self) -> Provenance:
        """The data of training."""
        return Provenance(self.facts["data"])

    def trajectories(self) -> list[Trajectory]:
        """The training data, from memory right after training, else read and verified again.

        Raises
        ------
        InputError
            When a file has moved or holds other data.
        """
        if self._trajectories is None:
            opening.check_data(self.facts, self.folder)
            return self.provenance.find(str(self.folder))
        return self._trajectories

    @usual()
    def evaluate(
        self,
        data: Data | None = None,
        *,
        save: bool = True,
        report: Report = silent,
    ) -> Evaluation:
        """Compare the model with the trivial baselines on held-out windows.

        Parameters
        ----------
        data
            None, or the trajectories of training (or their files): the test part of their split is
            used. Others of the same system: windows over all of them.
        save
            Write ``evaluation.json`` and ``errors.npz`` into the folder (for the test part only,
            and not into an exported model).
        report
            Called with the number of windows predicted, and their total.

        Raises
        ------
        InputError
            For another system, or for some of the trajectories of training among others: their
            windows would not all be unseen.
        """
        windows, own = self.held_out(data)
        name, horizon = self.experiment.model["name"], self.model.system.horizon
        keeps = self._keeps(runfiles.EVALUATION, save and own)
        of, models, bars = examples.digest(self.folder), self.judged(), self._error_bars
        result = evaluate(name, models, windows, horizon, bars, report=report)
        if keeps:
            result.save(self.folder, {examples.MEASURED: of})
        return result

    @usual()
    def physics(
        self,
        data: Data | None = None,
        *,
        save: bool = True,
        **options: Any,
    ) -> "Physics":
        """Measure physical properties of predictions; options of :func:`gfnode.physics.assess`.

        ``save`` writes ``physics.json`` and ``physics.npz`` as :meth:`evaluate` writes its files.
        """
        from gfnode.physics import assess

        given = loaded(data, self.trajectories, self._read)
        keeps = self._keeps(runfiles.PHYSICS, save and self.provenance.arrange(given) is not None)
        found = assess(self, given, **options)
        if keeps:
            found.save(self.folder)
        return found

    def _read(self, file: str | Path) -> list[Trajectory]:
        """Read a file with the reader of the training data."""
        return self.provenance.reader(file).load(file)

    def held_out(self, data: Data | None = None) -> tuple[Windows, bool]:
        """Windows of ``data``, as of :meth:`evaluate`; see :mod:`gfnode.experiment.held_out`."""
        given = loaded(data, self.trajectories, self._read)
        return held_out(
            given, self.provenance, self.experiment, self.model.system, self.velocity_rule
        )

    def baselines(self) -> dict[str, Model]:
        """The trivial baselines, as fitted to the training windows."""
        return baselines.load_baselines(self.folder / runfiles.BASELINES, self.model.system)

    def judged(self) -> dict[str, Model]:
        """The model and the trivial baselines, by name."""
        name = self.experiment.model["name"]
        return {name: self.model} | {k: m for k, m in self.baselines().items() if k != name}

    @cached_property
    def calibration(self) -> Calibration | None:
        """Error widths and distance statistics; None where training has not ended."""
        path = self.folder / runfiles.CALIBRATION
        return Calibration.load(path, self.model.system.n_atoms) if path.exists() else None

    def as_molecules(self) -> Self:
        """The same run with predictions of realistic geometry; see :class:`Molecular`.

        Its results are not written to the folder.
        """
        found = copy(self)
        found.model = Molecular.of(self.model, self.calibration, str(self.folder)).eval()
        return found

    @usual()
    def predict(
        self,
        start: Trajectory | str | Path,
        times: Iterable[float | str],
        *,
        frame: int | None = None,
    ) -> Trajectory:
        """Predict the conformations at later times.

        Parameters
        ----------
        start
            A trajectory (or its file) of the same molecule: all atoms of the training data, or the
            state atoms.
        times
            Lags after the start: fs, or text with a unit (``"1.5ps"``). In any order.
        frame
            Index of the frame of ``start`` to begin from; None: the first that has velocities.

        Returns
        -------
        Trajectory
            The state atoms at the start's time plus each lag, ascending, with the standard
            deviation of every atom's coordinates where the run is calibrated.

        Raises
        ------
        InputError
            For lags that are not positive, other atoms than the model's, or a start without
            velocities.

        Warns
        -----
        BeyondHorizonWarning
            For lags beyond the horizon of training.
        """
        begun = self._begin(start, times, frame)
        return prediction.predict(self.model, begun, str(self.folder), self._error_bars)

    @usual()
    def sample(
        self,
        start: Trajectory | str | Path,
        times: Iterable[float | str],
        count: int = 100,
        *,
        frame: int | None = None,
        solver: str | None = None,
        steps: int | None = None,
        seed: int = 0,
        advance: Callable[[int], None] = lambda done: None,
    ) -> dict[float, Trajectory]:
        """Draw an ensemble of conformations at each of several later times.

        For models with a learned potential (``run.model.follows``), and ``ito``.

        Start, times and frame are as in :meth:`predict`; other arguments, the result (samples by
        lag) and errors as in :func:`gfnode.prediction.sample`.
        """
        begun = self._begin(start, times, frame)
        return prediction.sample(
            self.model,
            begun,
            count,
            solver=solver,
            steps=steps,
            seed=seed,
            advance=advance,
            by=str(self.folder),
        )

    @usual()
    def rollout(
        self,
        start: Trajectory | str | Path,
        length: float | str,
        path: str | Path,
        *,
        frame: int | None = None,
        **options: Any,
    ) -> "Rolled":
        """Apply the model repeatedly, write the frames to a file, and measure their stability.

        Start and frame are as in :meth:`predict`, the rest as in :func:`gfnode.rollout.runs.roll`.
        """
        from gfnode.rollout.runs import check_options, roll

        check_options(options)
        if not isinstance(start := one(start), Trajectory):
            check_apart(place(path, "a trajectory file"), [start])
        begun = self._begin(start, [self.model.system.time_step], frame)
        return roll(self, begun, length, path, **options)

    def _begin(
        self, start: Trajectory | str | Path, times: Iterable[float | str], frame: int | None
    ) -> prediction.Start:
        start = one(start)
        trajectory = start if isinstance(start, Trajectory) else self._read(start)[0]
        return prediction.begin(self.model, trajectory, times, frame, self.velocity_rule)
