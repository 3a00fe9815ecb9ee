"""The example in the repository is sound, and says what to expect of every cell."""

from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "fault-matrix.kvmatrix.toml"


def test_the_example_is_sound_and_every_cell_has_an_expectation(kvreplay):
    code, out, err = kvreplay("matrix", "list", EXAMPLE)
    assert (code, err) == (0, "")
    assert "by default" not in out
    assert 40 <= int(out.split()[-2]) <= 200
