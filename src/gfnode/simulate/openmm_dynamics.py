"""A molecule that moves by an OpenMM force field, alone, in implicit water or in a box of water."""

import random
import time
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.simulate.dynamics import Snapshot
from gfnode.simulate.extra import need
from gfnode.simulate.molecules import Molecule
from gfnode.simulate.openmm import NM, WATER, create_system, force_field, read_pdb
from gfnode.simulate.protocol import NONE, Protocol
from gfnode.trajectory import Doubles, masses_of
from gfnode.trajectory.mdtraj import from_mdtraj, to_mdtraj
from gfnode.units import FS_PER, KJ_MOL

CUTOFF_NM = 0.9
PRESSURE_BAR = 1.0
TRIAL_S = 0.3
"""Each platform is tried for so long."""

MANY_PARTICLES = 2500
"""From so many on the Reference platform is not tried: it looks at all pairs."""

CONSTRAINTS = ("hbonds", "none")
KEEP = ("solute", "all")


@dataclass(frozen=True)
class Box:
    """What surrounds a molecule, and how it is simulated with OpenMM.

    Parameters
    ----------
    force_field, solvent
        See :func:`gfnode.simulate.openmm.force_field`.
    padding
        Least distance from the molecule to the sides of a box of water, in Å.
    constraints
        ``hbonds``: bonds of hydrogen are rigid; ``none``. Water is always rigid.
    keep
        Frames hold the ``solute``, or ``all`` atoms.
    platform
        ``Reference``, ``CPU``, ``CUDA``, …; None: the fastest in a short trial.
    """

    force_field: str = "amber99sbildn"
    solvent: str = "obc"
    padding: float = 10.0
    constraints: str = "hbonds"
    keep: str = "solute"
    platform: str | None = None

    def __post_init__(self) -> None:
        for name, known in (("constraints", CONSTRAINTS), ("keep", KEEP)):
            if (got := getattr(self, name)) not in known:
                raise InputError(f"--{name} is {got!r}, expected {' or '.join(known)}")
        if not 0 < self.padding < 1000:
            raise InputError(
                f"--padding is {self.padding} Å, expected a length above zero, e.g. 10"
            )

    def settings(self) -> dict[str, Any]:
        """All that decides about the frames; the platform does so within rounding only."""
        found = asdict(self)
        del found["platform"]
        if self.solvent not in WATER:
            del found["padding"]
        return found


