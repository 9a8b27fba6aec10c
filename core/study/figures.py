"""The figures of a study: each a set of charts that are read together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from core.evaluation.long_context.tables import grouped
from core.study.contrasts import Compared, Contrast, Summary
from core.study.drawing import Line, Mark, Row, Scale, forest, heat_map, line_chart, point_chart
from core.study.evaluated import PLAIN
from core.study.overview import ModelRow, NeedleRow, PositionRow
from core.study.written import PHASES, number, short_name, signed


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One SVG element with its heading; `file` is its name without suffix."""

    file: str
    heading: str
    svg: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Charts that are read together, and what they show."""

    heading: str
    caption: str
    charts: tuple[Chart, ...]
    is_open: bool = True  # whether a page shows it at once


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What figures are drawn from."""

    models: Sequence[ModelRow]
    positions: Sequence[PositionRow]
    needles: Sequence[NeedleRow]
    compared: Compared


def figures(drawn: Drawn) -> list[Figure]:
    """Every figure for which there is something to draw."""
    makers = (_forests, _by_position, _needle_maps, _cost, _size_and_horizon)
    return [figure for make in makers for figure in make(drawn) if figure.charts]


def _forests(drawn: Drawn) -> Iterator[Figure]:
    """What dropping RoPE does, length by length: every pair, and their mean."""
    for family, caption in (
        ("RoPE dropped", "Each model that dropped RoPE less its sibling that kept it, both read as they are."),
        (
            "RoPE dropped, each at its best",
            "The same beyond the trained length, with the attention logits of the one scaled as fitted to it, and the "
            "other extended by YaRN.",
        ),
    ):
        for phase, called in PHASES.items():
            charts = []
            for quantity, unit in (("long text", "bits per byte"), ("needles found", "share of trials")):
                rows = [*_forest_rows(drawn, family, phase, quantity)]
                if rows:
                    name = f"forest-{family}-{phase}-{quantity}"
                    svg = forest(rows, f"difference in {unit}, 95 % interval")
                    charts.append(Chart(file=_file(name), heading=f"{quantity.capitalize()}, {called}", svg=svg))
            heading = f"{family}: {called}"
            yield Figure(
                heading=heading,
                caption=f"{caption} Squares without a colour of their own are means of all pairs.",
                charts=(*charts,),
                is_open=phase == "base",
            )


def _forest_rows(drawn: Drawn, family: str, phase: str, quantity: str) -> Iterator[Row]:
    def wanted(one: Contrast | Summary) -> bool:
        return (one.family, one.phase, one.quantity) == (family, phase, quantity)

    pairs = grouped((one for one in drawn.compared.contrasts if wanted(one)), lambda one: one.condition)
    means = {one.condition: one for one in drawn.compared.summaries if wanted(one) and one.group == "all"}
    rope = {one.name: one.rope for one in drawn.models}
    for condition, those in pairs.items():
        for contrast in those:
            name = contrast.treatment.split(",")[0]
            colour = _colour(rope[name])
            yield _row(contrast, f"{condition} {short_name(name)}", colour)
        if condition in means:
            yield _row(means[condition], f"{condition} mean of {means[condition].contrasts}", None)


def _row(one: Contrast | Summary, label: str, colour: int | None) -> Row:
    return Row(label=label, value=one.difference, interval=one.interval, written=signed(one.difference), colour=colour)


def _by_position(drawn: Drawn) -> Iterator[Figure]:
    """Bits per byte by position: a figure for each trunk and phase, a chart for each length, a line for each model."""
    by_model = grouped((row for row in drawn.positions if row.method == PLAIN), lambda row: row.model)
    for (trunk, phase), members in _families(drawn.models):
        rows = [row for one in members for row in by_model.get(one.name, ())]
        if not rows:
            continue
        length = members[0].trained_length
        reach = [bound for row in rows for bound in (row.interval or (row.value, row.value))]
        up = Scale(label="bits per byte", within=(min(reach), max(reach)))
        charts = tuple(_position_chart(trunk, phase, length, each, members, rows, up) for each in _lengths(rows))
        yield Figure(
            heading=f"Bits per byte by position: {trunk}, {PHASES[phase]}",
            caption=f"Held-out texts read as they are, at multiples of the {length:,} tokens of training. A point is a "
            "range of positions, its bar the 95 % interval over texts. Position is written in trained lengths.",
            charts=charts,
            is_open=phase == "base",
        )


