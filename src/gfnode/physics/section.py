"""Result of one measure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRUE, CONSTANT, FLOOR = "true", "constant", "floor"
"""Names next to those of models: the truth, and the two references."""


@dataclass(frozen=True, eq=False)
class Section:
    """Numbers of one kind, and the curves and densities behind them.

    Parameters
    ----------
    numbers
        For JSON: numbers, text, lists and dictionaries; a key names its unit where it has one.
    arrays
        By name, for ``physics.npz``.
    """

    numbers: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


def estimate_rows(estimates: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Value, low, high, ``(row, 3)``."""
    return np.array([[each[k] for k in ("value", "low", "high")] for each in estimates])
