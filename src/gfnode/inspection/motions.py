"""Drift, rotation and slow motions of a molecule, with their correlation times."""

from dataclasses import dataclass

import networkx
import numpy as np
import torch

from gfnode import geometry
from gfnode.molecule.internal import FRAMES, dihedrals, without_collinear
from gfnode.molecule.labels import atom_labels
from gfnode.trajectory import Doubles, Floats, Integers
from gfnode.trajectory.series import Series, rms, thin

LAGS_PER_DECADE = 6
TORSIONS = 40
SHAPES = 3
ATOMS = 300
"""Largest numbers of torsions, shape components and atoms (evenly chosen)."""

LINEAR = 0.2
"""Atoms are collinear if their rms distance from a line is below this, in Å and of their extent."""

FORGOTTEN = float(np.exp(-1))
"""Value of the autocorrelation that defines the memory time."""


@dataclass(frozen=True)
class Drift:
    """Path of the centre of mass (the longest of all files).

    Parameters
    ----------
    net
        Distance between its first and last position, Å.
    farthest
        Largest distance from its first position, Å.
    """

    net: float
    farthest: float


@dataclass(frozen=True)
class Motion:
    """One motion and its memory time.

    Parameters
    ----------
    kind
        ``turning`` of the whole molecule, ``torsion`` about a bond, ``shape`` (one of the three
        largest principal components of the superposed molecule).
    name
        Atoms of the bond, or number of the principal component.
    memory_fs
        Time after which its autocorrelation is below 1/e; None: never within a third of the
        longest file.
    size
        Å (rms, shape) or degrees (mean angle at the longest lag, turning); None for torsions.
    """

    kind: str
    name: str
    memory_fs: float | None
    size: float | None


@dataclass(frozen=True)
class Motions:
    """Rotation and slow motions of the largest molecule.

    Parameters
    ----------
    lags_fs
        Lags of the curves.
    angles_deg
        Mean rotation angle of the molecule within each lag.
    angle_at_horizon_deg
        The same at the horizon.
    moved_at_horizon
        Rms displacement of scored atoms within the horizon, Å.
    changed_at_horizon
        The same after superposition: the change of shape alone.
    motions
        The slowest first.
    atoms, torsions
        Their numbers.
    """

    drift: Drift
    lags_fs: tuple[float, ...]
    angles_deg: tuple[float, ...]
    angle_at_horizon_deg: float | None
    moved_at_horizon: float | None
    changed_at_horizon: float | None
    motions: tuple[Motion, ...]
    atoms: int
    torsions: int


def look_at_motions(
    series: Series, bonds: Integers, molecule: Integers, horizon: float | None, score: Integers
) -> Motions:
    """Motions of the largest molecule, at lags from one interval to a third of the longest file."""
    numbers = series.first.numbers
    frame_atoms = molecule[numbers[molecule] > 1]
    frame_atoms = thin(frame_atoms if len(frame_atoms) >= 4 else molecule, ATOMS)
    drift = _drift(series)
    moved, changed = _at_horizon(series, horizon, score)
    pairs = _probe(series, len(frame_atoms))
    if len(frame_atoms) < 3 or not pairs:
        return Motions(drift, (), (), None, moved, changed, (), len(frame_atoms), 0)
    asked = np.unique(np.concatenate([np.concatenate(ends) for _, *ends in pairs]))
    some = series.positions(series.evenly(FRAMES))
    quadruples = torsion_atoms(bonds, molecule, series.first.masses, some)
    needed = np.unique(np.concatenate([frame_atoms, quadruples.ravel()]))
    x = torch.from_numpy(series.positions(asked, needed)).double()
    body = torch.from_numpy(np.searchsorted(needed, frame_atoms))
    shapes, turns = _superposed(x[:, body], thin(np.arange(len(asked)), 300))
    curves = [_autocorrelation(shapes[None], asked, pairs)]
    names: list[tuple[str, str, float | None]]
    names = [("shape", str(k + 1), rms(column)) for k, column in enumerate(shapes.T)]
    if len(quadruples):
        places = torch.from_numpy(np.searchsorted(needed, quadruples))
        angles = geometry.dihedrals(x, places).numpy()
        curves.append(_autocorrelation(np.stack([np.cos(angles), np.sin(angles)]), asked, pairs))
    labels = atom_labels(series.first)
    names += [("torsion", f"{labels[j]}–{labels[k]}", None) for _, j, k, _ in quadruples.tolist()]
    lags = np.array([lag for lag, *_ in pairs])
    between = [_between(turns, asked, first, second) for _, first, second in pairs]
    angle = np.array([_angles(traces, turns.shape[-1]).mean() for traces in between])
    found = []
    if angle.max() >= 1.0:
        # 1 at rest, 0 for random
        likeness = np.array([traces.mean() / turns.shape[-1] for traces in between])
        found.append(Motion("turning", "molecule", _forgets(lags, likeness), float(angle[-1])))
    for (kind, name, size), curve in zip(names, np.concatenate(curves, 1).T, strict=True):
        if np.isfinite(curve).all():
            found.append(Motion(kind, name, _forgets(lags, curve), size))
    at_horizon = float(np.interp(horizon, lags, angle)) if horizon else None
    return Motions(
        drift,
        tuple(lags.tolist()),
        tuple(angle.tolist()),
        at_horizon,
        moved,
        changed,
        tuple(sorted(found, key=lambda m: -np.inf if m.memory_fs is None else -m.memory_fs)),
        len(frame_atoms),
        len(quadruples),
    )


