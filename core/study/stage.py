"""Stage `study`: what the models of some tags show when they are compared, from the raw records of their evaluations.

Inputs are the evaluations of every model, by roles such as `evaluate:tiny-base`. It leaves every number (`study.json`
and CSV files), the tables as text (`study.md`), figures (`figures/*.svg`) and all of it on one page that needs nothing
else (`report.html`). What training took comes from the lineage: it is reported, and cannot reach the key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.lineage.lineage import LINEAGE_ROLE, Lineage, read_lineage
from core.stages.context import Metrics, StageContext
from core.stages.identity import StudiedModel, StudyIdentity
from core.study.bootstrap import Bootstrap
from core.study.contrasts import compare
from core.study.drawing import standalone
from core.study.evaluated import EvaluatedModel
from core.study.figures import Drawn, Figure, figures
from core.study.files import DOCUMENT, FIGURES, PAGE, REPORT
from core.study.headline import details, headline
from core.study.overview import lineage_roles, model_row, needle_rows, position_rows
from core.study.provenance import provenance_of
from core.study.report import render_report
from core.study.result import Study
from core.study.tables import Table, contrast_tables, csv_files, detail_tables, markdown, missing_table, model_tables


def produce(context: StageContext[StudyIdentity]) -> Metrics:
    """Read, compare and write; raise `StageError` when the lineage is none."""
    lineage = read_lineage(context.inputs.get(LINEAGE_ROLE))
    study = _study(context, lineage)
    drawn = figures(
        Drawn(models=study.models, positions=study.positions, needles=study.needles, compared=study.compared)
    )
    tables = [
        *model_tables(study.models),
        *contrast_tables(study.compared),
        *detail_tables(study.positions, study.needles),
        missing_table(study.models, study.compared),
    ]
    _write(context.output, study, drawn, tables)
    context.report.progress(1, 1, "study", "written")
    return {
        "models": len(study.models),
        "contrasts": len(study.compared.contrasts),
        "intervals": study.intervals,
        "clear": study.clear,
        "missing": len(study.compared.missing) + sum(len(one.missing) for one in study.models),
    }


def _study(context: StageContext[StudyIdentity], lineage: Lineage) -> Study:
    identity = context.identity
    evaluated = [_evaluated(model, context.inputs) for model in identity.models]
    context.report.log(f"{len(evaluated)} models of {len(identity.tags)} tags")
    compared = compare(evaluated, Bootstrap(identity.seed, identity.resamples))
    return Study(
        tags=identity.tags,
        headline=(*headline(compared),),
        details=(*details(compared),),
        models=tuple(model_row(one, lineage) for one in evaluated),
        positions=tuple(row for one in evaluated for row in position_rows(one)),
        needles=tuple(row for one in evaluated for row in needle_rows(one)),
        compared=compared,
        provenance=provenance_of(context, lineage),
    )


def _evaluated(model: StudiedModel, inputs: Mapping[str, Path]) -> EvaluatedModel:
    return EvaluatedModel(model, *(inputs.get(role) for role in lineage_roles(model.name)))


def _write(folder: Path, study: Study, drawn: Sequence[Figure], tables: Sequence[Table]) -> None:
    text = json.dumps(study.listing(), indent=1, ensure_ascii=False) + "\n"
    contents = {
        DOCUMENT: text,
        PAGE: f"# Study of {', '.join(study.tags)}\n\n"
        + "\n\n".join((*study.headline, *study.details))
        + "\n\n"
        + markdown(tables),
        REPORT: render_report(study, drawn, tables),
        **csv_files(study.models, study.positions, study.needles, study.compared),
        **{f"{FIGURES}/{chart.file}.svg": standalone(chart.svg) for figure in drawn for chart in figure.charts},
    }
    (folder / FIGURES).mkdir()
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8", newline="\n")
