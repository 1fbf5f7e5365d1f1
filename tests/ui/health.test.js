import { test } from "node:test";
import assert from "node:assert/strict";
import { Health, page, troubles } from "./assets/health.js";
import { parseRoute, Rail } from "./assets/views.js";
import { complaintsAbout, EVIL, hostile, NOW, stateOf } from "./states.js";

const coverage = { complete: true, indexed_bytes: 10, total_bytes: 10, bad_lines: 0, unreadable: 0, implausible: 0, as_of_ms: NOW, problems: 0 };
const gateway = {
  status: "connected", text: "connected", url: "ws://x", version: "2026.9.6", protocol: 4, uptime_s: 90, connected_ms: NOW, suspended: false, problem: null, what_to_do: null, last_error: null,
  event_loop: { degraded: false, delay_p99_ms: 12, utilization: 0.1 }, live_runs: 2, capabilities: [], missing: [],
  frames: { received: 5, malformed: 0, oversized: 0, out_of_order: 0, gaps: 0, late: 0, ignored: 0, connects: 1 },
};
const system = {
  as_of_ms: NOW, ts_ms: NOW, uptime_s: 3600, cpu: { count: 4, used_share: 0.25, load: [0.5, 0.25, 12] },
  memory: { total_bytes: 100, available_bytes: 60, used_share: 0.4, swap_used_bytes: 0 },
  disks: [{ path: "/d", holds: ["OpenClaw", "ledger"], total_bytes: 100, free_bytes: 50, used_share: 0.5 }],
  gpus: [{ name: "card0", used_share: null, memory_used_bytes: null, memory_total_bytes: null, temperature_c: null }],
  process: { rss_bytes: 80e6, cpu_share: null, threads: 9 },
  history: [{ ts_ms: NOW - 60_000, cpu_share: 0.1, memory_share: 0.4, rss_bytes: 1 }, { ts_ms: NOW, cpu_share: 0.2, memory_share: 0.4, rss_bytes: 1 }],
  gateway: { url: "ws://x", listening: true, services: [] },
  delivery: { pending: 0, failed: 0, oldest_ms: null, queues: [], failures: [], problem: null }, findings: [],
};
const health = {
  status: "ok", version: "0.1.0", coverage, sources: [], problems: [], implausible: [], lag_ms: 200, gateway,
  store: { path: "/l", size_bytes: 10, sessions: 1, model_calls: 2, messages: 3, notice: null }, homes: [], process: { rss_bytes: 1, threads: 1, uptime_s: 1 },
};
const row = {
  provider: "acme", model: "acme-1", requests_now: 1, tokens_now: 2, requests_peak: 9, tokens_peak: 100, requests_limit: 10, tokens_limit: null, limit_from: "settings",
  rate_limited: 1, model_errors: 2, model_errors_nano_usd: 0, retries: 1, retries_nano_usd: 5e7, failovers: 0, failovers_nano_usd: 0,
};
const headroom = { from_ms: 0, to_ms: NOW, peak_from_ms: 0, as_of_ms: NOW, rows: [row, { ...row, model: null, requests_limit: null, limit_from: null }] };
const logs = {
  source: "file", path: "/tmp/openclaw/a.log", problem: null, skipped_bytes: 5000, other_lines: 0, total: 2, kept: 3, subsystems: ["agent"],
  lines: [{ n: 1, ts_ms: NOW, level: "info", subsystem: "agent", text: "first" }, { n: 2, ts_ms: null, level: "error", subsystem: "", text: "second" }],
  errors: [{ text: "second", subsystem: "", count: 3, first_ms: null, last_ms: NOW }],
};
const amounts = { ours_tokens: 5, ours_nano_usd: 3e7, theirs_tokens: 9, theirs_nano_usd: 1e7, difference_tokens: -4, difference_nano_usd: 2e7, rest_tokens: 1, rest_nano_usd: 0, reasons: [{ reason: "copies", tokens: -5, nano_usd: 2e7 }] };
const reconciliation = { problem: null, is_fresh: false, is_utc: false, sessions: 1, total: amounts, rows: [{ day: "2026-11-06", provider: "acme", model: "acme-1", ...amounts }] };

function stateWith(answers, more = {}) {
  const given = Object.fromEntries(Object.entries(answers).map(([key, data]) => [key, { data, error: null }]));
  return stateOf({ route: parseRoute("#/health", { health: page }), answers: given, ...more });
}
const shown = (answers, more) => String(Health(stateWith(answers, more)));
const action = { id: 1, ts_ms: NOW, kind: "cron.run", target: "daily", who: "owner", method: "cron.run", params: { id: "1" }, outcome: "ok", answer: null };
const all = { system, health, headroom, logs, actions: [action] };

test("a well machine is well, and nothing in the markup is odd", () => {
  const text = shown(all);
  assert.match(text, /All is well/);
  assert.match(text, /0\.5 0\.3 12/);
  assert.match(text, /Run cron job/);
  assert.deepEqual(complaintsAbout(text), []);
});

test("while answers are missing the rest is there", () => {
  const text = shown({ system });
  assert.match(text, /Memory/);
  assert.equal(text.match(/Loading/g).length, 5);
  assert.doesNotMatch(text, /All is well/);
  assert.deepEqual(complaintsAbout(text), []);
});

