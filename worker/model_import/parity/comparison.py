"""The comparison of an imported model: its own graph, both engines and plain arithmetic must give the same outputs.

The file's graph is run by its framework, from the file (`own_graph`). Where it can't be run, or the file has only
weights, the layers alone are compared, as objects of the framework with the file's arrays (`original`): that can't show
what is between them.

A trained model can amplify rounding: textgenrnn's outputs for random characters differ by 2e-4 between two float32
programs. So the effect of rounding on the model is measured in plain NumPy, and differences of that size are allowed.
Rows in which rounding can change a large share of the outputs aren't compared: no difference there would show an error.
"""

# Over 150 lines: the comparison and all that runs the rows.

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from unrolled.errors import ModelError, UnrolledError, counted
from unrolled.format.output_spec import OutputSpec
from unrolled.tokenization.ragged import Ragged
from unrolled.tokenization.vectors import VectorRow, numbered
from worker.engines.fused.library import why_unavailable
from worker.engines.padded import make_padded
from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import SavedGraph
from worker.model_import.parity.drawn_vectors import draw_vectors
from worker.model_import.parity.frameworks.saved_model_graph import ENDED, Expected, Seen, run_saved_graph
from worker.model_import.parity.original import find_original, run_stack
from worker.model_import.parity.own_graph import (
    MASKED_PADDING,
    NO_GRAPH,
    NO_MASK,
    NO_PADDING,
    NO_RUN,
    OTHER_STATES,
    PADDING_BEFORE,
    run_own,
)
from worker.model_import.parity.padded_rows import padded_rows
from worker.model_import.parity.plain_arithmetic import last_states
from worker.model_import.selection.initial_states import ZEROS, starts_of
from worker.model_import.selection.padding import WHY_OF_RUN

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

    from unrolled.model.config import ModelConfig
    from unrolled.model.directory import ModelDirectory
    from unrolled.model.padding import Padding
    from worker.engines.engine import Engine
    from worker.model_import.found import Float32, Found
    from worker.model_import.parity.padded_rows import PaddedRow
    from worker.model_import.selection.stack import Stack

#: Lengths of the rows that are compared: ragged, so that backward passes end at different places of a batch.
LENGTHS = (1, 2, 3, 5, 8, 13, 21, 34)

