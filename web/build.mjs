// build the page into the Python package: reproducible, from pinned versions
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { build } from "esbuild";
import { gzipSync } from "fflate";

const out = new URL("../src/sensorium/web/static/", import.meta.url);
const runtime = new URL("node_modules/onnxruntime-web/dist/", import.meta.url);

await rm(out, { recursive: true, force: true });
await mkdir(new URL("assets/", out), { recursive: true });
await build({
  entryPoints: { main: "src/main.ts", style: "src/style.css" },
  absWorkingDir: new URL(".", import.meta.url).pathname,
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "eof",
  outdir: new URL("assets/", out).pathname,
});
await copyFile(new URL("src/index.html", import.meta.url), new URL("index.html", out));
await copyFile(new URL("src/licenses.txt", import.meta.url), new URL("assets/licenses.txt", out));
// the runtime of exported dreams: one thread, CPU; compressed by a library whose result is the same on every machine
await copyFile(new URL("ort.wasm.bundle.min.mjs", runtime), new URL("assets/ort.mjs", out));
const wasm = gzipSync(await readFile(new URL("ort-wasm-simd-threaded.wasm", runtime)), { level: 9, mtime: 0 });
await writeFile(new URL("assets/ort.wasm.gz", out), wasm);
