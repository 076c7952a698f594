"""Velocities and forces that CP2K writes beside the positions."""

import numpy as np
import pytest
from ase import units

import gfnode
from commands import call
from gfnode.errors import InputError


@pytest.fixture
def known():
    sample = gfnode.load("sample:toluene")[:8]
    sample = sample.select([0, 1, 2, 7, 8])
    rng = np.random.default_rng(2)
    return sample, rng.normal(0, 0.5, sample.positions.shape)  # eV/Å


def text(symbols, frames, steps) -> str:
    lines = []
    for step, rows in zip(steps, frames, strict=True):
        lines += [f"{len(symbols):8}", f" i = {step:8}, time = {step * 0.5:12.3f}, E = -3.1"]
        lines += [
            f"{symbol:>3} {x:20.10f} {y:20.10f} {z:20.10f}"
            for symbol, (x, y, z) in zip(symbols, rows, strict=True)
        ]
    return "\n".join(lines) + "\n"


@pytest.fixture
def write(tmp_path, known):
    sample, forces = known
    symbols = list(sample[0].to_ase()[0].symbols)
    # Å/fs in a₀ Eₕ/ħ and eV/Å in Eₕ/a₀, by the constants of ASE
    kinds = {
        "pos": sample.positions,
        "vel": sample.velocities / units.Bohr * units.AUT / units.fs,
        "frc": forces / units.Hartree * units.Bohr,
    }

    def write_kind(kind, rows=range(8), steps=None, atoms=slice(None), factor=1.0):
        path = tmp_path / f"run-{kind}-1.xyz"
        rows = list(rows)
        steps = [20 * row for row in rows] if steps is None else steps
        path.write_text(text(symbols[atoms], kinds[kind][rows][:, atoms] * factor, steps))
        return path

    return write_kind


def test_they_come_in_their_units(write, known):
    sample, forces = known
    path = write("pos")
    assert gfnode.load(path).velocities is None
    write("vel"), write("frc")
    read = gfnode.load(path)
    np.testing.assert_allclose(read.times, np.arange(8) * 10.0)
    np.testing.assert_allclose(read.positions, sample.positions, atol=1e-6)
    np.testing.assert_allclose(read.velocities, sample.velocities, rtol=1e-5, atol=1e-8)
    # 1 eV/Å is 1 u Å in fs² (units.fs)²
    np.testing.assert_allclose(read.forces, forces * units.fs**2, rtol=1e-5, atol=1e-9)
    assert read.temperature() == pytest.approx(sample.temperature(), rel=1e-4)
    assert any("velocities are read from run-vel-1.xyz" in note for note in read.notes)
    assert any("forces are read from run-frc-1.xyz" in note for note in read.notes)
    few = gfnode.load(path, stride=3, select="0-2")
    np.testing.assert_allclose(few.velocities, read.velocities[::3, :3])
    np.testing.assert_allclose(few.forces, read.forces[::3, :3])


def test_positions_in_bohr_have_velocities_and_a_cell_in_units_of_their_own(write, known):
    """As the input asks for: MOTION/PRINT/TRAJECTORY/UNIT bohr."""
    path = write("pos", factor=1 / units.Bohr)
    write("vel"), write("frc")
    path.with_name("run-1.cell").write_text("0 0.0 9 0 0 0 8 0 0 0 7 504\n")
    read, sample = gfnode.load(path, unit="bohr", whole=False), known[0]
    np.testing.assert_allclose(read.positions, sample.positions, atol=1e-6)
    np.testing.assert_allclose(read.velocities, sample.velocities, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(read.cell[0], np.diag([9, 8, 7]))
    assert read.forces is not None


def test_frames_are_known_by_their_steps(write, known):
    _, forces = known
    path = write("pos", range(0, 8, 2))
    write("frc")  # written more often
    write("vel", range(0, 8, 4))  # and less often
    read = gfnode.load(path)
    np.testing.assert_allclose(read.forces, forces[::2] * units.fs**2, rtol=1e-5, atol=1e-9)
    assert read.velocities is None
    assert any("no velocities are read" in n and "no step i = 40" in n for n in read.notes)


def test_a_file_of_other_atoms_is_left_out_and_a_damaged_one_too(write):
    path = write("pos")
    write("vel", atoms=slice(0, 4))
    cut = write("frc")
    cut.write_text(cut.read_text()[:-40])
    read = gfnode.load(path)
    assert read.velocities is None
    assert read.forces is None
    assert any("it holds 4 atoms, the positions 5" in note for note in read.notes)
    assert any("no forces are read from run-frc-1.xyz" in note for note in read.notes)


def test_a_line_without_its_last_number(write):
    path, beside = write("pos", atoms=slice(1)), write("vel", atoms=slice(1))
    lines = beside.read_text().splitlines()
    lines[5] = lines[5].rpartition(" ")[0]
    beside.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"run-vel-1\.xyz: frame 1 is not valid XYZ"):
        gfnode.load(path)


