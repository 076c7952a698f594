"""A molecule that moves by the forces of an ASE calculator."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.simulate.dynamics import Snapshot
from gfnode.simulate.engines import XTB, Engine, forget, unusable
from gfnode.simulate.integrator import (
    Bussi,
    Conserved,
    Langevin,
    State,
    Thermostat,
    advance,
    degrees_of_freedom,
    kinetic_energy,
    thermal_velocities,
    without_momenta,
    without_torque,
)
from gfnode.simulate.molecules import Molecule
from gfnode.simulate.protocol import BUSSI, LANGEVIN, Protocol
from gfnode.trajectory import Doubles
from gfnode.units import ELECTRONVOLT

RELAXED = 0.05
"""Relaxed until forces are below so many eV/Å."""

RELAX_STEPS = 200


class AseDynamics:
    """A :class:`gfnode.simulate.dynamics.Dynamics` with the forces of an ASE calculator.

    An isolated molecule begins with neither momentum nor angular momentum, one in a box without
    momentum; with Langevin's thermostat all 3N degrees of freedom are thermal.
    """

    block = 100  # an SCF from scratch is about two steps

    def __init__(self, molecule: Molecule, engine: Engine, protocol: Protocol) -> None:
        from ase.calculators.calculator import Calculator, all_changes

        self.molecule, self.engine, self.protocol = molecule, engine, protocol
        self.numbers, self.topology = molecule.numbers, molecule.topology
        self.masses = molecule.masses
        self.particles = len(self.numbers)
        self._atoms = molecule.to_ase()
        self._atoms.calc = engine.calculator()
        calculator = self._atoms.calc
        self._plain = getattr(type(calculator), "get_property", None) is Calculator.get_property
        self._changes = list(all_changes)
        self.conserved: Conserved = "momenta" if molecule.cell is None else "momentum"
        if protocol.thermostat == LANGEVIN:
            self.conserved = "nothing"
        self.degrees = degrees_of_freedom(len(self.numbers), self.conserved)
        if self.degrees == 0:
            raise InputError(f"{molecule.name} is a single atom: there is nothing to simulate")
        counted = 3 * len(self.numbers) if protocol.degrees == "3N" else self.degrees
        self.temperature = protocol.temperature * counted / self.degrees
        self.state: State | None = None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See :class:`gfnode.simulate.dynamics.Dynamics`."""
        atoms = (len(self.numbers), 3)
        cell = {} if self.molecule.cell is None else {"cell": (3, 3)}
        moving = dict.fromkeys(("positions", "velocities", "forces"), atoms)
        return moving | cell | {"energies": (3,)}

    def prepare(self) -> None:
        """Relax the geometry and draw velocities."""
        from ase.optimize import BFGS

        try:
            BFGS(self._atoms, logfile=None).run(fmax=RELAXED, steps=RELAX_STEPS)
        except Exception as error:
            raise unusable(self.engine, error) from error
        random = np.random.default_rng(
            np.random.SeedSequence(self.protocol.seed, spawn_key=(self.protocol.replica,))
        )
        x = np.array(self._atoms.positions)
        if self.molecule.cell is None:
            x -= self.masses @ x / self.masses.sum()
        v = thermal_velocities(self.masses, self.temperature, random)
        v = without_momenta(self.masses, x, v, self.conserved)
        forget(self._atoms.calc)
        potential, forces = self._forces(x)
        self.state = State(x, v, forces, potential, 0.0, random)

    def advance(self, steps: int, *, equilibrating: bool) -> None:
        """Make steps, with the thermostat of the protocol."""
        assert self.state is not None
        advance(
            self.state,
            self._forces,
            self.masses,
            step=self.protocol.time_step,
            steps=steps,
            thermostat=self._thermostat(equilibrating),
        )

    def _thermostat(self, equilibrating: bool) -> Thermostat:
        kind = self.protocol.thermostat
        if kind == LANGEVIN:
            return Langevin(self.temperature, self.protocol.coupling)
        if kind == BUSSI or (equilibrating and self.temperature > 0):
            return Bussi(self.temperature, self.protocol.coupling, self.degrees)
        return None

    def _forces(self, positions: Doubles) -> tuple[float, Doubles]:
        try:
            energy, forces = self._calculate(positions)
        except Exception as error:
            if self.state is None:
                raise unusable(self.engine, error) from error
            raise InputError(
                f"the engine {self.engine.name} failed during the run: {error}; use a shorter "
                "--time-step or a lower --temperature"
            ) from error
        if not np.isfinite(forces).all():
            raise InputError(
                f"the forces of {self.engine.name} are not finite: the molecule has come apart; "
                "use a shorter --time-step or a lower --temperature"
            )
        if self.engine.name == XTB and self.molecule.cell is None:
            # its torque is 1e-5 eV: the iteration for the charges stops before rounding
            forces = without_torque(self.masses, positions, forces)
        return energy, forces

    def _calculate(self, positions: Doubles) -> tuple[float, Doubles]:
        """Ask the calculator; ASE's own way to it compares all of the atoms twice every step."""
        atoms, calculator = self._atoms, self._atoms.calc
        atoms.positions = positions
        if self._plain:
            calculator.calculate(atoms, ["energy", "forces"], self._changes)
            energy, forces = calculator.results["energy"], calculator.results["forces"]
            self._changes = ["positions"]
        else:
            forces, energy = atoms.get_forces(), atoms.get_potential_energy()
        return float(energy) * ELECTRONVOLT, np.asarray(forces) * ELECTRONVOLT

    def renew(self) -> None:
        """Drop what the calculator remembers, and the rounding of momenta.

        A run that goes on then does not differ from one that went through. Bussi's thermostat
        multiplies what rounding leaves of the momenta along with all velocities: the logarithm
        wanders by √(t/(f τ)) in the time t, so that in nanoseconds 1e-16 would become visible.
        """
        forget(self._atoms.calc)
        assert self.state is not None
        state = self.state
        state.velocities = without_momenta(
            self.masses, state.positions, state.velocities, self.conserved
        )

    def snapshot(self) -> Snapshot:
        """Positions, velocities, forces and energies now."""
        assert self.state is not None
        state = self.state
        kinetic = kinetic_energy(self.masses, state.velocities)
        energies = (state.potential, kinetic, state.potential + kinetic - state.heat)
        return Snapshot(
            state.positions,
            state.velocities,
            np.array(energies),
            self.molecule.cell,
            state.forces,
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that is needed to go on."""
        assert self.state is not None
        return self.state.to_arrays()

    def from_arrays(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Inverse of :meth:`to_arrays`."""
        self.state = State.from_arrays(arrays)

    def describe(self) -> str:
        """The engine in words."""
        return self.engine.describe()
