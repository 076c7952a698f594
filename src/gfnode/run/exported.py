"""Reading and verification of the folder of an exported model.

========================  ==========================================================================
file                      holds
========================  ==========================================================================
``config.json``           format and version, system, settings, units, lags, training data without
                          their paths, versions, and the SHA-256 of the other files and of itself
``model.safetensors``     the weights
``baselines.safetensors`` what the trivial baselines took from the training windows
``calibration.safetensors`` how large errors are on validation, how far apart atoms are
``evaluation.json``       errors beside the baselines, where the run was evaluated
``README.md``             the model card, for people; gfnode never reads it
========================  ==========================================================================

The checksums detect damage, mixed-up folders and careless editing. They are no signature: anyone
who changes a file on purpose can also update them. Opening reads JSON and safetensors only, so that
even then no code is executed.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gfnode.errors import InputError
from gfnode.files import read_json
from gfnode.runfiles import BASELINES, CALIBRATION, EVALUATION, RUN

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
FORMAT = "gfnode-model"
VERSION = 2

_LISTED = {WEIGHTS: True, BASELINES: True}  # must it be there?
_LISTED |= {CALIBRATION: False, EVALUATION: False}
_KEYS = {"experiment": dict, "system": dict, "data": list, "files": dict, "versions": dict}
_MODEL_FILES = {
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz"),
    *(".h5", ".onnx", ".py"),
}


def is_exported(folder: Path) -> bool:
    """Whether a folder looks like an exported model and not like a run."""
    return (folder / CONFIG).is_file() and not (folder / RUN).is_file()


def checksum(config: Mapping[str, Any]) -> str:
    """SHA-256 of a configuration without its own checksum, independent of formatting."""
    rest = {key: value for key, value in config.items() if key != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def describe_file(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file."""
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def read_config(folder: Path) -> dict[str, Any]:
    """Read ``config.json`` and verify every file that it names.

    Raises
    ------
    InputError
        For another format or version, a missing, damaged or changed file, or a model file that was
        not exported.
    """
    path = folder / CONFIG
    config = read_json(path)
    if config.get("format") != FORMAT:
        raise InputError(
            f"{path} is not the config.json of a gfnode model: its format is "
            f"{str(config.get('format'))[:40]!r}, expected {FORMAT!r}; give a folder that `gfnode "
            "export` or `gfnode train` wrote"
        )
    version = config.get("version")
    if version != VERSION or isinstance(version, bool):
        older = isinstance(version, int) and version < VERSION
        remedy = "train and export it again" if older else "pip install --upgrade gfnode"
        raise InputError(
            f"{folder} was exported in format {str(version)[:40]}, this gfnode reads format "
            f"{VERSION}; {remedy}"
        )
    if checksum(config) != config.get("checksum"):
        raise InputError(
            f"{path} was changed or damaged after the export: its checksum does not match. Get or "
            "export the model again"
        )
    for key, kind in _KEYS.items():
        if not isinstance(config.get(key), kind):
            raise InputError(
                f"{path}: {key!r} is missing or not of type {kind.__name__}; export the model again"
            )
    _verify(folder, config["files"])
    return config


def _verify(folder: Path, files: Mapping[str, Any]) -> None:
    if unknown := sorted(files.keys() - _LISTED.keys()):
        raise InputError(f"{folder / CONFIG} names {unknown[0]!r}, which is not a file of a model")
    for name, needed in _LISTED.items():
        if name not in files:
            if needed:
                raise InputError(f"{folder / CONFIG} does not name {name}; export the model again")
            continue
        path = folder / name
        try:
            found = describe_file(path)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be read: {error.strerror}; it belongs to the model: get the "
                "whole folder"
            ) from error
        if found != files[name]:
            raise InputError(
                f"{path} is not the file that was exported: {_how(found, files[name])}"
            )
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _MODEL_FILES and path.name not in files:
            raise InputError(
                f"{path} does not belong to this model: config.json does not list it, and gfnode "
                "never reads such files. Delete it, or get the model again"
            )


def _how(found: Mapping[str, Any], expected: object) -> str:
    if not isinstance(expected, Mapping):
        return "config.json gives no size and SHA-256 of it"
    if found["bytes"] != expected.get("bytes"):
        return (
            f"it has {found['bytes']} bytes, config.json says {expected.get('bytes')}. It was cut "
            "off or replaced: get the model again"
        )
    return (
        f"its SHA-256 is {found['sha256'][:16]}…, config.json says "
        f"{str(expected.get('sha256'))[:16]}…. It was damaged or replaced: get the model again"
    )
