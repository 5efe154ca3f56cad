import { defineConfig } from "vite";

export default defineConfig({
  // Addresses relative to the page, so that it can be served from any folder.
  base: "./",
  build: {
    target: "es2022",
    // A small file as a data: URL would be refused by the page's security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  worker: { format: "es" },
});
