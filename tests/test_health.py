"""Health: the machine, what waits to be delivered, the gateway's log and its own sums, and how near the limits are."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import make_home
import pytest
from gateway_server import TOKEN, FakeGateway
from handmade import MINUTE, NOW, T0, HandmadeHome, call, header, iso, user
from served import PATIENCE_S, wait_until

import clawmeter
from clawmeter import REDACTED, GatewayError, GatewayLog, RateLimit, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Json = dict[str, Any]
SCHEMAS = clawmeter.describe_api()["components"]["schemas"]


def is_as_described(shape: str, answer: Any) -> None:
    """An answer has exactly the fields that the API describes."""
    whole = {"$ref": f"#/components/schemas/{shape}", "components": {"schemas": SCHEMAS}}
    assert [e.message for e in jsonschema_rs.Draft202012Validator(whole).iter_errors(answer)] == []
    if isinstance(answer, dict):
        assert set(answer) == set(SCHEMAS[shape]["properties"])


@pytest.fixture
def home(tmp_path: Path) -> HandmadeHome:
    return HandmadeHome(tmp_path / "home")


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    made = FakeGateway()
    yield made
    made.stop()


# --- the machine ---------------------------------------------------------------------------------


def test_system_health_is_as_described_and_measures_this_machine(home: HandmadeHome, meter_factory: Any) -> None:  # fmt: skip
    meter = meter_factory(home.path, gateway_url=f"ws://127.0.0.1:{closed_port()}")
    meter.system.HOLD_S = meter.system._now.hold_s = 0.0
    first = meter.system_health()
    told = wait_until(
        lambda: (now := meter.system_health()) and now["cpu"]["used_share"] is not None and now
    )
    is_as_described("SystemHealth", told)
    assert first["cpu"]["used_share"] is None  # of no time nothing can be said
    assert 0 <= told["cpu"]["used_share"] <= 1
    assert told["cpu"]["count"] == os.cpu_count()
    assert 0 < told["memory"]["available_bytes"] <= told["memory"]["total_bytes"]
    assert told["process"]["rss_bytes"] > 10_000_000
    assert [row for row in told["disks"] if "OpenClaw" in row["holds"]][0]["free_bytes"] > 0
    assert told["gateway"]["listening"] is False
    assert told["history"][0]["cpu_share"] is not None


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_port_that_somebody_listens_on_is_open(home: HandmadeHome, meter_factory: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        told = meter_factory(home.path, gateway_url=url).system_health()["gateway"]
    assert (told["url"], told["listening"]) == (url, True)


def test_places_on_one_disk_are_one_row(tmp_path: Path) -> None:
    (row,) = clawmeter.read_disks([("OpenClaw", tmp_path), ("ledger", tmp_path), ("OpenClaw", tmp_path), ("x", tmp_path / "gone")])  # fmt: skip
    assert row["holds"] == ["OpenClaw", "ledger"]
    assert 0 < row["used_share"] < 1


def system(**over: Any) -> Json:
    """A machine that is well."""
    disk = {"path": "/d", "holds": ["OpenClaw"], "total_bytes": 100, "free_bytes": 50, "used_share": over.pop("disk", 0.5)}  # fmt: skip
    memory = {"total_bytes": 1000, "available_bytes": over.pop("available", 500)}
    return {"ts_ms": NOW, "disks": [disk], "memory": memory, **over}


def delivery(**over: Any) -> Json:
    return {"oldest_ms": None, "failures": [], "pending": 0, "failed": 0, "queues": [], "problem": None, **over}  # fmt: skip


@pytest.mark.parametrize(
    ("machine", "queue", "found"),
    [
        (system(), delivery(), []),
        (system(disk=0.849), delivery(), []),
        (system(disk=0.85), delivery(), [("warn", "disk")]),
        (system(disk=0.95), delivery(), [("bad", "disk")]),
        (system(available=99), delivery(), [("warn", "memory")]),
        (system(), delivery(oldest_ms=NOW - 5 * MINUTE), []),
        (system(), delivery(oldest_ms=NOW - 5 * MINUTE - 1), [("warn", "delivery_stuck")]),
        (system(), delivery(failures=[{"failed_ms": NOW - MINUTE}]), [("warn", "delivery_failed")]),
        (system(), delivery(failures=[{"failed_ms": NOW - 8 * 86_400_000}]), []),
    ],
)
def test_what_needs_attention(machine: Json, queue: Json, found: list[tuple[str, str]]) -> None:
    told = clawmeter.find_findings(machine, queue, clawmeter.GatewayState(), None)
    assert [(one["level"], one["kind"]) for one in told] == found
    assert all(one["text"] and one["what_to_do"] for one in told)


def test_slow_gateway_and_failed_service_need_attention() -> None:
    state = clawmeter.GatewayState()
    state.event_loop = {"degraded": True}
    services = [{"name": "openclaw-gateway.service", "is_failed": True}, {"name": "other", "is_failed": False}]  # fmt: skip
    told = clawmeter.find_findings(system(), delivery(), state, {"services": services})
    assert [(one["level"], one["kind"]) for one in told] == [("bad", "service"), ("warn", "event_loop")]  # fmt: skip


def test_gpus_are_read_from_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    device = tmp_path / "card1" / "device"
    device.mkdir(parents=True)
    (device / "gpu_busy_percent").write_text("37\n")
    (device / "mem_info_vram_used").write_text("1000\n")
    (device / "mem_info_vram_total").write_text("what?\n")
    assert clawmeter.read_gpus(tmp_path) == [
        {"name": "card1", "used_share": 0.37, "memory_used_bytes": 1000, "memory_total_bytes": None, "temperature_c": None}
    ]  # fmt: skip
    assert clawmeter.read_gpus(tmp_path / "none") == []


def script(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_commands_of_the_system_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nvidia-smi and systemctl print; a command that fails says nothing."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    script(tmp_path, "nvidia-smi", "echo 'NVIDIA RTX 4090, Ti, 12, 1024, 24564, 41'; echo 'odd'; echo 'Tesla, [N/A], 1, 2, [N/A]'")  # fmt: skip
    script(tmp_path, "systemctl", "echo 'openclaw-gateway.service loaded failed failed OpenClaw Gateway (v2026.9.6)'")  # fmt: skip
    first, second = clawmeter.read_gpus(tmp_path / "none")
    assert (first["name"], first["used_share"], first["memory_total_bytes"], first["temperature_c"]) == ("NVIDIA RTX 4090, Ti", 0.12, 24564 * 2**20, 41.0)  # fmt: skip
    assert (second["name"], second["used_share"], second["temperature_c"]) == ("Tesla", None, None)
    assert clawmeter.read_services() == [
        {"name": "openclaw-gateway.service", "kind": "systemd", "state": "failed (failed)", "is_running": False, "is_failed": True}
    ]  # fmt: skip
    script(tmp_path, "systemctl", "exit 1")
    assert clawmeter.read_services() == []


def test_a_service_that_failed_is_said_until_it_runs(
    home: HandmadeHome, tmp_path: Path, meter_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """… also by the look of every minute, which does not ask for services that are well."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    script(tmp_path, "systemctl", f"echo x >> {tmp_path}/asked; cat {tmp_path}/says")
    says = tmp_path / "says"
    says.write_text("openclaw-gateway.service loaded failed failed OpenClaw Gateway\n")
    meter = meter_factory(home.path)
    meter.system.services.hold_s = 0.0

    def failed() -> bool:
        return any(one["kind"] == "service" for one in meter.findings)

    meter._note_system()
    assert not failed()  # nobody has looked
    meter.system_health()
    meter._note_system()
    assert failed()
    says.write_text("openclaw-gateway.service loaded active running OpenClaw Gateway\n")
    meter._note_system()
    assert not failed()
    meter._note_system()
    assert (tmp_path / "asked").read_text().count("x") == 3


