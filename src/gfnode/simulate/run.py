"""Simulate a molecule: from what a user says to a trajectory on disk."""

import hashlib
import shlex
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode import __version__
from gfnode.errors import InputError
from gfnode.files import read_json
from gfnode.progress import Report
from gfnode.readers import load
from gfnode.readers.saving import check_precision, check_target, topology_beside, topology_path
from gfnode.readers.unfinished import Store, check_free, check_one_way, record_of, same_settings
from gfnode.simulate.dynamics import Dynamics
from gfnode.simulate.engines import OPENMM, XTB, Engine, one_thread
from gfnode.simulate.molecules import Molecule, find
from gfnode.simulate.protocol import Protocol, protocol
from gfnode.simulate.summary import Summary, summarise
from gfnode.trajectory import Trajectory

SAVE_EVERY_S = 2.0
"""State reaches the disk about so often."""


@dataclass(frozen=True)
class Outcome:
    """A finished simulation: its frames, and what they are like (None: finished before)."""

    trajectory: Trajectory
    summary: Summary | None


@dataclass
class Simulation:
    """A simulation that is ready to run.

    Parameters
    ----------
    molecule, protocol, dynamics
        What moves, what is done with it, and the forces.
    details
        Settings of the engine.
    command
        The command line that does the same.
    """

    molecule: Molecule
    protocol: Protocol
    dynamics: Dynamics
    details: Mapping[str, Any]
    command: str

    def settings(self) -> dict[str, Any]:
        """All that decides about the frames."""
        geometry = hashlib.sha256(self.molecule.numbers.tobytes())
        geometry.update(np.round(self.molecule.positions, 6).tobytes())
        if (masses := self.molecule.atom_masses) is not None:
            geometry.update(np.round(masses, 6).tobytes())
        molecule = {"molecule": self.molecule.name, "geometry": geometry.hexdigest()[:16]}
        return {**molecule, **self.details, **self.protocol.settings()}

    def run(
        self,
        path: Path | None,
        *,
        resume: bool = False,
        overwrite: bool = False,
        precision: float | None = None,
        progress: Report | None = None,
    ) -> Outcome:
        """Simulate, see :func:`simulate`."""
        check_one_way(resume=resume, overwrite=overwrite)
        if path is None:
            with tempfile.TemporaryDirectory() as folder:
                return self.run(Path(folder) / "frames.npz", progress=progress)
        check_target(path)
        check_precision(path, precision)
        topology_beside(path, self.dynamics.numbers)  # of other atoms: refused before the steps
        with one_thread(len(self.molecule.numbers)):
            opened = self._open(path, precision, resume=resume, overwrite=overwrite)
            if opened is None:
                return Outcome(load(path, top=topology_path(path)), None)
            store, step = opened
            try:
                self._go(store, step, progress)
                return self._finish(store, precision)
            finally:
                store.close()

    def _open(
        self, path: Path, precision: float | None, *, resume: bool, overwrite: bool
    ) -> tuple[Store, int] | None:
        """Begin or go on: the store and the step it stands at. None: it is finished."""
        settings = self.settings()
        if resume and (opened := Store.resume(path, settings, what="simulation")):
            store, state = opened
            if state:
                step = int(state.pop("step"))
                self.dynamics.from_arrays(state)
                return store, step
            store.close()  # it had just begun
        elif path.exists() and resume and record_of(path).exists():
            self._check_finished(path, precision)
            return None
        elif not overwrite:
            check_free(path, "simulation")
        self.dynamics.prepare()  # first: a molecule that the engine does not take leaves no folder
        shapes, frames = self.dynamics.shapes(), self.protocol.frames
        return Store.begin(path, settings, shapes, frames=frames, what="simulation"), 0

    def _check_finished(self, path: Path, precision: float | None) -> None:
        """Refuse a finished file of another simulation, or not of this length or precision."""
        record = read_json(record_of(path))
        same_settings(path, record.get("settings", {}), self.settings(), "simulation")
        if (frames := record.get("result", {}).get("frames")) != self.protocol.frames:
            raise InputError(
                f"{path}: is finished with {frames} frames, but {self.protocol.frames} are "
                "requested: give another name, or start over with --overwrite"
            )
        was = record.get("precision_A", precision)  # older records do not say
        if precision is not None and precision != was:
            held = "not rounded" if was is None else f"rounded to {was:g} Å"
            raise InputError(
                f"{path}: is finished, with positions {held}, but {precision:g} Å is requested: "
                "leave --precision out, or write another file with gfnode convert --precision"
            )

    def _go(self, store: Store, step: int, progress: Report | None) -> None:
        """Make the steps that are left, storing frames and state."""
        plan, dynamics = self.protocol, self.dynamics
        waiting: list[NDArray[Any]] = []
        if step == 0 == plan.equilibrate and not store.frames:
            self._begin_storing(store, waiting)
        saved = time.monotonic()
        while step < plan.last_step:
            stop = self._next_stop(step)
            dynamics.advance(stop - step, equilibrating=step < plan.equilibrate)
            step = stop
            if step == plan.equilibrate:
                self._begin_storing(store, waiting)
            elif step > plan.equilibrate and (step - plan.equilibrate) % plan.every == 0:
                waiting.append(self._frame(store))
            if step % dynamics.block == 0:
                dynamics.renew()
            due = step % dynamics.block == 0 and time.monotonic() - saved > SAVE_EVERY_S
            if due or step == plan.last_step:
                self._save(store, step, waiting)
                saved = time.monotonic()
            if progress:
                progress(step, plan.last_step)
        if waiting:  # a single frame, without a step
            self._save(store, step, waiting)

    def _begin_storing(self, store: Store, waiting: list[NDArray[Any]]) -> None:
        """Take the first frame; an engine may have another integrator from here on."""
        self.dynamics.advance(0, equilibrating=False)
        waiting.append(self._frame(store))

    def _next_stop(self, step: int) -> int:
        """Return the next step at which something is to be done."""
        plan, block = self.protocol, self.dynamics.block
        stops = [plan.last_step, step - step % block + block]
        if step < plan.equilibrate:
            stops.append(plan.equilibrate)
        else:
            into = step - plan.equilibrate
            stops.append(step - into % plan.every + plan.every)
        return min(stops)

    def _frame(self, store: Store) -> NDArray[Any]:
        now = self.dynamics.snapshot()
        frame = np.zeros(1, dtype=store.frame)
        for key in store.frame.names or ():
            frame[key] = getattr(now, key)
        return frame

    def _save(self, store: Store, step: int, waiting: list[NDArray[Any]]) -> None:
        frames = np.concatenate(waiting) if waiting else np.zeros(0, dtype=store.frame)
        store.append(frames, {"step": np.array(step), **self.dynamics.to_arrays()})
        waiting.clear()

    def _finish(self, store: Store, precision: float | None) -> Outcome:
        plan, dynamics = self.protocol, self.dynamics
        frames = store.read()[: plan.frames]
        held = frames.dtype.names or ()
        degrees = 3 * len(dynamics.numbers) if plan.degrees == "3N" else dynamics.degrees
        summary = summarise(frames, dynamics.masses, degrees, plan.spacing, dynamics.particles)
        trajectory = Trajectory(
            frames["positions"],
            plan.spacing * np.arange(len(frames), dtype=np.float64),
            dynamics.numbers,
            frames["velocities"],
            frames["cell"] if "cell" in held else None,
            dynamics.topology,
            time_step=plan.spacing,
            name=self.molecule.name,
            source=self.describe(),
            forces=frames["forces"] if "forces" in held else None,
            atom_masses=dynamics.masses,
        )
        record = {
            "format": "gfnode simulation record",
            "version": 1,
            "source": self.describe(),
            "command": self.command,
            "settings": self.settings(),
            "precision_A": precision,
            "result": summary.to_dict(),
        }
        store.finish(trajectory, record, precision)
        return Outcome(trajectory, summary)

    def describe(self) -> str:
        """Where the frames come from, as stored in the file."""
        return (
            f"{self.molecule.origin}, {self.dynamics.describe()}, {self.protocol.describe()}; "
            f"gfnode {__version__}: {self.command}"
        )