def _position_chart(
    trunk: str,
    phase: str,
    trained: int,
    length: int,
    members: Sequence[ModelRow],
    rows: Sequence[PositionRow],
    up: Scale,
) -> Chart:
    lines = []
    for one in members:
        marks = tuple(
            Mark(x=(row.first + row.end) / 2 / trained, y=row.value, interval=row.interval, text=_said(row))
            for row in rows
            if row.model == one.name and row.length == length
        )
        lines.append(Line(label=_rope_label(one), colour=_colour(one.rope), marks=marks))
    doubled = [0.125 * 2**power for power in range(8) if 0.125 * 2**power <= length / trained]
    across = Scale(label="position / trained length", is_logarithmic=True, ticks=(*doubled,), write=_fraction)
    heading = f"{length / trained:g}x: {length:,} tokens"
    return Chart(file=_file(f"position-{trunk}-{phase}-{length}"), heading=heading, svg=line_chart(lines, across, up))


def _said(row: PositionRow) -> str:
    return f"{row.model}, {row.first:,} to {row.end:,}: {number(row.value)} on {row.sample_size} {row.sample_unit}"


def _needle_maps(drawn: Drawn) -> Iterator[Figure]:
    """The share of needles found by length and depth: a chart for each model and method."""
    for (trunk, phase), members in _families(drawn.models):
        charts = []
        for one in members:
            of_model = [row for row in drawn.needles if row.model == one.name]
            methods = {row.method for row in of_model}
            for method in (each for each in (PLAIN, "yarn", "logit-scale") if each in methods):
                name = _rope_label(one) if method == PLAIN else f"{_rope_label(one)}, {method}"
                chart = _needle_map(one, [row for row in of_model if row.method == method])
                charts.append(Chart(file=_file(f"needles-{one.name}-{method}"), heading=name, svg=chart))
        yield Figure(
            heading=f"Needles found: {trunk}, {PHASES[phase]}",
            caption="Share of trials in which the right answer was likelier than every other candidate, all kinds of "
            f"needles together{_chance(drawn, members)}. Across: the length of the text; down: how much of it stands "
            "before the needle. Behind each share, the number of trials.",
            charts=(*charts,),
            is_open=phase == "base",
        )


def _chance(drawn: Drawn, members: Sequence[ModelRow]) -> str:
    names = {one.name for one in members}
    chances = [row.chance for row in drawn.needles if row.model in names]
    return f"; guessing finds {sum(chances) / len(chances):.2f}" if chances else ""


def _needle_map(one: ModelRow, rows: Sequence[NeedleRow]) -> str:
    lengths, depths = sorted({row.length for row in rows}), sorted({row.depth for row in rows})
    cells = {(row.depth, row.length): row for row in rows}
    shares = []
    for depth in depths:
        found = [cells.get((depth, length)) for length in lengths]
        shares.append([(row.value, f"{row.value:.2f} · {row.sample_size}") if row else (None, "") for row in found])
    columns = [f"{length / one.trained_length:g}x" for length in lengths]
    return heat_map(columns, [f"{depth:.0%}" for depth in depths], shares, ("length", "depth"))


