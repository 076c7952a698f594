"""The bundled sample against a trajectory that the documented command makes.

Each number is taken over five stretches of time of either trajectory, and compared by Welch's t
test; with m numbers of a kind the least p value must be above 0.001/m.
"""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from scipy import signal, stats
from typer.testing import CliRunner

import gfnode
from gfnode.graph import bonds_from_distances
from gfnode.trajectory import Trajectory
from gfnode.units import BOLTZMANN

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = 5
CM = 33356.40952  # cm⁻¹ in one cycle per fs
BAND_EDGES = np.array([0.0, 600, 1250, 2000, 3330])  # cm⁻¹: bends and rotor, ring, scissors, C–H
STRETCHES = (2700.0, 3200.0)


def blocks(values: np.ndarray) -> np.ndarray:
    """Means over five stretches of time, ``(block, number)``."""
    size = len(values) // BLOCKS
    return values[: size * BLOCKS].reshape(BLOCKS, size, -1).mean(1)


def temperatures(trajectory: Trajectory) -> np.ndarray:
    kinetic = (trajectory.masses * np.square(trajectory.velocities.astype(float)).sum(-1)).sum(1)
    return blocks(kinetic / (3 * trajectory.n_atoms * BOLTZMANN))


def bond_lengths(trajectory: Trajectory, bonds: np.ndarray) -> np.ndarray:
    i, j = bonds.T
    x = trajectory.positions.astype(float)
    return blocks(np.linalg.norm(x[:, i] - x[:, j], axis=-1))


def spectra(trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Wavenumbers and mass-weighted power of velocities of five stretches, each of sum one."""
    size = len(trajectory) // BLOCKS
    v = trajectory.velocities[: size * BLOCKS].astype(float)
    v = np.sqrt(trajectory.masses)[:, None] * v
    v = v.reshape(BLOCKS, size, -1)
    rate = 1 / trajectory.spacing
    frequency, power = signal.welch(v, rate, nperseg=min(size, 256), axis=1)
    power = power.sum(-1)
    return frequency * CM, power / power.sum(1, keepdims=True)


def bands(trajectory: Trajectory) -> np.ndarray:
    """Share of the power in each band."""
    wavenumbers, power = spectra(trajectory)
    inside = np.digitize(wavenumbers, BAND_EDGES)[:, None] == np.arange(1, len(BAND_EDGES))
    return power @ inside


def stretches(trajectory: Trajectory) -> np.ndarray:
    """Where the stretches of C–H lie on average, in cm⁻¹."""
    wavenumbers, power = spectra(trajectory)
    inside = (wavenumbers > STRETCHES[0]) & (wavenumbers < STRETCHES[1])
    return (power[:, inside] @ wavenumbers[inside] / power[:, inside].sum(1))[:, None]


def compare(made: Trajectory, sample: Trajectory) -> dict[str, tuple[float, str]]:
    """The least p value of each kind, times their number, and the values in words."""
    bonds = bonds_from_distances(sample.numbers, sample.positions[:1])
    kinds = {
        "temperature, K": (temperatures(made), temperatures(sample)),
        "bond lengths, Å": (bond_lengths(made, bonds), bond_lengths(sample, bonds)),
        "power in bands": (bands(made), bands(sample)),
        "C-H stretches, 1/cm": (stretches(made), stretches(sample)),
    }
    found = {}
    for name, (a, b) in kinds.items():
        test = stats.ttest_ind(a, b, equal_var=False)
        interval = test.confidence_interval(0.95)
        worst = int(np.argmin(test.pvalue))
        found[name] = (
            float(test.pvalue.min() * a.shape[1]),
            f"{a[:, worst].mean():.5g} and {b[:, worst].mean():.5g}, difference "
            f"[{interval.low[worst]:.2g}, {interval.high[worst]:.2g}]",
        )
    return found


def documented() -> list[str]:
    """The command in docs/data.md."""
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^gfnode (simulate toluene .*)$", text, re.M)
    return shlex.split(line)


def test_the_comparison_can_fail() -> None:
    """Half of the sample agrees with the other half; hotter, longer or slower it does not."""
    sample = gfnode.load("sample:toluene")
    first, second = sample[:3200], sample[3200:]
    assert all(p > 1e-3 for p, _ in compare(first, second).values())
    from dataclasses import replace

    hotter = replace(first, velocities=1.1 * first.velocities)
    assert compare(hotter, second)["temperature, K"][0] < 1e-3
    longer = replace(first, positions=1.003 * first.positions)
    assert compare(longer, second)["bond lengths, Å"][0] < 1e-3
    slower = replace(first, times=1.02 * first.times)
    assert compare(slower, second)["C-H stretches, 1/cm"][0] < 1e-3
    faster = replace(first, times=first.times / 1.8)
    assert compare(faster, second)["power in bands"][0] < 1e-3


def test_the_sample_is_as_documented() -> None:
    words = documented()
    sample = gfnode.load("sample:toluene")
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert sample.spacing == float(options["--every"].removesuffix("fs"))
    for word in ("GFN2-xTB", "Bussi", "500 K over 3N"):
        assert word in sample.source
    assert options["--temperature"] == "500K"
    assert options["--degrees"] == "3N"


@pytest.mark.slow
def test_the_command_makes_such_a_sample(tmp_path: Path) -> None:
    """20 ps of the 32 ps."""
    pytest.importorskip("tblite")
    from gfnode.cli import app

    words = documented()
    words[words.index("--length") + 1] = "20ps"
    words[words.index("--out") + 1] = str(tmp_path / "toluene.npz")
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = compare(gfnode.load(tmp_path / "toluene.npz"), gfnode.load("sample:toluene"))
    assert all(p > 1e-3 for p, _ in found.values()), found
