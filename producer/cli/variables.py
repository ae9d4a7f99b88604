"""Environment variables on a command line: those that set an option, and those that only look as if they did."""

from __future__ import annotations

import re
import sys
from difflib import get_close_matches
from itertools import pairwise
from typing import TYPE_CHECKING

from producer.terminal.lines import warn
from unrolled.settings.declaration import variable_of
from unrolled.telemetry.json_log import line_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PREFIX = "UNROLLED_"
#: The options of all commands. A list, because to load all commands takes a second; a test compares it with them.
_OPTIONS = """
    append arithmetic batch_tokens bound broker cell_clip clip_norm column columns concurrency coordinates debug device
    embedding embedding_dim empty_rows emulate engine epochs every_seconds failed_rows flush_seconds fold follow
    forget_bias format grace_seconds header health_file host id id_field id_first_word ids_from initial_state_field
    initial_states json keep_probability key kind label_field layer layers learning_rate lease_seconds leave live
    log_format log_level lstm_layers lstm_units map max_attempts max_length max_queued_tokens max_row_bytes measure
    memory_budget metric metrics_address metrics_port model namespace no_parity numbers once one_hot oov options out
    output_root overwrite pad pad_id parity patience plan png points pool_tokens pooling port positions precision
    priority projection_clip quotes recurrent_activation report reset residual rows seed shard_tokens special_tokens
    table text_field threads timeout title to tokenizer tokens tokens_field top tracing unpadded validation_share
    vectors vectors_field vocab_size vocabulary watch with_tokens workers yes
"""
#: No command's options: what the engine, the build, the tests and docker-compose.yml read.
_OTHERS = """
    isa cache no_kernel require_kernel long test_bucket browser
    uid gid cpus worker_memory redis_memory redis_limit producer_broker worker_broker
"""
KNOWN = frozenset(variable_of(name) for name in (_OPTIONS + _OTHERS).split())
#: What Kubernetes and Docker set for a service whose name begins with "unrolled".
_OF_A_SERVICE = re.compile(r".*_(SERVICE_(HOST|PORT(_.*)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")


def warn_of_unknown(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Name each variable that has Unrolled's prefix and that nothing reads, such as a misspelt one.

    Args:
        arguments: the command line, which may ask for a log of JSON.
        environ: the environment.
    """
    in_json = "--log-format=json" in arguments or ("--log-format", "json") in pairwise(arguments)
    for name in sorted(environ):
        if not name.startswith(_PREFIX) or name in KNOWN or _OF_A_SERVICE.fullmatch(name):
            continue
        near = get_close_matches(name.removeprefix(_PREFIX), (each.removeprefix(_PREFIX) for each in KNOWN), 1, 0.75)
        advice = f"; did you mean {_PREFIX}{near[0]}?" if near else ", and has no effect"
        line = f"{name} is set in the environment, but there is no such setting{advice}"
        if in_json or environ.get("UNROLLED_LOG_FORMAT") == "json":
            sys.stderr.write(line_of("WARNING", line))  # the command sets its log up later
        else:
            warn(line)


def origin(message: str, arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    """For an error about options: which of the options that it names were set by variables; empty if none was."""
    flags = dict.fromkeys(re.findall(r"(?<![\w-])--[a-z][a-z-]*", message))
    given = {argument.partition("=")[0] for argument in arguments}
    names = [variable_of(flag[2:].replace("-", "_")) for flag in flags if flag not in given]
    found = [name for name in names if environ.get(name) and name not in message]
    return f" (set in the environment: {', '.join(found)})" if found else ""
