"""Clusters of one's own machines and on Kubernetes, the roles on AWS, the MLflow server."""

from __future__ import annotations

import copy
import fnmatch
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.tags import TAG_RAY_CLUSTER_NAME

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CONSTRAINTS = (ROOT / "constraints.txt").read_text()

Tree = dict[str, Any]

# Of ray.io/v1 in KubeRay's definition of RayJob, as of August 2026; the whole manifest was checked
# against the whole definition by hand.
RAY_JOB = {
    *("entrypoint", "submissionMode", "backoffLimit", "shutdownAfterJobFinishes"),
    *("ttlSecondsAfterFinished", "rayClusterSpec", "runtimeEnvYAML", "activeDeadlineSeconds"),
}
RAY_CLUSTER = {
    *("rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions"),
    *("headGroupSpec", "workerGroupSpecs"),
}
GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
S3_ACTIONS = {
    *("s3:ListBucket", "s3:GetBucketLocation", "s3:GetObject", "s3:PutObject"),
    *("s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"),
}


def version(package: str) -> str:
    """Of a package in constraints.txt."""
    found = re.search(rf"^{package}==(\S+)$", CONSTRAINTS, re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.fixture
def job() -> Tree:
    """The RayJob, anew for each test."""
    loaded: Tree = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())
    return loaded


@pytest.fixture
def local() -> Tree:
    """The cluster of one's own machines, anew for each test."""
    loaded: Tree = yaml.safe_load((DEPLOY / "cluster-local.yaml").read_text())
    return loaded


def accept(config: Tree) -> Tree:
    """What ``ray up`` does before it talks to a machine."""
    prepared: Tree = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


def test_ray_accepts_the_local_cluster_with_all_its_machines(local: Tree) -> None:
    (node_type,) = accept(local)["available_node_types"].values()
    assert node_type["max_workers"] == len(local["provider"]["worker_ips"])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c.update(idle_timeout_minute=5),
        lambda c: c["provider"].pop("head_ip"),
        lambda c: c["auth"].update(ssh_user=1),
    ],
    ids=["unknown key", "no head", "wrong type"],
)
def test_ray_rejects_a_broken_local_cluster(local: Tree, spoil: Callable[[Tree], Any]) -> None:
    spoil(local)
    with pytest.raises(Exception, match=r"idle_timeout_minute|head_ip|not of type"):
        accept(local)


def test_the_local_cluster_copies_and_asks_as_the_one_on_aws_does(local: Tree) -> None:
    aws = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    assert local["file_mounts"] == aws["file_mounts"]
    assert local["worker_start_ray_commands"] == aws["worker_start_ray_commands"]
    assert "RAY_AUTH_MODE=token" in " ".join(local["setup_commands"])


def groups(job: Tree) -> list[Tree]:
    """Head and workers."""
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def containers(job: Tree) -> Iterator[Tree]:
    """Of all pods."""
    for group in groups(job):
        yield from group["template"]["spec"]["containers"]


def test_the_ray_job_has_no_field_that_kuberay_lacks(job: Tree) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job["spec"]) <= RAY_JOB
    assert set(cluster) <= RAY_CLUSTER
    assert [set(group) - GROUP for group in groups(job)] == [set()] * 3


def test_the_ray_job_scales_from_zero_and_ends(job: Tree) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"]
    assert [group["minReplicas"] for group in cluster["workerGroupSpecs"]] == [0, 0]
    assert job["spec"]["shutdownAfterJobFinishes"]


def test_one_group_of_the_ray_job_has_a_gpu(job: Tree) -> None:
    limits = [container["resources"]["limits"] for container in containers(job)]
    assert [limit.get("nvidia.com/gpu") for limit in limits] == [None, None, "1"]


def test_the_ray_job_asks_for_a_token(job: Tree) -> None:
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_kubernetes_runs_the_versions_that_are_tested(job: Tree) -> None:
    ray = version("ray")
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == ray
    assert {container["image"] for container in containers(job)} == {f"REGISTRY/dwszoo:ray{ray}"}
    assert re.findall(r"^FROM (.*)$", dockerfile, re.MULTILINE) == [f"rayproject/ray:{ray}-py311"]
    assert "-c constraints.txt" in dockerfile


def test_the_image_copies_what_is_there() -> None:
    copied = re.findall(r"^COPY --chown=ray (.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.M)
    assert [name for line in copied for name in line.split() if not (ROOT / name).exists()] == []
    assert {"dws", "zoo_gen", "training", "pipeline"} <= {n for c in copied for n in c.split()}


def statements(file: str) -> list[Tree]:
    """Of a policy."""
    found: list[Tree] = json.loads((DEPLOY / file).read_text())["Statement"]
    return found


def actions(statement: Tree) -> list[str]:
    """What a statement allows."""
    allowed = statement["Action"]
    return [allowed] if isinstance(allowed, str) else allowed


@pytest.mark.parametrize("file", ["iam-head.json", "iam-worker.json"])
def test_a_role_may_do_what_exists(file: str) -> None:
    session = botocore.session.get_session()
    known = set(S3_ACTIONS) | {"iam:PassRole"}  # which is no call of its own
    for service in ("ec2", "ssm"):
        known |= {
            f"{service}:{name}" for name in session.get_service_model(service).operation_names
        }
    asked = [action for statement in statements(file) for action in actions(statement)]
    assert [action for action in asked if not fnmatch.filter(known, action)] == []


def test_a_worker_may_use_the_bucket_and_nothing_else() -> None:
    targets = {statement["Resource"] for statement in statements("iam-worker.json")}
    assert targets == {"arn:aws:s3:::BUCKET", "arn:aws:s3:::BUCKET/*"}


def test_the_head_ends_no_machine_but_its_own() -> None:
    name = yaml.safe_load((ROOT / "cluster.yaml").read_text())["cluster_name"]
    own = {"StringEquals": {f"aws:ResourceTag/{TAG_RAY_CLUSTER_NAME}": name}}
    (end,) = [s for s in statements("iam-head.json") if "ec2:TerminateInstances" in actions(s)]
    assert end["Condition"] == own


def test_mlflow_knows_each_option_of_its_service() -> None:
    from mlflow.cli import server

    unit = (DEPLOY / "mlflow.service").read_text()
    command = re.search(r"^ExecStart=((?:.*\\\n)*.*)$", unit, re.MULTILINE)
    assert command is not None
    known = {name for option in server.params for name in option.opts}
    assert set(re.findall(r"--[a-z-]+", command[1])) <= known


def test_mlflow_listens_on_loopback_and_holds_no_password() -> None:
    unit = (DEPLOY / "mlflow.service").read_text()
    assert "--host 127.0.0.1 " in unit
    assert re.search(r"--backend-store-uri postgresql://mlflow@127\.0\.0\.1:\d+/mlflow", unit)
    assert "PGPASSFILE" in unit


FILES = sorted(file.relative_to(ROOT).as_posix() for file in DEPLOY.iterdir())


@pytest.mark.parametrize("file", ["cluster.yaml", *FILES])
def test_no_file_holds_a_secret_or_opens_to_all(file: str) -> None:
    from tests.house.test_cluster_yaml import secrets

    text = (ROOT / file).read_text()
    assert secrets(text) == []
    assert "0.0.0.0" not in text
