"""A broker's client, and what its errors say."""

import kombu.exceptions
import pytest
import redis

from unrolled.errors import BrokerAwayError, BrokerRefusesError, RequestError, TransientError
from unrolled.job.offer import Offer
from unrolled.patience import Patience
from unrolled.queue.broker import AWAY, Broker
from unrolled.queue.ledger import Counts

URL = "redis://someone:s3cr3t@host"
SHOWN = "redis://someone:***@host"


def explained(error, *, answered=False):
    """The error as `asked` gives it."""
    broker = Broker(URL)
    if answered:
        with broker.asked():
            pass
    with pytest.raises((BrokerAwayError, BrokerRefusesError)) as caught, broker.asked():
        raise error
    return caught.value


def test_a_broker_gives_a_ledger_and_a_client(broker):
    """Both talk to the server that the URL names."""
    server = Broker(broker.url)
    assert server.ledger("test", Offer("ab" * 32, "fused", "float32")).counts() == Counts(0, 0, 0)
    assert server.client.ping()
    server.close()


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("x"),
        redis.ResponseError("OOM command not allowed"),
        kombu.exceptions.OperationalError("x"),
        ConnectionResetError("x"),
        TimeoutError("x"),
    ],
)
def test_a_broker_that_is_away_is_a_passing_trouble(error):
    """It may answer again later, and its own text is in the line."""
    found = explained(error)
    assert isinstance(found, TransientError)
    assert isinstance(error, AWAY)
    assert str(found) == f"broker {SHOWN} is away ({error}); start it, or correct --broker"


def test_a_full_broker_is_not_called_away():
    """It answers, and has room again when its queue is shorter or its memory larger."""
    found = explained(redis.ResponseError("command not allowed when used memory > 'maxmemory'."), answered=True)
    assert isinstance(found, TransientError)
    assert str(found) == f"broker {SHOWN} is full: it uses as much memory as it may; raise its maxmemory"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (redis.ResponseError("NOREPLICAS Not enough good replicas to write."), "takes no writes now (NOREPLICAS Not"),
        (redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "its disk writable, with room"),
        (redis.ReadOnlyError("You can't write against a read only replica."), "name the primary server in --broker"),
        (redis.ConnectionError("max number of clients reached"), "takes no more connections now (max number of"),
    ],
)
def test_a_broker_that_takes_nothing_is_not_called_away(error, said):
    """It is there; its own words are in the line, and what helps."""
    found = explained(error, answered=True)
    assert isinstance(found, TransientError)
    assert said in str(found)
    assert "is away" not in str(found)
    assert "start it" not in str(found)


def test_a_broker_with_a_key_of_another_kind_is_not_called_away():
    """It answers, and a person can mend it."""
    found = explained(redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"))
    assert isinstance(found, TransientError)
    assert str(found).startswith(f"broker {SHOWN} has a key of another kind than Unrolled's (WRONGTYPE Operation ")
    assert found.advice.startswith("delete that key, which `unrolled doctor` may name")


def test_a_broker_that_has_answered_gets_no_advice_on_its_address():
    """It speaks the protocol of the URL, so it is only away for a while."""
    closed = redis.ConnectionError("Connection closed by server.")
    assert explained(closed).advice == (
        "if that port speaks TLS, write rediss://; if something else than Redis listens there, correct the URL"
    )
    assert str(explained(closed, answered=True)) == f"broker {SHOWN} is away ({closed})"


@pytest.mark.parametrize(
    "error",
    [
        redis.AuthenticationError("WRONGPASS"),
        redis.exceptions.NoPermissionError("NOPERM"),
        redis.DataError("ACL failure"),
    ],
)
def test_a_broker_that_refuses_is_none(error):
    """Waiting would change nothing."""
    found = explained(error, answered=True)
    assert not isinstance(found, TransientError)
    assert found.found == f"broker {SHOWN} refuses: {error}"
    assert found.advice == "check the user and password in --broker, and that user's permissions"


@pytest.mark.parametrize(
    ("answer", "means"),
    [
        (
            redis.AuthenticationError("HELLO must be called with the client already authenticated, otherwise the …"),
            "it wants a password, and the URL has none",
        ),
        (redis.DataError("NOAUTH Authentication required."), "it wants a password, and the URL has none"),
        (
            redis.AuthenticationError("AUTH <password> called without any password configured for the default user."),
            "it wants no password, and the URL has one",
        ),
        (redis.ResponseError("DB index is out of range"), "it has no database with the number in the URL"),
    ],
)
def test_a_refusal_is_put_in_words(answer, means):
    """The server's own text speaks of its protocol, which few people know."""
    found = explained(answer)
    assert isinstance(found, BrokerRefusesError)
    assert found.found == f"broker {SHOWN} refuses: {means}"
    assert "URL" in found.advice or "UNROLLED_BROKER" in found.advice


def test_other_errors_go_through():
    """They are not the broker's."""
    with pytest.raises(ZeroDivisionError), Broker(URL).asked():
        raise ZeroDivisionError


def test_a_url_of_another_kind_is_refused_before_anything_is_connected():
    """Its password is left out of the text."""
    with pytest.raises(RequestError, match=r"amqp://guest:\*\*\*@localhost"):
        Broker("amqp://guest:hunter2@localhost//")


def test_what_is_in_the_way_of_a_broker_that_comes_back_is_said(broker):
    """It was away, has an old list of users then, and lets this user in at last: each is a line."""
    said, admin = [], Broker(broker.url)
    user = ("ACL", "SETUSER", "known", "on", ">secret", "~*", "&*", "+@all")

    def say(line):
        said.append(line)
        if "is away" in line:
            broker.start()
        if "refuses" in line:
            admin.client.execute_command(*user)

    admin.client.execute_command(*user)
    server = Broker(broker.url.replace("redis+socket://", "redis+socket://known:secret@"))
    patience = Patience(say)
    server.until_done(patience, "reach the broker", server.client.ping)
    broker.kill()
    assert server.until_done(patience, "reach the broker", server.client.ping)
    parts = ("is away", "refuses", "can reach the broker again")
    assert [part in line for part, line in zip(parts, said, strict=True)] == [True] * 3
    server.close()