def test_coverage_counts_what_is_wrong(home: HandmadeHome, meter_factory: Any) -> None:
    """… so that every page can say so."""
    meter = meter_factory(home.path)
    meter.index()
    assert meter.queries.overview()["coverage"]["problems"] is None  # nobody has looked yet
    meter.findings = []
    before = meter.queries.overview()["coverage"]["problems"]
    meter.failures["reading"] = "reading failed"
    meter.findings = [{"level": "warn"}, {"level": "bad"}]
    assert meter.queries.overview()["coverage"]["problems"] == before + 3


def test_last_hour_is_kept_and_no_more() -> None:
    monitor = clawmeter.SystemMonitor(list, clock=lambda: NOW / 1000)
    monitor._now.hold_s = 0.0
    monitor.note()
    for _ in range(70):
        monitor._sampled = -1e9
        monitor.note()
    assert len(monitor.read()["history"]) <= 60


# --- the delivery queue --------------------------------------------------------------------------


def state_database(home: HandmadeHome) -> Path:
    """state/openclaw.sqlite with OpenClaw's own tables."""
    path = home.state / "state" / "openclaw.sqlite"
    path.parent.mkdir()
    ddl = Path(make_home.__file__).parent / "schemas" / "latest-state.sql"
    tables, _, _ = make_home.load_ddl(ddl)
    with closing(sqlite3.connect(path)) as db:
        for table in tables:
            if "delivery_queue_entries" in table or "channel_ingress_events" in table:
                db.execute(table)
        db.execute("PRAGMA journal_mode = WAL")
    return path


def run(path: Path, sql: str, *rows: tuple[Any, ...]) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.executemany(sql, rows)


ENTRY = "INSERT INTO delivery_queue_entries (queue_name, id, status, channel, retry_count, last_error, entry_json, enqueued_at, updated_at, failed_at) VALUES (?, ?, ?, ?, ?, ?, '{}', ?, 0, ?)"


def files_below(root: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in root.rglob("*") if p.is_file()}  # fmt: skip


def test_queue_of_the_database(home: HandmadeHome) -> None:
    path = state_database(home)
    run(
        path, ENTRY,
        ("outbound-prepared-v1", "a", "pending", "telegram", 2, None, T0, None),
        ("outbound-prepared-v1", "b", "pending", "slack", 1, None, T0 + MINUTE, None),
        ("outbound-prepared-v1", "c", "completed", "slack", 0, None, T0 - MINUTE, None),
        ("outbound-prepared-v1", "d", "failed", "telegram", 5, "403: token=abcdef123456 was refused", T0, T0 + 2 * MINUTE),
        ("session", "e", "failed", None, 3, None, T0, T0 + MINUTE),
    )  # fmt: skip
    run(
        path,
        "INSERT INTO channel_ingress_events (queue_name, event_id, channel_id, account_id, status, payload_json, received_at, updated_at) VALUES ('in', ?, 'discord', 'a', ?, '{}', ?, 0)",
        ("1", "pending", T0 - 5 * MINUTE),
        ("2", "completed", T0),
    )
    before = files_below(home.state)
    queues = clawmeter.DeliveryQueues([clawmeter.OpenClawHome(home.state, "", home.state / "agents")])  # fmt: skip
    told = queues.read()
    is_as_described("Delivery", told)
    assert (told["pending"], told["failed"], told["oldest_ms"], told["problem"]) == (3, 2, T0 - 5 * MINUTE, None)  # fmt: skip
    rows = {(q["queue"], q["direction"]): (q["pending"], q["failed"], q["attempts"], q["oldest_ms"]) for q in told["queues"]}  # fmt: skip
    assert rows == {
        ("outbound-prepared-v1", "out"): (2, 1, 3, T0),
        ("session", "out"): (0, 1, 0, None),
        ("in", "in"): (1, 0, 0, T0 - 5 * MINUTE),
    }
    assert [(f["queue"], f["channel"], f["error"], f["attempts"]) for f in told["failures"]] == [
        ("outbound-prepared-v1", "telegram", f"403: token={REDACTED} was refused", 5),
        ("session", None, "no reason given", 3),
    ]
    assert queues.read() == told
    assert files_below(home.state) == before  # nothing was written into OpenClaw's tree
    run(path, "DELETE FROM delivery_queue_entries WHERE id = ?", ("a",), ("b",))
    assert queues.read()["pending"] == 1


