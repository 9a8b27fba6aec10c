"""The command line: `miniseries VERB`. Every listing has `--json`; errors are one line and a non-zero exit.

Exit codes: 0 done, 1 failed (the line says what to do), 2 wrong usage, 128 + n stopped by signal n.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from artifacts.errors import StoreError
from core.planning.cost import DOLLARS_PER_GPU_HOUR, Terms
from core.recipes.recipe import RecipeError
from core.recipes.table import chosen_family, recipes
from core.stages.context import StageError
from flows.console import print_error
from flows.series_option import Series
from flows.stopping import Stopped

app = typer.Typer(
    help="Train a family of small language models: one tag in, a trained, evaluated and published model out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Tag = Annotated[
    str, typer.Argument(help="A tag, e.g. tiny_drope_50_long or d20-40tpp; `miniseries recipes` lists them.")
]
Tags = Annotated[list[str] | None, typer.Argument(help="Tags; none with --all.")]
All = Annotated[bool, typer.Option("--all", help="The 20 models of the miniseries, or every tag of --series.")]
StageName = Annotated[str, typer.Argument(help="A stage kind, or the beginning of a key.")]
Phase = Annotated[
    Literal["base", "sft"] | None, typer.Option(help="The base model or its fine-tune; default: the fine-tune.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
BudgetHours = Annotated[
    float | None, typer.Option(min=0.0, help="Do not start when more GPU-hours than this are to do.")
]
AcceptRetrain = Annotated[
    bool, typer.Option("--accept-retrain", help="A changed recipe may leave finished GPU-hours behind.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before starting what takes GPU-hours.")]

RUN_EXAMPLES = """Examples:

\b
  miniseries run tiny_drope_50_long
  miniseries run tiny tiny_drope_25 tiny_drope_50
  miniseries run --all --budget-hours 400 --yes
  miniseries run --all --series examples/tiny_2x2.yaml

MINISERIES_GPU_JOBS=2 trains two stages at once, each on half of the GPUs."""

CHAT_EXAMPLES = """Examples:

\b
  miniseries chat tiny_long
  miniseries chat tiny -p "Spell the word: apple"
  printf 'Spell the word: apple\\nAnd pear?\\n' | miniseries chat tiny --temperature 0
  miniseries chat tiny_bidirectional --direction backward -p "and so it ended."
"""

EXPORT_EXAMPLES = """Examples:

\b
  miniseries export tiny_drope_50 --to exported
  miniseries export tiny_drope_50 --layout native --phase base --to ~/.cache/nanochat/base_checkpoints/tiny
  miniseries export d20_40tpp --json"""

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

DATA_EXAMPLES = """Examples:

\b
  miniseries data tiny_drope_50
  miniseries data d20_40tpp --json
  miniseries data tiny --file shard_00002.parquet"""


@app.command("recipes", epilog="Example: miniseries recipes --json")
def recipes_command(json: Json = False, series: Series = None) -> None:
    """List every tag: parameters, steps, tokens, cuts, RoPE schedule."""
    from flows.commands import recipes as command

    (command.list_recipes_json if json else command.list_recipes)()


@app.command("plan", epilog="Example: miniseries plan --all --gpu H200 --gpus 8 --price 2.5")
def plan_command(
    tags: Tags = None,
    every: All = False,
    json: Json = False,
    gpu: Annotated[
        str | None, typer.Option(help="The GPU to estimate for: a known one, or one that was calibrated.")
    ] = None,
    gpus: Annotated[int, typer.Option(min=1, help="How many of them at once.")] = 1,
    price: Annotated[float, typer.Option(min=0.0, help="Dollars an hour of one of them.")] = DOLLARS_PER_GPU_HOUR,
    series: Series = None,
) -> None:
    """Show each stage: cached, resumable or to run; tokens, FLOPs, GPU-hours, money, size, and what sharing saves."""
    from flows.commands import plan as command

    terms = Terms(gpus=gpus, dollars_per_gpu_hour=price)
    (command.show_plan_json if json else command.show_plan)(_chosen(tags, every), gpu, terms)


@app.command("calibrate", epilog="Example: miniseries calibrate tiny_long")
def calibrate_command(
    tags: Tags = None,
    every: All = False,
    json: Json = False,
    steps: Annotated[int, typer.Option(min=1, help="Training steps to time, for each speed.")] = 10,
    series: Series = None,
) -> None:
    """Measure how fast this device trains, with a few steps, and keep it in the store: plans use it from then on."""
    from flows.commands import calibrate as command

    (command.calibrate_json if json else command.calibrate)(_chosen(tags, every), steps)


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
    (command.run_json if json else command.run)(_chosen(tags, every), consent)


@app.command("status", epilog="Example: miniseries status --all --html status.html")
def status_command(
    tags: Tags = None,
    every: All = False,
    json: Json = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page: plan drawn, loss curves, evaluations.")
    ] = None,
    series: Series = None,
) -> None:
    """Show what exists of each tag, and where."""
    from flows.commands import status as command

    chosen = list(recipes()) if not tags and not every else _chosen(tags, every)
    if html is not None:
        command.write_status_page(chosen, html)
    else:
        (command.show_status_json if json else command.show_status)(chosen)


@app.command("show", epilog="Example: miniseries show tiny_drope_50 recalibrate")
def show_command(
    tag: Tag,
    stage: StageName,
    json: Json = False,
    series: Series = None,
) -> None:
    """Show one stage of a tag: identity, inputs, files with sha256, metrics."""
    from flows.commands import show as command

    (command.show_json if json else command.show)(tag, stage)


@app.command("why", epilog="Example: miniseries why tiny_drope_50 recalibrate")
def why_command(tag: Tag, stage: StageName, json: Json = False, series: Series = None) -> None:
    """Explain a stage's key: every field that makes it, where it comes from, who shares it."""
    from flows.commands import why as command

    (command.show_why_json if json else command.show_why)(tag, stage)


