"""Whether a latency table speaks of the programs that will be compiled here."""

from __future__ import annotations

from importlib.metadata import version

from prunemap.compiler.build import find_compiler
from prunemap.core.latency_table import LatencyTable
from prunemap.devices import read_machine
from prunemap.errors import UserError


def other_compiler(table: LatencyTable, cc: str | None = None) -> str | None:
    """Return what is wrong where the table's layers were compiled by another compiler than networks are here.

    A machine without a compiler has none to differ, and a table that names none is taken as it is.

    Args:
        cc: the compiler of the network; None = ``zig cc``.

    Raises:
        UserError: there is no compiler ``cc``.
    """
    try:
        here = find_compiler(cc).version
    except UserError:
        if cc is not None:
            raise
        return None
    there = table.machine.compiler
    if not there or there == here:
        return None
    return (
        f"latency table: its layers were compiled by {there!r}, here is {here!r}, whose kernels may be faster or slower"
    )


def other_version(table: LatencyTable) -> str | None:
    """Return what to know where the table's layers were measured by another prunemap; one that names none is taken."""
    here, there = version("prunemap"), table.machine.prunemap
    if not there or there == here:
        return None
    return f"the latency table was measured by prunemap {there}, here is {here}, whose kernels may be faster or slower"


def other_machine(table: LatencyTable) -> str | None:
    """Return what to know where the table is of another machine: the plan suits that one. That is no fault."""
    here, there = read_machine(), table.machine
    if (there.cpu, there.arch, there.cores) == (here.cpu, here.arch, here.cores):
        return None
    size = "1 core" if there.cores == 1 else f"{there.cores} cores"
    return f"the latency table is of another machine, {there.cpu} with {size}: the plan is for that one"
