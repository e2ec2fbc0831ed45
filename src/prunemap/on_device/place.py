"""A place to run: a device, what it is, the CPUs there, and the target that suits them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prunemap.compiler import Tuning
from prunemap.core.target import Target
from prunemap.devices import Device, Facts, PlacedProgram, Session, read_facts, target_for, why_not_there
from prunemap.devices.connection import LocalConnection
from prunemap.errors import UserError
from prunemap.exporting.reference import Reference
from prunemap.on_device.files import program_files
from prunemap.runtime import Compiled, Program
from prunemap.targets import NATIVE, resolve_target


@dataclass(frozen=True)
class Place:
    """Where programs run on a device."""

    device: Device
    facts: Facts
    target: Target
    threads: int
    cpus: tuple[int, ...]
    """Where programs are held; () = where the system puts them."""
    tunes: bool = True
    """Whether tiles may be chosen by measuring."""

    @property
    def tuning(self) -> Tuning | None:
        """How tiles are chosen: by measuring on this machine alone, elsewhere by the model."""
        is_here = isinstance(self.device.connection, LocalConnection) and not self.facts.emulated
        return Tuning(self.threads) if is_here and self.tunes else None

    def check(self, program: Compiled) -> Program:
        """Return the program if it can run there.

        Raises:
            UserError: it is of another architecture, needs more than the CPU has, or has segments.
        """
        name, target = self.device.name, resolve_target(program.manifest.target)
        if not isinstance(program, Program):
            raise UserError(f"device {name}: a network with segments for ONNX Runtime cannot be sent; compile it whole")
        why = why_not_there(target, self.facts)
        if why:
            step = f"compile it with --target {self.target.name}"
            raise UserError(f"device {name}: a program for {target.name} cannot run there: {why}; {step}")
        return program

    def send(
        self, session: Session, program: Program, name: str, reference: Reference | None = None, cc: str | None = None
    ) -> PlacedProgram:
        """Make of a compiled program what runs there, and send it.

        Args:
            reference: what it checks itself against; None = nothing.

        Raises:
            UserError: it cannot be made or sent.
        """
        return self.send_files(session, self.files(program, name, reference, cc), name)

    def files(
        self, program: Program, name: str, reference: Reference | None = None, cc: str | None = None
    ) -> dict[str, bytes]:
        """Return what a program is there; see :func:`program_files`."""
        return program_files(program, name, reference, cc, engine=self.device.engine, threads=self.threads)

    def send_files(self, session: Session, files: Mapping[str, bytes], name: str) -> PlacedProgram:
        """Send what :meth:`files` has returned."""
        return PlacedProgram.place(session, files, name, cpus=self.cpus, threads=self.threads)


def choose_place(device: Device, threads: int = 1, target: str = NATIVE, *, tunes: bool = True) -> Place:
    """Ask a device what it is and choose its fastest CPUs.

    Args:
        target: ``native`` is what suits these CPUs best.
        tunes: choose tiles by measuring, where that can be: on this machine.

    Raises:
        UserError: the device cannot be reached, has not so many CPUs, or cannot run the target.
    """
    facts = read_facts(device)
    cpus = facts.fastest_cpus(threads)
    chosen = target_for(facts, cpus) if target == NATIVE else resolve_target(target)
    why = why_not_there(chosen, facts)
    if why:
        suits = target_for(facts, cpus).name
        raise UserError(f"device {device.name}: --target {chosen.name} cannot run there: {why}; allowed is {suits}")
    held = cpus if facts.can_pin and not facts.emulated and not device.engine else ()  # engines compile on other CPUs
    return Place(device, facts, chosen, threads, held, tunes)
