// What the visitor looks at: which labels count, what is coloured, hidden and selected. Parts of the results listen to it.

import { categorical, NONE } from "./palette";
import type { Study } from "./study";
import { Votes } from "./votes";

export type Change = "groups" | "colouring" | "shown" | "selection" | "layout";
export type Labelling = "own" | "voted";

/** What cells are coloured by. */
export type Colouring =
  | { by: "label" | "cluster" | "probability" | "entropy" | "nGenes" | "total" | "mitochondrial" }
  | { by: "column" | "gene"; name: string };

/** Cells in groups that have names and colours. */
export interface Groups {
  /** One a cell. */
  codes: Int32Array;
  names: string[];
  colours: string[];
  counts: Uint32Array;
}

export class View {
  readonly study: Study;
  threshold: number;
  labelling: Labelling = "own";
  colouring: Colouring = { by: "label" };
  /** Name of an embedding of the file; `null` is the UMAP computed here. */
  embedding: string | null = null;
  /** Groups of the colouring that are hidden, and the one that is pointed at. */
  hidden = new Set<number>();
  highlighted: number | null = null;
  selection: Uint32Array | null = null;
  #groups: Groups | undefined;
  #votes: Votes | null | undefined;
  readonly #listeners = new Map<Change, (() => void)[]>();

  constructor(study: Study) {
    this.study = study;
    this.threshold = study.answers.minProbability;
  }

  on(change: Change, listener: () => void): void {
    this.#listeners.set(change, [...(this.#listeners.get(change) ?? []), listener]);
  }

  emit(change: Change): void {
    if (change === "groups") this.#groups = this.#votes = undefined;
    for (const listener of this.#listeners.get(change) ?? []) listener();
  }

  setThreshold(threshold: number): void {
    this.threshold = threshold;
    this.emit("groups");
  }

  /** Cells by label, the threshold applied; after the labels come `unassigned` and `no known gene`. */
  get groups(): Groups {
    return (this.#groups ??= labelGroups(this));
  }

  /** The votes of clusters at this threshold; `null` where there are no clusters. */
  get votes(): Votes | null {
    const { cluster } = this.study.answers;
    return (this.#votes ??= cluster && new Votes(this.study.answers, cluster, this.threshold));
  }
}

function labelGroups(view: View): Groups {
  const { labels, label, probability } = view.study.answers;
  const [unassigned, unknown] = [labels.length, labels.length + 1];
  const votes = view.labelling === "voted" ? view.votes : null;
  const codes = new Int32Array(label.length);
  for (let cell = 0; cell < codes.length; cell++) {
    const own = label[cell] as number;
    if (own < 0) codes[cell] = unknown;
    else if (votes) codes[cell] = votes.of(cell) ?? unassigned;
    else codes[cell] = (probability[cell] as number) >= view.threshold ? own : unassigned;
  }
  const names = [...labels, "unassigned", "no known gene"];
  const colours = names.map((_, i) => (i < labels.length ? categorical(i) : NONE));
  return { codes, names, colours, counts: countsOf(codes, names.length) };
}

export function countsOf(codes: Int32Array, n: number): Uint32Array {
  const counts = new Uint32Array(n);
  for (const code of codes) if (code >= 0) (counts[code] as number)++;
  return counts;
}

/** Indices of the groups that have cells, the largest first; those without a label last. */
export function ranked({ counts }: Groups, nLabels = Number.POSITIVE_INFINITY): number[] {
  const rank = (i: number) => (i < nLabels ? 0 : 1);
  return [...counts.keys()].filter((i) => counts[i]).sort((a, b) => rank(a) - rank(b) || (counts[b] as number) - (counts[a] as number));
}
