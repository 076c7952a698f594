"""Make the trajectory that comes with the package from a long MD17-like series.

    python tools/make_sample.py md17_toluene.npz src/gfnode/data/toluene.npz

The input holds ``R`` (frame, atom, 3) in Å and ``z`` at an even, short step. Every tenth frame is
kept with its velocity, the central difference of the full series; see docs/data.md.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from gfnode.readers import load, save
from gfnode.trajectory import Trajectory

EVERY = 10
PRECISION = 1e-4
PROVENANCE = (
    "toluene in vacuum, GFN2-xTB, Bussi thermostat at 500 K over 3N degrees of freedom (100 fs), "
    "0.5 fs step, run with ASE for gfnode; every 10th frame, velocities by central difference of "
    "the full series; MIT licence"
)


def thin(series: Trajectory) -> Trajectory:
    """Keep every tenth frame; v(t) = (x(t + h) - x(t - h)) / 2h, its error h² x'''/6."""
    assert series.step is not None
    kept = np.arange(EVERY, len(series) - 1, EVERY)
    positions = series.positions.astype(np.float64)
    velocities = (positions[kept + 1] - positions[kept - 1]) / (2 * series.step)
    return replace(
        series,
        positions=series.positions[kept],
        times=(kept - kept[0]) * series.step,
        velocities=velocities.astype(np.float32),
        time_step=EVERY * series.step,
        name="toluene",
        source=PROVENANCE,
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    save(thin(load(options.input)), options.output, precision=PRECISION)
    sample = load(options.output)
    momentum = np.einsum("a,fax->fx", sample.masses, sample.velocities.astype(np.float64))
    centre = np.einsum("a,fax->fx", sample.masses, sample.positions.astype(np.float64))
    centre /= sample.masses.sum()
    print(sample)  # noqa: T201
    print(  # noqa: T201
        f"{options.output.stat().st_size / 1e6:.2f} MB, {sample.temperature():.1f} K, "
        f"momentum up to {np.abs(momentum).max():.1e} u Å/fs, "
        f"centre of mass within {np.ptp(centre, axis=0).max():.1e} Å"
    )


if __name__ == "__main__":
    main()
