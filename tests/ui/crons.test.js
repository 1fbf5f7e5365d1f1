import { test } from "node:test";
import assert from "node:assert/strict";
import { tPhrase, useMessages } from "./assets/dom.js";
import { parseRoute } from "./assets/views.js";
import { definitionOf, formOf, instantOf, page, patchOf, runBars, scheduleWords, sortedJobs } from "./assets/crons.js";
import { complaintsAbout, hostile, NOW, stateOf, totals } from "./states.js";

const HOUR = 3_600_000;

function job(more = {}) {
  return {
    id: "j1", source: "gateway", name: "nightly", display_name: null, description: null, agent_id: "main", built_in: false, removed: false, declaration_key: null, enabled: true,
    delete_after_run: null, schedule: { kind: "cron", expr: "0 9 * * 1-5", tz: "Europe/Berlin", every_ms: null, anchor_ms: null, at_ms: null, stagger_ms: null },
    schedule_text: "at 09:00 on weekdays, Europe/Berlin", zone: "Europe/Berlin", next_runs_ms: [NOW + HOUR, NOW + 25 * HOUR], problem: null, session_target: "isolated", wake_mode: "now",
    payload: { kind: "agentTurn", text: "look", model: null, thinking: null, timeout_seconds: null }, delivery: { mode: "none", channel: null, to: null, best_effort: null },
    created_at_ms: NOW, config_revision: "sha256:1", next_run_at_ms: NOW + HOUR, running_at_ms: null, last_run_at_ms: NOW - HOUR, last_run_status: "ok", last_error: null,
    last_duration_ms: 5000, consecutive_errors: 0, runs: 3, ok_runs: 2, failed_runs: 1, success_rate: 2 / 3, average_duration_ms: 5000, totals: totals(30_000_000),
    recent: [{ run_at_ms: NOW, status: "ok", duration_ms: 5, cost_nano_usd: 10 }, { run_at_ms: NOW, status: "error", duration_ms: null, cost_nano_usd: null }], ...more,
  };
}

const ACCESS = { can_change: true, why_not: null };
const pages = { crons: page };

function listState(jobs, more = {}) {
  const data = { ...ACCESS, as_of_ms: NOW, tz: "Europe/Berlin", source: "gateway", bad_jobs: 0, problems: [], totals: totals(30_000_000), jobs, ...more };
  return stateOf({ route: parseRoute("#/crons", pages), scope: "full", answers: { crons: { data, error: null } } });
}

function jobState(one, more = {}) {
  const run = { run_at_ms: NOW - HOUR, status: "error", duration_ms: 900, session: "s1", run_id: null, error: "no tea", summary: null, delivery_status: null, provider: null, model: null, totals: totals(10_000_000) };
  const data = { ...ACCESS, problems: [], source: "gateway", job: one, all_time: totals(90_000_000), runs: [run, { ...run, run_at_ms: NOW - 2 * HOUR, status: null, session: null, totals: null }], total: 2, offset: 0, limit: 50 };
  return stateOf({ route: parseRoute(`#/crons/${one.id}`, pages), scope: "full", answers: { cron: { data, error: null } }, ...more });
}

test("list, job and form are sound markup, whatever names and texts are", () => {
  const gone = job({ id: "j2", removed: true, enabled: false, schedule_text: null, zone: null, next_runs_ms: [], totals: null, success_rate: null, last_run_at_ms: null, recent: [] });
  for (const change of [(data) => data, hostile]) {
    for (const one of [job(), gone, job({ built_in: true, running_at_ms: NOW - 5000, problem: "unknown time zone X" })]) {
      const list = listState([one, job({ id: "j3" })]);
      list.answers.crons.data.jobs = change(list.answers.crons.data.jobs);
      assert.deepEqual(complaintsAbout(page.view(list)), []);
      const state = jobState(one);
      state.answers.cron.data = { ...change(state.answers.cron.data), job: { ...change(one), id: one.id } };
      assert.deepEqual(complaintsAbout(page.view(state)), []);
      const form = formOf(change(one), "Europe/Berlin", NOW);
      assert.deepEqual(complaintsAbout(page.sheet({ ...state, sheet: { kind: "form", job: change(one), form, fault: "" } })), []);
    }
  }
});

