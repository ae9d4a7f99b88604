"""Producers, workers and commands on one job, and a seed that decides who moves and what fails.

Every actor runs the product's own code in a greenlet, which stops before each operation of the store and of the
ledger. The scheduler decides who goes on, who is paused, killed, or told something false; after every change the
promises are checked. A run is a function of its seed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import greenlet
import numpy as np

from producer.enqueue.runs import FileRun, LiveRun
from producer.jobs import decisions
from support.ledger_model import LedgerModel, View
from unrolled.errors import TransientError, UnrolledError
from unrolled.job import names, payload
from unrolled.job.segment import Segment
from unrolled.job.shard_id import ShardId
from unrolled.protocol.completion import standing
from unrolled.protocol.finishing import sweep
from unrolled.protocol.log import Log, catch_up
from unrolled.protocol.objects import Objects
from unrolled.protocol.spooling import Place, make_rows
from unrolled.protocol.telling import tell
from unrolled.ragged import Ragged
from unrolled.store.memory import Crash, Fault, Lag, MemoryStore, Operation
from worker.shards.publication import look, publish

JOB = "0123456789abcdef"
MAX_DEATHS = 3
LAG = 12
#: Nothing fails in the last part of a run, which must then come to its end.
LAST_STEPS = 40_000


class Violation(AssertionError):
    """A promise was broken."""


def failed_rows(objects: Objects, shard: ShardId) -> list[int] | None:
    """The rows that a simulated part calls failed."""
    content = objects.read(names.part_object(shard))
    return None if content is None else json.loads(content)["failed"]


class Actor:
    """One process: a command or a worker."""

    def __init__(self, world: World, name: str, body: Callable[[], None]) -> None:
        self.world, self.name = world, name
        self.asleep_until = 0
        self.operation: object = None
        self.over = False
        self.read: set[int] = set()
        self._greenlet = greenlet.greenlet(lambda _: self._run(body), world.hub)

    def _run(self, body: Callable[[], None]) -> None:
        try:
            body()
        except Crash:
            self.world.tell(f"{self.name} dies")
        except UnrolledError as error:
            self.world.tell(f"{self.name} ends: {error}")
            self.world.ended(self)
        else:
            self.world.ended(self)
        self.over = True

    def step(self, answer: object) -> None:
        """Go on until the next operation."""
        self.operation = self._greenlet.switch(answer)

    def kill(self) -> None:
        """End it where it is; nothing of it runs any more."""
        self._greenlet.throw(Crash)
        self.over = True


class World:
    """What is true, who moves, what fails."""

    def __init__(self, seed: int, trace: bool = False) -> None:
        rng = self.rng = random.Random(seed)
        self.seed, self.trace = seed, trace
        self.hub = greenlet.getcurrent()
        self.disk = rng.random() < 0.5
        self.store = MemoryStore(self._before, is_disk=self.disk, page=rng.choice((2, 1000)))
        self.ledger = LedgerModel()
        self.live = rng.random() < 0.5
        self.lagging = self.disk and rng.random() < 0.5
        size = rng.randint(3, 12)
        self.positions = range(size)
        self.bad = {place for place in self.positions if rng.random() < 0.1}
        changed = rng.randrange(size) if rng.random() < 0.2 else None
        self.versions = {
            v: [(p, 1 + p + (100 if v == "1" and p == changed else 0)) for p in self.positions] for v in "01"
        }
        self.pipe = list(self.positions) if self.live else []
        self.failing = rng.choice((0.1, 0.3))
        self.faults, self.deaths = rng.choice((0, 0.1, 0.25)), rng.choice((0, 0.005, 0.02))
        self.pauses, self.losses = rng.choice((0, 0.01, 0.04)), rng.choice((0, 0.004, 0.02))
        self.may_discard, self.cuts = rng.random() < 0.06, rng.choice((0, 0.004))
        self.final = self.stopping = self.completed = False
        self.actors: list[Actor] = []
        self.current: Actor | None = None
        self.clock, self.born = 0, 0
        self.log = Log()
        self.parts: dict[str, bytes] = {}
        self.spooled: dict[str, Any] = {}
        self.row_homes: dict[object, str] = {}
        self.holding: dict[str, names.Life] = {}
        self._decoded: dict[bytes, Any] = {}
        self.history: list[dict[str, bytes]] = []
        self.changes: list[tuple[str, bytes | None]] = []
        self.undurable: dict[str, bytes | None] = {}

    # The way of every operation: to the scheduler and back.

    def _before(self, operation: Operation) -> Fault | Lag | None:
        if self.current is None or greenlet.getcurrent() is self.hub:
            return None
        return self.hub.switch(operation)

    def ledger_op(self, method: str, arguments: tuple[object, ...]) -> object:
        """An operation of the ledger, tried until it is answered."""
        while True:
            fault = self.hub.switch(("ledger", method))
            if fault == "request":
                continue
            answer = getattr(self.ledger, method)(*arguments)
            if fault != "answer":
                return answer

    def wait(self) -> None:
        """A moment of an actor in which it does nothing to the store or the ledger."""
        self.hub.switch(("wait", ""))

    def steadily(self, what: str, action: Callable[[], Any]) -> Any:
        """Try until it works; the scheduler comes in between by the operations themselves."""
        while True:
            try:
                return action()
            except TransientError:
                self.wait()

    def objects(self) -> Objects:
        return Objects(self.store, self.steadily)

    def view(self, who: str) -> View:
        return View(self, who)

    def tell(self, line: str) -> None:
        if self.trace:
            print(f"{self.clock:5} {line}")

    # Actors.

    def spawn(self, kind: str, version: str = "") -> None:
        self.born += 1
        name = f"{kind}{self.born}"
        body = getattr(self, f"_{kind}")
        actor = Actor(self, name, lambda: body(actor, version or self.rng.choice("01")))
        self.actors.append(actor)
        self._resume(actor, None)

    def _producer(self, actor: Actor, version: str) -> None:
        if self.live:
            self._follow(actor)
            return
        run = FileRun(self.objects(), self.view(actor.name), lambda *_: None)
        run.run(self._cuts(self.versions[version]))

    def _cuts(self, rows: list[tuple[int, int]]) -> Iterator[Any]:
        for begin in range(0, len(rows), 2):
            cut = rows[begin : begin + 2]
            yield lambda index, cut=cut: self._make(index, [(f"f#{p}", token) for p, token in cut], [p for p, _ in cut])

    def _make(self, index: int, rows: list[tuple[str, int]], places: list[int]) -> Any:
        good = [(row, p) for row, p in zip(rows, places, strict=True) if p not in self.bad]
        bad = [json.dumps({"place": p}).encode() + b"\n" for p in places if p in self.bad]
        tokens = Ragged(np.array([t for (_, t), _ in good], np.int32), np.arange(len(good) + 1, dtype=np.int64))
        return make_rows(JOB, Place(index, "f", places[0]), [i for (i, _), _ in good], tokens, bad)

    def _follow(self, actor: Actor) -> None:
        run = LiveRun(self.objects(), self.view(actor.name), lambda *_: None)
        run.begin()
        run.run(self._live_cuts(actor, run))

    def _live_cuts(self, actor: Actor, run: LiveRun) -> Iterator[Any]:
        left, held, count = 99 if self.final else self.rng.randint(1, 8), [], 0
        while True:
            if self.pipe and left:
                place = self.pipe.pop(0)
                actor.read.add(place)
                held.append((f"f#{run.number}.{count}", place))
                left, count = left - 1, count + 1
            over = not self.pipe or not left
            if held and (over or len(held) == 2 or self.rng.random() < 0.2):
                cut, held = held, []
                yield lambda index, cut=cut: self._make(index, [(i, 1 + p) for i, p in cut], [p for _, p in cut])
            elif not over:
                self.wait()
            if over:
                return

    def _worker(self, actor: Actor, version: str) -> None:
        del version
        ledger, objects, log = self.view(actor.name), self.objects(), Log()
        while True:
            life = ledger.take()
            if life is not None:
                self._attempt(actor, life, ledger, objects, log)
                self.holding.pop(actor.name, None)
            elif self.stopping:
                return
            elif self.rng.random() < 0.5:
                ledger.sweep()
            elif ledger.told() is None:
                tell(log, objects, ledger)

    def _attempt(self, actor: Actor, life: names.Life, ledger: View, objects: Objects, log: Log) -> None:
        shard = life.shard
        state, starts = ledger.claim(life)
        if state != "taken":
            return
        self.holding[actor.name] = life
        if starts > MAX_DEATHS:
            self._bury(objects, ledger, life)
            return
        found = look(objects, shard, failed_rows)
        if found.rows is None and found.failed is None:
            ledger.give_back(life)
            tell(log, objects, ledger)
            return
        if found.rows is None:
            from unrolled.protocol.finishing import finish

            finish(objects, shard, found.failed)
        else:
            for _ in range(self.rng.randint(0, 9)):
                self.wait()
            chance = self.rng.random() if self.failing else 1.0
            if chance < 0.05:
                self._bury(objects, ledger, life)
                return
            if chance < 0.1:
                ledger.give_back(life)
                return
            rows = self._rows(found.rows)
            failed = [n for n in range(len(rows)) if self.rng.random() < self.failing]
            kept = [row for n, row in enumerate(rows) if n not in failed]
            part = json.dumps({"rows": kept, "failed": failed}).encode()
            publish(objects, shard, part, failed, found.rows, failed_rows)
        ledger.remove(life)

    def _bury(self, objects: Objects, ledger: View, life: names.Life) -> None:
        objects.create(names.dead_object(life), b"{}")
        ledger.remove(life)

    def _retry(self, actor: Actor, version: str) -> None:
        del version
        decisions.retry(self.objects(), self.view(actor.name), failed_rows, failed=True)

    def _cancel(self, actor: Actor, version: str) -> None:
        del version
        decisions.cancel(self.objects(), self.view(actor.name))

    def _resume_job(self, actor: Actor, version: str) -> None:
        del version
        decisions.resume(self.objects(), self.view(actor.name))

    def _discard(self, actor: Actor, version: str) -> None:
        del version
        decisions.discard(self.objects(), self.view(actor.name))

    def _sweep(self, actor: Actor, version: str) -> None:
        del actor, version
        log, objects = Log(), self.objects()
        catch_up(log, objects)
        sweep(log, objects, failed_rows, live=self.live)

    def _wait(self, actor: Actor, version: str) -> None:
        del version
        log, objects, asked = Log(), self.objects(), len(self.changes)
        tell(log, objects, self.view(actor.name))
        if standing(log, objects, live=self.live).complete:
            self.hear_complete(asked)

    def _reader(self, actor: Actor, version: str) -> None:
        """Read the parts at any moment: rows once each, none goes away; each is whole and in the log."""
        del actor, version
        objects, seen, whole = self.objects(), set(), {}
        for shard in names.parts_in(objects.list(names.PARTS)):
            content = objects.read(names.part_object(shard))
            if content is None:
                if not self.lagging and not self.log.discarded:
                    raise Violation(f"{shard} was listed and is gone")
                continue
            part = json.loads(content)
            ids = {row[0] for row in part["rows"]}
            if seen & ids:
                raise Violation(f"a reader found rows of {shard} twice")
            seen |= ids
            whole[shard] = len(part["rows"]) + len(part["failed"])
        log = Log()
        catch_up(log, objects)
        for shard, rows in whole.items():
            if not self.lagging and (shard not in log.entries or rows != log.entries[shard].rows):
                raise Violation(f"verify finds {shard} not whole, or not in the log")

    # What is true.

    def _rows(self, content: bytes) -> list[tuple[str, int]]:
        if content not in self._decoded:
            found = payload.decode(content)
            self._decoded[content] = list(zip(found.ids.to_pylist(), found.tokens.values.tolist(), strict=True))
        return self._decoded[content]

    def account(self, objects: dict[str, bytes]) -> tuple[Log, dict[int, list[str]]]:
        """Where each row is, by its token: in a part, failed, dead, bad, waiting. Two places, or none, is a fault."""
        log, places, ended = Log(), {}, False
        while (content := objects.get(name := names.segment_name(log.length))) is not None:
            if content not in self._decoded:
                self._decoded[content] = Segment.decode(name, content)
            log.apply(self._decoded[content])
            kind = self._decoded[content].kind
            ended = kind == "end" or (ended and kind != "begin")
        log.ended = ended  # the truth, whatever the product's log makes of it

        def put(tokens: list[int], place: str) -> None:
            for token in tokens:
                places.setdefault(token, []).append(place)

        for shard, entry in log.entries.items():
            part, rows = objects.get(names.part_object(shard)), objects.get(names.rows_object(shard))
            if part is not None:
                found = json.loads(part)
                put([token for _, token in found["rows"]], "part")
                if shard not in log.retried and found["failed"]:
                    kept = objects.get(names.failed_object(shard)) or rows
                    if kept is None and not log.discarded:
                        raise Violation(f"the tokens of failed rows of {shard} are gone")
                    spooled = self.spooled[str(shard)][0]
                    failed = [spooled[n][1] for n in found["failed"]]
                    if kept is not None and not set(failed) <= {token for _, token in self._rows(kept)}:
                        raise Violation(f"the tokens of failed rows of {shard} are gone")
                    put(failed, "failed")
            elif rows is not None:
                dead = names.dead_object(log.life(shard)) in objects
                put([token for _, token in self._rows(rows)], "dead" if dead else "waiting")
            elif not log.discarded:
                raise Violation(f"{shard} is in the log and has neither part nor rows")
            if entry.quarantined and not log.discarded:
                put(self._bad(objects, shard), "bad")
        if self.live:
            for name in objects:
                if name.startswith(names.ROWS):
                    shard = ShardId.parse(name.rpartition("/")[2].removesuffix(".rows"))
                    if shard not in log.entries and not shard.retries:
                        put([token for _, token in self._rows(objects[name])], "stray")
                        if names.quarantine_object(shard) in objects:
                            put(self._bad(objects, shard), "stray")
        return log, places

    def _bad(self, objects: dict[str, bytes], shard: ShardId) -> list[int]:
        content = objects.get(names.quarantine_object(shard))
        if content is None:
            raise Violation(f"the list of bad rows of {shard} is gone")
        return [1 + json.loads(line)["place"] for line in content.splitlines()]

    def check(self, name: str) -> None:
        """After each change: what was ever durable is somewhere, once; parts are whole and stay."""
        objects = self.store.contents()
        log, places = self.account(objects)
        self.log = log
        if log.discarded:
            return
        content = objects.get(name)
        if name.startswith("part-"):
            shard = name.removeprefix("part-").removesuffix(".parquet")
            if content is None or self.parts.setdefault(name, content) != content:
                raise Violation(f"{name} was replaced or removed")
            part = json.loads(content)
            if len(part["rows"]) + len(part["failed"]) != len(self.spooled[shard][0]):
                raise Violation(f"{name} is not whole")
            for row, token in part["rows"]:
                for key in (row, token):
                    if self.row_homes.setdefault(key, shard) != shard:
                        raise Violation(f"{key} is in two parts: {self.row_homes[key]} and {shard}")
        elif name.startswith(names.ROWS) and content is not None:
            shard = name.rpartition("/")[2].removesuffix(".rows")
            bad = objects.get(names.quarantine_object(ShardId.parse(shard)), b"")
            self.spooled[shard] = (self._rows(content), [1 + json.loads(line)["place"] for line in bad.splitlines()])
        for shard, (rows, bad) in self.spooled.items():
            shard_id = ShardId.parse(shard)
            if (self.live and not shard_id.retries) or shard_id in log.entries:
                for token in [token for _, token in rows] + bad:
                    if len(where := places.get(token, ())) != 1:
                        raise Violation(f"row {token} of {shard} is in {len(where)} places: {where}")

    def is_complete(self, objects: dict[str, bytes]) -> bool:
        log, places = self.account(objects)
        settled = all(place not in ("waiting", "stray") for where in places.values() for place in where)
        return log.ended and settled and (self.live or len(places) == len(self.positions))

    def is_perfect(self) -> bool:
        objects = self.store.contents()
        log, places = self.account(objects)
        whole = all(names.part_object(shard) in objects for shard in log.entries)
        return whole and all(where in (["part"], ["bad"]) for where in places.values())

    def hear_complete(self, asked: int) -> None:
        """Somebody says "complete": it must have been so, and durably, between the question and the answer."""
        objects = self.store.contents()
        for name, before in self.undurable.items():
            if before is None:
                objects.pop(name, None)
        for name, before in reversed([("", None), *self.changes[max(0, asked - self.lagging * LAG) :]]):
            if self.is_complete(objects):
                self.completed = True
                return
            if before is None:
                objects.pop(name, None)
            else:
                objects[name] = before
        raise Violation("somebody says complete, and it is not")

    def ended(self, actor: Actor) -> None:
        """A command that ends of itself has lost nothing that it read from a pipe."""
        logged = {
            t
            for s, (rows, bad) in self.spooled.items()
            if ShardId.parse(s) in self.log.entries
            for t in [token for _, token in rows] + bad
        }
        if not self.log.discarded and not {1 + place for place in actor.read} <= logged:
            raise Violation(f"{actor.name} has ended and lost rows that it had read")

    # Who moves, and what fails.

    def _resume(self, actor: Actor, answer: object) -> None:
        self.current = actor
        before = self.store.contents()
        try:
            actor.step(answer)
        finally:
            self.current = None
        self._notice(before)
        if actor.over and actor in self.actors:
            self.actors.remove(actor)
            self.holding.pop(actor.name, None)

    def _notice(self, before: dict[str, bytes]) -> None:
        after = self.store.contents()
        for name in before.keys() ^ after.keys():
            self.changes.append((name, before.get(name)))
            if self.disk:
                self.undurable.setdefault(name, before.get(name))
            self.check(name)
        for name in before.keys() & after.keys():
            if before[name] != after[name]:
                self.changes.append((name, before[name]))
                self.check(name)

    def move(self) -> None:
        rng = self.rng
        awake = [actor for actor in self.actors if actor.asleep_until <= self.clock]
        self.clock += 1
        self.ledger.now += rng.random() < 0.5
        if not awake:
            return
        actor = rng.choice(awake)
        dies = rng.random() < self.deaths
        if dies and rng.random() < 0.5:
            self._kill(actor)
            return
        if rng.random() < self.pauses:
            actor.asleep_until = self.clock + rng.randint(5, 120)
            return
        answer = self._answer(actor.operation)
        self.tell(f"{actor.name:12} {actor.operation} -> {answer}")
        if life := self.holding.get(actor.name):
            if rng.random() < 0.7:
                self.ledger.renew(life, actor.name)
        operation = actor.operation
        self._resume(actor, answer)
        if isinstance(operation, Operation) and operation.kind == "sync" and answer is None:
            for name in [n for n in self.undurable if n.rpartition("/")[0] == operation.name]:
                del self.undurable[name]
        if dies and not actor.over:
            self._kill(actor)

    def _kill(self, actor: Actor) -> None:
        if actor in self.actors:
            self.actors.remove(actor)
        self.holding.pop(actor.name, None)
        actor.kill()

    def _answer(self, operation: object) -> object:
        fault = self.rng.random() < self.faults
        if isinstance(operation, Operation):
            if operation.kind in ("read", "list"):
                lags = self.lagging and not self.final and self.rng.random() < 0.5
                if fault:
                    return Fault.REFUSED
                return Lag(self.rng.randint(0, LAG)) if lags else None
            if operation.kind == "sync":
                return Fault.REFUSED if fault else None
            if not fault:
                return None
            kinds = [Fault.REFUSED, Fault.LOST_REQUEST, Fault.LOST_ANSWER, Fault.LATE]
            if operation.kind == "create":
                kinds += [Fault.EXISTS, Fault.FULL if self.disk else Fault.CONFLICT]
            return self.rng.choice(kinds)
        if operation[0] == "ledger":  # type: ignore[index]
            return self.rng.choice(("request", "answer")) if fault else None
        return None

    def attack(self) -> None:
        """What happens to the job from outside."""
        rng = self.rng
        if self.store.late and rng.random() < 0.2:
            before = self.store.contents()
            self.store.deliver(rng.randrange(len(self.store.late)))
            self._notice(before)
        if rng.random() < self.losses:
            self.ledger.lose(rng.choice(("all", "members", "leases", "starts", "queue")))
        if self.disk and rng.random() < self.cuts:
            self._power_cut()

    def _power_cut(self) -> None:
        self.tell("power cut")
        for actor in [*self.actors]:
            self._kill(actor)
        before = self.store.contents()
        undone = {name for name in self.undurable if self.rng.random() < 0.5}
        self.store.power_cut(lambda name: name in undone)
        self.undurable.clear()
        after = self.store.contents()
        for name in before.keys() ^ after.keys():
            self.changes.append((name, before.get(name)))
        for name in [n for n in self.parts if n not in after]:  # a part that nobody relied on may come again, otherwise
            shard = name.removeprefix("part-").removesuffix(".parquet")
            for key in [k for k, home in self.row_homes.items() if home == shard]:
                del self.row_homes[key]
            del self.parts[name]
        kept = {n.rpartition("/")[2].removesuffix(".rows") for n in after if n.startswith(names.ROWS)}
        log = self.account(after)[0]
        for shard in [s for s in self.spooled if s not in kept and ShardId.parse(s) not in log.entries]:
            for place in self.positions:
                del place
            lost = self.spooled.pop(shard)
            if self.live:  # read from a pipe, and not yet durable: not promised; it may be read from it again
                self.pipe[:0] = [t - 1 for t in [token for _, token in lost[0]] + lost[1] if t - 1 not in self.pipe]
        self.account(after)
        self.check("")

    def run(self) -> None:
        """The whole run: a stretch of faults, then an end without any, which must come to a perfect job."""
        rng = self.rng
        self.spawn("producer", "0")
        for _ in range(rng.randint(1, 3)):
            self.spawn("worker")
        for _ in range(rng.randint(200, 900)):
            if rng.random() < 0.02:
                kinds = ["producer", "worker", "retry", "cancel", "sweep", "wait", "reader", "retry", "sweep", "wait"]
                kind = rng.choice(kinds)
                if kind == "cancel" and self.may_discard and rng.random() < 0.3:
                    kind = "discard"
                if len(self.actors) < 9:
                    self.spawn(kind)
            self.attack()
            self.move()
        self.finish()

    def finish(self) -> None:
        """No fault any more: one producer, workers, retries until all rows are in parts."""
        self.final = True
        self.faults = self.deaths = self.pauses = self.losses = self.cuts = self.failing = 0
        while self.store.late:
            before = self.store.contents()
            self.store.deliver(0)
            self._notice(before)
        self.spawn("worker")
        for kind in ("producer", "retry", "wait", "sweep", "reader", "wait"):
            self.spawn(kind, "0")
            self._drain()
        for _ in range(8):
            if self.log.discarded or (self.is_perfect() and self.is_complete(self.store.contents())):
                break
            for kind in ("producer", "retry", "sweep", "wait"):
                self.spawn(kind, "0")
                self._drain()
        if not self.log.discarded and (self.live or self.versions["0"] == self.versions["1"]):
            if not (self.is_perfect() and self.is_complete(self.store.contents())):
                raise Violation("the job never comes to its end")
            self.completed = False
            self.spawn("wait")
            self._drain()
            if not self.completed:
                raise Violation("the job is complete, and nobody says so")
        self.stopping = True
        self._drain()

    def _drain(self) -> None:
        """Let all move until commands have ended and nothing is left to compute; at the end, until workers have, too."""
        for _ in range(LAST_STEPS):
            commands = [actor for actor in self.actors if not actor.name.startswith("worker")]
            if not commands and (not self.actors if self.stopping else not self.ledger.busy()):
                return
            self.move()
        raise Violation(f"actors never end: {[(a.name, a.operation) for a in self.actors]}, {self.ledger.members}")
