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

/** What was handed over: matrices, and the names of files that are none. */
export interface Handed {
  matrices: Matrix[];
  ignored: string[];
}

/** What was chosen in a dialog: files, or all files of a folder. */
export function chosen(list: FileList): Handed {
  const { name, files } = chosenFolder(list) ?? {};
  return name === undefined ? ofFiles([...list]) : sorted(name, new Map(Object.entries(files as object)));
}

/** A folder that was chosen, as it is. */
export function chosenFolder(list: FileList): { name: string; files: Record<string, File> } | undefined {
  const name = list[0]?.webkitRelativePath.split("/")[0];
  return name ? { name, files: Object.fromEntries([...list].map((file) => [file.webkitRelativePath.slice(name.length + 1), file])) } : undefined;
}

/** What was dropped. Entries and files have to be taken while the event lasts. */
export async function dropped(transfer: DataTransfer): Promise<Handed> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const files = [...transfer.files];
  if (files.length === 0 && entries.length === 0) return { matrices: [], ignored: [] };
  if (!entries.some(isFolder)) return ofFiles(files);
  const [only] = entries;
  const isOne = entries.length === 1 && only !== undefined;
  const name = isOne ? only.name : `${entries.length} files and folders`;
  try {
    return sorted(name, await filesOf(name, entries, isOne ? only.fullPath : ""));
  } catch (error) {
    return refused(name, error);
  }
}

/** Files of no folder. Several may have one name, being from several folders. */
function ofFiles(files: File[]): Handed {
  const named = new Map<string, File>();
  for (const file of files) {
    let name = file.name;
    if (named.has(name) && part(name)) {
      const problem = "given twice, and which files belong together cannot be told; wanted the folder of each";
      return refused(name, new ScDiVaError("argument", `${name}: ${problem}`));
    }
    for (let n = 2; named.has(name); n++) name = file.name.replace(/(\.|$)/, ` (${n})$1`);
    named.set(name, file);
  }
  return named.size === 1 ? { matrices: files.map((file) => ({ name: file.name, input: async () => file })), ignored: [] } : sorted(undefined, named);
}

/** Looking at it says what is wrong. */
const refused = (name: string, error: unknown): Handed => ({ matrices: [{ name, input: () => Promise.reject(error) }], ignored: [] });

/** A file that is a matrix by itself, and no part of one; and one that may be, where there is no other. */
const WHOLE = /\.(h5ad|h5|hdf5|loom|zip|csv(\.gz)?)$/i;
const TABLE = /\.(tsv|txt)(\.gz)?$/i;
/** What the page opens by itself. */
const OWN = /\.(scdiva|safetensors)$/i;

type Kind = "entries" | "features" | "barcodes";

/** What a file is to a 10x matrix: its folder and what its name begins with, and which of the three. */
function part(path: string): { prefix: string; kind: Kind } | undefined {
  const [, prefix, name = ""] = /^(.*?)(matrix\.mtx|\.mtx|features\.tsv|genes\.tsv|barcodes\.tsv)(\.gz)?$/.exec(path) ?? [];
  if (prefix === undefined) return undefined;
  return { prefix, kind: name.endsWith("mtx") ? "entries" : name === "barcodes.tsv" ? "barcodes" : "features" };
}

const folderOf = (path: string): string => path.slice(0, path.lastIndexOf("/") + 1);

/** A matrix among the files: what it is called, shortly and at length, and its files by their names in its folder. */
interface Group {
  short: string;
  long: string;
  files: Map<string, File>;
}

/** Finds the matrices among files of the folder `whole`, or of none: stores, triplets, and files that are a matrix each. */
function sorted(whole: string | undefined, files: Map<string, File>): Handed {
  const left = new Map(files);
  const groups: Group[] = [];
  const take = (name: string, folder: string, paths: string[]) => {
    const long = name.replace(/[/_.-]+$/, "") || whole || (paths[0] as string);
    groups.push({ short: long.split("/").at(-1) as string, long, files: new Map(paths.map((path) => [path.slice(folder.length), files.get(path) as File])) });
    for (const path of paths) left.delete(path);
  };
  const stores = [...files.keys()].filter((path) => /(^|\/)(\.zgroup|zarr\.json)$/.test(path)).map(folderOf);
  for (const store of new Set(stores)) {
    if (!stores.some((other) => other !== store && store.startsWith(other))) take(store, store, [...left.keys()].filter((path) => path.startsWith(store)));
  }
  const visible = [...left.keys()].filter((path) => !/(^|\/)\./.test(path));
  for (const triplet of triplets(visible)) take(triplet.prefix, folderOf(triplet.prefix), triplet.paths);
  const tables = visible.filter((path) => left.has(path) && !part(path));
  // Beside a store or a 10x matrix a table is about its cells.
  const isAlone = groups.length === 0;
  const found = tables.filter((path) => WHOLE.test(path) && (isAlone || !/\.csv(\.gz)?$/i.test(path)));
  const single = found.length > 0 || !isAlone ? found : tables.filter((path) => TABLE.test(path));
  for (const path of single) take(path, folderOf(path), [path]);
  const own = visible.find((path) => OWN.test(path));
  if (groups.length === 0 && own !== undefined && !whole) take(own, "", [own]);
  const all = `${files.size} files`;
  if (groups.length === 0) return { matrices: [several(whole ?? all, files)], ignored: [] };
  const ignored = visible.filter((path) => left.has(path));
  const [only] = groups;
  if (groups.length === 1 && only) return { matrices: [matrix(whole ?? ([...only.files.keys()][0] as string), only.files)], ignored };
  // A folder's files come in no order.
  if (whole !== undefined) groups.sort((a, b) => a.long.localeCompare(b.long, "en", { numeric: true }));
  const names = groups.map(({ short }) => short);
  return { matrices: groups.map(({ short, long, files }) => matrix(names.filter((name) => name === short).length > 1 ? long : short, files)), ignored };
}

/** The three files of each 10x matrix; of features and barcodes those whose name begins alike, or the only ones in the folder. */
function triplets(paths: string[]): { prefix: string; paths: string[] }[] {
  const parts = paths.flatMap((path) => {
    const found = part(path);
    return found ? [{ path, ...found }] : [];
  });
  const entries = parts.filter(({ kind }) => kind === "entries");
  return entries.map(({ path, prefix }) => {
    const folder = folderOf(path);
    const isOnly = entries.filter((other) => folderOf(other.path) === folder).length === 1;
    const beside = (wanted: Kind) => {
      const near = parts.filter(({ kind, path }) => kind === wanted && folderOf(path) === folder);
      const alike = near.filter((other) => prefix.startsWith(other.prefix)).sort((a, b) => b.prefix.length - a.prefix.length);
      return (alike.length > 0 ? alike.slice(0, 1) : isOnly ? near : []).map(({ path }) => path);
    };
    return { prefix, paths: [path, ...beside("features"), ...beside("barcodes")] };
  });
}

/** A file by itself is given as such. */
function matrix(name: string, files: Map<string, File>): Matrix {
  const [only] = files.values();
  return files.size === 1 && only && [...files.keys()][0] === name ? { name, input: async () => only } : several(name, files);
}

function several(name: string, files: Map<string, File>): Matrix {
  return {
    name,
    async input() {
      if (files.size > MAX_FILES) throw tooMany(name);
      return { name, files: Object.fromEntries(files) };
    },
  };
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
