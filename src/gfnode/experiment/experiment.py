"""From a configuration to data cut into windows, the system of a model, and the model."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from pydantic import Field

from gfnode import graph
from gfnode.ambient import seeded, usual
from gfnode.errors import InputError
from gfnode.models import Model, build, idle_options, lacks_physics, model_meanings, read_options
from gfnode.molecule.clock import time_step_warnings
from gfnode.molecule.cut import cut_warnings
from gfnode.molecule.labels import atom_labels
from gfnode.molecule.order import atom_order_warnings
from gfnode.molecule.system import System
from gfnode.molecule.virial import force_warnings
from gfnode.presets import PRESETS, flat
from gfnode.settings import Settings
from gfnode.training import TrainingSettings
from gfnode.trajectory import Integers, Trajectory, kept_bonds
from gfnode.trajectory.boxless import box_warnings
from gfnode.trajectory.lengths import doubts
from gfnode.units import format_time
from gfnode.windows import Windows, select_atoms
from gfnode.windows.cutting import WindowSettings, choose_atoms, make_windows
from gfnode.windows.duplicates import duplicate_warnings
from gfnode.windows.fixed_atoms import find_fixed_atoms
from gfnode.windows.published import rigid_pairs
from gfnode.windows.short import length_warnings

NAMED = 12
"""Atoms that never move, named at most."""

PHYSICAL = "model.name=gfnode with model.frame=anchored"
"""What has physical parameters."""


class GraphSettings(Settings):
    """The molecular graph."""

    bonds: Literal["auto", "topology", "distances", "published", "published-alanine"] = "auto"
    """`topology`: those in the file; `distances`: from covalent radii; `auto`: topology if the file
    has bonds, else distances; `published`: heavy atoms closer than 1.6 Å in frame 0;
    `published-alanine`: pairs closer than 4 Å there."""
    hops: int = Field(2, ge=1, le=100)
    """Atoms up to this many bonds apart share an edge."""
    rigid: Literal["none", "published"] = "none"
    """Edges marked as rigid: `none`, or those of the `published` protocol, which relies on the atom
    order of the published files."""


class Experiment(Settings):
    """The whole configuration of a run."""

    windows: WindowSettings = WindowSettings()
    graph: GraphSettings = GraphSettings()
    model: dict[str, Any] = {"name": "gfnode"}  # noqa: RUF012 - pydantic copies it
    training: TrainingSettings = TrainingSettings()
    seed: int = Field(0, ge=0, lt=2**32)
    """Random seed for weights, order of windows and fresh lags."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device the model runs on: `cpu`, `cuda` or `mps`; `auto`: a GPU if there is one."""

    def described(self) -> Iterator[tuple[str, Any, str]]:
        """Dotted name, value and meaning of every setting, those of the model at hand included."""
        options = model_meanings(self.model["name"])
        meanings = self.meanings() | {f"model.{key}": told for key, told in options.items()}
        for section, values in self.model_dump(mode="json").items():
            for key, value in values.items() if isinstance(values, dict) else [("", values)]:
                name = f"{section}.{key}" if key else section
                yield name, value, meanings.get(name, "")


def configure(preset: str = "default", changes: Mapping[str, Any] | None = None) -> Experiment:
    """Resolve a configuration: defaults, then the preset, then the changes.

    Parameters
    ----------
    preset
        ``default``, ``paper`` or ``published``.
    changes
        Nested (``{"training": {"epochs": 5}}``) or dotted (``{"training.epochs": 5}``).

    Raises
    ------
    InputError
        For an unknown preset, key or value.
    """
    if preset not in PRESETS:
        raise InputError(f"unknown preset {preset!r}: expected {', '.join(PRESETS)}")
    asked = _nest(changes or {})
    experiment = Experiment.read(_merge(PRESETS[preset], asked))
    split = experiment.windows.split
    for key in ("most", "fractions"):
        default = WindowSettings.model_fields[key].default
        chosen = asked.get("windows", {}).get(key, default)
        if split.startswith("published") and tuple(chosen) != default:
            raise InputError(
                f"windows.{key} has no effect with windows.split={split}, which has the numbers "
                "of the published experiments: leave it out, or also set windows.split=blocked"
            )
    options = dict(experiment.model)
    name = options.pop("name", "gfnode")
    if name != "gfnode":  # a preset composes a GF-NODE; another model takes none of that
        options = {k: v for k, v in asked.get("model", {}).items() if k != "name"}
    resolved = {"name": name} | read_options(name, options)
    return experiment.model_copy(update={"model": resolved})


