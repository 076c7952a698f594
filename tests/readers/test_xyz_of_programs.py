"""Velocities that DFTB+ and xTB write into XYZ files, each in a way of its own."""

import numpy as np
import pytest
from ase import units
from ase.io.dftb import read_dftb_velocities

import gfnode
from commands import call
from gfnode.errors import InputError


@pytest.fixture(scope="module")
def known():
    return gfnode.load("sample:toluene")[:12].select([0, 1, 2, 7, 8])


def symbols(known) -> list[str]:
    return list(known[0].to_ase()[0].symbols)


def dftb(known, *, charges=True, steps=range(12)) -> str:
    lines = []
    for step, x, v in zip(steps, known.positions, known.velocities * 1000, strict=True):
        lines += [f"{len(x):5}", f"MD iter: {step}"]
        for symbol, place, speed in zip(symbols(known), x, v, strict=True):
            values = [*place, 4.2, *speed] if charges else [*place, *speed]
            lines.append(f"{symbol:>4}" + "".join(f"{each:18.10f}" for each in values))
    return "\n".join(lines) + "\n"


def xtb(known, *, velocities=True) -> str:
    lines = []
    speeds = known.velocities / units.Bohr * units.AUT / units.fs
    for x, v in zip(known.positions, speeds, strict=True):
        lines += [f"{len(x)}", " energy: -11.39156825 gnorm: 0.01218318 xtb: 6.5.1 (unknown)"]
        for symbol, place in zip(symbols(known), x, strict=True):
            lines.append(f"{symbol:2}" + "".join(f"{each:20.14f}" for each in place))
        if velocities:
            lines += ["".join(f"{each:20.14f}" for each in speed) for speed in v]
    return "\n".join(lines) + "\n"


@pytest.fixture
def write(tmp_path):
    def write_text(name, text):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_text


@pytest.mark.parametrize("charges", [True, False])
def test_columns_of_dftb(write, known, charges):
    path = write("geo_end.xyz", dftb(known, charges=charges))
    read = gfnode.load(path, step="5fs")
    np.testing.assert_allclose(read.times, known.times - known.times[0])
    np.testing.assert_allclose(read.positions, known.positions, atol=1e-6)
    np.testing.assert_allclose(read.velocities, known.velocities, atol=1e-8)
    assert any("velocities are those of DFTB+" in note for note in read.notes)
    few = gfnode.load(path, step="5fs", stride=3, select="0-2")
    np.testing.assert_array_equal(few.velocities, read.velocities[::3, :3])


def test_ase_reads_the_same_of_dftb(write, known):
    path = write("geo_end.xyz", dftb(known))
    (last,) = known[-1].to_ase()
    read_dftb_velocities(last, str(path))
    read = gfnode.load(path, step="5fs")
    np.testing.assert_allclose(read.velocities[-1], last.get_velocities() * units.fs, atol=1e-8)


def test_a_last_frame_between_the_steps_of_the_others(write, known):
    steps = [*range(0, 110, 10), 104]
    read = gfnode.load(write("geo_end.xyz", dftb(known, steps=steps)), step="5fs")
    np.testing.assert_allclose(read.times, np.array(steps) * 0.5)


def test_steps_of_a_run_that_began_again_say_nothing_of_times(write, known):
    steps = [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]
    read = gfnode.load(write("geo_end.xyz", dftb(known, steps=steps)), step="5fs")
    np.testing.assert_allclose(read.times, np.arange(12) * 5.0)


def test_words_in_the_columns_of_dftb(write, known):
    text = dftb(known).splitlines()
    text[10] = " ".join([*text[10].split()[:-1], "***"])
    with pytest.raises(InputError, match=r"geo_end\.xyz: frame 1 is not valid XYZ"):
        gfnode.load(write("geo_end.xyz", "\n".join([*text, ""])), step="5fs")


def test_lines_of_xtb(write, known):
    path = write("xtb.trj", xtb(known))
    read = gfnode.load(path, step="5fs")
    np.testing.assert_allclose(read.positions, known.positions, atol=1e-6)
    np.testing.assert_allclose(read.velocities, known.velocities, rtol=1e-5, atol=1e-8)
    assert any("from half a time step before" in note for note in read.notes)
    few = gfnode.load(path, step="5fs", stride=3, select="0-2")
    np.testing.assert_array_equal(few.velocities, read.velocities[::3, :3])
    again = write("renamed.xyz", path.read_text())
    np.testing.assert_array_equal(gfnode.load(again, step="5fs").velocities, read.velocities)


def test_xtb_without_velocities(write, known):
    read = gfnode.load(write("xtb.trj", xtb(known, velocities=False)), step="50fs")
    assert read.velocities is None
    np.testing.assert_allclose(read.positions, known.positions, atol=1e-6)
    np.testing.assert_allclose(read.times, np.arange(12) * 50.0)


def test_the_usual_step_of_xtb_is_offered(write, known):
    with pytest.raises(InputError, match=r"dump in the \$md block .* --step 50fs, its default"):
        gfnode.load(write("xtb.trj", xtb(known)))


def test_xtb_cut_anywhere(write, known):
    whole = xtb(known[:3])
    lines = whole.splitlines(keepends=True)
    ends = {sum(map(len, lines[:count])) for count in (7, 12, 24)}  # 7: positions of frame 0 alone
    for end in range(1, len(whole)):
        path = write("xtb.trj", whole[:end])
        if end in ends:
            assert len(gfnode.load(path, step="5fs")) < 3
            continue
        with pytest.raises(InputError, match=r"xtb\.trj: "):
            gfnode.load(path, step="5fs")


def test_xtb_cut_inside_velocities_is_named(write, known):
    lines = xtb(known[:2]).splitlines(keepends=True)
    with pytest.raises(InputError, match="ends inside the velocities of frame 1: 3 of 5 atoms"):
        gfnode.load(write("xtb.trj", "".join(lines[:-2])), step="5fs")


def test_trj_is_read_only(write, known, tmp_path):
    path = write("xtb.trj", xtb(known))
    result = call("convert", path, tmp_path / "all.npz", "--step", "5fs")
    assert result.exit_code == 0
    assert gfnode.load(tmp_path / "all.npz").velocities is not None
    result = call("convert", path, tmp_path / "again.trj", "--step", "5fs")
    assert result.exit_code == 2
