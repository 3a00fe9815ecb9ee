"""The map of the packages names every module, so that a stranger finds the next place."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: Folders that are told of once: each module in them is one of a family.
FAMILIES = ("replay/commands", "replay/diagnosis/logs/formats")


def test_every_module_is_on_the_map():
    told = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    modules = [
        path
        for package in ("traces", "faults", "replay", "reports")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py" and not path.relative_to(ROOT).as_posix().startswith(FAMILIES)
    ]
    assert len(modules) > 250
    missing = [str(path.relative_to(ROOT)) for path in modules if f"{path.name}`" not in told]
    assert missing == []
