/**
 * A count matrix: `.h5ad`, 10x `.h5`, `.loom`, a `.zip` of a 10x matrix or of a `.zarr` store, or a table (cells × genes or genes × cells) as
 * `.csv`, `.tsv` or `.txt`, also gzipped; what the bytes say counts, not the name. Or several files that are one matrix.
 * A string is a path, in Node only; that of a folder stands for all files inside.
 */
export type MatrixInput = MatrixFile | MatrixFiles | MatrixSamples;

/** One file; a string is its path, in Node only. */
export type MatrixFile = Blob | ArrayBuffer | Uint8Array | string;

/**
 * Several files that are one matrix: `matrix.mtx`, `features.tsv` (or `genes.tsv`) and `barcodes.tsv`, each also gzipped and with anything in
 * front of its name; or all files of a `.zarr` store.
 */
export interface MatrixFiles {
  /** What errors and the report call the whole. */
  name: string;
  /** Each by its name, with `/` between folders, such as `X/indices/0`. */
  files: Record<string, MatrixFile>;
}

/**
 * Several matrices that are looked at together, as samples of one: clusters, votes and map are those of all cells. Genes are matched by name; a cell
 * is called `CELL-SAMPLE`, and the column `sample` says where it is from. All samples have to hold the same kind of values on the same scale.
 */
export interface MatrixSamples {
  /** What errors and the report call the whole. */
  name: string;
  /** Each by the name of its sample. */
  samples: Record<string, MatrixFile | MatrixFiles>;
}

/**
 * The files of a model by their names in its folder: `config.json`, `model.safetensors`, `vocab.tsv`, `heads/NAME.safetensors`, and perhaps
 * `orthologs_mouse.tsv.gz`, without which genes of mouse cannot be taken.
 * A URL is fetched, once; in Node a string is a path.
 */
export interface ModelFiles {
  /** What errors call the folder. */
  name: string;
  files: Record<string, Blob | ArrayBuffer | Uint8Array | URL | string>;
}

/** `auto`: a real GPU if there is one that works, else the CPU. `gpu`: any WebGPU adapter, or an error. `cpu`: the CPU. */
export type DeviceChoice = "auto" | "gpu" | "cpu";

/** How exactly a GPU computes. `f16` keeps weights in half the memory, at errors of about a thousandth; `auto` is `f32`, as the CPU is. */
export type Precision = "auto" | "f32" | "f16";

export interface LoadOptions {
  /** Default: the small model for human blood that is part of this package. */
  model?: ModelFiles;
  /** Default: `auto`. */
  device?: DeviceChoice;
  /** Default: `auto`. */
  precision?: Precision;
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
  /** What errors and the report call the file; default: the name of a `File` or of `MatrixFiles`, the path, or `matrix`. */
  name?: string;
}

/** What is found out about a matrix, unless it is said here; `undefined` leaves it open. */
export interface InputOptions extends TaskOptions {
  /** Which matrix of the file: `X`, `raw/X`, or the name of a layer. Default: counts, if there are any. */
  layer?: string | undefined;
  /** Which column names the genes. Default: whichever fits best. */
  geneColumn?: string | undefined;
  /**
   * Whose genes they are. Default: told by their names. `mouse` maps them to their one-to-one human orthologs, and the report says so; without
   * it a matrix of mouse is refused.
   */
  species?: Species | undefined;
  /** The least counts of a cell; 0 keeps all. Default: all cells, but for the empty droplets of an unfiltered matrix. */
  minCounts?: number | undefined;
}

export type Species = "human" | "mouse";

export interface AnnotateOptions extends InputOptions {
  /** Which head of the model; without it the model's only one. */
  head?: string;
  /** In the CSV, cells whose most probable label is less probable than this are `unassigned`. Default: the head's own threshold. */
  minProbability?: number | undefined;
  /** Only labels of cells of this tissue are given. Default `auto`: the tissue that is recognised, of those that the head knows. `any`: all. */
  tissue?: string | undefined;
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
  /** Cells, without the droplets that were left out. */
  nCells: number;
  nGenes: number;
  /** The empty droplets that were left out; `null` where all barcodes are taken for cells. */
  droplets: DropletReport | null;
  genes: GeneReport;
  values: ValueReport;
}

