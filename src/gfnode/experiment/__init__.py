"""From a configuration to data, system and model."""

from gfnode.experiment.experiment import (
    Dataset,
    Experiment,
    GraphSettings,
    build_model,
    configure,
    molecular_graph,
    prepare,
    refuse_idle,
    versions,
    whole_system,
)

__all__ = [
    "Dataset",
    "Experiment",
    "GraphSettings",
    "build_model",
    "configure",
    "molecular_graph",
    "prepare",
    "refuse_idle",
    "versions",
    "whole_system",
]
