"""GRO as a trajectory: frames, velocities, boxes and times, beside other libraries."""

import mdtraj
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import gfnode
from commands import call
from gfnode.errors import InputError
from making import quick_run


def gro(positions, velocities=None, *, times=None, box="3.0 3.0 3.0", decimals=3) -> str:
    """Text of GRO; positions ``(frame, atom, 3)`` in nm, velocities in nm/ps, times in ps."""
    lines = []
    wide = decimals + 5
    for row, places in enumerate(positions):
        lines.append("water" if times is None else f"water t= {times[row]:9.5f} step= {row}")
        lines.append(f"{len(places):5}")
        for i, place in enumerate(places):
            name = ("OW", "HW1", "HW2")[i % 3]
            text = f"{i // 3 + 1:5}{'SOL':5}{name:>5}{i + 1:5}"
            text += "".join(f"{x:{wide}.{decimals}f}" for x in place)
            if velocities is not None:
                text += "".join(f"{v:{wide}.{decimals + 1}f}" for v in velocities[row][i])
            lines.append(text)
        lines.append(box)
    return "\n".join(lines) + "\n"


WATER = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [-0.03, 0.095, 0.0]]) + 1.0


@pytest.fixture
def water():
    """Positions in nm and velocities in nm/ps of two waters in five frames."""
    rng = np.random.default_rng(1)
    two = np.concatenate([WATER, WATER + 0.4])
    return two + rng.normal(0, 0.004, (5, 6, 3)), rng.normal(0, 0.5, (5, 6, 3))


