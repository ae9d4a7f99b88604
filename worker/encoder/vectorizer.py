"""A transformer of scikit-learn: texts in, one vector for each out."""

# Over 150 lines: one class, half of it the description and the checks of what it takes.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from unrolled.model.directory import open_model
from unrolled.store.place import absolute, absolute_where_it_is
from worker.encoder.arguments import checked_layer, checked_model
from worker.encoder.encoder import Pooling, load

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray
    from sklearn.utils import Tags

    from worker.encoder.encoder import Encoder


class Vectorizer(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn is untyped
    """Turns texts, or rows of token ids, into one vector each, in a pipeline of scikit-learn.

    `fit` does nothing, because the model is trained already. The model is loaded at the first `transform`, in whichever
    process that is; a copy that is cloned or unpickled loads it again.

    Args:
        model: a model directory, or the URL of one in a bucket. A relative path is resolved now, or when `set_params`
            gives it.
        pooling: "mean", "max", "last" or "first".
        layer: the number of the layer, from 0; None for the last.
        normalize: whether each vector is divided by its length.
        engine: as in `unrolled.load`.
        arithmetic: as in `unrolled.load`.
        threads: as in `unrolled.load`.
        emulate: as in `unrolled.load`.

    Example:
        >>> classifier = make_pipeline(unrolled.Vectorizer("my-model"), LogisticRegression())
        >>> classifier.fit(texts, labels)
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        pooling: Pooling = "mean",
        layer: int | None = None,
        normalize: bool = False,
        engine: Literal["auto", "fused", "tensorflow"] = "auto",
        arithmetic: Literal["float32", "bfloat16", "bfloat16x3"] = "float32",
        threads: int | None = None,
        emulate: bool = False,
    ) -> None:
        self.model = model
        self.pooling = pooling
        self.layer = layer
        self.normalize = normalize
        self.engine = engine
        self.arithmetic = arithmetic
        self.threads = threads
        self.emulate = emulate

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an argument, as the constructor and `set_params` do; a path is resolved, and kept as it was given too."""
        super().__setattr__(name, value)
        if name == "model":
            self._place = absolute(checked_model(value))

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803, ARG002 - scikit-learn's names
        """Do nothing."""
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803 - scikit-learn's name
        """One vector for each row.

        Args:
            X: a list, an array or a column of texts; or rows of token ids, as `Encoder.encode` takes them.

        Returns:
            float32 (rows, units); zeros for a row without a token, because estimators refuse NaN.

        Raises:
            ValueError: this is one text or row and not a list of them, an argument isn't allowed, or the model reads
                initial states.
            RowError: a row can't be used.
            ModelError: the model can't be loaded.
        """
        X = X.item() if isinstance(X, np.ndarray) and not X.ndim else X  # noqa: N806 - scikit-learn's name
        if isinstance(X, str):
            raise ValueError(  # noqa: TRY004 - as scikit-learn's own vectorizers
                f"this is one text, {X!r:.80}; allowed: a list, an array or a column of texts"
            )
        if self.pooling not in get_args(Pooling):
            raise ValueError(f"pooling is {self.pooling!r}; allowed: {', '.join(get_args(Pooling))}")
        encoder = self._loaded()
        layer = checked_layer(self.layer, self._resolved())
        if encoder.initial_state_width:
            raise ValueError(
                "the model reads initial states, and scikit-learn gives a transformer one column of texts; compute the "
                "vectors first: unrolled.load(model).encode(texts, initial_states=states, pooling=…)"
            )
        vectors: NDArray[np.float32] = encoder.encode(
            X,
            pooling=self.pooling,
            layers="last" if layer is None else layer,
            normalize=self.normalize,
            progress=False,
        )
        if vectors.ndim == 1:
            raise ValueError("this is one row and not several; allowed: a list or a column of rows, such as [row]")
        vectors[np.isnan(vectors).all(axis=1)] = 0
        return vectors

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002 - scikit-learn's name
        """A name for each column of the result, such as "mean0".

        Raises:
            ValueError: the model has no such layer.
        """
        model = open_model(self._resolved())
        layer = checked_layer(self.layer, model.path)
        width = model.config.layer_dims[-1 if layer is None else layer]
        return np.array([f"{self.pooling}{number}" for number in range(width)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        """Always: there is nothing to fit."""
        return True

    def __sklearn_tags__(self) -> Tags:
        """It takes texts in one dimension, and needs no `fit`."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __sklearn_clone__(self) -> Self:
        """A copy with the same arguments, and with the model that they named when they were given."""
        copy: Self = super().__sklearn_clone__()
        copy._place = self._place
        return copy

    def __getstate__(self) -> dict[str, Any]:
        """The arguments; the encoder stays where it is."""
        return {name: value for name, value in super().__getstate__().items() if name != "_encoder"}

    def _loaded(self) -> Encoder:
        """The encoder for the arguments of now, which `set_params` may have changed."""
        options: dict[str, Any] = {name: getattr(self, name) for name in ("engine", "arithmetic", "threads", "emulate")}
        place = self._resolved()
        arguments = (place, options)
        kept = getattr(self, "_encoder", None)
        if kept is None or kept[0] != arguments:
            self._encoder = kept = (arguments, load(place, **options))
        return kept[1]

    def _resolved(self) -> str:
        return absolute_where_it_is(self.model, self._place)
