"""How physical predictions are, as one table for the console; ``physics`` of an evaluation."""

import re
from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from rich.table import Table

from gfnode.report.numbers import BOUNDLESS, NOTHING, cell, terse
from gfnode.report.tables import plain_table

UNITS = {"angstrom": "Å", "degree": "°"}
TITLES = {
    "bond": "bond length",
    "angle": "bond angle",
    "dihedral": "dihedral",
    "improper": "improper dihedral",
    "rmsd": "RMSD",
    "rmsd_superposed": "RMSD, superposed",
    "radius_of_gyration": "radius of gyration",
    "pair_distance": "pair distance",
}
COUNTS = {
    "broken_bonds": "broken bonds",
    "collapsed_bonds": "collapsed bonds",
    "clashes": "clashes",
    "inverted_centres": "inverted centres",
    "chirality_lost": "stereocentres lost",
}
NEEDED = {"inverted_centres": "centres", "chirality_lost": "stereocentres"}
"""What a molecule must have for a count to say something."""

BESIDE = ("true", "constant", "floor")
MOST = 6
"""Named torsions that have rows of their own."""

FURTHEST = "predicted distributions furthest from the true ones (Wasserstein distance)"


def atoms_words(physics: Mapping[str, Any]) -> str:
    """Which atoms geometry, shape and integrity are of, where these are not all."""
    sections = ("geometry", "shape", "integrity")
    section: Mapping[str, Any] = next((physics[s] for s in sections if s in physics), {})
    if section.get("looked_at") != "heavy":
        return ""
    count = section["atoms"]
    return f"the {count} heavy atoms, without hydrogens" if count else ""


Row = tuple[str, Mapping[str, Any]]


def physics_table(physics: Mapping[str, Any]) -> Table:
    """The model beside the best trivial baseline of each row, the constant and the floor."""
    rows = list(_rows(physics))
    model = next((name for _, found in rows for name in found if name not in BESIDE), "model")
    atoms = f": {of}" if (of := atoms_words(physics)) else ""
    title = (
        f"Physics of predictions{atoms} (means over windows and lags, 95 % intervals over blocks "
        "of time)\nconstant: a fixed mean geometry; floor: difference between independent "
        "stretches of MD (per frame: the count in true frames)"
    )
    torsions = physics.get("torsions", {}).get("quantities", {})
    if len(torsions) > MOST:
        title += f"\ntorsions by name: the {MOST} of {len(torsions)} with {FURTHEST}"
    table = plain_table(title)
    for name in (model, "best trivial", "constant", "floor"):
        table.add_column(name, justify="right")
    for label, found in rows:
        others = {
            name: each["value"]
            for name, each in found.items()
            if name not in (model, *BESIDE) and each["value"] is not None
        }
        best = min(others, key=others.__getitem__, default=None)
        table.add_row(
            label,
            cell(found[model], _short) if model in found else NOTHING,
            NOTHING if best is None else f"{_short(others[best])} {best}",
            _value(found.get("constant")),
            _value(found.get("floor", found.get("true"))),
        )
    return table


def _rows(physics: Mapping[str, Any]) -> Iterator[Row]:
    """Titles, and an estimate by method."""
    kinds = {
        key: each
        for section in ("geometry", "shape")
        for key, each in physics.get(section, {}).get("quantities", {}).items()
    }
    for key, title in TITLES.items():
        if key in kinds:
            unit = UNITS[kinds[key]["unit"]]
            what = "" if key.startswith("rmsd") else ", error"
            yield f"{title}{what} ({unit})", _pick(kinds[key], "error")
    for key, title in TITLES.items():
        if key in kinds and not key.startswith("rmsd"):
            yield (
                f"{title}, Wasserstein ({UNITS[kinds[key]['unit']]})",
                _pick(kinds[key], "wasserstein"),
            )
    counts = physics.get("integrity", {}).get("methods", {})
    for key, title in COUNTS.items():
        found = {name: each[key]["per_frame"] for name, each in counts.items()}
        if found and physics["integrity"].get(NEEDED.get(key, ""), 1):
            yield f"{title} per frame", found
    torsions = physics.get("torsions", {})
    quantities = torsions.get("quantities", {})
    for name in furthest(torsions):
        yield f"{name}, error (°)", _pick(quantities[name], "error")
    for residue, each in torsions.get("ramachandran", {}).items():
        yield f"φψ of {residue}, Jensen–Shannon (bits)", _pick(each, "js_bits")


def furthest(torsions: Mapping[str, Any]) -> list[str]:
    """At most `MOST` torsions, in their order: those a user named, then those furthest off.

    Furthest is of the Wasserstein distance of the predicted distribution from the true one.

    Parameters
    ----------
    torsions
        The part ``torsions`` of ``physics.json``. One of an earlier gfnode does not say which a
        user named: there those are that are not called as torsions of residues are.
    """
    found = torsions.get("quantities", {})
    asked = torsions.get("asked", [name for name in found if not _OF_RESIDUES.match(name)])
    order = sorted(found, key=lambda name: (name not in asked, -_distance(found[name])))
    chosen = order[:MOST]
    return [name for name in found if name in chosen]


_OF_RESIDUES = re.compile(r"(phi|psi|omega|chi\d)_")


def _distance(quantity: Mapping[str, Any]) -> float:
    """Of the model, which comes first; without bound where that is not known."""
    found = next(each for name, each in quantity["methods"].items() if name not in BESIDE)
    value = found.get("wasserstein", {}).get("value")
    return inf if value is None else float(value)


def _pick(quantity: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: each[key] for name, each in quantity["methods"].items() if key in each}


def _short(value: float | None) -> str:
    return terse(value, BOUNDLESS)


def _value(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None or estimate.get("count") == 0:
        return NOTHING
    return _short(estimate["value"])