PLAIN = "plain float64 arithmetic"
#: How many times the measured rounding is allowed: two float32 programs round at different places, and a model that
#: amplifies rounding amplifies each one differently. Of 240 models of random weights, one needed 40
#: (`benchmarks/parity_limit.py`); an error in a gate makes thousands.
ROUNDINGS = 64
#: The largest limit for a row, as a share of the outputs; longer rows aren't compared. In models of random weights with
#: a gate in the wrong place, the largest difference is more than the outputs.
MOST_ALLOWED_SHARE = 0.5
#: The largest differences from a graph that rounds vectors, as a share of the outputs. In 8 bits, models of random
#: weights have 0.002 to 0.006, and dksplit 0.008; reading a wrong axis, layer or gate makes more than 0.5.
MOST_ROUNDED_SHARE = 0.1
#: The largest difference of states that are looked for in a graph, as a share of the outputs: of many tensors, one may
#: come near to small numbers.
SOUGHT_SHARE = 1e-3
#: Why rows aren't compared.
_NO_ERROR = "float32's rounding can make differences there that an error would make"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two computations of the same rows.

    Attributes:
        left: name of the first program.
        right: name of the second program.
        rows: of each row the largest absolute difference of two outputs, and what rounding makes in it.
    """

    left: str
    right: str
    rows: tuple[tuple[float, float], ...]

    @property
    def largest(self) -> float:
        """The largest absolute difference of two outputs; NaN if one is NaN."""
        return float(np.max([difference for difference, _ in self.rows]))  # Python's max loses NaN

    def beyond(self, bound: float) -> tuple[float, float, float] | None:
        """A difference that is larger than rounding explains, and than a bound; what rounding makes, and the limit."""
        for difference, rounding in self.rows:
            allowed = max(bound, ROUNDINGS * rounding)
            if not difference <= allowed:
                return difference, rounding, allowed
        return None


@dataclass(slots=True)
class Parity:
    """The results of all comparisons.

    Attributes:
        comparisons: each with the original framework, or with plain arithmetic if there is none.
        missing: what couldn't be compared, and why, one text each.
        rounding: the largest difference between plain arithmetic in float32 and in float64, in the rows compared.
        rounded: the comparison with a file's graph that rounds vectors, which the model doesn't; or None.
        rounded_share: the differences of that comparison in relation to the outputs, as root mean squares.
        whole: whether the file's own computation was run; otherwise the comparisons are of its layers alone.
        padded: the comparison of padded rows with the graph of a file that masks padding; None if there is none.
        shortest: number of tokens of the shortest row that was compared.
        longest: of the longest one.
        ids: how many different ids the rows that were compared have; 0 if rows contain vectors.
    """

    comparisons: list[Comparison]
    missing: list[str]
    rounding: float
    rounded: Comparison | None = None
    rounded_share: float = 0.0
    whole: bool = False
    padded: Comparison | None = None
    shortest: int = 0
    longest: int = 0
    ids: int = 0


def compare(
    model: ModelDirectory,
    found: Found,
    stack: Stack,
    ids_from: int,
    padding: Padding | None = None,
    *,
    unpadded: bool = False,
    bound: float = 0.0,
) -> Parity:
    """Compute a few ragged rows with every program here that can compute the model.

    Args:
        model: the imported model.
        found: the content of the file.
        stack: the layers that it was made from.
        ids_from: see `Assembled`.
        padding: as the source's program pads rows; the original gets padded rows, and its outputs at the real tokens
            are compared.
        unpadded: whether the user wants the vectors of rows without padding, whatever the source does with padding.
        bound: as in `check`.

    Raises:
        ImportRefusedError: the file alone leaves doubts, and its graph can't be run, or not on rows that show errors.
        ModelError: there is no row that would show errors.
    """
    # Over 40 lines: half of it is the description of its arguments.
    config, weights = model.config, model.weights()
    saved = found.own if isinstance(found.own, SavedGraph) else None
    rows, source_rows, real = _rows(config, weights, stack, ids_from, padding, None if saved is None else saved.length)
    begun = _begun(config, stack, len(rows))
    padded = [] if unpadded or padding is not None else padded_rows(found, stack, source_rows)
    exact = _plain(config, weights, rows, begun, np.float64)
    roundings = _roundings(exact, _plain(config, weights, rows, begun, np.float32))
    kept = _comparable(exact, roundings, bound)
    unmasked = rows if stack.vectors else source_rows
    if saved is None:
        original = _original(found, stack, source_rows, unmasked, padded, begun, kept)
    else:
        wanted = _of(exact, kept)
        by_number = {number: (rows[number], source_rows[number], real[number]) for number in wanted}
        expected = _expected(config, weights, by_number, wanted, roundings, bound)
        original = _sought(saved, stack, expected, unmasked, padded, begun, told=unpadded or padding is not None)
    missing = original.missing
    made = {name: _real(states, real) for name, states in original.exact.items()} | {PLAIN: exact}
    if amplifying := roundings.keys() - kept:
        fewest, most = min(len(rows[number]) for number in amplifying), max(roundings.values())
        missing.append(f"rows of {counted(fewest, 'token')} and more: {_NO_ERROR} ({most:.1e})")
    for engine in ("fused", "tensorflow"):
        program = find_engine(engine, model)
        if isinstance(program, str):
            missing.append(f"{engine} engine: {program}")
        else:
            made[f"{engine} engine"] = _numbered(run_engine(program, config, rows, begun))
    wrong = {number for states in made.values() for number, each in states.items() if not np.isfinite(each).all()}
    kept |= wrong  # NaN is an error in any row
    made = {name: _of(states, kept) for name, states in made.items()}
    first, *others = made
    pairs = [(first, other) for other in others]
    if len(made[first]) < len(kept):  # the graph takes rows of one length
        pairs += [(PLAIN, other) for other in others if other != PLAIN]
    comparisons = [_comparison((left, made[left]), (right, made[right]), roundings) for left, right in pairs]
    rounding = float(np.max([roundings[number] for number in kept]))
    parity = Parity(comparisons, missing, rounding, whole=original.whole)
    used = [rows[number] for number in made[first] or kept]
    parity.shortest, parity.longest = min(map(len, used)), max(map(len, used))
    parity.ids = 0 if stack.vectors else np.unique(np.concatenate(used)).size
    for name, states in original.rounded.items():
        rounded = _real(states, real)
        rounded = _of(rounded, kept) or rounded
        parity.rounded = _comparison((name, rounded), (PLAIN, exact), roundings)
        parity.rounded_share = _share(rounded, exact)
    for name, states in original.padded.items():
        wanted = {number: exact[padded[number].number] for number in states if padded[number].number in kept}
        if not wanted:
            missing.append(f"rows with padding: {_NO_ERROR}")
        else:
            of_rows = {number: roundings[padded[number].number] for number in wanted}
            parity.padded = _comparison((name, _of(states, wanted)), (PLAIN, wanted), of_rows)
    return parity


class _Original(NamedTuple):
    """The original's outputs, by the name of the program, and what couldn't be computed.

    Attributes:
        exact: of a program that computes in float32; empty if there is none.
        rounded: of the file's graph, if it rounds vectors.
        padded: of the file's graph, at the tokens of padded rows, by the numbers of these.
        missing: as in `Parity`.
        whole: as in `Parity`.
    """

    exact: dict[str, dict[int, Float32]]
    rounded: dict[str, dict[int, Float32]]
    padded: dict[str, dict[int, Float32]]
    missing: list[str]
    whole: bool


def _original(
    found: Found,
    stack: Stack,
    source_rows: Sequence[NDArray[Any]],
    unmasked: Sequence[NDArray[Any]],
    padded: Sequence[PaddedRow],
    begun: Float32 | None,
    kept: Collection[int],
) -> _Original:
    """Run the file's own graph or, if it can't be run or rounds vectors, the framework's layers.

    Args:
        found: the content of the file.
        stack: the layers.
        source_rows: rows as the graph reads them.
        unmasked: the rows without what the graph masks, because layers alone mask nothing.
        padded: further rows for the graph.
        begun: the initial states that the rows bring, (rows, numbers); None if they bring none.
        kept: the numbers of the rows that show errors.

    Raises:
        ImportRefusedError: the file alone leaves doubts, and its graph can't be run, or not on rows that show errors.
    """
    # Over 40 lines: half of it is the description of its arguments.
    count = len(source_rows)
    lengths = [*map(len, source_rows), *(int(row.real.sum()) for row in padded)]
    states = None if begun is None else begun[[*range(count), *(row.number for row in padded)]]
    name, own = run_own(found, stack, [*source_rows, *(row.ids for row in padded)], lengths, states)
    rounds = "rounds vectors to 8 bits" if stack.quantized == "activations" else ""
    rounds = f"computes in {stack.precision}" if stack.precision else rounds
    alone = ""
    if not (isinstance(own, str) or rounds or own.keys() & kept):  # rows of a fixed length
        of = {len(outputs) for outputs in own.values()}
        which = f"rows of {counted(max(of), 'token')} alone" if len(of) == 1 else "no row that is compared"
        alone = f"it computes {which}: {_NO_ERROR}"
        if not any(padded[number - count].number in kept for number in own if number >= count):
            own = alone
    made = _Original({}, {}, {}, [f"{name}: {alone}"] if alone else [], not (alone or isinstance(own, str)))
    if not isinstance(own, str):
        if rounds:
            made.rounded[f"{name}, which {rounds},"] = _before(own, count)
        else:
            if not alone:
                made.exact[name] = _before(own, count)
            behind = {number - count: outputs for number, outputs in own.items() if number >= count}
            if behind:
                made.padded[name] = {number: outputs[padded[number].real] for number, outputs in behind.items()}
    else:
        if not alone:
            made.missing.append(NO_GRAPH if found.graph is None else f"{name}: {own}")
        if stack.doubts:
            raise ImportRefusedError(
                f"{'; '.join(stack.doubts)}. Only a run of {name} can prove it, and there is none: {own}"
            )
    if not made.exact:
        _run_layers(stack, unmasked, begun, made)
    return made


def _expected(
    config: ModelConfig,
    weights: Mapping[str, Float32],
    rows: Mapping[int, tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]],
    states: Mapping[int, Float32],
    roundings: dict[int, float],
    bound: float,
) -> Expected:
    """What a SavedModel's graph must have.

    Args:
        config: the model's configuration.
        weights: its weights.
        rows: those that show errors, by number: the model's, the source's, and where this has the model's tokens.
        states: the model's of these, in float64.
        roundings: of each row; that of the padding that is judged is entered here, too.
        bound: as in `check`.
    """
    share = SOUGHT_SHARE * _root_mean_square(states)
    # Python's max loses NaN.
    limit = float(np.max([min(bound, share), *(ROUNDINGS * roundings[number] for number in rows)]))
    ends = {number: _ends(config, states[number], real) for number, (_, _, real) in rows.items()}
    if config.padding is not None:
        for number, (row, _, _) in rows.items():
            ends[number], rounding = _padded_ends(config, weights, row, max(limit, share))
            roundings[number] = max(roundings[number], rounding)
        limit = max(limit, *(ROUNDINGS * roundings[number] for number in rows))
    sources, reals = ({number: row[at] for number, row in rows.items()} for at in (1, 2))
    return Expected(sources, reals, states, ends, limit, config.padding is not None)


def _sought(
    own: SavedGraph,
    stack: Stack,
    expected: Expected,
    unmasked: Sequence[NDArray[Any]],
    padded: Sequence[PaddedRow],
    begun: Float32 | None,
    *,
    told: bool,
) -> _Original:
    """Find the states among what a graph computes; if it can't be run, run the framework's layers.

    Args:
        own: the file.
        stack: the layers.
        expected: the rows that show errors, and their states.
        unmasked: see `_original`.
        padded: further rows, whose padding the graph may hide.
        begun: the initial states that the rows bring, (rows, numbers); None if they bring none.
        told: whether the user says how rows are padded, or wants the vectors of rows without padding.

    Raises:
        ImportRefusedError: the file alone leaves doubts, and its graph can't be run; or that computes padding, and
            nothing says how rows are padded.
        ModelError: the graph has other states.
    """
    # Over 40 lines: half of it is the description of its arguments.
    name = "the file's graph in TensorFlow"
    try:
        if begun is not None:
            raise ImportRefusedError("rows bring the states that layers start from")  # noqa: TRY301 - one of the reasons
        if not np.isfinite(expected.limit):
            raise ImportRefusedError("the model's states aren't numbers")  # noqa: TRY301
        seen = run_saved_graph(own, stack, expected)
        if stack.vectors and not seen.is_same:
            # What the user calls the vectors that the first layer reads may be made within the graph.
            raise ImportRefusedError("it makes other states of these vectors")  # noqa: TRY301
    except ImportRefusedError as error:
        if stack.doubts:
            raise ImportRefusedError(
                f"{'; '.join(stack.doubts)}. Only a run of {name} can prove it, and none does: {error}"
            ) from error
        made = _Original({}, {}, {}, [NO_RUN.format(name, error)], whole=False)
        _run_layers(stack, unmasked, begun, made)
        made.missing.extend([NO_MASK] if stack.vectors else [])
        return made
    if not seen.is_same:
        masks = MASKED_PADDING if expected.computes_padding and not stack.vectors else ""
        raise ModelError(OTHER_STATES.format(name, stack.layers[-1].name, seen.difference, expected.limit, masks))
    made = _Original({name: seen.states}, {}, {}, seen.missing, whole=True)
    hidden = _hidden(own, stack, expected, padded)
    if hidden is not None:
        made.padded[name] = hidden.states
        made.missing.extend(one for one in hidden.missing if one not in seen.missing)
    elif stack.vectors:
        made.missing.append(NO_MASK)
    elif not told:
        made.missing.append(NO_PADDING if stack.length is None else NO_PADDING.replace("LENGTH", f"{stack.length}"))
    return made


def _hidden(own: SavedGraph, stack: Stack, expected: Expected, padded: Sequence[PaddedRow]) -> Seen | None:
    """The states of tokens in padded rows of a graph that hides padding; None if a run doesn't show whether it does.

    Raises:
        ImportRefusedError: it computes padding.
    """
    seen = _of_padded(own, stack, expected, dict(enumerate(padded)))
    if seen is None or seen.is_same:
        return seen
    behind = {at: row for at, row in enumerate(padded) if row.real[0]}
    seen = _of_padded(own, stack, expected, behind)
    # Padding after the tokens changes no state of a token that is read before it, but the state in which the row ends.
    shows = any(layer.reversed or len(layer.passes) > 1 for layer in stack.layers)
    if seen is not None and seen.is_same and (shows or ENDED in seen.missing):
        return replace(seen, missing=[*seen.missing, PADDING_BEFORE])
    raise ImportRefusedError(WHY_OF_RUN.format(length=stack.length))


def _of_padded(own: SavedGraph, stack: Stack, expected: Expected, padded: Mapping[int, PaddedRow]) -> Seen | None:
    """What a graph computes of the tokens of padded rows, by their numbers; None if nothing shows it."""
    rows = {at: row for at, row in padded.items() if row.number in expected.states}
    states = {at: expected.states[row.number] for at, row in rows.items()}
    wanted = Expected(
        rows={at: row.ids for at, row in rows.items()},
        real={at: row.real for at, row in rows.items()},
        states=states,
        ends={at: made[[0, -1]] for at, made in states.items()},  # a mask leaves a state as it is
        limit=expected.limit,
        computes_padding=False,
    )
    try:
        return run_saved_graph(own, stack, wanted) if rows else None
    except ImportRefusedError:
        return None


def _run_layers(stack: Stack, rows: Sequence[NDArray[Any]], begun: Float32 | None, made: _Original) -> None:
    """Run the layers alone as objects of their framework, or say why that isn't possible."""
    name, run, reason = find_original(stack)
    if run is not None and stack.clips != (None, None):
        run, reason = None, "they don't clip states"
    if run is None:
        made.missing.append(f"{name}: {reason}")
    else:
        made.exact[name] = _numbered(run_stack(stack, run, rows, begun))


