"""Frames to a film: GIF by Pillow, MP4 where ffmpeg is installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

Frames = Iterable[NDArray[np.uint8]]


def gif(frames: Frames, path: Path, per_second: int, keep: Sequence[str] = (), rest: float = 2.5) -> None:
    """A film that repeats, after a rest of so many seconds at its end.

    All frames share 127 colours, without dithering, so that only what moves is written for each. They are those of the
    first frame, and `keep`: small things would lose theirs.
    """
    images = [Image.fromarray(x) for x in frames]
    kept = [c for name in keep for c in (ImageColor.getrgb(name), mixed(name, 0.6), mixed(name, 0.3))]
    many = images[0].quantize(127 - len(kept), dither=Image.Dither.NONE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*many[: 3 * (127 - len(kept))], *(v for c in kept for v in c)])
    coded = [np.asarray(image.quantize(palette=palette, dither=Image.Dither.NONE)) for image in images]
    clear = 127  # stands for what was there before
    moved = [coded[0], *(np.where(b == a, clear, b).astype(np.uint8) for a, b in pairwise(coded))]
    written = list[Image.Image]()
    for pixels in moved:
        image = Image.fromarray(pixels, "P")
        image.putpalette([*(palette.getpalette() or [])[: 3 * clear], 255, 255, 255])
        written.append(image)
    times = [round(1000 / per_second)] * (len(written) - 1) + [round(1000 * rest)]
    written[0].save(
        path, save_all=True, append_images=written[1:], duration=times, loop=0, transparency=clear, disposal=1,
        optimize=False,
    )  # fmt: skip


def mixed(colour: str, part: float) -> tuple[int, ...]:
    """So much of a colour on white, as the edges of lines are."""
    return tuple(round(255 + part * (v - 255)) for v in ImageColor.getrgb(colour)[:3])


def mp4(frames: Frames, path: Path, per_second: int) -> None:
    """A film for browsers and slides. FileNotFoundError, which says what to do, where there is no ffmpeg."""
    found = shutil.which("ffmpeg")
    if found is None:
        raise FileNotFoundError(f"{path} needs ffmpeg, and there is none: install it, or write a .gif")
    frames = iter(frames)
    first = next(frames)
    height, width = (n - n % 2 for n in first.shape[:2])  # what the codec takes
    made = subprocess.run(
        [found, "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
         "-r", str(per_second), "-i", "-", "-pix_fmt", "yuv420p", "-movflags", "faststart", str(path)],
        input=b"".join(x[:height, :width].tobytes() for x in chain([first], frames)), capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        raise OSError(f"{path}: ffmpeg says: {made.stderr.decode(errors='replace').strip()}")
