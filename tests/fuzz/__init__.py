"""Damaged and twisted files: every one ends in a result or in a clear error."""
