"""Tensors and one JSON value in one safetensors file, written whole or not at all. No pickles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from prunemap.core.files import existing_file, replacing
from prunemap.errors import UserError

KEY = "prunemap"
"""Of the JSON value in the file's metadata."""
Value = TypeVar("Value", bound=BaseModel)


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], value: BaseModel) -> None:
    """Write the tensors and the value."""
    # Copies, since the format takes neither shared memory (tied weights) nor other layouts than contiguous.
    copies = {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(copies, temporary, metadata={KEY: value.model_dump_json()})


def read_tensors(path: str | Path, kind: type[Value]) -> tuple[dict[str, Tensor], Value]:
    """Return the tensors and the value of a checkpoint.

    Raises:
        UserError: the file is missing, corrupted, or holds no value of that kind.
    """
    path = existing_file(path, "checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            value = kind.model_validate_json((file.metadata() or {}).get(KEY, ""))
            return {name: file.get_tensor(name) for name in file.keys()}, value  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise UserError(f"checkpoint: {path} is corrupted or not a safetensors file ({error})") from None
    except ValidationError:
        raise UserError(f"checkpoint: {path} is not a {kind.__name__} file of prunemap") from None
