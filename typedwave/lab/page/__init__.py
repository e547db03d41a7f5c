"""A page about runs: curves, hyper-parameters, shapes and samples in one file of HTML."""

from typedwave.lab.page.rendering import write_page

__all__ = ["write_page"]
