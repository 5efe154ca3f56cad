/** scDiVa in Node, on the CPU. @packageDocumentation */

import { openAsBlob } from "node:fs";
import { opendir, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { Client, load } from "./client.js";
import { ScDiVaError } from "./error.js";
import { fetched } from "./fetched.js";
import type { Host } from "./protocol.js";
import { hasWasmSimd } from "./simd.js";
import type { LoadOptions, Support } from "./types.js";

export { ScDiVaError, type ErrorCode } from "./error.js";
export type * from "./types.js";

export class ScDiVa extends Client {
  /** Brings a model to the CPU, in a worker thread of its own. */
  static async load(options: LoadOptions = {}): Promise<ScDiVa> {
    return new ScDiVa(host, ...(await load(host, options)));
  }

  /** What this Node can do. */
  static async supported(): Promise<Support> {
    return { wasm: hasWasmSimd(), webgpu: false, software: false };
  }
}

/** Files of a folder, and folders in folders of it. */
const MAX_FILES = 1 << 20;
const MAX_DEPTH = 16;

const host: Host = {
  connect() {
    const worker = new Worker(new URL("./worker.node.js", import.meta.url));
    // A process that waits for nothing else may end; a call under way keeps the worker alive.
    worker.unref();
    return {
      send(message) {
        worker.ref();
        worker.postMessage(message);
      },
      onMessage(listener) {
        worker.removeAllListeners("message");
        worker.on("message", (message) => {
          if ("answer" in message || "error" in message) worker.unref();
          listener(message);
        });
      },
      onFailure(listener) {
        worker.removeAllListeners("error");
        worker.on("error", (error: Error) => listener(error.message));
      },
      terminate: () => void worker.terminate(),
    };
  },

  async files(input, name) {
    // A path that does not lead anywhere is an error of whoever reads it.
    const isFolder = typeof input === "string" && (await stat(input).catch(() => undefined))?.isDirectory();
    return isFolder ? await filesOf(input) : { [name]: input };
  },

  async source(input, name, received, signal) {
    received(0, Number.NaN);
    if (input instanceof URL && /^https?:$/.test(input.protocol)) {
      return { name, bytes: new Uint8Array(await (await fetched(input, received, signal)).arrayBuffer()) };
    }
    if (input instanceof URL && input.protocol !== "file:") throw new ScDiVaError("argument", `${name}: ${input.href}; wanted file:, http: or https:`);
    if (input instanceof URL) return { name, path: fileURLToPath(input) };
    if (typeof input === "string") return { name, path: input };
    // Read here: a blob that stands for a file cannot be sent to a worker thread.
    if (input instanceof Blob) return { name, bytes: new Uint8Array(await input.arrayBuffer()) };
    return { name, bytes: input instanceof Uint8Array ? input : new Uint8Array(input) };
  },

  async blob(source) {
    if ("path" in source) return openAsBlob(source.path);
    return "blob" in source ? source.blob : new Blob([source.bytes as Uint8Array<ArrayBuffer>]);
  },

  sharesMemory: () => true,
};

/** The paths of all files inside a folder, by their names from there on. */
async function filesOf(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  let nFiles = 0;
  const collect = async (path: string, start: string, depth: number) => {
    for await (const entry of await opendir(path)) {
      const [inside, name] = [join(path, entry.name), start + entry.name];
      // Asked of the file, not of the entry, so that links are followed.
      const found = await stat(inside);
      if ((found.isDirectory() && depth === 0) || nFiles === MAX_FILES) {
        const problem = `more than ${MAX_FILES} files, or ${MAX_DEPTH} folders in one another; wanted the folder of one matrix`;
        throw new ScDiVaError("argument", `${folder}: ${problem}`);
      }
      if (found.isDirectory()) await collect(inside, `${name}/`, depth - 1);
      if (found.isFile()) {
        files[name] = inside;
        nFiles++;
      }
    }
  };
  await collect(folder, "", MAX_DEPTH);
  return files;
}
