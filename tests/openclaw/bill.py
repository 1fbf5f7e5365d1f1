#!/usr/bin/env python3
"""What OpenClaw should have written down, told from the mock provider's bill alone.

    bill.py HOME/.lab/mock.jsonl [latest|mid|feb]

No transcript is looked at: everything follows from the requests (`--log` of mock_provider.py).
How each row of the bill is told apart, seen with OpenClaw 2026.9.6 (every claim was checked by
joining the bill and the transcripts on the provider's response id; nothing was left over):

kind          | recognised by                                               | transcript row
--------------|-------------------------------------------------------------|---------------------------
turn          | has tools, and a Runtime line naming agent (and session)     | yes, with these counts
  failed      |  … answered with an HTTP error                              | one per run that gave up: zero
              |                                                             | counts; a retry leaves none
  cut         |  … the client hung up before the counts came (abort)        | none with counts (2026.9.6)
memory_flush  | Runtime session `…:internal-session-effects:…`              | none
slug          | Runtime session `…:helper:incognito-slug-generator-…`       | none
compaction    | system prompt "You are a context summarization assistant."  | none
title         | system prompt "Generate a concise session title"            | none
recap         | system prompt "Write an Activity recap"                     | none
anything else | -                                                           | not known: UnknownBill

2026.6.11 (`mid`) and 2026.2.12 (`feb`) were checked, too: counts_of() has what they write
differently; the Runtime line stands in their system prompt, in feb without the session.
`sessions.compact{maxLines}` deletes rows for good, which no request shows: a reader that was there
before has them, one that comes later has not. They are in the visible bill.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

HIDDEN_BY_SESSION = (
    (":internal-session-effects:", "memory_flush"),
    (":helper:incognito-slug-generator-", "slug"),
)
HIDDEN_BY_SYSTEM = (
    ("You are a context summarization assistant", "compaction"),
    ("Generate a concise session title", "title"),
    ("Write an Activity recap", "recap"),
)
#: Nano-USD per token of the models that make_config.py prices (3, 15, 0.3 and 3.75 USD per million).
NANO = (3000, 15000, 300, 3750)
PRICED = ("mock-priced", "mock-claude")
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


GROUPS = ("agent", "model", "provider", "session", "cron_job", "cause")


class UnknownBill(Exception):
    """A request of a kind that nobody has looked at yet: find out whether it leaves a row."""


def kind_of(row: dict[str, Any]) -> str:
    """`turn`, or the errand that a request was for."""
    session = row["runtime"].get("session", "")
    for part, kind in HIDDEN_BY_SESSION:
        if part in session:
            return kind
    for start, kind in HIDDEN_BY_SYSTEM:
        if row["system"].startswith(start):
            return kind
    if row["tools"] and "agent" in row["runtime"]:
        return "turn"
    msg = f"what is this request? {json.dumps(row)[:1500]}"
    raise UnknownBill(msg)


def run_of(row: dict[str, Any]) -> str:
    """What attempts of one run have in common: the session as far as the request names it.

    Cron runs name their job's key and no session id; early 2026 names the agent only.
    """
    run = row["runtime"]
    return str(run.get("sessionId") or run.get("session") or run["agent"])


def counts_of(row: dict[str, Any], generation: str) -> list[int]:
    """The four counts as that generation of OpenClaw writes them."""
    fresh, out, read, write = row["usage"]
    if provider_of(row) == "mock":
        if generation != "latest":  # cache_write_tokens is not looked at: the prompt stays whole
            fresh, write = fresh + write, 0
        if generation == "feb":  # reasoning is added to an output that contains it already
            out += row["reasoning"]
    return [fresh, out, read, write]


def provider_of(row: dict[str, Any]) -> str:
    """The provider's name in make_config.py: each speaks its own API."""
    return "mockanthropic" if row["path"].split("?")[0].endswith("/messages") else "mock"


def cause_of(session_key: str) -> str:
    if ":cron:" in session_key:
        return "cron"
    return "subagent" if ":subagent:" in session_key else "user"


def nothing() -> dict[str, int]:
    keys = ("model_calls", *TOKENS, "total_tokens", "cost_nano_usd", "unpriced_calls")
    return dict.fromkeys(keys, 0)


def add(totals: dict[str, int], row: dict[str, Any], counts: list[int]) -> None:
    totals["model_calls"] += 1
    for name, n in zip(TOKENS, counts, strict=True):
        totals[name] += n
    totals["total_tokens"] += sum(counts)
    if row["model"] in PRICED:
        totals["cost_nano_usd"] += sum(n * price for n, price in zip(counts, NANO, strict=True))
    elif sum(counts):
        totals["unpriced_calls"] += 1


