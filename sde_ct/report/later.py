"""Functions of this folder that import Matplotlib only when called, because that takes a second."""

from typing import Any


def save_fan(*arguments: Any) -> None:
    """`report.rays.save_fan`."""
    from sde_ct.report import rays

    rays.save_fan(*arguments)


def save_page(*arguments: Any) -> None:
    """`report.html.acceptance_page.save_page`."""
    from sde_ct.report.html import acceptance_page

    acceptance_page.save_page(*arguments)
