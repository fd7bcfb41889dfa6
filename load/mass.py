"""The native clients' trio face: events of the load plane, and DTLS handshakes.

    mass = Mass(seed=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mass.run)
        client = mass.add(ice_parameters, candidate, conditions)
        mass.start_dtls(client, remote_dtls_parameters)
        await mass.wait_connected(client, timeout_s=15)

Packets never come to Python: see media/native/src/load.
"""

from __future__ import annotations

import itertools
import math
import secrets
from typing import Any

import msgspec
import trio
from msgspec import Struct

from load.first_flight import FirstFlights
from load.snapshot import Latencies, Snapshot, StreamRow
from media._native import LoadPlane
from media.certificate import SRTP_PROFILES, DtlsCertificate
from media.dtls import DtlsContext
from media.dtls_driver import DtlsDriver
from protocol.orders import SendDtls, SetTransport, SrtpProfile
from protocol.transport_parameters import (
    DtlsFingerprint,
    DtlsParameters,
    IceCandidate,
    IceParameters,
)


class MediaFailed(Exception):
    """A client's transport did not come about; the message says how far it came."""


class Conditions(Struct, frozen=True, kw_only=True):
    """What a simulated network does to each datagram of a client, in either direction."""

    loss: float = 0.0
    """Share, 0 to 1."""
    delay_ms: float = 0.0
    jitter_ms: float = 0.0


class _Waiting:
    def __init__(self) -> None:
        self.ice = False
        self.connected = False
        self.reason = ""
        self.settled = trio.Event()


