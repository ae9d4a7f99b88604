"""Labels by id, as numbers that models learn."""

# Over 150 lines: what may be given as labels, and each way in which it may be wrong.

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from unrolled.errors import counted
from unrolled.reading.arrays import why_masked

_ALLOWED = (
    "a mapping from id to label, such as dict(zip(ids, labels)); a Series of pandas whose index contains the ids;"
    " or a table of two columns, ids and labels"
)


class Labels(NamedTuple):
    """Labels that can be looked up by the ids of a job.

    Attributes:
        by_id: the mapping that was given, if its ids are texts, its labels are numbers, and none is missing.
        classes: the texts, in the order of their numbers; as given if the labels are numbers.
        ids: what the ids looked like when they were given, for people.
        dtype: of all labels together, so that all batches have the same: that of floats if one label is a float.
    """

    by_id: Mapping[str, Any]
    classes: tuple[str, ...]
    ids: str
    dtype: np.dtype[Any]


def read_labels(given: Any, classes: tuple[str, ...]) -> Labels:
    """Read labels, with a text in place of each id that is a whole number, and a number in place of each text.

    Args:
        given: a mapping from id to label, a Series of pandas with the ids as its index, or a table of two columns (ids
            and labels); a label is a number or a text, or a sequence of one kind. None and NaN are no labels.
        classes: the texts, in the order of their numbers; empty for all that occur, sorted.

    Raises:
        TypeError: `given`, or a label, is none of these.
        ValueError: there is no label, an id has two, some are numbers and some texts, a table has another number of
            columns, a class is there twice, or a label isn't in `classes`.
    """
    # Over 40 lines: half of it is the description of what it takes.
    if len(set(classes)) < len(classes):
        twice = next(text for number, text in enumerate(classes) if text in classes[:number])
        raise ValueError(f"classes has {twice!r:.100} twice, and so two numbers for it; name each class once")
    found, kind = _mapping(given)
    labels = _without_missing(found)
    if not labels:
        raise ValueError(f"labels have no label: there is no row, or each label is null; give {_ALLOWED}")
    name = next(iter(found))
    ids = f"{name!r:.100} ({kind or type(name).__name__})"
    if (dtype := _number_dtype(labels)) is not None:
        _check_numbers(labels, classes)
        return Labels(labels, classes, ids, dtype)
    if not classes:
        texts = {text for label in labels.values() for text in (label if _is_many(label) else [label])}
        classes = tuple(sorted(texts))
    numbers = {text: number for number, text in enumerate(classes)}
    try:
        numbered = {
            name: [numbers[text] for text in label] if _is_many(label) else numbers[label]
            for name, label in labels.items()
        }
    except KeyError as error:
        raise ValueError(f"label {error} is none of the {counted(len(classes), 'class', 'classes')}") from None
    return Labels(numbered, classes, ids, np.dtype(np.int64))


def _is_many(label: Any) -> bool:
    """Whether there is a label for each token."""
    return isinstance(label, np.ndarray | list | tuple)


def _mapping(given: Any) -> tuple[Mapping[Any, Any], str]:
    """Labels by id as they are given, and the type of the ids if the table has one."""
    if isinstance(given, Mapping):
        return given, ""
    if hasattr(given, "iloc"):  # of pandas, whose frames would give Arrow their index too
        if given.ndim == 1:
            ids, labels = given.index, given
        else:
            _check_columns([str(name) for name in given.columns])
            ids, labels = given.iloc[:, 0], given.iloc[:, 1]
        return _pairs(ids.tolist(), labels.tolist()), str(ids.dtype)
    try:
        table = pa.table(given)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise TypeError(f"labels are of the type {type(given).__name__}; allowed: {_ALLOWED}") from error
    _check_columns(table.column_names)
    return _pairs(table.column(0).to_pylist(), table.column(1).to_pylist()), str(table.column(0).type)


def _pairs(ids: Iterable[Any], labels: Iterable[Any]) -> dict[Any, Any]:
    """Labels by id, without those that are missing, or whose id is.

    Raises:
        ValueError: an id has two labels that differ.
    """
    found: dict[Any, Any] = {}
    for name, label in zip(ids, labels, strict=True):
        if _is_missing(label) or _is_missing(name):
            continue
        first = found.setdefault(name, label)
        if first is not label and not _are_equal(first, label):
            raise ValueError(
                f"the id {name!r:.100} has two labels: {first!r:.100} and {label!r:.100}; give each id one. Of several "
                "rows with one id, a job computes the first. In a table, the ids are in the first column"
            )
    return found


