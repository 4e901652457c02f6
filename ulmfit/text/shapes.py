"""What an affix pattern of a tokenizer can do to plain words and to marks at their ends, read off its syntax tree.

Half of the distinct words of a text are lower-case letters only, most others are such a word between marks. Where
the tree proves what a language's patterns do to these, they need no tokenizer. Every answer errs on the side of
"it can", so that what is not understood is left to the tokenizer.
"""

from __future__ import annotations

import functools
import importlib
import re
import string
import sys
from collections.abc import Callable, Iterable
from typing import Any

_NEW = sys.version_info >= (3, 11)
parser: Any = importlib.import_module("re._parser" if _NEW else "sre_parse")
sre: Any = importlib.import_module("re._constants" if _NEW else "sre_constants")

LETTERS = frozenset(string.ascii_lowercase)
_ASCII_IN_ANY_CASE = (*range(128), *map(ord, "İıſ\u212a"))  # the last is the sign of the kelvin
_LOOKING = (sre.AT, sre.ASSERT, sre.ASSERT_NOT)
_REPEATING = (sre.MAX_REPEAT, sre.MIN_REPEAT)


def can_match_letters(pattern: re.Pattern[str]) -> bool:
    """Tell whether `pattern` can match, anywhere, a text of lower-case ASCII letters only."""
    return _matches(_parse(pattern), _membership(pattern, LETTERS))


def can_start_with(pattern: re.Pattern[str], characters: Iterable[str]) -> bool:
    """Tell whether a match of `pattern` can begin with one of `characters`."""
    return _edge(_parse(pattern), _membership(pattern, characters), first=True)


def single_openers(pattern: re.Pattern[str], marks: str) -> str:
    """Return the marks that a prefix pattern takes always, and never together with what follows."""
    return "".join(mark for mark in marks if _is_single(pattern, mark, first=True))


def single_closers(pattern: re.Pattern[str], marks: str) -> str:
    """Return the marks that a suffix pattern, if it takes one after another character, takes alone.

    Whether it does may depend on the two characters before the mark, and on no others.
    """
    near = _look_behind(_parse(pattern)) <= 2
    return "".join(mark for mark in marks if near and _is_single(pattern, mark, first=False))


@functools.lru_cache(maxsize=16)
def _parse(pattern: re.Pattern[str]) -> Any:
    return parser.parse(pattern.pattern, pattern.flags)


def _membership(pattern: re.Pattern[str], characters: Iterable[str]) -> Callable[[int], bool]:
    """Return a test whether a code point of the pattern stands for one of `characters`."""
    wanted = frozenset(characters)
    if pattern.flags & re.IGNORECASE:
        return lambda code: any(
            re.fullmatch(re.escape(chr(code)), character, re.IGNORECASE) for character in wanted
        )
    return lambda code: chr(code) in wanted


def _matches(nodes: Any, among: Callable[[int], bool]) -> bool:
    """Tell whether a sequence of nodes can match a text of some characters only."""
    return all(_node_matches(op, argument, among) for op, argument in nodes)


def _node_matches(op: Any, argument: Any, among: Callable[[int], bool]) -> bool:
    if op is sre.LITERAL:
        return among(argument)
    if op is sre.IN:
        return any(_member_matches(kind, value, among) for kind, value in argument)
    if op is sre.BRANCH:
        return any(_matches(branch, among) for branch in argument[1])
    if op is sre.SUBPATTERN:
        return bool(argument[1]) or _matches(argument[-1], among)  # it may set flags of its own
    if op is sre.ASSERT:
        return _matches(argument[1], among)
    if op in _REPEATING:
        return argument[0] == 0 or _matches(argument[2], among)
    return True


def _member_matches(kind: Any, value: Any, among: Callable[[int], bool]) -> bool:
    """Tell whether an entry of a character class holds one of some ASCII characters."""
    if kind is sre.LITERAL:
        return among(value)
    if kind is sre.RANGE:
        low, high = value
        return any(low <= code <= high for code in _ASCII_IN_ANY_CASE if among(code))
    return True


def _edge(nodes: Any, among: Callable[[int], bool], *, first: bool) -> bool:
    """Tell whether the first (or last) character that `nodes` take can be one of some characters."""
    for op, argument in nodes if first else reversed(list(nodes)):
        if op in _LOOKING:
            continue
        if op is sre.BRANCH:
            return any(_edge(branch, among, first=first) for branch in argument[1])
        if op is sre.SUBPATTERN:
            return bool(argument[1]) or _edge(argument[-1], among, first=first)
        if op in _REPEATING:
            return argument[0] == 0 or _edge(argument[2], among, first=first)
        return _node_matches(op, argument, among)
    return True


def _is_single(pattern: re.Pattern[str], mark: str, *, first: bool) -> bool:
    """Tell whether all alternatives that take `mark` at their edge take it alone; for a prefix, without condition."""
    among = _membership(pattern, mark)
    alternatives = [
        nodes for nodes in _alternatives(_parse(pattern)) if _edge(nodes, among, first=first)
    ]
    if first:
        return bool(alternatives) and all(
            len(nodes) == 1 and nodes[0][0] is sre.LITERAL for nodes in alternatives
        )
    return bool(alternatives) and all(
        nodes.getwidth()[1] == 1 or all(_is_run(op, argument, among) for op, argument in nodes)
        for nodes in alternatives
    )


def _is_run(op: Any, argument: Any, among: Callable[[int], bool]) -> bool:
    """Tell whether a node is one mark or a repetition of it, which a neighbour that differs keeps to one."""
    inner = argument[2][0] if op in _REPEATING and len(argument[2]) == 1 else (op, argument)
    return op in _LOOKING or (inner[0] is sre.LITERAL and among(inner[1]))


def _alternatives(nodes: Any) -> list[Any]:
    """Return the branches of a pattern that is one alternation, perhaps anchored; else the pattern itself."""
    branches = [argument[1] for op, argument in nodes if op is sre.BRANCH]
    rest = [op for op, _ in nodes if op is not sre.BRANCH]
    return branches[0] if len(branches) == 1 and all(op is sre.AT for op in rest) else [nodes]


def _look_behind(nodes: Any) -> int:
    """Return how many characters the widest look-behind sees."""
    widest = 0
    for op, argument in nodes:
        if op in (sre.ASSERT, sre.ASSERT_NOT) and argument[0] < 0:
            widest = max(widest, argument[1].getwidth()[1])
        elif op is sre.BRANCH:
            widest = max([widest, *map(_look_behind, argument[1])])
        elif op is sre.SUBPATTERN or op in _REPEATING:
            widest = max(widest, _look_behind(argument[-1]))
    return widest
