"""Choices of ``gfnode train`` for the data, and warnings where they are poor.

The choices are not computed again here: the data is prepared as for a run.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from gfnode.errors import InputError
from gfnode.experiment import build_model, configure, prepare
from gfnode.graph import components
from gfnode.inspection.frames import FileFacts, Frames
from gfnode.inspection.momenta import Momenta
from gfnode.inspection.motions import Motions
from gfnode.inspection.structure import Structure
from gfnode.models.gfnode import GraphFourierODE
from gfnode.models.newton import UNSEEN, Newton, misses_images
from gfnode.molecule.virial import OffForces
from gfnode.thinning import groups
from gfnode.training import choose_batch
from gfnode.trajectory import FAR_GAP, Trajectory
from gfnode.trajectory.clock import Clock
from gfnode.trajectory.lengths import Lengths
from gfnode.trajectory.parts import parts
from gfnode.windows import Windows
from gfnode.windows.cutting import choose_atoms, choose_horizon
from gfnode.windows.forces import find_forces
from gfnode.windows.short import length_warnings

Level = Literal["error", "warning", "note"]

FEW = {"train": 20, "test": 10}
"""Least numbers of independent windows for training and test."""

CRUDE = 0.05
"""Å; positions rounded to more do not resolve vibrations."""

LONG = 20
"""Least length of the data in memory times of its slowest motion."""


FOLLOWED = 0.3
"""Correlation of a centre's displacements with stored velocities below which these are foreign."""

COLD_HYDROGENS = 0.6
"""Ratio of the temperature of hydrogens to that of other atoms below which hydrogen mass
repartitioning is assumed: programs make hydrogens three or four times heavier for longer steps."""

CONFUSED = ("jumps", "time-step", "velocity-unit", "too-hot")
"""Findings that are artefacts where atoms are in another order."""


@dataclass(frozen=True)
class Choices:
    """Choices of ``gfnode train`` without options.

    Parameters
    ----------
    problem
        Why it would refuse the data; None if it would train.
    step_fs
        Time step of the original series.
    horizon_fs, split, times, lags, align
        As in :class:`gfnode.windows.cutting.WindowSettings`.
    velocities
        ``stored``, or differences: from the ``next-frame`` or the ``frame-before``.
    velocity_gap_fs
        Largest interval of such a difference.
    forces
        Forces for learning a potential: ``stored``, or ``shown`` by second differences of
        consecutive frames; ``few``: too few frames with forces to learn one; ``rigid``: stored ones
        that lack those of constraints; None: no forces.
    across
        Whether molecules have neighbours among periodic images, which a potential would not see.
    windows
        Number of train, validation and test windows.
    independent
        Number of windows of each part that do not overlap in time.
    horizons
        Length of all files in horizons.
    state_atoms, score_atoms
        Their numbers.
    scored
        ``heavy`` or ``all``.
    edges, pieces
        Numbers of directed edges of the graph, and of its connected components.
    batch
        Windows in a batch.
    unused
        Message on files that are too short for windows; None if there are none.
    """

    problem: str | None = None
    step_fs: float | None = None
    horizon_fs: float | None = None
    split: str = ""
    times: int = 0
    lags: str = ""
    align: bool | None = None
    velocities: str | None = None
    velocity_gap_fs: float | None = None
    forces: Literal["stored", "shown", "few", "rigid"] | None = None
    across: bool = False
    windows: dict[str, int] = field(default_factory=dict)
    independent: dict[str, int] = field(default_factory=dict)
    horizons: float | None = None
    state_atoms: int = 0
    score_atoms: int = 0
    scored: str = ""
    edges: int | None = None
    pieces: int | None = None
    batch: int = 0
    unused: str | None = None


