# SPDX-License-Identifier: MIT
"""The reference of the YAML files, in Markdown, from the models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from builder.spec.schemas import KINDS

_FILES = {
    "board": "boards/NAME/board.yaml",
    "recipe": "recipes/NAME/recipe.yaml",
    "profile": "profiles/NAME.yaml",
    "distribution": "distributions/NAME.yaml",
    "local": "local.yaml",
}


def reference() -> str:
    """Return the whole reference as one page."""
    parts = [
        "# Reference of the YAML files",
        "",
        "Made by `make schemas` from `builder/spec/`; do not edit.",
    ]
    for kind in KINDS:
        parts += ["", *_page(kind)]
    return "\n".join(parts) + "\n"


def _page(kind: str) -> Iterator[str]:
    schema = KINDS[kind].model_json_schema(by_alias=True)
    yield f"## `{_FILES[kind]}`"
    yield ""
    yield schema["description"]
    yield ""
    yield from _table(schema)
    for name, part in schema.get("$defs", {}).items():
        if "properties" in part:
            yield ""
            yield f"### {kind}: {name}"
            yield ""
            yield part["description"]
            yield ""
            yield from _table(part)


def _table(schema: dict[str, Any]) -> Iterator[str]:
    yield "| key | type | default | what it is |"
    yield "|---|---|---|---|"
    required = schema.get("required", [])
    for key, item in schema["properties"].items():
        default = "**required**" if key in required else _default(item.get("default"))
        yield f"| `{key}` | {_type(item)} | {default} | {item.get('description', '')} |"


def _default(value: object) -> str:
    if value is None or value in ([], {}, ""):
        return ""
    if isinstance(value, dict):
        return "see below"
    return f"`{value}`"


def _type(item: dict[str, Any]) -> str:
    if "$ref" in item:
        return str(item["$ref"].rsplit("/", 1)[-1])
    if "anyOf" in item:
        kinds = [_type(each) for each in item["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in item:
        return " or ".join(f"`{value}`" for value in item["enum"])
    if "const" in item:
        return f"`{item['const']}`"
    if item.get("type") == "array":
        return f"list of {_type(item.get('items', {}))}"
    if item.get("type") == "object" and isinstance(item.get("additionalProperties"), dict):
        return f"mapping of {_type(item['additionalProperties'])}"
    kind = str(item.get("type", ""))
    return {"string": "text", "integer": "number", "boolean": "true/false"}.get(kind, kind)
