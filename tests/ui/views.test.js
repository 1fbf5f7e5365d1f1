import { test } from "node:test";
import assert from "node:assert/strict";
import * as views from "./assets/views.js";
import { html } from "./assets/dom.js";
import { EVIL, NOW, complaintsAbout, hostile, stateOf, totals } from "./states.js";

function session(id, more = {}) {
  return { id, agent: "main", key: "agent:main:telegram:direct:1", channel: "telegram", cause: "user", label: "Inbox", model: "opus", state: "running", inferred: true, started_ms: NOW - 9e5, last_activity_ms: NOW - 2000, duration_ms: 192_000, tree_cost_nano_usd: 4e8, parent_session: null, context_tokens: 124_000, context_window: 200_000, ...totals(4e8), ...more };
}

const monthEnd = {
  projected_nano_usd: 50e9, low_nano_usd: 40e9, high_nano_usd: 60e9, spent_nano_usd: 12e9, days_used: 14, from_ms: 0, to_ms: NOW, days_nano_usd: 28e9,
  today_nano_usd: 1e9, rest_of_today_nano_usd: 1e9, days_left: 18, days_left_nano_usd: 37e9, margin_nano_usd: 10e9, unpriced_calls: 0, basis: "14 days",
};

function overview(more = {}) {
  const figure = { from_ms: 0, to_ms: NOW, totals: totals(12.4e9), before: totals(11.02e9), before_from_ms: -NOW, before_to_ms: 0, spark_nano_usd: [1, 2, 3] };
  return {
    as_of_ms: NOW, tz: "Europe/Berlin", from_ms: 0, to_ms: NOW,
    coverage: { complete: true, indexed_bytes: 1, total_bytes: 1, bad_lines: 0, unreadable: 0, implausible: 0, as_of_ms: NOW },
    figures: { today: figure, week: figure, month: figure, month_end: monthEnd },
    budgets: { daily_usd: null, monthly_usd: null }, all_time: { sessions: 3, ...totals(99e9) },
    by_day: { days: ["2026-11-05", "2026-11-06"], partial_last: true, series: [{ key: "opus", label: "opus", cost_nano_usd: [1e9, 2e9], total_nano_usd: 3e9 }, { key: "Other", label: "Other", cost_nano_usd: [1e9, 0], total_nano_usd: 1e9 }] },
    by_cause: [{ key: "user", label: "user", ...totals(3e9) }], by_agent: [{ key: "main", label: "main", ...totals(4e9) }], by_model: [],
    gateway: { status: "unreachable", text: "not running", version: null, uptime_s: null, suspended: false, problem: "nobody listens", what_to_do: null, event_loop: null, nodes: [] },
    top_sessions: [session("s1")], live: [session("s1")], activity: [{ ts_ms: NOW - 5000, kind: "failed", session: "s1", agent: "main", label: "Inbox", text: "overloaded" }], attention: [],
    source: { openclaw_versions: ["2026.9.6"], homes: ["/home/ada/.openclaw"], agents: 1, sessions: 3, files: 4, databases: 1, indexed_percent: 100, eta_s: null, lag_ms: 210, ledger_bytes: 1e6, disk_free_bytes: 1e9, rss_bytes: 7e7, gateway: "not connected" },
    ...more,
  };
}

/** stateOf(), with `overview`, `usage`, `error` and fields of the route by their names. */
function state(more = {}) {
  const { overview: answer = overview(), usage = null, error = null, ...rest } = more;
  const own = ["page", "range", "zone", "by", "filters"];
  const route = { ...views.parseRoute(""), ...Object.fromEntries(Object.entries(rest).filter(([key]) => own.includes(key))) };
  return stateOf({ route, coverage: answer?.coverage ?? null, source: answer?.source ?? null, answers: { overview: { data: answer, error }, usage: { data: usage, error: null } }, ...rest });
}

const draw = (s) => views.Page(s, s.route.page === "overview" ? views.overviewPage : null);
const page = (more) => String(draw(state(more)));
const texts = (markup) => markup.replace(/<[^>]*>/g, " ").replace(/\s+/g, " ");

