// What groups of similar cells agree on, counted anew as the threshold moves; by the rule of the library's own `vote`.

import type { Answers } from "./study";

export class Votes {
  readonly #cluster: Int32Array;
  /** A label each group, −1 for none; and the share of the group's cells that have it. */
  readonly #label: Int32Array;
  readonly #share: Float32Array;

  constructor({ label, probability, labels, clusterNames }: Answers, cluster: Int32Array, threshold: number) {
    const [nGroups, nLabels] = [clusterNames.length, labels.length];
    const sizes = new Uint32Array(nGroups);
    const counts = new Uint32Array(nGroups * nLabels);
    const sums = new Float64Array(nGroups * nLabels);
    cluster.forEach((group, cell) => {
      if (group < 0) return;
      (sizes[group] as number)++;
      const [code, p] = [label[cell] as number, probability[cell] as number];
      if (code < 0 || !(p >= threshold)) return;
      const at = group * nLabels + code;
      (counts[at] as number)++;
      (sums[at] as number) += p;
    });
    this.#cluster = cluster;
    this.#label = new Int32Array(nGroups).fill(-1);
    this.#share = new Float32Array(nGroups);
    for (let group = 0; group < nGroups; group++) {
      let best = -1;
      for (let at = group * nLabels; at < (group + 1) * nLabels; at++) {
        const [n, most] = [counts[at] as number, best < 0 ? 0 : (counts[best] as number)];
        // Of equally frequent ones that with the higher sum of probabilities, then the first.
        if (n > most || (n > 0 && n === most && (sums[at] as number) > (sums[best] as number))) best = at;
      }
      if (best < 0) continue;
      this.#label[group] = best % nLabels;
      this.#share[group] = (counts[best] as number) / (sizes[group] as number);
    }
  }

  /** The label of the cell's group; `undefined` for a cell in none, or whose group did not vote. */
  of(cell: number): number | undefined {
    const label = this.#label[this.#cluster[cell] as number] ?? -1;
    return label < 0 ? undefined : label;
  }

  /** The share of its group's cells that have that label. */
  share(cell: number): number {
    return this.#share[this.#cluster[cell] as number] ?? Number.NaN;
  }
}
