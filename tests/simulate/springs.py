"""Cheap molecules whose energy is known in closed form, as forces and as an ASE calculator."""

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from gfnode.simulate.molecules import Molecule
from gfnode.units import ELECTRONVOLT

WATER = np.array([[0.0, 0, 0], [0.9572, 0, 0], [-0.24, 0.9266, 0]])
MASSES = np.array([15.999, 1.008, 1.008])
STIFF = 0.05  # u/fs²: a period of about 27 fs for O–H
FIVE = 1.6 * np.random.default_rng(5).normal(size=(5, 3))
FIVE_MASSES = np.array([12.0, 14, 16, 12, 14])
REFERENCE = {3: WATER, 5: FIVE}
MOLECULES = {
    "water": Molecule("water", "a test", np.array([8, 1, 1]), WATER),
    "five": Molecule("five", "a test", np.array([6, 7, 8, 6, 7]), FIVE),
}


def pair_springs(reference: np.ndarray, stiffness: float = STIFF):
    """E = ½ k Σ (r_ij − r⁰_ij)² over all pairs: neither force nor torque in sum."""
    first, second = np.triu_indices(len(reference), k=1)
    rest = np.linalg.norm(reference[first] - reference[second], axis=1)

    between = np.zeros((len(first), len(reference)))
    between[np.arange(len(first)), first] = 1
    between[np.arange(len(first)), second] = -1

    def forces(x: np.ndarray) -> tuple[float, np.ndarray]:
        apart = between @ x
        length = np.sqrt((apart**2).sum(1))
        stretch = length - rest
        pull = (-stiffness * stretch / length)[:, None] * apart
        return float(stiffness * (stretch @ stretch) / 2), between.T @ pull

    return forces


class Springs(Calculator):
    """The same for ASE; ``fail_after`` calculations it gives up, ``blow`` makes forces infinite."""

    implemented_properties = ("energy", "forces")

    def __init__(
        self, stiffness: float = STIFF, fail_after: int | None = None, *, blow: bool = False
    ) -> None:
        super().__init__()
        self.stiffness, self.left, self.blow = stiffness, fail_after, blow
        self.springs = None

    def calculate(self, atoms: Atoms, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("no convergence")
        if self.springs is None:
            self.springs = pair_springs(REFERENCE[len(atoms)], self.stiffness)
        energy, forces = self.springs(atoms.positions)
        if self.blow:
            forces = forces + np.inf
        self.results = {"energy": energy / ELECTRONVOLT, "forces": forces / ELECTRONVOLT}
