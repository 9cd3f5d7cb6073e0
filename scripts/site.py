# SPDX-License-Identifier: MIT
"""Hooks of MkDocs that make the README the first page of the documentation site."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_README = Path(__file__).resolve().parents[1] / "README.md"
_LINK = re.compile(r"\]\(((?:\.\./)*)\.\./README\.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, whose links start at the top of the tree."""
    text = _README.read_text().replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs' signature
    """Replace links to the README by links to the first page."""
    return _LINK.sub(r"](\1index.md", markdown)
