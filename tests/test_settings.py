"""The settings of a training: what goes together, what is refused and how, and what Prefect's form shows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gd.cli.command import first_fault
from gd.settings import Training, preset

Made = dict[str, Any]
ADAPTIVE = ("adagrad", "rmsprop", "adam", "adamw")

# Every option with values that are not its default, and with the word by which people know it.
CHOICES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "loss": ("--loss", ("huber", "logistic", "poisson", "notebook")),
    "l2": ("--l2", (0.1, "auto")),
    "l1": ("--l1", (0.1,)),
    "optimizer": ("--optimizer", ("momentum", "nesterov", *ADAPTIVE)),
    "learning_rate": ("--learning-rate", (0.1, "search", "auto-sweep", (0.1, 0.2))),
    "schedule": ("--schedule", ("constant", "step", "exponential", "cosine")),
    "warm_up": ("--warm-up", (5,)),
    "precondition": ("--precondition", ("diagonal", "whiten")),
    "batch_size": ("--batch-size", (32,)),
    "validation": ("--validate", ("0.2", "last:0.1", "column:part")),
    "patience": ("--patience", (10,)),
    "folds": ("--folds", (5,)),
    "method": ("--method", ("rows", "moments")),
}


def has(name: str, *values: Any) -> Callable[[Made], bool]:
    """Whether an option has one of these values, or any that is not its default where none are named."""
    default = Training.model_fields[name].default
    return lambda made: made.get(name, default) in values if values else made.get(name, default) != default


def sweeps(made: Made) -> bool:
    """Whether several learning rates are tried first."""
    return made.get("learning_rate") == "auto-sweep" or isinstance(made.get("learning_rate"), tuple)


MOVES = ("step", "exponential", "cosine")

# What is refused: two conditions, and the words of which the message must have one each.
REFUSED: tuple[tuple[Callable[[Made], bool], Callable[[Made], bool], tuple[str, ...], tuple[str, ...]], ...] = (
    (has("l1"), has("optimizer", *ADAPTIVE), ("--l1",), ADAPTIVE),
    (has("l1"), has("precondition"), ("--l1",), ("--precondition",)),
    (has("l1"), has("batch_size"), ("--l1",), ("--batch-size",)),
    (has("l1"), has("learning_rate", "search"), ("--l1",), ("--learning-rate search",)),
    (has("l1"), sweeps, ("--l1",), ("several learning rates",)),
    (has("l1"), has("l2", "auto"), ("--l1",), ("--l2 auto",)),
    (has("l1"), has("folds"), ("--l1",), ("--folds",)),
    *(
        (when, other, (words,), (option,))
        for when, words in ((has("learning_rate", "search"), "--learning-rate search"), (sweeps, "several learning rates"))
        for other, option in (
            (has("optimizer"), "--optimizer"), (has("schedule", *MOVES), "--schedule"), (has("warm_up"), "--warm-up"),
            (has("batch_size"), "--batch-size"), (has("precondition"), "--precondition"),
        )
    ),
    (sweeps, has("validation"), ("several learning rates",), ("--validate",)),
    *(
        (has("loss", "notebook"), other, ("--loss notebook",), (option,))
        for other, option in (
            (has("optimizer"), "--optimizer"), (has("l2"), "--l2"), (has("l1"), "--l1"), (has("batch_size"), "--batch-size"),
            (has("precondition"), "--precondition"), (has("learning_rate", "search"), "--learning-rate search"),
            (has("schedule", *MOVES), "--schedule"), (has("warm_up"), "--warm-up"),
        )
    ),
    (has("loss"), has("l2", "auto"), ("--loss",), ("--l2 auto", "--l2")),
    (has("loss"), has("folds"), ("--loss",), ("--folds",)),
    (has("precondition"), has("optimizer", "adamw"), ("--precondition",), ("adamw",)),
    (has("patience"), has("validation", None), ("--patience",), ("--validate",)),
    (has("method", "moments"), has("loss"), ("--method: the loss",), ("huber", "logistic", "poisson", "notebook")),
    (has("method", "moments"), has("batch_size"), ("--method: batches",), ("rows",)),
)  # fmt: skip


def judged(made: Made) -> None:
    """It is refused by the rules above and by no other, in one line that names both options of one of them."""
    broken = [rule for rule in REFUSED if rule[0](made) and rule[1](made)]
    if not broken:
        training = Training.model_validate(made)
        assert training == Training.model_validate_json(training.model_dump_json())
        return
    with pytest.raises(ValidationError) as raised:
        Training.model_validate(made)
    said = first_fault(raised.value)
    assert "\n" not in said
    assert any(any(word in said for word in one) and any(word in said for word in two) for _, _, one, two in broken), said


def pairs() -> Iterator[Any]:
    """Each option alone and with each value of each other one."""
    for name, (_, values) in CHOICES.items():
        for value in values:
            yield pytest.param({name: value}, id=f"{name}={value}")
    for (one, (_, first)), (two, (_, second)) in combinations(CHOICES.items(), 2):
        yield pytest.param([{one: a, two: b} for a in first for b in second], id=f"{one}-{two}")


@pytest.mark.parametrize("made", list(pairs()))
def test_two_options_go_together_or_are_refused_by_name(made: Made | list[Made]) -> None:
    """Every pair of values: refused where the rules say so, in words that name both, and else allowed."""
    for one in made if isinstance(made, list) else [made]:
        judged(one)


@settings(deadline=None, max_examples=1000)
@given(st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, (_, values) in CHOICES.items()}))
def test_every_combination_is_allowed_or_refused_by_name(made: Made) -> None:
    """For every set of options, however many of them are wrong together."""
    judged(made)


def test_each_rule_refuses_something_that_no_other_does() -> None:
    """No rule above stands there in vain: some pair of options breaks it alone."""
    options = [(name, value) for name, (_, values) in CHOICES.items() for value in values]
    tried = [{one: a, two: b} for (one, a), (two, b) in combinations(options, 2) if one != two] + [{"patience": 10}]
    tried += [{**made, "validation": "0.2"} for made in tried if "validation" not in made]
    alone = {
        broken[0] for made in tried
        if len(broken := [j for j, rule in enumerate(REFUSED) if rule[0](made) and rule[1](made)]) == 1
    }  # fmt: skip
    assert set(range(len(REFUSED))) == alone


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"l1": 0.1, "optimizer": "adam"},
         "--l1 is for gradient-descent, momentum and nesterov: after a step of adam it is another penalty."),
        ({"l1": 0.1, "batch_size": 8}, "--l1 does not go with --batch-size."),
        ({"learning_rate": "search", "warm_up": 3}, "--learning-rate search does not go with --warm-up."),
        ({"learning_rate": (0.1, 0.2), "validation": "0.2"}, "several learning rates do not go with --validate."),
        ({"loss": "notebook", "l2": 0.1}, "--loss notebook is kept as it was: it does not go with --l2."),
        ({"loss": "huber", "folds": 5},
         "cross-validation is of the mean squared error: --folds does not go with --loss huber."),
        ({"precondition": "whiten", "optimizer": "adamw"}, "--precondition would scale adamw's decay too: take adam."),
        ({"patience": 5}, "--patience watches rows held out: name them with --validate."),
        ({"loss": "poisson", "method": "moments"}, "--method: the loss poisson has no moments: train on rows."),
        ({"learning_rate": (0.1, 0.1)}, "--learning-rate: 0.1 is named twice."),
    ],
)  # fmt: skip
def test_what_is_said(made: Made, said: str) -> None:
    """One sentence, with the remedy where there is one."""
    with pytest.raises(ValidationError) as raised:
        Training.model_validate(made)
    assert said == first_fault(raised.value)


LIMITS = {
    "delta": (0, "x"), "l2": (0, "i"), "l1": (0, "i"), "decay": (0, "i"), "weight_decay": (0, "i"), "learning_rate": (0, "x"),
    "schedule_factor": (0, "x"), "schedule_every": (1, "i"), "warm_up": (0, "i"), "batch_size": (1, "i"), "seed": (0, "i"),
    "epochs": (1, "i"), "tolerance": (0, "i"), "patience": (1, "i"), "folds": (2, "i"), "keep_weights": (1, "i"),
}  # fmt: skip


def numbers(shown: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every number in a part of a schema, in lists and among alternatives too."""
    if shown.get("type") in {"number", "integer"}:
        yield shown
    for one in [*shown.get("anyOf", []), *([shown["items"]] if "items" in shown else [])]:
        yield from numbers(one)


