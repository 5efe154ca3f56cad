// The results, from top to bottom.

import { h } from "../dom";
import { count, cells as inWords, percent } from "../format";
import { page } from "../page";
import { forgetThemed } from "../palette";
import type { Study } from "../study";
import { ranked, View } from "../view";
import { compositionPanel } from "./composition";
import { mapPanel } from "./mappanel";
import { markersPanel } from "./markers";
import { qcPanel } from "./qc";
import { takeHomePanel } from "./takehome";
import { typesPanel } from "./types";

let dispose: () => void = () => undefined;

/** Everything there is to see of an analysis. Parts that need time of their own fill in when they have it. */
export function showResults(study: Study, look: Partial<View> = {}): View {
  dispose();
  forgetThemed();
  const view = Object.assign(new View(study), look);
  const summary = h("p", { className: "summary", id: "summary" });
  const summarise = () => summary.replaceChildren(...sentence(view));
  view.on("groups", summarise);
  summarise();
  const map = mapPanel(view);
  dispose = map.dispose;
  const panels = [
    h("div", { className: "results-head" }, h("h2", { id: "results-title" }, study.answers.name), summary, tissue(view)),
    map.element,
    typesPanel(view),
    markersPanel(view),
    compositionPanel(view),
    qcPanel(view),
    takeHomePanel(view, map.figure),
  ];
  page.results.replaceChildren(...panels.filter((part) => part !== false));
  page.results.hidden = false;
  map.start();
  return view;
}

/** Which types could be named at all. */
function tissue({ study }: View): HTMLElement | false {
  const { tissueDecision } = study.answers;
  return tissueDecision !== "" && h("p", { className: "hint", id: "tissue-decision" }, `${tissueDecision}.`);
}

function sentence(view: View): (string | Node)[] {
  const { groups, study, threshold, labelling } = view;
  const { labels, probability, cells } = study.answers;
  const best = ranked(groups, labels.length).filter((i) => i < labels.length);
  const named = best.slice(0, 3).map((i) => `${groups.names[i]} (${percent((groups.counts[i] as number) / cells.length)})`);
  const unassigned = groups.counts[labels.length] as number;
  const finite = probability.filter(Number.isFinite);
  const mean = finite.reduce((a, b) => a + b, 0) / finite.length;
  const strong = h("strong", {}, `${inWords(cells.length)}, ${count(best.length)} cell ${best.length === 1 ? "type" : "types"}`);
  const parts = [named.length > 0 ? `: mostly ${named.join(", ")}. ` : ". ", `Mean probability ${percent(mean)}`];
  if (labelling === "voted") parts.push("; labels by the vote of similar cells.");
  else parts.push(threshold > 0 ? `; ${inWords(unassigned)} below ${percent(threshold)} ${unassigned === 1 ? "is" : "are"} left unassigned.` : ".");
  return [strong, parts.join("")];
}