/** What a file is to a model: all that was found, and why it cannot be used if it cannot. */
export interface Inspection {
  file: string;
  format: string;
  matrix: string;
  /** Every matrix that the file holds, as `layer` takes it; empty where there is no choice. */
  matrices: string[];
  notes: string[];
  nCells: number;
  nGenes: number;
  droplets: DropletReport | null;
  /** What the names of the genes say about the species. */
  recognition: Recognition;
  /** Every column that may name genes, as `geneColumn` takes it. */
  geneColumns: NameColumn[];
  /** `null` when the genes are not found; `problem` says why. */
  genes: GeneReport | null;
  /** `null` when the values cannot be used; `problem` says why. */
  values: ValueReport | null;
  /** What the file says about its cells. */
  cellColumns: CellColumnReport[];
  /** Names of the embeddings that the file holds, such as `X_umap`. */
  embeddings: string[];
  /** Why the file cannot be used; `null` when it can. */
  problem: string | null;
}

export interface DropletReport {
  nDropped: number;
  nBarcodes: number;
  /** A cell has at least this many counts. */
  minCounts: number;
  /** Whether `minCounts` was given; else it was found out. */
  chosen: boolean;
}

export interface Recognition {
  /** `human`, `mouse`, `zebrafish`, …; `null` when the names do not tell. */
  species: string | null;
  /** What it was told by, in words. */
  evidence: string;
}

export interface NameColumn {
  name: string;
  kind: "ensembl" | "symbol" | "mixed";
}

/** How many names there are of a kind, and the first few. */
export interface NameList {
  n: number;
  first: string[];
}

/** How the genes of a file were found among those of a model. */
export interface GeneReport {
  /** Whose genes they are taken for; `mouse` means: mouse mapped to human. */
  species: Species;
  recognition: Recognition;
  /** The columns of names that were used, the best first. */
  columns: NameColumn[];
  /** The genome whose prefix was taken off, such as `GRCh38`. */
  genome: string | null;
  nGenes: number;
  /** Genes that the model knows. */
  nVocabulary: number;
  /** Genes of the model that the file has. */
  nMatched: number;
  /** Matched genes over the genes of the file or of the model, whichever are fewer. */
  share: number;
  byId: NameList;
  bySymbol: NameList;
  /** By previous symbol or alias. */
  byAlias: NameList;
  /** By a name that differs in the case of letters, or in `.` and `_` for `-`. */
  bySpelling: NameList;
  /** By what stands before a number that was added to make names unique. */
  bySuffix: NameList;
  /** Columns that are a gene again and are added to it. */
  merged: NameList;
  /** Names that mean two genes; left out. */
  ambiguous: NameList;
  /** Genes that the model does not know. */
  unmatched: NameList;
  /** Genes of another genome; left out. */
  otherGenome: NameList;
  /** Names that a spreadsheet turned into dates; left out. */
  dates: NameList;
  /** Genes of the model that the file lacks. */
  missing: NameList;
}

/** What the values of a matrix are, and what is done with them. */
export interface ValueReport {
  kind: "counts" | "estimated-counts" | "log-counts" | "normalised" | "log-normalised";
  /** `null` where there is no logarithm, or its base cannot be told. */
  logBase: number | null;
  /** What each cell sums up to, the logarithm undone; `null` where cells differ. */
  targetSum: number | null;
  conversion: "normalise" | "as-they-are" | "rescale";
  nSampledCells: number;
  /** How many of these have no counts; they get an empty answer. */
  nEmptyCells: number;
  medianSum: number;
  medianGenes: number;
  /** The same in words. */
  text: string;
}

