"""The certificate of a Hugging Face export: what was compared with the trained model, and how far apart it may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.publishing.card_markdown import table


def certificate_section(certificate: Mapping[str, Any] | None) -> str:
    """Every check with what it measured and its bound."""
    if certificate is None:
        return "This export carries no certificate: nothing vouches for the conversion."
    head = ("check", "passed", "measured", "bound", "over")
    rows = (
        (
            check["name"],
            "yes" if check["passed"] else "**no**",
            f"{check['measured']:.4g} {check['unit']}",
            f"{check['limit']} {check['bound']:.4g}",
            f"{check['sample_size']:,} {check['sample_unit']}",
        )
        for check in certificate["checks"]
    )
    versions = ", ".join(f"{name} {version}" for name, version in certificate["versions"].items())
    difference = certificate["difference"]
    told = f" It differs from the trained model in this: {difference}" if difference else ""
    return (
        "Before publication the exported files were loaded as a stranger would and compared with the trained model "
        f"({versions}). Details: [`certificate.json`](certificate.json).{told}\n\n{table(head, rows)}"
    )
