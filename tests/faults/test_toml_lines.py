"""Where keys and values stand in a TOML file."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from faults.toml.lines import line_of, lines_of

TRICKY = '''\
# comment with [table] and key = 1
name = "not [a] # comment"
"quoted \\u0041.key" = 1 # = {

long = """
[not.a.table]
key = "no" \\""" still ""
"""""
raw = \'\'\'
[[nor.this]]
\\\'\'\'
a.b . "c" = { d = 1, e = [ { f = 2 }, { "g h" = [3] } ] }
mixed = [ # a comment ] here
  1,
  "two, ]",

  [3, 4], { x = 1 },
]
when = 1979-05-27 07:32:00

[deep.child]
key = 1
[deep]
own = 2

[[rule]]
name = "first"
[rule.extra]
x = 1
[[rule.part]]
y = 1
[[rule.part]]
y = 2
[[rule]]
[[rule.part]]
z = 1
  [ "spaced" . table ]  # end
  w = true'''


def test_everything_of_a_tricky_file_is_found_where_it_stands():
    expected = {
        ("name",): 2,
        ("quoted A.key",): 3,
        ("long",): 5,
        ("raw",): 9,
        ("a", "b", "c"): 12,
        ("a", "b", "c", "e", 1, "g h", 0): 12,
        ("mixed", 0): 14,
        ("mixed", 1): 15,
        ("mixed", 2, 1): 17,
        ("mixed", 3, "x"): 17,
        ("when",): 19,
        ("deep", "child", "key"): 22,
        ("deep",): 23,
        ("deep", "own"): 24,
        ("rule",): 26,
        ("rule", 0): 26,
        ("rule", 0, "extra"): 28,
        ("rule", 0, "part", 1, "y"): 33,
        ("rule", 1): 34,
        ("rule", 1, "part", 0, "z"): 36,
        ("spaced", "table", "w"): 38,
    }
    lines = lines_of(TRICKY)
    assert {path: lines.get(path) for path in expected} == expected
    assert set(lines) == paths_of(tomllib.loads(TRICKY))


def test_what_is_missing_is_reported_where_its_surroundings_begin():
    assert line_of(TRICKY, ("rule", 1, "name")) == 34
    assert line_of(TRICKY, ("deep", "child", "key", "beyond")) == 22
    assert line_of(TRICKY, ()) is None
    assert line_of(TRICKY, ("nowhere",)) is None


def test_windows_line_ends_count_once():
    text = 'a = 1\r\nb = """\r\nx\r\n"""\r\n[c]\r\nd = 1\r\n'
    assert line_of(text, ("c", "d")) == 6


def paths_of(value, path=()):
    """Every path of a parsed document."""
    found = {path} if path else set()
    children = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        children = enumerate(value)
    for key, child in children:
        found |= paths_of(child, (*path, key))
    return found


KEYS = st.sampled_from(["a", "b", '"c d"', "'e.f'", '"\\u0067"', "8-9_"])
SCALARS = st.sampled_from(
    [
        "1",
        "true",
        '"x # ]"',
        "'''y\n[z]\n'''",
        '"""\n\\"""]\n"""',
        "1.5e3",
        "1979-05-27 07:32:00",
        "''",
    ]
)
GAPS = st.sampled_from(["", " ", "\n", " # ], }\n", "\n\n  "])


@st.composite
def arrays(draw, values):
    items = draw(st.lists(values, max_size=3))
    return "[" + "".join(draw(GAPS) + item + draw(GAPS) + "," for item in items) + draw(GAPS) + "]"


@st.composite
def inline_tables(draw, values):
    keys = draw(st.lists(KEYS, max_size=3, unique=True))
    return "{ " + ", ".join(f"{key} = {draw(values)}" for key in keys) + " }"


VALUES = st.recursive(SCALARS, lambda inner: arrays(inner) | inline_tables(inner), max_leaves=6)


@st.composite
def documents(draw):
    lines = []
    for _ in range(draw(st.integers(0, 6))):
        keys = ".".join(draw(st.lists(KEYS, min_size=1, max_size=3)))
        header = draw(st.sampled_from(["", f"[{keys}]", f"[[ {keys} ]]"]))
        if header:
            lines.append(header + draw(st.sampled_from(["", " # [x]", "\n"])))
        for _ in range(draw(st.integers(0, 3))):
            key = " . ".join(draw(st.lists(KEYS, min_size=1, max_size=2)))
            lines.append(f"{key} = {draw(VALUES)}{draw(st.sampled_from(['', '  # y = 1']))}")
    return "\n".join(lines)


@given(documents())
def test_exactly_the_paths_that_tomllib_reads_are_found(text):
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = lines_of(text)
    assert set(lines) == paths_of(document)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