def torsion_atoms(
    bonds: Integers, molecule: Integers, masses: Doubles, positions: Floats
) -> Integers:
    """One dihedral about each bond outside of rings, ``(torsion, 4)``, evenly chosen.

    Its outer atoms are the heaviest neighbours that are not collinear with the bond in the given
    conformations, ``(frame, atom, 3)``.
    """
    graph = networkx.Graph()
    graph.add_nodes_from(molecule.tolist())
    inside = np.isin(bonds, molecule).all(1)
    graph.add_edges_from(bonds[inside].tolist())
    bridges = {tuple(sorted(bond)) for bond in networkx.bridges(graph)}
    every = dihedrals(bonds[inside], len(masses))
    every = every[[(j, k) in bridges for j, k in every[:, 1:3].tolist()]]
    best: dict[tuple[int, int], tuple[int, ...]] = {}

    def rank(row: tuple[int, ...]) -> tuple[float, int, float, int]:
        return masses[row[0]], -row[0], masses[row[3]], -row[3]

    for row in map(tuple, without_collinear(every, positions).tolist()):
        bond = row[1:3]
        best[bond] = max(best.get(bond, row), row, key=rank)
    found = [best[bond] for bond in sorted(best)]
    return thin(np.array(found, dtype=np.int64).reshape(-1, 4), TORSIONS)


