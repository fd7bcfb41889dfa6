"""The HTTP application: pages, health, rooms, headers."""

from typing import NamedTuple

import httpx
import pytest

from gateway.http import Health, make_app
from gateway.keys import Secret

SECRET = "a secret of at least thirty-two bytes"


class View(NamedTuple):
    room: str
    peers: int
    producers: int
    streaming: bool


class FakeHouse:
    def __init__(self):
        self.serving = True

    def health(self):
        return Health(self.serving, {"status": "ok" if self.serving else "degraded"})

    def rooms(self):
        return [View("lobby", 3, 2, True), View("empty", 0, 0, False)]

    def signal_port(self):
        return 3001


@pytest.fixture
def static(tmp_path):
    for page in ("index", "host", "viewer", "404"):
        (tmp_path / f"{page}.html").write_text(f"<title>{page}</title>")
    (tmp_path / "host-TFKHBK2L.js").write_text("1")
    (tmp_path / "plain.js").write_text("2")
    (tmp_path.parent / "outside.txt").write_text("secret")
    return tmp_path


def client(static, house=None, **options):
    app = make_app(
        house or FakeHouse(),
        version="1.2.3",
        static=static,
        **{"signaling_url": None, "secret": None, **options},
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:3000")


@pytest.mark.parametrize(
    ("path", "title"), [("/", "index"), ("/host", "host"), ("/viewer/lobby", "viewer")]
)
async def test_pages(static, path, title):
    async with client(static) as http:
        answer = await http.get(path)
    assert answer.status_code == 200
    assert answer.text == f"<title>{title}</title>"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-type"].startswith("text/html")


async def test_every_answer_bears_the_security_headers(static):
    async with client(static) as http:
        for path in ("/", "/nothing", "/healthz", "/api/rooms", "/static/plain.js", "/config.json"):
            headers = (await http.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "connect-src 'self' ws: wss:" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["x-frame-options"] == "DENY"


async def test_hashed_files_are_kept_and_others_asked_for_again(static):
    async with client(static) as http:
        hashed = await http.get("/static/host-TFKHBK2L.js")
        plain = await http.get("/static/plain.js")
        again = await http.get("/static/plain.js", headers={"if-none-match": plain.headers["etag"]})
    assert hashed.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert plain.headers["cache-control"] == "no-cache"
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        "/static/../outside.txt",
        "/static/%2e%2e/outside.txt",
        "/static/..%2foutside.txt",
        "/static//etc/passwd",
        "/static/",
        "/static",
        "/nothing",
        "/viewer/",
        "/viewer/a/b",
    ],
)
async def test_what_is_not_there_is_a_page_too(static, path):
    async with client(static) as http:
        answer = await http.get(path, follow_redirects=True)
    assert answer.status_code == 404
    assert answer.text == "<title>404</title>"


async def test_config_says_where_signaling_is(static):
    async with client(static) as http:
        answer = await http.get("/config.json")
    assert answer.json() == {"signalingUrl": None, "signalingPort": 3001, "version": "1.2.3"}
    async with client(static, signaling_url="wss://x.example/") as http:
        assert (await http.get("/config.json")).json()["signalingUrl"] == "wss://x.example/"


async def test_health_is_503_when_it_does_not_serve(static):
    house = FakeHouse()
    async with client(static, house) as http:
        assert (await http.get("/healthz")).status_code == 200
        house.serving = False
        answer = await http.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "degraded"})
    assert answer.headers["cache-control"] == "no-store"


async def test_whether_a_room_is_open_is_for_everyone_and_the_list_for_few(static):
    async with client(static, secret=Secret(SECRET)) as http:
        found = await http.get("/api/rooms/lobby")
        assert (found.status_code, found.json()) == (200, {"room": "lobby", "streaming": True})
        missing = await http.get("/api/rooms/other")
        assert missing.status_code == 404
        assert missing.json()["error"]["code"] == "room_not_found"
        for authorization in (
            None,
            "Bearer",
            "Bearer wrong",
            f"Basic {SECRET}",
            f"Bearer {SECRET}x",
        ):
            headers = {} if authorization is None else {"authorization": authorization}
            assert (await http.get("/api/rooms", headers=headers)).status_code == 401
        listed = await http.get("/api/rooms", headers={"authorization": f"Bearer {SECRET}"})
        assert [room["room"] for room in listed.json()["rooms"]] == ["lobby", "empty"]


async def test_without_a_secret_nobody_gets_the_list(static):
    async with client(static) as http:
        for authorization in ("Bearer ", "Bearer None", "Bearer"):
            answer = await http.get("/api/rooms", headers={"authorization": authorization})
            assert answer.status_code == 401


async def test_other_methods_are_refused(static):
    async with client(static) as http:
        for path in ("/", "/healthz", "/api/rooms/lobby", "/static/plain.js"):
            assert (await http.post(path, content=b"x")).status_code == 405
        unknown = await http.get("/api/nothing")
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")


async def test_a_fault_of_ours_tells_nothing(static):
    house = FakeHouse()
    house.health = lambda: 1 / 0
    async with client(static, house) as http:
        answer = await http.get("/healthz")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error\n")


async def test_pages_that_are_not_built_say_so(tmp_path):
    async with client(tmp_path / "nowhere") as http:
        answer = await http.get("/")
        assert answer.status_code == 503
        assert "make build" in answer.text
        assert (await http.get("/nothing")).status_code == 404
        assert (await http.get("/static/x.js")).status_code == 404
        assert (await http.get("/healthz")).status_code == 200
