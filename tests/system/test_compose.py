"""The compose files: valid after the official schema, and right about what a queue and its workers need."""

import dataclasses
import functools
import re

import jsonschema
import pytest
import yaml
from support.compose import ROOT, SCHEMA, load, merge

from unrolled.settings.worker_options import WorkerOptions, parse_bytes
from worker.settings import Settings


@pytest.fixture
def services():
    return load("docker-compose.yml")["services"]


@pytest.fixture
def gpu_services():
    return merge(load("docker-compose.yml"), load("docker-compose.gpu.yml"))["services"]


@pytest.mark.parametrize(
    "document",
    [
        load("docker-compose.yml"),
        load("docker-compose.gpu.yml"),
        merge(load("docker-compose.yml"), load("docker-compose.gpu.yml")),
    ],
    ids=["plain", "gpu", "merged"],
)
def test_schema(document):
    """Both files and their sum are valid compose files."""
    jsonschema.Draft202012Validator(SCHEMA).validate(document)


def test_jobs_are_for_the_workers_with_a_gpu(gpu_services):
    """A job that asks for another engine than the workers have would wait without an end."""
    engines = {name: gpu_services[name]["environment"]["UNROLLED_ENGINE"] for name in ("producer", "worker")}
    assert engines == {"producer": "tensorflow", "worker": "tensorflow"}


def test_schema_refuses():
    """The schema is not one that lets everything through."""
    document = load("docker-compose.yml")
    document["services"]["worker"]["depend_on"] = ["redis"]
    with pytest.raises(jsonschema.ValidationError, match="depend_on"):
        jsonschema.Draft202012Validator(SCHEMA).validate(document)


def test_redis_keeps_the_queue(services):
    """Redis writes every change to a volume before it answers, and never evicts."""
    program, *arguments = services["redis"]["command"]
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert program == "valkey-server"
    assert options["--appendonly"] == "yes"
    assert options["--appendfsync"] == "always"
    assert options["--save"] == ""
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--maxmemory"] == "${UNROLLED_REDIS_MEMORY:-256mb}"
    assert services["redis"]["volumes"] == ["redis-data:/data"]
    assert "redis-data" in load("docker-compose.yml")["volumes"]


def default_of(text):
    """The value of a variable that isn't set, in bytes where it is a size."""
    (value,) = re.fullmatch(r"\$\{UNROLLED_\w+:-(.+)\}", text).groups()
    return parse_bytes(value)


def test_limits_fit_what_the_programs_need(services, gpu_services):
    """A worker's memory is twice its budget and more, as docs/operations.md says; Redis may rewrite its file."""
    for found in (services, gpu_services):
        limits = found["worker"]["deploy"]["resources"]["limits"]
        assert default_of(limits["memory"]) >= 2 * WorkerOptions().memory_budget + 2**30
        assert default_of(limits["cpus"]) == 2
        assert limits["pids"] > 2 * WorkerOptions().concurrency
    limits = services["redis"]["deploy"]["resources"]["limits"]
    command = services["redis"]["command"]
    assert default_of(limits["memory"]) >= 2 * default_of(command[command.index("--maxmemory") + 1])


@pytest.mark.parametrize("name", ["redis", "worker", "producer"])
def test_services_have_no_more_rights_than_they_need(services, name):
    """No service runs as root, writes to its image, or fills the disk with its log."""
    service = services[name]
    assert service["user"] not in ("", "root", "0")
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


def test_redis_is_private(services):
    """Without a password, Redis can't be reached from outside."""
    assert not {"ports", "network_mode"} & services["redis"].keys()


def test_worker_scales(services):
    """Nothing in the worker can exist only once on a machine."""
    assert not {"container_name", "hostname", "ports", "network_mode"} & services["worker"].keys()


