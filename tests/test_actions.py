"""Acting on a gateway: a connection of its own for each action, with the scope that it needs, and a record of all."""

from __future__ import annotations

import json
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from gateway_server import TOKEN, FakeGateway, start
from handmade import NOW, HandmadeHome, header, user
from served import PATIENCE_S, wait_until

import clawmeter
from clawmeter import CallRefusedError, GatewayError, NoAnswerError, QueryError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Json = dict[str, Any]
ABORT = ("sessions.abort", {"key": "agent:main:main"})


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    made = FakeGateway()
    made.answers["sessions.abort"] = {"ok": True, "abortedRunId": "r1", "status": "aborted"}
    yield made
    made.stop()


def home_of(folder: Path, gateway: FakeGateway, token: str = TOKEN) -> Path:
    """A home whose config names the gateway."""
    home = folder / ".openclaw"
    (home / "agents").mkdir(parents=True, exist_ok=True)
    config = {"gateway": {"port": gateway.port, "auth": {"mode": "token", "token": token}}}
    (home / "openclaw.json").write_text(json.dumps(config))
    return home


@pytest.fixture
def meter(gateway: FakeGateway, tmp_path: Path, meter_factory: Any) -> clawmeter.Clawmeter:
    """A Clawmeter that may use the gateway, but does not listen to it."""
    made: clawmeter.Clawmeter = meter_factory(home_of(tmp_path, gateway), gateway=True)
    return made


def call(meter: clawmeter.Clawmeter, steps: Any = ABORT, **more: Any) -> Any:
    return meter.actions.call(0, steps, kind="session.abort", target="Morning", who="token ci", **more)  # fmt: skip


def test_an_action_asks_for_the_scope_that_it_needs_and_leaves(
    meter: clawmeter.Clawmeter, gateway: FakeGateway
) -> None:
    assert call(meter)["status"] == "aborted"
    update = ("cron.update", {"id": "j", "patch": {"enabled": False}})
    gateway.answers["cron.update"] = {"id": "j"}
    assert call(meter, [update, ABORT])["status"] == "aborted"
    first, second = gateway.connections
    assert all(c.is_over.wait(10) for c in gateway.connections)
    assert "origin" not in first.headers
    hellos = [c.requests[0]["params"] for c in gateway.connections]
    assert [h["scopes"] for h in hellos] == [["operator.admin"]] * 2  # fmt: skip
    assert {(h["client"]["id"], h["client"]["mode"]) for h in hellos} == {("gateway-client", "backend")}  # fmt: skip
    assert not any("device" in h for h in hellos)
    assert [r["method"] for r in second.requests] == ["connect", "cron.update", "sessions.abort"]
    assert second.requests[1]["params"] == update[1]


def test_only_methods_of_the_list_are_ever_sent(meter: clawmeter.Clawmeter, gateway: FakeGateway) -> None:  # fmt: skip
    with pytest.raises(KeyError):
        call(meter, ("config.apply", {}))
    with (
        meter.actions.operation(0, ["chat.abort"], kind="x", who="x") as operation,
        pytest.raises(ValueError, match="config.apply"),
    ):
        operation.send("config.apply", {}, "x")
    assert gateway.connections == []
    assert meter.actions.listed() == ([], 0)


def test_what_was_sent_and_answered_is_listed_without_secrets(
    meter: clawmeter.Clawmeter, gateway: FakeGateway
) -> None:
    gateway.answers["cron.add"] = {"id": "j1", "token": "hush-1"}
    key = "sk-ant-" + "a1" * 20
    job = {"name": "x" * 5000, "apiKey": "hush-2", "passwd": "hush-3", "tokenV2": "hush-4", "payload": {"message": f"use {key} and Bearer abcdefgh1234"}}  # fmt: skip
    call(meter, ("cron.add", job))
    [row], total = meter.actions.listed()
    assert (total, row["who"], row["kind"], row["target"]) == (1, "token ci", "session.abort", "Morning")  # fmt: skip
    assert (row["method"], row["outcome"], row["gateway"]) == ("cron.add", "ok", gateway.url)
    assert row["answer"] == {"id": "j1", "token": "[redacted]"}
    assert len(row["params"]["name"]) == 2000
    text = json.dumps(row)
    assert not any(secret in text for secret in ("hush", key, "abcdefgh1234", TOKEN))
    assert row["params"]["payload"]["message"] == "use [redacted] and Bearer [redacted]"


