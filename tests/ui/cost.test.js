import { test } from "node:test";
import assert from "node:assert/strict";
import { tooltip } from "./assets/chart.js";
import * as cost from "./assets/cost.js";
import * as views from "./assets/views.js";
import { formatExactMoney, useFormat } from "./assets/dom.js";
import { EVIL, NOW, complaintsAbout, hostile, stateOf, totals } from "./states.js";

const { page } = cost;
const pages = { overview: views.overviewPage, cost: page };
const routeOf = (hash) => views.parseRoute(hash, pages);

const part = (key, nano, more = {}) => ({ key, label: key, ...totals(nano, more) });

function usage(by, split, keys, more = {}) {
  const rows = keys.map((key, i) => ({ ...part(key, (i + 1) * 3e9), ...(split ? { parts: [part("acme/a", (i + 1) * 2e9), part("(other)", (i + 1) * 1e9)] } : {}) }));
  const sum = rows.reduce((total, row) => total + row.cost_nano_usd, 0);
  return {
    by, ...(split ? { split, parts: [part("acme/a", sum / 3 * 2), part("(other)", sum / 3)] } : {}), tz: "Europe/Berlin", from_ms: NOW - 864e5, to_ms: NOW + 1000,
    totals: totals(sum, { model_calls: 10 * rows.length }), rows, row_count: rows.length, coverage: { complete: true }, ...more,
  };
}

const cache = {
  from_ms: 0, to_ms: NOW + 1, tz: "UTC", unpriced_models: ["acme/b"],
  totals: { model_calls: 5, prompt_tokens: 1000, cache_read_tokens: 700, cache_write_tokens: 100, saved_nano_usd: 5e9, write_cost_nano_usd: 1e9, write_extra_nano_usd: 2e8 },
  rows: [
    { key: "acme/a", label: "a", model_calls: 5, prompt_tokens: 1000, cache_read_tokens: 700, cache_write_tokens: 100, saved_nano_usd: 5e9, write_cost_nano_usd: 1e9, write_extra_nano_usd: 2e8, terms: [{ input: 3e6, cache_read: 3e5, cache_write: 3_750_000, cache_read_tokens: 700, cache_write_tokens: 100, saved_nano_usd: 5e9, write_cost_nano_usd: 1e9, write_extra_nano_usd: 2e8 }] },
    { key: "acme/b", label: "b", model_calls: 1, prompt_tokens: 10, cache_read_tokens: 0, cache_write_tokens: 0, saved_nano_usd: null, write_cost_nano_usd: null, write_extra_nano_usd: null, terms: [] },
  ],
  days: [{ key: "2026-11-05", prompt_tokens: 0, cache_read_tokens: 0 }, { key: "2026-11-06", prompt_tokens: 1000, cache_read_tokens: 700 }],
  breaks_from_ms: 0, breaks: [{ ts_ms: NOW - 5e6, gap_ms: 4e5, lost_tokens: 21_000, reason: "expired", session: "s1", agent: "main", label: null, model: "a" }],
};
const composition = {
  from_ms: 0, to_ms: NOW, tz: "UTC", sessions: 4, measured_sessions: 2,
  average: { system_chars: 4000, files_chars: 8000, skills_chars: 400, tools_chars: 1600, prompt_tokens: 10_000, user_tokens: 1500, output_tokens: 500 },
  model_calls: 8, prompt_tokens: 80_000, output_tokens: 4000, sampled_prompt_tokens: 80_000, sampled_user_tokens: 12_000,
  rows: [{ session: "s1", agent: "main", key: "agent:main:x", label: null, model_calls: 4, cost_nano_usd: 1e9, prompt_tokens: 40_000, user_tokens: null, output_tokens: 2000, system_chars: 4000, files_chars: 8000, skills_chars: 400, tools_chars: 1600, files: [["AGENTS.md", 8000]] }],
};
const compared = { recorded_nano_usd: 3e9, list_nano_usd: 3.3e9, list_differs_percent: 10, rows: [{ key: "acme/a", label: "a", recorded_nano_usd: 3e9, list_nano_usd: 3.3e9, list_differs_percent: 10 }] };
const week = usage("hour_of_week", "", Array.from({ length: 168 }, (_, i) => `${Math.floor(i / 24) + 1}T${String(i % 24).padStart(2, "0")}`));
const prices = [{ model: "acme/c", input: 1, output: 2, cache_read: null, cache_write: null, source: "prices.toml" }];
const models = usage("provider_model", "cause", ["acme/a"], { rows: [{ ...part("acme/a", 3e9, { unpriced_calls: 2 }), parts: [part("user", 2e9), part("cron", 1e9)] }] });
const explain = {
  from_ms: 0, to_ms: NOW, tz: "UTC", totals: totals(3e9),
  parts: [{ provider: "acme", model: "a", basis: "list", billing_mode: "metered", model_calls: 3, input_tokens: 1, output_tokens: 2, cache_read_tokens: 3, cache_write_tokens: 4, cost_nano_usd: 3e9, recorded_nano_usd: 0, list_nano_usd: 3e9, input_usd: 1, output_usd: 1, cache_read_usd: 0.5, cache_write_usd: null, price: { basis: "list", tiers: [{ input: 3e6, output: 15e6, cache_read: 3e5, cache_write: 3e6, above: 0 }, { input: 6e6, output: 15e6, cache_read: 3e5, cache_write: 3e6, above: 200_000 }] }, price_changed: true, compared: { model_calls: 2, input_tokens: 1, output_tokens: 2, cache_read_tokens: 3, cache_write_tokens: 4, recorded_nano_usd: 3e9, list_nano_usd: 3_300_000_000 } }],
};

