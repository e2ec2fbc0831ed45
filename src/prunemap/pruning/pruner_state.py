"""PrunerState: what a pruner needs to go on, as plain tensors, numbers and strings (``torch.load`` takes it safely)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from prunemap.errors import Problems
from prunemap.pruning.masks import Masks
from prunemap.pruning.prune_config import PruneConfig


@dataclass(frozen=True)
class PrunerState:
    """How far it came, with what."""

    config: PruneConfig
    steps: int
    finalized: bool
    masks: Masks
    penalty: Mapping[str, Tensor]

    def to_dict(self) -> dict[str, Any]:
        """Return copies."""
        return {
            "config": self.config.model_dump(),
            "steps": self.steps,
            "finalized": self.finalized,
            "masks": {name: mask.clone() for name, mask in self.masks.items()},
            "penalty": {name: value.clone() for name, value in self.penalty.items()},
        }


def read_state(
    state: Mapping[str, Any], config: PruneConfig, weights: Mapping[str, Tensor], penalty: Mapping[str, Tensor]
) -> PrunerState:
    """Return the state, checked.

    Args:
        weights: shapes of the masks, by name.
        penalty: shapes of the state of the penalty.

    Raises:
        UserError: it is of a pruner with other settings, layers or shapes; all differences are listed.
    """
    problems = Problems("state_dict: it is not of this pruner")
    missing = {"config", "steps", "finalized", "masks", "penalty"} - state.keys()
    problems.extend(f"{key!r} is missing" for key in sorted(missing))
    problems.raise_if_any()
    for key, asked in config.model_dump().items():
        if state["config"].get(key) != asked:
            problems.add(f"{key}: {state['config'].get(key)} in the state, {asked} asked for")
    for what, wanted in (("masks", weights if state["masks"] else {}), ("penalty", penalty)):
        found = state[what]
        problems.extend(f"{what} of {name!r} are on one side only" for name in sorted(found.keys() ^ wanted.keys()))
        for name in sorted(found.keys() & wanted.keys()):
            if found[name].shape != wanted[name].shape:
                problems.add(f"{what} of {name!r}: {list(found[name].shape)}, here {list(wanted[name].shape)}")
    problems.raise_if_any()
    return PrunerState(config, int(state["steps"]), bool(state["finalized"]), state["masks"], state["penalty"])
