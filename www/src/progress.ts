// A run while it runs: which stage, how far, how fast, on what, and what was found so far.

import type { AnalysisProgress, AnnotationBatch } from "scdiva";
import { h } from "./dom";
import { cells, count, duration, speed } from "./format";
import { page } from "./page";
import { categorical } from "./palette";

type Stage = AnalysisProgress["stage"] | "fit";

const ANNOTATING: [Stage, string][] = [
  ["tissue", "Recognise the tissue"],
  ["read", "Read"],
  ["annotate", "Name cells"],
  ["neighbours", "Find similar cells"],
  ["clusters", "Cluster and vote"],
  ["umap", "Draw the map"],
];
export const LEARNING: [Stage, string][] = [
  ["annotate", "Read the cells"],
  ["fit", "Fit the head"],
];
/** So many types are shown while they come. */
const N_LIVE = 8;
/** The counts change with every batch; the eye, and a screen reader, need not. */
const EVERY_MS = 150;

export class RunProgress {
  readonly #device: string;
  #counts = new Map<number, number>();
  #nCells = 0;
  #nNamed = 0;
  #shownAt = 0;
  readonly #stages: [Stage, string][];

  constructor(title: string, device: string, stages = ANNOTATING) {
    this.#device = device;
    this.#stages = stages;
    page.runTitle.textContent = title;
    page.progress.removeAttribute("value");
    page.progressText.textContent = "Reading …";
    page.live.replaceChildren();
    page.live.hidden = stages !== ANNOTATING;
    page.stages.replaceChildren(...stages.map(([stage, text]) => h("li", { data: { stage }, hidden: stage === "tissue" }, text)));
    page.run.hidden = false;
    this.#mark("read");
  }

  /** The head is fitted at once, on cells that were read. */
  fitting(): void {
    this.#mark("fit");
    page.progress.removeAttribute("value");
    page.progressText.textContent = "Fitting the head …";
  }

  show({ stage, nDone, nCells, cellsPerSecond, secondsLeft }: AnalysisProgress): void {
    this.#mark(stage);
    if (stage === "tissue") return this.#tissue(nDone, nCells);
    this.#nCells = Math.max(this.#nCells, nCells);
    if (nDone > 0) page.progress.value = nDone / nCells;
    else page.progress.removeAttribute("value");
    const parts = stage === "annotate" || nDone > 0 ? [`${count(nDone)} of ${count(nCells)} cells`] : [cells(this.#nCells)];
    if (secondsLeft !== undefined && nDone > 0) parts.push(`${speed(cellsPerSecond)} cells/s`, `${duration(secondsLeft)} left`);
    page.progressText.textContent = [...parts, this.#device].join(" · ");
  }

  /** Not every head tells tissues apart, so this stage is shown when it comes. */
  #tissue(nDone: number, nCells: number): void {
    (page.stages.firstElementChild as HTMLElement).hidden = false;
    page.progress.value = nDone / nCells;
    page.progressText.textContent = `${count(nDone)} of ${count(nCells)} cells, to recognise the tissue · ${this.#device}`;
  }

  batch({ label, labels }: AnnotationBatch): void {
    for (const code of label) this.#counts.set(code, (this.#counts.get(code) ?? 0) + 1);
    this.#nNamed += label.length;
    if (performance.now() - this.#shownAt < EVERY_MS) return;
    this.#shownAt = performance.now();
    const best = [...this.#counts].filter(([code]) => code >= 0).sort((a, b) => b[1] - a[1]);
    page.live.replaceChildren(
      ...best.slice(0, N_LIVE).map(([code, n]) => {
        const bar = h("span", { className: "live-bar", colour: categorical(code) });
        bar.style.inlineSize = `${(100 * n) / this.#nNamed}%`;
        return h("li", {}, h("span", { className: "live-name" }, labels[code]), h("span", { className: "live-track" }, bar), h("span", { className: "number" }, count(n)));
      }),
    );
  }

  #mark(stage: Stage): void {
    const at = this.#stages.findIndex(([name]) => name === stage);
    [...page.stages.children].forEach((item, i) => {
      item.className = i < at ? "done" : i === at ? "now" : "";
      if (i === at) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    });
  }
}