def _of(states: dict[int, Float32], kept: Collection[int]) -> dict[int, Float32]:
    """The states of some rows."""
    return {number: made for number, made in states.items() if number in kept}


def _before(states: dict[int, Float32], count: int) -> dict[int, Float32]:
    """The states of the first rows."""
    return {number: made for number, made in states.items() if number < count}


def check(parity: Parity, bound: float, doubts: Sequence[str] = ()) -> None:
    """Check all differences: at most `bound`, or ROUNDINGS times the model's rounding if that is larger.

    Args:
        parity: the differences.
        bound: the largest one that is allowed.
        doubts: what the file alone doesn't prove, which may be the reason for a difference.

    Raises:
        ModelError: a difference is larger, or those from a graph that rounds vectors are a larger share of them.
    """
    if parity.rounded is not None and not parity.rounded_share <= MOST_ROUNDED_SHARE:
        raise ModelError(
            f"{parity.rounded.left} and {parity.rounded.right} differ by {parity.rounded.largest:.2e}, "
            f"{100 * parity.rounded_share:.0f} % of the outputs; rounding makes at most "
            f"{100 * MOST_ROUNDED_SHARE:.0f} %. Nothing was written; import the float32 model that it was made from"
        )
    if not np.isfinite(parity.rounding):
        raise ModelError(
            "float32 arithmetic gives NaN or infinity for random rows: the model's weights are too large. Nothing was "
            "written; check the weights, or import without the comparison (--no-parity)"
        )
    for found in parity.comparisons:
        if beyond := found.beyond(bound):
            difference, rounding, allowed = beyond
            raise ModelError(
                f"{found.left} and {found.right} differ by {difference:.2e}; --parity {bound:g} and float32's "
                f"rounding ({rounding:.1e} in this row of the model) allow {allowed:.1e}. Nothing was written; "
                + (
                    f"the probable reason: {'; '.join(doubts)}"
                    if doubts
                    else "allow more with --parity, or report the file's kind and layers"
                )
            )
    if parity.padded is not None and (beyond := parity.padded.beyond(bound)):
        raise ModelError(
            f"{parity.padded.left} and {parity.padded.right} differ by {beyond[0]:.2e} in rows with "
            "padding, and not in rows without: the source doesn't mask padding in the way that its file seems to show, "
            "so its vectors depend on it. For vectors without padding: --unpadded"
        )


