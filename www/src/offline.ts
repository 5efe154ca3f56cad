// That nothing leaves the machine, made checkable: how many requests there were, to whom, and since when none; and whether the page is
// kept for use without a network.

import { count } from "./format";
import { page } from "./page";

interface Asked {
  address: string;
  at: number;
}

/** By this page, and what the service worker says of its workers. */
const asked: Asked[] = [];
let openedAt: number | undefined;

/** Called when a file of the visitor's is opened: from here on nothing should be asked for. */
export function fileOpened(): void {
  openedAt = performance.now();
  show();
}

export function watchRequests(): void {
  new PerformanceObserver((list) => {
    for (const { name, startTime } of list.getEntries()) note(name, startTime);
  }).observe({ type: "resource", buffered: true });
  show();
}

function note(address: string, at: number): void {
  if (!/^https?:/.test(address)) return;
  // What the page asked for is told twice: by the browser, and by the service worker through which it went.
  if (asked.some((other) => other.address === address && Math.abs(other.at - at) < 2000)) return;
  asked.push({ address, at });
  show();
}

function show(): void {
  const elsewhere = asked.filter(({ address }) => new URL(address).origin !== location.origin);
  const to = elsewhere.length === 0 ? "all to this site" : `${count(elsewhere.length)} of them to another site`;
  const parts = [`${count(asked.length)} requests so far, ${to}`];
  if (openedAt !== undefined) {
    const since = asked.filter(({ at }) => at > (openedAt as number)).length;
    parts.push(since === 0 ? "none since your file was opened" : `${count(since)} since your file was opened, for parts of this page or a model that you added`);
  }
  page.requests.textContent = `${parts.join("; ")}.`;
}

/** Keeps the page in the browser once everything that is needed first has arrived. */
export async function keepOffline(): Promise<void> {
  if (!("serviceWorker" in navigator) || !import.meta.env.PROD) {
    page.offline.textContent = "This browser cannot keep the page for use without a network.";
    return;
  }
  navigator.serviceWorker.addEventListener("message", ({ data }: MessageEvent<{ request: string }>) => note(data.request, performance.now()));
  try {
    await navigator.serviceWorker.register("./sw.js");
    await navigator.serviceWorker.ready;
    page.offline.textContent = "Works offline now: the page and its model are kept in this browser.";
    page.offline.dataset["ready"] = "";
    page.privateSummary.textContent = "Private · works offline";
  } catch (error) {
    page.offline.textContent = `The page could not be kept for use without a network: ${error instanceof Error ? error.message : String(error)}`;
  }
}