def test_prefects_form_describes_every_setting() -> None:
    """Each has a description of a sentence or more, and a default; there is none that is not a setting."""
    shown = Training.model_json_schema()
    assert set(Training.model_fields) == set(shown["properties"])
    assert "required" not in shown
    assert False is shown["additionalProperties"]
    for name, one in shown["properties"].items():
        assert one.get("description", "").endswith("."), name
        assert "default" in one, name


def test_prefects_form_limits_every_number() -> None:
    """Wherever a setting may be a number, its least value is shown, and it is the one that is refused below."""
    shown = Training.model_json_schema()["properties"]
    assert set(LIMITS) == {name for name, one in shown.items() if list(numbers(one))}
    for name, (least, kind) in LIMITS.items():
        for number in numbers(shown[name]):
            assert number.get("minimum" if kind == "i" else "exclusiveMinimum") == least, name
        others: Made = {"validation": "0.2"}
        for wrong in (least - 1, *([least] if kind == "x" else [])):
            with pytest.raises(ValidationError):
                Training.model_validate(others | {name: wrong})
        if kind == "i":
            Training.model_validate(others | {name: least})


@pytest.mark.parametrize(
    "made",
    [{"decay": 1.0}, {"tolerance": 1.0}, {"schedule_factor": 1.01}, {"folds": 1001}, {"seed": 2**63}, {"l2": float("inf")},
     {"l1": float("nan")}, {"weight_decay": float("inf")}, {"delta": float("inf")}, {"delta": "large"}, {"validation": "1.5"},
     {"validation": "most"}, {"backends": ()}, {"decay": float("nan")}, {"tolerance": float("nan")},
     {"schedule_factor": float("nan")}, {"patience": 2.5, "validation": "0.2"}, {"epochs": 1e300}, {"optimiser": "adam"}],
)  # fmt: skip
def test_what_is_above_a_limit_or_no_number_is_refused(made: Made) -> None:
    """Before anything runs."""
    with pytest.raises(ValidationError):
        Training.model_validate(made)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ({}, "constant"), ({"optimizer": "adam"}, "cosine"), ({"optimizer": "rmsprop"}, "cosine"),
        ({"optimizer": "adagrad"}, "constant"), ({"optimizer": "adam", "learning_rate": 0.1}, "constant"),
        ({"batch_size": 4}, "cosine"), ({"batch_size": 4, "schedule": "constant"}, "constant"), ({"schedule": "step"}, "step"),
    ],
)  # fmt: skip
def test_the_schedule_that_is_planned(made: Made, expected: str) -> None:
    """A cosine where a constant rate would find no rest, unless somebody has chosen."""
    assert expected == Training.model_validate(made).planned


def test_what_follows_from_the_settings() -> None:
    """Folds and rows held out, what needs rows, and what theory knows everything of."""
    assert (None, 5, 7) == (Training().folded, Training(l2="auto").folded, Training(l2="auto", folds=7).folded)
    assert Training().split is None
    split = Training(validation="0.2", seed=3, folds=4).split
    assert split is not None
    assert (0.2, 3, 4) == (split.share, split.seed, split.folds)
    assert [False, True, True] == [one.needs_rows for one in (Training(), Training(loss="huber"), Training(batch_size=3))]
    assert all(one.is_plain for one in (Training(), Training(l2=0.1), preset("notebook"), Training(learning_rate="auto-sweep")))
    unlike = ({"optimizer": "momentum"}, {"l1": 0.1}, {"precondition": "whiten"}, {"batch_size": 2}, {"warm_up": 1},
              {"learning_rate": "search"}, {"schedule": "cosine"}, {"loss": "huber"})  # fmt: skip
    assert not any(Training.model_validate(made).is_plain for made in unlike)