def _begun(config: ModelConfig, stack: Stack, rows: int) -> Float32 | None:
    """Random initial states for rows, (rows, numbers), but zeros where the source has them.

    States that are one tensor in the source are equal.
    """
    if not config.given_dim:
        return None
    random = np.random.default_rng(1)
    drawn: dict[tuple[str, int], Float32] = {}
    parts = []
    for number, (part, start) in enumerate(zip(config.given_parts, starts_of(stack.layers), strict=True)):
        key = start if start[0] else ("", number)
        made = drawn.setdefault(key, random.normal(0, 0.5, (rows, part.width)).astype(np.float32))
        parts.append(np.zeros_like(made) if start[0] == ZEROS else made)
    return np.concatenate(parts, axis=1)


def _plain(
    config: ModelConfig,
    weights: Mapping[str, Float32],
    rows: Sequence[NDArray[Any]],
    begun: Float32 | None,
    kind: DTypeLike,
) -> dict[int, Float32]:
    with np.errstate(over="ignore", invalid="ignore"):  # the differences show it
        return {
            number: last_states(config, weights, row, kind, None if begun is None else begun[number])
            for number, row in enumerate(rows)
        }


def _ends(config: ModelConfig, states: Float32, real: NDArray[np.bool_]) -> Float32:
    """The states after the first and the last step of a row as its source reads it, (2, outputs).

    NaN if that is padding, which the model doesn't compute. A mask leaves a state as it is.
    """
    made = states[[0, -1]]
    if config.vector_dim is None:
        made[~real[[0, -1]]] = np.nan
    return made


