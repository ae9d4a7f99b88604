"""The way from the ids to the states, and what leftovers of a file with only weights could do on it.

What counts is a chain of widths: an array is suspicious if it can lead from a vector on the way (or from ids) back to a
vector on the way, alone or through other leftovers. Between the layers of one nn.LSTM there is nothing, and above the
last layer everything is a head.
"""

# Over 150 lines: one rule, in the order in which an array is judged.

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from worker.model_import.found import UNKNOWN, UNREAD, Array, Found
from worker.model_import.selection.names import ends_with_head, is_of_a_module, may_be_table, module_of
from worker.model_import.selection.stack import Stack
from worker.model_import.token_maps import Dense

_BIAS = re.compile(r"(^|[._/])(b|.*bias)(:\d+)?$", re.IGNORECASE)
#: Of a parameter of its own that may be a bias: b_word, b1.
_OWN_BIAS = re.compile(r"(^|[._/])b([_\d]|$)|bias", re.IGNORECASE)
#: Names of what weighs vectors, below the layers or above them.
_WEIGHS = re.compile(r"att(n|ention)|gate|weigh(?!t)", re.IGNORECASE)
#: Names of an attention's vectors in modules of their own.
_ATTENDS = re.compile(r"^(u|v|w|q|context|query|score|att(n|ention)?)(_?(vector|vec|weights?))?\d*$", re.IGNORECASE)
#: Names of what belongs to the matrix of its module, by weight norm and spectral norm.
_PART = re.compile(r"^(weight_[guv]|original0|0\._[uv])$")
#: Names of what makes the states that layers start from, and of what reads other inputs.
_STARTS = re.compile(
    r"init|latent|start|bridge|image|img|visual|speaker|style|cond|(^|[./_])([hc]_?0|z)([./_]|$)", re.IGNORECASE
)
#: A module may make several vectors at once, which its program then splits: gates, queries, keys and values.
_SPLITS = (2, 3, 4)
#: What a batch normalization keeps; a `.weights.h5` only numbers its four arrays.
_RUNNING = {"running_mean", "running_var", "moving_mean", "moving_variance"}
_IDS = -1
#: How many vectors of the states a head may read side by side.
_POOLED = 3
#: The most axes of a convolution's array, and more.
_AXES = 6


@dataclass(frozen=True, slots=True)
class _Step:
    """One way in which an array can turn a vector of one width (or an id) into a vector of another."""

    array: Array
    before: int
    after: int


