"""Options that select scenes and divide them into strata, for every subcommand that looks at scenes."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from s2cmc import query

Conditions = dict[str, Any]
"""Conditions by name, as `CloudsAccessor.select` takes them; those that are not asked for are absent."""

_OPTIONS: dict[str, Any] = {
    "where": Annotated[str | None, typer.Option(metavar="EXPR", help="Tag expression, e.g. 'snow_ice and thin'.")],
    "split": Annotated[str | None, typer.Option(help="train or test.")],
    "dataset": Annotated[
        list[str] | None, typer.Option(help="MAIN, VALIDATION or CALIBRATION; may be repeated, as the next two.")
    ],
    "difficulty": Annotated[list[int] | None, typer.Option(help="1 (easy) to 5 (hard).")],
    "annotator": Annotated[list[str] | None, typer.Option(help="A or B: who made `mask`.")],
    "time": Annotated[
        str | None, typer.Option(metavar="DATE|DATE/DATE", help="2018-06, or 2018-03/2018-05; .. for an open end.")
    ],
    "bbox": Annotated[str | None, typer.Option(metavar="W,S,E,N", help="Degrees; scenes whose footprint touches it.")],
    "shadows_marked": Annotated[
        bool | None, typer.Option("--shadows-marked/--no-shadows-marked", help="Whether cloud shadows were annotated.")
    ],
    "has_alt_mask": Annotated[
        bool | None,
        typer.Option("--has-alt-mask/--no-has-alt-mask", help="Whether the other annotator made a mask too."),
    ],
}


def takes_conditions(command: Callable[..., None]) -> Callable[..., None]:
    """Give a subcommand the options that select scenes, in the place of its argument `conditions`."""

    @wraps(command)
    def with_conditions(**arguments: Any) -> None:
        options = {name: arguments.pop(name) for name in _OPTIONS}
        command(**arguments, conditions=_conditions(**options))

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name == "conditions":
            parameters += [inspect.Parameter(n, keyword, default=None, annotation=a) for n, a in _OPTIONS.items()]
        else:
            parameters.append(parameter.replace(kind=keyword))
    with_conditions.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    return with_conditions


def _conditions(*, where: str | None, time: str | None, bbox: str | None, **others: Any) -> Conditions:
    conditions: Conditions = {"expression": where, **others}
    if time is not None:
        start, slash, stop = time.partition("/")
        conditions["time"] = tuple(None if end in ("", "..") else end for end in (start, stop)) if slash else time
    if bbox is not None:
        conditions["bbox"] = bbox.split(",")
    return {name: value for name, value in conditions.items() if value is not None and value != []}


By = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        metavar="QUESTION",
        help="Tag, tag group, coordinate, split, season, ...; may be repeated. Joined by a colon they are crossed: "
        "surface_type:cloud_type.",
    ),
]


def questions(by: list[str] | None) -> "query.By":
    """Return the questions of ``--by`` as methods of ``ds.clouds`` take them."""
    return [tuple(names) if len(names := question.split(":")) > 1 else question for question in by or []]
