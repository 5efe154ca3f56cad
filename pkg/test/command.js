// What the native command says of a file.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "./csv.js";

export const root = fileURLToPath(new URL("../../", import.meta.url));
export const demo = join(root, "models/demo/pbmc_simulated.h5ad");

export function annotateNatively(path, ...more) {
  return parse(writeNatively("out.csv", path, ...more).toString());
}

/** The bytes of a file that `scdiva annotate` writes. */
export function writeNatively(name, path, ...more) {
  const folder = mkdtempSync(join(tmpdir(), "scdiva-"));
  try {
    const out = join(folder, name);
    const options = ["annotate", path, "--device", "cpu", "-o", out, ...more];
    try {
      execFileSync("cargo", ["run", "--quiet", "--bin", "scdiva", "--", ...options], { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
    } catch (error) {
      // 1: no cell got a label, and the table says so.
      if (error.status !== 1) throw error;
    }
    return readFileSync(out);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export function inspectNatively(path) {
  return execFileSync("cargo", ["run", "--quiet", "--bin", "scdiva", "--", "inspect", path, "--json"], { cwd: root, encoding: "utf8" });
}
