"""A curve as text: two columns and four rows of dots in each letter (Braille)."""

from collections.abc import Sequence

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a letter: row, column


def terminal(values: Sequence[float], width: int = 80, height: int = 12) -> str:
    """The curve through values at 0, 1, 2 …, in `height` lines of at most `width` letters, with its axes.

    >>> print(terminal([0.0, 1.0, 2.0, 3.0], width=16, height=2))
         3 │⠀⠀⠀⠀⣀⠤⠒⠉
         0 │⣀⠤⠒⠉⠀⠀⠀⠀
            0 step 3
    """
    low, high = min(0.0, *values), max(values)
    room = max(8, width - 8)
    columns, rows, span, last = 2 * room, 4 * height, (high - low) or 1.0, len(values) - 1
    letters = [[0x2800] * room for _ in range(height)]
    seen, before = 0, round((rows - 1) * (high - values[0]) / span)
    for x in range(columns):
        i, part = divmod(x * last, columns - 1)
        here = values[i] + part / (columns - 1) * (values[min(i + 1, last)] - values[i])
        dots = [round((rows - 1) * (high - y) / span) for y in (here, *values[seen + 1 : i + 1])]  # what is passed over
        dots.append(before + (dots[0] > before) - (dots[0] < before))  # so that the curve is in one piece
        seen, before = i, dots[0]
        for y in range(min(dots), max(dots) + 1):
            letters[y // 4][x // 2] |= DOTS[y % 4][x % 2]
    lines = ["".join(map(chr, row)) for row in letters]
    marks = {0: f"{high:.3g}", height - 1: f"{low:.3g}"}
    foot = f"{'':8}0{f'step {last}':>{room - 1}}"
    return "\n".join([*(f"{marks.get(i, ''):>6} │{line}" for i, line in enumerate(lines)), foot])
