// What a visitor takes home: tables, the file with columns added, pictures, a paragraph, and the analysis itself.

import type { Progress } from "scdiva";
import { button, h, help, save } from "../dom";
import { isCancelled } from "../failure";
import { count } from "../format";
import { saveStudy } from "../studyfile";
import type { View } from "../view";
import { methods } from "./methods";
import { type Figure, panel, pngOf, svgOf } from "./panel";

/** Progress is read out. */
const EVERY_MS = 500;

export function takeHomePanel(view: View, map: () => Figure): HTMLElement {
  const { study } = view;
  const said = h("p", { className: "hint", role: "status", id: "saving" });
  let saving = new AbortController();
  const stop = button("Cancel", () => saving.abort(), "small quiet");
  stop.id = "saving-cancel";
  stop.hidden = true;
  /** What takes a signal can be cancelled. */
  const doing = (id: string, text: string, work: (signal: AbortSignal) => Promise<void>, className = "") => {
    const made = button(text, () => void run(), className);
    made.id = id;
    const run = async () => {
      if (made.ariaDisabled === "true") return;
      const { signal } = (saving = new AbortController());
      // Not `disabled`, which would take the focus from it.
      made.ariaDisabled = "true";
      stop.hidden = work.length === 0;
      said.textContent = "Writing …";
      try {
        await work(signal);
        said.textContent = made === copy ? "Copied." : "Saved.";
      } catch (error) {
        said.textContent = isCancelled(error) ? "Cancelled." : error instanceof Error ? error.message : String(error);
      } finally {
        made.ariaDisabled = null;
        if (signal === saving.signal) stop.hidden = true;
      }
    };
    return made;
  };
  const options = () => ({ minProbability: view.threshold });
  const paragraph = h("p", { id: "methods-text", className: "methods" });
  const write = () => (paragraph.textContent = methods(view));
  view.on("groups", write);
  write();
  const copy = doing("copy-methods", "Copy", async () => navigator.clipboard.writeText(paragraph.textContent ?? ""), "small quiet");
  const needs = !study.isLive && h("p", { className: "hint" }, "The table and the .h5ad are made from the matrix: open it again to save them.");
  let toldAt = 0;
  const onProgress = ({ nDone, nCells }: Progress) => {
    if (performance.now() - toldAt < EVERY_MS) return;
    toldAt = performance.now();
    said.textContent = `Writing … ${count(nDone)} of ${count(nCells)} cells`;
  };
  const keep = (blob: Blob, ending: string) => {
    save(blob, `${study.stem}.scdiva${ending}`);
    study.isSaved = true;
  };
  const files = [
    doing("save", "Table (.csv)", async () => keep(await study.live.csv(options()), ".csv")),
    doing("save-h5ad", "File with our columns (.h5ad)", async (signal) => keep(await study.live.h5ad({ ...options(), signal, onProgress }), ".h5ad"), "quiet"),
    doing("save-study", "Whole analysis (.scdiva)", async () => keep(await saveStudy(view), ""), "quiet"),
    doing("save-map-png", "Map (.png)", async () => save(await pngOf(map()), `${study.stem}.umap.png`), "quiet"),
    doing("save-map-svg", "Map (.svg)", async () => save(svgOf(map()), `${study.stem}.umap.svg`), "quiet"),
  ];
  if (!study.isLive) for (const made of files.slice(0, 2)) made.disabled = true;
  return panel(
    "take-home",
    "Take home",
    h("div", { className: "buttons" }, ...files),
    needs,
    h("div", { className: "buttons" }, said, stop),
    help(
      "What is in these files?",
      "The table and the .h5ad hold, for every cell, its label, probability, runner-up and entropy, its cluster’s vote, and the map; the threshold above applies. ",
      "In the .h5ad everything that your file had stays as it was. The .scdiva file opens on this page again, without the matrix.",
    ),
    h("h4", {}, "For the methods section"),
    paragraph,
    h("div", { className: "buttons" }, copy),
  );
}