def test_words_where_numbers_should_be(write):
    path = write("pos")
    wrong = write("vel")
    lines = wrong.read_text().splitlines()
    lines[2] = "  C  one  two  three"
    wrong.write_text("\n".join([*lines, ""]))
    with pytest.raises(InputError, match=r"run-vel-1.xyz: frame 0 is not valid XYZ"):
        gfnode.load(path)


def test_another_name_is_another_file(write, tmp_path):
    path = write("pos")
    write("vel")
    other = path.rename(tmp_path / "run-pos-2.xyz")
    assert gfnode.load(other).velocities is None
    result = call("convert", other.rename(path), tmp_path / "all.npz")
    assert "velocities are read from run-vel-1.xyz" in result.stderr
    assert gfnode.load(tmp_path / "all.npz").velocities is not None


@pytest.fixture
def write_cells(tmp_path):
    """Write the cell file of CP2K: step, time in fs, nine components in Å, volume in Å³."""

    def write_cell(cells, steps, name="run-1.cell"):
        head = "#   Step   Time [fs]       Ax [Angstrom]  … Volume [Angstrom^3]"
        rows = [
            f"{step:8}{step / 2:12.3f}"
            + "".join(f"{value:20.10f}" for value in (*cell.ravel(), np.linalg.det(cell)))
            for step, cell in zip(steps, cells, strict=True)
        ]
        (tmp_path / name).write_text("\n".join([head, *rows, ""]))

    return write_cell


def test_the_cell_of_each_frame(write, write_cells):
    """With a barostat; the file has other frames too."""
    path = write("pos", range(0, 8, 2))
    box = np.array([[20.0, 0, 0], [1.5, 21, 0], [0, -2.5, 22]])
    cells = box * np.linspace(1, 1.1, 8)[:, None, None]
    write_cells(cells, range(0, 160, 20))
    read = gfnode.load(path)
    np.testing.assert_allclose(read.cell, cells[::2], rtol=1e-6)
    assert any("the cell is read from run-1.cell" in note for note in read.notes)
    np.testing.assert_allclose(gfnode.load(path, stride=2).cell, cells[::4], rtol=1e-6)


def test_molecules_that_the_cell_cuts_are_whole(write, write_cells, known, tmp_path):
    """CP2K does not wrap positions, but its input may have been wrapped."""
    sample, _ = known
    whole = gfnode.load(write("pos"))
    lengths = np.array([30.0, 31, 32])
    cut = sample.positions.copy()
    cut[:, 1] += lengths
    symbols = list(sample[0].to_ase()[0].symbols)
    (tmp_path / "run-pos-1.xyz").write_text(text(symbols, cut, range(0, 160, 20)))
    write_cells([np.diag(lengths)], [0])  # a cell that does not change is written once
    read = gfnode.load(tmp_path / "run-pos-1.xyz")
    bonds = [np.linalg.norm(x[:, 1] - x[:, 0], axis=-1) for x in (read.positions, whole.positions)]
    np.testing.assert_allclose(*bonds, atol=1e-4)
    np.testing.assert_allclose(read.cell, np.tile(np.diag(lengths), (8, 1, 1)))


def test_cells_that_do_not_belong_to_the_frames_are_left_out(write, write_cells, tmp_path):
    path = write("pos")
    write_cells([np.eye(3) * 20, np.eye(3) * 21], [0, 20])
    read = gfnode.load(path)
    assert read.cell is None
    assert any("no cell is read from run-1.cell: it has no step i = 40" in n for n in read.notes)
    for wrong in ("# nothing\n", "0 0.0 1 2 3\n", "one two\n", f"0 0 {'0 ' * 10}\n"):
        (tmp_path / "run-1.cell").write_text(wrong)
        read = gfnode.load(path)
        assert read.cell is None
        assert any("no cell is read from run-1.cell" in note for note in read.notes)
