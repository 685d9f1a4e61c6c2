"""Delivers a session and says what arrived: `python deliver.py COMPONENT TRANSCRIPT`

The package's own `wasi:http` asks nobody where a request may go, so the exporter would reach any host. Here the converter
makes the events and reaches nothing; the requests are this program's, to the one origin that it allows. It sends each batch
once: retries and the search for the one bad event of a batch are in the exporter's `delivery`, not here.
"""

import gzip
import json
import os
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from convert import convert
from converter import Converter

BATCH = 100
PATHS = ("/i/v0/ai/batch/", "/batch/")


class NotAllowed(Exception):
    """A request to somewhere else."""


class AllowList(urllib.request.BaseHandler):
    """Refuses every request but a POST to the paths of one origin. It sees redirects, too: they are requests."""

    handler_order = 0

    def __init__(self, origin: str) -> None:
        self.origin = origin_of(origin)

    def default_open(self, request: urllib.request.Request) -> None:
        url = request.full_url
        if request.get_method() != "POST" or origin_of(url) != self.origin or urlsplit(url).path not in PATHS:
            raise NotAllowed(f"{request.get_method()} {url}")


def origin_of(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def batches(events: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch = []
    for piece in events:
        for event in piece.splitlines():
            batch.append(event)
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


def deliver(converter: Converter, transcript: Path, origin: str, api_key: str, allowed: str) -> int:
    opener = urllib.request.build_opener(AllowList(allowed))
    accepted = 0
    for batch in batches(convert(converter, transcript)):
        # The events as they came: to read and write them anew might change them.
        body = b'{"api_key":%s,"batch":[%s]}' % (json.dumps(api_key).encode(), b",".join(batch))
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        request = urllib.request.Request(origin + PATHS[0], gzip.compress(body, mtime=0), headers, method="POST")
        with opener.open(request, timeout=60) as answer:
            answer.read()
        accepted += len(batch)
    return accepted


if __name__ == "__main__":
    component, transcript = sys.argv[1], Path(sys.argv[2])
    origin = os.environ.get("POSTHOG_HOST", "https://us.i.posthog.com")
    allowed = os.environ.get("ALLOWED_ORIGIN", origin)
    try:
        accepted = deliver(Converter(component), transcript, origin, os.environ["POSTHOG_API_KEY"], allowed)
    except (NotAllowed, OSError) as error:  # urllib's errors are OSErrors.
        sys.exit(f"{type(error).__name__}: {error}")
    print(f"{transcript.stem}: {accepted} events accepted by {origin}")
