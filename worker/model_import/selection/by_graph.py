"""The stack of a file with a graph: followed from its last layer back to the ids."""

# Over 150 lines: the walk from a layer to the ids, with a reason for each place where it can end.

from collections.abc import Container, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice, pairwise

from unrolled.model.token_map import ACTIVATIONS
from worker.model_import import token_maps
from worker.model_import.errors import ImportRefusedError, damage_named
from worker.model_import.found import Found, Layer, Node, Table
from worker.model_import.selection.names import advised
from worker.model_import.selection.one_hot import is_product, table_of_product
from worker.model_import.selection.padding import check_padding, check_unmasked_vectors
from worker.model_import.selection.stack import ONE_HOT, Asked, Stack
from worker.model_import.selection.steps import FIRST_INPUT, Step
from worker.model_import.token_maps import Map

#: What the first node of a graph reads if the graph doesn't show it.
_NO_INPUT = Node("", "input", "input")
#: Classes of Keras and operators of ONNX that join vectors of a token, in lower case.
_JOINS = {
    "add", "average", "concat", "concatenate", "div", "divide", "dot", "max", "maximum", "mean", "min", "minimum",
    "mul", "multiply", "sub", "subtract", "sum", "tfoplambda", "where",
}  # fmt: skip


class _OfIds(str):
    """The reason why a stack can't be meant: it reads ids, and the user says that rows are something else."""

    __slots__ = ()


#: How many nodes an error names that --top may name.
_SHOWN_TOPS = 8
_FOR_THE_OTHERS = "If the states of the other layers are what you want: "


def choose_by_graph(found: Found, asked: Asked) -> Stack:
    """Choose the only stack of the graph, or the one that consists of the named layers.

    Arguments and errors are those of `choose`.
    """
    # Over 40 lines: each way in which the graph leaves no stack, several, or one beside others.
    named = list(asked.layers)
    paths = _Paths(found, asked)
    ways: dict[tuple[str, ...], Stack | str] = {}
    for end in paths.ends(named):
        names, stack = paths.back_from(end, named)
        if paths.signature(ways.setdefault(names, stack)) != paths.signature(stack):
            raise ImportRefusedError(
                f"{names[-1]} is called more than once, and its calls read different vectors, so nothing shows which "
                "are wanted; save a model in which it is called once (keras.Model of the input and of the states that "
                "you want)"
            )
    stacks = [way for way in ways.values() if isinstance(way, Stack)]
    others = stacks
    if asked.embedding is not None:
        stacks = [stack for stack in stacks if stack.table is not None and stack.table.name == asked.embedding]
    usable = [stack for stack in stacks if not any(layer.problem for layer in stack.layers)]
    good = _longest(usable or stacks)
    if not good:
        reasons = [way for way in ways.values() if isinstance(way, str)]
        raise ImportRefusedError(reasons[0] if reasons else f"--embedding {asked.embedding}: {_reads(others)}")
    stopped = _stopped(ways, asked) if usable else []
    if len(good) > 1:
        choices = "; ".join(_options(stack) for stack in good[:5])
        more = f". Beside them, {ways[stopped[0]]}" if stopped else ""
        raise ImportRefusedError(f"it has {len(good)} stacks of recurrent layers; say which one: {choices}{more}")
    if not named:
        if usable and asked.top is None:
            _check_beside(found, {layer.name: "" for stack in stacks for layer in stack.layers}, good[0])
            _check_beside(found, {name: f". Besides, {ways[way]}" for way in stopped for name in way}, good[0])
        paths.check_top(good[0])
    if not any(layer.problem for layer in good[0].layers):
        paths.complete(good[0])
    if stopped:
        raise ImportRefusedError(f"{ways[stopped[0]]}. {_FOR_THE_OTHERS}{_options(good[0])}")
    return good[0]