function stateFor(hash, more = {}) {
  const route = routeOf(hash);
  const answer = usage(route.by, route.split, { day: ["2026-11-05", "2026-11-06"], week: ["2026-W44", "2026-W45"], month: ["2026-10", "2026-11"], hour: ["2026-11-06T00:00+01:00", "2026-11-06T01:00+01:00"], hour_of_week: week.rows.map((row) => row.key) }[route.by] ?? ["x", "(none)"]);
  if (route.isCompared) answer.before = { from_ms: 0, to_ms: 1, totals: totals(1e9), rows: answer.rows.map((row) => ({ ...part(row.key, 1e9) })) };
  const answers = { usage: answer, models, week, cache, compared, composition, prices, explain };
  return stateOf({ route, answers: Object.fromEntries(Object.entries(answers).map(([key, data]) => [key, { data, error: null, askedFor: null }])), ...more });
}

const HASHES = [
  "#/cost", "#/cost?as=lines&compare=1", "#/cost?by=agent&split=cause", "#/cost?by=hour&show=tokens", "#/cost?by=week&split=none", "#/cost?by=month&show=calls&sort=cost&order=asc",
  "#/cost?as=share", "#/cost?as=share&by=agent&split=cause", "#/cost?as=share&split=none", "#/cost?by=hour_of_week", "#/cost?by=tool&split=day&show=plan", "#/cost?by=provider_model&range=all", "#/cost?by=session&split=agent",
];

test("the address says all of it, and only what differs from the usual", () => {
  for (const hash of ["#/cost", "#/cost?by=agent", "#/cost?by=agent&split=cause", "#/cost?split=none", "#/cost?by=provider_model&split=agent", "#/cost?as=share", "#/cost?range=7d&compare=1&agent=main&by=hour&as=lines&show=tokens&sort=share&order=asc"]) {
    assert.equal(views.formatRoute(routeOf(hash), pages), hash);
  }
  const route = routeOf("#/cost?by=__proto__&split=constructor&as=<x>&show=toString&sort=valueOf");
  assert.deepEqual([route.by, route.split, route.drawn, route.shown, route.sort], ["day", "provider_model", "bars", "cost", ""]);
});

test("every view of the page is well made, and hostile text stays text", () => {
  for (const hash of HASHES) {
    for (const more of [{}, { isHidden: true }, { isAllShown: true }]) assert.deepEqual(complaintsAbout(page.view(stateFor(hash, more))), [], hash);
    const state = stateFor(hash, { priceFault: { model: "acme/a", message: EVIL } });
    for (const [key, answer] of Object.entries(state.answers)) {
      const evil = hostile(answer.data);
      state.answers[key] = { data: key === "usage" || key === "week" ? { ...answer.data, parts: evil.parts, rows: answer.data.rows.map((row) => ({ ...row, label: EVIL })) } : { ...evil, days: answer.data.days, breaks: cache.breaks.map((one) => ({ ...one, session: EVIL, label: EVIL })) }, error: null };
    }
    state.answers.prices = { data: hostile(prices), error: null };
    state.answers.composition = { data: { ...composition, rows: hostile(composition.rows).map((row) => ({ ...row, files: [[EVIL, 3]] })) }, error: null };
    if (state.answers.usage.data.parts) state.answers.usage.data.parts = usage(state.route.by, state.route.split, ["x"]).parts.map((one) => ({ ...one, label: EVIL }));
    assert.ok(!/<script|<img/.test(String(page.view(state))), hash);
  }
});

