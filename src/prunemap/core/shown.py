"""Shown: results that notebooks show as tables."""

from __future__ import annotations

from importlib import import_module


class Shown:
    """What has tables, or a part of it."""

    def _repr_html_(self) -> str | None:
        """Return the tables of a result, for notebooks; None, which shows the plain text, where it is none."""
        # By name: values know nothing of reports, which are imported when a notebook shows one and not before.
        html: str | None = import_module("prunemap.report.notebook").html_of(self)
        return html
