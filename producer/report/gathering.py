"""Reads a job for its report: each part once, and again only what is new."""

# Over 150 lines: one object that is read further with each look, and what it has counted.

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from producer.jobs.damage import explain_damage
from producer.jobs.quarantine_lists import BadRowListed, refused_rows
from producer.jobs.tally import Tally
from producer.plan.beside import beside, planned_job, read_plan
from producer.report.facts import ALMOST_ALL, Facts, Shown
from producer.report.lengths import Lengths
from producer.report.states.map_states import MapStates
from producer.report.states.projection import COMPONENTS, check_method
from producer.report.states.row_files import RowFiles
from producer.report.states.state_map import make_map
from producer.report.states.texts import Words
from producer.report.states.user_table import check_table
from producer.report.throughput import timeline
from producer.report.training import read_training
from producer.report.trouble import Reasons
from unrolled.errors import FileFormatError, JobError, OptionError, TransientError, printable
from unrolled.job import names
from unrolled.job.names import dead_object, part_object
from unrolled.job.time_record import TimeRecord
from unrolled.model.directory import open_model
from unrolled.protocol.discarded import refuse_discarded
from unrolled.protocol.log import Log, read_entries
from unrolled.reading.arrays import numbers
from unrolled.reading.part_file import Part
from unrolled.reading.tables import record_batches
from unrolled.tokenization.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from producer.plan.beside import Beside
    from producer.report.options import ReportOptions
    from producer.report.states.state_map import StateMap
    from producer.report.training import Training
    from unrolled.job.shard_id import ShardId
    from unrolled.model.config import ModelConfig
    from unrolled.protocol.opening import OpenJob

#: Dead shards whose reasons are shown, and damaged parts that are named.
FEW = 20
_REASON_CHARACTERS = 300


