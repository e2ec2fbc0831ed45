"""PrunerState: what a pruner needs to go on, as plain tensors, numbers and strings (``torch.load`` takes it safely)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from prunemap.core.value import Value
from prunemap.errors import Problems
from prunemap.pruning.prune_config import PruneConfig


class PrunerProgress(Value):
    """What a pruner does and how far it came."""

    config: PruneConfig
    choices: dict[str, str]
    """Scheme and density by the name of the weight."""
    steps: int = 0
    finalized: bool = False


@dataclass(frozen=True)
class PrunerState:
    """The progress and the tensors; these are the pruner's own, not copies."""

    progress: PrunerProgress
    masks: Mapping[str, Tensor]
    penalty: Mapping[str, Tensor]

    def to_dict(self) -> dict[str, Any]:
        """Return copies."""
        return {
            "progress": self.progress.model_dump_json(),
            "masks": {name: mask.clone() for name, mask in self.masks.items()},
            "penalty": {name: value.clone() for name, value in self.penalty.items()},
        }

    @classmethod
    def of_dict(cls, state: Mapping[str, Any]) -> PrunerState:
        """Inverse of :meth:`to_dict`.

        Raises:
            UserError: something is missing.
        """
        problems = Problems("state_dict: it is not of a Pruner")
        problems.extend(f"{key!r} is missing" for key in ("progress", "masks", "penalty") if key not in state)
        problems.raise_if_any()
        return cls(PrunerProgress.model_validate_json(state["progress"]), state["masks"], state["penalty"])


def differences(found: PrunerProgress, asked: PrunerProgress) -> list[str]:
    """Return in what two pruners differ, apart from how far they came."""
    listed = []
    for key, value in asked.config.model_dump().items():
        other = found.config.model_dump()[key]
        if other != value:
            listed.append(f"{key}: {other} saved, {value} asked for")
    for name in sorted(found.choices.keys() | asked.choices.keys()):
        one, other = (progress.choices.get(name, "dense") for progress in (found, asked))
        if one != other:
            listed.append(f"layer {name!r}: {one} saved, {other} asked for")
    return listed


def check_state(found: PrunerState, mine: PrunerState, weights: Mapping[str, Tensor]) -> None:
    """Check that ``found`` is of a pruner like ``mine``.

    Args:
        weights: of which the masks are, by name.

    Raises:
        UserError: other settings, layers or shapes; all differences are listed.
    """
    problems = Problems("state_dict: it is not of this pruner")
    problems.extend(differences(found.progress, mine.progress))
    for what, tensors, wanted in (
        ("masks", found.masks, weights if found.masks else {}),
        ("penalty", found.penalty, mine.penalty),
    ):
        problems.extend(f"{what} of {name!r} are on one side only" for name in sorted(tensors.keys() ^ wanted.keys()))
        for name in sorted(tensors.keys() & wanted.keys()):
            if tensors[name].shape != wanted[name].shape:
                problems.add(f"{what} of {name!r}: {list(tensors[name].shape)}, here {list(wanted[name].shape)}")
    problems.raise_if_any()