def _stopped(ways: dict[tuple[str, ...], Stack | str], asked: Asked) -> list[tuple[str, ...]]:
    """The layers that may be wanted and are no stack, where nothing says which layers are."""
    if asked.layers or asked.embedding or asked.top is not None:
        return []
    return [names for names, way in ways.items() if isinstance(way, str) and not isinstance(way, _OfIds)]


def _check_beside(found: Found, more_of: Mapping[str, str], good: Stack) -> None:
    """Check that no layer has a problem: the states of one that can't be imported, as a decoder's, may be those wanted.

    Args:
        found: what the file contains.
        more_of: the layers' names, and what else is to be said of each.
        good: the stack that can be imported.

    Raises:
        ImportRefusedError: one has; the error says how to take the stack that can be imported.
    """
    for name, more in more_of.items():
        layer = found.layers.get(name)
        if layer is not None and layer.problem:
            raise ImportRefusedError(f"{layer.name}: {layer.problem}{more}. {_FOR_THE_OTHERS}{_options(good)}")


def _reads(stacks: list[Stack]) -> str:
    """What the first layers of stacks read, where none of them reads the embedding that the user names."""
    read = {
        stack.layers[0].name: "ids as one-hot vectors" if stack.table is None else f"the embedding {stack.table.name}"
        for stack in stacks
    }
    shown = [f"{name} reads {what}" for name, what in read.items()]
    return f"{', '.join(shown[:5])}{', …' if len(shown) > 5 else ''}; name what the layers read, or leave it out"


def _options(stack: Stack) -> str:
    return advised("--layer", *(layer.name for layer in stack.layers))


def _longest(stacks: list[Stack]) -> list[Stack]:
    """The stacks that aren't the beginning of another."""
    names = [tuple(layer.name for layer in stack.layers) for stack in stacks]
    # In sorted order, a beginning comes directly before one that it begins.
    beginnings = {one for one, after in pairwise(sorted(names)) if after[: len(one)] == one}
    return [stack for stack, own in zip(stacks, names, strict=True) if own not in beginnings]


@dataclass(frozen=True, slots=True)
class _Link:
    """A node that changes each token's vector alone, or a layer, with what is added to its output.

    Attributes:
        node: the node.
        end: name of the node whose output is the result: its own or, if something is added, that of the sum.
        added: name of the node whose output is added, or None.
    """

    node: Node
    end: str
    added: str | None = None


@dataclass(frozen=True, slots=True)
class _Origin:
    """The node that a vector comes from: a "table", "onehot", a "layer", the "input", or something "other".

    Attributes:
        role: which of them.
        name: its name.
        end: name of the node whose output is its result; of a layer to whose output something is added, the sum's.
        added: name of the node whose output is added to a layer's, or None.
        links: the nodes between that change each token's vector alone, in their order.
        why: of something "other", why it can't be imported, if that is known.
    """

    role: str
    name: str
    end: str = ""
    added: str | None = None
    links: tuple[_Link, ...] = ()
    why: str = ""


def _may_be_top(origin: _Origin) -> bool:
    """Whether a node with this origin makes other vectors of a recurrent layer's."""
    return origin.role == "layer" and bool(origin.links or origin.added)


def _described(origin: _Origin) -> str:
    return origin.name + (f": {origin.why}" if origin.why else "")


def _why_no_sum(link: _Link, embedding: str | None) -> str:
    """Why what is added to an output can't be.

    Args:
        link: the node with the output.
        embedding: what the first layer reads, if what is added is below that; else None.
    """
    why = "only what the imported layers read, or compute below it, can be added"
    if embedding is not None:
        why = f"{embedding}, which the first layer reads, is made the embedding, so what is below it can't be added"
    alone = f"; for its output alone: {advised('--layer', link.node.target or '')}" if link.node.role == "layer" else ""
    return f"{link.node} has {link.added} added to its output, and {why}{alone}"


