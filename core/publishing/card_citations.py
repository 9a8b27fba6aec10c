"""Whose work a model rests on, as a list to read and as BibTeX to copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.publishing.card_markdown import code, dataset_link, listed
from core.publishing.card_training import datasets
from core.publishing.deliverables import Deliverable
from core.stages.kind import StageKind


@dataclass(frozen=True, kw_only=True)
class Work:
    """Something that was published."""

    key: str
    authors: tuple[str, ...]  # Family, Given
    title: str
    year: int
    url: str
    eprint: str | None = None  # its number on arXiv
    gave: str  # what of it is in the model

    @property
    def line(self) -> str:
        """For readers; a link to arXiv makes the paper a tag on the Hub."""
        first = self.authors[0].partition(",")[0]
        by = first if len(self.authors) == 1 else f"{first} et al."
        return f"{self.gave}: {by}, *{self.title}*, {self.year}, {self.url}"

    @property
    def bibtex(self) -> str:
        """The entry."""
        fields = {
            "title": f"{{{self.title.replace('$', chr(92) + '$')}}}",
            "author": " and ".join(self.authors),
            "year": str(self.year),
            **({"eprint": self.eprint, "archivePrefix": "arXiv"} if self.eprint else {}),
            "url": self.url,
        }
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@misc{{{self.key},\n{body}\n}}"


NANOCHAT = Work(
    key="nanochat",
    authors=("Karpathy, Andrej",),
    title="nanochat: The best ChatGPT that $100 can buy",
    year=2025,
    url="https://github.com/karpathy/nanochat",
    gave="architecture and training",
)
MUON = Work(
    key="muon",
    authors=(
        *("Jordan, Keller", "Jin, Yuchen", "Boza, Vlado", "You, Jiacheng", "Cesista, Franz"),
        *("Newhouse, Laker", "Bernstein, Jeremy"),
    ),
    title="Muon: An optimizer for hidden layers in neural networks",
    year=2024,
    url="https://kellerjordan.github.io/posts/muon/",
    gave="the optimizer of its matrices, Muon",
)
ROPE = Work(
    key="roformer",
    authors=("Su, Jianlin", "Lu, Yu", "Pan, Shengfeng", "Murtadha, Ahmed", "Wen, Bo", "Liu, Yunfeng"),
    title="RoFormer: Enhanced Transformer with Rotary Position Embedding",
    year=2021,
    url="https://arxiv.org/abs/2104.09864",
    eprint="2104.09864",
    gave="rotary positions, RoPE",
)
DROPE = Work(
    key="drope",
    authors=("Gelberg, Yoav", "Eguchi, Koshi", "Akiba, Takuya", "Cetin, Edoardo"),
    title="Extending the Context of Pretrained LLMs by Dropping Their Positional Embeddings",
    year=2025,
    url="https://arxiv.org/abs/2512.12167",
    eprint="2512.12167",
    gave="training with rotary positions and then without, DroPE",
)


def citations_section(models: Mapping[str, Deliverable]) -> str:
    """What to cite."""
    [*_, model] = models.values()
    dropped = (DROPE,) if model.lineage.of_kind(StageKind.RECALIBRATE) else ()
    works = (NANOCHAT, MUON, ROPE, *dropped)
    read = listed(
        [*(work.line for work in works), *(f"data: {dataset_link(name)}" for name in datasets(model.lineage))]
    )
    return f"{read}\n\n{code(chr(10).join(work.bibtex for work in works), 'bibtex')}"
