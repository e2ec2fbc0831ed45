"""A session: files to and fro, programs run, nothing left behind, whatever happens."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest

from prunemap.devices import DeviceError, DeviceLostError, opened, parse_device
from prunemap.devices.commands import TimeLimitError, lines_of, run_command
from prunemap.devices.connection import LocalConnection
from prunemap.devices.session import Device
from prunemap.errors import UserError
from tests.unit.devices.fakes import ADB, SSH, MakeFake


@pytest.fixture(params=["local", "ssh:user@board:2222", "adb:R5CT"])
def device(request: pytest.FixtureRequest, fake: MakeFake) -> Device:
    fake("adb", ADB)
    fake("ssh", SSH)
    return parse_device(request.param)


def test_files_go_there_and_back_and_the_folder_is_gone(device: Device, tmp_path: Path) -> None:
    data = bytes(range(256)) * 300
    (tmp_path / "sent").write_bytes(data)
    with opened(device) as session:
        session.push(tmp_path / "sent", "there")
        assert Path(session.folder).stat().st_mode & 0o777 == 0o700
        session.run("cat there there > twice")
        session.pull("twice", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == 2 * data
    assert not Path(session.folder).exists()


def test_programs_run_with_their_output_and_exit_code(device: Device) -> None:
    with opened(device) as session:
        done = session.run("printf 'no newline'; echo wrong >&2; false", allowed=(1,))
        assert (done.code, done.out, done.err) == (1, "no newline", "wrong\n")
        with pytest.raises(DeviceError, match=r"exit code 3 \(wrong\); see what it said"):
            session.run("sh -c 'echo wrong >&2; exit 3'")
        assert list(session.lines("for i in 1 2; do echo $i; done; printf 3")) == ["1", "2", "3"]
        found = []
        with pytest.raises(DeviceError, match=r"exit code 4"):
            found += list(session.lines("echo kept; exit 4"))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("sh -c 'kill -9 $$'", r"it was killed \(signal 9\).*end other programs, or try a smaller network"),
        ("sh -c 'kill -4 $$'", "an instruction that the CPU does not have.*name the target of the CPU"),
        ("sh -c 'kill -11 $$'", "memory that is not its own"),
        ("./not-there", "something that runs it is missing there.*install it there"),
        ("sh -c 'echo sh: cannot execute: Exec format error >&2; exit 126'", "for another architecture.*--target"),
        ("sh -c 'echo Permission denied >&2; exit 126'", "mounted noexec"),
    ],
)
def test_programs_that_do_not_run_say_why(program: str, message: str) -> None:
    with opened(parse_device("local")) as session, pytest.raises(DeviceError, match=message):
        session.run(program)


def test_a_program_that_takes_too_long_is_ended() -> None:
    with opened(parse_device("local")) as session:
        with pytest.raises(DeviceLostError, match=r"no answer within 0\.3 s"):
            session.run("sleep 61.5", timeout_s=0.3)
        with pytest.raises(DeviceLostError, match=r"nothing came for 0\.3 s"):
            list(session.lines("echo first; sleep 61.5", silence_s=0.3))
    assert not _running("sleep 61.5")


_ENDLESS = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from prunemap.devices import opened, parse_device
with opened(parse_device("local")) as session:
    print(session.folder, flush=True)
    session.run("sleep 62.5")
"""


def test_ctrl_c_ends_the_program_and_removes_the_folder() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    _wait_until((folder / "running.pid").exists)
    process.send_signal(signal.SIGINT)
    process.wait(20)
    process.stdout.close()
    assert not folder.exists() and not _running("sleep 62.5")


def test_nothing_that_a_device_still_runs_outlives_the_session(fake: MakeFake) -> None:
    """The connection is gone, the program is not: closing comes back and ends it."""
    fake("adb", ADB.replace("exec sh -c", "exec setsid --wait sh -c"))
    with opened(parse_device("adb")) as session:
        with pytest.raises(DeviceLostError):
            session.run("sleep 63.5", timeout_s=0.3)
        assert _running("sleep 63.5")
    assert not _running("sleep 63.5") and not Path(session.folder).exists()


def test_a_folder_that_allows_no_programs_is_passed_over(tmp_path: Path) -> None:
    """The first base cannot be written at all."""

    class TwoBases(LocalConnection):
        @property
        def bases(self) -> tuple[str, ...]:
            return ("/proc/nowhere", str(tmp_path))

    with opened(Device("local", TwoBases())) as session:
        assert Path(session.folder).parent == tmp_path

    class NoBases(LocalConnection):
        @property
        def bases(self) -> tuple[str, ...]:
            return ("/proc/nowhere",)

    with (
        pytest.raises(DeviceError, match=r"no folder can be made there.*tried: /proc/nowhere"),
        opened(Device("local", NoBases())),
    ):
        pass


def test_commands_have_a_limit_and_lines_come_as_they_are_said() -> None:
    start = monotonic()
    with pytest.raises(TimeLimitError):
        run_command(["sh", "-c", "sleep 64.5 & wait"], timeout_s=0.2)
    assert monotonic() - start < 10 and not _running("sleep 64.5")
    assert run_command(["sh", "-c", "kill -9 $$"], timeout_s=9).code == 137
    with pytest.raises(UserError, match="no-such-command cannot be started here"):
        run_command(["no-such-command"], timeout_s=9)
    lines = lines_of(["sh", "-c", "echo first; sleep 65.5"], silence_s=9)
    assert next(lines) == "first"
    lines.close()
    assert not _running("sleep 65.5")


def _running(command: str) -> bool:
    """Return whether a command runs, after a moment to go."""
    for _ in range(40):
        if not any(_command_of(pid) == command for pid in Path("/proc").glob("[0-9]*")):
            return False
        sleep(0.02)
    return True


def _command_of(process: Path) -> str:
    try:
        return (process / "cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


def _wait_until(happened: Callable[[], bool]) -> None:
    for _ in range(1000):
        if happened():
            return
        sleep(0.02)
    raise AssertionError("it did not happen")
