"""What an agent does with the official SDK, in the way of connecting that is named."""

import asyncio
import json
import sys

from mcp import Client


async def main(url, mode):
    async with Client(url, mode=mode) as client:
        tools = (await client.list_tools()).tools
        policy = await client.call_tool("policy", {})
        asked = await client.call_tool(
            "request_route", {"host": "docs.example.org", "paths": ["/v2/**"], "reason": "the manual is there"}
        )
        request = asked.structured_content["id"]
        refused = await client.call_tool("request_route", {"host": "evil.example.org", "reason": "please"})
        waited = await client.call_tool("wait", {"id": request, "seconds": 1})
        waiting = asyncio.create_task(client.call_tool("wait", {"id": request}))
        await asyncio.sleep(0.2)
        withdrawn = await client.call_tool("withdraw", {"id": request})
        ended = await waiting
        print(
            json.dumps(
                {
                    "instructions": client.instructions,
                    "tools": {tool.name: tool.input_schema for tool in tools},
                    "described": all(tool.description and tool.title for tool in tools),
                    "policy": policy.structured_content,
                    "asked": asked.structured_content,
                    "refused": [refused.is_error, refused.structured_content],
                    "waited": waited.structured_content,
                    "withdrawn": withdrawn.structured_content,
                    "ended": ended.structured_content,
                }
            )
        )


asyncio.run(main(*sys.argv[1:]))
