import { test } from "node:test";
import assert from "node:assert/strict";
import * as sessions from "./assets/sessions.js";
import { formatRoute, parseRoute, sessionName } from "./assets/views.js";

const { page } = sessions;
const pages = { sessions: page };
const NOW = Date.parse("2026-11-06T12:00:00Z");
const TOTALS = {
  model_calls: 3, input_tokens: 10, output_tokens: 20, cache_read_tokens: 30, cache_write_tokens: 40, total_tokens: 100,
  cost_usd: 1.5, cost_nano_usd: 1_500_000_001, recorded_cost_nano_usd: 0, plan_cost_nano_usd: 0, unpriced_calls: 0,
};

function row(n, more = {}) {
  return {
    id: `id-${n}`, agent: "main", key: `agent:main:s${n}`, channel: "telegram", cause: "user", cron_job: null, label: `Session ${n}`, model: "opus",
    provider: "anthropic", state: "ended", inferred: true, status: null, started_ms: NOW - 7_200_000, last_activity_ms: NOW - 60_000,
    duration_ms: 7_140_000, tree_cost_nano_usd: 2_000_000_000, parent_session: null, tool_calls: 5, tool_errors: 0, model_errors: 0,
    context_tokens: 62_000, context_window: 100_000, stored_as: "database", ...TOTALS, ...more,
  };
}

function stateOf(hash = "#/sessions", data = {}, more = {}) {
  const rows = data.rows ?? Array.from({ length: 60 }, (_, i) => row(i + (data.offset ?? 0)));
  return {
    route: parseRoute(hash, pages), now: NOW, serverZone: "UTC", palette: [], widths: { sessions: 1200 }, windows: {}, menu: "", coverage: null,
    source: null, columns: null,
    answers: { sessions: { data: { rows, offset: 0, limit: 60, total: rows.length, totals: TOTALS, coverage: null, ...data }, error: null } }, ...more,
  };
}

const count = (text, part) => text.split(part).length - 1;
const draw = (state) => String(page.view(state));

test("the address holds order, search and filters, and nothing that is usual", () => {
  for (const hash of ["#/sessions", "#/sessions?sort=total_cost", "#/sessions?sort=agent&order=desc", "#/sessions?q=deploy%20night&state=idle&has=errors", "#/sessions?range=7d&agent=main&sort=label"]) {
    assert.equal(formatRoute(parseRoute(hash, pages), pages), hash);
  }
  const wild = parseRoute("#/sessions?sort=;drop&order=up&state=<x>&has=luck&q=" + "a".repeat(999), pages);
  assert.deepEqual([wild.sort, wild.order, wild.status, wild.has, wild.q.length], ["last_activity_ms", "desc", "", "", 200]);
});

test("text sorts upwards at first, figures downwards", () => {
  assert.equal(parseRoute("#/sessions?sort=model", pages).order, "asc");
  assert.equal(parseRoute("#/sessions?sort=total_cost", pages).order, "desc");
});

test("the list asks for the rows in sight and some around them, whole pages at a time", () => {
  const asked = (windows, total = 10_000) => sessions.pageOf(stateOf("#/sessions", { total }, { windows }));
  assert.deepEqual(asked({}).offset, 0);
  for (const first of [0, 10, 500, 4990, 9970]) {
    const { offset, limit } = asked({ sessions: { first, last: first + 30 } });
    assert.ok(offset % 60 === 0 && limit % 60 === 0, `${offset} ${limit}`);
    assert.ok(offset <= Math.max(0, first - 16) && offset + limit >= Math.min(10_000, first + 46), `${first}: ${offset}+${limit}`);
    assert.ok(limit <= 240);
  }
  const ask = page.asks(stateOf("#/sessions?range=7d&agent=main&q=x&state=idle"))[0];
  assert.equal(ask.path, "/api/session-list");
  assert.deepEqual([ask.params.from, ask.params.agent, ask.params.q, ask.params.state], ["7d", "main", "x", "idle"]);
});

test("of ten thousand rows the document holds some dozens, at their places", () => {
  const state = stateOf("#/sessions", { offset: 4920, limit: 180, total: 10_000, rows: Array.from({ length: 180 }, (_, i) => row(4920 + i)) }, { windows: { sessions: { first: 5000, last: 5030 } } });
  const text = draw(state);
  assert.ok(count(text, "<tr") < 90);
  assert.match(text, /data-row="4994"/);
  assert.match(text, /aria-rowcount="10001"/);
  assert.match(text, new RegExp(`height="${4994 * 33}"`));
  assert.match(text, new RegExp(`height="${(10_000 - 5036) * 33}"`));
});

test("rows that have not come yet keep their place", () => {
  const text = draw(stateOf("#/sessions", { offset: 0, limit: 60, total: 10_000 }, { windows: { sessions: { first: 200, last: 230 } } }));
  assert.equal(count(text, "is-coming"), 42);
  assert.ok(!/undefined|NaN/.test(text));
});

