"""Which OpenClaw home is read, what its config says, and what `doctor` tells about it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from handmade import T0, HandmadeHome, append, call, header, session_of
from homes import FIXTURES

import clawmeter
from clawmeter import HomeNotFound, OpenClawConfig, Settings, find_homes, read_config

if TYPE_CHECKING:
    from collections.abc import Callable

# --- which home ----------------------------------------------------------------------------------


def make_home(path: Path, kind: str = "both") -> Path:
    """A home with an `agents` folder, a config or both."""
    path.mkdir(parents=True, exist_ok=True)
    if kind in ("agents", "both"):
        (path / "agents").mkdir()
    if kind not in ("agents", "empty"):
        (path / ("openclaw.json" if kind == "both" else kind)).write_text("{}")
    return path


class Machine:
    """A user's home directory, environment and settings."""

    def __init__(self, path: Path) -> None:
        self.user = path / "user"
        self.user.mkdir()
        self.elsewhere = path
        self.env = {"HOME": str(self.user)}

    def find(self, **settings: Any) -> tuple[list[Path], list[Path]]:
        """(the homes to read, the others)."""
        found = find_homes(Settings(state_dir=self.elsewhere, **settings), self.env)
        return tuple([h.path for h in homes] for homes in found)  # type: ignore[return-value]

    def found_by(self, **settings: Any) -> list[str]:
        found = find_homes(Settings(state_dir=self.elsewhere, **settings), self.env)
        return [h.found_by for homes in found for h in homes]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_order_of_places(machine: Machine) -> None:
    """Each place is read while none before it has a home; those behind it are named as others."""
    places: list[tuple[str, Path, Callable[[], Any]]] = []

    def place(name: str, path: Path, announce: Callable[[], Any] = lambda: None) -> None:
        places.append((name, path, announce))

    user, env = machine.user, machine.env
    given: dict[str, Any] = {}
    place("~/.moltbot", user / ".moltbot")
    place("~/.clawdbot", user / ".clawdbot")
    place("~/.openclaw-work", user / ".openclaw-work")
    place("~/.openclaw-home", user / ".openclaw-home")
    place("~/.openclaw", user / ".openclaw")
    agents = machine.elsewhere / "seed" / "agents"
    place("OPENCLAW_AGENTS_DIR", agents.parent, lambda: given.update(agents_dir=agents))
    home = machine.elsewhere / "home"
    place("OPENCLAW_HOME", home / ".openclaw", lambda: env.update(OPENCLAW_HOME=str(home)))
    state = machine.elsewhere / "state-dir"
    place("OPENCLAW_STATE_DIR", state, lambda: env.update(OPENCLAW_STATE_DIR=str(state)))
    expected: list[tuple[str, Path]] = []
    for name, path, announce in places:
        make_home(path)
        announce()
        expected.insert(0, (name, path))
        read, others = machine.find(**given)
        assert [*read, *others] == [p for _, p in expected]
        assert len(read) == 1
        assert machine.found_by(**given) == [n for n, _ in expected]
    named = make_home(machine.elsewhere / "named")
    assert machine.find(**given, homes=(named,)) == ([named], [])
    assert machine.found_by(**given, homes=(named,)) == ["--home"]


@pytest.mark.parametrize("variable", ["OPENCLAW_STATE_DIR", "OPENCLAW_HOME"])
def test_named_home_is_read_also_when_it_is_found_a_second_time(
    variable: str, machine: Machine
) -> None:
    """A profile named by a variable is one of ~/.openclaw-* too: the default home must not win."""
    default = make_home(machine.user / ".openclaw")
    work = make_home(machine.user / ".openclaw-work")
    machine.env[variable] = str(work)
    assert machine.find() == ([work], [default])
    assert machine.found_by() == [variable, "~/.openclaw"]
    machine.env[variable] = str(default)
    assert machine.find() == ([default], [work])


