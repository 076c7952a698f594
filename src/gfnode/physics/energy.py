"""Potential energies of predicted and true conformations."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfnode.molecule.system import System
from gfnode.physics.predictions import Predictions
from gfnode.physics.section import TRUE, Section
from gfnode.simulate import energies
from gfnode.thinning import evenly
from gfnode.trajectory import Doubles, Floats, Topology

FRAMES = 50
"""Default number of conformations of each method."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def check_engine(system: System, engine: str, topology: Topology | None) -> None:
    """Check that an engine can be used, before anything is predicted.

    Raises
    ------
    InputError
        For an engine that is unknown or not installed, or does not support the molecule.
    """
    if system.n_atoms == len(system.source_numbers):
        energies(system.numbers, np.empty((0, system.n_atoms, 3)), engine, topology=topology)


def measure_energy(
    predictions: Predictions,
    engine: str = "xtb",
    frames: int = FRAMES,
) -> Section:
    """Potential energies of conformations of the truth and of every method.

    The same evenly spaced windows and lags for all; in kcal/mol, minus the mean of the true ones. A
    mean over conformations is no physical conformation: predictions of the mean have bonds that are
    too short at long lags, and energies far above (or below) thermal ones.

    Parameters
    ----------
    predictions
        All atoms of the molecule must be in the state.
    engine
        ``xtb`` (GFN2-xTB), ``openmm``, or what :func:`gfnode.simulate.energies` takes.
    frames
        Conformations of each method.

    Raises
    ------
    InputError
        For an engine that is not installed or does not support the molecule.
    """
    system = predictions.system
    if system.n_atoms < len(system.source_numbers):
        return Section(
            {
                "reason": (
                    f"the state has {system.n_atoms} of {len(system.source_numbers)} atoms, and "
                    "the energy needs the whole molecule"
                )
            }
        )
    windows, times = predictions.lags_fs.shape
    window, time = np.divmod(evenly(windows * times, frames), times)

    def of(positions: Floats) -> Doubles:
        return energies(system.numbers, positions, engine, topology=predictions.topology)

    true = of(predictions.true[window, time])
    middle = float(np.nanmean(true))
    found = {TRUE: true}
    for name, positions in predictions.predicted.items():
        found[name] = of(positions[window, time])
    numbers = {name: summary(each - middle) for name, each in found.items()}
    arrays: dict[str, NDArray[Any]] = {
        f"energy_kcal_mol_{name}": each - middle for name, each in found.items()
    }
    arrays["lags_fs"] = predictions.lags_fs[window, time]
    return Section(
        {
            "engine": engine,
            "frames": len(window),
            "true_mean_kcal_mol": middle,
            TRUE: numbers.pop(TRUE),
            "methods": numbers,
        },
        arrays,
    )


def summary(relative: Doubles) -> dict[str, Any]:
    """Mean, standard deviation and quantiles of energies in kcal/mol; number of failures."""
    known = relative[np.isfinite(relative)]
    without = len(relative) - len(known)
    if not len(known):
        return {"without_energy": without}
    return {
        "mean_kcal_mol": float(known.mean()),
        "spread_kcal_mol": float(known.std()),
        "quantiles_kcal_mol": dict(
            zip(map(str, QUANTILES), np.quantile(known, QUANTILES).tolist(), strict=True)
        ),
        "without_energy": without,
    }
