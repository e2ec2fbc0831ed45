"""Prints how many node tests are in, and why the others are not."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.onnx_nodes.cases import node_cases


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not node_cases.cache_info().currsize:
        return  # these tests were not asked for
    taken, excluded = node_cases()
    operators = Counter(why.split()[-1] for why in excluded.values() if why.startswith("operator "))
    reasons = Counter("operator" if why.startswith("operator ") else why for why in excluded.values())
    shown = ", ".join(f"{count} {why}" for why, count in reasons.most_common())
    terminalreporter.write_line(f"ONNX node tests: {len(taken)} in, {len(excluded)} not ({shown})")
    if operators:
        not_claimed = ", ".join(f"{name} {count}" for name, count in operators.most_common())
        terminalreporter.write_line(f"  operators that are not claimed: {not_claimed}")
