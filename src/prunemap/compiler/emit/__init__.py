"""LoweredProgram → the text of one C program."""

from prunemap.compiler.emit.c_program import comment, emit_program

__all__ = ["comment", "emit_program"]
