/* One network in onnxruntime-web, and ours dense and pruned, in turns: ms of every run, and how far ours are off. */
export async function measure({ ort, onnx, dense, pruned, rounds, warmup, variant }) {
  ort.env.wasm.numThreads = 1;
  const probe = dense.probeInputs(), [input] = Object.values(probe);
  const ours = { dense: await dense.load({ variant }), pruned: await pruned.load({ variant }) };
  const session = await ort.InferenceSession.create(onnx, { executionProviders: ["wasm"] });
  const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", input, ours.dense.inputs[0].shape) };
  const [expected] = Object.values(await session.run(feeds)).map((tensor) => tensor.data);
  const [found] = Object.values(ours.dense.run(input));
  const magnitude = Math.max(...expected.map(Math.abs));
  const errors = [Math.max(...expected.map((value, i) => Math.abs(value - found[i]))) / magnitude];
  for (const model of Object.values(ours)) errors.push((await model.check()).maxRelativeError);

  const ms = { onnxruntime: [], dense: [], pruned: [] };
  for (let round = -warmup; round < rounds; round++) {
    const begin = performance.now();
    await session.run(feeds);
    const taken = { onnxruntime: performance.now() - begin };
    for (const [name, model] of Object.entries(ours)) taken[name] = 1e3 * model.timeRuns(input, 1)[0];
    if (round >= 0) for (const name in ms) ms[name].push(taken[name]);
  }
  return { ms, errors, variant: ours.dense.variant, ort: ort.env.versions.web };
}