test("sums, marks and heads", () => {
  const text = draw(stateOf("#/sessions?sort=total_cost", { rows: [row(1, { tool_errors: 2, model_errors: 1, stored_as: "deleted", status: "failed" })] }));
  assert.match(text, /title="\$1\.500000001"/);
  assert.match(text, /1 session/);
  assert.match(text, /2 tool errors, 1 failed call/);
  assert.match(text, />deleted</);
  assert.match(text, />failed</);
  assert.match(text, /aria-sort="descending"/);
  assert.equal(count(text, 'aria-sort="descending"'), 1);
});

test("unpriced calls are named beside the sum, never a silent $0", () => {
  const totals = { ...TOTALS, cost_nano_usd: 0, unpriced_calls: 3 };
  const text = draw(stateOf("#/sessions", { totals, rows: [row(1, { cost_nano_usd: 0, unpriced_calls: 3 })] }));
  assert.match(text, /3 unpriced calls/);
  assert.ok(!/>\$0</.test(text));
});

test("columns are the person's, the name always stays, and a narrow list has three", () => {
  const heads = (state) => [...draw(state).matchAll(/<th scope="col"[^>]*?col-(\w+)/g)].map((found) => found[1]);
  assert.deepEqual(heads(stateOf("#/sessions", {}, { columns: ["cost"] })), ["session", "cost"]);
  assert.deepEqual(heads(stateOf("#/sessions", {}, { columns: [] })), ["session"]);
  assert.deepEqual(heads(stateOf("#/sessions", {}, { widths: { sessions: 340 } })), ["session", "cost", "active"]);
  assert.ok(heads(stateOf()).length >= 12);
});

test("an empty list says why and what to do", () => {
  const empty = { rows: [], total: 0, totals: { ...TOTALS, cost_nano_usd: 0, model_calls: 0 } };
  assert.match(draw(stateOf("#/sessions?q=zzz", empty)), /data-action="clear"/);
  assert.match(draw(stateOf("#/sessions?agent=nobody", empty)), /data-action="clear"/);
  assert.match(draw(stateOf("#/sessions", empty)), /data-action="range" data-value="all"/);
  assert.match(draw(stateOf("#/sessions?range=all", empty)), /No session yet/);
});

test("exports ask for what the list shows, without its page", () => {
  const text = draw(stateOf("#/sessions?sort=total_cost&q=a%26b&has=errors&agent=main", {}, { menu: "export" }));
  const href = /href="(\/api\/sessions\.csv\?[^"]*)"/.exec(text)[1].replaceAll("&amp;", "&");
  const params = new URL(href, "http://x").searchParams;
  assert.deepEqual([params.get("q"), params.get("sort"), params.get("order"), params.get("has"), params.get("agent")], ["a&b", "total_cost", "desc", "errors", "main"]);
  assert.ok(!params.has("offset") && !params.has("limit") && !params.has("state"));
});

test("two marked sessions can be compared", () => {
  const marks = [{ id: "id-1", name: "a" }, { id: "id 2/x", name: "b" }];
  assert.match(draw(stateOf("#/sessions", {}, { marks: marks.slice(0, 1) })), /Mark one more/);
  const text = draw(stateOf("#/sessions", {}, { marks }));
  assert.match(text, /#\/session\/id-1\?with=id%202\/x/);
  assert.equal(count(text, "is-marked"), 1);
});

test("hostile names are text everywhere", () => {
  const evil = `</a></th><script>alert(1)</script>"' onmouseover='x' \u202e\u0000`;
  const text = draw(stateOf("#/sessions", { rows: [row(1, { label: evil, agent: evil, channel: evil, cause: evil, model: evil, id: evil, key: evil, status: evil, stored_as: evil, state: evil })] }, { marks: [{ id: evil, name: evil }, { id: "b", name: evil }], menu: "export" }));
  assert.ok(!/<script|<\/a><\/th><script|onmouseover='x'/.test(text));
  const tags = text.replace(/"[^"]*"/g, '""').match(/<[a-z][^>]*>/g);
  assert.deepEqual(tags.filter((tag) => /\s(on\w+|style)=/.test(tag)), []);
  assert.ok(!text.includes("\u202e") && !text.includes("\u0000"));
});

test("a label that nobody can see is no name", () => {
  for (const label of ["\u2028\u2029", "\u200b", " \u00a0", "\u202e"]) assert.equal(sessionName({ label, key: "agent:main:s1", id: "abcdefghij" }), "s1");
  assert.equal(sessionName({ label: "\u200b", key: "\u2028", id: "abcdefghij" }), "abcdefgh");
  assert.equal(sessionName({ label: "\u{1f980} x", key: null, id: "i" }), "\u{1f980} x");
});
