"""``cluster.yaml`` is what Ray and EC2 accept, and opens nothing to the world but SSH."""

from __future__ import annotations

import copy
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
import jsonschema
import pytest
import yaml
from botocore.exceptions import ParamValidationError
from botocore.validate import validate_parameters
from moto import mock_aws
from ray.autoscaler._private.aws.config import _create_default_inbound_rules
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
FILE = ROOT / "cluster.yaml"

Config = dict[str, Any]

SECRETS = {
    "key id": r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    "secret key": r"(?i)aws_(secret_access_key|session_token|access_key_id|credentials)\W",
    "private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "password": r"(?i)\b(\w*_)?(password|passwd|secret|token)['\"]?\s*[:=]\s*['\"]?[\w+/-]{8,}",
    "password in a URL": r"://[^/\s:@]+:[^/\s@]+@",
}


@pytest.fixture
def config() -> Config:
    """The file, anew for each test."""
    loaded: Config = yaml.safe_load(FILE.read_text())
    return loaded


def accept(config: Config) -> None:
    """What ``ray up`` does before it talks to AWS."""
    validate_config(prepare_config(copy.deepcopy(config)))


def accept_nodes(config: Config) -> None:
    """What the EC2 client does before it asks for machines."""
    run = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances")
    for node_type in config["available_node_types"].values():
        validate_parameters(
            {**node_type["node_config"], "MinCount": 1, "MaxCount": 1}, run.input_shape
        )


def with_resources(config: Config) -> dict[str, Config]:
    """What Ray takes each machine to have: it asks EC2, here a server of moto."""
    with mock_aws(), pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        filled = AWSNodeProvider.fillout_available_node_types_resources(copy.deepcopy(config))
    types: dict[str, Config] = filled["available_node_types"]
    return {name: node_type["resources"] for name, node_type in types.items()}


def open_ports(config: Config) -> set[tuple[int, int]]:
    """Port ranges of Ray's security group that any address outside it may reach."""
    extra = config["provider"].get("security_group", {}).get("IpPermissions", [])
    outside = ("IpRanges", "Ipv6Ranges", "PrefixListIds")
    return {
        (rule["FromPort"], rule["ToPort"])
        for rule in _create_default_inbound_rules({"sg-of-the-cluster"}, extra)
        if any(rule.get(key) for key in outside)
    }


def secrets(text: str) -> list[str]:
    """Kinds of secrets that stand in a text."""
    return [kind for kind, pattern in SECRETS.items() if re.search(pattern, text)]


def test_ray_accepts_it(config: Config) -> None:
    accept(config)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda c: c.update(idle_timeout_minute=5), jsonschema.ValidationError),
        (lambda c: c.update(max_workers="nine"), jsonschema.ValidationError),
        (lambda c: c["available_node_types"]["fit"].pop("resources"), jsonschema.ValidationError),
        (lambda c: c["available_node_types"]["fit"].update(spot=True), jsonschema.ValidationError),
        (lambda c: c.update(head_node_type="heads"), ValueError),
    ],
    ids=["unknown key", "wrong type", "no resources", "unknown node key", "no such head"],
)
def test_ray_rejects_a_broken_copy(
    config: Config, spoil: Callable[[Config], Any], error: type[Exception]
) -> None:
    spoil(config)
    with pytest.raises(error):
        accept(config)


def test_ec2_accepts_its_nodes(config: Config) -> None:
    accept_nodes(config)


def test_ec2_rejects_a_misspelt_node(config: Config) -> None:
    config["available_node_types"]["fit"]["node_config"]["InstanceMarketOption"] = {}
    with pytest.raises(ParamValidationError, match="InstanceMarketOption"):
        accept_nodes(config)


def test_it_scales_from_zero(config: Config) -> None:
    workers = {k: v for k, v in config["available_node_types"].items() if k != "head"}
    assert {v["min_workers"] for v in workers.values()} == {0}
    assert sum(v["max_workers"] for v in workers.values()) <= config["max_workers"]


def test_each_machine_has_what_it_is_for(config: Config) -> None:
    resources = with_resources(config)
    assert resources["head"]["CPU"] == 0
    assert (resources["fit"]["CPU"], resources["fit"].get("GPU")) == (16, None)
    assert resources["gpu"]["GPU"] == 1


def test_fitting_runs_on_spot(config: Config) -> None:
    market = config["available_node_types"]["fit"]["node_config"]["InstanceMarketOptions"]
    assert market == {"MarketType": "spot"}


def test_every_machine_has_a_role(config: Config) -> None:
    roleless = [
        name
        for name, node_type in config["available_node_types"].items()
        if not node_type["node_config"].get("IamInstanceProfile")
    ]
    assert roleless == []


def test_it_holds_no_secret() -> None:
    assert secrets(FILE.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "AKIA" + 16 * "A",
        "aws_credentials: {}",
        "-----BEGIN RSA PRIVATE KEY-----",
        "export RAY_AUTH_TOKEN=" + 16 * "a",
        "mlflow_password: " + 8 * "x",
        "https://user:word@host",
    ],
)
def test_a_secret_would_be_seen(text: str) -> None:
    assert secrets(text)


def test_only_ssh_is_open(config: Config) -> None:
    assert open_ports(config) == {(22, 22)}


def test_an_open_port_would_be_seen(config: Config) -> None:
    rule = {"FromPort": 8265, "ToPort": 8265, "IpProtocol": "tcp"}
    rule["IpRanges"] = [{"CidrIp": "0.0.0.0/0"}]
    config["provider"]["security_group"] = {"IpPermissions": [rule]}
    assert (8265, 8265) in open_ports(config)


def test_the_dashboard_stays_on_localhost(config: Config) -> None:
    assert "--dashboard-host" not in " ".join(config["head_start_ray_commands"])


def test_ray_asks_for_the_token_on_every_machine(config: Config) -> None:
    assert "/home/ubuntu/.ray/auth_token" in config["file_mounts"]
    assert "RAY_AUTH_MODE=token" in " ".join(config["setup_commands"])


def test_its_commands_are_bash(config: Config) -> None:
    for key in (k for k in config if k.endswith("commands")):
        for command in config[key]:
            ran = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
            assert ran.returncode == 0, f"{key}: {command}: {ran.stderr}"


def test_what_it_copies_is_there(config: Config) -> None:
    own = [local for local in config["file_mounts"].values() if not local.startswith("~")]
    assert [local for local in own if not (ROOT / local).exists()] == []
