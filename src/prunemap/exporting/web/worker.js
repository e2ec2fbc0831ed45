/** A thread of a model: an instance of the same module on the same memory, with a stack of its own. Started by model.js. */
import { importsOf } from "./model.js";

const names = ["node:worker_threads"]; /* a name that bundlers for browsers do not follow */
const node = globalThis.postMessage ? null : await import(/* webpackIgnore: true */ /* @vite-ignore */ names[0]);

async function work({ module, memory, engine, thread, stack }) {
  const { exports } = await WebAssembly.instantiate(module, importsOf(() => memory, memory));
  exports.__stack_pointer.value = stack;
  (node?.parentPort ?? globalThis).postMessage("ready");
  exports.pmap_work(engine, thread); /* waits for runs, until the model is closed */
}

if (node) node.parentPort.once("message", work);
else globalThis.onmessage = ({ data }) => work(data);
