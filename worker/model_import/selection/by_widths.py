"""The stack of a file with only weights: by names and widths, if they leave no choice."""

from itertools import pairwise

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Found, Layer, Table
from worker.model_import.selection.names import family, names_of
from worker.model_import.selection.stack import Stack


def choose_by_widths(found: Found, embedding: str | None, named: list[str]) -> Stack:
    """Choose the named layers or, if none are named, all layers; and the embedding that they read.

    Arguments and errors are those of `choose`.
    """
    layers = [found.layers[name] for name in named] or list(found.layers.values())
    if not named:
        families = {family(layer.name) for layer in layers}
        fits = all(one.outputs == two.inputs for one, two in pairwise(layers))
        if len(layers) > 1 and (len(families) > 1 or not fits):
            raise ImportRefusedError(
                f"it has the recurrent layers {names_of(found.layers)}, and weights alone don't show which of them "
                "read each other; name them from the first to the last: --layer NAME --layer NAME"
            )
    table = _table_for(found, layers[0]) if embedding is None else found.tables[embedding]
    return Stack(table, layers, [False] * len(layers))


def _table_for(found: Found, first: Layer) -> Table | None:
    fitting = [table for table in found.tables.values() if table.array.shape[1] == first.inputs]
    kin = [table for table in fitting if family(table.name).split()[:1] == family(first.name).split()[:1]]
    fitting = kin if len(kin) == 1 else fitting
    if len(fitting) > 1:
        names = ", ".join(table.name for table in fitting)
        raise ImportRefusedError(
            f"it has the embeddings {names}, all of the width that {first.name} reads; say which: --embedding NAME"
        )
    if not fitting and found.tables:
        wide = ", ".join(f"{table.name} ({table.array.shape[1]} wide)" for table in list(found.tables.values())[:5])
        raise ImportRefusedError(
            f"{first.name} reads vectors {first.inputs} wide, but the embeddings are {wide}; an embedding can be "
            "imported only if the layer reads it unchanged"
        )
    return fitting[0] if fitting else None
