"""The result of a reader: the embeddings, the recurrent layers and, if the file has one, the graph between them.

Arrays stay in the file until a layer is imported: a head may be larger than everything that is imported.
Over 150 lines, because readers, selection and assembly share all these classes.
"""

# Over 150 lines: what readers find, in the words that selection asks in.

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from worker.model_import.errors import ImportRefusedError

Float32 = NDArray[np.float32]
#: How the arrays of a pass are laid out; see `worker.model_import.layouts`.
Layout = Literal["keras", "keras1", "cudnn", "torch", "onnx", "tf1", "unirep"]

#: The kind of numbers that no reader knows, such as those of a sparse tensor, whose shape may be unknown, too.
UNKNOWN = "of an unknown kind"
UNREAD = "it is sparse, contains objects, or has other numbers than floats of 16 to 64 bits"


@dataclass(frozen=True, slots=True)
class Array:
    """An array that is still in its file.

    Attributes:
        name: its name there.
        shape: as the file says, checked against the stored bytes.
        read: reads it, as float32.
        dtype: the file's word for its numbers if they aren't floats (int8), or UNKNOWN; else "".
        read_wide: reads it as float64; None if the file has no more digits than float32, or they aren't needed.
    """

    name: str
    shape: tuple[int, ...]
    read: Callable[[], Float32]
    dtype: str = ""
    read_wide: Callable[[], NDArray[np.float64]] | None = None

    def widest(self) -> NDArray[np.floating]:
        """Its numbers with all their digits."""
        return self.read() if self.read_wide is None else self.read_wide()


def as_float32(name: str, numbers: NDArray[Any]) -> Float32:
    """Numbers of a file in float32; float64 is rounded, float16 and integers are what they were.

    Args:
        name: the array's name in the file, for the error.
        numbers: as they are stored.

    Raises:
        ImportRefusedError: a number is too large for float32.
    """
    with np.errstate(over="ignore"):
        made = np.asarray(numbers, np.float32)
    if numbers.dtype.kind == "f" and numbers.itemsize > made.itemsize:
        grown = np.isinf(made) & np.isfinite(numbers)
        if grown.any():
            raise ImportRefusedError(
                f"{name}: has the number {numbers[grown].flat[0]:.3g}, which is too large for float32 "
                f"(at most {np.finfo(np.float32).max:.3g}); use weights that float32 can hold"
            )
    return made


def own_float32(name: str, numbers: NDArray[Any]) -> Float32:
    """The same as a new array, for numbers that lie in what was read of a file."""
    made = as_float32(name, numbers)
    return made.copy() if np.may_share_memory(made, numbers) else made


@dataclass(frozen=True, slots=True)
class Pass:
    """One direction of one recurrent layer, in the layout of its source.

    Attributes:
        layout: which layout.
        kind: one of `LayerConfig`'s.
        inputs: width of its input (D).
        units: width of its cell (U).
        parts: the arrays by the layout's names.
        projection: width of the projected state, or None.
        reset: "after" or "before" for a GRU, else None.
        gates: the activation of the gates, one of `LayerConfig`'s.
        forget_bias: what the source's program adds to the forget gate at run time.
        norm: how it is layer-normalized, one of `LayerConfig`'s norms, or None.
        epsilon: what its norms add to variances, or None.
        first: the state before a row's first token, (state,), and for an LSTM the cell's, (U,); empty if it is zero.
        clips: the largest magnitudes of cell states and of projected states, if the file shows them; None for any.
        problem: why it can't be imported; raised only if it is chosen.
    """

    layout: Layout
    kind: str
    inputs: int
    units: int
    parts: dict[str, Array]
    projection: int | None = None
    reset: str | None = None
    gates: str = "sigmoid"
    forget_bias: float = 0.0
    norm: str | None = None
    epsilon: float | None = None
    first: tuple[Array, ...] = ()
    clips: tuple[float | None, float | None] = (None, None)
    problem: str | None = None


