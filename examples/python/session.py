"""The files of a session, as Claude Code writes them: the main transcript, and those of its sub-agents."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Agent:
    path: Path
    agent_id: str
    metadata: str | None
    workflow_run: str | None


def agents_of(main: Path) -> list[Agent]:
    """The sub-agents' transcripts, in the order that the interface asks for."""
    subagents = main.parent / main.stem / "subagents"
    agents = agents_in(subagents, None)
    for run in (subagents / "workflows").glob("wf_*"):
        agents += agents_in(run, run.name)
    # Claude Code 2.0.28 to 2.1.1 put them beside the session's own.
    agents += [agent for agent in agents_in(main.parent, None) if session_of(agent.path) == main.stem]
    return sorted(agents, key=lambda agent: (agent.agent_id, str(agent.path)))


def agents_in(folder: Path, workflow_run: str | None) -> list[Agent]:
    agents = []
    for path in folder.glob("agent-*.jsonl"):
        notes = path.with_suffix(".meta.json")
        metadata = notes.read_text("utf-8") if notes.exists() else None
        agents.append(Agent(path, path.stem.removeprefix("agent-"), metadata, workflow_run))
    return agents


def session_of(path: Path) -> str | None:
    """The session that a sub-agent's transcript says it belongs to."""
    with path.open("rb") as file:
        for line in file.read(65536).splitlines():
            try:
                return json.loads(line)["sessionId"]
            except (ValueError, KeyError, TypeError):
                continue  # A damaged line says nothing.
    return None
