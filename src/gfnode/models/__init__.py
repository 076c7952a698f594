"""Every model by its name.

A model is registered with the settings that compose it; the registry is all that the rest of the
package knows of models. Other packages register theirs by entry points of the group
``gfnode.models``, each an :class:`Entry`; see :mod:`gfnode.plugins`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gfnode.errors import InputError
from gfnode.models.base import Generative, Model, Symmetry
from gfnode.models.composition import GraphFourierODESettings
from gfnode.models.egnn import EGNN, EGNNSettings
from gfnode.models.egno import EGNO, EGNOSettings
from gfnode.models.gfnode import GraphFourierODE
from gfnode.models.ito import ITO, ITOSettings
from gfnode.models.ndcn import NDCN, NDCNSettings
from gfnode.models.trivial import ConstantVelocity, MeanConformer, Persistence, RigidRotor
from gfnode.molecule.system import System
from gfnode.plugins import Registry
from gfnode.settings import Settings

__all__ = [
    "MODELS",
    "TRIVIAL",
    "Entry",
    "Generative",
    "Model",
    "Symmetry",
    "build",
    "model_meanings",
    "read_options",
]


@dataclass(frozen=True)
class Entry:
    """A registered model: its class, the settings it is built with (None: none), and a line."""

    model: type[Model]
    settings: type[Settings] | None
    summary: str


def _check(name: str, loaded: object) -> Entry:
    if not isinstance(loaded, Entry):
        raise TypeError(f"expected a gfnode.models.Entry, got {type(loaded).__name__}")
    model, settings = loaded.model, loaded.settings
    if not (isinstance(model, type) and issubclass(model, Model) and hasattr(model, "promises")):
        raise TypeError(
            "its model must be a gfnode.models.Model that defines promises, its symmetries"
        )
    if settings is not None and not (isinstance(settings, type) and issubclass(settings, Settings)):
        raise TypeError("its settings must be a gfnode.settings.Settings, or None")
    return loaded


_OWN = {
    "gfnode": Entry(GraphFourierODE, GraphFourierODESettings, "graph Fourier neural ODE"),
    "egnn": Entry(EGNN, EGNNSettings, "equivariant network of the start and the lag"),
    "egno": Entry(EGNO, EGNOSettings, "equivariant network with temporal convolutions"),
    "ndcn": Entry(NDCN, NDCNSettings, "neural ODE of features diffusing on the graph"),
    "ito": Entry(
        ITO, ITOSettings, "implicit transfer operator: a diffusion model that draws samples"
    ),
    "persistence": Entry(Persistence, None, "the start, unchanged"),
    "constant-velocity": Entry(ConstantVelocity, None, "the start, moved along its velocities"),
    "mean-conformer": Entry(MeanConformer, None, "the training mean, placed on the start"),
    "rigid-rotor": Entry(
        RigidRotor, None, "the training mean as a free rigid body with the start's momenta"
    ),
}

MODELS: Registry[Entry] = Registry("gfnode.models", "model", _OWN, _check)
"""Registered models by name, those of installed plug-ins among them."""

TRIVIAL = ("persistence", "constant-velocity", "mean-conformer", "rigid-rotor")
"""The models without trained weights that every result is compared with."""


def _entry(name: str) -> Entry:
    if name not in MODELS:  # whatever it is, a list say
        import difflib

        near = difflib.get_close_matches(str(name), MODELS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(MODELS)}"
        raise InputError(f"unknown model {name!r}; {hint}")
    return MODELS[name]


def read_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Validate the options of a model and fill in the defaults.

    Raises
    ------
    InputError
        For an unknown model or option.
    """
    MODELS.check_names()
    settings = _entry(name).settings or Settings
    return settings.read(options, f"options of model {name}").model_dump()


def idle_options(name: str, options: Mapping[str, Any]) -> Mapping[str, str]:
    """Options of a model that have no effect beside the others, and what each of them needs."""
    return (_entry(name).settings or Settings).read(options, f"options of model {name}").idle


def lacks_physics(name: str, options: Mapping[str, Any]) -> bool:
    """Whether a model is known to have no physical parameters, before it is built."""
    return name in _OWN and not (name == "gfnode" and options["frame"] == "anchored")


def model_meanings(name: str) -> dict[str, str]:
    """Descriptions of the options of a model, and of its name, by option."""
    settings = _entry(name).settings or Settings
    return {"name": "Name of the model; `gfnode models` lists them."} | settings.meanings()


def build(name: str, system: System, options: Mapping[str, Any] | None = None) -> Model:
    """Build a registered model for a system."""
    entry = _entry(name)
    with MODELS.blamed(name, "built"):
        given = entry.settings and entry.settings.read(options or {}, f"options of model {name}")
        model = entry.model(system, *([given] if given else []))
        if not hasattr(model, "system"):
            raise TypeError("its constructor must call super().__init__(system)")
        return model
