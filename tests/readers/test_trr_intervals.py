"""TRR files of GROMACS whose positions, velocities and forces were written at other intervals."""

import struct
from pathlib import Path

import numpy as np
import pytest

from gfnode.readers import load, save
from gfnode.trajectory import Trajectory

X = np.random.default_rng(3).standard_normal((13, 2, 3)) * 0.01 + [[[0, 0, 0]], [[0.1, 0, 0]]][0]


def frame(step: int, **arrays: np.ndarray) -> bytes:
    """One frame of 2 atoms, 0.5 fs after the one before, in single precision."""
    sizes = [len(arrays[key]) * 12 if key in arrays else 0 for key in "xvf"]
    head = struct.pack(">3i12s", 1993, 13, 12, b"GMX_trn_file")
    head += struct.pack(">10i", 0, 0, 36, 0, 0, 0, 0, *sizes)
    head += struct.pack(">3i2f", 2, step, 0, step * 0.0005, 0)
    body = b"".join(arrays[key].astype(">f4").tobytes() for key in "xvf" if key in arrays)
    return head + np.diag([2.0] * 3).astype(">f4").tobytes() + body


def written(path: Path, every: dict[str, int]) -> Path:
    """13 steps, with each array every so many of them."""
    parts = []
    for step in range(13):
        held = {key: X[step] for key, apart in every.items() if step % apart == 0}
        parts += [frame(step, **held)] if held else []
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize(
    ("v", "f", "kept"),
    [(2, 2, "vf"), (1, 2, "vf"), (4, 2, "f"), (2, 3, "v"), (6, 4, ""), (4, 1, "f")],
)
def test_intervals(tmp_path: Path, v: int, f: int, kept: str) -> None:
    """What frames with positions lack is left out, and a note says so."""
    top = save(Trajectory(X[:1] * 10, [0], [8, 1]), tmp_path / "top.pdb")
    path = written(tmp_path / "run.trr", {"x": 2, "v": v, "f": f})
    read = load(path, top=top, whole=False)
    np.testing.assert_allclose(read.times, np.arange(7.0))
    np.testing.assert_allclose(read.positions, X[::2] * 10, rtol=1e-6)
    if "v" in kept:
        np.testing.assert_allclose(read.velocities, X[::2] * 0.01, rtol=1e-5)
    for key, what, found in (("v", "velocities", read.velocities), ("f", "forces", read.forces)):
        assert (found is not None) == (key in kept)
        said = [note for note in read.notes if f"{what} are left out" in note]
        assert len(said) == (key not in kept)
    if v == 4:
        assert "3 of 7 frames do not hold them (the first is frame 1)" in read.notes[0]
        assert "nstvout = nstxout" in read.notes[0]
