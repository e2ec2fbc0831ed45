"""Runs compiled programs: the ``.pmap`` file, the C ABI (``pmap.h``) and the engine. Needs only NumPy."""

from prunemap.runtime.engine import ABI, Engine, check_thread_count, random_inputs
from prunemap.runtime.pmap_file import Program, read_program

__all__ = ["ABI", "Engine", "Program", "check_thread_count", "random_inputs", "read_program"]
