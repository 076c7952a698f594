"""Tables, plots and a page of a run folder; nothing here needs torch."""

from gfnode.report.comparison import check_compared, write_comparison
from gfnode.report.export import check_formats, write_figures
from gfnode.report.findings import (
    findings_table,
    inspection_findings,
    inspection_verdict,
    train_command,
)
from gfnode.report.inspection import headline, inspection_sections, inspection_table
from gfnode.report.motion_table import motion_reasons, motion_table
from gfnode.report.page import write_page
from gfnode.report.physics_table import physics_table
from gfnode.report.plots import error_against_lag, plot_error_against_lag
from gfnode.report.rollout import (
    describe_rollout,
    drift_table,
    growth_sentences,
    growth_table,
)
from gfnode.report.sentences import (
    describe_end,
    describe_evaluation,
    describe_result,
    describe_training,
)
from gfnode.report.tables import (
    error_bars,
    error_table,
    lag_table,
    symmetries,
    verdict,
    verdicts,
)
from gfnode.report.template import check_target

__all__ = [
    "check_compared",
    "check_formats",
    "check_target",
    "describe_end",
    "describe_evaluation",
    "describe_result",
    "describe_rollout",
    "describe_training",
    "drift_table",
    "error_against_lag",
    "error_bars",
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
    "motion_reasons",
    "motion_table",
    "physics_table",
    "plot_error_against_lag",
    "symmetries",
    "train_command",
    "verdict",
    "verdicts",
    "write_comparison",
    "write_figures",
    "write_page",
]
