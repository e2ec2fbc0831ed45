"""prunemap device"""

from __future__ import annotations

from typing import Annotated

import typer

from prunemap.cli.app import EXIT_FAILED_CHECK
from prunemap.cli.options import Cc, Json, show
from prunemap.errors import UserError

ACTIONS = ("list", "check")


def device(
    action: Annotated[str, typer.Argument(help="list or check.", metavar="list|check", show_default=False)],
    name: Annotated[
        str,
        typer.Argument(
            help="To check: local, qemu, node, chromium, ssh:USER@HOST[:PORT], adb[:SERIAL].", metavar="[DEVICE]"
        ),
    ] = "local",
    cc: Cc = None,
    json: Json = False,
) -> None:
    """Show the devices that there are, or check one step by step; exit code 1 if a step fails.

    check reaches the device, sends a small program, runs it, compares its output, and removes it again. See
    docs/devices.md.
    """
    if action not in ACTIONS:
        raise UserError(f"device: got {action!r}, allowed are {', '.join(ACTIONS)}")
    from prunemap.devices import list_devices
    from prunemap.on_device import check_device
    from prunemap.report import device_check_tables, device_list_table

    if action == "list":
        found = list_devices()
        show(found, device_list_table(found), as_json=json)
        return
    check = check_device(name, cc)
    show(check, *device_check_tables(check), as_json=json)
    if not check.passed:
        raise typer.Exit(EXIT_FAILED_CHECK)
