#!/usr/bin/env python3
"""Make a synthetic OpenClaw home with exact ground truth (for tests and benchmarks).

    make_home.py OUT --era sqlite --agents 4 --sessions 60 --messages 3000 --seed 7

writes OUT/.openclaw (as OpenClaw 2026.2.12 / 2026.6.11 / 2026.9.6 / an upgraded install would leave it),
OUT/logs/openclaw-YYYY-MM-DD.log and OUT/truth.json. Same arguments => same bytes in every text file.

How it works: `Home.plan_sessions` decides who talks when; `Home.turns` yields events (one JSON line plus what that
line is worth); `Home.put` stores a stream of events in the era's format and accounts for it; the `trap_*` methods
store small extra sessions in every awkward way seen in the field and note what a naive reader would total.
Money is summed as integer nano-USD, round-half-even of `usage.cost.total * 1e9` for each call.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import sqlite3
import sys
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Optional
from zoneinfo import ZoneInfo

try:
    import zstandard
except ImportError:  # only the SQLite eras need it
    zstandard = None  # type: ignore[assignment]

TZS = ("UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
SLOT = 1_800_000  # 30 min: every UTC offset of TZS is a multiple of it, so a slot never straddles a local day
TRAPS = (
    "reset deleted bak checkpoint trajectory fork zst_archive import_archive zstd_rows same_ms_twins id_collision "
    "dup_line truncated garbage huge_line crlf_bom unknown_types future_schema old_schema renumber unpriced no_cost "
    "injected errors usage_lookalike escaped_usage hostile lone_surrogate keys dst midnight models"
).split()
INLINE = ("unpriced", "no_cost", "injected", "errors", "usage_lookalike", "escaped_usage", "hostile", "lone_surrogate", "unknown_types")
HEARTBEAT_OLD = (
    "Read HEARTBEAT.md if it exists (workspace context). Follow it strictly. Do not infer or repeat old "
    "tasks from prior chats. If nothing needs attention, reply HEARTBEAT_OK."
)
HEARTBEAT_NEW = "[OpenClaw heartbeat poll]"
NONE = "(none)"


@dataclass(frozen=True)
class Model:
    """A model as it appears in transcripts. Prices in USD per million tokens, at most 3 decimals, so that every
    recorded cost is a whole number of nano-USD up to float noise."""

    provider: str
    id: str
    api: str
    price: tuple[float, float, float, float]  # input, output, cacheRead, cacheWrite; all 0 = recorded as free
    weight: float
    kind: str = "priced"  # priced | known (list price exists, recorded 0) | unknown | local

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.id}"


PRICED = [
    Model("anthropic", "claude-opus-4-6", "anthropic-messages", (5, 25, 0.5, 6.25), 3),
    Model("anthropic", "claude-sonnet-4-5-20250929", "anthropic-messages", (3, 15, 0.3, 3.75), 4),
    Model("openai", "gpt-5.2", "openai-responses", (1.75, 14, 0.175, 0), 2),
    Model("anthropic", "claude-haiku-4-5", "anthropic-messages", (1, 5, 0.1, 1.25), 2),
    Model("openai", "gpt-5.4-2026-03-05", "openai-responses", (2.5, 15, 0.25, 0), 1),
    Model("google", "gemini-3.1-pro-preview", "google-generative-ai", (2, 12, 0.2, 0), 1),
    Model("google", "gemini-2.5-flash-lite", "google-generative-ai", (0.1, 0.4, 0.01, 0), 1),
    Model("openrouter", "anthropic/claude-sonnet-4.5", "openai-completions", (3, 15, 0.3, 3.75), 2),
    Model("openrouter", "moonshotai/kimi-k2.5", "openai-completions", (0.6, 3, 0.1, 0), 1),
    Model("amazon-bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock-converse", (3, 15, 0.3, 3.75), 0.5),
    Model("deepseek", "deepseek-chat", "openai-completions", (0.28, 0.42, 0.028, 0), 1),
    Model("acme", "acme-large", "openai-completions", (1.25, 6.5, 0.125, 1.5), 1),  # priced by config
    Model("acme", "claude-sonnet-4-5-20250929", "openai-completions", (0.9, 4.5, 0.09, 1.1), 0.5),  # same id, other price
]
UNPRICED = [
    Model("openai-codex", "gpt-5.2-codex", "openai-codex-responses", (0, 0, 0, 0), 1, "known"),
    Model("anthropic", "claude-sonnet-4-6", "anthropic-messages", (0, 0, 0, 0), 1, "known"),
    Model("google-gemini-cli", "gemini-3.1-pro-preview", "google-generative-ai", (0, 0, 0, 0), 1, "known"),
    Model("acme", "acme-mystery-9b", "openai-completions", (0, 0, 0, 0), 1, "unknown"),
    Model("nebula", "nebula-x1", "openai-completions", (0, 0, 0, 0), 1, "unknown"),
    Model("ollama", "qwen3:32b", "openai-completions", (0, 0, 0, 0), 1, "local"),
    Model("ollama", "llama3.3:70b-instruct-q4_K_M", "openai-completions", (0, 0, 0, 0), 1, "local"),
]
DIRECT_TOOLS = ["exec", "exec", "exec", "read", "read", "write", "edit", "apply_patch", "process"]
OLD_TOOLS = DIRECT_TOOLS + ["web_search", "web_fetch", "browser", "memory_search", "message", "cron", "sessions_list"]
NESTED_TOOLS = ["web_search", "web_fetch", "browser", "memory_search", "message", "cron", "sessions_spawn"]

# An event is a plain tuple (fast): its JSON line, id, type, parentId, append time (ms), idempotency key, and what it is
# worth. `worth` is None (not a message) or a tuple starting with the role letter:
#   ("a", (model#, cause, append slot, request slot), in, out, cacheRead, cacheWrite, nano|None, tools, stop)
#   ("g",) gateway-injected assistant  ("u",) user  ("t", tool, failed) toolResult  ("c", tool|None) custom  ("x", role)
Ev = tuple[str, str, str, Optional[str], int, Optional[str], Optional[tuple]]


@dataclass
class Plan:
    """One session (one transcript) to make."""

    agent: str
    key: str
    sid: str
    kind: str
    cause: str
    channel: Optional[str] = None
    chat_type: Optional[str] = None
    models: list[Model] = field(default_factory=list)
    n: int = 10
    start: int = 0
    end: int = 0
    where: str = "live"  # live | reset | deleted | orphan (feb: file without index entry)
    heartbeats: bool = False
    inline: bool = False  # may contain the per-message traps
    parent: Optional[str] = None
    depth: int = 0
    label: Optional[str] = None
    job: Optional[str] = None
    status: str = "ok"
    fork_of: Optional["Plan"] = None
    fork_entry: Optional[str] = None
    # filled while writing
    first: int = 0
    last: int = 0
    last_call: tuple = (0, 0, 0, 0, 0)
    index_key: Optional[str] = None  # the key under which the store files it (differs for cron / recovered)


def js_num(x: float) -> str:
    """A float as JavaScript's JSON.stringify writes it (0.000075, not 7.5e-05)."""
    if x == int(x):
        return str(int(x))
    s = repr(x)
    if "e" not in s:
        return s
    mant, exp = s.split("e")
    e = int(exp)
    if e < -6:
        return f"{mant}e{e}"
    neg = mant.startswith("-")
    digits = mant.lstrip("-").replace(".", "")
    return ("-" if neg else "") + "0." + "0" * (-e - 1) + digits


_DAY: dict[int, str] = {}


def iso(ms: int) -> str:
    """Epoch ms -> 2026-11-21T05:06:12.996Z (fast: the date part is cached)."""
    d, r = divmod(ms, 86_400_000)
    p = _DAY.get(d)
    if p is None:
        p = _DAY[d] = (datetime(1970, 1, 1) + timedelta(days=d)).strftime("%Y-%m-%d")
    s, m = divmod(r, 1000)
    return f"{p}T{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}.{m:03d}Z"


def file_ts(ms: int) -> str:
    return iso(ms).replace(":", "-")


def usd(nano: int) -> str:
    """Integer nano-USD -> exact decimal string."""
    sign, n = ("-", -nano) if nano < 0 else ("", nano)
    return f"{sign}{n // 10**9}.{n % 10**9:09d}"


def dumps(o: Any) -> str:
    return json.dumps(o, ensure_ascii=False, separators=(",", ":"))


FIELDS = ("model_calls", "calls_with_tokens", "input", "output", "cache_read", "cache_write", "cost_nano", "costed_calls")


def totals(v: list[int]) -> dict[str, Any]:
    """[calls, with tokens, in, out, cr, cw, nano, costed] -> a truth.json totals object."""
    d: dict[str, Any] = dict(zip(FIELDS, v))
    d["total_tokens"] = v[2] + v[3] + v[4] + v[5]
    d["cost_usd"] = usd(v[6])
    return d


class Truth:
    """Everything truth.json says, accumulated session by session."""

    def __init__(self, models: list[Model]) -> None:
        self.models = models
        z = lambda: [0] * 8
        self.total = z()
        self.by: dict[str, dict[str, list[int]]] = {
            k: defaultdict(z) for k in ("agent", "session_id", "session_key", "model", "provider", "provider_model", "cause", "channel", "cron_job")
        }
        self.slots: dict[int, list[int]] = defaultdict(z)
        self.slots_request: dict[int, list[int]] = defaultdict(z)
        self.unpriced: Counter = Counter()
        self.no_cost: Counter = Counter()
        self.stops: Counter = Counter()
        self.roles: Counter = Counter()
        self.tools: Counter = Counter()
        self.tool_errors: Counter = Counter()
        self.nested: Counter = Counter()
        self.injected = 0
        self.bad = Counter()
        self.traps: dict[str, dict[str, Any]] = {}

    # ---- per session ------------------------------------------------------------------------------------------------
    def account(self, evs: Iterable[Ev], acc: dict[tuple, list[int]]) -> Iterator[Ev]:
        """Pass events through, adding each one's worth to `acc` (fold it afterwards with `fold`)."""
        roles, tools, terr, stops = self.roles, self.tools, self.tool_errors, self.stops
        for ev in evs:
            w = ev[6]
            if w is not None:
                r = w[0]
                if r == "a":
                    _, key, i, o, cr, cw, nano, names, stop = w
                    a = acc.get(key)
                    if a is None:
                        a = acc[key] = [0] * 8
                    a[0] += 1
                    tok = i + o + cr + cw
                    if tok:
                        a[1] += 1
                        if not nano:
                            self.unpriced[key[0]] += 1
                            if nano is None:
                                self.no_cost[key[0]] += 1
                    a[2] += i
                    a[3] += o
                    a[4] += cr
                    a[5] += cw
                    if nano:
                        a[6] += nano
                        a[7] += 1
                    roles["assistant"] += 1
                    stops[stop] += 1
                    for t in names:
                        tools[t] += 1
                elif r == "t":
                    roles["toolResult"] += 1
                    if w[2]:
                        terr[w[1]] += 1
                elif r == "u":
                    roles["user"] += 1
                elif r == "g":
                    roles["assistant"] += 1
                    self.injected += 1
                elif r == "c":
                    roles["custom"] += 1
                    if w[1]:
                        self.nested[w[1]] += 1
                else:
                    roles[w[1]] += 1
            yield ev

    def fold(self, p: Plan, acc: dict[tuple, list[int]], key_on_disk: bool) -> None:
        """Add a session's accumulated calls to every breakdown."""
        by, models = self.by, self.models
        skey = p.key if key_on_disk else NONE
        chan = (p.channel if key_on_disk else None) or NONE
        for (mi, cause, oslot, rslot), v in acc.items():
            m = models[mi]
            if cause != "heartbeat" and not key_on_disk:
                cause = "unknown"
            rows = [
                self.total,
                by["agent"][p.agent],
                by["session_id"][p.sid],
                by["session_key"][skey],
                by["model"][m.id],
                by["provider"][m.provider],
                by["provider_model"][m.name],
                by["cause"][cause],
                by["channel"][chan],
                self.slots[oslot],
                self.slots_request[rslot],
            ]
            if p.job and key_on_disk:
                rows.append(by["cron_job"][p.job])
            for r in rows:
                for k in range(8):
                    r[k] += v[k]

    # ---- traps ------------------------------------------------------------------------------------------------------
    def trap(self, name: str, events: int, calls: int = 0, **info: Any) -> dict[str, Any]:
        t = self.traps.setdefault(name, {"events": 0, "calls": 0, "naive": {}})
        t["events"] += events
        t["calls"] += calls
        for k, v in info.items():
            t[k] = t.get(k, 0) + v if isinstance(v, int) and not isinstance(v, bool) else v
        return t

    def naive(self, name: str, reader: str, sign: int, worths: Iterable[Optional[tuple]]) -> None:
        """A reader making this one mistake is off by sign * these calls."""
        d = self.trap(name, 0)["naive"].setdefault(reader, [0, 0, 0])
        for w in worths:
            if w and w[0] == "a":
                d[0] += sign
                d[1] += sign * sum(w[2:6])
                d[2] += sign * (w[6] or 0)

    def naive_raw(self, name: str, reader: str, calls: int, tokens: int, nano: int) -> None:
        d = self.trap(name, 0)["naive"].setdefault(reader, [0, 0, 0])
        d[0] += calls
        d[1] += tokens
        d[2] += nano

    # ---- output -----------------------------------------------------------------------------------------------------
    @staticmethod
    def by_day(slots: dict[int, list[int]], tz: ZoneInfo) -> dict[str, dict[str, Any]]:
        days: dict[str, list[int]] = {}
        for s, v in slots.items():
            d = datetime.fromtimestamp(s * SLOT / 1000, tz).strftime("%Y-%m-%d")
            r = days.setdefault(d, [0] * 8)
            for k in range(8):
                r[k] += v[k]
        return {d: totals(days[d]) for d in sorted(days)}

    def render(self) -> dict[str, Any]:
        t = totals(self.total)
        out: dict[str, Any] = {"totals": t}
        for k, d in self.by.items():
            out["by_" + k] = {x: totals(d[x]) for x in sorted(d)}
        out["by_day"] = {z: self.by_day(self.slots, ZoneInfo(z)) for z in TZS}
        out["by_day_request_start"] = {z: self.by_day(self.slots_request, ZoneInfo(z)) for z in TZS}
        mm = self.models
        named = lambda c: {n: v for n, v in sorted(Counter({mm[i].name: v for i, v in c.items()}).items())}
        out["unpriced_calls"] = named(self.unpriced)
        out["unpriced_kind"] = {mm[i].name: mm[i].kind for i in sorted(self.unpriced)}
        out["calls_without_cost_object"] = named(self.no_cost)
        out["stop_reasons"] = dict(sorted(self.stops.items()))
        out["messages_by_role"] = dict(sorted(self.roles.items()))
        out["gateway_injected"] = self.injected
        out["tool_calls"] = dict(sorted(self.tools.items()))
        out["tool_errors"] = dict(sorted(self.tool_errors.items()))
        out["nested_tool_calls"] = dict(sorted(self.nested.items()))
        out["bad_lines"] = {"total": sum(self.bad.values()), **dict(sorted(self.bad.items()))}
        for tr in self.traps.values():
            tr["naive"] = {
                r: {
                    "delta_calls": c,
                    "delta_tokens": k,
                    "delta_cost_usd": usd(n),
                    "would_total": {"model_calls": t["model_calls"] + c, "total_tokens": t["total_tokens"] + k, "cost_usd": usd(t["cost_nano"] + n)},
                }
                for r, (c, k, n) in tr["naive"].items()
            }
        out["traps"] = dict(sorted(self.traps.items()))
        return out