def test_a_queue_that_cannot_be_listed_is_a_problem_and_no_failure(home: HandmadeHome, meter_factory: Any) -> None:  # fmt: skip
    folder = home.state / "delivery-queue"
    folder.symlink_to(folder)
    meter = meter_factory(home.path)
    assert meter.system_health()["delivery"]["problem"].startswith(f"cannot read {folder}: ")
    meter._note_system()
    assert meter.problems() == []


def test_a_sample_that_fails_costs_nothing_else(home: HandmadeHome, meter_factory: Any) -> None:
    meter = meter_factory(home.path)
    meter.system.HOLD_S = meter.system._now.hold_s = 0.0
    clock, meter.system.clock = meter.system.clock, lambda: 1 / 0
    meter._note_system()
    assert meter.problems() == ["the machine cannot be measured: division by zero; it is tried again"]  # fmt: skip
    meter.system.clock = clock
    meter._note_system()
    assert meter.problems() == []


def test_what_is_no_file_is_not_left_open(tmp_path: Path) -> None:
    def free() -> int:
        handle = os.open(os.devnull, os.O_RDONLY)
        os.close(handle)
        return handle

    (tmp_path / "a.json").mkdir()
    os.mkfifo(tmp_path / "pipe")
    before = free()
    log = GatewayLog(refuse, lambda: tmp_path / "a.json")
    for name in ("a.json", "pipe", "gone"):
        assert clawmeter.read_small_file(tmp_path / name) == b""
    assert read(log)["problem"].startswith("cannot read ")
    assert free() == before


def test_queue_of_files(home: HandmadeHome) -> None:
    """OpenClaw 2026.2: a file for each message."""
    folder = home.state / "delivery-queue"
    (folder / "failed").mkdir(parents=True)
    (home.state / "session-delivery-queue").mkdir()

    def write(name: str, **entry: Any) -> None:
        (folder / name).write_text(json.dumps(entry))

    write("a.json", id="a", enqueuedAt=T0, retryCount=2, channel="telegram")
    write("b.json", id="b", enqueuedAt=T0 + MINUTE, retryCount=0)
    write("c.json", id="c", enqueuedAt=T0)
    write("c.delivered")  # has arrived, only its file is not gone yet
    write("failed/d.json", id="d", lastError="\x1b[31mno\n", retryCount=5, channel="x" * 900, failedAt=T0)  # fmt: skip
    (folder / "e.json").write_text('["not an entry"')
    (folder / "notes.txt").write_text("not ours")
    os.mkfifo(folder / "f.json")  # must not make us wait
    (home.state / "session-delivery-queue" / "g.json").write_text("{}")
    told = clawmeter.DeliveryQueues([clawmeter.OpenClawHome(home.state, "", home.state / "agents")]).read()  # fmt: skip
    is_as_described("Delivery", told)
    rows = {q["queue"]: (q["pending"], q["failed"], q["attempts"]) for q in told["queues"]}
    assert rows == {"outbound": (4, 1, 2), "session": (1, 0, 0)}
    assert told["oldest_ms"] == T0
    (failure,) = told["failures"]
    assert failure["error"] == "\ufffd[31mno "
    assert len(failure["channel"]) == 60


def test_two_homes_and_a_damaged_database(tmp_path: Path) -> None:
    homes = [HandmadeHome(tmp_path / name) for name in ("one", "two")]
    run(state_database(homes[0]), ENTRY, ("outbound", "a", "pending", "x", 0, None, T0, None))
    (homes[1].state / "state").mkdir()
    (homes[1].state / "state" / "openclaw.sqlite").write_bytes(b"no database" * 100)
    (homes[1].state / "delivery-queue").mkdir()
    (homes[1].state / "delivery-queue" / "b.json").write_text(json.dumps({"enqueuedAt": T0 - 1000}))
    found = [clawmeter.OpenClawHome(h.state, "", h.state / "agents") for h in homes]
    told = clawmeter.DeliveryQueues(found).read()
    assert (told["pending"], told["oldest_ms"]) == (2, T0 - 1000)
    assert "not a database" in told["problem"]


# --- secrets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abc.DEF-123_x", f"Authorization: Bearer {REDACTED}"),
        ('{"apiKey":"sk-live-0123456789abcdef"}', '{"apiKey":"[redacted]"}'),
        (r'{\"gatewayToken\":\"tok-1234567\",\"n\":1}', r"{\"gatewayToken\":\"[redacted]\",\"n\":1}"),
        (r'{\"token\":\"tok-1234567\",\"n\":1}', r"{\"token\":\"[redacted]\",\"n\":1}"),
        ("url=https://u:hunter22@host/x?token=abcdef99&x=1", "url=https://u:[redacted]@host/x?token=[redacted]&x=1"),
        ("key sk-ant-api03-AAAABBBBCCCCDDDD end", "key [redacted] end"),
        ("ours cm_AAAABBBBCCCCDDDD1234 and gsk_AAAABBBBCCCCDDDD", "ours [redacted] and [redacted]"),
        ("ghp_abcdefghijklmnop1234 and AKIAABCDEFGHIJKLMNOP", "[redacted] and [redacted]"),
        ("bot 1234567890:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0 said", "bot [redacted] said"),
        ("fetch failed: https://api.telegram.org/bot1234567890:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0/getUpdates", "fetch failed: https://api.telegram.org/bot[redacted]/getUpdates"),
        ('{"password":"two words secret","n":1}', '{"password":"[redacted]","n":1}'), ("password: 'correct horse battery' x", "password: '[redacted]' x"),
        ('"password":"abc;rest-of-it"', '"password":"[redacted]"'), (r'{\"passwd\":\"a \\ b\",\"n\":1}', r'{\"passwd\":\"[redacted]\",\"n\":1}'),
        ("Cookie: a=1234; session=SECRETSECRET", "Cookie: [redacted]"), ("run --token s3cr3ttoken99 --port 1", "run --token [redacted] --port 1"),
        ("POST https://hooks.slack.com/services/T000/B000/XXXXXXXX failed", "POST https://hooks.slack.com/services/[redacted] failed"),
        ("https://discord.com/api/webhooks/123456/abc-DEF_ghi", "https://discord.com/api/webhooks/[redacted]"),
        ("xai-AAAABBBBCCCCDDDD1 pplx-AAAABBBBCCCCDDDD1 r8_AAAABBBBCCCCDDDD1", "[redacted] [redacted] [redacted]"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.s1gn4ture", "jwt [redacted]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- rest", "[redacted] rest"),
        ("OPENAI_API_KEY=abcd1234 password: hunter2", "OPENAI_API_KEY=[redacted] password: [redacted]"),
        # … and what is none
        ("tokens=9033 inputTokens: 123456 maxTokens=4096", "tokens=9033 inputTokens: 123456 maxTokens=4096"),
        ("session agent:main:main id 6777f33f", "session agent:main:main id 6777f33f"),
    ],
)  # fmt: skip
def test_secrets_are_taken_out(text: str, kept: str) -> None:
    assert redact(text) == kept
    assert redact(redact(text)) == kept


