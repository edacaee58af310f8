"""Pickles as data: a stack machine that builds records and calls nothing.

Whatever a pickle would import is a `Global`, a name; whatever it would call or construct is a
`Record` of that name, its arguments and its state. So no code of a file can run, whole pickled
modules of unknown classes can be read, and time and memory are bounded by the number of steps.
"""

from __future__ import annotations

import io
import pickletools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zoo_gen.exchange.imports.files.stored import BadFile

MOST_STEPS = 4_000_000  # of one pickle; a module of 300 layers takes some 40,000

# what pickles of honest checkpoints name of Python's own library; anything else of it is an attack
HARMLESS_MODULES = {
    *("collections", "collections.abc", "copy_reg", "copyreg", "argparse", "pathlib", "datetime"),
    *("enum", "decimal", "fractions", "uuid", "math", "cmath", "random", "string", "numbers"),
    *("typing", "dataclasses", "abc", "__main__"),
}
HARMLESS = {
    *("_codecs.encode", "functools.partial", "types.SimpleNamespace", "types.MethodType"),
    *("logging.getLogger", "logging.Logger", "re._compile", "inspect._empty", "_io.BytesIO"),
    *(
        f"{module}.{name}"
        for module in ("builtins", "__builtin__")
        for name in (
            *("set", "frozenset", "complex", "slice", "range", "xrange", "bytearray", "bytes"),
            *("list", "dict", "tuple", "int", "long", "float", "str", "unicode", "bool", "object"),
            *("getattr", "type", "Ellipsis", "NotImplemented", "abs", "min", "max", "sum"),
        )
    ),
}
LIBRARY = sys.stdlib_module_names | {"__builtin__", "nt", "posix", "commands", "urllib2"}
DICTIONARIES = {"collections.OrderedDict", "collections.defaultdict", "builtins.dict"}


@dataclass(frozen=True, slots=True)
class Global:
    """The name of a class or function; it is never looked up."""

    name: str


