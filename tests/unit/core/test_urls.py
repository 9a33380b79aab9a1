import pytest

from active_call.core.urls import MASK, mask_urls


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://user:pass@host/path", f"https://user:{MASK}@host/path"),
        ("https://token@host/path", f"https://{MASK}@host/path"),
        ("ws://host/?api_key=abc&x=1#f", f"ws://host/?api_key={MASK}&x=1#f"),
        ("a http://h/?x=1&X-Amz-Signature=abc failed", f"a http://h/?x=1&X-Amz-Signature={MASK} failed"),
        ('{"url": "http://h/?token=abc"}', f'{{"url": "http://h/?token={MASK}"}}'),
        ("http://host:8080/a@b?c=d", "http://host:8080/a@b?c=d"),
        ("sip:alice:x@host?token=1", "sip:alice:x@host?token=1"),
        ("", ""),
    ],
)
def test_secrets_in_urls_are_masked(text: str, masked: str) -> None:
    assert mask_urls(text) == masked