def test_known_secrets_are_taken_out_whatever_they_look_like() -> None:
    assert redact("it is plain-words here", ["plain-words", "", "ab"]) == f"it is {REDACTED} here"


def test_redaction_of_hostile_text_takes_no_time() -> None:
    """Each repetition has an end: a line of this size must not stand still."""
    for text in ("a" * 8000, "://" + "a:" * 4000, "eyJ" + "a" * 8000, "token=" * 1500, "1" * 8000 + ":" + "a" * 60, "-----BEGIN " * 700, 'token\\\\\\"' * 800):  # fmt: skip
        began = time.process_time()
        redact(text)
        assert (
            time.process_time() - began < 5
        )  # it is milliseconds; minutes where a pattern explodes


# --- the log -------------------------------------------------------------------------------------


def record(text: str, level: str = "INFO", subsystem: str = "gateway/ws", ms: int = T0, **more: Any) -> str:  # fmt: skip
    """A line of OpenClaw 2026.9.6's log."""
    name = json.dumps({"subsystem": subsystem})
    return json.dumps({"0": name, "1": text, "_meta": {"logLevelName": level, "name": name, "date": iso(ms)}, "time": iso(ms), "message": text, **more})  # fmt: skip


def refuse(_params: Json) -> Json:
    raise GatewayError("off", "the gateway is not connected")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "openclaw"
    folder.mkdir()
    return folder


def follow(folder: Path, **options: Any) -> GatewayLog:
    return GatewayLog(refuse, lambda: clawmeter.find_log(folder, {os.getuid()}), **options)


def read(log: GatewayLog, level: str = "trace", subsystem: str = "", q: str = "", limit: int = 100) -> Json:  # fmt: skip
    answer = log.read(level=level, subsystem=subsystem, q=q, limit=limit)
    is_as_described("Log", answer)
    return answer


def texts(answer: Json) -> list[str]:
    return [line["text"] for line in answer["lines"]]


def write(path: Path, *lines: str) -> Path:
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


def test_lines_of_all_versions_are_understood() -> None:
    now = clawmeter.parse_log_line(record("hello", "ERROR", "channels/x", T0 + 5))
    assert now == (T0 + 5, "error", "channels/x", "hello")
    # 2026.2 has neither `message` nor `hostname`.
    old = {"0": '{"subsystem":"gateway"}', "1": "listening", "2": {"port": 1}, "_meta": {"logLevelName": "WARN", "name": '{"subsystem":"gateway"}'}, "time": iso(T0)}  # fmt: skip
    assert clawmeter.parse_log_line(json.dumps(old)) == (T0, "warn", "gateway", 'listening {"port": 1}')  # fmt: skip
    bare = {"0": "just text", "_meta": {"logLevelName": "INFO", "date": iso(T0)}}
    assert clawmeter.parse_log_line(json.dumps(bare)) == (T0, "info", "", "just text")


@pytest.mark.parametrize(
    "line",
    ["", "no json", "[]", "1", "{}", '{"_meta": 1}', '{"message": "x"}', "\x00\xff", '{"_meta":{'],
)
def test_what_is_no_record_is_none(line: str) -> None:
    assert clawmeter.parse_log_line(line) is None


def test_hostile_records_are_bounded_and_harmless() -> None:
    odd = {"0": ["x"], "5": None, "_meta": {"logLevelName": ["x"], "name": {"a": 1}}, "time": 7, "message": 3}  # fmt: skip
    found = clawmeter.parse_log_line(json.dumps(odd))
    assert found is not None
    assert (found.level, found.ts_ms, found.subsystem) == ("info", None, "")
    long = clawmeter.parse_log_line(record("token=abcdefgh " + "x" * 100_000, subsystem="\x1b[2J" + "y" * 999))  # fmt: skip
    assert long is not None
    assert len(long.text) == clawmeter.MAX_LOG_TEXT
    assert "abcdefgh" not in long.text
    assert (len(long.subsystem), "\x1b" in long.subsystem) == (60, False)
    # A secret that the end of the text would cut in half is gone before it is cut.
    text = "x" * (clawmeter.MAX_LOG_TEXT - 10) + " sk-ant-api03-AAAABBBBCCCCDDDDEEEE"
    cut = clawmeter.parse_log_line(record(text))
    assert cut is not None
    assert "sk-ant" not in cut.text
    surrogate = clawmeter.parse_log_line(b'{"_meta":{},"message":"a\\ud800b"}')
    assert surrogate is not None
    surrogate.text.encode()


