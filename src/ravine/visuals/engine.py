"""plotly.js as text for a page that opens offline: compressed, a third of its size."""

import base64
import gzip
from functools import cache

from plotly.offline import get_plotlyjs  # an extra: this file is imported by what needs it


@cache
def engine() -> str:
    """The library, gzipped, in base64; the page unpacks it with DecompressionStream."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
