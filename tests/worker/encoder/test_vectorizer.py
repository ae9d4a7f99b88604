"""The transformer of scikit-learn."""

import inspect
import pickle
import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from support.kernels import THREADS
from support.reference import random_weights
from support.tokenizers import words

import unrolled
from unrolled.errors import ModelError, RowError
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.layer import LayerConfig
from unrolled.model.weights import new_weights

TEXTS = ["a b", "b a a", "a", "b", "b b", "a a b"] * 4


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learns_own_checks(directory):
    """All that are made for estimators of texts: it skips those that pass matrices of numbers."""
    check_estimator(unrolled.Vectorizer(directory))


@pytest.mark.parametrize(
    "options", [{}, {"pooling": "last", "layer": 0}, {"normalize": True, "threads": THREADS}], ids=str
)
def test_the_vectors_of_the_encoder(directory, options):
    """For every kind of column, and with every argument."""
    wanted = unrolled.load(directory).encode(
        TEXTS,
        pooling=options.get("pooling", "mean"),
        layers=options.get("layer", "last"),
        normalize="normalize" in options,
    )
    vectorizer = unrolled.Vectorizer(directory, **options)
    for column in (TEXTS, np.array(TEXTS), np.array(TEXTS, object), pd.Series(TEXTS), pl.Series(TEXTS)):
        np.testing.assert_array_equal(vectorizer.fit_transform(column), wanted)
    names = vectorizer.get_feature_names_out()
    assert len(names) == wanted.shape[1]
    assert names[0] == f"{options.get('pooling', 'mean')}0"


def test_models_that_read_initial_states_are_refused(tmp_path):
    """A transformer gets no second column; the error says what to use in its place."""
    config = ModelConfig(9, 20, 3, (LayerConfig(4, given_state=True),))
    save_model(tmp_path / "decoder", config, random_weights(config, seed=1), words().to_str())
    with pytest.raises(ValueError, match=r"reads initial states.*unrolled.load\(model\).encode\(texts, initial_states"):
        unrolled.Vectorizer(tmp_path / "decoder").transform(TEXTS)


def test_every_argument_reaches_the_encoder(directory, monkeypatch):
    """Those of `unrolled.load`, and a changed one loads the model again."""
    asked = []
    monkeypatch.setattr(
        "worker.encoder.vectorizer.load", lambda model, **options: asked.append(options) or unrolled.load(model)
    )
    names = inspect.signature(unrolled.load).parameters.keys() - {"model"}
    vectorizer = unrolled.Vectorizer(directory)
    for emulate in (False, False, True):
        vectorizer.set_params(emulate=emulate).transform(["a"])
    assert [options["emulate"] for options in asked] == [False, True]
    assert all(options.keys() == names for options in asked)


def test_rows_without_a_token_are_zeros(directory):
    """As in a job; other estimators refuse NaN. No other row changes."""
    found = unrolled.Vectorizer(directory).transform(["", "a", ""])
    assert not found[[0, 2]].any()
    np.testing.assert_array_equal(found[1], unrolled.load(directory).encode("a", pooling="mean"))


def test_a_pipeline_learns(directory):
    """Text to classes; a search sets its arguments, and processes get a copy."""
    labels = [text[0] for text in TEXTS]
    pipeline = make_pipeline(unrolled.Vectorizer(directory, threads=THREADS), StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"vectorizer__pooling": ["max", "first"]}, cv=2, n_jobs=2)
    search.fit(TEXTS, labels)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()  # NaN where a process failed
    assert search.score(TEXTS, labels) == 1


def test_the_numbers_of_a_new_model_need_a_scaler(tmp_path):
    """They are so small that a regression's penalty outweighs them: it guesses the most frequent class."""
    config = ModelConfig(9, 20, 3, (LayerConfig(16),))
    save_model(tmp_path / "new", config, new_weights(config, 1), words().to_str())
    labels = [text[0] for text in TEXTS]
    scores = []
    for steps in ([], [StandardScaler()]):
        pipeline = make_pipeline(unrolled.Vectorizer(tmp_path / "new", pooling="first"), *steps, LogisticRegression())
        scores.append(pipeline.fit(TEXTS, labels).score(TEXTS, labels))
    assert scores[0] < scores[1] == 1


