// Which types are named: those of a head of the model, or of a head that was learned or opened here.

import { type Info, ScDiVa, ScDiVaError } from "scdiva";
import { page } from "./page";

/** Heads that are not the model's, which another device must be given again. */
const own = new Map<string, Blob>();

export const chosenHead = (): string | undefined => page.head.value || undefined;

/** Offers the heads there are, with `chosen` among them. */
export function showHeads({ model }: Info, chosen = page.head.value): void {
  const theirs = model.heads.length === 1 ? [new Option("the model’s own", "")] : model.heads.map((name) => new Option(name, name));
  page.head.replaceChildren(...theirs, ...model.ownHeads.map((name) => new Option(`${name} (of your own)`, name)));
  page.head.value = chosen;
  if (page.head.selectedIndex < 0) page.head.selectedIndex = 0;
  page.headChoice.hidden = page.head.options.length < 2;
  tissues = new Map(model.heads.map((name, i) => [model.heads.length === 1 ? "" : name, model.tissues[i] ?? []]));
  showTissues();
}

/** What the model's heads, as the page calls them, tell apart. Heads that were learned tell no tissues apart. */
let tissues = new Map<string, string[]>();
const knownTissues = (): string[] => tissues.get(page.head.value) ?? [];

function showTissues(): void {
  const known = knownTissues();
  const chosen = page.tissue.value;
  page.tissue.replaceChildren(new Option("as recognised", ""), new Option("any", "any"), ...known.map((name) => new Option(name, name)));
  chooseTissue(chosen);
  page.tissueChoice.hidden = known.length === 0;
}

page.head.addEventListener("change", showTissues);

/** Chooses a tissue, where the head tells it apart. */
export function chooseTissue(tissue: string): void {
  page.tissue.value = tissue;
  if (page.tissue.selectedIndex < 0) page.tissue.selectedIndex = 0;
}

/** The tissue to keep to; `undefined` leaves it to the head. */
export const chosenTissue = (): string | undefined => (knownTissues().length > 0 && page.tissue.value) || undefined;

/** A head that the model has by now is kept, and chosen. */
export function keepHead(name: string, file: Blob, { info }: ScDiVa): void {
  own.set(name, file);
  showHeads(info, name);
}

export const isHeadFile = (name: string): boolean => /\.safetensors$/i.test(name);

/** Takes the file of a head that was learned on this model. */
export async function openHead(file: File, scdiva: ScDiVa): Promise<string> {
  const name = file.name.replace(/\.safetensors$/i, "");
  if (file.size > MAX_BYTES) throw new ScDiVaError("file", `${file.name}: ${file.size} bytes, too large for a head; a model is added as a folder`);
  await scdiva.addHead(name, file);
  keepHead(name, file, scdiva);
  return name;
}

/** A head is a few hundred kilobytes; the weights of a model have the same ending. */
const MAX_BYTES = 1e8;

/** The same model on another device is given the heads again. */
export async function restoreHeads(scdiva: ScDiVa): Promise<void> {
  for (const [name, file] of own) await scdiva.addHead(name, file);
}

/** Another model knows none of them. */
export const forgetHeads = (): void => own.clear();
