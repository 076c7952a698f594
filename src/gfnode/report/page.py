"""The report of a run: one HTML file that needs no network, no server and no other file."""

import base64
import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from gfnode import __version__
from gfnode.errors import InputError
from gfnode.examples import Examples
from gfnode.files import make_folder, read_arrays, read_json, whole
from gfnode.report import curves, downloads, structures, summary
from gfnode.report.svg import inline_svg
from gfnode.report.tables import COLUMNS, hundredths
from gfnode.units import format_time

ASSETS = Path(__file__).parent / "assets"
WORST_ATOMS = 10  # in the table


def write_page(folder: str | Path, out: str | Path) -> Path:
    """Write the report of an evaluated run as one HTML file.

    Parameters
    ----------
    folder
        A run folder with ``evaluation.json``, ``errors.npz`` and ``examples.npz``; ``gfnode
        report`` makes what is missing.
    out
        The file to write.

    Raises
    ------
    InputError
        When the folder lacks something, is damaged, or the file cannot be written.
    """
    out = check_target(Path(out))
    text = render(Path(folder))
    make_folder(out.parent)
    with whole(out) as partial_file:
        partial_file.write_text(text, encoding="utf-8")
    return out


def check_target(out: Path) -> Path:
    """Refuse what a page cannot be written to.

    Raises
    ------
    InputError
        When it is a folder or a device.
    """
    if out.exists() and not out.is_file():  # a rename would replace a device
        raise InputError(f"{out}: is not a file; give the name of an HTML file")
    return out


def render(folder: Path) -> str:
    """The report of a run folder as HTML."""
    facts, evaluation = (read_json(folder / name) for name in ("run.json", "evaluation.json"))
    examples, windows = Examples.read(folder), _windows(folder / "errors.npz")
    history = read_history(folder / "history.csv")
    try:
        context = _context(facts, evaluation, examples, windows, history)
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{folder}: run.json, evaluation.json and examples.npz do not fit together "
            f"({error!r}); evaluate the run again (gfnode evaluate {folder})"
        ) from error
    scripts = [_script(name) for name in ("3Dmol-min.js", "player.js")]
    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,  # every name and path is a stranger's
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "time": format_time,
        "hundredths": hundredths,
        "rms": _rms,
        "minus": lambda text: text.replace("-", "−"),
        "interval": _interval,
    }
    return environment.get_template("page.html").render(
        context,
        facts=facts,
        evaluation=evaluation,
        version=__version__,
        style=Markup(_read("page.css")),
        scripts=[text for text, _ in scripts],
        policy=_policy(digest for _, digest in scripts),
        licence=_read("3Dmol-LICENSE.txt"),
    )


def _context(
    facts: dict[str, Any],
    evaluation: dict[str, Any],
    examples: Examples,
    windows: summary.Windows,
    history: list[dict[str, float | None]],
) -> dict[str, Any]:
    """Everything the template shows."""
    by_lag = summary.verdicts_by_lag(evaluation, windows)
    score = facts["system"]["score"]
    labels = [examples.labels[i] for i in score]
    model = evaluation["model"]
    errors = dict(sorted(examples.atom_errors.items(), key=lambda each: each[0] != model))
    trained = facts.get("training", {})
    words = {
        "What was trained on what": summary.trained_on(facts, examples.weights),
        "How good it is": summary.how_good(evaluation),
        "Where it fails": summary.where_it_fails(evaluation, by_lag, errors, labels),
    }
    files = downloads.files(facts, evaluation, examples, history, labels=labels, words=words)
    best = evaluation["best_trivial"]
    atoms = sorted(
        ((label, *values) for label, *values in zip(labels, *errors.values(), strict=True)),
        key=lambda row: -row[1],
    )
    return {
        "names": list(dict.fromkeys(each["name"] for each in facts["data"])),
        "formulas": list(dict.fromkeys(each["formula"] for each in facts["data"])),
        "words": words,
        "key": _key_figures(evaluation, best),
        "columns": COLUMNS,
        "by_lag": by_lag,
        "error_figure": _figure(
            "errors", partial(curves.error_curves, evaluation), "Error against lag of every method"
        ),
        "training_figure": history
        and _figure(
            "training",
            partial(curves.training_curves, history, trained.get("best_epoch")),
            "Training and validation error and learning rate by epoch",
        ),
        "atom_figure": _figure(
            "atoms", partial(curves.atom_curves, errors, labels), "Error of each scored atom"
        ),
        "atom_methods": list(errors),
        "atoms": atoms[:WORST_ATOMS],
        "atom_count": len(atoms),
        "trained": trained,
        "history": history,
        "weights": examples.weights,
        "command": examples.command,
        "settings": _flat(facts["experiment"]),
        "examples": examples.examples,
        "structures": structures.pack(examples, facts["system"]),
        "files": files,
    }