def _cost(drawn: Drawn) -> Iterator[Figure]:
    """Quality against what training took."""
    charts = []
    for phase, called in PHASES.items():
        for measured in ("held-out text", _longest(drawn.models, phase)):
            rows = [one for one in drawn.models if one.phase == phase and one.device_hours and one.score(measured)]
            if rows:
                groups = grouped(rows, lambda one: one.rope)
                lines = [
                    Line(label=rope, colour=_colour(rope), marks=(*map(partial(_cost_mark, measured), those),))
                    for rope, those in groups.items()
                ]
                across = Scale(label="device-hours of training", is_logarithmic=True)
                svg = point_chart(lines, across, Scale(label=f"bits per byte, {measured}"))
                name = _file(f"cost-{phase}-{measured}")
                charts.append(Chart(file=name, heading=f"{called.capitalize()}: {measured}", svg=svg))
    devices = ", ".join(dict.fromkeys(filter(None, (one.device for one in drawn.models))))
    yield Figure(
        heading="Quality and cost",
        caption=f"Hours of one device ({devices or 'unknown'}) over every stage that trained a model, a shared trunk "
        "counted for each, against bits per byte: lower and further left is better.",
        charts=(*charts,),
    )


def _cost_mark(measured: str, one: ModelRow) -> Mark:
    score = one.score(measured)
    assert score is not None
    assert one.device_hours is not None
    said = f"{one.name}: {number(score.value)} after {one.device_hours:.3g} device-hours"
    return Mark(x=one.device_hours, y=score.value, interval=score.interval, text=said)


def _longest(models: Sequence[ModelRow], phase: str) -> str:
    names = [score.measured for one in models if one.phase == phase for score in one.scores]
    factors = [int(name[13:-1]) for name in names if name.startswith("long text at ") and name.endswith("x")]
    return f"long text at {max(factors)}x" if factors else ""


def _size_and_horizon(drawn: Drawn) -> Iterator[Figure]:
    """Depth against tokens per parameter: held-out bits per byte of base models, a grid for each RoPE schedule."""
    bases = [one for one in drawn.models if one.phase == "base" and one.direction == "forward"]
    depths = sorted({one.depth for one in bases})
    horizons = sorted({one.tokens_per_parameter for one in bases})
    values = [score.value for one in bases if (score := one.score("held-out text"))]
    charts = []
    for rope, those in grouped(bases, lambda one: one.rope).items():
        at = {(one.depth, one.tokens_per_parameter): one.score("held-out text") for one in those}
        cells = []
        for depth in depths:
            found = [at.get((depth, horizon)) for horizon in horizons]
            cells.append([(_goodness(one.value, values), number(one.value)) if one else (None, "") for one in found])
        columns, rows = [f"{horizon:g}" for horizon in horizons], [f"d{depth}" for depth in depths]
        svg = heat_map(columns, rows, cells, ("tokens per parameter", "depth"))
        charts.append(Chart(file=_file(f"grid-{rope}"), heading=f"RoPE {rope}", svg=svg))
    yield Figure(
        heading="Size and horizon",
        caption="Bits per byte of held-out text of the base models, by depth and tokens per scaling parameter. Darker "
        "is lower, which is better. An empty square is a model that is not in the study.",
        charts=(*charts,),
    )


def _goodness(value: float, values: Sequence[float]) -> float:
    low, high = min(values), max(values)
    return 0.5 if high == low else (high - value) / (high - low)


def _families(models: Sequence[ModelRow]) -> Iterator[tuple[tuple[str, str], list[ModelRow]]]:
    """Models that differ in their RoPE schedule alone."""
    groups = grouped(models, lambda one: (one.trunk, one.phase))
    yield from ((key, groups[key]) for key in groups)


def _lengths(rows: Sequence[PositionRow]) -> list[int]:
    return sorted({row.length for row in rows})


def _rope_label(one: ModelRow) -> str:
    return f"RoPE {one.rope}"


def _colour(rope: str) -> int:
    """One colour for each schedule in every chart."""
    order = ("kept", "dropped at 25%", "dropped at 50%", "dropped at 75%")
    return order.index(rope) if rope in order else len(order)


def _fraction(value: float) -> str:
    return f"1/{1 / value:g}" if value < 1 else f"{value:g}"


def _file(name: str) -> str:
    """Letters, digits and dashes."""
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name).split()).lower()
