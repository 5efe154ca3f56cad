// What the colours of the map mean. A click hides or shows a group; pointing at it, or focusing it, makes the others faint.

import { h } from "../dom";
import { count } from "../format";
import { css, ramp, theme } from "../palette";
import { ranked, type View } from "../view";
import type { Coloured } from "./colours";

/** More groups than this are not listed. */
const N_LISTED = 60;

export function legend(of: Coloured, view: View): HTMLElement {
  if (of.kind === "numbers") return rampLegend(of);
  const order = ranked(of, of.nNamed);
  const list = h("ul", { className: "legend", aria: { label: `${of.title}: show or hide` } });
  const point = (group: number | null) => {
    if (view.highlighted === group) return;
    view.highlighted = group;
    view.emit("shown");
  };
  for (const group of order.slice(0, N_LISTED)) {
    const isHidden = view.hidden.has(group);
    const swatch = h("span", { className: "swatch", colour: of.colours[group] as string });
    const item = h(
      "button",
      { type: "button", className: "legend-item", aria: { pressed: String(!isHidden) }, data: { group: String(group) } },
      swatch,
      h("span", { className: "legend-name" }, of.names[group]),
      h("span", { className: "number" }, count(of.counts[group] as number)),
    );
    item.addEventListener("click", () => {
      if (!view.hidden.delete(group)) view.hidden.add(group);
      item.setAttribute("aria-pressed", String(!view.hidden.has(group)));
      view.highlighted = null;
      view.emit("shown");
    });
    const isPointed = () => !view.hidden.has(group);
    item.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && isPointed() && point(group));
    item.addEventListener("focus", () => item.matches(":focus-visible") && isPointed() && point(group));
    item.addEventListener("pointerleave", () => point(null));
    item.addEventListener("blur", () => point(null));
    list.append(h("li", {}, item));
  }
  const more = order.length > N_LISTED && h("p", { className: "hint" }, `and ${count(order.length - N_LISTED)} more`);
  return h("div", {}, h("h4", {}, of.title), list, more);
}

function rampLegend({ title, range: [low, high], isClipped, format }: Extract<Coloured, { kind: "numbers" }>): HTMLElement {
  const steps = Array.from({ length: 24 }, (_, i) => {
    const step = h("span", {});
    step.style.backgroundColor = css(ramp(i / 23, theme().dark));
    return step;
  });
  return h(
    "div",
    {},
    h("h4", {}, title),
    h("div", { className: "ramp", aria: { hidden: "true" } }, ...steps),
    h("p", { className: "ramp-ends" }, h("span", {}, format(low)), h("span", {}, format(high))),
    isClipped && h("p", { className: "hint" }, "Values beyond the 1st and the 99th percentile have the colour of the end."),
  );
}
