"""The rules against every plan there is: three layers × four schemes, all 64 pruned alike and retrained.

A ResNet-8 is trained on the bundled Fashion-MNIST subset; the last 3x3 convolution of each stage is then pruned by one
of four schemes, the other layers stay dense. Latencies are those of the layers, measured on this machine in one table.
Accuracy is that on the 1,000 held-out images, a mean over the seeds. One figure has a standard error of about a point,
but a scheme of a layer stands in 16 plans: its effect, the mean over those, is a quarter as uncertain. The effects of
the three layers added up are what the rule's plan is compared by. Where the rules leave a layer dense, their plan is a
65th and is compared by its own accuracy. Rows that the result file has are not trained again.

    .venv/bin/python benchmarks/exhaustive.py [--only REGEX]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from math import sqrt
from pathlib import Path

import numpy as np
from rich.console import Console
from rows import Result, Row, Run, measure_rows, options_parser

from prunemap.compiler import ModelLayer, read_layers
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.value import now
from prunemap.datasets import Dataset, load_dataset
from prunemap.latency import LocalTimer, Predictor, make_probes, measure
from prunemap.mapping.choices import FILTER, LayerChoices
from prunemap.mapping.mapper import DEFAULT_BETA
from prunemap.pruning import StageFiles, TrainConfig, build_described, describe_model, prune_to_files, train_to_files
from prunemap.report.text import new_table, percent

WORK = Path("runs") / "exhaustive"
SCHEMES = tuple(SchemeSpec.parse(text) for text in ("unstructured", "pattern", "punched:4x1", "punched:8x4"))
DENSITY = 0.1
LAYERS = 3
SEEDS = (0,)
DENSE_TRAINING = TrainConfig(epochs=10, batch_size=64)
RETRAINING = TrainConfig(epochs=2, batch_size=64, lr=0.05)


class PlanRow(Row):
    """One plan, retrained."""

    schemes: tuple[SchemeSpec, ...]
    """Of the pruned layers in order; ``dense`` for all of them is the control."""
    by_rules: bool
    latency_us: float
    """Of the three layers, from the table."""
    held_out_accuracy: float
    """0 to 1, mean over the seeds."""
    test_accuracy: float
    seeds: int


@dataclass(frozen=True)
class Study:
    """What is common to all plans."""

    data: Dataset
    threads: int

    @cached_property
    def dense(self) -> StageFiles:
        """The trained network that every plan starts from."""
        files = StageFiles(WORK / "dense.safetensors")
        if not files.report.exists():
            info = describe_model("resnet8", {}, self.data)
            train_to_files(build_described(info), info, self.data, DENSE_TRAINING, files.checkpoint, resume=True)
        return files

    @cached_property
    def layers(self) -> list[ModelLayer]:
        return read_layers(self.dense.onnx)

    @cached_property
    def pruned(self) -> list[ModelLayer]:
        """The last 3x3 convolution of every stage: of those with as many filters as it has, the last."""
        by_filters = {
            layer.spec.weight_shape[0]: layer for layer in self.layers if layer.spec.weight_shape[2:] == (3, 3)
        }
        return list(by_filters.values())[-LAYERS:]

    @cached_property
    def predictor(self) -> Predictor:
        settings = [layer.spec.setting for layer in self.pruned if layer.spec.setting is not None]
        probes = make_probes(settings, (*SCHEMES, FILTER), (DENSITY,))
        return Predictor(measure(probes, WORK / "latency.json", LocalTimer(self.threads)))

    def latency_us(self, layer: ModelLayer, scheme: SchemeSpec) -> float:
        assert layer.spec.setting is not None, "a convolution has a setting"
        return self.predictor.latency_us(layer.spec.setting, scheme, 1.0 if scheme == DENSE else DENSITY)

    @cached_property
    def by_rules(self) -> tuple[SchemeSpec, ...]:
        """What the rule chooses for the three layers; dense where nothing beats that."""
        choices = [LayerChoices(layer, self.predictor, DEFAULT_BETA) for layer in self.pruned]
        options = [choice.choose(DENSITY, filters=False) for choice in choices]
        return tuple(option.scheme if option else DENSE for option in options)

    def plan(self, schemes: Sequence[SchemeSpec]) -> Plan:
        chosen = {layer.spec.name: scheme for layer, scheme in zip(self.pruned, schemes, strict=True)}
        entries = []
        for layer in self.layers:
            scheme = chosen.get(layer.spec.name, DENSE)
            entries.append(PlanLayer.of(layer.spec, scheme, 1.0 if scheme == DENSE else DENSITY))
        return Plan(layers=tuple(entries))

    def measure(self, schemes: tuple[SchemeSpec, ...], run: Run) -> PlanRow:
        """Prune the trained network by one plan and retrain it, once per seed."""
        output = WORK / "plan.safetensors"
        plan, start = self.plan(schemes), self.dense.checkpoint
        trainings = [RETRAINING.model_copy(update={"seed": seed}) for seed in SEEDS]
        reports = [prune_to_files(start, plan, self.data, training, output) for training in trainings]
        return PlanRow(
            name=name_of(schemes),
            schemes=schemes,
            by_rules=schemes == self.by_rules,
            latency_us=sum(self.latency_us(*pair) for pair in zip(self.pruned, schemes, strict=True)),
            held_out_accuracy=float(np.mean([report.held_out_accuracy for report in reports])),
            test_accuracy=float(np.mean([report.test_accuracy for report in reports])),
            seeds=len(SEEDS),
            command=run.command,
            date=now(),
        )


def name_of(schemes: Sequence[SchemeSpec]) -> str:
    return "+".join(map(str, schemes))


def effects(rows: Sequence[PlanRow]) -> list[Mapping[SchemeSpec, float]]:
    """Return per layer what each scheme adds to the mean accuracy of all plans."""
    mean = np.mean([row.held_out_accuracy for row in rows])
    return [
        {
            scheme: float(np.mean([row.held_out_accuracy for row in rows if row.schemes[layer] == scheme]) - mean)
            for scheme in SCHEMES
        }
        for layer in range(LAYERS)
    ]


def print_result(result: Result[PlanRow], console: Console) -> None:
    rows = [row for row in result.rows if DENSE not in row.schemes]
    if len(rows) < len(SCHEMES) ** LAYERS:
        console.print(f"{len(rows)} of {len(SCHEMES) ** LAYERS} plans")
        return
    by_layer = effects(rows)
    mean = float(np.mean([row.held_out_accuracy for row in rows]))
    fitted = {row.name: mean + sum(e[s] for e, s in zip(by_layer, row.schemes, strict=True)) for row in rows}
    rule = next((row for row in result.rows if row.by_rules), None)
    if rule is not None:
        fitted.setdefault(rule.name, rule.held_out_accuracy)
    noise = float(np.std([row.held_out_accuracy - fitted[row.name] for row in rows]))
    table = new_table("What a scheme of a layer adds to the held-out accuracy, points", "layer", *map(str, SCHEMES))
    for layer, effect in enumerate(by_layer, start=1):
        table.add_row(str(layer), *(f"{effect[scheme] * 100:+.2f}" for scheme in SCHEMES))
    console.print(table)
    console.print(f"standard error of an effect: {noise / sqrt(len(rows) / len(SCHEMES)) * 100:.2f} points")
    table = new_table("Plans", "plan", "µs", "held out", "sum of effects", left=1)
    shown = {
        "fastest": min(rows, key=lambda row: row.latency_us),
        "most accurate": max(rows, key=lambda row: fitted[row.name]),
    }
    if rule is not None:
        others = [*rows, rule]
        no_slower = [row for row in others if row.latency_us <= rule.latency_us]
        no_worse = [row for row in others if fitted[row.name] >= fitted[rule.name]]
        shown |= {
            "rules": rule,
            "best of those no slower": max(no_slower, key=lambda row: fitted[row.name]),
            "fastest of those no worse": min(no_worse, key=lambda row: row.latency_us),
        }
    for what, row in shown.items():
        accuracies = percent(row.held_out_accuracy), percent(fitted[row.name])
        table.add_row(f"{what}: {row.name}", f"{row.latency_us:.1f}", *accuracies)
    console.print(table)


def main() -> None:
    options = options_parser(__doc__, "^unstructured").parse_args()
    run = Run.of(options, "exhaustive")
    WORK.mkdir(parents=True, exist_ok=True)
    study = Study(load_dataset("fashion-mnist-subset"), run.threads)
    plans = dict.fromkeys([(DENSE,) * LAYERS, *product(SCHEMES, repeat=LAYERS), study.by_rules])
    measurements = {name_of(plan): partial(study.measure, plan) for plan in plans}
    measure_rows(run, Result[PlanRow], measurements, print_result)


if __name__ == "__main__":
    main()