class Gathering:
    """A job as far as it was read.

    Args:
        job: the job.
        options: what the report shows.

    Attributes:
        spoilt: whether a part was left in the middle, because its store failed: begin again with another one.

    Raises:
        UnrolledError: an option can't be used with this job.
    """

    def __init__(self, job: OpenJob, options: ReportOptions) -> None:
        check_method(options.method)
        self.spoilt = False
        self._job, self._options = job, options
        self._tally = Tally(Log(), job.objects, live=job.job.live)
        self._read: set[ShardId] = set()
        self._logged = 0
        self._files: list[str] = []
        self._first: Part | None = None
        self._size_bytes = self._rows = 0
        self._lengths = Lengths()
        self._reasons = Reasons()
        self._failed: dict[ShardId, list[BadRowListed]] = {}
        self._damaged: list[str] = []
        self._records: dict[str, TimeRecord | None] = {}
        self._states: MapStates | None = None
        self._model: ModelConfig | None = None
        self._training: Training | None = None
        self._words = Words(None)
        if options.model is not None:
            self._open_model()
        self._table_fields = (
            []
            if options.table is None
            else check_table(options.table, options.id_field, options.text_field, options.label_field)
        )
        self._plan = None if options.plan is None else read_plan(options.plan)
        if self._plan is not None and self._plan["model"] != job.job.fingerprint:
            raise OptionError(f"--plan {options.plan} is the plan of a job with another model; name this job's plan")

    def look(self, each: Callable[[int], object] = lambda _: None) -> None:
        """Read what is new.

        Args:
            each: called with the tokens of each part that was read.

        Raises:
            JobError: the log is damaged.
            OptionError: the job has no such column.
            TransientError: the store can't be read now.
        """
        self._tally.look()
        entries = self._tally.log.entries
        while self._logged < len(entries):
            self._logged += 1
            try:
                for row in refused_rows(self._job, entries.at(self._logged - 1)):
                    self._reasons.add(row)
            except FileFormatError as error:
                self._damaged.append(printable(str(error)))
        self._read_times()
        for shard in sorted(self._tally.published - self._read):
            self._read.add(shard)
            try:
                each(self._read_part(shard))
            except FileFormatError as error:
                found = explain_damage(self._job, self._tally.log, shard, str(error))
                self._damaged.append(printable(found))
            except TransientError:
                self.spoilt = True
                raise

    def _read_times(self) -> None:
        objects = self._job.objects
        for name in sorted(objects.list(names.TIMES)):
            if name not in self._records and (content := objects.read(name)) is not None:
                try:
                    self._records[name] = TimeRecord.decode(name, content)
                except JobError:
                    self._records[name] = None  # a report without it is as true

    def shown(self, state_map: StateMap | None = None) -> Shown:
        """Everything that was read, as a page shows it.

        Args:
            state_map: an earlier map, which is shown again; None to make one.
        """
        found = self._with_map() if state_map is None else Shown(self.facts(), state_map)
        plan = self._beside_plan(found.facts)
        return replace(found, plan=plan, plan_note=self._plan_note() if plan else "")

    def _plan_note(self) -> str:
        """What differs between the job and the one that was planned, as a sentence; empty if nothing does."""
        job = replace(self._job.job, inputs=self._tally.log.grown_to or self._job.job.inputs)
        planned = planned_job(self._plan or {})
        apart = job.differences(planned, "the plan has") if planned else ""
        return f"The plan may be another job's: this job has {apart}." if apart else ""

    def _beside_plan(self, facts: Facts) -> tuple[Beside, ...]:
        """The plan's figures beside the facts, once these are final."""
        if self._plan is None or not self._tally.finished:
            return ()
        known: dict[str, float] = {
            "rows": facts.rows - facts.refused,
            "tokens": facts.tokens,
            "bytes": facts.size_bytes,
        }
        if facts.time is not None and facts.recorded_share >= ALMOST_ALL:
            known["seconds"] = facts.time.seconds
        return tuple(beside(self._plan, known))

    def _with_map(self) -> Shown:
        options, seen = self._options, self.vectors
        if options.method == "none":
            return Shown(self.facts(), None, "This report was made without a map (--map none).")
        if self._states is None or seen == 0:
            return Shown(facts := self.facts(), None, _why_no_vector(facts))
        components = self._states.covariance.components(2 if options.method == "pca" else COMPONENTS)
        points = self._states.sample.points()
        log = self._tally.log
        self._files += [entry.file for entry in read_entries(log, self._job.objects, since=len(self._files))]
        of_shards = {shard: self._file_of_all(log, shard.index) for shard in set(points.shards)}
        files = RowFiles(log.grown_to or self._job.job.inputs, self._files, of_shards)
        found = make_map(points, components, seen, self._states.column, options, self._words, files, self._table_fields)
        return Shown(self.facts(), found)

    def _file_of_all(self, log: Log, index: int) -> str:
        """The input that all rows of a shard of the input come from; "" if they may come from several.

        The log names the input of a shard's first row. All are from there if the next shard begins there too.
        """
        here, *after = (self._files[log.entries.number(shard) or 0] for shard in log.inputs[index : index + 2])
        is_only = self._job.job.live or (log.grown_to or self._job.job.inputs).count == 1
        return here if is_only or after == [here] else ""

    def _open_model(self) -> None:
        assert self._options.model is not None  # noqa: S101 - the caller has checked
        model = open_model(self._options.model)
        if model.fingerprint != self._job.job.fingerprint:
            raise OptionError(
                f"--model {self._options.model} has the fingerprint {model.fingerprint[:16]}…, the job's model "
                f"{self._job.job.fingerprint[:16]}…; name the model that the job was made with"
            )
        self._model = model.config
        self._training = read_training(model.path, model.fingerprint)
        if model.tokenizer_path is not None:
            self._words = Words(load_tokenizer(model.tokenizer_path, model.config.vocab_size))

    def _read_part(self, shard: ShardId) -> int:
        """Count a part, and keep what the map needs of it; gives its real tokens."""
        part = Part(self._job.objects.store, part_object(shard), self._first)
        if self._first is None:
            self._first = part
            self._states = None if self._options.method == "none" else MapStates(part, self._options)
        # Of a part that turns out to be damaged, what was read before doesn't count.
        states = self._states.copy() if self._states else None
        lengths, at = [], 0
        with np.errstate(invalid="ignore", over="ignore"):  # means of infinite numbers, which are then left out
            for rows in record_batches([part], states.columns if states else ["length"]):
                lengths.append(numbers(rows.column(0)))
                at += states.add(shard, at, rows) if states else 0
        self._states = states
        self._lengths.add(np.concatenate(lengths) if lengths else np.empty(0, np.int32))
        self._size_bytes += part.size_bytes
        self._rows += part.info.rows
        if part.info.failed:
            self._failed[shard] = [
                BadRowListed(None, None, shard, failed.row, failed.id, failed.reason) for failed in part.info.failed
            ]
        return part.info.tokens

    @property
    def published_tokens(self) -> int:
        """Real tokens in the parts that exist, read or not."""
        return self._tally.done.tokens

    @property
    def vectors(self) -> int:
        """Number of vectors that were read for the map, without those that aren't finite."""
        return self._states.covariance.vectors if self._states else 0

    def facts(self) -> Facts:
        """The numbers, without the map, which cost little."""
        # Over 40 lines: one value of many fields.
        tally, job, log = self._tally, self._job, self._tally.log
        kept = {shard: rows for shard, rows in self._failed.items() if shard not in log.retried}
        reasons = Reasons()
        reasons.others = self._reasons.others
        for reason in self._reasons.by_rows():
            reasons.take(reason)
        for rows in kept.values():
            for row in rows:
                reasons.add(row)
        state = "not complete"
        if tally.finished:
            state = "finished, not complete" if tally.dead else "complete"
        refuse_discarded(job.place, log)
        if log.stopped:
            state = "cancelled"
        return Facts(
            job=job.job,
            inputs=log.grown_to or job.job.inputs,
            key=job.key,
            state=state,
            ended=log.ended,
            rows=tally.cut.rows,
            tokens=tally.cut.tokens,
            rows_published=self._rows,
            tokens_published=self._lengths.tokens,
            shards=len(log.entries),
            parts=len(tally.published),
            dead=len(tally.dead),
            unseen=len(tally.gone),
            size_bytes=self._size_bytes,
            refused=tally.cut.quarantined,
            failed=sum(map(len, kept.values())),
            not_finite=self._states.not_finite if self._states else 0,
            retried_rows=sum(log.entries[shard].rows for shard in log.retried.values() if shard.retries == 1),
            retried_shards=sum(log.life(shard).number > 0 for shard in log.entries),
            deaths=[(str(shard), self._death(shard)) for shard in sorted(tally.dead)[:FEW]],
            reasons=reasons.by_rows(),
            other_reasons=reasons.others,
            damaged=self._damaged[:FEW],
            columns=self._first.columns if self._first else (),
            precision=self._first.spec.precision if self._first else "",
            positions=""
            if self._first is None or self._first.spec.positions is None
            else str(self._first.spec.positions),
            lengths=self._lengths,
            time=timeline(filter(None, self._records.values())),
            model=self._model,
            training=self._training,
        )

    def _death(self, shard: ShardId) -> str:
        try:
            content = self._job.objects.read(dead_object(self._tally.log.life(shard)))
            return str(json.loads(content or b"")["reason"])[:_REASON_CHARACTERS]
        except (ValueError, TypeError, KeyError, RecursionError):
            return "the record of its death can't be read"


def _why_no_vector(facts: Facts) -> str:
    if facts.not_finite:
        return "Every vector has a number that is infinite or not a number, so there is no map."
    if facts.state == "complete":
        return "No row has a vector, so there is no map."
    return f"No vector {'is published yet' if facts.state == 'not complete' else 'was published'}, so there is no map."
