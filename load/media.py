"""Synthetic media: short encoded loops, made once by real encoders and then sent again and again.

Each loop begins with a keyframe, so a receiver can decode from any lap on,
and a keyframe request is met by beginning the next lap early.
"""

from __future__ import annotations

import functools
import math
import random
from array import array
from collections.abc import Callable
from fractions import Fraction
from typing import Literal

import av
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.opus import OpusEncoder
from aiortc.codecs.vpx import Vp8Encoder, VpxPayloadDescriptor
from msgspec import Struct

from protocol.orders import Kind

CodecName = Literal["video/VP8", "video/H264", "audio/opus"]

FRAME_RATE = 20
LOOP_S = 2
WIDTH, HEIGHT = 320, 240
OPUS_FRAME_S = Fraction(1, 50)
_PICTURE_IDS = 1 << 15
_NAL_IDR, _NAL_SPS, _NAL_STAP_A, _NAL_FU_A = 5, 7, 24, 28


class MediaLoop(Struct, frozen=True):
    """Encoded frames, each a tuple of RTP payloads; the first one is a keyframe."""

    codec: CodecName
    kind: Kind
    clock_rate: int
    frame_ticks: int
    """RTP timestamp units between frames."""
    frames: tuple[tuple[bytes, ...], ...]

    @property
    def frame_s(self) -> float:
        """Seconds between frames."""
        return self.frame_ticks / self.clock_rate

    @property
    def bitrate_bps(self) -> float:
        """Payload bits per second."""
        total = sum(len(payload) for frame in self.frames for payload in frame)
        return 8 * total / (len(self.frames) * self.frame_s)


@functools.lru_cache(maxsize=16)
def media_loop(codec: CodecName, bitrate_bps: int = 300_000) -> MediaLoop:
    """Encode a loop at about this bitrate; the encoders keep to bounds of their own.

    VP8 takes 250 to 1,500 kbit/s, H264 500 to 3,000, opus has its fixed rate.
    """
    if codec == "audio/opus":
        return _opus_loop()
    encoder: Vp8Encoder | H264Encoder = Vp8Encoder() if codec == "video/VP8" else H264Encoder()
    encoder.target_bitrate = bitrate_bps
    frames = []
    for index in range(FRAME_RATE * LOOP_S):
        payloads, _timestamp = encoder.encode(_picture(index), force_keyframe=index == 0)
        frames.append(tuple(payloads))
    return MediaLoop(codec, "video", 90_000, 90_000 // FRAME_RATE, tuple(frames))


def with_picture_id(payload: bytes, picture_id: int) -> bytes:
    """Give a VP8 payload another picture id, so that laps continue each other (RFC 7741, 4.2)."""
    descriptor, rest = VpxPayloadDescriptor.parse(payload)
    descriptor.picture_id = picture_id % _PICTURE_IDS
    return bytes(descriptor) + rest


def begins_keyframe(mime_type: str, payload: bytes) -> bool:
    """Say whether a payload is the first of a keyframe. Malformed ones are not."""
    test = _KEYFRAME_TESTS.get(mime_type.lower())
    try:
        return test is not None and test(payload)
    except (ValueError, IndexError):
        return False


def _vp8_begins_keyframe(payload: bytes) -> bool:
    descriptor, rest = VpxPayloadDescriptor.parse(payload)
    return descriptor.partition_start == 1 and descriptor.partition_id == 0 and rest[0] & 1 == 0


def _h264_begins_keyframe(payload: bytes) -> bool:
    nal_type = payload[0] & 0x1F
    if nal_type == _NAL_STAP_A:
        return payload[3] & 0x1F in (_NAL_SPS, _NAL_IDR)
    if nal_type == _NAL_FU_A:
        return payload[1] & 0x80 != 0 and payload[1] & 0x1F in (_NAL_SPS, _NAL_IDR)
    return nal_type in (_NAL_SPS, _NAL_IDR)


_KEYFRAME_TESTS: dict[str, Callable[[bytes], bool]] = {
    "video/vp8": _vp8_begins_keyframe,
    "video/h264": _h264_begins_keyframe,
}


def _picture(index: int) -> av.VideoFrame:
    """Draw a moving pattern that costs an encoder some bits."""
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    for plane in frame.planes:
        size = plane.line_size * plane.height
        noise = _noise(size + 4 * FRAME_RATE * LOOP_S)
        plane.update(noise[4 * index : 4 * index + size])
    frame.pts = index * (90_000 // FRAME_RATE)
    frame.time_base = Fraction(1, 90_000)
    return frame


@functools.cache
def _noise(size: int) -> bytes:
    """Make coarse grey steps, the same each time: blocks of eight equal bytes."""
    steps = random.Random(size).choices(range(64, 192, 16), k=size // 8 + 1)  # noqa: S311 - no secret
    return bytes(value for value in steps for _ in range(8))[:size]


def _opus_loop() -> MediaLoop:
    """Encode a tone of 440 Hz, stereo, 20 ms a packet."""
    encoder = OpusEncoder()
    samples = int(48_000 * OPUS_FRAME_S)
    frames: list[tuple[bytes, ...]] = []
    for index in range(LOOP_S * 50):
        tone = array("h")
        for n in range(index * samples, (index + 1) * samples):
            value = int(8_000 * math.sin(2 * math.pi * 440 * n / 48_000))
            tone.extend((value, value))
        frame = av.AudioFrame(format="s16", layout="stereo", samples=samples)
        frame.sample_rate = 48_000
        frame.pts = index * samples
        frame.time_base = Fraction(1, 48_000)
        frame.planes[0].update(tone.tobytes())
        packets, _timestamp = encoder.encode(frame)
        frames.extend((packet,) for packet in packets)
    return MediaLoop("audio/opus", "audio", 48_000, samples, tuple(frames))
