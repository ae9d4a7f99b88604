"""`unrolled model compare`: rows that the user's own program computed, and where they differ first."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from support.reference import begun, layer_states

from producer.cli.exit_status import ExitStatus
from producer.cli.root import cli
from unrolled.model.config import ModelConfig
from unrolled.model.directory import open_model, save_model
from unrolled.model.layer import LayerConfig
from unrolled.model.padding import Padding
from unrolled.model.weights import new_weights
from worker.cli.model_compare import EXIT_DIFFERENT

ROWS = [[3], [1, 2], [9, 4, 4, 1, 7]]


def run(*arguments):
    return CliRunner().invoke(cli, ["model", "compare", *map(str, arguments)], prog_name="unrolled")


@pytest.fixture
def model(tmp_path):
    config = ModelConfig.stacked(10, 16, 5, 2, 4)
    weights = {name: array * 3 for name, array in new_weights(config, 1).items()}
    return save_model(tmp_path / "model", config, weights)


def states_of(model, rows=ROWS):
    opened = open_model(model.path)
    return [layer_states(opened.config, opened.weights(), np.array(row))[-1] for row in rows]


def padded_file(path, rows, states, shift=0):
    longest = max(map(len, rows))
    ids = np.zeros((len(rows), longest), np.int64)
    full = np.zeros((len(rows), longest, states[0].shape[1]))
    for number, (row, made) in enumerate(zip(rows, states, strict=True)):
        ids[number, : len(row)] = np.array(row) - shift
        full[number, : len(row)] = made
    np.savez(path, ids=ids, states=full, lengths=[len(row) for row in rows])


def ragged_file(path, rows, states, shift=0):
    arrays = {f"ids.{number}": np.array(row) - shift for number, row in enumerate(rows)}
    np.savez(path, **arrays, **{f"states.{number}": made for number, made in enumerate(states)})


def parquet_file(path, rows, states, shift=0):
    ids = [[one - shift for one in row] for row in rows]
    pq.write_table(pa.table({"ids": ids, "states": [made.tolist() for made in states]}), path)


FILES = [("padded.npz", padded_file), ("ragged.npz", ragged_file), ("rows.parquet", parquet_file)]


@pytest.mark.parametrize(("name", "write"), FILES)
def test_the_same(name, write, model, tmp_path):
    """All three layouts, with exit status 0."""
    write(tmp_path / name, ROWS, states_of(model))
    result = run(model.path, tmp_path / name)
    assert result.exit_code == ExitStatus.DONE, result.output
    assert result.output.startswith("same    your program and the ")
    assert "3 rows with 8 tokens" in result.output


@pytest.mark.parametrize(("name", "write"), FILES)
def test_the_first_difference_is_named(name, write, model, tmp_path):
    """Row, token, id and number of the first difference, with exit status 1."""
    states = states_of(model)
    states[2][3:, 1] += 0.25
    write(tmp_path / name, ROWS, states)
    result = run(model.path, tmp_path / name)
    assert result.exit_code == ExitStatus.FAILED
    assert "first   row 2, token 3 (id 1), number 1: " in result.output
    assert "largest difference 2.5e-01, more than 0.0001 at 2 tokens" in result.output
    facts = json.loads(run(model.path, tmp_path / name, "--json").output)
    assert (facts["same"], facts["first"]["row"], facts["first"]["token"]) == (False, 2, 3)
    assert run(model.path, tmp_path / name, "--bound", "0.3").exit_code == ExitStatus.DONE


@pytest.mark.parametrize(
    ("before", "hint"),
    [
        (1e-6, "the tokens before are the same: look for padding"),
        (5e-5, "the tokens before differ by up to 5.0e-05. If that is rounding"),
    ],
)
def test_tokens_that_differ_by_less_than_the_bound(before, hint, model, tmp_path):
    """They are only called the same if rounding explains their difference."""
    states = states_of(model)
    states[2][1, 1] += before
    states[2][3:, 1] += 0.25
    ragged_file(tmp_path / "rows.npz", ROWS, states)
    assert hint in run(model.path, tmp_path / "rows.npz").output


def test_states_that_differ_from_the_second_token_on(model, tmp_path):
    """There, a layer has read its own state for the first time."""
    states = states_of(model)
    states[2][1:, 1] += 0.25
    ragged_file(tmp_path / "rows.npz", ROWS, states)
    hint = "the tokens before are the same: look for what a layer does with its own state (--reset of a GRU), padding,"
    assert hint in run(model.path, tmp_path / "rows.npz").output


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_states_that_are_no_numbers(number, model, tmp_path):
    """They are the program's own, and no padding or mask explains them."""
    states = states_of(model)
    states[1][0, 0] = number
    ragged_file(tmp_path / "rows.npz", ROWS, states)
    result = run(model.path, tmp_path / "rows.npz")
    assert result.exit_code == ExitStatus.FAILED
    assert "your program's states are no numbers there" in result.output
    assert "first   row 1, token 0" in result.output


