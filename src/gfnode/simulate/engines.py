"""Engines that know energies and forces of molecules through ASE: GFN2-xTB, or any calculator."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gfnode.errors import InputError
from gfnode.simulate.extra import need
from gfnode.simulate.openmm import potential
from gfnode.trajectory import Doubles, Topology
from gfnode.units import ELECTRONVOLT, KCAL_MOL, listed

XTB = "xtb"
OPENMM = "openmm"
CHECKED = (XTB, "emt", "lj", "morse")
"""Calculators that leave unknown keywords unused, without a word; they have a list of their own."""

FEW_ATOMS = 200
"""Up to so many atoms one thread is faster than two."""


@dataclass(frozen=True)
class Engine:
    """An ASE calculator by name, with its options.

    Parameters
    ----------
    name
        ``xtb`` (GFN2-xTB by tblite), a name that ASE knows (``emt``, ``lj``), or ``module:Class``
        of any calculator that can be imported.
    options
        Keywords of the calculator.
    """

    name: str = XTB
    options: Mapping[str, Any] = field(default_factory=dict)

    def calculator(self) -> Any:
        """Build the calculator.

        Raises
        ------
        InputError
            For an engine that is unknown or not installed, and options that it does not take.
        """
        build = self._find()
        options = {"verbosity": 0, **self.options} if self.name == XTB else dict(self.options)
        try:
            calculator = build(**options)
        except Exception as error:
            given = ", ".join(f"{key}={value}" for key, value in options.items())
            raise InputError(
                f"the engine {self.name} cannot be created with {given or 'no options'}: "
                f"{type(error).__name__}: {error}; its options are given as --option key=value"
            ) from error
        if self.name in CHECKED:
            known = set(calculator.default_parameters)
            if unknown := sorted(set(calculator.parameters) - known):
                raise InputError(
                    f"the engine {self.name} has no option {listed(unknown)}: expected "
                    f"{', '.join(sorted(known))}"
                )
        return calculator

    def _find(self) -> Callable[..., Any]:
        if self.name == XTB:
            need("tblite", "the engine xtb (GFN2-xTB)")
            from tblite.ase import TBLite

            return TBLite
        module, colon, attribute = self.name.partition(":")
        if not colon:
            return self._known_to_ase()
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise InputError(f"the engine {self.name} cannot be imported: {error}") from error

    def _known_to_ase(self) -> Callable[..., Any]:
        from ase.calculators.calculator import get_calculator_class
        from ase.calculators.names import names

        if self.name not in names:
            raise InputError(
                f"unknown engine {self.name!r}: expected xtb, openmm, the name of an ASE "
                "calculator such as emt, or module:Class"
            )
        try:
            return get_calculator_class(self.name)
        except ImportError as error:
            raise InputError(f"the engine {self.name} cannot be imported: {error}") from error

    def describe(self) -> str:
        """Name, version and options in words, for the record of a simulation."""
        from importlib.metadata import PackageNotFoundError, version

        package = "tblite" if self.name == XTB else self.name.partition(":")[0].partition(".")[0]
        try:
            edition = f" {version(package)}"
        except PackageNotFoundError:
            package, edition = "ase", f" {version('ase')}"
        method = self.options.get("method", "GFN2-xTB") if self.name == XTB else self.name
        rest = [f"{key}={value}" for key, value in self.options.items() if key != "method"]
        return f"{method} ({', '.join([package + edition, *rest])})"


def energies(
    numbers: ArrayLike,
    positions: ArrayLike,
    engine: str = XTB,
    *,
    charge: int = 0,
    topology: Topology | None = None,
    force_field: str = "amber99sbildn",
    solvent: str = "obc",
    options: Mapping[str, Any] | None = None,
    advance: Callable[[int], None] | None = None,
) -> Doubles:
    """Potential energies of conformations of one molecule in vacuum, or in implicit water.

    Parameters
    ----------
    numbers
        Atomic numbers, ``(atom,)``.
    positions
        ``(frame, atom, 3)`` in Å.
    engine
        ``xtb``, ``openmm``, an ASE calculator by name, or ``module:Class``.
    charge
        Total charge in e, for xtb.
    topology
        Residues and bonds, which the force fields of openmm need.
    force_field, solvent
        For openmm, see :func:`gfnode.simulate.openmm.force_field`.
    options
        Keywords of the ASE calculator.
    advance
        Told after every conformation that one more is done.

    Returns
    -------
    Doubles
        ``(frame,)`` in kcal/mol. Where the engine finds no energy (a conformation with atoms on
        top of each other), nan.

    Raises
    ------
    InputError
        For an engine that is unknown or not installed, and a molecule that it does not know.
    """
    z = np.asarray(numbers, dtype=np.int64)
    x = np.asarray(positions, dtype=np.float64)
    if x.ndim != 3 or x.shape[1:] != (len(z), 3):
        raise InputError(f"positions have shape {x.shape}, expected (frame, {len(z)}, 3)")
    if engine == OPENMM:
        energy = potential(z, topology, force_field, solvent)
    else:
        energy = _by_ase(Engine(engine, options or {}), z, charge)
    found = np.empty(len(x))
    with one_thread(len(z)):
        for frame, coordinates in enumerate(x):
            found[frame] = energy(coordinates)
            if advance:
                advance(1)
    return found


def _by_ase(engine: Engine, numbers: Any, charge: int) -> Callable[[Doubles], float]:
    """Energy in kcal/mol of positions ``(atom, 3)`` in Å."""
    from ase import Atoms
    from ase.calculators.calculator import CalculationFailed

    calculator = engine.calculator()
    atoms = Atoms(numbers)
    atoms.set_initial_charges(charge * (np.arange(len(numbers)) == 0))  # their sum is what counts
    atoms.calc = calculator

    def energy(positions: Doubles) -> float:
        # each from scratch: energies that do not depend on the conformation before
        forget(calculator)
        atoms.positions = positions
        try:
            return float(atoms.get_potential_energy()) * ELECTRONVOLT / KCAL_MOL
        except CalculationFailed:
            return float("nan")
        except Exception as error:  # foreign code: an element or a method that it does not know
            raise unusable(engine, error) from error

    return energy


def unusable(engine: Engine, error: Exception) -> InputError:
    """Say that an engine cannot deal with a molecule."""
    said = str(error).strip() or type(error).__name__
    return InputError(f"the engine {engine.name} cannot handle this molecule: {said}")


def forget(calculator: Any) -> None:
    """Drop what a calculator remembers of conformations before: tblite starts from its orbitals."""
    calculator.reset()
    if hasattr(calculator, "_res"):
        calculator._res = None


@contextmanager
def one_thread(atoms: int) -> Iterator[None]:
    """Keep OpenMP to one thread for small molecules, unless ``OMP_NUM_THREADS`` says otherwise."""
    if atoms > FEW_ATOMS or "OMP_NUM_THREADS" in os.environ or find_spec("threadpoolctl") is None:
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield
