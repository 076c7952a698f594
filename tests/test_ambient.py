"""What a program has set for PyTorch and NumPy: it changes nothing here, and stays as it was."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import gfnode
from gfnode.ambient import seeded, usual
from gfnode.ase import Propagator
from gfnode.weights import load_tensors
from making import QUICK, quick_run, wiggle


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("made")
    return quick_run(wiggle().save(made / "wiggle.npz"), made / "run").folder


@contextmanager
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


PLACES = {
    "float64": float64,
    "device": lambda: torch.device("meta"),  # as a GPU would be
    "inference": torch.inference_mode,
    "no-grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu"),
    "numpy": lambda: np.errstate(all="raise"),
}


def everything(run, out):
    """Numbers of all that a program asks for."""
    start = wiggle()[7:9]
    found = [run.predict(start, ["20fs", "50fs"]).positions]
    found.append(run.evaluate(save=False).errors["gfnode"])
    rolled = run.rollout(start, "100fs", out / "rolled.npz").path
    found.append(gfnode.load(rolled).positions)
    found += [frame.positions for frame in Propagator(start[0].to_ase()[0], run, "20fs", steps=2)]
    dataset = gfnode.WindowDataset(wiggle(), changes={"windows": QUICK["windows"]})
    dataset.set_epoch(2)
    found += [dataset[3]["targets"].numpy()]
    trained = gfnode.fit(wiggle(), changes=QUICK, out=out / "run", progress=False)
    found += [x.numpy() for x in load_tensors(trained.folder / "weights.safetensors")[0].values()]
    return found


@pytest.mark.parametrize("place", PLACES)
def test_the_surroundings_change_no_number(folder, tmp_path, place):
    expected = everything(gfnode.Run.open(folder), tmp_path)
    (tmp_path / "other").mkdir()
    with PLACES[place]():
        before = torch.get_default_dtype(), torch.is_grad_enabled(), np.geterr()
        found = everything(gfnode.Run.open(folder), tmp_path / "other")
        assert before == (torch.get_default_dtype(), torch.is_grad_enabled(), np.geterr())
    for one, other in zip(expected, found, strict=True):
        assert np.array_equal(one, other)


def test_a_model_of_one_s_own_keeps_its_surroundings(tmp_path):
    seen = []

    def still(x, v, lags):
        seen.append(torch.get_default_dtype())
        return x[:, None].expand(-1, lags.shape[1], -1, -1)

    with float64():
        dataset = gfnode.WindowDataset(wiggle(), "test", changes={"windows": QUICK["windows"]})
        dataset.compare(still)
    assert set(seen) == {torch.float64}


def test_threads_share_the_surroundings(folder):
    start = wiggle()[7:9]
    lags = [5.0 * k for k in range(1, 13)]
    expected = [gfnode.Run.open(folder).predict(start, [lag]).positions for lag in lags]
    with float64(), ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda x: gfnode.Run.open(folder).predict(start, [x]), lags))
        assert torch.get_default_dtype() == torch.float64
    for one, other in zip(expected, found, strict=True):
        assert np.array_equal(one, other.positions)


def test_random_numbers_of_the_program_go_on(folder, tmp_path):
    def drawn():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()  # noqa: NPY002

    def seed():
        torch.manual_seed(7)
        np.random.seed(7)  # noqa: NPY002
        random.seed(7)

    seed()
    expected = drawn()
    seed()
    everything(gfnode.Run.open(folder), tmp_path)
    assert drawn() == expected


def test_what_is_drawn_inside_is_that_of_the_seed():
    with seeded(3):
        first = torch.rand(3)
    with seeded(3):
        assert torch.equal(torch.rand(3), first)


def test_the_surroundings_come_back_after_an_error():
    with float64(), torch.no_grad():
        with pytest.raises(ZeroDivisionError), usual():
            _ = 1 / (not torch.is_grad_enabled() or torch.get_default_dtype() != torch.float32)
        assert torch.get_default_dtype() == torch.float64
        assert not torch.is_grad_enabled()
