"""Types of flow parameters: what the run form of the Prefect UI offers and explains, and what the server accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import WithJsonSchema

from core.recipes.table import recipes


def either_spelling(tags: list[str]) -> dict[str, Any]:
    """The JSON schema of one of `tags`, written with `_` or with `-`, as deployments are named.

    The form shows what `anyOf` says: a drop-down of the tags, and a second one beside it. `enum` says the same once
    more, for a refusal that lists what there is.
    """
    dashed = [tag.replace("_", "-") for tag in tags if "_" in tag]
    return {
        "enum": [*tags, *dashed],
        "anyOf": [
            {"type": "string", "title": "tag", "enum": tags},
            {"type": "string", "title": "written with dashes", "enum": dashed},
        ],
        "description": "The model, with everything that it is made from.",
    }


UNTIL = {  # Prefect takes the description of a parameter from a schema like this, and from no `Field`
    "anyOf": [{"type": "string"}, {"type": "null"}],
    "description": "Make no more than this deliverable needs, such as hf-sft or native-base. None: all, published.",
}

if TYPE_CHECKING:
    Tag = str
    OneTag = str
    Until = str | None
else:
    Tag = Literal[tuple(recipes())]  # so that the run form shows a drop-down of the tags
    OneTag = Annotated[str, WithJsonSchema(either_spelling(list(recipes())))]
    Until = Annotated[str | None, WithJsonSchema(UNTIL)]
