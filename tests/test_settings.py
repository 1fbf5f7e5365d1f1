"""Where a setting comes from, what it may be, and what is said about one that cannot be used."""

from __future__ import annotations

import dataclasses
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from handmade import T0, HandmadeHome, call, header, session_of
from hypothesis import given
from hypothesis import strategies as st

import clawmeter
from clawmeter import SETTINGS, PriceOverride, Settings, SettingsError, load_settings

#: What a setting can be set to, by its kind: (text, value), two of each, none a default.
SAMPLES: dict[str, list[tuple[str, Any]]] = {
    "int": [("4001", 4001), ("4002", 4002)],
    "float": [("5.00", 5.0), ("12.5", 12.5)],
    "path": [("/x/one", Path("/x/one")), ("/x/two", Path("/x/two"))],
    "list": [("a.example, b.example", ("a.example", "b.example")), ("c", ("c",))],
    "paths": [("/x/one, /x/two", (Path("/x/one"), Path("/x/two"))), ("/y", (Path("/y"),))],
    "text": [("one", "one"), ("two", "two")],
}
OWN_SAMPLES = {
    "history": [("off", False), ("0", False)],
    "lan": [("on", True), ("1", True)],
    "poll": [("yes", True), ("true", True)],
    "time_zone": [("Asia/Kolkata", "Asia/Kolkata"), ("Europe/Berlin", "Europe/Berlin")],
    "cache_write_ttl": [("1h", "1h"), ("1H", "1h")],
    "log_level": [("debug", "debug"), ("ERROR", "error")],
    "gateway": [("off", False), ("0", False)],
    "gateway_url": [("ws://127.0.0.1:1", "ws://127.0.0.1:1"), ("wss://[::1]:2", "wss://[::1]:2")],
}
NAMES = [s.name for s in SETTINGS]
#: A file must be there to be a token file: it has tests of its own.
PLAIN_NAMES = [n for n in NAMES if n not in ("state_dir", "token_file")]


def samples(name: str) -> list[tuple[str, Any]]:
    return OWN_SAMPLES.get(name) or SAMPLES[clawmeter.SETTING_BY_NAME[name].kind]


class Sources:
    """Flags, environment, .env and clawmeter.toml of one user."""

    def __init__(self, path: Path) -> None:
        self.state = path / "state"
        self.state.mkdir()
        self.flags: dict[str, Any] = {}
        self.env = {"HOME": str(path), "CLAWMETER_STATE": str(self.state)}

    def dotenv(self, *lines: str, folder: Path | None = None) -> Path:
        path = (folder or self.state) / ".env"
        path.write_text("\n".join(lines))
        return path

    def toml(self, text: str, folder: Path | None = None) -> Path:
        path = (folder or self.state) / "clawmeter.toml"
        path.write_text(text)
        return path

    def load(self, **files: Path) -> Settings:
        return load_settings(self.flags, self.env, **files)

    def error(self, **files: Path) -> str:
        with pytest.raises(SettingsError) as error:
            self.load(**files)
        return str(error.value)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path)


# --- the table -----------------------------------------------------------------------------------


def test_table_and_settings_say_the_same() -> None:
    defaults = {f.name: f.default for f in dataclasses.fields(Settings)}
    for setting in SETTINGS:
        assert setting.name in defaults
        if setting.name != "state_dir":  # which depends on the environment
            assert defaults[setting.name] == setting.default
        assert setting.env
        assert setting.help
    told = [name for s in SETTINGS for name in s.env]
    assert len(told) == len(set(told))


