"""The data of a run: described, found again, recognised."""

import pytest

from gfnode import readers
from gfnode.errors import InputError
from gfnode.experiment.provenance import Provenance
from gfnode.readers import Reader
from making import wiggle


def test_data_is_described(tmp_path):
    path = wiggle(50).save(tmp_path / "w.npz")
    facts = Provenance.describe([wiggle(50), wiggle(60)], [str(path), ""], Reader())
    assert facts[0]["file"] == str(path.resolve())
    assert facts[1]["file"] == ""
    assert facts[0]["fingerprint"] == readers.load(path).fingerprint
    assert (facts[1]["frames"], facts[1]["atoms"], facts[1]["formula"]) == (60, 3, "H2O")
    assert facts[0]["span_fs"] == 49 * 5.0


def test_trajectories_are_put_into_the_order_of_training():
    first, second, other = (wiggle(50, seed=k) for k in range(3))
    known = Provenance(Provenance.describe([first, second], ["", ""], Reader()))
    assert known.arrange([second, first]) == [first, second]
    for strangers in ([first], [first, other], [first, second, other], [first, first]):
        assert known.arrange(strangers) is None
    assert known.holds(second)
    assert not known.holds(other)


def test_files_are_read_again_and_checked(tmp_path):
    path = wiggle(50).save(tmp_path / "w.npz")
    known = Provenance(Provenance.describe([readers.load(path)], [str(path)], Reader()))
    assert known.find("runs/w")[0].fingerprint == readers.load(path).fingerprint
    wiggle(51).save(path)
    with pytest.raises(InputError, match=r"w.npz no longer holds the data this run was trained on"):
        known.find("runs/w")
    in_memory = Provenance(Provenance.describe([wiggle(50)], [""], Reader()))
    with pytest.raises(InputError, match=r"runs/w was trained on data in memory"):
        in_memory.find("runs/w")


def test_files_of_the_same_format_are_read_as_in_training():
    known = Provenance(Provenance.describe([wiggle(50)], ["a.xtc"], Reader(top="m.pdb", stride=2)))
    assert known.reader("b.xtc").options() == known.as_trained.options()
    assert known.reader("b.xtc", Reader(stride=3)).stride == 3
    assert known.reader("b.xtc.gz").options() == known.as_trained.options()
    assert known.reader("b.npz") == Reader()
