"""Facts of a device: what its CPUs are and may do, how hot and how fast they are; read by one script of plain sh."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from math import isfinite
from typing import Any

from pydantic import Field

from prunemap.core.latency_table import Machine
from prunemap.core.target import Target
from prunemap.core.value import Value
from prunemap.devices.session import Device
from prunemap.errors import UserError
from prunemap.targets import TARGETS
from prunemap.targets.cpu import cpu_name_from_cpuinfo

_CPUS = "/sys/devices/system/cpu/cpu"
READING = (
    "for z in /sys/class/thermal/thermal_zone*; do "
    '[ -r $z/temp ] && echo "temperature $(cat $z/temp 2>/dev/null || echo 0) $(cat $z/type 2>/dev/null)"; done; '
    f"for c in {_CPUS}[0-9]*; do "
    '[ -r $c/cpufreq/scaling_cur_freq ] && echo "khz ${c##*/cpu} $(cat $c/cpufreq/scaling_cur_freq)"; done; true'
)
"""Script: what changes while programs run."""
_FACTS = (
    'echo "arch $(uname -m)"; echo "system $(uname -s)"; '
    'echo "release $(uname -r)"; '
    'command -v getprop > /dev/null && echo "product $(getprop ro.product.model)" && '
    'echo "android $(getprop ro.build.version.release)"; '
    "[ -r /proc/device-tree/model ] && echo \"product $(tr -d '\\0' < /proc/device-tree/model)\"; "
    'command -v taskset > /dev/null && echo "taskset yes"; '
    "grep Cpus_allowed_list /proc/self/status; grep MemTotal /proc/meminfo; "
    f"for c in {_CPUS}[0-9]*; do n=${{c##*/cpu}}; "
    '[ -r $c/cpufreq/cpuinfo_max_freq ] && echo "maxkhz $n $(cat $c/cpufreq/cpuinfo_max_freq)"; '
    '[ -r $c/cpufreq/scaling_governor ] && echo "governor $n $(cat $c/cpufreq/scaling_governor)"; '
    '[ -r $c/cpu_capacity ] && echo "capacity $n $(cat $c/cpu_capacity)"; done; '
    "echo cpuinfo; cat /proc/cpuinfo"
)
ARM = "0x41"
_CORES = {
    "cortex-a55": ("0xd05",),
    "cortex-a76": ("0xd0b", "0xd0c", "0xd0d", "0xd41", "0xd42", "0xd4b", "0xd47", "0xd4d"),
    "cortex-x1": ("0xd44", "0xd4c", "0xd48", "0xd4e"),
}
"""Part numbers of cores of ARM's that a target is made for or that run its code best (A76 to A715, X1 to X3, …)."""


class Cpu(Value):
    """One CPU of a device, as its system counts them."""

    number: int
    part: str = ""
    """ARM's code of the core, "" elsewhere."""
    max_mhz: float | None = None
    capacity: int | None = None
    """How fast the system takes it to be, the fastest 1024."""


class Reading(Value):
    """How a device is at a moment; None and {} where it does not tell."""

    temperature_c: float | None = None
    """The hottest zone of the CPUs, or of all."""
    zone: str = ""
    mhz: dict[int, float] = Field(default={})
    """By CPU."""

    def fastest_mhz(self, cpus: Iterable[int]) -> float | None:
        """Return the highest frequency of some CPUs."""
        return max((self.mhz[cpu] for cpu in cpus if cpu in self.mhz), default=None)


class Facts(Value):
    """What a device is."""

    device: str
    arch: str
    """Of the programs that it runs, as ``uname -m`` says it."""
    cpu: str
    cpus: tuple[Cpu, ...]
    """Those that our programs may use."""
    flags: tuple[str, ...] = ()
    system: str = ""
    product: str = ""
    memory_bytes: int | None = None
    governor: str = ""
    can_pin: bool = False
    emulated: bool = False
    """Whether its times are those of an emulator."""
    reading: Reading = Reading()

    def fastest_cpus(self, threads: int) -> tuple[int, ...]:
        """Return the numbers of the ``threads`` fastest CPUs, rising.

        Raises:
            UserError: there are not so many.
        """
        if not 1 <= threads <= len(self.cpus):
            raise UserError(f"threads: got {threads}, allowed are 1 to {len(self.cpus)} (the CPUs of {self.device})")
        best = sorted(self.cpus, key=lambda cpu: (-(cpu.capacity or 0), -(cpu.max_mhz or 0), cpu.number))
        return tuple(sorted(cpu.number for cpu in best[:threads]))

    def machine(self, target: str, compiler: str) -> Machine:
        """Return the fingerprint that tables of the device carry."""
        return Machine(
            cpu=f"{self.product}: {self.cpu}" if self.product else self.cpu,
            arch=self.arch,
            cores=len(self.cpus),
            system=self.system,
            target=target,
            compiler=compiler,
            prunemap=version("prunemap"),
        )


def read_facts(device: Device) -> Facts:
    """Ask a device what it is.

    Raises:
        DeviceError: it cannot be reached.
    """
    device.check_tool()
    facts = parse_facts(device.name, device.shell(f"{_FACTS}; {READING}").out)
    if not device.arch:
        return facts
    runs = f"qemu-{device.arch}" if device.emulator else _engine_version(device)
    return facts.model_copy(
        update={"arch": device.arch, "cpu": f"{runs} on {facts.cpu}", "flags": (), "emulated": bool(device.emulator)}
    )


def _engine_version(device: Device) -> str:
    """Return the name and the version, such as Node 20.1.0."""
    done = device.shell(f"{device.engine} --version")
    version = re.search(r"\d+(\.\d+)+", done.out)
    if done.code or not version:
        raise device.failed(f"{device.engine} does not run there", "see what it says with --version")
    return f"{device.engine.capitalize()} {version[0]}"


