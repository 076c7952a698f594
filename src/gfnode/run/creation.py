"""Creation of a run folder, before training."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gfnode import runfiles
from gfnode.errors import InputError
from gfnode.experiment import Dataset, Experiment, baselines, build_model, versions
from gfnode.experiment.provenance import Provenance
from gfnode.files import check_writable, locked, make_folder, write_arrays, write_json
from gfnode.models import MODELS, Model
from gfnode.readers import FORMATS, Reader
from gfnode.run.exported import is_exported
from gfnode.run.opening import VERSION
from gfnode.training import choose_batch
from gfnode.trajectory import Trajectory
from gfnode.windows.temperature import StartTemperatures


def create_folder(
    folder: Path,
    experiment: Experiment,
    dataset: Dataset,
    trajectories: Sequence[Trajectory],
    files: Sequence[str],
    *,
    reader: Reader,
) -> tuple[Model, dict[str, Any]]:
    """Create the folder; see :meth:`gfnode.run.Run.create`.

    Returns
    -------
    Model, dict
        The model before training, and the content of ``run.json``.

    Raises
    ------
    InputError
        When the folder holds a run already, or cannot be written.
    """
    refuse_run(folder)
    model = build_model(experiment, dataset.system)
    batch = model.n_weights > 0 and choose_batch(dataset.parts["train"], model, experiment.training)
    plugins, others = _plugins_of(experiment.model["name"], files)
    train = dataset.of(model)["train"]
    some = train.batch(train.evenly(500))
    heat = StartTemperatures.of(
        some.velocities.numpy(), model.system.masses, some.positions.numpy(), train.gap
    )
    make_folder(folder)  # after all checks, so that a refused run leaves no folder
    facts = {
        "format": "gfnode-run",
        "version": VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": experiment.seed,
        "experiment": experiment.model_dump(mode="json"),
        "system": dataset.system.to_dict(),
        "data": Provenance.describe(trajectories, files, reader),
        "batch": batch,
        "loss_unit": model.loss_unit,
        "velocity_gap_fs": train.gap,
        "start_temperature_k": [heat.lowest, heat.highest, heat.rounding],
        "windows": {name: len(part) for name, part in dataset.parts.items()},
        "notes": list(dataset.notes),
        "plugins": plugins,
        "versions": versions() | others,
    }
    arrays = {}
    for name, part in dataset.parts.items():
        arrays[f"{name}_starts"] = part.starts.numpy()
        arrays[f"{name}_targets"] = part.targets.numpy()
    fitted = baselines.fit_baselines(dataset)
    with alone(folder):
        refuse_run(folder)  # another process may have been faster
        write_arrays(folder / runfiles.SPLITS, arrays)
        baselines.save_baselines(folder / runfiles.BASELINES, fitted)
        write_json(folder / runfiles.RUN, facts)
    return model, facts


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock of a run folder.

    The lock file is not removed: a process that had opened it before would hold a lock on a deleted
    file, invisible to others.

    Raises
    ------
    InputError
        When another process holds the lock.
    """
    told = f"{folder}: another process is training there; wait for it, or choose another --out"
    lock = locked(folder / runfiles.LOCK, told)
    try:
        yield
    finally:
        lock.release()


def refuse_run(folder: Path) -> None:
    """Raise InputError where a folder holds a run, or an exported model, or cannot hold one."""
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError as error:  # TensorBoard writes there
        raise InputError(
            f"{folder}: the path of a run folder must be valid UTF-8: choose another --out"
        ) from error
    if (folder / runfiles.RUN).exists():
        raise InputError(
            f"{folder} already holds a run: continue it (--resume, gfnode.resume in Python) or "
            "choose another folder (--out, out= in Python)"
        )
    check_writable(folder / runfiles.RUN)
    if is_exported(folder):
        raise InputError(
            f"{folder} holds an exported model, which is never changed: choose another --out"
        )


def _plugins_of(model: str, files: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Packages that a run needs besides gfnode, for ``run.json``, and their versions.

    Returns
    -------
    dict, dict
        ``{"models": {name: package}, "readers": {suffix: package}, "code": {name: SHA-256}}``, with
        the hash of the model's code, and ``{package: version}``.
    """
    suffixes = dict.fromkeys(Path(file).suffix.lower() for file in files if file)
    origins = {
        "models": {model: MODELS.origin(model)},
        "readers": {suffix: FORMATS.origin(suffix) for suffix in suffixes},
    }
    named = {
        kind: {name: origin.package for name, origin in found.items() if origin}
        for kind, found in origins.items()
    }
    if code := MODELS.code(model):
        named["code"] = {model: code}
    found = [origin for each in origins.values() for origin in each.values() if origin]
    return named, {origin.package: origin.version for origin in found}
