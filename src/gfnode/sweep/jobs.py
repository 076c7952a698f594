"""A job: a run that is known before it is done."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Self

from gfnode.errors import InputError
from gfnode.experiment import Experiment, configure
from gfnode.models import MODELS
from gfnode.readers import Reader

IN_NAMES = ("transform", "dynamics", "times")
"""Options of models that are worth reading in the name of a folder."""


@dataclass(frozen=True)
class Measure:
    """Something to be measured of a trained model, besides the evaluation.

    Parameters
    ----------
    name
        Of :data:`gfnode.sweep.measures.MEASURES`.
    options
        What it is to be measured with.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """Name of the file in the run folder that holds it."""
        if not self.options:
            return f"measure-{self.name}.npz"
        return f"measure-{self.name}-{_digest(self.options)[:6]}.npz"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"name": self.name, "options": dict(self.options)}


@dataclass(frozen=True)
class Job:
    """Data and configuration of one run.

    Parameters
    ----------
    files
        Trajectories of one system.
    experiment
        The resolved configuration, seed included.
    reader
        How the files are read.
    """

    files: tuple[str, ...]
    experiment: Experiment
    reader: Reader = field(default_factory=Reader)

    @cached_property
    def content(self) -> dict[str, Any]:
        """Hashes of all files, how they are read, and the code of the model if a plug-in's.

        Raises
        ------
        InputError
            When a file cannot be read.
        """
        options: dict[str, Any] = dict(self.reader.options())
        if "top" in options:
            options["top"] = _content(str(options["top"]))
        code = MODELS.code(self.experiment.model["name"])
        found = {"files": [_content(file) for file in self.files], "reader": options}
        return found | ({"code": code} if code else {})

    @cached_property
    def key(self) -> str:
        """SHA-256 of the resolved configuration and of :attr:`content`.

        Two jobs with the same key are the same run, whatever their files are called and however
        their configuration was written.
        """
        return make_key(self.experiment, self.content)

    @property
    def name(self) -> str:
        """A readable name with the first eight digits of the key; it depends on nothing else."""
        model, windows = self.experiment.model, self.experiment.windows
        words = [Path(self.files[0]).stem, model["name"]]
        words += [str(model[key]) for key in IN_NAMES if key in model]
        words += [windows.lags, f"seed{self.experiment.seed}"]
        return "-".join([*(re.sub(r"[^\w.-]+", "_", w) for w in words), self.key[:8]])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for ``job.json``."""
        return {
            "format": "gfnode-job",
            "version": 1,
            "files": [str(Path(file).expanduser().resolve()) for file in self.files],
            "reader": self.reader.options(),
            "experiment": self.experiment.model_dump(mode="json"),
            "content": self.content,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`.

        Raises
        ------
        InputError
            When the files, or the code of the model, are not what they were.
        """
        job = cls(tuple(data["files"]), stored_experiment(data), Reader.of(data["reader"]))
        if job.content != data["content"]:
            raise InputError(
                f"{', '.join(job.files)}, or the code of the model, changed since this job was "
                "planned: start the sweep again to plan a new one"
            )
        return job


def make_key(experiment: Experiment, content: Mapping[str, Any]) -> str:
    """Key of a job, see :attr:`Job.key`."""
    return _digest({"experiment": experiment.model_dump(mode="json"), "content": content})


def stored_experiment(data: Mapping[str, Any]) -> Experiment:
    """The configuration in a ``job.json``, as this version of gfnode resolves it.

    Settings that did not exist when it was written have their defaults.

    Raises
    ------
    InputError
        When it is not the file of a job, or from a version with other settings.
    """
    if data.get("format") != "gfnode-job" or data.get("version") != 1:
        raise InputError("this is not the job.json of a gfnode sweep of version 1")
    return configure("default", data["experiment"])


def _content(file: str) -> str:
    path = Path(file).expanduser().resolve()
    try:
        facts = path.stat()
        return _hash(path, facts.st_mtime_ns, facts.st_size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


@cache
def _hash(path: Path, _mtime: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
