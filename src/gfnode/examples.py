"""Test windows worth looking at: a typical one, the best and the worst, each as a short film.

Evaluation scores a few lags of many windows. Here a few windows are followed frame by frame up to
the horizon, and the errors of all of them are parted by atom. What comes out is plain arrays in the
``examples.npz`` of the run folder, so that a report needs neither torch nor the trajectory.
"""

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gfnode import runfiles
from gfnode.errors import InputError
from gfnode.files import read_arrays, read_json, write_arrays
from gfnode.metrics.lags import lag_bins, lag_edges
from gfnode.molecule.labels import atom_labels
from gfnode.trajectory import Doubles, Floats, Trajectory

if TYPE_CHECKING:
    from torch import Tensor

    from gfnode.models import Model
    from gfnode.run import Run
    from gfnode.windows import Windows

MEASURED = "weights_sha256"  # in evaluation.json and physics.json: the digest of what was measured
KINDS = ("typical", "best", "worst")
MOST_FRAMES = 100
MOST_VALUES = 250_000  # coordinates of one example, true and predicted: large molecules get fewer


@dataclass(frozen=True, eq=False)
class Example:
    """One test window, followed up to the horizon.

    Parameters
    ----------
    kind
        ``typical``, ``best`` or ``worst``.
    window
        Its number in the test part.
    trajectory, frame, start_fs
        Where it starts: name of the trajectory, frame in it, time since its first frame.
    relative
        Its error in the evaluation over the mean error of all windows at the same lags: the
        measure that the window was chosen by.
    inside
        Frames of the trajectory inside the horizon; ``len(lags_fs) − 1`` of them are here.
    lags_fs
        ``(time,)``, the first is zero: the start itself.
    true, predicted
        The state atoms, ``(time, atom, 3)`` in Å, as they were scored.
    rotations
        Turn each predicted frame onto the true one, over the scored atoms, ``(time, 3, 3)``.
    """

    kind: str
    window: int
    trajectory: str
    frame: int
    start_fs: float
    relative: float
    inside: int
    lags_fs: Doubles
    true: Floats
    predicted: Floats
    rotations: Doubles


@dataclass(frozen=True, eq=False)
class Examples:
    """What a report shows of single windows and atoms.

    Parameters
    ----------
    examples
        One of each of :data:`KINDS`.
    labels
        Names of the state atoms.
    atom_errors
        By method, the model and the best trivial baseline: mean squared error per coordinate of
        each scored atom over all test windows and lags, ``(scored atom,)`` in Å².
    weights
        Numbers that training could change.
    command
        Trains such a run again.
    digest
        Of the weights these came from.
    """

    examples: tuple[Example, ...]
    labels: tuple[str, ...]
    atom_errors: dict[str, Doubles]
    weights: int
    command: str
    digest: str

    def save(self, folder: Path) -> Path:
        """Write ``examples.npz``."""
        arrays: dict[str, Any] = {
            f"{each.kind}.{field.name}": np.asarray(getattr(each, field.name))
            for each in self.examples
            for field in fields(each)
        }
        arrays |= {f"atom_errors.{name}": value for name, value in self.atom_errors.items()}
        single = ("labels", "weights", "command", "digest")
        arrays |= {name: np.asarray(getattr(self, name)) for name in single}
        path = folder / runfiles.EXAMPLES
        write_arrays(path, arrays)
        return path

    @classmethod
    def read(cls, folder: Path) -> "Examples":
        """Read ``examples.npz``.

        Raises
        ------
        InputError
            When it is missing or damaged.
        """
        path = folder / runfiles.EXAMPLES
        arrays = read_arrays(path)
        try:
            examples = tuple(
                Example(**{f.name: _plain(arrays[f"{kind}.{f.name}"]) for f in fields(Example)})
                for kind in KINDS
            )
            return cls(
                examples,
                tuple(arrays["labels"].tolist()),
                {
                    name.removeprefix("atom_errors."): value
                    for name, value in arrays.items()
                    if name.startswith("atom_errors.")
                },
                int(arrays["weights"]),
                str(arrays["command"]),
                str(arrays["digest"]),
            )
        except (ValueError, KeyError) as error:
            raise InputError(f"{path} is damaged ({error}); delete it") from error


def _plain(array: Any) -> Any:
    return array if array.ndim else array.item()


