"""Devices for real: a board is an ssh server of ours on this machine; ARM64 programs run in an emulator."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

from prunemap.cli.app import EXIT_FAILED_CHECK
from prunemap.compiler.compile import compile_model
from prunemap.devices import (
    CHROMIUM,
    NODE,
    DeviceError,
    DeviceLostError,
    allowed_cpus,
    opened,
    parse_device,
    read_facts,
)
from prunemap.on_device import DeviceBenchResult, DeviceCheck, choose_place
from prunemap.runtime import read_program
from tests.command_line import run
from tests.networks import residual_network, save

SSHD = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
QEMU = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
NEEDS_SSHD = pytest.mark.skipif(not (SSHD and shutil.which("ssh")), reason="no openssh-server on this machine")
NEEDS_QEMU = pytest.mark.skipif(QEMU is None, reason="no qemu-aarch64 on this machine: ARM64 programs are not run")

ENGINES = pytest.mark.parametrize(
    "engine",
    [
        pytest.param(name, marks=[pytest.mark.skipif(shutil.which(name) is None, reason=f"no {name} here"), *marks])
        for name, marks in ((NODE, []), (CHROMIUM, [pytest.mark.whole]))
    ],
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = save(residual_network(), tmp_path_factory.mktemp("devices") / "net.onnx")
    compile_model(model, target="aarch64", tune=None).save(model.with_suffix(".pmap"))
    return model


class Server:
    """An ssh server with keys of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for name in ("host", "user", "other"):
            key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(key, check=True, timeout=60)
        shutil.copy(folder / "user.pub", folder / "authorized")
        (folder / "known").write_text(f"[127.0.0.1]:{self.port} {(folder / 'host.pub').read_text()}")
        self._write_config("user", "known")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def device(self) -> str:
        return f"ssh:{getpass.getuser()}@127.0.0.1:{self.port}"

    def _write_config(self, key: str, known: str) -> None:
        folder = self.folder
        (folder / "config").write_text(
            f"IdentityFile {folder / key}\nIdentitiesOnly yes\nUserKnownHostsFile {folder / known}\n"
            "GlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\n"
        )

    def use(self, *, key: str = "user", known: str = "known") -> None:
        """Choose what the client logs in with, and whom it knows."""
        self._write_config(key, known)

    def start(self) -> None:
        options = {
            "HostKey": self.folder / "host",
            "AuthorizedKeysFile": self.folder / "authorized",
            "PidFile": self.folder / "pid",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "ListenAddress": f"127.0.0.1:{self.port}",
        }
        (self.folder / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in options.items()))
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where a server of root separates its privileges
        command = [str(SSHD), "-D", "-e", "-f", str(self.folder / "sshd_config")]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(500):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            sleep(0.02)
        pytest.fail((self.folder / "log").read_text())

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(20)
        self.process = None


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server(tmp_path)
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {tmp_path / "config"} "$@"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("prunemap.devices.session.PAUSES_S", (0.0,))
    server.start()
    yield server
    server.stop()


