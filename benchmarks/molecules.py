"""Three molecules to time on: their graphs are exact, their starts are drawn flat and shaken."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gfnode.experiment import build_model, configure
from gfnode.graph import hop_edges
from gfnode.models.gfnode import GraphFourierODE
from gfnode.molecule.system import System
from gfnode.windows.published import rigid_pairs

TIME_STEP, FRAMES = 0.5, 3000  # fs; frames in the horizon, as published
BOND = 1.4  # Å


@dataclass(frozen=True)
class Molecule:
    """Heavy atoms in the order of the MD17 files, drawn on a honeycomb of unit bonds."""

    heavy: str  # symbols of the heavy atoms
    hydrogens: int
    bonds: str
    flat: list[tuple[float, float]]  # x in units of cos 30° bond lengths, y in bond lengths


MOLECULES: dict[str, Molecule] = {
    "ethanol": Molecule("CCO", 6, "0-1 0-2", [(0, 0), (-1, -0.5), (1, -0.5)]),
    "uracil": Molecule(
        "CCNCNCOO",
        4,
        "0-1 0-5 1-2 2-3 3-4 3-6 4-5 5-7",
        [(0, 1), (1, 0.5), (1, -0.5), (0, -1), (-1, -0.5), (-1, 0.5), (0, -2), (-2, 1)],
    ),
    "aspirin": Molecule(
        "CCCCCCCOOOCCO",
        8,
        "0-2 0-5 1-3 1-6 2-3 4-11 5-6 5-10 6-12 7-10 8-11 9-10 11-12",
        [
            *((0, 1), (0, -1), (1, 0.5), (1, -0.5), (-1, -2.5), (-1, 0.5), (-1, -0.5)),
            *((-3, 0.5), (-3, -2.5), (-2, 2), (-2, 1), (-2, -2), (-2, -1)),
        ],
    ),
}


def system(molecule: Molecule) -> System:
    """Build the heavy-atom system of the published protocol."""
    heavy = np.array([{"C": 6, "N": 7, "O": 8}[symbol] for symbol in molecule.heavy])
    bonds = np.array([[int(end) for end in bond.split("-")] for bond in molecule.bonds.split()])
    atoms = np.arange(len(heavy))
    numbers = np.concatenate([heavy, np.ones(molecule.hydrogens, dtype=np.int64)])
    return System(
        numbers,
        atoms,
        atoms,
        bonds,
        hop_edges(bonds, len(heavy)),
        TIME_STEP,
        TIME_STEP * FRAMES,
        rigid_pairs(numbers, atoms, bonds),
    )


def published(molecule: Molecule) -> GraphFourierODE:
    """Build the ``published`` model of a molecule, seed 53."""
    model = build_model(configure("published"), system(molecule))
    assert isinstance(model, GraphFourierODE)
    return model


def starts(molecule: Molecule, batch: int, times: int, seed: int = 0) -> list[Tensor]:
    """Positions, velocities, lags and targets of a batch, lags drawn as published (irregular)."""
    rng = np.random.default_rng(seed)
    flat = np.column_stack([np.array(molecule.flat), np.zeros(len(molecule.heavy))])
    flat = flat * [BOND * np.sqrt(0.75), BOND, BOND]

    def around(x: np.ndarray, scale: float, *shape: int) -> Tensor:
        noise = rng.standard_normal((*shape, *flat.shape))
        return torch.as_tensor(x + scale * noise, dtype=torch.float32)

    frames = [np.sort(rng.choice(FRAMES, times, replace=False) + 1) for _ in range(batch)]
    lags = torch.as_tensor(np.array(frames) * TIME_STEP, dtype=torch.float32)
    positions = around(flat, 0.1, batch)
    return [positions, around(0 * flat, 0.01, batch), lags, around(flat, 0.3, batch, times)]
