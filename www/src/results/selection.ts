// What was drawn around: how many of which type, and what sets these cells apart.

import { h } from "../dom";
import { count, cells as inWords, percent } from "../format";
import { countsOf, ranked, type View } from "../view";

const N_TYPES = 6;
const N_GENES = 12;

export function selectionPanel(view: View): HTMLElement {
  const element = h("div", { id: "selection", className: "selection", hidden: true, role: "status" });
  let asking = new AbortController();
  const show = () => {
    asking.abort();
    const cells = view.selection;
    element.hidden = cells === null;
    if (!cells) return;
    asking = new AbortController();
    const markers = h("p", { className: "chips", id: "selection-markers" }, "Comparing with all other cells …");
    element.replaceChildren(h("h4", {}, `${inWords(cells.length)} selected`), h("p", { id: "selection-types" }, types(view, cells)), markers);
    void ask(view, cells, markers, asking.signal);
  };
  view.on("selection", show);
  view.on("groups", () => view.selection && show());
  return element;
}

function types(view: View, cells: Uint32Array): string {
  const { groups, study } = view;
  const codes = Int32Array.from(cells, (cell) => groups.codes[cell] as number);
  const counts = countsOf(codes, groups.names.length);
  const order = ranked({ ...groups, counts }, study.answers.labels.length);
  const parts = order.slice(0, N_TYPES).map((i) => `${groups.names[i]} ${count(counts[i] as number)} (${percent((counts[i] as number) / cells.length)})`);
  return parts.join(" · ") + (order.length > N_TYPES ? ` · ${order.length - N_TYPES} more types` : "");
}

async function ask(view: View, cells: Uint32Array, into: HTMLElement, signal: AbortSignal): Promise<void> {
  try {
    const markers = await view.study.live.markers(cells, N_GENES, signal);
    if (signal.aborted) return;
    const chips = markers.map(({ gene, log2FoldChange, shareInside, shareOutside }) => {
      const title = `log2 fold change ${log2FoldChange.toFixed(1)}; seen in ${percent(shareInside)} of these cells, ${percent(shareOutside)} of the others`;
      return h("span", { className: "gene-chip", title }, gene);
    });
    into.replaceChildren(h("span", { className: "hint" }, "Higher here than elsewhere: "), ...chips);
  } catch (error) {
    if (!signal.aborted) into.textContent = error instanceof Error ? error.message : String(error);
  }
}
