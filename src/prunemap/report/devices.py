"""Tables of devices: which there are, whether one works, what a network takes there and how long it keeps that up."""

from __future__ import annotations

from rich.table import Table

from prunemap.devices import DeviceList, Facts, Reading
from prunemap.on_device import DeviceBenchResult, DeviceCheck, SustainedResult
from prunemap.report.text import milliseconds, new_table, percent, size, times
from prunemap.report.timings import engine_table, thread_count

TOP_LAYERS = 20


def device_list_table(found: DeviceList) -> Table:
    """Return the kinds of devices, whether their tools are here, and which can be seen."""
    caption = "+qemu behind an ssh device runs ARM64 programs there in an emulator\nnext: prunemap device check DEVICE"
    table = new_table("devices", "--device", "what", "tool here", "seen", caption=caption, left=4)
    for each in found.kinds:
        tool = f"{each.tool}: " + ("yes" if each.installed else f"no, {each.install}")
        table.add_row(each.form, each.what, tool, "\n".join(each.seen))
    return table


def device_check_tables(check: DeviceCheck) -> list[Table]:
    """Return the steps, and what the device is."""
    table = new_table(f"device {check.device}", "step", "", "", left=3)
    for step in check.steps:
        table.add_row(step.name, "[green]ok[/]" if step.passed else "[red]FAILED[/]", step.detail)
    return [table, *([_facts_table(check.facts)] if check.facts else [])]


def _facts_table(facts: Facts) -> Table:
    table = new_table("facts", "", "", left=2)
    fastest = max((cpu.max_mhz for cpu in facts.cpus if cpu.max_mhz), default=None)
    rows = {
        "product": facts.product,
        "system": facts.system,
        "architecture": facts.arch,
        "CPU": facts.cpu,
        "CPUs": f"{len(facts.cpus)}" + (f", up to {fastest:.0f} MHz" if fastest else ""),
        "memory": size(facts.memory_bytes) if facts.memory_bytes else "",
        "governor": facts.governor,
        "now": _reading(facts.reading),
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    return table


def device_bench_tables(result: DeviceBenchResult) -> list[Table]:
    """Return what the network takes on the device beside itself dense and, where asked for, its slowest layers."""
    verdict = "passed" if result.check.passed else "[red]FAILED[/]"
    caption = (
        f"{_where(result)}, {result.rounds} interleaved rounds; tiles "
        f"{'tuned' if result.tuned else 'chosen by the model'}\n"
        f"check there: {verdict}, largest relative error {result.check.max_relative_error:.1e} ({result.reference})\n"
        f"program: {size(result.size_bytes)}; before: {_reading(result.before)}; after: {_reading(result.after)}"
    )
    if result.faked:
        caption += "\npruned without any training (--sparsity): the speed is real, the accuracy is gone"
    table = engine_table(f"{result.model} on {result.device}", "program", result.results, result.ratios, caption)
    return [table, *([_slots_table(result)] if result.layers else [])]


def _slots_table(result: DeviceBenchResult) -> Table:
    slowest = sorted(result.layers, key=lambda slot: -slot.median_us)[:TOP_LAYERS]
    whole = sum(slot.median_us for slot in result.layers)
    table = new_table(f"slowest of {len(result.layers)} steps", "step", "µs", "share")
    for slot in slowest:
        table.add_row(slot.name, f"{slot.median_us:.1f}", percent(slot.median_us / whole) if whole else "")
    return table


def sustained_table(result: SustainedResult) -> Table:
    """Return the windows, and how much slower the last are than the first."""
    caption = (
        f"{_where(result)}\n"
        f"all: p50 {milliseconds(result.p50_ms)} ms, p99 {milliseconds(result.p99_ms)} ms, "
        f"{result.frames_per_second:.1f} frames/s; the last quarter takes {times(result.slowdown)} the first window\n"
        f"temperature: hottest CPU zone, MHz: fastest CPU in use, both at the end of a window{_untold(result)}"
    )
    headers = ("until, s", "frames/s", "p50, ms", "p99, ms", "°C", "MHz")
    table = new_table(f"{result.model} on {result.device}, sustained", *headers, caption=caption, left=0)
    for each in result.windows:
        degrees = "" if each.temperature_c is None else f"{each.temperature_c:.1f}"
        mhz = "" if each.mhz is None else f"{each.mhz:.0f}"
        figures = milliseconds(each.p50_ms), milliseconds(each.p99_ms), degrees, mhz
        table.add_row(f"{each.at_s:.1f}", f"{each.frames_per_second:.1f}", *figures)
    return table


def _where(result: DeviceBenchResult | SustainedResult) -> str:
    pinned = f"on CPU {', '.join(map(str, result.pinned_cpus))}" if result.pinned_cpus else "not pinned"
    name = f"{result.facts.product}: {result.facts.cpu}" if result.facts.product else result.facts.cpu
    return f"{name}, {result.facts.system}\ntarget {result.target}, {thread_count(result.threads)} {pinned}"


def _untold(result: SustainedResult) -> str:
    missing = [
        name
        for name, told in (
            ("its temperature", any(each.temperature_c is not None for each in result.windows)),
            ("its frequency", any(each.mhz is not None for each in result.windows)),
        )
        if not told
    ]
    return f"\nthe device does not tell {' and '.join(missing)}" if missing else ""


def _reading(reading: Reading) -> str:
    said = []
    if reading.temperature_c is not None:
        said.append(f"{reading.temperature_c:.1f} °C ({reading.zone})")
    if reading.mhz:
        said.append(f"{min(reading.mhz.values()):.0f} to {max(reading.mhz.values()):.0f} MHz")
    return ", ".join(said) or "temperature and frequency not told"
