"""Networks on a device: compiled for it, sent there as a static program, checked, timed, run until it is hot."""

from prunemap.on_device.bench import DeviceBench, DeviceBenchResult, bench_on_device
from prunemap.on_device.check import DeviceCheck, check_device
from prunemap.on_device.engine import DeviceEngine
from prunemap.on_device.place import Place, choose_place
from prunemap.on_device.runner import DeviceRunner
from prunemap.on_device.sustained import SustainedResult, sustained_on_device
from prunemap.on_device.timer import DeviceTimer

__all__ = [
    "DeviceBench",
    "DeviceBenchResult",
    "DeviceCheck",
    "DeviceEngine",
    "DeviceRunner",
    "DeviceTimer",
    "Place",
    "SustainedResult",
    "bench_on_device",
    "check_device",
    "choose_place",
    "sustained_on_device",
]
