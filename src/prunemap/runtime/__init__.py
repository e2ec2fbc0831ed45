"""Runs compiled programs: the ``.pmap`` file, the C ABI (``pmap.h``) and the engine. Needs only NumPy."""

from prunemap.runtime.engine import ABI, Engine, check_thread_count, random_inputs
from prunemap.runtime.pmap_file import Compiled, Pipeline, Program, read_program
from prunemap.runtime.segments import AnyEngine, SegmentedEngine, load, open_session, slot_of, start

__all__ = [
    "ABI",
    "AnyEngine",
    "Compiled",
    "Engine",
    "Pipeline",
    "Program",
    "SegmentedEngine",
    "check_thread_count",
    "load",
    "open_session",
    "random_inputs",
    "read_program",
    "slot_of",
    "start",
]
