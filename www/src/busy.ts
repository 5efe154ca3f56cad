// Work that would be lost, a run or results that were not saved: the visitor decides.

import { page } from "./page";

/** What is asked, and what the two buttons say. */
export interface Question {
  text: string;
  stay: string;
  leave: string;
}

let words: () => Question;
let settle: (isLeft: boolean) => void = () => undefined;

/** Whether that is to be given up. The words are those of the moment. */
export function ask(question: () => Question): Promise<boolean> {
  // One before is answered by it.
  settle(false);
  words = question;
  say();
  if (!page.busy.open) page.busy.showModal();
  return new Promise((resolve) => (settle = resolve));
}

function answer(isLeft: boolean): void {
  const asked = settle;
  settle = () => undefined;
  page.busy.close();
  asked(isLeft);
}

/** What was asked about is another by now. */
export function askAnew(): void {
  if (page.busy.open) say();
}

function say(): void {
  const { text, stay, leave } = words();
  page.busyText.textContent = text;
  page.busyStay.textContent = stay;
  page.busySwitch.textContent = leave;
}

page.busyStay.addEventListener("click", () => answer(false));
page.busySwitch.addEventListener("click", () => answer(true));
// The Escape key.
page.busy.addEventListener("close", () => page.busy.open || answer(false));
