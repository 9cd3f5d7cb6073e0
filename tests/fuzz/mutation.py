# SPDX-License-Identifier: MIT
"""Mutations of inputs: of bytes, and of what stands in them, in the formats that are read here."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from copy import deepcopy
from random import Random
from typing import Any, Final, TypeAlias
from xml.etree import ElementTree as ET

import yaml

Mutation: TypeAlias = Callable[[Random, bytes], bytes]
"""Returns a changed input; it is the same for the same numbers of the generator."""

LARGEST: Final = 1 << 20
"""Bytes of the largest input that is made."""

_NUMBERS: Final = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 1 << 24, 0x7FFFFFFF, 0xFFFFFFFF)
_WORDS: Final = (
    *("", " ", "-1", "0", "1e9", "0x", "9" * 30, "9" * 5000, "\u00b2", "\u0663", "a\nb", "\n"),
    *("..", "../../x", "/etc/passwd", "a//b", "lib/modules//etc/x", ".", "a/", "~", "\u2028"),
    *("$(id)", "${x}", "$(A)$(A)", "{{ 7 }}", "{0}", "%s", "&a", "*a", "<<", "\\", '"', "'", "#"),
    *("<!DOCTYPE x>", '<?xml version="1.0" encoding="x"?>', "/*", "*/", "//", "x" * 300, "\x1b[2J"),
)
_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, -1, 0, 1, 65536, 1 << 31, 1 << 64, 10**30, 1.5, float("nan")),
    *([], {}, [[]], [None], {"": ""}, {1: 2}, {None: None}, ["a", "a"]),
)


def of_bytes(random: Random, data: bytes) -> bytes:
    """Change, add, remove, repeat or cut bytes."""
    at = random.randint(0, len(data))
    length = random.choice((1, 2, 4, 8, 64, 1024))
    match random.randrange(7):
        case 0:
            return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
        case 1:
            number = random.choice(_NUMBERS)
            form = random.choice(("<H", ">H", "<I", ">I"))
            packed = struct.pack(form, number & (0xFFFF if form[1] == "H" else 0xFFFFFFFF))
            return data[:at] + packed + data[at + len(packed) :]
        case 2:
            return data[:at] + data[at + length :]
        case 3:
            return data[:at] + data[at : at + length] * random.choice((2, 100)) + data[at:]
        case 4:
            return data[:at]
        case 5:
            return data[:at] + random.choice(_WORDS).encode() + data[at:]
        case _:
            other = random.randint(0, len(data))
            return data[:at] + data[other : other + length] + data[at + length :]


def of_lines(random: Random, data: bytes) -> bytes:
    """Change the lines of a text, or words in them."""
    lines = data.split(b"\n")
    at = random.randrange(len(lines))
    match random.randrange(6):
        case 0:
            del lines[at]
        case 1:
            lines.insert(random.randrange(len(lines) + 1), lines[at])
        case 2:
            lines[at] = lines[at] * random.choice((2, 50))
        case 3:
            most = LARGEST // (len(lines[at]) + 1)
            lines[at:at] = [lines[at]] * min(random.choice((21, 1001)), most)
        case 4:
            words = lines[at].split(b" ")
            words[random.randrange(len(words))] = random.choice(_WORDS).encode()
            lines[at] = b" ".join(words)
        case _:
            return of_bytes(random, data)
    return b"\n".join(lines)


def of_values(random: Random, value: Any) -> Any:
    """Return a value of YAML or JSON with a change somewhere in it."""
    children = [*value.items()] if isinstance(value, dict) else []
    children = [*enumerate(value)] if isinstance(value, list) else children
    if children and random.randrange(4):
        key, child = random.choice(children)
        changed = of_values(random, child)
        pairs = [(k, changed if k == key else each) for k, each in children]
        return dict(pairs) if isinstance(value, dict) else [each for _, each in pairs]
    match random.randrange(8):
        case 0:
            return random.choice(_VALUES)
        case 1 | 2:
            return random.choice(_WORDS)
        case 3 if isinstance(value, dict) and value:
            gone = random.choice([*value])
            return {key: each for key, each in value.items() if key != gone}
        case 4 if isinstance(value, dict):
            return {**value, random.choice(_WORDS): random.choice(_VALUES)}
        case 5 if isinstance(value, dict) and value:
            old, new = random.choice([*value]), random.choice([*value, *_WORDS])
            return {new if key == old else key: each for key, each in value.items()}
        case 6:
            return [value] * random.choice((1, 2, 200))
        case _:
            return f"{value}{random.choice(_WORDS)}" if isinstance(value, str) else {"x": value}


def of_yaml(random: Random, data: bytes) -> bytes:
    """Change a value or a key of a YAML file, or its text."""
    if random.randrange(3) == 0:
        return of_lines(random, data)
    try:
        value = yaml.load(data, Loader=yaml.CSafeLoader)
        return yaml.dump(
            of_values(random, value), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True
        ).encode()
    except (yaml.YAMLError, ValueError, RecursionError, TypeError):
        return of_lines(random, data)


def of_xml(random: Random, data: bytes) -> bytes:
    """Change an element of XML, or its text."""
    try:
        root = ET.fromstring(data)  # noqa: S314 - of our own making
    except (ET.ParseError, ValueError, LookupError):
        return of_lines(random, data)
    elements = [*root.iter()]
    element = random.choice(elements)
    match random.randrange(6):
        case 0 | 1 if element.attrib:
            element.set(random.choice([*element.attrib]), random.choice(_WORDS))
        case 2:
            other = random.choice(elements)
            element.append(deepcopy(other) if len(other) < 50 else ET.Element("x"))
        case 3 if len(element):
            element.remove(random.choice([*element]))
        case 4 if element.attrib:
            element.attrib.pop(random.choice([*element.attrib]))
        case 5:
            element.text = random.choice(_WORDS)
        case _:
            return of_lines(random, data)
    try:
        return ET.tostring(root, encoding="unicode").encode(errors="replace")
    except (RecursionError, TypeError, ValueError):
        return of_lines(random, data)


def as_bytes(text: str) -> bytes:
    """Return the bytes of a file that an input has as a JSON string.

    Surrogates stand for bytes that are not UTF-8; those that JSON can write but Python's
    `surrogateescape` does not produce become three bytes, which are no UTF-8 either.
    """
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def is_path(name: str) -> bool:
    """Return whether a name of an input is the path of a file that can be written."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return "\0" not in name and ".." not in name