test("an answer that failed says why, and the others stay", () => {
  const state = stateWith({ system, health, headroom });
  state.answers.logs = { data: null, error: { status: 500, message: "it broke" } };
  const text = String(Health(state));
  assert.match(text, /it broke/);
  assert.match(text, /acme-1/);
});

test("all is well only when both halves of the answer say so", () => {
  const state = stateWith({ system });
  state.answers.health = { data: null, error: { status: 500, message: "it broke" } };
  assert.match(String(Health(state)), /state-line is-warn.*This could not be read: it broke/s);
  assert.doesNotMatch(String(Health(state)), /All is well/);
});

test("numbers that could not be read anew say so, unless the bar does", () => {
  const state = stateWith(all);
  state.answers.headroom.error = { status: 500, message: "it broke" };
  assert.match(String(Health(state)), /it broke\. These are the last numbers/);
  assert.doesNotMatch(String(Health({ ...state, connection: "lost" })), /it broke/);
});

test("each full disk has a line of its own", () => {
  const disks = ["/", "/data"].map((path, i) => ({ ...system.disks[0], path, used_share: 0.9 + i / 20, free_bytes: 5e9 + i * 1e9 }));
  const findings = disks.map(({ path }) => ({ level: "warn", kind: "disk", text: `the disk of ${path} is 90% full, x are left`, what_to_do: "make room" }));
  const found = troubles(stateWith({ ...all, system: { ...system, disks, findings } }));
  assert.match(found[0].words, /disk of \/ is 90/);
  assert.match(found[1].words, /disk of \/data is 95/);
  assert.equal(new Set(found.map((one) => one.key)).size, 2);
});

test("nothing anywhere is said in words", () => {
  const text = shown({ ...all, headroom: { ...headroom, rows: [] }, logs: { ...logs, source: "none", lines: [], errors: [] } });
  assert.match(text, /Nothing has ever waited/);
  assert.match(text, /No model calls in this range/);
  assert.match(text, /no log file of OpenClaw was found/);
  assert.match(text, /No transcript yet/);
});

test("troubles come worst first, in the words of the page", () => {
  const findings = [{ level: "warn", kind: "memory", text: "x", what_to_do: "y" }, { level: "bad", kind: "service", text: "x", what_to_do: "y" }, { level: "warn", kind: "not known", text: "as the server says", what_to_do: "do that" }];
  const problems = [{ level: "bad", text: "cannot read /x", what_to_do: "chmod" }];
  const found = troubles(stateWith({ ...all, system: { ...system, findings }, health: { ...health, problems } }));
  assert.deepEqual(found.map((one) => one.level), ["bad", "bad", "warn", "warn"]);
  assert.deepEqual(found.map((one) => one.words).slice(-1), ["as the server says"]);
  assert.match(shown({ ...all, system: { ...system, findings } }), /3 things need attention/);
});

test("a full disk is marked from 85 percent on", () => {
  const disk = (share) => shown({ ...all, system: { ...system, disks: [{ ...system.disks[0], used_share: share }] } });
  assert.doesNotMatch(disk(0.849), /gauge is-warn/);
  assert.match(disk(0.85), /gauge is-warn/);
  assert.match(disk(0.95), /gauge is-bad/);
});

test("a paused log shows what it showed", () => {
  const frozenLog = { ...logs, lines: [logs.lines[0]], total: 1 };
  const text = shown(all, { frozenLog });
  assert.match(text, /paused/);
  assert.doesNotMatch(text, /class="is-error"/);
});

test("a comparison shows reasons, rest and difference", () => {
  const text = shown(all, { reconciled: { data: reconciliation, range: "7d" } });
  assert.match(text, /still counting/);
  assert.match(text, /days of its own machine/);
  assert.match(text, /forks have copied/);
  assert.match(text, /not explained/);
  assert.deepEqual(complaintsAbout(text), []);
  const failed = shown(all, { reconciled: { error: "the gateway is not connected" } });
  assert.match(failed, /could not be asked: <bdi>the gateway is not connected/);
});

test("hostile text in every field stays text", () => {
  const evil = hostile(all);
  evil.health.gateway.status = "refused";
  evil.logs.source = "file";
  evil.actions[0].outcome = "ok";
  evil.logs.lines.forEach((line) => { line.level = "error"; });
  const data = hostile(reconciliation);
  data.rows.concat(data.total).forEach((one) => one.reasons.forEach((reason) => { reason.reason = "copies"; }));
  const text = shown(evil, { reconciled: { data, range: "7d" } });
  assert.ok(!text.includes("<script") && !text.includes("<img"));
  assert.ok(text.includes("&lt;script"));
  assert.deepEqual(complaintsAbout(text), []);
  assert.ok(EVIL.includes("<script"));
});

test("the address keeps the filters of the log, and only such", () => {
  const route = page.parse(new URLSearchParams("level=error&subsystem=a/b&find=x"));
  assert.deepEqual(page.format(route), [["level", "error"], ["subsystem", "a/b"], ["find", "x"]]);
  assert.equal(page.parse(new URLSearchParams("level=<script>")).level, "");
});

test("the rail has a dot when something is wrong", () => {
  assert.doesNotMatch(String(Rail(stateOf({ coverage }))), /rail-dot/);
  assert.match(String(Rail(stateOf({ coverage: { ...coverage, problems: 2 } }))), /rail-dot.*2 problems/s);
});
