"""The files for containers, Kubernetes and systemd: right by their schemas, and equal to the code and to one another."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.settings import AlertSettings
from deployments import dead_man, manifest, server, worker
from pipelines.settings import Settings
from tests.support import compose

ROOT = compose.ROOT
K8S = ROOT / "deployments/k8s"
UNITS = ROOT / "deployments/systemd"
DOCKERFILE = (ROOT / "deployments/Dockerfile").read_text("utf-8")
SERVICES: dict[str, Any] = compose.read()["services"]
SPLIT: dict[str, Any] = compose.read(compose.SCALE)["services"]
OURS = [name for name, its in SERVICES.items() if its["image"].startswith("causal-organism:")]
#: A version of the schemas that clusters in use have, and one that is new.
KUBERNETES = ("1.30", "1.36")
#: Every manifest that runs something.
PODS = sorted(path.name for path in K8S.glob("*.yaml") if re.search(r"(?m)^kind: (Deployment|Job)$", path.read_text()))


# ------------------------------------------------------------------------------------------------ compose


@pytest.mark.parametrize("path", [compose.FILE, compose.SCALE], ids=lambda path: path.name)
def test_compose_files_fit_the_compose_schema(path: Path) -> None:
    assert list(_compose_errors(compose.read(path))) == []


def test_the_compose_schema_finds_a_mistyped_key() -> None:
    """The control."""
    wrong = compose.read()
    wrong["services"]["worker"]["healthchek"] = wrong["services"]["worker"].pop("healthcheck")
    assert any("healthchek" in error for error in _compose_errors(wrong))


def _compose_errors(loaded: dict[str, Any]) -> list[str]:
    """By the schema of the compose specification that check-jsonschema ships."""
    jsonschema = import_module("jsonschema")
    package = Path(str(import_module("check_jsonschema").__file__)).parent
    schema = json.loads((package / "builtin_schemas/vendor/compose-spec.json").read_text("utf-8"))
    as_read = json.loads(json.dumps(loaded))  # merged mappings are plain ones then
    return [error.message for error in jsonschema.validators.validator_for(schema)(schema).iter_errors(as_read)]


def test_the_services_of_the_requirements_are_there() -> None:
    stores = {"redis", "redis-cache", "neo4j", "timescaledb"}
    ours = {"worker", "setup", "dead-man", "metrics", "api"}
    assert {"prefect-server", "prefect-db", *ours, *stores} == set(SERVICES)
    assert SERVICES["prefect-server"]["command"][-4:] == ["--host", "0.0.0.0", "--port", "4200"]
    assert SERVICES["worker"]["environment"]["PREFECT_WORK_POOL_NAME"] == worker.POOL == manifest.POOL
    assert SERVICES["worker"]["build"]["dockerfile"] == "deployments/Dockerfile"
    assert "prefect-server" in SERVICES["worker"]["depends_on"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_limited_and_without_rights_it_does_not_need(name: str) -> None:
    its = SERVICES[name]
    assert {"mem_limit", "cpus", "pids_limit", "restart", "logging"} <= set(its)
    assert its["cap_drop"] == ["ALL"]
    assert its["security_opt"] == ["no-new-privileges:true"]
    assert its["init"] is True
    assert its.get("read_only") is True or name not in OURS
    assert "privileged" not in its
    assert not any("docker.sock" in str(volume) for volume in its.get("volumes", []))


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_health_check_or_ends(name: str) -> None:
    its = SERVICES[name]
    if name == "setup":
        assert its["restart"] == "on-failure:3"
        assert SERVICES["worker"]["depends_on"]["setup"] == {"condition": "service_completed_successfully"}
    else:
        assert its["restart"] == "unless-stopped"
        assert {"test", "interval", "timeout", "retries", "start_period"} <= set(its["healthcheck"])
    waited_for = {other for its in SERVICES.values() for other in its.get("depends_on", {})}
    assert waited_for <= set(SERVICES)


def test_nothing_is_published_beyond_this_machine() -> None:
    published = [port for its in SERVICES.values() for port in its.get("ports", [])]
    assert published == ["127.0.0.1:4200:4200", "127.0.0.1:8080:8080", "127.0.0.1:9464:9464"]
    assert compose.read()["networks"] == {"front": {}, "prefect": {"internal": True}, "stores": {"internal": True}}


def test_the_dead_man_stands_on_nothing_that_he_watches() -> None:
    """In the worker's container he would be as dead as the worker."""
    its = SERVICES["dead-man"]
    assert "depends_on" not in its
    assert its["command"] == ["python", "-m", "deployments.dead_man", "--every", f"{dead_man.EVERY_S:g}"]
    assert its["volumes"] == ["organism_state:/var/lib/organism"] == SERVICES["worker"]["volumes"][:1]
    assert its["secrets"] == SERVICES["worker"]["secrets"], (
        "what he cannot open he cannot watch, and he tells by all ways"
    )
    for page in (ROOT / "docs").rglob("*.md"):
        assert not re.search(r"exec (-T )?worker python -m (alerts watch|pipelines\.watch)", page.read_text("utf-8")), (
            page
        )


