"""The sections of a page: each takes facts and gives HTML that can be read without a script."""

# Over 150 lines: the page's words and tables, section by section.

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from producer.report.facts import ALMOST_ALL
from producer.report.lengths import BATCH_ROWS
from producer.report.page.markup import (
    Column,
    Mark,
    columns_chart,
    number,
    quoted,
    share,
    size,
    strip,
    table,
    text,
    took,
)
from producer.report.throughput import SHORTEST_PAUSE, STAGES
from producer.terminal.text import duration, figure
from unrolled.errors import counted
from unrolled.format.columns import POOLINGS

if TYPE_CHECKING:
    from producer.report.facts import Facts
    from producer.report.throughput import Timeline, WorkerTime

#: Workers that have a line of their own.
_MOST_WORKERS = 24
#: A larger share of the tokens than this isn't explained by the rounding of records.
_ALL_BUT_ROUNDING = 1.005
#: Pauses up to which each is marked in the chart; the labels of more would meet.
_MOST_MARKS = 3
_STATES = {"complete": "", "not complete": "open"}


def title_of(facts: Facts) -> str:
    """The page's title, as text: the job's inputs."""
    first, count = facts.inputs.first, facts.inputs.count
    shown = [name.rstrip("/").rpartition("/")[2] or name for name in first[:2]]
    more = f" and {count - len(shown):,} more" if count > len(shown) else ""
    return f"{', '.join(shown)}{more}" if shown else "no input"


def heading(facts: Facts) -> str:
    """Title, one paragraph, and the figures that matter most."""
    bad = facts.refused + facts.failed
    figures = [
        ("rows", number(facts.rows_published)),
        ("tokens", number(facts.tokens_published)),
        ("in files" if facts.parts != 1 else "in one file", _with_unit(size(facts.size_bytes))),
    ]
    if facts.time:
        figures.append(("tokens a second", figure(facts.time.tokens / max(facts.time.seconds, 1e-9))))
    figures.append(("rows in quarantine", f'<span class="{"warn" if bad else ""}">{number(bad)}</span>'))
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures)
    shown = f"{facts.state}, but damaged" if facts.damaged else facts.state
    state = f'<b class="{_STATES.get(shown, "bad")}">{shown}</b>'
    return (
        f'<p class="kicker">Unrolled report · job {text(facts.key)} · {state}</p>'
        f"<h1>{quoted(title_of(facts))}</h1>"
        f'<p class="lead">{_lead(facts)}</p>'
        f'<dl class="figures">{cells}</dl>'
    )


def _with_unit(value: str) -> str:
    amount, _, unit = value.partition(" ")
    return f"{amount} <small>{unit}</small>"


def _lead(facts: Facts) -> str:
    vectors = "No vector yet"
    if facts.columns:
        per_token = any(column.per_token for column in facts.columns)
        per_row = any(not column.per_token for column in facts.columns)
        each = "every token and every row" if per_token and per_row else "every token" if per_token else "every row"
        if facts.positions:
            each = f"the tokens at positions {text(facts.positions)}"
        # Of each layer and each pooling there is one, and layers may have different widths.
        widths = list(dict.fromkeys(f"{column.width:,}" for column in facts.columns))
        several = "A vector" if len(facts.columns) == 1 else "Vectors"
        vectors = f"{several} of {' and '.join(widths)} numbers for {each}"
    model = facts.model.describe_layers() if facts.model else f"the model {facts.job.fingerprint[:12]}"
    how = f"{facts.job.engine} engine, {facts.job.arithmetic}"
    how_long = ""
    if facts.time:
        workers = counted(len(facts.time.workers), "worker")
        covered = facts.recorded_share
        it = "it" if covered >= ALMOST_ALL else f"{share(covered, 1)} of it"
        how_long = f" {workers} computed {it} in {took(facts.time.seconds)}{_paused(facts.time)}."
    left = facts.shards - facts.parts - facts.dead
    if facts.state == "complete":
        end = "Every shard is published."
        if facts.damaged:
            end = f"Every shard is published, but {counted(len(facts.damaged), 'part')} can't be read."
    else:
        are = "is" if 1 in (facts.parts, facts.shards) else "are"
        shards = [f"{facts.parts:,} of {counted(facts.shards, 'shard')} {are} published"]
        if facts.dead:
            shards.append(counted(facts.dead, "is dead", "are dead"))
        if left and facts.state == "cancelled":
            shards.append(counted(left, "was cancelled", "were cancelled"))
        elif left:
            shards.append(counted(left, "waits", "wait"))
        end = ", ".join(shards)
        end += "." if facts.ended else ", and the input isn't at its end."
    return f"{vectors}, from {text(model)} ({text(how)}).{how_long} {end}"