class Mass:
    """All native clients of this process, and their one certificate."""

    def __init__(
        self,
        *,
        seed: int,
        feedback_interval_ms: float = 100.0,
        srtp_profile: SrtpProfile | None = None,
    ) -> None:
        self.plane = LoadPlane(
            seed=seed,
            origin=secrets.randbits(32),
            feedback_interval_ns=int(feedback_interval_ms * 1e6),
        )
        profiles = tuple(SRTP_PROFILES) if srtp_profile is None else (srtp_profile,)
        self._context = DtlsContext(DtlsCertificate.generate(), profiles)
        self._dtls = DtlsDriver(self._context, clock=_now_ns)
        self._first_flights = FirstFlights()
        self._waiting: dict[int, _Waiting] = {}
        self._ids = itertools.count(1)
        self._wait_scope = trio.CancelScope()

    @property
    def dtls_parameters(self) -> DtlsParameters:
        """What the server is told: we begin the handshake."""
        fingerprints = tuple(
            DtlsFingerprint(algorithm=algorithm, value=value)  # type: ignore[arg-type]
            for algorithm, value in self._context.certificate.fingerprints
        )
        return DtlsParameters(role="client", fingerprints=fingerprints)

    def now_ns(self) -> int:
        """Time as the plane's reports have it."""
        return self.plane.now_ns()

    def add(
        self,
        ice: IceParameters,
        candidate: IceCandidate,
        conditions: Conditions | None = None,
        *,
        ours: tuple[str, str] | None = None,
    ) -> int:
        """Add a client that begins its checks at once, and return its number.

        `ours` are our user name fragment and password, if they were told to the server.
        Raises `OSError` if no socket can be had, `ValueError` for a candidate that is no address.
        """
        client = next(self._ids)
        wanted = conditions or Conditions()
        ufrag, pwd = ours or (secrets.token_hex(4), secrets.token_hex(12))
        host = f"[{candidate.ip}]" if ":" in candidate.ip else candidate.ip
        self._waiting[client] = _Waiting()
        # From now on the driver remembers that ICE is connected.
        self._dtls.set_transport(_row(client, None))
        try:
            self.plane.add_client(
                client,
                remote=f"{host}:{candidate.port}",
                ufrag=ufrag,
                pwd=pwd,
                remote_ufrag=ice.username_fragment,
                remote_pwd=ice.password,
                loss_ppm=round(wanted.loss * 1e6),
                delay_ns=int(wanted.delay_ms * 1e6),
                jitter_ns=int(wanted.jitter_ms * 1e6),
            )
        except BaseException:
            del self._waiting[client]
            self._dtls.remove_transport(str(client))
            raise
        return client

    def start_dtls(self, client: int, remote: DtlsParameters) -> None:
        """Shake hands once ICE is connected. The server must know our parameters."""
        self._dtls.set_transport(_row(client, remote))
        self._drain()

    async def wait_connected(self, client: int, *, timeout_s: float) -> None:
        """Wait until SRTP can flow. Raises `MediaFailed`."""
        waiting = self._waiting[client]
        with trio.move_on_after(timeout_s):
            await waiting.settled.wait()
        if not waiting.connected:
            missing = "the DTLS handshake did not end" if waiting.ice else "no answer to ICE checks"
            raise MediaFailed(waiting.reason or f"{missing} within {timeout_s:g} s")

    def add_receiver(self, client: int, stream: int, arguments: dict[str, Any]) -> None:
        """Have a client receive a stream (`load.streams.receiver_arguments`)."""
        self.plane.add_receiver(client, stream=stream, **arguments)

    def add_sender(self, client: int, stream: int, arguments: dict[str, Any]) -> None:
        """Have a client publish an encoding (`load.streams.Publication`), beginning now."""
        self.plane.add_sender(client, stream=stream, start_ns=self.now_ns(), **arguments)

    def remove(self, client: int) -> None:
        """Say goodbye in DTLS, and remove a client. One that is gone already is no error."""
        if self._waiting.pop(client, None) is not None:
            self._dtls.remove_transport(str(client))
            self._drain()
            self._first_flights.forget(client)
            self.plane.remove_client(client)

    def snapshot(self) -> Snapshot:
        """Counts now; latencies are those since the last call."""
        return msgspec.msgpack.decode(self.plane.snapshot(), type=Snapshot)

    def rows(self) -> list[StreamRow]:
        """All streams that are received now."""
        return msgspec.msgpack.decode(self.plane.rows(), type=list[StreamRow])

    def latencies(self) -> Latencies:
        """Latencies from the start to the last snapshot, as histograms."""
        return msgspec.msgpack.decode(self.plane.latencies(), type=Latencies)

    async def run(self) -> None:
        """Carry events and handshakes until cancelled."""
        while True:
            self._wait_scope = trio.CancelScope()
            self._wait_scope.deadline = self._deadline_s()
            with self._wait_scope:
                await trio.lowlevel.wait_readable(self.plane.events_fd())
            for kind, client, datagram in self.plane.take_events():
                self._handle(kind, client, datagram)
            self._dtls.handle_timeouts()
            self._drain()
            for client, datagrams in self._first_flights.poll_due(_now_ns()):
                self.plane.send_dtls(client, list(datagrams))
            await trio.lowlevel.checkpoint()

    def _handle(self, kind: str, client: int, datagram: bytes | None) -> None:
        waiting = self._waiting.get(client)
        if waiting is None:
            return
        if kind == "dtls" and datagram is not None:
            self._first_flights.handle_answer(client)
            self._dtls.handle_datagrams(str(client), (datagram,))
        elif kind == "ice_connected":
            waiting.ice = True
            self._dtls.handle_ice_state(str(client), "connected")
        elif kind == "ice_failed":
            self._settle(waiting, "the server's consent expired (ICE)")

    def _drain(self) -> None:
        for order in self._dtls.poll_orders():
            client = int(order.transport)
            if isinstance(order, SendDtls):
                self._first_flights.handle_sent(client, order.datagrams, _now_ns())
                self.plane.send_dtls(client, list(order.datagrams))
            else:
                self.plane.set_srtp_keys(client, order.profile, order.local, order.remote)
        for notice in self._dtls.poll_notices():
            waiting = self._waiting.get(int(notice.transport))
            if waiting is None:
                continue
            if notice.state == "connected":
                waiting.connected = True
                waiting.settled.set()
            elif notice.state in ("failed", "closed"):
                waiting.connected = False
                self._settle(waiting, f"DTLS {notice.state}: {notice.reason or 'by the server'}")
        self._wait_scope.deadline = min(self._wait_scope.deadline, self._deadline_s())

    def _deadline_s(self) -> float:
        dtls_ns = self._dtls.deadline_ns()
        return (
            min(math.inf if dtls_ns is None else dtls_ns, self._first_flights.deadline_ns()) / 1e9
        )

    @staticmethod
    def _settle(waiting: _Waiting, reason: str) -> None:
        waiting.reason = waiting.reason or reason
        waiting.settled.set()


def _row(client: int, remote: DtlsParameters | None) -> SetTransport:
    """What the DTLS driver is told of a client: it begins the handshake."""
    fingerprints = () if remote is None else remote.fingerprints
    return SetTransport(
        transport=str(client),
        worker=0,
        direction="recv",
        ice=(),
        dtls_role=None if remote is None else "client",
        fingerprints=tuple((one.algorithm, one.value) for one in fingerprints),
    )


def _now_ns() -> int:
    return int(trio.current_time() * 1e9)