test("buttons are there for whoever may act, where there is a gateway", () => {
  const has = (state) => String(page.view(state)).includes('data-action="toggle"');
  assert.ok(has(listState([job()])) && has(jobState(job())));
  assert.ok(!has({ ...listState([job()]), scope: "read" }));
  assert.ok(!has(listState([job()], { can_change: false, why_not: "not running" })));
  assert.ok(!has(listState([job({ source: "files" })])));
  assert.match(String(page.view(listState([job()], { can_change: false, why_not: "not running" }))), /needs the gateway: not running/);
});

test("what is not known has a dash, and a removed or paused job no next run", () => {
  assert.match(String(page.view(listState([job({ totals: null, success_rate: null })]))), /—/);
  assert.match(String(page.view(listState([job({ enabled: false })]))), /paused/);
});

test("jobs are sorted by what their column shows", () => {
  const jobs = [job({ id: "a", name: "b", totals: totals(5) }), job({ id: "b", name: "a", enabled: false, totals: totals(9) }), job({ id: "c", name: "c", totals: null, next_runs_ms: [NOW] })];
  const ids = (sort, order) => sortedJobs(jobs, { sort, order }).map((one) => one.id).join("");
  assert.equal(ids("name", "asc"), "bac");
  assert.equal(ids("next", "asc"), "cab");
  assert.equal(ids("cost", "desc"), "bac");
});

test("the picture of runs is as high as they cost, and red where they failed", () => {
  const bars = String(runBars(job().recent));
  assert.match(bars, /class="run-bar" x="0" y="1"/);
  assert.match(bars, /class="run-bad" x="5" y="17"/);
  assert.match(bars, /dearest/);
  assert.doesNotMatch(String(runBars([{ ...job().recent[0], cost_nano_usd: 0 }])), /dearest|\$0/);
  assert.equal(runBars([]), null);
});

test("a run that was asked for is news once, and a later one is not", () => {
  const asked = { id: "j1", before: NOW - HOUR, ms: NOW };
  const draw = (one, cronRun, now = NOW + 1000) => {
    const state = { ...jobState(one, { cronRun }), now };
    let next = cronRun;
    page.painted({ state, dispatch: (change) => { next = change.cronRun; } });
    return [/cron-news[^>]*>(.*?)<\/p>/s.exec(String(page.view(state)))?.[1] ?? "", next];
  };
  assert.match(draw(job(), asked)[0], /under way/);
  const [words, ended] = draw(job({ last_run_at_ms: NOW + 500, last_run_status: "error" }), asked);
  assert.match(words, /has ended.*failed/);
  assert.equal(ended.ended, NOW + 500);
  assert.match(draw(job({ last_run_at_ms: NOW + 500 }), ended)[0], /has ended/);
  assert.deepEqual(draw(job({ last_run_at_ms: NOW + HOUR }), ended, NOW + HOUR), ["", null]);
  // Nobody was there to see it end, or it has never begun.
  assert.equal(draw(job({ last_run_at_ms: NOW + 9 * HOUR }), asked, NOW + 9 * HOUR)[1], null);
  assert.deepEqual(draw(job(), asked, NOW + HOUR), ["", null]);
});

test("a job that could not be read says why", () => {
  const state = jobState(job({ id: "other" }));
  state.route = parseRoute("#/crons/j1", pages);
  assert.match(String(page.view(state)), /Loading/);
  state.answers.cron.error = { status: 500, message: "it broke" };
  assert.match(String(page.view(state)), /it broke/);
});