def digest(folder: Path) -> str:
    """SHA-256 of the best weights of a run folder; empty where there are none."""
    path = folder / runfiles.WEIGHTS
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def up_to_date(folder: Path) -> bool:
    """Whether the folder holds an evaluation and examples of its best weights."""
    try:
        return evaluated(folder) and Examples.read(folder).digest == digest(folder)
    except InputError:
        return False


def evaluated(folder: Path) -> bool:
    """Whether the folder holds an evaluation of its best weights; InputError for a damaged one."""
    return _of_best(folder, runfiles.EVALUATION, runfiles.ERRORS)


def measured(folder: Path) -> bool:
    """Whether the folder holds the physics of its best weights; raises as :func:`evaluated`."""
    return _of_best(folder, runfiles.PHYSICS, runfiles.DENSITIES)


def _of_best(folder: Path, numbers: str, arrays: str) -> bool:
    if not all((folder / name).is_file() for name in (numbers, arrays)):
        return False
    return read_json(folder / numbers).get(MEASURED) == digest(folder)


def check_run(run: "Run") -> None:
    """Raise InputError for an exported model, which holds no splits and takes no files."""
    if run.exported:
        raise InputError(
            f"{run.folder} is an exported model, but a report needs a run folder; its errors are "
            "in its README.md, and gfnode evaluate --data measures them again"
        )


