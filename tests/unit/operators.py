"""Who may do over HTTP what only operators may, and who not."""

from __future__ import annotations

from typing import Any

from gateway.keys import Secret


def strangers(secret: str) -> list[dict[str, Any]]:
    """Requests of those who are no operators, as options of a test's `post`.

    Without a secret only programs of this machine may, without an origin and no proxy between;
    with one, only who bears it.
    """
    return [
        {"came_from": "192.0.2.1"},
        {"origin": "http://localhost:3000"},
        {"x_forwarded_for": "192.0.2.1"},
        {"secret": Secret(secret)},
        {"secret": Secret(secret), "authorization": "Bearer wrong"},
    ]
