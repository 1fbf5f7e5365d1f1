import { test } from "node:test";
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { formatDuration, fromServer, html, inTurn, joined, listed, useMessages } from "./assets/dom.js";
import { configDuration } from "./assets/agents.js";
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

test("what is put in a row has the commas of the language, and markup in it stays markup", () => {
  assert.equal(joined("3 files", "", null, "indexed"), "3 files, indexed");
  assert.equal(joined(), "");
  assert.equal(String(joined("<a>", html`<b>1</b>`, "<c>")), "&lt;a&gt;, <b>1</b>, &lt;c&gt;");
  useMessages(messages);
  try {
    assert.equal(joined("3 个文件", "已索引"), "3 个文件，已索引");
    assert.equal(listed(["exec", "read", "edit"]), "exec、read、edit");
    assert.equal(inTurn(["一", "二"]), "一；二");
  } finally {
    useMessages(null);
  }
});

test("no page puts commas, colons or brackets between texts by itself", () => {
  for (const [name, source] of sources) {
    assert.doesNotMatch(source, /\.join\("[,;.:] "\)/, name);
    assert.doesNotMatch(source, /html`[^`]*\}, \$\{/, name);
    assert.doesNotMatch(source, /`\$\{[^`]*\}[:,] \$\{|\} \(\$\{/, name);
  }
});

test("durations are those of the language", () => {
  useMessages(messages);
  try {
    const cases = [
      [0, "0 秒"], [30, "< 0.1 秒"], [1250, "1.3 秒"], [42_000, "42 秒"], [192_000, "3 分 12 秒"], [300_000, "5 分"],
      [11_520_000, "3 小时 12 分"], [7_200_000, "2 小时"], [90_000_000, "1 天 1 小时"],
    ];
    for (const [ms, text] of cases) assert.equal(formatDuration(ms).replaceAll("\u00a0", " "), text);
    assert.equal(configDuration("1h30m").replaceAll("\u00a0", " "), "1 小时 30 分");
    assert.equal(String(configDuration("<b>")), "<bdi>&lt;b&gt;</bdi>");
  } finally {
    useMessages(null);
  }
});

test("a sentence of the server is known by its more exact form first", () => {
  useMessages(messages);
  try {
    assert.equal(fromServer("cannot read the ledger /x/clawmeter.db: disk I/O error"), "无法读取账本 /x/clawmeter.db：disk I/O error");
    assert.equal(fromServer("cannot read /x: Permission denied"), "无法读取 /x：权限不足");
    assert.equal(fromServer("1 line could not be read; the last one: /a.jsonl line 4: not JSON (x); skipped"), "有 1 行无法读取；最后一行：/a.jsonl line 4：不是 JSON（x）；已跳过");
    assert.equal(fromServer("chat.abort: no answer in 5 s; it may have been done all the same"), "chat.abort：5 秒内没有应答；但可能已被执行");
  } finally {
    useMessages(null);
  }
});
