"""How a worker computes: what `unrolled worker` takes as options, and `unrolled run` for the workers that it starts."""

from dataclasses import dataclass
from pathlib import Path

from unrolled.errors import OptionError
from unrolled.settings.declaration import check, option

#: Seconds; the longest lease or grace.
DAY = 86_400
#: More threads than any machine has cores: the engine starts as many as it is asked for.
MOST_THREADS = 1024
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_bytes(text: str) -> int:
    """A number of bytes: `1500000000`, `512M`, `1.5G`.

    Raises:
        ValueError: it isn't one.
    """
    digits = text.strip().upper().removesuffix("IB").removesuffix("B")
    unit = _UNITS.get(digits[-1:], 1)
    try:
        size = int(float(digits.rstrip("KMGT")) * unit)
    except (ValueError, OverflowError):
        size = -1
    if size < 0:
        raise ValueError(f"'{text}' is not a number of bytes, such as 512M or 1.5G")
    return size


def bytes_text(size: float) -> str:
    """The shortest text that `parse_bytes` reads as a number of bytes."""
    letter = next((letter for letter, unit in reversed(_UNITS.items()) if size and size % unit == 0), "")
    return f"{size / _UNITS.get(letter, 1):.0f}{letter}"


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker computes; each field is a flag and a variable, with its help.

    Raises:
        OptionError: a value isn't allowed, or two contradict each other.
    """

    engine: str = option(
        "auto",
        "Engine that computes; auto means tensorflow if it is installed, and there is an NVIDIA GPU or the fused "
        "engine isn't built; otherwise, and in any arithmetic but float32, it means fused.",
        choices=("auto", "fused", "tensorflow"),
    )
    arithmetic: str = option(
        "float32",
        "Arithmetic of the engine; `unrolled enqueue --precision` says how numbers are stored.",
        choices=("float32", "bfloat16", "bfloat16x3"),
    )
    emulate: bool = option(
        default=False,
        help="Compute in bfloat16x3 without matrix units (AMX) too, in up to three times the time of float32.",
    )
    threads: int | None = option(
        None, "Threads of the engine.", least=1, most=MOST_THREADS, unset="one for each core that the process may use"
    )
    memory_budget: int = option(
        2**30,
        "Memory for the outputs of the shards that the worker holds.",
        least=2**20,
        metavar="BYTES",
        read=parse_bytes,
        write=bytes_text,
    )
    pool_tokens: int = option(2**18, "Largest number of tokens that are computed together.", least=1)
    concurrency: int = option(
        8, "Largest number of shards that are read, computed or written at the same time.", least=1, most=256
    )
    lease_seconds: float = option(
        30.0,
        "If the worker is silent for this long, other workers take its shards.",
        least=1,
        most=DAY,
        metavar="SECONDS",
    )
    grace_seconds: float = option(
        25.0, "After SIGTERM, time to finish the shards that the worker holds.", least=0, most=DAY, metavar="SECONDS"
    )
    max_attempts: int = option(3, "How many workers a shard may kill while it is computed alone.", least=1)
    output_root: Path | None = option(
        None,
        "Directory, or prefix in a bucket, that every output directory must be in.",
        metavar="DIR",
        unset="no limit",
    )
    health_file: Path | None = option(
        None,
        "File of its own that the worker writes about every 2 seconds while it is well. `unrolled run` takes it with "
        "one worker only.",
        metavar="FILE",
    )

    metrics_port: int | None = option(
        None,
        "Serve figures to Prometheus on this port; 0 takes any free one. The workers of `unrolled run` take the ports "
        "after it.",
        least=0,
        most=65_535,
        metavar="PORT",
    )
    metrics_address: str = option(
        "127.0.0.1", "Address on which figures are served; anyone who can reach it can read them.", metavar="ADDRESS"
    )

    log_format: str = option(
        "text",
        "How messages are written to standard error: text, or json with one object on each line.",
        choices=("text", "json"),
    )

    tracing: str = option(
        "off",
        "Record spans for OpenTelemetry; otlp sends them to OTEL_EXPORTER_OTLP_ENDPOINT.",
        choices=("off", "otlp"),
    )

    def __post_init__(self) -> None:
        check(self)
        if self.engine == "tensorflow" and self.arithmetic != "float32":
            raise OptionError(
                f"--engine {self.engine} and --arithmetic {self.arithmetic} exclude each other; "
                f"take --engine fused for {self.arithmetic}, or --arithmetic float32"
            )