def test_numbers_are_given_without_the_ways_to_tell_and_without_keys() -> None:
    its = SERVICES["metrics"]
    names = {s if isinstance(s, str) else s["source"] for s in its["secrets"]}
    assert names == {"prefect_auth", "organism_redis_url", "organism_postgres_url", "organism_graph_password"}
    assert its["command"][2:] == ["pipelines.metrics_endpoint", "--host", "0.0.0.0", "--port", "9464"]
    assert "depends_on" not in its, "numbers are wanted most when something is down"


def test_the_api_is_the_same_everywhere_and_believes_no_proxy_until_somebody_names_one() -> None:
    """What it starts without Prefect is as much of a run as the worker's, so it has the same secrets and the same folder."""
    its, pod = SERVICES["api"], _pod_of("api.yaml")
    container, unit = pod["containers"][0], _unit("organism-api.service")
    assert its["command"] == container["args"] == unit["ExecStart"].replace("/opt/organism/bin/", "").split()
    assert its["secrets"] == SERVICES["worker"]["secrets"]
    assert its["volumes"] == SERVICES["worker"]["volumes"]
    assert pod["volumes"][-1] == _pod_of("worker.yaml")["volumes"][-1]
    given = {each["name"]: each["value"] for each in container["env"]}
    assert its["environment"]["ORGANISM_API_HOST"] == given["ORGANISM_API_HOST"] == "0.0.0.0"
    settings = next(doc for doc in _resources("settings.yaml") if doc["metadata"]["name"] == "organism-settings")
    trusted = (its["environment"]["FORWARDED_ALLOW_IPS"], settings["data"]["FORWARDED_ALLOW_IPS"])
    assert trusted == ("127.0.0.1", "127.0.0.1")


def test_what_tells_of_a_proposal_knows_where_its_page_is() -> None:
    """The watch sends links and buttons; the API answers to them. Both read the same."""
    for name in ("worker", "dead-man", "api"):
        assert {"ORGANISM_API_URL", "ORGANISM_SHADOW"} <= set(SERVICES[name]["environment"])
        assert "slack_signing_secret" in SERVICES[name]["secrets"]


def test_every_image_is_pinned_to_a_version() -> None:
    images = [its["image"] for its in SERVICES.values()] + re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    python = re.search(r"^ARG PYTHON=(\S+)", DOCKERFILE, re.MULTILINE)
    assert python is not None
    tags = [image.replace("${PYTHON}", python[1]).partition(":")[2] for image in images]
    assert [tag for tag in tags if not re.match(r"\d+\.\d+(\.\d+)?", tag)] == []


