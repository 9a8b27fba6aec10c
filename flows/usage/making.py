"""Making, comparing and publishing models: `run`, `study`, `stage`, `export`, `harness`, `publish` ..."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.series_option import Series
from flows.usage.options import AcceptRetrain, All, BudgetHours, Json, Phase, StageName, Tag, Tags, To, Yes, chosen

app = typer.Typer()

RUN_EXAMPLES = """Examples:

\b
  miniseries run tiny_drope_50_long
  miniseries run tiny tiny_drope_25 tiny_drope_50
  miniseries run --all --budget-hours 400 --yes
  miniseries run --all --series examples/tiny_2x2.yaml

MINISERIES_GPU_JOBS=2 trains two stages at once, each on half of the GPUs."""

STUDY_EXAMPLES = """Examples:

\b
  miniseries study tiny tiny_drope_25 tiny_drope_50 tiny_drope_75 --to report
  miniseries study --all --budget-hours 400 --publish
  miniseries study --all --series examples/tiny_2x2.yaml"""

STAGE_EXAMPLES = """Examples:

\b
  miniseries stage tiny tokenizer
  miniseries stage tiny_drope_50 3fa2c1b4

Exit code 75: what ended the stage may pass, so the same command is worth another try."""

EXPORT_EXAMPLES = """Examples:

\b
  miniseries export tiny_drope_50 --to exported
  miniseries export tiny_drope_50 --layout native --phase base --to ~/.cache/nanochat/base_checkpoints/tiny
  miniseries export d20_40tpp --json"""

HARNESS_EXAMPLES = """Examples:

\b
  miniseries harness d20_40tpp --tasks hellaswag,arc_easy,lambada_openai --phase base
  miniseries harness tiny --tasks my_task --include my_tasks --limit 100 --json"""

ADOPT_EXAMPLES = """Examples:

\b
  miniseries adopt ~/.cache/nanochat/base_checkpoints/d20 --tokenizer ~/.cache/nanochat/tokenizer
  miniseries adopt downloaded/nanochat-d18_9tpp_drope_50-sft --phase sft --no-rope --tag d18_theirs
  miniseries export d18_theirs --layout hf --to exported"""

PUBLISH_EXAMPLES = """Examples:

\b
  miniseries publish tiny_drope_50_long
  HF_TOKEN=... miniseries publish d20_40tpp --yes
  MINISERIES_HUB=s3://bucket/models miniseries publish tiny"""

VERIFY_EXAMPLES = """Examples:

\b
  miniseries verify
  miniseries verify tiny
  miniseries verify lab/nanochat-d20_40tpp-hf-sft
  miniseries verify ./downloaded s3://bucket/hub/lab/nanochat-tiny-base --json"""


@app.command("run", epilog=RUN_EXAMPLES)
def run_command(
    tags: Tags = None,
    every: All = False,
    json: Json = False,
    budget_hours: BudgetHours = None,
    accept_retrain: AcceptRetrain = False,
    yes: Yes = False,
    series: Series = None,
) -> None:
    """Run the pipeline of one tag, or many tags in one run, here and now; stages that exist are not made again."""
    from flows.commands import run as command
    from flows.commands.consent import Consent

    consent = Consent(budget_hours=budget_hours, accept_retrain=accept_retrain, yes=yes)
    (command.run_json if json else command.run)(chosen(tags, every), consent)


@app.command("study", epilog=STUDY_EXAMPLES)
def study_command(
    tags: Tags = None,
    every: All = False,
    to: To = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="Publish each tag too, its cards with what the study found.")
    ] = False,
    json: Json = False,
    budget_hours: BudgetHours = None,
    accept_retrain: AcceptRetrain = False,
    yes: Yes = False,
    series: Series = None,
) -> None:
    """Compare the models of many tags, making and evaluating them first, as one report with figures and tables."""
    from flows.commands import study as command
    from flows.commands.consent import Consent

    consent = Consent(budget_hours=budget_hours, accept_retrain=accept_retrain, yes=yes)
    wanted = command.Wanted(tags=chosen(tags, every), to=to, publish=publish)
    (command.study_json if json else command.study)(wanted, consent)


@app.command("stage", epilog=STAGE_EXAMPLES)
def stage_command(
    tag: Tag,
    stage: StageName,
    slurm_job: Annotated[
        bool, typer.Option("--slurm-job", help="In a batch job: report to who follows it, requeue it at its limit.")
    ] = False,
    series: Series = None,
) -> None:
    """Make one stage of a tag here and now; what it is made from must be there."""
    from flows.commands import stage as command

    raise typer.Exit((command.make_stage_in_slurm_job if slurm_job else command.make_stage)(tag, stage))


