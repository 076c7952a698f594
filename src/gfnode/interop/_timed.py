"""A reader for MDAnalysis; imported only where MDAnalysis is."""

from typing import Any

from MDAnalysis.coordinates.memory import MemoryReader
from numpy.typing import NDArray


class TimedMemoryReader(MemoryReader):  # type: ignore[misc] # it is not typed
    """Frames in memory, each with a time of its own; MDAnalysis' reader knows even steps only.

    Parameters
    ----------
    times
        ``(frame,)`` in ps.
    """

    def __init__(self, coordinate_array: NDArray[Any], *, times: NDArray[Any], **options: Any):
        self._times = times
        super().__init__(coordinate_array, **options)
        self._kwargs["times"] = times  # which copies are made with

    def _read_next_timestep(self, ts: Any = None) -> Any:
        ts = super()._read_next_timestep(ts)
        ts.time = float(self._times[ts.frame])
        return ts
