"""Several runs side by side on one page."""

from gfnode.report.comparison.page import write_comparison
from gfnode.report.comparison.runs import Compared, check_compared

__all__ = ["Compared", "check_compared", "write_comparison"]
