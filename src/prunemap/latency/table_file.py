"""A latency table on disk that several processes may add to: read again before each write, merged under a lock."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prunemap.core.latency_table import LatencyPoint, LatencyTable, Machine, NetworkTimes
from prunemap.core.lock import locked
from prunemap.core.value import now, read_json, write_json
from prunemap.errors import Problems, UserError
from prunemap.latency.probe import Probe

MOVED = 0.05
"""By what share the anchor may differ from its median before the machine counts as another one."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TableFile:
    """latency.json, and what it is if there is none yet."""

    path: Path
    empty: LatencyTable

    @classmethod
    def open(
        cls, path: str | Path, machine: Machine, threads: int, command: str = "", *, force: bool = False
    ) -> TableFile:
        """Return the file, checked to be of this machine; nothing is written yet unless ``force`` leaves a note.

        Raises:
            UserError: the table is damaged, of another number of threads or, unless ``force``, of another machine.
        """
        empty = LatencyTable(machine=machine, threads=threads, command=command, date=now())
        file = cls(Path(path), empty)
        table = file.read()
        if table.threads != threads:
            raise UserError(
                f"latency table: {path} was measured with threads: {table.threads}, here {threads}; "
                "name another file (-o)"
            )
        here, there = (dict(each) for each in (machine, table.machine))
        here |= {"prunemap": here["prunemap"] if there["prunemap"] else ""}  # of a table of before it is not known
        differs = [f"{key}: {there[key]!r}, here {here[key]!r}" for key in here if here[key] != there[key]]
        if differs and force:
            file.note(f"points of another machine were added (--force): {'; '.join(differs)}")
        elif differs:
            problems = Problems(
                f"latency table: {path} was measured elsewhere; name another file (-o), delete it, or mix the two "
                "(--force)"
            )
            problems.extend(differs)
            problems.raise_if_any()
        return file

    def read(self) -> LatencyTable:
        """Return the table as it is now.

        Raises:
            UserError: it is damaged; the file stays as it is.
        """
        return read_json(self.path, LatencyTable, "latency table") if self.path.exists() else self.empty

    def merge(
        self,
        points: Iterable[LatencyPoint] = (),
        networks: Sequence[NetworkTimes] = (),
        notes: Iterable[str] = (),
        instead_of: str | None = None,
    ) -> LatencyTable:
        """Add what was measured to what the file has by now, whoever wrote it; returns the table.

        Args:
            instead_of: how notes begin that are dropped.
        """
        with locked(self.path):
            table = self.read()
            kept = [note for note in table.notes if instead_of is None or not note.startswith(instead_of)]
            merged = table.model_copy(
                update={
                    "points": merge_points(table, points),
                    "networks": merge_networks(table.networks, networks),
                    "notes": tuple(dict.fromkeys((*kept, *notes))),
                }
            )
            write_json(self.path, merged)
        return merged

    def note(self, text: str, instead_of: str | None = None) -> None:
        """Add a note, and say it.

        Args:
            instead_of: how notes begin that it takes the place of.
        """
        self.merge(notes=[text], instead_of=instead_of)
        log.warning("latency table: %s", text)


def merge_networks(known: Sequence[NetworkTimes], new: Sequence[NetworkTimes]) -> tuple[NetworkTimes, ...]:
    """Return the known networks but for those that the new ones may be, and these."""
    kept = [old for old in known if not any(old.is_of(each.settings, each.graph_sha256) for each in new)]
    return (*kept, *new)


def merge_points(table: LatencyTable, points: Iterable[LatencyPoint]) -> tuple[LatencyPoint, ...]:
    """Return the table's points and the new ones; of a point that was measured again the better one stays.

    Better is what was measured while the machine ran at its usual speed, then what spreads less.
    """
    anchor_us = table.anchor_us
    merged = {probe_of(point): point for point in table.points}
    for new in points:
        known = merged.get(probe_of(new), new)
        best = min(new, known, key=lambda point: (has_moved(point, anchor_us), point.spread))
        attempts = new.attempts if known is new else known.attempts + new.attempts
        merged[probe_of(new)] = best.model_copy(update={"attempts": attempts})
    return tuple(merged.values())


def probe_of(point: LatencyPoint) -> Probe:
    """Return what a point is of."""
    return Probe(point.setting, point.scheme, point.density)


def has_moved(point: LatencyPoint, anchor_us: float | None) -> bool:
    """Return whether the machine was faster or slower than usual when a point was measured."""
    return bool(anchor_us and point.anchor_us and abs(point.anchor_us / anchor_us - 1) > MOVED)
