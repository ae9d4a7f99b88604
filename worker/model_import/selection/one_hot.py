"""The matrix that one-hot vectors are multiplied with: like those of an embedding, its rows are the vectors of ids."""

from dataclasses import replace

from worker.model_import.found import Array, Float32, Node, Table, TokenMap
from worker.model_import.token_maps import Dense


def is_product(node: Node) -> bool:
    """Whether a node multiplies vectors with a matrix, whatever it does with the products."""
    return isinstance(node.map, Dense)


def table_of_product(node: Node, one_hot: str) -> tuple[Table, Node]:
    """The embedding that a product with one-hot vectors makes, and the node with what it does after the product.

    Args:
        node: a node that `is_product`.
        one_hot: see `Table`.
    """
    product = node.map
    if not isinstance(product, Dense):
        raise TypeError(node)
    rows, width = product.inputs, product.outputs

    def read() -> Float32:
        made: Float32 = product.kernel.read()
        return made.T if product.turned else made

    array = Array(product.kernel.name, (rows, width), read)
    label = f"{node}: one-hot vectors of {rows:,} ids times a matrix, {width} wide"
    rest: TokenMap = product.finish
    return Table(node.label or node.name, array, label=label, one_hot="ids" if one_hot == "ids" else "rows"), replace(
        node, map=rest
    )
