# SPDX-License-Identifier: MIT
"""Jinja templates in the values and files of recipes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import jinja2

from builder.errors import UserError


class Renderer:
    """A renderer of templates with one set of variables.

    All methods raise `UserError` for a mistake in a template, such as an unknown variable.
    """

    def __init__(self, variables: Mapping[str, object]) -> None:
        self._variables = variables
        self._jinja = jinja2.Environment(  # noqa: S701 - these are configuration files, not HTML
            undefined=jinja2.StrictUndefined, keep_trailing_newline=True
        )

    def text(self, template: str) -> str:
        """Render a value from a `recipe.yaml`."""
        return self._render(template, "a value")

    def file(self, path: Path) -> str:
        """Render a template file."""
        return self._render(path.read_text(), str(path))

    def _render(self, template: str, source: str) -> str:
        try:
            return self._jinja.from_string(template).render(self._variables)
        except (
            *(jinja2.TemplateError, TypeError, ValueError),
            *(ArithmeticError, LookupError),
        ) as error:
            line = getattr(error, "lineno", None)
            where = f"{source}:{line}" if line else source
            message = getattr(error, "message", None) or str(error)
            raise UserError(f"{where}: {message}", details=[template[:200]]) from error
