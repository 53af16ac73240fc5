"""A line of a cell as words: like a shell's, but what stands in brackets stays together, quotes and all."""

from __future__ import annotations

from model_platform_core.errors import InvalidError

_OPEN, _CLOSE = "([{", ")]}"


def split_line(line: str) -> list[str]:
    """Split at spaces outside of quotes and brackets. A word that is one quoted text loses its quotes.

    So `--example X[X.age > 30]` is two words, `--data df["a b"]` keeps its quotes, and `-m "new features"` is a text.

    Raises
    ------
    InvalidError
        If a quote or a bracket is not closed.
    """
    words: list[str] = []
    word, depth, quote, position = "", 0, "", 0
    while position < len(line):
        sign = line[position]
        if quote:
            word += sign
            if sign == "\\" and position + 1 < len(line):
                position += 1
                word += line[position]
            elif sign == quote:
                quote = ""
        elif sign.isspace() and not depth:
            words, word = [*words, word] if word else words, ""
        else:
            # An apostrophe within a word (don't) is none that opens a text.
            opens = sign in "\"'" and (depth or not word or not word[-1].isalnum() or word[-1] in "bfrBFR")
            quote = sign if opens else ""
            depth += (sign in _OPEN) - (sign in _CLOSE)
            word += sign
        position += 1
    if quote or depth > 0:
        what = f"a quote ({quote})" if quote else "a bracket"
        raise InvalidError(f"In this line {what} is opened and not closed.")
    return [_unquoted(one) for one in ([*words, word] if word else words)]


def _unquoted(word: str) -> str:
    if word.startswith("--") and "=" in word:
        flag, _, value = word.partition("=")
        return f"{flag}={_unquoted(value)}"
    if len(word) < 2 or word[0] not in "\"'" or word[-1] != word[0] or word[0] in _unescaped(word[1:-1]):
        return word
    quote = word[0]
    return word[1:-1].replace(f"\\{quote}", quote).replace("\\\\", "\\")


def _unescaped(text: str) -> str:
    """The text without escaped signs."""
    return text.replace("\\\\", "").replace("\\'", "").replace('\\"', "")


def first_word(line: str) -> tuple[str, str]:
    """The first word and the rest of the line as it stands."""
    word, _, rest = line.strip().partition(" ")
    return word, rest.strip()