def test_a_column_of_a_frame(directory):
    """Beside other columns; the result's columns have names."""
    frame = pd.DataFrame({"text": TEXTS, "n": range(len(TEXTS))})
    transformer = make_column_transformer((unrolled.Vectorizer(directory), "text"), remainder="passthrough")
    found = transformer.set_output(transform="pandas").fit_transform(frame)
    assert found.columns.tolist() == [*(f"vectorizer__mean{number}" for number in range(5)), "remainder__n"]


def test_copies_and_changed_arguments(directory):
    """A copy computes the same vectors; after `set_params` the new arguments count."""
    vectorizer = unrolled.Vectorizer(directory)
    wanted = vectorizer.transform(TEXTS)
    for copy in (clone(vectorizer), pickle.loads(pickle.dumps(vectorizer))):
        np.testing.assert_array_equal(copy.transform(TEXTS), wanted)
    assert b"_encoder" not in pickle.dumps(vectorizer)
    with pytest.raises(ModelError):
        vectorizer.set_params(model=directory / "none").transform(TEXTS)


def test_a_relative_path_is_that_of_the_time_of_making(directory, monkeypatch, tmp_path):
    """Also in copies, and for a model that `set_params` names; the argument stays what it was."""
    monkeypatch.chdir(directory.parent)
    wanted = unrolled.load("model").encode(TEXTS, pooling="mean")
    vectorizer = unrolled.Vectorizer("model")
    changed = unrolled.Vectorizer("none").set_params(model="model")
    monkeypatch.chdir(tmp_path)
    for each in (vectorizer, changed, clone(vectorizer), clone(clone(changed)), pickle.loads(pickle.dumps(vectorizer))):
        np.testing.assert_array_equal(each.transform(TEXTS), wanted)
        assert len(each.get_feature_names_out()) == wanted.shape[1]
        assert each.get_params()["model"] == "model"
    search = GridSearchCV(
        make_pipeline(vectorizer, LogisticRegression()), {"vectorizer__pooling": ["mean", "last"]}, cv=2
    )
    search.fit(TEXTS, [text[0] for text in TEXTS])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_what_is_refused(directory):
    """One text, which would be a row of its letters elsewhere; a result that isn't a matrix; a row that can't be."""
    for text in ("a b", np.array("a b")):
        with pytest.raises(ValueError, match="this is one text, 'a b'; allowed: a list"):
            unrolled.Vectorizer(directory).transform(text)
    for row in ([1, 2, 3], np.array([1, 2, 3])):
        with pytest.raises(ValueError, match=r"this is one row and not several; allowed: a list or a column of rows"):
            unrolled.Vectorizer(directory).transform(row)
    for pooling in (None, "median"):
        with pytest.raises(ValueError, match=f"pooling is {pooling!r}; allowed: mean, max, last, first"):
            unrolled.Vectorizer(directory, pooling=pooling).transform(TEXTS)
    with pytest.raises(RowError, match="row 1 has no text"):
        unrolled.Vectorizer(directory).transform(["a", None])


def test_one_row_of_vectors_is_refused(tmp_path):
    """It would give one vector, and not a matrix."""
    config = ModelConfig(0, 9, None, (LayerConfig(4),), vector_dim=2)
    save_model(tmp_path / "sensor", config, random_weights(config, seed=1))
    vectorizer = unrolled.Vectorizer(tmp_path / "sensor")
    for row in (np.ones((5, 2)), [[1.0, 2.0], [3.0, 4.0]]):
        with pytest.raises(ValueError, match="this is one row and not several"):
            vectorizer.transform(row)
        assert vectorizer.transform([row]).shape == (1, 4)


@pytest.mark.parametrize("layer", ["all", "last", 2, -1, [0, 1], True, 0.0])
def test_a_layer_that_is_not_one(directory, layer):
    """The error says which there are, also where only names are asked for."""
    vectorizer = unrolled.Vectorizer(directory, layer=layer)
    for call in (lambda: vectorizer.transform(TEXTS), vectorizer.get_feature_names_out):
        with pytest.raises(
            ValueError, match=re.escape(f"layer is {layer!r}; allowed: None for the last, or a number from 0 to 1")
        ):
            call()
    assert len(unrolled.Vectorizer(directory, layer=np.int64(0)).get_feature_names_out())
