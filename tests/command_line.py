"""The command line, run inside the process of the tests."""

from __future__ import annotations

from typer.testing import CliRunner

from prunemap.cli import app


def run(*arguments: object, code: int = 0) -> str:
    """Run a command; return what it prints, where it fails with what it says of that."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, f"{result.output}\n{result.exception}"
    return result.stdout if code == 0 else result.output


def run_line(command: str, code: int = 0) -> str:
    """Run a command that is given as one line, without quotes."""
    return run(*command.split(), code=code)
