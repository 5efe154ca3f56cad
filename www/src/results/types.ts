// The cell types as a table, and how sure a cell has to be to get a label.

import { h, help, select } from "../dom";
import { count, percent, probability } from "../format";
import { ranked, type Labelling, type View } from "../view";
import { panel } from "./panel";

export function typesPanel(view: View): HTMLElement {
  const body = h("tbody", {});
  const live = h("output", { id: "threshold-text", className: "hint" });
  const slider = h("input", { id: "threshold", type: "range", min: "0", max: "1", step: "0.01", value: String(view.threshold), aria: { describedby: "threshold-text" } });
  const fill = () => {
    body.replaceChildren(...rows(view));
    const { labels, cells } = view.study.answers;
    const unassigned = view.groups.counts[labels.length] as number;
    slider.setAttribute("aria-valuetext", percent(view.threshold));
    const says = view.labelling === "voted" ? "cells in clusters without a vote" : "cells unassigned";
    live.textContent = `${percent(view.threshold)}: ${count(unassigned)} of ${count(cells.length)} ${says}`;
  };
  let frame = 0;
  slider.addEventListener("input", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => view.setThreshold(slider.valueAsNumber));
  });
  const labelling = select("Labels", [["own", "each cell’s own label"], ["voted", "what similar cells agree on"]], (value) => {
    view.labelling = value as Labelling;
    view.emit("groups");
  });
  labelling.id = "labelling";
  const show = () => {
    labelling.value = view.labelling;
    fill();
  };
  view.on("groups", show);
  show();
  const head = ["Cell type", "Cells", "Share", "Mean probability", "Vote share"];
  return panel(
    "types-panel",
    "Cell types",
    h(
      "div",
      { className: "controls" },
      view.study.answers.cluster && h("label", {}, "Labels: ", labelling),
      h("label", { className: "threshold" }, "Least probability of a label ", slider),
      live,
    ),
    h(
      "div",
      { className: "scroll", tabIndex: 0, aria: { role: "region", label: "Cell types found" } },
      h(
        "table",
        { id: "types" },
        h("thead", {}, h("tr", {}, ...head.map((text, i) => h("th", { scope: "col", className: i === 1 || i > 2 ? "number" : "" }, text)))),
        body,
      ),
    ),
    help(
      "How sure is this?",
      "The probability is the model’s own and says how it decided among the types it knows. A type that it never saw gets the name of the nearest one, ",
      "often with a low probability: raise the threshold to leave such cells unassigned. The vote share says how many cells of a cluster ",
      "have the label that the cluster agrees on.",
    ),
  );
}

function rows(view: View): HTMLElement[] {
  const { groups, study, votes } = view;
  const { labels, ontologyIds, cells, probability: probabilities } = study.answers;
  const n = groups.names.length;
  const [sums, shares, voters] = [new Float64Array(n), new Float64Array(n), new Uint32Array(n)];
  groups.codes.forEach((code, cell) => {
    const p = probabilities[cell] as number;
    if (Number.isFinite(p)) (sums[code] as number) += p;
    const share = votes?.share(cell);
    if (share === undefined || !Number.isFinite(share)) return;
    (shares[code] as number) += share;
    (voters[code] as number)++;
  });
  return ranked(groups, labels.length).map((code) => {
    const nCells = groups.counts[code] as number;
    const name = h("th", { scope: "row" }, h("span", { className: "swatch", colour: groups.colours[code] as string }), groups.names[code]);
    const id = ontologyIds[code];
    if (id) name.append(ontologyLink(id, groups.names[code] as string));
    const known = code <= labels.length;
    return h(
      "tr",
      {},
      name,
      number(count(nCells)),
      share(nCells / cells.length),
      number(known ? probability((sums[code] as number) / nCells) : "–"),
      number(voters[code] && code < labels.length ? percent((shares[code] as number) / (voters[code] as number)) : "–"),
    );
  });
}

function ontologyLink(id: string, name: string): HTMLElement {
  const href = `https://www.ebi.ac.uk/ols4/ontologies/cl/classes?obo_id=${encodeURIComponent(id)}`;
  return h("a", { className: "id", href, rel: "noreferrer", target: "_blank", aria: { label: `${id}: ${name} in the Cell Ontology, another site` } }, id);
}

function share(value: number): HTMLElement {
  const meter = h("meter", { value, aria: { hidden: "true" } });
  return h("td", {}, h("div", { className: "share" }, meter, h("span", {}, percent(value))));
}

function number(text: string): HTMLElement {
  return h("td", { className: "number" }, text);
}
