"""``%load_ext typedwave``: checks what is defined in the cells of a notebook from then on."""

import ast
from typing import Any, Protocol

from typedwave.contract.importing import weave

__all__ = ["load_ipython_extension", "unload_ipython_extension"]


class _Shell(Protocol):
    """Of IPython's InteractiveShell, what we use: so that IPython is not needed to be read."""

    ast_transformers: list[Any]


class _Weaver:
    """What IPython asks to change the tree of a cell before it is compiled."""

    def visit(self, tree: ast.AST) -> ast.AST:
        """Puts checks on the definitions in a cell; a timed expression has none."""
        if isinstance(tree, ast.Module):
            weave(tree)
        return tree


def load_ipython_extension(shell: _Shell) -> None:
    """Checks every annotated function and class of modules that a later cell defines.

    Called by ``%load_ext typedwave``.
    """
    shell.ast_transformers.append(_Weaver())


def unload_ipython_extension(shell: _Shell) -> None:
    """Checks no more of what is defined; what has been defined stays checked.

    Called by ``%unload_ext typedwave``.
    """
    kept = [other for other in shell.ast_transformers if not isinstance(other, _Weaver)]
    shell.ast_transformers[:] = kept
