"""A camera for Chromium whose picture needs the bits that a real one does: Chromium's own fake one
is so plain that its 720 lines fit into 400 kbit/s."""

from __future__ import annotations

from pathlib import Path
from random import Random

WIDTH, HEIGHT, FPS = 1280, 720, 15
FRAMES = 30
GRAINY_LINES = 80
_GREYS = bytes(64 + 8 * (value >> 4) for value in range(256))


def grainy_film(path: Path, seed: int = 1) -> Path:
    """Write a film in which a ninth of the lines is new grain in each frame; some 40 MB.

    For `--use-file-for-fake-video-capture`, which shows it again and again.
    """
    random = Random(seed)
    grain = random.randbytes(WIDTH * 64).translate(_GREYS)
    plain = bytes(48 + column * 128 // WIDTH for column in range(WIDTH)) * (HEIGHT - GRAINY_LINES)
    chroma = bytes([128]) * (WIDTH * HEIGHT // 2)
    with path.open("wb") as film:
        film.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for _ in range(FRAMES):
            begins = (random.randrange(len(grain) - WIDTH) for _ in range(GRAINY_LINES))
            film.write(b"FRAME\n" + plain)
            film.writelines(grain[begin : begin + WIDTH] for begin in begins)
            film.write(chroma)
    return path