@dataclass(slots=True)
class Layer:
    """A recurrent layer.

    Attributes:
        name: the name that `--layer` takes.
        forward: the pass from the first token to the last, if it has one.
        backward: the pass from the last token to the first, if it has one.
        reversed: the layer returns its outputs in the order in which it reads: the last token's output first.
        problem: why it can't be imported; raised only if it is chosen.
        notes: remarks for the user.
        below: name of the layer that it certainly reads, with nothing between: the one below it in an nn.LSTM.
        scope: the beginning of its arrays' names in a file of weights alone, or "".
        starts: the tensors that it starts from, if its graph shows that they aren't constants: of each pass the state
            and, in an LSTM, the cell's, each with the number of the direction in it.
        given_state: whether rows bring these states.
        is_cell: whether the source's program computes it step by step, and may do more than that in each step.
    """

    name: str
    forward: Pass | None
    backward: Pass | None = None
    reversed: bool = False
    problem: str | None = None
    notes: list[str] = field(default_factory=list)
    below: str | None = None
    scope: str = ""
    starts: tuple[tuple[str, int], ...] = ()
    given_state: bool = False
    is_cell: bool = False

    @property
    def passes(self) -> list[Pass]:
        """Its one or two passes, forward first."""
        return [one for one in (self.forward, self.backward) if one is not None]

    @property
    def any_pass(self) -> Pass:
        """One of its passes; both have the same sizes."""
        return self.passes[0]

    @property
    def inputs(self) -> int:
        """Width of its input."""
        return self.any_pass.inputs

    @property
    def outputs(self) -> int:
        """Width of its output."""
        return (self.any_pass.projection or self.any_pass.units) * len(self.passes)


@dataclass(frozen=True, slots=True)
class Table:
    """An embedding.

    Attributes:
        name: the name that `--embedding` takes.
        array: (rows, width).
        mask_zero: whether the source masks id 0; None if the file doesn't say.
        named: whether its name, or the file's graph, says that it is an embedding.
        label: a description for people, if its name and its shape don't describe it.
        one_hot: of a matrix that one-hot vectors are multiplied with: "ids" if the graph makes the vectors of ids,
            "rows" if the source's rows contain them; else "".
    """

    name: str
    array: Array
    mask_zero: bool | None = None
    named: bool = True
    label: str = ""
    one_hot: Literal["", "ids", "rows"] = ""


Role = Literal["input", "table", "onehot", "layer", "map", "through", "add", "other"]
#: From the vectors of tokens, (…, width) in float64, to others; each depends on one token alone.
TokenMap = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of the file's graph.

    Attributes:
        name: unique in the graph.
        role: "through" passes its input on unchanged, as dropout does after training; "onehot" makes vectors of ids;
            "map" changes each token's vector alone.
        what: its class, for messages.
        inputs: names of the nodes that it reads.
        target: name of its table or layer. One that is called twice has two nodes.
        recurs: whether it reads a sequence step by step; layers that can't be read do too.
        masks: it hides the tokens whose vectors have only this number.
        masked: whether padding is hidden from it by lengths that the model is given, or by a mask of its own.
        masks_zero: whether the lengths that hide padding count the ids of a row that aren't 0.
        drops_mask: the mask of what it reads isn't passed on to what reads it; a layer doesn't compute with it either.
        doubt: why the file alone doesn't prove that it is what its role says.
        map: the function of a "map".
        label: its name for people, if `name` is another.
        why: why it isn't a "map", if that is known: "its activation is 'glu'".
        quantized: "weights" if the file has its weights as 8-bit integers; "activations" if it rounds the vectors that
            it reads or passes on to 8 bits, too, which isn't imported.
        of_layer: of a sum: whether it is a part of the layer that it reads, as in an ELMo. Any other sum above the last
            layer is taken only if the user names it.
        precision: the type that it computes in, if it has fewer digits than float32, which isn't imported; else "".
    """

    name: str
    role: Role
    what: str
    inputs: tuple[str, ...] = ()
    target: str | None = None
    recurs: bool = False
    masks: float | None = None
    masked: bool = False
    masks_zero: bool = False
    drops_mask: bool = False
    doubt: str | None = None
    map: TokenMap | None = None
    label: str = ""
    why: str = ""
    quantized: Literal["", "weights", "activations"] = ""
    precision: str = ""
    of_layer: bool = False

    def __str__(self) -> str:
        return f"{self.label or self.name} ({self.what})"


@dataclass(frozen=True, slots=True)
class KerasGraph:
    """The facts with which Keras can rebuild a file's graph.

    Attributes:
        model: the model's configuration: {"class_name": …, "config": …}.
        paths: for each call of a layer, by its name in the graph, the names of the models around it and its own.
        weights: returns the arrays of a layer, by its path, in Keras's order.
        version: version of the Keras that wrote the file.
    """

    model: Mapping[str, Any]
    paths: Mapping[str, tuple[str, ...]]
    weights: Callable[[tuple[str, ...]], list[Array]]
    version: str


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """A file whose graph ONNX Runtime can run.

    Attributes:
        path: of the file.
        tokens_first: of each input that shows it, whether its first axis is that of tokens, and not that of rows.
    """

    path: Path
    tokens_first: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SavedGraph:
    """A SavedModel whose graph TensorFlow may be able to run; it doesn't show which of its tensors are states.

    Attributes:
        path: of its directory.
        length: tokens in the rows that it takes; None if it takes rows of any length, or doesn't say.
        is_sure: whether they have this length; False if another input may have the rows.
    """

    path: Path
    length: int | None = None
    is_sure: bool = False


@dataclass(frozen=True, slots=True)
class Equations:
    """The program of a file whose computation is known, in plain float64.

    Attributes:
        name: its name for people.
        run: gives for rows of the source's ids, and a number of layers, the states of the rows, (time, outputs), by the
            numbers of the rows.
    """

    name: str
    run: Callable[[Sequence[NDArray[np.int64]], int], dict[int, Float32]]


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The characters that a character model reads.

    Attributes:
        index: the source's id of each character.
        unknown: the source's id of all other characters.
        before: characters that the source's program puts before a text, in the order of the text.
        after: characters that it puts after a text.
        first_id: the id from which characters are counted: 1 if the source's id 0 is never read.
        description: of an alphabet that isn't in the file, for people.
    """

    index: Mapping[str, int]
    unknown: int
    before: str
    after: str
    first_id: int
    description: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """The words that a model reads.

    Attributes:
        index: the source's id of each word.
        unknown: the word whose id all other words have; if it isn't in the index, texts with other words are refused.
        first_id: the id from which words are counted: 1 if the source's id 0 is never read.
        description: what they are, for people.
        after: words that the source's program puts after each text.
        of_characters: whether each character of a text is a word; otherwise blanks separate words.
    """

    index: Mapping[str, int]
    unknown: str
    first_id: int
    description: str
    after: tuple[str, ...] = ()
    of_characters: bool = False


