import "./style.css";
import { type DeviceChoice, type ScDiVa, ScDiVaError } from "scdiva";
import { askToSwitch } from "./busy";
import { chosenDevice, loadModel, rememberDevice } from "./device";
import { onChoice } from "./found";
import { chosen, dropped, type Matrix } from "./input";
import { page } from "./page";
import { Session } from "./session";
import { isStudyFile } from "./studyfile";

const DEMO = new URL("../../models/demo/pbmc_simulated.h5ad", import.meta.url);

let model: Promise<ScDiVa>;
/** The matrix on the page. */
let session: Session | undefined;

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
  session?.close();
  void model.then((scdiva) => scdiva.dispose()).catch(() => undefined);
  open(choice);
});

for (const input of [page.file, page.folder]) {
  input.addEventListener("change", () => {
    const matrix = input.files && chosen(input.files);
    input.value = "";
    if (matrix) void start(matrix);
  });
}

page.demo.addEventListener("click", () => {
  void start(
    {
      name: "pbmc_simulated.h5ad",
      async input(signal) {
        const response = await fetch(DEMO, { signal });
        if (!response.ok) throw new ScDiVaError("network", `${DEMO.pathname}: ${response.status} ${response.statusText}`);
        return response.blob();
      },
    },
    true,
  );
});

page.annotate.addEventListener("click", () => void session?.annotate());
page.cancel.addEventListener("click", () => session?.cancel());
onChoice((change) => void session?.choose(change));

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
  if (matrix) void start(matrix);
});

/** Another matrix: looked at, and annotated at once if there is nothing to decide. */
async function start(matrix: Matrix, atOnce = false): Promise<void> {
  if (session?.isRunning && !(await askToSwitch(session.name, matrix.name))) return;
  session?.close();
  session = new Session(matrix, () => model);
  if (isStudyFile(matrix.name)) return session.reopen();
  await session.look(atOnce);
  if (atOnce) await session.annotate();
}