test("shares: of time and of other keys, with a table of shares; the files keep the amounts", () => {
  const ways = (hash) => [...(/aria-label="How it is drawn">(.*?)<\/span>/s.exec(String(page.view(stateFor(hash))))?.[1] ?? "").matchAll(/data-value="(\w+)"[^>]*aria-pressed="(\w+)"/g)].map(([, key, is]) => (is === "true" ? `[${key}]` : key));
  assert.deepEqual(ways("#/cost?as=share"), ["bars", "lines", "[share]"]);
  assert.deepEqual(ways("#/cost?as=share&by=agent"), ["bars", "[share]"]);
  assert.deepEqual(ways("#/cost?as=share&split=none"), ["[bars]", "lines"], "what is not split has no shares");
  assert.deepEqual(ways("#/cost?by=agent&split=none"), []);
  const state = stateFor("#/cost?as=share");
  assert.equal(page.charts(state).cost.model.isShare, true);
  assert.match(String(tooltip(page.charts(state).cost.model, 0)), /\$3\.00.*\$2\.00<\/td>\s*<td class="num">67\u00a0%/s);
  const twin = (hash) => /data-key="twin-cost">.*?<\/details>/s.exec(String(page.view(stateFor(hash))))[0];
  assert.match(twin("#/cost?as=share"), /<td class="num" title="\$2\.00">66\.7\u00a0%<\/td><td class="num" title="\$1\.00">33\.3\u00a0%<\/td><td class="num">\$3\.00<\/td>/);
  const bars = (hash) => [...String(page.view(stateFor(hash))).matchAll(/<svg class="thin is-thick".*?<\/svg>/gs)].slice(0, 2).map(([svg]) => [...svg.matchAll(/ width="([\d.]+)"/g)].reduce((sum, [, wide]) => sum + Number(wide), 0));
  assert.deepEqual(bars("#/cost?by=agent").map(Math.round), [1000, 500]);
  assert.deepEqual(bars("#/cost?by=agent&as=share").map(Math.round), [1000, 1000]);
  assert.equal(cost.toCsv(state.answers.usage.data, state.route), cost.toCsv(state.answers.usage.data, routeOf("#/cost")));
});

test("while something is not there yet, or failed, the others stand", () => {
  const state = stateFor("#/cost");
  state.answers = { usage: state.answers.usage, cache: { data: null, error: { status: 500, message: EVIL } } };
  const text = String(page.view(state));
  assert.match(text, /Loading/);
  assert.ok(!text.includes("<img"));
  assert.deepEqual(complaintsAbout(page.view(state)), []);
});

test("spans of time have their days, so that a drag can choose them", () => {
  const span = (by, key) => (({ label, from, to }) => [label, from, to])(cost.keySpan(by, { key }));
  assert.deepEqual(span("day", "2026-11-06"), ["Fri 6 Nov 2026", "2026-11-06", "2026-11-06"]);
  assert.deepEqual(span("week", "2026-W01"), ["Week of Mon 29 Dec 2025", "2025-12-29", "2026-01-04"]);
  assert.deepEqual(span("week", "2020-W53"), ["Week of Mon 28 Dec 2020", "2020-12-28", "2021-01-03"]);
  assert.deepEqual(span("month", "2028-02"), ["February 2028", "2028-02-01", "2028-02-29"]);
  assert.deepEqual(span("hour", "2026-11-06T23:00+01:00"), ["Fri 6 Nov 2026 23:00", "2026-11-06T23:00", "2026-11-07T00:00"]);
  assert.deepEqual(span("hour_of_week", "7T05"), ["Sun 05:00", null, null]);
});

test("joining bars keeps every nano-dollar", () => {
  const spans = Array.from({ length: 1001 }, (_, i) => ({ key: `${i}`, label: `${i}`, from: `${i}`, to: `${i}` }));
  const model = { spans, series: [{ key: "a", values: spans.map((_, i) => i * 1_000_003) }], before: spans.map(() => 7) };
  const joined = cost.joinSpans(model, 120);
  assert.ok(joined.spans.length <= 120);
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  assert.equal(sum(joined.series[0].values), sum(model.series[0].values));
  assert.equal(sum(joined.before), 7 * 1001);
  assert.equal(joined.spans.at(-1).to, "1000");
  assert.equal(cost.joinSpans(model, 1001), model);
});

test("the files have exactly the rows of the table, to the nano-dollar, and no formula", () => {
  const route = routeOf("#/cost?by=agent&split=none&sort=cost");
  const answer = usage("agent", "", ["=cmd()", 'a "quoted", one', "plain"]);
  answer.rows[2].cost_nano_usd = 1_234_567_890_123;
  const csv = cost.toCsv(answer, route).split("\r\n");
  assert.equal(csv[0].split(",")[0], '"agent"');
  assert.match(csv[1], /^"plain",10,.*,1234\.567890123,/);
  assert.match(csv[2], /^"a ""quoted"", one",10,.*,6\.000000000,/);
  assert.match(csv[3], /^"'=cmd\(\)",/);
  assert.match(csv[4], /^"total",30,.*,18\.000000000,/);
  const json = JSON.parse(cost.toJson(answer, route));
  assert.deepEqual(json.rows.map((row) => row.key), ["plain", 'a "quoted", one', "=cmd()"]);
  assert.equal(json.rows[0].cost_nano_usd, 1_234_567_890_123);
  assert.equal(json.total.cost_nano_usd, answer.totals.cost_nano_usd);
});

test("rows of time stand beside the same place in the span before, other rows beside their name", () => {
  const days = usage("day", "", ["2026-11-05", "2026-11-06"], { before: { rows: [part("2026-11-03", 1), part("2026-11-04", 2)], totals: totals(3) } });
  assert.deepEqual(cost.tableRows(days, routeOf("#/cost")).map((row) => row.before.cost_nano_usd), [1, 2]);
  const agents = usage("agent", "", ["a", "b"], { before: { rows: [part("b", 5)], totals: totals(5) } });
  assert.deepEqual(cost.tableRows(agents, routeOf("#/cost")).map((row) => row.before?.cost_nano_usd ?? null), [null, 5]);
});

