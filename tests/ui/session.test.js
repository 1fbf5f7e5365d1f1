import { test } from "node:test";
import assert from "node:assert/strict";
import * as session from "./assets/session.js";
import { lines, tooltip } from "./assets/chart.js";
import { formatRoute, parseRoute } from "./assets/views.js";

const { page } = session;
const pages = { session: page };
const NOW = Date.parse("2026-11-06T12:00:00Z");
const HOSTILE = `</pre></bdi><script>alert(1)</script><img src=x onerror=alert(1)>"'\` \u202egnp.exe\u2066 \u001b[31mred\u001b[0m \u0000 [x](javascript:alert(1))`;
const TOTALS = {
  model_calls: 4, input_tokens: 100, output_tokens: 20, cache_read_tokens: 300, cache_write_tokens: 100, total_tokens: 520,
  cost_usd: 1.5, cost_nano_usd: 1_500_000_001, recorded_cost_nano_usd: 0, plan_cost_nano_usd: 0, unpriced_calls: 0,
};

function detail(more = {}) {
  return {
    id: "abc", agent: "main", key: "agent:main:main", channel: "telegram", cause: "user", cron_job: null, label: "Deploy", model: "opus",
    provider: "anthropic", state: "ended", inferred: true, status: null, started_ms: NOW - 7_200_000, last_activity_ms: NOW - 60_000,
    duration_ms: 7_140_000, tree_cost_nano_usd: 2_000_000_000, parent_session: null, parent_key: null, tool_calls: 5, tool_errors: 1,
    model_errors: 1, aborts: 0, failovers: 0, compactions: 0, user_messages: 3, context_tokens: 62_000, context_window: 100_000, stored_as: "live",
    thinking_level: "low", models: [{ provider: "anthropic", model: "opus", ...TOTALS }], tools: [{ tool: "exec", calls: 5, errors: 1, p50_ms: 900, p95_ms: 4000 }],
    subagents: [], prompt: null, copied_calls: 0, copied_from: [], sources: [{ path: "/x/abc.jsonl", kind: "live", state: "ok" }], ...TOTALS, ...more,
  };
}

function turn(n, more = {}) {
  return {
    n, from_ms: NOW - 1_000_000 + n * 10_000, to_ms: NOW - 1_000_000 + n * 10_000 + 8000, duration_ms: 8000, models: ["opus"], new_model: null, is_heartbeat: false,
    latency_ms: 5000, model_ms: 5000, tool_ms: 2000, wait_ms: 1000, tool_calls: 1, tool_errors: 0, model_errors: 0, retries: 0, aborts: 0, failovers: 0,
    compactions: 0, subagents: 0, subagent_cost_nano_usd: 0, stretches: [["model", 0, 3000], ["tool", 3000, 2000], ["model", 5000, 2000]], ...TOTALS,
    cost_nano_usd: 1000 * (n + 1), ...more,
  };
}

function entry(n, more = {}) {
  return {
    n, id: `e${n}`, parent_id: null, ts_ms: NOW - 100_000 + n, kind: "user", role: "user", text: `text ${n}`, thinking: [], tool_calls: [], tool_name: null,
    tool_call_id: null, is_error: false, duration_ms: null, model: null, provider: null, usage: null, cost_nano_usd: null, stop_reason: null, error: null,
    images: 0, source: "live", clipped: false, ...more,
  };
}

const turnsAnswer = (turns) => ({ session: "abc", turns, total: turns.length, skipped: 0, skipped_totals: { ...TOTALS, cost_nano_usd: 0 }, coverage: null });
const entriesAnswer = (entries, more = {}) => ({ session: "abc", entries, offset: 0, limit: 150, total: entries.length, available: true, sources: [], reason: null, ...more });

