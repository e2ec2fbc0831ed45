"""A session on a device: a folder of ours there, files to and fro, programs run in it; nothing is left behind."""

from __future__ import annotations

import logging
import re
import secrets
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep

from prunemap.devices.commands import Outcome, TimeLimitError, lines_of, run_command
from prunemap.devices.connection import REACH_S, Connection
from prunemap.devices.failures import SHELL_FAILURES, DeviceError, DeviceLostError, find_failure, program_failure

PAUSES_S = (0.5, 1.0, 2.0)
"""Before the second try, the third, …"""
SHORT_S = 2 * REACH_S
"""What small steps may take."""
RUN_S = 600.0
_EXIT = re.compile(r"\n?\[prunemap exit (\d+)\]\n?")
_PID = "running.pid"
NODE, CHROMIUM = "node", "chromium"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """Where programs run."""

    name: str
    """As the user wrote it."""
    connection: Connection
    emulator: str = ""
    """What runs programs of ARM64 there, for its shell; such times are no latencies. "" = the device itself does."""
    engine: str = ""
    """What runs programs of WebAssembly there: NODE or CHROMIUM; "" = programs are native."""

    @property
    def arch(self) -> str:
        """Of its programs; "" = what the device says."""
        return "wasm32" if self.engine else "aarch64" if self.emulator else ""

    def failed(self, what: str, step: str, *, lost: bool = False) -> DeviceError:
        """Return an error that names the device and the next step."""
        step = step.replace("{address}", self.connection.address)
        return (DeviceLostError if lost else DeviceError)(f"device {self.name}: {what}; {step}")

    def check_tool(self) -> None:
        """Raise DeviceError if what talks to it is not installed here."""
        tool, install = self.connection.tool, self.connection.install
        if shutil.which(tool) is None:
            raise self.failed(f"{tool} is not installed here", install)

    def shell(self, script: str, timeout_s: float = SHORT_S) -> Outcome:
        """Run a script that may run twice; tried again where the connection fails.

        Raises:
            DeviceError: it was not run to its end.
        """
        return self._again(lambda: self._shell_once(script, timeout_s))

    def _shell_once(self, script: str, timeout_s: float) -> Outcome:
        try:
            done = run_command(self.connection.shell(_marked(script)), timeout_s=timeout_s)
        except TimeLimitError:
            step = "check that it is on; a busy device may need another try"
            raise self.failed(f"no answer within {timeout_s:g} s", step, lost=True) from None
        *said, last = _EXIT.split(done.out)[:2] if _EXIT.search(done.out) else (done.out, "")
        if not last:
            raise self._lost(done.text)
        return Outcome(int(last), said[0], done.err)

    def _again(self, step: Callable[[], Outcome]) -> Outcome:
        for pause_s in PAUSES_S:
            try:
                return step()
            except DeviceLostError as error:
                log.info("%s; once more in %g s", error, pause_s)
                sleep(pause_s)
        return step()

    def _lost(self, said: str) -> DeviceError:
        """Return why a script did not run to its end."""
        failure = find_failure(said, (*self.connection.failures, *SHELL_FAILURES))
        if failure:
            return self.failed(failure.what, failure.step, lost=failure.passing)
        return self.failed(
            f"the connection broke{_detail(said)}", "check that it is on and attached, then try again", lost=True
        )

    def copied(self, copy: Callable[[], Outcome], what: str) -> None:
        """Copy a file; tried again where the connection fails."""

        def once() -> Outcome:
            try:
                done = copy()
            except TimeLimitError:
                raise self.failed(f"copying {what} took too long", "try again on a faster connection") from None
            if done.code:
                raise self._lost(done.text)
            return done

        self._again(once)


