// What the page's side and the worker's side say to each other: one request at a time, progress, one answer.

import type { ErrorCode } from "./error.js";
import type {
  Analysis,
  Annotation,
  AnnotationBatch,
  CellColumn,
  DeviceChoice,
  DotPlot,
  Embedding,
  FittedHead,
  ForwardInput,
  ForwardOutput,
  Info,
  Inspection,
  Marker,
  MatrixFile,
  Precision,
  Species,
} from "./types.js";

/** Bytes in a form that reaches a worker without being copied, or whose copy is meant. */
export type WireSource = { name: string; blob: Blob } | { name: string; bytes: Uint8Array } | { name: string; path: string };

/** A matrix, of one file or of several, and what the user decides about how it is read. */
export interface WireMatrix {
  name: string;
  files: WireSource[];
  /** Where these are several samples: the name of each, and how many of `files` are its, in order. Else empty. */
  samples: { name: string; nFiles: number }[];
  layer: string | undefined;
  geneColumn: string | undefined;
  species: Species | undefined;
  minCounts: number | undefined;
}

/** What of an analysis is not a question to its worker, nor known on this side. */
export type AnalysisData = Omit<
  Analysis,
  "name" | "gene" | "column" | "embedding" | "markers" | "groupMarkers" | "dotPlot" | "csv" | "h5ad" | "dispose"
>;

/** A file in pieces, rising; what stands between them is the input's. */
export interface Pieces {
  size: number;
  onOriginal: boolean;
  pieces: { at: number; blob: Blob }[];
}

export interface Calls {
  load: { arguments: { name: string; files: WireSource[]; device: DeviceChoice; precision: Precision }; answer: Info };
  inspect: { arguments: { matrix: WireMatrix }; answer: Inspection };
  annotate: {
    arguments: { matrix: WireMatrix; head: string | undefined; minProbability: number | undefined; tissue: string | undefined };
    answer: Annotation;
  };
  annotateBatches: { arguments: { matrix: WireMatrix; head: string | undefined; tissue: string | undefined }; answer: null };
  analyse: {
    arguments: {
      matrix: WireMatrix;
      head: string | undefined;
      minProbability: number | undefined;
      tissue: string | undefined;
      vote: boolean;
      groups: string | undefined;
      umap: boolean;
    };
    answer: { id: number; data: AnalysisData };
  };
  gene: { arguments: { id: number; name: string }; answer: Float32Array };
  column: { arguments: { id: number; name: string }; answer: CellColumn };
  embedding: { arguments: { id: number; name: string }; answer: Float32Array };
  markers: { arguments: { id: number; groups: Int32Array; nGroups: number; n: number }; answer: Marker[][] };
  dotPlot: { arguments: { id: number; genes: string[]; groups: Int32Array; nGroups: number }; answer: DotPlot };
  csv: { arguments: { id: number; minProbability: number }; answer: Blob };
  h5ad: { arguments: { id: number; minProbability: number }; answer: Pieces };
  close: { arguments: { id: number }; answer: null };
  embed: { arguments: { matrix: WireMatrix }; answer: Embedding };
  fitHead: { arguments: { matrix: WireMatrix; labelColumn: string; name: string }; answer: FittedHead };
  addHead: { arguments: { name: string; file: WireSource }; answer: undefined };
  forward: { arguments: ForwardInput; answer: ForwardOutput };
}

export type CallName = keyof Calls;

export interface Request<Name extends CallName = CallName> {
  call: Name;
  arguments: Calls[Name]["arguments"];
}

/** Sent before everything else. `cancel[0]` is 1 while the running task is to end; `undefined` where memory cannot be shared. */
export interface Start {
  cancel: Int32Array | undefined;
}

export type Response =
  | { progress: [stage: string, nDone: number, nCells: number] }
  | { batch: AnnotationBatch }
  | { answer: Calls[CallName]["answer"] }
  | { error: { code: ErrorCode; message: string; nKept: number; isLast: boolean } };

/** A worker, in a browser or in Node. */
export interface Connection {
  send(message: Start | Request): void;
  onMessage(listener: (message: Response) => void): void;
  /** The worker itself failed, so no answer will come. */
  onFailure(listener: (message: string) => void): void;
  terminate(): void;
}

/** What differs between a browser and Node on this side. */
export interface Host {
  connect(): Connection;
  /** The files that one input stands for, by their names: itself, or all inside a folder. */
  files(input: MatrixFile, name: string): Promise<Record<string, MatrixFile>>;
  source(input: MatrixFile | URL, name: string, received: (bytes: number, total: number) => void, signal?: AbortSignal): Promise<WireSource>;
  /** What was sent to a worker, on this side. */
  blob(source: WireSource): Promise<Blob>;
  /** Whether a worker can share memory with this side. */
  sharesMemory(): boolean;
}
