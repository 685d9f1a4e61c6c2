"""Prints the events of sessions, one JSON object a line: `python convert.py COMPONENT TRANSCRIPT…`"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from converter import MAIN, Converter, agent, record
from session import agents_of, mains_of

PIECE = 64 * 1024


def options() -> "record":
    """How a session is converted, from the variables that `posthog-llma` has, too."""
    return record(
        distinct_id=os.environ.get("POSTHOG_LLMA_DISTINCT_ID"),
        git_repo=None,
        project_name=None,
        parent_trace_id=os.environ.get("POSTHOG_LLMA_PARENT_TRACE_ID"),
        parent_span_id=os.environ.get("POSTHOG_LLMA_PARENT_SPAN_ID"),
        purpose=None,
        trace_grouping="session",
        tool_spans="all",
        privacy_mode=os.environ.get("POSTHOG_LLMA_PRIVACY_MODE") == "true",
        redact_secrets=True,
        max_attribute_length=12000,
        custom_properties=None,
        redact_patterns=None,
        hold_after=None,
        hold_calls=False,
        since=None,
    )


def pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def convert(converter: Converter, transcript: Path) -> Iterator[bytes]:
    mains = mains_of(converter, transcript)
    agents = agents_of(converter, mains)
    roles = [MAIN] * len(mains) + [agent(a.agent_id, a.metadata, a.workflow_run) for a in agents]
    paths = mains + [a.path for a in agents]
    session = converter.session(transcript.stem, roles, options())
    for index, path in enumerate(paths):
        for piece in pieces(path):
            session.scan(index, piece)
    for index, path in enumerate(paths):
        for piece in pieces(path):
            session.convert(index, piece)
            yield from session.events()
    session.finish()
    yield from session.events()


if __name__ == "__main__":
    component, *transcripts = sys.argv[1:]
    converter = Converter(component)
    for transcript in transcripts:
        for events in convert(converter, Path(transcript)):
            sys.stdout.buffer.write(events)