def _key_figures(evaluation: Mapping[str, Any], best: str) -> list[tuple[str, str, str]]:
    """Value, what it is, and its interval: the four numbers on top."""
    methods, ratio = evaluation["methods"], evaluation["verdicts"][best]["ratio"]
    ours, theirs = (methods[name]["mean_over_lags"] for name in (evaluation["model"], best))
    value = "∞" if ratio["value"] is None else f"{ratio['value']:.2g}"
    between = "" if ratio["low"] is None else f"{ratio['low']:.2g} to {ratio['high']:.2g}"
    return [
        (f"{value} ×", f"the squared error of {best}", between),
        (f"{_rms(ours['value'])} Å", "root mean square error of an atom", _interval(ours)),
        (f"{_rms(theirs['value'])} Å", f"the same for {best}", _interval(theirs)),
        (format_time(evaluation["horizon_fs"]), "horizon: the largest lag", ""),
    ]


def _rms(error: float | None) -> str:
    value = summary.rms(error)
    return "∞" if value is None else f"{value:.3g}"


def _interval(estimate: Mapping[str, Any]) -> str:
    low, high = summary.rms(estimate["low"]), summary.rms(estimate["high"])
    return "" if low is None or high is None else f"{low:.2g} to {high:.2g} Å"


def _figure(name: str, draw: Callable[[bool], Figure], words: str) -> list[Markup]:
    """A figure twice: for wide and for narrow screens."""
    return [
        inline_svg(partial(draw, narrow), f"{name}-{width}", words)
        for width, narrow in (("wide", False), ("narrow", True))
    ]


def _windows(path: Path) -> summary.Windows:
    arrays, prefix = read_arrays(path), "errors_"
    try:
        return summary.Windows(
            {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)},
            *(arrays[key] for key in ("lags_fs", "starts_fs", "segments")),
        )
    except KeyError as error:
        raise InputError(f"{path} is damaged: no {error}; evaluate the run again") from error


def read_history(path: Path) -> list[dict[str, float | None]]:
    """Rows of a run's ``history.csv``, none where nothing was trained.

    Raises
    ------
    InputError
        When it holds something other than numbers.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                {key: float(value) if value else None for key, value in row.items()}
                for row in csv.DictReader(file)
            ]
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error}") from error


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted keys and their values as JSON."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        inner = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{key}.") if inner else {prefix + key: json.dumps(value)}
    return flat


def _read(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _script(name: str) -> tuple[Markup, str]:
    """A script and the hash by which the page allows it, and no other, to run."""
    text = _read(name)
    if "</script" in text.lower() or "<!--" in text or "\r" in text:
        raise ValueError(f"{name} cannot stand inside a page")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return Markup(text), f"'sha256-{digest}'"


def _policy(digests: Iterable[str]) -> str:
    """What the page may do: run its own two scripts, show its own pictures, fetch nothing."""
    return (
        f"default-src 'none'; script-src {' '.join(digests)}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
