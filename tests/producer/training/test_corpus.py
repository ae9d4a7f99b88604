"""A corpus becomes a training's rows."""

import errno
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from support.processes import eventually
from support.trainings import asked, is_open, write

from producer.sources.options import SourceOptions
from producer.terminal import progress
from producer.tokenization.word_level import fit
from producer.training import corpus as rows_of_a_corpus
from producer.training import place
from producer.training.place import held as directory_held
from producer.training.process import fit_model
from producer.training.words import text_of
from unrolled.errors import JobError, OptionError, RequestError, UnrolledError
from unrolled.model.files import LOCK_FILE
from unrolled.store.lock import lock_file
from unrolled.training.plan import DIVERGED_FILE, SCRATCH, SEGMENT_WINDOWS, FitPlan
from unrolled.training.token_store import TokenStore

IDS = [[int(n) for n in np.random.default_rng(at).integers(1, 50, 3 + at % 5)] for at in range(400)]


def prepare(request, say):
    """Make the rows ready as a command does, in its directory."""
    plan = rows_of_a_corpus.inputs_of(request)
    with directory_held(request.out / SCRATCH):
        return rows_of_a_corpus.prepare(request, plan, say)


def sides(out, plan):
    found = []
    for name, count in (("train", plan.train), ("validation", plan.validation)):
        store = TokenStore(out / SCRATCH, name, plan.options.vocab_size)
        ids, bounds = store.read(range(store.blocks))
        assert (len(bounds) - 1, len(ids)) == (count.rows, count.tokens)
        found.append([tuple(ids[a:b].tolist()) for a, b in pairwise(bounds)])
    return found


def prepared(tmp_path, name, rows, field="tokens", **options):
    out = tmp_path / name
    plan = prepare(asked([write(tmp_path / f"{name}.jsonl", rows, field)], out, **options), lambda _: None)
    return plan, *sides(out, plan)


def test_the_split_is_by_content(tmp_path):
    """A row is always on the same side, and on one only, whatever the order, the duplicates and the other rows."""
    plan, train, held_out = prepared(tmp_path, "a", IDS)
    assert sorted(train + held_out) == sorted(map(tuple, IDS))
    assert 5 <= len(held_out) <= 45  # 20 of 400
    more = [[int(n) for n in np.random.default_rng(-at).integers(1, 50, 9)] for at in range(-99, 0)]
    _, train_too, held_out_too = prepared(tmp_path, "b", [*IDS[::-1], *IDS[:200], *more])
    assert set(train) <= set(train_too)
    assert set(held_out) <= set(held_out_too)
    assert not set(train_too) & set(held_out_too)
    same, *_ = prepared(tmp_path, "c", IDS)
    assert same.corpus == plan.corpus
    assert same.corpus["sha256"] != prepared(tmp_path, "d", IDS[::-1])[0].corpus["sha256"]


def test_text_gets_a_tokenizer_of_its_own_words(tmp_path):
    """The vocabulary is no larger than the corpus's, and a line says how much it covers."""
    said = []
    corpus = write(tmp_path / "c.jsonl", [f"word{at % 30} and word{at % 7}" for at in range(200)], "text")
    plan = prepare(asked([corpus], tmp_path / "out", vocab_size=100), said.append)
    assert plan.options.vocab_size == 31
    assert said == ["vocabulary: 31 of 31 words, 100 % of all 600 that occur"]
    assert (tmp_path / "out" / SCRATCH / "tokenizer.json").exists()
    said.clear()
    plan = prepare(asked([corpus], tmp_path / "with", vocab_size=100, oov="<other>"), said.append)
    assert (plan.options.vocab_size, said) == (32, ["vocabulary: 31 of 31 words, 100 % of all 600 that occur"])


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_equal_rows_change_the_share_that_is_held_out(tmp_path, share):
    """One text that occurs often takes all of its rows to one side; a line says what that makes of the share."""
    said = []
    for name, often in (("often", 1600), ("once", 1)):
        corpus = write(tmp_path / f"{name}.jsonl", [*IDS, *[IDS[0]] * often])
        prepare(asked([corpus], tmp_path / name, training={"validation_share": share}), said.append)
    (line,) = said
    held, rows, part = re.match(
        r"([\d,]+) of ([\d,]+) rows \(([\d.]+) %\), and [\d.]+ % of the tokens, ", line
    ).groups()
    assert rows == "2,000"
    assert float(part) == pytest.approx(int(held.replace(",", "")) / 20, abs=0.1)
    assert abs(float(part) / 100 - share) > share / 4
    assert "are held out, not 5" in line
    assert line.endswith("(--validation-share): equal rows are held out together")