@pytest.fixture
def write(tmp_path):
    def write_text(text, name="run.gro"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_text


@pytest.mark.parametrize("decimals", [3, 5])
def test_frames_with_velocities(write, water, decimals):
    x, v = water
    path = write(gro(x, v, times=np.arange(5) * 0.002, decimals=decimals))
    read = gfnode.load(path)
    np.testing.assert_allclose(read.times, np.arange(5) * 2.0, atol=1e-9)
    np.testing.assert_allclose(read.positions, 10 * x, atol=5.1 * 10.0**-decimals)
    np.testing.assert_allclose(read.velocities, v / 100, atol=0.51 * 10.0 ** (-decimals - 2))
    np.testing.assert_allclose(read.cell, np.tile(30 * np.eye(3), (5, 1, 1)))
    assert read.numbers.tolist() == [8, 1, 1] * 2
    few = gfnode.load(path, stride=2, select="0-2")
    np.testing.assert_array_equal(few.velocities, read.velocities[::2, :3])


def test_mdanalysis_reads_the_same(write, water):
    universe = pytest.importorskip("MDAnalysis").Universe
    x, v = water
    box = "3.00000 3.10000 3.20000 0.00000 0.00000 0.50000 0.00000 0.20000 0.30000"
    path = write(gro(x[:1], v[:1], times=[0.5], box=box))
    atoms = universe(str(path)).atoms
    read = gfnode.load(path, whole=False)
    np.testing.assert_allclose(read.positions[0], atoms.positions, atol=1e-4)
    np.testing.assert_allclose(read.velocities[0], atoms.velocities / 1000, atol=1e-7)
    vectors = atoms.universe.trajectory.ts.triclinic_dimensions
    np.testing.assert_allclose(read.cell[0], vectors, atol=1e-3)


def test_mdtraj_writes_it(tmp_path):
    sample = gfnode.load("sample:toluene")[:4]
    sample.to_mdtraj().save(str(tmp_path / "toluene.gro"))
    read = gfnode.load(tmp_path / "toluene.gro")
    np.testing.assert_allclose(read.positions, sample.positions, atol=0.0051)
    assert read.velocities is None
    assert read.cell is None
    assert read.numbers.tolist() == sample.numbers.tolist()
    assert any("guessed from the atom names" in note for note in read.notes)
    theirs = mdtraj.load(str(tmp_path / "toluene.gro"))
    np.testing.assert_allclose(read.positions, 10 * theirs.xyz, atol=1e-5)


def test_elements_of_a_topology(write, tmp_path):
    sample = gfnode.load("sample:toluene")[:2]
    sample.save(tmp_path / "toluene.pdb")
    sample.to_mdtraj().save(str(tmp_path / "toluene.gro"))
    read = gfnode.load(tmp_path / "toluene.gro", top=tmp_path / "toluene.pdb")
    assert not any("guessed" in note for note in read.notes)
    sample.select("heavy").save(tmp_path / "heavy.pdb")
    with pytest.raises(InputError, match=r"has 15 atoms, but its topology .* give one of the same"):
        gfnode.load(tmp_path / "toluene.gro", top=tmp_path / "heavy.pdb")


def test_without_times(write, water):
    path = write(gro(water[0]))
    with pytest.raises(InputError, match="stores no times: give --step"):
        gfnode.load(path)
    np.testing.assert_allclose(gfnode.load(path, step="2fs").times, np.arange(5) * 2.0)
    assert len(gfnode.load(write(gro(water[0][:1]), "one.gro"))) == 1


def test_titles_may_be_empty(write, water):
    text = gro(water[0]).replace("water\n", "\n")
    assert len(gfnode.load(write(text), step="2fs")) == 5


@pytest.mark.parametrize("tail", ["\n", "\n\n\n", "   \n", "\r\n", "  "])
@pytest.mark.parametrize("frames", [1, 2])
def test_blank_lines_at_the_end(write, water, tail, frames):
    """Editors leave them; mdtraj, which reads the names, takes them for a frame."""
    x = water[0][:frames]
    read = gfnode.load(write(gro(x, times=[0, 0.002]) + tail))
    np.testing.assert_allclose(read.positions, 10 * x, atol=0.0051)
    assert read.numbers.tolist() == [8, 1, 1] * 2


def test_velocities_that_are_all_zero_are_none(write, water):
    read = gfnode.load(write(gro(water[0][:1], np.zeros((1, 6, 3)))))
    assert read.velocities is None
    assert any("velocities are left out" in note for note in read.notes)


def test_cut_anywhere(write, water):
    x, v = water
    whole = gro(x[:2], v[:2], times=[0, 0.002])
    first = len(gro(x[:1], v[:1], times=[0]))
    for end in range(first + 1, len(whole)):
        with pytest.raises(InputError, match=r"run\.gro: "):
            gfnode.load(write(whole[:end]))
    assert len(gfnode.load(write(whole[:first]))) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    6\n", "  six\n", "expected the number of atoms"),
        ("3.0 3.0 3.0", "3.0 3.0", "the box of frame 0 is '3.0 3.0', expected three numbers"),
        ("   1.0", "   x.0", "frame 0 is not valid GRO"),
        ("   1.0", "   x 0", "not a GRO file"),
        ("   1.40", "1.40", "the line of atom 3 in frame 0 is shorter than that of the first"),
    ],
)
def test_damage_is_named(write, water, old, new, said):
    x = WATER[None].repeat(2, 0)
    x = np.concatenate([x, x + 0.4], 1)
    text = gro(x, times=[0, 0.002])
    assert old in text
    with pytest.raises(InputError, match=said):
        gfnode.load(write(text.replace(old, new, 1)))


@given(st.binary(min_size=1, max_size=300) | st.text("\n .05SOL", min_size=1).map(str.encode))
@example(b" \n\n")
def test_bytes_of_all_kinds(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("gro") / "run.gro"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"run\.gro"):
        gfnode.load(path)


def test_a_start_for_predictions(tmp_path):
    sample = gfnode.load("sample:toluene")
    run = quick_run(sample[:400], tmp_path / "run")
    start = sample[390:391]
    text = gro(start.positions / 10, start.velocities * 100, decimals=6)
    names = [f"{symbol}{i}" for i, symbol in enumerate(start.to_ase()[0].symbols)]
    lines = text.splitlines()
    lines[2:-1] = [
        f"    1TOL  {name:>5}{line[15:]}" for name, line in zip(names, lines[2:-1], strict=True)
    ]
    lines[-1] = "0 0 0"
    path = tmp_path / "start.gro"
    path.write_text("\n".join(lines) + "\n")
    out = tmp_path / "out.npz"
    result = call("predict", run.folder, "--start", path, "--times", "50fs", "--out", out)
    assert result.exit_code == 0, result.stderr
    expected = run.predict(start, ["50fs"])
    np.testing.assert_allclose(gfnode.load(out).positions, expected.positions, atol=1e-3)
