// Draws a diagram: `node draw.js docs/architecture.dot` writes docs/architecture.svg next to it.
//
// The SVG names the SHA-256 of its source, so that a test can tell whether it is up to date without Graphviz. Its
// colors are CSS variables, so that it is readable in light and in dark pages.

import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { argv } from "node:process";
import { instance } from "@viz-js/viz";

const STYLE = `<style>
  svg { --ink: #1f2328; --line: #59636e; --front: #ddf4ff; --shared: #fff8c5; --target: #dafbe1; --check: #fbefff; }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #f0f6fc; --line: #9198a1; --front: #0c2d4d; --shared: #3b2e0a; --target: #0f3a1f; --check: #33194d; }
  }
  text { fill: var(--ink); font-family: Verdana, "DejaVu Sans", sans-serif; }
  .edge path { stroke: var(--line); }
  .edge polygon { stroke: var(--line); fill: var(--line); }
  .node path, .node polygon { stroke: var(--line); }
  .front path, .front polygon { fill: var(--front); }
  .shared path, .shared polygon { fill: var(--shared); }
  .target path, .target polygon { fill: var(--target); }
  .check path, .check polygon { fill: var(--check); }
</style>`;

const [source] = argv.slice(2);
const dot = (await readFile(source, "utf8")).replaceAll("\r\n", "\n");
const digest = createHash("sha256").update(dot).digest("hex");
const drawn = (await instance()).renderString(dot, { format: "svg" });
const svg = drawn
  .slice(drawn.indexOf("<svg"))
  .replace(/(<svg[^>]*>)/, `$1\n<!-- source sha256: ${digest} -->\n${STYLE}`)
  // Graphviz writes a white background and black strokes as attributes, which CSS then overrides
  .replace(/<polygon fill="white"[^>]*\/>/, "")
  .replaceAll(/ (?:font-family|fill)="[^"]*"(?=[^>]*>)/g, (found) => (found.includes('fill="none"') ? found : ""));
await writeFile(source.replace(/\.dot$/, ".svg"), `${svg.trim()}\n`);
