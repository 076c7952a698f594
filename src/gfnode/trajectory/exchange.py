"""Methods of a trajectory that let it out to other libraries, and in; see :mod:`gfnode.interop`."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ase
    import MDAnalysis
    import mdtraj

    from gfnode.trajectory.core import Trajectory


class Exchange:
    """What lets a :class:`~gfnode.trajectory.Trajectory` out to other libraries, and in."""

    def to_mdtraj(self: "Trajectory") -> "mdtraj.Trajectory":  # type: ignore[misc]
        """Give an ``mdtraj.Trajectory``; see :func:`gfnode.interop.mdtraj.to_mdtraj`."""
        from gfnode.interop.mdtraj import to_mdtraj

        return to_mdtraj(self)

    @staticmethod
    def from_mdtraj(
        frames: "mdtraj.Trajectory", *, step: float | str | None = None, name: str = ""
    ) -> "Trajectory":
        """Take an ``mdtraj.Trajectory``; see :func:`gfnode.interop.mdtraj.from_mdtraj`."""
        from gfnode.interop.mdtraj import from_mdtraj

        return from_mdtraj(frames, step=step, name=name)

    def to_ase(self: "Trajectory") -> "list[ase.Atoms]":  # type: ignore[misc]
        """Give an ``ase.Atoms`` for every frame; see :func:`gfnode.interop.ase.to_ase`."""
        from gfnode.interop.ase import to_ase

        return to_ase(self)

    @staticmethod
    def from_ase(
        frames: "ase.Atoms | Iterable[ase.Atoms]",
        *,
        step: float | str | None = None,
        name: str = "",
    ) -> "Trajectory":
        """Take a list or a reader of ``ase.Atoms``; see :func:`gfnode.interop.ase.from_ase`."""
        from gfnode.interop.ase import from_ase

        return from_ase(frames, step=step, name=name)

    def to_mdanalysis(self: "Trajectory") -> "MDAnalysis.Universe":  # type: ignore[misc]
        """Give a ``Universe`` in memory; see :func:`gfnode.interop.mdanalysis.to_mdanalysis`."""
        from gfnode.interop.mdanalysis import to_mdanalysis

        return to_mdanalysis(self)

    @staticmethod
    def from_mdanalysis(
        atoms: Any,
        *,
        frames: slice | Sequence[int] | None = None,
        stride: int = 1,
        step: float | str | None = None,
        name: str = "",
    ) -> "Trajectory":
        """Take a Universe or AtomGroup; see :func:`gfnode.interop.mdanalysis.from_mdanalysis`."""
        from gfnode.interop.mdanalysis import from_mdanalysis

        return from_mdanalysis(atoms, frames=frames, stride=stride, step=step, name=name)
