"""An audit by somebody who has only the repository: what was changed is named, in a folder, a bucket, on the Hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hub_server
import pytest
from s3_server import running_moto

from artifacts.bucket import BucketStorage
from core.export.certificate import Certificate, Check, describe
from core.publishing.audit import audit_repository
from core.stages.context import StageError, StageUnavailable

CARD = "---\nlicense: mit\nlibrary_name: transformers\n---\n\n# A model\n"
NAME = "lab/nanochat-tiny-hf-base"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_index(folder: Path) -> None:
    """List every file that is there, and not hidden, as it is now."""
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    index = {"files": {path.name: sha256(path.read_bytes()) for path in paths}}
    (folder / ".miniseries.json").write_text(json.dumps(index))


def certify(folder: Path, measured: float = 0.5) -> None:
    """A certificate about the files that are there, of one check whose bound is 1."""
    check = Check(
        name="logits",
        passed=measured <= 1.0,
        measured=measured,
        limit="at most",
        bound=1.0,
        unit="nats",
        sample_size=8,
        sample_unit="positions",
    )
    certificate = Certificate(
        layout="hf", passed=check.passed, versions={}, difference="", checks=(check,), files=describe(folder)
    )
    certificate.write(folder)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A sound repository in the Hugging Face layout, as a download leaves it."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights" * 100)
    (folder / "config.json").write_text('{"use_rope": false}\n')
    certify(folder)
    (folder / "README.md").write_text(CARD)
    write_index(folder)
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    return folder


def findings(folder: Path) -> dict[str, str]:
    """The problem of each file."""
    return {finding.path: finding.problem for finding in audit_repository(str(folder)).findings}


def test_a_repository_as_it_was_published_has_no_findings(repository: Path) -> None:
    audit = audit_repository(str(repository))
    assert audit.findings == ()
    assert (audit.files, audit.revision) == (4, None)


def test_changed_missing_and_added_files_are_named(repository: Path) -> None:
    (repository / "config.json").write_text('{"use_rope": true}\n')
    (repository / "model.safetensors").unlink()
    (repository / "pytorch_model.bin").write_bytes(b"other weights")
    found = findings(repository)
    assert found["model.safetensors"].startswith("has sha256 none, certificate.json is about")
    assert "certificate.json is about" in found["config.json"]
    assert found["pytorch_model.bin"] == "stands there, but is not in the index"
    problems = [str(finding) for finding in audit_repository(str(repository)).findings]
    assert any("is missing" in problem for problem in problems)
    assert any("the index says" in problem for problem in problems)


def test_an_index_that_was_rewritten_with_the_weights_is_found_by_the_certificate(repository: Path) -> None:
    (repository / "model.safetensors").write_bytes(b"changed" * 100)
    write_index(repository)
    assert list(findings(repository)) == ["model.safetensors"]
    assert "certificate.json is about" in findings(repository)["model.safetensors"]


def damage_certificate(folder: Path) -> None:
    (folder / "certificate.json").write_text("{}")


def fail_certificate(folder: Path) -> None:
    for name in ("certificate.json", "README.md"):
        (folder / name).unlink()
    certify(folder, measured=2.0)
    (folder / "README.md").write_text(CARD)


def remove_certificate(folder: Path) -> None:
    (folder / "certificate.json").unlink()


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (damage_certificate, "cannot be read as a certificate"),
        (fail_certificate, "check logits: 2 nats, must be at most 1, over 8 positions"),
        (remove_certificate, "is missing, so nothing vouches for the weights"),
    ],
)
def test_weights_need_a_certificate_that_passed(repository: Path, damage: Callable[[Path], None], problem: str) -> None:
    damage(repository)
    write_index(repository)
    assert findings(repository)["certificate.json"] in (problem, "does not say that its checks passed")
    assert problem in [finding.problem for finding in audit_repository(str(repository)).findings]


def test_the_native_layout_needs_no_certificate(repository: Path) -> None:
    for name in ("certificate.json", "config.json"):
        (repository / name).unlink()
    write_index(repository)
    assert findings(repository) == {}


@pytest.mark.parametrize(
    ("card", "problem"),
    [
        ("# no front matter\n", "its front matter has no license"),
        ("---\nlicense: mit\n---\n", "its front matter has no library_name"),
        ("---\nlicense: [mit\n---\n", "its front matter is not what the Hub reads: while parsing"),
        (CARD.replace("mit\n", "mit\nmodel-index: 3\n"), "its front matter is not what the Hub reads: Invalid"),
    ],
)
def test_a_card_that_the_hub_cannot_read_is_found(repository: Path, card: str, problem: str) -> None:
    (repository / "README.md").write_text(card)
    write_index(repository)
    assert findings(repository)["README.md"].startswith(problem)


def test_without_an_index_nothing_can_be_verified(repository: Path) -> None:
    (repository / ".miniseries.json").write_text("[]")
    assert findings(repository) == {".miniseries.json": "is missing or lists nothing, so nothing can be verified"}


def test_a_listed_path_outside_the_repository_is_not_read(repository: Path) -> None:
    outside = repository.parent / "secret"
    outside.write_bytes(b"secret")
    index = json.loads((repository / ".miniseries.json").read_text())
    index["files"]["../secret"] = sha256(b"secret")
    (repository / ".miniseries.json").write_text(json.dumps(index))
    assert findings(repository) == {"../secret": "is missing"}


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"nowhere: no such folder; name one, s3://bucket/prefix or namespace/name"):
        audit_repository(str(tmp_path / "nowhere"))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The URL of a bucket on this machine."""
    with running_moto(tmp_path / "log") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield "s3://miniseries"


