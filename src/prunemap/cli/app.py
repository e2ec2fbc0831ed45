"""The typer app, and how failures become exit codes."""

from __future__ import annotations

import sys
import tempfile
import traceback
from pathlib import Path

import click
import typer
from rich.console import Console

from prunemap.errors import PrunemapError

EXIT_FAILED_CHECK, EXIT_USAGE, EXIT_DEFECT, EXIT_INTERRUPTED = 1, 2, 3, 130
MAX_ERROR_LINES = 12

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


def run(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code; a failure is a message of a few lines, never a traceback."""
    try:
        code = app(arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except PrunemapError as error:
        _say_error(str(error))
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say_error("interrupted; what was finished is kept")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        _say_error(f"defect: {type(error).__name__}: {error}\nplease report it with {_keep_traceback()}")
        return EXIT_DEFECT
    return code if isinstance(code, int) else 0


def _say_error(message: str) -> None:
    lines = message.splitlines()
    if len(lines) > MAX_ERROR_LINES:
        lines = [*lines[: MAX_ERROR_LINES - 1], f"… and {len(lines) - MAX_ERROR_LINES + 1} more lines"]
    Console(stderr=True, highlight=False, soft_wrap=True).print("error: " + "\n".join(lines), markup=False)


def _keep_traceback() -> Path:
    with tempfile.NamedTemporaryFile("w", prefix="prunemap-defect-", suffix=".txt", delete=False) as file:
        traceback.print_exc(file=file)
    return Path(file.name)
