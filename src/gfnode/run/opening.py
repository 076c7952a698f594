"""Opening a run folder: its JSON is read and checked, and the model built without weights."""

import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gfnode import plugins, runfiles
from gfnode.errors import InputError
from gfnode.experiment import Experiment, build_model
from gfnode.files import read_json
from gfnode.models import MODELS, Model
from gfnode.molecule.system import System
from gfnode.readers import FORMATS
from gfnode.run import exported as layout

VERSION = 4


def read_facts(folder: Path) -> tuple[dict[str, Any], Path]:
    """Read the facts of a model: ``run.json`` of a run, or ``config.json`` of an export.

    Returns
    -------
    dict, Path
        The facts, and the file that they are from.

    Raises
    ------
    InputError
        When there is neither, or one of another version, damaged, or changed after the export.
    """
    if layout.is_exported(folder):
        return layout.read_config(folder), folder / layout.CONFIG
    return read_run(folder), folder / runfiles.RUN


def read_run(folder: Path) -> dict[str, Any]:
    """Read ``run.json``.

    Raises
    ------
    InputError
        When the folder holds no run, one of another version, or a damaged one.
    """
    if not (folder / runfiles.RUN).is_file():
        what = "is not a run folder: it has no run.json" if folder.is_dir() else "does not exist"
        what = "is a file, expected a folder" if folder.is_file() else what
        raise InputError(f"{folder} {what}; give the folder that `gfnode train --out` wrote")
    facts = read_json(folder / runfiles.RUN)
    if facts.get("format") != "gfnode-run":
        raise InputError(f"{folder / runfiles.RUN} is not the run.json of a gfnode run")
    if (version := facts.get("version")) != VERSION:
        older = isinstance(version, int) and version < VERSION
        remedy = (
            "its weights fit no current model: train again with the settings in its run.json"
            if older
            else "upgrade gfnode (pip install --upgrade gfnode)"
        )
        raise InputError(
            f"{folder} was written in run format {version}, this gfnode reads format "
            f"{VERSION}; {remedy}"
        )
    return facts


def assemble(facts: Mapping[str, Any], where: Path) -> tuple[Experiment, Model]:
    """Build the model described by facts from the file ``where``, without its weights.

    Raises
    ------
    InputError
        When an entry is missing or inconsistent, or a plug-in is not installed.

    Warns
    -----
    PluginWarning
        When the model comes from another package than the one it was trained with.
    """
    try:
        _check_entries(facts["data"])
        _check_gap(facts.get("velocity_gap_fs"))
        _check_heat(facts.get("start_temperature_k"))
        system = System.from_dict(facts["system"])
        experiment = Experiment.read(facts["experiment"], str(where))
        _check_model(facts, experiment.model.get("name"), where)
        return experiment, build_model(experiment, system)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where} is damaged: {error!r}") from error
    except (RuntimeError, MemoryError) as error:  # torch: sizes that no memory holds
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{where}: the model it describes cannot be built: {text}") from error


def check_data(facts: Mapping[str, Any], where: Path) -> None:
    """Raise InputError when the training data was not exported, or has no reader here."""
    if facts.get("format") == layout.FORMAT:
        files = [str(entry.get("file", "")) for entry in facts["data"]]
        if away := [file for file in files if not re.fullmatch(r"[a-z][a-z0-9]+:.+", file)]:
            names = ", ".join(dict.fromkeys(away)).strip(", ") or "from memory"
            raise InputError(
                f"{where} is an exported model without its training data ({names}): give the data "
                "to evaluate on with --data"
            )
    for suffix, package in _named(facts, "readers").items():
        if suffix not in FORMATS:
            raise InputError(
                f"{where} was trained on {suffix} files, read by {package}, which is not "
                f"installed here; {plugins.remedy(package, _version(facts, package))}"
            )


def warn_if_unfinished(facts: Mapping[str, Any], model: Model, folder: Path) -> None:
    """Warn where the training of a run has not ended."""
    if model.n_weights and facts.get("format") != layout.FORMAT and "training" not in facts:
        warnings.warn(
            f"training of {folder} has not finished: these are its best weights so far; continue "
            f"with `gfnode train --resume --out {folder}`",
            stacklevel=4,
        )


def _check_entries(entries: Any) -> None:
    """Raise ValueError unless these are valid records of trajectories."""
    texts = ("file", "name", "fingerprint")
    if not (isinstance(entries, list) and entries) or not all(
        isinstance(entry, Mapping)
        and all(isinstance(entry.get(key), str) for key in texts)
        and isinstance(entry.get("reader", {}), Mapping)
        for entry in entries
    ):
        raise ValueError("the description of the training data is invalid")


def _check_gap(gap: Any) -> None:
    """Raise ValueError unless the gap of velocities is None or finite and not zero, in fs."""
    number = isinstance(gap, int | float) and not isinstance(gap, bool)
    if gap is not None and not (number and math.isfinite(gap) and gap):
        raise ValueError(
            f"velocities are differences over {gap!r} fs, expected a number other than 0"
        )


def _check_heat(heat: Any) -> None:
    """Raise ValueError unless start temperatures are None (older runs) or three numbers in K."""
    if heat is None:
        return
    if not (
        isinstance(heat, list)
        and len(heat) == 3
        and all(isinstance(each, int | float) and 0 <= each < math.inf for each in heat)
    ):
        raise ValueError(
            f"the temperatures of training starts are {heat!r} K, expected three numbers"
        )


def _check_model(facts: Mapping[str, Any], name: object, where: Path) -> None:
    package = _named(facts, "models").get(name)
    if package is None:
        if name not in MODELS:
            raise InputError(
                f"{where}: unknown model {name!r}; if it is your own, import the module that adds "
                "it to gfnode.models.MODELS first; if not, upgrade gfnode"
            )
        return
    version = _version(facts, package)
    if name not in MODELS:
        raise InputError(
            f"{where}: its model {name!r} comes from the package {package} {version}, which is "
            f"not installed here; {plugins.remedy(package, version)}"
        )
    assert isinstance(name, str)
    origin = MODELS.origin(name)
    if origin is None or origin.package != package:
        plugins.warn(
            f"{where}: its model {name!r} came from the package {package} {version}; here the "
            f"model of that name comes from {origin or 'another source'} and may be different"
        )
    elif version and origin.version != version:
        plugins.warn(
            f"{where}: its model {name!r} was made with {package} {version}, but {origin.version} "
            "is installed: errors stored in its folder may be out of date; gfnode evaluate "
            "measures them again"
        )
    elif (code := _named(facts, "code").get(name)) and MODELS.code(name) != code:
        plugins.warn(
            f"{where}: the code of {origin} has changed since its model {name!r} was made: errors "
            "stored in its folder may be out of date; gfnode evaluate measures them again"
        )


def _named(facts: Mapping[str, Any], kind: str) -> dict[Any, Any]:
    found = facts.get("plugins", {})
    found = found.get(kind, {}) if isinstance(found, Mapping) else {}
    return dict(found) if isinstance(found, Mapping) else {}


def _version(facts: Mapping[str, Any], package: object) -> str:
    versions = facts.get("versions", {})
    return str(versions.get(package, "")) if isinstance(versions, Mapping) else ""
