import "./style.css";
import { type DeviceChoice, type Progress, type ScDiVa, ScDiVaError } from "scdiva";
import { chosenDevice, loadModel, rememberDevice } from "./device";
import { count, duration, speed } from "./format";
import { page } from "./page";
import { showResults } from "./results";

const DEMO = new URL("../../models/demo/pbmc_simulated.h5ad", import.meta.url);

let model: Promise<ScDiVa>;
let running: AbortController | undefined;

function open(device: DeviceChoice): void {
  model = loadModel(device);
  // Said on the page; whoever starts a run hears of it again.
  model.catch(() => undefined);
}

page.deviceChoice.value = chosenDevice();
open(chosenDevice());

page.deviceChoice.addEventListener("change", () => {
  const choice = page.deviceChoice.value as DeviceChoice;
  rememberDevice(choice);
  running?.abort();
  void model.then((scdiva) => scdiva.dispose()).catch(() => undefined);
  open(choice);
});

page.file.addEventListener("change", () => {
  const file = page.file.files?.[0];
  page.file.value = "";
  if (file) void run(file.name, async () => file);
});

page.demo.addEventListener("click", () => {
  void run("pbmc_simulated.h5ad", async (signal) => {
    const response = await fetch(DEMO, { signal });
    if (!response.ok) throw new ScDiVaError("network", `${DEMO.pathname}: ${response.status} ${response.statusText}`);
    return response.blob();
  });
});

page.cancel.addEventListener("click", () => running?.abort());

// A file that misses the drop area must not make the browser leave the page.
addEventListener("dragover", (event) => {
  event.preventDefault();
  page.drop.classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) page.drop.classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  page.drop.classList.remove("over");
  const files = event.dataTransfer?.files;
  if (files?.length === 1 && files[0]) {
    const file = files[0];
    void run(file.name, async () => file);
  } else if (files && files.length > 1) {
    showError(new ScDiVaError("argument", `${files.length} files: one at a time, please`));
  }
});

/** Annotates one file and shows what came of it. */
async function run(name: string, file: (signal: AbortSignal) => Promise<Blob>): Promise<void> {
  if (running) {
    showError(new ScDiVaError("argument", `${name}: another file is being annotated; cancel it first`));
    return;
  }
  const controller = new AbortController();
  const { signal } = controller;
  running = controller;
  page.error.hidden = true;
  page.results.hidden = true;
  page.run.hidden = false;
  page.runTitle.textContent = `Annotating ${name}`;
  page.progress.removeAttribute("value");
  page.progressText.textContent = "Reading …";
  page.cancel.focus();
  // The page is free at once, also while the worker ends its last batch.
  const aborted = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  const annotated = async () => {
    const [scdiva, blob] = await Promise.all([model, file(signal)]);
    return scdiva.annotate(blob, { name, signal, onProgress: (progress) => signal.aborted || showProgress(progress) });
  };
  try {
    showResults(await Promise.race([annotated(), aborted]), name);
  } catch (error) {
    if (!(signal.aborted || (error instanceof ScDiVaError && error.code === "cancelled"))) showError(error);
  } finally {
    page.run.hidden = true;
    running = undefined;
  }
}

function showProgress({ nDone, nCells, cellsPerSecond, secondsLeft }: Progress): void {
  page.progress.value = nDone / nCells;
  const parts = [`${count(nDone)} of ${count(nCells)} cells`];
  if (secondsLeft !== undefined) parts.push(`${speed(cellsPerSecond)} cells/s`, `${duration(secondsLeft)} left`);
  page.progressText.textContent = parts.join(" · ");
}

const HELP: Partial<Record<string, string>> = {
  file: "The file was opened, and something in it is not as expected at the place named above.",
  io: "The file could not be read. Was it moved, changed or removed since you chose it?",
  network: "A part of this page did not arrive. Check the connection and reload.",
  "device-lost": "The graphics card was taken away three times, by its driver or by another program. Try again, or choose the processor.",
  internal: "This is a defect of scdiva. Please report it, with the text above.",
};

function showError(error: unknown): void {
  page.errorText.textContent = error instanceof Error ? error.message : String(error);
  page.errorHelp.textContent = (error instanceof ScDiVaError && HELP[error.code]) || "";
  page.error.hidden = false;
}