def _paused(found: Timeline) -> str:
    """The pauses, which aren't in the time before; empty if there are none."""
    if not found.pauses:
        return ""
    in_all = took(sum(pause.seconds for pause in found.pauses))
    if len(found.pauses) == 1:
        return f" (a pause of {in_all} isn't counted)"
    return f" ({len(found.pauses):,} pauses of {in_all} in all aren't counted)"


def lengths(facts: Facts) -> str:
    """The histogram of lengths, and what other ways of computing the rows would have cost."""
    found = facts.lengths
    if not found.rows:
        return ""
    bars, longer = found.histogram()
    top = max(bar.rows for bar in bars)
    end = bars[-1].last + 1
    columns = [
        Column(
            bar.first / end,
            (bar.last + 1) / end,
            bar.rows / _top(top),
            f"{_range(bar.first, bar.last)}: {counted(bar.rows, 'row')}",
        )
        for bar in bars
    ]
    up = [Mark(value / _top(top), figure(value)) for value in _steps(top)]
    across = [Mark((value + 0.5) / end, f"{value:,.0f}") for value in _steps(end - 1, 6)]
    median, most = found.quantile(0.5), found.quantile(0.95)
    marks = [Mark((median + 0.5) / end, f"half ≤ {median:,}")]
    if (most - median) / end > 0.18:  # noqa: PLR2004 - labels must not meet
        marks.append(Mark((most + 0.5) / end, f"95 % ≤ {most:,}"))
    label = f"Histogram of row lengths: half of the rows have up to {counted(median, 'token')}, 95 % up to {most:,}."
    tail = f" {counted(longer, 'longer row')} left out, the longest of {found.longest:,}." if longer else ""
    chart = columns_chart(columns, across, up, marks, label)
    mean = f"mean {found.tokens / found.rows:.1f}, longest {found.longest:,}"
    caption = f'<p class="caption">Rows by their number of tokens; {mean}.{tail}</p>'
    return _section(
        "Lengths",
        f"Rows of unequal length are what padding wastes time on.{' No padding was computed here.' * _is_exact(facts)}",
        chart + caption + _steps_table(facts),
    )


def _is_exact(facts: Facts) -> bool:
    """Whether no padding is computed: the fused engine pads nothing, unless the model's vectors depend on padding."""
    return facts.job.offer.engine == "fused" and facts.model is not None and facts.model.padding is None


def _steps_table(facts: Facts) -> str:
    found = facts.lengths
    ways = [("real tokens", found.tokens, "one")]
    covered = facts.recorded_share
    # The steps of rows that failed, or that were computed several times, aren't counted apart.
    if facts.time and 0 < covered <= _ALL_BUT_ROUNDING:
        name = "computed here" if covered >= ALMOST_ALL else f"computed here, by {share(covered, 1)} of the tokens"
        ways.append((name, round(found.tokens * facts.time.computed_share), "one"))
    ways += [
        (f"batches of {BATCH_ROWS}, rows sorted by length", found.padded_sorted, "other"),
        (f"batches of {BATCH_ROWS}, rows in their order", found.padded_in_order, "other"),
        ("all rows as long as the longest", found.padded_whole, "other"),
    ]
    most = max(steps for _, steps, _ in ways) or 1
    rows = [
        (
            text(name),
            number(steps),
            share(steps, found.tokens),
            strip([(kind, steps / most)], f"{share(steps, most)} of the largest"),
        )
        for name, steps, kind in ways
    ]
    return (
        "<h3>Steps of the recurrent layers, and what padding would have cost</h3>"
        + table(("", "steps", "of the tokens", ""), rows, (1, 2), "steps")
        + (_saved(facts.time, covered) if facts.time and facts.time.tokens else "")
    )


