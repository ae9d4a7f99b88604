"""What a job stores and its columns of vectors, as a model of a few widths gives them."""

from types import SimpleNamespace

from unrolled.format.output_spec import OutputSpec


def stored(*layer_dims, **options):
    """The `OutputSpec` of these options, and its columns for a model with layers of these widths."""
    spec = OutputSpec(**options)
    return spec, spec.columns(SimpleNamespace(layer_dims=layer_dims))


def plain(units, **options):
    """Most jobs' choice: a vector for each token, from the last layer."""
    return stored(units, **options)


def per_token(units):
    """The columns of `plain`, which is what engines take."""
    return stored(units)[1]
