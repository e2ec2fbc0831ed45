"""bench: a compiled network verified, then timed against other engines in the same run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from prunemap.benchmarking.compare import Effort, Samples, interleave, ratio
from prunemap.benchmarking.engines import ENGINES, Subject
from prunemap.benchmarking.layers import LayerResult, SlotTimer, explain_layers
from prunemap.benchmarking.verify import Input, named_batch, verify
from prunemap.compiler import Tuning, compile_model, compile_with_fallback
from prunemap.compiler.fake_sparsity import FakedLayer, parse_sparsity, with_fake_sparsity
from prunemap.compiler.onnx.source import model_sha256
from prunemap.core.files import existing_file
from prunemap.core.latency_table import Machine
from prunemap.core.plan import Plan
from prunemap.core.table import look_up
from prunemap.core.value import Value, now
from prunemap.devices import Limits, check_threads, float_mode_kept, pinned, read_machine
from prunemap.errors import UserError
from prunemap.runtime import Compiled, random_inputs, read_program, start
from prunemap.targets import NATIVE, resolve_target

OURS = "prunemap"
SLOTS = "prunemap by layer"
DEFAULT_VS = ("onnxruntime", "dense")


class EngineResult(Value):
    """What one engine took per run."""

    engine: str
    median_ms: float
    p10_ms: float
    p90_ms: float
    runs: int


class BenchResult(Value):
    """The comparison, with everything that is needed to take it again."""

    results: tuple[EngineResult, ...]
    max_relative_error: float
    """Of the engine ``prunemap`` against ``reference``; infinite where an output is not finite."""
    ratios: dict[str, float]
    """By engine: median over the rounds of theirs / ours; above 1 ours is faster."""
    machine: Machine
    threads: int
    pinned_cpus: tuple[int, ...]
    """Empty where the system cannot pin."""
    rounds: int
    seconds: float
    """At least so long was measured, all engines together."""
    versions: dict[str, str]
    reference: str
    model: str
    command: str = ""
    date: str = ""
    layers: tuple[LayerResult, ...] = ()
    """Every slot of the program, if asked for; timed in the same rounds."""
    limits: Limits | None = None
    """What the shares of the layers are of."""
    faked: tuple[FakedLayer, ...] = ()
    """What fake sparsity made of the layers; the other engines ran the dense original."""


def open_subject(
    model: str | Path,
    threads: int = 1,
    *,
    reference: str | Path | None = None,
    plan: Plan | None = None,
    target: str = "native",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    cc: str | None = None,
    tune: bool = True,
    fallback: str | None = None,
) -> Subject:
    """Return what to bench: an ONNX model, which is compiled here, or a ``.pmap`` with the ONNX it came from.

    Args:
        reference: ONNX file of a ``.pmap``; None = the one that its manifest names.
        tune: choose tiles by measuring when compiling here.
        fallback: what runs the nodes that cannot be compiled here; None = such nodes are an error.

    Raises:
        UserError: a file cannot be used, the source of the ``.pmap`` is gone or changed, threads is not allowed, or
            a ``.pmap`` is to be another one than it is.
    """
    check_threads(threads)
    path = existing_file(model, "model")
    if path.suffix != ".pmap":
        tuning = Tuning(threads) if tune else None
        compile_ = compile_model if fallback is None else partial(compile_with_fallback, fallback=fallback)
        program = compile_(path, plan=plan, target=target, shapes=shapes, cc=cc, tune=tuning)
        return Subject(path, program, threads, shapes, cc)
    program = read_program(path)
    _check_as_compiled(program, path, plan=plan, target=target, shapes=shapes, fallback=fallback)
    shapes = {info.name: info.shape for info in program.manifest.inputs}
    return Subject(find_source(program, path, reference), program, threads, shapes, cc)


def _check_as_compiled(program: Compiled, path: Path, *, target: str, **others: object) -> None:
    """Raise ``UserError`` where a compiled program is asked to be for another target, or to get a plan or a shape."""
    refused = [f"--{name.removesuffix('s')}" for name, value in others.items() if value]
    if target != NATIVE and resolve_target(target).name != program.manifest.target:
        refused.append(f"--target {target}")
    if refused:
        is_for = program.manifest.target
        raise UserError(f"{', '.join(refused)}: {path} is compiled already, for {is_for}; give the model instead")


@contextmanager
def opened_subject(
    model: str | Path,
    threads: int = 1,
    *,
    sparsity: str | None = None,
    reference: str | Path | None = None,
    plan: Plan | None = None,
    target: str = "native",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    cc: str | None = None,
    tune: bool = True,
    fallback: str | None = None,
) -> Iterator[Subject]:
    """Yield what :func:`open_subject` returns, or a dense model with fake sparsity, kept as long as it is benched.

    Args:
        sparsity: prune a dense ONNX model by magnitude first, without any training: SCHEME@DENSITY, such as
            ``punched:8x4@0.1``; see :func:`with_fake_sparsity`.

    Raises:
        UserError: as :func:`open_subject`, or the sparsity cannot be used.
    """
    if sparsity is None:
        yield open_subject(
            model,
            threads,
            reference=reference,
            plan=plan,
            target=target,
            shapes=shapes,
            cc=cc,
            tune=tune,
            fallback=fallback,
        )
        return
    (spec, density), path = parse_sparsity(sparsity), existing_file(model, "model")
    if path.suffix == ".pmap" or plan is not None or reference is not None:
        raise UserError("--sparsity: it takes a dense ONNX model, no .pmap, and no --plan or --reference beside it")
    with TemporaryDirectory(prefix="prunemap-") as folder:
        sparse = Path(folder) / path.name
        faked = with_fake_sparsity(path, spec, density, sparse, shapes)
        subject = open_subject(sparse, threads, target=target, shapes=shapes, cc=cc, tune=tune, fallback=fallback)
        yield replace(subject, dense=path, faked=faked)


def find_source(program: Compiled, path: Path, reference: str | Path | None = None) -> Path:
    """Return the ONNX file that a program was compiled from.

    Raises:
        UserError: it is not named, not there any more, or another file now.
    """
    if reference is not None:
        return existing_file(reference, "--reference")
    source, hint = program.manifest.source_path, "name it with --reference MODEL.onnx"
    if not source or not Path(source).is_file():
        raise UserError(f"reference: the ONNX file of {path} is not there ({source or 'not named'}); {hint}")
    if model_sha256(source) != program.manifest.source_sha256:
        raise UserError(
            f"reference: {source} has changed since {path} was compiled from it; compile it again or {hint}"
        )
    return Path(source)


@float_mode_kept()
def bench(
    subject: Subject,
    vs: Sequence[str] = DEFAULT_VS,
    inputs: Input | None = None,
    effort: Effort | None = None,
    seed: int = 0,
    command: str = "",
    per_layer: bool = False,
) -> BenchResult:
    """Verify the program, then time it against the engines named in ``vs``.

    Args:
        vs: names out of ENGINES.
        inputs: one batch; None = normal random numbers by ``seed``.
        effort: how much to measure; None = at least 30 rounds and 5 seconds.
        per_layer: time every slot of the program too, and measure the limits of the machine.

    Raises:
        UserError: an engine is unknown or not installed, or the inputs do not fit.
    """
    effort = effort or Effort()
    rows = [look_up(ENGINES, name, "--vs") for name in dict.fromkeys((OURS, *vs))]
    manifest = subject.program.manifest
    batch = random_inputs(manifest.inputs, seed) if inputs is None else named_batch(manifest.inputs, inputs)
    with start(subject.program, subject.threads) as engine:
        checked = verify(engine, subject.onnx, [batch])
    with pinned(subject.threads) as cpus, ExitStack() as stack:
        engines = {row.name: stack.enter_context(row.load(subject)) for row in rows}
        slots = stack.enter_context(SlotTimer(subject)) if per_layer else None
        samples = interleave(engines if slots is None else {**engines, SLOTS: slots}, batch, effort)
        rounds = len(samples[OURS].seconds)
        layers, limits = explain_layers(subject, slots.median_us(rounds)) if slots else ((), None)
    samples.pop(SLOTS, None)
    return BenchResult(
        results=tuple(_result(name, each) for name, each in samples.items()),
        max_relative_error=checked.max_relative_error,
        ratios={name: ratio(each, samples[OURS]) for name, each in samples.items() if name != OURS},
        machine=read_machine(manifest.target, manifest.compiler),
        threads=subject.threads,
        pinned_cpus=cpus,
        rounds=rounds,
        seconds=effort.seconds,
        versions={name: engine.version for name, engine in engines.items()},
        reference=checked.reference,
        model=str(subject.given),
        command=command,
        date=now(),
        layers=layers,
        limits=limits,
        faked=subject.faked,
    )


def bench_model(
    model: str | Path,
    threads: int = 1,
    vs: Sequence[str] = DEFAULT_VS,
    *,
    reference: str | Path | None = None,
    plan: Plan | None = None,
    sparsity: str | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    effort: Effort | None = None,
    seed: int = 0,
    tune: bool = True,
    fallback: str | None = None,
    per_layer: bool = False,
) -> BenchResult:
    """Verify and time an ONNX model or a ``.pmap``: :func:`opened_subject`, then :func:`bench`."""
    with opened_subject(
        model,
        threads,
        sparsity=sparsity,
        reference=reference,
        plan=plan,
        shapes=shapes,
        tune=tune,
        fallback=fallback,
    ) as subject:
        return bench(subject, vs, effort=effort, seed=seed, per_layer=per_layer)


def _result(name: str, samples: Samples) -> EngineResult:
    p10, median, p90 = (samples.percentile_ms(percent) for percent in (10, 50, 90))
    return EngineResult(engine=name, median_ms=median, p10_ms=p10, p90_ms=p90, runs=samples.runs)
