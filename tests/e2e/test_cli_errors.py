"""Bad input, one by one: exit code 2, a message of at most 12 lines that says what is wrong, nothing written."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from prunemap.cli import app
from prunemap.compiler import compile_model, identity_of, read_specs
from prunemap.core.latency_table import LatencyPoint, LatencyTable, Machine
from prunemap.core.layer import LayerSpec
from prunemap.core.plan import Plan, PlanLayer
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.core.sensitivity import Sensitivity, SensitivityConditions, SensitivityRow
from prunemap.core.value import write_json
from prunemap.datasets import load_dataset
from prunemap.pruning import build_described, describe_model, save_checkpoint
from tests.networks import OnnxBuilder, residual_network, save

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good and bad files of every kind."""
    folder = tmp_path_factory.mktemp("files")
    good = save(residual_network(), folder / "good.onnx")
    compile_model(good, tune=None).save(folder / "good.pmap")
    content = good.read_bytes()
    (folder / "cut.onnx").write_bytes(content[: len(content) // 2])
    (folder / "text.onnx").write_text("this is no model")
    pmap = bytearray((folder / "good.pmap").read_bytes())
    pmap[len(pmap) // 2] ^= 0xFF
    (folder / "corrupted.pmap").write_bytes(pmap)
    b = OnnxBuilder()
    save(b.model(["N", 3, "H", "W"], b.conv("x", (4, 3, 3, 3)), 4), folder / "dynamic.onnx")
    b = OnnxBuilder()
    x = b.node("Det", b.node("Einsum", "x", equation="nchw->ncwh", name="turn"), name="volume")
    save(b.model([1, 3, 8, 8], x), folder / "unsupported.onnx")
    (folder / "text.pt2").write_text("this is no network")
    beside = onnx.load(str(good))
    onnx.save(beside, str(folder / "beside.onnx"), save_as_external_data=True, location="w.data", size_threshold=0)
    (folder / "w.data").unlink()
    specs = read_specs(good)
    identity = identity_of(good, specs)
    fc = next(spec for spec in specs if spec.name == "fc")
    entry = PlanLayer(
        name=fc.name, kind=fc.kind, weight_shape=fc.weight_shape, scheme=SchemeSpec("pattern"), density=0.4
    )
    write_json(folder / "pattern_on_fc.json", Plan(model=identity, layers=(entry,)))
    other = entry.model_copy(update={"name": "elsewhere", "weight_shape": (7, 7), "scheme": SchemeSpec("filter")})
    write_json(folder / "other_plan.json", Plan(model=identity, layers=(other,)))
    (folder / "damaged_plan.json").write_text('{"version": 1, "layers": [{"name": 3}]}')
    data = load_dataset("fashion-mnist-subset")
    info = describe_model("resnet8", {"width": 1.0}, data)
    save_checkpoint(folder / "resnet8.safetensors", build_described(info), info)
    save_checkpoint(
        folder / "other_classes.safetensors",
        build_described(info),
        info.model_copy(update={"classes": tuple("abcdefghij")}),
    )
    write_json(folder / "latency.json", LatencyTable(machine=Machine(cpu="", arch="", cores=1, system=""), threads=1))
    write_json(folder / "even.json", even_table(specs, ""))
    write_json(folder / "other_compiler.json", even_table(specs, "zig cc 0.0.1"))
    (folder / "cut.json").write_text((folder / "even.json").read_text()[:-99])
    row = SensitivityRow(
        layer="elsewhere",
        kind="conv",
        weight_shape=(7, 7),
        scheme=SchemeSpec("filter"),
        density=0.5,
        energy_kept=0.5,
        accuracy=0.5,
        loss=1.0,
    )
    conditions = SensitivityConditions(weights_sha256="", dataset="", images=1, images_sha256="")
    write_json(
        folder / "sensitivity.json",
        Sensitivity(model=identity, conditions=conditions, baseline_accuracy=0.9, baseline_loss=0.3, rows=(row,)),
    )
    (folder / "empty_run" / "seed-0").mkdir(parents=True)
    for name, text in (("run", (folder / "latency.json").read_text()), ("damaged_run", '{"version": 1, "points": 3}')):
        (folder / name).mkdir()
        (folder / name / "latency.json").write_text(text)
    np.save(folder / "good.npy", np.zeros((1, 3, 16, 12), np.float32))
    np.save(folder / "wrong_shape.npy", np.zeros((1, 3, 8, 8), np.float32))
    np.savez(folder / "wrong_name.npz", y=np.zeros((1, 3, 16, 12), np.float32))
    (folder / "strings.npy").write_bytes(b"not numpy")
    (folder / "any.png").write_bytes(b"")
    np.save(folder / "words.npy", np.array(["a"]))
    (folder / "cut.npz").write_bytes((folder / "wrong_name.npz").read_bytes()[:1000])
    (folder / "archive.npy").write_bytes((folder / "wrong_name.npz").read_bytes())
    flipped = bytearray((folder / "wrong_name.npz").read_bytes())
    flipped[len(flipped) // 2] ^= 0xFF
    (folder / "flipped.npz").write_bytes(flipped)
    np.savez(folder / "complex.npz", x=np.zeros((1, 3, 16, 12), np.complex64))
    b = OnnxBuilder()
    save(b.model([1, 3, 8, 8], b.conv("x", (4, 5, 3, 3), name="five"), 4), folder / "misfit.onnx")
    return folder


def even_table(specs: list[LayerSpec], compiler: str) -> LatencyTable:
    """A device where every layer takes 10 µs at density 1 and what is left of that below."""
    settings = dict.fromkeys(spec.setting for spec in specs if spec.setting is not None)
    schemes = [(DENSE, 1.0), *((SchemeSpec("unstructured"), density) for density in (0.1, 0.5))]
    points = [
        LatencyPoint(
            setting=setting,
            scheme=scheme,
            density=density,
            median_us=10 * density,
            p10_us=10 * density,
            p90_us=10 * density,
            runs=5,
        )
        for setting in settings
        for scheme, density in schemes
    ]
    machine = Machine(cpu="elsewhere", arch="", cores=3, system="", compiler=compiler)
    return LatencyTable(machine=machine, threads=2, points=tuple(points))


CASES = {
    "missing file": ("compile {f}/missing.onnx -o {o}/a.pmap", "model: no such file"),
    "a folder": ("compile {f} -o {o}/a.pmap", "is not a file"),
    "not an ONNX file": ("compile {f}/text.onnx -o {o}/a.pmap", "is not an ONNX"),
    "a table as a model": ("inspect {f}/even.json", "even.json is not an ONNX file"),
    "cut ONNX file": ("inspect {f}/cut.onnx", "ONNX"),
    "unsupported operators": ("compile {f}/unsupported.onnx -o {o}/a.pmap", "turn (Einsum)|volume (Det)"),
    "unknown fallback": ("compile {f}/unsupported.onnx -o {o}/a.pmap --fallback tvm", "'tvm', allowed are onnxruntime"),
    "lost weights": ("compile {f}/beside.onnx -o {o}/a.pmap", "beside.onnx lie in other files|no such file: |/w.data"),
    "no exported network": ("compile {f}/text.pt2 -o {o}/a.pmap", "text.pt2 is not a file of torch.export.save"),
    "weight that does not fit": ("compile {f}/misfit.onnx -o {o}/a.pmap", "five (Conv)|3 input channels do not fit"),
    "dynamic shape": ("compile {f}/dynamic.onnx -o {o}/a.pmap", "--shape x=1x3x224x224"),
    "bad --shape": ("inspect {f}/dynamic.onnx --shape x=1x3xA", "--shape:|'x=1x3xA'|NAME=SIZES"),
    "plan of another model": ("compile {f}/good.onnx -o {o}/a.pmap --plan {f}/other_plan.json", "'elsewhere'"),
    "scheme a layer cannot have": (
        "compile {f}/good.onnx -o {o}/a.pmap --plan {f}/pattern_on_fc.json",
        "layer 'fc': pattern is for 3x3 kernels",
    ),
    "damaged plan": (
        "compile {f}/good.onnx -o {o}/a.pmap --plan {f}/damaged_plan.json",
        "not a valid Plan|layers.0.kind",
    ),
    "plan that is missing": ("compile {f}/good.onnx -o {o}/a.pmap --plan {f}/no.json", "--plan: no such file"),
    "unknown target": ("compile {f}/good.onnx -o {o}/a.pmap --target vax", "got 'vax', allowed are"),
    "no compiler": ("compile {f}/good.onnx -o {o}/a.pmap --cc no-such-cc", "no compiler 'no-such-cc'"),
    "a folder as a plan": (
        "map {f}/good.onnx --latency {f}/even.json --density 0.3 -o {f}",
        "is a folder, a file is to be",
    ),
    "a folder as outputs": ("run {f}/good.pmap {f}/good.npy -o {f}", "is a folder, a file is to be"),
    "a folder as a program": ("export {f}/good.pmap --format exe -o {f}", "is a folder, a file is to be"),
    "unwritable output": ("compile {f}/good.onnx -o {f}/good.onnx/a.pmap", "output: cannot write"),
    "corrupted artifact": ("run {f}/corrupted.pmap {f}/good.npy -o {o}/a.npz", "artifact"),
    "an ONNX file as artifact": ("verify {f}/good.onnx {f}/good.onnx", "is not a .pmap file"),
    "threads 0": ("run {f}/good.pmap {f}/good.npy -o {o}/a.npz --threads 0", "threads: got 0, allowed is"),
    "threads 0 of compile": ("compile {f}/good.onnx -o {o}/a.pmap --no-tune --threads 0", "threads: got 0"),
    "threads 0 of bench": ("bench {f}/good.onnx --threads 0 --quick", "threads: got 0"),
    "threads 0 of profile": ("profile {f}/good.onnx -o {o}/l.json --threads 0", "threads: got 0"),
    "wrong input shape": ("run {f}/good.pmap {f}/wrong_shape.npy -o {o}/a.npz", "allowed is [1, 3, 16, 12]"),
    "wrong input name": ("run {f}/good.pmap {f}/wrong_name.npz -o {o}/a.npz", "'y' is not an input|'x' is missing"),
    "cut .npz": ("run {f}/good.pmap {f}/cut.npz -o {o}/a.npz", "cut.npz is not a .npz file"),
    "damaged .npz": ("run {f}/good.pmap {f}/flipped.npz -o {o}/a.npz", "flipped.npz is not a .npz file (Bad CRC-32"),
    ".npz with the wrong name": ("run {f}/good.pmap {f}/archive.npy -o {o}/a.npz", "one of np.savez; name it .npz"),
    "deviation of 0": (
        "run {f}/good.pmap {f}/any.png -o {o}/a.npz --std 0",
        "--std: got '0', allowed are numbers above",
    ),
    "infinite mean": ("run {f}/good.pmap {f}/any.png -o {o}/a.npz --mean inf", "--mean: got 'inf', allowed are finite"),
    "input that is no array": ("run {f}/good.pmap {f}/strings.npy -o {o}/a.npz", "is not a .npy file"),
    "input of strings": ("run {f}/good.pmap {f}/words.npy -o {o}/a.npz", "allowed are numbers"),
    "input of complex numbers": ("run {f}/good.pmap {f}/complex.npz -o {o}/a.npz", "allowed are numbers"),
    "input that is no picture": ("run {f}/good.pmap {f}/other_plan.json -o {o}/a.npz", "nor a picture"),
    "unknown engine": ("bench {f}/good.onnx --vs abacus --quick", "got 'abacus', allowed are"),
    "unknown scheme": ("profile {f}/good.onnx -o {o}/l.json --schemes magic", "'magic'"),
    "bad density": ("profile {f}/good.onnx -o {o}/l.json --densities 0.1,2", "densities: got 2"),
    "nothing to profile": ("profile -o {o}/l.json", "models: got none|--grid"),
    "profile into another file": ("profile {f}/good.onnx -o {f}/damaged_plan.json", "not a valid LatencyTable"),
    "profile into a table of another machine": (
        "profile {f}/good.onnx -o {f}/latency.json",
        "was measured elsewhere|--force|cpu: ''",
    ),
    "check of a table of another machine": (
        "profile {f}/good.onnx --check -o {f}/latency.json",
        "check it where it was measured",
    ),
    "estimates where nothing is checked": (
        "profile {f}/good.onnx --estimate -o {o}/l.json",
        "--estimate: it says how a table is checked; allowed is it with --check",
    ),
    "check with options of measuring": (
        "profile {f}/good.onnx --check -o {f}/latency.json --schemes filter --densities 0.3 --grid --force "
        "--networks-only --device local",
        "not allowed with it is|- --schemes|- --densities|- --grid|- --force|- --networks-only|- --device",
    ),
    "options of layers where none is measured": (
        "profile {f}/good.onnx --networks-only --densities 0.3 -o {o}/l.json",
        "--networks-only: it measures no layers; not allowed with it is|- --densities",
    ),
    "options of a search without one": (
        "map {f}/good.onnx --latency {f}/even.json --density 0.2 -o {o}/p.json --evaluations 9 --resume --threads 2",
        "--method rules: it trains nothing; only --method search takes|- --evaluations|- --resume|- --threads",
    ),
    "a seed below 0": (
        "verify {f}/good.pmap {f}/good.onnx --seed -1",
        "Invalid value for '--seed'|greater than or equal to 0",
    ),
    "a seed on a device": (
        "bench {f}/good.onnx --device local --seed 3 --quick",
        "--device|--seed cannot be used with it",
    ),
    "check without a table": ("profile {f}/good.onnx --check -o {o}/no.json", "latency table: no such file"),
    "no latency table": (
        "map {f}/good.onnx --latency {f}/no.json --density 0.2 -o {o}/p.json",
        "--latency: no such file",
    ),
    "a plan as latency table": (
        "map {f}/good.onnx --latency {f}/other_plan.json --density 0.2 -o {o}/p.json",
        "not a valid LatencyTable",
    ),
    "a latency table that is cut off": (
        "map {f}/good.onnx --latency {f}/cut.json --density 0.2 -o {o}/p.json",
        "--latency: |cut.json is not a valid LatencyTable|Invalid JSON",
    ),
    "a latency table that lacks layers": (
        "map {f}/good.onnx --latency {f}/latency.json --density 0.2 -o {o}/p.json",
        "it lacks layers of this model|prunemap profile MODEL.onnx --threads 1 -o LATENCY.json|conv 3x3/1 8→8 at 16x12",
    ),
    "a latency table of another compiler": (
        "map {f}/good.onnx --latency {f}/other_compiler.json --density 0.2 -o {o}/p.json",
        "compiled by 'zig cc 0.0.1', here is 'zig cc|(--force)",
    ),
    "a latency table of another compiler than that named": (
        "map {f}/good.onnx --latency {f}/other_compiler.json --density 0.2 -o {o}/p.json --cc no-such-cc",
        "--cc: no compiler 'no-such-cc'",
    ),
    "an impossible latency": (
        "map {f}/good.onnx --latency {f}/even.json --latency-ms 0.001 -o {o}/p.json",
        "latency_ms: got 0.001, the least possible with this table is 0.03",
    ),
    "an impossible density": (
        "map {f}/good.onnx --latency {f}/even.json --density 0.01 -o {o}/p.json",
        "density: got 0.01, the least possible with this table is 0.1",
    ),
    "two budgets": (
        "map {f}/good.onnx --latency {f}/even.json --density 0.2 --latency-ms 1 -o {o}/p.json",
        "budget: got density, latency_ms, allowed is exactly one of density, latency_ms and keep_energy",
    ),
    "an unknown method": (
        "map {f}/good.onnx --latency {f}/even.json --density 0.2 -o {o}/p.json --method dice",
        "--method: got 'dice', allowed are rules, search",
    ),
    "no sensitivity file": (
        "map {f}/good.onnx --latency {f}/latency.json --density 0.2 -o {o}/p.json --sensitivity {f}/no.json",
        "--sensitivity: no such file",
    ),
    "a plan as sensitivity file": (
        "map {f}/good.onnx --latency {f}/latency.json --density 0.2 -o {o}/p.json --sensitivity {f}/other_plan.json",
        "--sensitivity|not a valid Sensitivity|baseline_loss",
    ),
    "sensitivity of another network": (
        "map {f}/good.onnx --latency {f}/latency.json --density 0.2 -o {o}/p.json --sensitivity {f}/sensitivity.json",
        "sensitivity: it does not fit this model|'elsewhere'",
    ),
    "sensitivity of what is no checkpoint": ("sensitivity {f}/good.onnx -o {o}/s.json", "checkpoint"),
    "bad schemes and densities": (
        "sensitivity {f}/resnet8.safetensors -o {o}/s.json --densities 3 --schemes magic --layers stem",
        "layers: got 'stem'|densities: got 3|'magic' is unknown",
    ),
    "densities that are no numbers": (
        "sensitivity {f}/resnet8.safetensors -o {o}/s.json --densities a,0.5",
        "--densities|got 'a', allowed are numbers",
    ),
    "a plot of no format": (
        "sensitivity {f}/resnet8.safetensors -o {o}/s.json --plot {o}/s.txt",
        "plot: got|.svg, .png, .pdf",
    ),
    "data of other classes": (
        "sensitivity {f}/other_classes.safetensors -o {o}/s.json",
        "data: fashion-mnist-subset does not fit",
    ),
    "unknown network": ("train alexnet -o {o}/a.safetensors", "got 'alexnet', allowed are resnet8"),
    "unknown data set": ("train resnet8 -o {o}/a.safetensors --data mnist", "got 'mnist', allowed are"),
    "bad device": ("train resnet8 -o {o}/a.safetensors --device tpu", "--device: got tpu"),
    "bad device of pruning alone": (
        "prune {f}/resnet8.safetensors --plan {f}/plan.json -o {o}/a.safetensors --epochs 0 --device tpu",
        "--device: got tpu",
    ),
    "bad epochs": ("train resnet8 -o {o}/a.safetensors --epochs 0", "--epochs"),
    "a program that is no compiler": (
        "compile {f}/good.onnx -o {o}/a.pmap --cc true",
        "true does not work as a C compiler",
    ),
    "unwritable training output": ("train resnet8 -o {f}/good.onnx/a.safetensors --epochs 2", "output: cannot write"),
    "checkpoint of another network": (
        "train resnet20 -o {o}/a.safetensors --epochs 2 --start {f}/resnet8.safetensors",
        "--start|holds resnet8",
    ),
    "demo into a file": ("demo -o {f}/good.onnx", "output: cannot write"),
    "bad output name": ("train resnet8 -o {o}/a.pt --epochs 2", "ends in .safetensors"),
    "checkpoint that is none": ("prune {f}/strings.npy --plan {f}/other_plan.json -o {o}/a.safetensors", "checkpoint"),
    "ONNX to a checkpoint": ("prune {f}/good.onnx --plan {f}/other_plan.json -o {o}/a.safetensors", "ends in .onnx"),
    "ONNX and another plan": ("prune {f}/good.onnx --plan {f}/other_plan.json -o {o}/a.onnx", "'elsewhere'"),
    "ONNX and what needs training": (
        "prune {f}/good.onnx --plan {f}/other_plan.json -o {o}/a.onnx --density 0.2 --epochs 3",
        "an ONNX file is pruned in one shot to the densities of the plan|--density|--epochs",
    ),
    "latency budget without a table": (
        "prune {f}/resnet8.safetensors --plan {f}/plan.json -o {o}/a.safetensors --latency-ms 1",
        "--latency and --latency-ms: got one of them",
    ),
    "one-shot and what needs training": (
        "prune {f}/resnet8.safetensors --plan {f}/plan.json -o {o}/a.safetensors --prune-epochs 2 --shape x=1",
        "--shape: for ONNX files|--prune-epochs: one-shot trains only afterwards",
    ),
    "one-shot and a penalty": (
        "prune {f}/resnet8.safetensors --plan {f}/plan.json -o {o}/a.safetensors --lambda 2",
        "lambda: got 2, but method one-shot has no penalty",
    ),
    "a shape of a compiled network": ("inspect {f}/good.pmap --shape x=1", "--shape: got x=1"),
    "two budgets of pruning": (
        "prune {f}/resnet8.safetensors --plan {f}/plan.json -o {o}/a.safetensors --latency-ms 1 --density 0.1",
        "density and latency_ms: got both",
    ),
    "report of no folder": ("report {f}/no -o {o}/r.html", "run: no such folder"),
    "report of a file": ("report {f}/good.onnx -o {o}/r.html", "good.onnx is not a folder"),
    "report of an empty folder": (
        "report {f}/empty_run -o {o}/r.html",
        "run: nothing of a run is in|latency.json, plan.json, sensitivity.json|seed-N/ with dense.json",
    ),
    "report of a damaged run": (
        "report {f}/damaged_run -o {o}/r.html",
        "latency table:|not a valid LatencyTable|machine: Field required|points",
    ),
    "report into a file": ("report {f}/run -o {f}/good.onnx/r.html", "output: cannot write"),
    "report onto a folder": ("report {f}/run -o {o}", "is a folder, a file is to be written"),
    "unknown option": ("compile {f}/good.onnx -o {o}/a.pmap --fast", "--fast"),
    "no output": ("compile {f}/good.onnx", "--output"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name: str, files: Path, tmp_path: Path) -> None:
    command, expected = CASES[name]
    result = RUNNER.invoke(app, command.format(f=files, o=tmp_path).split())
    assert result.exit_code == 2, f"exit code {result.exit_code}: {result.output}"
    said = result.output
    for part in expected.split("|"):
        assert part in said, said
    assert "Traceback" not in said and len(said.strip().splitlines()) <= 12, said
    assert not list(tmp_path.iterdir()), "something was written"


def test_a_latency_table_of_another_machine_or_compiler_can_be_used(
    files: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command = f"map {files}/good.onnx --latency {files}/{{}}.json --density 0.3 -o {tmp_path}/p.json"
    result = RUNNER.invoke(app, command.format("even").split())
    assert result.exit_code == 0 and "another machine, elsewhere with 3 cores: the plan is for" in result.stderr
    plan = (tmp_path / "p.json").read_bytes()
    with caplog.at_level(logging.WARNING):
        result = RUNNER.invoke(app, [*command.format("other_compiler").split(), "--force"])
    assert "compiled by 'zig cc 0.0.1'" in caplog.text
    assert result.exit_code == 0 and (tmp_path / "p.json").read_bytes() == plan
    noted = even_table(read_specs(files / "good.onnx"), "").model_copy(update={"notes": ("the machine got slower",)})
    write_json(tmp_path / "noted.json", noted)
    command = f"map {files}/good.onnx --latency {tmp_path}/noted.json --density 0.3 -o {tmp_path}/p.json"
    assert "the latency table says: the machine got slower" in RUNNER.invoke(app, command.split()).stderr


def test_a_failed_check_is_exit_code_1(files: Path) -> None:
    other = save(residual_network(scheme="dense"), files / "other.onnx")
    result = RUNNER.invoke(app, ["verify", str(files / "good.pmap"), str(other)])
    assert result.exit_code == 1 and "NOT" in result.output
    assert "good.pmap was compiled from another file" in result.stderr and "good.onnx" in result.stderr


def test_a_defect_is_exit_code_3(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **options: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("prunemap.sources.inspect", broken)
    result = RUNNER.invoke(app, ["inspect", str(files / "good.onnx")])
    assert result.exit_code == 3 and "defect of prunemap: ZeroDivisionError: oops" in result.output
    assert "Traceback" not in result.output


def test_an_interrupt_is_exit_code_130(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("prunemap.sources.inspect", interrupted)
    result = RUNNER.invoke(app, ["inspect", str(files / "good.onnx")])
    assert result.exit_code == 130 and "what was finished is kept" in result.output