def check_own(run: "Run", trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """Give the trajectories of training in their order.

    Raises
    ------
    InputError
        When these are others, or not all.
    """
    arranged = run.provenance.arrange(trajectories)
    if arranged is None:
        raise InputError(
            f"a report covers the test part of the training data ({run.provenance.names}; "
            f"trajectories: {len(run.provenance.entries)}), got "
            f"{', '.join(map(str, trajectories))}; for other data use gfnode evaluate --data"
        )
    return arranged


def make_examples(run: "Run", trajectories: Sequence[Trajectory]) -> Examples:
    """Choose test windows by their errors, predict them densely, and part all errors by atom.

    Parameters
    ----------
    run
        Evaluated: its folder holds ``evaluation.json`` and ``errors.npz``.
    trajectories
        Those of training.

    Raises
    ------
    InputError
        When these are not the trajectories of training, or the errors do not fit them.
    """
    ordered = check_own(run, trajectories)
    windows, _ = run.held_out(ordered)
    evaluation = read_json(run.folder / runfiles.EVALUATION)
    scored = read_arrays(run.folder / runfiles.ERRORS)
    errors, lags = scored[f"errors_{evaluation['model']}"], scored["lags_fs"]
    if len(errors) != len(windows):
        raise InputError(
            f"{run.folder / runfiles.ERRORS} holds {len(errors)} windows, but the test part has "
            f"{len(windows)}; evaluate the run again (gfnode evaluate {run.folder})"
        )
    relative = relative_errors(errors, lags, run.model.system.horizon)
    models = {evaluation["model"]: run.model}
    best = evaluation["best_trivial"]
    models |= {best: run.baselines()[best]}
    return Examples(
        tuple(
            _follow(
                run.model,
                windows,
                ordered,
                kind=kind,
                window=window,
                relative=float(relative[window]),
            )
            for kind, window in zip(KINDS, choose(relative), strict=True)
        ),
        atom_labels(ordered[0].select(run.model.system.atoms)),
        {name: atom_errors(model, windows) for name, model in models.items()},
        run.model.n_weights,
        command(run),
        digest(run.folder),
    )


def command(run: "Run", *, anywhere: bool = True) -> str:
    """The ``gfnode train`` that makes such a run: its preset, and what differs from it.

    A topology is named so that the command works in any folder, or else from this one.
    """
    from gfnode.experiment import configure
    from gfnode.presets import PRESETS, flat

    settings = flat(run.experiment.model_dump(mode="json"))
    name = settings["model.name"]
    changes = {}
    for preset in PRESETS:
        known = flat(configure(preset, {"model.name": name}).model_dump(mode="json"))
        changes[preset] = {k: v for k, v in settings.items() if k not in known or known[k] != v}
    preset = min(changes, key=lambda each: len(changes[each]))
    words, data = ["gfnode", "train"], run.provenance
    for file in dict.fromkeys(each["file"] or f"{each['name']}.npz" for each in data.entries):
        words += ["--data", file]
    words += shlex.split(data.as_trained.command(anywhere=anywhere))
    words += ["--preset", preset] * (preset != "default")
    words += ["--set", f"model.name={name}"] * (name != "gfnode")
    for key, value in changes[preset].items():
        words += ["--set", f"{key}={_typed(key, value)}"]
    return shlex.join([*words, "--out", str(run.folder)])


def _typed(key: str, value: Any) -> str:
    """A value as ``--set`` takes it: times have their unit."""
    if key == "windows.horizon" and value is not None:
        return f"{value}fs"
    if key == "windows.given_lags" and value is not None:
        value = [f"{each}fs" for each in value]
    return json.dumps(value)


def relative_errors(errors: Doubles, lags_fs: Doubles, horizon: float) -> Doubles:
    """Mean error of each window over what all windows have at the same lags, ``(window,)``.

    Errors grow with the lag, so a window that happened to draw short lags is not therefore good:
    each error is taken over the mean in its lag bin.

    Parameters
    ----------
    errors, lags_fs
        ``(window, time)``.
    """
    errors = np.nan_to_num(np.asarray(errors, dtype=np.float64), nan=1e300, posinf=1e300)
    place = lag_bins(np.minimum(lags_fs, horizon), lag_edges(horizon)).clip(0)
    count = np.bincount(place.ravel())
    level = np.bincount(place.ravel(), errors.ravel()) / np.maximum(count, 1)
    return np.asarray((errors / np.maximum(level[place], 1e-300)).mean(1))


def choose(relative: Doubles) -> tuple[int, int, int]:
    """Windows of median, least and largest error."""
    order = np.argsort(relative, kind="stable")
    return int(order[(len(order) - 1) // 2]), int(order[0]), int(order[-1])


def stride_of(inside: int, n_atoms: int) -> int:
    """Every which frame is followed, of those inside the horizon: fewer for large molecules."""
    most = max(1, min(MOST_FRAMES, MOST_VALUES // (6 * n_atoms)))
    return -(-inside // most)


def _follow(
    model: "Model",
    windows: "Windows",
    trajectories: Sequence[Trajectory],
    *,
    kind: str,
    window: int,
    relative: float,
) -> Example:
    import torch

    from gfnode.geometry import kabsch_rotation
    from gfnode.models.inference import predict_in_batches
    from gfnode.windows import lags as draw

    start = windows.starts[[window]]
    times, segments = windows.frames.times.numpy(), windows.frames.segments
    first, last = draw.reach(times, segments, start.numpy(), model.system.horizon)
    inside = int(last[0] - first[0])
    stride = stride_of(inside, model.system.n_atoms)
    frames = torch.arange(int(start) + stride, int(last[0]), stride)
    single = replace(windows.take(torch.tensor([window])), targets=frames[None])
    now = single.select(model.system.atoms).batch(slice(None))
    found, _ = predict_in_batches(model, now.positions, now.velocities, now.lags)
    true, predicted = (
        torch.cat([now.positions, each]).float() for each in (now.targets[0], found[0])
    )
    score = torch.as_tensor(model.system.score)
    finite = torch.nan_to_num(predicted[:, score]).clamp(-1e6, 1e6)  # it may have diverged
    rotations = kabsch_rotation(finite, true[:, score])
    number = int(segments[int(start)])
    return Example(
        kind,
        window,
        trajectories[number if number < len(trajectories) else 0].label,
        int(start) - int(np.searchsorted(segments, number)),
        float(times[int(start)]),
        relative,
        inside,
        np.append(0.0, times[frames.numpy()] - times[int(start)]),
        true.numpy(),
        predicted.numpy(),
        rotations.numpy(),
    )


def atom_errors(model: "Model", windows: "Windows") -> Doubles:
    """Mean squared error per coordinate of each scored atom over windows and lags, in Å²."""
    import torch

    from gfnode.models.inference import predictions

    score = torch.as_tensor(model.system.score)
    total: Tensor = torch.zeros(len(score), dtype=torch.float64)
    for now, predicted, _ in predictions(model, windows.select(model.system.atoms)):
        off = (predicted - now.targets)[..., score, :]
        total += off.double().square().mean((1, 3)).sum(0)
    return np.asarray((total / len(windows)).numpy())
