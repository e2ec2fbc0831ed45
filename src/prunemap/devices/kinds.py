"""DEVICES: the kinds of devices that there are; a new kind is a new row."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from prunemap.core.table import by_name
from prunemap.core.value import Value
from prunemap.devices.commands import TimeLimitError, run_command
from prunemap.devices.connection import AdbConnection, Connection, LocalConnection, SshConnection
from prunemap.devices.session import CHROMIUM, NODE, Device
from prunemap.errors import UserError

QEMU = ("qemu-aarch64-static", "qemu-aarch64")
"""Debian's names, of the packages qemu-user-static and qemu-user."""
EMULATED = "+qemu"
_LIST_S = 10


@dataclass(frozen=True)
class Kind:
    """A kind of device."""

    name: str
    form: str
    """How one is written."""
    what: str
    connect: Callable[[str], Connection]
    """From what stands behind the colon."""
    rest: str = "none"
    """Whether something stands there: none, some or may."""
    tool: str = "sh"
    """What must be installed here, and how it is."""
    install: str = LocalConnection.install
    emulator: bool = False
    """Whether programs of ARM64 run in an emulator."""
    engine: str = ""
    """What runs its programs of WebAssembly; "" = they are native."""
    found: Callable[[], list[str]] = list
    """Lists those that can be seen from here."""


def _local(_: str) -> Connection:
    return LocalConnection()


def _adb(rest: str) -> Connection:
    return AdbConnection.parse(rest) if rest else AdbConnection()


def _attached() -> list[str]:
    """Return the phones that adb sees, each with its state."""
    if shutil.which(AdbConnection.tool) is None:
        return []
    try:
        lines = run_command(["adb", "devices"], timeout_s=_LIST_S).out.splitlines()
    except TimeLimitError:
        return []
    rows = [line.split("\t") for line in lines if "\t" in line]
    return [f"adb:{row[0]}" + ("" if row[1] == "device" else f" ({row[1]})") for row in rows]


def _here() -> list[str]:
    return ["local"]


_QEMU_STEP, _NODE_STEP, _CHROMIUM_STEP = "apt install qemu-user-static", "apt install nodejs", "apt install chromium"
DEVICES: dict[str, Kind] = by_name(
    (
        Kind("local", "local", "this machine", _local, found=_here),
        Kind(
            "qemu",
            "qemu",
            "ARM64 programs in an emulator here: right or wrong, no times",
            _local,
            tool=QEMU[0],
            install=_QEMU_STEP,
            emulator=True,
        ),
        Kind("node", "node", "WebAssembly in Node here", _local, tool=NODE, install=_NODE_STEP, engine=NODE),
        Kind(
            "chromium",
            "chromium",
            "WebAssembly in a headless Chromium here",
            _local,
            tool=CHROMIUM,
            install=_CHROMIUM_STEP,
            engine=CHROMIUM,
        ),
        Kind(
            "ssh",
            "ssh:USER@HOST[:PORT]",
            "a board or server with ssh and sh",
            SshConnection.parse,
            rest="some",
            tool=SshConnection.tool,
            install=SshConnection.install,
        ),
        Kind(
            "adb",
            "adb[:SERIAL]",
            "an Android device with USB debugging",
            _adb,
            rest="may",
            tool=AdbConnection.tool,
            install=AdbConnection.install,
            found=_attached,
        ),
    )
)


def parse_device(text: str, option: str = "--device") -> Device:
    """Return the device that an option names.

    ``+qemu`` behind an ssh device: programs of ARM64 run there in an emulator, to try the way without a board.

    Raises:
        UserError: it is none; the message lists what is allowed.
    """
    name, _, rest = text.removesuffix(EMULATED).partition(":")
    kind = DEVICES.get(name)
    emulated = text.endswith(EMULATED)
    wrong = kind is None or (kind.rest == "none" and ":" in text) or (kind.rest == "some" and not rest)
    if kind is None or wrong or (emulated and name != "ssh") or text.endswith(":"):
        forms = ", ".join(each.form for each in DEVICES.values())
        raise UserError(f"{option}: got {text!r}, allowed are {forms}, and {EMULATED} behind an ssh device")
    if kind.emulator or emulated:
        return Device(text, kind.connect(rest), emulator=_emulator(remote=emulated))
    if kind.engine and shutil.which(kind.engine) is None:
        raise UserError(f"device {name}: {kind.tool} is not installed here; {kind.install}")
    return Device(text, kind.connect(rest), engine=kind.engine)


def _emulator(*, remote: bool) -> str:
    """Return the emulator's command; there, it is the first name that its shell knows."""
    if remote:
        return f"$(command -v {QEMU[0]} || echo {QEMU[1]})"
    found = next((name for name in QEMU if shutil.which(name)), None)
    if found is None:
        raise UserError("device qemu: qemu-aarch64-static is not installed here; apt install qemu-user-static")
    return found


class ListedKind(Value):
    """A kind of device as seen from here."""

    form: str
    what: str
    tool: str
    install: str
    installed: bool
    seen: tuple[str, ...]


class DeviceList(Value):
    """What there is."""

    kinds: tuple[ListedKind, ...]


def list_devices() -> DeviceList:
    """Return the kinds, whether what they need is installed here, and the devices that can be seen."""
    return DeviceList(
        kinds=tuple(
            ListedKind(
                form=kind.form,
                what=kind.what,
                tool=kind.tool,
                install=kind.install,
                installed=any(map(shutil.which, QEMU if kind.emulator else (kind.tool,))),
                seen=tuple(kind.found()),
            )
            for kind in DEVICES.values()
        )
    )
