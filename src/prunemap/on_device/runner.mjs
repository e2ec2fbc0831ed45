/* What the static programs do (exporting/c/runner.c), for a web export beside it under Node: the same options and JSON. */
import { readFileSync, writeFileSync } from "node:fs";
import { info, load, probeInputs } from "./model.js";

const FAILED_CHECK = 1, BAD_USAGE = 2;
const VALUES = { threads: 1, runs: 50, warmup: 5, inputs: "", outputs: "", times: "" };
const SWITCHES = ["no-check", "no-layers", "json"];

function parse(words) {
  const options = { ...VALUES };
  while (words.length) {
    const name = words.shift().replace(/^--/, "");
    if (SWITCHES.includes(name)) options[name] = true;
    else if (!(name in VALUES)) throw new Error(`--${name}: no such option`);
    else options[name] = typeof VALUES[name] === "number" ? Number(words.shift()) : words.shift();
  }
  if (options.threads !== 1) throw new Error("--threads: WebAssembly runs with 1");
  return options;
}

function readInputs(file) {
  const bytes = readFileSync(file), inputs = {};
  let at = 0;
  for (const { name, dtype, elements } of info.inputs) {
    const array = dtype === "float32" ? Float32Array : Int32Array;
    inputs[name] = new array(bytes.buffer.slice(bytes.byteOffset + at, bytes.byteOffset + at + 4 * elements));
    at += 4 * elements;
  }
  if (at !== bytes.length) throw new Error(`--inputs: ${file} is not of the size of all inputs`);
  return inputs;
}

const bytesOf = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);

function median(values) {
  const sorted = Float64Array.from(values).sort(), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

function timeLayers(model, inputs, options) {
  if (options["no-layers"] || !options.runs) return [];
  const layers = model.timeLayers(inputs, options.runs);
  const all = new Float64Array(options.runs * layers.length);
  layers.forEach(({ seconds }, k) => seconds.forEach((value, i) => (all[i * layers.length + k] = value)));
  if (options.times) writeFileSync(options.times, bytesOf(all));
  return layers.map(({ name, seconds }) => ({ name, median_us: 1e6 * median(seconds) }));
}

async function main() {
  const options = parse(process.argv.slice(2));
  const model = await load();
  const check = options["no-check"] || options.inputs ? null : await model.check();
  const inputs = options.inputs ? readInputs(options.inputs) : probeInputs();
  let found = model.run(inputs);
  for (let i = 0; i < options.warmup; i++) found = model.run(inputs);
  const runs = options.runs ? model.timeRuns(inputs, options.runs) : [];
  const slots = timeLayers(model, inputs, options);
  if (options.outputs) writeFileSync(options.outputs, Buffer.concat(model.outputs.map(({ name }) => bytesOf(found[name]))));
  const error = check && (check.maxRelativeError <= 1e30 ? check.maxRelativeError : 1e30); /* JSON has no infinity */
  const said = check && { max_relative_error: error, tolerance: check.tolerance, passed: check.passed };
  const target = `wasm32-${model.variant}`, run_us = Array.from(runs, (seconds) => 1e6 * seconds);
  console.log(JSON.stringify({ model: info.name, target, threads: 1, check: said, run_us, slots }));
  return check && !check.passed ? FAILED_CHECK : 0;
}

main().then(
  (code) => (process.exitCode = code),
  (error) => {
    console.error(`error: ${error.message}`);
    process.exitCode = BAD_USAGE;
  },
);