class OpenMMDynamics:
    """A :class:`gfnode.simulate.dynamics.Dynamics` of OpenMM.

    Langevin dynamics by the middle scheme (Zhang et al. 2019); with the thermostat ``none``
    leapfrog Verlet after equilibration. A box of water is equilibrated at 1 bar and keeps its last
    volume.
    Stored velocities are those of half a time step before.
    """

    block = 100

    def __init__(self, molecule: Molecule, box: Box, protocol: Protocol) -> None:
        need("openmm", "the engine openmm")

        self.molecule, self.box, self.protocol = molecule, box, protocol
        seed = np.random.SeedSequence(protocol.seed, spawn_key=(protocol.replica,))
        self._seeds = [int(word % 2**31) for word in seed.generate_state(4)]
        topology, self._positions = self._surroundings()
        self._system = self._create(topology)
        self._barostat = self._add_barostat()
        self.numbers, self.topology = molecule.numbers, molecule.topology
        if box.keep == "all" and self._periodic:
            self.numbers, self.topology = _all_atoms(topology)
        self._set_masses()
        self.particles: int = self._system.getNumParticles()
        self.degrees: int = 3 * self.particles - self._system.getNumConstraints()
        self.platform: str | None = box.platform
        self._context: Any = None
        self._free = False  # at constant energy

    @property
    def _periodic(self) -> bool:
        return self.box.solvent in WATER

    def _surroundings(self) -> tuple[Any, Doubles]:
        """Topology and positions in nm of the molecule, and of the water around it."""
        from openmm import unit
        from openmm.app import Modeller

        molecule = self.molecule
        if molecule.topology is None or not len(molecule.topology.bonds):
            raise InputError(
                f"{molecule.name}: a force field needs residues and bonds: give ala2 or a PDB file"
            )
        if molecule.pdb is not None and molecule.pdb.exists():
            topology = read_pdb(molecule.pdb).topology
        else:
            topology = to_mdtraj(molecule.numbers, molecule.topology).to_openmm()
        if topology.getNumAtoms() != len(molecule.numbers):
            raise InputError(f"{molecule.origin}: OpenMM and mdtraj read different atoms from it")
        field = self._field = force_field(self.box.force_field, self.box.solvent)
        if not self._periodic:
            return topology, molecule.positions / NM
        modeller = Modeller(topology, molecule.positions / NM * unit.nanometer)
        state = random.getstate()  # it draws where ions go from Python's random numbers
        random.seed(self._seeds[3])
        try:
            modeller.addSolvent(
                field,
                model=WATER[self.box.solvent],
                padding=self.box.padding / NM * unit.nanometer,
            )
        except Exception as error:
            raise InputError(f"{molecule.name}: OpenMM cannot add water: {error}") from error
        finally:
            random.setstate(state)
        return modeller.topology, np.array(modeller.positions.value_in_unit(unit.nanometer))

    def _create(self, topology: Any) -> Any:
        from openmm.app import PME, HBonds, NoCutoff

        options: dict[str, Any] = {"nonbondedMethod": NoCutoff}
        if self._periodic:
            edge = min(topology.getPeriodicBoxVectors()[i][i]._value for i in range(3))
            options = {"nonbondedMethod": PME, "nonbondedCutoff": min(CUTOFF_NM, 0.45 * edge)}
        return create_system(
            self._field,
            topology,
            constraints=HBonds if self.box.constraints == "hbonds" else None,
            removeCMMotion=False,  # friction and noise act on it too
            **options,
        )

    def _set_masses(self) -> None:
        """Give the molecule's atoms its own masses, where these are not the standard ones."""
        self.masses = masses_of(self.numbers)
        if (own := self.molecule.atom_masses) is not None:
            self.masses[: len(own)] = own
            for atom, mass in enumerate(own.tolist()):
                self._system.setParticleMass(atom, mass)

    def _add_barostat(self) -> Any:
        if not self._periodic or not self.protocol.equilibrate or not self.protocol.temperature:
            return None
        from openmm import MonteCarloBarostat, unit

        barostat = MonteCarloBarostat(
            PRESSURE_BAR * unit.bar, self.protocol.temperature * unit.kelvin
        )
        barostat.setRandomNumberSeed(self._seeds[2])
        self._system.addForce(barostat)
        return barostat

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """See :class:`gfnode.simulate.dynamics.Dynamics`."""
        atoms = (len(self.numbers), 3)
        cell = {"cell": (3, 3)} if self._periodic else {}
        return {"positions": atoms, "velocities": atoms, **cell, "energies": (3,)}

    def prepare(self) -> None:
        """Relax the geometry, choose the platform, and draw velocities."""
        from openmm import LocalEnergyMinimizer

        # Reference gives the same to the last digit, and is quick for few atoms
        context = self._build("Reference" if self.particles < MANY_PARTICLES else "CPU")
        context.setPositions(self._positions)
        LocalEnergyMinimizer.minimize(context, maxIterations=500)
        relaxed = context.getState(positions=True).getPositions(asNumpy=True)._value
        if not np.isfinite(relaxed).all():
            raise InputError(
                f"{self.molecule.name}: OpenMM cannot minimise its energy: are atoms too close?"
            )
        if self.platform is None:
            self.platform = self._fastest(relaxed)
        self._context = self._begun(self.platform, relaxed)

    def _begun(self, platform: str, positions: Doubles) -> Any:
        context = self._build(platform)
        context.setPositions(positions)
        context.applyConstraints(1e-6)
        context.setVelocitiesToTemperature(self.protocol.temperature, self._seeds[1])
        return context

    def _fastest(self, positions: Doubles) -> str:
        """Try every platform for a moment."""
        speed = {}
        for name in _platforms():
            if name == "Reference" and self.particles >= MANY_PARTICLES:
                continue
            try:
                context = self._begun(name, positions)
                integrator = context.getIntegrator()
                integrator.step(2)
                began, steps = time.monotonic(), 0
                while (spent := time.monotonic() - began) < TRIAL_S or not steps:
                    integrator.step(1 + steps // 4)
                    steps += 1 + steps // 4
                    context.getState(energy=True)  # waits for devices that run ahead
            except Exception:
                continue
            speed[name] = steps / spent
        if not speed:
            raise InputError(f"none of the OpenMM platforms works: {', '.join(_platforms())}")
        return max(speed, key=lambda name: speed[name])

    def _build(self, platform: str) -> Any:
        """Make a context on a platform, its integrator seeded."""
        from openmm import (
            CompoundIntegrator,
            Context,
            LangevinMiddleIntegrator,
            Platform,
            VerletIntegrator,
        )

        plan = self.protocol
        step_ps = plan.time_step / FS_PER["ps"]
        heat = LangevinMiddleIntegrator(plan.temperature, FS_PER["ps"] / plan.coupling, step_ps)
        heat.setRandomNumberSeed(self._seeds[0] or 1)  # 0 stands for a random one
        integrator = heat
        if plan.thermostat == NONE:
            integrator = CompoundIntegrator()
            integrator.addIntegrator(heat)
            integrator.addIntegrator(VerletIntegrator(step_ps))
        try:
            return Context(self._system, integrator, Platform.getPlatformByName(platform))
        except Exception as error:
            raise InputError(
                f"OpenMM cannot use the platform {platform}: {error}; available are "
                f"{', '.join(_platforms())}"
            ) from error

    def advance(self, steps: int, *, equilibrating: bool) -> None:
        """Make steps; those after equilibration at constant volume."""
        self._set_phase(equilibrating)
        try:
            self._context.getIntegrator().step(steps)
        except Exception as error:
            raise InputError(
                f"OpenMM failed: {error}; use a shorter --time-step or a lower --temperature"
            ) from error

    def _set_phase(self, equilibrating: bool) -> None:
        if self._barostat is not None and not equilibrating:
            self._barostat.setFrequency(0)
        free = self.protocol.thermostat == NONE and not (
            equilibrating and self.protocol.temperature > 0
        )
        if free and not self._free:
            self._context.getIntegrator().setCurrentIntegrator(1)
        self._free = free

    def renew(self) -> None:
        """Nothing is remembered but the state."""

    def snapshot(self) -> Snapshot:
        """Positions, velocities and energies now; molecules are whole."""
        state = self._context.getState(positions=True, velocities=True, energy=True)
        kept = slice(len(self.numbers))
        potential = state.getPotentialEnergy()._value * KJ_MOL
        kinetic = state.getKineticEnergy()._value * KJ_MOL
        conserved = potential + kinetic if self._free else np.nan
        cell = state.getPeriodicBoxVectors(asNumpy=True)._value * NM if self._periodic else None
        positions = state.getPositions(asNumpy=True)._value
        if not (np.isfinite(positions).all() and np.isfinite(potential + kinetic)):
            raise InputError(
                "the molecule has come apart: positions are not finite; use a shorter "
                "--time-step or a lower --temperature"
            )
        return Snapshot(
            positions[kept] * NM,
            state.getVelocities(asNumpy=True)._value[kept] * (NM / FS_PER["ps"]),
            np.array([potential, kinetic, conserved]),
            cell,
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that is needed to go on, twice: OpenMM's own state, and plain arrays."""
        state = self._context.getState(positions=True, velocities=True)
        return {
            "checkpoint": np.frombuffer(self._context.createCheckpoint(), dtype=np.uint8),
            "platform": np.array(self.platform),
            "positions": state.getPositions(asNumpy=True)._value,
            "velocities": state.getVelocities(asNumpy=True)._value,
            "box": state.getPeriodicBoxVectors(asNumpy=True)._value,
            "free": np.array(self._free),
        }

    def from_arrays(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Inverse of :meth:`to_arrays`.

        OpenMM's own state fits the same version, platform and machine only. Elsewhere the run goes
        on from positions and velocities, with other random numbers, and says so.
        """
        stored = str(arrays["platform"])
        self.platform = self.box.platform or (stored if stored in _platforms() else "CPU")
        context = self._context = self._build(self.platform)
        try:
            if self.platform != stored:
                raise ValueError(f"it was made on {stored}")
            context.loadCheckpoint(arrays["checkpoint"].tobytes())
        except Exception as error:
            warnings.warn(
                f"OpenMM cannot load its saved state ({error}): continuing from positions and "
                "velocities, with different random numbers",
                stacklevel=2,
            )
            context.setPeriodicBoxVectors(*arrays["box"])
            context.setPositions(arrays["positions"])
            context.setVelocities(arrays["velocities"])
        if arrays["free"]:
            context.getIntegrator().setCurrentIntegrator(1)
            self._free = True

    def describe(self) -> str:
        """Force field, solvent and version in words."""
        from openmm import version

        box = self.box
        rigid = ", rigid bonds of hydrogen" if box.constraints == "hbonds" else ""
        water = f" water ({self.particles} atoms)" if self._periodic else ""
        where = f", {self.platform} platform" if self.platform else ""
        edition = f"OpenMM {version.short_version}{where}"
        return f"{box.force_field} in {box.solvent}{water}{rigid} ({edition})"


def _platforms() -> list[str]:
    from openmm import Platform

    return [Platform.getPlatform(i).getName() for i in range(Platform.getNumPlatforms())]


def _all_atoms(topology: Any) -> tuple[Any, Any]:
    """Atomic numbers and names of all atoms of an OpenMM topology."""
    from mdtraj import Topology

    from gfnode.readers.topology import check_elements

    numbers, names = from_mdtraj(Topology.from_openmm(topology))
    check_elements("the box of water", numbers, names)
    return numbers, names
