"""Sharing a model: a run becomes a folder for others, without the paths of this machine."""

import os
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PureWindowsPath
from typing import Any

from gfnode import examples, runfiles
from gfnode.ambient import usual
from gfnode.errors import InputError
from gfnode.files import (
    as_json,
    make_folder,
    partial_name,
    read_json,
    sweep_partials,
    whole,
    write_json,
    write_text,
)
from gfnode.models import Generative, Model
from gfnode.plugins import PluginWarning
from gfnode.run import Run
from gfnode.run import exported as layout
from gfnode.share.card import model_card, plain
from gfnode.trajectory.given import place
from gfnode.weights import save_tensors

_DATA = ("name", "formula", "frames", "atoms", "span_fs", "fingerprint", "temperature_K")
_PATH = re.compile(
    r"(?:~|(?<![\w.:/~])/|(?<!\w)[A-Za-z]:[\\/]|\\\\)(?:[^\s/\\'\"<>|:;,()\[\]]+[\\/])+"
    r"(?P<name>[^\s/\\'\"<>|:;,()\[\]]*)"
)


@usual()
def export(
    run: Run | str | Path,
    out: str | Path,
    *,
    licence: str | None = None,
    name: str | None = None,
    authors: Sequence[str] = (),
    overwrite: bool = False,
) -> Path:
    """Write a trained model for others: weights, configuration and a model card.

    The layout is that of model hubs; see :mod:`gfnode.run.exported`. Names of files stay, their
    folders do not.

    Parameters
    ----------
    run
        A run, or its folder.
    out
        Folder to write; new, or empty.
    licence
        Of the weights, as an SPDX name (``CC-BY-4.0``); None: the card says that none is stated.
    name
        What the model is called; default: model and molecule.
    authors
        Who made it.
    overwrite
        Write over an exported model; files that are not of it stay.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        When the run has no validated weights, is an exported model itself, or the folder cannot be
        written or holds something else.
    """
    if not isinstance(run, Run):
        run = Run.open(run)
    authors = [authors] if isinstance(authors, str) else authors
    if run.exported:
        raise InputError(f"{run.folder} is an exported model already: copy the folder")
    target = place(out, "a folder")
    _check_target(target, overwrite)
    known = examples.evaluated(run.folder)
    evaluation = read_json(run.folder / runfiles.EVALUATION) if known else None
    make_folder(target.parent)
    scratch = partial_name(target.absolute())
    sweep_partials(target.absolute())
    try:
        scratch.mkdir()
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror}") from error
    try:
        run.baselines()  # whole, and of this model
        save_tensors(scratch / layout.WEIGHTS, run.model.state_dict(), None)
        with whole(scratch / runfiles.BASELINES) as partial:
            partial.write_bytes((run.folder / runfiles.BASELINES).read_bytes())
        if run.calibration is not None:
            run.calibration.save(scratch / runfiles.CALIBRATION)
        if evaluation is not None:
            del evaluation[examples.MEASURED]  # the file of weights is another
            write_json(scratch / runfiles.EVALUATION, evaluation)
        told = describe(run, licence=licence, name=name, authors=authors)
        config = as_json(told)
        config["files"] = {
            path.name: layout.describe_file(path) for path in sorted(scratch.iterdir())
        }
        config["checksum"] = layout.checksum(config)
        write_json(scratch / layout.CONFIG, config)
        write_text(scratch / layout.CARD, model_card(config, evaluation, target.name))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PluginWarning)  # told when the run was opened
            Run.open(scratch)  # it can be used as it is
        _place(scratch, target)
    except InputError as error:  # by the name that was asked for
        raise InputError(str(error).replace(str(scratch), str(target))) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def describe(
    run: Run, *, licence: str | None, name: str | None, authors: Sequence[str]
) -> dict[str, Any]:
    """The content of ``config.json``, but for the sums of the files."""
    facts, system = run.facts, run.model.system
    private = _Private([str(entry["file"]) for entry in facts["data"]])
    data = [
        {key: private.clean(entry[key]) for key in _DATA if key in entry}
        | {"file": private.clean(entry["file"]), "reader": _reader(entry, private)}
        for entry in facts["data"]
    ]
    shown = Run(Path(run.folder.name), run.experiment, run.model, facts | {"data": data})
    command = examples.command(shown, anywhere=False)  # which would tell of this machine
    for entry in data:  # a topology has to be given again, wherever it lies
        entry["reader"].pop("top", None)
    model, molecule = run.experiment.model["name"], data[0]["name"]
    config = {
        "format": layout.FORMAT,
        "version": layout.VERSION,
        "library_name": "gfnode",
        "model_type": model,
        "name": plain(name) if name else f"{model} for {plain(molecule, 80)}",
        "licence": plain(licence, 100) if licence else None,
        "authors": [plain(author) for author in authors],
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        "created": facts.get("created"),
        "units": {"positions": "angstrom", "velocities": "angstrom/fs", "times": "fs"},
        "lags_fs": [system.time_step, system.horizon],
        "symmetries": sorted(each.value for each in run.model.kept),
        "draws": _draws(run.model),
        "weights": run.model.n_weights,
        "command": command,
        "data": data,
        "notes": [private.clean(note) for note in _notes(facts)],
        "training": private.clean(facts.get("training")),
    }
    kept = ["seed", "experiment", "system", "batch", "windows", "velocity_gap_fs"]
    kept += ["start_temperature_k", "plugins", "versions"]
    return config | {key: facts[key] for key in kept if key in facts}


