"""Page of all messages: every error that the code raises, by the place that raises it."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Class to the exit code that it ends a command with.
EXIT_CODES = {
    "ConfigError": 2,
    "UnknownName": 2,
    "DataError": 3,
    "StoreError": 1,
    "RunError": 1,
    "Interrupted": 1,
    "MmprepError": 1,
    "MmtrainError": 1,
    "UsageError": 2,
}
_HEAD = """# All messages

Every message with which a command ends, as the code has it, by the part of the program that it
comes from. `{...}` stands for a value, the number in brackets is the exit code: 2 is a request that
cannot be carried out, 3 is damaged or malformed data, 1 anything else. Most messages name their own
cure; [Errors](errors.md) has the cures by kind.
"""


def message_page() -> str:
    """Markdown of the page."""
    blocks = [_HEAD]
    for package in ("mmprep", "mmtrain"):
        folders: dict[str, list[tuple[int, str]]] = {}
        for path in sorted((ROOT / package).rglob("*.py")):
            folder = path.parent.relative_to(ROOT).as_posix()
            folders.setdefault(folder, []).extend(messages(path))
        for folder, found in folders.items():
            if found:
                lines = [f"- `{text}` ({code})" for code, text in dict.fromkeys(found)]
                blocks += [f"## {folder}", "\n".join(lines)]
    return "\n\n".join(blocks) + "\n"


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """Yields exit code and text of each error that a module makes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in EXIT_CODES and node.args:
            text = _text(node.args[0])
            if name == "UnknownName":
                text = f"no {text} {{...}}; did you mean {{...}}?"
            if text.strip("{.} "):
                yield EXIT_CODES[name], " ".join(text.replace("`", "").split())


def _text(node: ast.expr) -> str:
    """Text of an expression; what is computed becomes ``{...}``."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value) for value in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case _:
            return "{...}"
