"""Who may ask: tokens, logins, Host and Origin, scopes, guessing."""

from __future__ import annotations

import dataclasses
import re
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest
from handmade import HandmadeHome

from clawmeter import Access, Attempts, ClawmeterError, create_app, is_loopback

if TYPE_CHECKING:
    from pathlib import Path

    from homes import HomeFactory, MadeHome

HOST = "localhost"


class Clock:
    """A time that only moves when told."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def home(home_factory: HomeFactory) -> MadeHome:
    """The home that all tests of this file share: they ask, and nothing writes into it."""
    return home_factory("sqlite", copy=False, sessions=12, messages=300)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(meter: Any, tmp_path: Path, clock: Clock) -> Access:
    return make_access(meter, tmp_path / "access", clock)


def make_access(meter: Any, path: Path, clock: Clock, tokens: Any = (), **settings: Any) -> Access:
    changed = dataclasses.replace(meter.settings, **settings)
    return Access(path, settings=changed, gateway_tokens=lambda: list(tokens), clock=clock)


@pytest.fixture
def anyone(client: Any) -> Any:
    """A client without a credential."""
    return client.application.test_client()


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def log_in(anyone: Any, secret: str, **headers: str) -> Any:
    headers = {"Origin": f"http://{HOST}", **headers}
    return anyone.post("/api/login", json={"token": secret}, headers=headers)


def code_of(response: Any) -> str:
    assert response.content_type == "application/json"
    assert set(response.json["error"]) == {"code", "message"}
    return str(response.json["error"]["code"])


# The dashboard token


def test_dashboard_token_is_made_once_and_private(access: Access, tmp_path: Path) -> None:
    token = access.load_token()
    assert len(token) >= 43
    assert access.load_token() == token
    path = tmp_path / "access" / "token"
    assert path.read_text().strip() == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_dashboard_token_of_another_process_is_taken_over(
    meter: Any, access: Access, tmp_path: Path, clock: Clock
) -> None:
    other = make_access(meter, tmp_path / "access", clock)
    results: list[str] = []
    threads = [
        threading.Thread(target=lambda a=a: results.append(a.load_token()))
        for a in (access, other) * 8
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1


def test_token_file_open_to_others_is_closed(access: Access, tmp_path: Path) -> None:
    access.load_token()
    path = tmp_path / "access" / "token"
    path.chmod(0o644)
    path.write_text("another-token\n")
    assert access.load_token() == "another-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_empty_token_file_gets_a_token(access: Access, tmp_path: Path) -> None:
    path = tmp_path / "access" / "token"
    path.parent.mkdir(mode=0o700)
    path.write_text(" \n")
    assert len(access.load_token()) >= 43


def test_token_file_without_a_token_is_named(access: Access, tmp_path: Path) -> None:
    path = tmp_path / "access" / "token"
    path.parent.mkdir(mode=0o700)
    path.write_text("two words")
    with pytest.raises(ClawmeterError, match="holds no token"):
        access.load_token()
    assert access.check_bearer("two words", is_private=True) is None


def test_unwritable_state_directory_says_what_to_do(
    meter: Any, tmp_path: Path, clock: Clock
) -> None:
    (tmp_path / "file").write_text("")
    access = make_access(meter, tmp_path / "file" / "below", clock)
    with pytest.raises(ClawmeterError, match="token"):
        access.load_token()


def test_given_token_is_used_and_not_written(meter: Any, tmp_path: Path, clock: Clock) -> None:
    access = make_access(meter, tmp_path / "given", clock, token="  from-outside \n")
    assert access.load_token() == "from-outside"
    assert not (tmp_path / "given").exists()
    grant = access.check_bearer("from-outside", is_private=False)
    assert grant is not None
    assert grant.scope == "full"


def test_blank_given_token_counts_as_none(meter: Any, tmp_path: Path, clock: Clock) -> None:
    access = make_access(meter, tmp_path / "given", clock, token="  ")
    assert len(access.load_token()) >= 43
    assert access.check_bearer("", is_private=True) is None


def test_given_token_with_spaces_is_refused(meter: Any, tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(ClawmeterError, match="printable"):
        make_access(meter, tmp_path / "given", clock, token="two words").load_token()


def test_rotation_ends_token_and_logins(access: Access) -> None:
    old = access.load_token()
    made = access.log_in(old, remote="127.0.0.1")
    assert made is not None
    new = access.rotate()
    assert new != old
    assert access.load_token() == new
    assert access.check_bearer(old, is_private=True) is None
    assert access.check_cookie(made[1]) is None
    assert access.list_logins() == []


# Named tokens


def test_named_token_counts_at_once_in_another_process(
    meter: Any, access: Access, tmp_path: Path, clock: Clock
) -> None:
    other = make_access(meter, tmp_path / "access", clock)
    assert other.list_tokens() == []
    row, secret = access.create_token("grafana", "metrics")
    grant = other.check_bearer(secret, is_private=False)
    assert grant is not None
    assert (grant.scope, grant.id) == ("metrics", row.id)
    assert access.revoke_token("grafana")
    assert other.check_bearer(secret, is_private=False) is None
    assert not access.revoke_token("grafana")


def test_secrets_are_nowhere_on_disk(access: Access, tmp_path: Path) -> None:
    _, secret = access.create_token("one", "full")
    made = access.log_in(access.load_token(), remote="::1", user_agent="Firefox")
    assert made is not None
    path = tmp_path / "access" / "access.json"
    text = path.read_text()
    assert secret not in text
    assert made[1] not in text
    assert access.load_token() not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [name for name in path.parent.iterdir() if name.name.startswith(".")]


def test_rows_for_people_have_no_digest(access: Access) -> None:
    row, _ = access.create_token("one", "read")
    assert "sha256" not in row.row()
    assert row.row()["label"] == "one"


@pytest.mark.parametrize(
    ("name", "scope"), [("", "full"), ("a\nb", "full"), ("x" * 65, "full"), ("a", "admin")]
)
def test_bad_token_names_and_scopes_are_refused(access: Access, name: str, scope: str) -> None:
    with pytest.raises(ClawmeterError):
        access.create_token(name, scope)


def test_token_names_are_unique(access: Access) -> None:
    access.create_token("one", "read")
    with pytest.raises(ClawmeterError, match="already"):
        access.create_token("one", "full")


def test_many_writers_lose_nothing(
    meter: Any, access: Access, tmp_path: Path, clock: Clock
) -> None:
    others = [make_access(meter, tmp_path / "access", clock) for _ in range(4)]

    def create(index: int) -> None:
        for n in range(5):
            others[index].create_token(f"t{index}-{n}", "read")

    threads = [threading.Thread(target=create, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(access.list_tokens()) == 20


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"credentials": 3}', '{"credentials": [{"id": 1}]}', '{"credentials": [7]}'],
)
def test_damaged_access_file_lets_nobody_in(access: Access, tmp_path: Path, content: str) -> None:
    _, secret = access.create_token("one", "full")
    (tmp_path / "access" / "access.json").write_text(content)
    assert access.check_bearer(secret, is_private=True) is None
    assert access.check_bearer(access.load_token(), is_private=True) is not None
    with pytest.raises(ClawmeterError, match="mend or delete"):
        access.create_token("two", "full")
    made = access.log_in(access.load_token(), remote="127.0.0.1")
    assert made is not None
    assert access.check_cookie(made[1]) is not None
    assert (tmp_path / "access" / "access.json").read_text() == content


def test_fields_of_a_newer_version_do_no_harm(access: Access, tmp_path: Path) -> None:
    _, secret = access.create_token("one", "full")
    path = tmp_path / "access" / "access.json"
    path.write_text(path.read_text().replace('"kind"', '"new_field": 1, "kind"'))
    assert access.check_bearer(secret, is_private=True) is not None


# Logins


def test_login_ends_after_thirty_days(access: Access, clock: Clock) -> None:
    made = access.log_in(access.load_token(), remote="10.0.0.1", user_agent="Fire\x00fox")
    assert made is not None
    row, value = made
    assert row.label == "Firefox"
    clock.now += 30 * 86_400 - 1
    assert access.check_cookie(value) is not None
    clock.now += 1
    assert access.check_cookie(value) is None
    assert access.list_logins() == []


def test_login_has_the_scope_of_its_token_and_ends_with_it(access: Access) -> None:
    _, secret = access.create_token("tv", "read")
    made = access.log_in(secret, remote="10.0.0.1")
    assert made is not None
    grant = access.check_cookie(made[1])
    assert grant is not None
    assert grant.scope == "read"
    assert access.holds(grant)
    access.revoke_token("tv")
    assert access.check_cookie(made[1]) is None
    assert not access.holds(grant)


@pytest.mark.parametrize("scope", ["metrics", "otlp"])
def test_machines_tokens_cannot_log_in(access: Access, scope: str) -> None:
    _, secret = access.create_token("machine", scope)
    assert access.log_in(secret, remote="10.0.0.1") is None


def test_oldest_login_makes_room(access: Access) -> None:
    values = []
    for _ in range(202):
        made = access.log_in(access.load_token(), remote="10.0.0.1")
        assert made is not None
        values.append(made[1])
    assert len(access.list_logins()) == 200
    assert access.check_cookie(values[0]) is None
    assert access.check_cookie(values[-1]) is not None


def test_login_works_when_the_disk_is_full(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    token = access.load_token()

    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    made = access.log_in(token, remote="127.0.0.1")
    assert made is not None
    assert access.check_cookie(made[1]) is not None
    with pytest.raises(ClawmeterError, match="No space left"):
        access.create_token("one", "full")


# Secrets that are none


@pytest.mark.parametrize(
    "secret", ["", " ", "x", "\x00", "tökén", "a" * 5000, "None", "null", "\ud800"]
)
def test_malformed_secrets_never_match(meter: Any, tmp_path: Path, secret: str) -> None:
    access = make_access(meter, tmp_path / "a", Clock(), tokens=["", " ", "\ud800", "real"])
    access.create_token("one", "full")
    assert access.check_bearer(secret, is_private=True) is None
    assert access.check_cookie(secret) is None
    assert access.log_in(secret, remote="127.0.0.1") is None


def test_gateway_token_only_in_private(meter: Any, tmp_path: Path) -> None:
    access = make_access(meter, tmp_path / "a", Clock(), tokens=["", "real"])
    assert access.check_bearer("real", is_private=False) is None
    grant = access.check_bearer("real", is_private=True)
    assert grant is not None
    assert grant.kind == "gateway"
    assert access.log_in("real", remote="127.0.0.1") is None


# Guessing


def test_ten_wrong_secrets_shut_an_address_out_for_five_minutes(clock: Clock) -> None:
    attempts = Attempts(clock)
    for n in range(10):
        assert attempts.wait_s("10.0.0.1") == 0
        attempts.count("10.0.0.1", f"wrong-{n}")
    assert attempts.wait_s("10.0.0.1") == 300
    assert attempts.wait_s("10.0.0.2") == 0
    clock.now += 299
    assert attempts.wait_s("10.0.0.1") == 1
    clock.now += 1
    assert attempts.wait_s("10.0.0.1") == 0


def test_same_wrong_secret_is_one_guess(clock: Clock) -> None:
    attempts = Attempts(clock)
    for _ in range(50):
        attempts.count("10.0.0.1", "revoked")
    assert attempts.wait_s("10.0.0.1") == 0


def test_hundred_wrong_secrets_shut_the_network_out_but_not_the_owner(clock: Clock) -> None:
    attempts = Attempts(clock)
    for n in range(100):
        attempts.count(f"10.0.{n}.1", "wrong")
    assert attempts.wait_s("10.9.9.9") == 300
    assert attempts.wait_s("127.0.0.1") == 0


def test_an_ipv6_network_is_one_address(clock: Clock) -> None:
    attempts = Attempts(clock)
    for n in range(10):
        attempts.count(f"2001:db8::{n:x}", f"wrong-{n}")
    assert attempts.wait_s("2001:db8::ffff:1") == 300
    assert attempts.wait_s("2001:db8:0:1::1") == 0


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("", False),
        ("localhost", False),
        ("127.0.0.1.example.org", False),
    ],
)
def test_loopback_addresses(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


# Host names


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST:3377", True),
        ("localhost.", True),
        ("clawmeter.localhost:3377", True),
        ("127.0.0.1:3377", True),
        ("192.168.1.20", True),
        ("[::1]:3377", True),
        ("pi.home.example:3377", True),
        ("a.tail.example", True),
        ("tail.example", False),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("evil.example:3377", False),
        ("user@localhost", False),
        ("localhost:3377:1", False),
        ("localhost:port", False),
        ("local host", False),
        ("", False),
        ("[", False),
        ("a/b", False),
    ],
)
def test_own_hosts(meter: Any, tmp_path: Path, host: str, expected: bool) -> None:
    allowed = ("Pi.home.example", ".tail.example")
    access = make_access(meter, tmp_path / "a", Clock(), allowed_hosts=allowed)
    assert access.is_own_host(host) is expected


def test_machine_names_are_own_hosts(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Pi4")
    monkeypatch.setattr("socket.getfqdn", lambda: "pi4.lan")
    for host in ("pi4", "pi4:3377", "PI4.local", "pi4.lan"):
        assert access.is_own_host(host)
    assert not access.is_own_host("pi5.local")


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/usage", "/assets/x/y", "/nowhere"])
def test_foreign_host_is_refused_everywhere(client: Any, path: str) -> None:
    response = client.get(path, headers={"Host": "evil.example"})
    assert response.status_code == 421
    assert code_of(response) == "host_not_allowed"
    assert "allowed_hosts" in response.json["error"]["message"]


# What needs a credential


def test_everything_but_the_open_paths_needs_a_credential(anyone: Any) -> None:
    routes = [rule for rule in anyone.application.url_map.iter_rules() if rule.endpoint]
    assert len(routes) > 20
    opened = {"/", "/healthz", "/readyz", "/api/login", "/assets/<digest>/<text:name>"}
    for rule in routes:
        path = re.sub(r"<[^>]+>", "x", rule.rule)
        for method in sorted(rule.methods - {"OPTIONS"}):
            response = anyone.open(path, method=method, headers={"Origin": f"http://{HOST}"})
            if rule.rule in opened:
                assert response.status_code != 401 or path == "/api/login", path
            else:
                assert response.status_code == 401, (method, path)
                assert "Bearer" in response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("path", ["/api/nowhere", "/v1/traces", "/x", "/api/", "/../etc/passwd"])
def test_unknown_paths_say_nothing_to_strangers(anyone: Any, path: str) -> None:
    assert anyone.get(path).status_code == 401


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "PATCH", "FOO"])
def test_other_methods_are_refused(client: Any, anyone: Any, method: str) -> None:
    assert anyone.open("/api/usage", method=method).status_code == 401
    response = client.open("/api/usage", method=method)
    assert response.status_code == 405
    assert code_of(response) == "method_not_allowed"
    assert "GET" in response.headers["Allow"]


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer  ",
        "Basic {token}",
        "{token}",
        "Bearer {token} {token}",
        "Bearer {token},",
        "Token {token}",
        "Bearer \xff",
        "Bearer {token}x",
    ],
)
def test_malformed_authorization_is_none(anyone: Any, meter: Any, header: str) -> None:
    value = header.format(token=meter.access.load_token())
    assert anyone.get("/api/usage", headers={"Authorization": value}).status_code == 401


def test_scheme_is_bearer_in_any_case(anyone: Any, meter: Any) -> None:
    header = {"Authorization": f"bEARER   {meter.access.load_token()}"}
    assert anyone.get("/api/usage", headers=header).status_code == 200


def test_token_in_the_query_string_does_not_count(anyone: Any, meter: Any) -> None:
    assert anyone.get(f"/api/usage?token={meter.access.load_token()}").status_code == 401


# Scopes


@pytest.mark.parametrize(
    ("scope", "method", "path", "status"),
    [
        ("full", "POST", "/api/ingest", 200),
        ("full", "GET", "/metrics", 200),
        ("read", "GET", "/api/usage", 200),
        ("read", "HEAD", "/api/usage", 200),
        ("read", "GET", "/metrics", 200),
        ("read", "POST", "/api/ingest", 403),
        ("read", "DELETE", "/api/logins/x", 403),
        ("read", "POST", "/api/logout", 403),
        ("read", "GET", "/v1/traces", 403),
        ("metrics", "GET", "/metrics", 200),
        ("metrics", "GET", "/api/usage", 403),
        ("metrics", "GET", "/metrics/", 403),
        ("metrics", "POST", "/metrics", 403),
        ("otlp", "GET", "/metrics", 403),
        ("otlp", "GET", "/api/usage", 403),
        ("otlp", "GET", "/api/v1/traces", 403),
        ("otlp", "POST", "/v1/nowhere", 404),
    ],
)
def test_scopes(anyone: Any, meter: Any, scope: str, method: str, path: str, status: int) -> None:
    _, secret = meter.access.create_token(f"{scope}-token", scope)
    response = anyone.open(path, method=method, headers=bearer(secret))
    assert response.status_code == status
    if status == 403:
        assert method == "HEAD" or code_of(response) == "wrong_scope"


# Logging in


def test_login_gives_a_cookie_that_opens_the_api(anyone: Any, meter: Any) -> None:
    response = log_in(anyone, meter.access.load_token())
    assert response.status_code == 200
    assert response.json["scope"] == "full"
    cookie = response.headers["Set-Cookie"]
    assert cookie.startswith("clawmeter_80=")
    for part in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=2592000"):
        assert part in cookie
    assert "Secure" not in cookie
    assert anyone.get("/api/usage").status_code == 200
    (login,) = anyone.get("/api/logins").json
    assert login["current"] is True
    assert "sha256" not in login


def test_cookie_is_secure_under_tls(anyone: Any, meter: Any) -> None:
    response = anyone.post(
        "/api/login",
        json={"token": meter.access.load_token()},
        base_url=f"https://{HOST}",
        headers={"Origin": f"https://{HOST}"},
    )
    assert response.status_code == 200
    assert "; Secure" in response.headers["Set-Cookie"]


def test_logout_ends_the_login(anyone: Any, meter: Any) -> None:
    log_in(anyone, meter.access.load_token())
    value = anyone.get_cookie("clawmeter_80").value
    response = anyone.post("/api/logout", headers={"Origin": f"http://{HOST}"})
    assert response.json == {"logged_out": True}
    assert "Max-Age=0" in response.headers["Set-Cookie"]
    assert meter.access.check_cookie(value) is None
    assert anyone.get("/api/usage").status_code == 401


def test_reader_may_log_out(anyone: Any, meter: Any) -> None:
    _, secret = meter.access.create_token("tv", "read")
    log_in(anyone, secret)
    origin = {"Origin": f"http://{HOST}"}
    assert anyone.post("/api/ingest", headers=origin).status_code == 403
    assert anyone.post("/api/logout", headers=origin).json == {"logged_out": True}


def test_a_browser_is_logged_out_from_elsewhere(client: Any, anyone: Any, meter: Any) -> None:
    log_in(anyone, meter.access.load_token())
    (login,) = client.get("/api/logins").json
    assert login["current"] is False
    assert client.delete(f"/api/logins/{login['id']}").json == {"logged_out": True}
    assert anyone.get("/api/usage").status_code == 401
    response = client.delete(f"/api/logins/{login['id']}")
    assert response.status_code == 404
    assert code_of(response) == "login_not_found"


def test_cookie_of_another_port_does_not_count(anyone: Any, meter: Any) -> None:
    made = meter.access.log_in(meter.access.load_token(), remote="127.0.0.1")
    anyone.set_cookie("clawmeter_81", made[1])
    assert anyone.get("/api/usage").status_code == 401


def test_wrong_bearer_is_not_saved_by_a_cookie(anyone: Any, meter: Any) -> None:
    log_in(anyone, meter.access.load_token())
    assert anyone.get("/api/usage", headers=bearer("wrong")).status_code == 401


def test_wrong_token_is_refused_then_told_to_wait(anyone: Any, meter: Any) -> None:
    for n in range(10):
        response = log_in(anyone, f"wrong-{n}")
        assert response.status_code == 401
        assert code_of(response) == "wrong_token"
        assert "Set-Cookie" not in response.headers
    response = log_in(anyone, meter.access.load_token())
    assert response.status_code == 429
    assert 0 < int(response.headers["Retry-After"]) <= 300
    # The owner's scripts go on.
    token = meter.access.load_token()
    assert anyone.get("/api/usage", headers=bearer(token)).status_code == 200


def test_bearers_from_the_network_are_limited_too(anyone: Any, meter: Any) -> None:
    remote = {"REMOTE_ADDR": "10.0.0.9"}
    token = bearer(meter.access.load_token())
    for _ in range(30):
        wrong = bearer("the-same-revoked-one")
        assert anyone.get("/api/usage", headers=wrong, environ_base=remote).status_code == 401
    for n in range(9):
        wrong = bearer(f"wrong-{n}")
        assert anyone.get("/api/usage", headers=wrong, environ_base=remote).status_code == 401
    assert anyone.get("/api/usage", headers=token, environ_base=remote).status_code == 429
    assert anyone.get("/api/usage", headers=token).status_code == 200


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"token": 3}', "application/json", 400),
        (b'{"token": ""}', "application/json", 400),
        (b'{"token": "a", "b": 1}', "application/json", 400),
        (b'{"token": "\\u0000"}', "application/json", 401),
        (b'{"token": "\xff"}', "application/json", 400),
        (b"token=a", "application/x-www-form-urlencoded", 415),
        (b'{"token": "a"}', "text/plain", 415),
    ],
)
def test_bad_login_bodies(anyone: Any, body: bytes, media: str, status: int) -> None:
    origin = {"Origin": f"http://{HOST}"}
    response = anyone.post("/api/login", data=body, content_type=media, headers=origin)
    assert response.status_code == status
    code_of(response)


# Changes that another site asks for


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "https://localhost"},
        {"Origin": "http://localhost:8000"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_changes_by_cookie_need_our_own_origin(
    anyone: Any, meter: Any, headers: dict[str, str]
) -> None:
    assert log_in(anyone, meter.access.load_token()).status_code == 200
    for path in ("/api/ingest", "/api/login", "/api/logout"):
        response = anyone.post(path, json={"token": "x"}, headers=headers)
        assert response.status_code == 403, path
        assert code_of(response) == "wrong_origin"


@pytest.mark.parametrize("site", [None, "same-origin", "none"])
def test_our_own_page_may_change(anyone: Any, meter: Any, site: str | None) -> None:
    log_in(anyone, meter.access.load_token())
    headers = {"Origin": f"http://{HOST}"} | ({"Sec-Fetch-Site": site} if site else {})
    assert anyone.post("/api/ingest", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("site", "status"),
    [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)],
)
def test_pages_on_other_ports_do_not_read_by_cookie(
    anyone: Any, meter: Any, site: str, status: int
) -> None:
    log_in(anyone, meter.access.load_token())
    headers = {"Sec-Fetch-Site": site}
    assert anyone.get("/api/usage", headers=headers).status_code == status
    assert anyone.get("/", headers=headers).status_code == 200


def test_bearer_needs_no_origin(client: Any) -> None:
    assert client.post("/api/ingest").status_code == 200


# The gateway's token, proxies


@pytest.fixture
def gateway_client(meter: Any, tmp_path: Path) -> Any:
    access = make_access(meter, tmp_path / "gateway", Clock(), tokens=["", "gateway-token"])
    meter.access = access
    client = create_app(meter).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = "Bearer gateway-token"
    return client


def test_the_token_in_openclaws_config_is_the_gateways(meter: Any, home: MadeHome) -> None:
    token = next(text for text in home.truth["canary_secrets"] if text.startswith("tok-"))
    assert meter.gateway_tokens() == [token]
    client = create_app(meter).test_client()
    assert client.get("/api/usage", headers=bearer(token)).status_code == 200
    lan = {"REMOTE_ADDR": "10.0.0.1"}
    answer = client.get("/api/usage", headers=bearer(token), environ_base=lan)
    assert answer.status_code == 401
    assert log_in(client, token).status_code == 401


def test_a_gateway_token_that_was_changed_is_the_gateways_at_once(tmp_path: Path, meter_factory: Any) -> None:  # fmt: skip
    home = HandmadeHome(tmp_path / "home", gateway={"auth": {"token": "tok-old"}})
    home.sessions()
    meter = meter_factory(home.path)
    client = create_app(meter).test_client()
    assert client.get("/api/usage", headers=bearer("tok-old")).status_code == 200
    config = home.state / "openclaw.json"
    config.write_text('{"gateway": {"auth": {"token": "tok-of-today"}}}')
    assert client.get("/api/usage", headers=bearer("tok-of-today")).status_code == 200
    assert client.get("/api/usage", headers=bearer("tok-old")).status_code == 401
    # In a file that the config includes: after a while, here none.
    meter.TOKEN_S = 0
    config.with_name("auth.json5").write_text('{gateway: {auth: {token: "tok-1"}}}')
    config.write_text('{$include: "./auth.json5"}')
    assert meter.gateway_tokens() == ["tok-1"]
    config.with_name("auth.json5").write_text('{gateway: {auth: {token: "tok-2"}}}')
    assert meter.gateway_tokens() == ["tok-2"]


def test_gateway_token_works_on_loopback(gateway_client: Any) -> None:
    assert gateway_client.get("/api/usage").status_code == 200


def test_gateway_token_works_under_tls(gateway_client: Any) -> None:
    remote = {"REMOTE_ADDR": "10.0.0.1"}
    url = f"https://{HOST}"
    response = gateway_client.get("/api/usage", environ_base=remote, base_url=url)
    assert response.status_code == 200


@pytest.mark.parametrize("remote", ["10.0.0.1", "::ffff:10.0.0.1", "fe80::1", ""])
def test_gateway_token_fails_in_the_clear(gateway_client: Any, remote: str) -> None:
    response = gateway_client.get("/api/usage", environ_base={"REMOTE_ADDR": remote})
    assert response.status_code == 401


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Via", "X-Real-IP"],
)
def test_a_proxied_request_is_never_loopback(gateway_client: Any, header: str) -> None:
    for value in ("127.0.0.1", "https", ""):
        assert gateway_client.get("/api/usage", headers={header: value}).status_code == 401


def test_secrets_are_not_logged(anyone: Any, meter: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    token = meter.access.load_token()
    log_in(anyone, token)
    log_in(anyone, "wrong-secret")
    anyone.get("/api/usage", headers=bearer("wrong-secret"))
    anyone.get("/api/usage", headers=bearer(token))
    assert token not in caplog.text
    assert "wrong-secret" not in caplog.text
