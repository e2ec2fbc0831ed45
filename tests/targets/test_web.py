"""Programs for WebAssembly under Node, both kinds of SIMD."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prunemap.compiler.build import find_compiler
from prunemap.core.artifact import TensorInfo
from prunemap.exporting import probe_inputs, read_raw, write_raw
from prunemap.exporting.export import MARK_WEB, write_folder
from prunemap.exporting.web import web_files
from prunemap.sources import export_compiled
from tests.networks import residual_network, save
from tests.targets.programs import FEW, MAKERS, make_subject, whole_network

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="no node on this machine: WebAssembly programs are not run")
WHOLE = pytest.mark.whole
RUN = Path(__file__).parent / "run_web.mjs"
VARIANTS = ("simd", "relaxed-simd")
FLAGS = {"simd": (), "relaxed-simd": ("--experimental-wasm-relaxed-simd",)}
"""Node 20 has it behind a flag."""


def node(*arguments: object, flags: tuple[str, ...] = (), code: int = 0) -> str:
    done = subprocess.run([str(NODE), *flags, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{done.returncode}: {done.stdout[-2000:]} {done.stderr[-3000:]}"
    return done.stdout if code == 0 else done.stderr


def script(folder: Path, text: str, flags: tuple[str, ...] = (), code: int = 0) -> Any:
    (folder.parent / "script.mjs").write_text(f"import * as web from './{folder.name}/model.js';\n{text}")
    out = node(folder.parent / "script.mjs", flags=flags, code=code)
    return json.loads(out) if code == 0 else out


def variants_of(folder: Path) -> list[str]:
    """Return the kinds of SIMD that this Node has: 18 has not the relaxed one, 20 has it behind a flag."""
    asked = "console.log(web.isSupported('{}'));"
    return [variant for variant in VARIANTS if script(folder, asked.format(variant), FLAGS[variant])]


@pytest.mark.parametrize(
    ("maker", "shift"),
    [
        *[pytest.param(maker, shift, marks=WHOLE) for maker in MAKERS for shift in (0, 1)],
        *[(maker, 0) for maker in FEW],
    ],
)
def test_kernels_agree_with_the_interpreter(maker: str, shift: int, tmp_path: Path) -> None:
    subject = make_subject(maker, "wasm32-simd", shift)
    subject.check_families()
    ends = subject.program.manifest
    write_folder(tmp_path / "web", web_files(subject.program, maker, subject.unchecked, find_compiler()), MARK_WEB)
    write_raw(tmp_path / "in", ends.inputs, subject.inputs)
    for variant in variants_of(tmp_path / "web"):
        node(RUN, tmp_path / "web", variant, tmp_path / "in", tmp_path / "out", flags=FLAGS[variant])
        subject.check(read_raw(tmp_path / "out", ends.outputs), variant)


@WHOLE
@pytest.mark.parametrize("maker", [*MAKERS, *FEW])
def test_threads_return_what_one_does(maker: str, tmp_path: Path) -> None:
    subject = make_subject(maker, "wasm32-simd", 0)
    ends = subject.program.manifest
    write_folder(
        tmp_path / "web", web_files(subject.program, maker, subject.unchecked, find_compiler(), threads=True), MARK_WEB
    )
    write_raw(tmp_path / "in", ends.inputs, subject.inputs)
    for variant in variants_of(tmp_path / "web"):
        said = node(RUN, tmp_path / "web", variant, tmp_path / "in", tmp_path / "out", 3, flags=FLAGS[variant])
        assert json.loads(said)["threads"] == 3
        subject.check(read_raw(tmp_path / "out", ends.outputs), variant)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web")
    export_compiled(save(residual_network(), folder / "net.onnx"), folder / "net", "web")
    return folder / "net"


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_network_checks_and_times_itself(web: Path, variant: str) -> None:
    if variant not in variants_of(web):
        pytest.skip(f"this Node has no {variant}")
    found = script(
        web,
        """let last;
        const m = await web.load({ onProgress: (loaded, total) => (last = [loaded, total]) });
        const x = web.probeInputs(), layers = m.timeLayers(x, 3), runs = m.timeRuns(x, 4);
        console.log(JSON.stringify({ variant: m.variant, check: await m.check(), runs: [...runs], last,
          layers: layers.map((l) => [l.name, l.seconds.length]), x: [...x.x.slice(0, 9)],
          bytes: web.info.weightBytes }));
        """,
        FLAGS[variant],
    )
    assert found["variant"] == variant, "the best that this engine has"
    assert found["check"]["passed"] and 0 < found["check"]["maxRelativeError"] < 1e-5
    assert len(found["runs"]) == 4 and min(found["runs"]) > 0
    assert ["block.a", 3] in found["layers"] and ["output fc_out", 3] in found["layers"]
    assert found["last"] == [found["bytes"]] * 2 == [(web / "weights.bin").stat().st_size] * 2
    probe = probe_inputs([TensorInfo("x", (1, 3, 16, 12))])
    np.testing.assert_array_equal(np.array(found["x"], np.float32), probe["x"].ravel()[:9])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(await web.load()).run({ y: new Float32Array(3) });", "inputs: y is none of x"),
        ("(await web.load()).run(new Float32Array(3));", "got Float32Array of 3, allowed is Float32Array of 576"),
        (
            "(await web.load()).run({ x: new Int32Array(576) });",
            "got Int32Array of 576, allowed is Float32Array of 576",
        ),
        ("await web.load({ threads: 0 });", "threads: got 0, allowed is a whole number from 1"),
        ("await web.load({ threads: 2 });", "threads: got 2, allowed is 1: export with --web-threads for more"),
        ("(await web.load()).timeRuns(web.probeInputs(), 0);", "runs: got 0, allowed is a whole number from 1"),
        ("await web.load({ variant: 'mmx' });", "variant: got mmx, allowed are simd, relaxed-simd"),
        ("await web.load({ variant: 'relaxed-simd' });", "this engine has no WebAssembly relaxed-simd"),
        ("await web.load({ base: 'file:///nowhere/' });", "ENOENT"),
        ("const m = await web.load(); m.close(); m.run(web.probeInputs());", "the model was closed"),
        (
            "await web.load({ fetch: async (u) => String(u).endsWith('.bin') ? new Response('abc') : fetch2(u) });",
            "weights.bin has 3 bytes, the program wants",
        ),
        ("await web.load({ fetch: async () => new Response('', { status: 404 }) });", "model.simd.wasm: 404"),
    ],
)
def test_what_is_wrong_is_said(web: Path, text: str, message: str) -> None:
    if "relaxed" in text and "mmx" not in text and script(web, "console.log(web.isSupported('relaxed-simd'));"):
        pytest.skip("this node has relaxed SIMD without a flag")
    helper = (
        "import { readFile } from 'node:fs/promises';\nconst fetch2 = async (u) => new Response(await readFile(u));\n"
    )
    assert message in script(web, helper + text, code=1)


def test_threads_end_with_their_model_and_with_the_program(tmp_path: Path) -> None:
    export_compiled(save(residual_network(), tmp_path / "net.onnx"), tmp_path / "net", "web", web_threads=True)
    found = script(
        tmp_path / "net",
        """const [m, alone] = [await web.load({ threads: 2 }), await web.load()];
        const x = web.probeInputs(), same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
        const results = [same(m.run(x), alone.run(x)), (await m.check()).passed, m.threads, alone.threads];
        m.close();
        const left = await web.load({ threads: 2 });  // waits for work when the program ends
        globalThis.crossOriginIsolated = false;
        results.push(await web.load({ threads: 2 }).catch((error) => error.message));
        console.log(JSON.stringify(results));""",
    )
    assert found[:4] == [True, True, 2, 1]
    assert "threads: this page is not isolated from others; its server must send the headers" in found[4]


def test_other_outputs_than_the_reference_fail_the_check(web: Path) -> None:
    found = script(
        web,
        """import { readFile } from 'node:fs/promises';
        const get = async (url) => {
          const data = await readFile(url);
          if (!String(url).endsWith('.json')) return new Response(data);
          const reference = JSON.parse(data), [output] = reference.outputs;
          output.values[3] += 2e-4 * output.magnitude;
          return new Response(JSON.stringify(reference));
        };
        console.log(JSON.stringify(await (await web.load({ fetch: get })).check()));""",
    )
    assert found["passed"] is False and 1e-4 < found["maxRelativeError"] < 3e-4


@WHOLE
@pytest.mark.parametrize("network", ["resnet20", "efficientnet-lite0"])
def test_whole_networks(network: str, tmp_path: Path) -> None:
    model = whole_network(network, tmp_path / "net.onnx")
    export_compiled(model, tmp_path / "net", "web")
    for variant in variants_of(tmp_path / "net"):
        text = "console.log(JSON.stringify(await (await web.load()).check()));"
        found = script(tmp_path / "net", text, FLAGS[variant])
        assert found["maxRelativeError"] < found["tolerance"] == 1e-4
