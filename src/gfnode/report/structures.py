"""Example structures in a form that a page can hold: whole thousandths of Å as base64."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.examples import Example, Examples

RESOLUTION = 1e-3  # Å
MOST_BYTES = 2_500_000
"""That the structures of several runs take in one page."""


def pack(
    examples: Examples, system: Mapping[str, Any], *, name: str = "", aligned: bool = False
) -> dict[str, Any]:
    """What the viewer of the page reads.

    Parameters
    ----------
    examples
        Of the run.
    system
        As in ``run.json``.
    name
        Of the run, where several are shown.
    aligned
        Targets are superposed on their starts.
    """
    from ase.data import chemical_symbols

    numbers = np.asarray(system["source_numbers"])[system["atoms"]]
    score = np.asarray(system["score"])
    return {
        "name": name,
        "aligned": aligned,
        "elements": [chemical_symbols[number] for number in numbers],
        "labels": list(examples.labels),
        "bonds": system["bonds"],
        "score": score.tolist(),
        "resolution": RESOLUTION,
        "examples": [_example(each, score) for each in examples.examples],
    }


def pack_several(
    runs: Sequence[tuple[str, Examples, Mapping[str, Any], bool]],
) -> tuple[list[dict[str, Any]], list[str]]:
    """What the viewer shows of several runs, and what was left out of it, in words.

    Parameters
    ----------
    runs
        Name, examples, system, and whether targets are superposed, of each. Beyond `MOST_BYTES`
        of coordinates the best and the worst windows are left out, then every second frame, until
        the rest fits.
    """
    kinds = [each.kind for each in runs[0][1].examples]
    size = sum(_bytes(each) for _, examples, *_ in runs for each in examples.examples)
    notes = []
    if size > MOST_BYTES:
        kinds = kinds[:1]
        size = sum(_bytes(examples.examples[0]) for _, examples, *_ in runs)
        notes.append("The best and the worst window of each run are in its own report.")
    stride = 1
    while size > stride * MOST_BYTES:
        stride *= 2
    if stride > 1:
        notes.append(f"To keep the page small, only one frame in {stride} is shown.")
    packed = [
        pack(_thinned(examples, kinds, stride), system, name=name, aligned=aligned)
        for name, examples, system, aligned in runs
    ]
    return packed, notes


def _bytes(example: Example) -> int:
    """About what an example takes: two bytes a coordinate, in base64."""
    return example.true.size * 2 * 2 * 4 // 3


def _thinned(examples: Examples, kinds: Sequence[str], stride: int) -> Examples:
    return replace(
        examples,
        examples=tuple(
            replace(
                each,
                lags_fs=each.lags_fs[::stride],
                true=each.true[::stride],
                predicted=each.predicted[::stride],
                rotations=each.rotations[::stride],
            )
            for each in examples.examples
            if each.kind in kinds
        ),
    )


def distances(example: Example, score: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Root mean square distance over the scored atoms in Å, each ``(time,)``.

    ``rmsd`` of the prediction as it stands, ``superposed`` after the best rotation and
    translation, ``start`` of the unchanged start.
    """
    true, predicted = (x[:, score].astype(np.float64) for x in (example.true, example.predicted))
    turned = np.einsum("tij,taj->tai", example.rotations, _centred(predicted))
    return {
        "rmsd": _rms(predicted - true),
        "superposed": _rms(turned - _centred(true)),
        "start": _rms(true[:1] - true),
    }


def _example(example: Example, score: NDArray[np.int64]) -> dict[str, Any]:
    origin = example.true[0].mean(0).round(3)
    found = {
        key: [round(each, 6) if np.isfinite(each) else None for each in value.tolist()]
        for key, value in distances(example, score).items()
    }
    return {
        "kind": example.kind,
        "window": example.window,
        "trajectory": example.trajectory,
        "frame": example.frame,
        "start_fs": example.start_fs,
        "relative": example.relative,
        "inside": example.inside,
        "lags_fs": np.round(example.lags_fs, 6).tolist(),
        "origin": origin.tolist(),
        "true": _whole(example.true - origin),
        "predicted": _whole(example.predicted - origin),
        "side": _broadside(example.true[0]).ravel().round(6).tolist(),
        "rotations": _base64(example.rotations.astype("<f4")),
    } | found


def _broadside(positions: NDArray[Any]) -> NDArray[np.float64]:
    """Rotation after which a molecule lies widest in x and thinnest in z, towards the eye."""
    _, _, axes = np.linalg.svd(positions - positions.mean(0), full_matrices=True)
    axes[2] *= np.sign(np.linalg.det(axes))  # no mirror image
    return np.asarray(axes, dtype=np.float64)


def _whole(positions: NDArray[Any]) -> dict[str, str]:
    units = np.rint(np.nan_to_num(positions) / RESOLUTION)
    small = np.abs(units).max() < 2**15
    whole = np.clip(units, 1 - 2**31, 2**31 - 1).astype("<i2" if small else "<i4")
    return {"type": "int16" if small else "int32", "data": _base64(whole)}


def _base64(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _centred(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(x - x.mean(1, keepdims=True))


def _rms(difference: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.square(difference).sum(-1).mean(-1)))
