"""``Troubles``: what goes wrong again and again is said once, until it changes or is over."""

from __future__ import annotations


class Troubles:
    """What was last said of each subject."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def is_news(self, text: str, subject: str = "") -> bool:
        """Whether this was not the last that was said; from now on it is."""
        known = self._said.get(subject) == text
        self._said[subject] = text
        return not known

    def over(self, subject: str = "") -> None:
        self._said.pop(subject, None)
