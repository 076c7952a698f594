"""Molecular dynamics of a copper cluster with ASE, written as extended XYZ.

    python copper_cluster.py --time 30ps --out copper.extxyz

Thirteen atoms, the EMT potential that comes with ASE, no thermostat. Every frame carries its time
(``time_fs``) and its velocities (as momenta), which is all that gfnode needs.
"""

import argparse

import numpy as np
from ase import Atoms, units
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from ase.io import write
from ase.md.velocitydistribution import Stationary, ZeroRotation
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from gfnode.units import parse_time

STEP_FS = 5.0
STEPS_A_FRAME = 2
KELVIN = 300.0


def warm_cluster(seed: int) -> Atoms:
    """A relaxed icosahedron with random velocities, at rest as a whole."""
    atoms = Icosahedron("Cu", noshells=2)
    atoms.calc = EMT()
    BFGS(atoms, logfile=None).run(fmax=0.01)
    # about half of the kinetic energy becomes potential energy, so twice the temperature
    spread = np.sqrt(2 * KELVIN * units.kB / atoms.get_masses())[:, None]
    atoms.set_velocities(np.random.default_rng(seed).normal(size=(len(atoms), 3)) * spread)
    Stationary(atoms)
    ZeroRotation(atoms)
    return atoms


def simulate(time_fs: float, path: str, seed: int = 0) -> None:
    """Run and write a frame every 10 fs."""
    atoms = warm_cluster(seed)
    frames: list[Atoms] = []
    with VelocityVerlet(atoms, STEP_FS * units.fs) as dynamics:

        def keep() -> None:
            frame = atoms.copy()
            frame.info["time_fs"] = dynamics.get_time() / units.fs
            frames.append(frame)

        dynamics.attach(keep, interval=STEPS_A_FRAME)
        dynamics.run(round(time_fs / STEP_FS))
    write(path, frames, format="extxyz")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--time", default="30ps", help="length of the trajectory")
    parser.add_argument("--out", default="copper.extxyz")
    options = parser.parse_args()
    simulate(parse_time(options.time), options.out)
