/* usage: node node.mjs [options]: runner.js under Node. */
import { readFile, writeFile } from "node:fs/promises";
import { main } from "./runner.js";

const files = { read: readFile, write: writeFile, say: console.log, fail: console.error };
process.exitCode = await main(process.argv.slice(2), files);