def test_a_record_has_a_bounded_length(meter: clawmeter.Clawmeter, gateway: FakeGateway) -> None:
    gateway.answers["cron.add"] = {"rows": [{"text": "y" * 1900}] * 199}
    call(meter, ("cron.add", {"a": {str(n): "z" * 1900 for n in range(99)}}))
    with meter.store.reading() as db:
        assert max(*db.execute("SELECT length(params), length(answer) FROM actions").fetchone()) < 16_000  # fmt: skip
    assert isinstance(meter.actions.listed()[0][0]["answer"], str)


def test_a_secret_is_known_by_any_name_above_it() -> None:
    hush = {
        "token": ["hush", {"a": "hush"}], "credentials": {"value": "hush", "port": 8080}, "password": 12345678, "passphrase": [[1.5]],
        "totalTokens": 77, "enabled": True, "credential": {"passwd": {"n": 9}},
    }  # fmt: skip
    gone = "[redacted]"
    assert clawmeter.redact_value(hush) == {
        "token": [gone, {"a": gone}], "credentials": {"value": gone, "port": 8080}, "password": gone, "passphrase": [[gone]],
        "totalTokens": 77, "enabled": True, "credential": {"passwd": {"n": gone}},
    }  # fmt: skip


def test_anything_can_be_written_down() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    odd = {"half \ud83d": "\ud83d", "large": 2**70, "low": -(2**70), "deep": deep, "none": float("nan")}  # fmt: skip
    kept = json.loads(clawmeter.to_record(odd))
    assert (kept["half ?"], kept["large"], kept["low"], kept["none"]) == ("?", str(2**70), str(-(2**70)), None)  # fmt: skip
    assert json.dumps(kept["deep"]).count("[") < 200


@pytest.mark.parametrize(
    ("answer", "error", "status", "code", "words", "outcome"),
    [
        ({"error": {"code": "NOT_FOUND", "message": "no active run"}}, CallRefusedError, 502, "NOT_FOUND", "no active run", "refused"),
        ({"error": {"code": "INVALID_REQUEST", "message": "no longer matches", "details": {"code": "CRON_JOB_CHANGED"}}}, CallRefusedError, 409, "CRON_JOB_CHANGED", "no longer", "refused"),
        ("silence", NoAnswerError, 504, "gateway_no_answer", "no answer in 0.1 s", "no_answer"),
    ],
)  # fmt: skip
def test_a_failure_keeps_the_words_of_the_gateway(
    meter: clawmeter.Clawmeter, gateway: FakeGateway, answer: Any, error: type[GatewayError], status: int, code: str, words: str, outcome: str,
) -> None:  # fmt: skip
    gateway.answers["sessions.abort"] = answer
    with pytest.raises(error, match=words) as raised:
        call(meter, [ABORT, ABORT], timeout_s=0.1)
    assert (raised.value.http_status, raised.value.code) == (status, code)
    [row], _ = meter.actions.listed()  # the second was not sent
    assert row["outcome"] == outcome
    assert words in row["answer"]["message"]


def test_a_gateway_that_leaves_before_it_answers_may_have_done_it(
    meter: clawmeter.Clawmeter, gateway: FakeGateway
) -> None:
    gateway.answers["sessions.abort"] = lambda: gateway.client().drop() or "silence"
    with pytest.raises(NoAnswerError, match="may have been done"):
        call(meter)
    assert meter.actions.listed()[0][0]["outcome"] == "no_answer"


def test_without_a_gateway_nothing_is_sent_and_that_is_listed(
    meter: clawmeter.Clawmeter, gateway: FakeGateway
) -> None:
    gateway.token = "another"
    with pytest.raises(GatewayError, match="refuses the token") as refused:
        call(meter)
    assert refused.value.http_status == 503
    gateway.stop()
    with pytest.raises(GatewayError, match="nobody listens"):
        call(meter)
    rows, total = meter.actions.listed(limit="1")
    assert (total, rows[0]["outcome"], rows[0]["answer"]["code"]) == (2, "not_sent", "gateway_unreachable")  # fmt: skip


