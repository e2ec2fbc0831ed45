"""Trained weights to start from: a checkpoint of prunemap, or a state dict as safetensors or of ``torch.save``."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from prunemap.core.files import existing_file
from prunemap.errors import Problems, UserError
from prunemap.pruning.training.checkpoint import expanded

TORCH_SUFFIXES = (".pt", ".pth")
HOLDERS = ("state_dict", "model", "model_state_dict", "ema_state_dict")
"""Under which training scripts keep the state dict in a larger dict."""
PREFIXES = ("module.", "_orig_mod.")
"""Of wrapped modules: data-parallel, compiled."""
SHOWN = 4


def load_weights(module: nn.Module, path: str | Path, what: str) -> None:
    """Load a state dict into ``module``; names as in torchvision fit the networks of the zoo. No code is run.

    Args:
        what: the name of the argument, for messages.

    Raises:
        UserError: the file is missing or corrupted, holds no state dict, or one that does not fit the module.
    """
    path, state = existing_file(path, what), module.state_dict()
    found = expanded(_read(path, what), state)
    problems = Problems(f"{what}: the weights in {path} do not fit the model")
    for kind, names in (("missing", state.keys() - found.keys()), ("not in the model", found.keys() - state.keys())):
        wrong = sorted(name for name in names if not name.endswith("num_batches_tracked"))
        if wrong:
            more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
            problems.add(f"{kind}: {', '.join(wrong[:SHOWN])}{more}")
    for name in sorted(state.keys() & found.keys()):
        if state[name].shape != found[name].shape:
            shapes = (list(found[name].shape), list(state[name].shape))
            problems.add(f"{name}: shape {shapes[0]} in the file, {shapes[1]} in the model")
    problems.raise_if_any()
    module.load_state_dict({name: found.get(name, value) for name, value in state.items()})


def _read(path: Path, what: str) -> dict[str, Tensor]:
    if path.suffix not in TORCH_SUFFIXES:
        try:
            return load_file(path)
        except SafetensorError as error:
            raise UserError(f"{what}: {path} is corrupted or not a safetensors file ({error})") from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"{what}: {path} is corrupted or holds more than tensors ({str(error).splitlines()[0]}); allowed is a file "
            "of torch.save(module.state_dict(), PATH)"
        ) from None
    return _unprefixed(_state_dict(found, path, what))


def _state_dict(found: Any, path: Path, what: str) -> Mapping[str, Tensor]:
    held = (found.get(name) for name in HOLDERS) if isinstance(found, Mapping) else ()
    candidates = [found, *held]
    for each in candidates:
        if isinstance(each, Mapping) and each and all(isinstance(value, Tensor) for value in each.values()):
            return each
    raise UserError(f"{what}: {path} holds no state dict, neither alone nor as {', '.join(HOLDERS)}")


def _unprefixed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return dict(state)