def _saved(found: Timeline, covered: float) -> str:
    """How many steps were saved; `covered` are the recorded tokens over the published ones."""
    if found.computed_share < 1:
        those = "the tokens"
        if covered > _ALL_BUT_ROUNDING:
            those = f"{counted(found.tokens, 'token')}, those of failed and repeated rows included,"
        return (
            f'<p class="caption">Rows that begin alike share the states of their beginning: '
            f"{share(1 - found.computed_share, 1)} of {those} needed no computation.</p>"
        )
    if found.computed_share > 1:
        return (
            '<p class="caption">More steps than tokens: the TensorFlow engine pads its batches, and some models '
            "compute padding.</p>"
        )
    return ""


def time(facts: Facts) -> str:
    """Tokens over time, and each worker's seconds."""
    found = facts.time
    if found is None:
        body = (
            '<p class="quiet">No worker has recorded its time for this job. Workers write a record now and then, and '
            "when they stop.</p>"
        )
        return _section("Time", "", body)
    top = max(found.rates)
    columns = [
        Column(
            number * found.width / found.seconds,
            min(1.0, (number + 1) * found.width / found.seconds),
            rate / _top(top),
            f"after {duration(number * found.width)} of work: {figure(rate)} tokens/s",
        )
        for number, rate in enumerate(found.rates)
    ]
    up = [Mark(value / _top(top), figure(value)) for value in _steps(top)]
    across = [Mark(value / found.seconds, _clock(value)) for value in _time_steps(found.seconds)]
    marks = (
        [Mark(pause.after / found.seconds, f"pause of {took(pause.seconds)}") for pause in found.pauses]
        if len(found.pauses) <= _MOST_MARKS
        else []
    )
    label = f"Tokens a second over {took(found.seconds)} of work, at most {figure(top)}."
    return _section(
        "Time",
        "Reading, computing and writing overlap: the engine computes one pool of shards while other threads read and "
        "write.",
        columns_chart(columns, across, up, marks, label)
        + f'<p class="caption">{_time_note(facts, found)}</p>'
        + _workers(found),
    )


def _time_note(facts: Facts, found: Timeline) -> str:
    """What is below the chart of the time."""
    began = datetime.fromtimestamp(found.began, UTC)
    covered = facts.recorded_share
    note = f"Tokens a second, all workers together, from {began:%-d %B %Y, %H:%M} UTC."
    if found.pauses:
        note += (
            f" Times without work of more than {SHORTEST_PAUSE:.0f} s, as between two commands, are cut out:"
            f" {counted(len(found.pauses), 'pause')}, {took(sum(pause.seconds for pause in found.pauses))} in all."
        )
    if covered < ALMOST_ALL:
        why = "a worker writes its last when it has nothing more to publish, and loses it if it is killed"
        if facts.state == "not complete":
            why = "workers write them now and then"
        note += f" The records cover {share(covered, 1)} of the published tokens: {why}."
    # Of parts that are missing or can't be read, the tokens aren't counted as published.
    if covered > _ALL_BUT_ROUNDING and facts.parts == facts.shards and not facts.damaged:
        note += (
            f" The workers computed {counted(found.tokens - facts.tokens_published, 'token')} more than are published:"
            " rows that failed count, and so does each time that a shard was computed."
        )
    return note