def test_with_no_gateway_nothing_is_sent(gateway: FakeGateway, tmp_path: Path, meter_factory: Any) -> None:  # fmt: skip
    meter = meter_factory(home_of(tmp_path, gateway), gateway=False)
    with pytest.raises(GatewayError, match="--no-gateway"):
        call(meter)
    assert gateway.connections == []


def test_what_cannot_be_written_down_is_not_sent(
    meter: clawmeter.Clawmeter, gateway: FakeGateway
) -> None:
    meter.store.db.execute("PRAGMA query_only = 1")
    with pytest.raises(StoreError):
        call(meter)
    meter.store.db.execute("PRAGMA query_only = 0")
    assert gateway.connections == []


def test_the_list_outlives_a_restart(gateway: FakeGateway, tmp_path: Path, meter_factory: Any) -> None:  # fmt: skip
    home = home_of(tmp_path, gateway)
    first = meter_factory(home, gateway=True, state_dir=tmp_path / "state")
    call(first)
    # As after a kill: it was sent, and there is no answer.
    row = first.actions.begin("x", "k", "t", "cron.run", {})
    first.stop()
    rows, total = meter_factory(home, state_dir=tmp_path / "state").actions.listed()
    assert total == 2
    assert [(r["id"], r["outcome"], r["answer"]) for r in rows][0] == (row, "unknown", None)
    assert rows[1]["outcome"] == "ok"


def test_a_ledger_of_the_first_schema_gets_the_table(store: clawmeter.Store, tmp_path: Path) -> None:  # fmt: skip
    path = tmp_path / "old.db"
    with sqlite3.connect(path, isolation_level=None) as db:
        for statement in clawmeter.SCHEMA.split(";\n"):
            db.execute(statement)
        store._make_indexes(db)
        db.execute("PRAGMA user_version = 1")
        db.execute("INSERT INTO meta VALUES ('kept', 'yes')")
    opened = clawmeter.Store(path, store.prices, opener=clawmeter.open_private)
    assert opened.meta("kept") == "yes"
    assert opened.db.execute("SELECT count(*) FROM actions").fetchone() == (0,)
    assert opened.db.execute("PRAGMA user_version").fetchone() == (clawmeter.SCHEMA_VERSION,)
    opened.close()


