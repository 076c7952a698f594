"""Windows as a PyTorch dataset: the same windows as in training, in batches and workers."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

import gfnode
from gfnode.datasets import WindowDataset
from gfnode.errors import InputError
from gfnode.experiment import configure, prepare
from gfnode.readers import Reader
from gfnode.windows import Batch
from making import wiggle

CHANGES = {
    "windows": {"horizon": 60.0, "times": 3, "most": [70, 20, 40], "state": [0, 2], "score": [0]}
}
KEYS = ("positions", "velocities", "lags", "targets")


@pytest.fixture(scope="module")
def trajectory():
    return wiggle()


@pytest.fixture
def data(trajectory):
    return WindowDataset(trajectory, changes=CHANGES)


def same(batch, other):
    for key in KEYS:
        one, two = (
            each[key] if isinstance(each, dict) else getattr(each, key) for each in (batch, other)
        )
        assert torch.equal(one, two), key


def test_an_item_is_a_window_of_the_trajectory(data, trajectory):
    item = data[5]
    assert {key: tuple(value.shape) for key, value in item.items()} == {
        "positions": (2, 3),
        "velocities": (2, 3),
        "lags": (3,),
        "targets": (3, 2, 3),
    }
    start = int(data.windows.starts[5])
    assert np.array_equal(item["positions"], trajectory.positions[start][[0, 2]])
    assert np.array_equal(item["velocities"], trajectory.velocities[start][[0, 2]])
    frames = start + np.round(item["lags"].numpy() / 5.0).astype(int)
    assert np.array_equal(item["targets"], trajectory.positions[frames][:, [0, 2]])
    assert np.allclose(data.lags[5], item["lags"])


def test_the_windows_are_those_of_gfnode(trajectory):
    parts = prepare([trajectory], configure("default", CHANGES)).parts
    test = WindowDataset(trajectory, "test", changes=CHANGES)
    assert len(test) == len(parts["test"]) == 40
    same(test[:], parts["test"].select([0, 2]).batch(slice(None)))
    assert [len(test.part(name)) for name in ("train", "validation")] == [70, 20]
    assert test.part("train").windows.frames is test.windows.frames  # not copied
    assert test.system.numbers.tolist() == [8, 1]
    assert test.system.bonds.tolist() == [[0, 1]]
    assert test.system.horizon == 60.0


def test_files_and_readers(tmp_path, trajectory):
    path = trajectory.save(tmp_path / "w.npz")
    reader = Reader(stride=2)
    found = gfnode.WindowDataset(path, changes=CHANGES, reader=reader)
    assert found.system.time_step == 10.0
    several = WindowDataset([path, trajectory], changes=CHANGES)
    assert set(several.windows.frames.segments) == {0, 1}


def test_many_are_gathered_at_once(data):
    index = [3, -1, 5]
    some = data[index]
    assert some["targets"].shape == (3, 3, 2, 3)
    for number, window in enumerate(index):
        same({key: some[key][number] for key in KEYS}, data[window])
    same(some, data[torch.tensor(index)])
    same(data[3:9:2], data[[3, 5, 7]])
    same(data[np.int64(4)], data[4])
    assert isinstance(data.batch([1, 2]), Batch)
    assert len(data.__getitems__([1, 2])) == 2


@pytest.mark.parametrize("index", [70, -71, [3, 70]])
def test_a_window_that_is_not_there(data, index):
    with pytest.raises(IndexError, match="numbered 0 to 69"):
        data[index]


def test_it_can_be_gone_through(data):
    assert len(list(data)) == 70  # ends by IndexError


@pytest.mark.parametrize("collate", [None, WindowDataset.collate])
def test_a_loader_gives_every_window_once(data, collate):
    loader = DataLoader(data, batch_size=16, collate_fn=collate)
    batches = list(loader)
    assert len(batches) == 5
    assert isinstance(batches[0], dict if collate is None else Batch)
    one = {
        key: torch.cat([b[key] if collate is None else getattr(b, key) for b in batches])
        for key in KEYS
    }
    same(one, data[:])


def test_a_batch_sampler_gathers_a_batch_in_one_go(data):
    sampler = BatchSampler(RandomSampler(data), 32, drop_last=False)
    sizes = [len(batch["lags"]) for batch in DataLoader(data, sampler=sampler, batch_size=None)]
    assert sizes == [32, 32, 6]


def test_lags_are_drawn_as_in_training(data, trajectory):
    first = data.lags.clone()
    data.set_epoch(3)
    expected = prepare([trajectory], configure("default", CHANGES)).parts["train"]
    assert torch.equal(data.lags, expected.redraw(60.0, [0, 3]).lags)
    third = data.lags.clone()
    assert not torch.equal(first, third)
    data.set_epoch(4)
    assert not torch.equal(data.lags, third)
    data.set_epoch(3)
    assert torch.equal(data.lags, third)
    assert (data.lags > 0).all()
    assert (data.lags <= 60.0).all()
    test = data.part("test")
    kept = test.lags.clone()
    test.set_epoch(3)
    assert torch.equal(test.lags, kept)


def test_lags_that_are_drawn_once_stay(trajectory):
    changes = {"windows": CHANGES["windows"] | {"lags": "irregular"}}
    data = WindowDataset(trajectory, changes=changes)
    kept = data.lags.clone()
    data.set_epoch(3)
    assert torch.equal(data.lags, kept)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_see_the_lags_of_the_epoch(data):
    """A process that lives on from epoch to epoch."""
    loader = DataLoader(
        data,
        batch_size=16,
        num_workers=1,
        persistent_workers=True,
        multiprocessing_context="fork",
    )
    for epoch in (0, 1):
        data.set_epoch(epoch)
        found = torch.cat([batch["lags"] for batch in loader])
        assert torch.equal(found, data.lags.float())


def test_a_model_of_ones_own_beside_the_baselines(data, trajectory, tmp_path):
    """Persistence under another name has the errors of persistence, and is as good as it."""
    test = data.part("test")

    class Still(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))
            self.drop = nn.Dropout(0.5)  # off while it is judged
            self.frozen = nn.Dropout(0.5).eval()

        def forward(self, positions, velocities, lags):
            return self.drop(positions + self.weight)[:, None].expand(-1, lags.shape[1], -1, -1)

    model = Still()
    found = test.compare(model, "still")
    # as it was
    assert [part.training for part in (model, model.drop, model.frozen)] == [True, True, False]
    assert found.errors["still"] == pytest.approx(found.errors["persistence"])
    assert found.verdict("persistence").ratio.value == pytest.approx(1.0)
    run = gfnode.fit(
        trajectory,
        changes=CHANGES | {"model": {"name": "persistence"}},
        out=tmp_path / "run",
        progress=False,
    )
    for name, errors in run.evaluate().errors.items():
        assert errors == pytest.approx(found.errors[name]), name
    better = test.compare(lambda x, v, lags: x[:, None] + 0.0 * lags[..., None, None])
    assert better.model == "own model"


@pytest.mark.parametrize(
    ("predict", "said"),
    [
        (lambda x, v, lags: x, r"predicted \(40, 2, 3\) .* expected .* \(40, 3, 2, 3\)"),
        (lambda x, v, lags: None, "predicted NoneType"),
    ],
)
def test_predictions_of_another_shape_are_refused(data, predict, said):
    with pytest.raises(InputError, match=said):
        data.part("test").compare(predict)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_predictions_that_are_not_finite_are_named(data, value):
    """The verdict alone said that the model is worse, and not why."""

    def predict(positions, velocities, lags):
        found = positions[:, None].expand(-1, lags.shape[1], -1, -1).clone()
        found[3:4, 1:2, 0, 2] = found[5:6, :, 0] = value
        found[:, :, 1] = value  # of an atom that is not scored: it does not count
        return found

    test = data.part("test")
    lag, start = test.lags[3, 1], test.windows.frames.times[test.windows.starts[3]]
    said = (
        "own model: 4 of 120 predictions (windows × lags) are not finite, the first of them "
        f"{lag:.0f} fs after the start at {start / 1000:g} ps; their errors count as infinite, so "
        "the verdicts call it worse. Look for an overflow or a division by zero in the model"
    )
    with pytest.warns(UserWarning, match="own model: ") as caught:
        found = test.compare(predict)
    assert [str(each.message) for each in caught] == [said]
    assert found.verdict("persistence").verdict == "worse"


def test_what_makes_no_sense_is_refused(data, trajectory):
    for make in (lambda: WindowDataset(trajectory, "training"), lambda: data.part("all")):
        with pytest.raises(InputError, match="expected train, validation, test"):
            make()
    with pytest.raises(InputError, match="name of a baseline"):
        data.compare(lambda *_: None, "persistence")
    with pytest.raises(InputError, match=r"did you mean 'windows.horizon'"):
        WindowDataset(trajectory, changes={"windows.horizn": 3})
    with pytest.raises(InputError, match="no data"):
        WindowDataset([])


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_numbers_of_any_type_choose_windows(data, kind):
    index = np.array([0, 3, 69], kind)
    same(data[index], data[[0, 3, 69]])
    same(data[index[1:2]], data[[3]])
    same(data[torch.from_numpy(index)], data[[0, 3, 69]])
    if kind.startswith("i"):
        same(data[np.array([-1, -70], kind)], data[[69, 0]])


def test_masks_choose_windows(data):
    mask = np.arange(len(data)) % 7 == 3
    chosen = np.flatnonzero(mask).tolist()
    for given in (mask, mask.tolist(), torch.from_numpy(mask)):
        same(data[given], data[chosen])
    assert len(data[[]]["lags"]) == 0


@pytest.mark.parametrize(
    "wrong", [1.5, [0.5], "1", None, True, [True, False], [[0, 1]], np.ones(3)]
)
def test_what_chooses_no_windows_is_refused(data, wrong):
    with pytest.raises(InputError, match=r"windows are chosen by whole numbers|selects no windows"):
        data[wrong]


@pytest.mark.parametrize("epoch", [-1, 1.5, "1", None])
def test_epochs_are_whole_numbers(data, epoch):
    with pytest.raises(InputError, match=r"epoch is .*, expected a whole number from 0"):
        data.set_epoch(epoch)