def test_a_bucket_is_audited_by_its_bytes(repository: Path, bucket: str) -> None:
    storage = BucketStorage("miniseries", f"hub/{NAME}", f"{bucket}/hub/{NAME}")
    for path in repository.iterdir():
        storage.upload(path, path.name)
    assert audit_repository(f"{bucket}/hub/{NAME}").findings == ()
    changed = repository / "config.json"
    changed.write_text('{"use_rope": true }\n')
    storage.upload(changed, "config.json")
    assert {finding.path for finding in audit_repository(f"{bucket}/hub/{NAME}").findings} == {"config.json"}


@pytest.fixture
def on_hub(repository: Path, hub: Any) -> Any:
    """The repository on a Hub."""
    files = {path.name: path.read_bytes() for path in repository.iterdir()}
    kind = hub_server.HubRepository
    hub.repositories[NAME] = kind(NAME, private=True, revisions=[files])
    return hub


def test_the_hub_is_audited_without_downloading_weights(on_hub: Any) -> None:
    audit = audit_repository(NAME)
    assert audit.findings == ()
    assert audit.revision == on_hub.repositories[NAME].sha
    assert not [request for request in on_hub.requests if "model.safetensors" in request]
    files = on_hub.repositories[NAME].files
    files["model.safetensors"] = b"changed" * 100
    assert {finding.path for finding in audit_repository(NAME).findings} == {"model.safetensors"}


def test_a_hub_in_trouble_is_asked_again_and_is_no_finding(on_hub: Any, waits: list[float]) -> None:
    fault, said = hub_server.Fault, []
    busy = fault(f"GET /api/models/{NAME}$", 429, {"Retry-After": "7"})
    trouble = fault(f"HEAD /{NAME}/resolve/.*/README.md", 503)
    dropped = fault(f"HEAD /{NAME}/resolve/.*/config.json", hub_server.NO_TALK)
    on_hub.faults = [busy, trouble, dropped]
    assert audit_repository(NAME, said.append).findings == ()
    assert on_hub.faults == []
    assert waits[0] == 7.0
    assert said[0].startswith(f"trying again in 7 s: {NAME} cannot be read: {on_hub.url} answered 429: ")


def test_a_hub_that_stays_away_is_one_line(on_hub: Any) -> None:
    fault = hub_server.Fault
    on_hub.faults = [fault(f"GET /api/models/{NAME}$", 503) for _ in range(6)]
    with pytest.raises(StageUnavailable, match=rf"^{NAME} cannot be read: [^\n]* answered 503[^\n]*$"):
        audit_repository(NAME)


def test_a_repository_that_the_hub_does_not_show_is_one_line(on_hub: Any, set_token: Callable[[str], None]) -> None:
    with pytest.raises(StageError, match=r"lab/other: neither a folder here nor a repository that can be read on"):
        audit_repository("lab/other")
    set_token("hf_wrongwrongwrong")
    with pytest.raises(StageError, match=r"^lab/nanochat-tiny-hf-base cannot be read: [^\n]*$") as failure:
        audit_repository(NAME)
    assert "hf_wrong" not in str(failure.value)


def test_a_name_that_the_hub_could_not_have_is_one_line(hub: Any) -> None:
    with pytest.raises(StageError, match=r"^lab/-bad--name- cannot be read: [^\n]*$"):
        audit_repository("lab/-bad--name-")
