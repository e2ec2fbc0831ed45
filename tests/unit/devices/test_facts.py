"""What devices say of themselves, from texts of real ones shortened."""

from __future__ import annotations

import pytest

from prunemap.devices import Facts, parse_device, read_facts, target_for, why_not_there
from prunemap.devices.facts import parse_facts, parse_reading
from prunemap.errors import UserError
from prunemap.targets import TARGETS

_FEATURES = "fp asimd evtstrm aes pmull sha1 sha2 crc32"
_NEW = f"{_FEATURES} atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"


def _cpuinfo(parts: list[str], features: str) -> str:
    return "".join(
        f"processor\t: {i}\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU part\t: {part}\n\n"
        for i, part in enumerate(parts)
    )


PI4 = f"""arch aarch64
system Linux
release 6.1.21-v8+
product Raspberry Pi 4 Model B Rev 1.4
taskset yes
Cpus_allowed_list:\t0-3
MemTotal:        3885396 kB
maxkhz 0 1800000
governor 0 ondemand
maxkhz 1 1800000
cpuinfo
{_cpuinfo(["0xd08"] * 4, _FEATURES)}
temperature 48199 cpu-thermal
khz 0 1500000
khz 1 600000
"""
PHONE = f"""arch aarch64
system Linux
product Pixel 6
android 14
taskset yes
Cpus_allowed_list:\t0-7
capacity 0 124
maxkhz 0 1803000
capacity 4 427
maxkhz 4 2253000
capacity 6 1024
maxkhz 6 2802000
capacity 7 1024
maxkhz 7 2802000
cpuinfo
{_cpuinfo(["0xd05"] * 4 + ["0xd0b"] * 2 + ["0xd44"] * 2, _NEW)}
temperature 61000 BIG
temperature 77000 battery
temperature -40000 LITTLE
temperature 0 G3D
khz 7 2401000
"""
PC = """arch x86_64
system Linux
Cpus_allowed_list:\t2,4-5
cpuinfo
processor\t: 0
model name\t: Some CPU
flags\t\t: sse avx2 fma bmi2
"""


def test_a_board() -> None:
    facts = parse_facts("ssh:pi", PI4)
    assert facts.product == "Raspberry Pi 4 Model B Rev 1.4" and facts.system == "Linux" and facts.can_pin
    assert [cpu.number for cpu in facts.cpus] == [0, 1, 2, 3] and facts.cpus[0].max_mhz == 1800
    assert facts.memory_bytes == 3885396 << 10 and facts.governor == "ondemand"
    assert facts.reading.temperature_c == pytest.approx(48.199) and facts.reading.zone == "cpu-thermal"
    assert facts.reading.fastest_mhz([0, 1]) == 1500 and facts.reading.fastest_mhz([3]) is None
    assert target_for(facts, facts.fastest_cpus(4)).name == "aarch64"  # Cortex-A72, ARMv8.0
    assert facts.machine("aarch64", "zig").cpu.startswith("Raspberry Pi 4 Model B Rev 1.4: ARM (")


def test_a_phone_runs_on_its_fast_cores() -> None:
    facts = parse_facts("adb", PHONE)
    assert facts.system == "Android 14"
    assert facts.fastest_cpus(1) == (6,) and facts.fastest_cpus(2) == (6, 7) and facts.fastest_cpus(3) == (4, 6, 7)
    assert target_for(facts, facts.fastest_cpus(2)).name == "cortex-x1"
    assert target_for(facts, (4, 5)).name == "cortex-a76"
    assert target_for(facts, (0,)).name == "cortex-a55"
    assert target_for(facts, facts.fastest_cpus(3)).name == "aarch64"  # of two kinds
    assert facts.reading.temperature_c == 61.0 and facts.reading.zone == "BIG"  # the battery is no CPU
    with pytest.raises(UserError, match=r"threads: got 9, allowed are 1 to 8 \(the CPUs of adb\)"):
        facts.fastest_cpus(9)


def test_a_computer_tells_its_features() -> None:
    facts = parse_facts("ssh:pc", PC)
    assert [cpu.number for cpu in facts.cpus] == [2, 4, 5] and not facts.can_pin
    assert target_for(facts, (2,)).name == "x86-64-v3"
    assert "its CPU lacks avx512f" in why_not_there(TARGETS["x86-64-v4"], facts)
    assert why_not_there(TARGETS["aarch64"], facts) == "the device is x86_64, the program is for aarch64"
    assert facts.reading.temperature_c is None and facts.reading.mhz == {}


@pytest.mark.parametrize(("arch", "step"), [("armv7l", "install a 64-bit system there"), ("riscv64", "another device")])
def test_machines_without_a_target(arch: str, step: str) -> None:
    with pytest.raises(UserError, match=f"it is {arch}, there are targets for x86_64, aarch64.*{step}"):
        target_for(parse_facts("ssh:old", f"arch {arch}\n"), (0,))


@pytest.mark.parametrize(
    ("text", "degrees"),
    [("45", 45.0), ("45123", 45.123), ("0", None), ("-1", None), ("999999", None), ("", None), ("x", None)],
)
def test_temperatures_are_degrees(text: str, degrees: float | None) -> None:
    assert parse_reading(f"temperature {text} cpu").temperature_c == degrees


def test_this_machine_and_its_emulator() -> None:
    here = read_facts(parse_device("local"))
    assert isinstance(here, Facts) and here.cpus and not here.emulated and here.arch in here.to_json()
