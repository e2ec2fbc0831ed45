/* usage: node run_web.mjs FOLDER VARIANT INPUTS OUTPUTS [THREADS]: runs an exported model twice on raw inputs; prints what it is. */
import { readFile, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const [folder, variant, inputs, outputs, threads = 1] = process.argv.slice(2);
const { load, info } = await import(pathToFileURL(`${folder}/model.js`));
const model = await load({ variant, threads: Number(threads) });
const data = (await readFile(inputs)).buffer;
let at = 0;
const given = {};
for (const { name, dtype, elements } of info.inputs) {
  given[name] = new (dtype === "float32" ? Float32Array : Int32Array)(data.slice(at, (at += 4 * elements)));
}
model.run(given); /* the second run meets what the first one left in the arena */
const found = model.run(given);
await writeFile(outputs, Buffer.concat(info.outputs.map(({ name }) => Buffer.from(found[name].buffer))));
const layers = model.timeLayers(given, 2);
console.log(JSON.stringify({ variant: model.variant, threads: model.threads, check: await model.check(), layers: layers.map(({ name }) => name) }));
model.close();
