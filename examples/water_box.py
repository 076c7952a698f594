"""Molecular dynamics of alanine dipeptide in water (TIP3P) with OpenMM, written as XTC.

    python water_box.py --time 5ps --out ala2.xtc

Beside the XTC file comes a PDB file of the same atoms, since XTC names no elements. All atoms are
written, water too; gfnode keeps the molecule and leaves the water out.
"""

import argparse
from importlib.resources import files
from pathlib import Path

from openmm import LangevinMiddleIntegrator, Platform, Vec3
from openmm.app import PME, ForceField, HBonds, Modeller, PDBFile, Simulation, XTCReporter
from openmm.unit import femtosecond, kelvin, nanometer, picosecond

from gfnode.units import parse_time

MOLECULE = files("gfnode") / "data" / "alanine-dipeptide.pdb"
BOX_NM = 2.0
STEP_FS = 2.0
STEPS_A_FRAME = 5


def solvated() -> Simulation:
    """The molecule in a cube of water, relaxed, at 300 K."""
    pdb = PDBFile(str(MOLECULE))
    field = ForceField("amber14-all.xml", "amber14/tip3p.xml")
    box = Modeller(pdb.topology, pdb.positions)
    box.addSolvent(field, model="tip3p", boxSize=Vec3(BOX_NM, BOX_NM, BOX_NM) * nanometer)
    system = field.createSystem(
        box.topology, nonbondedMethod=PME, nonbondedCutoff=0.8 * nanometer, constraints=HBonds
    )
    integrator = LangevinMiddleIntegrator(300 * kelvin, 1 / picosecond, STEP_FS * femtosecond)
    simulation = Simulation(box.topology, system, integrator, Platform.getPlatformByName("CPU"))
    simulation.context.setPositions(box.positions)
    simulation.minimizeEnergy(maxIterations=100)
    simulation.context.setVelocitiesToTemperature(300 * kelvin)
    return simulation


def simulate(time_fs: float, path: Path) -> None:
    """Run and write a frame every 10 fs."""
    simulation = solvated()
    with path.with_suffix(".pdb").open("w") as file:
        positions = simulation.context.getState(positions=True).getPositions()
        PDBFile.writeFile(simulation.topology, positions, file)
    simulation.reporters.append(XTCReporter(str(path), STEPS_A_FRAME))
    simulation.step(round(time_fs / STEP_FS))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--time", default="5ps", help="length of the trajectory")
    parser.add_argument("--out", type=Path, default=Path("ala2.xtc"))
    options = parser.parse_args()
    simulate(parse_time(options.time), options.out)
