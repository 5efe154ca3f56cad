// A matrix that stays open: the command's answers, questions about it, files to take home.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ScDiVa } from "scdiva";
import { codeIs } from "./code.js";
import { annotateNatively, demo, root, writeNatively } from "./command.js";
import { table } from "./several.js";

let scdiva;
let analysis;
let folder;
const stages = [];
const batches = [];
before(async () => {
  scdiva = await ScDiVa.load();
  folder = await mkdtemp(join(tmpdir(), "scdiva-"));
  analysis = await scdiva.analyse(demo, { onProgress: (step) => stages.push(step), onBatch: (batch) => batches.push(batch) });
});
after(async () => {
  scdiva.dispose();
  await rm(folder, { recursive: true });
});

const nCells = 240;
const numbers = (array) => Array.from(array);

test("every cell has its answers, and each stage was told", () => {
  assert.deepEqual([...new Set(stages.map((step) => step.stage))], ["tissue", "read", "annotate", "neighbours", "clusters", "umap"]);
  assert.ok(stages.every(({ nDone, nCells }) => nDone <= nCells));
  assert.deepEqual(numbers(batches.flatMap((batch) => numbers(batch.label))), numbers(analysis.label));
  assert.deepEqual(batches.flatMap((batch) => batch.cells), analysis.cells);
  assert.equal(batches[0].from, 0);
  for (const part of ["label", "probability", "secondLabel", "secondProbability", "entropy", "cluster", "votedLabel", "voteShare"]) {
    assert.equal(analysis[part].length, nCells, part);
  }
  assert.ok(numbers(analysis.entropy).every((x) => x >= 0 && x <= Math.log(analysis.labels.length) + 1e-6));
  assert.ok(numbers(analysis.cluster).every((code) => code >= 0 && code < analysis.clusterNames.length));
  assert.ok(numbers(analysis.voteShare).every((share) => share > 0 && share <= 1));
  assert.equal(analysis.umap.length, 2 * nCells);
  assert.ok(numbers(analysis.umap).every(Number.isFinite));
  assert.equal(analysis.name, demo);
  assert.equal(analysis.report.nCells, nCells);
  assert.deepEqual(analysis.inspection.genes, analysis.report.genes);
  assert.match(analysis.model.hash, /^[0-9a-f]{64}$/);
  assert.ok(scdiva.info.model.heads.includes(analysis.model.head));
});

test("a cell's sums are those of its counts", async () => {
  const { nGenes, total, mitochondrial } = analysis.qc;
  assert.deepEqual([nGenes.length, total.length, mitochondrial.length], [nCells, nCells, nCells]);
  assert.ok(numbers(nGenes).every((n, i) => n > 0 && n <= total[i]));
  const matrix = { name: "mt", files: { "mt.csv": Buffer.from("cell,MT-CO1,CD3D,MS4A1\na,1,2,1\nb,0,0,5\n") } };
  const small = await scdiva.analyse(matrix, { umap: false });
  assert.deepEqual([numbers(small.qc.nGenes), numbers(small.qc.total), numbers(small.qc.mitochondrial)], [[3, 1], [4, 5], [0.25, 0]]);
  assert.equal(small.umap, null);
  small.dispose();
});

test("the table is the command's, with votes and places, at any threshold", async () => {
  for (const minProbability of [undefined, 0.8]) {
    const more = minProbability === undefined ? [] : ["--min-probability", "0.8"];
    const wanted = writeNatively("out.csv", demo, "--vote", "--umap", "--all-columns", ...more).toString().trimEnd().split("\n");
    const got = (await (await analysis.csv({ minProbability })).text()).trimEnd().split("\n");
    assert.equal(got.length, wanted.length);
    assert.equal(got[0], wanted[0]);
    const columns = got[0].split(",");
    for (const [i, line] of got.entries()) {
      const [ours, theirs] = [line.split(","), wanted[i].split(",")];
      for (const [j, column] of columns.entries()) {
        // Places are the same only if every embedding is, to the last bit; devices differ in that.
        if (i === 0 || column.startsWith("umap")) continue;
        const far = Math.abs(Number(ours[j]) - Number(theirs[j]));
        assert.ok(ours[j] === theirs[j] || far <= 1e-3, `${column}, line ${i}: ${ours[j]} and ${theirs[j]}`);
      }
    }
  }
});

