/** A count matrix: `.h5ad`, or cells × genes (or genes × cells) as `.csv` or `.tsv`, also gzipped. A string is a path, in Node only. */
export type MatrixInput = Blob | ArrayBuffer | Uint8Array | string;

/**
 * The files of a model by their names in its folder: `config.json`, `model.safetensors`, `vocab.tsv`, `heads/NAME.safetensors`.
 * A URL is fetched, once; in Node a string is a path.
 */
export interface ModelFiles {
  /** What errors call the folder. */
  name: string;
  files: Record<string, Blob | ArrayBuffer | Uint8Array | URL | string>;
}

/** `auto`: a real GPU if there is one that works, else the CPU. `gpu`: any WebGPU adapter, or an error. `cpu`: the CPU. */
export type DeviceChoice = "auto" | "gpu" | "cpu";

export interface LoadOptions {
  /** Default: the small model for human blood that is part of this package. */
  model?: ModelFiles;
  /** Default: `auto`. */
  device?: DeviceChoice;
  /** Told while the model's files arrive. */
  onProgress?: (progress: LoadProgress) => void;
  signal?: AbortSignal;
}

export interface LoadProgress {
  receivedBytes: number;
  /** Of all files together; `undefined` while a server does not say. */
  totalBytes: number | undefined;
}

export interface TaskOptions {
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
  /** What errors and the report call the file; default: the name of a `File`, the path, or `matrix`. */
  name?: string;
}

export interface AnnotateOptions extends TaskOptions {
  /** Which head of the model; without it the model's only one. */
  head?: string;
  /** In the CSV, cells whose most probable label is less probable than this are `unassigned`. Default 0. */
  minProbability?: number;
}

export interface Progress {
  nDone: number;
  nCells: number;
  /** 0 until the first cells are done. */
  cellsPerSecond: number;
  /** `undefined` until the first cells are done. */
  secondsLeft: number | undefined;
}

/** What was found in a file, and everything that was decided about it. */
export interface InputReport {
  file: string;
  /** The format in words. */
  format: string;
  /** What was read in it, such as `X`. */
  matrix: string;
  /** What to know about how it was read, one sentence each. */
  notes: string[];
  nCells: number;
  nGenes: number;
  /** The columns of gene names that were used, the best first. */
  geneColumns: string[];
  /** Genes of the model that the file has. */
  nMatched: number;
  /** Genes that the model knows. */
  nVocabulary: number;
  /** Columns that are a gene again and are added to it. */
  nMerged: number;
  /** Names that mean two genes and are left out. */
  nAmbiguous: number;
  /** Share of the file's expression, or of its genes, that the model knows. */
  share: number;
  /** Raw counts, or numbers that were log-normalised before. */
  values: string;
}

/** Cell types. Every array has one entry a cell, except `labels` and `ontologyIds`. */
export interface Annotation {
  cells: string[];
  /** What `label` and `secondLabel` count. */
  labels: string[];
  /** Cell Ontology ids of the labels, empty where there is none. */
  ontologyIds: string[];
  /** Index of the most probable label; −1 for a cell without a gene that the model knows. */
  label: Int32Array;
  /** Its probability, NaN where there is none. */
  probability: Float32Array;
  secondLabel: Int32Array;
  secondProbability: Float32Array;
  report: InputReport;
  /** `cell,label,probability,second_label,second_probability`, the same bytes as the command `scdiva annotate` writes. */
  csv: Blob;
}

export interface Embedding {
  cells: string[];
  /** Numbers a cell. */
  nCols: number;
  /** `[cells, nCols]`, row after row. */
  values: Float32Array;
  /** Cells without a gene that the model knows: their row says nothing about them. */
  emptyCells: Uint32Array;
  report: InputReport;
  /** `cell,e0,e1,…`, the same bytes as `scdiva embed -o OUT.csv` writes. */
  csv: Blob;
}

/** One cell's tokens, for checking a checkpoint against another program. */
export interface ForwardInput {
  /** `[L]` */
  geneIds: Uint32Array;
  /** `[L]` */
  values: Float32Array;
  /** `[L]`, 1 where gene and value are hidden from the model; default: nowhere. */
  masked?: Uint8Array;
}

export interface ForwardOutput {
  /** `[D]`, the cell embedding. */
  latent: Float32Array;
  /** `[L, D]` */
  hidden: Float32Array;
  /** `[L, V]` */
  geneLogits: Float32Array;
  /** `[L]` */
  values: Float32Array;
}

/** What is in use. */
export interface Info {
  version: string;
  device: {
    kind: "gpu" | "cpu";
    name: string;
    /** Why this device, when `auto` passed over another. */
    reason: string | null;
    gpu: GpuInfo | null;
  };
  model: { config: Record<string, unknown>; nParameters: number; nGenes: number | null; heads: string[] };
}

export interface GpuInfo {
  adapter: string;
  backend: string;
  driver: string;
  deviceType: string;
  /** Whether it computes on the CPU. */
  software: boolean;
  features: string[];
  maxBindingSize: number;
  maxBufferSize: number;
}

/** What this browser, or Node, can do. */
export interface Support {
  /** WebAssembly with SIMD, without which nothing here runs. */
  wasm: boolean;
  /** A WebGPU adapter was found. */
  webgpu: boolean;
  /** That adapter computes on the CPU; `auto` passes over it. */
  software: boolean;
}