def test_a_model_that_pads_rows(model, tmp_path):
    """The user's rows have no padding; the model computes it, and a row that is too long is refused."""
    config = replace(model.config, max_length=5, padding=Padding(5, "before"))
    padded = save_model(tmp_path / "padded", config, model.weights())
    states = states_of(padded)
    assert np.abs(states[0] - states_of(model)[0]).max() > 0.01
    ragged_file(tmp_path / "rows.npz", ROWS, states)
    assert run(padded.path, tmp_path / "rows.npz").exit_code == ExitStatus.DONE
    ragged_file(tmp_path / "long.npz", [[1] * 6], [np.zeros((6, 5))])
    result = run(padded.path, tmp_path / "long.npz")
    assert result.exit_code == ExitStatus.FAILED
    assert "row 0: the row has 6 tokens, and the model reads at most 5" in result.output


@pytest.mark.parametrize("kind", ["matrix", "row by row", "parquet"])
def test_initial_states(kind, model, tmp_path):
    """They are read beside the ids; without them, or with too few, the file is refused."""
    layers = (LayerConfig(5, given_state=True), *model.config.layers[1:])
    decoder = save_model(tmp_path / "decoder", replace(model.config, layers=layers), model.weights())
    begin = np.random.default_rng(3).normal(0, 0.5, (len(ROWS), 10)).astype(np.float32)
    weights = [begun(decoder.config, decoder.weights(), state) for state in begin]
    states = [layer_states(decoder.config, *pair)[-1] for pair in zip(weights, ROWS, strict=True)]
    path, fewer = tmp_path / "rows", tmp_path / "fewer"
    for place, given in ((path, begin), (fewer, begin[:-1])):
        if kind == "parquet":
            nulls = [None] * (len(ROWS) - len(given))
            columns = {"ids": ROWS, "states": [each.tolist() for each in states]}
            pq.write_table(pa.table(columns | {"initial_state": [*given.tolist(), *nulls]}), place)
            continue
        arrays = {f"ids.{number}": row for number, row in enumerate(ROWS)}
        arrays |= {f"states.{number}": row for number, row in enumerate(states)}
        more = {f"initial_state.{number}": row for number, row in enumerate(given)}
        with place.open("wb") as file:
            np.savez(file, **arrays, **(more if kind == "row by row" else {"initial_state": given}))
    assert run(decoder.path, path).exit_code == ExitStatus.DONE
    result = run(decoder.path, fewer)
    assert result.exit_code == ExitStatus.FAILED
    assert ("its initial state is null" if kind == "parquet" else "give one for each") in result.output
    ragged_file(tmp_path / "none.npz", ROWS, states)
    assert "and initial_state of lists of 10 numbers" in run(decoder.path, tmp_path / "none.npz").output


@pytest.mark.parametrize("kind", ["matrix", "row by row", "parquet"])
def test_initial_states_that_the_model_reads_none_of(kind, model, tmp_path):
    """They would be left out of the comparison in silence; `encode` refuses them, too."""
    path, states, begin = tmp_path / "rows", states_of(model), np.ones((len(ROWS), 10), np.float32)
    with path.open("wb") as file:
        if kind == "parquet":
            columns = {"ids": ROWS, "states": [each.tolist() for each in states], "initial_state": begin.tolist()}
            pq.write_table(pa.table(columns), file)
        else:
            arrays = {f"ids.{number}": row for number, row in enumerate(ROWS)}
            arrays |= {f"states.{number}": row for number, row in enumerate(states)}
            of_rows = {f"initial_state.{number}": row for number, row in enumerate(begin)}
            np.savez(file, **arrays, **(of_rows if kind == "row by row" else {"initial_state": begin}))
    result = run(model.path, path)
    assert result.exit_code == ExitStatus.FAILED
    assert result.output.endswith("rows: initial_state is given, and the model reads none; leave it out\n")


