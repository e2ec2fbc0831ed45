"""C text → shared library, by ``zig cc`` or a given compiler; results are cached by the hash of all that goes in."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from prunemap.core.cache import keep, read_kept
from prunemap.core.target import Target
from prunemap.errors import InternalError, UserError

log = logging.getLogger(__name__)
KERNELS = Path(__file__).parent / "kernels"
RUNTIME = Path(__file__).parent.parent / "runtime"
_FLAGS = (
    "-std=gnu11",
    "-O3",
    "-g0",
    "-fvisibility=hidden",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-builtin-memset",
    "-Wall",
    "-Wno-unused-function",
    "-Wno-psabi",
)
_TIMEOUT_S = 600
_SLOW_S = 3.0
_ARCHES = {"arm64": "aarch64", "amd64": "x86_64"}
"""What some compilers call an ``arch`` of TARGETS."""


@dataclass(frozen=True)
class Compiler:
    """A C compiler: its command and what it calls itself."""

    command: tuple[str, ...]
    version: str
    is_zig: bool
    machine: str = ""
    """What it makes code for, as gcc and clang call it; zig makes code for any."""

    def flags(self, target: Target, *, static: bool = False) -> list[str]:
        """Return the options that make code for ``target``.

        Args:
            static: for a program that needs nothing on the device.

        Raises:
            UserError: it makes code for another machine.
        """
        arch = self.machine.split("-")[0]
        if not self.is_zig and _ARCHES.get(arch, arch) != target.arch:
            raise UserError(
                f"--cc: {shlex.join(self.command)} makes code for {self.machine}, the target {target.name} needs "
                f"{target.arch}: name a compiler for that, or leave --cc out"
            )
        if self.is_zig:
            machine = [*_zig_machine(target, target.march, static), "-fno-sanitize=undefined"]
        else:
            machine = [f"{target.march_option}={target.march}"]
        return [*machine, *target.cc_flags, *_FLAGS]

    def libc_flags(self, target: Target, *, static: bool = False) -> list[str]:
        """Return the options that link with a C library that zig builds, none where it builds none."""
        if not self.is_zig or not (static or target.carries_libc):
            return []
        return [*_zig_machine(target, target.libc_march, static), "-O3", "-g0"]


def _zig_machine(target: Target, march: str, static: bool) -> tuple[str, ...]:
    return ("-target", target.static_triple if static else target.triple, f"-mcpu={march.replace('-', '_')}")


def find_compiler(cc: str | None = None) -> Compiler:
    """Return the compiler to use.

    Args:
        cc: a command such as ``gcc`` or ``clang -m64``; None = ``zig cc`` of the ziglang package.

    Raises:
        UserError: there is none.
    """
    if cc is None:
        if importlib.util.find_spec("ziglang") is None:
            raise UserError("no C compiler: install one (pip install ziglang) or name one (--cc gcc)")
        return Compiler((sys.executable, "-m", "ziglang", "cc"), f"zig cc {metadata.version('ziglang')}", is_zig=True)
    try:
        command = tuple(shlex.split(cc))
    except ValueError as error:
        raise UserError(f"--cc: got {cc!r}, allowed is a command such as gcc, clang or zig cc ({error})") from None
    if not command or shutil.which(command[0]) is None:
        raise UserError(f"--cc: no compiler {cc!r} found, allowed is a command such as gcc, clang or zig cc")
    machine, name = _asked(command)
    return Compiler(command, name, Path(command[0]).name == "zig", machine)


@lru_cache
def _asked(command: tuple[str, ...]) -> tuple[str, str]:
    """Return the machine that a compiler makes code for, and its version."""
    try:
        # Many programs have a version; only a C compiler knows the machine that it compiles for.
        machine, version = (
            subprocess.run([*command, question], capture_output=True, text=True, timeout=60, check=True).stdout
            for question in ("-dumpmachine", "--version")
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"--cc: {shlex.join(command)} does not work as a C compiler: {error}") from None
    if not machine.strip() or not version.strip():
        raise UserError(f"--cc: {shlex.join(command)} does not work as a C compiler: it names no machine or version")
    return machine.strip(), version.splitlines()[0].strip()


def build_library(source: str, target: Target, compiler: Compiler) -> bytes:
    """Compile a program and return the shared library.

    Raises:
        InternalError: the compiler refuses the generated program.
    """
    flags = [*compiler.flags(target), *target.link_flags, *compiler.libc_flags(target)]
    key = hashlib.sha256(repr((source, flags, compiler.command, compiler.version)).encode())
    key.update(kernel_sources())
    name = f"{key.hexdigest()}.so"
    library = _unsealed(read_kept("build", name) or b"")
    if library is None:
        with tempfile.TemporaryDirectory(prefix="prunemap-") as folder:
            (Path(folder) / "program.c").write_text(source, encoding="utf-8")
            make = CRun(compiler, target, Path(folder), compiled=(f"-I{KERNELS}", f"-I{RUNTIME}"))
            library = make("program.so", ("program.c",), (*target.link_flags, "-lpthread")).read_bytes()
        keep("build", name, library + _seal(library))
    return library


def _seal(library: bytes) -> bytes:
    """Return what is written behind a library, to see that it is whole: its hash."""
    return hashlib.sha256(library).digest()


def _unsealed(kept: bytes) -> bytes | None:
    """Return a library that was kept, None if it is not whole."""
    size = hashlib.sha256().digest_size
    library, seal = kept[:-size], kept[-size:]
    return library if library and _seal(library) == seal else None


def kernel_sources() -> bytes:
    """Return the text of all kernels: part of every cache key."""
    return b"".join(header.read_bytes() for header in sorted([*KERNELS.glob("*.h"), *RUNTIME.glob("*.h")]))


@dataclass(frozen=True)
class CRun:
    """A compiler at work in a folder, for one target.

    Programs that carry the C library are compiled first and then linked, for the least machine of the target's kind:
    zig builds the library, which takes a minute, for each machine that it links for.
    """

    compiler: Compiler
    target: Target
    folder: Path
    static: bool = False
    compiled: tuple[str, ...] = ()
    """Options of the compilation."""

    def __call__(self, made: str, sources: Sequence[str], linked: Sequence[str]) -> Path:
        """Make a program or library of C files and return its file.

        Args:
            made: its name.
            linked: options of the linker.

        Raises:
            InternalError: the compiler refuses what we have generated.
        """
        flags = [*self.compiler.flags(self.target, static=self.static), *self.compiled]
        least = self.compiler.libc_flags(self.target, static=self.static)
        if not least:
            return self._run([*flags, *sources, *linked], made)
        objects = [self._run([*flags, "-c", source], f"{Path(source).stem}.o") for source in sources]
        with _said_if_slow(f"linking for {self.target.arch}; the first time its C library is built, up to a minute"):
            return self._run([*least, *map(str, objects), *linked], made)

    def _run(self, arguments: list[str], made: str) -> Path:
        output = self.folder / made
        command = [*self.compiler.command, *arguments, "-o", str(output)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, cwd=self.folder, check=False
            )
        except subprocess.TimeoutExpired:
            raise InternalError(f"the C compiler took more than {_TIMEOUT_S} s") from None
        if done.returncode or not output.exists():
            shown = "\n".join(done.stderr.strip().splitlines()[:6])
            raise InternalError(f"the C compiler failed on the generated program:\n{shown}")
        return output


@contextmanager
def _said_if_slow(text: str) -> Iterator[None]:
    """Log a text if the block takes longer than people wait without wondering."""
    timer = threading.Timer(_SLOW_S, log.warning, (text,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
