"""Cron jobs: read in every era and from a gateway, their schedules in words, their next runs, and what they cost."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from gateway_server import FakeGateway
from handmade import NOW, T0, HandmadeHome, call, header, user
from homes import ERAS
from hypothesis import given
from hypothesis import strategies as st
from served import PATIENCE_S, wait_until
from test_actions import home_of

import clawmeter
from clawmeter import CronBook, QueryError, Schedule, ScheduleError, parse_cron_job

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]
HOUR = 3_600_000


def at(text: str) -> int:
    return clawmeter.parse_iso_ms(text)


def cron(expr: str, zone: str = "UTC", **more: Any) -> Schedule:
    return Schedule("cron", expr=expr, tz=zone, **more)


# --- schedules in words --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expr", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/30 * * * *", "every 30 minutes"),
        ("*/30 8-17 * * 1-5", "every 30 minutes from 08:00 to 17:59 on weekdays"),
        ("0 * * * *", "every hour"),
        ("15 */2 * * *", "every 2 hours at minute 15"),
        ("0 8-17 * * *", "every hour from 08:00 to 17:00"),
        ("0 9 * * 1-5", "at 09:00 on weekdays"),
        ("0 9 * * mon-FRI", "at 09:00 on weekdays"),
        ("0 0 9 * * 1-5", "at 09:00 on weekdays"),
        ("30 10 * * 6,0", "at 10:30 on weekends"),
        ("30 10 * * 6-7", "at 10:30 on weekends"),
        ("0 8,13 * * *", "at 08:00 and 13:00 every day"),
        ("5,35 8,13 * * 3", "at 08:05, 08:35, 13:05 and 13:35 on Wednesday"),
        ("0 9 * * 1,3,5", "at 09:00 on Monday, Wednesday and Friday"),
        ("0 9 1,15 * *", "at 09:00 on day 1 and 15 of the month"),
        ("0 9 L * ?", "at 09:00 on the last day of the month"),
        ("0 9 24 dec *", "at 09:00 on 24 December"),
        ("@weekly", "at 00:00 on Sunday"),
        # What words would not make shorter
        ("*/7 * * * *", "by cron, */7 * * * *"),
        ("30 0 9 * * *", "by cron, 30 0 9 * * *"),
        ("0 9 13 * 5", "by cron, 0 9 13 * 5"),
        ("0 9 * 1-3 *", "by cron, 0 9 * 1-3 *"),
        ("nonsense", "by cron, nonsense"),
    ],
)
def test_a_cron_expression_in_words(expr: str, words: str) -> None:
    assert cron(expr, "Europe/Berlin").describe() == f"{words}, Europe/Berlin"


def test_other_schedules_in_words() -> None:
    every = {1_800_000: "every 30 minutes", HOUR: "every hour", 5_400_000: "every 90 minutes", 86_400_000: "every day", 604_800_000: "every week", 1500: "every 1500 milliseconds"}  # fmt: skip
    assert {ms: Schedule("every", every_ms=ms).describe() for ms in every} == every
    assert Schedule.parse({"kind": "at", "at": "2030-01-02T03:04:05Z"}).describe() == "once, at 2030-01-02 03:04 UTC"  # fmt: skip
    assert Schedule.parse({"kind": "on-exit", "command": "make"}).describe() == "when a command ends"  # fmt: skip
    assert Schedule.parse({"kind": "moon"}).describe() == "by moon"


def test_without_a_zone_the_machine_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clawmeter, "machine_zone", lambda: "Asia/Tokyo")
    schedule = Schedule.parse({"kind": "cron", "expr": "0 9 * * *"})
    assert schedule.describe() == "at 09:00 every day, Asia/Tokyo"
    assert schedule.next_runs(at("2026-11-21T12:00:00Z"), 1) == [at("2026-11-22T00:00:00Z")]


# --- next runs -----------------------------------------------------------------------------------


def local(runs: list[int], zone: str) -> list[str]:
    return [clawmeter.iso_ms(run, ZoneInfo(zone))[:19] for run in runs]


def test_next_runs_keep_the_wall_clock_across_a_change_of_clocks() -> None:
    berlin = cron("0 9 * * *", "Europe/Berlin")
    assert berlin.next_runs(at("2026-03-27T12:00:00Z")) == [at("2026-03-28T08:00:00Z"), at("2026-03-29T07:00:00Z"), at("2026-03-30T07:00:00Z")]  # fmt: skip
    assert berlin.next_runs(at("2026-10-24T12:00:00Z")) == [at("2026-10-25T08:00:00Z"), at("2026-10-26T08:00:00Z"), at("2026-10-27T08:00:00Z")]  # fmt: skip


def test_a_time_that_the_clocks_skip_is_no_run_and_one_that_comes_twice_is_one() -> None:
    """As computeNextRunAtMs of OpenClaw 2026.9.6 has it: only wall times that are there, each at its first instant."""
    night = cron("30 2 * * *", "Europe/Berlin")
    assert local(night.next_runs(at("2026-03-28T12:00:00Z"), 2), "Europe/Berlin") == ["2026-03-30T02:30:00", "2026-03-31T02:30:00"]  # fmt: skip
    assert night.next_runs(at("2026-10-24T12:00:00Z"), 2) == [at("2026-10-25T00:30:00Z"), at("2026-10-26T01:30:00Z")]  # fmt: skip
    half_hours = cron("*/30 * * * *", "Europe/Berlin")
    assert half_hours.next_runs(at("2026-10-25T00:35:00Z"), 1) == [at("2026-10-25T02:00:00Z")]
    assert half_hours.next_runs(at("2026-10-25T01:10:00Z"), 1) == [at("2026-10-25T02:00:00Z")]


@given(
    st.sampled_from(["*/20 * * * *", "15 3 * * *", "0 9 * * 1-5", "30 2 1 * *", "0 */6 * * *"]),
    st.sampled_from(
        ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]
    ),
    st.integers(at("2025-01-01T00:00:00Z"), at("2027-12-31T00:00:00Z")),
)
def test_next_runs_come_later_and_later_and_are_what_the_expression_says(
    expr: str, zone: str, after: int
) -> None:
    runs = cron(expr, zone).next_runs(after, 4)
    assert len(runs) == 4
    assert [after, *runs] == sorted({after, *runs})
    minute, hour = expr.split()[:2]
    for text in local(runs, zone):
        assert text.endswith(":00")
        if minute.isdigit():
            assert int(text[14:16]) == int(minute)
        if hour.isdigit():
            assert int(text[11:13]) == int(hour)


def test_intervals_and_single_runs_need_no_zone() -> None:
    every = Schedule("every", every_ms=HOUR, anchor_ms=T0)
    assert every.next_runs(T0 + 1, 2) == [T0 + HOUR, T0 + 2 * HOUR]
    assert every.next_runs(T0 - 5 * HOUR, 1) == [T0]
    assert every.next_runs(T0 + HOUR, 1) == [T0 + 2 * HOUR]
    once = Schedule.parse({"kind": "at", "at": "2030-01-01T00:00:00Z"})
    assert once.next_runs(T0) == [at("2030-01-01T00:00:00Z")]
    assert once.next_runs(at("2030-01-01T00:00:00Z")) == []


def test_a_staggered_job_runs_as_late_as_openclaw_lets_it() -> None:
    """Fact: sha256 of the id, first four bytes, modulo the window; OpenClaw 2026.9.6, resolveStableCronOffsetMs."""
    runs = cron("0 * * * *", stagger_ms=300_000).next_runs(T0, 2, job_id="e1")
    assert [run % HOUR for run in runs] == [212_735, 212_735]
    assert runs[1] - runs[0] == HOUR


@pytest.mark.parametrize(
    "raw",
    [
        {"kind": "cron", "expr": "61 * * * *"}, {"kind": "cron", "expr": "H H * * *"}, {"kind": "cron", "expr": "R R * * *"}, {"kind": "cron", "expr": "* * * *"},
        {"kind": "cron", "expr": "*/0 * * * *"}, {"kind": "cron", "expr": "9" * 5000}, {"kind": "cron", "expr": ["0"]}, {"kind": "cron"}, {"kind": "every"},
        {"kind": "cron", "expr": "0 9 * * *", "tz": "Nowhere/Land"}, {"kind": "cron", "expr": "0 9 * * *", "tz": "../../etc/passwd"}, {"kind": "every", "everyMs": 0},
        {"kind": "every", "everyMs": -5}, {"kind": "every", "everyMs": float("nan")}, {"kind": "at", "at": "tomorrow"}, {"kind": "at", "at": 1e300}, {"kind": {}}, {},
    ],
)  # fmt: skip
def test_a_schedule_that_says_no_time_is_said_to_say_none(raw: Json) -> None:
    schedule = Schedule.parse(raw)
    with pytest.raises(ScheduleError):
        schedule.next_runs(NOW)
    assert schedule.describe()


def test_a_date_that_never_comes_has_no_next_run() -> None:
    assert cron("0 0 30 2 *").next_runs(NOW) == []


# --- jobs from files, in every era ---------------------------------------------------------------


def home_at(path: Path) -> clawmeter.OpenClawHome:
    return clawmeter.OpenClawHome(path, found_by="test", agents_folder=path / "agents")


def listed(home: Path) -> dict[str, Json]:
    return {job["name"]: job for job in clawmeter.read_cron_jobs(home_at(home)).jobs}  # fmt: skip


@pytest.mark.parametrize(
    ("version", "built_in"),
    [("2026.2.12", 0), ("2026.6.11", 0), ("2026.9.6", 7), ("2026.9.6-upgraded-from-2026.6.11", 7)],
)
def test_jobs_are_read_from_the_files_of_every_era(
    real_homes: Any, version: str, built_in: int
) -> None:
    jobs = listed(real_homes(version) / ".openclaw")
    assert sum(job["built_in"] for job in jobs.values()) == built_in
    nightly, note = jobs["nightly"], jobs["sysev"]
    assert (nightly["enabled"], nightly["schedule_text"], nightly["last_run_status"]) == (False, "every hour", "ok")  # fmt: skip
    assert nightly["payload"]["kind"] == "agentTurn"
    assert nightly["payload"]["text"] == "cron turn [[text:cron says hi]]"
    assert (nightly["session_target"], nightly["delivery"]["mode"]) == ("isolated", "none")
    assert (note["schedule_text"], note["payload"]["text"]) == ("at 03:00 every day, UTC", "ping [[text:pong]]")  # fmt: skip
    assert note["next_run_at_ms"] == 1795316400000
    if version != "2026.2.12":  # there a job that runs once is gone after its run
        failing = jobs["failing (paused)"]
        assert (failing["last_run_status"], failing["consecutive_errors"]) == ("error", 1)
        assert "provider rejected" in failing["last_error"]


def test_a_home_without_jobs_has_none(real_homes: Any) -> None:
    assert listed(real_homes("2026.4.24") / ".openclaw") == {}


@pytest.mark.parametrize("version", ["2026.2.12", "2026.6.11", "2026.9.6", "2026.9.6-upgraded-from-2026.6.11"])  # fmt: skip
def test_runs_have_status_duration_and_words_in_every_era(
    real_homes: Any, meter_factory: Any, version: str
) -> None:
    meter = meter_factory(real_homes(version))
    meter.index()
    job = next(j for j in meter.queries.crons()["jobs"] if j["name"] == "nightly")
    [run] = meter.queries.cron(job["id"])["runs"]
    assert (run["status"], run["summary"], run["error"]) == ("ok", "cron says hi", None)
    assert run["duration_ms"] > 0
    assert run["session"] == meter.queries.session(run["session"])["id"]
    assert (job["runs"], job["ok_runs"], job["success_rate"]) == (0, 0, None) or job["runs"] == 1


def test_broken_jobs_are_counted_and_the_others_go_on(tmp_path: Path, meter_factory: Any) -> None:
    home = tmp_path / ".openclaw"
    (home / "cron").mkdir(parents=True)
    (home / "agents").mkdir()
    good = {"id": "good", "name": "good", "schedule": {"kind": "every", "everyMs": HOUR}}
    bad: list[Any] = [None, 7, "x", [], {}, {"id": 5}, {"id": ""}, {"id": "y" * 500}]
    odd = {"id": "odd", "name": {"a": 1}, "enabled": "yes", "schedule": [], "payload": "x", "delivery": 3, "state": {"lastRunAtMs": "soon", "lastError": ["x"], "nextRunAtMs": -1, "lastDurationMs": 1e400}}  # fmt: skip
    (home / "cron" / "jobs.json").write_text(json.dumps({"jobs": [*bad, odd, good, good]}))
    meter = meter_factory(tmp_path)
    meter.index()
    answer = meter.queries.crons()
    assert [job["id"] for job in answer["jobs"]] == ["odd", "good"]
    assert answer["bad_jobs"] == len(bad)
    assert answer["problems"] == ["a cron job is not an object", "a cron job has no id"]
    assert (answer["jobs"][0]["name"], answer["jobs"][0]["last_error"], answer["jobs"][0]["next_runs_ms"]) == ("odd", None, [])  # fmt: skip
    (home / "cron" / "jobs.json").write_text("{ this is torn")
    meter.crons.forget()
    answer = meter.queries.crons()
    assert answer["jobs"] == []
    assert "holds no list of cron jobs" in answer["problems"][0]


def test_a_broken_row_of_the_database_does_not_hide_the_others(real_homes: Any) -> None:
    home = real_homes("2026.9.6") / ".openclaw"
    path = home / "state" / "openclaw.sqlite"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE cron_jobs SET job_json = '{\"id\": ' WHERE name = 'nightly'")
        db.execute("UPDATE cron_jobs SET state_json = 'nonsense' WHERE name = 'sysev'")
        db.execute("PRAGMA journal_mode = DELETE")
    found = clawmeter.read_cron_jobs(home_at(home))
    assert found.bad_jobs == 1
    jobs = {job["name"]: job for job in found.jobs}
    assert "nightly" not in jobs
    assert jobs["sysev"]["last_run_status"] is None
    assert jobs["failing (paused)"]["last_run_status"] == "error"


def test_an_unreadable_database_is_a_problem_and_not_an_empty_list(
    real_homes: Any, meter_factory: Any
) -> None:
    tree = real_homes("2026.9.6")
    (tree / ".openclaw" / "state" / "openclaw.sqlite").write_bytes(b"this is no database" * 100)
    meter = meter_factory(tree)
    meter.index()
    answer = meter.queries.crons()
    assert "cannot read" in answer["problems"][0]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one), max_leaves=8),
       st.sampled_from(["schedule", "payload", "delivery", "state", "name", "declarationKey", "configRevision", "createdAtMs"]))  # fmt: skip
def test_whatever_a_job_holds_it_is_shown_or_refused(value: Any, name: str) -> None:
    job = parse_cron_job({"id": "j", "schedule": {"kind": "every", "everyMs": 5}, name: value})
    assert clawmeter.to_json(clawmeter.with_next_runs(job, NOW))


def test_of_a_webhook_only_the_host_is_shown() -> None:
    job = parse_cron_job({"id": "j", "delivery": {"mode": "webhook", "to": "https://me:pw@hooks.example/T0/B0/secret?k=1"}})  # fmt: skip
    assert job["delivery"] == {"mode": "webhook", "channel": None, "to": "https://hooks.example/…", "best_effort": None}  # fmt: skip


def test_a_revision_changes_with_the_definition_and_not_with_a_run() -> None:
    raw: Json = {"id": "j", "name": "a", "schedule": {"kind": "every", "everyMs": 5}}
    first = parse_cron_job(raw)["config_revision"]
    ran = parse_cron_job({**raw, "updatedAtMs": T0, "state": {"lastRunAtMs": T0}})
    assert ran["config_revision"] == first
    assert parse_cron_job({**raw, "enabled": False})["config_revision"] != first
    assert parse_cron_job({**raw, "configRevision": "sha256:x"})["config_revision"] == "sha256:x"


# --- what they cost ------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
def test_costs_of_jobs_and_of_their_runs_are_those_of_usage(
    home_factory: Any, meter_factory: Any, era: str
) -> None:
    home = home_factory(era, copy=False, sessions=30, messages=900)
    meter = meter_factory(home.path)
    meter.clock = meter.queries.clock = lambda: home.truth["meta"]["now_ms"] / 1000
    meter.index()
    for span in ("all", "7d"):
        usage = {row["key"]: row for row in meter.queries.usage(from_=span, by="cron_job")["rows"]}
        usage.pop("(none)", None)
        answer = meter.queries.crons(from_=span)
        found = {job["id"]: job["totals"] for job in answer["jobs"] if job["totals"]}
        for job_id, row in usage.items():
            assert found[job_id].items() <= row.items()
        assert answer["totals"]["cost_nano_usd"] == sum(r["cost_nano_usd"] for r in usage.values())
        if span == "all":
            assert usage
            for job_id, row in usage.items():
                detail = meter.queries.cron(job_id, limit="10000")
                for field in ("cost_nano_usd", "model_calls", "total_tokens", "unpriced_calls"):
                    runs = [r["totals"][field] for r in detail["runs"] if r["totals"]]
                    assert sum(runs) == detail["all_time"][field] == row[field]


def cron_home(folder: Path) -> HandmadeHome:
    """Three runs of one job: two in one session, one whose record is lost; beside them a note to the main session."""
    home = HandmadeHome(folder)
    first = [header("s1", T0), user("u1", T0 + 1), call("c1", T0 + 2000, cost=0.01), call("c2", T0 + HOUR + 2000, cost=0.02)]  # fmt: skip
    home.write("s1", first)
    home.write("s2", [header("s2", T0 + 2 * HOUR), call("c3", T0 + 2 * HOUR + 9, cost=0.04)])
    home.write("s3", [header("s3", T0), call("c4", T0 + 50, cost=0.08)])
    keys: dict[str, Any] = {"agent:main:cron:job-1": "s1", "agent:main:cron:job-1:run:s2": "s2", "agent:main:main": "s3"}  # fmt: skip
    home.index(keys)
    cron_folder = home.state / "cron"
    (cron_folder / "runs").mkdir(parents=True)
    schedule = {"kind": "cron", "expr": "0 * * * *", "tz": "UTC"}
    jobs = [
        {"id": "job-1", "name": "hourly", "schedule": schedule, "sessionTarget": "session:x"},
        {"id": "job-2", "name": "note", "schedule": schedule, "sessionTarget": "main", "payload": {"kind": "systemEvent", "text": "hi"}},
    ]  # fmt: skip
    (cron_folder / "jobs.json").write_text(json.dumps({"version": 1, "jobs": jobs}))
    lines = [
        {"jobId": "job-1", "status": "ok", "sessionId": "s1", "runAtMs": T0 + 1000, "durationMs": 900},
        {"jobId": "job-1", "status": "error", "error": "no tea", "sessionId": "s1", "runAtMs": T0 + HOUR + 1000, "durationMs": 500},
    ]  # fmt: skip
    text = "".join(json.dumps({"action": "finished", **line}) + "\n" for line in lines)
    (cron_folder / "runs" / "job-1.jsonl").write_text(text + "{ torn")
    note = {"jobId": "job-2", "status": "ok", "sessionId": "s3", "runAtMs": T0 + 10, "durationMs": 5}  # fmt: skip
    (cron_folder / "runs" / "job-2.jsonl").write_text(json.dumps(note) + "\n")
    return home


@pytest.fixture
def handmade(tmp_path: Path, meter_factory: Any) -> clawmeter.Clawmeter:
    made: clawmeter.Clawmeter = meter_factory(cron_home(tmp_path).state)
    made.clock = made.queries.clock = lambda: NOW / 1000
    made.index()
    return made


def test_runs_that_share_a_session_share_its_calls_by_time(handmade: clawmeter.Clawmeter) -> None:
    detail = handmade.queries.cron("job-1")
    runs = [(r["run_at_ms"] - T0, r["status"], r["error"], r["totals"]["cost_nano_usd"]) for r in detail["runs"]]  # fmt: skip
    assert runs == [
        (2 * HOUR, None, None, 40_000_000),  # its record is lost, its session is not
        (HOUR + 1000, "error", "no tea", 20_000_000),
        (1000, "ok", None, 10_000_000),
    ]
    assert detail["all_time"]["cost_nano_usd"] == 70_000_000
    assert detail["total"] == 3
    page = handmade.queries.cron("job-1", limit="1", offset="1")
    assert [r["error"] for r in page["runs"]] == ["no tea"]
    assert page["runs"] == detail["runs"][1:2]


def test_a_note_to_the_main_session_has_no_cost_of_its_own(handmade: clawmeter.Clawmeter) -> None:
    detail = handmade.queries.cron("job-2")
    assert detail["job"]["totals"] is None
    [run] = detail["runs"]
    assert (run["session"], run["totals"]) == ("s3", None)


def test_a_list_row_has_its_success_rate_and_last_runs(handmade: clawmeter.Clawmeter) -> None:
    [job, note] = handmade.queries.crons()["jobs"]
    assert (job["runs"], job["ok_runs"], job["failed_runs"], job["success_rate"], job["average_duration_ms"]) == (2, 1, 1, 0.5, 700)  # fmt: skip
    bars = [(b["status"], b["cost_nano_usd"]) for b in job["recent"]]
    assert bars == [("ok", 10_000_000), ("error", 20_000_000)]
    assert job["totals"]["cost_nano_usd"] == 70_000_000
    assert job["next_runs_ms"] == [NOW + HOUR, NOW + 2 * HOUR, NOW + 3 * HOUR]
    assert (note["success_rate"], [b["cost_nano_usd"] for b in note["recent"]]) == (1.0, [None])
    assert handmade.queries.crons(from_="2026-11-06")["jobs"][0]["runs"] == 0


def test_a_job_that_is_gone_keeps_its_cost_and_its_runs(handmade: clawmeter.Clawmeter) -> None:
    path = handmade.homes[0].path / "cron" / "jobs.json"
    path.write_text(json.dumps({"version": 1, "jobs": []}))
    handmade.crons.forget()
    answer = handmade.queries.crons()
    [gone] = answer["jobs"]
    assert (gone["id"], gone["removed"], gone["enabled"], gone["next_runs_ms"]) == ("job-1", True, False, [])  # fmt: skip
    assert answer["totals"]["cost_nano_usd"] == gone["totals"]["cost_nano_usd"] == 70_000_000
    assert handmade.queries.cron("job-1")["total"] == 3
    with pytest.raises(QueryError, match="no such cron job"):
        handmade.queries.cron("job-3")


def test_cost_by_job_has_the_names_of_the_jobs(handmade: clawmeter.Clawmeter) -> None:
    def rows(**asked: str) -> list[tuple[str, str]]:
        answer = handmade.queries.usage(from_="all", **asked)
        return sorted((row["key"], row["label"]) for row in answer["parts" if "split" in asked else "rows"])  # fmt: skip

    named = [("(none)", "(none)"), ("job-1", "hourly")]
    assert rows(by="cron_job") == rows(by="cron_job", sort="label") == rows(by="model", split="cron_job") == named  # fmt: skip
    # A job that is gone has left its name in the label of its sessions; without one its id is all there is.
    path = handmade.homes[0].path / "cron" / "jobs.json"
    path.write_text(json.dumps({"version": 1, "jobs": []}))
    handmade.crons.forget()
    assert rows(by="cron_job") == [("(none)", "(none)"), ("job-1", "job-1")]
    with handmade.store.transaction() as db:
        db.execute("UPDATE sessions SET label = 'Cron: as it was' WHERE session_id = 's2'")
    assert rows(by="cron_job") == [("(none)", "(none)"), ("job-1", "as it was")]
    with handmade.store.transaction() as db:
        db.execute("INSERT INTO sessions (agent, session_id, cron_job, last_ms) SELECT agent, 's2 again', cron_job, last_ms + 1 FROM sessions WHERE session_id = 's2'")  # fmt: skip
    assert rows(by="cron_job") == [("(none)", "(none)"), ("job-1", "as it was")]


def test_filters_hold_for_jobs_and_their_costs(handmade: clawmeter.Clawmeter) -> None:
    assert handmade.queries.crons(agent="main")["totals"]["cost_nano_usd"] == 70_000_000
    other = handmade.queries.crons(agent="nobody")
    assert (other["jobs"], other["totals"]["cost_nano_usd"]) == ([], 0)


def test_a_failed_job_needs_attention_while_it_is_on(handmade: clawmeter.Clawmeter) -> None:
    path = handmade.homes[0].path / "cron" / "jobs.json"
    jobs = json.loads(path.read_text())
    jobs["jobs"][0]["state"] = {"lastRunStatus": "error", "lastError": "no tea", "lastRunAtMs": T0}

    def attention() -> list[Json]:
        path.write_text(json.dumps(jobs))
        handmade.crons.forget()
        return [one for one in handmade.queries.overview()["attention"] if one["kind"] == "cron"]

    assert attention() == [
        {"level": "bad", "kind": "cron", "text": "Cron job hourly failed: no tea", "action": {"label": "See the job", "href": "#/crons/job-1"}}
    ]  # fmt: skip
    jobs["jobs"][0]["enabled"] = False
    assert attention() == []


def test_a_home_that_is_a_copy_of_another_has_no_jobs_of_its_own(tmp_path: Path, meter_factory: Any) -> None:  # fmt: skip
    home = cron_home(tmp_path)
    copy = shutil.copytree(home.state, tmp_path / "copy")
    meter = meter_factory(home.state, copy)
    meter.index()
    assert [job["id"] for job in meter.queries.crons()["jobs"]] == ["job-1", "job-2"]
    assert meter.queries.cron("job-1")["job"]["agent_id"] == "main"


# --- from a gateway ------------------------------------------------------------------------------


class Asked:
    """Answers of a gateway by method; those of an iterator are given one after the other."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {name.replace("_", "."): answer for name, answer in answers.items()}
        self.calls: list[tuple[str, Json]] = []

    def __call__(self, method: str, params: Json, *, timeout_s: float) -> Any:
        self.calls.append((method, params))
        answer = self.answers[method]
        if isinstance(answer, Iterator):
            answer = next(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer


def book_of(asked: Asked, status: str = "connected", **more: Any) -> CronBook:
    state = clawmeter.GatewayState()
    state.status = status
    return CronBook((), asked, state, **more)


def test_pages_of_the_list_are_asked_for_where_there_are_more() -> None:
    jobs = [{"id": f"j{n}"} for n in range(120)]
    asked = Asked(cron_list=iter([
        {"jobs": jobs[:50], "hasMore": True, "nextOffset": 50}, {"jobs": jobs[50:], "hasMore": False, "nextOffset": None},
    ]))  # fmt: skip
    found = book_of(asked).jobs()
    assert [job["id"] for job in found.jobs] == [f"j{n}" for n in range(120)]
    # 2026.2 knows no limit: it is not asked for one unless there is more.
    assert [params for _, params in asked.calls] == [{"includeDisabled": True}, {"includeDisabled": True, "offset": 50, "limit": 200}]  # fmt: skip


def test_a_list_that_never_ends_is_given_up() -> None:
    answer = {"jobs": [{"id": "j"}], "hasMore": True, "nextOffset": 0}
    asked = Asked(cron_list=answer)
    assert len(book_of(asked).jobs().jobs) == 1
    assert len(asked.calls) == 1


@pytest.mark.parametrize(
    "page",
    [
        {"jobs": [], "hasMore": True, "nextOffset": 2},
        {"jobs": [{"id": "b"}], "hasMore": True, "nextOffset": 1},
        {"jobs": [{"id": "b"}], "hasMore": True, "nextOffset": "2"},
        {"jobs": [{"id": "b"}], "hasMore": True, "nextOffset": 10**9},
    ],
)
def test_a_page_that_leads_nowhere_is_the_last(page: Json) -> None:
    first = {"jobs": [{"id": "a"}], "hasMore": True, "nextOffset": 1}
    asked = Asked(cron_list=iter([first, page]))
    assert [job["id"] for job in book_of(asked).jobs().jobs][0] == "a"
    assert len(asked.calls) == 2


@pytest.mark.parametrize("answer", [None, [], "x", {"jobs": {}}, {"jobs": [[], None, {"id": {}}]}])
def test_an_answer_that_is_no_list_of_jobs_gives_none(answer: Any) -> None:
    assert book_of(Asked(cron_list=answer)).jobs().jobs == ()


def test_fifty_lookers_ask_the_gateway_once() -> None:
    asked = Asked(cron_list={"jobs": [{"id": "j"}]})
    book = book_of(asked, clock=lambda: 0.0)
    barrier = threading.Barrier(50)

    def look() -> None:
        barrier.wait(PATIENCE_S)
        book.jobs()

    threads = [threading.Thread(target=look) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(asked.calls) == 1
    book.forget()
    book.jobs()
    assert len(asked.calls) == 2


def test_runs_are_asked_for_once_while_nothing_changes() -> None:
    asked = Asked(cron_runs={"entries": [{"runAtMs": T0, "status": "ok", "summary": "hi"}, None, 7]})  # fmt: skip
    book = book_of(asked, clock=lambda: 0.0)
    assert [run["summary"] for run in book.runs("j") + book.runs("j")] == ["hi", "hi"]
    assert len(asked.calls) == 1
    book.runs("k")
    book.forget()
    book.runs("k")
    assert [params["id"] for _, params in asked.calls] == ["j", "k", "k"]


def test_runs_of_a_job_that_the_gateway_does_not_have_are_read_from_the_files(tmp_path: Path) -> None:  # fmt: skip
    """It answers an empty list for any id; the job may be that of a second home."""
    book = book_of(Asked(cron_runs={"entries": []}))
    book.homes = (home_at(cron_home(tmp_path).state),)
    assert [run["error"] for run in book.runs("job-1")] == [None, "no tea"]


def test_what_changes_while_it_is_read_is_read_again() -> None:
    book = book_of(Asked(cron_list={"jobs": []}), clock=lambda: 0.0)
    asked: Any = book.ask

    def ask(method: str, params: Json, *, timeout_s: float) -> Any:
        if len(asked.calls) == 0:
            book.forget()
        return asked(method, params, timeout_s=timeout_s)

    book.ask = ask
    book.jobs()
    book.jobs()
    assert len(asked.calls) == 2


def test_a_gateway_that_does_not_list_leaves_the_files(real_homes: Any) -> None:
    home = home_at(real_homes("2026.6.11") / ".openclaw")
    refusal = clawmeter.CallRefusedError("cron.list", {"code": "FORBIDDEN", "message": "missing scope"})  # fmt: skip
    book = book_of(Asked(cron_list=refusal))
    book.homes = (home,)
    found = book.jobs()
    assert (found.source, len(found.jobs)) == ("files", 3)
    assert "missing scope" in found.problems[0]


def test_a_silent_gateway_does_not_hold_up_who_reads_the_files(real_homes: Any) -> None:
    home = home_at(real_homes("2026.6.11") / ".openclaw")
    may_answer = threading.Event()

    def ask(_method: str, _params: Json, *, timeout_s: float) -> Any:
        assert may_answer.wait(PATIENCE_S)
        return {"jobs": []}

    state = clawmeter.GatewayState()
    state.status = "connected"
    book = CronBook((home,), ask, state)
    looker = threading.Thread(target=book.jobs)
    looker.start()
    assert len(book.stored().jobs) == 3
    may_answer.set()
    looker.join(PATIENCE_S)


# --- the API -------------------------------------------------------------------------------------


class Api:
    """A Clawmeter that listens to a gateway, and its API."""

    def __init__(self, meter: clawmeter.Clawmeter, gateway: FakeGateway) -> None:
        self.meter, self.gateway = meter, gateway
        self.client = clawmeter.create_app(meter).test_client()
        self.client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {meter.access.load_token()}"
        self.client.environ_base["HTTP_HOST"] = "127.0.0.1"

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = self.client.open(path, method=method, json=body)
        return answer.status_code, answer.get_json()

    def sent(self, method: str) -> list[Json]:
        return [r["params"] for c in self.gateway.connections for r in c.requests if r["method"] == method]  # fmt: skip


JOB: Json = {"id": "j1", "name": "tea", "schedule": {"kind": "every", "everyMs": HOUR}, "sessionTarget": "isolated", "payload": {"kind": "agentTurn", "message": "x"}}  # fmt: skip


@pytest.fixture
def api(tmp_path: Path, meter_factory: Any) -> Iterator[Api]:
    gateway = FakeGateway()
    gateway.answers |= {
        "cron.list": {"jobs": [JOB]}, "cron.runs": {"entries": []}, "cron.add": {"id": "j2"}, "cron.update": JOB, "cron.remove": {"ok": True, "removed": True},
        "cron.run": {"ok": True, "enqueued": True, "runId": "r1"},
    }  # fmt: skip
    meter = meter_factory(home_of(tmp_path, gateway), gateway=True)
    meter.index()
    meter.gateway.start()
    wait_until(lambda: meter.gateway_state.status == "connected", "the connection")
    yield Api(meter, gateway)
    meter.gateway.stop()
    gateway.stop()


def test_the_api_lists_what_the_gateway_has_and_that_it_can_be_changed(api: Api) -> None:
    status, answer = api.ask("GET", "/api/crons")
    assert (status, answer["source"], answer["can_change"], answer["why_not"]) == (200, "gateway", True, None)  # fmt: skip
    assert [(job["id"], job["source"]) for job in answer["jobs"]] == [("j1", "gateway")]
    status, detail = api.ask("GET", "/api/crons/j1")
    assert (status, detail["job"]["payload"]["text"]) == (200, "x")
    assert api.ask("GET", "/api/crons/j9")[0] == 404


@pytest.mark.parametrize(
    "odd",
    [
        {"delivery": {"mode": "webhook", "to": "http://[x"}},
        {"delivery": {"mode": "webhook", "to": "https://u:p[w@hooks.example/x"}},
        {"schedule": {"kind": "cron", "expr": "0-10/00 * * * *"}},
        {"payload": {"kind": "agentTurn", "message": "half a smile: \ud83d"}},
    ],
)
def test_whatever_a_job_holds_the_others_are_listed(api: Api, odd: Json) -> None:
    api.gateway.answers["cron.list"] = {"jobs": [{**JOB, "id": "odd", **odd}, JOB]}
    status, answer = api.ask("GET", "/api/crons")
    assert (status, [job["id"] for job in answer["jobs"]]) == (200, ["odd", "j1"])
    assert "p[w" not in json.dumps(answer)
    assert api.ask("GET", "/api/overview")[0] == 200


def test_a_job_that_cannot_be_read_is_counted() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    found = clawmeter.CronJobs.parse("gateway", [{"id": "deep", "payload": deep, "trigger": deep}, {"id": "j"}])  # fmt: skip
    assert ([job["id"] for job in found.jobs], found.bad_jobs) == (["j"], 1)
    assert found.problems[0].startswith("a cron job cannot be read: ")


def test_only_reading_and_only_when_somebody_looks(api: Api) -> None:
    [connection] = api.gateway.connections
    assert connection.asked("cron.list") == 0
    api.ask("GET", "/api/crons")
    assert len(api.gateway.connections) == 1
    assert connection.asked("cron.list") == 1


def test_each_change_is_one_request_with_the_callers_own_words(api: Api) -> None:
    new = {"name": "x", "schedule": {"kind": "cron", "expr": "0 9 * * *"}, "payload": {"kind": "systemEvent", "text": "y"}}  # fmt: skip
    assert api.ask("POST", "/api/crons", new) == (200, {"id": "j2"})
    revision = parse_cron_job(JOB)["config_revision"]
    change = {"patch": {"enabled": False}, "expected_revision": revision}
    assert api.ask("PATCH", "/api/crons/j1", change) == (200, {"id": "j1"})
    assert api.ask("DELETE", f"/api/crons/j1?expected_revision={revision}") == (200, {"id": "j1"})
    status, started = api.ask("POST", "/api/crons/j1/run")
    assert (status, started) == (200, {"id": "j1", "started": True, "run_id": "r1", "problems": []})
    assert api.sent("cron.add") == [new]
    assert api.sent("cron.update") == [
        {"id": "j1", "patch": {"enabled": False}}
    ]  # older than 2026.9: no revisions
    assert api.sent("cron.remove") == [{"id": "j1"}]
    assert api.sent("cron.run") == [{"id": "j1", "mode": "force"}]
    rows, total = api.meter.actions.listed()
    assert total == 4
    assert [(r["kind"], r["target"], r["outcome"]) for r in rows] == [
        ("cron.run", "tea", "ok"), ("cron.delete", "tea", "ok"), ("cron.disable", "tea", "ok"), ("cron.create", "x", "ok"),
    ]  # fmt: skip


def test_a_job_that_was_changed_meanwhile_is_a_conflict_with_its_new_state(api: Api) -> None:
    for method, path, body in (
        ("PATCH", "/api/crons/j1", {"patch": {"name": "y"}, "expected_revision": "sha256:old"}),
        ("DELETE", "/api/crons/j1?expected_revision=sha256:old", None),
    ):
        status, answer = api.ask(method, path, body)
        assert (status, answer["error"]["code"], answer["job"]["name"]) == (409, "cron_changed", "tea")  # fmt: skip
    assert api.sent("cron.update") == api.sent("cron.remove") == []


def test_of_two_changes_at_once_the_second_is_a_conflict(api: Api) -> None:
    """Also before 2026.9, where only we look."""
    jobs = {"j1": dict(JOB)}
    api.gateway.answers["cron.list"] = lambda _params: {"jobs": list(jobs.values())}

    def update(params: Json) -> Json:
        jobs["j1"] |= params["patch"]
        return jobs["j1"]

    api.gateway.answers["cron.update"] = update
    revision = parse_cron_job(JOB)["config_revision"]
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(api.ask, "PATCH", "/api/crons/j1", {"patch": {"name": name}, "expected_revision": revision}) for name in ("x", "y")]  # fmt: skip
        assert sorted(one.result(30)[0] for one in asked) == [200, 409]
    assert len(api.sent("cron.update")) == 1


@pytest.mark.parametrize("name", ["cron/jobs.json", "cron/runs/j1.jsonl"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(name: str, tmp_path: Path) -> None:
    home = home_at(tmp_path)
    path = home.path / name
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    if name.endswith(".json"):
        with pytest.raises(clawmeter.SourceError, match="cannot read"):
            clawmeter.read_cron_jobs(home)
    else:
        assert clawmeter.read_cron_runs(home, "j1") == []


def test_a_conflict_that_only_the_gateway_sees_is_the_same_answer(api: Api) -> None:
    api.gateway.answers["cron.list"] = {"jobs": [{**JOB, "configRevision": "sha256:1"}]}
    api.gateway.answers["cron.update"] = {"error": {"code": "INVALID_REQUEST", "message": "no longer matches", "details": {"code": "CRON_JOB_CHANGED"}}}  # fmt: skip
    body = {"patch": {"name": "y"}, "expected_revision": "sha256:1"}
    status, answer = api.ask("PATCH", "/api/crons/j1", body)
    assert (status, answer["job"]["config_revision"]) == (409, "sha256:1")
    assert api.sent("cron.update")[0]["expectedConfigRevision"] == "sha256:1"


def test_what_the_gateway_refuses_is_said_in_its_words(api: Api) -> None:
    api.gateway.answers["cron.run"] = {"error": {"code": "INVALID_REQUEST", "message": "the job is on holiday"}}  # fmt: skip
    status, answer = api.ask("POST", "/api/crons/j1/run")
    assert status == 502
    assert "the job is on holiday" in answer["error"]["message"]
    api.gateway.answers["cron.run"] = {"ok": True, "ran": False, "reason": "already-running"}
    assert api.ask("POST", "/api/crons/j1/run")[1]["problems"] == ["the gateway did not run it: already-running"]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/crons", {}, 400), ("POST", "/api/crons", {"schedule": {}}, 400), ("POST", "/api/crons", {"name": "x", "id": "mine"}, 400), ("POST", "/api/crons", [], 400),
        ("PATCH", "/api/crons/j1", {"patch": {}}, 400), ("PATCH", "/api/crons/j1", {"patch": {"state": {}}}, 400), ("PATCH", "/api/crons/j1", {"patch": {"name": "y"}, "expected_revision": 4}, 400),
        ("PATCH", "/api/crons/j9", {"patch": {"name": "y"}}, 404), ("DELETE", "/api/crons/j9", None, 404), ("POST", "/api/crons/j9/run", None, 404),
    ],
)  # fmt: skip
def test_what_is_no_change_of_a_job_is_not_sent(
    api: Api, method: str, path: str, body: Any, status: int
) -> None:
    assert api.ask(method, path, body)[0] == status
    assert len(api.gateway.connections) == 1


def test_without_a_gateway_jobs_are_read_and_not_changed(
    real_homes: Any, meter_factory: Any
) -> None:
    meter = meter_factory(real_homes("2026.6.11"))
    meter.index()
    api = Api(meter, None)  # type: ignore[arg-type]
    _, answer = api.ask("GET", "/api/crons")
    assert (answer["source"], answer["can_change"]) == ("files", False)
    assert answer["why_not"]
    job_id = answer["jobs"][0]["id"]
    for method, path, body in (
        ("POST", "/api/crons", {"name": "x"}),
        ("PATCH", f"/api/crons/{job_id}", {"patch": {"enabled": True}}),
        ("DELETE", f"/api/crons/{job_id}", None),
        ("POST", f"/api/crons/{job_id}/run", None),
    ):
        assert api.ask(method, path, body)[0] == 503


def test_a_token_that_may_only_read_changes_nothing(api: Api) -> None:
    _, token = api.meter.access.create_token("reader", "read")
    api.client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    _, answer = api.ask("GET", "/api/crons")
    assert (answer["can_change"], answer["why_not"]) == (False, "this login may only read")
    assert api.ask("POST", "/api/crons/j1/run")[0] == 403
    assert api.sent("cron.run") == []


def test_an_event_of_the_gateway_is_told_to_pages_and_makes_the_list_old(api: Api) -> None:
    page = api.meter.stream.subscribe()
    frames = page.frames()
    next(frames)
    assert api.ask("GET", "/api/crons")[1]["jobs"][0]["name"] == "tea"
    api.gateway.answers["cron.list"] = {"jobs": [{**JOB, "name": "coffee"}]}
    api.gateway.client().say({"type": "event", "event": "cron", "payload": {"jobId": "j1", "action": "updated", "job": JOB}})  # fmt: skip
    told = next(frame for frame in frames if b"event: cron" in frame)
    assert b'"action":"updated"' in told
    assert api.ask("GET", "/api/crons")[1]["jobs"][0]["name"] == "coffee"
    page.close()


@pytest.mark.parametrize("payload", [None, 7, [], {}, {"jobId": 5}, {"jobId": "x" * 9999, "action": {}}])  # fmt: skip
def test_a_hostile_cron_event_changes_nothing(api: Api, payload: Any) -> None:
    api.gateway.client().say({"type": "event", "event": "cron", "payload": payload})
    assert api.meter.gateway.ask("cron.list") == {"jobs": [JOB]}  # it listens still
    assert api.ask("GET", "/api/crons")[1]["jobs"][0]["name"] == "tea"


def test_a_preview_says_words_and_runs_or_what_is_wrong(api: Api) -> None:
    api.meter.queries.clock = lambda: NOW / 1000
    _, answer = api.ask("GET", "/api/cron-preview?kind=cron&expr=0+9+*+*+*&zone=Asia/Tokyo")
    assert answer["text"] == "at 09:00 every day, Asia/Tokyo"
    assert answer["next_runs_ms"][0] == at("2026-11-07T00:00:00Z")
    assert api.ask("GET", "/api/cron-preview?kind=cron&expr=x")[1]["problem"] == "not a cron expression: x"  # fmt: skip
    assert api.ask("GET", "/api/cron-preview?kind=at&at=2020-01-01T00:00:00Z")[1]["problem"] == "no further run"  # fmt: skip
    assert api.ask("GET", "/api/cron-preview?kind=every&every_ms=60000")[1]["text"] == "every minute"  # fmt: skip
    assert api.ask("GET", "/api/cron-preview")[0] == 400