@NEEDS_SSHD
def test_files_and_programs_over_ssh(server: Server, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096
    (tmp_path / "sent").write_bytes(data)
    with opened(parse_device(server.device)) as session:
        session.push(tmp_path / "sent", "there")
        assert list(session.lines("wc -c < there; echo done")) == [str(len(data)), "done"]
        session.pull("there", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data and not Path(session.folder).exists()
    assert read_facts(parse_device(server.device)).arch == os.uname().machine


@NEEDS_SSHD
def test_a_network_is_checked_and_timed_over_ssh(server: Server, model: Path) -> None:
    """Speed is not asserted."""
    result = DeviceBenchResult.model_validate_json(
        run("bench", model, "--device", server.device, "--quick", "--vs", "", "--json")
    )
    assert result.check.passed and result.device == server.device and not result.tuned
    (ours,) = result.results
    assert ours.runs > 0 and result.rounds == 10


@NEEDS_SSHD
@NEEDS_QEMU
def test_the_arm_program_runs_over_ssh_by_an_emulator(server: Server, model: Path) -> None:
    device = f"{server.device}+qemu"
    assert "all inside" in run("verify", model.with_suffix(".pmap"), model, "--device", device)
    refused = run("bench", model, "--device", device, code=2)
    assert "an emulator's times say nothing" in " ".join(refused.split())


@NEEDS_SSHD
def test_what_is_wrong_with_ssh_is_said(server: Server, model: Path) -> None:
    device = parse_device(server.device)
    server.use(key="other")
    with pytest.raises(
        DeviceError, match=f"it refused the ssh key; copy your key there: ssh-copy-id -p {server.port} "
    ):
        read_facts(device)
    server.use(known="none")
    with pytest.raises(DeviceError, match=r"its host key is not known here; log in once by hand"):
        read_facts(device)
    server.use()
    refused = run("verify", model.with_suffix(".pmap"), model, "--device", server.device, code=2)
    assert "a program for aarch64 cannot run there" in " ".join(refused.split())


@NEEDS_SSHD
def test_a_server_that_dies_is_a_lost_device(server: Server) -> None:
    with opened(parse_device(server.device)) as session:
        found = []
        with pytest.raises(DeviceLostError):
            for line in session.lines("while :; do echo line; sleep 0.01; done"):
                found.append(line)
                if len(found) == 3:
                    _kill_sessions(server)
    assert found[:3] == ["line"] * 3
    server.stop()
    with pytest.raises(DeviceLostError, match="nothing listens at this port; start the ssh server there"):
        read_facts(parse_device(server.device))


def _kill_sessions(server: Server) -> None:
    """End the processes of the server that serve a connection; the server itself goes on."""
    assert server.process is not None
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    assert children
    for child in children:
        os.kill(int(child), 9)


@NEEDS_QEMU
def test_qemu_checks_without_times(model: Path) -> None:
    check = DeviceCheck.model_validate_json(run("device", "check", "qemu", "--json"))
    assert check.passed and check.facts is not None and check.facts.emulated and check.facts.arch == "aarch64"
    said = run("verify", model.with_suffix(".pmap"), model, "--device", "qemu")
    assert "all inside" in said and "median" not in said


@ENGINES
@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.whole)])
def test_webassembly_is_checked_and_timed(engine: str, threads: int, model: Path, tmp_path: Path) -> None:
    threads = min(threads, len(allowed_cpus()))
    compile_model(model, target="wasm32-simd", tune=None).save(tmp_path / "web.pmap")
    assert "all inside" in run("verify", tmp_path / "web.pmap", model, "--device", engine)
    said = run("bench", model, "--device", engine, "--quick", "--vs", "", "--per-layer", "--json", "--threads", threads)
    result = DeviceBenchResult.model_validate_json(said)
    assert result.check.passed and result.target.startswith("wasm32-") and result.facts.arch == "wasm32"
    assert result.results[0].runs > 0 and len(result.layers) == len(read_program(tmp_path / "web.pmap").manifest.slots)
    assert result.facts.cpu.lower().startswith(engine) and result.threads == threads


@ENGINES
def test_the_runner_refuses_what_it_cannot_do(engine: str, model: Path) -> None:
    place = choose_place(parse_device(engine))
    program = compile_model(model, target="wasm32-simd", tune=None)
    with opened(place.device) as session:
        placed = place.send(session, program, "model")
        for options, message in (
            (["--speed", 1], "--speed: no such option"),
            (["--inputs", "model"], "--inputs: model is not of the size of all inputs"),
            (["--inputs", "nowhere"], "no such file"),
        ):
            with pytest.raises(DeviceError, match=message):
                placed.run(*options)
        times = placed.time_slots(len(program.manifest.slots), 3)
    assert times.shape == (3, len(program.manifest.slots)) and times.sum() > 0


def test_a_device_that_is_not_there_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunemap.devices.session.PAUSES_S", ())
    said = " ".join(run("device", "check", "ssh:nobody@127.0.0.1:1", code=EXIT_FAILED_CHECK).split())
    assert "FAILED" in said and ("start the ssh server there" in said or "openssh-client" in said)
    assert "allowed are list, check" in run("device", "reboot", code=2)