class FirstIndex:
    """Holds the ledger as the first index does, in a thread of its own."""

    def __init__(self, meter: clawmeter.Clawmeter) -> None:
        self.began, self.may_end = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run, args=(meter,))

    def _run(self, meter: clawmeter.Clawmeter) -> None:
        with meter.store.bulk_load():
            self.began.set()
            assert self.may_end.wait(PATIENCE_S)

    def __enter__(self) -> FirstIndex:
        self.thread.start()
        assert self.began.wait(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.may_end.set()
        self.thread.join(PATIENCE_S)


def test_nothing_waits_for_the_first_index(meter: clawmeter.Clawmeter, gateway: FakeGateway) -> None:  # fmt: skip
    meter.actions.LEDGER_S = 0.05  # type: ignore[misc]
    row = meter.actions.begin("x", "k", "t", "cron.run", {})
    with FirstIndex(meter):
        with pytest.raises(QueryError, match="first index is under way") as refused:
            call(meter)
        meter.actions.end(row, gateway.url, "ok", {}, 1)  # it is done: nobody is told otherwise
    assert (refused.value.code, refused.value.status) == ("indexing", 503)
    assert gateway.connections == []
    assert [r["outcome"] for r in meter.actions.listed()[0]] == ["unknown"]
    assert call(meter)["status"] == "aborted"


def test_an_index_of_a_moment_is_no_reason_to_refuse(meter: clawmeter.Clawmeter) -> None:
    meter.actions.LEDGER_S = PATIENCE_S  # type: ignore[misc]
    with ThreadPoolExecutor(1) as pool:
        with FirstIndex(meter):
            asked = pool.submit(call, meter)
            wait_until(asked.running)
        assert asked.result(PATIENCE_S)["status"] == "aborted"


def test_the_record_names_whose_grant_it_was(meter: clawmeter.Clawmeter) -> None:
    access = meter.access
    _, secret = access.create_token("laptop", "full")
    made = access.log_in(secret, remote="10.0.0.7", user_agent="Mozilla")
    assert made
    grants = [access.check_bearer(access.load_token(), is_private=True), access.check_bearer(secret, is_private=True), access.check_cookie(made[1]), access.check_bearer(TOKEN, is_private=True)]  # fmt: skip
    assert [access.name_of(grant) for grant in grants] == [
        "dashboard token", "token laptop", f"browser login {made[0].id} from 10.0.0.7 (token laptop)", "gateway token",
    ]  # fmt: skip


def test_the_api_lists_them_page_by_page(meter: clawmeter.Clawmeter) -> None:
    for _ in range(3):
        call(meter)
    client = clawmeter.create_app(meter).test_client()
    headers = {"Authorization": f"Bearer {meter.access.load_token()}", "Host": "127.0.0.1"}
    answer = client.get("/api/actions?limit=2&offset=1", headers=headers)
    assert [row["id"] for row in answer.json] == [2, 1]
    assert answer.headers["X-Total-Count"] == "3"


# --- aborting and pausing --------------------------------------------------------------------------


class Jobs:
    """The cron jobs of a gateway, in pages of two, and what it was asked to change."""

    def __init__(self, gateway: FakeGateway, *names: str) -> None:
        self.rows = {name: {"id": name, "name": name.title(), "enabled": True, "schedule": {"kind": "every", "everyMs": 1}} for name in names}  # fmt: skip
        self.asked: list[Any] = []
        self.refused: set[str] = set()
        gateway.answers |= {"cron.list": self.list, "cron.update": self.update, "set-heartbeats": self.heartbeats}  # fmt: skip

    def list(self, params: Json) -> Json:
        at, rows = params.get("offset", 0), list(self.rows.values())
        more = len(rows) > at + 2
        return {"jobs": rows[at : at + 2], "hasMore": more, "nextOffset": at + 2 if more else None}

    def update(self, params: Json) -> Any:
        self.asked.append((params["id"], params["patch"]))
        if params["id"] in self.refused:
            return {"error": {"code": "UNAVAILABLE", "message": "not this one"}}
        self.rows[params["id"]] |= params["patch"]
        return self.rows[params["id"]]

    def heartbeats(self, params: Json) -> Any:
        self.asked.append(("heartbeats", params["enabled"]))
        return {"ok": True, **params}

    def on(self) -> set[str]:
        return {name for name, row in self.rows.items() if row["enabled"]}


@pytest.fixture
def following(gateway: FakeGateway, tmp_path: Path, meter_factory: Any) -> Any:
    """following(): a Clawmeter that listens to the gateway; always with the same state directory."""

    def make() -> clawmeter.Clawmeter:
        made: clawmeter.Clawmeter = meter_factory(home_of(tmp_path, gateway), gateway=True, state_dir=tmp_path / "state")  # fmt: skip
        made.gateway.start()
        wait_until(lambda: made.gateway_state.status == "connected", "a connection")
        return made

    return make


def has_run(meter: clawmeter.Clawmeter, gateway: FakeGateway) -> None:
    gateway.client(len(gateway.connections)).say(start())
    wait_until(lambda: meter.gateway_state.running(), "the run")


def test_what_aborts_a_run_depends_on_the_version(following: Any, gateway: FakeGateway) -> None:
    meter = following()
    with pytest.raises(QueryError, match="no run of this session"):
        meter.actions.abort("agent:main:main", who="x")
    has_run(meter, gateway)
    gateway.answers["chat.abort"] = {"ok": True, "aborted": True, "runIds": ["r1"]}
    [step] = meter.actions.plan_abort("agent:main:main")
    assert (step.method, step.params) == ("chat.abort", {"sessionKey": "agent:main:main", "runId": "r1"})  # fmt: skip
    assert meter.actions.abort("agent:main:main", who="x")["aborted"] is True
    gateway.answers["chat.abort"] = {"ok": True, "aborted": False, "runIds": []}
    with pytest.raises(QueryError, match="not sent as a chat message"):
        meter.actions.abort("agent:main:main", who="x")
    meter.gateway_state.methods = frozenset({"sessions.abort"})
    [step] = meter.actions.plan_abort("agent:main:main")
    assert (step.method, step.params) == ("sessions.abort", {"key": "agent:main:main"})
    gateway.answers["sessions.abort"] = {"ok": True, "abortedRunId": None, "status": "no-active-run"}  # fmt: skip
    with pytest.raises(QueryError, match="had no run"):
        meter.actions.abort("agent:main:main", who="x")


def test_a_run_that_is_not_aborted_keeps_no_other_from_it(following: Any, gateway: FakeGateway) -> None:  # fmt: skip
    meter = following()
    for run in ("r1", "r2"):
        gateway.client(len(gateway.connections)).say(start(runId=run))
    wait_until(
        lambda: any(len(runs) == 2 for _, runs in meter.gateway_state.running()), "both runs"
    )
    asked: list[str] = []

    def abort(params: Json) -> Any:
        asked.append(params["runId"])
        return {"error": {"code": "UNAVAILABLE", "message": "boom"}} if params["runId"] == "r1" else {"ok": True, "aborted": True}  # fmt: skip

    gateway.answers["chat.abort"] = abort
    with pytest.raises(clawmeter.CallRefusedError, match="boom"):
        meter.actions.abort("agent:main:main", who="x")
    assert sorted(asked) == ["r1", "r2"]


def test_a_pause_belongs_to_its_gateway(tmp_path: Path, gateway: FakeGateway, meter_factory: Any, following: Any) -> None:  # fmt: skip
    jobs = Jobs(gateway, "a")
    first = following()
    first.actions.pause(who="me")
    first.stop()
    other = FakeGateway()
    try:
        theirs = Jobs(other, "b")
        second = meter_factory(home_of(tmp_path / "other", other), gateway=True, state_dir=tmp_path / "state")  # fmt: skip
        second.gateway.start()
        wait_until(lambda: second.gateway_state.status == "connected", "a connection")
        assert second.gateway_state.paused_ms is None
        with pytest.raises(QueryError, match="not paused"):
            second.actions.resume(who="me")
        assert (theirs.asked, theirs.on()) == ([], {"b"})
        second.stop()
    finally:
        other.stop()
    third = following()
    assert third.gateway_state.paused_ms
    third.actions.resume(who="me")
    assert jobs.on() == {"a"}


def test_addresses_of_webhooks_are_not_in_the_list_of_actions(following: Any, gateway: FakeGateway) -> None:  # fmt: skip
    hook = "https://discord.com/api/webhooks/1234/abcDEF-ghi"
    meter = following()
    gateway.answers["cron.add"] = {"id": "j1", "delivery": {"mode": "webhook", "to": "https://example.org/hook/s3cret"}}  # fmt: skip
    meter.actions.call(0, ("cron.add", {"delivery": {"mode": "webhook", "to": hook}}), kind="cron.create", target="x", who="me")  # fmt: skip
    [row] = meter.actions.listed()[0]
    assert row["params"]["delivery"]["to"] == "https://discord.com/…"
    assert row["answer"]["delivery"]["to"] == "https://example.org/…"


def test_a_pause_says_which_runs_go_on(following: Any, gateway: FakeGateway) -> None:
    Jobs(gateway, "a")
    meter = following()
    has_run(meter, gateway)
    gateway.answers["chat.abort"] = {"ok": True, "aborted": False, "runIds": []}
    [problem] = meter.actions.pause(who="me")["problems"]
    assert problem.startswith("agent:main:main: the gateway aborted nothing")


def test_a_pause_is_undone_exactly_also_by_another_clawmeter(following: Any, gateway: FakeGateway) -> None:  # fmt: skip
    jobs = Jobs(gateway, "a", "b", "off", "locked", "c")
    jobs.rows["off"]["enabled"] = False
    jobs.rows["locked"]["declarationKey"] = "skill-collection-review:main"
    first = following()
    has_run(first, gateway)
    gateway.answers["chat.abort"] = {"ok": True, "aborted": True}
    told = first.actions.pause(who="me")
    assert (told["paused"], told["jobs"], told["locked"], told["problems"]) == (True, ["A", "B", "C"], ["Locked"], [])  # fmt: skip
    assert jobs.on() == {"locked"}
    assert jobs.asked[-1] == ("heartbeats", False)
    assert [s["method"] for s in told["steps"]][-2:] == ["set-heartbeats", "chat.abort"]
    first.stop()

    jobs.rows["b"]["schedule"] = {"kind": "every", "everyMs": 2}
    del jobs.rows["c"]
    jobs.asked.clear()
    second = following()
    assert second.gateway_state.paused_ms == told["since_ms"]
    assert second.actions.pause_state()["left"] == [{"job": "B", "why": "changed"}, {"job": "C", "why": "gone"}]  # fmt: skip
    told = second.actions.resume(who="me")
    assert (told["paused"], told["left"][0]) == (False, {"job": "B", "why": "changed"})
    assert jobs.asked == [("a", {"enabled": True}), ("heartbeats", True)]
    assert second.gateway_state.paused_ms is None
    with pytest.raises(QueryError, match="not paused"):
        second.actions.resume(who="me")


def test_a_pause_that_is_cut_short_can_be_undone_and_gone_on_with(following: Any, gateway: FakeGateway) -> None:  # fmt: skip
    jobs = Jobs(gateway, "a", "b")
    meter = following()
    update = gateway.answers["cron.update"]

    def cut(params: Json) -> Any:
        if params["id"] == "a":
            return update(params)
        update(params)
        gateway.connections[-1].drop()  # after it was done, before the answer
        return "silence"

    gateway.answers["cron.update"] = cut
    with pytest.raises(NoAnswerError):
        meter.actions.pause(who="me")
    assert jobs.on() == set()
    state = meter.actions.pause_state()
    assert (state["paused"], state["jobs"], state["heartbeats"]) == (True, ["A", "B"], False)
    gateway.answers["cron.update"] = update
    assert meter.actions.pause(who="me")["heartbeats"] is True
    assert meter.actions.resume(who="me")["paused"] is False
    assert jobs.on() == {"a", "b"}


def test_a_job_with_half_a_character_is_paused_and_restored(following: Any, gateway: FakeGateway) -> None:  # fmt: skip
    """As JavaScript's slice() leaves it in names and texts that agents write."""
    jobs = Jobs(gateway, "a", "b\ud83d")
    jobs.rows["a"] |= {"name": "half a smile \ud83d", "payload": {"kind": "agentTurn", "\ud83d": 2**70}}  # fmt: skip
    meter = following()
    assert meter.actions.pause(who="me")["problems"] == []
    assert jobs.on() == set()
    told = meter.actions.resume(who="me")
    assert (told["paused"], told["left"], told["problems"]) == (False, [], [])
    assert jobs.on() == {"a", "b\ud83d"}


def test_what_was_never_sent_is_not_paused(following: Any, gateway: FakeGateway) -> None:
    jobs = Jobs(gateway, "a", "b")
    meter = following()
    gateway.token = "another"  # of the connection that is there nobody asks it again
    with pytest.raises(GatewayError, match="refuses the token"):
        meter.actions.pause(who="me")
    state = meter.actions.pause_state()
    assert (state["paused"], state["jobs"], meter.gateway_state.paused_ms) == (False, [], None)
    assert meter.actions.listed()[0][0]["outcome"] == "not_sent"
    with pytest.raises(QueryError, match="not paused"):
        meter.actions.resume(who="me")

    gateway.token = TOKEN
    jobs.refused = {"b"}
    assert meter.actions.pause(who="me")["jobs"] == ["A"]
    before = meter.actions._load_pause()
    gateway.token = "another"
    with pytest.raises(GatewayError, match="refuses the token"):
        meter.actions.pause(who="me")
    assert meter.actions._load_pause() == before


def test_a_list_of_jobs_that_leads_nowhere_ends(following: Any, gateway: FakeGateway) -> None:
    jobs = Jobs(gateway, "a")
    pages = iter([{"jobs": list(jobs.rows.values()), "hasMore": True, "nextOffset": 5}, {"jobs": [], "hasMore": True, "nextOffset": 5}])  # fmt: skip
    gateway.answers["cron.list"] = lambda: next(pages)
    assert [step.target for step in following().actions.plan_pause()[0]] == ["A", "heartbeats"]


def test_a_run_of_which_only_the_key_is_told_is_aborted_by_its_session(
    gateway: FakeGateway, tmp_path: Path, meter_factory: Any
) -> None:
    """Events of 2026.2 have no session id; the page knows the session by it."""
    home = HandmadeHome(tmp_path / "home")
    home.write("s-old", [header("s-old", NOW - 9000), user("u1", NOW - 8000)])
    home.write("s-new", [header("s-new", NOW - 5000), user("u2", NOW - 4000)])
    meter = meter_factory(home.path, gateway=True, gateway_url=gateway.url, gateway_token=TOKEN)
    for session in ("s-old", "s-new"):  # the key went on to the second
        home.index({"agent:main:main": session})
        meter.index()
    meter.gateway.start()
    gateway.client().say(start())
    wait_until(meter.gateway_state.running, "the run")
    step = ("chat.abort", {"sessionKey": "agent:main:main", "runId": "r1"}, "agent:main:main")
    assert meter.actions.plan_abort("s-new") == [step]
    with pytest.raises(QueryError, match="no run of this session"):
        meter.actions.plan_abort("s-old")
    gateway.client().say(start(sessionId="s-newest"))  # the key has gone on again
    wait_until(lambda: meter.gateway_state.running("s-newest"), "the id")
    with pytest.raises(QueryError, match="no run of this session"):
        meter.actions.plan_abort("s-new")


def test_what_a_gateway_refuses_is_told_and_the_rest_goes_on(following: Any, gateway: FakeGateway) -> None:  # fmt: skip
    jobs = Jobs(gateway, "a", "b")
    del gateway.answers["set-heartbeats"]  # a version that does not know it
    jobs.refused = {"a"}
    meter = following()
    told = meter.actions.pause(who="me")
    assert told["problems"] == ["A: not this one", "heartbeats: unknown method: set-heartbeats"]
    assert (told["jobs"], told["heartbeats"]) == (["B"], False)
    jobs.refused = {"b"}
    told = meter.actions.resume(who="me")
    assert (told["paused"], told["problems"]) == (
        True,
        ["B: not this one"],
    )  # still ours to restore
    jobs.refused = set()
    assert meter.actions.resume(who="me")["paused"] is False
    assert jobs.on() == {"a", "b"}


def test_a_pause_that_nothing_would_remember_is_refused(gateway: FakeGateway, tmp_path: Path, meter_factory: Any) -> None:  # fmt: skip
    jobs = Jobs(gateway, "a")
    meter = meter_factory(home_of(tmp_path, gateway), gateway=True, history=False)
    meter.gateway.start()
    wait_until(lambda: meter.gateway_state.status == "connected", "a connection")
    with pytest.raises(GatewayError, match="without history"):
        meter.actions.pause(who="me")
    assert "without history" in meter.actions.pause_state()["problems"][0]
    assert jobs.asked == []


def test_without_a_gateway_a_pause_is_still_told(following: Any, gateway: FakeGateway) -> None:
    Jobs(gateway, "a")
    meter = following()
    meter.actions.pause(who="me")
    gateway.stop()
    wait_until(lambda: meter.gateway_state.status == "unreachable", "the end of the gateway")
    state = meter.actions.pause_state()
    assert (state["paused"], state["jobs"], state["steps"]) == (True, ["A"], [])
    assert "gateway" in state["problems"][0]
    with pytest.raises(GatewayError):
        meter.actions.resume(who="me")
    assert meter.actions.pause_state()["jobs"] == ["A"]