class Way:
    """The widths from the ids to the last layer, and the steps that leftovers could add to them.

    Args:
        found: the file.
        stack: what will be imported.
        rest: the arrays to judge.
        left: arrays that are left out whatever they are; each may be of one module with those to judge.
    """

    def __init__(self, found: Found, stack: Stack, rest: list[Array], left: Iterable[Array]) -> None:
        self._stack, self._axes = stack, found.matrix_axes
        first, *others = stack.layers
        #: The widths where something could be, in their order: before the first layer, and between layers of different
        #: modules.
        self._widths = [first.inputs, *(layer.inputs for layer in others if layer.below is None)]
        # And below each Linear module that is folded, or computed with vectors of rows.
        linear = [node.map.inputs for node in (*stack.maps, *stack.below) if isinstance(node.map, Dense)]
        below = [] if stack.table is None or not stack.maps else [stack.table.array.shape[1]]
        self._widths = [*below, *linear, *self._widths]
        # A program that computes a cell step by step may change its states before the next step reads them.
        self._widths += [layer.outputs for layer in stack.layers if layer.is_cell]
        #: How many ids there are; 0 if rows contain vectors.
        self._ids = first.inputs if stack.table is None else stack.table.array.shape[0]
        self._ids = 0 if stack.vectors else self._ids
        self._is_one_hot = not stack.vectors and (stack.table is None or bool(stack.table.one_hot))
        passes = [one for layer in stack.layers for one in layer.passes]
        gates = {(3 if one.kind == "gru" else 4) * one.units for one in passes}
        self._single = {size for one in passes for size in (one.units, one.projection or one.units)}
        self._single |= {layer.outputs for layer in stack.layers}
        self._states = self._single | gates
        #: What a head may read: states, also several side by side, of all passes, or mean, largest and last.
        self._for_heads = {count * size for size in self._single for count in range(1, _POOLED + 1)}
        self._modules: dict[str, list[Array]] = {}
        for array in (*rest, *left):
            self._modules.setdefault(module_of(array.name)[0], []).append(array)
        self._left = {id(array) for arrays in self._modules.values() for array in arrays} - {id(one) for one in rest}
        self._rest = [array for array in rest if not self._is_part(array)]
        self._around = stack.modules_around

    def suspicious(self) -> list[tuple[Array, str]]:
        """The arrays that could be between ids and states, each with the reason."""
        steps = [step for array in self._rest for step in self._steps(array)]
        if self._stack.vectors:  # which may have any width
            steps += [replace(step, before=_IDS) for step in steps]
        widths = self._widths
        if self._is_one_hot:  # the vectors of ids may be wider than what is read of them
            widths = [self._ids, *widths]
            in_heads = self._in_heads(steps) | {*widths}
            steps += [
                replace(step, before=_IDS)
                for step in steps
                if step.before not in in_heads and not (ends_with_head(step.array.name) or self._is_next_in_head(step))
            ]
        wide = self._of_heads(widely=True)
        weights = (id(array) for array, width in self._weights() if width not in wide)
        why_on_way = dict.fromkeys(weights, "can weigh what a layer reads")
        turned = "can turn what a layer reads into other vectors, or add to it"
        why_on_way |= dict.fromkeys(_on_way(steps, widths), turned)
        return [(array, why) for array in self._rest if (why := self._reason(array, why_on_way)) is not None]

    def _weights(self) -> Iterator[tuple[Array, int]]:
        """The arrays that could make one number for each token, as a weight of what a layer reads, and what they read.

        That may be a head, too, if it could also be a state or what another array makes.
        """
        turns = [turn for array in self._rest for turn in self._turns(array)]
        of_inputs = _made_of(self._widths, turns)
        to_one = _made_of({1}, (replace(turn, before=turn.after, after=turn.before) for turn in turns))
        return ((turn.array, turn.before) for turn in turns if turn.before in of_inputs and turn.after in to_one)

    def _of_heads(self, *, widely: bool) -> set[int]:
        """The widths that heads may read: states, what other arrays make, and what follows from these.

        Args:
            widely: whether any number of states side by side is one of these.
        """
        turns = [turn for array in self._rest for turn in self._turns(array)]
        made = {width for width in self._widths if any(width == turn.after for turn in turns)}
        many = {width for width in self._widths if any(width % size == 0 for size in self._single)} if widely else set()
        return _made_of({*self._for_heads, *made, *many}, turns)

    def weighing(self) -> list[Array]:
        """The arrays that could weigh what a layer reads, or be heads; but not what is called and made as heads are."""
        usual, wide = self._of_heads(widely=False), self._of_heads(widely=True)
        found = {
            id(array)
            for array, width in self._weights()
            if width in wide and (width not in usual or _WEIGHS.search(array.name) or not ends_with_head(array.name))
        }
        return [one for one in self._rest if id(one) in found]

    def before_the_first(self) -> list[Array]:
        """The arrays that could make one-hot vectors of other ids into what the first layer reads, or end a head.

        Not among them is what is called as heads are and reads what heads read, as most models have it.
        """
        if not self._is_one_hot:
            return []
        found = {
            id(step.array)
            for step in (step for array in self._rest for step in self._turns(array))
            if step.after == self._ids != step.before
            and not (ends_with_head(step.array.name) and step.before in self._for_heads)
            and not self._is_next_in_head(step)
        }
        return [array for array in self._rest if id(array) in found]

    def _in_heads(self, steps: Iterable[_Step]) -> set[int]:
        """The widths of states and of what leftovers make of them, but for the scores of heads.

        What reads as many numbers as there are scores more likely reads ids, as one-hot vectors, than several states.
        """
        turns = [turn for array in self._rest for turn in self._turns(array)]
        scores = {turn.after for turn in turns if ends_with_head(turn.array.name)} - self._single
        return _made_of(self._for_heads, (step for step in steps if not ends_with_head(step.array.name))) - scores

    def _is_next_in_head(self, step: _Step) -> bool:
        """Whether a matrix in a module that is called as heads are reads what others there make of states."""
        head = module_of(module_of(step.array.name)[0])[0]
        if not ends_with_head(f"{head}."):
            return False
        kin = [one for one in self._rest if one is not step.array and _is_inside(one.name, head)]
        turns = [turn for one in kin for turn in self._turns(one)]
        made = _made_of(self._for_heads, turns)
        return any(turn.after == step.before and turn.before in made for turn in turns)

    def beside(self) -> list[Array]:
        """The arrays whose results fit a layer's input or state, but whose own inputs nothing here makes.

        What reads vectors that are only as wide as states may be among them, too, if it isn't called as heads are.
        Heads are among them, so they are no reason to refuse a file.
        """
        steps = [step for array in self._rest if len(array.shape) == 2 for step in self._steps(array)]
        of_ids = [step for step in steps if step.before != _IDS or step.array.shape[0] == self._ids]
        made = _made_of({_IDS, *self._widths, *self._for_heads}, of_ids)
        layers = [layer for layer in self._stack.layers if not layer.given_state]
        passes = [one for layer in layers for one in layer.passes]
        # A state, those of all layers or directions side by side, and cells beside them.
        counts = {count * many for count in (1, 2) for many in (1, len(layers), len(passes))}
        starts = {
            count * size for one in passes for size in (one.units, one.projection or one.units) for count in counts
        }
        wanted = starts | {count * width for width in self._widths for count in (1, 2)}
        fitting = [step for step in steps if step.after in wanted]
        outside = {id(step.array) for step in fitting if step.before not in made or self._is_aside(step)}
        # The rows of a table, one for each speaker, may be initial states; of a matrix without a bias, only its name
        # tells whether it is one.
        tables = {id(step.array) for step in steps if step.before == _IDS and step.after in starts}
        heads = {id(one) for one in self._rest if self._is_of_head(one.name) and not may_be_table(one.name, one.shape)}
        outside |= tables - heads
        masks = {id(one) for one in self._rest if one.dtype and one.shape in {(width,) for width in self._widths}}
        return [array for array in self._rest if id(array) in outside | masks]

    def _is_aside(self, step: _Step) -> bool:
        return step.before != _IDS and not self._is_of_head(step.array.name)

    def _is_of_head(self, name: str) -> bool:
        """Whether an array's modules are called as heads are, and not as what makes initial states.

        Those that the layers are in, too, say nothing.
        """
        module = module_of(name)[0]
        whole = max((one for one in self._around if _is_inside(module, one)), key=len, default="")
        own = re.split(r"[./]", module[len(whole) :].strip("./"))
        return any(ends_with_head(f"{one}.") for one in own) and _STARTS.search(name) is None

    def _is_part(self, array: Array) -> bool:
        """Whether a vector belongs to a matrix of its module, which is judged."""
        module, last = module_of(array.name)
        is_vector = sum(size > 1 for size in array.shape) < 2
        return bool(_PART.match(last) and is_vector and any(len(one.shape) > 1 for one in self._modules[module]))

    def _is_bias(self, array: Array, size: int) -> bool:
        """Whether a vector may be the bias of a matrix in its module, by its name and by what else is in there."""
        module, last = module_of(array.name)
        usual = is_of_a_module(array.name, self._axes) or _OWN_BIAS.search(array.name) is not None
        attends = module not in self._around and size not in self._widths and _ATTENDS.match(last) is not None
        if not (usual or attends or self._is_of_head(array.name)):
            return False
        # Beside a matrix that the user leaves out, only what is called a bias is taken for one.
        kin = [one for one in self._modules[module] if one is not array and (usual or id(one) not in self._left)]
        return any(not self._is_vector(one) and size in self._outputs_of(one, array) for one in kin)

    def _reason(self, array: Array, why_on_way: dict[int, str]) -> str | None:
        inside = next((one for one in self._stack.layers if one.scope and _is_inside(array.name, one.scope)), None)
        if inside is not None:
            return f"belongs to {inside.name}"
        if array.dtype == UNKNOWN:
            return f"can't be read ({UNREAD})"
        if self._is_vector(array):
            return None if array.dtype and array.shape != (self._ids,) else self._reason_of_vector(array)
        if id(array) in why_on_way:
            return why_on_way[id(array)]
        sizes = set(array.shape) if len(array.shape) > 2 else {array.shape[-1]}
        if len(array.shape) > 2 and (len(array.shape) > _AXES or sizes & set(self._widths)):
            return "has an axis as long as the vectors that a layer reads, or many axes"
        can_start = not is_of_a_module(array.name, self._axes) and sizes & (self._states | set(self._widths))
        return "can be the initial states of layers" if can_start else None

    def _reason_of_vector(self, array: Array) -> str | None:
        size = int(np.prod(array.shape, dtype=np.int64))
        if self._is_bias(array, size):
            return None  # its matrix is judged
        kin = [other for other in self._modules[module_of(array.name)[0]] if other is not array]
        if size == self._ids and not _BIAS.search(array.name) and size > 1:
            return "has one number for each id"
        if size == 1:
            return "can scale vectors"
        if size in self._widths:
            return "is as long as the vectors that a layer reads: a normalization, a scale or an initial state"
        like = [module_of(other.name)[1] for other in kin if other.shape == array.shape]
        # A batch normalization isn't a part of a cell: those are in the layer's module.
        is_batch_norm = _RUNNING & {*like, module_of(array.name)[1]} or sum(name.isdecimal() for name in like) == 3
        is_norm = size == self._stack.layers[-1].outputs or is_batch_norm
        if size in self._states and not (like and is_norm and is_of_a_module(array.name, self._axes)):
            return "is as long as a layer's states: an initial state, or a part of the cell"
        return None

    def _outputs_of(self, matrix: Array, bias: Array) -> tuple[int, ...]:
        """How long a vector in the module of a matrix can be, to be its bias.

        PyTorch's are as long as its matrices have rows. Convolutions have the axis of their outputs anywhere, and so
        have the arrays of Keras's EinsumDense; attention's bias_k and bias_v are rows of their own.
        """
        is_row = len(matrix.shape) == 2 and self._axes == "outputs, inputs" and is_of_a_module(matrix.name, self._axes)
        return matrix.shape[:1] if is_row and module_of(bias.name)[1] not in ("bias_k", "bias_v") else matrix.shape

    def _is_vector(self, array: Array) -> bool:
        """Whether it has one axis longer than 1; a matrix with one row or column has a module's usual name."""
        if len(array.shape) < 2:
            return True
        return sum(size > 1 for size in array.shape) < 2 and not is_of_a_module(array.name, self._axes)

    def _steps(self, array: Array) -> Iterator[_Step]:
        if self._is_vector(array):
            return
        if len(array.shape) > 2:  # a convolution: which axes are in and out depends on the framework
            sizes = set(array.shape[:_AXES])
            yield from (_Step(array, one, two) for one in sizes for two in sizes)
            return
        rows, columns = array.shape
        if rows == self._ids != columns and ends_with_head(array.name):
            return  # the scores of all ids
        kin = self._modules[module_of(array.name)[0]]
        biased = any(self._is_vector(one) and rows in one.shape for one in kin)
        yield from self._turns(array)
        if not (biased and self._axes != "inputs, outputs"):
            yield _Step(array, _IDS, columns)

    def _turns(self, array: Array) -> Iterator[_Step]:
        """The ways in which an array can be the matrix of a Linear module."""
        if len(array.shape) != 2 or self._is_vector(array):
            return
        rows, columns = array.shape
        usual = is_of_a_module(array.name, self._axes)
        if self._axes != "inputs, outputs" or not usual:
            yield _Step(array, columns, rows)
        if self._axes != "outputs, inputs" or not usual:
            yield _Step(array, rows, columns)


