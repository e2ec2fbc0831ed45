"""Runs a folder of web files in a headless Chromium as if it were a program: words go in, files and text come out.

``python -m prunemap.devices.browser FOLDER [WORD…]`` opens ``FOLDER/browser.html``. The page fetches ``words`` (JSON),
reads and writes the files that the words name (``file?NAME``, in the current folder), and puts its text and exit code
to ``end``. It is served to this machine alone, under an address that nobody can guess, and isolated from other origins,
which makes its clock finer: 5 µs instead of 100.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_urlsafe
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any
from urllib.parse import unquote

from prunemap.devices.session import CHROMIUM as BROWSER

FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
)
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
LIMIT_S = 600.0
_STOP_S = 10.0
_NO_END = 3
"""Exit code: the page came to no end."""


@dataclass
class Call:
    """One run of a page."""

    folder: Path
    words: Sequence[str]
    secret: str = field(default_factory=token_urlsafe)
    done: threading.Event = field(default_factory=threading.Event)
    result: dict[str, Any] = field(default_factory=dict)

    def finish(self, data: bytes) -> None:
        """Take what the page says at its end: out, err, code."""
        self.result = json.loads(data)
        self.done.set()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args: Any, call: Call) -> None:
        self._call = call
        super().__init__(*args, directory=str(call.folder))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def end_headers(self) -> None:
        for name, value in ISOLATED.items():
            self.send_header(name, value)
        super().end_headers()

    def do_GET(self) -> None:
        path, _, query = self._inside().partition("?")
        if path == "words":
            self._answer(json.dumps(self._call.words).encode())
        elif path not in ("file", ""):
            self.path = f"/{path}"
            super().do_GET()
        elif unquote(query) in self._call.words and Path(unquote(query)).is_file():
            self._answer(Path(unquote(query)).read_bytes())
        else:
            self.send_error(HTTPStatus.NOT_FOUND, "no such file")

    def do_PUT(self) -> None:
        path, _, query = self._inside().partition("?")
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if path == "end":
            self._answer(b"")
            self._call.finish(data)
        elif path == "file" and unquote(query) in self._call.words:
            Path(unquote(query)).write_bytes(data)
            self._answer(b"")
        else:
            self.send_error(HTTPStatus.NOT_FOUND, "not a file of this program")

    def _inside(self) -> str:
        """Return the path below the secret; "" for who does not know it."""
        start = f"/{self._call.secret}/"
        return self.path.removeprefix(start) if self.path.startswith(start) else ""

    def _answer(self, data: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def _served(call: Call) -> Iterator[str]:
    """Serve the call on the loopback and yield the address of its page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, call=call)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{call.secret}/browser.html"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _opened_browser(address: str) -> Iterator[subprocess.Popen[bytes]]:
    """Open a page in a browser with a profile of its own, which ends with it."""
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()  # it refuses to start for root otherwise
    with TemporaryDirectory(prefix="prunemap-browser-", ignore_cleanup_errors=True) as profile:
        command = [BROWSER, *FLAGS, *sandbox, f"--user-data-dir={profile}", address]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def run_page(folder: Path, words: Sequence[str], limit_s: float = LIMIT_S) -> tuple[int, str, str]:
    """Open ``browser.html`` of a folder and wait for its end.

    Returns:
        The exit code, and the text for stdout and for stderr.
    """
    call = Call(folder, words)
    with _served(call) as address, _opened_browser(address) as browser:
        waited = 0.0
        while not call.done.wait(0.2):
            waited += 0.2
            if browser.poll() is not None:
                return _NO_END, "", f"error: {BROWSER} ended with code {browser.returncode}\n"
            if waited > limit_s:
                return _NO_END, "", f"error: the page did not end within {limit_s:g} s\n"
    return int(call.result["code"]), str(call.result["out"]), str(call.result["err"])


def _stop(_: int, __: FrameType | None) -> None:
    raise SystemExit(_NO_END)


def main() -> None:
    """Run the folder of the first word with the other words."""
    signal.signal(signal.SIGTERM, _stop)  # the browser ends with us
    if shutil.which(BROWSER) is None:
        raise SystemExit(f"error: {BROWSER} is not installed")
    code, out, err = run_page(Path(sys.argv[1]), sys.argv[2:])
    sys.stdout.write(out)
    sys.stderr.write(err)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
