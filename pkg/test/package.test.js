import assert from "node:assert/strict";
import { openAsBlob } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import workers from "node:worker_threads";
import { ScDiVa } from "scdiva";
import { codeIs } from "./code.js";
import { annotateNatively, demo, inspectNatively, root } from "./command.js";
import { assertSame, parse } from "./csv.js";
import { golden } from "./golden.js";
import { table, triplet, zarr } from "./several.js";

let scdiva;
before(async () => (scdiva = await ScDiVa.load()));
after(() => scdiva.dispose());

/** For `JSON.parse`: `n_cells` becomes `nCells`. */
function camelCase(_, value) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase()), item]));
}

test("says what it runs on", async () => {
  assert.deepEqual(await ScDiVa.supported(), { wasm: true, webgpu: false, software: false });
  const { device, model, version } = scdiva.info;
  assert.equal(device.kind, "cpu");
  assert.match(device.reason, /WebGPU|GPU/);
  assert.match(version, /^\d+\.\d+\.\d+/);
  assert.ok(model.nParameters > 0 && model.config.hiddenSize > 0);
});

test("annotates the demo as the command does, from a path, a blob and bytes", async () => {
  const wanted = annotateNatively(demo);
  const progress = [];
  const annotation = await scdiva.annotate(demo, { onProgress: (step) => progress.push(step) });
  assertSame(parse(await annotation.csv.text()), wanted);
  assert.deepEqual(annotation.cells, wanted.map((row) => row.cell));
  assert.deepEqual(Array.from(annotation.label, (label) => annotation.labels[label]), parse(await annotation.csv.text()).map((row) => row.label));
  assert.equal(annotation.report.nCells, wanted.length);
  assert.equal(annotation.report.values.kind, "counts");
  assert.deepEqual(progress.at(-1).nDone, wanted.length);
  assert.ok(progress.length > 2 && progress.at(-1).cellsPerSecond > 0);

  const found = await scdiva.inspect(demo);
  assert.deepEqual(found, JSON.parse(inspectNatively(demo), camelCase));
  for (const part of ["format", "matrix", "notes", "nCells", "nGenes", "droplets", "genes", "values"]) assert.deepEqual(found[part], annotation.report[part]);
  assert.deepEqual({ ...(await scdiva.inspect(await openAsBlob(demo), { name: "blob" })), file: demo }, found);
  assert.deepEqual({ ...(await scdiva.inspect(await readFile(demo))), file: demo }, found);
});

const small = [["a", "b"], ["CD3D", "MS4A1", "NKG7"], [[1, 0, 2], [0, 3, 1]]];
for (const [kind, files] of Object.entries({ "a 10x triplet": triplet(...small), "a Zarr store": zarr(...small) })) {
  test(`${kind} is one matrix: as bytes, as blobs, as paths, as a folder`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "scdiva-"));
    t.after(() => rm(folder, { recursive: true }));
    const each = (make) => Object.fromEntries(Object.entries(files).map(([name, content]) => [name, make(name, content)]));
    for (const [name, content] of Object.entries(files)) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), content);
    }
    const found = await scdiva.inspect(folder);
    assert.deepEqual(found, JSON.parse(inspectNatively(folder), camelCase));
    assert.deepEqual([found.file, found.nCells, found.nGenes, found.problem], [folder, 2, 3, null]);
    const inputs = [each((_, content) => Buffer.from(content)), each((_, content) => new Blob([content])), each((name) => join(folder, name))];
    for (const input of inputs) assert.deepEqual(await scdiva.inspect({ name: folder, files: input }), found);
    assertSame(parse(await (await scdiva.annotate({ name: "small", files: inputs[0] })).csv.text()), annotateNatively(folder));
  });
}