def prepare(
    what: str | Molecule,
    *,
    engine: str = XTB,
    options: Mapping[str, Any] | None = None,
    openmm: Mapping[str, Any] | None = None,
    **steps: Any,
) -> Simulation:
    """Make a simulation ready; see :func:`simulate` for what it takes.

    Raises
    ------
    InputError
        For a molecule, an engine, or a protocol that makes no sense.
    """
    plan = protocol(engine, **steps)
    molecule = find(what) if isinstance(what, str) else what
    details: dict[str, Any]
    if engine == OPENMM:
        from gfnode.simulate.openmm_dynamics import Box, OpenMMDynamics

        if options:
            raise InputError(
                "--option is for ASE calculators; openmm takes --force-field and the like"
            )
        box = Box(**(openmm or {}))
        details = {"engine": engine, **box.settings()}
        dynamics: Dynamics = OpenMMDynamics(molecule, box, plan)
    else:
        from gfnode.simulate.ase import AseDynamics

        if openmm:
            given = ", ".join(f"--{key.replace('_', '-')}" for key in openmm)
            raise InputError(f"{given} is for --engine {OPENMM}, but the engine is {engine}")
        details = {"engine": engine, "options": dict(options or {})}
        dynamics = AseDynamics(molecule, Engine(engine, options or {}), plan)
    said = what if isinstance(what, str) else molecule.name
    return Simulation(molecule, plan, dynamics, details, _command_line(said, details, plan))