test("an explanation is asked for what its row is", () => {
  assert.deepEqual(cost.rowParams("provider_model", "acme/a"), { provider: "acme", model: "a" });
  assert.deepEqual(cost.rowParams("session", "s1"), { session: "s1" });
  assert.deepEqual(cost.rowParams("week", "2026-W45"), { from: "2026-11-02", to: "2026-11-08" });
  assert.equal(cost.rowParams("tool", "exec"), null);
  // Of a week or month at an end of the range only what lies in it.
  const [from_ms, to_ms] = [Date.UTC(2026, 10, 4, 23), Date.UTC(2026, 10, 7, 11)]; // midnight and noon in Berlin
  const range = { from_ms, to_ms, tz: "Europe/Berlin" };
  assert.deepEqual(cost.rowParams("month", "2026-11", range), { from: String(from_ms), to: String(to_ms) });
  assert.deepEqual(cost.rowParams("day", "2026-11-05", range), { from: "2026-11-05", to: "2026-11-05" });
  assert.deepEqual(cost.rowParams("day", "2026-11-07", range), { from: "2026-11-07", to: String(to_ms) });
  assert.deepEqual(cost.rowParams("day", ""), {});
});

test("a sheet shows the terms only of what was asked", () => {
  const state = stateFor("#/cost");
  const row = { ...state.answers.usage.data.totals, key: "" };
  for (const kind of ["cost", "plan", "call", "million"]) {
    state.sheet = { kind, row, label: EVIL, params: {} };
    state.answers.explain.askedFor = { ...views.askParams(state.route) };
    assert.deepEqual(complaintsAbout(page.sheet(state)), []);
  }
  state.sheet = { kind: "cost", row, label: "", params: {} };
  assert.match(String(page.sheet(state)), /acme\/a.*\$3\.000000000/s);
  state.answers.explain.askedFor = { from: "7d" };
  assert.doesNotMatch(String(page.sheet(state)), /acme\/a/);
});

