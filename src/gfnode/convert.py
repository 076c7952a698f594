"""From one trajectory format to another: what is kept, what is lost, and said so."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gfnode.errors import InputError
from gfnode.files import check_apart
from gfnode.progress import Report
from gfnode.readers import FORMATS, save, saving
from gfnode.readers.formats import OWN, Holds, format_of
from gfnode.readers.source import BLOCK
from gfnode.thinning import chunks, evenly
from gfnode.trajectory import Floats, Integers, Trajectory
from gfnode.units import FS_PER, format_time

REFERENCES = ("first", "mean")

MEAN_OF = 500
"""Frames, evenly spread, that a mean conformer is taken over."""


@dataclass(frozen=True)
class Lost:
    """Something that the new file does not hold; ``grave`` where it cannot be made up for."""

    text: str
    grave: bool = False

    @property
    def line(self) -> str:
        """What a command prints of it."""
        return f"{'warning' if self.grave else 'note'}: {self.text}"


class Aligner:
    """Turns and moves frames so that some of their atoms lie on those of a reference.

    Each frame is superposed by the rotation R and translation of least squares (Kabsch) over the
    chosen atoms, without weights; velocities become R v, forces R f, cell vectors R a.

    Parameters
    ----------
    trajectory
        Whose first frame is the reference, or whose mean conformer, placed on the first frame.
    atoms
        Chosen atoms, ``(chosen,)``; at least three.
    reference
        ``first`` or ``mean`` (over at most 500 frames, evenly spread).

    Raises
    ------
    InputError
        For fewer than three atoms, or another reference.
    """

    def __init__(self, trajectory: Trajectory, atoms: Integers, reference: str = "first") -> None:
        from torch import from_numpy

        from gfnode.geometry import mean_conformer, superpose

        if reference not in REFERENCES:
            raise InputError(f"--reference {reference}: expected {' or '.join(REFERENCES)}")
        if len(atoms) < 3:
            raise InputError(f"alignment needs at least three atoms, got {len(atoms)}")
        self.atoms = atoms
        first = from_numpy(trajectory.positions[0, atoms])
        if reference == "mean":
            frames = evenly(len(trajectory), MEAN_OF)
            mean = mean_conformer(from_numpy(trajectory.positions[frames][:, atoms]))
            first = superpose(mean.to(first), first)
        self.reference = first

    def __call__(self, trajectory: Trajectory) -> Trajectory:
        """Superpose all frames; everything that has a direction is turned along."""
        from torch import from_numpy

        from gfnode.geometry import center, kabsch_rotation

        x = from_numpy(trajectory.positions)
        chosen = x[:, self.atoms]
        rotation = kabsch_rotation(chosen, self.reference)
        moved = (x.double() - center(chosen.double())) @ rotation.mT
        moved = moved + center(self.reference.double())

        def turned(vectors: Floats | None) -> Floats | None:
            if vectors is None:
                return None
            found: Floats = (from_numpy(vectors).double() @ rotation.mT).float().numpy()
            return found

        return replace(
            trajectory,
            positions=moved.float().numpy(),
            velocities=turned(trajectory.velocities),
            forces=turned(trajectory.forces),
            cell=turned(trajectory.cell),
        )


def losses(trajectory: Trajectory, suffix: str, *, turned: bool = False) -> list[Lost]:
    """What a file of this format will not hold of a trajectory.

    Parameters
    ----------
    trajectory
        What is to be written.
    suffix
        Of the format.
    turned
        Frames are turned one by one, and the cell with them.
    """
    form = FORMATS.get(suffix.lower())
    if form is None or form.holds is None:
        return []
    holds = form.holds
    said = times_lost(trajectory, suffix, holds)
    if trajectory.velocities is not None and not holds.velocities:
        said.append(Lost(f"{suffix} cannot store velocities: they are left out"))
    if trajectory.forces is not None and not holds.forces:
        said.append(Lost(f"{suffix} cannot store forces: they are left out"))
    if trajectory.deviations is not None and not holds.deviations:
        said.append(Lost(f"{suffix} cannot store standard deviations: they are left out"))
    if trajectory.atom_masses is not None and not holds.masses:
        said.append(Lost(f"{suffix} cannot store masses: reading it will give standard ones", True))
    if trajectory.cell is not None and turned and not holds.turned:
        said.append(
            Lost(f"{suffix} cannot store a cell rotated with the molecule: it is left out", True)
        )
    if trajectory.topology is not None and not holds.names:
        said.append(Lost(f"{suffix} cannot store names, residues and bonds: they are left out"))
    if holds.rounding is not None:
        said.append(Lost(f"{suffix} rounds positions to {holds.rounding:g} Å"))
    return said


def times_lost(trajectory: Trajectory, suffix: str, holds: Holds) -> list[Lost]:
    """What a file of this format will not hold of the times."""
    times, even = trajectory.times, trajectory.spacing
    if len(times) == 1:
        return []
    if holds.times == "none":
        steps = np.diff(times)
        if even is None:
            return [
                Lost(
                    f"{suffix} cannot store times, and frames are unevenly spaced "
                    f"({format_time(float(steps.min()))} to {format_time(float(steps.max()))}): "
                    "their times are lost; .npz, .extxyz, .traj, .lammpstrj, .xtc, .trr, .nc and "
                    ".h5 keep them",
                    True,
                )
            ]
        step = format_time(even).replace(" ", "")
        return [Lost(f"{suffix} cannot store times: read it with --step {step}")]
    said = []
    if holds.times == "ps":
        stored = (times / FS_PER["ps"]).astype(np.float32).astype(np.float64) * FS_PER["ps"]
        worst, least = float(np.abs(stored - times).max()), float(np.diff(times).min())
        if worst > 1e-3 * least:
            said.append(Lost(f"{suffix} rounds times, here by up to {format_time(worst)}"))
    series = trajectory.time_step
    if suffix != ".npz" and series is not None and even is None and series < np.diff(times).min():
        said.append(
            Lost(f"{suffix} cannot store the time step of the series, {format_time(series)}")
        )
    return said


def write(
    trajectory: Trajectory,
    path: Path,
    *,
    aligner: Aligner | None = None,
    precision: float | None = None,
    anew: bool = False,
    new: bool = False,
    progress: Report | None = None,
) -> Path:
    """Write a trajectory piece by piece, so that memory does not grow with it.

    What the format has no place for is left out; :func:`losses` names it.

    Parameters
    ----------
    trajectory, path
        What goes where; the suffix chooses the format.
    aligner
        Superposes the frames.
    precision
        Of npz in Å; see :func:`gfnode.readers.save`. Takes memory for the whole trajectory.
    anew
        Whether the topology beside a file that needs one is written even if there is one, once the
        trajectory is there.
    new
        Write over nothing that another process puts there meanwhile.
    progress
        Told of frames as they are written; a format may go through them several times.

    Raises
    ------
    InputError
        When it cannot be written.
    """
    holds = format_of(path).holds
    if aligner is not None and holds is not None and not holds.turned:
        trajectory = replace(trajectory, cell=None)

    def pieces() -> Iterator[Trajectory]:
        for part in chunks(len(trajectory), BLOCK, 3 * trajectory.n_atoms):
            piece = trajectory[part]
            yield piece if aligner is None else aligner(piece)
            if progress is not None:
                progress(part.stop, len(trajectory))

    if path.suffix.lower() in OWN and precision is None:
        return saving.save_pieces(pieces, len(trajectory), path, anew=anew, new=new)
    whole = trajectory if aligner is None else aligner(trajectory)
    return save(whole, path, precision=precision, anew=anew, new=new)


def check_target(
    path: Path, sources: Sequence[str], *, force: bool = False, precision: float | None = None
) -> None:
    """Refuse to write over what is there, unless that is wanted.

    Raises
    ------
    InputError
        For an existing file, one of the sources, a format that cannot be written, and a precision
        that it cannot have.
    """
    saving.check_target(path)
    saving.check_precision(path, precision)
    check_apart(path, sources)
    if path.exists() and not force:
        raise InputError(
            f"{path}: already exists (the last file named is the output): name another, or "
            "replace it with --force"
        )


def beside(
    path: Path, trajectory: Trajectory, sources: Sequence[str] = (), *, force: bool = False
) -> Path | None:
    """The topology that goes with a file of no elements, if there is one already.

    One of other atoms is refused, or with ``force`` taken for none: it is to be written anew, but
    never where it is one of the sources.

    Raises
    ------
    InputError
        See above.
    """
    try:
        return saving.topology_beside(path, trajectory.numbers)
    except InputError:
        topology = saving.topology_path(path)
        assert topology is not None
        check_apart(topology, sources)
        if force:
            return None
        raise InputError(
            f"{topology}: already exists with other atoms than {path}: name another file, or "
            "replace both with --force"
        ) from None
