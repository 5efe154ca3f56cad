import { defineConfig } from "vite";
import { serviceWorker } from "./sw.plugin.js";

export default defineConfig({
  // Addresses relative to the page, so that it can be served from any folder.
  base: "./",
  build: {
    target: "es2022",
    // A small file as a data: URL would be refused by the page's security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // What draws the map is one part, or deck.gl would ask for another while a file is open.
    rolldownOptions: { output: { codeSplitting: { groups: [{ name: "preload", test: /vite.preload-helper/ }, { name: "deck", test: /node_modules\/(@(deck|luma|math|loaders|probe)|mjolnir|gl-matrix)/ }] } } },
    chunkSizeWarningLimit: 900,
  },
  worker: { format: "es" },
  plugins: [serviceWorker()],
});
