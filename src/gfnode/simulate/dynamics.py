"""What the run of a simulation asks of an engine."""

from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from gfnode.trajectory import Doubles, Integers, Topology


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A frame in double precision.

    Parameters
    ----------
    positions, velocities
        ``(atom, 3)`` in Å and Å/fs.
    energies
        Potential, kinetic and conserved energy, ``(3,)`` in u Å²/fs². The conserved one is that of
        the molecule less what the thermostat put in; nan where it is not known.
    cell
        ``(3, 3)`` in Å.
    forces
        ``(atom, 3)`` in u Å/fs², where all that moves the atoms is theirs.
    """

    positions: Doubles
    velocities: Doubles
    energies: Doubles
    cell: Doubles | None = None
    forces: Doubles | None = None


class Dynamics(Protocol):
    """A system that moves: begun with :meth:`prepare` or :meth:`from_arrays`.

    Attributes
    ----------
    numbers, topology
        Of the atoms that frames hold.
    masses
        Of the same, ``(atom,)`` in u.
    degrees, particles
        Number of degrees of freedom that move, and of atoms, those that frames leave out too.
    block
        State is stored at multiples of so many steps.
    """

    numbers: Integers
    topology: Topology | None
    masses: Doubles
    degrees: int
    particles: int
    block: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every array of a frame: positions, velocities, energies, cell in a box."""

    def prepare(self) -> None:
        """Make the first state: relaxed, with thermal velocities."""

    def advance(self, steps: int, *, equilibrating: bool) -> None:
        """Make steps."""

    def renew(self) -> None:
        """Drop all that a stored state does not hold; called at every block's end."""

    def snapshot(self) -> Snapshot:
        """The frame now."""

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that is needed to go on."""

    def from_arrays(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Inverse of :meth:`to_arrays`."""

    def describe(self) -> str:
        """The engine in words: method, package, version."""