export interface CellColumnReport {
  name: string;
  kind: "categories" | "numbers" | "unread";
  nCategories: number | null;
  /** Whether it seems to hold clusters or cell types, by its name. */
  isGrouping: boolean;
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
  /** The threshold that the CSV was written with; 0 for none. */
  minProbability: number;
  /** The tissue whose labels were given; `any` for all. */
  tissue: string;
  /** Why, in words; empty where the head tells no tissues apart. */
  tissueDecision: string;
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

export interface FitHeadOptions extends Omit<InputOptions, "name"> {
  /** The obs column with the types. Cells without a label (empty, `nan`, `NA`, `unknown`, `unassigned`) are left out. */
  labelColumn: string;
  /** What the head is called. Default `reference`. */
  name?: string;
}

/** A head that was fitted, what it was fitted on, and how good it is. */
export interface FittedHead extends FitReport {
  name: string;
  /** The types that it knows. */
  labels: string[];
  /** Its file, `.safetensors`: for `addHead`, or for `scdiva annotate --head FILE`. */
  file: Blob;
}

/** What a head was fitted on, and how good it is. */
export interface FitReport {
  /** What the reference was called. */
  reference: string;
  /** Where the labels come from. */
  source: string;
  types: TypeReport[];
  /** Types with fewer than 5 cells, which the head does not know. */
  leftOut: TypeReport[];
  /** Cells without a label. */
  nUnlabelled: number;
  /** Chosen cells without a gene that the model knows. */
  nUnknown: number;
  /** Cells that were used, with the held-out ones. */
  nCells: number;
  /** Cells that the head was not fitted on. The scores are of these, and a little too good, as these cells also ended the fit. */
  nHeldOut: number;
  /** The share that is called rightly. */
  accuracy: number;
  /** The mean F1 of the types. */
  macroF1: number;
  /** The expected calibration error of the probabilities. */
  calibrationError: number;
  /** The threshold of the head: at most 5 % of the held-out cells are under it, and it is at most 0.5. */
  minProbability: number;
  /** How often all cells were seen. */
  nEpochs: number;
}

export interface TypeReport {
  label: string;
  /** Cells of the reference that have it. */
  nCells: number;
  /** Those that were used, at most 500. */
  nUsed: number;
}

/** Cells whose answer is there, as they come. Every array but `labels` has one entry a cell. */
export interface AnnotationBatch {
  /** Index of the first of them; they follow one another. */
  from: number;
  cells: string[];
  /** What `label` and `secondLabel` count: the same in every batch. */
  labels: string[];
  /** As in `Annotation`. */
  label: Int32Array;
  probability: Float32Array;
  secondLabel: Int32Array;
  secondProbability: Float32Array;
}

export interface AnalyseOptions extends Omit<AnnotateOptions, "onProgress"> {
  /** Told about every stage. */
  onProgress?: (progress: AnalysisProgress) => void;
  /** Told the answers of some hundred cells at a time, as they come. */
  onBatch?: (batch: AnnotationBatch) => void;
  /** Whether cells are laid out in two dimensions, by their embeddings. Default: yes. */
  umap?: boolean;
  /** Whether groups of similar cells vote on one label. Default: yes. */
  vote?: boolean;
  /** The column of the file's `obs` whose groups vote; default: clusters that are found for this (Leiden, on the neighbours of the embeddings). */
  groups?: string | undefined;
}

/** How far a stage is. The stages follow one another in this order; what is not asked for is left out. */
export interface AnalysisProgress extends Progress {
  stage: AnalysisStage;
}

/** `tissue`: a few cells are answered, to tell which tissue they are of. `read`: the whole file is read once, for `qc`. `annotate`: the model's answers. */
export type AnalysisStage = "tissue" | "read" | "annotate" | "neighbours" | "clusters" | "umap";

/**
 * A matrix that was annotated, looked at as a whole, and stays open for questions until `dispose`. Data are typed arrays with one entry a cell,
 * where no other size is given. The methods that read the file go through it once, in blocks; all of them can be cancelled by a signal.
 */
export interface Analysis {
  /** What the input is called. */
  readonly name: string;
  readonly cells: string[];
  /** What `label`, `secondLabel` and `votedLabel` count. */
  readonly labels: string[];
  /** Cell Ontology ids of the labels, empty where there is none. */
  readonly ontologyIds: string[];
  /** Index of the most probable label; −1 for a cell without a gene that the model knows. */
  readonly label: Int32Array;
  /** Its probability, NaN where there is none. */
  readonly probability: Float32Array;
  /** Index of the runner-up, or −1. */
  readonly secondLabel: Int32Array;
  readonly secondProbability: Float32Array;
  /** Shannon entropy of the probabilities of all labels, in nats: 0 when one has it all, `ln(labels.length)` when all are alike. */
  readonly entropy: Float32Array;
  /** The group that the cell votes with, which counts `clusterNames`; −1 for a cell in none. `null` without a vote. */
  readonly cluster: Int32Array | null;
  /** The groups' names: numbers from the largest cluster on, or the categories of the column `groups`. */
  readonly clusterNames: string[];
  /** The label that most cells of the group have, −1 where there is none. `null` without a vote. */
  readonly votedLabel: Int32Array | null;
  /** The share of the group's cells that have it, NaN for a cell in none. `null` without a vote. */
  readonly voteShare: Float32Array | null;
  /** `[cells, 2]`, x and y; NaN for a cell without a gene that the model knows. `null` where it was not asked for. */
  readonly umap: Float32Array | null;
  readonly qc: CellQc;
  readonly report: InputReport;
  readonly inspection: Inspection;
  /** The model and the head that answered. */
  readonly model: AnalysisModel;
  /** Cells less probable than this are `unassigned` in `csv()` and `h5ad()`, and do not vote. 0: none. */
  readonly minProbability: number;
  /** The tissue whose labels were given, or `any`. */
  readonly tissue: string;
  /** The same in words, with the reason. */
  readonly tissueDecision: string;
  /** The names of the file's genes, each once: symbols where there are any. */
  readonly genes: string[];
  /**
   * How much each cell expresses a gene: ln(1 + counts per 10,000), over all counts of the cell. Values that are logarithms already are brought to
   * that where the file tells its scale. The name is one of `genes`, or an id; the case of letters does not count where it is clear without.
   */
  gene(name: string, signal?: AbortSignal): Promise<Float32Array>;
  /** A column of the file's `obs`. Codes are −1, and numbers NaN, where the file gives none. */
  column(name: string): Promise<CellColumn>;
  /** The first two numbers of each cell in an embedding of the file, such as `X_umap`: `[cells, 2]`. */
  embedding(name: string): Promise<Float32Array>;
  /** Genes that the cells of these indices express more than all other cells: the best `n` (default 25), the best first. */
  markers(cells: Uint32Array, n?: number, signal?: AbortSignal): Promise<Marker[]>;
  /**
   * The same for each of several groups, each compared with all other cells. `groups`: one number a cell, from 0 to `nGroups` − 1, or −1 for a
   * cell in no group, which is then among the others of every group.
   */
  groupMarkers(groups: Int32Array, nGroups: number, n?: number, signal?: AbortSignal): Promise<Marker[][]>;
  /** How much, and by how many of its cells, each gene is expressed in each group. */
  dotPlot(genes: string[], groups: Int32Array, nGroups: number, signal?: AbortSignal): Promise<DotPlot>;
  /** The table that `scdiva annotate --all-columns --vote --umap` writes. */
  csv(options?: SaveOptions): Promise<Blob>;
  /**
   * The user's `.h5ad` with columns added, as `scdiva annotate -o x.h5ad --replace` writes it; a new `.h5ad` when the input is another format, or
   * empty droplets were left out. What was in the file stays as it was; only the results of an earlier run are replaced.
   */
  h5ad(options?: SaveOptions): Promise<Blob>;
  /** Closes the file and frees its memory; questions are then rejected with `disposed`. */
  dispose(): void;
}

/** What is seen of each cell in the file itself. */
export interface CellQc {
  /** Genes with a value above 0. */
  nGenes: Uint32Array;
  /** The sum of all values: counts, where the file has counts. */
  total: Float32Array;
  /** The share of `total` that is of mitochondrial genes (`MT-…`), 0 to 1; NaN where the file has none, or the cell no value. */
  mitochondrial: Float32Array;
}

export interface AnalysisModel {
  name: string;
  /** SHA-256 over the names and bytes of all its files, in hexadecimal. */
  hash: string;
  head: string;
}

export type CellColumn =
  | { kind: "categories"; categories: string[]; codes: Int32Array }
  | { kind: "numbers"; values: Float32Array };

/** A gene that some cells (inside) express more than the others (outside), as log-normalised values say. */
export interface Marker {
  gene: string;
  /** Welch's t, as `scanpy.tl.rank_genes_groups(method="t-test")` computes it. It ranks; with many cells nearly everything is significant. */
  score: number;
  /** Of the means, the logarithm undone, as scanpy computes it: log2((exp(inside) − 1 + 1e-9) / (exp(outside) − 1 + 1e-9)). */
  log2FoldChange: number;
  /** Share of the cells inside with a value above 0. */
  shareInside: number;
  shareOutside: number;
}

/** `[genes, groups]`, row after row; NaN for a gene that the file lacks, and for a group without cells. */
export interface DotPlot {
  /** Mean log-normalised value. */
  mean: Float32Array;
  /** Share of the cells with a value above 0. */
  share: Float32Array;
  /** Those of the genes that the file lacks. */
  missing: string[];
}

export interface SaveOptions {
  /** In place of the analysis's `minProbability`; groups vote again with it. */
  minProbability?: number | undefined;
  /** Of a new `.h5ad`: the cells written so far. */
  onProgress?: (progress: Progress) => void;
  /** Ends the writing of a new `.h5ad`. */
  signal?: AbortSignal | undefined;
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
  model: { config: Record<string, unknown>; nParameters: number; nGenes: number | null; heads: string[]; tissues: string[][]; ownHeads: string[] };
}

export interface GpuInfo {
  adapter: string;
  backend: string;
  driver: string;
  deviceType: string;
  /** Whether it computes on the CPU. */
  software: boolean;
  features: string[];
  /** The fewest threads of a subgroup; 0 where subgroups are not in use, as in browsers. */
  subgroupSize: number;
  /** Whether arithmetic in f16 is in use. */
  f16Arithmetic: boolean;
  /** The side of the squares that matrix units multiply; 0 where none are in use, as in browsers. */
  matrixSide: number;
  /** Bytes of memory that the threads of a workgroup share, as used. */
  workgroupMemory: number;
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