def _padded_ends(
    config: ModelConfig, weights: Mapping[str, Float32], row: NDArray[Any], bound: float
) -> tuple[Float32, float]:
    """The same of a model that computes padding; NaN where rounding alone may make a larger difference than a bound.

    Returns:
        The states, and the largest difference that rounding makes in those that aren't NaN.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # the differences show it
        exact, single = (
            last_states(config, weights, row, kind, with_padding=True)[[0, -1]] for kind in (np.float64, np.float32)
        )
        made = np.abs(exact - single).max(axis=1)
        is_known = ROUNDINGS * made <= bound
        exact[~is_known] = np.nan
    return exact, float(made[is_known].max(initial=0.0))


def run_engine(
    engine: Engine, config: ModelConfig, rows: Sequence[NDArray[Any]], begun: Float32 | None = None
) -> list[Float32]:
    """The last layer's state after every token of each row, float32 (time, outputs).

    Args:
        engine: for the model.
        config: the model's configuration.
        rows: of ids, or of vectors.
        begun: the initial states that rows bring, (rows, numbers); None if the model reads none.
    """
    columns = OutputSpec().columns(config)
    if config.vector_dim is None:
        shard = Ragged.from_lengths(np.concatenate(rows), [len(row) for row in rows])
    else:
        checked = [VectorRow(row, np.ones(len(row), np.bool_)) for row in rows]
        shard = numbered(checked, config.vector_dim)
    shard = shard._replace(states=begun)
    outputs = np.empty((shard.values.size, columns[0].width), np.float32)
    engine.compute([shard], [[outputs]], columns)
    return np.split(outputs, shard.offsets[1:-1])


def _rows(
    config: ModelConfig,
    weights: Mapping[str, Float32],
    stack: Stack,
    ids_from: int,
    padding: Padding | None,
    length: int | None,
) -> tuple[list[NDArray[Any]], list[NDArray[Any]], list[NDArray[np.bool_]]]:
    """Random rows for the model, the same rows for the source, and where these have the model's tokens.

    There is one row more if the source has a fixed length: that of the stack, or `length`.
    """
    random, length = np.random.default_rng(0), stack.length or length
    lengths: tuple[int, ...] = LENGTHS
    if padding is not None:
        length, lengths = padding.length, tuple(one for one in LENGTHS if one < padding.length)
    lengths = lengths if length is None or length in lengths else (*lengths, length)
    if config.vector_dim is not None:
        given = [draw_vectors(config, weights, length, random) for length in lengths]
        real = [np.ones(length, np.bool_) for length in lengths]
        if config.mask_value is not None:
            for row, is_real in zip(given, real, strict=True):
                is_real[1::3] = False  # a row keeps its first vector
                row[~is_real] = config.mask_value
        return [row[is_real] for row, is_real in zip(given, real, strict=True)], given, real
    rows = [random.integers(1, config.vocab_size + 1, length, dtype=np.int32) for length in lengths]
    source_rows = [_source_row(row, ids_from, padding, one_hot=stack.table is None) for row in rows]
    real = [np.ones(len(row), np.bool_) for row in rows]
    if padding is not None:
        steps = np.arange(padding.length)
        real = [np.isin(steps, steps[padding.real(len(row))]) for row in rows]
    return rows, source_rows, real


def _source_row(row: NDArray[np.int32], ids_from: int, padding: Padding | None, *, one_hot: bool) -> NDArray[np.int64]:
    """A row of the source's ids, padded if the source pads rows; -1 is a vector of zeros."""
    ids = row.astype(np.int64) - (1 - ids_from)
    if padding is None:
        return ids
    made = np.full(padding.length, -1 if one_hot and not padding.id else padding.id - (1 - ids_from), np.int64)
    made[padding.real(len(ids))] = ids
    return made


