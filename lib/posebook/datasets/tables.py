"""Tables of text, as Excel, pandas and MATLAB write them: a name and numbers in each line."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Collection
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from posebook.outside import existing

_SEPARATORS = ",;\t"


def read_fields(path: str | Path) -> list[list[str]]:
    """The fields of each line that has any, a header's too.

    Fields stand between commas, semicolons or tabs, in quotes or not; the text is in UTF-8 or UTF-16, with a byte order
    mark or not, or else in Windows' Latin.

    Raises:
        FileNotFoundError, ValueError: no such file; one that is not text.
    """
    path = existing(path)
    text = _text(path.read_bytes())
    if "\0" in text:
        raise ValueError(f"{path} is not a table of text: it holds bytes that are no letters")
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(_SEPARATORS, key=first.count)
    try:
        rows = [[field.strip() for field in row] for row in csv.reader(text.splitlines(), delimiter=separator)]
    except csv.Error as error:
        raise ValueError(f"{path} is not a table of text: {error}") from error
    rows = [row for row in rows if any(row)]
    if separator == ";":  # where a comma is the decimal point
        rows = [[row[0], *(field.replace(",", ".") for field in row[1:])] for row in rows]
    return rows


def read_lines(path: str | Path) -> list[list[str]]:
    """The fields of each line that has any, as `read_fields` reads them, without a header.

    A first line that has no number is a header; where it starts with an empty field, the first column is pandas' index
    and is left out too. Raises what `read_fields` does.
    """
    rows = read_fields(path)
    if rows and len(rows[0]) > 1 and not any(_is_number(field) for field in rows[0][1:]):
        index = rows[0][0] == ""
        rows = [row[index:] for row in rows[1:]]
    return rows


def read_table(path: str | Path, columns: Collection[int], what: str) -> tuple[list[str], Float64[np.ndarray, "n k"]]:
    """The name and the numbers of each line; an empty field is not a number.

    Args:
        columns: how many numbers a line may have; all lines have as many.
        what: a line, in words.

    Raises:
        FileNotFoundError, ValueError: as `read_lines`; a line that is something else.
    """
    rows = read_lines(path)
    if not rows:
        raise ValueError(f"{path}: it is empty; a line is {what}")
    count = len(rows[0]) - 1
    for number, row in enumerate(rows, 1):
        if len(row) - 1 not in columns or len(row) - 1 != count:
            raise ValueError(f"{path}: line {number} has {len(row)} fields; a line is {what}")
    values = np.empty((len(rows), count))
    for number, row in enumerate(rows):
        try:
            values[number] = [float(field or "nan") for field in row[1:]]
        except ValueError as error:
            raise ValueError(f"{path}: in line {number + 1} a field is not a number ({error})") from error
    return [row[0] for row in rows], values


def _text(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