test("the address and the route are one", () => {
  for (const hash of ["#/overview", "#/overview?range=7d", "#/overview?range=2026-11-01..2026-11-05&tz=Europe/Berlin&by=agent", "#/cost?tz=Etc/GMT%2B3", "#/sessions?agent=main&model=anthropic/opus", "#/session/a%2Fb", "#/overview?range=2026-11-01T08:00..2026-11-01T10:00&compare=1"]) assert.equal(views.formatRoute(views.parseRoute(hash)), hash);
  assert.deepEqual(views.parseRoute("#/Ov<er>?range=<b>&tz=../../x&by=__proto__"), { page: "overview", rest: [], filters: {}, range: "30d", zone: "", isCompared: false, by: "model" });
  assert.deepEqual(views.askParams(views.parseRoute("#/overview?range=2026-11-01..2026-11-05&tz=UTC&cause=cron")), { from: "2026-11-01", to: "2026-11-05", tz: "UTC", cause: "cron" });
  assert.deepEqual(views.askParams(views.parseRoute("")), { from: "30d" });
  assert.equal(views.hrefTo(state({ range: "7d", filters: { agent: "a b" } }), "session", ["x/y"], [["tab", "tools"]]), "#/session/x%2Fy?range=7d&agent=a%20b&tab=tools");
});

test("ranges have names", () => {
  assert.equal(views.rangeName("7d"), "7 days");
  assert.equal(views.rangeName("14d"), "14 days");
  assert.equal(views.rangeName("2026-11-06..2026-11-06"), "Fri 6 Nov 2026");
  assert.equal(views.rangeName("2026-10-01..2026-11-06"), "1 Oct to 6 Nov 2026");
});

test("a model keeps its colour whatever order or company it comes in", () => {
  const first = views.assignColours([], ["a", "b", "c"]);
  const second = views.assignColours(first.kept, ["c", "d", "a"]);
  assert.equal(second.shown.get("a"), first.shown.get("a"));
  assert.equal(second.shown.get("c"), first.shown.get("c"));
  assert.equal(new Set(second.shown.values()).size, 3);
});

test("no two models of one picture share a colour, nor take the one of Other", () => {
  let kept = [];
  for (let round = 0; round < 40; round++) {
    const keys = Array.from({ length: 6 }, (_, i) => `m${(round * 5 + i * 7) % 31}`);
    const answer = views.assignColours(kept, keys);
    assert.equal(new Set(answer.shown.values()).size, new Set(keys).size);
    for (const slot of answer.shown.values()) assert.ok(slot >= 1 && slot <= 7);
    kept = answer.kept;
  }
});

test("hostile text in every field stays text", () => {
  const answer = hostile(overview({ attention: [{ level: "bad", kind: "x", text: "x", action: { label: "x", href: "x" } }] }));
  const usage = { ...hostile({ rows: [{ key: "k", label: "l", ...totals(1e9) }] }), by: "model", totals: totals(1e9), row_count: 1 };
  for (const isTable of [false, true]) {
    const s = state({ overview: answer, usage, isTable, serverZone: EVIL, browserZone: EVIL, zone: EVIL, range: "30d", error: { status: 500, message: EVIL }, version: EVIL });
    for (const view of [draw(s), views.Bar(s), views.Rail(s), views.Login({ ...s, login: { isBusy: false, message: EVIL } })]) {
      assert.ok(!/<script|<img|onerror=alert\(1\)>/.test(String(view)));
    }
  }
});

test("no view writes a style attribute, a handler, undefined or NaN", () => {
  const usage = { by: "tool", rows: [{ key: "(none)", label: "(none)", ...totals(0) }], totals: totals(0), row_count: 1 };
  const all = [state(), state({ usage, isTable: true }), state({ overview: null, isSlow: true }), state({ overview: null, error: { status: 0, message: "" } }), state({ needsLogin: true }), state({ page: "flow" })];
  for (const s of all) {
    for (const view of [draw(s), views.Bar(s), views.Rail(s)]) assert.deepEqual(complaintsAbout(view), []);
  }
});

test("the menus, the search and the settings are well made, and hostile text stays text", () => {
  const rows = [{ key: EVIL, label: EVIL, ...totals(1e9) }];
  const values = { data: { by: "agent", rows }, error: null, askedFor: {} };
  const results = ["session", "agent", "model"].map((kind) => ({ kind, key: EVIL, label: EVIL, agent: EVIL, channel: EVIL, last_activity_ms: NOW, model_calls: 3, cost_nano_usd: 1e9 }));
  for (const menu of ["range", "filter", "settings"]) {
    const s = state({ menu, filters: { agent: EVIL, model: EVIL }, currency: "EUR", isHidden: true });
    s.answers["filter-values"] = values;
    s.answers.search = { data: { q: "x", results }, error: null, askedFor: { q: "x" } };
    s.search = { text: "x", at: 1 };
    for (const view of [views.Bar(s), views.Search(s), views.Rail(s)]) {
      assert.deepEqual(complaintsAbout(view), []);
      assert.ok(!/<img|<script/.test(String(view)));
    }
  }
});

