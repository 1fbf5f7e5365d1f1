import { test } from "node:test";
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { messages } from "./assets/zh.js";

const folder = new URL("./assets/", import.meta.url);
const sources = readdirSync(folder).filter((name) => name.endsWith(".js") && name !== "zh.js").map((name) => [name, readFileSync(new URL(name, folder), "utf8")]);

/** Every text between quotes that t(), tn() or msg() is given. */
function textsOf(source) {
  const found = new Set();
  const quoted = '"(?:[^"\\\\]|\\\\.)*"';
  const call = new RegExp(`\\b(t|tn|msg)\\(\\s*(?:[^"(),]*(?:\\([^()]*\\))?[^"(),]*,\\s*)?(${quoted})(?:,\\s*(${quoted}))?`, "g");
  for (const [, name, first, second] of source.matchAll(call)) {
    found.add(JSON.parse(first));
    if (name === "tn" && second) found.add(JSON.parse(second));
  }
  return found;
}

const SAME_EVERYWHERE = ["English", "中文"];

test("every text has its Chinese, and no Chinese is left over", () => {
  const wanted = new Set(sources.flatMap(([, source]) => [...textsOf(source)]));
  assert.ok(wanted.size > 300);
  assert.deepEqual([...wanted].filter((text) => !(text in messages) && !SAME_EVERYWHERE.includes(text)), []);
  assert.deepEqual(Object.keys(messages).filter((text) => !wanted.has(text)), []);
});

test("a translation keeps the places that are filled in", () => {
  const places = (text) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort();
  for (const [text, chinese] of Object.entries(messages)) assert.deepEqual(places(chinese), places(text), text);
});

test("t() is given a text, not something put together", () => {
  for (const [name, source] of sources) assert.doesNotMatch(source, /\bt\(`/, name);
});
