from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms, units

from gfnode.errors import InputError
from gfnode.trajectory import Topology, Trajectory
from gfnode.trajectory.formula import formula_of
from gfnode.units import BOLTZMANN


def make(frames=5, atoms=3, **changes):
    rng = np.random.default_rng(0)
    values = {
        "positions": rng.normal(size=(frames, atoms, 3)),
        "times": np.arange(frames) * 0.5,
        "numbers": np.array([8, 1, 1, 6, 6, 7])[:atoms],
        "name": "water",
        "source": "runs/water.npz",
    }
    return Trajectory(**values | changes)


WATER = Topology(("O", "H1", "H2"), ("HOH",) * 3, (7,) * 3, np.array([[0, 1], [0, 2]]))


def test_bonds_may_be_lists():
    part = make(topology=replace(WATER, bonds=[(0, 1), (0, 2)])).select([0, 2])
    assert part.topology.bonds.tolist() == [[0, 1]]
    assert replace(WATER, bonds=[]).bonds.shape == (0, 2)
    assert replace(WATER, bonds=torch.tensor([[0.0, 1.0]])).bonds.dtype == np.int64
    with pytest.raises(InputError, match="topology: bonds holds fractions, expected whole numbers"):
        replace(WATER, bonds=[[0.5, 1]])


def test_arrays_have_one_type():
    trajectory = make(numbers=np.array([8, 1, 1], dtype=np.uint8), velocities=np.zeros((5, 3, 3)))
    assert trajectory.positions.dtype == trajectory.velocities.dtype == np.float32
    assert trajectory.times.dtype == np.float64
    assert trajectory.numbers.dtype == np.int64
    assert all(each.flags.c_contiguous for each in (trajectory.positions, trajectory.numbers))