test("a calendar marks the days of the range", () => {
  assert.deepEqual(views.rangeDays("7d", "2026-11-06"), ["2026-10-31", "2026-11-06"]);
  assert.deepEqual(views.rangeDays("week", "2026-11-06"), ["2026-11-02", "2026-11-06"]);
  assert.deepEqual(views.rangeDays("month", "2026-11-06"), ["2026-11-01", "2026-11-06"]);
  assert.deepEqual(views.rangeDays("2026-11-01T08:00..2026-11-02T10:00", "2026-11-06"), ["2026-11-01", "2026-11-02"]);
  assert.equal(views.rangeDays("all", "2026-11-06"), null);
  assert.equal(views.addMonths("2026-03-31", -1), "2026-02-28");
  assert.equal(views.addMonths("2026-12-31", 1), "2027-01-31");
  const bar = String(views.Bar(state({ menu: "range", range: "2026-11-02..2026-11-04" })));
  assert.equal(bar.match(/class="day [^"]*is-in/g).length, 3);
  assert.equal(bar.match(/class="day [^"]*" [^>]*tabindex="0"/g).length, 1);
});

test("a long list has only the rows in sight in the document", () => {
  const row = (i) => html`<tr data-key="${i}"><td>${i}</td></tr>`;
  const table = (windows) => String(views.windowedTable({ name: "all", state: stateOf({ windows }), label: "All", heads: "", columns: 1, total: 12_345, rowHeight: 31, row }));
  const keys = (text) => [...text.matchAll(/<tr data-key="(\d+)"/g)].map(([, key]) => Number(key));
  assert.deepEqual([keys(table({}))[0], keys(table({})).at(-1)], [0, 25]);
  const middle = table({ all: { first: 5000, last: 5030 } });
  assert.deepEqual([keys(middle)[0], keys(middle).at(-1)], [4994, 5035]);
  const heights = [...middle.matchAll(/height="(\d+)"><\/svg>/g)].map(([, height]) => Number(height));
  assert.equal(heights.reduce((a, b) => a + b, 0) / 31 + keys(middle).length, 12_345);
  assert.deepEqual(keys(table({ all: { first: 12_330, last: 12_360 } })).at(-1), 12_344);
  assert.match(middle, /aria-rowcount="12346"/);
});

test("filters are chips with a button to remove them, and leave budgets out", () => {
  const bar = texts(String(views.Bar(state({ filters: { agent: "main", cause: "cron" } }))));
  assert.match(bar, /Agent main Remove the filter on Agent .*Cause cron/);
  const limits = { budgets: { daily_usd: 20, monthly_usd: 10 } };
  assert.doesNotMatch(texts(page({ overview: overview(limits), filters: { agent: "main" } })), /budget/);
});

test("unpriced calls are named, never a silent zero", () => {
  assert.match(texts(String(views.cost(totals(12.4e9, { unpriced_calls: 31 }), true))), /\$12\.40 \+ 31 unpriced calls/);
  assert.match(texts(String(views.cost(totals(0, { unpriced_calls: 10 }), true))), /— \+ 10 unpriced calls/);
  assert.match(texts(String(views.cost(totals(0)))), /\$0/);
  assert.match(texts(String(views.cost(totals(0, { unpriced_calls: 3 })))), /\+3 unpriced calls \$0/);
});

test("change says direction in words as well", () => {
  assert.deepEqual(views.change(totals(12.4e9), totals(11.02e9)), { mark: "▲", word: "up", text: "13\u00a0%" });
  assert.deepEqual(views.change(totals(5e9), totals(10e9)), { mark: "▼", word: "down", text: "50\u00a0%" });
  assert.equal(views.change(totals(1e9), totals(0)).text, "nothing");
  assert.equal(views.change(totals(0), totals(0)).text, "");
  assert.equal(views.change(totals(120e9), totals(10e9)).text, "×12");
});

