import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  // The package starts a module worker, and brings its module and its model as files.
  worker: { format: "es" },
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
});
