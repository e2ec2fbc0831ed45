"""What training minimises: cross-entropy with the labels and, with a teacher, the distance to its outputs."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from prunemap.pruning.training.train_config import TrainConfig


def objective(outputs: Tensor, labels: Tensor, config: TrainConfig, wanted: Tensor | None = None) -> Tensor:
    """Return the mean loss of a batch: (1 − w)·CE(y, labels) + w·T²·KL(softmax(t/T) ‖ softmax(y/T)).

    T² keeps the gradients of both parts of one size. Source: Hinton et al., Distilling the Knowledge (2015).

    Args:
        outputs: y, (N, classes), float32.
        wanted: t, the outputs of the teacher; None = labels only.
    """
    loss = cross_entropy(outputs, labels, label_smoothing=config.label_smoothing)
    if wanted is None:
        return loss
    weight, temperature = config.distillation, config.temperature
    student, teacher = (log_softmax(values / temperature, dim=1) for values in (outputs, wanted))
    distance = kl_div(student, teacher, log_target=True, reduction="batchmean")
    return (1 - weight) * loss + weight * temperature**2 * distance