test("an unknown projection is a dash with its reason", () => {
  const figures = { ...overview().figures, month_end: { projected_nano_usd: null, low_nano_usd: null, high_nano_usd: null, days_used: 1, basis: "needs 3 days" } };
  assert.match(texts(page({ overview: overview({ figures }) })), /At month end — needs 3 days/);
});

test("a projection says which calls are missing from it, and of what it is the sum", () => {
  const figures = { ...overview().figures, month_end: { ...monthEnd, unpriced_calls: 7 } };
  assert.match(texts(page({ overview: overview({ figures }) })), /At month end \$50\.00 between \$40\.00 and \$60\.00 without 7 calls that have no price/);
  assert.doesNotMatch(texts(page()), /that have no price/);
  const sheet = views.overviewPage.sheet(state({ sheet: { kind: "month-end", row: figures.month_end, label: "", params: null } }));
  assert.deepEqual(complaintsAbout(sheet), []);
  assert.match(texts(String(sheet)), /14 days; without 7 calls that have no price .*Spent so far .* \$12\.000000000 Rest of today \$28\.000000000 ÷ 14 − \$1\.000000000 .* \$1\.000000000 Days left 18 days × \$28\.000000000 ÷ 14 \$37\.000000000 Sum \$50\.000000000 ± \$10\.000000000/);
});

