// The service worker: keeps every file of the page, so that it works without a network. Its list of files is filled in by the build
// (`sw.plugin.js`); its text changes with any of them, so that a new page replaces an old one as a whole.

const worker = self as unknown as ServiceWorkerGlobalScope;
/** Of the files below. */
declare const VERSION: string;
declare const FILES: string[];

const CACHE = `scdiva ${VERSION}`;

const PAGE = new URL("./", worker.location.href).pathname;

worker.addEventListener("install", (event) => {
  event.waitUntil(keepAll().then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      // Pages that are open still ask for files of the version before: those stay until the next. Names come in the order in which they were made.
      const others = (await caches.keys()).filter((name) => name.startsWith("scdiva ") && name !== CACHE);
      for (const name of others.slice(0, -1)) await caches.delete(name);
      await worker.clients.claim();
    })(),
  );
});

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || new URL(request.url).origin !== worker.location.origin) return;
  event.respondWith(answer(request));
  if (request.mode !== "navigate") event.waitUntil(tell(request.url));
});

async function keepAll(): Promise<void> {
  const cache = await caches.open(CACHE);
  await cache.addAll(FILES);
}

async function answer(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  // What else lies in the folder is not the page. The address may carry `?device=…`.
  const { pathname } = new URL(request.url);
  const isPage = request.mode === "navigate" && (pathname === PAGE || pathname === `${PAGE}index.html`);
  const kept = await cache.match(isPage ? "./" : request, { ignoreSearch: true });
  return kept ?? (await caches.match(request, { ignoreSearch: true })) ?? fetch(request);
}

/** The page counts what its worker asks for, too, which it cannot see by itself. */
async function tell(address: string): Promise<void> {
  for (const client of await worker.clients.matchAll()) client.postMessage({ request: address });
}
