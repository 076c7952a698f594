"""Text alternatives of figures: what they show, in numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.report.loading import History
from gfnode.report.numbers import hundredths
from gfnode.report.summary import angstrom
from gfnode.units import format_time


def errors_in_words(methods: Mapping[str, Mapping[str, Any]], of: str = "") -> str:
    """First and last bin of every curve of error against lag."""
    words = [f"Error against lag{of}, mean squared error per coordinate in 10⁻² Å²."]
    for name, method in methods.items():
        edges = method["lag_edges_fs"]
        filled = [(high, each) for high, each in zip(edges[1:], method["by_lag"], strict=True)]
        filled = [(high, each["value"]) for high, each in filled if each["count"]]
        if filled:
            (first, begin), (last, end) = filled[0], filled[-1]
            words.append(
                f"{name}: {hundredths(begin)} at lags up to {format_time(first)}, "
                f"{hundredths(end)} at lags up to {format_time(last)}."
            )
    return " ".join(words)


def training_in_words(history: History, best: int | None, loss_unit: str) -> str:
    """First, last and least of the training curves."""
    words = ["Training by epoch."]
    validated = [
        (row["epoch"], row["validation_error"]) for row in history if row["validation_error"]
    ]
    if validated:
        words.append(
            f"Validation error from {hundredths(validated[0][1])} at epoch {validated[0][0]:.0f} "
            f"to {hundredths(validated[-1][1])} × 10⁻² Å² at epoch {validated[-1][0]:.0f}."
        )
    losses = [row["train_error"] for row in history if row["train_error"] is not None]
    if losses:
        ends = losses[0], losses[-1]
        if loss_unit == "Å²":
            low, high = map(hundredths, ends)
            words.append(f"Training error from {low} to {high} × 10⁻² Å².")
        else:
            unit = f" {loss_unit}" if loss_unit else ", which has no unit"
            words.append(f"Training loss from {ends[0]:.3g} to {ends[1]:.3g}{unit}.")
    if best is not None:
        words.append(f"Kept: epoch {best}." if best else "Kept: the weights before training.")
    rates = [row["learning_rate"] for row in history if row["learning_rate"] is not None]
    if rates:
        words.append(f"Learning rate from {rates[0]:.2g} to {rates[-1]:.2g}.")
    return " ".join(words)


def atoms_in_words(atom_errors: Mapping[str, NDArray[np.float64]], labels: Sequence[str]) -> str:
    """The atom predicted best and the one predicted worst, by each method."""
    words = ["Root-mean-square distance of each scored atom from its true position."]
    for name, errors in atom_errors.items():
        low, high = int(np.argmin(errors)), int(np.argmax(errors))
        words.append(
            f"{name}: from {angstrom(float(errors[low]))} ({labels[low]}) to "
            f"{angstrom(float(errors[high]))} ({labels[high]})."
        )
    return " ".join(words)
