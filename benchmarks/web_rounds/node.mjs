/* usage: node node.mjs PAGE ROUNDS WARMUP VARIANT: rounds.js in Node, one JSON object; PAGE as web.py makes it. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { measure } from "./rounds.js";

const [page, rounds, warmup, variant] = process.argv.slice(2);
const [dense, pruned] = await Promise.all(
  ["dense", "pruned"].map((name) => import(pathToFileURL(resolve(page, name, "model.js")))),
);
const ort = createRequire(pathToFileURL(`${resolve(page)}/`))("./onnxruntime-web/dist/ort.wasm.min.js");
const onnx = new Uint8Array(await readFile(resolve(page, "dense.onnx")));
const found = await measure({ ort, onnx, dense, pruned, rounds: Number(rounds), warmup: Number(warmup), variant });
console.log(JSON.stringify({ ...found, engine: process.version.slice(1) }));
process.exit(0);
