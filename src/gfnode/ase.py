"""A trained model as an ASE driver: frames instead of forces.

``for frame in gfnode.ase.Propagator(atoms, run, stride="100fs")`` goes through later conformations
as ``for _ in dynamics.irun()`` does, a hundred femtoseconds at a time.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from torch import Tensor

from gfnode.ambient import usual
from gfnode.errors import InputError
from gfnode.interop.ase import from_ase
from gfnode.models import Generative
from gfnode.prediction import begin, check_follows, check_seed, check_whole, not_in_loss, read_times
from gfnode.rollout import Difference, Thermal, predict, steps
from gfnode.run import Run
from gfnode.trajectory import SHORT_GAP, Doubles
from gfnode.units import BOLTZMANN, format_time, parse_time

_CALLER = 4  # stack levels from _begin, by __init__ and what @usual() wraps around it
_STALE = ("energies", "stresses", "magmoms")  # of the start, not of a prediction
_Moment = tuple[float, Tensor, Tensor | None]  # fs since the start, positions, velocities


class Propagator:
    """Carries ``ase.Atoms`` through time with a trained model.

    Each step asks the model for the conformation one ``stride`` later and starts again from it,
    with velocities that the model itself gives (see :mod:`gfnode.rollout`). With ``direct``, or
    for ``times``, every frame is asked for from the one start instead: no error adds up, but the
    horizon of training is the end.

    Going through a propagator yields new ``Atoms`` of the state atoms: positions in Å, momenta
    where velocities are known, ``info["time_fs"]``. Cell, tags and other arrays are those of the
    start; calculators, constraints and forces are left out. Each pass begins at the start.
    :meth:`run` and :meth:`attach` work as those of ASE's molecular dynamics do.

    Parameters
    ----------
    atoms
        The start: ``Atoms`` with momenta, the atoms of the training data (or the state atoms) in
        their order. Or a list of two frames, with ``info["time_fs"]``, for models that were trained
        with differences: the start and the next frame, or where the data was coarse the frame
        before and the start.
    run
        A run, or the folder of a run or of an exported model.
    stride
        Time between frames: fs, or text with a unit.
    steps
        Number of frames; None: without end, or as many as fit into the horizon with ``direct``.
    times
        Lags after the start in place of ``stride``, in any order; all asked for from the start.
    direct
        Ask every frame from the one start.
    seed
        Of what is drawn.
    sampled
        Draw one of the motions that the model holds possible, not their mean; None: where steps go
        on from one another and the model can, having learned a potential.

    Attributes
    ----------
    atoms
        Where :meth:`run` stands.

    Raises
    ------
    InputError
        For atoms that are not those of the model, a start without velocities, times that are not
        positive.

    Warns
    -----
    BeyondHorizonWarning
        For a stride or a time beyond the horizon of training.
    UserWarning
        For steps of a model that was not trained on all atoms, and for momenta in place of
        differences of frames far apart.
    """

    @usual()
    def __init__(
        self,
        atoms: Atoms | Sequence[Atoms],
        run: Run | str | Path,
        stride: float | str = "100fs",
        *,
        steps: int | None = None,
        times: Iterable[float | str] | None = None,
        direct: bool = False,
        seed: int = 0,
        sampled: bool | None = None,
    ) -> None:
        several = isinstance(atoms, Iterable) and not isinstance(atoms, Atoms | str)
        images = list(atoms) if several else [atoms]
        if others := [type(each).__name__ for each in images if not isinstance(each, Atoms)]:
            raise InputError(
                f"the start is {others[0]}, expected ase.Atoms: use to_ase() for frames of a "
                "gfnode.Trajectory, ase.io.read for those of a file"
            )
        if steps is not None:
            check_whole(steps, "the number of steps", 1)
        self.model_run = run if isinstance(run, Run) else Run.open(run)
        self.stride, self.seed = parse_time(stride), check_seed(seed)
        self._direct = direct or times is not None
        if sampled:
            check_follows(self.model_run.model)
        can = self.model_run.model.follows and not self._direct
        self.sampled = can if sampled is None else sampled
        self._lags = self._choose(steps, None if times is None else read_times(times))
        self._steps = steps if self._lags is None else len(self._lags)
        self._begin(images)
        self.atoms = self._frame(0.0, self._positions, self._velocities)
        self._observers: list[tuple[Callable[..., object], int, tuple[Any, ...], dict[str, Any]]]
        self._observers = []
        self._done = 0
        self._going: Iterator[_Moment] | None = None

    def __len__(self) -> int:
        if self._steps is None:
            raise TypeError("the propagator would run forever: give steps")
        return self._steps

    def __iter__(self) -> Iterator[Atoms]:
        return (self._frame(*moment) for moment in self._moments())

    def attach(
        self, function: Callable[..., object], interval: int = 1, *args: Any, **kwargs: Any
    ) -> None:
        """Call a function after every ``interval``-th step of :meth:`run`.

        ``self.atoms`` is changed in place, so that ``ase.io.Trajectory("t.traj", "w",
        propagator.atoms).write`` writes every frame.
        """
        check_whole(interval, "the interval of an observer", 1)
        self._observers.append((function, interval, args, kwargs))

    def run(self, steps: int | None = None) -> bool:
        """Go on by some steps (all that are left), from where ``atoms`` stands.

        Returns
        -------
        bool
            False when there was no step left, or the prediction was no longer finite.
        """
        if steps is None and self._steps is None:
            raise InputError("the propagator would run forever: give the number of steps to run")
        if self._going is None:
            self._going = self._moments()
        if steps is not None:
            check_whole(steps, "the number of steps")
        wanted = len(self) - self._done if steps is None else steps
        moved = 0
        for time, positions, velocities in islice(self._going, wanted):
            _put(self.atoms, self._start_time + time, positions, velocities)
            self._done, moved = self._done + 1, moved + 1
            for function, interval, args, kwargs in self._observers:
                if self._done % interval == 0:
                    function(*args, **kwargs)
        return moved == wanted and moved > 0

    @property
    def nsteps(self) -> int:
        """Steps that :meth:`run` has gone."""
        return self._done

    def get_time(self) -> float:
        """Time of ``atoms`` in ASE's unit, as ASE's dynamics give it; see ``info["time_fs"]``."""
        return float(self.atoms.info["time_fs"]) * float(units.fs)

    def _choose(self, steps: int | None, times: list[float] | None) -> Doubles | None:
        """Lags of direct predictions, ascending in fs; None: one stride after the other."""
        horizon = self.model_run.model.system.horizon
        if not 0 < self.stride < np.inf:
            raise InputError(
                f"the stride is {format_time(self.stride)}, expected a time above zero"
            )
        if times is not None:
            if steps is not None:
                raise InputError("times already determine the frames: leave out steps")
            return np.unique(times)
        if not self._direct:
            return None
        fit = max(1, int(horizon / self.stride * (1 + 1e-9)))
        return self.stride * np.arange(1.0, (fit if steps is None else steps) + 1.0)

    def _begin(self, images: list[Any]) -> None:
        run, rule = self.model_run, self.model_run.velocity_rule
        start = from_ase(images, name=images[0].get_chemical_formula() if images else "")
        if start.velocities is None and len(start) == 1:
            raise InputError(
                f"the start {start.label} has no momenta, but the model needs velocities: set "
                "them (atoms.set_velocities, or ase.md.velocitydistribution), or give "
                + (
                    "the start and the next frame"
                    if rule.toward(start) > 0
                    else "the frame before and it"
                )
                + ', with info["time_fs"]'
            )
        asked = [self.stride] if self._lags is None else self._lags.tolist()
        frame = rule.first(start)
        begun = begin(run.model, start, asked, frame, rule)
        gap = run.facts.get("velocity_gap_fs")
        self._gap = float(gap) if gap else None
        self._warn_of_repetition()
        self._positions, self._velocities, _ = begun.tensors
        self._start_time = float(begun.now.times[0])
        self._template = self._without_results(images[frame])

    def _warn_of_repetition(self) -> None:
        """Warn of a stride too short, or of atoms that training did not score."""
        model = self.model_run.model
        if self._lags is not None or self.sampled:
            return
        if not isinstance(model, Generative):
            Difference(self._gap, self.stride).warn_if_short()
        if unseen := not_in_loss(model):
            warnings.warn(
                f"{unseen}, but every step starts from them. Train with windows.score=all, or use "
                "direct=True",
                stacklevel=_CALLER + 1,
            )

    def _without_results(self, image: Any) -> Any:
        """The state atoms of a start, without what belongs to its moment."""
        system = self.model_run.model.system
        whole = len(image) == len(system.source_numbers)
        template = image[system.atoms] if whole else image.copy()
        template.calc = None
        if system.source_masses is not None:
            template.set_masses(system.masses)
        if template.constraints:
            warnings.warn(
                "constraints of the start are ignored: only atoms that never moved in training "
                "stay fixed",
                stacklevel=_CALLER + 1,
            )
        template.set_constraint()
        forces = (key for key in template.arrays if key.lower().endswith(("force", "forces")))
        for key in (*_STALE, *forces):
            template.arrays.pop(key, None)
            template.info.pop(key, None)
        for key in ("energy", "free_energy", "stress", "dipole"):
            template.info.pop(key, None)
        return template

    def _moments(self) -> Iterator[_Moment]:
        found = self._repeated() if self._lags is None else self._at_once(self._lags)
        while (moment := _next(found)) is not None:
            time, positions, velocities = moment
            if not bool(positions.isfinite().all()):
                warnings.warn(
                    f"the prediction is not finite {format_time(time)} after the start: the "
                    "propagation ends there",
                    stacklevel=3,
                )
                return
            yield time, positions, velocities

    def _repeated(self) -> Iterator[_Moment]:
        model = self.model_run.model
        draw = self._thermal() if isinstance(model, Generative) else None
        moments = steps(
            model,
            self._positions,
            self._velocities,
            self.stride,
            draw=draw or (Difference(self._gap, self.stride) if self._gap else None),
            seed=self.seed,
            sampled=self.sampled,
        )
        return islice(moments, self._steps)

    def _thermal(self) -> Thermal | None:
        """Velocities at random for samples: thermal, where the temperature of training is known."""
        heat = [entry.get("temperature_K") for entry in self.model_run.facts["data"]]
        masses = torch.as_tensor(self.model_run.model.system.masses)
        if not all(heat) or abs(self._gap or 0.0) > SHORT_GAP:
            return None
        sizes = (BOLTZMANN * float(np.mean(heat)) / masses).sqrt().float()
        own = Thermal.like(self._positions, self._velocities, masses)
        return Thermal(sizes, masses, own.still)

    @torch.no_grad()
    def _at_once(self, lags: Doubles) -> Iterator[_Moment]:
        """All lags from the one start; velocities by differences, where they mean motion."""
        model, x, v = self.model_run.model.eval(), self._positions, self._velocities
        draw = torch.Generator().manual_seed(self.seed)
        rules = [Difference(self._gap, lag) for lag in lags.tolist()]
        offsets = np.array([() if isinstance(model, Generative) else r.offsets for r in rules])
        velocities: Tensor | None = None
        if self.sampled:
            drawn = model.trajectories(x, v, torch.from_numpy(lags).to(x)[None], draw)
            positions, velocities = (y[0] for y in drawn)
        else:
            asked = lags[:, None] + np.insert(offsets, 0, 0.0, axis=1)
            found = predict(model, x, v, asked.ravel().tolist())[0].unflatten(0, asked.shape)
            positions = found[:, 0]
            if offsets.size:
                each = zip(rules, positions[:, None], found[:, None, 1:], strict=True)
                velocities = torch.cat([rule(now, around, draw) for rule, now, around in each])
        for number, lag in enumerate(lags.tolist()):
            moved = None if velocities is None else velocities[number : number + 1]
            yield lag, positions[number : number + 1], moved

    def _frame(self, time: float, positions: Tensor, velocities: Tensor | None) -> Atoms:
        frame = self._template.copy()
        _put(frame, self._start_time + time, positions, velocities)
        return frame


@usual()
def _next(moments: Iterator[_Moment]) -> _Moment | None:
    return next(moments, None)


def _put(atoms: Atoms, time: float, positions: Tensor, velocities: Tensor | None) -> None:
    """Set positions, momenta and time; ``(1, atom, 3)`` in Å and Å/fs."""
    atoms.positions = positions[0].double().numpy()
    if velocities is None:
        atoms.arrays.pop("momenta", None)
    else:
        atoms.set_velocities(velocities[0].double().numpy() / units.fs)
    for key in ("time", "time_ps"):
        atoms.info.pop(key, None)
    atoms.info["time_fs"] = time