def _notes(facts: dict[str, Any]) -> list[str]:
    """What is noted of the data, and of what was fitted in vain."""
    doubt = facts.get("doubt")
    return [*facts.get("notes", []), *([doubt] if doubt else [])]


def _draws(model: Model) -> str | None:
    """What of the model is random: ``"samples"`` of single times, or whole ``"motions"``."""
    if model.follows:
        return "motions"
    return "samples" if isinstance(model, Generative) else None


class _Private:
    """Takes the folders of this machine out of texts.

    Parameters
    ----------
    files
        Paths that are known; they may hold spaces.
    """

    def __init__(self, files: Sequence[str]) -> None:
        folders = {str(Path(file).parent) for file in files if os.path.isabs(file)}
        folders |= {str(Path.home()), str(Path.cwd())}
        self.folders = sorted(folders - {os.sep}, key=len, reverse=True)

    def clean(self, value: Any) -> Any:
        """Text, or anything with text in it, with names of files in place of their paths."""
        if isinstance(value, Mapping):
            return {key: self.clean(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.clean(each) for each in value]
        if not isinstance(value, str):
            return value
        for folder in self.folders:
            value = value.replace(folder + os.sep, "/…/").replace(folder, "…")
        return _PATH.sub(lambda found: found["name"], value)


def _reader(entry: Mapping[str, Any], private: _Private) -> dict[str, Any]:
    options = dict(entry.get("reader", {}))
    if "top" in options:
        options["top"] = PureWindowsPath(options["top"]).name  # of either kind of path
    return {key: private.clean(value) for key, value in options.items()}


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise InputError(f"{target} is a file; give the name of a folder")
    if not any(target.iterdir()):
        return
    if not layout.is_exported(target):
        raise InputError(f"{target} holds something else; choose another folder, or empty it")
    if not overwrite:
        raise InputError(f"{target} holds an exported model; write over it with --overwrite")


def _place(scratch: Path, target: Path) -> None:
    """Give the files their place: all at once, or one by one where a folder is there already."""
    try:
        if not target.exists():
            scratch.rename(target)
            return
        if runfiles.EVALUATION not in {path.name for path in scratch.iterdir()}:
            (target / runfiles.EVALUATION).unlink(missing_ok=True)
        for path in scratch.iterdir():
            os.replace(path, target / path.name)
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror or error}") from error