def test_every_secret_comes_from_a_file_that_the_script_makes(tmp_path: Path) -> None:
    made = _made(tmp_path)
    secrets = compose.read()["secrets"] | compose.read(compose.SCALE)["secrets"]
    assert {Path(its["file"]).name for its in secrets.values()} <= made.keys()
    assert all(its["file"].startswith("deployments/compose/secrets/") for its in secrets.values())
    used = {s if isinstance(s, str) else s["source"] for its in _all() for s in its.get("secrets", [])}
    assert used == set(secrets)
    text = compose.FILE.read_text("utf-8") + compose.SCALE.read_text("utf-8")
    assert [word for word in made.values() if len(word) > 8 and word in text] == []
    given = {name: value for its in _all() for name, value in its.get("environment", {}).items()}
    secret = {n: v for n, v in given.items() if re.search("PASSWORD|TOKEN|_KEY|AUTH|_DSN", n) and v not in ("", None)}
    assert [name for name, value in secret.items() if not value.startswith("/run/secrets/")] == []


def test_making_the_secrets_again_changes_none_and_no_two_installations_share_one(tmp_path: Path) -> None:
    first, again, other = _made(tmp_path / "a"), _made(tmp_path / "a"), _made(tmp_path / "b")
    assert first == again
    shared = {name for name in first if first[name] and first[name] == other[name]}
    assert shared == set()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert first["organism_redis_url"] == f"redis://:{first['redis_password']}@redis:6379/0"
    assert first["redis_password"] not in first["redis_users"]


def _all() -> list[dict[str, Any]]:
    return [*SERVICES.values(), *SPLIT.values()]


def _made(folder: Path) -> dict[str, str]:
    script = ROOT / "deployments/compose/make_secrets.sh"
    subprocess.run([script, str(folder)], check=True, capture_output=True)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_secrets_that_we_read_have_the_names_of_settings() -> None:
    known = {f"organism_{name}" for name in Settings.model_fields} | set(AlertSettings.model_fields)
    targets = {s if isinstance(s, str) else s["target"] for s in SERVICES["worker"]["secrets"]}
    assert targets - known == {"prefect_api_auth_string"}
    variables = {name for name in SERVICES["worker"]["environment"] if not name.startswith(("PREFECT_", "NEEDED_"))}
    assert {name.lower() for name in variables} <= known


def test_empty_files_of_secrets_configure_no_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from alerts import settings

    _made(tmp_path)
    for name in AlertSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("ORGANISM_SECRETS_DIR", str(tmp_path))
    config = settings.load(_env_file=None)
    assert [
        name for name in AlertSettings.model_fields if getattr(config, name) and name.endswith(("webhook_url", "dsn"))
    ] == []


def test_every_setting_of_prefect_exists() -> None:
    """A mistyped one would mean the default, silently."""
    from prefect.settings import get_current_settings
    from prefect.settings.legacy import _get_settings_fields

    known = {name.upper() for name in _get_settings_fields(type(get_current_settings()))}
    known |= {
        "PREFECT_WORK_POOL_NAME",
        "PREFECT_UI_URL",
        "PREFECT_SERVER_ENCRYPTION_KEY",
        "PREFECT_REDIS_MESSAGING_URL",
    }
    assert _named() <= known | _aliases(), sorted(_named() - known - _aliases())


def _named() -> set[str]:
    files = [
        compose.FILE,
        compose.SCALE,
        *K8S.glob("*.yaml"),
        *UNITS.glob("*.service"),
        ROOT / "deployments/Dockerfile",
    ]
    text = "\n".join(path.read_text("utf-8") for path in files)
    named = set(re.findall(r"\b(PREFECT_[A-Z_]+)\b(?=[:=])", text)) - {"PREFECT_KEEP_SECONDS", "PREFECT_KEEP_EVENTS"}
    return {name for name in named if not name.startswith("PREFECT_API_PROCESSES")}


def _aliases() -> set[str]:
    """Other names that Prefect's own settings answer to."""
    from prefect.settings.models.server import api, ui

    fields = [*api.ServerAPISettings.model_fields.values(), *ui.ServerUISettings.model_fields.values()]
    choices = [getattr(field.validation_alias, "choices", ()) for field in fields]
    return {str(name).upper() for names in choices for name in names if isinstance(name, str)}


