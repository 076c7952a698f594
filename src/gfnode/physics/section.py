"""What one measure of physics found."""

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


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