function stateOf(hash, answers = {}, more = {}) {
  const all = { "session abc": detail(), "turns abc": turnsAnswer([turn(0), turn(1), turn(2)]), ...answers };
  return {
    route: parseRoute(hash, pages), now: NOW, serverZone: "UTC", palette: [["anthropic/opus", 3]], widths: {}, windows: {}, menu: "", coverage: null, source: null,
    answers: Object.fromEntries(Object.entries(all).filter(([, data]) => data).map(([key, data]) => [key, { data, error: null, askedFor: {} }])), ...more,
  };
}

const draw = (state) => String(page.view(state));
const asksOf = (state) => page.asks(state).map(({ key }) => key.split(" ")[0]);
const clean = (text) => assert.ok(!/undefined|NaN|\[object/.test(text), /.{60}(undefined|NaN|\[object).{60}/.exec(text)?.[0]);

test("a session without a price costs no $0: not by call, by turn, nor with its sub-agents", () => {
  const none = { cost_nano_usd: 0, tree_cost_nano_usd: 0, unpriced_calls: 4 };
  const session = detail({ ...none, models: [{ provider: "acme", model: "x", ...TOTALS, ...none }] });
  const text = draw(stateOf("#/session/abc?turn=0", { "session abc": session, "turns abc": turnsAnswer([turn(0, none)]), "spans abc": { items: [] } }));
  assert.doesNotMatch(/class="session-facts".*?<\/dl>/s.exec(text)[0], /\$/);
  assert.match(text, /Turn 1, [^"<]*tokens, —/);
  assert.doesNotMatch(/data-key="models".*?<\/section>/s.exec(text)[0], /\$0|0\u00a0%/);
});

test("a turn whose calls could not be read says so", () => {
  const state = stateOf("#/session/abc?turn=0");
  assert.match(draw(state), /Loading/);
  state.answers["spans abc"] = { data: null, error: { status: 500, message: "it broke" } };
  assert.match(draw(state), /it broke/);
});

test("the address holds the part, the turn, the place and the search", () => {
  for (const hash of [
    "#/session/abc", "#/session/abc?turn=12", "#/session/a%2Fb%20c?view=transcript&kinds=tools,errors&find=no%20such&at=1234",
    "#/session/abc?view=transcript&ms=1790538250063", "#/session/abc?with=def",
  ]) assert.equal(formatRoute(parseRoute(hash, pages), pages).replace(/%2C/g, ","), hash);
  const wild = parseRoute("#/session/abc?view=x&turn=-1&at=1e9&kinds=dreams,tools,tools&ms=99999999999999999999", pages);
  assert.deepEqual([wild.view, wild.turn, wild.at, wild.ms, wild.kinds], ["", null, null, null, ["tools"]]);
});

test("only what is on show is asked for", () => {
  assert.deepEqual(asksOf(stateOf("#/session/abc")), ["session", "turns"]);
  assert.deepEqual(asksOf(stateOf("#/session/abc?turn=1")), ["session", "turns", "spans"]);
  assert.deepEqual(asksOf(stateOf("#/session/abc?view=transcript")), ["session", "entries"]);
  assert.deepEqual(asksOf(stateOf("#/session/abc?with=def")), ["session", "session", "turns", "turns"]);
  assert.deepEqual(asksOf(stateOf("#/session")), []);
  const spans = page.asks(stateOf("#/session/abc?turn=1")).at(-1);
  assert.deepEqual([spans.params.since_ms, spans.params.until_ms], [turn(1).from_ms, turn(2).from_ms]);
  assert.equal(page.asks(stateOf("#/session/abc?turn=2")).at(-1).params.until_ms, undefined);
});

test("a running transcript is followed, an ended one is not read again", () => {
  const on = (state) => page.asks(stateOf("#/session/abc?view=transcript", { "session abc": detail({ state }) })).at(-1).on;
  assert.deepEqual([on("running"), on("ended")], [["usage"], []]);
});

test("the part of the transcript that is asked for", () => {
  const params = (hash, more) => session.entriesAsk(stateOf(hash, {}, more)).params;
  assert.equal(params("#/session/abc?view=transcript").offset, 0);
  assert.equal(params("#/session/abc?view=transcript&at=1234").offset, 1200);
  assert.equal(params("#/session/abc?view=transcript&at=5").offset, 0);
  assert.equal(params("#/session/abc?view=transcript&ms=123456").at_ms, 123456);
  const place = JSON.stringify(["abc", [], null, null]);
  assert.equal(params("#/session/abc?view=transcript", { entryWindow: { place, offset: 350 } }).offset, 350);
  assert.equal(params("#/session/abc?view=transcript&at=7", { entryWindow: { place, offset: 350 } }).offset, 0, "another place, another part");
});

test("the head says what a session cost, own and with sub-agents, and how much came from the cache", () => {
  const text = draw(stateOf("#/session/abc"));
  assert.match(text, /title="\$1\.500000001"/);
  assert.match(text, /title="\$2\.000000000"/);
  assert.match(text, /60\.0\u00a0%/);
  assert.match(text, /62\u00a0%/);
  clean(text);
  assert.equal(session.cacheRate({ input_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0 }), null);
});

test("sessions say what became of them", () => {
  const link = (id) => id;
  const words = (more) => session.fateWords(detail(more), link).map(String).join(" ");
  assert.equal(words({}), "");
  assert.match(words({ sources: [] }), /ledger keeps/);
  assert.match(words({ sources: [{ path: "x", kind: "deleted", state: "ok" }] }), /deleted this session/);
  assert.match(words({ sources: [{ path: "x", kind: "reset", state: "ok" }] }), /reset this session/);
  assert.match(words({ sources: [{ path: "x", kind: "cold", state: "ok" }] }), /archive/);
  assert.equal(words({ sources: [{ path: "x", kind: "deleted", state: "ok" }, { path: "y", kind: "database", state: "ok" }] }), "");
  assert.match(words({ parent_session: "p1" }), /Sub-agent of p1/);
  assert.match(words({ copied_from: [{ session: "q", calls: 12 }] }), /12 calls were copied from q/);
  assert.match(words({ compactions: 3 }), /compacted 3 times/);
  assert.match(words({ compactions: 1 }), /compacted once/);
});

test("the strip has room for every turn and stays inside", () => {
  for (const [count, width] of [[1, 300], [3, 700], [500, 700], [2000, 340]]) {
    const turns = Array.from({ length: count }, (_, i) => turn(i, { duration_ms: i % 7 ? 1000 : 900_000 }));
    const blocks = session.stripOf(turns, width);
    const last = blocks[blocks.length - 1];
    assert.ok(Math.abs(last.x + last.width - width) < 0.5, `${count}: ${last.x + last.width}`);
    assert.ok(blocks.length <= width + 1);
    assert.equal(last.last.n, count - 1);
    blocks.slice(1).forEach((block, i) => assert.ok(Math.abs(blocks[i].x + blocks[i].width - block.x) < 1e-6));
    const state = stateOf("#/session/abc?turn=1");
    const model = session.stripModel(turnsAnswer(turns), blocks, state);
    clean(String(session.Strip(model, width + 58, state)));
    // The pointer finds the block that is drawn under it.
    const at = model.layout(width + 58, 118);
    blocks.forEach((_, i) => assert.equal(at.indexAt(at.center(i)), i));
    assert.deepEqual([at.indexAt(-5), at.indexAt(9999)], [0, blocks.length - 1]);
  }
});

test("the line of cost ends at the session's cost, to the nano-dollar", () => {
  const totals = session.soFar([turn(0, { cost_nano_usd: 3 }), turn(1, { cost_nano_usd: 4_999_999_999_998 })], { ...TOTALS, cost_nano_usd: 10 });
  assert.deepEqual(totals.map((one) => one.cost_nano_usd), [13, 5_000_000_000_011]);
});

test("the strip's tooltip has what a turn took by kind, what it cost, the cost so far and its marks", () => {
  const turns = [turn(0, { cost_nano_usd: 1e9 }), turn(1, { cost_nano_usd: 2e9, tool_errors: 2, compactions: 1 }), turn(2, { cost_nano_usd: 4e9, unpriced_calls: 1, wait_ms: 6000 })];
  const state = stateOf("#/session/abc", { "turns abc": { ...turnsAnswer(turns), skipped_totals: { ...TOTALS, cost_nano_usd: 8e9 } } });
  const { strip: { model, choose } } = page.charts(state);
  const rows = (...place) => [...String(tooltip(model, ...place)).matchAll(/<tr[^>]*>(.*?)<\/tr>/gs)].map(([, row]) => row.replace(/<[^>]*>/g, " ").replace(/\s+/g, " ").trim());
  assert.deepEqual(rows(1).slice(1), ["Model 5.0 s 63 %", "Tools 2.0 s 25 %", "Waiting 1.0 s 13 %", "Tokens 520", "Cost $2.00", "Cost so far $11.00", "2 errors, compacted"]);
  assert.match(rows(1)[0], /^Turn 2, 6 Nov \d\d:\d\d 8\.0 s$/);
  const all = rows(2, 0);
  assert.equal(all[0], "Turn 1 to Turn 3 29 s");
  assert.match(all.find((row) => row.startsWith("Cost ")), /\+1 .*\$7\.00/, "what has no price is said");
  const went = [];
  choose(1, { state, go: (change) => went.push(change) });
  assert.deepEqual(went, [{ turn: 1 }]);
});

test("the strip and the race have their numbers as a table; what is not known is a dash", () => {
  const none = { cost_nano_usd: 0, unpriced_calls: 4 };
  const text = draw(stateOf("#/session/abc", { "turns abc": { ...turnsAnswer([turn(0, none), turn(1)]), skipped_totals: { ...TOTALS, cost_nano_usd: 0, model_calls: 0 } } }));
  const twin = /<details class="twin" data-key="twin-strip">.*?<\/details>/s.exec(text)[0];
  assert.deepEqual([...twin.matchAll(/<th scope="col"[^>]*>(.*?)<\/th>/g)].map(([, one]) => one.replace(/<[^>]*>/g, "")), ["Turn", "Model", "Tools", "Waiting", "Tokens", "Cost", "Cost so far", "Marks"]);
  assert.match(/data-key="0">.*?<\/tr>/s.exec(twin)[0], /—/);
  assert.doesNotMatch(twin, /\$0</);
  const unknown = draw(stateOf("#/session/abc", { "turns abc": { ...turnsAnswer([turn(0, none)]), skipped_totals: { ...TOTALS, cost_nano_usd: 0, model_calls: 0 } } }));
  assert.ok(!unknown.includes('class="cost-line"'), "no line at $0 where nothing has a price");
});

test("of two sessions only what is known of both is drawn: turn by turn, by the turn's own number", () => {
  const sides = [
    { ...turnsAnswer([turn(0), turn(1)]) },
    { ...turnsAnswer([turn(1, { cost_nano_usd: 5 }), turn(2, { cost_nano_usd: 6 })]), skipped: 1, skipped_totals: { ...TOTALS, cost_nano_usd: 100 } },
  ];
  const model = session.raceModel(sides, ["one", "two"], 100);
  assert.deepEqual(model.spans.map((span) => span.label), ["Turn 1", "Turn 2", "Turn 3"]);
  assert.deepEqual(model.series.map((one) => one.values), [[1000, 3000, null], [null, 105, 111]]);
  assert.match(String(tooltip(model, 0)), /one.*two.*—/s);
  const long = session.raceModel([turnsAnswer(Array.from({ length: 1999 }, (_, n) => turn(n))), sides[0]], ["a", "b"], 300);
  assert.ok(long.spans.length <= 300);
  assert.equal(long.spans.at(-1).key, "1998");
  for (const count of [1, 3]) {
    const short = turnsAnswer(Array.from({ length: count }, (_, n) => turn(n)));
    for (const most of [100, 550]) {
      const uneven = session.raceModel([turnsAnswer(Array.from({ length: 1000 }, (_, n) => turn(n))), short], ["a", "b"], most);
      const known = uneven.series[1].values.filter((value) => value !== null);
      assert.equal(known.at(-1), session.soFar(short.turns, short.skipped_totals).at(-1).cost_nano_usd, "what a short one cost is not thinned away");
      assert.match(String(lines(uneven, 1100, 160)), count === 1 ? /<circle[^>]*data-series="b"/ : /<path d="M[^"]*L[^"]*" data-series="b"/);
    }
  }
  const free = session.raceModel([turnsAnswer([turn(0, { cost_nano_usd: 0, unpriced_calls: 4 })])].map((one) => ({ ...one, skipped_totals: { ...TOTALS, cost_nano_usd: 0, model_calls: 0 } })), ["a"], 9);
  assert.deepEqual(free.series[0].values, [null], "a session without a price did not cost $0");
});

test("turns are marked with what happened in them", () => {
  const busy = turn(0, { model_errors: 1, tool_errors: 2, retries: 1, failovers: 1, compactions: 1, new_model: "haiku", subagents: 2, aborts: 1 });
  const text = draw(stateOf("#/session/abc", { "turns abc": turnsAnswer([busy, turn(1, { is_heartbeat: true }), turn(2, { model_calls: 0, stretches: [] })]) }));
  for (const word of ["3 errors", "1 retry", "failover", "compacted", "to haiku", "2 sub-agents", "aborted", "heartbeat", "no call"]) assert.ok(text.includes(word), word);
  clean(text);
});

test("a turn's waterfall: begins, ends, retries and what ran beside", () => {
  const call = (ts, latency, more = {}) => ({ kind: "model_call", ts_ms: ts, latency_ms: latency, model: "opus", stop_reason: "toolUse", input_tokens: 1, output_tokens: 1, cache_read_tokens: 1, cache_write_tokens: 1, cost_nano_usd: 5, is_failover: false, tools: [], ...more });
  const tool = (ts, duration, more = {}) => ({ kind: "toolResult", ts_ms: ts, tool: "exec", is_error: false, duration_ms: duration, ...more });
  const items = [
    { kind: "user", ts_ms: 1000, tool: null, is_error: false, duration_ms: null }, call(3000, 1500), tool(6000, 2500), tool(6500, 3400),
    call(7000, 300, { stop_reason: "error" }), call(9000, 1500, { model: "haiku", is_failover: true, stop_reason: "stop" }),
  ];
  const below = [{ id: "kid", key: "agent:x:subagent:1", label: null, started_ms: 3200, last_activity_ms: 6100, total_tokens: 9, tree_cost_nano_usd: 77 }];
  const spans = session.spansOf(items, { from_ms: 1000 }, below);
  assert.deepEqual(spans.map((one) => [one.kind, one.begin, one.end]), [
    ["event", 1000, 1000], ["model", 1500, 3000], ["tool", 3100, 6500], ["subagent", 3200, 6100], ["tool", 3500, 6000], ["failed", 6700, 7000], ["model", 7500, 9000],
  ]);
  assert.deepEqual(spans.at(-1).marks, ["retry", "failover", "other model"]);
  assert.deepEqual(spans.map((one) => one.depth), [0, 0, 1, 1, 1, 0, 0], "tools and sub-agents belong to the call that made them");
  assert.deepEqual(spans.map((one) => one.waited ?? null), [null, 500, 100, null, 0, 200, 500], "the time in which nothing ran");
  const path = [...session.criticalPath(spans)].map((one) => one.end).sort((a, b) => a - b);
  assert.deepEqual(path, [3000, 6500, 7000, 9000], "the tool that ended first is not what was waited for");
  const untimed = session.spansOf([call(25_000, 5000), tool(40_000, 15_000), call(95_000, null)], { from_ms: 20_000 }, []);
  assert.deepEqual(untimed.map((one) => one.waited ?? null), [0, 0, null], "where a call has no latency it is not known how long was waited");
});

test("a turn's waterfall is a tree: calls, their tools, and what those in turn began", () => {
  const call = (ts) => ({ kind: "model_call", ts_ms: ts, latency_ms: 500, model: "opus", stop_reason: "toolUse", input_tokens: 1, output_tokens: 1, cache_read_tokens: 1, cache_write_tokens: 1, cost_nano_usd: 5, is_failover: false, tools: [] });
  const tool = (name, ts, more = {}) => ({ kind: "toolResult", ts_ms: ts, tool: name, is_error: false, duration_ms: 90, ...more });
  const kid = (id, began) => ({ id, key: null, label: id, started_ms: began, last_activity_ms: began + 5000, total_tokens: 9, tree_cost_nano_usd: 77 });
  const items = [
    { kind: "user", ts_ms: 1000, tool: null }, call(2000), { kind: "custom", ts_ms: 2095, tool: "web_search" }, tool("web_search", 2100),
    call(3000), tool("sessions_spawn", 3100, { is_error: true }), tool("sessions_spawn", 3200), tool("sessions_spawn", 3300), call(4000), { kind: "compaction", ts_ms: 4100, tool: null },
  ];
  const spans = session.spansOf(items, { from_ms: 1000 }, [kid("a", 3201), kid("b", 3301), kid("c", 3400)]);
  assert.deepEqual(spans.map(({ depth, name }) => `${"-".repeat(depth)}${name}`), [
    "User message", "opus", "-web_search", "--web_search",
    "opus", "-sessions_spawn", "-sessions_spawn", "--a", "-sessions_spawn", "--b", "-c",
    "opus", "Context compacted",
  ]);
});

test("marks that have no room are counted", () => {
  assert.equal(session.fitting([], 100), 0);
  assert.equal(session.fitting(["1 error", "compacted"], 300), 2);
  assert.equal(session.fitting(["1 error", "compacted", "failover"], 180), 2);
  assert.equal(session.fitting(["1 error", "compacted", "failover"], 150), 1, "with room for how many there are besides");
  assert.equal(session.fitting(["to a-model-with-a-very-long-name"], 50), 1);
  assert.equal(session.fitting(["已压缩上下文", "1 个错误"], 130), 1, "Chinese is wider");
  const busy = turn(0, { model_errors: 1, tool_errors: 2, retries: 1, failovers: 1, compactions: 1, new_model: "haiku", subagents: 2 });
  const text = draw(stateOf("#/session/abc", { "turns abc": turnsAnswer([busy]) }, { widths: { strip: 500 } }));
  const cell = /<td class="turn-marks"(.*?)<\/td>/s.exec(text)[0];
  assert.match(cell, /title="3 errors, 1 retry, failover, compacted, to haiku, 2 sub-agents"/);
  assert.match(cell, /aria-hidden="true">\+5<.*failover, compacted/s);
});

test("an open turn shows its waterfall once it has come", () => {
  const state = stateOf("#/session/abc?turn=1", { "spans abc": { session: "abc", items: [{ kind: "user", ts_ms: turn(1).from_ms, tool: null, is_error: false, duration_ms: null }] } });
  assert.match(draw(state), /Loading/);
  state.answers["spans abc"].askedFor = { since_ms: turn(1).from_ms };
  const text = draw(state);
  assert.match(text, /User message/);
  assert.match(text, /class="is-open"/);
  clean(text);
  assert.match(draw(stateOf("#/session/abc?turn=99")), /There is no such turn/);
});

test("entries: kinds, thinking folded, arguments as folded JSON, images as words", () => {
  const entries = [
    entry(0), entry(1, { kind: "assistant", role: "assistant", thinking: ["hm"], tool_calls: [{ id: "c", name: "exec", arguments: { command: "ls" } }], model: "opus", usage: { input: 1, output: 2, cacheRead: 3, cacheWrite: 4 }, cost_nano_usd: 5e7, stop_reason: "toolUse" }),
    entry(2, { kind: "tool_result", role: "toolResult", tool_name: "exec", text: `{"a":[1,2]}\nmore`, is_error: true, duration_ms: 1200 }),
    entry(3, { images: 2, text: "" }), entry(4, { kind: "compaction", role: null, text: "summary\nof it" }), entry(5, { clipped: true }),
  ];
  const text = draw(stateOf("#/session/abc?view=transcript&at=2", { "entries abc": entriesAnswer(entries) }));
  assert.ok(!/<details[^>]* open/.test(text), "everything long is folded");
  assert.match(text, /&quot;command&quot;: &quot;ls&quot;/);
  assert.match(text, /2 images, not shown/);
  assert.match(text, /is-failed is-at/);
  assert.match(text, /data-action="whole" data-value="5"/);
  assert.ok(!/<img/.test(text));
  clean(text);
});

test("what was asked for in full replaces what was cut", () => {
  const cut = entry(0, { text: "abc", clipped: true });
  const state = stateOf("#/session/abc?view=transcript", { "entries abc": entriesAnswer([cut]) }, { whole: { [`abc e0 ${cut.ts_ms}`]: entry(0, { text: "abcdef" }) } });
  const text = draw(state);
  assert.match(text, /abcdef/);
  assert.ok(!text.includes('data-action="whole"'));
});

test("matches are marked, and only as text", () => {
  const view = (text, find) => session.marked(text, find);
  assert.equal(view("plain", ""), "plain");
  const parts = view("A <b>b</b> a", "<B>");
  assert.equal(String(parts[1]), "<mark>&lt;b&gt;</mark>");
  assert.equal(view("İstanbul is", "is"), "İstanbul is", "places would be wrong");
  assert.ok(view("a".repeat(5000), "a").length < 900);
});

test("a transcript that is gone says so and leads to the ledger", () => {
  const gone = entriesAnswer([], { available: false, reason: "gone" });
  const text = draw(stateOf("#/session/abc?view=transcript", { "entries abc": gone }));
  assert.match(text, /ledger keeps its numbers/);
  assert.match(text, /\$1\.50/);
});

test("hostile text in every field runs nothing and breaks nothing", () => {
  const h = HOSTILE;
  const evil = {
    "session abc": detail({
      label: h, agent: h, key: h, channel: h, cause: h, cron_job: h, thinking_level: h, parent_session: h, parent_key: h, copied_from: [{ session: h, calls: 1 }], state: h,
      models: [{ provider: h, model: h, ...TOTALS }], tools: [{ tool: h, calls: 1, errors: 1, p50_ms: null, p95_ms: null }], sources: [{ path: h, kind: h, state: h }],
      subagents: [{ ...detail({ id: h, label: h, agent: h }) }],
    }),
    "turns abc": turnsAnswer([turn(0, { models: [h], new_model: h })]),
    "spans abc": { session: "abc", items: [{ kind: "toolResult", ts_ms: turn(0).from_ms, tool: h, is_error: true, duration_ms: 1 }, { kind: h, ts_ms: turn(0).from_ms, tool: h, is_error: false, duration_ms: null }] },
    "entries abc": entriesAnswer([
      entry(0, { id: h, kind: h, text: h }), entry(1, { kind: "assistant", text: h, thinking: [h], tool_calls: [{ id: h, name: h, arguments: { [h]: h } }], model: h, stop_reason: h, error: h }),
      entry(2, { kind: "tool_result", tool_name: h, text: `${h}\n${h}`, is_error: true }),
    ]),
  };
  for (const hash of ["#/session/abc?turn=0", "#/session/abc?view=transcript&find=script", "#/session/abc?with=abc"]) {
    const state = stateOf(hash, evil);
    if (state.answers["spans abc"]) state.answers["spans abc"].askedFor = { since_ms: turn(0).from_ms };
    const text = draw(state);
    assert.ok(!/<script|<img|<\/pre><\/bdi><script/i.test(text), hash);
    // No tag has a handler or a style.
    const tags = text.replace(/"[^"]*"/g, '""').match(/<[a-z][^>]*>/g);
    assert.deepEqual(tags.filter((tag) => /\s(on\w+|style)=/.test(tag)), [], hash);
    assert.ok(!/[\u202e\u2066\u0000\u001b]/.test(text), hash);
    assert.ok([...text.matchAll(/href="([^"]*)"/g)].every(([, href]) => href.startsWith("#/") || href.startsWith("/api/")), hash);
  }
});

test("Markdown cannot be broken out of and loads no image", () => {
  const text = session.toMarkdown(detail({ label: "a\n# b" }), [
    entry(0, { text: "![x](http://evil/y.png) <script>" }), entry(1, { kind: "tool_result", text: "```\n# out\n```" }),
    entry(2, { kind: "assistant", text: "fine", tool_calls: [{ id: "c", name: "exec", arguments: { a: "````" } }] }),
  ], "UTC");
  assert.match(text, /^# a # b\n/);
  assert.ok(!/!\[x\]/.test(text) && !/<script>/.test(text));
  assert.match(text, /^````\n```\n# out\n```\n````$/m);
  assert.match(text, /^`````json$/m);
});

test("two sessions side by side: figures, differences and one picture", () => {
  const other = detail({ id: "def", label: "Other", cost_nano_usd: 3_000_000_002, cache_read_tokens: 0 });
  const state = stateOf("#/session/abc?with=def", { "session def": other, "turns def": turnsAnswer([turn(0)]) });
  const text = draw(state);
  assert.match(text, /title="\$3\.000000002"/);
  assert.match(text, /100\u00a0%/);
  assert.equal(text.match(/<g class="line l[12]"/g).length, 2);
  const twin = text.match(/<details class="twin" data-key="twin-race">[\s\S]*?<\/details>/)[0];
  assert.match(twin, /<th scope="row">Turn 2<\/th>\s*<td class="num" title="\$0\.000003000">.*?<\/td><td class="num" title="[^"$]*">—<\/td>/);
  clean(text);
  assert.deepEqual(session.difference(0, 5, "count"), { mark: "▲", text: "from nothing" });
  assert.deepEqual(session.difference(4, 2, "count"), { mark: "▼", text: "50\u00a0%" });
  assert.deepEqual(session.difference(1, 50, "count"), { mark: "▲", text: "×50" });
  assert.deepEqual(session.difference(null, 5, "count").text, "—");
  assert.equal(session.difference(3, 3, "count").text, "=");
});

test("a session that does not exist says so", () => {
  const state = stateOf("#/session/nope");
  state.answers["session nope"] = { data: null, error: { status: 404, message: "no session nope in the ledger" } };
  const text = draw(state);
  assert.match(text, /There is no such session/);
  assert.match(text, /nope/);
});

test("the parts of a prompt have the names and the sizes that they have on Cost", () => {
  const prompt = { generated_ms: NOW, system_chars: 20_000, project_chars: 9000, skills_chars: 1000, tools_list_chars: 2000, tools_schema_chars: 4000 };
  const text = draw(stateOf("#/session/abc", { "session abc": detail({ prompt }) }));
  const rows = [...text.match(/data-key="prompt"[\s\S]*?<\/section>/)[0].matchAll(/<th scope="row" class="name">(.*?)<\/th>.*?<td class="num">(.*?)<\/td>/g)].map(([, name, size]) => [name, size]);
  assert.deepEqual(rows, [["System prompt", "8,000"], ["Memory files", "9,000"], ["Tools", "6,000"], ["Skills", "1,000"]]);
});
