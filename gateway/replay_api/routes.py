"""What the replay page may ask, all by GET, all read-only; times are nanoseconds since 1970.

| path | answer |
| --- | --- |
| `/api/replay` | sessions: `q`, `state` (open, closed, damaged), `offset`, `limit` |
| `/api/replay/ROOM` | a room's span, sessions, anomaly counts, and how far its index is |
| `…/lanes` | peers of a `session`, or all below a `lane` |
| `…/density` | counts of `lanes` in `buckets` between `from` and `to` |
| `…/events` | what happened in `lanes` between `from` and `to`, or `around` a position |
| `…/event/POSITION` | one envelope with its payload |
| `…/state` | the state `at` a position as far as it is unfolded, and what changed |
| `…/why/POSITION` | causes, grounds and effects |
| `…/search` | `q` behind a position |
| `…/anomalies` | what deserves attention |
| `…/series` | charts of `lanes`, and of the transports of consumers among them |
| `…/division` | how a viewer's bandwidth was divided: the first transport of `lanes` |
| `…/media` | how well media came in a stretch of time, and the recordings |
| `…/recording/POSITION/TRANSPORT` | a recording as redacted pcapng |
| `…/tail` | waits for news of a live session |
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.replay_api import parameters
from gateway.replay_api.access import ReplayAccess
from gateway.replay_api.library import Library, TooManyFollowers
from gateway.replay_api.moment import Moment
from gateway.replay_api.overview import Overview
from protocol.store_error import StoreError
from replay.errors import ReplayError
from replay.store.errors import LogDamaged, StoreMissing, UnknownRoom

_Handler = Callable[[Request], Awaitable[Any]]


def replay_routes(library: Library, access: ReplayAccess) -> list[Route]:
    """The routes of the API, each guarded by `access`."""
    overview, moment = Overview(library), Moment(library)
    paths: list[tuple[str, _Handler]] = [
        ("", overview.sessions),
        ("/{room}", overview.room),
        ("/{room}/lanes", overview.lanes),
        ("/{room}/density", overview.density),
        ("/{room}/events", overview.events),
        ("/{room}/event/{position:int}", moment.event),
        ("/{room}/state", moment.state),
        ("/{room}/why/{position:int}", moment.why),
        ("/{room}/search", moment.search),
        ("/{room}/anomalies", overview.anomalies),
        ("/{room}/series", overview.series),
        ("/{room}/division", overview.division),
        ("/{room}/media", moment.media),
        ("/{room}/recording/{position:int}/{transport}", moment.recording),
        ("/{room}/tail", overview.tail),
    ]
    return [Route(f"/api/replay{path}", _guarded(handler, access)) for path, handler in paths]


def page_opened(library: Library, access: ReplayAccess) -> Callable[[Request], None]:
    """What is to be called when the page of a room is asked for: its index is made ready.

    The page's scripts take their time to arrive. Only for those who may look anyway; an operator's
    token does not come with the page.
    """

    def expect(request: Request) -> None:
        if access.refusal(request) is None:
            library.expect(request.path_params["room"])

    return expect


def _guarded(handler: _Handler, access: ReplayAccess) -> Callable[[Request], Awaitable[Response]]:
    async def answered(request: Request) -> Response:
        refused = access.refusal(request)
        if refused is not None:
            return _error(*refused)
        try:
            answer = await handler(request)
            return answer if isinstance(answer, Response) else _json(answer)
        except parameters.WrongParameter as error:
            return _error(400, "invalid_data", f"{error}.")
        except UnknownRoom as error:
            return _error(404, "room_not_found", f"{error}.")
        except StoreMissing:
            return _error(404, "room_not_found", "There are no sessions yet.")
        except LogDamaged as error:
            return _error(409, "log_damaged", f"{error}.", position=error.position)
        except ReplayError as error:
            return _error(400, "cannot_answer", f"{error}.")
        except TooManyFollowers:
            return _error(503, "overloaded", "Too many follow live sessions; try again later.")
        except StoreError as error:
            return _error(503, "storage_unavailable", f"{error}.")

    return answered


def _json(tree: object, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(tree),
        status,
        headers={"cache-control": "no-store"},
        media_type="application/json",
    )


def _error(status: int, code: str, message: str, **more: Any) -> Response:
    return _json({"error": {"code": code, "message": message, **more}}, status)