def test_link_to_a_home_is_that_home(machine: Machine) -> None:
    real = make_home(machine.elsewhere / "disk" / "openclaw")
    (machine.user / ".openclaw").symlink_to(real)
    (machine.user / ".openclaw-link").symlink_to(real)
    assert machine.find() == ([real], [])


@pytest.mark.parametrize("kind", ["agents", "openclaw.json", "clawdbot.json", "moltbot.json"])
@pytest.mark.parametrize("inner", [False, True])
def test_what_makes_a_home(kind: str, inner: bool, machine: Machine) -> None:  # noqa: FBT001
    outer = machine.elsewhere / "outer"
    home = make_home(outer / ".openclaw" if inner else outer, kind)
    assert machine.find(homes=(outer,)) == ([home], [])
    machine.env["OPENCLAW_HOME"] = str(outer)
    assert machine.find() == ([home], [])


def test_folder_of_agents_that_is_not_openclaws_does_not_hide_the_home_beside_it(
    machine: Machine,
) -> None:
    make_home(machine.user, "agents")
    home = make_home(machine.user / ".openclaw")
    machine.env["OPENCLAW_HOME"] = str(machine.user)
    assert machine.find() == ([home], [])
    assert machine.find(homes=(machine.user,)) == ([home], [])


def test_several_homes_are_read_together(machine: Machine) -> None:
    paths = [make_home(machine.elsewhere / n / ".openclaw") for n in ("one", "two", "three")]
    given = (paths[0], machine.elsewhere / "two", paths[2], paths[0])
    homes, others = find_homes(Settings(state_dir=machine.elsewhere, homes=given), machine.env)
    assert [h.path for h in homes] == paths  # the one that is named twice is read once
    assert others == []
    assert homes[0].label == ""
    assert len({h.label for h in homes}) == 3


def test_agents_of_a_second_home_have_its_name_behind_theirs(
    tmp_path: Path, meter_factory: Any
) -> None:
    one, two = HandmadeHome(tmp_path / "one"), HandmadeHome(tmp_path / "two")
    one.write("aaa", session_of("aaa", 2))
    two.write("bbb", session_of("bbb", 3, T0 + 5))
    meter = meter_factory(one.path, two.path)
    meter.index()
    rows = meter.queries.usage(from_="all", by="agent")["rows"]
    assert {r["key"]: r["model_calls"] for r in rows} == {"main": 2, "main@two": 3}


def test_agents_folder_need_not_be_called_agents(tmp_path: Path, meter_factory: Any) -> None:
    """The variable of the first ClawMeter names the folder itself."""
    home = HandmadeHome(tmp_path / "home")
    home.write("aaa", session_of("aaa", 2))
    folder = (home.state / "agents").rename(tmp_path / "my agents")
    meter = meter_factory(agents_dir=folder)
    meter.index()
    assert meter.queries.usage(from_="all", by="agent")["totals"]["model_calls"] == 2
    assert meter.homes[0].found_by == "OPENCLAW_AGENTS_DIR"


def test_no_home_names_the_three_ways_and_the_demo(machine: Machine) -> None:
    make_home(machine.user / ".openclaw", "empty")
    with pytest.raises(HomeNotFound) as error:
        machine.find()
    for way in ("--home PATH", "OPENCLAW_STATE_DIR=PATH", "homes = [", "clawmeter demo"):
        assert way in str(error.value)


@pytest.mark.parametrize("path", ["nowhere", "empty", "file", "x" * 5000])
def test_named_place_without_a_home_is_an_error_and_not_passed_over(
    path: str, machine: Machine
) -> None:
    """Whoever names a home would take the numbers of another one for its own."""
    make_home(machine.user / ".openclaw")
    make_home(machine.elsewhere / "empty", "empty")
    (machine.elsewhere / "file").write_text("")
    named = machine.elsewhere / path
    with pytest.raises(HomeNotFound, match=f"no OpenClaw home at .*{path[:20]}"):
        machine.find(homes=(named,))
    for variable in ("OPENCLAW_STATE_DIR", "OPENCLAW_HOME"):
        machine.env = {"HOME": str(machine.user), variable: str(named)}
        with pytest.raises(HomeNotFound, match=variable):
            machine.find()
    machine.env = {"HOME": str(machine.user)}
    if path != "empty":
        with pytest.raises(HomeNotFound, match="OPENCLAW_AGENTS_DIR"):
            machine.find(agents_dir=named)


