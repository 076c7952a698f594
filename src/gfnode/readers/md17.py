"""The npz layouts of MD17, MD22 and rMD17, and what is known of the time between their frames.

MD17: Chmiela et al., Sci. Adv. 3, e1603015 (2017). rMD17: Christensen and von Lilienfeld, Mach.
Learn.: Sci. Technol. 1, 045018 (2020). MD22: Chmiela et al., Sci. Adv. 9, eadf0873 (2023), a frame
every 1 fs. None stores times. The steps of MD17 follow from the kinetic temperature of consecutive
frames and from their acceleration against the stored forces.
"""

import re
from pathlib import Path

import numpy as np

from gfnode.errors import InputError
from gfnode.readers.archive import Archive
from gfnode.readers.source import Source, atomic_numbers
from gfnode.trajectory import Integers, formula_of
from gfnode.units import KCAL_MOL

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

MD22 = {
    "Ac-Ala3-NHMe": "C12H22N4O4",
    "DHA": "C22H32O2",
    "stachyose": "C24H42O21",
    "AT-AT": "C20H22N14O4",
    "AT-AT-CG-CG": "C38H42N30O8",
    "buckyball-catcher": "C120H28",
    "double-walled-nanotube": "C326H44",
}
"""The molecules of MD22 and their formulas, all different."""

STEP = 0.5
"""Time between frames of most series, in fs."""

MD22_STEP = 1.0
"""That of MD22."""

OTHER_STEPS = {"azobenzene": 1.0, "paracetamol": 1.0, "benzene": 0.2}
OTHER_STEPS |= dict.fromkeys(MD22, MD22_STEP)
"""The series with another step, in fs; ``benzene`` is the series of 2017."""

_STATED = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*fs\s+(?:time\s*)?step", re.IGNORECASE)


def open_md17(path: Path, archive: Archive, factor: float, step: float | None) -> Source:
    """Open ``R`` (frame, atom, 3) and ``z`` (atom,): consecutive frames, ``step`` apart.

    ``factor`` is Å in the file's unit of length. The step is the user's, else the one that the
    file's ``theory`` states (``"…; 0.5 fs step"``), else that of the molecule's series.
    """
    numbers = atomic_numbers(path, archive["z"], "z")
    frames = archive.check_shape("R", "positions", len(numbers))
    name, formula = archive.text("name"), formula_of(numbers)
    molecule = _recognise(name, formula)
    if step is None and (stated := _STATED.search(archive.text("theory"))):
        step = float(stated[1])
    step = _known(path, step, name or formula, molecule)
    fields = {"positions": ("R", factor)} | _forces(archive, "F", len(numbers), frames)
    return Source(
        numbers,
        np.arange(frames, dtype=np.float64) * step,
        archive.blocks(fields),
        time_step=step,
        name=name or molecule or "",
        notes=archive.coarse(fields),
    )


def open_rmd17(path: Path, archive: Archive, step: float | None) -> Source:
    """Open ``coords``, ``nuclear_charges`` and ``old_indices``, the places in the MD17 series.

    rMD17 is published in random order, a few frames twice: frames are sorted, repeats dropped, and
    a frame's time is its place in the series times the step. ``old_forces`` belong to the motion;
    ``forces`` were computed later, at another level of theory.
    """
    numbers = atomic_numbers(path, archive["nuclear_charges"], "nuclear_charges")
    frames = archive.check_shape("coords", "positions", len(numbers))
    indices = archive["old_indices"]
    if indices.shape != (frames,) or indices.dtype.kind not in "iu" or indices.min() < 0:
        raise InputError(
            f"{path}: old_indices are {indices.dtype} of shape {indices.shape}, expected one whole "
            f"number from 0 up for each of the {frames} frames"
        )
    formula = formula_of(numbers)
    molecule = _recognise("", formula)
    step = _known(path, step, formula, molecule)
    fields = {"positions": ("coords", 1.0)}
    fields |= _forces(archive, "old_forces", len(numbers), frames)
    series, first = np.unique(indices.astype(np.int64), return_index=True)
    return Source(
        numbers,
        series.astype(np.float64) * step,
        archive.blocks(fields),
        time_step=step,
        name=molecule or "",
        notes=archive.coarse(fields),
        order=first,
    )


def _forces(archive: Archive, key: str, atoms: int, frames: int) -> dict[str, tuple[str, float]]:
    """Forces in kcal/mol/Å, where the file has them."""
    if key not in archive:
        return {}
    archive.check_shape(key, "forces", atoms, frames)
    return {"forces": (key, KCAL_MOL)}


def recognise_md22(numbers: Integers) -> str | None:
    """The molecule of MD22 that has these atoms."""
    formula = formula_of(numbers)
    return next((name for name, each in MD22.items() if each == formula), None)


def _recognise(name: str, formula: str) -> str | None:
    said = name.lower()
    if "2018" in said:  # benzene was run again in 2018: not the series whose step is known
        return None
    known = MOLECULES | MD22
    named = (each for each in known if re.match(rf"{each.lower()}(?![a-z-])", said))
    made = (each for each, atoms in known.items() if atoms == formula)
    return next(named, None) or next(made, None)


def _known(path: Path, step: float | None, what: str, molecule: str | None) -> float:
    if step is not None:
        return step
    if molecule is None:
        raise InputError(
            f"{path}: the file stores no times, and {what} is not an MD17 or MD22 molecule of "
            "known time step: give --step, the time between frames, e.g. --step 1fs"
        )
    return OTHER_STEPS.get(molecule, STEP)