test("a form gives the job as cron.add takes it", () => {
  const form = { ...formOf(null, "Europe/Berlin", NOW), name: " tea ", text: " drink ", tz: "Asia/Tokyo", model: "x/y", mode: "announce", channel: "last" };
  assert.deepEqual(definitionOf(form), {
    name: "tea", enabled: true, schedule: { kind: "cron", expr: "0 9 * * 1-5", tz: "Asia/Tokyo" }, sessionTarget: "isolated", wakeMode: "now",
    payload: { kind: "agentTurn", message: "drink", model: "x/y" }, delivery: { mode: "announce", channel: "last" },
  });
  const note = definitionOf({ ...form, kind: "every", every: "1.5", unit: "3600000", task: "systemEvent" });
  assert.deepEqual([note.schedule, note.sessionTarget, note.payload, note.delivery], [{ kind: "every", everyMs: 5_400_000 }, "main", { kind: "systemEvent", text: "drink" }, undefined]);
  assert.equal(definitionOf({ ...form, kind: "at", at: "2026-07-01T09:00" }).schedule.at, "2026-07-01T07:00:00.000Z");
  assert.equal(definitionOf({ ...form, kind: "at", at: "soon" }).schedule.at, "");
});

test("an edit sends what was changed and nothing else", () => {
  const before = formOf(job({ payload: { ...job().payload, model: "x/y" } }), "UTC", NOW);
  assert.deepEqual(patchOf(before, before), {});
  assert.deepEqual(patchOf(before, { ...before, name: "other" }), { name: "other" });
  assert.deepEqual(patchOf(before, { ...before, model: "" }), { payload: { kind: "agentTurn", message: "look", model: null } });
  // What is cleared is cleared in OpenClaw, too, which leaves alone what a patch does not name.
  const told = formOf(job({ delivery: { mode: "announce", channel: "slack", to: "C1" } }), "UTC", NOW);
  assert.deepEqual(patchOf(told, { ...told, agent: " ", to: "" }), { agentId: null, delivery: { mode: "announce", channel: "slack", to: null } });
  assert.deepEqual(patchOf(told, { ...told, channel: "", to: "C2" }), { delivery: { mode: "announce", channel: null, to: "C2" } });
  assert.deepEqual(patchOf(told, { ...told, mode: "none", to: "" }), { delivery: { mode: "none" } });
  const note = patchOf(before, { ...before, task: "systemEvent" });
  assert.deepEqual([note.sessionTarget, note.payload.kind], ["main", "systemEvent"]);
  // What the form cannot show is never sent.
  const command = formOf(job({ schedule: { ...job().schedule, kind: "stream" }, payload: { kind: "command", text: "make" } }), "UTC", NOW);
  assert.deepEqual(patchOf(command, { ...command, text: "rm", expr: "* * * * *", name: "new" }), { name: "new" });
});

test("a local time is an instant, on both sides of a change of the clocks", () => {
  const iso = (wall, zone) => new Date(instantOf(wall, zone)).toISOString();
  assert.equal(iso("2026-03-29T01:30", "Europe/Berlin"), "2026-03-29T00:30:00.000Z");
  assert.equal(iso("2026-03-29T03:30", "Europe/Berlin"), "2026-03-29T01:30:00.000Z");
  assert.equal(iso("2026-10-25T12:00", "America/New_York"), "2026-10-25T16:00:00.000Z");
});

test("a schedule is said in the person's language, piece by piece", () => {
  assert.equal(scheduleWords(job()), "at 09:00 on weekdays, Europe/Berlin");
  useMessages({ "{words} on {days}": "{days}{words}", "at {times}": "·{times}", "{a} and {b}": "{a}+{b}", Monday: "M", Friday: "F" });
  const known = ["{words} on {days}", "at {times}", "{a} and {b}", "Monday", "Friday"];
  assert.equal(tPhrase("at 09:00 on Monday and Friday", known), "M+F·09:00");
  assert.equal(tPhrase("by moon", known), "by moon");
  useMessages({ "{words}, {zone}": "{words}/{zone}", "{words} every day": "*{words}", "at {times}": "·{times}" });
  const state = jobState(job());
  state.sheet = { kind: "form", job: null, form: { ...formOf(null, "UTC", NOW), expr: "0 16 * * *" }, fault: "" };
  state.answers["cron-preview"] = { data: { text: "at 16:00 every day, Asia/Tokyo", next_runs_ms: [], problem: null }, error: null };
  assert.match(String(page.sheet(state)), /\*·16:00\/Asia\/Tokyo/);
  useMessages(null);
});
