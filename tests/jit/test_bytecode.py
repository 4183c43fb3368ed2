"""The names that a function's code reads."""

import pytest

from nnlib.jit.bytecode import analyze_reads

TABLE = {"k": 1}


def paths(function):
    found = analyze_reads(function.__code__).paths
    return {(p.scope, p.root + "".join(map(str, p.accesses))) for p in found}


def closure():
    free = TABLE
    return lambda x: x * free["k"].real


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda self: self.config.beta, {("argument", "self.config.beta")}),
        (lambda self: self.config["beta"].high, {("argument", "self.config['beta'].high")}),
        (lambda x: x + TABLE["k"], {("argument", "x"), ("global", "TABLE['k']")}),
        (closure(), {("argument", "x"), ("free", "free['k'].real")}),
        (lambda self: setattr(self, "x", 1), {("global", "setattr"), ("argument", "self")}),
        (lambda *rest, **named: (rest, named), {("argument", "rest"), ("argument", "named")}),
    ],
)
def test_paths(function, expected):
    assert paths(function) == expected


def test_assignments_are_seen():
    def assign(self, value):
        global TABLE
        self.count += 1
        self.last.seen = value
        TABLE = value

    assert {
        ("argument", "self.count"),
        ("argument", "self.last.seen"),
        ("global", "TABLE"),
    } <= paths(assign)


def test_attributes_of_a_loops_variable_are_loose():
    def loop(layers):
        return [layer.scale for layer in layers], layers[0].sub(1).power

    found = [analyze_reads(loop.__code__)]
    found += [analyze_reads(c) for c in loop.__code__.co_consts if hasattr(c, "co_code")]
    assert {"scale", "power"} <= set().union(*(f.loose_attributes for f in found))


def test_what_is_only_stored_or_handed_to_a_function_inside_is_not_read():
    def outer(log, sizes, last, factor):
        last = sizes[1]  # noqa: F841
        factor()

        def inner():
            log.append(1)

        return inner

    arguments = {root for scope, root in paths(outer) if scope == "argument"}
    assert arguments == {"sizes[1]", "factor"}


def test_every_kind_of_load_that_this_python_has():
    """Python joins loads, and loads small numbers, in instructions that differ between versions."""

    def read(self, x, y, *, k):
        z = x[0]
        product = x * y + self.table["rows"][1].size
        for layer in self.layers:
            product = layer.scale * product
        self.count += k
        if self.flag is None:
            del x
        return self.method(x)[2] + product - z

    assert {path for path in paths(read) if path[0] == "argument"} == {
        ("argument", root)
        for root in (
            *("x[0]", "x", "y", "k", "self.table['rows'][1].size", "self.layers", "self.count"),
            *("self.flag", "self.method"),
        )
    }


def test_lines_and_unknown_names():
    def read(self):
        return getattr(self, "beta")  # noqa: B009

    (path,) = [p for p in analyze_reads(read.__code__).paths if p.root == "self"]
    assert path.line == read.__code__.co_firstlineno + 1
    assert analyze_reads(read.__code__).dynamic
    assert "beta" in analyze_reads(read.__code__).strings
