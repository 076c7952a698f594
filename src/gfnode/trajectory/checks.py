"""Arrays of trajectories: their types, and what is refused."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gfnode.errors import InputError
from gfnode.thinning import chunks
from gfnode.units import format_time

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


def check_finite(
    values: NDArray[Any],
    key: str,
    where: str,
    frames: Integers | None = None,
    atoms: Integers | None = None,
) -> None:
    """Raise InputError that names frame and atom of the first value that is not finite.

    ``frames`` and ``atoms`` number them where they are others than 0, 1, 2, …; large arrays are
    looked through in pieces.
    """
    for part in chunks(len(values), 2**22, values[:1].size):
        if not (finite := np.isfinite(values[part])).all():
            frame, atom, *_ = np.argwhere(~finite)[0]
            frame += part.start
            i = frame if frames is None else frames[frame]
            j = atom if atoms is None or key == "cell" else atoms[atom]
            what = "row" if key == "cell" else "atom"
            raise InputError(
                f"{where}{key} are not finite at frame {i}, {what} {j}: "
                f"{values[frame, atom]}; remove or repair that frame"
            )


def check_times(times: Doubles, where: str) -> None:
    """Raise InputError that names the frame unless times are finite and increase."""
    if times.ndim != 1:
        raise InputError(f"{where}times have shape {times.shape}, expected (frame,)")
    if not np.isfinite(times).all():
        frame = int(np.flatnonzero(~np.isfinite(times))[0])
        raise InputError(f"{where}the time of frame {frame} is not finite")
    if (steps := np.diff(times)).size and steps.min() <= 0:
        if not steps.any():
            raise InputError(
                f"{where}all {len(times)} frames are at {format_time(times[0])}; times must "
                "increase. Give the time between frames, e.g. --step 2fs (step='2fs' in Python)"
            )
        frame = int(np.argmax(steps <= 0)) + 1
        kind = "repeated" if steps[frame - 1] == 0 else "unsorted"
        do = "gfnode convert FILE NEW drops frames that a restart wrote twice"
        do = do if kind == "repeated" else f"Sort the frames; after a restart, {do}"
        coarse = 1e3 * float(np.spacing(np.float32(times[frame] / 1e3)))  # fs
        if kind == "repeated" and (steps[steps > 0] <= 1.5 * coarse).any():
            raise InputError(
                f"{where}frames {frame - 1} and {frame} are both at {format_time(times[frame])}: "
                f"XTC, TRR, NetCDF and HDF5 resolve times there only to {format_time(coarse, 2)}, "
                "too coarse for these frames. Give the time between them, e.g. --step 2fs "
                "(step='2fs' in Python)"
            )
        raise InputError(
            f"{where}{kind} times: frame {frame} is at {format_time(times[frame])}, the one "
            f"before at {format_time(times[frame - 1])}; times must increase. {do}; give separate "
            "runs as separate files"
        )


def check_masses(masses: Doubles, where: str) -> None:
    """Raise InputError that names the atom unless masses are finite and above zero."""
    wrong = np.flatnonzero(~(np.isfinite(masses) & (masses > 0)))
    if wrong.size:
        raise InputError(
            f"{where}the mass of atom {wrong[0]} is {masses[wrong[0]]:g} u, expected a mass above "
            "zero"
        )


def even_spacing(times: Doubles) -> float | None:
    """Time between frames where it is even (to one part in 1000), else None."""
    steps = np.diff(times)
    if not steps.size or np.ptp(steps) > 1e-3 * steps.mean():
        return None
    return float(steps.mean())


def step_of(times: Doubles, step: float | None) -> float | None:
    """Time step of frames picked from a series: their spacing if most have one, else ``step``.

    Frames drawn at random keep the step of the series; frames thinned evenly do not, even if they
    are of two replicas in a row.
    """
    steps = np.diff(times)
    if step is None or not steps.size:
        return step
    usual = float(np.median(steps))
    if (abs(steps - usual) > 1e-3 * usual).mean() >= 0.5 or abs(usual - step) <= 1e-3 * step:
        return step
    return even_spacing(times) or usual


def within(index: Integers, atoms: int) -> bool:
    """Whether all of ``index`` are numbers of ``atoms`` atoms."""
    return bool(index.min() >= 0 and index.max() < atoms)


def as_array(where: str, key: str, values: ArrayLike, dtype: type) -> NDArray[Any]:
    """Give ``values`` as a contiguous array of ``dtype``; InputError for what is not numbers."""
    try:
        if hasattr(values, "detach"):  # a tensor of PyTorch, wherever it lies
            tensor = values.detach().cpu()
            half = tensor.is_floating_point() and tensor.element_size() < 4
            values = tensor.float() if half else tensor  # NumPy has no bfloat16
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of unequal length, say
        said = str(error).splitlines()[0]
        raise InputError(f"{where}{key} cannot be read as an array of numbers: {said}") from error
    if np.ma.is_masked(values):
        raise InputError(f"{where}{key} has masked values, expected none; leave out these frames")
    if array.dtype == object or array.dtype.kind not in "fiub":
        raise InputError(f"{where}{key} holds {array.dtype} values, expected numbers")
    if dtype is np.int64 and array.dtype.kind == "f" and not (array == np.rint(array)).all():
        raise InputError(f"{where}{key} holds fractions, expected whole numbers")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf, which is refused
        return np.ascontiguousarray(array, dtype=dtype)
