"""The files of a session: which ones they are, the component says."""

from dataclasses import dataclass
from pathlib import Path

from converter import Converter

HEAD = 64 * 1024


@dataclass
class Agent:
    path: Path
    agent_id: str
    metadata: str | None
    workflow_run: str | None


def agents_of(converter: Converter, main: Path) -> list[Agent]:
    """The sub-agents' transcripts, in the order that the interface asks for."""
    folder, session_id = main.parent, main.stem
    paths = [*folder.iterdir(), *(folder / session_id).rglob("*")]
    agents = []
    for found in converter.sub_agents(session_id, [path.relative_to(folder).as_posix() for path in paths]):
        path = paths[found.file]
        if found.flat and not converter.belongs_to(session_id, beginning(path)):
            continue
        metadata = None if found.metadata is None else paths[found.metadata].read_text("utf-8")
        agents.append(Agent(path, found.agent_id, metadata, found.workflow_run))
    return agents


def beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)