def _command_line(what: str, details: Mapping[str, Any], plan: Protocol) -> str:
    """The command that makes a trajectory, as it is stored with it."""
    words = ["gfnode", "simulate", what]
    for key, value in details.items():
        if key == "options":
            words += [word for k, v in value.items() for word in ("--option", f"{k}={v}")]
        else:
            words += [f"--{key.replace('_', '-')}", str(value)]
    words += ["--temperature", f"{plan.temperature:g}K", "--steps", str(plan.frames * plan.every)]
    for key, fs in (
        ("time-step", plan.time_step),
        ("every", plan.spacing),
        ("equilibrate", plan.equilibrate * plan.time_step),
        ("coupling", plan.coupling),
    ):
        words += [f"--{key}", f"{fs:.10g}fs"]
    words += ["--thermostat", plan.thermostat, "--degrees", plan.degrees, "--seed", str(plan.seed)]
    if plan.replica:
        words += ["--replica", str(plan.replica)]
    return shlex.join(words)


def simulate(
    what: str | Molecule,
    *,
    engine: str = XTB,
    temperature: float | str = "300K",
    steps: int | None = None,
    length: float | str | None = None,
    time_step: float | str | None = None,
    every: float | str | None = None,
    equilibrate: float | str | None = None,
    thermostat: str | None = None,
    coupling: float | str | None = None,
    degrees: str = "free",
    seed: int = 0,
    replica: int = 0,
    options: Mapping[str, Any] | None = None,
    openmm: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    precision: float | None = None,
    progress: Report | None = None,
) -> Trajectory:
    """Simulate a molecule: relax, draw velocities, equilibrate, then store frames.

    Parameters
    ----------
    what
        A built-in molecule (``toluene``, ``ala2``, …), a structure file, or SMILES.
    engine
        ``xtb`` (GFN2-xTB), ``openmm``, an ASE calculator by name, or ``module:Class``.
    temperature
        K, or text such as ``"500K"``.
    steps, length
        Of what is stored: a number of time steps, or a time. One of them must be given.
    time_step, every, equilibrate, coupling
        Time step; time between frames; time before the first one; time constant of the thermostat.
        fs, or text with a unit. Default: 0.5 fs, 5 fs, 2 ps, 100 fs; for openmm 2 fs, 1 ps,
        100 ps, 1 ps.
    thermostat
        ``bussi`` (not for openmm), ``langevin`` or ``none``; see :class:`Protocol`.
    degrees
        ``free`` or ``3N``: what the temperature counts; see :class:`Protocol`.
    seed, replica
        The same give the same frames; replicas of one seed are independent of each other.
    options
        Keywords of an ASE calculator.
    openmm
        Force field, solvent and such: the fields of :class:`gfnode.simulate.openmm_dynamics.Box`.
    out
        File to write; beside it a record, ``<stem>.simulation.json``, and while it runs a folder,
        ``<file>.unfinished``.
    resume
        Go on with what lies there; begin where nothing does, and read a file that is finished.
    overwrite
        Begin anew, and replace the file in the end.
    precision
        For npz: round positions to this many Å; see :func:`gfnode.readers.save`.
    progress
        Told steps done and steps in all.

    Returns
    -------
    Trajectory
        Frames with velocities. The first is at time zero, after equilibration. ``source`` says
        how they were made.

    Raises
    ------
    InputError
        For a molecule, an engine, or a protocol that makes no sense; a package that is not
        installed; a file that is there; a molecule that comes apart.
    """
    simulation = prepare(
        what,
        engine=engine,
        options=options,
        openmm=openmm,
        temperature=temperature,
        steps=steps,
        length=length,
        time_step=time_step,
        every=every,
        equilibrate=equilibrate,
        thermostat=thermostat,
        coupling=coupling,
        degrees=degrees,
        seed=seed,
        replica=replica,
    )
    path = None if out is None else Path(out).expanduser()
    outcome = simulation.run(
        path, resume=resume, overwrite=overwrite, precision=precision, progress=progress
    )
    return outcome.trajectory
