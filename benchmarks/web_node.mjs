/* usage: node web_node.mjs ORT_PACKAGE DENSE.onnx DENSE_FOLDER PRUNED_FOLDER ROUNDS: one JSON object of ms per run. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [packages, onnx, denseFolder, prunedFolder, rounds] = process.argv.slice(2);
const ort = createRequire(pathToFileURL(`${packages}/`))("onnxruntime-web/wasm");
ort.env.wasm.numThreads = 1;
const [dense, pruned] = [denseFolder, prunedFolder].map((folder) => import(pathToFileURL(`${folder}/model.js`)));
const probe = (await dense).probeInputs(), [input] = Object.values(probe);
const ours = { dense: await (await dense).load(), pruned: await (await pruned).load() };
const session = await ort.InferenceSession.create(new Uint8Array(await readFile(onnx)), { executionProviders: ["wasm"] });
const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", input, ours.dense.inputs[0].shape) };
const [expected] = Object.values(await session.run(feeds)).map((tensor) => tensor.data);
const [found] = Object.values(ours.dense.run(input));
const magnitude = Math.max(...expected.map(Math.abs));
const error = Math.max(...expected.map((value, i) => Math.abs(value - found[i]))) / magnitude;

const ms = { onnxruntime: [], dense: [], pruned: [] };
for (let round = 0; round < Number(rounds); round++) {
  const begin = performance.now();
  await session.run(feeds);
  ms.onnxruntime.push(performance.now() - begin);
  for (const [name, model] of Object.entries(ours)) ms[name].push(1e3 * model.timeRuns(input, 1)[0]);
}
const checks = Object.fromEntries(await Promise.all(Object.entries(ours).map(async ([k, m]) => [k, (await m.check()).maxRelativeError])));
console.log(JSON.stringify({ ms, error, checks, variant: ours.dense.variant, node: process.version, ort: ort.env.versions.web }));
process.exit(0);
