"""Recipes as YAML: read, with values changed from the command line, every problem by the path of its key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from prunemap.core.files import existing_file
from prunemap.errors import Problems, UserError
from prunemap.pruning.recipes.recipe import Recipe

OWN_MODEL = ".py:"
"""In the name of a model: FILE.py:FUNCTION."""


def read_recipe(path: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe; its paths (but for ``output``) are relative to its folder.

    Args:
        changes: such as ``retrain.epochs=1`` or ``layers.0.density=0.3``, the value as YAML, paths relative to the
            current folder.

    Raises:
        UserError: no such file, not YAML, or not a valid recipe; every problem is listed.
    """
    path = existing_file(path, "--recipe")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8", errors="replace"))
    except yaml.YAMLError as error:
        raise UserError(f"--recipe: {path} is not YAML: {_one_line(error)}") from None
    if not isinstance(values, dict):
        raise UserError(f"--recipe: {path} holds no keys, such as model: and layers:")
    values = _located(values, path.parent)
    for change in changes:
        _change(values, change)
    return make_recipe(values, f"--recipe: {path} is not a valid recipe")


def make_recipe(values: Mapping[str, Any], what: str) -> Recipe:
    """Return the recipe of nested values.

    Raises:
        UserError: it is not valid; every problem is listed under ``what``.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        problems = Problems(what)
        for one in error.errors(include_url=False):
            problems.extend(_described(one))
        problems.raise_if_any(limit=20)
        raise


def recipe_schema() -> str:
    """Return the JSON schema of recipes, for editors (recipes/schema.json)."""
    schema = Recipe.model_json_schema(by_alias=True)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=1) + "\n"


def _located(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the values with paths relative to ``folder`` made relative to the current one."""
    located = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    for holder, key in _path_keys(located):
        if isinstance(holder.get(key), str) and (key != "name" or OWN_MODEL in holder[key]):
            holder[key] = str(folder / holder[key])
    return located


def _path_keys(values: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    yield values, "plan"
    for section, keys in (("model", ("name", "start")), ("data", ("folder",)), ("prune", ("latency",))):
        if isinstance(values.get(section), dict):
            yield from ((values[section], key) for key in keys)


def _change(values: dict[str, Any], change: str) -> None:
    """Set one value in place."""
    where, given, text = change.partition("=")
    keys, holder = where.split("."), values
    if not given or not all(keys):
        raise UserError(f"--set: got {change!r}, allowed is KEY=VALUE, such as retrain.epochs=1")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--set: the value of {where} is not YAML: {_one_line(error)}") from None
    for key in keys[:-1]:
        holder = _within(holder, key, where)
    last = keys[-1]
    if isinstance(holder, list):
        holder[_index(holder, last, where)] = value
    elif isinstance(holder, dict):
        holder[last] = value
    else:
        raise UserError(f"--set: {where}: {'.'.join(keys[:-1])} is no section of the recipe")


def _within(holder: Any, key: str, where: str) -> Any:
    if isinstance(holder, list):
        return holder[_index(holder, key, where)]
    if isinstance(holder, dict):
        if holder.get(key) is None:
            holder[key] = {}
        return holder[key]
    raise UserError(f"--set: {where}: {key} is inside of no section of the recipe")


def _index(holder: list[Any], key: str, where: str) -> int:
    if not key.isdecimal() or int(key) >= len(holder):
        raise UserError(f"--set: {where}: got {key}, allowed are 0 to {len(holder) - 1}")
    return int(key)


def _one_line(error: yaml.YAMLError) -> str:
    return " ".join(str(error).split())


def _described(error: ErrorDetails) -> Iterator[str]:
    where = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        known = list(_keys(Recipe, error["loc"][:-1]))
        close = get_close_matches(str(error["loc"][-1]), known, n=1)
        meant = f"did you mean {close[0]}?" if close else f"allowed are {', '.join(known)}"
        yield f"{where}: no such key; {meant}"
    elif error["type"] == "missing":
        yield f"{where}: it is missing"
    else:
        message = error["msg"].removeprefix("Value error, ")
        got = "" if isinstance(error["input"], dict) or error["type"] == "value_error" else f"got {error['input']!r}: "
        yield from (f"{where}: {got}{line}" if where else line for line in message.split("\n"))


def _keys(kind: type[BaseModel], where: Sequence[int | str]) -> Iterator[str]:
    """Yield the keys that are allowed at a place."""
    for key in where:
        if isinstance(key, str):
            field = next(field for name, field in kind.model_fields.items() if key in (name, field.alias))
            kind = next(_models(field.annotation))
    yield from (field.alias or name for name, field in kind.model_fields.items())


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in a type such as ``Schedule | None`` or ``tuple[LayerRule, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, UnionType, tuple):
        for part in get_args(annotation):
            yield from _models(part)