test("samples are one matrix: of several files, as bytes, as a path", async () => {
  const first = { name: "run7", files: Object.fromEntries(Object.entries(triplet(...small)).map(([name, content]) => [name, Buffer.from(content)])) };
  const study = { name: "study", samples: { first, second: table(3), demo } };
  const found = await scdiva.inspect(study);
  const nDemo = (await scdiva.inspect(demo)).nCells;
  assert.deepEqual([found.file, found.nCells, found.problem], ["study", 2 + 3 + nDemo, null]);
  assert.ok(found.cellColumns.some(({ name, nCategories }) => name === "sample" && nCategories === 3));
  assert.ok(found.notes.includes(`cells of each sample: first 2, second 3, demo ${nDemo}`), found.notes.join("; "));
  const together = await scdiva.annotate(study, { tissue: "blood" });
  assert.deepEqual(together.cells.slice(0, 3), ["a-first", "b-first", "c0-second"]);
  const alone = await scdiva.annotate(table(3), { tissue: "blood" });
  assert.deepEqual([...together.label.slice(2, 5)], [...alone.label]);
  assert.deepEqual([...together.probability.slice(2, 5)], [...alone.probability]);
  await assert.rejects(scdiva.inspect({ name: "study", samples: {} }), codeIs("argument", /study: no samples/));
  await assert.rejects(scdiva.inspect({ name: "study", samples: { first, second: { name: "x", files: {} } } }), codeIs("argument", /x: no files/));
});

test("several files that are not one matrix are an error that says what is there", async () => {
  const { "barcodes.tsv": _, ...incomplete } = triplet(...small);
  const bytes = (files) => Object.fromEntries(Object.entries(files).map(([name, content]) => [name, Buffer.from(content)]));
  await assert.rejects(scdiva.inspect({ name: "run7", files: bytes(incomplete) }), codeIs("file", /matrix\.mtx: .*no barcodes\.tsv/));
  await assert.rejects(scdiva.inspect({ name: "run7", files: { "a.csv": demo, "b.csv": demo } }), codeIs("file", /run7: .*2 matrices \(a\.csv, b\.csv\)/));
  await assert.rejects(scdiva.inspect({ name: "run7", files: {} }), codeIs("argument", /run7: no files/));
  await assert.rejects(scdiva.inspect({ name: "run7", files: { "matrix.mtx": "no/such/file" } }), codeIs("io", /no\/such\/file/));
});

test("what is found out can be said instead, and what a file lacks is part of the answer", async () => {
  const table = "cell,CD3D,MS4A1,NKG7\na,1,0,2\nb,0,3,1\n";
  const bytes = new TextEncoder().encode(table);
  const found = await scdiva.inspect(bytes, { minCounts: 4, species: "human" });
  assert.deepEqual([found.nCells, found.droplets.nDropped, found.problem], [1, 1, null]);
  const negative = await scdiva.inspect(new TextEncoder().encode(table.replace(",3,", ",-3,")));
  assert.match(negative.problem, /-3 is negative/);
  assert.deepEqual([negative.values, negative.genes.nMatched], [null, 3]);
  await assert.rejects(scdiva.inspect(demo, { layer: "none" }), codeIs("file", /none/));
  await assert.rejects(scdiva.inspect(demo, { species: "axolotl" }), codeIs("argument", /axolotl/));
  await assert.rejects(scdiva.inspect(demo, { minCounts: -1 }), codeIs("argument", /minCounts: -1/));
});

test("embeds", async () => {
  const { values, nCols, cells, csv } = await scdiva.embed(demo);
  assert.equal(nCols, scdiva.info.model.config.hiddenSize);
  assert.equal(values.length, cells.length * nCols);
  assert.ok(values.every(Number.isFinite));
  assert.ok((await csv.text()).startsWith("cell,e0,e1,"));
});

test("a bad file is an error that names file and place, and the next file works", async () => {
  await assert.rejects(scdiva.annotate(new Uint8Array([1, 2, 3, 4]), { name: "odd.h5ad" }), codeIs("file", /odd\.h5ad: byte 0: /));
  await assert.rejects(scdiva.annotate("no/such/file.h5ad"), codeIs("io", /no\/such\/file/));
  assert.equal((await scdiva.inspect(demo)).values.kind, "counts");
});

test("a broken model is an error", async () => {
  const model = { name: "broken", files: { "config.json": Buffer.from("{}") } };
  await assert.rejects(ScDiVa.load({ model }), codeIs("file", /broken/));
  await assert.rejects(ScDiVa.load({ device: "gpu" }), codeIs("no-device", /./));
  await assert.rejects(ScDiVa.load({ device: "cpu", precision: "f16" }), codeIs("argument", /precision: f16, but the CPU computes in f32/));
  await assert.rejects(ScDiVa.load({ precision: "f8" }), codeIs("argument", /precision: "f8", wanted auto, f32 or f16/));
});

