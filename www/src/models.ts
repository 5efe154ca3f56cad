// Which model is used, and those that the visitor brought.

import { h } from "./dom";
import { size } from "./format";
import { page } from "./page";
import { chosenFolder } from "./input";
import { type FetchedModel, fetchModel, modelFolder } from "./modelfetch";
import { removeModel, storedModels, storeModel } from "./modelstore";

/** The model of the address, `?model=NAME`; `null` is the embedded one. */
export const chosenModel = (): string | null => new URLSearchParams(location.search).get("model");

export function rememberModel(name: string | null): void {
  const address = new URL(location.href);
  address.searchParams.delete("add-model");
  if (name === null) address.searchParams.delete("model");
  else address.searchParams.set("model", name);
  history.replaceState(null, "", address);
  showName();
}

function showName(): void {
  page.modelShort.textContent = `Model: ${chosenModel() ?? "mini"}`;
}

/** Brings another model into use, the embedded one without a name, and says whether it did. */
type Use = (name: string | null) => Promise<boolean>;

/** Shows the models there are; `use` is called when another is to be used. */
export async function showModels(use: Use): Promise<void> {
  const stored = await storedModels();
  const now = chosenModel();
  showName();
  const choice = (name: string | null, text: string, note: string) => {
    const radio = h("input", { type: "radio", name: "model", checked: name === now });
    radio.addEventListener("change", () => void use(name));
    return h("label", {}, radio, h("span", {}, text, h("span", { className: "hint" }, ` ${note}`)));
  };
  page.models.replaceChildren(
    h("div", {}, choice(null, "mini", "embedded; human blood")),
    ...stored.map(({ name, files }) => {
      const bytes = files.reduce((sum, file) => sum + file.size, 0);
      const remove = h("button", { type: "button", className: "small quiet", aria: { label: `Remove the model ${name}` } }, "Remove");
      remove.addEventListener("click", () => {
        void (async () => {
          if (name === now && !(await use(null))) return;
          await removeModel(name);
          await showModels(use);
        })();
      });
      return h("div", {}, choice(name, name, `${size(bytes)}, SHA-256 of the weights ${weights(files)?.slice(0, 12)}…`), remove);
    }),
  );
}

const weights = (files: { path: string; sha256: string }[]): string | undefined => files.find(({ path }) => path === "model.safetensors")?.sha256;

/** A folder that is chosen, or one at an address of this site, becomes a model of this browser, and is used at once. */
export function onNewModel(use: Use): void {
  page.modelFolder.addEventListener("change", () => {
    const folder = chosenFolder(page.modelFolder.files as FileList);
    page.modelFolder.value = "";
    if (!folder) return;
    void add(use, async () => ({ ...folder, wanted: undefined }));
  });
  const fromAddress = (address: string) =>
    add(use, (signal) => {
      const folder = modelFolder(address);
      return fetchModel(folder, signal, (bytes, total) => {
        page.modelProgress.textContent = `${folder.href}: ${size(bytes)}${total === undefined ? "" : ` of ${size(total)}`}`;
      });
    });
  page.modelAddressForm.addEventListener("submit", (event) => {
    event.preventDefault();
    const address = page.modelAddress.value.trim();
    if (address) void fromAddress(address);
  });
  page.modelCancel.addEventListener("click", () => coming.abort());
  // A link that brings a model with it, `?add-model=models/immune/`; it is added once.
  const address = new URLSearchParams(location.search).get("add-model");
  if (address === null) return;
  rememberModel(chosenModel());
  page.modelPanel.open = true;
  void fromAddress(address);
}

/** Of the model that is on its way. */
let coming = new AbortController();

async function add(use: Use, bring: (signal: AbortSignal) => Promise<FetchedModel>): Promise<void> {
  coming.abort();
  coming = new AbortController();
  const { signal } = coming;
  page.modelCancel.hidden = false;
  page.modelStatus.textContent = "Getting the model …";
  try {
    const brought = await bring(signal);
    signal.throwIfAborted();
    page.modelCancel.hidden = true;
    page.modelStatus.textContent = `Storing ${brought.name} …`;
    const name = await storeModel(brought.name, brought.files, brought.wanted);
    // Another one was asked for meanwhile; this one is there all the same.
    if (signal !== coming.signal) return void showModels(use);
    await showModels(use);
    void use(name);
    page.modelStatus.textContent = `${name} is stored in this browser.`;
  } catch (error) {
    if (signal !== coming.signal) return;
    page.modelStatus.textContent = signal.aborted ? "Cancelled: no model was added." : error instanceof Error ? error.message : String(error);
  } finally {
    if (signal === coming.signal) {
      page.modelCancel.hidden = true;
      page.modelProgress.textContent = "";
    }
  }
}
