"""What notebooks show of a trajectory and of a run: a small table, and a drawing."""

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from gfnode.molecule.sketch import sketch
from gfnode.thinning import evenly
from gfnode.trajectory import Trajectory, formula_of
from gfnode.units import format_time

if TYPE_CHECKING:
    from gfnode.evaluation import Evaluation
    from gfnode.metrics import Estimate
    from gfnode.run import Run

SAMPLED = 2_000_000
"""Velocities, frames times atoms, that the temperature is taken over: a page must not wait."""


def trajectory_html(trajectory: Trajectory) -> str:
    """Table of a trajectory beside a drawing of its first frame; all text is escaped."""
    first, last = float(trajectory.times[0]), float(trajectory.times[-1])
    rows = {
        "molecule": trajectory.label,
        "formula": trajectory.formula,
        "atoms": str(trajectory.n_atoms),
        "frames": str(len(trajectory)),
        "time between frames": _spacing(trajectory),
        "span": "" if first == last else format_time(last - first),
        "first frame at": format_time(first),
        "velocities": "no" if trajectory.velocities is None else "yes",
        "cell": _cell(trajectory),
        "temperature": _temperature(trajectory),
        "source": trajectory.source,
    }
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:1.5em;align-items:center">'
        f"{_table('Trajectory', rows)}<div>{sketch(trajectory)}</div></div>"
    )


def run_html(run: "Run") -> str:
    """Table of a run; all text is escaped."""
    system, training = run.model.system, run.facts.get("training", {})
    names = run.provenance.names
    error = training.get("best_validation_error")
    rows = {
        "molecule": f"{names} {formula_of(system.source_numbers)}".strip(),
        "atoms": f"{len(system.source_numbers)}, {system.n_atoms} in the state, "
        f"{len(system.score)} scored",
        "model": str(run.experiment.model["name"]),
        "weights": str(run.model.n_weights),
        "horizon": format_time(system.horizon),
        "epochs": str(training.get("epochs", "training has not ended")),
        "best validation error": "" if error is None else f"{error:.4g} Å² per coordinate",
        "folder": str(run.folder),
    }
    return _table("Run", rows)


def evaluation_html(evaluation: "Evaluation") -> str:
    """Table of the errors of all methods, with 95 % intervals; all text is escaped."""
    windows, times = evaluation.lags_fs.shape
    lags = f"{times} lags up to" if times > 1 else "one lag,"
    rows = {
        "windows": f"{windows}, {lags} {format_time(float(evaluation.lags_fs.max()))}",
        "mean squared error": "Å² per coordinate: mean over lags; last lag",
    }
    for name in evaluation.errors:
        found = evaluation.summary(name)
        rows[name] = f"{_estimate(found.mean)}; {_estimate(found.last)}"
    return _table(f"Evaluation of {evaluation.model}", rows)


def _estimate(found: "Estimate") -> str:
    between = f" [{found.low:.3g}, {found.high:.3g}]" if np.isfinite(found.low) else ""
    return f"{found.value:.3g}{between}"


def _spacing(trajectory: Trajectory) -> str:
    if len(trajectory) == 1:
        return ""
    if (even := trajectory.spacing) is not None:
        return format_time(even)
    gaps = np.diff(trajectory.times)
    return f"uneven, {format_time(float(gaps.min()))} to {format_time(float(gaps.max()))}"


def _cell(trajectory: Trajectory) -> str:
    if trajectory.cell is None:
        return "none"
    from ase.cell import Cell

    a, b, c, alpha, beta, gamma = Cell(trajectory.cell[0].astype(float)).cellpar()
    angles = (
        ""
        if np.allclose([alpha, beta, gamma], 90.0, atol=0.01)
        else (f", {alpha:.4g}° {beta:.4g}° {gamma:.4g}°")
    )
    return f"{a:.4g} × {b:.4g} × {c:.4g} Å{angles}"


def _temperature(trajectory: Trajectory) -> str:
    if trajectory.velocities is None:
        return ""
    chosen = evenly(len(trajectory), max(SAMPLED // trajectory.n_atoms, 1))
    kelvin = trajectory[chosen].temperature()
    return f"{kelvin:.4g} K over 3N degrees of freedom"


def _table(title: str, rows: dict[str, str]) -> str:
    cell = "padding:0.1em 0.8em 0.1em 0;text-align:left;vertical-align:top"
    body = "".join(
        f'<tr style="background:none"><th style="{cell};font-weight:normal;white-space:nowrap;'
        f'opacity:0.65">'
        f'{escape(key)}</th><td style="{cell};overflow-wrap:anywhere">{escape(value)}</td></tr>'
        for key, value in rows.items()
        if value
    )
    return (
        f'<table style="border-collapse:collapse;max-width:32em"><caption style="text-align:left;'
        f'font-weight:bold;padding-bottom:0.3em">{escape(title)}</caption>{body}</table>'
    )