def _on_way(steps: list[_Step], widths: list[int]) -> set[int]:
    """The identities of the arrays with a step on a walk from a place on the way to that place or a later one.

    Args:
        steps: what arrays can do.
        widths: of the vectors in these places, in their order.
    """
    after: dict[int, set[int]] = {}
    before: dict[int, set[int]] = {}
    for step in steps:
        after.setdefault(step.before, set()).add(step.after)
        before.setdefault(step.after, set()).add(step.before)
    parts = {count * width: width for width in widths for count in _SPLITS}
    for whole, part in parts.items():
        after.setdefault(whole, set()).add(part)
        before.setdefault(part, set()).add(whole)
    # A step is on a walk from an earlier place to a later one if the first place that leads to it isn't after the
    # last place that it leads to.
    first = dict.fromkeys(_closure(_IDS, after), 0)
    last: dict[int, int] = {}
    known: dict[int, tuple[set[int], set[int]]] = {}
    for place, width in enumerate(widths):
        if width not in known:
            known[width] = _closure(width, after), _closure(width, before)
        reached, leading = known[width]
        for one in reached:
            first.setdefault(one, place)
        last |= dict.fromkeys(leading, place)
    never = len(widths)
    return {id(step.array) for step in steps if first.get(step.before, never) <= last.get(step.after, -1)}


def _made_of(widths: Iterable[int], steps: Iterable[_Step]) -> set[int]:
    """The widths of all that steps make of vectors of some widths, and these."""
    after: dict[int, set[int]] = {}
    for step in steps:
        after.setdefault(step.before, set()).add(step.after)
    return set().union(*(_closure(width, after) for width in widths))


def _closure(start: int, edges: dict[int, set[int]]) -> set[int]:
    reached, waiting = {start}, [start]
    while waiting:
        new = edges.get(waiting.pop(), set()) - reached
        reached |= new
        waiting += new
    return reached


def _is_inside(name: str, scope: str) -> bool:
    return name.startswith(scope) and name[len(scope) : len(scope) + 1] in ("", ".", "/")