def test_a_tokenizer_may_be_given(tmp_path):
    """The model's vocabulary ends at the tokenizer's largest id."""
    made = fit(["one two three two"], 10).tokenizer
    made.save(str(tmp_path / "t.json"))
    rows = [f"two three {'two ' * (at % 9)}" for at in range(200)]
    plan, train, held_out = prepared(
        tmp_path, "a", rows, "text", vocab_size=None, tokenizer=tmp_path / "t.json", training={"validation_share": 0.3}
    )
    assert plan.options.vocab_size == 3
    assert {row[:2] for row in train + held_out} == {(1, 3)}
    ids = [[1, 3, *[2] * (at % 9)] for at in range(200)]
    plan, train, _ = prepared(
        tmp_path, "ids", ids, vocab_size=None, tokenizer=tmp_path / "t.json", training={"validation_share": 0.3}
    )
    assert plan.options.vocab_size == 3
    assert set(train) <= set(map(tuple, ids))
    with pytest.raises(
        OptionError, match=r"^--vocab-size 2: the largest id of .*t\.json is 3; leave the option out, or"
    ):
        prepared(tmp_path, "b", rows, "text", vocab_size=2, tokenizer=tmp_path / "t.json")


def test_padding_bad_rows_and_rows_of_one_token(tmp_path):
    """Zeros are removed; bad rows and rows without targets are counted."""
    plan, train, held_out = prepared(tmp_path, "a", [*IDS, [7], [], [0, 8, 0], [99], [0, 48, 0, 49, 0], "text"])
    assert (48, 49) in train + held_out
    counts = {name: plan.corpus[name] for name in ("rows", "bad_rows", "rows_without_targets")}
    assert counts == {"rows": 404, "bad_rows": 2, "rows_without_targets": 3}
    assert plan.corpus["tokens"] == sum(map(len, IDS)) + 4


def test_rows_that_are_left_out_are_said(tmp_path):
    """Nothing is learnt from them, and people should know."""
    said = []
    for name, rows in (("a", [*IDS, [7], [], [0, 8, 0], [99], [3, 0, 4]]), ("b", IDS), ("c", [*IDS, [7]])):
        said.append([])
        prepare(asked([write(tmp_path / f"{name}.jsonl", rows)], tmp_path / name), said[-1].append)
    assert said == [
        [
            "3 rows have fewer than 2 tokens, and so nothing to predict; left out",
            (
                f"1 row can't be used; left out; first: row 403 of {tmp_path}/a.jsonl: token 99 at position 0 (from "
                "0); allowed: 0 (padding) and 1..50"
            ),
            ("1 row contains the padding id 0 between tokens; if 0 is a token of yours, see docs/token_ids.md"),
        ],
        [],
        ["1 row has fewer than 2 tokens, and so nothing to predict; left out"],
    ]


def test_long_rows_are_cut(tmp_path):
    """Each token but the first is still a target once."""
    long = [int(n) for n in np.random.default_rng(3).integers(1, 50, 100)]
    plan, train, held_out = prepared(tmp_path, "a", [*IDS, long], training={"max_length": 2})
    pieces = [row for row in train + held_out if row not in set(map(tuple, IDS))]
    size = SEGMENT_WINDOWS * plan.options.max_length
    assert [len(piece) for piece in pieces] == [size + 1, size + 1, size + 1, 100 - 3 * size]
    assert [token for piece in pieces for token in piece[1:]] == long[1:]


def test_a_tokenizer_for_other_texts_is_suspected(tmp_path):
    """Of the tokenizer that is given; of one that is made of the words, a word as the token for others is told."""
    letters = tmp_path / "letters.json"
    letters.write_text(text_of(fit(["a b c"], 9, "<unk>").tokenizer))
    corpus = write(
        tmp_path / "c.jsonl", [f"cat dog elk fox {' '.join(row)}" for row in product("abc", repeat=3)], "text"
    )
    said, share = [], {"validation_share": 0.3}
    prepare(asked([corpus], tmp_path / "out", vocab_size=None, tokenizer=letters, training=share), said.append)
    assert "57.1 % of the words are not in the model's vocabulary" in said
    assert any(line.startswith("that is most of them: is the model's tokenizer made for such texts?") for line in said)
    said.clear()
    prepare(asked([corpus], tmp_path / "other", oov="cat", training=share), said.append)
    assert [line for line in said if line.startswith("--oov")] == [
        "--oov cat: 27 words of the texts are this one, and so unknown; if a word is meant, give another --oov"
    ]


