"""XYZ as other programs write it: CP2K's comment lines."""

import numpy as np
import pytest

from gfnode.errors import InputError
from gfnode.readers import load

WATER = np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])


def write(path, comments):
    """Water, a little further on in each frame."""
    with path.open("w") as file:
        for i, comment in enumerate(comments):
            file.write(f"3\n{comment}\n")
            for symbol, x in zip("OHH", WATER + 0.01 * i, strict=True):
                file.write(f"{symbol} {x[0]:.8f} {x[1]:.8f} {x[2]:.8f}\n")
    return path


def test_cp2k_tells_times_in_fs(tmp_path):
    comments = [
        f" i = {i * 10:8d}, time = {t:12.3f}, E = {-17.1643447508 + i:20.10f}"
        for i, t in enumerate([0.0, 2.5, 5.0, 12.5])
    ]
    found = load(write(tmp_path / "cp2k-pos-1.xyz", comments))
    assert found.times.tolist() == [0, 2.5, 5, 12.5]
    np.testing.assert_allclose(found.positions[3], WATER + 0.03, atol=1e-6)


def test_a_step_is_taken_whatever_times_are_stored(tmp_path):
    path = write(tmp_path / "run.xyz", ["time=soon", "time=later", ""])
    assert load(path, step="2fs").times.tolist() == [0, 2, 4]
    with pytest.raises(InputError, match="--step"):
        load(path)
