"""Tables and plots of a run folder; nothing here needs torch."""

from gfnode.report.plots import error_against_lag, plot_error_against_lag
from gfnode.report.sentences import describe_evaluation, describe_result, describe_training
from gfnode.report.tables import error_table, lag_table, verdict, verdicts

__all__ = [
    "describe_evaluation",
    "describe_result",
    "describe_training",
    "error_against_lag",
    "error_table",
    "lag_table",
    "plot_error_against_lag",
    "verdict",
    "verdicts",
]
