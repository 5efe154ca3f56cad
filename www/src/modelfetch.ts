// A model at an address of the page's own site: the security policy lets the page connect to no other.

import { ScDiVaError } from "scdiva";
import { isModelFile, MANIFEST, NEEDED, type StoredFile } from "./modelstore";

/** What a folder without a list of its files is asked for. */
const USUAL = [...NEEDED, "heads/cell_types.safetensors", "orthologs_mouse.tsv.gz"];

export interface FetchedModel {
  name: string;
  files: Record<string, Blob>;
  /** By the folder's own list, where it has one. */
  wanted: StoredFile[] | undefined;
}

/** The folder that an address means; refuses other sites. */
export function modelFolder(address: string): URL {
  let folder: URL;
  try {
    folder = new URL(address, document.baseURI);
  } catch {
    throw new ScDiVaError("argument", `${address}: no address; wanted a folder of this site, such as models/immune/`);
  }
  folder.search = folder.hash = "";
  folder.pathname = `${folder.pathname.replace(/(\/(config\.json|model\.safetensors|vocab\.tsv|scdiva\.json))?\/*$/, "")}/`;
  if (folder.origin === location.origin) return folder;
  const why = "this page connects to no site but its own, so that nothing can leave it";
  throw new ScDiVaError("argument", `${folder.href}: on another site, and ${why}. Download the model’s files, and add their folder`);
}

/** All files of the model in a folder; `received` is told the bytes that have come. */
export async function fetchModel(folder: URL, signal: AbortSignal, received: (bytes: number, total: number | undefined) => void): Promise<FetchedModel> {
  const name = nameOf(folder);
  const list = await get(new URL(MANIFEST, folder), signal);
  const wanted = list && readList(await list.text(), new URL(MANIFEST, folder));
  const paths = wanted?.map(({ path }) => path) ?? USUAL;
  const total = wanted?.reduce((sum, { size }) => sum + size, 0);
  const files: FetchedModel["files"] = {};
  let before = 0;
  for (const path of paths) {
    const address = new URL(path, folder);
    const response = await get(address, signal);
    if (!response) {
      // What a model cannot do without is missed when it is stored.
      if (wanted) throw new ScDiVaError("network", `${address.href}: not found; ${MANIFEST} lists it`);
      continue;
    }
    const file = await body(response, address, (bytes) => received(before + bytes, total));
    before += file.size;
    files[path] = file;
  }
  return { name, files, wanted };
}

/** The last folder of an address. */
function nameOf(folder: URL): string {
  const last = folder.pathname.split("/").at(-2) ?? "";
  try {
    return decodeURIComponent(last).replaceAll("/", "_") || folder.hostname;
  } catch {
    return last;
  }
}

/** `undefined` where there is no such file: not found, or a site's own page in its place. */
async function get(address: URL, signal: AbortSignal): Promise<Response | undefined> {
  let response: Response;
  try {
    response = await fetch(address, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw new ScDiVaError("network", `${address.href}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (response.status === 404 || response.headers.get("content-type")?.startsWith("text/html")) return undefined;
  if (!response.ok) throw new ScDiVaError("network", `${address.href}: ${response.status} ${response.statusText}`);
  return response;
}

async function body(response: Response, address: URL, received: (bytes: number) => void): Promise<Blob> {
  const pieces: Blob[] = [];
  let bytes = 0;
  // Not every browser's streams can be iterated over.
  const reader = (response.body as ReadableStream<Uint8Array<ArrayBuffer>>).getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      // A blob need not stay in memory.
      pieces.push(new Blob([next.value]));
      bytes += next.value.length;
      received(bytes);
    }
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ScDiVaError("network", `${address.href}: ended after ${bytes} bytes: ${error instanceof Error ? error.message : String(error)}`);
  }
  return new Blob(pieces);
}

function readList(text: string, address: URL): StoredFile[] {
  const wrong = (what: string) => new ScDiVaError("file", `${address.href}: ${what}; wanted a list of {"path", "size", "sha256"}`);
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (error) {
    throw wrong(error instanceof Error ? error.message : String(error));
  }
  if (!Array.isArray(list)) throw wrong("no list");
  for (const [i, entry] of list.entries()) {
    const { path, size, sha256 } = (entry ?? {}) as Partial<StoredFile>;
    if (typeof path !== "string" || typeof size !== "number" || typeof sha256 !== "string") throw wrong(`entry ${i}`);
    if (!isModelFile(path)) throw wrong(`entry ${i}: ${path} is no file of a model`);
  }
  return list as StoredFile[];
}
