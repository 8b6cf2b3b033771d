"""The Hugging Face hub: files of a data set, and what its client's errors mean for the person who named them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from autoglm_api.locations import Location
from autoglm_api.shards import matching

from .errors import SourceUnreachable, TrainerError


@dataclass(frozen=True)
class HubWords:
    """How a study speaks of something on the hub.

    Attributes:
        where: the field and its value.
        what: `the model`, `the file`.
        secret: the field that names the Secret with the token.
        form: how the source is written.
        refusal: raised when the hub answers but the thing cannot be had.
        unreachable: raised when it does not answer.
    """

    where: str
    what: str
    secret: str
    form: str
    refusal: type[TrainerError]
    unreachable: type[TrainerError]


def token_of(token: object) -> str | None:
    """The token that a study gives, or the environment's."""
    return str(token or os.environ.get("HF_TOKEN") or "") or None


def data_file(uri: str, location: Location, refusal: type[TrainerError]) -> Path:
    """One file of a data set, kept in the hub client's cache.

    Args:
        uri: as the study names it, for messages.
        location: the path in the repository; options `repository`, `revision` (None = the newest) and `token` (for
            private and gated repositories; None = the environment's `HF_TOKEN`).
        refusal: raised when the hub answers but the file cannot be had.

    Raises:
        TrainerError: `refusal`, or SourceUnreachable.
    """
    from huggingface_hub import hf_hub_download

    with explained(_words(uri, "the file", refusal)):
        return Path(hf_hub_download(filename=location.path, **_repository(location)))


def matching_data_files(uri: str, location: Location, pattern: str, refusal: type[TrainerError]) -> dict[str, Location]:
    """The files of one folder of a data set, by name: all of one commit, and in the hub client's cache.

    Args:
        uri: as the study names it, for messages.
        location: as for `data_file`; the last part of its path is not looked at.
        pattern: what names must match, as `fnmatch` writes it.
        refusal: raised when the hub answers but the files cannot be had.

    Raises:
        TrainerError: `refusal`, or SourceUnreachable.
    """
    from huggingface_hub import get_cached_repo_tree, snapshot_download

    folder = location.path.rpartition("/")[0]
    below = f"{escape(folder)}/" if folder else ""
    asked = _repository(location)
    with explained(_words(uri, "the folder", refusal)):
        snapshot = Path(
            snapshot_download(
                **asked,
                allow_patterns=[f"{below}{pattern}"],
                ignore_patterns=[f"{below}*/*"],  # to the client a * stands for slashes as well
                max_workers=4,
            )
        )
        # Without the hub the snapshot is what happens to be in the cache; only the listing tells whether that is all.
        listed = get_cached_repo_tree(asked["repo_id"], repo_type="dataset", revision=snapshot.name)
    at_commit = {**location.options, "revision": snapshot.name}
    here = {Path(file.path).name: file.path for file in listed if file.path.rpartition("/")[0] == folder}
    return {name: Location("hf", here[name], at_commit) for name in matching(here, pattern)}


def _repository(location: Location) -> dict[str, Any]:
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    options = location.options
    return {
        "repo_id": str(options["repository"]),
        "repo_type": "dataset",
        "revision": options["revision"],
        "token": token_of(options["token"]),
    }


def _words(uri: str, what: str, refusal: type[TrainerError]) -> HubWords:
    return HubWords(
        where=uri,
        what=what,
        secret="data.secretRef",  # noqa: S106 - a field's name
        form="hf://datasets/<owner>/<name>@<revision>/<path>",
        refusal=refusal,
        unreachable=SourceUnreachable,
    )


@contextmanager
def explained(words: HubWords) -> Iterator[None]:
    """Turn the errors of the hub's client into sentences.

    Raises:
        TrainerError: as `words` say.
    """
    from huggingface_hub.errors import (
        CachedRepoTreeNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = words.where
    try:
        yield
    except GatedRepoError as error:
        raise words.refusal(
            f"{where}: the repository is gated; accept its terms with the account whose HF_TOKEN is in {words.secret}"
        ) from error
    except RevisionNotFoundError as error:
        raise words.refusal(f"{where}: no such revision; name a commit, tag or branch of the repository") from error
    except RepositoryNotFoundError as error:
        raise words.refusal(
            f"{where}: no such repository, or a private one; check the name, and give HF_TOKEN in {words.secret}"
        ) from error
    except RemoteEntryNotFoundError as error:
        raise words.refusal(
            f"{where}: no such file in the repository; check path and revision; a folder's files"
            " are named by a pattern, such as train-*.parquet"
        ) from error
    except HFValidationError as error:
        raise words.refusal(f"{where}: not a repository name; write {words.form}") from error
    except (
        CachedRepoTreeNotFoundError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        HfHubHTTPError,
        OSError,
    ) as error:
        offline = os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE")
        raise (words.refusal if offline else words.unreachable)(
            f"{where}: the hub cannot be reached from here and {words.what} is not in the cache; allow access to it"
            f" (HTTPS_PROXY, HF_ENDPOINT), or put {words.what} on S3 or a claim and name that"
        ) from error