def test_second_named_home_that_is_missing_is_said(machine: Machine) -> None:
    good = make_home(machine.elsewhere / "good")
    with pytest.raises(HomeNotFound, match="missing"):
        machine.find(homes=(good, machine.elsewhere / "missing"))


def test_user_without_a_home_directory(machine: Machine) -> None:
    machine.env["HOME"] = str(machine.elsewhere / "nonexistent")
    with pytest.raises(HomeNotFound, match="clawmeter demo"):
        machine.find()


# --- its config ----------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Any:
    """config(text, **env) -> what is read from a home whose openclaw.json has this text."""

    def read(text: str | bytes, **env: str) -> OpenClawConfig:
        path = tmp_path / "openclaw.json"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_config(tmp_path, env)

    return read


def test_json5_with_all_that_we_take(config: Any) -> None:
    found = config("""
        // written by hand
        {
          meta: {lastTouchedVersion: '2026.9.6'},
          gateway: {port: 0x4966, bind: "lan", auth: {mode: "password", token: "secret",}},
          logging: {file: '/var/log/openclaw.log'},
          agents: {
            defaults: {workspace: "/w"},
            list: [{id: "main"}, {id: "ops", workspace: "/ops"}, {name: "no id"}, 5],
          },
          models: {providers: {
            acme: {
              baseUrl: "https://acme.example",
              models: [
                {id: "a-1", contextWindow: 200000, cost: {input: .25, output: 10, cacheRead: 0.025, cacheWrite: 0}},
                {id: "a-2", cost: {input: 0, output: 0, cacheRead: 0, cacheWrite: 0}},
              ],
            },
          }},
          auth: {profiles: {"anthropic:me": {mode: "oauth"}, "x": {provider: "openai", mode: "api_key"}}},
        }
    """)
    assert found.problem is None
    assert found.version == "2026.9.6"
    assert (found.gateway_port, found.gateway_bind, found.gateway_auth) == (
        18790,
        "lan",
        "password",
    )
    assert found.gateway_token == "secret"
    assert found.log_file == "/var/log/openclaw.log"
    assert {k: a.workspaces[0] for k, a in found.agents.items()} == {
        "main": "/w/main",
        "ops": "/ops",
    }
    assert found.base_urls == {"acme": "https://acme.example"}
    assert found.context_windows == {("acme", "a-1"): 200_000}
    assert found.plan_providers == {"anthropic"}
    price = found.prices[("acme", "a-1")]
    assert (price.input, price.output) == (Decimal("0.25"), Decimal(10))
    assert (price.cache_read, price.cache_write) == (Decimal("0.025"), Decimal(0))
    assert list(found.prices) == [("acme", "a-1")]


def test_agents_by_entries_as_openclaw_writes_them_since_2026_9(config: Any) -> None:
    found = config(json.dumps({"agents": {
        "defaults": {"workspace": "/w"}, "entries": {"main": {}, "ops": {"workspace": "/ops"}, "odd": 5},
        "list": [{"id": "left over"}],
    }}))  # fmt: skip
    assert {k: a.workspaces[0] for k, a in found.agents.items()} == {"main": "/w/main", "ops": "/ops", "odd": "/w/odd"}  # fmt: skip


def test_empty_config_has_the_defaults_of_openclaw(config: Any) -> None:
    assert config("{}") == OpenClawConfig()
    found = config("{}")
    assert (found.gateway_port, found.gateway_bind, found.gateway_auth) == (
        18789,
        "loopback",
        "token",
    )
    assert config(b"\xef\xbb\xbf{}").problem is None  # as editors on Windows save it


