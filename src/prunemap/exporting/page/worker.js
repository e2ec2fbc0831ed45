/* Loads both networks, checks them, then classifies the latest picture and times both in turns until told to stop. */
import { load as loadDense } from "./dense/model.js";
import { load as loadPruned } from "./pruned/model.js";

const BATCH_MS = 15; /* of one network in one round: browsers round their clocks, some to a millisecond */
const KEPT_ROUNDS = 15;
const networks = {};
let input, isRunning = false, isLooping = false, isReady = false;

async function start() {
  const loaders = { dense: loadDense, pruned: loadPruned };
  const about = {};
  for (const [name, load] of Object.entries(loaders)) {
    const onProgress = (loaded, total) => postMessage({ kind: "progress", name, loaded, total });
    const model = await load({ onProgress });
    networks[name] = { model, runs: 1, times: [] };
    about[name] = { variant: model.variant, check: await model.check() };
  }
  postMessage({ kind: "ready", about });
  isReady = true;
  goOn();
}

/* Milliseconds of one run; a next round makes as many runs as fill BATCH_MS. */
function time(network) {
  const begin = performance.now();
  network.model.timeRuns(input, network.runs);
  const took = performance.now() - begin, each = took / network.runs;
  const isLong = took > BATCH_MS / 2;
  network.runs = isLong ? Math.max(1, Math.round(BATCH_MS / each)) : 2 * network.runs;
  if (isLong) network.times = [...network.times, each].slice(-KEPT_ROUNDS);
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

function round() {
  if (!isRunning) return (isLooping = false);
  const found = {};
  for (const [name, network] of Object.entries(networks)) {
    const [scores] = Object.values(network.model.run(input));
    time(network);
    found[name] = { scores, ms: median(network.times), rounds: network.times.length };
  }
  postMessage({ kind: "round", found });
  setTimeout(round);
}

onmessage = ({ data }) => {
  input = data.input ?? input;
  isRunning = data.isRunning ?? isRunning;
  goOn();
};

function goOn() {
  if (!isReady || !isRunning || !input || isLooping) return;
  isLooping = true;
  setTimeout(round);
}

start().catch((error) => postMessage({ kind: "failed", message: error.message }));
