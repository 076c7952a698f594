"""Learn how a molecule moves: graph Fourier neural ODEs for molecular dynamics."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gfnode.datasets import WindowDataset
    from gfnode.errors import InputError
    from gfnode.estimator import GFNODE
    from gfnode.fetching import fetch
    from gfnode.readers import load, save
    from gfnode.run import Run
    from gfnode.run.fitting import fit, resume
    from gfnode.share.export import export
    from gfnode.trajectory import Topology, Trajectory

__version__ = "0.1.0"

_HOMES = {
    "GFNODE": "estimator",
    "InputError": "errors",
    "Run": "run",
    "Topology": "trajectory",
    "Trajectory": "trajectory",
    "WindowDataset": "datasets",
    "fetch": "fetching",
    "export": "share.export",
    "fit": "run.fitting",
    "load": "readers",
    "resume": "run.fitting",
    "save": "readers",
}

__all__ = [
    "GFNODE",
    "InputError",
    "Run",
    "Topology",
    "Trajectory",
    "WindowDataset",
    "__version__",
    "export",
    "fetch",
    "fit",
    "load",
    "resume",
    "save",
]


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that ``import gfnode`` does not load torch."""
    if name == "ase":
        return import_module("gfnode.ase")
    if name not in _HOMES:
        raise AttributeError(f"module 'gfnode' has no attribute {name!r}")
    return getattr(import_module(f"gfnode.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Public names are there before they are imported: for completion by tab."""
    return sorted({*globals(), *__all__, "ase"} - {"Any", "TYPE_CHECKING", "import_module"})
