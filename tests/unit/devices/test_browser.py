"""A page as a program: words in, files and text out; only who knows the address may ask. A script plays the browser."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from prunemap.devices.browser import run_page
from tests.unit.devices.fakes import MakeFake

PAGE = """
import json, sys, urllib.error, urllib.request
page = sys.argv[-1]
def ask(name, data=None, base=page.rpartition("/")[0]):
    request = urllib.request.Request(base + "/" + name, data=data, method="PUT" if data is not None else "GET")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read(), dict(answer.headers)
def refused(*words, **options):
    try:
        ask(*words, **options)
    except urllib.error.HTTPError as error:
        return error.code
text, headers = ask("browser.html")
words = json.loads(ask("words")[0])
ask("file?out%20file", ask("file?in.bin")[0][::-1])
host = "/".join(page.split("/")[:3])
out = [text.decode(), words, headers["Cross-Origin-Opener-Policy"], refused("file?secret.txt"),
       refused("file?secret.txt", b"x"), refused("words", base=host), refused("end", b"{}", base=host)]
ask("end", json.dumps({"out": json.dumps(out), "err": "noise", "code": 1}).encode())
import time; time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "browser.html").write_text("hello")
    (tmp_path / "in.bin").write_bytes(b"abc")
    (tmp_path / "secret.txt").write_text("not named by the words")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "page"


def test_words_go_in_and_files_and_text_come_out(folder: Path, fake: MakeFake) -> None:
    (folder.parent / "page.py").write_text(PAGE)
    browser = fake("chromium", f'exec {sys.executable} {folder.parent / "page.py"} "$@"')
    code, out, error = run_page(folder, ["--inputs", "in.bin", "--outputs", "out file"])
    assert (code, error) == (1, "noise")
    words = '["--inputs", "in.bin", "--outputs", "out file"]'
    assert out == f'["hello", {words}, "same-origin", 404, 404, 404, 404]'
    assert (folder.parent / "out file").read_bytes() == b"cba"
    assert (folder.parent / "secret.txt").read_text() == "not named by the words"
    [call] = browser.calls
    assert "--headless=new" in call and call[-1].startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("script", "message"), [("exit 7", "chromium ended with code 7"), ("exec sleep 60", "did not end within 0.3 s")]
)
def test_a_page_without_an_end_is_given_up(folder: Path, fake: MakeFake, script: str, message: str) -> None:
    fake("chromium", script)
    code, out, error = run_page(folder, [], limit_s=0.3)
    assert code > 1 and not out and message in error
