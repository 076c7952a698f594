"""Words about a run, apart from its page."""

import pytest

from gfnode.report.described import training_in_words
from gfnode.report.tables import molecules


def test_a_molecule_whose_name_is_its_formula_is_named_once() -> None:
    plain = {"name": "C2H5NO2", "formula": "C2H5NO2"}
    toluene = {"name": "toluene", "formula": "C7H8"}
    assert molecules({"data": [plain, toluene, plain]}) == "C2H5NO2, toluene (C7H8)"


@pytest.mark.parametrize(
    ("best", "told"), [(0, "Kept: the weights before training."), (2, "Kept: epoch 2.")]
)
def test_weights_that_no_epoch_improved_are_not_called_an_epoch(best: int, told: str) -> None:
    keys = ("epoch", "train_error", "validation_error", "learning_rate")
    history = [dict(zip(keys, (epoch, 0.02, 0.01, 1e-3), strict=True)) for epoch in (1.0, 2.0)]
    assert told in training_in_words(history, best, "Å²")
