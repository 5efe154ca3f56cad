// Which model is used, and those that the visitor brought.

import { h } from "./dom";
import { size } from "./format";
import { page } from "./page";
import { chosen } from "./input";
import { removeModel, storedModels, storeModel } from "./modelstore";

/** The model of the address, `?model=NAME`; `null` is the embedded one. */
export const chosenModel = (): string | null => new URLSearchParams(location.search).get("model");

function remember(name: string | null): void {
  const address = new URL(location.href);
  if (name === null) address.searchParams.delete("model");
  else address.searchParams.set("model", name);
  history.replaceState(null, "", address);
}

/** Shows the models there are; `changed` is called when another is to be used. */
export async function showModels(changed: () => void): Promise<void> {
  const stored = await storedModels();
  const now = chosenModel();
  page.modelShort.textContent = `Model: ${now ?? "mini"}`;
  const use = (name: string | null) => {
    remember(name);
    void showModels(changed);
    changed();
  };
  const choice = (name: string | null, text: string, note: string) => {
    const radio = h("input", { type: "radio", name: "model", checked: name === now });
    radio.addEventListener("change", () => use(name));
    return h("label", {}, radio, h("span", {}, text, h("span", { className: "hint" }, ` ${note}`)));
  };
  page.models.replaceChildren(
    h("div", {}, choice(null, "mini", "embedded; human blood")),
    ...stored.map(({ name, files }) => {
      const bytes = files.reduce((sum, file) => sum + file.size, 0);
      const remove = h("button", { type: "button", className: "small quiet", aria: { label: `Remove the model ${name}` } }, "Remove");
      remove.addEventListener("click", () => {
        void removeModel(name).then(() => (name === now ? use(null) : showModels(changed)));
      });
      return h("div", {}, choice(name, name, `${size(bytes)}, SHA-256 of the weights ${weights(files)?.slice(0, 12)}…`), remove);
    }),
  );
}

const weights = (files: { path: string; sha256: string }[]): string | undefined => files.find(({ path }) => path === "model.safetensors")?.sha256;

/** A folder that is chosen becomes a model of this browser, and is used at once. */
export function onNewModel(changed: () => void): void {
  page.modelFolder.addEventListener("change", () => {
    const [folder] = chosen(page.modelFolder.files as FileList);
    page.modelFolder.value = "";
    if (folder) void add(folder.name, () => folder.input(new AbortController().signal), changed);
  });
}

async function add(name: string, files: () => Promise<unknown>, changed: () => void): Promise<void> {
  page.modelStatus.textContent = `Storing ${name} …`;
  try {
    await storeModel(name, ((await files()) as { files: Record<string, File> }).files);
    page.modelStatus.textContent = `${name} is stored in this browser.`;
    remember(name);
    await showModels(changed);
    changed();
  } catch (error) {
    page.modelStatus.textContent = error instanceof Error ? error.message : String(error);
  }
}
