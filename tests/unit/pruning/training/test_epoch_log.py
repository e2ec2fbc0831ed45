"""log.csv and the event file: one row per epoch, and none twice."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from torch import nn

from prunemap.datasets import Dataset
from prunemap.errors import UserError
from prunemap.pruning import EpochRecord, History, TrainConfig, train
from prunemap.pruning.training.epoch_log import CSV_NAME, EVENTS_NAME, EpochLog
from prunemap.pruning.training.tensorboard import append_scalars, begin_events, crc32c

CONFIG = TrainConfig(epochs=3, batch_size=72, lr=0.05)


def history(epochs: int) -> History:
    records = [EpochRecord(epoch=n + 1, loss=1 / (n + 1), held_out_accuracy=0.5, lr=0.1) for n in range(epochs)]
    return History(config=CONFIG, epochs=tuple(records))


def events(path: Path) -> list[bytes]:
    """The records of a file, their checksums tested."""
    raw, found = path.read_bytes(), []
    while raw:
        length = struct.unpack("<Q", raw[:8])[0]
        for data, checksum in ((raw[:8], raw[8:12]), (raw[12 : 12 + length], raw[12 + length : 16 + length])):
            value = crc32c(data)
            masked = ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF
            assert struct.unpack("<I", checksum)[0] == masked
        found.append(raw[12 : 12 + length])
        raw = raw[16 + length :]
    return found


def test_the_checksum_is_crc32c() -> None:
    assert crc32c(b"123456789") == 0xE3069283, "the check value of the catalogue of CRCs"


def test_an_event_is_what_tensorboard_reads(tmp_path: Path) -> None:
    """The bytes that protobuf writes for the same event."""
    begin_events(tmp_path / "e")
    append_scalars(tmp_path / "e", {"a/b": 0.5}, step=300, wall_time=2.0)
    first, second = events(tmp_path / "e")
    assert first == b"\x09" + struct.pack("<d", 0) + b"\x1a\x0dbrain.Event:2"
    value = b"\x0a\x03a/b\x15" + struct.pack("<f", 0.5)
    assert second == b"\x09" + struct.pack("<d", 2) + b"\x10\xac\x02\x2a\x0c\x0a\x0a" + value


def test_training_leaves_a_row_per_epoch(net: nn.Module, data: Dataset, tmp_path: Path) -> None:
    log = EpochLog(tmp_path)
    found = train(net, data, CONFIG, log=log.phase("dense", lambda: 0.25))
    rows = log.rows()
    assert [row.epoch for row in rows] == [1, 2, 3]
    assert [row.loss for row in rows] == [record.loss for record in found.epochs]
    assert {(row.phase, row.density) for row in rows} == {("dense", 0.25)}
    assert all(row.seconds is not None and row.seconds > 0 and row.finished is not None for row in rows)
    header = (tmp_path / CSV_NAME).read_text().splitlines()[0]
    assert header == "phase,epoch,loss,held_out_accuracy,lr,seconds,density,finished"
    assert len(events(tmp_path / EVENTS_NAME)) == 1 + 3
    assert b"dense/held_out_accuracy" in events(tmp_path / EVENTS_NAME)[1]


def test_a_resumed_training_has_no_row_twice_and_none_too_many(tmp_path: Path) -> None:
    log = EpochLog(tmp_path)
    first = log.phase("prune", lambda: 1.0)
    first.begin(history(0))
    for record in history(2).epochs:
        first.add(record)
    log.phase("retrain", lambda: 0.5).begin(history(1))  # its row was lost, so it is made from the history
    resumed = log.phase("prune", lambda: 1.0)
    resumed.begin(history(1))  # the second epoch was logged and not kept
    assert [(row.phase, row.epoch) for row in log.rows()] == [("retrain", 1), ("prune", 1)]
    assert log.rows()[0].seconds is None and log.rows()[1].seconds is not None
    resumed.add(history(2).epochs[1])
    assert [(row.phase, row.epoch) for row in log.rows()] == [("retrain", 1), ("prune", 1), ("prune", 2)]
    assert len(events(tmp_path / EVENTS_NAME)) == 1 + 3


def test_another_file_in_its_place_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / CSV_NAME).write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"log: .*log\.csv is not a log of prunemap"):
        EpochLog(tmp_path).phase("dense", lambda: 1.0).begin(history(1))
    assert (tmp_path / CSV_NAME).read_text() == "a,b\n1,2\n"
