"""The npz layouts of MD17 and rMD17, and what is known of the time between their frames.

MD17: Chmiela et al., Sci. Adv. 3, e1603015 (2017). rMD17: Christensen and von Lilienfeld, Mach.
Learn.: Sci. Technol. 1, 045018 (2020). Neither stores times. The steps below follow from the
kinetic temperature of consecutive frames and from their acceleration against the stored forces.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.errors import InputError
from gfnode.trajectory import Trajectory

Arrays = Mapping[str, NDArray[Any]]

MOLECULES = {
    "aspirin": "C9H8O4",
    "azobenzene": "C12H10N2",
    "benzene": "C6H6",
    "ethanol": "C2H6O",
    "malonaldehyde": "C3H4O2",
    "naphthalene": "C10H8",
    "paracetamol": "C8H9NO2",
    "salicylic": "C7H6O3",
    "toluene": "C7H8",
    "uracil": "C4H4N2O2",
}
"""The molecules of MD17 and their formulas, all different."""

STEP = 0.5
"""Time between frames of most series, in fs."""

OTHER_STEPS = {"azobenzene": 1.0, "paracetamol": 1.0, "benzene": 0.2}
"""The series with another step, in fs; ``benzene`` is the series of 2017."""

_STATED = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*fs\s+(?:time\s*)?step", re.IGNORECASE)


def read_md17(path: Path, arrays: Arrays, length: float, step: float | None) -> Trajectory:
    """Read ``R`` (frame, atom, 3) and ``z`` (atom,): consecutive frames, ``step`` apart.

    ``length`` is Å in the file's unit of length. The step is the user's, else the one that the
    file's ``theory`` states (``"…; 0.5 fs step"``), else that of the molecule's MD17 series.
    """
    trajectory = _untimed(path, arrays["R"], arrays["z"])
    name = _text(arrays, "name")
    molecule = _recognise(name, trajectory.formula)
    if step is None and (stated := _STATED.search(_text(arrays, "theory"))):
        step = float(stated[1])
    step = _known(path, step, name or trajectory.formula, molecule)
    return replace(
        trajectory,
        positions=trajectory.positions if length == 1 else trajectory.positions * length,
        times=np.arange(len(trajectory), dtype=np.float64) * step,
        time_step=step,
        name=name or molecule or "",
    )


def read_rmd17(path: Path, arrays: Arrays, step: float | None) -> Trajectory:
    """Read ``coords``, ``nuclear_charges`` and ``old_indices``, the places in the MD17 series.

    rMD17 is published in random order, a few frames twice: frames are sorted, repeats dropped, and
    a frame's time is its place in the series times the step.
    """
    trajectory = _untimed(path, arrays["coords"], arrays["nuclear_charges"])
    indices = arrays["old_indices"]
    if indices.shape != (len(trajectory),) or indices.dtype.kind not in "iu" or indices.min() < 0:
        raise InputError(
            f"{path}: old_indices are {indices.dtype} of shape {indices.shape}, expected one whole "
            f"number from 0 up for each of the {len(trajectory)} frames"
        )
    molecule = _recognise("", trajectory.formula)
    step = _known(path, step, trajectory.formula, molecule)
    series, first = np.unique(indices.astype(np.int64), return_index=True)
    return Trajectory(
        trajectory.positions[first],
        series.astype(np.float64) * step,
        trajectory.numbers,
        time_step=step,
        name=molecule or "",
        source=str(path),
    )


def _untimed(path: Path, positions: NDArray[Any], numbers: NDArray[Any]) -> Trajectory:
    """Check shapes, elements and values, with frame numbers for times."""
    frames = np.arange(len(positions) if positions.ndim else 0)
    return Trajectory(positions, frames, numbers, source=str(path))  # type: ignore[arg-type]


def _recognise(name: str, formula: str) -> str | None:
    said = name.lower()
    if "2018" in said:  # benzene was run again in 2018: not the series whose step is known
        return None
    named = (molecule for molecule in MOLECULES if re.match(rf"{molecule}(?![a-z])", said))
    made = (molecule for molecule, atoms in MOLECULES.items() if atoms == formula)
    return next(named, None) or next(made, None)


def _known(path: Path, step: float | None, what: str, molecule: str | None) -> float:
    if step is not None:
        return step
    if molecule is None:
        raise InputError(
            f"{path}: the file stores no times and {what} is none of the MD17 molecules, whose "
            "time step is known: give --step, the time between frames, e.g. --step 0.5fs"
        )
    return OTHER_STEPS.get(molecule, STEP)


def _text(arrays: Arrays, key: str) -> str:
    if key not in arrays or arrays[key].size != 1 or arrays[key].dtype.kind not in "US":
        return ""
    value = arrays[key].item()
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