@dataclass(slots=True)
class Found:
    """The content of a file.

    Attributes:
        format: the format's name in messages: "Keras 3 file".
        tables: by name.
        layers: by name, in the file's order.
        graph: nodes by name, or None if the file has only weights.
        rest: arrays of a file with only weights that are in no layer and no table.
        matrix_axes: what the axes of a matrix in `rest` are, or "" if the format doesn't say.
        left: what else is neither a table nor a layer, one text each.
        lengths: tokens in a row of the source, where that is fixed, by the nodes (inputs, embeddings) that fix it.
        zero_is_padding: whether row 0 of an embedding is padding by the custom of this format.
        notes: assumptions that had to be made.
        unproven: those of them that a run of the file's graph proves.
        why_empty: why there is no layer, if the file shows more than that.
        leaves_open: the options of an import whose answers about the cells this file lacks, so that its reader takes
            them: "--recurrent-activation", "--forget-bias".
        own: what its framework needs to run the graph; None if the file has none, or no framework here can run it.
        alphabet: the characters that the model reads, if the file contains them.
        words: the words that the model reads, if they are known.
        above: the functions of each token's vector above the last layer that make the source's outputs, if the file has
            no graph and is of a kind that has them.
    """

    format: str
    tables: dict[str, Table] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    graph: dict[str, Node] | None = None
    rest: list[Array] = field(default_factory=list)
    matrix_axes: Literal["outputs, inputs", "inputs, outputs", ""] = ""
    left: list[str] = field(default_factory=list)
    lengths: dict[str, int] = field(default_factory=dict)
    zero_is_padding: bool = False
    notes: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    why_empty: str | None = None
    leaves_open: frozenset[str] = frozenset()
    own: KerasGraph | OnnxGraph | SavedGraph | Equations | None = None
    alphabet: Alphabet | None = None
    words: Words | None = None
    above: tuple[Node, ...] = ()

    @property
    def weights_alone(self) -> bool:
        """Whether the file doesn't say how its layers are connected, as a SavedModel's graph does only if it is run."""
        return self.graph is None and not isinstance(self.own, Equations)