@app.command("diff", epilog="Example: miniseries diff tiny tiny_drope_50")
def diff_command(
    tag: Tag,
    other: Annotated[str | None, typer.Argument(help="Another tag; none: what the store holds of TAG.")] = None,
    against_series: Annotated[
        Path | None, typer.Option("--against-series", metavar="FILE", help="TAG as this earlier series file makes it.")
    ] = None,
    json: Json = False,
    series: Series = None,
) -> None:
    """Compare two tags, or two revisions of one: fields, keys, what would be trained again, at what price."""
    from flows.commands import diff as command

    if other is not None and against_series is not None:
        raise typer.BadParameter("compare with another tag or with an earlier series file, not with both")
    if other is not None:
        sides = command.two_tags(tag, other)
    elif against_series is not None:
        sides = command.against_series(tag, against_series)
    else:
        (command.show_revision_json if json else command.show_revision)(tag)
        return
    (command.show_difference_json if json else command.show_difference)(sides)


@app.command("data", epilog=DATA_EXAMPLES)
def data_command(
    tag: Tag,
    json: Json = False,
    file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A corpus file, e.g. shard_00000.parquet: how often each row was read."),
    ] = None,
    series: Series = None,
) -> None:
    """Show which files and rows a tag's models have read, and how many times."""
    from flows.commands import data as command

    if file is None:
        (command.show_ledger_json if json else command.show_ledger)(tag)
    else:
        (command.show_rows_json if json else command.show_rows)(tag, file)


@app.command("export", epilog=EXPORT_EXAMPLES)
def export_command(
    tag: Annotated[str, typer.Argument(help="A tag, or the name or key of an adopted model.")],
    layout: Annotated[
        Literal["native", "hf", "twin"],
        typer.Option(help="nanochat's checkpoints; transformers; the twin for engines without remote code."),
    ] = "hf",
    phase: Phase = None,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Copy it there, verified; none: say where the store has it.")
    ] = None,
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


@app.command("chat", epilog=CHAT_EXAMPLES)
def chat_command(
    tag: Tag,
    phase: Phase = None,
    prompt: Annotated[
        str | None, typer.Option("-p", "--prompt", help="Answer this and leave; - reads it from standard input.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token.")] = 0.6,
    top_k: Annotated[int, typer.Option(min=0, help="Draw from the N likeliest tokens; 0: from all.")] = 50,
    top_p: Annotated[
        float | None, typer.Option(min=0.01, max=1.0, help="Draw from the fewest tokens with this probability.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same answer every time.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer.")] = None,
    direction: Annotated[
        Literal["forward", "backward"] | None, typer.Option(help="What comes next, or what came before (base models).")
    ] = None,
    series: Series = None,
) -> None:
    """Talk to a model, or have a base model complete text. In a pipe, each line is a message."""
    from core.chat.settings import ChatSettings
    from flows.commands import chat as command

    settings = ChatSettings(
        temperature=temperature, top_k=top_k or None, top_p=top_p, seed=seed, tokens=tokens, direction=direction
    )
    command.chat(tag, phase, prompt, settings)


@app.command("serve", epilog="Example: miniseries serve tiny_long tiny_bidirectional --port 8000")
def serve_command(
    tags: Annotated[list[str], typer.Argument(help="The tags to serve, the first one first.")],
    phase: Phase = None,
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 needs MINISERIES_API_KEY.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    no_key: Annotated[bool, typer.Option("--no-key", help="Let anybody in who can reach the address.")] = False,
    slots: Annotated[
        int, typer.Option(min=1, help="Answers under way at once, of each model; each has memory for a whole context.")
    ] = 8,
    waiting: Annotated[int, typer.Option(min=0, help="Requests in line, of each model; more are refused.")] = 64,
    answer_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 2048,
    answer_seconds: Annotated[float, typer.Option(min=0.1, help="Time for an answer, waiting included.")] = 300.0,
    grace_seconds: Annotated[float, typer.Option(min=0.0, help="Time for answers to end when it stops.")] = 10.0,
    series: Series = None,
) -> None:
    """Serve models: an OpenAI-compatible API under /v1, and a web page to talk to them."""
    from core.serving.limits import Limits
    from flows.commands import serve as command

    limits = Limits(
        slots=slots,
        waiting=waiting,
        answer_tokens=answer_tokens,
        answer_seconds=answer_seconds,
        grace_seconds=grace_seconds,
    )
    command.serve(tags, phase, host=host, port=port, allow_no_key=no_key, limits=limits)


def _chosen(tags: list[str] | None, every: bool) -> list[str]:
    if every:
        return chosen_family()
    if not tags:
        raise typer.BadParameter("name at least one tag, or --all for the 20 models of the miniseries")
    return tags


def guarded(command: Callable[[], None]) -> int:
    """Run `command`; turn what its user can act on into one line on standard error; return the exit code."""
    from tasks.perform import StageFailed

    try:
        command()
    except (StoreError, RecipeError, StageError, StageFailed) as error:
        print_error(str(error))
        return 1
    except Stopped as stop:
        print_error(f"stopped by {stop}; what was checkpointed is kept, the same command continues from there")
        return stop.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # of this machine's own disk: no room, no permission
        print_error(
            f"{error.strerror or error}: {error.filename or 'no file named'}; free or correct it, then run again"
        )
        return 1
    return 0


def main() -> None:
    """Entry point of the `miniseries` script."""
    try:
        sys.exit(guarded(app))
    finally:
        sys.stdout.flush()


if __name__ == "__main__":
    main()
