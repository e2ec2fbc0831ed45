"""Run by the test of data-parallel training: one of two processes that train one network.

Their random weights differ until DistributedDataParallel makes them equal, and so do their batches.
"""

from __future__ import annotations

import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from prunemap.core.plan import Plan
from prunemap.core.value import read_json
from prunemap.pruning import Pruner


def main(rank: int, port: str, plan_file: str, output: str, method: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(rank)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 3))
    # Before the weights are equal, which is the worst case: the masks must be equal all the same.
    early = Pruner(net, read_json(plan_file, Plan, "plan"), torch.zeros(1, 1, 8, 8), method="one_shot")
    model = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    plan, example = read_json(plan_file, Plan, "plan"), torch.zeros(1, 1, 8, 8)
    pruner = Pruner(model, plan, example, optimizer=optimizer, method=method, steps=6)
    for _ in range(9):
        optimizer.zero_grad()
        (model(torch.randn(4, 1, 8, 8)).square().mean() + pruner.penalty()).backward()
        optimizer.step()
        pruner.step()
        if pruner._steps == 6:
            pruner.finalize()
    penalty = {} if pruner._penalty is None else pruner._penalty.state
    torch.save({"early": early.masks, "masks": pruner.masks, "penalty": penalty, "net": net.state_dict()}, output)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
