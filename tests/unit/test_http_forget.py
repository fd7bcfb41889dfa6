"""An operator asks over HTTP to forget a person: who may, and what is refused."""

import httpx
import pytest

from gateway.http import make_app
from gateway.keys import Secret
from replay.forgetting import Forgotten
from replay.store.errors import StoreWriteFailed
from tests.unit.operators import strangers
from tests.unit.test_http import SECRET, FakeHouse


class House(FakeHouse):
    def __init__(self):
        super().__init__()
        self.forgotten = []

    async def forget(self, room, peer):
        self.forgotten.append((room, peer))
        if peer == "p_bad":
            raise StoreWriteFailed("cannot write personal.keys: Input/output error")
        if room != "lobby":
            return None
        return Forgotten(peer=peer, keys=1, recordings=2, in_clear=0)


async def post(house, *, secret=None, came_from="127.0.0.1", path="lobby/peers/p_1", **headers):
    app = make_app(house, version="1", signaling_url=None, secret=secret)
    transport = httpx.ASGITransport(app, client=(came_from, 1234))
    sent = {"content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return await http.post(f"/api/rooms/{path}/forget", content=b"{}", headers=sent)


async def test_this_machine_may_without_a_secret_and_who_knows_it_from_anywhere():
    house = House()
    answer = await post(house)
    assert answer.json() == {"peer": "p_1", "keys": 1, "recordings": 2, "in_clear": 0}
    options = {"came_from": "192.0.2.1", "authorization": f"Bearer {SECRET}"}
    assert (await post(house, secret=Secret(SECRET), **options)).status_code == 200
    assert house.forgotten == [("lobby", "p_1")] * 2


@pytest.mark.parametrize("options", strangers(SECRET))
async def test_nobody_else_may(options):
    house = House()
    assert (await post(house, **options)).status_code == 401
    assert not house.forgotten


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"path": "nobody/peers/p_1"}, 404, "peer_not_found"),
        ({"path": "lobby/peers/p_bad"}, 503, "storage_unavailable"),
        ({"content_type": "text/plain"}, 415, "unsupported_media_type"),
    ],
)
async def test_what_cannot_be_met_is_said(options, status, code):
    answer = await post(House(), **options)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
