"""NetworkSource: how the network of a recipe is made, of the zoo or by a function of the user's own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prunemap.core.files import existing_file
from prunemap.datasets import Dataset
from prunemap.errors import UserError
from prunemap.pruning.recipes.start_weights import load_weights
from prunemap.pruning.training.checkpoint import ModelInfo, build_described

SUFFIX = ".py"


@dataclass(frozen=True)
class NetworkSource:
    """A name of the zoo, or FILE.py:FUNCTION, whose code is run; and what the network is for."""

    name: str
    options: Mapping[str, Any]
    dataset: Dataset

    @property
    def info(self) -> ModelInfo:
        """What checkpoints say of it.

        Raises:
            UserError: an option of a network of the zoo is no number.
        """
        own = self.file is not None
        wrong = [name for name, value in self.options.items() if not isinstance(value, int | float)]
        if wrong and not own:
            raise UserError(f"model.options.{wrong[0]}: got {self.options[wrong[0]]!r}, allowed is a number")
        return ModelInfo(
            model=self.name,
            options={} if own else dict(self.options),
            input_shape=self.dataset.input_shape,
            classes=self.dataset.classes,
            dataset=self.dataset.name,
            mean=self.dataset.normalisation.mean,
            std=self.dataset.normalisation.std,
        )

    @property
    def file(self) -> Path | None:
        """The user's own file; None for the zoo."""
        path, colon, _ = self.name.rpartition(":")
        return Path(path) if colon and path.endswith(SUFFIX) else None

    def build(self, seed: int, start: str | Path | None = None, what: str = "model.start") -> nn.Module:
        """Return the network with fresh weights that follow from ``seed``, or those of a file.

        Raises:
            UserError: there is no such network, the user's own function fails, or the weights do not fit.
        """
        module = build_described(self.info, seed) if self.file is None else self._own(self.file, seed)
        if start is not None:
            load_weights(module, start, what)
        return module

    def _own(self, file: Path, seed: int) -> nn.Module:
        function = self.name.rpartition(":")[2]
        made = getattr(_imported(existing_file(file, "model.name")), function, None)
        if not callable(made):
            raise UserError(f"model.name: {file} has no function {function!r}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                module = made(**self.options)
            except Exception as error:
                raise UserError(f"model.name: {function} of {file} fails: {type(error).__name__}: {error}") from None
        if not isinstance(module, nn.Module):
            raise UserError(f"model.name: {function} of {file} returns {type(module).__name__}, allowed is a module")
        return module


def _imported(file: Path) -> Any:
    """Return the module in a file; what lies beside it can be imported by it."""
    spec = spec_from_file_location(f"prunemap_own_{file.stem}", file)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(file.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"model.name: {file} cannot be imported: {type(error).__name__}: {error}") from None
    finally:
        sys.path.pop(0)
    return module
