"""The stack of a file that has weights alone: by names and widths, where these leave no choice."""

from itertools import pairwise

from worker.model_import.chain.chain import Chain, names_of
from worker.model_import.chain.order import family
from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Found


def choose_by_widths(found: Found, embedding: str | None, named: list[str]) -> Chain:
    """The stack that there is, or the named one; see `choose`."""
    layers = [found.layers[name] for name in named] or list(found.layers.values())
    if not named:
        families = {family(layer.name) for layer in layers}
        fits = all(one.outputs == two.inputs for one, two in pairwise(layers))
        if len(layers) > 1 and (len(families) > 1 or not fits):
            raise ImportRefusedError(
                f"it has the recurrent layers {names_of(found.layers)}, and weights alone don't tell which stand "
                f"on each other; "
                "name them from the first to the last: --layer NAME --layer NAME"
            )
    chain = Chain(None, layers, [False] * len(layers))
    if embedding is not None:
        chain.table = found.tables[embedding]
        return chain
    fitting = [table for table in found.tables.values() if table.array.shape[1] == layers[0].inputs]
    kin = [table for table in fitting if family(table.name).split()[:1] == family(layers[0].name).split()[:1]]
    fitting = kin if len(kin) == 1 else fitting
    if len(fitting) > 1:
        names = ", ".join(table.name for table in fitting)
        raise ImportRefusedError(
            f"it has the embeddings {names}, each as wide as {layers[0].name} reads; say which: --embedding NAME"
        )
    if not fitting and found.tables:
        wide = ", ".join(f"{table.name} ({table.array.shape[1]} wide)" for table in list(found.tables.values())[:5])
        raise ImportRefusedError(
            f"{layers[0].name} reads vectors {layers[0].inputs} wide, the embeddings are {wide}; something "
            f"stands between, and "
            "only an embedding that the layer reads as it is can be imported"
        )
    chain.table = fitting[0] if fitting else None
    return chain