test("a gene's values are ln(1 + counts per 10,000)", async () => {
  const cd74 = await analysis.gene("CD74");
  // scanpy's, of the first five cells.
  for (const [i, wanted] of [5.39816284, 3.65126729, 0, 3.9977591, 0].entries()) assert.ok(Math.abs(cd74[i] - wanted) < 1e-5, `${cd74[i]}`);
  assert.deepEqual(await analysis.gene("cd74"), cd74);
  assert.ok(analysis.genes.includes("CD74"));
  await assert.rejects(analysis.gene("CD740"), codeIs("argument", /no gene CD740/));
});

test("columns and embeddings of the file", async () => {
  const column = await analysis.column("simulated_from");
  assert.equal(column.kind, "categories");
  assert.equal(column.codes.length, nCells);
  assert.ok(column.categories.includes("CD14 Mono"));
  await assert.rejects(analysis.column("nothing"), codeIs("argument", /no obs column nothing; it has simulated_from/));
  await assert.rejects(analysis.embedding("X_umap"), codeIs("argument", /no embedding X_umap/));
});

test("markers are scanpy's", async () => {
  const { codes, categories } = await analysis.column("simulated_from");
  const groups = await analysis.groupMarkers(codes, categories.length, 5);
  const nk = groups[categories.indexOf("NK")];
  assert.deepEqual(nk.map((marker) => marker.gene), ["GNLY", "NKG7", "GZMB", "FGFBP2", "CTSW"]);
  assert.ok(Math.abs(nk[0].score - 36.225765) < 1e-3 && Math.abs(nk[0].log2FoldChange - 7.931419) < 1e-4);
  assert.ok(nk[0].shareInside === 1 && Math.abs(nk[0].shareOutside - 0.138095) < 1e-6);
  const cells = Uint32Array.from([...codes.keys()].filter((i) => codes[i] === categories.indexOf("NK")));
  assert.deepEqual(await analysis.markers(cells, 5), nk);
  assert.equal((await analysis.markers(cells)).length, 25);
  await assert.rejects(analysis.markers(Uint32Array.of(nCells)), codeIs("argument", /cell 240, but there are 240/));
  await assert.rejects(analysis.groupMarkers(codes, 2), codeIs("argument", /but there are 2/));
});

test("a dot plot", async () => {
  const { codes, categories } = await analysis.column("simulated_from");
  const { mean, share, missing } = await analysis.dotPlot(["GNLY", "nothing", "CD74"], codes, categories.length);
  assert.deepEqual([mean.length, share.length, missing], [3 * categories.length, 3 * categories.length, ["nothing"]]);
  const [nk, b] = [categories.indexOf("NK"), categories.indexOf("B")];
  assert.ok(share[nk] === 1 && share[b] < 0.5 && mean[nk] > mean[b]);
  assert.ok(mean[2 * categories.length + b] > mean[2 * categories.length + nk]);
  assert.ok(Number.isNaN(mean[categories.length]));
});

const anndata = (code, ...paths) =>
  execFileSync(join(root, "target/python/bin/python"), ["-c", `import sys, anndata, numpy\n${code}`, ...paths], { encoding: "utf8" });

test("the .h5ad is the user's with columns added, or a new one of any other input", async () => {
  const path = join(folder, "added.h5ad");
  const file = await analysis.h5ad();
  await writeFile(path, Buffer.from(await file.arrayBuffer()));
  const before = await readFile(demo);
  assert.ok(file.size > before.length);
  const check = `
a, b = anndata.read_h5ad(sys.argv[1]), anndata.read_h5ad(sys.argv[2])
assert (a.X != b.X).nnz == 0 and (a.obs["simulated_from"] == b.obs["simulated_from"]).all()
assert b.obsm["X_scdiva"].shape == (240, ${scdiva.info.model.config.hiddenSize}) and b.obsm["X_scdiva_umap"].shape == (240, 2)
print("\\n".join(b.obs["scdiva_cell_type"]), b.uns["scdiva"]["parameters"]["votes_of"])`;
  const [...lines] = anndata(check, demo, path).trimEnd().split("\n");
  assert.match(lines.at(-1), / clusters$/);
  const labels = lines.map((line) => line.replace(/ clusters$/, ""));
  assert.deepEqual(labels, numbers(analysis.label).map((label) => analysis.labels[label]));

  // From memory too; the results of the run before are replaced.
  const again = await scdiva.analyse(file, { name: "again.h5ad", vote: false, umap: false });
  await writeFile(path, Buffer.from(await (await again.h5ad()).arrayBuffer()));
  assert.equal(anndata('a = anndata.read_h5ad(sys.argv[1]); print(list(a.obsm), "scdiva_voted" in a.obs)', path).trim(), "['X_scdiva'] False");
  again.dispose();

  const made = await scdiva.analyse(Buffer.from("cell,CD3D,MS4A1,NKG7\na,1,0,2\nb,0,3,1\nc,1,0,0\n"), { name: "table.csv" });
  const steps = [];
  await writeFile(path, Buffer.from(await (await made.h5ad({ onProgress: ({ nDone, nCells }) => steps.push([nDone, nCells]) })).arrayBuffer()));
  assert.deepEqual(steps.at(-1), [3, 3]);
  assert.equal(anndata("a = anndata.read_h5ad(sys.argv[1]); print(a.X.toarray().tolist(), list(a.obs_names))", path).trim(), "[[1.0, 0.0, 2.0], [0.0, 3.0, 1.0], [1.0, 0.0, 0.0]] ['a', 'b', 'c']");
  made.dispose();
});

