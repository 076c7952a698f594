"""The model card of an exported model: Markdown with the YAML head that model hubs read.

All words that come from files or from the user are cleaned and escaped, so that none of them can
end a table, open a link or add a key.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gfnode.report.numbers import hundredths, with_interval
from gfnode.report.sentences import given
from gfnode.report.tables import verdicts
from gfnode.share import citation
from gfnode.units import count, format_time

HUB_LICENCES = frozenset(
    [
        "apache-2.0",
        "mit",
        "bsd-2-clause",
        "bsd-3-clause",
        "isc",
        "mpl-2.0",
        "gpl-2.0",
        "gpl-3.0",
        "lgpl-2.1",
        "lgpl-3.0",
        "agpl-3.0",
        "eupl-1.1",
        "epl-2.0",
        "unlicense",
        "cc0-1.0",
        "cc-by-4.0",
        "cc-by-sa-4.0",
        "cc-by-nc-4.0",
        "cc-by-nd-4.0",
        "cc-by-nc-sa-4.0",
        "cc-by-nc-nd-4.0",
        "odbl",
        "pddl",
    ]
)
"""Licences that hubs know by these names; any other is ``other`` with a name."""

COLUMNS = {
    "mean over lags": "mean_over_lags",
    "last lag": "last_lag",
    "superposed, mean over lags": "superposed_mean_over_lags",
}
_SYMMETRIES = {
    "translation": "translating the start translates the prediction",
    "rotation": "rotating the start rotates the prediction",
    "reflection": "mirroring the start mirrors the prediction",
    "permutation": "renumbering the atoms renumbers the prediction",
    "batch": "a prediction does not depend on others in the same batch",
    "lags": "the prediction for one time does not depend on the other requested times",
    "start": "as the time goes to zero, the prediction tends to the start",
}
_DRAWN = {
    None: "A prediction is one expected conformation. At long lags it tends to the mean and is "
    "smoother than any real frame; most conformational changes are missed.",
    "samples": "A prediction is a mean; `gfnode sample` draws ensembles.",
    "motions": "A prediction is one expected conformation. At long lags it tends to the mean and "
    "is smoother than any real frame. The model has also learned a potential: `gfnode sample` "
    "draws possible motions, and `gfnode rollout` follows one.",
}
"""What a prediction is, by what the model draws (see :func:`gfnode.share.export.describe`)."""


def plain(text: object, most: int = 200) -> str:
    """One line of printable characters, cut after ``most``."""
    kept = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in str(text)[: 20 * most])
    line = " ".join(kept.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def escaped(text: object, most: int = 200) -> str:
    """Text as Markdown shows it: no markup, no link, no HTML."""
    shown = re.sub(r"([\\`*_\[\]<>|~#$&@!])", r"\\\1", plain(text, most))
    return re.sub(
        r"(?i)(://|\bwww\.)", lambda found: found[0].replace(":", r"\:").replace(".", r"\."), shown
    )


def fenced(text: str, language: str) -> str:
    """A block of code, with a fence that the text does not hold."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def model_card(config: Mapping[str, Any], evaluation: Mapping[str, Any] | None, out: str) -> str:
    """Write the card.

    Parameters
    ----------
    config
        Of the exported model; see :mod:`gfnode.run.exported`.
    evaluation
        Its ``evaluation.json``, if there is one.
    out
        Name of the folder, for the examples.
    """
    parts = [
        "\n".join(_head(config, evaluation)),
        f"# {escaped(config['name'])}",
        _summary(config),
        "## Use",
        *_use(config, out),
        "## Trained on",
        _table(("", "value"), _trained_on(config)),
        "## Inputs and outputs",
        *_interface(config),
        "## Errors",
        *_errors(config, evaluation),
        "## Symmetries",
        "\n".join(
            f"- {name}: {'' if name in config['symmetries'] else '**not kept**: '}{meaning}"
            for name, meaning in _SYMMETRIES.items()
        ),
        "## Limits",
        *_limits(config),
        "## How it was made",
        *_made(config),
        "## Licence",
        _licence(config["licence"]),
        "## Citation",
        *_citation(config),
        "## Files",
        *_files(config),
    ]
    return "\n\n".join(parts) + "\n"