@app.command("join", epilog="Example: miniseries join /shared/cache/machines/head-29400")
def join_command(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="As the first machine printed it; default: by MINISERIES_RENDEZVOUS."),
    ] = None,
) -> None:
    """Take part, with this machine's GPUs, in the heavy stages that another machine launches, until stopped."""
    from flows.commands import join as command

    command.join(folder)


@app.command("export", epilog=EXPORT_EXAMPLES)
def export_command(
    tag: Annotated[str, typer.Argument(help="A tag, or the name or key of an adopted model.")],
    layout: Annotated[
        Literal["native", "hf", "twin"],
        typer.Option(help="nanochat's checkpoints; transformers; the twin for engines without remote code."),
    ] = "hf",
    phase: Phase = None,
    to: To = None,
    json: Json = False,
    budget_hours: BudgetHours = None,
    accept_retrain: AcceptRetrain = False,
    yes: Yes = False,
    series: Series = None,
) -> None:
    """Write one model of a tag for other programs, making first what is missing; copy it to a folder."""
    from flows.commands import export as command
    from flows.commands.consent import Consent

    consent = Consent(budget_hours=budget_hours, accept_retrain=accept_retrain, yes=yes)
    wanted = command.Wanted(name=tag, layout=layout, phase=phase, to=to)
    (command.export_json if json else command.export)(wanted, consent)


@app.command("harness", epilog=HARNESS_EXAMPLES)
def harness_command(
    tag: Tag,
    tasks: Annotated[str, typer.Option(metavar="NAMES", help="Tasks of lm-evaluation-harness, separated by commas.")],
    include: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where YAML files define tasks of your own.")
    ] = None,
    phase: Phase = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask the first N questions of each task only.")] = None,
    json: Json = False,
    series: Series = None,
) -> None:
    """Ask a tag's Hugging Face export the questions of standard suites; keep what came of it in the store."""
    from core.evaluation.harness import Suite
    from flows.commands import harness as command

    suite = Suite(tasks=tuple(filter(None, tasks.split(","))), include=include, limit=limit)
    (command.harness_json if json else command.harness)(tag, phase, suite)


@app.command("adopt", epilog=ADOPT_EXAMPLES)
def adopt_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A checkpoint in nanochat's layout; the newest step.")],
    phase: Annotated[
        Literal["base", "sft"] | None, typer.Option(help="What it is; default: as its files or its folder say.")
    ] = None,
    tag: Annotated[str | None, typer.Option(metavar="NAME", help="How to call it; default: as its folder.")] = None,
    use_rope: Annotated[
        bool | None, typer.Option("--use-rope/--no-rope", help="Needed where the meta file does not say it.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where tokenizer.pkl is; default: beside the model.")
    ] = None,
    json: Json = False,
) -> None:
    """Take a model that was trained with nanochat into the store, to be exported from there."""
    from core.adoption.artifact import Adoption
    from flows.commands import adopt as command

    adoption = Adoption(folder=folder, tokenizer=tokenizer, phase=phase, name=tag, use_rope=use_rope)
    (command.adopt_folder_json if json else command.adopt_folder)(adoption)


@app.command("publish", epilog=PUBLISH_EXAMPLES)
def publish_command(
    tag: Tag,
    json: Json = False,
    budget_hours: BudgetHours = None,
    accept_retrain: AcceptRetrain = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before GPU-hours, nor before the Hub or anything public.")
    ] = False,
    series: Series = None,
) -> None:
    """Publish a tag's models with their cards, making first what is missing; what is public is asked for."""
    from flows.commands import publish as command
    from flows.commands.consent import Consent

    consent = Consent(budget_hours=budget_hours, accept_retrain=accept_retrain, yes=yes)
    (command.publish_json if json else command.publish)(tag, consent)


@app.command("republish", epilog="Example: miniseries republish --dry-run")
def republish_command(
    tags: Annotated[list[str] | None, typer.Argument(help="Tags; none: all that this store has published.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what differs; change nothing.")] = False,
    json: Json = False,
    series: Series = None,
) -> None:
    """Audit what is published, render its cards from the newest evaluations, and correct what differs."""
    from flows.commands import republish as command

    (command.republish_json if json else command.republish)(tags or [], dry_run=dry_run)


@app.command("verify", epilog=VERIFY_EXAMPLES)
def verify_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Tags, or published repositories: a folder, s3://bucket/prefix, namespace/name on the Hub. "
            "None: the whole store."
        ),
    ] = None,
    json: Json = False,
    series: Series = None,
) -> None:
    """Read every committed or published byte again; list what is damaged and exit with 1 if anything is."""
    from flows.commands import verify as command

    damaged = (command.verify_json if json else command.verify)(names or [])
    raise typer.Exit(1 if damaged else 0)