def read(mock_log: Path) -> list[dict[str, Any]]:
    """The rows of a bill in the order in which the calls began."""
    with mock_log.open(encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    return sorted(rows, key=lambda r: r["ts"])


def gave_up(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of every run that ended in an error the last attempt: the one that leaves a row.

    Attempts of one run follow each other in their session with the same directives. A 400 is not
    tried again, so two in a row are two runs.
    """
    by_session: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in turns:
        by_session[run_of(row)].append(row)
    last = []
    for rows in by_session.values():
        for row, following in zip(rows, [*rows[1:], None], strict=True):
            retried = (
                following is not None
                and row["status"] != 400
                and following["prompt"] == row["prompt"]
                and following["rounds"] == row["rounds"]
            )
            if row["status"] != 200 and not retried:
                last.append(row)
    return last


def visible_bill(mock_log: Path, generation: str = "latest") -> dict[str, Any]:
    """What the transcripts of a home should add up to.

    `totals`, and the same `by_agent`, `by_model`, `by_provider`, `by_session` (session id; cron runs
    do not tell theirs) and `by_cron_job` (both from `mid` on) and `by_cause` (`latest`): model_calls, the four token counts and their sum,
    cost_nano_usd as OpenClaw computes it from make_config.py's prices, unpriced_calls. Then what
    is not in them: `hidden` (errands, by kind: calls and tokens), `cut` (aborted turns) and
    `retries` (attempts without a row). `response_ids` are those of the visible calls with counts,
    `session_keys` the key by session id. Raises UnknownBill.
    """
    rows = read(mock_log)
    kinds = [kind_of(r) for r in rows]
    turns = [r for r, kind in zip(rows, kinds, strict=True) if kind == "turn"]
    errors = gave_up(turns)
    answered = [r for r in turns if r["status"] == 200 and r["delivered"]]
    cut = [r for r in turns if r["status"] == 200 and not r["delivered"]]
    # 2026.6 writes a row with zero counts for an aborted call, 2026.2 and 2026.9 write none.
    empty = [*errors, *(cut if generation == "mid" else [])]
    out: dict[str, Any] = {"totals": nothing()}
    by = {name: defaultdict(nothing) for name in GROUPS}
    counted = [(r, counts_of(r, generation)) for r in answered] + [(r, [0] * 4) for r in empty]
    for row, counts in counted:
        add(out["totals"], row, counts)
        add(by["agent"][row["runtime"]["agent"]], row, counts)
        add(by["model"][row["model"]], row, counts)
        add(by["provider"][provider_of(row)], row, counts)
        session = row["runtime"].get("session", "")
        add(by["cause"][cause_of(session)], row, counts)
        if "sessionId" in row["runtime"]:
            add(by["session"][row["runtime"]["sessionId"]], row, counts)
        cron = re.search(r":cron:([^:]+)", session)
        if cron:
            add(by["cron_job"][cron.group(1)], row, counts)
    if generation != "latest":  # deleted and orphaned sessions have lost their key on disk
        del by["cause"]
    if generation == "feb":
        del by["session"], by["cron_job"]
    out.update({f"by_{name}": dict(groups) for name, groups in by.items()})
    hidden: dict[str, Counter[str]] = defaultdict(Counter)
    for row, kind in zip(rows, kinds, strict=True):
        if kind != "turn" and row["usage"]:
            hidden[kind].update(calls=1, total_tokens=sum(row["usage"]))
    out["hidden"] = {k: dict(v) for k, v in sorted(hidden.items())}
    out["cut"] = {"calls": len(cut), "total_tokens": sum(sum(r["usage"]) for r in cut)}
    out["retries"] = sum(1 for r in turns if r["status"] != 200) - len(errors)
    out["response_ids"] = sorted(r["response_id"] for r in answered)
    runs = [r["runtime"] for r in turns]
    out["session_keys"] = {r["sessionId"]: r["session"] for r in runs if "sessionId" in r}
    return out


def main() -> None:
    bill = visible_bill(Path(sys.argv[1]), *sys.argv[2:])
    bill["response_ids"] = len(bill["response_ids"])
    print(re.sub(r"\n {4,}", " ", json.dumps(bill, indent=2)))


if __name__ == "__main__":
    main()
