import { defineConfig } from "vite";

// The backend that `npm run dev` passes API and WebSocket calls to.
const backend = "http://127.0.0.1:8080";

export default defineConfig({
  server: {
    host: "127.0.0.1",
    proxy: { "/v1": { target: backend, ws: true } },
  },
  build: {
    target: "es2022",
    outDir: "dist",
    emptyOutDir: true,
    // Everything is a file of its own: the page's CSP knows no inline code.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
  },
});