def test_one_of_each(model, tmp_path):
    """A single row, token, and place of padding are said to be one."""
    config, weights = model.config, model.weights()
    states = np.zeros((1, 2, config.output_dim))
    states[0, 0] = layer_states(config, weights, np.array([4]))[-1][0]
    np.savez(tmp_path / "rows.npz", ids=np.array([[4, 0]]), states=states)
    result = run(model.path, tmp_path / "rows.npz")
    assert "1 row with 1 token and 1 place of padding, which isn't compared: largest" in result.output
    np.savez(tmp_path / "rows.npz", ids=np.array([[4, 0]]), states=states + 1)
    assert "more than 0.0001 at 1 token\n" in run(model.path, tmp_path / "rows.npz").output


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_padding_in_rows(direction, tmp_path):
    """Zeros before, between and after tokens are left out, as the model leaves them out; states there mean nothing."""
    config = ModelConfig(10, 16, 4, (LayerConfig(5, direction=direction),))
    made = save_model(tmp_path / "model", config, {name: 3 * one for name, one in new_weights(config, 1).items()})
    rows = np.array([[0, 0, 0, 4, 9], [3, 0, 2, 0, 1], [7, 8, 0, 0, 0], [0, 0, 0, 0, 0]])
    states = np.full((4, 5, config.output_dim), np.nan)
    for row, own in zip(rows, states, strict=True):
        own[row > 0] = layer_states(config, made.weights(), row[row > 0])[-1] if row.any() else 0
    np.savez(tmp_path / "rows.npz", ids=rows, states=states)
    result = run(made.path, tmp_path / "rows.npz")
    assert result.exit_code == ExitStatus.DONE, result.output
    assert "4 rows with 7 tokens and 13 places of padding, which aren't compared" in result.output
    states[0, 3, 2] += 0.5
    np.savez(tmp_path / "rows.npz", ids=rows, states=states)
    result = run(made.path, tmp_path / "rows.npz")
    assert "first   row 0, token 3 (id 4), number 2" in result.output
    assert "look for what your program does before the first layer" in result.output
    shifted = np.where(rows > 0, rows - 1, 0)  # with --ids-from 0, 0 is a token
    np.savez(tmp_path / "rows.npz", ids=shifted, states=np.nan_to_num(states))
    facts = json.loads(run(made.path, tmp_path / "rows.npz", "--ids-from", "0", "--json").output)
    assert (facts["same"], facts["tokens"], facts["padding"]) == (False, 20, 0)


@pytest.mark.parametrize(("side", "ids_from"), [("after", "0"), ("after", "1"), ("before", "1")])
def test_padding_that_was_read_as_tokens_is_named(side, ids_from, tmp_path):
    """As in a batch of PyTorch that isn't packed: rows without padding are the same, all others differ."""
    config = ModelConfig(10, 16, 4, (LayerConfig(5, direction="bidirectional"),))
    made = save_model(tmp_path / "model", config, {name: 3 * one for name, one in new_weights(config, 1).items()})
    shift, pads = 1 - int(ids_from), (lambda row: [7] * (5 - len(row)))

    def wrong(row):
        filled = row + pads(row) if side == "after" else pads(row) + row
        found = layer_states(config, made.weights(), np.array(filled))[-1]
        return found[: len(row)] if side == "after" else found[5 - len(row) :]

    def output(rows, states):
        path = tmp_path / "rows.npz"
        if side == "after":
            padded_file(path, rows, states, shift)
        else:
            whole = [np.array(row) - shift for row in rows]
            ids = np.array([[0] * (5 - len(row)) + row.tolist() for row in whole])
            full = [np.concatenate([np.zeros((5 - len(own), 10)), own]) for own in states]
            np.savez(path, ids=ids, states=np.array(full))
        return run(made.path, path, "--ids-from", ids_from).output

    found = output(ROWS, [wrong(row) for row in ROWS])
    assert "only the rows with padding differ: your program reads padding as tokens there; leave it out" in found
    assert "(PyTorch: pack_padded_sequence), or import the model with --pad\n" in found
    longer = [*ROWS[:2], ROWS[2][:3]] if side == "before" else None
    if longer:
        found = output(longer, [wrong(row) for row in longer])
        assert "all rows are rows with padding: perhaps your program reads padding as tokens there" in found
        assert "otherwise, look for what your program does before the first layer" in found
    states = [wrong(row) for row in ROWS]
    states[2][0] += 1
    assert "look for what your program does before the first layer" in output(ROWS, states)
    right = [layer_states(config, made.weights(), np.array(row))[-1] for row in ROWS]
    right[0][0] += 1
    assert "padding as tokens" not in output(ROWS, right)