def _workers(found: Timeline) -> str:
    rows = [_worker_row(worker) for worker in found.workers[:_MOST_WORKERS]]
    more = ""
    if (left := len(found.workers) - len(rows)) > 0:
        tokens = sum(worker.tokens for worker in found.workers[_MOST_WORKERS:])
        more = f'<p class="caption">{counted(left, "more worker")} with {counted(tokens, "token")}.</p>'
    meanings = {
        "read": "reading and checking rows",
        "wait": "waiting for memory, for the engine, or while a shard was computed alone",
        "compute": "computing",
        "write": "encoding and writing parts",
    }
    key = "".join(f'<li><i class="{stage}"></i>{meanings[stage]}</li>' for stage in STAGES)
    engines = sorted({worker.engine for worker in found.workers if worker.engine})
    which = "".join(f'<p class="caption">{quoted(engine)}</p>' for engine in engines[:3])
    return (
        "<h3>Workers, and what the time of their shards went into</h3>"
        + table(
            ("worker", "at work", "tokens", "tokens/s", "engine busy", "computed", "share of stages"),
            rows, (1, 2, 3, 4, 5), "workers",
        )
        + f'<ul class="key">{key}</ul>{more}{which}'
    )  # fmt: skip


def _worker_row(worker: WorkerTime) -> tuple[str, ...]:
    spent = sum(worker.seconds.values()) or 1.0
    words = ", ".join(f"{stage} {share(worker.seconds[stage], spent)}" for stage in STAGES)
    span = max(worker.at_work, 1e-9)
    return (
        f'<span class="name">{quoted(worker.name)}</span>',
        took(span),
        number(worker.tokens),
        figure(worker.tokens / span),
        f"{100 * worker.busy_share:.0f} %",
        share(worker.computed, worker.tokens),
        strip([(stage, worker.seconds[stage] / spent) for stage in STAGES], words),
    )


def trouble(facts: Facts) -> str:
    """Retries, dead shards and the quarantine; one sentence where there is nothing."""
    pieces = []
    facts_of = [
        (facts.dead, f"{counted(facts.dead, 'dead shard')}; `unrolled status` says what helps."),
        (facts.unseen, f"{counted(facts.unseen, 'shard')} without a part or rows; `unrolled verify` says more."),
        (facts.retried_shards, f"{counted(facts.retried_shards, 'dead shard')} queued again."),
        (facts.retried_rows, f"{counted(facts.retried_rows, 'failed row')} queued again."),
        (len(facts.damaged), f"{counted(len(facts.damaged), 'part')} can't be read; `unrolled verify` says more."),
    ]
    told = [_with_code(sentence) for count, sentence in facts_of if count]
    if told:
        pieces.append("".join(f"<p>{sentence}</p>" for sentence in told))
    if facts.deaths:
        rows = [(f"<code>{text(shard)}</code>", quoted(reason)) for shard, reason in facts.deaths]
        pieces.append(table(("dead shard", "reason"), rows))
    if facts.damaged:
        pieces.append(table(("damaged part",), [(quoted(each),) for each in facts.damaged]))
    if facts.reasons:
        rows = []
        for reason in facts.reasons[:40]:
            samples = "".join(f"<li>{_sample(row)}</li>" for row in reason.samples)
            rows.append((number(reason.rows), f'{quoted(reason.text)}<ul class="samples">{samples}</ul>'))
        pieces.append("<h3>Quarantine, by reason</h3>" + table(("rows", "reason, and the first rows"), rows, (0,)))
        left = sum(reason.rows for reason in facts.reasons[40:]) + facts.other_reasons
        if left:
            pieces.append(f'<p class="caption">{counted(left, "more row")} for other reasons.</p>')
        pieces.append(_with_code('<p class="caption">`unrolled quarantine` lists every row.</p>'))
    if not pieces:
        pieces.append("<p>No row is in quarantine, no shard is dead, and nothing was retried.</p>")
    return _section("Trouble", "Rows that can't be read or computed, and shards that were given up.", "".join(pieces))


def _sample(row: object) -> str:
    where = (
        f"shard {text(row.shard)}, row {number(row.row)}"  # type: ignore[attr-defined]
        if row.file is None  # type: ignore[attr-defined]
        else f"{quoted(row.file)}, row {number(row.position)}"  # type: ignore[attr-defined]
    )
    named = "" if row.id is None else f", id {quoted(row.id, 120)}"  # type: ignore[attr-defined]
    return where + named


