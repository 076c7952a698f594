"""What a run was trained and judged on, in words."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfnode import __version__
from gfnode.kernels.build import compiler_missing, has_bfloat16
from gfnode.trajectory import SHORT_GAP
from gfnode.units import count, format_time

if TYPE_CHECKING:
    from gfnode.experiment import Dataset
    from gfnode.run import Run
    from gfnode.trajectory import Trajectory


SHOWN = {"better": "better", "worse": "worse", "indistinguishable": "no significant difference"}
AGAINST = {
    "better": "better than",
    "worse": "worse than",
    "indistinguishable": "not significantly different from",
}
"""Verdicts as people read them: by themselves, and before what was compared with."""


def seen_from(gap_fs: float | None) -> str:
    """What is to be said of a temperature by differences of frames so far apart; often nothing."""
    if gap_fs is None or abs(gap_fs) <= SHORT_GAP:
        return ""
    return f"from frames {format_time(abs(gap_fs))} apart, which partly miss fast vibrations"


def given(gap_fs: float | None) -> str:
    """What a model is given beside a conformation, by ``velocity_gap_fs`` of its run.

    Where the data stored no velocities, that is another frame.
    """
    if gap_fs is None:
        return "its velocities"
    side = "before" if gap_fs < 0 else "after"
    return f"the frame {format_time(abs(gap_fs))} {side} it instead of velocities"


def called(name: str, formula: str) -> str:
    """A molecule by its name and formula; once where the formula is all the name that it has."""
    return name if name == formula else f"{name} ({formula})"


def describe_training(run: "Run", dataset: "Dataset") -> Iterator[str]:
    """What was chosen, before training begins."""
    system, settings, facts = dataset.system, run.experiment, run.facts
    yield f"gfnode {__version__}"
    read = Counter(
        f"{called(data['name'], data['formula'])}: {data['atoms']} atoms, {data['frames']} frames "
        f"over {format_time(data['span_fs'])}, time step {format_time(system.time_step)} "
        f"[{data['file']}]"
        for data in facts["data"]
    )
    for words, number in read.items():  # the molecules of a box are one line
        yield f"data      {f'{number} × ' if number > 1 else ''}{words}"
    sizes = ", ".join(f"{number} {name}" for name, number in facts["windows"].items())
    times = dataset.parts["train"].targets.shape[1]
    align = any(part.align is not None for part in dataset.parts.values())
    yield (
        f"windows   {sizes} ({settings.windows.split} split); "
        f"{count(times, settings.windows.lags + ' lag')} up to the horizon of "
        f"{format_time(system.horizon)}"
        f"{'; targets superposed on the start' if align else ''}"
    )
    yield (
        f"graph     {system.n_atoms} atoms in the state, {len(system.score)} scored; "
        f"{count(len(system.bonds), 'bond')}, {system.edges.index.shape[1]} directed edges"
    )
    for note in dataset.notes:
        yield f"note      {note}"
    on_processor = settings.accelerator in ("auto", "cpu")
    if on_processor and compiler_missing():
        yield (
            "note      there is no C++ compiler: on a processor, training and predictions take up "
            "to twice as long. Install one (g++), or name it by the variable CXX"
        )
    if on_processor and settings.training.products == "bfloat16" and not has_bfloat16():
        yield (
            "note      training.products=bfloat16 has an effect on GPUs only: this processor has "
            "no instructions for it (AVX512-BF16)"
        )
    weights = run.model.n_weights
    yield f"model     {settings.model['name']}, {count(weights, 'weight')}"
    if weights:
        training = settings.training
        batch = facts.get("batch") or training.batch
        yield (
            f"training  at most {count(training.epochs, 'epoch')} of "
            f"{facts['windows']['train'] // batch} batches of {batch} windows, "
            f"learning rate {training.rate:g}, seed {settings.seed}"
        )
    yield f"run       {run.folder}"


def describe_end(run: "Run") -> str:
    """Why there is nothing to go on with, and how to train longer."""
    trained = run.facts["training"]
    stopped = "epochs" if trained["epochs"] >= run.experiment.training.epochs else "patience"
    return (
        f"training has already ended ({trained['ended']}); to train longer, start again in another "
        f"folder with more than --set training.{stopped}="
        f"{getattr(run.experiment.training, stopped)}"
    )


def describe_result(run: "Run") -> Iterator[str]:
    """What training came to, and what to do with it."""
    trained = run.facts.get("training")
    if trained:
        best = trained["best_epoch"]
        when = f"at epoch {best}" if best else "as fitted, before training"
        yield (
            f"trained {count(trained['epochs'], 'epoch')} in {trained['seconds']:.0f} s on "
            f"{trained['device']} ({trained['ended']}); best validation error "
            f"{trained['best_validation_error']:.4g} Å² per coordinate {when}"
        )
    if trained and run.model.follows and run.calibration is not None:
        yield (
            "training does not use Newton's equations; with them the validation error is "
            f"{run.calibration.error:.4g} Å² per coordinate"
        )
    if trained:
        yield from _beside_trivial(run, trained)
    yield f"run folder: {run.folder}"
    horizon = format_time(run.model.system.horizon).replace(" ", "")
    gone = [each for each in run.provenance.files if ":" not in each and not Path(each).exists()]
    # a file of training is read as in training without being told
    start = next((each for each in run.provenance.files if each not in gone), "FILE")
    given = ["--start", start, "--times", horizon, "--out", "traj.xtc"]
    held = ["--data", "FILE"] if gone else []
    if gone:
        yield f"{gone[0]} no longer exists: restore it, or give its new place as FILE"
    yield "next:"
    for words in (["evaluate", str(run.folder), *held], ["predict", str(run.folder), *given]):
        yield f"  gfnode {shlex.join(words)}"


def _beside_trivial(run: "Run", trained: Mapping[str, Any]) -> Iterator[str]:
    """The validation error of the best trivial baseline, where a run knows it."""
    errors = trained.get("trivial_validation_errors", {})
    known = {name: error for name, error in errors.items() if error}
    if not known:
        return
    name = min(known, key=lambda each: known[each])
    ours = trained["best_validation_error"]
    if run.model.follows and run.calibration and run.experiment.training.select == "mean":
        ours = run.calibration.error
    ratio = ours / known[name]
    verdict = ", so it is no better" if ratio >= 1 else ""
    yield (
        f"the best trivial baseline, {name}, has {known[name]:.4g} Å² on the same windows; the "
        f"model's error is {ratio:.2g} times that{verdict}"
    )


def judged_on(evaluation: Mapping[str, Any]) -> str:
    """The windows of an evaluation: ``32 windows in 1 block of time``."""
    windows, blocks = evaluation["windows"], evaluation["blocks"]
    return f"{count(windows, 'window')} in {count(blocks, 'block')} of time"


def describe_evaluation(
    run: "Run", given: "Sequence[Trajectory]", evaluation: Mapping[str, Any], own: bool
) -> str:
    """What an evaluation was made on."""
    system = run.model.system
    names = ", ".join(dict.fromkeys(called(each.label, each.formula) for each in given))
    part = "test part of the training data" if own else "all windows of other data"
    superposed = evaluation["targets_superposed_on_start"]
    return (
        f"{names}, {part}: {judged_on(evaluation)}, {count(evaluation['times'], 'lag')} up to "
        f"{format_time(evaluation['horizon_fs'])}; "
        f"{len(system.score)} of {len(system.source_numbers)} atoms scored; targets "
        f"{'superposed on the start' if superposed else 'not superposed'}"
    )