@pytest.mark.parametrize("where", ["compose", "kubernetes", "systemd", "scale"])
def test_leases_of_slots_survive_a_restart_of_the_server(where: str) -> None:
    """In memory, which is Prefect's default, a killed run's slot would be taken for ever."""
    name = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"
    settings = next(doc for doc in _resources("settings.yaml") if doc["metadata"]["name"] == "prefect-server-settings")
    found = {
        "compose": SERVICES["prefect-server"]["environment"][name],
        "scale": SPLIT["prefect-server"]["environment"][name],
        "kubernetes": settings["data"][name],
        "systemd": str(_unit("organism-prefect-server.service")["Environment"][name]),
    }[where]
    assert found == ("prefect_redis.lease_storage" if where == "scale" else server.LEASES_ON_DISK)
    assert SPLIT["prefect-services"]["environment"] == SPLIT["prefect-server"]["environment"]


def test_a_worker_is_given_the_time_that_it_needs_to_end_its_runs() -> None:
    pod = _pod_of("worker.yaml")
    assert int(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > worker.LONGEST_STOP_S
    assert pod["terminationGracePeriodSeconds"] > worker.LONGEST_STOP_S
    assert int(_unit("organism-worker.service")["TimeoutStopSec"]) > worker.LONGEST_STOP_S
    assert _unit("organism-worker.service")["KillMode"] == "mixed"


def test_the_dead_man_of_a_cluster_stays_and_remembers() -> None:
    """A job with an empty directory would tell everybody anew every five minutes while PostgreSQL is away."""
    claim, deployment = _resources("dead-man.yaml")
    its, pod = deployment["spec"], deployment["spec"]["template"]["spec"]
    assert (deployment["kind"], its["replicas"], its["strategy"]) == ("Deployment", 1, {"type": "Recreate"})
    (state,) = [volume for volume in pod["volumes"] if volume["name"] == "state"]
    assert state["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
    assert pod["containers"][0]["args"] == SERVICES["dead-man"]["command"]
    assert pod["containers"][0]["livenessProbe"]["exec"]["command"] == SERVICES["dead-man"]["healthcheck"]["test"][1:]


def test_a_probe_over_the_network_reaches_the_worker(tmp_path: Path) -> None:
    """By default its health check listens on loopback alone, where the kubelet is not."""
    container = next(_resources("worker.yaml"))["spec"]["template"]["spec"]["containers"][0]
    assert {"httpGet"} <= set(container["livenessProbe"]) & set(container["startupProbe"])
    given = {its["name"]: its["value"] for its in container["env"]}
    host = "PREFECT_WORKER_WEBSERVER_HOST"
    assert worker.environment(given, tmp_path, 8080)[host] == "0.0.0.0"
    assert worker.environment({}, tmp_path, 8080)[host] == "127.0.0.1"


# ------------------------------------------------------------------------------------------------ image


def test_the_image_has_a_user_of_its_own_and_ends_as_a_worker() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert last.rstrip().endswith('CMD ["python", "-m", "deployments.worker"]')
    assert "HEALTHCHECK" in last
    assert not re.search(r"(?i)password|secret|token", re.sub(r"#.*", "", DOCKERFILE))


def test_only_what_the_image_is_made_of_goes_to_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert lines[lines.index("*") + 1 :][0].startswith("!")
    sent = {line[1:] for line in lines if line.startswith("!")}
    assert {"pipelines", "alerts", "deployments", "prefect.yaml", "requirements.txt", "pyproject.toml"} <= sent
    assert not sent & {".git", ".env", ".organism", "tests"}
    assert {"deployments/compose/secrets", "**/.env"} <= set(lines)
    assert "secrets/" in (ROOT / "deployments/compose/.gitignore").read_text("utf-8").split()


@pytest.mark.parametrize("name", ["make_secrets.sh", "entrypoint.sh"])
def test_shell_scripts_are_readable_by_the_plainest_shell(name: str) -> None:
    path = ROOT / "deployments/compose" / name
    assert path.stat().st_mode & 0o111
    assert path.read_text("utf-8").startswith("#!/bin/sh\n")
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0


def test_the_wheel_holds_every_file_that_is_read_at_run_time(tmp_path: Path) -> None:
    """An image is made from the wheel alone: what only the checkout has would be missing there."""
    copy = tmp_path / "src"
    copy.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "secrets")
    for name in ("pipelines", "alerts", "deployments"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), "."]
    subprocess.run(build, cwd=copy, check=True, capture_output=True, env=_without_compiler())
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    kinds = {".py", ".sql", ".cypher", ".lua", ".toml", ".yaml", ".typed", ".c", ".h"}
    wanted = {
        str(p.relative_to(copy)) for top in ("pipelines", "alerts", "deployments") for p in (copy / top).rglob("*")
    }
    assert {name for name in wanted if Path(name).suffix in kinds} - inside == set()
    assert [name for name in inside if "/secrets/" in name] == []


