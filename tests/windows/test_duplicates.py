"""Files that share frames put them into training and into the test: that is told."""

import gfnode
from gfnode.experiment import configure, prepare
from gfnode.windows.duplicates import duplicate_warnings


def test_parts_that_overlap_and_files_given_twice() -> None:
    whole = gfnode.load("sample:toluene")
    first, second = whole[:4000], whole[3500:]
    (said,) = duplicate_warnings([first, second])
    assert said.startswith("file 2 (toluene) begins with frame 3500 of file 1 (toluene): ")
    (turned,) = duplicate_warnings([second, first])
    assert turned.startswith("file 1 (toluene) begins with frame 3500 of file 2 (toluene): ")
    assert len(duplicate_warnings([first, first])) == 1
    assert len(duplicate_warnings([whole[::2], whole])) == 1  # a thinned copy
    assert not duplicate_warnings([whole])
    assert not duplicate_warnings([whole[:3000], whole[3000:]])
    experiment = configure("default", {"windows.horizon": "500fs", "windows.most": [20, 20, 20]})
    assert said in prepare([first, second], experiment).notes


def test_replicas_may_begin_alike() -> None:
    whole = gfnode.load("sample:toluene")
    other = whole[1000:2000]
    positions = other.positions.copy()
    positions[0] = whole.positions[0]
    replica = gfnode.Trajectory(positions, other.times, other.numbers)
    assert not duplicate_warnings([whole[:1000], replica])
    assert not duplicate_warnings([whole[:1000], whole[:1]])
