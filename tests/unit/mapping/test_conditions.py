from __future__ import annotations

import pytest

from prunemap.core.latency_table import LatencyTable
from prunemap.devices import read_machine
from prunemap.mapping.conditions import other_machine


def table_of(**changes: object) -> LatencyTable:
    """Return a table of this machine, but for what is changed."""
    return LatencyTable(machine=read_machine("t", "c").model_copy(update=changes), threads=1)


def test_a_table_of_this_machine_is_of_no_other_whatever_compiled_it() -> None:
    assert other_machine(table_of()) is None
    assert other_machine(table_of(target="other", compiler="other")) is None


@pytest.mark.parametrize(
    "changes", [{"cpu": "other"}, {"arch": "other"}, {"cores": 1000}], ids=lambda changes: next(iter(changes))
)
def test_a_machine_of_another_cpu_architecture_or_number_of_cores_is_another(changes: dict[str, object]) -> None:
    table = table_of(**changes)
    said = other_machine(table)
    assert said is not None and f"of another machine, {table.machine.cpu} with {table.machine.cores} core" in said


def test_one_core_is_said_as_one() -> None:
    assert "another machine, small with 1 core:" in (other_machine(table_of(cpu="small", cores=1)) or "")