def test_log_is_followed_filtered_and_grouped(logs: Path) -> None:
    path = write(
        logs / "openclaw-2026-11-05.log",
        record("started"),
        record("call 17 failed after 300ms", "ERROR", "agent", T0 + 1),
        record("call 18 failed after 9ms", "ERROR", "agent", T0 + 2),
        "a line of something else",
        record("slow", "WARN", "agent"),
    )
    log = follow(logs)
    first = read(log)
    assert (first["source"], first["path"], first["total"], first["other_lines"]) == ("file", str(path), 4, 1)  # fmt: skip
    assert first["subsystems"] == ["agent", "gateway/ws"]
    assert first["errors"] == [{"text": "call 18 failed after 9ms", "subsystem": "agent", "count": 2, "first_ms": T0 + 1, "last_ms": T0 + 2}]  # fmt: skip
    assert texts(read(log, level="warn")) == ["call 17 failed after 300ms", "call 18 failed after 9ms", "slow"]  # fmt: skip
    assert texts(read(log, level="error", q="CALL 18")) == ["call 18 failed after 9ms"]
    assert texts(read(log, subsystem="gateway/ws")) == ["started"]
    assert texts(read(log, limit=2)) == ["call 18 failed after 9ms", "slow"]
    with path.open("a") as file:
        file.write(record("half")[:20])
        file.flush()
        assert read(log)["total"] == 4  # not finished yet
        file.write(record("half")[20:] + "\n")
    assert texts(read(log))[-1] == "half"


def test_rotation_and_a_new_day_lose_nothing(logs: Path) -> None:
    path = write(logs / "openclaw-2026-11-05.log", record("1"))
    log = follow(logs)
    assert texts(read(log)) == ["1"]
    write(path, record("2"))
    path.rename(logs / "openclaw-2026-11-05.1.log")  # too large: put away, and begun anew
    write(path, record("3"))
    assert texts(read(log)) == ["1", "2", "3"]
    write(path, record("4"))
    tomorrow = write(logs / "openclaw-2026-11-06.log", record("5"))
    os.utime(tomorrow, (2e9, 2e9))
    assert texts(read(log)) == ["1", "2", "3", "4", "5"]
    assert read(log)["path"] == str(tomorrow)
    tomorrow.write_text("")  # emptied in place
    os.utime(tomorrow, (2e9, 2e9))
    assert read(log)["total"] == 5
    write(tomorrow, record("6"))
    os.utime(tomorrow, (2e9, 2e9))
    assert texts(read(log))[-2:] == ["5", "6"]
    assert [line["n"] for line in read(log)["lines"]] == [1, 2, 3, 4, 5, 6]


def test_reading_is_bounded(logs: Path) -> None:
    path = write(logs / "openclaw-2026-11-05.log", *[record(f"line {n}") for n in range(5000)])
    log = follow(logs)
    first = read(log, limit=1000)
    assert texts(first)[-1] == "line 4999"
    assert first["kept"] < 5000  # the end of the file only
    assert first["skipped_bytes"] == 0
    log.STEP_BYTES = 1000
    write(path, *[record(f"more {n}") for n in range(100)])
    second = read(log)
    assert texts(second)[-1] == "more 99"
    assert "more 0" not in texts(second)
    assert second["skipped_bytes"] > 0
    log.MOST = 10
    log._forget()
    assert read(log)["kept"] == 10


def test_log_is_let_go_of_when_nobody_looks(logs: Path) -> None:
    write(logs / "openclaw-2026-11-05.log", record("1"))
    log = follow(logs)
    read(log)
    log.forget_unasked()
    assert log.lines
    log.FORGET_S = -1.0
    log.forget_unasked()
    assert not log.lines
    assert texts(read(log)) == ["1"]


def test_forgetting_the_log_does_not_wait_for_who_reads_it() -> None:
    """It is called by the thread that reads transcripts; a question to a gateway may take long."""
    asked, may_answer = threading.Event(), threading.Event()

    def ask(_params: Json) -> Json:
        asked.set()
        assert may_answer.wait(PATIENCE_S)
        return {"lines": []}

    log = GatewayLog(ask, lambda: None)
    reader = threading.Thread(target=read, args=(log,))
    reader.start()
    assert asked.wait(PATIENCE_S)
    forgetting = threading.Thread(target=log.forget_unasked)
    forgetting.start()
    forgetting.join(PATIENCE_S / 2)
    was_waiting = forgetting.is_alive()
    may_answer.set()
    reader.join(PATIENCE_S)
    forgetting.join(PATIENCE_S)
    assert not was_waiting


def test_only_logs_of_the_user_are_found(logs: Path, tmp_path: Path) -> None:
    """Anybody may make /tmp/openclaw."""
    write(logs / "openclaw-2026-11-05.log", record("mine"))
    write(logs / "secrets.log", record("not a log of OpenClaw"))
    assert clawmeter.find_log(logs, {os.getuid()}) == logs / "openclaw-2026-11-05.log"
    assert clawmeter.find_log(logs, {os.getuid() + 1}) is None
    write(logs / "openclaw-work-2026-11-05.log", record("of a profile"))
    os.utime(logs / "openclaw-work-2026-11-05.log", (2e9, 2e9))
    assert clawmeter.find_log(logs, {os.getuid()}) == logs / "openclaw-2026-11-05.log"
    assert clawmeter.find_log(logs, {os.getuid()}, "work") == logs / "openclaw-work-2026-11-05.log"
    assert clawmeter.find_log(logs, {os.getuid()}, "none") == logs / "openclaw-2026-11-05.log"
    link = tmp_path / "link"
    link.symlink_to(logs)
    assert clawmeter.find_log(link, {os.getuid()}) is None
    assert clawmeter.find_log(tmp_path / "none", {os.getuid()}) is None


def test_log_named_by_the_config_shows_records_only(tmp_path: Path, meter_factory: Any) -> None:
    """An agent can write openclaw.json: another file than a log gives nothing away."""
    secret = tmp_path / "id_ed25519"
    secret.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n")
    home = HandmadeHome(tmp_path / "home", logging={"file": str(secret)})
    meter = meter_factory(home.path)
    answer = read(meter.gateway_log)
    assert (answer["source"], answer["lines"], answer["other_lines"]) == ("file", [], 2)


