"""Conservation of momenta and kinetic temperature of predictions.

Velocities of a prediction are the derivative of its positions by the lag. Where the data stores
velocities, the truth has derivatives too, and the prediction is differentiated by five points half
a femtosecond apart (error δ⁴x⁽⁵⁾/30); where it does not, both are central differences over the
spacing Δ of the frames, which attenuate a vibration by sin(2πfΔ)/(2πfΔ). Forward-mode
differentiation is not used: free rotation in closed form is implemented without a derivative by the
lag, and some models use it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gfnode.geometry import angular_momentum, momentum, thermal_momenta
from gfnode.metrics import Blocks, LagErrors, summarise
from gfnode.metrics.lags import lag_bins
from gfnode.metrics.spectra import state_weights
from gfnode.models import Generative, Model
from gfnode.models.inference import predict_in_batches
from gfnode.physics.predictions import Predictions, blocks_of
from gfnode.physics.section import TRUE, Section, estimate_rows
from gfnode.rollout import Difference
from gfnode.trajectory import SHORT_GAP, Doubles
from gfnode.units import BOLTZMANN, format_time
from gfnode.windows import Windows

WINDOWS = 128
"""Number of test windows: each lag is predicted two or four times more."""

FEWEST = 10
"""Least number of frames in a lag bin: where frames are missing, some bins hold one or two, whose
temperature has an error of a quarter."""

Numbers = dict[str, Any]


def measure_motion(predictions: Predictions) -> Section:
    """Kinetic temperature, and changes of the momenta since the start, by lag.

    Of the truth, the model, and the trivial baselines. Temperature is over all 3N degrees of
    freedom, as in MD17. Changes of momentum and angular momentum (about the centre of mass) are
    root mean squares, also relative to their thermal values √(3 M k_B T) and √(tr(I) k_B T) at the
    start's temperature.
    """
    if reason := _meaningless(predictions):
        return Section({"reason": reason})
    run, system = predictions.run, predictions.system
    everything = predictions.windows.take(predictions.windows.evenly(WINDOWS))
    windows = everything.select(system.atoms)  # all of them, in the order of their masses
    blocks = blocks_of(windows, system.horizon)
    gap = _spacing(windows)
    start = windows.batch(slice(None))
    masses = torch.from_numpy(system.masses)
    lags = windows.lags.numpy()
    edges = np.asarray(predictions.lag_edges)
    begun = Momenta.of(start.positions[:, None], start.velocities[:, None], masses)
    thermal = begun.thermal(start.positions, masses)
    numbers: Numbers = {
        "velocities": "stored" if gap is None else "differences",
        "interval_fs": gap,
        "windows": len(windows),
        "blocks": blocks.count,
        "degrees_of_freedom": 3 * system.n_atoms,
        "lag_edges_fs": edges.tolist(),
        "start": {
            "temperature_K": float(begun.temperature.mean()),
            "momentum_u_A_per_fs": _rms(begun.linear),
            "angular_momentum_u_A2_per_fs": _rms(begun.angular),
            "thermal_momentum_u_A_per_fs": thermal[0],
            "thermal_angular_momentum_u_A2_per_fs": thermal[1],
        },
    }
    arrays: dict[str, NDArray[Any]] = {"lag_edges_fs": edges}
    x, v, known = true_motion(windows, gap)
    moved = {TRUE: (Momenta.of(x, v, masses), known)}
    for name, model in run.judged().items():
        at, speed, asked = predicted_motion(model, everything, gap)
        weights = torch.from_numpy(model.system.masses)
        moved[name] = (Momenta.of(at, speed, weights), asked)
    found = {}
    for name, (momenta, asked) in moved.items():
        each = _by_lag(momenta, begun, asked, lags=lags, blocks=blocks, edges=edges)
        found[name] = each | {
            f"{key}_of_thermal": [None if v is None or not size else v / size for v in each[key]]
            for key, size in zip(
                ("momentum_change_u_A_per_fs", "angular_momentum_change_u_A2_per_fs"),
                thermal,
                strict=True,
            )
        }
        arrays[f"temperature_K_{name}"] = estimate_rows(found[name]["temperature_K"])
    numbers[TRUE] = found.pop(TRUE)
    numbers["methods"] = found
    return Section(numbers, arrays)


@dataclass(frozen=True, eq=False)
class Momenta:
    """Total momenta and kinetic temperature of conformations.

    Parameters
    ----------
    linear, angular
        ``(window, time, 3)`` in u Å/fs and, about the centre of mass, u Å²/fs.
    temperature
        ``(window, time)`` in K over 3N degrees of freedom.
    """

    linear: Doubles
    angular: Doubles
    temperature: Doubles

    @classmethod
    def of(cls, positions: Tensor, velocities: Tensor, masses: Tensor) -> "Momenta":
        """From positions and velocities ``(window, time, atom, 3)`` in Å and Å/fs."""
        x, v = positions.double(), velocities.double()
        weights = torch.from_numpy(state_weights(masses.numpy()))
        return cls(
            momentum(v, masses).numpy(),
            angular_momentum(x, v, masses).numpy(),
            (v.flatten(-2).square() @ weights).numpy(),
        )

    def thermal(self, positions: Tensor, masses: Tensor) -> tuple[float, float]:
        """Thermal rms momentum and angular momentum at the mean temperature."""
        heat = BOLTZMANN * float(self.temperature.mean())
        return thermal_momenta(positions.double(), masses, heat)


def predicted_motion(
    model: Model, windows: Windows, gap: float | None
) -> tuple[Tensor, Tensor, NDArray[np.bool_]]:
    """Positions and velocities that a model predicts at the lags of windows.

    Parameters
    ----------
    model
        With all atoms in its state, in any order.
    windows
        Over all atoms, in the order of the data.
    gap
        Δ of central differences, fs; None: five-point derivative.

    Returns
    -------
    tuple
        ``(window, time, atom, 3)`` in Å and Å/fs, atoms in the order of the model; and whether each
        lag is long enough for the differences, ``(window, time)``.
    """
    rule = Difference(None, np.inf)
    offsets = rule.offsets if gap is None else (-gap, gap)
    shift = torch.tensor([0.0, *offsets])
    windows = windows.select(model.system.atoms)
    lags = windows.lags.float()
    known = lags > 1.001 * max(offsets)
    asked = torch.where(known[..., None], lags[..., None] + shift, lags[..., None])
    now = windows.batch(slice(None))
    found, _ = predict_in_batches(model, now.positions, now.velocities, asked.flatten(1))
    at = found.double().unflatten(1, asked.shape[1:])
    middle, around = at[:, :, 0], at[:, :, 1:]
    if gap is None:
        flat = rule(middle.flatten(0, 1), around.flatten(0, 1), torch.Generator())
        return middle, flat.unflatten(0, lags.shape), known.numpy()
    return middle, (around[:, :, 1] - around[:, :, 0]) / (2 * gap), known.numpy()


def true_motion(windows: Windows, gap: float | None) -> tuple[Tensor, Tensor, NDArray[np.bool_]]:
    """As :func:`predicted_motion`, of true frames; valid where both neighbouring frames exist."""
    frames, targets = windows.frames, windows.targets
    x = frames.positions[targets].double()
    if gap is None:
        assert frames.velocities is not None
        return x, frames.velocities[targets].double(), np.ones(targets.shape, dtype=bool)
    last = len(frames.times) - 1
    before, after = (targets - 1).clamp_min(0), (targets + 1).clamp_max(last)
    span = frames.times[after] - frames.times[before]
    segments = frames.segments
    same = segments[before.numpy()] == segments[after.numpy()]
    known = same & (abs(span.numpy() - 2 * gap) < 1e-3 * gap)
    v = (frames.positions[after] - frames.positions[before]).double() / (2 * gap)
    return x, v, known


def _meaningless(predictions: Predictions) -> str | None:
    """Reason why velocities of predictions are meaningless; None where they are not."""
    system, windows = predictions.system, predictions.windows
    if system.n_atoms < len(system.source_numbers):
        return (
            f"the state has {system.n_atoms} of {len(system.source_numbers)} atoms, and the "
            "momenta of a part of a molecule are not conserved"
        )
    if isinstance(predictions.run.model, Generative):
        return (
            "the model draws samples: those at different lags belong to different trajectories, "
            "so they have no velocities"
        )
    if windows.align is not None:
        return "targets are superposed on the start, which removes their rotation and drift"
    if (gap := _spacing(windows)) is not None and gap > SHORT_GAP:
        return (
            f"no velocities are stored, and frames {format_time(gap)} apart are too far apart to "
            "give those of vibrating atoms"
        )
    return None


def _spacing(windows: Windows) -> float | None:
    """Smallest gap of finite-difference velocities of starts, fs; None: stored velocities."""
    gaps = windows.velocity_gaps
    return None if gaps is None else float(gaps.abs().min())


def _by_lag(
    momenta: Momenta,
    begun: Momenta,
    known: NDArray[np.bool_],
    *,
    lags: Doubles,
    blocks: Blocks,
    edges: Doubles,
) -> Numbers:
    """Temperature with intervals, and rms changes of momenta, for lag bins with enough frames."""
    bins = lag_bins(lags, edges)
    counts = np.bincount(bins[known & (bins >= 0)], minlength=len(edges) - 1)
    known = known & (counts[bins] >= FEWEST)

    def binned(values: Doubles) -> LagErrors:
        masked = np.where(known, lags, -1.0)  # in no bin
        return summarise(np.where(known, values, 0.0), masked, blocks, edges.tolist())

    linear = binned(np.square(momenta.linear - begun.linear).sum(-1)).by_lag
    angular = binned(np.square(momenta.angular - begun.angular).sum(-1)).by_lag
    return {
        "temperature_K": [each.to_dict() for each in binned(momenta.temperature).by_lag],
        "momentum_change_u_A_per_fs": [_root(each.value) for each in linear],
        "angular_momentum_change_u_A2_per_fs": [_root(each.value) for each in angular],
    }


def _root(square: float) -> float | None:
    return float(np.sqrt(square)) if np.isfinite(square) else None


def _rms(vectors: Doubles) -> float:
    return float(np.sqrt(np.square(vectors).sum(-1).mean()))
