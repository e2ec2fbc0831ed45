"""Graph → lowered program: layouts, formats, tiles, the arena, and the steps that the generated C code runs."""
