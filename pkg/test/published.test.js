// What is published: how it resolves, how large it is, and that its README tells the truth.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { publint } from "publint";
import { root } from "./command.js";
import { table } from "./several.js";

const folder = fileURLToPath(new URL("..", import.meta.url));

/** What a visitor may be asked to download for the package, packed: module, model and all; said in the README too. */
const MOST_BYTES = 8_000_000;

test("resolves everywhere, with its types", () => {
  const attw = join(root, "node_modules/.bin/attw");
  execFileSync(attw, ["--pack", folder, "--profile", "esm-only", "--quiet"], { stdio: ["ignore", "inherit", "inherit"] });
});

test("publint finds nothing to say", async () => {
  const { messages } = await publint({ pkgDir: folder, pack: "npm", strict: true });
  assert.deepEqual(messages, []);
});

test("holds what it needs and is no larger than it says", async () => {
  const [{ size, files }] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: folder, encoding: "utf8" }));
  const names = files.map((file) => file.path);
  for (const name of ["dist/index.js", "dist/node.js", "dist/worker.js", "dist/wasm/scdiva_bg.wasm", "dist/models/mini/model.safetensors", "README.md"]) {
    assert.ok(names.includes(name), name);
  }
  assert.ok(names.every((name) => /^(dist\/|README\.md$|package\.json$)/.test(name)), names.join());
  assert.ok(size < MOST_BYTES, `${size} bytes`);
  const said = Number(/([\d.]+) MB packed/.exec(await readFile(join(folder, "README.md"), "utf8"))?.[1]);
  assert.ok(Math.abs(said - size / 1e6) < 0.3, `the README says ${said} MB; it is ${size} bytes`);
});

test("the README's first examples run", async (t) => {
  const readme = await readFile(join(folder, "README.md"), "utf8");
  const [annotate, analyse] = [...readme.matchAll(/```js\n(.*?)```/gs)].map((match) => match[1]);
  const place = await mkdtemp(join(folder, "test/readme-"));
  t.after(() => rm(place, { recursive: true }));
  const [input, script] = [join(place, "cells.csv"), join(place, "example.mjs")];
  await writeFile(input, table(40));
  const code = `${annotate}${analyse}`.replaceAll("(file", `(${JSON.stringify(input)}`);
  await writeFile(script, code);
  const printed = execFileSync(process.execPath, [script], { encoding: "utf8" });
  assert.match(printed, /^c0 \S/m);
  assert.match(printed, /^markers of .* 40$/m);
});

test("the example for Node annotates a file", async (t) => {
  const place = await mkdtemp(join(tmpdir(), "scdiva-"));
  t.after(() => rm(place, { recursive: true }));
  const [input, out] = [join(place, "cells.csv"), join(place, "out.csv")];
  await writeFile(input, table(40));
  execFileSync(process.execPath, [join(root, "examples/node/annotate.mjs"), input, out], { stdio: ["ignore", "inherit", "pipe"] });
  const lines = (await readFile(out, "utf8")).trimEnd().split("\n");
  assert.equal(lines.length, 41);
  assert.match(lines[0], /^cell,label,probability,/);
});
