"""Faults put into the protocol on purpose: each must be found by some seed.

A mutation replaces lines of the product's source when it is loaded, so it fails to load where those lines have changed,
rather than testing nothing.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple


class Mutation(NamedTuple):
    """One fault.

    Attributes:
        says: what goes wrong in the product.
        changes: (module, lines, other lines).
    """

    says: str
    changes: tuple[tuple[str, str, str], ...]


OUTCOME, FINISHING, LOG, SPOOLING = (
    "worker.shards.publication", "unrolled.protocol.finishing", "unrolled.protocol.log", "unrolled.protocol.spooling",
)  # fmt: skip
RUNS, DECISIONS, TELLING = "producer.enqueue.runs", "producer.jobs.decisions", "unrolled.protocol.telling"
COMPLETION, SETTLE, LEDGER = "unrolled.protocol.completion", "unrolled.store.settle", "support.ledger_model"

_CREATED = "    created = objects.create(part_object(shard), part)\n"
_SAVED = "        objects.create(failed_object(shard), select_rows(rows, failed))\n"

MUTATIONS = {
    "replace-part": Mutation(
        "a part that exists is replaced by the attempt that comes later",
        ((OUTCOME, _CREATED, "    objects.delete(part_object(shard))\n" + _CREATED),),
    ),
    "failed-list-apart": Mutation(
        "failed rows are an object of their own, written before the part, and the last one wins",
        (
            (
                OUTCOME,
                _CREATED,
                "    from unrolled.job.names import failed_object\n"
                "    from unrolled.protocol.spooling import select_rows\n"
                "    objects.delete(failed_object(shard))\n"
                "    if failed:\n"
                "        objects.create(failed_object(shard), select_rows(rows, failed))\n" + _CREATED,
            ),
            (FINISHING, _SAVED, "        pass\n"),
        ),
    ),
    "failed-from-own": Mutation(
        "a worker that lost the race saves the failed rows of its own attempt",
        ((OUTCOME, "winner: Sequence[int] | None = failed if created else None", "winner: Sequence[int] | None = failed"),),
    ),
    "rows-before-failed": Mutation(
        "rows are deleted before the failed ones are saved",
        ((FINISHING, _SAVED, "        objects.delete(rows_object(shard))\n" + _SAVED),),
    ),
    "absence-is-proof": Mutation(
        "rows that can't be seen are taken for rows that another saved and deleted",
        ((FINISHING, "            return  # deleted by another", "            objects.delete(rows_object(shard)); return  #"),),
    ),
    "trust-409": Mutation(
        "409 is taken for 'somebody has created it'",
        ((SETTLE, "            reason = str(error)\n        try:", "            reason = str(error)\n"
          "            if '409' in reason:\n                return Creation.EXISTS\n        try:"),),
    ),
    "trust-timeout": Mutation(
        "a create that timed out is taken for done",
        ((SETTLE, "            reason = str(error)\n        try:", "            reason = str(error)\n"
          "            if 'time-out' in reason:\n                return Creation.EXISTS\n        try:"),),
    ),
    "replace-segment": Mutation(
        "a segment of the log is replaced: the last writer wins",
        ((LOG, "        log.apply(Segment.decode(name, objects.settle", "        objects.delete(name)\n"
          "        log.apply(Segment.decode(name, objects.settle"),),
    ),
    "segment-first": Mutation(
        "the segment is created before the rows",
        (
            (RUNS, "        spool(self._objects, spooled)\n        # Whoever's", "        # Whoever's"),
            (
                RUNS,
                "_added(log, [spooled.entry]))\n",
                "_added(log, [spooled.entry]))\n        spool(self._objects, spooled)\n",
            ),
            (
                RUNS,
                "                spool(self._objects, spooled)\n",
                "                append(self.log, self._objects, lambda log: _added(log, [spooled.entry]))\n"
                "                spool(self._objects, spooled)\n",
            ),
        ),
    ),
    "delete-stray": Mutation(
        "a live run deletes the rows that no segment names",
        ((RUNS, "        found = [entry_of(rows)", "        for shard in strays:\n"
          "            self._objects.delete(rows_object(shard))\n        found = [entry_of(rows)"),),
    ),
    "no-adoption": Mutation(
        "a live run leaves alone the rows that no segment names",
        ((RUNS, "        if found:\n", "        if found and not found:\n"),),
    ),
    "adopt-unsynced": Mutation(
        "a live run brings rows that the dead run had not synced",
        ((RUNS, "            self._objects.sync(names.ROWS, names.QUARANTINE)\n", ""),),
    ),
    "no-begin": Mutation(
        "a live run does not take back the end of the run before it",
        ((LOG, "self.run, self.cancelled, self.ended = segment.run, False, False", "self.run, self.cancelled = segment.run, False"),),
    ),
    "fenced-drops": Mutation(
        "a live run that finds another's turn stops at once, with what it has read",
        ((RUNS, "        append(self.log, self._objects, lambda log: _added(log, [spooled.entry]))",
          "        append(self.log, self._objects, lambda log: _added(log, [spooled.entry] if self._has_turn(log) else []))"),),
    ),
    "exists-unsynced": Mutation(
        "what another created is relied upon before its folder is synced",
        (
            ("unrolled.store.memory", "            self.sync(folder_of(name))\n            return creation",
             "            if creation is Creation.CREATED:\n                self.sync(folder_of(name))\n            return creation"),
            (LOG, "        objects.sync(names.LOG)", "        pass"),
            (FINISHING, "    objects.sync(names.PARTS)\n", ""),
        ),
    ),
    "ids-by-count": Mutation(
        "two live runs number their rows alike",
        ((RUNS, "self.number if self.number >= 0 else log.length - 1", "0"),),
    ),
    "sweep-early": Mutation(
        "rows that no segment names are swept before the input has ended",
        ((FINISHING, "    if log.ended and not live:", "    if not live:"),),
    ),
    "sweep-retry": Mutation(
        "the sweep takes the rows of a retry, not in a segment yet, for garbage",
        ((FINISHING, "if shard not in log.entries and not shard.retries:", "if shard not in log.entries:"),),
    ),
    "retry-by-chance": Mutation(
        "new shards of a retry are named by chance, and appended whatever others have appended",
        (
            (SPOOLING, "import re\n", "import re\nimport secrets\n"),
            (SPOOLING, '"quarantined": 0, "bad": ""}', '"quarantined": 0, "bad": secrets.token_hex(8)}'),
            (DECISIONS, "tuple(entry for entry in cut if entry.source not in log.retried)",
             "tuple(entry for entry in cut if entry.shard not in log.entries)"),
        ),
    ),
    "retry-removes-part": Mutation(
        "a retry removes the part and enters its shard again",
        ((DECISIONS, "            spooled = make_retry(source, content)\n",
          "            objects.create(names.rows_object(source), content)\n"
          "            objects.delete(part_object(source))\n"
          "            spooled = make_retry(source, content)\n"),),
    ),
    "failed-deleted-first": Mutation(
        "a retry deletes the saved rows before its segment is there",
        ((DECISIONS, "            cut.append(spooled.entry)\n",
          "            cut.append(spooled.entry)\n            objects.delete(failed_object(source))\n"
          "            objects.delete(names.rows_object(spooled.entry.shard))\n"),),
    ),
    "one-life": Mutation(
        "a dead shard is entered again under the same name",
        ((DECISIONS, "    chosen: Segment | None = None\n",
          "    chosen: Segment | None = None\n    for life in dead:\n        mark = ledger.told()\n"
          "        objects.delete(names.dead_object(life))\n        ledger.enter(mark, [(life, 0)], mark)\n    dead = []\n"),),
    ),
    "mark-apart": Mutation(
        "how far the ledger was told is kept in another key than its shards",
        ((LEDGER, "            self.members, self.marks = {}, {}", "            self.members = {}"),),
    ),
    "mark-after": Mutation(
        "the ledger is told shards whatever it was told before",
        ((LEDGER, "        if self.marks.get(job) != expected:\n            return False\n", ""),),
    ),
    "enter-by-rows": Mutation(
        "a lost ledger is told the shards whose rows are listed",
        ((TELLING, "if life not in dead and (life.shard not in parts or life.shard in rows)", "if life not in dead and life.shard in rows"),),
    ),
    "complete-by-absence": Mutation(
        "complete where no rows are listed",
        ((COMPLETION, "    if done and not strays and len(published) + len(dead) == len(log.entries):",
          "    left = set(names.shards_in(objects.list(names.ROWS)))\n"
          "    if done and not strays and all(s in published or s in dead or s not in left for s in log.entries):"),),
    ),
    "no-last-look": Mutation(
        "complete is said without a last look for a new segment",
        ((COMPLETION, "        catch_up(log, objects)  # whoever", "        # whoever"),),
    ),
    "strays-ignored": Mutation(
        "complete is said of a live job without a look for rows that no segment names",
        ((COMPLETION, "    if done and not strays and", "    if done and"),),
    ),
}  # fmt: skip


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module with some of its lines replaced."""

    changes: tuple[tuple[str, str], ...] = ()

    def get_code(self, fullname: str) -> object:
        source = Path(self.path).read_text()
        for before, after in self.changes:
            if source.count(before) < 1:
                raise ImportError(f"{fullname} has no lines {before!r}: mend the mutation")
            source = source.replace(before, after)
        return compile(source, self.path, "exec")

    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(module.__name__), module.__dict__)


class Mutator(importlib.abc.MetaPathFinder):
    """Put into `sys.meta_path` before the product is imported, it makes the product wrong."""

    def __init__(self, mutation: Mutation) -> None:
        self._changes: dict[str, list[tuple[str, str]]] = {}
        for module, before, after in mutation.changes:
            self._changes.setdefault(module, []).append((before, after))
        if loaded := [name for name in self._changes if name in sys.modules]:
            raise ImportError(f"{', '.join(loaded)} is loaded already")

    def find_spec(self, fullname: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """The module's own place, with another loader."""
        del target
        if fullname not in self._changes:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)  # type: ignore[arg-type]
        loader = _Loader(fullname, spec.origin)
        loader.changes = tuple(self._changes[fullname])
        return importlib.util.spec_from_file_location(fullname, spec.origin, loader=loader)
