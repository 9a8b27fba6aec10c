"""The certificate of a Hugging Face export: what was compared with the trained model, and how far apart it may be."""

from __future__ import annotations

from core.export.certificate import Certificate, Check
from core.publishing.card_markdown import table


def certificate_section(certificate: Certificate) -> str:
    """Every check with what it measured and its bound."""
    versions = ", ".join(f"{name} {version}" for name, version in certificate.versions.items())
    told = f" It differs from the trained model in this: {certificate.difference}" if certificate.difference else ""
    return (
        "Before publication the exported files were loaded as a stranger would and compared with the trained model "
        f"({versions}). Both computed in float32, with the weights as the files hold them; `rounding` is what holding "
        "them so has changed. Prompts are random ids, prose and chats; greedy text is compared token by token, up to "
        "ties. [`certificate.json`](certificate.json) has the checks, their bounds, and the sha256 of each file."
        f"{told}\n\n" + table(("check", "passed", "measured", "bound", "over"), map(_row, certificate.checks))
    )


def _row(check: Check) -> tuple[str, ...]:
    measured = "not a number" if check.measured is None else f"{check.measured:,.7g} {check.unit}"
    return (
        check.name,
        "yes" if check.passed else "**no**",
        measured,
        f"{check.limit} {check.bound:,.7g}",
        f"{check.sample_size:,} {check.sample_unit}",
    )
