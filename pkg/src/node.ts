/** scDiVa in Node, on the CPU. @packageDocumentation */

import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { Client, load } from "./client.js";
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
          if (!("progress" in message)) worker.unref();
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

  async source(input, name, received) {
    received(0, Number.NaN);
    if (input instanceof URL) return { name, path: fileURLToPath(input) };
    if (typeof input === "string") return { name, path: input };
    // Read here: a blob that stands for a file cannot be sent to a worker thread.
    if (input instanceof Blob) return { name, bytes: new Uint8Array(await input.arrayBuffer()) };
    return { name, bytes: input instanceof Uint8Array ? input : new Uint8Array(input) };
  },

  sharesMemory: () => true,
};
