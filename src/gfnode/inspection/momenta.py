"""Temperature and total momenta, from stored velocities or from differences of frames."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from gfnode import geometry, graph
from gfnode.trajectory import SHORT_GAP, Doubles, Integers
from gfnode.trajectory.parts import parts
from gfnode.trajectory.series import Series, rms
from gfnode.units import BOLTZMANN
from gfnode.windows.fixed_atoms import FEWEST, STILL
from gfnode.windows.forces import RIGID

STEADY = 0.01
"""Relative variation below which a momentum counts as constant."""

ZERO = 0.01
"""Ratio to the thermal size below which a momentum counts as zero."""

BLOCKS = 10
"""Number of stretches of a file whose temperatures are fitted for a drift."""

DRIFTS = 0.2
"""A temperature drifts when its change exceeds this fraction of its mean…"""

SURE = 6.0
"""… and this number of standard errors of the linear fit, …"""

CURVED = 8.0
"""… or, if it relaxes along a curve, this number of those that neighbouring stretches imply."""

NEAR = 20.0
"""Longest interval in fs over which a centre of mass goes on as its velocity says."""

MOVING = 0.1
"""Ratio to the thermal size above which a momentum is compared with the displacements."""

Kind = Literal["zero", "constant", "direction kept", "fluctuating", "unknown"]


@dataclass(frozen=True)
class Momentum:
    """Size of a total momentum, and its variation.

    Parameters
    ----------
    kind
        ``zero``: below 1 % of the thermal size, or below the rounding noise of positions;
        ``constant``: varies by less than 1 %; ``direction kept``: only its size varies;
        ``fluctuating``; ``unknown``: hidden by rounding noise.
    rms
        Root mean square size, in u Å/fs (linear) or u Å²/fs (angular).
    thermal
        Thermal rms value at the same temperature.
    ratio
        ``rms / thermal``.
    spread
        Standard deviation of the size over its mean.
    steadiness
        Length of the mean unit vector: 1 for a constant direction.
    """

    kind: Kind
    rms: float
    thermal: float
    ratio: float
    spread: float
    steadiness: float


@dataclass(frozen=True)
class Heating:
    """A file whose temperature drifts.

    Parameters
    ----------
    file
        Its number; if it was taken apart, that of its first molecule.
    first, last
        Temperature in K of its first and last tenth by a linear fit, or their means if it relaxes
        along a curve, over the actual degrees of freedom.
    """

    file: int
    first: float
    last: float


@dataclass(frozen=True)
class Momenta:
    """Temperature and momenta.

    Parameters
    ----------
    source
        ``stored`` velocities, or ``differences`` of consecutive frames; None: frames are too far
        apart.
    interval_fs
        Between the frames of a difference.
    frames
        Number of frames used.
    temperature
        In K over all 3N degrees of freedom, as in MD17.
    rounding_temperature
        Contribution of rounded positions, K (already subtracted).
    degrees
        Degrees of freedom: 3N, minus three for each fixed atom, rigid bonds, and three each for a
        momentum and an angular momentum that are zero (two for a diatomic).
    temperature_degrees
        In K over those.
    rigid_bonds
        Constrained bonds, and H–H distances in rigid water.
    fixed_atoms
        Atoms that never move.
    drifts
        Files with a temperature drift.
    hydrogen_heat
        Ratio of the temperature of hydrogens to that of all other atoms, if there are both; rigid
        bonds reduce the degrees of freedom of hydrogens. About 1, if masses are right.
    followed
        Correlation of displacements of the centre of mass with stored velocities; None: unknown.
    """

    source: Literal["stored", "differences"] | None
    interval_fs: float | None
    frames: int
    temperature: float | None
    rounding_temperature: float | None
    degrees_all: int
    degrees: int | None
    temperature_degrees: float | None
    rigid_bonds: int
    linear: Momentum | None
    angular: Momentum | None
    fixed_atoms: int = 0
    drifts: tuple[Heating, ...] = ()
    hydrogen_heat: float | None = None
    followed: float | None = None


def look_at_momenta(series: Series, bonds: Integers, rounded_to: float | None) -> Momenta:
    """Temperature and momenta over at most 2000 frames, evenly chosen."""
    atoms = series.first.n_atoms
    fixed = _fixed(series)
    most = max(20, min(2000, 2_000_000 // atoms))
    shortest = float(series.gaps.min()) if len(series.gaps) else None
    if series.has_velocities:
        frames = series.evenly(most)
        x = series.positions(frames).astype(np.float64)
        v = series.velocities(frames).astype(np.float64)
        noise, interval = 0.0, None
    elif shortest is not None and shortest <= SHORT_GAP:
        frames = series.successive(max(SHORT_GAP, 1.02 * shortest), most)
        before = series.positions(frames).astype(np.float64)
        after = series.positions(frames + 1).astype(np.float64)
        gap = series.times[frames + 1] - series.times[frames]
        x, v = (before + after) / 2, (after - before) / gap[:, None, None]
        # rounding noise: size²/12 for each of two numbers
        size = rounded_to or float(np.spacing(np.float32(np.abs(before).max())))
        noise, interval = float((size**2 / 6 / np.square(gap)).mean()), float(np.median(gap))
    else:
        rigid, still = count_rigid(series, bonds, fixed, rounded_to), int(fixed.sum())
        return Momenta(
            None, shortest, 0, None, None, 3 * atoms, None, None, rigid, None, None, still
        )
    masses = series.first.masses
    each = (np.square(v).sum(-1) - 3 * noise) * masses / (3 * BOLTZMANN)
    heats = each.mean(1)
    temperature = max(float(heats.mean()), 0.0)
    linear, angular = _momenta(x, v, masses, temperature, noise)
    if linear.kind == "zero":  # conserved, so that no external force holds atoms
        fixed[:] = False
    rigid, still = count_rigid(series, bonds, fixed, rounded_to), int(fixed.sum())
    degrees = 3 * (atoms - still) - rigid
    degrees -= 3 * (linear.kind == "zero")
    if angular is not None and angular.kind == "zero":
        degrees -= 2 if atoms == 2 else 3
    free = degrees if degrees > 0 else None
    return Momenta(
        source="stored" if series.has_velocities else "differences",
        interval_fs=interval,
        frames=len(frames),
        temperature=temperature,
        rounding_temperature=float(masses.sum() * noise / (atoms * BOLTZMANN)),
        degrees_all=3 * atoms,
        degrees=free,
        temperature_degrees=temperature * 3 * atoms / free if free else None,
        rigid_bonds=rigid,
        linear=linear,
        angular=angular,
        fixed_atoms=still,
        hydrogen_heat=_hydrogen_heat(each.mean(0), series.first.numbers == 1, rigid),
        drifts=_drifts(series, frames, heats * 3 * atoms / (free or 3 * atoms)),
        followed=_followed(series, most, rounded_to) if linear.ratio > MOVING else None,
    )


def _followed(series: Series, most: int, rounded_to: float | None) -> float | None:
    """Correlation of the displacements of the centre of mass with stored velocities.

    It is about 1, unless frames were centred or superposed after the simulation.
    """
    if not series.has_velocities:
        return None
    frames = series.successive(NEAR, most)
    if not len(frames):
        return None
    shares = series.first.masses / series.first.masses.sum()
    before, after = (series.positions(each).astype(np.float64) for each in (frames, frames + 1))
    speeds = sum(series.velocities(each).astype(np.float64) for each in (frames, frames + 1))
    gap = series.times[frames + 1] - series.times[frames]
    moved = np.einsum("n,tnd->td", shares, after - before)
    carried = np.einsum("n,tnd->td", shares, speeds / 2) * gap[:, None]
    expected = rms(carried)
    near = np.linalg.norm(moved, axis=-1) < 10 * np.sqrt(3) * expected  # not across a box
    moved, carried = moved[near], carried[near]
    size = rounded_to or float(np.spacing(np.float32(np.abs(before).max(initial=0.0))))
    rounding = size * np.sqrt(np.square(shares).sum() / 6)
    if near.sum() < max(FEWEST, len(frames) / 2) or expected < 3 * rounding:
        return None
    return float((moved * carried).sum() / np.sqrt((moved**2).sum() * (carried**2).sum() + 1e-300))


def _hydrogen_heat(heats: Doubles, hydrogens: NDArray[np.bool_], rigid: int) -> float | None:
    """Temperature ratio of hydrogens to other atoms; ``heats (atom)`` in K over 3N."""
    if hydrogens.all() or not hydrogens.any():
        return None
    free = max(1 - rigid / (3 * int(hydrogens.sum())), 1 / 3)
    others = float(heats[~hydrogens].mean())
    return float(heats[hydrogens].mean()) / free / others if others > 0 else None


def _drifts(series: Series, frames: Integers, heats: Doubles) -> tuple[Heating, ...]:
    """Files with a temperature drift; ``heats (frame)`` in K.

    Molecules of one file are of one simulation, in which single ones are warmer and colder for a
    while: its temperature is that of all. For n files limits are n^(1/d) times as high, with d
    degrees of freedom of a fit, so that chance exceeds one of them as rarely as that of a single
    file: Student's distribution falls off with the power d.
    """
    found = []
    files = np.array([part.file for part in parts([t.source for t in series.trajectories])])
    order = np.lexsort((series.times[frames], files[series.segments[frames]]))
    frames, heats = frames[order], heats[order]
    of_file = files[series.segments[frames]]
    tried = [file for file in np.unique(files) if (of_file == file).sum() >= 5 * BLOCKS]
    strict = len(tried) ** (1 / (BLOCKS - 2))
    for file in tried:
        mine = of_file == file
        # means of stretches average over vibrations
        times = [float(each.mean()) for each in np.array_split(series.times[frames[mine]], BLOCKS)]
        means = np.array([each.mean() for each in np.array_split(heats[mine], BLOCKS)])
        place = (np.array(times) - times[0]) / (times[-1] - times[0]) - 0.5
        place -= place.mean()
        change = float(place @ means / (place @ place))
        rest = means - means.mean() - change * place
        error = float(np.sqrt(rest @ rest / (BLOCKS - 2) / (place @ place)))
        steps = np.diff(means)
        # a difference of two independent errors; the median is robust against fast relaxation
        scatter = 1.4826 * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2)
        curved = abs(change) <= strict * SURE * error
        if curved and abs(change) <= strict * CURVED * scatter / np.sqrt(place @ place):
            continue
        if abs(change) > DRIFTS * float(means.mean()):
            ends = means[[0, -1]] if curved else means.mean() + change * place[[0, -1]]
            first = int(np.argmax(files == file))
            found.append(Heating(first, *(max(float(end), 0.0) for end in ends)))
    return tuple(found)


def _fixed(series: Series) -> NDArray[np.bool_]:
    """Mask of fixed atoms, ``(atom,)``; none with too few frames."""
    if len(series) < FEWEST:
        return np.zeros(series.first.n_atoms, dtype=bool)
    x = series.positions(series.evenly(max(5, min(50, 2_000_000 // series.first.n_atoms))))
    moved: NDArray[np.bool_] = (np.ptp(x, axis=0) > STILL).any(1)
    return ~moved


def count_rigid(
    series: Series, bonds: Integers, fixed: NDArray[np.bool_], rounded_to: float | None
) -> int:
    """Number of constrained bonds, and H…H distances of molecules H–X–H.

    Bonds between two fixed atoms (mask ``fixed (atom,)``) are not counted.
    """
    bonds = bonds[~fixed[bonds].all(1)]
    if not len(bonds) or len(series) < 5:
        return 0
    pairs = np.concatenate([bonds, _water_pairs(bonds, series.first.numbers)])
    frames = series.evenly(max(5, min(50, 2_000_000 // len(pairs))))
    length = graph.pair_distances(series.positions(frames), pairs)
    middle = np.median(length, axis=0)
    spread = 1.4826 * np.median(np.abs(length - middle), axis=0)  # passes over damaged frames
    # rounding noise of the difference of two ends, along the bond
    noise = (rounded_to or 0.0) * np.sqrt(1 / 6)
    return int((spread < np.maximum(RIGID * middle, 1.3 * noise)).sum())


def _water_pairs(bonds: Integers, numbers: Integers) -> Integers:
    """Pairs of hydrogens of molecules H–X–H."""
    degree = np.bincount(bonds.ravel(), minlength=len(numbers))
    found: dict[int, list[int]] = {}
    for i, j in bonds.tolist():
        for heavy, light in ((i, j), (j, i)):
            if numbers[light] == 1 and degree[light] == 1 and degree[heavy] == 2:
                found.setdefault(heavy, []).append(light)
    pairs = [ends for ends in found.values() if len(ends) == 2]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _momenta(
    x: Doubles, v: Doubles, masses: Doubles, temperature: float, noise: float
) -> tuple[Momentum, Momentum | None]:
    weights = torch.from_numpy(masses)
    positions, velocities = torch.from_numpy(x), torch.from_numpy(v)
    P = geometry.momentum(velocities, weights).numpy()
    thermal = geometry.thermal_momenta(positions, weights, BOLTZMANN * temperature)
    rounding = float(np.sqrt(3 * noise * np.square(masses).sum()))
    linear = _classify(P, thermal[0], rounding)
    if len(masses) < 2:
        return linear, None
    L = geometry.angular_momentum(positions, velocities, weights).numpy()
    arms = np.square(x - (masses[:, None] * x).sum(1, keepdims=True) / masses.sum()).sum(-1)
    rounding = float(np.sqrt(2 * noise * (np.square(masses) * arms.mean(0)).sum()))
    return linear, _classify(L, thermal[1], rounding)


def _classify(momentum: Doubles, thermal: float, rounding: float) -> Momentum:
    size = np.linalg.norm(momentum, axis=-1)
    total = rms(size)
    ratio = total / thermal if thermal > 0 else 0.0
    spread = float(size.std() / size.mean()) if size.mean() > 0 else 0.0
    directions = momentum / np.maximum(size, 1e-300)[:, None]
    steadiness = float(np.linalg.norm(directions.mean(0)))
    constant = rms(momentum - momentum.mean(0))
    kind: Kind = "fluctuating"
    if rounding > 0.3 * thermal:
        kind = "unknown"
    elif ratio < ZERO or total < 2 * rounding:
        kind = "zero"
    elif constant < max(STEADY * total, 2 * rounding):
        kind = "constant"
    elif steadiness > 0.99:
        kind = "direction kept"
    return Momentum(kind, total, thermal, ratio, spread, steadiness)