def _check_numbers(labels: Mapping[Any, Any], classes: tuple[str, ...]) -> None:
    """Refuse numbers that are no class's, if classes are named."""
    for name, label in labels.items() if classes else ():
        for number in label if _is_many(label) else [label]:
            if not 0 <= number < len(classes):
                there = counted(len(classes), "class", "classes")
                raise ValueError(
                    f"the label of {name!r:.100} is {number}, and there are {there}; give numbers from 0 to "
                    f"{len(classes) - 1}"
                )


def _are_equal(one: Any, other: Any) -> bool:
    return bool(np.array_equal(np.asarray(one, object), np.asarray(other, object)))


def _number_dtype(labels: Mapping[Any, Any]) -> np.dtype[Any] | None:
    """The type of NumPy that holds all labels, if they are numbers; None if they are texts.

    Raises:
        TypeError: a label is neither.
        ValueError: some are numbers and some are texts.
    """
    kinds: dict[bool, tuple[Any, Any]] = {}
    known: dict[type, bool | None] = {}  # there are millions of labels, and few types
    for name, label in labels.items():
        types = _types(label) if _is_many(label) else (type(label),)
        if _is_many(label) and (why := _why_missing(label, types)):
            raise TypeError(f"the label of {name!r:.100} is {label!r:.100}: {why}, such as -100 for PyTorch's losses")
        for each in types:
            if each not in known:
                known[each] = _is_text(each)
                kind = known[each]
                if kind is None:
                    raise TypeError(
                        f"the label of {name!r:.100} is {label!r:.100}, of the type {each.__name__}; a label is a"
                        " number or a text, or a list of one kind with one for each token; None and NaN are no label"
                    )
                kinds.setdefault(kind, (name, label))
    if len(kinds) > 1:
        (number, one), (text, other) = kinds[False], kinds[True]
        raise ValueError(
            f"some labels are numbers and some are texts: that of {number!r:.100} is {one!r:.100}, that of"
            f" {text!r:.100} is {other!r:.100}; make all of them one kind, with None where a row has no label"
        )
    return None if True in kinds else np.result_type(*map(_dtype_of, known)) if known else np.dtype(np.int64)


def _why_missing(labels: Any, types: Iterable[type]) -> str:
    """Why labels of tokens can't be used: one of them is no label; "" if each is one, or of another type."""
    if why := why_masked(labels):
        return why
    has_floats = any(issubclass(each, float | np.floating) for each in types)
    return (
        "that of a token is NaN, which is no label; give a number"
        if has_floats and any(map(_is_missing, labels))
        else ""
    )


def _types(labels: Any) -> Iterable[type]:
    """The types of a row's labels."""
    if isinstance(labels, np.ndarray) and labels.ndim == 1 and labels.dtype != object:
        return (labels.dtype.type,)
    return set(map(type, labels))


def _is_text(kind: type) -> bool | None:
    """Whether labels of this type are texts; False for numbers, None for what is no label."""
    if issubclass(kind, str):
        return True
    return False if issubclass(kind, int | float | np.integer | np.floating | np.bool_) else None


def _dtype_of(kind: type) -> np.dtype[Any]:
    """NumPy's type for numbers of a type, which may be Python's own or derived from it, such as an `IntEnum`."""
    return np.dtype(kind if issubclass(kind, np.generic | bool) else int if issubclass(kind, int) else float)


def _check_columns(names: list[str]) -> None:
    if len(names) != 2:  # noqa: PLR2004 - ids and labels
        raise ValueError(f"labels have the columns {', '.join(names)}; give two: ids and labels")


def _without_missing(labels: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The labels that there are, by ids that are texts; the mapping itself if it has no others."""
    if all(isinstance(name, str) for name in labels) and not any(map(_is_missing, labels.values())):
        return labels
    return _pairs(map(_text, labels), labels.values())


def _text(name: Any) -> Any:
    """An id as jobs have it; one that is neither a text nor a whole number stays what it is."""
    is_number = isinstance(name, int | np.integer) and not isinstance(name, bool)
    return str(int(name)) if is_number else name


def _is_missing(label: Any) -> bool:
    if label is np.ma.masked:
        return True
    if isinstance(label, float | np.floating):
        return math.isnan(label)
    return label is None or type(label).__name__ == "NAType"  # of pandas, which may not be installed
