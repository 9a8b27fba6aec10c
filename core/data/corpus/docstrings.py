"""The documents of one Python module: what its author wrote in docstrings, under the signatures they describe.

A document is the docstring of the module, a top-level function, or a top-level class with its methods. The
source is parsed and never run.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from textwrap import indent

SHORTEST = 20  # characters of a docstring worth reading
INDENT = "    "

Keep = Callable[[str], str]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def module_documents(source: bytes, name: str, keep: Keep) -> Iterator[str]:
    """Documents of the module `name`, in source order; every docstring passes through `keep`, which may empty it."""
    module = ast.parse(source)
    text = _docstring(module, keep)
    if text:
        yield f"Module {name}\n\n{text}"
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            text = _class_document(node, keep)
        elif isinstance(node, Function):
            text = _function_document(node, keep)
        else:
            continue
        if text:
            yield text


def _docstring(node: ast.Module | ast.ClassDef | Function, keep: Keep) -> str:
    text = ast.get_docstring(node, clean=True) or ""
    return keep(text) if len(text) >= SHORTEST else ""


def _function_document(node: Function, keep: Keep) -> str:
    text = _docstring(node, keep)
    if not text:
        return ""
    prefix = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{prefix} {node.name}({ast.unparse(node.args)}){returns}:\n{indent(text, INDENT)}"


def _class_document(node: ast.ClassDef, keep: Keep) -> str:
    parts = [_docstring(node, keep)]
    parts += [_function_document(member, keep) for member in node.body if isinstance(member, Function)]
    body = "\n\n".join(part for part in parts if part)
    if not body:
        return ""
    bases = ", ".join(map(ast.unparse, [*node.bases, *node.keywords]))
    header = f"class {node.name}({bases}):" if bases else f"class {node.name}:"
    return f"{header}\n{indent(body, INDENT)}"
