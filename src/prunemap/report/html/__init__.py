"""One self-contained HTML file about a run folder. Needs jinja2 (the extra ``report``)."""

from prunemap.report.html.page import write_report
from prunemap.report.html.run_folder import Run, read_run

__all__ = ["Run", "read_run", "write_report"]
