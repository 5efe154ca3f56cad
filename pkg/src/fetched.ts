// A file of a model, at an address.

import { ScDiVaError } from "./error.js";

/** Fetches it whole; `received` is told the bytes that have come, and of how many. */
export async function fetched(url: URL, received: (bytes: number, total: number) => void, signal: AbortSignal | undefined): Promise<Blob> {
  const failed = (error: unknown) => (signal?.aborted ? error : new ScDiVaError("network", `${url.href}: ${error instanceof Error ? error.message : String(error)}`));
  const response = await fetch(url, signal ? { signal } : {}).catch((error: unknown) => {
    throw failed(error);
  });
  if (!response.ok || !response.body) throw new ScDiVaError("network", `${url.href}: ${response.status} ${response.statusText}`);
  // What is counted below is unpacked; a length of what was packed would mislead.
  const packed = response.headers.has("content-encoding");
  const total = packed ? Number.NaN : Number(response.headers.get("content-length") ?? Number.NaN);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let n = 0;
  // Not every browser's streams can be iterated over.
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch((error: unknown) => {
      throw failed(error);
    });
    if (done) return new Blob(parts);
    parts.push(value as Uint8Array<ArrayBuffer>);
    n += value.length;
    received(n, total);
  }
}
