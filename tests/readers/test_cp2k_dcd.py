"""DCD files of CP2K, which puts femtoseconds into the head."""

import struct
from pathlib import Path

import numpy as np
import pytest

from gfnode.errors import InputError
from gfnode.readers import load, save
from gfnode.trajectory import Trajectory


def record(body: bytes) -> bytes:
    return struct.pack("<i", len(body)) + body + struct.pack("<i", len(body))


def written(path: Path, positions: np.ndarray, remark: bytes) -> Path:
    """As CP2K 2023.1 writes it: a frame every 2 steps of 0.5 fs, and no number of frames."""
    head = b"CORD" + struct.pack("<9i", 0, 0, 2, *[0] * 6) + struct.pack("<f", 0.5)
    head += struct.pack("<10i", 1, *[0] * 8, 24)
    data = record(head) + record(struct.pack("<i", 2) + remark.ljust(80) + b"REMARK".ljust(80))
    data += record(struct.pack("<i", positions.shape[1]))
    for frame in positions:
        data += record(struct.pack("<6d", 8.5, 90, 8.5, 90, 90, 8.5))
        for axis in frame.T:
            data += record(axis.astype("<f4").tobytes())
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("remark", "proposed"),
    [
        (b"REMARK CORD DCD file created by CP2K version 2023.1", "--step 1fs if .*steps of 0.5 fs"),
        (b"REMARKS FILENAME=md.dcd CREATED BY NAMD", "--step 48.89fs if .*steps of 24.44 fs"),
    ],
)
def test_proposed_step(tmp_path: Path, remark: bytes, proposed: str) -> None:
    positions = np.zeros((4, 2, 3)) + np.arange(4)[:, None, None] * 0.1 + [[0, 0, 0], [0.96, 0, 0]]
    top = save(Trajectory(positions[:1], [0], [8, 1]), tmp_path / "top.pdb")
    path = written(tmp_path / "H2O-pos-1.dcd", positions, remark)
    with pytest.raises(InputError, match=proposed):
        load(path, top=top)
    read = load(path, top=top, step="1fs")
    np.testing.assert_allclose(read.positions, positions, atol=1e-6)
    np.testing.assert_allclose(read.cell[0], np.eye(3) * 8.5, atol=1e-5)