class Session:
    """An open folder on a device."""

    def __init__(self, device: Device, folder: str) -> None:
        self.device = device
        self.folder = folder

    def push(self, file: Path, name: str) -> None:
        """Copy a file of this machine there and make it a program.

        Raises:
            DeviceError: it is not whole there.
        """
        path = f"{self.folder}/{name}"
        if "/" in name:
            self.device.shell(f"mkdir -p {shlex.quote(path.rpartition('/')[0])}")
        self.device.copied(lambda: self.device.connection.push(file, path), name)
        done = self.device.shell(f"chmod 755 {shlex.quote(path)} && wc -c < {shlex.quote(path)}")
        if done.out.strip() != str(file.stat().st_size):
            found = done.out.strip() or done.text
            step = "see that there is space: df -h there"
            raise self.device.failed(f"{name} has {file.stat().st_size} bytes, there arrived {found}", step)

    def pull(self, name: str, file: Path) -> None:
        """Copy a file from there.

        Raises:
            DeviceError: it cannot be had.
        """
        self.device.copied(lambda: self.device.connection.pull(f"{self.folder}/{name}", file), name)

    def run(self, command: str, timeout_s: float = RUN_S, *, allowed: Sequence[int] = (0,)) -> Outcome:
        """Run a program in the folder, once.

        Args:
            command: as a shell takes it.

        Raises:
            DeviceError: it cannot run there, or its exit code is none of ``allowed``.
        """
        done = self.device._shell_once(self.script(command), timeout_s)
        self._check(done.code, done.text, allowed)
        return done

    def lines(self, script: str, silence_s: float = RUN_S) -> Iterator[str]:
        """Run a script in the folder and yield its lines as they come.

        Args:
            script: where programs run in turns; each by :meth:`one`.

        Raises:
            DeviceError: the device was lost, said nothing for ``silence_s``, or the script failed; what came before
                was yielded.
        """
        said: list[str] = []
        command = self.device.connection.shell(_marked(f"cd {shlex.quote(self.folder)} && {{ {script}; }} 2>&1"))
        try:
            for line in lines_of(command, silence_s=silence_s):
                if match := _EXIT.fullmatch(line):
                    self._check(int(match[1]), "\n".join(said), (0,))
                    return
                if line:
                    said = [*said[-20:], line]
                    yield line
        except TimeLimitError:
            step = "check that it is on"
            raise self.device.failed(f"nothing came for {silence_s:g} s", step, lost=True) from None
        raise self.device._lost("\n".join(said))

    def script(self, command: str) -> str:
        """Return the script that runs one command in the folder."""
        return f"cd {shlex.quote(self.folder)} && {{ {self.one(command)}; }}"

    def one(self, command: str) -> str:
        """Return what runs one command so that closing the session ends it."""
        return f"{command} & echo $! > {_PID}; wait $!; code=$?; rm -f {_PID}; (exit $code)"

    def _check(self, code: int, said: str, allowed: Sequence[int]) -> None:
        if code in allowed:
            return
        what, step = program_failure(code, said) or (f"the program failed with exit code {code}", "see what it said")
        raise self.device.failed(f"{what}{_detail(said)}", step)

    def close(self) -> None:
        """End what still runs and remove the folder; a failure is only logged."""
        folder = shlex.quote(self.folder)
        script = f"cd {folder} && {{ kill $(cat {_PID}); cd /; rm -rf {folder}; }} 2> /dev/null; true"
        try:
            self.device._shell_once(script, SHORT_S)
        except DeviceError as error:
            log.warning("%s\n%s stays there: remove it by hand", error, self.folder)


@contextmanager
def opened(device: Device) -> Iterator[Session]:
    """Reach a device and make a folder there, which is removed at the end, after Ctrl-C too.

    Raises:
        DeviceError: it cannot be reached, or no folder can be made.
    """
    device.check_tool()
    done = device.shell(_make_folder(device.connection.bases, f"prunemap-{secrets.token_hex(6)}"))
    folder = done.out.strip()
    if done.code or not folder.startswith("/"):
        failure = find_failure(done.text, SHELL_FAILURES)
        what, step = (failure.what, failure.step) if failure else ("no folder can be made there", "make one writable")
        raise device.failed(
            f"{what} ({done.err.strip()[:200]})", f"{step}; tried: {', '.join(device.connection.bases)}"
        )
    session = Session(device, folder)
    try:
        yield session
    finally:
        session.close()


def _detail(said: str) -> str:
    """Return the beginning of what was said there, for a message."""
    return f" ({' '.join(said.split())[:300]})" if said.strip() else ""


def _make_folder(bases: Sequence[str], name: str) -> str:
    """Return the script that makes a folder in which programs can be run, and says its path."""
    tries = (
        f'd={base}/{name}; mkdir -p -m 700 "$d" && printf \'#!%s\\n\' "$(command -v sh)" > "$d/try" && '
        'chmod 700 "$d/try" && "$d/try" && rm "$d/try" && echo "$d" && exit 0; rm -rf "$d"'
        for base in bases
    )
    return f"{'; '.join(tries)}; exit 1"


def _marked(script: str) -> str:
    """Return a script that says its exit code, so that one that broke off is told from one that failed."""
    return f"( {script} ); printf '\\n[prunemap exit %s]\\n' $?"