class Text:
    """Endless cheap text: slices of one long base string that needs no JSON escaping, plus a few awkward ones."""

    WORDS = (
        "the agent reads a file then runs build checks error log queue token price model cache retry plan list open "
        "send mail user channel session deploy test fix patch tree node graph value index table because result "
        "https://example.org/a/b?c=d&e=f /srv/app/main.py line 42: def handle(request): return None; SELECT id FROM t"
    ).split()

    def __init__(self, rng: random.Random, mean: int) -> None:
        out, size = [], 0
        while size < 2_000_000:
            w = rng.choice(self.WORDS) if rng.random() < 0.8 else "%x" % rng.getrandbits(24)
            out.append(w)
            size += len(w) + 1
        self.base = " ".join(out)
        self.span = len(self.base) - 120_000
        f = [rng.lognormvariate(0, 0.9) for _ in range(1024)]
        k = sum(f) / len(f)
        self.factor = [min(x / k, 12.0) for x in f]
        self.fancy = [
            json.dumps(s, ensure_ascii=a)[1:-1]
            for s, a in (
                ("Grüße aus Zürich – 東京で会いましょう 🦞", False),
                ('He said "yes"\nand\tleft \\o/', True),
                ("emoji 👩‍👩‍👧‍👦 and \u2028 line separator \u0085 nel", False),
                ("Привет, мир; שלום; مرحبا", True),
            )
        ]
        self.rnd = rng.random

    def __call__(self, mean: int) -> str:
        x = self.rnd()
        n = int(mean * self.factor[int(x * 1024)])
        if n < 12:
            n = 12
        elif n > 100_000:
            n = 100_000
        o = int(self.rnd() * self.span)
        s = self.base[o : o + n]
        if x > 0.985:
            s += " " + self.fancy[int(x * 1e6) & 3]
        return s


HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\x1b[31mred\x1b[0m \x1b]0;owned\x07",
    "\u202egnp.exe\u202c",
    "nul\x00byte",
    "'; DROP TABLE sessions;--",
    "{{constructor.constructor('alert(1)')()}}",
    "<svg/onload=alert(1)>",
    "../../../etc/passwd",
    "\u2028\u2029",
]


