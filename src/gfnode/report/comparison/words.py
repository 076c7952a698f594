"""What a comparison of runs comes to, in words."""

from collections.abc import Mapping
from typing import Any

from gfnode.report.comparison.runs import Compared, Pair
from gfnode.report.numbers import times
from gfnode.report.sentences import AGAINST
from gfnode.report.summary import angstrom, interval
from gfnode.report.tables import verdict
from gfnode.units import count, format_time

_MOST_SENTENCES = 6


def compared_words(compared: Compared) -> dict[str, list[str]]:
    """The summary: what is compared, which is better, and what each is against doing nothing."""
    return {
        "What is compared": _what(compared),
        "Which is better": _better(compared),
        "Against the best trivial baseline": [
            _against_trivial(name, run.evaluation) for name, run in compared.named
        ],
    }


def _what(compared: Compared) -> list[str]:
    words = []
    for name, run in compared.named:
        weights = run.examples.weights
        learnt = count(weights, "weight") if weights else "no weights"
        words.append(
            f"{name}: {run.model}, {learnt}, on {run.molecules}; {run.evaluation['windows']} test "
            f"windows, horizon {format_time(run.evaluation['horizon_fs'])}."
        )
    if compared.same_windows:
        words.append("All were evaluated on the same test windows, so errors compare directly.")
    elif compared.all_paired:
        words.append(
            "Test windows differ. Two runs are compared on the windows that both were evaluated on."
        )
    else:
        words += _cannot(compared)
        words.append(
            "Errors of different tasks do not show which model is better: compare each run with "
            "its best trivial baseline."
        )
    return words


def _cannot(compared: Compared) -> list[str]:
    """Which runs cannot be paired, by the reason."""
    groups: dict[str, list[Pair]] = {}
    for each in compared.pairs:
        if each.reason:
            groups.setdefault(each.reason, []).append(each)
    words = []
    for reason, pairs in groups.items():
        named = [
            f"{compared.names[pair.first]} with {compared.names[pair.second]}" for pair in pairs
        ]
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        words.append(f"Not paired, because {reason}: {', '.join(named[:3])}{more}.")
    return words


def _better(compared: Compared) -> list[str]:
    words = [_verdict(compared, each) for each in compared.pairs if each.verdict is not None]
    if not words:
        return [
            "No two of these runs were evaluated on the same windows, so none is ranked better."
        ]
    left = len(words) - _MOST_SENTENCES
    more = [f"{count(left, 'more comparison')}: see the table below."] if left > 0 else []
    return words[:_MOST_SENTENCES] + more


def _verdict(compared: Compared, pair: Pair) -> str:
    assert pair.verdict is not None
    first, second = (compared.names[number] for number in (pair.first, pair.second))
    ratio = pair.verdict.ratio
    between = (
        f"95 % interval {times(ratio.low)} to {times(ratio.high)}"
        if ratio.low == ratio.low  # not nan
        else "a single block of time gives no interval"
    )
    return (
        f"{first} is {AGAINST[pair.verdict.verdict]} {second}: {times(ratio.value)} times its mean "
        f"squared error ({between}), on {count(pair.windows, 'shared window')} in "
        f"{count(pair.blocks, 'block')} of time."
    )


def _against_trivial(name: str, evaluation: Mapping[str, Any]) -> str:
    ours = evaluation["methods"][evaluation["model"]]["mean_over_lags"]
    best = evaluation["best_trivial"]
    return (
        f"{name}: rms error of an atom {angstrom(ours['value'])}{interval(ours)}; it is "
        f"{verdict(evaluation, best)}."
    )
