"""The file's own computation up to the last layer that is imported, run by its framework from the file.

This can see what the import left out: an operation before the embedding or between layers, a mask, a Reshape that
mixes rows. Each row is run together with others, without padding, so that a graph that mixes rows shows.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from worker.model_import.errors import ContradictionError, ImportRefusedError
from worker.model_import.found import Equations, KerasGraph, OnnxGraph, SavedGraph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from worker.model_import.found import Float32, Found
    from worker.model_import.selection.stack import Stack

NO_GRAPH = "how data flows through the model: the file has no graph; compare a few rows: unrolled model compare"
#: What a run of vectors doesn't show.
NO_MASK = (
    "rows with vectors of padding: the file doesn't show whether its program masks these, as Masking does. If it does, "
    "leave them out of your rows, or save the model with its configuration (model.save('model.keras')), and import that"
)
#: Why the graph of a file that shows no layers shows nothing when it is run, or isn't run.
NO_RUN = "how data flows through the model: {0} doesn't show it ({1}); compare a few rows: unrolled model compare"
#: What a run of rows without padding doesn't show.
NO_PADDING = (
    "rows with padding: if your program pads rows and doesn't mask the padding, its states may be others "
    "(--pad LENGTH, or compare a few rows: unrolled model compare)"
)
#: Why the states that the names of variables show can't be those of the graph.
OTHER_STATES = (
    "{0}, run with random rows, has the states of {1} as imported nowhere: the nearest differ by {2:.1e}, and rounding "
    "allows {3:.1e}. So it changes the ids, has something between the layers (a sum: --residual NAME), or has other "
    "activations or directions than the names of its variables show{4}. Save the model with its configuration "
    "(model.save('model.keras')), and import that file. Nothing was written; if only its ids are others than the "
    "layers', --no-parity imports the layers, and unrolled model compare compares them with rows of your program"
)
MASKED_PADDING = ", or masks padding, in some layers at least (then leave out --pad, or give --unpadded instead)"
#: What a graph computes that hides padding after the tokens alone, as one does that counts the lengths of rows.
PADDING_BEFORE = (
    "rows with padding before their tokens: the graph has other states for these (if your program makes such rows, "
    "compare a few: unrolled model compare)"
)


def run_own(
    found: Found,
    stack: Stack,
    rows: Sequence[NDArray[Any]],
    lengths: Sequence[int] | None = None,
    begun: Float32 | None = None,
) -> tuple[str, dict[int, Float32] | str]:
    """Run rows through the file's own graph.

    Args:
        found: the content of the file.
        stack: what is imported.
        rows: rows of the source's ids, of one-hot vectors with -1 for a vector of zeros; or vectors (time, D).
        lengths: how many tokens each row has before its padding, for graphs that read that; None if no row is padded.
        begun: the initial states that rows bring, (rows, numbers); None if they bring none.

    Returns:
        The name of the program, and the outputs of those rows that have a length that the graph takes, by their
        numbers, (time, outputs); or the reason why it can't be run.
    """
    # Over 40 lines: half of it is the description of its arguments.
    own = found.own
    if own is None or isinstance(own, SavedGraph):
        return "the file's graph", "no framework here can run it"
    if isinstance(own, Equations):
        return own.name, own.run(rows, len(stack.layers))
    name, package = ("Keras", "tensorflow") if isinstance(own, KerasGraph) else ("ONNX Runtime", "onnxruntime")
    name = f"the file's graph in {name}"
    if find_spec(package) is None:
        return name, f"{package} isn't installed"
    try:
        if isinstance(own, OnnxGraph):
            from worker.model_import.parity.frameworks.onnx_graph import run_onnx  # noqa: PLC0415 - only one framework is imported

            return name, run_onnx(own, found, stack, rows, lengths or [*map(len, rows)], begun)
        from worker.model_import.parity.frameworks.keras_graph import run_keras  # noqa: PLC0415 - only one framework is imported

        return name, run_keras(own, stack, rows, begun)
    except ContradictionError:
        raise
    except ImportRefusedError as error:
        # Keras itself can't load some HDF5 files that it writes, those with a mask among them.
        way_out = "; a file that your Keras saves as .keras may be run" if "HDF5" in found.format else ""
        return name, f"{error}{way_out if 'rebuild' in str(error) else ''}"