@pytest.mark.parametrize("version", ["2026.2.12", "2026.4.24", "2026.6.11", "2026.9.6"])
def test_configs_of_real_openclaw_versions(version: str) -> None:
    found = read_config(FIXTURES / version / ".openclaw", {})
    assert found.problem is None
    assert found.gateway_bind == "loopback"
    assert found.gateway_port > 18_800
    assert (found.gateway_token or "").startswith("tok-")
    assert "main" in found.agents
    assert any(p.input for p in found.prices.values())


@pytest.mark.parametrize("name", ["clawdbot.json", "moltbot.json"])
def test_config_by_its_older_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{"gateway": {"port": 5}}')
    assert read_config(tmp_path, {}).gateway_port == 5
    (tmp_path / "openclaw.json").write_text('{"gateway": {"port": 6}}')
    assert read_config(tmp_path, {}).gateway_port == 6


def test_config_named_by_variable(tmp_path: Path) -> None:
    (tmp_path / "openclaw.json").write_text('{"gateway": {"port": 5}}')
    other = tmp_path / "other.json"
    env = {"OPENCLAW_CONFIG_PATH": str(other)}
    assert read_config(tmp_path, env).gateway_port == 5  # there is none yet
    other.write_text('{"gateway": {"port": 6}}')
    assert read_config(tmp_path, env).gateway_port == 6


@pytest.mark.parametrize(("token", "env", "found"), [
    ("${GATEWAY_TOKEN}", {"GATEWAY_TOKEN": "abc"}, "abc"),
    ("a-${A_1}-${B}-c", {"A_1": "x", "B": "y"}, "a-x-y-c"),
    ("${GATEWAY_TOKEN}", {}, None),
    ("${GATEWAY_TOKEN}", {"GATEWAY_TOKEN": ""}, None),
    ("$${GATEWAY_TOKEN}x", {"GATEWAY_TOKEN": "abc"}, None),
    ("a$${B}", {"B": "abc"}, "a${B}"),
    ("$lower ${lower} $UPPER", {"lower": "x", "UPPER": "x"}, "$lower ${lower} $UPPER"),
    ("${A}", {"A": "${B}", "B": "no"}, None),
    ("", {}, None), (5, {}, None), (None, {}, None),
])  # fmt: skip
def test_variables_in_the_config(
    token: Any, env: dict[str, str], found: str | None, config: Any
) -> None:
    """An empty or unresolved token must never be one: it would match what anybody can send."""
    text = json.dumps({"gateway": {"auth": {"token": token}}})
    assert config(text, **env).gateway_token == found


