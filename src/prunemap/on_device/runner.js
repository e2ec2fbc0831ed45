/* What the static programs do (exporting/c/runner.c), for a web export beside it: the same options, JSON and exit codes.
   How files are read and written is given: node.mjs and browser.html. */
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
  return options;
}

async function readInputs(file, read) {
  const bytes = await read(file), inputs = {}, size = info.inputs.reduce((sum, { elements }) => sum + 4 * elements, 0);
  if (bytes.length !== size) throw new Error(`--inputs: ${file} is not of the size of all inputs`);
  let at = 0;
  for (const { name, dtype, elements } of info.inputs) {
    const array = dtype === "float32" ? Float32Array : Int32Array;
    inputs[name] = new array(bytes.buffer.slice(bytes.byteOffset + at, bytes.byteOffset + at + 4 * elements));
    at += 4 * elements;
  }
  return inputs;
}

const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

function median(values) {
  const sorted = Float64Array.from(values).sort(), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

async function timeLayers(model, inputs, options, write) {
  if (options["no-layers"] || !options.runs) return [];
  const layers = model.timeLayers(inputs, options.runs);
  const all = new Float64Array(options.runs * layers.length);
  layers.forEach(({ seconds }, k) => seconds.forEach((value, i) => (all[i * layers.length + k] = value)));
  if (options.times) await write(options.times, [bytesOf(all)]);
  return layers.map(({ name, seconds }) => ({ name, median_us: 1e6 * median(seconds) }));
}

async function runProgram(words, { read, write, say }) {
  const options = parse(words);
  const model = await load({ threads: options.threads });
  const check = options["no-check"] || options.inputs ? null : await model.check();
  const inputs = options.inputs ? await readInputs(options.inputs, read) : probeInputs();
  let found = model.run(inputs);
  for (let i = 0; i < options.warmup; i++) found = model.run(inputs);
  const runs = options.runs ? model.timeRuns(inputs, options.runs) : [];
  const slots = await timeLayers(model, inputs, options, write);
  if (options.outputs) await write(options.outputs, model.outputs.map(({ name }) => bytesOf(found[name])));
  const error = check && (check.maxRelativeError <= 1e30 ? check.maxRelativeError : 1e30); /* JSON has no infinity */
  const said = check && { max_relative_error: error, tolerance: check.tolerance, passed: check.passed };
  const target = `wasm32-${model.variant}`, run_us = Array.from(runs, (seconds) => 1e6 * seconds);
  say(JSON.stringify({ model: info.name, target, threads: model.threads, check: said, run_us, slots }));
  return check && !check.passed ? FAILED_CHECK : 0;
}

/* Returns the exit code. */
export async function main(words, files) {
  try {
    return await runProgram(words, files);
  } catch (error) {
    files.fail(`error: ${error.message}`);
    return BAD_USAGE;
  }
}
