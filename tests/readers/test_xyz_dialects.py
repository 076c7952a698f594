"""XYZ as other programs write it: comment lines of CP2K, and other names of forces."""

import numpy as np
import pytest

from gfnode.errors import InputError
from gfnode.readers import load
from gfnode.units import ELECTRONVOLT

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


@pytest.mark.parametrize("form", ["time = {} ps", "i=1, time={}ps, E=-1", 'time="{} ps" energy=2'])
def test_a_unit_behind_a_time_counts(tmp_path, form):
    path = write(tmp_path / "units.xyz", [form.format(t) for t in (0.0, 0.005, "1e-2")])
    np.testing.assert_allclose(load(path).times, [0, 5, 10], atol=1e-9)


def test_a_key_behind_a_time_is_no_unit(tmp_path):
    path = write(tmp_path / "keys.xyz", [f"time={t} s=1.0 NS=3" for t in (0.0, 0.5)])
    assert load(path).times.tolist() == [0, 0.5]


def test_times_without_the_unit_of_the_first_are_refused(tmp_path):
    path = write(tmp_path / "mixed.xyz", ["time = 0 ps", "time = 5 fs"])
    with pytest.raises(InputError, match="frame 1"):
        load(path)


def test_a_step_is_taken_whatever_times_are_stored(tmp_path):
    path = write(tmp_path / "run.xyz", ["time=soon", "time=later", ""])
    assert load(path, step="2fs").times.tolist() == [0, 2, 4]
    with pytest.raises(InputError, match="--step"):
        load(path)


def with_forces(path, frames, names, values):
    """Water with columns of three reals each, ``values`` (frame, column, atom, 3)."""
    with path.open("w") as file:
        for i in range(frames):
            columns = "".join(f":{name}:R:3" for name in names[i])
            file.write(f"3\nProperties=species:S:1:pos:R:3{columns} time_fs={i}\n")
            for a, symbol in enumerate("OHH"):
                row = np.concatenate([WATER[a] + 0.01 * i, *values[i, : len(names[i]), a]])
                file.write(f"{symbol} {' '.join(f'{x:.8f}' for x in row)}\n")
    return path


VALUES = np.random.default_rng(3).normal(size=(4, 2, 3, 3))


@pytest.mark.parametrize("name", ["REF_forces", "force", "dft_force", "mace.forces", "Forces"])
def test_a_column_by_another_name_is_read_as_forces(tmp_path, name):
    path = with_forces(tmp_path / "a.xyz", 4, [[name]] * 4, VALUES)
    found = load(path)
    np.testing.assert_allclose(found.forces, VALUES[:, 0] * ELECTRONVOLT, rtol=1e-5, atol=1e-9)
    assert found.notes == (
        f"a.xyz: column {name} is read as forces, in eV/Å; rename it if it is something else",
    )


def test_what_is_called_forces_comes_first(tmp_path):
    path = with_forces(tmp_path / "a.xyz", 4, [["REF_forces", "forces"]] * 4, VALUES)
    found = load(path)
    np.testing.assert_allclose(found.forces, VALUES[:, 1] * ELECTRONVOLT, rtol=1e-5, atol=1e-9)
    assert not found.notes


def test_of_several_columns_none_is_guessed(tmp_path):
    path = with_forces(tmp_path / "a.xyz", 4, [["REF_forces", "mace_forces"]] * 4, VALUES)
    found = load(path)
    assert found.forces is None
    assert "columns REF_forces, mace_forces may all be forces" in found.notes[0]
    assert "rename the one" in found.notes[0]


@pytest.mark.parametrize("name", ["forces", "REF_forces"])
def test_forces_of_some_frames_are_left_out_and_it_is_said(tmp_path, name):
    path = with_forces(tmp_path / "a.xyz", 4, [[name], [name], [], [name]], VALUES)
    found = load(path)
    assert found.forces is None
    (note,) = found.notes
    assert f"{name} is left out, as 1 of 4 frames do not have it (the first is frame 2)" in note


def test_a_column_of_one_number_is_no_forces(tmp_path):
    (tmp_path / "a.xyz").write_text("1\nProperties=species:S:1:pos:R:3:force:R:1\nH 0 0 0 1\n")
    found = load(tmp_path / "a.xyz")
    assert found.forces is None
    assert not found.notes
