"""Text tables in the forms that the UCI collection has, and the table of countries."""

import numpy as np
import pytest

from matterscape.datasets.tables import load_regression_table, who_countries

pytestmark = pytest.mark.unit

INPUTS = [[1.0, -2.5], [3e-2, 4.0], [5.0, 6.0]]
TARGETS = [7.0, 8.25, -9.0]


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "table.txt"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1,-2.5,7\n3e-2,4,8.25\n5,6,-9\n", "012"),
        ("  1.00   -2.5  7\n 3e-2  4    8.25\n 5\t6  -9", "012"),  # columns of blanks, as in Boston housing
        ("1\t-2.5\t7\n3e-2\t4\t8.25\n5\t6\t-9\n", "012"),
        ("a,b,c\n1,-2.5,7\n3e-2,4,8.25\n5,6,-9\n", "abc"),
        ('"a";"b";"c"\n1;-2.5;7\n3e-2;4;8.25\n5;6;-9\n', "abc"),  # wine quality
        ("a;b;c\n1;-2,5;7\n3e-2;4;8,25\n5;6;-9\n", "abc"),
        ("# measured on Monday\n\na, b, c\n1, -2.5, 7\n% more\n3e-2, 4, 8.25 # sic\n\n5, 6, -9\n", "abc"),
        ("\ufeffa,b,c\r\n1,-2.5,7\r\n3e-2,4,8.25\r\n5,6,-9\r\n", "abc"),
    ],
)
def test_separators_headers_and_comments(write, text, names):
    table = load_regression_table(write(text))
    np.testing.assert_array_equal(table.inputs, INPUTS)
    np.testing.assert_array_equal(table.targets, TARGETS)
    assert table.input_names == tuple(names[:2]) and table.target_name == names[2]
    assert table.inputs.dtype == table.targets.dtype == np.float64


@pytest.mark.parametrize("target", ["b", 1, -2])
def test_any_column_can_be_the_target(write, target):
    table = load_regression_table(write("a,b,c\n1,-2.5,7\n3e-2,4,8.25\n5,6,-9\n"), target=target)
    np.testing.assert_array_equal(table.targets, np.array(INPUTS)[:, 1])
    np.testing.assert_array_equal(table.inputs, np.stack([np.array(INPUTS)[:, 0], TARGETS], axis=1))
    assert table.input_names == ("a", "c")


def test_columns_of_texts_can_be_ignored(write):
    """As in Auto MPG, whose last column is the name of the car in quotes."""
    path = write('18.0   8  3504.  "chevrolet, chevelle"\n15.0   4  3693.\t"buick"\n')
    table = load_regression_table(path, target=0, ignore=[-1])
    np.testing.assert_array_equal(table.targets, [18.0, 15.0])
    np.testing.assert_array_equal(table.inputs, [[8.0, 3504.0], [4.0, 3693.0]])


def test_a_first_row_with_texts_and_numbers_is_no_header(write):
    """As in Abalone, whose first column is a letter."""
    table = load_regression_table(write("M,0.455,15\nF,0.53,9\n"), ignore=["0"])
    np.testing.assert_array_equal(table.targets, [15.0, 9.0])
    assert load_regression_table(write("humidity (%),no#1,y\n1,2,3\n")).input_names == ("humidity (%)", "no#1")


@pytest.mark.parametrize("missing", ["?", "NA", "", "nan"])
def test_missing_values_are_told_or_dropped(write, missing):
    path = write(f"a,b,c\n1,-2.5,7\n{missing},4,8.25\n5,6,-9\n{missing},1,1\n")
    with pytest.raises(ValueError, match="misses 2 values, the first in data row 2, column 'a'; drop_missing=True"):
        load_regression_table(path)
    table = load_regression_table(path, drop_missing=True)
    np.testing.assert_array_equal(table.targets, [7.0, -9.0])


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("", {}, "must hold at least one row of numbers, got none"),
        ("# nothing\n\n", {}, "must hold at least one row of numbers, got none"),
        ("a,b\n", {}, "got only a header"),
        ("1\n2\n", {}, "must have at least one input besides the target '0'"),
        ("1,2,3\n4,5\n", {}, "rows of equal length, got fewer fields in data row 2"),
        ("1,2,3\n4,5,6,7\n", {}, "rows of equal length"),
        ("a,b\n1,2\n3,red\n", {}, "must hold finite numbers, got 'red' in column 'b'; ignore"),
        ("a,b\n1,2\ninf,4\n", {}, "must hold finite numbers, got 'inf' in column 'a'"),
        ("a,b\n?,2\n3,?\n", {"drop_missing": True}, "must have a row without missing values"),
        ("a,b\n1,2\n", {"target": "c"}, "column 'c' is not in .*, which has a, b"),
        ("a,b\n1,2\n", {"target": 2}, "column 2 is not in"),
        ("a,b\n1,2\n", {"ignore": ["x"]}, "column 'x' is not in"),
        ("a,b\n1,2\n", {"ignore": ["b"]}, "ignore must not hold the target 'b'"),
    ],
)
def test_bad_files_meet_a_sentence(write, text, arguments, message):
    with pytest.raises(ValueError, match=message):
        load_regression_table(write(text), **arguments)


def test_files_that_are_no_text_or_absent(tmp_path):
    (tmp_path / "table.xls").write_bytes(b"\xd0\xcf\x11\xe0\xff\xfe")
    with pytest.raises(ValueError, match="must be a plain text table"):
        load_regression_table(tmp_path / "table.xls")
    with pytest.raises(FileNotFoundError):
        load_regression_table(tmp_path / "none.csv")


def test_countries():
    pytest.importorskip("skmatter")
    table = who_countries()
    assert table.inputs.shape == (2020, 9) and len(table.input_names) == 9
    assert np.isfinite(table.inputs).all()
    assert table.out_of_domain.sum() == 169
    assert 40 < table.targets.min() and table.targets.max() < 90
    prevalence = np.exp(table.inputs[:, table.input_names.index("log HIV prevalence of adults / %")])
    np.testing.assert_array_equal(prevalence > 4.0 + 1e-9, table.out_of_domain)
    row = (table.countries == "Switzerland") & (table.years == 2010)
    assert row.sum() == 1
    assert table.targets[row][0] == pytest.approx(82.2, abs=0.2)
    assert np.exp(table.inputs[row, 0][0]) == pytest.approx(7.82e6, rel=0.01)
    # The split tests extrapolation: life is shorter than linear regression expects from the other rows.
    design = np.column_stack([table.inputs, np.ones(2020)])
    weights = np.linalg.lstsq(design[~table.out_of_domain], table.targets[~table.out_of_domain])[0]
    errors = design @ weights - table.targets
    assert np.sqrt(np.mean(errors[table.out_of_domain] ** 2)) > 1.5 * np.sqrt(
        np.mean(errors[~table.out_of_domain] ** 2)
    )
