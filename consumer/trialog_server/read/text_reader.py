"""Reads a search text from left to right and names the place of a failure; knows no language."""

from __future__ import annotations

import re

from trialog_schemas.errors import ValidationError, shown
from trialog_server.read.texts import is_storable

QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`""")
"""A text in quotes of one of three kinds; a quote inside is doubled."""

_BLANK = re.compile(r"\s*")


class TextReader:
    """Keeps the place in a text; the words of a language are read by its own class.

    Args:
        subject: what the text is, for messages.
        text: what is read.
        chars_max: characters that it may have.
    """

    def __init__(self, subject: str, text: str, chars_max: int) -> None:
        self._subject = subject
        self._text = text
        self._at = 0
        if len(text) > chars_max:
            raise self.error(f"it has {len(text)} characters, allowed are {chars_max}")
        if not is_storable(text):
            raise self.error("a NUL or a lone surrogate is no text that a run can have")

    def is_at_end(self) -> bool:
        """Skip blanks and tell whether nothing follows."""
        self._skip_blanks()
        return self._at == len(self._text)

    def error(self, why: str) -> ValidationError:
        """Return the error that names this place."""
        near = self._text[self._at : self._at + 20]
        place = f"at character {self._at + 1} (before {near!r})" if near else "at its end"
        return ValidationError(
            f"{self._subject} {shown(self._text)} cannot be read {place}: {why}",
            field=self._subject,
            value=self._text,
            limit=why,
        )

    def _read(self, pattern: re.Pattern[str], expected: str, *, skips_blanks: bool = True) -> str:
        if skips_blanks:
            self._skip_blanks()
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self.error(f"{expected} is expected")
        self._at = found.end()
        return found.group()

    def _skip_blanks(self) -> None:
        blank = _BLANK.match(self._text, self._at)
        if blank is not None:
            self._at = blank.end()


def unquoted(text: str) -> str:
    """Return what stands in quotes."""
    quote = text[0]
    return text[1:-1].replace(quote * 2, quote)
