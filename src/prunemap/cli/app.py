"""The typer app, and how failures become messages and exit codes."""

from __future__ import annotations

import errno
import functools
import tempfile
import traceback
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from prunemap.errors import EXIT_INTERRUPTED, InternalError, PrunemapError, UserError

EXIT_FAILED_CHECK, EXIT_USAGE, EXIT_DEFECT = 1, 2, 3
MAX_ERROR_LINES = 12
EXTRA_OF = {
    **dict.fromkeys(("torch", "onnxscript", "PIL", "yaml", "safetensors"), "train"),
    **dict.fromkeys(("jinja2", "matplotlib"), "report"),
    **dict.fromkeys(("onnxruntime", "openvino"), "bench"),
    "optuna": "search",
    "ray": "ray",
}
"""The extra that brings a package, by the name that is imported."""
BESIDE_CHECKPOINT = (".onnx", ".json", ".masks.safetensors", ".run.safetensors", ".pruning.safetensors")
"""What trainings write beside NAME.safetensors."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    name="prunemap",
    help="Pick the pruning scheme per layer that suits a device, prune and retrain, compile, prove it.\n\n"
    "The stages, file to file: profile → map → prune → compile → bench. "
    "Exit codes: 0 done, 1 a check failed, 2 input or usage, 3 a defect of prunemap, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"prunemap {version('prunemap')}")
        raise typer.Exit


@app.callback()
def _options(
    show: Annotated[
        bool, typer.Option("--version", help="Print the version, and stop.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options before the verb."""


def add_verb(verb: Callable[..., None]) -> None:
    """Make a function a command of its name; a failure ends in a few lines on stderr, never in a traceback."""

    @functools.wraps(verb)
    def guarded(*args: object, **options: object) -> None:
        try:
            _check_output_is_no_input(options)
            verb(*args, **options)
        except KeyboardInterrupt:
            _say("interrupted; what was finished is kept")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except InternalError as error:
            _say(f"error: defect of prunemap: {error}\nplease report it")
            raise typer.Exit(EXIT_DEFECT) from None
        except PrunemapError as error:
            _say(f"error: {error}")
            raise typer.Exit(error.exit_code) from None
        except (typer.Exit, BrokenPipeError):
            raise
        except Exception as error:
            why = _missing_extra(error) or _full(error)
            if why is not None:
                _say(f"error: {verb.__name__.rstrip('_')}: {why}")
                raise typer.Exit(EXIT_USAGE) from None
            _say(
                f"error: defect of prunemap: {type(error).__name__}: {error}\nplease report it with {_traceback_file()}"
            )
            raise typer.Exit(EXIT_DEFECT) from None

    app.command(name=verb.__name__.rstrip("_"))(guarded)


def _check_output_is_no_input(options: Mapping[str, object]) -> None:
    """Raise ``UserError`` where a result would replace a file that the verb reads."""
    output = options.get("output")
    if not isinstance(output, Path):
        return
    beside = BESIDE_CHECKPOINT if output.suffix == ".safetensors" else ()
    written = [path for path in (output, *map(output.with_suffix, beside)) if path.is_file()]
    read = [path for name, path in options.items() if name != "output" and isinstance(path, Path) and path.exists()]
    lost = [str(path) for path in written if any(map(path.samefile, read))]
    if lost:
        raise UserError(f"output: {', '.join(lost)} is an input, too, and would be lost; name another file (-o)")


def _missing_extra(error: Exception) -> str | None:
    """Return what to install, where an error says that a package of an extra is not there."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package not in EXTRA_OF:
        return None
    return f"it needs {package}, which is not installed; pip install 'prunemap[{EXTRA_OF[package]}]'"


def _full(error: Exception) -> str | None:
    """Return what to say where there is no room for what is written, to a pipe or a file."""
    return f"cannot write: {error.strerror}" if isinstance(error, OSError) and error.errno in FULL else None


def _say(message: str) -> None:
    lines = message.splitlines()
    if len(lines) > MAX_ERROR_LINES:
        lines = [*lines[: MAX_ERROR_LINES - 1], f"… and {len(lines) - MAX_ERROR_LINES + 1} more lines"]
    Console(stderr=True, highlight=False, soft_wrap=True).print("\n".join(lines), markup=False)


def _traceback_file() -> Path:
    with tempfile.NamedTemporaryFile("w", prefix="prunemap-defect-", suffix=".txt", delete=False) as file:
        traceback.print_exc(file=file)
    return Path(file.name)
