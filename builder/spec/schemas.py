# SPDX-License-Identifier: MIT
"""The JSON Schemas of the files that users write."""

from __future__ import annotations

from typing import Any

from builder.spec.distribution import Distribution
from builder.spec.local import LocalSettings
from builder.spec.models import Board, Model, Profile
from builder.spec.recipe import Recipe

KINDS: dict[str, type[Model]] = {
    "board": Board,
    "recipe": Recipe,
    "profile": Profile,
    "distribution": Distribution,
    "local": LocalSettings,
}
"""The kinds of files, by the name of their schema."""


def json_schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a kind of file."""
    schema = KINDS[kind].model_json_schema(by_alias=True)
    if kind == "board":
        _admit_variants(schema)
    if kind == "profile":
        schema["anyOf"] = [{"required": ["extends"]}, {"required": ["recipes"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _admit_variants(schema: dict[str, Any]) -> None:
    """Let a schema take a variant: keys that its base may have are missing, `KEY+` adds to KEY."""
    schema["if"], schema["else"] = {"required": ["extends"]}, {"required": schema["required"]}
    schema["required"] = ["board"]
    for part in schema["$defs"].values():
        part.pop("required", None)
    for part in (schema, *schema["$defs"].values()):
        properties = part.get("properties", {})
        properties |= {
            f"{key}+": {
                "type": "array",
                "items": item["items"],
                "description": f"Added to `{key}` of the board that is extended",
            }
            for key, item in properties.items()
            if item.get("type") == "array"
        }