@dataclass(slots=True, eq=False)
class Record:
    """What a pickle would have constructed.

    Attributes:
        of: the class or function.
        args: it would have been called with.
        state: it would have been given; None without.
        items: it would have been filled with, for dictionaries.
        elements: it would have been filled with, for lists and sets.
    """

    of: Any
    args: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of its class or function, with the module."""
        return self.of.name if isinstance(self.of, Global) else "an object"


class _Mark:
    """Where a group of values on the stack begins."""


MARK = _Mark()


def read_pickle(
    file: io.BytesIO, persistent: Callable[[Any], Any] = lambda pid: Record(pid)
) -> Any:
    """The value of the next pickle of a file, which is left behind its end.

    Args:
        file: in memory, so that a length claimed in it costs nothing.
        persistent: what stands for an object outside the pickle, by its identifier.

    Returns:
        Plain values, lists, tuples, dictionaries with plain keys, `Global` and `Record`.

    Raises:
        BadFile: it is no pickle, or names what only an attack would; nothing was run.
    """
    machine = _Machine(persistent)
    try:
        for opcode, arg, _ in pickletools.genops(file):
            machine.step(opcode.name, arg)
        (value,) = machine.stack
    except BadFile:
        raise
    except Exception as error:  # whatever the parser or a stack that is too short raises
        raise BadFile("it cannot be read (a broken pickle, or none at all)") from error
    return value


class _Machine:
    def __init__(self, persistent: Callable[[Any], Any]) -> None:
        self.persistent = persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.left = MOST_STEPS

    def spend(self, steps: int) -> None:
        """Count work that one instruction causes."""
        self.left -= steps
        if self.left < 0:
            raise BadFile(f"its pickle takes more than {MOST_STEPS:,} steps; refused")

    def step(self, name: str, arg: Any) -> None:
        self.spend(1)
        if name in PUSHES:
            self.stack.append(arg)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in EMPTY:
            self.stack.append(EMPTY[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[arg] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[arg])
        elif name not in ("PROTO", "FRAME", "STOP"):
            action = getattr(self, f"_{name.lower()}", None)
            if action is None:
                raise BadFile(f"its pickle has the instruction {name}, which no checkpoint needs")
            action(arg)

    def _group(self) -> list[Any]:
        """The values above the last mark, which leave the stack with it."""
        at = len(self.stack) - 1
        while self.stack[at] is not MARK:
            at -= 1
            self.spend(1)
            if at < 0:
                raise ValueError("no mark")
        group = self.stack[at + 1 :]
        del self.stack[at:]
        return group

    def _pop(self, _: Any) -> None:
        self.stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self._group()

    def _dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _tuple1(self, _: Any) -> None:
        self.stack[-1:] = [tuple(self.stack[-1:])]

    def _tuple2(self, _: Any) -> None:
        self.stack[-2:] = [tuple(self.stack[-2:])]

    def _tuple3(self, _: Any) -> None:
        self.stack[-3:] = [tuple(self.stack[-3:])]

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._group()))

    def _list(self, _: Any) -> None:
        self.stack.append(self._group())

    _frozenset = _list

    def _dict(self, _: Any) -> None:
        group = self._group()
        self.stack.append({})
        self._fill(group)

    def _append(self, _: Any) -> None:
        self._extend([self.stack.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._group())

    _additems = _appends

    def _setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def _setitems(self, _: Any) -> None:
        self._fill(self._group())

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        (target.elements if isinstance(target, Record) else target).extend(values)

    def _fill(self, flat: list[Any]) -> None:
        target = self.stack[-1]
        items = target.items if isinstance(target, Record) else target
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            # the hash of a nested tuple can take time without end; such keys name no tensors
            if isinstance(key, str | int | float | bytes | None):
                items[key] = value

    def _global(self, arg: str) -> None:
        self.stack.append(_named(*arg.split(" ", 1)))

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(_named(module, name))

    def _inst(self, arg: str) -> None:
        args = tuple(self._group())
        self.stack.append(self._made(_named(*arg.split(" ", 1)), args))

    def _obj(self, _: Any) -> None:
        of, *args = self._group()
        self.stack.append(self._made(of, tuple(args)))

    def _reduce(self, _: Any) -> None:
        args, of = self.stack.pop(), self.stack.pop()
        self.stack.append(self._made(of, args if isinstance(args, tuple) else (args,)))

    _newobj = _reduce

    def _newobj_ex(self, _: Any) -> None:
        self.stack.pop()
        self._reduce(None)

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Record):
            self.stack[-1].state = state

    def _persid(self, arg: Any) -> None:
        self.stack.append(self.persistent(arg))

    def _binpersid(self, _: Any) -> None:
        self.stack.append(self.persistent(self.stack.pop()))

    def _made(self, of: Any, args: tuple[Any, ...]) -> Any:
        if not (isinstance(of, Global) and of.name in DICTIONARIES):
            return Record(of, args)
        found: dict[Any, Any] = {}
        self.stack.append(found)
        if args and isinstance(args[0], list):  # as Python 2 pickles an OrderedDict
            self.spend(len(args[0]))
            for key, value in args[0]:
                self._fill([key, value])
        return self.stack.pop()


def _named(module: Any, name: Any) -> Global:
    if not isinstance(module, str) or not isinstance(name, str):
        raise BadFile("it cannot be read (a broken pickle)")
    full = f"{module}.{name}"
    own = module.split(".")[0] in LIBRARY
    # "random" "_os.system" would be a way from a harmless module to another one
    through = any(part.strip("_") in LIBRARY for part in name.split(".")[:-1])
    if through or (own and module not in HARMLESS_MODULES and full not in HARMLESS):
        raise BadFile(
            f"it holds more than tensors ({full[:80]}), and running its code is refused: no "
            "checkpoint needs it, so the file may be malicious; nothing of it was run"
        )
    return Global(full)


PUSHES = frozenset(
    [
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
    ]
)
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "MARK": MARK}
EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": lambda: Record(Global("builtins.set")),
}
