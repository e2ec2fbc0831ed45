"""The C export: complete, without warnings, and the same program as the .pmap."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest

from prunemap.benchmarking.verify import relative_error
from prunemap.compiler.build import find_compiler
from prunemap.compiler.compile import compile_model
from prunemap.core.target import Target
from prunemap.errors import UserError
from prunemap.exporting import export_program, probe_inputs, read_raw, write_raw
from prunemap.exporting.c_source import c_text
from prunemap.runtime import Engine, Program
from prunemap.sources import export_compiled
from prunemap.targets import resolve_target
from tests.networks import residual_network, save
from tests.targets.programs import whole_network

GCC = shutil.which("gcc")
STRICT = ("-Wall", "-Wextra", "-Werror")
SOURCES = ("model.c", "weights.c", "main.c")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(residual_network(), tmp_path_factory.mktemp("export") / "net.onnx")


@pytest.fixture(scope="module")
def program(model: Path) -> Program:
    return compile_model(model, tune=None)


@pytest.fixture(scope="module")
def folder(program: Program, model: Path) -> Path:
    export_program(program, model.parent / "c", "c", find_compiler(), name="net")
    return model.parent / "c"


def built(folder: Path, tmp_path: Path, command: list[str]) -> Path:
    """The example, built from a copy of the folder alone."""
    copy = tmp_path / "copy"
    tmp_path.mkdir(exist_ok=True)
    shutil.copytree(folder, copy)
    subprocess.run([*command, *SOURCES, "-o", "main", "-lpthread"], check=True, cwd=copy)
    return copy / "main"


def outputs_of(main: Path, program: Program, tmp_path: Path) -> list[np.ndarray]:
    inputs, outputs = tmp_path / "in.bin", tmp_path / "out.bin"
    write_raw(inputs, program.manifest.inputs, probe_inputs(program.manifest.inputs))
    subprocess.run([main, inputs, outputs], check=True)
    return read_raw(outputs, program.manifest.outputs)


def expected_of(program: Program) -> list[np.ndarray]:
    with Engine(program) as engine:
        return engine.run(probe_inputs(program.manifest.inputs))


def machine_flags(target: Target) -> list[str]:
    return [f"{target.march_option}={target.march}", *target.cc_flags]


@pytest.mark.skipif(GCC is None, reason="no gcc on this machine: the C export is not built with it")
@pytest.mark.parametrize("sanitizers", ["", "address,undefined"])
def test_gcc_builds_it_without_warnings(folder: Path, program: Program, sanitizers: str, tmp_path: Path) -> None:
    flags = ["-O1", "-g", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"] if sanitizers else ["-O3"]
    machine = machine_flags(resolve_target("native"))
    main = built(folder, tmp_path, [str(GCC), *STRICT, *machine, "-fno-math-errno", *flags])
    for got, want in zip(outputs_of(main, program, tmp_path), expected_of(program), strict=True):
        assert relative_error(got, want) < 1e-6


def test_the_same_compiler_makes_the_same_numbers(folder: Path, program: Program, tmp_path: Path) -> None:
    compiler = find_compiler()
    flags = compiler.flags(resolve_target("native"))
    main = built(folder, tmp_path, [*compiler.command, *flags, *STRICT])
    for got, want in zip(outputs_of(main, program, tmp_path), expected_of(program), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.whole
def test_a_network_of_real_size(tmp_path: Path) -> None:
    model = whole_network("resnet20", tmp_path / "net.onnx")
    program, folder = compile_model(model, tune=None), tmp_path / "c"
    export_program(program, folder, "c", find_compiler(), name="net")
    test_the_same_compiler_makes_the_same_numbers(folder, program, tmp_path / "zig")
    for name, sanitizers in (("gcc", ""), ("sanitized", "address,undefined")) if GCC else ():
        test_gcc_builds_it_without_warnings(folder, program, sanitizers, tmp_path / name)


@pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake on this machine: CMakeLists.txt is not tried")
def test_cmake_builds_it(folder: Path, program: Program, tmp_path: Path) -> None:
    subprocess.run(["cmake", "-S", folder, "-B", tmp_path / "b"], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", tmp_path / "b"], check=True, capture_output=True)
    for got, want in zip(outputs_of(tmp_path / "b" / "main", program, tmp_path), expected_of(program), strict=True):
        assert relative_error(got, want) < 1e-6


def test_two_models_in_one_program(folder: Path, tmp_path: Path) -> None:
    """A file that calls both is compiled with the prefix of neither, and names the functions in full."""
    compiler = find_compiler()
    command = [*compiler.command, *compiler.flags(resolve_target("native")), *STRICT, f"-I{folder}"]
    objects = []
    for prefix, source in product(("first_", "second_"), ("model.c", "weights.c")):
        objects.append(str(tmp_path / f"{prefix}{source}.o"))
        weights = f'-DWEIGHTS_FILE="{folder / "weights.bin"}"'
        flags = [f"-DPMAP_PREFIX={prefix}", weights, "-c", str(folder / source), "-o", objects[-1]]
        subprocess.run([*command, *flags], check=True)
    (tmp_path / "main.c").write_text(
        "void *first_pmap_create(const void *, int), *second_pmap_create(const void *, int);\n"
        "extern const char first_model_weights[], second_model_weights[];\n"
        "int main(void) {\n"
        "  return !first_pmap_create(first_model_weights, 1) + !second_pmap_create(second_model_weights, 1);\n}\n"
    )
    subprocess.run([*command, "main.c", *objects, "-o", "main", "-lpthread"], check=True, cwd=tmp_path)
    subprocess.run([tmp_path / "main"], check=True)


def test_the_folder_has_the_headers_that_are_needed_and_no_others(folder: Path) -> None:
    included: set[str] = set()
    for file in folder.rglob("*.[ch]"):
        included |= {Path(name).name for name in re.findall(r'#include "([^"]+)"', file.read_text())}
    assert {file.name for file in folder.rglob("*.h")} == included
    assert "math.h" not in included, "kernels of general ops are not used here"
    assert (folder / "weights.bin").stat().st_size < 20_000


def test_a_pmap_exports_the_same_files(program: Program, folder: Path, tmp_path: Path) -> None:
    program.save(tmp_path / "net.pmap")
    result = export_compiled(tmp_path / "net.pmap", tmp_path / "again", "c")
    assert result.target == program.manifest.target and result.weight_bytes == program.weights_size
    files = {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    again = tmp_path / "again"
    assert {file.relative_to(again): file.read_bytes() for file in again.rglob("*") if file.is_file()} == files
    assert result.size_bytes == sum(map(len, files.values()))


def test_integers_and_odd_names(tmp_path: Path) -> None:
    """Names that C or a shell would read otherwise, an int64 input, no weights at all."""
    odd = 'a"b\\c??=%s*/é\n'
    builder = onnx.helper
    graph = builder.make_graph(
        [builder.make_node("Add", [odd, odd], ["sum"])],
        "g",
        [builder.make_tensor_value_info(odd, onnx.TensorProto.INT64, [2, 3])],
        [builder.make_tensor_value_info("sum", onnx.TensorProto.INT64, [2, 3])],
    )
    path = save(
        builder.make_model(graph, opset_imports=[builder.make_opsetid("", 18)], ir_version=10), tmp_path / "i.onnx"
    )
    program = compile_model(path, tune=None)
    export_program(program, tmp_path / "c", "c", find_compiler(), name=odd)
    compiler = find_compiler()
    main = built(tmp_path / "c", tmp_path, [*compiler.command, *compiler.flags(resolve_target("native")), *STRICT])
    (got,) = outputs_of(main, program, tmp_path)
    np.testing.assert_array_equal(got, 2 * probe_inputs(program.manifest.inputs)[odd])


def test_text_in_c() -> None:
    assert c_text('a"\\?\n') == '"a\\042\\134\\077\\012"'


def test_what_cannot_be_exported(program: Program, model: Path, tmp_path: Path) -> None:
    compiler = find_compiler()
    with pytest.raises(UserError, match="--format: got 'zip', allowed are c, exe, web"):
        export_compiled(model, tmp_path / "o", "zip")
    with pytest.raises(UserError, match="holds no C text; compile it again"):
        export_program(replace(program, source=b""), tmp_path / "o", "c", compiler, name="net")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not lose this")
    with pytest.raises(UserError, match="is there already, and is no folder of an earlier export"):
        export_program(program, tmp_path / "mine", "c", compiler, name="net")
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    program.save(tmp_path / "net.pmap")
    with pytest.raises(UserError, match="another target, plan or shape needs the ONNX file"):
        export_compiled(tmp_path / "net.pmap", tmp_path / "o", "c", target="cortex-a55")
    assert not (tmp_path / "o").exists()