def test_variable_is_not_looked_up_in_our_own_environment(config: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN", "ours")
    assert config('{"gateway": {"auth": {"token": "${GATEWAY_TOKEN}"}}}').gateway_token is None


def test_token_is_not_in_the_text_of_the_config(config: Any) -> None:
    assert "hush" not in repr(config('{"gateway": {"auth": {"token": "hush"}}}'))


def test_includes(tmp_path: Path, config: Any) -> None:
    """By the rules of OpenClaw: relative to the file, later wins, lists one behind the other."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "base.json5").write_text("""{
        gateway: {port: 1, bind: "${BIND}", auth: {token: "base"}},
        agents: {list: [{id: "main"}]},
        models: {$include: "models.json"},
    }""")
    (tmp_path / "parts" / "models.json").write_text(
        '{"providers": {"acme": {"models": [{"id": "a", "cost": {"input": 1}}]}}}'
    )
    (tmp_path / "second.json").write_text(
        '{"gateway": {"port": 2}, "agents": {"list": [{"id": "second"}]}}'
    )
    (tmp_path / "auth.json").write_text('{"token": "from auth"}')
    (tmp_path / "list.json").write_text('[{"id": "only"}]')
    found = config(
        """{
        $include: ["./parts/base.json5", "second.json"],
        gateway: {auth: {$include: "auth.json", mode: "password"}},
        agents: {list: [{id: "own"}]},
    }""",
        BIND="tailnet",
    )
    assert found.problem is None
    assert (found.gateway_port, found.gateway_bind) == (2, "tailnet")
    assert (found.gateway_token, found.gateway_auth) == ("from auth", "password")
    assert list(found.agents) == ["main", "second", "own"]
    assert found.prices[("acme", "a")].input == 1
    assert config('{"agents": {"list": {"$include": "list.json"}}}').agents.keys() == {"only"}


@pytest.mark.parametrize(("include", "said"), [
    ("loop.json", "circle: openclaw.json → loop.json → openclaw.json"),
    ("openclaw.json", "circle: openclaw.json → openclaw.json"),
    ("deep0.json", "deeper than 10 files"),
    ("missing.json", "missing.json"),
    ("broken.json", "broken.json"),
    ("../outside.json", "not below"),
    ("/dev/zero", "not below"),
    ("link.json", "not below"),
    (5, "5 is not the name of a file"),
    (None, "None is not the name of a file"),
    (["ok.json", {}], "{} is not the name of a file"),
])  # fmt: skip
def test_include_that_cannot_be_used_is_named(include: Any, said: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "outside.json").write_text("{}")
    (home / "link.json").symlink_to(tmp_path / "outside.json")
    (home / "ok.json").write_text("{}")
    (home / "broken.json").write_text("{a: ")
    (home / "loop.json").write_text('{"gateway": {"$include": "openclaw.json"}}')
    for n in range(12):
        (home / f"deep{n}.json").write_text(f'{{"$include": "deep{n + 1}.json"}}')
    (home / "openclaw.json").write_text(json.dumps({"$include": include, "gateway": {"port": 5}}))
    found = read_config(home, {})
    assert said in (found.problem or "")
    assert str(home / "openclaw.json") in (found.problem or "")


def test_includes_of_a_config_that_is_a_link_are_beside_the_link(tmp_path: Path) -> None:
    """As with dotfiles: OpenClaw looks where the link is."""
    real, home = tmp_path / "dotfiles", tmp_path / "home"
    real.mkdir()
    home.mkdir()
    (real / "config.json").write_text('{"$include": "more.json"}')
    (home / "openclaw.json").symlink_to(real / "config.json")
    (home / "more.json").write_text('{"gateway": {"port": 7}}')
    (tmp_path / "link").symlink_to(home)
    for path in (home, tmp_path / "link"):
        assert read_config(path, {}) == OpenClawConfig(gateway_port=7)


def test_ten_includes_deep_is_allowed(tmp_path: Path, config: Any) -> None:
    for n in range(1, 10):
        (tmp_path / f"{n}.json").write_text(f'{{"$include": "{n + 1}.json"}}')
    (tmp_path / "10.json").write_text('{"gateway": {"port": 7}}')
    found = config('{"$include": "1.json"}')
    assert (found.problem, found.gateway_port) == (None, 7)


@pytest.mark.parametrize("text", [
    "", "{", "not json", "[]", "null", '"text"', "{a: 1 b: 2}", b"\xff\xfe{}", '{"a": ' * 2000,
    "[" * 100_000,
])  # fmt: skip
def test_broken_config_is_a_problem_and_not_the_end(
    text: str | bytes, config: Any, tmp_path: Path
) -> None:
    found = config(text)
    assert str(tmp_path / "openclaw.json") in (found.problem or "")
    assert found == OpenClawConfig(problem=found.problem)


@pytest.mark.parametrize("odd", [None, 5, "text", [], True, [1, "x"], {"a": []}])
def test_config_with_odd_values_is_read_as_far_as_it_goes(odd: Any, config: Any) -> None:
    """OpenClaw's files are not ours to trust; nothing in them may stop the program."""
    for path in (
        ("meta",), ("meta", "lastTouchedVersion"), ("gateway",), ("gateway", "auth"), ("gateway", "port"), ("gateway", "auth", "token"),
        ("agents",), ("agents", "list"), ("agents", "entries"), ("agents", "defaults"), ("models",), ("models", "providers"),
        ("models", "providers", "p"), ("models", "providers", "p", "models"), ("auth",), ("auth", "profiles"), ("logging",),
    ):  # fmt: skip
        content: Any = odd
        for key in reversed(path):
            content = {key: content}
        content = clawmeter.merge_config({"env": {"x": 1}}, content)
        found = config(json.dumps(content))
        assert found.problem is None
        assert type(found.gateway_port) is int
        assert found.gateway_token in (None, "text")


def test_home_without_a_config(tmp_path: Path) -> None:
    assert read_config(tmp_path, {}).problem == "no openclaw.json"


# --- doctor --------------------------------------------------------------------------------------


class Doctor:
    """`clawmeter doctor` in an environment of its own."""

    def __init__(self, tmp_path: Path, monkeypatch: Any, capsys: Any, cache_home: Path) -> None:
        self.capsys, self.state = capsys, tmp_path / "state"
        for name in (
            "OPENCLAW_STATE_DIR",
            "OPENCLAW_HOME",
            "OPENCLAW_AGENTS_DIR",
            "OPENCLAW_CONFIG_PATH",
        ):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path / "user"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))
        monkeypatch.setenv("CLAWMETER_GATEWAY", "0")  # test_gateway.py has those with one
        (tmp_path / "user").mkdir()

    def run(self, *words: str) -> tuple[int, str]:
        """(exit status, what it prints)."""
        status = clawmeter.main(["doctor", "--state", str(self.state), "--tz", "UTC", *words])
        return status, str(self.capsys.readouterr().out)


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: Any, capsys: Any, cache_home: Path) -> Doctor:
    return Doctor(tmp_path, monkeypatch, capsys, cache_home)