class Home:
    """Builds one home."""

    def __init__(self, a: argparse.Namespace) -> None:
        self.a = a
        self.era: str = a.era
        self.sql = a.era in ("sqlite", "upgraded")
        self.rng = random.Random(f"clawmeter-{a.seed}")
        self.rnd = self.rng.random
        self.bits = self.rng.getrandbits
        self.now = int(a.now * 1000)
        self.t0 = self.now - int(a.days * 86_400_000)
        # an upgraded install changed format at 70 % of its life
        self.upgrade_ms = self.t0 + int((self.now - self.t0) * 0.7) if self.era == "upgraded" else 0
        self.traps: set[str] = set(a.traps)
        self.root = Path(a.out).resolve()
        self.oc = self.root / ".openclaw"
        names = ["main", "ops", "research", "coder", "writer", "support", "finance", "qa"]
        self.agents = [names[i] if i < len(names) else f"agent{i}" for i in range(a.agents)]
        self.text = Text(self.rng, a.bytes)
        self.models = PRICED if "models" in self.traps else PRICED[:3]
        self.all_models = PRICED + UNPRICED
        self.model_no = {m: i for i, m in enumerate(self.all_models)}
        self.truth = Truth(self.all_models)
        self.plans: list[Plan] = []
        self.dbs: dict[str, AgentDb] = {}
        self.jobs: list[dict[str, Any]] = []
        self.secrets: list[str] = []
        self.inline_todo = [t for t in INLINE if t in self.traps]
        self.inline = list(self.inline_todo)
        self.used_ids: dict[str, int] = {}
        self.nbytes = 0
        # mean text length per role so that the mean JSON line is about --bytes
        b = a.bytes
        self.len_user, self.len_asst, self.len_tool = max(20, b - 300), max(30, b - 760), max(20, b - 420)

    # ---- small makers -----------------------------------------------------------------------------------------------
    def uuid(self) -> str:
        h = "%032x" % self.bits(128)
        return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}"

    def style(self, t: int) -> str:
        if self.era == "jsonl-feb":
            return "feb"
        if self.era == "jsonl-mid" or t < self.upgrade_ms:
            return "mid"
        return "new"

    def eid(self, st: str) -> str:
        return self.uuid() if st == "new" else "%08x" % self.bits(32)

    # ---- event makers: each returns one Ev ----------------------------------------------------------------------------
    def header(self, p: Plan, t: int, parent_file: Optional[str] = None) -> Ev:
        v = 4 if self.style(t) == "new" else 3
        extra = f',"parentSession":{json.dumps(parent_file)}' if parent_file else ""
        cwd = json.dumps(str(self.workspace(p.agent)))
        return (f'{{"type":"session","version":{v},"id":"{p.sid}","timestamp":"{iso(t)}","cwd":{cwd}{extra}}}', p.sid, "session", None, t, None, None)

    def plain(self, etype: str, par: Optional[str], t: int, body: str) -> Ev:
        """A non-message record; `body` is JSON object text without braces."""
        i = self.eid(self.style(t))
        pj = f'"{par}"' if par else "null"
        return (f'{{"type":"{etype}",{body},"id":"{i}","parentId":{pj},"timestamp":"{iso(t)}"}}', i, etype, par, t, None, None)

    def opening(self, p: Plan, t: int, m: Model, parent_file: Optional[str] = None) -> list[Ev]:
        h = self.header(p, t, parent_file)
        a = self.plain("model_change", None, t + 2, f'"provider":"{m.provider}","modelId":"{m.id}"')
        b = self.plain("thinking_level_change", a[1], t + 3, '"thinkingLevel":"low"')
        c = self.plain(
            "custom",
            b[1],
            t + 9,
            f'"customType":"model-snapshot","data":{{"timestamp":{t + 8},"provider":"{m.provider}","modelApi":"{m.api}","modelId":"{m.id}"}}',
        )
        return [h, a, b, c]

    def user(self, par: Optional[str], t: int, text: str) -> Ev:
        """`text` is JSON-escaped already."""
        st = self.style(t)
        i = self.eid(st)
        pj = f'"{par}"' if par else "null"
        head = f'{{"type":"message","id":"{i}","parentId":{pj},"timestamp":"{iso(t)}","message":{{"role":"user","content":'
        if st == "new":
            run = self.uuid()
            line = f'{head}"{text}","timestamp":{t - 40},"idempotencyKey":"{run}:user","__openclaw":{{"senderIsOwner":true}}}}}}'
            return (line, i, "message", par, t, f"{run}:user", ("u",))
        if st == "feb" and not text.startswith("[cron:"):
            day = datetime.fromtimestamp(t / 1000, timezone.utc).strftime("%a %Y-%m-%d %H:%M")
            text = f"[{day} UTC] {text}"
        return (f'{head}[{{"type":"text","text":"{text}"}}],"timestamp":{t - 40}}}}}', i, "message", par, t, None, ("u",))

    def assistant(
        self,
        par: Optional[str],
        t_req: int,
        t: int,
        m: Model,
        use: tuple[int, int, int, int],
        blocks: str,
        cause: str,
        tools: tuple[str, ...] = (),
        stop: str = "stop",
        cost: str = "normal",
        extra: str = "",
        eid: Optional[str] = None,
    ) -> Ev:
        """A model call. cost: normal | zero | none (no cost object). `blocks` is the JSON of the content array."""
        st = self.style(t)
        i = eid or self.eid(st)
        a, b, c, d = use
        if cost == "normal" and m.kind == "priced":
            p = m.price
            ca, cb, cc, cd = a * p[0] / 1e6, b * p[1] / 1e6, c * p[2] / 1e6, d * p[3] / 1e6
            tot = ca + cb + cc + cd
            nano: Optional[int] = round(tot * 1e9)
            cj = f',"cost":{{"input":{js_num(ca)},"output":{js_num(cb)},"cacheRead":{js_num(cc)},"cacheWrite":{js_num(cd)},"total":{js_num(tot)}}}'
        elif cost == "none":
            nano, cj = None, ""
        else:
            nano, cj = 0, ',"cost":{"input":0,"output":0,"cacheRead":0,"cacheWrite":0,"total":0}'
        more = ""
        if st != "feb":
            more = f',"responseId":"resp_{self.bits(48):012x}"'
            if st == "new":
                more += f',"__openclaw":{{"runId":"{self.bits(64):016x}"}}'
        rt = "" if st == "feb" else f'"reasoningTokens":{b // 4},'
        pj = f'"{par}"' if par else "null"
        line = (
            f'{{"type":"message","id":"{i}","parentId":{pj},"timestamp":"{iso(t)}","message":{{"role":"assistant","content":[{blocks}],'
            f'"api":"{m.api}","provider":"{m.provider}","model":"{m.id}","usage":{{"input":{a},"output":{b},"cacheRead":{c},'
            f'"cacheWrite":{d},{rt}"totalTokens":{a + b + c + d}{cj}}},"stopReason":"{stop}","timestamp":{t_req}{more}{extra}}}}}'
        )
        return (line, i, "message", par, t, None, ("a", (self.model_no[m], cause, t // SLOT, t_req // SLOT), a, b, c, d, nano, tools, stop))

    def injected(self, par: Optional[str], t: int, text: str) -> Ev:
        i = self.uuid()
        pj = f'"{par}"' if par else "null"
        return (
            f'{{"type":"message","id":"{i}","parentId":{pj},"timestamp":"{iso(t)}","message":{{"role":"assistant","content":'
            f'[{{"type":"text","text":"{text}"}}],"timestamp":{t},"stopReason":"stop","usage":{{"input":0,"output":0,"cacheRead":0,'
            f'"cacheWrite":0,"totalTokens":0,"cost":{{"input":0,"output":0,"cacheRead":0,"cacheWrite":0,"total":0}}}},'
            f'"api":"openai-responses","provider":"openclaw","model":"gateway-injected"}}}}',
            i,
            "message",
            par,
            t,
            None,
            ("g",),
        )

    def tool_result(self, par: str, t: int, call: str, tool: str, text: str, failed: bool, inner: Optional[str] = None) -> Ev:
        st = self.style(t)
        i = self.eid(st)
        if not failed:
            det, err = f'{{"status":"completed","exitCode":0,"durationMs":{self.bits(12)}}}', "false"
        elif st == "feb":  # feb says isError:false for a failed exec
            det, err = f'{{"status":"error","tool":"{tool}","error":"boom"}}', "false"
        elif st == "mid":
            det, err = f'{{"status":"completed","exitCode":1,"durationMs":{self.bits(12)}}}', "true"
        else:
            det, err = f'{{"status":"completed","exitCode":1,"durationMs":{self.bits(12)}}}', "false"
        if inner:  # latest: whose result it is, behind the wrapper
            det = f'{{"tool":{{"id":"openclaw:core:{inner}","source":"openclaw","name":"{inner}"}},{det[1:]}'
        return (
            f'{{"type":"message","id":"{i}","parentId":"{par}","timestamp":"{iso(t)}","message":{{"role":"toolResult","toolCallId":"{call}",'
            f'"toolName":"{tool}","content":[{{"type":"text","text":"{text}"}}],"details":{det},"isError":{err},"timestamp":{t - 1}}}}}',
            i,
            "message",
            par,
            t,
            None,
            ("t", inner or tool, failed),
        )

    def nested_tool(self, par: str, t: int, call: str, tool: str) -> Ev:
        """latest: the real tool behind a `tool_call` wrapper."""
        i = self.uuid()
        return (
            f'{{"type":"message","id":"{i}","parentId":"{par}","timestamp":"{iso(t)}","message":{{"role":"custom",'
            f'"customType":"openclaw.nested-tool.v1","display":true,"excludeFromContext":true,"content":"","details":{{"parentToolCallId":"{call}",'
            f'"toolCallId":"nested:{call}","toolName":"{tool}","input":{{"q":"x"}},"startOrder":0}},"timestamp":{t}}}}}',
            i,
            "message",
            par,
            t,
            None,
            ("c", tool),
        )

    def compaction(self, par: str, t: int, kept: str, tokens: int) -> Ev:
        return self.plain(
            "compaction",
            par,
            t,
            f'"summary":"{self.text(600)}","firstKeptEntryId":"{kept}","tokensBefore":{tokens},'
            '"details":{"readFiles":[],"modifiedFiles":[]},"fromHook":false',
        )

    # ---- the conversation ---------------------------------------------------------------------------------------------
    def usage(self, m: Model, ctx: int) -> tuple[int, int, int, int]:
        r = self.rnd
        out = 20 + int(1800 * r() * r())
        if r() < 0.12:
            return (ctx + int(600 * r()), out, 0, int(2000 * r()) if m.price[3] else 0)
        return (3 + int(900 * r()), out, ctx, 50 + int(2500 * r()) if m.price[3] else 0)

    def turns(self, p: Plan, n: int, t: int, end: int, par: Optional[str], cause: Optional[str] = None) -> Iterator[Ev]:
        """About n messages (exactly n when no inline trap adds rows) between t and end; a generator of events."""
        rnd, text, models = self.rnd, self.text, p.models
        made, ctx = 0, 6000 + int(rnd() * 9000)
        lu, la, lt = self.len_user, self.len_asst, self.len_tool
        while made < n:
            left = max(1, end - t)
            todo = n - made
            step = min(4000.0, left / (todo + 1) * 0.5)
            t += 1 + int(max(0.0, left - step * todo) / (todo / 4.5 + 1) * (0.15 + 1.2 * rnd()))
            if t > end:
                t = end
            hb = p.heartbeats and rnd() < 0.3
            why = "heartbeat" if hb else (cause or p.cause)
            if hb:
                said = HEARTBEAT_NEW if self.style(t) != "feb" else HEARTBEAT_OLD
            elif p.job:
                said = f"[cron:{p.job} {p.label}] {text(lu)}"
            else:
                said = text(lu)
            ev = self.user(par, t, said)
            yield ev
            par, made = ev[1], made + 1
            ctx += len(said) // 4
            m = models[0] if rnd() < 0.8 else models[int(rnd() * len(models))]
            for _ in range(1 if hb else 12):
                if made >= n:
                    break
                if p.inline and (self.inline_todo or rnd() < 0.05):
                    k = self.inline_todo.pop() if self.inline_todo else self.inline[int(rnd() * len(self.inline))]
                    for ev in self.odd(k, p, par, t + 1, m, why, ctx):
                        yield ev
                        par, t, made = ev[1], ev[4], made + (ev[2] == "message")
                        if ev[6] == ("u",):  # a user line in between: what follows is no longer the heartbeat's turn
                            why = cause or p.cause
                    if made >= n:
                        break
                req = t + 20 + int(30 * rnd())
                t = req + 1 + int(step * (0.2 + 1.6 * rnd()))
                use = self.usage(m, ctx)
                ctx += use[1] + use[3]
                if ctx > 180_000:  # auto-compaction; the summarising call itself leaves no usage anywhere
                    if p.inline:
                        ev = self.compaction(par, req - 5, par, ctx)
                        yield ev
                        par = ev[1]
                    ctx = 15_000
                x = rnd()
                if hb or x < 0.42 or made + 1 >= n:
                    body = "HEARTBEAT_OK" if hb else text(la)
                    pre = f'{{"type":"thinking","thinking":"{text(la // 4)}","thinkingSignature":"reasoning_content"}},' if x < 0.1 else ""
                    ev = self.assistant(par, req, t, m, use, f'{pre}{{"type":"text","text":"{body}"}}', why)
                    yield ev
                    par, made = ev[1], made + 1
                    break
                new = self.style(t) == "new"
                wrapped = new and x > 0.85
                tool = "tool_call" if wrapped else (DIRECT_TOOLS if new else OLD_TOOLS)[int(rnd() * (9 if new else 16))]
                call = "call_%016x" % self.bits(64)
                arg = text(la)
                if wrapped:
                    inner = NESTED_TOOLS[int(rnd() * 7)]
                    args = f'{{"id":"{inner}","args":{{"q":"{arg}"}}}}'
                else:
                    args = f'{{"command":"{arg}"}}'
                ev = self.assistant(
                    par, req, t, m, use, f'{{"type":"toolCall","id":"{call}","name":"{tool}","arguments":{args}}}', why, (tool,), "toolUse"
                )
                yield ev
                par, made = ev[1], made + 1
                if made >= n:
                    break
                t += 1 + int(step * rnd())
                if wrapped:
                    ev = self.nested_tool(par, t, call, inner)
                    yield ev
                    par, made = ev[1], made + 1
                ev = self.tool_result(par, t + 1, call, tool, text(lt), rnd() < 0.06, inner if wrapped else None)
                t += 1
                yield ev
                par, made = ev[1], made + 1
                ctx += min(len(ev[0]) // 4, 4000)

    def odd(self, kind: str, p: Plan, par: str, t: int, m: Model, cause: str, ctx: int) -> Iterator[Ev]:
        """One occurrence of a per-message trap, as events chained after `par`."""
        T, rnd = self.truth, self.rnd
        use = self.usage(m, ctx)
        say = lambda s: f'{{"type":"text","text":{json.dumps(s)}}}'
        if kind == "errors":
            if rnd() < 0.5:
                ev = self.assistant(
                    par,
                    t,
                    t + 5,
                    m,
                    (0, 0, 0, 0),
                    "" if rnd() < 0.7 else say("[assistant turn failed before producing content]"),
                    cause,
                    stop="error",
                    cost="zero",
                    extra=',"errorMessage":"400 provider error 400"',
                )
            else:
                ev = self.assistant(
                    par,
                    t,
                    t + 5,
                    m,
                    (0, 0, 0, 0),
                    say("partial answ"),
                    cause,
                    stop="aborted",
                    cost="zero",
                    extra=',"errorMessage":"Request was aborted"',
                )
            T.trap(kind, 1, 1)
            T.naive(kind, "drops zero-usage calls", -1, [ev[6]])
        elif kind == "injected":
            ev = self.injected(par, t + 3, "⚙️ Compacted (19k → 946)")
            T.trap(kind, 1)
            T.naive_raw(kind, "counts gateway-injected rows as model calls", 1, 0, 0)
        elif kind == "unpriced":
            um = UNPRICED[int(rnd() * len(UNPRICED))]
            ev = self.assistant(par, t, t + 900, um, self.usage(um, ctx), say("free lunch?"), cause, cost="zero")
            T.trap(kind, 1, 1, tokens=sum(ev[6][2:6]))
            T.trap(kind, 0)[f"calls_{um.kind}"] = T.trap(kind, 0).get(f"calls_{um.kind}", 0) + 1
            T.naive(kind, "treats recorded 0 as free and drops the call from usage", -1, [ev[6]])
        elif kind == "no_cost":
            ev = self.assistant(par, t, t + 900, m, use, say("no cost object here"), cause, cost="none")
            T.trap(kind, 1, 1, tokens=sum(use))
            T.naive(kind, "skips rows without usage.cost", -1, [ev[6]])
        elif kind == "usage_lookalike":
            fake = (
                '{"role":"assistant","usage":{"input":111111,"output":22222,"cacheRead":0,"cacheWrite":0,"totalTokens":133333,"cost":{"total":9.99}}}'
            )
            call = "call_%016x" % self.bits(64)
            ev = self.assistant(
                par,
                t,
                t + 900,
                m,
                use,
                f'{{"type":"toolCall","id":"{call}","name":"write","arguments":{{"message":{fake},"usage":{{"input":7777,'
                f'"output":8888,"cost":{{"total":1.25}}}}}}}}',
                cause,
                ("write",),
                "toolUse",
            )
            T.trap(kind, 1, 1)
            T.naive_raw(kind, 'regex over the line, first "usage" wins', 0, 133333 - sum(use), 9_990_000_000 - (ev[6][6] or 0))
        elif kind == "escaped_usage":
            s = json.dumps({"type": "message", "message": {"role": "assistant", "usage": {"input": 5000, "output": 500, "cost": {"total": 3.5}}}})
            ev = self.user(par, t + 3, json.dumps(s + "\n" + s)[1:-1])
            T.trap(kind, 1)
            T.naive_raw(kind, "regex that also matches escaped JSON text", 2, 11000, 7_000_000_000)
        elif kind == "hostile":
            s = HOSTILE[int(rnd() * len(HOSTILE))] + " " + HOSTILE[int(rnd() * len(HOSTILE))]
            ev = self.user(par, t + 3, json.dumps(s)[1:-1]) if rnd() < 0.5 else self.assistant(par, t, t + 900, m, use, say(s), cause)
            T.trap(kind, 1, ev[6][0] == "a")
        elif kind == "lone_surrogate":  # JavaScript's slice() cuts an emoji in two and JSON.stringify writes half of it
            ev = self.assistant(par, t, t + 900, m, use, say("cut in the middle of an emoji \ud83d"), cause)
            T.trap(kind, 1, 1)
            T.naive(kind, "drops lines that a strict JSON parser refuses", -1, [ev[6]])
        else:  # unknown_types
            T.trap(kind, 2)
            u = '"usage":{"input":4242,"output":42,"cacheRead":0,"cacheWrite":0,"totalTokens":4284,"cost":{"total":0.5}}'
            if rnd() < 0.5:
                ev = self.plain("hologram", par, t + 2, f'"schema":7,"message":{{"role":"assistant","provider":"x","model":"y",{u}}}')
                T.naive_raw(kind, "ignores `type`, counts any message.role=assistant with usage", 1, 4284, 500_000_000)
                yield ev
            i = self.eid(self.style(t))
            role = "narrator" if rnd() < 0.5 else "critic"
            ev = (
                f'{{"type":"message","id":"{i}","parentId":"{par}","timestamp":"{iso(t + 3)}","message":{{"role":"{role}","content":"meanwhile",{u},'
                f'"timestamp":{t + 3}}}}}',
                i,
                "message",
                par,
                t + 3,
                None,
                ("x", role),
            )
            T.naive_raw(kind, "ignores `role`, counts any message with usage", 1, 4284, 500_000_000)
        yield ev

    # ---- storing ------------------------------------------------------------------------------------------------------
    def workspace(self, agent: str) -> Path:
        return self.oc / ("workspace" if agent == self.agents[0] else f"workspace-{agent}")

    def sessions_dir(self, agent: str) -> Path:
        d = self.oc / "agents" / agent / "sessions"
        d.mkdir(parents=True, exist_ok=True)
        return d

    def write_lines(self, path: Path, evs: Iterable[Ev], *, bom: bool = False, crlf: bool = False, tail: bytes = b"") -> None:
        nl = "\r\n" if crlf else "\n"
        with open(path, "w", encoding="utf-8", newline="", buffering=1 << 20) as f:
            if bom:
                f.write("\ufeff")
            w = f.write
            t = 0
            for ev in evs:
                w(ev[0] + nl)
                t = ev[4]
        if tail:
            with open(path, "ab") as fb:
                fb.write(tail)
        self.nbytes += path.stat().st_size
        if t:
            os.utime(path, (t / 1000, t / 1000))

    def watch(self, p: Plan, evs: Iterable[Ev]) -> Iterator[Ev]:
        """Note first/last time and last call of a session on the way through."""
        for ev in evs:
            if not p.first:
                p.first = ev[4]
            p.last = ev[4]
            w = ev[6]
            if w and w[0] == "a":
                p.last_call = w[2:7]
            yield ev

    def key_on_disk(self, p: Plan) -> bool:
        if p.job or p.where == "live":
            return True
        return self.era == "sqlite" and p.where == "deleted" or p.where == "deleted-zst"

    def live_path(self, p: Plan) -> Path:
        return self.sessions_dir(p.agent) / f"{p.sid}.jsonl"

    def put(
        self,
        p: Plan,
        evs: Iterable[Ev],
        *,
        account: bool = True,
        also: Iterable[Ev] = (),
        path: Optional[Path] = None,
        hold: int = 0,
        **file_opts: Any,
    ) -> None:
        """Store a session in the era's live format (or in `path`) and account for it. `also` events are accounted but not
        stored here (they exist in a copy the caller writes)."""
        acc: dict[tuple, list[int]] = {}
        stream: Iterable[Ev] = self.truth.account(evs, acc) if account else evs
        stream = self.watch(p, stream)
        if path is not None or not self.sql:
            self.write_lines(path or self.live_path(p), stream, **file_opts)
        else:
            db = self.dbs[p.agent]
            p.index_key = self.store_key(p)
            legacy = None
            if self.era == "upgraded" and p.start < self.upgrade_ms:
                d = self.oc / "agents" / p.agent / "session-sqlite-import-archive"
                d.mkdir(parents=True, exist_ok=True)
                name = f"{p.index_key.replace(':', '_')}.{p.sid}.jsonl.imported-{self.upgrade_ms + 1000 + self.bits(8)}"
                legacy = open(d / name, "w", encoding="utf-8", newline="", buffering=1 << 20)
                stream = self.tee(stream, legacy)
            db.add_events(p.sid, stream, hold=hold)
            if legacy:
                self.nbytes += legacy.tell()
                legacy.close()
        if account:
            for _ in self.truth.account(also, acc):
                pass
            self.truth.fold(p, acc, self.key_on_disk(p))
        if p not in self.plans:
            self.plans.append(p)

    def tee(self, evs: Iterable[Ev], f: Any) -> Iterator[Ev]:
        """upgraded: what existed before the migration is also in the import archive."""
        up, T, on = self.upgrade_ms, self.truth, "import_archive" in self.traps
        for ev in evs:
            if ev[4] < up:
                f.write(ev[0] + "\n")
                if on:
                    call = ev[6] is not None and ev[6][0] == "a"
                    T.trap("import_archive", 1, int(call))
                    if call:
                        T.naive("import_archive", "also ingests session-sqlite-import-archive/ without dedup", 1, [ev[6]])
            yield ev

    def store_key(self, p: Plan) -> str:
        """Under which key the SQLite store files a session: cron base key for the newest run of a job; on an upgraded
        install older cron runs had lost their index entry and came back as `recovered`."""
        if not p.job:
            return p.key
        base = f"agent:{p.agent}:cron:{p.job}"
        if p is self.newest_run.get((p.agent, p.job)):
            return base
        if self.era == "upgraded" and p.start < self.upgrade_ms:
            return f"agent:{p.agent}:recovered:{p.sid}"
        return p.key

    # ---- planning -----------------------------------------------------------------------------------------------------
    def pick_models(self) -> list[Model]:
        ms = self.models
        first = self.rng.choices(ms, [m.weight for m in ms])[0]
        return [first] + [ms[int(self.rnd() * len(ms))] for _ in range(2)]

    def new_plan(self, agent: str, kind: str, n: int, start: int, end: int, **kw: Any) -> Plan:
        """Give a session of some kind its key, cause and channel."""
        r, sid = self.rng, self.uuid()
        pre = f"agent:{agent}:"
        num = lambda: str(10**8 + self.bits(30))
        cause, channel, chat = "user", None, "direct"
        if kind == "main":
            key, channel = pre + "main", None if self.sql else "webchat"
        elif kind == "telegram":
            key, channel = f"{pre}telegram:direct:{num()}", "telegram"
        elif kind == "telegram-group":
            key, channel, chat = f"{pre}telegram:group:-100{num()}" + (f":topic:{self.bits(6)}" if self.rnd() < 0.5 else ""), "telegram", "group"
        elif kind == "discord":
            key, channel, chat = f"{pre}discord:channel:{num()}{num()}" + (f":thread:{num()}" if self.rnd() < 0.3 else ""), "discord", "channel"
        elif kind == "discord-dm":
            key, channel = f"{pre}discord:direct:{num()}{num()}", "discord"
        elif kind == "slack":
            key, channel, chat = f"{pre}slack:{r.choice(['channel', 'group'])}:c{self.bits(36):09x}", "slack", "channel"
        elif kind == "slack-dm":
            key, channel = f"{pre}slack:direct:u{self.bits(36):09x}", "slack"
        elif kind == "dashboard":
            key = f"{pre}dashboard:{self.uuid()}"
        elif kind == "named":
            key = f"{pre}side-{self.bits(48):012x}"
        elif kind == "cron":
            job = kw.pop("jobrec", None) or min((j for j in self.jobs if not j["removed"]), key=lambda j: j["planned"])
            job["planned"] += 1
            agent, pre = job["agent"], f"agent:{job['agent']}:"
            key, cause, chat = f"{pre}cron:{job['id']}:run:{sid}", "cron", None
            kw.update(job=job["id"], label=job["name"], status="error" if job["failing"] and self.rnd() < 0.6 else "ok")
        elif kind == "subagent":
            par: Optional[Plan] = kw.pop("parent_plan")
            key, cause, chat = (f"{par.key}:subagent:{self.uuid()}" if par and par.depth == 1 else f"{pre}subagent:{self.uuid()}"), "subagent", None
            st = r.choices(["ok", "error", "timeout", "running"], [80, 10, 6, 4])[0]
            kw.update(parent=par.key if par else f"{pre}main", depth=(par.depth if par else 0) + 1, status=st, label=f"sub-{self.bits(12):03x}")
        else:
            raise ValueError(kind)
        p = Plan(agent, key, sid, kind, cause, channel, chat, self.pick_models(), n, start, end, **kw)
        if p.job:
            if p.status == "error":
                p.n = max(p.n, 3)
            k = (p.agent, p.job)
            if k not in self.newest_run or self.newest_run[k].start < p.start:
                self.newest_run[k] = p
        return p

    def plan_sessions(self) -> list[Plan]:
        """The ordinary sessions: kinds, sizes and times."""
        a, r = self.a, self.rng
        keys = "keys" in self.traps
        kinds = (
            (
                ["telegram", "telegram-group", "discord", "discord-dm", "slack", "slack-dm", "dashboard", "named", "cron", "subagent"],
                [3, 1, 2, 1, 1, 1, 1, 1, 5, 4],
            )
            if keys
            else (["telegram"], [1])
        )
        names = self.agents
        self.newest_run: dict[tuple[str, str], Plan] = {}
        self.make_jobs(keys)
        spec: list[tuple[str, str]] = [(x, "main") for x in names][: a.sessions]
        if keys:  # each kind at least once when there is room
            spec += [(names[i % len(names)], k) for i, k in enumerate(kinds[0] + ["subagent"])][: max(0, a.sessions - len(spec))]
        while len(spec) < a.sessions:
            spec.append((names[0] if self.rnd() < 0.5 else r.choice(names), r.choices(*kinds)[0]))
        bias = {"main": 3.0, "cron": 0.3, "subagent": 0.7}
        w = [r.lognormvariate(0, 0.7) * bias.get(k, 1.0) for _, k in spec]
        scale = a.messages / sum(w)
        sizes = [max(2, int(x * scale)) for x in w]
        sizes[0] = max(2, sizes[0] + a.messages - sum(sizes))
        plans: list[Plan] = []
        done: dict[str, list[Plan]] = defaultdict(list)
        for i, ((agent, kind), n) in enumerate(zip(spec, sizes)):
            life = self.now - self.t0
            if kind == "main":
                start, end = self.t0 + int(life * 0.02 * self.rnd()), self.now - 30_000 - int(self.rnd() * 60_000)
            else:
                span = min(int(life * 0.9), n * r.randint(4_000, 90_000))
                if "midnight" not in self.traps:  # keep it inside one UTC day
                    span = min(span, 36_000_000)
                    day = (self.t0 // 86_400_000 + 1 + int(self.rnd() * max(1, a.days - 2))) * 86_400_000
                    start = day + int(self.rnd() * (80_000_000 - span))
                else:
                    start = self.t0 + int(self.rnd() * max(1, life - span - 120_000))
                end = min(start + span, self.now - 60_000)
            kw: dict[str, Any] = {}
            if kind == "subagent":
                cand = [q for q in done[agent] if q.depth < 2 and q.kind in ("main", "telegram", "discord", "cron", "subagent")]
                deep = [q for q in cand if q.depth == 1]
                par = (
                    deep[-1]
                    if deep and (self.rnd() < 0.35 or len(deep) == 1 and not any(q.depth == 2 for q in done[agent]))
                    else (r.choice(cand) if cand else None)
                )
                kw["parent_plan"] = par
            p = self.new_plan(agent, kind, n, start, end, inline=bool(self.inline), **kw)
            p.heartbeats = kind == "main" and keys
            done[p.agent].append(p)
            plans.append(p)
        return plans

    def make_jobs(self, keys: bool) -> None:
        names = ["nightly-report", "inbox-triage", "failing-sync", "weekly-digest"]
        for i, nm in enumerate(names if keys else names[:1]):
            self.jobs.append(
                {
                    "id": self.uuid(),
                    "name": nm,
                    "agent": self.agents[i % len(self.agents)],
                    "failing": nm == "failing-sync",
                    "enabled": i != 3,
                    "removed": False,
                    "planned": 0,
                    "kind": ["cron", "every", "every", "cron"][i],
                    "created": self.t0,
                }
            )
        if keys:  # a one-shot job that ran and was removed: only its runs remain
            self.jobs.append(
                {
                    "id": self.uuid(),
                    "name": "one-shot",
                    "agent": self.agents[0],
                    "failing": False,
                    "enabled": True,
                    "removed": True,
                    "planned": 0,
                    "kind": "at",
                    "created": self.t0,
                }
            )

    # ---- making ---------------------------------------------------------------------------------------------------------
    def session(self, p: Plan, n: Optional[int] = None) -> Iterator[Ev]:
        """Opening records, the conversation, and an error row when a cron run failed."""
        op = self.opening(p, p.start, p.models[0])
        yield from op
        last = op[-1]
        for last in self.turns(p, p.n if n is None else n, p.start + 20, p.end, op[-1][1]):
            yield last
        if p.job and p.status == "error":
            t = last[4] + 40
            ev = self.assistant(
                last[1], t, t + 9, p.models[0], (0, 0, 0, 0), "", "cron", stop="error", cost="zero", extra=',"errorMessage":"400 provider error 400"'
            )
            yield ev

    def make(self) -> None:
        if self.oc.exists():
            shutil.rmtree(self.oc)
        (self.root / "logs").mkdir(parents=True, exist_ok=True)
        self.oc.mkdir(parents=True)
        for i, x in enumerate(self.agents):
            self.sessions_dir(x)
            if self.sql:
                variant = "normal"
                if i == 1 and "future_schema" in self.traps:
                    variant = "future"
                if i == 2 and "old_schema" in self.traps:
                    variant = "old"
                self.dbs[x] = AgentDb(self, x, variant)
        plans = self.plan_sessions()
        self.plans = list(plans)
        removed = [j for j in self.jobs if j["removed"]]
        for j in removed:
            t = self.t0 + int((self.now - self.t0) * 0.4)
            q = self.new_plan(j["agent"], "cron", 6, t, t + 60_000, jobrec=j)
            self.plans.append(q)
            plans.append(q)
        # the newest session of each agent keeps its last rows for the WAL
        for p in plans:
            self.put(p, self.session(p), hold=12 if self.a.leave_wal and p.kind == "main" else 0)
        for t in TRAPS:
            fn: Optional[Callable[[], None]] = getattr(self, "trap_" + t, None)
            if t in self.traps and fn:
                fn()
        self.count_schema_traps()
        self.write_index()
        self.write_state()
        self.write_config()
        self.write_misc()
        self.write_logs()
        for db in self.dbs.values():
            db.finish(self.a.leave_wal)
        self.write_truth()

    # ---- trap sessions ----------------------------------------------------------------------------------------------------
    def small(self, kind: str = "named", n: int = 10, agent: Optional[str] = None, at: Optional[float] = None, **kw: Any) -> Plan:
        """A small clean session somewhere in the home's life (before the migration for upgraded homes unless `at` says more)."""
        frac = (0.05 + 0.55 * self.rnd()) if at is None else at
        t = self.t0 + int((self.now - self.t0) * frac)
        return self.new_plan(agent or self.agents[0], kind, n, t, t + 40 * 60_000, **kw)

    def evs(self, p: Plan, n: Optional[int] = None) -> list[Ev]:
        return list(self.session(p, n))

    def more(self, p: Plan, evs: list[Ev], n: int, gap: int = 60_000) -> list[Ev]:
        """n further messages after evs."""
        t = evs[-1][4] + gap
        return list(self.turns(p, n, t, t + 20 * 60_000, evs[-1][1]))

    @staticmethod
    def ncalls(evs: Iterable[Ev]) -> int:
        return sum(1 for e in evs if e[6] and e[6][0] == "a")

    def archive(self, p: Plan, evs: list[Ev], reason: str, **opts: Any) -> None:
        """Store as sessions/<sid>.jsonl.<reason>.<ts>."""
        p.where = reason
        self.put(p, evs, path=self.sessions_dir(p.agent) / f"{p.sid}.jsonl.{reason}.{file_ts(evs[-1][4] + 5000)}", **opts)

    def skip(self, name: str, why: str) -> None:
        self.truth.trap(name, 0, 0, skipped=why)

    def trap_reset(self) -> None:
        T = self.truth
        for _ in range(2):
            p = self.small("telegram", 12)
            old = self.evs(p)
            if self.era == "sqlite":  # same session id, a `reset` record in between
                r = self.plain("reset", old[-1][1], old[-1][4] + 900, '"reason":"reset"')
                new = self.more(p, old + [r], 6)
                self.put(p, old + [r] + new)
                T.trap("reset", len(old), self.ncalls(old))
                T.naive("reset", "reads only what follows the last reset record", -1, (e[6] for e in old))
                continue
            q = self.new_plan(p.agent, "telegram", 6, old[-1][4] + 9000, old[-1][4] + 900_000)
            q.key = p.key  # the key lives on with a new session id
            if self.era == "jsonl-feb":
                p.where = "orphan"
                self.put(p, old)
            else:
                self.archive(p, old, "reset")
            self.put(q, self.evs(q))
            T.trap("reset", len(old), self.ncalls(old))
            T.naive("reset", "ignores archived/orphaned transcripts", -1, (e[6] for e in old))

    def trap_deleted(self) -> None:
        if self.era == "sqlite":
            return self.skip("deleted", "sqlite era deletes into zst archives: see zst_archive")
        for k in ("discord", "slack"):
            p = self.small(k, 11)
            e = self.evs(p)
            self.archive(p, e, "deleted")
            self.truth.trap("deleted", len(e), self.ncalls(e))
            self.truth.naive("deleted", "ignores .jsonl.deleted.* files", -1, (x[6] for x in e))

    def trap_bak(self) -> None:
        if self.era == "sqlite":
            return self.skip("bak", "sqlite era keeps no .bak: see renumber")
        p = self.small("named", 24)
        e = self.evs(p)
        cut = len(e) - 9
        head, kept = e[:cut], e[cut:]
        bak = self.sessions_dir(p.agent) / f"{p.sid}.jsonl.bak.{file_ts(e[-1][4] + 3000)}"
        self.write_lines(bak, e)
        live = kept if self.era == "jsonl-feb" else [e[0]] + kept  # feb drops the header, mid keeps it
        self.put(p, live, also=[x for x in head if x is not e[0]])
        T = self.truth
        T.trap("bak", len(e), self.ncalls(e))
        T.naive("bak", "sums the live file and its .bak", 1, (x[6] for x in kept))
        T.naive("bak", "ignores .bak (the head exists only there)", -1, (x[6] for x in head))

    def trap_checkpoint(self) -> None:
        if self.era == "sqlite":
            return self.skip("checkpoint", "JSONL only")
        p = self.small("named", 12)
        e = self.evs(p)
        c = self.compaction(e[-1][1], e[-1][4] + 2000, e[-3][1], 91_000)
        rest = self.more(p, e + [c], 6)
        self.put(p, e + [c] + rest)
        self.write_lines(self.sessions_dir(p.agent) / f"{p.sid}.checkpoint.{self.uuid()}.jsonl", e)
        self.truth.trap("checkpoint", len(e), self.ncalls(e))
        self.truth.naive("checkpoint", "counts <sid>.checkpoint.<uuid>.jsonl as a transcript", 1, (x[6] for x in e))

    def trap_trajectory(self) -> None:
        p = self.small("named", 8, at=0.3)
        e = self.evs(p)
        self.put(p, e)
        noise, n = [], 0
        for i, x in enumerate(e):
            if x[6] and x[6][0] == "a":
                n += 1
                noise.append(
                    dumps(
                        {
                            "traceSchema": "openclaw-trajectory",
                            "schemaVersion": 1,
                            "traceId": p.sid,
                            "source": "runtime",
                            "type": "model.completed",
                            "ts": iso(x[4]),
                            "seq": i,
                            "sourceSeq": i,
                            "sessionId": p.sid,
                            "sessionKey": p.key,
                            "runId": self.uuid(),
                            "data": {
                                "usage": {"input": x[6][2], "output": x[6][3], "cacheRead": x[6][4], "cacheWrite": x[6][5]},
                                "messagesSnapshot": [json.loads(y[0]) for y in e[max(0, i - 3) : i + 1]],
                            },
                        }
                    )
                )
        T = self.truth
        T.trap("trajectory", len(noise), n)
        T.naive("trajectory", "counts trajectory records or their nested snapshots once more", 1, (x[6] for x in e))
        if self.sql:
            self.dbs[p.agent].rows(
                "trajectory_runtime_events",
                ("session_id", "seq", "run_id", "event_json", "created_at"),
                [(p.sid, i, "run", s, p.last) for i, s in enumerate(noise)],
            )
        if self.era == "sqlite":
            return
        d = self.sessions_dir(p.agent)
        name = f"{p.sid}.trajectory.jsonl"
        if self.era == "upgraded":
            d = self.oc / "agents" / p.agent / "session-sqlite-import-archive"
            name = f"{p.key.replace(':', '_')}.{name}.imported-{self.upgrade_ms + 1003}"
        else:
            (d / f"{p.sid}.trajectory-path.json").write_text(
                dumps({"traceSchema": "openclaw-trajectory-pointer", "sessionId": p.sid, "runtimeFile": str(d / name)})
            )
        (d / name).write_text("\n".join(noise) + "\n", encoding="utf-8")

    def trap_fork(self) -> None:
        T = self.truth
        for k in range(2):
            p = self.small("named", 14)
            e = self.evs(p)
            self.put(p, e)
            start = e[-1][4] + 60_000
            q = self.new_plan(p.agent, "dashboard", 6, start, start + 900_000, fork_of=p, parent=p.key)
            cut = e[1 : len(e) - k * 4]
            h = self.header(q, start, None if self.style(start) == "new" else str(self.live_path(p)))
            own = list(self.turns(q, 6, start + 500, q.end, cut[-1][1]))
            q.fork_entry = cut[-1][1]
            acc: dict[tuple, list[int]] = {}
            for _ in T.account(own, acc):
                pass
            self.put(q, [h] + cut + own, account=False)
            T.fold(q, acc, True)
            T.trap("fork", len(cut), self.ncalls(cut))
            T.naive("fork", "no dedup across sessions", 1, (x[6] for x in cut))

    def trap_zst_archive(self) -> None:
        if not self.sql:
            return self.skip("zst_archive", "SQLite eras only")
        T = self.truth
        for k in ("discord", "telegram-group"):
            p = self.small(k, 12, at=0.75 + 0.2 * self.rnd())
            p.where = "deleted" if self.era == "sqlite" else "deleted-zst"
            e = self.evs(p)
            acc: dict[tuple, list[int]] = {}
            raw = "".join(x[0] + "\n" for x in self.watch(p, T.account(e, acc))).encode()
            T.fold(p, acc, True)
            blob = zstandard.ZstdCompressor(level=3).compress(raw)
            gen = "%032x" % self.bits(128)
            name = f"{p.sid}.jsonl.deleted.{file_ts(e[-1][4] + 4000)}.{gen}.zst"
            (self.sessions_dir(p.agent) / name).write_bytes(blob)
            t = e[-1][4] + 4000
            self.dbs[p.agent].rows(
                "session_transcript_archives",
                (
                    "session_id",
                    "generation",
                    "session_key",
                    "reason",
                    "encoding",
                    "archive_blob",
                    "archive_sha256",
                    "archive_name",
                    "created_at",
                    "published_at",
                    "publish_attempts",
                ),
                [(p.sid, gen, p.key, "deleted", "zstd", blob, hashlib.sha256(blob).hexdigest(), name, t, t + 9, 1)],
            )
            self.plans.append(p)
            T.trap("zst_archive", len(e), self.ncalls(e))
            T.naive("zst_archive", "sums the .zst file and session_transcript_archives", 1, (x[6] for x in e))
            T.naive("zst_archive", "ignores zst archives", -1, (x[6] for x in e))

    def trap_same_ms_twins(self) -> None:
        p = self.small("named", 6)
        e = self.evs(p)
        T = self.truth
        for _ in range(3):
            u = self.user(e[-1][1], e[-1][4] + 5000, "do two things at once")
            m, use, t = p.models[0], self.usage(p.models[0], 9000), u[4] + 2500
            tw = [self.assistant(u[1], u[4] + 30, t, m, use, '{"type":"text","text":"done"}', p.cause) for _ in range(2)]
            e += [u] + tw
            T.trap("same_ms_twins", 2, 2)
            T.naive("same_ms_twins", "dedups on (time, model, tokens) without the id", -1, [tw[1][6]])
        self.put(p, e)

    def trap_id_collision(self) -> None:
        T = self.truth
        same = "%08x" % self.bits(32)
        pair = []
        for i in range(2):
            p = self.small("named", 6, at=0.1 + 0.3 * i)
            e = self.evs(p)
            m, t = p.models[0], e[-1][4] + 4000
            ev = self.assistant(e[-1][1], t, t + 1500, m, self.usage(m, 8000 + i), '{"type":"text","text":"same id, other call"}', p.cause, eid=same)
            self.put(p, e + [ev])
            pair.append(ev)
            T.trap("id_collision", 1, 1)
        T.naive("id_collision", "dedups on the event id alone, keeps the earlier call", -1, [pair[1][6]])
        T.naive("id_collision", "dedups on the event id alone, keeps the later call", -1, [pair[0][6]])

    def trap_dup_line(self) -> None:
        p = self.small("named", 10)
        e = self.evs(p)
        d = [x for x in e if x[6] and x[6][0] == "a"][-1]
        at = e.index(d) + 1
        acc: dict[tuple, list[int]] = {}
        for _ in self.truth.account(e, acc):
            pass
        self.put(p, e[:at] + [d] + e[at:], account=False)
        self.truth.fold(p, acc, True)
        self.truth.trap("dup_line", 1, 1)
        self.truth.naive("dup_line", "no dedup inside a file", 1, [d[6]])

    def trap_truncated(self) -> None:
        if self.sql:
            return self.skip("truncated", "live JSONL only")
        p = self.small("named", 8, at=0.97)
        e = self.evs(p)
        m, t = p.models[0], e[-1][4] + 3000
        ev = self.assistant(e[-1][1], t, t + 900, m, self.usage(m, 7000), '{"type":"text","text":"cut while writ"}', p.cause)
        line = ev[0].encode()
        self.put(p, e, tail=line[: line.index(b'"usage"') + 40])
        self.truth.bad["truncated"] += 1
        self.truth.trap("truncated", 1, 0, note="the call of the unfinished last line is not counted")

    def trap_garbage(self) -> None:
        T = self.truth
        p = self.small("named", 10)
        e = self.evs(p)
        if self.era == "sqlite" or self.era == "upgraded":
            self.put(p, e)
            db, t = self.dbs[p.agent], p.last + 10
            nxt = db.next_seq[p.sid]
            rows = [(p.sid, nxt, '{"type":"message","message":{"role":"assistant","usage":{"inp', None, 61, None, t)]
            if db.variant != "old":
                blob = b"\x28\xb5\x2f\xfd" + bytes(self.bits(8) for _ in range(60))
                rows.append((p.sid, nxt + 1, None, blob, 2000, db.navigation("00000000", "message", None, t, None, 2000), t))
            db.raw_events(rows)
            T.bad["garbage"] += len(rows)
            T.trap("garbage", len(rows), note="invalid JSON text in event_json and a corrupt zstd frame in event_zstd")
            return
        mid = len(e) // 2
        junk = [
            b"\x00\xff\xfe\x80garbage\x00" + bytes(self.bits(8) | 128 for _ in range(200)),
            b'{"type":"message","message":{"role":"assis',
            b"[1,2,3]",
            b"null",
        ]
        path = self.live_path(p)
        self.put(p, e)
        lines = path.read_bytes().split(b"\n")
        lines[mid:mid] = junk
        path.write_bytes(b"\n".join(lines))
        T.bad["garbage"] += len(junk)
        T.trap("garbage", len(junk), note="binary, cut, and non-object lines in the middle of a file")

    def trap_huge_line(self) -> None:
        p = self.small("named", 6)
        e = self.evs(p)
        m, t = p.models[0], e[-1][4] + 4000
        size = self.a.huge_bytes
        big = (self.text.base * (size // len(self.text.base) + 1))[:size]
        ev = self.assistant(e[-1][1], t, t + 9000, m, self.usage(m, 9000), f'{{"type":"text","text":"{big}"}}', p.cause)
        self.put(p, e + [ev] + self.more(p, e + [ev], 4))
        self.truth.trap("huge_line", 1, 1, bytes=len(ev[0]))
        self.truth.naive("huge_line", "skips over-long lines", -1, [ev[6]])

    def trap_crlf_bom(self) -> None:
        if self.era == "sqlite":
            return self.skip("crlf_bom", "JSONL only")
        p = self.small("telegram", 10)
        e = self.evs(p)
        if self.era == "upgraded":
            self.archive(p, e, "deleted", bom=True, crlf=True)
        else:
            self.put(p, e, bom=True, crlf=True)
        self.truth.trap("crlf_bom", len(e), self.ncalls(e))

    def trap_renumber(self) -> None:
        if not self.sql:
            return self.skip("renumber", "SQLite only; the JSONL counterpart is bak")
        p = self.small("named", 30, at=0.8)
        e = self.evs(p)
        users = [i for i in range(len(e) // 2, len(e) - 4) if e[i][6] and e[i][6][0] == "u"]
        cut = users[0] if users else len(e) - 8  # keep whole turns
        lost = e[1:cut]
        self.put(p, [e[0]] + e[cut:])
        self.truth.trap(
            "renumber",
            len(e) - cut,
            self.ncalls(e[cut:]),
            lost_events=len(lost),
            lost_calls=self.ncalls(lost),
            lost_cost_nano=sum((x[6][6] or 0) for x in lost if x[6] and x[6][0] == "a"),
            note="rows deleted by maxLines compaction are gone from disk and not in the totals; the kept rows have seq 0..n",
        )

    def transitions(self, tz: ZoneInfo) -> Optional[int]:
        """Newest UTC-offset change (ms) of tz inside the home's life, else before it."""
        off = lambda ms: datetime.fromtimestamp(ms / 1000, tz).utcoffset()
        hi = self.now // SLOT * SLOT
        for i in range(1, 400 * 48):
            t = hi - i * SLOT
            if off(t) != off(t + SLOT):
                return t + SLOT
        return None

    def trap_dst(self) -> None:
        T = self.truth
        for z in ("America/New_York", "Australia/Lord_Howe"):
            tz = ZoneInfo(z)
            tr = self.transitions(tz)
            if tr is None:
                continue
            day = datetime.fromtimestamp(tr / 1000, tz).date()
            spots = [tr]
            for d in (day, day + timedelta(days=1)):
                spots.append(int(datetime(d.year, d.month, d.day, tzinfo=tz).timestamp() * 1000))
            for s in spots:
                if s + 46 * 60_000 > self.now:
                    continue
                p = self.new_plan(self.agents[0], "named", 40, s - 45 * 60_000, s + 45 * 60_000)
                e = self.evs(p)
                self.put(p, e)
                T.trap("dst", len(e), self.ncalls(e))
            T.trap("dst", 0)[f"transition_{z}"] = iso(tr)

    def trap_midnight(self) -> None:
        for i in range(3):
            d = (self.t0 // 86_400_000 + 1 + int(self.rnd() * max(1, self.a.days - 1))) * 86_400_000
            d = min(d, (self.now - 3_600_000) // 86_400_000 * 86_400_000)
            p = self.new_plan(self.agents[i % len(self.agents)], "telegram", 30, d - 1_500_000, d + 1_500_000)
            e = self.evs(p)
            self.put(p, e)
            self.truth.trap("midnight", len(e), self.ncalls(e))
            self.truth.trap("midnight", 0)["note"] = "naive: books the whole session on its first or last day"

    def count_schema_traps(self) -> None:
        T, n = self.truth, len(self.agents)
        for name, i in (("future_schema", 1), ("old_schema", 2)):
            if name not in self.traps:
                continue
            if not self.sql or n <= i:
                self.skip(name, "SQLite eras with enough --agents only")
                continue
            v = T.by["agent"][self.agents[i]]
            T.trap(name, sum(self.dbs[self.agents[i]].next_seq.values()), v[0], agent=self.agents[i])
            T.naive_raw(name, "refuses a database whose user_version or columns it does not know", -v[0], -sum(v[2:6]), -v[6])
        if "zstd_rows" in self.traps and not self.sql:
            self.skip("zstd_rows", "SQLite eras only")
        if "import_archive" in self.traps and self.era != "upgraded":
            self.skip("import_archive", "upgraded era only")
        if "keys" in self.traps:
            c = Counter(p.kind for p in self.plans)
            T.trap("keys", sum(c.values()), sessions_by_kind=dict(sorted(c.items())))
            T.naive_raw("keys", "counts only agent:*:main", *(-x for x in self.not_main()))
        if "models" in self.traps:
            T.trap("models", 0, T.total[0], provider_models=len(T.by["provider_model"]))

    def not_main(self) -> tuple[int, int, int]:
        c = k = n = 0
        for key, v in self.truth.by["session_key"].items():
            if not key.endswith(":main"):
                c, k, n = c + v[0], k + sum(v[2:6]), n + v[6]
        return c, k, n

    # ---- index, state, config, logs ------------------------------------------------------------------------------------
    def entry(self, p: Plan) -> dict[str, Any]:
        """A sessions.json / entry_json object."""
        m = p.models[0]
        i, o, cr, cw, nano = p.last_call
        e: dict[str, Any] = {
            "sessionId": p.sid,
            "updatedAt": p.last,
            "systemSent": True,
            "abortedLastRun": False,
            "modelProvider": m.provider,
            "model": m.id,
            "contextTokens": 200000,
            "inputTokens": i,
            "outputTokens": o,
            "totalTokens": i + cr + cw,
        }
        if p.chat_type:
            e["chatType"] = p.chat_type
        if self.sql:  # 2026.8+: one `delivery` object instead of channel/lastChannel/origin/deliveryContext
            via = self.created_via(p)
            e.update(createdVia=via, createdAt=p.first, delivery={"kind": "none"})
            if p.channel:
                to = p.key.split(":")[4] if p.key.count(":") >= 4 else "user"
                e["delivery"] = {
                    "kind": "external",
                    "route": {"channel": p.channel, "target": {"to": to}},
                    "context": {"channel": p.channel, "to": to},
                    "origin": {"provider": p.channel, "surface": p.channel, "chatType": p.chat_type},
                }
            if p.parent:
                e["parentSessionKey"] = p.parent
        elif p.channel:
            e.update(
                channel=p.channel,
                lastChannel=p.channel,
                deliveryContext={"channel": p.channel},
                origin={"provider": p.channel, "surface": p.channel, "chatType": p.chat_type, "label": "user"},
            )
        if p.job:
            e["label"] = f"Cron: {p.label}"
        elif p.label:
            e["label"] = p.label
        if p.kind == "subagent":
            e.update(spawnedBy=p.parent, spawnDepth=p.depth)
        if "hostile" in self.traps and p.kind == "named" and not p.label:
            e["label"] = HOSTILE[sum(map(ord, p.sid)) % len(HOSTILE)]
        if self.era != "jsonl-feb":
            e.update(
                sessionStartedAt=p.first,
                lastInteractionAt=p.last,
                status=self.node_status(p),
                startedAt=p.last - 4000,
                endedAt=p.last,
                runtimeMs=4000,
                cacheRead=cr,
                cacheWrite=cw,
                estimatedCostUsd=(nano or 0) / 1e9,
                totalTokensFresh=True,
            )
        if not self.sql:
            e["sessionFile"] = str(self.live_path(p))
        elif p.fork_of:
            e["forkSource"] = {"sessionKey": p.fork_of.key, "sessionId": p.fork_of.sid, "entryId": p.fork_entry}
        return e

    @staticmethod
    def created_via(p: Plan) -> str:
        return {"cron": "cron", "subagent": "spawn"}.get(p.kind, "channel" if p.channel else "operator")

    @staticmethod
    def node_status(p: Plan) -> str:
        return {"ok": "done", "error": "failed", "timeout": "timeout", "running": "running"}[p.status]

    def write_index(self) -> None:
        live = [p for p in self.plans if p.where == "live"]
        if not self.sql:
            idx: dict[str, dict[str, Any]] = {x: {} for x in self.agents}
            for p in live:
                e = self.entry(p)
                if p.job:
                    if p is self.newest_run[(p.agent, p.job)]:
                        idx[p.agent][f"agent:{p.agent}:cron:{p.job}"] = e
                    if self.era == "jsonl-mid":
                        continue  # mid keeps only the base key; older runs are known from cron_run_logs
                idx[p.agent][p.key] = e
            for x in self.agents:
                (self.sessions_dir(x) / "sessions.json").write_text(json.dumps(idx[x], indent=2, ensure_ascii=False), encoding="utf-8")
            return
        for p in live:
            db, m, key = self.dbs[p.agent], p.models[0], p.index_key or p.key
            via = self.created_via(p)
            db.window(p, key, m)
            db.rows(
                "session_nodes",
                (
                    "session_key",
                    "current_session_id",
                    "entry_json",
                    "entry_valid",
                    "updated_at",
                    "status",
                    "created_at",
                    "created_via",
                    "parent_session_key",
                    "spawned_by",
                    "fork_source_session_key",
                    "fork_source_session_id",
                    "fork_source_entry_id",
                    "label",
                    "display_name",
                    "last_interaction_at",
                    "last_activity_at",
                ),
                [
                    (
                        key,
                        p.sid,
                        dumps(self.entry(p)),
                        1,
                        p.last,
                        self.node_status(p),
                        p.first,
                        via,
                        p.parent,
                        p.parent if p.kind == "subagent" else None,
                        p.fork_of.key if p.fork_of else None,
                        p.fork_of.sid if p.fork_of else None,
                        p.fork_entry,
                        f"Automation: {p.label}" if p.job else self.entry(p).get("label"),
                        None,
                        p.last,
                        p.last,
                    )
                ],
                replace=True,
            )
        if self.era == "upgraded":
            for x in self.agents:
                d = self.oc / "agents" / x / "session-sqlite-import-archive"
                if d.exists():
                    (d / f"legacy-store.sessions.json.imported-{self.upgrade_ms + 1500}").write_text(
                        json.dumps({(p.index_key or p.key): self.entry(p) for p in live if p.agent == x and p.start < self.upgrade_ms}, indent=2)
                    )

    def cron_job_obj(self, j: dict[str, Any]) -> dict[str, Any]:
        sched = {
            "cron": {"kind": "cron", "expr": "0 3 * * *", "tz": "America/New_York"},
            "every": {"kind": "every", "everyMs": 3_600_000, "anchorMs": j["created"]},
            "at": {"kind": "at", "at": "2026-01-01T00:00:00.000Z"},
        }[j["kind"]]
        return {
            "id": j["id"],
            "agentId": j["agent"],
            "name": j["name"],
            "enabled": j["enabled"],
            "createdAtMs": j["created"],
            "updatedAtMs": self.now,
            "schedule": sched,
            "sessionTarget": "isolated",
            "wakeMode": "now",
            "payload": {"kind": "agentTurn", "message": f"run {j['name']}"},
            "delivery": {"mode": "none"},
            "state": {},
        }

    def runs(self, j: dict[str, Any]) -> list[dict[str, Any]]:
        """The run records of a job, oldest first, including one skipped run without a session."""
        ps = sorted((p for p in self.plans if p.job == j["id"]), key=lambda p: p.start)
        out = [{"status": p.status, "at": p.start - 100, "dur": max(1, p.last - p.start), "plan": p} for p in ps]
        if ps and j["kind"] == "every":
            out.append({"status": "skipped", "at": ps[-1].last + 3_600_000, "dur": 0, "plan": None})
        return out

    def write_state(self) -> None:
        subs = [p for p in self.plans if p.kind == "subagent"]
        store = str(self.oc / "cron" / "jobs.json")
        for p in subs:
            p.run_id = self.uuid()  # type: ignore[attr-defined]
        if self.era == "jsonl-feb":
            c = self.oc / "cron"
            (c / "runs").mkdir(parents=True)
            jobs = []
            for j in self.jobs:
                o, rs = self.cron_job_obj(j), self.runs(j)
                if rs:
                    o["state"] = {
                        "lastRunAtMs": rs[-1]["at"],
                        "lastStatus": rs[-1]["status"],
                        "lastDurationMs": rs[-1]["dur"],
                        "consecutiveErrors": 0,
                    }
                    with open(c / "runs" / f"{j['id']}.jsonl", "w") as f:
                        for r in rs:
                            p = r["plan"]
                            line = {
                                "ts": r["at"] + r["dur"] + 3,
                                "jobId": j["id"],
                                "action": "finished",
                                "status": r["status"],
                                "summary": "ok",
                                "runAtMs": r["at"],
                                "durationMs": r["dur"],
                                "nextRunAtMs": r["at"] + 3_600_000,
                            }
                            if p:
                                line.update(sessionId=p.sid, sessionKey=p.key)
                            f.write(dumps(line) + "\n")
                if not j["removed"]:
                    jobs.append(o)
            (c / "jobs.json").write_text(json.dumps({"version": 1, "jobs": jobs}, indent=2))
            (c / "jobs.json.bak").write_text(json.dumps({"version": 1, "jobs": jobs[:-1]}, indent=2))
            runs = {}
            for p in subs:
                o = {
                    "runId": p.run_id,
                    "childSessionKey": p.key,
                    "requesterSessionKey": p.parent,
                    "requesterOrigin": {"channel": "webchat"},
                    "requesterDisplayKey": p.parent,
                    "task": f"task of {p.label}",
                    "cleanup": "keep",
                    "label": p.label,
                    "createdAt": p.start - 50,
                    "startedAt": p.start,
                }
                if p.status != "running":
                    o.update(endedAt=p.last, outcome={"status": p.status}, archiveAtMs=p.last + 3_600_000, cleanupHandled=True)
                runs[p.run_id] = o
            (self.oc / "subagents").mkdir()
            (self.oc / "subagents" / "runs.json").write_text(json.dumps({"version": 2, "runs": runs}, indent=2))
            dq = self.oc / "delivery-queue"
            (dq / "failed").mkdir(parents=True)
            for i in range(4):
                k = self.uuid()
                (dq / ("failed" if i == 3 else "") / f"{k}.json").write_text(
                    json.dumps(
                        {
                            "id": k,
                            "enqueuedAt": self.now - 60_000 * i,
                            "channel": "telegram",
                            "to": "123",
                            "payloads": [{"text": "hi"}],
                            "retryCount": i,
                            "lastError": "ETIMEDOUT" if i else None,
                        }
                    )
                )
            return
        mid = self.era == "jsonl-mid"
        db = open_db(self.oc / "state" / "openclaw.sqlite")
        tables, indexes, triggers = load_ddl(Path(self.a.schemas) / ("mid-state.sql" if mid else "latest-state.sql"))
        for s in tables:
            db.execute(s)
        ins = lambda table, **c: db.execute(f"INSERT INTO {table}({','.join(c)}) VALUES({','.join('?' * len(c))})", tuple(c.values()))
        ins(
            "schema_meta",
            meta_key="primary",
            role="global",
            schema_version=1 if mid else 18,
            app_version=None if mid else "2026.9.6",
            created_at=self.t0,
            updated_at=self.now,
        )
        for x in self.dbs:
            ins(
                "agent_databases",
                agent_id=x,
                path=f"agents/{x}/agent/openclaw-agent.sqlite",
                schema_version=self.dbs[x].version,
                last_seen_at=self.now,
                size_bytes=4096,
            )
        for order, j in enumerate(self.jobs):
            o, rs = self.cron_job_obj(j), self.runs(j)
            state = (
                {"lastRunAtMs": rs[-1]["at"], "lastRunStatus": rs[-1]["status"], "lastStatus": rs[-1]["status"], "lastDurationMs": rs[-1]["dur"]}
                if rs
                else {}
            )
            if not j["removed"]:
                common = dict(
                    store_key=store,
                    job_id=j["id"],
                    name=j["name"],
                    enabled=int(j["enabled"]),
                    agent_id=j["agent"],
                    payload_kind="agentTurn",
                    job_json=dumps(o),
                    state_json=dumps(state),
                    sort_order=order,
                    updated_at=self.now,
                )
                if mid:
                    s = o["schedule"]
                    common.update(
                        created_at_ms=j["created"],
                        schedule_kind=s["kind"],
                        schedule_expr=s.get("expr"),
                        schedule_tz=s.get("tz"),
                        every_ms=s.get("everyMs"),
                        session_target="isolated",
                        wake_mode="now",
                        payload_message=o["payload"]["message"],
                        delivery_mode="none",
                        last_run_at_ms=state.get("lastRunAtMs"),
                        last_run_status=state.get("lastRunStatus"),
                    )
                ins("cron_jobs", **common)
            for seq, r in enumerate(rs, 1):
                p: Optional[Plan] = r["plan"]
                run = f"cron:{j['id']}:{r['at']}"
                use = None
                if p:
                    i, oo, cr, cw, _ = p.last_call
                    use = {"input_tokens": i, "output_tokens": oo, "total_tokens": i + oo + cr + cw, "cache_read_tokens": cr}
                det = {
                    "kind": "cron-run",
                    "status": r["status"],
                    "summary": "ok",
                    "storeKey": store,
                    "deliveryStatus": "not-requested",
                    "sessionId": p.sid if p else None,
                    "runId": run,
                    "runAtMs": r["at"],
                    "durationMs": r["dur"],
                    "usage": use,
                }
                if mid:
                    e = {
                        "ts": r["at"] + r["dur"],
                        "jobId": j["id"],
                        "action": "finished",
                        "status": r["status"],
                        "runAtMs": r["at"],
                        "durationMs": r["dur"],
                        "usage": use,
                    }
                    if p:
                        e.update(sessionId=p.sid, sessionKey=p.key)
                    ins(
                        "cron_run_logs",
                        store_key=store,
                        job_id=j["id"],
                        seq=seq,
                        ts=r["at"] + r["dur"],
                        status=r["status"],
                        session_id=p.sid if p else None,
                        session_key=p.key if p else None,
                        run_id=run,
                        run_at_ms=r["at"],
                        duration_ms=r["dur"],
                        model=p.models[0].id if p else None,
                        provider=p.models[0].provider if p else None,
                        total_tokens=use["total_tokens"] if use else None,
                        entry_json=dumps(e),
                        created_at=r["at"] + r["dur"],
                    )
                else:
                    imported = self.era == "upgraded" and r["at"] < self.upgrade_ms  # runs before the migration have no receipt, only task_runs
                    if not imported:
                        ins(
                            "cron_run_receipts",
                            receipt_id=self.uuid(),
                            store_key=store,
                            job_id=j["id"],
                            config_revision="sha256:x",
                            agent_id=j["agent"],
                            request_run_id=run,
                            status=r["status"],
                            owner_pid=4242,
                            started_at_ms=r["at"],
                            finished_at_ms=r["at"] + r["dur"],
                            error_text="400" if r["status"] == "error" else None,
                        )
                    ins(
                        "task_runs",
                        task_id=f"cron-runlog-import:{j['id']}:{r['at']}:{seq}" if imported else self.uuid(),
                        runtime="cron",
                        task_kind=None if imported else "automation_run",
                        source_id=j["id"],
                        requester_session_key="",
                        owner_key="",
                        scope_kind="system",
                        child_session_key=p.key if p else None,
                        agent_id=j["agent"],
                        run_id=run,
                        label=j["name"],
                        task=j["name"],
                        status={"ok": "succeeded", "error": "failed", "skipped": "cancelled"}[r["status"]],
                        delivery_status="not_applicable",
                        notify_policy="silent",
                        created_at=r["at"],
                        started_at=r["at"],
                        ended_at=r["at"] + r["dur"],
                        detail_json=dumps(det),
                    )
        if not mid:  # built-in jobs, to be filtered by declaration_key
            for k, kind in (("memory-core:memory-dreaming-promotion", "agentTurn"), (f"heartbeat:{self.agents[0]}", "heartbeat")):
                ins(
                    "cron_jobs",
                    store_key=store,
                    job_id=self.uuid(),
                    declaration_key=k,
                    name=k,
                    enabled=1,
                    agent_id=self.agents[0],
                    payload_kind=kind,
                    job_json=dumps({"declarationKey": k, "name": k}),
                    state_json="{}",
                    sort_order=99,
                    updated_at=self.now,
                )
        for p in subs:
            out = None if p.status == "running" else {"status": p.status, "startedAt": p.start, "endedAt": p.last, "elapsedMs": p.last - p.start}
            if mid:
                ins(
                    "subagent_runs",
                    run_id=p.run_id,
                    child_session_key=p.key,
                    controller_session_key=p.parent,
                    requester_session_key=p.parent,
                    requester_display_key=p.parent,
                    task=f"task of {p.label}",
                    cleanup="keep",
                    label=p.label,
                    model=p.models[0].name,
                    created_at=p.start - 50,
                    started_at=p.start,
                    ended_at=None if out is None else p.last,
                    outcome_json=dumps(out) if out else None,
                    ended_reason="subagent-complete" if out else None,
                    payload_json="{}",
                )
            else:
                pay = {
                    "runId": p.run_id,
                    "childSessionKey": p.key,
                    "controllerSessionKey": p.parent,
                    "requesterSessionKey": p.parent,
                    "task": f"task of {p.label}",
                    "label": p.label,
                    "createdAt": p.start - 50,
                    "execution": {
                        "status": "running" if out is None else "terminal",
                        "startedAt": p.start,
                        **({} if out is None else {"endedAt": p.last, "outcome": out}),
                    },
                }
                ins(
                    "subagent_runs",
                    run_id=p.run_id,
                    child_session_key=p.key,
                    controller_session_key=p.parent,
                    requester_session_key=p.parent,
                    created_at=p.start - 50,
                    payload_json=dumps(pay),
                )
            ins(
                "task_runs",
                task_id=self.uuid(),
                runtime="subagent",
                source_id=p.run_id,
                requester_session_key=p.parent,
                owner_key=p.parent,
                scope_kind="session",
                child_session_key=p.key,
                agent_id=p.agent,
                run_id=p.run_id,
                label=p.label,
                task=f"task of {p.label}",
                status={"ok": "succeeded", "error": "failed", "timeout": "timed_out", "running": "running"}[p.status],
                delivery_status="delivered",
                notify_policy="done_only",
                created_at=p.start - 50,
                started_at=p.start,
                ended_at=None if out is None else p.last,
            )
        for i in range(4):
            ins(
                "delivery_queue_entries",
                queue_name="outbound",
                id=self.uuid(),
                status="failed" if i == 3 else "pending",
                channel="telegram",
                target="123",
                retry_count=i,
                last_error="ETIMEDOUT" if i else None,
                entry_json="{}",
                enqueued_at=self.now - 60_000 * i,
                updated_at=self.now,
                failed_at=self.now if i == 3 else None,
            )
        for s in indexes + triggers:
            db.execute(s)
        db.commit()
        close_db(db, 1 if mid else 18)

    def config_obj(self) -> dict[str, Any]:
        prov: dict[str, Any] = {}
        for m in self.all_models:
            if m.provider in ("acme", "nebula", "ollama"):
                d = prov.setdefault(
                    m.provider, {"baseUrl": "http://127.0.0.1:9/v1", "apiKey": self.secret(f"sk-{m.provider}"), "api": m.api, "models": []}
                )
                o: dict[str, Any] = {"id": m.id, "name": m.id, "reasoning": False, "input": ["text"], "contextWindow": 200000, "maxTokens": 8192}
                if m.kind == "priced":
                    o["cost"] = dict(zip(("input", "output", "cacheRead", "cacheWrite"), m.price))
                d["models"].append(o)
        ag: dict[str, Any] = {
            "defaults": {"workspace": str(self.workspace(self.agents[0])), "model": {"primary": self.models[0].name}, "heartbeat": {"every": "30m"}}
        }
        one = lambda x, i: {"workspace": str(self.workspace(x)), "model": {"primary": self.models[i % len(self.models)].name}}
        if self.era == "upgraded" or self.era == "sqlite" and self.a.seed % 3:
            ag["defaults"]["systemAgent"] = {"agentId": self.agents[0]}
            ag.update(ownership="explicit", entries={x: one(x, i) for i, x in enumerate(self.agents)})
        else:
            ag["list"] = [{"id": x, **({"default": True} if i == 0 else {}), **one(x, i)} for i, x in enumerate(self.agents)]
        return {
            "meta": {"lastTouchedVersion": {"jsonl-feb": "2026.2.12", "jsonl-mid": "2026.6.11"}.get(self.era, "2026.9.6")},
            "gateway": {"mode": "local", "port": self.a.gateway_port, "bind": "loopback", "auth": {"mode": "token", "token": self.secret("tok")}},
            "models": {"mode": "merge", "providers": prov},
            "agents": ag,
            "channels": {
                "telegram": {"enabled": True, "botToken": self.secret("123456:tg")},
                "discord": {"enabled": True, "token": self.secret("dc")},
                "slack": {"enabled": True, "botToken": self.secret("xoxb")},
            },
            "logging": {"level": "info"},
        }

    def secret(self, pre: str) -> str:
        """A canary that must never show up in anything the reader outputs."""
        s = f"{pre}-CANARY-{self.bits(96):024x}"
        self.secrets.append(s)
        return s

    def write_config(self) -> None:
        o = self.config_obj()
        text = json.dumps(o, indent=2, ensure_ascii=False)
        if self.a.seed % 2:  # JSON5: comments, unquoted keys, single quotes, trailing commas, env reference
            text = text.replace('  "gateway": {', "  // the gateway; 'token' may come from ${OPENCLAW_GATEWAY_TOKEN}\n  gateway: {")
            text = text.replace('    "mode": "local",', "    mode: 'local', /* \"usage\": not here */")
            text = text.replace('"level": "info"\n  }\n}', '"level": \'info\',\n  },\n}\n// end, "quoted"')
        (self.oc / "openclaw.json").write_text(text, encoding="utf-8")
        if self.era != "jsonl-feb":
            (self.oc / "openclaw.json.last-good").write_text(json.dumps(o, indent=2), encoding="utf-8")
        for x in self.agents:
            d = self.oc / "agents" / x / "agent"
            d.mkdir(parents=True, exist_ok=True)
            if self.era != "sqlite":
                (d / "models.json").write_text(json.dumps({"providers": o["models"]["providers"]}, indent=2))
                (d / "auth-profiles.json").write_text(
                    json.dumps(
                        {"version": 1, "profiles": {"anthropic:default": {"type": "api_key", "provider": "anthropic", "key": self.secret("sk-ant")}}}
                    )
                )

    def write_misc(self) -> None:
        for x in self.agents:
            w = self.workspace(x)
            (w / "memory").mkdir(parents=True, exist_ok=True)
            for n in ("AGENTS", "SOUL", "TOOLS", "IDENTITY", "USER", "HEARTBEAT", "MEMORY"):
                (w / f"{n}.md").write_text(f"# {n}\n\n{self.text(400)}\n", encoding="utf-8")
            for i in range(5):
                (w / "memory" / f"{iso(self.now - i * 86_400_000)[:10]}.md").write_text(f"- {self.text(300)}\n", encoding="utf-8")
        if not self.sql:
            for n, o in (("paired", {"dev1": {"token": self.secret("dev"), "role": "operator"}}), ("pending", {})):
                (self.oc / "devices").mkdir(exist_ok=True)
                (self.oc / "devices" / f"{n}.json").write_text(json.dumps(o))
        if self.era == "upgraded":
            d = self.oc / "session-sqlite-migration-runs"
            d.mkdir()
            (d / f"session-sqlite-{self.upgrade_ms}-00000000.json").write_text(
                json.dumps(
                    {
                        "manifestVersion": 3,
                        "openClawVersion": "2026.9.6",
                        "startedAt": iso(self.upgrade_ms),
                        "targets": [{"agentId": x} for x in self.agents],
                    }
                )
            )

    def write_logs(self) -> None:
        """logs/openclaw-<date>.log in the tslog format of the era."""
        self.log_levels: Counter = Counter()
        subs = ["gateway", "gateway/ws", "gateway/heartbeat", "agent/embedded", "cron", "telegram", "memory"]
        for back in (1, 0):
            day = self.now // 86_400_000 - back
            with open(self.root / "logs" / f"openclaw-{iso(day * 86_400_000)[:10]}.log", "w", encoding="utf-8") as f:
                for k in range(200):
                    t = day * 86_400_000 + k * 400_000
                    if t > self.now:
                        break
                    lv = self.rng.choices([("INFO", 3), ("WARN", 4), ("ERROR", 5), ("DEBUG", 2)], [80, 10, 5, 5])[0]
                    self.log_levels[lv[0]] += 1
                    sub = json.dumps({"subsystem": self.rng.choice(subs)}, separators=(",", ":"))
                    msg = HOSTILE[k % len(HOSTILE)] if "hostile" in self.traps and k % 50 == 0 else self.text(60)
                    rec: dict[str, Any] = {
                        "0": sub,
                        "1": msg,
                        "_meta": {
                            "runtime": "node",
                            "runtimeVersion": "24.21.0",
                            "hostname": "vm",
                            "name": sub,
                            "parentNames": ["openclaw"],
                            "date": iso(t),
                            "logLevelId": lv[1],
                            "logLevelName": lv[0],
                            "path": {"fileName": "entry.js", "fileLine": "1165", "method": "logToFile"},
                        },
                    }
                    if self.era == "jsonl-feb":
                        rec["time"] = iso(t)
                    else:
                        rec.update(
                            time=iso(t)[:-1] + "+00:00",
                            hostname="vm",
                            message=msg,
                            traceId="%032x" % self.bits(128),
                            spanId="%016x" % self.bits(64),
                            traceFlags="01",
                        )
                    f.write(dumps(rec) + "\n")

    # ---- truth ------------------------------------------------------------------------------------------------------------
    def write_truth(self) -> None:
        T, a = self.truth, self.a
        out = T.render()
        z = [0] * 8
        keymap = {k: p.key for p in self.plans for k in [p.sid]}
        out["sessions"] = {
            p.sid: {
                "agent": p.agent,
                "key": p.key,
                "key_on_disk": self.key_on_disk(p),
                "kind": p.kind,
                "cause": p.cause,
                "channel": p.channel,
                "stored_as": p.where,
                "first_ms": p.first,
                "last_ms": p.last,
                **({"fork_of": p.fork_of.sid} if p.fork_of else {}),
            }
            for p in sorted(self.plans, key=lambda p: p.sid)
        }
        out["subagents"] = sorted(
            (
                {
                    "run_id": p.run_id,
                    "child_session_key": p.key,
                    "parent_session_key": p.parent,
                    "depth": p.depth,
                    "status": p.status,  # type: ignore[attr-defined]
                    "agent": p.agent,
                    "cost_usd": usd(T.by["session_key"].get(p.key, z)[6]),
                }
                for p in self.plans
                if p.kind == "subagent"
            ),
            key=lambda s: s["run_id"],
        )
        jobs = []
        for j in self.jobs:
            c = Counter(r["status"] for r in self.runs(j))
            jobs.append(
                {
                    "job_id": j["id"],
                    "name": j["name"],
                    "agent": j["agent"],
                    "enabled": j["enabled"],
                    "in_store": not j["removed"],
                    "runs": sum(c.values()),
                    "runs_by_status": dict(sorted(c.items())),
                    **totals(T.by["cron_job"].get(j["id"], z)),
                }
            )
        out["cron_jobs"] = sorted(jobs, key=lambda j: j["job_id"])
        out["cron_builtin_jobs"] = 2 if self.sql else 0
        out["delivery_queue"] = {"pending": 3, "failed": 1}
        out["log_lines_by_level"] = dict(sorted(self.log_levels.items()))
        out["config_prices_usd_per_mtok"] = {
            m.name: dict(zip(("input", "output", "cacheRead", "cacheWrite"), m.price))
            for m in self.all_models
            if m.provider == "acme" and m.kind == "priced"
        }
        out["list_prices_usd_per_mtok_used"] = {m.name: m.price for m in PRICED}
        out["canary_secrets"] = self.secrets
        if "dst" in self.traps:
            wrong = {}
            for zn in TZS[1:]:
                tz = ZoneInfo(zn)
                off = datetime.fromtimestamp(self.now / 1000, tz).utcoffset()
                wrong[zn] = sum(
                    v[0]
                    for s, v in T.slots.items()
                    if datetime.fromtimestamp(s * SLOT / 1000, tz).date() != (datetime.fromtimestamp(s * SLOT / 1000, timezone.utc) + off).date()
                )  # type: ignore[operator]
            out["traps"]["dst"]["naive_calls_on_wrong_day_with_todays_offset"] = wrong
        out["meta"] = {
            "era": self.era,
            "seed": a.seed,
            "agents": self.agents,
            "now_ms": self.now,
            "upgrade_ms": self.upgrade_ms or None,
            "args": {k: v for k, v in sorted(vars(a).items()) if k not in ("out", "schemas")},
            "events_bytes": self.nbytes,
            "sessions": len(keymap),
            "home": ".openclaw",
            "rules": {
                "call": "unique event with type=message, message.role=assistant, usage object, not provider=openclaw",
                "dedup": "(id, message.timestamp, usage) over all files, rows and archives",
                "copied_call_belongs_to": "the session with the earliest header timestamp",
                "cost": "sum of round-half-even(usage.cost.total*1e9)",
                "total_tokens": "input+output+cacheRead+cacheWrite",
                "by_day": "local date of the outer event timestamp (append time); by_day_request_start uses message.timestamp",
                "session_key": "longest key known on disk for the session id (index, windows, cron run records, archives); (none) when there is none",
                "cause": "heartbeat (turn starts with the heartbeat prompt) > cron > subagent > user; unknown when the key is lost",
                "unpriced": "tokens > 0 and no cost object or cost.total == 0",
            },
        }
        (self.root / "truth.json").write_text(json.dumps(out, indent=1, ensure_ascii=False), encoding="utf-8")


# ---- SQLite -----------------------------------------------------------------------------------------------------------------
def load_ddl(path: Path) -> tuple[list[str], list[str], list[str]]:
    """Split a .sql dump of a real database into (tables, indexes, triggers); FTS shadow tables are made by CREATE VIRTUAL."""
    tables, indexes, triggers, buf = [], [], [], ""
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if not buf.strip() and line.startswith("--"):
            continue
        buf += line
        if line.rstrip().endswith(";") and sqlite3.complete_statement(buf):
            s, buf = buf.strip(), ""
            if s.startswith("CREATE TRIGGER"):
                triggers.append(s)
            elif "INDEX" in s.split("(")[0]:
                indexes.append(s)
            elif not (s.startswith("CREATE TABLE '") or s.startswith("CREATE TABLE sqlite_")):
                tables.append(s)
    tables.sort(key=lambda s: s.startswith("CREATE VIRTUAL"))
    return tables, indexes, triggers


def open_db(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, isolation_level=None)
    db.create_function("octet_length", 1, lambda s: None if s is None else len(s.encode() if isinstance(s, str) else s), deterministic=True)
    for pr in ("auto_vacuum=2", "journal_mode=MEMORY", "synchronous=OFF", "cache_size=-32768"):
        db.execute("PRAGMA " + pr)
    db.execute("BEGIN")
    return db


def close_db(db: sqlite3.Connection, version: int) -> None:
    """Set the version, switch to WAL and close."""
    if db.in_transaction:
        db.execute("COMMIT")
    db.execute(f"PRAGMA user_version={version}")
    db.execute("PRAGMA journal_mode=WAL")
    db.close()


OLD_EVENTS = """CREATE TABLE transcript_events (
  session_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  event_json TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (session_id, seq),
  FOREIGN KEY (session_id) REFERENCES "session_windows"(session_id) ON DELETE CASCADE
) STRICT;"""


class AgentDb:
    """One agents/<id>/agent/openclaw-agent.sqlite."""

    def __init__(self, home: Home, agent: str, variant: str) -> None:
        if zstandard is None:
            sys.exit("the SQLite eras need: pip install zstandard")
        self.h, self.agent, self.variant = home, agent, variant
        self.version = {"normal": 23, "future": 99, "old": 22}[variant]
        self.path = home.oc / "agents" / agent / "agent" / "openclaw-agent.sqlite"
        self.db = open_db(self.path)
        tables, self.indexes, self.triggers = load_ddl(Path(home.a.schemas) / "latest-agent.sql")
        for s in tables:
            if variant == "old" and s.startswith("CREATE TABLE transcript_events"):
                s = OLD_EVENTS
            self.db.execute(s)
        if variant == "future":
            self.db.execute("ALTER TABLE transcript_events ADD COLUMN event_flags INTEGER DEFAULT 0")
            self.db.execute("ALTER TABLE session_windows ADD COLUMN tenant_id TEXT")
            self.db.execute("CREATE TABLE usage_ledger(id TEXT PRIMARY KEY, session_id TEXT, usage_json TEXT) STRICT")
        self.next_seq: dict[str, int] = {}
        self.held: list[tuple[str, Ev]] = []
        self.zc = zstandard.ZstdCompressor(level=1)
        self.rows(
            "schema_meta",
            ("meta_key", "role", "schema_version", "agent_id", "app_version", "created_at", "updated_at"),
            [("primary", "agent", self.version, agent, "2026.9.6", home.t0, home.now)],
        )

    def rows(self, table: str, cols: tuple[str, ...], rows: list[tuple], replace: bool = False) -> None:
        self.db.executemany(f"INSERT {'OR REPLACE ' if replace else ''}INTO {table}({','.join(cols)}) VALUES({','.join('?' * len(cols))})", rows)

    def window(self, p: Plan, key: str, m: Model) -> None:
        reason = "fork" if p.fork_of else None
        self.rows(
            "session_windows",
            (
                "session_id",
                "session_key",
                "reason",
                "created_at",
                "updated_at",
                "transcript_updated_at",
                "transcript_observed_at",
                "session_entry_provenance",
                "started_at",
                "ended_at",
                "status",
                "chat_type",
                "channel",
                "model_provider",
                "model",
                "agent_harness_id",
                "parent_session_key",
                "spawned_by",
            ),
            [
                (
                    p.sid,
                    key,
                    reason,
                    p.first,
                    p.last,
                    p.last,
                    p.last,
                    1,
                    p.last - 4000,
                    p.last,
                    self.h.node_status(p),
                    p.chat_type,
                    p.channel,
                    m.provider,
                    m.id,
                    "openclaw",
                    p.parent,
                    p.parent if p.kind == "subagent" else None,
                )
            ],
        )
        self.rows("transcript_rewrite_watermarks", ("session_id", "generation", "updated_at"), [(p.sid, "%032x" % self.h.bits(128), p.last)])
        self.rows("session_transcript_index_state", ("session_id", "indexed_seq", "updated_at"), [(p.sid, self.next_seq[p.sid] - 1, p.last)])

    @staticmethod
    def navigation(eid: str, etype: str, par: Optional[str], t: int, role: Optional[str], size: int) -> str:
        """navigation_json of a compressed row: ids and role only, never the usage."""
        b = f'"type":"{etype}","id":"{eid}","parentId":{json.dumps(par)},"timestamp":"{iso(t)}"'
        r = json.dumps(role)
        return (
            f'{{"version":1,"report":{{"kind":"canonical","hasParentId":true,"entry":{{{b}}}}},"navigation":{{{b},"message":{{"role":{r}}}}},'
            f'"reset":{{{b},"message":{{"role":{r}}}}},"model":{{{b},"message":{{"role":{r},"content":[]}}}},"modelBytes":{size},'
            f'"modelWithoutCheckpointBytes":{size},"withoutCustomDataBytes":{size}}}'
        )

    def raw_events(self, rows: list[tuple]) -> None:
        """(sid, seq, json, zstd, bytes, navigation, created)"""
        if self.variant == "old":
            self.db.executemany(
                "INSERT INTO transcript_events(session_id,seq,event_json,created_at) VALUES(?,?,?,?)", [(r[0], r[1], r[2], r[6]) for r in rows]
            )
        else:
            self.db.executemany(
                "INSERT INTO transcript_events(session_id,seq,event_json,event_zstd,event_utf8_bytes,navigation_json,created_at) VALUES(?,?,?,?,?,?,?)",
                rows,
            )

    def add_events(self, sid: str, evs: Iterable[Ev], hold: int = 0) -> None:
        """Insert a transcript; with hold, the last events wait for finish() (they go to the WAL)."""
        if hold:
            evs = self.keep_tail(sid, evs, hold)
        seq = self.next_seq.get(sid, 0)
        share = self.h.a.zstd_share if "zstd_rows" in self.h.traps and self.variant != "old" else 0.0
        rnd, zc, T = self.h.rnd, self.zc, self.h.truth
        ev_rows: list[tuple] = []
        id_rows: list[tuple] = []
        size = 0
        roles = {"a": "assistant", "g": "assistant", "u": "user", "t": "toolResult", "c": "custom"}
        for ev in evs:
            line, eid, etype, par, t, idem, w = ev
            n = len(line) if line.isascii() else len(line.encode())
            blob = None
            if n >= 1024 and share and rnd() < share and n <= 4_000_000:
                blob = zc.compress(line.encode())
                if len(blob) > n * 0.9:
                    blob = None
            if blob is None:
                ev_rows.append((sid, seq, line, None, n, None, t))
            else:
                role = roles.get(w[0], w[-1]) if w else None
                ev_rows.append((sid, seq, None, blob, n, self.navigation(eid, etype, par, t, role, n), t))
                call = w is not None and w[0] == "a"
                T.trap("zstd_rows", 1, int(call))
                if call:
                    T.naive("zstd_rows", "reads event_json only", -1, [w])
            id_rows.append((sid, eid, seq, etype, par, idem, t))
            seq += 1
            size += n
            if len(ev_rows) >= 2000 or n > 1_000_000:
                self.flush(ev_rows, id_rows)
        self.flush(ev_rows, id_rows)
        self.next_seq[sid] = seq
        self.h.nbytes += size

    def keep_tail(self, sid: str, evs: Iterable[Ev], hold: int) -> Iterator[Ev]:
        """Pass all but the last `hold` events; those wait in self.held."""
        tail: deque[Ev] = deque()
        for e in evs:
            tail.append(e)
            if len(tail) > hold:
                yield tail.popleft()
        self.held += [(sid, e) for e in tail]

    def flush(self, ev_rows: list[tuple], id_rows: list[tuple]) -> None:
        self.raw_events(ev_rows)
        self.db.executemany(
            "INSERT OR IGNORE INTO transcript_event_identities(session_id,event_id,seq,event_type,parent_id,message_idempotency_key,created_at) "
            "VALUES(?,?,?,?,?,?,?)",
            id_rows,
        )
        ev_rows.clear()
        id_rows.clear()

    def finish(self, leave_wal: bool) -> None:
        """Indexes, triggers, WAL. With leave_wal the newest rows are committed by a child process that exits without closing,
        so they exist only in the -wal file."""
        for s in self.indexes + self.triggers:
            self.db.execute(s)
        close_db(self.db, self.version)
        if not self.held:
            return
        if not leave_wal:
            raise AssertionError("held rows without --leave-wal")
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                self.db = sqlite3.connect(self.path, isolation_level=None)
                self.db.create_function("octet_length", 1, lambda s: None if s is None else len(s.encode()), deterministic=True)
                self.db.execute("PRAGMA wal_autocheckpoint=0")
                self.db.execute("BEGIN")
                by: dict[str, list[Ev]] = defaultdict(list)
                for sid, e in self.held:
                    by[sid].append(e)
                share, self.h.a.zstd_share = self.h.a.zstd_share, 0.0
                for sid, es in by.items():
                    self.add_events(sid, es)
                self.h.a.zstd_share = share
                self.db.execute("COMMIT")
                code = 0
            finally:
                os._exit(code)
        if os.waitpid(pid, 0)[1]:
            raise RuntimeError("WAL writer failed")


def parse_args(argv: Optional[list[str]] = None) -> argparse.Namespace:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", help="folder to write (OUT/.openclaw is replaced)")
    ap.add_argument("--era", choices=("jsonl-feb", "jsonl-mid", "sqlite", "upgraded"), default="sqlite")
    ap.add_argument("--agents", type=int, default=4, help="3 or more for the schema traps")
    ap.add_argument("--sessions", type=int, default=40, help="ordinary sessions; trap sessions come on top")
    ap.add_argument("--messages", type=int, default=2000, help="messages in ordinary sessions; trap sessions come on top")
    ap.add_argument("--bytes", type=int, default=1500, help="mean bytes of a message line")
    ap.add_argument("--days", type=float, default=40)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--now", type=float, default=1793966400.0, help="epoch seconds of 'now'; default 2026-11-06T12:00Z, just after both DST changes")
    ap.add_argument("--traps", default="all", help="all | none | comma list of: " + " ".join(TRAPS))
    ap.add_argument("--zstd-share", type=float, default=0.3, help="share of the rows >= 1 KiB that is compressed")
    ap.add_argument("--huge-bytes", type=int, default=20_000_000, help="size of the huge line")
    ap.add_argument("--gateway-port", type=int, default=45789, help="written into the config; the default is not a real gateway's, on purpose")
    ap.add_argument("--leave-wal", action="store_true", help="SQLite eras: leave the newest rows only in the -wal file")
    ap.add_argument(
        "--schemas", default=str(Path(__file__).resolve().parent / "schemas"), help="folder with latest-agent.sql, latest-state.sql, mid-state.sql"
    )
    a = ap.parse_args(argv)
    names = list(TRAPS) if a.traps == "all" else [] if a.traps == "none" else [t.strip() for t in a.traps.split(",") if t.strip()]
    if a.sessions < 1 or a.agents < 1 or a.messages < 2:
        ap.error("need at least 1 agent, 1 session and 2 messages")
    bad = set(names) - set(TRAPS)
    if bad:
        ap.error(f"unknown traps: {', '.join(sorted(bad))}")
    a.traps = names
    return a


def main() -> None:
    a = parse_args()
    t = time.monotonic()
    h = Home(a)
    h.make()
    T = totals(h.truth.total)
    print(
        json.dumps(
            {
                "out": str(h.root),
                "era": a.era,
                "seconds": round(time.monotonic() - t, 1),
                "event_bytes": h.nbytes,
                "sessions": len(h.plans),
                "messages": sum(h.truth.roles.values()),
                "model_calls": T["model_calls"],
                "total_tokens": T["total_tokens"],
                "cost_usd": T["cost_usd"],
            }
        )
    )


if __name__ == "__main__":
    main()