BROKEN = np.zeros((5, 3, 3))
BROKEN[2, 1, 0] = np.nan
HUGE = np.full((5, 3, 3), 1e300)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": np.zeros((5, 4, 3))}, r"positions has shape \(5, 4, 3\), expected \(5, 3"),
        ({"positions": np.zeros((5, 9))}, r"positions has shape \(5, 9\)"),
        ({"velocities": np.zeros((4, 3, 3))}, "velocities has shape"),
        ({"cell": np.zeros((5, 3))}, "cell has shape"),
        ({"times": np.zeros((5, 1))}, "times has shape"),
        ({"positions": BROKEN}, "positions are not finite at frame 2, atom 1"),
        ({"positions": HUGE}, "positions are not finite at frame 0, atom 0"),
        ({"velocities": BROKEN}, "velocities are not finite at frame 2"),
        ({"times": [0, 1, np.nan, 3, 4]}, "time of frame 2 is not finite"),
        ({"times": [0, 1, 1, 2, 3]}, "repeated times: frame 2 is at 1 fs"),
        (
            {"times": 1e3 * (5e4 + 2e-3 * np.arange(5)).astype(np.float32).astype(float)},
            "frames 1 and 2 are both at 50 ns: XTC, .* only to 3.9 fs, too coarse .* --step",
        ),
        ({"times": 1e8 + np.array([0, 1e3, 1e3, 2e3, 3e3])}, "repeated times: frame 2"),
        ({"times": [0, 1, 3, 2, 4]}, "unsorted times: frame 3 is at 2 fs, the one before at 3 fs"),
        ({"times": [5, 5, 4, 3, 2]}, "repeated times: frame 1 is at 5 fs"),
        ({"numbers": [8, 0, 1]}, r"unknown element: atomic number 0, .* \(atom 1\)"),
        ({"numbers": [8, 1, 119]}, "unknown element: atomic number 119"),
        ({"numbers": [8, 1, 1.5]}, "numbers holds fractions"),
        ({"numbers": [8, 1, np.nan]}, "numbers holds fractions"),
        ({"numbers": ["O", "H", "H"]}, "numbers holds <U1 values, expected numbers"),
        ({"positions": np.full((5, 3, 3), None)}, "positions holds object values"),
        ({"positions": [[[0.0] * 3] * 3, [[0.0] * 3]]}, "positions cannot be read as an array"),
        ({"positions": np.ma.masked_less(np.zeros((5, 3, 3)), 1)}, "positions has masked values"),
        ({"positions": torch.zeros(5, 3, 3, device="meta")}, "positions cannot be read as an arr"),
        ({"topology": "water.pdb"}, "topology is a str, expected a gfnode.Topology"),
        ({"topology": WATER.select(np.array([0, 1]))}, "topology has 2 names, expected 3"),
        ({"topology": replace(WATER, bonds=np.array([[0, 3]]))}, "bonds must be pairs of atoms"),
        ({"topology": replace(WATER, bonds=[0, 1])}, "bonds must be pairs of atoms"),
    ],
)
def test_bad_values_are_named(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        make(**changes)
    if "holds" not in message or "masked" in message:
        assert "runs/water.npz" in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_tensors_are_taken_as_they_are(dtype):
    positions = torch.linspace(0, 1, 45).reshape(5, 3, 3).to(dtype).requires_grad_()
    taken = make(positions=positions, numbers=torch.tensor([8, 1, 1])).positions
    np.testing.assert_array_equal(taken, positions.detach().float().numpy())


def test_time_steps_are_read_and_checked():
    assert make(time_step="0.25fs").step == make(time_step=0.25).step == 0.25
    for wrong in (0, -1.0, np.nan, "fast"):
        with pytest.raises(InputError, match=r"time step is|cannot read the time"):
            make(time_step=wrong)


def test_empty():
    with pytest.raises(InputError, match="empty: 0 frames of 3 atoms"):
        make(frames=0)
    with pytest.raises(InputError, match="empty: 5 frames of 0 atoms"):
        make(atoms=0)


def test_slices_are_trajectories():
    whole = make(velocities=np.ones((5, 3, 3)), cell=np.tile(np.eye(3), (5, 1, 1)), topology=WATER)
    part = whole[1:4]
    np.testing.assert_array_equal(part.positions, whole.positions[1:4])
    np.testing.assert_array_equal(part.times, [0.5, 1.0, 1.5])
    assert part.velocities.shape == part.cell.shape == (3, 3, 3)
    assert part.topology is WATER
    assert len(whole[2]) == len(whole[-1]) == 1
    assert whole[-1].times[0] == 2.0
    for number in (np.int32(3), np.array(3), torch.tensor(3)):
        assert whole[number].times.tolist() == [1.5]
    np.testing.assert_array_equal(whole[[0, 3]].times, [0, 1.5])
    np.testing.assert_array_equal(whole[whole.times > 0.7].times, [1.0, 1.5, 2.0])
    assert [frame.times[0] for frame in whole] == whole.times.tolist()


def test_slices_that_are_no_trajectory():
    with pytest.raises(InputError, match="water has no frame 5: expected 0 to 4"):
        make()[5]
    for wrong in ([99], 1.5, "a", None, np.float64(1), slice(0, 4, 0), (slice(2), 1)):
        with pytest.raises(InputError, match="water has 5 frames and cannot select these"):
            make()[wrong]
    with pytest.raises(InputError, match="unsorted"):
        make()[::-1]
    with pytest.raises(InputError, match="empty"):
        make()[3:3]


def test_select_keeps_order_and_bonds():
    part = make(topology=WATER, velocities=np.ones((5, 3, 3))).select([2, 0])
    assert part.numbers.tolist() == [1, 8]
    assert part.topology.names == ("H2", "O")
    assert part.topology.bonds.tolist() == [[0, 1]]
    np.testing.assert_array_equal(part.positions, make().positions[:, [2, 0]])
    assert part.velocities.shape == (5, 2, 3)
    for atoms in ([], [3], [-1]):
        with pytest.raises(InputError, match=r"expected (indices from 0 to 2|all, heavy)"):
            make().select(atoms)


def test_spacing_and_step():
    even = make()
    assert (even.spacing, even.step) == (0.5, 0.5)
    assert (even[::2].spacing, even[::2].step) == (1.0, 1.0), "thinned evenly, as in a file"
    assert even[[0, 1, 4]].step == even[2].step == 0.5, "the step of the original series"
    uneven = make(times=[0, 1, 3, 4, 10])
    assert (uneven.spacing, uneven.step) == (None, 1.0)
    assert make(times=[0, 1, 3, 4, 10], time_step=0.5).step == 0.5
    assert (even[0].spacing, make(frames=1).step) == (None, None)


def test_repr_says_what_it_is():
    assert repr(make()) == "Trajectory(water: 5 frames of 3 atoms H2O, every 0.5 fs, 2 fs)"
    assert "unevenly spaced, 10 fs" in repr(make(times=[0, 1, 3, 4, 10]))
    assert repr(make()[2]) == "Trajectory(water: 1 frame of 3 atoms H2O at 1 fs)"
    assert make(name="").label == "water"
    assert make(name="", source="").label == "trajectory"


def test_fingerprint_follows_the_data():
    base = make()
    assert base.fingerprint == make(name="other", source="elsewhere").fingerprint
    moved = base.positions.copy()
    moved[4, 2, 2] = np.nextafter(moved[4, 2, 2], 9)
    others = [
        make(positions=moved),
        make(times=base.times + 0.1),
        make(numbers=[8, 1, 2]),
        make(velocities=np.zeros((5, 3, 3))),
        base[:4],
    ]
    assert len({base.fingerprint, *(each.fingerprint for each in others)}) == 6


def test_temperature_against_ase():
    velocities = np.random.default_rng(1).normal(size=(1, 3, 3)) * 0.01
    trajectory = make(frames=1, velocities=velocities)
    atoms = Atoms(trajectory.numbers, trajectory.positions[0])
    atoms.set_velocities(velocities[0] / units.fs)
    assert trajectory.temperature() == pytest.approx(atoms.get_temperature(), rel=1e-4)
    assert make().temperature() is None
    assert pytest.approx(units.kB * units.fs**2, rel=1e-4) == BOLTZMANN


def test_chemistry():
    trajectory = make(atoms=6)
    assert trajectory.symbols == ("O", "H", "H", "C", "C", "N")
    assert trajectory.formula == "C2H2NO"
    np.testing.assert_allclose(trajectory.masses[:2], [15.999, 1.008])
    assert trajectory.n_atoms == 6


@pytest.mark.parametrize(
    ("numbers", "formula"),
    [
        ([1, 1, 8], "H2O"),
        ([1, 1, 1, 1, 1, 1, 5, 5], "B2H6"),
        ([17, 1], "ClH"),
        ([8, 6, 1, 1, 5], "CH2BO"),
        ([35, 6, 6], "C2Br"),
    ],
)
def test_formulas_are_in_the_order_of_hill(numbers, formula):
    """E. A. Hill, J. Am. Chem. Soc. 22, 478 (1900)."""
    assert formula_of(np.array(numbers)) == formula


def test_a_mask_selects_atoms():
    trajectory = make(atoms=6)
    heavy = trajectory.numbers > 1
    np.testing.assert_array_equal(
        trajectory.select(heavy).positions, trajectory.select("heavy").positions
    )
    assert trajectory.select(heavy.tolist()).n_atoms == 4
    for wrong in (heavy[:5], heavy & False):
        with pytest.raises(InputError, match="expected all, heavy"):
            trajectory.select(wrong)


def peptide() -> Topology:
    """Three residues of backbone N-CA(-CB)-C(-O), joined C-N: 15 atoms."""
    names = ("N", "CA", "CB", "C", "O") * 3
    inside = [(0, 1), (1, 2), (1, 3), (3, 4)]
    bonds = [(5 * r + i, 5 * r + j) for r in range(3) for i, j in inside] + [(3, 5), (8, 10)]
    ids = tuple(r for r in (1, 2, 3) for _ in range(5))
    return Topology(names, ("ALA",) * 15, ids, np.array(bonds))


@pytest.mark.parametrize(
    ("atoms", "expected"),
    [
        ([1, 6, 11], [[0, 1], [1, 2]]),  # Cα to Cα: through C and N, never past a Cα
        ([11, 6, 1], [[0, 1], [1, 2]]),
        ([1, 11], [[0, 1]]),  # five atoms between
        ([2, 12], []),  # seven atoms between
        ([2, 7], [[0, 1]]),
        ([0, 1, 3], [[0, 1], [1, 2]]),
        ([4, 9], [[0, 1]]),
    ],
)
def test_atoms_joined_through_those_left_out_stay_bonded(atoms, expected):
    assert peptide().select(np.array(atoms)).bonds.tolist() == expected
