"""A compiled network as something to take elsewhere: C source, one static program, a WebAssembly module."""

from prunemap.exporting.export import FORMATS, Exported, Format, export_program
from prunemap.exporting.raw import probe_inputs, read_raw, write_raw

__all__ = ["FORMATS", "Exported", "Format", "export_program", "probe_inputs", "read_raw", "write_raw"]