const texts = (markup) => String(markup).replace(/<[^>]*>/g, " ").replace(/\s+/g, " ");
const BUTTON = /data-figure="([^"]*)" data-from="([^"]*)" data-value="([^"]*)"\s+data-part="([^"]*)"/g;

/** The sheets behind all figures of the page, by kind, source, key and part. */
function sheetsOf(state) {
  const found = new Map();
  for (const [, figure, from, value, part] of String(page.view(state)).matchAll(BUTTON)) {
    page.actions.formula({ dataset: { figure, from, value, part } }, { state, dispatch: ({ sheet }) => found.set([figure, from, value, part].join(" ").trim(), sheet) });
    assert.ok(found.has([figure, from, value, part].join(" ").trim()), `${figure} ${from} ${value} opens`);
  }
  return found;
}

/** The sheet of a figure, its explanation answered. */
function opened(state, name) {
  const sheet = sheetsOf(state).get(name);
  assert.ok(sheet, name);
  state.answers.explain.askedFor = { ...views.askParams(state.route), ...sheet.params };
  return page.sheet({ ...state, sheet });
}

test("every figure opens its formula", () => {
  const state = stateFor("#/cost?compare=1");
  const sheets = sheetsOf(state);
  const kinds = new Set([...sheets.keys()].map((name) => name.split(" ").slice(0, 2).join(" ")));
  for (const kind of ["cost usage", "plan usage", "call usage", "million usage", "cost before", "cost parts", "cost models", "call models", "million models", "recorded compared", "list compared", "differs compared", "cache-saved cache", "cache-writes cache", "cache-net cache", "prompt prompts", "cost composition"]) assert.ok(kinds.has(kind), kind);
  for (const name of sheets.keys()) assert.deepEqual(complaintsAbout(opened(state, name)), [], name);
  assert.deepEqual(sheets.get("cost models acme/a cron").params, { provider: "acme", model: "a", cause: "cron" });
  assert.deepEqual(sheets.get("list compared acme/a").params, { provider: "acme", model: "a" });
  assert.deepEqual(sheets.get("cost before").params, { from: "0", to: "1" });
});

test("what the cache saved and cost is tokens times price, to the nano-dollar", () => {
  const state = stateFor("#/cost");
  assert.match(texts(opened(state, "cache-saved cache acme/a")), /\$5\.00 .*Read 700 \$3\.00 − \$0\.30 \$5\.000000000 Sum \$5\.000000000/);
  assert.match(texts(opened(state, "cache-writes cache acme/a")), /Written 100 \$3\.75 \$1\.000000000 Sum \$1\.000000000/);
  assert.match(texts(opened(state, "cache-net cache")), /\$4\.80 .*\$5\.000000000 .*Written 100 \$3\.75 − \$3\.00 −\$0\.200000000 .*acme\/b no price known — Sum \$4\.800000000/);
});

test("where nothing has a price the terms have no sum", () => {
  const parts = [{ ...explain.parts[0], basis: "unpriced", price: null, cost_nano_usd: null }];
  assert.match(texts(views.Terms(parts)), /Sum 3? ?.*—/);
  assert.doesNotMatch(texts(views.Terms(parts)), /\$0/);
});

test("what other figures add up to is their sum", () => {
  const state = stateFor("#/cost");
  const { data } = state.answers.usage;
  Object.assign(data.parts[1], { unpriced_calls: 2 });
  const rest = texts(opened(state, "sum rest (other) cost"));
  assert.match(rest, new RegExp(`Cost: Other .*without 2 calls that have no price.*Sum ${formatExactMoney(data.parts[1].cost_nano_usd).replace("$", "\\$")}`));
  const week = state.answers.week.data.rows;
  const day = week.filter(({ key }) => key[0] === "3");
  const sheet = texts(opened(state, "sum weekday 3 cost"));
  assert.match(sheet, new RegExp(`Cost: Wed .*Sum ${formatExactMoney(day.reduce((sum, row) => sum + row.cost_nano_usd, 0)).replace("$", "\\$")}`));
});

test("a model is told from one of another provider that is called like both together", () => {
  assert.deepEqual(views.narrowTo("provider_model", "openrouter/openai/gpt-5"), { provider: "openrouter", model: "openai/gpt-5" });
  assert.deepEqual(views.narrowTo("session_key", "agent:main:main"), { session: "agent:main:main" });
  assert.equal(views.narrowTo("session_key", "(none)"), null);
});

test("recorded against list shows both sums over the calls that have both", () => {
  const text = texts(opened(stateFor("#/cost"), "differs compared acme/a"));
  assert.match(text, /\+10\.0 % \(\$3\.300000000 − \$3\.000000000\) ÷ \$3\.000000000 = \+10\.0 %/);
  assert.match(text, /acme\/a .* 2 1 2 3 4 \$3\.000000000 \$3\.300000000 Sum 2 \$3\.000000000 \$3\.300000000/);
});

test("the parts of a prompt say how they were estimated", () => {
  const text = texts(opened(stateFor("#/cost"), "prompt prompts  system_chars"));
  assert.match(text, /System prompt: A call on average Close ≈1\.00 k 4,000 characters measured/);
  assert.match(texts(opened(stateFor("#/cost"), "prompt prompts  output")), /Output: A call on average Close 500 measured/);
  assert.match(text, /80,000 ÷ 8 calls = 10,000/);
  assert.match(text, /System prompt 4,000 characters measured, at 4 a token ≈1,000/);
  assert.match(text, /User estimated: .*: 12,000 of 80,000 tokens ≈1,500 Output measured: 4,000 tokens in 8 calls 500 Prompt 10,000/);
});

test("in another currency prices and terms stay in dollars, and the conversion is said", () => {
  const state = stateFor("#/cost", { currency: "EUR", rates: { EUR: 0.92 } });
  useFormat({ currency: "EUR", rate: 0.92 });
  try {
    const text = texts(opened(state, "cost models acme/a"));
    assert.match(text, /≈€2\.76 \$3\.000000000 × 0\.92 = ≈€2\.76 .*1 USD = 0\.92 EUR is the rate that you set/);
    assert.match(text, /USD per million tokens .*input \$3\.00, output \$15\.00/);
  } finally {
    useFormat({ currency: "USD", rate: 1 });
  }
  assert.doesNotMatch(texts(opened(stateFor("#/cost"), "cost models acme/a")), /the rate that you set/);
});

test("a model that was paid both ways has its metered calls and those of a plan apart", () => {
  const state = stateFor("#/cost");
  const both = { plan_cost_nano_usd: 2e9 };
  state.answers.models.data = { ...models, totals: { ...models.totals, ...both }, rows: [{ ...part("acme/a", 3e9, both), parts: [] }] };
  assert.equal(page.asks(state).find((ask) => ask.key === "billing")?.path, "/api/explain");
  assert.equal(page.asks(stateFor("#/cost")).find((ask) => ask.key === "billing"), undefined);
  const [metered] = explain.parts;
  state.answers.billing = { data: { ...explain, parts: [metered, { ...metered, billing_mode: "plan", model_calls: 4, cost_nano_usd: 2e9 }, { ...metered, model: "b" }] }, error: null };
  const rows = [...String(page.view(state)).match(/data-key="models"[\s\S]*?<\/section>/)[0].matchAll(/<tr class="is-part"[\s\S]*?<\/tr>/g)].map(([row]) => texts(row));
  assert.match(rows[0], /Metered 3 \$3\.00 \$1\.00 \$300,000\.00 /);
  assert.match(rows[1], /On a plan 4 \$2\.00 \$0\.5000 /);
  assert.equal(rows.length, 2);
  state.answers.explain = { data: state.answers.billing.data, error: null };
  const text = texts(opened(state, "call billing acme/a plan"));
  assert.match(text, /\$2\.000000000 ÷ 4 calls = \$0\.500000000/);
  assert.match(text, /Sum 4 \$2\.000000000/);
});

test("what has no price has no cost a call, no place in a ranking and no formula of $0", () => {
  const row = { ...part("acme/b", 0, { unpriced_calls: 10 }) };
  const answer = usage("agent", "", ["a"], { rows: [row], totals: row });
  const state = stateFor("#/cost?by=agent&split=none");
  state.answers.usage.data = answer;
  state.answers.models.data = { ...models, rows: [{ ...row, parts: [] }] };
  const text = String(page.view(state));
  for (const key of ["figures", "cost", "models"]) {
    const [shown] = new RegExp(`data-key="${key}".*?</(section|div)>`, "s").exec(text);
    assert.doesNotMatch(shown.replace(/\$\d[\d.]* the span before/g, ""), />\$0</, key);
  }
  state.sheet = { kind: "call", row, label: "", params: {} };
  assert.doesNotMatch(String(page.sheet(state)), /\$0|÷/);
  assert.match(cost.toCsv(answer, state.route).split("\r\n")[1], /^"acme\/b",10,.*,,,,/);
});

test("a row whose terms cannot be listed says why, and only tools are shared between", () => {
  const state = stateFor("#/cost");
  const said = (by) => String(page.sheet({ ...state, sheet: { kind: "cost", by, row: state.answers.usage.data.totals, label: "", params: null } }));
  assert.match(said("tool"), /shared between them/);
  assert.match(said("cron_job"), /cannot be listed by themselves/);
});

test("that a price could not be removed stands beside it", () => {
  const state = stateFor("#/cost", { priceFault: { model: "acme/c", message: "it broke" } });
  assert.match(String(page.view(state)), /acme\/c<\/bdi>.*role="alert">it broke/s);
});

test("a formula that could not be read says so", () => {
  const state = stateFor("#/cost");
  state.sheet = { kind: "cost", row: { ...state.answers.usage.data.totals, key: "" }, label: "", params: {} };
  state.answers.explain = { data: explain, askedFor: { from: "7d" }, error: { status: 500, message: "it broke" } };
  assert.match(String(page.sheet(state)), /it broke/);
});

test("heat has five steps, nothing is nothing", () => {
  assert.equal(cost.heatStep(0, 100), 0);
  assert.equal(cost.heatStep(0.001, 100), 1);
  assert.equal(cost.heatStep(100, 100), 5);
  for (let i = 1; i < 100; i++) assert.ok(cost.heatStep(i, 100) <= cost.heatStep(i + 1, 100));
});

test("the parts of a prompt add up to it, and none is less than nothing", () => {
  const tokens = cost.promptParts(composition.average).map((one) => one.tokens);
  assert.equal(tokens.reduce((a, b) => a + b, 0), 10_500);
  assert.equal(tokens.at(-2), 1500);
  const small = cost.promptParts({ ...composition.average, prompt_tokens: 10 });
  assert.ok(small.every((one) => one.tokens >= 0));
});

test("amounts that are hidden are hidden everywhere on the page", () => {
  useFormat({ isHidden: true });
  try {
    for (const hash of HASHES) assert.doesNotMatch(String(page.view(stateFor(hash, { isHidden: true }))).replace(/>(Input|Output) \$[\d., A-Za-z$]*</g, ""), /\$\d/, hash);
  } finally {
    useFormat({ isHidden: false });
  }
});

test("a part without a price stands in the legend, not as $0 and not as nothing", () => {
  const state = stateFor("#/cost");
  const { data } = state.answers.usage;
  data.parts = [...data.parts, part("acme/free", 0, { unpriced_calls: 10 }), part("acme/paid", 0)];
  const legend = String(page.view(state)).match(/<ul class="legend">[\s\S]*?<\/ul>/)[0];
  const line = legend.match(/<li data-key="acme\/free">[\s\S]*?<\/li>/)[0];
  assert.match(line, /title="no price known">—</);
  assert.match(line, /unpriced calls/);
  assert.doesNotMatch(line, /\$0/);
  assert.doesNotMatch(legend, /acme\/paid/);
  const tokens = stateFor("#/cost?show=tokens");
  tokens.answers.usage.data.parts = data.parts;
  assert.match(String(page.view(tokens)), /<li data-key="acme\/paid">/);
});

test("a range of calls without a price says so, in the place of the chart and in every hour of the week", () => {
  const state = stateFor("#/cost");
  const free = (row) => ({ ...row, ...totals(0, { unpriced_calls: 10 }), parts: row.parts?.slice(0, 1).map((one) => ({ ...one, ...totals(0, { unpriced_calls: 10 }) })) });
  const { data } = state.answers.usage;
  state.answers.usage.data = { ...data, totals: totals(0, { model_calls: 20, unpriced_calls: 20 }), rows: data.rows.map(free), parts: [part("acme/free", 0, { unpriced_calls: 20, model_calls: 20 })] };
  state.answers.usage.data.rows.forEach((row) => { row.parts[0].key = "acme/free"; });
  state.answers.week.data = { ...week, rows: week.rows.map((row, i) => (i ? { ...row, ...totals(0, { model_calls: 0 }) } : free(row))) };
  const text = String(page.view(state));
  assert.match(text, /20 calls have no price: .*Models without a price/);
  assert.doesNotMatch(text, /Nothing of this in this range/);
  const heat = text.match(/<table class="heat">[\s\S]*?<\/table>/)[0];
  assert.match(heat, /title="Mon 00:00: — \+ 10 unpriced calls">—</);
  assert.match(heat, /<td class="num">—<\/td>/);
  assert.match(heat, /<td class="num">\$0<\/td>/);
  assert.doesNotMatch(text, /heat-key/);
});

test("an average is over the calls whose cost is known, a plan's among them; over tokens only where all are", () => {
  const row = part("acme/a", 6e9, { model_calls: 10, unpriced_calls: 4, plan_cost_nano_usd: 3e9, total_tokens: 2e6 });
  const shown = (one) => {
    const state = stateFor("#/cost?by=agent&split=none");
    state.answers.usage.data = usage("agent", "", ["a"], { rows: [one], totals: { ...one } });
    const sheet = (kind) => String(page.sheet({ ...state, sheet: { kind, row: one, label: "", params: null } })).replace(/<[^>]*>/g, " ");
    return { text: String(page.view(state)), csv: cost.toCsv(state.answers.usage.data, state.route).split("\r\n"), sheet };
  };
  const mixed = shown(row);
  assert.match(mixed.text, /\$1\.500000000, over the 6 calls that have a price, plan use included">\$1\.50</);
  assert.match(mixed.text, /calls without a price have is not known">≥\u00a0\$4\.50</);
  assert.match(mixed.text, /6 of 10 calls have a price/);
  assert.match(mixed.sheet("call"), /\(\$6\.000000000 \+ \$3\.000000000\) ÷ 6 calls = \$1\.500000000.*4 of 10 calls have none/s);
  assert.match(mixed.sheet("million"), /≥\u00a0 *\$4\.50.*\$3\.000000000\) ÷ 2\.000000 million tokens = \$4\.500000000.*at least so much/s);
  assert.match(mixed.csv[1], /,1\.500000000,,/);
  const failed = shown({ ...row, cost_nano_usd: 0, unpriced_calls: 9, plan_cost_nano_usd: 0 });
  assert.match(failed.text, /data-figure="call"[^>]*><span class="num" title="no price known">—</);
  assert.match(failed.text, /<td class="num ">—<\/td><\/tr>/);
  assert.match(failed.sheet("million"), /—/);
  assert.doesNotMatch(failed.sheet("million"), /÷|≥/);
  const whole = shown({ ...row, unpriced_calls: 0, plan_cost_nano_usd: 0 });
  assert.match(whole.text, /title="\$0\.600000000">\$0\.6000</);
  assert.match(whole.text, /title="\$3\.000000000">\$3\.00</);
  assert.match(whole.sheet("million"), /\$6\.000000000 ÷ 2\.000000 million tokens = \$3\.000000000/);
});

test("the other parts are in the legend for their calls without a price alone, with the names of the models", () => {
  const state = stateFor("#/cost");
  const { data } = state.answers.usage;
  data.parts = [data.parts[0], part("(other)", 0, { model_calls: 50, unpriced_calls: 43, plan_cost_nano_usd: 1e9 })];
  state.answers.models.data = { ...models, rows: [...models.rows, { ...part("acme/free", 0, { unpriced_calls: 43 }), parts: [] }] };
  const legend = String(page.view(state)).match(/<ul class="legend">[\s\S]*?<\/ul>/)[0];
  const line = legend.match(/<li data-key="\(other\)">[\s\S]*?<\/li>/)[0];
  assert.match(line, /\+43</);
  assert.match(line, /title="Other; without a price: acme\/free"/);
});

test("the files have the calls without a price, names beside ids, and the parts of the split that is drawn", () => {
  const answer = usage("session", "provider_model", ["id1", "(none)"]);
  answer.rows[0].label = "=Inbox";
  answer.rows[0].parts = [part("acme/a", 2e9), part("acme/free", 0, { model_calls: 3, unpriced_calls: 3 })];
  answer.parts.push(part("acme/free", 0, { model_calls: 3, unpriced_calls: 3 }));
  const route = routeOf("#/cost?by=session");
  const csv = cost.toCsv(answer, route).trimEnd().split("\r\n");
  assert.match(csv[0], /^"session","Name","Calls","Unpriced calls",.*,"acme\/a \(USD\)","\(other\) \(USD\)","acme\/free \(USD\)"$/);
  assert.match(csv[1], /^"id1","'=Inbox",10,0,.*,2\.000000000,0\.000000000,$/);
  assert.match(csv[2], /^"\(none\)",,10,0,/);
  assert.match(csv[3], /^"total",,20,0,.*,6\.000000000,3\.000000000,$/);
  assert.match(cost.toCsv(answer, routeOf("#/cost?by=session&show=calls")).split("\r\n")[0], /,"acme\/a","\(other\)","acme\/free"$/);
  const json = JSON.parse(cost.toJson(answer, route));
  assert.equal(json.split, "provider_model");
  assert.equal(json.rows[0].label, "=Inbox");
  assert.deepEqual(json.rows[0].parts.map((one) => [one.key, one.cost_nano_usd, one.unpriced]), [["acme/a", 2e9, 0], ["acme/free", null, 3]]);
  assert.equal(json.total.parts.length, 3);
  const split = usage("model", "cron_job", ["acme/a"]);
  split.rows[0].parts = [{ ...part("job-1", 1e9), label: "nightly" }, part("(none)", 1e9)];
  assert.deepEqual(JSON.parse(cost.toJson(split, routeOf("#/cost?by=model&split=cron_job"))).rows[0].parts.map((one) => [one.key, one.label]), [["job-1", "nightly"], ["(none)", ""]]);
  assert.doesNotMatch(String(page.view(stateFor("#/cost?by=session&sort=unpriced"))), />Unpriced calls</);
});

test("recorded against list says where plan use is among it", () => {
  const state = stateFor("#/cost");
  assert.doesNotMatch(String(page.view(state)), /Calls paid by a plan are among them/);
  state.answers.usage.data.totals.plan_cost_nano_usd = 1e9;
  assert.match(String(page.view(state)), /Calls paid by a plan are among them/);
});

test("where nothing was used the page says what would be here and what brings it, and has no files of nothing", () => {
  const state = stateFor("#/cost?agent=nobody");
  const zero = totals(0, { model_calls: 0 });
  state.answers.usage.data = { ...state.answers.usage.data, totals: zero, rows: [], parts: [] };
  state.answers.models.data = { ...models, rows: [] };
  const text = String(page.view(state));
  assert.match(text, /No model calls in this range.*Here will be what model calls cost.*href="#\/cost\?range=all".*Show all of it/s);
  assert.doesNotMatch(text, /<table|data-action="(csv|json|print)"|\$0/);
  assert.deepEqual(complaintsAbout(page.view(state)), []);
  const all = stateFor("#/cost?range=all");
  all.answers.usage.data = state.answers.usage.data;
  assert.match(String(page.view(all)), /No model calls yet.*The first call/s);
  all.coverage = { complete: false };
  assert.match(String(page.view(all)), /data-key="figures"/);
});

test("a picture is read without a pointer: each part of a bar has a title, and there is a table of them", () => {
  const text = String(page.view(stateFor("#/cost?by=tool&split=agent")));
  assert.match(text, /<rect class="s1" [^>]*><title>acme\/a: \$4\.00<\/title><\/rect>/);
  const twinOf = (view, key) => view.match(new RegExp(`<details class="twin" data-key="twin-${key}">[\\s\\S]*?</details>`))[0];
  assert.match(twinOf(text, "cost"), /<summary>As a table.*acme\/a.*\$4\.00<\/td><td class="num">\$2\.00<\/td><td class="num">\$6\.00/s);
  assert.match(twinOf(String(page.view(stateFor("#/cost"))), "cost"), /Fri 6 Nov 2026.*\$4\.00<\/td><td class="num">\$2\.00<\/td><td class="num">\$6\.00/s);
  assert.match(twinOf(text, "cache"), /Fri 6 Nov 2026.*70\.0/s);
});

test("the bar of a session's prompt says its parts, and the panel what of it is measured", () => {
  const text = String(page.view(stateFor("#/cost")));
  assert.match(text, /role="img" aria-label="System prompt ≈1\.00\sk \(estimated\), Memory files ≈2\.00\sk \(estimated\), .*, Output 500 \(measured\)"/);
  assert.match(text, /<title>Memory files ≈2\.00\sk \(estimated\)<\/title>/);
  assert.match(text, /OpenClaw measured the characters of System prompt, Memory files, Tools, Skills; .* History, User are what is left/);
});

test("causes and the server's sentences are said in the person's language; filters and files keep the word", async () => {
  const { useMessages } = await import("./assets/dom.js");
  const { messages } = await import("./assets/zh.js");
  const state = stateFor("#/cost?by=cause&split=none", { priceFault: { model: "acme/a", message: "input is a number from 0 to 100000, in USD per million tokens" } });
  state.answers.usage.data = usage("cause", "", ["user", "subagent", "own_word"]);
  useMessages(messages);
  try {
    const text = String(page.view(state));
    assert.match(text, /data-kind="cause" data-value="subagent"[^>]*><bdi>子代理</);
    assert.match(text, /<bdi>own_word</);
    assert.match(text, /输入应为 0 到 100000 之间的数/);
    assert.match(cost.toCsv(state.answers.usage.data, state.route), /"subagent",/);
    assert.match(String(views.couldNotRead({ message: "unknown time zone 'Mars'; use a name like Europe/Berlin or UTC" })), /未知时区 &#39;Mars&#39;/);
  } finally {
    useMessages(null);
  }
});
