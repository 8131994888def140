"""Python literals as users write them in flags: numbers, lists, True and False."""

import ast
from typing import Any


def parse_literal(text: str, quote_names: bool = False) -> Any:
    """Returns the value of a literal.

    >>> parse_literal(" [60, 64] "), parse_literal("[c_major, 2]", quote_names=True)
    ([60, 64], ['c_major', 2])

    Args:
      text: the literal.
      quote_names: whether bare names are read as strings.

    Raises:
      ValueError: the text is no literal.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
        value = ast.literal_eval(_QuoteNames().visit(tree) if quote_names else tree)
        repr(value)  # Integers of more than 4300 digits cannot be shown.
    # Not Python, no literal, lists in a set, and lists nested deeply.
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError("no literal") from error
    return value


class _QuoteNames(ast.NodeTransformer):
    """Turns names into strings."""

    def visit_Name(self, node: ast.Name) -> ast.Constant:
        return ast.Constant(node.id)
