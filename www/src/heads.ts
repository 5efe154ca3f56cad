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
  showTissue();
}

/** Heads that were learned tell no tissues apart. */
function showTissue(): void {
  page.tissueChoice.hidden = own.has(page.head.value);
}

page.head.addEventListener("change", showTissue);

/** The tissue to keep to; `undefined` leaves it to the head. */
export const tissueFor = (tissue: string | undefined): string | undefined => (own.has(page.head.value) ? undefined : tissue);

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