def _real(states: dict[int, Float32], real: Sequence[NDArray[np.bool_]]) -> dict[int, Float32]:
    """The states at the real tokens of rows, of a program that may have computed their padding, too."""
    return {number: made[real[number]] if len(made) == len(real[number]) else made for number, made in states.items()}


def _numbered(states: list[Float32]) -> dict[int, Float32]:
    return dict(enumerate(states))


def _comparison(
    left: tuple[str, dict[int, Float32]], right: tuple[str, dict[int, Float32]], roundings: Mapping[int, float]
) -> Comparison:
    """The differences in the rows of `left`; infinite where the shapes differ, NaN where one is NaN."""
    (name, found), (other, expected) = left, right
    rows = []
    for number, states in found.items():
        is_alike = states.shape == expected[number].shape
        rows.append((float(np.abs(states - expected[number]).max()) if is_alike else np.inf, roundings[number]))
    return Comparison(name, other, tuple(rows))


def _root_mean_square(states: Mapping[int, Float32]) -> float:
    squares = [np.square(each) for each in states.values()]
    return float(np.sqrt(sum(float(one.sum()) for one in squares) / sum(one.size for one in squares)))


def _roundings(exact: dict[int, Float32], single: dict[int, Float32]) -> dict[int, float]:
    """The largest difference between float32 and float64 in each row and those that are no longer."""
    found = {number: float(np.abs(states - single[number]).max()) for number, states in exact.items()}
    return {
        number: float(np.max([found[other] for other in found if len(exact[other]) <= len(states)]))
        for number, states in exact.items()
    }


