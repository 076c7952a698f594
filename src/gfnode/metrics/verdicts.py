"""Paired comparison of two methods on the same windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from gfnode.errors import InputError
from gfnode.metrics.blocks import Blocks, Estimate, half_width, windows_first

Word = Literal["better", "worse", "indistinguishable"]

SAME = 1e-3
"""Methods count as equal where the interval of the ratio of their errors lies within 1 ± this."""


@dataclass(frozen=True)
class Verdict:
    """Whether method a is better than method b on the same windows.

    Parameters
    ----------
    difference
        Mean error of a minus that of b, in Å².
    ratio
        Mean error of a over that of b.
    verdict
        ``better`` or ``worse`` where the interval of the ratio excludes one and does not lie
        entirely within :data:`SAME` of it, else ``indistinguishable`` (always with fewer than two
        blocks). Errors of blocks differ by factors, so the ratio varies less than the difference.
    """

    difference: Estimate
    ratio: Estimate
    verdict: Word


def paired_verdict(
    errors_a: ArrayLike,
    errors_b: ArrayLike,
    blocks: Blocks,
    seeds: tuple[Sequence[float], Sequence[float]] = ((), ()),
) -> Verdict:
    """Compare two methods on the same windows, over the same blocks, and over seeds.

    Difficulty common to both methods cancels: the intervals come from S_a − S_b − δC and from
    S_a/ΣS_a − S_b/ΣS_b in each block (difference, and logarithm of the ratio). Where the errors
    are means over n training seeds, the variance of such a mean, s²/n, is added (s²/(n ē²) for the
    logarithm), with the degrees of freedom of Welch and Satterthwaite.

    Parameters
    ----------
    errors_a, errors_b
        ``(window,)`` or ``(window, time)``, of one shape, without negative values.
    seeds
        Mean error of each seed, of a and of b. A single seed does not determine a variance.
    """
    a, b = (windows_first(e, blocks, 1, 2) for e in (errors_a, errors_b))
    if a.shape != b.shape:
        raise InputError(f"paired errors have shapes {a.shape} and {b.shape}, expected the same")
    columns = [e.reshape(len(e), -1).sum(1) for e in (a, b)]
    per_window = a.size // len(a)
    S = blocks.sums(np.stack([*columns, np.full(len(a), per_window)], 1))
    Sa, Sb, C = S.T
    with np.errstate(invalid="ignore", divide="ignore"):
        difference, ratio = (Sa - Sb).sum() / C.sum(), Sa.sum() / Sb.sum()
        over = [_over_seeds(each) for each in seeds]
        width = half_width(
            (Sa - Sb - difference * C) / C.sum(), blocks, [(v, n) for v, _, n in over]
        )
        spread = half_width(
            Sa / Sa.sum() - Sb / Sb.sum(), blocks, [(v / e**2, n) for v, e, n in over if e > 0]
        )
        low, high = ratio * np.exp(-spread), ratio * np.exp(spread)
    bounds = (difference, difference - width, difference + width), (ratio, low, high)
    estimates = [
        Estimate(float(value), float(lower), float(upper), blocks.count, a.size)
        for value, lower, upper in bounds
    ]
    verdict = _verdict(low, high, Sa.sum(), Sb.sum(), blocks.count)
    return Verdict(estimates[0], estimates[1], verdict)


def _verdict(low: float, high: float, a: float, b: float, blocks: int) -> Word:
    """The verdict, from the interval of the ratio of the errors a and b where they have one."""
    if np.isinf(a) != np.isinf(b):
        return "worse" if np.isinf(a) else "better"
    if (a == 0) != (b == 0) and blocks > 1:
        return "better" if a == 0 else "worse"
    if low > 1 - SAME and high < 1 + SAME:
        return "indistinguishable"
    if high < 1:
        return "better"
    return "worse" if low > 1 else "indistinguishable"


def _over_seeds(errors: Sequence[float]) -> tuple[float, float, int]:
    """Variance of the mean over seeds, the mean, and degrees of freedom."""
    if len(errors) < 2:
        return 0.0, 0.0, 1
    return float(np.var(errors, ddof=1)) / len(errors), float(np.mean(errors)), len(errors) - 1
