// What a visitor takes home: tables, the file with columns added, pictures, a paragraph, and the analysis itself.

import { button, h, help, save } from "../dom";
import { saveStudy } from "../studyfile";
import type { View } from "../view";
import { methods } from "./methods";
import { type Figure, panel, pngOf, svgOf } from "./panel";

export function takeHomePanel(view: View, map: () => Figure): HTMLElement {
  const { study } = view;
  const said = h("p", { className: "hint", role: "status", id: "saving" });
  const doing = (id: string, text: string, work: () => Promise<void>, className = "") => {
    const made = button(text, () => void run(), className);
    made.id = id;
    const run = async () => {
      made.disabled = true;
      said.textContent = "Writing …";
      try {
        await work();
        said.textContent = "Saved.";
      } catch (error) {
        said.textContent = error instanceof Error ? error.message : String(error);
      } finally {
        made.disabled = false;
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
  const keep = (blob: Blob, ending: string) => {
    save(blob, `${study.stem}.scdiva${ending}`);
    study.isSaved = true;
  };
  const files = [
    doing("save", "Table (.csv)", async () => keep(await study.live.csv(options()), ".csv")),
    doing("save-h5ad", "File with our columns (.h5ad)", async () => keep(await study.live.h5ad(options()), ".h5ad"), "quiet"),
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
    said,
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