def test_what_was_made_ready_is_taken_as_it_is(tmp_path, monkeypatch):
    """The same command on the same files uses the prepared rows; another command is refused with what differs."""
    monkeypatch.chdir(tmp_path)
    corpus = write(tmp_path / "c.jsonl", IDS)
    request = asked([corpus], tmp_path / "out")
    plan = prepare(request, lambda _: None)
    before = (tmp_path / "out" / SCRATCH / "train.arrow").stat().st_mtime_ns
    for spelling in (corpus, "c.jsonl", "./c.jsonl", "*.jsonl"):
        assert prepare(asked([spelling], tmp_path / "out"), lambda _: None) == plan
    assert (tmp_path / "out" / SCRATCH / "train.arrow").stat().st_mtime_ns == before
    with pytest.raises(JobError, match=r"unfinished training with no --epochs \(this command has 3\); run"):
        prepare(asked([corpus], tmp_path / "out", training={"epochs": 3}), lambda _: None)
    other = write(tmp_path / "d.jsonl", IDS)
    with pytest.raises(JobError, match=r"training with other inputs \(c.jsonl; this command asks for d.jsonl\); run"):
        prepare(asked([other], tmp_path / "out"), lambda _: None)
    write(corpus, IDS[1:])
    with pytest.raises(
        JobError,
        match=r"with an input that has changed since; choose another --out, or remove",
    ):
        prepare(request, lambda _: None)


@pytest.mark.parametrize("field", ["tokens", "text"])
def test_inputs_that_only_look_changed_are_the_same_corpus(field, tmp_path):
    """Of another time, or another inode; of the same size, other rows are refused, and other words outside the rows."""
    made = IDS if field == "tokens" else [f"a{at % 7} {'b ' * (at % 50)}x{at:03}" for at in range(300)]
    corpus, said = write(tmp_path / "c.jsonl", made, field), []
    request = asked([corpus], tmp_path / "out", vocab_size=50 if field == "tokens" else 8)
    plan, content = prepare(request, said.append), corpus.read_bytes()
    stored, said[:] = (tmp_path / "out" / SCRATCH / "train.arrow").stat(), []
    os.utime(corpus, (1, 1))
    other = replace(request, training={**request.training, "learning_rate": 0.3})
    with pytest.raises(JobError, match=r"with (no )?--learning-rate") as caught:
        prepare(other, said.append)
    assert "changed" not in str(caught.value)  # which isn't known of another time alone
    resumed = prepare(request, said.append)
    assert replace(resumed, request=plan.request) == plan
    assert said == ["inputs have another time than when this training began, and the same rows: it resumes"]
    assert prepare(request, said.append) == resumed
    corpus.unlink()
    corpus.write_bytes(content)
    prepare(request, said.append)
    assert len(said) == 2
    assert (tmp_path / "out" / SCRATCH / "train.arrow").stat() == stored
    changed = re.sub(rb"x\d+", b"x000", content) if field == "text" else content.replace(b"7", b"8")
    assert len(changed) == len(content)
    corpus.write_bytes(changed)
    with pytest.raises(JobError, match="with an input that has changed since; choose another --out, or remove"):
        prepare(request, said.append)


def test_another_training_takes_the_place_of_one_that_diverged(tmp_path):
    """As the error of the divergence advises; the same command goes on with it, and a refused one removes nothing."""
    corpus, scratch, said = write(tmp_path / "c.jsonl", IDS), tmp_path / "out" / SCRATCH, []
    steep, flat = (asked([corpus], tmp_path / "out", training={"learning_rate": rate}) for rate in (1e30, 0.01))
    plan = prepare(steep, said.append)
    (scratch / "checkpoint.safetensors").touch()
    (scratch / DIVERGED_FILE).touch()
    assert prepare(steep, said.append) == plan
    with pytest.raises(RequestError, match="--learning-rate is 0"):
        prepare(asked([corpus], tmp_path / "out", training={"learning_rate": 0.0}), said.append)
    assert (said, (scratch / "checkpoint.safetensors").exists()) == ([], True)
    assert prepare(flat, said.append).options.learning_rate == 0.01
    assert [line.partition(": ")[2] for line in said] == [
        "the unfinished training there diverged; it is removed, and this one starts from the beginning"
    ]
    assert not (scratch / "checkpoint.safetensors").exists()
    assert not (scratch / DIVERGED_FILE).exists()


