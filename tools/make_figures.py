"""Draw docs/assets/scales.svg: the idea of the model, with the graph modes of the sample molecule.

The modes are eigenvectors of toluene's graph Laplacian; the curves are how far the atoms stand from
their mean places in these modes, over one stretch of ``sample:toluene``; the conformations are
frames of it. Nothing in it is a prediction.

    python tools/make_figures.py
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from numpy.typing import NDArray

import gfnode
from gfnode.fourier import eigenbasis
from gfnode.geometry import mean_conformer, superpose
from gfnode.graph import bonds_from_distances, hop_edges, laplacian

TARGET = Path(__file__).resolve().parents[1] / "docs" / "assets" / "scales.svg"
FIRST, FRAMES, STEP_FS = 2000, 121, 5.0
SCALES = ((1, "coarse", "#2b6cb0"), (3, "medium", "#2f855a"), (9, "fine", "#c05621"))  # by mode
LATER = ((100, "100 fs", "#90cdf4"), (500, "500 fs", "#4299e1"), (1500, "1.5 ps", "#2a4365"))
INK, SOFT, RULE = "#1f2933", "#52606d", "#cbd2d9"

Points = NDArray[Any]


class Molecule:
    """The sample, turned onto its mean conformer and seen from above the ring."""

    def __init__(self) -> None:
        trajectory = gfnode.load("sample:toluene")
        positions = torch.from_numpy(trajectory.positions)
        masses = torch.from_numpy(trajectory.masses).float()
        mean = mean_conformer(positions[::4], masses)
        later = [FIRST + int(fs / STEP_FS) for fs, *_ in LATER]
        frames = positions[[*range(FIRST, FIRST + FRAMES), *later]]
        placed = superpose(frames, mean.expand_as(frames), masses)
        axes = np.linalg.svd((mean - mean.mean(0)).numpy())[2].T
        carbons = np.flatnonzero(trajectory.numbers == 6)
        if ((mean - mean.mean(0)).numpy() @ axes)[carbons[0], 0] > 0:
            axes = axes * [-1, 1, 1]  # the methyl group to the left
        self.rest: Points = (mean - mean.mean(0)).numpy() @ axes
        view = (placed - mean.mean(0)).numpy() @ axes
        self.view, self.later = view[:FRAMES], view[FRAMES:]
        self.heavy = trajectory.numbers > 1
        self.bonds = bonds_from_distances(trajectory.numbers, trajectory.positions)
        self.basis = eigenbasis(laplacian(hop_edges(self.bonds, 15).index, 15))

    def amplitude(self, mode: int) -> Points:
        """Displacement in a mode along its main direction, ``(frame,)`` in Å."""
        vector = np.einsum("a,fac->fc", self.basis.vectors[:, mode], self.view - self.rest)
        return np.asarray(vector @ np.linalg.svd(vector - vector.mean(0))[2][0])

    def draw(self, ax: Axes, frame: Points, colours: Any, size: float = 1.0, **line: Any) -> None:
        """Draw atoms and bonds of a frame."""
        points = frame[:, :2]
        style = {"colors": SOFT, "lw": 2.0} | line
        ax.add_collection(LineCollection(list(points[self.bonds]), **style))
        rim = "white" if "colors" in line else INK
        sizes = size * np.where(self.heavy, 170, 75)
        ax.scatter(*points.T, c=colours, s=sizes, edgecolors=rim, linewidths=0.9, zorder=3)
        ax.set(aspect="equal", xlim=(-4.1, 3.7), ylim=(-2.9, 2.9))
        ax.axis("off")


def draw() -> Figure:
    """Lay out the figure."""
    molecule = Molecule()
    figure = Figure(figsize=(11, 4.7), facecolor="white")
    for x, title, below in (
        (0.11, "one conformation", "positions and velocities"),
        (0.415, "graph Fourier modes", "each a spatial scale of the molecule"),
        (0.635, "one ODE per scale", f"displacement over {(FRAMES - 1) * STEP_FS:.0f} fs"),
        (0.89, "any later times", "regular or not"),
    ):
        figure.text(x, 0.93, title, ha="center", color=INK, weight="bold", fontsize=11)
        figure.text(x, 0.875, below, ha="center", color=SOFT, fontsize=9.5)
    _start(figure.add_axes((0.0, 0.24, 0.22, 0.5)), molecule)
    for row, scale in enumerate(SCALES):
        _scale(figure, molecule, 0.61 - 0.275 * row, scale)
    ax = figure.add_axes((0.78, 0.24, 0.22, 0.5))
    for frame, x, (_, text, colour) in zip(molecule.later, (0.83, 0.89, 0.955), LATER, strict=True):
        molecule.draw(ax, frame, [colour] * 15, 0.62, colors=colour, alpha=0.9)
        figure.text(x, 0.215, text, ha="center", color=colour, weight="bold", fontsize=10)
    _arrow(figure, 0.222, "encode,\n$U^{\\,T}$")
    _arrow(figure, 0.748, "$U$,\ndecode")
    return figure


def _start(ax: Axes, molecule: Molecule) -> None:
    first = molecule.view[0]
    molecule.draw(ax, first, np.where(molecule.heavy, "#3e4c59", "#ffffff"))
    moves = 2.2 * (molecule.view[2] - first)[:, :2].T
    how: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.008}
    ax.quiver(*first[:, :2].T, *moves, color="#c53030", zorder=4, **how)


def _scale(figure: Figure, molecule: Molecule, bottom: float, scale: tuple[int, str, str]) -> None:
    mode, name, colour = scale
    vector = molecule.basis.vectors[:, mode]
    shade = mpl.colormaps["RdBu"](0.5 + 0.5 * vector / np.abs(vector).max())
    molecule.draw(
        figure.add_axes((0.345, bottom, 0.16, 0.245)), molecule.view[0], shade, 0.4, lw=1.2
    )
    figure.text(0.345, bottom + 0.13, name, ha="right", color=colour, weight="bold", fontsize=11)
    value = f"λ = {molecule.basis.values[mode]:.1f}"
    figure.text(0.345, bottom + 0.085, value, ha="right", color=SOFT, fontsize=9)
    ax = figure.add_axes((0.53, bottom + 0.03, 0.21, 0.19))
    ax.axhline(0, color=RULE, lw=0.8)
    ax.plot(molecule.amplitude(mode), color=colour, lw=1.6)
    ax.set(xlim=(0, FRAMES - 1), ylim=(-0.42, 0.42))
    ax.axis("off")


def _arrow(figure: Figure, x: float, text: str) -> None:
    how: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 13, "color": INK, "lw": 1.4}
    ends = (x, 0.49), (x + 0.04, 0.49)
    figure.add_artist(FancyArrowPatch(*ends, transform=figure.transFigure, **how))
    figure.text(x + 0.02, 0.525, text, ha="center", color=INK, fontsize=9.5, linespacing=1.4)


if __name__ == "__main__":
    mpl.rcParams |= {"svg.hashsalt": "gfnode", "font.family": "DejaVu Sans"}
    TARGET.parent.mkdir(exist_ok=True)
    draw().savefig(TARGET, metadata={"Date": None, "Creator": None})
