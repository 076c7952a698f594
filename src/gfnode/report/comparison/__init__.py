"""Several runs side by side on one page."""

from gfnode.report.comparison.page import render_comparison, write_comparison
from gfnode.report.comparison.runs import Compared

__all__ = ["Compared", "render_comparison", "write_comparison"]
