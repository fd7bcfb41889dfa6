"""An operator asks over HTTP for a recording: who may, and what is refused."""

import httpx
import pytest

from gateway.http import make_app
from gateway.keys import Secret
from tests.unit.operators import strangers
from tests.unit.test_http import SECRET, FakeHouse


class House(FakeHouse):
    def __init__(self):
        super().__init__()
        self.captured = []

    def capture(self, room, transport):
        self.captured.append((room, transport))
        return room == "lobby"


async def post(
    house, *, secret=None, came_from="127.0.0.1", room="lobby", content=b"{}", **headers
):
    app = make_app(house, version="1", signaling_url=None, secret=secret)
    transport = httpx.ASGITransport(app, client=(came_from, 1234))
    sent = {"content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return await http.post(f"/api/rooms/{room}/capture", content=content, headers=sent)


async def test_this_machine_may_capture_a_server_without_a_secret():
    house = House()
    assert (await post(house)).status_code == 202
    answer = await post(house, content=b'{"transport": "t1"}')
    assert answer.json() == {"room": "lobby", "transport": "t1"}
    assert house.captured == [("lobby", None), ("lobby", "t1")]


@pytest.mark.parametrize("options", strangers(SECRET))
async def test_nobody_else_may(options):
    house = House()
    assert (await post(house, **options)).status_code == 401
    assert not house.captured


async def test_who_knows_the_secret_may_from_anywhere():
    house = House()
    options = {"came_from": "192.0.2.1", "authorization": f"Bearer {SECRET}"}
    assert (await post(house, secret=Secret(SECRET), **options)).status_code == 202


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"room": "nobody"}, 404),
        ({"content_type": "text/plain"}, 415),
        ({"content": b"{"}, 400),
        ({"content": b'{"transport": 7}'}, 400),
        ({"content": b'{"other": "t1"}'}, 400),
        ({"content": b" " * 5000}, 400),
    ],
)
async def test_what_is_wrong_is_refused(options, status):
    answer = await post(House(), **options)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"code", "message"}
