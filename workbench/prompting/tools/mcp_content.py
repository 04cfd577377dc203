"""What an MCP server sends back, as text for a model that reads nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_types import CallToolResult, ContentBlock


def as_text(result: CallToolResult) -> str:
    """All parts in order, each on lines of its own; pictures and sounds by kind and size alone.

    The structured value stands in where there is no other content: servers that have both repeat it.
    """
    parts = [_part(block) for block in result.content]
    if not parts and result.structured_content is not None:
        parts = [json.dumps(result.structured_content, ensure_ascii=False)]
    return "\n".join(parts)


def _part(block: ContentBlock) -> str:
    from mcp_types import TextResourceContents

    if block.type == "text":
        return block.text
    if block.type == "image" or block.type == "audio":
        return f"[{block.type}, {block.mime_type}, {_size(block.data)}]"
    if block.type == "resource_link":
        title = f" {block.title or block.name}"
        return f"[resource {block.uri}{title}]"
    resource = block.resource
    if isinstance(resource, TextResourceContents):
        return f"[resource {resource.uri}]\n{resource.text}"
    return f"[resource {resource.uri}, {resource.mime_type or 'binary'}, {_size(resource.blob)}]"


def _size(base64: str) -> str:
    return f"{len(base64) * 3 // 4:,} bytes"
