import "./style.css";
import { type DeviceChoice, type Progress, type ScDiVa, ScDiVaError } from "scdiva";
import { chosenDevice, loadModel, rememberDevice } from "./device";
import { count, duration, speed } from "./format";
import { type Choices, onChoice, showFound } from "./found";
import { chosen, dropped, type Matrix } from "./input";
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

for (const input of [page.file, page.folder]) {
  input.addEventListener("change", () => {
    const matrix = input.files && chosen(input.files);
    input.value = "";
    if (matrix) start(matrix);
  });
}

page.demo.addEventListener("click", () => {
  start({
    name: "pbmc_simulated.h5ad",
    async input(signal) {
      const response = await fetch(DEMO, { signal });
      if (!response.ok) throw new ScDiVaError("network", `${DEMO.pathname}: ${response.status} ${response.statusText}`);
      return response.blob();
    },
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
  const matrix = event.dataTransfer && dropped(event.dataTransfer);
  if (matrix) start(matrix);
});

/** The matrix on the page, and what was chosen for it. */
let shown: { matrix: Matrix; choices: Choices } | undefined;

/** Another matrix: nothing is chosen for it yet. */
function start(matrix: Matrix): void {
  if (running) {
    showError(new ScDiVaError("argument", `${matrix.name}: another file is being annotated; cancel it first`));
    return;
  }
  page.found.hidden = true;
  page.resultsStatus.textContent = "";
  shown = { matrix, choices: {} };
  void run(matrix, {}).then((done) => done && page.results.focus());
  page.cancel.focus();
}

// The same matrix, in another way. The focus stays where the choice was made, so what came of it is said.
onChoice((change) => {
  if (!shown) return;
  shown.choices = { ...shown.choices, ...change };
  running?.abort();
  void run(shown.matrix, shown.choices).then((done) => {
    if (done) page.resultsStatus.textContent = "The cells were annotated again with this choice.";
  });
});

/** Looks at a matrix, says what was found, annotates it and shows what came of it. Says whether it came so far. */
async function run({ name, input }: Matrix, choices: Choices): Promise<boolean> {
  const controller = new AbortController();
  const { signal } = controller;
  running = controller;
  page.error.hidden = true;
  page.results.hidden = true;
  page.run.hidden = false;
  page.runTitle.textContent = `Annotating ${name}`;
  page.progress.removeAttribute("value");
  page.progressText.textContent = "Reading …";
  page.resultsStatus.textContent = "";
  // The page is free at once, also while the worker ends its last batch.
  const aborted = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  const options = { ...choices, name, signal };
  let isLookedAt = false;
  const annotated = async () => {
    const [scdiva, matrix] = await Promise.all([model, input(signal)]);
    const found = await scdiva.inspect(matrix, options);
    signal.throwIfAborted();
    showFound(found, choices);
    isLookedAt = true;
    if (found.problem !== null) throw new Unusable(found.problem);
    return scdiva.annotate(matrix, { ...options, onProgress: (progress) => signal.aborted || showProgress(progress) });
  };
  try {
    showResults(await Promise.race([annotated(), aborted]), name);
    return true;
  } catch (error) {
    if (!(signal.aborted || (error instanceof ScDiVaError && error.code === "cancelled"))) showError(error);
    return false;
  } finally {
    // Unless another run took its place.
    if (running === controller) {
      page.run.hidden = true;
      running = undefined;
      // What stands there was found with other choices.
      if (!isLookedAt) page.report.replaceChildren();
    }
  }
}

/** The matrix can be read, and not be annotated as it is. */
class Unusable extends Error {}

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
  const isUnusable = error instanceof Unusable;
  const message = error instanceof Error ? error.message : String(error);
  page.errorTitle.textContent = isUnusable ? "This matrix cannot be annotated as it is" : "That did not work";
  // The command's options mean nothing on a page.
  page.errorText.textContent = isUnusable ? message.replace(/ \(`--[^`]*`\)/g, "") : message;
  page.errorHelp.textContent = isUnusable
    ? "Nothing was computed. Change a choice under “What was found”, if that is the reason, and it goes on; or open another file."
    : (error instanceof ScDiVaError && HELP[error.code]) || "";
  page.error.hidden = false;
}
