from __future__ import annotations

from prunemap.devices import pinned, read_machine
from prunemap.targets.cpu import cpu_name_from_cpuinfo

X86 = """processor\t: 0
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC
processor\t: 1
model name\t: another
"""
ARM = """processor\t: 0
CPU implementer\t: 0x41
CPU part\t: 0xd0b
"""


def test_x86_name_carries_family_and_model() -> None:
    assert cpu_name_from_cpuinfo(X86) == "AMD EPYC (family 25, model 17)"


def test_arm_is_named_by_its_codes() -> None:
    assert cpu_name_from_cpuinfo(ARM) == "ARM (implementer 0x41, part 0xd0b)"


def test_no_name_is_empty() -> None:
    assert cpu_name_from_cpuinfo("processor\t: 0\n") == ""


def test_fingerprint_is_complete_and_does_not_depend_on_pinning() -> None:
    machine = read_machine("avx512", "zig cc 0.14")
    assert machine.cpu and machine.arch and machine.system
    assert (machine.target, machine.compiler) == ("avx512", "zig cc 0.14")
    with pinned(1):
        assert read_machine("avx512", "zig cc 0.14") == machine