def test_names_of_the_first_clawmeter_keep_working(sources: Sources) -> None:
    """The .env of its documentation, as it stands there."""
    sources.dotenv(
        "# Paths", "OPENCLAW_AGENTS_DIR=/home/youruser/.openclaw/agents", "CLAWMETER_DB=/home/youruser/clawmeter.db", "",
        "PORT=3999", "BUDGET_DAILY_LIMIT=5.00", "BUDGET_MONTHLY_LIMIT=100.00", "TELEGRAM_BOT_TOKEN=your_bot_token", "SMTP_PORT=587",
    )  # fmt: skip
    found = sources.load()
    assert found.agents_dir == Path("/home/youruser/.openclaw/agents")
    assert found.ledger_path == Path("/home/youruser/clawmeter.db")
    assert (found.port, found.budget_daily_usd, found.budget_monthly_usd) == (3999, 5.0, 100.0)


def test_own_name_comes_before_the_short_one(sources: Sources) -> None:
    sources.env |= {"PORT": "4001", "CLAWMETER_PORT": "4002", "TZ": "Asia/Kolkata", "CLAWMETER_TZ": "Europe/Berlin"}  # fmt: skip
    assert sources.load().port == 4002
    assert sources.load().zone().key == "Europe/Berlin"


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_order_of_authority(name: str, sources: Sources) -> None:
    """Flag, environment, .env, clawmeter.toml, default: each step wins over those before it."""
    setting = clawmeter.SETTING_BY_NAME[name]
    (text, value), (other, other_value) = samples(name)

    def loaded() -> Any:
        return getattr(sources.load(), name)

    assert loaded() == setting.default
    quoted = text if setting.kind in ("int", "float") else f'"{text}"'
    sources.toml(f"{name} = {quoted}")
    assert loaded() == value
    sources.dotenv(f"{setting.env[0]}={other}")
    assert loaded() == other_value
    sources.env[setting.env[0]] = text
    assert loaded() == value
    sources.flags[name] = other
    assert loaded() == other_value
    sources.flags[name] = None  # not given
    assert loaded() == value
    sources.env[setting.env[0]] = ""  # as good as not there
    assert loaded() == other_value


def test_flags_of_the_command_line(sources: Sources, monkeypatch: Any) -> None:
    monkeypatch.setenv("CLAWMETER_STATE", str(sources.state))
    for name in ("PORT", "CLAWMETER_PORT", "CLAWMETER_TOKEN", "TZ"):
        monkeypatch.delenv(name, raising=False)
    sources.toml("port = 5000\nhistory = true")
    parse = clawmeter.build_parser().parse_args
    words = (
        "serve --port 5001 --host ::1 --lan --poll --no-history --tz Asia/Kolkata --log-level error"
    )
    found = clawmeter.settings_from(parse(words.split()))
    assert (found.port, found.host, found.lan, found.poll) == (5001, "::1", True, True)
    assert (found.history, found.time_zone, found.log_level) == (False, "Asia/Kolkata", "error")
    assert clawmeter.settings_from(parse(["report"])).port == 5000
    # Before or behind the command, and not undone by it.
    assert clawmeter.settings_from(parse(["--port", "5002", "serve"])).port == 5002
    found = clawmeter.settings_from(parse(["serve", "--home", "/a", "--home", "/b"]))
    assert found.homes == (Path("/a"), Path("/b"))


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "bad", "takes"), [
    ("port", "http", "a whole number"), ("port", "33.77", "a whole number"), ("port", "-1", "a whole number"), ("port", "65536", "a whole number"),
    ("lan", "maybe", "true or false"), ("poll", "2", "true or false"),
    ("budget_daily_usd", "five", "an amount of 0 or more"), ("budget_daily_usd", "-1", "an amount of 0 or more"),
    ("budget_monthly_usd", "nan", "an amount of 0 or more"), ("budget_monthly_usd", "inf", "an amount of 0 or more"),
    ("cache_write_ttl", "2h", "5m or 1h"), ("log_level", "loud", "debug or info or warning or error"),
    ("host", "  ", "a text"), ("db", "a\\u0000b", "a path"),
])  # fmt: skip
def test_value_that_cannot_be_used(name: str, bad: str, takes: str, sources: Sources) -> None:
    """The message says where it stands, what it is, and what the setting takes and means."""
    setting = clawmeter.SETTING_BY_NAME[name]
    path = sources.toml(f'{name} = "{bad}"')
    said = sources.error()
    bad = bad.replace("\\u0000", "\0")
    assert said == f"{path}: {name} takes {takes}, not {bad!r} ({setting.help})"
    path.unlink()
    path = sources.dotenv(f"{setting.env[0]}='{bad}'")
    assert sources.error() == f"{path} {setting.env[0]}: {said.split(': ', 1)[1]}"
    sources.env[setting.env[0]] = bad
    assert sources.error() == f"environment {setting.env[0]}: {said.split(': ', 1)[1]}"
    sources.flags[name] = bad
    flag = f"--{name.replace('_', '-')}"
    assert sources.error() == f"{flag}: {said.split(': ', 1)[1]}"


