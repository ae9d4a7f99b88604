"""Names of layers and arrays: how a list of them is printed, which belong together, and what a name says."""

import re
from collections.abc import Iterable
from itertools import islice
from shlex import quote

_KINDS = {
    "lstm", "gru", "rnn", "rnns", "bidirectional", "bilstm", "bigru", "bi", "cudnnlstm", "cudnngru",
    "cell", "layer", "layers", "l",
}  # fmt: skip


def names_of(names: Iterable[str]) -> str:
    """Up to 20 of the names, for a message."""
    first = list(islice(names, 21))
    return (", ".join(first[:20]) + (", …" if len(first) > 20 else "")) or "none"


def advised(option: str, *names: str) -> str:
    """An option for each name, as it is to be typed into a shell."""
    return " ".join(f"{option} {quote(name)}" for name in names)


def family(name: str) -> str:
    """A layer's name without numbers and without words for its kind: "encoder" for encoder.lstm_1."""
    words = re.split(r"[\W\d_]+", name.lower())
    return " ".join(word for word in words if word and word not in _KINDS)


#: The last parts of arrays' names that follow "_" where a name has no other separator: fc_w, fc_b.
_ENDS = re.compile(r"^(?P<module>.+)_(?P<last>w|b|weight|bias|kernel|gamma|beta|W)$")
#: Last parts of names that modules of the frameworks give to their arrays.
_USUAL = re.compile(
    r"^(\d+|.*weight(_(g|v|u|orig))?|original\d?|0\.(_[uv]|base)|.*bias|.*kernel|w|b|gamma|beta|(running|moving)_(mean|var|variance)|num_batches_tracked|embeddings)(:\d+)?$",
    re.IGNORECASE,
)
#: An array from which PyTorch's parametrizations make a module's weight.
_MADE = re.compile(r"^(?P<module>.+)\.parametrizations\.\w+\.(?P<last>.+)$")
_HEADS = re.compile(r"decod|head|out|proj|soft|logit|classif|generator|linear|^fc|dense|attn|attention", re.IGNORECASE)
_STRONG = re.compile(r"emb|wte|lookup|vocab", re.IGNORECASE)
_WEAK = re.compile(r"token|word|char|encoder|table|glove|^W$", re.IGNORECASE)
_ASIDE = re.compile(r"pos|segment|type", re.IGNORECASE)


def module_of(name: str) -> tuple[str, str]:
    """The module of an array, and the array's name in it: ("fc", "weight") for fc.weight, and ("fc", "w") for fc_w."""
    if made := _MADE.match(name):
        return made["module"], made["last"]
    at = max(name.rfind("."), name.rfind("/"))
    if at > 0:
        return name[:at], name[at + 1 :]
    short = _ENDS.match(name)
    return (short["module"], short["last"]) if short else (name, name)


def is_of_a_module(name: str, axes: str) -> bool:
    """Whether an array is called as a framework's module calls its arrays; any other is a parameter of its own.

    Args:
        name: the array's.
        axes: those of the file's matrices, as in `Found`.
    """
    last = module_of(name)[1]
    is_in_list = last.isdecimal() and axes == "outputs, inputs"  # a ParameterList, of PyTorch
    return _USUAL.match(last) is not None and not is_in_list


def scope_of(name: str) -> str:
    """The first word of a name: "dec" for dec_emb and dec.rnn."""
    return re.split(r"[./_]", name)[0]


def ends_with_head(name: str) -> bool:
    """Whether an array's module is called as heads are."""
    return _HEADS.search(re.split(r"[./]", module_of(name)[0])[-1]) is not None


def may_be_table(name: str, shape: tuple[int, ...]) -> bool:
    """Whether an array may be a table of ids by its name, whatever it is of."""
    last = re.split(r"[./]", module_of(name)[0])[-1]
    return len(shape) == 2 and (_STRONG.search(last) is not None or says_embedding(last, shape))


def says_embedding(name: str, shape: tuple[int, ...]) -> bool:
    """Whether the name of a matrix without bias says that it is the embedding of ids.

    Words like "word" or "encoder" say it only of a matrix that isn't square: Linear layers have them too.
    """
    last = re.split(r"[./]", name)[-1]
    if _ASIDE.search(last):
        return False
    weak = _WEAK.search(last) is not None and shape[0] != shape[1] and not _HEADS.search(last)
    return _STRONG.search(last) is not None or weak
