"""Tables, plots and a page of a run folder; nothing here needs torch."""

from gfnode.report.findings import (
    findings_table,
    inspection_findings,
    inspection_verdict,
    train_command,
)
from gfnode.report.inspection import headline, inspection_sections, inspection_table
from gfnode.report.page import check_target, write_page
from gfnode.report.plots import error_against_lag, plot_error_against_lag
from gfnode.report.rollout import (
    describe_rollout,
    drift_table,
    growth_sentences,
    growth_table,
)
from gfnode.report.sentences import describe_evaluation, describe_result, describe_training
from gfnode.report.tables import error_table, lag_table, verdict, verdicts

__all__ = [
    "check_target",
    "describe_evaluation",
    "describe_result",
    "describe_rollout",
    "describe_training",
    "drift_table",
    "error_against_lag",
    "error_table",
    "findings_table",
    "growth_sentences",
    "growth_table",
    "headline",
    "inspection_findings",
    "inspection_sections",
    "inspection_table",
    "inspection_verdict",
    "lag_table",
    "plot_error_against_lag",
    "train_command",
    "verdict",
    "verdicts",
    "write_page",
]