def _without_compiler() -> dict[str, str]:
    """The kernels are built by other tests; here they would only take time."""
    import os

    return {**os.environ, "CC": "false"}


# ------------------------------------------------------------------------------------------------ kubernetes


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("path", sorted(K8S.glob("*.yaml")), ids=lambda path: path.name)
def test_manifests_fit_the_schemas_of_kubernetes(path: Path, version: str) -> None:
    validator = import_module("kubernetes_validate")
    for document in [] if path.name == "kustomization.yaml" else _resources(path.name):
        validator.validate(document, version, strict=True)


def test_the_schemas_of_kubernetes_find_a_mistyped_key() -> None:
    """The control."""
    validator = import_module("kubernetes_validate")
    document = next(_resources("worker.yaml"))
    document["spec"]["template"]["spec"]["terminationGracePeriod"] = 60
    with pytest.raises(validator.ValidationError):
        validator.validate(document, KUBERNETES[0], strict=True)


def test_every_manifest_is_applied() -> None:
    listed = yaml.safe_load((K8S / "kustomization.yaml").read_text("utf-8"))["resources"]
    assert set(listed) == {path.name for path in K8S.glob("*.yaml")} - {"kustomization.yaml"}


def test_no_manifest_holds_a_secret() -> None:
    documents = [doc for path in K8S.glob("*.yaml") for doc in _resources(path.name)]
    assert "Secret" not in {doc["kind"] for doc in documents}
    values = [str(value) for doc in documents if doc["kind"] == "ConfigMap" for value in doc["data"].values()]
    assert [value for value in values if re.search(r"://[^/]*@", value)] == []


def test_every_service_of_ours_in_compose_is_one_of_the_cluster() -> None:
    """But for the numbers, which /metrics of the API gives there, too."""
    pods = {doc["metadata"]["name"] for path in K8S.glob("*.yaml") for doc in _resources(path.name) if _pod(doc)}
    assert pods == set(OURS) - {"metrics"}


