"""Patterns in the last part of a URI, and folders that are the numbered parts of one table."""

from __future__ import annotations

import pytest

from autoglm_api.locations import check_rows_uri
from autoglm_api.shards import beside, matching, numbered_parts, parted, pattern_of

NAMES = ("part-10.csv", "part-2.csv", "part-[1].csv", "part-1.csv.gz", "Part-3.csv", ".part-1.csv.crc", "_SUCCESS")


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("s3://bucket/train/part-*.csv", ["part-10.csv", "part-2.csv", "part-[1].csv"]),
        ("file://part-*", ["part-1.csv.gz", "part-10.csv", "part-2.csv", "part-[1].csv"]),
        ("pvc://claim/*", ["Part-3.csv", "part-1.csv.gz", "part-10.csv", "part-2.csv", "part-[1].csv"]),
        ("hf://datasets/a/b/*-[1]*", ["part-[1].csv"]),
        ("file:///data/%70art-1*.csv", ["part-10.csv"]),
        ("s3://bucket/%70art-*.csv", []),
        ("file:///data/_*", ["_SUCCESS"]),
    ],
)
def test_names_match_a_pattern_in_their_order_and_hidden_ones_only_where_it_says_so(uri: str, found: list[str]) -> None:
    pattern = pattern_of(check_rows_uri(uri))
    assert pattern is not None
    assert matching(NAMES, pattern) == found


@pytest.mark.parametrize("uri", ["s3://bucket/a.csv", "file:///data/a%2Ab.csv", "pvc://claim/a"])
def test_without_an_asterisk_one_place_is_named(uri: str) -> None:
    assert pattern_of(check_rows_uri(uri)) is None


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/*/a.csv",
        "s3://buck*/a.csv",
        "s3://*.csv",
        "file:///data/**",
        "pvc://claim/../*/x",
        "file://*/a*.csv",
    ],
)
def test_an_asterisk_stands_for_names_of_files_alone(uri: str) -> None:
    with pytest.raises(ValueError, match="write it behind the last / and nowhere else"):
        check_rows_uri(uri)


def test_files_beside_a_uri_are_written_as_its_scheme_writes_them() -> None:
    assert beside("file:///a b/part-*.csv", "part 1#.csv") == "file:///a b/part%201%23.csv"
    assert beside("s3://bucket/part-*.csv", "part 1#.csv") == "s3://bucket/part 1#.csv"
    assert beside("file://part-*.csv", "part-1.csv") == "file://part-1.csv"
    assert parted("file:///*.csv") == ("file:///", "*.csv")


@pytest.mark.parametrize(
    ("paths", "parts"),
    [
        (["_SUCCESS", "part-1-a2.csv", ".part-0-a2.csv.crc", "part-0-a2.csv"], ["part-0-a2.csv", "part-1-a2.csv"]),
        (["_temporary/0/part-0.csv", "0000.parquet", "0001.parquet"], ["0000.parquet", "0001.parquet"]),
        (["part-0.csv"], ["part-0.csv"]),
        (["train-0.csv", "test-0.csv"], []),
        (["train.csv"], []),
        (["train/0.csv", "train/1.csv"], []),
        ([], []),
    ],
)
def test_a_folder_is_one_table_where_names_differ_in_digits_alone(paths: list[str], parts: list[str]) -> None:
    assert numbered_parts(paths) == parts
