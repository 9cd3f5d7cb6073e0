# SPDX-License-Identifier: MIT
"""Model of a profile's file."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from builder.spec.models import MOST_NAMES, Model, Scalar
from builder.spec.texts import Line, Name


class Profile(Model):
    """A named list of recipes: `profiles/<name>.yaml`."""

    summary: Line = Field(description="Purpose of the image in one line")
    extends: Name | None = Field(
        default=None,
        description="Profile to extend: its recipes come before the recipes of this one, and its "
        "parameters apply unless they are set here",
    )
    recipes: tuple[Name, ...] = Field(
        default=(),
        max_length=MOST_NAMES,
        validate_default=True,
        description="Recipes; required without `extends`",
    )
    parameters: dict[Name, dict[Name, Scalar]] = Field(
        default={}, description="Parameters of recipes: recipe, parameter, value"
    )

    @field_validator("recipes")
    @classmethod
    def _holds_something(cls, recipes: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not recipes and info.data.get("extends", "") is None:
            raise ValueError("must name at least one recipe, or set `extends`")
        return recipes