@pytest.mark.parametrize("name", ["worker", "producer"])
def test_redis_comes_first(services, name):
    """Redis has read its append-only file before anyone connects."""
    assert services[name]["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert services["redis"]["healthcheck"]["test"] == ["CMD-SHELL", "valkey-cli ping | grep -q PONG"]


def test_worker_may_wind_down(services):
    """Docker's patience outlasts the time in which a worker finishes or gives back its shards."""
    seconds = int(services["worker"]["stop_grace_period"].removesuffix("s"))
    assert seconds >= 2 * float(services["worker"]["environment"]["UNROLLED_GRACE_SECONDS"])
    assert services["worker"]["restart"] == "unless-stopped"
    assert services["worker"]["init"] is True


def test_worker_health(services):
    """The worker's health is the age of the file that it is set to touch."""
    kind, script = services["worker"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    assert "$$UNROLLED_HEALTH_FILE" in script
    assert services["worker"]["environment"]["UNROLLED_HEALTH_FILE"].startswith("/tmp/")


def test_variables_exist(services, gpu_services):
    """Every variable given to a worker is one of its settings."""
    known = {f"UNROLLED_{field.name.upper()}" for field in dataclasses.fields(Settings)}
    assert services["worker"]["environment"].keys() <= known
    assert gpu_services["worker"]["environment"].keys() <= known


def test_every_setting_can_be_given(services):
    """A worker gets each of its settings from this file or from the environment, but those of what watches it."""
    known = {f"UNROLLED_{field.name.upper()}" for field in dataclasses.fields(Settings)}
    watched = {"UNROLLED_METRICS_PORT", "UNROLLED_METRICS_ADDRESS", "UNROLLED_TRACING"}
    assert services["worker"]["environment"].keys() == known - watched


def test_both_sides_agree(services):
    """Producer and worker are given the same broker, model, namespace and files."""
    worker, producer = services["worker"], services["producer"]
    for name in ("UNROLLED_BROKER", "UNROLLED_MODEL", "UNROLLED_NAMESPACE"):
        assert producer["environment"][name] == worker["environment"][name]
    assert worker["volumes"] == ["./data:/data"]
    assert set(producer["volumes"]) == {"./data:/data", "/var/tmp"}


def test_producer_runs_when_asked(services):
    """`docker compose up` starts no producer."""
    assert services["producer"]["profiles"] == ["producer"]
    assert services["producer"]["entrypoint"] == ["unrolled"]
    assert "profiles" not in services["worker"]


def test_gpu(services, gpu_services):
    """The GPU file changes the image, the engine and the devices, and nothing else."""
    worker = gpu_services["worker"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert worker["build"]["target"] == "heavy"
    assert worker["environment"] == services["worker"]["environment"] | {"UNROLLED_ENGINE": "tensorflow"}
    changed = {name for name in worker if worker[name] != services["worker"].get(name)}
    assert changed == {"image", "build", "environment", "deploy"}


def test_every_command_with_logins_keeps_them():
    """Each client has a login, also where files are named with -f, and Compose reads no override by itself."""
    section = (ROOT / "docs/operations.md").read_text().partition("\n### Compose\n")[2].partition("\n### ")[0]
    (text,) = re.findall(r"```yaml\n(.*?)```", section, flags=re.DOTALL)
    override = yaml.safe_load(text)
    commands = re.findall(r"^docker compose (-f .*) up", section, flags=re.MULTILINE)
    assert {"gpu", "observability"} == {
        name for each in commands for name in re.findall(r"compose\.(gpu|obs\w+)", each)
    }
    for command in commands:
        *files, last = re.findall(r"-f (\S+)", command)
        assert last == "docker-compose.override.yml"
        services = functools.reduce(merge, [*map(load, files), override])["services"]
        assert "/etc/redis-acl.conf" in services["redis"]["command"]
        brokers = {name: each.get("environment", {}).get("UNROLLED_BROKER") for name, each in services.items()}
        assert brokers["worker"] == "${UNROLLED_WORKER_BROKER:?}"
        others = {broker for name, broker in brokers.items() if broker and name != "worker"}
        assert all(broker.startswith("${UNROLLED_PRODUCER_BROKER:") for broker in others)


def test_every_image_of_ours_is_built(services, gpu_services):
    """A service that names an image which no registry has builds it, and no build leaves out the kernel."""
    watched = merge(load("docker-compose.yml"), load("docker-compose.observability.yml"))["services"]
    for found in (services, gpu_services, watched):
        for service in found.values():
            kind, _, target = service["image"].partition(":")
            assert kind != "unrolled" or service["build"] == {"context": ".", "target": target}
    (wheel,) = re.findall(r"^.*pip wheel .*$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert "UNROLLED_REQUIRE_KERNEL=1 pip wheel" in wheel


def test_targets_exist(services, gpu_services):
    """The Dockerfile has the targets that the compose files build, and runs none of them as root."""
    stages = re.split(r"^FROM \S+ AS (\w+)$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    text = dict(zip(stages[1::2], stages[2::2], strict=True))
    targets = {each[name]["build"]["target"] for each in (services, gpu_services) for name in ("worker", "producer")}
    assert targets == {"light", "heavy"}
    for target in targets:
        assert "\nUSER unrolled\n" in text[target]
        assert '\nCMD ["unrolled"' in text[target]
        (extras,) = re.findall(r"unrolled-\*\.whl\)\[([\w,]+)\]", text[target])
        assert {"producer", "worker", "cloud", "import", "metrics", "tracing"} == set(extras.split(","))
