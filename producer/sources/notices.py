"""Lines for people about inputs that are most likely not what was meant."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from unrolled.errors import as_argument, counted
from unrolled.model.files import CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from unrolled.training.plan import HEAD_FILE, RECORD_FILE

#: Inputs that are named; the others are counted.
_NAMED = 3
#: What text may be meant as: its name, and what to do.
_LOOKS = {
    "jsonl": ("JSON lines", "--format jsonl reads the fields"),
    "fasta": ("FASTA", "--format fasta reads the sequences"),
    "fastq": ("FASTQ", "convert it to FASTA, of which the sequences are read"),
    "genbank": ("GenBank records", "convert them to FASTA, of which the sequences are read"),
}


#: The files of a model, which are no rows, whatever else is in its directory.
MODEL_FILES = frozenset({CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE, HEAD_FILE, RECORD_FILE})


def notice_of_model(folder: str) -> str:
    """The line about the files of a model that are left out."""
    return f"{folder} has a model, whose files are left out"


def notices_of_names(names: Mapping[str, Collection[str]]) -> list[str]:
    """Lines about inputs that are named several times, one line for each of a few inputs.

    Args:
        names: by the labels of these inputs, the names that each was found under after the first time.
    """
    if len(names) > _NAMED:
        return [f"{len(names):,} inputs are named several times, and read once: {named(list(names))}"]
    lines = []
    for label, again in names.items():
        if set(again) == {label}:
            lines.append(f"{label} is named more than once: read once")
        else:
            are = "is" if len(again) == 1 else "are"
            lines.append(f"{named(list(again))} {are} the same input as {label}: read once")
    return lines


def notices_of_empty(labels: Sequence[str]) -> list[str]:
    """A line about inputs without a row; none where each has rows.

    Args:
        labels: of those inputs.
    """
    if not labels:
        return []
    return [f"{counted(len(labels), 'input has', 'inputs have')} no rows: {named(labels)}"]


def notices_of_looks(looks: Iterable[tuple[str, str | None]]) -> list[str]:
    """A line for each format that inputs seem to have, though they are read as text.

    Args:
        looks: the label of each input, and what it looks like, a key of `_LOOKS`, if there is one.
    """
    some = list(looks)
    lines = []
    for kind, (name, advice) in _LOOKS.items():
        labels = [label for label, found in some if found == kind]
        if labels:
            which = counted(len(labels), "input looks", "inputs look")
            lines.append(f"{which} like {name}, but each whole line is read as text: {named(labels)}; {advice}")
    return lines


def notices_of_ids(others: Iterable[tuple[str, str | None]]) -> list[str]:
    """A line for each name of a field that may have the ids, though it isn't read as that.

    Args:
        others: the label of each input, and the name of that field, if there is one.
    """
    labels: dict[str, list[str]] = {}
    for label, name in others:
        if name is not None:
            labels.setdefault(name, []).append(label)
    return [
        f"{named(some)}: the field {name!r} isn't read as the ids, which are made of file and row; if it "
        f"has them, give --id-field {as_argument(name)}"
        for name, some in labels.items()
    ]


def notices_of_words(files: Iterable[tuple[str, str]]) -> list[str]:
    """A line about sequences of letters of which a vocabulary of words is made; none where there are none.

    Args:
        files: the label and the format of each input.
    """
    labels = [label for label, kind in files if kind == "fasta"]
    if not labels:
        return []
    advice = "most models of sequences read letters: make their tokenizer as docs/inputs.md shows"
    return [f"a sequence has no spaces, so each one of {named(labels)} is a word of the vocabulary; {advice}"]


def notice_of_line_ends(label: str, rows: int, most_lines: int, line: int) -> str:
    """A line about quoted fields that contain line ends.

    Args:
        label: of the input.
        rows: how many rows have such fields.
        most_lines: the lines of the longest one of them.
        line: the number of its first line.
    """
    where = f"the longest has {most_lines:,} lines, from line {line:,} on"
    if rows == 1:
        where = f"it has {most_lines:,} lines, from line {line:,} on"
    return (
        f"{label}: {counted(rows, 'row has', 'rows have')} a quoted field with line ends; {where}. If quotation marks "
        "are characters of the texts, give --no-quotes"
    )


def notices_of_formats(files: Sequence[tuple[str, str]]) -> list[str]:
    """A line about inputs of several formats, which names those of all formats but the most frequent one.

    Args:
        files: the label and the format of each input.
    """
    labels: dict[str, list[str]] = {}
    for label, kind in files:
        labels.setdefault(kind, []).append(label)
    ordered = sorted(labels.items(), key=lambda item: -len(item[1]))
    if not ordered[1:]:
        return []
    (most, many), *others = ordered
    listed = "; ".join(f"{counted(len(few), f'{kind} file')}: {named(few)}" for kind, few in others)
    return [f"the inputs have {len(labels)} formats: {counted(len(many), f'{most} file')}; {listed}"]


def named(labels: Sequence[str]) -> str:
    """The first few of several inputs, and how many more there are."""
    more = f" and {len(labels) - _NAMED:,} more" if len(labels) > _NAMED else ""
    return f"{', '.join(labels[:_NAMED])}{more}"
