/** scDiVa in a browser. @packageDocumentation */

import { Client, load } from "./client.js";
import { ScDiVaError } from "./error.js";
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
    const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
    return { wasm: hasWasmSimd(), webgpu: adapter != null, software: adapter?.info.isFallbackAdapter ?? false };
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

async function fetched(url: URL, received: (bytes: number, total: number) => void, signal: AbortSignal | undefined): Promise<Blob> {
  let response: Response_;
  try {
    response = await fetch(url, signal ? { signal } : {});
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ScDiVaError("network", `${url.href}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (!response.ok || !response.body) throw new ScDiVaError("network", `${url.href}: ${response.status} ${response.statusText}`);
  // What is counted below is unpacked; a length of what was packed would mislead.
  const packed = response.headers.has("content-encoding");
  const total = packed ? Number.NaN : Number(response.headers.get("content-length") ?? Number.NaN);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let n = 0;
  for await (const part of chunks(response.body)) {
    parts.push(part as Uint8Array<ArrayBuffer>);
    n += part.length;
    received(n, total);
  }
  return new Blob(parts);
}

type Response_ = globalThis.Response;

/** Not every browser's streams can be iterated over. */
async function* chunks(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}
