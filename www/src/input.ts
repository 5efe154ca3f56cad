// What a visitor hands over: a matrix as a file, as several or as a folder, or several matrices; chosen or dropped.

import { type MatrixInput, ScDiVaError } from "scdiva";

/** A matrix by its name, and how to get at it. */
export interface Matrix {
  name: string;
  /** Results of simulated cells are no loss. */
  isDemo?: true;
  input: (signal: AbortSignal) => Promise<MatrixInput>;
}

/** Files of a folder, and folders in folders of it. A page is no place for more. */
const MAX_FILES = 10_000;
const MAX_DEPTH = 16;

/** What was chosen in a dialog: files, or all files of a folder. */
export function chosen(list: FileList): Matrix[] {
  const files = [...list];
  const folder = files[0]?.webkitRelativePath.split("/")[0];
  if (!folder) return together(new Map(files.map((file) => [file.name, file])));
  const all = several(folder, async () => {
    if (files.length > MAX_FILES) throw tooMany(folder);
    return new Map(files.map((file) => [file.webkitRelativePath.slice(folder.length + 1), file]));
  });
  return [all];
}

/** What was dropped. Entries and files have to be taken while the event lasts. */
export function dropped(transfer: DataTransfer): Matrix[] {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const files = [...transfer.files];
  const [only] = entries;
  if (entries.length === 1 && only && isFolder(only)) return [several(only.name, () => filesOf(only.name, [only], only.fullPath))];
  if (entries.some(isFolder)) return [several(`${entries.length} files and folders`, () => filesOf("what was dropped", entries, ""))];
  return together(new Map(files.map((file) => [file.name, file])));
}

/** A file that is a matrix by itself, and no part of one. */
const WHOLE = /\.(h5ad|h5|hdf5|loom|zip|csv(\.gz)?)$/i;

/** One file; or several that are one matrix, called by the name of the one that holds the entries; or several that are a matrix each. */
function together(files: Map<string, File>): Matrix[] {
  if (files.size <= 1 || [...files.keys()].every((name) => WHOLE.test(name))) {
    return [...files.values()].map((file) => ({ name: file.name, input: async () => file }));
  }
  const entries = [...files.keys()].find((name) => /\.mtx(\.gz)?$/i.test(name));
  return [several(entries ?? `${files.size} files`, async () => files)];
}

function several(name: string, files: (signal: AbortSignal) => Promise<Map<string, File>>): Matrix {
  return { name, input: async (signal) => ({ name, files: Object.fromEntries(await files(signal)) }) };
}

/** All files inside, by their names after `start`. */
async function filesOf(name: string, entries: FileSystemEntry[], start: string): Promise<Map<string, File>> {
  const files = new Map<string, File>();
  const collect = async (entry: FileSystemEntry, depth: number): Promise<void> => {
    if (isFolder(entry)) {
      if (depth === 0) throw tooMany(name);
      for (const inside of await entriesOf(entry)) await collect(inside, depth - 1);
    } else {
      if (files.size === MAX_FILES) throw tooMany(name);
      files.set(entry.fullPath.slice(start.length + 1), await fileOf(entry as FileSystemFileEntry));
    }
  };
  try {
    for (const entry of entries) await collect(entry, MAX_DEPTH);
  } catch (error) {
    throw error instanceof DOMException ? new ScDiVaError("io", `${name}: ${error.message}`) : error;
  }
  return files;
}

/** Browsers give them a hundred at a time, and none at the end. */
async function entriesOf(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return all;
    all.push(...some);
    if (all.length > MAX_FILES) throw tooMany(folder.name);
  }
}

function fileOf(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

function isFolder(entry: FileSystemEntry): entry is FileSystemDirectoryEntry {
  return entry.isDirectory;
}

function tooMany(name: string): ScDiVaError {
  const problem = `more than ${MAX_FILES} files, or ${MAX_DEPTH} folders in one another; wanted the folder of one matrix. A large .zarr can be packed as a .zip`;
  return new ScDiVaError("argument", `${name}: ${problem}`);
}
