"""Of which machine, and of which kernels, a latency table is."""

from __future__ import annotations

import pytest

from prunemap.core.latency_table import LatencyTable
from prunemap.devices import read_machine
from prunemap.mapping.conditions import other_machine, other_version


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


def test_a_table_of_another_prunemap_is_said_to_be_one_and_one_that_names_none_is_taken() -> None:
    assert other_version(table_of()) is None and other_version(table_of(prunemap="")) is None
    assert "measured by prunemap 0.0.1, here is " in (other_version(table_of(prunemap="0.0.1")) or "")
