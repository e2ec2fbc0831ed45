"""A search that is killed in the middle of an evaluation, as by kill -9; run by test_search in its own process."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from prunemap.core.plan import Plan
from prunemap.mapping.search import FastAccuracy, SearchConfig
from tests.unit.mapping.search.tiny import FakeEvaluate, make_search


def main(path: Path, survived: int, config: SearchConfig) -> None:
    """Search; the process is killed in evaluation number ``survived + 1``, its line of the journal half written."""
    evaluate = FakeEvaluate()

    def killing(plan: Plan, floors: Sequence[float], *, second_look: bool = False) -> FastAccuracy:
        if len(evaluate.asked) + len(evaluate.asked_again) == survived:
            with path.open("ab") as file:
                file.write(b'{"key":"half a li')
            os.kill(os.getpid(), signal.SIGKILL)
        return evaluate(plan, floors, second_look=second_look)

    make_search(path, killing, config).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), SearchConfig.model_validate_json(sys.argv[3]))
