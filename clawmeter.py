"""Clawmeter: what OpenClaw agents cost, do and break, in one module.

    clawmeter                      serve the page on http://127.0.0.1:3377 and follow OpenClaw
    clawmeter report --by model    cost and usage in the terminal
    clawmeter doctor               what was found, what cannot be read, what to do
    clawmeter demo                 all of it on a made-up home
    clawmeter --help               everything else

It reads the transcripts of every agent, in every format since early 2026, into a ledger of its own (SQLite), in which
each model call is counted once and stays for good. It never writes to OpenClaw's files and calls no other host.

Sections, each using only those above it:

    Imports and constants
    Errors
    Settings
    Time, money and text
    OpenClaw home
    Event model
    Pricing
    Store
    Source: session transcripts
    Source: gateway
    Queries
    Exports
    Access
    Live stream
    Application object
    HTTP API
    Demo home
    Command line
    Web UI
"""
###############################################################################
# Imports and constants #######################################################
###############################################################################
# Only what reading needs is imported here: flask, cheroot, watchdog, rich and
# the rest are imported where they are used, so that `clawmeter ingest` and its
# worker processes start in a tenth of a second and stay small.

from __future__ import annotations

import argparse
import array
import bisect
import contextlib
import csv
import gc
import hashlib
import hmac
import io
import json
import logging
import marshal
import math
import operator
import os
import queue
import random
import re
import secrets
import selectors
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import urllib.parse
from calendar import monthrange
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, TextIO, TypeVar, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import orjson
import pyjson5
import zstandard

if TYPE_CHECKING:
    from concurrent.futures import Future
    from http.client import HTTPConnection

    from flask import Flask, Request, Response

VERSION = "0.1.0"
__version__ = VERSION

log = logging.getLogger("clawmeter")

Json = dict[str, Any]
T = TypeVar("T")

NANO = 10**9
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
#: Every UTC offset in use since 1972 is a multiple of 15 minutes, so slots of this
#: length never straddle a local midnight or a local hour of any zone.
SLOT_MS = 900_000
NONE_KEY = "(none)"


###############################################################################
# Errors ######################################################################
###############################################################################
# One base class; a message says what was tried on what, and what to do about it.


class ClawmeterError(Exception):
    """Base of every error that Clawmeter raises on purpose; its text is meant for the user."""


class SettingsError(ClawmeterError):
    """A flag, variable or settings file that cannot be used."""


class HomeNotFound(ClawmeterError):  # noqa: N818 - reads as the sentence it is
    """No OpenClaw home where we looked."""


class SourceError(ClawmeterError):
    """A file or database of OpenClaw that cannot be read now."""


class StoreError(ClawmeterError):
    """The ledger cannot be opened or written."""


class LedgerBusyError(StoreError):
    """Another Clawmeter process holds the ledger."""


class QueryError(ClawmeterError):
    """A question that cannot be answered: `code` for programs, text for people, HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


###############################################################################
# Settings ####################################################################
###############################################################################
# One table says which settings exist. Order of authority: flag, environment,
# `.env` (state directory or --env-file), clawmeter.toml, default.


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of SETTINGS: where a value may come from, what it is, and its default."""

    name: str
    env: tuple[str, ...]
    kind: str  # text | int | float | bool | path | list
    default: Any
    help: str
    choices: tuple[str, ...] = ()


SETTINGS: tuple[Setting, ...] = (
    Setting("host", ("CLAWMETER_HOST",), "text", "127.0.0.1", "address to listen on"),
    Setting("port", ("CLAWMETER_PORT", "PORT"), "int", 3377, "port to listen on; 0 takes any free one"),
    Setting("lan", ("CLAWMETER_LAN",), "bool", False, "listen on all interfaces"),
    Setting("state_dir", ("CLAWMETER_STATE",), "path", None, "where the ledger, tokens and clawmeter.toml live (default: $XDG_STATE_HOME/clawmeter, else ~/.local/state/clawmeter)"),
    Setting("db", ("CLAWMETER_DB",), "path", None, "the ledger file itself, if it is to live elsewhere than in the state directory"),
    Setting("history", ("CLAWMETER_HISTORY",), "bool", True, "keep the ledger between runs; without it, a private temporary file"),
    Setting("agents_dir", ("OPENCLAW_AGENTS_DIR",), "path", None, "an OpenClaw `agents` folder, when it is not inside a home"),
    Setting("time_zone", ("CLAWMETER_TZ", "TZ"), "text", None, "IANA zone whose days are used (default: the machine's)"),
    Setting("token", ("CLAWMETER_TOKEN",), "text", None, "dashboard token, instead of the one made on first start"),
    Setting("token_file", ("CLAWMETER_TOKEN_FILE",), "path", None, "file with the dashboard token"),
    Setting("allowed_hosts", ("CLAWMETER_ALLOWED_HOSTS",), "list", (), "further host names under which the page may be opened"),
    Setting("tls_cert", ("CLAWMETER_TLS_CERT",), "path", None, "certificate file (PEM); with tls_key the server speaks HTTPS"),
    Setting("tls_key", ("CLAWMETER_TLS_KEY",), "path", None, "key file (PEM) of the certificate"),
    Setting("budget_daily_usd", ("BUDGET_DAILY_LIMIT",), "float", None, "daily budget in USD"),
    Setting("budget_monthly_usd", ("BUDGET_MONTHLY_LIMIT",), "float", None, "monthly budget in USD"),
    Setting("cache_write_ttl", ("CLAWMETER_CACHE_WRITE_TTL",), "text", "5m", "lifetime assumed for cache writes when a list price is used: 5m or 1h", ("5m", "1h")),
    Setting("poll", ("CLAWMETER_POLL",), "bool", False, "look for changes every 2 s instead of waiting for file events (network mounts)"),
    Setting("gateway", ("CLAWMETER_GATEWAY",), "bool", True, "connect to OpenClaw's gateway to see what runs now; it is only read"),
    Setting("gateway_url", ("CLAWMETER_GATEWAY_URL",), "text", None, "where the gateway listens, as ws://127.0.0.1:18789 (default: as openclaw.json says)"),
    Setting("gateway_token", ("CLAWMETER_GATEWAY_TOKEN", "OPENCLAW_GATEWAY_TOKEN"), "text", None, "the gateway's token, if openclaw.json does not have it"),
    Setting("log_level", ("CLAWMETER_LOG_LEVEL",), "text", "warning", "debug, info, warning or error", ("debug", "info", "warning", "error")),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """A price from clawmeter.toml: USD per million tokens. `tiers` are (prompt tokens above which, prices)."""

    prices: dict[str, Decimal]
    tiers: tuple[tuple[int, dict[str, Decimal]], ...] = ()
    replace_recorded: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a Clawmeter is told from outside; see SETTINGS for the meaning of each name."""

    state_dir: Path
    host: str = "127.0.0.1"
    port: int = 3377
    lan: bool = False
    db: Path | None = None
    history: bool = True
    homes: tuple[Path, ...] = ()
    agents_dir: Path | None = None
    time_zone: str | None = None
    token: str | None = None
    token_file: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    budget_daily_usd: float | None = None
    budget_monthly_usd: float | None = None
    cache_write_ttl: str = "5m"
    poll: bool = False
    gateway: bool = True
    gateway_url: str | None = None
    gateway_token: str | None = field(default=None, repr=False)
    log_level: str = "warning"
    prices: Mapping[str, PriceOverride] = field(default_factory=dict)
    plan_providers: tuple[str, ...] = ()
    metered_providers: tuple[str, ...] = ()
    open_browser: bool = False

    @property
    def ledger_path(self) -> Path:
        """The ledger file."""
        return self.db or self.state_dir / "clawmeter.db"

    def zone(self) -> ZoneInfo:
        """The zone whose days are used; SettingsError for one that does not exist."""
        return find_zone(self.time_zone or machine_zone())


PRICE_FIELDS = ("input", "output", "cache_read", "cache_write", "cache_write_1h")
#: USD per million tokens that nobody asks for: above it, a price is a mistake (and could overflow a sum).
DEAREST = 100_000
#: What a setting of each kind takes, as an error says it.
KIND_NAMES = {"int": "a whole number", "float": "an amount of 0 or more", "bool": "true or false", "path": "a path", "list": "a list of names", "text": "a text"}  # fmt: skip
SETTING_BY_NAME = {s.name: s for s in SETTINGS}


def default_state_dir(env: Mapping[str, str]) -> Path:
    """Where state lives unless told otherwise."""
    if base := env.get("XDG_STATE_HOME"):
        return Path(base) / "clawmeter"
    return Path(env.get("HOME") or Path.home()) / ".local" / "state" / "clawmeter"


def read_env_file(path: Path) -> dict[str, str]:
    """Read KEY=VALUE lines; quotes around a value and `export` in front are taken off."""
    out: dict[str, str] = {}
    for number, raw in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        key, sep, value = line.removeprefix("export ").partition("=")
        if not sep:
            msg = f"{path} line {number}: expected NAME=value"
            raise SettingsError(msg)
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        else:
            value = re.split(r"\s+#", value, maxsplit=1)[0]
        out[key.strip()] = value
    return out


def convert_setting(setting: Setting, value: Any, origin: str) -> Any:
    """Turn a text or TOML value into the setting's type; SettingsError names its origin."""
    try:
        return convert_value(setting, value)
    except (ValueError, KeyError, TypeError):
        takes = " or ".join(setting.choices) or KIND_NAMES[setting.kind]
        is_secret = setting.name in ("token", "gateway_token")
        given = "what is there" if is_secret else repr(value)
        msg = f"{origin}: {setting.name} takes {takes}, not {given} ({setting.help})"
        raise SettingsError(msg) from None


def convert_value(setting: Setting, value: Any) -> Any:
    """The value in the setting's type; ValueError, KeyError or TypeError when it is none."""
    if setting.kind == "bool":
        if isinstance(value, bool):
            return value
        return {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}[str(value).strip().lower()]  # fmt: skip
    if setting.kind == "list":
        return texts_of(value.split(",") if isinstance(value, str) else value)
    if isinstance(value, bool) or (isinstance(value, float) and setting.kind == "int"):
        raise TypeError
    if setting.kind == "int":
        number = int(value)
        if setting.name == "port" and not 0 <= number <= 65_535:
            raise ValueError
        return number
    if setting.kind == "float":
        amount = float(value)
        if not math.isfinite(amount) or amount < 0:
            raise ValueError
        return amount
    text = os.fspath(value).strip()
    if not text or "\x00" in text or (setting.choices and text.lower() not in setting.choices):
        raise ValueError
    if setting.name == "gateway_url" and not is_gateway_url(text):
        raise ValueError
    if setting.kind == "path":
        return Path(os.path.expandvars(text)).expanduser()
    return text.lower() if setting.choices else text


def is_gateway_url(text: str) -> bool:
    """Whether a text is an address of a WebSocket server, and has no place for a password: it is shown."""
    try:
        parts = urllib.parse.urlsplit(text)
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and "@" not in parts.netloc and not parts.query and parts.port != 0  # fmt: skip
    except ValueError:
        return False


def texts_of(value: Any) -> tuple[str, ...]:
    """A list of texts without blanks around them; one text stands for a list of one. TypeError for the rest."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(i, str) for i in items):
        raise TypeError
    return tuple(t for i in items if (t := i.strip()))


def parse_price_table(name: str, table: Any, origin: str) -> PriceOverride:
    """Read one [prices."provider/model"] table."""

    def fields(t: Mapping[str, Any]) -> dict[str, Decimal]:
        out = {}
        for key in PRICE_FIELDS:
            if key in t:
                if type(t[key]) not in (int, float) or not 0 <= t[key] <= DEAREST:
                    raise ValueError(f"{key} = {t[key]!r}")
                out[key] = Decimal(repr(t[key]))
        return out

    def check(t: Mapping[str, Any], more: set[str]) -> None:
        if unknown := set(t) - set(PRICE_FIELDS) - more:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")

    try:
        check(table, {"tiers", "replace_recorded"})
        tiers = []
        for tier in table.get("tiers", ()):
            check(tier, {"above"})
            if type(tier["above"]) is not int or tier["above"] <= 0:
                raise ValueError(f"above = {tier['above']}")  # noqa: TRY301 - one message, below
            tiers.append((tier["above"], fields(tier)))
        replaces = table.get("replace_recorded", False)
        if not isinstance(replaces, bool):
            raise TypeError(f"replace_recorded = {replaces}")  # noqa: TRY301 - as above
        return PriceOverride(fields(table), tuple(sorted(tiers, key=lambda t: t[0])), replaces)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        msg = (
            f"{origin}: [prices.{json.dumps(name)}] is not a price ({error}); it takes {', '.join(PRICE_FIELDS)} in USD per "
            "million tokens, replace_recorded = true|false, and tiers = [{above = 200000, input = …}]"
        )
        raise SettingsError(msg) from None


def write_private(path: Path, data: bytes) -> None:
    """Replace a file in one step, readable by its owner only (0600 from its first byte)."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def price_file(state_dir: Path) -> Path:
    """Where prices that were set on the Cost page are kept; clawmeter.toml, which people write, comes before it."""
    return state_dir / "prices.toml"


def load_saved_prices(state_dir: Path) -> dict[str, PriceOverride]:
    """The prices that were set on the Cost page. Raises SettingsError."""
    path = price_file(state_dir)
    tables = read_settings_file(path, read_toml_file, flag=None)
    return {name: parse_price_table(name, t, str(path)) for name, t in tables.items()}


def save_prices(state_dir: Path, prices: Mapping[str, PriceOverride]) -> None:
    """Write prices.toml whole, or leave it as it was. Raises OSError."""
    lines = ["# Prices that were set on the Cost page, in USD per million tokens.\n"]
    for name, price in sorted(prices.items()):
        fields = "".join(f"{field} = {value:f}\n" for field, value in price.prices.items())
        # JSON's strings are TOML's, but for one character that TOML wants escaped.
        lines.append(f"[{json.dumps(name)}]\n{fields}".replace("\x7f", "\\u007f"))
    write_private(price_file(state_dir), "\n".join(lines).encode())


def load_settings(
    flags: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    *,
    env_file: Path | None = None,
    config_file: Path | None = None,
) -> Settings:
    """Gather the settings from flags, environment, `.env` and clawmeter.toml.

    `flags` holds names of SETTINGS (None = not given) plus `homes` and `open_browser`.
    Raises SettingsError with the origin of what is wrong.
    """
    flags = {k: v for k, v in (flags or {}).items() if v is not None}
    env = dict(os.environ if env is None else env)
    where = SETTING_BY_NAME["state_dir"]
    state_dir = default_state_dir(env)
    # The state directory says where the files are, and the files may say where the state directory is.
    if found := find_value(where, flags, [("environment", env)]):
        state_dir = found[1]
    if state_dir.exists() and not state_dir.is_dir():
        msg = f"the state directory {state_dir} is not a folder; name another with --state"
        raise SettingsError(msg)
    path = env_file or state_dir / ".env"
    dotenv: dict[str, str] = read_settings_file(
        path, read_env_file, flag="--env-file" if env_file else None
    )
    sources = [("environment", env), (str(path), dotenv)]
    if found := find_value(where, flags, sources):
        state_dir = found[1]
    path = config_file or state_dir / "clawmeter.toml"
    toml: Json = read_settings_file(path, read_toml_file, flag="--config" if config_file else None)
    known = [*SETTING_BY_NAME, "homes", "prices", "billing"]
    if unknown := set(toml) - set(known):
        msg = f"{path}: unknown setting {', '.join(sorted(unknown))}; known are {', '.join(known)}"
        raise SettingsError(msg)
    values: dict[str, Any] = {"state_dir": state_dir}
    ranks = {}
    for setting in SETTINGS:
        if found := find_value(setting, flags, sources, toml, str(path)):
            ranks[setting.name], values[setting.name] = found
    if "token_file" in ranks and ranks["token_file"] < ranks.get("token", len(sources) + 2):
        values["token"] = read_token_file(values["token_file"])
    values["open_browser"] = bool(flags.get("open_browser"))
    values |= parse_toml_tables(toml, str(path))
    if homes := flags.get("homes"):
        values["homes"] = tuple(Path(h).expanduser() for h in homes)
    settings = Settings(**values)
    settings.zone()
    return settings


def find_value(
    setting: Setting,
    flags: Mapping[str, Any],
    sources: Sequence[tuple[str, Mapping[str, str]]],
    toml: Mapping[str, Any] | None = None,
    toml_path: str = "",
) -> tuple[int, Any] | None:
    """(rank of its source, 0 being the flags; value) of a setting; None where nobody says it."""
    if setting.name in flags:
        flag = f"--{setting.name.replace('_', '-')}"
        return 0, convert_setting(setting, flags[setting.name], flag)
    for rank, (origin, source) in enumerate(sources, 1):
        for name in setting.env:
            # TZ may hold a POSIX rule, or a file name; then the machine's zone is asked.
            if (value := source.get(name)) and (name != "TZ" or is_zone(value)):
                return rank, convert_setting(setting, value, f"{origin} {name}")
    if toml and setting.name in toml:
        return len(sources) + 1, convert_setting(setting, toml[setting.name], toml_path)
    return None


def read_settings_file(path: Path, read: Callable[[Path], Any], *, flag: str | None) -> Any:
    """What a settings file holds; nothing where there is none, unless it was named."""
    try:
        return read(path)
    except FileNotFoundError:
        if flag:
            msg = f"{flag} {path}: no such file"
            raise SettingsError(msg) from None
        return {}
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise SettingsError(msg) from None
    except ValueError as error:
        msg = f"cannot read {path}: {error}"
        raise SettingsError(msg) from None


def read_toml_file(path: Path) -> Json:
    """Parse a TOML file. Raises OSError or ValueError."""
    return tomllib.loads(path.read_text(encoding="utf-8-sig"))


def read_token_file(path: Path) -> str:
    """The token in a file. An empty file is an error: the page must not be open under another token than was meant."""
    try:
        token = path.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        msg = f"cannot read the token file {path}: {error.strerror}"
        raise SettingsError(msg) from None
    except ValueError:
        token = ""
    if not token:
        msg = f"the token file {path} has no token in it: write one into it, as text"
        raise SettingsError(msg)
    return token


def parse_toml_tables(toml: Mapping[str, Any], path: str) -> Json:
    """What clawmeter.toml says beyond SETTINGS: homes, [prices] and [billing]."""
    try:
        homes = tuple(Path(h).expanduser() for h in texts_of(toml.get("homes", ())))
    except TypeError:
        msg = f'{path}: homes takes a list of paths, homes = ["PATH"]'
        raise SettingsError(msg) from None
    prices = toml.get("prices", {})
    if not isinstance(prices, dict):
        msg = f'{path}: prices are tables, [prices."provider/model"]'
        raise SettingsError(msg)
    billing = toml.get("billing", {})
    try:
        if set(billing) - {"plan", "metered"}:
            raise TypeError  # noqa: TRY301 - one message for all that is wrong with it
        plan, metered = texts_of(billing.get("plan", ())), texts_of(billing.get("metered", ()))
    except (TypeError, AttributeError):
        msg = f'{path}: [billing] takes plan = ["provider", …] and metered = ["provider", …]'
        raise SettingsError(msg) from None
    return {
        "homes": homes,
        "prices": {name: parse_price_table(name, t, path) for name, t in prices.items()},
        "plan_providers": plan,
        "metered_providers": metered,
    }


###############################################################################
# Time, money and text ########################################################
###############################################################################
# Epoch milliseconds, integer nano-USD and half-open ranges; pure functions.


def is_zone(name: str) -> bool:
    """Say whether this is a zone name that Python knows."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def find_zone(name: str) -> ZoneInfo:
    """The IANA zone of this name; SettingsError when there is none."""
    if not is_zone(name):
        msg = f"unknown time zone {name!r}; use a name like Europe/Berlin or UTC"
        raise SettingsError(msg)
    return ZoneInfo(name)


def machine_zone() -> str:
    """The IANA name of the machine's zone; UTC where it cannot be told."""
    try:
        target = os.path.realpath("/etc/localtime")
        if "zoneinfo/" in target:
            name = target.split("zoneinfo/", 1)[1].removeprefix("posix/")
            if is_zone(name):
                return "UTC" if name == "Etc/UTC" else name
        name = Path("/etc/timezone").read_text(encoding="ascii").strip()
        if is_zone(name):
            return "UTC" if name == "Etc/UTC" else name
    except (OSError, UnicodeDecodeError):
        return "UTC"
    return "UTC"


_EPOCH = date(1970, 1, 1).toordinal()


_EPOCH_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def parse_iso_ms(text: str) -> int:
    """Epoch ms of an ISO-8601 time, UTC where it names no zone; ValueError for anything else."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH_TIME
    return since.days * DAY_MS + since.seconds * 1000 + since.microseconds // 1000


def iso_ms(ts_ms: int, zone: ZoneInfo | None = None) -> str:
    """ISO-8601 with milliseconds; UTC as `Z` unless a zone is given."""
    text = datetime.fromtimestamp(ts_ms / 1000, zone or UTC).isoformat(timespec="milliseconds")
    return text if zone else text.replace("+00:00", "Z")


def midnight_ms(day: date, zone: ZoneInfo) -> int:
    """Epoch ms at which a local day starts (the first instant of it, where clocks jump over midnight)."""
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


def day_of(ts_ms: int, zone: ZoneInfo) -> date:
    """The local date of an instant."""
    return datetime.fromtimestamp(ts_ms / 1000, zone).date()


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Half-open: from_ms <= t < to_ms."""

    from_ms: int
    to_ms: int


#: The first and last days that Python's dates know, less one for every zone's offset.
EARLIEST_MS = -62_135_510_400_000
LATEST_MS = 253_402_214_400_000


def parse_days(text: str) -> tuple[date, date]:
    """The first and last day of an ISO date (2026-11-06), week (2026-W45) or month (2026-11); ValueError for the rest."""
    if match := re.fullmatch(r"(\d{4})-?W(\d\d)", text):
        first = date.fromisocalendar(int(match[1]), int(match[2]), 1)
        return first, first + timedelta(days=6)
    if match := re.fullmatch(r"(\d{4})-(\d\d)", text):
        return month_of(date(int(match[1]), int(match[2]), 1))
    first = date.fromisoformat(text)
    return first, first


def month_of(day: date) -> tuple[date, date]:
    """The first and last day of the month of a date."""
    return day.replace(day=1), day.replace(day=monthrange(day.year, day.month)[1])


def parse_time(text: str, zone: ZoneInfo, now_ms: int, *, end: bool = False) -> int | None:
    """Epoch ms of one end of a range; None for `all` (no limit on this side).

    Takes epoch ms, ISO dates and times, the keys of weeks and months (2026-W45, 2026-11), today, yesterday, week
    (ISO week), month and Nd (N local days with today). With `end`, what names a day, week or month means the end of
    it. QueryError for the rest.
    """
    today = day_of(now_ms, zone)
    text = text.strip()
    word = text.lower()
    if word == "all":
        return None
    if re.fullmatch(r"\d{9,15}", word):
        return min(int(word), LATEST_MS)
    first, last = today, today
    if word == "now":
        return now_ms
    if word == "yesterday":
        first = last = today - timedelta(days=1)
    elif word == "week":
        first = today - timedelta(days=today.weekday())
        last = first + timedelta(days=6)
    elif word == "month":
        first, last = month_of(today)
    elif match := re.fullmatch(r"(\d{1,5})d", word):
        first = today - timedelta(days=max(1, int(match[1])) - 1)
    elif word != "today":
        try:
            first, last = parse_days(text.upper())
        except (ValueError, OverflowError):
            return parse_moment(text, zone)
    try:
        ms = midnight_ms(last + timedelta(days=1) if end else first, zone)
    except OverflowError:  # the day after the last one that there is
        ms = LATEST_MS
    return max(EARLIEST_MS, min(ms, LATEST_MS))


def parse_moment(text: str, zone: ZoneInfo) -> int:
    """Epoch ms of an ISO time, local where it names no offset; QueryError, for whoever asks the question."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        msg = f"cannot read the time {text!r}: use a date (2026-11-06), week (2026-W45), month (2026-11) or time (2026-11-06T08:00), epoch ms, today, yesterday, week, month, 7d or all"
        raise QueryError("bad_time", msg) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return max(EARLIEST_MS, min(round(moment.timestamp() * 1000), LATEST_MS))


def nano_usd(value: float) -> int | None:
    """Integer nano-USD of an amount in USD, half to even; None when it is not a finite number.

    Far from a tie, rounding the double is exact; near one, or for huge amounts, decimal arithmetic on
    the shortest text of the double decides (that text is what OpenClaw wrote).
    """
    if type(value) is int:
        return value * NANO
    scaled = value * 1e9
    if -1e14 < scaled < 1e14:
        nearest = round(scaled)
        if abs(scaled - nearest) < 0.45:
            return nearest
    try:
        amount = Decimal(repr(value))
        if not amount.is_finite():
            return None
        return int((amount * NANO).quantize(Decimal(1), ROUND_HALF_EVEN))
    except (InvalidOperation, ValueError):
        return None


def usd(nano: int) -> float:
    """USD as a double, for people and charts; sums are made in nano-USD."""
    return nano / NANO


def format_usd(nano: int | None) -> str:
    """Money as UI.md wants it: $1,234.56, $0.0421, < $0.0001, — for unknown, $0 for zero."""
    if nano is None:
        return "—"
    if nano == 0:
        return "$0"
    sign, nano = ("-", -nano) if nano < 0 else ("", nano)
    if nano >= 999_950_000:  # what four decimals would round to $1.0000
        cents = (nano + 5_000_000) // 10_000_000
        return f"{sign}${cents // 100:,}.{cents % 100:02d}"
    if nano < 100_000:
        return f"{sign}< $0.0001" if not sign else "> -$0.0001"
    return f"{sign}${nano / NANO:.4f}"


def format_count(value: float | None) -> str:
    """A count for people: 1.24 M, 940 k, 12."""
    if value is None:
        return "—"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit * 0.9995:  # 999,999 is 1 M, not 1000 k
            scaled = value / limit
            return f"{scaled:.3g} {unit}" if scaled < 1000 else f"{scaled:,.0f} {unit}"
    return f"{value:,.0f}"


def format_bytes(value: float) -> str:
    """Bytes for people, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.95 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: Any, limit: int = 200) -> str:
    """Text that is safe on a terminal and in a log: no control, direction or surrogate characters, one line."""
    cleaned = _CONTROL.sub("\ufffd", str(text).replace("\n", " ").replace("\t", " "))
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"


def sound(text: Any) -> str:
    """Text that SQLite and UTF-8 accept: lone surrogates, which JavaScript's slice() leaves, are replaced."""
    value = str(text)
    try:
        value.encode()
    except UnicodeEncodeError:
        value = value.encode("utf-8", "replace").decode()
    return value.replace("\x00", "\ufffd")


###############################################################################
# OpenClaw home ###############################################################
###############################################################################
# Where OpenClaw keeps things, in every layout since early 2026 (tests/data/README.md
# names the versions). Nothing here opens a transcript, and nothing ever writes.

CONFIG_NAMES = ("openclaw.json", "clawdbot.json", "moltbot.json")
#: Kinds of transcript sources. The rank decides between two versions of one entry in one
#: session: what OpenClaw works with beats what it put away, which beats what it copied.
RANKS = {
    "live": 3,
    "database": 3,
    "reset": 2,
    "deleted": 2,
    "cold": 2,
    "imported": 1,
    "bak": 0,
    "checkpoint": 0,
}


def rank_of(kind: str, put_away: int = 0) -> int:
    """Which of two wordings of an entry counts: that of the better kind, and of the one put away later (epoch ms)."""
    return RANKS[kind] * 10**14 + put_away


_TRANSCRIPT_NAME = re.compile(
    r"(?P<sid>[^.]+)(?P<checkpoint>\.checkpoint\.[^.]+)?\.jsonl(?:\.(?P<put>reset|deleted|bak)\..+?)?(?P<zst>\.zst)?"
)
_IMPORTED_NAME = re.compile(r".*?\.?(?P<sid>[^.]+)\.jsonl\.imported-\d+(?P<zst>\.zst)?")


@dataclass(frozen=True, slots=True)
class TranscriptPath:
    """One file or database that holds transcript entries."""

    path: str
    kind: str  # a key of RANKS
    agent: str
    session_id: str  # "" for a database or a cold archive, which name it inside
    compressed: bool = False

    @property
    def rank(self) -> int:
        """The rank of the entries in it."""
        return rank_of(self.kind, put_away_ms(self.path))


@dataclass(frozen=True, slots=True)
class AgentPaths:
    """One agent's folder; `name` is the agent id, with @home behind it in a second home."""

    name: str
    folder: Path

    @property
    def sessions(self) -> Path:
        """Where live and archived JSONL transcripts and sessions.json are."""
        return self.folder / "sessions"

    @property
    def database(self) -> Path:
        """The transcript database of OpenClaw 2026.8 and later."""
        return self.folder / "agent" / "openclaw-agent.sqlite"

    @property
    def import_archive(self) -> Path:
        """Where the upgrade to SQLite moves the JSONL files it has imported."""
        return self.folder / "session-sqlite-import-archive"


@dataclass(frozen=True, slots=True)
class ConfigPrice:
    """USD per million tokens from models.providers.*.models[].cost, as written."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None
    cache_write: Decimal | None


@dataclass(frozen=True, slots=True)
class OpenClawConfig:
    """What we take from openclaw.json. Secrets stay in `gateway_token`, which nothing prints."""

    version: str | None = None
    gateway_port: int = 18789
    gateway_bind: str = "loopback"
    gateway_auth: str = "token"
    gateway_token: str | None = field(default=None, repr=False)
    gateway_remote: str | None = None  # gateway.remote.url, in mode `remote`
    gateway_tls: bool = False
    token_problem: str | None = None
    agents: tuple[str, ...] = ()
    workspaces: Mapping[str, str] = field(default_factory=dict)
    log_file: str | None = None
    prices: Mapping[tuple[str, str], ConfigPrice] = field(default_factory=dict)
    base_urls: Mapping[str, str] = field(default_factory=dict)
    context_windows: Mapping[tuple[str, str], int] = field(default_factory=dict)
    plan_providers: frozenset[str] = frozenset()
    problem: str | None = None

    @property
    def gateway_url(self) -> str:
        """Where the gateway listens."""
        scheme = "wss" if self.gateway_tls else "ws"
        return self.gateway_remote or f"{scheme}://127.0.0.1:{self.gateway_port}"


def parse_json5(text: str) -> Any:
    """Parse JSON5: JSON with comments, trailing commas and bare names. Raises ValueError."""
    try:
        return json.loads(text)  # takes numbers that pyjson5 finds too long
    except (ValueError, RecursionError):
        try:
            return pyjson5.decode(text)
        except pyjson5.Json5Exception as error:
            raise ValueError(f"not JSON5: {error.args[0]}") from error


def merge_config(base: Any, over: Any) -> Any:
    """Merge two config values as OpenClaw does: objects by key, lists one behind the other, else the later one."""
    if isinstance(base, dict) and isinstance(over, dict):
        merged = {k: merge_config(base[k], v) if k in base else v for k, v in over.items()}
        return {**base, **merged}
    if isinstance(base, list) and isinstance(over, list):
        return [*base, *over]
    return over


def expand_config(value: Any, env: Mapping[str, str], chain: tuple[Path, ...]) -> Any:
    """Resolve `$include` and ${VAR}; `chain` is the config file and the includes down to this one.

    By the rules of OpenClaw (src/config/includes.ts, env-substitution.ts): relative to the file, inside the folder
    of the config, ten deep, no cycles; $${VAR} is a literal ${VAR}. Where it refuses to start for a variable that
    is not set, we leave the text as it is written: the gateway may have variables that we do not. Raises ValueError.
    """
    if isinstance(value, str):
        return re.sub(
            r"\$(\$?)\{([A-Z_][A-Z0-9_]*)\}",
            lambda m: m[0][1:] if m[1] else env.get(m[2]) or m[0],
            value,
        )
    if isinstance(value, list):
        return [expand_config(v, env, chain) for v in value]
    if isinstance(value, dict):
        out: Any = {}
        names = value.get("$include", [])
        for name in names if isinstance(names, list) else [names]:
            out = merge_config(out, read_include(name, env, chain))
        own = {k: expand_config(v, env, chain) for k, v in value.items() if k != "$include"}
        return merge_config(out, own) if own or "$include" not in value else out
    return value


def read_include(name: Any, env: Mapping[str, str], chain: tuple[Path, ...]) -> Any:
    """What an `$include` brings, with its own includes; ValueError for one that OpenClaw would refuse."""
    if not isinstance(name, str):
        msg = f"$include {name!r} is not the name of a file"
        raise ValueError(msg)  # noqa: TRY004 - what is in a file is a value
    path = Path(os.path.normpath(chain[-1].parent / name))
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(chain[0].parent)):
        msg = f"$include {name} is not below {chain[0].parent}"
        raise ValueError(msg)
    if path in chain:
        msg = f"$include goes round in a circle: {' → '.join(p.name for p in (*chain, path))}"
        raise ValueError(msg)
    if len(chain) > 10:
        msg = f"$include {name} goes deeper than 10 files"
        raise ValueError(msg)
    try:
        included = parse_json5(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        msg = f"$include {name}: {error}"
        raise ValueError(msg) from error
    return expand_config(included, env, (*chain, path))


def as_dict(value: Any) -> Json:
    """The value if it is an object, else an empty one: OpenClaw's files are not ours to trust."""
    return value if isinstance(value, dict) else {}


def find_config(home: Path, env: Mapping[str, str]) -> Path | None:
    """Where the config of a home is."""
    path = Path(env["OPENCLAW_CONFIG_PATH"]) if env.get("OPENCLAW_CONFIG_PATH") else None
    if path is None or not path.is_file():
        path = next((p for n in CONFIG_NAMES if (p := home / n).is_file()), None)
    return path


def read_config(home: Path, env: Mapping[str, str]) -> OpenClawConfig:
    """Read a home's openclaw.json; whatever is wrong with it ends up in `problem`."""
    path = find_config(home, env)
    if path is None:
        return OpenClawConfig(problem="no openclaw.json")
    try:
        text = path.read_text(encoding="utf-8-sig")
        raw = expand_config(parse_json5(text), env, (path,))
        if not isinstance(raw, dict):
            return OpenClawConfig(problem=f"cannot read {path}: it is not an object")
    except (OSError, ValueError, RecursionError) as error:
        return OpenClawConfig(problem=f"cannot read {path}: {plain(error)}")
    gateway, agents = as_dict(raw.get("gateway")), as_dict(raw.get("agents"))
    auth = as_dict(gateway.get("auth"))
    listed: dict[str, Json] = {}
    entries = agents.get("entries")
    if isinstance(entries, dict):
        listed = {str(k): as_dict(v) for k, v in entries.items()}
    elif isinstance(agents.get("list"), list):
        listed = {str(a["id"]): a for a in agents["list"] if isinstance(a, dict) and "id" in a}
    prices: dict[tuple[str, str], ConfigPrice] = {}
    windows: dict[tuple[str, str], int] = {}
    urls: dict[str, str] = {}
    for provider, table in as_dict(as_dict(raw.get("models")).get("providers")).items():
        table = as_dict(table)  # noqa: PLW2901
        urls[provider] = str(table.get("baseUrl") or "")
        models = table.get("models")
        for model in models if isinstance(models, list) else ():
            model = as_dict(model)  # noqa: PLW2901
            key = (provider, str(model.get("id")))
            if type(model.get("contextWindow")) is int:
                windows[key] = model["contextWindow"]
            if price := parse_config_price(model.get("cost")):
                prices[key] = price
    plan = {
        str(p.get("provider") or name.split(":")[0])
        for name, p in as_dict(as_dict(raw.get("auth")).get("profiles")).items()
        if isinstance(p, dict) and str(p.get("mode", "")).lower() in ("oauth", "subscription")
    }
    port = gateway.get("port")
    port = port if type(port) is int and 0 < port < 65_536 else 18789
    token = auth.get("token")
    remote = as_dict(gateway.get("remote"))
    is_remote = gateway.get("mode") == "remote" and is_gateway_url(str(remote.get("url")))
    if is_remote:
        token = remote.get("token")
    return OpenClawConfig(
        version=str(v) if (v := as_dict(raw.get("meta")).get("lastTouchedVersion")) else None,
        gateway_port=port,
        gateway_bind=str(gateway.get("bind") or "loopback"),
        gateway_auth=str(auth.get("mode") or "token"),
        gateway_token=token if isinstance(token, str) and token and not token.startswith("${") else None,
        gateway_remote=str(remote["url"]) if is_remote else None,
        gateway_tls=as_dict(gateway.get("tls")).get("enabled") is True,
        token_problem=complain_of_token(token),
        agents=tuple(listed),
        workspaces={k: str(w) for k, v in listed.items() if (w := v.get("workspace") or as_dict(agents.get("defaults")).get("workspace"))},
        log_file=str(f) if (f := as_dict(raw.get("logging")).get("file")) else None,
        prices=prices,
        base_urls=urls,
        context_windows=windows,
        plan_providers=frozenset(plan),
    )  # fmt: skip


def complain_of_token(token: Any) -> str | None:
    """Why a gateway token that stands in the config cannot be used; None for one that can."""
    if not isinstance(token, str):
        return "gateway.auth.token is a reference to a secret, which only OpenClaw can look up" if token else None  # fmt: skip
    names = token.startswith("${")
    return f"gateway.auth.token is {plain(token, 60)}, and this variable is not set here" if names else None  # fmt: skip


def parse_config_price(cost: Any) -> ConfigPrice | None:
    """A price from the config. All zeros are what OpenClaw fills in when it knows none: no price."""
    if not isinstance(cost, dict):
        return None
    values: list[Decimal | None] = []
    for key in ("input", "output", "cacheRead", "cacheWrite"):
        value = cost.get(key)
        if value is None:
            values.append(None)
        elif (
            isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= DEAREST
        ):
            values.append(Decimal(repr(value)))
        else:
            return None
    if not any(values):
        return None
    return ConfigPrice(values[0] or Decimal(0), values[1] or Decimal(0), values[2], values[3])


@dataclass(frozen=True, slots=True)
class OpenClawHome:
    """One OpenClaw state directory, and how it was found."""

    path: Path
    found_by: str
    agents_folder: Path
    label: str = ""

    def agents(self) -> list[AgentPaths]:
        """The agents that have a folder, in name order. Raises SourceError when the folder cannot be listed."""
        try:
            with os.scandir(self.agents_folder) as entries:
                names = sorted(e.name for e in entries if e.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            msg = f"cannot list {self.agents_folder}: {error.strerror}"
            raise SourceError(msg) from error
        suffix = f"@{self.label}" if self.label else ""
        return [AgentPaths(name + suffix, self.agents_folder / name) for name in names]

    @property
    def state_database(self) -> Path:
        """Cron jobs and runs, sub-agent runs and the list of agent databases (2026.6 and later)."""
        return self.path / "state" / "openclaw.sqlite"


def is_home(path: Path) -> bool:
    """Whether a folder looks like an OpenClaw state directory."""
    return has_config(path) or os.path.isdir(path / "agents")


def has_config(path: Path) -> bool:
    """Whether a folder holds OpenClaw's config, under today's name or an older one."""
    return any(os.path.isfile(path / n) for n in CONFIG_NAMES)


def find_homes(
    settings: Settings, env: Mapping[str, str] | None = None
) -> tuple[list[OpenClawHome], list[OpenClawHome]]:
    """The homes to read, and others that exist beside them.

    The first place of this order that has a home is read: --home (all of them), OPENCLAW_STATE_DIR,
    OPENCLAW_HOME or its .openclaw, OPENCLAW_AGENTS_DIR, ~/.openclaw, ~/.openclaw-*, ~/.clawdbot,
    ~/.moltbot. Raises HomeNotFound, also for a named place without a home.
    """
    env = os.environ if env is None else env
    user = Path(env.get("HOME") or Path.home())

    def home_at(path: Path, found_by: str, label: str = "") -> OpenClawHome | None:
        # By config first: a person's own ~/agents does not make ~ an OpenClaw home.
        places = (path, path / ".openclaw")
        for look in (has_config, is_home):
            for candidate in places:
                if look(candidate):
                    real = candidate.resolve()
                    return OpenClawHome(real, found_by, real / "agents", label)
        return None

    if settings.homes:
        chosen: list[OpenClawHome] = []
        for number, path in enumerate(settings.homes):
            label = (path.resolve().name.lstrip(".") or f"home{number + 1}") if number else ""
            if any(h.label == label for h in chosen) and number:
                label += str(number + 1)
            home = home_at(path, "--home", label)
            if home is None:
                msg = f"no OpenClaw home at {path}: it has neither an `agents` folder nor an openclaw.json, or cannot be entered"
                raise HomeNotFound(msg)
            if all(h.path != home.path for h in chosen):
                chosen.append(home)
        return chosen, []
    found: list[OpenClawHome] = []
    for name in ("OPENCLAW_STATE_DIR", "OPENCLAW_HOME"):
        if value := env.get(name):
            home = home_at(Path(value).expanduser(), name)
            if home is None and not found:
                msg = f"{name}={value}, but there is no OpenClaw home: it has neither an `agents` folder nor an openclaw.json, or cannot be entered"
                raise HomeNotFound(msg)
            found += [home] if home else []
    if settings.agents_dir:
        folder = settings.agents_dir.resolve()
        if not os.path.isdir(folder):
            msg = f"OPENCLAW_AGENTS_DIR={settings.agents_dir}: no such folder"
            raise HomeNotFound(msg)
        found.append(OpenClawHome(folder.parent, "OPENCLAW_AGENTS_DIR", folder))
    profiles = sorted(p for p in user.glob(".openclaw-*") if p.is_dir()) if user.is_dir() else []
    for path in [user / ".openclaw", *profiles, user / ".clawdbot", user / ".moltbot"]:
        if home := home_at(path, f"~/{path.name}"):
            found.append(home)
    unique: list[OpenClawHome] = []
    for home in found:
        if all(h.path != home.path for h in unique):
            unique.append(home)
    if not unique:
        msg = (
            "no OpenClaw home found (looked at OPENCLAW_STATE_DIR, OPENCLAW_HOME, OPENCLAW_AGENTS_DIR, ~/.openclaw, ~/.openclaw-*, "
            "~/.clawdbot, ~/.moltbot).\nName it in one of three ways: `clawmeter --home PATH`, OPENCLAW_STATE_DIR=PATH, or homes = "
            '["PATH"] in clawmeter.toml.\nTo see Clawmeter without OpenClaw, run `clawmeter demo`.'
        )
        raise HomeNotFound(msg)
    return unique[:1], unique[1:]


def classify_transcript(name: str) -> tuple[str, str, bool] | None:
    """(kind, session id, compressed) of a file name in a sessions folder; None for other files.

    `<sid>.trajectory.jsonl` holds run traces with copies of messages: never a transcript.
    """
    match = _TRANSCRIPT_NAME.fullmatch(name)
    if match is None:
        return None
    kind = "checkpoint" if match["checkpoint"] else match["put"] or "live"
    return kind, match["sid"], bool(match["zst"])


def list_transcripts(agent: AgentPaths) -> Iterator[TranscriptPath]:
    """Every file and database of an agent that holds transcript entries; OSError if a folder cannot be listed."""
    folder = str(agent.sessions)
    for name in scan_names(folder):
        if found := classify_transcript(name):
            kind, sid, compressed = found
            yield TranscriptPath(f"{folder}/{name}", kind, agent.name, sid, compressed)
        elif name == "cold":
            for cold in scan_names(f"{folder}/cold"):
                if cold.endswith((".jsonl.zst", ".jsonl")):
                    yield TranscriptPath(
                        f"{folder}/cold/{cold}", "cold", agent.name, "", cold.endswith(".zst")
                    )
    folder = str(agent.import_archive)
    for name in scan_names(folder):
        if ".trajectory." not in name and (match := _IMPORTED_NAME.fullmatch(name)):
            yield TranscriptPath(
                f"{folder}/{name}", "imported", agent.name, match["sid"], bool(match["zst"])
            )
    if agent.database.is_file():
        yield TranscriptPath(str(agent.database), "database", agent.name, "")


_PUT_AWAY = re.compile(r"\.(\d{4}-\d\d-\d\dT\d\d)-(\d\d)-(\d\d\.\d{3}Z)|\.imported-(\d{13})")


def put_away_ms(path: str) -> int:
    """When a file was reset, deleted, backed up or imported, by its name; 0 for a live one."""
    match = _PUT_AWAY.search(os.path.basename(path))
    if match is None:
        return 0
    if match[4]:
        return int(match[4])
    try:
        return parse_iso_ms(f"{match[1]}:{match[2]}:{match[3]}")
    except ValueError:
        return 0


def scan_names(folder: str) -> list[str]:
    """Names in a folder, sorted; empty when there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def list_indexes(agent: AgentPaths) -> Iterator[str]:
    """sessions.json, and the copies of it that the upgrade to SQLite put away."""
    folder = str(agent.import_archive)
    for name in scan_names(folder):
        if ".sessions.json.imported-" in name:
            yield f"{folder}/{name}"
    path = str(agent.sessions / "sessions.json")
    if os.path.isfile(path):
        yield path


###############################################################################
# Event model #################################################################
###############################################################################
# What a source makes of bytes. A model call and a message are plain tuples in the
# column order below, because a cold index makes a million of them; everything else
# is a dataclass. Ids of sessions and models are hashes of their names, so that
# worker processes agree on them without talking.

#: The columns of `model_calls` that a source fills, in order.
CALL_FIELDS = (
    "entry_key", "ts_ms", "session", "model", "flags", "stop_reason", "input_tokens", "output_tokens",
    "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "latency_ms", "thinking_level", "tools",
    "recorded_nano", "cost_input", "cost_output", "cost_cache_read", "cost_cache_write", "rank",
)  # fmt: skip
(C_KEY, C_TS, C_SESSION, C_MODEL, C_FLAGS, C_STOP, C_INPUT, C_OUTPUT, C_READ, C_WRITE, C_REASONING, C_LATENCY, C_THINKING,
 C_TOOLS, C_RECORDED, C_COST_INPUT, C_COST_OUTPUT, C_COST_READ, C_COST_WRITE, C_RANK) = range(20)  # fmt: skip
FLAG_HEARTBEAT = 1
FLAG_FAILOVER = 2
FLAG_PLAN = 4

#: The columns of `messages`, in order: entries that are not model calls.
MESSAGE_FIELDS = ("entry_key", "session", "ts_ms", "kind", "tool", "is_error", "duration_ms")

MAX_TOKENS = 10**9
MAX_COST_NANO = 10_000 * NANO

CallRow = tuple[Any, ...]
MessageRow = tuple[Any, ...]


def hash_id(bits: int, *parts: str) -> int:
    """A stable positive integer id for a name; 63 bits for sessions, 48 for models."""
    digest = blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - bits)


def session_rowid(agent: str, session_id: str) -> int:
    """The id of a session in the ledger."""
    return hash_id(63, agent, session_id)


def model_rowid(provider: str, model: str, api: str) -> int:
    """The id of a model in the ledger."""
    return hash_id(48, provider, model, api)


def entry_key(entry_id: str, timestamp: Any) -> int:
    """The identity of a transcript entry, apart from its usage: 64 bits of (id, message.timestamp or else outer).

    Neither agent, session, path, model nor cost is in it, so that every copy of an entry has the same key. Two
    model calls are the same call when this key and the four token counts are equal (columns compared exactly, which
    beats hashing them); with other counts they are one rewritten call in one session and two calls in two.
    """
    try:
        name = f"{entry_id}\0{timestamp}".encode()
    except UnicodeEncodeError:
        name = f"{entry_id}\0{timestamp}".encode("utf-8", "surrogatepass")
    return _to_int(blake2b(name, digest_size=8).digest(), "big", signed=True)


_to_int = int.from_bytes


@dataclass(slots=True)
class SessionSeen:
    """What a transcript says about its session. Times are epoch ms, None when not known."""

    agent: str
    session_id: str
    header_ms: int | None = None
    first_ms: int | None = None
    last_ms: int | None = None
    last_kind: str | None = (
        None  # user | toolResult | toolUse | <stop reason>: the state rule of the live view
    )
    version: int | None = None
    stored_as: str = "live"
    # Where reading stopped, for the entries that follow: id and turn of the last entry, its level and model error.
    tail_id: str | None = None
    tail_heartbeat: bool = False
    thinking_level: str | None = None
    failed_model: int | None = None


@dataclass(slots=True)
class SessionFacts:
    """What an index says about a session key: sessions.json, session_windows, cron and sub-agent runs."""

    agent: str
    session_id: str
    key: str
    updated_ms: int = 0
    channel: str | None = None
    chat_type: str | None = None
    origin_provider: str | None = None
    label: str | None = None
    parent_key: str | None = None
    status: str | None = None
    context_tokens: int | None = None
    context_window: int | None = None
    prompt: str | None = None  # JSON: characters of the parts of the system prompt


@dataclass(slots=True)
class SubagentRun:
    """One run of a sub-agent, from subagents/runs.json or `subagent_runs`."""

    run_id: str
    child_key: str
    parent_key: str
    label: str | None
    status: str
    created_ms: int | None
    started_ms: int | None
    ended_ms: int | None


@dataclass(slots=True)
class CronRun:
    """One run of a cron job as its log tells it."""

    job_id: str
    run_ms: int
    status: str
    session_id: str | None
    duration_ms: int | None


@dataclass(slots=True)
class Implausible:
    """A call whose numbers cannot be right: shown, never summed."""

    entry_key: int
    session: int
    ts_ms: int
    reason: str
    usage: str


@dataclass(slots=True)
class Reading:
    """What one pass over a piece of a source gave. Plain data: it crosses process borders."""

    calls: list[CallRow] = field(default_factory=list)
    messages: list[MessageRow] = field(default_factory=list)
    models: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    sessions: dict[int, SessionSeen] = field(default_factory=dict)
    implausible: list[Implausible] = field(default_factory=list)
    bad_lines: int = 0
    last_error: str | None = None
    #: Those of them that are rows of a database, by (path, session): what is read again is not counted again.
    bad_rows: Counter[tuple[str, str]] = field(default_factory=Counter)

    def bad(self, where: str, why: str) -> None:
        """Count an entry that could not be read and keep the last one."""
        self.bad_lines += 1
        self.last_error = f"{where}: {why}"


HEARTBEAT = re.compile(
    r"(\[[^\]\n]{1,60}\] )?(Read HEARTBEAT\.md if it exists|\[OpenClaw heartbeat poll\])"
)
_TOKEN_FIELDS = ("input", "output", "cacheRead", "cacheWrite")
_Picked = TypeVar("_Picked", bound=msgspec.Struct)


def whole(value: Any) -> int | None:
    """A token count as an int; 0 for a missing one, None for what cannot be one."""
    if type(value) is int:
        return value if 0 <= value <= MAX_TOKENS else None
    if value is None:
        return 0
    if isinstance(value, float) and value.is_integer() and 0 <= value <= MAX_TOKENS:
        return int(value)
    return None


def int_or_none(value: Any) -> int | None:
    """A number as an int that JavaScript could count to and SQLite can keep; None for anything else."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not -(2.0**53) < value < 2.0**53
    ):
        return None
    return int(value)


def time_or_none(value: Any) -> int | None:
    """Epoch ms of a number or an ISO-8601 time that calendars know; None for anything else."""
    if type(value) is str:
        try:
            value = parse_iso_ms(value)
        except (ValueError, OverflowError):
            return None
    moment = int_or_none(value)
    return moment if moment is not None and 0 <= moment <= LATEST_MS else None


def entry_ms(stamp: Any) -> int | None:
    """time_or_none for the usual `2026-11-06T10:00:00.000Z`, which a cold index reads a million times."""
    try:
        moment = parse_iso_ms(stamp)
    except (ValueError, TypeError, OverflowError):
        return time_or_none(stamp)
    return moment if 0 <= moment <= LATEST_MS else None


class EntryCost(msgspec.Struct, gc=False, rename="camel"):
    """`usage.cost` of an entry: USD, as OpenClaw wrote it."""

    total: float | None = None
    input: float | None = None
    output: float | None = None
    cache_read: float | None = None
    cache_write: float | None = None


class EntryUsage(msgspec.Struct, gc=False, rename="camel"):
    """`message.usage` of an entry: tokens."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning_tokens: int | float | None = None
    cost: EntryCost | None = None
    told: str | None = None
    """The whole of it as JSON, where it is not what OpenClaw writes."""


class EntryBlock(msgspec.Struct, gc=False):
    """A part of `message.content`. Text stays bytes, because only a user's is ever looked at."""

    type: str = ""
    id: str | None = None
    name: str | None = None
    text: msgspec.Raw | str | None = None
    arguments: msgspec.Raw | dict[str, Any] | None = None


class EntryDetails(msgspec.Struct, gc=False, rename="camel"):
    """`message.details` of a tool's result; its form is the tool's own affair."""

    status: Any = None
    exit_code: Any = None
    duration_ms: Any = None
    tool_name: Any = None


class EntryMessage(msgspec.Struct, gc=False, rename="camel"):
    """`message` of an entry."""

    role: str | None = None
    content: str | list[EntryBlock] | None = None
    timestamp: int | float | str | msgspec.UnsetType | None = msgspec.UNSET
    provider: str | None = None
    model: str | None = None
    api: str | None = None
    stop_reason: str | None = None
    usage: EntryUsage | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None
    is_error: Any = None
    details: EntryDetails | None = None


class Entry(msgspec.Struct, gc=False, rename="camel"):
    """What we look at in a transcript entry; the decoder skips the rest without making objects of it."""

    type: str | None = None
    id: str | None = None
    parent_id: str | None = None
    timestamp: int | float | str | None = None
    message: EntryMessage | None = None
    version: Any = None
    thinking_level: Any = None


_NUMBERS = (float, int)
decode_entry = msgspec.json.Decoder(Entry).decode
#: (our name, OpenClaw's name) of the fields of each struct.
_KEYS: dict[type[msgspec.Struct], list[tuple[str, str]]] = {
    kind: [(f.name, f.encode_name) for f in msgspec.structs.fields(kind)]
    for kind in (Entry, EntryMessage, EntryBlock, EntryDetails)
}


def read_entry(raw: bytes | str) -> Entry:
    """Decode a transcript entry. Raises ValueError for what is no JSON object.

    Most entries are what OpenClaw writes, and are decoded straight into an Entry. One with a value of another type, a
    lone surrogate or NaN goes the slow way, value by value.
    """
    try:
        return decode_entry(raw)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError:
            value = parse_lenient(raw)
            if value is None:
                raise ValueError(f"not JSON ({plain(error, 80)})") from None
    if type(value) is not dict:
        raise ValueError("not a JSON object")
    entry = _pick(Entry, value)
    entry.message = _pick_message(value.get("message"))
    return entry


def _pick(kind: type[_Picked], value: Json) -> _Picked:
    """Fill a struct from a dict, whatever the types of its values."""
    return kind(**{name: value[key] for name, key in _KEYS[kind] if key in value})


def _pick_message(value: Any) -> EntryMessage | None:
    if type(value) is not dict:
        return None
    message = _pick(EntryMessage, value)
    content, usage, details = value.get("content"), value.get("usage"), value.get("details")
    if isinstance(content, list):
        message.content = [_pick(EntryBlock, b) for b in content if isinstance(b, dict)]
    message.details = _pick(EntryDetails, details) if isinstance(details, dict) else None
    message.usage = _pick_usage(usage) if isinstance(usage, dict) else None
    return message


def _pick_usage(value: Json) -> EntryUsage:
    """The usage of an odd entry; what cannot be right becomes -1 tokens or infinite cost, which is implausible."""
    tokens_in, tokens_out, cached, written = (
        -1 if (count := whole(value.get(name))) is None else count for name in _TOKEN_FIELDS
    )
    reasoning, cost = value.get("reasoningTokens"), value.get("cost")
    picked = None
    if isinstance(cost, dict):
        total = _amount(cost.get("total"))
        if total is None and cost.get("total") is not None:
            total = math.inf
        picked = EntryCost(total, *(_amount(cost.get(name)) for name in _TOKEN_FIELDS))
    told = json.dumps(value, default=str)
    return EntryUsage(tokens_in, tokens_out, cached, written, reasoning, picked, told)


def _amount(value: Any) -> float | None:
    """USD, or None for what is none."""
    return value if type(value) in _NUMBERS and -1e9 < value < 1e9 else None


class EntryParser:
    """Turn the entries of one transcript, in order, into rows of a Reading.

    One parser for every era: a line of a JSONL file and a row of `transcript_events` hold the same object
    (seen in OpenClaw 2026.2.12 to 2026.9.6). `find_turn(entry_id)` answers whether the turn of an entry that was read
    in an earlier pass is a heartbeat's; it is asked only for parents that this pass has not seen.
    """

    __slots__ = (
        "call_ms",
        "count_nameless",
        "find_turn",
        "heartbeat",
        "model_ids",
        "nameless",
        "rank",
        "reading",
        "seen",
        "session",
    )

    def __init__(
        self,
        seen: SessionSeen,
        rank: int,
        reading: Reading,
        find_turn: Callable[[str], bool] | None = None,
    ) -> None:
        self.seen = seen
        self.rank = rank
        self.reading = reading
        self.find_turn = find_turn
        self.session = session_rowid(seen.agent, seen.session_id)
        self.heartbeat: dict[str, bool] = {}
        self.call_ms: dict[str | None, int] = {}
        self.model_ids: dict[tuple[Any, Any, Any], int] = {}
        self.nameless: Counter[tuple[Any, ...]] = Counter()
        self.count_nameless: Callable[[], Counter[tuple[Any, ...]]] | None = None
        if seen.tail_id is not None:
            self.heartbeat[seen.tail_id] = seen.tail_heartbeat
        reading.sessions[self.session] = seen

    def next_reading(self, reading: Reading | None = None) -> Reading:
        """Go on into another reading; the one before has been given away."""
        self.reading = Reading() if reading is None else reading
        self.seen = replace(self.seen)
        self.reading.sessions[self.session] = self.seen
        self.reading.models.update(
            {
                i: (sound(p or "unknown"), sound(m or "unknown"), sound(a or ""))
                for (p, m, a), i in self.model_ids.items()
            }
        )
        return self.reading

    def parse(self, raw: bytes | str, where: Callable[[], str]) -> bool:
        """Parse one entry; False when it is not one (the reading counts it)."""
        try:
            entry = read_entry(raw)
        except ValueError as error:
            self.reading.bad(where(), f"{error}; skipped")
            return False
        try:
            self.take(entry)
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
            self.reading.bad(
                where(), f"an entry of a form we do not know ({plain(error, 80)}); skipped"
            )
            return False
        return True

    def take(self, entry: Entry) -> None:
        """Account for one entry."""
        seen = self.seen
        kind = entry.type
        stamp = entry.timestamp
        outer = entry_ms(stamp)
        if kind == "session":
            if outer is not None and (seen.header_ms is None or outer < seen.header_ms):
                seen.header_ms = outer
            version = int_or_none(entry.version)
            seen.version = seen.version if version is None else version
            return
        if outer is not None:
            if seen.first_ms is None or outer < seen.first_ms:
                seen.first_ms = outer
            if seen.last_ms is None or outer > seen.last_ms:
                seen.last_ms = outer
        entry_id = entry.id
        parent = entry.parent_id
        message = entry.message if kind == "message" else None
        turn = False
        if message is not None and message.role == "user":
            turn = is_heartbeat_prompt(message.content)
            seen.last_kind = "user"
            seen.failed_model = None
        elif parent is not None:
            known = self.heartbeat.get(parent)
            if known is None and self.find_turn is not None:
                known = self.find_turn(parent)
            turn = bool(known)
        if type(entry_id) is str:
            self.heartbeat[entry_id] = turn
            seen.tail_id, seen.tail_heartbeat = entry_id, turn
        if message is not None:
            usage = message.usage
            if usage is not None and message.role == "assistant" and message.provider != "openclaw":
                self.take_call(message, usage, entry, outer, turn=turn)
            else:
                self.take_message(message, entry_id, stamp, outer)
        elif kind == "thinking_level_change":
            seen.thinking_level = sound(entry.thinking_level)
        elif kind in ("compaction", "reset"):
            key = entry_key(str(entry_id), stamp)
            self.reading.messages.append((key, self.session, outer, kind, None, 0, None))

    def take_message(
        self, message: EntryMessage, entry_id: Any, stamp: Any, outer: int | None
    ) -> None:
        """Account for a message that is not a model call."""
        role = message.role
        inner = message.timestamp
        moment = stamp if inner is msgspec.UNSET else inner
        row_tool, failed, duration = None, 0, None
        if role == "toolResult":
            kind, row_tool = "toolResult", message.tool_name or "?"
            if type(row_tool) is not str or not row_tool.isidentifier():
                row_tool = sound(row_tool)
            details = message.details
            failed = 1 if message.is_error else 0
            if details is not None:
                code = details.exit_code
                if details.status == "error" or (isinstance(code, int | float) and code > 0):
                    failed = 1
                duration = int_or_none(details.duration_ms)
            if duration is None and outer is not None:
                called = self.call_ms.get(message.tool_call_id)
                duration = outer - called if called is not None and outer >= called else None
            self.seen.last_kind = "toolResult"
        elif role == "user":
            kind = "user"
        elif role == "assistant":
            kind = "injected" if message.provider == "openclaw" else "assistant"
        elif role == "custom":
            kind = "custom"
            name = message.details.tool_name if message.details is not None else None
            row_tool = sound(name) if name else None
        else:
            kind = f"role:{sound(role)}"[:80]
        when = outer
        if when is None and isinstance(inner, int | float):
            when = int(inner)
        name = entry_id if type(entry_id) is str else self.name_of(entry_id, kind, moment)
        key = entry_key(name, moment)
        self.reading.messages.append((key, self.session, when, kind, row_tool, failed, duration))

    def name_of(self, entry_id: Any, *what: Any) -> str:
        """The id of an entry; one without gets the session and its ordinal among those that look the same."""
        if entry_id is not None:
            return str(entry_id)
        if self.count_nameless is not None:  # those of earlier passes have taken the first ordinals
            self.nameless, self.count_nameless = self.count_nameless(), None
        self.nameless[what] += 1
        return f"{self.seen.session_id}#{self.nameless[what]}#{what}"

    def take_call(
        self,
        message: EntryMessage,
        usage: EntryUsage,
        entry: Entry,
        outer: int | None,
        *,
        turn: bool,
    ) -> None:
        """Account for a model call."""
        seen, reading = self.seen, self.reading
        model_id = self.model_ids.get((message.provider, message.model, message.api))
        if model_id is None:
            model_id = self.meet_model(message.provider, message.model, message.api)
        inner = message.timestamp
        requested = inner if type(inner) is int and 0 <= inner <= LATEST_MS else time_or_none(inner)
        when = outer if outer is not None else requested
        stop = message.stop_reason
        tools = None
        content = message.content
        if type(content) is list:
            called = [b for b in content if b.type == "toolCall"]
            if called:
                if when is not None:
                    for block in called:
                        if type(block.id) is str:
                            self.call_ms[block.id] = when
                tools = '["' + '", "'.join([tool_name(b) for b in called]) + '"]'
        tokens_in, tokens_out = usage.input, usage.output
        cached, written = usage.cache_read, usage.cache_write
        cost = usage.cost
        recorded = c_in = c_out = c_read = c_write = None
        implausible = not (
            0 <= tokens_in <= MAX_TOKENS
            and 0 <= tokens_out <= MAX_TOKENS
            and 0 <= cached <= MAX_TOKENS
            and 0 <= written <= MAX_TOKENS
        )
        if cost is not None and cost.total is not None:
            recorded = nano_usd(cost.total)
            if recorded is None or not 0 <= recorded <= MAX_COST_NANO:
                implausible = True
            elif recorded:  # as written, in USD: parts are shown, only the total is summed
                c_in, c_out = _amount(cost.input), _amount(cost.output)
                c_read, c_write = _amount(cost.cache_read), _amount(cost.cache_write)
        moment = entry.timestamp if inner is msgspec.UNSET else inner
        name = entry.id
        if type(name) is not str:
            name = self.name_of(name, moment, tokens_in, tokens_out, cached, written)
        key = entry_key(name, moment)
        seen.last_kind = "toolUse" if tools else str(stop)
        if implausible or when is None:
            reason = (
                "no time"
                if when is None
                else "negative, not a number, over 10⁹ tokens or over $10,000 in one call"
            )
            text = sound(usage.told or msgspec.json.encode(usage).decode())[:500]
            reading.implausible.append(Implausible(key, self.session, when or 0, reason, text))
            return
        flags = FLAG_HEARTBEAT if turn else 0
        if seen.failed_model is not None and seen.failed_model != model_id:
            flags |= FLAG_FAILOVER
        seen.failed_model = model_id if stop == "error" else None
        reasoning = usage.reasoning_tokens
        latency = (
            when - requested
            if requested is not None and outer is not None and 0 <= outer - requested < DAY_MS
            else None
        )
        reading.calls.append((
            key, when, self.session, model_id, flags, stop if type(stop) is str and stop.isascii() else sound(stop), tokens_in, tokens_out,
            cached, written, reasoning if type(reasoning) is int and 0 <= reasoning <= MAX_TOKENS else None, latency, seen.thinking_level, tools,
            recorded, c_in, c_out, c_read, c_write, self.rank,
        ))  # fmt: skip

    def meet_model(self, provider: Any, model: Any, api: Any) -> int:
        """The id of a model that this transcript has not named before."""
        names = (sound(provider or "unknown"), sound(model or "unknown"), sound(api or ""))
        found = self.model_ids[provider, model, api] = model_rowid(*names)
        self.reading.models[found] = names
        return found


def is_heartbeat_prompt(content: str | Sequence[EntryBlock] | None) -> bool:
    """Whether a user message is OpenClaw's heartbeat prompt (2026.2: the long one; later: the poll)."""
    if type(content) is str:
        return HEARTBEAT.match(content) is not None
    if type(content) is list:
        for block in content:
            if block.type == "text":
                text = block.text
                if isinstance(text, msgspec.Raw):
                    text = msgspec.json.decode(text)
                return HEARTBEAT.match(str(text)) is not None
    return False


_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.:-]+")


def tool_name(block: EntryBlock) -> str:
    """The name of a tool call; behind the `tool_call` wrapper of 2026.9, the tool it calls."""
    name = block.name
    if name == "tool_call":
        arguments = block.arguments
        if isinstance(arguments, msgspec.Raw):
            arguments = parse_lenient_or_none(bytes(arguments))
        if type(arguments) is dict and type(arguments.get("id")) is str:
            name = arguments["id"]
    text = str(name)[:120]
    if _PLAIN_NAME.fullmatch(text):
        return text
    return json.dumps(sound(text))[1:-1].replace("\\", "/").replace('"', "'")


def parse_lenient(raw: bytes | str) -> Any:
    """Parse what orjson refuses and JavaScript writes: lone surrogates, NaN. None when it is not JSON at all."""
    try:
        text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None


def parse_lenient_or_none(raw: bytes | str) -> Any:
    """The JSON value of a line, by either parser, or None."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return parse_lenient(raw)


###############################################################################
# Pricing #####################################################################
###############################################################################
# What a call costs when OpenClaw did not say, and what it would cost by list. A price
# is resolved once per (provider, model, day), in integer pico-USD per token, so that
# every sum is exact. List prices come from genai-prices, whose 16 MB of data live in a
# short-lived child process, not here.

PICO_PER_USD_MTOK = 10**6
LOCAL_PROVIDERS = frozenset({"ollama", "lmstudio", "lm-studio", "llamacpp", "llama.cpp", "llama-cpp", "vllm", "local", "mlx", "jan", "localai"})  # fmt: skip
#: Names that OpenClaw uses for providers and genai-prices does not.
PROVIDER_ALIASES = {
    "amazon-bedrock": "aws", "xai": "x-ai", "google-vertex": "google", "google-antigravity": "google", "google-gemini-cli": "google",
    "moonshot": "moonshotai", "kimi-coding": "moonshotai", "openai-codex": "openai", "codex-cli": "openai", "claude-cli": "anthropic",
    "azure-openai-responses": "azure", "z-ai": "zai",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Price:
    """Pico-USD per token (1 USD per million tokens = 10⁶). `above`: prompt tokens above which it holds."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    above: int = 0


@dataclass(frozen=True, slots=True)
class Tariff:
    """The prices of one model on one day, cheapest tier first, and where they come from."""

    basis: str  # override | config | list | local
    tiers: tuple[Price, ...]
    replace_recorded: bool = False

    def price_for(self, prompt_tokens: int) -> Price:
        """The tier that holds for a call with this many prompt tokens (all of its tokens are charged by it)."""
        chosen = self.tiers[0]
        for tier in self.tiers[1:]:
            if prompt_tokens > tier.above:
                chosen = tier
        return chosen


def pico(usd_per_mtok: Decimal) -> int:
    """Pico-USD per token of USD per million tokens."""
    return int((usd_per_mtok * PICO_PER_USD_MTOK).quantize(Decimal(1), ROUND_HALF_EVEN))


def nano_from_pico(value: int) -> int:
    """Nano-USD of pico-USD, half to even."""
    nano = (value + 500) // 1000
    return nano - 1 if value % 1000 == 500 and nano & 1 else nano


def make_price(
    prices: Mapping[str, Decimal | None], *, ttl: str, above: int = 0, base: Price | None = None
) -> Price:
    """A Price from USD per million tokens. Cached tokens without a price of their own cost what input costs."""
    get = prices.get
    tokens_in = get("input")
    p_in = pico(tokens_in) if tokens_in is not None else base.input if base else 0
    p_out = pico(v) if (v := get("output")) is not None else base.output if base else 0
    p_read = pico(v) if (v := get("cache_read")) is not None else base.cache_read if base else p_in
    write = (
        get("cache_write_1h")
        if ttl == "1h" and get("cache_write_1h") is not None
        else get("cache_write")
    )
    p_write = pico(write) if write is not None else base.cache_write if base else p_in
    return Price(p_in, p_out, p_read, p_write, above)


def price_tokens(price: Price, tokens_in: int, tokens_out: int, cached: int, written: int) -> int:
    """What tokens cost in nano-USD, rounded once."""
    return nano_from_pico(
        tokens_in * price.input
        + tokens_out * price.output
        + cached * price.cache_read
        + written * price.cache_write
    )


def price_parts(
    price: Price, tokens_in: int, tokens_out: int, cached: int, written: int
) -> tuple[float, float, float, float]:
    """The parts of price_tokens in USD, to be shown; their sum may differ from the total by a rounding."""
    return (
        tokens_in * price.input / 1e12,
        tokens_out * price.output / 1e12,
        cached * price.cache_read / 1e12,
        written * price.cache_write / 1e12,
    )


class ListPrices:
    """List prices over time, asked from a child process that holds genai-prices.

    `find(provider, model)` gives [(from_day, tiers)], newest last, where from_day counts days since 1970 and
    tiers are USD per million tokens. Answers are kept; the child ends when it has not been asked for a while.
    A failure is not an answer: what was asked in vain stays in `unanswered` until ask_again().
    """

    RETRY_S = 600.0

    def __init__(self, cache: Path | None = None, command: Sequence[str] | None = None) -> None:
        self.lock = threading.Lock()
        self.child: subprocess.Popen[bytes] | None = None
        self.command = command or own_command("_list-prices")
        self.known: dict[tuple[str, str], list[tuple[int, list[Json]]]] = {}
        self.unanswered: set[tuple[str, str]] = set()
        self.retry_at = 0.0
        self.problem: str | None = None
        self.cache = cache / f"list-prices-{price_source()}.json" if cache else None
        self.is_saved = True
        if self.cache:
            with contextlib.suppress(OSError, ValueError, TypeError):
                self.known = {
                    (p, m): [(int(d), t) for d, t in found]
                    for p, m, found in orjson.loads(self.cache.read_bytes())
                }

    def _start(self) -> None:
        if self.child is None or self.child.poll() is not None:
            try:
                self.child = subprocess.Popen(
                    self.command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            except OSError as error:
                self.problem = f"cannot start the price process: {error}"

    def find(self, provider: str, model: str) -> list[tuple[int, list[Json]]]:
        """The list prices of a model; empty when there are none, or they could not be asked."""
        key = (provider, model)
        with self.lock:
            if key not in self.known and key not in self.unanswered:
                # After one failure nothing is asked: a start in vain for each model would take minutes.
                answer = self._ask(key) if not self.unanswered else None
                if answer is None:
                    self.unanswered.add(key)
                else:
                    self.known[key] = answer
            return self.known.get(key, [])

    def ask_again(self) -> bool:
        """Ask once more what was asked in vain, every ten minutes at most; True when something was answered."""
        with self.lock:
            if not self.unanswered or time.monotonic() < self.retry_at:
                return False
            asked, self.unanswered = self.unanswered, set()
        for key in asked:
            self.find(*key)
        return bool(asked - self.unanswered)

    def _ask(self, key: tuple[str, str]) -> list[tuple[int, list[Json]]] | None:
        self.retry_at = time.monotonic() + self.RETRY_S
        self._start()
        if self.child is None or self.child.stdin is None or self.child.stdout is None:
            return None
        try:
            self.child.stdin.write(orjson.dumps(key) + b"\n")
            self.child.stdin.flush()
            answer = orjson.loads(self.child.stdout.readline())
        except (OSError, ValueError) as error:
            self.problem = f"the price process failed: {error}; calls without a recorded cost have no price until it answers"
            self.close_child()
            return None
        self.problem = None
        self.is_saved = False
        return [(int(d), t) for d, t in answer]

    def save(self) -> None:
        """Keep the answers for the next start. A cache that cannot be written costs time, not numbers."""
        if self.cache is None or self.is_saved:
            return
        with contextlib.suppress(OSError):
            self.cache.parent.mkdir(parents=True, exist_ok=True)
            partial = self.cache.with_name(f".{self.cache.name}.{os.getpid()}")
            partial.write_bytes(
                orjson.dumps([(p, m, found) for (p, m), found in self.known.items()])
            )
            os.replace(partial, self.cache)
            self.is_saved = True

    def close_child(self) -> None:
        """End the child; what it answered stays known."""
        child, self.child = self.child, None
        if child is not None:
            if child.stdin:
                child.stdin.close()
            child.terminate()
            child.wait(5)
            if child.stdout:
                child.stdout.close()

    def close(self) -> None:
        """End the child, and keep its answers."""
        with self.lock:
            self.save()
            self.close_child()


def price_source() -> str:
    """The version of genai-prices, which is the version of its prices."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("genai-prices")
    except PackageNotFoundError:
        return "none"


def own_command(*words: str) -> list[str]:
    """The command that runs this very module in another interpreter; by import, so that its bytecode is not made anew."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parent)!r}); import clawmeter; sys.exit(clawmeter.main(sys.argv[1:]))"
    return [sys.executable, "-I", "-c", code, *words]


def serve_list_prices() -> int:
    """The child process: answer [provider, model] lines with [[from_day, tiers], …] lines."""
    from genai_prices import data_snapshot
    from genai_prices.types import TieredPrices

    snapshot = data_snapshot.get_snapshot()

    def tiers_of(price: Any) -> list[Json]:
        names = {"input": "input_mtok", "output": "output_mtok", "cache_read": "cache_read_mtok", "cache_write": "cache_write_mtok", "cache_write_1h": "cache_write_1h_mtok"}  # fmt: skip
        values = {ours: getattr(price, theirs, None) for ours, theirs in names.items()}
        if values["input"] is None and values["output"] is None:
            return []
        starts = sorted(
            {t.start for v in values.values() if isinstance(v, TieredPrices) for t in v.tiers}
        )
        out: list[Json] = []
        for above in [0, *starts]:
            tier: Json = {"above": above}
            for name, value in values.items():
                if isinstance(value, TieredPrices):
                    held = [t.price for t in value.tiers if t.start <= above] if above else []
                    value = held[-1] if held else value.base  # noqa: PLW2901
                if value is not None:
                    tier[name] = str(value)
            out.append(tier)
        return out

    for line in sys.stdin.buffer:
        provider, model = orjson.loads(line)
        found = None
        for name in dict.fromkeys((PROVIDER_ALIASES.get(provider, provider), provider)):
            with contextlib.suppress(LookupError):
                found = snapshot.find_provider_model(model, None, name, None)[1]
                break
        answer: list[Any] = []
        if found is not None:
            days = {0}
            if isinstance(found.prices, list):
                for item in found.prices:
                    start = getattr(getattr(item, "constraint", None), "start_date", None)
                    if start is not None:
                        days.add(start.toordinal() - _EPOCH)
            for day in sorted(days):
                noon = datetime(1970, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)
                answer.append((day, tiers_of(found.get_prices(noon))))
        sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
        sys.stdout.buffer.flush()
    return 0


#: What pricing adds to a call, in order: the columns of `model_calls` after CALL_FIELDS.
PRICED_FIELDS = ("basis", "cost_nano", "list_nano")


class PriceBook:
    """Prices by DESIGN §4: override, recorded, config, list, local, unpriced; and who pays by plan."""

    def __init__(
        self, settings: Settings, configs: Sequence[OpenClawConfig], lists: ListPrices
    ) -> None:
        self.settings = settings
        self.lists = lists
        self.saved = load_saved_prices(settings.state_dir)
        self.config_prices: dict[tuple[str, str], ConfigPrice] = {}
        self.base_urls: dict[str, str] = {}
        plan: set[str] = set()
        for config in reversed(configs):
            self.config_prices.update(config.prices)
            self.base_urls.update(config.base_urls)
            plan |= config.plan_providers
        self.plan = (plan | set(settings.plan_providers)) - set(settings.metered_providers)
        self.names: dict[int, tuple[str, str, str]] = {}
        self.resolved: dict[tuple[int, int], tuple[Tariff | None, Tariff | None, bool]] = {}
        self.list_tariffs: dict[tuple[str, str, int], Tariff] = {}

    @property
    def overrides(self) -> dict[str, PriceOverride]:
        """The user's prices: those of clawmeter.toml, else those set on the Cost page."""
        return {**self.saved, **self.settings.prices}

    def save(self, saved: dict[str, PriceOverride]) -> None:
        """Take over other prices from the Cost page; what they change is for the Store to count anew."""
        save_prices(self.settings.state_dir, saved)
        self.saved = saved
        self.resolved.clear()

    def fingerprint(self) -> str:
        """Changes when any call's price could."""
        what = [price_source(), VERSION, self.settings.cache_write_ttl, sorted(self.plan), sorted((k, repr(v)) for k, v in self.config_prices.items()),
                sorted(self.base_urls.items()), sorted((k, repr(v)) for k, v in self.overrides.items()), sorted(self.lists.unanswered)]  # fmt: skip
        return blake2b(repr(what).encode(), digest_size=16).hexdigest()

    def override(self, provider: str, model: str) -> Tariff | None:
        """The user's price for a model, by `provider/model` or by model alone."""
        prices = self.overrides
        found = prices.get(f"{provider}/{model}") or prices.get(model)
        if found is None:
            return None
        ttl = self.settings.cache_write_ttl
        base = make_price(found.prices, ttl=ttl)
        tiers = [
            base,
            *(make_price(p, ttl=ttl, above=above, base=base) for above, p in found.tiers),
        ]
        return Tariff("override", tuple(tiers), found.replace_recorded)

    def config(self, provider: str, model: str) -> Tariff | None:
        """The price in openclaw.json."""
        found = self.config_prices.get((provider, model))
        return Tariff("config", (make_price(asdict(found), ttl="5m"),)) if found else None

    def listed(self, provider: str, model: str, day: int) -> Tariff | None:
        """The list price on a day (days since 1970, UTC)."""
        since, held = 0, list[Json]()
        for from_day, tiers in self.lists.find(provider, model):
            if from_day <= day:
                since, held = from_day, tiers
        if not held:
            return None
        tariff = self.list_tariffs.get((provider, model, since))
        if tariff is None:
            ttl = self.settings.cache_write_ttl
            prices = [{k: Decimal(v) for k, v in t.items() if k != "above"} for t in held]
            tiers_of = zip(prices, held, strict=True)
            tariff = Tariff(
                "list", tuple(make_price(p, ttl=ttl, above=t["above"]) for p, t in tiers_of)
            )
            self.list_tariffs[provider, model, since] = tariff
        return tariff

    def is_local(self, provider: str) -> bool:
        """A server for local models on this machine: its calls cost nothing."""
        if provider.lower() not in LOCAL_PROVIDERS:
            return False
        host = urllib.parse.urlsplit(self.base_urls.get(provider, "")).hostname or "localhost"
        return (
            host == "localhost"
            or host.startswith("127.")
            or host in ("::1", "0.0.0.0", "host.docker.internal")  # noqa: S104 - compared, not bound
        )

    def resolve(self, model_id: int, day: int) -> tuple[Tariff | None, Tariff | None, bool]:
        """(tariff for a call without recorded cost, list tariff, paid by plan) of a model on a day."""
        key = (model_id, day)
        if (found := self.resolved.get(key)) is None:
            provider, model, _ = self.names[model_id]
            listed = self.listed(provider, model, day)
            tariff = self.override(provider, model) or self.config(provider, model) or listed
            if tariff is None and self.is_local(provider):
                tariff = Tariff("local", (Price(0, 0, 0, 0),))
            plan = provider in self.plan or f"{provider}/{model}" in self.plan
            if len(self.resolved) > 50_000:
                self.resolved.clear()
            found = self.resolved[key] = (tariff, listed, plan)
        return found

    def settle(self, row: CallRow) -> CallRow:
        """A call row with its PRICED_FIELDS behind it, and the plan flag set."""
        key = (row[C_MODEL], row[C_TS] // DAY_MS)
        tariff, listed, plan = self.resolved.get(key) or self.resolve(*key)
        tokens = row[C_INPUT : C_WRITE + 1]
        tokens_in, tokens_out, cached, written = tokens
        prompt = tokens_in + cached + written
        recorded = row[C_RECORDED]
        list_nano = None
        if listed is not None:
            tiers = listed.tiers
            tier = tiers[0] if len(tiers) == 1 else listed.price_for(prompt)
            list_nano = price_tokens(tier, tokens_in, tokens_out, cached, written)
        if plan != bool(row[C_FLAGS] & FLAG_PLAN):
            row = (*row[:C_FLAGS], row[C_FLAGS] ^ FLAG_PLAN, *row[C_FLAGS + 1 :])
        if recorded and not (tariff and tariff.replace_recorded):
            return (*row, "recorded", recorded, list_nano)
        if not (prompt or tokens_out):
            return (*row, "recorded", 0, list_nano)
        if tariff is None:
            return (*row, "unpriced", 0, None)
        price = tariff.price_for(prompt)
        parts = price_parts(price, *tokens)
        return (
            *row[:C_COST_INPUT],
            *parts,
            row[C_RANK],
            tariff.basis,
            price_tokens(price, *tokens),
            list_nano,
        )


###############################################################################
# Store #######################################################################
###############################################################################
# One SQLite database, the only place where numbers live. `Store.add()` is the only
# writer of usage; readers use `Store.reading()`. A checkpoint and what it covers are
# committed together. Three rollups answer most questions: `usage_quarter_hours`,
# `usage_days` per zone in use and `usage_tool_days`; all are sums over `model_calls`
# by one list of MEASURES, moved by delta in the transaction that changes a call.

SCHEMA_VERSION = 1
APPLICATION_ID = 0x436C614D  # "ClaM"

#: (name, SQL over a row `c` of model_calls): what every rollup and every session sums.
MEASURES: tuple[tuple[str, str], ...] = (
    ("model_calls", "1"),
    ("input_tokens", "c.input_tokens"),
    ("output_tokens", "c.output_tokens"),
    ("cache_read_tokens", "c.cache_read_tokens"),
    ("cache_write_tokens", "c.cache_write_tokens"),
    ("cost_nano", "iif(c.flags & 4, 0, c.cost_nano)"),
    ("recorded_nano", "ifnull(c.recorded_nano, 0)"),
    ("plan_nano", "iif(c.flags & 4, c.cost_nano, 0)"),
    ("unpriced_calls", "(c.basis = 'unpriced')"),
    (
        "compared_recorded_nano",
        "iif(c.recorded_nano > 0 AND c.list_nano IS NOT NULL, c.recorded_nano, 0)",
    ),
    ("compared_list_nano", "iif(c.recorded_nano > 0 AND c.list_nano IS NOT NULL, c.list_nano, 0)"),
    ("tool_calls", "iif(c.tools IS NULL, 0, json_array_length(c.tools))"),
    ("model_errors", "(c.stop_reason = 'error')"),
    ("aborts", "(c.stop_reason = 'aborted')"),
    ("failovers", "((c.flags & 2) > 0)"),
    ("latency_ms", "ifnull(c.latency_ms, 0)"),
)
MEASURE_NAMES = tuple(name for name, _ in MEASURES)
#: What a session counts beside its model calls: (column, SQL over a row `m` of messages).
MESSAGE_MEASURES: tuple[tuple[str, str], ...] = (
    ("user_messages", "(m.kind = 'user')"),
    ("tool_results", "(m.kind = 'toolResult')"),
    ("tool_errors", "(m.kind = 'toolResult' AND m.is_error)"),
    ("compactions", "(m.kind = 'compaction')"),
)

#: What is split over the tools of a call: the measures of T and no more, because this rollup has the most rows.
TOOL_MEASURES = MEASURES[:9]
_SUM_COLUMNS = ", ".join(f"{n} INTEGER NOT NULL DEFAULT 0" for n in MEASURE_NAMES)
_TOOL_SUM_COLUMNS = ", ".join(f"{n} INTEGER NOT NULL DEFAULT 0" for n, _ in TOOL_MEASURES)
_CALL_COLUMNS = """
  id INTEGER PRIMARY KEY,
  entry_key INTEGER NOT NULL, ts_ms INTEGER NOT NULL, session INTEGER NOT NULL, model INTEGER NOT NULL, flags INTEGER NOT NULL,
  stop_reason TEXT, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cache_read_tokens INTEGER NOT NULL,
  cache_write_tokens INTEGER NOT NULL, reasoning_tokens INTEGER, latency_ms INTEGER, thinking_level TEXT, tools TEXT,
  recorded_nano INTEGER, cost_input REAL, cost_output REAL, cost_cache_read REAL, cost_cache_write REAL, rank INTEGER NOT NULL,
  basis TEXT NOT NULL, cost_nano INTEGER NOT NULL, list_nano INTEGER
"""
SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE models (id INTEGER PRIMARY KEY, provider TEXT NOT NULL, model TEXT NOT NULL, api TEXT NOT NULL);
CREATE TABLE sessions (
  id INTEGER PRIMARY KEY, agent TEXT NOT NULL, session_id TEXT NOT NULL, key TEXT, channel TEXT, index_channel TEXT, chat_type TEXT,
  origin_provider TEXT, label TEXT, cause TEXT NOT NULL DEFAULT 'unknown', cron_job TEXT, parent_key TEXT, parent INTEGER, status TEXT,
  header_ms INTEGER, first_ms INTEGER, last_ms INTEGER, facts_ms INTEGER NOT NULL DEFAULT 0, version INTEGER, stored_as TEXT,
  last_kind TEXT, tail_id TEXT, tail_heartbeat INTEGER, thinking_level TEXT, failed_model INTEGER, context_tokens INTEGER,
  context_window INTEGER, {_SUM_COLUMNS}, {", ".join(f"{n} INTEGER NOT NULL DEFAULT 0" for n, _ in MESSAGE_MEASURES)},
  prompt TEXT
);
CREATE INDEX sessions_by_id ON sessions(session_id);
CREATE INDEX sessions_by_key ON sessions(key);
CREATE INDEX sessions_by_parent ON sessions(parent) WHERE parent IS NOT NULL;
CREATE INDEX sessions_by_parent_key ON sessions(parent_key) WHERE parent_key IS NOT NULL;
CREATE INDEX sessions_by_last ON sessions(last_ms);
CREATE TABLE model_calls ({_CALL_COLUMNS});
CREATE TABLE messages (
  id INTEGER PRIMARY KEY, entry_key INTEGER NOT NULL, session INTEGER NOT NULL, ts_ms INTEGER, kind TEXT NOT NULL, tool TEXT,
  is_error INTEGER NOT NULL, duration_ms INTEGER
);
CREATE TABLE call_copies (call INTEGER NOT NULL, session INTEGER NOT NULL, PRIMARY KEY (call, session)) WITHOUT ROWID;
CREATE INDEX call_copies_by_session ON call_copies(session);
CREATE TABLE message_copies (message INTEGER NOT NULL, session INTEGER NOT NULL, PRIMARY KEY (message, session)) WITHOUT ROWID;
CREATE INDEX message_copies_by_session ON message_copies(session);
CREATE TABLE implausible (entry_key INTEGER PRIMARY KEY, session INTEGER NOT NULL, ts_ms INTEGER, reason TEXT NOT NULL, usage TEXT NOT NULL);
CREATE TABLE usage_quarter_hours (
  slot INTEGER NOT NULL, session INTEGER NOT NULL, model INTEGER NOT NULL, heartbeat INTEGER NOT NULL, {_SUM_COLUMNS},
  PRIMARY KEY (slot, session, model, heartbeat)) WITHOUT ROWID;
CREATE TABLE usage_sessions (
  session INTEGER NOT NULL, model INTEGER NOT NULL, heartbeat INTEGER NOT NULL, {_SUM_COLUMNS},
  PRIMARY KEY (session, model, heartbeat)) WITHOUT ROWID;
CREATE TABLE zones (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, used_ms INTEGER NOT NULL);
CREATE TABLE usage_days (
  zone INTEGER NOT NULL, day INTEGER NOT NULL, session INTEGER NOT NULL, model INTEGER NOT NULL, heartbeat INTEGER NOT NULL,
  {_SUM_COLUMNS}, PRIMARY KEY (zone, day, session, model, heartbeat)) WITHOUT ROWID;
CREATE TABLE usage_tool_days (
  zone INTEGER NOT NULL, day INTEGER NOT NULL, tool TEXT NOT NULL, session INTEGER NOT NULL, model INTEGER NOT NULL,
  heartbeat INTEGER NOT NULL, {_TOOL_SUM_COLUMNS}, PRIMARY KEY (zone, day, tool, session, model, heartbeat)) WITHOUT ROWID;
CREATE TABLE usage_slot_totals (slot INTEGER PRIMARY KEY, {_TOOL_SUM_COLUMNS});
CREATE TABLE usage_tool_day_totals (
  zone INTEGER NOT NULL, day INTEGER NOT NULL, tool TEXT NOT NULL, {_TOOL_SUM_COLUMNS}, PRIMARY KEY (zone, day, tool)) WITHOUT ROWID;
CREATE TABLE sources (
  path TEXT PRIMARY KEY, kind TEXT NOT NULL, agent TEXT NOT NULL, session_id TEXT NOT NULL, dev INTEGER, inode INTEGER, size INTEGER,
  mtime_ns INTEGER, position INTEGER NOT NULL DEFAULT 0, head BLOB, tail BLOB, lines INTEGER NOT NULL DEFAULT 0,
  indexed_bytes INTEGER NOT NULL DEFAULT 0, bad_lines INTEGER NOT NULL DEFAULT 0, pending_line INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL DEFAULT 'ok', error TEXT, schema_version INTEGER, seen_ms INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE rewrite_generations (
  path TEXT NOT NULL, session_id TEXT NOT NULL, generation TEXT NOT NULL, PRIMARY KEY (path, session_id)) WITHOUT ROWID;
CREATE TABLE subagent_runs (
  run_id TEXT PRIMARY KEY, child_key TEXT NOT NULL, parent_key TEXT NOT NULL, label TEXT, status TEXT NOT NULL, created_ms INTEGER,
  started_ms INTEGER, ended_ms INTEGER) WITHOUT ROWID;
CREATE INDEX subagent_runs_by_child ON subagent_runs(child_key);
CREATE TABLE cron_runs (
  job_id TEXT NOT NULL, run_ms INTEGER NOT NULL, status TEXT NOT NULL, session_id TEXT, duration_ms INTEGER, PRIMARY KEY (job_id, run_ms)
) WITHOUT ROWID;
CREATE VIEW usage_events AS SELECT
  strftime('%Y-%m-%dT%H:%M:%fZ', c.ts_ms / 1000.0, 'unixepoch') AS event_ts, c.ts_ms, s.agent AS agent_id, s.session_id,
  s.key AS session_key, s.channel, s.chat_type, s.origin_provider, m.provider AS model_provider, m.model, m.api, c.stop_reason,
  c.input_tokens, c.output_tokens, c.cache_read_tokens, c.cache_write_tokens,
  c.input_tokens + c.output_tokens + c.cache_read_tokens + c.cache_write_tokens AS total_tokens,
  c.cost_input, c.cost_output, c.cost_cache_read, c.cost_cache_write,
  iif(c.basis = 'unpriced', NULL, c.cost_nano / 1e9) AS cost_total,
  iif(c.flags & 1, 'heartbeat', s.cause) AS cause, c.latency_ms, c.thinking_level, c.reasoning_tokens, c.basis AS cost_basis,
  iif(c.flags & 4, 'plan', 'metered') AS billing_mode, c.cost_nano AS cost_total_nano, c.recorded_nano AS cost_recorded_nano,
  c.list_nano AS cost_list_nano, c.tools
  FROM model_calls c JOIN sessions s ON s.id = c.session JOIN models m ON m.id = c.model;
CREATE VIEW usage_by_session AS SELECT
  session_id, agent AS agent_id, key AS session_key, channel, cause, cron_job, label, status, first_ms, last_ms, model_calls,
  input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_nano / 1e9 AS cost_usd, plan_nano / 1e9 AS plan_cost_usd,
  unpriced_calls, tool_calls, tool_errors, model_errors, aborts, failovers, compactions FROM sessions;
CREATE VIEW usage_by_day AS SELECT
  z.name AS time_zone, date(d.day * 86400, 'unixepoch') AS day, s.agent AS agent_id, m.provider AS model_provider, m.model,
  sum(d.model_calls) AS model_calls, sum(d.input_tokens) AS input_tokens, sum(d.output_tokens) AS output_tokens,
  sum(d.cache_read_tokens) AS cache_read_tokens, sum(d.cache_write_tokens) AS cache_write_tokens, sum(d.cost_nano) / 1e9 AS cost_usd,
  sum(d.plan_nano) / 1e9 AS plan_cost_usd, sum(d.unpriced_calls) AS unpriced_calls
  FROM usage_days d JOIN zones z ON z.id = d.zone JOIN sessions s ON s.id = d.session JOIN models m ON m.id = d.model GROUP BY 1, 2, 3, 4, 5;
"""
#: Made anew after a cold index, because filling an index in order costs a third of filling it at random.
INDEXES = {
    "model_calls_by_entry": "model_calls(entry_key)",
    "model_calls_by_session": "model_calls(session, ts_ms)",
    "model_calls_by_time": "model_calls(ts_ms)",
    "messages_by_entry": "messages(entry_key)",
    "messages_by_session": "messages(session, ts_ms)",
}
ALL_CALL_FIELDS = (*CALL_FIELDS, *PRICED_FIELDS)
_INSERT_CALL = f"INSERT INTO model_calls ({', '.join(ALL_CALL_FIELDS)}) VALUES ({', '.join('?' * len(ALL_CALL_FIELDS))})"
_INSERT_MESSAGE = f"INSERT INTO messages ({', '.join(MESSAGE_FIELDS)}) VALUES ({', '.join('?' * len(MESSAGE_FIELDS))})"
_USAGE = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def rollup_sql(
    table: str, keys: Mapping[str, str], rows: str, sums: Mapping[str, str], where: str = ""
) -> str:
    """The statement that adds the sums of `rows` to a rollup table, by key."""
    adds = ", ".join(f"{n} = {n} + excluded.{n}" for n in sums)
    return (
        f"INSERT INTO {table} ({', '.join(keys)}, {', '.join(sums)}) SELECT {', '.join(keys.values())}, "
        f"{', '.join(f'sum({e})' for e in sums.values())} FROM {rows} WHERE {where or 'true'} GROUP BY {', '.join(keys.values())} "
        f"ON CONFLICT DO UPDATE SET {adds}"
    )


def signed(sign: str) -> dict[str, str]:
    """MEASURES as SQL, times a sign."""
    return {n: f"{sign}({e})" if sign else e for n, e in MEASURES}


def quarter_hour_sql(rows: str, sign: str = "") -> str:
    """Add rows `c` of model_calls to usage_quarter_hours."""
    keys = {
        "slot": f"c.ts_ms / {SLOT_MS}",
        "session": "c.session",
        "model": "c.model",
        "heartbeat": "c.flags & 1",
    }
    return rollup_sql("usage_quarter_hours", keys, rows, signed(sign))


def slot_totals_sql(rows: str, sums: Mapping[str, str]) -> str:
    """Add rows `q` of (slot, measures) to usage_slot_totals: what a question without filters needs of a quarter of an hour."""
    return rollup_sql(
        "usage_slot_totals", {"slot": "q.slot"}, rows, {n: sums[n] for n, _ in TOOL_MEASURES}
    )


def sessions_sql(rows: str, sums: Mapping[str, str]) -> str:
    """Add rows `q` of (session, model, heartbeat, measures) to usage_sessions."""
    return rollup_sql(
        "usage_sessions",
        {"session": "q.session", "model": "q.model", "heartbeat": "q.heartbeat"},
        rows,
        sums,
    )


def days_sql(rows: str, sums: Mapping[str, str]) -> str:
    """Add rows `q` of (slot, session, model, heartbeat, measures) to usage_days of the zone ?1, by temp.slot_days."""
    keys = {
        "zone": "?1",
        "day": "sd.day",
        "session": "q.session",
        "model": "q.model",
        "heartbeat": "q.heartbeat",
    }
    return rollup_sql(
        "usage_days", keys, f"{rows} JOIN temp.slot_days sd ON sd.slot = q.slot", sums
    )


def split_sql(expression: str) -> str:
    """A measure's share of one tool of a call: equal parts, the remainder to the first."""
    n = "json_array_length(c.tools)"
    return f"iif(c.tools IS NULL, {expression}, iif(t.key = 0, {expression} - ({n} - 1) * (({expression}) / {n}), ({expression}) / {n}))"


def tool_rows(rows: str) -> str:
    """Rows `c` of model_calls, once for each of their tools `t`; once with t NULL for calls without tools."""
    return f"{rows} LEFT JOIN json_each(c.tools) t"


def tool_days_sql(rows: str, sign: str = "", *, totals: bool = False) -> str:
    """Add rows `c` of model_calls to usage_tool_days of the zone ?1, by temp.slot_days; or to its totals over sessions."""
    keys = {"zone": "?1", "day": "sd.day", "tool": f"ifnull(t.value, '{NONE_KEY}')", "session": "c.session", "model": "c.model", "heartbeat": "c.flags & 1"}  # fmt: skip
    sums = {n: f"{sign}({split_sql(e)})" if sign else split_sql(e) for n, e in TOOL_MEASURES}
    if totals:
        keys = {name: keys[name] for name in ("zone", "day", "tool")}
    return rollup_sql(
        "usage_tool_day_totals" if totals else "usage_tool_days",
        keys,
        tool_rows(f"{rows} JOIN temp.slot_days sd ON sd.slot = c.ts_ms / {SLOT_MS}"),
        sums,
    )


def cause_of(key: str | None) -> str:
    """The cause of a session's calls by its key; heartbeats are told per call."""
    if key is None:
        return "unknown"
    if ":cron:" in key:
        return "cron"
    if ":hook:" in key:
        return "hook"
    if ":subagent:" in key:
        return "subagent"
    return "user"


def cron_job_of(key: str | None) -> str | None:
    """The id of the cron job in a session key."""
    match = re.search(r":cron:([^:]+)", key or "")
    return match[1] if match else None


def channel_of(key: str | None, told: str | None) -> str | None:
    """A session's channel: what the index says, else what a channel key says; nothing without a key."""
    if key is None:
        return None
    part = key.split(":")
    if not told and len(part) >= 5 and part[3] in ("direct", "dm", "group", "channel"):
        return part[2]
    return told


class StateLock:
    """The right to write a ledger, held by one process: a lock file beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: io.TextIOWrapper | None = None

    def acquire(self) -> bool:
        """Take the lock; False when another process has it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = open(self.path, "a+", encoding="ascii")  # noqa: SIM115 - held until release
        try:
            if os.name == "nt":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self.file = file
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self.file:
            self.file.close()
            self.file = None


@dataclass(slots=True)
class Source:
    """A checkpoint: how far a file or database has been read. Column for column the table `sources`."""

    path: str
    kind: str
    agent: str
    session_id: str
    dev: int | None = None
    inode: int | None = None
    size: int | None = None
    mtime_ns: int | None = None
    position: int = 0  # file: bytes; database: highest rowid
    head: bytes | None = None
    tail: bytes | None = None
    lines: int = 0
    indexed_bytes: int = 0
    bad_lines: int = 0
    pending_line: int = 0
    state: str = "ok"  # ok | unreadable | partial | gone
    error: str | None = None
    schema_version: int | None = None
    seen_ms: int = 0


SOURCE_FIELDS = tuple(f.name for f in fields(Source))
_SAVE_SOURCE = f"INSERT OR REPLACE INTO sources ({', '.join(SOURCE_FIELDS)}) VALUES ({', '.join('?' * len(SOURCE_FIELDS))})"


@dataclass(slots=True)
class Changes:
    """What a transaction changed, for those who watch."""

    calls: int = 0
    sessions: set[int] = field(default_factory=set)


@contextlib.contextmanager
def without_gc() -> Iterator[None]:
    """Do not look for cycles meanwhile: a million rows have none, and looking costs a tenth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Store:
    """The ledger. One writer connection behind a lock, short-lived readers from a small pool.

    `opener` opens (and if need be repairs) the file: history.py's, or `open_private` without history.
    """

    def __init__(self, path: Path, prices: PriceBook, *, opener: Callable[[Path], tuple[sqlite3.Connection, str | None]], clock: Callable[[], float] = time.time) -> None:  # fmt: skip
        self.path = path
        self.prices = prices
        self.clock = clock
        self.lock = threading.RLock()
        self.db, self.notice = opener(path)
        self.version = 0
        self.watchers: list[Callable[[Changes], None]] = []
        self.readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self.closed = False
        self.bulk = False
        self._prepare()

    def _prepare(self) -> None:
        db = self.db
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            with self.transaction():
                for statement in SCHEMA.split(";\n"):
                    db.execute(statement)
                self._make_indexes(db)
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.executescript(
            "CREATE TEMP TABLE changes (sign INTEGER, "
            + _CALL_COLUMNS.replace("PRIMARY KEY", "")
            + ");"
            "CREATE TEMP TABLE message_changes (sign INTEGER, session INTEGER, kind TEXT, is_error INTEGER);"
            "CREATE TEMP TABLE slot_days (slot INTEGER PRIMARY KEY, day INTEGER NOT NULL);"
        )
        self.prices.names.update(
            {
                i: (p, m, a)
                for i, p, m, a in db.execute("SELECT id, provider, model, api FROM models")
            }
        )
        if self.meta("prices") != self.prices.fingerprint():
            self.reprice()

    # -- connections --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: all of it or nothing. StoreError when the disk refuses."""
        with self.lock:
            if self.db.in_transaction:
                yield self.db
                return
            try:
                self.db.execute("BEGIN IMMEDIATE")
                try:
                    yield self.db
                    self.db.execute("COMMIT")
                except BaseException:
                    self._roll_back()
                    raise
            except sqlite3.DatabaseError as error:
                raise self.failure("write", error) from error

    def _roll_back(self) -> None:
        if self.db.in_transaction:  # SQLite has ended it by itself where the disk is full
            self.db.execute("ROLLBACK")

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading with one consistent view; never blocks the writer."""
        try:
            db = self.readers.get_nowait()
        except queue.Empty:
            db = open_reader(self.path)
        try:
            db.execute("BEGIN")
            try:
                yield db
            finally:
                db.execute("ROLLBACK")
        except sqlite3.DatabaseError as error:
            raise self.failure("read", error) from error
        finally:
            if self.closed or self.readers.qsize() >= 4:
                db.close()
            else:
                self.readers.put(db)

    def failure(self, what: str, error: sqlite3.DatabaseError) -> StoreError:
        """The error for people. A damaged file is marked, so that the next start sets it aside and reads all anew."""
        text = str(error)
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            raise error  # our mistake, not the file's
        if "malformed" in text or "not a database" in text:
            with contextlib.suppress(OSError):
                Path(f"{self.path}.damaged").touch()
            text += "; it is damaged: restart Clawmeter, which keeps the file aside and reads everything anew"
        return StoreError(f"cannot {what} the ledger {self.path}: {text}")

    def close(self) -> None:
        """Close all connections."""
        with self.lock:
            self.closed = True
            while not self.readers.empty():
                self.readers.get().close()
            self.db.close()

    def meta(self, key: str) -> Any:
        """A value of the table meta, or None."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def set_meta(self, key: str, value: Any) -> None:
        """Set a value of the table meta."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # -- adding -------------------------------------------------------------------------------------------------------

    def add(
        self,
        reading: Reading,
        sources: Iterable[Source] = (),
        generations: Iterable[tuple[str, str, str]] = (),
    ) -> Changes:
        """Add what was read and move the checkpoints, in one transaction."""
        changes = Changes()
        with self.transaction() as db:
            self._add_names(db, reading)
            moved = [s for s in reading.sessions if self._see_session(db, s, reading.sessions[s])]
            if self.bulk:
                db.executemany(_INSERT_CALL, map(self.prices.settle, reading.calls))
                db.executemany(_INSERT_MESSAGE, reading.messages)
                changes.calls = len(reading.calls)
            else:
                self._add_calls(db, reading.calls, changes)
                self._add_messages(db, reading.messages)
                for session in moved:
                    self._reattribute(db, session)
                self._apply_changes(db, changes)
            for item in reading.implausible:
                db.execute("INSERT OR IGNORE INTO implausible VALUES (?, ?, ?, ?, ?)", (item.entry_key, item.session, item.ts_ms, item.reason, item.usage))  # fmt: skip
            db.executemany(
                _SAVE_SOURCE, [tuple(getattr(s, f) for f in SOURCE_FIELDS) for s in sources]
            )
            db.executemany(
                "INSERT OR REPLACE INTO rewrite_generations VALUES (?, ?, ?)", generations
            )
            changes.sessions.update(reading.sessions)
            if self.prices.lists.unanswered:
                # No price, because the list could not be asked: the next start prices these calls again.
                self.set_meta("prices", self.prices.fingerprint())
        if not self.bulk and (changes.calls or changes.sessions):
            self.announce(changes)
        return changes

    def announce(self, changes: Changes) -> None:
        """Tell the watchers that numbers changed."""
        self.version += 1
        for watch in self.watchers:
            watch(changes)

    def _add_names(self, db: sqlite3.Connection, reading: Reading) -> None:
        for model_id, names in reading.models.items():
            # Always: what we remember may be of a transaction that a full disk has undone.
            db.execute("INSERT OR IGNORE INTO models VALUES (?, ?, ?, ?)", (model_id, *names))
            self.prices.names[model_id] = names

    def _see_session(self, db: sqlite3.Connection, rowid: int, seen: SessionSeen) -> bool:
        """Widen what is known of a session; True when its start moved."""
        row = db.execute(
            "SELECT header_ms, first_ms FROM sessions WHERE id = ?", (rowid,)
        ).fetchone()
        if row is None:
            db.execute(
                "INSERT INTO sessions (id, agent, session_id) VALUES (?, ?, ?)",
                (rowid, seen.agent, seen.session_id),
            )
            row = (None, None)
        db.execute(
            "UPDATE sessions SET header_ms = ifnull(min(header_ms, ?1), ifnull(header_ms, ?1)), first_ms = ifnull(min(first_ms, ?2), ifnull(first_ms, ?2)),"
            " last_ms = ifnull(max(last_ms, ?3), ifnull(last_ms, ?3)), version = ifnull(max(version, ?4), ifnull(version, ?4)) WHERE id = ?5",
            (seen.header_ms, seen.first_ms, seen.last_ms, seen.version, rowid),
        )  # fmt: skip
        if RANKS[seen.stored_as] >= 3:
            db.execute(
                "UPDATE sessions SET last_kind = ifnull(?, last_kind), tail_id = ?, tail_heartbeat = ?, thinking_level = ?, failed_model = ?, stored_as = ? WHERE id = ?",
                (seen.last_kind, seen.tail_id, seen.tail_heartbeat, seen.thinking_level, seen.failed_model, seen.stored_as, rowid),
            )  # fmt: skip
        else:
            db.execute(
                "UPDATE sessions SET stored_as = ? WHERE id = ? AND stored_as IS NULL",
                (seen.stored_as, rowid),
            )
        before = row[0] if row[0] is not None else row[1]
        now = db.execute(
            "SELECT ifnull(header_ms, first_ms) FROM sessions WHERE id = ?", (rowid,)
        ).fetchone()[0]
        return bool(before != now)

    def _add_calls(
        self, db: sqlite3.Connection, calls: Sequence[CallRow], changes: Changes
    ) -> None:
        """Insert new calls, leave known ones, replace rewritten ones, and note who else has a copy."""
        newest = db.execute("SELECT ifnull(max(id), 0) FROM model_calls").fetchone()[0]
        if db.execute(
            "SELECT 1 FROM implausible LIMIT 1"
        ).fetchone():  # one that was repaired leaves the list
            db.executemany(
                "DELETE FROM implausible WHERE entry_key = ?", [(row[C_KEY],) for row in calls]
            )
        find = f"SELECT id, session, rank, flags & 1, {', '.join(_USAGE)} FROM model_calls WHERE entry_key = ? ORDER BY id"
        for row in calls:
            known = db.execute(find, (row[C_KEY],)).fetchall()
            if not known:
                db.execute(_INSERT_CALL, self.prices.settle(row))
                continue
            usage = row[C_INPUT : C_WRITE + 1]
            same = next((k for k in known if k[4:] == usage), None)
            rewritten = next(
                (
                    k
                    for k in known
                    if k[4:] != usage and self._holds(db, k[0], k[1], row[C_SESSION])
                ),
                None,
            )
            if same is not None:
                self._meet_copy(db, same, row, newest)
                if (
                    rewritten is not None
                ):  # an older or newer wording of the same entry is also here: one of them goes
                    winner, loser = (
                        (same, rewritten)
                        if max(row[C_RANK], same[2]) >= rewritten[2]
                        else (rewritten, same)
                    )
                    if self._holds(db, winner[0], winner[1], row[C_SESSION]):
                        self._remove_call(db, loser[0], newest)
            elif rewritten is not None:
                if row[C_RANK] >= rewritten[2]:
                    self._rewrite_call(db, rewritten, row, newest)
            else:
                db.execute(_INSERT_CALL, self.prices.settle(row))
        db.execute("INSERT INTO changes SELECT 1, * FROM model_calls WHERE id > ?", (newest,))
        changes.calls += db.execute(
            "SELECT count(*) FROM model_calls WHERE id > ?", (newest,)
        ).fetchone()[0]

    @staticmethod
    def _holds(db: sqlite3.Connection, call: int, owner: int, session: int) -> bool:
        """Whether a session owns a call or has a copy of it."""
        return (
            owner == session
            or db.execute(
                "SELECT 1 FROM call_copies WHERE call = ? AND session = ?", (call, session)
            ).fetchone()
            is not None
        )

    def _meet_copy(
        self, db: sqlite3.Connection, known: Sequence[Any], row: CallRow, newest: int
    ) -> None:
        """The same call once more: learn from it what the first copy could not tell."""
        call, owner, rank, heartbeat = known[:4]
        if (row[C_FLAGS] & FLAG_HEARTBEAT and not heartbeat) or row[C_RANK] > rank:
            with self._changing(db, call, newest):
                db.execute("UPDATE model_calls SET flags = flags | ?, rank = max(rank, ?) WHERE id = ?", (row[C_FLAGS] & FLAG_HEARTBEAT, row[C_RANK], call))  # fmt: skip
        if owner != row[C_SESSION]:
            db.executemany(
                "INSERT OR IGNORE INTO call_copies VALUES (?, ?)",
                [(call, owner), (call, row[C_SESSION])],
            )
            self._choose_owner(db, call, newest)

    @contextlib.contextmanager
    def _changing(self, db: sqlite3.Connection, call: int, newest: int) -> Iterator[None]:
        """Note a change of a call that earlier transactions have summed."""
        if call <= newest:
            db.execute("INSERT INTO changes SELECT -1, * FROM model_calls WHERE id = ?", (call,))
        yield
        if call <= newest:
            db.execute("INSERT INTO changes SELECT 1, * FROM model_calls WHERE id = ?", (call,))

    def _rewrite_call(
        self, db: sqlite3.Connection, known: Sequence[Any], row: CallRow, newest: int
    ) -> None:
        """A session has an entry in other words now. A fork that copied the old words keeps them: then there are two calls."""
        call, session = known[0], row[C_SESSION]
        others = db.execute(
            "SELECT count(*) FROM call_copies WHERE call = ? AND session <> ?", (call, session)
        ).fetchone()[0]
        if not others:
            self._replace_call(db, known, row, newest)
            return
        db.execute("DELETE FROM call_copies WHERE call = ? AND session = ?", (call, session))
        self._choose_owner(db, call, newest)
        db.execute(_INSERT_CALL, self.prices.settle(row))

    def _replace_call(
        self, db: sqlite3.Connection, known: Sequence[Any], row: CallRow, newest: int
    ) -> None:
        priced = list(self.prices.settle(row))
        priced[C_SESSION] = known[1]  # the owner stays: attribution is not identity
        priced[C_FLAGS] |= known[3]
        with self._changing(db, known[0], newest):
            db.execute(
                f"UPDATE model_calls SET {', '.join(f'{f} = ?' for f in ALL_CALL_FIELDS)} WHERE id = ?",
                (*priced, known[0]),
            )

    def _remove_call(self, db: sqlite3.Connection, call: int, newest: int) -> None:
        if call <= newest:
            db.execute("INSERT INTO changes SELECT -1, * FROM model_calls WHERE id = ?", (call,))
        db.execute("DELETE FROM model_calls WHERE id = ?", (call,))
        db.execute("DELETE FROM call_copies WHERE call = ?", (call,))

    _EARLIEST = (
        "ORDER BY ifnull(ifnull(s.header_ms, s.first_ms), 9e18), s.session_id, s.agent LIMIT 1"
    )

    def _choose_owner(self, db: sqlite3.Connection, call: int, newest: int) -> None:
        """A copied call belongs to the session with the earliest header."""
        owner = db.execute(f"SELECT s.id FROM call_copies k JOIN sessions s ON s.id = k.session WHERE k.call = ? {self._EARLIEST}", (call,)).fetchone()[0]  # fmt: skip
        if (
            db.execute("SELECT session FROM model_calls WHERE id = ?", (call,)).fetchone()[0]
            != owner
        ):
            with self._changing(db, call, newest):
                db.execute("UPDATE model_calls SET session = ? WHERE id = ?", (owner, call))

    def _add_messages(self, db: sqlite3.Connection, messages: Iterable[MessageRow]) -> None:
        for row in messages:
            known = db.execute(
                "SELECT id, session FROM messages WHERE entry_key = ?", (row[0],)
            ).fetchone()
            if known is None:
                db.execute(_INSERT_MESSAGE, row)
                db.execute(
                    "INSERT INTO message_changes VALUES (1, ?, ?, ?)", (row[1], row[3], row[5])
                )
            elif known[1] != row[1]:
                db.executemany(
                    "INSERT OR IGNORE INTO message_copies VALUES (?, ?)",
                    [(known[0], known[1]), (known[0], row[1])],
                )
                self._choose_message_owner(db, known[0])

    def _choose_message_owner(self, db: sqlite3.Connection, message: int) -> None:
        owner = db.execute(f"SELECT s.id FROM message_copies k JOIN sessions s ON s.id = k.session WHERE k.message = ? {self._EARLIEST}", (message,)).fetchone()[0]  # fmt: skip
        before, kind, error = db.execute(
            "SELECT session, kind, is_error FROM messages WHERE id = ?", (message,)
        ).fetchone()
        if before != owner:
            db.executemany(
                "INSERT INTO message_changes VALUES (?, ?, ?, ?)",
                [(-1, before, kind, error), (1, owner, kind, error)],
            )
            db.execute("UPDATE messages SET session = ? WHERE id = ?", (owner, message))

    def _reattribute(self, db: sqlite3.Connection, session: int) -> None:
        """A session's start moved: decide again whose its copied entries are."""
        newest = 1 << 62  # `changes` has every row already
        for (call,) in db.execute(
            "SELECT call FROM call_copies WHERE session = ?", (session,)
        ).fetchall():
            self._choose_owner(db, call, newest)
        for (message,) in db.execute(
            "SELECT message FROM message_copies WHERE session = ?", (session,)
        ).fetchall():
            self._choose_message_owner(db, message)

    def _apply_changes(self, db: sqlite3.Connection, changes: Changes) -> None:
        """Move every rollup by what changed, and forget the changes."""
        changes.sessions.update(r[0] for r in db.execute("SELECT DISTINCT session FROM changes"))
        if db.execute("SELECT 1 FROM changes LIMIT 1").fetchone():
            db.execute(quarter_hour_sql("temp.changes c", "c.sign*"))
            each = ", ".join(f"c.sign*({e}) AS {n}" for n, e in MEASURES)
            rows = f"(SELECT c.ts_ms / {SLOT_MS} AS slot, c.session, c.model, c.flags & 1 AS heartbeat, {each} FROM temp.changes c) q"
            sums = {n: f"q.{n}" for n in MEASURE_NAMES}
            db.execute(sessions_sql(rows, sums))
            db.execute(slot_totals_sql(rows, sums))
            slots = [r[0] for r in db.execute(f"SELECT DISTINCT ts_ms / {SLOT_MS} FROM changes")]
            for zone_id, name in db.execute("SELECT id, name FROM zones").fetchall():
                self._map_slots(db, slots, ZoneInfo(name))
                db.execute(days_sql(rows, sums), (zone_id,))
                db.execute(tool_days_sql("temp.changes c", "c.sign*"), (zone_id,))
                db.execute(tool_days_sql("temp.changes c", "c.sign*", totals=True), (zone_id,))
            moved = ", ".join(f"sum(c.sign*({e})) AS {n}" for n, e in MEASURES)
            db.execute(
                f"UPDATE sessions SET {', '.join(f'{n} = sessions.{n} + d.{n}' for n in MEASURE_NAMES)} "
                f"FROM (SELECT c.session, {moved} FROM temp.changes c GROUP BY c.session) d WHERE sessions.id = d.session"
            )
            db.execute("DELETE FROM changes")
        told = ", ".join(f"sum(m.sign*({e})) AS {n}" for n, e in MESSAGE_MEASURES)
        db.execute(
            f"UPDATE sessions SET {', '.join(f'{n} = sessions.{n} + d.{n}' for n, _ in MESSAGE_MEASURES)} "
            f"FROM (SELECT m.session, {told} FROM temp.message_changes m GROUP BY m.session) d WHERE sessions.id = d.session"
        )
        db.execute("DELETE FROM message_changes")

    @staticmethod
    def _map_slots(db: sqlite3.Connection, slots: Iterable[int], zone: ZoneInfo) -> None:
        """Fill temp.slot_days: the local day (days since 1970) of each quarter of an hour."""
        db.execute("DELETE FROM slot_days")
        db.executemany(
            "INSERT INTO slot_days VALUES (?, ?)",
            ((s, day_of(s * SLOT_MS, zone).toordinal() - _EPOCH) for s in slots),
        )

    # -- cold index ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def bulk_load(self) -> Iterator[None]:
        """Fill an empty ledger: rows first, then indexes, copies and rollups, all in one transaction.

        A kill at any moment leaves the ledger empty as it was, so nothing can be counted twice.
        """
        with self.transaction() as db, without_gc():
            self.bulk = True
            try:
                # Readers see them all the while, because this is not committed.
                for name in INDEXES:
                    db.execute(f"DROP INDEX IF EXISTS {name}")
                yield
                by_entry = [name for name in INDEXES if name.endswith("_by_entry")]
                self._make_indexes(db, by_entry)
                self._merge_calls(db)
                self._merge_messages(db)
                self._make_indexes(db)
                self.rebuild(db)
            finally:
                self.bulk = False
        self.announce(Changes(calls=1))

    @staticmethod
    def _make_indexes(db: sqlite3.Connection, names: Iterable[str] = ()) -> None:
        for name in names or INDEXES:
            db.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {INDEXES[name]}")

    def _merge_calls(self, db: sqlite3.Connection) -> None:
        """Make one row of each call that a bulk load found in several places."""
        db.execute(
            "CREATE TEMP TABLE twice AS SELECT entry_key FROM model_calls GROUP BY entry_key HAVING count(*) > 1"
        )
        partition = f"entry_key, session, {', '.join(_USAGE)}"
        db.execute(
            f"CREATE TEMP TABLE kept AS SELECT min(id) AS id, max(rank) AS rank, max(flags & 1) AS heartbeat FROM model_calls "
            f"WHERE entry_key IN (SELECT entry_key FROM twice) GROUP BY {partition}"
        )
        db.execute(
            "DELETE FROM model_calls WHERE entry_key IN (SELECT entry_key FROM twice) AND id NOT IN (SELECT id FROM kept)"
        )
        db.execute(
            "UPDATE model_calls SET rank = k.rank, flags = flags | k.heartbeat FROM kept k WHERE k.id = model_calls.id"
        )
        rest = db.execute("SELECT entry_key FROM model_calls WHERE entry_key IN (SELECT entry_key FROM twice) GROUP BY entry_key HAVING count(*) > 1").fetchall()  # fmt: skip
        fields = ", ".join(CALL_FIELDS)
        for (key,) in rest:  # forks and rewritten entries: the rules of _add_calls decide
            rows = db.execute(
                f"SELECT {fields} FROM model_calls WHERE entry_key = ? ORDER BY id", (key,)
            ).fetchall()
            db.execute("DELETE FROM model_calls WHERE entry_key = ?", (key,))
            self._add_calls(db, rows, Changes())
        db.execute("DELETE FROM changes")
        db.execute("DROP TABLE twice")
        db.execute("DROP TABLE kept")

    def _merge_messages(self, db: sqlite3.Connection) -> None:
        db.execute(
            "CREATE TEMP TABLE twice AS SELECT entry_key FROM messages GROUP BY entry_key HAVING count(*) > 1"
        )
        db.execute(
            "DELETE FROM messages WHERE entry_key IN (SELECT entry_key FROM twice) AND id NOT IN "
            "(SELECT min(id) FROM messages WHERE entry_key IN (SELECT entry_key FROM twice) GROUP BY entry_key, session)"
        )
        rest = db.execute("SELECT entry_key FROM messages WHERE entry_key IN (SELECT entry_key FROM twice) GROUP BY entry_key HAVING count(*) > 1").fetchall()  # fmt: skip
        for (key,) in rest:
            rows = db.execute(
                f"SELECT {', '.join(MESSAGE_FIELDS)} FROM messages WHERE entry_key = ? ORDER BY id",
                (key,),
            ).fetchall()
            db.execute("DELETE FROM messages WHERE entry_key = ?", (key,))
            self._add_messages(db, rows)
        db.execute("DELETE FROM message_changes")
        db.execute("DROP TABLE twice")

    def rebuild(self, db: sqlite3.Connection) -> None:
        """Make every rollup anew from model_calls and messages."""
        db.execute("DELETE FROM usage_quarter_hours")
        db.execute(quarter_hour_sql("model_calls c"))
        db.execute("DELETE FROM usage_slot_totals")
        db.execute(slot_totals_sql("usage_quarter_hours q", {n: f"q.{n}" for n in MEASURE_NAMES}))
        db.execute("DELETE FROM usage_sessions")
        db.execute(sessions_sql("usage_quarter_hours q", {n: f"q.{n}" for n in MEASURE_NAMES}))
        sums = ", ".join(f"sum(q.{n}) AS {n}" for n in MEASURE_NAMES)
        zeros = ", ".join(f"{n} = 0" for n in (*MEASURE_NAMES, *(n for n, _ in MESSAGE_MEASURES)))
        db.execute(f"UPDATE sessions SET {zeros}")
        db.execute(
            f"UPDATE sessions SET {', '.join(f'{n} = d.{n}' for n in MEASURE_NAMES)} "
            f"FROM (SELECT q.session, {sums} FROM usage_sessions q GROUP BY q.session) d WHERE sessions.id = d.session"
        )
        sums = ", ".join(f"sum({e}) AS {n}" for n, e in MESSAGE_MEASURES)
        db.execute(
            f"UPDATE sessions SET {', '.join(f'{n} = d.{n}' for n, _ in MESSAGE_MEASURES)} "
            f"FROM (SELECT m.session, {sums} FROM messages m GROUP BY m.session) d WHERE sessions.id = d.session"
        )
        for zone_id, name in db.execute("SELECT id, name FROM zones").fetchall():
            self._build_zone(db, zone_id, ZoneInfo(name))

    def _build_zone(self, db: sqlite3.Connection, zone_id: int, zone: ZoneInfo) -> None:
        db.execute("DELETE FROM usage_days WHERE zone = ?", (zone_id,))
        db.execute("DELETE FROM usage_tool_days WHERE zone = ?", (zone_id,))
        db.execute("DELETE FROM usage_tool_day_totals WHERE zone = ?", (zone_id,))
        self._map_slots(
            db, [r[0] for r in db.execute("SELECT DISTINCT slot FROM usage_quarter_hours")], zone
        )
        db.execute(
            days_sql("usage_quarter_hours q", {n: f"q.{n}" for n in MEASURE_NAMES}), (zone_id,)
        )
        db.execute(tool_days_sql("model_calls c"), (zone_id,))
        sums = {n: f"q.{n}" for n, _ in TOOL_MEASURES}
        keys = {"zone": "q.zone", "day": "q.day", "tool": "q.tool"}
        db.execute(
            rollup_sql(
                "usage_tool_day_totals", keys, "usage_tool_days q", sums, f"q.zone = {zone_id}"
            )
        )

    def use_zone(self, name: str, *, most: int = 6) -> None:
        """Keep day rows for a zone, because somebody asks for its days; the least recently used of many is dropped."""
        with self.transaction() as db:
            now = int(self.clock() * 1000)
            if db.execute("UPDATE zones SET used_ms = ? WHERE name = ?", (now, name)).rowcount:
                return
            for (old,) in db.execute(
                "SELECT id FROM zones ORDER BY used_ms DESC LIMIT -1 OFFSET ?", (most - 1,)
            ).fetchall():
                for table in ("usage_days", "usage_tool_days", "usage_tool_day_totals"):
                    db.execute(f"DELETE FROM {table} WHERE zone = ?", (old,))
                db.execute("DELETE FROM zones WHERE id = ?", (old,))
            zone_id = db.execute(
                "INSERT INTO zones (name, used_ms) VALUES (?, ?) RETURNING id", (name, now)
            ).fetchone()[0]
            self._build_zone(db, zone_id, ZoneInfo(name))

    def reprice(self, models: Sequence[int] | None = None) -> int:
        """Price every call again (or those of some models), because a price or the way of billing changed; how many."""
        with self.transaction() as db:
            fields = ", ".join(CALL_FIELDS)
            repriced = (
                "flags",
                "cost_input",
                "cost_output",
                "cost_cache_read",
                "cost_cache_write",
                *PRICED_FIELDS,
            )
            sets = ", ".join(f"{f} = ?" for f in repriced)
            last = count = 0
            only = "" if models is None else f"AND model IN ({', '.join(map(str, models))})"
            while rows := db.execute(
                f"SELECT {fields}, id FROM model_calls WHERE id > ? {only} ORDER BY id LIMIT 20000",
                (last,),
            ).fetchall():
                last, count = rows[-1][-1], count + len(rows)
                priced = [(self.prices.settle(r[:-1]), r[-1]) for r in rows]
                db.executemany(
                    f"UPDATE model_calls SET {sets} WHERE id = ?",
                    [(p[C_FLAGS], *p[C_COST_INPUT:C_RANK], *p[C_RANK + 1 :], i) for p, i in priced],
                )
            if last:
                self.rebuild(db)
            self.set_meta("prices", self.prices.fingerprint())
        self.announce(Changes())
        return count

    # -- what indexes say ---------------------------------------------------------------------------------------------

    def learn(self, facts: Iterable[SessionFacts], runs: Iterable[SubagentRun] = (), crons: Iterable[CronRun] = (), sources: Iterable[Source] = ()) -> Changes:  # fmt: skip
        """Take over what the indexes say about sessions. No number moves: what they tell are columns of `sessions`."""
        changes = Changes()
        with self.transaction() as db:
            for run in runs:
                db.execute("INSERT OR REPLACE INTO subagent_runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (run.run_id, run.child_key, run.parent_key, run.label, run.status, run.created_ms, run.started_ms, run.ended_ms))  # fmt: skip
                for (session,) in db.execute(
                    "SELECT id FROM sessions WHERE key = ? AND parent_key IS NULL", (run.child_key,)
                ).fetchall():
                    db.execute(
                        "UPDATE sessions SET parent_key = ? WHERE id = ?", (run.parent_key, session)
                    )
                    changes.sessions.add(session)
            db.executemany("INSERT OR REPLACE INTO cron_runs VALUES (?, ?, ?, ?, ?)", [(c.job_id, c.run_ms, c.status, c.session_id, c.duration_ms) for c in crons])  # fmt: skip
            for fact in facts:
                if self._learn_one(db, fact):
                    changes.sessions.add(session_rowid(fact.agent, fact.session_id))
            for session in changes.sessions:
                self._link_parents(db, session)
            db.executemany(
                _SAVE_SOURCE, [tuple(getattr(s, f) for f in SOURCE_FIELDS) for s in sources]
            )
        if changes.sessions and not self.bulk:
            self.announce(changes)
        return changes

    def _learn_one(self, db: sqlite3.Connection, fact: SessionFacts) -> bool:
        rowid = session_rowid(fact.agent, fact.session_id)
        names = "key, index_channel, chat_type, origin_provider, label, parent_key, status, context_tokens, context_window, prompt, facts_ms"
        row = db.execute(f"SELECT {names} FROM sessions WHERE id = ?", (rowid,)).fetchone()
        if row is None:
            db.execute(
                "INSERT INTO sessions (id, agent, session_id) VALUES (?, ?, ?)",
                (rowid, fact.agent, fact.session_id),
            )
            row = (None,) * 10 + (0,)
        # The longest key wins, whatever comes first: a cron run's own key over its job's. Other facts: the newest index wins.
        key = max((k for k in (row[0], fact.key) if k), key=lambda k: (len(k), k))
        newer = fact.updated_ms >= row[10]
        told = (fact.channel, fact.chat_type, fact.origin_provider, fact.label, fact.parent_key, fact.status, fact.context_tokens, fact.context_window, fact.prompt)  # fmt: skip
        merged = [(new if new is not None else old) if newer else (old if old is not None else new) for new, old in zip(told, row[1:10], strict=True)]  # fmt: skip
        if merged[4] is None and (
            run := db.execute(
                "SELECT parent_key FROM subagent_runs WHERE child_key = ?", (key,)
            ).fetchone()
        ):
            merged[4] = run[0]
        after = (key, *merged, max(row[10], fact.updated_ms))
        if after == tuple(row):
            return False
        db.execute(
            f"UPDATE sessions SET ({names}) = ({', '.join('?' * 11)}), channel = ?, cause = ?, cron_job = ? WHERE id = ?",
            (
                *after,
                channel_of(key, cast("str | None", merged[0])),
                cause_of(key),
                cron_job_of(key),
                rowid,
            ),
        )
        return True

    def _link_parents(self, db: sqlite3.Connection, session: int) -> None:
        """Find the session that spawned this one, and the ones that this one may have spawned."""
        key, parent_key = db.execute(
            "SELECT key, parent_key FROM sessions WHERE id = ?", (session,)
        ).fetchone()
        children = [
            r[0]
            for r in db.execute(
                "SELECT id FROM sessions WHERE parent_key = ? AND parent_key IS NOT NULL", (key,)
            )
        ]
        for child in children + ([session] if parent_key else []):
            wanted, start = db.execute(
                "SELECT parent_key, ifnull(ifnull(header_ms, first_ms), 0) FROM sessions WHERE id = ?",
                (child,),
            ).fetchone()
            # A key lives on through resets with new session ids: the parent is the newest one that began before its child.
            parent = db.execute(
                "SELECT id FROM (SELECT id, ifnull(ifnull(header_ms, first_ms), 9e18) AS began FROM sessions WHERE key = ? AND id <> ?) "
                "ORDER BY began <= ? DESC, abs(began - ?), id LIMIT 1", (wanted, child, start, start)
            ).fetchone()  # fmt: skip
            db.execute(
                "UPDATE sessions SET parent = ? WHERE id = ?",
                (parent[0] if parent else None, child),
            )

    def link_all_parents(self) -> None:
        """Find the parents of all sessions that have one; after a bulk load."""
        with self.transaction() as db:
            for (session,) in db.execute(
                "SELECT id FROM sessions WHERE parent_key IS NOT NULL"
            ).fetchall():
                self._link_parents(db, session)

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def sources(self) -> dict[str, Source]:
        """All checkpoints by path."""
        with self.lock:
            return {
                r[0]: Source(*r)
                for r in self.db.execute(f"SELECT {', '.join(SOURCE_FIELDS)} FROM sources")
            }

    def save_source(self, source: Source) -> None:
        """Write one checkpoint (state and error, when there is nothing else to write)."""
        with self.transaction() as db:
            db.execute(_SAVE_SOURCE, tuple(getattr(source, f) for f in SOURCE_FIELDS))

    def generations(self, path: str) -> dict[str, str]:
        """The rewrite generation of each session of a database, as it was when last read."""
        with self.lock:
            return dict(
                self.db.execute(
                    "SELECT session_id, generation FROM rewrite_generations WHERE path = ?", (path,)
                )
            )

    def session_tail(self, agent: str, session_id: str) -> SessionSeen:
        """Where reading of a session stopped, for the entries that follow."""
        with self.lock:
            row = self.db.execute("SELECT tail_id, tail_heartbeat, thinking_level, failed_model FROM sessions WHERE id = ?", (session_rowid(agent, session_id),)).fetchone()  # fmt: skip
        seen = SessionSeen(agent, session_id)
        if row:
            seen.tail_id, seen.tail_heartbeat, seen.thinking_level, seen.failed_model = (
                row[0],
                bool(row[1]),
                row[2],
                row[3],
            )
        return seen

    def is_empty(self) -> bool:
        """Whether no call has ever been read."""
        with self.lock:
            return self.db.execute("SELECT 1 FROM sources LIMIT 1").fetchone() is None


def open_reader(path: Path) -> sqlite3.Connection:
    """A read-only connection to a ledger, also while a server writes it."""
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=5,
    )
    db.execute("PRAGMA query_only = 1")
    db.execute("PRAGMA cache_size = -4000")
    db.execute("PRAGMA mmap_size = 0")
    return db


def tune_writer(db: sqlite3.Connection) -> None:
    """The pragmas of the writing connection: WAL, so that readers never wait; no fsync per commit, which WAL does not need."""
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA cache_size = -16000")


def open_private(path: Path) -> tuple[sqlite3.Connection, str | None]:
    """A ledger without history: an empty file that the application removes on exit."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    tune_writer(db)
    return db, None


###############################################################################
# Source: session transcripts #################################################
###############################################################################
# Files and databases of OpenClaw become Readings. Everything is opened for reading
# only, for a short time, and nothing is created beside it. Facts: tests/data/README.md.

BLOCK_BYTES = 4 * 1024 * 1024
MAX_LINE_BYTES = 128 * 1024 * 1024
MAX_EVENT_BYTES = 64 * 1024 * 1024
#: How long one read transaction on a database in use may take.
READ_SLICE_S = 0.08


def short_hash(data: bytes) -> bytes:
    """A 16-byte hash, to see whether bytes are still the same."""
    return blake2b(data, digest_size=16).digest()


def same_start(file: BinaryIO, source: Source) -> bool:
    """Whether the part of a file that was read before is still there: its first 256 bytes and the last 1 KB of it."""
    file.seek(0)
    head = file.read(min(256, source.position))
    file.seek(max(0, source.position - 1024))
    tail = file.read(min(1024, source.position))
    return short_hash(head) == source.head and short_hash(tail) == source.tail


def sign_start(file: BinaryIO, source: Source) -> None:
    """Note the start and the end of what was read, for same_start."""
    file.seek(0)
    source.head = short_hash(file.read(min(256, source.position)))
    file.seek(max(0, source.position - 1024))
    source.tail = short_hash(file.read(min(1024, source.position)))


def find_turn_in_file(path: str, entry_id: str) -> bool:
    """Whether an entry's turn is a heartbeat's, by reading the file from its start. Rare: a branch to an old entry."""
    seen = SessionSeen("", "")
    parser = EntryParser(seen, 0, Reading())
    with contextlib.suppress(OSError), open(path, "rb") as file:
        for line in file:
            if len(line) <= MAX_LINE_BYTES:
                parser.parse(line, lambda: path)
            if entry_id in parser.heartbeat:
                return parser.heartbeat[entry_id]
    return False


def count_nameless_in_file(place: TranscriptPath, upto: int) -> Counter[tuple[Any, ...]]:
    """How many entries without an id a file has before a position, by what they look like. Rare: OpenClaw gives ids."""
    parser = EntryParser(SessionSeen(place.agent, place.session_id), 0, Reading())
    with open(place.path, "rb", buffering=1 << 20) as file:
        while file.tell() < upto and (line := file.readline(MAX_LINE_BYTES)):
            parser.parse(line, lambda: place.path)
    return parser.nameless


def read_transcript_file(place: TranscriptPath, known: Source | None, seen: SessionSeen) -> Iterator[tuple[Reading, Source]]:  # fmt: skip
    """Read what is new in a transcript file, in pieces of some megabytes with the checkpoint after each.

    Yields nothing when nothing is new. A last line without its end stays unread until it is complete, and counts as
    a bad line meanwhile. Raises OSError when the file cannot be opened.
    """
    if place.compressed:
        yield from read_compressed_file(place, known, seen)
        return
    # Lines are taken one by one from a buffer: splitting megabytes at once costs three times as much in page faults,
    # and decoding them at once saves nothing.
    with open(place.path, "rb", buffering=1 << 20) as file:
        info = os.fstat(file.fileno())
        source = Source(place.path, place.kind, place.agent, place.session_id)
        if known is not None:
            same_file = (known.dev, known.inode) == (info.st_dev, info.st_ino)
            if (
                same_file
                and known.size == info.st_size
                and known.mtime_ns == info.st_mtime_ns
                and known.state == "ok"
            ):
                return
            grown = (
                same_file
                and info.st_size >= known.position
                and not (info.st_size == known.size == known.position)
            )
            if grown and same_start(file, known):
                source = replace(known, kind=place.kind, state="ok", error=None)
        if source.position == 0:
            seen = SessionSeen(place.agent, place.session_id)
        seen.stored_as = place.kind
        source.dev, source.inode, source.size, source.mtime_ns = (
            info.st_dev,
            info.st_ino,
            info.st_size,
            info.st_mtime_ns,
        )
        source.pending_line = 0
        find_turn = (
            (lambda entry_id: find_turn_in_file(place.path, entry_id)) if source.position else None
        )
        reading = Reading()
        parser = EntryParser(seen, place.rank, reading, find_turn)
        if source.position:
            begun = source.position
            parser.count_nameless = lambda: count_nameless_in_file(place, begun)
        file.seek(source.position)
        position, lines = source.position, source.lines
        flush_at = position + BLOCK_BYTES
        readline, parse = file.readline, parser.parse
        where = lambda: f"{place.path} line {lines}"  # noqa: E731 - made into text only for a bad line
        skipping = False
        while line := readline(MAX_LINE_BYTES):
            if line[-1] != 10:  # the end of the file, or of our patience
                if len(line) >= MAX_LINE_BYTES:
                    if not skipping:
                        reading.bad(
                            f"{place.path} line {lines + 1}",
                            f"longer than {format_bytes(MAX_LINE_BYTES)}; skipped",
                        )
                    skipping, position = True, position + len(line)
                    continue
                last = line.strip()
                if last and not skipping:
                    if not (last.endswith(b"}") and parse_lenient_or_none(last) is not None):
                        source.pending_line = 1
                        source.error = (
                            f"{place.path} line {lines + 1}: not finished; it is read when it is"
                        )
                        break
                    lines += 1
                    parse(last, where)
                position += len(line)
                break
            lines += 1
            if skipping:
                skipping = False
            elif position == 0 and line.startswith(b"\xef\xbb\xbf"):
                parse(line[3:], where)
            elif not line.isspace():
                parse(line, where)
            position += len(line)
            if position >= flush_at:
                source.position, source.lines = position, lines
                finish_file(None, source, reading)
                yield reading, replace(source, state="partial")
                flush_at = position + BLOCK_BYTES
                reading = parser.next_reading()
                parser.find_turn = find_turn or (
                    lambda entry_id: find_turn_in_file(place.path, entry_id)
                )
        source.position, source.lines = position, lines
        finish_file(file, source, reading)
        yield reading, source


def finish_file(file: BinaryIO | None, source: Source, reading: Reading) -> None:
    """Move the counters of a piece into its checkpoint."""
    source.bad_lines += reading.bad_lines
    source.error = reading.last_error or source.error
    source.indexed_bytes = source.position
    if file is not None:
        sign_start(file, source)
        source.state = "ok"
    else:  # in the middle of a file: read from its start if we are stopped here, and the identity decides
        source.head = source.tail = None


def claimed_size(file: BinaryIO) -> int:
    """What the first frame of a zstd file says it unpacks to; 0 where it does not say. Leaves the file at its start."""
    head = file.read(32)
    file.seek(0)
    try:
        return max(0, zstandard.frame_content_size(head))
    except zstandard.ZstdError:
        return 0  # no archive at all: reading it says so


def read_compressed_file(
    place: TranscriptPath, known: Source | None, seen: SessionSeen
) -> Iterator[tuple[Reading, Source]]:
    """Read a zstd archive from its start; a half-written one gives what it has and is tried again when it changes."""
    info = os.stat(place.path)
    if known is not None and (known.size, known.mtime_ns, known.inode) == (info.st_size, info.st_mtime_ns, info.st_ino) and known.state != "unreadable":  # fmt: skip
        return
    source = Source(
        place.path,
        place.kind,
        place.agent,
        place.session_id,
        info.st_dev,
        info.st_ino,
        info.st_size,
        info.st_mtime_ns,
    )
    session_id = place.session_id
    seen = SessionSeen(place.agent, session_id, stored_as=place.kind)
    reading = Reading()
    parser = EntryParser(seen, place.rank, reading) if session_id else None
    rest = b""
    problem: str | None = None
    unpacked = 0
    with open(place.path, "rb") as raw:
        claimed = claimed_size(raw)
        stream = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
            raw, read_across_frames=True
        )
        while True:
            try:
                block = stream.read(BLOCK_BYTES)
            except zstandard.ZstdError as error:
                problem, block = (
                    f"{place.path}: the archive is damaged or not finished ({error})",
                    b"",
                )
            unpacked += len(block)
            if not block and not problem and unpacked < claimed:
                problem = f"{place.path}: the archive is not finished: it has {unpacked} of {claimed} bytes"
            data = rest + block
            lines = data.split(b"\n")
            rest = lines.pop()
            if not block:
                lines.append(rest)
            if len(rest) > MAX_LINE_BYTES:
                problem, lines = (
                    f"{place.path}: a line is longer than {format_bytes(MAX_LINE_BYTES)}",
                    [],
                )
            for line in lines:
                if not line or line.isspace():
                    continue
                source.lines += 1
                if (
                    parser is None
                ):  # a cold archive is named by its hash: its header says whose it is
                    header = as_dict(parse_lenient_or_none(line))
                    seen.session_id = session_id = str(
                        header.get("id") or Path(place.path).name.split(".")[0]
                    )
                    parser = EntryParser(seen, place.rank, reading)
                if problem and line is lines[-1] and not block:
                    break
                parser.parse(line, lambda: f"{place.path} line {source.lines}")
            if not block or problem:
                break
    if problem:
        reading.bad(place.path, problem.removeprefix(f"{place.path}: "))
    source.session_id = session_id
    source.bad_lines, source.error = reading.bad_lines, problem or reading.last_error
    source.position = source.indexed_bytes = info.st_size
    source.state = "partial" if problem else "ok"
    yield reading, source


# -- databases --------------------------------------------------------------------------------------------------------


class DatabaseChangedError(SourceError):
    """A database changed under an immutable read: read it again."""


@contextlib.contextmanager
def open_foreign(path: str) -> Iterator[sqlite3.Connection]:
    """Open one of OpenClaw's databases for a moment, without leaving a trace beside it.

    SQLite's mode=ro creates -wal and -shm where they are missing, and a reader that stays makes the gateway leave them
    behind. So: no -wal, the file alone (immutable), checked afterwards; -wal and -shm, mode=ro; a -wal without -shm (a
    copied home), a private copy. Observed with SQLite 3.40 and OpenClaw 2026.9.6. Raises SourceError.
    """
    uri = Path(path).absolute().as_uri()
    wal, shm = f"{path}-wal", f"{path}-shm"
    try:
        has_wal = os.path.exists(wal) and os.path.getsize(wal) > 0
        has_shm = os.path.exists(shm)
        with contextlib.ExitStack() as stack:
            before = os.stat(path)
            if has_wal and not has_shm:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="clawmeter-"))
                copy = f"{folder}/copy.sqlite"
                shutil.copyfile(path, copy)
                shutil.copyfile(wal, f"{copy}-wal")
                target = copy
                db = sqlite3.connect(target, isolation_level=None, timeout=1)
            elif has_wal or (os.path.exists(wal) and has_shm):
                db = sqlite3.connect(f"{uri}?mode=ro", uri=True, isolation_level=None, timeout=1)
            else:
                db = sqlite3.connect(
                    f"{uri}?immutable=1", uri=True, isolation_level=None, timeout=1
                )
            try:
                db.text_factory = bytes
                db.execute("PRAGMA query_only = 1")
                yield db
            finally:
                db.close()
            if not has_wal:
                after = os.stat(path)
                if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or (os.path.exists(wal) and os.path.getsize(wal)):  # fmt: skip
                    msg = f"{path} changed while it was read"
                    raise DatabaseChangedError(msg)
    except (sqlite3.Error, OSError) as error:
        msg = f"cannot read {path}: {error}"
        raise SourceError(msg) from error


def columns_of(db: sqlite3.Connection, table: str) -> set[str]:
    """The columns of a table; empty when there is none. Schemas change several times a month: we look, never assume."""
    return {r[1].decode() for r in db.execute(f"PRAGMA table_info({table})")}


def text_of(value: Any) -> str | None:
    """A TEXT value as str."""
    if value is None:
        return None
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def unzst_event(decompressor: zstandard.ZstdDecompressor, blob: bytes) -> bytes:
    """The JSON of a compressed row. Raises ZstdError, also for a frame that claims more than an event may have.

    `max_output_size` alone does not protect: it is ignored when the frame declares its own size.
    """
    claimed = zstandard.frame_content_size(blob)
    if claimed > MAX_EVENT_BYTES:
        msg = f"it claims {claimed} bytes"
        raise zstandard.ZstdError(msg)
    return decompressor.decompress(
        blob, max_output_size=MAX_EVENT_BYTES if claimed < 0 else claimed
    )


class RowReader:
    """Parse rows of transcript_events into a Reading, session by session."""

    def __init__(self, path: str, agent: str, tails: Callable[[str], SessionSeen]) -> None:
        self.path = path
        self.agent = agent
        self.tails = tails
        self.unzst = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        self.reading = Reading()
        self.parsers: dict[bytes, EntryParser] = {}
        self.turns: dict[tuple[bytes, str], bool] = {}
        self.db: sqlite3.Connection | None = None

    def take(
        self, session: bytes, seq: int, event_json: bytes | None, event_zstd: bytes | None
    ) -> None:
        """Parse one row: the JSON text, or the zstd frame of it; one that cannot be parsed is counted."""
        parser = self.parsers.get(session)
        if parser is None:
            seen = self.tails(session.decode("utf-8", "replace"))
            seen.stored_as = "database"
            parser = EntryParser(
                seen, rank_of("database"), self.reading, lambda e: self.find_turn(session, e)
            )
            self.parsers[session] = parser
        raw = event_json
        if raw is None:
            try:
                raw = unzst_event(self.unzst, event_zstd or b"")
            except zstandard.ZstdError as error:
                self.reading.bad(
                    self.where(session, seq), f"a damaged zstd frame ({error}); skipped"
                )
        if raw is None or not parser.parse(raw, lambda: self.where(session, seq)):
            self.reading.bad_rows[self.path, session.decode("utf-8", "replace")] += 1

    def where(self, session: bytes, seq: int) -> str:
        """The place of a row, for messages."""
        return f"{self.path} session {session.decode('utf-8', 'replace')} row {seq}"

    def find_turn(self, session: bytes, entry_id: str) -> bool:
        """Whether the turn of an entry that is not in this pass is a heartbeat's: walk up through the table."""
        if self.db is None:
            return False
        trail: list[str] = []
        answer = False
        current: str | None = entry_id
        while current is not None and len(trail) < 10_000:
            if (known := self.turns.get((session, current))) is not None:
                answer = known
                break
            trail.append(current)
            try:
                row = self.db.execute(
                    "SELECT e.event_json, e.event_zstd FROM transcript_event_identities i JOIN transcript_events e "
                    "ON e.session_id = i.session_id AND e.seq = i.seq WHERE i.session_id = CAST(? AS TEXT) AND i.event_id = ?", (session, current)
                ).fetchone()  # fmt: skip
            except sqlite3.Error:  # an older schema without these columns: then the turn is not known, which means no heartbeat
                break
            if row is None:
                break
            try:
                raw = row[0] if row[0] is not None else unzst_event(self.unzst, row[1])
            except zstandard.ZstdError:
                break  # the reading counts the damaged row where it meets it
            try:
                entry = read_entry(raw)
            except ValueError:
                break  # … and here as well
            if entry.message is not None and entry.message.role == "user":
                answer = is_heartbeat_prompt(entry.message.content)
                break
            current = entry.parent_id if isinstance(entry.parent_id, str) else None
        for above in trail:
            self.turns[session, above] = answer
        return answer

    def flush(self) -> Reading:
        """The reading so far; the next one goes on where it ends."""
        done, self.reading = self.reading, Reading()
        self.parsers = dict(list(self.parsers.items())[-4:])
        for parser in self.parsers.values():
            parser.next_reading(self.reading)
        return done


_ROW_COLUMNS = ("session_id", "seq", "event_json", "event_zstd")


def row_select(columns: set[str]) -> str:
    """The columns of transcript_events that there are, NULL for those of later schemas."""
    return ", ".join(c if c in columns else f"NULL AS {c}" for c in _ROW_COLUMNS)


def read_database_sessions(
    path: str, agent: str, session_ids: Sequence[str], upto: int
) -> Iterator[Reading]:
    """Read whole sessions of a transcript database up to a rowid, in short transactions. Raises SourceError."""
    reader = RowReader(path, agent, lambda sid: SessionSeen(agent, sid))
    index, next_seq, attempts = 0, -(2**62), 0
    while index < len(session_ids):
        started = time.monotonic()
        try:
            with open_foreign(path) as db:
                reader.db = db
                select = row_select(columns_of(db, "transcript_events"))
                taken = 0
                while index < len(session_ids):
                    sid = session_ids[index]
                    rows = db.execute(
                        f"SELECT {select} FROM transcript_events WHERE session_id = ? AND seq >= ? AND rowid <= ? ORDER BY seq",
                        (sid, next_seq, upto),
                    )
                    while batch := rows.fetchmany(200):
                        for session, seq, text, blob in batch:
                            reader.take(session, seq, text, blob)
                            taken += len(text or blob or b"")
                        next_seq = batch[-1][1] + 1
                        if taken > BLOCK_BYTES or time.monotonic() - started > READ_SLICE_S:
                            break
                    else:
                        index, next_seq = index + 1, -(2**62)
                        if taken <= BLOCK_BYTES and time.monotonic() - started <= READ_SLICE_S:
                            continue
                    break
            attempts = 0
        except DatabaseChangedError:
            attempts += 1
            if attempts > 5:
                raise
        finally:
            reader.db = None
        yield reader.flush()


def read_row_identity(db: sqlite3.Connection, rowid: int) -> bytes | None:
    """A hash of the row at a rowid, to see whether it is still the same row."""
    row = db.execute(
        "SELECT session_id, seq, created_at FROM transcript_events WHERE rowid = ?", (rowid,)
    ).fetchone()
    return short_hash(repr(row).encode()) if row else None


def database_holds(path: str, session_id: str) -> bool:
    """Whether an agent's database has entries of a session; True also when it cannot be asked now."""
    try:
        with open_foreign(path) as db:
            return any(
                db.execute(f"SELECT 1 FROM {table} WHERE session_id = ? LIMIT 1", (session_id,)).fetchone()
                for table in ("transcript_events", "session_transcript_archives")
                if columns_of(db, table)
            )  # fmt: skip
    except SourceError:
        return True


@dataclass(slots=True)
class DatabasePlan:
    """What is to be read of a transcript database: everything, or rows above a rowid and some sessions anew."""

    source: Source
    sessions: list[tuple[str, int]]  # (session id, about how many rows) to read whole
    above: int | None  # rowid above which rows are new; None when whole sessions cover all
    since_ms: int | None  # rows of a reused rowid range: read again from here
    generations: list[tuple[str, str, str]]
    archives: list[tuple[str, str]]
    bad_rows: dict[str, int]  # rows of each session that could not be read so far

    def keep_bad_rows(self, bad_rows: Mapping[str, int]) -> None:
        """Note how many rows of each session cannot be read, for the checkpoint and for the next plan."""
        self.source.bad_lines = sum(bad_rows.values())
        sessions = self.bad_rows.keys() | bad_rows.keys()
        path = self.source.path
        self.generations += [(path, f"bad:{s}", str(bad_rows.get(s, 0))) for s in sorted(sessions)]


def plan_database(
    place: TranscriptPath, known: Source | None, generations: Mapping[str, str]
) -> DatabasePlan | None:
    """Look at a transcript database and say what is new; None when nothing is. Raises SourceError."""
    signature = database_signature(place.path)
    if (
        known is not None
        and known.state == "ok"
        and (known.dev, known.inode, known.size, known.mtime_ns) == signature
    ):
        return None
    source = Source(place.path, "database", place.agent, "")
    source.dev, source.inode, source.size, source.mtime_ns = settled(signature)
    with open_foreign(place.path) as db:
        source.schema_version = db.execute("PRAGMA user_version").fetchone()[0]
        columns = columns_of(db, "transcript_events")
        if not {"session_id", "seq", "event_json"} <= columns:
            return DatabasePlan(source, [], None, None, [], [], {})
        newest = db.execute("SELECT max(rowid) FROM transcript_events").fetchone()[0] or 0
        source.position = newest
        source.head = read_row_identity(db, newest) if "created_at" in columns else None
        created = (
            db.execute(
                "SELECT created_at FROM transcript_events WHERE rowid = ?", (newest,)
            ).fetchone()
            if "created_at" in columns
            else None
        )
        source.seen_ms = created[0] if created else 0
        marks: list[tuple[str, str]] = []
        if {"session_id", "generation"} <= columns_of(db, "transcript_rewrite_watermarks"):
            marks = [
                (text_of(s) or "", text_of(g) or "")
                for s, g in db.execute(
                    "SELECT session_id, generation FROM transcript_rewrite_watermarks"
                )
            ]
        fresh = [(place.path, s, g) for s, g in marks if generations.get(s) != g]
        archives = []
        if {"session_id", "generation", "encoding", "archive_blob"} <= columns_of(
            db, "session_transcript_archives"
        ):
            archives = [
                (text_of(s) or "", text_of(g) or "")
                for s, g in db.execute(
                    "SELECT session_id, generation FROM session_transcript_archives"
                )
            ]
        unread = [(s, g) for s, g in archives if generations.get(f"archive:{s}") != g]
        fresh += [(place.path, f"archive:{s}", g) for s, g in unread]
        same_file = (
            known is not None
            and known.inode == source.inode
            and known.position > 0
            and known.state == "ok"
        )
        bad_rows = {k.removeprefix("bad:"): 0 for k in generations if k.startswith("bad:")}
        if known is None or not same_file:
            sessions = list_database_sessions(db)
            return DatabasePlan(source, sessions, None, None, fresh, unread, bad_rows)
        rewritten = [
            (s, 0) for _, s, _ in fresh if s in generations and not s.startswith("archive:")
        ]
        since = None
        if "created_at" in columns and known.head != read_row_identity(db, known.position):
            since = (
                known.seen_ms - DAY_MS
            )  # the newest row is gone, so rowids may have been used again
        source.error = known.error
        for session in bad_rows:
            if db.execute(
                "SELECT 1 FROM transcript_events WHERE session_id = ? LIMIT 1", (session,)
            ).fetchone():
                bad_rows[session] = int(generations[f"bad:{session}"])
        return DatabasePlan(source, rewritten, known.position, since, fresh, unread, bad_rows)


def database_signature(path: str) -> tuple[int, int, int, int]:
    """(device, inode, bytes of file and WAL, newest change) of a database; SourceError when it is not there."""
    try:
        info = os.stat(path)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise SourceError(msg) from error
    size, changed = info.st_size, info.st_mtime_ns
    with contextlib.suppress(OSError):
        wal = os.stat(f"{path}-wal")
        size, changed = size + wal.st_size, max(changed, wal.st_mtime_ns)
    return info.st_dev, info.st_ino, size, changed


def settled(signature: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The signature to keep of a database. A commit is in the WAL before it is to be seen: after a fresh change, look again."""
    fresh = time.time_ns() - signature[3] < 2 * 10**9
    return (*signature[:3], signature[3] - fresh)


def list_database_sessions(db: sqlite3.Connection) -> list[tuple[str, int]]:
    """The sessions in transcript_events and about how many rows each has; one index step a session."""
    out: list[tuple[str, int]] = []
    last = b""
    while True:
        row = db.execute("SELECT session_id FROM transcript_events WHERE session_id > CAST(? AS TEXT) ORDER BY session_id LIMIT 1", (last,)).fetchone()  # fmt: skip
        if row is None:
            return out
        last = row[0]
        rows = db.execute(
            "SELECT max(seq) FROM transcript_events WHERE session_id = CAST(? AS TEXT)", (last,)
        ).fetchone()[0]
        out.append((last.decode("utf-8", "replace"), (rows or 0) + 1))


def read_database_rows(place: TranscriptPath, above: int, upto: int, since_ms: int | None, tails: Callable[[str], SessionSeen]) -> Iterator[Reading]:  # fmt: skip
    """Read the rows of a rowid range, and again those since a time where rowids may have been reused. Raises SourceError."""
    reader = RowReader(place.path, place.agent, tails)
    with open_foreign(place.path) as db:
        select = row_select(columns_of(db, "transcript_events"))
        reader.db = db
        try:
            if since_ms is not None:
                for session, seq, text, blob in db.execute(f"SELECT {select} FROM transcript_events WHERE created_at >= ? ORDER BY session_id, seq", (since_ms,)):  # fmt: skip
                    reader.take(session, seq, text, blob)
                yield reader.flush()
            taken = 0
            for session, seq, text, blob in db.execute(f"SELECT {select} FROM transcript_events WHERE rowid > ? AND rowid <= ? ORDER BY rowid", (above, upto)):  # fmt: skip
                reader.take(session, seq, text, blob)
                taken += len(text or blob or b"")
                if taken > BLOCK_BYTES:
                    yield reader.flush()
                    taken = 0
            yield reader.flush()
        finally:
            reader.db = None


def read_database_archives(place: TranscriptPath, wanted: Iterable[tuple[str, str]]) -> Reading:
    """Read transcripts that OpenClaw has archived inside the database. Their bad lines are those of the .zst file beside it."""
    reading = Reading()
    with open_foreign(place.path) as db:
        for session_id, generation in wanted:
            row = db.execute("SELECT encoding, archive_blob FROM session_transcript_archives WHERE session_id = ? AND generation = ?", (session_id, generation)).fetchone()  # fmt: skip
            if row is None:
                continue
            parser = EntryParser(
                SessionSeen(place.agent, session_id, stored_as="deleted"),
                rank_of("deleted"),
                reading,
            )
            stream: Any = io.BytesIO(row[1])
            if row[0] == b"zstd":
                stream = io.BufferedReader(
                    cast(
                        "Any",
                        zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
                            stream, read_across_frames=True
                        ),
                    ),
                    BLOCK_BYTES,
                )
            try:
                for line in stream:
                    if not line.isspace():
                        parser.parse(line, lambda sid=session_id: f"{place.path} archive of {sid}")  # type: ignore[misc]
            except (zstandard.ZstdError, OSError) as error:
                reading.bad(f"{place.path} archive of {session_id}", f"damaged ({error})")
    reading.bad_lines = 0
    return reading


# -- indexes ----------------------------------------------------------------------------------------------------------


def parse_prompt_report(report: Any) -> str | None:
    """The composition of a system prompt as compact JSON: characters of files, tools and skills. None without a report.

    Fact: `systemPromptReport` of a session entry, OpenClaw 2026.4.24 to 2026.9.6.
    """
    if not isinstance(report, dict):
        return None

    def number(value: Any) -> int:
        return value if isinstance(value, int) and value >= 0 else 0

    def pairs(items: Any, *fields: str) -> list[list[Any]]:
        rows = [i for i in items if isinstance(i, dict)] if isinstance(items, list) else []
        return [
            [sound(i.get("name"))[:120], sum(number(i.get(f)) for f in fields)] for i in rows[:400]
        ]

    prompt, skills, tools = (
        as_dict(report.get("systemPrompt")),
        as_dict(report.get("skills")),
        as_dict(report.get("tools")),
    )
    out = {
        "generated_ms": number(report.get("generatedAt")),
        "system_chars": number(prompt.get("chars")),
        "project_chars": number(prompt.get("projectContextChars")),
        "skills_chars": number(skills.get("promptChars")),
        "tools_list_chars": number(tools.get("listChars")),
        "tools_schema_chars": number(tools.get("schemaChars")),
        "files": pairs(report.get("injectedWorkspaceFiles"), "injectedChars"),
        "tools": pairs(tools.get("entries"), "summaryChars", "schemaChars"),
        "skills": pairs(skills.get("entries"), "blockChars"),
    }
    return json.dumps(out, separators=(",", ":"), ensure_ascii=False)


def text_or_none(value: Any) -> str | None:
    """A non-empty string, made storable; None for anything else."""
    return sound(value)[:500] if isinstance(value, str) and value else None


def parse_session_entry(agent: str, key: str, entry: Any) -> Iterator[SessionFacts]:
    """What an entry of sessions.json, or `entry_json` of session_nodes, says; usually one fact.

    Facts: OpenClaw 2026.2.12 (`channel`, `lastChannel`, `origin`), 2026.6.11 (more fields), 2026.9.6 (one `delivery`).
    Token and cost fields of an entry are those of the last run only and are not read.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("sessionId"), str):
        return
    delivery = as_dict(entry.get("delivery"))
    origin = as_dict(entry.get("origin")) or as_dict(delivery.get("origin"))
    fact = SessionFacts(
        agent, sound(entry["sessionId"]), sound(key), int_or_none(entry.get("updatedAt")) or 0,
        channel=text_or_none(entry.get("channel")) or text_or_none(entry.get("lastChannel")) or text_or_none(as_dict(delivery.get("context")).get("channel")),
        chat_type=text_or_none(entry.get("chatType")) or text_or_none(origin.get("chatType")),
        origin_provider=text_or_none(origin.get("provider")),
        label=text_or_none(entry.get("label")) or text_or_none(entry.get("displayName")),
        parent_key=text_or_none(entry.get("spawnedBy")),
        status=text_or_none(entry.get("status")),
        context_tokens=int_or_none(entry.get("totalTokens")),
        context_window=int_or_none(entry.get("contextTokens")),
        prompt=parse_prompt_report(entry.get("systemPromptReport")),
    )  # fmt: skip
    yield fact
    named = classify_transcript(os.path.basename(str(entry.get("sessionFile") or "")))
    if named and named[1].startswith(
        f"{fact.session_id}-"
    ):  # a topic of a group has a file of its own: <sessionId>-topic-<n>.jsonl
        yield replace(fact, session_id=named[1])


def read_session_index(path: str, agent: str) -> list[SessionFacts]:
    """Read a sessions.json. Raises SourceError for what is none."""
    try:
        raw = Path(path).read_bytes()
        table = parse_lenient_or_none(raw)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise SourceError(msg) from error
    if not isinstance(table, dict):
        msg = f"{path} is not a session index; its sessions have no keys until it is"
        raise SourceError(msg)
    facts = [f for key, entry in table.items() for f in parse_session_entry(agent, key, entry)]
    # After the upgrade OpenClaw itself no longer knows the channel of an imported session: a cold index must not know
    # more than a later one would.
    return [replace(f, channel=None) for f in facts] if ".imported-" in path else facts


def read_database_index(path: str, agent: str, known: Source) -> tuple[list[SessionFacts], Source]:
    """What session_windows, session_nodes and the archive table say that a checkpoint does not cover; (facts, checkpoint).

    A row is new by its time or by its rowid: what is imported comes late and has an old time. Raises SourceError.
    """
    facts: list[SessionFacts] = []
    since_ms, newest, windows, nodes = known.seen_ms, known.seen_ms, known.position, known.lines
    with open_foreign(path) as db:
        columns = columns_of(db, "session_windows")
        if {"session_id", "session_key", "updated_at"} <= columns:
            names = [
                c if c in columns else f"NULL AS {c}"
                for c in ("channel", "chat_type", "spawned_by", "status", "display_name")
            ]
            for rowid, sid, key, updated, channel, chat, parent, status, label in db.execute(
                f"SELECT rowid, session_id, session_key, updated_at, {', '.join(names)} FROM session_windows WHERE updated_at >= ? OR rowid > ?", (since_ms, known.position)
            ):  # fmt: skip
                newest, windows = max(newest, updated), max(windows, rowid)
                facts.append(SessionFacts(agent, text_of(sid) or "", text_of(key) or "", updated, text_of(channel), text_of(chat), None, text_of(label), text_of(parent), text_of(status)))  # fmt: skip
        columns = columns_of(db, "session_nodes")
        if {"session_key", "current_session_id", "entry_json", "updated_at"} <= columns:
            spawned = "spawned_by" if "spawned_by" in columns else "NULL"
            label_column = "label" if "label" in columns else "NULL"
            for rowid, key, sid, raw, updated, parent, label in db.execute(
                f"SELECT rowid, session_key, current_session_id, entry_json, updated_at, {spawned}, {label_column} FROM session_nodes WHERE updated_at >= ? OR rowid > ?", (since_ms, known.lines)
            ):  # fmt: skip
                newest, nodes = max(newest, updated), max(nodes, rowid)
                entry = as_dict(parse_lenient_or_none(raw or b"{}"))
                entry["sessionId"] = text_of(sid)
                entry.setdefault("spawnedBy", text_of(parent))
                entry["label"] = text_of(label) or entry.get("label")
                entry["updatedAt"] = updated
                facts += parse_session_entry(agent, text_of(key) or "", entry)
        columns = columns_of(db, "session_transcript_archives")
        if {"session_id", "session_key"} <= columns:
            facts += [
                SessionFacts(agent, text_of(sid) or "", text_of(key) or "")
                for sid, key in db.execute(
                    "SELECT session_id, session_key FROM session_transcript_archives"
                )
            ]
    return [f for f in facts if f.session_id and f.key], replace(
        known, seen_ms=newest, position=windows, lines=nodes
    )


@dataclass(slots=True)
class StateReading:
    """What the home's state says about keys, sub-agents and cron runs."""

    facts: list[SessionFacts] = field(default_factory=list)
    runs: list[SubagentRun] = field(default_factory=list)
    crons: list[CronRun] = field(default_factory=list)

    def key(self, home: OpenClawHome, session_id: Any, key: Any) -> None:
        """Note that a session has a key, where both are known."""
        if isinstance(session_id, str) and isinstance(key, str) and key.startswith("agent:"):
            suffix = f"@{home.label}" if home.label else ""
            self.facts.append(
                SessionFacts(key.split(":")[1] + suffix, sound(session_id), sound(key))
            )

    def cron(self, home: OpenClawHome, entry: Json, key: Any = None) -> None:
        """Note a run of a cron job from its log record."""
        job, when = entry.get("jobId"), int_or_none(entry.get("runAtMs"))
        self.key(home, entry.get("sessionId"), key or entry.get("sessionKey"))
        if isinstance(job, str) and when is not None:
            self.crons.append(CronRun(sound(job), when, str(entry.get("status") or "?"), text_or_none(entry.get("sessionId")), int_or_none(entry.get("durationMs"))))  # fmt: skip


def list_state_files(home: OpenClawHome) -> list[str]:
    """The files of a home that know keys, cron runs and sub-agent runs, in every era."""
    folder = str(home.path)
    paths = [
        f"{folder}/cron/runs/{n}" for n in scan_names(f"{folder}/cron/runs") if n.endswith(".jsonl")
    ]
    paths.append(f"{folder}/subagents/runs.json")
    paths.append(str(home.state_database))
    return [p for p in paths if os.path.isfile(p)]


def list_registered_databases(home: OpenClawHome) -> list[TranscriptPath]:
    """The transcript databases that state/openclaw.sqlite names, by absolute path. Raises SourceError.

    Fact: `agent_databases(agent_id, path)`, paths relative to the state directory; OpenClaw 2026.9.6.
    """
    suffix = f"@{home.label}" if home.label else ""
    with open_foreign(str(home.state_database)) as db:
        if not {"agent_id", "path"} <= columns_of(db, "agent_databases"):
            return []
        rows = [
            (text_of(a) or "", text_of(p) or "")
            for a, p in db.execute("SELECT agent_id, path FROM agent_databases")
        ]
    return [
        TranscriptPath(os.path.realpath(home.path / path), "database", agent + suffix, "")
        for agent, path in rows
        if path
    ]


def read_state_file(home: OpenClawHome, path: str, since_ms: int) -> tuple[StateReading, int]:
    """Read one of list_state_files; (what it says, newest time of a database's runs). Raises SourceError."""
    out = StateReading()
    if path.endswith(".sqlite"):
        return out, read_state_database(home, path, since_ms, out)
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise SourceError(msg) from error
    if path.endswith(".jsonl"):  # 2026.2: cron/runs/<jobId>.jsonl
        for line in raw.splitlines():
            out.cron(home, as_dict(parse_lenient_or_none(line)))
        return out, 0
    runs = as_dict(as_dict(parse_lenient_or_none(raw)).get("runs"))
    for run_id, run in runs.items():
        run = as_dict(run)  # noqa: PLW2901
        if isinstance(run.get("childSessionKey"), str) and isinstance(
            run.get("requesterSessionKey"), str
        ):
            status = as_dict(run.get("outcome")).get("status") or (
                "ended" if run.get("endedAt") else "running"
            )
            out.runs.append(SubagentRun(sound(run_id), sound(run["childSessionKey"]), sound(run["requesterSessionKey"]), text_or_none(run.get("label")),
                                        sound(status), int_or_none(run.get("createdAt")), int_or_none(run.get("startedAt")), int_or_none(run.get("endedAt"))))  # fmt: skip
    return out, 0


def read_state_database(home: OpenClawHome, path: str, since_ms: int, out: StateReading) -> int:
    """Cron runs and sub-agent runs of state/openclaw.sqlite (2026.6: cron_run_logs; later: task_runs). Raises SourceError."""
    newest = since_ms
    with open_foreign(path) as db:
        if {"job_id", "ts", "session_id", "session_key", "status", "run_at_ms"} <= columns_of(
            db, "cron_run_logs"
        ):
            for job, ts, status, sid, key, run_at, duration in db.execute("SELECT job_id, ts, status, session_id, session_key, run_at_ms, duration_ms FROM cron_run_logs WHERE ts >= ?", (since_ms,)):  # fmt: skip
                newest = max(newest, ts)
                out.cron(home, {"jobId": text_of(job), "runAtMs": run_at, "status": text_of(status), "sessionId": text_of(sid), "durationMs": duration}, text_of(key))  # fmt: skip
        if {"runtime", "source_id", "child_session_key", "detail_json", "created_at"} <= columns_of(
            db, "task_runs"
        ):
            for job, key, raw, created in db.execute("SELECT source_id, child_session_key, detail_json, created_at FROM task_runs WHERE runtime = 'cron' AND created_at >= ?", (since_ms - DAY_MS,)):  # fmt: skip
                newest = max(newest, created)
                detail = as_dict(parse_lenient_or_none(raw or b"{}"))
                out.cron(
                    home,
                    {**detail, "jobId": text_of(job), "runAtMs": detail.get("runAtMs") or created},
                    text_of(key),
                )
        columns = columns_of(db, "subagent_runs")
        if {"run_id", "child_session_key", "requester_session_key"} <= columns:
            names = (
                "label",
                "created_at",
                "started_at",
                "ended_at",
                "outcome_json",
                "payload_json",
            )
            select = ", ".join(c if c in columns else f"NULL AS {c}" for c in names)
            for run, child, parent, label, created, started, ended, outcome, payload in db.execute(f"SELECT run_id, child_session_key, requester_session_key, {select} FROM subagent_runs"):  # fmt: skip
                body = as_dict(parse_lenient_or_none(payload or b"{}"))
                execution = as_dict(body.get("execution"))
                result = (
                    as_dict(parse_lenient_or_none(outcome))
                    if outcome
                    else as_dict(execution.get("outcome"))
                )
                began, done = (
                    started or int_or_none(execution.get("startedAt")),
                    ended or int_or_none(execution.get("endedAt")),
                )
                status = result.get("status") or ("ended" if done else "running")
                out.runs.append(SubagentRun(text_of(run) or "", text_of(child) or "", text_of(parent) or "", text_of(label) or text_or_none(body.get("label")),
                                            sound(status), created, began, done))  # fmt: skip
    return newest


# -- the indexer ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Progress:
    """How far the index is; bytes of everything there is to read."""

    total_bytes: int = 0
    indexed_bytes: int = 0
    complete: bool = False
    started: float = 0.0
    files: int = 0
    databases: int = 0

    def eta_s(self, now: float) -> float | None:
        """Seconds left, None when that cannot be told yet."""
        if self.complete or not self.indexed_bytes or now <= self.started:
            return None
        return max(
            0.0, (self.total_bytes - self.indexed_bytes) * (now - self.started) / self.indexed_bytes
        )


#: A piece of work for a worker process: files, or sessions of a database.
Task = tuple[
    str, str, str, str, bool, list[str], int
]  # kind file|database, path, source kind, agent, compressed, session ids, last rowid


SEEN_FIELDS = tuple(f.name for f in fields(SessionSeen))


def pack_reading(reading: Reading, source: Source | None, done_bytes: int) -> bytes:
    """A reading as bytes for a pipe; marshal is three times as fast as pickle and both ends are this very file."""
    sessions = [(i, *(getattr(s, f) for f in SEEN_FIELDS)) for i, s in reading.sessions.items()]
    implausible = [
        (i.entry_key, i.session, i.ts_ms, i.reason, i.usage) for i in reading.implausible
    ]
    packed_source = tuple(getattr(source, f) for f in SOURCE_FIELDS) if source else None
    return marshal.dumps(
        (
            reading.calls,
            reading.messages,
            reading.models,
            sessions,
            implausible,
            reading.bad_lines,
            reading.last_error,
            dict(reading.bad_rows),
            packed_source,
            done_bytes,
        )
    )


def unpack_reading(data: bytes) -> tuple[Reading, Source | None, int]:
    """Undo pack_reading."""
    calls, messages, models, sessions, implausible, bad, error, rows, source, done = marshal.loads(  # noqa: S302 - from our own child
        data
    )
    reading = Reading(
        calls,
        messages,
        models,
        {s[0]: SessionSeen(*s[1:]) for s in sessions},
        [Implausible(*i) for i in implausible],
        bad,
        error,
        Counter(rows),
    )
    return reading, Source(*source) if source else None, done


def work(tasks: Iterable[Task], send: Callable[[bytes], None]) -> None:
    """Read what the tasks name and send packed readings: the body of a worker process."""
    for kind, path, source_kind, agent, compressed, session_ids, upto in tasks:
        done = 0
        try:
            if kind == "database":
                for reading in read_database_sessions(path, agent, session_ids, upto):
                    send(pack_reading(reading, None, 0))
                continue
            place = TranscriptPath(path, source_kind, agent, session_ids[0], compressed)
            for reading, source in read_transcript_file(
                place, None, SessionSeen(agent, session_ids[0])
            ):
                send(pack_reading(reading, source, source.indexed_bytes - done))
                done = source.indexed_bytes
        except (OSError, SourceError) as error:
            source = Source(path, source_kind, agent, "", state="unreadable", error=plain(error))
            send(pack_reading(Reading(), source, 0))


def serve_index_worker() -> int:
    """A worker process: tasks come as one marshal value on stdin, readings go as length-prefixed frames to stdout."""
    out = sys.stdout.buffer

    def send(data: bytes) -> None:
        out.write(len(data).to_bytes(8, "big"))
        out.write(data)
        out.flush()

    gc.disable()  # parsed JSON has no cycles; looking for them costs a tenth of the time
    work(marshal.load(sys.stdin.buffer), send)  # noqa: S302 - from our own parent
    return 0


class WorkerPool:
    """Worker processes that read a list of tasks each; iterating gives their readings as they come.

    Where no other thread runs yet (the command line) workers are forked, which takes 5 ms; otherwise each is a fresh
    interpreter, because a fork of a threaded process may inherit a locked lock.
    """

    def __init__(self, shares: Sequence[Sequence[Task]]) -> None:
        self.frames: queue.Queue[bytes | None] = queue.Queue(8)
        self.pipes: list[io.BufferedReader] = []
        self.forked: list[int] = []
        self.children: list[subprocess.Popen[bytes]] = []
        can_fork = sys.platform.startswith("linux") and threading.active_count() == 1
        for share in shares:
            if can_fork:
                self._fork(list(share))
            else:
                child = subprocess.Popen(own_command("_index-worker"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
                self.children.append(child)
                marshal.dump(list(share), cast("Any", child.stdin))
                cast("Any", child.stdin).close()
                self.pipes.append(cast("io.BufferedReader", child.stdout))
        self.threads = [
            threading.Thread(target=self._receive, args=(p,), name="index-worker-pipe", daemon=True)
            for p in self.pipes
        ]
        for thread in self.threads:
            thread.start()

    def _fork(self, share: list[Task]) -> None:
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                gc.disable()
                os.close(read_end)
                with os.fdopen(write_end, "wb") as out:

                    def send(data: bytes) -> None:
                        out.write(len(data).to_bytes(8, "big"))
                        out.write(data)

                    work(share, send)
                code = 0
            except BrokenPipeError:
                code = 0  # the parent has gone
            except BaseException:
                log.exception("an index worker failed")
            finally:
                os._exit(code)
        os.close(write_end)
        self.forked.append(pid)
        self.pipes.append(os.fdopen(read_end, "rb"))

    def _receive(self, pipe: io.BufferedReader) -> None:
        with pipe:
            while head := pipe.read(8):
                self.frames.put(pipe.read(int.from_bytes(head, "big")))
        self.frames.put(None)

    def __iter__(self) -> Iterator[tuple[Reading, Source | None, int]]:
        running = len(self.pipes)
        while running:
            frame = self.frames.get()
            if frame is None:
                running -= 1
            else:
                yield unpack_reading(frame)
        for child in self.children:
            if child.wait():
                msg = f"an index worker ended with status {child.returncode}"
                raise SourceError(msg)
        for pid in self.forked:
            if os.waitpid(pid, 0)[1]:
                msg = "an index worker ended early"
                raise SourceError(msg)
        self.forked.clear()

    def close(self) -> None:
        """End workers that still run."""
        for child in self.children:
            child.kill()
        for pid in self.forked:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


class Indexer:
    """Keeps a Store in step with the homes: a cold index by worker processes, then small reads of what changed."""

    #: Below this, worker processes cost more than they save.
    PARALLEL_BYTES = 8 * 1024 * 1024

    def __init__(
        self, homes: Sequence[OpenClawHome], store: Store, *, workers: int | None = None
    ) -> None:
        self.homes = homes
        self.store = store
        self.workers = min(2, os.cpu_count() or 1) if workers is None else workers
        self.lock = threading.RLock()
        self.known = store.sources()
        self.progress = Progress(started=time.monotonic())
        #: Whether everything has been read once; a later pass looks for changes and takes nothing back.
        self.complete = False
        self.problems: dict[str, str] = {}
        self.databases: dict[str, str] = {}
        self.registered: dict[str, tuple[Any, list[TranscriptPath]]] = {}
        self.stopping = threading.Event()
        self.lag_ms: int | None = None
        self.inodes = {
            (s.dev, s.inode): s
            for s in self.known.values()
            if s.kind in RANKS and s.kind != "database"
        }

    # -- a whole pass -------------------------------------------------------------------------------------------------

    def index(self, on_progress: Callable[[Progress], None] | None = None) -> int:
        """Read everything that is new in all homes; how many calls that gave. Raises StoreError when they cannot be kept."""
        with self.lock:
            self.progress = Progress(started=time.monotonic())
            places = self._list_places()
            added = 0
            empty = self.store.is_empty()
            if empty:
                try:
                    with self.store.bulk_load():
                        self._cold(places, on_progress)
                        self._read_indexes()
                except BaseException:
                    self.known = self.store.sources()  # what the transaction took back was not read
                    self.inodes.clear()
                    raise
                self.store.link_all_parents()
                with self.store.reading() as db:
                    added = db.execute("SELECT count(*) FROM model_calls").fetchone()[0]
            else:
                for place in places:
                    if self.stopping.is_set():
                        return added
                    added += self._catch_up(place)
                    self._advance(place, on_progress)
                self._read_indexes()
                self._mark_gone({p.path for p in places})
            self.progress.complete = self.complete = True
            self.progress.indexed_bytes = self.progress.total_bytes
            if on_progress:
                on_progress(self.progress)
            return added

    def _list_places(self) -> list[TranscriptPath]:
        places: list[TranscriptPath] = []
        for home in self.homes:
            try:
                agents = home.agents()
                self.problems.pop(str(home.agents_folder), None)
            except SourceError as error:
                self.problems[str(home.agents_folder)] = str(error)
                continue
            for agent in agents:
                try:
                    places += list_transcripts(agent)
                    self.problems.pop(str(agent.folder), None)
                except OSError as error:
                    self.problems[str(agent.folder)] = (
                        f"cannot list {error.filename}: {error.strerror}"
                    )
            places += self._registered_databases(home, {p.path for p in places})
        self.databases = {p.path: p.agent for p in places if p.kind == "database"}
        for place in places:
            self.progress.total_bytes += self._size(place)
            self.progress.databases += place.kind == "database"
            self.progress.files += place.kind != "database"
        return places

    def _registered_databases(self, home: OpenClawHome, known: set[str]) -> list[TranscriptPath]:
        """Transcript databases outside the agents' folders, which the home's own list names (2026.8 and later)."""
        path = str(home.state_database)
        try:
            signature = database_signature(path)
        except SourceError:
            return []  # earlier versions have no such database
        if self.registered.get(path, (None, []))[0] != signature:
            try:
                self.registered[path] = (signature, list_registered_databases(home))
            except SourceError as error:
                self.problems[f"{path}#agents"] = str(error)
                return []
            self.problems.pop(f"{path}#agents", None)
        return [
            p for p in self.registered[path][1] if p.path not in known and os.path.isfile(p.path)
        ]

    @staticmethod
    def _size(place: TranscriptPath) -> int:
        try:
            return (
                database_signature(place.path)[2]
                if place.kind == "database"
                else os.stat(place.path).st_size
            )
        except (OSError, SourceError):
            return 0

    def _advance(
        self, place: TranscriptPath, on_progress: Callable[[Progress], None] | None
    ) -> None:
        self.progress.indexed_bytes += self._size(place)
        if on_progress:
            on_progress(self.progress)

    def _cold(
        self, places: Sequence[TranscriptPath], on_progress: Callable[[Progress], None] | None
    ) -> None:
        """Fill an empty ledger; in worker processes when there is much to read."""
        tasks: list[tuple[int, Task]] = []
        plans: list[tuple[TranscriptPath, DatabasePlan]] = []
        for place in places:
            if place.kind != "database":
                tasks.append(
                    (
                        self._size(place),
                        (
                            "file",
                            place.path,
                            place.kind,
                            place.agent,
                            place.compressed,
                            [place.session_id],
                            0,
                        ),
                    )
                )
                continue
            try:
                plan = plan_database(place, None, {})
            except SourceError as error:
                self._unreadable(place, error)
                continue
            if plan:
                plans.append((place, plan))
                rows = sum(n for _, n in plan.sessions) or 1
                per_row = max(1, (plan.source.size or 0) // rows)
                head = ("database", place.path, "database", place.agent, False)
                group: list[str] = []
                weight = 0
                for sid, count in plan.sessions:
                    group.append(sid)
                    weight += count * per_row
                    if weight > BLOCK_BYTES:
                        tasks.append(
                            (
                                weight,
                                (*head, group, plan.source.position),
                            )
                        )
                        group, weight = [], 0
                if group:
                    tasks.append((weight, (*head, group, plan.source.position)))
        tasks.sort(key=lambda t: -t[0])
        bad: Counter[tuple[str, str]] = Counter()
        for reading, source, done in self._run(tasks):
            self.progress.indexed_bytes += done
            if source is None:
                bad.update(reading.bad_rows)
                for path, _ in reading.bad_rows:
                    known = self.known.setdefault(path, Source(path, "database", "", ""))
                    known.error = reading.last_error
                self.store.add(reading)
            else:
                self._keep(source)
                self.store.add(reading, [source])
                if source.state == "unreadable":
                    self.problems[source.path] = source.error or "cannot be read"
            if on_progress:
                on_progress(self.progress)
        for place, plan in plans:
            plan.keep_bad_rows({s: n for (path, s), n in bad.items() if path == place.path})
            failed = self.known.get(place.path)
            plan.source.error = failed.error if failed else None
            plan.source.indexed_bytes = plan.source.size or 0
            try:
                reading = read_database_archives(place, plan.archives)
            except SourceError as error:
                reading = Reading()
                failed = Source(place.path, "database", place.agent, "", state="unreadable")
                failed.error = str(error)
            # Some of it could not be read: all of it is tried again.
            if failed and failed.state == "unreadable":
                plan.source = failed
                plan.generations = []
                self.problems[place.path] = failed.error or "cannot be read"
            self._keep(plan.source)
            self.store.add(reading, [plan.source], plan.generations)

    def _run(
        self, tasks: Sequence[tuple[int, Task]]
    ) -> Iterator[tuple[Reading, Source | None, int]]:
        total = sum(size for size, _ in tasks)
        if self.workers < 2 or total < self.PARALLEL_BYTES:
            frames: deque[bytes] = deque()
            for _, task in tasks:
                work([task], frames.append)
                while frames:
                    yield unpack_reading(frames.popleft())
            return
        shares: list[tuple[int, list[Task]]] = [(0, []) for _ in range(self.workers)]
        for size, task in tasks:  # longest first, each to the worker with the least so far
            lightest = min(range(self.workers), key=lambda i: shares[i][0])
            shares[lightest] = (shares[lightest][0] + size, [*shares[lightest][1], task])
        pool = WorkerPool([s for _, s in shares])
        try:
            yield from pool
        finally:
            pool.close()

    # -- one source ---------------------------------------------------------------------------------------------------

    def _catch_up(self, place: TranscriptPath) -> int:
        """Read what is new in one file or database; how many calls it gave."""
        try:
            added = (
                self._read_database(place) if place.kind == "database" else self._read_file(place)
            )
        except FileNotFoundError:
            return 0  # renamed or deleted since it was listed: the next pass sees where to
        except (OSError, SourceError) as error:
            self._unreadable(place, error)
            return 0
        self.problems.pop(place.path, None)
        return added

    def _unreadable(self, place: TranscriptPath, error: Exception) -> None:
        text = (
            plain(error)
            if isinstance(error, SourceError)
            else f"cannot read {place.path}: {getattr(error, 'strerror', None) or error}"
        )
        if self.problems.get(place.path) == text:
            return
        self.problems[place.path] = text
        source = replace(
            self.known.get(place.path)
            or Source(place.path, place.kind, place.agent, place.session_id),
            state="unreadable",
            error=text,
        )
        self.known[place.path] = source
        self.store.save_source(source)

    def _read_file(self, place: TranscriptPath) -> int:
        known = self.known.get(place.path)
        info = os.stat(place.path)
        if known is None:
            moved = self.inodes.get((info.st_dev, info.st_ino))
            if moved and not os.path.exists(
                moved.path
            ):  # renamed: /new, reset and delete rename the live file
                known = replace(moved, path=place.path, kind=place.kind)
        if (
            known
            and known.state == "ok"
            and (known.size, known.mtime_ns, known.inode)
            == (info.st_size, info.st_mtime_ns, info.st_ino)
        ):
            if known.path not in self.known:
                self._keep(known)
                self.store.save_source(known)
            return 0
        added = 0
        seen = self.store.session_tail(place.agent, place.session_id)
        for reading, source in read_transcript_file(place, known, seen):
            added += self.store.add(reading, [source]).calls
            self._keep(source)
        return added

    def _keep(self, source: Source) -> None:
        self.known[source.path] = source
        self.inodes[source.dev, source.inode] = source

    def _read_database(self, place: TranscriptPath) -> int:
        known = self.known.get(place.path)
        plan = plan_database(place, known, self.store.generations(place.path))
        if plan is None:
            return 0
        added = 0
        error: str | None = None

        def keep(readings: Iterator[Reading]) -> Counter[str]:
            """Add what was read; the bad rows of each session."""
            nonlocal added, error
            bad: Counter[str] = Counter()
            for reading in readings:
                added += self.store.add(reading).calls
                error = reading.last_error or error
                for (_, session), count in reading.bad_rows.items():
                    bad[session] += count
            return bad

        def keep_sessions(sessions: Sequence[str]) -> Counter[str]:
            upto = plan.source.position
            return keep(read_database_sessions(place.path, place.agent, sessions, upto))

        anew = [s for s, _ in plan.sessions]
        bad_rows = {**plan.bad_rows, **dict.fromkeys(anew, 0), **keep_sessions(anew)}
        if plan.above is not None and (
            plan.source.position > plan.above or plan.since_ms is not None
        ):
            found = keep(read_database_rows(place, plan.above, plan.source.position, plan.since_ms, lambda sid: self.store.session_tail(place.agent, sid)))  # fmt: skip
            if plan.since_ms is None:
                for session in found.keys() - set(anew):
                    bad_rows[session] = bad_rows.get(session, 0) + found[session]
            else:  # among these rows are some that were counted before: count the sessions that have any, as a whole
                doubtful = {*found, *(s for s, n in plan.bad_rows.items() if n)}
                again = sorted(doubtful - set(anew))
                bad_rows |= {**dict.fromkeys(again, 0), **keep_sessions(again)}
        plan.keep_bad_rows(bad_rows)
        last = read_database_archives(place, plan.archives) if plan.archives else Reading()
        plan.source.error = (error or plan.source.error) if plan.source.bad_lines else None
        plan.source.indexed_bytes = plan.source.size or 0
        added += self.store.add(last, [plan.source], plan.generations).calls
        self._keep(plan.source)
        return added

    def _mark_gone(self, present: set[str]) -> None:
        for source in list(self.known.values()):
            path = source.path.partition("#")[0]
            if source.state != "gone" and path not in present and not os.path.exists(path):
                gone = replace(source, state="gone")
                self.known[source.path] = gone
                self.problems.pop(source.path, None)
                self.store.save_source(gone)

    # -- indexes ------------------------------------------------------------------------------------------------------

    def _read_indexes(self) -> None:
        for home in self.homes:
            with contextlib.suppress(SourceError):  # said by _list_places
                for agent in home.agents():
                    for path in list_indexes(agent):
                        self._read_index(path, agent)
            for path in list_state_files(home):
                self._read_state(home, path)
        for path, name in self.databases.items():
            self._read_database_index(path, name)

    def _changed(
        self, path: str, key: str
    ) -> tuple[Source | None, tuple[int, int, int, int] | None]:
        """The checkpoint of an index and its new signature; None when it has not changed."""
        try:
            signature = database_signature(path)
        except SourceError:
            return None, None
        known = self.known.get(key)
        if (
            known
            and known.state == "ok"
            and (known.dev, known.inode, known.size, known.mtime_ns) == signature
        ):
            return known, None
        return known, signature

    def _read_index(self, path: str, agent: AgentPaths) -> None:
        known, signature = self._changed(path, path)
        if signature is None:
            return
        source = Source(path, "index", agent.name, "", *signature)
        try:
            facts = read_session_index(path, agent.name)
            self.problems.pop(path, None)
        except SourceError as error:
            # OpenClaw replaces the file in one step, so a broken one is news; a second look comes with the next change.
            self.problems[path] = str(error)
            self.known[path] = (
                replace(known, state="unreadable", error=str(error))
                if known
                else replace(source, size=None, state="unreadable", error=str(error))
            )
            self.store.save_source(self.known[path])
            return
        self.store.learn(facts, sources=[source])
        self.known[path] = source

    def _read_database_index(self, path: str, agent: str) -> None:
        key = f"{path}#index"
        known, signature = self._changed(path, key)
        if signature is None:
            return
        before = (
            known
            if known is not None and known.inode == signature[1]
            else Source(key, "index", agent, "")
        )
        try:
            facts, source = read_database_index(path, agent, before)
        except SourceError as error:
            self.problems[key] = str(error)
            return
        self.problems.pop(key, None)
        source = replace(source, state="ok")
        source.dev, source.inode, source.size, source.mtime_ns = settled(signature)
        self.store.learn(facts, sources=[source])
        self.known[key] = source

    def _read_state(self, home: OpenClawHome, path: str) -> None:
        key = f"{path}#state"
        known, signature = self._changed(path, key)
        if signature is None:
            return
        same = known is not None and known.inode == signature[1]
        try:
            state, newest = read_state_file(home, path, known.seen_ms if known and same else 0)
        except SourceError as error:
            self.problems[key] = str(error)
            return
        self.problems.pop(key, None)
        source = Source(key, "index", "", "", *signature, seen_ms=newest)
        self.store.learn(state.facts, state.runs, state.crons, [source])
        self.known[key] = source


###############################################################################
# Source: gateway #############################################################
###############################################################################
# What OpenClaw's gateway says while agents work: one WebSocket connection, only read.
# GatewayState is what it has said, and all that others see of it. The ledger never waits
# for it: without a gateway everything goes on from the files. Facts about the protocol
# were observed on 2026.2.12 to 2026.9.6 (tests/data/gateway).

#: Protocol versions that we speak: 3 is OpenClaw 2026.2, 4 is 2026.4 and later.
PROTOCOLS = (3, 4)
#: The largest message that is looked at. A list of 100 sessions takes 0.3 MB; gateways may send up to 25 MB.
MAX_MESSAGE_BYTES = 8 << 20
#: A message that claims to be larger than this is no message: the connection is given up.
MAX_CLAIMED_BYTES = 256 << 20
#: What is kept of a gateway, whatever it sends.
MAX_LIVE_SESSIONS = 512
MAX_RUNS = 32
MAX_TOOLS = 64
MAX_ENDED_RUNS = 2048
#: A session in which nothing has moved for so long says nothing about now.
RECENT_MS = 15 * MINUTE_MS
#: Clocks of a row and of the transcript entry that it is about differ by this much at most.
ROW_SLACK_MS = 5_000


class GatewayError(SourceError):
    """The gateway cannot be used now: `status` is a word of GatewayState, `advice` says what to do."""

    def __init__(self, status: str, text: str, advice: str | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.advice = advice


class TokenRefusedError(GatewayError):
    """The gateway knows another token."""


class CallRefusedError(GatewayError):
    """The gateway answered a call with an error: `code` is its word for it, the text its sentence."""

    def __init__(self, method: str, error: Json) -> None:
        self.code = plain(error.get("code") or "", 60)
        self.message = plain(error.get("message") or self.code or "no reason given")
        super().__init__("refused", f"{method}: {self.message}")

    @property
    def is_unknown(self) -> bool:
        """Whether this version of OpenClaw does not have the method."""
        return "unknown method" in self.message


def is_loopback(address: str) -> bool:
    """Tell whether an address is this machine's own (127/8, ::1, also IPv4 inside IPv6)."""
    import ipaddress

    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return bool((getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback)


# -- where it is ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a gateway listens, and the tokens it may take, the most likely one first."""

    url: str
    tokens: tuple[str, ...] = field(default=(), repr=False)


GIVE_TOKEN = "give its token with OPENCLAW_GATEWAY_TOKEN, or as gateway_token in clawmeter.toml"  # noqa: S105 - a sentence


def find_endpoint(settings: Settings, config: OpenClawConfig) -> Endpoint:
    """Where the gateway of a home is and how to log in. GatewayError when that cannot be known."""
    url = settings.gateway_url or config.gateway_url
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    if host != "localhost" and not is_loopback(host):
        raise GatewayError(
            "unusable",
            f"the gateway {url} is on another machine: it wants a device identity, which this Clawmeter does not have yet",
            "run Clawmeter beside the gateway, or open a tunnel (ssh -N -L 18789:127.0.0.1:18789 HOST) and name it with --gateway-url ws://127.0.0.1:18789",
        )
    tokens = tuple(dict.fromkeys(t for t in (settings.gateway_token, config.gateway_token) if t))
    if settings.gateway_url is None and config.gateway_auth in ("password", "trusted-proxy"):
        raise GatewayError(
            "unusable",
            f"the gateway takes no token (gateway.auth.mode is {plain(config.gateway_auth, 40)})",
            "live sessions are told from the transcripts; with gateway.auth.mode = token the gateway would tell them itself",
        )
    if not tokens and config.gateway_auth != "none":
        raise GatewayError("unusable", config.token_problem or "openclaw.json has no gateway.auth.token", GIVE_TOKEN)  # fmt: skip
    return Endpoint(url, tokens)


# -- frames -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of the gateway: an event, or the answer to a request."""

    kind: str  # event | res
    name: str  # the event's name, or the id of the request
    payload: Any = None
    seq: int | None = None
    ok: bool = True
    error: Json = field(default_factory=dict)


def parse_frame(raw: bytes) -> Frame | None:
    """Turn a message into a Frame; None for what is none."""
    value = parse_lenient_or_none(raw)
    if not isinstance(value, dict):
        return None
    kind = value.get("type")
    name = value.get("event" if kind == "event" else "id")
    if kind not in ("event", "res") or not isinstance(name, str) or len(name) > 200:
        return None
    seq = value.get("seq")
    if seq is not None and (type(seq) is not int or not 0 <= seq < 1 << 53):
        return None
    return Frame(kind, name, value.get("payload"), seq, value.get("ok", True) is True, as_dict(value.get("error")))  # fmt: skip


class FrameReader:
    """Messages of a WebSocket server (RFC 6455 §5), each of a bounded size.

    Our own because websocket-client collects whatever length a frame claims, and takes three system calls for each.
    """

    def __init__(self, sock: socket.socket, limit: int = MAX_MESSAGE_BYTES) -> None:
        self.sock = sock
        self.limit = limit
        self.oversized = 0
        self._buffer = bytearray()
        self._skip = 0  # bytes of a frame that is too large, still to come
        self._parts: list[bytes] = []
        self._is_dropping = False  # the rest of a message of which a part was too large

    def receive(self) -> list[tuple[int, bytes]]:
        """The (opcode, payload) that have come, after waiting for the next bytes. OSError when the connection ends."""
        data = self.sock.recv(65_536)
        if not data:
            raise ConnectionError("the gateway closed the connection")
        self._buffer += data
        return list(self._split())

    def _split(self) -> Iterator[tuple[int, bytes]]:
        buffer = self._buffer
        while True:
            if self._skip:
                dropped = min(self._skip, len(buffer))
                del buffer[:dropped]
                self._skip -= dropped
            if self._skip or len(buffer) < 2:
                return
            first, length, head = buffer[0], buffer[1], 2
            if first & 0x70 or length & 0x80:
                raise ConnectionError("the gateway sent what is no WebSocket frame")
            if length >= 126:
                head += 2 if length == 126 else 8
                if len(buffer) < head:
                    return
                length = int.from_bytes(buffer[2:head], "big")
            is_last, opcode = first & 0x80, first & 0x0F
            if length > self.limit:
                if length > MAX_CLAIMED_BYTES or opcode >= 8:
                    raise ConnectionError("the gateway sent a frame of impossible length")
                del buffer[:head]
                self._skip = length
                self._drop(is_last)
                continue
            if len(buffer) < head + length:
                return
            payload = bytes(buffer[head : head + length])
            del buffer[: head + length]
            if opcode >= 8:
                yield opcode, payload
            elif self._is_dropping:
                self._is_dropping = not is_last
            elif sum(map(len, self._parts)) + length > self.limit or len(self._parts) > 10_000:
                self._drop(is_last)
            else:
                self._parts.append(payload)
                if is_last:
                    payload = b"".join(self._parts)
                    self._parts = []
                    yield 1, payload

    def _drop(self, is_last: int) -> None:
        self.oversized += not self._is_dropping
        self._parts = []
        self._is_dropping = not is_last


# -- what it has said -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class LiveRun:
    """One run under way."""

    started_ms: int | None
    doing: str  # waiting | thinking | answering | tool | retrying | compacting
    since_ms: int | None
    tools: dict[str, str] = field(default_factory=dict)  # call id: name, the latest one last


@dataclass(slots=True)
class LiveSession:
    """What the gateway says about a session."""

    key: str
    session_id: str | None = None
    runs: dict[str, LiveRun] = field(default_factory=dict)
    outcome: str | None = None  # done | failed | aborted: how the last run ended
    model: str | None = None
    provider: str | None = None
    context_tokens: int | None = None
    context_window: int | None = None
    updated_ms: int = 0
    shown: Json | None = None  # as it was told last, without its times

    def look(self) -> Json:
        """What a change of is worth telling."""
        return {k: v for k, v in self.describe().items() if not k.endswith("_ms")}

    def describe(self) -> Json:
        """Run of the API."""
        run = max(self.runs.values(), key=lambda r: r.since_ms or 0, default=None)
        tool = next(reversed(run.tools.values()), None) if run else None
        return {
            "running": run is not None, "doing": run.doing if run else self.outcome, "tool": tool,
            "since_ms": run.since_ms if run else None, "started_ms": run.started_ms if run else None, "runs": len(self.runs),
            "model": self.model, "provider": self.provider, "context_tokens": self.context_tokens, "context_window": self.context_window,
        }  # fmt: skip


class LiveView(NamedTuple):
    """A LiveSession as it was at one moment; `run` is Run of the API."""

    key: str
    session_id: str | None
    updated_ms: int
    run: Json


OUTCOMES: Mapping[str, str] = {
    "done": "done", "final": "done", "end": "done", "failed": "failed", "error": "failed", "timeout": "failed", "timed_out": "failed",
    "killed": "aborted", "aborted": "aborted", "cancelled": "aborted",
}  # fmt: skip
#: What a stream of `agent` events says about the run that it belongs to.
DOING: Mapping[str, str] = {"assistant": "answering", "thinking": "thinking"}


def short_text(value: Any, limit: int = 200) -> str | None:
    """A name as the gateway gives it, safe to show; None for anything else, and for one that is too long to be a name."""
    return plain(value) if isinstance(value, str) and 0 < len(value) <= limit else None


def moment_ms(value: Any) -> int | None:
    """An epoch time in ms that can be one."""
    return value if type(value) is int and 10**12 <= value < 10**13 else None


def count_of(value: Any) -> int | None:
    """A count of tokens that can be one."""
    return value if type(value) is int and 0 <= value <= 10**9 else None


class GatewayState:
    """What is known about the gateway now; written by one GatewayClient, read by everybody."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.status = "off"  # off connecting connected unreachable refused incompatible unusable
        self.url: str | None = None
        self.version: str | None = None
        self.protocol: int | None = None
        self.problem: str | None = None
        self.advice: str | None = None
        self.last_error: str | None = None
        self.connected_ms: int | None = None
        self.is_suspended = False
        self.event_loop: Json | None = None
        self.capabilities: dict[str, bool] = {}
        self.counts: Counter[str] = Counter()
        self.sessions: dict[str, LiveSession] = {}  # least recently heard of first
        self._began: float | None = None  # when the gateway started, by our monotonic clock
        self._run_keys: dict[str, str] = {}
        self._ended: dict[str, int] = {}
        self._changed: set[str] = set()

    # -- the connection --

    def set_status(self, status: str, problem: str | None = None, advice: str | None = None) -> bool:  # fmt: skip
        """The connection is in another state; whether that is news. Its sessions are known only while it is there."""
        with self.lock:
            is_news = (status, problem) != (self.status, self.problem)
            self.status, self.problem, self.advice = status, problem, advice
            if problem:
                self.last_error = problem
            if status != "connected":
                self.connected_ms = self.event_loop = self._began = None
                self.is_suspended = False
                self.forget_sessions()
            return is_news

    def take_hello(self, hello: Json, url: str) -> None:
        """The gateway let us in."""
        snapshot, server = as_dict(hello.get("snapshot")), as_dict(hello.get("server"))
        version = short_text(server.get("version"), 40)
        uptime = snapshot.get("uptimeMs")
        with self.lock:
            self.set_status("connected")
            self.url = url
            # OpenClaw 2026.2 says `dev`, as it does not know its own version.
            self.version = None if version in ("dev", "unknown") else version
            self.protocol = hello["protocol"] if type(hello.get("protocol")) is int else None
            self.connected_ms = int(self.clock() * 1000)
            self._began = time.monotonic() - uptime / 1000 if type(uptime) is int and 0 <= uptime < 1 << 45 else None  # fmt: skip
            self.capabilities = {}
            self._take_suspension(snapshot)
            self._take_health(as_dict(snapshot.get("health")))

    def can(self, capability: str, *, really: bool) -> None:
        """This version can do something, or cannot."""
        with self.lock:
            self.capabilities[capability] = really

    def count(self, what: str, n: int = 1) -> None:
        """Something happened that only a counter knows."""
        with self.lock:
            self.counts[what] += n

    # -- what others see --

    @property
    def text(self) -> str:
        """The state in a few words."""
        if self.status == "connected":
            version = f", OpenClaw {self.version}" if self.version else ""
            slow = as_dict(self.event_loop).get("degraded")
            return f"connected{version}{', suspended' if self.is_suspended else ''}{', slow' if slow else ''}"  # fmt: skip
        words = {"off": "not connected", "unreachable": "not running", "refused": "refuses", "incompatible": "not compatible", "unusable": "not connected"}  # fmt: skip
        return words.get(self.status, self.status)

    def describe(self) -> Json:
        """Gateway of the API."""
        with self.lock:
            return {
                "status": self.status, "text": self.text, "url": self.url, "version": self.version, "protocol": self.protocol,
                "uptime_s": round(time.monotonic() - self._began, 1) if self._began is not None else None, "connected_ms": self.connected_ms,
                "suspended": self.is_suspended, "problem": self.problem, "what_to_do": self.advice, "last_error": self.last_error,
                "event_loop": self.event_loop, "live_runs": sum(len(s.runs) for s in self.sessions.values()),
                "capabilities": sorted(c for c, can in self.capabilities.items() if can),
                "missing": sorted(c for c, can in self.capabilities.items() if not can),
                "frames": {name: self.counts[name] for name in FRAME_COUNTS},
            }  # fmt: skip

    def live(self) -> list[LiveView]:
        """Sessions that run, or did a moment ago; nothing without a connection."""
        since = int(self.clock() * 1000) - RECENT_MS
        with self.lock:
            if self.status != "connected":
                return []
            return [LiveView(s.key, s.session_id, s.updated_ms, s.describe()) for s in self.sessions.values() if s.runs or s.updated_ms > since]  # fmt: skip

    def has_runs(self) -> bool:
        """Whether anything runs."""
        with self.lock:
            return any(s.runs for s in self.sessions.values())

    def take_changes(self) -> list[Json]:
        """What is to be told about sessions since the last call: one item each, and only if it looks different."""
        out = []
        with self.lock:
            for key in self._changed:
                found = self.sessions.get(key)
                if found is None:
                    out.append({"session": key, "key": key, "running": False, "doing": None})
                elif (look := found.look()) != found.shown:
                    found.shown = look
                    out.append({"session": found.session_id or key, "key": key, **found.describe()})
            self._changed.clear()
        return out

    # -- sessions and runs --

    def forget_sessions(self) -> None:
        """Nothing is known about any session."""
        with self.lock:
            self.sessions.clear()
            self._run_keys.clear()
            self._ended.clear()
            self._changed.clear()

    def forget_runs(self) -> None:
        """Events were missed: which runs are under way is not known."""
        with self.lock:
            for session in self.sessions.values():
                for run_id in list(session.runs):
                    self._drop_run(session, run_id)

    def take_event(self, frame: Frame) -> None:
        """Learn from an event; one that says nothing we know changes nothing."""
        payload = as_dict(frame.payload)
        take = {
            "agent": self._take_agent, "session.tool": self._take_agent, "chat": self._take_chat, "sessions.changed": self._take_changed,
            "session.message": self._take_message, "health": self._take_health, "gateway.suspension": self._take_suspension,
        }.get(frame.name)  # fmt: skip
        if take:
            with self.lock:
                take(payload)

    def take_list(self, answer: Any) -> None:
        """The answer of sessions.list: what all sessions do now."""
        rows = as_dict(answer).get("sessions")
        rows = [r for r in rows if isinstance(r, dict)] if isinstance(rows, list) else []
        horizon = int(self.clock() * 1000) - RUNNING_MS
        knows_runs = False
        with self.lock:
            for row in reversed(rows[:MAX_LIVE_SESSIONS]):  # newest first, as the list is ordered
                session = self._session(row.get("key"))
                if session is None:
                    continue
                self._take_row(session, row)
                active, status = row.get("hasActiveRun"), row.get("status")
                if type(active) is not bool and isinstance(status, str):
                    active = status == "running"
                if type(active) is bool:
                    knows_runs = True
                    # A run that a gateway forgot to end stays active in its list for ever (seen in 2026.6.11).
                    is_old = status != "running" and session.updated_ms < horizon
                    self._set_active(session, active and not is_old, row.get("activeRunIds"))
                if session.shown is None and not session.runs:
                    session.shown = session.look()  # that it was there all along is no news
            if rows:
                self.capabilities["active runs"] = knows_runs

    def _session(self, key: Any) -> LiveSession | None:
        """The session of a key, made if it is new. The one least heard of makes room."""
        if not isinstance(key, str) or not 0 < len(key) <= 400:
            self.counts["ignored"] += 1
            return None
        session = self.sessions.pop(key, None)
        if session is None:
            if len(self.sessions) >= MAX_LIVE_SESSIONS:
                idle = next((k for k, s in self.sessions.items() if not s.runs), None)
                if idle is None:
                    self.counts["ignored"] += 1
                    return None
                del self.sessions[idle]
            session = LiveSession(key)
        self.sessions[key] = session
        self._changed.add(key)
        return session

    def _take_row(self, session: LiveSession, row: Json) -> None:
        """Take over what a row of the session list says."""
        new_id = short_text(row.get("sessionId"))
        if new_id:
            session.session_id = new_id
        session.model = short_text(row.get("activeModel")) or short_text(row.get("model")) or session.model  # fmt: skip
        session.provider = short_text(row.get("activeModelProvider")) or short_text(row.get("modelProvider")) or session.provider  # fmt: skip
        # `contextTokens` is the window; `totalTokens` is what is in it, if it is not marked as old.
        session.context_window = count_of(row.get("contextTokens")) or session.context_window
        if row.get("totalTokensFresh") is not False:
            session.context_tokens = count_of(row.get("totalTokens")) or session.context_tokens
        session.updated_ms = max(session.updated_ms, moment_ms(row.get("updatedAt")) or 0, moment_ms(row.get("endedAt")) or 0)  # fmt: skip
        status = row.get("status")
        if row.get("abortedLastRun") is True:
            session.outcome = "aborted"
        elif isinstance(status, str) and status in OUTCOMES:
            session.outcome = OUTCOMES[status]

    def _set_active(self, session: LiveSession, active: bool, ids: Any) -> None:  # noqa: FBT001 - it is the fact
        known = [i for i in ids if short_text(i)] if isinstance(ids, list) else []
        if not active:
            for run_id in list(session.runs):
                self._end_run(run_id, session.key, None, None)
        elif not session.runs and (live := [i for i in known if i not in self._ended] or [""] * (not known)):  # fmt: skip
            for run_id in live[:MAX_RUNS]:
                self._start_run(run_id, session, None)

    def _start_run(self, run_id: str, session: LiveSession, ts_ms: int | None) -> LiveRun | None:
        run = session.runs.get(run_id)
        if run is None:
            if run_id:
                # The run of which only a list had said that it is there.
                session.runs.pop("", None)
            if len(session.runs) >= MAX_RUNS:
                self.counts["ignored"] += 1
                return None
            run = session.runs[run_id] = LiveRun(ts_ms, "waiting", ts_ms)
            if run_id:
                self._run_keys[run_id] = session.key
            self._ended.pop(run_id, None)
        self._changed.add(session.key)
        return run

    def _drop_run(self, session: LiveSession, run_id: str) -> bool:
        self._run_keys.pop(run_id, None)
        self._changed.add(session.key)
        return session.runs.pop(run_id, None) is not None

    def _end_run(self, run_id: str, key: Any, ts_ms: int | None, outcome: str | None) -> None:
        """A run is over; what is still said about it later is late."""
        key = self._run_keys.get(run_id) or key
        session = self.sessions.get(key) if isinstance(key, str) else None
        if run_id:
            self._ended[run_id] = max(ts_ms or 0, self._ended.get(run_id, 0))
            if len(self._ended) > MAX_ENDED_RUNS:
                del self._ended[next(iter(self._ended))]
        if session is None:
            return
        was_there = self._drop_run(session, run_id)
        was_there = self._drop_run(session, "") or was_there
        session.updated_ms = max(session.updated_ms, ts_ms or 0)
        # Aborting is said first and followed by a plain end or an error: the first word counts.
        if outcome and (was_there or session.outcome is None):
            session.outcome = outcome

    # -- events --

    def _find_run(self, payload: Json, *, starts: bool) -> tuple[LiveSession, LiveRun] | None:
        """The session and run that an event is about; None when it has ended, or cannot be told."""
        run_id = short_text(payload.get("runId"))
        if run_id is None:
            self.counts["ignored"] += 1
            return None
        ts_ms = moment_ms(payload.get("ts"))
        if run_id in self._ended and not (starts and ts_ms and ts_ms > self._ended[run_id]):
            self.counts["late"] += 1
            return None
        # `compaction` events of 2026.2 have no session key, only the run.
        session = self._session(payload.get("sessionKey") or self._run_keys.get(run_id))
        if session is None:
            return None
        if session_id := short_text(payload.get("sessionId")):
            session.session_id = session_id
        session.updated_ms = max(session.updated_ms, ts_ms or 0)
        run = self._start_run(run_id, session, ts_ms)
        return (session, run) if run else None

    @staticmethod
    def _set_doing(run: LiveRun, doing: str, ts_ms: int | None) -> None:
        if run.tools and doing != "compacting":
            doing = "tool"
        if run.doing != doing:
            run.doing, run.since_ms = doing, ts_ms or run.since_ms

    def _take_agent(self, payload: Json) -> None:
        stream, data = payload.get("stream"), as_dict(payload.get("data"))
        phase, ts_ms = data.get("phase"), moment_ms(payload.get("ts"))
        if stream == "lifecycle" and phase in ("end", "error"):
            outcome = "aborted" if data.get("aborted") is True else OUTCOMES[cast("str", phase)]
            if run_id := short_text(payload.get("runId")):
                self._end_run(run_id, payload.get("sessionKey"), ts_ms, outcome)
            return
        if stream not in ("lifecycle", "tool", "item", "run_status", "compaction", *DOING):
            return
        if stream == "item" and data.get("kind") != "tool":
            return
        found = self._find_run(payload, starts=stream == "lifecycle" and phase == "start")
        if found is None:
            return
        session, run = found
        if stream in ("tool", "item"):
            self._take_tool(run, data, ts_ms)
        elif stream == "lifecycle" and phase == "start":
            run.started_ms = moment_ms(data.get("startedAt")) or run.started_ms
            run.tools.clear()
            self._set_doing(run, "waiting", ts_ms)
        elif stream == "lifecycle" and phase == "model":
            session.model = short_text(data.get("model")) or session.model
            session.provider = short_text(data.get("provider")) or session.provider
        elif stream == "run_status":
            self._set_doing(run, "retrying" if phase == "retrying" else "waiting", ts_ms)
        elif stream == "compaction":
            self._set_doing(run, "compacting" if phase == "start" else "waiting", ts_ms)
        elif (
            stream in DOING and data.get("text") != ""
        ):  # an empty one takes back what was said before a retry
            self._set_doing(run, DOING[cast("str", stream)], ts_ms)

    def _take_tool(self, run: LiveRun, data: Json, ts_ms: int | None) -> None:
        """A tool call began or ended. The same is said by up to three streams, under one id."""
        call_id, name = short_text(data.get("toolCallId")), short_text(data.get("name"))
        if call_id is None:
            self.counts["ignored"] += 1
        elif data.get("phase") == "start" and name and call_id not in run.tools:
            if len(run.tools) >= MAX_TOOLS:
                self.counts["ignored"] += 1
                return
            run.tools[call_id] = name
            run.doing, run.since_ms = "tool", ts_ms or run.since_ms
        elif data.get("phase") in ("result", "end") and run.tools.pop(call_id, "") != "":
            self._set_doing(run, "waiting", ts_ms)

    def _take_chat(self, payload: Json) -> None:
        state = payload.get("state")
        if state == "delta":
            if found := self._find_run(payload, starts=False):
                self._set_doing(found[1], "answering", moment_ms(payload.get("ts")))
        elif state in ("final", "error", "aborted") and (run_id := short_text(payload.get("runId"))):  # fmt: skip
            # Without a time of its own: whatever starts later starts after it.
            self._end_run(run_id, payload.get("sessionKey"), None, OUTCOMES[cast("str", state)])

    def _take_changed(self, payload: Json) -> None:
        key = payload.get("sessionKey")
        if payload.get("reason") == "delete" and isinstance(key, str):
            if gone := self.sessions.pop(key, None):
                for run_id in list(gone.runs):
                    self._drop_run(gone, run_id)
            return
        session = self._session(key)
        if session is None:
            return
        nested = payload.get("session")
        row = nested if isinstance(nested, dict) else payload
        phase, told_id = payload.get("phase"), short_text(payload.get("runId"))
        self._take_row(session, row)
        active, ids = row.get("hasActiveRun"), row.get("activeRunIds")
        if ids is None and told_id:
            ids = [told_id]
        if type(active) is bool:
            self._set_active(session, active, ids)
        elif phase == "start" and row.get("status") == "running":
            self._set_active(session, True, ids)
        elif phase in ("end", "error") and told_id:
            self._end_run(told_id, session.key, moment_ms(payload.get("ts")), None)

    def _take_message(self, payload: Json) -> None:
        # Its row may have been made before the run ended: it says nothing about runs.
        if isinstance(payload.get("session"), dict) and (session := self._session(payload.get("sessionKey"))):  # fmt: skip
            self._take_row(session, payload["session"])

    def _take_health(self, payload: Json) -> None:
        loop = payload.get("eventLoop")
        if isinstance(loop, dict):
            self.event_loop = {
                "degraded": loop.get("degraded") is True,
                "delay_p99_ms": _amount(loop.get("delayP99Ms")),
                "utilization": _amount(loop.get("utilization")),
            }

    def _take_suspension(self, payload: Json) -> None:
        phase = as_dict(payload.get("suspension")).get("phase") or payload.get("phase")
        self.is_suspended = isinstance(phase, str) and phase not in ("accepting", "resumed")


#: Counters of a GatewayState that the API shows. `ignored`: what was said cannot be, or was one too many.
FRAME_COUNTS = ("received", "malformed", "oversized", "out_of_order", "gaps", "late", "ignored", "connects")  # fmt: skip


# -- the connection ---------------------------------------------------------------------------------------------------


class Asked(NamedTuple):
    """A request that is under way; `answer` is for whoever waits in another thread."""

    method: str
    until: float
    answer: Future[Any] | None = None


class GatewayClient:
    """Keeps one connection to a gateway, in a thread of its own, and feeds a GatewayState.

    `read_config` gives the home's config as it is now; `signature` changes when it does. `publish` tells open pages;
    `is_watched` says whether there are any.
    """

    CONNECT_S = 5.0
    HANDSHAKE_S = 20.0  # a gateway that is starting takes its time
    ANSWER_S = 30.0
    FIRST_DELAY_S = 1.0
    LONGEST_DELAY_S = 60.0
    RESTART_DELAY_S = 0.2
    RESTART_S = 60.0  # a gateway is back after a restart within this time, or not soon
    REFUSED_DELAY_S = 10.0
    CONFIG_S = 5.0  # how often a changed config is looked for while there is no connection
    TICK_S = 30.0
    LEAST_TICK_S = 1.0
    FLUSH_S = 0.1
    RESYNC_S = 1.0  # at most one list for all the gaps in this time
    POLL_S = 60.0
    POLL_WITHOUT_EVENTS_S = 30.0
    IDLE_S = 15.0

    def __init__(
        self,
        settings: Settings,
        state: GatewayState,
        *,
        read_config: Callable[[], OpenClawConfig],
        signature: Callable[[], Any] = lambda: None,
        publish: Callable[[str, Mapping[str, Any]], None] = lambda _kind, _data: None,
        is_watched: Callable[[], bool] = lambda: False,
    ) -> None:
        self.settings = settings
        self.state = state
        self.read_config = read_config
        self.signature = signature
        self.publish = publish
        self.is_watched = is_watched
        self.stopping = threading.Event()
        self.thread: threading.Thread | None = None
        self.random = random.Random()  # noqa: S311 - spreads reconnects
        self._socket: socket.socket | None = None
        self._ws: Any = None
        self._reader: FrameReader | None = None
        self._config = OpenClawConfig()
        self._seen: Any = None  # signature of the config that was read
        self._must_read = True
        self._early: list[Frame] = []  # what came in one piece with the answer to `connect`
        self._selector: selectors.BaseSelector | None = None
        self._pending: dict[str, Asked] = {}
        self._asked = 0
        #: What other threads ask; a byte through the pair of sockets wakes ours, which alone sends and reads.
        self._questions: queue.SimpleQueue[tuple[Asked, Json]] = queue.SimpleQueue()
        self._bell: tuple[socket.socket, socket.socket] | None = None
        self._failures = 0
        self._seq: int | None = None
        self._old = 0  # frames in a row that were older than the last
        self._tick_s = self.TICK_S
        self._is_restarting = False
        #: Until when a gateway that announced a restart is looked for every second.
        self._back_by = 0.0
        self._flush_at = 0.0
        self._resync_at: float | None = None
        self._listed_at = 0.0

    def start(self) -> None:
        """Connect, and stay connected, in a thread."""
        self.state.set_status("connecting")
        self._bell = socket.socketpair()
        for end in self._bell:
            end.setblocking(False)
        self.thread = threading.Thread(target=self._run, name="gateway", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End the thread, within a second."""
        self.stopping.set()
        self._shut()
        if self.thread is not None:
            self.thread.join(1.0)
        bell, self._bell = self._bell, None
        for end in bell or ():
            end.close()

    def ask(self, method: str, params: Mapping[str, Any] | None = None, timeout_s: float = ANSWER_S) -> Any:  # fmt: skip
        """Ask over the one connection, from any thread, and wait for the answer. Only what `operator.read` allows.

        Raises GatewayError; CallRefusedError, which is one, where the gateway answers with an error.
        """
        from concurrent.futures import CancelledError, Future

        state, bell = self.state, self._bell
        if state.status != "connected" or bell is None:
            raise GatewayError(state.status, state.problem or "the gateway is not connected", state.advice)  # fmt: skip
        answer: Future[Any] = Future()
        self._questions.put((Asked(method, time.monotonic() + timeout_s, answer), dict(params or {})))  # fmt: skip
        with contextlib.suppress(OSError):  # full: it rings already
            bell[1].send(b"?")
        try:
            return answer.result(timeout_s)
        except (TimeoutError, CancelledError):
            answer.cancel()
            msg = f"{method}: no answer in {timeout_s:g} s"
            raise GatewayError("unreachable", msg) from None

    def probe(self) -> Json:
        """Connect once, say what came of it, and leave."""
        try:
            self._connect()
        except GatewayError as error:
            self.state.set_status(error.status, str(error), error.advice)
        told = self.state.describe()
        self._close()
        return told

    # -- staying connected --

    def _run(self) -> None:
        while not self.stopping.is_set():
            delay = self.LONGEST_DELAY_S
            try:
                self._connect()
                self._failures = 0
                self._announce()
                self._follow()
            except GatewayError as error:
                delay = self._delay_after(error)
                if self.state.set_status(error.status, str(error), error.advice):
                    log.info("gateway: %s", error)
                    self._announce()
            except Exception as error:  # a thread must not end for one bad surprise
                log.exception("gateway: reading failed")
                if self.state.set_status("unreachable", f"reading the gateway failed: {plain(error)}"):  # fmt: skip
                    self._announce()
            finally:
                self._close()
            self._wait(delay)

    def _delay_after(self, error: GatewayError) -> float:
        """How long to wait before the next try: longer each time, and never the same for two clients."""
        if self._is_restarting:
            self._is_restarting = False
            self._failures = 0
            self._back_by = time.monotonic() + self.RESTART_S
            return self.RESTART_DELAY_S
        first = self.FIRST_DELAY_S if error.status == "unreachable" else self.REFUSED_DELAY_S
        self._failures += 1
        longest = min(self.LONGEST_DELAY_S, first * 2 ** min(self._failures - 1, 10))
        if time.monotonic() < self._back_by:
            longest = min(longest, first)
        return float(longest * self.random.uniform(0.5, 1.0))

    def _wait(self, delay_s: float) -> None:
        """Wait, but not once the config has changed: it may hold another port or token."""
        until = time.monotonic() + delay_s
        while (left := until - time.monotonic()) > 0:
            if self.stopping.wait(min(left, self.CONFIG_S)) or self.signature() != self._seen:
                return

    def _announce(self) -> None:
        told = self.state.describe()
        self.publish("gateway", {k: told[k] for k in ("status", "text", "version", "suspended")})

    def _shut(self) -> None:
        """Wake the thread if it waits for the gateway; it can still say goodbye."""
        if sock := self._socket:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RD)

    def _close(self) -> None:
        sock, ws, self._socket, self._ws, self._reader = self._socket, self._ws, None, None, None
        selector, self._selector = self._selector, None
        if selector is not None:
            selector.close()
        self._drop_questions()
        if sock is not None:
            with contextlib.suppress(Exception):  # what is left of a connection that is over
                sock.settimeout(0.2)
                if ws is not None and ws.connected:
                    ws.send_close()
            with contextlib.suppress(OSError):
                sock.close()

    # -- getting in --

    def _connect(self) -> None:
        """Open a connection and say hello. GatewayError when that fails."""
        import websocket

        seen = self.signature()
        if self._must_read or seen is None or seen != self._seen:
            self._config, self._seen, self._must_read = self.read_config(), seen, False
        endpoint = find_endpoint(self.settings, self._config)
        self.state.url = endpoint.url
        refused: TokenRefusedError | None = None
        for token in endpoint.tokens or (None,):
            try:
                self._open(endpoint.url)
                hello = self._say_hello(token)
                break
            except TokenRefusedError as error:
                refused = error
                self._close()
            except (OSError, websocket.WebSocketException) as error:
                what = "nobody listens" if isinstance(error, ConnectionRefusedError) else plain(error) or type(error).__name__  # fmt: skip
                msg = f"no gateway at {endpoint.url}: {what}"
                raise GatewayError("unreachable", msg, "start it with `openclaw gateway`; until then everything comes from the files") from error  # fmt: skip
        else:
            self._must_read = True  # it may hold a new one, also in a file that it includes
            raise cast("TokenRefusedError", refused)
        self.state.take_hello(hello, endpoint.url)
        if self.state.version is None:
            self.state.version = self._config.version
        self.state.count("connects")
        tick = as_dict(hello.get("policy")).get("tickIntervalMs")
        tick_s = tick / 1000 if type(tick) is int else self.TICK_S
        self._tick_s = min(max(tick_s, self.LEAST_TICK_S), 10 * self.TICK_S)

    def _open(self, url: str) -> None:
        import ssl

        import websocket

        parts = urllib.parse.urlsplit(url)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
        # Our own socket: stop() can end it at any moment, and no proxy of the environment comes between.
        self._socket = socket.create_connection((parts.hostname or "", port), self.CONNECT_S)
        if parts.scheme == "wss":
            # On loopback, and nobody signs certificates for it: the token is what tells who we are.
            context = ssl._create_unverified_context()  # noqa: S323, SLF001
            self._socket = context.wrap_socket(self._socket, server_hostname=parts.hostname)
        self._ws = websocket.WebSocket(enable_multithread=False)
        # With an Origin, 2026.6 and later take us for a web page and refuse.
        self._ws.connect(url, timeout=self.CONNECT_S, socket=self._socket, suppress_origin=True, redirect_limit=0)  # fmt: skip
        self._reader = FrameReader(self._socket)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)
        if self._bell is not None:
            self._selector.register(self._bell[0], selectors.EVENT_READ)
        self._pending.clear()
        self._seq, self._old = None, 0
        self._resync_at = None
        self._listed_at = 0.0

    def _say_hello(self, token: str | None) -> Json:
        """The handshake: challenge, connect, hello-ok."""
        until = time.monotonic() + self.HANDSHAKE_S
        rid = ""
        while not self.stopping.is_set():
            left = until - time.monotonic()
            if left <= 0:
                raise ConnectionError("it accepted the connection, but does not answer")
            frames = self._receive(left)
            for n, frame in enumerate(frames, 1):
                if frame.kind == "event" and frame.name == "connect.challenge" and not rid:
                    rid = self._send("connect", self._hello(token))
                elif frame.kind == "res" and frame.name == rid:
                    self._pending.clear()
                    self._early = frames[n:]
                    if not frame.ok:
                        raise self._refusal(frame.error)
                    return as_dict(frame.payload)
        raise ConnectionError("stopped")

    @staticmethod
    def _hello(token: str | None) -> Json:
        """Parameters of `connect`: as the gateway's own backend clients, which need no device and are not listed as one."""
        params: Json = {
            "minProtocol": PROTOCOLS[0], "maxProtocol": PROTOCOLS[-1],
            "client": {"id": "gateway-client", "displayName": "clawmeter", "version": VERSION, "platform": sys.platform, "mode": "backend"},
            "role": "operator", "scopes": ["operator.read"], "caps": ["tool-events"],
        }  # fmt: skip
        return params | ({"auth": {"token": token}} if token else {})

    @staticmethod
    def _refusal(error: Json) -> GatewayError:
        """What a refused handshake means. 2026.2 has messages only, later versions codes."""
        details = as_dict(error.get("details"))
        code = str(details.get("code") or error.get("code") or "")
        text = plain(error.get("message") or code or "no reason given")
        if code == "PROTOCOL_MISMATCH" or "protocol mismatch" in text:
            theirs = plain(details.get("expectedProtocol", "another one"), 20)
            return GatewayError("incompatible", f"the gateway speaks protocol {theirs}, this Clawmeter {PROTOCOLS[0]} to {PROTOCOLS[-1]}", "update the older one of the two")  # fmt: skip
        if "TOKEN_MISMATCH" in code or "token mismatch" in text or "unauthorized" in text.lower():
            return TokenRefusedError("refused", f"the gateway refuses the token: {text}", GIVE_TOKEN)  # fmt: skip
        if code in ("DEVICE_IDENTITY_REQUIRED", "NOT_PAIRED", "PAIRING_REQUIRED"):
            return GatewayError("refused", f"the gateway wants a device identity, which this Clawmeter does not have yet: {text}", GIVE_TOKEN)  # fmt: skip
        if error.get("retryable") is True or code in ("UNAVAILABLE", "AUTH_RATE_LIMITED"):
            return GatewayError("unreachable", f"the gateway is not ready: {text}")
        return GatewayError("refused", f"the gateway refuses: {text}")

    # -- listening --

    def _follow(self) -> None:
        """Listen until the connection ends, which is an error of its own kind."""
        import websocket

        try:
            self._ask("sessions.subscribe")
            self._ask("sessions.list")
            for frame in self._early:
                self._take(frame)
            heard = time.monotonic()
            while not self.stopping.is_set():
                self._send_questions()
                now = time.monotonic()
                # The gateway ticks: two and a half without a word, and nobody is there any more.
                silent_at = heard + 2.5 * self._tick_s
                if now >= silent_at:
                    raise ConnectionError(f"no tick in {now - heard:.0f} s")
                wake_at = min(silent_at, now + self.IDLE_S, self._due(now))
                frames = self._receive(max(wake_at - now, 0.001))
                if frames:
                    heard = time.monotonic()
                for frame in frames:
                    self._take(frame)
                self._do_due(time.monotonic())
        except (OSError, websocket.WebSocketException) as error:
            msg = f"the connection to the gateway ended: {plain(error)}"
            raise GatewayError("unreachable", msg) from error

    def _receive(self, timeout_s: float) -> list[Frame]:
        """Frames that come within a time; none is fine. OSError when the connection ends."""
        sock, reader = self._socket, self._reader
        if sock is None or reader is None:
            raise ConnectionError("not connected")
        if not self._wait_for_bytes(sock, timeout_s):
            return []
        sock.settimeout(timeout_s)
        before = reader.oversized
        try:
            messages = reader.receive()
        except TimeoutError:
            return []
        self.state.count("oversized", reader.oversized - before)
        frames = []
        for opcode, payload in messages:
            if opcode == 9:
                sock.settimeout(self.CONNECT_S)
                self._ws.pong(payload)
            elif opcode == 8:
                code = int.from_bytes(payload[:2], "big")
                # 1012 is `service restart`.
                self._is_restarting = self._is_restarting or code == 1012
                raise ConnectionError(f"closed by the gateway ({code} {plain(payload[2:].decode(errors='replace'), 80)})".replace(" )", ")"))  # fmt: skip
            elif opcode == 1:
                self.state.count("received")
                if frame := parse_frame(payload):
                    frames.append(frame)
                else:
                    self.state.count("malformed")
        return frames

    def _wait_for_bytes(self, sock: socket.socket, timeout_s: float) -> bool:
        """Wait until the gateway says something or somebody has a question; whether there is something to read."""
        if self._selector is None or (hasattr(sock, "pending") and sock.pending()):
            return True  # TLS may have read on
        ready = [key.fileobj for key, _ in self._selector.select(timeout_s)]
        if self._bell is not None and self._bell[0] in ready:
            with contextlib.suppress(OSError):
                self._bell[0].recv(4096)
        return sock in ready

    def _send_questions(self) -> None:
        """Ask what other threads want to know."""
        while True:
            try:
                asked, params = self._questions.get_nowait()
            except queue.Empty:
                return
            # Nobody may be waiting any more.
            if asked.answer and asked.answer.set_running_or_notify_cancel():
                self._send(asked.method, params, asked)

    def _drop_questions(self) -> None:
        """The connection is over: whoever waits for an answer gets none."""
        waiting = list(self._pending.values())
        self._pending.clear()
        while not self._questions.empty():
            waiting.append(self._questions.get()[0])
        for answer in (asked.answer for asked in waiting):
            if answer and not answer.done():
                answer.set_exception(GatewayError("unreachable", "the connection to the gateway ended"))  # fmt: skip

    def _send(self, method: str, params: Json, asked: Asked | None = None) -> str:
        self._asked += 1
        rid = f"clawmeter-{self._asked}"
        self._pending[rid] = asked or Asked(method, time.monotonic() + self.ANSWER_S)
        if self._socket is not None:
            self._socket.settimeout(self.CONNECT_S)
        self._ws.send(orjson.dumps({"type": "req", "id": rid, "method": method, "params": params}).decode())  # fmt: skip
        return rid

    def _ask(self, method: str) -> None:
        """Ask without waiting; the answer comes among the frames. Only ever what `operator.read` allows."""
        if all(method != p.method or p.answer for p in self._pending.values()):
            if method == "sessions.list":
                self._listed_at, self._resync_at = time.monotonic(), None
            self._send(method, {})

    def _take(self, frame: Frame) -> None:
        if frame.kind == "res":
            self._take_answer(frame)
            return
        if frame.seq is not None and not self._is_next(frame.seq):
            return
        if frame.name == "shutdown":
            self._is_restarting = True
        was = self.state.text
        self.state.take_event(frame)
        if self.state.text != was:
            self._announce()
            if frame.name == "gateway.suspension" and not self.state.is_suspended:
                self._resync()

    def _is_next(self, seq: int) -> bool:
        """Whether an event is news by its number. After a gap everything is asked for anew."""
        last = self._seq
        if last is not None and seq <= last:
            self.state.count("out_of_order")
            self._old += 1
            if self._old < 50:
                return False
            # So many in a row: not these are old, but the one that we took for the last was wrong.
            self.state.count("gaps")
            self._resync()
        elif last is not None and seq > last + 1:
            self.state.count("gaps")
            self._resync()
        self._seq, self._old = seq, 0
        return True

    def _resync(self) -> None:
        """Events were missed: ask what is the case."""
        if self.state.capabilities.get("active runs") is not True:
            self.state.forget_runs()
        if self._resync_at is None:
            self._resync_at = max(time.monotonic(), self._listed_at + self.RESYNC_S)

    def _take_answer(self, frame: Frame) -> None:
        asked = self._pending.pop(frame.name, None)
        if asked is None:
            self.state.count("ignored")
            return
        method = asked.method
        if asked.answer:
            if frame.ok:
                asked.answer.set_result(frame.payload)
            else:
                asked.answer.set_exception(CallRefusedError(method, frame.error))
        elif frame.ok:
            self.state.can(method, really=True)
            if method == "sessions.list":
                self.state.take_list(frame.payload)
        else:
            text = plain(frame.error.get("message") or "no reason given")
            if frame.error.get("retryable") is True:
                self._resync_at = time.monotonic() + self.IDLE_S
                return
            self.state.can(method, really=False)
            # An older version does not know the method: that is no error.
            if "unknown method" not in text:
                self.state.last_error = f"{method}: {text}"

    def _due(self, now: float) -> float:
        """When something is to be done without a frame."""
        times = [self._resync_at or math.inf, *(asked.until for asked in self._pending.values())]
        if self.state._changed:  # noqa: SLF001 - one machine in two parts
            times.append(self._flush_at)
        if self.is_watched():
            times.append(max(now, self._poll_at()))
        return min(times)

    def _poll_at(self) -> float:
        """When the list is to be asked for because somebody looks: where no events tell, and to be sure of long runs."""
        if self.state.capabilities.get("sessions.list") is False:
            return math.inf
        if self.state.capabilities.get("sessions.subscribe") is not True:
            return self._listed_at + self.POLL_WITHOUT_EVENTS_S
        return self._listed_at + self.POLL_S if self.state.has_runs() else math.inf

    def _do_due(self, now: float) -> None:
        for rid, asked in list(self._pending.items()):
            if now >= asked.until:
                del self._pending[rid]
                self.state.last_error = f"{asked.method}: no answer in time"
                if asked.answer:
                    asked.answer.set_exception(TimeoutError())
        if self._resync_at is not None and now >= self._resync_at:
            # One that is under way may have been answered before the gap.
            self._resync_at = now + self.RESYNC_S
            self._ask("sessions.list")
        elif self.is_watched() and now >= self._poll_at():
            self._ask("sessions.list")
        if now >= self._flush_at:
            changes = self.state.take_changes()
            if changes:
                self._flush_at = now + self.FLUSH_S
                for change in changes if self.is_watched() else ():
                    self.publish("session", change)


###############################################################################
# Queries #####################################################################
###############################################################################
# Every number that anybody sees is made here, from the ledger and nothing else. API,
# command line, page, export and alert call the same methods. Read-only; `usage()` is
# the one that the others ask.

BY_TIME = ("hour", "day", "week", "month", "hour_of_week")
#: Those that are finer than the day rows of a zone.
BY_HOUR = frozenset({"hour", "hour_of_week"})
HOURS_OF_WEEK = tuple(f"{day}T{hour:02d}" for day in range(1, 8) for hour in range(24))
#: What usage can be grouped by, beside time: SQL over u (rollup row), s (sessions), m (models).
BY_SQL: Mapping[str, str] = {
    "model": "m.model",
    "provider": "m.provider",
    "provider_model": "m.provider || '/' || m.model",
    "agent": "s.agent",
    "channel": f"ifnull(s.channel, '{NONE_KEY}')",
    "cause": "iif(u.heartbeat, 'heartbeat', s.cause)",
    "session": "s.session_id",
    "session_key": f"ifnull(s.key, '{NONE_KEY}')",
    "cron_job": f"ifnull(s.cron_job, '{NONE_KEY}')",
    "tool": "u.tool",
}
BY = (*BY_TIME, *BY_SQL)
#: The filters of usage and lists: SQL that holds for a row; ? is the value.
FILTER_SQL: Mapping[str, str] = {
    "agent": "s.agent = ?",
    "model": "? IN (m.model, m.provider || '/' || m.model)",
    "provider": "m.provider = ?",
    "channel": f"ifnull(s.channel, '{NONE_KEY}') = ?",
    "cause": "iif(u.heartbeat, 'heartbeat', s.cause) = ?",
    "session": "? IN (s.session_id, s.key)",
}
#: Fields of T, in the order of the answer, and the measure behind each.
TOTAL_FIELDS: Mapping[str, str] = {
    "model_calls": "model_calls",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cost_nano_usd": "cost_nano",
    "recorded_cost_nano_usd": "recorded_nano",
    "plan_cost_nano_usd": "plan_nano",
    "unpriced_calls": "unpriced_calls",
}
_TOTAL_MEASURES = tuple(TOTAL_FIELDS.values())
MAX_ROWS = 10_000
#: Keys of a split that have a row of their own; the others are one.
SPLIT_KEYS = 12
OTHER_KEY = "(other)"
#: Beyond this, empty rows are given only between the first call and the last.
LONGEST_MS = 3 * 366 * DAY_MS
RUNNING_MS = 10 * MINUTE_MS
IDLE_MS = 60 * MINUTE_MS
#: What each session with sub-agents costs with all of them, below it; `tree` is finite because UNION drops doubles.
_TREES = (
    "WITH RECURSIVE tree(root, id) AS (SELECT DISTINCT parent, parent FROM sessions WHERE parent IS NOT NULL "
    "UNION SELECT t.root, k.id FROM sessions k JOIN tree t ON k.parent = t.id), "
    "trees AS MATERIALIZED (SELECT t.root AS id, sum(k.cost_nano) AS cost_nano FROM tree t JOIN sessions k ON k.id = t.id GROUP BY 1)"
)
#: The model that cost most in each session. With one max() SQLite gives the other columns of the row that has it.
_DEAREST = (
    "WITH dearest AS MATERIALIZED (SELECT session, model, max(cost_nano) FROM (SELECT session, model, sum(cost_nano + plan_nano) AS cost_nano "
    "FROM usage_sessions GROUP BY session, model) GROUP BY session)"
)
_MODEL_JOIN = "LEFT JOIN dearest d ON d.session = s.id LEFT JOIN models m ON m.id = d.model"
_TOKENS = "s.input_tokens + s.output_tokens + s.cache_read_tokens + s.cache_write_tokens"
#: Columns of the session list to sort by; text ascends unless asked otherwise.
SESSION_SORTS: Mapping[str, str] = {
    "last_activity_ms": "s.last_ms", "started_ms": "ifnull(s.header_ms, s.first_ms)", "duration_ms": "s.last_ms - ifnull(s.header_ms, s.first_ms)",
    "total_cost": "s.cost_nano", "tree_cost_nano_usd": "ifnull(t.cost_nano, s.cost_nano)", "message_count": "s.model_calls",
    "total_tokens": _TOKENS, "tool_calls": "s.tool_calls", "tool_errors": "s.tool_errors", "model_errors": "s.model_errors",
    "errors": "s.tool_errors + s.model_errors", "context_share": "s.context_tokens * 1.0 / ifnull(nullif(s.context_window, 0), w.tokens)",
    "agent": "s.agent", "model": "m.model", "channel": "s.channel", "cause": "s.cause", "label": "ifnull(s.label, s.key)", "id": "s.session_id",
}  # fmt: skip
SESSION_TEXT_SORTS = frozenset({"agent", "model", "channel", "cause", "label", "id"})
#: (what goes before SELECT, joins) of the sorts that need more than the row of the session.
_SORT_JOINS: Mapping[str, tuple[str, str]] = {
    "tree_cost_nano_usd": (_TREES, "LEFT JOIN trees t ON t.id = s.id"),
    "model": (_DEAREST, _MODEL_JOIN),
    "context_share": (
        f"{_DEAREST}, windows AS MATERIALIZED (SELECT value ->> 0 AS provider, value ->> 1 AS model, value ->> 2 AS tokens FROM json_each(?))",
        f"{_MODEL_JOIN} LEFT JOIN windows w ON w.provider = m.provider AND w.model = m.model",
    ),
}
#: Conditions on a session by name, for the filter `has`.
SESSION_HAS: Mapping[str, str] = {
    "errors": "s.tool_errors + s.model_errors > 0",
    "compactions": "s.compactions > 0",
    "subagents": "s.id IN (SELECT parent FROM sessions)",
    "unpriced": "s.unpriced_calls > 0",
}
SESSION_STATES = ("running", "idle", "ended")
#: A list is made anew for each page up to here, which costs least; below it is kept in order for the next pages.
SHALLOW_ROWS = 500
#: A session's turns that are told one by one: beyond, the first ones are only counted.
MAX_TURNS = 2000
#: Stretches in the picture of one turn; it is some hundred pixels wide.
MAX_STRETCHES = 60


#: What a question is narrowed to: (name in FILTER_SQL, value).
Filters = tuple[tuple[str, str], ...]


def filters_of(**given: str | None) -> Filters:
    """The filters that are given, by name."""
    return tuple((name, sound(value)) for name, value in given.items() if value)


#: What a session of a list must be: an index may name one that never was.
_IS_SESSION = "(s.model_calls > 0 OR s.first_ms IS NOT NULL)"
#: Whether a session has a text in its name, key or id; takes like_pattern() three times.
_SESSION_HAS_TEXT = (
    "(s.label LIKE ? ESCAPE '\\' OR s.key LIKE ? ESCAPE '\\' OR s.session_id LIKE ? ESCAPE '\\')"
)
#: What a session itself must be for a filter to hold; by its models, where it has several.
_SESSION_FILTER_SQL: Mapping[str, str] = {
    "agent": "s.agent = ?",
    "channel": f"ifnull(s.channel, '{NONE_KEY}') = ?",
    # A heartbeat is a cause of calls, not of sessions: those that had such calls.
    "cause": "? IN (s.cause, iif(s.id IN (SELECT session FROM usage_sessions WHERE heartbeat), 'heartbeat', s.cause))",
    **{
        name: f"s.id IN (SELECT u.session FROM usage_sessions u WHERE u.model IN (SELECT m.id FROM models m WHERE {FILTER_SQL[name]}))"
        for name in ("model", "provider")
    },
}


def like_pattern(text: str) -> str:
    """The pattern of LIKE for a text that stands anywhere; its own signs escaped by a backslash."""
    return "%{}%".format(re.sub(r"([\\%_])", r"\\\1", sound(text)))


class Ledger(Protocol):
    """What queries need of a ledger: a consistent view of it. A Store gives one, and so does a LedgerFile."""

    path: Path

    def reading(self) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        """A read-only connection in a transaction."""


class LedgerFile:
    """A ledger that another process writes, opened for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection in a transaction. StoreError when there is no ledger."""
        try:
            db = open_reader(self.path)
            db.execute("BEGIN")
            version = db.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as error:
            msg = f"cannot read the ledger {self.path}: {error}"
            raise StoreError(msg) from error
        try:
            if version != SCHEMA_VERSION:
                msg = f"the ledger {self.path} has schema {version}, this Clawmeter knows {SCHEMA_VERSION}"
                raise StoreError(msg)
            yield db
        finally:
            db.close()


class Sums:
    """A row of totals under way: one int per measure of T."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[int] | None = None) -> None:
        self.values = list(values) if values else [0] * len(_TOTAL_MEASURES)

    def add(self, values: Sequence[int]) -> None:
        """Add a row."""
        self.values = list(map(int.__add__, self.values, values))

    def render(self) -> Json:
        """T of the API."""
        calls, tokens_in, tokens_out, cached, written, cost, recorded, plan, unpriced = self.values
        return {
            "model_calls": calls,
            "input_tokens": tokens_in,
            "output_tokens": tokens_out,
            "cache_read_tokens": cached,
            "cache_write_tokens": written,
            "total_tokens": tokens_in + tokens_out + cached + written,
            "cost_usd": usd(cost),
            "cost_nano_usd": cost,
            "recorded_cost_nano_usd": recorded,
            "plan_cost_nano_usd": plan,
            "unpriced_calls": unpriced,
        }


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """One question about usage, with everything resolved."""

    from_ms: int | None
    to_ms: int | None
    zone: ZoneInfo
    by: str
    filters: Filters = ()
    split: str = ""
    sort: str | None = None
    limit: int = MAX_ROWS
    offset: int = 0
    is_everything: bool = (
        False  # no limit in time was asked for; from_ms and to_ms are those of the data
    )


class Turn:
    """A stretch of a session from one user message to the next, while it is put together from the ledger's rows in order."""

    def __init__(self, from_ms: int) -> None:
        self.from_ms = self.to_ms = self.upto_ms = from_ms
        self.sums = Sums()
        self.counts: Counter[str] = Counter()
        self.models: dict[str, None] = {}
        self.new_model: str | None = None
        self.stretches: list[list[Any]] = []
        self.has_failed = False

    def add_call(self, ts: int, call: Sequence[Any], model_before: str | None) -> None:
        """A model call that ended at `ts`."""
        latency, model, stop, flags, tools, *sums = call
        self.sums.add(sums)
        self.models[model] = None
        if model_before is not None and model != model_before:
            self.new_model = model
        failed = stop == "error"
        self.counts.update({
            "latency_ms": latency or 0, "tool_calls": len(orjson.loads(tools)) if tools else 0, "model_errors": int(failed),
            "aborts": int(stop == "aborted"), "failovers": int(flags & FLAG_FAILOVER > 0), "retries": int(self.has_failed),
            "heartbeats": flags & FLAG_HEARTBEAT,
        })  # fmt: skip
        self.has_failed = failed
        self._extend("failed" if failed else "model", ts - (latency or 0), ts)

    def add_message(self, ts: int, kind: str, failed: int, duration: int | None) -> None:
        """Anything else that the transcript has: a tool's result, a compaction, the user's message itself."""
        if kind == "toolResult":
            self.counts.update(tool_errors=failed)
            self._extend("tool", ts - duration if duration is not None else self.upto_ms, ts)
        elif kind == "compaction":
            # May come a day later: it belongs to the turn, but the turn had ended.
            self.counts["compactions"] += 1

    def add_subagent(self, ts: int, ended: int | None, cost: int) -> None:
        """A sub-agent that began at `ts`: it runs beside what else happens."""
        self.counts.update(subagents=1, subagent_nano=cost)
        self.stretches.append(["subagent", ts - self.from_ms, max(0, (ended or ts) - ts)])

    def _extend(self, kind: str, begin: int, end: int) -> None:
        """Go on to `end`, in `kind` since `begin`: what is counted already is not counted twice."""
        begin = max(begin, self.upto_ms)
        if end > begin:
            self.counts[f"{kind}_ms"] += end - begin
            last = self.stretches[-1] if self.stretches else None
            if last and last[0] == kind and last[1] + last[2] == begin - self.from_ms:
                last[2] += end - begin
            else:
                self.stretches.append([kind, begin - self.from_ms, end - begin])
        self.upto_ms = max(self.upto_ms, end)
        self.to_ms = max(self.to_ms, end)

    def render(self, n: int) -> Json:
        """A turn of the API."""
        count = self.counts
        duration = self.to_ms - self.from_ms
        busy = count["model_ms"] + count["failed_ms"] + count["tool_ms"]
        return {
            "n": n, "from_ms": self.from_ms, "to_ms": self.to_ms, "duration_ms": duration, "models": list(self.models), "new_model": self.new_model,
            "is_heartbeat": count["heartbeats"] > 0, "latency_ms": count["latency_ms"], "model_ms": count["model_ms"] + count["failed_ms"],
            "tool_ms": count["tool_ms"], "wait_ms": max(0, duration - busy), "tool_calls": count["tool_calls"], "tool_errors": count["tool_errors"],
            "model_errors": count["model_errors"], "retries": count["retries"], "aborts": count["aborts"], "failovers": count["failovers"],
            "compactions": count["compactions"], "subagents": count["subagents"], "subagent_cost_nano_usd": count["subagent_nano"],
            "stretches": simplify(self.stretches, duration), **self.sums.render(),
        }  # fmt: skip


def simplify(stretches: Sequence[Sequence[Any]], duration: int) -> list[list[Any]]:
    """At most about MAX_STRETCHES stretches: of many short ones in a cell of the picture the longest kind stands for all."""
    if len(stretches) <= MAX_STRETCHES:
        return [list(one) for one in stretches]
    cell = max(1, -(-duration // MAX_STRETCHES))
    cells: list[Counter[str]] = [Counter() for _ in range(duration // cell + 1)]
    out = [list(one) for one in stretches if one[0] == "subagent"][:MAX_STRETCHES]
    for kind, begin, length in stretches:
        if kind == "subagent":
            continue
        for number in range(begin // cell, (begin + length - 1) // cell + 1):
            inside = min(begin + length, (number + 1) * cell) - max(begin, number * cell)
            cells[number][kind] += inside
    for number, counted in enumerate(cells):
        if counted:
            kind = "failed" if counted["failed"] else counted.most_common(1)[0][0]
            last = out[-1] if out else None
            if last and last[0] == kind and last[1] + last[2] == number * cell:
                last[2] += min(cell, duration - number * cell)
            else:
                out.append([kind, number * cell, min(cell, duration - number * cell)])
    return out


@dataclass(frozen=True, slots=True)
class SessionQuestion:
    """Which sessions, in which order: SQL over a row of sessions s, its parameters, a column of SESSION_SORTS."""

    where: str
    params: tuple[Any, ...]
    sort: str
    direction: str


class Kept:
    """Answers that hold until something is written, the last few of them; any thread may ask."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.answers: dict[Any, Any] = {}
        self.lock = threading.Lock()

    def get(self, db: sqlite3.Connection, question: Any, read: Callable[[], T]) -> T:
        """The answer to a question, read now unless nothing was written since the last time."""
        # The connection itself, not its id(): a new one may get the id of one that was closed.
        key = (db, db.execute("PRAGMA data_version").fetchone()[0], question)
        with self.lock:
            found = self.answers.pop(key, None)
        answer = cast("T", found[0]) if found else read()
        with self.lock:
            self.answers[key] = (answer,)
            while len(self.answers) > self.most:
                self.answers.pop(next(iter(self.answers)))
        return answer


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a range that one table answers: rows u of (t, session, model, heartbeat, measures)."""

    table: str
    where: str
    params: tuple[int, ...]
    time: str  # SQL for t; a day number in the days tables, else a slot
    is_days: bool = False


def parse_int(text: str | None, name: str, *, default: int, least: int, most: int) -> int:
    """An integer parameter within limits. QueryError outside."""
    if text is None or text == "":
        return default
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        msg = f"{name} is a whole number from {least} to {most}, not {text!r}"
        raise QueryError("bad_parameter", msg)
    return value


def parse_choice(text: str | None, name: str, choices: Iterable[str], default: str) -> str:
    """One of several words. QueryError for others."""
    if text is None or text == "":
        return default
    if text not in choices:
        msg = f"{name} is one of {', '.join(choices)}, not {text!r}"
        raise QueryError("bad_parameter", msg)
    return text


def day_number(ts_ms: int, zone: ZoneInfo) -> int:
    """Days from 1970-01-01 to the local date of an instant."""
    return day_of(ts_ms, zone).toordinal() - _EPOCH


def day_from_number(number: int) -> date:
    """The date of a day number."""
    return date.fromordinal(number + _EPOCH)


def time_key(by: str, day: date) -> str:
    """The key of the day, week or month of a date."""
    if by == "day":
        return day.isoformat()
    if by == "month":
        return day.isoformat()[:7]
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


def hour_key(slot: int, zone: ZoneInfo) -> str:
    """The local hour of a slot, with its UTC offset."""
    # Not replace(minute=0): where clocks change by half an hour, that minute has another offset.
    text = datetime.fromtimestamp(slot * SLOT_MS // 1000, zone).isoformat()
    return f"{text[:14]}00{text[19:]}"


def hour_phase(start: int, end: int, zone: ZoneInfo) -> int | None:
    """By how many slots local hours are shifted against UTC's (2 in Kolkata).

    None where clocks change meanwhile, and not at the end of a local hour (Chatham) or not by whole hours (Lord Howe).
    """

    def offset(slot: int) -> int:
        moment = datetime.fromtimestamp(slot * SLOT_MS // 1000, zone)
        return int(cast("timedelta", moment.utcoffset()).total_seconds()) * 1000 // SLOT_MS

    if end - start > LONGEST_MS:
        return None
    first, last = start // SLOT_MS, end // SLOT_MS
    phase = offset(first) % 4
    for slot in range(first, last, 96):
        stop = min(slot + 96, last)
        if offset(slot) != offset(stop):
            change = next(s for s in range(slot + 1, stop + 1) if offset(s) != offset(s - 1))
            if offset(stop) % 4 != phase or (change + phase) % 4:
                return None
    return phase


def hour_keys(first: int, last: int, zone: ZoneInfo) -> dict[int, str]:
    """The local hour, with its UTC offset, of each slot from first to before last."""
    out: dict[int, str] = {}
    for start in range(
        first, last, 96
    ):  # offsets change a few times a year: look per day, and per slot where they do
        stop = min(start + 96, last)
        begin, end = (datetime.fromtimestamp(s * SLOT_MS // 1000, zone) for s in (start, stop))
        if begin.utcoffset() != end.utcoffset():
            for slot in range(start, stop):
                out[slot] = hour_key(slot, zone)
            continue
        shift = round(cast("timedelta", begin.utcoffset()).total_seconds()) // (SLOT_MS // 1000)
        suffix = begin.isoformat(timespec="minutes")[16:]
        names = {
            day: str(day_from_number(day))
            for day in {(start + shift) // 96, (stop - 1 + shift) // 96}
        }
        for slot in range(start, stop):
            day, rest = divmod(slot + shift, 96)
            out[slot] = f"{names[day]}T{rest // 4:02d}:00{suffix}"
    return out


def quantile(ordered: Sequence[int], share: float) -> int | None:
    """The value below which this share of ordered values lies; None of none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def hour_of_week(hour: str) -> str:
    """The weekday and hour of the key of an hour: 1T00 to 7T23."""
    return f"{date.fromisoformat(hour[:10]).isoweekday()}{hour[10:13]}"


class Queries:
    """Questions and answers. Parameters are raw strings or None; answers are plain JSON values."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        *,
        homes: Sequence[OpenClawHome] = (),
        configs: Sequence[OpenClawConfig] = (),
        clock: Callable[[], float] = time.time,
        indexer: Indexer | None = None,
        want_zone: Callable[[str], None] | None = None,
        status: Callable[[], Json] | None = None,
        gateway: GatewayState | None = None,
    ) -> None:
        self.ledger = ledger
        self.settings = settings
        self.homes = homes
        self.configs = configs
        self.clock = clock
        self.indexer = indexer
        self.want_zone = want_zone
        self.status = status
        self.gateway = gateway or GatewayState(clock=clock)
        self.default_zone = settings.zone()
        self.lists = Kept(12)
        self.maps: dict[Any, TranscriptMap] = {}
        self.coverages = Kept(4)  # one for each connection of the pool
        self.maps_lock = threading.Lock()
        self.windows = {k: v for c in reversed(configs) for k, v in c.context_windows.items()}

    # -- parameters ---------------------------------------------------------------------------------------------------

    def zone(self, tz: str | None) -> ZoneInfo:
        """The zone of a question."""
        if not tz:
            return self.default_zone
        try:
            return find_zone(tz)
        except SettingsError as error:
            raise QueryError("bad_time_zone", str(error)) from None

    def now_ms(self) -> int:
        """Now, by the application's clock."""
        return int(self.clock() * 1000)

    def parse_range(
        self, from_: str | None, to: str | None, zone: ZoneInfo, default: str = "30d"
    ) -> tuple[int | None, int | None]:
        """(from, to) in epoch ms, None for no limit. Without `to`: the end of today."""
        now = self.now_ms()
        start = parse_time(from_ or default, zone, now)
        if to:
            end = parse_time(to, zone, now, end=True)
        else:
            end = None if start is None else parse_time("today", zone, now, end=True)
        if start is not None and end is not None:
            end = max(start, end)  # an upside-down range holds nothing
        return start, end

    # -- usage --------------------------------------------------------------------------------------------------------

    def usage(
        self, *, from_: str | None = None, to: str | None = None, tz: str | None = None, by: str | None = None, agent: str | None = None,
        model: str | None = None, provider: str | None = None, channel: str | None = None, cause: str | None = None,
        session: str | None = None, sort: str | None = None, limit: str | None = None, offset: str | None = None,
        split: str | None = None, parts: str | None = None, compare: str | None = None,
    ) -> Json:  # fmt: skip
        """The answer of /api/usage and of `clawmeter report --json`."""
        zone = self.zone(tz)
        start, end = self.parse_range(from_, to, zone)
        filters = filters_of(
            agent=agent,
            model=model,
            provider=provider,
            channel=channel,
            cause=cause,
            session=session,
        )
        sorts = ("key", "label", "total_tokens", "cost_usd", *TOTAL_FIELDS)
        query = UsageQuery(
            start, end, zone, parse_choice(by, "by", BY, "day"), filters, parse_choice(split, "split", BY, ""),
            parse_choice(sort, "sort", sorts, "") or None, parse_int(limit, "limit", default=MAX_ROWS, least=1, most=MAX_ROWS),
            parse_int(offset, "offset", default=0, least=0, most=10**9),
        )  # fmt: skip
        most = parse_int(parts, "parts", default=SPLIT_KEYS, least=1, most=100)
        parse_choice(compare, "compare", ("before",), "")
        with self.ledger.reading() as db:
            answer = self.answer(db, query, most)
            if compare:
                answer["before"] = self._before(db, query)
            return answer

    def _before(self, db: sqlite3.Connection, query: UsageQuery) -> Json | None:
        """The same rows for the span before, as far as this one has come; None before everything."""
        if query.from_ms is None or query.to_ms is None:
            return None
        start, end, zone = query.from_ms, min(query.to_ms, self.now_ms() + 1), query.zone
        first = day_of(start, zone)
        if midnight_ms(first, zone) == start:  # days are not all of one length: by the calendar
            days = day_number(max(query.to_ms - 1, start), zone) - day_number(start, zone) + 1
            before = midnight_ms(first - timedelta(days=days), zone)
        else:
            before = start - (query.to_ms - start)
        until = min(start, before + max(0, end - start))
        answer = self.answer(db, replace(query, from_ms=before, to_ms=until, split="", offset=0))
        return {k: answer[k] for k in ("from_ms", "to_ms", "totals", "rows")}

    def answer(self, db: sqlite3.Connection, query: UsageQuery, parts: int = SPLIT_KEYS) -> Json:
        """Answer a usage question on an open connection."""
        query = self._limit_range(db, query)
        rows: dict[str, Sums]
        cells: dict[tuple[str, ...], Sums] = {}
        if query.split:
            cells = self._cells(db, query, (query.by, query.split))
            rows = {key: Sums() for key in self._time_keys(db, query)}
            for (key, _), sums in cells.items():
                rows.setdefault(key, Sums()).add(sums.values)
        elif query.by in BY_TIME:
            rows = self._time_rows(db, query)
        else:
            rows = {key: sums for (key,), sums in self._cells(db, query, (query.by,)).items()}
        totals = Sums(
            [sum(of_all) for of_all in zip(*(s.values for s in rows.values()), strict=True)]
        )
        rendered = [(key, sums.render()) for key, sums in rows.items()]
        labels: dict[str, str] = {}
        if query.sort == "label":
            labels = self._labels(db, query.by, list(rows))
            rendered.sort(key=lambda r: (labels.get(r[0]) or r[0], r[0]))
        elif query.sort == "key":
            rendered.sort(key=lambda r: r[0])
        elif query.sort:
            figure = query.sort
            rendered.sort(key=lambda r: (-r[1][figure], r[0]))
        elif query.by not in BY_TIME:
            rendered.sort(
                key=lambda r: (
                    -r[1]["cost_nano_usd"],
                    -r[1]["plan_cost_nano_usd"],
                    -r[1]["total_tokens"],
                    r[0],
                )
            )
        shown = rendered[query.offset : query.offset + query.limit]
        labels = labels or self._labels(db, query.by, [k for k, _ in shown])
        answer: Json = {
            "from_ms": query.from_ms,
            "to_ms": query.to_ms,
            "tz": query.zone.key,
            "by": query.by,
            "totals": totals.render(),
            "rows": [{"key": k, "label": labels.get(k) or k, **t} for k, t in shown],
            "row_count": len(rendered),
            "coverage": self.coverage(db),
        }
        if query.split:
            self._add_parts(db, query, answer, cells, parts)
        return answer

    def _add_parts(
        self,
        db: sqlite3.Connection,
        query: UsageQuery,
        answer: Json,
        cells: Mapping[tuple[str, ...], Sums],
        most: int,
    ) -> None:
        """Split the rows of an answer: the dearest keys (the latest, of times) and the others as one."""
        whole: dict[str, Sums] = {}
        for (_, part), sums in cells.items():
            whole.setdefault(part, Sums()).add(sums.values)
        keys = sorted(whole.keys() - {OTHER_KEY})  # a tool may be called that
        if query.split not in BY_TIME:
            keys.sort(key=lambda k: [-v for v in whole[k].values[5:]])
        keys = keys[-most:] if query.split in BY_TIME else keys[:most]
        kept, named = set(keys), {row["key"] for row in answer["rows"]}
        rest: dict[str, Sums] = {}
        by_row: dict[str, dict[str, Sums]] = {}
        for (key, part), sums in cells.items():
            if part in kept:
                by_row.setdefault(key, {})[part] = sums
            elif key in named:
                rest.setdefault(key, Sums()).add(sums.values)
        if len(whole) > len(keys):
            other = Sums()
            for part, sums in whole.items():
                if part not in kept:
                    other.add(sums.values)
            whole[OTHER_KEY] = other
            keys.append(OTHER_KEY)
            for key, sums in rest.items():
                by_row.setdefault(key, {})[OTHER_KEY] = sums
        labels = self._labels(db, query.split, keys)
        names = {key: {"key": key, "label": labels.get(key) or key} for key in keys}
        for row in answer["rows"]:
            found = by_row.get(row["key"], {})
            row["parts"] = [{**names[k], **found[k].render()} for k in keys if k in found]
        answer["split"] = query.split
        answer["parts"] = [{**names[k], **whole[k].render()} for k in keys]

    def totals(
        self,
        db: sqlite3.Connection,
        from_ms: int | None,
        to_ms: int | None,
        zone: ZoneInfo,
        filters: Filters = (),
    ) -> Sums:
        """The totals of a range."""
        sums = Sums()
        if from_ms is None and to_ms is None and not filters:
            sums.add(
                [v or 0 for v in db.execute(f"SELECT {self._sums('s')} FROM sessions s").fetchone()]
            )
            return sums
        everything = from_ms is None and to_ms is None
        query = UsageQuery(from_ms, to_ms, zone, "none", filters, is_everything=everything)
        joins, conditions, values = self._joins(query)
        for segment in self._segments(db, query):
            row = db.execute(
                f"SELECT {self._sums('u')} FROM {segment.table}{joins} WHERE {segment.where}{conditions}",
                (*segment.params, *values),
            ).fetchone()
            sums.add([v or 0 for v in row])
        return sums

    @staticmethod
    def _sums(alias: str) -> str:
        return ", ".join(f"sum({alias}.{m})" for m in _TOTAL_MEASURES)

    def _limit_range(self, db: sqlite3.Connection, query: UsageQuery) -> UsageQuery:
        """Give an unlimited range its ends: the first and the last call, in whole days."""
        if query.from_ms is not None and query.to_ms is not None:
            return query
        first, last = db.execute("SELECT min(slot), max(slot) FROM usage_quarter_hours").fetchone()
        start, end = query.from_ms, query.to_ms
        today = day_of(self.now_ms(), query.zone)
        if end is None:
            day = max(today, day_of(last * SLOT_MS, query.zone)) if last is not None else today
            end = midnight_ms(day + timedelta(days=1), query.zone)
        if start is None:
            day = day_of(first * SLOT_MS, query.zone) if first is not None else today
            start = min(midnight_ms(day, query.zone), end - 1)
        everything = query.from_ms is None and query.to_ms is None
        return replace(query, from_ms=start, to_ms=max(end, start + 1), is_everything=everything)

    def _segments(
        self,
        db: sqlite3.Connection,
        query: UsageQuery,
        *,
        is_timed: bool = False,
        is_plain: bool = False,
    ) -> list[Segment]:
        """Cut a range into whole days (day rows, where the zone has them), quarters of an hour, and what is left."""
        keys = {query.by, query.split}
        tool = "tool" in keys
        if query.is_everything and not tool and not is_timed:
            return [Segment("usage_sessions u", "true", (), "0")]
        start = query.from_ms if query.from_ms is not None else 0
        end = query.to_ms if query.to_ms is not None else 1 << 52
        zone_id = None if keys & BY_HOUR else self._zone_id(db, query.zone)
        segments: list[Segment] = []
        slot_table = "usage_slot_totals u" if is_plain else "usage_quarter_hours u"

        def calls(a: int, b: int) -> None:
            if a < b:
                exprs = ", ".join(
                    f"{split_sql(e) if tool else e} AS {n}"
                    for n, e in MEASURES
                    if n in _TOTAL_MEASURES
                )
                rows, extra = (
                    (tool_rows("model_calls c"), f", ifnull(t.value, '{NONE_KEY}') AS tool")
                    if tool
                    else ("model_calls c", "")
                )
                inner = f"(SELECT c.ts_ms / {SLOT_MS} AS slot, c.session, c.model, c.flags & 1 AS heartbeat{extra}, {exprs} FROM {rows} WHERE c.ts_ms >= {a} AND c.ts_ms < {b}) u"
                segments.append(Segment(inner, "true", (), "u.slot"))

        def slots(a: int, b: int) -> None:
            """Whole slots from a to b, and the calls at ends that are not on a slot."""
            first, last = -(-a // SLOT_MS), b // SLOT_MS
            if tool or first >= last:
                calls(a, b)
                return
            calls(a, first * SLOT_MS)
            segments.append(
                Segment(slot_table, "u.slot >= ? AND u.slot < ?", (first, last), "u.slot")
            )
            calls(last * SLOT_MS, b)

        if zone_id is None:
            slots(start, end)
            return segments
        first_day = day_number(start, query.zone) if start > -(10**13) else 0
        if midnight_ms(day_from_number(first_day), query.zone) < start:
            first_day += 1
        last_day = day_number(min(end, 10**13), query.zone)
        if first_day >= last_day:
            slots(start, end)
            return segments
        slots(start, midnight_ms(day_from_number(first_day), query.zone))
        table = (
            (
                "usage_tool_day_totals u"
                if keys <= {"tool", *BY_TIME, ""} and not query.filters
                else "usage_tool_days u"
            )
            if tool
            else "usage_days u"
        )
        segments.append(
            Segment(
                table,
                f"u.zone = {zone_id} AND u.day >= ? AND u.day < ?",
                (first_day, last_day),
                "u.day",
                is_days=True,
            )
        )
        slots(midnight_ms(day_from_number(last_day), query.zone), end)
        return segments

    def _zone_id(self, db: sqlite3.Connection, zone: ZoneInfo) -> int | None:
        row = db.execute("SELECT id FROM zones WHERE name = ?", (zone.key,)).fetchone()
        if row is None:
            if self.want_zone:
                self.want_zone(zone.key)
            return None
        return int(row[0])

    @staticmethod
    def _joins(query: UsageQuery, *, key: str = "") -> tuple[str, str, list[str]]:
        """The joins and conditions that a key and filters need."""
        conditions = [FILTER_SQL[name] for name, _ in query.filters]
        text = " ".join([key, *conditions])
        joins = " JOIN sessions s ON s.id = u.session" if "s." in text else ""
        joins += " JOIN models m ON m.id = u.model" if "m." in text else ""
        return (
            joins,
            "".join(f" AND {c}" for c in conditions),
            [value for _, value in query.filters],
        )

    def _time_span(self, db: sqlite3.Connection, query: UsageQuery) -> tuple[int, int]:
        """From when to when rows of time are given."""
        start, end = cast("int", query.from_ms), cast("int", query.to_ms)
        if start >= end:
            return start, start
        if (
            end - start > LONGEST_MS
        ):  # a row for each empty hour since 1970 helps nobody: from the first call to the last, then
            bounds = db.execute("SELECT min(slot), max(slot) + 1 FROM usage_slot_totals").fetchone()
            first, last = (b * SLOT_MS if b is not None else start for b in bounds)
            start, end = max(start, first), min(end, max(last, first))
        return start, end

    def _time_keys(self, db: sqlite3.Connection, query: UsageQuery) -> list[str]:
        """The keys that get a row also without a call; none where rows are not time."""
        if query.by not in BY_TIME:
            return []
        start, end = self._time_span(db, query)
        # One call with a wrong year would make a million empty rows: then only those with calls are shown.
        is_long = end - start > (LONGEST_MS if query.by == "hour" else 24 * LONGEST_MS)
        if start >= end or (is_long and query.by != "hour_of_week"):
            return []
        if query.by == "hour_of_week":
            return list(HOURS_OF_WEEK)
        if query.by == "hour":
            keys = hour_keys(start // SLOT_MS, -(-end // SLOT_MS), query.zone)
            return list(dict.fromkeys(keys.values()))
        return self.time_keys(query.by, start, end, query.zone)

    @staticmethod
    def _time_namer(zone: ZoneInfo, by: str) -> Callable[[int, bool], str]:
        """(t of a segment, whether that is a day) -> the key of an hour, day, week or month."""
        known: dict[tuple[int, bool], str] = {}

        def name(t: int, is_day: bool) -> str:  # noqa: FBT001 - called by position, per row
            if by in BY_HOUR:
                hour = hour_key(t, zone)
                return hour if by == "hour" else hour_of_week(hour)
            return time_key(by, day_from_number(t) if is_day else day_of(t * SLOT_MS, zone))

        def key_of(t: int, is_day: bool) -> str:  # noqa: FBT001
            found = known.get((t, is_day))
            if found is None:
                found = known[t, is_day] = name(t, is_day)
            return found

        return key_of

    def _time_sql(
        self, db: sqlite3.Connection, query: UsageQuery, keys: Iterable[str]
    ) -> Callable[[Segment], str]:
        """SQL for the t of a segment, as coarse as the keys allow: the first slot of an hour instead of each."""
        start, end = self._time_span(db, query)
        phase = None if BY_HOUR.isdisjoint(keys) else hour_phase(start, end, query.zone)
        if phase is None:
            return lambda segment: segment.time
        # Never before the range: clocks may just have changed there, and that slot have another name.
        first = start // SLOT_MS
        return lambda segment: f"max(({segment.time} + {phase}) / 4 * 4 - {phase}, {first})"

    def _time_rows(self, db: sqlite3.Connection, query: UsageQuery) -> dict[str, Sums]:
        rows: dict[str, Sums | None] = dict.fromkeys(self._time_keys(db, query))
        key_of = self._time_namer(query.zone, query.by)
        time_of = self._time_sql(db, query, (query.by,))
        joins, conditions, values = self._joins(query)
        for segment in self._segments(db, query, is_timed=True, is_plain=not query.filters):
            sql = f"SELECT {time_of(segment)} AS t, {self._sums('u')} FROM {segment.table}{joins} WHERE {segment.where}{conditions} GROUP BY t"
            for row in db.execute(sql, (*segment.params, *values)):
                key = key_of(row[0], segment.is_days)
                if (found := rows.get(key)) is None:
                    rows[key] = Sums(row[1:])
                else:
                    found.add(row[1:])
        return {key: sums or Sums() for key, sums in rows.items()}

    def _cells(
        self, db: sqlite3.Connection, query: UsageQuery, keys: tuple[str, ...]
    ) -> dict[tuple[str, ...], Sums]:
        """Sums by one or several keys, times among them: first by the numbers of session, model and tool, then by name."""
        names = [key for key in keys if key not in BY_TIME]
        namers = {key: self._time_namer(query.zone, key) for key in keys if key in BY_TIME}
        time_of = self._time_sql(db, query, keys)
        used = " ".join(BY_SQL[key] for key in names)
        numbers = [
            column
            for column, mark in (
                ("u.session", "s."),
                ("u.model", "m."),
                ("u.heartbeat", "u.heartbeat"),
                ("u.tool", "u.tool"),
            )
            if mark in used
        ]
        parts = ", ".join(f"sum(u.{m}) AS {m}" for m in _TOTAL_MEASURES)
        inner_joins, conditions, values = self._joins(query)
        joins = self._joins(replace(query, filters=()), key=used)[0]
        named = [f"{BY_SQL[key]} AS k{i}" for i, key in enumerate(names)]
        grouped = ", ".join(["u.t", *(f"k{i}" for i in range(len(names)))])
        places = {name: place for place, name in enumerate(names, 1)}
        cells: dict[tuple[str, ...], Sums] = {}
        for segment in self._segments(db, query, is_timed=bool(namers)):
            time = time_of(segment) if namers else "0"
            inner = f"SELECT {', '.join([f'{time} AS t', *numbers])}, {parts} FROM {segment.table}{inner_joins} WHERE {segment.where}{conditions} GROUP BY {', '.join(['t', *numbers])}"
            sql = f"SELECT {', '.join(['u.t', *named])}, {self._sums('u')} FROM ({inner}) u{joins} GROUP BY {grouped}"
            for row in db.execute(sql, (*segment.params, *values)):
                key = tuple([
                    row[places[one]] if one in places else namers[one](row[0], segment.is_days)
                    for one in keys
                ])  # fmt: skip
                if (found := cells.get(key)) is None:
                    cells[key] = Sums(row[1 + len(names) :])
                else:
                    found.add(row[1 + len(names) :])
        return {key: sums for key, sums in cells.items() if any(sums.values)}

    @staticmethod
    def time_keys(by: str, start: int, end: int, zone: ZoneInfo) -> list[str]:
        """Every day, week or month of a range, ascending."""
        first, last = day_number(start, zone), day_number(end - 1, zone)
        return list(dict.fromkeys(time_key(by, day_from_number(d)) for d in range(first, last + 1)))

    @staticmethod
    def _labels(db: sqlite3.Connection, by: str, keys: Sequence[str]) -> dict[str, str]:
        """What a person calls the keys: a session's label or key."""
        if by not in ("session", "session_key") or not keys:
            return {}
        column = "session_id" if by == "session" else "key"
        out: dict[str, str] = {}
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            marks = ", ".join("?" * len(part))
            out |= db.execute(
                f"SELECT {column}, ifnull(label, key) FROM sessions WHERE {column} IN ({marks}) AND model_calls > 0",
                part,
            )
        return {key: label for key, label in out.items() if label}

    def coverage(self, db: sqlite3.Connection) -> Json:
        """C of the API: how much of what OpenClaw has on disk the numbers cover."""
        # Every answer has it and it looks at every source, so it is kept for as long as nothing has been written.
        if not (self.indexer and self.indexer.complete):
            return self._read_coverage(db)
        found = self.coverages.get(db, "coverage", lambda: self._read_coverage(db))
        return {**found, "as_of_ms": self.now_ms()}

    def _read_coverage(self, db: sqlite3.Connection) -> Json:
        kinds = ", ".join(f"'{k}'" for k in RANKS)
        size, done, bad, unreadable = db.execute(
            f"SELECT ifnull(sum(size), 0), ifnull(sum(indexed_bytes), 0), ifnull(sum(bad_lines + pending_line), 0), "
            f"ifnull(sum(state = 'unreadable'), 0) FROM sources WHERE kind IN ({kinds}) AND state <> 'gone'"
        ).fetchone()
        unreadable += db.execute(
            "SELECT count(*) FROM sources WHERE kind = 'index' AND state = 'unreadable'"
        ).fetchone()[0]
        implausible = db.execute("SELECT count(*) FROM implausible").fetchone()[0]
        complete = unreadable == 0
        progress = self.indexer.progress if self.indexer and not self.indexer.complete else None
        if progress and progress.total_bytes:
            size, done, complete = (
                progress.total_bytes,
                min(progress.indexed_bytes, progress.total_bytes),
                False,
            )
        elif (
            not (self.indexer and self.indexer.complete)
            and not db.execute("SELECT 1 FROM sources LIMIT 1").fetchone()
        ):
            complete = False
        as_of = self.now_ms()
        if self.indexer is None:
            row = db.execute("SELECT value FROM meta WHERE key = 'as_of_ms'").fetchone()
            as_of = row[0] if row else as_of
        return {
            "complete": complete, "indexed_bytes": done, "total_bytes": size, "bad_lines": bad, "unreadable": unreadable,
            "implausible": implausible, "as_of_ms": as_of,
        }  # fmt: skip

    # -- the endpoints of the ClawMeter seed --------------------------------------------------------------------------

    def summary(self, *, tz: str | None = None) -> Json:
        """Spend of today, the last 7 local days, this month and ever, in USD; counts; budgets."""
        zone, now = self.zone(tz), self.now_ms()
        with self.ledger.reading() as db:

            def spent(word: str) -> Sums:
                return self.totals(
                    db, parse_time(word, zone, now), parse_time("today", zone, now, end=True), zone
                )

            ever = self.totals(db, None, None, zone).render()
            sessions = db.execute("SELECT count(*) FROM sessions WHERE model_calls > 0").fetchone()[
                0
            ]
            return {
                "today": spent("today").render()["cost_usd"],
                "week": spent("7d").render()["cost_usd"],
                "month": spent("month").render()["cost_usd"],
                "allTime": ever["cost_usd"],
                "sessions": sessions,
                "messages": ever["model_calls"],
                "budgetDaily": self.settings.budget_daily_usd,
                "budgetMonthly": self.settings.budget_monthly_usd,
            }

    def daily(self, *, days: str | None = None, tz: str | None = None) -> list[Json]:
        """Cost, tokens and model calls of each of the last days."""
        count = parse_int(days, "days", default=30, least=1, most=3660)
        answer = self.usage(from_=f"{count}d", tz=tz, by="day")
        return [
            {"date": r["key"], "cost": r["cost_usd"], "input_tokens": r["input_tokens"], "output_tokens": r["output_tokens"], "messages": r["model_calls"]}
            for r in answer["rows"]
        ]  # fmt: skip

    def models(self) -> list[Json]:
        """Cost and calls of every model, dearest first."""
        with self.ledger.reading() as db:
            rows = db.execute(
                f"SELECT m.model, m.provider, {self._sums('u')} FROM "
                f"(SELECT u.model, {', '.join(f'sum(u.{n}) AS {n}' for n in _TOTAL_MEASURES)} FROM usage_sessions u GROUP BY u.model) u "
                "JOIN models m ON m.id = u.model GROUP BY 1, 2 HAVING sum(u.model_calls) > 0"
            ).fetchall()
        out = []
        for model, provider, *sums in rows:
            total = Sums(sums).render()
            out.append(
                {
                    "model": model,
                    "provider": provider,
                    "total_cost": total["cost_usd"],
                    "message_count": total["model_calls"],
                    **total,
                }
            )
        return sorted(
            out, key=lambda r: (-r["cost_nano_usd"], -r["total_tokens"], r["provider"], r["model"])
        )

    def top_sessions(self, *, limit: str | None = None) -> list[Json]:
        """The dearest sessions."""
        count = parse_int(limit, "limit", default=10, least=1, most=MAX_ROWS)
        return self.sessions(limit=str(count), sort="total_cost")[0]

    def alerts(self) -> list[Json]:
        """Alerts that have fired; none are defined yet."""
        return []

    # -- sessions -----------------------------------------------------------------------------------------------------

    def sessions(
        self,
        *,
        limit: str | None = None,
        offset: str | None = None,
        sort: str | None = None,
        order: str | None = None,
        **filters: str | None,
    ) -> tuple[list[Json], int]:
        """A page of sessions and how many there are; newest activity first unless asked otherwise."""
        most = parse_int(limit, "limit", default=50, least=1, most=MAX_ROWS)
        skip = parse_int(offset, "offset", default=0, least=0, most=10**9)
        question = self._session_question(sort, order, **filters)
        with self.ledger.reading() as db:
            ids = self._session_ids(db, question, most, skip)
            return self._session_rows(db, ids), self._session_sums(db, question)[0]

    def session_list(
        self,
        *,
        limit: str | None = None,
        offset: str | None = None,
        sort: str | None = None,
        order: str | None = None,
        **filters: str | None,
    ) -> Json:
        """A page of sessions with the sums over all that the filters leave: whole sessions, whatever the range."""
        most = parse_int(limit, "limit", default=100, least=1, most=MAX_ROWS)
        skip = parse_int(offset, "offset", default=0, least=0, most=10**9)
        question = self._session_question(sort, order, **filters)
        with self.ledger.reading() as db:
            total, sums = self._session_sums(db, question)
            return {
                "rows": self._session_rows(db, self._session_ids(db, question, most, skip)),
                "offset": skip,
                "limit": most,
                "total": total,
                "totals": sums,
                "as_of_ms": self.now_ms(),
                "tz": self.zone(filters.get("tz")).key,
                "coverage": self.coverage(db),
            }

    def export_sessions(
        self, *, sort: str | None = None, order: str | None = None, **filters: str | None
    ) -> Iterator[list[Json]]:
        """All rows that the filters leave, some hundred at a time: no reader keeps the ledger open while a slow client reads."""
        question = self._session_question(sort, order, **filters)
        with self.ledger.reading() as db:
            ids = self._ordered_sessions(db, question)

        def rows() -> Iterator[list[Json]]:
            for start in range(0, len(ids), 500):
                with self.ledger.reading() as db:
                    yield self._session_rows(db, ids[start : start + 500])

        return rows()

    def _session_question(
        self, sort: str | None, order: str | None, *, q: str | None = None, agent: str | None = None, model: str | None = None,
        provider: str | None = None, channel: str | None = None, cause: str | None = None, state: str | None = None, has: str | None = None,
        from_: str | None = None, to: str | None = None, tz: str | None = None,
    ) -> SessionQuestion:  # fmt: skip
        """Check and resolve what a list of sessions was asked for."""
        column = parse_choice(sort, "sort", SESSION_SORTS, "last_activity_ms")
        direction = parse_choice(
            order, "order", ("asc", "desc"), "asc" if column in SESSION_TEXT_SORTS else "desc"
        )
        condition, params = self._session_filters(
            filters_of(agent=agent, model=model, provider=provider, channel=channel, cause=cause)
        )
        where = [f"{_IS_SESSION}{condition}"]

        def demand(condition: str, *values: object) -> None:
            where.append(condition)
            params.extend(values)

        for word in (q or "").split()[:8]:
            demand(_SESSION_HAS_TEXT, *[like_pattern(word)] * 3)
        if has:
            demand(SESSION_HAS[parse_choice(has, "has", SESSION_HAS, "")])
        zone = self.zone(tz)
        if state:
            wanted = parse_choice(state, "state", SESSION_STATES, "")
            live: dict[int, LiveView] = {}
            if self.gateway.live():
                with self.ledger.reading() as db:
                    live = self._live_rows(db)
            # To ten seconds: the pages of one list are then of one moment.
            demand(f"{self._state_sql(self.now_ms() // 10_000 * 10_000, live)} = ?", wanted)
        if from_ or to:
            start, end = self.parse_range(from_, to, zone, "all")
            demand("ifnull(s.last_ms, 0) >= ?", start or 0)
            demand("ifnull(s.first_ms, 0) < ?", end if end is not None else 1 << 52)
        return SessionQuestion(" AND ".join(where), tuple(params), column, direction)

    def _session_sql(self, question: SessionQuestion) -> tuple[str, tuple[Any, ...]]:
        """SELECT of the ids of a list in order, and its parameters."""
        before, joins = _SORT_JOINS.get(question.sort, ("", ""))
        windows = orjson.dumps([[*k, v] for k, v in self.windows.items()]).decode()
        sql = f"{before} SELECT s.id FROM sessions s {joins} WHERE {question.where} ORDER BY {SESSION_SORTS[question.sort]} {question.direction} NULLS LAST, s.id"
        return sql, ((windows, *question.params) if "?" in before else question.params)

    def _session_ids(
        self, db: sqlite3.Connection, question: SessionQuestion, most: int, skip: int
    ) -> Sequence[int]:
        """The ids of one page of a list."""
        if skip + most > SHALLOW_ROWS or question.sort in _SORT_JOINS:
            return self._ordered_sessions(db, question)[skip : skip + most]
        sql, params = self._session_sql(question)
        return [r[0] for r in db.execute(f"{sql} LIMIT ? OFFSET ?", (*params, most, skip))]

    def _ordered_sessions(
        self, db: sqlite3.Connection, question: SessionQuestion
    ) -> array.array[int]:
        """The ids of a whole list; kept while nothing is written, because the next page is asked for soon."""
        sql, params = self._session_sql(question)
        return self.lists.get(
            db, ("ids", question), lambda: array.array("q", [r[0] for r in db.execute(sql, params)])
        )

    def _session_sums(self, db: sqlite3.Connection, question: SessionQuestion) -> tuple[int, Json]:
        """How many sessions the filters leave, and their totals."""
        asked = replace(question, sort="", direction="")

        def read() -> tuple[int, Json]:
            sql = f"SELECT count(*), {self._sums('s')} FROM sessions s WHERE {question.where}"
            count, *sums = db.execute(sql, question.params).fetchone()
            return count, Sums([v or 0 for v in sums]).render()

        return self.lists.get(db, ("sums", asked), read)

    def search(self, *, q: str | None = None) -> Json:
        """What has a text in its name, key or id: agents and models, dearest first; sessions, newest first."""
        text = (q or "").strip()
        results: list[Json] = []
        if text:
            with self.ledger.reading() as db:
                for kind, key in (("agent", BY_SQL["agent"]), ("model", BY_SQL["provider_model"])):
                    joins = self._joins(UsageQuery(None, None, self.default_zone, kind), key=key)[0]
                    results += [
                        {"kind": kind, "key": k, "label": k, "agent": None, "channel": None, "last_activity_ms": None, "model_calls": calls, "cost_nano_usd": cost}
                        for k, calls, cost in db.execute(
                            f"SELECT {key} AS k, sum(u.model_calls), sum(u.cost_nano) FROM usage_sessions u{joins} WHERE instr(lower({key}), lower(?)) GROUP BY k HAVING sum(u.model_calls) > 0 ORDER BY 3 DESC, 1 LIMIT 8", (text,)
                        )
                    ]  # fmt: skip
                results += [
                    {"kind": "session", "key": sid, "label": label or key or sid, "agent": agent, "channel": channel, "last_activity_ms": last, "model_calls": calls, "cost_nano_usd": cost}
                    for sid, key, label, agent, channel, last, calls, cost in db.execute(
                        f"SELECT s.session_id, s.key, s.label, s.agent, s.channel, s.last_ms, s.model_calls, s.cost_nano FROM sessions s WHERE {_IS_SESSION} AND {_SESSION_HAS_TEXT} ORDER BY s.last_ms DESC NULLS LAST, s.id LIMIT 20", [like_pattern(text)] * 3
                    )
                ]  # fmt: skip
        return {"q": text, "results": results}

    @staticmethod
    def _session_filters(filters: Filters) -> tuple[str, list[Any]]:
        """Conditions on sessions s, each with its AND, and their values."""
        conditions = "".join(f" AND {_SESSION_FILTER_SQL[name]}" for name, _ in filters)
        return conditions, [value for _, value in filters]

    def _live_rows(self, db: sqlite3.Connection) -> dict[int, LiveView]:
        """What the gateway says now about sessions of the ledger, by their ledger id."""
        out: dict[int, LiveView] = {}
        # A gateway serves the first home; agents of the others have an @ in their names.
        for view in self.gateway.live():
            column, name = "key", view.key
            if view.session_id:  # a key goes on to another session when somebody resets it
                column, name = "session_id", view.session_id
            row = db.execute(
                f"SELECT id FROM sessions WHERE {column} = ? AND instr(agent, '@') = 0 ORDER BY ifnull(last_ms, 0) DESC LIMIT 1",
                (sound(name),),
            ).fetchone()
            if row:
                out[row[0]] = view
        return out

    @staticmethod
    def _state_sql(now: int, live: Mapping[int, LiveView]) -> str:
        """A session's state: by the gateway's word, else by its last entry.

        That nothing runs it says of a session as of its last news; an entry that is younger was written by somebody
        else (`openclaw agent --local` works without the gateway).
        """
        told = ", ".join(str(i) for i, view in live.items() if view.run["running"])
        quiet = " OR ".join(
            f"(s.id = {i} AND s.last_ms <= {view.updated_ms + ROW_SLACK_MS})"
            for i, view in live.items() if not view.run["running"]
        )  # fmt: skip
        running = (
            f"(s.last_kind IN ('user', 'toolResult', 'toolUse') AND s.last_ms > {now - RUNNING_MS})"
        )
        return (
            f"CASE WHEN s.id IN ({told}) OR ({running}{f' AND NOT ({quiet})' if quiet else ''}) THEN 'running' "
            f"WHEN s.last_ms > {now - IDLE_MS} THEN 'idle' ELSE 'ended' END"
        )

    _SESSION_COLUMNS = (
        "id", "session_id", "agent", "key", "channel", "chat_type", "origin_provider", "cause", "cron_job", "label", "parent", "parent_key", "status", "header_ms",
        "first_ms", "last_ms", "stored_as", "version", "thinking_level", "context_tokens", "context_window", *MEASURE_NAMES, *(n for n, _ in MESSAGE_MEASURES),
    )  # fmt: skip

    def _session_rows(self, db: sqlite3.Connection, ids: Sequence[int]) -> list[Json]:
        """Rows of the session list, in the order of the ids."""
        out: dict[int, Json] = {}
        live = self._live_rows(db)
        columns = ", ".join(f"s.{c}" for c in self._SESSION_COLUMNS)
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            marks = ", ".join("?" * len(part))
            dearest: dict[int, tuple[str, str]] = {}
            for session, provider, model in db.execute(
                f"SELECT u.session, m.provider, m.model FROM usage_sessions u JOIN models m ON m.id = u.model WHERE u.session IN ({marks}) "
                "GROUP BY 1, 2, 3 ORDER BY sum(u.cost_nano + u.plan_nano), sum(u.input_tokens + u.output_tokens + u.cache_read_tokens + u.cache_write_tokens), sum(u.model_calls)", part
            ):  # fmt: skip
                dearest[session] = (provider, model)
            trees = dict(db.execute(
                f"WITH RECURSIVE tree(root, id) AS (SELECT id, id FROM sessions WHERE id IN ({marks}) UNION SELECT t.root, s.id FROM sessions s JOIN tree t ON s.parent = t.id) "
                "SELECT t.root, sum(s.cost_nano) FROM tree t JOIN sessions s ON s.id = t.id GROUP BY 1", part
            ).fetchall())  # fmt: skip
            for state, parent, *values in db.execute(
                f"SELECT {self._state_sql(self.now_ms(), live)}, p.session_id, {columns} FROM sessions s LEFT JOIN sessions p ON p.id = s.parent WHERE s.id IN ({marks})", part
            ):  # fmt: skip
                row = dict(zip(self._SESSION_COLUMNS, values, strict=True))
                out[row["id"]] = self._render_session(
                    row,
                    state,
                    parent,
                    dearest.get(row["id"], (None, None)),
                    trees.get(row["id"], 0),
                    live.get(row["id"]),
                )
        return [out[i] for i in ids if i in out]

    def _render_session(
        self,
        row: Json,
        state: str,
        parent: str | None,
        model: tuple[str | None, str | None],
        tree_nano: int,
        live: LiveView | None,
    ) -> Json:
        began = row["header_ms"] if row["header_ms"] is not None else row["first_ms"]
        total = Sums([row[m] for m in _TOTAL_MEASURES]).render()
        window = row["context_window"] or self.windows.get((model[0] or "", model[1] or ""))
        # What the gateway said before the last entry was written is not about now.
        is_told = live is not None and (live.run["running"] or (row["last_ms"] or 0) <= live.updated_ms + ROW_SLACK_MS)  # fmt: skip
        return {
            "id": row["session_id"], "agent": row["agent"], "model": model[1], "total_cost": total["cost_usd"], "message_count": total["model_calls"],
            "provider": model[0], "key": row["key"], "channel": row["channel"], "chat_type": row["chat_type"], "origin_provider": row["origin_provider"],
            "cause": row["cause"], "cron_job": row["cron_job"], "label": row["label"], "state": state, "inferred": not is_told, "status": row["status"],
            "run": live.run if live and is_told else None,
            "started_ms": began, "last_activity_ms": row["last_ms"],
            "duration_ms": row["last_ms"] - began if row["last_ms"] is not None and began is not None else None,
            "tree_cost_nano_usd": tree_nano, "parent_session": parent, "parent_key": row["parent_key"], "tool_calls": row["tool_calls"],
            "tool_errors": row["tool_errors"], "model_errors": row["model_errors"], "aborts": row["aborts"], "failovers": row["failovers"],
            "compactions": row["compactions"], "user_messages": row["user_messages"], "context_tokens": row["context_tokens"], "context_window": window,
            "thinking_level": row["thinking_level"], "stored_as": row["stored_as"], **total,
        }  # fmt: skip

    @staticmethod
    def _find_session(db: sqlite3.Connection, session_id: str) -> int:
        """The ledger id of a session by its id, or by its key (the newest that has it)."""
        for column in ("session_id", "key"):
            row = db.execute(
                f"SELECT id FROM sessions WHERE {column} = ? ORDER BY ifnull(last_ms, 0) DESC, model_calls DESC LIMIT 1",
                (sound(session_id),),
            ).fetchone()
            if row:
                return int(row[0])
        msg = f"no session {plain(session_id, 80)} in the ledger"
        raise QueryError("session_not_found", msg, 404)

    def session(self, session_id: str) -> Json:
        """A session in full: its row, its models, tools, sub-agents, prompt and where it is stored."""
        with self.ledger.reading() as db:
            rowid = self._find_session(db, session_id)
            row = self._session_rows(db, [rowid])[0]
            models = []
            for provider, model, *sums in db.execute(
                f"SELECT m.provider, m.model, {self._sums('u')} FROM usage_sessions u JOIN models m ON m.id = u.model WHERE u.session = ? GROUP BY 1, 2", (rowid,)
            ):  # fmt: skip
                models.append({"provider": provider, "model": model, **Sums(sums).render()})
            children = [
                r[0]
                for r in db.execute(
                    "SELECT id FROM sessions WHERE parent = ? ORDER BY first_ms", (rowid,)
                )
            ]
            prompt, agent, sid = db.execute(
                "SELECT prompt, agent, session_id FROM sessions WHERE id = ?", (rowid,)
            ).fetchone()
            sources = [
                {"path": p, "kind": k, "state": s} for p, k, s in
                db.execute("SELECT path, kind, state FROM sources WHERE session_id = ? AND agent = ? ORDER BY path", (sid, agent))
            ]  # fmt: skip
            # A database holds many sessions: whether this one is still there, only it can tell.
            for path, state in db.execute("SELECT path, state FROM sources WHERE kind = 'database' AND agent = ? AND state <> 'gone'", (agent,)):  # fmt: skip
                if state != "ok" or database_holds(path, sid):
                    sources.append({"path": path, "kind": "database", "state": state})
            copied = [
                {"session": owner, "calls": calls} for owner, calls in
                db.execute("SELECT s.session_id, count(*) FROM call_copies k JOIN model_calls c ON c.id = k.call JOIN sessions s ON s.id = c.session "
                           "WHERE k.session = ? AND c.session <> ? GROUP BY c.session ORDER BY 2 DESC, 1 LIMIT 20", (rowid, rowid))
            ]  # fmt: skip
            return {
                **row,
                "models": sorted(models, key=lambda m: (-m["cost_nano_usd"], -m["total_tokens"])),
                "tools": self._tools(db, rowid),
                "subagents": self._session_rows(db, children),
                "prompt": orjson.loads(prompt) if prompt else None,
                "copied_calls": sum(c["calls"] for c in copied),
                "copied_from": copied,
                "as_of_ms": self.now_ms(),
                "sources": sources,
                "coverage": self.coverage(db),
            }

    @staticmethod
    def _tools(db: sqlite3.Connection, rowid: int) -> list[Json]:
        """Calls, errors and durations of the tools of a session."""
        tools: dict[str, Json] = defaultdict(lambda: {"calls": 0, "errors": 0, "durations": []})
        for name, count in db.execute("SELECT t.value, count(*) FROM model_calls c, json_each(c.tools) t WHERE c.session = ? AND c.tools IS NOT NULL GROUP BY 1", (rowid,)):  # fmt: skip
            tools[name]["calls"] = count
        for name, failed, duration in db.execute(
            "SELECT tool, is_error, duration_ms FROM messages WHERE session = ? AND kind = 'toolResult'",
            (rowid,),
        ):
            tools[name]["errors"] += failed
            if duration is not None:
                tools[name]["durations"].append(duration)
        out = []
        for name, t in tools.items():
            durations = sorted(t["durations"])
            out.append(
                {
                    "tool": name,
                    "calls": t["calls"],
                    "errors": t["errors"],
                    "p50_ms": quantile(durations, 0.5),
                    "p95_ms": quantile(durations, 0.95),
                }
            )
        return sorted(out, key=lambda t: (-t["calls"], t["tool"]))

    def timeline(
        self, session_id: str, *, since_ms: str | None = None, until_ms: str | None = None
    ) -> Json:
        """What happened in a session, in order, from the ledger alone: calls, messages, tools, compactions."""
        since = parse_int(since_ms, "since_ms", default=-1, least=0, most=LATEST_MS)
        until = parse_int(until_ms, "until_ms", default=LATEST_MS, least=0, most=LATEST_MS)
        with self.ledger.reading() as db:
            rowid = self._find_session(db, session_id)
            sid = db.execute("SELECT session_id FROM sessions WHERE id = ?", (rowid,)).fetchone()[0]
            items: list[Json] = []
            for ts, latency, provider, model, stop, i, o, r, w, cost, basis, tools, flags in db.execute(
                "SELECT c.ts_ms, c.latency_ms, m.provider, m.model, c.stop_reason, c.input_tokens, c.output_tokens, c.cache_read_tokens, c.cache_write_tokens, "
                "c.cost_nano, c.basis, c.tools, c.flags FROM model_calls c JOIN models m ON m.id = c.model WHERE c.session = ? AND c.ts_ms >= ? AND c.ts_ms < ? ORDER BY c.ts_ms, c.id LIMIT 20000", (rowid, since, until)
            ):  # fmt: skip
                items.append({
                    "ts_ms": ts, "kind": "model_call", "latency_ms": latency, "provider": provider, "model": model, "stop_reason": stop, "input_tokens": i,
                    "output_tokens": o, "cache_read_tokens": r, "cache_write_tokens": w, "cost_nano_usd": None if basis == "unpriced" else cost, "cost_basis": basis,
                    "billing_mode": "plan" if flags & FLAG_PLAN else "metered", "tools": orjson.loads(tools) if tools else [], "is_heartbeat": bool(flags & FLAG_HEARTBEAT),
                    "is_failover": bool(flags & FLAG_FAILOVER),
                })  # fmt: skip
            timed = (
                "AND ts_ms >= ? AND ts_ms < ?"
                if since_ms or until_ms
                else "AND (ts_ms IS NULL OR ts_ms BETWEEN ? AND ?)"
            )
            for ts, kind, tool, failed, duration in db.execute(f"SELECT ts_ms, kind, tool, is_error, duration_ms FROM messages WHERE session = ? {timed} ORDER BY ts_ms, id LIMIT 40000", (rowid, since, until)):  # fmt: skip
                items.append(
                    {
                        "ts_ms": ts,
                        "kind": kind,
                        "tool": tool,
                        "is_error": bool(failed),
                        "duration_ms": duration,
                    }
                )
            items.sort(key=lambda x: x["ts_ms"] or 0)
            return {"session": sid, "items": items, "coverage": self.coverage(db)}

    def turns(
        self, session_id: str, *, limit: str | None = None, offset: str | None = None
    ) -> Json:
        """A session in turns, each from a user message to the next: what it took and cost, from the ledger alone.

        Without `offset` the last turns; `skipped_*` tell of those before the first one shown.
        """
        most = parse_int(limit, "limit", default=MAX_TURNS, least=1, most=MAX_ROWS)
        with self.ledger.reading() as db:
            rowid = self._find_session(db, session_id)
            sid = db.execute("SELECT session_id FROM sessions WHERE id = ?", (rowid,)).fetchone()[0]
            turns = self._read_turns(db, rowid)
            coverage = self.coverage(db)
        start = max(0, len(turns) - most)
        if offset is not None:
            start = min(parse_int(offset, "offset", default=0, least=0, most=10**9), len(turns))
        before = Sums()
        for turn in turns[:start]:
            before.add(turn.sums.values)
        return {
            "session": sid,
            "turns": [turn.render(start + n) for n, turn in enumerate(turns[start : start + most])],
            "total": len(turns),
            "skipped": start,
            "skipped_totals": before.render(),
            "coverage": coverage,
        }

    @staticmethod
    def _read_turns(db: sqlite3.Connection, rowid: int) -> list[Turn]:
        """The turns of a session, oldest first."""
        measures = ", ".join(e for n, e in MEASURES if n in _TOTAL_MEASURES)
        items: list[tuple[int, int, Any]] = [
            (ts, 1, rest)
            for ts, *rest in db.execute(
                f"SELECT c.ts_ms, c.latency_ms, m.model, c.stop_reason, c.flags, c.tools, {measures} FROM model_calls c JOIN models m ON m.id = c.model WHERE c.session = ? ORDER BY c.ts_ms, c.id",
                (rowid,),
            )
        ]
        items += [
            (ts, 0 if kind == "user" else 2, (kind, failed, duration))
            for ts, kind, failed, duration in db.execute(
                "SELECT ts_ms, kind, is_error, duration_ms FROM messages WHERE session = ? AND ts_ms IS NOT NULL ORDER BY ts_ms, id",
                (rowid,),
            )
        ]
        items += [
            (began, 3, (ended, cost))
            for began, ended, cost in db.execute(
                "SELECT ifnull(s.header_ms, s.first_ms) AS began, s.last_ms, (WITH RECURSIVE tree(id) AS (SELECT s.id UNION SELECT k.id FROM sessions k JOIN tree ON k.parent = tree.id) "
                "SELECT sum(k.cost_nano) FROM tree JOIN sessions k ON k.id = tree.id) FROM sessions s WHERE s.parent = ? AND began IS NOT NULL AND s.id <> ?",
                (rowid, rowid),
            )
        ]
        items.sort(key=operator.itemgetter(0, 1))
        turns: list[Turn] = []
        model: str | None = None
        for ts, order, what in items:
            if order == 0 or not turns:
                turns.append(Turn(ts))
            turn = turns[-1]
            if order == 1:
                turn.add_call(ts, what, model)
                model = what[1]
            elif order == 3:
                turn.add_subagent(ts, *what)
            else:
                turn.add_message(ts, *what)
        return turns

    def subagents(
        self, *, limit: str | None = None, offset: str | None = None, session: str | None = None
    ) -> list[Json]:
        """Sub-agent sessions, newest first: task label, parent, depth, status, own and tree cost. Of a `session`: all below it."""
        most = parse_int(limit, "limit", default=100, least=1, most=MAX_ROWS)
        skip = parse_int(offset, "offset", default=0, least=0, most=10**9)
        with self.ledger.reading() as db:
            if session:
                top = self._find_session(db, session)
                which = "id IN (WITH RECURSIVE tree(id) AS (SELECT id FROM sessions WHERE parent = ? UNION SELECT k.id FROM sessions k JOIN tree t ON k.parent = t.id) SELECT id FROM tree) AND id <> ?"
                params: tuple[int, ...] = (top, top)
            else:
                which, params = "(cause = 'subagent' OR parent IS NOT NULL)", ()
            ids = [r[0] for r in db.execute(f"SELECT id FROM sessions WHERE {which} ORDER BY ifnull(last_ms, 0) DESC, id LIMIT ? OFFSET ?", (*params, most, skip))]  # fmt: skip
            rows = self._session_rows(db, ids)
            for rowid, row in zip(ids, rows, strict=True):
                run = db.execute("SELECT run_id, label, status, created_ms, started_ms, ended_ms FROM subagent_runs WHERE child_key = ? ORDER BY created_ms DESC LIMIT 1", (row["key"],)).fetchone()  # fmt: skip
                names = (
                    "run_id",
                    "run_label",
                    "run_status",
                    "run_created_ms",
                    "run_started_ms",
                    "run_ended_ms",
                )
                depth = max(1, self._count_ancestors(db, rowid))
                row.update(zip(names, run or (None,) * 6, strict=True), depth=depth)
            return rows

    @staticmethod
    def _count_ancestors(db: sqlite3.Connection, rowid: int) -> int:
        """How many sessions are above this one; keys are text, so they may also go round in a circle."""
        seen = [rowid]
        while True:
            parent = db.execute("SELECT parent FROM sessions WHERE id = ?", seen[-1:]).fetchone()
            if parent is None or parent[0] is None or parent[0] in seen:
                return len(seen) - 1
            seen.append(parent[0])

    # -- transcripts --------------------------------------------------------------------------------------------------

    def transcript(
        self,
        session_id: str,
        *,
        kinds: str | None = None,
        offset: str | None = None,
        limit: str | None = None,
        q: str | None = None,
        at_ms: str | None = None,
        clip: str | None = None,
    ) -> Json:
        """A page of a session's entries, read from OpenClaw's own storage now. `kinds`: messages, tools, errors, thinking; several by comma.

        With `at_ms` the page begins at the first entry from that moment on, and `offset` says which one that is.
        With `clip` no text is longer; entries that are say `clipped`.
        """
        start = parse_int(offset, "offset", default=0, least=0, most=10**9)
        most = parse_int(limit, "limit", default=100, least=1, most=MAX_ROWS)
        moment = parse_int(at_ms, "at_ms", default=-1, least=0, most=LATEST_MS)
        longest = parse_int(clip, "clip", default=MAX_TEXT, least=1, most=MAX_TEXT)
        sid, places = self._find_transcript(session_id)
        wanted = EntryFilter.parse(kinds, q)

        def read() -> tuple[TranscriptMap, int, list[Json]]:
            mapped = self._map_transcript(places, sid, wanted)
            first = mapped.find_moment(moment) if moment >= 0 else start
            return mapped, first, read_transcript_page(mapped, sid, first, most, longest)

        mapped, start, entries = self._read_mapped(read)
        return {
            "session": sid,
            "entries": entries,
            "offset": start,
            "limit": most,
            "total": len(mapped.entries),
            "available": bool(mapped.used),
            "sources": list(mapped.used),
            "reason": None
            if mapped.used
            else "; ".join(mapped.problems)
            or "OpenClaw no longer has this transcript; the ledger keeps its numbers",
        }

    def find_entry(
        self, session_id: str, *, kinds: str | None = None, q: str | None = None, start: str | None = None, back: str | None = None, among: str | None = None,
    ) -> Json:  # fmt: skip
        """The next entry from `start` on that has a text or is of a kind, as its number `among` entries of these kinds.

        It stops after FIND_S and says where, so that a search through a long transcript is many short questions
        that the person can end.
        """
        first = parse_int(start, "start", default=0, least=0, most=10**9)
        is_back = parse_choice(back, "back", ("0", "1"), "0") == "1"
        sid, places = self._find_transcript(session_id)
        wanted = EntryFilter.parse(kinds, q)

        def read() -> tuple[int | None, int | None, int]:
            mapped = self._map_transcript(places, sid, EntryFilter.parse(among, None))
            found = find_in_transcript(mapped, sid, wanted, first, is_back=is_back)
            return *found, len(mapped.entries)

        found, following, total = self._read_mapped(read)
        return {"session": sid, "n": found, "next": following, "total": total}

    def _read_mapped(self, read: Callable[[], T]) -> T:
        """Read by the map of a transcript, and once more where it was renamed or rewritten since it was mapped."""
        try:
            return read()
        except SourceError:
            self.maps.clear()
            return read()

    def _find_transcript(self, session_id: str) -> tuple[str, list[TranscriptPath]]:
        """The id of a session and the sources that may hold its entries, the best ones first."""
        with self.ledger.reading() as db:
            rowid = self._find_session(db, session_id)
            sid, agent = db.execute(
                "SELECT session_id, agent FROM sessions WHERE id = ?", (rowid,)
            ).fetchone()
            places = [
                TranscriptPath(p, k, agent, s, p.endswith(".zst")) for p, k, s in
                db.execute("SELECT path, kind, session_id FROM sources WHERE agent = ? AND state <> 'gone' AND (session_id = ? OR kind = 'database')", (agent, sid))
                if k in RANKS
            ]  # fmt: skip
        places.sort(key=lambda p: (-RANKS[p.kind], p.path))
        return sid, places

    def _map_transcript(
        self, places: Sequence[TranscriptPath], session_id: str, wanted: EntryFilter
    ) -> TranscriptMap:
        """The map of a transcript; kept for the next pages as long as no source changes."""
        signatures = []
        for place in places:
            with contextlib.suppress(SourceError):
                signatures.append((place.path, *database_signature(place.path)))
        key = (session_id, wanted, tuple(signatures))
        with self.maps_lock:
            found = self.maps.pop(key, None)
        if found is None:
            found = map_transcript(places, session_id, wanted)
        with self.maps_lock:
            self.maps[key] = found
            while len(self.maps) > 4:
                self.maps.pop(next(iter(self.maps)))
        return found

    # -- overview and health ------------------------------------------------------------------------------------------

    def overview(
        self,
        *,
        from_: str | None = None,
        to: str | None = None,
        tz: str | None = None,
        agent: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        channel: str | None = None,
        cause: str | None = None,
    ) -> Json:
        """Everything the first page shows, from one view of the ledger."""
        zone, now = self.zone(tz), self.now_ms()
        start, end = self.parse_range(from_, to, zone, "7d")
        filters = filters_of(
            agent=agent, model=model, provider=provider, channel=channel, cause=cause
        )
        condition, values = self._session_filters(filters)
        with self.ledger.reading() as db:
            query = self._limit_range(db, UsageQuery(start, end, zone, "day", filters))
            start, end = cast("int", query.from_ms), cast("int", query.to_ms)
            coverage = self.coverage(db)
            days = self.answer(db, replace(query, from_ms=min(parse_time("60d", zone, now) or 0, start), to_ms=parse_time("today", zone, now, end=True)))["rows"] if start < now else []  # fmt: skip
            by_cost = {r["key"]: r["cost_nano_usd"] for r in days}

            def grouped(by: str) -> list[Json]:
                return cast("list[Json]", self.answer(db, replace(query, by=by))["rows"])

            told = self._live_rows(db)
            running = ", ".join(str(i) for i, view in told.items() if view.run["running"])
            live = [r[0] for r in db.execute(f"SELECT s.id FROM sessions s WHERE ((s.last_ms > ? AND s.last_ms <= ?) OR s.id IN ({running})){condition} ORDER BY ({self._state_sql(now, told)} = 'running') DESC, s.last_ms DESC LIMIT 20", (now - IDLE_MS, now + DAY_MS, *values))]  # fmt: skip
            ever = db.execute(
                f"SELECT count(*) FROM sessions s WHERE s.model_calls > 0{condition}", values
            ).fetchone()[0]
            by_model = grouped("provider_model")
            return {
                "as_of_ms": now, "tz": zone.key, "from_ms": start, "to_ms": end, "coverage": coverage,
                "figures": {
                    **{name: self._figure(db, word, query, now, by_cost) for name, word in (("today", "today"), ("week", "7d"), ("month", "month"))},
                    "month_end": self._projection(db, query, now),
                },
                "budgets": {"daily_usd": self.settings.budget_daily_usd, "monthly_usd": self.settings.budget_monthly_usd},
                "all_time": {"sessions": ever, **self.totals(db, None, None, zone, filters).render()},
                "by_day": self._stacked_days(db, query, by_model, now),
                "by_cause": grouped("cause"), "by_agent": grouped("agent"), "by_model": by_model,
                "top_sessions": self._dearest(db, query), "live": self._session_rows(db, live), "activity": self._activity(db, now, condition, values),
                "attention": self._attention(coverage, by_model), "source": self._source_strip(db, coverage),
                "gateway": self.gateway.describe(),
            }  # fmt: skip

    def _dearest(self, db: sqlite3.Connection, query: UsageQuery) -> list[Json]:
        """The ten sessions that cost most in a range, with what they and their sub-agents cost in it."""
        answer = {r["key"]: r for r in self.answer(db, replace(query, by="session"))["rows"]}
        parents = dict(
            db.execute(
                "SELECT s.session_id, p.session_id FROM sessions s JOIN sessions p ON p.id = s.parent"
            ).fetchall()
        )
        trees = {key: row["cost_nano_usd"] for key, row in answer.items()}
        for key, row in answer.items():
            above, seen = parents.get(key), {key}
            while above is not None and above not in seen:
                seen.add(above)
                trees[above] = trees.get(above, 0) + row["cost_nano_usd"]
                above = parents.get(above)
        keys = list(answer)[:10]
        ids = [self._find_session(db, key) for key in keys]
        rows = self._session_rows(db, ids)
        for key, row in zip(keys, rows, strict=True):
            totals = {k: v for k, v in answer[key].items() if k not in ("key", "label")}
            row.update(
                totals,
                total_cost=totals["cost_usd"],
                message_count=totals["model_calls"],
                tree_cost_nano_usd=trees[key],
            )
        return rows

    def _figure(
        self,
        db: sqlite3.Connection,
        word: str,
        query: UsageQuery,
        now: int,
        by_cost: Mapping[str, int],
    ) -> Json:
        """One figure of Overview: a span up to now, the same elapsed span before it, and a line of days."""
        zone, filters = query.zone, query.filters
        start = cast("int", parse_time(word, zone, now))
        end = cast("int", parse_time("today", zone, now, end=True))
        first = day_of(start, zone)
        if word == "month":
            before_day = (first - timedelta(days=1)).replace(day=1)
        else:
            before_day = first - (day_of(now, zone) - first) - timedelta(days=1)
        before = midnight_ms(before_day, zone)
        before_end = min(before + (now - start), start)
        line = [
            by_cost.get((day_of(now, zone) - timedelta(days=n)).isoformat(), 0)
            for n in range(13 if word == "today" else 29, -1, -1)
        ]
        return {
            "from_ms": start, "to_ms": end, "totals": self.totals(db, start, end, zone, filters).render(),
            "before": self.totals(db, before, before_end, zone, filters).render(), "spark_nano_usd": line,
        }  # fmt: skip

    def _projection(self, db: sqlite3.Connection, asked: UsageQuery, now: int) -> Json:
        """What the month will cost: what is spent, and the mean of recent full days for the rest, with a range from their spread."""
        zone, filters = asked.zone, asked.filters
        today = day_of(now, zone)
        first = today.replace(day=1)
        next_month = (first + timedelta(days=32)).replace(day=1)
        spent = self.totals(
            db,
            midnight_ms(first, zone),
            midnight_ms(today + timedelta(days=1), zone),
            zone,
            filters,
        ).values[5]
        begun = db.execute("SELECT min(slot) FROM usage_quarter_hours").fetchone()[0]
        available = (today - day_of(begun * SLOT_MS, zone)).days if begun is not None else 0
        used = min(14, available)
        empty = {
            "projected_nano_usd": None,
            "low_nano_usd": None,
            "high_nano_usd": None,
            "days_used": used,
        }
        if used < 3:
            return {**empty, "basis": "needs three full days of use"}
        query = UsageQuery(
            midnight_ms(today - timedelta(days=used), zone),
            midnight_ms(today, zone),
            zone,
            "day",
            filters,
        )
        values = [s.values[5] for s in self._time_rows(db, query).values()]
        today_so_far = self.totals(db, midnight_ms(today, zone), now + 1, zone, filters).values[5]
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
        rest = (next_month - today).days - 1
        rest_of_today = max(0.0, mean - today_so_far)
        projected = spent + rest_of_today + rest * mean
        margin = 1.28 * spread * math.sqrt(rest + 1)
        return {
            "projected_nano_usd": round(projected), "low_nano_usd": round(max(spent, projected - margin)), "high_nano_usd": round(projected + margin),
            "days_used": used, "basis": f"spent so far, and the mean of the last {used} full days for the {rest} days left; the range holds in 8 of 10 months like them",
        }  # fmt: skip

    def _stacked_days(
        self, db: sqlite3.Connection, query: UsageQuery, by_model: Sequence[Json], now: int
    ) -> Json:
        """Cost by day and model: the six dearest and the others."""
        zone = query.zone
        start, end = cast("int", query.from_ms), cast("int", query.to_ms)
        days = self.time_keys("day", start, end, zone)[-400:]
        place = {d: i for i, d in enumerate(days)}
        names = [r["key"] for r in by_model[:6]]
        lines = {n: [0] * len(days) for n in names}
        other = [0] * len(days)
        name = BY_SQL["provider_model"]
        joins, conditions, values = self._joins(query, key=name)
        for segment in self._segments(db, query, is_timed=True):
            sql = f"SELECT {segment.time} AS t, {name} AS k, sum(u.cost_nano) FROM {segment.table}{joins} WHERE {segment.where}{conditions} GROUP BY t, k"
            for t, key, cost in db.execute(sql, (*segment.params, *values)):
                day = (
                    day_from_number(t) if segment.is_days else day_of(t * SLOT_MS, zone)
                ).isoformat()
                if day in place:
                    lines.get(key, other)[place[day]] += cost
        series = [
            {"key": n, "label": n.split("/", 1)[1], "cost_nano_usd": v, "total_nano_usd": sum(v)}
            for n, v in lines.items()
            if any(v)
        ]
        if any(other):
            series.append(
                {
                    "key": "other",
                    "label": "Other",
                    "cost_nano_usd": other,
                    "total_nano_usd": sum(other),
                }
            )
        return {
            "days": days,
            "partial_last": bool(days) and days[-1] == day_of(now, zone).isoformat(),
            "series": series,
        }

    @staticmethod
    def _activity(
        db: sqlite3.Connection, now: int, condition: str, values: Sequence[Any]
    ) -> list[Json]:
        """What started, failed or was compacted lately, in the sessions for which a condition holds."""
        items: list[Json] = []
        name = "s.session_id, s.agent, ifnull(s.label, s.key)"
        for ts, sid, agent, label in db.execute(f"SELECT ifnull(s.header_ms, s.first_ms) AS t, {name} FROM sessions s WHERE s.last_ms > ? AND t > ?{condition} ORDER BY t DESC LIMIT 12", (now - DAY_MS, now - DAY_MS, *values)):  # fmt: skip
            items.append(
                {
                    "ts_ms": ts,
                    "kind": "started",
                    "session": sid,
                    "agent": agent,
                    "label": label,
                    "text": "session started",
                }
            )
        for ts, stop, model, sid, agent, label in db.execute(
            f"SELECT c.ts_ms, c.stop_reason, m.model, {name} FROM model_calls c JOIN sessions s ON s.id = c.session JOIN models m ON m.id = c.model "
            f"WHERE c.ts_ms > ? AND c.stop_reason IN ('error', 'aborted'){condition} ORDER BY c.ts_ms DESC LIMIT 12", (now - DAY_MS, *values)
        ):  # fmt: skip
            text = (
                f"{model}: {'the model call failed' if stop == 'error' else 'the run was aborted'}"
            )
            items.append(
                {
                    "ts_ms": ts,
                    "kind": "failed" if stop == "error" else "ended",
                    "session": sid,
                    "agent": agent,
                    "label": label,
                    "text": text,
                }
            )
        for ts, sid, agent, label in db.execute(
            f"SELECT m.ts_ms, {name} FROM sessions s CROSS JOIN messages m INDEXED BY messages_by_session ON m.session = s.id WHERE s.last_ms > ? AND s.compactions > 0 AND m.kind = 'compaction' AND m.ts_ms > ?{condition} ORDER BY m.ts_ms DESC LIMIT 6", (now - DAY_MS, now - DAY_MS, *values)
        ):  # fmt: skip
            items.append(
                {
                    "ts_ms": ts,
                    "kind": "compacted",
                    "session": sid,
                    "agent": agent,
                    "label": label,
                    "text": "context compacted",
                }
            )
        return sorted(items, key=lambda i: -(i["ts_ms"] or 0))[:12]

    def _attention(self, coverage: Json, by_model: Sequence[Json]) -> list[Json]:
        """At most five things a person should look at."""
        out: list[Json] = []
        status = self.status() if self.status else {}
        see = {"label": "See health", "href": "#/health"}
        out += [
            {"level": "bad", "kind": "problem", "text": text, "action": see}
            for text in status.get("problems", [])[:2]
        ]
        if coverage["unreadable"]:
            text = f"{coverage['unreadable']} source{'s' if coverage['unreadable'] != 1 else ''} of OpenClaw cannot be read"
            out.append(
                {
                    "level": "bad",
                    "kind": "unreadable",
                    "text": text,
                    "action": {"label": "See health", "href": "#/health"},
                }
            )
        unpriced = [r for r in by_model if r["unpriced_calls"]]
        if unpriced:
            calls = sum(r["unpriced_calls"] for r in unpriced)
            names = ", ".join(r["key"] for r in unpriced[:3]) + (
                " and others" if len(unpriced) > 3 else ""
            )
            text = f"{calls:,} calls have no price ({names}); their tokens are counted, their cost is not known"
            out.append(
                {
                    "level": "warn",
                    "kind": "unpriced",
                    "text": text,
                    "action": {"label": "Set a price", "href": "#/cost"},
                }
            )
        if coverage["implausible"]:
            text = (
                f"{coverage['implausible']} calls with impossible numbers are left out of the sums"
            )
            out.append(
                {
                    "level": "warn",
                    "kind": "implausible",
                    "text": text,
                    "action": {"label": "See health", "href": "#/health"},
                }
            )
        return out[:5]

    def _source_strip(self, db: sqlite3.Connection, coverage: Json) -> Json:
        files, databases = db.execute("SELECT ifnull(sum(kind <> 'database'), 0), ifnull(sum(kind = 'database'), 0) FROM sources WHERE kind <> 'index' AND state <> 'gone'").fetchone()  # fmt: skip
        agents, sessions = db.execute(
            "SELECT count(DISTINCT agent), count(*) FROM sessions WHERE model_calls > 0"
        ).fetchone()
        total = coverage["total_bytes"]
        progress = self.indexer.progress if self.indexer and not self.indexer.complete else None
        return {
            "openclaw_versions": sorted({c.version for c in self.configs if c.version}), "homes": [str(h.path) for h in self.homes], "agents": agents,
            "sessions": sessions, "files": files, "databases": databases,
            "indexed_percent": 100.0 if coverage["complete"] or not total else round(100 * coverage["indexed_bytes"] / total, 1),
            "eta_s": progress.eta_s(time.monotonic()) if progress else None, "lag_ms": self.indexer.lag_ms if self.indexer else None,
            "ledger_bytes": file_size(self.ledger.path), "disk_free_bytes": shutil.disk_usage(self.ledger.path.parent).free, "rss_bytes": own_rss_bytes(),
            "gateway": self.gateway.text,
        }  # fmt: skip

    def health(self) -> Json:
        """Is everything read, and if not, what and why, and what to do."""
        status = self.status() if self.status else {}
        with self.ledger.reading() as db:
            coverage = self.coverage(db)
            sources = [
                {"path": p, "kind": k, "agent": a, "state": s, "bad_lines": b + n, "last_error": e, "size_bytes": z, "indexed_bytes": i, "schema_version": v}
                for p, k, a, s, b, n, e, z, i, v in db.execute(
                    "SELECT path, kind, agent, state, bad_lines, pending_line, error, size, indexed_bytes, schema_version FROM sources WHERE state <> 'gone' "
                    "ORDER BY (state <> 'ok') DESC, (bad_lines + pending_line) DESC, path LIMIT 2000")
            ]  # fmt: skip
            implausible = [
                {"session": s, "ts_ms": t, "reason": r, "usage": u} for s, t, r, u in
                db.execute("SELECT s.session_id, i.ts_ms, i.reason, i.usage FROM implausible i JOIN sessions s ON s.id = i.session ORDER BY i.ts_ms DESC LIMIT 50")
            ]  # fmt: skip
            counts = db.execute(
                "SELECT (SELECT count(*) FROM sessions WHERE model_calls > 0), (SELECT count(*) FROM model_calls), (SELECT count(*) FROM messages)"
            ).fetchone()
        problems = [
            {"level": "bad", "text": t, "what_to_do": "see the log, or run `clawmeter doctor`"}
            for t in status.get("problems", [])
        ]
        problems += [
            {"level": "bad", "text": s["last_error"] or f"{s['path']} cannot be read", "what_to_do": "give the user that runs Clawmeter read access to it"}
            for s in sources if s["state"] == "unreadable"
        ][:50]  # fmt: skip
        if coverage["bad_lines"]:
            last = next(
                (s["last_error"] for s in sources if s["bad_lines"] and s["last_error"]), None
            )
            problems.append({"level": "warn", "text": f"{coverage['bad_lines']} lines could not be read; the last one: {last}", "what_to_do": "nothing is lost but these lines; a line that is finished later is read then"})  # fmt: skip
        gateway = self.gateway.describe()
        if gateway["status"] in ("refused", "incompatible"):
            problems.append({"level": "warn", "text": gateway["problem"], "what_to_do": gateway["what_to_do"] or "see the log of the gateway"})  # fmt: skip
        return {
            "status": "degraded" if any(p["level"] == "bad" for p in problems) else "ok", "version": VERSION, "coverage": coverage, "sources": sources,
            "problems": problems, "implausible": implausible,
            "store": {"path": str(self.ledger.path), "size_bytes": file_size(self.ledger.path), "sessions": counts[0], "model_calls": counts[1], "messages": counts[2], "notice": status.get("notice")},
            "gateway": gateway,
            "homes": [{"path": str(h.path), "found_by": h.found_by, "version": c.version, "problem": c.problem} for h, c in zip(self.homes, self.configs, strict=True)],
            "process": {"rss_bytes": own_rss_bytes(), "threads": threading.active_count(), "uptime_s": status.get("uptime_s")},
        }  # fmt: skip

    # -- how a figure came about --------------------------------------------------------------------------------------

    def formula(self, session_id: str, prices: PriceBook) -> Json:
        """The cost of a session, call by call of each model: tokens, price, basis, and recorded against list."""
        with self.ledger.reading() as db:
            rowid = self._find_session(db, session_id)
            row = self._session_rows(db, [rowid])[0]
            parts = []
            for model_id, day, basis, plan, calls, i, o, r, w, cost, recorded, listed, comparable in db.execute(
                f"SELECT c.model, c.ts_ms / {DAY_MS}, c.basis, c.flags & 4 > 0, count(*), sum(c.input_tokens), sum(c.output_tokens), sum(c.cache_read_tokens), "
                "sum(c.cache_write_tokens), sum(c.cost_nano), sum(ifnull(c.recorded_nano, 0)), sum(c.list_nano), sum(iif(c.list_nano IS NULL, 0, ifnull(c.recorded_nano, 0))) "
                "FROM model_calls c WHERE c.session = ? GROUP BY 1, 2, 3, 4 ORDER BY 2, 1", (rowid,)
            ):  # fmt: skip
                provider, model, _ = (
                    prices.names.get(model_id)
                    or db.execute(
                        "SELECT provider, model, api FROM models WHERE id = ?", (model_id,)
                    ).fetchone()
                )
                prices.names.setdefault(model_id, (provider, model, ""))
                tariff, listing, _ = prices.resolve(model_id, day)
                used = listing if basis == "recorded" else tariff
                parts.append({
                    "day": day_from_number(day).isoformat(), "provider": provider, "model": model, "basis": basis, "billing_mode": "plan" if plan else "metered",
                    "model_calls": calls, "input_tokens": i, "output_tokens": o, "cache_read_tokens": r, "cache_write_tokens": w, "cost_nano_usd": cost,
                    "recorded_nano_usd": recorded, "list_nano_usd": listed,
                    "list_differs_percent": round(100 * (listed - comparable) / comparable, 1) if listed is not None and comparable else None,
                    "price": {"basis": used.basis, "tiers": [asdict(t) for t in used.tiers]} if used else None,
                })  # fmt: skip
        return {
            "session": row["id"],
            "key": row["key"],
            "cost_nano_usd": row["cost_nano_usd"],
            "plan_cost_nano_usd": row["plan_cost_nano_usd"],
            "parts": parts,
        }

    def compared(self, query: UsageQuery) -> Json:
        """Recorded against list, over the calls that have both; in all and by model."""
        found: dict[str, list[int]] = {}
        name = BY_SQL["provider_model"]
        with self.ledger.reading() as db:
            query = self._limit_range(db, query)
            joins, conditions, values = self._joins(query, key=name)
            for segment in self._segments(db, replace(query, by="model")):
                if not segment.table.endswith(" u") or segment.table.startswith("("):
                    continue  # the edge inside a quarter of an hour: a comparison can do without it
                sql = f"SELECT {name} AS k, sum(u.compared_recorded_nano), sum(u.compared_list_nano) FROM {segment.table}{joins} WHERE {segment.where}{conditions} GROUP BY k"
                for key, recorded, listed in db.execute(sql, (*segment.params, *values)):
                    sums = found.setdefault(key, [0, 0])
                    sums[0] += recorded
                    sums[1] += listed

        def pair(recorded: int, listed: int) -> Json:
            percent = 100 * (listed - recorded) / recorded if recorded else None
            return {
                "recorded_nano_usd": recorded,
                "list_nano_usd": listed,
                "list_differs_percent": percent,
            }

        rows = [
            {"key": k, "label": k.split("/", 1)[-1], **pair(recorded, listed)}
            for k, (recorded, listed) in sorted(found.items(), key=lambda item: -item[1][0])
            if recorded or listed
        ]
        return {
            **pair(
                sum(row["recorded_nano_usd"] for row in rows),
                sum(row["list_nano_usd"] for row in rows),
            ),
            "rows": rows,
        }

    # -- the Cost page ------------------------------------------------------------------------------------------------

    def _asked(
        self, from_: str | None, to: str | None, tz: str | None, given: Mapping[str, str | None]
    ) -> UsageQuery:
        zone = self.zone(tz)
        start, end = self.parse_range(from_, to, zone)
        return UsageQuery(start, end, zone, "day", filters_of(**given))

    def comparison(
        self, *, from_: str | None, to: str | None, tz: str | None, **given: str | None
    ) -> Json:
        """Recorded against list for a range and filters."""
        return self.compared(self._asked(from_, to, tz, given))

    def cache(
        self,
        prices: PriceBook,
        *,
        from_: str | None,
        to: str | None,
        tz: str | None,
        **given: str | None,
    ) -> Json:
        """What the prompt cache did in a range: hits by day, what reads saved, what writes cost, and where it broke.

        Saved is what cached tokens would have cost as fresh input, less what they cost. A model without a price
        has its tokens here and null for money.
        """
        # Of each model: calls, prompt, read, written, saved, write cost, write extra.
        models: dict[str, list[int]] = {}
        unknown: set[str] = set()
        days: dict[str, list[int]] = {}
        with self.ledger.reading() as db:
            query = self._limit_range(db, self._asked(from_, to, tz, given))
            ids = {f"{p}/{m}": i for i, (p, m, _) in sorted(dict(prices.names).items())}
            days = {key: [0, 0] for key in self._time_keys(db, query)}
            for (day, key), sums in self._cells(db, query, ("day", "provider_model")).items():
                calls, fresh, _, read, written, *_ = sums.values
                row = models.setdefault(key, [0] * 7)
                by_day = days.setdefault(day, [0, 0])
                by_day[0] += fresh + read + written
                by_day[1] += read
                money = (0, 0, 0)
                tariff = self._day_price(prices, ids.get(key), day)
                if tariff is None:
                    unknown.add(key)
                else:
                    money = (
                        nano_from_pico(read * (tariff.input - tariff.cache_read)),
                        nano_from_pico(written * tariff.cache_write),
                        nano_from_pico(written * (tariff.cache_write - tariff.input)),
                    )
                added = (calls, fresh + read + written, read, written, *money)
                models[key] = [a + b for a, b in zip(row, added, strict=True)]
            breaks = self._cache_breaks(db, query)

        def render(values: Sequence[int], *, is_priced: bool) -> Json:
            calls, prompt, read, written, saved, cost, extra = values
            return {
                "model_calls": calls, "prompt_tokens": prompt, "cache_read_tokens": read, "cache_write_tokens": written,
                "saved_nano_usd": saved if is_priced else None, "write_cost_nano_usd": cost if is_priced else None,
                "write_extra_nano_usd": extra if is_priced else None,
            }  # fmt: skip

        total = [sum(column) for column in zip(*models.values(), strict=True)] or [0] * 7
        return {
            "from_ms": query.from_ms, "to_ms": query.to_ms, "tz": query.zone.key,
            "totals": render(total, is_priced=models.keys() != unknown or not models),
            "unpriced_models": sorted(unknown),
            "rows": [
                {"key": k, "label": k.split("/", 1)[1], **render(v, is_priced=k not in unknown)}
                for k, v in sorted(models.items(), key=lambda item: (-item[1][4], -item[1][1]))
            ],
            "days": [{"key": k, "prompt_tokens": p, "cache_read_tokens": c} for k, (p, c) in days.items()],
            "breaks": breaks,
        }  # fmt: skip

    @staticmethod
    def _day_price(prices: PriceBook, model_id: int | None, day: str) -> Price | None:
        """The price that held for a model on a day, its first tier; by list where one was recorded."""
        if model_id is None:
            return None
        tariff, listed, _ = prices.resolve(model_id, date.fromisoformat(day).toordinal() - _EPOCH)
        found = tariff or listed
        return found.tiers[0] if found else None

    #: Looking for breaks reads call by call: no further back than this from the end of the range.
    _BREAKS_MS = 31 * DAY_MS
    #: A prompt below this many tokens is not cached by the big providers, so nothing can break.
    _LEAST_CACHED = 4096

    def _cache_breaks(self, db: sqlite3.Connection, query: UsageQuery) -> list[Json]:
        """Calls that read less than half of what the call before in the same session had in the cache; worst first, those that a compaction explains last."""
        start, end = cast("int", query.from_ms), cast("int", query.to_ms)
        end = min(end, self.now_ms() + 1)
        joins, conditions, values = self._joins(query, key="s. m.")
        rows = db.execute(
            f"WITH line AS (SELECT u.ts_ms, u.session, u.model, u.read, u.held, "
            "lag(u.held) OVER w AS before, lag(u.ts_ms) OVER w AS before_ms, lag(u.model) OVER w AS before_model FROM "
            "(SELECT c.id, c.ts_ms, c.session, c.model, c.flags & 1 AS heartbeat, c.cache_read_tokens AS read, "
            "c.cache_read_tokens + c.cache_write_tokens AS held FROM model_calls c WHERE c.ts_ms >= ? AND c.ts_ms < ? "
            f"AND c.input_tokens + c.cache_read_tokens + c.cache_write_tokens > 0) u{joins} WHERE true{conditions} "
            "WINDOW w AS (PARTITION BY u.session ORDER BY u.ts_ms, u.id)) "
            "SELECT l.ts_ms, l.ts_ms - l.before_ms, l.before - l.read, l.model <> l.before_model, "
            "EXISTS (SELECT 1 FROM messages x WHERE x.session = l.session AND x.kind = 'compaction' AND x.ts_ms > l.before_ms AND x.ts_ms <= l.ts_ms), "
            "s.session_id, s.agent, ifnull(s.label, s.key), m.model FROM line l JOIN sessions s ON s.id = l.session JOIN models m ON m.id = l.model "
            "WHERE l.before >= ? AND l.read * 2 < l.before ORDER BY 5, 3 DESC, 1 LIMIT 20",
            (max(start, end - self._BREAKS_MS), end, *values, self._LEAST_CACHED),
        )
        out = []
        for ts, gap, lost, is_other_model, is_compacted, sid, agent, label, model in rows:
            if is_compacted:
                reason = "compacted"
            elif is_other_model:
                reason = "model"
            else:
                reason = "expired" if gap >= 5 * MINUTE_MS else "changed"
            out.append({
                "ts_ms": ts, "gap_ms": gap, "lost_tokens": lost, "reason": reason, "session": sid, "agent": agent, "label": label, "model": model,
            })  # fmt: skip
        return out

    def composition(
        self, *, from_: str | None, to: str | None, tz: str | None, **given: str | None
    ) -> Json:
        """What prompts were made of: characters that OpenClaw reported of each session, tokens that the ledger counted.

        The averages of characters are over the sessions with a report, those of tokens over all calls of these.
        """
        parts = ("system_chars", "files_chars", "skills_chars", "tools_chars")
        rows: list[Json] = []
        with self.ledger.reading() as db:
            query = self._limit_range(db, self._asked(from_, to, tz, given))
            answer = self.answer(db, replace(query, by="session"))
            totals = {row["key"]: row for row in answer["rows"]}
            for sid, agent, key, label, prompt in db.execute(
                "SELECT session_id, agent, key, label, prompt FROM sessions WHERE prompt IS NOT NULL AND last_ms >= ? ORDER BY id",
                (query.from_ms,),
            ):
                usage = totals.get(sid)
                if usage is None or not usage["model_calls"]:
                    continue
                report = orjson.loads(prompt)
                listed = (
                    report["project_chars"] + report["skills_chars"] + report["tools_list_chars"]
                )
                tokens = usage["total_tokens"] - usage["output_tokens"]
                rows.append({
                    "session": sid, "agent": agent, "key": key, "label": label, "model_calls": usage["model_calls"], "cost_nano_usd": usage["cost_nano_usd"],
                    "prompt_tokens": tokens, "output_tokens": usage["output_tokens"], "system_chars": max(0, report["system_chars"] - listed),
                    "files_chars": report["project_chars"], "skills_chars": report["skills_chars"],
                    "tools_chars": report["tools_list_chars"] + report["tools_schema_chars"],
                    "files": sorted(report["files"], key=lambda f: -f[1])[:12],
                })  # fmt: skip
        calls = sum(row["model_calls"] for row in rows)
        average = (
            {part: round(sum(row[part] for row in rows) / len(rows)) for part in parts}
            if rows
            else None
        )
        return {
            "from_ms": query.from_ms, "to_ms": query.to_ms, "tz": query.zone.key, "sessions": answer["row_count"], "measured_sessions": len(rows),
            "average": {
                **average,
                "prompt_tokens": round(sum(row["prompt_tokens"] for row in rows) / calls),
                "output_tokens": round(sum(row["output_tokens"] for row in rows) / calls),
            } if average else None,
            "rows": sorted(rows, key=lambda row: -row["cost_nano_usd"])[:20],
        }  # fmt: skip

    def explain(
        self,
        prices: PriceBook,
        *,
        from_: str | None,
        to: str | None,
        tz: str | None,
        **given: str | None,
    ) -> Json:
        """How a cost came about: calls of each model and basis, what each kind of token cost, and the price that held last."""
        parts = []
        totals = Sums()
        with self.ledger.reading() as db:
            query = self._limit_range(db, self._asked(from_, to, tz, given))
            joins, conditions, values = self._joins(query, key="s. m.")
            for model_id, basis, plan, calls, i, o, w, c, cost, recorded, listed, *kinds, first, last in db.execute(
                "SELECT u.model, u.basis, u.flags & 4 > 0, count(*), sum(u.input_tokens), sum(u.output_tokens), sum(u.cache_write_tokens), "
                "sum(u.cache_read_tokens), sum(u.cost_nano), sum(ifnull(u.recorded_nano, 0)), sum(u.list_nano), "
                "sum(u.cost_input), sum(u.cost_output), sum(u.cost_cache_read), sum(u.cost_cache_write), min(u.ts_ms), max(u.ts_ms) "
                f"FROM (SELECT c.*, c.flags & 1 AS heartbeat FROM model_calls c WHERE c.ts_ms >= ? AND c.ts_ms < ?) u{joins} WHERE true{conditions} "
                "GROUP BY 1, 2, 3", (query.from_ms, query.to_ms, *values)
            ):  # fmt: skip
                provider, model, _ = prices.names[model_id]
                used = [
                    listing if basis == "recorded" else tariff
                    for tariff, listing, _ in (
                        prices.resolve(model_id, t // DAY_MS) for t in (first, last)
                    )
                ]
                totals.add([calls, i, o, c, w, 0 if plan else cost, recorded, cost if plan else 0, calls * (basis == "unpriced")])  # fmt: skip
                parts.append({
                    "provider": provider, "model": model, "basis": basis, "billing_mode": "plan" if plan else "metered", "model_calls": calls,
                    "input_tokens": i, "output_tokens": o, "cache_read_tokens": c, "cache_write_tokens": w,
                    "cost_nano_usd": None if basis == "unpriced" else cost, "recorded_nano_usd": recorded, "list_nano_usd": listed,
                    "input_usd": kinds[0], "output_usd": kinds[1], "cache_read_usd": kinds[2], "cache_write_usd": kinds[3],
                    "price": {"basis": used[1].basis, "tiers": [asdict(t) for t in used[1].tiers]} if used[1] else None,
                    "price_changed": used[0] != used[1],
                })  # fmt: skip
        parts.sort(
            key=lambda p: (-(p["cost_nano_usd"] or 0), p["provider"], p["model"], p["basis"])
        )
        return {
            "from_ms": query.from_ms,
            "to_ms": query.to_ms,
            "tz": query.zone.key,
            "totals": totals.render(),
            "parts": parts,
        }


def file_size(path: Path) -> int:
    """Bytes of a SQLite file and its WAL; 0 when there is none."""
    total = 0
    for suffix in ("", "-wal"):
        with contextlib.suppress(OSError):
            total += os.path.getsize(f"{path}{suffix}")
    return total


def own_rss_bytes() -> int:
    """Resident memory of this process; 0 where it cannot be told."""
    try:
        import psutil

        return int(psutil.Process().memory_info().rss)
    except (ImportError, OSError):
        return 0


# -- transcripts, read when somebody opens one ------------------------------------------------------------------------

MAX_TEXT = 200_000


#: The start of a usual entry: enough to know which entry it is without parsing the rest.
_ENTRY_HEAD = re.compile(
    rb'\{"type":"message","id":"([^"\\]+)","parentId":(?:null|"[^"\\]*"),"timestamp":"([^"\\]+)","message":'
)


class EntryPlace(NamedTuple):
    """Where an entry is: its time, the source it is in, and the way to it there (bytes of a file, row of a database)."""

    timestamp: str
    source: int
    where: int
    size: int


def scan_entries(place: TranscriptPath, session_id: str) -> Iterator[tuple[int, int, bytes]]:
    """(where, size, bytes) of every entry of a session in one source, in order. Raises OSError or SourceError."""
    if place.kind == "database":
        with open_foreign(place.path) as db:
            unzst = zstandard.ZstdDecompressor(max_window_size=1 << 27)
            columns = columns_of(db, "transcript_events")
            if columns:
                for _, seq, text, blob in db.execute(
                    f"SELECT {row_select(columns)} FROM transcript_events WHERE session_id = ? ORDER BY seq",
                    (session_id,),
                ):
                    with contextlib.suppress(zstandard.ZstdError):  # counted when it was indexed
                        yield seq, 0, text if text is not None else unzst_event(unzst, blob or b"")
            if columns_of(db, "session_transcript_archives"):
                for generation, encoding, blob in db.execute(
                    "SELECT rowid, encoding, archive_blob FROM session_transcript_archives WHERE session_id = ?",
                    (session_id,),
                ):
                    with contextlib.suppress(zstandard.ZstdError):
                        data = (
                            blob
                            if encoding == b"identity"
                            else unzst.stream_reader(blob, read_across_frames=True).read(1 << 30)
                        )
                        for number, line in enumerate(data.split(b"\n"), 1):
                            yield generation, number, line
        return
    with open_transcript(place) as stream:
        position = 0
        try:
            for line in stream:
                yield position, len(line), line
                position += len(line)
        except zstandard.ZstdError:
            return


@contextlib.contextmanager
def open_transcript(place: TranscriptPath) -> Iterator[Any]:
    """The lines of a transcript file, decompressed where needed."""
    with open(place.path, "rb", buffering=1 << 20) as raw:
        if place.compressed:
            reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
                raw, read_across_frames=True
            )
            yield io.BufferedReader(cast("Any", reader), 1 << 20)
        else:
            yield raw


def load_entries(
    place: TranscriptPath, session_id: str, wanted: Sequence[EntryPlace]
) -> dict[tuple[int, int], bytes]:
    """The bytes of some entries of one source by (where, size): only these are read, where the source allows it."""
    if not place.compressed and place.kind != "database":
        out = {}
        with open(place.path, "rb") as file:
            for entry in wanted:
                file.seek(entry.where)
                out[entry.where, entry.size] = file.read(entry.size)
        return out
    keys = {(e.where, e.size) for e in wanted}
    if place.kind == "database" and all(e.size == 0 for e in wanted):
        with open_foreign(place.path) as db:
            unzst = zstandard.ZstdDecompressor(max_window_size=1 << 27)
            select = row_select(columns_of(db, "transcript_events"))
            rows = (
                db.execute(
                    f"SELECT {select} FROM transcript_events WHERE session_id = ? AND seq = ?",
                    (session_id, e.where),
                ).fetchone()
                for e in wanted
            )
            return {
                (r[1], 0): r[2] if r[2] is not None else unzst_event(unzst, r[3] or b"")
                for r in rows
                if r
            }
    return {
        (where, size): raw
        for where, size, raw in scan_entries(place, session_id)
        if (where, size) in keys
    }


def render_blocks(content: Any, kind: str) -> list[Json]:
    """The content blocks of one type."""
    return (
        [b for b in content if isinstance(b, dict) and b.get("type") == kind]
        if isinstance(content, list)
        else []
    )


class Scissors:
    """Cuts texts that are longer than a reader wants at first, and knows whether it has."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.has_cut = False

    def cut(self, text: Any) -> str:
        """The beginning of a text, sound."""
        whole_text = sound(text)
        self.has_cut = self.has_cut or len(whole_text) > self.most
        return whole_text[: self.most]


def render_entry(entry: Json, source: str, most: int = MAX_TEXT) -> Json | None:
    """An entry of a transcript as the API shows it, no text longer than `most`; None for the header and what is not shown."""
    scissors = Scissors(most)
    kind = entry.get("type")
    if kind in (None, "session"):
        return None
    try:
        ts = parse_iso_ms(entry["timestamp"])
    except (KeyError, ValueError, TypeError):
        ts = None
    out: Json = {
        "id": entry.get("id"), "parent_id": entry.get("parentId"), "ts_ms": ts, "kind": kind, "role": None, "text": None, "thinking": [], "tool_calls": [],
        "tool_name": None, "tool_call_id": None, "is_error": False, "duration_ms": None, "model": None, "provider": None, "usage": None, "cost_nano_usd": None,
        "stop_reason": None, "error": None, "images": 0, "source": source, "clipped": False,
    }  # fmt: skip
    message = entry.get("message")
    if kind != "message" or not isinstance(message, dict):
        rest = {k: v for k, v in entry.items() if k not in ("type", "id", "parentId", "timestamp")}
        text = (
            entry.get("summary")
            if isinstance(entry.get("summary"), str)
            else json.dumps(rest, ensure_ascii=False, default=str)
        )
        out["text"] = scissors.cut(text)
        out["clipped"] = scissors.has_cut
        return out
    content = message.get("content")
    role = message.get("role")
    text = (
        content
        if isinstance(content, str)
        else "\n".join(str(b.get("text") or "") for b in render_blocks(content, "text"))
    )
    details = as_dict(message.get("details"))
    out.update(
        role=sound(role), kind={"toolResult": "tool_result"}.get(str(role), sound(role)), text=scissors.cut(text), images=len(render_blocks(content, "image")),
        thinking=[scissors.cut(b.get("thinking")) for b in render_blocks(content, "thinking")],
        tool_calls=[{"id": b.get("id"), "name": sound(b.get("name")), "arguments": storable(b.get("arguments"), scissors)} for b in render_blocks(content, "toolCall")],
        tool_name=text_or_none(message.get("toolName")), tool_call_id=text_or_none(message.get("toolCallId")), duration_ms=int_or_none(details.get("durationMs")),
        model=text_or_none(message.get("model")), provider=text_or_none(message.get("provider")), stop_reason=text_or_none(message.get("stopReason")),
        error=scissors.cut(error) if isinstance(error := message.get("errorMessage"), str) and error else None,
    )  # fmt: skip
    code = details.get("exitCode")
    out["is_error"] = (
        bool(message.get("isError"))
        or details.get("status") == "error"
        or (isinstance(code, int) and code > 0)
        or out["stop_reason"] == "error"
    )
    out["clipped"] = scissors.has_cut
    usage = message.get("usage")
    if isinstance(usage, dict):
        out["usage"] = {
            k: int_or_none(usage.get(k)) for k in (*_TOKEN_FIELDS, "totalTokens", "reasoningTokens")
        }
        total = as_dict(usage.get("cost")).get("total")
        out["cost_nano_usd"] = nano_usd(total) if isinstance(total, int | float) and total else None
    return out


def storable(value: Any, scissors: Scissors, depth: int = 0) -> Any:
    """A JSON value with sound strings, not too deep and not too long."""
    if depth > 20:
        return "…"
    if isinstance(value, str):
        return scissors.cut(value)
    if isinstance(value, dict):
        return {sound(k): storable(v, scissors, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [storable(v, scissors, depth + 1) for v in value[:2000]]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def shown_text(entry: Json) -> str:
    """All words of an entry that a reader sees."""
    parts = [
        entry["text"] or "",
        entry["error"] or "",
        entry["tool_name"] or "",
        *entry["thinking"],
    ]
    for call in entry["tool_calls"]:
        parts += [call["name"], json.dumps(call["arguments"], ensure_ascii=False, default=str)]
    return "\n".join(parts)


ENTRY_KINDS = ("messages", "tools", "errors", "thinking")
#: Words one of which an entry of a kind has in its JSON: without them it need not be parsed.
_KIND_WORDS: Mapping[str, tuple[bytes, ...]] = {
    "messages": (b'"user"', b'"assistant"'),
    "tools": (b'"toolCall"', b"oolResult", b"oolName"),
    "errors": (b"rror", b"exitCode"),
    "thinking": (b'"thinking"',),
}
#: Words that stand in JSON as they are. No slashes, which some writers escape, and nothing that JSON is laid out with.
_PLAIN_WORDS = re.compile(r"[a-z0-9 _.;=+*@#%&()<>!?'-]+")


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries a reader of a transcript wants: of any of some kinds, and with a text in them."""

    kinds: frozenset[str] = frozenset()
    text: str = ""

    @classmethod
    def parse(cls, kinds: str | None, q: str | None) -> EntryFilter:
        """The filter of `kinds` (by comma) and a text, upper and lower case alike."""
        wanted = {k for k in (kinds or "").split(",") if k}
        for kind in wanted:
            parse_choice(kind, "kinds", ENTRY_KINDS, "")
        return cls(frozenset(wanted), (q or "").lower())

    def may_match(self, raw: bytes) -> bool:
        """Whether the bytes of an entry can be what is wanted; False is certain, and spares to parse it."""
        if b"\\u" in raw:  # anything may be written as an escape
            return True
        if self.kinds and not any(w in raw for k in self.kinds for w in _KIND_WORDS[k]):
            return False
        # lower() of bytes knows ASCII only, and so do the plain words.
        return not _PLAIN_WORDS.fullmatch(self.text) or self.text.encode() in raw.lower()

    def matches(self, raw: bytes, source: str) -> bool:
        """Whether an entry is wanted."""
        if not self.kinds and not self.text:
            return True
        if not self.may_match(raw):
            return False
        entry = render_entry(as_dict(parse_lenient_or_none(raw)), source)
        if entry is None or (self.kinds and not entry_matches(entry, self.kinds)):
            return False
        return not self.text or self.text in shown_text(entry).lower()


def entry_matches(entry: Json, kinds: frozenset[str]) -> bool:
    """Whether an entry is of one of the kinds that a reader of transcripts asks for."""
    return (
        ("messages" in kinds and entry["role"] in ("user", "assistant") and bool(entry["text"]))
        or (
            "tools" in kinds
            and bool(entry["tool_calls"] or entry["kind"] == "tool_result" or entry["tool_name"])
        )
        or ("errors" in kinds and bool(entry["is_error"] or entry["error"]))
        or ("thinking" in kinds and bool(entry["thinking"]))
    )


@dataclass(frozen=True, slots=True)
class TranscriptMap:
    """Where the entries of a session are, each once, in time order; made by one look at all its sources."""

    places: tuple[TranscriptPath, ...]
    entries: tuple[EntryPlace, ...]
    used: tuple[str, ...]
    problems: tuple[str, ...]

    def find_moment(self, ts_ms: int) -> int:
        """The number of the first entry from a moment on; the last entry when there is none."""
        text = iso_ms(ts_ms)
        found = bisect.bisect_left(self.entries, text, key=lambda e: e.timestamp)
        return max(0, min(found, len(self.entries) - 1))


def map_transcript(
    places: Sequence[TranscriptPath], session_id: str, wanted: EntryFilter
) -> TranscriptMap:
    """Find the entries of a session that are wanted."""
    seen: set[tuple[Any, Any]] = set()
    found: list[EntryPlace] = []
    used: list[str] = []
    problems: list[str] = []
    for number, place in enumerate(places):
        any_entry = False
        try:
            for where, size, raw in scan_entries(place, session_id):
                head = _ENTRY_HEAD.match(raw)
                if head is not None:
                    entry_id: Any = head[1].decode("utf-8", "replace")
                    timestamp = head[2].decode("utf-8", "replace")
                else:
                    entry = as_dict(parse_lenient_or_none(raw.lstrip(b"\xef\xbb\xbf")))
                    if entry.get("type") in (None, "session"):
                        any_entry = any_entry or bool(entry)
                        continue
                    entry_id, timestamp = entry.get("id"), str(entry.get("timestamp") or "")
                any_entry = True
                if entry_id is not None:
                    if (entry_id, timestamp) in seen:
                        continue
                    seen.add((entry_id, timestamp))
                if wanted.matches(raw, place.kind):
                    found.append(EntryPlace(timestamp, number, where, size))
        except (OSError, SourceError) as error:
            problems.append(plain(error))
        if any_entry:
            used.append(place.path)
    found.sort(
        key=lambda e: e.timestamp
    )  # ISO times sort as text; entries of one moment stay as they were written
    return TranscriptMap(tuple(places), tuple(found), tuple(used), tuple(problems))


def load_page(
    mapped: TranscriptMap, session_id: str, page: Sequence[EntryPlace]
) -> Iterator[tuple[bytes, str]]:
    """(bytes, kind of source) of some entries, in their order. Raises SourceError when a source is gone meanwhile."""
    raws: dict[tuple[int, int, int], bytes] = {}
    for number in {e.source for e in page}:
        try:
            loaded = load_entries(
                mapped.places[number], session_id, [e for e in page if e.source == number]
            )
        except OSError as error:
            msg = f"cannot read {mapped.places[number].path}: {error.strerror}"
            raise SourceError(msg) from error
        raws.update({(number, *key): raw for key, raw in loaded.items()})
    for entry in page:
        yield (
            raws.get((entry.source, entry.where, entry.size), b"{}"),
            mapped.places[entry.source].kind,
        )


def read_transcript_page(
    mapped: TranscriptMap, session_id: str, offset: int, limit: int, clip: int = MAX_TEXT
) -> list[Json]:
    """Some entries of a session, rendered. Raises SourceError when a source is gone meanwhile."""
    out = []
    page = mapped.entries[offset : offset + limit]
    for n, (raw, kind) in enumerate(load_page(mapped, session_id, page), offset):
        rendered = render_entry(as_dict(parse_lenient_or_none(raw)), kind, clip)
        if rendered is not None:
            rendered["n"] = n
            out.append(rendered)
    return out


#: A search stops after this time and says how far it got.
FIND_S = 0.15


def find_in_transcript(
    mapped: TranscriptMap, session_id: str, wanted: EntryFilter, start: int, *, is_back: bool
) -> tuple[int | None, int | None]:
    """(number of the next entry that is wanted, where to go on when the time was up before one was found)."""
    until = time.monotonic() + FIND_S
    numbers = (
        range(min(start, len(mapped.entries) - 1), -1, -1)
        if is_back
        else range(start, len(mapped.entries))
    )
    # A compressed source is read whole for each part of it.
    is_packed = any(p.compressed or p.kind == "database" for p in mapped.places)
    step = 1000 if is_packed else 100
    for begin in range(0, len(numbers), step):
        if begin and time.monotonic() > until:
            return None, numbers[begin]
        part = numbers[begin : begin + step]
        page = [mapped.entries[n] for n in part]
        for n, (raw, kind) in zip(part, load_page(mapped, session_id, page), strict=True):
            if wanted.matches(raw, kind):
                return n, None
    return None, None


###############################################################################
# Exports #####################################################################
###############################################################################
# The ledger as files for other programs: one row per model call, one per session.
# Streamed, so that a million rows need no memory; formula-safe, because labels and
# keys are text that a stranger may have written.

EVENT_COLUMNS = (
    "event_ts", "agent_id", "session_id", "session_key", "channel", "chat_type", "origin_provider", "model_provider", "model", "api",
    "stop_reason", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "total_tokens", "cost_input", "cost_output",
    "cost_cache_read", "cost_cache_write", "cost_total", "cause", "latency_ms", "thinking_level", "reasoning_tokens", "cost_basis", "billing_mode",
    "cost_total_nano", "cost_recorded_nano", "cost_list_nano",
)  # fmt: skip
SESSION_COLUMNS = (
    "session_id", "agent_id", "session_key", "channel", "cause", "cron_job", "label", "status", "first_ms", "last_ms", "model_calls", "input_tokens",
    "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost_usd", "plan_cost_usd", "unpriced_calls", "tool_calls", "tool_errors",
    "model_errors", "aborts", "failovers", "compactions",
)  # fmt: skip
EXPORTS = (("usage_events", EVENT_COLUMNS, "ts_ms"), ("sessions", SESSION_COLUMNS, "first_ms"))


#: What makes a formula of a text, full-width forms included (OWASP, "CSV Injection").
_FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")

#: Columns of the session list as CSV: fields of a SessionRow.
LIST_COLUMNS = (
    "id", "agent", "key", "label", "channel", "cause", "cron_job", "state", "status", "model", "provider", "started_ms", "last_activity_ms", "duration_ms",
    "cost_usd", "cost_nano_usd", "tree_cost_nano_usd", "plan_cost_nano_usd", "unpriced_calls", "model_calls", "input_tokens", "output_tokens",
    "cache_read_tokens", "cache_write_tokens", "total_tokens", "tool_calls", "tool_errors", "model_errors", "aborts", "failovers", "compactions",
    "user_messages", "context_tokens", "context_window", "parent_session",
)  # fmt: skip


def session_csv(parts: Iterable[Sequence[Json]]) -> Iterator[bytes]:
    """The rows of a session list as CSV, piece by piece."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(LIST_COLUMNS)
    for rows in parts:
        writer.writerows([csv_cell(row[name]) for name in LIST_COLUMNS] for row in rows)
        yield text.getvalue().encode("utf-8", "replace")
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()


def session_json(parts: Iterable[Sequence[Json]]) -> Iterator[bytes]:
    """The rows of a session list as one JSON list, piece by piece."""
    between = b"["
    for rows in parts:
        for row in rows:
            yield between + orjson.dumps(row)
            between = b",\n"
    yield b"[]\n" if between == b"[" else b"]\n"


def csv_cell(value: Any) -> Any:
    """A value for a CSV file: text that a spreadsheet would take for a formula gets an apostrophe in front."""
    if isinstance(value, str):
        text = _CONTROL.sub("\ufffd", value)
        return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
    if isinstance(value, float):
        return f"{value:.9f}".rstrip("0").rstrip(".") if abs(value) < 1e9 else repr(value)
    return value


def export_rows(
    db: sqlite3.Connection, name: str, columns: Sequence[str], order: str
) -> Iterator[tuple[Any, ...]]:
    """The rows of an export, oldest first."""
    view = {"usage_events": "usage_events", "sessions": "usage_by_session"}[name]
    where = "WHERE model_calls > 0" if name == "sessions" else ""
    return iter(db.execute(f"SELECT {', '.join(columns)} FROM {view} {where} ORDER BY {order}"))


def write_rows(file: TextIO, form: str, columns: Sequence[str], rows: Iterable[Any]) -> int:
    """Write rows as `csv` or `json`, one at a time; how many there were."""
    count = 0
    if form == "csv":
        writer = csv.writer(file)
        writer.writerow(columns)
        for count, row in enumerate(rows, 1):  # noqa: B007 - counts
            writer.writerow([csv_cell(v) for v in row])
        return count
    file.write("[")
    for count, row in enumerate(rows, 1):
        file.write(",\n" if count > 1 else "\n")
        file.write(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False))
    file.write("\n]\n")
    return count


def write_exports(ledger: Ledger, form: str, folder: Path) -> list[tuple[Path, int]]:
    """Write usage_events and sessions as `csv` or `json` into a folder; [(file, rows)].

    Both are of one moment of the ledger, and take the place of earlier ones only when both are written.
    """
    out: list[tuple[Path, int]] = []
    partial: dict[Path, Path] = {}
    target = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ledger.reading() as db:
            for name, columns, order in EXPORTS:
                target = folder / f"{name}.{form}"
                partial[target] = folder / f".{target.name}.{os.getpid()}"
                with open(partial[target], "w", encoding="utf-8", newline="") as file:
                    rows = export_rows(db, name, columns, order)
                    out.append((target, write_rows(file, form, columns, rows)))
        for target, path in partial.items():
            os.replace(path, target)
    except OSError as error:
        msg = f"cannot write {target}: {error.strerror}; name another folder with --out-dir"
        raise ClawmeterError(msg) from error
    finally:
        for path in partial.values():
            with contextlib.suppress(OSError):
                path.unlink()
    return out


###############################################################################
# Access ######################################################################
###############################################################################
# Who may ask, and how far that goes: the dashboard token, named tokens, browser
# logins. Knows files and time, nothing of HTTP: the HTTP API section asks it.
# Stands above the application object because that one owns it.

SCOPES = ("full", "read", "metrics", "otlp")
LOGIN_S = 30 * 86_400
#: Far above what one person's browsers need; bounds the file on a shared machine.
MAX_LOGINS = 200
SECRET = re.compile(r"[\x21-\x7e]{1,512}")


@contextlib.contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Hold a lock between processes: `clawmeter token` and a login must not undo each other."""
    try:
        import fcntl
    except ImportError:  # Windows: two writers in the same millisecond, the later one wins
        yield
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def file_signature(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is replaced or rewritten; None if there is none to see."""
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_mtime_ns, info.st_ino, info.st_size


def digest_of(secret: str) -> str:
    """Return what is stored of a secret; plain SHA-256, as 256 random bits need no salt."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, slots=True)
class Grant:
    """Whom a request speaks for: `kind` dashboard, token, login or gateway, and its scope."""

    kind: str
    scope: str
    id: str

    def allows(self, method: str, path: str) -> bool:
        """Tell whether this scope covers a request (DESIGN §6)."""
        if self.scope == "full":
            return True
        if self.scope == "otlp":
            return path.startswith("/v1/")
        if method not in {"GET", "HEAD"}:
            # Whoever came in may leave again.
            return self.kind == "login" and path == "/api/logout"
        return path == "/metrics" if self.scope == "metrics" else not path.startswith("/v1/")


@dataclass(frozen=True, slots=True)
class Credential:
    """One row of access.json: a named token or a browser's login; never the secret itself."""

    id: str
    kind: str
    scope: str
    sha256: str
    created_ms: int
    expires_ms: int | None = None
    #: A token's name, a login's browser.
    label: str = ""
    remote: str | None = None
    #: What a login was made with: a named token's id or the dashboard token's; it ends with that.
    parent: str | None = None

    def row(self) -> dict[str, Any]:
        """Return what people and the API may see."""
        row = asdict(self)
        del row["sha256"], row["kind"], row["parent"]
        return row


class Attempts:
    """Counts wrong secrets: at most 10 an address and 100 altogether in five minutes.

    The loopback address does not count towards the total, so that the network
    cannot lock the machine's owner out. The same wrong secret again is no new
    guess: a scraper with a revoked token must not block its whole host.
    """

    WINDOW_S = 300.0
    PER_ADDRESS = 10
    TOTAL = 100

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_address: dict[str, deque[tuple[float, str]]] = {}

    def wait_s(self, address: str) -> int:
        """Return the seconds until this address may try again; 0 means now."""
        with self._lock:
            self._forget()
            now, waits = self._clock(), [0.0]
            mine = self._by_address.get(self._key(address)) or deque()
            if len(mine) >= self.PER_ADDRESS:
                waits.append(mine[0][0] + self.WINDOW_S - now)
            if not is_loopback(address):
                others = [rows for key, rows in self._by_address.items() if key != "own"]
                times = [at for rows in others for at, _ in rows]
                if len(times) >= self.TOTAL:
                    waits.append(min(times) + self.WINDOW_S - now)
            return math.ceil(max(waits))

    def count(self, address: str, secret: str) -> None:
        """Note one wrong secret."""
        digest = digest_of(secret)
        with self._lock:
            rows = self._by_address.setdefault(self._key(address), deque(maxlen=self.PER_ADDRESS))
            if all(seen != digest for _, seen in rows):
                rows.append((self._clock(), digest))

    def _key(self, address: str) -> str:
        import ipaddress

        if is_loopback(address):
            return "own"
        # One household's IPv6 network is a /64: its 2^64 addresses count as one.
        with contextlib.suppress(ValueError):
            return str(ipaddress.ip_network((address, 64), strict=False))
        return address

    def _forget(self) -> None:
        oldest = self._clock() - self.WINDOW_S
        for key, rows in list(self._by_address.items()):
            while rows and rows[0][0] <= oldest:
                rows.popleft()
            if not rows:
                del self._by_address[key]


class Access:
    """The credentials of one state directory, shared by every process that uses it.

    `token` holds the dashboard token in clear (it is printed as a link);
    `access.json` holds digests only. Both are looked at again whenever they
    change, so a token made or revoked by `clawmeter token` counts at once.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        settings: Settings,
        gateway_tokens: Callable[[], list[str]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.attempts = Attempts(clock)
        self._token_path = state_dir / "token"
        self._path = state_dir / "access.json"
        self._lock_path = state_dir / "access.lock"
        self._given = (settings.token or "").strip() or None
        hosts = (*settings.allowed_hosts, settings.host)
        self._allowed_hosts = tuple(host.lower().rstrip(".") for host in hosts)
        self._gateway_tokens = gateway_tokens
        self._clock = clock
        self._lock = threading.RLock()
        self._token: str | None = None
        self._token_seen: tuple[int, int, int] | None = None
        self._rows: tuple[Credential, ...] = ()
        self._rows_seen: tuple[int, int, int] | None = None
        self._damage: OSError | None = None
        self._own_names: frozenset[str] | None = None

    # -- the dashboard token

    def load_token(self) -> str:
        """Return the dashboard token, made on first use; ClawmeterError when it cannot be kept."""
        if self._given:
            if not SECRET.fullmatch(self._given):
                raise SettingsError("the given token is not 1 to 512 printable ASCII characters")
            return self._given
        with self._lock:
            seen = file_signature(self._token_path)
            if self._token is None or seen is None or seen != self._token_seen:
                # Looked at before reading: a change in between is then seen next time.
                self._token, self._token_seen = self._read_token() or self._make_token(), seen
            return self._token

    def rotate(self) -> str:
        """Make a new dashboard token; every login made with the old one ends with it."""
        if self._given:
            raise ClawmeterError("the dashboard token is given from outside; change it there")
        return self._make_token(replace=True)

    def _read_token(self) -> str | None:
        try:
            text = self._token_path.read_text("ascii").strip()
            if self._token_path.stat().st_mode & 0o077:
                log.warning("%s was readable by others; made private", self._token_path)
                self._token_path.chmod(0o600)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ClawmeterError(f"cannot read the token {self._token_path}: {error}") from error
        if text and not SECRET.fullmatch(text):
            raise ClawmeterError(f"{self._token_path} holds no token; delete it for a new one")
        return text or None

    def _make_token(self, *, replace: bool = False) -> str:
        try:
            with lock_file(self._lock_path):
                if not replace and (made := self._read_token()):  # another process was first
                    return made
                token = secrets.token_urlsafe(32)
                write_private(self._token_path, f"{token}\n".encode())
        except OSError as error:
            raise ClawmeterError(
                f"cannot write the token {self._token_path}: {error}; "
                "make the state directory writable or give one by --token-file"
            ) from error
        return token

    # -- named tokens and logins

    def create_token(self, name: str, scope: str) -> tuple[Credential, str]:
        """Make a named token; return its row and, this once, its secret."""
        if scope not in SCOPES:
            raise ClawmeterError(f"unknown scope {scope!r}; it is one of {', '.join(SCOPES)}")
        if not name.strip() or not name.isprintable() or len(name) > 64:
            raise ClawmeterError("a token's name has 1 to 64 printable characters")
        secret = "cm_" + secrets.token_urlsafe(32)
        row = Credential(
            id=secrets.token_hex(6),
            kind="token",
            scope=scope,
            sha256=digest_of(secret),
            created_ms=self._now_ms(),
            label=name.strip(),
        )
        with self._changing() as rows:
            if any(other.kind == "token" and other.label == row.label for other in rows):
                raise ClawmeterError(
                    f"there is a token named {row.label!r} already; revoke it first"
                )
            rows.append(row)
        return row, secret

    def list_tokens(self) -> list[Credential]:
        """Return the named tokens, oldest first."""
        return [row for row in self._current() if row.kind == "token"]

    def revoke_token(self, name_or_id: str) -> bool:
        """Remove a named token and the logins made with it; False if there is none such."""
        return self._remove(lambda row: row.kind == "token" and name_or_id in {row.id, row.label})

    def log_in(
        self, secret: str, *, remote: str, user_agent: str = ""
    ) -> tuple[Credential, str] | None:
        """Exchange a dashboard or named token for (a login's row, the cookie's value)."""
        grant = self._grant_of(secret)
        if grant is None or grant.scope not in {"full", "read"}:
            return None
        value, now_ms = secrets.token_urlsafe(32), self._now_ms()
        row = Credential(
            id=secrets.token_hex(6),
            kind="login",
            scope=grant.scope,
            sha256=digest_of(value),
            created_ms=now_ms,
            expires_ms=now_ms + LOGIN_S * 1000,
            label="".join(c for c in user_agent if c.isprintable())[:200],
            remote=remote,
            parent=grant.id,
        )
        try:
            with self._changing() as rows:
                logins = [other for other in rows if other.kind == "login"]
                for other in logins[: max(0, len(logins) + 1 - MAX_LOGINS)]:
                    rows.remove(other)
                rows.append(row)
        except ClawmeterError as error:
            # A full disk must not keep people from the page that says so.
            log.warning("%s; this login ends with this process", error)
        return row, value

    def list_logins(self) -> list[Credential]:
        """Return the browser logins that still count, oldest first."""
        return [row for row in self._current() if row.kind == "login" and self._is_live(row)]

    def revoke_login(self, login_id: str) -> bool:
        """End one login; False if there is none such."""
        return self._remove(lambda row: row.kind == "login" and row.id == login_id)

    # -- questions of a request

    def check_bearer(self, secret: str, *, is_private: bool) -> Grant | None:
        """Return what a Bearer secret stands for; `is_private`: it came by loopback or TLS."""
        if not SECRET.fullmatch(secret):
            return None
        grant = self._grant_of(secret)
        if grant is None and is_private:
            for known in self._gateway_tokens():
                if known.strip() and hmac.compare_digest(digest_of(known), digest_of(secret)):
                    grant = Grant("gateway", "full", "gateway")
        return grant

    def check_cookie(self, value: str) -> Grant | None:
        """Return what a login cookie stands for, None when unknown, revoked or expired."""
        row = self._find("login", value) if SECRET.fullmatch(value) else None
        return Grant("login", row.scope, row.id) if row and self._is_live(row) else None

    def holds(self, grant: Grant) -> bool:
        """Tell whether a grant given earlier still stands (long-lived streams ask)."""
        if grant.kind == "dashboard":
            return grant.id == self._dashboard_id()
        rows = self._current()
        return grant.kind == "gateway" or any(
            row.id == grant.id and self._is_live(row) for row in rows
        )

    def is_own_host(self, host: str) -> bool:
        """Tell whether a Host header names this machine; a rebound foreign name does not."""
        match = re.fullmatch(r"(\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(:[0-9]{1,5})?", host.lower())
        if not match:
            return False
        name = match[1].rstrip(".")
        if name.startswith("[") or re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){3}", name):
            return True
        if name == "localhost" or name.endswith(".localhost") or name in self._allowed_hosts:
            return True
        if any(known.startswith(".") and name.endswith(known) for known in self._allowed_hosts):
            return True
        return name in self._machine_names()

    def _machine_names(self) -> frozenset[str]:
        if self._own_names is None:
            # getfqdn may ask DNS for seconds: only for a name that nobody knows, without a lock.
            own = socket.gethostname().lower().rstrip(".")
            short = own.split(".", 1)[0]
            names = {own, short, f"{short}.local", socket.getfqdn().lower().rstrip(".")}
            self._own_names = frozenset(names - {""})
        return self._own_names

    def _grant_of(self, secret: str) -> Grant | None:
        found = None
        try:
            if hmac.compare_digest(digest_of(self.load_token()), digest_of(secret)):
                found = Grant("dashboard", "full", self._dashboard_id())
        except ClawmeterError as error:
            log.error("%s", error)
        row = self._find("token", secret)
        return found or (Grant("token", row.scope, row.id) if row else None)

    def _dashboard_id(self) -> str:
        return "dashboard-" + digest_of(self.load_token())[:16]

    def _find(self, kind: str, secret: str) -> Credential | None:
        digest, found = digest_of(secret), None
        for row in self._current():
            if hmac.compare_digest(row.sha256, digest) and row.kind == kind:
                found = row
        return found

    def _is_live(self, row: Credential) -> bool:
        if row.expires_ms is not None and row.expires_ms <= self._now_ms():
            return False
        if row.kind != "login":
            return True
        parents = {other.id for other in self._current() if other.kind == "token"}
        return row.parent in parents or row.parent == self._dashboard_id()

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    # -- the file

    def _current(self) -> tuple[Credential, ...]:
        with self._lock:
            seen = file_signature(self._path)
            if seen != self._rows_seen:
                self._rows, self._rows_seen = self._read_rows(), seen
            return self._rows

    def _read_rows(self) -> tuple[Credential, ...]:
        known = {item.name for item in fields(Credential)}
        try:
            content = orjson.loads(self._path.read_bytes())["credentials"]
            # A newer version's further fields are left alone.
            rows = [Credential(**{k: row[k] for k in known & set(row)}) for row in content]
            rows = [row for row in rows if row.scope in SCOPES and str(row.sha256).isascii()]
        except FileNotFoundError:
            self._damage, rows = None, []
        except (OSError, ValueError, TypeError, KeyError) as error:
            # Closed rather than open, and not overwritten: perhaps only `sudo` made it.
            self._damage, rows = OSError(f"it cannot be read ({error}); mend or delete it"), []
            log.error("%s cannot be read: %s; no named token or login works", self._path, error)
        else:
            self._damage = None
        return tuple(rows)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[Credential]]:
        """Give the rows to change and write them back; a failed write keeps them in memory."""
        with self._lock, contextlib.ExitStack() as stack:
            failure: OSError | None = None
            try:
                stack.enter_context(lock_file(self._lock_path))
            except OSError as error:
                failure = error
            rows = [row for row in self._current() if row.kind == "token" or self._is_live(row)]
            failure = failure or self._damage
            yield rows
            self._rows = tuple(rows)
            content = {"version": 1, "credentials": [asdict(row) for row in rows]}
            try:
                if failure:
                    raise failure
                write_private(self._path, orjson.dumps(content, option=orjson.OPT_INDENT_2))
            except OSError as error:
                raise ClawmeterError(f"cannot write {self._path}: {error}") from error
            self._rows_seen = file_signature(self._path)

    def _remove(self, is_meant: Callable[[Credential], bool]) -> bool:
        with self._changing() as rows:
            kept = [row for row in rows if not is_meant(row)]
            removed = len(kept) < len(rows)
            rows[:] = kept
        return removed


###############################################################################
# Live stream #################################################################
###############################################################################
# Server-sent events to open pages. publish() never waits: each page has its own
# small set of pending events, merged while the page is slow to take them.
# Owned by the application object; the HTTP API section turns it into answers.

MAX_STREAMS = 64
HEARTBEAT_S = 15.0
#: A page gets at most about ten events a second, four at a time.
EVENT_GAP_S = 0.1
EVENTS_AT_ONCE = 4
#: Pending sessions of one page; a page further behind is told to load anew.
MAX_PENDING = 256


class StreamsFull(ClawmeterError):  # noqa: N818 - reads as the sentence it is
    """No further stream: as many as allowed are open, or the server is going down."""


class Subscription:
    """What one page has still to be told."""

    def __init__(self, stream: Stream, is_allowed: Callable[[], bool]) -> None:
        self._stream = stream
        self._is_allowed = is_allowed
        self._wake = threading.Condition()
        self._pending: dict[tuple[str, str], Any] = {}
        self._is_closed = False

    def offer(self, event: str, data: Mapping[str, Any]) -> None:
        """Add an event; one of the same kind and session that still waits is merged or replaced."""
        with self._wake:
            if event == "usage":
                self._offer_usage(data)
            else:
                key = (event, str(data.get("session") or data.get("id") or ""))
                if key in self._pending or len(self._pending) < MAX_PENDING:
                    self._pending[key] = data
                else:
                    self._offer_usage({"truncated": True})
            self._wake.notify_all()

    def _offer_usage(self, data: Mapping[str, Any]) -> None:
        old = self._pending.get(("usage", ""), {})
        sessions = list(dict.fromkeys([*old.get("sessions", ()), *data.get("sessions", ())]))
        merged = {**old, **data}
        merged["version"] = max(old.get("version", 0), data.get("version", 0))
        merged["calls"] = old.get("calls", 0) + data.get("calls", 0)
        merged["sessions"] = sessions[:MAX_PENDING]
        if len(sessions) > MAX_PENDING or old.get("truncated"):
            merged["truncated"] = True
        # Not moved to the end: a busy session list must not starve the totals.
        self._pending[("usage", "")] = merged

    def close(self) -> None:
        """End the stream, from any thread, more than once if need be."""
        with self._wake:
            self._is_closed = True
            self._wake.notify_all()
        self._stream.forget(self)

    def frames(self) -> Iterator[bytes]:
        """Yield the stream's bytes until the page leaves, access ends or the server stops."""
        try:
            yield b"retry: 2000\n: clawmeter\n\n"
            checked = time.monotonic()
            while True:
                batch = self._take(HEARTBEAT_S)
                if batch is None:
                    return
                if not batch or time.monotonic() - checked > HEARTBEAT_S:
                    if not self._is_allowed():
                        return
                    checked = time.monotonic()
                yield b"".join(batch) or b":\n\n"
                with self._wake:
                    self._wake.wait_for(lambda: self._is_closed, EVENT_GAP_S * len(batch))
        finally:
            self.close()

    def _take(self, timeout_s: float) -> list[bytes] | None:
        with self._wake:
            self._wake.wait_for(lambda: self._is_closed or self._pending, timeout_s)
            if self._is_closed:
                return None
            keys = sorted(self._pending, key=lambda key: key[0] != "usage")[:EVENTS_AT_ONCE]
            taken = [(key[0], self._pending.pop(key)) for key in keys]
        return [
            b"event: %b\ndata: %b\n\n" % (event.encode(), to_json(data)) for event, data in taken
        ]


class Stream:
    """Tells every open page what changed."""

    def __init__(self, *, max_streams: int = MAX_STREAMS) -> None:
        self._max = max_streams
        self._lock = threading.Lock()
        self._open: set[Subscription] = set()
        self._is_closed = False
        self._on_open: Callable[[], None] | None = None

    def __len__(self) -> int:
        """Return how many pages are open."""
        return len(self._open)

    def watch(self, on_open: Callable[[], None] | None) -> None:
        """Have a server told of each new stream: it keeps one of its threads busy."""
        self._on_open = on_open

    def publish(self, event: str, data: Mapping[str, Any]) -> None:
        """Tell every open page; returns at once."""
        with self._lock:
            pages = list(self._open)
        for page in pages:
            page.offer(event, data)

    def subscribe(self, is_allowed: Callable[[], bool] = lambda: True) -> Subscription:
        """Open a stream, or raise StreamsFull; `is_allowed` is asked again at each heartbeat."""
        page = Subscription(self, is_allowed)
        with self._lock:
            if self._is_closed:
                raise StreamsFull("the server is shutting down")
            if len(self._open) >= self._max:
                raise StreamsFull(f"{self._max} live streams are open already; close a page")
            self._open.add(page)
        if self._on_open:
            self._on_open()
        return page

    def forget(self, page: Subscription) -> None:
        """Take a closed subscription off the list."""
        with self._lock:
            self._open.discard(page)

    def close(self) -> None:
        """End all streams at once and refuse new ones."""
        with self._lock:
            self._is_closed = True
            pages = list(self._open)
        for page in pages:
            page.close()


###############################################################################
# Application object ##########################################################
###############################################################################
# One Clawmeter owns everything that changes: ledger, indexer, watcher, access and
# stream. Two of them in one process work side by side.


NO_HISTORY = "%s is not Clawmeter's history module; going on without history"


def is_our_history(path: Path) -> bool:
    """Whether a module called history is Clawmeter's: read, never imported."""
    try:
        return "CLAWMETER_HISTORY" in path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def load_history() -> Any:
    """The module history.py beside this file; None without one. A foreign `history` on the path is never imported."""
    import importlib.util

    path = Path(__file__).with_name("history.py")
    if not path.is_file():
        with contextlib.suppress(ValueError):  # a module that was made by hand has no spec
            found = importlib.util.find_spec("history")
            if found and found.origin and not is_our_history(Path(found.origin)):
                log.warning(NO_HISTORY, found.origin)
        return None
    if not is_our_history(path):
        log.warning(NO_HISTORY, path)
        return None
    spec = importlib.util.spec_from_file_location("clawmeter_history", path)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Watcher:
    """Says which paths of the homes changed: by file events, by a look at known -wal files every second, and a full list every minute.

    File events need filtering: our own reads raise `opened` and `closed` events (watchdog on inotify). On network mounts,
    which raise none, everything is listed every two seconds instead.
    """

    EVENTS = frozenset({"created", "modified", "moved", "deleted"})
    NETWORK = frozenset(
        {
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "smbfs",
            "9p",
            "fuse.sshfs",
            "afs",
            "ceph",
            "glusterfs",
            "virtiofs",
            "drvfs",
        }
    )

    def __init__(self, homes: Sequence[OpenClawHome], *, poll: bool) -> None:
        self.homes = homes
        self.changed = threading.Event()
        self.lock = threading.Lock()
        self.paths: set[str] = set()
        self.watched: dict[str, tuple[int, Any]] = {}  # folder: (inode, watch)
        self.ended: set[str] = set()  # paths that were deleted or renamed: a watch of one is over
        self.observer: Any = None
        self.poll = poll

    def is_network(self, path: Path) -> bool:
        """Whether a folder is on a network file system, where file events do not come."""
        import psutil

        best, kind = "", ""
        with contextlib.suppress(OSError):
            for part in psutil.disk_partitions(all=True):
                if str(path).startswith(part.mountpoint) and len(part.mountpoint) > len(best):
                    best, kind = part.mountpoint, part.fstype
        return kind in self.NETWORK

    def start(self) -> None:
        """Begin to listen."""
        self.poll = self.poll or any(self.is_network(h.agents_folder) for h in self.homes)
        if self.poll:
            return
        from watchdog.observers import Observer

        self.observer = Observer()
        self.observer.daemon = True
        self.observer.start()
        self.refresh()

    def folders(self) -> Iterator[str]:
        """The folders in which something can happen that matters."""
        for home in self.homes:
            yield str(home.agents_folder)
            if not home.agents_folder.is_dir():
                yield str(home.path)  # to see it come
            with contextlib.suppress(SourceError):
                for agent in home.agents():
                    yield str(agent.folder)
                    yield str(agent.sessions)
                    yield str(agent.folder / "agent")
            for name in ("state", "cron", "cron/runs", "subagents"):
                yield str(home.path / name)

    def refresh(self) -> None:
        """Listen to folders that have appeared, and forget those that are gone."""
        if self.observer is None:
            return
        from watchdog.events import FileSystemEventHandler

        watcher = self

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: Any) -> None:
                if event.event_type == "modified" and event.is_directory:
                    return  # something in it was made, moved or deleted, which has an event of its own
                if event.event_type in watcher.EVENTS:
                    gone = event.is_directory and event.event_type in ("moved", "deleted")
                    watcher.note(os.fsdecode(event.src_path), is_ended=gone)
                    if event.event_type == "moved":
                        watcher.note(os.fsdecode(event.dest_path))

        closed: set[str] = set()
        while not self.poll:
            with self.lock:
                ended, self.ended = self.ended, set()
            present = self._present()
            # A folder that was deleted and made again is another one, perhaps with the same inode.
            for folder, (inode, watch) in list(self.watched.items()):
                if folder in ended or present.get(folder) != inode:
                    del self.watched[folder]
                    with contextlib.suppress(KeyError, OSError):
                        self.observer.unschedule(watch)
            new = present.keys() - self.watched.keys() - closed
            if not new:  # and none came while the last ones were not listened to yet
                return
            for folder in new:
                try:
                    watch = self.observer.schedule(Handler(), folder, recursive=False)
                    self.watched[folder] = present[folder], watch
                except (FileNotFoundError, PermissionError):
                    closed.add(folder)  # gone again, or said to be unreadable by the index
                except OSError as error:  # out of inotify watches or instances
                    log.warning("file events are not available (%s); looking every 2 s", error)
                    self.poll = True
                    break

    def _present(self) -> dict[str, int]:
        """The folders that are there, and their inodes."""
        out = {}
        for folder in self.folders():
            with contextlib.suppress(OSError):
                info = os.stat(folder)
                if stat.S_ISDIR(info.st_mode):
                    out[folder] = info.st_ino
        return out

    def note(self, path: str, *, is_ended: bool = False) -> None:
        """A path changed; `is_ended`: it was a folder, and is no more."""
        with self.lock:
            self.paths.add(path)
            if is_ended:
                self.ended.add(path)
        self.changed.set()

    def take(self) -> set[str]:
        """The paths that changed since the last call."""
        with self.lock:
            paths, self.paths = self.paths, set()
            self.changed.clear()
        return paths

    def stop(self) -> None:
        """Stop listening."""
        if self.observer is not None:
            self.observer.stop()
            self.observer.join(2)


class Clawmeter:
    """The application: reads the homes into the ledger and answers questions about it.

    `start()` begins the index and the live reading in a thread; `stop()` ends it. Raises LedgerBusyError when another
    process holds the ledger, HomeNotFound when there is nothing to read.
    """

    FULL_PASS_S = 60.0
    POLL_S = 2.0
    WAL_S = 1.0

    def __init__(
        self,
        settings: Settings,
        *,
        env: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.env = dict(os.environ if env is None else env)
        self.clock = clock
        self.homes, self.other_homes = find_homes(settings, self.env)
        self.configs = [read_config(h.path, self.env) for h in self.homes]
        self.began = time.monotonic()
        self.failures: dict[str, str] = {}
        self.stopping = threading.Event()
        self.passed = threading.Event()
        self.thread: threading.Thread | None = None
        self.gateway_state = GatewayState(clock=clock)
        self.zones: queue.Queue[str] = queue.Queue()
        self.asked_zones: set[str] = set()
        self.lists = ListPrices(cache_dir(self.env))
        self.temporary: tempfile.TemporaryDirectory[str] | None = None
        self.stack = contextlib.ExitStack()
        try:
            self._open()
        except BaseException:
            self.stack.close()
            raise

    def _open(self) -> None:
        settings = self.settings
        history = load_history() if settings.history else None
        path = settings.ledger_path
        opener: Callable[[Path], tuple[sqlite3.Connection, str | None]] = open_private
        if history is None:
            self.temporary = tempfile.TemporaryDirectory(prefix="clawmeter-ledger-")
            self.stack.callback(self.temporary.cleanup)
            path = Path(self.temporary.name) / "clawmeter.db"
        else:
            try:
                make_private_dir(path.parent)
            except OSError as error:
                msg = f"cannot use the state directory {path.parent}: {error.strerror}; name another with --state"
                raise StoreError(msg) from error
            lock = StateLock(path.with_name(f"{path.name}.lock"))
            if not lock.acquire():
                msg = f"another Clawmeter is using the ledger {path}"
                raise LedgerBusyError(msg)
            self.stack.callback(lock.release)
            opener = history.History(
                schema_version=SCHEMA_VERSION, application_id=APPLICATION_ID
            ).open
        self.stack.callback(self.lists.close)
        prices = PriceBook(settings, self.configs, self.lists)
        for attempt in (1, 2):
            try:
                self.store = Store(path, prices, opener=opener, clock=self.clock)
                self.indexer = Indexer(self.homes, self.store)
                break
            except (sqlite3.Error, OSError) as error:
                if (
                    attempt == 1
                    and isinstance(error, sqlite3.DatabaseError)
                    and "malformed" in str(error)
                ):
                    Path(
                        f"{path}.damaged"
                    ).touch()  # seen only now that it is read: set aside, and begin anew
                    continue
                msg = f"cannot open the ledger {path}: {error}"
                raise StoreError(msg) from error
        self.stack.callback(self.store.close)
        if self.store.notice:
            log.warning("%s", self.store.notice)
        self.had_data = not self.store.is_empty()
        self.queries = Queries(
            self.store, settings, homes=self.homes, configs=self.configs, clock=self.clock, indexer=self.indexer, want_zone=self.want_zone, status=self.status,
            gateway=self.gateway_state,
        )  # fmt: skip
        self.access = Access(
            settings.state_dir,
            settings=settings,
            gateway_tokens=self.gateway_tokens,
            clock=self.clock,
        )
        self.stream = Stream()
        self.gateway = self._make_gateway()
        self.store.watchers.append(self._announce)
        self.watcher = Watcher(self.homes, poll=settings.poll)

    def _make_gateway(self) -> GatewayClient:
        """The client of the first home's gateway; it does nothing until it is started."""
        home = self.homes[0].path

        def signature() -> tuple[str, int, int, int] | None:
            path = find_config(home, self.env)
            with contextlib.suppress(OSError):
                if path is not None:
                    info = os.stat(path)
                    return str(path), info.st_ino, info.st_size, info.st_mtime_ns
            return None

        return GatewayClient(
            self.settings,
            self.gateway_state,
            read_config=lambda: read_config(home, self.env),
            signature=signature,
            publish=self.stream.publish,
            is_watched=lambda: len(self.stream) > 0,
        )

    # -- answers ------------------------------------------------------------------------------------------------------

    def gateway_tokens(self) -> list[str]:
        """The gateway tokens of the homes."""
        return [c.gateway_token for c in self.configs if c.gateway_token]

    def problems(self) -> list[str]:
        """What does not work now, one sentence each."""
        lists = [self.lists.problem] if self.lists.problem else []
        return [*self.failures.values(), *self.indexer.problems.values(), *lists]

    def status(self) -> Json:
        """What queries tell about the application itself."""
        return {
            "problems": self.problems(),
            "notice": self.store.notice,
            "uptime_s": round(time.monotonic() - self.began, 1),
        }

    def readiness(self) -> tuple[bool, float]:
        """(whether the numbers can be relied on, percent indexed)."""
        progress = self.indexer.progress
        percent = (
            100.0 * progress.indexed_bytes / progress.total_bytes if progress.total_bytes else 0.0
        )
        if self.indexer.complete:
            return True, 100.0
        return self.had_data, min(percent, 99.9)

    def want_zone(self, name: str) -> None:
        """Somebody asks for the days of a zone: keep day rows for it from now on."""
        if name not in self.asked_zones and name != "UTC+0":
            self.asked_zones.add(name)
            self.zones.put(name)
            self.watcher.changed.set()

    def _announce(self, changes: Changes) -> None:
        if not len(self.stream):
            return
        with self.store.lock:
            marks = ", ".join("?" * min(len(changes.sessions), 200))
            ids = [
                r[0]
                for r in self.store.db.execute(
                    f"SELECT session_id FROM sessions WHERE id IN ({marks})",
                    list(changes.sessions)[:200],
                )
            ]
        self.stream.publish(
            "usage", {"version": self.store.version, "calls": changes.calls, "sessions": ids}
        )

    # -- running ------------------------------------------------------------------------------------------------------

    def index(self, on_progress: Callable[[Progress], None] | None = None) -> int:
        """One pass over everything, now; how many calls it gave. Raises StoreError."""
        added = self.indexer.index(on_progress)
        if self.lists.ask_again():
            self.store.prices.resolved.clear()
            self.store.reprice()
        self._note_time()
        return added

    def _note_time(self) -> None:
        with self.store.transaction():
            self.store.set_meta("as_of_ms", int(self.clock() * 1000))

    def set_price(self, name: str, price: PriceOverride | None) -> Json:
        """Keep a price for `provider/model`, or drop it with None, and count its calls anew. Raises StoreError, OSError."""
        book = self.store.prices
        with self.indexer.lock:
            models = [i for i, (p, m, _) in dict(book.names).items() if name in (f"{p}/{m}", m)]
            saved = {k: v for k, v in book.saved.items() if k != name}
            if price is not None:
                saved[name] = price
            book.save(saved)
            calls = self.store.reprice(models) if models else 0
        return {"model": name, "repriced_calls": calls, "path": str(price_file(self.settings.state_dir))}  # fmt: skip

    def ingest_now(self) -> Json:
        """One pass, for POST /api/ingest."""
        began = time.monotonic()
        added = self.index()
        with self.store.reading() as db:
            calls = db.execute("SELECT count(*) FROM model_calls").fetchone()[0]
            coverage = self.queries.coverage(db)
        return {
            "new_calls": added,
            "calls": calls,
            "seconds": round(time.monotonic() - began, 3),
            "coverage": coverage,
        }

    def start(self) -> None:
        """Index and follow the homes in a thread of their own, and listen to the gateway in another."""
        if self.settings.gateway:
            self.gateway.start()
        self.thread = threading.Thread(target=self._follow, name="follow", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End the thread and close everything, within three seconds."""
        self.stopping.set()
        self.indexer.stopping.set()
        self.watcher.changed.set()
        self.stream.close()
        self.gateway.stop()
        if self.thread is not None:
            self.thread.join(2.5)
        self.watcher.stop()
        self.stack.close()

    def _follow(self) -> None:
        """The thread: a full pass, then what changes. It outlives every error and says it."""
        self.watcher.start()
        next_full = 0.0
        next_wal = 0.0
        while not self.stopping.is_set():
            try:
                now = time.monotonic()
                if now >= next_full:
                    self._full_pass()
                    next_full = time.monotonic() + (
                        self.POLL_S if self.watcher.poll else self.FULL_PASS_S
                    )
                paths = self.watcher.take()
                if now >= next_wal:
                    next_wal = now + self.WAL_S
                    paths |= self._changed_databases()
                if paths and self._take_paths(paths):
                    next_full = 0.0
                while not self.zones.empty():
                    self.store.use_zone(self.zones.get())
                    give_back_memory()
                self.failures.pop("ledger", None)
            except StoreError as error:
                self._fail(
                    "ledger",
                    f"{error}; nothing is lost, and reading goes on when it can be written again",
                )
                next_full = time.monotonic() + 5
            except Exception as error:  # a thread must not end for one bad surprise
                log.exception("reading failed")
                self._fail("reading", f"reading failed: {plain(error)}; it is tried again")
                next_full = time.monotonic() + 5
            wait = min(next_full, next_wal) - time.monotonic()
            if wait > 0:
                self.watcher.changed.wait(wait)
                if self.watcher.changed.is_set():
                    self.stopping.wait(0.02)  # let a burst of events become one read

    def _fail(self, what: str, text: str) -> None:
        if self.failures.get(what) != text:
            log.error("%s", text)
            self.failures[what] = text
            self.stream.publish("health", {"problems": self.problems()})

    def _full_pass(self) -> None:
        first = not self.passed.is_set()
        last = 0.0

        def report(progress: Progress) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last > 0.5:
                last = now
                self.stream.publish(
                    "health",
                    {
                        "indexed_bytes": progress.indexed_bytes,
                        "total_bytes": progress.total_bytes,
                        "eta_s": progress.eta_s(now),
                    },
                )

        self.watcher.refresh()  # first: what is written to a new folder after it was read is an event then
        self.index(report if first else None)
        self.failures.pop("reading", None)
        if first:
            self.asked_zones.add(self.queries.default_zone.key)
            self.store.use_zone(self.queries.default_zone.key)
            give_back_memory()
            gc.freeze()  # what lives now lives on: looking through it again and again took 14 ms each time
            self.passed.set()
            self.stream.publish("health", {"complete": True})
            self.lists.close()

    def _changed_databases(self) -> set[str]:
        """Databases whose WAL grew without a file event (memory-mapped writes raise none on some systems)."""
        changed = set()
        for source in self.indexer.known.values():
            if source.kind == "database" and source.state == "ok":
                with contextlib.suppress(SourceError):
                    if database_signature(source.path) != (
                        source.dev,
                        source.inode,
                        source.size,
                        source.mtime_ns,
                    ):
                        changed.add(source.path)
        return changed

    def _take_paths(self, paths: set[str]) -> bool:
        """Read what changed; True when a full pass is needed to see it (new agents, files gone)."""
        full = False
        places: dict[str, TranscriptPath] = {}
        indexes: set[tuple[str, AgentPaths]] = set()
        databases: set[str] = set()
        states: set[tuple[OpenClawHome, str]] = set()
        for path in paths:
            folder, name = os.path.split(path)
            base = path.removesuffix("-wal").removesuffix("-shm")
            if base in self.indexer.databases:
                databases.add(base)
                continue
            for home in self.homes:
                agents_folder = str(home.agents_folder)
                if agents_folder in (path, folder, os.path.dirname(folder)):
                    full = full or not name.endswith((".sqlite", "-wal", "-shm"))
                    continue
                if not path.startswith(agents_folder + os.sep):
                    of_home = path.startswith(str(home.path) + os.sep)
                    known = (str(home.state_database), str(home.path / "subagents" / "runs.json"))
                    if of_home and (base in known or base.endswith(".jsonl")):
                        states.add((home, base))
                    continue
                agent_name, _, rest = path[len(agents_folder) + 1 :].partition(os.sep)
                agent = AgentPaths(
                    f"{agent_name}@{home.label}" if home.label else agent_name,
                    home.agents_folder / agent_name,
                )
                if rest.startswith("agent" + os.sep):
                    full = full or base == str(
                        agent.database
                    )  # a new one: known ones are taken above
                elif name == "sessions.json":
                    indexes.add((path, agent))
                elif found := classify_transcript(name):
                    if os.path.exists(path):
                        places[path] = TranscriptPath(
                            path, found[0], agent.name, found[1], found[2]
                        )
                    else:
                        full = True
                elif rest.count(os.sep) and "import-archive" in rest:
                    full = True
        with self.indexer.lock:
            # Indexes first: a call is then shown under its key and channel at once.
            for path, agent in indexes:
                self.indexer._read_index(path, agent)  # noqa: SLF001 - one machine in two parts
            newest = 0.0
            for place in places.values():
                self.indexer._catch_up(place)  # noqa: SLF001
                newest = max(newest, mtime(place.path))
            for path in databases:
                agent_name = self.indexer.databases[path]
                self.indexer._catch_up(TranscriptPath(path, "database", agent_name, ""))  # noqa: SLF001
                self.indexer._read_database_index(path, agent_name)  # noqa: SLF001
                newest = max(newest, mtime(f"{path}-wal"))
            for home, path in states:
                if os.path.isfile(path):
                    self.indexer._read_state(home, path)  # noqa: SLF001
            if newest:
                self.indexer.lag_ms = max(0, round((time.time() - newest) * 1000))
        return full


def cache_dir(env: Mapping[str, str]) -> Path:
    """Where what can be made again is kept."""
    base = env.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path(env.get("HOME") or Path.home()) / ".cache") / "clawmeter"


def give_back_memory() -> None:
    """Return what a first index has used to the system; glibc keeps it otherwise. Elsewhere there is nothing to do."""
    gc.collect()
    if sys.platform.startswith("linux"):
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def mtime(path: str) -> float:
    """When a file changed; 0 when it is gone."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def make_private_dir(path: Path) -> None:
    """A directory that only its owner can enter."""
    if not path.is_dir():
        path.mkdir(parents=True, mode=0o700)
        path.chmod(0o700)


###############################################################################
# HTTP API ####################################################################
###############################################################################
# ROUTES says which addresses there are, what they take and what they answer; Api
# answers those that are more than one query; create_app() puts the access checks
# before them; Server is cheroot with the limits that an open port needs.
# /api/openapi.json is made from the tables that check the input: it cannot lie.

MAX_BODY_BYTES = 1_000_000
#: USD per million tokens; a hundred times the dearest model there is.
MAX_PRICE = 100_000
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    # SameSite knows no ports: without this a page on localhost:8000 could embed our answers.
    "Cross-Origin-Resource-Policy": "same-origin",
}


class ApiError(ClawmeterError):
    """An answer that is an error: status, code for programs, message for people."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = dict(headers or {})


def to_json(value: object) -> bytes:
    """Serialise an answer; NaN becomes null, and what is not valid text is replaced."""
    try:
        return orjson.dumps(value)
    except TypeError:
        # Lone surrogates, as JavaScript's slice() leaves them, and integers above 64 bits.
        return orjson.dumps(_printable(value))


def _printable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {str(_printable(key)): _printable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_printable(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    return value


def error_body(code: str, message: str) -> dict[str, Any]:
    """Return the one shape of an error."""
    return {"error": {"code": code, "message": message}}


# Parameters and routes -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Param:
    """One query parameter: how it is described and checked."""

    name: str
    help: str
    schema: Mapping[str, Any]
    is_required: bool = False

    def complaint(self, value: str) -> str | None:
        """Say what is wrong with a value, or None. Times and zones are left to the query."""
        schema = self.schema
        if "minimum" in schema:
            low, high = schema["minimum"], schema["maximum"]
            if not re.fullmatch("[0-9]{1,15}", value) or not low <= int(value) <= high:
                return f"{self.name} is a whole number from {low} to {high}"
        elif "enum" in schema:
            if value not in schema["enum"]:
                return f"{self.name} is one of {', '.join(schema['enum'])}"
        elif "pattern" in schema:
            if not re.fullmatch(schema["pattern"].strip("^$"), value):
                return f"{self.name}: {self.help}"
        elif not schema.get("minLength", 1) <= len(value) <= schema.get("maxLength", 100):
            return f"{self.name} has 1 to {schema.get('maxLength', 100)} characters"
        return None


def _integer(low: int, high: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high}


def _one_of(words: str) -> dict[str, Any]:
    return {"type": "string", "enum": words.split()}


def _text(shortest: int, longest: int) -> dict[str, Any]:
    return {"type": "string", "minLength": shortest, "maxLength": longest}


_DAY = (
    "20([0-9]{2}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    "|02-(0[1-9]|1[0-9]|2[0-8]))|([02468][048]|[13579][26])-02-29)"
)
_CLOCK = r"T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
_OFFSET = "(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])?"
_TIME = {
    "anyOf": [
        _one_of("all today yesterday week month"),
        {"type": "string", "pattern": "^[1-9][0-9]{0,3}d$"},
        {"type": "string", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2]|W(0[1-9]|[1-4][0-9]|5[0-2]))$"},
        {"type": "string", "pattern": f"^{_DAY}({_CLOCK}{_OFFSET})?$"},
        {"type": "string", "pattern": "^1[0-9]{12}$"},
    ]
}
_NAME = _text(1, 1000)
RANGE = (
    Param(
        "from",
        "start: an ISO date, week, month or time, epoch ms, today, week, month, 7d or all",
        _TIME,
    ),
    Param("to", "end, excluded; a bare day, week or month as the end is included", _TIME),
    Param("tz", "IANA time zone: Europe/Berlin", {"$ref": "#/components/schemas/Zone"}),
)
PAGE = (
    Param("limit", "rows at most", _integer(1, 10_000)),
    Param("offset", "rows to skip", _integer(0, 10**9)),
)
FILTERS = (
    Param("agent", "only this agent", _NAME),
    Param("model", "only this model, as recorded", _NAME),
    Param("provider", "only this provider", _NAME),
    Param("channel", "only this channel", _NAME),
    Param("cause", "only this: user, cron, heartbeat, hook, subagent or unknown", _NAME),
)
SEARCH = Param("q", "text to look for", _text(0, 1000))
BY_PARAM = Param(
    "by",
    "what a row stands for",
    _one_of(
        "hour day week month model provider provider_model agent channel cause session "
        "session_key cron_job tool hour_of_week"
    ),
)
SPLIT = (
    Param("split", "what each row is split by", BY_PARAM.schema),
    Param("parts", "keys of the split that have a part of their own (12)", _integer(1, 100)),
    Param(
        "compare", "before: the span before as well, as far as this one has come", _one_of("before")
    ),
)
USAGE_SORT = Param(
    "sort",
    "order of the rows: key or label ascending, a figure descending",
    _one_of(
        "key label cost_usd cost_nano_usd model_calls input_tokens output_tokens "
        "cache_read_tokens cache_write_tokens total_tokens recorded_cost_nano_usd "
        "plan_cost_nano_usd unpriced_calls"
    ),
)
SESSION_SORT = Param(
    "sort",
    "column to order by",
    _one_of(
        "last_activity_ms started_ms duration_ms total_cost tree_cost_nano_usd message_count "
        "total_tokens tool_calls tool_errors model_errors errors context_share agent model channel "
        "cause label id"
    ),
)
ORDER = (SESSION_SORT, Param("order", "direction", _one_of("asc desc")))
SESSION_FILTERS = (
    *(SEARCH, *FILTERS),
    Param("state", "only this state", _one_of("running idle ended")),
    Param("has", "only sessions with these", _one_of("errors compactions subagents unpriced")),
    *RANGE,
)
_KIND = "(messages|tools|errors|thinking)"
_KINDS_LIST = {"type": "string", "pattern": f"^{_KIND}(,{_KIND}){{0,3}}$"}
KINDS = Param("kinds", "which entries, by comma: messages, tools, errors, thinking", _KINDS_LIST)
_MOMENT = _integer(0, LATEST_MS)


@dataclass(frozen=True, slots=True)
class Route:
    """One address: what it takes and answers (a shape of SHAPES)."""

    path: str
    #: The method of Api that answers it, else the query of that name.
    name: str
    help: str
    answer: str
    params: tuple[Param, ...] = ()
    method: str = "GET"
    is_open: bool = False
    media: str = "application/json"

    def flask_path(self) -> str:
        """Return the path as Flask writes it; its last part is any text, slashes included."""
        return re.sub(r"\{(\w+)\}$", r"<text:\1>", self.path).replace("{", "<").replace("}", ">")

    def arguments(self, given: Mapping[str, list[str]]) -> dict[str, str | None]:
        """Check a query string and return all parameters, `from` as `from_`, None if not given."""
        known = {param.name: param for param in self.params}
        for name, values in given.items():
            if name not in known:
                takes = ", ".join(known) or "none"
                message = f"unknown parameter {name!r}; {self.path} takes: {takes}"
                raise ApiError(400, "unknown_parameter", message)
            if len(values) > 1:
                raise ApiError(400, "bad_parameter", f"{name} is given {len(values)} times")
            if complaint := known[name].complaint(values[0]):
                raise ApiError(400, "bad_parameter", complaint)
        for param in self.params:
            if param.is_required and param.name not in given:
                message = f"{param.name} is missing: {param.help}"
                raise ApiError(400, "missing_parameter", message)
        return {
            "from_" if name == "from" else name: given[name][0] if name in given else None
            for name in known
        }


ROUTES = (
    Route(
        "/api/overview",
        "overview",
        "All that the first page shows",
        "Overview",
        (*RANGE, *FILTERS),
    ),
    Route(
        "/api/search",
        "search",
        "Sessions, agents and models with a text in their name, key or id",
        "Found",
        (Param("q", "text to look for", _text(1, 200), is_required=True),),
    ),
    Route(
        "/api/usage",
        "usage",
        "Calls, tokens and cost of a range, grouped",
        "Usage",
        (
            *(*RANGE, BY_PARAM, *FILTERS, USAGE_SORT, *PAGE, *SPLIT),
            Param("session", "only this session id", _NAME),
        ),
    ),
    Route("/api/summary", "summary", "Cost of today, 7 days, month, ever", "Summary", RANGE[2:]),
    Route(
        "/api/daily",
        "daily",
        "Cost and tokens by day",
        "[Day]",
        (Param("days", "how many days", _integer(1, 3660)), RANGE[2]),
    ),
    Route(
        "/api/sessions",
        "sessions",
        "Sessions; X-Total-Count says how many there are in all",
        "[SessionRow]",
        (*PAGE, *ORDER, *SESSION_FILTERS),
    ),
    Route(
        "/api/session-list",
        "session_list",
        "A page of sessions with the sums over all that the filters leave",
        "SessionList",
        (*PAGE, *ORDER, *SESSION_FILTERS),
    ),
    Route(
        "/api/sessions.csv",
        "sessions_csv",
        "All sessions that the filters leave, as a file",
        "text",
        (*ORDER, *SESSION_FILTERS),
        media="text/csv",
    ),
    Route(
        "/api/sessions.json",
        "sessions_json",
        "All sessions that the filters leave, as a file",
        "[SessionRow]",
        (*ORDER, *SESSION_FILTERS),
    ),
    Route("/api/sessions/{session_id}", "session", "One session in full", "Session"),
    Route(
        "/api/timeline",
        "timeline",
        "A session's calls and tools on one time axis",
        "Timeline",
        (
            Param("session", "a session id", _NAME, is_required=True),
            Param("since_ms", "from this moment on, in epoch ms", _MOMENT),
            Param("until_ms", "before this moment, in epoch ms", _MOMENT),
        ),
    ),
    Route(
        "/api/turns/{session_id}",
        "turns",
        "A session in turns, from user message to user message: time, tokens, cost, errors",
        "Turns",
        PAGE,
    ),
    Route(
        "/api/transcript/{session_id}",
        "transcript",
        "A session's entries, read from OpenClaw's own storage",
        "Transcript",
        (
            *(KINDS, *PAGE, SEARCH),
            Param("at_ms", "begin at the first entry from this moment on", _MOMENT),
            Param("clip", "cut longer texts to this many characters", _integer(1, MAX_TEXT)),
        ),
    ),
    Route(
        "/api/find-entry/{session_id}",
        "find_entry",
        "The next entry of a transcript that has a text or is of a kind",
        "FoundEntry",
        (
            *(KINDS, SEARCH),
            Param("start", "number of the entry to begin at", _integer(0, 10**9)),
            Param("back", "1 to look towards the beginning", _one_of("0 1")),
            Param("among", "count only entries of these kinds, by comma", _KINDS_LIST),
        ),
    ),
    Route(
        "/api/subagents",
        "subagents",
        "Sub-agents, newest first",
        "[Subagent]",
        (*PAGE, Param("session", "only those below this session", _NAME)),
    ),
    Route("/api/models", "models", "Cost by model", "[Model]"),
    Route("/api/top-sessions", "top_sessions", "Dearest sessions", "[SessionRow]", PAGE[:1]),
    Route("/api/alerts", "alerts", "Alerts, latest first", "[Alert]"),
    Route(
        "/api/cache",
        "cache",
        "What the prompt cache saved and cost, and where it broke",
        "Cache",
        (*RANGE, *FILTERS),
    ),
    Route(
        "/api/compared",
        "comparison",
        "Recorded cost against list prices",
        "Comparison",
        (*RANGE, *FILTERS),
    ),
    Route(
        "/api/composition",
        "composition",
        "What prompts were made of",
        "Composition",
        (*RANGE, *FILTERS),
    ),
    Route(
        "/api/explain",
        "explain",
        "How a cost came about: calls, tokens and prices of each model",
        "Explanation",
        (*RANGE, *FILTERS, Param("session", "only this session id", _NAME)),
    ),
    Route("/api/prices", "prices", "Prices that people set", "[SetPrice]"),
    Route("/api/prices", "set_price", "Set the price of a model", "Repriced", method="POST"),
    Route(
        "/api/prices/{model}",
        "drop_price",
        "Forget a price that was set",
        "Repriced",
        method="DELETE",
    ),
    Route("/api/ingest", "ingest", "Read what is new, now", "Ingest", method="POST"),
    Route("/api/health", "health", "Sources, store, process: what is wrong", "Health"),
    Route("/api/stream", "stream", "Changes as they happen", "text", media="text/event-stream"),
    Route(
        "/api/login",
        "login",
        "Exchange a token for a cookie",
        "LoggedIn",
        method="POST",
        is_open=True,
    ),
    Route("/api/logout", "logout", "End this login", "LoggedOut", method="POST"),
    Route("/api/logins", "logins", "Browsers that are logged in", "[Login]"),
    Route("/api/logins/{login_id}", "end_login", "Log a browser out", "LoggedOut", method="DELETE"),
    Route("/api/openapi.json", "openapi", "This description", "o"),
    Route("/metrics", "metrics", "Totals for Prometheus", "text", media="text/plain"),
    Route("/healthz", "healthz", "Whether the process answers", "Alive", is_open=True),
    Route("/readyz", "readyz", "Whether the numbers are complete", "Alive", is_open=True),
    Route("/", "index", "The page", "text", is_open=True, media="text/html"),
    Route("/assets/{digest}/{name}", "asset", "A page's file", "text", is_open=True, media="*/*"),
)

# The description -------------------------------------------------------------

#: name:kind, where s is text, i an integer, n a number, b a boolean, o an object, a anything,
#: `pair` a name and a number, `stretch` a kind, its begin and its length, Name a shape, =a,b one of these words, x|y one or the other, [x] a
#: list, x? perhaps null; `name?` may be missing; +Name has all of Name's.
SHAPES = {
    "Totals": "model_calls:i input_tokens:i output_tokens:i cache_read_tokens:i "
    "cache_write_tokens:i total_tokens:i cost_usd:n cost_nano_usd:i recorded_cost_nano_usd:i "
    "plan_cost_nano_usd:i unpriced_calls:i",
    "Coverage": "complete:b indexed_bytes:i total_bytes:i bad_lines:i unreadable:i "
    "implausible:i as_of_ms:i",
    "Part": "key:s label:s +Totals",
    "Row": "parts?:[Part] +Part",
    "Before": "from_ms:i to_ms:i totals:Totals rows:[Row]",
    "Usage": "from_ms:i to_ms:i tz:s by:s totals:Totals rows:[Row] row_count:i coverage:Coverage "
    "split?:s parts?:[Part] before?:Before?",
    "Summary": "today:n week:n month:n allTime:n sessions:i messages:i budgetDaily:n? "
    "budgetMonthly:n?",
    "Day": "date:s cost:n input_tokens:i output_tokens:i messages:i",
    "Model": "model:s provider:s total_cost:n message_count:i +Totals",
    "SessionRow": "id:s agent:s key:s? channel:s? chat_type:s? origin_provider:s? cause:s "
    "cron_job:s? label:s? model:s? provider:s? state:=running,idle,ended inferred:b status:s? run:Run? "
    "started_ms:i? last_activity_ms:i? duration_ms:i? total_cost:n message_count:i "
    "tree_cost_nano_usd:i parent_session:s? parent_key:s? user_messages:i tool_calls:i "
    "tool_errors:i model_errors:i aborts:i compactions:i failovers:i context_tokens:i? "
    "context_window:i? thinking_level:s? stored_as:s? +Totals",
    "Run": "running:b doing:s? "
    "tool:s? since_ms:i? started_ms:i? runs:i model:s? provider:s? context_tokens:i? "
    "context_window:i?",
    "SessionModel": "provider:s model:s +Totals",
    "ToolUse": "tool:s calls:i errors:i p50_ms:i? p95_ms:i?",
    "Prompt": "generated_ms:i system_chars:i project_chars:i skills_chars:i tools_list_chars:i "
    "tools_schema_chars:i files:[pair] tools:[pair] skills:[pair]",
    "StoredIn": "path:s kind:s state:s",
    "CopiedFrom": "session:s calls:i",
    "Session": "models:[SessionModel] tools:[ToolUse] subagents:[SessionRow] prompt:Prompt? "
    "copied_calls:i copied_from:[CopiedFrom] sources:[StoredIn] as_of_ms:i coverage:Coverage "
    "+SessionRow",
    "SessionList": "rows:[SessionRow] offset:i limit:i total:i totals:Totals as_of_ms:i tz:s "
    "coverage:Coverage",
    "Turn": "n:i from_ms:i to_ms:i duration_ms:i models:[s] new_model:s? is_heartbeat:b "
    "latency_ms:i model_ms:i tool_ms:i wait_ms:i tool_calls:i tool_errors:i model_errors:i "
    "retries:i aborts:i failovers:i compactions:i subagents:i subagent_cost_nano_usd:i "
    "stretches:[stretch] +Totals",
    "Turns": "session:s turns:[Turn] total:i skipped:i skipped_totals:Totals coverage:Coverage",
    "FoundEntry": "session:s n:i? next:i? total:i",
    "Subagent": "depth:i run_id:s? run_label:s? run_status:s? run_created_ms:i? "
    "run_started_ms:i? run_ended_ms:i? +SessionRow",
    "TimelineCall": "ts_ms:i kind:=model_call latency_ms:i? provider:s model:s stop_reason:s? "
    "input_tokens:i output_tokens:i cache_read_tokens:i cache_write_tokens:i cost_nano_usd:i? "
    "cost_basis:s billing_mode:=metered,plan tools:[s] is_heartbeat:b is_failover:b",
    "TimelineEvent": "ts_ms:i? kind:s tool:s? is_error:b duration_ms:i?",
    "Timeline": "session:s items:[TimelineCall|TimelineEvent] coverage:Coverage",
    "EntryUsage": "input:i? output:i? cacheRead:i? cacheWrite:i? totalTokens:i? reasoningTokens:i?",
    "ToolCall": "id:s? name:s arguments:a",
    "Entry": "n:i id:s? parent_id:s? ts_ms:i? kind:s role:s? text:s thinking:[s] "
    "tool_calls:[ToolCall] tool_name:s? tool_call_id:s? is_error:b duration_ms:i? model:s? "
    "provider:s? usage:EntryUsage? cost_nano_usd:i? stop_reason:s? error:s? images:i source:s clipped:b",
    "Transcript": "session:s entries:[Entry] offset:i limit:i total:i available:b sources:[s] "
    "reason:s?",
    "Alert": "",
    "Ingest": "new_calls:i calls:i seconds:n coverage:Coverage",
    "Span": "from_ms:i to_ms:i totals:Totals before:Totals spark_nano_usd:[i]",
    "MonthEnd": "projected_nano_usd:i? low_nano_usd:i? high_nano_usd:i? days_used:i basis:s",
    "Figures": "today:Span week:Span month:Span month_end:MonthEnd",
    "Series": "key:s label:s cost_nano_usd:[i] total_nano_usd:i",
    "ByDay": "days:[s] partial_last:b series:[Series]",
    "AllTime": "sessions:i +Totals",
    "Activity": "ts_ms:i kind:=started,ended,failed,compacted session:s agent:s label:s? text:s",
    "Action": "label:s href:s",
    "Attention": "level:=warn,bad kind:s text:s action:Action",
    "SourceStrip": "openclaw_versions:[s] homes:[s] agents:i sessions:i files:i databases:i "
    "indexed_percent:n eta_s:n? lag_ms:i? ledger_bytes:i disk_free_bytes:i rss_bytes:i gateway:s",
    "Budgets": "daily_usd:n? monthly_usd:n?",
    "Overview": "as_of_ms:i tz:s from_ms:i to_ms:i coverage:Coverage figures:Figures "
    "budgets:Budgets all_time:AllTime by_day:ByDay by_cause:[Row] by_agent:[Row] by_model:[Row] "
    "top_sessions:[SessionRow] live:[SessionRow] activity:[Activity] attention:[Attention] "
    "source:SourceStrip gateway:Gateway",
    "Gateway": "status:=off,connecting,connected,unreachable,refused,incompatible,unusable text:s "
    "url:s? version:s? protocol:i? uptime_s:n? connected_ms:i? suspended:b problem:s? "
    "what_to_do:s? last_error:s? event_loop:EventLoop? live_runs:i capabilities:[s] missing:[s] "
    "frames:Frames",
    "EventLoop": "degraded:b delay_p99_ms:n? utilization:n?",
    "Frames": "received:i malformed:i oversized:i out_of_order:i gaps:i late:i ignored:i "
    "connects:i",
    "CacheUse": "model_calls:i prompt_tokens:i cache_read_tokens:i cache_write_tokens:i "
    "saved_nano_usd:i? write_cost_nano_usd:i? write_extra_nano_usd:i?",
    "CacheModel": "key:s label:s +CacheUse",
    "CacheDay": "key:s prompt_tokens:i cache_read_tokens:i",
    "CacheBreak": "ts_ms:i gap_ms:i lost_tokens:i reason:=compacted,model,expired,changed session:s "
    "agent:s label:s? model:s",
    "Cache": "from_ms:i to_ms:i tz:s totals:CacheUse unpriced_models:[s] rows:[CacheModel] "
    "days:[CacheDay] breaks:[CacheBreak]",
    "Pair": "recorded_nano_usd:i list_nano_usd:i list_differs_percent:n?",
    "PairRow": "key:s label:s +Pair",
    "Comparison": "rows:[PairRow] +Pair",
    "PromptSizes": "system_chars:i files_chars:i skills_chars:i tools_chars:i prompt_tokens:i "
    "output_tokens:i",
    "PromptRow": "session:s agent:s key:s? label:s? model_calls:i cost_nano_usd:i files:[pair] "
    "+PromptSizes",
    "Composition": "from_ms:i to_ms:i tz:s sessions:i measured_sessions:i average:PromptSizes? "
    "rows:[PromptRow]",
    "Tier": "input:i output:i cache_read:i cache_write:i above:i",
    "TariffInfo": "basis:s tiers:[Tier]",
    "Term": "provider:s model:s basis:s billing_mode:=metered,plan model_calls:i input_tokens:i "
    "output_tokens:i cache_read_tokens:i cache_write_tokens:i cost_nano_usd:i? "
    "recorded_nano_usd:i list_nano_usd:i? input_usd:n? output_usd:n? cache_read_usd:n? "
    "cache_write_usd:n? price:TariffInfo? price_changed:b",
    "Explanation": "from_ms:i to_ms:i tz:s totals:Totals parts:[Term]",
    "SetPrice": "model:s input:n? output:n? cache_read:n? cache_write:n? "
    "source:=clawmeter.toml,prices.toml",
    "PriceBody": "model:s input:n output:n cache_read?:n? cache_write?:n?",
    "Repriced": "model:s repriced_calls:i path:s",
    "Hit": "kind:=session,agent,model key:s label:s agent:s? channel:s? last_activity_ms:i? "
    "model_calls:i cost_nano_usd:i",
    "Found": "q:s results:[Hit]",
    "Source": "path:s kind:s agent:s state:s bad_lines:i last_error:s? size_bytes:i? "
    "indexed_bytes:i schema_version:i?",
    "Problem": "level:=warn,bad text:s what_to_do:s",
    "Implausible": "session:s ts_ms:i? reason:s usage:s",
    "Ledger": "path:s size_bytes:i sessions:i model_calls:i messages:i notice:s?",
    "Home": "path:s found_by:s version:s? problem:s?",
    "Process": "rss_bytes:i threads:i uptime_s:n?",
    "Health": "status:=ok,degraded version:s coverage:Coverage sources:[Source] "
    "problems:[Problem] implausible:[Implausible] store:Ledger gateway:Gateway homes:[Home] "
    "process:Process",
    "Token": "token:s",
    "LoggedIn": "scope:s expires_ms:i",
    "LoggedOut": "logged_out:b",
    "Login": "id:s scope:s created_ms:i expires_ms:i label:s remote:s? current:b",
    "Alive": "status:s",
    "ErrorText": "code:s message:s",
    "Error": "error:ErrorText indexed_percent?:n",
}
_KINDS: dict[str, dict[str, Any]] = {
    "s": {"type": "string"},
    "i": {"type": "integer"},
    "n": {"type": "number"},
    "b": {"type": "boolean"},
    "o": {"type": "object"},
    "text": {"type": "string"},
    "pair": {
        "type": "array",
        "prefixItems": [{"type": "string"}, {"type": "integer"}],
        "minItems": 2,
        "maxItems": 2,
    },
    "stretch": {
        "type": "array",
        "prefixItems": [
            {"type": "string", "enum": ["model", "failed", "tool", "subagent"]},
            {"type": "integer"},
            {"type": "integer"},
        ],
        "minItems": 3,
        "maxItems": 3,
    },
    "a": {},
    "": {},
}


def _schema(kind: str) -> dict[str, Any]:
    if kind.endswith("?"):
        return {"anyOf": [_schema(kind[:-1]), {"type": "null"}]}
    if kind.startswith("["):
        return {"type": "array", "items": _schema(kind[1:-1])}
    if kind.startswith("="):
        return {"type": "string", "enum": kind[1:].split(",")}
    if "|" in kind:
        return {"anyOf": [_schema(one) for one in kind.split("|")]}
    return dict(_KINDS[kind]) if kind in _KINDS else {"$ref": f"#/components/schemas/{kind}"}


def _shape(words: str) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for word in words.split():
        name, _, kind = word.partition(":")
        if name.startswith("+"):
            base = _shape(SHAPES[name[1:]])
            properties |= base["properties"]
            required += base["required"]
        else:
            properties[name.rstrip("?")] = _schema(kind)
            required += [] if name.endswith("?") else [name]
    return {"type": "object", "properties": properties, "required": required}


def describe_api() -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of every route."""
    from zoneinfo import available_timezones

    schemas = {name: _shape(words) for name, words in SHAPES.items()}
    schemas["Token"] |= {"additionalProperties": False, "properties": {"token": _text(1, 512)}}
    schemas["PriceBody"]["additionalProperties"] = False
    for name in PRICE_BODY:
        schemas["PriceBody"]["properties"][name] |= {"minimum": 0, "maximum": MAX_PRICE}
    schemas["PriceBody"]["properties"]["model"] = _NAME
    schemas["Zone"] = {"type": "string", "enum": sorted(available_timezones())}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Clawmeter",
            "version": VERSION,
            "description": "Cost and activity of OpenClaw agents. Exact money is in whole "
            "nano-dollars, time in epoch milliseconds; null is not known.",
        },
        "security": [{"bearer": []}, {"cookie": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "clawmeter_3377"},
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    def body(kind: str, media: str = "application/json") -> dict[str, Any]:
        return {media: {"schema": _schema(kind)}}

    def error(description: str) -> dict[str, Any]:
        return {"description": description, "content": body("Error")}

    parts = re.findall(r"\{(\w+)\}", route.path)
    params: list[dict[str, Any]] = [
        *({"name": part, "in": "path", "required": True, "schema": _NAME} for part in parts),
        *(
            {
                "name": param.name,
                "in": "query",
                "required": param.is_required,
                "description": param.help,
                "schema": param.schema,
            }
            for param in route.params
        ),
    ]
    answers: dict[str, dict[str, Any]] = {
        "200": {"description": route.help, "content": body(route.answer, route.media)},
        "400": error("a parameter or the body is wrong; the message names it"),
        "default": error("any other error"),
    }
    if route.name == "sessions":
        count = {"required": True, "schema": {"type": "integer", "minimum": 0}}
        answers["200"]["headers"] = {"X-Total-Count": count}
        first = "$response.body#/0/id"
        answers["200"]["links"] = {
            "session": {"operationId": "session", "parameters": {"session_id": first}},
            "transcript": {"operationId": "transcript", "parameters": {"session_id": first}},
            "timeline": {"operationId": "timeline", "parameters": {"session": first}},
        }
    if not route.is_open or route.name == "login":
        answers["401"] = error("no valid credential")
        answers["403"] = error("the credential does not allow this")
    if parts:
        answers["404"] = error("there is no such thing")
    result: dict[str, Any] = {"operationId": route.name, "summary": route.help}
    result |= {"parameters": params, "responses": answers}
    result |= {"security": []} if route.is_open else {}
    if route.name == "login":
        answers["429"] = error("too many wrong tokens; Retry-After says how long to wait")
        result["requestBody"] = {"required": True, "content": body("Token")}
    if route.name == "set_price":
        answers["404"] = error("no call of this model is in the ledger")
        result["requestBody"] = {"required": True, "content": body("PriceBody")}
    if route.name in {"set_price", "drop_price"}:
        answers["409"] = error("the price is in clawmeter.toml")
    return result


# Answers ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Call:
    """One request that passed the checks."""

    request: Request
    grant: Grant | None
    args: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Blob:
    """A text that stays while we run, compressed once."""

    media: str
    plain: bytes
    packed: bytes

    @classmethod
    def of(cls, media: str, text: str) -> Blob:
        """Compress a text as far as it goes."""
        import gzip

        plain = text.encode()
        return cls(media, plain, gzip.compress(plain, 9, mtime=0))

    def send(self, request: Request, cache: str) -> Response:
        """Answer with the text, compressed if the client takes that."""
        headers = {"Cache-Control": cache, "Vary": "Accept-Encoding"}
        if not takes_gzip(request):
            return make_response(self.plain, self.media, headers=headers)
        headers["Content-Encoding"] = "gzip"
        return make_response(self.packed, self.media, headers=headers)


class Api:
    """Answers the routes that are more than one query with the route's parameters."""

    def __init__(self, meter: Clawmeter, index_html: str) -> None:
        self._meter = meter
        self._index = Blob.of("text/html; charset=utf-8", index_html)
        self._assets = {name: Blob.of(*asset) for name, asset in ASSETS.items()}

    def sessions(self, call: Call) -> Response:
        """List sessions, and say how many there are in all."""
        rows, total = self._meter.queries.sessions(**call.args)
        return json_response(call.request, rows, headers={"X-Total-Count": str(total)})

    def sessions_csv(self, call: Call) -> Response:
        """Send the sessions of a list as CSV."""
        rows = self._meter.queries.export_sessions(**call.args)
        headers = {"Content-Disposition": 'attachment; filename="sessions.csv"'}
        return make_response(session_csv(rows), "text/csv; charset=utf-8", headers=headers)

    def sessions_json(self, call: Call) -> Response:
        """Send the sessions of a list as JSON."""
        rows = self._meter.queries.export_sessions(**call.args)
        headers = {"Content-Disposition": 'attachment; filename="sessions.json"'}
        return make_response(session_json(rows), "application/json", headers=headers)

    def timeline(self, call: Call) -> object:
        """Show one session's time axis."""
        return self._meter.queries.timeline(call.args.pop("session") or "", **call.args)

    def cache(self, call: Call) -> object:
        """Say what the prompt cache did."""
        return self._meter.queries.cache(self._meter.store.prices, **call.args)

    def explain(self, call: Call) -> object:
        """Say how a cost came about."""
        return self._meter.queries.explain(self._meter.store.prices, **call.args)

    def prices(self, _call: Call) -> object:
        """List the prices that people set."""
        book = self._meter.store.prices
        return [
            {
                "model": name,
                **{
                    field: float(p.prices[field]) if field in p.prices else None
                    for field in PRICE_BODY
                },
                "source": "clawmeter.toml" if name in book.settings.prices else "prices.toml",
            }
            for name, p in sorted(book.overrides.items())
        ]

    def set_price(self, call: Call) -> object:
        """Keep a price, and count the model's calls anew."""
        name, price = read_price(call.request)
        self._check_price_name(name)
        return self._meter.set_price(name, price)

    def drop_price(self, _call: Call, model: str) -> object:
        """Forget a price that was set on the Cost page."""
        self._check_price_name(model)
        if model not in self._meter.store.prices.saved:
            raise ApiError(404, "price_not_found", "there is no such price")
        return self._meter.set_price(model, None)

    def _check_price_name(self, name: str) -> None:
        book = self._meter.store.prices
        if name in book.settings.prices:
            message = "this price is in clawmeter.toml; change it there"
            raise ApiError(409, "price_in_settings", message)
        if name not in {f"{p}/{m}" for p, m, _ in dict(book.names).values()} | book.saved.keys():
            message = "no call of this model is in the ledger; its name is provider/model"
            raise ApiError(404, "model_not_found", message)

    def ingest(self, _call: Call) -> object:
        """Read what is new."""
        return self._meter.ingest_now()

    def metrics(self, _call: Call) -> Response:
        """Give Prometheus the totals."""
        return make_response(*render_prometheus(self._meter))

    def openapi(self, _call: Call) -> object:
        """Describe the API."""
        return describe_api()

    def healthz(self, _call: Call) -> object:
        """Say that the process answers."""
        return {"status": "alive"}

    def readyz(self, call: Call) -> object:
        """Say whether the numbers are complete."""
        is_ready, percent = self._meter.readiness()
        if is_ready:
            return {"status": "ready"}
        body = error_body("indexing", f"the first index is under way: {percent:.0f} %")
        body["indexed_percent"] = round(percent, 1)
        return json_response(call.request, body, status=503, headers={"Retry-After": "2"})

    def stream(self, call: Call) -> Response:
        """Send changes until the page leaves or its credential ends."""
        grant, access = call.grant, self._meter.access
        if call.request.method == "HEAD":
            return make_response(b"", "text/event-stream")
        try:
            page = self._meter.stream.subscribe(lambda: grant is not None and access.holds(grant))
        except StreamsFull as error:
            raise ApiError(503, "too_many_streams", str(error), {"Retry-After": "5"}) from error
        connection = call.request.environ.get("clawmeter.connection")
        if connection is not None:
            connection.on_hangup = page.close
        # nginx would hold the events back.
        headers = {"X-Accel-Buffering": "no"}
        response = make_response(page.frames(), "text/event-stream", headers=headers)
        response.call_on_close(page.close)
        return response

    def login(self, call: Call) -> Response:
        """Exchange a token for a cookie."""
        request, access = call.request, self._meter.access
        remote = request.remote_addr or ""
        refuse_after_many(access, remote)
        secret = read_token(request)
        made = access.log_in(
            secret, remote=remote, user_agent=request.headers.get("User-Agent", "")
        )
        if made is None:
            access.attempts.count(remote, secret)
            message = "this is not a token of this Clawmeter; `clawmeter token` shows it"
            raise ApiError(401, "wrong_token", message)
        login, value = made
        response = json_response(request, {"scope": login.scope, "expires_ms": login.expires_ms})
        set_cookie(response, request, value, LOGIN_S)
        return response

    def logout(self, call: Call) -> Response:
        """End the login that asks."""
        grant = call.grant
        is_login = grant is not None and grant.kind == "login"
        ended = grant is not None and is_login and self._meter.access.revoke_login(grant.id)
        response = json_response(call.request, {"logged_out": ended})
        set_cookie(response, call.request, "", 0)
        return response

    def logins(self, call: Call) -> object:
        """List the browsers that are logged in."""
        own = call.grant.id if call.grant else None
        return [{**row.row(), "current": row.id == own} for row in self._meter.access.list_logins()]

    def end_login(self, _call: Call, login_id: str) -> object:
        """Log a browser out."""
        if not self._meter.access.revoke_login(login_id):
            raise ApiError(404, "login_not_found", "there is no such login; it may have ended")
        return {"logged_out": True}

    def index(self, call: Call) -> Response:
        """Send the page."""
        response = self._index.send(call.request, "no-cache")
        response.set_etag(hashlib.sha256(self._index.plain).hexdigest()[:16], weak=True)
        response.make_conditional(call.request)
        return response

    def asset(self, call: Call, digest: str, name: str) -> Response:
        """Send one of the page's files, to be kept for a year: another text, another digest."""
        if digest != ASSET_DIGEST or name not in self._assets:
            raise ApiError(404, "not_found", "there is no such file; reload the page")
        return self._assets[name].send(call.request, "public, max-age=31536000, immutable")


def render_prometheus(meter: Clawmeter) -> tuple[bytes, str]:
    """Return the totals as Prometheus reads them and their media type; all from the usage query."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector

    names = ("provider", "model", "agent")

    class Totals(Collector):
        def collect(self) -> Iterator[Any]:
            def counter(name: str, text: str, *more: str) -> CounterMetricFamily:
                return CounterMetricFamily(f"clawmeter_{name}", text, labels=(*names, *more))

            calls, cost = (
                counter("model_calls", "Model calls."),
                counter("cost_usd", "Cost in USD."),
            )
            unpriced = counter("unpriced_calls", "Model calls without a known price.")
            tokens = counter("tokens", "Tokens.", "type")
            by_agent = meter.queries.usage(from_="all", by="agent")
            for agent in (row["key"] for row in by_agent["rows"]):
                usage = meter.queries.usage(from_="all", by="provider_model", agent=agent)
                for row in usage["rows"]:
                    provider, _, model = row["key"].partition("/")
                    labels = (provider, model, agent)
                    calls.add_metric(labels, row["model_calls"])
                    cost.add_metric(labels, row["cost_nano_usd"] / 1e9)
                    unpriced.add_metric(labels, row["unpriced_calls"])
                    for kind in ("input", "output", "cache_read", "cache_write"):
                        tokens.add_metric((*labels, kind), row[f"{kind}_tokens"])
            yield from (calls, tokens, cost, unpriced)
            coverage = by_agent["coverage"]
            for name in ("indexed_bytes", "total_bytes", "bad_lines", "unreadable", "implausible"):
                yield GaugeMetricFamily(f"clawmeter_{name}", "Coverage.", value=coverage[name])
            yield GaugeMetricFamily("clawmeter_streams", "Open pages.", value=len(meter.stream))
            info = GaugeMetricFamily("clawmeter_build_info", "Who answers.", labels=("version",))
            info.add_metric((VERSION,), 1)
            yield info

    # Not auto_describe: it would collect once more, only to look for double names.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Totals())
    return generate_latest(registry), CONTENT_TYPE_LATEST


def make_response(
    body: bytes | Iterator[bytes],
    media: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Build an answer with the headers that every answer carries."""
    from flask import Response

    response = Response(body, status, content_type=media)
    response.headers.update({**SECURITY_HEADERS, "Cache-Control": "no-store", **(headers or {})})
    return response


def json_response(
    request: Request, value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Build a JSON answer, compressed where that pays and the client takes it."""
    import gzip

    body, extra = to_json(value), {"Vary": "Accept-Encoding", **(headers or {})}
    if len(body) > 1024 and takes_gzip(request):
        body, extra["Content-Encoding"] = gzip.compress(body, 5, mtime=0), "gzip"
    return make_response(body, "application/json", status=status, headers=extra)


def takes_gzip(request: Request) -> bool:
    """Tell whether the client says that it unpacks gzip."""
    return "Accept-Encoding" in request.headers and request.accept_encodings.quality("gzip") > 0


def read_token(request: Request) -> str:
    """Read {"token": "…"} from a body; ApiError says what is wrong with it."""
    if request.mimetype != "application/json":
        raise ApiError(415, "not_json", "send the token as application/json")
    try:
        body = orjson.loads(read_body(request))
    except ValueError as error:
        raise ApiError(400, "bad_body", "the body is not JSON") from error
    if not isinstance(body, dict) or set(body) != {"token"} or not isinstance(body["token"], str):
        raise ApiError(400, "bad_body", 'the body is not {"token": "…"}')
    if not 1 <= len(body["token"]) <= 512:
        raise ApiError(400, "bad_body", "a token has 1 to 512 characters")
    return body["token"]


#: What a price is made of, in USD per million tokens.
PRICE_BODY = ("input", "output", "cache_read", "cache_write")


def read_price(request: Request) -> tuple[str, PriceOverride]:
    """Read {"model": "provider/model", "input": 3, …} from a body; ApiError says what is wrong with it."""
    if request.mimetype != "application/json":
        raise ApiError(415, "not_json", "send the price as application/json")
    try:
        body = orjson.loads(read_body(request))
    except ValueError as error:
        raise ApiError(400, "bad_body", "the body is not JSON") from error
    if not isinstance(body, dict) or not body.keys() <= {"model", *PRICE_BODY}:
        raise ApiError(400, "bad_body", f"a price has model, {', '.join(PRICE_BODY)}")
    name = body.get("model")
    if not isinstance(name, str) or not 1 <= len(name) <= 1000:
        raise ApiError(400, "bad_body", "model is the provider/model that the price is for")
    prices = {}
    for kind in PRICE_BODY:
        value = body.get(kind)
        if value is None and kind not in ("input", "output"):
            continue
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not 0 <= value <= MAX_PRICE
        ):
            message = f"{kind} is a number from 0 to {MAX_PRICE}, in USD per million tokens"
            raise ApiError(400, "bad_body", message)
        prices[kind] = Decimal(str(value))
    return name, PriceOverride(prices)


def read_body(request: Request) -> bytes:
    """Read a body of at most MAX_BODY_BYTES, also one sent in chunks."""
    from cheroot.errors import MaxSizeExceeded

    # Not by werkzeug's get_data(): it cuts a chunked body at the limit and says nothing.
    length, is_chunked = request.content_length or 0, request.environ.get("wsgi.input_terminated")
    wanted = MAX_BODY_BYTES + 1 if is_chunked else min(length, MAX_BODY_BYTES + 1)
    try:
        body = bytes(request.environ["wsgi.input"].read(wanted))
    except (MaxSizeExceeded, OSError, ValueError) as error:
        # Of one chunk above its own limit cheroot says this, of all else something else.
        is_large, body = "Too Large" in str(error), b""
    else:
        is_large = len(body) > MAX_BODY_BYTES
    if is_large:
        message = f"the body has more than {MAX_BODY_BYTES} bytes"
        raise ApiError(413, "request_entity_too_large", message)
    if len(body) < (1 if is_chunked else wanted):
        raise ApiError(400, "bad_body", "the body did not arrive whole")
    return body


def set_cookie(response: Response, request: Request, value: str, max_age_s: int) -> None:
    """Set the cookie of a login; no seconds remove it."""
    name, secure = cookie_name(request), is_tls(request)
    response.set_cookie(name, value, max_age_s, secure=secure, httponly=True, samesite="Strict")


def cookie_name(request: Request) -> str:
    """Return the cookie's name. It holds the port: cookies themselves know none."""
    return f"clawmeter_{request.environ.get('SERVER_PORT', '')}"


# Checks ----------------------------------------------------------------------


def is_tls(request: Request) -> bool:
    """Tell whether our own listener encrypted this; what a proxy claims does not count."""
    return bool(request.environ.get("wsgi.url_scheme") == "https")


def is_private(request: Request) -> bool:
    """Tell whether nobody on a network could listen: TLS, or loopback without a proxy."""
    is_proxied = any(
        name in {"HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP"}
        or name.startswith("HTTP_X_FORWARDED")
        for name in request.environ
    )
    return is_tls(request) or (is_loopback(request.remote_addr or "") and not is_proxied)


def refuse_after_many(access: Access, remote: str) -> None:
    """Raise 429 for an address that guessed too often."""
    if wait_s := access.attempts.wait_s(remote):
        message = f"too many wrong tokens; try again in {wait_s} s"
        raise ApiError(429, "too_many_attempts", message, {"Retry-After": str(wait_s)})


def identify(access: Access, request: Request) -> Grant | None:
    """Return whom a request speaks for. An Authorization header decides alone, right or wrong."""
    header = request.headers.get("Authorization")
    if header is None:
        return access.check_cookie(request.cookies.get(cookie_name(request), ""))
    match = re.fullmatch(r"bearer +(\S+)", header.strip(), re.IGNORECASE)
    secret, remote = match[1] if match else "", request.remote_addr or ""
    if is_private(request):
        # Not counted: who could guess here can read the token's file, and a script with an old
        # token must not shut its owner out.
        return access.check_bearer(secret, is_private=True)
    refuse_after_many(access, remote)
    grant = access.check_bearer(secret, is_private=False)
    if grant is None and secret:
        access.attempts.count(remote, secret)
    return grant


def check_site(request: Request) -> None:
    """Refuse what another site's page asks for, where the browser says so."""
    if request.headers.get("Sec-Fetch-Site", "none") not in {"same-origin", "none"}:
        raise ApiError(403, "wrong_origin", "another site's page asked for this")


def check_origin(request: Request) -> None:
    """Refuse a change unless our own page asks for it."""
    scheme = "https" if is_tls(request) else "http"
    own = f"{scheme}://{request.environ.get('HTTP_HOST', '')}".lower()
    if request.headers.get("Origin", "").lower() != own:
        message = f"a change needs Authorization: Bearer or Origin: {own}"
        raise ApiError(403, "wrong_origin", message)
    check_site(request)


def check_access(access: Access, request: Request) -> Grant | None:
    """Check a request before all else and return whom it speaks for (DESIGN §6)."""
    host, method, path = request.environ.get("HTTP_HOST", ""), request.method, request.path
    if not access.is_own_host(host):
        message = f"not a name of this server: {host[:100]!r}; use its IP address or allowed_hosts"
        raise ApiError(421, "host_not_allowed", message)
    is_open = path in {"/", "/healthz", "/readyz", "/api/login"} or path.startswith("/assets/")
    has_header = "Authorization" in request.headers
    grant = identify(access, request) if has_header or not is_open else None
    if grant is None and not is_open:
        message = (
            "no valid credential: log in at /, or send Authorization: Bearer with the token "
            "that `clawmeter token` shows"
        )
        headers = {"WWW-Authenticate": 'Bearer realm="clawmeter"'}
        raise ApiError(401, "no_credential", message, headers)
    if method not in {"GET", "HEAD"} and not (grant and has_header):
        check_origin(request)
    elif grant and not has_header:
        # Cookies know no ports: a page on localhost:8000 could use up our streams.
        check_site(request)
    if grant and not is_open and not grant.allows(method, path):
        message = f"{method} {path[:100]} is not in the scope of this credential: {grant.scope}"
        raise ApiError(403, "wrong_scope", message)
    return grant


def create_app(meter: Clawmeter) -> Flask:
    """Build the WSGI application of one Clawmeter; two in one process do not meet."""
    from flask import Flask, g, request
    from werkzeug.exceptions import HTTPException
    from werkzeug.routing import BaseConverter

    class AnyText(BaseConverter):
        # Session keys may begin with a slash, which werkzeug's own path converter does not take.
        regex = r"[\s\S]+"
        part_isolating = False

    app = Flask(__name__, static_folder=None, template_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.converters["text"] = AnyText
    app.url_map.merge_slashes = False
    template = app.jinja_env.from_string(INDEX_HTML)
    api = Api(meter, template.render(digest=ASSET_DIGEST, version=VERSION))

    def fail(
        status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        return json_response(request, error_body(code, message), status=status, headers=headers)

    @app.before_request
    def check() -> None:
        g.grant = check_access(meter.access, request)

    @app.errorhandler(ApiError)
    def on_api_error(error: ApiError) -> Response:
        return fail(error.status, error.code, error.message, error.headers)

    @app.errorhandler(QueryError)
    def on_query_error(error: QueryError) -> Response:
        return fail(error.status, error.code, error.message)

    @app.errorhandler(ClawmeterError)
    def on_clawmeter_error(error: ClawmeterError) -> Response:
        # Ours, with advice in it: a full disk, another process's lock.
        log.warning("%s %s: %s", request.method, request.path, error)
        return fail(503, "unavailable", str(error))

    @app.errorhandler(HTTPException)
    def on_http_exception(error: HTTPException) -> Response:
        methods = getattr(error, "valid_methods", None)
        headers = {"Allow": ", ".join(sorted(methods))} if methods else {}
        code = re.sub(r"\W+", "_", error.name.lower())
        return fail(error.code or 500, code, error.description or error.name, headers)

    @app.errorhandler(Exception)
    def on_exception(error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.path, exc_info=error)
        return fail(500, "internal_error", "this failed; the server's log says why")

    def serve(route: Route) -> Callable[..., Response]:
        handler = getattr(api, route.name, None)

        def view(**parts: str) -> Response:
            call = Call(request, g.grant, route.arguments(request.args.to_dict(flat=False)))
            if handler:
                answer = handler(call, **parts)
            else:
                answer = getattr(meter.queries, route.name)(*parts.values(), **call.args)
            return (
                answer if isinstance(answer, app.response_class) else json_response(request, answer)
            )

        return view

    for route in ROUTES:
        app.add_url_rule(route.flask_path(), route.name, serve(route), methods=[route.method])
    return app


# Server ----------------------------------------------------------------------

THREADS = 10
#: Above those and one a stream: clients that send or take their bytes slowly hold one each.
SPARE_THREADS = 40
MAX_CONNECTIONS = 512
READ_S = 10
WRITE_S = 120


def has_hung_up(connection: socket.socket) -> bool:
    """Tell whether the other side has gone; False where the system cannot say."""
    import select

    if not hasattr(select, "poll"):
        return False  # Windows: the next heartbeat finds out
    poll = select.poll()
    try:
        poll.register(connection, getattr(select, "POLLRDHUP", 0))
        return bool(poll.poll(0))
    except (OSError, ValueError):  # closed meanwhile
        return True


def shut(connection: socket.socket, how: int) -> None:
    """Shut a socket from another thread, so that whoever waits on it wakes up."""
    with contextlib.suppress(OSError):
        # The plain socket's method: TLS's own would take the session from under its user.
        socket.socket.shutdown(connection, how)


def build_wsgi_server(
    app: Flask, bind: tuple[str, int], stream: Stream, tls: tuple[Path, Path] | None
) -> Any:
    """Build cheroot's server with what it lacks for an open port.

    As it comes (11.1: server.py, connections.py, workers/threadpool.py) a silent
    connection holds a thread for ten seconds and a TLS handshake holds everyone,
    unread chunks are taken for the next request, a refused upload is reset before
    its answer is read, the parser's errors are bare text, a page that has gone is
    noticed at the second heartbeat, and quick calls of shrink() are forgotten.
    """
    import ssl

    from cheroot import connections, server, wsgi
    from cheroot.ssl.builtin import BuiltinSSLAdapter
    from cheroot.workers import threadpool

    class Headers(server.HeaderReader):
        def _allow_header(self, key_name: bytes) -> bool:
            # Sec_Fetch_Site and Sec-Fetch-Site are one in WSGI's environ.
            return b"_" not in key_name

    class Request(server.HTTPRequest):
        header_reader = Headers()

        def read_request_line(self) -> bool:
            try:
                return bool(super().read_request_line())  # type: ignore[no-untyped-call]
            except ValueError:  # from urlsplit, which cheroot expects for bad Unicode only
                self.simple_response("400 Bad Request", "this address cannot be")
                return False

        def read_request_headers(self) -> bool:
            if not super().read_request_headers():  # type: ignore[no-untyped-call]
                return False
            length = self.inheaders.get(b"Content-Length")
            if length is not None and (self.chunked_read or not length.isdigit()):
                self.simple_response("400 Bad Request", "this Content-Length cannot be")
                return False
            return True

        def respond(self) -> None:
            if self.chunked_read:
                self.close_connection = self.conn.must_drain = True
            super().respond()

        def send_headers(self) -> None:
            self.conn.read_by, self.conn.write_by = None, time.monotonic() + WRITE_S
            super().send_headers()
            if self.close_connection and vars(self.rfile).get("remaining"):
                self.conn.must_drain = True

        def simple_response(self, status: str, msg: str = "") -> None:
            reason = str(status)[4:]
            code = re.sub(r"\W+", "_", reason.lower())
            self.close_connection = self.conn.must_drain = True
            self.conn.write_error(str(status), code, msg or reason)

    class Connection(server.HTTPConnection):
        RequestHandlerClass = Request
        #: The moments (monotonic) by which the request must be here, the answer taken.
        read_by: float | None = None
        write_by: float | None = None
        #: Set by a live stream: called when its page has gone.
        on_hangup: Callable[[], None] | None = None
        must_drain = False
        needs_handshake = tls is not None

        def communicate(self) -> bool:
            self.read_by = time.monotonic() + READ_S
            try:
                return self._shake_hands() and bool(super().communicate())  # type: ignore[no-untyped-call]
            finally:
                self.read_by = self.write_by = self.on_hangup = None

        def _shake_hands(self) -> bool:
            if self.needs_handshake:
                try:
                    self.socket.do_handshake()
                except OSError as error:
                    log.debug("TLS handshake with %s failed: %s", self.remote_addr, error)
                    if "HTTP_REQUEST" in str(getattr(error, "reason", "")):
                        self.write_error("400 Bad Request", "https_only", "this port is HTTPS")
                    return False
                self.needs_handshake = False
            return True

        def write_error(self, status: str, code: str, message: str) -> None:
            body = to_json(error_body(code, message))
            lines = {
                **SECURITY_HEADERS,
                "Cache-Control": "no-store",
                "Connection": "close",
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            answer = f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1", "replace") + body
            with contextlib.suppress(OSError):
                # Without a handshake there is no session to write through: in clear then.
                send = socket.socket.sendall if self.needs_handshake else type(self.socket).sendall
                send(self.socket, answer)

        def close(self) -> None:
            if self.must_drain:
                self._drain()
            with contextlib.suppress(OSError):
                super().close()
            self.socket.close()

        def _drain(self) -> None:
            # Closing with bytes unread resets the connection: the client sees that, not why.
            shut(self.socket, socket.SHUT_WR)
            until, left = time.monotonic() + 1.0, 8 * MAX_BODY_BYTES
            with contextlib.suppress(OSError, ValueError):
                while left > 0 and (wait_s := until - time.monotonic()) > 0:
                    self.socket.settimeout(wait_s)
                    got = len(socket.socket.recv(self.socket, 65_536))
                    left = left - got if got else 0

    class Connections(connections.ConnectionManager):
        server: Any
        _selector: Any

        def put(self, conn: Any) -> None:
            try:
                super().put(conn)
            except (KeyError, OSError, ValueError):  # the server stopped, or the client went
                conn.close()
            else:
                if not self.server.ready:  # close() may have gone through the list already
                    conn.close()

        def stop(self) -> None:
            self._stop_requested = True
            with contextlib.suppress(OSError):  # wakes select(), which else sleeps on
                socket.create_connection(self.server.bind_addr, 0.5).close()
            super().stop()

        def _expire(self, threshold: float) -> None:
            super()._expire(threshold)  # type: ignore[misc]
            self.server.look_after()

    class Pool(threadpool.ThreadPool):
        _threads: list[Any]

        def most(self) -> int:
            return THREADS + len(stream)

        def put(self, obj: Any) -> None:
            super().put(obj)
            if self.qsize > self.idle and len(self._threads) < self.most() + SPARE_THREADS:
                self._threads.append(self._spawn_worker())

        def make_room(self) -> None:
            if len(self._threads) < self.most():
                self.grow(1)

        def tidy(self) -> None:
            # Only those that idle: a busy one's notice would queue in front of new requests.
            self.shrink(min(len(self._threads) - self.most(), self.idle))
            names = {worker.name for worker in self._threads}
            for name in set(self.server.stats["Worker Threads"]) - names:
                self.server.stats["Worker Threads"].pop(name, None)

        def connections(self) -> list[Any]:
            return [conn for worker in list(self._threads) if (conn := worker.conn) is not None]

        def _spawn_worker(self) -> Any:
            worker = threadpool.WorkerThread(self.server)  # type: ignore[no-untyped-call]
            worker.daemon = True  # one that hangs in a query must not keep the process
            worker.name = f"http-{worker.name}"
            worker.start()
            return worker

        @staticmethod
        def _force_close(conn: Any) -> None:
            if conn is not None:
                shut(conn.socket, socket.SHUT_RDWR)

    class Gateway(wsgi.Gateway_10):
        def get_environ(self) -> dict[str, Any]:  # type: ignore[override]
            environ: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]
            # cheroot takes the scheme from "GET https://…" and keeps %2F as it is.
            environ["wsgi.url_scheme"] = "https" if tls else "http"
            path = self.req.uri.split(b"?", 1)[0]
            if path.startswith(b"/"):
                environ["PATH_INFO"] = urllib.parse.unquote_to_bytes(path).decode("latin-1")
            # How IPv4 clients look on a socket for both families.
            environ["REMOTE_ADDR"] = environ["REMOTE_ADDR"].removeprefix("::ffff:")
            environ["clawmeter.connection"] = self.req.conn
            return environ

    class TlsAdapter(BuiltinSSLAdapter):
        def __init__(self, certificate: Path, private_key: Path) -> None:
            self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.context.load_cert_chain(certificate, private_key)

        def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, str]]:
            # The handshake comes in a worker's time, not in that of the accepting thread.
            context: ssl.SSLContext = self.context
            tls_socket = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            return tls_socket, {"HTTPS": "on"}

    class WsgiServer(wsgi.Server):
        ConnectionClass = Connection
        max_request_header_size = 32_768
        #: Above our own limit, which answers better; this one keeps a single chunk out of memory.
        max_request_body_size = MAX_BODY_BYTES + 65_536
        keep_alive_conn_limit = 128
        bind_error: OSError | None = None
        _connections: Any

        def bind(self, family: int, type: int, proto: int = 0) -> socket.socket:  # noqa: A002
            address, nodelay, adapter = self.bind_addr, self.nodelay, self.ssl_adapter
            sock: socket.socket = self.prepare_socket(
                address, family, type, proto, nodelay, adapter
            )
            try:
                sock.bind(address)
            except OSError as error:
                self.bind_error = error
                sock.close()
                raise
            self.socket, self.bind_addr = sock, sock.getsockname()[:2]
            return sock

        def prepare(self) -> None:
            super().prepare()
            self._connections.close()
            self._connections = Connections(self)

        def process_conn(self, conn: Any) -> None:
            if conn.last_used is not None:
                super().process_conn(conn)
            elif len(self._connections._selector) < MAX_CONNECTIONS:  # noqa: SLF001
                # A new one waits for its first byte in the selector, not in a worker.
                self._connections.put(conn)
            else:
                conn.close()

        def look_after(self) -> None:
            now = time.monotonic()
            for conn in self.requests.connections():
                # Taken once: its worker may finish meanwhile and reset them.
                on_hangup, read_by, write_by = conn.on_hangup, conn.read_by, conn.write_by
                if on_hangup:
                    if has_hung_up(conn.socket):
                        on_hangup()
                elif read_by and now > read_by:
                    shut(conn.socket, socket.SHUT_RD)
                elif write_by and now > write_by:
                    shut(conn.socket, socket.SHUT_RDWR)
            self.requests.tidy()

        def error_log(
            self,
            msg: str = "",
            level: int = logging.INFO,
            traceback: bool = False,  # noqa: FBT001, FBT002 (as cheroot calls it)
        ) -> None:
            level = level if level > logging.INFO else logging.DEBUG
            log.log(level, "http: %s", msg, exc_info=traceback)

    result = WsgiServer(
        bind,
        app,
        server_name="Clawmeter",
        request_queue_size=128,
        timeout=READ_S,
        shutdown_timeout=1,
    )
    result.software = "Clawmeter"
    result.gateway = Gateway
    result.requests = Pool(result, min=THREADS)
    if tls:
        result.ssl_adapter = TlsAdapter(*tls)
    return result


class Server:
    """The listening side: cheroot on one port, from start() to stop()."""

    def __init__(self, meter: Clawmeter, app: Flask | None = None) -> None:
        self._meter = meter
        self._app = app or create_app(meter)
        self._wsgi: Any = None
        self._bound = ("", 0)

    def start(self) -> None:
        """Listen, and answer in threads of its own; ClawmeterError says why it cannot."""
        settings = self._meter.settings
        self._meter.access.load_token()  # better no server than one that nobody can enter
        hosts = [settings.host]
        if settings.lan:
            # One socket for both families where the system has that.
            hosts = ["::", "0.0.0.0"] if socket.has_dualstack_ipv6() else ["0.0.0.0"]  # noqa: S104
        for host in hosts:
            try:
                self._wsgi = self._listen(host)
                break
            except ClawmeterError:
                if host == hosts[-1]:
                    raise
        self._bound = self._wsgi.bind_addr
        self._meter.stream.watch(self._wsgi.requests.make_room)
        threading.Thread(target=self._wsgi.serve, name="http", daemon=True).start()

    def _listen(self, host: str) -> Any:
        import errno

        settings = self._meter.settings
        cert, key, port = settings.tls_cert, settings.tls_key, settings.port
        if bool(cert) != bool(key):
            raise SettingsError("TLS needs a certificate and its key: give both or neither")
        tls = (cert, key) if cert and key else None
        try:
            wsgi = build_wsgi_server(self._app, (host, port), self._meter.stream, tls)
        except OSError as error:  # ssl.SSLError is one
            raise SettingsError(f"cannot use {cert} with {key} for TLS: {error}") from error
        try:
            wsgi.prepare()
        except OSError as error:
            cause = wsgi.bind_error or error
            advice = {
                errno.EADDRINUSE: "something listens there, perhaps another Clawmeter "
                "(`clawmeter status` says): stop it or choose another --port",
                errno.EACCES: "the system reserves it: choose a --port above 1023",
                errno.EADDRNOTAVAIL: "this machine has no such address: choose another --host",
            }.get(cause.errno or 0, str(cause))
            raise ClawmeterError(f"cannot listen on {host} port {port}: {advice}") from error
        return wsgi

    @property
    def port(self) -> int:
        """The real port, also when 0 was asked for."""
        return int(self._bound[1])

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page."""
        host = self._bound[0]
        return self._url_of("127.0.0.1" if host in {"::", "0.0.0.0"} else host)  # noqa: S104

    @property
    def urls(self) -> list[str]:
        """Where browsers find the page: `url`, then this machine's addresses on its networks."""
        import psutil

        addresses = [row for rows in psutil.net_if_addrs().values() for row in rows]
        hosts = [row.address for row in addresses if row.family == socket.AF_INET]
        outer = [host for host in hosts if self._meter.settings.lan and not is_loopback(host)]
        return [self.url, *map(self._url_of, outer)]

    def _url_of(self, host: str) -> str:
        scheme = "https" if self._meter.settings.tls_cert else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def stop(self, timeout_s: float = 2.5) -> None:
        """End all streams, then the server; returns in `timeout_s` even where a query hangs."""
        wsgi, self._wsgi = self._wsgi, None
        if wsgi is None:
            return
        self._meter.stream.watch(None)
        self._meter.stream.close()
        stopper = threading.Thread(target=wsgi.stop, name="http-stop", daemon=True)
        stopper.start()
        stopper.join(timeout_s)
        if stopper.is_alive():
            log.warning("a request outlasts the server's %.1f s to stop; left behind", timeout_s)
        # cheroot enters each server in a table of the process and never takes it out.
        getattr(logging, "statistics", {}).pop(f"Cheroot HTTPServer {id(wsgi)}", None)


###############################################################################
# Demo home ###################################################################
###############################################################################
# A made-up OpenClaw home for people without one: an install that began with
# JSONL transcripts (2026.6.11) and was upgraded to SQLite (2026.9.6). DemoTalk
# turns scripts into transcript rows, make_demo_home() plays sixty days of them,
# DemoWriter goes on live. Shares no code with the reader: it must not help it.
# Tables and lists of columns are read across here, not down:
# fmt: off


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A model and its USD per million tokens: input, output, cache read, cache write."""

    provider: str
    name: str
    api: str
    price: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class DemoAgent:
    """One agent: who it is, what it runs on, how often people talk to it."""

    name: str
    job: str
    models: tuple[str, ...]  # the usual one, its fallback, then others for some conversations
    thread: str  # its standing conversation, as OpenClaw writes it in a session key
    per_day: tuple[float, float]  # conversations on a working day, on a weekend day
    hours: tuple[float, float, float]  # first, last and busiest local hour
    prompt: int  # tokens of its system prompt and tools
    bulk: float  # how large its tool results are


@dataclass(slots=True)
class DemoSession:
    """One session while it is being made."""

    agent: str
    key: str
    session_id: str
    model: DemoModel
    ts_ms: int  # of its newest row
    channel: str | None = None
    chat_type: str | None = None
    label: str | None = None
    parent: DemoSession | None = None
    depth: int = 0
    fork_of: tuple[DemoSession, str] | None = None
    fate: str = "live"  # live, reset or deleted
    status: str = "done"
    first_ms: int = 0
    usual: DemoModel | None = None  # while it is on its fallback
    context: int = 0  # tokens the provider has seen
    fresh: int = 0  # tokens it has not seen yet
    called_ms: int = 0  # the last model call: its prompt cache lives for five minutes
    last_id: str | None = None
    last_usage: dict[str, Any] = field(default_factory=dict)
    topics: list[str] = field(default_factory=list)
    rows: list[DemoRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DemoRow:
    """One transcript entry."""

    session: DemoSession
    ts_ms: int
    event: dict[str, Any]


DEMO_HEARTBEAT_MODEL = "claude-haiku-4-5"
DEMO_MODELS = {model.name: model for model in (
    DemoModel("anthropic", "claude-opus-4-6", "anthropic-messages", (5, 25, 0.5, 6.25)),
    DemoModel("anthropic", "claude-sonnet-4-6", "anthropic-messages", (3, 15, 0.3, 3.75)),
    DemoModel("anthropic", "claude-haiku-4-5", "anthropic-messages", (1, 5, 0.1, 1.25)),
    DemoModel("openai", "gpt-5.2", "openai-responses", (1.75, 14, 0.175, 0)),
    DemoModel("openai-codex", "gpt-5.2-codex", "openai-codex-responses", (1.75, 14, 0.175, 0)),
    DemoModel("google", "gemini-3.1-pro-preview", "google-generative-ai", (2, 12, 0.2, 0)),
    DemoModel("openrouter", "moonshotai/kimi-k2.5", "openai-completions", (0.6, 3, 0.1, 0)),
    DemoModel("northwind", "northwind-large", "openai-completions", (0.8, 3.2, 0.08, 0)),
    DemoModel("northwind", "northwind-preview", "openai-completions", (0, 0, 0, 0)),
    DemoModel("ollama", "qwen3:32b", "openai-completions", (0, 0, 0, 0)),
)}
DEMO_AGENTS = {
    "main": DemoAgent("Juniper", "household, calendar and errands",
        ("claude-sonnet-4-6", "gpt-5.2", "gemini-3.1-pro-preview", "qwen3:32b"),
        "telegram:direct:550142077", (2.2, 2.8), (7, 22.5, 19), 21_000, 3.0),
    "research": DemoAgent("Marlow", "reading, comparing and summing up",
        ("gemini-3.1-pro-preview", "claude-sonnet-4-6", "moonshotai/kimi-k2.5", "claude-opus-4-6"),
        "discord:channel:118204417733590016", (1.4, 0.6), (9, 21, 14), 26_000, 4.4),
    "coder": DemoAgent("Tess", "code, tests and releases",
        ("claude-opus-4-6", "gpt-5.2", "claude-sonnet-4-6", "northwind-preview"),
        "discord:channel:118204417733590272", (3.2, 0.5), (8.5, 19, 11), 38_000, 4.5),
    "support": DemoAgent("Nora", "answers to customers",
        ("gpt-5.2", "claude-haiku-4-5", "northwind-large", "gpt-5.2"),
        "slack:channel:c07f3q9k2ab", (3.2, 0.3), (8, 18, 10), 32_000, 6.5),
    "ops": DemoAgent("Felix", "servers, backups and certificates",
        ("gpt-5.2-codex", "claude-sonnet-4-6", "qwen3:32b", "gpt-5.2-codex"),
        "slack:channel:c05r8t1m6yz", (1.4, 0.3), (7.5, 20, 13), 30_000, 4.0),
}
#: Whose newest conversation goes on while the demo runs, and how lively it is.
DEMO_LIVE = {"main": 3, "coder": 1, "support": 3}
#: Cron jobs: name, agent, model, schedule, and the same as local hours and weekdays (Monday is 0).
DEMO_CRONS = (
    ("morning-briefing", "main", "claude-sonnet-4-6", "0 7 * * *", (7.0,), range(7)),
    ("inbox-triage", "support", "northwind-large", "0 8,13 * * 1-5", (8.0, 13.0), range(5)),
    ("backup-check", "ops", "qwen3:32b", "30 3 * * *", (3.5,), range(7)),
    ("weekly-report", "research", "gemini-3.1-pro-preview", "0 8 * * 1", (8.0,), range(1)),
)
#: What each tool's arguments are called, in the order the scripts write them.
DEMO_TOOLS = {
    "exec": ("command",), "read": ("path",), "write": ("path", "content"),
    "edit": ("path", "oldText", "newText"), "web_search": ("query",), "web_fetch": ("url",),
    "memory_search": ("query",), "message": ("to", "text"),
}
#: Since 2026.8 all other tools are called through `tool_call`.
DEMO_DIRECT_TOOLS = ("exec", "read", "write", "edit")
#: Tokens of a result, least and most: a model reads more than these short transcripts show.
DEMO_RESULT_TOKENS = {"read": (1500, 8000), "web_fetch": (3000, 12000), "web_search": (900, 2600)}
DEMO_WORDS = {
    "area": ("auth", "billing", "search", "upload", "export", "notifications", "invoices"),
    "service": ("ledger-api", "image-proxy", "mailer", "scheduler", "api-gateway", "webhooks"),
    "host": ("elm", "cedar", "rowan", "birch", "alder"),
    "day": ("Monday", "Tuesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "food": ("mushrooms", "dairy", "nuts", "gluten", "fennel"),
    "city": ("Lisbon", "Turin", "Ghent", "Graz", "Aarhus", "Porto"),
    "item": ("desk lamp", "trail backpack", "kitchen scale", "wool blanket", "travel kettle"),
    "topic": ("heat pumps", "e-ink displays", "balcony solar", "cargo bikes", "night trains"),
    "n": ("4", "5", "6", "7", "8", "9", "12"),
}
#: "# agent: title", then > says the user, ~ thinks, < answers, & label: task starts a sub-agent,
#: "tool: arguments => result" (=! when it fails). A line that begins with a space goes on.
DEMO_SCRIPTS = r"""
# main: Dinner for {n} on {day}
> Can you plan a dinner for {n} on {day}? One of them does not eat {food}.
memory_search: dinner guests oven => 2 notes: "oven runs hot, minus 10 degrees", "big pot holds 6 l"
< How about lemon risotto, a green salad and pear crumble? All of it works without {food},
 and everything but the risotto can be made an hour ahead.
> Good. Put the shopping list into the household notes.
write: household/shopping.md | 500 g risotto rice\n4 lemons\n1 kg pears\n2 lettuce => wrote 11 lines
< Done: 11 lines, sorted by shop. The lemons are on it twice on purpose, half are for the salad.
# main: A weekend in {city}
> We want to take the train to {city} on {day} and be back two days later. What does it take?
web_search: night train {city} timetable => 1. Timetable, direct at 21:34\n2. Seat reservation
web_fetch: https://rail.example/timetable/{num} => 21:34 to 07:12, 1 change, bikes on request
~ The direct train leaves late enough to finish work first; the way back has a tight change.
< There is a train at 21:34 that arrives at 07:12 with one change. On the way back take the 16:05:
 the 17:35 leaves only six minutes for the change.
> Put both into the calendar, please.
exec: calendar add "Train to {city}" --at 21:34 => created event {num}
< Both are in the calendar with a reminder two hours before.
# main: The washing machine says E{n}
> The washing machine stopped with E{n}. Is that something I can fix?
memory_search: washing machine model => note: "WM-{num}, bought in March, 3 years of warranty"
web_fetch: https://manuals.example/wm-{num} => E{n}: water does not drain. Clean the filter behind
 the flap; check the hose for kinks.
< E{n} means that it cannot drain. Open the flap at the lower right, put a flat bowl under it and
 clean the filter. If it comes again it is the pump, and that is still under warranty.
# main: What is on this week
> What do I have this week, and what can be moved?
exec: calendar list --days 7 => Mon 09:30 dentist\nTue 18:00 choir\nThu 10:00 {city} call
< Three things. Only the {city} call can move: both others on it are free on Friday morning too.
> Move it, and tell them.
exec: calendar move {num} --to Friday => moved
message: {city} call | Could we move our call to Friday 10:00? => sent
< Moved, and both are asked. I will tell you when they answer.
# research: {topic}: what changed this year
> I need an overview of {topic}: what changed this year and what is still open?
web_search: {topic} review comparison test => 1. A long test of {n} devices\n2. Trade magazine,
 buyer's guide\n3. University report, 48 pages
web_fetch: https://journal.example/{num} => We compare {n} products over a year. Efficiency rose by
 11 %, prices fell by 7 %, service intervals did not change.
~ The report and the magazine disagree about the price; the magazine counts the installation.
& survey: Find three independent tests of {topic} and list method, sample and main result of each.
< In short: efficiency up by about 11 %, prices down by 7 % without installation, and the open
 question is service life, since no test runs longer than a year. Sources and a table follow.
write: reports/{num}.md | # Overview: {topic} => wrote 64 lines
< The overview is in reports/{num}.md, with the three tests side by side.
# research: Check a claim about {topic}
> Somebody told me that {topic} pay for themselves within two years. Is that right?
web_search: {topic} payback time study => 1. Study with {n} households\n2. Calculator\n3. Forum
web_fetch: https://study.example/{num} =! 503 Service Unavailable
web_fetch: https://mirror.example/{num} => Median payback 4.6 years (3.1 to 7.9), {n} households
< Only in the best case. The study that is usually quoted has a median of 4.6 years, and the two
 years are its best household. I would not repeat the claim.
# coder: Flaky test in {area}
> The {area} test fails on CI about one time in five. Can you find out why?
exec: pytest -q tests/test_{area}.py --count 20 =! 3 failed, 17 passed in 41.20s
read: tests/test_{area}.py => def test_{area}_expires(client, clock):\n    clock.move(seconds=60)\n
     assert client.get("/{area}").status == 401
~ The clock moves by exactly the lifetime. Whether the request comes before or after the boundary
 depends on the machine.
edit: tests/test_{area}.py | seconds=60 | seconds=61 => 1 replacement
exec: pytest -q tests/test_{area}.py --count 50 => 50 passed in 98.72s
< The test moved the clock by exactly the lifetime and raced with the boundary. It now goes one
 second beyond it: 50 runs, 50 passed. The product code was right.
> Nice. Commit it.
exec: git commit -am "tests: move the clock beyond the lifetime" => [main 4f1c{num}] 1 file changed
< Committed as 4f1c{num}.
# coder: Make {area} faster
> The {area} page takes two seconds with a large account. Have a look?
exec: python -m cProfile -s cumtime bench/{area}.py => 1.84 s  load_rows\n0.11 s  render
read: app/{area}/queries.py => def load_rows(account):\n    for item in items(account):\n
         yield fetch_one(item)  # one query for each row
~ One query per row. A join does it in one; the index on account exists already.
edit: app/{area}/queries.py | fetch_one(item) | fetch_all(account) => 1 replacement
exec: python bench/{area}.py => before 1.97 s, after 0.09 s
& review: Review the change in app/{area}/queries.py: same rows, same order, no new query.
< It made one query for each row; now it makes one for all: 1.97 s before, 0.09 s after. Same rows
 and same order, which the tests compare.
# coder: Add an export to {area}
> Please add a CSV export to {area}, streaming, with the columns of the table.
read: app/{area}/views.py => class Page(View):\n    template = "{area}.html"
write: app/{area}/export.py | def export_rows(account): ... => wrote 38 lines
exec: pytest -q tests/{area} =! 1 failed: a cell that begins with "=" is not quoted
~ A spreadsheet would run that as a formula. The test is right.
edit: app/{area}/export.py | yield row | yield safe(row) => 1 replacement
exec: pytest -q tests/{area} => 27 passed in 3.41s
< The export is at /{area}.csv: streaming, same columns, and cells that look like formulas are made
 harmless. 27 tests pass.
# support: Where is order {num}?
> Customer asks where order {num} ({item}) is. It should have come on {day}.
exec: shop order {num} => paid, packed, handed over two days ago, parcel P-{num}
web_fetch: https://parcel.example/P-{num} => At the depot since yesterday, 14:20
< It left our warehouse two days ago and has been at the depot since yesterday. Suggested answer:
 "Your {item} is at the depot near you and should arrive tomorrow. We keep an eye on it."
> Send that.
message: order {num} | Your {item} is at the depot near you and should arrive tomorrow. => sent
< Sent, and I look at the parcel again tomorrow morning.
# support: Refund for a {item}
> The {item} of order {num} arrived broken and there is a photo. What do we do?
exec: shop order {num} => delivered {n} days ago, 39.90, paid by card
memory_search: refund rules => "within 30 days, photo is enough, no return under 50"
< It is within the 30 days and under 50, so: refund, no return needed. Shall I start it?
> Yes.
exec: shop refund {num} --reason damaged => refund R-{num} created
< Refund R-{num} is on its way; the customer sees it within three working days.
# ops: Disk on {host}
> {host} reports 91 % disk. What is eating it?
exec: ssh {host} du -xh --max-depth=2 /var | sort -h | tail -2 => 18G /var/lib\n61G /var/backups
~ The rotation keeps everything since the rename in spring: its pattern no longer matches.
edit: roles/backup/rotate.sh | old-*.tar | backup-*.tar => 1 replacement
exec: ssh {host} rotate.sh --keep 30 => removed 184 archives, freed 49G
< Old backups: the rotation looked for a name that changed in spring. 184 archives are gone, the
 newest 30 are kept, and the disk is at 44 %.
# ops: Certificate of {service}
> When does the certificate of {service} run out, and is the renewal working?
exec: check-cert {service}.internal.example => notAfter in 11 days
exec: ssh {host} systemctl status renew.timer =! Unit renew.timer is not active
exec: ssh {host} systemctl enable --now renew.timer => enabled
< It would have run out in 11 days: the renewal timer was off since the last reinstall. It is on
 again and the new certificate is in place.
# ops: {service} restarts at night
> {service} restarted {n} times last night. Why?
exec: journalctl -u {service} --since yesterday | grep -c oom => {n}
read: /etc/systemd/system/{service}.service => MemoryMax=512M\nRestart=always
edit: /etc/systemd/system/{service}.service | MemoryMax=512M | MemoryMax=768M => 1 replacement
& survey: List the memory peaks of {service} for the last seven nights from the metrics on {host}.
< The hourly report needs about 600 MB for a minute and the limit was 512. It is 768 now; the peaks
 of the last week leave enough room.
# sub: survey
read: notes/{num}.md => 3 headings, 41 lines
exec: grep -rn "{area}" src | head -20 => src/{area}/views.py:41\nsrc/{area}/jobs.py:17
& detail: Look at the second place in detail and say whether it matters.
< Three findings, each with its source. The second one matters most; the others confirm it.
# sub: review
exec: git diff --stat => 1 file changed, 3 insertions, 9 deletions
exec: pytest -q tests/{area} => 31 passed in 4.02s
< No objection: same rows, same order, one query less for each row. A comment would help.
# sub: detail
read: src/{area}/jobs.py => def run(batch):\n    return [one(item) for item in batch]
< It matters only for batches larger than {n}00, and there are none in the last month.
# cron: morning-briefing
exec: calendar list --days 1 => 09:30 dentist\n18:00 choir
web_fetch: https://weather.example/{city} => 7 to 13 degrees, rain from 16:00
message: telegram | Dentist at 09:30, choir at 18:00. Rain from 16:00: take the tram. => sent
< Briefing sent: two appointments, rain from 16:00.
# cron: inbox-triage
exec: mail list --unread --limit 20 => {n} unread, most of them about orders
exec: mail label --from triage.json => {n} labelled, 2 drafts written
< {n} mails sorted, two drafts are waiting for a look, nothing urgent.
# cron: backup-check
exec: ssh {host} restic snapshots --latest 1 => 1 snapshot, 02:10, 41.7 GiB
< Last night's backup of {host} is there and has the usual size.
# cron: weekly-report
memory_search: this week => 14 notes
web_search: {topic} news this week => {n} results, one new test
write: reports/week-{num}.md | # This week => wrote 88 lines
< The weekly report is written: what was decided, what is open, and one new test to watch.
# heartbeat: quiet
< HEARTBEAT_OK
# heartbeat: reminder
message: telegram | Choir in an hour, and the rain has started. => sent
< Reminded of the choir.
"""

_DEMO_STEP = re.compile(r"(\w+): (.*?) =(>|!) (.*)", re.DOTALL)
_DEMO_SLOT = re.compile(r"\{(\w+)\}")
_DEMO_USAGE = ("input", "output", "cacheRead", "cacheWrite")
DemoScript = tuple[str, list[tuple[str, str]]]


def _demo_scripts() -> dict[str, list[DemoScript]]:
    """Parse DEMO_SCRIPTS into (title, [(mark, text)]) by agent, `sub`, `cron` or `heartbeat`."""
    scripts: dict[str, list[DemoScript]] = {}
    text = DEMO_SCRIPTS.strip().replace("\\n\n ", "\\n").replace("\n ", " ")
    for block in text.removeprefix("# ").split("\n# "):
        title, *lines = block.split("\n")
        agent, _, title = title.partition(": ")
        steps = [(line[0], line[2:]) if line[0] in "><~&" else ("", line) for line in lines]
        scripts.setdefault(agent, []).append((title, steps))
    return scripts


def _demo_iso(ts_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ts_ms // 1000)) + f".{ts_ms % 1000:03d}Z"


def _demo_workspace(home: Path, agent: str) -> Path:
    return home / ("workspace" if agent == "main" else f"workspace-{agent}")


class DemoTalk:
    """Plays scripts: turns them into transcript rows, one at a time.

    `at(ts_ms, delay_ms)` gives the time of a row that follows one at `ts_ms`: a made past adds
    the delay, a live writer looks at the clock. Before `upgrade_ms` rows look as 2026.6.11 wrote
    them, after it as 2026.9.6 does.
    """

    def __init__(self, home: Path, rng: random.Random, upgrade_ms: int,
                 at: Callable[[int, int], int]) -> None:
        self.home, self.rng, self.upgrade_ms, self.at = home, rng, upgrade_ms, at
        self.scripts = _demo_scripts()
        self.size = 1.0  # of answers and tool results
        self.answers = 0

    def uuid(self) -> str:
        text = f"{self.rng.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def row(self, session: DemoSession, kind: str, body: dict[str, Any], delay_ms: int) -> DemoRow:
        """Make the next row, whose `body` is merged into the entry."""
        ts_ms = session.ts_ms = self.at(session.ts_ms, delay_ms)
        is_new = ts_ms >= self.upgrade_ms
        event = {"type": kind, "timestamp": _demo_iso(ts_ms), **body}
        if kind == "session":
            event.update(version=4 if is_new else 3, id=session.session_id)
            session.first_ms = ts_ms
        else:
            event_id = self.uuid() if is_new else f"{self.rng.getrandbits(32):08x}"
            event.update(id=event_id, parentId=session.last_id)
            session.last_id = event_id
        return DemoRow(session, ts_ms, event)

    def message(self, session: DemoSession, delay_ms: int, lag_ms: int = 1,
                **message: Any) -> DemoRow:
        """Make a message row; the message's own time is up to `lag_ms` earlier."""
        before_ms = session.ts_ms
        row = self.row(session, "message", {"message": message}, delay_ms)
        message["timestamp"] = max(min(before_ms + 10, row.ts_ms), row.ts_ms - lag_ms)
        return row

    def open(self, session: DemoSession) -> Iterator[DemoRow]:
        """Begin a transcript as OpenClaw does: header, model, thinking level."""
        session.fresh = DEMO_AGENTS[session.agent].prompt
        cwd = str(_demo_workspace(self.home, session.agent))
        yield self.row(session, "session", {"cwd": cwd}, 0)
        yield self.switch(session, session.model)
        yield self.row(session, "thinking_level_change", {"thinkingLevel": "medium"}, 2)

    def switch(self, session: DemoSession, model: DemoModel) -> DemoRow:
        """Change the model; the new one has none of the context cached."""
        session.model, session.called_ms = model, 0
        change = {"provider": model.provider, "modelId": model.name}
        return self.row(session, "model_change", change, 2)

    def compact(self, session: DemoSession) -> DemoRow:
        """Sum up a full context; the call that does so leaves no usage in any version."""
        done = "".join(f"\n- {topic}: settled, nothing is open." for topic in session.topics[-30:])
        body = {"summary": f"## Goal\nHelp as asked.\n\n## Done so far{done}", "fromHook": False,
                "firstKeptEntryId": session.last_id, "tokensBefore": session.context,
                "details": {"readFiles": [], "modifiedFiles": []}}
        session.context = session.called_ms = 0
        session.fresh = DEMO_AGENTS[session.agent].prompt + 6_000
        return self.row(session, "compaction", body, 9_000)

    def user(self, session: DemoSession, text: str, delay_ms: int) -> DemoRow:
        session.status = "running"
        session.fresh += 60 + len(text) // 3 + self.rng.randint(0, 300)
        if session.ts_ms + delay_ms < self.upgrade_ms:
            blocks = [{"type": "text", "text": text}]
            return self.message(session, delay_ms, role="user", content=blocks)
        key = f"{self.uuid()}:user"
        return self.message(session, delay_ms, 40, role="user", content=text, idempotencyKey=key)

    def usage(self, session: DemoSession, output: int) -> dict[str, Any]:
        """Make the tokens and the recorded cost of the next call.

        A prompt is cached for five minutes. Anthropic bills what goes into the cache, the
        others what was not in it; a local model reads everything anew. The price of
        northwind-large came into openclaw.json with the upgrade: before, OpenClaw recorded 0.
        """
        model = session.model
        is_warm = session.ts_ms - session.called_ms < 300_000 and model.provider != "ollama"
        read = session.context // 64 * 64 if is_warm else 0
        left = session.context + session.fresh - read
        spent = ((self.rng.randint(3, 14), output, read, left) if model.price[3]
                 else (left, output, read, 0))
        session.context += session.fresh + output
        session.fresh = 0
        is_free = model.name == "northwind-large" and session.ts_ms < self.upgrade_ms
        costs = [0.0 if is_free else n * usd / 1e6
                 for n, usd in zip(spent, model.price, strict=True)]
        cost = {**dict(zip(_DEMO_USAGE, costs, strict=True)), "total": sum(costs)}
        usage = {**dict(zip(_DEMO_USAGE, spent, strict=True)), "totalTokens": sum(spent)}
        if model.provider != "anthropic":
            usage["reasoningTokens"] = output // 3
        return {**usage, "cost": cost}

    def call(self, session: DemoSession, blocks: list[dict[str, Any]], output: int, stop: str,
             **error: str) -> DemoRow:
        """Make one model call; a failed one has no usage."""
        model, zero = session.model, dict.fromkeys(_DEMO_USAGE, 0)
        usage = {**zero, "totalTokens": 0, "cost": {**zero, "total": 0}}
        if not error:
            usage = session.last_usage = self.usage(session, output)
        speed = 28 if model.provider == "ollama" else 75  # output tokens a second
        latency_ms = self.rng.randint(700, 2400) + output * 1000 // speed
        row = self.message(
            session, latency_ms + 15, latency_ms, role="assistant", content=blocks, api=model.api,
            provider=model.provider, model=model.name, usage=usage, stopReason=stop,
            responseId=f"resp_{self.rng.getrandbits(48):012x}", **error)
        session.called_ms = 0 if error else row.ts_ms
        return row

    def tool(self, session: DemoSession, tool: str, arguments: dict[str, str], result: str,
             thoughts: list[dict[str, Any]], *, failed: bool = False) -> Iterator[DemoRow]:
        """Call a tool and read its result: two rows, three behind `tool_call`."""
        is_new, rng = session.ts_ms >= self.upgrade_ms, self.rng
        is_nested = is_new and tool not in DEMO_DIRECT_TOOLS
        call_id, name = f"call_{rng.getrandbits(64):016x}", "tool_call" if is_nested else tool
        given = {"id": tool, "args": arguments} if is_nested else arguments
        block = {"type": "toolCall", "id": call_id, "name": name, "arguments": given}
        output = rng.randint(200, 1400) + (rng.randint(900, 5000) if thoughts else 0)
        yield self.call(session, [*thoughts, block], int(output * self.size), "toolUse")
        content = [{"type": "text", "text": result}]
        took_ms = rng.randint(90, 2_500) * (15 if "pytest" in str(arguments) else 1)
        if is_nested:
            nested = {"parentToolCallId": call_id, "toolCallId": f"nested:{call_id}:{tool}:1",
                      "toolName": tool, "input": arguments, "result": {"content": content}}
            yield self.message(session, took_ms, role="custom", content="", display=True,
                customType="openclaw.nested-tool.v1", excludeFromContext=True, details=nested)
        bulk = DEMO_AGENTS[session.agent].bulk * self.size**2
        session.fresh += int(rng.randint(*DEMO_RESULT_TOKENS.get(tool, (150, 1800))) * bulk)
        # A failed command has isError in 2026.6.11 and only an exit code in 2026.9.6.
        yield self.message(
            session, 5 if is_nested else took_ms, role="toolResult", toolCallId=call_id,
            toolName=name, content=content, isError=failed and not is_new,
            details={"status": "completed", "exitCode": int(failed), "durationMs": took_ms})

    def spawn(self, session: DemoSession, label: str, task: str) -> Iterator[DemoRow]:
        """Start a sub-agent and wait for it."""
        base = session.key if session.depth else f"agent:{session.agent}"
        model = DEMO_MODELS[DEMO_AGENTS[session.agent].models[2]]
        child = DemoSession(session.agent, f"{base}:subagent:{self.uuid()}", self.uuid(), model, 0,
                            label=label, parent=session, depth=session.depth + 1)
        order = {"task": task, "label": label}
        accepted = orjson.dumps({"status": "accepted", "childSessionKey": child.key}).decode()
        yield from self.tool(session, "sessions_spawn", order, accepted, [])
        child.ts_ms = session.ts_ms
        yield from self.open(child)
        script = next(script for script in self.scripts["sub"] if script[0] == label)
        intro = f"[Subagent Context] You run as a sub-agent (depth {child.depth}/2). Task: {task}"
        yield from self.play(child, script, intro)
        session.ts_ms = max(session.ts_ms, child.ts_ms)

    def answer(self, session: DemoSession, text: str, thoughts: list[dict[str, Any]],
               trouble: str) -> Iterator[DemoRow]:
        """Answer, unless something goes wrong, as in life."""
        said = [*thoughts, {"type": "text", "text": text}]
        session.status = "failed" if trouble in ("error", "abort") else "done"
        if trouble == "error":
            yield self.call(session, [], 0, "error", errorMessage="400 the model is not loaded")
        elif trouble == "abort":
            said[-1]["text"] = text[: len(text) // 2]
            yield self.call(session, said, 0, "aborted", errorMessage="Request was aborted")
        else:
            if trouble == "failover" and session.usual is None:
                yield self.call(session, [], 0, "error", errorMessage="529 overloaded_error")
                session.usual = session.model
                fallback = DEMO_AGENTS[session.agent].models[1]
                yield self.switch(session, DEMO_MODELS[fallback])
            yield self.call(session, said, 6 + int(len(text) * self.rng.uniform(1, 7)), "stop")

    def play(self, session: DemoSession, script: DemoScript, intro: str | None = None,
             trouble: str = "") -> Iterator[DemoRow]:
        """Play a script in a session; `intro` speaks where the script has no user line."""
        words = {name: self.rng.choice(values) for name, values in DEMO_WORDS.items()}
        words["num"] = str(self.rng.randint(1000, 9999))

        def fill(text: str) -> str:
            return _DEMO_SLOT.sub(lambda m: words.get(m[1], m[0]), text).replace("\\n", "\n")

        title, steps = script
        session.topics.append(fill(title))
        thoughts: list[dict[str, Any]] = []
        delay_ms = 15
        for mark, text in [(">", intro), *steps] if intro else steps:
            step = fill(text)
            if mark == "~":
                thoughts = [{"type": "thinking", "thinking": step, "thinkingSignature": "c2lnbmVk"}]
                continue
            if mark == ">":
                if session.context > 150_000 * self.size:
                    yield self.compact(session)
                if session.usual:
                    yield self.switch(session, session.usual)
                    session.usual = None
                yield self.user(session, step, delay_ms)
                delay_ms = int(20_000 + 900_000 * self.rng.random() ** 2)
            elif mark == "&":
                yield from self.spawn(session, *step.split(": ", 1))
            elif mark == "<":
                if not intro:  # what people start goes wrong now and then
                    self.answers += 1
                    trouble = {23: "failover", 51: "abort"}.get(self.answers % 70, "")
                yield from self.answer(session, step, thoughts, trouble)
                if session.status == "failed":
                    return
            elif match := _DEMO_STEP.fullmatch(step):
                tool, given, sign, result = match.groups()
                values = given.split(" | ", len(DEMO_TOOLS[tool]) - 1)
                arguments = dict(zip(DEMO_TOOLS[tool], values, strict=True))
                yield from self.tool(session, tool, arguments, result, thoughts, failed=sign == "!")
            thoughts = []

    def heartbeat(self, session: DemoSession) -> Iterator[DemoRow]:
        """Poll with the light context of a heartbeat: a tiny call that mostly finds nothing."""
        kept = session.model, session.context, session.fresh, session.topics[:]
        session.model, session.context = DEMO_MODELS[DEMO_HEARTBEAT_MODEL], 0
        session.fresh, session.called_ms = self.rng.randint(900, 1500), 0
        script = self.scripts["heartbeat"][self.rng.random() < 0.03]
        yield from self.play(session, script, "[OpenClaw heartbeat poll]")
        session.model, session.context, session.fresh, session.topics = kept


def _demo_entry(home: Path, session: DemoSession) -> dict[str, Any]:
    """Make a session's index entry, with what its system prompt is made of."""
    model, usage, size = session.model, session.last_usage, DEMO_AGENTS[session.agent].prompt
    files = {"AGENTS.md": size * 3 // 10, "SOUL.md": size // 12, "TOOLS.md": size // 8,
             "IDENTITY.md": 380, "USER.md": 940, "HEARTBEAT.md": 170, "MEMORY.md": size // 4}
    skills = {"healthcheck": 325, "notion": 319, "skill-creator": 306, "tmux": 316, "weather": 336}
    tools = {"read": 304, "write": 225, "edit": 834, "exec": 1283, "cron": 8705, "message": 1793,
             "web_search": 690, "web_fetch": 420, "memory_search": 250, "sessions_spawn": 1510}
    project = sum(files.values())
    report = {
        "source": "run", "generatedAt": session.ts_ms, "sessionId": session.session_id,
        "sessionKey": session.key, "provider": model.provider, "model": model.name,
        "systemPrompt": {"chars": size * 2, "projectContextChars": project,
                         "nonProjectContextChars": size * 2 - project},
        "injectedWorkspaceFiles": [
            {"name": name, "path": str(_demo_workspace(home, session.agent) / name),
             "missing": False, "rawChars": count, "injectedChars": count, "truncated": False}
            for name, count in files.items()],
        "skills": {"promptChars": sum(skills.values()), "entries": [
            {"name": name, "blockChars": count} for name, count in skills.items()]},
        "tools": {"listChars": 0, "schemaChars": sum(tools.values()), "entries": [
            {"name": name, "summaryChars": count // 3, "schemaChars": count,
             "propertiesCount": 2 + count // 300} for name, count in tools.items()]},
    }
    entry = {
        "sessionId": session.session_id, "updatedAt": session.ts_ms, "createdAt": session.first_ms,
        "sessionStartedAt": session.first_ms, "lastInteractionAt": session.ts_ms,
        "status": session.status, "modelProvider": model.provider, "model": model.name,
        "contextTokens": 200_000, "totalTokens": session.context, "totalTokensFresh": True,
        "inputTokens": usage.get("input", 0), "outputTokens": usage.get("output", 0),
        "cacheRead": usage.get("cacheRead", 0), "cacheWrite": usage.get("cacheWrite", 0),
        "estimatedCostUsd": usage["cost"]["total"] if usage else 0, "label": session.label,
        "chatType": session.chat_type, "delivery": {"kind": "none"}, "systemPromptReport": report,
    }
    if session.channel:
        entry["delivery"] = {"kind": "external", "route": {"channel": session.channel}}
    if session.parent:
        parent = session.parent.key
        entry.update(spawnedBy=parent, parentSessionKey=parent, spawnDepth=session.depth)
    return {name: value for name, value in entry.items() if value is not None}


#: What an observer reads of OpenClaw's tables: agent schema 23, state schema 18.
DEMO_AGENT_SCHEMA = """
CREATE TABLE schema_meta (meta_key PRIMARY KEY, role, schema_version, agent_id, app_version,
  created_at, updated_at);
CREATE TABLE transcript_events (session_id, seq, event_json, created_at, event_zstd,
  event_utf8_bytes, navigation_json, PRIMARY KEY (session_id, seq));
CREATE TABLE transcript_event_identities (session_id, event_id, seq, event_type, parent_id,
  message_idempotency_key, created_at, PRIMARY KEY (session_id, event_id));
CREATE TABLE transcript_rewrite_watermarks (session_id PRIMARY KEY, generation, updated_at);
CREATE TABLE session_windows (session_id PRIMARY KEY, session_key, previous_session_id, reason,
  created_at, updated_at, transcript_updated_at, started_at, ended_at, status, chat_type, channel,
  model_provider, model, parent_session_key, spawned_by, display_name);
CREATE TABLE session_nodes (session_key PRIMARY KEY, current_session_id, entry_json,
  entry_valid DEFAULT 1, updated_at, status, created_at, created_via, parent_session_key,
  spawned_by, fork_source_session_key, fork_source_session_id, fork_source_entry_id, label,
  display_name, archived_at, last_interaction_at, last_activity_at);
CREATE TABLE session_transcript_archives (session_id, generation, session_key, reason, encoding,
  archive_blob, archive_sha256, archive_name UNIQUE, created_at, published_at,
  PRIMARY KEY (session_id, generation));
"""
DEMO_STATE_SCHEMA = """
CREATE TABLE agent_databases (agent_id, path, schema_version, last_seen_at, size_bytes,
  PRIMARY KEY (agent_id, path));
CREATE TABLE cron_jobs (store_key, job_id, declaration_key, name, enabled, agent_id, payload_kind,
  job_json, state_json, sort_order, updated_at, PRIMARY KEY (store_key, job_id));
CREATE TABLE task_runs (task_id PRIMARY KEY, runtime, task_kind, source_id, child_session_key,
  agent_id, run_id, label, task, status, created_at, started_at, ended_at, error, detail_json);
CREATE TABLE subagent_runs (run_id PRIMARY KEY, child_session_key, controller_session_key,
  requester_session_key, created_at, payload_json);
"""


@contextlib.contextmanager
def _demo_database(path: Path, schema: str, version: int) -> Iterator[sqlite3.Connection]:
    """Make a database, give it to be filled, leave it in WAL mode."""
    path.parent.mkdir(parents=True)
    db = sqlite3.connect(path, isolation_level=None)
    with contextlib.closing(db):
        db.execute("PRAGMA synchronous=OFF")
        db.executescript(f"{schema} PRAGMA user_version={version}; BEGIN;")
        yield db
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode=WAL")


def _demo_put(db: sqlite3.Connection, table: str, **columns: Any) -> None:
    """Insert or replace a row; objects become JSON."""
    values = [orjson.dumps(value).decode() if isinstance(value, dict) else value
              for value in columns.values()]
    marks = ",".join("?" * len(values))
    db.execute(f"INSERT OR REPLACE INTO {table} ({','.join(columns)}) VALUES ({marks})", values)


def _demo_put_rows(db: sqlite3.Connection, rows: list[DemoRow], seq: int) -> None:
    """Insert rows of one session from `seq` on; those from 1 KiB as zstd, as OpenClaw does."""
    packer = zstandard.ZstdCompressor(level=1)
    events: list[tuple[Any, ...]] = []
    identities: list[tuple[Any, ...]] = []
    for number, row in enumerate(rows, seq):
        raw, session_id, event = orjson.dumps(row.event), row.session.session_id, row.event
        packed = navigation = None
        if len(raw) >= 1024:
            ref = {name: event.get(name) for name in ("type", "id", "parentId", "timestamp")}
            packed, navigation = packer.compress(raw), orjson.dumps({
                "version": 1, "report": {"kind": "canonical", "hasParentId": True, "entry": ref},
                "navigation": ref, "reset": ref, "model": ref, "modelBytes": len(raw)}).decode()
        events.append((session_id, number, None if packed else raw.decode(), row.ts_ms, packed,
                       len(raw), navigation))
        if event["type"] != "session":
            key = event.get("message", {}).get("idempotencyKey")
            identities.append((session_id, event["id"], number, event["type"], event["parentId"],
                               key, row.ts_ms))
    db.executemany("INSERT INTO transcript_events VALUES (?,?,?,?,?,?,?)", events)
    db.executemany("INSERT INTO transcript_event_identities VALUES (?,?,?,?,?,?,?)", identities)


def _demo_put_session(db: sqlite3.Connection, home: Path, session: DemoSession) -> None:
    """Write the session's window, node and watermark."""
    last_ms, parent = session.ts_ms, session.parent.key if session.parent else None
    fork, fork_entry = session.fork_of or (None, None)
    via = "spawn" if parent else "cron" if ":cron:" in session.key else "operator"
    common = {"updated_at": last_ms, "status": session.status, "created_at": session.first_ms,
              "parent_session_key": fork.key if fork else parent, "spawned_by": parent}
    _demo_put(
        db, "session_windows", session_id=session.session_id, session_key=session.key,
        reason="fork" if fork else None, transcript_updated_at=last_ms, started_at=session.first_ms,
        ended_at=None if session.status == "running" else last_ms, chat_type=session.chat_type,
        channel=session.channel, model_provider=session.model.provider, model=session.model.name,
        **common)
    _demo_put(
        db, "session_nodes", session_key=session.key, current_session_id=session.session_id,
        entry_json=_demo_entry(home, session), created_via="channel" if session.channel else via,
        fork_source_session_key=fork.key if fork else None, fork_source_entry_id=fork_entry,
        fork_source_session_id=fork.session_id if fork else None, label=session.label,
        last_interaction_at=last_ms, last_activity_at=last_ms, **common)
    generation = hashlib.blake2b(session.session_id.encode(), digest_size=16).hexdigest()
    _demo_put(db, "transcript_rewrite_watermarks", session_id=session.session_id,
              generation=generation, updated_at=last_ms)


class DemoHome:
    """Makes the home: plans who talks when, plays it in order of time, writes it down."""

    def __init__(self, home: Path, now_ms: int, days: int, seed: int) -> None:
        self.home, self.now_ms, self.days, self.rng = home, now_ms, days, random.Random(seed)  # noqa: S311
        self.first_ms = now_ms - days * 86_400_000
        self.upgrade_ms = now_ms - days * 86_400_000 * 2 // 5
        self.talk = DemoTalk(home, self.rng, self.upgrade_ms, lambda ts_ms, delay: ts_ms + delay)
        self.sessions: dict[str, DemoSession] = {}
        self.standing: dict[str, DemoSession] = {}  # by session key
        self.jobs = {cron[0]: self.talk.uuid() for cron in DEMO_CRONS}
        self.topics = 0

    def local_ms(self, days_ago: int, hour: float) -> int:
        """Give a local hour of a past day, right across changes of the clocks."""
        today = time.localtime(self.now_ms / 1000)
        day = today.tm_mday - days_ago
        start = (today.tm_year, today.tm_mon, day, 0, int(hour * 60), 0, 0, 0, -1)
        return int(time.mktime(start)) * 1000

    def plan(self) -> list[tuple[int, str, str]]:
        """List what happens, in order: (time, what, agent or job)."""
        plan: list[tuple[int, str, str]] = []
        for ago in range(self.days, -1, -1):
            weekday = time.localtime(self.local_ms(ago, 12) / 1000).tm_wday
            # A release made one fortnight busy: nearly five times the usual on its worst day.
            crunch = 1 + 3.8 * math.exp(-(((ago - self.days * 0.3) / 3.5) ** 2))
            for name, agent in DEMO_AGENTS.items():
                rate = agent.per_day[weekday >= 5] * (crunch if name == "coder" else 1)
                for _ in range(int(rate + self.rng.random())):
                    ts_ms = self.local_ms(ago, self.rng.triangular(*agent.hours))
                    plan.append((ts_ms + self.rng.randrange(60_000), "talk", name))
            plan += [(self.local_ms(ago, half_hour / 2), "heartbeat", "main")
                     for half_hour in range(14, 46)]
            plan += [(self.local_ms(ago, hour), "cron", name)
                     for name, _, _, _, hours, weekdays in DEMO_CRONS if weekday in weekdays
                     for hour in hours]
        for share, name in ((0.72, "main"), (0.55, "support"), (0.2, "main"), (0.12, "coder")):
            plan.append((self.now_ms - int(share * self.days * 86_400_000), "reset", name))
        # Whatever the hour, the person who looks at the demo is at work right now.
        for minutes, name in ((170, "coder"), (128, "support"), (96, "ops"), (71, "research"),
                              (54, "coder"), (37, "support"), (26, "main")):
            plan.append((self.now_ms - minutes * 60_000, "talk", name))
        plan = [item for item in plan if self.first_ms <= item[0] <= self.now_ms - 20 * 60_000]
        for minutes, name in ((7, "coder"), (5, "support"), (3, "main")):
            plan.append((self.now_ms - minutes * 60_000, "live", name))
        return sorted(plan)

    def keep(self, rows: Iterator[DemoRow]) -> None:
        """Add rows to their sessions, up to a few seconds ago."""
        for row in rows:
            if row.ts_ms > self.now_ms - 4_000:
                return
            self.sessions.setdefault(row.session.session_id, row.session).rows.append(row)

    def begin(self, agent: str, key: str, model: str, ts_ms: int, **more: Any) -> DemoSession:
        session = DemoSession(agent, f"agent:{agent}:{key}", self.talk.uuid(), DEMO_MODELS[model],
                              ts_ms, **more)
        self.keep(self.talk.open(session))
        return session

    def go_on(self, agent: str, ts_ms: int, thread: str) -> DemoSession:
        """Find or begin a conversation that goes on for weeks."""
        key = f"agent:{agent}:{thread}"
        if key not in self.standing:
            channel, chat_type = (thread + ":direct").split(":")[:2]
            channel = "webchat" if thread == "main" else channel
            self.standing[key] = self.begin(agent, thread, DEMO_AGENTS[agent].models[0], ts_ms,
                                            channel=channel, chat_type=chat_type)
        session = self.standing[key]
        session.ts_ms = max(ts_ms, session.ts_ms + 1_000)
        return session

    def begin_topic(self, agent: str, ts_ms: int) -> DemoSession:
        """Begin a session for one topic: a thread in the channel, or a web chat."""
        spec, self.topics = DEMO_AGENTS[agent], self.topics + 1
        model = spec.models[0] if self.rng.random() < 0.7 else self.rng.choice(spec.models[2:])
        key, channel, chat_type = f"dashboard:{self.talk.uuid()}", "webchat", "direct"
        if agent != "main" and self.rng.random() < 0.7:
            key = f"{spec.thread}:thread:{self.rng.getrandbits(40)}"
            channel, chat_type = spec.thread.split(":")[:2]
        session = self.begin(agent, key, model, ts_ms, channel=channel, chat_type=chat_type)
        session.fate = "deleted" if self.topics % 57 == 19 else "live"
        return session

    def happen(self, ts_ms: int, what: str, name: str) -> None:
        """Play one item of the plan."""
        talk = self.talk
        if what == "heartbeat":
            self.keep(talk.heartbeat(self.go_on("main", ts_ms, "main")))
        elif what == "cron":
            _, agent, model, *_ = next(cron for cron in DEMO_CRONS if cron[0] == name)
            key = f"cron:{self.jobs[name]}:run:{talk.uuid()}"
            session = self.begin(agent, key, model, ts_ms, label=f"Cron: {name}")
            script = next(script for script in talk.scripts["cron"] if script[0] == name)
            trouble = "error" if name == "backup-check" and self.rng.random() < 0.08 else ""
            intro = f"[cron:{self.jobs[name]} {name}] Run {name}."
            self.keep(talk.play(session, script, intro, trouble))
        elif what == "reset":
            self.reset(self.go_on(name, ts_ms, DEMO_AGENTS[name].thread))
        elif what == "live" or self.rng.random() < 0.6:
            session = self.go_on(name, ts_ms, DEMO_AGENTS[name].thread)
            self.keep(talk.play(session, self.rng.choice(talk.scripts[name])))
        else:
            session = self.begin_topic(name, ts_ms)
            self.keep(talk.play(session, self.rng.choice(talk.scripts[name])))
            session.label = session.topics[0]

    def reset(self, session: DemoSession) -> None:
        """Start over: a new transcript in 2026.6.11, a `reset` entry in 2026.9.6."""
        if session.ts_ms < self.upgrade_ms:
            session.fate = "reset"
            del self.standing[session.key]
        else:
            self.keep(iter([self.talk.row(session, "reset", {"reason": "reset"}, 0)]))
            session.context, session.fresh = 0, DEMO_AGENTS[session.agent].prompt

    def fork(self) -> None:
        """Fork one of the coder's sessions: copied entries keep their ids and times."""
        for source in list(self.sessions.values()):
            if (source.agent == "coder" and source.fate == "live" and source.label
                    and not source.parent and source.first_ms >= self.upgrade_ms):
                half = source.rows[1 : len(source.rows) // 2 + 1]
                session = DemoSession(
                    "coder", f"agent:coder:dashboard:{self.talk.uuid()}", self.talk.uuid(),
                    source.model, source.ts_ms + 600_000, "webchat", "direct",
                    f"Fork of {source.label}", fork_of=(source, half[-1].event["id"]))
                self.keep(iter([next(self.talk.open(session))]))
                session.rows += [DemoRow(session, row.ts_ms, row.event) for row in half]
                session.last_id, session.context, session.fresh = half[-1].event["id"], 40_000, 500
                self.keep(self.talk.play(session, self.talk.scripts["coder"][2]))
                break

    def write(self) -> None:
        """Write workspaces, databases, archives and the config."""
        for name, agent in DEMO_AGENTS.items():
            workspace = _demo_workspace(self.home, name)
            workspace.mkdir()
            text = f"# {agent.name}\n\nYou are {agent.name}. Your job: {agent.job}.\n"
            (workspace / "IDENTITY.md").write_text(text, encoding="utf-8")
            folder = self.home / "agents" / name
            path = folder / "agent" / "openclaw-agent.sqlite"
            with _demo_database(path, DEMO_AGENT_SCHEMA, 23) as db:
                _demo_put(db, "schema_meta", meta_key="primary", role="agent", schema_version=23,
                          agent_id=name, app_version="2026.9.6", created_at=self.upgrade_ms)
                for session in self.sessions.values():
                    if session.agent == name:
                        self.write_session(db, folder, session)
        with _demo_database(self.home / "state" / "openclaw.sqlite", DEMO_STATE_SCHEMA, 18) as db:
            self.write_state(db)
        config = orjson.dumps(self.config(), option=orjson.OPT_INDENT_2)
        (self.home / "openclaw.json").write_bytes(config)

    def write_session(self, db: sqlite3.Connection, folder: Path, session: DemoSession) -> None:
        """Write a session where it belongs: database, or archive of its time."""
        session_id, lines = session.session_id, [orjson.dumps(row.event) for row in session.rows]
        last_ms = session.ts_ms = session.rows[-1].ts_ms
        if session.fate == "live":
            _demo_put_rows(db, session.rows, 0)
            _demo_put_session(db, self.home, session)
            # The upgrade moved the old files aside: they repeat what the database has.
            old = sum(row.ts_ms < self.upgrade_ms for row in session.rows)
            if old:
                name = f"{session.key.replace(':', '_')}.{session_id}.jsonl"
                self.write_file(folder / "session-sqlite-import-archive"
                                / f"{name}.imported-{self.upgrade_ms}", lines[:old], last_ms)
            return
        gone_ms = last_ms + 5_000
        name = f"{session_id}.jsonl.{session.fate}.{_demo_iso(gone_ms).replace(':', '-')}"
        if gone_ms < self.upgrade_ms:
            self.write_file(folder / "sessions" / name, lines, gone_ms)
            return
        blob = zstandard.ZstdCompressor(level=3).compress(b"\n".join([*lines, b""]))
        generation = hashlib.blake2b(blob, digest_size=16).hexdigest()
        self.write_file(folder / "sessions" / f"{name}.{generation}.zst", [blob], gone_ms)
        _demo_put(
            db, "session_transcript_archives", session_id=session_id, generation=generation,
            session_key=session.key, reason=session.fate, encoding="zstd", archive_blob=blob,
            archive_sha256=hashlib.sha256(blob).hexdigest(), created_at=gone_ms,
            archive_name=f"{name}.{generation}.zst", published_at=gone_ms)

    def write_file(self, path: Path, lines: list[bytes], ts_ms: int) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(lines[0] if path.suffix == ".zst" else b"\n".join([*lines, b""]))
        os.utime(path, (ts_ms / 1000, ts_ms / 1000))

    def write_state(self, db: sqlite3.Connection) -> None:
        """Write cron jobs, their runs and the runs of sub-agents."""
        for name in DEMO_AGENTS:
            _demo_put(db, "agent_databases", agent_id=name, schema_version=23,
                      path=f"agents/{name}/agent/openclaw-agent.sqlite", last_seen_at=self.now_ms)
        states: dict[str, dict[str, Any]] = {job_id: {} for job_id in self.jobs.values()}
        for session in self.sessions.values():
            started, ended, key = session.first_ms, session.ts_ms, session.key
            failed = session.status == "failed"
            if session.parent:
                parent = session.parent.key
                execution = {"status": "terminal", "startedAt": started, "endedAt": ended,
                             "outcome": {"status": "error" if failed else "ok"}}
                if session.status == "running":
                    execution = {"status": "running", "startedAt": started}
                run_id = self.talk.uuid()
                _demo_put(
                    db, "subagent_runs", run_id=run_id, child_session_key=key, created_at=started,
                    controller_session_key=parent, requester_session_key=parent, payload_json={
                        "runId": run_id, "childSessionKey": key, "requesterSessionKey": parent,
                        "task": session.topics[0], "label": session.label, "createdAt": started,
                        "execution": execution})
            elif ":cron:" in key:
                job_id, status = key.split(":")[3], "error" if failed else "ok"
                name = (session.label or "").removeprefix("Cron: ")
                states[job_id] = {"lastRunAtMs": started, "lastRunStatus": status,
                                  "lastDurationMs": ended - started}
                run_id = f"cron:{job_id}:{started}"
                _demo_put(
                    db, "task_runs", task_id=self.talk.uuid(), runtime="cron", source_id=job_id,
                    task_kind="automation_run", child_session_key=key, agent_id=session.agent,
                    run_id=run_id, label=name, task=name, created_at=started, started_at=started,
                    status="failed" if failed else "succeeded", ended_at=ended,
                    error="400 the model is not loaded" if failed else None, detail_json={
                        "kind": "cron-run", "status": status, "sessionId": session.session_id,
                        "runId": run_id, "runAtMs": started, "durationMs": ended - started})
        for order, (name, agent, _, expr, _, _) in enumerate(DEMO_CRONS):
            job_id = self.jobs[name]
            _demo_put(
                db, "cron_jobs", store_key=str(self.home / "cron" / "jobs.json"), job_id=job_id,
                name=name, enabled=1, agent_id=agent, payload_kind="agentTurn",
                state_json=states[job_id], sort_order=order, updated_at=self.now_ms, job_json={
                    "id": job_id, "agentId": agent, "name": name, "enabled": True,
                    "createdAtMs": self.first_ms, "schedule": {"kind": "cron", "expr": expr},
                    "sessionTarget": "isolated", "wakeMode": "now", "delivery": {"mode": "none"},
                    "payload": {"kind": "agentTurn", "message": f"Run {name}."}})

    def config(self) -> dict[str, Any]:
        """Make openclaw.json, in the keyed form that the upgrade writes."""
        price = dict(zip(_DEMO_USAGE, DEMO_MODELS["northwind-large"].price, strict=True))
        northwind = [{"id": "northwind-large", "contextWindow": 200_000, "cost": price},
                     {"id": "northwind-preview", "contextWindow": 200_000}]
        providers = {
            "northwind": {"baseUrl": "https://llm.northwind.example/v1", "models": northwind},
            "ollama": {"baseUrl": "http://127.0.0.1:11434/v1", "models": [{"id": "qwen3:32b"}]}}
        entries = {}
        for name, agent in DEMO_AGENTS.items():
            usual, fallback = (f"{DEMO_MODELS[m].provider}/{m}" for m in agent.models[:2])
            entries[name] = {"workspace": str(_demo_workspace(self.home, name)),
                             "identity": {"name": agent.name, "theme": agent.job},
                             "model": {"primary": usual, "fallbacks": [fallback]}}
        heartbeat = {"every": "30m", "model": f"anthropic/{DEMO_HEARTBEAT_MODEL}",
                     "activeHours": {"start": "07:00", "end": "23:00"}}
        return {
            "meta": {"lastTouchedVersion": "2026.9.6"},
            # The discard port: nobody listens there, while 18789 may be a real gateway. And no
            # token: one that stands in this file would be a key to the demo that everybody has.
            "gateway": {"mode": "local", "port": 9, "bind": "loopback", "auth": {"mode": "none"}},
            "auth": {"profiles": {
                "openai-codex:default": {"provider": "openai-codex", "mode": "oauth"},
                "anthropic:default": {"provider": "anthropic", "mode": "api_key"}}},
            "models": {"mode": "merge", "providers": providers},
            "agents": {
                "defaults": {"workspace": str(self.home / "workspace"), "heartbeat": heartbeat},
                "ownership": "explicit", "entries": entries},
            "channels": {name: {"enabled": True} for name in ("telegram", "slack", "discord")},
        }


def make_demo_home(root: Path, *, now_ms: int, days: int = 60, seed: int = 20260214) -> Path:
    """Make root/.openclaw and return its path.

    The same arguments, in the same time zone, give the same rows. Raises FileExistsError rather
    than touch a home that is there already.
    """
    home = root / ".openclaw"
    home.mkdir(parents=True, mode=0o700)
    demo = DemoHome(home, now_ms, days, seed)
    for item in demo.plan():
        demo.happen(*item)
    demo.fork()
    demo.write()
    return home


class DemoWriter(threading.Thread):
    """Goes on with three conversations of a demo home, a row every one to three seconds.

    It writes as a running gateway does: connections held open, one short WAL transaction a row.
    The sequence is given by the seed, the times are the clock's.
    """

    def __init__(self, root: Path, *, seed: int = 20260214,
                 clock: Callable[[], float] = time.time) -> None:
        super().__init__(name="demo-writer", daemon=True)
        self.home, self.seed, self.rng = root / ".openclaw", seed, random.Random(seed)  # noqa: S311
        self.ended = threading.Event()
        self.talk = DemoTalk(self.home, self.rng, 0,
                             lambda ts_ms, _: max(ts_ms + 1, int(clock() * 1000)))
        self.talk.size = 0.5  # a demo left open over lunch should not show hundreds of dollars

    def stop(self, timeout_s: float = 3.0) -> None:
        """End the thread and wait for it."""
        self.ended.set()
        if self.is_alive():
            self.join(timeout_s)

    def run(self) -> None:
        databases: dict[str, sqlite3.Connection] = {}
        try:
            for name in DEMO_LIVE:
                path = self.home / "agents" / name / "agent" / "openclaw-agent.sqlite"
                databases[name] = sqlite3.connect(path, timeout=10, isolation_level=None)
            sessions = [self.resume(name, db) for name, db in databases.items()]
            # Ids come from the seed: a second writer on this home must not repeat the first's.
            self.rng.seed(f"{self.seed} {[session.last_id for session in sessions]}")
            talks = [self.go_on(session) for session in sessions]
            while not self.ended.wait(self.rng.uniform(1.0, 3.0)):
                (talk,) = self.rng.choices(talks, list(DEMO_LIVE.values()))
                row = next(talk)
                self.store(databases[row.session.agent], row)
        except sqlite3.Error:
            log.exception("demo: cannot write to %s; nothing new will happen there", self.home)
        finally:
            for db in databases.values():
                db.close()

    def resume(self, agent: str, db: sqlite3.Connection) -> DemoSession:
        """Take up the agent's newest conversation where its transcript ends."""
        session_id, key, channel, chat_type, model, first_ms, ts_ms, entry = db.execute(
            "SELECT session_id, w.session_key, channel, chat_type, model, w.created_at,"
            " w.updated_at, entry_json FROM session_windows w JOIN session_nodes n"
            " ON current_session_id = session_id"
            " WHERE channel IS NOT NULL AND w.session_key <> 'agent:main:main'"
            " ORDER BY w.updated_at DESC LIMIT 1").fetchone()
        last_id, = db.execute("SELECT event_id FROM transcript_event_identities"
                              " WHERE session_id=? ORDER BY seq DESC", (session_id,)).fetchone()
        known = orjson.loads(entry)
        return DemoSession(
            agent, key, session_id, DEMO_MODELS[model], ts_ms, channel, chat_type,
            known.get("label"), first_ms=first_ms, context=known["totalTokens"], called_ms=ts_ms,
            last_id=last_id)

    def go_on(self, session: DemoSession) -> Iterator[DemoRow]:
        while True:
            yield from self.talk.play(session, self.rng.choice(self.talk.scripts[session.agent]))

    def store(self, db: sqlite3.Connection, row: DemoRow) -> None:
        """Write a row as one transaction."""
        db.execute("BEGIN IMMEDIATE")
        seq, = db.execute("SELECT coalesce(max(seq), -1) + 1 FROM transcript_events"
                          " WHERE session_id=?", (row.session.session_id,)).fetchone()
        _demo_put_rows(db, [row], seq)
        _demo_put_session(db, self.home, row.session)
        db.execute("COMMIT")
# fmt: on


###############################################################################
# Command line ################################################################
###############################################################################
# Parses, asks a query, prints. Exit status: 0 well, 1 not healthy or an error, 2 wrong
# usage, 3 another Clawmeter has the ledger.

EXIT_BUSY = 3


def build_parser() -> argparse.ArgumentParser:
    """The command line as argparse sees it; README's table is checked against it."""
    # SUPPRESS: an option that is not given must not undo the same option in front of the command.
    common = argparse.ArgumentParser(
        add_help=False, argument_default=argparse.SUPPRESS, allow_abbrev=False
    )
    group = common.add_argument_group("where things are")
    group.add_argument(
        "--home",
        dest="homes",
        action="append",
        metavar="PATH",
        help="an OpenClaw home; repeat it to read several together",
    )
    group.add_argument(
        "--state",
        dest="state_dir",
        metavar="PATH",
        help="state directory (ledger, tokens, clawmeter.toml)",
    )
    group.add_argument(
        "--no-history",
        dest="history",
        action="store_const",
        const=False,
        help="use a temporary ledger",
    )
    group.add_argument(
        "--config",
        dest="config_file",
        type=Path,
        metavar="FILE",
        help="settings file instead of clawmeter.toml in the state directory",
    )
    group.add_argument(
        "--env-file",
        type=Path,
        metavar="FILE",
        help="file with environment variables instead of .env in the state directory",
    )
    group.add_argument("--tz", dest="time_zone", metavar="ZONE", help="IANA time zone for days")
    group.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    group = common.add_argument_group("OpenClaw's gateway")
    group.add_argument(
        "--no-gateway",
        dest="gateway",
        action="store_const",
        const=False,
        help="do not connect to OpenClaw's gateway; live sessions are told from the transcripts",
    )
    group.add_argument("--gateway-url", metavar="URL", help="where the gateway listens")
    group.add_argument(
        "--gateway-token",
        metavar="TOKEN",
        help="the gateway's token (others can see it in the process list: prefer OPENCLAW_GATEWAY_TOKEN)",
    )
    serving = argparse.ArgumentParser(
        add_help=False, argument_default=argparse.SUPPRESS, allow_abbrev=False
    )
    group = serving.add_argument_group("serving")
    group.add_argument("--host", help="address to listen on (127.0.0.1)")
    group.add_argument("--port", type=int, help="port to listen on (3377)")
    group.add_argument("--lan", action="store_const", const=True, help="listen on all interfaces")
    group.add_argument("--token-file", metavar="FILE", help="file with the dashboard token")
    group.add_argument(
        "--token",
        help="dashboard token (others can see it in the process list: prefer --token-file)",
    )
    group.add_argument(
        "--open",
        dest="open_browser",
        action="store_true",
        default=argparse.SUPPRESS,
        help="open the page in a browser",
    )
    group.add_argument(
        "--poll",
        action="store_const",
        const=True,
        help="look for changes every 2 s (network mounts)",
    )
    parser = argparse.ArgumentParser(
        allow_abbrev=False,  # `--to` of a report is not `--token`
        prog="clawmeter", parents=[common, serving], description="What your OpenClaw agents cost, do and break. Without a command: serve.",
        epilog="Everything stays on this machine; OpenClaw's files are only read.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"clawmeter {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(
        name: str,
        run: Callable[[argparse.Namespace], int],
        text: str,
        *more: argparse.ArgumentParser,
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            parents=[common, *more],
            help=text,
            description=text[0].upper() + text[1:] + ".",
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
        )
        sub.set_defaults(run=run)
        return sub

    command("serve", cmd_serve, "serve the page and the API, and follow OpenClaw", serving)
    sub = command("report", cmd_report, "print cost and usage as a table")
    sub.add_argument(
        "--from",
        dest="from_",
        default="30d",
        help="start: a date, a time, 7d, today, week, month, all (30d)",
    )
    sub.add_argument("--to", default=None, help="end, exclusive; a date includes that day")
    sub.add_argument("--by", choices=BY, default="day", help="what to group by (day)")
    for name in FILTER_SQL:
        sub.add_argument(f"--{name}", default=None, help=f"only this {name}")
    sub.add_argument("--sort", default=None, help="key or label, or a figure (descending)")
    sub.add_argument("--limit", default=None, help="most rows")
    sub.add_argument(
        "--json", action="store_true", default=False, help="print what /api/usage answers"
    )
    sub.add_argument(
        "--formula",
        metavar="SESSION",
        default=None,
        help="show how the cost of a session came about",
    )
    command("ingest", cmd_ingest, "read what is new into the ledger once")
    sub = command("export", cmd_export, "write usage_events and sessions as files")
    sub.add_argument("form", choices=("csv", "json"))
    sub.add_argument("--out-dir", type=Path, default=Path(), help="folder to write into (.)")
    sub = command("status", cmd_status, "print the state of ledger and server in short")
    sub.add_argument("--json", action="store_true", default=False, help="as JSON")
    command("doctor", cmd_doctor, "say what was found, what cannot be read, and what to do")
    sub = command("demo", cmd_demo, "serve a made-up OpenClaw home", serving)
    sub.add_argument("--days", type=int, default=60, help="days of history (60)")
    sub = command("api", cmd_api, "GET a path of the running server with the local credential")
    sub.add_argument("path", help="for example /api/summary")
    sub = command("token", cmd_token, "show the dashboard token, or manage further ones")
    sub.add_argument(
        "action", nargs="?", choices=("show", "create", "list", "revoke", "rotate"), default="show"
    )
    sub.add_argument("name", nargs="?", default=None, help="name of a token to create or revoke")
    sub.add_argument(
        "--scope", choices=SCOPES, default="read", help="what a new token may do (read)"
    )
    return parser


def settings_from(args: argparse.Namespace, **over: Any) -> Settings:
    """The settings of a command's arguments."""
    names = {s.name for s in SETTINGS} | {"homes", "open_browser"}
    flags = {n: v for n in names if (v := getattr(args, n, None)) is not None}
    settings = load_settings(
        {**flags, **over},
        env_file=getattr(args, "env_file", None),
        config_file=getattr(args, "config_file", None),
    )
    logging.basicConfig(
        level=settings.log_level.upper(), format="clawmeter: %(levelname)s: %(message)s", force=True
    )
    return settings


def say(text: str = "") -> None:
    """Print a line for a person, to stderr: stdout is for results."""
    print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    """Print a result for programs: UTF-8 whatever the terminal's encoding is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")
    sys.stdout.buffer.flush()


class ProgressLine:
    """A progress bar with rate and time left, where a person watches; nothing elsewhere."""

    def __init__(self) -> None:
        self.shown = False
        self.last = 0.0
        self.is_terminal = sys.stderr.isatty()

    def __call__(self, progress: Progress) -> None:
        """Show how far it is."""
        now = time.monotonic()
        if (
            not self.is_terminal
            or (now - self.last < 0.1 and not progress.complete)
            or now - progress.started < 0.5
        ):
            return
        self.last = now
        share = progress.indexed_bytes / progress.total_bytes if progress.total_bytes else 1.0
        rate = progress.indexed_bytes / max(0.001, now - progress.started)
        eta = progress.eta_s(now)
        bar = ("█" * round(share * 24)).ljust(24, "·")
        left = f", {eta:.0f} s left" if eta else ""
        print(
            f"\r\x1b[Kindexed {bar} {share:4.0%} of {format_bytes(progress.total_bytes)}, {format_bytes(rate)}/s{left}",
            end="",
            file=sys.stderr,
            flush=True,
        )
        self.shown = True

    def done(self) -> None:
        """Clear the line."""
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def open_queries(settings: Settings, *, index: bool = True) -> Iterator[tuple[Queries, PriceBook]]:
    """Queries for a command: indexed first when the ledger is free, read-only and as of its last index when a server has it."""
    try:
        meter = Clawmeter(settings)
    except LedgerBusyError:
        homes, _ = find_homes(settings)
        configs = [read_config(h.path, os.environ) for h in homes]
        lists = ListPrices()
        ledger = LedgerFile(settings.ledger_path)
        queries = Queries(ledger, settings, homes=homes, configs=configs)
        with ledger.reading() as db:
            row = db.execute("SELECT value FROM meta WHERE key = 'as_of_ms'").fetchone()
        say(
            f"A running Clawmeter has the ledger; its numbers as of {iso_ms(row[0], queries.default_zone) if row else 'now'}."
        )
        try:
            yield queries, PriceBook(settings, configs, lists)
        finally:
            lists.close()
        return
    try:
        if index:
            line = ProgressLine()
            meter.index(line)
            line.done()
        yield meter.queries, meter.store.prices
    finally:
        meter.stop()


def cmd_serve(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    settings = settings_from(args)
    if getattr(args, "token", None):
        say(
            "Warning: --token can be seen by other users of this machine; use --token-file or CLAWMETER_TOKEN."
        )
    if getattr(args, "gateway_token", None):
        say(
            "Warning: --gateway-token can be seen by other users of this machine; use OPENCLAW_GATEWAY_TOKEN."
        )
    return run_server(settings)


def run_server(settings: Settings, *, note: str | None = None) -> int:
    """Start the application and the server, say where they are, and wait for the end."""
    stopping = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and threading.current_thread() is threading.main_thread():
            signal.signal(getattr(signal, name), lambda *_: stopping.set())
    try:
        meter = Clawmeter(settings)
    except LedgerBusyError as error:
        where = read_server_file(settings)
        say(
            f"{error}"
            + (f"; it serves {where['url']}" if where else "")
            + ".\nOpen that one, or start this one with another --state."
        )
        return EXIT_BUSY
    try:
        server = Server(meter)
        server.start()
    except BaseException:
        meter.stop()
        raise
    state = settings.state_dir
    server_file = state / "server.json"
    try:
        meter.start()
        write_private(
            server_file,
            orjson.dumps(
                {"url": server.url, "pid": os.getpid(), "birth": process_birth(os.getpid())}
            ),
        )
        announce_server(meter, server, note)
        stopping.wait()
    finally:
        with contextlib.suppress(FileNotFoundError):
            server_file.unlink()
        server.stop()
        meter.stop()
    return 0


def announce_server(meter: Clawmeter, server: Server, note: str | None) -> None:
    """Say where the page is. The link with the token goes to a terminal only, never into a log."""
    homes = ", ".join(str(h.path) for h in meter.homes)
    say(f"Clawmeter {VERSION} reads {homes}")
    for problem in (c.problem for c in meter.configs if c.problem):
        say(f"  note: {problem}")
    if note:
        say(note)
    for url in server.urls:
        say(f"Serving {url}")
    if not sys.stderr.isatty():
        where = (
            ""
            if meter.settings.state_dir == default_state_dir(os.environ)
            else f" --state {meter.settings.state_dir}"
        )
        say(f"To log in, run `clawmeter token{where}` on this machine.")
        return
    link = f"{server.urls[-1]}/#token={urllib.parse.quote(meter.access.load_token())}"
    say(f"\n  Open  {link}\n")
    if meter.settings.lan:
        import segno

        segno.make(link, error="l").terminal(sys.stderr, compact=True)
    if meter.settings.open_browser:
        import webbrowser

        webbrowser.open(link)


def read_server_file(settings: Settings) -> Json | None:
    """Where the running server of a state directory is; None without one.

    The file of one that was killed is still there: whatever listens on its port now must not get our token.
    """
    try:
        found = as_dict(orjson.loads((settings.state_dir / "server.json").read_bytes()))
    except (OSError, ValueError):
        return None
    pid, birth = int_or_none(found.get("pid")), found.get("birth")
    is_running = pid is not None and birth is not None and process_birth(pid) == birth
    return found if is_running and isinstance(found.get("url"), str) else None


def process_birth(pid: int) -> str | None:
    """When a process began, to tell it from a later one with its number; None when it does not run."""
    if os.path.exists(
        "/proc/self/stat"
    ):  # in ticks since boot: psutil's time moves when the clock is set
        with contextlib.suppress(OSError, IndexError):
            return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]  # fmt: skip
        return None
    import psutil

    try:
        return str(psutil.Process(pid).create_time())
    except (psutil.Error, ValueError):
        return None


def ask_server(settings: Settings, path: str, method: str = "GET") -> tuple[int, bytes]:
    """(status, body) of a request to the running server with the local credential. ClawmeterError when it cannot be reached."""
    import http.client

    where = read_server_file(settings)
    if where is None:
        msg = f"no Clawmeter is serving from the state directory {settings.state_dir}; start one with `clawmeter`"
        raise ClawmeterError(msg)
    access = Access(settings.state_dir, settings=settings, gateway_tokens=list)
    path = f"/{sound(path).removeprefix('/')}"
    path = urllib.parse.quote(path, safe="/?&=%:+,;@!$'()*~")
    connection = connect_to(where["url"], timeout_s=600)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {access.load_token()}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        msg = f"cannot reach the Clawmeter at {where['url']}: {error}; start it again with `clawmeter`"
        raise ClawmeterError(msg) from error
    finally:
        connection.close()


def connect_to(address: str, *, timeout_s: float) -> HTTPConnection:
    """A connection to our own server on this machine; its certificate may be self-signed."""
    import http.client
    import ssl

    url = urllib.parse.urlsplit(address)
    if url.scheme == "https":
        context = ssl._create_unverified_context()  # noqa: S323, SLF001 - see above
        return http.client.HTTPSConnection(
            cast("str", url.hostname), url.port, timeout=timeout_s, context=context
        )
    return http.client.HTTPConnection(cast("str", url.hostname), url.port, timeout=timeout_s)


def is_answering(address: str) -> bool:
    """Whether a server answers there; the file of one that was killed says where it was."""
    import http.client

    connection = connect_to(address, timeout_s=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def cmd_api(args: argparse.Namespace) -> int:
    """Print what the server answers."""
    status, body = ask_server(settings_from(args), args.path)
    sys.stdout.buffer.write(body + b"\n")
    return 0 if status < 400 else 1


def cmd_ingest(args: argparse.Namespace) -> int:
    """Index once, here or by asking the server that has the ledger."""
    settings = settings_from(args)
    try:
        meter = Clawmeter(settings)
    except LedgerBusyError:
        status, body = ask_server(settings, "/api/ingest", "POST")
        answer = as_dict(parse_lenient_or_none(body))
        if status >= 400:
            say(
                f"the running Clawmeter refused: {plain(as_dict(answer.get('error')).get('message'))}"
            )
            return 1
    else:
        try:
            line = ProgressLine()
            began = time.monotonic()
            added = meter.index(line)
            line.done()
            with meter.store.reading() as db:
                calls = db.execute("SELECT count(*) FROM model_calls").fetchone()[0]
                answer = {
                    "new_calls": added,
                    "calls": calls,
                    "seconds": time.monotonic() - began,
                    "coverage": meter.queries.coverage(db),
                }
        finally:
            meter.stop()
    coverage = answer["coverage"]
    print(
        f"{answer['new_calls']:,} new model calls, {answer['calls']:,} in the ledger; {format_bytes(coverage['indexed_bytes'])} read in {answer['seconds']:.2f} s"
    )
    for name, text in (
        ("bad_lines", "lines could not be read"),
        ("unreadable", "sources could not be read"),
        ("implausible", "calls have impossible numbers"),
    ):
        if coverage[name]:
            print(f"{coverage[name]:,} {text}; see `clawmeter doctor`")
    return 0


def cmd_report(args: argparse.Namespace) -> int:
    """Print usage as a table, or as the JSON of /api/usage."""
    settings = settings_from(args)
    with open_queries(settings) as (queries, prices):
        if args.formula:
            print_formula(queries.formula(args.formula, prices), as_json=args.json)
            return 0
        filters = {name: getattr(args, name) for name in FILTER_SQL}
        answer = queries.usage(
            from_=args.from_,
            to=args.to,
            by=args.by,
            sort=args.sort,
            limit=args.limit,
            tz=getattr(args, "time_zone", None),
            **filters,
        )
        if args.json:
            print_json(answer)
            return 0
        query = UsageQuery(
            answer["from_ms"],
            answer["to_ms"],
            queries.zone(answer["tz"]),
            args.by,
            tuple((k, sound(v)) for k, v in filters.items() if v),
        )
        compared = queries.compared(query)
        with queries.ledger.reading() as db:
            projection = queries._projection(db, query, queries.now_ms())  # noqa: SLF001
    print_report(answer, compared, projection)
    return 0


#: Columns that a report leaves out where the terminal is too narrow, the first of them first.
NARROW_REPORT = (
    "per M tokens",
    "cache write",
    "cache read",
    "per call",
    "share",
    "output",
    "input",
)


def print_report(answer: Json, compared: Json, projection: Json | None) -> None:
    """The report for a terminal."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # NO_COLOR (no-color.org): rich would leave bold in; nothing but text is what is meant.
    console = Console(
        highlight=False,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        width=None if sys.stdout.isatty() else 160,
    )
    zone = ZoneInfo(answer["tz"])
    totals = answer["totals"]
    table = Table(
        title=f"{day_of(answer['from_ms'], zone)} to {day_of(answer['to_ms'] - 1, zone)} ({answer['tz']}), by {answer['by'].replace('_', ' ')}",
        title_justify="left",
        show_footer=True,
    )
    whole_cost = totals["cost_nano_usd"]

    def cells(t: Json) -> list[str]:
        calls, cost, tokens = t["model_calls"], t["cost_nano_usd"], t["total_tokens"]
        unpriced = f" + {t['unpriced_calls']:,} unpriced" if t["unpriced_calls"] else ""
        return [
            f"{calls:,}", format_count(t["input_tokens"]), format_count(t["output_tokens"]), format_count(t["cache_read_tokens"]), format_count(t["cache_write_tokens"]),
            f"{format_usd(cost)}{unpriced}", f"{100 * cost / whole_cost:.1f} %" if whole_cost else "—", format_usd(cost // calls) if calls else "—",
            format_usd(cost * 10**6 // tokens) if tokens else "—",
        ]  # fmt: skip

    heads = [
        answer["by"].replace("_", " "),
        "calls",
        "input",
        "output",
        "cache read",
        "cache write",
        "cost",
        "share",
        "per call",
        "per M tokens",
    ]
    rows = []
    for row in answer["rows"]:
        label = (
            row["label"]
            if row["label"] == row["key"] or answer["by"] != "session"
            else f"{row['label']}  {row['key'][:8]}"
        )
        rows.append([plain(label, 60), *cells(row)])
    footer = ["total", *cells(totals)]
    widths = [max(map(cell_len, column)) for column in zip(heads, footer, *rows, strict=True)]
    widths[0] = min(widths[0], 24)  # names fold, figures do not
    shown = list(range(len(heads)))
    for head in NARROW_REPORT:
        if sum(widths[n] + 3 for n in shown) + 1 <= console.width:
            break
        shown.remove(heads.index(head))
    for n in shown:
        table.add_column(
            heads[n],
            footer=footer[n],
            justify="right" if n else "left",
            no_wrap=n > 0,
            overflow="fold",
            min_width=widths[n],
        )
    for cell_row in rows:
        table.add_row(*(Text(cell_row[n]) for n in shown))
    console.print(table)
    notes = []
    if hidden := [head for n, head in enumerate(heads) if n not in shown]:
        notes.append(f"no room for {', '.join(hidden)}: widen the terminal, or use --json")
    prompt = totals["input_tokens"] + totals["cache_read_tokens"] + totals["cache_write_tokens"]
    if totals["output_tokens"]:
        notes.append(f"{prompt / totals['output_tokens']:.1f} tokens in for each token out")
    if prompt:
        notes.append(f"cache hit rate {100 * totals['cache_read_tokens'] / prompt:.1f} %")
    if totals["plan_cost_nano_usd"]:
        notes.append(
            f"beside it {format_usd(totals['plan_cost_nano_usd'])} of API value used on plans"
        )
    if projection and projection["projected_nano_usd"] is not None:
        notes.append(
            f"at month end about {format_usd(projection['projected_nano_usd'])} ({format_usd(projection['low_nano_usd'])} to {format_usd(projection['high_nano_usd'])})"
        )
    percent = compared["list_differs_percent"]
    if percent is not None and abs(percent) > 1:
        notes.append(
            f"list prices would be {percent:+.1f} % ({format_usd(compared['list_nano_usd'])}) of the {format_usd(compared['recorded_nano_usd'])} that OpenClaw recorded and a list price is known for"
        )
    coverage = answer["coverage"]
    if not coverage["complete"]:
        share = (
            100 * coverage["indexed_bytes"] / coverage["total_bytes"]
            if coverage["total_bytes"]
            else 0
        )
        notes.append(
            f"indexed {share:.0f} %, {coverage['unreadable']} sources unreadable: see `clawmeter doctor`"
        )
    if answer["row_count"] > len(answer["rows"]):
        notes.append(f"{len(answer['rows']):,} of {answer['row_count']:,} rows shown")
    for note in notes:
        console.print(note, soft_wrap=True)


def print_formula(answer: Json, *, as_json: bool) -> None:
    """How the cost of a session came about."""
    if as_json:
        print_json(answer)
        return
    print(f"session {plain(answer['session'])}  {plain(answer['key'] or '')}")
    for p in answer["parts"]:
        head = f"{p['day']}  {plain(p['provider'])}/{plain(p['model'])}  {p['model_calls']:,} calls, {p['basis']}, {p['billing_mode']}"
        tokens = " + ".join(
            f"{p[n]:,} {n.removesuffix('_tokens').replace('_', ' ')}" for n in _USAGE
        )
        print(
            f"{head}\n    {tokens} tokens = {format_usd(p['cost_nano_usd']) if p['basis'] != 'unpriced' else 'no price known'} ({p['cost_nano_usd']} nano-USD)"
        )
        if p["price"]:
            for tier in p["price"]["tiers"]:
                above = f" above {tier['above']:,} prompt tokens" if tier["above"] else ""
                rates = ", ".join(
                    f"{n.replace('_', ' ')} ${tier[n] / PICO_PER_USD_MTOK:g}"
                    for n in ("input", "output", "cache_read", "cache_write")
                )
                print(f"    {p['price']['basis']} price per million tokens{above}: {rates}")
        if p["list_differs_percent"] is not None and abs(p["list_differs_percent"]) > 1:
            print(
                f"    by list price {format_usd(p['list_nano_usd'])}: {p['list_differs_percent']:+.1f} % of what OpenClaw recorded"
            )
    plan = (
        f", and {format_usd(answer['plan_cost_nano_usd'])} of API value on a plan"
        if answer["plan_cost_nano_usd"]
        else ""
    )
    print(f"cost {format_usd(answer['cost_nano_usd'])} ({answer['cost_nano_usd']} nano-USD){plan}")


def cmd_export(args: argparse.Namespace) -> int:
    """Write the exports and say where."""
    with open_queries(settings_from(args)) as (queries, _):
        for path, rows in write_exports(queries.ledger, args.form, args.out_dir):
            print(f"{path}: {rows:,} rows")
    return 0


def cmd_status(args: argparse.Namespace) -> int:
    """The state in a few lines."""
    settings = settings_from(args)
    where = read_server_file(settings)
    url = where["url"] if where and is_answering(where["url"]) else None
    with open_queries(settings, index=False) as (queries, _):
        summary = queries.summary()
        with queries.ledger.reading() as db:
            coverage = queries.coverage(db)
    gateway = ask_gateway(settings, queries.homes[0])
    if args.json:
        print_json({"server": url, "summary": summary, "coverage": coverage, "gateway": gateway})
        return 0
    print(f"server   {url or 'not running'}")
    print(
        f"ledger   {settings.ledger_path}, {summary['messages']:,} model calls in {summary['sessions']:,} sessions"
    )
    print(
        f"spent    ${summary['today']:,.2f} today, ${summary['week']:,.2f} in 7 days, ${summary['month']:,.2f} this month, ${summary['allTime']:,.2f} ever"
    )
    print(
        f"sources  {format_bytes(coverage['total_bytes'])}, {coverage['bad_lines']} bad lines, {coverage['unreadable']} unreadable"
    )
    print(f"gateway  {plain(gateway['text'])}")
    return 0


def cmd_doctor(args: argparse.Namespace) -> int:
    """Look at everything and say it line by line; 0 when all is well."""
    settings = settings_from(args)
    healthy = True
    said: set[str] = set()

    def line(mark: str, text: str, advice: str | None = None) -> None:
        nonlocal healthy
        healthy = healthy and mark != "!!"
        print(f"{mark:>2}  {plain(text, 400)}")
        if advice:
            print(f"      {advice}")

    line(
        "ok",
        f"Clawmeter {VERSION}, Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}, days in {settings.zone().key}",
    )
    try:
        homes, others = find_homes(settings)
    except HomeNotFound as error:
        print(f"!!  {error}")
        return 1
    for home in homes:
        config = read_config(home.path, os.environ)
        line(
            "ok",
            f"home {home.path} (by {home.found_by}), OpenClaw {config.version or 'version not known'}",
        )
        if config.problem:
            line(
                "!!" if config.problem != "no openclaw.json" else "--",
                config.problem,
                "prices, agents and the gateway of this home are not known until it can be read",
            )
        else:
            line(
                "ok",
                f"gateway port {config.gateway_port}, bind {config.gateway_bind}, auth {config.gateway_auth}, token {'found' if config.gateway_token else 'not in the config'}",
            )
        try:
            for text in list_transcript_kinds(home):
                line("ok", text)
        except (SourceError, OSError) as error:
            said.add(str(error))
            line("!!", f"{error}", "give the user that runs Clawmeter read access to it")
    print_gateway(ask_gateway(settings, homes[0]), line)
    for home in others:
        line("--", f"another home: {home.path} ({home.found_by}); read it with --home {home.path}")
    with open_queries(settings) as (queries, _):
        health = queries.health()
    store, coverage = health["store"], health["coverage"]
    if store["notice"]:
        line("!!", store["notice"])
    line(
        "ok",
        f"ledger {store['path']}, {format_bytes(store['size_bytes'])}: {store['model_calls']:,} model calls in {store['sessions']:,} sessions, {store['messages']:,} messages",
    )
    versions = sorted(
        {s["schema_version"] for s in health["sources"] if s["schema_version"] is not None}
    )
    if versions:
        line(
            "ok",
            f"transcript databases of schema {', '.join(map(str, versions))} (tested with 22, 23)",
        )
    for source in health["sources"]:
        if source["state"] == "unreadable":
            line(
                "!!",
                source["last_error"] or f"cannot read {source['path']}",
                "give the user that runs Clawmeter read access; its calls are missing from the numbers until then",
            )
        elif source["state"] == "partial":
            line(
                "!!",
                source["last_error"] or f"{source['path']} is not finished",
                "it is read again when it changes",
            )
        elif source["bad_lines"]:
            line(
                "--",
                f"{source['bad_lines']} lines could not be read, the last: {source['last_error']}",
                "nothing but these lines is missing",
            )
    for problem in health["problems"]:
        if problem["level"] == "bad" and problem["text"] not in said | {
            s["last_error"] for s in health["sources"]
        }:
            line("!!", problem["text"], problem["what_to_do"])
    for item in health["implausible"][:5]:
        line(
            "--", f"left out as implausible: a call of session {item['session']}: {item['reason']}"
        )
    line(
        "ok" if coverage["complete"] else "!!",
        f"{format_bytes(coverage['indexed_bytes'])} of {format_bytes(coverage['total_bytes'])} indexed",
    )
    return 0 if healthy else 1


def print_gateway(told: Json, line: Callable[[str, str, str | None], None]) -> None:
    """What `doctor` says about the gateway. Everything but live sessions works without it."""
    if told["status"] == "connected":
        missing = f", this version cannot {', '.join(told['missing'])}" if told["missing"] else ""
        line("ok", f"gateway {told['url']}: {told['text']}, protocol {told['protocol']}{missing}", None)  # fmt: skip
    elif told["status"] == "off":
        line("ok", "gateway not asked (switched off)", None)
    else:
        is_wrong = told["status"] in ("refused", "incompatible")
        line("!!" if is_wrong else "--", told["problem"] or told["text"], told["what_to_do"])


def ask_gateway(settings: Settings, home: OpenClawHome) -> Json:
    """Gateway of the API, by the running server, else by a connection of our own that ends at once."""
    where = read_server_file(settings)
    if where and is_answering(where["url"]):
        with contextlib.suppress(ClawmeterError, ValueError):
            told = as_dict(as_dict(orjson.loads(ask_server(settings, "/api/health")[1])).get("gateway"))  # fmt: skip
            if told:
                return told
    state = GatewayState()
    if not settings.gateway:
        return state.describe()
    return GatewayClient(
        settings, state, read_config=lambda: read_config(home.path, os.environ)
    ).probe()


def list_transcript_kinds(home: OpenClawHome) -> Iterator[str]:
    """What kinds of transcripts each agent has, one line an agent. SourceError or OSError when they cannot be listed."""
    for agent in home.agents():
        kinds = Counter(p.kind for p in list_transcripts(agent))
        text = ", ".join(f"{n} {k}" for k, n in sorted(kinds.items())) or "no transcripts yet"
        yield f"agent {agent.name}: {text}"


def cmd_token(args: argparse.Namespace) -> int:
    """Show or manage tokens."""
    settings = settings_from(args)
    make_private_dir(settings.state_dir)
    access = Access(settings.state_dir, settings=settings, gateway_tokens=list)
    if args.action == "show":
        where = read_server_file(settings)
        token = access.load_token()
        print(f"{where['url']}/#token={urllib.parse.quote(token)}" if where else token)
    elif args.action == "rotate":
        access.rotate()
        say("New dashboard token; every browser has to log in again. `clawmeter token` shows it.")
    elif args.action == "list":
        for row in access.list_tokens():
            print(f"{row.id}  {row.scope:8}  {plain(row.label)}")
    elif not args.name:
        say(f"clawmeter token {args.action} NAME")
        return 2
    elif args.action == "create":
        _, secret = access.create_token(args.name, args.scope)
        say(f"Token {plain(args.name)} with scope {args.scope}; it is shown this once:")
        print(secret)
    elif not access.revoke_token(args.name):
        say(f"no token {plain(args.name)}")
        return 1
    return 0


def cmd_demo(args: argparse.Namespace) -> int:
    """Make a home, serve it, and let things happen in it."""
    if not 1 <= args.days <= 3660:
        say(f"clawmeter: --days is a number from 1 to 3660, not {args.days}")
        return 2
    with tempfile.TemporaryDirectory(prefix="clawmeter-demo-") as folder:
        root = Path(folder)
        # In a process of its own: what making a home takes in memory is not the server's.
        subprocess.run(own_command("_make-demo", folder, str(args.days)), check=True)
        settings = demo_settings(args, root)
        make_private_dir(settings.state_dir)
        writer = DemoWriter(root)
        writer.start()
        try:
            return run_server(
                settings,
                note="This is a made-up home in a temporary folder; it is gone when you stop it (Ctrl-C).",
            )
        finally:
            writer.stop()


def demo_settings(args: argparse.Namespace, root: Path) -> Settings:
    """The settings of a demo in `root`: whatever else is set, its made-up numbers go into a ledger of its own."""
    settings = settings_from(args, homes=[str(root)], state_dir=str(root / "state"))
    return replace(settings, db=None, agents_dir=None, gateway=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["_index-worker"]:
        return serve_index_worker()
    if words[:1] == ["_list-prices"]:
        return serve_list_prices()
    if words[:1] == ["_make-demo"]:
        make_demo_home(Path(words[1]), now_ms=int(time.time() * 1000), days=int(words[2]))
        return 0
    args = build_parser().parse_args(words)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a dash shows `?`
            stream.reconfigure(errors="replace")
    try:
        status = int(getattr(args, "run", cmd_serve)(args))
        sys.stdout.flush()
    except ClawmeterError as error:
        say(f"clawmeter: {error}")
        return (
            2
            if isinstance(error, SettingsError)
            or (isinstance(error, QueryError) and error.status == 400)
            else 1
        )
    except BrokenPipeError:  # `clawmeter report | head`: what is left in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def main_entry() -> None:
    """The console script."""
    sys.exit(main())


###############################################################################
# Web UI ######################################################################
###############################################################################
# The page's files as raw strings, last so that readers of code never scroll through markup.
# Only INDEX_HTML has variables (Jinja, escaped); the others are served as they stand, under one digest.

# language=HTML
INDEX_HTML = r"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>Overview · Clawmeter</title>
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='none' stroke='%23b8402a' stroke-width='2' stroke-linecap='round'%3E%3Cpath d='M3.4 12.6a6.5 6.5 0 1 1 9.2 0'/%3E%3Cpath d='M8 8l2.6-3.2'/%3E%3C/svg%3E">
<link rel="stylesheet" href="/assets/{{ digest }}/app.css">
<link rel="modulepreload" href="/assets/{{ digest }}/dom.js">
<link rel="modulepreload" href="/assets/{{ digest }}/chart.js">
<link rel="modulepreload" href="/assets/{{ digest }}/views.js">
<script type="module" src="/assets/{{ digest }}/app.js"></script>
</head>
<body data-version="{{ version }}">
<a class="skip" href="#main" data-action="skip">Skip to the numbers</a>
<div class="frame">
<div id="rail"></div>
<div id="page">
<header id="bar"></header>
<main id="main" tabindex="-1"><noscript><p class="notice">Clawmeter's pages need JavaScript. Without it: <code>clawmeter report</code>, or <code>/api/usage</code>.</p></noscript></main>
</div>
</div>
<p id="said" class="unseen" role="status" aria-live="polite"></p>
<dialog id="help" class="help" aria-labelledby="help-title"></dialog>
<dialog id="search" class="search" aria-labelledby="search-title"></dialog>
<dialog id="sheet" class="sheet" aria-labelledby="sheet-title"></dialog>
</body>
</html>
"""

# language=CSS
APP_CSS = r"""/* Colours are the variables below and nothing else; spacing goes 4, 8, 12, 16, 24, 32. */
:root {
  color-scheme: light dark;
  --bg: #fafaf8; --surface: #ffffff; --line: #e5e4df;
  --ink: #1c1c1a; --ink-2: #5c5b56; --ink-3: #73716a;
  --accent: #b8402a; --ok: #2b7a4b; --warn: #8f5e00; --bad: #b3261e;
  --s1: #3b6fb6; --s2: #d1802f; --s3: #3f9a86; --s4: #b5557f; --s5: #7c6bb5; --s6: #8a9a2e; --s7: #c2573f;
  --s8: #6f7682;
  --mono: ui-monospace, "SF Mono", SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
  --rail: 184px;
}
@media (prefers-color-scheme: dark) {
  :root:not([data-theme="light"]) {
    --bg: #131312; --surface: #1b1b19; --line: #2f2e2b;
    --ink: #edece7; --ink-2: #aaa89f; --ink-3: #8a8880;
    --accent: #f08268; --ok: #63c18b; --warn: #e0ad45; --bad: #ff8276;
    --s1: #6b98d6; --s2: #e0994f; --s3: #5cb5a1; --s4: #cd779d; --s5: #9a8bcf; --s6: #a7b64b;
    --s7: #d9745d; --s8: #8f96a1;
  }
}
:root[data-theme="light"] { color-scheme: light; }
:root[data-theme="dark"] {
  color-scheme: dark;
  --bg: #131312; --surface: #1b1b19; --line: #2f2e2b;
  --ink: #edece7; --ink-2: #aaa89f; --ink-3: #8a8880;
  --accent: #f08268; --ok: #63c18b; --warn: #e0ad45; --bad: #ff8276;
  --s1: #6b98d6; --s2: #e0994f; --s3: #5cb5a1; --s4: #cd779d; --s5: #9a8bcf; --s6: #a7b64b; --s7: #d9745d;
  --s8: #8f96a1;
}

*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; scrollbar-color: var(--line) transparent; }
body {
  margin: 0; background: var(--bg); color: var(--ink);
  font: 14px/20px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
}
h1, h2, h3, p, ul, ol, dl, dd { margin: 0; padding: 0; }
ul, ol { list-style: none; }
h1 { font-size: 14px; font-weight: 600; }
h2 { font-size: 14px; line-height: 20px; font-weight: 600; }
b, strong { font-weight: 600; }
a { color: var(--accent); text-underline-offset: 2px; }
code, kbd, .mono { font-family: var(--mono); font-size: .93em; }
button, select, input { font: inherit; color: inherit; }
button { background: none; border: 0; padding: 0; cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; border-radius: 6px; }
main:focus { outline: none; }
.unseen {
  position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap;
}
.skip {
  position: fixed; z-index: 9; top: 8px; left: 8px; padding: 8px 12px; background: var(--surface);
  border: 1px solid var(--line); border-radius: 6px; transform: translateY(-64px);
}
.skip:focus { transform: none; }
.num { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.note, .share { color: var(--ink-3); }
.is-ok { color: var(--ok); } .is-warn { color: var(--warn); } .is-bad { color: var(--bad); }
.icon, .brand-mark {
  flex: none; fill: none; stroke: currentColor; stroke-width: 1.4; stroke-linecap: round;
  stroke-linejoin: round;
}
.dot { flex: none; fill: currentColor; }
.s1 { fill: var(--s1); } .s2 { fill: var(--s2); } .s3 { fill: var(--s3); } .s4 { fill: var(--s4); }
.s5 { fill: var(--s5); } .s6 { fill: var(--s6); } .s7 { fill: var(--s7); } .s8 { fill: var(--s8); }
.l1 { stroke: var(--s1); } .l2 { stroke: var(--s2); } .l3 { stroke: var(--s3); } .l4 { stroke: var(--s4); }
.l5 { stroke: var(--s5); } .l6 { stroke: var(--s6); } .l7 { stroke: var(--s7); } .l8 { stroke: var(--s8); }

/* Frame */
.frame { min-height: 100vh; }
#page { margin-left: var(--rail); min-width: 0; }
.is-login #page { margin-left: 0; }
.rail {
  position: fixed; z-index: 3; inset: 0 auto 0 0; width: var(--rail); padding: 0 8px 8px;
  border-right: 1px solid var(--line); background: var(--bg); overflow: hidden auto;
}
.brand { display: flex; align-items: center; gap: 8px; height: 48px; padding: 0 8px; font-weight: 600; }
.brand-mark { color: var(--ink); stroke-width: 1.8; }
.rail ul { display: grid; gap: 1px; }
.rail-link {
  display: flex; align-items: center; gap: 8px; width: 100%; height: 32px; padding: 0 8px;
  border-radius: 6px; color: var(--ink-2); text-decoration: none;
}
.rail-link[href]:hover, .rail-more .rail-link:hover { background: var(--line); color: var(--ink); }
.rail-link[aria-current="page"] {
  color: var(--ink); font-weight: 600; background: var(--surface); box-shadow: inset 0 0 0 1px var(--line);
}
.rail-link[aria-current="page"] .icon { color: var(--accent); }
.rail-link[aria-disabled] { color: var(--ink-3); opacity: .62; cursor: default; }
.rail-more { display: none; }
#bar { position: sticky; z-index: 2; top: 0; background: var(--bg); }
.bar {
  display: flex; align-items: center; gap: 12px; min-height: 48px;
  padding: 8px max(24px, (100% - 1680px) / 2); border-bottom: 1px solid var(--line);
}
.bar h1 { margin-right: 4px; }
.bar-controls { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; min-width: 0; }
.bar-state { display: flex; align-items: center; gap: 4px; margin-left: auto; }
.select { position: relative; display: inline-flex; min-width: 0; }
.select select {
  appearance: none; height: 28px; max-width: 220px; min-width: 0; padding: 0 26px 0 10px;
  border: 1px solid var(--line); border-radius: 6px; background: var(--surface); font-size: 13px;
  text-overflow: ellipsis; cursor: pointer;
}
.select select:hover { border-color: var(--ink-3); }
.select::after {
  content: ""; position: absolute; right: 11px; top: 10px; width: 5px; height: 5px;
  border: solid var(--ink-3); border-width: 0 1.3px 1.3px 0; transform: rotate(45deg);
  pointer-events: none;
}
.select.is-small select { height: 24px; font-size: 12px; }
.select.is-small::after { top: 8px; }
.live {
  display: inline-flex; align-items: center; gap: 6px; margin-right: 8px; font-size: 12px;
  color: var(--ink-2); white-space: nowrap;
}
.live-less { display: none; }
.live.is-live .dot { color: var(--ok); }
.live.is-waiting .dot { color: var(--ink-3); }
.live.is-lost, .live.is-lost .dot { color: var(--bad); }
.icon-button {
  display: grid; place-items: center; width: 28px; height: 28px; border-radius: 6px; color: var(--ink-2);
}
.icon-button:hover { background: var(--line); color: var(--ink); }
.link { font-size: 12px; color: var(--accent); white-space: nowrap; }
.link:hover { text-decoration: underline; text-underline-offset: 2px; }
.button {
  height: 28px; padding: 0 12px; border: 1px solid var(--line); border-radius: 6px;
  background: var(--surface); font-size: 13px; white-space: nowrap;
}
.button:hover { border-color: var(--ink-3); }
.button.is-first { background: var(--ink); border-color: var(--ink); color: var(--bg); font-weight: 600; }

/* Menus, chips, fields, dialogs */
.menu { position: relative; display: inline-flex; }
.menu-button {
  height: 28px; padding: 0 26px 0 10px; border: 1px solid var(--line); border-radius: 6px;
  background: var(--surface); font-size: 13px; white-space: nowrap; position: relative;
}
.menu-button:hover { border-color: var(--ink-3); }
.menu-button::after {
  content: ""; position: absolute; right: 11px; top: 9px; width: 5px; height: 5px;
  border: solid var(--ink-3); border-width: 0 1.3px 1.3px 0; transform: rotate(45deg);
}
.is-quiet .menu-button { padding: 0 8px; border-color: transparent; background: none; color: var(--ink-2); }
.is-quiet .menu-button::after { content: none; }
.is-quiet .menu-button:hover { background: var(--line); color: var(--ink); }
.menu-box {
  position: absolute; z-index: 6; top: calc(100% + 4px); left: 0; padding: 12px; border: 1px solid var(--line);
  border-radius: 6px; background: var(--surface); box-shadow: 0 8px 24px rgb(0 0 0 / .12); font-size: 13px;
}
.bar-state .menu-box { left: auto; right: 0; }
.chip {
  display: inline-flex; align-items: center; gap: 4px; height: 24px; padding: 0 2px 0 8px; border-radius: 6px;
  border: 1px solid var(--line); background: var(--surface); font-size: 12px; max-width: 260px;
}
.chip bdi { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.chip-kind { color: var(--ink-3); }
.chip button { display: grid; place-items: center; width: 20px; height: 20px; border-radius: 4px; color: var(--ink-3); }
.chip button:hover { background: var(--line); color: var(--ink); }
.segments { display: inline-flex; border: 1px solid var(--line); border-radius: 6px; background: var(--surface); }
.segments button { height: 24px; padding: 0 10px; font-size: 12px; color: var(--ink-2); white-space: nowrap; }
.segments button + button { border-left: 1px solid var(--line); }
.segments button:hover { color: var(--ink); }
.segments button[aria-pressed="true"] { background: var(--line); color: var(--ink); font-weight: 600; }
.field {
  height: 28px; min-width: 0; padding: 0 8px; border: 1px solid var(--line); border-radius: 6px;
  background: var(--bg); font-size: 13px;
}
.field:hover { border-color: var(--ink-3); }
.field[aria-invalid] { border-color: var(--bad); }
::placeholder { color: var(--ink-3); opacity: 1; }
.check { display: flex; align-items: center; gap: 8px; font-size: 13px; }
.check input { margin: 0; accent-color: var(--accent); }
.range-picker .menu-box { display: flex; gap: 16px; }
.range-side { display: flex; flex-direction: column; gap: 12px; width: 196px; }
.presets { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; }
.presets button { width: 100%; height: 28px; padding: 0 8px; border-radius: 6px; text-align: left; }
.presets button:hover { background: var(--bg); }
.presets button[aria-pressed="true"] { background: var(--line); font-weight: 600; }
.relative { display: flex; align-items: center; gap: 6px; }
.relative input {
  width: 56px; height: 28px; padding: 0 6px; border: 1px solid var(--line); border-radius: 6px; background: var(--bg);
}
.relative .button { margin-left: auto; }
.range-side .check { margin-top: auto; }
.calendar-head { display: flex; align-items: center; justify-content: space-between; margin-bottom: 4px; }
.calendar table { width: auto; }
.calendar th { font-size: 11px; color: var(--ink-3); text-align: center; }
.calendar td { padding: 0; }
.calendar .note { margin-top: 6px; font-size: 12px; }
.day { width: 32px; height: 28px; font-size: 12px; }
.day:hover { background: var(--line); }
.day.is-outside { color: var(--ink-3); }
.day.is-in { background: var(--line); color: var(--ink); font-weight: 600; }
.day.is-outside.is-in { color: var(--ink-2); font-weight: 400; }
.day.is-today { text-decoration: underline; text-underline-offset: 3px; }
.day[aria-disabled] { color: var(--ink-3); opacity: .55; cursor: default; }
.filter-menu .menu-box { width: 400px; max-width: calc(100vw - 32px); display: grid; gap: 8px; }
.filter-menu .segments { justify-self: start; }
.values { display: grid; max-height: 320px; overflow: auto; margin: 0 -6px; }
.values button {
  display: flex; justify-content: space-between; gap: 16px; width: 100%; padding: 4px 6px; border-radius: 6px;
  text-align: left;
}
.values button:hover { background: var(--bg); }
.values bdi { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.settings .menu-box { width: 372px; max-width: calc(100vw - 32px); }
.settings-list { display: grid; gap: 10px; }
.settings-list > div { display: grid; grid-template-columns: 84px 1fr; align-items: center; gap: 8px; }
.settings-list dt { color: var(--ink-2); }
.settings-list dd { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; }
.settings .note { margin-top: 12px; padding-top: 8px; border-top: 1px solid var(--line); font-size: 12px; line-height: 16px; }
.rate { display: inline-flex; align-items: center; gap: 6px; white-space: nowrap; }
.rate .field { width: 72px; text-align: right; }
.search, .sheet {
  width: min(640px, calc(100vw - 32px)); max-height: min(560px, 80vh); margin-top: 12vh; padding: 0;
  border: 1px solid var(--line); border-radius: 6px; background: var(--surface); color: var(--ink); overflow: hidden auto;
}
.sheet { width: min(860px, calc(100vw - 32px)); max-height: 84vh; margin-top: 8vh; }
.search::backdrop, .sheet::backdrop { background: rgb(0 0 0 / .4); }
.search-field {
  position: sticky; top: 0; display: flex; align-items: center; gap: 12px; padding: 0 16px; height: 48px;
  border-bottom: 1px solid var(--line); background: var(--surface); color: var(--ink-3);
}
.search-field input { flex: 1; height: 46px; border: 0; background: none; color: var(--ink); outline: none; appearance: none; }
.search-field input::-webkit-search-cancel-button { display: none; }
.search-hits { padding: 8px; }
.search-hits li {
  display: flex; align-items: baseline; gap: 12px; padding: 6px 8px; border-radius: 6px; font-size: 13px; cursor: pointer;
}
.search-hits li:hover { background: var(--bg); }
.search-hits li[aria-selected="true"] { background: var(--line); }
.search-hits li[aria-selected="true"] :is(.hit-kind, .note) { color: var(--ink-2); }
.hit-kind { flex: none; width: 64px; font-size: 12px; color: var(--ink-3); }
.hit-name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.search-hits .note { margin-left: auto; font-size: 12px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; max-width: 45%; }
.search .nothing { padding: 0 16px 16px; }
.name-button, .sort { max-width: 100%; color: inherit; text-align: inherit; }
.name-button { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; vertical-align: bottom; }
.swatch + .name-button { max-width: calc(100% - 18px); }
.name-button:hover, .sort:hover { text-decoration: underline; text-underline-offset: 2px; }
.sort { position: relative; }
.sort-mark { position: absolute; right: -11px; font-size: 8px; }
main { padding: 16px 24px 24px; max-width: calc(1680px + 48px); margin: 0 auto; }

/* Grid and panels */
.grid { display: grid; grid-template-columns: repeat(12, minmax(0, 1fr)); gap: 16px; }
.figures { grid-column: 1 / -1; display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 16px; }
.w12 { grid-column: span 12; } .w8 { grid-column: span 8; } .w4 { grid-column: span 4; }
.stack { display: grid; gap: 16px; align-content: stretch; }
.panel, .figure {
  min-width: 0; border: 1px solid var(--line); border-radius: 6px; background: var(--surface);
}
.panel { display: flex; flex-direction: column; padding: 12px 16px; }
.panel-head { display: flex; align-items: center; gap: 8px; min-height: 24px; margin-bottom: 8px; }
.panel-head .note {
  font-size: 12px; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
}
.tools { display: flex; gap: 12px; align-items: center; margin-left: auto; }
.nothing { padding: 12px 0; color: var(--ink-3); font-size: 13px; }
.more { padding-top: 8px; font-size: 12px; color: var(--ink-3); }
.mark {
  padding: 0 4px; border: 1px solid var(--line); border-radius: 4px; font-size: 11px; line-height: 16px;
  color: var(--ink-2); white-space: nowrap; font-weight: 400;
}
.mark.is-warn { color: var(--warn); border-color: currentColor; }

/* Figures */
.figure { display: flex; flex-direction: column; gap: 4px; padding: 12px 16px; }
.figure header {
  display: flex; align-items: center; justify-content: space-between; gap: 8px; min-height: 18px;
}
.figure h2 { font-size: 12px; line-height: 16px; font-weight: 400; color: var(--ink-2); }
.figure-row {
  display: flex; align-items: flex-start; justify-content: space-between; gap: 12px; min-height: 36px;
}
.figure-number { font-size: 28px; line-height: 36px; font-weight: 600; letter-spacing: -.01em; }
.figure .unpriced { display: block; }
.unpriced {
  font-size: 12px; line-height: 16px; font-weight: 400; letter-spacing: 0; color: var(--warn);
  white-space: nowrap;
}
.figure-change, .figure-plan, .budget { font-size: 12px; line-height: 16px; color: var(--ink-2); }
.figure-plan { color: var(--ink-3); }
.arrow { margin-right: 3px; font-size: 9px; vertical-align: 1px; }
.budget { display: grid; gap: 4px; margin-top: auto; padding-top: 4px; }
.spark { flex: none; margin-top: 4px; overflow: visible; }
.spark-line {
  fill: none; stroke: var(--ink-2); stroke-width: 1.4; stroke-linejoin: round; stroke-linecap: round;
}
.spark-base { stroke: var(--line); }
.spark-dot { fill: var(--ink); }
progress {
  appearance: none; display: block; width: 100%; height: 4px; border: 0; border-radius: 2px;
  background: var(--line); color: var(--ok); overflow: hidden;
}
progress::-webkit-progress-bar { background: var(--line); }
progress::-webkit-progress-value { background: currentColor; }
progress::-moz-progress-bar { background: currentColor; }
progress.is-warn { color: var(--warn); } progress.is-bad { color: var(--bad); }
.range-bar { width: 100%; height: 16px; margin-top: auto; }
.range-band { fill: var(--ink-3); opacity: .35; }
.range-spent { fill: var(--ink-2); }
.range-mark { fill: var(--ink); }
.range-budget { fill: var(--bad); }

/* Attention */
.attention li {
  display: flex; align-items: flex-start; gap: 12px; padding: 6px 0; border-top: 1px solid var(--line);
  font-size: 13px; line-height: 18px;
}
.attention li:first-child { border-top: 0; }
.level { display: inline-flex; align-items: center; gap: 6px; flex: none; width: 84px; }
.attention-text { flex: 1; min-width: 0; }
.attention a { white-space: nowrap; }

/* Charts */
.chart {
  position: relative; min-width: 0; margin: 0 -4px; padding: 0 4px; touch-action: pan-y; user-select: none;
  cursor: crosshair;
}
.plot { display: block; overflow: visible; }
.plot .rule { stroke: var(--line); } .plot .base { stroke: var(--ink-3); }
.plot .tick { font-size: 11px; fill: var(--ink-3); font-variant-numeric: tabular-nums; }
.bars rect { stroke: var(--surface); stroke-width: .75; }
.bars .hatch > rect { stroke: none; }
.hatch-line { fill: var(--surface); opacity: .55; }
.bars .is-dim, .lines .is-dim { opacity: .18; }
.lines path { fill: none; stroke-width: 1.6; stroke-linejoin: round; stroke-linecap: round; }
.lines circle { fill: var(--surface); stroke-width: 1.4; }
.lines .is-so-far { stroke-dasharray: 2 3.5; }
.band { fill: var(--ink); opacity: .07; } .band.is-drag { fill: var(--accent); opacity: .16; }
.touch { fill: transparent; }
.tip {
  position: absolute; z-index: 4; top: 0; left: 0; pointer-events: none; max-width: min(340px, 92vw);
  padding: 8px 12px; border: 1px solid var(--line); border-radius: 6px; background: var(--surface);
}
.tip:empty { display: none; }
.tip-table { border-collapse: collapse; font-size: 12px; line-height: 18px; }
.tip-table th { font-weight: 400; text-align: left; }
.tip-table thead th, .tip-table thead td { font-weight: 600; padding-bottom: 4px; white-space: nowrap; }
.tip-table td, .tip-table th { padding: 0 0 0 12px; }
.tip-table tr > :first-child { padding-left: 0; }
.tip-table tbody th {
  padding-left: 6px; max-width: 180px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
}
.tip-table tbody td:last-child { color: var(--ink-3); }
.tip-table .is-zero { color: var(--ink-3); }
.legend {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 0 16px;
  margin: auto -6px 0; padding-top: 8px;
}
.legend button {
  display: flex; align-items: center; gap: 8px; width: 100%; padding: 3px 6px; border-radius: 6px;
  font-size: 12px; line-height: 18px; text-align: left;
}
.legend button:hover { background: var(--bg); }
.legend button[aria-pressed="true"] { box-shadow: inset 0 0 0 1px var(--accent); }
.legend-name { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.legend .share { width: 34px; text-align: right; white-space: nowrap; }
.swatch { flex: none; display: inline-block; vertical-align: -1px; }
.thin { display: block; width: 100%; height: 4px; }
.thin-back { fill: var(--line); } .thin-fore { fill: var(--ink-3); }

/* Tables */
table { border-collapse: collapse; width: 100%; font-size: 13px; line-height: 18px; }
th { font-weight: 400; text-align: left; }
th.num { text-align: right; }
.grid-table thead th {
  padding: 4px 12px 6px 0; font-size: 12px; color: var(--ink-3); white-space: nowrap;
  border-bottom: 1px solid var(--line);
}
.grid-table tbody td, .grid-table tbody th, .grid-table tfoot td, .grid-table tfoot th {
  padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); white-space: nowrap;
}
.grid-table tr > :last-child { padding-right: 0; }
.grid-table tbody tr:last-child > * { border-bottom: 0; }
.grid-table tfoot > tr > * { border-top: 1px solid var(--ink-3); border-bottom: 0; font-weight: 600; }
.grid-table tbody tr:hover { background: var(--bg); }
.name { max-width: 0; width: 36%; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.model { max-width: 200px; overflow: hidden; text-overflow: ellipsis; }
.mid { max-width: 180px; overflow: hidden; text-overflow: ellipsis; }
.w8 .mid { max-width: 110px; } .w8 .model { max-width: 160px; }
.where { display: none; }
.bar-cell { width: 22%; min-width: 56px; vertical-align: middle; }
.shares td, .shares th { padding: 4px 8px 4px 0; }
.shares tr > :last-child { padding-right: 0; width: 40px; }
.shares .name { width: 36%; } .shares .bar-cell { width: 30%; }
.scroll { position: relative; overflow-x: auto; min-width: 0; }
.scroll.is-window { max-height: calc(100vh - 180px); min-height: 240px; overflow: auto; contain: content; }
.scroll.is-window thead th { position: sticky; z-index: 1; top: 0; background: var(--surface); }
.gap > td { padding: 0 !important; border: 0 !important; }
.gap-space { display: block; }
.scroll.is-long { max-height: 432px; overflow: auto; }
.scroll.is-long thead th { position: sticky; z-index: 1; top: 0; background: var(--surface); }
.scroll.is-long tfoot > tr > * { position: sticky; bottom: 0; background: var(--surface); }
.scroll.is-tall { height: 288px; overflow: auto; }
.scroll.is-tall thead th { position: sticky; top: 0; background: var(--surface); }
.state { display: inline-flex; align-items: center; gap: 6px; color: var(--ink-2); }
.state.is-running .dot { color: var(--ok); }
.state.is-idle .dot { fill: none; stroke: currentColor; stroke-width: 1.5; }
.state.is-ended { color: var(--ink-3); }
.grid-table tbody .depth-1 { padding-left: 16px; }
.grid-table tbody .depth-2 { padding-left: 32px; }
.grid-table tbody .depth-3 { padding-left: 48px; }
.grid-table tbody .depth-4 { padding-left: 64px; }
.branch { margin-right: 6px; color: var(--ink-3); }
.context {
  display: inline-grid; vertical-align: top; grid-template-columns: 48px 36px; align-items: center;
  gap: 8px;
}
.activity li {
  display: flex; gap: 8px; padding: 5px 0; font-size: 13px; line-height: 18px;
  border-top: 1px solid var(--line);
}
.activity li:first-child { border-top: 0; }
.did {
  display: inline-flex; align-items: center; gap: 6px; flex: none; width: 100px; white-space: nowrap;
  color: var(--ink-2);
}
.did.is-bad { color: var(--bad); }
.activity-text { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.activity time { color: var(--ink-3); white-space: nowrap; }

/* Cost */
h3 { margin: 12px 0 4px; font-size: 12px; line-height: 16px; font-weight: 600; color: var(--ink-2); }
.figure-button { color: inherit; font: inherit; text-align: inherit; letter-spacing: inherit; white-space: nowrap; }
.figure-button:hover { text-decoration: underline dotted; text-underline-offset: 3px; }
.row-link { color: inherit; text-decoration: none; }
.row-link:hover { text-decoration: underline; text-underline-offset: 2px; }
.table-head { display: flex; align-items: center; margin-top: 12px; padding-top: 4px; border-top: 1px solid var(--line); }
.table-head h3 { margin: 4px 0; }
.thin.is-thick { height: 12px; border-radius: 3px; }
.thin .is-dim { opacity: .18; }
.ranking .name { width: 22%; } .ranking .bar-cell { width: auto; } .ranking td:last-child { width: 90px; }
.before { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.is-part > * { color: var(--ink-2); }
.legend-item { display: flex; align-items: center; gap: 8px; padding: 3px 6px; font-size: 12px; line-height: 18px; }
.heat { table-layout: fixed; border-collapse: separate; border-spacing: 2px; min-width: 560px; }
.heat th { font-size: 11px; color: var(--ink-3); line-height: 16px; white-space: nowrap; }
.heat tr > :first-child { width: 36px; } .heat tr > :last-child { width: 72px; font-size: 12px; }
.heat td { height: 28px; border-radius: 3px; }
.h0 { background: var(--bg); box-shadow: inset 0 0 0 1px var(--line); }
.h1 { background: color-mix(in srgb, var(--s1) 18%, var(--surface)); }
.h2 { background: color-mix(in srgb, var(--s1) 38%, var(--surface)); }
.h3 { background: color-mix(in srgb, var(--s1) 58%, var(--surface)); }
.h4 { background: color-mix(in srgb, var(--s1) 80%, var(--surface)); }
.h5 { background: var(--s1); }
.heat-key { display: flex; align-items: center; justify-content: flex-end; gap: 3px; padding-top: 8px; font-size: 11px; color: var(--ink-3); }
.heat-key i { width: 14px; height: 10px; border-radius: 2px; }
.heat-key span { margin: 0 4px; }
.facts { display: flex; flex-wrap: wrap; gap: 8px 32px; }
.facts dt { font-size: 12px; color: var(--ink-2); }
.facts dd { font-size: 20px; line-height: 28px; font-weight: 600; }
.halves { display: grid; grid-template-columns: minmax(0, 7fr) minmax(0, 5fr); gap: 0 24px; margin-bottom: 8px; }
.halves .activity li { padding: 4px 0; }
.is-long .name { min-width: 128px; }
.statement { display: none; grid-column: 1 / -1; }
.prices { display: grid; gap: 8px; }
.prices li + li { padding-top: 8px; border-top: 1px solid var(--line); }
.price-fields { display: flex; flex-wrap: wrap; align-items: flex-end; gap: 8px 12px; margin-top: 4px; }
.price-fields label { display: grid; gap: 2px; font-size: 12px; color: var(--ink-2); }
.price-fields .field { width: 96px; text-align: right; }
.price-set { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 12px; font-size: 13px; }
.price-set .link { margin-left: auto; }
.sheet { padding: 16px; }
.sheet-head { display: flex; align-items: center; justify-content: space-between; gap: 16px; margin-bottom: 8px; }
.sheet .note { margin: 4px 0 12px; font-size: 13px; }
.sheet .figure-number { margin-bottom: 4px; }
.formula { font-family: var(--mono); font-size: 13px; }
.formula-price { display: block; font-size: 12px; line-height: 16px; color: var(--ink-3); white-space: normal; }

/* Strip */
.strip { padding: 12px 0 0; border-top: 1px solid var(--line); }
.strip dl { display: flex; flex-wrap: wrap; gap: 4px 24px; font-size: 12px; line-height: 16px; }
.strip dl > div { display: flex; gap: 6px; min-width: 0; }
.strip dt { color: var(--ink-3); white-space: nowrap; }
.strip dd { color: var(--ink-2); }
.strip .is-warn dd { color: var(--warn); }
.strip progress { display: inline-block; width: 64px; vertical-align: 3px; margin-left: 4px; }
.strip .unpriced { line-height: inherit; }

/* States */
.is-stale main { --ink: var(--ink-3); --ink-2: var(--ink-3); color: var(--ink-3); }
.is-stale .plot, .is-stale .spark, .is-stale .thin, .is-stale .swatch, .is-stale progress { opacity: .45; }
.notice {
  display: flex; align-items: center; gap: 16px; margin-bottom: 16px; padding: 8px 16px;
  border: 1px solid var(--line); border-radius: 6px; background: var(--surface); font-size: 13px;
}
.notice.is-bad { border-color: currentColor; }
.notice p { flex: 1; color: var(--ink); }
.empty { gap: 12px; padding: 32px; max-width: 720px; }
.empty.w12 { max-width: none; }
.empty h2 { font-size: 20px; line-height: 28px; }
.empty p { max-width: 640px; color: var(--ink-2); }
.commands { display: grid; gap: 8px; margin-top: 8px; }
.commands > div { display: grid; grid-template-columns: 260px 1fr; align-items: center; gap: 16px; }
.commands dt { color: var(--ink-2); font-size: 13px; }
.command {
  display: inline-flex; align-items: center; gap: 12px; padding: 3px 10px; border: 1px solid var(--line);
  border-radius: 6px; background: var(--bg); color: var(--ink); white-space: nowrap;
}
.skeleton { min-height: 116px; }
.skeleton.is-tall { min-height: 360px; }
.ghost { width: 56px; height: 10px; border-radius: 4px; background: var(--line); }
.ghost.is-number { width: 132px; height: 22px; margin: 6px 0; }
.ghost.is-wide { width: 60%; }
.login {
  display: grid; gap: 12px; max-width: 400px; margin: 12vh auto 0; padding: 32px;
  border: 1px solid var(--line); border-radius: 6px; background: var(--surface);
}
.login h1 { font-size: 20px; line-height: 28px; }
.login p { color: var(--ink-2); font-size: 13px; }
.login form { display: grid; gap: 8px; margin: 8px 0; }
.login label { font-size: 12px; color: var(--ink-2); }
.login input {
  height: 36px; padding: 0 10px; border: 1px solid var(--ink-3); border-radius: 6px; background: var(--bg);
  font-family: var(--mono);
}
.login input[aria-invalid="true"] { border-color: var(--bad); }
.login .button { height: 36px; }
.login .button[aria-disabled="true"] { opacity: .6; cursor: default; }
.login .login-message { min-height: 18px; color: var(--bad); line-height: 18px; }
.login .command { padding: 0 8px; vertical-align: -2px; line-height: 20px; gap: 8px; }
.help {
  width: min(440px, calc(100vw - 32px)); padding: 16px; border: 1px solid var(--line); border-radius: 6px;
  background: var(--surface); color: var(--ink);
}
.help::backdrop { background: rgb(0 0 0 / .4); }
.shortcuts { display: grid; gap: 4px; font-size: 13px; }
.shortcuts > div { display: grid; grid-template-columns: 96px 1fr; align-items: baseline; }
kbd {
  padding: 0 5px; border: 1px solid var(--line); border-radius: 4px; background: var(--bg);
  font-size: 12px;
}

@media (prefers-reduced-motion: no-preference) {
  @keyframes shimmer { 50% { opacity: .55; } }
  .is-waiting > :not(.panel-head), .skeleton { animation: shimmer 1.6s ease-in-out infinite; }
  .live.is-waiting > * { animation: none; }
}
@media (forced-colors: active) {
  .plot, .thin, .swatch, .spark, .range-bar, progress { forced-color-adjust: none; }
  .heat td, .heat-key i { forced-color-adjust: none; }
  [aria-pressed="true"], [aria-selected="true"] { outline: 2px solid Highlight; }
}

/* Widths */
@media (max-width: 1099px) {
  :root { --rail: 56px; }
  .brand { padding: 0 10px; }
  .rail-link { justify-content: center; }
  .rail-name {
    position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
    white-space: nowrap;
  }
  .figures { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .w8, .w4 { grid-column: span 12; }
  .stack { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
@media (max-width: 1099px) {
  .panel[data-key="cost"] > .panel-head { flex-wrap: wrap; }
  .panel[data-key="cost"] .tools { flex-wrap: wrap; }
}
@media (max-width: 639px) {
  :root { --rail: 0px; }
  #page { padding-bottom: calc(56px + env(safe-area-inset-bottom)); }
  .rail {
    inset: auto 0 0; width: auto; padding: 0 4px env(safe-area-inset-bottom); border: 0;
    border-top: 1px solid var(--line); overflow: visible;
  }
  .brand, .rail .is-extra { display: none; }
  .rail ul { grid-template-columns: repeat(6, 1fr); }
  .rail-more { display: block; }
  .rail.is-open .is-extra { display: block; order: -1; }
  .rail.is-open li:first-child { grid-column-start: 1; }
  .rail-link {
    flex-direction: column; justify-content: center; gap: 3px; height: 54px; padding: 0; font-size: 11px;
    line-height: 14px;
  }
  .rail-link[aria-current="page"] { background: none; box-shadow: none; }
  .rail-name { position: static; width: auto; height: auto; clip-path: none; }
  .bar { flex-wrap: wrap; gap: 8px 12px; padding: 8px 16px; }
  .live-more { display: none; }
  .live-less { display: inline; }
  .bar-controls { order: 3; width: 100%; }
  .bar-controls .zone-picker { flex: 1; }
  .bar-controls .zone-picker select { width: 100%; max-width: none; }
  .menu-box { position: fixed; inset: 56px 12px auto; width: auto !important; max-height: calc(100vh - 128px); overflow: auto; }
  .bar-state .menu-box { left: 12px; right: 12px; }
  .range-picker .menu-box { flex-direction: column; }
  .range-side { width: auto; }
  .day { width: calc((100vw - 52px) / 7); height: 36px; }
  main { padding: 12px 12px 16px; }
  .grid, .figures, .stack { gap: 12px; }
  .panel, .figure { padding: 12px; }
  .stack { grid-template-columns: minmax(0, 1fr); }
  .figure-number { font-size: 22px; line-height: 28px; }
  .figure-row { flex-wrap: wrap; min-height: 28px; gap: 4px 8px; }
  .figure .spark { width: 100%; height: 24px; }
  .wide, .mid { display: none; }
  .where { display: block; font-size: 12px; line-height: 16px; color: var(--ink-3); }
  .name { width: 60%; }
  .state-word { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .grid-table .state-cell { padding-right: 8px; }
  .grid-table tbody .depth-1 { padding-left: 8px; }
  .grid-table tbody .depth-2 { padding-left: 16px; }
  .grid-table tbody .depth-3, .grid-table tbody .depth-4 { padding-left: 24px; }
  .halves { grid-template-columns: minmax(0, 1fr); }
  .halves .activity li { flex-wrap: wrap; gap: 0 8px; }
  .halves .activity-text { flex-basis: 60%; }
  .panel-head { flex-wrap: wrap; }
  .tools { flex-wrap: wrap; gap: 8px; margin-left: 0; }
  .panel-head .tools:empty { display: none; }
  .table-head .tools { margin-left: auto; }
  .segments { flex-wrap: wrap; }
  .attention li { flex-wrap: wrap; gap: 2px 12px; }
  .attention-text { flex-basis: 100%; order: 2; }
  .attention li > :last-child { margin-left: auto; }
  .commands > div { grid-template-columns: 1fr; gap: 4px; }
  .empty { padding: 20px 16px; }
  .login { margin: 24px 16px 0; padding: 20px; }
  .is-login main { padding: 0; }
}
@page { margin: 14mm; }
@media print {
  :root, :root[data-theme] {
    color-scheme: light; --bg: #ffffff; --surface: #ffffff; --line: #d9d8d3; --ink: #000000; --ink-2: #3a3a38; --ink-3: #55544f;
    --rail: 0px;
  }
  .rail, #bar, .tools, .skip, .link, .no-print, .legend button::after, .notice { display: none !important; }
  .statement { display: block; }
  .statement h2 { font-size: 20px; line-height: 28px; }
  #page { margin: 0; }
  main { padding: 0; }
  .scroll, .scroll.is-tall, .scroll.is-long, .scroll.is-window { overflow: visible; height: auto; max-height: none; }
  .panel, .figure { break-inside: avoid; border-color: var(--line); }
  .panel[data-key="cost"] { break-inside: auto; }
  thead { display: table-header-group; }
  .scroll th, .scroll td { position: static !important; }
  .wide { display: none; }
  tr { break-inside: avoid; }
  svg, .heat td, .heat-key i { print-color-adjust: exact; }
  .w4, .w8 { grid-column: span 12; }
}
"""

# language=JavaScript
DOM_JS = r"""// Text to DOM, words and numbers to text. Nothing else on the page parses markup, so this is the
// one file to read when asking "can a transcript inject anything?".

class Markup {
  constructor(text) {
    this.text = text;
  }
  toString() {
    return this.text;
  }
}

const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "`": "&#96;" };
// Control and bidi-override characters cannot break out of text, but they can make one label
// look like another; they are shown as what they are, a broken character.
// eslint-disable-next-line no-control-regex
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

export function escapeText(value) {
  return String(value).replace(UNSEEN, "\ufffd").replace(/[&<>"'`]/g, (mark) => ESCAPES[mark]);
}

function toMarkup(value) {
  if (value instanceof Markup) return value.text;
  if (Array.isArray(value)) return value.map(toMarkup).join("");
  if (value === null || value === undefined || value === false || value === true) return "";
  return escapeText(value);
}

// A template is written over several lines for people; the line breaks in it are not content.
const tidied = new WeakMap();

function tidy(parts) {
  if (!tidied.has(parts)) {
    tidied.set(parts, parts.map((part) => (/^\s*\n\s*$/.test(part) ? "" : part
      .replace(/(^|>)\s*\n\s*(?=<)/g, "$1").replace(/>\s*\n\s*/g, ">").replace(/\s*\n\s*/g, " "))));
  }
  return tidied.get(parts);
}

/** Build markup; every value is escaped unless html`` itself made it. Attributes must be quoted. */
export function html(strings, ...values) {
  const parts = tidy(strings);
  let text = parts[0];
  for (let i = 0; i < values.length; i++) text += toMarkup(values[i]) + parts[i + 1];
  return new Markup(text);
}

/** A link target that stays in this application; anything else (javascript:, //host) is null. */
export function ownHref(href) {
  return /^(#\/|\/api\/)[\w\-./]*(\?[\w\-.=&%+:/]*)?$/.test(String(href)) ? String(href) : null;
}

const painted = new WeakMap();

/** Make `element` show `view`, touching only what differs: focus, scroll, typed text and folds stay. */
export function patch(element, view) {
  const text = String(view);
  if (painted.get(element) === text) return false;
  painted.set(element, text);
  const template = document.createElement("template");
  template.innerHTML = text;
  morph(element, template.content);
  return true;
}

const keyOf = (node) => (node.nodeType === 1 ? node.getAttribute("data-key") : null);
const isSameKind = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

function morph(parent, wanted) {
  const keyed = new Map();
  const kept = new Set();
  for (const child of wanted.children) if (keyOf(child)) kept.add(keyOf(child));
  for (const child of [...parent.children]) {
    const key = keyOf(child);
    // What leaves goes first: the rows that stay in a scrolled list then need not move past it.
    if (key && !kept.has(key)) child.remove();
    else if (key) keyed.set(key, child);
  }
  let at = parent.firstChild;
  for (const want of [...wanted.childNodes]) {
    const key = keyOf(want);
    const have = key ? keyed.get(key) : at;
    if (!have || !isSameKind(have, want)) {
      parent.insertBefore(want, at);
      continue;
    }
    if (have !== at && have.contains(document.activeElement)) {
      // Moving a node blurs what is focused inside it, so its elder siblings move instead.
      while (at !== have) {
        const next = at.nextSibling;
        parent.appendChild(at);
        at = next;
      }
    }
    if (have === at) at = at.nextSibling;
    else parent.insertBefore(have, at);
    keyed.delete(key);
    update(have, want);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function update(have, want) {
  if (have.nodeType !== 1) {
    if (have.nodeValue !== want.nodeValue) have.nodeValue = want.nodeValue;
    return;
  }
  // Most of a page is as it was: one native comparison is cheaper than walking the part.
  if (keyOf(have) && have.isEqualNode(want)) return;
  const isFold = have.nodeName === "DETAILS" || have.nodeName === "DIALOG";
  for (const { name, value } of [...want.attributes]) {
    if (have.getAttribute(name) !== value) have.setAttribute(name, value);
  }
  for (const { name } of [...have.attributes]) {
    // Folds belong to the person, and `style` is only ever written by setProperty in app.js.
    const isTheirs = name === "style" || (isFold && name === "open");
    if (!want.hasAttribute(name) && !isTheirs) have.removeAttribute(name);
  }
  if (have.hasAttribute("data-keep")) return;
  morph(have, want);
  if (have === document.activeElement) return;
  if (have.nodeName === "INPUT" && want.hasAttribute("value")) have.value = want.getAttribute("value");
  if (have.nodeName === "SELECT") {
    const chosen = have.querySelector("option[selected]");
    if (chosen && have.value !== chosen.value) have.value = chosen.value;
  }
}

// Words. The English text is the key, so that the sources read as what a person sees; another
// language is one table, loaded when it is chosen (zh.js).

let messages = null;

export function useMessages(table) {
  messages = table;
}

/** Marks a text that t() gets later through a variable, so that the tests find it. */
export const msg = (text) => text;

/** The text in the chosen language, {names} filled in; with markup among the values, markup. */
export function t(text, values = null) {
  const said = messages?.[text] ?? text;
  if (values === null) return said;
  const parts = said.split(/\{(\w+)\}/);
  if (!Object.values(values).some((value) => value instanceof Markup)) {
    return parts.map((part, i) => (i % 2 ? values[part] ?? "" : part)).join("");
  }
  return new Markup(parts.map((part, i) => (i % 2 ? toMarkup(values[part]) : escapeText(part))).join(""));
}

/** One or many, {n} filled in: tn(3, "{n} call", "{n} calls"). */
export function tn(count, one, many, values = {}) {
  return t(count === 1 ? one : many, { ...values, n: formatCount(count) });
}

/** A sentence of the server, if it is one of `known`, where {1}, {2} stand for its numbers. */
export function tServer(text, known) {
  const numbers = [];
  const key = String(text).replace(/\d[\d,.]*\d|\d/g, (number) => `{${numbers.push(number)}}`);
  if (!known.includes(key)) return text;
  return t(key, Object.fromEntries(numbers.map((number, i) => [i + 1, number])));
}

// Formatters. Unknown is a dash, zero is 0, and the space before a unit never breaks.

export const UNKNOWN = "—";
const NBSP = "\u00a0";
const HIDDEN = "•••••"; // as wide for a cent as for a million: its length says nothing either
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const isUnknown = (value) => value === null || value === undefined || !Number.isFinite(Number(value));

// How numbers are written is the person's choice and the same for every formatter; app.js sets it
// before it draws, and nothing else does.
const chosen = { locale: "en-US", currency: "USD", rate: 1, isHidden: false };
const numberFormats = new Map();

export function useFormat(change) {
  Object.assign(chosen, change);
  numberFormats.clear();
}

function numberFormat(digits, currency = "") {
  const key = `${digits}${currency}`;
  if (!numberFormats.has(key)) {
    const options = digits === "own" ? {} : { minimumFractionDigits: digits, maximumFractionDigits: digits };
    if (currency) Object.assign(options, { style: "currency", currency, currencyDisplay: "narrowSymbol" });
    numberFormats.set(key, new Intl.NumberFormat(chosen.locale, options));
  }
  return numberFormats.get(key);
}

const writeNumber = (value, digits = 0) => numberFormat(digits).format(value).replace("-", "−");

export function formatCount(value) {
  return isUnknown(value) ? UNKNOWN : writeNumber(Math.round(value));
}

/** Whether money is shown in another currency than the dollars it is counted in. */
export const isConverted = () => chosen.currency !== "USD";

/** Money from integer nano-USD: $1,234.56; $0.0421; < $0.0001; in another currency ≈€1,141.20. */
export function formatMoney(nano) {
  if (isUnknown(nano)) return UNKNOWN;
  if (chosen.isHidden) return HIDDEN;
  const size = Math.abs(nano) * chosen.rate;
  const sign = `${nano < 0 ? "−" : ""}${isConverted() && size ? "≈" : ""}`;
  const write = (value, digits) => numberFormat(digits, chosen.currency).format(value);
  if (size === 0) return write(0, 0);
  if (size < 1e5) return `${sign}<${NBSP}${write(0.0001, 4)}`;
  // 0.99996 would print as 1.0000: what rounds to a dollar is written as a dollar.
  const tenThousandths = Math.round(size / 1e5);
  if (tenThousandths < 10000) return sign + write(tenThousandths / 10000, 4);
  return sign + write(Math.round(size / 1e7) / 100, "own");
}

/** All nine decimals in dollars, for tooltips, whatever currency is on show. */
export function formatExactMoney(nano) {
  if (isUnknown(nano)) return t("not known");
  if (chosen.isHidden) return HIDDEN;
  const size = Math.abs(Math.round(nano));
  const point = numberFormat(1).formatToParts(0.5).find((part) => part.type === "decimal")?.value ?? ".";
  const whole = writeNumber(Math.floor(size / 1e9));
  return `${nano < 0 ? "−" : ""}$${whole}${point}${String(size % 1e9).padStart(9, "0")}`;
}

/** Axis labels of money: no more decimals than the step needs; `value` is in the currency on show. */
export function formatMoneyTick(value, step) {
  if (chosen.isHidden) return HIDDEN;
  if (value === 0) return numberFormat(0, chosen.currency).format(0);
  const digits = Math.max(0, Math.min(9, -Math.floor(Math.log10(step) + 1e-9)));
  const exact = Number.isInteger(Number((step * 10 ** digits).toPrecision(12))) ? digits : digits + 1;
  return numberFormat(exact === 1 ? 2 : exact, chosen.currency).format(value);
}

/** What one nano-dollar is in the currency on show; charts choose round ticks in it. */
export const shownPerNano = () => chosen.rate / 1e9;

function scale(value, units, base) {
  let size = Math.abs(value);
  let unit = 0;
  const digitsOf = (x) => (x >= 99.95 ? 0 : x >= 9.995 ? 1 : 2);
  while (unit < units.length - 1 && Number(size.toFixed(digitsOf(size))) >= base) {
    size /= base;
    unit += 1;
  }
  const text = unit === 0 ? formatCount(size) : writeNumber(size, digitsOf(size));
  return `${value < 0 ? "−" : ""}${text}${units[unit] ? NBSP + units[unit] : ""}`;
}

export function formatTokens(value) {
  return isUnknown(value) ? UNKNOWN : scale(value, ["", "k", "M", "B", "T"], 1000);
}

export function formatBytes(value) {
  return isUnknown(value) ? UNKNOWN : scale(value, ["B", "kB", "MB", "GB", "TB"], 1000);
}

export function formatPercent(share, digits = 0) {
  if (isUnknown(share)) return UNKNOWN;
  const percent = share * 100;
  const least = 10 ** -digits;
  if (percent > 0 && percent < least / 2) return `<${NBSP}${writeNumber(least, digits)}${NBSP}%`;
  return `${writeNumber(percent, digits)}${NBSP}%`;
}

export function formatDuration(ms) {
  if (isUnknown(ms)) return UNKNOWN;
  const seconds = Math.max(0, ms) / 1000;
  if (seconds === 0) return `0${NBSP}s`;
  if (seconds < 0.05) return `<${NBSP}${writeNumber(0.1, 1)}${NBSP}s`;
  if (seconds < 9.95) return `${writeNumber(seconds, 1)}${NBSP}s`;
  const whole = Math.round(seconds);
  const two = (a, unitA, b, unitB) => `${a}${NBSP}${unitA}` + (b ? ` ${b}${NBSP}${unitB}` : "");
  if (whole < 60) return `${whole}${NBSP}s`;
  if (whole < 3600) return two(Math.floor(whole / 60), "m", whole % 60, "s");
  if (whole < 86400) return two(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "m");
  return two(Math.floor(whole / 86400), "d", Math.floor((whole % 86400) / 3600), "h");
}

const clocks = new Map();

const moments = new Map(); // the same times are written again at every step of a scrolled list

function partsIn(ms, zone) {
  const key = `${ms} ${zone}`;
  if (!moments.has(key)) {
    if (moments.size > 2000) moments.clear();
    moments.set(key, readParts(ms, zone));
  }
  return moments.get(key);
}

function readParts(ms, zone) {
  if (!clocks.has(zone)) {
    const options = {
      hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit",
      hour: "2-digit", minute: "2-digit", second: "2-digit",
    };
    let clock;
    try {
      clock = new Intl.DateTimeFormat("en-US", { ...options, timeZone: zone });
    } catch {
      // A zone that this browser does not know: UTC, and the text says so.
      clock = new Intl.DateTimeFormat("en-US", { ...options, timeZone: "UTC" });
    }
    clocks.set(zone, clock);
  }
  const clock = clocks.get(zone);
  const parts = { zone: clock.resolvedOptions().timeZone };
  for (const { type, value } of clock.formatToParts(ms)) parts[type] = value;
  return parts;
}

/** The local date of an instant: "2026-11-06". */
export function dayIn(ms, zone) {
  const at = partsIn(ms, zone);
  return `${at.year}-${at.month}-${at.day}`;
}

export function formatAbsolute(ms, zone) {
  if (isUnknown(ms)) return UNKNOWN;
  const at = partsIn(ms, zone);
  return `${at.year}-${at.month}-${at.day} ${at.hour}:${at.minute}:${at.second} ${at.zone}`;
}

export function formatClock(ms, zone) {
  if (isUnknown(ms)) return UNKNOWN;
  const at = partsIn(ms, zone);
  return `${at.hour}:${at.minute}:${at.second}`;
}

// Day before month, the month as a word: read alike by everybody who reads English dates at all.
// Languages with a table have their own order.
function writeDate(day, options) {
  return new Intl.DateTimeFormat(chosen.locale, { ...options, timeZone: "UTC" }).format(new Date(`${day}T00:00:00Z`));
}

/** "12 s ago" up to a day, then a date in `zone`. */
export function formatAgo(ms, now, zone) {
  if (isUnknown(ms)) return UNKNOWN;
  const seconds = Math.round((now - ms) / 1000);
  if (seconds > -60 && seconds < 5) return t("now");
  if (seconds >= 0 && seconds < 60) return t("{n}\u00a0s ago", { n: seconds });
  if (seconds >= 0 && seconds < 3600) return t("{n}\u00a0m ago", { n: Math.floor(seconds / 60) });
  if (seconds >= 0 && seconds < 86400) return t("{n}\u00a0h ago", { n: Math.floor(seconds / 3600) });
  const day = dayIn(ms, zone);
  const isThisYear = day.slice(0, 4) === dayIn(now, zone).slice(0, 4);
  if (messages) return writeDate(day, { month: "short", day: "numeric", ...(isThisYear ? {} : { year: "numeric" }) });
  return `${formatDay(day)}${isThisYear ? "" : ` ${Number(day.slice(0, 4))}`}`;
}

/** "2026-11-06" to "6 Nov"; with `long`, "Fri 6 Nov 2026". A key that is no date is returned as it is. */
export function formatDay(key, long = false) {
  const found = /^(\d{4})-(\d\d)-(\d\d)$/.exec(key);
  if (!found) return key;
  if (messages) {
    return writeDate(key, { month: "short", day: "numeric", ...(long ? { year: "numeric", weekday: "short" } : {}) });
  }
  const [, year, month, day] = found.map(Number);
  const short = `${day} ${MONTHS[month - 1]}`;
  if (!long) return short;
  return `${WEEKDAYS[new Date(Date.UTC(year, month - 1, day)).getUTCDay()]} ${short} ${year}`;
}

/** "2026-11" to "November 2026". */
export function formatMonth(key) {
  const locale = messages ? chosen.locale : "en-GB";
  return new Intl.DateTimeFormat(locale, { month: "long", year: "numeric", timeZone: "UTC" }).format(new Date(`${key}-01T00:00:00Z`));
}
"""

# language=JavaScript
CHART_JS = r"""// Numbers to SVG. Everything here is pure; colours are classes (s1 to s8) so that the theme rules,
// and positions are geometry because the content policy gives style attributes no effect.

import {
  html, t, formatCount, formatDay, formatExactMoney, formatMoney, formatMoneyTick, formatMonth, formatPercent,
  formatTokens, shownPerNano,
} from "./dom.js";

const MARGIN = { top: 10, right: 4, bottom: 22, left: 48 };
const round = (x) => Math.round(x * 100) / 100;
const sum = (values) => values.reduce((total, value) => total + (value || 0), 0);

function rect(kind, x, y, width, height, inside = null) {
  return html`
    <rect class="${kind}" x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}">
      ${inside}
    </rect>`;
}

/** Round tick values from 0 up to at least `max`; never more than five. */
export function niceTicks(max) {
  if (!(max > 0)) return [0];
  const rough = max / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough * (1 - 1e-9));
  const ticks = [];
  for (let i = 0; i <= 4; i++) {
    ticks.push(Number((step * i).toPrecision(12)));
    if (step * i >= max) break;
  }
  return ticks;
}

/** What is measured: how it is written, and how it is said exactly. */
export const UNITS = {
  cost: { format: formatMoney, exact: formatExactMoney },
  tokens: { format: formatTokens, exact: formatCount },
  count: { format: formatCount, exact: formatCount },
  percent: { format: (share) => formatPercent(share), exact: (share) => formatPercent(share, 2) },
};

/** Ticks of an axis up to at least `max`: [[value, label], …]; money in round amounts of the currency on show. */
export function ticksOf(unit, max) {
  if (unit === "cost") {
    const ticks = niceTicks(max * shownPerNano());
    return ticks.map((tick) => [tick / shownPerNano(), formatMoneyTick(tick, ticks[1] ?? 1)]);
  }
  return niceTicks(max).map((tick) => [tick, UNITS[unit].format(tick)]);
}

function weekOf(day) {
  const at = new Date(`${day}T00:00:00Z`);
  at.setUTCDate(at.getUTCDate() - ((at.getUTCDay() + 6) % 7));
  return at.toISOString().slice(0, 10);
}

/** Join days to weeks, then months, until no more than `most` bars are left. Sums stay exact. */
export function coarsen(byDay, most) {
  const join = (unit, toKey, toLabel) => {
    const spans = [];
    byDay.days.forEach((day, i) => {
      const last = spans[spans.length - 1];
      if (last && last.key === toKey(day)) last.to = i;
      else spans.push({ key: toKey(day), from: i, to: i });
    });
    return {
      unit,
      isLastPartial: Boolean(byDay.partial_last),
      spans: spans.map(({ key, from, to }) => ({
        key, label: toLabel(key), from: byDay.days[from], to: byDay.days[to],
      })),
      series: byDay.series.map((one) => ({
        ...one, values: spans.map(({ from, to }) => sum(one.cost_nano_usd.slice(from, to + 1))),
      })),
    };
  };
  const days = join("day", (day) => day, (key) => formatDay(key, true));
  if (days.spans.length <= most) return days;
  const weeks = join("week", weekOf, (key) => t("Week of {day}", { day: formatDay(key, true) }));
  if (weeks.spans.length <= most) return weeks;
  return join("month", (day) => day.slice(0, 7), formatMonth);
}

/** Where things are: shared by the drawing and by the pointer, so that they cannot disagree. */
export function barLayout(count, width, height) {
  const inner = Math.max(1, width - MARGIN.left - MARGIN.right);
  const slot = inner / Math.max(1, count);
  const bar = Math.max(1, Math.min(44, slot - Math.max(1, slot * 0.22)));
  return {
    slot, bar, width, height,
    left: MARGIN.left, right: width - MARGIN.right, top: MARGIN.top, bottom: height - MARGIN.bottom,
    center: (i) => MARGIN.left + slot * (i + 0.5),
    indexAt: (x) => Math.max(0, Math.min(count - 1, Math.floor((x - MARGIN.left) / slot))),
  };
}

/** Dates under the bars, as many as fit, counted back from the last one, which may be "so far". */
function barLabels(model, at) {
  if (model.unit === "hour" && model.spans.length > 72) return midnightLabels(model, at);
  const every = Math.max(1, Math.ceil(62 / at.slot));
  const last = model.spans.length - 1;
  const y = at.height - 6;
  return model.spans.map((span, i) => {
    if ((last - i) % every) return null;
    const isSoFar = model.isLastPartial && i === last;
    // "21 Nov so far" is wide: its neighbour gives way.
    if (model.isLastPartial && i === last - every && every * at.slot < 96) return null;
    const name = span.short ?? (model.unit === "month" ? span.key.slice(0, 7) : formatDay(span.key));
    const text = isSoFar ? t("{day} so far", { day: name }) : name;
    // A label that would leave the picture hangs from its edge; 3.2 is half an 11 px character.
    const isAtEdge = at.center(i) + text.length * 3.2 > at.right;
    const [x, anchor] = isAtEdge ? [at.right, "end"] : [at.center(i), "middle"];
    return html`<text class="tick" x="${round(x)}" y="${y}" text-anchor="${anchor}">${text}</text>`;
  });
}

/** Many hours: only where a day begins, as many days as fit. */
function midnightLabels(model, at) {
  let free = -Infinity;
  return model.spans.map((span, i) => {
    const day = span.key.slice(0, 10);
    const x = at.center(i);
    if (i === 0 || model.spans[i - 1].key.slice(0, 10) === day || x < free || x > at.right - 24) return null;
    free = x + 62;
    return html`<text class="tick" x="${round(x)}" y="${at.height - 6}" text-anchor="middle">${formatDay(day)}</text>`;
  });
}

/** What stands over a bar or a point: its name, "so far" where it is not over. */
const spanName = (model, i) => (model.isLastPartial && i === model.spans.length - 1
  ? t("{day}, so far", { day: model.spans[i].label })
  : model.spans[i].label);

function axis(at, ticks, y) {
  return ticks.map(([tick, label]) => {
    const level = Math.round(y(tick)) + 0.5;
    return html`
      <line class="${tick ? "rule" : "base"}" x1="${at.left}" x2="${at.right}" y1="${level}" y2="${level}"/>
      <text class="tick" x="${at.left - 8}" y="${level + 3.5}" text-anchor="end">${label}</text>`;
  });
}

/** The drawing around the marks: where it is, and the rectangle that feels the pointer. */
function plot(at, width, height, inside) {
  return html`
    <svg class="plot" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" aria-hidden="true">
      ${inside}
      <g data-cross data-keep="1"></g>
      ${rect("touch", at.left, 0, at.right - at.left, height)}
    </svg>`;
}

/** Stacked, zero-based bars; `model` comes from coarsen() with `slot` (1 to 8) on each series. */
export function stackedBars(model, width, height, lit = null) {
  const at = barLayout(model.spans.length, width, height);
  const totals = model.spans.map((_, i) => sum(model.series.map((one) => one.values[i])));
  const unit = UNITS[model.measure ?? "cost"];
  const ticks = ticksOf(model.measure ?? "cost", Math.max(0, ...totals, ...(model.before ?? [])));
  const top = ticks[ticks.length - 1][0] || 1;
  const y = (value) => at.bottom - (value / top) * (at.bottom - at.top);
  const bars = model.spans.map((span, i) => {
    const left = at.center(i) - at.bar / 2;
    const isSoFar = model.isLastPartial && i === model.spans.length - 1;
    let base = 0;
    const marks = model.series.map((one) => {
      const value = one.values[i] || 0;
      if (value <= 0) return null;
      const upper = y(base + value);
      const tall = Math.max(0.5, y(base) - upper);
      base += value;
      const kind = lit !== null && lit !== one.key ? `s${one.slot} is-dim` : `s${one.slot}`;
      return html`
        <rect class="${kind}" data-series="${one.key}" x="${round(left)}" y="${round(upper)}" width="${round(at.bar)}"
          height="${round(tall)}"><title>${one.label}: ${unit.format(value)}</title></rect>`;
    });
    return html`
      <g data-key="${span.key}">
        <title>${spanName(model, i)}: ${unit.format(totals[i])}</title>
        ${marks}
        ${isSoFar && base > 0
          ? html`<g class="hatch" fill="url(#hatch)">${rect("", left, y(base), at.bar, at.bottom - y(base))}</g>`
          : null}
      </g>`;
  });
  return plot(at, width, height, html`
    <defs>
      <pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <rect class="hatch-line" width="2" height="5"/>
      </pattern>
    </defs>
    ${axis(at, ticks, y)}
    <g class="bars">${bars}</g>
    ${spanBefore(model, at, y)}
    ${barLabels(model, at)}`);
}

/** A short line over each bar: as much as in the span before. */
function spanBefore(model, at, y) {
  if (!model.before) return null;
  let path = "";
  model.before.forEach((value, i) => {
    if (value !== null) path += `M${round(at.center(i) - at.bar / 2 - 1)} ${round(y(value))}h${round(at.bar + 2)}`;
  });
  return html`<path class="before" d="${path}"/>`;
}

/** The same series as lines; null is a gap, the part after the last full span is dashed. */
export function lines(model, width, height, lit = null) {
  const at = barLayout(model.spans.length, width, height);
  const known = model.series.flatMap((one) => one.values.filter((value) => value !== null));
  const ticks = ticksOf(model.measure ?? "cost", Math.max(0, ...known));
  const top = ticks[ticks.length - 1][0] || 1;
  const y = (value) => round(at.bottom - (value / top) * (at.bottom - at.top));
  const isSparse = model.spans.length <= 62;
  const drawn = model.series.map((one) => {
    const kind = lit !== null && lit !== one.key ? `l${one.slot} is-dim` : `l${one.slot}`;
    const soFar = model.isLastPartial ? one.values.length - 1 : one.values.length;
    let path = "";
    let tail = "";
    one.values.forEach((value, i) => {
      if (value === null) return;
      const before = i > 0 ? one.values[i - 1] : null;
      const to = `${round(at.center(i))} ${y(value)}`;
      if (i === soFar && before !== null) tail = `M${round(at.center(i - 1))} ${y(before)}L${to}`;
      else path += `${before === null || i === 0 ? "M" : "L"}${to}`;
    });
    return html`
      <g class="line ${kind}" data-key="${one.key}">
        <title>${one.label}</title>
        <path d="${path}" data-series="${one.key}"/>
        ${tail ? html`<path class="is-so-far" d="${tail}" data-series="${one.key}"/>` : null}
        ${isSparse ? one.values.map((value, i) => (value === null ? null
          : html`<circle cx="${round(at.center(i))}" cy="${y(value)}" r="2" data-series="${one.key}"/>`)) : null}
      </g>`;
  });
  return plot(at, width, height, html`${axis(at, ticks, y)}<g class="lines">${drawn}</g>${barLabels(model, at)}`);
}

const ordered = (index, anchor) => [Math.min(index, anchor ?? index), Math.max(index, anchor ?? index)];

/** The band under the pointer (or under the arrow keys), or from `anchor` to `index` while dragging. */
export function crosshair(model, width, height, index, anchor = null) {
  if (index === null) return html``;
  const at = barLayout(model.spans.length, width, height);
  const [first, last] = ordered(index, anchor);
  const kind = anchor === null ? "band" : "band is-drag";
  return rect(kind, at.left + first * at.slot, at.top, (last - first + 1) * at.slot, at.bottom - at.top);
}

/** One tooltip with every series, greatest first; while dragging, the sum of the span. */
export function tooltip(model, index, anchor = null) {
  if (index === null || !model.spans[index]) return html``;
  const unit = UNITS[model.measure ?? "cost"];
  const [first, last] = ordered(index, anchor);
  // A rate has no sum: its tooltip has one value a series and no total.
  const isSum = model.measure !== "percent";
  const rows = model.series
    .map((one) => ({ ...one, value: isSum ? sum(one.values.slice(first, last + 1)) : one.values[index] ?? null }))
    .sort((a, b) => b.value - a.value);
  const total = sum(rows.map((row) => row.value));
  const title = first === last ? spanName(model, first) : t("{from} to {to}", {
    from: model.spans[first].short ?? formatDay(model.spans[first].from),
    to: model.spans[last].short ?? formatDay(model.spans[last].to),
  }) + (model.isLastPartial && last === model.spans.length - 1 ? t(", so far") : "");
  const shown = rows.slice(0, 14);
  return html`
    <table class="tip-table">
      <thead>
        <tr>
          <th scope="row" colspan="2">${title}</th>
          <td class="num">${isSum ? unit.format(total) : ""}</td><td></td>
        </tr>
      </thead>
      <tbody>
        ${shown.map((row) => html`
          <tr class="${row.value ? "" : "is-zero"}">
            <td>${swatch(row.slot)}</td>
            <th scope="row"><bdi>${row.label}</bdi></th>
            <td class="num">${unit.format(row.value)}</td>
            <td class="num">${isSum && total ? formatPercent(row.value / total) : ""}</td>
          </tr>`)}
        ${model.before ? html`
          <tr><td></td><th scope="row">${t("Span before")}</th><td class="num">${unit.format(sum(model.before.slice(first, last + 1)))}</td><td></td></tr>`
          : null}
      </tbody>
    </table>`;
}

export function swatch(slot) {
  return html`
    <svg class="swatch" width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
      <rect class="s${slot}" width="10" height="10" rx="2"/>
    </svg>`;
}

/** A line over `values` (null is a gap, not a zero), its last point marked. */
export function sparkline(values, width = 96, height = 28) {
  const known = (values ?? []).filter((value) => value !== null);
  if (known.length < 2) return null;
  const least = Math.min(...known);
  const most = Math.max(...known);
  const last = values.length - 1;
  const x = (i) => round(3 + (i * (width - 6)) / last);
  const y = (value) => round(height - 3 - (value / (most || 1)) * (height - 6));
  let line = "";
  values.forEach((value, i) => {
    if (value !== null) line += `${i === 0 || values[i - 1] === null ? "M" : "L"}${x(i)} ${y(value)}`;
  });
  const dot = values[last] === null
    ? null
    : html`<circle class="spark-dot" cx="${x(last)}" cy="${y(values[last])}" r="2.5"/>`;
  return html`
    <svg class="spark" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"
      preserveAspectRatio="xMinYMid" role="img">
      <title>
        ${t("Between {low} and {high}, last {last}", {
          low: formatMoney(least), high: formatMoney(most), last: formatMoney(known[known.length - 1]),
        })}
      </title>
      <path class="spark-base" d="M3 ${height - 2.5}H${width - 3}"/>
      <path class="spark-line" d="${line}"/>
      ${dot}
    </svg>`;
}

/** A thin bar for a share from 0 to 1; the number always stands beside it. */
export function shareBar(share, slot = 0) {
  const wide = Math.max(0, Math.min(1, share || 0)) * 100;
  return html`
    <svg class="thin" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
      ${rect("thin-back", 0, 0, 100, 4)}
      ${rect(slot ? `s${slot}` : "thin-fore", 0, 0, wide > 0 ? Math.max(wide, 0.6) : 0, 4)}
    </svg>`;
}

/** The month so far, the projection and its range on one line, with the budget as a mark. */
export function rangeBar({ spent, projected, low, high, budget }, width = 200, height = 16) {
  const top = Math.max(high, projected, spent, budget ?? 0) * 1.04;
  if (!(top > 0)) return null;
  const x = (value) => (value / top) * width;
  const mid = height / 2;
  const limit = budget ? t(", budget {limit}", { limit: formatMoney(budget) }) : "";
  return html`
    <svg class="range-bar" viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img">
      <title>
        ${t("{spent} so far, {projected} expected, between {low} and {high}", {
          spent: formatMoney(spent), projected: formatMoney(projected), low: formatMoney(low), high: formatMoney(high),
        })}${limit}
      </title>
      ${rect("thin-back", 0, mid - 2, width, 4)}
      ${rect("range-band", x(low), mid - 5, Math.max(2, x(high) - x(low)), 10)}
      ${rect("range-spent", 0, mid - 2, x(spent), 4)}
      ${rect("range-mark", x(projected) - 1, mid - 6, 2, 12)}
      ${budget ? rect("range-budget", x(budget) - 0.75, 0, 1.5, height) : null}
    </svg>`;
}
"""

# language=JavaScript
VIEWS_JS = r"""// What every page is made of (addresses, small parts, panels, tables), the frame around it, and
// Overview. One pure function per view and part, from state to html``: no fetch, no document, no
// clock. `state.now` is the server's time, so that a phone with a wrong clock shows right ages.
// The other pages are modules of their own, fetched when somebody goes there; they export `page`
// with the members that overviewPage has at the end of this file.

import {
  html, msg, ownHref, t, tn, tServer, UNKNOWN, dayIn, formatAbsolute, formatAgo, formatBytes, formatClock,
  formatCount, formatDay, formatDuration, formatExactMoney, formatMoney, formatMonth, formatPercent, formatTokens,
  isConverted,
} from "./dom.js";
import { coarsen, rangeBar, shareBar, sparkline, stackedBars, swatch } from "./chart.js";

export const DEFAULT_RANGE = "30d";
export const RANGES = [
  ["today", msg("Today")], ["7d", msg("7 days")], ["30d", msg("30 days")], ["90d", msg("90 days")],
  ["365d", msg("365 days")], ["week", msg("This week")], ["month", msg("This month")], ["all", msg("All time")],
];
/** What every page can be narrowed to; one value each, in the address and in every question. */
export const FILTERS = [
  ["agent", msg("Agent")], ["model", msg("Model")], ["provider", msg("Provider")], ["channel", msg("Channel")],
  ["cause", msg("Cause")],
];
const BREAKDOWNS = ["model", "agent", "cause", "channel", "session", "tool"];
/** What a figure can be grouped by, as the API calls it and as a person does. */
export const BY_NAMES = {
  hour: msg("Hour"), day: msg("Day"), week: msg("Week"), month: msg("Month"), model: msg("Model"),
  provider: msg("Provider"), provider_model: msg("Provider and model"), agent: msg("Agent"), channel: msg("Channel"),
  cause: msg("Cause"), session: msg("Session"), session_key: msg("Session key"), cron_job: msg("Cron job"),
  tool: msg("Tool"), hour_of_week: msg("Hour of the week"),
};
export const CHART_HEIGHT = 288;
const SHOWN_ROWS = 12;
export const THEMES = [["system", msg("System")], ["light", msg("Light")], ["dark", msg("Dark")]];
export const LANGUAGES = [["", msg("As the browser")], ["en", "English"], ["zh", "中文"]];
const CURRENCIES = ["USD", "EUR", "GBP", "CNY", "JPY", "CHF", "INR", "CAD", "AUD", "KRW", "BRL", "SEK"];

// Only what exists is a link; the rest of the rail says what is coming and cannot be pressed.
export const BUILT = new Set(["overview", "cost", "sessions", "session"]);
const PAGES = [
  ["overview", msg("Overview")], ["flow", msg("Flow")], ["cost", msg("Cost")], ["sessions", msg("Sessions")],
  ["crons", msg("Crons")], ["alerts", msg("Alerts")], ["traces", msg("Traces")], ["fleet", msg("Fleet")],
  ["health", msg("Health")], ["agents", msg("Agents")],
];
/** Pages that are not in the rail, and the one that is marked there instead. */
const INSIDE = { session: "sessions" };

// 16 x 16, drawn with a stroke of 1.4.
const ICONS = {
  overview: "M2.5 2.5H7V7H2.5zM9 2.5h4.5V7H9zM2.5 9H7v4.5H2.5zM9 9h4.5v4.5H9z",
  flow: "M2.5 8a1.75 1.75 0 1 0 3.5 0 1.75 1.75 0 1 0-3.5 0M10 3.5a1.75 1.75 0 1 0 3.5 0 1.75 1.75 0 1 0-3.5 0"
    + "M10 12.5a1.75 1.75 0 1 0 3.5 0 1.75 1.75 0 1 0-3.5 0M5.7 7l4.6-2.7M5.7 9l4.6 2.7",
  cost: "M8 1.5v13M11.2 5c-.4-1.3-1.6-2-3.2-2-1.9 0-3.2.9-3.2 2.4C4.8 9 11.4 6.9 11.4 10.6c0 1.5-1.4 2.4-3.4 2.4"
    + "-1.8 0-3-.8-3.4-2.1",
  sessions: "M2.5 3h11v7.5h-6l-3 2.5v-2.5h-2z",
  crons: "M2.5 8a5.5 5.5 0 1 0 11 0 5.5 5.5 0 1 0-11 0M8 4.8V8l2.2 1.5",
  alerts: "M4 11V7a4 4 0 0 1 8 0v4l1.3 1.5H2.7zM6.7 14.3h2.6",
  traces: "M2.5 4h6M5 8h6M8 12h5.5",
  fleet: "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.1M5 11h.1",
  health: "M1.5 8.5h3l2-5 3 9 2-4h3",
  agents: "M5.25 5.25a2.75 2.75 0 1 0 5.5 0 2.75 2.75 0 1 0-5.5 0M2.75 13.5c.6-2.6 2.6-4 5.25-4s4.65 1.4 5.25 4",
  more: "M3 8h.1M8 8h.1M13 8h.1",
  help: "M5.8 6a2.2 2.2 0 1 1 3.4 1.9C8.4 8.4 8 8.9 8 9.8M8 12.4v.1",
  system: "M2.5 8a5.5 5.5 0 1 0 11 0 5.5 5.5 0 1 0-11 0M8 2.5v11",
  light: "M5 8a3 3 0 1 0 6 0 3 3 0 1 0-6 0M8 1v1.2M8 13.8V15M1 8h1.2M13.8 8H15M3 3l.9.9M12.1 12.1l.9.9M13 3l-.9.9"
    + "M3.9 12.1L3 13",
  dark: "M13 9.6A5.5 5.5 0 1 1 6.4 3a4.5 4.5 0 0 0 6.6 6.6z",
  search: "M2.5 7a4.5 4.5 0 1 0 9 0 4.5 4.5 0 1 0-9 0M10.4 10.4l3.6 3.6",
  settings: "M2 5h7M13 5h1M9 5a2 2 0 1 0 4 0 2 2 0 1 0-4 0M2 11h1M7 11h7M3 11a2 2 0 1 0 4 0 2 2 0 1 0-4 0",
  hidden: "M2.5 2.5l11 11M6.3 4.3A7 7 0 0 1 14.5 8a9 9 0 0 1-1.8 2.2M4.2 5.3A9 9 0 0 0 1.5 8a7 7 0 0 0 8.3 3.6",
  close: "M4 4l8 8M12 4l-8 8",
  filter: "M2 3.5h12L9.5 8.5v4L6.5 14V8.5z",
  left: "M10 3L5 8l5 5",
  right: "M6 3l5 5-5 5",
  bad: "M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2l-3.7-3.7V5.2zM8 4.8v3.7M8 11v.1",
  warn: "M8 2l6.5 11.5h-13zM8 6.5v3.3M8 11.6v.1",
  started: "M5 3.5l7 4.5-7 4.5z",
  ended: "M4 4h8v8H4z",
  failed: "M4 4l8 8M12 4l-8 8",
  compacted: "M3 4h10M3 12h10M8 5.5v5M6 8h4",
  other: "M3 8h10",
};

// Where we are: the address says all of it, so that a link shows another person the same thing.

const RANGE_FORM = /^(today|week|month|all|[1-9]\d{0,3}d|\d{4}-\d\d-\d\d(T\d\d:\d\d)?\.\.\d{4}-\d\d-\d\d(T\d\d:\d\d)?)$/;

/** The value of a parameter if it looks as it should, else `otherwise`. */
export function readParam(params, name, pattern, otherwise) {
  const value = params.get(name) ?? "";
  return pattern.test(value) ? value : otherwise;
}

function decodePart(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a lone % typed by hand
  }
}

/** The address as fields; `pages` are the page modules at hand, each of which reads its own. */
export function parseRoute(hash, pages = { overview: overviewPage }) {
  const [path, query = ""] = String(hash).replace(/^#\/?/, "").split("?");
  const params = new URLSearchParams(query);
  const [name, ...rest] = path.split("/").map(decodePart);
  const page = /^[a-z]{1,20}$/.test(name) ? name : "overview";
  const filters = {};
  for (const [kind] of FILTERS) {
    const value = params.get(kind);
    if (value) filters[kind] = value.slice(0, 300);
  }
  return {
    page, rest, filters,
    range: readParam(params, "range", RANGE_FORM, DEFAULT_RANGE),
    zone: readParam(params, "tz", /^[A-Za-z][\w+\-/]{0,63}$/, ""),
    isCompared: params.get("compare") === "1",
    ...(Object.hasOwn(pages, page) ? pages[page].parse(params, rest) : null),
  };
}

const encode = (text) => encodeURIComponent(text).replace(/%2F/g, "/").replace(/%3A/g, ":");

/** What goes with a person from page to page: [[name, value], …]. */
function sharedParams({ range, zone, isCompared, filters }) {
  return [
    ["range", range === DEFAULT_RANGE ? "" : range], ["tz", zone], ["compare", isCompared ? "1" : ""],
    ...FILTERS.map(([kind]) => [kind, filters[kind] ?? ""]),
  ];
}

function writeAddress(page, rest, params) {
  const path = [page, ...rest].map((part) => encodeURIComponent(part)).join("/");
  const query = params.filter(([, value]) => value !== "" && value !== null && value !== undefined)
    .map(([name, value]) => `${name}=${encode(value)}`).join("&");
  return `#/${path}${query ? `?${query}` : ""}`;
}

export function formatRoute(route, pages = { overview: overviewPage }) {
  const own = Object.hasOwn(pages, route.page) ? pages[route.page].format(route) : [];
  return writeAddress(route.page, route.rest ?? [], [...sharedParams(route), ...own]);
}

/** A link to a page that keeps range, zone and filters: hrefTo(state, "session", ["ac62…"], [["tab", "tools"]]). */
export function hrefTo(state, page, rest = [], params = []) {
  return writeAddress(page, rest, [...sharedParams(state.route), ...params]);
}

/** The API's `from`, `to`, `tz` and filters for a route. */
export function askParams({ range, zone, filters }) {
  const [from, to] = range.split("..");
  return { from, ...(to ? { to } : {}), ...(zone ? { tz: zone } : {}), ...filters };
}

function momentName(moment, long) {
  const [day, clock] = moment.split("T");
  return `${formatDay(day, long)}${clock ? ` ${clock}` : ""}`;
}

export function rangeName(range) {
  const known = RANGES.find(([key]) => key === range);
  if (known) return t(known[1]);
  const [from, to] = range.split("..");
  if (!to) return t("{n} days", { n: formatCount(parseInt(range, 10)) });
  if (from === to) return momentName(from, true);
  const isOneDay = from.includes("T") && from.slice(0, 10) === to.slice(0, 10);
  return t("{from} to {to}", { from: momentName(from, isOneDay), to: isOneDay ? to.slice(11) : momentName(to, false) + ` ${to.slice(0, 4)}` });
}

/** What a page asked for last got, or null: dataOf(state, "overview"). */
export const dataOf = (state, key) => state.answers[key]?.data ?? null;

/**
 * A colour (1 to 7) for each model, the same on every page and after every reload: the first one
 * seen takes the least used one and keeps it. Only when two models drawn together share a colour
 * does the cheaper one borrow another for that picture. Colour 8 is for "Other".
 */
export function assignColours(known, keys) {
  const kept = new Map(known);
  const shown = new Map();
  const taken = new Set();
  const leastUsed = () => {
    const uses = new Array(8).fill(0);
    for (const slot of kept.values()) uses[slot] += 1;
    let best = 0;
    for (let slot = 1; slot <= 7; slot++) {
      if (!taken.has(slot) && (best === 0 || uses[slot] < uses[best])) best = slot;
    }
    return best || 1;
  };
  const without = [];
  for (const key of keys) {
    const slot = kept.get(key);
    if (slot === undefined || taken.has(slot)) without.push(key);
    else {
      shown.set(key, slot);
      taken.add(slot);
    }
  }
  for (const key of without) {
    const slot = leastUsed();
    shown.set(key, slot);
    taken.add(slot);
    if (!kept.has(key)) kept.set(key, slot);
  }
  return { shown, kept: [...kept].slice(-300) };
}

/** What the server calls the calls without a channel, a cron job …, and the parts of a split that have no row. */
export const NONE_KEY = "(none)";
export const OTHER_KEY = "(other)";
const isOther = (one, i, all) => i === all.length - 1 && /^\(?other\)?$/i.test(one.key);

export function modelKeys(overview) {
  return overview.by_day.series.filter((...one) => !isOther(...one)).map((one) => one.key);
}

/** The colour that a model has on every page, by its name with or without its provider; 8 if it has none yet. */
export function slotOf(palette, key) {
  return (palette.find(([one]) => one === key) ?? palette.find(([one]) => one.endsWith(`/${key}`)))?.[1] ?? 8;
}

/** The models that an answer draws in colour. */
export function coloursIn(answer) {
  if (answer?.by_day) return modelKeys(answer);
  const rows = answer?.split === "provider_model" ? answer.parts : answer?.by === "provider_model" ? answer.rows : [];
  return rows.filter((row) => row.key !== OTHER_KEY).slice(0, 7).map((row) => row.key);
}

/** What the chart of cost by day draws; app.js gives the same object to the crosshair. */
export function dayModel(state) {
  const model = coarsen(state.overview.by_day, Math.max(20, Math.floor((widthOf(state, "day") - 52) / 7)));
  const { shown } = assignColours(state.palette, modelKeys(state.overview));
  model.series = model.series.map((one, i, all) => (isOther(one, i, all)
    ? { ...one, label: t("Other"), slot: 8 }
    : { ...one, slot: shown.get(one.key) }));
  return model;
}

// Small parts

export const bdi = (text) => html`<bdi>${text}</bdi>`;
export const unseen = (text) => html`<span class="unseen">${text}</span>`;
export const money = (nano) => html`<span class="num" title="${formatExactMoney(nano)}">${formatMoney(nano)}</span>`;
export const tokens = (count) => html`
  <span class="num" title="${tn(count, "{n} token", "{n} tokens")}">${formatTokens(count)}</span>`;
export const widthOf = (state, name) => state.widths[name] ?? 720;
/** The zone that the numbers on show were counted in. */
export const zoneOf = (state) => state.route.zone || state.serverZone || "UTC";
export const shareOf = (part, total) => (total ? part / total : 0);
export const sharePercent = (part, total, digits = 0) => (total ? formatPercent(part / total, digits) : UNKNOWN);
const sumCost = (rows) => rows.reduce((sum, row) => sum + row.cost_nano_usd, 0);
export const nothing = (words) => html`<p class="nothing">${words}</p>`;

export function icon(name, size = 16) {
  return html`
    <svg class="icon" width="${size}" height="${size}" viewBox="0 0 16 16" aria-hidden="true">
      <path d="${ICONS[name]}"/>
    </svg>`;
}

function brandMark(size) {
  return html`
    <svg class="brand-mark" width="${size}" height="${size}" viewBox="0 0 16 16" aria-hidden="true">
      <path d="M3.4 12.6a6.5 6.5 0 1 1 9.2 0"/><path d="M8 8l2.6-3.2"/>
    </svg>`;
}

export const dot = () => html`
  <svg class="dot" width="8" height="8" viewBox="0 0 8 8" aria-hidden="true"><circle cx="4" cy="4" r="3"/></svg>`;

export function option(value, name, chosen) {
  return html`<option value="${value}"${value === chosen ? html` selected` : null}>${name}</option>`;
}

/** A <select> with its label unseen: options are [[value, name], …]. */
export function select({ action, label, options, chosen, shortcut = "", help = "", kind = "" }) {
  const keys = shortcut ? html` data-shortcut="${shortcut}" data-help="${help}"` : null;
  return html`
    <label class="select ${kind}">
      ${unseen(label)}
      <select data-action="${action}"${keys}>${options.map(([value, name]) => option(value, name, chosen))}</select>
    </label>`;
}

/** Buttons of which one is pressed: choices are [[value, name], …]. */
export function segments({ action, label, choices, chosen }) {
  return html`
    <span class="segments" role="group" aria-label="${label}">
      ${choices.map(([value, name]) => html`
        <button type="button" data-action="${action}" data-value="${value}" data-key="${value || "-"}"
          aria-pressed="${value === chosen ? "true" : "false"}">${name}</button>`)}
    </span>`;
}

/** A name that, pressed, narrows every page to it. */
export function filterName(kind, value, name = value) {
  return html`
    <button type="button" class="name-button" data-action="filter" data-kind="${kind}" data-value="${value}"
      title="${t("Show only {name}", { name })}"><bdi>${name}</bdi></button>`;
}

export function when(ms, state) {
  if (!ms) return html`${UNKNOWN}`;
  const zone = zoneOf(state);
  return html`
    <time datetime="${new Date(ms).toISOString()}" title="${formatAbsolute(ms, zone)}">
      ${formatAgo(ms, state.now, zone)}
    </time>`;
}

/** Metered money of one totals object; calls without a price are named, never a silent $0. */
export function cost(totals, isLong = false) {
  const missing = totals.unpriced_calls || 0;
  if (!missing) return money(totals.cost_nano_usd);
  const words = tn(missing, "{n} unpriced call", "{n} unpriced calls");
  const isUnknown = totals.cost_nano_usd === 0 && missing >= totals.model_calls;
  const shown = isUnknown
    ? html`<span class="num" title="${t("no price known")}">${UNKNOWN}</span>`
    : money(totals.cost_nano_usd);
  if (isLong) return html`${shown}<span class="unpriced"> + ${words}</span>`;
  return html`
    <span class="mark" title="${t("{calls}, not in this sum", { calls: words })}">
      +${formatCount(missing)}${unseen(` ${t("unpriced calls")}`)}</span> ${shown}`;
}

/** Label, else what the key says after its agent, else the id: never "Untitled". */
export function sessionName(row) {
  // A label of line separators or zero-width characters is no name: nobody could see it, or press it.
  const isSeen = (text) => /[^\s\p{C}\p{Z}]/u.test(text);
  if (row.label && isSeen(row.label)) return row.label;
  const key = String(row.key ?? "").replace(/^agent:[^:]+:/, "");
  return (isSeen(key) ? key : "") || String(row.id ?? "").slice(0, 8) || UNKNOWN;
}

/** A session by its name, as a link to its page where there is one; j and k stop at it. */
export function sessionLink(state, id, name) {
  if (!BUILT.has("session") || !id) return bdi(name);
  return html`<a class="row-link" href="${hrefTo(state, "session", [id])}" data-page="session" data-row>${bdi(name)}</a>`;
}

/** How much of what OpenClaw has is read: {percent, etaS}, or null when it is all of it. */
export function indexing({ coverage, source }) {
  if (!coverage || coverage.complete !== false) return null;
  const percent = source?.indexed_percent
    ?? (coverage.total_bytes ? (100 * coverage.indexed_bytes) / coverage.total_bytes : 0);
  return percent < 100 ? { percent, etaS: source?.eta_s ?? null } : null;
}

export function indexingWords({ percent, etaS }) {
  // Rounded down: 99.6 % must not read as 100 while something is missing.
  const indexed = t("indexed {n}\u00a0%", { n: Math.floor(percent) });
  if (etaS === null) return indexed;
  const left = formatDuration(Math.max(1, Math.round(etaS)) * 1000);
  return t("{indexed}, {time} left", { indexed, time: left });
}

/** Stands beside every total that still grows because something is not read yet. */
export function partial(state) {
  if (!state.coverage || state.coverage.complete !== false) return null;
  const way = indexing(state);
  if (!way) {
    const why = tn(state.coverage.unreadable || 0, "{n} source could not be read", "{n} sources could not be read");
    return html`<span class="mark is-warn" title="${why}">${t("partial")}</span>`;
  }
  return html`
    <span class="mark is-warn" title="${t("{indexed}: this total still grows", { indexed: indexingWords(way) })}">
      ${Math.floor(way.percent)}\u00a0%${unseen(` ${t("indexed, this total still grows")}`)}
    </span>`;
}

/** `isRanged`: its numbers follow the range picker; `isSum`: they still grow while indexing. */
export function panel({ key, title, note = null, tools = null, wide, body, state, isRanged = false, isSum = isRanged }) {
  const waits = isRanged && state.isSlow ? "is-waiting" : "";
  return html`
    <section class="panel ${wide} ${waits}" data-key="${key}" aria-labelledby="h-${key}">
      <header class="panel-head">
        <h2 id="h-${key}">${title}</h2>
        ${note ? html`<span class="note">${note}</span>` : null}
        ${isSum ? partial(state) : null}
        <span class="tools">${tools}</span>
      </header>
      ${body}
    </section>`;
}

/** A table that scrolls inside its panel where the window is too narrow for it. */
export function scrollingTable({ label, kind = "", heads, rows, foot = null }) {
  return html`
    <div class="scroll ${kind}" tabindex="0" role="group" aria-label="${label}">
      <table class="grid-table">
        <thead><tr>${heads}</tr></thead>
        <tbody>${rows}</tbody>
        ${foot ? html`<tfoot>${foot}</tfoot>` : null}
      </table>
    </div>`;
}

export const head = (name, kind = "") => html`<th scope="col" class="${kind}">${name}</th>`;
export const sortedHead = (name) => html`<th scope="col" class="num" aria-sort="descending">${name}</th>`;

/** A head that sorts: the page's action `sort` gets data-value; `sort` and `order` are what is on show. */
export function sortHead({ value, name, sort, order, kind = "", action = "sort" }) {
  const isSorted = value === sort;
  const word = order === "asc" ? "ascending" : "descending";
  return html`
    <th scope="col" class="${kind}" aria-sort="${isSorted ? word : "none"}">
      <button type="button" class="sort" data-action="${action}" data-value="${value}">
        ${name}<span class="sort-mark" aria-hidden="true">${isSorted ? (order === "asc" ? "▲" : "▼") : ""}</span>
      </button>
    </th>`;
}

/** Which rows of a long list are in the document: those in sight and some around them. */
export function windowOf(state, name, total) {
  const { first, last } = state.windows[name] ?? { first: 0, last: 40 };
  return { first: Math.max(0, Math.min(first - 6, total - 1)), last: Math.min(total, last + 6) };
}

const gap = (key, rows, height, columns) => (rows <= 0 ? null : html`
  <tr class="gap" data-key="${key}" aria-hidden="true">
    <td colspan="${columns}"><svg class="gap-space" width="1" height="${rows * height}"></svg></td>
  </tr>`);

/**
 * A table of any number of rows of one height: only those in sight are in the document. `row(i)` gives
 * the <tr> of row i (with data-key and aria-rowindex="${i + 2}"), also where its data has not come yet.
 * The frame keeps state.windows[name] = {first, last} as the person scrolls; ask for those rows in asks().
 */
export function windowedTable({ name, state, label, heads, columns, total, rowHeight = 31, row, foot = null, kind = "" }) {
  const { first, last } = windowOf(state, name, total);
  const rows = [];
  for (let i = first; i < last; i++) rows.push(row(i));
  return html`
    <div class="scroll is-window ${kind}" data-window="${name}" data-row-height="${rowHeight}" tabindex="0" role="group"
      aria-label="${label}">
      <table class="grid-table" aria-rowcount="${total + 1}">
        <thead><tr aria-rowindex="1">${heads}</tr></thead>
        <tbody>${gap("gap-before", first, rowHeight, columns)}${rows}${gap("gap-after", total - last, rowHeight, columns)}</tbody>
        ${foot ? html`<tfoot>${foot}</tfoot>` : null}
      </table>
    </div>`;
}

/** A button that opens a menu, and the menu while it is open; app.js closes it by Esc and by a click elsewhere. */
export function menu({ name, state, label, button, body, shortcut = "", help = "", kind = "" }) {
  const isOpen = state.menu === name;
  const keys = shortcut ? html` data-shortcut="${shortcut}" data-help="${help}"` : null;
  return html`
    <div class="menu ${kind}" data-menu="${name}" data-key="menu-${name}">
      <button type="button" data-action="menu" data-value="${name}" aria-haspopup="dialog" title="${label}"
        class="${kind.includes("is-icon") ? "icon-button" : "menu-button"}"${keys}
        aria-expanded="${isOpen ? "true" : "false"}">${button}</button>
      ${isOpen ? html`<div class="menu-box" role="dialog" aria-label="${label}">${body()}</div>` : null}
    </div>`;
}

// Frame

export function Rail(state) {
  if (state.needsLogin) return html``;
  const here = INSIDE[state.route.page] ?? state.route.page;
  const entry = ([page, name], i) => {
    const inside = html`${icon(page)}<span class="rail-name">${t(name)}</span>`;
    const link = BUILT.has(page)
      ? html`
        <a class="rail-link" href="${hrefTo(state, page)}" data-page="${page}" data-shortcut="g ${page[0]}"
          data-help="${t("Go to {page}", { page: t(name) })}" aria-current="${here === page ? "page" : "false"}">${inside}</a>`
      : html`<a class="rail-link" role="link" aria-disabled="true">${inside}</a>`;
    return html`<li class="${i >= 5 ? "is-extra" : ""}">${link}</li>`;
  };
  return html`
    <nav class="rail ${state.isMoreOpen ? "is-open" : ""}" aria-label="${t("Pages")}">
      <p class="brand">${brandMark(20)}<span class="rail-name">Clawmeter</span></p>
      <ul>
        ${PAGES.map(entry)}
        <li class="rail-more">
          <button type="button" class="rail-link" data-action="more" aria-expanded="${state.isMoreOpen ? "true" : "false"}">
            ${icon("more")}<span class="rail-name">${t("More")}</span>
          </button>
        </li>
      </ul>
    </nav>`;
}

const CONNECTIONS = {
  connecting: ["is-waiting", msg("Connecting")],
  live: ["is-live", msg("Live")],
  polling: ["is-waiting", msg("Every 15 s")],
  lost: ["is-lost", msg("Reconnecting")],
};

function LiveState(state) {
  const { connection, updatedMs } = state;
  const [mark, name] = CONNECTIONS[connection];
  const word = t(name);
  const way = indexing(state);
  let words = word;
  if (connection === "lost" && updatedMs) {
    words = html`${word}<span class="live-more">${t(", last update")}</span> ${formatClock(updatedMs, zoneOf(state))}`;
  } else if (connection === "live" && way) {
    words = html`
      <span class="live-more">${word}, ${indexingWords(way)}</span>
      <span class="live-less">${word}, ${Math.floor(way.percent)}\u00a0%</span>`;
  }
  const hint = updatedMs ? t("Last update {time}", { time: formatAbsolute(updatedMs, zoneOf(state)) }) : word;
  return html`<span class="live ${mark}" title="${hint}">${dot()}<span class="live-word">${words}</span></span>`;
}

// Range: presets, "last n days", a calendar, and the span before to compare with

const DAY_MS = 86_400_000;
export const addDays = (day, count) => new Date(Date.parse(`${day}T00:00:00Z`) + count * DAY_MS).toISOString().slice(0, 10);
export const addMonths = (day, count) => {
  const [year, month, date] = day.split("-").map(Number);
  const last = new Date(Date.UTC(year, month + count, 0)).getUTCDate();
  return new Date(Date.UTC(year, month - 1 + count, Math.min(date, last))).toISOString().slice(0, 10);
};

/** First and last day of a range as the calendar marks them; null where there is no such day. */
export function rangeDays(range, today) {
  const [from, to] = range.split("..");
  if (to) return [from.slice(0, 10), to.slice(0, 10)];
  const weekday = (new Date(`${today}T00:00:00Z`).getUTCDay() + 6) % 7;
  if (range === "all") return null;
  if (range === "today") return [today, today];
  if (range === "week") return [addDays(today, -weekday), today];
  if (range === "month") return [`${today.slice(0, 8)}01`, today];
  return [addDays(today, 1 - parseInt(range, 10)), today];
}

/** A month of days. `at` is the day that has the keyboard, `start` the first one chosen while choosing two. */
function Calendar({ route, calendar, now }, zone) {
  const today = dayIn(now, zone);
  const { at, start } = calendar;
  const month = at.slice(0, 7);
  const first = addDays(`${month}-01`, -((new Date(`${month}-01T00:00:00Z`).getUTCDay() + 6) % 7));
  const chosen = start ? [start < at ? start : at, start < at ? at : start] : rangeDays(route.range, today);
  const weeks = Array.from({ length: 6 }, (_, week) => Array.from({ length: 7 }, (__, i) => addDays(first, week * 7 + i)));
  const cell = (day) => {
    const isIn = chosen && day >= chosen[0] && day <= chosen[1];
    const kind = `${day.slice(0, 7) === month ? "" : "is-outside"} ${isIn ? "is-in" : ""} ${day === today ? "is-today" : ""}`;
    return html`
      <td>
        <button type="button" class="day ${kind}" data-action="day" data-value="${day}" data-key="${day}"
          tabindex="${day === at ? "0" : "-1"}" aria-pressed="${isIn ? "true" : "false"}" aria-label="${formatDay(day, true)}"
          ${day > today ? html` aria-disabled="true"` : null}>${Number(day.slice(8))}</button>
      </td>`;
  };
  const turn = (name, months, label) => html`
    <button type="button" class="icon-button" data-action="turn" data-value="${addMonths(at, months)}" title="${label}">
      ${icon(name)}${unseen(label)}
    </button>`;
  return html`
    <div class="calendar" data-calendar>
      <div class="calendar-head">
        ${turn("left", -1, t("Month before"))}<b aria-live="polite">${formatMonth(month)}</b>${turn("right", 1, t("Month after"))}
      </div>
      <table>
        <thead class="weekdays"><tr>${weeks[0].map((day) => html`<th scope="col">${formatDay(day, true).replace(/^.*(周.).*$/, "$1").slice(0, 3)}</th>`)}</tr></thead>
        <tbody>${weeks.map((week) => html`<tr data-key="${week[0]}">${week.map(cell)}</tr>`)}</tbody>
      </table>
      <p class="note">${start ? t("From {day}: choose the last day", { day: formatDay(start, true) }) : t("Choose the first day, then the last")}</p>
    </div>`;
}

function RangePicker(state) {
  const { range, isCompared } = state.route;
  const relative = /^(\d+)d$/.exec(range);
  return menu({
    name: "range", state, label: t("Range"), shortcut: "r", help: t("Choose the range"), kind: "range-picker",
    button: html`${rangeName(range)}${isCompared ? html` <span class="note">${t("compared")}</span>` : null}`,
    body: () => html`
      <div class="range-side">
        <ul class="presets">
          ${RANGES.map(([key, name]) => html`
            <li data-key="${key}">
              <button type="button" data-action="range" data-value="${key}" aria-pressed="${key === range ? "true" : "false"}">${t(name)}</button>
            </li>`)}
        </ul>
        <form class="relative" data-action="relative">
          <label for="last-days">${t("Last")}</label>
          <input id="last-days" name="days" type="number" min="1" max="9999" required value="${relative ? relative[1] : "14"}">
          <span>${t("days")}</span>
          <button type="submit" class="button">${t("Show")}</button>
        </form>
        <label class="check">
          <input type="checkbox" data-action="compare"${isCompared ? html` checked` : null}>
          ${t("Compare with the span before")}
        </label>
      </div>
      ${Calendar(state, zoneOf(state))}`,
  });
}

function ZonePicker({ route: { zone }, zones, serverZone, browserZone }) {
  const suggested = [["", serverZone ? t("{zone} (server)", { zone: serverZone }) : t("Server's zone")]];
  if (browserZone && browserZone !== serverZone) suggested.push([browserZone, t("{zone} (here)", { zone: browserZone })]);
  if (browserZone !== "UTC") suggested.push(["UTC", "UTC"]);
  const isSuggested = (one) => suggested.some(([known]) => known === one);
  // An old link may name a zone that this browser does not list.
  const others = isSuggested(zone) || zones.includes(zone) ? zones : [zone, ...zones];
  return html`
    <label class="select zone-picker">
      ${unseen(t("Time zone"))}
      <select data-action="zone" data-shortcut="z" data-help="${t("Choose the time zone")}">
        <optgroup label="${t("Suggested")}">${suggested.map(([one, name]) => option(one, name, zone))}</optgroup>
        <optgroup label="${t("All zones")}">${others.map((one) => (isSuggested(one) ? null : option(one, one, zone)))}</optgroup>
      </select>
    </label>`;
}

// Filters: chips of what is on, and a menu to add one

export const isFiltered = ({ route }) => FILTERS.some(([kind]) => route.filters[kind]);
export const filterKindName = (kind) => t(FILTERS.find(([one]) => one === kind)?.[1] ?? kind);

function Chips({ route: { filters } }) {
  return FILTERS.filter(([kind]) => filters[kind]).map(([kind]) => html`
    <span class="chip" data-key="chip-${kind}">
      <span class="chip-kind">${filterKindName(kind)}</span> <bdi title="${filters[kind]}">${filters[kind] === NONE_KEY ? t("none") : filters[kind]}</bdi>
      <button type="button" data-action="unfilter" data-kind="${kind}" title="${t("Remove this filter")}">
        ${icon("close", 10)}${unseen(t("Remove the filter on {kind}", { kind: filterKindName(kind) }))}
      </button>
    </span>`);
}

/** What the filter menu offers: the values of one kind that the range has, dearest first. */
export function filterAsk(state) {
  if (state.menu !== "filter") return [];
  const { filters, ...route } = state.route;
  const others = Object.fromEntries(Object.entries(filters).filter(([kind]) => kind !== state.filterKind));
  const by = state.filterKind === "model" ? "provider_model" : state.filterKind;
  return [{ key: "filter-values", path: "/api/usage", params: { ...askParams({ ...route, filters: others }), by, limit: 200 }, on: [] }];
}

function FilterMenu(state) {
  const { filterKind, filterText } = state;
  const answer = state.answers["filter-values"];
  const by = filterKind === "model" ? "provider_model" : filterKind;
  const rows = answer?.data?.by === by ? answer.data.rows : null;
  const wanted = filterText.toLowerCase();
  const shown = (rows ?? []).filter((row) => row.key.toLowerCase().includes(wanted)).slice(0, 60);
  return menu({
    name: "filter", state, label: t("Add a filter"), shortcut: "f", help: t("Add a filter"), kind: "filter-menu is-quiet",
    button: html`+ ${t("filter")}`,
    body: () => html`
      ${segments({
        action: "filter-kind", label: t("What to filter by"), chosen: filterKind,
        choices: FILTERS.map(([kind, name]) => [kind, t(name)]),
      })}
      <input class="field" type="search" data-action="filter-text" aria-label="${t("Find a value")}" placeholder="${t("Find a value")}"
        autocomplete="off" spellcheck="false" value="${filterText}">
      <ul class="values">
        ${shown.map((row) => html`
          <li data-key="${row.key}">
            <button type="button" data-action="filter" data-kind="${filterKind}" data-value="${row.key}" data-row>
              <bdi>${row.key === NONE_KEY ? t("none") : row.label}</bdi><span class="num">${cost(row)}</span>
            </button>
          </li>`)}
      </ul>
      ${rows && !shown.length ? nothing(t("Nothing in this range has such a value.")) : null}`,
  });
}

// Settings: what a person chooses for themselves; kept in their browser

function Settings(state) {
  const { theme, language, currency, rate, isHidden } = state;
  return menu({
    name: "settings", state, label: t("Settings"), shortcut: ",", help: t("Settings"), kind: "is-icon settings",
    button: html`${icon("settings")}${unseen(t("Settings"))}`,
    body: () => html`
      <dl class="settings-list">
        <div><dt>${t("Theme")}</dt><dd>${segments({ action: "theme", label: t("Theme"), choices: THEMES.map(([key, name]) => [key, t(name)]), chosen: theme })}</dd></div>
        <div><dt>${t("Language")}</dt><dd>${segments({ action: "language", label: t("Language"), choices: LANGUAGES.map(([key, name]) => [key, t(name)]), chosen: language })}</dd></div>
        <div>
          <dt>${t("Amounts")}</dt>
          <dd>
            <label class="check">
              <input type="checkbox" data-action="hide"${isHidden ? html` checked` : null}> ${t("Hide, for a shared screen")}
            </label>
          </dd>
        </div>
        <div>
          <dt>${t("Currency")}</dt>
          <dd>
            ${select({ action: "currency", label: t("Currency"), chosen: currency, options: CURRENCIES.map((one) => [one, one]) })}
            ${currency === "USD" ? null : html`
              <label class="rate">1 USD = <input type="text" inputmode="decimal" class="field" data-action="rate" data-key="rate-${currency}"
                value="${rate}" aria-label="${t("{currency} for one US dollar", { currency })}" autocomplete="off"> ${currency}</label>`}
          </dd>
        </div>
      </dl>
      <p class="note">${t("Kept in this browser. Amounts are counted in US dollars; a converted one is marked ≈, with the exact dollars under the pointer.")}</p>`,
  });
}

/** What `/` finds: pages are known here, the rest comes from the server. */
export function searchHits(state) {
  const { text } = state.search;
  const wanted = text.trim().toLowerCase();
  const found = wanted ? dataOf(state, "search") : null;
  const pages = PAGES.filter(([page, name]) => BUILT.has(page) && (!wanted || t(name).toLowerCase().includes(wanted)))
    .map(([page, name]) => ({ kind: t("Page"), name: t(name), note: "", href: hrefTo(state, page) }));
  const narrowed = (filters) => ({ ...state, route: { ...state.route, filters: { ...state.route.filters, ...filters } } });
  const at = BUILT.has("cost") ? "cost" : "overview";
  const more = (found?.results ?? []).map((hit) => {
    if (hit.kind === "session") {
      const href = BUILT.has("session") ? hrefTo(state, "session", [hit.key]) : null;
      const note = [hit.agent, hit.channel, formatAgo(hit.last_activity_ms, state.now, zoneOf(state))].filter(Boolean).join(" · ");
      return { kind: t("Session"), name: sessionName({ label: hit.label, key: hit.label }), note, href };
    }
    const note = `${tn(hit.model_calls, "{n} call", "{n} calls")} · ${formatMoney(hit.cost_nano_usd)}`;
    return { kind: filterKindName(hit.kind), name: hit.label, note, href: hrefTo(narrowed({ [hit.kind]: hit.key }), at) };
  });
  return [...more.filter((hit) => hit.href), ...pages];
}

export function Search(state) {
  if (!state.search) return html``;
  const hits = searchHits(state);
  const { text, at } = state.search;
  const isNone = text.trim() && !hits.length && state.answers.search?.askedFor?.q === text.trim();
  return html`
    <h2 id="search-title" class="unseen">${t("Search")}</h2>
    <label class="search-field">
      ${icon("search")}
      <input type="search" data-action="search-text" role="combobox" aria-expanded="true" aria-controls="search-hits"
        aria-activedescendant="${hits.length ? `hit-${at}` : ""}" aria-label="${t("Search sessions, agents, models")}"
        placeholder="${t("Search sessions, agents, models")}" autocomplete="off" spellcheck="false" value="${text}">
      <button type="button" class="link" data-action="search-close">${t("Close")}</button>
    </label>
    <ul id="search-hits" class="search-hits" role="listbox" aria-label="${t("Found")}">
      ${hits.map((hit, i) => html`
        <li id="hit-${i}" role="option" aria-selected="${i === at ? "true" : "false"}" data-action="hit" data-value="${hit.href}" data-key="${hit.href}">
          <span class="hit-kind">${hit.kind}</span><span class="hit-name"><bdi>${hit.name}</bdi></span>
          <span class="note"><bdi>${hit.note}</bdi></span>
        </li>`)}
    </ul>
    ${isNone ? nothing(t("Nothing has this in its name, key or id.")) : null}`;
}

export function Bar(state) {
  if (state.needsLogin) return html``;
  const here = INSIDE[state.route.page] ?? state.route.page;
  const page = PAGES.find(([key]) => key === here && BUILT.has(key));
  return html`
    <div class="bar">
      <h1>${page ? t(page[1]) : "Clawmeter"}</h1>
      <div class="bar-controls">${RangePicker(state)}${ZonePicker(state)}${Chips(state)}${FilterMenu(state)}</div>
      <div class="bar-state">
        ${LiveState(state)}
        ${state.isHidden ? html`<span class="mark" title="${t("Amounts are hidden")}">${icon("hidden", 12)}${unseen(t("Amounts are hidden"))}</span>` : null}
        ${isConverted() ? html`<span class="mark" title="${t("1 USD = {rate} {currency}", { rate: state.rate, currency: state.currency })}">≈ ${state.currency}</span>` : null}
        <button type="button" class="icon-button" data-action="search" data-shortcut="/"
          data-help="${t("Search")}" title="${t("Search")} /">${icon("search")}${unseen(t("Search"))}</button>
        ${Settings(state)}
        <button type="button" class="icon-button" data-action="help" data-shortcut="?"
          data-help="${t("List the shortcuts")}" title="${t("Shortcuts")} ?">
          ${icon("help")}${unseen(t("Shortcuts"))}
        </button>
      </div>
    </div>`;
}

// Overview: figures

export function change(totals, before) {
  const now = totals.cost_nano_usd;
  const then = before.cost_nano_usd;
  if (!then) return { mark: "", word: "", text: now ? "nothing" : "" };
  const share = (now - then) / then;
  if (Math.abs(share) < 0.005) return { mark: "", word: "", text: "±0\u00a0%" };
  const text = share > 9.995 ? `×${Math.round(share + 1)}` : formatPercent(Math.abs(share));
  return share > 0 ? { mark: "▲", word: t("up"), text } : { mark: "▼", word: t("down"), text };
}

function Change({ figure, against }) {
  const { mark, word, text } = change(figure.totals, figure.before);
  if (text === "") return html`<p class="figure-change">${t("nothing yet, nor {before}", { before: against })}</p>`;
  if (text === "nothing") return html`<p class="figure-change">${t("nothing {before}", { before: against })}</p>`;
  const { cost_nano_usd: then } = figure.before;
  return html`
    <p class="figure-change">
      ${mark ? html`<span class="arrow" aria-hidden="true">${mark}</span>${unseen(`${word} `)}` : null}
      ${t("{change} from {amount} {before}", { change: html`<b>${text}</b>`, amount: money(then), before: against })}
    </p>`;
}

function Budget({ spent, limitUsd, words }) {
  if (!limitUsd) return null;
  const limit = Math.round(limitUsd * 1e9);
  const share = spent / limit;
  const level = share > 1 ? "is-bad" : share >= 0.8 ? "is-warn" : "is-ok";
  const used = share > 1
    ? t("{over} the {limit} {budget}", {
      over: html`<strong class="is-bad">${t("{amount} over", { amount: formatMoney(spent - limit) })}</strong>`,
      limit: formatMoney(limit), budget: words,
    })
    : t("{share} of {limit} {budget}", { share: formatPercent(share), limit: formatMoney(limit), budget: words });
  return html`
    <div class="budget">
      <progress class="${level}" max="1" value="${Math.min(1, share)}" aria-label="${words}"></progress>
      <span>${used}</span>
    </div>`;
}

function figureFrame({ key, label, number, spark = null, body, state }) {
  return html`
    <section class="figure" data-key="${key}" aria-labelledby="h-${key}">
      <header><h2 id="h-${key}">${label}</h2>${partial(state)}</header>
      <div class="figure-row"><p class="figure-number">${number}</p>${spark}</div>
      ${body}
    </section>`;
}

function Figure({ key, label, figure, against, budget, state }) {
  const plan = figure.totals.plan_cost_nano_usd;
  return figureFrame({
    key, label, state, number: cost(figure.totals, true), spark: sparkline(figure.spark_nano_usd),
    body: html`
      ${Change({ figure, against })}
      ${plan ? html`<p class="figure-plan">${t("and {amount} worth of plan use", { amount: formatMoney(plan) })}</p>` : null}
      ${budget}`,
  });
}

const BASES = [
  msg("spent so far, and the mean of the last {1} full days for the {2} days left; the range holds in {3} of {4} months like them"),
  msg("needs three full days of use"),
];
const basisWords = (basis) => tServer(basis, BASES);

function MonthEnd(state) {
  const { month_end: end, month } = state.overview.figures;
  const frame = (number, body) => figureFrame({ key: "month-end", label: t("At month end"), number, body, state });
  if (end?.projected_nano_usd === null || end?.projected_nano_usd === undefined) {
    const why = end?.basis ? basisWords(end.basis) : t("a projection needs a few days of use");
    return frame(html`<span class="num">${UNKNOWN}</span>`, html`<p class="figure-change">${why}</p>`);
  }
  const limitUsd = isFiltered(state) ? null : state.overview.budgets.monthly_usd;
  const budget = limitUsd ? Math.round(limitUsd * 1e9) : null;
  const apart = end.projected_nano_usd - (budget ?? 0);
  const over = apart > 0
    ? t("{over} the monthly budget", {
      over: html`<strong class="is-bad">▲ ${t("{amount} over", { amount: formatMoney(apart) })}</strong>`,
    })
    : t("{amount} under the monthly budget", { amount: formatMoney(-apart) });
  return frame(money(end.projected_nano_usd), html`
    <p class="figure-change" title="${basisWords(end.basis)}">
      ${t("between {low} and {high}", { low: formatMoney(end.low_nano_usd), high: formatMoney(end.high_nano_usd) })}
    </p>
    ${budget === null ? null : html`<p class="figure-change">${over}</p>`}
    ${rangeBar({
      spent: month.totals.cost_nano_usd, projected: end.projected_nano_usd,
      low: end.low_nano_usd, high: end.high_nano_usd, budget,
    })}`);
}

function Figures(state) {
  const { figures } = state.overview;
  // A budget is for all agents together: it says nothing about one of them.
  const budgets = isFiltered(state) ? {} : state.overview.budgets;
  const spentOf = (figure) => figure.totals.cost_nano_usd;
  const daily = Budget({ spent: spentOf(figures.today), limitUsd: budgets.daily_usd, words: t("daily budget") });
  const monthly = Budget({ spent: spentOf(figures.month), limitUsd: budgets.monthly_usd, words: t("monthly budget") });
  const figure = (key, label, against, budget) => Figure({ key, label, figure: figures[key], against, budget, state });
  return html`
    <div class="figures" data-key="figures">
      ${figure("today", t("Today"), t("yesterday by now"), daily)}
      ${figure("week", t("7 days"), t("the 7 days before"), null)}
      ${figure("month", t("This month"), t("last month by now"), monthly)}
      ${MonthEnd(state)}
    </div>`;
}

// Overview: what needs attention, cost by day, shares

/** What the server says in English is said here in the person's language, from the numbers it is about. */
function attentionWords(one, { coverage, by_model: models }) {
  if (one.kind === "unpriced") {
    const unpriced = models.filter((row) => row.unpriced_calls);
    const calls = unpriced.reduce((sum, row) => sum + row.unpriced_calls, 0);
    const names = unpriced.slice(0, 3).map((row) => row.key).join(", ");
    if (calls) {
      return t("{calls} without a price ({names}): tokens are counted, the cost is not known", {
        calls: tn(calls, "{n} call", "{n} calls"), names: unpriced.length > 3 ? names + t(" and {n} more", { n: unpriced.length - 3 }) : names,
      });
    }
  }
  if (one.kind === "unreadable") {
    return tn(coverage.unreadable, "{n} source of OpenClaw cannot be read", "{n} sources of OpenClaw cannot be read");
  }
  if (one.kind === "implausible") {
    return tn(coverage.implausible, "{n} call with impossible numbers is left out of the sums", "{n} calls with impossible numbers are left out of the sums");
  }
  return one.text;
}

const ACTIONS = [msg("See health"), msg("Set a price")];
const actionName = (label) => (ACTIONS.includes(label) ? t(label) : label);

function AttentionLine(one, i, overview) {
  const isBad = one.level === "bad";
  const href = one.action ? ownHref(one.action.href) : null;
  // A link to a page that does not exist yet would lead nowhere: its words alone are shown.
  const isReachable = href !== null && (href.startsWith("/api/") || BUILT.has(parseRoute(href).page));
  let action = null;
  if (isReachable) action = html`<a href="${href}" data-row>${actionName(one.action.label)}</a>`;
  else if (one.action) action = html`<span class="note">${actionName(one.action.label)}</span>`;
  return html`
    <li data-key="${one.kind}-${i}">
      <span class="level ${isBad ? "is-bad" : "is-warn"}">
        ${icon(isBad ? "bad" : "warn")}${isBad ? t("Problem") : t("Warning")}
      </span>
      <span class="attention-text">${bdi(attentionWords(one, overview))}</span>
      ${action}
    </li>`;
}

function Attention(state) {
  const { attention } = state.overview;
  if (!attention.length) return null;
  return panel({
    key: "attention", title: t("Needs attention"), wide: "w12", state,
    note: attention.length > 5 ? tn(attention.length - 5, "{n} more line", "{n} more lines") : null,
    body: html`<ul class="attention">${attention.slice(0, 5).map((one, i) => AttentionLine(one, i, state.overview))}</ul>`,
  });
}

const UNIT_TITLES = { day: msg("Cost by day"), week: msg("Cost by week"), month: msg("Cost by month") };
const unitTitle = (unit) => t(UNIT_TITLES[unit]);

function DayTable(model) {
  const last = model.spans.length - 1;
  return scrollingTable({
    label: t("{title}, table", { title: unitTitle(model.unit) }), kind: "is-tall",
    heads: html`
      ${head(t(BY_NAMES[model.unit]))}
      ${model.series.map((one) => head(bdi(one.label), "num"))}
      ${head(t("Total"), "num")}`,
    rows: model.spans.map((span, i) => html`
      <tr>
        <th scope="row">${model.isLastPartial && i === last ? t("{day}, so far", { day: span.label }) : span.label}</th>
        ${model.series.map((one) => html`<td class="num">${formatMoney(one.values[i])}</td>`)}
        <td class="num">${formatMoney(model.series.reduce((sum, one) => sum + one.values[i], 0))}</td>
      </tr>`),
  });
}

function DayChart(model, state) {
  const label = t("{title}, stacked by model. Arrow keys move, Enter selects, Escape leaves.", { title: unitTitle(model.unit) });
  return html`
    <div class="chart" data-chart="day" data-measure="day" tabindex="0" role="group" aria-roledescription="${t("chart")}"
      aria-label="${label}">
      ${stackedBars(model, widthOf(state, "day"), CHART_HEIGHT, state.lit)}
      <div class="tip" data-tip data-keep="1" role="status"></div>
    </div>`;
}

function Legend(model, total, lit) {
  return html`
    <ul class="legend">
      ${model.series.map((one, i, all) => html`
        <li data-key="${one.key}">
          <button type="button" data-action="${isOther(one, i, all) ? "light" : "filter"}" data-kind="model" data-value="${one.key}"
            data-light="${one.key}" aria-pressed="${lit === one.key ? "true" : "false"}">
            ${swatch(one.slot)}
            <span class="legend-name" title="${one.label}">${bdi(one.label)}</span>
            ${money(one.total_nano_usd)}
            <span class="share">${sharePercent(one.total_nano_usd, total)}</span>
          </button>
        </li>`)}
    </ul>`;
}

function ByDay(state) {
  const model = dayModel(state);
  const total = model.series.reduce((sum, one) => sum + one.total_nano_usd, 0);
  const back = state.route.range.includes("..")
    ? html`<button type="button" class="link" data-action="range-reset">${t("Back to {range}", { range: rangeName(DEFAULT_RANGE) })}</button>`
    : null;
  return panel({
    key: "by-day", title: unitTitle(model.unit), wide: "w8", state, isRanged: true,
    note: html`${rangeName(state.route.range)}, ${money(total)}`,
    tools: html`
      ${back}
      <button type="button" class="link" data-action="table">${state.isTable ? t("Show chart") : t("Show table")}</button>`,
    body: model.series.length
      ? html`${state.isTable ? DayTable(model) : DayChart(model, state)}${Legend(model, total, state.lit)}`
      : nothing(t("No metered cost in this range.")),
  });
}

function Shares({ key, title, kind, rows, state }) {
  const total = sumCost(rows);
  const line = (name, nano, shown, hint) => html`
    <tr>
      <th scope="row" class="name" title="${hint}">${name}</th>
      <td class="bar-cell">${shareBar(shareOf(nano, total))}</td>
      <td class="num">${shown}</td>
      <td class="num share">${sharePercent(nano, total)}</td>
    </tr>`;
  const named = (row) => line(filterName(kind, row.key, row.label || row.key), row.cost_nano_usd, cost(row), row.label || row.key);
  const rest = rows.slice(7);
  const others = rest.length ? line(tn(rest.length, "{n} other", "{n} others"), sumCost(rest), money(sumCost(rest)), "") : null;
  const table = html`
    <table class="shares">
      <thead class="unseen">
        <tr>${head(t("Name"))}<td></td>${head(t("Cost"))}${head(t("Share"))}</tr>
      </thead>
      <tbody>${rows.slice(0, 7).map(named)}${others}</tbody>
    </table>`;
  const body = rows.length ? table : nothing(t("Nothing in this range."));
  return panel({ key, title, wide: "", state, isRanged: true, body });
}

// Overview: sessions and activity

/** Sub-agents directly under the session that spawned them: [[row, depth], …]. */
export function nestSessions(rows) {
  const ids = new Set(rows.map((row) => row.id));
  const children = new Map();
  const tops = [];
  for (const row of rows) {
    const parent = row.parent_session;
    if (parent && parent !== row.id && ids.has(parent)) children.set(parent, [...(children.get(parent) ?? []), row]);
    else tops.push(row);
  }
  const nested = [];
  const seen = new Set();
  const walk = (row, depth) => {
    if (seen.has(row.id)) return;
    seen.add(row.id);
    nested.push([row, depth]);
    for (const child of children.get(row.id) ?? []) walk(child, depth + 1);
  };
  for (const row of tops) walk(row, 0);
  // Two sessions that name each other as parent have no top: they are shown all the same.
  for (const row of rows) walk(row, 0);
  return nested;
}

const STATES = { running: msg("Running"), idle: msg("Idle"), ended: msg("Ended") };

export function stateMark(row) {
  const key = row.state in STATES ? row.state : "ended";
  const name = t(STATES[key]);
  const hint = row.inferred ? t("{state}, inferred from its last entry", { state: name }) : name;
  return html`<span class="state is-${key}" title="${hint}">${dot()}<span class="state-word">${name}</span></span>`;
}

/** Agent and channel under the name, where the window has no room for their columns. */
export const where = (row) => html`
  <span class="where">${bdi(row.agent ?? UNKNOWN)} · ${bdi(row.channel || row.cause || UNKNOWN)}</span>`;

export function context(row) {
  if (!row.context_tokens || !row.context_window) return UNKNOWN;
  const share = row.context_tokens / row.context_window;
  const hint = t("{n} of {limit} tokens", { n: formatCount(row.context_tokens), limit: formatCount(row.context_window) });
  return html`
    <span class="context" title="${hint}">${shareBar(share)}<span class="num">${formatPercent(share)}</span></span>`;
}

function LiveRow(row, depth, state) {
  const since = row.state === "running" ? Math.max(0, state.now - state.overview.as_of_ms) : 0;
  return html`
    <tr data-key="${row.id}">
      <td class="state-cell">${stateMark(row)}</td>
      <th scope="row" class="name depth-${Math.min(depth, 4)}" title="${sessionName(row)}">
        ${depth ? html`<span class="branch" aria-hidden="true">└</span>${unseen(`${t("sub-agent")} `)}` : null}
        ${sessionLink(state, row.id, sessionName(row))}${where(row)}
      </th>
      <td class="mid">${bdi(row.agent ?? UNKNOWN)}</td>
      <td class="mid">${bdi(row.channel || row.cause || UNKNOWN)}</td>
      <td class="mid model">${bdi(row.model ?? UNKNOWN)}</td>
      <td class="num wide">${context(row)}</td>
      <td class="num">${cost(row)}</td>
      <td class="num">${formatDuration((row.duration_ms ?? 0) + since)}</td>
    </tr>`;
}

function Now(state) {
  const { live, activity } = state.overview;
  if (!live.length) {
    const last = activity.length ? t("Last activity {time}.", { time: when(activity[0].ts_ms, state) }) : null;
    return panel({ key: "now", title: t("Now"), wide: "w12", state, body: nothing(html`${t("Nothing is running.")} ${last}`) });
  }
  const running = live.filter((row) => row.state === "running").length;
  const nested = nestSessions(live);
  const hidden = nested.length - SHOWN_ROWS;
  const table = scrollingTable({
    label: t("{title}, table", { title: t("Live sessions") }),
    heads: html`
      ${head(html`<span class="state-word">${t("State")}</span>`)}${head(t("Session"))}${head(t("Agent"), "mid")}
      ${head(t("Channel"), "mid")}${head(t("Model"), "mid")}${head(t("Context"), "num wide")}${head(t("Cost"), "num")}
      ${head(t("For"), "num")}`,
    rows: nested.slice(0, SHOWN_ROWS).map(([row, depth]) => LiveRow(row, depth, state)),
  });
  return panel({
    key: "now", title: t("Now"), wide: "w12", state, isSum: true,
    note: tn(running, "{n} session running", "{n} sessions running") + (live.some((row) => row.inferred) ? t(", inferred") : ""),
    body: html`${table}${hidden > 0 ? html`<p class="more">${t("and {n} more", { n: formatCount(hidden) })}</p>` : null}`,
  });
}

function Dearest(state) {
  const rows = state.overview.top_sessions;
  const isDearer = (row) => row.tree_cost_nano_usd > row.cost_nano_usd;
  const hasTrees = rows.some(isDearer);
  const tree = (row) => html`
    <td class="num wide">
      ${isDearer(row) ? money(row.tree_cost_nano_usd) : html`<span class="note">${money(row.cost_nano_usd)}</span>`}
    </td>`;
  const line = (row) => html`
    <tr data-key="${row.id}">
      <th scope="row" class="name" title="${sessionName(row)}">${sessionLink(state, row.id, sessionName(row))}${where(row)}</th>
      <td class="mid">${bdi(row.agent ?? UNKNOWN)}</td>
      <td class="mid model">${bdi(row.model ?? UNKNOWN)}</td>
      <td class="num wide">${formatCount(row.model_calls)}</td>
      <td class="num wide">${tokens(row.total_tokens)}</td>
      <td class="num">${cost(row)}</td>
      ${hasTrees ? tree(row) : null}
      <td class="num">${when(row.last_activity_ms, state)}</td>
    </tr>`;
  const table = scrollingTable({
    label: t("{title}, table", { title: t("Dearest sessions") }),
    heads: html`
      ${head(t("Session"))}${head(t("Agent"), "mid")}${head(t("Model"), "mid")}${head(t("Calls"), "num wide")}
      ${head(t("Tokens"), "num wide")}${sortedHead(t("Cost"))}${hasTrees ? head(t("With sub-agents"), "num wide") : null}
      ${head(t("Last active"), "num")}`,
    rows: rows.map(line),
  });
  return panel({
    key: "dearest", title: t("Dearest sessions"), note: rangeName(state.route.range), wide: "w8", state, isRanged: true,
    body: rows.length ? table : nothing(t("No session was active in this range.")),
  });
}

const DEEDS = { started: msg("Started"), ended: msg("Ended"), failed: msg("Failed"), compacted: msg("Compacted") };

const DEED_WORDS = [msg("session started"), msg("context compacted"), msg("the model call failed"), msg("the run was aborted")];

/** "gpt-5.2: the model call failed", the part behind the model in the person's language. */
function deedWords(text) {
  const words = DEED_WORDS.find((one) => text === one || text.endsWith(`: ${one}`));
  return words ? text.slice(0, -words.length) + t(words) : text;
}

function Activity(state) {
  const line = (one, i) => {
    const isKnown = one.kind in DEEDS;
    // A session without a label comes with its key for one.
    const name = sessionName({ key: one.label, id: one.session });
    return html`
      <li data-key="${one.ts_ms}-${one.session}-${one.kind}-${i}">
        <span class="did ${one.kind === "failed" ? "is-bad" : ""}">
          ${icon(isKnown ? one.kind : "other", 12)}${isKnown ? t(DEEDS[one.kind]) : one.kind}
        </span>
        <span class="activity-text" title="${name}${one.text ? `: ${deedWords(one.text)}` : ""}">
          ${sessionLink(state, one.session, name)}${one.text ? html` <span class="note">${bdi(deedWords(one.text))}</span>` : null}
        </span>
        ${when(one.ts_ms, state)}
      </li>`;
  };
  const rows = state.overview.activity.slice(0, 10);
  return panel({
    key: "activity", title: t("Activity"), wide: "w4", state,
    body: rows.length ? html`<ol class="activity">${rows.map(line)}</ol>` : nothing(t("Nothing has happened yet.")),
  });
}

// Overview: breakdown and sources

function BreakdownTable(usage, { palette, isAllShown }) {
  const total = usage.totals.cost_nano_usd;
  const isFilter = FILTERS.some(([kind]) => kind === usage.by);
  const shownName = (row, name) => (isFilter ? filterName(usage.by, row.key, name) : bdi(name));
  const numbers = (row) => html`
    <td class="num">${formatCount(row.model_calls)}</td>
    <td class="num wide">${tokens(row.input_tokens)}</td>
    <td class="num wide">${tokens(row.output_tokens)}</td>
    <td class="num wide">${tokens(row.cache_read_tokens)}</td>
    <td class="num wide">${tokens(row.cache_write_tokens)}</td>
    <td class="num mid">${tokens(row.total_tokens)}</td>
    <td class="num">${cost(row)}</td>`;
  const line = (row) => {
    const name = row.label || row.key;
    const shown = row.key === NONE_KEY ? html`<span class="note">${t("none")}</span>` : shownName(row, name);
    const slot = usage.by === "model" ? slotOf(palette, row.key) : 0;
    return html`
      <tr data-key="${row.key}">
        <th scope="row" class="name" title="${name}${name === row.key ? "" : ` (${row.key})`}">${shown}</th>
        ${numbers(row)}
        <td class="bar-cell mid">${shareBar(shareOf(row.cost_nano_usd, total), slot)}</td>
        <td class="num share">${sharePercent(row.cost_nano_usd, total, 1)}</td>
      </tr>`;
  };
  return scrollingTable({
    label: t("{title}, table", { title: t("Breakdown") }),
    heads: html`
      ${head(t(BY_NAMES[usage.by]))}${head(t("Calls"), "num")}${head(t("Input tokens"), "num wide")}
      ${head(t("Output"), "num wide")}${head(t("Cache read"), "num wide")}${head(t("Cache write"), "num wide")}
      ${head(t("All tokens"), "num mid")}${sortedHead(t("Cost"))}${head(unseen(t("Share as a bar")), "mid")}${head(t("Share"), "num")}`,
    rows: (isAllShown ? usage.rows : usage.rows.slice(0, SHOWN_ROWS)).map(line),
    foot: html`
      <tr>
        <th scope="row">${t("All {n}", { n: formatCount(usage.row_count) })}</th>
        ${numbers(usage.totals)}
        <td class="mid"></td>
        <td class="num share">${sharePercent(total, total)}</td>
      </tr>`,
  });
}

function Breakdown(state) {
  const { usage, usageError } = state;
  const tools = select({
    action: "by", label: t("Break down by"), shortcut: "b", help: t("Choose the breakdown"), kind: "is-small", chosen: state.by,
    options: BREAKDOWNS.map((by) => [by, t(BY_NAMES[by])]),
  });
  const frame = (body) => panel({
    key: "breakdown", title: t("Breakdown"), note: rangeName(state.route.range), tools, wide: "w12", state,
    isRanged: usage !== null, body,
  });
  if (!usage) {
    if (!usageError) return frame(nothing(t("Loading")));
    return frame(nothing(html`
      ${t("The breakdown could not be read: {why}.", { why: usageError })}
      <button type="button" class="link" data-action="retry">${t("Try again")}</button>`));
  }
  if (!usage.rows.length) return frame(nothing(t("No model calls in this range.")));
  const all = usage.rows.length < usage.row_count
    ? t("Show the first {n} of {all}", { n: formatCount(usage.rows.length), all: formatCount(usage.row_count) })
    : t("Show all {n}", { n: formatCount(usage.row_count) });
  const more = html`
    <p class="more">
      <button type="button" class="link" data-action="show-all">
        ${state.isAllShown ? t("Show the first {n}", { n: SHOWN_ROWS }) : all}
      </button>
    </p>`;
  return frame(html`${BreakdownTable(usage, state)}${usage.rows.length > SHOWN_ROWS ? more : null}`);
}

const NO_GATEWAY = msg("not connected");

function Strip(state) {
  const { source, coverage, all_time: all } = state.overview;
  const item = (key, name, value, mark = "") => html`
    <div data-key="${key}" class="${mark}"><dt>${name}</dt><dd>${value}</dd></div>`;
  const versions = source.openclaw_versions;
  const version = versions.length > 2
    ? t("{version} and {n} older", { version: versions[versions.length - 1], n: versions.length - 1 })
    : versions.join(", ") || UNKNOWN;
  const homes = source.homes.length
    ? html`<span class="mono" title="${source.homes.join("\n")}">${bdi(source.homes[0])}</span>
      ${source.homes.length > 1 ? t(" and {n} more", { n: source.homes.length - 1 }) : ""}`
    : t("none found");
  const counted = tn(source.files, "{n} file", "{n} files")
    + (source.databases ? `, ${tn(source.databases, "{n} database", "{n} databases")}` : "");
  const read = indexing(state)
    ? html`
      ${indexingWords(indexing(state))}
      <progress class="is-warn" max="100" value="${source.indexed_percent}" aria-label="${t("Indexed")}"></progress>`
    : coverage.complete === false ? t("indexed in part") : t("indexed {n}\u00a0%", { n: 100 });
  const faults = [
    coverage.unreadable ? t("{n} unreadable", { n: formatCount(coverage.unreadable) }) : "",
    coverage.bad_lines ? tn(coverage.bad_lines, "{n} bad line", "{n} bad lines") : "",
    coverage.implausible ? tn(coverage.implausible, "{n} implausible call", "{n} implausible calls") : "",
  ].filter(Boolean).join(", ");
  const sizes = [
    tn(all.model_calls, "{n} call", "{n} calls"), tn(all.sessions, "{n} session", "{n} sessions"),
    tn(source.agents, "{n} agent", "{n} agents"),
  ].join(", ");
  return html`
    <footer class="strip w12" data-key="strip" aria-label="${t("Sources")}">
      <dl>
        ${item("openclaw", "OpenClaw", version)}
        ${item("gateway", t("Gateway"), source.gateway === NO_GATEWAY ? t(NO_GATEWAY) : source.gateway)}
        ${item("home", t("Home"), homes)}
        ${item("sources", t("Sources"), html`${counted}, ${read}`)}
        ${faults ? item("faults", t("Not counted"), faults, "is-warn") : null}
        ${item("lag", t("Lag"), formatDuration(source.lag_ms))}
        ${item("disk", t("Disk"), t("ledger {size}, {free} free", { size: formatBytes(source.ledger_bytes), free: formatBytes(source.disk_free_bytes) }))}
        ${item("memory", t("Memory"), formatBytes(source.rss_bytes))}
        ${item("all", t("All time"), html`${partial(state)} ${cost(all, true)}, ${sizes}`)}
        ${item("version", "Clawmeter", state.version)}
      </dl>
    </footer>`;
}

// States

export function command(text) {
  return html`
    <span class="command">
      <code>${text}</code>
      <button type="button" class="link" data-action="copy" data-value="${text}">${t("Copy")}${unseen(` ${text}`)}</button>
    </span>`;
}

function Empty(state) {
  const { homes } = state.overview.source;
  const more = homes.length > 1 ? t(" and {n} more", { n: homes.length - 1 }) : "";
  const why = homes.length
    ? t("Clawmeter reads {home}{more} and will show the first call within a second of it.", {
      home: html`<span class="mono">${bdi(homes[0])}</span>`, more,
    })
    : t("Name one with {option} or with {variable}.", {
      option: html`<code>--home</code>`, variable: html`<code>OPENCLAW_STATE_DIR</code>`,
    });
  return html`
    <div class="grid" data-key="empty">
      ${homes.length ? Figures(state) : null}
      <section class="panel w12 empty" data-key="empty" aria-labelledby="h-empty">
        <h2 id="h-empty">${homes.length ? t("No model calls yet") : t("No OpenClaw home was found")}</h2>
        <p>${why}</p>
        <p>
          ${t("Here will be what each day cost, by model, agent and cause, where the month will end, what runs now, and the dearest sessions.")}
        </p>
        <dl class="commands">
          <div><dt>${t("See what was looked for, and where")}</dt><dd>${command("clawmeter doctor")}</dd></div>
          <div><dt>${t("Look around with made-up data")}</dt><dd>${command("clawmeter demo")}</dd></div>
        </dl>
      </section>
      ${Strip(state)}
    </div>`;
}

const FAILURES = {
  gone: {
    title: msg("Clawmeter does not answer"),
    why: () => t("The server is stopped or out of reach."),
    help: () => t("What OpenClaw does meanwhile is not lost, it is read when the server runs again. This page keeps trying."),
  },
  asked: {
    title: msg("This view could not be read"),
    why: ({ message }) => message,
    help: () => t("Another range, zone or filter may work."),
  },
  failed: {
    title: msg("The numbers could not be read"),
    why: ({ status, message }) => t("The server said {status}: {message}.", { status, message }),
    help: () => t("The ledger keeps what it has, and {report} may still answer. {doctor} says what is wrong.", {
      report: html`<code>clawmeter report</code>`, doctor: html`<code>clawmeter doctor</code>`,
    }),
  },
};

/** Status 0 is no answer at all; the gateway errors are a proxy in front of nobody. */
export const isGone = ({ status }) => [0, 502, 503, 504].includes(status);

function Failure({ error, hasNumbers }) {
  const { title, why, help } = FAILURES[isGone(error) ? "gone" : [400, 404].includes(error.status) ? "asked" : "failed"];
  const retry = html`<button type="button" class="button" data-action="retry">${t("Try again")}</button>`;
  if (hasNumbers) {
    return html`
      <div class="notice is-bad" data-key="failure" role="alert">
        <p><b>${t(title)}.</b> ${why(error)} ${t("These are the last numbers.")}</p>
        ${retry}
      </div>`;
  }
  return html`
    <section class="panel empty" data-key="failure" role="alert">
      <h2>${t(title)}</h2>
      <p>${why(error)}</p>
      <p>${help()}</p>
      <p>${retry}</p>
    </section>`;
}

function Skeleton(state) {
  if (!state.isSlow) return html``;
  const ghost = (kind) => html`<span class="ghost ${kind}"></span>`;
  const figure = () => html`<div class="figure skeleton">${ghost("")}${ghost("is-number")}${ghost("is-wide")}</div>`;
  const block = (wide) => html`<div class="panel skeleton ${wide}">${ghost("is-number")}</div>`;
  return html`
    <div class="grid" data-key="skeleton" aria-busy="true">
      <p class="unseen" role="status">${t("Loading")}</p>
      <div class="figures">${[1, 2, 3, 4].map(figure)}</div>
      ${block("w8 is-tall")}${block("w4 is-tall")}${block("w12")}
    </div>`;
}

export function Login({ login }) {
  return html`
    <section class="login" data-key="login" aria-labelledby="h-login">
      ${brandMark(32)}
      <h1 id="h-login">Clawmeter</h1>
      <p>${t("This page shows what your agents cost, so it needs the dashboard token.")}</p>
      <form data-action="login" method="post" action="/api/login">
        <label for="token">${t("Token")}</label>
        <input id="token" name="token" type="password" autocomplete="current-password" autocapitalize="off"
          spellcheck="false" required aria-describedby="login-message" aria-invalid="${login.message ? "true" : "false"}">
        <button type="submit" class="button is-first" aria-disabled="${login.isBusy ? "true" : "false"}">
          ${login.isBusy ? t("Signing in") : t("Sign in")}
        </button>
        <p id="login-message" class="login-message" role="alert">${login.message}</p>
      </form>
      <p class="note">
        ${t("The token is in the link that {serve} printed. To make another, run {token} on that machine.", {
          serve: html`<code>clawmeter serve</code>`, token: command("clawmeter token"),
        })}
      </p>
    </section>`;
}

function Overview(state) {
  const { overview } = state;
  if (!overview.all_time.model_calls && !isFiltered(state) && !indexing(state)) return Empty(state);
  return html`
    <div class="grid" data-key="overview">
      ${Figures(state)}
      ${Attention(state)}
      ${ByDay(state)}
      <div class="stack w4" data-key="shares">
        ${Shares({ key: "by-cause", title: t("By cause"), kind: "cause", rows: overview.by_cause, state })}
        ${Shares({ key: "by-agent", title: t("By agent"), kind: "agent", rows: overview.by_agent, state })}
      </div>
      ${Now(state)}
      ${Dearest(state)}
      ${Activity(state)}
      ${Breakdown(state)}
      ${Strip(state)}
    </div>`;
}

function NoSuchPage(state) {
  return html`
    <section class="panel empty" data-key="later">
      <h2>${t("There is no such page yet")}</h2>
      <p><a href="${hrefTo(state, "overview")}">${t("Go to {page}", { page: t("Overview") })}</a></p>
    </section>`;
}

/** What stands in <main>: the page's own view, or why there is none yet. */
export function Page(state, page) {
  if (state.needsLogin) return Login(state);
  if (!BUILT.has(state.route.page)) return NoSuchPage(state);
  if (state.fault) return Failure({ error: state.fault, hasNumbers: false });
  if (!page) return Skeleton(state);
  // The first thing that a page asks for is what it cannot be drawn without.
  const [first] = page.asks(state);
  const answer = first ? state.answers[first.key] : { data: true, error: null };
  // What is not there is the page's own matter: it knows what it was to show.
  if (!answer?.data && answer?.error?.status === 404) return page.view(state);
  if (!answer?.data) return answer?.error ? Failure({ error: answer.error, hasNumbers: false }) : Skeleton(state);
  // A lost connection is said once, in the bar, with the time of the last update.
  const notice = answer.error && state.connection !== "lost" ? Failure({ error: answer.error, hasNumbers: true }) : null;
  return html`${notice}${page.view(state)}`;
}

// A page is such an object. parse() and format() are its own part of the address, asks() what it wants
// from the server now, view() what it looks like; charts() the models under its crosshairs.
// Others may have actions: {name(element, context)}, keys(event, context), painted(context), and styles:
// a sheet of their own.

const forOverview = (state) => ({
  ...state, by: state.route.by, overview: dataOf(state, "overview"), usage: dataOf(state, "usage"),
  usageError: state.answers.usage?.error?.message ?? "",
});

export const overviewPage = {
  parse: (params) => ({ by: BREAKDOWNS.includes(params.get("by")) ? params.get("by") : BREAKDOWNS[0] }),
  format: ({ by }) => [["by", by && by !== BREAKDOWNS[0] ? by : ""]],
  asks: ({ route }) => [
    { key: "overview", path: "/api/overview", params: askParams(route), on: ["usage", "session", "gateway", "health"] },
    { key: "usage", path: "/api/usage", params: { ...askParams(route), by: route.by, limit: 500 }, on: ["usage"] },
  ],
  view: (state) => Overview(forOverview(state)),
  charts: (state) => (dataOf(state, "overview")
    ? { day: { model: dayModel(forOverview(state)), height: CHART_HEIGHT, filterKind: "model" } }
    : {}),
  actions: {
    by: (element, { go }) => go({ by: element.value }),
    table: (_, { state, dispatch }) => dispatch({ isTable: !state.isTable }),
    "show-all": (_, { state, dispatch }) => dispatch({ isAllShown: !state.isAllShown }),
  },
};

export function Help(shortcuts) {
  return html`
    <form method="dialog">
      <header class="panel-head">
        <h2 id="help-title">${t("Shortcuts")}</h2>
        <span class="tools"><button class="link" value="close">${t("Close")}</button></span>
      </header>
      <dl class="shortcuts">
        ${shortcuts.map(({ keys, help }) => html`
          <div><dt>${keys.split(" ").map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${help}</dd></div>`)}
      </dl>
    </form>`;
}
"""

# language=JavaScript
APP_JS = r"""// What changes and what acts: state, the address, fetching, the live stream, keys and pointers.
// What it looks like is views.js and the pages' own modules; this file decides when, and hands over
// plain state.

import { patch, html, t, useFormat, useMessages, dayIn } from "./dom.js";
import { barLayout, crosshair, tooltip } from "./chart.js";
import {
  BUILT, Bar, DEFAULT_RANGE, FILTERS, Help, LANGUAGES, Page, Rail, Search, THEMES,
  addDays, addMonths, assignColours, coloursIn, filterAsk, formatRoute, indexing, isGone, overviewPage, parseRoute,
  rangeDays, searchHits, widthOf, zoneOf,
} from "./views.js";

const SLOW_MS = 300;           // a quicker answer needs no shimmer
const LEAST_GAP_MS = 250;      // between two reads of the same numbers under a storm of events
const STALE_AFTER_MS = 60_000; // without an event: midnight passes, sessions go idle
const POLL_MS = 15_000;        // when the server has no stream to spare
const DOUBLE_CLICK_MS = 250;   // a click waits that long for its second one
const KINDS = ["usage", "session", "gateway", "health"]; // what the stream announces

const $ = (id) => document.getElementById(id);
const remembered = {
  read: (name, otherwise) => {
    try {
      return JSON.parse(localStorage.getItem(`clawmeter.${name}`)) ?? otherwise;
    } catch {
      return otherwise; // storage switched off, or not ours: nothing depends on it
    }
  },
  write: (name, value) => {
    try {
      localStorage.setItem(`clawmeter.${name}`, JSON.stringify(value));
    } catch { /* as above */ }
  },
};

function readPalette() {
  const kept = remembered.read("palette", []);
  const isEntry = (one) => Array.isArray(one) && typeof one[0] === "string" && one[1] >= 1 && one[1] <= 7;
  return Array.isArray(kept) ? kept.filter(isEntry) : [];
}

/** A remembered choice, if it still is one. */
function readChoice(name, choices) {
  const value = remembered.read(name, choices[0]);
  return choices.includes(value) ? value : choices[0];
}

function readRate() {
  const rate = Number(remembered.read("rate", 1));
  return rate > 0 && Number.isFinite(rate) ? rate : 1;
}

const browserZone = Intl.DateTimeFormat().resolvedOptions().timeZone;
let state = {
  route: parseRoute(""),
  version: document.body.dataset.version ?? "",
  theme: readChoice("theme", THEMES.map(([key]) => key)),
  language: readChoice("language", LANGUAGES.map(([key]) => key)),
  currency: /^[A-Z]{3}$/.test(remembered.read("currency", "USD")) ? remembered.read("currency", "USD") : "USD",
  rate: readRate(),
  isHidden: remembered.read("hidden", false) === true,
  palette: readPalette(),
  browserZone,
  serverZone: "",
  zones: Intl.supportedValuesOf?.("timeZone") ?? [],
  now: Date.now(),
  connection: "connecting",
  updatedMs: 0,
  coverage: null, source: null,
  answers: {}, fault: null,
  isSlow: false,
  needsLogin: false, login: { isBusy: false, message: "" },
  widths: {}, windows: {},
  menu: "", calendar: { at: "", start: "" }, filterKind: FILTERS[0][0], filterText: "", search: null, sheet: null,
  lit: null, isTable: false, isAllShown: false, isMoreOpen: false,
};

let isDue = false;
function dispatch(change) {
  state = { ...state, ...change };
  if (isDue) return;
  isDue = true;
  // A hidden page has no animation frames; it is drawn when it is looked at again.
  requestAnimationFrame(render);
}

/** At once, with the focus where it belongs: a person types on while we draw. */
function dispatchNow(change, focus = []) {
  state = { ...state, ...change };
  focusNext = focus;
  render();
}

let focusNext = []; // selectors; the first that finds something gets the focus once it is drawn
function render() {
  isDue = false;
  document.body.classList.toggle("is-login", state.needsLogin);
  document.body.classList.toggle("is-stale", state.connection === "lost" && state.updatedMs > 0);
  if (state.theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = state.theme;
  syncAsks();
  patch($("rail"), Rail(state));
  patch($("bar"), Bar(state));
  patch($("search"), Search(state));
  patch($("sheet"), state.sheet && page()?.sheet ? page().sheet(state) : html``);
  showDialog($("search"), state.search !== null);
  showDialog($("sheet"), state.sheet !== null);
  if (patch($("main"), Page(state, page()))) {
    watchWidths();
    noteWindows();
  }
  const heading = document.querySelector("#bar h1")?.textContent ?? "";
  document.title = heading && heading !== "Clawmeter" ? `${heading} · Clawmeter` : "Clawmeter";
  paintCursor();
  if (focusNext.length) {
    focusNext.map((selector) => document.querySelector(selector)).find(Boolean)?.focus();
    focusNext = [];
  }
  page()?.painted?.(context());
}

function showDialog(dialog, isWanted) {
  if (isWanted && !dialog.open) dialog.showModal();
  else if (!isWanted && dialog.open) dialog.close();
}

// Pages. Overview comes with the frame; the others are fetched when somebody goes there, or points
// at their link, or when there is nothing else to do.

const pages = { overview: overviewPage };
const page = () => (Object.hasOwn(pages, state.route.page) ? pages[state.route.page] : null);
const loading = new Map();

async function loadPage(name) {
  if (Object.hasOwn(pages, name) || !BUILT.has(name)) return;
  if (!loading.has(name)) loading.set(name, import(`./${name}.js`));
  try {
    const { page: loaded } = await loading.get(name);
    if (loaded.styles) await loadStyles(loaded.styles);
    pages[name] = loaded;
  } catch {
    loading.delete(name);
    // Under another digest after an update: the address is the same, the page has to be fetched anew.
    if (state.route.page === name) dispatch({ fault: { status: 0, message: "" } });
    return;
  }
  if (state.route.page === name) dispatch({ route: parseRoute(location.hash, pages), fault: null });
}

/** A page's own style sheet, there before the page is drawn; without it the page is plain, but it is there. */
function loadStyles(name) {
  const href = new URL(`./${name}`, import.meta.url).href;
  const has = [...document.querySelectorAll("link[rel=stylesheet]")].some((link) => link.href === href);
  if (has) return null;
  return new Promise((done) => {
    const link = document.createElement("link");
    Object.assign(link, { rel: "stylesheet", href, onload: done, onerror: done });
    document.head.append(link);
  });
}

/** What a page's actions, keys and painted() get. */
const context = (event = null) => ({
  get state() { return state; },
  dispatch, go, say, event, send, refresh: refreshAll,
  read: (path, params = {}) => fetchJson(path, params).then(({ body }) => body),
});

// Language and numbers: the person's choice, else the browser's.

const TABLES = { zh: () => import("./zh.js") };

function languageNow() {
  if (state.language) return state.language;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

async function applyLanguage() {
  const language = languageNow();
  let table = null;
  if (TABLES[language]) table = (await TABLES[language]().catch(() => null))?.messages ?? null;
  if (language !== languageNow()) return; // changed meanwhile
  const own = navigator.languages.find((one) => one.toLowerCase().startsWith(language));
  const locale = state.language ? own ?? language : navigator.language;
  useMessages(table);
  useFormat({ locale: Intl.NumberFormat.supportedLocalesOf([locale])[0] ?? "en-US" });
  document.documentElement.lang = table || language === "en" ? language : "en";
  dispatch({ messages: language });
}

const applyMoney = () => useFormat({ currency: state.currency, rate: state.currency === "USD" ? 1 : state.rate, isHidden: state.isHidden });

// Width: charts are drawn for the pixels they have, so that text in them is never stretched.

const widths = new ResizeObserver((entries) => {
  const changed = {};
  for (const { target, contentRect } of entries) {
    const width = Math.round(contentRect.width);
    if (width > 0 && width !== state.widths[target.dataset.measure]) changed[target.dataset.measure] = width;
  }
  if (!Object.keys(changed).length) return;
  state = { ...state, widths: { ...state.widths, ...changed } };
  render(); // at once: observers run before the paint, so the old width is never seen
});
let measured = [];
function watchWidths() {
  const found = [...document.querySelectorAll("[data-measure]")];
  if (found.length === measured.length && found.every((one, i) => one === measured[i])) return;
  widths.disconnect();
  measured = found;
  for (const element of found) widths.observe(element);
}

// Long lists: which of their rows are in sight.

function noteWindow(element) {
  const { window: name, rowHeight } = element.dataset;
  const top = Math.floor(element.scrollTop / rowHeight);
  // In steps, so that a scroll of a few pixels draws nothing.
  const first = Math.floor(top / 10) * 10;
  const last = Math.ceil((top + Math.ceil(element.clientHeight / rowHeight)) / 10) * 10;
  const seen = state.windows[name];
  if (seen?.first === first && seen?.last === last) return;
  dispatch({ windows: { ...state.windows, [name]: { first, last } } });
}
const noteWindows = () => document.querySelectorAll("[data-window]").forEach(noteWindow);
document.addEventListener("scroll", (event) => {
  if (event.target.dataset?.window) noteWindow(event.target);
}, { capture: true, passive: true });

// Server time: ages and "today" follow the machine that counts, whatever this one's clock says.

let serverAhead = 0;
const serverNow = () => Date.now() + serverAhead;

// Fetching. Each kind of answer has one request in flight; an older one is dropped on arrival.

class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options) {
  let response;
  let body;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options, headers: { Accept: "application/json", ...options.headers } });
    body = await response.json();
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    // A proxy's HTML error page keeps its status; an answer cut short is no answer.
    throw new ApiError(response && !response.ok ? response.status : 0, response?.statusText ?? "");
  }
  if (response.ok) return { body, total: Number(response.headers.get("X-Total-Count") ?? NaN) };
  throw new ApiError(response.status, body?.error?.message ?? response.statusText);
}

const isGiven = ([, value]) => value !== null && value !== undefined && value !== "";

function fetchJson(path, params = {}, signal = undefined) {
  return ask(`${path}?${new URLSearchParams(Object.entries(params).filter(isGiven))}`, { signal });
}

/** Change something on the server: send("POST", "/api/prices", {…}); the answer, or an ApiError. */
function send(method, path, body = {}) {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method, headers, body: JSON.stringify(body) }).then((answer) => answer.body);
}

class Reader {
  constructor(read, gapMs = LEAST_GAP_MS) {
    this.read = read;
    this.gapMs = gapMs;
    this.turn = 0;
    this.startedMs = 0;
    this.isReading = false;
    this.isWanted = false;
    this.timer = 0;
  }
  /** Read now, dropping what is under way: the question changed. */
  ask() {
    this.controller?.abort();
    this.run();
  }
  /** Nobody wants the answer any more. */
  stop() {
    clearTimeout(this.timer);
    this.turn += 1;
    this.isReading = false;
    this.controller?.abort();
  }
  /** Read soon, once: the answer may have changed. */
  refresh() {
    this.isWanted = true;
    if (this.isReading || this.timer) return;
    this.timer = setTimeout(() => this.run(), Math.max(0, this.startedMs + this.gapMs - performance.now()));
  }
  async run() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.isWanted = false;
    this.isReading = true;
    this.startedMs = performance.now();
    this.controller = new AbortController();
    const turn = ++this.turn;
    const isCurrent = () => turn === this.turn;
    try {
      await this.read(this.controller.signal, isCurrent);
    } catch (fault) {
      if (isCurrent() && fault.status === 401) askForToken("");
      else if (fault.name !== "AbortError" && !(fault instanceof ApiError)) throw fault;
    } finally {
      if (isCurrent()) {
        this.isReading = false;
        if (this.isWanted && !state.needsLogin) this.refresh();
      }
    }
  }
}

let slowTimer = 0;
function showSlowness() {
  clearTimeout(slowTimer);
  slowTimer = setTimeout(() => dispatch({ isSlow: true }), SLOW_MS);
}

// What the page on show wants, one reader for each key; what is no longer wanted is let go.

const readers = new Map(); // key -> {reader, ask}
const isNew = new Set();   // keys of questions that have had no answer yet
let resting = {};          // page -> its answers, for the way back

function asksNow() {
  const own = page()?.asks(state) ?? [];
  const text = state.search?.text.trim();
  const search = text ? [{ key: "search", path: "/api/search", params: { q: text.slice(0, 200) }, on: [] }] : [];
  return [...own, ...filterAsk(state), ...search];
}

const questionOf = ({ path, params }) => `${path}?${JSON.stringify(params ?? {})}`;

function syncAsks() {
  if (state.needsLogin || !hasStarted) return;
  const wanted = new Map(asksNow().map((one) => [one.key, one]));
  for (const [key, { reader }] of readers) {
    if (!wanted.has(key)) {
      reader.stop();
      readers.delete(key);
      isNew.delete(key);
    }
  }
  for (const [key, one] of wanted) {
    const known = readers.get(key);
    if (known && questionOf(known.ask) === questionOf(one)) {
      known.ask = one; // only what it listens to may differ
      continue;
    }
    const reader = known?.reader ?? new Reader((signal, isCurrent) => readAnswer(key, signal, isCurrent), one.gapMs);
    readers.set(key, { reader, ask: one });
    isNew.add(key);
    showSlowness();
    reader.ask();
  }
}

/** What the last answer with a source strip said, with how far a later answer says that reading is. */
function sourceAfter({ indexed_bytes: done, total_bytes: all }) {
  return state.source && { ...state.source, indexed_percent: all ? (100 * done) / all : state.source.indexed_percent };
}

function noteServer(answer) {
  const coverage = answer?.coverage ?? null;
  const asOf = answer?.as_of_ms ?? coverage?.as_of_ms;
  if (asOf) serverAhead = asOf - Date.now();
  const { kept } = assignColours(state.palette, coloursIn(answer));
  if (kept.length !== state.palette.length) remembered.write("palette", kept);
  const change = { palette: kept, now: serverNow(), updatedMs: serverNow() };
  if (coverage) Object.assign(change, { coverage, source: answer.source ?? sourceAfter(coverage) });
  if (answer?.tz && !state.route.zone) change.serverZone = answer.tz;
  return change;
}

let againTimer = 0;
async function readAnswer(key, signal, isCurrent) {
  const { path, params } = readers.get(key).ask;
  const keep = (answer, change) => dispatch({ ...change, answers: { ...state.answers, [key]: { ...state.answers[key], ...answer } } });
  const settle = () => {
    isNew.delete(key);
    if (isNew.size) return {};
    clearTimeout(slowTimer);
    return { isSlow: false };
  };
  try {
    const { body, total } = await fetchJson(path, params, signal);
    if (!isCurrent()) return;
    const change = { ...noteServer(body), ...settle(), connection: connectionNow() };
    keep({ data: body, total, error: null, askedFor: params }, change);
    clearTimeout(againTimer);
    if (indexing(state)) againTimer = setTimeout(refreshIfSeen, 1000);
  } catch (fault) {
    if (isCurrent() && fault instanceof ApiError && fault.status !== 401) {
      const connection = isGone(fault) ? "lost" : connectionNow();
      keep({ error: { status: fault.status, message: fault.message } }, { ...settle(), connection });
    }
    throw fault;
  }
}

let hasStarted = false;
function askAll() {
  hasStarted = true;
  for (const { reader } of readers.values()) reader.ask();
  dispatch({});
}

function refreshAll() {
  for (const { reader } of readers.values()) reader.refresh();
}

function refreshOn(kind) {
  for (const { reader, ask: { on } } of readers.values()) if (on.includes(kind)) reader.refresh();
}

function refreshIfSeen() {
  if (document.visibilityState === "visible" && !state.needsLogin) refreshAll();
}

// The stream: one, and only while the page is looked at (a browser allows six connections to a
// host over all its tabs). We reconnect ourselves because EventSource gives up after a 503.

let stream = null;
let isStreamOpen = false;
let retries = 0;
let retryTimer = 0;

/** Answers arrive, so nothing is lost: what is left is whether news arrives by itself. */
function connectionNow() {
  if (isStreamOpen) return "live";
  return retries > 2 ? "polling" : "connecting";
}

function openStream() {
  closeStream();
  if (document.visibilityState !== "visible" || state.needsLogin) return;
  stream = new EventSource("/api/stream");
  stream.onopen = () => {
    isStreamOpen = true;
    if (retries > 0) say(t("Live again"));
    retries = 0;
    // What happened between the last answer and this moment was announced to nobody.
    refreshAll();
    if (state.connection !== "lost") dispatch({ connection: "live" });
  };
  for (const kind of KINDS) stream.addEventListener(kind, () => refreshOn(kind));
  stream.onerror = () => {
    closeStream();
    retries += 1;
    // Whether the server is gone or only has no stream to spare shows in its next answer.
    refreshAll();
    const wait = retries > 2 && state.connection === "polling" ? POLL_MS : Math.min(8000, 250 * 2 ** Math.min(retries, 5));
    // Spread out, so that twenty open pages do not return in one instant after a restart.
    retryTimer = setTimeout(openStream, wait * (0.75 + Math.random() / 2));
  };
}

function closeStream() {
  clearTimeout(retryTimer);
  stream?.close();
  stream = null;
  isStreamOpen = false;
}

function say(words) {
  $("said").textContent = words;
}

// Access

let linkMessage = "";

function askForToken(message) {
  closeStream();
  clearTimeout(slowTimer);
  const wasNeeded = state.needsLogin;
  // Two requests are refused at once; the second has nothing to say over the first.
  const words = message || linkMessage || (wasNeeded ? state.login.message : "");
  linkMessage = "";
  for (const { reader } of readers.values()) reader.stop();
  readers.clear();
  resting = {};
  dispatch({ needsLogin: true, isSlow: false, answers: {}, search: null, sheet: null, menu: "", login: { isBusy: false, message: words } });
  if (!wasNeeded) requestAnimationFrame(() => $("token")?.focus());
}

async function login(token) {
  let response;
  try {
    response = await fetch("/api/login", {
      method: "POST", headers: { "Content-Type": "application/json" }, credentials: "same-origin",
      body: JSON.stringify({ token }),
    });
  } catch {
    return t("Clawmeter does not answer. Is it running?");
  }
  if (response.ok) return "";
  if (response.status === 429) {
    const seconds = Number(response.headers.get("Retry-After"));
    return seconds > 0 ? t("Too many attempts. Wait {n} seconds, then try again.", { n: seconds })
      : t("Too many attempts. Wait a minute, then try again.");
  }
  if (response.status === 401 || response.status === 403) return t("That token is not valid here.");
  const body = await response.json().catch(() => null);
  return body?.error?.message ?? t("The server said {status}.", { status: response.status });
}

async function signIn(token) {
  dispatch({ login: { isBusy: true, message: "" } });
  const message = await login(token);
  if (message) {
    askForToken(message);
    return;
  }
  dispatch({ needsLogin: false, login: { isBusy: false, message: "" } });
  start();
}

/** An old link may be opened by somebody whose cookie is still good: ask for nothing then. */
async function signInByLink(token) {
  if (await login(token)) linkMessage = t("That link is no longer valid. Open the newest one, or paste a token.");
  dispatch({ needsLogin: false });
  start();
}

/** Take a token out of the address before anything else can see or keep it. */
function takeToken() {
  const found = /^#token=([^&]+)/.exec(location.hash);
  if (!found) return null;
  history.replaceState(null, "", location.pathname + location.search + formatRoute(parseRoute("")));
  try {
    return decodeURIComponent(found[1]);
  } catch {
    return found[1];
  }
}

// The address

/** Go where `change` leads: fields of the route, those of the page included. */
function go(change, isReplacing = false) {
  const route = formatRoute({ ...state.route, ...change }, pages);
  if (route === location.hash) return;
  if (!isReplacing) {
    location.hash = route;
    return;
  }
  history.replaceState(null, "", route);
  followAddress();
}

function followAddress() {
  const token = takeToken();
  if (token) {
    signInByLink(token);
    return;
  }
  const before = state.route;
  const route = parseRoute(location.hash, pages);
  const change = { route, isMoreOpen: false, search: null, sheet: null };
  cursor = null;
  if (route.page !== before.page) {
    resting[before.page] = state.answers;
    Object.assign(change, {
      answers: resting[route.page] ?? {}, menu: "", windows: {}, fault: null, isSlow: false, lit: null, isTable: false, isAllShown: false,
    });
    loadPage(route.page);
    scrollTo(0, 0);
  }
  dispatch(change);
  syncAsks(); // at once: an answer for the page before must not land on this one
}

// The crosshair lives outside the views: it follows the pointer at 60 fps and redraws only itself.

let cursor = null; // {chart, index, anchor, isByKey}
let chartsOf = null;
let charts = {};

/** The models of the charts on show; the same objects until the state changes. */
function chartsNow() {
  if (chartsOf !== state) {
    chartsOf = state;
    charts = state.needsLogin ? {} : page()?.charts?.(state) ?? {};
  }
  return charts;
}

function layoutOf(name) {
  const { model, height } = chartsNow()[name];
  return barLayout(model.spans.length, widthOf(state, name), height);
}

function paintCursor() {
  for (const chart of document.querySelectorAll("[data-chart]")) {
    const name = chart.dataset.chart;
    const shown = chartsNow()[name];
    const cross = chart.querySelector("[data-cross]");
    if (!shown || !cross) continue;
    const { model, height } = shown;
    if (cursor?.chart === name && cursor.index >= model.spans.length) cursor = null;
    const { index, anchor } = cursor?.chart === name ? cursor : { index: null, anchor: null };
    const width = widthOf(state, name);
    const tip = chart.querySelector("[data-tip]");
    patchCross(cross, crosshair(model, width, height, index, anchor));
    patch(tip, tooltip(model, index, anchor));
    if (index === null) continue;
    const at = layoutOf(name);
    const x = at.center(index);
    const wide = tip.offsetWidth;
    const left = x + at.slot / 2 + 12 + wide <= width ? x + at.slot / 2 + 12 : Math.max(0, x - at.slot / 2 - 12 - wide);
    tip.style.setProperty("transform", `translate(${Math.round(left)}px, 8px)`);
  }
}

/** SVG children need an <svg> around them to be parsed as SVG, so the band is patched as one. */
function patchCross(group, view) {
  patch(group, html`<svg overflow="visible">${view}</svg>`);
}

const chartOf = (target) => {
  const chart = target.closest?.("[data-chart]");
  return chart && chartsNow()[chart.dataset.chart] ? chart : null;
};

function pointAt(event, chart) {
  return layoutOf(chart.dataset.chart).indexAt(event.clientX - chart.querySelector(".plot").getBoundingClientRect().left);
}

function moveCursor(next) {
  if (cursor?.chart === next?.chart && cursor?.index === next?.index && cursor?.anchor === next?.anchor) return;
  cursor = next;
  paintCursor();
}

const isDragging = () => cursor?.anchor !== null && cursor?.anchor !== undefined && !cursor.isByKey;

function selectSpan(name, first, final) {
  const { spans } = chartsNow()[name].model;
  const { from } = spans[Math.min(first, final)];
  const { to } = spans[Math.max(first, final)];
  if (from && to) go({ range: `${from}..${to}` });
}

/** The series drawn under the pointer: it lies below the rectangle that feels it. */
function seriesAt(event, chart) {
  const mark = document.elementsFromPoint(event.clientX, event.clientY)
    .find((one) => one.dataset?.series !== undefined && chart.contains(one));
  return mark?.dataset.series ?? null;
}

let clickTimer = 0;
document.addEventListener("pointermove", (event) => {
  if (isDragging()) {
    const dragged = document.querySelector(`[data-chart="${CSS.escape(cursor.chart)}"]`);
    if (dragged) moveCursor({ ...cursor, index: pointAt(event, dragged) });
    return;
  }
  const chart = chartOf(event.target);
  if (chart) moveCursor({ chart: chart.dataset.chart, index: pointAt(event, chart), anchor: null });
  else if (cursor && !cursor.isByKey) moveCursor(null);
});
document.addEventListener("pointerdown", (event) => {
  if (state.menu && !event.target.closest?.("[data-menu]")) dispatch({ menu: "" });
  const chart = chartOf(event.target);
  // A finger scrolls the page; only a mouse or a pen drags a span.
  if (!chart || event.button !== 0 || event.pointerType === "touch") return;
  const index = pointAt(event, chart);
  moveCursor({ chart: chart.dataset.chart, index, anchor: index });
});
document.addEventListener("pointerup", (event) => {
  if (!isDragging()) return;
  const { chart: name, index, anchor } = cursor;
  moveCursor({ chart: name, index, anchor: null });
  if (index !== anchor) {
    selectSpan(name, anchor, index);
    return;
  }
  const chart = chartOf(event.target);
  const series = chart && seriesAt(event, chart);
  const kind = chartsNow()[name]?.filterKind ?? null;
  clearTimeout(clickTimer);
  if (series && kind && event.detail < 2) clickTimer = setTimeout(() => filterBy(kind, series), DOUBLE_CLICK_MS);
});
document.addEventListener("dblclick", (event) => {
  if (!chartOf(event.target)) return;
  clearTimeout(clickTimer);
  go({ range: DEFAULT_RANGE });
});
document.addEventListener("focusout", (event) => {
  if (event.target.closest?.("[data-chart]") && cursor?.isByKey) moveCursor(null);
});
for (const kind of ["pointerover", "focusin"]) {
  document.addEventListener(kind, (event) => {
    const lit = event.target.closest?.("[data-light]")?.dataset.light ?? null;
    if (lit !== state.lit && (lit !== null || kind === "pointerover")) dispatch({ lit });
    const link = event.target.closest?.("[data-page]");
    if (link) loadPage(link.dataset.page);
  });
}

function chartKey(event, chart) {
  const name = chart.dataset.chart;
  const last = chartsNow()[name].model.spans.length - 1;
  const own = cursor?.chart === name ? cursor : null;
  const index = own?.index ?? last + 1;
  const anchor = event.shiftKey ? own?.anchor ?? own?.index ?? last : null;
  const to = { ArrowLeft: Math.max(0, index - 1), ArrowRight: Math.min(last, index + 1), Home: 0, End: last }[event.key];
  if (to !== undefined) moveCursor({ chart: name, index: to, anchor, isByKey: true });
  else if (event.key === "Enter" && own) selectSpan(name, own.anchor ?? own.index, own.index);
  else if (event.key === "Escape" && own) moveCursor(null);
  else return false;
  event.preventDefault();
  return true;
}

// Filters, range and search

function filterBy(kind, value) {
  const { [kind]: before, ...others } = state.route.filters;
  go({ filters: before === value ? others : { ...state.route.filters, [kind]: value } });
}

const today = () => dayIn(state.now, zoneOf(state));

function openMenu(name) {
  const change = { menu: state.menu === name ? "" : name };
  if (name === "range") {
    const days = rangeDays(state.route.range, today());
    change.calendar = { at: days?.[1] ?? today(), start: "" };
  }
  if (name === "filter") change.filterText = "";
  dispatchNow(change, change.menu ? {
    range: ['.presets [aria-pressed="true"]', ".presets button"], filter: ['[data-action="filter-text"]'],
  }[name] ?? [`[data-menu="${name}"] .menu-box button`] : []);
}

function closeMenu() {
  if (state.menu) $("bar").querySelector(`[data-menu="${state.menu}"] > button`)?.focus();
  dispatch({ menu: "" });
}

function chooseDay(day) {
  const { start: first } = state.calendar;
  if (day > today()) return;
  if (!first) {
    dispatch({ calendar: { at: day, start: day } });
    return;
  }
  go({ range: first < day ? `${first}..${day}` : `${day}..${first}` });
  closeMenu();
}

const CALENDAR_KEYS = {
  ArrowLeft: (at) => addDays(at, -1), ArrowRight: (at) => addDays(at, 1),
  ArrowUp: (at) => addDays(at, -7), ArrowDown: (at) => addDays(at, 7),
  PageUp: (at) => addMonths(at, -1), PageDown: (at) => addMonths(at, 1),
  Home: (at) => `${at.slice(0, 8)}01`, End: (at) => addDays(addMonths(`${at.slice(0, 8)}01`, 1), -1),
};

function calendarKey(event) {
  const move = CALENDAR_KEYS[event.key];
  if (!move) return false;
  event.preventDefault();
  const to = move(state.calendar.at);
  dispatchNow({ calendar: { ...state.calendar, at: to < today() ? to : today() } }, ['.day[tabindex="0"]']);
  return true;
}

function searchKey(event) {
  const hits = searchHits(state);
  const { at } = state.search;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const to = (at + (event.key === "ArrowDown" ? 1 : -1) + hits.length) % Math.max(1, hits.length);
    dispatch({ search: { ...state.search, at: to } });
    requestAnimationFrame(() => $(`hit-${to}`)?.scrollIntoView({ block: "nearest" }));
  } else if (event.key === "Enter" && hits[at]) goTo(hits[at].href);
  else return false;
  event.preventDefault();
  return true;
}

function goTo(href) {
  dispatch({ search: null });
  location.hash = href;
}

// Actions, by data-action, wherever they stand; what is not here is the page's

function choose(name, value, apply = () => {}) {
  remembered.write(name, value);
  dispatch({ [name === "hidden" ? "isHidden" : name]: value });
  apply();
}

const actions = {
  skip: () => $("main").focus(),
  menu: (element) => openMenu(element.dataset.value),
  theme: (element) => choose("theme", element.dataset.value),
  language: (element) => choose("language", element.dataset.value, applyLanguage),
  hide: (element) => choose("hidden", element.checked, applyMoney),
  currency: (element) => {
    if (element.value !== state.currency) choose("rate", 1);
    choose("currency", element.value, applyMoney);
  },
  rate: (element) => {
    const rate = Number(element.value.trim().replace(",", "."));
    if (rate > 0 && Number.isFinite(rate)) choose("rate", rate, applyMoney);
    element.toggleAttribute("aria-invalid", !(rate > 0));
  },
  range: (element) => {
    go({ range: element.dataset.value });
    closeMenu();
  },
  relative: (element) => {
    const days = Number(element.elements.days.value);
    if (days >= 1 && days <= 9999) go({ range: `${Math.round(days)}d` });
    closeMenu();
  },
  compare: (element) => go({ isCompared: element.checked }),
  turn: (element) => dispatch({ calendar: { ...state.calendar, at: element.dataset.value < today() ? element.dataset.value : today() } }),
  day: (element) => chooseDay(element.dataset.value),
  zone: (element) => go({ zone: element.value }),
  filter: (element) => {
    filterBy(element.dataset.kind, element.dataset.value);
    if (state.menu) closeMenu();
  },
  unfilter: (element) => {
    go({ filters: { ...state.route.filters, [element.dataset.kind]: undefined } });
    focusNext = ['[data-menu="filter"] > button'];
  },
  "filter-kind": (element) => dispatch({ filterKind: element.dataset.value, filterText: "" }),
  "filter-text": (element) => dispatch({ filterText: element.value }),
  search: () => {
    dispatchNow({ search: { text: "", at: 0 } }, ['[data-action="search-text"]']);
  },
  "search-text": (element) => dispatch({ search: { text: element.value, at: 0 } }),
  "search-close": () => dispatch({ search: null }),
  hit: (element) => goTo(element.dataset.value),
  "sheet-close": () => dispatch({ sheet: null }),
  "range-reset": () => go({ range: DEFAULT_RANGE }),
  light: (element) => dispatch({ lit: state.lit === element.dataset.value ? null : element.dataset.value }),
  more: () => dispatch({ isMoreOpen: !state.isMoreOpen }),
  retry: () => {
    if (state.fault) loadPage(state.route.page);
    askAll();
    openStream();
  },
  copy: async (element) => {
    try {
      await navigator.clipboard.writeText(element.dataset.value);
      say(t("Copied"));
    } catch {
      // Plain HTTP on a LAN has no clipboard: selecting the text is the next best thing.
      getSelection().selectAllChildren(element.parentElement.querySelector("code"));
    }
  },
  help: () => {
    const listed = [...document.querySelectorAll("[data-shortcut]")];
    patch($("help"), Help([
      ...listed.map((one) => ({ keys: one.dataset.shortcut, help: one.dataset.help })),
      { keys: "j k", help: t("Next and previous row of a list") },
      { keys: "← →", help: t("Move in a focused chart; with Shift, select") },
      { keys: "Enter", help: t("Open, or show the selected days") },
      { keys: "Esc", help: t("Close, or leave the chart") },
    ]));
    if (!$("help").open) $("help").showModal();
  },
};

function act(element, event) {
  const name = element.dataset.action;
  if (Object.hasOwn(actions, name)) actions[name](element, event);
  else page()?.actions?.[name]?.(element, context(event));
}

document.addEventListener("click", (event) => {
  if (event.target === $("search")) dispatch({ search: null }); // beside the box: its backdrop
  if (event.target === $("sheet")) dispatch({ sheet: null });
  const element = event.target.closest("[data-action]");
  if (!element || ["SELECT", "FORM", "INPUT", "TEXTAREA"].includes(element.nodeName)) return;
  if (element.nodeName === "A" && (event.ctrlKey || event.metaKey || event.shiftKey)) return; // a tab of its own
  event.preventDefault();
  act(element, event);
});
document.addEventListener("change", (event) => {
  const element = event.target.closest('select[data-action], input[data-action]:not([type="search"]), textarea[data-action]');
  if (element) act(element, event);
});
document.addEventListener("input", (event) => {
  const element = event.target.closest('input[type="search"][data-action]');
  if (element) act(element, event);
});
document.addEventListener("submit", (event) => {
  if (!event.target.dataset.action) return;
  event.preventDefault();
  if (event.target.dataset.action !== "login") {
    act(event.target, event);
    return;
  }
  const token = event.target.elements.token.value.trim();
  if (token && !state.login.isBusy) signIn(token);
});
document.addEventListener("close", (event) => {
  // Esc closes a dialog by itself; the state follows.
  if (event.target === $("search") && state.search) dispatch({ search: null });
  if (event.target === $("sheet") && state.sheet) dispatch({ sheet: null });
}, true);

/** To the next or previous row of the list that has the focus, else to the first of the page. */
function moveRow(step) {
  const rows = [...document.querySelectorAll("[data-row]")].filter((row) => row.offsetParent !== null);
  const at = rows.indexOf(document.activeElement);
  const to = at < 0 ? rows[0] : rows[at + step];
  to?.focus();
  to?.scrollIntoView({ block: "nearest" });
}

let firstKey = "";
let firstKeyMs = 0;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (state.search) {
    searchKey(event);
    return;
  }
  const chart = chartOf(event.target);
  if (chart && chartKey(event, chart)) return;
  if (event.target.closest?.("[data-calendar]") && calendarKey(event)) return;
  if (event.key === "Escape") {
    if (state.menu) closeMenu();
    else if (state.isMoreOpen) dispatch({ isMoreOpen: false });
    else page()?.keys?.(event, context(event));
    return;
  }
  if ((event.key === "Delete" || event.key === "Backspace") && event.target.dataset?.action === "unfilter") {
    event.target.click();
    return;
  }
  if (event.target.closest?.("input, textarea, select, [contenteditable]") || $("help").open || state.sheet) return;
  if (page()?.keys?.(event, context(event))) {
    event.preventDefault();
    return;
  }
  if (event.key === "j" || event.key === "k") {
    moveRow(event.key === "j" ? 1 : -1);
    event.preventDefault();
    return;
  }
  const pair = performance.now() - firstKeyMs < 1000 ? `${firstKey} ${event.key}` : "";
  const all = [...document.querySelectorAll("[data-shortcut]")];
  const found = all.find(({ dataset }) => dataset.shortcut === pair) ?? all.find(({ dataset }) => dataset.shortcut === event.key);
  firstKey = event.key;
  firstKeyMs = performance.now();
  if (!found) return;
  event.preventDefault();
  firstKey = "";
  if (found.nodeName !== "SELECT") {
    found.click();
    return;
  }
  found.focus();
  try {
    found.showPicker();
  } catch { /* older browsers: focus is enough, the arrow keys choose */ }
});

// Life

function start() {
  askAll();
  openStream();
}

document.addEventListener("visibilitychange", () => {
  if (state.needsLogin) return;
  if (document.visibilityState !== "visible") {
    closeStream();
    return;
  }
  refreshAll();
  openStream();
});
addEventListener("pagehide", closeStream);
addEventListener("pageshow", (event) => {
  if (event.persisted && !state.needsLogin) start();
});
addEventListener("hashchange", followAddress);

setInterval(() => {
  if (document.visibilityState !== "visible" || !state.updatedMs) return;
  const now = serverNow();
  if (now - state.updatedMs > STALE_AFTER_MS && state.connection !== "lost") refreshAll();
  // Seconds are on show only while something runs; else a slower clock will do.
  const isBusy = state.answers.overview?.data?.live.some((row) => row.state === "running");
  if (now - state.now >= (isBusy ? 1000 : 10_000)) dispatch({ now });
}, 1000);

const startToken = takeToken();
state = { ...state, route: parseRoute(location.hash, pages) };
applyMoney();
applyLanguage();
loadPage(state.route.page);
render();
if (startToken) signInByLink(startToken);
else start();
// When nothing else is to do: a page that is already here changes at once.
(window.requestIdleCallback ?? setTimeout)(() => setTimeout(() => BUILT.forEach(loadPage), 2000));
"""

# language=CSS
SESSIONS_CSS = r"""/* Sessions and Session */
.list-tools { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; margin-bottom: 8px; }
.list-menus { display: inline-flex; align-items: center; gap: 12px; margin-left: auto; }
.columns-menu .menu-box, .export-menu .menu-box, .compare-menu .menu-box { left: auto; right: 0; }
.checks { display: grid; grid-template-columns: 1fr 1fr; gap: 6px 24px; width: max-content; margin-bottom: 8px; }
.export-menu .menu-box { width: 240px; display: grid; gap: 8px; }
.export-menu a { display: inline-grid; place-items: center; color: var(--ink); text-decoration: none; }
.find { position: relative; flex: 0 1 260px; min-width: 160px; }
.find .icon { position: absolute; left: 8px; top: 7px; color: var(--ink-3); pointer-events: none; }
.find .field { width: 100%; padding-left: 28px; }
.sort-tools { display: none; align-items: center; gap: 2px; }
.sort-tools .icon-button { font-size: 9px; }
.select.is-on select { border-color: var(--ink-2); font-weight: 600; }
.compare-bar { display: inline-flex; align-items: center; gap: 8px; }
.compare-bar .button { display: inline-grid; place-items: center; text-decoration: none; }
.none { display: flex; align-items: center; gap: 16px; padding: 24px 0; }
.none .button { display: inline-grid; place-items: center; color: inherit; text-decoration: none; }
.session-name .mark { margin-left: 6px; }
.mark.is-bad { color: var(--bad); border-color: currentColor; }

.session-list { margin: 0 -16px -12px; }
/* The height of all rows is there whichever of them are drawn: a browser that corrects the place would move it. */
.session-list.scroll, .turn-list.scroll { overflow-anchor: none; }
.session-list.scroll.is-window { max-height: calc(100vh - 172px); }
/* Fixed widths: the columns of a list of which some dozen rows are in the document would jump while it is scrolled,
   and each step would cost a layout of every cell. Where there is room, the columns share it. */
.session-list .grid-table, .turn-list .grid-table { table-layout: fixed; border-collapse: separate; border-spacing: 0; }
.session-list thead .col-session { width: 204px; } .session-list .col-agent { width: 76px; } .session-list .col-channel { width: 80px; }
.session-list .col-cause { width: 78px; } .session-list .col-model { width: 128px; } .session-list .col-calls { width: 60px; }
.session-list .col-tokens { width: 68px; } .session-list .col-tools { width: 58px; } .session-list .col-errors { width: 56px; }
.session-list .col-duration { width: 86px; } .session-list .col-context { width: 88px; } .session-list .col-cost { width: 104px; }
.session-list .col-tree { width: 80px; } .session-list .col-started { width: 80px; } .session-list .col-active { width: 92px; }
.session-list tbody td { overflow: hidden; text-overflow: ellipsis; }
@media (min-width: 1600px) { .session-list thead .col-session { width: 380px; } }
.session-list tbody tr:not(.gap) { height: 33px; cursor: pointer; }
.session-list tr > :first-child { padding-left: 16px; }
.session-list tr > :last-child { padding-right: 16px; }
.session-list tbody tr:last-child > * { border-bottom: 1px solid var(--line); }
.session-list.scroll thead th { z-index: 2; padding-top: 6px; }
.session-list tfoot > tr > * { position: sticky; z-index: 1; bottom: 0; background: var(--surface); border-top: 1px solid var(--line); }
.session-list .session-name { position: sticky; left: 0; background: var(--surface); }
.session-list.scroll thead .col-session, .session-list.scroll tfoot .session-name { z-index: 3; left: 0; }
.session-list tbody .session-name { z-index: 1; overflow: hidden; text-overflow: ellipsis; }
.session-list tbody .session-name a { color: var(--ink); text-decoration: none; }
.session-list tbody .session-name a:hover { text-decoration: underline; text-underline-offset: 2px; }
.session-list tr[data-row]:hover > * { background: var(--bg); }
.session-list tr[data-row]:focus { outline: none; }
.session-list tr[data-row]:focus-visible > * { background: var(--bg); box-shadow: inset 0 2px var(--accent), inset 0 -2px var(--accent); }
.session-list tr.is-marked > * { background: color-mix(in srgb, var(--accent) 8%, var(--surface)); }
.session-list .gap:hover > *, .session-list .gap > * { padding: 0; border: 0; background: none; }
.gap-space { display: block; }
/* On a tinted ground the faint ink is too faint. */
.session-list tr.is-marked, .turn-list tr.is-open, .entry.is-at { --ink-3: var(--ink-2); }
.session-list th.num .sort { display: inline-flex; flex-direction: row-reverse; align-items: baseline; }
.session-list th.num .sort-mark { width: auto; margin-right: 3px; }
.mark-box { position: absolute; left: 14px; top: 10px; width: 13px; height: 13px; margin: 0; accent-color: var(--accent); opacity: 0; }
tr:hover > th > .mark-box, tr:focus > th > .mark-box, .mark-box:focus-visible, .mark-box:checked { opacity: 1; }
tr:hover > th > .mark-box ~ .state, tr:focus > th > .mark-box ~ .state, .mark-box:checked ~ .state { visibility: hidden; }
.session-list .state { margin-right: 8px; }
.session-list .context { grid-template-columns: 32px 34px; gap: 6px; }
.session-list.is-narrow tbody tr:not(.gap) { height: 50px; }
.session-list.is-narrow tbody .session-name { position: static; }
.session-list.is-narrow thead .col-session { width: 56%; }
.session-list.is-narrow .mark-box { display: none; }
.is-coming .ghost { display: block; }

.session-head .who { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; line-height: 18px; color: var(--ink); }
.session-head h2 { font-size: 16px; line-height: 22px; overflow: hidden; text-overflow: ellipsis; }
.session-head .back { display: grid; place-items: center; width: 24px; height: 24px; margin-left: -6px; border-radius: 6px; color: var(--ink-2); }
.session-head .back:hover { background: var(--line); }
.session-head .state { font-size: 12px; white-space: nowrap; }
.who > span { min-width: 0; max-width: 100%; }
.copyable { display: inline-flex; align-items: baseline; gap: 8px; min-width: 0; max-width: 100%; }
.copyable code { min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; color: var(--ink-2); }
.fates { display: flex; flex-wrap: wrap; gap: 2px 16px; margin-top: 8px; padding-left: 10px; border-left: 2px solid var(--line); font-size: 13px; line-height: 18px; color: var(--ink-2); }
.session-facts { display: grid; grid-template-columns: repeat(8, minmax(0, 1fr)); gap: 12px 16px; margin-top: 12px; }
.fact { min-width: 0; }
.fact dt { font-size: 12px; line-height: 16px; color: var(--ink-2); }
.fact dd { display: grid; }
.fact-number { font-size: 20px; line-height: 28px; font-weight: 600; letter-spacing: -.01em; white-space: nowrap; }
.fact-number .num { text-align: left; }
.fact-number .unpriced { display: block; }
.fact-note { font-size: 12px; line-height: 16px; color: var(--ink-3); overflow: hidden; text-overflow: ellipsis; }
.tabs { display: flex; gap: 20px; margin: 12px 0 -12px; border-top: 1px solid var(--line); }
.tab { padding: 8px 0; font-size: 13px; color: var(--ink-2); text-decoration: none; border-bottom: 2px solid transparent; }
.tab:hover { color: var(--ink); }
.tab[aria-current="page"] { color: var(--ink); font-weight: 600; border-color: var(--accent); }
.compare-menu .menu-box { width: 360px; max-width: calc(100vw - 32px); display: grid; gap: 8px; }
.values a { display: flex; justify-content: space-between; gap: 16px; padding: 4px 6px; border-radius: 6px; color: inherit; text-decoration: none; }
.values a:hover { background: var(--bg); }
.side { display: grid; grid-template-columns: minmax(0, 1fr); gap: 16px; align-content: start; }
.grid-table.side-table .name { width: 100%; }
.side-table a { color: inherit; text-decoration: none; }
.side-table a:hover { text-decoration: underline; text-underline-offset: 2px; }
.side-scroll { max-height: 300px; overflow: auto; }
.side-scroll thead th { position: sticky; top: 0; background: var(--surface); }
.stored { display: grid; gap: 6px; font-size: 12px; line-height: 16px; }
.stored code { display: block; color: var(--ink-2); }

.k-model { fill: var(--s1); } .k-tool { fill: var(--s3); } .k-subagent { fill: var(--s5); } .k-failed { fill: var(--bad); }
.is-stale .turn-bar, .is-stale .span-bar { opacity: .45; }
.k-wait { fill: var(--line); } .k-event { fill: var(--ink-3); }
.kinds { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 4px 0 8px; font-size: 12px; line-height: 18px; color: var(--ink-2); }
.kinds li { display: inline-flex; align-items: center; gap: 6px; }
.strip-plot { cursor: pointer; }
.cost-line { fill: none; stroke: var(--ink-2); stroke-width: 1.5; stroke-linejoin: round; }
.strip-hit { fill: transparent; }
.strip-turn:hover .strip-hit { fill: var(--ink); opacity: .06; }
.strip-turn.is-chosen .strip-hit { fill: var(--accent); opacity: .16; }
.mark-compacted { fill: var(--ink-2); } .mark-model { fill: none; stroke: var(--ink-2); stroke-width: 1.5; }
.turn-list { margin: 0 -16px -12px; }
.turn-list.scroll.is-window { max-height: 430px; min-height: 0; }
.turn-list tbody tr[data-row] { height: 33px; cursor: pointer; }
.turn-list tr > :first-child { padding-left: 16px; }
.turn-list tr > :last-child { padding-right: 16px; }
.turn-list a { color: inherit; text-decoration: none; }
.turn-list tr.is-open > * { background: color-mix(in srgb, var(--accent) 8%, var(--surface)); }
.turn-list tr[data-row]:focus { outline: none; }
.turn-list tr[data-row]:focus-visible > *, .waterfall tr:focus-visible > * { background: var(--bg); box-shadow: inset 0 2px var(--accent), inset 0 -2px var(--accent); }
.turn-list .gap > * { padding: 0; border: 0; }
.turn-n { width: 48px; color: var(--ink-3); }
.turn-when { width: 104px; color: var(--ink-2); }
.turn-cell { width: 26%; }
.turn-list .wide { width: 64px; } .turn-list thead .num:not(.wide):not(.turn-n) { width: 82px; }
.turn-bar, .span-bar { display: block; width: 100%; height: 12px; }
.span-bar { height: 14px; }
.turn-marks { overflow: hidden; text-overflow: ellipsis; }
.waterfall .span-name { max-width: 280px; width: 24%; overflow: hidden; text-overflow: ellipsis; }
.waterfall .span-name a { color: inherit; text-decoration: none; }
.waterfall .span-name a:hover { text-decoration: underline; text-underline-offset: 2px; }
.waterfall .span-cell { width: 50%; min-width: 140px; }
.waterfall.scroll.is-tall { height: auto; max-height: 420px; }
.waterfall td, .waterfall tbody th { padding-top: 4px; padding-bottom: 4px; }
.span-ticks { display: flex; justify-content: space-between; font-size: 11px; }
.span-rule { fill: var(--line); } .span-critical { fill: var(--ink); }
.span.is-event .span-name { color: var(--ink-2); }

.transcript-panel .find { flex-basis: 220px; }
.steps { display: inline-flex; }
.finding { font-size: 12px; min-height: 18px; }
.session-page.is-filling { display: flex; flex-direction: column; height: calc(100vh - 88px); min-height: 620px; }
.is-filling .transcript-panel { flex: 1; min-height: 0; }
.entries { flex: 1; min-height: 0; overflow: auto; margin: 0 -16px; border-top: 1px solid var(--line); overflow-anchor: none; contain: content; }
.entry { position: relative; padding: 8px 16px 10px 60px; border-bottom: 1px solid var(--line); border-left: 4px solid transparent; font-size: 13px; line-height: 18px; contain: content; }
.entry.is-user { border-left-color: var(--s2); } .entry.is-assistant { border-left-color: var(--s1); } .entry.is-tool { border-left-color: var(--s3); }
.entry.is-failed { border-left-color: var(--bad); }
.entry.is-at { background: color-mix(in srgb, var(--accent) 8%, var(--surface)); }
.entry:focus { outline: none; } .entry:focus-visible { box-shadow: inset 0 0 0 2px var(--accent); }
.entry header { display: flex; align-items: baseline; gap: 8px; margin-bottom: 2px; font-size: 12px; color: var(--ink-2); }
.entry header b { color: var(--ink); }
.entry-n { position: absolute; left: 4px; width: 44px; text-align: right; color: var(--ink-3); text-decoration: none; }
.entry-n:hover { text-decoration: underline; }
.entry-facts { min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.entry-when { margin-left: auto; color: var(--ink-3); white-space: nowrap; }
.entry-text { display: block; max-width: 96ch; white-space: pre-wrap; overflow-wrap: anywhere; }
.entry-images { color: var(--ink-3); font-size: 12px; }
.entry mark { background: color-mix(in srgb, var(--warn) 32%, transparent); color: inherit; border-radius: 2px; }
.fold > summary { display: flex; align-items: baseline; gap: 8px; padding: 2px 0; font-size: 12px; color: var(--ink-2); cursor: pointer; list-style: none; }
.fold > summary::-webkit-details-marker { display: none; }
.fold > summary::before { content: "▸"; width: 10px; flex: none; color: var(--ink-3); }
.fold[open] > summary::before { content: "▾"; }
.fold > summary > .note { white-space: nowrap; }
.fold-line { min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.fold pre {
  margin: 4px 0 4px 18px; padding: 8px 12px; max-height: 480px; overflow: auto; border: 1px solid var(--line); border-radius: 6px; background: var(--bg);
  font: 12px/17px var(--mono); white-space: pre-wrap; overflow-wrap: anywhere;
}
.is-thinking pre { font-family: inherit; font-size: 13px; color: var(--ink-2); }
.scrub { display: block; margin: 8px 0 -4px; }
.scrub input { width: 100%; margin: 0; accent-color: var(--ink-3); }
.compared .compared-name { white-space: normal; }
.compared .compared-name .note { display: block; font-size: 12px; }
.compared .compared-text { white-space: normal; max-width: 320px; }
.race-key { display: inline-block; width: 10px; height: 3px; margin-right: 6px; vertical-align: 3px; background: var(--s1); }
.race-key.is-b { background: var(--s2); }
.race-line { fill: none; stroke: var(--s1); stroke-width: 2; stroke-linejoin: round; } .race-line.is-b { stroke: var(--s2); }

@media (max-width: 1279px) { .session-facts { grid-template-columns: repeat(4, minmax(0, 1fr)); } }
@media (max-width: 639px) {
  .session-facts { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .session-list, .turn-list, .entries { margin-left: -12px; margin-right: -12px; }
  .session-list tr > :first-child, .turn-list tr > :first-child { padding-left: 12px; }
  .session-list.scroll.is-window { max-height: calc(100vh - 330px); }
  .sort-tools { display: inline-flex; }
  .list-menus { margin-left: 0; }
  .session-list.is-narrow .mark-box ~ .state { visibility: visible; }
  .find { flex: 1 1 100%; }
  .turn-marks, .turn-when { display: none; }
  .turn-cell { width: 44%; }
  .waterfall .span-cell { min-width: 96px; }
  .session-page.is-filling { height: auto; min-height: 0; }
  .entries { height: calc(100vh - 240px); min-height: 320px; flex: none; }
  .session-page .panel-head, [data-key="session-list"] > .panel-head { flex-wrap: wrap; }
  .session-page .side .panel-head h2 { flex: none; max-width: 100%; }
  .columns-menu { display: none; }
  .compared .grid-table th[scope="row"] { white-space: normal; min-width: 84px; overflow-wrap: normal; }
  .session-head .panel-head h2 { flex: 1 1 70%; min-width: 0; }
  .entry header { flex-wrap: wrap; }
  .entry { padding-left: 12px; }
  .entry-n { position: static; width: auto; }
  .checks { width: auto; }
}
@media (forced-colors: active) {
  .turn-bar, .span-bar, .strip-plot { forced-color-adjust: none; }
  .session-list tr[data-row]:focus-visible > *, .turn-list tr[data-row]:focus-visible > * { outline: 2px solid Highlight; }
}
@media print { .list-tools, .tabs, .scrub { display: none; } .entries, .session-list.scroll.is-window, .turn-list.scroll.is-window { height: auto; max-height: none; overflow: visible; } }
"""

# language=JavaScript
SESSIONS_JS = r"""// The list of sessions: 10,000 rows and more, of which the document holds those in sight and the
// server sorts, filters and sums. Whole sessions are shown: the range chooses those active in it.

import {
  html, msg, t, tn, UNKNOWN, formatCount, formatDuration,
} from "./dom.js";
import {
  askParams, bdi, context as contextUse, cost, dataOf, dot, head, hrefTo, icon, menu, money, nothing, panel,
  rangeName, segments, select, sessionName, sortHead, tokens, unseen, when, widthOf, windowOf, windowedTable,
} from "./views.js";

const LIST = "sessions";
const NARROW = 560; // pixels of the list; below, a row has two lines and three columns
const PAGE_ROWS = 60;

const STATES = [["", msg("All")], ["running", msg("Running")], ["idle", msg("Idle")], ["ended", msg("Ended")]];
const HAVING = [
  ["", msg("with anything")], ["errors", msg("with errors")], ["compactions", msg("compacted")],
  ["subagents", msg("with sub-agents")], ["unpriced", msg("with unpriced calls")],
];
const STATE_NAMES = { running: msg("Running"), idle: msg("Idle"), ended: msg("Ended") };
/** What OpenClaw has done with a session, where that is not the usual thing. */
export const STORED = {
  reset: msg("reset"), deleted: msg("deleted"), cold: msg("archived"), imported: msg("imported"), bak: msg("copy"),
  checkpoint: msg("copy"),
};
const FAILED = { failed: msg("failed"), killed: msg("killed"), timeout: msg("timed out") };

export function stateDot(row) {
  const name = t(STATE_NAMES[row.state] ?? STATE_NAMES.ended);
  const hint = row.inferred ? t("{state}, inferred from its last entry", { state: name }) : name;
  return html`<span class="state is-${row.state in STATE_NAMES ? row.state : "ended"}" title="${hint}">${dot()}${unseen(name)}</span>`;
}

/** Marks beside a name: what became of the session. */
export function fates(row) {
  return html`
    ${row.status in FAILED ? html`<span class="mark is-bad">${t(FAILED[row.status])}</span>` : null}
    ${row.stored_as in STORED ? html`<span class="mark">${t(STORED[row.stored_as])}</span>` : null}`;
}

const errorsOf = (row) => row.tool_errors + row.model_errors;

function errors(row) {
  if (!errorsOf(row)) return html`<span class="note">0</span>`;
  const tools = tn(row.tool_errors, "{n} tool error", "{n} tool errors");
  const calls = tn(row.model_errors, "{n} failed call", "{n} failed calls");
  return html`<span class="is-bad" title="${tools}, ${calls}">${formatCount(errorsOf(row))}</span>`;
}

/** What it cost with all sub-agents below it; faint where there is nothing below. */
function tree(row) {
  if (row.tree_cost_nano_usd <= row.cost_nano_usd) return html`<span class="note">${money(row.tree_cost_nano_usd)}</span>`;
  return money(row.tree_cost_nano_usd);
}

/** The heading names the calls without a price; here is no room for them. */
const sumOfCosts = (all) => (all.unpriced_calls && !all.cost_nano_usd ? UNKNOWN : money(all.cost_nano_usd));

const text = (value) => (value ? bdi(value) : html`<span class="note">${UNKNOWN}</span>`);

/** key, name, what it sorts by, class, cell, cell of the sums. The first one always stays. */
const COLUMNS = [
  { key: "session", name: msg("Session"), sort: "label", kind: "session-name", cell: null },
  { key: "agent", name: msg("Agent"), sort: "agent", kind: "mid", cell: (row) => text(row.agent) },
  { key: "channel", name: msg("Channel"), sort: "channel", kind: "mid", cell: (row) => text(row.channel) },
  { key: "cause", name: msg("Cause"), sort: "cause", kind: "", cell: (row) => text(row.cause) },
  { key: "model", name: msg("Model"), sort: "model", kind: "mid model", cell: (row) => text(row.model) },
  { key: "calls", name: msg("Calls"), sort: "message_count", kind: "num", cell: (row) => formatCount(row.model_calls), sum: (all) => formatCount(all.model_calls) },
  { key: "tokens", name: msg("Tokens"), sort: "total_tokens", kind: "num", cell: (row) => tokens(row.total_tokens), sum: (all) => tokens(all.total_tokens) },
  { key: "tools", name: msg("Tools"), sort: "tool_calls", kind: "num", cell: (row) => formatCount(row.tool_calls) },
  { key: "errors", name: msg("Errors"), sort: "errors", kind: "num", cell: errors },
  { key: "duration", name: msg("Lasted"), sort: "duration_ms", kind: "num", cell: (row) => formatDuration(row.duration_ms) },
  { key: "context", name: msg("Context"), sort: "context_share", kind: "num", cell: (row) => contextUse(row) },
  { key: "cost", name: msg("Cost"), sort: "total_cost", kind: "num", cell: (row) => cost(row), sum: sumOfCosts },
  { key: "tree", name: msg("Tree cost"), sort: "tree_cost_nano_usd", kind: "num", cell: tree },
  { key: "started", name: msg("Started"), sort: "started_ms", kind: "num", cell: (row, state) => when(row.started_ms, state) },
  { key: "active", name: msg("Last active"), sort: "last_activity_ms", kind: "num", cell: (row, state) => when(row.last_activity_ms, state) },
];
const USUAL = ["agent", "channel", "cause", "model", "calls", "tokens", "errors", "duration", "context", "cost", "tree", "active"];
const NARROW_COLUMNS = ["cost", "active"];
const SORTS = COLUMNS.map((column) => column.sort);
const ASCENDING = new Set(["label", "agent", "channel", "cause", "model"]);
export const usualOrder = (sort) => (ASCENDING.has(sort) ? "asc" : "desc");

// Which columns a person wants is kept in their browser.

let kept = null;
function keptColumns() {
  if (kept) return kept;
  try {
    const read = JSON.parse(localStorage.getItem("clawmeter.columns"));
    kept = Array.isArray(read) ? USUAL.concat(COLUMNS.map(({ key }) => key)).filter((key, i, all) => read.includes(key) && all.indexOf(key) === i) : USUAL;
  } catch {
    kept = USUAL; // storage switched off, or no browser at all
  }
  return kept;
}

export const chosenColumns = (state) => state.columns ?? keptColumns();
const isNarrow = (state) => widthOf(state, LIST) < NARROW;

function shownColumns(state) {
  const chosen = isNarrow(state) ? NARROW_COLUMNS : chosenColumns(state);
  return COLUMNS.filter(({ key }) => key === "session" || chosen.includes(key));
}

const rowHeight = (state) => (isNarrow(state) ? 50 : 33);

// What is asked

/** The parameters of the list without its page: the same for the list and for its exports. */
export function listParams({ route }) {
  return {
    ...askParams(route), sort: route.sort, order: route.order, q: route.q, state: route.status, has: route.has,
  };
}

/** The part of the list that holds the rows in sight and as many again around them. */
export function pageOf(state) {
  const { first, last } = windowOf(state, LIST, dataOf(state, LIST)?.total ?? 0);
  const offset = Math.max(0, Math.floor((first - 10) / PAGE_ROWS) * PAGE_ROWS);
  const limit = Math.max(2, Math.ceil((last + 10 - offset) / PAGE_ROWS)) * PAGE_ROWS;
  return { offset, limit };
}

const given = (params) => Object.entries(params).filter(([, value]) => value !== "" && value !== undefined && value !== null);

const exportHref = (state, form) => `/api/sessions.${form}?${new URLSearchParams(given(listParams(state)))}`;

// Parts

function Head(column, { route }) {
  const kind = `${column.kind} col-${column.key}`;
  return sortHead({ value: column.sort, name: t(column.name), sort: route.sort, order: route.order, kind });
}

function NameCell(row, state) {
  const name = sessionName(row);
  const isMarked = (state.marks ?? []).some((one) => one.id === row.id);
  return html`
    <th scope="row" class="session-name" title="${name}">
      <input type="checkbox" class="mark-box" data-action="mark" data-value="${row.id}" data-name="${name}" tabindex="-1"
        aria-label="${t("Mark {name} to compare", { name })}"${isMarked ? html` checked` : null}>
      ${stateDot(row)}
      <a href="${hrefTo(state, "session", [row.id])}" data-action="open" data-value="${row.id}" data-page="session" tabindex="-1">${bdi(name)}</a>
      ${fates(row)}
      ${isNarrow(state) ? html`<span class="where">${bdi(row.agent ?? UNKNOWN)} · ${bdi(row.channel || row.cause || UNKNOWN)}</span>` : null}
    </th>`;
}

export const keyOfRow = (row) => `${row.agent}/${row.id}`;

// Most rows of a step of scrolling are those of the step before: their markup is kept with the row,
// for as long as all is the same that it is made of.
const drawn = new WeakMap();

function Row(index, state, data, columns) {
  const row = data.rows[index - data.offset];
  if (!row) return drawRow(null, index, state, columns);
  const isMarked = (state.marks ?? []).some((one) => one.id === row.id);
  const { currency, rate, isHidden, messages, now } = state;
  const key = JSON.stringify([index, columns.map((column) => column.key), isMarked, currency, rate, isHidden, messages, now, state.route, state.serverZone]);
  const known = drawn.get(row);
  if (known?.key === key) return known.markup;
  const markup = drawRow(row, index, state, columns);
  drawn.set(row, { key, markup });
  return markup;
}

function drawRow(row, index, state, columns) {
  if (!row) {
    return html`
      <tr class="is-coming" data-key="coming-${index}" aria-rowindex="${index + 2}">
        <td colspan="${columns.length}"><span class="ghost is-wide"></span></td>
      </tr>`;
  }
  const isMarked = (state.marks ?? []).some((one) => one.id === row.id);
  return html`
    <tr data-key="${keyOfRow(row)}" data-row="${index}" data-action="open" data-value="${row.id}" tabindex="-1"
      aria-rowindex="${index + 2}" class="${isMarked ? "is-marked" : ""}">
      ${columns.map((column) => (column.cell ? html`<td class="${column.kind} col-${column.key}">${column.cell(row, state)}</td>` : NameCell(row, state)))}
    </tr>`;
}

function Foot(state, data, columns) {
  return html`
    <tr>
      ${columns.map((column, i) => (i === 0
        ? html`<th scope="row" class="session-name">${tn(data.total, "{n} session", "{n} sessions")}</th>`
        : html`<td class="${column.kind} col-${column.key}">${column.sum ? column.sum(data.totals) : null}</td>`))}
    </tr>`;
}

function Columns(state) {
  const chosen = chosenColumns(state);
  return menu({
    name: "columns", state, label: t("Columns"), kind: "is-quiet columns-menu", button: t("Columns"),
    body: () => html`
      <ul class="checks">
        ${COLUMNS.slice(1).map(({ key, name }) => html`
          <li data-key="${key}">
            <label class="check">
              <input type="checkbox" data-action="column" data-value="${key}"${chosen.includes(key) ? html` checked` : null}> ${t(name)}
            </label>
          </li>`)}
      </ul>
      <p><button type="button" class="link" data-action="columns-reset">${t("Usual columns")}</button></p>`,
  });
}

function Export(state) {
  return menu({
    name: "export", state, label: t("Export"), kind: "is-quiet export-menu", button: t("Export"),
    body: () => html`
      <p class="note">${t("All rows of this list, sorted and filtered as it is.")}</p>
      <p><a class="button" href="${exportHref(state, "csv")}" download="sessions.csv">CSV</a>
        <a class="button" href="${exportHref(state, "json")}" download="sessions.json">JSON</a></p>`,
  });
}

function Compare(state) {
  const marks = state.marks ?? [];
  if (!marks.length) return null;
  const isReady = marks.length === 2;
  return html`
    <span class="compare-bar" data-key="compare">
      ${isReady
        ? html`<a class="button is-first" href="${compareHref(state)}" data-page="session" data-shortcut="c" data-help="${t("Compare the marked sessions")}">${t("Compare 2 sessions")}</a>`
        : html`<span class="note">${t("Mark one more to compare")}</span>`}
      <button type="button" class="link" data-action="unmark">${t("Clear marks")}</button>
    </span>`;
}

export const compareHref = (state) => hrefTo(state, "session", [state.marks[0].id], [["with", state.marks[1].id]]);

function Tools(state) {
  const { route } = state;
  return html`
    <div class="list-tools" data-key="tools">
      <label class="find" data-shortcut="q" data-help="${t("Find in this list")}">
        ${unseen(t("Find in names, keys and ids"))}${icon("search", 14)}
        <input type="search" class="field" data-action="q" value="${route.q}" placeholder="${t("Find in names, keys and ids")}"
          autocomplete="off" spellcheck="false" maxlength="200">
      </label>
      ${segments({ action: "status", label: t("State"), choices: STATES.map(([key, name]) => [key, t(name)]), chosen: route.status })}
      ${select({ action: "has", label: t("Only sessions"), chosen: route.has, kind: route.has ? "is-on" : "", options: HAVING.map(([key, name]) => [key, t(name)]) })}
      <span class="sort-tools">
        ${select({
          action: "sort-by", label: t("Sort by"), chosen: route.sort, shortcut: "s", help: t("Choose the order"),
          options: COLUMNS.map(({ sort, name }) => [sort, t("by {column}", { column: t(name) })]),
        })}
        <button type="button" class="icon-button" data-action="turn-order" data-shortcut="o" data-help="${t("Turn the order round")}"
          title="${route.order === "asc" ? t("Ascending") : t("Descending")}">
          <span aria-hidden="true">${route.order === "asc" ? "▲" : "▼"}</span>${unseen(route.order === "asc" ? t("Ascending") : t("Descending"))}
        </button>
      </span>
      ${Compare(state)}
      <span class="list-menus">${Columns(state)}${Export(state)}</span>
    </div>`;
}

const isNarrowed = ({ route }) => Boolean(route.q || route.status || route.has || Object.values(route.filters).some(Boolean));

function None(state) {
  if (isNarrowed(state)) {
    return html`
      <div class="none" data-key="none">
        ${nothing(t("No session in this range is like that."))}
        <button type="button" class="button" data-action="clear">${t("Clear the filters")}</button>
      </div>`;
  }
  if (state.route.range !== "all") {
    return html`
      <div class="none" data-key="none">
        ${nothing(t("No session was active in this range."))}
        <button type="button" class="button" data-action="range" data-value="all">${t("Show all time")}</button>
      </div>`;
  }
  return html`
    <div class="none" data-key="none">
      ${nothing(t("No session yet. It is here within a second of its first entry."))}
    </div>`;
}

export function Sessions(state) {
  const data = dataOf(state, LIST);
  const columns = shownColumns(state);
  const ranged = state.route.range === "all"
    ? null
    : t("active in {range}; the figures are those of whole sessions", { range: rangeName(state.route.range) });
  const table = () => windowedTable({
    name: LIST, state, label: t("Sessions, table"), total: data.total, columns: columns.length, rowHeight: rowHeight(state),
    heads: columns.map((column) => (isNarrow(state) ? head(t(column.name), `${column.kind} col-${column.key}`) : Head(column, state))),
    row: (i) => Row(i, state, data, columns), foot: Foot(state, data, columns),
    kind: `session-list ${isNarrow(state) ? "is-narrow" : ""}`,
  });
  return html`
    <div class="grid" data-key="sessions">
      ${panel({
        key: "session-list", wide: "w12", state, isRanged: true,
        title: html`${tn(data.total, "{n} session", "{n} sessions")} · ${cost(data.totals, true)}`, note: ranged,
        body: html`
          ${Tools(state)}
          <div data-measure="${LIST}" data-key="list">${data.total ? table() : None(state)}</div>`,
      })}
    </div>`;
}

// What acts

const scroller = () => document.querySelector(`[data-window="${LIST}"]`);
let typing = 0;
let goal = null;   // the row that gets the focus as soon as it is drawn
let at = null;     // {key, index} of the row the keyboard is on
let shown = "";    // the question whose rows are on show
const followed = new WeakSet();
const places = new Map(); // question -> where it was scrolled to, for the way back

function reveal(list, index, height) {
  const headHeight = list.querySelector("thead").offsetHeight;
  const footHeight = list.querySelector("tfoot")?.offsetHeight ?? 0;
  const room = list.clientHeight - headHeight - footHeight;
  if (index * height < list.scrollTop) list.scrollTop = index * height;
  else if ((index + 1) * height > list.scrollTop + room) list.scrollTop = (index + 1) * height - room;
}

function moveTo(index, state) {
  const data = dataOf(state, LIST);
  const list = scroller();
  if (!data?.total || !list) return;
  const to = Math.max(0, Math.min(data.total - 1, index));
  goal = to;
  reveal(list, to, rowHeight(state));
  focusGoal();
}

function focusGoal() {
  if (goal === null) return;
  const row = scroller()?.querySelector(`[data-row="${goal}"]`);
  if (!row) return;
  at = { key: row.dataset.key, index: goal };
  goal = null;
  row.focus({ preventScroll: true });
}

/** Where the keyboard is now: a live update may have moved its row. */
function indexNow(state) {
  if (!at) return null;
  const data = dataOf(state, LIST);
  const found = data.rows.findIndex((row) => keyOfRow(row) === at.key);
  return found < 0 ? at.index : found + data.offset;
}

function firstInSight(state) {
  const list = scroller();
  return list ? Math.ceil(list.scrollTop / rowHeight(state)) : 0;
}

function mark(id, name, { state, dispatch, say }) {
  const marks = state.marks ?? [];
  const others = marks.filter((one) => one.id !== id);
  const next = others.length < marks.length ? others : [...others.slice(-1), { id, name }];
  dispatch({ marks: next });
  say(next.length === 2 ? t("Two sessions marked, c compares them") : tn(next.length, "{n} session marked", "{n} sessions marked"));
}

export const page = {
  styles: "sessions.css",
  parse(params) {
    const one = (name, values, otherwise) => (values.includes(params.get(name)) ? params.get(name) : otherwise);
    const sort = one("sort", SORTS, "last_activity_ms");
    return {
      sort,
      order: one("order", ["asc", "desc"], usualOrder(sort)),
      q: (params.get("q") ?? "").slice(0, 200),
      status: one("state", ["running", "idle", "ended"], ""),
      has: one("has", HAVING.map(([key]) => key), ""),
    };
  },
  format: ({ sort, order, q, status, has }) => [
    ["sort", sort === "last_activity_ms" ? "" : sort], ["order", order === usualOrder(sort) ? "" : order], ["q", q],
    ["state", status], ["has", has],
  ],
  asks: (state) => [
    { key: LIST, path: "/api/session-list", params: { ...listParams(state), ...pageOf(state) }, on: ["usage", "session"] },
  ],
  view: Sessions,
  actions: {
    q: (element, { go }) => {
      clearTimeout(typing);
      const { value } = element;
      typing = setTimeout(() => go({ q: value.trim() }, true), 150);
    },
    status: (element, { go }) => go({ status: element.dataset.value }),
    has: (element, { go }) => go({ has: element.value }),
    sort: (element, { state, go }) => {
      const sort = element.dataset.value;
      const turned = state.route.order === "asc" ? "desc" : "asc";
      go({ sort, order: sort === state.route.sort ? turned : usualOrder(sort) });
    },
    "sort-by": (element, { go }) => go({ sort: element.value, order: usualOrder(element.value) }),
    "turn-order": (_, { state, go }) => go({ order: state.route.order === "asc" ? "desc" : "asc" }),
    clear: (_, { go }) => go({ q: "", status: "", has: "", filters: {} }),
    column: (element, { state, dispatch }) => {
      const chosen = chosenColumns(state).filter((key) => key !== element.dataset.value);
      if (element.checked) chosen.push(element.dataset.value);
      chooseColumns(chosen, dispatch);
    },
    "columns-reset": (_, { dispatch }) => chooseColumns(USUAL, dispatch),
    open: (element, { state }) => {
      if (!getSelection().isCollapsed) return; // somebody selects text
      location.hash = hrefTo(state, "session", [element.dataset.value]);
    },
    mark: (element, context) => mark(element.dataset.value, element.dataset.name, context),
    unmark: (_, { dispatch }) => dispatch({ marks: [] }),
  },
  keys(event, context) {
    const { state } = context;
    if (!dataOf(state, LIST)) return false;
    const list = scroller();
    const isInList = Boolean(list?.contains(event.target));
    if (event.key === "Escape") {
      if (event.target.dataset?.action === "q") context.go({ q: "" }, true);
      else if (isInList) {
        at = null;
        list.focus({ preventScroll: true });
      }
      return false;
    }
    const row = event.target.closest?.("tr[data-row]");
    const now = row ? Number(row.dataset.row) : indexNow(state);
    const inPage = list ? Math.max(1, Math.floor(list.clientHeight / rowHeight(state)) - 2) : 1;
    const steps = { j: 1, k: -1, ...(isInList ? { ArrowDown: 1, ArrowUp: -1, PageDown: inPage, PageUp: -inPage } : {}) };
    if (event.key in steps) moveTo(now === null ? firstInSight(state) : now + steps[event.key], state);
    else if (isInList && event.key === "Home") moveTo(0, state);
    else if (isInList && event.key === "End") moveTo(Infinity, state);
    else if (event.key === "s" && !isNarrow(state)) document.querySelector('.session-list [aria-sort$="ending"] button')?.focus();
    else if (row && event.key === "Enter") row.querySelector("a").click();
    else if (row && (event.key === "x" || event.key === " ")) row.querySelector(".mark-box").click();
    else return false;
    return true;
  },
  painted({ state }) {
    const list = scroller();
    if (!list) return;
    const question = JSON.stringify(state.answers[LIST]?.askedFor ?? {}, (key, value) => (key === "offset" || key === "limit" ? undefined : value));
    const isNew = !followed.has(list);
    if (isNew) {
      followed.add(list);
      list.addEventListener("scroll", () => places.set(shown, list.scrollTop), { passive: true });
    }
    if (isNew || question !== shown) {
      shown = question;
      list.scrollTop = places.get(question) ?? 0;
    }
    focusGoal();
  },
};

function chooseColumns(columns, dispatch) {
  kept = columns;
  try {
    localStorage.setItem("clawmeter.columns", JSON.stringify(columns));
  } catch { /* storage switched off: they last as long as the page */ }
  dispatch({ columns });
}
"""

# language=JavaScript
SESSION_JS = r"""// One session: what it cost and why (turns, their calls and tools, sub-agents), what was said in it
// (its transcript, read from disk a part at a time), and two sessions side by side.

import {
  html, msg, t, tn, UNKNOWN, dayIn, formatAbsolute, formatClock, formatCount, formatDay, formatDuration, formatExactMoney,
  formatMoney, formatMoneyTick, formatPercent, formatTokens, shownPerNano,
} from "./dom.js";
import { niceTicks, shareBar, swatch } from "./chart.js";
import {
  assignColours, bdi, cost, dataOf, head, hrefTo, icon, menu, money, nestSessions, nothing, panel,
  partial, scrollingTable, sessionName, shareOf, sharePercent, tokens, unseen, when, widthOf, windowedTable, zoneOf,
} from "./views.js";

const KINDS = [
  ["messages", msg("Messages")], ["tools", msg("Tools")], ["errors", msg("Errors")], ["thinking", msg("Thinking")],
];
const ENTRIES = 150;      // entries in the document at once
const ENTRY_STEP = 50;    // how far the part on show moves when its end comes near
const CLIP = 4000;        // characters of a text before somebody asks for all of it
const SHOWN_SPANS = 300;
const MARKDOWN_ENTRIES = 5000;
const SEGMENT_NAMES = {
  model: msg("Model"), tool: msg("Tools"), subagent: msg("Sub-agents"), failed: msg("Failed call"), wait: msg("Waiting"),
};

const idOf = ({ route }) => route.rest[0] ?? "";
const askKey = (kind, id) => `${kind} ${id}`;
const sessionOf = (state, id = idOf(state)) => dataOf(state, askKey("session", id));
const turnsOf = (state, id = idOf(state)) => dataOf(state, askKey("turns", id));
const api = (path, id) => `/api/${path}/${encodeURIComponent(id)}`;
const sum = (values) => values.reduce((total, value) => total + value, 0);
const round = (x) => Math.round(x * 100) / 100;

// Numbers of a session

/** The share of the prompt that came from the cache; null where there was no prompt. */
export function cacheRate(totals) {
  const prompt = totals.input_tokens + totals.cache_read_tokens + totals.cache_write_tokens;
  return prompt ? totals.cache_read_tokens / prompt : null;
}

function Figure(key, label, number, note = null) {
  return html`
    <div class="fact" data-key="${key}">
      <dt>${label}</dt>
      <dd><span class="fact-number">${number}</span>${note ? html`<span class="fact-note">${note}</span>` : null}</dd>
    </div>`;
}

function Facts(session, state) {
  const perCall = session.model_calls ? session.cost_nano_usd / session.model_calls : null;
  const below = session.subagents.length;
  const plan = session.plan_cost_nano_usd;
  return html`
    <dl class="session-facts">
      ${Figure("cost", t("Cost"), html`${cost(session, true)} ${partial(state)}`,
    plan ? t("and {money} worth of plan use", { money: formatMoney(plan) }) : perCall === null ? null : t("{money} a call", { money: formatMoney(Math.round(perCall)) }))}
      ${Figure("tree", t("With sub-agents"), money(session.tree_cost_nano_usd),
    below ? tn(below, "{n} sub-agent", "{n} sub-agents") : t("none"))}
      ${Figure("tokens", t("Tokens"), tokens(session.total_tokens),
    t("{input} in, {output} out", { input: formatTokens(session.input_tokens + session.cache_read_tokens + session.cache_write_tokens), output: formatTokens(session.output_tokens) }))}
      ${Figure("cache", t("Cache rate"), formatPercent(cacheRate(session), 1),
    html`<span title="${t("{tokens} written to the cache", { tokens: formatTokens(session.cache_write_tokens) })}">${t("{tokens} read", { tokens: formatTokens(session.cache_read_tokens) })}</span>`)}
      ${Figure("calls", t("Model calls"), formatCount(session.model_calls), session.model_errors
    ? html`<span class="is-bad">${tn(session.model_errors, "{n} failed", "{n} failed")}</span>` : t("none failed"))}
      ${Figure("tools", t("Tool calls"), formatCount(session.tool_calls), session.tool_errors
    ? html`<span class="is-bad">${tn(session.tool_errors, "{n} error", "{n} errors")}</span>` : t("no error"))}
      ${Figure("lasted", t("Lasted"), formatDuration(session.duration_ms), html`${t("since")} ${when(session.started_ms, state)}`)}
      ${Figure("context", t("Context"), session.context_window && session.context_tokens
    ? formatPercent(session.context_tokens / session.context_window) : formatTokens(session.context_tokens),
  session.context_window ? t("of {tokens} tokens", { tokens: formatTokens(session.context_window) }) : t("window not known"))}
    </dl>`;
}

// What became of it

const PUT_AWAY = {
  reset: msg("OpenClaw reset this session. Its transcript is read from the copy that was kept."),
  deleted: msg("OpenClaw deleted this session. Its transcript is read from the copy that was kept."),
  cold: msg("OpenClaw moved this session to its archive. Its transcript is read from there."),
  imported: msg("This session is from before OpenClaw kept its sessions in a database; its transcript is read from the old file."),
  bak: msg("Of this session only a copy is left. Its transcript is read from there."),
  checkpoint: msg("Of this session only a copy is left. Its transcript is read from there."),
};

/** Sentences about what is unusual with a session. */
export function fateWords(session, link) {
  const words = [];
  const kinds = session.sources.filter((source) => source.state !== "gone").map((source) => source.kind);
  const isLive = kinds.some((kind) => kind === "live" || kind === "database");
  if (!kinds.length) words.push(t("OpenClaw no longer has this transcript. The ledger keeps its numbers."));
  else if (!isLive && kinds[0] in PUT_AWAY) words.push(t(PUT_AWAY[kinds[0]]));
  if (session.parent_session) words.push(t("Sub-agent of {session}.", { session: link(session.parent_session, session.parent_key) }));
  for (const { session: from, calls } of session.copied_from) {
    words.push(t("Forked: {calls} copied from {session}, and counted there.", {
      calls: tn(calls, "{n} call was", "{n} calls were"), session: link(from, null),
    }));
  }
  if (session.cron_job) words.push(t("Run of the cron job {job}.", { job: bdi(session.cron_job) }));
  if (session.compactions) words.push(tn(session.compactions, "Its context was compacted once.", "Its context was compacted {n} times."));
  if (session.failovers) words.push(tn(session.failovers, "One call went to another model after a failure.", "{n} calls went to another model after a failure."));
  if (session.aborts) words.push(tn(session.aborts, "One run was aborted.", "{n} runs were aborted."));
  return words;
}

const STATE_WORDS = { running: msg("Running"), idle: msg("Idle"), ended: msg("Ended") };

function sessionLink(state) {
  return (id, key) => {
    const name = sessionName({ id, key, label: null });
    return html`<a href="${hrefTo(state, "session", [id])}">${bdi(name)}</a>`;
  };
}

function Copyable(text) {
  return html`
    <span class="copyable"><code class="mono"><bdi>${text}</bdi></code>
      <button type="button" class="link" data-action="copy" data-value="${text}">${t("Copy")}${unseen(` ${text}`)}</button></span>`;
}

function CompareMenu(state, session) {
  const list = dataOf(state, "candidates");
  return menu({
    name: "compare", state, label: t("Compare with another session"), kind: "is-quiet compare-menu", shortcut: "c",
    help: t("Compare with another session"), button: t("Compare"),
    body: () => html`
      <input class="field" type="search" data-action="pick" value="${state.pick ?? ""}" aria-label="${t("Find a session")}"
        placeholder="${t("Find a session")}" autocomplete="off" spellcheck="false">
      <ul class="values">
        ${(list?.rows ?? []).filter((row) => row.id !== session.id).map((row) => html`
          <li data-key="${row.agent}/${row.id}">
            <a href="${hrefTo(state, "session", [session.id], [["with", row.id]])}" data-row>
              <bdi>${sessionName(row)}</bdi><span class="num">${cost(row)}</span>
            </a>
          </li>`)}
      </ul>
      ${list && list.rows.length < 2 ? nothing(t("No other session is like that.")) : null}`,
  });
}

function Head(state, session) {
  const words = fateWords(session, sessionLink(state));
  const stateWord = t(STATE_WORDS[session.state] ?? STATE_WORDS.ended);
  const who = [
    [t("Agent"), session.agent], [t("Channel"), session.channel], [t("Cause"), session.cause],
    [t("Models"), session.models.map((one) => one.model).join(", ")], [t("Thinking"), session.thinking_level],
  ].filter(([, value]) => value);
  const tab = (view, name) => html`
    <a class="tab" href="${hrefTo(state, "session", [session.id], view ? [["view", view]] : [])}" data-key="tab-${view || "-"}"
      aria-current="${state.route.view === view ? "page" : "false"}" data-shortcut="${view ? "v" : "w"}" data-help="${t("Show: {view}", { view: name })}">${name}</a>`;
  return html`
    <section class="panel w12 session-head" data-key="head" aria-labelledby="h-session">
      <header class="panel-head">
        <a class="back" href="${hrefTo(state, "sessions")}" data-page="sessions" title="${t("All sessions")}" data-shortcut="u" data-help="${t("All sessions")}">${icon("left")}${unseen(t("All sessions"))}</a>
        <h2 id="h-session">${bdi(sessionName(session))}</h2>
        <span class="state is-${session.state}" title="${session.inferred ? t("{state}, inferred from its last entry", { state: stateWord }) : stateWord}">
          <svg class="dot" width="8" height="8" viewBox="0 0 8 8" aria-hidden="true"><circle cx="4" cy="4" r="3"/></svg>${stateWord}</span>
        <span class="tools">${CompareMenu(state, session)}</span>
      </header>
      <p class="who">
        ${who.map(([name, value]) => html`<span data-key="${name}"><span class="note">${name}</span> ${bdi(value)}</span>`)}
        ${state.route.view ? html`<span data-key="cost"><span class="note">${t("Cost")}</span> ${cost(session)}</span>` : null}
        <span data-key="key">${session.key ? Copyable(session.key) : null}</span>
        <span data-key="id">${Copyable(session.id)}</span>
      </p>
      ${words.length ? html`<ul class="fates">${words.map((one) => html`<li>${one}</li>`)}</ul>` : null}
      ${state.route.view ? null : Facts(session, state)}
      <nav class="tabs" aria-label="${t("Parts of the session")}">${tab("", t("Timeline"))}${tab("transcript", t("Transcript"))}</nav>
    </section>`;
}

// Timeline: the strip of all turns

/** Where each turn stands on the strip: by what it took, but never too thin to be seen while there is room. */
export function stripOf(turns, width) {
  const count = turns.length;
  const least = Math.min(6, (width * 0.4) / Math.max(1, count));
  const room = width - least * count;
  const busy = sum(turns.map((turn) => turn.duration_ms)) || 1;
  let x = 0;
  const blocks = [];
  let waiting = null;
  for (const turn of turns) {
    const wide = least + (turn.duration_ms / busy) * room;
    const failed = turn.model_errors + turn.tool_errors;
    // Hundreds of turns in a pixel are one block.
    if (waiting && waiting.width < 1) {
      waiting.width += wide;
      waiting.last = turn;
      waiting.failed += failed;
      waiting.failedCalls += turn.model_errors;
      waiting.compactions += turn.compactions;
    } else {
      waiting = { first: turn, last: turn, x, width: wide, failed, failedCalls: turn.model_errors, compactions: turn.compactions, newModel: turn.new_model };
      blocks.push(waiting);
    }
    x += wide;
  }
  return blocks;
}

/** Ticks up to an amount, round in the currency on show: {ticks: [{nano, text}], top}. */
function moneyAxis(most) {
  const values = niceTicks(most * shownPerNano());
  const ticks = values.map((value) => ({ nano: value / shownPerNano(), text: formatMoneyTick(value, values[1] ?? 1) }));
  return { ticks, top: ticks[ticks.length - 1].nano || 1 };
}

/** The cost up to and with each turn, in nano-USD. */
export function cumulative(turns, before = 0) {
  let total = before;
  return turns.map((turn) => (total += turn.cost_nano_usd));
}

function segments(turn, x, width, top, height) {
  const longest = Math.max(1, turn.duration_ms);
  const spot = (begin, length) => [x + (begin / longest) * width, Math.max(0.5, (length / longest) * width)];
  return turn.stretches.map(([kind, begin, length]) => {
    const [left, wide] = spot(Math.min(begin, longest), Math.min(length, longest - Math.min(begin, longest)));
    const isBeside = kind === "subagent";
    return html`<rect class="k-${kind}" x="${round(left)}" y="${isBeside ? top + height - 3 : top}" width="${round(wide)}" height="${isBeside ? 3 : height}"/>`;
  });
}

const STRIP = { top: 8, line: 64, gap: 8, block: 22, bottom: 16, left: 52, right: 6 };

export function Strip(turns, before, width, chosen, state) {
  const inner = Math.max(60, width - STRIP.left - STRIP.right);
  const blocks = stripOf(turns, inner);
  const totals = cumulative(turns, before);
  const most = totals[totals.length - 1] || 0;
  const axis = moneyAxis(most);
  const y = (nano) => round(STRIP.top + STRIP.line - (nano / axis.top) * STRIP.line);
  const blockTop = STRIP.top + STRIP.line + STRIP.gap;
  const height = blockTop + STRIP.block + STRIP.bottom;
  const first = turns[0].n;
  let path = `M${STRIP.left} ${y(before)}`;
  for (const block of blocks) {
    path += `L${round(STRIP.left + block.x + block.width)} ${y(totals[block.last.n - first])}`;
  }
  // Heartbeats often run on a model of their own: a mark for each change would say nothing then.
  const isChanging = blocks.filter((block) => block.newModel).length > 40;
  const marks = blocks.filter((block) => block.failed || block.compactions || (block.newModel && !isChanging));
  const mark = (block) => {
    const x = round(STRIP.left + block.x + block.width / 2);
    if (block.failed) return html`<path class="k-failed" d="M${x - 3} ${blockTop + STRIP.block + 10}l3 -6l3 6z"/>`;
    if (block.compactions) return html`<rect class="mark-compacted" x="${x - 3}" y="${blockTop + STRIP.block + 4}" width="6" height="6"/>`;
    return html`<circle class="mark-model" cx="${x}" cy="${blockTop + STRIP.block + 7}" r="3"/>`;
  };
  return html`
    <svg class="plot strip-plot" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img"
      aria-label="${t("Turns by what they took, and the cost up to each: {money} in the end", { money: formatMoney(most) })}">
      ${axis.ticks.filter((_, i, all) => i === 0 || i === all.length - 1).map(({ nano, text }) => html`
        <line class="${nano ? "rule" : "base"}" x1="${STRIP.left}" x2="${width - STRIP.right}" y1="${y(nano)}" y2="${y(nano)}"/>
        <text class="tick" x="${STRIP.left - 8}" y="${y(nano) + 4}" text-anchor="end">${text}</text>`)}
      <path class="cost-line" d="${path}"/>
      ${blocks.map((block) => {
    const x = round(STRIP.left + block.x);
    const wide = Math.max(0.6, block.width - (block.width > 4 ? 1 : 0));
    const isChosen = chosen !== null && chosen >= block.first.n && chosen <= block.last.n;
    const name = block.first === block.last ? turnTitle(block.first, state)
      : t("Turns {first} to {last}", { first: formatCount(block.first.n + 1), last: formatCount(block.last.n + 1) });
    return html`
      <g class="strip-turn ${isChosen ? "is-chosen" : ""}" data-action="open-turn" data-value="${block.first.n}" data-key="s${block.first.n}">
        <title>${name}</title>
        <rect class="strip-hit" x="${x}" y="${STRIP.top}" width="${round(wide)}" height="${height - STRIP.top}"/>
        <rect class="k-wait" x="${x}" y="${blockTop}" width="${round(wide)}" height="${STRIP.block}"/>
        ${wide > 3 ? segments(block.first, x, wide, blockTop, STRIP.block)
      : html`<rect class="${block.failedCalls ? "k-failed" : "k-model"}" x="${x}" y="${blockTop}" width="${round(wide)}" height="${STRIP.block}"/>`}
      </g>`;
  })}
      ${marks.map(mark)}
    </svg>`;
}

function turnTitle(turn, state) {
  return t("Turn {n}, {time}: {took}, {tokens} tokens, {money}", {
    n: formatCount(turn.n + 1), time: formatAbsolute(turn.from_ms, zoneOf(state)), took: formatDuration(turn.duration_ms),
    tokens: formatTokens(turn.total_tokens), money: formatMoney(turn.cost_nano_usd),
  });
}

// Timeline: the turns one by one

function turnMarks(turn) {
  const marks = [];
  const failed = turn.model_errors + turn.tool_errors;
  if (failed) marks.push(["is-bad", tn(failed, "{n} error", "{n} errors")]);
  if (turn.retries) marks.push(["is-warn", tn(turn.retries, "{n} retry", "{n} retries")]);
  if (turn.failovers) marks.push(["is-warn", t("failover")]);
  if (turn.aborts) marks.push(["is-warn", t("aborted")]);
  if (turn.compactions) marks.push(["", t("compacted")]);
  if (turn.new_model) marks.push(["", t("to {model}", { model: turn.new_model })]);
  if (turn.subagents) marks.push(["", tn(turn.subagents, "{n} sub-agent", "{n} sub-agents")]);
  if (turn.is_heartbeat) marks.push(["", t("heartbeat")]);
  if (!turn.model_calls && !marks.length) marks.push(["", t("no call")]);
  return marks;
}

function TurnBar(turn, longest) {
  const width = (turn.duration_ms / Math.max(1, longest)) * 1000;
  return html`
    <svg class="turn-bar" viewBox="0 0 1000 12" preserveAspectRatio="none" aria-hidden="true">
      <rect class="k-wait" x="0" y="0" width="${round(Math.max(2, width))}" height="12"/>
      ${segments(turn, 0, Math.max(2, width), 0, 12)}
    </svg>`;
}

function TurnRow(turn, index, longest, state) {
  const isOpen = state.route.turn === turn.n;
  return html`
    <tr data-key="t${turn.n}" data-row="${turn.n}" data-action="open-turn" data-value="${turn.n}" tabindex="-1" aria-rowindex="${index + 2}"
      class="${isOpen ? "is-open" : ""}">
      <th scope="row" class="num turn-n"><a href="${turnHref(state, turn)}" data-action="open-turn" data-value="${turn.n}" tabindex="-1"
        aria-current="${isOpen ? "true" : "false"}" title="${turnTitle(turn, state)}">${formatCount(turn.n + 1)}</a></th>
      <td class="turn-when">${moment(turn.from_ms, state)}</td>
      <td class="turn-cell">${TurnBar(turn, longest)}</td>
      <td class="turn-marks">${turnMarks(turn).map(([kind, word]) => html`<span class="mark ${kind}"><bdi>${word}</bdi></span> `)}</td>
      <td class="num wide">${formatCount(turn.model_calls)}</td>
      <td class="num wide">${tokens(turn.total_tokens)}</td>
      <td class="num">${cost(turn)}</td>
      <td class="num" title="${turnShares(turn)}">${formatDuration(turn.duration_ms)}</td>
    </tr>`;
}

/** "6 Nov 14:05": turns of a day stand under each other, so the time belongs to the date. */
function moment(ms, state) {
  const zone = zoneOf(state);
  return html`<time datetime="${new Date(ms).toISOString()}" title="${formatAbsolute(ms, zone)}">${formatDay(dayIn(ms, zone))} ${formatClock(ms, zone).slice(0, 5)}</time>`;
}

const turnShares = (turn) => t("models {model}, tools {tools}, waiting {waiting}", {
  model: formatDuration(turn.model_ms), tools: formatDuration(turn.tool_ms), waiting: formatDuration(turn.wait_ms),
});

const turnHref = (state, turn) => hrefTo(state, "session", [idOf(state)], [["turn", turn.n]]);

function Legend(turns) {
  const all = [
    ["model", sum(turns.map((turn) => turn.model_ms))], ["tool", sum(turns.map((turn) => turn.tool_ms))],
    ["wait", sum(turns.map((turn) => turn.wait_ms))],
  ];
  const has = { failed: turns.some((turn) => turn.model_errors), subagent: turns.some((turn) => turn.subagents) };
  const key = (kind, words) => html`
    <li data-key="${kind}"><svg class="swatch" width="10" height="10" viewBox="0 0 10 10" aria-hidden="true"><rect class="k-${kind}" width="10" height="10" rx="2"/></svg>${words}</li>`;
  return html`
    <ul class="kinds">
      ${all.map(([kind, took]) => key(kind, html`${t(SEGMENT_NAMES[kind])} <span class="note">${formatDuration(took)}</span>`))}
      ${Object.entries(has).map(([kind, is]) => (is ? key(kind, t(SEGMENT_NAMES[kind])) : null))}
    </ul>`;
}

function Turns(state) {
  const data = turnsOf(state);
  const frame = (note, body) => panel({ key: "turns", title: t("Turns"), note, wide: "turns-panel", state, isSum: true, body });
  const error = state.answers[askKey("turns", idOf(state))]?.error;
  if (!data) return frame(null, nothing(error ? t("The turns could not be read: {why}.", { why: error.message || t("no answer") }) : t("Loading")));
  const { turns, skipped } = data;
  if (!turns.length) return frame(null, nothing(t("Nothing was said in this session.")));
  const longest = Math.max(...turns.map((turn) => turn.duration_ms));
  const list = windowedTable({
    name: "turns", state, label: t("Turns, table"), columns: 8, total: turns.length, rowHeight: 33, kind: "turn-list",
    heads: html`
      ${head("#", "num turn-n")}${head(t("Began"), "turn-when")}${head(html`${unseen(t("As a bar"))}`, "turn-cell")}${head(unseen(t("Marks")), "turn-marks")}
      ${head(t("Calls"), "num wide")}${head(t("Tokens"), "num wide")}${head(t("Cost"), "num")}${head(t("Took"), "num")}`,
    row: (i) => TurnRow(turns[i], i, longest, state),
  });
  const note = skipped
    ? t("the last {n} of {total}", { n: formatCount(turns.length), total: formatCount(data.total) })
    : tn(data.total, "{n} turn", "{n} turns");
  return frame(note, html`
    <div data-measure="strip" data-key="strip">${Strip(turns, data.skipped_totals.cost_nano_usd, widthOf(state, "strip"), state.route.turn, state)}</div>
    ${Legend(turns)}
    ${list}`);
}

// One turn: its calls, tools and sub-agents on one axis

const MESSAGE_NAMES = {
  user: msg("User message"), compaction: msg("Context compacted"), injected: msg("Message of OpenClaw"), reset: msg("Session reset"),
  assistant: msg("Message without a call"), custom: msg("Tool, nested"),
};

/** The rows of a turn's waterfall: {kind, name, begin, end, …}, in order of their begin. */
export function spansOf(items, turn, below) {
  const spans = [];
  let upTo = turn.from_ms;
  let wasFailed = false;
  let model = null;
  for (const item of items) {
    if (item.ts_ms === null) continue;
    if (item.kind === "model_call") {
      const isFailed = item.stop_reason === "error";
      const marks = [];
      if (wasFailed) marks.push(t("retry"));
      if (item.is_failover) marks.push(t("failover"));
      if (item.stop_reason === "aborted") marks.push(t("aborted"));
      if (model !== null && model !== item.model) marks.push(t("other model"));
      spans.push({
        kind: isFailed ? "failed" : "model", name: item.model, begin: item.ts_ms - (item.latency_ms ?? 0), end: item.ts_ms, marks,
        tokens: item.input_tokens + item.output_tokens + item.cache_read_tokens + item.cache_write_tokens,
        cost: item.cost_nano_usd, isPriced: true,
      });
      wasFailed = isFailed;
      model = item.model;
      upTo = Math.max(upTo, item.ts_ms);
    } else if (item.kind === "toolResult") {
      const begin = item.duration_ms === null ? Math.min(upTo, item.ts_ms) : item.ts_ms - item.duration_ms;
      spans.push({ kind: "tool", name: item.tool ?? "?", begin, end: item.ts_ms, isFailed: item.is_error, marks: item.is_error ? [t("error")] : [] });
      upTo = Math.max(upTo, item.ts_ms);
    } else {
      const name = item.kind === "custom" && item.tool ? item.tool : t(MESSAGE_NAMES[item.kind] ?? item.kind);
      spans.push({ kind: "event", name, begin: item.ts_ms, end: item.ts_ms, marks: [] });
    }
  }
  for (const row of below) {
    spans.push({
      kind: "subagent", name: sessionName(row), begin: row.started_ms, end: Math.max(row.started_ms, row.last_activity_ms ?? row.started_ms),
      marks: [], tokens: row.total_tokens, cost: row.tree_cost_nano_usd, isPriced: true, id: row.id,
    });
  }
  return spans.sort((a, b) => a.begin - b.begin || a.end - b.end);
}

/** The spans without which the turn had ended earlier: from its end back, always the one that ended last. */
export function criticalPath(spans) {
  const path = new Set();
  let upTo = Infinity;
  for (const span of spans.filter((one) => one.end > one.begin && one.kind !== "subagent").sort((a, b) => b.end - a.end)) {
    if (span.end > upTo) continue;
    path.add(span);
    upTo = span.begin;
  }
  return path;
}

function SpanRow(span, i, { from, length, critical, state }) {
  const x = ((span.begin - from) / length) * 1000;
  const wide = Math.max(3, ((span.end - span.begin) / length) * 1000);
  const isCritical = critical.has(span);
  const name = span.id
    ? html`<a href="${hrefTo(state, "session", [span.id])}">${bdi(span.name)}</a>`
    : html`<a href="${hrefTo(state, "session", [idOf(state)], [["view", "transcript"], ["ms", Math.max(0, Math.round(span.end))]])}" title="${t("Show it in the transcript")}">${bdi(span.name)}</a>`;
  return html`
    <tr data-key="sp${i}" class="span is-${span.kind} ${isCritical ? "is-critical" : ""}">
      <th scope="row" class="span-name">${name} ${span.marks.map((word) => html`<span class="mark ${span.isFailed || span.kind === "failed" ? "is-bad" : ""}">${word}</span> `)}</th>
      <td class="span-cell">
        <svg class="span-bar" viewBox="0 0 1000 14" preserveAspectRatio="none" aria-hidden="true">
          ${[250, 500, 750].map((at) => html`<rect class="span-rule" x="${at}" y="0" width="1" height="14"/>`)}
          <rect class="k-${span.isFailed ? "failed" : span.kind}" x="${round(Math.max(0, Math.min(997, x)))}" y="2" width="${round(wide)}" height="10"/>
          ${isCritical ? html`<rect class="span-critical" x="${round(Math.max(0, Math.min(997, x)))}" y="12.5" width="${round(wide)}" height="1.5"/>` : null}
        </svg>
      </td>
      <td class="num">${span.kind === "event" ? html`<span class="note">${formatDuration(Math.max(0, span.begin - from))}</span>` : formatDuration(span.end - span.begin)}</td>
      <td class="num wide">${span.tokens === undefined ? null : tokens(span.tokens)}</td>
      <td class="num">${span.isPriced ? money(span.cost) : null}</td>
    </tr>`;
}

function Turn(state, session) {
  const data = turnsOf(state);
  const turn = turnOf(state);
  if (!data || state.route.turn === null) return null;
  const frame = (note, tools, body) => panel({ key: "turn", title: t("Turn {n}", { n: formatCount(state.route.turn + 1) }), note, tools, wide: "", state, body });
  const close = html`<button type="button" class="link" data-action="turn-close">${t("Close")}</button>`;
  if (!turn) return frame(null, close, nothing(t("There is no such turn.")));
  const items = dataOf(state, askKey("spans", idOf(state)));
  const isIts = state.answers[askKey("spans", idOf(state))]?.askedFor?.since_ms === turn.from_ms;
  const turnNav = html`
    <a class="link" href="${hrefTo(state, "session", [session.id], [["view", "transcript"], ["ms", turn.from_ms]])}">${t("Transcript of this turn")}</a>
    <button type="button" class="icon-button" data-action="turn-step" data-value="-1" title="${t("Turn before")}" data-shortcut="[" data-help="${t("Turn before")}">${icon("left")}${unseen(t("Turn before"))}</button>
    <button type="button" class="icon-button" data-action="turn-step" data-value="1" title="${t("Turn after")}" data-shortcut="]" data-help="${t("Turn after")}">${icon("right")}${unseen(t("Turn after"))}</button>
    ${close}`;
  const note = html`${when(turn.from_ms, state)}, ${formatDuration(turn.duration_ms)} (${turnShares(turn)}), ${money(turn.cost_nano_usd)}`;
  if (!items || !isIts) return frame(note, turnNav, nothing(t("Loading")));
  const until = untilOf(data, turn);
  const below = session.subagents.filter((row) => row.started_ms !== null && row.started_ms >= turn.from_ms && (until === null || row.started_ms < until));
  const spans = spansOf(items.items, turn, below);
  const from = turn.from_ms;
  const length = Math.max(1, turn.to_ms - from, ...spans.map((span) => Math.min(span.end, turn.to_ms) - from));
  const critical = criticalPath(spans);
  const shown = spans.slice(0, SHOWN_SPANS);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => html`<span>${formatDuration(length * share)}</span>`);
  return frame(note, turnNav, html`
    ${scrollingTable({
    label: t("Turn {n}, waterfall", { n: formatCount(turn.n + 1) }), kind: "waterfall is-tall",
    heads: html`${head(t("What"), "span-name")}<th scope="col" class="span-cell"><span class="span-ticks">${ticks}</span></th>${head(t("Took"), "num")}${head(t("Tokens"), "num wide")}${head(t("Cost"), "num")}`,
    rows: shown.map((span, i) => SpanRow(span, i, { from, length, critical, state })),
  })}
    ${spans.length > shown.length ? html`<p class="more">${t("and {n} more; the transcript has all of them", { n: formatCount(spans.length - shown.length) })}</p>` : null}
    <p class="more">${t("Underlined bars are the critical path: without them the turn had ended earlier.")}</p>`);
}

function turnOf(state) {
  const data = turnsOf(state);
  if (!data || state.route.turn === null) return null;
  return data.turns[state.route.turn - data.skipped] ?? null;
}

const untilOf = (data, turn) => data.turns[turn.n + 1 - data.skipped]?.from_ms ?? null;

// Timeline: what stands beside

function Models(session, state) {
  const { shown: colours } = assignColours(state.palette, session.models.slice(0, 7).map((one) => `${one.provider}/${one.model}`));
  const line = (one) => html`
    <tr data-key="${one.provider}/${one.model}">
      <th scope="row" class="name" title="${one.provider}/${one.model}">${swatch(colours.get(`${one.provider}/${one.model}`) ?? 8)} ${bdi(one.model)}</th>
      <td class="num">${formatCount(one.model_calls)}</td>
      <td class="num">${cost(one)}</td>
      <td class="num share">${sharePercent(one.cost_nano_usd, session.cost_nano_usd)}</td>
    </tr>`;
  return panel({
    key: "models", title: t("Models"), wide: "", state,
    body: session.models.length ? html`
      <table class="grid-table side-table"><thead><tr>${head(t("Model"))}${head(t("Calls"), "num")}${head(t("Cost"), "num")}${head(t("Share"), "num")}</tr></thead>
      <tbody>${session.models.map(line)}</tbody></table>` : nothing(t("No model was called.")),
  });
}

function ToolTable(session, state) {
  const line = (one) => html`
    <tr data-key="${one.tool}">
      <th scope="row" class="name" title="${one.tool}">${bdi(one.tool)}</th>
      <td class="num">${formatCount(one.calls)}</td>
      <td class="num ${one.errors ? "is-bad" : ""}">${formatCount(one.errors)}</td>
      <td class="num">${formatDuration(one.p50_ms)}</td>
      <td class="num">${formatDuration(one.p95_ms)}</td>
    </tr>`;
  return panel({
    key: "tools", title: t("Tools"), wide: "", state,
    body: session.tools.length ? html`
      <div class="side-scroll" tabindex="0" role="group" aria-label="${t("Tools, table")}">
      <table class="grid-table side-table"><thead><tr>${head(t("Tool"))}${head(t("Calls"), "num")}${head(t("Errors"), "num")}
        <th scope="col" class="num" title="${t("half of them took at most this")}">p50</th><th scope="col" class="num" title="${t("19 of 20 took at most this")}">p95</th></tr></thead>
      <tbody>${session.tools.map(line)}</tbody></table></div>` : nothing(t("No tool was used.")),
  });
}

/** The sub-agents below a session: a tree, each with what it cost itself and with those below it. */
function Below(session, state) {
  if (!session.subagents.length) return null;
  const rows = dataOf(state, askKey("below", idOf(state))) ?? session.subagents;
  const nested = nestSessions([...rows].sort((a, b) => (a.started_ms ?? 0) - (b.started_ms ?? 0)));
  const line = ([row, depth]) => html`
    <tr data-key="${row.agent}/${row.id}">
      <th scope="row" class="name depth-${Math.min(4, depth)}" title="${sessionName(row)}">
        ${depth ? html`<span class="branch" aria-hidden="true">└</span>` : null}<a href="${hrefTo(state, "session", [row.id])}">${bdi(row.run_label || sessionName(row))}</a>
        ${row.run_status && row.run_status !== "ok" && row.run_status !== "done" ? html`<span class="mark"><bdi>${row.run_status}</bdi></span>` : null}
      </th>
      <td class="num">${formatDuration(row.duration_ms)}</td>
      <td class="num">${cost(row)}</td>
      <td class="num">${row.tree_cost_nano_usd > row.cost_nano_usd ? money(row.tree_cost_nano_usd) : html`<span class="note">${money(row.tree_cost_nano_usd)}</span>`}</td>
    </tr>`;
  return panel({
    key: "below", title: t("Sub-agents"), wide: "", state,
    note: html`${tn(nested.length, "{n} session", "{n} sessions")}, ${money(session.tree_cost_nano_usd - session.cost_nano_usd)}`,
    body: html`
      <div class="side-scroll" tabindex="0" role="group" aria-label="${t("Sub-agents, table")}">
      <table class="grid-table side-table"><thead><tr>${head(t("Session"))}${head(t("Lasted"), "num")}${head(t("Own cost"), "num")}${head(t("Tree cost"), "num")}</tr></thead>
      <tbody>${nested.map(line)}</tbody></table></div>`,
  });
}

const PROMPT_PARTS = [
  ["system_chars", msg("System prompt")], ["project_chars", msg("Project files")], ["skills_chars", msg("Skills")],
  ["tools_list_chars", msg("Tool list")], ["tools_schema_chars", msg("Tool schemas")],
];

function Prompt(session, state) {
  const { prompt } = session;
  if (!prompt) return null;
  const most = Math.max(1, ...PROMPT_PARTS.map(([key]) => prompt[key]));
  return panel({
    key: "prompt", title: t("Prompt"), note: t("characters, measured by OpenClaw"), wide: "", state,
    body: html`
      <table class="shares"><tbody>
        ${PROMPT_PARTS.map(([key, name]) => html`
          <tr data-key="${key}"><th scope="row" class="name">${t(name)}</th><td class="bar-cell">${shareBar(shareOf(prompt[key], most))}</td><td class="num">${formatCount(prompt[key])}</td></tr>`)}
      </tbody></table>`,
  });
}

const SOURCE_KINDS = {
  live: msg("live file"), database: msg("database"), reset: msg("kept after a reset"), deleted: msg("kept after deletion"), cold: msg("archive"),
  imported: msg("file from before the database"), bak: msg("copy"), checkpoint: msg("copy before a compaction"),
};

function Stored(session, state) {
  if (!session.sources.length) return null;
  return panel({
    key: "stored", title: t("Stored in"), wide: "", state,
    body: html`
      <ul class="stored">
        ${session.sources.slice(0, 12).map((one) => html`
          <li data-key="${one.path}"><span class="note">${t(SOURCE_KINDS[one.kind] ?? one.kind)}${one.state === "ok" ? "" : `, ${one.state}`}</span> <code class="mono"><bdi>${one.path}</bdi></code></li>`)}
      </ul>
      ${session.sources.length > 12 ? html`<p class="more">${t("and {n} more", { n: formatCount(session.sources.length - 12) })}</p>` : null}`,
  });
}

function Timeline(state, session) {
  return html`
    <div class="w8 side" data-key="middle">${Turns(state)}${Turn(state, session)}</div>
    <div class="w4 side" data-key="side">
      ${Models(session, state)}${ToolTable(session, state)}${Below(session, state)}${Prompt(session, state)}${Stored(session, state)}
    </div>`;
}

// Transcript

// Colours of a terminal: they mean nothing here, and what they wrap is to be read.
// eslint-disable-next-line no-control-regex
const ANSI = /\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\))/g;
const plain = (text) => String(text).replace(ANSI, "");

/** A text with what was searched for marked in it. */
export function marked(text, find) {
  const whole = plain(text);
  if (!find) return whole;
  const lower = whole.toLowerCase();
  const wanted = find.toLowerCase();
  // Lower case may be longer than upper case (İ): then places in one are not places in the other.
  if (lower.length !== whole.length || !wanted) return whole;
  const parts = [];
  let at = 0;
  for (let found = lower.indexOf(wanted); found >= 0 && parts.length < 400; found = lower.indexOf(wanted, at)) {
    parts.push(whole.slice(at, found), html`<mark>${whole.slice(found, found + wanted.length)}</mark>`);
    at = found + wanted.length;
  }
  return [...parts, whole.slice(at)];
}

/** JSON laid out; a text that is no JSON as it is. */
export function laidOut(text) {
  const body = text.trim();
  if (!/^[[{]/.test(body) || body.length > 200_000) return text;
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return text;
  }
}

const oneLine = (text, most = 120) => {
  const line = plain(text).slice(0, 600).replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most)}…` : line;
};

function fold(key, summary, body, kind = "") {
  return html`
    <details class="fold ${kind}" data-key="${key}">
      <summary>${summary}</summary>
      <pre tabindex="0" role="group" aria-label="${t("Text")}"><bdi>${body}</bdi></pre>
    </details>`;
}

const ROLES = {
  user: msg("User"), assistant: msg("Agent"), tool_result: msg("Result"), compaction: msg("Compaction"), model_change: msg("Model change"),
  thinking_level_change: msg("Thinking level"), reset: msg("Reset"), leaf: msg("Branch"), custom: msg("Nested tool"), custom_message: msg("Notice"),
};
const TALKING = new Set(["user", "assistant"]);

function entryKind(entry) {
  if (entry.kind in ROLES) return { name: t(ROLES[entry.kind]), mark: TALKING.has(entry.kind) ? entry.kind : entry.kind === "tool_result" ? "tool" : "event" };
  return { name: entry.kind || UNKNOWN, mark: "event" };
}

function EntryFacts(entry) {
  const facts = [];
  if (entry.tool_name) facts.push(html`<code class="mono"><bdi>${entry.tool_name}</bdi></code>`);
  if (entry.model && entry.kind === "assistant") facts.push(bdi(entry.model));
  if (entry.usage) {
    const all = ["input", "output", "cacheRead", "cacheWrite"].map((name) => entry.usage[name] ?? 0);
    const words = t("{input} in, {output} out, {read} read from cache, {written} written to cache", {
      input: formatCount(all[0]), output: formatCount(all[1]), read: formatCount(all[2]), written: formatCount(all[3]),
    });
    facts.push(html`<span title="${words}">${t("{tokens} tokens", { tokens: formatTokens(sum(all)) })}</span>`);
  }
  if (entry.cost_nano_usd !== null) facts.push(money(entry.cost_nano_usd));
  if (entry.duration_ms !== null) facts.push(formatDuration(entry.duration_ms));
  if (entry.stop_reason && !["stop", "toolUse"].includes(entry.stop_reason)) facts.push(html`<span class="mark">${bdi(entry.stop_reason)}</span>`);
  return facts.map((fact, i) => html`${i ? " · " : null}${fact}`);
}

/** The time of day, with the date where another day begins. */
function whenSaid(entry, before, state) {
  const zone = zoneOf(state);
  if (entry.ts_ms === null) return UNKNOWN;
  const day = dayIn(entry.ts_ms, zone);
  const isNew = !before?.ts_ms || dayIn(before.ts_ms, zone) !== day;
  return isNew ? `${formatDay(day)} ${formatClock(entry.ts_ms, zone)}` : formatClock(entry.ts_ms, zone);
}

export function Entry(given, state, before = null) {
  const entry = state.whole?.[`${idOf(state)} ${given.id} ${given.ts_ms}`] ?? given;
  const { name, mark } = entryKind(entry);
  const { find, at } = state.route;
  const isFolded = mark !== "user" && mark !== "assistant";
  const text = entry.text ?? "";
  const isLong = isFolded && (text.length > 200 || text.includes("\n"));
  const body = isLong ? laidOut(text) : text;
  return html`
    <article class="entry is-${mark} ${entry.is_error ? "is-failed" : ""} ${at === given.n ? "is-at" : ""}" data-key="n${given.n}" data-row="${given.n}"
      tabindex="-1" aria-label="${t("Entry {n}, {kind}", { n: formatCount(given.n + 1), kind: name })}">
      <header>
        <a class="entry-n" href="${hrefTo(state, "session", [idOf(state)], entryParams(state, { at: given.n }))}" title="${t("Link to this entry")}" tabindex="-1">${formatCount(given.n + 1)}</a>
        <b>${name}</b>
        ${entry.is_error ? html`<span class="mark is-bad">${t("error")}</span>` : null}
        <span class="entry-facts">${EntryFacts(entry)}</span>
        <span class="entry-when" title="${formatAbsolute(entry.ts_ms, zoneOf(state))}">${whenSaid(entry, before, state)}</span>
      </header>
      ${entry.thinking.map((one, i) => fold(`thinking-${i}`, html`${t("Thinking")} <span class="note">${tn(one.length, "{n} character", "{n} characters")}</span>`, marked(one, find), "is-thinking"))}
      ${isLong
    ? fold("text", html`<span class="fold-line"><bdi>${marked(oneLine(body), find)}</bdi></span> <span class="note">${tn(text.length, "{n} character", "{n} characters")}</span>`, marked(body, find))
    : text ? html`<bdi class="entry-text">${marked(body, find)}</bdi>` : null}
      ${entry.tool_calls.map((call, i) => {
    const shown = JSON.stringify(call.arguments, null, 2) ?? "";
    return fold(`call-${i}`, html`<code class="mono"><bdi>${call.name}</bdi></code> <span class="fold-line note"><bdi>${marked(oneLine(JSON.stringify(call.arguments) ?? ""), find)}</bdi></span>`, marked(shown, find), "is-call");
  })}
      ${entry.error ? html`<bdi class="entry-text is-bad">${marked(entry.error, find)}</bdi>` : null}
      ${entry.images ? html`<p class="entry-images">${tn(entry.images, "{n} image, not shown", "{n} images, not shown")}</p>` : null}
      ${entry.clipped && entry === given ? html`<p><button type="button" class="link" data-action="whole" data-value="${given.n}">${t("Show all of it")}</button></p>` : null}
    </article>`;
}

/** The address of a place in the transcript: filters and search stay. */
function entryParams({ route }, { at = null, ms = null, kinds = route.kinds } = {}) {
  return [
    ["view", "transcript"], ["kinds", kinds.join(",")], ["find", route.find], ["at", at ?? ""], ["ms", ms ?? ""],
  ];
}

/** What the entries on show belong to: a change of it goes to another place, all else only adds to it. */
const placeOf = ({ route }) => JSON.stringify([route.rest[0], route.kinds, route.at, route.ms]);

export function entriesAsk(state) {
  const { kinds, at, ms } = state.route;
  const params = { limit: ENTRIES, clip: CLIP, ...(kinds.length ? { kinds: kinds.join(",") } : {}) };
  if (state.entryWindow?.place === placeOf(state)) params.offset = state.entryWindow.offset;
  else if (ms !== null) params.at_ms = ms;
  else params.offset = Math.max(0, Math.floor(((at ?? 0) - 20) / ENTRY_STEP) * ENTRY_STEP);
  return { key: askKey("entries", idOf(state)), path: api("transcript", idOf(state)), params };
}

function TranscriptTools(state, data) {
  const { kinds, find } = state.route;
  const last = data ? Math.max(0, data.total - 1) : 0;
  return html`
    <div class="list-tools" data-key="tools">
      <span class="segments" role="group" aria-label="${t("Kinds of entries")}">
        <button type="button" data-action="kind" data-value="" data-key="all" aria-pressed="${kinds.length ? "false" : "true"}">${t("All")}</button>
        ${KINDS.map(([kind, name]) => html`
          <button type="button" data-action="kind" data-value="${kind}" data-key="${kind}" aria-pressed="${kinds.includes(kind) ? "true" : "false"}">${t(name)}</button>`)}
      </span>
      <label class="find" data-shortcut="q" data-help="${t("Find in this transcript")}">
        ${unseen(t("Find in this transcript"))}${icon("search", 14)}
        <input type="search" class="field" data-action="find" value="${find}" placeholder="${t("Find in this transcript")}" autocomplete="off" spellcheck="false" maxlength="200">
      </label>
      <span class="steps">
        <button type="button" class="icon-button" data-action="found" data-value="-1" title="${t("Match before")}" data-shortcut="N" data-help="${t("Match before")}">${icon("left")}${unseen(t("Match before"))}</button>
        <button type="button" class="icon-button" data-action="found" data-value="1" title="${t("Next match")}" data-shortcut="n" data-help="${t("Next match")}">${icon("right")}${unseen(t("Next match"))}</button>
      </span>
      <button type="button" class="button" data-action="error" data-value="1" data-shortcut="e" data-help="${t("Next error")}">${t("Next error")}</button>
      <button type="button" class="unseen" data-action="error" data-value="-1" data-shortcut="E" data-help="${t("Error before")}">${t("Error before")}</button>
      <span class="finding note" role="status">${state.finding ?? ""}</span>
      <span class="list-menus">
        <button type="button" class="link" data-action="edge" data-value="0">${t("Start")}</button>
        <button type="button" class="link" data-action="edge" data-value="${last}" data-shortcut="G" data-help="${t("Latest entry")}">${t("Latest")}</button>
        <button type="button" class="link" data-action="markdown">${t("Copy as Markdown")}</button>
      </span>
    </div>`;
}

function Transcript(state, session) {
  const key = askKey("entries", idOf(state));
  const data = dataOf(state, key);
  const error = state.answers[key]?.error;
  const frame = (note, body) => panel({ key: "transcript", title: t("Transcript"), note, wide: "w12 transcript-panel", state, body });
  if (!data) return frame(null, nothing(error ? t("The transcript could not be read: {why}.", { why: error.message || t("no answer") }) : t("Loading")));
  if (!data.available) {
    return frame(null, html`
      <div class="none">${nothing(t("OpenClaw no longer has this transcript. The ledger keeps its numbers."))}
        <a class="button" href="${hrefTo(state, "session", [session.id])}">${t("Show the timeline")}</a></div>`);
  }
  const { entries, offset, total } = data;
  const note = entries.length
    ? t("entries {first} to {last} of {total}", { first: formatCount(offset + 1), last: formatCount(offset + entries.length), total: formatCount(total) })
    : null;
  return frame(note, html`
    ${TranscriptTools(state, data)}
    ${entries.length ? html`
      <div class="entries" data-entries tabindex="0" role="group" aria-label="${t("Entries")}" data-key="entries">
        ${entries.map((entry, i) => Entry(entry, state, entries[i - 1]))}
      </div>
      ${total > entries.length ? html`
        <label class="scrub">${unseen(t("Place in the transcript"))}
          <input type="range" min="0" max="${total - 1}" step="1" value="${offset}" data-action="scrub" aria-valuetext="${t("Entry {n} of {total}", { n: formatCount(offset + 1), total: formatCount(total) })}"></label>` : null}`
    : html`<div class="none">${nothing(state.route.kinds.length ? t("This transcript has no such entry.") : t("This transcript is empty."))}</div>`}`);
}

/** Entries as Markdown. Fences are longer than any in the text; images do not load where it is pasted. */
export function toMarkdown(session, entries, zone) {
  const fence = (text, language) => {
    const longest = Math.max(2, ...[...text.matchAll(/`{3,}/g)].map(([run]) => run.length));
    const marks = "`".repeat(longest + 1);
    return `${marks}${language}\n${text}\n${marks}`;
  };
  const harmless = (text) => plain(text).replace(/!\[/g, "!\\[").replace(/</g, "&lt;");
  const parts = [`# ${harmless(sessionName(session)).replace(/\s+/g, " ")}`, `${session.agent} · ${session.id} · ${formatMoney(session.cost_nano_usd)}`];
  for (const entry of entries) {
    const { name } = entryKind(entry);
    const facts = [entry.tool_name, entry.kind === "assistant" ? entry.model : null, entry.is_error ? t("error") : null].filter(Boolean).map((fact) => harmless(fact));
    parts.push(`## ${entry.n + 1}. ${name}${facts.length ? ` (${facts.join(", ")})` : ""}, ${formatAbsolute(entry.ts_ms, zone)}`);
    for (const one of entry.thinking) parts.push(`> ${harmless(one).replace(/\n/g, "\n> ")}`);
    if (entry.text) parts.push(TALKING.has(entry.kind) ? harmless(entry.text) : fence(plain(laidOut(entry.text)), ""));
    for (const call of entry.tool_calls) parts.push(`**${harmless(call.name)}**\n\n${fence(JSON.stringify(call.arguments, null, 2) ?? "", "json")}`);
    if (entry.error) parts.push(fence(plain(entry.error), ""));
    if (entry.images) parts.push(tn(entry.images, "{n} image, not shown", "{n} images, not shown"));
  }
  return `${parts.join("\n\n")}\n`;
}

// Two sessions side by side

const COMPARED = [
  [msg("Cost"), (one) => one.cost_nano_usd, "money"], [msg("With sub-agents"), (one) => one.tree_cost_nano_usd, "money"],
  [msg("Plan use, its worth"), (one) => one.plan_cost_nano_usd, "money"], [msg("Cost a call"), (one) => (one.model_calls ? Math.round(one.cost_nano_usd / one.model_calls) : null), "money"],
  [msg("Model calls"), (one) => one.model_calls, "count"], [msg("Unpriced calls"), (one) => one.unpriced_calls, "count"],
  [msg("Turns"), (one) => one.user_messages, "count"], [msg("Tokens"), (one) => one.total_tokens, "tokens"],
  [msg("Input tokens"), (one) => one.input_tokens, "tokens"], [msg("Output tokens"), (one) => one.output_tokens, "tokens"],
  [msg("Read from cache"), (one) => one.cache_read_tokens, "tokens"], [msg("Written to cache"), (one) => one.cache_write_tokens, "tokens"],
  [msg("Cache rate"), cacheRate, "percent"], [msg("Tool calls"), (one) => one.tool_calls, "count"], [msg("Tool errors"), (one) => one.tool_errors, "count"],
  [msg("Failed calls"), (one) => one.model_errors, "count"], [msg("Compactions"), (one) => one.compactions, "count"],
  [msg("Sub-agents"), (one) => one.subagents.length, "count"], [msg("Lasted"), (one) => one.duration_ms, "duration"],
];
const WRITE = {
  money: (value) => html`<span title="${formatExactMoney(value)}">${formatMoney(value)}</span>`, count: formatCount, tokens: (value) => tokens(value),
  percent: (value) => formatPercent(value, 1), duration: formatDuration,
};

/** b against a: {mark, word, text}; nothing to say where one is not known or there is no difference. */
export function difference(a, b, form) {
  if (a === null || b === null || a === undefined || b === undefined) return { mark: "", text: UNKNOWN };
  if (a === b) return { mark: "", text: "=" };
  const mark = b > a ? "▲" : "▼";
  if (form === "percent") return { mark, text: t("{n} points", { n: formatPercent(Math.abs(b - a), 1).replace(/\s*%$/, "") }) };
  if (!a) return { mark, text: t("from nothing") };
  const share = b / a;
  return { mark, text: share >= 10 ? `×${formatCount(share)}` : formatPercent(Math.abs(share - 1)) };
}

/** The cost of both sessions turn by turn, in one picture. */
export function Race(sides, width, height = 160) {
  const lines = sides.map((turns) => [0, ...cumulative(turns.turns, turns.skipped_totals.cost_nano_usd)]);
  const most = Math.max(1, ...lines.map((line) => line[line.length - 1]));
  const count = Math.max(1, ...lines.map((line) => line.length - 1));
  const axis = moneyAxis(most);
  const left = 56;
  const x = (i) => round(left + (i / count) * (width - left - 8));
  const y = (nano) => round(height - 20 - (nano / axis.top) * (height - 30));
  return html`
    <svg class="plot" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${t("Cost of both sessions, turn by turn")}">
      ${axis.ticks.map(({ nano, text }) => html`
        <line class="${nano ? "rule" : "base"}" x1="${left}" x2="${width - 8}" y1="${y(nano)}" y2="${y(nano)}"/>
        <text class="tick" x="${left - 8}" y="${y(nano) + 4}" text-anchor="end">${text}</text>`)}
      ${lines.map((line, side) => {
    const every = Math.max(1, Math.floor(line.length / 400));
    const points = line.map((nano, i) => [i, nano]).filter(([i]) => i % every === 0 || i === line.length - 1);
    return html`<path class="race-line is-${side ? "b" : "a"}" d="${points.map(([i, nano], at) => `${at ? "L" : "M"}${x(i)} ${y(nano)}`).join("")}"/>`;
  })}
      <text class="tick" x="${width - 8}" y="${height - 4}" text-anchor="end">${tn(count, "{n} turn", "{n} turns")}</text>
    </svg>`;
}

function Compared(state) {
  const ids = [idOf(state), state.route.with];
  const sides = ids.map((id) => sessionOf(state, id));
  const missing = ids.find((id, i) => !sides[i] && state.answers[askKey("session", id)]?.error);
  if (missing) return Missing(state, missing, state.answers[askKey("session", missing)].error);
  if (!sides[0] || !sides[1]) return html`<div class="grid" data-key="compare">${panel({ key: "compared", title: t("Compare"), wide: "w12", state, body: nothing(t("Loading")) })}</div>`;
  const name = (one, side) => html`
    <th scope="col" class="num compared-name">
      <span class="race-key is-${side}" aria-hidden="true"></span>
      <a href="${hrefTo(state, "session", [one.id])}">${bdi(sessionName(one))}</a>
      <span class="note"><bdi>${one.agent}</bdi> · ${when(one.started_ms, state)}</span>
    </th>`;
  const row = ([title, read, form]) => {
    const [a, b] = sides.map(read);
    const { mark, text } = difference(a, b, form);
    return html`
      <tr data-key="${title}">
        <th scope="row">${t(title)}</th><td class="num">${WRITE[form](a)}</td><td class="num">${WRITE[form](b)}</td>
        <td class="num">${mark ? html`<span class="arrow" aria-hidden="true">${mark}</span>${unseen(mark === "▲" ? t("more") : t("less"))} ` : null}${text}</td>
      </tr>`;
  };
  const words = (title, read) => html`
    <tr data-key="${title}"><th scope="row">${title}</th>${sides.map((one) => html`<td class="num compared-text">${bdi(read(one) || UNKNOWN)}</td>`)}<td></td></tr>`;
  const races = ids.map((id) => turnsOf(state, id));
  return html`
    <div class="grid" data-key="compare">
      ${panel({
    key: "compared", wide: "w12", state, title: t("Compare"), isSum: true,
    tools: html`<a class="link" href="${hrefTo(state, "session", [ids[1]], [["with", ids[0]]])}">${t("Swap")}</a> <a class="link" href="${hrefTo(state, "sessions")}" data-page="sessions">${t("All sessions")}</a>`,
    body: html`
          <div data-measure="race" data-key="race">${races[0] && races[1] ? Race(races, widthOf(state, "race")) : null}</div>
          ${scrollingTable({
      label: t("Both sessions, table"), kind: "compared",
      heads: html`${head(unseen(t("What")))}${name(sides[0], "a")}${name(sides[1], "b")}${head(t("Difference"), "num")}`,
      rows: html`
              ${words(t("State"), (one) => t(STATE_WORDS[one.state] ?? STATE_WORDS.ended))}${words(t("Channel"), (one) => one.channel)}${words(t("Cause"), (one) => one.cause)}
              ${words(t("Models"), (one) => one.models.map((model) => model.model).join(", "))}${COMPARED.map(row)}`,
    })}`,
  })}
    </div>`;
}

// The page

function Missing(state, id, error) {
  const isUnknown = error?.status === 404;
  return html`
    <section class="panel empty" data-key="missing" role="alert">
      <h2>${isUnknown ? t("There is no such session") : t("This session could not be read")}</h2>
      <p>${isUnknown ? t("The ledger has no session with this id or key.") : error?.message}</p>
      <p><code class="mono"><bdi>${id.slice(0, 200)}</bdi></code></p>
      <p><a class="button" href="${hrefTo(state, "sessions")}" data-page="sessions">${t("All sessions")}</a></p>
    </section>`;
}

export function Session(state) {
  const id = idOf(state);
  if (state.route.with) return Compared(state);
  const session = sessionOf(state);
  const error = state.answers[askKey("session", id)]?.error;
  if (!session) return error || !id ? Missing(state, id, error ?? { status: 404 }) : html``;
  return html`
    <div class="grid session-page ${state.route.view ? "is-filling" : ""}" data-key="session ${id}">
      ${Head(state, session)}
      ${state.route.view === "transcript" ? Transcript(state, session) : Timeline(state, session)}
    </div>`;
}

const whole = (text, most = 1e15) => (/^\d{1,15}$/.test(text ?? "") && Number(text) <= most ? Number(text) : null);

// Place and search in the transcript: what is in sight is the browser's to know.

const list = () => document.querySelector("[data-entries]");
let placed = "";     // the place that was scrolled to
let anchor = null;   // {key, top}: the first entry in sight, and where it stands
let isAtEnd = false;
let search = 0;      // number of the search under way
let typing = 0;

function noteAnchor(entries) {
  const top = entries.getBoundingClientRect().top;
  isAtEnd = entries.scrollTop + entries.clientHeight >= entries.scrollHeight - 8;
  for (const one of entries.children) {
    const box = one.getBoundingClientRect();
    if (box.bottom > top) {
      anchor = { key: one.dataset.key, n: Number(one.dataset.row), top: box.top - top };
      return;
    }
  }
}

/** Keep what is in sight where it is while entries come and go above it. */
function keepAnchor(entries) {
  const found = anchor && [...entries.children].find((one) => one.dataset.key === anchor.key);
  if (!found) return;
  const moved = found.getBoundingClientRect().top - entries.getBoundingClientRect().top - anchor.top;
  if (Math.abs(moved) > 0.5) entries.scrollTop += moved;
}

function onScroll(entries, context) {
  noteAnchor(entries);
  const { state, dispatch } = context;
  const data = dataOf(state, askKey("entries", idOf(state)));
  const asked = entriesAsk(state).params;
  if (!data || (asked.offset ?? data.offset) !== data.offset) return; // a part is on its way already
  const near = Math.max(600, entries.clientHeight);
  const isLow = entries.scrollTop + entries.clientHeight > entries.scrollHeight - near && data.offset + data.entries.length < data.total;
  const isHigh = entries.scrollTop < near && data.offset > 0;
  if (!isLow && !isHigh) return;
  const offset = Math.max(0, data.offset + (isLow ? ENTRY_STEP : -ENTRY_STEP));
  dispatch({ entryWindow: { place: placeOf(state), offset } });
}

const followed = new WeakSet();

function place(context) {
  const entries = list();
  const { state } = context;
  if (!entries) return;
  if (!followed.has(entries)) {
    followed.add(entries);
    placed = "";
    entries.addEventListener("scroll", () => onScroll(entries, context), { passive: true });
  }
  const answer = state.answers[askKey("entries", idOf(state))];
  const here = placeOf(state);
  if (placed !== here) {
    const { params } = entriesAsk(state);
    if (JSON.stringify(answer.askedFor) !== JSON.stringify(params)) return; // the old part is still on show
    placed = here;
    const { at, ms } = state.route;
    const goal = at ?? (ms === null ? null : answer.data.offset);
    const row = goal === null ? null : entries.querySelector(`[data-row="${goal}"]`);
    if (row) {
      entries.scrollTop += row.getBoundingClientRect().top - entries.getBoundingClientRect().top - 8;
      if (at !== null && document.activeElement?.nodeName !== "INPUT") row.focus({ preventScroll: true });
    } else entries.scrollTop = 0;
  } else if (isAtEnd && answer.data.offset + answer.data.entries.length >= answer.data.total) entries.scrollTop = entries.scrollHeight;
  else keepAnchor(entries);
  noteAnchor(entries);
  onScroll(entries, context);
}

/** The entry that a search goes on from: the one it found last if it is still in sight, else the first in sight. */
function searchFrom(state, step) {
  const { at } = state.route;
  const entries = list();
  const row = at === null ? null : entries?.querySelector(`[data-row="${at}"]`);
  if (row) {
    const box = row.getBoundingClientRect();
    const frame = entries.getBoundingClientRect();
    if (box.bottom > frame.top && box.top < frame.bottom) return at + step;
  }
  return (anchor?.n ?? 0) + (step < 0 ? -1 : 0);
}

async function seek(question, step, context) {
  const { state, dispatch, go, say, read } = context;
  const id = idOf(state);
  const turn = ++search;
  let start = searchFrom(state, step);
  const among = state.route.kinds.join(",");
  try {
    for (;;) {
      if (start < 0) break;
      const found = await read(api("find-entry", id), { ...question, among, start, back: step < 0 ? "1" : "0" });
      if (turn !== search || idOf(context.state) !== id) return;
      if (found.n !== null) {
        dispatch({ finding: "" });
        say(t("Entry {n}", { n: formatCount(found.n + 1) }));
        go({ at: found.n, ms: null }, true);
        if (placed === placeOf(context.state)) list()?.querySelector(`[data-row="${found.n}"]`)?.scrollIntoView({ block: "nearest" });
        return;
      }
      if (found.next === null) break;
      start = found.next;
      dispatch({ finding: t("searched up to entry {n} of {total}", { n: formatCount(start + 1), total: formatCount(found.total) }) });
    }
    dispatch({ finding: step < 0 ? t("none before this place") : t("none after this place") });
  } catch (fault) {
    if (turn === search) dispatch({ finding: t("The search failed: {why}", { why: fault.message || t("no answer") }) });
  }
}

async function copyMarkdown(context) {
  const { state, dispatch, read, say } = context;
  const id = idOf(state);
  const session = sessionOf(state);
  const kinds = state.route.kinds.join(",");
  const entries = [];
  let total = 1;
  try {
    while (entries.length < Math.min(total, MARKDOWN_ENTRIES)) {
      const page = await read(api("transcript", id), { offset: entries.length, limit: 500, kinds });
      if (!page.entries.length) break;
      entries.push(...page.entries);
      total = page.total;
      dispatch({ finding: t("read {n} of {total}", { n: formatCount(entries.length), total: formatCount(total) }) });
    }
  } catch (fault) {
    dispatch({ finding: t("The transcript could not be read: {why}.", { why: fault.message || t("no answer") }) });
    return;
  }
  const text = toMarkdown(session, entries, zoneOf(state));
  const counted = tn(entries.length, "{n} entry", "{n} entries");
  try {
    await navigator.clipboard.writeText(text);
    dispatch({ finding: t("{entries} copied", { entries: counted }) });
  } catch {
    // Plain HTTP on a LAN has no clipboard: a file is the next best thing.
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/markdown" }));
    link.download = `session-${id.replace(/[^\w.-]/g, "_").slice(0, 60)}.md`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    dispatch({ finding: t("{entries} saved as a file", { entries: counted }) });
  }
  say(t("Done"));
}

function openTurn(n, { state, go }) {
  go({ turn: state.route.turn === n ? null : n });
}

export const page = {
  styles: "sessions.css",
  parse(params) {
    const kinds = (params.get("kinds") ?? "").split(",").filter((kind, i, all) => KINDS.some(([known]) => known === kind) && all.indexOf(kind) === i);
    return {
      view: params.get("view") === "transcript" ? "transcript" : "",
      turn: whole(params.get("turn"), 1e9), at: whole(params.get("at"), 1e9), ms: whole(params.get("ms")),
      kinds, find: (params.get("find") ?? "").slice(0, 200), with: (params.get("with") ?? "").slice(0, 1000),
    };
  },
  format: ({ view, turn, at, ms, kinds, find, with: other }) => [
    ["view", view ?? ""], ["turn", view ? "" : turn ?? ""], ["kinds", view ? kinds.join(",") : ""], ["find", view ? find : ""],
    ["at", view ? at ?? "" : ""], ["ms", view && (at === null || at === undefined) ? ms ?? "" : ""], ["with", other ?? ""],
  ],
  asks(state) {
    const id = idOf(state);
    if (!id) return [];
    const { route } = state;
    const asked = (one) => ({ key: askKey("session", one), path: api("sessions", one), params: {}, on: ["usage", "session"] });
    const askTurns = (one) => ({ key: askKey("turns", one), path: api("turns", one), params: {}, on: ["usage"] });
    if (route.with) return [asked(id), asked(route.with), askTurns(id), askTurns(route.with)];
    const asks = [asked(id)];
    const session = sessionOf(state);
    if (state.menu === "compare" && session) {
      asks.push({ key: "candidates", path: "/api/session-list", params: { agent: session.agent, q: state.pick ?? "", limit: 12 }, on: [] });
    }
    if (route.view === "transcript") return [...asks, { ...entriesAsk(state), on: session?.state === "ended" ? [] : ["usage"] }];
    asks.push(askTurns(id));
    if (session?.subagents.length) asks.push({ key: askKey("below", id), path: "/api/subagents", params: { session: id, limit: 500 }, on: ["usage"] });
    const turn = turnOf(state);
    if (turn) {
      const until = untilOf(turnsOf(state), turn);
      asks.push({ key: askKey("spans", id), path: "/api/timeline", params: { session: id, since_ms: turn.from_ms, ...(until === null ? {} : { until_ms: until }) }, on: until === null ? ["usage"] : [] });
    }
    return asks;
  },
  view: Session,
  actions: {
    "open-turn": (element, context) => openTurn(Number(element.dataset.value), context),
    "turn-close": (_, { go }) => go({ turn: null }),
    "turn-step": (element, { state, go }) => {
      const data = turnsOf(state);
      const to = state.route.turn + Number(element.dataset.value);
      if (data && to >= data.skipped && to < data.skipped + data.turns.length) go({ turn: to }, true);
    },
    pick: (element, { dispatch }) => dispatch({ pick: element.value.slice(0, 200) }),
    kind: (element, { state, go }) => {
      const kind = element.dataset.value;
      const { kinds } = state.route;
      const next = kind === "" ? [] : kinds.includes(kind) ? kinds.filter((one) => one !== kind) : [...kinds, kind];
      // The same moment in the other list: numbers count only what is on show.
      const data = dataOf(state, askKey("entries", idOf(state)));
      const here = data?.entries.find((entry) => entry.n === anchor?.n);
      go({ kinds: next, at: null, ms: here?.ts_ms ?? null });
    },
    find: (element, context) => {
      clearTimeout(typing);
      const find = element.value.slice(0, 200);
      typing = setTimeout(() => {
        context.go({ find }, true);
        if (find.trim()) seek({ q: find }, 0, context);
        else context.dispatch({ finding: "" });
      }, 250);
    },
    found: (element, context) => {
      const { find } = context.state.route;
      if (find.trim()) seek({ q: find }, Number(element.dataset.value), context);
    },
    error: (element, context) => seek({ kinds: "errors" }, Number(element.dataset.value), context),
    edge: (element, { go }) => go({ at: Number(element.dataset.value), ms: null }, true),
    scrub: (element, { go }) => go({ at: Number(element.value), ms: null }, true),
    whole: async (element, { state, dispatch, read }) => {
      const n = Number(element.dataset.value);
      const id = idOf(state);
      const { kinds } = state.route;
      const { entries } = await read(api("transcript", id), { offset: n, limit: 1, ...(kinds.length ? { kinds: kinds.join(",") } : {}) });
      const [entry] = entries;
      if (entry) dispatch({ whole: { ...state.whole, [`${id} ${entry.id} ${entry.ts_ms}`]: entry } });
    },
    markdown: (_, context) => copyMarkdown(context),
  },
  keys(event, context) {
    const { state, go } = context;
    if (event.key === "Escape") {
      search += 1;
      if (event.target.dataset?.action === "find") go({ find: "" }, true);
      else if (!state.route.view && state.route.turn !== null) go({ turn: null });
      return false;
    }
    const row = event.target.closest?.("tr[data-row]");
    if (row && event.key === "Enter") {
      row.click();
      return true;
    }
    return false;
  },
  painted(context) {
    if (context.state.route.view === "transcript") place(context);
  },
};
"""

# language=JavaScript
COST_JS = r"""// The Cost page: what was spent, grouped and split by any two keys, and what lies behind it: the
// cache, list prices, what prompts are made of, models without a price.

import {
  html, msg, t, tn, UNKNOWN, formatClock, formatCount, formatDay, formatDuration, formatExactMoney, formatMoney, formatMonth,
  formatPercent, formatTokens,
} from "./dom.js";
import { lines, stackedBars, swatch, UNITS } from "./chart.js";
import {
  BY_NAMES, FILTERS, NONE_KEY, OTHER_KEY, addDays, addMonths, askParams, assignColours, bdi, change, cost, dataOf, filterName, head,
  money, nothing, panel, partial, rangeName, scrollingTable, segments, select, sessionLink, sessionName, shareOf, sharePercent, slotOf, sortHead,
  tokens, unseen, when, widthOf, windowedTable, zoneOf,
} from "./views.js";

const DEFAULTS = { by: "day", split: "provider_model", drawn: "bars", shown: "cost", sort: "", order: "desc" };
const BYS = Object.keys(BY_NAMES);
const TIMES = ["hour", "day", "week", "month", "hour_of_week"];
const DRAWN = [["bars", msg("Bars")], ["lines", msg("Lines")]];
/** What the chart measures: the field of a row, and its unit in chart.js. */
const SHOWN = {
  cost: { name: msg("Cost"), field: "cost_nano_usd", unit: "cost" },
  plan: { name: msg("Plan use"), field: "plan_cost_nano_usd", unit: "cost" },
  tokens: { name: msg("Tokens"), field: "total_tokens", unit: "tokens" },
  calls: { name: msg("Calls"), field: "model_calls", unit: "count" },
};
const SERIES = 7;        // parts with a colour of their own; the eighth colour is for the others
const CHART_HEIGHT = 300;
const CACHE_HEIGHT = 180;
const SHOWN_ROWS = 31;   // a month of days
const MOST_ROWS = 500;
const MOST_TIMES = 10_000;
const WINDOWED = 200;    // rows beyond which only those in sight are in the document
const SLOW = { gapMs: 3000 };    // panels that may lag behind a storm of calls,
const SLOWER = { gapMs: 15000 }; // and those that are looked up call by call or session by session
const CHARS_PER_TOKEN = 4;

// The address

const oneOf = (value, choices, otherwise) => (choices.includes(value) ? value : otherwise);

function parse(params) {
  const by = oneOf(params.get("by"), BYS, DEFAULTS.by);
  const split = params.get("split") === "none" ? "" : oneOf(params.get("split"), BYS, by === DEFAULTS.split ? "cause" : DEFAULTS.split);
  return {
    by, split: split === by ? "" : split,
    drawn: oneOf(params.get("as"), ["bars", "lines"], DEFAULTS.drawn),
    shown: oneOf(params.get("show"), Object.keys(SHOWN), DEFAULTS.shown),
    sort: oneOf(params.get("sort"), Object.keys(COLUMNS), DEFAULTS.sort),
    order: oneOf(params.get("order"), ["asc", "desc"], DEFAULTS.order),
  };
}

function format({ by = DEFAULTS.by, split, drawn, shown, sort, order }) {
  const usual = by === DEFAULTS.split ? "cause" : DEFAULTS.split;
  return [
    ["by", by === DEFAULTS.by ? "" : by], ["split", split === usual ? "" : split || "none"],
    ["as", drawn === DEFAULTS.drawn ? "" : drawn], ["show", shown === DEFAULTS.shown ? "" : shown],
    ["sort", sort], ["order", sort && order === "asc" ? "asc" : ""],
  ];
}

function asks(state) {
  const { route } = state;
  const range = askParams(route);
  const compare = route.isCompared ? "before" : "";
  const wanted = [
    {
      key: "usage", path: "/api/usage", on: ["usage"],
      params: {
        ...range, by: route.by, split: route.split, parts: SERIES, compare, limit: TIMES.includes(route.by) ? MOST_TIMES : MOST_ROWS,
      },
    },
    { key: "models", path: "/api/usage", on: ["usage"], params: { ...range, by: "provider_model", split: "cause", limit: 50 }, ...SLOW },
    { key: "week", path: "/api/usage", on: ["usage"], params: { ...range, by: "hour_of_week" }, ...SLOW },
    { key: "cache", path: "/api/cache", on: ["usage"], params: range, ...SLOWER },
    { key: "compared", path: "/api/compared", on: ["usage"], params: range, ...SLOW },
    { key: "composition", path: "/api/composition", on: ["usage", "session"], params: range, ...SLOWER },
    { key: "prices", path: "/api/prices", on: [], params: {} },
  ];
  if (state.sheet?.params) wanted.push({ key: "explain", path: "/api/explain", on: [], params: { ...range, ...state.sheet.params } });
  return wanted;
}

// Keys as people read them

const WEEKDAYS = [msg("Mon"), msg("Tue"), msg("Wed"), msg("Thu"), msg("Fri"), msg("Sat"), msg("Sun")];

function weekStart(key) {
  const [year, week] = key.split("-W").map(Number);
  const fourth = `${year}-01-04`; // is in week 1 by the ISO's rule
  const monday = addDays(fourth, -((new Date(`${fourth}T00:00:00Z`).getUTCDay() + 6) % 7));
  return addDays(monday, (week - 1) * 7);
}

/** The name of a row's key, and where it is a span of time, its first and last day or moment. */
export function keySpan(by, row) {
  const { key } = row;
  if (by === "day") return { key, label: formatDay(key, true), from: key, to: key };
  if (by === "week") {
    const from = weekStart(key);
    return { key, label: t("Week of {day}", { day: formatDay(from, true) }), short: formatDay(from), from, to: addDays(from, 6) };
  }
  if (by === "month") {
    const from = `${key}-01`;
    return { key, label: formatMonth(key), short: key, from, to: addDays(addMonths(from, 1), -1) };
  }
  if (by === "hour") {
    const day = key.slice(0, 10);
    const hour = Number(key.slice(11, 13));
    const to = hour === 23 ? `${addDays(day, 1)}T00:00` : `${day}T${String(hour + 1).padStart(2, "0")}:00`;
    const short = hour === 0 ? formatDay(day) : key.slice(11, 16);
    return { key, label: `${formatDay(day, true)} ${key.slice(11, 16)}`, short, from: key.slice(0, 16), to };
  }
  if (by === "hour_of_week") {
    const label = `${t(WEEKDAYS[Number(key[0]) - 1])} ${key.slice(2)}:00`;
    return { key, label, short: label, from: null, to: null };
  }
  if (key === NONE_KEY) return { key, label: t("none") };
  if (key === OTHER_KEY) return { key, label: t("Other") };
  return { key, label: row.label || key };
}

const filterKindOf = (by) => (by === "provider_model" ? "model" : FILTERS.some(([kind]) => kind === by) ? by : null);

// The chart

/** The series of an answer with their colours: models keep theirs, other keys take theirs by rank. */
function seriesOf(usage, state) {
  const { field } = SHOWN[state.route.shown];
  const at = new Map(usage.rows.map((row, i) => [row.key, i]));
  const empty = () => new Array(at.size).fill(0);
  const parts = usage.split ? usage.parts : [{ ...usage.totals, key: "all", label: t("All") }];
  const isModel = usage.split === "provider_model" || usage.split === "model";
  const { shown: slots } = assignColours(state.palette, isModel ? parts.filter((part) => part.key !== OTHER_KEY).map((part) => part.key) : []);
  // The provider is said only where two have a model of the same name.
  const model = (key) => key.slice(key.indexOf("/") + 1);
  const isAlone = (key) => parts.filter((part) => model(part.key) === model(key)).length === 1;
  const label = (part) => (usage.split === "provider_model" && part.key !== OTHER_KEY && isAlone(part.key) ? model(part.key) : keySpan(usage.split, part).label);
  const series = new Map(parts.map((part, i) => [part.key, {
    key: part.key, label: label(part), total: part[field], values: empty(),
    slot: part.key === OTHER_KEY ? 8 : isModel ? slots.get(part.key) : (i % SERIES) + 1,
  }]));
  for (const row of usage.rows) {
    for (const part of usage.split ? row.parts : [{ ...row, key: "all" }]) series.get(part.key).values[at.get(row.key)] = part[field];
  }
  return [...series.values()].filter((one) => one.total !== 0);
}

/** Join neighbours until no more than `most` spans are left, so that a bar is never thinner than it can be hit. */
export function joinSpans(model, most) {
  const count = model.spans.length;
  if (count <= most) return model;
  const step = Math.ceil(count / most);
  const starts = Array.from({ length: Math.ceil(count / step) }, (_, i) => i * step);
  const sum = (values, i) => values.slice(i, i + step).reduce((a, b) => (b === null ? a : (a ?? 0) + b), null);
  return {
    ...model,
    spans: starts.map((i) => {
      const first = model.spans[i];
      const last = model.spans[Math.min(i + step, count) - 1];
      return { ...first, label: t("{from} to {to}", { from: first.label, to: last.label }), to: last.to };
    }),
    series: model.series.map((one) => ({ ...one, values: starts.map((i) => sum(one.values, i)) })),
    before: model.before && starts.map((i) => sum(model.before, i)),
  };
}

function chartModel(state) {
  const usage = dataOf(state, "usage");
  const { field, unit } = SHOWN[state.route.shown];
  const model = {
    measure: unit,
    unit: usage.by,
    spans: usage.rows.map((row) => keySpan(usage.by, row)),
    series: seriesOf(usage, state),
    // The last hour of today is still to come: that is a gap, and no hour is "so far".
    isLastPartial: !["hour", "hour_of_week"].includes(usage.by) && usage.to_ms > state.now,
    before: usage.before ? usage.rows.map((_, i) => usage.before.rows[i]?.[field] ?? null) : null,
  };
  if (usage.by === "hour") {
    const isToCome = usage.rows.map((row) => Date.parse(row.key) > state.now);
    for (const one of model.series) one.values = one.values.map((value, i) => (isToCome[i] ? null : value));
  }
  const room = (widthOf(state, "cost") - 52) / (state.route.drawn === "bars" ? 4 : 2);
  return joinSpans(model, Math.max(24, Math.floor(room)));
}

/** The hit rate of the cache by day; a day without a prompt is a gap, not a zero. */
function cacheModel(state) {
  const { days } = dataOf(state, "cache");
  const rate = (day) => (day.prompt_tokens ? day.cache_read_tokens / day.prompt_tokens : null);
  return {
    measure: "percent", unit: "day", isLastPartial: days.length > 0 && dataOf(state, "cache").to_ms > state.now,
    spans: days.map((day) => keySpan("day", day)),
    series: [{ key: "hits", label: t("Read from the cache"), slot: 3, values: days.map(rate) }],
  };
}

const isTimed = (usage) => TIMES.includes(usage.by);

function charts(state) {
  const usage = dataOf(state, "usage");
  const found = {};
  if (usage?.rows.length && isTimed(usage)) {
    found.cost = { model: chartModel(state), height: CHART_HEIGHT, filterKind: filterKindOf(usage.split) };
  }
  if (dataOf(state, "cache")?.days.length) found.cache = { model: cacheModel(state), height: CACHE_HEIGHT };
  return found;
}

function chartBox(name, label, drawing) {
  return html`
    <div class="chart" data-chart="${name}" data-measure="${name}" tabindex="0" role="group" aria-roledescription="${t("chart")}"
      aria-label="${label}">
      ${drawing}
      <div class="tip" data-tip data-keep="1" role="status"></div>
    </div>`;
}

function Chart(model, state) {
  const draw = state.route.drawn === "lines" ? lines : stackedBars;
  const label = t("{title}. Arrow keys move, Enter selects, Escape leaves.", { title: t(SHOWN[state.route.shown].name) });
  return chartBox("cost", label, draw(model, widthOf(state, "cost"), CHART_HEIGHT, state.lit));
}

/** Keys that are no time: one bar each, split, longest first. */
function Ranking(usage, state) {
  const { field, unit } = SHOWN[state.route.shown];
  const series = seriesOf(usage, state);
  const rows = usage.rows.map((row, i) => [row, i]).sort(([a], [b]) => b[field] - a[field]).slice(0, 12);
  const most = Math.max(1, ...rows.map(([row]) => row[field]));
  const bar = (row, i) => {
    let left = 0;
    return html`
      <svg class="thin is-thick" viewBox="0 0 1000 12" preserveAspectRatio="none" aria-hidden="true">
        ${series.map((one) => {
          const wide = (one.values[i] / most) * 1000;
          left += wide;
          const kind = state.lit !== null && state.lit !== one.key ? `s${one.slot} is-dim` : `s${one.slot}`;
          return wide > 0 ? html`<rect class="${kind}" x="${(left - wide).toFixed(2)}" y="0" width="${wide.toFixed(2)}" height="12"/>` : null;
        })}
      </svg>`;
  };
  return html`
    <table class="shares ranking">
      <thead class="unseen"><tr>${head(t(BY_NAMES[usage.by]))}<td></td>${head(t(SHOWN[state.route.shown].name))}</tr></thead>
      <tbody>
        ${rows.map(([row, i]) => html`
          <tr data-key="${row.key}">
            <th scope="row" class="name">${nameOf(usage.by, row, state)}</th>
            <td class="bar-cell">${bar(row, i)}</td>
            <td class="num" title="${UNITS[unit].exact(row[field])}">${UNITS[unit].format(row[field])}</td>
          </tr>`)}
      </tbody>
    </table>`;
}

function Legend(usage, state) {
  if (!usage.split) return null;
  const { unit } = SHOWN[state.route.shown];
  const series = seriesOf(usage, state);
  const total = series.reduce((sum, one) => sum + one.total, 0);
  const kind = filterKindOf(usage.split);
  return html`
    <ul class="legend">
      ${series.map((one) => html`
        <li data-key="${one.key}">
          <button type="button" data-action="${kind && one.key !== OTHER_KEY ? "filter" : "light"}" data-kind="${kind ?? ""}"
            data-value="${one.key}" data-light="${one.key}" aria-pressed="${state.lit === one.key ? "true" : "false"}">
            ${swatch(one.slot)}
            <span class="legend-name" title="${one.label}">${bdi(one.label)}</span>
            <span class="num" title="${UNITS[unit].exact(one.total)}">${UNITS[unit].format(one.total)}</span>
            <span class="share">${sharePercent(one.total, total)}</span>
          </button>
        </li>`)}
    </ul>`;
}

// The table, and the files made of it

const perCall = (row) => (row.model_calls ? row.cost_nano_usd / row.model_calls : null);
const perMillion = (row) => (row.total_tokens ? (row.cost_nano_usd / row.total_tokens) * 1e6 : null);

/** Each column: its name, its value in a file and for sorting, and how it looks. */
const COLUMNS = {
  key: { name: null, value: (row) => row.key },
  calls: { name: msg("Calls"), value: (row) => row.model_calls, cell: (row) => formatCount(row.model_calls) },
  input: { name: msg("Input"), value: (row) => row.input_tokens, cell: (row) => tokens(row.input_tokens), kind: "wide" },
  output: { name: msg("Output"), value: (row) => row.output_tokens, cell: (row) => tokens(row.output_tokens), kind: "wide" },
  read: { name: msg("Cache read"), value: (row) => row.cache_read_tokens, cell: (row) => tokens(row.cache_read_tokens), kind: "wide" },
  write: { name: msg("Cache write"), value: (row) => row.cache_write_tokens, cell: (row) => tokens(row.cache_write_tokens), kind: "wide" },
  tokens: { name: msg("All tokens"), value: (row) => row.total_tokens, cell: (row) => tokens(row.total_tokens), kind: "mid" },
  cost: { name: msg("Cost"), isMoney: true, value: (row) => row.cost_nano_usd, cell: (row) => figure("cost", row, cost(row)) },
  plan: {
    name: msg("Plan use"), isMoney: true, value: (row) => row.plan_cost_nano_usd, kind: "wide",
    cell: (row) => figure("plan", row, money(row.plan_cost_nano_usd)), isWanted: (usage) => usage.totals.plan_cost_nano_usd > 0,
  },
  call: { name: msg("Per call"), isMoney: true, value: perCall, cell: (row) => figure("call", row, money(perCall(row))), kind: "mid" },
  million: {
    name: msg("Per million tokens"), isMoney: true, value: perMillion, kind: "wide",
    cell: (row) => figure("million", row, money(perMillion(row))),
  },
  share: { name: msg("Share"), value: (row, usage) => shareOf(row.cost_nano_usd, usage.totals.cost_nano_usd), cell: (row, _, usage) => sharePercent(row.cost_nano_usd, usage.totals.cost_nano_usd, 1) },
  before: {
    name: msg("Before"), isMoney: true, value: (row) => row.before?.cost_nano_usd ?? null, isWanted: (usage) => Boolean(usage.before),
    cell: (row) => (row.before ? money(row.before.cost_nano_usd) : UNKNOWN), kind: "mid",
  },
  change: {
    name: msg("Change"), isWanted: (usage) => Boolean(usage.before),
    value: (row) => (row.before?.cost_nano_usd ? row.cost_nano_usd / row.before.cost_nano_usd - 1 : null),
    cell: (row) => (row.before ? changeText(row, row.before) : UNKNOWN),
  },
};
const columnsOf = (usage) => Object.entries(COLUMNS).filter(([, column]) => !column.isWanted || column.isWanted(usage));

function changeText(now, before) {
  const { mark, word, text } = change(now, before);
  if (!text || text === "nothing") return text ? t("new") : UNKNOWN;
  return html`<span class="arrow" aria-hidden="true">${mark}</span>${unseen(`${word} `)}${text}`;
}

/** Rows of the table: each with its row of the span before, and its place in it. */
export function tableRows(usage, { sort, order }) {
  const isByPlace = isTimed(usage);
  const known = new Map(usage.before?.rows.map((row, i) => [isByPlace ? i : row.key, row]) ?? []);
  const rows = usage.rows.map((row, i) => ({ ...row, before: usage.before ? known.get(isByPlace ? i : row.key) ?? null : null }));
  if (!sort) return rows;
  const { value } = COLUMNS[sort];
  const sign = order === "asc" ? 1 : -1;
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : (a ?? -Infinity) - (b ?? -Infinity));
  return rows.sort((a, b) => sign * compare(value(a, usage), value(b, usage)));
}

function nameOf(by, row, state) {
  const { label } = keySpan(by, row);
  const kind = filterKindOf(by);
  if (kind && row.key !== NONE_KEY) return filterName(kind, row.key, label);
  // A session without a label has its key for one, and that is long.
  return by === "session" ? sessionLink(state, row.key, sessionName({ key: label })) : bdi(label);
}

/** A number that says how it came about when it is pressed. */
function figure(kind, row, shown) {
  return html`
    <button type="button" class="figure-button" data-action="formula" data-figure="${kind}" data-value="${row.key ?? ""}"
      aria-haspopup="dialog">${shown}</button>`;
}

function Table(usage, state) {
  const columns = columnsOf(usage);
  const { sort, order, by } = state.route;
  const rows = tableRows(usage, state.route);
  const isLatest = isTimed(usage) && usage.by !== "hour_of_week" && !sort;
  const shown = state.isAllShown ? rows : isLatest ? rows.slice(-SHOWN_ROWS) : rows.slice(0, SHOWN_ROWS);
  const line = (row, i) => html`
    <tr data-key="${row.key}" aria-rowindex="${i + 2}">
      <th scope="row" class="name" title="${row.key}">${nameOf(usage.by, row, state)}</th>${cells(row)}
    </tr>`;
  const cells = (row) => columns.slice(1).map(([, column]) => html`<td class="num ${column.kind ?? ""}">${column.cell(row, state, usage)}</td>`);
  const parts = {
    label: t("{title}, table", { title: t("Cost") }), kind: "is-long",
    heads: columns.map(([key, column]) => sortHead({
      value: key, name: column.name ? t(column.name) : t(BY_NAMES[by]), sort, order, kind: column.name ? `num ${column.kind ?? ""}` : "",
    })),
    foot: html`<tr><th scope="row">${t("All {n}", { n: formatCount(usage.row_count) })}</th>${cells({ ...usage.totals, key: "", before: usage.before?.totals ?? null })}</tr>`,
  };
  const table = shown.length > WINDOWED
    ? windowedTable({ ...parts, name: "cost", state, columns: columns.length, total: shown.length, row: (i) => line(shown[i], i) })
    : scrollingTable({ ...parts, rows: shown.map(line) });
  const more = rows.length > shown.length || state.isAllShown ? html`
    <p class="more no-print">
      <button type="button" class="link" data-action="show-all">
        ${state.isAllShown ? t("Show fewer") : t("Show all {n}", { n: formatCount(rows.length) })}
      </button>
      ${usage.row_count > rows.length ? t("The first {n} of {all} were asked for.", { n: formatCount(rows.length), all: formatCount(usage.row_count) }) : null}
    </p>` : null;
  return html`${table}${more}`;
}

const dollars = (nano) => (nano === null ? "" : (nano < 0 ? "-" : "") + (BigInt(Math.abs(Math.round(nano))) / 1000000000n).toString()
  + "." + (BigInt(Math.abs(Math.round(nano))) % 1000000000n).toString().padStart(9, "0"));

// A spreadsheet runs what begins with one of these, and names come from anybody.
const quote = (text) => `"${String(text).replace(/^([=+\-@\t\r])/, "'$1").replaceAll('"', '""')}"`;

/** The table as CSV: dollars with all nine decimals. */
export function toCsv(usage, route) {
  const columns = columnsOf(usage);
  const cell = (row, [key, column]) => {
    if (key === "key") return quote(row.key);
    const value = column.value(row, usage);
    return column.isMoney ? dollars(value) : value ?? "";
  };
  const name = ([key, column]) => quote(key === "key" ? usage.by : `${column.name}${column.isMoney ? " (USD)" : ""}`);
  const total = { ...usage.totals, key: "total", before: usage.before?.totals ?? null };
  return [columns.map(name), ...[...tableRows(usage, route), total].map((row) => columns.map((column) => cell(row, column)))]
    .map((line) => line.join(",")).join("\r\n") + "\r\n";
}

/** The same as JSON: nano-dollars, and what was asked. */
export function toJson(usage, route) {
  const columns = columnsOf(usage);
  const object = (row) => Object.fromEntries(columns.map(([key, column]) => [column.isMoney ? `${key}_nano_usd` : key, column.value(row, usage)]));
  return JSON.stringify({
    from_ms: usage.from_ms, to_ms: usage.to_ms, tz: usage.tz, by: usage.by, filters: route.filters,
    rows: tableRows(usage, route).map(object), total: object({ ...usage.totals, key: "total", before: usage.before?.totals ?? null }),
  }, null, 2);
}

function download(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const fileName = (usage, ending) => `clawmeter-${usage.by}-${new Date(usage.from_ms).toISOString().slice(0, 10)}.${ending}`;

// Figures

function Figures(state) {
  const { totals, before } = dataOf(state, "usage");
  const all = { ...totals, key: "" };
  const prompt = totals.total_tokens - totals.output_tokens;
  const box = (kind, label, number, notes) => html`
    <section class="figure" data-key="${kind}" aria-labelledby="h-figure-${kind}">
      <header><h2 id="h-figure-${kind}">${label}</h2>${partial(state)}</header>
      <div class="figure-row"><p class="figure-number">${number}</p></div>
      ${notes.filter(Boolean).map((note) => html`<p class="figure-change">${note}</p>`)}
    </section>`;
  const compared = before ? t("{change} from {amount} the span before", {
    change: html`<b>${changeText(totals, before.totals)}</b>`, amount: money(before.totals.cost_nano_usd),
  }) : null;
  return html`
    <div class="figures" data-key="figures">
      ${box("metered", t("Metered cost"), figure("cost", all, cost(totals, true)), [compared, rangeName(state.route.range)])}
      ${box("plan", t("Plan use"), figure("plan", all, money(totals.plan_cost_nano_usd)), [t("what it would cost by the call; never in the sums")])}
      ${box("call", t("Per call"), figure("call", all, money(perCall(totals))), [tn(totals.model_calls, "{n} call", "{n} calls")])}
      ${box("million", t("Per million tokens"), figure("million", all, money(perMillion(totals))), [
        t("{prompt} in, {output} out", { prompt: formatTokens(prompt), output: formatTokens(totals.output_tokens) }),
      ])}
    </div>`;
}

// Panels

const answerOr = (state, key, draw) => {
  const { data, error } = state.answers[key] ?? {};
  if (data) return draw(data);
  if (!error) return nothing(t("Loading"));
  return nothing(html`
    ${t("This could not be read: {why}.", { why: error.message || t("no answer") })}
    <button type="button" class="link" data-action="retry">${t("Try again")}</button>`);
};

function Main(state) {
  const usage = dataOf(state, "usage");
  const { by, split, drawn, shown } = state.route;
  const names = BYS.map((key) => [key, t(BY_NAMES[key]).toLowerCase()]);
  const tools = html`
    ${select({ action: "by", label: t("Group by"), options: names.map(([key, name]) => [key, t("by {key}", { key: name })]), chosen: by, shortcut: "b", help: t("Choose the group"), kind: "is-small" })}
    ${select({
      action: "split", label: t("Split by"), chosen: split, shortcut: "s", help: t("Choose the split"), kind: "is-small",
      options: [["", t("not split")], ...names.filter(([key]) => key !== by).map(([key, name]) => [key, t("split by {key}", { key: name })])],
    })}
    ${segments({ action: "show", label: t("What is shown"), choices: Object.entries(SHOWN).map(([key, { name }]) => [key, t(name)]), chosen: shown })}
    ${TIMES.includes(by) ? segments({ action: "drawn", label: t("How it is drawn"), choices: DRAWN.map(([key, name]) => [key, t(name)]), chosen: drawn }) : null}`;
  const isBack = state.route.range.includes("..");
  const chart = isTimed(usage) ? Chart(charts(state).cost?.model ?? chartModel(state), state) : Ranking(usage, state);
  const hasCalls = usage.totals.model_calls > 0;
  const hasAny = usage.rows.some((row) => row[SHOWN[shown].field]);
  return panel({
    key: "cost", title: t(SHOWN[shown].name), wide: "w12", state, isRanged: true,
    note: html`${rangeName(state.route.range)}${isBack ? html` <button type="button" class="link" data-action="range-reset">${t("Back to {range}", { range: rangeName("30d") })}</button>` : null}`,
    tools,
    body: html`
      ${hasAny ? html`${chart}${Legend(usage, state)}` : hasCalls ? nothing(t("Nothing of this in this range.")) : null}
      <div class="table-head">
        <h3>${t("Table")}</h3>
        <span class="tools">
          <button type="button" class="link" data-action="csv">CSV</button>
          <button type="button" class="link" data-action="json">JSON</button>
          <button type="button" class="link" data-action="print">${t("Print")}</button>
        </span>
      </div>
      ${hasCalls ? Table(usage, state) : nothing(t("No model calls in this range."))}`,
  });
}

/** Five steps of one hue; the first is for what is there at all. */
export function heatStep(value, most) {
  if (!value) return 0;
  return Math.min(5, 1 + Math.floor((value / most) * 4.999));
}

function Week(state) {
  const { field, unit, name } = SHOWN[state.route.shown];
  const body = (usage) => {
    const most = Math.max(1, ...usage.rows.map((row) => row[field]));
    const hours = Array.from({ length: 24 }, (_, hour) => hour);
    const cell = (row) => {
      const step = heatStep(row[field], most);
      const words = `${keySpan("hour_of_week", row).label}: ${UNITS[unit].format(row[field])}`;
      return html`<td class="h${step}" title="${words}">${unseen(UNITS[unit].format(row[field]))}</td>`;
    };
    const total = (rows) => rows.reduce((sum, row) => sum + row[field], 0);
    return html`
      <div class="scroll" tabindex="0" role="group" aria-label="${t("{title}, table", { title: t("Hours of the week") })}">
        <table class="heat">
          <thead><tr><td></td>${hours.map((hour) => html`<th scope="col">${hour % 3 ? unseen(`${hour}`) : String(hour).padStart(2, "0")}</th>`)}<td></td></tr></thead>
          <tbody>
            ${WEEKDAYS.map((day, i) => {
              const rows = usage.rows.slice(i * 24, i * 24 + 24);
              return html`<tr><th scope="row">${t(day)}</th>${rows.map(cell)}<td class="num">${UNITS[unit].format(total(rows))}</td></tr>`;
            })}
          </tbody>
        </table>
      </div>
      <p class="heat-key"><span>0</span>${[0, 1, 2, 3, 4, 5].map((step) => html`<i class="h${step}"></i>`)}<span>${UNITS[unit].format(most)}</span></p>`;
  };
  return panel({
    key: "week", title: t("Hours of the week"), note: `${t(name)}, ${zoneOf(state)}`, wide: "w8", state, isRanged: true,
    body: answerOr(state, "week", body),
  });
}

function Compared(state) {
  const body = (data) => {
    if (!data.rows.length) return nothing(t("No call in this range has both a recorded cost and a list price."));
    const percent = (value) => (value === null ? UNKNOWN : `${value > 0 ? "+" : ""}${formatPercent(value / 100, 1)}`);
    const line = (row) => html`
      <td class="num">${money(row.recorded_nano_usd)}</td><td class="num">${money(row.list_nano_usd)}</td>
      <td class="num">${percent(row.list_differs_percent)}</td>`;
    return html`
      ${scrollingTable({
        label: t("{title}, table", { title: t("Recorded against list") }),
        heads: html`${head(t("Model"))}${head(t("Recorded"), "num")}${head(t("By list"), "num")}${head(t("Differs"), "num")}`,
        rows: data.rows.slice(0, 8).map((row) => html`<tr data-key="${row.key}"><th scope="row" class="name">${filterName("model", row.key, row.label)}</th>${line(row)}</tr>`),
        foot: html`<tr><th scope="row">${t("Both known")}</th>${line(data)}</tr>`,
      })}
      <p class="more">${t("Only calls that have both. The recorded cost counts; the list is a check.")}</p>`;
  };
  return panel({ key: "compared", title: t("Recorded against list"), wide: "w4", state, isRanged: true, body: answerOr(state, "compared", body) });
}

const REASONS = {
  compacted: msg("the context was compacted"), model: msg("another model"), expired: msg("after {gap}"), changed: msg("the prompt changed"),
};

function Cache(state) {
  const body = (data) => {
    const { totals } = data;
    if (!totals.prompt_tokens) return nothing(t("No model calls in this range."));
    const net = totals.saved_nano_usd === null ? null : totals.saved_nano_usd - totals.write_extra_nano_usd;
    const item = (kind, name, shown) => html`<div data-key="${kind}"><dt>${name}</dt><dd>${shown}</dd></div>`;
    const cacheFigure = (kind, nano) => html`
      <button type="button" class="figure-button" data-action="cache-formula" data-figure="${kind}">${money(nano)}</button>`;
    const model = cacheModel(state);
    const line = (row) => html`
      <tr data-key="${row.key}">
        <th scope="row" class="name">${filterName("model", row.key, row.label)}</th>
        <td class="num">${sharePercent(row.cache_read_tokens, row.prompt_tokens)}</td>
        <td class="num wide">${tokens(row.cache_read_tokens)}</td><td class="num wide">${tokens(row.cache_write_tokens)}</td>
        <td class="num">${row.saved_nano_usd === null ? UNKNOWN : money(row.saved_nano_usd)}</td>
        <td class="num mid">${row.write_cost_nano_usd === null ? UNKNOWN : money(row.write_cost_nano_usd)}</td>
      </tr>`;
    const broke = (one) => html`
      <li data-key="${one.ts_ms}-${one.session}">
        <span class="activity-text" title="${one.label ?? one.session}">
          ${nameOf("session", { key: one.session, label: one.label ?? one.session }, state)}
        </span>
        <span class="note">${t(REASONS[one.reason], { gap: formatDuration(one.gap_ms) })}</span>
        <span class="num" title="${tn(one.lost_tokens, "{n} token", "{n} tokens")}">−${formatTokens(one.lost_tokens)}</span>
        ${when(one.ts_ms, state)}
      </li>`;
    return html`
      <dl class="facts">
        ${item("rate", t("Read from the cache"), html`<b>${sharePercent(totals.cache_read_tokens, totals.prompt_tokens, 1)}</b>`)}
        ${item("saved", t("Saved by reads"), totals.saved_nano_usd === null ? UNKNOWN : cacheFigure("saved", totals.saved_nano_usd))}
        ${item("writes", t("Cost of writes"), totals.write_cost_nano_usd === null ? UNKNOWN : cacheFigure("writes", totals.write_cost_nano_usd))}
        ${item("net", t("Net gain"), net === null ? UNKNOWN : cacheFigure("net", net))}
      </dl>
      <div class="halves">
        <div>
          <h3>${t("Share of the prompt read from the cache, by day")}</h3>
          ${chartBox("cache", t("{title}. Arrow keys move, Enter selects, Escape leaves.", { title: t("Cache") }), lines(model, widthOf(state, "cache"), CACHE_HEIGHT))}
        </div>
        <div>
          <h3>${t("Where it broke")}</h3>
          ${data.breaks.length ? html`<ol class="activity">${data.breaks.slice(0, 6).map(broke)}</ol>` : nothing(t("No call lost half of what the call before it had in the cache."))}
        </div>
      </div>
      ${scrollingTable({
        label: t("{title}, table", { title: t("Cache") }),
        heads: html`${head(t("Model"))}${head(t("Hit rate"), "num")}${head(t("Read"), "num wide")}${head(t("Written"), "num wide")}
          ${head(t("Saved"), "num")}${head(t("Cost of writes"), "num mid")}`,
        rows: data.rows.slice(0, 10).map(line),
      })}`;
  };
  return panel({ key: "cache", title: t("Cache"), wide: "w12", state, isRanged: true, body: answerOr(state, "cache", body) });
}

function Models(state) {
  const cells = (row, total) => html`
    <td class="num">${formatCount(row.model_calls)}</td>
    <td class="num">${cost(row)}</td>
    <td class="num">${money(perCall(row))}</td>
    <td class="num mid">${money(perMillion(row))}</td>
    <td class="num wide">${row.model_calls ? formatTokens(row.output_tokens / row.model_calls) : UNKNOWN}</td>
    <td class="num wide">${sharePercent(row.cache_read_tokens, row.total_tokens - row.output_tokens)}</td>
    <td class="num share wide">${sharePercent(row.cost_nano_usd, total, 1)}</td>`;
  const body = (usage) => {
    const total = usage.totals.cost_nano_usd;
    return scrollingTable({
      label: t("{title}, table", { title: t("Models compared") }),
      heads: html`${head(t("Model, and what for"))}${head(t("Calls"), "num")}${head(t("Cost"), "num")}${head(t("Per call"), "num")}
        ${head(t("Per million tokens"), "num mid")}${head(t("Output per call"), "num wide")}${head(t("Cached"), "num wide")}${head(t("Share"), "num wide")}`,
      rows: usage.rows.slice(0, 12).flatMap((row) => [
        html`<tr data-key="${row.key}"><th scope="row" class="name">${swatch(slotOf(state.palette, row.key))} ${filterName("model", row.key, row.label)}</th>${cells(row, total)}</tr>`,
        ...(row.parts.length > 1 ? row.parts : []).map((part) => html`
          <tr class="is-part" data-key="${row.key}-${part.key}"><th scope="row" class="name depth-2">${filterName("cause", part.key, part.label)}</th>${cells(part, total)}</tr>`),
      ]),
    });
  };
  return panel({ key: "models", title: t("Models compared"), wide: "w12", state, isRanged: true, body: answerOr(state, "models", body) });
}

const PROMPT_PARTS = [
  ["system_chars", msg("System prompt"), 1], ["files_chars", msg("Memory files"), 2], ["tools_chars", msg("Tools"), 3], ["skills_chars", msg("Skills"), 5],
];

/** Tokens of each part of a prompt: characters by four where OpenClaw measured them; what is left is history and the user's words. */
export function promptParts(sizes, calls = 1) {
  const fixed = PROMPT_PARTS.map(([key, name, slot]) => ({ key, name, slot, chars: sizes[key], tokens: sizes[key] / CHARS_PER_TOKEN }));
  const known = fixed.reduce((sum, part) => sum + part.tokens, 0);
  return [
    ...fixed,
    { key: "history", name: msg("History and user"), slot: 8, chars: null, tokens: Math.max(0, sizes.prompt_tokens / calls - known) },
    { key: "output", name: msg("Output"), slot: 4, chars: null, tokens: sizes.output_tokens / calls, isCounted: true },
  ];
}

function promptBar(parts) {
  const total = parts.reduce((sum, part) => sum + part.tokens, 0) || 1;
  let left = 0;
  return html`
    <svg class="thin is-thick" viewBox="0 0 1000 12" preserveAspectRatio="none" aria-hidden="true">
      ${parts.map((part) => {
        const wide = (part.tokens / total) * 1000;
        left += wide;
        return html`<rect class="s${part.slot}" x="${(left - wide).toFixed(2)}" y="0" width="${wide.toFixed(2)}" height="12"/>`;
      })}
    </svg>`;
}

function Composition(state) {
  const body = (data) => {
    if (!data.average) return nothing(t("No session in this range has a report of its prompt; OpenClaw writes one from 2026.4 on."));
    const parts = promptParts(data.average);
    const total = parts.reduce((sum, part) => sum + part.tokens, 0);
    const mark = (part) => (part.isCounted ? t("measured") : part.chars === null ? t("estimated: the rest") : t("{n} characters measured, tokens estimated", { n: formatCount(part.chars) }));
    return html`
      <h3>${t("A call on average")}</h3>
      ${promptBar(parts)}
      <ul class="legend">
        ${parts.map((part) => html`
          <li data-key="${part.key}" class="legend-item" title="${mark(part)}">
            ${swatch(part.slot)}<span class="legend-name">${t(part.name)}</span>
            <span class="num">${part.isCounted ? "" : "≈"}${formatTokens(part.tokens)}</span><span class="share">${sharePercent(part.tokens, total)}</span>
          </li>`)}
      </ul>
      ${scrollingTable({
        label: t("{title}, table", { title: t("What prompts are made of") }),
        heads: html`${head(t("Session"))}${head(unseen(t("As a bar")), "mid")}${head(t("Calls"), "num")}${head(t("Prompt per call"), "num")}${head(t("Largest file"), "mid")}${head(t("Cost"), "num")}`,
        rows: data.rows.slice(0, 8).map((row) => html`
          <tr data-key="${row.session}">
            <th scope="row" class="name" title="${row.session}">${nameOf("session", { key: row.session, label: row.label || row.key || row.session }, state)}</th>
            <td class="bar-cell mid">${promptBar(promptParts(row, row.model_calls))}</td>
            <td class="num">${formatCount(row.model_calls)}</td>
            <td class="num">${formatTokens(row.prompt_tokens / row.model_calls)}</td>
            <td class="mid">${row.files[0] ? html`${bdi(row.files[0][0])} <span class="note">${t("{n} characters", { n: formatTokens(row.files[0][1]) })}</span>` : UNKNOWN}</td>
            <td class="num">${money(row.cost_nano_usd)}</td>
          </tr>`),
      })}`;
  };
  return panel({
    key: "composition", title: t("What prompts are made of"), wide: "w12", state, isRanged: true,
    note: dataOf(state, "composition") ? t("reported by {n} of {all} sessions", {
      n: formatCount(dataOf(state, "composition").measured_sessions), all: formatCount(dataOf(state, "composition").sessions),
    }) : null,
    body: answerOr(state, "composition", body),
  });
}

const PRICE_FIELDS = [["input", msg("Input")], ["output", msg("Output")], ["cache_read", msg("Cache read")], ["cache_write", msg("Cache write")]];

function Prices(state) {
  const models = dataOf(state, "models");
  const unpriced = models?.rows.filter((row) => row.unpriced_calls > 0) ?? [];
  const set = dataOf(state, "prices") ?? [];
  if (!unpriced.length && !set.length) return null;
  const { priceFault = null } = state;
  const form = (row) => html`
    <li data-key="${row.key}">
      <form data-action="price" data-value="${row.key}">
        <p><b>${bdi(row.key)}</b> <span class="note">${tn(row.unpriced_calls, "{n} unpriced call", "{n} unpriced calls")}, ${tn(row.total_tokens, "{n} token", "{n} tokens")}</span></p>
        <div class="price-fields">
          ${PRICE_FIELDS.map(([field, name], i) => html`
            <label>${t(name)}<input class="field" name="${field}" inputmode="decimal" autocomplete="off"${i < 2 ? html` required` : html` placeholder="${t("as input")}"`}></label>`)}
          <button type="submit" class="button">${t("Set the price")}</button>
        </div>
        ${priceFault?.model === row.key ? html`<p class="is-bad" role="alert">${priceFault.message}</p>` : null}
      </form>
    </li>`;
  const known = (price) => html`
    <li data-key="${price.model}" class="price-set">
      <b>${bdi(price.model)}</b>
      <span class="note">${PRICE_FIELDS.filter(([field]) => price[field] !== null).map(([field, name]) => `${t(name)} $${price[field]}`).join(", ")}</span>
      ${price.source === "prices.toml"
        ? html`<button type="button" class="link" data-action="drop-price" data-value="${price.model}">${t("Remove")}</button>`
        : html`<span class="note">${t("in {file}", { file: price.source })}</span>`}
    </li>`;
  return panel({
    key: "prices", title: t("Models without a price"), note: t("in US dollars per million tokens"), wide: "w12 no-print", state,
    body: html`
      ${unpriced.length ? html`<ul class="prices">${unpriced.map(form)}</ul>` : nothing(t("Every model in this range has a price."))}
      ${set.length ? html`<h3>${t("Prices that were set")}</h3><ul class="prices">${set.map(known)}</ul>` : null}`,
  });
}

// How a figure came about

const FORMULAS = {
  cost: { name: msg("Metered cost"), value: (row) => row.cost_nano_usd },
  plan: { name: msg("Plan use"), value: (row) => row.plan_cost_nano_usd },
  call: { name: msg("Per call"), value: perCall },
  million: { name: msg("Per million tokens"), value: perMillion },
};
const BASES = {
  recorded: msg("as OpenClaw recorded it"), override: msg("your price"), config: msg("price in openclaw.json"), list: msg("list price"),
  local: msg("runs on this machine: free"), unpriced: msg("no price known"),
};

/** What narrows an explanation to one row; null where the ledger cannot narrow it that far. */
export function rowParams(by, key) {
  if (!key) return {};
  const kind = filterKindOf(by) ?? (by === "session" ? "session" : null);
  if (kind) return { [kind]: key };
  const { from, to } = keySpan(by, { key });
  return from ? { from, to } : null;
}

const usd = (value) => (value === null ? UNKNOWN : formatMoney(value * 1e9));

function Terms(data, isPlan) {
  const parts = data.parts.filter((part) => (part.billing_mode === "plan") === isPlan);
  const kinds = [["input", msg("input")], ["output", msg("output")], ["cache_read", msg("cache read")], ["cache_write", msg("cache write")]];
  const price = (part) => {
    const [tier] = part.price.tiers;
    return kinds.map(([kind, name]) => `${t(name)} ${usd(tier[kind] / 1e6)}`).join(", ")
      + (part.price.tiers.length > 1 ? t("; another above {n} prompt tokens", { n: formatTokens(part.price.tiers[1].above) }) : "")
      + (part.price_changed ? t("; changed in this span") : "");
  };
  const words = (part) => {
    if (!part.price || part.basis === "local") return "";
    return part.basis === "recorded" ? t("; by list it is {price}", { price: price(part) }) : `: ${price(part)}`;
  };
  const line = (part, i) => html`
    <tr data-key="${i}">
      <th scope="row">${bdi(`${part.provider}/${part.model}`)}<span class="formula-price">${t(BASES[part.basis] ?? part.basis)}${words(part)}</span></th>
      <td class="num">${formatCount(part.model_calls)}</td>
      ${kinds.map(([kind]) => html`<td class="num" title="${part[`${kind}_usd`] === null ? "" : usd(part[`${kind}_usd`])}">${formatTokens(part[`${kind}_tokens`])}</td>`)}
      <td class="num">${part.cost_nano_usd === null ? UNKNOWN : html`<span title="${formatExactMoney(part.cost_nano_usd)}">${formatExactMoney(part.cost_nano_usd)}</span>`}</td>
    </tr>`;
  const total = isPlan ? data.totals.plan_cost_nano_usd : data.totals.cost_nano_usd;
  return scrollingTable({
    label: t("{title}, table", { title: t("Terms") }),
    heads: html`${head(t("Model and price, USD per million tokens"))}${head(t("Calls"), "num")}${PRICE_FIELDS.map(([, name]) => head(t(name), "num"))}${head(t("Cost"), "num")}`,
    rows: parts.map(line),
    foot: html`<tr><th scope="row">${t("Sum")}</th><td class="num">${formatCount(parts.reduce((sum, part) => sum + part.model_calls, 0))}</td>
      ${kinds.map(() => html`<td></td>`)}<td class="num">${formatExactMoney(total)}</td></tr>`,
  });
}

function sheetFrame(title, body) {
  return html`
    <header class="sheet-head"><h2 id="sheet-title">${title}</h2>
      <button type="button" class="link" data-action="sheet-close">${t("Close")}</button></header>
    ${body}`;
}

function sheet(state) {
  const { kind, row, label } = state.sheet;
  if (kind.startsWith("cache-")) return CacheSheet(state, kind.slice(6));
  const { name, value } = FORMULAS[kind];
  const nano = value(row);
  const whole = kind === "plan" ? row.plan_cost_nano_usd : row.cost_nano_usd;
  const division = kind === "call" || kind === "million" ? html`
    <p class="formula">${formatExactMoney(whole)} ÷ ${kind === "call"
      ? tn(row.model_calls, "{n} call", "{n} calls")
      : t("{n} million tokens", { n: formatCount(row.total_tokens / 1e6) === "0" ? (row.total_tokens / 1e6).toPrecision(3) : (row.total_tokens / 1e6).toFixed(6) })} = ${formatExactMoney(nano)}</p>` : null;
  const words = kind === "plan"
    ? t("Calls paid by a plan: what they would have cost by the call, each by the price below. They are in no sum of money spent.")
    : t("The sum over all calls of what OpenClaw recorded; where it recorded nothing, tokens times price, rounded to the nano-dollar for each call.");
  const answer = state.answers.explain;
  const isNow = answer?.data && JSON.stringify(answer.askedFor) === JSON.stringify({ ...askParams(state.route), ...state.sheet.params });
  return sheetFrame(`${t(name)}${label ? `: ${label}` : ""}`, html`
    <p class="figure-number">${money(nano)}</p>
    ${division}
    <p class="note">${words}</p>
    ${state.sheet.params === null
      ? html`<p class="note">${t("A call with several tools is shared between them in equal parts; no single price stands behind this row.")}</p>`
      : isNow ? Terms(answer.data, kind === "plan") : answer?.error && !answer.data ? nothing(answer.error.message) : nothing(t("Loading"))}`);
}

function CacheSheet(state, kind) {
  const { totals, rows } = dataOf(state, "cache");
  const words = {
    saved: t("For each model and day: tokens read from the cache, times what an input token costs more than a cached one."),
    writes: t("For each model and day: tokens written to the cache, times the price of writing one."),
    net: t("What reads saved, less what writes cost above fresh input."),
  };
  const valueOf = {
    saved: (row) => row.saved_nano_usd, writes: (row) => row.write_cost_nano_usd, net: (row) => (row.saved_nano_usd === null ? null : row.saved_nano_usd - row.write_extra_nano_usd),
  }[kind];
  const names = { saved: t("Saved by reads"), writes: t("Cost of writes"), net: t("Net gain") };
  const exact = (row) => (valueOf(row) === null ? UNKNOWN : formatExactMoney(valueOf(row)));
  return sheetFrame(names[kind], html`
    <p class="figure-number">${money(valueOf(totals))}</p>
    <p class="note">${words[kind]}</p>
    ${scrollingTable({
      label: t("{title}, table", { title: t("Terms") }),
      heads: html`${head(t("Model"))}${head(t("Read"), "num")}${head(t("Written"), "num")}${head(names[kind], "num")}`,
      rows: rows.map((row) => html`
        <tr data-key="${row.key}"><th scope="row">${bdi(row.key)}</th><td class="num">${formatCount(row.cache_read_tokens)}</td>
          <td class="num">${formatCount(row.cache_write_tokens)}</td><td class="num">${exact(row)}</td></tr>`),
      foot: html`<tr><th scope="row">${t("Sum")}</th><td class="num">${formatCount(totals.cache_read_tokens)}</td><td class="num">${formatCount(totals.cache_write_tokens)}</td><td class="num">${exact(totals)}</td></tr>`,
    })}`);
}

// The page

function view(state) {
  const zone = zoneOf(state);
  const { filters, range } = state.route;
  const narrowed = FILTERS.filter(([kind]) => filters[kind]).map(([kind, name]) => `${t(name)} ${filters[kind]}`).join(", ");
  return html`
    <div class="grid" data-key="cost">
      <header class="statement" data-key="statement">
        <h2>${t("Clawmeter statement")}</h2>
        <p>${rangeName(range)}, ${zone}${narrowed ? `, ${narrowed}` : ""}. ${t("Made at {time}.", { time: formatClock(state.now, zone) })}</p>
      </header>
      ${Figures(state)}
      ${Main(state)}
      ${Week(state)}
      ${Compared(state)}
      ${Cache(state)}
      ${Models(state)}
      ${Composition(state)}
      ${Prices(state)}
    </div>`;
}

/** "1.5" or "1,5" as a number; null when empty, NaN when it is none. */
function readNumber(text) {
  const tidy = text.trim().replace(",", ".");
  return tidy === "" ? null : Number(tidy);
}

const actions = {
  by: (element, { go, state }) => go({ by: element.value, split: state.route.split === element.value ? "" : state.route.split, sort: "" }),
  split: (element, { go }) => go({ split: element.value }),
  show: (element, { go }) => go({ shown: element.dataset.value }),
  drawn: (element, { go }) => go({ drawn: element.dataset.value }),
  sort: (element, { go, state }) => {
    const { sort, order } = state.route;
    const { value } = element.dataset;
    if (sort === value) go({ order: order === "desc" ? "asc" : "desc" }, true);
    else go({ sort: value, order: value === "key" ? "asc" : "desc" }, true);
  },
  "show-all": (_, { dispatch, state }) => dispatch({ isAllShown: !state.isAllShown }),
  csv: (_, { state }) => download(fileName(dataOf(state, "usage"), "csv"), "text/csv", toCsv(dataOf(state, "usage"), state.route)),
  json: (_, { state }) => download(fileName(dataOf(state, "usage"), "json"), "application/json", toJson(dataOf(state, "usage"), state.route)),
  print: () => globalThis.print(),
  formula: (element, { dispatch, state }) => {
    const usage = dataOf(state, "usage");
    const key = element.dataset.value;
    const found = key ? usage.rows.find((row) => row.key === key) : { ...usage.totals, key: "" };
    if (!found) return;
    const params = rowParams(usage.by, key);
    dispatch({ sheet: { kind: element.dataset.figure, row: found, label: key ? keySpan(usage.by, found).label : "", params } });
  },
  "cache-formula": (element, { dispatch }) => dispatch({ sheet: { kind: `cache-${element.dataset.figure}`, row: null, label: "", params: null } }),
  price: async (form, { dispatch, send, say, refresh }) => {
    const model = form.dataset.value;
    const body = { model };
    for (const [field] of PRICE_FIELDS) {
      const value = readNumber(form.elements[field].value);
      if (value !== null) body[field] = value;
    }
    if (Object.values(body).some((value) => Number.isNaN(value))) {
      dispatch({ priceFault: { model, message: t("A price is a number of US dollars.") } });
      return;
    }
    try {
      const { repriced_calls: calls } = await send("POST", "/api/prices", body);
      dispatch({ priceFault: null });
      say(tn(calls, "{n} call priced anew", "{n} calls priced anew"));
      refresh();
    } catch (fault) {
      dispatch({ priceFault: { model, message: fault.message } });
    }
  },
  "drop-price": async (element, { dispatch, send, refresh }) => {
    try {
      await send("DELETE", `/api/prices/${encodeURIComponent(element.dataset.value)}`);
      refresh();
    } catch (fault) {
      dispatch({ priceFault: { model: element.dataset.value, message: fault.message } });
    }
  },
};

export const page = { parse, format, asks, view, charts, actions, sheet };
"""

# language=JavaScript
ZH_JS = r"""// Chinese, by the English text (dom.js, t()). {names} stay as they are; {1}, {2} stand for the numbers
// in words of the server. Loaded only when Chinese is chosen.

export const messages = {
  // Numbers and time
  "not known": "未知", "now": "刚刚", "{n}\u00a0s ago": "{n}\u00a0秒前", "{n}\u00a0m ago": "{n}\u00a0分钟前", "{n}\u00a0h ago": "{n}\u00a0小时前",
  "Week of {day}": "{day} 起的一周", "{day} so far": "{day} 至今", "{day}, so far": "{day}，至今", ", so far": "，至今",
  "{from} to {to}": "{from} 至 {to}", "Span before": "上一时段", "Today": "今天", "7 days": "7 天", "30 days": "30 天", "90 days": "90 天",
  "365 days": "365 天", "This week": "本周", "This month": "本月", "All time": "全部时间", "{n} days": "{n} 天",
  "Between {low} and {high}, last {last}": "介于 {low} 与 {high} 之间，最近为 {last}", ", budget {limit}": "，预算 {limit}",
  "{spent} so far, {projected} expected, between {low} and {high}": "已用 {spent}，预计 {projected}，介于 {low} 与 {high} 之间",
  "{n} call": "{n} 次调用", "{n} calls": "{n} 次调用", "{n} token": "{n} 个 token", "{n} tokens": "{n} 个 token",
  "{n} unpriced call": "{n} 次未定价调用", "{n} unpriced calls": "{n} 次未定价调用", "unpriced calls": "次未定价调用",
  "no price known": "价格未知", "{calls}, not in this sum": "{calls}，未计入此合计",
  "Mon": "周一", "Tue": "周二", "Wed": "周三", "Thu": "周四", "Fri": "周五", "Sat": "周六", "Sun": "周日",

  // What usage is counted by
  "Agent": "代理", "Model": "模型", "Provider": "提供商", "Channel": "渠道", "Cause": "起因", "Hour": "小时", "Day": "日", "Week": "周", "Month": "月",
  "Provider and model": "提供商与模型", "Session": "会话", "Session key": "会话键", "Cron job": "定时任务", "Tool": "工具", "Hour of the week": "周内小时",

  // Frame
  "Overview": "概览", "Flow": "流程", "Cost": "费用", "Sessions": "会话", "Crons": "定时任务", "Alerts": "告警", "Traces": "追踪", "Fleet": "机群",
  "Health": "健康", "Agents": "代理", "Pages": "页面", "Page": "页面", "More": "更多", "Go to {page}": "前往{page}",
  "Connecting": "连接中", "Live": "实时", "Live again": "已恢复实时", "Every 15 s": "每 15 秒", "Reconnecting": "重新连接中",
  ", last update": "，上次更新", "Last update {time}": "上次更新 {time}",
  "indexed {n}\u00a0%": "已索引 {n}\u00a0%", "{indexed}, {time} left": "{indexed}，剩余 {time}",
  "{n} source could not be read": "{n} 个来源无法读取", "{n} sources could not be read": "{n} 个来源无法读取", "partial": "不完整",
  "{indexed}: this total still grows": "{indexed}：此合计仍在增长", "indexed, this total still grows": "已索引，此合计仍在增长",
  "Range": "时间范围", "Choose the range": "选择时间范围", "compared": "对比", "Last": "最近", "days": "天", "Show": "显示",
  "Compare with the span before": "与上一时段对比", "Month before": "上个月", "Month after": "下个月",
  "From {day}: choose the last day": "自 {day} 起：请选择最后一天", "Choose the first day, then the last": "先选第一天，再选最后一天",
  "Time zone": "时区", "Choose the time zone": "选择时区", "{zone} (server)": "{zone}（服务器）", "{zone} (here)": "{zone}（本机）",
  "Server's zone": "服务器时区", "Suggested": "建议", "All zones": "所有时区",
  "Add a filter": "添加筛选", "filter": "筛选", "What to filter by": "按什么筛选", "Find a value": "查找值", "none": "无",
  "Remove this filter": "移除此筛选", "Remove the filter on {kind}": "移除对{kind}的筛选", "Show only {name}": "只看 {name}",
  "Nothing in this range has such a value.": "此范围内没有这样的值。",
  "Settings": "设置", "Theme": "主题", "System": "跟随系统", "Light": "浅色", "Dark": "深色", "Language": "语言", "As the browser": "跟随浏览器",
  "Amounts": "金额", "Hide, for a shared screen": "隐藏，便于共享屏幕", "Amounts are hidden": "金额已隐藏", "Currency": "货币",
  "{currency} for one US dollar": "一美元兑多少 {currency}", "1 USD = {rate} {currency}": "1 USD = {rate} {currency}",
  "Kept in this browser. Amounts are counted in US dollars; a converted one is marked ≈, with the exact dollars under the pointer.":
    "仅保存在此浏览器中。金额以美元计；换算后的金额带有 ≈ 标记，指针悬停可见精确美元数。",
  "Search": "搜索", "Search sessions, agents, models": "搜索会话、代理、模型", "Found": "结果", "Close": "关闭",
  "Nothing has this in its name, key or id.": "没有名称、键或 ID 包含此内容的项。",
  "Shortcuts": "快捷键", "List the shortcuts": "列出快捷键", "Next and previous row of a list": "列表中的下一行与上一行",
  "Move in a focused chart; with Shift, select": "在选中的图表中移动；按住 Shift 可选择", "Open, or show the selected days": "打开，或显示所选日期",
  "Close, or leave the chart": "关闭，或离开图表", "Copy": "复制", "Copied": "已复制", "Loading": "加载中", "Try again": "重试", "no answer": "没有应答",
  "{title}, table": "{title}，表格", "chart": "图表", "Show chart": "显示图表", "Show table": "显示表格", "Back to {range}": "返回{range}",
  "Name": "名称", "Share": "占比", "Total": "合计", "Share as a bar": "占比条", "As a bar": "条形图", "Other": "其他", "All": "全部", "All {n}": "共 {n} 项",
  "{n} other": "其他 {n} 项", "{n} others": "其他 {n} 项", " and {n} more": " 等另外 {n} 个", "and {n} more": "另有 {n} 个",
  "Show all {n}": "显示全部 {n} 项", "Show the first {n}": "显示前 {n} 项", "Show the first {n} of {all}": "显示 {all} 项中的前 {n} 项", "Show fewer": "收起",

  // Overview
  "yesterday by now": "（昨天此时）", "the 7 days before": "（此前 7 天）", "last month by now": "（上月此时）",
  "up": "上升", "down": "下降", "nothing yet, nor {before}": "暂无，{before}也没有", "nothing {before}": "{before}为零",
  "{change} from {amount} {before}": "{change}，对比 {amount}{before}", "{amount} over": "超出 {amount}",
  "{over} the {limit} {budget}": "{over}（{budget} {limit}）", "{share} of {limit} {budget}": "{budget} {limit} 的 {share}",
  "daily budget": "每日预算", "monthly budget": "每月预算", "{over} the monthly budget": "{over}（每月预算）",
  "{amount} under the monthly budget": "低于每月预算 {amount}", "and {amount} worth of plan use": "另有套餐用量，价值 {amount}",
  "At month end": "月末预计", "a projection needs a few days of use": "预测需要几天的使用数据", "between {low} and {high}": "介于 {low} 与 {high} 之间",
  "spent so far, and the mean of the last {1} full days for the {2} days left; the range holds in {3} of {4} months like them":
    "已用金额，加上剩余 {2} 天按最近 {1} 个整日的均值计；{4} 个类似月份中有 {3} 个落在此范围内",
  "needs three full days of use": "需要三个整日的使用数据",
  "Needs attention": "需要关注", "Problem": "问题", "Warning": "警告", "{n} more line": "另有 {n} 条", "{n} more lines": "另有 {n} 条",
  "See health": "查看健康状况", "Set a price": "设置价格",
  "{calls} without a price ({names}): tokens are counted, the cost is not known": "{calls}（{names}）：token 已计入，费用未知",
  "{n} source of OpenClaw cannot be read": "{n} 个 OpenClaw 来源无法读取", "{n} sources of OpenClaw cannot be read": "{n} 个 OpenClaw 来源无法读取",
  "{n} call with impossible numbers is left out of the sums": "{n} 次数值不可能的调用未计入合计",
  "{n} calls with impossible numbers are left out of the sums": "{n} 次数值不可能的调用未计入合计",
  "Cost by day": "每日费用", "Cost by week": "每周费用", "Cost by month": "每月费用",
  "{title}, stacked by model. Arrow keys move, Enter selects, Escape leaves.": "{title}，按模型堆叠。方向键移动，回车选择，Esc 离开。",
  "No metered cost in this range.": "此范围内没有按量费用。", "Nothing in this range.": "此范围内没有内容。", "By cause": "按起因", "By agent": "按代理",
  "Now": "现在", "Nothing is running.": "没有正在运行的会话。", "Last activity {time}.": "最近活动：{time}。", "Live sessions": "活动会话",
  "State": "状态", "Running": "运行中", "Idle": "空闲", "Ended": "已结束", "{state}, inferred from its last entry": "{state}，由其最后一条记录推断",
  "{n} session running": "{n} 个会话运行中", "{n} sessions running": "{n} 个会话运行中", ", inferred": "，推断", "sub-agent": "子代理",
  "Context": "上下文", "{n} of {limit} tokens": "{limit} 中的 {n} 个 token", "For": "时长",
  "Dearest sessions": "最贵的会话", "Calls": "调用", "Tokens": "Token", "With sub-agents": "含子代理", "Last active": "最近活动",
  "No session was active in this range.": "此范围内没有活动会话。",
  "Activity": "动态", "Started": "开始", "Failed": "失败", "Compacted": "压缩", "Nothing has happened yet.": "尚无动态。",
  "session started": "会话开始", "context compacted": "上下文已压缩", "the model call failed": "模型调用失败", "the run was aborted": "运行被中止",
  "Breakdown": "明细", "Break down by": "细分依据", "Choose the breakdown": "选择细分依据", "Input tokens": "输入 token", "Output": "输出",
  "Cache read": "缓存读取", "Cache write": "缓存写入", "All tokens": "全部 token", "No model calls in this range.": "此范围内没有模型调用。",
  "The breakdown could not be read: {why}.": "无法读取明细：{why}。",
  "{version} and {n} older": "{version} 与 {n} 个更旧版本", "none found": "未找到", "Sources": "来源", "Gateway": "网关", "not connected": "未连接", "Home": "主目录",
  "{n} file": "{n} 个文件", "{n} files": "{n} 个文件", "{n} database": "{n} 个数据库", "{n} databases": "{n} 个数据库", "Indexed": "已索引",
  "indexed in part": "部分已索引", "{n} unreadable": "{n} 个无法读取", "{n} bad line": "{n} 行损坏", "{n} bad lines": "{n} 行损坏",
  "{n} implausible call": "{n} 次不可信调用", "{n} implausible calls": "{n} 次不可信调用", "{n} session": "{n} 个会话", "{n} sessions": "{n} 个会话",
  "{n} agent": "{n} 个代理", "{n} agents": "{n} 个代理", "Not counted": "未计入", "Lag": "延迟", "Disk": "磁盘", "ledger {size}, {free} free": "账本 {size}，剩余 {free}", "Memory": "内存",

  // States
  "Clawmeter reads {home}{more} and will show the first call within a second of it.": "Clawmeter 正在读取 {home}{more}，首次调用发生后一秒内即会显示。",
  "Name one with {option} or with {variable}.": "请用 {option} 或 {variable} 指定。", "No model calls yet": "尚无模型调用",
  "No OpenClaw home was found": "未找到 OpenClaw 主目录",
  "Here will be what each day cost, by model, agent and cause, where the month will end, what runs now, and the dearest sessions.":
    "这里将显示每天按模型、代理与起因的费用、月末预计、正在运行的内容以及最贵的会话。",
  "See what was looked for, and where": "查看查找了什么、在哪里查找", "Look around with made-up data": "用虚构数据随意看看",
  "Clawmeter does not answer": "Clawmeter 没有应答", "The server is stopped or out of reach.": "服务器已停止或无法访问。",
  "What OpenClaw does meanwhile is not lost, it is read when the server runs again. This page keeps trying.":
    "期间 OpenClaw 的活动不会丢失，服务器恢复后会读取。此页面会持续重试。",
  "This view could not be read": "无法读取此视图", "Another range, zone or filter may work.": "换一个范围、时区或筛选也许可行。",
  "The numbers could not be read": "无法读取数字", "The server said {status}: {message}.": "服务器返回 {status}：{message}。",
  "The server said {status}.": "服务器返回 {status}。",
  "The ledger keeps what it has, and {report} may still answer. {doctor} says what is wrong.": "账本保留已有内容，{report} 或许仍可应答。{doctor} 会说明问题所在。",
  "These are the last numbers.": "以下为最近一次的数字。", "There is no such page yet": "尚无此页面",
  "This page shows what your agents cost, so it needs the dashboard token.": "此页面显示您的代理花费，因此需要仪表板令牌。",
  "Token": "令牌", "Sign in": "登录", "Signing in": "登录中",
  "The token is in the link that {serve} printed. To make another, run {token} on that machine.": "令牌在 {serve} 打印的链接中。要另建一个，请在该机器上运行 {token}。",
  "Clawmeter does not answer. Is it running?": "Clawmeter 没有应答。它在运行吗？", "That token is not valid here.": "该令牌在此无效。",
  "Too many attempts. Wait {n} seconds, then try again.": "尝试次数过多。请等待 {n} 秒后重试。", "Too many attempts. Wait a minute, then try again.": "尝试次数过多。请等待一分钟后重试。",
  "That link is no longer valid. Open the newest one, or paste a token.": "该链接已失效。请打开最新的链接，或粘贴令牌。",

  // Cost
  "Bars": "柱形", "Lines": "折线", "Plan use": "套餐用量", "Metered cost": "按量费用", "Per call": "每次调用", "Per million tokens": "每百万 token",
  "Group by": "分组", "by {key}": "按{key}", "Choose the group": "选择分组", "Split by": "拆分", "Choose the split": "选择拆分", "not split": "不拆分",
  "split by {key}": "按{key}拆分", "What is shown": "显示内容", "How it is drawn": "绘制方式", "Nothing of this in this range.": "此范围内没有该数据。",
  "{title}. Arrow keys move, Enter selects, Escape leaves.": "{title}。方向键移动，回车选择，Esc 离开。",
  "Table": "表格", "Print": "打印", "Input": "输入", "Before": "此前", "Change": "变化", "new": "新增",
  "The first {n} of {all} were asked for.": "仅请求了 {all} 项中的前 {n} 项。", "{change} from {amount} the span before": "{change}，对比上一时段 {amount}",
  "what it would cost by the call; never in the sums": "若按次计费的价值；从不计入合计", "{prompt} in, {output} out": "输入 {prompt}，输出 {output}",
  "This could not be read: {why}.": "无法读取：{why}。", "Hours of the week": "周内各小时",
  "Recorded against list": "记录价与标价对比", "Recorded": "记录价", "By list": "标价", "Differs": "差异", "Both known": "两者皆有",
  "No call in this range has both a recorded cost and a list price.": "此范围内没有同时具有记录费用与标价的调用。",
  "Only calls that have both. The recorded cost counts; the list is a check.": "仅含两者皆有的调用。以记录费用为准；标价用于核对。",
  "Cache": "缓存", "Read from the cache": "读自缓存", "Saved by reads": "读取节省", "Cost of writes": "写入费用", "Net gain": "净收益",
  "Share of the prompt read from the cache, by day": "每日提示词读自缓存的占比", "Where it broke": "何处失效", "Hit rate": "命中率", "Read": "读取", "Written": "写入", "Saved": "节省",
  "No call lost half of what the call before it had in the cache.": "没有调用丢失前一次调用缓存内容的一半以上。",
  "the context was compacted": "上下文被压缩", "another model": "更换了模型", "after {gap}": "间隔 {gap}", "the prompt changed": "提示词有变",
  "Models compared": "模型对比", "Model, and what for": "模型及用途", "Output per call": "每次调用输出", "Cached": "缓存占比",
  "What prompts are made of": "提示词构成", "System prompt": "系统提示词", "Memory files": "记忆文件", "Tools": "工具", "Skills": "技能", "History and user": "历史与用户",
  "A call on average": "平均一次调用", "measured": "实测", "estimated: the rest": "估算：其余部分", "{n} characters measured, tokens estimated": "实测 {n} 个字符，token 为估算",
  "No session in this range has a report of its prompt; OpenClaw writes one from 2026.4 on.": "此范围内没有会话带有提示词报告；OpenClaw 自 2026.4 起写入。",
  "reported by {n} of {all} sessions": "{all} 个会话中有 {n} 个报告", "Prompt per call": "每次调用提示词", "Largest file": "最大文件", "{n} characters": "{n} 个字符",
  "Models without a price": "没有价格的模型", "in US dollars per million tokens": "美元／百万 token", "as input": "同输入", "Set the price": "设置价格", "Remove": "移除",
  "in {file}": "在 {file} 中", "Every model in this range has a price.": "此范围内的每个模型都有价格。", "Prices that were set": "已设置的价格",
  "A price is a number of US dollars.": "价格应为美元数值。", "{n} call priced anew": "已重新计价 {n} 次调用", "{n} calls priced anew": "已重新计价 {n} 次调用",
  "as OpenClaw recorded it": "按 OpenClaw 的记录", "your price": "您的价格", "price in openclaw.json": "openclaw.json 中的价格", "list price": "标价",
  "runs on this machine: free": "在本机运行：免费", "input": "输入", "output": "输出", "cache read": "缓存读取", "cache write": "缓存写入",
  "; by list it is {price}": "；标价为 {price}", "; another above {n} prompt tokens": "；提示词超过 {n} token 时另计", "; changed in this span": "；此时段内有变",
  "Terms": "各项", "Sum": "合计", "Model and price, USD per million tokens": "模型与价格，美元／百万 token", "{n} million tokens": "{n} 百万 token",
  "Calls paid by a plan: what they would have cost by the call, each by the price below. They are in no sum of money spent.":
    "由套餐支付的调用：按下列价格逐次计费的价值。不计入任何支出合计。",
  "The sum over all calls of what OpenClaw recorded; where it recorded nothing, tokens times price, rounded to the nano-dollar for each call.":
    "所有调用中 OpenClaw 记录费用之和；未记录时为 token 数乘以价格，每次调用取整到纳美元。",
  "A call with several tools is shared between them in equal parts; no single price stands behind this row.": "含多个工具的调用在工具间均分；此行没有单一价格。",
  "For each model and day: tokens read from the cache, times what an input token costs more than a cached one.": "按模型与日：读自缓存的 token 数，乘以输入 token 与缓存 token 的差价。",
  "For each model and day: tokens written to the cache, times the price of writing one.": "按模型与日：写入缓存的 token 数，乘以写入单价。",
  "What reads saved, less what writes cost above fresh input.": "读取节省额，减去写入比新输入多出的费用。",
  "Clawmeter statement": "Clawmeter 对账单", "Made at {time}.": "生成于 {time}。",
  // Sessions and Session
  "with anything": "不限",
  "with errors": "有错误",
  "compacted": "已压缩",
  "with sub-agents": "有子代理",
  "with unpriced calls": "有未定价调用",
  "reset": "已重置",
  "deleted": "已删除",
  "archived": "已归档",
  "imported": "已导入",
  "copy": "副本",
  "failed": "失败",
  "killed": "已终止",
  "timed out": "超时",
  "Errors": "错误",
  "Lasted": "时长",
  "Tree cost": "含子代理费用",
  "Mark {name} to compare": "标记 {name} 以比较",
  "Columns": "列",
  "Usual columns": "默认列",
  "Export": "导出",
  "All rows of this list, sorted and filtered as it is.": "此列表的所有行，按当前排序和筛选。",
  "Compare the marked sessions": "比较已标记的会话",
  "Compare 2 sessions": "比较 2 个会话",
  "Mark one more to compare": "再标记一个即可比较",
  "Clear marks": "清除标记",
  "Find in this list": "在此列表中查找",
  "Find in names, keys and ids": "按名称、键和 ID 查找",
  "Only sessions": "仅显示会话",
  "Sort by": "排序方式",
  "Choose the order": "选择排序",
  "by {column}": "按{column}",
  "Turn the order round": "反转顺序",
  "Ascending": "升序",
  "Descending": "降序",
  "No session in this range is like that.": "此范围内没有符合条件的会话。",
  "Clear the filters": "清除筛选",
  "Show all time": "显示全部时间",
  "No session yet. It is here within a second of its first entry.": "尚无会话。第一条记录出现后一秒内会显示在这里。",
  "active in {range}; the figures are those of whole sessions": "在{range}内活跃；数字为整个会话的合计",
  "Sessions, table": "会话表",
  "Two sessions marked, c compares them": "已标记两个会话，按 c 比较",
  "{n} tool error": "{n} 个工具错误",
  "{n} tool errors": "{n} 个工具错误",
  "{n} failed call": "{n} 次调用失败",
  "{n} failed calls": "{n} 次调用失败",
  "{n} session marked": "已标记 {n} 个会话",
  "{n} sessions marked": "已标记 {n} 个会话",
  "Messages": "消息",
  "Thinking": "思考",
  "Sub-agents": "子代理",
  "Failed call": "失败的调用",
  "Waiting": "等待",
  "and {money} worth of plan use": "另有价值 {money} 的套餐用量",
  "{money} a call": "每次调用 {money}",
  "{input} in, {output} out": "输入 {input}，输出 {output}",
  "Cache rate": "缓存命中率",
  "{tokens} written to the cache": "写入缓存 {tokens}",
  "{tokens} read": "读取 {tokens}",
  "Model calls": "模型调用",
  "none failed": "无失败",
  "Tool calls": "工具调用",
  "no error": "无错误",
  "since": "始于",
  "of {tokens} tokens": "共 {tokens} 个 token",
  "window not known": "窗口大小未知",
  "OpenClaw reset this session. Its transcript is read from the copy that was kept.": "OpenClaw 已重置此会话。记录从保留的副本读取。",
  "OpenClaw deleted this session. Its transcript is read from the copy that was kept.": "OpenClaw 已删除此会话。记录从保留的副本读取。",
  "OpenClaw moved this session to its archive. Its transcript is read from there.": "OpenClaw 已将此会话归档。记录从归档读取。",
  "This session is from before OpenClaw kept its sessions in a database; its transcript is read from the old file.": "此会话早于 OpenClaw 使用数据库的时期；记录从旧文件读取。",
  "Of this session only a copy is left. Its transcript is read from there.": "此会话仅剩一个副本。记录从副本读取。",
  "OpenClaw no longer has this transcript. The ledger keeps its numbers.": "OpenClaw 已没有此记录。账本保留其数字。",
  "Sub-agent of {session}.": "{session} 的子代理。",
  "Forked: {calls} copied from {session}, and counted there.": "分叉：{calls}从 {session} 复制，并计入该会话。",
  "Run of the cron job {job}.": "定时任务 {job} 的一次运行。",
  "Compare with another session": "与另一个会话比较",
  "Compare": "比较",
  "Find a session": "查找会话",
  "No other session is like that.": "没有其他这样的会话。",
  "Models": "模型",
  "Show: {view}": "显示：{view}",
  "All sessions": "所有会话",
  "Parts of the session": "会话的各部分",
  "Timeline": "时间线",
  "Transcript": "记录",
  "Turns by what they took, and the cost up to each: {money} in the end": "各轮用时及累计费用：最终 {money}",
  "Turns {first} to {last}": "第 {first} 至 {last} 轮",
  "Turn {n}, {time}: {took}, {tokens} tokens, {money}": "第 {n} 轮，{time}：{took}，{tokens} 个 token，{money}",
  "failover": "故障转移",
  "aborted": "已中止",
  "to {model}": "改用 {model}",
  "heartbeat": "心跳",
  "no call": "无调用",
  "models {model}, tools {tools}, waiting {waiting}": "模型 {model}，工具 {tools}，等待 {waiting}",
  "Turns": "轮次",
  "The turns could not be read: {why}.": "无法读取轮次：{why}。",
  "Nothing was said in this session.": "此会话没有内容。",
  "Turns, table": "轮次表",
  "Began": "开始",
  "Marks": "标记",
  "Took": "用时",
  "the last {n} of {total}": "{total} 轮中的最后 {n} 轮",
  "User message": "用户消息",
  "Context compacted": "上下文已压缩",
  "Message of OpenClaw": "OpenClaw 的消息",
  "Session reset": "会话已重置",
  "Message without a call": "没有调用的消息",
  "Tool, nested": "嵌套工具",
  "retry": "重试",
  "other model": "其他模型",
  "error": "错误",
  "Show it in the transcript": "在记录中显示",
  "Turn {n}": "第 {n} 轮",
  "There is no such turn.": "没有这一轮。",
  "Transcript of this turn": "此轮的记录",
  "Turn before": "上一轮",
  "Turn after": "下一轮",
  "Turn {n}, waterfall": "第 {n} 轮的瀑布图",
  "What": "内容",
  "and {n} more; the transcript has all of them": "还有 {n} 项；记录中有全部内容",
  "Underlined bars are the critical path: without them the turn had ended earlier.": "带下划线的条是关键路径：没有它们，此轮会更早结束。",
  "No model was called.": "没有调用模型。",
  "Tools, table": "工具表",
  "half of them took at most this": "一半不超过此用时",
  "19 of 20 took at most this": "95% 不超过此用时",
  "No tool was used.": "没有使用工具。",
  "Sub-agents, table": "子代理表",
  "Own cost": "自身费用",
  "Project files": "项目文件",
  "Tool list": "工具列表",
  "Tool schemas": "工具架构",
  "Prompt": "提示词",
  "characters, measured by OpenClaw": "字符数，由 OpenClaw 测量",
  "live file": "当前文件",
  "database": "数据库",
  "kept after a reset": "重置后保留",
  "kept after deletion": "删除后保留",
  "archive": "归档",
  "file from before the database": "数据库之前的文件",
  "copy before a compaction": "压缩前的副本",
  "Stored in": "存储位置",
  "Text": "文本",
  "User": "用户",
  "Result": "结果",
  "Compaction": "压缩",
  "Model change": "更换模型",
  "Thinking level": "思考级别",
  "Reset": "重置",
  "Branch": "分支",
  "Nested tool": "嵌套工具",
  "Notice": "通知",
  "{input} in, {output} out, {read} read from cache, {written} written to cache": "输入 {input}，输出 {output}，读取缓存 {read}，写入缓存 {written}",
  "{tokens} tokens": "{tokens} 个 token",
  "Entry {n}, {kind}": "第 {n} 条，{kind}",
  "Link to this entry": "此条目的链接",
  "Show all of it": "显示全部",
  "Kinds of entries": "条目类型",
  "Find in this transcript": "在此记录中查找",
  "Match before": "上一个匹配",
  "Next match": "下一个匹配",
  "Next error": "下一个错误",
  "Error before": "上一个错误",
  "Start": "开头",
  "Latest entry": "最新条目",
  "Latest": "最新",
  "Copy as Markdown": "复制为 Markdown",
  "The transcript could not be read: {why}.": "无法读取记录：{why}。",
  "Show the timeline": "显示时间线",
  "entries {first} to {last} of {total}": "第 {first} 至 {last} 条，共 {total} 条",
  "Entries": "条目",
  "Place in the transcript": "在记录中的位置",
  "Entry {n} of {total}": "第 {n} 条，共 {total} 条",
  "This transcript has no such entry.": "此记录中没有这样的条目。",
  "This transcript is empty.": "此记录为空。",
  "Plan use, its worth": "套餐用量的价值",
  "Cost a call": "每次调用费用",
  "Unpriced calls": "未定价调用",
  "Output tokens": "输出 token",
  "Read from cache": "读取缓存",
  "Written to cache": "写入缓存",
  "Tool errors": "工具错误",
  "Failed calls": "失败的调用",
  "Compactions": "压缩次数",
  "{n} points": "{n} 个百分点",
  "from nothing": "从零开始",
  "Cost of both sessions, turn by turn": "两个会话逐轮的费用",
  "more": "更多",
  "less": "更少",
  "Swap": "互换",
  "Both sessions, table": "两个会话对照表",
  "Difference": "差异",
  "There is no such session": "没有此会话",
  "This session could not be read": "无法读取此会话",
  "The ledger has no session with this id or key.": "账本中没有此 ID 或键的会话。",
  "Entry {n}": "第 {n} 条",
  "searched up to entry {n} of {total}": "已搜索到第 {n} 条，共 {total} 条",
  "none before this place": "此处之前没有",
  "none after this place": "此处之后没有",
  "The search failed: {why}": "搜索失败：{why}",
  "read {n} of {total}": "已读取 {n} / {total}",
  "{entries} copied": "已复制{entries}",
  "{entries} saved as a file": "已将{entries}保存为文件",
  "Done": "完成",
  "{n} sub-agent": "{n} 个子代理",
  "{n} sub-agents": "{n} 个子代理",
  "{n} failed": "{n} 次失败",
  "{n} error": "{n} 个错误",
  "{n} errors": "{n} 个错误",
  "{n} call was": "{n} 次调用",
  "{n} calls were": "{n} 次调用",
  "Its context was compacted once.": "其上下文被压缩过一次。",
  "Its context was compacted {n} times.": "其上下文被压缩过 {n} 次。",
  "One call went to another model after a failure.": "有一次调用在失败后改用了其他模型。",
  "{n} calls went to another model after a failure.": "有 {n} 次调用在失败后改用了其他模型。",
  "One run was aborted.": "有一次运行被中止。",
  "{n} runs were aborted.": "有 {n} 次运行被中止。",
  "{n} retry": "{n} 次重试",
  "{n} retries": "{n} 次重试",
  "{n} turn": "{n} 轮",
  "{n} turns": "{n} 轮",
  "{n} character": "{n} 个字符",
  "{n} image, not shown": "{n} 张图片，未显示",
  "{n} images, not shown": "{n} 张图片，未显示",
  "{n} entry": "{n} 条",
  "{n} entries": "{n} 条",
};
"""

#: What `/assets/<digest>/<name>` serves: (content type, text). The page names the first five;
#: the others are fetched when somebody goes there.
ASSETS: dict[str, tuple[str, str]] = {
    "app.css": ("text/css; charset=utf-8", APP_CSS),
    "dom.js": ("text/javascript; charset=utf-8", DOM_JS),
    "chart.js": ("text/javascript; charset=utf-8", CHART_JS),
    "views.js": ("text/javascript; charset=utf-8", VIEWS_JS),
    "app.js": ("text/javascript; charset=utf-8", APP_JS),
    "cost.js": ("text/javascript; charset=utf-8", COST_JS),
    "sessions.css": ("text/css; charset=utf-8", SESSIONS_CSS),
    "sessions.js": ("text/javascript; charset=utf-8", SESSIONS_JS),
    "session.js": ("text/javascript; charset=utf-8", SESSION_JS),
    "zh.js": ("text/javascript; charset=utf-8", ZH_JS),
}
ASSET_DIGEST = hashlib.sha256("\0".join(text for _, text in ASSETS.values()).encode()).hexdigest()[
    :16
]


if __name__ == "__main__":
    main_entry()