def test_log_of_a_gateway_is_asked_for_piece_by_piece(home: HandmadeHome, meter_factory: Any, gateway: FakeGateway) -> None:  # fmt: skip
    lines = [record(f"line {n} for {TOKEN}") for n in range(3)]
    asked: list[Json] = []

    def tail() -> Json:
        asked.append(next(r["params"] for r in reversed(gateway.connections[-1].requests) if r["method"] == "logs.tail"))  # fmt: skip
        start = asked[-1].get("cursor", 0)
        return {"file": "/tmp/openclaw/today.log", "cursor": len(lines), "size": len(lines), "lines": lines[start:]}  # fmt: skip

    gateway.answers["logs.tail"] = tail
    meter = meter_factory(home.path, gateway=True, gateway_url=gateway.url, gateway_token=TOKEN)
    meter.gateway.start()
    wait_until(lambda: meter.gateway_state.status == "connected")
    first = read(meter.gateway_log)
    assert (first["source"], first["path"], first["problem"]) == ("gateway", "/tmp/openclaw/today.log", None)  # fmt: skip
    assert texts(first) == [f"line {n} for {REDACTED}" for n in range(3)]
    lines.append(record("⇄ res ✓ logs.tail 72ms conn=2b268f60…79c3 id=clawmeter-5"))  # our own
    lines.append(record("one more"))
    assert texts(read(meter.gateway_log))[-1] == "one more"
    assert read(meter.gateway_log)["total"] == 4
    assert "cursor" not in asked[0]
    assert [a["cursor"] for a in asked[1:]] == [3, 5]
    gateway.answers["logs.tail"] = {"error": {"code": "UNAVAILABLE", "message": "log read failed"}}
    assert read(meter.gateway_log)["source"] == "none"


def test_hostile_answers_of_logs_tail_do_no_harm() -> None:
    for answer in (None, [], {}, {"lines": "x"}, {"lines": [1, None, "x"], "cursor": "y", "file": ["z"]}, {"cursor": -1, "size": 1e99, "skippedBytes": True}):  # fmt: skip
        log = GatewayLog(lambda _p, a=answer: a, lambda: None)
        assert read(log)["lines"] == []


# --- headroom ------------------------------------------------------------------------------------


def test_limits_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "clawmeter.toml").write_text('[limits.anthropic]\nrequests_per_minute = 50\n[limits."openai/gpt-5"]\ntokens_per_minute = 9\n')  # fmt: skip
    found = clawmeter.load_settings({"state_dir": str(tmp_path)}, {}).limits
    assert found == {"anthropic": RateLimit(50, None), "openai/gpt-5": RateLimit(None, 9)}


@pytest.mark.parametrize(
    "text",
    ["limits = 3", "[limits]\nanthropic = 5", "[limits.x]", "[limits.x]\nrequests = 5", "[limits.x]\nrequests_per_minute = 0", "[limits.x]\nrequests_per_minute = true", "[limits.x]\ntokens_per_minute = 1.5"],
)  # fmt: skip
def test_limit_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "clawmeter.toml").write_text(text)
    with pytest.raises(clawmeter.SettingsError, match="requests_per_minute and tokens_per_minute"):
        clawmeter.load_settings({"state_dir": str(tmp_path)}, {})


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("Rate limit reached for gpt-5 in organization org-x on tokens per min (TPM): Limit 30000, Used 29500, Requested 2000.", RateLimit(None, 30_000)),
        ("429 Rate limit reached on requests per min (RPM): Limit: 500, Used 500", RateLimit(500, None)),
        ("This request would exceed your organization's rate limit of 40,000 input tokens per minute", RateLimit(None, 40_000)),
        ("exceeds the rate limit of 50 requests per minute", RateLimit(50, None)),
        ("429 Too Many Requests", RateLimit()),
        ("rate limit of ,,, tokens per minute", RateLimit()),
    ],
)  # fmt: skip
def test_limits_that_refusals_name(text: str, limit: RateLimit) -> None:
    assert clawmeter.limits_told(text) == limit
    assert clawmeter.is_rate_limit(text)


@pytest.mark.parametrize("text", [None, 429, [], "400 bad request", "took 1429 ms", "cost 4.429", "529 overloaded"])  # fmt: skip
def test_other_failures_are_no_rate_limit(text: Any) -> None:
    assert not clawmeter.is_rate_limit(text)


def answers_of(home: HandmadeHome, meter_factory: Any, **options: Any) -> clawmeter.Clawmeter:
    meter: clawmeter.Clawmeter = meter_factory(home.path, **options)
    meter.clock = meter.queries.clock = lambda: NOW / 1000
    meter.index()
    return meter


def test_headroom_counts_minutes_refusals_retries_and_failovers(home: HandmadeHome, meter_factory: Any) -> None:  # fmt: skip
    refused = {"stopReason": "error", "errorMessage": "429 rate limit of 700 tokens per minute"}
    home.write(
        "s1",
        [
            header("s1"),
            call("a1", T0, (100, 20, 0, 0), 0.01),
            call("a2", T0 + 1000, (100, 20, 300, 0), 0.01),
            call("a3", T0 + 2000, (0, 0, 0, 0), 0.0, **refused),
            call("a4", T0 + 3000, (50, 10, 0, 0), 0.02),  # again
            call("a5", T0 + MINUTE, (0, 0, 0, 0), 0.0, stopReason="error", errorMessage="500 broke"),
            call("a6", T0 + MINUTE + 1, (10, 10, 0, 0), 0.03, model="acme-2"),  # another model
            call("a7", NOW - 30_000, (7, 0, 0, 0), 0.01),
        ],
    )  # fmt: skip
    meter = answers_of(home, meter_factory, limits={"acme": RateLimit(8, None), "acme/acme-2": RateLimit(None, 40)})  # fmt: skip
    told = meter.queries.headroom(from_="7d")
    is_as_described("Headroom", told)
    rows = {row["model"]: row for row in told["rows"]}
    assert set(rows) == {"acme-1", "acme-2", None}

    def of(model: str | None, *names: str) -> tuple[Any, ...]:
        return tuple(rows[model][name] for name in names)

    rates = ("requests_now", "requests_peak", "requests_limit", "tokens_now", "tokens_peak", "tokens_limit", "limit_from")  # fmt: skip
    assert of("acme-1", *rates) == (1, 4, None, 7, 600, 700, "error")
    assert of("acme-2", *rates) == (0, 1, None, 0, 20, 40, "settings")
    assert of(None, *rates) == (1, 4, 8, 7, 600, None, "settings")
    troubles = ("rate_limited", "model_errors", "retries", "retries_nano_usd", "failovers", "failovers_nano_usd")  # fmt: skip
    assert of("acme-1", *troubles) == (1, 2, 1, 20_000_000, 0, 0)
    assert of("acme-2", *troubles) == (0, 0, 0, 0, 1, 30_000_000)
    assert of(None, *troubles) == (1, 2, 1, 20_000_000, 1, 30_000_000)
    # Nearest to its limit first.
    assert [row["model"] for row in told["rows"]] == ["acme-1", None, "acme-2"]
    usage = meter.queries.usage(from_="7d", by="model")
    assert sum(row["model_errors"] for row in told["rows"] if row["model"]) == 2
    assert usage["totals"]["model_calls"] == 7