test("a column's groups vote instead", async () => {
  const own = await scdiva.analyse(demo, { groups: "simulated_from", umap: false });
  const { codes, categories } = await own.column("simulated_from");
  assert.deepEqual([own.cluster, own.clusterNames], [codes, categories]);
  for (const group of categories.keys()) {
    const labels = new Set(numbers(own.votedLabel).filter((_, cell) => codes[cell] === group));
    assert.equal(labels.size, 1);
  }
  own.dispose();
  await assert.rejects(scdiva.analyse(demo, { groups: "nothing" }), codeIs("argument", /no obs column nothing/));
});

test("any stage can be cancelled, and so can a question; what is open stays open", async () => {
  for (const stage of ["read", "annotate", "neighbours", "clusters", "umap"]) {
    const controller = new AbortController();
    const onProgress = (step) => step.stage === stage && controller.abort();
    await assert.rejects(scdiva.analyse(table(40), { onProgress, signal: controller.signal }), codeIs("cancelled", /./), stage);
  }
  await assert.rejects(analysis.gene("CD74", AbortSignal.abort()), codeIs("cancelled", /./));
  const controller = new AbortController();
  const asked = analysis.gene("CD74", controller.signal);
  controller.abort();
  await assert.rejects(asked, codeIs("cancelled", /./));
  assert.equal((await analysis.gene("CD74")).length, nCells);
});

test("what was cancelled goes on where it ended", async () => {
  const matrix = table(700);
  const controller = new AbortController();
  const stop = ({ stage, nDone }) => stage === "annotate" && nDone > 256 && controller.abort();
  const kept = await scdiva.analyse(matrix, { onProgress: stop, signal: controller.signal }).then(
    () => assert.fail("it was not cancelled"),
    (error) => error.nKept,
  );
  assert.ok(kept >= 256 && kept < 700 && kept % 256 === 0, `${kept} cells are kept`);
  const done = [];
  const named = [];
  const again = await scdiva.analyse(matrix, {
    onProgress: ({ stage, nDone }) => stage === "annotate" && done.push(nDone),
    onBatch: ({ from, label }) => named.push([from, label.length]),
  });
  assert.equal(done[0], kept);
  assert.deepEqual([again.cells.length, named[0][0], named.reduce((n, [, more]) => n + more, 0)], [700, 0, 700]);
  again.dispose();
});

test("cells come in batches, in order; leaving the loop ends the task", async () => {
  const wanted = annotateNatively(demo);
  const got = [];
  for await (const { from, cells, labels, label, probability } of scdiva.annotateBatches(demo)) {
    assert.equal(from, got.length);
    cells.forEach((cell, i) => got.push([cell, labels[label[i]], probability[i]]));
  }
  assert.deepEqual(got.map(([cell, label]) => [cell, label]), wanted.map(({ cell, label }) => [cell, label]));
  for await (const { from } of scdiva.annotateBatches(table(3000))) {
    assert.equal(from, 0);
    break;
  }
  assert.equal((await analysis.gene("CD74")).length, nCells);
  const failing = scdiva.annotateBatches("no/such/file");
  await assert.rejects(failing.next(), codeIs("io", /no\/such\/file/));
});

test("what was disposed of answers no more", async () => {
  const other = await ScDiVa.load();
  const first = await other.analyse(table(3));
  first.dispose();
  await assert.rejects(first.gene("CD3D"), codeIs("disposed", /closed/));
  const second = await other.analyse(table(3));
  other.dispose();
  await assert.rejects(second.gene("CD3D"), codeIs("disposed", /./));
  await assert.rejects(second.csv(), codeIs("disposed", /./));
});
