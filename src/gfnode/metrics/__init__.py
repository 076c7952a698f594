"""Measures of predictions: errors and verdicts, distributions, spectra, kinetics.

Numpy in, numpy out, from anywhere; nothing here needs torch or a run.
"""

from gfnode.metrics.errors import (
    CONFIDENCE,
    MOST_BLOCKS,
    NO_ESTIMATE,
    Blocks,
    Estimate,
    LagErrors,
    Verdict,
    mean_estimate,
    paired_verdict,
    squared_errors,
    summarise,
)

__all__ = [
    "CONFIDENCE",
    "MOST_BLOCKS",
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