def test_cache_reads_do_not_count_for_anthropic(home: HandmadeHome, meter_factory: Any) -> None:
    home.write("s1", [header("s1"), call("a", T0, (10, 5, 1000, 2), 0.01, provider="anthropic", api="anthropic-messages"), call("b", T0, (10, 5, 1000, 2), 0.01)])  # fmt: skip
    rows = answers_of(home, meter_factory).queries.headroom(from_="7d")["rows"]
    assert {row["provider"]: row["tokens_peak"] for row in rows} == {"anthropic": 17, "acme": 1017}


def test_peaks_are_those_of_seven_days_at_most(home: HandmadeHome, meter_factory: Any) -> None:
    home.write("s1", [header("s1"), call("a", T0 - 30 * 86_400_000), call("b", T0 - 30 * 86_400_000 + 1), call("c", T0)])  # fmt: skip
    told = answers_of(home, meter_factory).queries.headroom(from_="all")
    assert [row["requests_peak"] for row in told["rows"]] == [1]
    # … from a whole minute on, so that the same question has the same answer for a while
    week_ago = NOW + 1 - 7 * 86_400_000
    assert week_ago <= told["peak_from_ms"] < week_ago + MINUTE
    assert told["peak_from_ms"] % MINUTE == 0


def test_headroom_of_nothing_is_nothing(home: HandmadeHome, meter_factory: Any) -> None:
    assert answers_of(home, meter_factory).queries.headroom()["rows"] == []


# --- reconciliation ------------------------------------------------------------------------------


def told_by_gateway(daily: list[tuple[str, str, int, float]], sessions: list[tuple[str, str]]) -> Json:  # fmt: skip
    """An answer of sessions.usage (2026.9.6)."""
    return {
        "sessions": [{"key": "k", "agentId": agent, "sessionId": sid, "usage": None if sid == "new" else {"totalTokens": 1}} for agent, sid in sessions],
        "aggregates": {
            "byAgent": [{"agentId": agent, "totals": {}} for agent, _ in sessions],
            "modelDaily": [{"date": day, "provider": "acme", "model": model, "tokens": n, "cost": cost, "count": 1} for day, model, n, cost in daily],
        },
        "cacheStatus": {"status": "fresh"},
    }  # fmt: skip


def adds_up(answer: Json) -> None:
    """Reasons and rest give each difference, and the rows give the whole."""
    is_as_described("Compared", answer["total"])
    for one in (answer["total"], *answer["rows"]):
        for unit in ("tokens", "nano_usd"):
            reasons = sum(r[unit] for r in one["reasons"])
            assert reasons + one[f"rest_{unit}"] == one[f"difference_{unit}"]
            assert one[f"difference_{unit}"] == one[f"ours_{unit}"] - one[f"theirs_{unit}"]
    for name in (n for n in answer["total"] if n != "reasons"):
        assert sum(row[name] for row in answer["rows"]) == answer["total"][name]


def reasons_of(one: Json) -> dict[str, tuple[int, int]]:
    return {r["reason"]: (r["tokens"], r["nano_usd"]) for r in one["reasons"]}


def test_differences_have_reasons(home: HandmadeHome, meter_factory: Any) -> None:
    home.write("both", [header("both"), call("a", T0, (100, 20, 0, 0), 0.01), call("p", T0 + 1, (10, 0, 0, 0), 0.0)])  # fmt: skip
    # The fork has copied "a": one call for us, two for the gateway.
    home.write("fork", [header("fork", T0 + 10), call("a", T0, (100, 20, 0, 0), 0.01)])
    home.write("old", [header("old"), call("b", T0 + 2, (30, 0, 0, 0), 0.02)], suffix=".jsonl.reset.2026-11-05T13-00-00.000Z")  # fmt: skip
    home.write("gone", [header("gone"), call("c", T0 + 3, (5, 0, 0, 0), 0.03)])
    home.write("new", [header("new"), call("e", T0 + 5, (9, 0, 0, 0), 0.05)])
    home.write("other", [header("other"), call("d", T0 + 4, (7, 0, 0, 0), 0.04)], agent="ops")
    prices = {"acme/acme-1": clawmeter.PriceOverride({"input": clawmeter.Decimal(1_000), "output": clawmeter.Decimal(0)})}  # fmt: skip
    meter = answers_of(home, meter_factory, prices=prices)
    told = told_by_gateway([("2026-11-05", "acme-1", 250, 0.02), ("2026-11-05", "acme-9", 3, 0.5)], [("main", "both"), ("main", "fork"), ("main", "new")])  # fmt: skip
    answer = meter.queries.reconcile(told, T0 - T0 % 86_400_000, NOW)
    adds_up(answer)
    total = answer["total"]
    assert (total["ours_tokens"], total["theirs_tokens"]) == (181, 253)
    assert reasons_of(total) == {
        "copies": (-120, -10_000_000),
        "archived": (30, 20_000_000),
        "not_listed": (5, 30_000_000),
        "not_counted": (9, 50_000_000),
        "agent_left_out": (7, 40_000_000),
        "priced_here": (0, 10_000_000),
    }
    assert (total["rest_tokens"], total["rest_nano_usd"]) == (
        -3,
        -500_000_000,
    )  # acme-9 is a riddle
    rows = {row["model"]: row for row in answer["rows"]}
    assert (rows["acme-1"]["rest_tokens"], rows["acme-1"]["rest_nano_usd"]) == (0, 0)
    assert reasons_of(rows["acme-9"]) == {}


