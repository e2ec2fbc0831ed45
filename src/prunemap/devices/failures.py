"""What goes wrong with devices: told by what ssh, adb and shells say, each with the next step to take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from prunemap.errors import UserError


class DeviceError(UserError):
    """A device cannot be used; the message says what to do next."""


class DeviceLostError(DeviceError):
    """A device does not answer, or not any more."""


@dataclass(frozen=True)
class Failure:
    """A failure and how it is told."""

    pattern: str
    """Regular expression of what is said."""
    what: str
    step: str
    """What to do next; ``{address}`` is the device's."""
    passing: bool = False
    """Whether it may be over in a moment: worth another try, and the end of a measurement that it comes in."""


SHELL_FAILURES = (
    Failure(
        r"No space left on device|Disk quota exceeded",
        "there is no space left on it",
        "free some (`df -h` there), or export a smaller network",
    ),
    Failure(r"Read-only file system", "its file system is read-only", "mount it so that it can be written"),
)
"""Of any device."""

SSH_FAILURES = (
    Failure(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one that is known",
        "if the device was set up anew, forget the old key: ssh-keygen -R HOST",
    ),
    Failure(
        r"Host key verification failed",
        "its host key is not known here",
        "log in once by hand and compare the fingerprint: ssh {address}",
    ),
    Failure(
        r"Permission denied \(|Too many authentication failures",
        "it refused the ssh key",
        "copy your key there: ssh-copy-id {address}",
    ),
    Failure(r"UNPROTECTED PRIVATE KEY|Bad owner or permissions", "ssh refuses its own files here", "see ssh {address}"),
    Failure(r"Could not resolve hostname", "there is no host of this name", "check the name, or give its IP address"),
    Failure(
        r"Connection refused",
        "nothing listens at this port",
        "start the ssh server there (sudo systemctl enable --now ssh), or name the port: ssh:USER@HOST:PORT",
        passing=True,
    ),
    Failure(
        r"timed out|No route to host|Network is unreachable|not responding",
        "it cannot be reached",
        "check that it is on and in this network: ssh {address}",
        passing=True,
    ),
    Failure(
        r"Connection reset|Connection to .* closed|closed by (remote host|.* port)|Broken pipe",
        "the connection broke",
        "check that it is on and in this network: ssh {address}",
        passing=True,
    ),
)

ADB_FAILURES = (
    Failure(
        r"unauthorized",
        "it does not allow this machine to use adb",
        "unlock it and accept 'Allow USB debugging'; if it does not ask: adb kill-server, then plug it in again",
    ),
    Failure(
        r"no permissions",
        "this user may not use its USB port",
        "install the udev rules (apt install android-sdk-platform-tools-common) and plug it in again",
    ),
    Failure(
        r"more than one device",
        "several are attached",
        "name one: adb:SERIAL (prunemap device list shows them)",
    ),
    Failure(
        r"no devices/emulators found|no devices found",
        "none is attached",
        "switch on USB debugging (Settings, Developer options), plug it in, and look: adb devices",
    ),
    Failure(r"device '.*' not found", "it is not attached", "see which are: prunemap device list"),
    Failure(r"device offline", "it is offline", "plug it in again, or: adb reconnect", passing=True),
    Failure(
        r"error: closed|device still authorizing|protocol fault|cannot connect to daemon|Connection reset|"
        r"failed to (read|get feature)",
        "the connection broke",
        "plug it in again; if that does not help: adb kill-server",
        passing=True,
    ),
)


def find_failure(text: str, failures: Sequence[Failure]) -> Failure | None:
    """Return the first failure that a text tells of."""
    return next((each for each in failures if re.search(each.pattern, text)), None)


_SIGNALS = {
    4: ("it used an instruction that the CPU does not have", "name the target of the CPU: --target"),
    9: ("it was killed", "most often for lack of memory: end other programs, or try a smaller network"),
    11: ("it read memory that is not its own", "check the program: prunemap verify --device qemu"),
    15: ("it was ended by somebody", "try again"),
}
_NOT_THERE, _NOT_STARTED, _SIGNALLED = 127, 126, 128


def program_failure(code: int, said: str) -> tuple[str, str] | None:
    """Return why a program did not run, and the next step; None if it ran.

    Args:
        code: its exit code, as a shell says it.
        said: what it, or the shell, said.
    """
    wrong_format = r"[Ee]xec format error|cannot execute binary file|not executable: |Invalid ELF|syntax error"
    if code in (_NOT_STARTED, _NOT_THERE, 2) and re.search(wrong_format, said):
        return "the program is for another architecture", "compile it for the device: --target"
    if code == _NOT_STARTED:
        return "the program may not be run from there", "its folder is mounted noexec; mount it without"
    if code == _NOT_THERE:
        return f"something that runs it is missing there: {said.strip()[:200]}", "install it there"
    if code > _SIGNALLED:
        number = code - _SIGNALLED
        what, step = _SIGNALS.get(number, (f"signal {number} ended it", "try again"))
        return f"the program failed: {what} (signal {number})", step
    return None