test("a run can be cancelled, before and under way, and the next one works", async () => {
  await assert.rejects(scdiva.annotate(demo, { signal: AbortSignal.abort() }), codeIs("cancelled", /./));
  const controller = new AbortController();
  const run = scdiva.annotate(demo, { signal: controller.signal, onProgress: () => controller.abort() });
  await assert.rejects(run, codeIs("cancelled", /./));
  assert.equal((await scdiva.inspect(demo)).values.kind, "counts");
});

test("a signal that was aborted for any reason is cancelled, waiting or under way", async () => {
  for (const reason of [new Error("left the page"), "user", new DOMException("late", "TimeoutError")]) {
    await assert.rejects(scdiva.annotate(demo, { signal: AbortSignal.abort(reason) }), codeIs("cancelled", /./));
    await assert.rejects(ScDiVa.load({ signal: AbortSignal.abort(reason) }), codeIs("cancelled", /./));
    const controller = new AbortController();
    await assert.rejects(scdiva.annotate(demo, { signal: controller.signal, onProgress: () => controller.abort(reason) }), codeIs("cancelled", /./));
  }
  const analysis = await scdiva.analyse(table(3), { umap: false, vote: false });
  await assert.rejects(analysis.gene("CD3D", AbortSignal.abort("user")), codeIs("cancelled", /./));
  analysis.dispose();
});

test("what the caller's own function throws rejects the call, and the next one works", async () => {
  const error = new Error("boom");
  const onProgress = () => {
    throw error;
  };
  const isOurs = (what) => (rejected) => codeIs("argument", new RegExp(`^${what} threw: boom$`))(rejected) && rejected.cause === error;
  await assert.rejects(scdiva.annotate(demo, { onProgress }), isOurs("onProgress"));
  await assert.rejects(scdiva.analyse(table(3), { onBatch: onProgress }), isOurs("onBatch"));
  await assert.rejects(ScDiVa.load({ onProgress }), isOurs("onProgress"));
  assert.equal((await scdiva.inspect(demo)).values.kind, "counts");
});

test("what is missing is said", async () => {
  await assert.rejects(scdiva.fitHead(demo), codeIs("argument", /the options are undefined; wanted an object/));
  await assert.rejects(scdiva.fitHead(demo, {}), codeIs("argument", /labelColumn: undefined; wanted/));
  for (const call of ["inspect", "annotate", "analyse", "embed"]) {
    await assert.rejects(scdiva[call](demo, null), codeIs("argument", /the options are null; wanted an object/));
    await assert.rejects(scdiva[call](undefined), codeIs("argument", /the matrix is undefined; wanted a File/));
  }
  await assert.rejects(ScDiVa.load(null), codeIs("argument", /the options are null/));
});

