"""The choice of an embedding and of the recurrent layers on top of it, from the ids to the last state."""

from dataclasses import replace

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Found, Layer
from worker.model_import.selection.by_graph import choose_by_graph
from worker.model_import.selection.by_widths import choose_by_widths
from worker.model_import.selection.leftovers import check_leftovers
from worker.model_import.selection.names import names_of
from worker.model_import.selection.stack import Asked, Stack
from worker.model_import.selection.steps import chain_of


def choose(found: Found, asked: Asked) -> Stack:
    """Choose what to import.

    Args:
        found: the content of the file.
        asked: what the user says.

    Raises:
        ImportRefusedError: there is nothing to choose, there are several possibilities, the named layers don't
            read each other, or something between the ids and the states can't be imported.
    """
    if not found.layers:
        raise ImportRefusedError(found.why_empty or "it contains no LSTM and no GRU; other models can't be imported")
    _check_asked(found, asked)
    asked = replace(asked, layers=tuple(name for given in asked.layers for name in _expand(found, "--layer", given)))
    if found.graph is None:
        stack = choose_by_widths(found, asked)
        check_leftovers(found, stack, asked.leave, asked.layers)
    elif asked.leave or asked.maps:
        option = f"--leave {asked.leave[0]}" if asked.leave else f"--fold {asked.maps[0]}"
        raise ImportRefusedError(f"{option}: this file's graph shows what is used; leave it out")
    else:
        stack = choose_by_graph(found, asked)
    _mark_clips(found, stack, asked)
    _mark_residual(found, stack, asked.residual)
    _put_above(found, stack)
    for layer in stack.layers:
        if layer.problem:
            raise ImportRefusedError(f"{layer.name}: {layer.problem}")
    _check_widths(found, stack)
    return stack


def _check_asked(found: Found, asked: Asked) -> None:
    """Check that the user's statements don't contradict each other, and that the named embedding exists."""
    if asked.embedding is not None and asked.embedding not in found.tables:
        raise ImportRefusedError(
            f"--embedding {asked.embedding}: there is no such embedding; it has {names_of(found.tables)}"
        )
    if asked.embedding is not None and asked.one_hot:
        raise ImportRefusedError("--embedding and --one-hot: one-hot vectors need no embedding; leave one of them out")
    if asked.vectors and (asked.embedding is not None or asked.one_hot):
        option = "--one-hot" if asked.one_hot else f"--embedding {asked.embedding}"
        raise ImportRefusedError(f"--vectors and {option}: rows of vectors contain no ids; leave one of them out")
    if asked.vectors and asked.padding is not None:
        raise ImportRefusedError(
            f"--pad {asked.padding.length}: rows of vectors aren't padded here; if the source's program pads them, put "
            "its vectors of padding into the rows, and use --unpadded"
        )
    if asked.padding is not None and asked.unpadded:
        raise ImportRefusedError("--pad and --unpadded contradict each other; leave one of them out")


def _expand(found: Found, option: str, given: str) -> list[str]:
    """The layers that an option's name means: one, or all layers of a stack (lstm means lstm.0, lstm.1)."""
    if given in found.layers:
        return [given]
    stack = [name for name in found.layers if name.startswith(f"{given}.") and name[len(given) + 1 :].isdecimal()]
    if not stack:
        raise ImportRefusedError(f"{option} {given}: there is no such recurrent layer; it has {names_of(found.layers)}")
    return stack


def _mark_residual(found: Found, stack: Stack, residual: tuple[str, ...]) -> None:
    """Mark the layers that the user names as residual; weights alone don't show it."""
    names = [layer.name for layer in stack.layers]
    if residual and found.graph is not None:
        raise ImportRefusedError(f"--residual {residual[0]}: this file's graph shows the sums itself; leave it out")
    for name in (name for given in residual for name in _expand(found, "--residual", given)):
        if name not in names:
            raise ImportRefusedError(
                f"--residual {name}: that layer is not imported; the imported ones are {names_of(names)}"
            )
        stack.residual[names.index(name)] = True
    if found.graph is None and any(layer.inputs == layer.outputs for layer in stack.layers) and not residual:
        found.unproven.append(
            "weights alone don't show whether a layer's input is added to its output: --residual NAME"
        )
    last = stack.layers[-1]
    if (
        found.graph is None and found.matrix_axes == "inputs, outputs" and len(last.passes) > 1
    ):  # of Keras; a layer above shows it
        found.unproven.append(
            f"the outputs of {last.name}'s two directions are side by side: weights alone don't show merge_mode, and "
            "concat is assumed, Keras's default"
        )


def _put_above(found: Found, stack: Stack) -> None:
    """Add the functions above the last layer of a file whose kind has them."""
    if found.above and stack.layers[-1] is list(found.layers.values())[-1]:
        stack.steps = chain_of(stack.layers, stack.residual, found.above, stack.below)


def _mark_clips(found: Found, stack: Stack, asked: Asked) -> None:
    """Mark the bounds of states that the user names; weights alone don't show them."""
    stack.clips = asked.cell_clip, asked.projection_clip
    passes = [one for layer in stack.layers for one in layer.passes]
    for option, given, fits in (
        ("--cell-clip", asked.cell_clip, all(one.kind != "gru" for one in passes)),
        ("--projection-clip", asked.projection_clip, all(one.projection for one in passes)),
    ):
        if given is not None and found.graph is not None:
            raise ImportRefusedError(f"{option}: this file's graph shows what its layers compute; leave it out")
        if given is not None and not fits:
            raise ImportRefusedError(f"{option} {given:g}: not every layer has such a state; leave it out")


def _between(found: Found, name: str, width: int, layer: Layer) -> str:
    """What to do about a layer that reads vectors of another width than the one before it, or the embedding, makes."""
    fitting = [one for one in found.rest if sorted(one.shape) == sorted((width, layer.inputs))]
    if name not in found.layers or not fitting:
        return "name the layers that read each other with --layer, first to last"
    return (
        f"{fitting[0].name} {fitting[0].shape} may be between them, which weights alone don't show. Import a file with "
        f"the model's graph (ONNX, .keras), or the layers up to {name} alone; if {layer.name} reads another layer, "
        "name those that read each other, first to last"
    )


def _check_widths(found: Found, stack: Stack) -> None:
    # The width after functions is checked when they are computed.
    before = None if stack.table is None or stack.maps else (stack.table.name, stack.table.array.shape[1])
    if any(step.node is not None for step in stack.steps):
        return
    for layer, residual in zip(stack.layers, stack.residual, strict=True):
        if before is not None and before[1] != layer.inputs:
            raise ImportRefusedError(
                f"{layer.name} reads vectors of width {layer.inputs}, but the output of {before[0]} has width "
                f"{before[1]}; {_between(found, *before, layer)}"
            )
        if residual and layer.inputs != layer.outputs:
            raise ImportRefusedError(
                f"{layer.name}: its input is added to its output, and their widths differ; import it alone"
            )
        before = (layer.name, layer.outputs)
