"""Values only: frozen, validated, with a JSON round trip. Imports nothing of prunemap but the errors.

Import from the modules: ``artifact``, ``cache``, ``files`` and ``target`` need no pydantic, so that running a compiled
program needs only NumPy.
"""
