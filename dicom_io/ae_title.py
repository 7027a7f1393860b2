"""What may be an AE title."""

from __future__ import annotations

_LONGEST = 16


def require_ae_title(title: str) -> None:
    """Check an AE title: 1 to 16 printable ASCII characters without backslash, not padded (PS3.5 6.2).

    Raises
    ------
    ValueError
        Otherwise.
    """
    legal = title.isascii() and title.isprintable() and "\\" not in title
    if not legal or title != title.strip() or not 0 < len(title) <= _LONGEST:
        raise ValueError(
            f"{title!r} is no AE title: 1 to 16 printable ASCII characters, no backslash, not padded"
        )
