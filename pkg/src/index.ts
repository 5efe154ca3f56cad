/** scDiVa in a browser. @packageDocumentation */

import { offeredAdapter } from "./adapter.js";
import { Client, load } from "./client.js";
import { ScDiVaError } from "./error.js";
import { fetched } from "./fetched.js";
import type { Host, Response } from "./protocol.js";
import { hasWasmSimd } from "./simd.js";
import type { LoadOptions, Support } from "./types.js";

export { ScDiVaError, type ErrorCode } from "./error.js";
export type * from "./types.js";

export class ScDiVa extends Client {
  /** Brings a model to a device, in a worker of its own. */
  static async load(options: LoadOptions = {}): Promise<ScDiVa> {
    return new ScDiVa(host, ...(await load(host, options)));
  }

  /** What this browser can do. */
  static async supported(): Promise<Support> {
    const adapter = await offeredAdapter();
    return { wasm: hasWasmSimd(), webgpu: adapter !== null, software: adapter?.info.isFallbackAdapter ?? false };
  }
}

const host: Host = {
  connect() {
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "scdiva" });
    return {
      send: (message) => worker.postMessage(message),
      onMessage: (listener) => (worker.onmessage = (event: MessageEvent<Response>) => listener(event.data)),
      onFailure: (listener) => (worker.onerror = (event) => listener(event.message ?? "the worker could not be started")),
      terminate: () => worker.terminate(),
    };
  },

  files: async (input, name) => ({ [name]: input }),

  async source(input, name, received, signal) {
    if (input instanceof URL) return { name, blob: await fetched(input, received, signal) };
    if (typeof input === "string") throw new ScDiVaError("argument", `${name}: a path, which a browser cannot open; wanted a File or bytes`);
    const blob = input instanceof Blob ? input : new Blob([input as Uint8Array<ArrayBuffer>]);
    return { name, blob };
  },

  async blob(source) {
    if (!("blob" in source)) throw new ScDiVaError("internal", `${source.name}: no blob`);
    return source.blob;
  },

  sharesMemory: () => globalThis.crossOriginIsolated === true,
};
