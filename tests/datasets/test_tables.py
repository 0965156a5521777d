"""Tables as Excel, pandas, MATLAB and people write them."""

from __future__ import annotations

import numpy as np
import pytest

from posebook.datasets.tables import read_lines, read_table

NAMES = ["é one.jpg", "two, of them.jpg"]
VALUES = np.array([[1.5, -2.0, 3.25], [40.0, np.nan, 6.0]])


def written(separator: str = ",", point: str = ".", quote: str = '"', lost: str = "nan", header: str = "") -> str:
    lines = [header] if header else []
    for name, row in zip(NAMES, VALUES, strict=True):
        fields = [lost if np.isnan(x) else f"{x:g}".replace(".", point) for x in row]
        lines.append(separator.join([f"{quote}{name}{quote}", *fields]))
    return "\r\n".join(lines) + "\r\n"


@pytest.mark.parametrize(
    "content",
    [
        written().encode(),
        written().encode("utf-8-sig"),
        written().encode("utf-16"),
        written().encode("cp1252"),
        written(";", ",").encode("utf-8-sig"),
        written("\t", lost="").encode(),
        written(header="image,x,y,z").encode(),
        written(header=',"image",x,y,z').replace('"é', '0,"é').replace('"two', '1,"two').encode(),
        (written() + "\n \n").encode(),
        ("\n" + written()).encode(),
    ],
    ids=["plain", "mark", "utf-16", "windows", "excel", "tabs", "header", "pandas", "end", "start"],
)
def test_all_of_them_give_the_same(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    names, values = read_table(path, (3, 4), "a name and 3 numbers")
    assert names == NAMES
    np.testing.assert_array_equal(values, VALUES)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "table.csv: it is empty; a line is a name and 2 numbers"),
        ("a,1,2\nb,1\n", "table.csv: line 2 has 2 fields; a line is a name and 2 numbers"),
        ("a,1\nb,1\n", "table.csv: line 1 has 2 fields"),
        ("a,1,2\nb,1,two\n", "table.csv: in line 2 a field is not a number .*two"),
        ("a,1,2\nb\0,1,2\n", "table.csv is not a table of text"),
    ],
)
def test_what_is_something_else_is_named(tmp_path, content, sentence):
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(ValueError, match=sentence):
        read_table(tmp_path / "table.csv", (2,), "a name and 2 numbers")


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"table\.csv does not exist"):
        read_lines(tmp_path / "table.csv")