@dataclass(frozen=True)
class Finding:
    """A problem or remark for the user.

    Parameters
    ----------
    level
        ``error``: to be corrected before training; ``warning``: results will be poor; ``note``.
    code
        Identifier; its message is in :mod:`gfnode.report.inspection`.
    values
        Numbers in the message.
    options
        Options of ``gfnode train`` that correct it, if any.
    """

    level: Level
    code: str
    values: dict[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()


def choose(trajectories: Sequence[Trajectory]) -> Choices:
    """Prepare the data as ``gfnode train`` does, and return its choices."""
    experiment = configure()
    settings, numbers = experiment.windows, trajectories[0].numbers
    known: dict[str, Any] = {
        "step_fs": trajectories[0].step,
        "split": settings.split,
        "lags": settings.lags,
        "state_atoms": len(choose_atoms(trajectories[0], settings.state, "state")),
        "score_atoms": len(choose_atoms(trajectories[0], settings.score, "score")),
        "scored": "heavy" if settings.score == "heavy" and (numbers > 1).sum() > 1 else "all",
    }
    try:
        known["horizon_fs"] = choose_horizon(trajectories, settings)
        dataset = prepare(trajectories, experiment)
        train = dataset.parts["train"]
        model = build_model(experiment, dataset.system)
        batch = choose_batch(train, model, experiment.training)
    except InputError as error:
        return Choices(problem=str(error), **known)
    velocities, gap = "stored", None
    if (gaps := train.velocity_gaps) is not None:
        velocities = "next-frame" if bool((gaps > 0).all()) else "frame-before"
        gap = float(gaps.abs().max())
    newton = model.newton if isinstance(model, GraphFourierODE) else None
    horizon = dataset.system.horizon
    pieces = components(dataset.system.edges.index, dataset.system.n_atoms)
    return Choices(
        times=train.targets.shape[1],
        align=train.align is not None,
        velocities=velocities,
        velocity_gap_fs=gap,
        forces=None if newton is None else _forces(newton, train),
        across=newton is not None and misses_images(dataset.system, trajectories[0]),
        windows={name: len(part) for name, part in dataset.parts.items()},
        independent={name: independent(part, horizon) for name, part in dataset.parts.items()},
        horizons=sum(t.span for t in trajectories) / horizon,
        edges=len(dataset.system.edges),
        pieces=int(pieces.max()) + 1,
        batch=batch,
        unused=next(iter(length_warnings(trajectories, settings, horizon)), None),
        **known,
    )


def _forces(newton: Newton, train: Windows) -> Literal["stored", "shown", "few", "rigid"] | None:
    if (found := newton.forces(train)) is not None:
        return "stored" if found.unknown is None else "shown"
    if train.align is not None:
        return None
    if find_forces(train, newton.bonds, 50):
        return "few"
    return "rigid" if train.frames.forces is not None else None  # the only ones that are refused


def independent(windows: Windows, horizon: float) -> int:
    """Largest number of windows of a part that do not overlap in time."""
    times = windows.frames.times.numpy()
    starts = np.sort(windows.starts.numpy())
    count = 0
    for _, places in groups(windows.frames.segments[starts]):
        mine = times[starts[places]]
        place = 0
        while place < len(mine):
            count += 1
            place = int(np.searchsorted(mine, mine[place] + horizon * (1 - 1e-9)))
    return count


@dataclass(frozen=True)
class Facts:
    """All results about the data."""

    files: tuple[FileFacts, ...]
    frames: Frames
    lengths: Lengths
    clock: Clock
    momenta: Momenta
    structure: Structure
    motion: Motions | None
    choices: Choices
    forces: OffForces | None


def judge(facts: Facts) -> tuple[Finding, ...]:
    """All findings, most serious first."""
    files, frames, choices = facts.files, facts.frames, facts.choices
    found = [
        *_scales(facts.lengths, facts.clock, facts.structure),
        *_refused(files, choices),
        *_frames(files, frames),
        *_molecules(facts),
        *_windows(choices, facts.motion, files),
        *_forced(facts.forces),
        *_velocities(frames, facts.momenta, choices, files),
        *_turning(facts.motion, choices),
    ]
    if facts.structure.other_order:  # permuted atoms appear as jumps between files
        found = [each for each in found if each.code not in CONFUSED]
    if frames.box is not None:
        cut = ("several-molecules", "no-bond-lengths")
        found = [each for each in found if each.code not in (*CONFUSED, *cut)]
    order = ("error", "warning", "note")
    return tuple(sorted(found, key=lambda each: order.index(each.level)))


def _scales(lengths: Lengths, clock: Clock, structure: Structure) -> list[Finding]:
    found: list[Finding] = []
    if other := lengths.unit not in (None, "angstrom"):
        values = {"unit": lengths.unit, "nearest": lengths.nearest, "expected": lengths.expected}
        found.append(Finding("error", "length-unit", values, ("--unit", lengths.unit)))
    if lengths.unit is None and lengths.ratio is not None:
        values = {"nearest": lengths.nearest, "expected": lengths.expected}
        chain = structure.bonds_from == "topology" or structure.atoms == 1
        found.append(Finding("note" if chain else "warning", "no-bond-lengths", values))
    # whether velocities go with positions is seen when these are in Å
    if clock.wrong is not None and not (other and clock.wrong == "velocity-unit"):
        better = clock.step_stored_fs if clock.wrong == "velocity-unit" else clock.better_fs
        values = {"stated_fs": clock.stated_fs, "step_fs": better}
        step = ("--step", f"{better:g}fs") if clock.wrong == "time-step" else ()
        found.append(Finding("error", clock.wrong, values, step))
    return found


def _refused(files: Sequence[FileFacts], choices: Choices) -> list[Finding]:
    if choices.problem is None:
        return []
    if all(each.frames == 1 for each in files):
        return [Finding("error", "single-frame")]
    return [Finding("error", "refused", {"problem": choices.problem})]


def _frames(files: Sequence[FileFacts], frames: Frames) -> list[Finding]:
    # molecules of one file share its times
    gaps = {
        p.file: each.gaps for p, each in zip(parts([f.source for f in files]), files, strict=True)
    }
    repeated = frames.duplicates / sum(each.frames for each in files)
    found = [] if frames.box is None else [Finding("error", "wrapped", {"lengths": frames.box})]
    kinds: tuple[tuple[Level, str, int], ...] = (
        ("warning", "jumps", frames.jumps),
        ("error" if repeated > 0.5 else "warning", "duplicates", frames.duplicates),
        ("warning", "near-duplicates", frames.near_duplicates),
        ("note", "gaps", sum(gaps.values())),
        ("note", "continued-files", len(frames.continued_files)),
    )
    found += [Finding(level, code, {"count": count}) for level, code, count in kinds if count]
    if frames.rounded_to is not None and frames.rounded_to > CRUDE:
        found.append(Finding("error", "coarse", {"rounded_to": frames.rounded_to}))
    return found


def _molecules(facts: Facts) -> list[Finding]:
    structure, choices = facts.structure, facts.choices
    found = []
    for other in structure.other_order[:1]:
        numbers, bonds = len(structure.other_order), structure.bonds
        values: dict[str, Any] = {"file": other.file, "files": numbers, "bonds": bonds}
        found.append(Finding("error", "atom-order", values | {"long": other.long}))
    cell = structure.cell
    if cell is not None and cell.broken_bonds > 0:
        values = {"molecules": cell.broken_molecules, "bonds": cell.broken_bonds}
        found.append(Finding("warning", "broken-molecules", values))
    if structure.only_topology and facts.lengths.unit is not None:  # not a chain of Cα
        found.append(Finding("warning", "far-bonds", {"count": structure.only_topology}))
    if structure.only_distances:
        found.append(Finding("warning", "unnamed-bonds", {"count": structure.only_distances}))
    if (choices.pieces or structure.molecules) > 1:
        values = {"pieces": choices.pieces or structure.molecules}
        found.append(Finding("warning", "several-molecules", values))
    if choices.across and choices.forces in ("stored", "shown"):
        option = ("--set", "model.newton=false")
        found.append(Finding("warning", "unseen-images", {"words": UNSEEN}, option))
    return found


def _forced(forces: OffForces | None) -> list[Finding]:
    if forces is None:
        return []
    return [Finding("warning", "force-unit", asdict(forces) | {"words": forces.words})]


def _windows(choices: Choices, motion: Motions | None, files: Sequence[FileFacts]) -> list[Finding]:
    found = []
    if choices.independent and any(choices.independent[k] < FEW[k] for k in FEW):
        values: dict[str, Any] = {"horizon_fs": choices.horizon_fs, **choices.independent}
        found.append(Finding("warning", "few-windows", values | {"enough_fs": _enough(choices)}))
    if choices.unused is not None:
        found.append(Finding("warning", "short-files", {"words": choices.unused}))
    # orientation need not be learnt: models are equivariant
    inner = [each for each in motion.motions if each.kind != "turning"] if motion else []
    if inner and choices.problem is None:
        slowest = inner[0]
        span = sum(each.span_fs for each in files)
        values = {"kind": slowest.kind, "name": slowest.name, "memory_fs": slowest.memory_fs}
        if slowest.memory_fs is None or span < LONG * slowest.memory_fs:
            count = None if slowest.memory_fs is None else span / slowest.memory_fs
            found.append(Finding("warning", "slow-motion", values | {"times": count}))
    return found


def _enough(choices: Choices) -> float | None:
    """A rounded horizon in fs with enough independent windows; None if there is none."""
    share = min(choices.independent[part] / few for part, few in FEW.items())
    horizon = share * (choices.horizon_fs or 0.0)
    if horizon <= 0:
        return None
    size = 10.0 ** np.floor(np.log10(horizon))
    rounded = float(np.floor(horizon / size) * size)
    return rounded if rounded >= 8 * (choices.step_fs or 0.0) else None


def _velocities(
    frames: Frames, momenta: Momenta, choices: Choices, files: Sequence[FileFacts]
) -> list[Finding]:
    found = []
    gap = choices.velocity_gap_fs
    if gap is not None and gap > FAR_GAP:
        found.append(Finding("note", "no-velocities", {"gap_fs": gap}))
    heat, noise = momenta.temperature, momenta.rounding_temperature
    if frames.rounded_to and heat is not None and noise is not None and noise > 0.1 * heat:
        values = {"rounded_to": frames.rounded_to, "noise": noise, "temperature": heat}
        found.append(Finding("warning", "rounded-velocities", values))
    if momenta.drifts:
        steepest = max(momenta.drifts, key=lambda each: abs(each.last - each.first))
        values = asdict(steepest) | {"files": len(momenta.drifts)}
        found.append(Finding("warning", "temperature-drift", values))
    if momenta.frames >= 20 and 0 < (momenta.hydrogen_heat or 1.0) < COLD_HYDROGENS:
        found.append(Finding("warning", "heavy-hydrogens", {"heat": momenta.hydrogen_heat}))
    followed = momenta.followed if choices.velocities == "stored" else None
    if followed is not None and followed < FOLLOWED:
        option = ("--set", "windows.velocities=backward")
        found.append(Finding("warning", "foreign-velocities", {"followed": followed}, option))
    if momenta.fixed_atoms:
        found.append(Finding("note", "fixed-atoms", {"count": momenta.fixed_atoms}))
    uneven = [each.present for each in files if each.spacing_fs is None and not each.gaps]
    present = min(uneven, default=1.0)
    if present < 0.9:
        found.append(Finding("note", "missing-frames", {"present": present}))
    return found


def _turning(motion: Motions | None, choices: Choices) -> list[Finding]:
    angle = None if motion is None else motion.angle_at_horizon_deg
    if angle is None or choices.align is None:
        return []
    if not choices.align and angle > 60.0 and (choices.velocity_gap_fs or 0.0) > FAR_GAP:
        option = ("--set", "windows.align=true")
        return [Finding("warning", "turns-unaligned", {"angle_deg": angle}, option)]
    if choices.align and angle < 5.0:
        return [Finding("note", "still-aligned", {"angle_deg": angle})]
    return []
