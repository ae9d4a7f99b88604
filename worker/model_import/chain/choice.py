"""Which embedding and which recurrent layers are taken: those that stand on each other, from ids to the last state."""

from collections.abc import Sequence

from worker.model_import.chain.chain import Chain, names_of
from worker.model_import.chain.chain_by_graph import choose_by_graph
from worker.model_import.chain.chain_by_widths import choose_by_widths
from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Found


def choose(found: Found, embedding: str | None, layers: Sequence[str], residual: Sequence[str] = ()) -> Chain:
    """The embedding and the stack on it.

    Args:
        found: what the file has.
        embedding: the name of the one to take, or None: decide.
        layers: names, from the first to the last, or none: decide.
        residual: names of layers whose input is added to their output; for files of weights alone.

    Raises:
        ImportRefusedError: there is none, there is more than one, or the named ones don't stand on each other.
    """
    if not found.layers:
        raise ImportRefusedError("it holds no LSTM and no GRU; other kinds of models can't be imported")
    if embedding is not None and embedding not in found.tables:
        raise ImportRefusedError(
            f"--embedding {embedding}: there is no such embedding; it has {names_of(found.tables)}"
        )
    named = [name for given in layers for name in _expand(found, given)]
    chain = (
        choose_by_graph(found, embedding, named)
        if found.graph is not None
        else choose_by_widths(found, embedding, named)
    )
    _mark(found, chain, [name for given in residual for name in _expand(found, given)])
    for layer in chain.layers:
        if layer.problem:
            raise ImportRefusedError(f"{layer.name}: {layer.problem}")
    if chain.table is not None and chain.table.problem:
        raise ImportRefusedError(f"{chain.table.name}: {chain.table.problem}")
    _check_widths(chain)
    return chain


def _expand(found: Found, given: str) -> list[str]:
    """The layers that a name means: one, or all of a stack (lstm for lstm.0, lstm.1)."""
    if given in found.layers:
        return [given]
    stack = [name for name in found.layers if name.startswith(f"{given}.") and name[len(given) + 1 :].isdecimal()]
    if not stack:
        raise ImportRefusedError(f"--layer {given}: there is no such recurrent layer; it has {names_of(found.layers)}")
    return stack


def _mark(found: Found, chain: Chain, residual: list[str]) -> None:
    """Take the user's word for sums that weights alone don't show."""
    names = [layer.name for layer in chain.layers]
    if residual and found.graph is not None:
        raise ImportRefusedError(f"--residual {residual[0]}: this file's graph tells where sums are; leave it out")
    for name in residual:
        if name not in names:
            raise ImportRefusedError(f"--residual {name}: that layer isn't taken; taken are {names_of(names)}")
        chain.residual[names.index(name)] = True
    if found.graph is None and any(layer.inputs == layer.outputs for layer in chain.layers) and not residual:
        found.notes.append("weights alone don't show whether a layer's input is added to its output: --residual NAME")


def _check_widths(chain: Chain) -> None:
    before = (chain.table.name, chain.table.array.shape[1]) if chain.table is not None else None
    for layer, residual in zip(chain.layers, chain.residual, strict=True):
        if before is not None and before[1] != layer.inputs:
            raise ImportRefusedError(
                f"{layer.name} reads vectors {layer.inputs} wide, and {before[0]} gives {before[1]}; name layers "
                f"that stand on "
                "each other with --layer, from the first to the last"
            )
        if residual and layer.inputs != layer.outputs:
            raise ImportRefusedError(
                f"{layer.name}: its input is added to its output, and their widths differ; import it alone"
            )
        before = (layer.name, layer.outputs)
