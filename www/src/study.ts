// One analysis as the page holds it: the answers, what was asked of the matrix since, and the matrix itself while it is open.

import type { Analysis, CellColumn, DotPlot, Info, Marker } from "scdiva";

/** What is known of every cell without the matrix. */
export type Answers = Pick<
  Analysis,
  | "name" | "cells" | "labels" | "ontologyIds" | "label" | "probability" | "secondLabel" | "secondProbability" | "entropy" | "cluster"
  | "clusterNames" | "votedLabel" | "voteShare" | "umap" | "qc" | "report" | "inspection" | "model" | "minProbability" | "genes"
  | "tissue" | "tissueDecision"
>;

/** With what it was computed, for the methods paragraph. */
export interface Means {
  version: string;
  device: string;
  nParameters: number;
  /** A column of the file whose groups voted; `null` where clusters were computed. */
  groups: string | null;
  seconds: number;
}

/** The answers to questions, kept: they need not be asked again, and go into the saved analysis. */
export interface Kept {
  genes: Map<string, Float32Array>;
  columns: Map<string, CellColumn>;
  embeddings: Map<string, Float32Array>;
  markers: Map<string, Marker[][]>;
  dots: Map<string, DotPlot>;
}

/** Asked of an analysis that was reopened without its matrix. */
export class NeedsMatrix extends Error {
  constructor() {
    super("This analysis was reopened from a file, which does not hold the matrix. Open the matrix itself to ask this.");
  }
}

export class Study {
  readonly answers: Answers;
  readonly means: Means;
  readonly kept: Kept;
  /** Whether it was taken home in any form. */
  isSaved = false;
  readonly #live: Analysis | null;

  constructor(answers: Answers, means: Means, live: Analysis | null, kept: Kept = nothingKept()) {
    this.answers = answers;
    this.means = means;
    this.#live = live;
    this.kept = kept;
  }

  /** The open matrix; throws `NeedsMatrix` where there is none. */
  get live(): Analysis {
    if (!this.#live) throw new NeedsMatrix();
    return this.#live;
  }

  get isLive(): boolean {
    return this.#live !== null;
  }

  gene(name: string, signal?: AbortSignal): Promise<Float32Array> {
    return remembered(this.kept.genes, name, () => this.live.gene(name, signal));
  }

  column(name: string): Promise<CellColumn> {
    return remembered(this.kept.columns, name, () => this.live.column(name));
  }

  embedding(name: string): Promise<Float32Array> {
    return remembered(this.kept.embeddings, name, () => this.live.embedding(name));
  }

  /** Best genes of every group; `key` says which groups these are. */
  groupMarkers(key: string, groups: Int32Array, nGroups: number, n: number): Promise<Marker[][]> {
    return remembered(this.kept.markers, key, () => this.live.groupMarkers(groups, nGroups, n));
  }

  dotPlot(key: string, genes: string[], groups: Int32Array, nGroups: number): Promise<DotPlot> {
    return remembered(this.kept.dots, key, () => this.live.dotPlot(genes, groups, nGroups));
  }

  /** The name of the file without its endings, for what is saved. */
  get stem(): string {
    return this.answers.name.replace(/(\.(h5ad|h5|loom|mtx|zarr|zip|csv|tsv|txt|gz|scdiva))+$/i, "");
  }

  dispose(): void {
    this.#live?.dispose();
  }
}

function nothingKept(): Kept {
  return { genes: new Map(), columns: new Map(), embeddings: new Map(), markers: new Map(), dots: new Map() };
}

async function remembered<T>(kept: Map<string, T>, key: string, ask: () => Promise<T>): Promise<T> {
  const known = kept.get(key);
  if (known !== undefined) return known;
  const answer = await ask();
  kept.set(key, answer);
  return answer;
}

/** Data fields of an analysis alone, without its questions. */
export function answersOf(a: Answers): Answers {
  const { name, cells, labels, ontologyIds, label, probability, secondLabel, secondProbability, entropy, cluster, votedLabel, voteShare } = a;
  const { clusterNames, umap, qc, report, inspection, model, minProbability, genes, tissue, tissueDecision } = a;
  return {
    name, cells, labels, ontologyIds, label, probability, secondLabel, secondProbability, entropy, cluster, clusterNames,
    votedLabel, voteShare, umap, qc, report, inspection, model, minProbability, genes, tissue, tissueDecision,
  };
}

export function meansOf(info: Info, groups: string | null, seconds: number): Means {
  const { kind, name, gpu } = info.device;
  const device = kind === "cpu" ? `CPU (${name})` : `GPU (${name}${gpu?.software ? ", in software" : ""})`;
  return { version: info.version, device, nParameters: info.model.nParameters, groups, seconds };
}
