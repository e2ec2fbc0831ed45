/** @NAME@, compiled by prunemap @VERSION@ to WebAssembly. Interface: model.d.ts. */

export const info = @INFO@;

const MODULES = { "relaxed-simd": "model.relaxed", simd: "model.simd" }; /* .wasm, with threads .threads.wasm */
const WEIGHTS = "weights.bin", REFERENCE = "reference.json", WORKER = "worker.js";
const WEIGHT_ALIGNMENT = 64, STACK_ALIGNMENT = 16;
const PAGE_BYTES = 65536, MOST_PAGES = 65535, SLACK = 1.25, SLACK_BYTES = 1 << 24; /* of memory that threads share: its end is fixed */
const NOT_SUPPORTED = 52; /* ENOSYS of WASI */

/* A module of one function that uses an instruction of the feature: i8x16.popcnt, i8x16.relaxed_swizzle. */
const START = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10];
const PROBES = {
  simd: [...START, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
  "relaxed-simd": [...START, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11],
};

export function isSupported(variant) {
  if (!(variant in PROBES)) throw new Error(`variant: got ${variant}, allowed are ${Object.keys(PROBES).join(", ")}`);
  return WebAssembly.validate(new Uint8Array(PROBES[variant]));
}

export async function load(options = {}) {
  const { base = import.meta.url, fetch: get = readFile, onProgress, signal, threads = 1 } = options;
  const why = whyNotThreads(threads);
  if (why) throw new Error(`threads: ${why}`);
  const variant = options.variant ?? Object.keys(MODULES).find(isSupported);
  if (variant === undefined) throw new Error("this engine has no WebAssembly SIMD");
  if (!isSupported(variant)) throw new Error(`variant: this engine has no WebAssembly ${variant}`);
  const open = async (name) => {
    const response = await get(new URL(name, base), { signal });
    if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
    return response;
  };
  const file = `${MODULES[variant]}${threads > 1 ? ".threads" : ""}.wasm`;
  const { module, wasm } = await instantiate(await open(file), threads > 1 ? sharedMemory(threads) : undefined);
  const { memory, malloc, pmap_create, pmap_weight_bytes, _initialize } = wasm;
  _initialize?.();
  const size = Number(pmap_weight_bytes());
  if (size !== info.weightBytes) throw new Error(`${file} is not the module of this model.js`);
  const start = malloc(size + WEIGHT_ALIGNMENT);
  if (!start) throw new Error(`no memory for ${size} bytes of weights`);
  const weights = Math.ceil(start / WEIGHT_ALIGNMENT) * WEIGHT_ALIGNMENT;
  await stream(await open(WEIGHTS), new Uint8Array(memory.buffer, weights, size), onProgress);
  const engine = pmap_create(weights, threads);
  if (!engine) throw new Error("no memory for the activations");
  const started = Array.from({ length: threads - 1 }, (_, k) => startWorker(new URL(WORKER, base), module, wasm, engine, k + 1));
  const workers = await Promise.all(started);
  return new Model(wasm, engine, variant, workers, async () => (await open(REFERENCE)).json());
}

/* "" if so many can be. */
function whyNotThreads(threads) {
  if (!Number.isInteger(threads) || threads < 1) return `got ${threads}, allowed is a whole number from 1`;
  if (threads === 1) return "";
  if (!info.threads) return `got ${threads}, allowed is 1: export with --web-threads for more`;
  if (globalThis.crossOriginIsolated !== false) return ""; /* true, or no page */
  return (
    "this page is not isolated from others; its server must send the headers " +
    "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp"
  );
}

function sharedMemory(threads) {
  const { initialPages, stackBytes, bytes, bytesPerThread } = info.threads;
  const wanted = (bytes + threads * (bytesPerThread + stackBytes)) * SLACK + SLACK_BYTES;
  const maximum = Math.min(MOST_PAGES, initialPages + Math.ceil(wanted / PAGE_BYTES));
  return new WebAssembly.Memory({ initial: initialPages, maximum, shared: true });
}

/* Returns the worker once it is about to wait for work. */
async function startWorker(url, module, wasm, engine, thread) {
  const names = ["node:worker_threads"]; /* a name that bundlers for browsers do not follow */
  const Start = globalThis.Worker ?? (await import(/* webpackIgnore: true */ /* @vite-ignore */ names[0])).Worker;
  const bottom = wasm.malloc(info.threads.stackBytes);
  if (!bottom) throw new Error("no memory for the stack of a thread");
  const top = Math.floor((bottom + info.threads.stackBytes) / STACK_ALIGNMENT) * STACK_ALIGNMENT;
  const worker = new Start(url, { type: "module" });
  const on = (name, act) => (worker.once ? worker.once(name, act) : worker.addEventListener(name, act, { once: true }));
  await new Promise((resolve, reject) => {
    on("message", resolve);
    on("error", (event) => reject(new Error(`${WORKER}: ${event?.message ?? "cannot be started"}`)));
    worker.postMessage({ module, memory: wasm.memory, engine, thread, stack: top });
  });
  worker.unref?.(); /* Node may end while it waits */
  return worker;
}

/* Of a URL, or of a file where there is no server (Node). */
async function readFile(url, init) {
  if (url.protocol !== "file:") return fetch(url, init);
  const [files, streams] = ["node:fs/promises", "node:stream"]; /* names that bundlers for browsers do not follow */
  const { open } = await import(/* webpackIgnore: true */ /* @vite-ignore */ files);
  const { Readable } = await import(/* webpackIgnore: true */ /* @vite-ignore */ streams);
  const type = url.pathname.endsWith(".wasm") ? "application/wasm" : "application/octet-stream";
  return new Response(Readable.toWeb((await open(url)).createReadStream()), { headers: { "content-type": type } });
}

/* What a module imports; `memoryOf` tells its memory when it is there. */
export function importsOf(memoryOf, shared) {
  const wasi = {
    clock_time_get(clock, precision, at) {
      new DataView(memoryOf().buffer).setBigUint64(at, BigInt(Math.round(performance.now() * 1e6)), true);
      return 0;
    },
    proc_exit(code) {
      throw new Error(`the program ended with code ${code}`);
    },
  };
  const others = new Proxy(wasi, { get: (own, name) => own[name] ?? (() => NOT_SUPPORTED) });
  return { wasi_snapshot_preview1: others, ...(shared && { env: { memory: shared } }) };
}

async function instantiate(response, shared) {
  let memory = shared;
  const imports = importsOf(() => memory, shared);
  const isWasm = response.headers.get("content-type")?.startsWith("application/wasm");
  const { module, instance } = isWasm
    ? await WebAssembly.instantiateStreaming(response, imports)
    : await WebAssembly.instantiate(await response.arrayBuffer(), imports);
  memory ??= instance.exports.memory;
  return { module, wasm: { ...instance.exports, memory } };
}

/* Straight into the program's memory, as it comes. */
async function stream(response, to, onProgress) {
  let at = 0;
  for (let reader = response.body.getReader(), part; !(part = await reader.read()).done; ) {
    if (at + part.value.length > to.length) throw new Error(`${WEIGHTS} has more than ${to.length} bytes`);
    to.set(part.value, at);
    at += part.value.length;
    onProgress?.(at, to.length);
  }
  if (at !== to.length) throw new Error(`${WEIGHTS} has ${at} bytes, the program wants ${to.length}`);
}

const arrayOf = (dtype) => (dtype === "float32" ? Float32Array : Int32Array);

class Model {
  #wasm;
  #engine;
  #places; /* of the inputs and of the outputs, then of the pointers to them */
  #workers;
  #reference;

  constructor(wasm, engine, variant, workers, reference) {
    this.inputs = info.inputs;
    this.outputs = info.outputs;
    this.layers = info.layers;
    this.variant = variant;
    this.threads = 1 + workers.length;
    this.#workers = workers;
    this.#wasm = wasm;
    this.#engine = engine;
    this.#reference = reference;
    const room = (tensors) => tensors.map((tensor) => this.#take(4 * tensor.elements));
    const [inputs, outputs] = [room(info.inputs), room(info.outputs)];
    const [to_inputs, to_outputs] = [inputs, outputs].map((places) => this.#take(4 * places.length));
    this.#view(Uint32Array, to_inputs, inputs.length).set(inputs);
    this.#view(Uint32Array, to_outputs, outputs.length).set(outputs);
    this.#places = { inputs, outputs, to_inputs, to_outputs };
  }

  run(inputs) {
    this.#write(inputs);
    this.#wasm.pmap_run(this.#engine, this.#places.to_inputs, this.#places.to_outputs);
    return this.#read();
  }

  timeRuns(inputs, runs) {
    return Float64Array.from(this.#time("pmap_time_runs", inputs, runs, 1));
  }

  timeLayers(inputs, runs) {
    const count = this.layers.length, seconds = this.#time("pmap_time_slots", inputs, runs, count);
    return this.layers.map((name, k) => ({ name, seconds: seconds.filter((_, i) => i % count === k) }));
  }

  async check() {
    const { tolerance, madeBy, outputs } = await this.#reference();
    const found = this.run(probeInputs());
    let worst = 0;
    info.outputs.forEach(({ name }, k) => {
      const { step, values, magnitude } = outputs[k];
      const error = Math.max(0, ...values.map((value, i) => Math.abs(found[name][i * step] - value)));
      if (error !== 0) worst = Math.max(worst, error / magnitude); /* NaN stays one */
    });
    return { maxRelativeError: worst, tolerance, madeBy, passed: worst <= tolerance };
  }

  close() {
    if (this.#engine) this.#wasm.pmap_destroy(this.#engine);
    this.#workers.forEach((worker) => worker.terminate());
    this.#engine = 0;
  }

  #take(bytes) {
    const at = this.#wasm.malloc(bytes + 16);
    if (!at) throw new Error(`no memory for ${bytes} bytes`);
    return at;
  }

  /* Made anew each time: memory that grows is another buffer. */
  #view(array, at, length) {
    return new array(this.#wasm.memory.buffer, at, length);
  }

  #write(inputs) {
    if (!this.#engine) throw new Error("the model was closed");
    const given = ArrayBuffer.isView(inputs) && info.inputs.length === 1 ? { [info.inputs[0].name]: inputs } : inputs;
    const wrong = Object.keys(given).filter((name) => !info.inputs.some((tensor) => tensor.name === name));
    if (wrong.length) throw new Error(`inputs: ${wrong.join(", ")} is none of ${info.inputs.map((t) => t.name).join(", ")}`);
    info.inputs.forEach(({ name, dtype, elements }, i) => {
      const array = arrayOf(dtype), value = given[name];
      if (!(value instanceof array) || value.length !== elements)
        throw new Error(`input ${name}: got ${value?.constructor.name} of ${value?.length}, allowed is ${array.name} of ${elements}`);
      this.#view(array, this.#places.inputs[i], elements).set(value);
    });
  }

  #read() {
    const entries = info.outputs.map(({ name, dtype, elements }, i) => [
      name,
      this.#view(arrayOf(dtype), this.#places.outputs[i], elements).slice(),
    ]);
    return Object.fromEntries(entries);
  }

  #time(call, inputs, runs, width) {
    if (!Number.isInteger(runs) || runs < 1) throw new Error(`runs: got ${runs}, allowed is a whole number from 1`);
    this.#write(inputs);
    const at = this.#take(8 * runs * width);
    this.#wasm[call](this.#engine, this.#places.to_inputs, this.#places.to_outputs, runs, at);
    const seconds = this.#view(Float64Array, at, runs * width).slice();
    this.#wasm.free(at);
    return seconds;
  }
}

/* The numbers that the reference was made for: exporting/raw.py has the same. */
function mixed(x) {
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

export function probeInputs() {
  let first = 0;
  const inputs = {};
  for (const { name, dtype, elements } of info.inputs) {
    const value = dtype === "float32" ? (x) => (x >>> 8) * 2 ** -23 - 1 : (x) => x >>> 31;
    inputs[name] = arrayOf(dtype).from({ length: elements }, (_, i) => value(mixed(first + i)));
    first += elements;
  }
  return inputs;
}
