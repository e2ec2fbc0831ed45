"""Connections: how a device's shell is reached, and how files go there and back. One class per kind of device."""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prunemap.devices.commands import Outcome, run_command
from prunemap.devices.failures import ADB_FAILURES, SSH_FAILURES, Failure
from prunemap.errors import UserError

REACH_S = 10
SLOWEST_BYTES_S = 1 << 18
"""A file that takes longer than so is given up."""


class Connection(Protocol):
    """The way to a device."""

    @property
    def address(self) -> str:
        """What the next step of a message names it by."""

    @property
    def tool(self) -> str:
        """The command that must be here."""

    @property
    def install(self) -> str:
        """How it is installed."""

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What its tools tell of."""

    @property
    def bases(self) -> tuple[str, ...]:
        """Folders there in which ours can be made, best first; as a shell spells them."""

    def shell(self, script: str) -> list[str]:
        """Return the command, here, that runs a script of POSIX sh there."""

    def push(self, file: Path, path: str) -> Outcome: ...

    def pull(self, path: str, file: Path) -> Outcome: ...


@dataclass(frozen=True)
class LocalConnection:
    """This machine, by the same steps as any other."""

    address: str = "this machine"
    tool = "sh"
    install = "it is part of every system"
    failures: tuple[Failure, ...] = ()

    @property
    def bases(self) -> tuple[str, ...]:
        return (shlex.quote(tempfile.gettempdir()), '"$HOME"')

    def shell(self, script: str) -> list[str]:
        return ["sh", "-c", script]

    def push(self, file: Path, path: str) -> Outcome:
        return _copied(file, Path(path))

    def pull(self, path: str, file: Path) -> Outcome:
        return _copied(Path(path), file)


def _copied(source: Path, target: Path) -> Outcome:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        return Outcome(1, "", str(error.strerror))
    return Outcome(0, "", "")


_DESTINATION = re.compile(r"(?P<host>(\w[\w.-]*@)?(\w[\w.-]*|\[[0-9a-fA-F:]+\]))(:(?P<port>\d{1,5}))?")


@dataclass(frozen=True)
class SshConnection:
    """A machine with an ssh server and a POSIX shell; needs neither scp nor sftp there.

    Keys, jump hosts and names come from ~/.ssh/config, as for ssh itself.
    """

    host: str
    """user@host, host, or a name of ~/.ssh/config."""
    port: int | None = None
    tool = "ssh"
    install = "apt install openssh-client"
    failures = SSH_FAILURES
    bases = ("/tmp", '"$HOME"')

    @classmethod
    def parse(cls, text: str) -> SshConnection:
        """Parse user@host[:port].

        Raises:
            UserError: it is none.
        """
        match = _DESTINATION.fullmatch(text)
        port = int(match["port"]) if match and match["port"] else None
        if match is None or (port is not None and not 0 < port < 1 << 16):
            raise UserError(f"device: got ssh:{text}, allowed is ssh:USER@HOST[:PORT], such as ssh:pi@192.168.1.20")
        return cls(match["host"], port)

    @property
    def address(self) -> str:
        """What ssh is called with by hand."""
        return f"-p {self.port} {self._host}" if self.port else self._host

    @property
    def _host(self) -> str:
        return self.host.replace("[", "").replace("]", "")

    def shell(self, script: str) -> list[str]:
        options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={REACH_S}"]
        options += ["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
        port = ["-p", str(self.port)] if self.port else []
        # The user's own shell may be any: it only starts sh.
        return ["ssh", *options, *port, "--", self._host, f"exec sh -c {shlex.quote(script)}"]

    def push(self, file: Path, path: str) -> Outcome:
        return run_command(self.shell(f"cat > {shlex.quote(path)}"), timeout_s=_patience_s(file), stdin=file)

    def pull(self, path: str, file: Path) -> Outcome:
        return run_command(self.shell(f"cat {shlex.quote(path)}"), timeout_s=PULL_S, stdout=file)


PULL_S = 120


@dataclass(frozen=True)
class AdbConnection:
    """A phone or tablet with USB debugging on, or an emulator."""

    serial: str = ""
    """"" = the only one attached."""
    tool = "adb"
    install = "apt install adb"
    failures = ADB_FAILURES
    bases = ("/data/local/tmp",)

    @classmethod
    def parse(cls, text: str) -> AdbConnection:
        """Parse the serial number, which may be HOST:PORT.

        Raises:
            UserError: it is none.
        """
        if not re.fullmatch(r"\w[\w.:-]*", text):
            raise UserError(f"device: got adb:{text}, allowed is adb or adb:SERIAL; prunemap device list shows them")
        return cls(text)

    @property
    def address(self) -> str:
        """The serial number."""
        return self.serial or "the phone"

    def shell(self, script: str) -> list[str]:
        return [*self._adb, "shell", script]

    def push(self, file: Path, path: str) -> Outcome:
        return run_command([*self._adb, "push", str(file), path], timeout_s=_patience_s(file))

    def pull(self, path: str, file: Path) -> Outcome:
        return run_command([*self._adb, "pull", path, str(file)], timeout_s=PULL_S)

    @property
    def _adb(self) -> list[str]:
        return ["adb", "-s", self.serial] if self.serial else ["adb"]


def _patience_s(file: Path) -> float:
    return 3 * REACH_S + file.stat().st_size / SLOWEST_BYTES_S
