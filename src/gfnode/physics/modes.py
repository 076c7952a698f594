"""Time series of amplitudes in the modes of the molecular graph, as in Figure 4 of the paper."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gfnode.errors import InputError
from gfnode.experiment.held_out import held_out
from gfnode.fourier import Basis
from gfnode.geometry import center, kabsch_rotation
from gfnode.metrics.spectra import power_spectrum, spacing_of
from gfnode.thinning import chunks, evenly
from gfnode.trajectory import Doubles, Floats, Integers, Trajectory
from gfnode.windows import Windows, lags

if TYPE_CHECKING:
    from gfnode.run import Run

STEP = 4.0
"""Spacing in fs that resolves every vibration: its Nyquist frequency 1/(2 · 4 fs) is 4170 1/cm."""

CHUNK = 20_000
"""Frames that are superposed at once."""


def coefficients(positions: Tensor, middle: Tensor, vectors: Doubles) -> Tensor:
    """Amplitudes of the modes, X̃ = Uᵀ (X − middle), ``(..., mode, 3)`` in Å.

    Parameters
    ----------
    positions
        ``(..., atom, 3)`` in Å.
    middle
        Position that is subtracted first, ``(..., 1, 3)``: the centre of the start, or of each
        frame.
    vectors
        U, ``(atom, mode)``.
    """
    U = torch.as_tensor(vectors, dtype=positions.dtype, device=positions.device)
    return U.mT @ (positions - middle)


def on_reference(
    positions: NDArray[np.floating], reference: NDArray[np.floating], masses: Doubles
) -> Floats:
    """Superpose frames on a reference, by the optimal mass-weighted rotation, means at the origin.

    The internal motion remains: to first order without angular momentum, as in the Eckart frame.

    Parameters
    ----------
    positions
        ``(frame, atom, 3)`` in Å.
    reference
        ``(atom, 3)``, or one for each frame.
    masses
        ``(atom,)`` in u.
    """
    weights = torch.from_numpy(masses)
    found = np.empty(positions.shape, dtype=np.float32)
    target = torch.from_numpy(np.array(reference, dtype=np.float64))
    for part in chunks(len(positions), CHUNK):
        x = torch.from_numpy(np.array(positions[part], dtype=np.float64))
        onto = target[part] if target.ndim == 3 else target
        found[part] = ((x - center(x)) @ kabsch_rotation(x, onto, weights).mT).numpy()
    return found


def space_power(
    values: NDArray[np.floating], spaces: Integers, spacing_ps: float
) -> tuple[Doubles, Doubles]:
    """Temporal power spectrum of each eigenspace.

    Parameters
    ----------
    values
        Amplitudes ``(window, time, mode, 3)`` in Å.
    spaces
        Eigenspace of each mode, ``(mode,)``, ascending from 0.
    spacing_ps
        Between the times.

    Returns
    -------
    tuple
        Frequencies ``(frequency,)`` in 1/ps, and density ``(window, space, frequency)`` in Å² ps,
        summed over the modes of the eigenspace and the directions.
    """
    powers = []
    for space in range(int(spaces.max()) + 1):
        part = values[:, :, spaces == space]
        frequency, power = power_spectrum(part.reshape(*part.shape[:2], -1), spacing_ps)
        powers.append(power)
    return frequency, np.stack(powers, 1)


def eigenvalues_of(basis: Basis) -> Doubles:
    """Eigenvalue of each eigenspace, ``(space,)``, rounded to 1e-9."""
    _, first = np.unique(basis.spaces, return_index=True)
    return np.asarray(np.round(basis.values[first], 9) + 0.0)


def even_lags(trajectories: Sequence[Trajectory], horizon: float, times: int = 256) -> Doubles:
    """Even lags up to the horizon, ``(time,)`` in fs.

    About ``times`` of them, but at most 4 fs apart if the frames are closer than that: a coarser
    series would alias fast vibrations. At most ``2 * times`` lags, so that they may end before the
    horizon.

    Raises
    ------
    InputError
        When the frames are not evenly spaced.
    """
    spacings = [spacing_of(each.times) for each in trajectories]
    spacing = spacings[0]
    if np.ptp(spacings) > 1e-3 * spacing:
        raise InputError(
            "spectra need one frame spacing; these trajectories have "
            f"{', '.join(f'{each:g} fs' for each in dict.fromkeys(spacings))}"
        )
    steps = max(1, round(horizon / spacing / times))
    if spacing <= STEP:
        steps = min(steps, int(STEP / spacing * (1 + 1e-6)))
    count = min(int(horizon / (steps * spacing) + 1e-6), 2 * times)
    return np.asarray(spacing * steps * np.arange(1, count + 1), dtype=np.float64)


def dense(windows: Windows, lags_fs: Doubles, starts: int) -> Windows:
    """Windows with evenly spaced lags, from evenly chosen starts of given windows.

    Parameters
    ----------
    windows
        Over evenly spaced frames.
    lags_fs
        From :func:`even_lags`, ``(time,)`` in fs.
    starts
        Largest number of starts, of those with frames at all lags.

    Raises
    ------
    InputError
        When no start has frames at all lags.
    """
    frames, begin = windows.frames, windows.starts.numpy()
    spacing = float(frames.times[1] - frames.times[0])
    steps = round(float(lags_fs[0]) / spacing) * np.arange(1, len(lags_fs) + 1)
    targets = begin[:, None] + steps
    inside = targets[:, -1] < len(frames.times)
    inside &= frames.segments[begin] == frames.segments[np.where(inside, targets[:, -1], 0)]
    kept = np.flatnonzero(inside)
    if not len(kept):
        raise InputError(
            f"no start is followed by {len(lags_fs)} even lags up to {lags_fs[-1]:g} fs"
        )
    chosen = kept[evenly(len(kept), starts)]
    cut = windows.take(torch.from_numpy(chosen))
    return replace(cut, targets=torch.from_numpy(targets[chosen]))


def windows_at(
    run: "Run",
    trajectories: Sequence[Trajectory],
    lags_fs: Sequence[float],
    starts: int | None = None,
) -> Windows:
    """Test windows of a run with other lags, over all atoms; ``starts`` limits their number.

    Raises
    ------
    InputError
        Where no start has frames at all the lags.
    """
    settings, rule = run.experiment.windows, run.velocity_rule
    shuffled = settings.split == "published-alanine"  # the split depends on the horizon
    if not shuffled:
        settings = settings.model_copy(
            update={"lags": "given", "given_lags": list(lags_fs), "horizon": None, "times": None}
        )
    experiment = run.experiment.model_copy(update={"windows": settings})
    windows, _ = held_out(trajectories, run.provenance, experiment, run.model.system, rule)
    if shuffled:
        times, segments = windows.frames.times.numpy(), windows.frames.segments
        found = lags.at(times, segments, windows.starts.numpy(), np.asarray(lags_fs, np.float64))
        kept = np.flatnonzero((found >= 0).all(1))
        if not len(kept):
            raise InputError(f"no test start has frames at all lags up to {max(lags_fs):g} fs")
        windows = windows.take(torch.from_numpy(kept))
        windows = replace(windows, targets=torch.from_numpy(found[kept]))
    return windows if starts is None else windows.take(windows.evenly(starts))
