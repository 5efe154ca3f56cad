/** Browsers start their GPU process anew after a crash, which some drivers cause at its first start; until then they offer no adapter. */
const RESTART_MS = 250;

/** The graphics card that the browser offers, asked for once more where there is none at first. */
export async function offeredAdapter(): Promise<GPUAdapter | null> {
  const { gpu } = navigator;
  const ask = () => gpu.requestAdapter().catch(() => null);
  if (!gpu) return null;
  const first = await ask();
  if (first) return first;
  await new Promise((resolve) => setTimeout(resolve, RESTART_MS));
  return ask();
}
