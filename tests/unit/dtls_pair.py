"""Two DTLS connections and a network between them that a test may disturb."""

from __future__ import annotations

import functools
from collections.abc import Callable

from media.certificate import DtlsCertificate
from media.dtls import DtlsConnection, DtlsContext

Deliver = Callable[[str, int, bytes], list[bytes]]
"""(sender, index among its datagrams, datagram) → what arrives."""


@functools.cache
def contexts() -> tuple[DtlsContext, DtlsContext]:
    """A client's and a server's context, made once: keys cost time."""
    return DtlsContext(DtlsCertificate.generate()), DtlsContext(DtlsCertificate.generate())


class Pair:
    """A client and a server; `exchange` carries datagrams until nothing moves."""

    def __init__(
        self,
        *,
        client: DtlsContext | None = None,
        server: DtlsContext | None = None,
        client_expects: tuple[tuple[str, str], ...] | None = None,
        server_expects: tuple[tuple[str, str], ...] | None = None,
        deliver: Deliver = lambda _sender, _index, datagram: [datagram],
        clock: Callable[[], int] | None = None,
    ) -> None:
        client = client or contexts()[0]
        server = server or contexts()[1]
        more = {} if clock is None else {"clock": clock}
        self.client = DtlsConnection(
            "client", client, client_expects or server.certificate.fingerprints, **more
        )
        self.server = DtlsConnection(
            "server", server, server_expects or client.certificate.fingerprints, **more
        )
        self.deliver = deliver
        self.sent = {"client": 0, "server": 0}

    def start(self) -> Pair:
        self.client.start()
        self.server.start()
        return self

    def exchange(self) -> Pair:
        for _ in range(100):
            moved = self._carry("client", self.client, self.server)
            moved |= self._carry("server", self.server, self.client)
            if not moved:
                return self
        raise AssertionError("the two never fall silent")

    def _carry(self, name: str, sender: DtlsConnection, receiver: DtlsConnection) -> bool:
        datagrams = sender.poll_datagrams()
        for datagram in datagrams:
            for arriving in self.deliver(name, self.sent[name], datagram):
                receiver.handle_datagram(arriving)
            self.sent[name] += 1
        return bool(datagrams)

    @property
    def states(self) -> tuple[str, str]:
        return self.client.state, self.server.state