def refuse_idle(experiment: Experiment, changes: Mapping[str, Any] | None) -> None:
    """Refuse changes that turn on an option of windows, model or training without any effect.

    All options of one of them together, as in a stored configuration, are accepted.

    Raises
    ------
    InputError
        For the first such option, with what it needs.
    """
    asked = flat(changes or {})
    options = dict(experiment.model)
    name = options.pop("name")
    windows, training = experiment.windows, experiment.training
    of_model = {"physical_rate": PHYSICAL} if lacks_physics(name, options) else {}
    for section, keys, idle in (
        ("windows", type(windows).model_fields, windows.idle),
        ("model", options, idle_options(name, options)),
        ("training", type(training).model_fields, {**training.idle, **of_model}),
    ):
        whole = all(f"{section}.{key}" in asked for key in keys)
        for key, needed in idle.items():
            if asked.get(f"{section}.{key}") and not whole:
                raise InputError(
                    f"{section}.{key} has no effect without {needed}: leave it out, or add that"
                )


def _nest(changes: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(changes, Mapping) or not all(isinstance(key, str) for key in changes):
        raise InputError(
            f"changes are {changes!r:.80}, expected settings by name, such as "
            "{'training.epochs': 5}"
        )
    nested: dict[str, Any] = {}
    for key, value in changes.items():
        head, *rest = key.split(".", 1)
        if rest:
            value = {rest[0]: value}  # noqa: PLW2901
        if isinstance(value, Mapping):
            old = nested.get(head)
            value = _merge(old if isinstance(old, Mapping) else {}, _nest(value))  # noqa: PLW2901
        nested[head] = value
    return nested


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = (
            _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
        )
    return merged


@dataclass(frozen=True, eq=False)
class Dataset:
    """Trajectories cut into windows, and the system that models are built for."""

    system: System
    parts: dict[str, Windows]  # over all atoms, on the CPU
    notes: tuple[str, ...]  # what a user should know of the graph and the data

    def of(self, model: Model) -> dict[str, Windows]:
        """The parts, cut down to the atoms of a model."""
        return select_atoms(self.parts, model.system.atoms)

    @property
    def whole_system(self) -> System:
        """The same with every atom in the state, for models that need all momenta."""
        return whole_system(self.system)


def whole_system(system: System) -> System:
    """A system with all atoms as its state, the same atoms scored; it has no edges."""
    none = np.empty((0, 2), dtype=np.int64)
    return System(
        system.source_numbers,
        np.arange(len(system.source_numbers)),
        system.atoms[system.score],
        none,
        graph.Edges(none.T.copy(), none[:, 0].copy()),
        system.time_step,
        system.horizon,
        source_masses=system.source_masses,
        held=system.atoms[system.held],
    )


def prepare(trajectories: Sequence[Trajectory], experiment: Experiment) -> Dataset:
    """Cut trajectories into windows and find the molecular graph.

    Raises
    ------
    InputError
        When trajectories and configuration do not fit together.
    """
    first, settings = trajectories[0], experiment.windows
    state = choose_atoms(first, settings.state, "state")
    if len(state) < 2:
        raise InputError(
            f"{first.label}: a single atom has no conformation to predict: select two or more "
            "with --select or windows.state"
        )
    scored = choose_atoms(first, settings.score, "score")
    if missing := sorted(set(scored.tolist()) - set(state.tolist())):
        raise InputError(
            f"scored atom {missing[0]} is not among the state atoms: windows.score must be a part "
            "of windows.state"
        )
    score = np.array([int(np.flatnonzero(state == atom)[0]) for atom in scored])
    parts, horizon = make_windows(trajectories, settings)
    bonds, edges = molecular_graph(first, experiment.graph, state)
    step = first.step
    assert step is not None
    masses = first.atom_masses
    system = System(first.numbers, state, score, bonds, edges, step, horizon, source_masses=masses)
    held = system.place[find_fixed_atoms(parts["train"])] if "train" in parts else system.held
    system = replace(system, held=held[held >= 0])
    if experiment.graph.rigid == "published":
        system = replace(system, rigid=rigid_pairs(first.numbers, state, bonds))
    if not any(_moves(each) for each in trajectories):
        raise InputError(
            f"{first.label}: all frames are identical, so there is no motion to learn; gfnode "
            "data FILE says more"
        )
    return Dataset(system, parts, _notes(trajectories, settings, system))


def _notes(
    trajectories: Sequence[Trajectory], settings: WindowSettings, system: System
) -> tuple[str, ...]:
    """What a user should know of the data and the graph, each sentence once."""
    bonds, state, horizon = system.bonds, system.atoms, system.horizon
    found = [note for each in trajectories for note in (*each.notes, *doubts(each))]
    for step in dict.fromkeys(each.step for each in trajectories):
        alike = [each for each in trajectories if each.step == step]
        found += time_step_warnings(alike, state[bonds])
    found += box_warnings(trajectories)
    found += cut_warnings(trajectories, state[bonds])
    found += atom_order_warnings(bonds, trajectories, state)
    found += force_warnings(trajectories, bonds, state)
    found += length_warnings(trajectories, settings, horizon)
    found += duplicate_warnings(trajectories)
    asked = settings.horizon or horizon
    if asked > horizon * (1 + 1e-6):
        found.append(
            f"the horizon is {format_time(horizon)} instead of {format_time(asked)}, because "
            f"frames are {format_time(system.time_step)} apart"
        )
    if len(system.held):
        found.append(_named_still(system, trajectories[0].select(state)))
    if pieces := graph.describe_components(graph.components(system.edges.index, system.n_atoms)):
        found.append(pieces)
    return tuple(dict.fromkeys(found))


def _named_still(system: System, state: Trajectory) -> str:
    """Which atoms never move, in words."""
    names = atom_labels(state)
    named = ", ".join(names[atom] for atom in system.held[:NAMED])
    more = f" and {len(system.held) - NAMED} more" if len(system.held) > NAMED else ""
    what = "1 atom never moves" if len(system.held) == 1 else f"{len(system.held)} atoms never move"
    return f"{what} in training ({named}{more}): predictions leave such atoms where they start"


def _moves(trajectory: Trajectory) -> bool:
    """Whether any atom is ever elsewhere, as far as a thousand frames show."""
    x = trajectory.positions
    frames = range(len(x) - 1, 0, -max(1, len(x) // 1000))  # the last mostly shows it
    return any(not np.array_equal(x[frame], x[0]) for frame in frames)


def molecular_graph(
    trajectory: Trajectory, settings: GraphSettings, atoms: Integers | None = None
) -> tuple[Integers, graph.Edges]:
    """Bonds ``(bond, 2)`` and edges among some atoms (all), by the chosen rule."""
    topology, kind = trajectory.topology, settings.bonds
    atoms = np.arange(trajectory.n_atoms) if atoms is None else atoms
    numbers = trajectory.numbers[atoms]
    if kind == "auto":
        named = topology is not None and len(topology.bonds) > 0
        kind = "topology" if named else "distances"
    if kind == "published-alanine":
        bonds = graph.bonds_from_distances(numbers, trajectory.positions[:, atoms])
        return bonds, graph.neighbour_edges(trajectory.positions[0, atoms], 4.0)
    if kind == "topology":
        if topology is None or not len(topology.bonds):
            raise InputError(
                f"{trajectory.label} has no bonds: use graph.bonds=distances, or give a topology "
                "with bonds"
            )
        bonds = topology.select(atoms).bonds
    elif kind == "published":
        bonds = graph.published_bonds(numbers, trajectory.positions[0, atoms])
    else:
        bonds = graph.bonds_from_distances(trajectory.numbers, trajectory.positions)
        bonds = kept_bonds(bonds, trajectory.n_atoms, atoms)
    return bonds, graph.hop_edges(bonds, len(atoms), settings.hops)


def build_model(experiment: Experiment, system: System) -> Model:
    """Build the configured model with weights from the seed."""
    options = dict(experiment.model)
    with usual(), seeded(experiment.seed):
        return build(options.pop("name"), system, options)


def versions() -> dict[str, str]:
    """Versions of what made a result."""
    return {"python": sys.version.split()[0]} | {
        name: version(name) for name in ("gfnode", "torch", "numpy", "lightning-fabric", "torchode")
    }
