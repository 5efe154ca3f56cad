// Which device computes, why, and what would make it faster.

import { type DeviceChoice, ScDiVa, type ScDiVaError, type Support } from "scdiva";
import { size } from "./format";
import { openModel } from "./modelstore";
import { page } from "./page";

const CHOICES: readonly string[] = ["auto", "gpu", "cpu"];

/** The choice of the address, `?device=gpu`; `auto` without one. */
export function chosenDevice(): DeviceChoice {
  const choice = new URLSearchParams(location.search).get("device") ?? "auto";
  return CHOICES.includes(choice) ? (choice as DeviceChoice) : "auto";
}

/** Puts the choice into the address, so that a reload keeps it. */
export function rememberDevice(choice: DeviceChoice): void {
  const address = new URL(location.href);
  if (choice === "auto") address.searchParams.delete("device");
  else address.searchParams.set("device", choice);
  history.replaceState(null, "", address);
}

/** How often a model was loaded: the page tells of the last one. */
let nLoads = 0;

/** Loads a model, the embedded one without a `name`, and says on the page which device it is on. Where that fails, the one `before` stays in use. */
export async function loadModel(device: DeviceChoice, name: string | null, before?: Promise<ScDiVa>): Promise<ScDiVa> {
  const load = ++nLoads;
  page.deviceName.textContent = "Getting the model ready …";
  page.deviceShort.textContent = "Getting the model …";
  page.deviceHint.hidden = true;
  // Asked while the model comes, so that it waits for nothing.
  const offered = device === "cpu" ? undefined : ScDiVa.supported();
  try {
    const scdiva = await ScDiVa.load({
      device,
      ...(name !== null && { model: await openModel(name) }),
      onProgress({ receivedBytes, totalBytes }) {
        if (load !== nLoads) return;
        const of = totalBytes === undefined ? "" : ` of ${size(totalBytes)}`;
        page.deviceName.textContent = `Getting the model: ${size(receivedBytes)}${of}`;
      },
    });
    const support = await offered;
    if (load === nLoads) describe(scdiva, device, support);
    return scdiva;
  } catch (error) {
    const problem = device === "gpu" ? "The graphics card cannot be used" : "The model could not be loaded";
    const [old, support] = await Promise.all([before?.catch(() => undefined), offered]);
    if (load !== nLoads) throw error;
    if (old) {
      describe(old, chosenDevice(), support);
      hint(`${problem}, so that all stays as it was.`, (error as ScDiVaError).message, device === "gpu" ? WHAT_TO_DO : "");
      throw error;
    }
    page.deviceName.textContent = problem;
    page.deviceShort.textContent = "Not ready";
    hint((error as ScDiVaError).message, device === "gpu" ? `${WHAT_TO_DO} Or let the processor compute.` : "Reload the page to try again.");
    throw error;
  }
}

function describe(scdiva: ScDiVa, choice: DeviceChoice, support: Support | undefined): void {
  const { device, version } = scdiva.info;
  const what = device.kind === "cpu" ? "Processor" : device.gpu?.software ? "Software WebGPU adapter" : "Graphics card";
  page.deviceName.textContent = `${what}: ${device.name}`;
  page.deviceShort.textContent = device.kind === "cpu" ? "On the processor" : "On the graphics card";
  page.version.textContent = `scdiva ${version}`;
  if (device.kind === "gpu" && device.gpu?.software) {
    hint("This WebGPU adapter computes on the processor, and slower than the processor’s own path does.", "Choose “processor” or “best available”.");
  }
  if (device.kind === "gpu" || choice === "cpu" || !support) return;
  const { webgpu, software } = support;
  if (!webgpu) hint("This browser offers no WebGPU, so the processor computes. Results are the same; it takes longer.", WHAT_TO_DO);
  else if (software) hint("WebGPU is here in software only, so the processor computes. Results are the same; it takes longer.", WHAT_TO_DO);
  else hint("The graphics card could not be used, so the processor computes. Results are the same; it takes longer.", device.reason ?? "");
}

const WHAT_TO_DO =
  "To use a graphics card: Chrome or Edge 113 or newer, Safari 26, or Firefox 141 on Windows and 145 on a Mac, with hardware acceleration " +
  "switched on in the browser’s settings and the graphics driver up to date.";

function hint(...lines: string[]): void {
  page.deviceHint.replaceChildren(
    ...lines.filter(Boolean).map((line) => {
      const paragraph = document.createElement("p");
      paragraph.textContent = line;
      return paragraph;
    }),
  );
  page.deviceHint.hidden = false;
}