/** What a figure of a page opens: the sheet that its button would give the state. */
function opened(page, s, [, figure, from, value, part]) {
  let sheet = null;
  const plain = (text) => text.replaceAll("&amp;", "&").replaceAll("&quot;", '"');
  page.actions.formula({ dataset: { figure, from, value: plain(value), part: plain(part) } }, { state: s, dispatch: (change) => { ({ sheet } = change); } });
  return sheet;
}
const BUTTON = /data-figure="([^"]*)" data-from="([^"]*)" data-value="([^"]*)"\s+data-part="([^"]*)"/g;

test("every figure of Overview opens its formula, and asks for no more than it is of", () => {
  const rows = [{ key: "opus", label: "opus", ...totals(3e9) }];
  const usage = { by: "model", rows, totals: totals(3e9), row_count: 1 };
  const top = [session("s1", { tree_cost_nano_usd: 9e8 })];
  for (const isTable of [false, true]) {
    const s = state({ overview: overview({ by_model: rows, top_sessions: top, figures: { ...overview().figures, month: { ...overview().figures.month, totals: totals(12e9, { plan_cost_nano_usd: 5e9 }) } } }), usage, isTable, filters: { agent: "main" } });
    const buttons = [...String(draw(s)).matchAll(BUTTON)];
    const sheets = new Map(buttons.map((one) => [one.slice(1).join(" "), opened(views.overviewPage, s, one)]));
    for (const [name, sheet] of sheets) {
      assert.ok(sheet, name);
      const markup = views.overviewPage.sheet({ ...s, sheet });
      assert.deepEqual(complaintsAbout(markup), [], name);
    }
    const kinds = new Set(buttons.map(([, figure, from]) => `${figure} ${from}`));
    const always = ["cost spans", "plan spans", "cost before", "month-end month_end", "cost range", "cost by_cause", "cost by_model", "cost by_agent", "cost live", "cost top_sessions", "tree top_sessions", "cost usage", "cost all_time"];
    assert.deepEqual([...kinds].sort(), [...always, ...(isTable ? ["cost days"] : [])].sort());
    assert.deepEqual(sheets.get("cost before today ").params, { from: String(-NOW), to: "0" });
    assert.deepEqual(sheets.get("cost usage opus ").params, { model: "opus" });
    assert.deepEqual(sheets.get("cost top_sessions s1 ").params, { session: "s1" });
    const { from, agent, session: id } = sheets.get("cost live s1 ").params;
    assert.deepEqual([from, agent, id], ["all", "", "s1"]); // it is of the whole session, whatever is filtered
    if (isTable) assert.deepEqual(sheets.get("cost days 2026-11-05 opus").params, { from: "2026-11-05", to: "2026-11-05", model: "opus" });
  }
});

test("budgets: share, over, and the month end against them", () => {
  const text = texts(page({ overview: overview({ budgets: { daily_usd: 20, monthly_usd: 10 } }) }));
  assert.match(text, /62 % of \$20\.00 daily budget/);
  assert.match(text, /\$2\.40 over the \$10\.00 monthly budget/);
  assert.match(text, /▲ \$40\.00 over the monthly budget/);
});

test("while indexing, every total carries the mark and the strip says how long", () => {
  const answer = overview({ coverage: { ...overview().coverage, complete: false } });
  answer.source = { ...answer.source, indexed_percent: 63.4, eta_s: 41 };
  const text = page({ overview: answer });
  assert.equal(text.match(/class="mark is-warn"/g).length, 10);
  assert.match(texts(text), /indexed 63 %, 41 s left/);
  answer.source.indexed_percent = 99.97;
  assert.match(views.indexingWords(views.indexing(answer)), /99\u00a0%/);
});

test("an empty home says what will be here and the two commands", () => {
  const none = totals(0, { model_calls: 0 });
  const answer = overview({ all_time: { sessions: 0, ...none }, live: [] });
  assert.match(texts(page({ overview: answer })), /No model calls yet .*clawmeter doctor .*clawmeter demo/);
  answer.source = { ...answer.source, homes: [] };
  assert.match(texts(page({ overview: answer })), /No OpenClaw home was found/);
});

test("a first run is shown before its first call is known", () => {
  const none = totals(0, { model_calls: 0 });
  assert.match(texts(page({ overview: overview({ all_time: { sessions: 0, ...none } }) })), /1 session running/);
});

test("what runs is inferred only where no gateway says it", () => {
  const run = { running: true, doing: "answering", tool: null, since_ms: NOW, started_ms: NOW, runs: 1, model: null, provider: null, context_tokens: null, context_window: null };
  const live = [session("s1", { run, inferred: false }), session("s2", { state: "idle" })];
  const note = (gateway) => texts(/data-key="now".*?<\/header>|data-key="now".*?<table/s.exec(page({ overview: overview({ live, gateway: { ...overview().gateway, ...gateway } }) }))[0]);
  assert.match(note({ status: "connected" }), /1 session running(?!, inferred)/);
  assert.match(note({ status: "unreachable" }), /1 session running, inferred/);
});

test("a live row says what the gateway tells of its run, else nothing about now", () => {
  const run = { running: true, doing: "tool", tool: "exec", since_ms: NOW - 4000, started_ms: NOW - 65_000, runs: 1, model: "haiku", provider: "acme", context_tokens: 50_000, context_window: 100_000 };
  const row = (more) => texts(/data-key="now".*?<\/section>/s.exec(page({ overview: overview({ live: [session("s1", more)] }) }))[0]);
  assert.match(row({ run, inferred: false }), /Running .* exec .* haiku 50 % .* 1 m 5 s/);
  for (const [doing, word] of [["thinking", "Thinking"], ["waiting", "Waiting"], ["retrying", "Retrying"], ["compacting", "Compacting"], ["answering", "Answering"]]) {
    assert.match(row({ run: { ...run, doing, tool: null } }), new RegExp(word));
  }
  assert.match(row({ state: "idle", run: { ...run, running: false, doing: "aborted", tool: null } }), /Idle .* Aborted/);
  assert.match(row({ run: null }), /Doing .* — .* opus/);
  assert.match(row({ run: { ...run, doing: "constructor" } }), / — /);
});

test("what an event says of a run is in its row at once; that one began or ended is looked up", () => {
  const run = { running: true, doing: "waiting", tool: null, runs: 1 };
  const told = { session: "s1", key: "agent:main:telegram:direct:1", ...run, doing: "tool", tool: "exec" };
  const heard = (data, answer = overview({ live: [session("s1", { run }), session("s2", { key: "agent:main:b", run: null })] }), kind = "session") => {
    const changes = [];
    const taken = views.overviewPage.heard(kind, data, { state: state({ overview: answer }), dispatch: (change) => changes.push(change) });
    return [taken, changes.map((one) => one.answers.overview.data.live.map((row) => row.run?.tool ?? null))];
  };
  assert.deepEqual(heard(told), [true, [["exec", null]]]);
  assert.deepEqual(heard({ ...told, session: told.key }), [true, [["exec", null]]]);
  const others = [{ ...told, running: false }, { ...told, key: "agent:main:b", session: "s2" }, { ...told, session: "s9" }, { ...told, key: "agent:x:y" }];
  for (const data of others) assert.deepEqual(heard(data), [false, []]);
  assert.deepEqual(heard(told, null), [false, []]);
  assert.deepEqual(heard({ calls: 1 }, overview(), "usage"), [false, []]);
});

test("the gateway is one line, without an alarm", () => {
  const line = (more) => texts(/<p class="more" data-key="gateway".*?<\/p>/s.exec(page({ overview: overview({ gateway: { ...overview().gateway, ...more } }) }))?.[0] ?? "");
  assert.match(line({}), /Gateway not running: what runs is told from the transcripts/);
  assert.equal(line({ status: "off" }), "");
  assert.match(line({ status: "refused", problem: "wrong <b>token" }), /Gateway not connected: wrong &lt;b&gt;token/);
  const told = { status: "connected", version: "2026.9.6", uptime_s: 3600, event_loop: { degraded: false, delay_p99_ms: 12.4, utilization: 0.05 } };
  assert.match(line(told), /Gateway: OpenClaw 2026\.9\.6 · up 1 h · event loop 12 ms late/);
  assert.match(line({ ...told, suspended: true, event_loop: { degraded: true, delay_p99_ms: null, utilization: 0.97 } }), /97 % busy · slow · suspended/);
  assert.match(line({ ...told, version: null, uptime_s: null, event_loop: null }), /Gateway: OpenClaw, version not told $/);
});

test("errors say what failed, why, and offer a retry; with numbers on show they stay", () => {
  assert.match(texts(page({ overview: null, error: { status: 500, message: "ledger locked" } })), /could not be read .*500: ledger locked.*Try again/);
  assert.match(texts(page({ overview: null, error: { status: 0, message: "" } })), /does not answer/);
  const both = texts(page({ error: { status: 500, message: "ledger locked" } }));
  assert.match(both, /These are the last numbers\. .*Today/);
});

test("a lost connection names the last update", () => {
  assert.match(texts(String(views.Bar(state({ connection: "lost" })))), /Reconnecting , last update 13:00:00/);
});

test("sub-agents stand under their parent, also in a ring", () => {
  const row = (id, parent) => ({ id, parent_session: parent });
  const nested = (rows) => views.nestSessions(rows).map(([one, depth]) => `${one.id}${depth}`).join(" ");
  assert.equal(nested([row("c", "b"), row("a", null), row("b", "a"), row("d", "gone")]), "a0 b1 c2 d0");
  assert.equal(nested([row("a", "b"), row("b", "a"), row("s", "s")]), "s0 a0 b1");
});

test("a session without a label is called by its key, then its id", () => {
  assert.equal(views.sessionName({ label: "Inbox" }), "Inbox");
  assert.equal(views.sessionName({ label: null, key: "agent:main:telegram:direct:7" }), "telegram:direct:7");
  assert.equal(views.sessionName({ label: "", key: null, id: "ac624b17-0000" }), "ac624b17");
});

test("pages that do not exist are in the rail, disabled, and nothing links to them", () => {
  const rail = String(views.Rail(state()));
  const built = [...views.BUILT].filter((one) => rail.includes(`data-page="${one}"`));
  assert.equal(rail.match(/aria-disabled="true"/g).length, 10 - built.length);
  assert.equal(rail.match(/href=/g).length, built.length);
  const attention = [{ level: "warn", kind: "x", text: "t", action: { label: "Open", href: "#/nowhere" } }, { level: "warn", kind: "y", text: "t", action: { label: "Run", href: "javascript:alert(1)" } }];
  assert.ok(!/href="(#\/nowhere|javascript)/.test(page({ overview: overview({ attention }) })));
});

test("a link of the server keeps range, zone and filters, and an id may need escapes", () => {
  const attention = [{ level: "warn", kind: "x", text: "t", action: { label: "Set a price", href: "#/cost" } }, { level: "bad", kind: "y", text: "t", action: { label: "See the job", href: "#/crons/a%20%C3%A9" } }];
  const text = page({ overview: overview({ attention }), range: "7d", zone: "Asia/Tokyo", filters: { agent: "main" } });
  assert.match(text, /href="#\/cost\?range=7d&amp;tz=Asia\/Tokyo&amp;agent=main"/);
  assert.match(text, /href="#\/crons\/a%20%C3%A9\?range=7d/);
});

test("nothing known of a cost is no $0, wherever it is used", () => {
  const none = { cost_nano_usd: 0, tree_cost_nano_usd: 0, unpriced_calls: 3, model_calls: 3 };
  assert.deepEqual([views.knownCost(none), views.treeCost(none)], [null, null]);
  assert.deepEqual([views.knownCost({ ...none, model_calls: 4 }), views.treeCost({ ...none, tree_cost_nano_usd: 7 })], [0, 7]);
  assert.equal(views.costShare(none, 9), "—");
  assert.deepEqual([views.change(none, totals(1e9)).text, views.change(totals(1e9), none).text], ["", ""]);
  const s = state({ search: { text: "x" } });
  s.answers.search = { data: { q: "x", results: [{ kind: "agent", key: "x", label: "x", model_calls: 3, cost_nano_usd: 0 }] }, error: null, askedFor: { q: "x" } };
  assert.equal(views.searchHits(s)[0].note, "3 calls");
});

test("breakdown totals come from the answer, not from the rows on show", () => {
  const rows = Array.from({ length: 30 }, (_, i) => ({ key: `t${i}`, label: `t${i}`, ...totals(1e9) }));
  const usage = { by: "tool", rows, totals: totals(30e9), row_count: 4321 };
  const shown = (more) => /data-key="breakdown".*?<\/section>/s.exec(page({ usage, ...more }))[0];
  const text = shown({});
  assert.equal(text.match(/<tr data-key/g).length, 12);
  assert.match(texts(text), /All 4,321 .*\$30\.00/);
  assert.equal(shown({ isAllShown: true }).match(/<tr data-key/g).length, 30);
});

test("where no call has a price, neither the month's end nor the chart is $0", () => {
  const free = totals(0, { unpriced_calls: 10 });
  const figure = { from_ms: 0, to_ms: NOW, totals: free, before: free, spark_nano_usd: [0, 0] };
  const figures = { today: figure, week: figure, month: figure, month_end: { ...monthEnd, projected_nano_usd: 0, low_nano_usd: 0, high_nano_usd: 0, unpriced_calls: 10 } };
  const text = page({ overview: overview({ figures, by_day: { days: ["2026-11-06"], partial_last: true, series: [] }, by_model: [{ key: "a/free", label: "free", ...free }], by_cause: [], by_agent: [], top_sessions: [], live: [] }) });
  const part = (key) => texts(text.match(new RegExp(`data-key="${key}"[\\s\\S]*?</section>`))[0]);
  assert.match(part("month-end"), /— \+ 10 unpriced calls .*cannot be projected/);
  assert.match(part("by-day"), /— \+ 10 unpriced calls .*10 calls have no price: .* Set a price/);
  assert.doesNotMatch(part("month-end") + part("by-day"), /\$0/);
});

test("the legend has what has no price: models of their own as a dash, those of Other as its mark", () => {
  const free = (key, calls) => ({ key: `acme/${key}`, label: key, ...totals(0, { model_calls: calls, unpriced_calls: calls }) });
  const rows = [{ key: "opus", label: "opus", ...totals(3e9) }, { key: "acme/rest", label: "rest", ...totals(1e9, { unpriced_calls: 4 }) }, ...["a", "b", "c", "d", "e", "f", "g", "h"].map((key) => free(key, 5))];
  const legend = page({ overview: overview({ by_model: rows }) }).match(/<ul class="legend">[\s\S]*?<\/ul>/)[0];
  const line = (key) => texts(legend.match(new RegExp(`<li data-key="${key}">[\\s\\S]*?</li>`))[0]);
  assert.match(line("acme/a"), /a \+5 unpriced calls — —/);
  assert.match(line("Other"), /Other \+14 unpriced calls \$1\.00/);
  assert.doesNotMatch(legend, /acme\/h/);
});

test("an eighth model takes no colour of another, and has the same one whenever it is drawn", () => {
  const seven = ["a", "b", "c", "d", "e", "f", "g"];
  const { kept } = views.assignColours([], seven);
  const alone = views.assignColours(kept, ["a", "h"]);
  assert.deepEqual(alone.kept, kept);
  assert.equal(views.slotOf(alone.kept, "h"), 8);
  assert.equal(alone.shown.get("a"), 1);
  assert.ok(alone.shown.get("h") > 1 && alone.shown.get("h") < 8);
  assert.equal(views.assignColours(kept, ["h", "a"]).shown.get("h"), alone.shown.get("h"));
});
