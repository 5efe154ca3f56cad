// A gene by its name, completed from those of the file.

import { h } from "../dom";
import type { View } from "../view";

const N_OFFERED = 12;

/** `picked` is told the gene, or `null` when the name is taken away; `show` puts a name there. */
export function genePicker(view: View, picked: (name: string | null) => void): { element: HTMLElement; show: (name: string) => void } {
  const { genes } = view.study.answers;
  const known = view.study.isLive ? genes : [...view.study.kept.genes.keys()];
  const byUpper = new Map(known.map((name) => [name.toUpperCase(), name]));
  const offers = h("datalist", { id: "gene-names" });
  const input = h("input", { id: "gene", type: "search", placeholder: "gene, such as CD3E", autocomplete: "off", spellcheck: false, aria: { label: "Colour by a gene" } });
  input.setAttribute("list", offers.id);
  input.addEventListener("input", () => {
    const typed = input.value.trim().toUpperCase();
    input.setCustomValidity("");
    const starts = typed === "" ? [] : known.filter((name) => name.toUpperCase().startsWith(typed));
    offers.replaceChildren(...starts.sort((a, b) => a.length - b.length).slice(0, N_OFFERED).map((name) => new Option(name, name)));
  });
  input.addEventListener("change", () => {
    const typed = input.value.trim();
    if (typed === "") return picked(null);
    const name = byUpper.get(typed.toUpperCase());
    input.setCustomValidity(name ? "" : view.study.isLive ? `${typed}: no gene of this file` : `${typed}: not among the genes kept in this analysis`);
    if (!name) return void input.reportValidity();
    input.value = name;
    picked(name);
  });
  return { element: h("span", { className: "gene" }, input, offers), show: (name) => (input.value = name) };
}