def test_other_padding_than_the_imported_models_is_named(model, tmp_path):
    """The rows that the model pads differ, and a row of its length is the same."""
    config = replace(model.config, max_length=5, padding=Padding(5, "before"))
    padded = save_model(tmp_path / "padded", config, model.weights())
    other = save_model(tmp_path / "other", replace(config, padding=Padding(5, "before", 3)), model.weights())
    ragged_file(tmp_path / "rows.npz", ROWS, states_of(other))
    found = run(padded.path, tmp_path / "rows.npz").output
    assert (
        "only the rows that the model pads (to 5 tokens with row 0, before the tokens) differ: your program pads to "
        "another number, on the other side, or with another id; import the model with its --pad and --pad-id\n"
    ) in found
    ragged_file(tmp_path / "short.npz", ROWS[:2], states_of(other, ROWS[:2]))
    found = run(padded.path, tmp_path / "short.npz").output
    assert "all rows are rows that the model pads (to 5 tokens with row 0, before the tokens): perhaps your" in found


def test_ids_that_count_from_0(model, tmp_path):
    """--ids-from 0 adds one; where the rows are equal then, the report says so."""
    ragged_file(tmp_path / "rows.npz", [[4, 2], [9, 3]], states_of(model, [[4, 2], [9, 3]]), shift=1)
    result = run(model.path, tmp_path / "rows.npz")
    assert result.exit_code == ExitStatus.FAILED
    assert "with --ids-from 0 they are the same" in result.output
    assert run(model.path, tmp_path / "rows.npz", "--ids-from", "0").exit_code == ExitStatus.DONE


def test_nan_differs(model, tmp_path):
    """NaN never equals a number."""
    states = states_of(model)
    states[0][0, 0] = np.nan
    ragged_file(tmp_path / "rows.npz", ROWS, states)
    result = run(model.path, tmp_path / "rows.npz")
    assert (result.exit_code, "row 0, token 0" in result.output) == (ExitStatus.FAILED, True)
    facts = json.loads(run(model.path, tmp_path / "rows.npz", "--json").output, parse_constant=pytest.fail)
    assert (facts["same"], facts["largest"], facts["first"]["own"]) == (False, None, None)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({}, "has no row with an id"),
        ({"ids": np.ones((1, 2), int)}, "can't be read as rows of ids and states"),
        ({"ids": np.ones((1, 2), int), "states": np.ones((1, 3, 5))}, "don't fit together"),
        ({"ids.0": np.ones(2), "states.0": np.ones((2, 5))}, "the ids of row 0 are float64"),
        ({"ids.0": np.ones(2, int), "states.0": np.ones((1, 5))}, "row 0 has 2 ids, and its states are"),
        ({"ids.0": np.ones(2, int), "states.0": np.ones((2, 6))}, "6 wide, and the model's are 5"),
        ({"ids.0": np.array([0]), "states.0": np.ones((1, 5))}, "all rows consist of padding; give rows with tokens"),
        ({"ids.0": np.array([-1]), "states.0": np.ones((1, 5))}, "id -1 isn't one of the model's: with --ids-from 1"),
        ({"ids.0": np.array([11]), "states.0": np.ones((1, 5))}, "ids 1..10 are allowed, and 0 for padding"),
        ({"ids.0": np.array([{}], object), "states.0": np.ones((1, 5))}, "can't be read as rows"),
    ],
)
def test_other_files_are_refused(arrays, reason, model, tmp_path):
    """The error says what is wrong, and which arrays are wanted."""
    np.savez(tmp_path / "rows.npz", **arrays)
    result = run(model.path, tmp_path / "rows.npz")
    assert result.exit_code == ExitStatus.FAILED
    assert reason in result.output
    (tmp_path / "noise.npz").write_bytes(b"noise")
    assert "can't be read as rows of ids and states" in run(model.path, tmp_path / "noise.npz").output