def _probe(series: Series, atoms: int) -> list[tuple[float, Integers, Integers]]:
    """Pairs of frames at lags from the shortest interval to a third of the longest file."""
    gaps, longest = series.gaps, float(series.spans.max())
    if not len(gaps):
        return []
    shortest = float(gaps.min())
    count = max(2, int(LAGS_PER_DECADE * np.log10(max(longest / 3 / shortest, 1.0))) + 1)
    lags = np.geomspace(shortest, max(longest / 3, shortest), count)
    spacing = shortest if float(np.ptp(gaps)) <= 1e-3 * shortest else None
    if spacing is not None:
        lags = np.unique(np.round(lags / spacing)) * spacing
    most = int(max(30, min(300, 2_000_000 // (atoms * len(lags)))))
    found = []
    for lag in lags:
        slack = 0.01 * spacing if spacing is not None else max(0.05 * lag, 0.01 * shortest)
        first, second = series.pairs(float(lag), most, float(slack))
        if len(first) >= 4:
            found.append((float(lag), first, second))
    return found


def _superposed(x: torch.Tensor, sample: Integers) -> tuple[Doubles, Doubles]:
    """Principal components of shape, ``(frame, shape)`` in Å, and orientation of each frame.

    The orientation is the rotation that superposes the mean shape on the frame, ``(frame, 3, 3)``;
    for a linear molecule, whose rotation about its axis is undetermined, that axis,
    ``(frame, 3, 1)``.
    """
    mean = geometry.mean_conformer(x[torch.from_numpy(sample)], tolerance=1e-3, iterations=20)
    turns = geometry.kabsch_rotation(mean.expand_as(x), x)
    back = (x - x.mean(1, keepdim=True)) @ turns  # Rᵀ on every atom
    change = (back - mean).flatten(1)
    change = change - change.mean(0)
    _, _, directions = torch.linalg.svd(change[torch.from_numpy(sample)], full_matrices=False)
    # amplitude per atom, so that it is a distance whatever the number of atoms
    amplitudes = change @ directions[:SHAPES].T / np.sqrt(x.shape[1])
    large = amplitudes.std(0) > 1e-3
    sampled = x[torch.from_numpy(sample)]
    sizes = torch.linalg.svdvals(sampled - sampled.mean(1, keepdim=True))
    if bool(sizes[:, 1].median() < LINEAR * min(np.sqrt(x.shape[1]), float(sizes[:, 0].median()))):
        turns = turns @ torch.linalg.svd(mean).Vh[0, :, None]
    return amplitudes[:, large].numpy(), turns.numpy()


def _autocorrelation(
    signals: Doubles, asked: Integers, pairs: list[tuple[float, Integers, Integers]]
) -> Doubles:
    """Σ⟨δa(t) δa(t + lag)⟩ / Σ⟨δa²⟩ over the components of ``signals (component, frame, motion)``.

    Returns
    -------
    Doubles
        ``(lag, motion)``; nan without motion.
    """
    away = signals - signals.mean(1, keepdims=True)
    variance = np.square(away).mean(1).sum(0)
    products = [
        (away[:, np.searchsorted(asked, a)] * away[:, np.searchsorted(asked, b)]).mean(1).sum(0)
        for _, a, b in pairs
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variance > 1e-10, np.asarray(products) / variance, np.nan)


def _forgets(lags: Doubles, curve: Doubles) -> float | None:
    """Lag at which an autocorrelation first falls below 1/e; None if it does not."""
    below = np.flatnonzero(curve < FORGOTTEN)
    if not len(below):
        return None
    k = int(below[0])
    if k == 0:
        return float(lags[0])
    share = (curve[k - 1] - FORGOTTEN) / (curve[k - 1] - curve[k])
    return float(lags[k - 1] * (lags[k] / lags[k - 1]) ** share)


def _between(turns: Doubles, asked: Integers, first: Integers, second: Integers) -> Doubles:
    """Traces of the rotations between pairs of frames; for axes, cosines between them."""
    a, b = turns[np.searchsorted(asked, first)], turns[np.searchsorted(asked, second)]
    return np.asarray((a * b).sum((1, 2)))


def _angles(traces: Doubles, size: int) -> Doubles:
    """Angles in degrees of rotations with these traces (size 3), or of such cosines (1)."""
    cosines = (2 * traces + 1 - size) / (1 + size)
    return np.asarray(np.degrees(np.arccos(np.clip(cosines, -1, 1))))


def _drift(series: Series) -> Drift:
    """Path of the centre of mass over at most 500 frames of each file."""
    net = farthest = 0.0
    masses = series.first.masses
    for begin, end in zip(series.offsets[:-1], series.offsets[1:], strict=True):
        most = max(2, min(500, 3_000_000 // series.first.n_atoms))
        frames = thin(np.arange(int(begin), int(end)), most)
        x = series.positions(frames).astype(np.float64)
        centre = np.einsum("a,fax->fx", masses / masses.sum(), x)
        away = np.linalg.norm(centre - centre[0], axis=1)
        net, farthest = max(net, float(away[-1])), max(farthest, float(away.max()))
    return Drift(net, farthest)


def _at_horizon(
    series: Series, horizon: float | None, score: Integers
) -> tuple[float | None, float | None]:
    """Rms displacement of scored atoms within a horizon, without and with superposition, in Å."""
    if horizon is None:
        return None, None
    most = int(max(30, min(300, 1_000_000 // len(score))))
    first, second = series.pairs(horizon, most, 0.05 * horizon)
    if len(first) < 4:
        return None, None
    x = torch.from_numpy(series.positions(first, score))
    y = torch.from_numpy(series.positions(second, score))
    per_atom = float(np.sqrt(3))
    return per_atom * rms((y - x).numpy()), per_atom * rms((geometry.superpose(y, x) - x).numpy())
