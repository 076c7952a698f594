"""Temporal spectra of predictions and of the truth, by eigenspace.

Predictions of a mean over many futures are smooth: fast modes lose their power with the lag, and
mean frequencies are too low, which these spectra show for each eigenspace.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.fourier import Basis, eigenbasis
from gfnode.graph import laplacian
from gfnode.metrics import Blocks
from gfnode.metrics.correlation import autocorrelation, memory_time
from gfnode.metrics.ranks import (
    Frequencies,
    RankCorrelation,
    mean_frequencies,
    rank_correlation,
)
from gfnode.metrics.spectra import (
    PER_CM,
    difference_gain,
    differences,
    mean_frequency,
    power_spectrum,
    state_weights,
)
from gfnode.models import Generative
from gfnode.physics.modes import (
    dense,
    eigenvalues_of,
    even_lags,
    on_reference,
    space_power,
)
from gfnode.physics.predictions import Predictions, blocks_of, predict_all
from gfnode.physics.section import TRUE, Section
from gfnode.physics.spectrum import MOST_MODES, STILL, VIBRATIONS
from gfnode.trajectory import Doubles, Floats

STARTS = 64
"""Number of starts."""

MOST_VALUES = 10_000_000
"""Largest number of coordinates in the dense series; large systems get fewer starts."""

SAMPLES = (
    "the model draws samples: those at different lags belong to different trajectories, so there "
    "is no spectrum in time"
)

Numbers = dict[str, Any]
Arrays = dict[str, NDArray[Any]]


def measure_spectra(predictions: Predictions) -> Section:
    """Spectra of dense series of predictions and of the truth, from the same starts.

    Series from 64 starts at even lags up to the horizon (:func:`gfnode.physics.modes.even_lags`),
    in modes of the model's graph. Both for frames as they are (minus the centre of the start, as in
    Figure 4 of the paper), and for frames superposed on the start: the internal motion.
    """
    run, system = predictions.run, predictions.system
    if isinstance(run.model, Generative):
        return Section({"reason": SAMPLES})
    try:
        lags = even_lags(predictions.trajectories, system.horizon)
        if len(lags) < 8:
            return Section({"reason": f"only {len(lags)} frames lie within the horizon"})
        starts = max(8, min(STARTS, MOST_VALUES // (len(lags) * system.n_atoms * 3)))
        windows = dense(predictions.windows, lags, starts)
    except InputError as error:
        return Section({"reason": str(error)})
    whole = windows.select(system.atoms).batch(slice(None))
    blocks = blocks_of(windows, system.horizon)
    series = {
        TRUE: whole.targets.numpy(),
        "predicted": predict_all(run.model, windows).numpy(),
    }
    modes = min(system.n_atoms, MOST_MODES)
    basis = eigenbasis(laplacian(system.edges.index, system.n_atoms), modes)
    spacing = 1e-3 * float(lags[0])
    first = whole.positions.numpy()
    numbers: Numbers = {
        "windows": len(windows),
        "blocks": blocks.count,
        "lags": len(lags),
        "spacing_fs": float(lags[0]),
        "span_fs": float(lags[-1]),
        "highest_per_cm": PER_CM / (2 * spacing),
        "resolution_per_ps": 1 / (spacing * len(lags)),
        "resolution_per_cm": PER_CM / (spacing * len(lags)),
    }
    arrays: Arrays = {"lags_fs": lags, "eigenvalues": eigenvalues_of(basis)}
    arrays["modes"] = np.bincount(basis.spaces)
    middle = first.mean(1, keepdims=True)[:, None]
    as_is = {key: x - middle for key, x in series.items()}
    turned = {key: _turned(x, first, system.masses) for key, x in series.items()}
    for name, each in (("superposed", turned), ("as_is", as_is)):
        found, curves = _spaces(each, basis, blocks, spacing)
        numbers[name] = found
        arrays |= {f"{name}_{key}": value for key, value in curves.items() if key != "frequency"}
        arrays["frequency_per_ps"] = curves["frequency"]
    found, curves = _states(series, system.masses, spacing)
    return Section(numbers | {"density_of_states": found}, arrays | curves)


def _turned(positions: Floats, starts: Floats, masses: Doubles) -> Floats:
    """Superpose every frame on its start, ``(window, time, atom, 3)``."""
    windows, times = positions.shape[:2]
    flat = positions.reshape(-1, *positions.shape[2:])
    onto = np.repeat(starts, times, axis=0)
    return on_reference(flat, onto, masses).reshape(windows, times, *positions.shape[2:])


def _spaces(
    series: Mapping[str, Floats], basis: Basis, blocks: Blocks, spacing: float
) -> tuple[Numbers, Arrays]:
    """Numbers and curves of each eigenspace."""
    eigenvalues = eigenvalues_of(basis)
    counts = np.bincount(basis.spaces)
    arrays: Arrays = {}
    spaces: list[Numbers] = [
        {"eigenvalue": float(value), "modes": int(count)}
        for value, count in zip(eigenvalues, counts, strict=True)
    ]
    numbers: Numbers = {"eigenspaces": spaces}
    for kind, positions in series.items():
        values = np.einsum("am,wtax->wtmx", basis.vectors.astype(np.float32), positions)
        # constant up to rounding
        still = values.std(1).max((0, 2)) < STILL
        values[:, :, still] = 0.0
        frequency, power = space_power(values, basis.spaces, spacing)
        found = mean_frequencies(frequency, power, blocks)
        for k, each in enumerate(spaces):
            part = values[:, :, basis.spaces == k]
            memory, reached = memory_time(part.reshape(*part.shape[:2], -1), spacing)
            each[kind] = _frequency(found, k) | {
                "power_A2": float(power[:, k].mean(0).sum() * frequency[1]),
                "memory_ps": memory,
                "memory_reached": reached,
            }
        arrays |= {"frequency": frequency, f"power_{kind}": power.mean(0)}
        ranked = replace(found, value=np.where(eigenvalues > 0, found.value, np.nan))
        numbers[f"rank_correlation_{kind}"] = _ranks(rank_correlation(eigenvalues, ranked))
    return numbers, arrays


def _frequency(found: Frequencies, space: int) -> Numbers:
    value, low, high = (float(x[space]) for x in (found.value, found.low, found.high))
    return {
        "frequency_per_ps": value,
        "frequency_low_per_ps": low,
        "frequency_high_per_ps": high,
        "frequency_per_cm": value * PER_CM,
    }


def _ranks(found: RankCorrelation) -> Numbers:
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "chance": found.chance,
        "eigenspaces": found.spaces,
    }


def _states(
    series: Mapping[str, Floats], masses: Doubles, spacing: float
) -> tuple[Numbers, Arrays]:
    """Vibrational density of states and velocity autocorrelation, from differences of frames.

    The density is in K ps: its integral is the kinetic temperature over 3N degrees of freedom, nan
    for frames too far apart to follow vibrations.
    """
    numbers: Numbers = {}
    arrays: Arrays = {}
    root = np.sqrt(state_weights(masses))
    densities = {}
    for kind, positions in series.items():
        v = differences(positions, 1e3 * spacing)
        v = v.reshape(*v.shape[:2], -1) * root
        frequency, power = power_spectrum(v, spacing, centre=False)
        density = power * difference_gain(frequency, spacing)
        densities[kind] = density
        heat = float(density.mean(0).sum() * frequency[1])
        numbers[f"temperature_{kind}_K"] = heat if 1e3 * spacing <= VIBRATIONS else float("nan")
        numbers[f"mean_frequency_{kind}_per_ps"] = float(mean_frequency(frequency, density.mean(0)))
        arrays["density_frequency_per_ps"] = frequency
        arrays[f"density_{kind}_K_ps"] = density.mean(0)
        arrays[f"velocity_autocorrelation_{kind}"] = autocorrelation(v, centre=False)
    half = len(densities[TRUE]) // 2
    step = float(frequency[1])
    true = densities[TRUE].mean(0)
    numbers["distance_per_ps"] = spectral_distance(true, densities["predicted"].mean(0), step)
    floor = float("nan")  # of a single window there are no two halves
    if half:
        first, second = densities[TRUE][:half].mean(0), densities[TRUE][half:].mean(0)
        floor = spectral_distance(first, second, step)
    numbers["distance_floor_per_ps"] = floor
    arrays["velocity_lags_fs"] = (
        1e3 * spacing * np.arange(len(arrays["velocity_autocorrelation_true"]))
    )
    return numbers, arrays


def spectral_distance(a: Doubles, b: Doubles, step: float) -> float:
    """Wasserstein distance of two spectra, normalised to unit area, in 1/ps.

    Nan where one of them has no power.
    """
    if not (a.sum() > 0 and b.sum() > 0):
        return float("nan")
    return float(step * np.abs(np.cumsum(a / a.sum()) - np.cumsum(b / b.sum())).sum())