WIDE = np.ones((2, 3, 5))


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        (
            {"ids.0": np.ones(3, int), "ids.2": np.ones(3, int), "states.0": WIDE[0], "states.2": WIDE[0]},
            "ids.2 is given without ids.1; allowed: ids.0, ids.1, and so on",
        ),
        (
            {"ids.0": np.ones(3, int), "states.0": WIDE[0], "states.1": WIDE[0]},
            "ids are given for 1 rows, and states for 2; allowed: one of each",
        ),
        ({"ids": np.ones((2, 3), int), "states": WIDE, "lengths": [3, -1]}, "length of row 1 is -1; allowed: 0..3"),
        ({"ids": np.ones((2, 3), int), "states": WIDE, "lengths": [7, 3]}, "the length of row 0 is 7; allowed: 0..3"),
        ({"ids": np.ones((2, 3), int), "states": WIDE, "lengths": [1.9, 3]}, "are float64; allowed: integers"),
    ],
)
def test_arrays_that_would_be_left_out_or_cut(arrays, reason, model, tmp_path):
    """A row that is only partly there is refused, and isn't compared as another one."""
    np.savez(tmp_path / "rows.npz", **arrays)
    result = run(model.path, tmp_path / "rows.npz")
    assert (result.exit_code, reason in result.output) == (ExitStatus.FAILED, True), result.output


