"""The manifests for Kubernetes: valid by its schemas and KEDA's, and in agreement with images and settings."""

import contextlib
import dataclasses
import os
import re
import shlex
import signal
import subprocess

import pytest
import yaml
from support import shell
from support.compose import ROOT
from support.jobs import log_of
from support.processes import eventually
from support.promtool import program
from support.shell import ENGINE, make_model, words

from unrolled.protocol.opening import open_job
from unrolled.settings.worker_options import WorkerOptions, parse_bytes
from worker.settings import Settings

DEPLOY = ROOT / "deploy"
OVERLAYS = ("cpu", "gpu", "keda")
#: What shells and libraries read in our containers, besides our own variables.
OTHER_VARIABLES = {"TMPDIR"}


def documents(text):
    return [found for found in yaml.safe_load_all(text) if found]


def build(overlay):
    """What kustomize makes of an overlay, by kind and name."""
    done = subprocess.run(
        [program("kustomize"), "build", DEPLOY / "overlays" / overlay], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {(one["kind"], one["metadata"]["name"]): one for one in documents(done.stdout)}


def example():
    (found,) = documents((DEPLOY / "examples" / "enqueue.yaml").read_text())
    return found


def validate(document):
    """Raises what the schema refuses, as `kubernetes-validate --strict` does."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    newest = kubernetes_validate.latest_version()
    kubernetes_validate.validate(document, newest, strict=True)


def pods(objects):
    """Name → the specification of the pods of each object that has some."""
    return {
        name: one["spec"]["template"]["spec"] for (_, name), one in objects.items() if "template" in one.get("spec", {})
    }


def environment(container):
    return {one["name"]: one.get("value") for one in container.get("env", [])}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_manifest_is_valid(overlay):
    """By Kubernetes's schemas, strictly; by KEDA's where the kind is KEDA's."""
    objects = build(overlay)
    for (kind, _), one in objects.items():
        if kind == "ScaledObject":
            keda = pytest.importorskip("cloudcoil.models.keda.v1alpha1")
            keda.ScaledObject.model_validate(one)
        else:
            validate(one)
    assert ("Deployment", "unrolled-worker") in objects
    assert (("ScaledObject", "unrolled-worker") in objects) == (overlay == "keda")


def test_the_example_of_a_job_is_valid():
    """It belongs to no overlay."""
    validate(example())


@pytest.fixture
def enqueue(tmp_path, broker_url):
    """Starts the example's command with other arguments, in a directory with a model, as Kubernetes would."""
    program = tmp_path / "bin" / "unrolled"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(words())} "$@"\n')
    program.chmod(0o755)
    make_model(tmp_path / "model")
    given = shell.environment(broker=broker_url, model="model", out="out", engine=ENGINE, format="jsonl")
    given["PATH"] = f"{program.parent}:{given['PATH']}"
    (container,) = example()["spec"]["template"]["spec"]["containers"]
    started = []

    def start(*arguments, **how):
        started.append(
            subprocess.Popen(
                [*container["command"], *arguments],
                cwd=tmp_path, env=given, stderr=subprocess.PIPE, text=True, process_group=0, **how,
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize(
    ("line", "status"), [('{"id": "a"}', 0), ('{"id": "a", "tokens": [1]}', 0), (None, 1), ("--nonsense", 2)]
)
def test_rows_in_quarantine_are_a_success_of_the_example(enqueue, tmp_path, line, status):
    """Every other exit status is that of `unrolled enqueue`."""
    options = [line] if status == 2 else []
    if line and not options:
        (tmp_path / "rows").write_text(f'{{"id": "b", "tokens": [1]}}\n{line}\n')
    process = enqueue("rows", *options)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == status, said


def test_the_example_passes_sigterm_on(enqueue, tmp_path):
    """As when a pod has to move: a stream ends in order, with every row that was read on disk."""
    producer = enqueue(
        "-", "--follow", "--flush-seconds", "600", "--shard-tokens", "2", "--max-queued-tokens", "1",
        stdin=subprocess.PIPE,
    )  # fmt: skip
    producer.stdin.write('{"tokens": [1, 2]}\n{"tokens": [3]}\n')
    producer.stdin.flush()
    assert "queue is full" in producer.stderr.readline()
    producer.terminate()
    eventually(lambda: producer.poll() is not None, "its end")
    assert producer.returncode == 0, producer.stderr.read()
    assert sum(entry.rows for entry in log_of(open_job(tmp_path / "out")).entries.values()) == 2


def test_the_schemas_are_ones_that_refuse():
    """A misspelt probe, and a number of replicas that is a text."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    worker = build("cpu")["Deployment", "unrolled-worker"]
    container = worker["spec"]["template"]["spec"]["containers"][0]
    container["livenessProb"] = container.pop("livenessProbe")
    with pytest.raises(kubernetes_validate.ValidationError, match="livenessProb"):
        validate(worker)
    keda = pytest.importorskip("cloudcoil.models.keda.v1alpha1")
    scaled = build("keda")["ScaledObject", "unrolled-worker"]
    scaled["spec"]["maxReplicaCount"] = "many"
    with pytest.raises(ValueError, match="maxReplicaCount"):
        keda.ScaledObject.model_validate(scaled)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_have_no_more_rights_than_they_need(overlay):
    """Nothing runs as root, writes to its image, or has Kubernetes's own credentials."""
    found = pods(build(overlay)) | {"example": example()["spec"]["template"]["spec"]}
    assert set(found) == {"unrolled-redis", "unrolled-worker", "unrolled-exporter", "example"}
    for pod in found.values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert "/tmp" in mounts, "the image's own is read-only"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_agree_with_the_images(overlay):
    """The user, the targets and the commands are those of the Dockerfile and of the package."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    (user,) = re.findall(r"useradd --uid (\d+)", dockerfile)
    targets = set(re.findall(r"^FROM \S+ AS (\w+)$", dockerfile, flags=re.MULTILINE))
    found = pods(build(overlay)) | {"example": example()["spec"]["template"]["spec"]}
    for name, pod in found.items():
        (container,) = pod["containers"]
        if name == "unrolled-redis":
            compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["redis"]
            assert container["image"] == compose["image"]
            ours = [word for word in compose["command"] if not word.startswith("${")]
            assert [word for word in container["args"] if word != "256mb"] == ours
            continue
        assert pod["securityContext"]["runAsUser"] == int(user)
        repository, _, tag = container["image"].rpartition(":")
        assert repository.endswith("unrolled")
        assert tag in targets
        assert tag == ("heavy" if overlay == "gpu" and name == "unrolled-worker" else tag)
        assert "unrolled" in " ".join(container["command"])
    extras = re.findall(r"unrolled-\*\.whl\)\[([\w,]+)\]", dockerfile)
    assert all("metrics" in extra.split(",") for extra in extras), "the exporter needs it"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_exist_and_are_allowed(overlay):
    """Every variable of a worker is one of its settings, and the settings can be read."""
    objects = build(overlay)
    shared = objects["ConfigMap", "unrolled-settings"]["data"] | objects["Secret", "unrolled-broker"]["stringData"]
    known = {f"UNROLLED_{field.name.upper()}" for field in dataclasses.fields(Settings)}
    for name, pod in (pods(objects) | {"example": example()["spec"]["template"]["spec"]}).items():
        if name == "unrolled-redis":
            continue
        given = environment(pod["containers"][0])
        assert given.keys() | shared.keys() <= known | OTHER_VARIABLES
        references = [next(iter(one.values()))["name"] for one in pod["containers"][0]["envFrom"]]
        assert references == ["unrolled-settings", "unrolled-broker"]
    worker = environment(pods(objects)["unrolled-worker"]["containers"][0])
    settings = Settings.from_environ(shared | worker)
    assert settings.engine == ("tensorflow" if overlay == "gpu" else "auto")
    # The example gets the shared settings alone; without one, its jobs are for the fused engine.
    assert shared.get("UNROLLED_ENGINE") == ("tensorflow" if overlay == "gpu" else None)
    assert settings.log_format == "json"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_worker_gets_what_its_settings_need(overlay):
    """Memory of twice its budget and more, a core for each thread, time to end in order, and a health file in reach."""
    pod = pods(build(overlay))["unrolled-worker"]
    (container,) = pod["containers"]
    given, limits = environment(container), container["resources"]["limits"]
    budget = parse_bytes(given["UNROLLED_MEMORY_BUDGET"])
    assert parse_bytes(limits["memory"].removesuffix("i")) >= 2 * budget + 2**30
    assert limits["cpu"] == given["UNROLLED_THREADS"]
    assert container["resources"]["requests"] == limits, (
        "a worker that shares its cores is as slow as its slowest thread"
    )
    assert pod["terminationGracePeriodSeconds"] >= 2 * float(given["UNROLLED_GRACE_SECONDS"])
    assert float(given["UNROLLED_GRACE_SECONDS"]) == WorkerOptions().grace_seconds
    assert given["UNROLLED_HEALTH_FILE"].startswith("/tmp/")
    for probe in ("startupProbe", "livenessProbe"):
        assert "$UNROLLED_HEALTH_FILE" in container[probe]["exec"]["command"][-1]
    if overlay == "gpu":
        assert limits["nvidia.com/gpu"] == "1"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_and_ports_meet(overlay):
    """Services, budgets and policies select pods that exist, and open the ports that those listen on."""
    objects = build(overlay)
    labels = {
        one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]: one["spec"]["template"]["spec"]
        for one in objects.values()
        if "template" in one.get("spec", {})
    }
    ports = {
        name: {port["containerPort"] for port in pod["containers"][0].get("ports", [])} for name, pod in labels.items()
    }
    for (kind, _), one in objects.items():
        spec = one.get("spec", {})
        if kind == "Service":
            name = spec["selector"]["app.kubernetes.io/name"]
            named = {port["name"] for port in labels[name]["containers"][0]["ports"]}
            assert {port["targetPort"] for port in spec["ports"]} <= named
            assert {port["port"] for port in spec["ports"]} == ports[name]
        if kind == "PodDisruptionBudget":
            assert spec["selector"]["matchLabels"]["app.kubernetes.io/name"] in labels
    for name in ("unrolled-worker", "unrolled-exporter"):
        (container,) = labels[name]["containers"]
        assert {int(environment(container)["UNROLLED_METRICS_PORT"])} == ports[name]
        pod = objects["Deployment", name]["spec"]["template"]
        assert {int(pod["metadata"]["annotations"]["prometheus.io/port"])} == ports[name]
    opened = {port["port"] for port in objects["NetworkPolicy", "unrolled-metrics"]["spec"]["ingress"][0]["ports"]}
    assert opened == ports["unrolled-worker"] | ports["unrolled-exporter"]
    redis = objects["NetworkPolicy", "unrolled-redis"]["spec"]["ingress"][0]
    assert {port["port"] for port in redis["ports"]} == ports["unrolled-redis"]
    (allowed,) = redis["from"][0]["podSelector"]["matchExpressions"]
    job = example()["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
    assert set(allowed["values"]) == {"unrolled-worker", "unrolled-exporter", job}


def test_keda_decides_alone_and_by_the_ledger():
    """No number of replicas beside KEDA's, a figure of the exporter's, and no decision while the broker is away."""
    objects = build("keda")
    assert "replicas" not in objects["Deployment", "unrolled-worker"]["spec"]
    assert build("cpu")["Deployment", "unrolled-worker"]["spec"]["replicas"] == 4
    spec = objects["ScaledObject", "unrolled-worker"]["spec"]
    assert spec["scaleTargetRef"]["name"] == "unrolled-worker"
    (trigger,) = spec["triggers"]
    assert trigger["type"] == "prometheus"
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert int(trigger["metadata"]["threshold"]) >= WorkerOptions().concurrency
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    tested = (DEPLOY / "monitoring" / "alerts.test.yml").read_text()
    assert trigger["metadata"]["query"].replace("000000000000-fused-float32", "a") in tested
