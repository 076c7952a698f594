"""Converting: against mdtraj, between all formats, and what is said of what gets lost."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

import gfnode
from gfnode import convert
from gfnode.cli import app
from gfnode.convert import Aligner, Lost, losses
from gfnode.errors import InputError
from gfnode.readers import FORMATS
from gfnode.readers.formats import OWN
from gfnode.readers.joined import _once, _Part, load_joined
from gfnode.readers.source import Source, in_memory
from gfnode.trajectory import Topology, Trajectory

FRAMES, ATOMS = 24, 11
TOPOLOGY = Topology(
    tuple(f"C{i}" for i in range(ATOMS)),
    ("MOL",) * ATOMS,
    (1,) * ATOMS,
    np.array([[i, i + 1] for i in range(ATOMS - 1)]),
)


def made(*, times=None, cell=True, velocities=True, frames=FRAMES, seed=0):
    rng = np.random.default_rng(seed)
    chain = np.stack([1.5 * np.arange(ATOMS), np.tile([0, 0.4], 6)[:ATOMS], np.zeros(ATOMS)], 1)
    times = 100.0 * np.arange(frames) if times is None else times
    x = 8 + 0.3 * chain + 0.2 * rng.normal(size=(len(times), ATOMS, 3))
    return Trajectory(
        x,
        times,
        [6] * ATOMS,
        velocities=0.01 * rng.normal(size=x.shape) if velocities else None,
        forces=0.01 * rng.normal(size=x.shape) if velocities else None,
        cell=np.tile(np.diag([20.0, 21, 22]), (len(times), 1, 1)) if cell else None,
        topology=TOPOLOGY,
        name="chain",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("convert")
    made().save(path / "a.npz")
    made().save(path / "a.xtc")
    made(times=np.cumsum(np.arange(1, FRAMES + 1)) * 10.0).save(path / "uneven.npz")
    return path


def call(*words, code=0):
    result = CliRunner().invoke(app, ["convert", *map(str, words)])
    assert result.exit_code == code, (result.output, result.exception)
    assert code == 0 or result.stderr.count("error") == 1
    return result


@pytest.mark.parametrize("suffix", OWN)
def test_every_format(folder, tmp_path, suffix):
    """What the format has a place for comes back; the rest is named."""
    out, original, holds = tmp_path / f"b{suffix}", made(), OWN[suffix].holds
    said = call(folder / "a.npz", out).stderr
    assert ("cannot store velocities" in said) == (not holds.velocities)
    assert ("cannot store times: read it with --step 100fs" in said) == (holds.times == "none")
    assert ("cannot store names" in said) == (not holds.names)
    assert ("rounds positions" in said) == (holds.rounding is not None)
    given = {"top": tmp_path / "b.pdb"} if FORMATS[suffix].needs_top else {}
    given |= {"step": "100fs"} if holds.times == "none" else {}
    again = gfnode.load(out, **given)
    close = {"rtol": 0, "atol": 1e-5 if holds.rounding is None else 0.51 * holds.rounding}
    np.testing.assert_allclose(again.positions, original.positions, **close)
    np.testing.assert_allclose(again.times, original.times, rtol=0, atol=1e-3)
    np.testing.assert_allclose(again.cell, original.cell, rtol=0, atol=1e-3)
    assert ("cannot store forces" in said) == (not holds.forces)
    if holds.forces:
        np.testing.assert_allclose(again.forces, original.forces, rtol=0, atol=1e-7)
    if holds.velocities:
        np.testing.assert_allclose(again.velocities, original.velocities, rtol=0, atol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} <= {out.name, "b.pdb"}


def test_all_formats_of_gfnode_are_known():
    assert {
        ".npz",
        ".xtc",
        ".dcd",
        ".pdb",
        ".h5",
        ".trr",
        ".nc",
        ".ncdf",
        ".lammpstrj",
        ".dump",
        ".traj",
        ".xyz",
        ".extxyz",
    } == set(OWN)
    assert all(form.holds for form in OWN.values())


def test_what_no_trajectory_has_a_place_for_is_named(tmp_path):
    """Energies, say: of extended XYZ and of npz."""
    line = "Properties=species:S:1:pos:R:3:charge:R:1:forces:R:3 energy={} time_fs={} Step=1"
    frames = [f"1\n{line.format(-1.5, i)}\nH 0 0 {i} 0.3 0 0 1\n" for i in range(3)]
    (tmp_path / "a.extxyz").write_text("".join(frames))
    said = call(tmp_path / "a.extxyz", tmp_path / "b.npz").stderr
    assert "note: a.extxyz: energy, Step, charge are left out: gfnode does not use such" in said
    assert "are left out" not in call(tmp_path / "b.npz", tmp_path / "c.extxyz").stderr
    (tmp_path / "plain.xyz").write_text("1\n\nH 0 0 0\n")
    assert "left out" not in call(tmp_path / "plain.xyz", tmp_path / "d.npz").stderr
    x, f = np.random.default_rng(0).normal(size=(2, 5, 9, 3))
    z, energies = [6, 6, 8, 1, 1, 1, 1, 1, 1], np.zeros(5)
    np.savez(tmp_path / "md17.npz", R=x, z=z, F=f, E=energies, name="ethanol", md5="abc")
    said = call(tmp_path / "md17.npz", tmp_path / "e.npz").stderr
    assert "note: md17.npz: E is left out: gfnode does not use such data" in said
    np.savez(tmp_path / "m.npz", x=x, Z=z, f=f, Epot=energies)
    mapping = ("--map", "positions=x,numbers=Z", "--step", "1fs")
    said = call(tmp_path / "m.npz", tmp_path / "f.npz", *mapping).stderr
    assert "note: m.npz: f, Epot are left out" in said
    assert gfnode.load(tmp_path / "a.extxyz").notes == ()  # for those who convert alone


def test_as_mdtraj_reads_it(folder, tmp_path):
    import mdtraj

    call(folder / "a.xtc", tmp_path / "b.dcd", "--top", folder / "a.pdb", "--stride", 3,
         "--select", "0-6", "--as-stored")  # fmt: skip
    ours = mdtraj.load(str(tmp_path / "b.dcd"), top=str(tmp_path / "b.pdb"))
    theirs = mdtraj.load(str(folder / "a.xtc"), top=str(folder / "a.pdb"), stride=3)
    np.testing.assert_allclose(ours.xyz, theirs.atom_slice(range(7)).xyz, rtol=0, atol=1e-6)


@pytest.mark.parametrize("atoms", ["0-10", "1,3,5,8"])
def test_alignment_against_scipy(folder, tmp_path, atoms):
    call(folder / "a.npz", tmp_path / "b.npz", "--align", atoms)
    ours = gfnode.load(tmp_path / "b.npz", whole=False)
    chosen = list(range(11)) if atoms == "0-10" else [1, 3, 5, 8]
    x = made().positions.astype(float)
    target = x[0, chosen].mean(0)
    for frame, positions in zip(x, ours.positions, strict=True):
        shifted = frame - frame[chosen].mean(0)
        turn, _ = Rotation.align_vectors(x[0, chosen] - target, shifted[chosen])
        np.testing.assert_allclose(positions, turn.apply(shifted) + target, rtol=0, atol=1e-5)


def test_alignment_against_mdtraj(folder, tmp_path):
    """Its rotations are those of single precision."""
    call(folder / "a.npz", tmp_path / "b.npz", "--align", "all")
    frames = made().to_mdtraj()
    frames.superpose(frames, 0)
    ours = gfnode.load(tmp_path / "b.npz", whole=False).positions
    np.testing.assert_allclose(ours, 10 * frames.xyz, rtol=0, atol=0.01)


@pytest.mark.parametrize("reference", ["first", "mean"])
def test_velocities_and_cell_are_turned_along(reference):
    """A rigid molecule that was turned and moved comes back exactly."""
    one = made(frames=1)
    turns = Rotation.random(9, rng=0).as_matrix()
    turns[0] = np.eye(3)
    shifts = np.random.default_rng(0).normal(size=(9, 1, 3))
    shifts[0] = 0

    def turned(vectors):
        return np.einsum("fij,aj->fai", turns, vectors[0])

    moved = replace(
        one,
        positions=turned(one.positions) + shifts,
        velocities=turned(one.velocities),
        forces=turned(one.forces),
        cell=turned(one.cell),
        times=np.arange(9.0),
    )
    back = Aligner(moved, np.arange(ATOMS), reference)(moved)
    for key, atol in (("positions", 1e-5), ("velocities", 1e-7), ("forces", 1e-7), ("cell", 2e-5)):
        expected = np.repeat(getattr(one, key), 9, axis=0)
        np.testing.assert_allclose(getattr(back, key), expected, rtol=0, atol=atol)


def test_mean_reference(folder, tmp_path):
    """Aligned on the mean, frames are closer to their mean than aligned on the first."""
    spread = {}
    for reference in ("first", "mean"):
        out = tmp_path / f"{reference}.npz"
        call(folder / "a.npz", out, "--align", "all", "--reference", reference)
        x = gfnode.load(out, whole=False).positions
        spread[reference] = np.square(x - x.mean(0)).sum()
    assert spread["mean"] < spread["first"]


def test_alignment_leaves_a_turned_cell_out_where_it_must(folder, tmp_path):
    said = call(folder / "a.npz", tmp_path / "b.xtc", "--align", "all").stderr
    assert "warning: .xtc cannot store a cell rotated with the molecule" in said
    assert gfnode.load(tmp_path / "b.xtc", top=tmp_path / "b.pdb").cell is None
    assert "warning" not in call(folder / "a.npz", tmp_path / "c.npz", "--align", "all").stderr
    call(folder / "a.npz", tmp_path / "d.npz", "--no-cell")
    assert gfnode.load(tmp_path / "d.npz").cell is None


def test_bad_alignment(folder, tmp_path):
    out = tmp_path / "b.npz"
    assert "at least three atoms" in call(folder / "a.npz", out, "--align", "0,1", code=2).stderr
    bad = call(folder / "a.npz", out, "--align", "all", "--reference", "last", code=2).stderr
    assert "--reference last: expected first or mean" in bad
    alone = call(folder / "a.npz", out, "--reference", "mean", code=2).stderr
    assert "add --align ATOMS" in alone
    assert "--align" in call(folder / "a.npz", out, "--align", "nonsense", code=2).stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "suffix", [".npz", ".extxyz", ".xtc", ".trr", ".nc", ".lammpstrj", ".traj", ".h5"]
)
def test_uneven_times_are_kept(folder, tmp_path, suffix):
    out = tmp_path / f"b{suffix}"
    said = call(folder / "uneven.npz", out)
    assert "warning" not in said.stderr
    assert "unevenly spaced in time" in said.stdout
    given = {"top": tmp_path / "b.pdb"} if FORMATS[suffix].needs_top else {}
    expected = np.cumsum(np.arange(1, FRAMES + 1)) * 10.0
    np.testing.assert_allclose(gfnode.load(out, **given).times, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("suffix", [".dcd", ".pdb"])
def test_uneven_times_that_get_lost_are_warned_of(folder, tmp_path, suffix):
    said = call(folder / "uneven.npz", tmp_path / f"b{suffix}").stderr
    assert f"warning: {suffix} cannot store times, and frames are unevenly spaced (20 fs to" in said


def test_losses_of_times():
    coarse = made(times=1e8 + np.array([0.0, 10, 20, 30]))
    said = [lost.text for lost in losses(coarse, ".xtc")]
    assert ".xtc rounds times, here by up to 3.438 fs" in said
    scattered = replace(made(times=np.array([0.0, 4, 10]), frames=3), time_step=0.5)
    step = Lost(".extxyz cannot store the time step of the series, 0.5 fs")
    assert step in losses(scattered, ".extxyz")
    assert step not in losses(scattered, ".npz")
    assert not any("times" in lost.text for lost in losses(made()[0], ".dcd"))
    assert losses(made(), ".csv") == []


def test_existing_files_are_not_replaced_unasked(folder, tmp_path):
    out = tmp_path / "b.npz"
    out.write_text("old")
    said = call(folder / "a.npz", out, code=2).stderr
    assert "already exists" in said
    assert "--force" in said
    assert out.read_text() == "old"
    call(folder / "a.npz", out, "--force")
    assert len(gfnode.load(out)) == FRAMES
    same = call(out, out, "--force", code=2).stderr
    assert "is an input" in same
    assert "unknown format .abc: expected" in call(out, tmp_path / "c.abc", code=2).stderr
    nowhere = call(out, tmp_path / "no" / "c.npz", code=2).stderr
    assert "does not exist" in nowhere


@pytest.mark.parametrize("suffix", [".extxyz", ".npz"])
def test_what_another_process_wrote_meanwhile_is_kept(folder, tmp_path, monkeypatch, suffix):
    out, more = tmp_path / f"b{suffix}", ("--precision", "0.001") if suffix == ".npz" else ()

    def slow(path, *_, **__):
        path.write_text("theirs")

    monkeypatch.setattr(convert, "beside", slow)
    said = call(folder / "a.npz", out, *more, code=2).stderr
    assert "another process has written it in the meantime" in said
    assert [each.read_text() for each in tmp_path.iterdir()] == ["theirs"]
    call(folder / "a.npz", out, *more, "--force")
    assert len(gfnode.load(out)) == FRAMES


def test_the_topology_beside(folder, tmp_path):
    said = call(folder / "a.npz", tmp_path / "b.xtc", "--select", "0-4").stdout
    assert f"{tmp_path / 'b.pdb'}: its topology\n" in said
    assert (
        "its topology (was there)"
        in call(
            folder / "a.npz", tmp_path / "b.xtc", "--select", "0-4", "--stride", 2, "--force"
        ).stdout
    )
    (tmp_path / "b.xtc").unlink()
    wrong = call(folder / "a.npz", tmp_path / "b.xtc", code=2).stderr
    assert "b.pdb: already exists with other atoms" in wrong
    before = (tmp_path / "b.pdb").read_bytes()
    call(folder / "a.npz", tmp_path / "b.xtc", "--force", "--precision", 0.01, code=2)
    assert (tmp_path / "b.pdb").read_bytes() == before  # what fails takes nothing away
    call(folder / "a.npz", tmp_path / "b.xtc", "--force")
    assert gfnode.load(tmp_path / "b.xtc", top=tmp_path / "b.pdb").n_atoms == ATOMS


def test_a_topology_that_is_read_from_is_never_written_over(folder, tmp_path):
    call(folder / "a.npz", tmp_path / "source.pdb")
    out = tmp_path / "source.xtc"
    step = ("--step", "100fs", "--select", "0-4", "--force")
    said = call(tmp_path / "source.pdb", out, *step, code=2).stderr
    assert "source.pdb: is an input" in said
    call(folder / "a.npz", tmp_path / "full.xtc")
    top = tmp_path / "full.pdb"
    top.rename(tmp_path / "source.pdb")
    before = (tmp_path / "source.pdb").read_bytes()
    named = ("--top", tmp_path / "source.pdb", "--select", "0-4", "--force")
    assert "is an input" in call(tmp_path / "full.xtc", out, *named, code=2).stderr
    assert (tmp_path / "source.pdb").read_bytes() == before


class TestJoined:
    @pytest.fixture
    def parts(self, tmp_path):
        whole = made()
        whole[:8].save(tmp_path / "p1.npz")
        whole[8:17].save(tmp_path / "p2.npz")
        whole[17:].save(tmp_path / "p3.npz")
        return tmp_path

    @pytest.mark.parametrize("order", ["123", "312"])
    @pytest.mark.parametrize("stride", [1, 5])
    def test_in_order_of_time(self, parts, order, stride):
        """As if they were one file, whatever the order in which they are given."""
        names = [parts / f"p{number}.npz" for number in order]
        call(*names, parts / "b.npz", "--stride", stride)
        assert gfnode.load(parts / "b.npz").fingerprint == made()[::stride].fingerprint

    def test_a_shared_frame_is_taken_once(self, parts):
        made()[7:17].save(parts / "p2.npz")
        said = call(*(parts / f"p{i}.npz" for i in "123"), parts / "b.npz").stderr
        assert "p2.npz: its first frame is the last of the file before, and is read once" in said
        assert gfnode.load(parts / "b.npz").fingerprint == made().fingerprint

    def test_a_restart_that_goes_back_is_joined(self, parts):
        """What was computed again is taken from the later file."""
        again, whole = made(seed=1), made()
        again.positions[5] = whole.positions[5]
        again[5:17].save(parts / "p2.npz")
        said = call(parts / "p1.npz", parts / "p2.npz", parts / "b.npz").stderr
        assert "p2.npz: its first frame is also in p1.npz, which it continues from there" in said
        assert "the last 2 frames of the latter are left out" in said
        joined = gfnode.load(parts / "b.npz")
        assert joined.times.tolist() == whole.times[:17].tolist()
        expected = np.concatenate([whole.positions[:6], again.positions[6:17]])
        np.testing.assert_array_equal(joined.positions, expected)

    def test_a_restart_that_goes_back_in_one_file(self, tmp_path):
        again, whole = made(velocities=False, seed=1), made(velocities=False)
        again.positions[5] = whole.positions[5]
        whole[:8].save(tmp_path / "one.xtc")
        again[5:].save(tmp_path / "two.xtc")
        both = (tmp_path / "one.xtc").read_bytes() + (tmp_path / "two.xtc").read_bytes()
        (tmp_path / "both.xtc").write_bytes(both)
        top = ("--top", tmp_path / "one.pdb")
        with pytest.raises(InputError, match=r"frame 8 is at 500 fs.*gfnode convert FILE NEW"):
            gfnode.load(tmp_path / "both.xtc", top=tmp_path / "one.pdb")
        said = call(tmp_path / "both.xtc", tmp_path / "b.npz", *top).stderr
        assert "goes back in time to an earlier frame (first in frame 8)" in said
        assert "2 frames written before it are left out" in said
        joined = gfnode.load(tmp_path / "b.npz")
        assert joined.times.tolist() == whole.times.tolist()
        expected = np.concatenate([whole.positions[:6], again.positions[6:]])
        np.testing.assert_allclose(joined.positions, expected, atol=0.006)

    def test_replicas_of_one_start_are_no_restart(self, parts):
        again = made(seed=1)
        again.positions[0] = made().positions[0]
        again[:17].save(parts / "p2.npz")
        said = call(parts / "p1.npz", parts / "p2.npz", parts / "b.npz", code=2).stderr
        assert "these are not parts of one series" in said

    def test_overlaps_are_refused(self, parts):
        made(seed=1)[5:17].save(parts / "p2.npz")
        said = call(parts / "p1.npz", parts / "p2.npz", parts / "b.npz", code=2).stderr
        assert "p2.npz begins at 500 fs, before" in said
        assert "ends at 700 fs" in said
        assert "--in-sequence" in said
        assert f"gfnode.load({str(parts / 'p1.npz')!r}, …)[:5].save(…)" in said
        other = made(seed=1)[7:17]  # another frame at the same time
        other.save(parts / "p2.npz")
        call(parts / "p1.npz", parts / "p2.npz", parts / "b.npz", code=2)
        assert not (parts / "b.npz").exists()

    def test_gaps_are_noted(self, parts):
        said = call(parts / "p1.npz", parts / "p3.npz", parts / "b.npz").stderr
        assert "the last frame of p1.npz and the first of p3.npz are 1 ps apart" in said
        assert len(gfnode.load(parts / "b.npz")) == 15

    def test_other_atoms(self, parts):
        made()[8:17].select(range(10)).save(parts / "p2.npz")
        said = call(parts / "p1.npz", parts / "p2.npz", parts / "b.npz", code=2).stderr
        assert "has different atoms from" in said
        assert "(10 and 11)" in said

    def test_in_sequence(self, parts):
        """Formats without times: each begins a step after the one before."""
        for i, piece in enumerate((made()[:8], made()[8:17], made()[17:])):
            piece.save(parts / f"s{i}.dcd")
        names = [parts / f"s{i}.dcd" for i in range(3)]
        given = ("--top", parts / "s0.pdb", "--step", "100fs")
        call(*names, parts / "b.npz", *given, code=2)
        call(*names, parts / "b.npz", *given, "--in-sequence")
        joined = gfnode.load(parts / "b.npz")
        np.testing.assert_array_equal(joined.times, made().times)
        np.testing.assert_allclose(joined.positions, made().positions, rtol=0, atol=1e-6)

    def test_in_sequence_goes_on_at_the_spacing_of_the_frames(self, parts):
        """A file of thinned frames may name the step that the series once had."""
        series = made()
        for name, piece in (("t0", series[0:12:4]), ("t1", series[12:24:4])):
            replace(piece, time_step=5.0).save(parts / f"{name}.npz")
        call(parts / "t0.npz", parts / "t1.npz", parts / "b.npz", "--in-sequence")
        np.testing.assert_array_equal(gfnode.load(parts / "b.npz").times, 400.0 * np.arange(6))

    def test_in_sequence_single_frames_are_a_step_apart(self, parts):
        for number in (0, 5):
            replace(made()[number], time_step=100.0).save(parts / f"f{number}.npz")
        call(parts / "f0.npz", parts / "f5.npz", parts / "b.npz", "--in-sequence")
        np.testing.assert_array_equal(gfnode.load(parts / "b.npz").times, [0.0, 100.0])

    def test_what_only_some_hold_is_left_out(self, parts):
        sizes = np.ones((9, made().n_atoms))
        replace(made()[8:17], velocities=None, cell=None, deviations=sizes).save(parts / "p2.npz")
        said = call(*(parts / f"p{i}.npz" for i in "123"), parts / "b.npz").stderr
        assert "velocities are left out: only some of the files hold them" in said
        assert "the periodic cell is left out: only some of the files hold one" in said
        assert "standard deviations are left out: only some of the files hold them" in said
        assert gfnode.load(parts / "b.npz").velocities is None

    def test_a_frame_that_a_restart_wrote_twice_is_taken_once(self, tmp_path):
        whole = made(velocities=False)
        whole[:9].save(tmp_path / "one.xtc")
        whole[8:].save(tmp_path / "two.xtc")
        made()[:1].save(tmp_path / "top.pdb")
        both = (tmp_path / "one.xtc").read_bytes() + (tmp_path / "two.xtc").read_bytes()
        (tmp_path / "both.xtc").write_bytes(both)
        top = ("--top", tmp_path / "top.pdb")
        with pytest.raises(InputError, match=r"frame 9 is at 800 fs.*gfnode convert FILE NEW"):
            gfnode.load(tmp_path / "both.xtc", top=tmp_path / "top.pdb")
        said = call(tmp_path / "both.xtc", tmp_path / "b.npz", *top).stderr
        assert "a frame repeats the one before and is read once (the first is frame 9)" in said
        assert gfnode.load(tmp_path / "b.npz").times.tolist() == whole.times.tolist()
        # another conformation at the same time is no repeat
        made(velocities=False, seed=1)[8:].save(tmp_path / "two.xtc")
        both = (tmp_path / "one.xtc").read_bytes() + (tmp_path / "two.xtc").read_bytes()
        (tmp_path / "both.xtc").write_bytes(both)
        error = call(tmp_path / "both.xtc", tmp_path / "c.npz", *top, code=2).stderr
        assert "repeated times: frame 9 is at 800 fs, the one before at 800 fs" in error
        assert "gfnode convert" not in error  # this is it
        assert "[:9].save(" in error
        call(tmp_path / "both.xtc", tmp_path / "c.npz", *top, "--step", "2fs")
        assert len(gfnode.load(tmp_path / "c.npz")) == 25

    def test_times_of_zero_are_told(self, tmp_path):
        stepless = made(velocities=False)
        with pytest.raises(InputError, match=r"all 24 frames are at 0 fs.*--step 2fs"):
            replace(stepless, times=np.zeros(24))

    def test_a_molecule_stays_continuous_between_files(self, tmp_path):
        """It leaves the box in the first file and is on the other side in the second."""
        times = 100.0 * np.arange(40)
        moving = made(times=times, frames=40, velocities=False)
        drift = np.array([0.9, 0.0, 0.0]) * np.arange(40)[:, None, None]
        exact = replace(moving, positions=moving.positions + drift)
        stored = replace(exact, positions=exact.positions % np.array([20.0, 21, 22]))
        for i, part in enumerate((stored[:20], stored[20:])):
            part.save(tmp_path / f"{i}.npz")
        joined = load_joined([tmp_path / "1.npz", tmp_path / "0.npz"])
        x = joined.positions - joined.positions[0] + exact.positions[0]
        np.testing.assert_allclose(x, exact.positions, rtol=0, atol=1e-4)
        assert "(now undone)" in " ".join(joined.notes)

    def test_frames_in_random_order_are_not_joined(self, tmp_path):
        from fetched import rmd17_bytes

        for name in ("a", "b"):
            (tmp_path / f"{name}.npz").write_bytes(rmd17_bytes("C2H6O"))
        with pytest.raises(InputError, match=r"not in order of time|begins at"):
            load_joined([tmp_path / "a.npz", tmp_path / "b.npz"])
        assert len(load_joined([tmp_path / "a.npz"])) == 12


def test_larger_than_memory(folder, tmp_path, monkeypatch):
    """Arrays lie on disk, and pieces are written one by one."""
    monkeypatch.setenv("GFNODE_MEMORY", "1kB")
    monkeypatch.setattr("gfnode.convert.BLOCK", 5 * 3 * ATOMS)
    monkeypatch.setattr("gfnode.readers.source.BLOCK", 5 * 3 * ATOMS)
    call(folder / "a.npz", tmp_path / "b.npz", "--align", "all")
    monkeypatch.undo()
    aligned = Aligner(made(), np.arange(ATOMS))(made())
    again = gfnode.load(tmp_path / "b.npz", whole=False)
    np.testing.assert_allclose(again.positions, aligned.positions, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(again.times, made().times)


def test_precision(folder, tmp_path):
    call(folder / "a.npz", tmp_path / "b.npz", "--precision", 0.01)
    again = gfnode.load(tmp_path / "b.npz", whole=False)
    np.testing.assert_allclose(again.positions, made().positions, rtol=0, atol=0.0051)
    assert (
        "only .npz files"
        in call(folder / "a.npz", tmp_path / "b.xtc", "--precision", 0.01, code=2).stderr
    )
    for precision in ("3", "0.11", "0", "-1", "nan", "inf"):
        said = call(folder / "a.npz", tmp_path / "c.npz", "--precision", precision, code=2).stderr
        assert "at most 0.1 Å; 1e-4 is usual" in said
        with pytest.raises(InputError, match=r"above zero and at most 0\.1 Å"):
            gfnode.save(made(), tmp_path / "c.npz", precision=float(precision))
    assert not (tmp_path / "c.npz").exists()


def test_help_shows_examples():
    said = CliRunner().invoke(app, ["convert", "--help"]).output
    assert "gfnode convert part1.xtc part2.xtc all.xtc" in said


def test_frames_written_twice_are_compared_in_one_go():
    """A file is opened anew for each read: thousands of frames would take minutes."""
    rng = np.random.default_rng(0)
    x, rows = rng.normal(size=(300, 4, 3)).astype(np.float32), np.repeat(np.arange(300), 2)
    read, reads = in_memory(x[rows]), []

    def counted(chosen):
        reads.append(len(chosen))
        return read(chosen)

    source = Source(np.full(4, 6), 2.0 * rows, counted)
    once = _once(_Part(Path("twice.xtc"), source))
    assert len(reads) == 1
    assert np.array_equal(once.times, 2.0 * np.arange(300))
    (block,) = once.source.blocks(np.arange(300))
    assert np.array_equal(block.positions, x)
    assert "300 frames repeat the one before and are read once" in once.source.notes[0]
