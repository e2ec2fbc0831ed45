"""RunState: a training run after a whole epoch, as one safetensors file that is replaced whole or not at all.

The tensors are the module's state, the optimizer's momentum and, while a pruner works, its masks and penalty; the
rest is JSON in the file's metadata. No random state is kept: what is random in an epoch follows from the seed and the
number of the epoch.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import Tensor, nn
from torch.optim import Optimizer

from prunemap.core.value import Value
from prunemap.errors import Problems
from prunemap.pruning.masks import Masks
from prunemap.pruning.pruner import Pruner
from prunemap.pruning.pruner_state import PrunerProgress, PrunerState, differences
from prunemap.pruning.training.tensor_file import read_tensors, write_tensors
from prunemap.pruning.training.train_config import EpochRecord, History

MODULE, MOMENTUM, MASKS, PENALTY = "module.", "momentum.", "masks.", "penalty."
"""Prefixes of the tensors' names."""


class RunState(Value):
    """What a run started from and how far it came."""

    dataset: str
    """Its name and fingerprint."""
    start_sha256: str
    """Of the weights and masks at the start."""
    history: History
    pruner: PrunerProgress | None = None

    def after(self, record: EpochRecord) -> RunState:
        """Return the state with one more epoch."""
        epochs = (*self.history.epochs, record)
        return self.model_copy(update={"history": self.history.model_copy(update={"epochs": epochs})})


def start_sha256(module: nn.Module, masks: Masks) -> str:
    """Return the hash of the weights and masks that a run starts from."""
    digest = hashlib.sha256()
    for name, tensor in (*module.state_dict().items(), *sorted(masks.items())):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_run(path: Path, state: RunState, module: nn.Module, optimizer: Optimizer, pruner: Pruner | None) -> None:
    """Write the state, the module, the momentum and what the pruner has."""
    tensors = {MODULE + name: tensor for name, tensor in module.state_dict().items()}
    for name, parameter in module.named_parameters():
        if "momentum_buffer" in optimizer.state[parameter]:
            tensors[MOMENTUM + name] = optimizer.state[parameter]["momentum_buffer"]
    if pruner is not None:
        tensors |= {MASKS + name: mask for name, mask in pruner.state.masks.items()}
        tensors |= {PENALTY + name: value for name, value in pruner.state.penalty.items()}
        state = state.model_copy(update={"pruner": pruner.state.progress})
    write_tensors(path, tensors, state)


def load_run(path: Path, start: RunState, module: nn.Module, optimizer: Optimizer, pruner: Pruner | None) -> RunState:
    """Read a run that started as ``start`` into the module, optimizer and pruner; return how far it came.

    Raises:
        UserError: the file is not a run of prunemap, is corrupted, or belongs to a run that started otherwise.
    """
    tensors, state = read_tensors(path, RunState)
    _check_same_run(path, start, state)
    module.load_state_dict(_under(MODULE, tensors))
    momentum = _under(MOMENTUM, tensors)
    for name, parameter in module.named_parameters():
        if name in momentum:
            optimizer.state[parameter]["momentum_buffer"] = momentum[name].to(parameter.device)
    if pruner is not None and state.pruner is not None:
        pruner.restore(PrunerState(state.pruner, _under(MASKS, tensors), _under(PENALTY, tensors)))
    return state


def _check_same_run(path: Path, start: RunState, state: RunState) -> None:
    problems = Problems(f"checkpoint: {path} belongs to another run; delete it to start anew, or choose another file")
    if state.dataset != start.dataset:
        problems.add(f"data set: {state.dataset} in the file, {start.dataset} asked for")
    for field, asked in start.history.config:
        found = getattr(state.history.config, field)
        if found != asked:
            problems.add(f"{field}: {found} in the file, {asked} asked for")
    if (state.pruner is None) != (start.pruner is None):
        problems.add("one of the two only retrains, the other still prunes")
    elif state.pruner is not None and start.pruner is not None:
        problems.extend(differences(state.pruner, start.pruner))
    if state.start_sha256 != start.start_sha256:
        problems.add("it started from other weights or masks")
    problems.raise_if_any()


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