def of_files(random: Random, data: bytes) -> bytes:
    """Change a file of a directory, which is kept as JSON: name -> content."""
    try:
        files: Any = json.loads(data)
    except ValueError:
        return of_lines(random, data)
    if not isinstance(files, dict) or not files:
        return of_lines(random, data)
    name = random.choice([*files])
    if random.randrange(8) == 0:
        files[random.choice(_WORDS)] = files.pop(name)
    else:
        mutation = of_name(name)
        changed = mutation(random, as_bytes(str(files[name])))
        files[name] = changed.decode(errors="surrogateescape")
    return json.dumps(files, indent=1).encode()


def of_name(name: str) -> Mutation:
    """Return the mutation that fits a file's name."""
    if name.endswith((".yaml", ".json")):
        return of_yaml
    return of_xml if name.endswith((".hwh", ".xml")) else of_lines


def of_zip(random: Random, data: bytes) -> bytes:
    """Change the members of a zip file, or its bytes."""
    if random.randrange(3) == 0:
        return of_bytes(random, data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(each, archive.read(each)) for each in archive.infolist()]
    except Exception:  # noqa: BLE001 - whatever it is, it is no zip file any more
        return of_bytes(random, data)
    if not members:
        return of_bytes(random, data)
    at = random.randrange(len(members))
    info, content = members[at]
    match random.randrange(5):
        case 0:
            info.filename = random.choice((*_WORDS, f"{info.filename}/x", members[0][0].filename))
        case 1:
            info.compress_type = random.choice(
                (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
            )
        case 2:
            members.insert(at, (info, content))
        case 3:
            info.external_attr = random.choice((0o120777 << 16, 0o010644 << 16, 0x10))
        case _:
            members[at] = info, of_name(info.filename)(random, content)
    made = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(made, "w") as archive:
        warnings.simplefilter("ignore")  # that a name is there twice
        for each, text in members:
            archive.writestr(_plain(each), text)
    packed = made.getvalue()
    return of_bytes(random, packed) if random.randrange(3) == 0 else packed


def _plain(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(info.filename or "x")
    made.compress_type, made.external_attr = info.compress_type, info.external_attr
    return made


def of_tar(random: Random, data: bytes) -> bytes:
    """Change the members of a tar archive, or its bytes, packed or not."""
    if random.randrange(3) == 0:
        return of_bytes(random, data)
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            members = [
                (each, file.read() if (file := archive.extractfile(each)) else b"")
                for each in archive
                if each.isfile() or each.issym()
            ]
    except Exception:  # noqa: BLE001 - as with zip files
        return of_bytes(random, data)
    if not members:
        return of_bytes(random, data)
    at = random.randrange(len(members))
    info, content = members[at]
    match random.randrange(5):
        case 0:
            info.name = random.choice((*_WORDS, f"{info.name}/x", f"lib/modules/6.1.0/{info.name}"))
        case 1:
            info.type = random.choice((b"0", b"1", b"2", b"3", b"5", b"6", b"S", b"x", b"L", b"?"))
        case 2:
            info.linkname = random.choice((*_WORDS, info.name))
        case 3:
            members.insert(at, (info, content))
        case _:
            content = of_name(info.name)(random, content)
            members[at] = info, content
            info.size = len(content)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=random.choice((0, 1, 2))) as archive:
        for each, text in members:
            try:
                archive.addfile(each, io.BytesIO(text) if each.isfile() else None)
            except (OSError, ValueError, OverflowError, UnicodeError):
                continue
    plain = of_bytes(random, made.getvalue()) if random.randrange(3) == 0 else made.getvalue()
    return gzip.compress(plain, mtime=0) if random.randrange(2) else plain


def of_tree(random: Random, data: bytes) -> bytes:
    """Change the tokens of a flattened device tree, or its bytes."""
    if random.randrange(3) == 0 or len(data) < 40:
        return of_bytes(random, data)
    start, strings = struct.unpack_from(">2I", data, 8)
    at = min(start, len(data)) + 4 * random.randrange(max(1, (len(data) - start) // 4))
    tokens = {
        "begin": b"\0\0\0\1" + random.choice((b"x\0\0\0", b"\0\0\0\0", b"\xff\0\0\0")),
        "end": b"\0\0\0\2",
        "nop": b"\0\0\0\4",
        "property": b"\0\0\0\3" + struct.pack(">2I", 4, random.choice((0, 8))) + b"\0\0\0\1",
    }
    match random.randrange(4):
        case 0:
            return data[:at] + random.choice([*tokens.values()]) + data[at + 4 :]
        case 1:  # more of them, whatever the header says
            return data[:at] + random.choice([*tokens.values()]) * 100 + data[at:]
        case 2:
            number = struct.pack(">I", random.choice(_NUMBERS))
            return data[:at] + number + data[at + 4 :]
        case _:
            field = random.choice((4, 8, 12, 16, 32, 36))
            number = struct.pack(">I", random.choice((*_NUMBERS, strings, len(data))))
            return data[:field] + number + data[field + 4 :]


def of_boot_bin(words: int) -> Mutation:
    """Return the mutation of a BOOT.BIN with this many words in its header, its checksum right."""

    def mutation(random: Random, data: bytes) -> bytes:
        end = 0x20 + 4 * words
        if random.randrange(4) == 0 or len(data) < end + 4:
            return of_bytes(random, data)
        if random.randrange(3) == 0:
            return data[:end] + of_bytes(random, data[end:])
        numbers = [*struct.unpack_from(f"<{words}I", data, 0x20)]
        at = random.randrange(2, words)
        numbers[at] = random.choice((*_NUMBERS, 64, len(data), numbers[at] + 64, numbers[at] - 64))
        numbers = [number & 0xFFFFFFFF for number in numbers]
        packed = struct.pack(f"<{words + 1}I", *numbers, ~sum(numbers) & 0xFFFFFFFF)
        return data[:0x20] + packed + data[end + 4 :]

    return mutation


def after_line(mutations: Mapping[str, Mutation]) -> Mutation:
    """Return the mutation of what follows a first line, which says of what kind it is."""

    def mutation(random: Random, data: bytes) -> bytes:
        kind, _, rest = data.partition(b"\n")
        change = mutations.get(kind.decode(errors="replace"), of_bytes)
        return kind + b"\n" + change(random, rest)

    return mutation


def mutated(random: Random, seed: bytes, mutation: Mutation, *, most: int = 4) -> bytes:
    """Return an input with one to `most` changes."""
    for _ in range(random.randint(1, most)):
        seed = mutation(random, seed)[:LARGEST]
    return seed
