"""Measures of predictions: errors and verdicts, distributions, spectra, kinetics.

Functions of NumPy arrays, but for :func:`squared_errors`; nothing else here needs torch or a run.
"""

from gfnode.metrics.blocks import NO_ESTIMATE, Blocks, Estimate
from gfnode.metrics.errors import LagErrors, mean_estimate, squared_errors, summarise
from gfnode.metrics.verdicts import Verdict, paired_verdict

__all__ = [
    "NO_ESTIMATE",
    "Blocks",
    "Estimate",
    "LagErrors",
    "Verdict",
    "mean_estimate",
    "paired_verdict",
    "squared_errors",
    "summarise",
]
