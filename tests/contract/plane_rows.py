"""Rows for planes: one publisher, one viewer."""

from __future__ import annotations

from protocol.orders import (
    ConsumerCodec,
    ConsumerExtension,
    HeaderExtension,
    IceCredentials,
    ProducerCodec,
    ProducerEncoding,
    SetConsumer,
    SetProducer,
    SetTransport,
)


def send_transport(name: str = "t-send", **more: object) -> SetTransport:
    fields = {"worker": 0, "direction": "send", "ice": (IceCredentials(ufrag=f"u{name}"),)} | more
    return SetTransport(transport=name, **fields)  # type: ignore[arg-type]


def recv_transport(name: str = "t-recv", **more: object) -> SetTransport:
    return send_transport(name, **({"direction": "recv"} | more))


def producer(name: str = "p", transport: str = "t-send", ssrc: int = 1111) -> SetProducer:
    return SetProducer(
        producer=name,
        transport=transport,
        kind="video",
        codecs=(
            ProducerCodec(
                payload_type=96,
                mapped_payload_type=101,
                mime_type="video/VP8",
                clock_rate=90000,
                rtx_payload_type=97,
                mapped_rtx_payload_type=102,
                nack=True,
                pli=True,
            ),
        ),
        encodings=(ProducerEncoding(ssrc=ssrc, rtx_ssrc=ssrc + 1),),
        header_extensions=(HeaderExtension(name="mid", id=4, mapped_id=1),),
        mid=name,
        cname="cname",
    )


def consumer(
    name: str = "c", transport: str = "t-recv", of: str = "p", ssrc: int = 5555
) -> SetConsumer:
    return SetConsumer(
        consumer=name,
        transport=transport,
        producer=of,
        kind="video",
        ssrc=ssrc,
        rtx_ssrc=ssrc + 1,
        codecs=(
            ConsumerCodec(
                payload_type=101,
                mime_type="video/VP8",
                clock_rate=90000,
                rtx_payload_type=102,
                nack=True,
                pli=True,
            ),
        ),
        header_extensions=(ConsumerExtension(name="mid", id=1),),
        mid=name,
        cname="cname",
    )
