# SPDX-License-Identifier: MIT
"""JSON Schemas of the YAML files."""

from __future__ import annotations

from typing import Any

from builder.spec.distribution import Distribution
from builder.spec.local import LocalSettings
from builder.spec.models import Board, Model
from builder.spec.profile import Profile
from builder.spec.recipe import Recipe

KINDS: dict[str, type[Model]] = {
    "board": Board,
    "recipe": Recipe,
    "profile": Profile,
    "distribution": Distribution,
    "local": LocalSettings,
}
"""Models of the kinds of files, by the name of their schema."""


def json_schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a kind of file."""
    schema = KINDS[kind].model_json_schema(by_alias=True)
    if kind == "board":
        _admit_variants(schema)
    if kind == "profile":
        schema["anyOf"] = [{"required": ["extends"]}, {"required": ["recipes"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _admit_variants(schema: dict[str, Any]) -> None:
    """Extend a schema for variants, which may omit required keys and may have keys `KEY+`."""
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
                "description": f"Items to append to `{key}` of the board that is extended",
            }
            for key, item in properties.items()
            if item.get("type") == "array"
        }
