"""The lists, turns and transcript searches behind the session pages, against the ledger and the truth."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

import clawmeter
from clawmeter import EntryFilter, Kept, QueryError, Turn, simplify

if TYPE_CHECKING:
    from pathlib import Path

    from homes import HomeFactory, MadeHome

MINUTE = 60_000


@pytest.fixture
def home(home_factory: HomeFactory) -> MadeHome:
    """The home that the tests of lists share: they ask, and nothing writes into it."""
    return home_factory("sqlite", copy=False, sessions=40, messages=1200)


def every(queries: Any, **question: Any) -> list[dict[str, Any]]:
    return queries.session_list(limit="10000", **question)["rows"]


# --- the list -------------------------------------------------------------------------------------


def test_sums_of_the_list_are_those_of_usage(meter: Any) -> None:
    answer = meter.queries.session_list(limit="1")
    totals = meter.queries.usage(from_="all", by="model")["totals"]
    assert answer["totals"] == totals
    assert answer["total"] == len(every(meter.queries))
    for agent in {row["agent"] for row in every(meter.queries)}:
        usage = meter.queries.usage(from_="all", by="model", agent=agent)["totals"]
        assert meter.queries.session_list(agent=agent)["totals"] == usage


def test_sums_are_those_of_the_rows_under_every_filter(meter: Any) -> None:
    questions: list[dict[str, str]] = [
        {"q": "cron"}, {"cause": "subagent"}, {"cause": "heartbeat"}, {"channel": "(none)"}, {"has": "errors"}, {"has": "compactions"},
        {"has": "subagents"}, {"has": "unpriced"}, {"state": "ended"}, {"from_": "7d"}, {"provider": "openai"}, {"model": "openai/gpt-5.2"}, {"from_": "7d", "q": "main", "has": "errors"},
    ]  # fmt: skip
    for question in questions:
        answer = meter.queries.session_list(limit="10000", **question)
        assert answer["total"] == len(answer["rows"])
        for field in ("cost_nano_usd", "total_tokens", "model_calls", "unpriced_calls"):
            assert answer["totals"][field] == sum(row[field] for row in answer["rows"]), question
    assert meter.queries.session_list(cause="heartbeat")["total"] > 0


@pytest.mark.parametrize("sort", sorted(clawmeter.SESSION_SORTS))
def test_sorting_orders_by_what_is_shown_and_pages_fit_together(meter: Any, sort: str) -> None:
    def shown(row: dict[str, Any]) -> Any:
        if sort == "errors":
            return row["tool_errors"] + row["model_errors"]
        if sort == "context_share":
            known = row["context_tokens"] is not None and row["context_window"]
            return row["context_tokens"] / row["context_window"] if known else None
        return (row["label"] or row["key"]) if sort == "label" else row[sort]

    rows = every(meter.queries, sort=sort, order="asc")
    values = [value for row in rows if (value := shown(row)) is not None]
    assert values == sorted(values)
    assert [shown(row) for row in rows[len(values) :]] == [None] * (len(rows) - len(values))
    pages = []
    for offset in range(0, len(rows), 7):
        page = meter.queries.session_list(sort=sort, order="asc", limit="7", offset=str(offset))
        pages += page["rows"]
    assert [row["id"] for row in pages] == [row["id"] for row in rows]


def test_deep_pages_come_from_the_list_that_is_kept(
    meter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clawmeter, "SHALLOW_ROWS", 0)
    rows = [row["id"] for row in every(meter.queries, sort="total_cost")]
    page = meter.queries.session_list(sort="total_cost", offset="3", limit="4")["rows"]
    assert [row["id"] for row in page] == rows[3:7]
    before = len(meter.queries.lists.answers)
    meter.queries.session_list(sort="total_cost", offset="9", limit="4")
    assert len(meter.queries.lists.answers) == before


def test_a_kept_list_is_made_anew_when_something_is_written(meter: Any) -> None:
    first = meter.queries.session_list(sort="label", limit="1000")
    with meter.store.transaction() as db:
        db.execute("UPDATE sessions SET label = 'aaaa first' WHERE session_id = ?", (first["rows"][-1]["id"],))  # fmt: skip
    again = meter.queries.session_list(sort="label", limit="1000")
    assert [r["id"] for r in again["rows"] if r["label"] == "aaaa first"] == [
        first["rows"][-1]["id"]
    ]
    assert again["rows"][-1]["id"] != first["rows"][-1]["id"]


def test_what_is_kept_is_bounded_and_per_connection(store: clawmeter.Store) -> None:
    kept, reads = Kept(2), []

    def read() -> int:
        reads.append(1)
        return len(reads)

    with store.reading() as db:
        assert [kept.get(db, name, read) for name in ("a", "a", "b", "c", "a")] == [1, 1, 2, 3, 4]
        assert len(kept.answers) == 2


def test_search_takes_every_word_and_no_wildcards(meter: Any) -> None:
    rows = every(meter.queries)
    row = next(r for r in rows if r["key"] and len(r["key"].split(":")) > 2)
    words = f"{row['key'].split(':')[1].upper()} {row['id'][:6]}"
    assert row["id"] in [r["id"] for r in every(meter.queries, q=words)]
    assert all(
        all(w.lower() in f"{r['label']} {r['key']} {r['id']}".lower() for w in words.split())
        for r in every(meter.queries, q=words)
    )
    for wild in ("%", "_", "\\", "'", '"; DROP TABLE sessions'):
        found = every(meter.queries, q=wild)
        assert all(wild.split()[0] in f"{r['label']} {r['key']} {r['id']}" for r in found)


def test_wrong_questions_are_named(meter: Any) -> None:
    for question in ({"has": "luck"}, {"sort": "colour"}, {"order": "up"}, {"state": "dead"}):
        with pytest.raises(QueryError):
            meter.queries.session_list(**question)


# --- exports --------------------------------------------------------------------------------------


def test_exports_are_exactly_what_is_filtered(client: Any) -> None:
    query = {"has": "errors", "sort": "total_cost"}
    listed = client.get("/api/session-list", query_string={**query, "limit": 10_000}).json["rows"]
    answer = client.get("/api/sessions.json", query_string=query)
    assert answer.json == listed
    assert answer.headers["Content-Disposition"] == 'attachment; filename="sessions.json"'
    answer = client.get("/api/sessions.csv", query_string=query)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["id"] for row in rows] == [row["id"] for row in listed]
    assert sum(int(r["cost_nano_usd"]) for r in rows) == sum(r["cost_nano_usd"] for r in listed)
    nothing = {"q": "no session is called this"}
    assert client.get("/api/sessions.json", query_string=nothing).json == []
    assert client.get("/api/sessions.csv", query_string=nothing).text.count("\n") == 1


def test_a_label_is_no_formula(meter: Any, client: Any) -> None:
    with meter.store.transaction() as db:
        db.execute("UPDATE sessions SET label = '=cmd|calc!A1' WHERE model_calls > 0")
    text = client.get("/api/sessions.csv").text
    assert "'=cmd|calc!A1" in text
    assert not re.search(r"(^|,)=cmd", text, re.MULTILINE)


# --- a session ------------------------------------------------------------------------------------


def test_copies_name_the_session_that_pays(home_factory: HomeFactory, meter_factory: Any) -> None:
    meter = meter_factory(home_factory("jsonl-mid", copy=False, sessions=12, messages=300, traps="fork").path)  # fmt: skip
    meter.index()
    copies = [
        meter.queries.session(r["id"]) for r in meter.queries.sessions(limit="10000")[0]
    ]  # fmt: skip
    forks = [s for s in copies if s["copied_calls"]]
    assert forks
    for fork in forks:
        assert fork["copied_calls"] == sum(one["calls"] for one in fork["copied_from"])
        for one in fork["copied_from"]:
            assert meter.queries.session(one["session"])["id"] == one["session"] != fork["id"]


@pytest.mark.parametrize("era", ["jsonl-mid", "sqlite", "upgraded"])
def test_a_session_names_every_place_that_has_its_transcript(
    home_factory: HomeFactory, meter_factory: Any, era: str
) -> None:
    meter = meter_factory(home_factory(era, copy=False, sessions=12, messages=300).path)
    meter.index()
    for row in meter.queries.sessions(limit="10000")[0]:
        stored = {one["path"] for one in meter.queries.session(row["id"])["sources"]}
        page = meter.queries.transcript(row["id"], limit="1")
        assert set(page["sources"]) <= stored
        assert page["available"] is bool(stored)


def test_subagents_of_a_session_are_all_below_it(meter: Any) -> None:
    rows = {row["id"]: row for row in every(meter.queries)}
    parents = {row["parent_session"] for row in rows.values() if row["parent_session"]}
    assert parents
    for parent in parents:
        below, count = meter.queries.subagents(session=parent)
        assert count == len(below)
        assert {r["id"] for r in below if r["parent_session"] == parent} == {
            r["id"] for r in rows.values() if r["parent_session"] == parent
        }
        sums = rows[parent]["cost_nano_usd"] + sum(r["cost_nano_usd"] for r in below)
        assert rows[parent]["tree_cost_nano_usd"] == sums


# --- turns ----------------------------------------------------------------------------------------


def test_turns_add_up_to_the_session_and_do_not_overlap(meter: Any) -> None:
    for row in every(meter.queries):
        answer = meter.queries.turns(row["id"])
        turns = answer["turns"]
        for field in ("cost_nano_usd", "total_tokens", "model_calls", "plan_cost_nano_usd"):
            assert sum(turn[field] for turn in turns) == row[field]
        for field in ("tool_calls", "tool_errors", "model_errors", "compactions", "failovers"):
            assert sum(turn[field] for turn in turns) == row[field], field
        assert [turn["n"] for turn in turns] == list(range(len(turns)))
        for turn, following in zip(turns, turns[1:], strict=False):
            assert turn["from_ms"] <= turn["to_ms"] <= following["from_ms"]
        for turn in turns:
            assert turn["duration_ms"] == turn["to_ms"] - turn["from_ms"]
            assert turn["model_ms"] + turn["tool_ms"] + turn["wait_ms"] == turn["duration_ms"]
            beside = [s for s in turn["stretches"] if s[0] != "subagent"]
            assert all(0 <= begin and begin + length <= turn["duration_ms"] for _, begin, length in beside)  # fmt: skip
            assert sum(length for _, _, length in beside) == turn["model_ms"] + turn["tool_ms"]


def test_the_last_turns_are_told_and_the_first_summed(meter: Any) -> None:
    row = max(every(meter.queries), key=lambda r: r["user_messages"])
    all_of_it = meter.queries.turns(row["id"])
    last = meter.queries.turns(row["id"], limit="2")
    assert last["turns"] == all_of_it["turns"][-2:]
    assert last["skipped"] == len(all_of_it["turns"]) - 2
    known = last["skipped_totals"]["cost_nano_usd"] + sum(t["cost_nano_usd"] for t in last["turns"])
    assert known == row["cost_nano_usd"]
    assert meter.queries.turns(row["id"], limit="2", offset="0")["turns"] == all_of_it["turns"][:2]


def test_a_turn_of_the_timeline_is_its_own_part(meter: Any) -> None:
    row = max(every(meter.queries), key=lambda r: r["user_messages"])
    turns = meter.queries.turns(row["id"])["turns"]
    found = 0
    for turn, following in zip(turns, [*turns[1:], None], strict=True):
        until = {} if following is None else {"until_ms": str(following["from_ms"])}
        items = meter.queries.timeline(row["id"], since_ms=str(turn["from_ms"]), **until)["items"]
        calls = [item for item in items if item["kind"] == "model_call"]
        assert len(calls) == turn["model_calls"]
        found += len(items)
    assert found == len(meter.queries.timeline(row["id"])["items"])


CALL = (1000, "opus", "toolUse", 0, '["exec"]', *[1] * 9)


def test_what_a_turn_marks() -> None:
    turn = Turn(0)
    turn.add_message(0, "user", 0, None)
    turn.add_call(3000, CALL, None)
    turn.add_message(5000, "toolResult", 1, None)  # since the call ended
    turn.add_call(6000, (500, "opus", "error", 0, None, *[0] * 9), "opus")
    turn.add_call(9000, (1000, "haiku", "stop", clawmeter.FLAG_FAILOVER, None, *[1] * 9), "opus")
    turn.add_message(9500, "compaction", 0, None)
    turn.add_subagent(4000, 20_000, 77)
    shown = turn.render(4)
    assert shown["stretches"] == [
        ["model", 2000, 1000],
        ["tool", 3000, 2000],
        ["failed", 5500, 500],
        ["model", 8000, 1000],
        ["subagent", 4000, 16_000],
    ]
    assert (shown["duration_ms"], shown["model_ms"], shown["tool_ms"]) == (9000, 2500, 2000)
    assert (shown["model_errors"], shown["retries"], shown["failovers"]) == (1, 1, 1)
    assert (shown["tool_errors"], shown["compactions"], shown["subagents"]) == (1, 1, 1)
    assert (shown["models"], shown["new_model"]) == (["opus", "haiku"], "haiku")


def test_work_side_by_side_is_counted_once() -> None:
    turn = Turn(0)
    turn.add_call(1000, CALL, None)
    turn.add_message(3000, "toolResult", 0, 1900)
    turn.add_message(3100, "toolResult", 0, 2000)  # ran beside the other one
    assert turn.render(0)["stretches"] == [["model", 0, 1000], ["tool", 1100, 2000]]


def test_many_stretches_become_few_and_none_is_longer_than_the_turn() -> None:
    stretches = [["model" if n % 2 else "tool", n * 100, 90] for n in range(5000)]
    stretches[777][0] = "failed"
    short = simplify(stretches, 500_000)
    assert len(short) <= clawmeter.MAX_STRETCHES + 1
    assert any(kind == "failed" for kind, _, _ in short), "what failed is never hidden"
    assert max(begin + length for _, begin, length in short) <= 500_000
    assert simplify(stretches[:5], 500) == stretches[:5]


# --- transcripts ----------------------------------------------------------------------------------


def write_transcript(home: Path, entries: list[dict[str, Any]]) -> str:
    """A home with one session of these messages; its id."""
    folder = home / ".openclaw" / "agents" / "main" / "sessions"
    folder.mkdir(parents=True)
    (home / ".openclaw" / "openclaw.json").write_text("{}")
    lines: list[dict[str, Any]] = [
        {"type": "session", "version": 3, "id": "talk", "timestamp": "2026-11-01T10:00:00.000Z"}
    ]
    for n, message in enumerate(entries):
        seconds = n * 10
        stamp = f"2026-11-01T{10 + seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.000Z"  # fmt: skip
        lines.append({"type": "message", "id": f"e{n}", "parentId": None, "timestamp": stamp, "message": message})  # fmt: skip
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    (folder / "talk.jsonl").write_text(text)
    return "talk"


def said(role: str, text: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}], **more}


@pytest.fixture
def talk(tmp_path: Path, meter_factory: Any) -> Any:
    """Queries of a home with one session of 1,500 entries: every 500th failed, one has a needle."""
    entries = [said("user" if n % 2 else "assistant", f"number {n}") for n in range(1500)]
    for n in (400, 900, 1400):
        entries[n] = said("toolResult", "no such file", toolName="exec", isError=True)
    entries[1234] = said("user", 'a Needle in "hay" \u00c4ther')
    write_transcript(tmp_path / "talk-home", entries)
    meter = meter_factory(tmp_path / "talk-home")
    meter.index()
    return meter.queries


def test_the_next_error_and_the_one_before(talk: Any) -> None:
    def find(start: int, back: str = "0", **question: str) -> Any:
        return talk.find_entry("talk", start=str(start), back=back, **question)["n"]

    assert [find(n, kinds="errors") for n in (0, 400, 401, 1400, 1401)] == [400, 400, 900, 1400, None]  # fmt: skip
    assert [find(n, "1", kinds="errors") for n in (1499, 1399, 400, 399)] == [1400, 900, 400, None]
    for words in ("needle", "NEEDLE in", 'in "hay"', "\u00e4ther"):
        assert find(0, q=words) == 1234, words
    assert find(0, q="user") is None, "what no reader sees is not found"
    # Among errors only, the last one is the third.
    assert find(0, kinds="errors", among="errors", q="file") == 0
    assert talk.find_entry("talk", among="errors")["total"] == 3


def test_a_long_search_stops_and_says_where(talk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clawmeter, "FIND_S", 0.0)
    start, asked = "0", 0
    while True:
        found = talk.find_entry("talk", q="needle", start=start)
        asked += 1
        if found["n"] is not None or found["next"] is None:
            break
        assert found["next"] > int(start)
        start = str(found["next"])
    assert found["n"] == 1234
    assert asked > 5
    assert talk.find_entry("talk", q="nowhere", start="1480")["next"] is None


def test_a_search_parses_only_what_can_match(talk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    parse = clawmeter.render_entry
    monkeypatch.setattr(clawmeter, "render_entry", lambda *a: parsed.append(1) or parse(*a))
    assert talk.find_entry("talk", q="needle")["n"] == 1234
    assert len(parsed) == 1


@pytest.mark.parametrize(
    ("raw", "question", "may"),
    [
        (b'{"text":"Deploy"}', EntryFilter(text="deploy"), True),
        (b'{"text":"nothing"}', EntryFilter(text="deploy"), False),
        (b'{"text":"\\u0064eploy"}', EntryFilter(text="deploy"), True),
        (b'{"text":"a\\/b"}', EntryFilter(text="a/b"), True),
        (b'{"text":"say \\"x\\""}', EntryFilter(text='"x"'), True),
        (b'{"role":"user"}', EntryFilter(frozenset({"errors"})), False),
        (b'{"isError":true}', EntryFilter(frozenset({"errors"})), True),
        (b'{"exitCode":1}', EntryFilter(frozenset({"errors", "thinking"})), True),
    ],
)
def test_bytes_that_cannot_match(raw: bytes, question: EntryFilter, may: bool) -> None:
    assert question.may_match(raw) is may


@pytest.mark.parametrize("era", ["jsonl-mid", "sqlite", "upgraded"])
def test_filters_find_what_parsing_everything_finds(
    home_factory: HomeFactory, meter_factory: Any, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = meter_factory(home_factory(era, copy=False, sessions=12, messages=300).path)
    meter.index()
    ids = [row["id"] for row in meter.queries.sessions(limit="10000")[0]]
    questions = [{"kinds": kind} for kind in clawmeter.ENTRY_KINDS]
    questions += [{"q": "the"}, {"q": "exec"}, {"q": 'a"'}, {"kinds": "tools", "q": "error"}]

    def answers() -> list[Any]:
        meter.queries.maps.clear()
        return [
            [entry["n"] for entry in meter.queries.transcript(sid, limit="10000", **q)["entries"]]
            for sid in ids
            for q in questions
        ]

    quick = answers()
    monkeypatch.setattr(EntryFilter, "may_match", lambda *_: True)
    assert quick == answers()
    assert any(quick)


def test_a_page_at_a_moment(talk: Any) -> None:
    moment = clawmeter.parse_iso_ms("2026-11-01T11:00:00.000Z")
    page = talk.transcript("talk", at_ms=str(moment), limit="3")
    assert (page["offset"], page["entries"][0]["ts_ms"]) == (360, moment)
    assert talk.transcript("talk", at_ms=str(moment + 1), limit="3")["offset"] == 361
    assert talk.transcript("talk", at_ms=str(moment + 10**9), limit="3")["offset"] == 1499
    assert talk.transcript("talk", at_ms="0", limit="3")["offset"] == 0


def test_long_texts_are_cut_where_a_page_asks_for_that(tmp_path: Path, meter_factory: Any) -> None:
    arguments = {"command": "x" * 50_000, "short": ["y" * 10]}
    call = {"type": "toolCall", "id": "c1", "name": "exec", "arguments": arguments}
    entries = [
        said("user", "w" * 1_000_000),
        {"role": "assistant", "content": [call, {"type": "thinking", "thinking": "t" * 9000}]},
        said("user", "short"),
    ]
    write_transcript(tmp_path / "long", entries)
    meter = meter_factory(tmp_path / "long")
    meter.index()
    page = meter.queries.transcript("talk", clip="4000")
    assert len(json.dumps(page)) < 20_000
    assert [entry["clipped"] for entry in page["entries"]] == [True, True, False]
    assert page["entries"][0]["text"] == "w" * 4000
    assert page["entries"][1]["tool_calls"][0]["arguments"] == {"command": "x" * 4000, "short": ["y" * 10]}  # fmt: skip
    (whole,) = meter.queries.transcript("talk", offset="1", limit="1")["entries"]
    assert whole["tool_calls"][0]["arguments"] == arguments
    assert whole["clipped"] is False
