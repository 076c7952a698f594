"""How predictions move, as one table for the console; ``physics`` of an evaluation."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from gfnode.units import format_time

SECTIONS = ("spectra", "kinetics", "motion", "energy")

Row = tuple[str, str, str]


def motion_table(physics: Mapping[str, Any]) -> Table | None:
    """Spectra, kinetics, momenta and energies, true and predicted; None where there are none."""
    rows = [
        *_spectra(_section(physics, "spectra")),
        *_kinetics(_section(physics, "kinetics")),
        *_motion(_section(physics, "motion")),
        *_energy(_section(physics, "energy")),
    ]
    if not rows:
        return None
    title = "How predictions move (95 % intervals over blocks of time)"
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, title_style="italic")
    table.add_column("", no_wrap=True)
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
    if not found:
        return
    states = found["density_of_states"]
    yield (
        "mean frequency of velocities (1/ps)",
        _number(states["mean_frequency_true_per_ps"]),
        _number(states["mean_frequency_predicted_per_ps"]),
    )
    yield (
        "power moved in frequency (1/ps; true: floor)",
        _number(states["distance_floor_per_ps"]),
        _number(states["distance_per_ps"]),
    )
    yield (
        "rank correlation, frequency–eigenvalue",
        _interval(found["superposed"]["rank_correlation_true"], signed=True),
        _interval(found["superposed"]["rank_correlation_predicted"], signed=True),
    )


def _kinetics(found: Mapping[str, Any]) -> Iterator[Row]:
    if not found:
        return
    true, model = found["true"], next(iter(found["methods"].values()))
    known = [k for k, each in enumerate(true["vamp2"]) if each["value"] is not None]
    for k in dict.fromkeys((known[0], known[-1])) if known else ():
        lag = format_time(found["lags_fs"][k], 3)
        name = f"VAMP-2 at {lag} (1 to {found['highest_vamp2']}; {found['features']})"
        yield name, _interval(true["vamp2"][k]), _interval(model["vamp2"][k])
    if known:
        k = known[0]
        name = f"slowest implied timescale at {format_time(found['lags_fs'][k], 3)} (ps)"
        times = [_interval(each["timescales_ps"][k][0]) for each in (true, model)]
        yield name, times[0], times[1]


def _motion(found: Mapping[str, Any]) -> Iterator[Row]:
    if not found:
        return
    true, model = found["true"], next(iter(found["methods"].values()))
    edges = found["lag_edges_fs"]
    bins = range(len(edges) - 1)
    known = [k for k in bins if true["temperature_K"][k]["value"] is not None]
    for k in dict.fromkeys((known[0], known[-1])) if known else ():
        name = f"kinetic temperature, {format_time(edges[k])} to {format_time(edges[k + 1])} (K)"
        yield name, _interval(true["temperature_K"][k]), _interval(model["temperature_K"][k])
    for key, name in (
        ("momentum_change_u_A_per_fs_of_thermal", "momentum"),
        ("angular_momentum_change_u_A2_per_fs_of_thermal", "angular momentum"),
    ):
        if known:
            title = f"change of {name} (of its thermal size)"
            yield title, _number(true[key][known[-1]]), _number(model[key][known[-1]])


def _energy(found: Mapping[str, Any]) -> Iterator[Row]:
    if not found:
        return
    model = next(iter(found["methods"].values()))
    name = f"energy by {found['engine']}, mean ± spread (kcal/mol)"
    yield name, _spread(found["true"]), _spread(model)


def _spread(found: Mapping[str, Any]) -> str:
    if "mean_kcal_mol" not in found:
        return "none"
    mean = found["mean_kcal_mol"]
    return f"{_number(mean if abs(mean) > 1e-6 else 0.0)} ± {_number(found['spread_kcal_mol'])}"


def _interval(estimate: Mapping[str, Any], *, signed: bool = False) -> str:
    value, low, high = (_number(estimate[key], signed=signed) for key in ("value", "low", "high"))
    if estimate["low"] is None and estimate["high"] is None:
        return value
    return f"{value} [{low},\N{NO-BREAK SPACE}{'∞' if estimate['high'] is None else high}]"


def _number(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "–"
    if signed:
        return f"{value:+.2f}"
    if 0 < abs(value) < 1e-4:
        return "<0.0001"
    return f"{value:.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"