@pytest.fixture
def home(tmp_path: Path) -> HandmadeHome:
    return HandmadeHome(
        tmp_path / "home",
        meta={"lastTouchedVersion": "2026.9.6"}, gateway={"port": 18999, "auth": {"token": "hush-hush"}},
    )  # fmt: skip


def marks(text: str) -> set[str]:
    return {line[:2].strip() for line in text.splitlines()} & {"ok", "--", "!!"}


def test_doctor_on_a_healthy_home(home: HandmadeHome, doctor: Doctor) -> None:
    home.write("aaa", session_of("aaa", 2))
    home.write("bbb", session_of("bbb", 1), suffix=".jsonl.deleted.2026-11-05T12-00-00.000Z")
    home.sessions("idle")
    home.database("ops").add("ccc", session_of("ccc", 3))
    make_home(Path(doctor.state).parent / "user" / ".openclaw-other")
    status, text = doctor.run("--home", str(home.path))
    assert status == 0
    assert marks(text) == {"ok"}
    for line in (
        f"ok  home {home.state} (by --home), OpenClaw 2026.9.6",
        "ok  gateway port 18999, bind loopback, auth token, token found",
        "ok  agent idle: no transcripts yet",
        "ok  agent main: JSONL: 1 deleted, 1 live",
        "ok  agent ops: 1 SQLite database",
        "6 model calls in 3 sessions",
        "ok  transcript databases of schema 23",
        "days in UTC",
    ):
        assert line in text
    assert "hush" not in text


def test_doctor_names_the_other_homes(doctor: Doctor, tmp_path: Path) -> None:
    first = make_home(tmp_path / "user" / ".openclaw")
    other = make_home(tmp_path / "user" / ".openclaw-work")
    status, text = doctor.run()
    assert status == 0
    assert f"ok  home {first} (by ~/.openclaw), OpenClaw version not known" in text
    assert f"--  another home: {other} (~/.openclaw-work); read it with --home {other}" in text


def test_doctor_without_a_home(doctor: Doctor) -> None:
    status, text = doctor.run()
    assert status == 1
    assert "!!  no OpenClaw home found" in text
    assert "clawmeter demo" in text
    assert not doctor.state.exists()  # looking around makes nothing


