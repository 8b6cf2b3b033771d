"""Several files as one source of rows: by a `*` in the last part of the URI, or as the files of one folder. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from glob import escape
from urllib.parse import quote, unquote

# Of other schemes a path is a key, taken as it is written.
_PERCENT_ENCODED = ("file", "pvc", "hf")
_DIGITS = re.compile(r"\d+")


def parted(uri: str) -> tuple[str, str]:
    """A URI up to its last `/`, with it, and what follows: `s3://b/a/` and `x.csv`."""
    scheme, _, rest = uri.partition("://")
    folder, slash, name = rest.rpartition("/")
    return f"{scheme}://{folder}{slash}", name


def beside(uri: str, name: str) -> str:
    """The URI of what lies at `name` in the folder of `uri`; the folder's own where `uri` ends in a slash."""
    folder, _ = parted(uri)
    return folder + (quote(name) if uri.startswith(tuple(f"{scheme}://" for scheme in _PERCENT_ENCODED)) else name)


def check_pattern(uri: str) -> str:
    """The same URI, if a `*` stands in it nowhere but in the name of files.

    Raises:
        ValueError: it stands for folders, or for a bucket.
    """
    folder, name = parted(uri)
    nowhere = folder.endswith("://") and not folder.startswith("file:")
    if "*" in folder or "**" in name or ("*" in name and nowhere):
        raise ValueError(
            f"{uri}: a * stands for any part of a file's name; write it behind the last / and nowhere else"
        )
    return uri


def pattern_of(uri: str) -> str | None:
    """What the names of a source's files must match, as `fnmatch` writes it; None where the URI names one place."""
    _, name = parted(uri)
    if "*" not in name:
        return None
    # %2A is an asterisk that is part of a name.
    decode = unquote if uri.startswith(tuple(f"{scheme}://" for scheme in _PERCENT_ENCODED)) else str
    return "*".join(escape(decode(part)) for part in name.split("*"))


def matching(names: Iterable[str], pattern: str) -> list[str]:
    """The names that match, in order. What is hidden does not, unless the pattern begins as it does."""
    return sorted(name for name in names if fnmatchcase(name, pattern) and not is_hidden(name, pattern[:1]))


def is_hidden(name: str, wanted: str = "") -> bool:
    """Whether a file is none of rows by its name, as Hadoop and Spark have it: `.part-0.crc`, `_SUCCESS`."""
    return name.startswith((".", "_")) and name[:1] != wanted


def numbered_parts(paths: Iterable[str]) -> list[str]:
    """The files of a folder, in order, if they are the numbered parts of one table; otherwise none.

    They are if all have digits in their names and differ in nothing else, as `train-00000-of-00002.parquet` and
    `train-00001-of-00002.parquet`; `train.csv` and `test.csv` are two tables. What is hidden does not count.

    Args:
        paths: of all files below the folder, relative to it.
    """
    seen = sorted(path for path in paths if not any(map(is_hidden, path.split("/"))))
    known = {_DIGITS.sub("0", path) for path in seen}
    return seen if len(known) == 1 and "0" in min(known) and "/" not in min(known) else []
