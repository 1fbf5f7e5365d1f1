import { test } from "node:test";
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { fromServer, useMessages } from "./assets/dom.js";
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

test("what the server says of itself is said in the person's language, and what is in it stays", () => {
  useMessages(messages);
  assert.equal(fromServer("no gateway at ws://127.0.0.1:18789: nobody listens"), "ws://127.0.0.1:18789 处没有网关：无人监听");
  assert.equal(fromServer("reading failed: disk <b>x</b>; it is tried again"), "读取失败：disk <b>x</b>；将重试");
  assert.equal(fromServer("connected, OpenClaw 2026.9.6, suspended, slow"), "已连接，OpenClaw 2026.9.6，已挂起，缓慢");
  assert.equal(fromServer("3 lines could not be read; the last one: a.jsonl line 4"), "有 3 行无法读取；最后一行：a.jsonl line 4");
  assert.equal(fromServer("something new"), "something new");
  useMessages(null);
  assert.equal(fromServer("not connected"), "not connected");
});
