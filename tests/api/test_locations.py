"""URIs to file systems: nothing climbs out of its claim."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoglm_api.locations import Location, locate, read_credentials
from autoglm_api.stores import s3_options


def test_claims_lie_below_their_root(tmp_path: Path) -> None:
    place = locate("pvc://team/data/train.jsonl", claims_root=tmp_path, credentials={})
    assert place == Location("file", str(tmp_path / "team/data/train.jsonl"))


@pytest.mark.parametrize(
    "uri", ["pvc://team/../other/x", "pvc://team/%2e%2e/other", "pvc://../etc/passwd", "pvc:///x", "pvc://UPPER/x"]
)
def test_a_path_out_of_its_claim_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="claim"):
        locate(uri, claims_root=tmp_path, credentials={})


def test_a_link_out_of_its_claim_is_refused(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "out").symlink_to("/etc")
    with pytest.raises(ValueError, match="leaves the claim team"):
        locate("pvc://team/out/passwd", claims_root=tmp_path, credentials={})


def test_file_paths_may_hold_escaped_spaces(tmp_path: Path) -> None:
    assert locate("file:///a%20b/c", claims_root=tmp_path, credentials={}).path == "/a b/c"


def test_s3_takes_its_own_credentials_only(tmp_path: Path) -> None:
    place = locate(
        "s3://bucket/key",
        claims_root=tmp_path,
        credentials={"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu", "HF_TOKEN": "no"},
    )
    assert place.path == "bucket/key"
    assert place.options == {"key": "k", "secret": "s", "client_kwargs": {"region_name": "eu"}}
    assert s3_options({}) == {}


def test_unknown_scheme_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ftp:// is not a place for files; known: file, pvc, s3"):
        locate("ftp://x/y", claims_root=tmp_path, credentials={})


def test_credentials_are_the_files_of_a_mounted_secret(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "AWS_REGION").write_text("eu\n")
    assert read_credentials(tmp_path) == {"AWS_REGION": "eu"}
    assert read_credentials(tmp_path / "none") == {}
