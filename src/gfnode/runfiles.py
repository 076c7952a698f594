"""Names of the files in a run folder.

Those of an exported model are in :mod:`gfnode.run.exported`.
"""

RUN = "run.json"
"""Format and version, resolved configuration, system, data fingerprints, versions, seed, what
training came to."""

SPLITS = "splits.npz"
"""Frame numbers of the starts and targets of every part."""

WEIGHTS = "weights.safetensors"
"""The best weights on validation."""

BASELINES = "baselines.safetensors"
"""What the trivial baselines took from the training windows."""

CALIBRATION = "calibration.safetensors"
"""How large errors are on validation, how far apart atoms are in training."""

LAST = "last.safetensors"
"""Weights, optimizer and progress of the last epoch, for ``--resume``."""

HISTORY = "history.csv"
"""A line an epoch."""

BOARD = "tensorboard"
"""A folder that holds the same as the history."""

LOG = "log.txt"
"""What was said while training."""

LOCK = "training.lock"
"""Empty; held by the process that trains."""

EVALUATION = "evaluation.json"
"""Errors beside the trivial baselines."""

ERRORS = "errors.npz"
"""Errors of every window."""

PHYSICS = "physics.json"
"""How physical the predictions are."""

DENSITIES = "physics.npz"
"""Densities and curves of the physics."""

EXAMPLES = "examples.npz"
"""Test windows that a report shows; see :mod:`gfnode.examples`."""

JOB = "job.json"
"""In a sweep: what is to be done."""

FINISHED = "finished.json"
"""In a sweep: trained to its end, evaluated; written last."""

FAILED = "failed.json"
"""In a sweep: why the last attempt failed."""
