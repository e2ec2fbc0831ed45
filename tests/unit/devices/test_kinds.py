"""Devices are written as one string; what is wrong with one, or with the way to it, is said with the next step."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunemap.devices import DEVICES, DeviceError, DeviceLostError, list_devices, opened, parse_device, read_facts
from prunemap.devices.connection import AdbConnection, SshConnection
from prunemap.errors import UserError
from tests.unit.devices.fakes import ADB, MakeFake


def test_every_kind_is_parsed(fake: MakeFake) -> None:
    for tool in ("qemu-aarch64-static", "node", "chromium"):
        fake(tool, "")
    examples = {"ssh": "ssh:pi@192.168.1.20:2222", "adb": "adb:192.168.1.5:5555"}
    for name in DEVICES:
        device = parse_device(examples.get(name, name))
        assert device.name == examples.get(name, name)
        assert bool(device.emulator) == (name == "qemu")
    assert parse_device("ssh:pi@192.168.1.20:2222").connection == SshConnection("pi@192.168.1.20", 2222)
    assert parse_device("ssh:board").connection == SshConnection("board")
    assert parse_device("ssh:u@[fe80::1]:22").connection.shell("true")[-2] == "u@fe80::1"
    assert parse_device("adb:192.168.1.5:5555").connection == AdbConnection("192.168.1.5:5555")
    assert parse_device("ssh:board+qemu").arch == "aarch64"


@pytest.mark.parametrize(
    "text", ["", "usb", "ssh", "ssh:", "adb:", "local:1", "qemu:x", "adb+qemu", "local+qemu", "SSH:a"]
)
def test_what_is_no_device_lists_what_is_allowed(text: str) -> None:
    with pytest.raises(UserError) as error:
        parse_device(text)
    assert f"--device: got {text!r}" in str(error.value)
    assert all(kind.form in str(error.value) for kind in DEVICES.values())


@pytest.mark.parametrize("text", ["ssh:-oProxyCommand=x", "ssh:a b", "ssh:a:99999", "ssh:a;b", "ssh:a@b@c", "ssh:a:0"])
def test_no_option_of_ssh_can_be_slipped_in(text: str) -> None:
    with pytest.raises(UserError, match=r"allowed is ssh:USER@HOST\[:PORT\]"):
        parse_device(text)
    with pytest.raises(UserError, match="allowed is adb or adb:SERIAL"):
        parse_device("adb:-s")


def test_the_list_shows_tools_and_phones(fake: MakeFake) -> None:
    adb = fake("adb", ADB)
    found = {each.form: each for each in list_devices().kinds}
    assert found["adb[:SERIAL]"].seen == ("adb:R5CT", "adb:0a38 (unauthorized)") and found["adb[:SERIAL]"].installed
    assert found["local"].seen == ("local",)
    assert adb.calls == [["devices"]]


def test_a_missing_tool_says_how_it_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for text, step in (("ssh:board", "apt install openssh-client"), ("adb", "apt install adb")):
        with pytest.raises(DeviceError, match=f"is not installed here; {step}"), opened(parse_device(text)):
            pass
    for text, step in (("qemu", "qemu-user-static"), ("node", "nodejs"), ("chromium", "chromium")):
        with pytest.raises(UserError, match=f"is not installed here; apt install {step}"):
            parse_device(text)
    assert not any(each.installed for each in list_devices().kinds)


SSH_SAYS = [
    ("pi@b: Permission denied (publickey).", "it refused the ssh key; copy your key there: ssh-copy-id -p 22 pi@b", 1),
    ("Host key verification failed.", "log in once by hand and compare the fingerprint: ssh -p 22 pi@b", 1),
    ("@ REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "ssh-keygen -R", 1),
    ("ssh: Could not resolve hostname b: Name or service not known", "check the name", 1),
    ("ssh: connect to host b port 22: Connection refused", "start the ssh server there", 3),
    ("ssh: connect to host b port 22: No route to host", "check that it is on", 3),
    ("ssh: connect to host b port 22: Connection timed out", "check that it is on", 3),
    ("Connection closed by 1.2.3.4 port 22", "the connection broke; check that it is on", 3),
]


@pytest.mark.parametrize(("said", "step", "tries"), SSH_SAYS)
def test_ssh_failures_say_the_next_step(fake: MakeFake, said: str, step: str, tries: int) -> None:
    ssh = fake("ssh", f"printf '%s\\n' '{said}' >&2; exit 255")
    with pytest.raises(DeviceError) as error:
        read_facts(parse_device("ssh:pi@b:22"))
    assert step in str(error.value) and str(error.value).startswith("device ssh:pi@b:22: ")
    assert isinstance(error.value, DeviceLostError) == (tries > 1)
    assert len(ssh.calls) == tries
    assert ssh.calls[0][:2] == ["-o", "BatchMode=yes"] and ssh.calls[0][-5:-1] == ["-p", "22", "--", "pi@b"]


ADB_SAYS = [
    ("error: device unauthorized.", "unlock it and accept 'Allow USB debugging'", 1),
    ("adb: no devices/emulators found", "switch on USB debugging (Settings, Developer options)", 1),
    ("adb: more than one device/emulator", "name one: adb:SERIAL", 1),
    ("error: device 'R5CT' not found", "see which are: prunemap device list", 1),
    (
        "error: insufficient permissions for device: user in plugdev group; are your udev rules wrong? no permissions",
        "udev",
        1,
    ),
    ("error: device offline", "adb reconnect", 3),
    ("error: closed", "adb kill-server", 3),
]


@pytest.mark.parametrize(("said", "step", "tries"), ADB_SAYS)
def test_adb_failures_say_the_next_step(fake: MakeFake, said: str, step: str, tries: int) -> None:
    adb = fake("adb", f'printf "%s\\n" "{said}" >&2; exit 1')
    with pytest.raises(DeviceError) as error:
        read_facts(parse_device("adb:R5CT"))
    assert step in str(error.value)
    assert [call[:3] for call in adb.calls] == [["-s", "R5CT", "shell"]] * tries


def test_a_connection_that_comes_back_is_used(fake: MakeFake, tmp_path: Path) -> None:
    once = f"[ -e {tmp_path}/again ] || {{ touch {tmp_path}/again; echo 'error: closed' >&2; exit 1; }}\n"
    adb = fake("adb", once + ADB)
    with opened(parse_device("adb")) as session:
        assert session.run("echo here").out == "here\n"
    assert adb.verbs == ["shell"] * 4  # refused, made, run, removed


def test_the_steps_of_adb(fake: MakeFake, tmp_path: Path) -> None:
    adb = fake("adb", ADB)
    (tmp_path / "file").write_text("x")
    with opened(parse_device("adb:R5CT")) as session:
        session.push(tmp_path / "file", "file")
        session.run("./file || true")
        session.pull("file", tmp_path / "back")
    assert adb.verbs == ["shell", "push", "shell", "shell", "pull", "shell"]
    assert all(call[:2] == ["-s", "R5CT"] for call in adb.calls)
    assert "mkdir -p -m 700" in adb.calls[0][3] and "/data/local/tmp/prunemap-" in adb.calls[0][3]
    assert adb.calls[1][3:] == [str(tmp_path / "file"), f"{session.folder}/file"]
    assert f"rm -rf {session.folder}" in adb.calls[-1][3]


@pytest.mark.parametrize("name", ["adb", "ssh:board"])
def test_no_space_on_the_device(fake: MakeFake, tmp_path: Path, name: str) -> None:
    full = "echo 'write failed: No space left on device' >&2; exit 1"
    fake("adb", ADB.replace('cp "$2" "$3" && echo "1 file pushed"', full))
    fake("ssh", f'for last; do :; done; case "$last" in *\'cat >\'*) {full};; *) exec sh -c "$last";; esac')
    (tmp_path / "file").write_text("x")
    with (
        opened(parse_device(name)) as session,
        pytest.raises(DeviceError, match=r"there is no space left on it; free some \(`df -h` there\)"),
    ):
        session.push(tmp_path / "file", "file")
    assert not Path(session.folder).exists()


def test_a_file_that_arrives_short_is_seen(fake: MakeFake, tmp_path: Path) -> None:
    fake("adb", ADB.replace('cp "$2" "$3" && echo "1 file pushed"', 'head -c 2 "$2" > "$3"'))
    (tmp_path / "file").write_text("four")
    with (
        opened(parse_device("adb")) as session,
        pytest.raises(DeviceError, match=r"file has 4 bytes, there arrived 2; see that there is space"),
    ):
        session.push(tmp_path / "file", "file")
