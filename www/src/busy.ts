// A second file while one is annotated: the visitor decides.

import { page } from "./page";

/** Whether the running analysis is to be stopped for the other file. */
export function askToSwitch(running: string, other: string): Promise<boolean> {
  page.busyText.textContent = `${running} is still being annotated. Stop that and open ${other}?`;
  page.busy.showModal();
  return new Promise((resolve) => {
    const answer = (value: boolean) => {
      page.busy.close();
      resolve(value);
    };
    page.busyStay.onclick = () => answer(false);
    page.busySwitch.onclick = () => answer(true);
    // The Escape key.
    page.busy.oncancel = () => resolve(false);
  });
}
