"""Damage of all kinds, seeded: what a test of readers feeds them."""

import copy
import json
import re

EXTREMES = (
    *(
        0,
        1,
        -1,
        2,
        255,
        10**6,
        10**9,
        2**31,
        2**32,
        2**53,
        2**63 - 1,
        2**63,
        2**64,
        10**30,
        10**400,
    ),
    *(-(2**63), -(10**30), 0.5, -0.0, 1e-320, 1e308, float("inf"), float("-inf"), float("nan")),
    *(
        None,
        True,
        False,
        "",
        "x",
        "\0",
        "\ud800",
        "1",
        "é" * 100,
        "a" * 5000,
        "h.1000000.x",
        "../x",
    ),
    *([], {}, [[]], [0], [1, 2, 3], {"": 0}, {"a": {"b": {}}}),
)
PIECES = (
    *(
        b"",
        b"\0",
        b"\xff",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\x1f\x8b",
        b"\n",
        b"\t",
        b'"',
        b"{",
        b"}",
    ),
    *(
        b"[" * 3000,
        b'{"a":' * 3000,
        b"9" * 5000,
        b"1e999",
        b"-1",
        b"NaN",
        b"null",
        b"true",
        b"\\u0000",
    ),
    *(b"18446744073709551616", b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f", b"\0\0\0\x80"),
)


def damaged_bytes(rng, raw):
    """Return bytes with bits flipped, parts cut, doubled, moved, put in, or numbers changed."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        # beginnings are the interesting part
        limit = rng.choice((16, 400, len(data)))
        place = rng.randrange(max(1, min(limit, len(data))))
        length = rng.choice((1, 2, 4, 8, rng.randrange(1, 200)))
        kind = rng.randrange(8)
        if kind == 0 and data:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[place] = rng.randrange(256)
        elif kind == 2:
            del data[place:]
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            data[place:place] = data[place : place + length]
        elif kind == 5:
            other = rng.randrange(len(data) + 1)
            data[place : place + length] = data[other : other + length]
        elif kind == 6:
            data[place : place + rng.choice((0, length))] = rng.choice(PIECES)
        else:
            numbers = list(re.finditer(rb"-?\d+", data[:20_000]))
            if numbers:
                found = rng.choice(numbers)
                number = str(rng.choice([n for n in EXTREMES if isinstance(n, int | float)]))
                data[found.start() : found.end()] = number.encode()
    return bytes(data)


def damaged_value(rng, value):
    """Return nested lists and dicts of which some are replaced, left out, renamed or repeated."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2))):
        places = list(_places(value))
        if not places:
            return rng.choice(EXTREMES)
        parent, key = rng.choice(places)
        kind = rng.randrange(8)
        if kind < 4:
            parent[key] = copy.deepcopy(rng.choice(EXTREMES))
        elif kind == 4:
            del parent[key]
        elif kind == 5:
            other, name = rng.choice(places)
            if name in other if isinstance(other, dict) else name < len(other):
                parent[key] = copy.deepcopy(other[name])
        elif kind == 6 and isinstance(parent, dict):
            parent[str(rng.choice(EXTREMES))] = parent.pop(key)
        elif isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        else:
            deep = parent[key]
            for _ in range(rng.choice((1, 200))):
                deep = [deep]
            parent[key] = deep
    return value


def _places(value):
    """Every (container, key) in nested lists and dicts."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def damaged_json(rng, raw):
    """Damage a JSON text: its values, or its bytes."""
    if rng.random() < 0.3:
        return damaged_bytes(rng, raw)
    return _json(damaged_value(rng, json.loads(raw)))


def _json(value):
    try:
        return json.dumps(value).encode()
    except ValueError:  # an integer of too many digits
        return b"1" * 5000


def damaged_safetensors(rng, raw, nested=()):
    """Damage a safetensors file: bytes, header, or JSON that is kept as text in its metadata.

    Parameters
    ----------
    nested : sequence of str
        The metadata that are JSON.
    """
    kind = rng.random()
    if kind < 0.2:
        return damaged_bytes(rng, raw)
    length = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    notes = header.get("__metadata__")
    if nested and kind < 0.8:
        name = rng.choice(nested)
        notes[name] = damaged_json(rng, notes[name].encode()).decode(errors="replace")
    else:
        header = damaged_value(rng, header)
    text = _json(header)
    return len(text).to_bytes(8, "little") + text + data
