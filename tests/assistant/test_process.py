"""`meltpoint mcp` as a real process, asked by the client of the protocol's own package."""

import asyncio
import base64
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from mcp import Client, StdioServerParameters
from servers import OURS, started

from meltpoint.assistant import session
from meltpoint.assistant.server import McpError
from meltpoint.cli import run

pytestmark = pytest.mark.slow


def test_the_champion_answers_on_standard_input(house: Any) -> None:
    house.register()
    words = [*OURS, "mcp", "--pictures", "photos"]
    process = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ), cwd=house.folder)

    async def converse() -> tuple[Any, ...]:
        async with Client(process) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            seen = await client.call_tool("classify", {"path": "0.png"})
            why = await client.call_tool("why_promoted", {})
            outside = await client.call_tool("classify", {"path": "../params.yaml"})
            return names, seen, why, outside

    names, seen, why, outside = asyncio.run(converse())
    assert names == ["classify", "may_be_confused", "describe_model", "why_promoted"]
    shape = seen.structured_content["heads"]["shape"]
    assert shape["label"] in ("circle", "square")
    assert isinstance(shape["may_be"], list), "the predictions of its run are known"
    told = why.structured_content
    assert (told["name"], told["version"]) == ("shapes", "1")
    assert told["decision"].startswith("Ship frozen: it is good.")
    assert told["gate"] == told["champions"][0]["why"] == house.ledger()[0]["why"]
    assert outside.is_error
    assert "in the folder that was allowed" in outside.content[0].text


def test_an_assistant_asks_over_http_on_this_machine_alone(
    tree_folder: Path, kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

    monkeypatch.setenv("MELTPOINT_SERVE_TOKEN", "secret")
    image = base64.b64encode(kit.png(kit.noise(0))).decode()
    with started(tmp_path, "/health", "mcp", "--model", str(tree_folder), "--language", "zh", program=OURS) as address:

        async def converse() -> Any:
            async with (
                create_mcp_http_client(headers={"Authorization": "Bearer secret"}) as http,
                Client(streamable_http_client(f"{address}/mcp", http_client=http)) as client,
            ):
                return await client.call_tool("classify", {"image": image})

        seen = asyncio.run(converse())
        assert seen.structured_content["heads"]["pose"]["name"] in ("攤屍式", "樹式", "舞王式", "mountain")
        for headers, status in (({}, 401), ({"Authorization": "Bearer secret", "Host": "evil.example"}, 421)):
            assert requests.post(f"{address}/mcp", data=b"{}", headers=headers, timeout=60).status_code == status


def test_a_session_is_printed(tree_folder: Path, album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["mcp", "--model", str(tree_folder), "--pictures", str(album), "--language", "zh", "--try", "2.PNG"])
    told = capsys.readouterr().out
    assert "> classify {path: 2.PNG, language: zh}" in told
    assert "> may_be_confused {name:" in told
    assert "known: false" in told


def test_a_process_that_ends_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PROGRAM", "raise SystemExit(1)")
    with pytest.raises(McpError, match="no answer from `meltpoint mcp --language=xx`. Its reason is above"):
        session.show_session(["--language=xx"], "a.png", None)