test("a model's files come from addresses, too", async (t) => {
  const server = createServer(async ({ url }, response) => {
    const file = await readFile(join(root, "models/mini", url)).catch(() => undefined);
    response.writeHead(file ? 200 : 404).end(file);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const at = (name) => new URL(`http://127.0.0.1:${server.address().port}/${name}`);
  const names = ["config.json", "model.safetensors", "vocab.tsv", "heads/cell_types.safetensors"];
  const steps = [];
  const files = Object.fromEntries(names.map((name) => [name, at(name)]));
  const other = await ScDiVa.load({ model: { name: "fetched", files }, onProgress: (step) => steps.push(step) });
  assert.equal(other.info.model.nParameters, scdiva.info.model.nParameters);
  assert.ok(steps.at(-1).receivedBytes > 5e6);
  other.dispose();
  await assert.rejects(ScDiVa.load({ model: { name: "x", files: { ...files, "vocab.tsv": at("none.tsv") } } }), codeIs("network", /none\.tsv: 404/));
  await assert.rejects(ScDiVa.load({ model: { name: "x", files: { ...files, "vocab.tsv": new URL("ftp://127.0.0.1/x") } } }), codeIs("argument", /vocab\.tsv: ftp:.*wanted file:, http: or https:/));
});

test("runs one task after another", async () => {
  const [first, second] = await Promise.all([scdiva.inspect(demo), scdiva.inspect(demo)]);
  assert.deepEqual(first, second);
});

test("disposed of while its worker is replaced, nothing is left of it", async (t) => {
  const { Worker } = workers;
  let nWorkers = 0;
  let nStarted = 0;
  workers.Worker = class extends Worker {
    constructor(...rest) {
      super(...rest);
      nWorkers++;
      nStarted++;
      this.once("exit", () => nWorkers--);
    }
  };
  syncBuiltinESMExports();
  t.after(() => {
    workers.Worker = Worker;
    syncBuiltinESMExports();
  });
  const other = await ScDiVa.load();
  // A defect: the worker is ended, and the next task starts another.
  await assert.rejects(other.forward({ geneIds: null, values: null }), codeIs("internal", /./));
  const next = other.inspect(demo);
  while (nStarted < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  other.dispose();
  await assert.rejects(next, codeIs("disposed", /./));
  for (let i = 0; nWorkers > 0 && i < 100; i++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(nWorkers, 0);
});

test("after dispose there is nothing more to do", async () => {
  const other = await ScDiVa.load();
  other.dispose();
  await assert.rejects(other.inspect(demo), codeIs("disposed", /./));
});

for (const name of ["one_gene_masked", "all_padding", "short_odd", "half_masked"]) {
  test(`forward agrees with numpy float64: ${name}`, async () => {
    const { files, cell, errors } = golden(name);
    const random = await ScDiVa.load({ model: { name, files }, device: "cpu" });
    for (const [part, error] of Object.entries(errors(await random.forward(cell)))) assert.ok(error < 2e-4, `${part}: ${error}`);
    random.dispose();
  });
}

test("a reference teaches its types, here and in another session", async (t) => {
  const steps = [];
  const fitted = await scdiva.fitHead(demo, { labelColumn: "simulated_from", name: "mine", onProgress: (step) => steps.push(step) });
  assert.deepEqual([fitted.name, fitted.nCells, fitted.labels.length, fitted.types.length], ["mine", 240, 8, 8]);
  assert.ok(fitted.accuracy > 0.9 && fitted.macroF1 > 0.9 && fitted.minProbability > 0, JSON.stringify(fitted));
  assert.equal(steps.at(-1).nDone, 240);
  assert.deepEqual(scdiva.info.model.ownHeads, ["mine"]);
  const first = await scdiva.annotate(demo, { head: "mine" });
  assert.deepEqual(first.labels, fitted.labels);
  assert.ok(Math.abs(first.minProbability - fitted.minProbability) < 1e-6);
  assert.deepEqual([first.tissue, first.tissueDecision], ["any", ""]);

  // A worker that had to be ended, here without patience, is replaced by one that knows the head too.
  const stop = new AbortController();
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const onProgress = () => {
    stop.abort();
    t.mock.timers.tick(3000);
  };
  await assert.rejects(scdiva.annotate(demo, { onProgress, signal: stop.signal }), codeIs("cancelled", /cancelled/));
  t.mock.timers.reset();
  const again = await scdiva.annotate(demo, { head: "mine" });
  assert.equal(await again.csv.text(), await first.csv.text());
  const other = await ScDiVa.load();
  t.after(() => other.dispose());
  await assert.rejects(other.annotate(demo, { head: "mine" }), codeIs("argument", /head: mine, wanted one of cell_types/));
  await other.addHead("yours", fitted.file);
  const second = await other.annotate(demo, { head: "yours" });
  assert.equal(await second.csv.text(), await first.csv.text());

  await assert.rejects(scdiva.fitHead(demo, { labelColumn: "cell_type" }), codeIs("argument", /no obs column cell_type; it has simulated_from/));
  await assert.rejects(other.addHead("broken", new Uint8Array(9)), codeIs("file", /broken: header/));
  await assert.rejects(other.addHead("cell_types", fitted.file), codeIs("argument", /a head of the model/));
  assert.deepEqual(other.info.model.ownHeads, ["yours"]);
});

test("the tissue and the threshold of a run are chosen and told", async () => {
  const { minProbability, tissue, tissueDecision } = await scdiva.annotate(demo, { minProbability: 0.5, tissue: "any" });
  assert.deepEqual([minProbability, tissue], [0.5, "any"]);
  assert.equal(typeof tissueDecision, "string");
  await assert.rejects(scdiva.annotate(demo, { tissue: "moon" }), codeIs("argument", /tissue: "moon"/));
});