def test_plan_use_and_rounding_are_reasons(home: HandmadeHome, meter_factory: Any) -> None:
    home.write("s", [header("s"), call("a", T0, (10, 0, 0, 0), 0.01), call("b", T0 + 1, (1, 0, 0, 0), 0.02, provider="sub")])  # fmt: skip
    meter = answers_of(home, meter_factory, plan_providers=("sub",))
    told = told_by_gateway([("2026-11-05", "acme-1", 10, 0.010000002)], [("main", "s")])
    told["aggregates"]["modelDaily"].append({"date": "2026-11-05", "provider": "sub", "model": "acme-1", "tokens": 1, "cost": 0.02})  # fmt: skip
    answer = meter.queries.reconcile(told, T0 - T0 % 86_400_000, NOW)
    adds_up(answer)
    assert reasons_of(answer["total"]) == {"plan": (0, -20_000_000), "rounding": (0, -2)}
    assert answer["total"]["rest_nano_usd"] == 0


def test_hostile_sums_of_a_gateway_do_no_harm(home: HandmadeHome, meter_factory: Any) -> None:
    meter = answers_of(home, meter_factory)
    odd = {"date": 5, "tokens": "x", "cost": float("inf"), "model": "\x1b[2J"}
    for told in (
        {},
        {"sessions": 3, "aggregates": []},
        {"sessions": [1, {}], "aggregates": {"modelDaily": [1, odd], "byAgent": [None]}},
    ):
        adds_up(meter.queries.reconcile(told, 0, NOW))


def test_reconciliation_asks_once_it_is_counted_and_says_what_it_asked(home: HandmadeHome, meter_factory: Any, gateway: FakeGateway) -> None:  # fmt: skip
    home.write("s", [header("s"), user("u", T0), call("a", T0, (10, 0, 0, 0), 0.01)])
    fresh = told_by_gateway([("2026-11-05", "acme-1", 10, 0.01)], [("main", "s")])
    answers = [{**fresh, "aggregates": {}, "cacheStatus": {"status": "refreshing"}}, fresh]
    gateway.answers["sessions.usage"] = lambda: answers.pop(0)
    meter = answers_of(home, meter_factory, gateway=True, gateway_url=gateway.url, gateway_token=TOKEN)  # fmt: skip
    assert meter.reconcile()["problem"] == "the gateway is not connected"
    meter.gateway.start()
    wait_until(lambda: meter.gateway_state.status == "connected")
    answer = meter.reconcile("2026-11-05", "2026-11-05")
    is_as_described("Reconciliation", answer)
    adds_up(answer)
    assert (answer["total"]["difference_tokens"], answer["is_fresh"], answer["is_utc"]) == (0, True, True)  # fmt: skip
    asked = [r["params"] for r in gateway.client().requests if r["method"] == "sessions.usage"]
    assert asked == [{"startDate": "2026-11-05", "endDate": "2026-11-05", "limit": 1000, "agentScope": "all", "mode": "utc"}] * 2  # fmt: skip


def test_older_gateway_is_asked_in_its_own_words(home: HandmadeHome, meter_factory: Any, gateway: FakeGateway) -> None:  # fmt: skip
    def usage() -> Json:
        asked = next(r["params"] for r in reversed(gateway.client().requests) if r["method"] == "sessions.usage")  # fmt: skip
        if "mode" in asked:
            return {"error": {"code": "INVALID_REQUEST", "message": "invalid sessions.usage params: at root: unexpected property 'agentScope'"}}  # fmt: skip
        return told_by_gateway([], [])

    gateway.answers["sessions.usage"] = usage
    meter = answers_of(home, meter_factory, gateway=True, gateway_url=gateway.url, gateway_token=TOKEN)  # fmt: skip
    meter.gateway.start()
    wait_until(lambda: meter.gateway_state.status == "connected")
    assert meter.reconcile()["is_utc"] is False


# --- over HTTP -----------------------------------------------------------------------------------


@pytest.fixture
def get(home: HandmadeHome, meter_factory: Any, logs: Path) -> Callable[..., Any]:
    home.write("s", [header("s"), call("a", T0)])
    meter = answers_of(home, meter_factory)
    write(logs / "openclaw-2026-11-05.log", record("<script>alert(1)</script>", "ERROR"))
    meter.gateway_log.find = lambda: clawmeter.find_log(logs, {os.getuid()})
    client = clawmeter.create_app(meter).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {meter.access.load_token()}"
    client.environ_base["HTTP_HOST"] = "127.0.0.1"
    return client.get


def test_routes(get: Callable[..., Any]) -> None:
    for path, shape in (("/api/system-health", "SystemHealth"), ("/api/headroom?from=all", "Headroom"), ("/api/logs?level=error&limit=5", "Log"), ("/api/health", "Health")):  # fmt: skip
        answer = get(path)
        assert answer.status_code == 200, answer.text
        is_as_described(shape, answer.get_json())
    assert (
        get("/api/logs?level=error").get_json()["lines"][0]["text"] == "<script>alert(1)</script>"
    )
    assert get("/api/logs?level=loud").status_code == 400
    assert get("/api/logs?limit=100000").status_code == 400


def test_reconciliation_without_a_gateway_says_so(get: Callable[..., Any]) -> None:
    answer = get("/api/reconciliation?from=7d").get_json()
    is_as_described("Reconciliation", answer)
    assert (answer["problem"], answer["total"], answer["rows"]) == ("the gateway is not connected", None, [])  # fmt: skip
