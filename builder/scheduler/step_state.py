# SPDX-License-Identifier: MIT
"""Steps as JSON, for the worker: a class of the builder's and the values of its attributes.

Decoding calls no constructor and no other code that the JSON could choose: it makes plain values,
and objects of classes that lie in the builder's own modules. (A step's state still decides which
commands run, so requests are signed; see `builder.containers.protocol`.)

Parents are left out: a running step finds its inputs by name (`Job.input`).

A string, number, boolean, null or list stands for itself, anything else is an object with one key:

    {"dict": [[KEY, VALUE], ...]}     {"tuple": [...]}   {"set": [...]}   {"frozenset": [...]}
    {"bytes": "BASE64"}               {"path": "..."}
    {"enum": ["MODULE:CLASS", VALUE]}
    {"text": ["MODULE:CLASS", "..."]}             a subclass of str
    {"named-tuple": ["MODULE:CLASS", [...]]}
    {"model": ["MODULE:CLASS", {NAME: VALUE}, [NAMES THAT WERE SET]]}
    {"object": ["MODULE:CLASS", {NAME: VALUE}]}
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from pydantic import BaseModel

from builder.errors import StepError
from builder.steps.step import Step

PACKAGES: Final = ("builder",)
"""Packages whose classes may be decoded."""

_Tagged: TypeAlias = dict[str, Any]


def encode_step(step: Step) -> dict[str, Any]:
    """Return a step as JSON.

    Raises:
        TypeError: an attribute has a value of a kind that is not supported.
    """
    return _encode_object(step)


def decode_step(data: object, packages: Sequence[str] = PACKAGES) -> Step:
    """Return the step that `encode_step` made JSON of, without parents.

    Raises:
        StepError: it is none, or has objects of classes outside of `packages`.
    """
    try:
        step = _Decoder(packages).decode(data)
    except (
        *(ArithmeticError, AttributeError, ImportError, LookupError),
        *(RecursionError, TypeError, ValueError),
    ) as error:
        raise StepError(f"the description of a step is malformed: {error}") from error
    if not isinstance(step, Step):
        raise StepError(f"the description of a step describes a {type(step).__name__}")
    return step


def _encode(value: object) -> object:
    if value is None or type(value) in {bool, int, float, str}:
        return value
    if type(value) is list:
        return [_encode(each) for each in value]
    for kinds, encode in _ENCODERS:
        if isinstance(value, kinds):
            return encode(value)
    return _encode_object(value)


def _name(value: object) -> str:
    kind = type(value)
    return f"{kind.__module__}:{kind.__qualname__}"


def _items(tag: str) -> Callable[[Any], _Tagged]:
    return lambda value: {tag: [_encode(each) for each in value]}


def _encode_tuple(value: tuple[object, ...]) -> _Tagged:
    items = [_encode(each) for each in value]
    return {"tuple": items} if type(value) is tuple else {"named-tuple": [_name(value), items]}


def _encode_model(value: BaseModel) -> _Tagged:
    state = {name: _encode(each) for name, each in vars(value).items()}
    return {"model": [_name(value), state, sorted(value.model_fields_set)]}


def _encode_object(value: object) -> _Tagged:
    if not hasattr(value, "__dict__") or isinstance(value, type) or callable(value):
        raise TypeError(f"{value!r} is of a kind that cannot be sent to the worker")
    state = {
        name: _encode(each) for name, each in vars(value).items() if not _is_parents(value, name)
    }
    return {"object": [_name(value), state]}


def _is_parents(value: object, name: str) -> bool:
    return isinstance(value, Step) and name == "parents"


_ENCODERS: Final[Sequence[tuple[Any, Callable[[Any], _Tagged]]]] = (
    (Enum, lambda value: {"enum": [_name(value), _encode(value.value)]}),
    (str, lambda value: {"text": [_name(value), str(value)]}),
    (bytes, lambda value: {"bytes": base64.b64encode(value).decode()}),
    (Path, lambda value: {"path": str(value)}),
    (tuple, _encode_tuple),
    (frozenset, _items("frozenset")),
    (set, _items("set")),
    (
        (dict, MappingProxyType),
        lambda value: {"dict": [[_encode(key), _encode(each)] for key, each in value.items()]},
    ),
    (BaseModel, _encode_model),
)


class _Decoder:
    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages
        self._decoders: Mapping[str, Callable[[Any], object]] = {
            "dict": lambda pairs: {self.decode(key): self.decode(each) for key, each in pairs},
            "tuple": lambda items: tuple(map(self.decode, items)),
            "set": lambda items: {*map(self.decode, items)},
            "frozenset": lambda items: frozenset(map(self.decode, items)),
            "bytes": base64.b64decode,
            "path": Path,
            "enum": lambda parts: self._class(parts[0], Enum)(self.decode(parts[1])),
            "text": lambda parts: str.__new__(self._class(parts[0], str), parts[1]),
            "named-tuple": self._named_tuple,
            "model": self._model,
            "object": self._object,
        }

    def decode(self, data: object) -> object:
        if isinstance(data, list):
            return [self.decode(each) for each in data]
        if isinstance(data, dict):
            ((tag, content),) = data.items()
            return self._decoders[tag](content)
        return data

    def _class(self, name: str, base: type) -> Any:
        """Return a class by `MODULE:CLASS`, if it is defined in one of the packages."""
        module, _, qualified = name.partition(":")
        if module.partition(".")[0] not in self._packages:
            raise ValueError(f"{name} is not one of the builder's classes")
        found = vars(import_module(module)).get(qualified)
        if not isinstance(found, type) or not issubclass(found, base) or found.__module__ != module:
            raise ValueError(f"{name} is not a class of the expected kind")
        return found

    def _state(self, state: Mapping[str, object]) -> dict[str, object]:
        return {name: self.decode(each) for name, each in state.items()}

    def _named_tuple(self, parts: Sequence[Any]) -> object:
        return tuple.__new__(self._class(parts[0], tuple), map(self.decode, parts[1]))

    def _model(self, parts: Sequence[Any]) -> object:
        name, state, were_set = parts
        kind = self._class(name, BaseModel)
        model = kind.__new__(kind)
        BaseModel.__setstate__(
            model,
            {
                "__dict__": self._state(state),
                "__pydantic_fields_set__": {*map(str, were_set)},
                "__pydantic_extra__": None,
                "__pydantic_private__": None,
            },
        )
        return model

    def _object(self, parts: Sequence[Any]) -> object:
        name, state = parts
        kind = self._class(name, object)
        if issubclass(kind, (BaseException, BaseModel, Enum, str, tuple)):
            raise ValueError(f"{name} is not a class of the expected kind")  # noqa: TRY004
        made = object.__new__(kind)
        made.__dict__.update(self._state(state))
        if isinstance(made, Step):
            made.parents = {}
        return made
