"""What is done in a simulation: temperature, steps, thermostat, in numbers that were checked."""

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from gfnode.errors import InputError
from gfnode.simulate.engines import OPENMM
from gfnode.units import format_time, parse_step, parse_temperature, parse_time

BUSSI, LANGEVIN, NONE = "bussi", "langevin", "none"
THERMOSTATS = (BUSSI, LANGEVIN, NONE)
DEGREES = ("free", "3N")


@dataclass(frozen=True)
class Defaults:
    """What an engine takes where the user says nothing, times in fs."""

    thermostat: str
    time_step: float
    every: float
    equilibrate: float
    coupling: float


ASE_DEFAULTS = Defaults(BUSSI, 0.5, 5.0, 2e3, 100.0)
OPENMM_DEFAULTS = Defaults(LANGEVIN, 2.0, 1e3, 1e5, 1e3)


@dataclass(frozen=True)
class Protocol:
    """What is done in a simulation.

    Parameters
    ----------
    temperature
        In K.
    time_step
        In fs.
    frames, every
        Number of frames, and steps from one to the next.
    equilibrate
        Steps before the first frame.
    thermostat
        ``bussi``, ``langevin`` or ``none`` (after equilibrating with the engine's default).
    coupling
        Time constant of the thermostat in fs: τ of Bussi's, the inverse friction of Langevin's.
    degrees
        ``free``: the temperature is that of the degrees of freedom that move; ``3N``: it is the
        kinetic energy over 3N/2 k_B, as MD17 counts it, also where momenta are zero.
    seed, replica
        Random numbers are those of the replica-th child of the seed.
    """

    temperature: float
    time_step: float
    frames: int
    every: int
    equilibrate: int
    thermostat: str
    coupling: float
    degrees: str = "free"
    seed: int = 0
    replica: int = 0

    @property
    def steps(self) -> int:
        """Steps from the first frame to the last one."""
        return (self.frames - 1) * self.every

    @property
    def last_step(self) -> int:
        """Steps in all, equilibration counted."""
        return self.equilibrate + self.steps

    @property
    def spacing(self) -> float:
        """Time between frames in fs."""
        return self.every * self.time_step

    def settings(self) -> dict[str, Any]:
        """All that decides about the frames; not their number, so that a run can be prolonged."""
        return {
            "temperature_K": self.temperature,
            "degrees": self.degrees,
            "time_step_fs": self.time_step,
            "every": self.every,
            "equilibrate": self.equilibrate,
            "thermostat": self.thermostat,
            "coupling_fs": self.coupling,
            "seed": self.seed,
            "replica": self.replica,
        }

    def describe(self) -> str:
        """One line for the record in the file."""
        counted = " over 3N degrees of freedom" if self.degrees == "3N" else ""
        heat = {
            BUSSI: f"Bussi thermostat at {self.temperature:g} K{counted} "
            f"({format_time(self.coupling)})",
            LANGEVIN: f"Langevin thermostat at {self.temperature:g} K "
            f"({format_time(self.coupling)})",
            NONE: f"constant energy, begun at {self.temperature:g} K{counted}",
        }[self.thermostat]
        return (
            f"{heat}, {format_time(self.time_step)} step, a frame every "
            f"{format_time(self.spacing)}, equilibrated for "
            f"{format_time(self.equilibrate * self.time_step)}, seed {self.seed}, "
            f"replica {self.replica}"
        )


def protocol(
    engine: str,
    *,
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
) -> Protocol:
    """Read what a user says; see :func:`gfnode.simulate.simulate`.

    Raises
    ------
    InputError
        For what makes no sense, or does not fit together.
    """
    default = OPENMM_DEFAULTS if engine == OPENMM else ASE_DEFAULTS
    kelvin = parse_temperature(temperature)
    step = parse_step(time_step) or default.time_step
    kind = thermostat or default.thermostat
    if kind not in THERMOSTATS:
        raise InputError(f"unknown thermostat {kind!r}: expected {', '.join(THERMOSTATS)}")
    if engine == OPENMM and kind == BUSSI:
        raise InputError("the engine openmm takes --thermostat langevin or none, got bussi")
    if degrees not in DEGREES:
        raise InputError(f"degrees of freedom are {degrees!r}, expected {' or '.join(DEGREES)}")
    if degrees == "3N" and (kind == LANGEVIN or engine == OPENMM):
        raise InputError(
            "--degrees 3N needs a molecule that neither drifts nor rotates: use --thermostat "
            "bussi or none, not openmm"
        )
    if kind != NONE and kelvin == 0:
        raise InputError("the temperature is 0 K: a thermostat needs one above zero, e.g. 300K")
    for name, number in (("steps", steps), ("seed", seed), ("replica", replica)):
        if not isinstance(number, Integral | None):
            raise InputError(f"{name} is {number!r}, expected a whole number")
    for name, time in (("length", length), ("every", every), ("equilibrate", equilibrate)):
        if time is not None and not math.isfinite(parse_time(time)):
            raise InputError(f"{name} is {time}, expected a finite time, e.g. 50ps")
    if seed < 0 or replica < 0:
        raise InputError(f"seed {seed} and replica {replica} must not be negative")
    tau = default.coupling if coupling is None else parse_time(coupling)
    if not tau > 0:
        raise InputError(f"the coupling is {coupling}, expected a time above zero, e.g. 100fs")
    spacing = _multiple("every", default.every if every is None else every, step, least=1)
    return Protocol(
        kelvin,
        step,
        _frames(steps, length, step, spacing),
        spacing,
        _multiple("equilibrate", default.equilibrate if equilibrate is None else equilibrate, step),
        kind,
        tau,
        degrees,
        seed,
        replica,
    )


def _multiple(name: str, time: float | str, step: float, least: int = 0) -> int:
    """Read a time that must be a whole number of steps."""
    fs = parse_time(time)
    count = round(fs / step)
    if count < least or abs(count * step - fs) > 1e-6 * step * max(1, count):
        raise InputError(
            f"--{name} {time} must be a whole number of time steps of {format_time(step)}"
            + (", at least one" if least else "")
        )
    return count


def _frames(steps: int | None, length: float | str | None, step: float, every: int) -> int:
    if (steps is None) == (length is None):
        raise InputError("give either the number of steps (--steps 100000) or --length 50ps")
    count = round(parse_time(length) / step) if length is not None else steps
    if count is None or count < every:
        raise InputError(
            f"{count} steps of {format_time(step)} give no frame: one is stored every {every} "
            "steps; make the simulation longer, or --every shorter"
        )
    return count // every
