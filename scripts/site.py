# SPDX-License-Identifier: MIT
"""Hooks of MkDocs that add the files at the top of the repository to the documentation site."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_ROOT = Path(__file__).resolve().parents[1]
_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security-policy.md",
}
"""Files at the top of the repository, and the pages that they become."""
_LINK = re.compile(r"\]\(((?:\.\./)*)\.\./README\.md")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files, whose links start at the top of the repository."""
    for name, page in _PAGES.items():
        text = (_ROOT / name).read_text().replace("](docs/", "](")
        for other, place in _PAGES.items():
            text = text.replace(f"]({other}", f"]({place}")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs' signature
    """Replace links to the README by links to the first page."""
    return _LINK.sub(r"](\1index.md", markdown)
