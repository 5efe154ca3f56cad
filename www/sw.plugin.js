// Builds the service worker: with all files that the page consists of, and a version that is theirs.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { transformWithOxc } from "vite";

const SOURCE = new URL("src/sw.ts", import.meta.url);

/** @returns {import("vite").Plugin} */
export function serviceWorker() {
  return {
    name: "scdiva-service-worker",
    apply: "build",
    enforce: "post",
    async generateBundle(_, bundle) {
      const hash = createHash("sha256");
      for (const [name, { code, source }] of Object.entries(bundle).sort()) hash.update(name).update(code ?? source ?? "");
      const files = ["./", ...Object.keys(bundle).filter((name) => name !== "index.html" && !name.endsWith(".map")), "icon.svg"];
      const { code } = await transformWithOxc(readFileSync(SOURCE, "utf8"), "sw.ts");
      const list = `const VERSION = ${JSON.stringify(hash.digest("hex").slice(0, 16))};\nconst FILES = ${JSON.stringify(files)};\n`;
      this.emitFile({ type: "asset", fileName: "sw.js", source: list + code });
    },
  };
}