@pytest.mark.parametrize("name", PODS)
def test_pods_fit_the_restricted_standard(name: str) -> None:
    pod = _pod_of(name)
    its = pod["securityContext"]
    assert (its["runAsNonRoot"], its["runAsUser"], its["seccompProfile"]) == (True, 10001, {"type": "RuntimeDefault"})
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    for container in pod["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} == set(container["resources"]["limits"])


@pytest.mark.parametrize("name", PODS)
def test_whatever_stays_is_probed_and_gets_requests_only_when_it_is_ready(name: str) -> None:
    documents = {doc["kind"]: doc for doc in _resources(name)}
    if "Job" in documents:
        return
    container = _pod_of(name)["containers"][0]
    assert "livenessProbe" in container
    if "ports" in container:
        assert {"startupProbe", "livenessProbe"} <= {key for key in container if "httpGet" in str(container[key])}
    assert ("Service" in documents) == ("readinessProbe" in container)
    if service := documents.get("Service"):
        labels = documents["Deployment"]["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
        assert [port["targetPort"] for port in service["spec"]["ports"]] == [p["name"] for p in container["ports"]]


def test_the_probes_of_the_api_ask_what_they_are_for() -> None:
    """While a store is away it gets no requests; started anew it would be no better off."""
    container = _pod_of("api.yaml")["containers"][0]
    asked = {key: its["httpGet"]["path"] for key, its in container.items() if key.endswith("Probe")}
    assert asked == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert "/healthz" in SERVICES["api"]["healthcheck"]["test"][-1]


def test_who_gets_requests_lets_in_those_who_send_them() -> None:
    """Everything is closed that no policy opens."""
    policies = {doc["metadata"]["name"]: doc["spec"] for doc in _resources("network.yaml")}
    for name in PODS:
        for service in (doc for doc in _resources(name) if doc["kind"] == "Service"):
            its = policies[service["metadata"]["name"]]
            assert its["podSelector"]["matchLabels"] == service["spec"]["selector"]
            ports = [port["port"] for rule in its["ingress"] for port in rule["ports"]]
            assert ports == [port["port"] for port in service["spec"]["ports"]]


def _resources(name: str) -> Any:
    return yaml.safe_load_all((K8S / name).read_text("utf-8"))


def _pod_of(name: str) -> dict[str, Any]:
    return next(found for doc in _resources(name) if (found := _pod(doc)))


def _pod(document: dict[str, Any]) -> dict[str, Any] | None:
    spec = document.get("spec", {})
    template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
    return template["spec"] if template else None


# ------------------------------------------------------------------------------------------------ systemd


def test_units_are_right_by_systemd_itself(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    for path in [*UNITS.glob("*.service"), *UNITS.glob("*.timer")]:
        text = path.read_text("utf-8").replace("/opt/organism/bin/python", sys.executable)
        (tmp_path / path.name).write_text(re.sub(r"(?m)^(User|EnvironmentFile)=.*\n", "", text))
    units = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "organism" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("name", sorted(path.name for path in UNITS.glob("*.service")))
def test_every_unit_is_shut_in_and_one_that_stays_is_started_again_and_limited(name: str) -> None:
    its, text = _unit(name), (UNITS / name).read_text("utf-8")
    assert (its["User"], its["NoNewPrivileges"], its["ProtectSystem"]) == ("organism", "yes", "strict")
    assert {"ProtectHome", "PrivateTmp", "PrivateDevices", "RestrictAddressFamilies"} <= set(its)
    assert "\nCapabilityBoundingSet=\n" in text
    if its["Type"] == "exec":
        assert (its["Restart"], its["LockPersonality"], its["RestrictSUIDSGID"]) == ("always", "yes", "yes")
        assert {"MemoryMax", "TimeoutStopSec", "WantedBy"} <= set(its)


def test_commands_of_units_and_manifests_exist() -> None:
    files = [*UNITS.iterdir(), *K8S.glob("*.yaml"), compose.FILE]
    text = "\n".join(path.read_text("utf-8") for path in files)
    named = set(re.findall(r"-m[, ]+((?:deployments|alerts|pipelines)[\w.]*)", text))
    assert {"deployments", "deployments.worker", "alerts", "pipelines.api"} <= named
    missing = [name for name in named if not _is_command(name)]
    assert missing == []


def _is_command(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def _unit(name: str) -> dict[str, Any]:
    """Of the section Service: each setting, and its Environment as a mapping."""
    found: dict[str, Any] = {"Environment": {}}
    for line in (UNITS / name).read_text("utf-8").splitlines():
        key, _, value = line.partition("=")
        if key == "Environment":
            found[key].update([value.split("=", 1)])
        elif value:
            found[key] = value
    return found