@pytest.mark.parametrize("damage", ["half", "noise in it", "one array"])
def test_damaged_archives(damage, model, tmp_path):
    """The error is one line, whatever reads the archive; a .npy is named."""
    path = tmp_path / "rows.npz"
    np.savez_compressed(path, ids=np.ones((2, 3), int), states=WIDE)
    whole = path.read_bytes()
    if damage == "one array":
        np.save(tmp_path / "rows.npy", WIDE)
        path = tmp_path / "rows.npy"
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "half" else whole[:60] + b"\xff" * 4 + whole[64:])
    result = run(model.path, path)
    assert (result.exit_code, type(result.exception)) == (ExitStatus.FAILED, SystemExit)
    assert "can't be read as rows of ids and states" in result.output
    assert ("it is .npy, one array without a name; allowed: .npz" in result.output) is (damage == "one array")
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ids": [[1, 2], None]}, "the ids of row 1 are null, or have a null; allowed: numbers"),
        ({"ids": [[1, 2], [4, None]]}, "the ids of row 1 are null, or have a null"),
        ({"states": [[[1.0] * 5] * 2, None]}, "the states of row 1 are null, or have a null"),
        ({"states": [[[None] * 5] * 2, [[1.0] * 5] * 2]}, "the states of row 0 are null, or have a null"),
        ({"ids": [[1.9, 2.2], [4.0, 5.0]]}, "the column 'ids' is of type list<element: double>; allowed: lists of int"),
        ({"ids": [["1", "2"], ["4", "5"]]}, "the column 'ids' is of type list<element: string>; allowed: lists of int"),
        ({"ids": [1, 2]}, "the column 'ids' is of type int64; allowed: lists of integers"),
        ({"states": [[["1"] * 5] * 2] * 2}, "the column 'states' is of type list<element: list<element: string>>; all"),
        ({"ids": pa.array([[2**64 - 1] * 2] * 2, pa.list_(pa.uint64()))}, "can't be read as rows of ids and states"),
    ],
)
def test_columns_that_would_become_other_numbers(changes, reason, model, tmp_path):
    """Nulls, and types that are no integers or no numbers, are refused as in .npz."""
    columns = {"ids": [[1, 2], [4, 5]], "states": [[[1.0] * 5] * 2] * 2}
    pq.write_table(pa.table(columns | changes), tmp_path / "rows.parquet")
    result = run(model.path, tmp_path / "rows.parquet")
    assert (result.exit_code, type(result.exception)) == (ExitStatus.FAILED, SystemExit)
    assert reason in result.output


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (
            {"session": ["a"], "emb": [[1.0]]},
            "has no column 'ids'; columns found: 'session', 'emb'. Give ids and states",
        ),
        ({"ids": [[1]]}, "has no column 'states'; columns found: 'ids'. Give ids and states, of lists"),
        ({}, "has no column 'ids'; columns found: none. "),
        (
            {f"c{n}": [1] for n in range(13)},
            "columns found: 'c0', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7', 'c8', 'c9', 'c10', 'c11', …. ",
        ),
    ],
)
def test_other_columns_of_parquet_are_named(columns, found, model, tmp_path):
    """One line, as for an input of a job."""
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    result = run(model.path, tmp_path / "rows.parquet")
    assert result.exit_code == ExitStatus.FAILED
    assert found in result.output
    assert len(result.output.splitlines()) == 1
    twice = pa.table([[[1]], [[1]], [[[1.0] * 5]]], names=["ids", "ids", "states"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    result = run(model.path, tmp_path / "twice.parquet")
    assert "has the column 'ids' 2 times; columns found: 'ids', 'ids', 'states'" in result.output


def test_the_columns_of_other_models_are_named(tmp_path):
    """Vectors and initial states, where the model reads them."""
    config = ModelConfig(0, 9, None, (LayerConfig(3, given_state=True),), vector_dim=2)
    save_model(tmp_path / "model", config, new_weights(config, 1))
    pq.write_table(pa.table({"ids": [[1]], "states": [[[1.0] * 3]]}), tmp_path / "rows.parquet")
    assert (
        "has no column 'vectors'; columns found: 'ids', 's" in run(tmp_path / "model", tmp_path / "rows.parquet").output
    )
    pq.write_table(pa.table({"vectors": [[[1.0, 2.0]]], "states": [[[1.0] * 3]]}), tmp_path / "rows.parquet")
    found = run(tmp_path / "model", tmp_path / "rows.parquet").output
    assert "has no column 'initial_state'; columns found: 'vectors', 'states'. Give initial_state, of lists" in found


def test_the_status_is_the_tables():
    """The worker may not import the table of exit statuses, which is the producer's."""
    assert EXIT_DIFFERENT == ExitStatus.FAILED


def test_rows_of_vectors(tmp_path):
    """Vectors take the place of ids, in each layout; one that the model masks has no state."""
    config = ModelConfig(0, 9, None, (LayerConfig(3),), vector_dim=2, mask_value=0.0)
    weights = new_weights(config, 1)
    save_model(tmp_path / "model", config, weights)
    rows = [np.array(row, np.float32) for row in ([[1, 2]], [[0.5, -1], [3, 4], [2, 2]])]
    states = [layer_states(config, weights, row)[-1] for row in rows]
    pairs = list(enumerate(zip(rows, states, strict=True)))
    vectors = {f"vectors.{number}": row for number, (row, _) in pairs}
    np.savez(tmp_path / "rows.npz", **vectors, **{f"states.{number}": made for number, (_, made) in pairs})
    np.savez(tmp_path / "one.npz", vectors=rows[1][None], states=states[1][None])
    lists = {"vectors": [row.tolist() for row in rows], "states": [made.tolist() for made in states]}
    pq.write_table(pa.table(lists), tmp_path / "rows.parquet")
    for name in ("rows.npz", "one.npz", "rows.parquet"):
        assert "same" in run(tmp_path / "model", tmp_path / name).output
    states[1][2] += 1
    np.savez(tmp_path / "one.npz", vectors=rows[1][None], states=states[1][None])
    done = run(tmp_path / "model", tmp_path / "one.npz")
    assert done.exit_code == EXIT_DIFFERENT
    assert "first   row 0, token 2, number 0" in done.output
    for changes, reason in (
        ({"vectors": np.zeros((1, 3, 2))}, "all rows consist of padding"),
        ({"vectors": np.ones((1, 3, 4))}, "the model reads vectors of 2"),
        ({"vectors": np.ones((1, 2, 2))}, "don't fit together"),
        ({"ids": np.ones((1, 3), int)}, "no row with a vector; give arrays vectors"),
    ):
        np.savez(tmp_path / "bad.npz", **changes, states=states[1][None])
        done = run(tmp_path / "model", tmp_path / "bad.npz")
        assert done.exit_code == ExitStatus.FAILED
        assert reason in done.output
