"""The files of a model directory, and the fingerprint that identifies their bytes."""

import hashlib
import os
from pathlib import Path

CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE = "config.json", "model.safetensors", "tokenizer.json"
#: The folder of a training that isn't finished.
TRAINING_FOLDER = "_fit"
#: Its lock and its plan, see `unrolled.training.plan`.
TRAINING_FILES = LOCK_FILE, PLAN_FILE = "lock", "plan.json"
#: The file that a job's directory has; `unrolled.job`, which writes it, is above this room.
JOB_FILE = "_unrolled/job.json"


def fingerprint_of(directory: Path) -> str:
    """The fingerprint: hexadecimal SHA-256 of name, length and bytes of each file; tokenizer.json may be absent.

    Raises:
        OSError: a file can't be read.
    """
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE):
        place = directory / name
        if name == TOKENIZER_FILE and not place.exists():
            continue
        with place.open("rb") as file:
            # With name and length before the bytes, no two sets of files give the same input.
            digest.update(f"{name}\0{os.fstat(file.fileno()).st_size}\0".encode())
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