def provenance(facts: Facts) -> str:
    """Which model, inputs and options gave these vectors."""
    job, options = facts.job, facts.job.options
    pooling = [name for name in POOLINGS if name in options.get("pooling", ())]
    rows = [
        ("model", f'<span class="hash">{text(job.fingerprint)}</span>'),
        ("engine", f"{text(job.engine)}, computing in {text(job.arithmetic)}"),
        ("inputs", "<br>".join(quoted(name) for name in facts.inputs.first) + _more_inputs(facts)),
        (
            "columns",
            ", ".join(f"<code>{text(column.name)}</code> of {column.width:,}" for column in facts.columns)
            or "none yet",
        ),
        ("stored as", text(facts.precision or options.get("precision", ""))),
        ("pooling", text(", ".join(pooling))),
        ("token ids", "stored" if options.get("with_tokens") is True else "not stored"),
        ("shards", f"{facts.shards:,}{_up_to(options.get('shard_tokens'))}"),
        ("job", text(facts.key)),
        ("job's identity, in each part", f'<span class="hash">{text(job.id)}</span>'),
    ]
    if facts.model:
        rows.insert(1, ("layers", text(facts.model.describe_layers())))
        words = "" if facts.model.vector_dim else f"; a vocabulary of {facts.model.vocab_size:,}"
        rows.insert(2, ("parameters", f"{facts.model.parameters:,}{words}"))
    body = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in rows)
    return _section(
        "Provenance",
        "The same rows, model and options give the same vectors, bit for bit with the fused engine.",
        f'<div class="scroll"><table class="facts"><tbody>{body}</tbody></table></div>',
    )


def _more_inputs(facts: Facts) -> str:
    left = facts.inputs.count - len(facts.inputs.first)
    return f"<br>and {left:,} more" if left > 0 else ""


def _up_to(tokens: object) -> str:
    return f", of up to {counted(tokens, 'token')}" if isinstance(tokens, int) else ""


def _section(title: str, about: str, body: str) -> str:
    return f"<section><header><h2>{text(title)}</h2><p>{text(about)}</p></header><div>{body}</div></section>"


def _with_code(sentence: str) -> str:
    pieces = sentence.split("`")
    return "".join(f"<code>{piece}</code>" if at % 2 else piece for at, piece in enumerate(pieces))


def _range(first: int, last: int) -> str:
    return counted(first, "token") if first == last else f"{first:,} to {last:,} tokens"


def _steps(most: float, count: int = 4) -> list[float]:
    """Round numbers from 0 to at least `most`'s last whole step, about `count` of them."""
    if most <= 0:
        return [0]
    power: float = 10.0 ** (len(str(int(most))) - 1)
    for step in (power / 10, power / 5, power / 4, power / 2, power, 2 * power, 5 * power):
        if most / step <= count and (step >= 1 or most < 1):
            return [step * each for each in range(int(most / step) + 1)]
    return [0, most]


def _top(most: float) -> float:
    """The value at the top of a chart: a little more than its highest bar."""
    return most * 1.04 if most else 1.0


_TIME_STEPS = (
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14400,
    21600,
    43200,
    86400,
    172800,
    604800,
)
_MOST_TIMES = 6


def _time_steps(seconds: float) -> list[float]:
    step = next((each for each in _TIME_STEPS if seconds / each <= _MOST_TIMES), _TIME_STEPS[-1])
    return [step * number for number in range(int(seconds / step) + 1)]


def _clock(seconds: float) -> str:
    """A time since the start: 0, 40 s, 3:20, 2:05 h, 3 d 4 h."""
    whole = round(seconds)
    if whole == 0:
        return "0"
    if whole < 120:  # noqa: PLR2004 - seconds are clearer up to here
        return f"{whole} s"
    if whole < 3600:  # noqa: PLR2004 - an hour
        return f"{whole // 60}:{whole % 60:02d} min"
    if whole < 48 * 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
