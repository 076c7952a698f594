"""How predictions move, as one table for the console; ``physics`` of an evaluation."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.table import Table

from gfnode.report.numbers import cell, signed, terse
from gfnode.report.tables import plain_table
from gfnode.units import format_time

MOMENTA = {
    "momentum_change_u_A_per_fs_of_thermal": "momentum",
    "angular_momentum_change_u_A2_per_fs_of_thermal": "angular momentum",
}

Row = tuple[str, str, str]


def motion_table(physics: Mapping[str, Any]) -> Table | None:
    """Spectra, kinetics, momenta and energies, true and predicted; None where there are none."""
    sections = ((rows_of, _section(physics, name)) for name, rows_of in SECTIONS.items())
    rows = [row for rows_of, found in sections if found for row in rows_of(found)]
    if not rows:
        return None
    title = "Motion of predictions (95 % intervals over blocks of time)"
    table = plain_table(title)
    for name in ("true", _model(physics) or "model"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def motion_reasons(physics: Mapping[str, Any]) -> list[str]:
    """Why sections are missing, in a line each."""
    return [
        f"{name} not measured: {physics[name]['reason']}"
        for name in SECTIONS
        if "reason" in physics.get(name, {})
    ]


def _section(physics: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = physics.get(name, {})
    return {} if "reason" in found else found


def _model(physics: Mapping[str, Any]) -> str | None:
    """The method that is judged: the first of any section."""
    for name in SECTIONS:
        methods = _section(physics, name).get("methods", {})
        if methods:
            return str(next(iter(methods)))
    return None


def _spectra(found: Mapping[str, Any]) -> Iterator[Row]:
    states = found["density_of_states"]
    yield (
        "mean frequency of velocity spectrum (1/ps)",
        terse(states["mean_frequency_true_per_ps"]),
        terse(states["mean_frequency_predicted_per_ps"]),
    )
    yield (
        "distance of velocity spectra (1/ps; true: floor)",
        terse(states["distance_floor_per_ps"]),
        terse(states["distance_per_ps"]),
    )
    yield (
        "rank correlation, frequency–eigenvalue",
        cell(found["superposed"]["rank_correlation_true"], signed),
        cell(found["superposed"]["rank_correlation_predicted"], signed),
    )


def _kinetics(found: Mapping[str, Any]) -> Iterator[Row]:
    true, model = found["true"], next(iter(found["methods"].values()))
    known = [k for k, each in enumerate(true["vamp2"]) if each["value"] is not None]
    for k in dict.fromkeys((known[0], known[-1])) if known else ():
        lag = format_time(found["lags_fs"][k], 3)
        name = f"VAMP-2 at {lag} (1 to {found['highest_vamp2']}; {found['features']})"
        yield name, cell(true["vamp2"][k], terse), cell(model["vamp2"][k], terse)
    if known:
        k = known[0]
        name = f"slowest implied timescale at {format_time(found['lags_fs'][k], 3)} (ps)"
        times = [cell(each["timescales_ps"][k][0], terse) for each in (true, model)]
        yield name, times[0], times[1]


def _motion(found: Mapping[str, Any]) -> Iterator[Row]:
    true, model = found["true"], next(iter(found["methods"].values()))
    edges = found["lag_edges_fs"]
    bins = range(len(edges) - 1)
    known = [k for k in bins if true["temperature_K"][k]["value"] is not None]
    for k in dict.fromkeys((known[0], known[-1])) if known else ():
        name = f"kinetic temperature, {format_time(edges[k])} to {format_time(edges[k + 1])} (K)"
        yield name, cell(true["temperature_K"][k], terse), cell(model["temperature_K"][k], terse)
    for key, name in MOMENTA.items():
        if known:
            title = f"change of {name} (relative to thermal)"
            yield title, terse(true[key][known[-1]]), terse(model[key][known[-1]])


def _energy(found: Mapping[str, Any]) -> Iterator[Row]:
    model = next(iter(found["methods"].values()))
    name = f"energy by {found['engine']}, mean ± spread (kcal/mol)"
    yield name, _spread(found["true"]), _spread(model)


SECTIONS: dict[str, Callable[[Mapping[str, Any]], Iterator[Row]]] = {
    "spectra": _spectra,
    "kinetics": _kinetics,
    "motion": _motion,
    "energy": _energy,
}
"""The rows of what was measured, by its name."""


def _spread(found: Mapping[str, Any]) -> str:
    if "mean_kcal_mol" not in found:
        return "none"
    mean = found["mean_kcal_mol"]
    return f"{terse(mean if abs(mean) > 1e-6 else 0.0)} ± {terse(found['spread_kcal_mol'])}"
