"""Figures of merit of a run's physics: what runs are compared by."""

from gfnode.report.loading import RunFiles
from gfnode.report.panels.common import TRUE, Estimate
from gfnode.report.panels.geometry import NAMES
from gfnode.report.physics_table import UNITS


def merits(run: RunFiles, method: str = "") -> dict[str, Estimate]:
    """Estimates by what they are of, with their unit; of the model unless another is named.

    Parameters
    ----------
    method
        ``constant``, ``floor``, ``true`` or a baseline; what it has no number for is left out.
    """
    name = method or run.model
    found: dict[str, Estimate | None] = {}
    for section in ("geometry", "shape", "torsions"):
        for key, quantity in run.physics.get(section, {}).get("quantities", {}).items():
            numbers = quantity["methods"].get(name, {})
            label, unit = NAMES.get(key, key), UNITS.get(quantity["unit"], quantity["unit"])
            found[f"{label}: error, {unit}"] = numbers.get("error")
            found[f"{label}: JS divergence, bits"] = numbers.get("js_bits")
    for residue, each in run.physics.get("torsions", {}).get("ramachandran", {}).items():
        label = f"Ramachandran of {residue}: JS divergence, bits"
        found[label] = each["methods"].get(name, {}).get("js_bits")
    whole = run.physics.get("integrity", {}).get("methods", {})
    found["share of frames with broken geometry"] = whole.get(name, {}).get("frames_with_any")
    spectra = run.physics.get("spectra", {})
    kind = {run.model: "predicted", TRUE: TRUE}.get(name)
    if kind and "superposed" in spectra:
        ranks = spectra["superposed"][f"rank_correlation_{kind}"]
        found["rank correlation of frequency and eigenvalue"] = ranks
    return {
        key: each
        for key, each in found.items()
        if each is not None and each.get("value") is not None
    }
