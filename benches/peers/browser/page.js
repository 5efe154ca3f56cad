// In the page: loads one peer, runs one case as `case.py` does, and gives what it measured.

const FOLDERS = { files: "/target/peers", ort: "/benches/peers/browser/node_modules/onnxruntime-web/dist" };

async function bytes(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.arrayBuffer();
}

async function readCase(folder, name) {
  const listed = JSON.parse(new TextDecoder().decode(await bytes(`${folder}/cases.json`)));
  const lengths = listed.cases.find((listed) => listed.name === name).n_genes;
  const read = (kind) => bytes(`${folder}/cases/${name}.${kind}`);
  return {
    lengths,
    width: Math.max(...lengths),
    geneIds: new Int32Array(await read("gene_ids.i32")),
    values: new Float32Array(await read("values.f32")),
    embedding: new Float32Array(await read("embedding.f32")),
    counts: new File([await read("csv")], `${name}.csv`),
  };
}

/** The package, from a table of counts: reading it and making tokens of it are part of every run. */
async function ours(folder, { device }, test) {
  const { ScDiVa } = await import("/pkg/dist/index.js");
  const file = (name) => [name, new URL(`${folder}/${name}`, location.href)];
  const model = { name: "peers", files: Object.fromEntries(["config.json", "model.safetensors", "vocab.tsv"].map(file)) };
  const scdiva = await ScDiVa.load({ model, device: device === "webgpu" ? "gpu" : "cpu" });
  const { version, device: used } = scdiva.info;
  return { version, device: used.name, run: async () => (await scdiva.embed(test.counts)).values };
}

async function onnxruntimeWeb(folder, { device, threads }, test) {
  const ort = await import(`${FOLDERS.ort}/ort.${device}.bundle.min.mjs`);
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = `${FOLDERS.ort}/`;
  const masked = test.lengths.some((length) => length < test.width);
  const model = await bytes(`${folder}/model${masked ? "_masked" : ""}.onnx`);
  const session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: [device] });
  const shape = [test.lengths.length, test.width];
  const feeds = { gene_ids: new ort.Tensor("int32", test.geneIds, shape), values: new ort.Tensor("float32", test.values, shape) };
  if (masked) {
    const attended = Float32Array.from(test.values, (_, i) => Number(i % test.width < test.lengths[Math.floor(i / test.width)]));
    feeds.attended = new ort.Tensor("float32", attended, shape);
  }
  return { version: ort.env.versions.web ?? ort.env.versions.common, device, run: async () => (await session.run(feeds)).embedding.data };
}

/** Chromium settles where it keeps blobs in its first seconds; of a checkpoint that was fetched before, parts could not be read again. */
const SETTLED_MS = 8000;

globalThis.measure = async ({ model, name, seconds, peer, ...options }) => {
  await new Promise((resolve) => setTimeout(resolve, SETTLED_MS));
  const folder = `${FOLDERS.files}/${model}`;
  const test = await readCase(folder, name);
  const timed = async (work) => {
    const start = performance.now();
    const result = await work();
    return [(performance.now() - start) / 1000, result];
  };
  const [load_s, { version, device, run }] = await timed(() => (peer === "ours" ? ours : onnxruntimeWeb)(folder, options, test));
  const [first_s, first] = await timed(run);
  let answer = first;
  const times = [];
  let total = 0;
  // At least 3, but only one of those that take very long.
  while (times.length < 50 && (total < seconds || (times.length < 3 && total < 5 * seconds))) {
    const [time, again] = await timed(run);
    answer = again;
    times.push(time);
    total += time;
  }
  times.sort((a, b) => a - b);
  if (answer.length !== test.embedding.length) throw new Error(`${answer.length} numbers came out, wanted ${test.embedding.length}`);
  // A NaN is the worst of all.
  const worst = answer.reduce((most, got, i) => (Math.abs(got - test.embedding[i]) <= most ? most : Math.abs(got - test.embedding[i])), 0);
  return {
    version,
    device,
    case: name,
    n_cells: test.lengths.length,
    n_genes: test.lengths.reduce((a, b) => a + b),
    load_s,
    first_s,
    best_s: times[0],
    median_s: (times[Math.floor((times.length - 1) / 2)] + times[Math.floor(times.length / 2)]) / 2,
    n_runs: times.length,
    max_abs_error: worst,
  };
};
