"""Evaluation of a model, next to the trivial baselines on the same windows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gfnode import runfiles
from gfnode.files import write_arrays, write_json
from gfnode.metrics import (
    Blocks,
    LagErrors,
    Verdict,
    paired_verdict,
    squared_errors,
    summarise,
)
from gfnode.metrics.lags import lag_edges
from gfnode.models import TRIVIAL, Model
from gfnode.models.calibration import WITHIN, Calibration
from gfnode.models.inference import predictions
from gfnode.models.symmetries import Measured, measure
from gfnode.progress import Report, silent
from gfnode.trajectory import Doubles
from gfnode.units import count, format_time
from gfnode.windows import Windows

MOST_VALUES = 20_000_000
"""Largest number of predicted coordinates kept in memory: 2000 windows of 8 lags and 22 atoms are
a million."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Errors of a model and the trivial baselines on the same windows.

    Parameters
    ----------
    model
        Name of the evaluated model.
    errors, superposed
        Mean squared error per coordinate of each window and lag by method, ``(window, time)`` in
        Å²; ``superposed``: after superposing each predicted frame on its target.
    lags_fs
        ``(window, time)``.
    starts_fs, segments
        Start time and trajectory index of each window, ``(window,)``.
    horizon_fs
        Largest lag of training.
    aligned
        Whether targets were superposed on their starts.
    inside
        Fraction of the scored coordinates of each window and lag within one predicted standard
        deviation, ``(window, time)``; None without predicted deviations.
    predicted
        Predictions of the model for all of its state atoms, ``(window, time, atom, 3)`` in Å, for
        reuse by further analyses; None where they exceed `MOST_VALUES`.
    symmetries
        Equivariance errors of the model with its current weights; empty: not measured.
    """

    model: str
    errors: dict[str, Doubles]
    superposed: dict[str, Doubles]
    lags_fs: Doubles
    starts_fs: Doubles
    segments: NDArray[np.int64]
    horizon_fs: float
    aligned: bool
    inside: Doubles | None = None
    predicted: Tensor | None = None
    symmetries: Mapping[str, Measured] = field(default_factory=dict)

    def __repr__(self) -> str:
        windows, times = self.lags_fs.shape
        best = self.best_trivial
        return (
            f"Evaluation({self.model}: {self.errors[self.model].mean():.4g} Å² per coordinate over "
            f"{windows} windows of {count(times, 'lag')} up to {format_time(self.lags_fs.max())}, "
            f"{best} "
            f"{self.errors[best].mean():.4g} Å²)"
        )

    def _repr_html_(self) -> str:
        """Errors of all methods, for notebooks."""
        from gfnode.notebook import evaluation_html

        return evaluation_html(self)

    @property
    def blocks(self) -> Blocks:
        """Blocks of start time for intervals."""
        return Blocks.of(self.starts_fs, self.horizon_fs, self.segments)

    def summary(self, method: str, *, superposed: bool = False) -> LagErrors:
        """Means with intervals of one method."""
        return self._summary((self.superposed if superposed else self.errors)[method])

    def _summary(self, values: Doubles) -> LagErrors:
        return summarise(values, self.lags_fs, self.blocks, lag_edges(self.horizon_fs).tolist())

    @property
    def best_trivial(self) -> str:
        """The trivial baseline with the least mean error, except the evaluated model itself."""
        names = [name for name in self.errors if name in TRIVIAL and name != self.model]
        return min(names, key=lambda name: float(self.errors[name].mean()))

    def verdict(self, other: str) -> Verdict:
        """Paired comparison of the model with another method, over blocks of time and all lags."""
        return paired_verdict(self.errors[self.model], self.errors[other], self.blocks)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Errors of every window by method, for ``errors.npz``."""
        return (
            {f"errors_{key}": value for key, value in self.errors.items()}
            | {f"superposed_{key}": value for key, value in self.superposed.items()}
            | {"lags_fs": self.lags_fs, "starts_fs": self.starts_fs, "segments": self.segments}
        )

    def save(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write ``errors.npz`` and ``evaluation.json``, which holds ``facts`` too."""
        write_arrays(folder / runfiles.ERRORS, self.arrays())
        # last: it identifies the weights of both files, even after an interruption in between
        write_json(folder / runfiles.EVALUATION, {**self.to_dict(), **facts})

    def to_dict(self) -> dict[str, Any]:
        """All results, under the keys of docs/evaluation.md."""
        best = self.best_trivial
        return {
            "unit": "angstrom^2 per coordinate",
            "model": self.model,
            "windows": len(self.starts_fs),
            "times": self.lags_fs.shape[1],
            "horizon_fs": self.horizon_fs,
            "blocks": self.blocks.count,
            "targets_superposed_on_start": self.aligned,
            "methods": {name: self._method(name) for name in self.errors},
            "best_trivial": best,
            "symmetries": {key: asdict(each) for key, each in self.symmetries.items()},
            "error_bars": None if self.inside is None else self._error_bars(self.inside),
            "verdicts": {
                name: _verdict(self.verdict(name)) for name in self.errors if name != self.model
            },
        }

    def _error_bars(self, inside: Doubles) -> dict[str, Any]:
        found = self._summary(inside)
        whole, *by_lag = (  # they are shares
            replace(each, high=min(each.high, 1.0)).to_dict()
            for each in (found.mean, *found.by_lag)
        )
        return {"expected": WITHIN, "inside": whole, "by_lag": by_lag}

    def _method(self, name: str) -> dict[str, Any]:
        raw, shape = self.summary(name), self.summary(name, superposed=True)
        return {
            "mean_over_lags": raw.mean.to_dict(),
            "last_lag": raw.last.to_dict(),
            "eq14_mean_over_lags": raw.mean.eq14.to_dict(),
            "eq14_last_lag": raw.last.eq14.to_dict(),
            "superposed_mean_over_lags": shape.mean.to_dict(),
            "superposed_last_lag": shape.last.to_dict(),
            "lag_edges_fs": list(raw.edges_fs),
            "lags_fs": list(raw.lags_fs),
            "by_lag": [each.to_dict() for each in raw.by_lag],
        }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "verdict": verdict.verdict,
        "difference": verdict.difference.to_dict(),
        "ratio": verdict.ratio.to_dict(),
    }


def evaluate(
    name: str,
    models: Mapping[str, Model],
    windows: Windows,
    horizon: float,
    calibration: Calibration | None = None,
    *,
    report: Report = silent,
) -> Evaluation:
    """Run every model over all windows.

    Parameters
    ----------
    name
        Name of the evaluated model.
    models
        By name, all on one device; each has its own state atoms, and all score the same ones.
    windows
        Over all atoms.
    horizon
        In fs.
    calibration
        Of the evaluated model.
    report
        Called with the windows that the evaluated model has predicted, and their total.
    """
    windows = windows.to(models[name].scored.device)
    errors: dict[str, Doubles] = {}
    superposed: dict[str, Doubles] = {}
    inside: list[Tensor] = []
    kept: list[Tensor] = []
    done = 0
    for key, model in models.items():
        pieces = []
        for now, whole, spread in predictions(model, windows.select(model.system.atoms)):
            predicted, target = (y[..., model.scored, :] for y in (whole, now.targets))
            if key == name:
                done += len(whole)
                report(done, len(windows))
                if len(windows) * whole[0].numel() <= MOST_VALUES:
                    kept.append(whole)
                if calibration is not None:
                    judged = model.system.judged
                    sizes = calibration.deviations(now.lags, spread)[..., judged, None]
                    within = (whole - now.targets)[..., judged, :].abs() <= sizes
                    inside.append(within.double().mean((-1, -2)))
            pieces.append(
                torch.stack(
                    [squared_errors(predicted, target, superposed=flag) for flag in (False, True)]
                )
            )
        both = torch.cat(pieces, 1).double().cpu().numpy()
        errors[key], superposed[key] = both
    starts = windows.starts.cpu()
    return Evaluation(
        name,
        errors,
        superposed,
        windows.lags.cpu().numpy(),
        windows.frames.times.cpu()[starts].numpy(),
        windows.frames.segments[starts.numpy()],
        horizon,
        windows.align is not None,
        torch.cat(inside).cpu().numpy() if inside else None,
        torch.cat(kept).cpu() if kept else None,
        measure(models[name], windows.select(models[name].system.atoms)),
    )