def _why_not_computed(node: Node, *, from_rows: bool) -> str:
    """Why no map of a model computes a node's function, which tables of an embedding may be changed by."""
    above = "to vectors that rows contain" if from_rows else "above a recurrent layer"
    name = node.map.activation if isinstance(node.map, token_maps.Dense) else getattr(node.map, "name", None)
    if name in token_maps.ACTIVATIONS and name not in ACTIVATIONS:
        logits = "; a copy of the model with linear there gives the logits" if name == "softmax" else ""
        return f"its {name} can be imported above an embedding, but not {above}{logits}"
    return f"what it computes can be imported above an embedding, but not {above}"


class _Paths:
    """The ways through a file's graph, without the nodes that pass their input on unchanged."""

    def __init__(self, found: Found, asked: Asked) -> None:
        self._found, self._asked = found, asked
        self._whole = found.graph or {}
        self._graph = _without_through(self._whole)
        self._layers = [node for node in self._graph.values() if node.role == "layer"]
        # Keras's Sequential models may begin without an InputLayer.
        self._origins = {
            node.name: self._origin(node.inputs[0]) if node.inputs else _Origin("input", "") for node in self._layers
        }
        self._readers: dict[str, list[Node]] = {}
        for node in self._graph.values():
            for name in set(node.inputs):
                self._readers.setdefault(name, []).append(node)

    def ends(self, named: list[str]) -> list[_Origin]:
        """The calls of the last named layer, or of all layers that no other layer reads.

        Raises:
            ImportRefusedError: above the layers is no node that the user names.
        """
        if self._asked.top is not None:
            return [self._top(self._asked.top)]
        read = {origin.name for origin in self._origins.values() if origin.role == "layer"}
        nodes = [node for node in self._layers if (node.target == named[-1] if named else node.name not in read)]
        return [self._sum_of(node) for node in nodes]

    def _top(self, name: str) -> _Origin:
        """The layer below a node, and what is between."""
        nodes = [node.name for node in self._graph.values() if name in (node.name, node.label)]
        origins = [self._origin(node) for node in nodes]
        if len(origins) != 1 or not _may_be_top(origins[0]):
            raise ImportRefusedError(f"--top {name}: {self._why_no_top(nodes, origins)}")
        return origins[0]

    def _works_as_top(self, origin: _Origin) -> bool:
        """Whether a node with this origin can be named by --top, with the layers that are asked for."""
        stack = self.back_from(origin, list(self._asked.layers))[1] if _may_be_top(origin) else ""
        if isinstance(stack, Stack):
            with suppress(ImportRefusedError):  # a layer above it reads its states
                if not self._asked.layers:
                    self.check_top(stack)
                return True
        return False

    def _can_be_top(self, node: Node, stack: Stack) -> bool:
        """Whether a node above a stack can be its top, if the user names it beside what was asked for."""
        origin = self._origin(node.name)
        return origin.name == stack.last and isinstance(self.back_from(origin, list(self._asked.layers))[1], Stack)

    def _why_no_top(self, nodes: list[str], origins: list[_Origin]) -> str:
        """Why nodes of one name, whose vectors have these origins, can't be the top, and what can be."""
        advice = "name a Dense layer, a normalization, an activation or a sum above a recurrent layer"
        if not nodes:
            working = (node.name for node in self._graph.values() if self._works_as_top(self._origin(node.name)))
            able = [*islice(working, _SHOWN_TOPS + 1)]  # each look goes down the whole graph
            names = ", ".join(able[:_SHOWN_TOPS]) + (", …" if len(able) > _SHOWN_TOPS else "")
            return f"there is no such node; {advice}" + (f", such as {names}" if able else "")
        if len(nodes) > 1:
            return f"{len(nodes)} nodes have this name; name one of them: {', '.join(nodes)}"
        node, origin = self._graph[nodes[0]], origins[0]
        if node.role == "layer":
            return f"it is a recurrent layer itself: {advised('--layer', node.target or '')}, without --top"
        if origin.role != "other":
            return f"it reads {origin.name}, which is no recurrent layer; {advice}"
        if origin.name != str(node):
            return f"it reads {_described(origin)}; {advice}"
        what = f"{node} can't be the top" + (f": {origin.why}; allowed: {', '.join(ACTIVATIONS)}" if origin.why else "")
        return f"{what}; for the vectors that it reads, leave --top out, or name a node below it"

    def back_from(self, top: _Origin, named: list[str]) -> tuple[tuple[str, ...], Stack | str]:
        """The names of the layers that end in a node, and their stack or the reason why there is none."""
        last, origin = self._graph[top.name], top
        nodes: list[Node] = []
        links: list[_Link] = []  # from the last to the first
        while origin.role == "layer" and (not nodes or len(nodes) != len(named)):
            nodes.append(self._graph[origin.name])
            links += [*origin.links[::-1], _Link(nodes[-1], origin.end, origin.added)]
            if len(nodes) > len(self._graph):
                return (last.name,), f"{last.name}: the graph has a cycle; get a fresh copy of the file"
            origin = self._origins[nodes[-1].name]
        layers = [self._found.layers[node.target or ""] for node in reversed(nodes)]
        names = tuple(layer.name for layer in layers)
        if named and list(names) != named:
            below = f"{last.target} reads {' '.join(names[:-1]) or 'no recurrent layer'}"
            cut = self._why_cut(layers[0], origin) if len(names) < len(named) else None
            return names, f"--layer: {' '.join(named)} don't read each other directly; {cut or below}"
        problem = self._why_cut(layers[0], origin)
        if problem is not None:
            is_of_ids = (self._asked.vectors or self._asked.one_hot) and self._reads_ids(nodes[-1].name)
            return names, _OfIds(problem) if is_of_ids else problem
        table = self._found.tables[self._graph[origin.name].target or ""] if origin.role == "table" else None
        vectors = origin.role == "input" and self._asked.vectors
        maps = () if vectors else tuple(link.node for link in origin.links)
        if maps and table is None:
            table, rest = table_of_product(maps[0], "ids" if origin.role == "onehot" else "rows")
            maps = (rest, *maps[1:])
        # What changes the vectors that rows contain is computed with the layers, not once for all.
        chain = [*origin.links, *links[::-1]] if vectors else links[::-1]
        *folded, first = origin.name, *(node.name for node in maps)
        steps = self._steps(chain, first, folded)
        if isinstance(steps, str):
            return names, steps
        sums = frozenset(link.end for link in (*links, *top.links) if link.added is not None)
        residual = [step.source == number - 1 for number, step in enumerate(steps) if step.layer is not None]
        end = (top.links[-1] if top.links else links[0]).end
        stack = Stack(table, layers, residual, last.name, end, maps=maps, steps=steps, sums=sums, vectors=vectors)
        return names, stack

    def signature(self, way: Stack | str) -> Hashable:
        """What calls of the same layers must have in common to make the same states of the same ids."""
        if isinstance(way, str):
            return way
        own = {layer.name for layer in way.layers}
        maps = [*way.maps, *(step.node for step in way.steps if step.node is not None)]
        masks = [
            (node.target, node.masked, node.masks, node.drops_mask)
            for node in self._before(way.last)
            if node.role == "layer" and node.target in own
        ]
        return (
            way.table and way.table.name,
            tuple(node.name.partition("#")[0] for node in maps),
            tuple((step.layer and step.layer.name, step.source) for step in way.steps),
            tuple(masks),
        )

    def _steps(self, links: list[_Link], first_input: str, below: Container[str]) -> tuple[Step, ...] | str:
        """The steps of a stack, first to last, or the reason why there are none.

        Args:
            links: the layers and the functions around them, first to last.
            first_input: name of the node that the first layer reads.
            below: names of the nodes below it, which become one embedding with it.
        """
        numbers = {first_input: FIRST_INPUT} | {link.end: number for number, link in enumerate(links)}
        steps = []
        for number, link in enumerate(links):
            source = None if link.added is None else numbers.get(link.added)
            if link.added is not None and (source is None or source >= number):
                return _why_no_sum(link, first_input if link.added in below else None)
            layer = self._found.layers[link.node.target or ""] if link.node.role == "layer" else None
            steps.append(Step(layer, None if layer else link.node, source))
        return tuple(steps)

    def complete(self, stack: Stack) -> None:
        """Fill in what the stack's nodes say of masks and doubts.

        Raises:
            ImportRefusedError: the source computes padding, and rows would have other vectors here.
        """
        between = self._before(stack.last)
        stack.length = next((self._found.lengths[one.name] for one in between if one.name in self._found.lengths), None)
        stack.hidden = tuple(dict.fromkeys(node.masks for node in between if node.masks is not None))
        if stack.vectors:
            self._check_masks(between)
        if stack.hidden and stack.maps:
            raise ImportRefusedError(
                f"it masks vectors that consist of one number, and changes vectors before {stack.layers[0].name}; "
                "import a model whose mask is the embedding's (mask_zero=True)"
            )
        if stack.end in stack.sums:
            stack.sum = self._whole[stack.end].label or stack.end
        stack.joined = self._joined(stack)
        sums = [node for node in stack.joined if node.role == "add" and self._can_be_top(node, stack)]
        stack.tops = tuple(node.label or node.name for node in sums)
        stack.doubts = tuple(f"{node.name} ({node.what}): {node.doubt}" for node in between if node.doubt)
        kinds = {node.quantized for node in between}
        stack.quantized = next((one for one in ("activations", "weights") if one in kinds), "")
        stack.precision = next((node.precision for node in self._before(stack.end) if node.precision), "")
        stack.masks_zero = any(node.masks_zero for node in between)
        masked = self._masked([node for node in between if node.role == "layer"], stack.table)
        stack.computes_padding = not all(masked.values())
        stack.masks_partly = stack.computes_padding and any(masked.values())
        if stack.vectors and stack.computes_padding and not self._asked.unpadded:
            check_unmasked_vectors(stack)
        check_padding(self._asked, stack.length, masked)

    def _check_masks(self, between: list[Node]) -> None:
        """Check that what is masked are vectors that rows contain, which consist of one number."""
        numbers = {node.masks for node in between if node.masks is not None}
        if len(numbers) > 1:
            raise ImportRefusedError(
                f"it masks vectors of {' and of '.join(f'{number:g}' for number in sorted(numbers))}; only one such "
                "number can be imported"
            )
        for node in between:
            name = node.inputs[0] if node.role == "through" and node.masks is not None and node.inputs else ""
            while (below := self._whole.get(name)) is not None and below.role == "through" and below.inputs:
                name = below.inputs[0]
            if below is not None and below.role != "input":
                raise ImportRefusedError(
                    f"{node} reads {below}, so its mask isn't that of the rows' own vectors; only Masking that reads "
                    "the model's input can be imported"
                )

    def check_top(self, stack: Stack) -> None:
        """Check that nothing above the stack reads it step by step: such a layer would be left out in silence.

        Raises:
            ImportRefusedError: something does; the error says how to take the stack alone.
        """
        inside = {layer.name for layer in stack.layers}
        reached, waiting = {stack.last}, [stack.last]
        readers: dict[str, list[Node]] = {}
        for node in self._whole.values():
            for name in node.inputs:
                readers.setdefault(name, []).append(node)
        while waiting:
            for node in readers.get(waiting.pop(), []):
                if node.name in reached:
                    continue
                reached.add(node.name)
                waiting.append(node.name)
                if (node.role == "layer" and node.target not in inside) or node.recurs:
                    raise ImportRefusedError(self._why_above(node, stack))

    def _why_above(self, node: Node, stack: Stack) -> str:
        origin = self._origins.get(node.name)
        cut = origin is not None and origin.role == "other"
        reads = f" reads {_described(origin)}" if origin is not None and cut else " reads its states"
        return (
            f"{stack.layers[-1].name} isn't the last recurrent layer: {node.target or node.name} ({node.what}){reads}, "
            "and only dropout, masking and what changes each token's vector alone (Dense, Conv1D of width 1, "
            f"normalization, {', '.join(ACTIVATIONS)}) may be between two layers that are imported. If the states of "
            f"the first layers are what you want: {_options(stack)}"
        )

    def _joined(self, stack: Stack) -> tuple[Node, ...]:
        """The nodes above the stack that join its states with other vectors of each token, and are left out."""
        own = {node.name for node in self._layers if node.target in {layer.name for layer in stack.layers}}
        found: dict[str, Node] = {}
        reached = {*own, *stack.sums, stack.end}
        waiting = list(reached)
        while waiting:
            for node in self._readers.get(waiting.pop(), []):
                if node.name in reached:
                    continue
                if node.role == "map":
                    reached.add(node.name)
                    waiting.append(node.name)
                elif len(set(node.inputs)) > 1 and (node.role == "add" or node.what.lower() in _JOINS):
                    found[node.name] = node
        return tuple(found.values())

    def _masked(self, layers: list[Node], table: Table | None) -> dict[str, bool]:
        """For each layer, by its name, whether a mask hides padding from it.

        An embedding and Masking make masks, and layers pass them on; operations don't. A layer with go_backwards turns
        its outputs around but not its mask, so a mask hides other tokens from a layer above.
        """
        carried: dict[str, bool] = {}
        turned: dict[str, bool] = {}
        for node in self._whole.values():  # each follows what it reads
            layer = self._found.layers.get(node.target or "") if node.role == "layer" else None
            below = any(turned.get(name, False) for name in node.inputs)
            turned[node.name] = below ^ (layer is not None and layer.reversed)
            carries = [carried.get(name, False) for name in node.inputs]
            if node.role == "table":
                carried[node.name] = bool(self._found.tables[node.target or ""].mask_zero)
            elif node.role == "through" and node.masks is not None:
                # Masking replaces the mask of its input. Above a layer, it compares states, which are hardly ever equal
                # to its number.
                roles = {one.role for one in self._before(node.name)}
                carried[node.name] = "layer" not in roles and self._hides_padding(node.masks, table, roles)
            else:
                passes = node.role in ("through", "map", "add", "layer") and not node.drops_mask
                carried[node.name] = node.masked or (passes and bool(carries) and all(carries))
        return {
            node.target or node.name: not any(turned.get(name, False) for name in node.inputs)
            and self._is_masked(node, carried, table)
            for node in layers
        }

    def _is_masked(self, node: Node, carried: Mapping[str, bool], table: Table | None) -> bool:
        """Whether a mask hides padding from a layer whose input is in the order of the ids."""
        return (
            node.masked
            or (
                node.masks is not None
                and self._hides_padding(node.masks, table, {one.role for one in self._before(node.name)})
            )
            or (not node.drops_mask and any(carried.get(name, False) for name in node.inputs[:1]))
        )

    @staticmethod
    def _hides_padding(number: float, table: Table | None, below: Container[str]) -> bool:
        """Whether Masking hides padding: vectors that consist of one number.

        Args:
            number: that number.
            table: the embedding, whose row 0 is padding; None if there is none.
            below: the roles of the nodes that Masking reads, directly or not.

        Raises:
            ImportRefusedError: the embedding can't be read.
        """
        if table is None or table.one_hot:
            # The one-hot vector of an id isn't hidden; vectors of padding are made by the program, for the mask.
            return "onehot" not in below
        with damage_named(table.name):
            return bool((table.array.read()[:1] == number).all())

    def _before(self, name: str) -> list[Node]:
        """The node and all that it reads, directly or not."""
        reached, waiting = {name}, [name]
        while waiting:
            node = self._whole.get(waiting.pop())
            new = set(node.inputs if node else ()) - reached
            reached |= new
            waiting += new
        return [node for node in self._whole.values() if node.name in reached]

    def _reads_ids(self, name: str) -> bool:
        """Whether a node reads embeddings of the model's inputs only, and none of these inputs itself."""
        before = self._before(name)
        of_tables = {one.name for node in before if node.role == "table" for one in self._before(node.name)}
        return bool(of_tables) and all(node.name in of_tables for node in before if node.role == "input")

    def _origin(self, name: str) -> _Origin:
        """Follow the way down from a node, through functions and sums."""
        links: list[_Link] = []
        end, added = name, None
        for _ in range(2 * len(self._graph) + 1):
            node = self._graph.get(name)
            if node is None or node.role not in ("add", "map"):
                break
            if node.role == "map":
                links.append(_Link(node, end, added))
                if not node.inputs:  # Keras's Sequential models may begin without an InputLayer
                    return self._ended(_NO_INPUT, _Link(_NO_INPUT, ""), links)
                name = end = node.inputs[0]
                added = None
                continue
            parts = self._split(node)
            if parts is None or added is not None:
                return _Origin("other", str(node))
            name, added = parts
        return _Origin("other", name) if node is None else self._ended(node, _Link(node, end, added), links)

    def _ended(self, node: Node, last: _Link, links: list[_Link]) -> _Origin:
        """The origin that is the end of a way down.

        Args:
            node: the node that is neither a function nor a sum.
            last: that node, with what is added to its output.
            links: the functions above it, from the last to the first.
        """
        sums = [link.end for link in (last, *links) if link.added is not None]
        from_rows = node.role == "input" and self._asked.vectors
        if node.role == "layer" or (from_rows and not sums):
            unknown = [one.node for one in links if not (isinstance(one.node.map, Map) and one.node.map.computable)]
            if not unknown:
                return _Origin(node.role, node.name, last.end, last.added, tuple(links[::-1]))
            return _Origin("other", str(unknown[-1]), why=_why_not_computed(unknown[-1], from_rows=from_rows))
        # Only vectors that a table contains can be changed once for all.
        if node.role not in ("table", "onehot", "input"):
            culprit, why = node, node.why
        elif sums:
            culprit, why = self._graph[sums[0]], "it adds vectors below the first recurrent layer"
        elif links and node.role != "table" and not self._is_one_hot(node, links[-1].node):
            culprit, why = links[-1].node, "it changes vectors that no embedding makes"
            if node.role == "input":
                why += "; if rows contain these vectors: --vectors"
                why += "; if they are ids as one-hot vectors: --one-hot" if is_product(culprit) else ""
            else:
                why += "; the first change of one-hot vectors must be a product with a matrix (Dense, MatMul)"
        else:
            return _Origin(node.role, node.name, links=tuple(links[::-1]))
        return _Origin("other", str(culprit), why=why)

    def _is_one_hot(self, node: Node, product: Node) -> bool:
        """Whether a node makes one-hot vectors, or the user says so, and another multiplies them with a matrix."""
        made = node.role == "onehot" or (node.role == "input" and self._asked.one_hot)
        return made and is_product(product)

    def _split(self, node: Node) -> tuple[str, str] | None:
        """The two parts of a sum: the last node of the way, and a node below it whose output is added; or None."""
        for name, other in (node.inputs, node.inputs[::-1]):
            if other in self._below(name):
                return name, other
        return None

    def _below(self, name: str) -> set[str]:
        """The nodes that the way to a node goes through, and those that are added on the way."""
        reached: set[str] = set()
        waiting = [name]
        while waiting:
            node = self._graph.get(waiting.pop())
            if node is None or node.role not in ("layer", "map", "add"):
                continue
            new = set(node.inputs[:1] if node.role == "layer" else node.inputs) - reached
            reached |= new
            waiting += new
        return reached - {name}

    def _sum_of(self, last: Node) -> _Origin:
        """The last layer, with its sum with an output below, if that is a part of it."""
        readers = self._readers.get(last.name, [])
        if len(readers) == 1 and readers[0].of_layer:
            parts = self._split(readers[0])
            if parts is not None and parts[0] == last.name:
                return _Origin("layer", last.name, readers[0].name, parts[1])
        return _Origin("layer", last.name, last.name)

    def _why_cut(self, first: Layer, origin: _Origin) -> str | None:
        """Why a stack can't begin with a layer; None if it can."""
        layer = first.name
        if origin.role in ("table", "onehot"):
            return self._why_changed(self._graph[origin.name], layer)
        if first.problem and origin.role != "other":
            return f"{layer}: {first.problem}"
        if origin.role == "input" and (self._asked.one_hot or self._asked.vectors):
            return None
        if origin.role == "input":
            width = f"vectors {first.inputs} wide"
            return f"{layer} reads the model's input, {width}, and the graph doesn't say what they are. {ONE_HOT}"
        if origin.role == "layer":
            both = advised("--layer", origin.name, layer)
            return f"{layer} reads the recurrent layer {origin.name}; name that too: {both}"
        return (
            f"{layer} reads {_described(origin)}. A recurrent layer can be imported if it reads an embedding, ids as "
            "one-hot vectors or another recurrent layer, or if rows contain the vectors (--vectors), with nothing "
            "between but dropout, masking and, after an embedding, after a recurrent layer or with --vectors, what "
            "changes each token's vector alone (Dense, Conv1D of width 1, "
            f"normalization, {', '.join(ACTIVATIONS)}"
            f"; after an embedding also {', '.join(one for one in token_maps.ACTIVATIONS if one not in ACTIVATIONS)})"
        )

    def _why_changed(self, node: Node, layer: str) -> str | None:
        """Why ids aren't what an embedding or one-hot vectors are made of; None if they are."""
        if self._asked.vectors:
            return f"--vectors: {layer} reads {node}, which makes vectors of ids; leave it out"
        if self._asked.one_hot and node.role == "table":
            return f"--one-hot: {layer} reads {node}, which makes vectors of ids; leave it out"
        source = self._graph.get(node.inputs[0]) if node.inputs else None
        if not node.inputs or (source is not None and source.role == "input"):
            return None
        what = node.inputs[0] if source is None else f"{source.name} ({source.what})"
        way = "change the ids in your rows instead"
        if source is not None and source.what == "TextVectorization":
            way = "make a tokenizer.json of that layer for --tokenizer, as docs/token_ids.md shows"
        return (
            f"{node.target or node.name} reads {what}: the model computes ids from its input before it looks up their "
            "vectors. Only a model whose embedding reads the ids themselves can be imported: save the part of the "
            f"model that begins with the embedding, and {way}"
        )


def _without_through(graph: dict[str, Node]) -> dict[str, Node]:
    """The nodes that change their input; each reads the nearest of these instead of those between."""
    sources: dict[str, str] = {}

    def source(name: str) -> str:
        passed = []
        while name not in sources and (node := graph.get(name)) is not None and _passes_on(node):
            sources[name] = name  # in a cycle, the way ends here
            passed.append(name)
            name = node.inputs[0]
        end = sources.get(name, name)
        sources.update(dict.fromkeys(passed, end))
        return end

    return {
        name: replace(node, inputs=tuple(map(source, node.inputs)))
        for name, node in graph.items()
        if not _passes_on(node)
    }


def _passes_on(node: Node) -> bool:
    return node.role == "through" and bool(node.inputs)
