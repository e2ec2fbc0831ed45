"""LoweredProgram → the text of one C program."""

from prunemap.compiler.emit.c_program import emit_program

__all__ = ["emit_program"]
