"""A small flat drawing of a molecule, as SVG: for notebooks and pages without a 3D viewer."""

from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from gfnode.graph import bonds_from_distances, components, pair_distances
from gfnode.thinning import among
from gfnode.trajectory import Doubles, Integers, Trajectory, radii_of

SIZE = 260
"""Longer side of the drawing in pixels."""

BALLS = 60
"""Above this number of atoms no balls are drawn, and no hydrogens where there are heavy atoms."""

MOST = 2500
"""Above this number of atoms only the largest connected components are drawn."""

LAYERS = 4
"""Number of opacity levels for depth."""


def sketch(trajectory: Trajectory) -> str:
    """Draw the first frame as an SVG element.

    The view is along the third principal axis, which shows the two longest dimensions, and never
    mirrored. Opacity decreases with depth. Bonds are those of the topology, else by covalent radii;
    each half has the colour of its atom. Bonds across the periodic box are left out. Large
    molecules are drawn by the bonds between their heavy atoms.
    """
    shown, bonds = _choose(trajectory)
    x = trajectory.positions[0, shown].astype(np.float64)
    x -= x.mean(0)
    _, _, axes = np.linalg.svd(x)
    axes[2] *= np.linalg.det(axes)  # a rotation
    x = x @ axes.T
    x[:, 1] *= -1  # SVG counts downwards; depth grows towards the viewer
    low, high = x[:, :2].min(0) - 1.0, x[:, :2].max(0) + 1.0  # Å
    scale = SIZE / (high - low).max()
    width, height = np.ceil((high - low) * scale).astype(int)
    x[:, :2] = (x[:, :2] - low) * scale
    reach = max(np.ptp(x[:, 2]), (high - low).max() / 2)  # flat molecules do not fade
    depth = 1 - (x[:, 2].max() - x[:, 2]) / reach
    balls = len(shown) <= BALLS
    numbers = trajectory.numbers[shown]
    if balls:
        marks = _sticks(x, depth, numbers, bonds, 0.16 * scale) + _balls(x, depth, numbers, scale)
    else:
        lone = np.arange(len(shown))
        pairs = bonds if len(bonds) else np.stack([lone, lone], axis=1)
        marks = _sticks(x, depth, numbers, pairs, 1.3)
    layers = groupby(sorted(marks), key=lambda mark: mark[0])
    drawn = "".join(
        f'<g opacity="{0.4 + 0.6 * (layer + 1) / LAYERS:.2f}">{"".join(m for *_, m in each)}</g>'
        for layer, each in layers
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" stroke-linecap="round" fill="none">{drawn}</svg>'
    )


def _choose(trajectory: Trajectory) -> tuple[Integers, Integers]:
    """Atoms to draw, and the bonds among them as pairs of indices into these."""
    numbers, frame = trajectory.numbers, trajectory.positions[0]
    shown = np.arange(len(numbers))
    if len(numbers) > BALLS and (numbers > 1).any():
        shown = np.flatnonzero(numbers > 1)
    topology = trajectory.topology
    if topology is not None and len(topology.bonds):
        bonds = topology.select(shown).bonds
    else:
        bonds = bonds_from_distances(numbers[shown], frame[shown][None])
    if len(shown) > MOST:
        labels = components(bonds.T, len(shown))
        sizes = np.bincount(labels)
        largest = np.lexsort((np.arange(len(labels)), labels, -sizes[labels]))[:MOST]
        keep = np.sort(largest)
        bonds = among(bonds, keep, len(shown))
        shown = shown[keep]
    lengths = pair_distances(frame[shown], bonds)
    # a bond cut by the box is far longer than its like; a chain of Cα has bonds of 3.8 Å
    return shown, bonds[lengths < 3 * max(1.5, float(np.median(lengths)) if len(lengths) else 0)]


def _sticks(
    x: Doubles, depth: Doubles, numbers: Integers, bonds: Integers, thick: float
) -> list[tuple[int, int, str]]:
    """Half bonds as one path for each layer and colour: layer, order, element.

    A bond of an atom with itself is a dot.
    """
    halves: dict[tuple[int, str], list[str]] = {}
    for i, j in bonds:
        middle = (x[i] + x[j]) / 2
        for a in (i, j):
            key = (_layer((depth[i] + depth[j]) / 2), colour(numbers[a]))
            start, end = (f"{p[0]:.1f} {p[1]:.1f}" for p in (x[a], middle))
            halves.setdefault(key, []).append(f"M{start}L{end}")
    return [
        (layer, 0, f'<path stroke="{paint}" stroke-width="{thick:.1f}" d="{"".join(lines)}"/>')
        for (layer, paint), lines in halves.items()
    ]


def _balls(
    x: Doubles, depth: Doubles, numbers: Integers, scale: float
) -> list[tuple[int, int, str]]:
    """Atoms as circles, from the back to the front: layer, order, element."""
    radii = radii_of(numbers)
    return [
        (
            _layer(depth[a]),
            order,
            f'<circle cx="{x[a, 0]:.1f}" cy="{x[a, 1]:.1f}" '
            f'r="{0.45 * scale * min(radii[a], 1.5):.1f}" '
            f'fill="{colour(numbers[a])}" stroke="#555" stroke-width="0.6"/>',
        )
        for order, a in enumerate(np.argsort(depth, kind="stable"), start=1)
    ]


def _layer(depth: float) -> int:
    return min(int(depth * LAYERS), LAYERS - 1)


def colour(number: int) -> str:
    """Colour of an element as ``#rrggbb``, by Jmol's scheme; hydrogen a shade darker than white."""
    from ase.data.colors import jmol_colors

    rgb: NDArray[np.float64] = jmol_colors[number]
    if number == 1:
        rgb = rgb * 0.85
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in rgb)
