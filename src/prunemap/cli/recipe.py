"""`prunemap prune --recipe`: its options, and how it is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic_core import to_json
from rich.console import Console

from prunemap.cli.options import typed_options
from prunemap.errors import Problems, UserError

if TYPE_CHECKING:
    from prunemap.pruning.recipes.summary import RecipeSummary

RecipeFile = Annotated[
    Path | None,
    typer.Option("--recipe", help="Do what a YAML file says, from the network to the final table.", show_default=False),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a value of the recipe: retrain.epochs=1. Repeatable.", show_default=False),
]
PrintSchema = Annotated[bool, typer.Option("--recipe-schema", help="Print the JSON schema of recipes, and stop.")]

OVERRIDES = {
    "output": "output",
    "data": "data.name",
    "data_folder": "data.folder",
    "download": "data.download",
    "image_size": "data.image_size",
    "plan": "plan",
    "device": "device",
    "threads": "threads",
}
"""Options that change a value of the recipe: parameter → key."""
ALONGSIDE = ("recipe", "changes", "recipe_schema", "resume", "json")
INSTEAD = {
    "checkpoint": "model.start=FILE",
    "method": "prune.method=…",
    "prune_epochs": "prune.training.epochs=…",
    "lam": "prune.lambda=…",
    "density": "prune.density=…",
    "latency_ms": "prune.latency_ms=…",
    "latency": "prune.latency=FILE",
    "distillation": "retrain.distillation=…",
    "reestimate_batchnorm": "prune.reestimate_batchnorm=true",
    "epochs": "retrain.epochs=…",
    "batch_size": "retrain.batch_size=…",
    "lr": "retrain.lr=…",
    "seed": "seeds=[…]",
    "shape": "data.image_size=…",
}
"""What to write in place of an option that a recipe does not go with."""


def recipe_changes(context: typer.Context, changes: list[str]) -> list[str]:
    """Return the changes of the recipe, those by other options included.

    Raises:
        UserError: an option was given that does not go with a recipe; all such are listed.
    """
    problems, all_changes = Problems("--recipe: options that it does not go with"), list(changes)
    for name, typed in typed_options(context).items():
        if name in ALONGSIDE:
            continue
        if name in OVERRIDES:
            value = context.params[name]
            all_changes.append(f"{OVERRIDES[name]}={to_json(value).decode()}")
        else:
            problems.add(f"{typed}: write --set {INSTEAD[name]}")
    problems.raise_if_any(limit=len(INSTEAD))
    return all_changes


def run_recipe_file(recipe: Path, changes: list[str], *, resume: bool) -> RecipeSummary | None:
    """Run a recipe; return what it reached, None in all processes of ``torchrun`` but the first."""
    from prunemap.pruning.recipes.file import read_recipe
    from prunemap.pruning.recipes.run import run_recipe
    from prunemap.pruning.training.distributed import is_first, processes_of_torchrun

    wanted = read_recipe(recipe, changes)
    with processes_of_torchrun(wanted.device):
        console = Console(stderr=True, highlight=False, soft_wrap=True, quiet=not is_first())
        summary = run_recipe(wanted, resume=resume, say=lambda text: console.print(f"• {text}"))
        return summary if is_first() else None


def check_given(values: Mapping[str, object]) -> None:
    """Check that what is needed without a recipe was given.

    Raises:
        UserError: a value is None; all such are listed.
    """
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise UserError(f"{', '.join(missing)}: missing; or give --recipe FILE.yaml, which says all of it")