@pytest.mark.parametrize(
    ("rows", "options", "text"),
    [
        (
            IDS,
            {"vocab_size": None},
            "no input's first row has the text field text; name the field with --text-field, give --kind text if",
        ),
        ([], {"vocab_size": None}, r"the corpus has no rows: .*a\.jsonl"),
        (
            IDS,
            {"vocab_size": None, "source": SourceOptions(kind="tokens")},
            "--kind tokens reads token ids, and the largest one isn't known; give it with --vocab-size",
        ),
        ([[1, 2], [99], [99]], {}, r"2 of 3 rows can't be used; first: row 1 of .*token 99 at.*such as --vocab-size"),
        (
            [["ab"], ["cd"]],
            {},
            r"2 of 2 rows can't be used; first: row 0 of .*not an integer.*give --kind text, and lists",
        ),
        (
            [[1.5], [2.5]],
            {},
            r"2 of 2 rows can't be used; .*not an integer.*Write ids as integers, or leave these rows",
        ),
        ([[1, 2]], {}, "there is no row to hold out: the corpus has 1 row, and only those of 2 tokens or more count"),
        ([[1]] * 9, {}, "there is no row to learn from"),
        (IDS, {"training": {"epochs": 0}}, "--epochs is 0"),
        (
            IDS,
            {"oov": "<OOV>"},
            "--oov is for a tokenizer made of the corpus's words, and the rows are token ids; leave",
        ),
        (IDS, {"tokenizer": "none.json", "oov": "<OOV>"}, "--oov is for a .*, and --tokenizer gives one; leave --oov"),
        (IDS, {"tokenizer": "none.json"}, "--tokenizer none.json: can't be read"),
    ],
)
def test_what_makes_no_training(tmp_path, rows, options, text):
    """The error is raised before anything is trained, and the directory isn't left there."""
    from pathlib import Path  # noqa: PLC0415

    if "tokenizer" in options:
        options = options | {"tokenizer": Path(options["tokenizer"])}
    with pytest.raises(RequestError, match=text):
        prepared(tmp_path, "a", rows, **options)
    assert not (tmp_path / "a").exists()


def test_one_command_at_a_time_makes_the_rows(tmp_path, monkeypatch):
    """A second one waits for a moment, and leaves what another makes alone."""
    corpus = write(tmp_path / "a.jsonl", IDS)
    out, scratch = tmp_path / "out", tmp_path / "out" / SCRATCH
    scratch.mkdir(parents=True)
    (scratch / "train.arrow").write_bytes(b"half of it")
    monkeypatch.setattr(place, "LOCK_SECONDS", 0.0)
    with lock_file(scratch / "lock"), pytest.raises(JobError, match="out: another training is running there; wait for"):
        prepare(asked([corpus], out), lambda _: None)
    assert (scratch / "train.arrow").read_bytes() == b"half of it"


def test_rows_that_another_command_makes_meanwhile_are_taken(tmp_path):
    """The second one waits while the first makes them, and doesn't make them again."""
    corpus = write(tmp_path / "a.jsonl", IDS)
    scratch = tmp_path / "out" / SCRATCH
    made = prepare(asked([corpus], tmp_path / "first"), lambda _: None)
    scratch.mkdir(parents=True)
    with ThreadPoolExecutor(1) as threads:
        with lock_file(scratch / "lock"):
            second = threads.submit(prepare, asked([corpus], tmp_path / "out"), lambda _: None)
            eventually(lambda: is_open(scratch / "lock", 2), "the second command at the lock")
            for path in (tmp_path / "first" / SCRATCH).iterdir():
                shutil.copy(path, scratch)
            (scratch / "train.arrow").write_bytes(b"as it was made")
        assert second.result() == made
    assert (scratch / "train.arrow").read_bytes() == b"as it was made"


