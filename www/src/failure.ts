// What did not work, in the program's own words, and what a visitor can do about it.

import { ScDiVaError } from "scdiva";
import { page } from "./page";

/** The matrix can be read, and not be annotated as it is. */
export class Unusable extends Error {}

const HELP: Partial<Record<string, string>> = {
  file: "The file was opened, and something in it is not as expected at the place named above.",
  io: "The file could not be read. Was it moved, changed or removed since you chose it?",
  network: "A part of this page did not arrive. Check the connection and reload.",
  "device-lost": "The graphics card was taken away three times, by its driver or by another program. Try again, or choose the processor.",
  memory: "There was no more memory for this page. Close other tabs and try again; or choose the processor, annotate fewer cells at once, or use the command, which has all of the machine’s memory.",
  internal: "This is a defect of scdiva. Please report it, with the text above.",
};

export function showError(error: unknown): void {
  const isUnusable = error instanceof Unusable;
  const message = error instanceof Error ? error.message : String(error);
  page.errorTitle.textContent = isUnusable ? "This matrix cannot be annotated as it is" : "That did not work";
  // The command's options mean nothing on a page.
  page.errorText.textContent = isUnusable ? message.replace(/ \(`--[^`]*`\)/g, "") : message;
  page.errorHelp.textContent = isUnusable
    ? "Nothing was computed. Change a choice under “What was found”, if that is the reason; or open another file."
    : (error instanceof ScDiVaError && HELP[error.code]) || "";
  page.error.hidden = false;
}

export const isCancelled = (error: unknown): boolean =>
  (error instanceof ScDiVaError && error.code === "cancelled") || (error instanceof DOMException && error.name === "AbortError");
