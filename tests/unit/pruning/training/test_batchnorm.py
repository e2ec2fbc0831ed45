"""Statistics of batch norm measured again."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from prunemap.errors import UserError
from prunemap.pruning import reestimate_batchnorm


class Net(nn.Module):
    """Two batch norms, one of them unused, and a dropout before the other."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.norm, self.unused = nn.Dropout(0.5), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.dropout(x))


def test_statistics_are_the_means_over_the_batches() -> None:
    net = Net().train()
    net.unused.running_mean.fill_(7)  # type: ignore[union-attr]
    batches = [torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(i)) * 3 + 2 for i in range(3)]
    reestimate_batchnorm(net, batches)
    mean = torch.stack([x.mean((0, 2, 3)) for x in batches]).mean(0)
    variance = torch.stack([x.transpose(0, 1).flatten(1).var(1) for x in batches]).mean(0)
    torch.testing.assert_close(net.norm.running_mean, mean)
    torch.testing.assert_close(net.norm.running_var, variance)
    assert net.norm.momentum == 0.1
    assert net.training
    assert net.norm.training
    assert net.norm.weight.grad is None
    assert torch.equal(net.unused.running_mean, torch.full((3,), 7.0))  # type: ignore[arg-type]


def test_no_batches_change_nothing() -> None:
    net = Net()
    net.norm.running_mean.fill_(5)  # type: ignore[union-attr]
    with pytest.raises(UserError, match="batches: got none"):
        reestimate_batchnorm(net, [])
    assert torch.equal(net.norm.running_mean, torch.full((3,), 5.0))  # type: ignore[arg-type]
    assert net.norm.momentum == 0.1