def test_rows_of_another_command_are_not_removed(tmp_path, monkeypatch):
    """Two trainings begin at once in a directory that neither has seen: the second is refused, and no more."""
    corpus = write(tmp_path / "a.jsonl", IDS)
    scratch = tmp_path / "out" / SCRATCH
    made = prepare(asked([corpus], tmp_path / "first"), lambda _: None)

    def lock_later(path, seconds):
        shutil.copytree(tmp_path / "first" / SCRATCH, path.parent, dirs_exist_ok=True)  # the first one was faster
        return lock_file(path, seconds)

    monkeypatch.setattr(place, "lock_file", lock_later)
    with pytest.raises(JobError, match="contains an unfinished training"):
        prepare(asked([corpus], tmp_path / "out", training={"epochs": 3}), lambda _: None)
    assert FitPlan.read(scratch) == made


def test_a_directory_that_another_command_removes_is_made_again(tmp_path):
    """The first command's input was refused, so that its directory is gone while the second waits for the lock."""
    corpus = write(tmp_path / "a.jsonl", IDS)
    scratch = tmp_path / "out" / SCRATCH
    scratch.mkdir(parents=True)
    with ThreadPoolExecutor(1) as threads:
        with lock_file(scratch / "lock"):
            second = threads.submit(prepare, asked([corpus], tmp_path / "out"), lambda _: None)
            eventually(lambda: is_open(scratch / "lock", 2), "the second command at the lock")
            shutil.rmtree(tmp_path / "out")
        assert second.result() == FitPlan.read(scratch)


def test_what_a_killed_command_left_is_no_part_of_a_new_training(tmp_path):
    """Neither a checkpoint, which would be resumed, nor the sign of one that diverged, which may be replaced."""
    corpus = write(tmp_path / "a.jsonl", IDS)
    scratch = tmp_path / "out" / SCRATCH
    scratch.mkdir(parents=True)
    for name in (LOCK_FILE, "checkpoint.safetensors", "best-1.safetensors", DIVERGED_FILE):
        (scratch / name).write_bytes(b"of another training")
    prepare(asked([corpus], tmp_path / "out"), lambda _: None)
    assert {path.name for path in scratch.iterdir()} == {"lock", "plan.json", "train.arrow", "validation.arrow"}


def test_without_locks_nothing_is_left(tmp_path, monkeypatch):
    """A file system without locks is refused."""
    monkeypatch.setattr(place, "lock_file", no_locks)
    with pytest.raises(JobError, match=r"can't be locked \(No locks available\); choose another --out"):
        prepare(asked([write(tmp_path / "a.jsonl", IDS)], tmp_path / "out" / "deep"), lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def no_locks(path, _):
    path.touch()
    raise OSError(errno.ENOLCK, "No locks available")


def test_a_pipe_is_refused(tmp_path):
    """A pipe can be read only once."""
    with pytest.raises(RequestError, match="a pipe can be read once: give files"):
        prepare(asked(["-"], tmp_path / "out"), lambda _: None)


def test_reading_a_corpus_shows_how_far_it_is(tmp_path, monkeypatch, capsys):
    """Once for the vocabulary, and once for the token ids."""
    monkeypatch.setattr(progress, "PLAIN_EVERY_SECONDS", 0)
    corpus = write(tmp_path / "c.jsonl", [f"word{at % 30} and word{at % 7}" for at in range(200)], "text")
    prepare(asked([corpus], tmp_path / "out", vocab_size=100), lambda _: None)
    size = f"{corpus.stat().st_size:,}"
    ends = [line for line in capsys.readouterr().err.splitlines() if "(100 %)" in line]
    assert ends == [f"{what}: {size} of {size} bytes (100 %)" for what in ("counting words", "tokenizing")]


def test_the_trainings_own_error_is_shown_as_the_commands(tmp_path):
    """The other process reports why it can't train, and its rows stay for someone who looks."""
    request = asked([write(tmp_path / "a.jsonl", IDS)], tmp_path / "a")
    prepare(request, lambda _: None)
    [rows] = (tmp_path / "a" / SCRATCH).glob("train*")
    rows.write_bytes(rows.read_bytes()[:100])
    with pytest.raises(UnrolledError, match=f"{re.escape(str(rows))}: can't be read .*remove .* and fit again"):
        fit_model(request, "cpu", None, lambda _: None)
    assert rows.exists()