@pytest.mark.parametrize("name", PLAIN_NAMES)
@pytest.mark.parametrize("odd", ["[[1]]", "{a = 1}", "1979-05-27", "[1, 2]", '""', "nan"])
def test_toml_of_a_wrong_type_is_an_error_and_not_a_guess(
    name: str, odd: str, sources: Sources
) -> None:
    path = sources.toml(f"{name} = {odd}")
    if name in ("allowed_hosts", "homes") and odd == '""':
        assert getattr(sources.load(), name) == ()
    else:
        assert sources.error().startswith(f"{path}: {name} takes ")


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("port", "true"),
        ("port", "3.9"),
        ("budget_daily_usd", "true"),
        ("host", "5"),
        ("host", "true"),
        ("token", "12345"),
    ],
)
def test_toml_of_a_near_type_is_an_error_too(name: str, odd: str, sources: Sources) -> None:
    sources.toml(f"{name} = {odd}")
    assert f"{name} takes " in sources.error()


def test_secret_is_not_in_the_message_about_it(sources: Sources) -> None:
    sources.toml('token = ["hush"]')
    assert "hush" not in sources.error()


def test_types_of_toml(sources: Sources) -> None:
    sources.toml("""
        port = 0
        lan = true
        budget_daily_usd = 5
        budget_monthly_usd = 99.5
        allowed_hosts = [" meter.example ", "", "other.example"]
        db = "~/x/ledger.db"
        homes = ["/a", "~/b"]
    """)
    found = sources.load()
    assert (found.port, found.lan, found.budget_daily_usd, found.budget_monthly_usd) == (
        0,
        True,
        5.0,
        99.5,
    )
    assert found.allowed_hosts == ("meter.example", "other.example")
    assert found.db == Path("~/x/ledger.db").expanduser()
    assert found.homes == (Path("/a"), Path("~/b").expanduser())
    sources.flags["homes"] = ["/c"]
    assert sources.load().homes == (Path("/c"),)


def test_path_may_have_variables(sources: Sources, monkeypatch: Any) -> None:
    monkeypatch.setenv("DISK", "/mnt/disk")
    sources.dotenv("CLAWMETER_DB=$DISK/ledger.db")
    assert sources.load().db == Path("/mnt/disk/ledger.db")


@given(st.text(max_size=20), st.sampled_from(NAMES))
def test_any_text_is_a_value_or_a_settings_error(text: str, name: str) -> None:
    setting = clawmeter.SETTING_BY_NAME[name]
    try:
        value = clawmeter.convert_setting(setting, text, "here")
    except SettingsError as error:
        assert str(error).startswith(f"here: {name} takes ")
    else:
        assert value == clawmeter.convert_setting(setting, value, "here") or setting.kind == "path"


