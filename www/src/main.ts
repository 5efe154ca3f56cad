import "./style.css";
import { type DeviceChoice, type ScDiVa, ScDiVaError } from "scdiva";
import { ask } from "./busy";
import { chosenDevice, loadModel, rememberDevice } from "./device";
import { count } from "./format";
import { onChoice } from "./found";
import { forgetHeads, isHeadFile, openHead, restoreHeads, showHeads } from "./heads";
import { chosen, dropped, type Handed, type Matrix } from "./input";
import { chosenModel, onNewModel, rememberModel, showModels } from "./models";
import { keepOffline, watchRequests } from "./offline";
import { page } from "./page";
import { forgetLearned } from "./reference";
import { Samples } from "./samples";
import { isStudyFile } from "./studyfile";

const DEMO = new URL("../../models/demo/pbmc_simulated.h5ad", import.meta.url);

watchRequests();
page.deviceChoice.value = chosenDevice();
let model = open(chosenDevice(), chosenModel());
/** What is on the page: a matrix, or several. */
let samples: Samples | undefined;

function open(device: DeviceChoice, name: string | null, before?: Promise<ScDiVa>): Promise<ScDiVa> {
  const loading = loadModel(device, name, before).then(async (scdiva) => {
    // Of another model they are of no use.
    if (name === chosenModel()) await restoreHeads(scdiva);
    if (!before) showHeads(scdiva.info);
    return scdiva;
  });
  // Said on the page; whoever starts a run hears of it again.
  loading.catch(() => undefined);
  return loading;
}

// Parts that only results need come while there is time, not while a file is open; then everything is kept.
void model
  .catch(() => undefined)
  .then(() => import("./results/map"))
  .then(keepOffline);

page.deviceChoice.addEventListener("change", () => void reopen(page.deviceChoice.value as DeviceChoice, chosenModel(), "let another device compute"));
void showModels(useModel);
onNewModel(useModel);

async function useModel(name: string | null): Promise<boolean> {
  const isUsed = await reopen(chosenDevice(), name, "take another model");
  await showModels(useModel);
  return isUsed;
}

/** How often another device or model was asked for; the last one counts. */
let nAsked = 0;

/**
 * Another device or model. Until it is there everything stays, and where it does not come; then what runs ends, and the matrix on the page is
 * looked at again.
 */
async function reopen(device: DeviceChoice, name: string | null, doing: string): Promise<boolean> {
  const mine = ++nAsked;
  const before = model;
  let next: Promise<ScDiVa> | undefined;
  const wasAtStake = samples?.isAtStake ?? false;
  if (await mayLose(doing)) {
    next = open(device, name, before);
  }
  const isThere = (loading = before) => loading.then(() => true, () => false);
  const isBetter = next !== undefined && ((await isThere(next)) || !(await isThere()));
  // What was annotated while it came was not asked about.
  const mayReplace = isBetter && mine === nAsked && (wasAtStake || (await mayLose(doing)));
  if (!next || !mayReplace || mine !== nAsked) {
    void next?.then((scdiva) => scdiva.dispose()).catch(() => undefined);
    page.deviceChoice.value = chosenDevice();
    return false;
  }
  if (name !== chosenModel()) {
    forgetHeads();
    forgetLearned();
  }
  rememberDevice(device);
  rememberModel(name);
  model = next;
  void before.then((scdiva) => scdiva.dispose()).catch(() => undefined);
  await next.then(({ info }) => showHeads(info)).catch(() => undefined);
  renew();
  return true;
}

/** Whether nothing is lost by `doing` something else, or the visitor says that it may be. */
async function mayLose(doing: string): Promise<boolean> {
  const on = samples;
  return !on?.isAtStake || ask(() => on.question(doing));
}

function renew(): void {
  if (!samples) return;
  const { matrices, session } = samples;
  if (matrices.length === 1) return void session.renew();
  // What was annotated was the old one's.
  samples.close();
  samples = new Samples(matrices, () => model);
  void samples.session.look();
}

for (const input of [page.file, page.folder]) {
  input.addEventListener("change", () => {
    const handed = input.files && chosen(input.files);
    input.value = "";
    if (handed) void start(handed);
  });
}

page.headFile.addEventListener("change", () => {
  const file = page.headFile.files?.[0];
  page.headFile.value = "";
  if (file) void addHead(file);
});

/** A head on the model in use; the matrix on the page stays. */
async function addHead(file: File): Promise<void> {
  page.modelPanel.open = true;
  page.modelStatus.textContent = `Opening ${file.name} …`;
  try {
    const name = await openHead(file, await model);
    page.modelStatus.textContent = `The head ${name} is chosen now, under “Types” of what was found in a matrix.`;
  } catch (error) {
    page.modelStatus.textContent = error instanceof Error ? error.message : String(error);
  }
}

page.demo.addEventListener("click", () => {
  const demo: Matrix = {
    isDemo: true,
    name: "pbmc_simulated.h5ad",
    async input(signal) {
      const response = await fetch(DEMO, { signal });
      if (!response.ok) throw new ScDiVaError("network", `${DEMO.pathname}: ${response.status} ${response.statusText}`);
      return response.blob();
    },
  };
  void start({ matrices: [demo], ignored: [] }, true);
});

// Only where something would be lost: the browser asks in words of its own.
addEventListener("beforeunload", (event) => {
  if (samples?.isAtStake) event.preventDefault();
});

page.annotate.addEventListener("click", () => void samples?.annotate());
page.referenceLearn.addEventListener("click", () => void samples?.learn());
page.cancel.addEventListener("click", () => samples?.cancel());
onChoice((change) => void samples?.session.choose(change));

// What hangs from the bar closes as people expect it to.
const closeBar = (except: EventTarget | null) => {
  for (const open of document.querySelectorAll<HTMLDetailsElement>(".chip[open]")) if (!(except instanceof Node && open.contains(except))) open.open = false;
};
addEventListener("pointerdown", ({ target }) => closeBar(target));
addEventListener("keydown", ({ key }) => key === "Escape" && closeBar(null));

// A file that misses the drop area must not make the browser leave the page. Text may be dragged into fields.
const hasFiles = ({ dataTransfer }: DragEvent): boolean => dataTransfer?.types.includes("Files") ?? false;
addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  page.drop.classList.add("over");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) page.drop.classList.remove("over");
});
addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  page.drop.classList.remove("over");
  if (event.dataTransfer) void dropped(event.dataTransfer).then(start);
});

/** More files than this are not named. */
const N_NAMED = 6;

function showIgnored(names: string[]): void {
  const more = names.length > N_NAMED ? ` and ${count(names.length - N_NAMED)} more` : "";
  const own = names.some(isStudyFile) ? " An analysis (.scdiva) is opened by itself." : "";
  page.ignored.textContent = `Not opened, being no matrix or part of one: ${names.slice(0, N_NAMED).join(", ")}${more}.${own}`;
  page.ignored.hidden = names.length === 0;
}

/** Another matrix, or several: looked at, and annotated at once if there is nothing to decide. */
async function start({ matrices, ignored }: Handed, atOnce = false): Promise<void> {
  const [matrix] = matrices;
  if (!matrix) return;
  if (isHeadFile(matrix.name)) return addHead((await matrix.input(new AbortController().signal)) as File);
  if (!(await mayLose(`open ${matrix.name}`))) return;
  showIgnored(ignored);
  samples?.close();
  const opened = new Samples(matrices, () => model);
  samples = opened;
  if (isStudyFile(matrix.name)) return opened.session.reopen();
  await opened.session.look(atOnce);
  if (atOnce && opened === samples) await opened.annotate();
}
