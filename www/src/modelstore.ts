// Models of the visitor's own, in the browser's private file system. Nothing here is a cookie, and no other site sees it.

import { type ModelFiles, ScDiVaError } from "scdiva";

/** The list of a model's files. Written last: a model without it was not stored to its end. */
export const MANIFEST = "scdiva.json";

export interface StoredFile {
  path: string;
  size: number;
  sha256: string;
}

export interface StoredModel {
  name: string;
  files: StoredFile[];
}

export const NEEDED = ["config.json", "model.safetensors", "vocab.tsv"];
const KNOWN = /^(config\.json|model\.safetensors|vocab\.tsv|orthologs_mouse\.tsv\.gz|heads\/[^/]+\.safetensors)$/;

export const isModelFile = (path: string): boolean => KNOWN.test(path);

async function folder(): Promise<FileSystemDirectoryHandle> {
  if (!navigator.storage?.getDirectory) throw new ScDiVaError("io", "this browser has no private file system to keep a model in");
  return (await navigator.storage.getDirectory()).getDirectoryHandle("models", { create: true });
}

/** All models that were stored to their end. */
export async function storedModels(): Promise<StoredModel[]> {
  const models: StoredModel[] = [];
  const inside = await folder().catch(() => undefined);
  if (!inside) return models;
  for await (const name of inside.keys()) {
    const manifest = await read(await inside.getDirectoryHandle(name), MANIFEST).catch(() => undefined);
    if (manifest) models.push({ name, files: JSON.parse(await manifest.text()) as StoredFile[] });
  }
  return models.sort((a, b) => a.name.localeCompare(b.name));
}

/**
 * Stores a model's files, by their names in its folder, and gives the name under which it stands; what is no part of a model stays out. The same
 * model is not stored twice, and another one of the same name stays: this one gets a number. `listed`: what the files have to be, where that is known.
 */
export async function storeModel(wantedName: string, files: Record<string, Blob>, listed: StoredFile[] = []): Promise<string> {
  const kept = Object.entries(files).filter(([path]) => isModelFile(path));
  const paths = new Set(kept.map(([path]) => path));
  const missing = NEEDED.filter((path) => !paths.has(path));
  if (![...paths].some((path) => path.startsWith("heads/"))) missing.push("heads/*.safetensors");
  if (missing.length > 0) throw new ScDiVaError("file", `${wantedName}: no model; its folder lacks ${missing.join(", ")}`);
  const stored: StoredFile[] = [];
  for (const [path, file] of kept) {
    const found = await sha256(file);
    const wanted = listed.find((entry) => entry.path === path)?.sha256 ?? found;
    if (found !== wanted) throw new ScDiVaError("file", `${wantedName}/${path}: SHA-256 ${found}; its list wants ${wanted}`);
    stored.push({ path, size: file.size, sha256: found });
  }
  const others = await storedModels();
  let name = wantedName;
  for (let number = 2; ; number++) {
    const other = others.find((model) => model.name === name);
    if (!other) break;
    if (areSame(other.files, stored)) {
      if (await isWhole(other)) return name;
      // What was damaged is replaced by the same model.
      break;
    }
    name = `${wantedName}-${number}`;
  }
  await navigator.storage.persist?.();
  const inside = await folder();
  await inside.removeEntry(name, { recursive: true }).catch(() => undefined);
  const place = await inside.getDirectoryHandle(name, { create: true });
  for (const [path, file] of kept) await write(place, path, file);
  await write(place, MANIFEST, JSON.stringify(stored));
  return name;
}

function areSame(one: StoredFile[], other: StoredFile[]): boolean {
  const key = (files: StoredFile[]) => files.map(({ path, sha256 }) => `${path} ${sha256}`).sort().join("\n");
  return key(one) === key(other);
}

const isWhole = (model: StoredModel): Promise<boolean> =>
  openModel(model.name).then(
    () => true,
    () => false,
  );

/** The files of a stored model, each checked against what was stored. */
export async function openModel(name: string): Promise<ModelFiles> {
  const model = (await storedModels()).find((stored) => stored.name === name);
  if (!model) throw new ScDiVaError("io", `${name}: no such model is stored in this browser`);
  const place = await (await folder()).getDirectoryHandle(name);
  const files: ModelFiles["files"] = {};
  for (const { path, sha256: wanted } of model.files) {
    const file = await read(place, path);
    const found = await sha256(file);
    if (found !== wanted) throw new ScDiVaError("io", `${name}/${path}: SHA-256 ${found}; wanted ${wanted}. Remove the model and add it again`);
    files[path] = file;
  }
  return { name, files };
}

export async function removeModel(name: string): Promise<void> {
  await (await folder()).removeEntry(name, { recursive: true });
}

async function sha256(file: Blob): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function write(place: FileSystemDirectoryHandle, path: string, content: Blob | string): Promise<void> {
  const [parent, name] = await parentOf(place, path);
  const file = await (await parent.getFileHandle(name, { create: true })).createWritable();
  await file.write(content);
  await file.close();
}

async function read(place: FileSystemDirectoryHandle, path: string): Promise<File> {
  const [parent, name] = await parentOf(place, path);
  return (await parent.getFileHandle(name)).getFile();
}

/** Models have one folder of heads, and nothing deeper. */
async function parentOf(place: FileSystemDirectoryHandle, path: string): Promise<[FileSystemDirectoryHandle, string]> {
  const [first = "", second] = path.split("/");
  return second === undefined ? [place, first] : [await place.getDirectoryHandle(first, { create: true }), second];
}