# --- time zones ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule", ["CET-1CEST,M3.5.0,M10.5.0/3", ":/etc/localtime", ":Europe/Berlin", "EST5EDT4"]
)
def test_tz_that_is_no_zone_name_leaves_the_machines_zone(rule: str, sources: Sources) -> None:
    """TZ is not ours: a POSIX rule in it is right, only nothing that we can use."""
    sources.env["TZ"] = rule
    assert sources.load().zone().key == clawmeter.machine_zone()
    sources.toml('time_zone = "Asia/Kolkata"')
    assert sources.load().zone().key == "Asia/Kolkata"


@pytest.mark.parametrize("where", ["env", "toml", "flags"])
def test_zone_that_does_not_exist(where: str, sources: Sources) -> None:
    if where == "env":
        sources.env["CLAWMETER_TZ"] = "Berlin"
    elif where == "toml":
        sources.toml('time_zone = "Berlin"')
    else:
        sources.flags["time_zone"] = "Berlin"
    assert sources.error() == "unknown time zone 'Berlin'; use a name like Europe/Berlin or UTC"


# --- files ---------------------------------------------------------------------------------------


def test_state_directory_unless_told_otherwise(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    assert load_settings({}, env).state_dir == tmp_path / ".local" / "state" / "clawmeter"
    env["XDG_STATE_HOME"] = str(tmp_path / "xdg")
    assert load_settings({}, env).state_dir == tmp_path / "xdg" / "clawmeter"
    assert load_settings({}, env).ledger_path == tmp_path / "xdg" / "clawmeter" / "clawmeter.db"
    assert list(tmp_path.iterdir()) == []  # settings are read; nothing is made


def test_state_directory_by_each_source(sources: Sources, tmp_path: Path) -> None:
    """Where the files of a state directory name another, the settings there are read too."""
    del sources.env["CLAWMETER_STATE"]
    first = load_settings({}, sources.env).state_dir
    first.mkdir(parents=True)
    places = [tmp_path / n for n in ("by-toml", "by-dotenv", "by-env", "by-flag")]
    for number, place in enumerate(places):
        place.mkdir()
        sources.toml(f"port = {4000 + number}", folder=place)
    sources.toml(f'state_dir = "{places[0]}"\nport = 1', folder=first)
    assert (sources.load().state_dir, sources.load().port) == (places[0], 1)
    sources.dotenv(f"CLAWMETER_STATE={places[1]}", folder=first)
    assert (sources.load().state_dir, sources.load().port) == (places[1], 4001)
    sources.env["CLAWMETER_STATE"] = str(places[2])
    assert (sources.load().state_dir, sources.load().port) == (places[2], 4002)
    sources.flags["state_dir"] = str(places[3])
    assert (sources.load().state_dir, sources.load().port) == (places[3], 4003)


def test_dotenv_of_the_working_directory_is_not_read(
    sources: Sources, tmp_path: Path, monkeypatch: Any
) -> None:
    """Whoever can make somebody start us in a folder must not set the token or the address."""
    project = tmp_path / "project"
    project.mkdir()
    sources.dotenv("CLAWMETER_TOKEN=theirs", "CLAWMETER_HOST=0.0.0.0", folder=project)
    sources.toml('host = "0.0.0.0"', folder=project)
    monkeypatch.chdir(project)
    assert (sources.load().token, sources.load().host) == (None, "127.0.0.1")


def test_env_file_takes_the_place_of_the_one_in_the_state_directory(
    sources: Sources, tmp_path: Path
) -> None:
    sources.dotenv("PORT=4001", "CLAWMETER_HOST=::1")
    other = tmp_path / "other.env"
    other.write_text("PORT=4002")
    found = sources.load(env_file=other)
    assert (found.port, found.host) == (4002, "127.0.0.1")


def test_named_file_that_is_not_there(sources: Sources, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert sources.error(env_file=missing) == f"--env-file {missing}: no such file"
    assert sources.error(config_file=missing) == f"--config {missing}: no such file"


def test_config_file_takes_the_place_of_clawmeter_toml(sources: Sources, tmp_path: Path) -> None:
    sources.toml('port = 4001\nhost = "::1"')
    other = tmp_path / "other.toml"
    other.write_text(f'port = 4002\nstate_dir = "{tmp_path / "elsewhere"}"')
    del sources.env["CLAWMETER_STATE"]
    found = sources.load(config_file=other)
    assert (found.port, found.host) == (4002, "127.0.0.1")
    assert found.state_dir == tmp_path / "elsewhere"


def test_lines_of_dotenv(sources: Sources, tmp_path: Path) -> None:
    path = sources.dotenv(
        "\ufeff# a comment", "", "  export A = one  ", "B='two # not a comment'", 'C="three"', "D=four # a comment", "E=#five", "F=",
        "G='half", "H=a=b", "I=''", "J=six#seven",
    )  # fmt: skip
    assert clawmeter.read_env_file(path) == {
        "A": "one", "B": "two # not a comment", "C": "three", "D": "four", "E": "#five", "F": "", "G": "'half", "H": "a=b", "I": "", "J": "six#seven",
    }  # fmt: skip


def test_line_of_dotenv_that_is_no_setting_is_named(sources: Sources) -> None:
    path = sources.dotenv("PORT=1", "PORT 2")
    assert sources.error() == f"{path} line 2: expected NAME=value"


@pytest.mark.parametrize("name", [".env", "clawmeter.toml"])
@pytest.mark.parametrize("kind", ["folder", "not text", "not toml"])
def test_settings_file_that_cannot_be_read_is_an_error(
    name: str, kind: str, sources: Sources
) -> None:
    """Going on without it would serve under other settings than somebody wrote."""
    path = sources.state / name
    if kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"\xff\xfe" if kind == "not text" else b"port = = 1\n[")
    if (name, kind) == (".env", "not toml"):
        assert "line 2: expected NAME=value" in sources.error()
    else:
        assert sources.error().startswith(f"cannot read {path}: ")


def test_unknown_settings_in_toml_are_named_with_those_that_are_known(sources: Sources) -> None:
    path = sources.toml("prot = 5\nport = 6\nbudget = 7\n[price.x]\ninput = 1")
    said = sources.error()
    assert said.startswith(f"{path}: unknown setting budget, price, prot; known are host, port, ")
    for name in (*NAMES, "homes", "prices", "billing"):
        assert name in said


# --- tables --------------------------------------------------------------------------------------


def test_prices_and_billing(sources: Sources) -> None:
    sources.toml("""
        [prices."anthropic/claude-sonnet-4-5"]
        input = 3
        output = 15.0
        cache_read = 0.3
        cache_write = 3.75
        cache_write_1h = 6
        replace_recorded = true
        tiers = [{above = 500_000, input = 9}, {above = 200_000, input = 6, output = 22.5}]
        [prices.free]
        input = 0
        [billing]
        plan = ["anthropic", " openai/gpt-5 "]
        metered = "acme"
    """)
    found = sources.load()
    assert found.prices["anthropic/claude-sonnet-4-5"] == PriceOverride(
        {"input": Decimal(3), "output": Decimal("15.0"), "cache_read": Decimal("0.3"), "cache_write": Decimal("3.75"), "cache_write_1h": Decimal(6)},
        ((200_000, {"input": Decimal(6), "output": Decimal("22.5")}), (500_000, {"input": Decimal(9)})),
        replace_recorded=True,
    )  # fmt: skip
    assert found.prices["free"] == PriceOverride({"input": Decimal(0)})
    assert found.plan_providers == ("anthropic", "openai/gpt-5")
    assert found.metered_providers == ("acme",)


@pytest.mark.parametrize(("body", "said"), [
    ("input = -1", "input = -1"), ("input = inf", "input = inf"), ("input = nan", "input = nan"), ("input = true", "input = True"), ('input = "3"', "input = '3'"),
    ("input = 1e30", "input = 1e+30"), ("inptu = 1", "unknown: inptu"), ("tiers = 5", ""), ("tiers = [5]", ""), ("tiers = [{input = 1}]", "above"),
    ("tiers = [{above = 0, input = 1}]", "above = 0"), ("tiers = [{above = 1.5, input = 1}]", "above = 1.5"),
    ("tiers = [{above = 5, inptu = 1}]", "unknown: inptu"), ('replace_recorded = "false"', "replace_recorded = false"),
])  # fmt: skip
def test_price_that_cannot_be_used(body: str, said: str, sources: Sources) -> None:
    path = sources.toml(f'[prices."acme/a"]\n{body}')
    error = sources.error()
    assert error.startswith(f'{path}: [prices."acme/a"] is not a price (')
    assert said in error
    assert (
        "it takes input, output, cache_read, cache_write, cache_write_1h in USD per million tokens"
        in error
    )


@pytest.mark.parametrize(("text", "said"), [
    ("prices = 5", "prices are tables"), ("[prices]\nacme = 5", '[prices."acme"] is not a price'), ("billing = 5", "[billing] takes plan ="),
    ("[billing]\nplans = []", "[billing] takes plan ="), ("[billing]\nplan = 5", "[billing] takes plan ="),
    ("[billing]\nplan = [5]", "[billing] takes plan ="), ("homes = 5", "homes takes a list of paths"), ("homes = [5]", "homes takes a list of paths"),
])  # fmt: skip
def test_table_of_a_wrong_shape(text: str, said: str, sources: Sources) -> None:
    path = sources.toml(text)
    assert sources.error().startswith(f"{path}: {said}")


def test_one_text_stands_for_a_list_of_one(sources: Sources) -> None:
    """Not for a list of its letters."""
    sources.toml('homes = "/a"\n[billing]\nplan = "anthropic"')
    assert sources.load().homes == (Path("/a"),)
    assert sources.load().plan_providers == ("anthropic",)


@pytest.mark.parametrize("amount", ["1e300", "-1", "1e6", "9" * 400, "NaN", "Infinity", "1e999"])
def test_price_in_openclaws_config_that_cannot_be_one_is_none(amount: str, tmp_path: Path) -> None:
    """A price that no sum can hold must not stop the reading."""
    (tmp_path / "openclaw.json").write_text(f'{{"models": {{"providers": {{"p": {{"models": [{{"id": "m", "cost": {{"input": {amount}}}}}]}}}}}}}}')  # fmt: skip
    found = clawmeter.read_config(tmp_path, {})
    assert (found.problem, found.prices) == (None, {})


# --- the token -----------------------------------------------------------------------------------


def test_token_file(sources: Sources, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("\n from-file \n")
    sources.env["CLAWMETER_TOKEN_FILE"] = str(path)
    assert sources.load().token == "from-file"


def test_token_of_the_stronger_source_wins(sources: Sources, tmp_path: Path) -> None:
    """A file named by flag is not beaten by a variable that is left over from yesterday."""
    path = tmp_path / "token"
    path.write_text("from-file")
    sources.toml(f'token_file = "{path}"')
    assert sources.load().token == "from-file"
    sources.env["CLAWMETER_TOKEN"] = "from-env"
    assert sources.load().token == "from-env"
    sources.flags["token_file"] = str(path)
    assert sources.load().token == "from-file"
    sources.flags["token"] = "from-flag"
    assert sources.load().token == "from-flag"


@pytest.mark.parametrize(("content", "said"), [
    (None, "cannot read the token file"), (b"", "has no token in it"), (b" \n", "has no token in it"), (b"\xff\xfe\x00", "has no token in it"),
])  # fmt: skip
def test_token_file_without_a_token_is_an_error(
    content: bytes | None, said: str, sources: Sources, tmp_path: Path
) -> None:
    """Else the page would be open under another token than somebody meant."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    sources.flags["token_file"] = str(path)
    assert str(path) in sources.error()
    assert said in sources.error()


# --- in use --------------------------------------------------------------------------------------


def test_wrong_setting_ends_a_command_with_status_2(sources: Sources, capsys: Any) -> None:
    sources.toml("prot = 5")
    assert clawmeter.main(["status", "--state", str(sources.state)]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.startswith(
        f"clawmeter: {sources.state / 'clawmeter.toml'}: unknown setting prot"
    )
    assert "Traceback" not in out.err


def test_two_clawmeters_in_one_process_know_nothing_of_each_other(
    tmp_path: Path, meter_factory: Any
) -> None:
    meters = []
    for number, (zone, price) in enumerate((("UTC", "1"), ("Pacific/Kiritimati", "20"))):
        home = HandmadeHome(tmp_path / f"home{number}")
        calls = [call(f"c{n}", T0 + n, (1_000_000, 0, 0, 0), 0) for n in range(number + 1)]
        home.write("aaa", [header("aaa"), *calls])
        prices = {"acme-1": PriceOverride({"input": Decimal(price)})}
        meters.append(
            meter_factory(home.path, time_zone=zone, prices=prices, token=f"token-{number}")
        )
    for meter in (*meters, *meters):  # one after the other, and again
        meter.index()
    answers = [m.queries.usage(from_="all", by="day") for m in meters]
    assert [a["totals"]["cost_nano_usd"] for a in answers] == [10**9, 40 * 10**9]
    assert [a["tz"] for a in answers] == ["UTC", "Pacific/Kiritimati"]
    assert [a["rows"][0]["key"] for a in answers] == ["2026-11-05", "2026-11-06"]
    assert [m.access.load_token() for m in meters] == ["token-0", "token-1"]
    apps = [clawmeter.create_app(m).test_client() for m in meters]
    for number, app in enumerate(apps):
        for token in range(2):
            answer = app.get("/api/summary", headers={"Host": "127.0.0.1", "Authorization": f"Bearer token-{token}"})  # fmt: skip
            assert answer.status_code == (200 if token == number else 401)
    meters[0].stop()
    assert meters[1].queries.usage(from_="all", by="model")["totals"]["model_calls"] == 2


def test_ledger_in_another_place(tmp_path: Path, meter_factory: Any) -> None:
    home = HandmadeHome(tmp_path / "home")
    home.write("aaa", session_of("aaa", 2))
    path = tmp_path / "data" / "my.db"
    meter = meter_factory(home.path, db=path, state_dir=tmp_path / "state")
    meter.index()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        assert db.execute("SELECT count(*) FROM usage_events").fetchone() == (2,)
    assert not list(tmp_path.glob("state/*.db"))


def test_demo_never_writes_into_the_ledger_that_is_set(tmp_path: Path, monkeypatch: Any) -> None:
    """CLAWMETER_DB is that of the real numbers."""
    monkeypatch.setenv("CLAWMETER_DB", str(tmp_path / "real.db"))
    monkeypatch.setenv("CLAWMETER_STATE", str(tmp_path / "real"))
    args = clawmeter.build_parser().parse_args(["demo", "--port", "0"])
    found = clawmeter.demo_settings(args, tmp_path / "demo")
    assert found.ledger_path == tmp_path / "demo" / "state" / "clawmeter.db"
    assert found.state_dir == tmp_path / "demo" / "state"
    assert (found.homes, found.port) == ((tmp_path / "demo",), 0)


def test_demo_has_the_state_directory_that_is_named(tmp_path: Path) -> None:
    """For its token and settings; its made-up numbers stay in the temporary folder, and go with it."""
    args = clawmeter.build_parser().parse_args(["demo", "--state", str(tmp_path / "mine")])
    found = clawmeter.demo_settings(args, tmp_path / "demo")
    assert found.state_dir == tmp_path / "mine"
    assert found.ledger_path == tmp_path / "demo" / "state" / "clawmeter.db"
