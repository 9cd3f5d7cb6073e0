# SPDX-License-Identifier: MIT
"""PetaLinux's recorded output is explained, and each entry of the table is needed for it."""

from __future__ import annotations

import string

import pytest

from builder.bsp.petalinux import failures
from builder.bsp.petalinux.failures import Failure, explain, known_failures
from builder.errors import BuildError
from tests.fixtures.petalinux_failures import check, error
from tests.fixtures.petalinux_recorded import RECORDED


@pytest.mark.parametrize(("output", "kind", "what", "line", "hint"), RECORDED)
def test_recorded(output: str, kind: type[BuildError], what: str, line: str, hint: str) -> None:
    found = explain(error(), output)
    assert what in found.message
    check(found, kind, found.message, line, hint)


PLACES = [
    (failure.name, number) for failure in known_failures() for number in range(len(failure.says))
]


@pytest.mark.parametrize(("name", "number"), PLACES)
def test_each_expression_of_the_table_is_tested(
    monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """Without an expression, one of the recorded outputs is explained differently."""

    def without(failure: Failure) -> Failure:
        says = failure.says
        says = says[:number] + says[number + 1 :] if failure.name == name else says
        return failure.model_copy(update={"says": says})

    def explained() -> list[tuple[str, str]]:
        outputs = [str(case.values[0]) for case in RECORDED]
        found = [explain(error(), output) for output in outputs]
        return [(each.message, each.details[0]) for each in found]

    before = explained()
    table = tuple(without(failure) for failure in known_failures())
    monkeypatch.setattr(failures, "known_failures", lambda: table)
    assert explained() != before


def test_hints_name_existing_groups() -> None:
    for failure in known_failures():
        texts = f"{failure.what} {failure.hint}"
        names = {name for _, name, _, _ in string.Formatter().parse(texts) if name}
        for pattern in failure.says:
            assert names <= set(pattern.groupindex), (failure.name, pattern.pattern)