def _head(config: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> Iterator[str]:
    """YAML; strings are written as JSON, which is YAML too."""
    yield "---"
    licence = config["licence"]
    known = str(licence).lower()
    if licence is None:
        yield "license: unknown"
    elif known in HUB_LICENCES:
        yield f"license: {known}"
    else:
        yield "license: other"
        yield f"license_name: {_quoted(licence)}"
    yield "library_name: gfnode"
    yield "pipeline_tag: graph-ml"
    yield "tags:"
    tags = ["molecular-dynamics", "chemistry", "safetensors", config["model_type"]]
    for tag in (*tags, config["data"][0]["formula"]):
        yield f"- {_quoted(tag)}"
    yield "metrics:"
    yield "- mse"
    if evaluation is None:
        yield "---"
        return
    own = evaluation["methods"][evaluation["model"]]
    yield "model-index:"
    yield f"- name: {_quoted(config['name'])}"
    yield "  results:"
    yield "  - task:"
    yield "      type: graph-ml"
    yield '      name: "prediction of molecular motion"'
    yield "    dataset:"
    yield "      type: molecular-dynamics"
    yield f"      name: {_quoted(_names(config))}"
    yield "      split: test"
    yield "    metrics:"
    for title, key in COLUMNS.items():
        if (value := own[key]["value"]) is not None:
            yield "    - type: mse"
            yield f"      value: {float(value)!r}"
            yield f"      name: {_quoted(f'squared error per coordinate in Å², {title}')}"
    yield "---"


def _summary(config: Mapping[str, Any]) -> str:
    return (
        f"A [gfnode](#citation) model (`{_code(config['model_type'])}`) of the motion of "
        f"{escaped(_names(config))} ({escaped(config['data'][0]['formula'])}): from one "
        f"conformation and {given(config.get('velocity_gap_fs'))}, it predicts the conformation at "
        f"any times up to {format_time(config['lags_fs'][1])} later."
    )


def _use(config: Mapping[str, Any], out: str) -> Iterator[str]:
    import shlex

    plugins = [plain(each) for each in (config.get("plugins") or {}).get("models", {}).values()]
    if plugins:
        yield f"It needs the package {', '.join(map(escaped, plugins))} in addition to gfnode."
    last = format_time(config["lags_fs"][1]).replace(" ", "")
    half = format_time(config["lags_fs"][1] / 2).replace(" ", "")
    folder = plain(out)
    words = ["gfnode", "predict", folder, "--start", "start.extxyz"]
    words += ["--times", f"{half},{last}", "--out", "later.extxyz"]
    beside = "previous frame" if (config.get("velocity_gap_fs") or 0.0) < 0 else "next frame"
    yield fenced(shlex.join(words), "sh")
    yield fenced(
        "import gfnode\n\n"
        f"run = gfnode.Run.open({folder!r})\n"
        f'later = run.predict("start.extxyz", ["{half}", "{last}"])\n'
        "print(later.positions, later.times)  # Å, fs",
        "python",
    )
    yield (
        "The start is a frame of any trajectory file of this molecule, with velocities or a "
        f"{beside} to compute them from, and with the atoms in the order below. Opening the model "
        "reads only JSON and safetensors and runs no code."
    )


def _trained_on(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    system, windows = config["system"], config["experiment"]["windows"]
    for data in config["data"]:
        heat = data.get("temperature_K")
        yield (
            escaped(data["name"]),
            f"{escaped(data['formula'])}, {data['atoms']} atoms, {data['frames']} frames over "
            f"{format_time(data['span_fs'])}, "
            + (f"{heat:.0f} K (over 3N degrees of freedom)" if heat else "temperature unknown"),
        )
    yield "time step", format_time(system["time_step_fs"])
    sizes = ", ".join(f"{count} {plain(name)}" for name, count in config["windows"].items())
    yield "windows", f"{sizes}; split {escaped(windows['split'])}"
    unseen = len(system["atoms"]) - len(system["score"])
    told = f"; the other {unseen} were not in the training loss" if unseen else ""
    yield "atoms", f"{len(system['atoms'])} in the state, {len(system['score'])} scored{told}"
    for note in config["notes"]:
        yield "note", escaped(note, 500)
    for data in config["data"]:
        yield "SHA-256 of the data", f"`{_code(data['fingerprint'])}`"


def _interface(config: Mapping[str, Any]) -> Iterator[str]:
    from ase.data import chemical_symbols

    system = config["system"]
    order = [chemical_symbols[system["source_numbers"][atom]] for atom in system["atoms"]]
    first, last = config["lags_fs"]
    yield _table(
        ("what", "unit", "shape"),
        [
            ("start: positions", "Å", f"(atom, 3), {len(order)} atoms"),
            ("start: velocities", "Å/fs", "(atom, 3)"),
            ("lags", "fs", f"(time,), from {format_time(first)} to {format_time(last)}"),
            ("prediction: positions", "Å", "(time, atom, 3)"),
        ],
    )
    yield (
        f"Trained on lags from {format_time(first)} to {format_time(last)}, the horizon; "
        "predictions beyond it come with a warning. Files in other units are converted when read."
    )
    yield f"Order of the atoms: {' '.join(order)}"


def _errors(config: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> Iterator[str]:
    if evaluation is None:
        yield (
            "**Not evaluated.** Its errors on held-out data are unknown; `gfnode evaluate` "
            "measures them and those of trivial baselines."
        )
        return
    placed = "superposed on the start" if evaluation["targets_superposed_on_start"] else "as stored"
    yield (
        f"Mean squared error per coordinate in 10⁻² Å², with 95 % intervals over blocks of time, "
        f"on {count(evaluation['windows'], 'window')} of the test part in "
        f"{count(evaluation['blocks'], 'block')}, "
        f"{count(evaluation['times'], 'lag')} up to {format_time(evaluation['horizon_fs'])}, "
        f"targets {placed}. All but the first are trivial baselines, which a model should beat."
    )
    rows = [
        (escaped(name), *(with_interval(method[key], hundredths) for key in COLUMNS.values()))
        for name, method in evaluation["methods"].items()
    ]
    yield _table(("method", *COLUMNS), rows)
    yield "\n".join(f"- {escaped(line, 400)}" for line in verdicts(evaluation))
    yield (
        "“Superposed” is the error after superposing each prediction on its target. All numbers "
        f"are in `evaluation.json`. Split: `{_code(config['experiment']['windows']['split'])}`."
    )


def _limits(config: Mapping[str, Any]) -> Iterator[str]:
    yield "\n".join(
        [
            "- It is valid only for this molecule, with its atoms in this order, and under the "
            "conditions (temperature, solvent, level of theory) of its training data.",
            f"- It was not tested beyond {format_time(config['lags_fs'][1])}.",
            f"- {_DRAWN[config['draws']]}",
        ]
    )


def _made(config: Mapping[str, Any]) -> Iterator[str]:
    yield fenced(plain(config["command"], 4000), "sh")
    training = config.get("training")
    told = f"{count(config['weights'], 'weight')}, seed {config['seed']}."
    if training:
        best = training["best_epoch"]
        when = f"at epoch {best}" if best else "as fitted, before training"
        told += (
            f" {count(training['epochs'], 'epoch')} on {escaped(training['device'])} "
            f"({escaped(training['ended'])}); best validation error "
            f"{training['best_validation_error']:.4g} Å² per coordinate {when}."
        )
    yield told
    versions = (f"{escaped(k)} {escaped(v)}" for k, v in config["versions"].items())
    yield f"Versions: {', '.join(versions)}. Every setting is in `config.json`."


def _licence(licence: str | None) -> str:
    if licence is None:
        return (
            "Not stated. Without a licence others may not use, change or pass on these weights: "
            "ask the authors. The gfnode software is under the MIT licence."
        )
    return f"Weights: {escaped(licence)}. The gfnode software is under the MIT licence."


def _citation(config: Mapping[str, Any]) -> Iterator[str]:
    if config["authors"]:
        yield f"Model by {escaped(', '.join(config['authors']), 500)}."
    yield "Please cite the software, and the paper whose method it implements:"
    yield fenced(citation.bibtex(), "bibtex")


def _files(config: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        (f"`{_code(name)}`", str(each["bytes"]), f"`{_code(each['sha256'])}`")
        for name, each in config["files"].items()
    ]
    yield _table(("file", "bytes", "SHA-256"), rows)
    yield (
        "`config.json` holds these checksums and its own; a file that does not match is refused. "
        "They detect damage, but do not prove who made the model."
    )


def _table(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _names(config: Mapping[str, Any]) -> str:
    return plain(", ".join(dict.fromkeys(str(each["name"]) for each in config["data"])))


def _quoted(text: object) -> str:
    return json.dumps(plain(text), ensure_ascii=False)


def _code(text: object) -> str:
    return plain(text).replace("`", "'").replace("|", "/")
