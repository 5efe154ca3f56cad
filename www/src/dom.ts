// Elements made in one call. Styles are classes, or properties set by script: the security policy refuses style attributes.

export type Child = Node | string | number | null | undefined | false;
type Properties<E> = { [K in keyof E]?: E[K] } & { data?: Record<string, string>; aria?: Record<string, string>; colour?: string };

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element with properties, `data-` and `aria-` attributes, and what is inside. */
export function h<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  properties: Properties<HTMLElementTagNameMap[Name]> = {},
  ...children: Child[]
): HTMLElementTagNameMap[Name] {
  const { data, aria, colour, ...rest } = properties;
  const made = Object.assign(document.createElement(name), rest);
  Object.assign(made.dataset, data);
  for (const [key, value] of Object.entries(aria ?? {})) made.setAttribute(key === "role" ? key : `aria-${key}`, value);
  if (colour !== undefined) made.style.setProperty("--colour", colour);
  append(made, children);
  return made;
}

/** An SVG element with attributes. */
export function s<Name extends keyof SVGElementTagNameMap>(
  name: Name,
  attributes: Record<string, string | number> = {},
  ...children: Child[]
): SVGElementTagNameMap[Name] {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, typeof value === "number" ? String(round(value)) : value);
  append(made, children);
  return made;
}

function append(parent: Element, children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(typeof child === "number" ? String(child) : child);
  }
}

/** Two digits after the point are enough for a picture, and half the file. */
const round = (n: number): number => Math.round(n * 100) / 100;

/** A `<select>` of values and what they are called. */
export function select(label: string, options: [value: string, text: string][], changed: (value: string) => void): HTMLSelectElement {
  const made = h("select", { aria: { label } }, ...options.map(([value, text]) => new Option(text, value)));
  made.addEventListener("change", () => changed(made.value));
  return made;
}

export function button(face: Child, pressed: () => void, className = "quiet"): HTMLButtonElement {
  const made = h("button", { type: "button", className }, face);
  made.addEventListener("click", pressed);
  return made;
}

/** A short explanation where the question arises. */
export function help(question: string, ...answer: Child[]): HTMLDetailsElement {
  return h("details", { className: "help" }, h("summary", {}, question), h("p", {}, ...answer));
}

/** Hands a file to the visitor. */
export function save(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob);
  const link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  // The browser reads it after this turn.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
