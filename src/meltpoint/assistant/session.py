"""A session with the tools as an assistant has it, for people to read: the protocol's own client, a real process."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from meltpoint.assistant.server import McpError, need_extra
from meltpoint.terminal import say

PROGRAM = "from meltpoint.cli import main; main()"


def show_session(words: Sequence[str], picture: str, language: str | None, tags: Sequence[str] = ()) -> None:
    """Start `meltpoint mcp WORDS`, ask it about the file `picture` of its folder, and print questions and answers.

    `tags`: words that it is asked about, too; a model that takes none says so.

    Raises:
        McpError: the extra `mcp` is not installed, or the process has ended, after it has printed why.
    """
    need_extra()
    import anyio
    from mcp import MCPError

    try:
        anyio.run(_converse, words, picture, {} if language is None else {"language": language}, tags)
    except BaseExceptionGroup as errors:
        if errors.split(MCPError)[1] is not None:
            raise
        raise McpError(f"There was no answer from `meltpoint mcp {' '.join(words)}`. Its reason is above.") from None


async def _converse(words: Sequence[str], picture: str, spoken: dict[str, str], tags: Sequence[str]) -> None:
    from mcp import Client, StdioServerParameters

    started = StdioServerParameters(
        command=sys.executable, args=["-c", PROGRAM, "mcp", *words], env=dict(os.environ), cwd=Path.cwd()
    )
    async with Client(started) as client:

        async def ask(tool: str, asked: dict[str, Any]) -> dict[str, Any]:
            say(f"\n> {tool} {_shown(asked, True)}")
            result = await client.call_tool(tool, asked)
            pictures = [part for part in result.content if part.type == "image"]
            texts = [part.text for part in result.content if part.type == "text"]
            answer: dict[str, Any] = result.structured_content or {"error": texts}
            say(_shown(answer) + "".join(f"\n[a picture, {part.mime_type}]" for part in pictures))
            return answer

        tools = {tool.name for tool in (await client.list_tools()).tools}
        say(f"Tools: {', '.join(sorted(tools))}")
        seen = await ask("segment" if "segment" in tools else "classify", {"path": picture, **spoken})
        if tags:
            named = {"language": "zh"} if any("|" in tag for tag in tags) else {}  # such a word brings a Chinese name
            await ask("tag_with_words", {"words": list(tags), "path": picture, **named})
        if heads := seen.get("heads", {}):
            head = seen["levels"][-1] if seen["levels"] else next(iter(heads))
            if label := heads[head].get("label"):  # neither tags nor masks have one
                await ask("may_be_confused", {"name": label, "head": head, **spoken})
        if "why_promoted" in tools:
            await ask("why_promoted", {})


def _shown(value: Any, flow: bool | None = None) -> str:
    """As YAML, which people read with more ease than JSON."""
    return yaml.safe_dump(value, allow_unicode=True, sort_keys=False, default_flow_style=flow, width=110).rstrip()