def parse_facts(device: str, text: str) -> Facts:
    """Return the facts in the output of the script; what a device does not tell is left out."""
    said, cpuinfo = _cut(text)
    parts = _parts(cpuinfo)
    megahertz = {number: khz / 1e3 for number, khz in _numbered(said, "maxkhz")}
    capacities = dict(_numbered(said, "capacity"))
    numbers = _listed(said.get("Cpus_allowed_list:", [""])[0]) or sorted(parts) or [0]
    first = {key: values[0] for key, values in said.items()}
    android = f"Android {first['android']}" if "android" in first else ""
    return Facts(
        device=device,
        arch=first.get("arch", "unknown").replace("arm64", "aarch64").replace("amd64", "x86_64"),
        cpu=cpu_name_from_cpuinfo(cpuinfo) or first.get("arch", "unknown"),
        cpus=tuple(
            Cpu(number=n, part=parts.get(n, ""), max_mhz=megahertz.get(n), capacity=capacities.get(n)) for n in numbers
        ),
        flags=_flags(cpuinfo),
        system=android or first.get("system", ""),
        product=first.get("product", "").strip(),
        memory_bytes=_memory(first.get("MemTotal:", "")),
        governor=next((value.partition(" ")[2] for value in said.get("governor", ())), ""),
        can_pin="taskset" in first,
        reading=parse_reading(text),
    )


def parse_reading(text: str) -> Reading:
    """Return the temperature and the frequencies in the output of ``READING``."""
    said, _ = _cut(text)
    zones = []
    for line in said.get("temperature", ()):
        number, _, zone = line.partition(" ")
        degrees = _degrees(number)
        if degrees is not None:
            zones.append((zone.strip(), degrees))
    of_cpus = [each for each in zones if re.search(r"cpu|soc|core|x86_pkg|big|little|k10temp", each[0], re.IGNORECASE)]
    zone, hottest = max(of_cpus or zones, key=lambda each: each[1], default=("", None))
    frequencies = {number: khz / 1e3 for number, khz in _numbered(said, "khz")}
    return Reading(temperature_c=hottest, zone=zone, mhz=frequencies)


def target_for(facts: Facts, cpus: Iterable[int]) -> Target:
    """Return the target for some CPUs of a device: made for the core if all are alike, else one that runs on all.

    Raises:
        UserError: no target fits the device.
    """
    used = set(cpus)
    parts = {cpu.part for cpu in facts.cpus if cpu.number in used}
    for name, codes in _CORES.items():
        if (
            facts.arch == TARGETS[name].arch
            and parts
            and parts <= set(codes)
            and not why_not_there(TARGETS[name], facts)
        ):
            return TARGETS[name]
    tuned = set(_CORES)
    for target in TARGETS.values():
        if target.name not in tuned and not why_not_there(target, facts):
            return target
    arches = ", ".join(dict.fromkeys(target.arch for target in TARGETS.values()))
    step = "install a 64-bit system there" if facts.arch.startswith("arm") else "use another device"
    raise UserError(f"device {facts.device}: it is {facts.arch}, there are targets for {arches}; {step}")


def why_not_there(target: Target, facts: Facts) -> str:
    """Return why a program of this target cannot run on a device, "" if it can."""
    if target.arch != facts.arch:
        return f"the device is {facts.arch}, the program is for {target.arch}"
    missing = (
        [] if facts.emulated or not facts.flags else [flag for flag in target.cpu_flags if flag not in facts.flags]
    )
    return f"its CPU lacks {', '.join(missing)}" if missing else ""


def _cut(text: str) -> tuple[dict[str, list[str]], str]:
    """Return what the script said, by its first word, and the text of /proc/cpuinfo."""
    said: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ") if "\t" not in line else line.partition("\t")
        said.setdefault(key, []).append(value.strip())
    return said, text.partition("cpuinfo\n")[2]


def _numbered(said: dict[str, list[str]], key: str) -> Iterator[tuple[int, Any]]:
    for value in said.get(key, ()):
        match = re.fullmatch(r"(\d+) (\d+)", value)
        if match:
            yield int(match[1]), int(match[2])


def _parts(cpuinfo: str) -> dict[int, str]:
    """Return ARM's code of every CPU, "" where the core is another's."""
    parts: dict[int, str] = {}
    implementers: dict[int, str] = {}
    number = 0
    for line in cpuinfo.splitlines():
        key, _, value = (each.strip() for each in line.partition(":"))
        if key == "processor" and value.isdigit():
            number = int(value)
            parts[number] = ""
        elif key == "CPU implementer":
            implementers[number] = value
        elif key == "CPU part" and implementers.get(number) == ARM:
            parts[number] = value
    return parts


def _flags(cpuinfo: str) -> tuple[str, ...]:
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    return tuple(match[1].split()) if match else ()


def _listed(text: str) -> list[int]:
    """Return the numbers of a list such as 0-3,7."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit():
            numbers += range(int(first), int(last if last.isdigit() else first) + 1)
    return numbers


def _memory(text: str) -> int | None:
    match = re.match(r"\s*(\d+) kB", text)
    return int(match[1]) << 10 if match else None


def _degrees(text: str) -> float | None:
    """Return degrees Celsius of what a zone says, mostly thousandths; None for what no chip has."""
    try:
        value = float(text)
    except ValueError:
        return None
    degrees = value / 1e3 if abs(value) > 1e3 else value
    return degrees if isfinite(degrees) and 0 < degrees < 150 else None
