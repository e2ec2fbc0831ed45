"""python -m prunemap, and the ``prunemap`` command."""

from prunemap.errors import EXIT_INTERRUPTED


def main() -> None:
    """Run what the command line says."""
    try:
        from prunemap.cli import app  # noqa: PLC0415 (takes a moment, in which Ctrl-C may come)
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None
    app()


if __name__ == "__main__":
    main()
