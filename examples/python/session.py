"""The files of a session: which ones they are, the component says."""

from dataclasses import dataclass
from pathlib import Path

from converter import Converter

HEAD = 64 * 1024
BEGINNING = 1 << 20


@dataclass
class Agent:
    path: Path
    agent_id: str
    metadata: str | None
    workflow_run: str | None


def mains_of(converter: Converter, main: Path) -> list[Path]:
    """The main transcripts, in the order that the interface asks for: in each project's folder there may be one."""
    projects = main.parent.parent
    if projects.name != "projects":
        return [main]

    mains = [path for path in projects.glob(f"*/{main.name}") if path.is_file()]
    if len(mains) < 2:
        return [main]

    def key(path: Path) -> tuple[float, str]:
        began = converter.began(beginning(path, BEGINNING))
        return (float("inf") if began is None else began, str(path))

    return sorted(mains, key=key)


def agents_of(converter: Converter, mains: list[Path]) -> list[Agent]:
    """The sub-agents' transcripts, in the order that the interface asks for."""
    agents = [agent for main in mains for agent in agents_in(converter, main)]
    return sorted(agents, key=lambda agent: (agent.agent_id, str(agent.path)))


def agents_in(converter: Converter, main: Path) -> list[Agent]:
    folder, session_id = main.parent, main.stem
    paths = [*folder.iterdir(), *(folder / session_id).rglob("*")]
    agents = []
    for found in converter.sub_agents(session_id, [path.relative_to(folder).as_posix() for path in paths]):
        path = paths[found.file]
        if found.flat and not converter.belongs_to(session_id, beginning(path, HEAD)):
            continue
        metadata = None if found.metadata is None else paths[found.metadata].read_text("utf-8")
        agents.append(Agent(path, found.agent_id, metadata, found.workflow_run))
    return agents


def beginning(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most)