def _comparable(exact: dict[int, Float32], roundings: dict[int, float], bound: float) -> set[int]:
    """The rows whose differences show errors; all, if rounding makes NaN or infinity, which is an error itself.

    Raises:
        ModelError: there are none.
    """
    if not np.isfinite([*roundings.values()]).all():
        return {*exact}
    most = max(bound, MOST_ALLOWED_SHARE * _root_mean_square(exact))
    kept = {number for number, rounding in roundings.items() if ROUNDINGS * rounding <= most}
    if not kept:
        raise ModelError(
            f"float32's rounding alone makes up to {min(roundings.values()):.1e} in the shortest row, so that no "
            "comparison would show an error. Nothing was written; check the weights, or import without the comparison "
            "(--no-parity)"
        )
    return kept


def _share(left: dict[int, Float32], right: dict[int, Float32]) -> float:
    """The root mean square of the differences, as a share of that of `right`, in the rows of `left`."""
    pairs = [(states, right[number]) for number, states in left.items()]
    if any(one.shape != other.shape for one, other in pairs):
        return float("inf")
    differences = sum(float(np.square(one - other).sum()) for one, other in pairs)
    return float(np.sqrt(differences / max(sum(float(np.square(other).sum()) for _, other in pairs), 1e-30)))


def find_engine(name: str, model: ModelDirectory) -> Engine | str:
    """An engine for the model, or the reason why there is none."""
    try:
        if name == "fused":
            if lacking := why_unavailable():
                return lacking
            from worker.engines.fused.engine import FusedEngine  # noqa: PLC0415 - only if the kernel is built

            return make_padded(model, lambda each: FusedEngine(each, "float32", 1))
        if find_spec("tensorflow") is None:
            return "TensorFlow isn't installed"
        from worker.engines.tensorflow.engine import TensorFlowEngine  # noqa: PLC0415 - TensorFlow takes seconds to import

        return make_padded(model, lambda each: TensorFlowEngine(each, device="cpu"))
    except UnrolledError as error:
        return str(error)
