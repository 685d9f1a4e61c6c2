"""The converter component as a Python class. Runs on the `wasmtime` package alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wasmtime import Engine, Store
from wasmtime.component import Component, Linker, Record

CONVERSION = "posthog:llm-analytics/conversion@0.1.0"


def record(**fields: Any) -> Record:
    """A WIT record. A field's name has `-` where the keyword has `_`."""
    value = Record()
    for name, field in fields.items():
        setattr(value, name.replace("_", "-"), field)
    return value


# The package takes a variant's payload alone where it says by its type which case it is: `main` has none, `agent` a record.
MAIN = None


def agent(agent_id: str, metadata: str | None = None, workflow_run: str | None = None) -> Record:
    """The role of a sub-agent's transcript."""
    return record(agent_id=agent_id, metadata=metadata, workflow_run=workflow_run)


class ConversionError(Exception):
    """What the interface says went wrong."""


@dataclass
class SubAgent:
    """A sub-agent's transcript among the files that were asked about."""

    file: int
    agent_id: str
    workflow_run: str | None
    metadata: int | None
    flat: bool


class Converter:
    """A compiled component. Compiling takes about a second; each session gets an instance of its own."""

    def __init__(self, path: str) -> None:
        self.engine = Engine()
        self.component = Component.from_file(self.engine, path)

    def session(self, session_id: str, roles: list[Record | None], options: Record) -> "Session":
        return Session(self, session_id, roles, options)

    def sub_agents(self, session_id: str, paths: list[str]) -> list[SubAgent]:
        """Which of these files are transcripts of the session's sub-agents, in order."""
        found = Instance(self).call("sub-agents", session_id, paths)
        fields = ("file", "agent-id", "workflow-run", "metadata", "flat")
        return [SubAgent(*(getattr(agent, field) for field in fields)) for agent in found]

    def began(self, beginning: bytes) -> int | None:
        """When does the transcript that begins so begin, in milliseconds since 1970?"""
        return Instance(self).call("began", beginning)

    def belongs_to(self, session_id: str, beginning: bytes) -> bool:
        """Does the transcript that begins so say that it belongs to this session?"""
        return Instance(self).call("belongs-to", session_id, beginning)


class Instance:
    """An instance of the component."""

    def __init__(self, converter: Converter) -> None:
        self.store = Store(converter.engine)
        # Nothing is defined in this linker: whatever is in the component, it can reach nothing.
        self.instance = Linker(converter.engine).instantiate(self.store, converter.component)
        self.interface = self.instance.get_export_index(self.store, CONVERSION)

    def call(self, name: str, *arguments: Any) -> Any:
        index = self.instance.get_export_index(self.store, name, self.interface)
        return self.instance.get_func(self.store, index)(self.store, *arguments)


class Session:
    """`conversion.session`: bytes in, events out."""

    def __init__(self, converter: Converter, session_id: str, roles: list[Record | None], options: Record) -> None:
        self.instance = Instance(converter)
        # Of a `result`, the package gives the value or the error: their types say which it is.
        opened = self.instance.call("[static]session.open", session_id, roles, options)
        if isinstance(opened, Record):
            raise ConversionError(f"{opened.name}: {opened.reason}")
        self.session = opened

    def scan(self, file: int, piece: bytes) -> None:
        self._in_sequence("scan", file, piece)

    def convert(self, file: int, piece: bytes) -> None:
        self._in_sequence("convert", file, piece)

    def finish(self) -> None:
        self._in_sequence("finish")

    def events(self, most: int = 1 << 20) -> Iterator[bytes]:
        """What is complete, in pieces of whole lines."""
        while piece := self.instance.call("[method]session.take-events", self.session, most):
            yield piece

    def report(self) -> Record:
        return self.instance.call("[method]session.report", self.session)

    def _in_sequence(self, method: str, *arguments: Any) -> None:
        error = self.instance.call(f"[method]session.{method}", self.session, *arguments)
        if error is not None:
            raise ConversionError(error.tag)
