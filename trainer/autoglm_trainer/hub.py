"""The Hugging Face hub: one file of a data set, and what its client's errors mean for the person who named it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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


def data_file(uri: str, path: str, token: object, refusal: type[TrainerError]) -> Path:
    """One file of a data set, kept in the hub client's cache.

    Args:
        uri: as the study names it, for messages.
        path: `datasets/<owner>/<name>[@<revision>]/<path>`.
        token: for private and gated repositories; None = the environment's `HF_TOKEN`.
        refusal: raised when the hub answers but the file cannot be had.

    Raises:
        TrainerError: `refusal`, or SourceUnreachable.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    _, owner, named, inside = path.split("/", 3)
    name, _, revision = named.partition("@")
    words = HubWords(
        where=uri,
        what="the file",
        secret="data.secretRef",  # noqa: S106 - a field's name
        form="hf://datasets/<owner>/<name>@<revision>/<path>",
        refusal=refusal,
        unreachable=SourceUnreachable,
    )
    with explained(words):
        return Path(
            hf_hub_download(
                f"{owner}/{name}", inside, repo_type="dataset", revision=revision or None, token=token_of(token)
            )
        )


@contextmanager
def explained(words: HubWords) -> Iterator[None]:
    """Turn the errors of the hub's client into sentences.

    Raises:
        TrainerError: as `words` say.
    """
    from huggingface_hub.errors import (
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
        raise words.refusal(f"{where}: no such file in the repository; check path and revision") from error
    except HFValidationError as error:
        raise words.refusal(f"{where}: not a repository name; write {words.form}") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        offline = os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE")
        raise (words.refusal if offline else words.unreachable)(
            f"{where}: the hub cannot be reached from here and {words.what} is not in the cache; allow access to it"
            f" (HTTPS_PROXY, HF_ENDPOINT), or put {words.what} on S3 or a claim and name that"
        ) from error
