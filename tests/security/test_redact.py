"""What may be told of a URL."""

import pytest

from s2cmc._redact import redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at https://u:p@h:80/a is", "at https://h:80/a is"),
        ("https://token@h/a", "https://h/a"),
        ("https://u:p@w@h/a", "https://h/a"),
        ("https://u:p/w@h/a", "https://h/a"),
        ("https://u:p?w#x@h/a", "https://h/a"),
        ("https://u:it's@h/a", "https://h/a"),
        ("'https://h/a?X-Amz-Signature=1&b=2'; expected", "'https://h/a'; expected"),
        ("https://h/a#access_token=1 cannot", "https://h/a cannot"),
        ("zip://a::https://u:p@h/z?s=1", "zip://a::https://h/z"),
        ("ftp://u:p@h/a and s3://k:s@b/c", "ftp://h/a and s3://b/c"),
        ("HTTPS://u:p@h", "HTTPS://h"),
        # No credentials.
        ("abfs://container@account.dfs.core.windows.net/a", "abfs://container@account.dfs.core.windows.net/a"),
        ("s3://bucket/a@v1/b", "s3://bucket/a@v1/b"),
        ("http://h:8080/a@b", "http://h:8080/a@b"),
        ("a@b.c, what? 'd'", "a@b.c, what? 'd'"),
        ("did you mean snow_ice?", "did you mean snow_ice?"),
        ("abfs://u:p@h/a", "abfs://h/a"),
        ("<Code>E</Code><StringToSign>x\ny</StringToSign>", "<Code>E</Code>"),
    ],
)
def test_what_is_left_of_urls(text, expected):
    assert redacted(text) == expected