def test_doctor_on_a_home_that_is_named_and_missing(doctor: Doctor, tmp_path: Path) -> None:
    status, text = doctor.run("--home", str(tmp_path / "nowhere"))
    assert status == 1
    assert f"!!  no OpenClaw home at {tmp_path / 'nowhere'}" in text


def test_doctor_on_a_broken_config(home: HandmadeHome, doctor: Doctor) -> None:
    """What is not known is not shown as if it were."""
    home.write("aaa", session_of("aaa", 2))
    (home.state / "openclaw.json").write_text('{"gateway": ')
    status, text = doctor.run("--home", str(home.path))
    assert status == 1
    assert f"!!  cannot read {home.state / 'openclaw.json'}" in text
    assert "are not known until it can be read" in text
    assert "gateway port" not in text
    assert "2 model calls" in text


def test_doctor_on_a_home_without_a_config(home: HandmadeHome, doctor: Doctor) -> None:
    home.write("aaa", session_of("aaa", 2))
    (home.state / "openclaw.json").unlink()
    status, text = doctor.run("--home", str(home.path))
    assert status == 0
    assert "--  no openclaw.json" in text


def test_doctor_on_a_broken_database(home: HandmadeHome, doctor: Doctor) -> None:
    home.write("aaa", session_of("aaa", 2))
    database = home.database()
    database.path.write_bytes(b"SQLite format 3\0" + b"\x55" * 5000)
    status, text = doctor.run("--home", str(home.path))
    assert status == 1
    assert any(line.startswith("!!") and str(database.path) in line for line in text.splitlines())
    assert "2 model calls" in text


def test_doctor_on_lines_that_are_not_json(home: HandmadeHome, doctor: Doctor) -> None:
    """Nothing but these lines is missing, and OpenClaw writes such ones itself: said, and healthy."""
    path = home.write("aaa", session_of("aaa", 2))
    append(path, [b"garbage", b'{"half": '])
    status, text = doctor.run("--home", str(home.path))
    assert status == 0
    assert "--  2 lines could not be read, the last:" in text
    assert str(path) in text


def test_doctor_on_implausible_calls(home: HandmadeHome, doctor: Doctor) -> None:
    home.write("aaa", [header("aaa"), call("a", T0 + 1, (10**12, 1, 0, 0)), call("b", T0 + 2)])
    status, text = doctor.run("--home", str(home.path))
    assert status == 0
    assert "--  left out as implausible: a call of session aaa" in text


def test_doctor_on_agents_that_cannot_be_listed(home: HandmadeHome, doctor: Doctor) -> None:
    (home.state / "agents").write_text("a file, where a folder should be")
    status, text = doctor.run("--home", str(home.path))
    assert status == 1
    lines = [line for line in text.splitlines() if "cannot list" in line]
    assert lines == [f"!!  cannot list {home.state / 'agents'}: Not a directory"]


def test_doctor_prints_no_control_characters(home: HandmadeHome, doctor: Doctor) -> None:
    """Names of agents and sessions are chosen by others; a terminal obeys what it is sent."""
    home.write("aaa", session_of("aaa", 1), agent="evil\x1b]0;owned\x07\u202e")
    status, text = doctor.run("--home", str(home.path))
    assert status == 0
    assert "agent evil\ufffd" in text
    assert not set(text) & set("\x1b\x07\u202e")


def test_doctor_with_a_setting_that_is_wrong(home: HandmadeHome, doctor: Doctor) -> None:
    doctor.state.mkdir()
    (doctor.state / "clawmeter.toml").write_text("prot = 5")
    status, _ = doctor.run("--home", str(home.path))
    assert status == 2


def test_doctor_while_another_clawmeter_has_the_ledger(
    home: HandmadeHome, doctor: Doctor, meter_factory: Any
) -> None:
    home.write("aaa", session_of("aaa", 2))
    meter_factory(home.path, state_dir=doctor.state).index()
    status, text = doctor.run("--home", str(home.path))
    assert status == 0
    assert "2 model calls in 1 sessions" in text
