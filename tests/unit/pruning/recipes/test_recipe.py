"""Recipes: what is read, every problem by the path of its key, and the plan that rules make."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from prunemap.core.layer import LayerSpec
from prunemap.core.scheme_spec import DENSE, SchemeSpec
from prunemap.errors import UserError
from prunemap.pruning.recipes.file import read_recipe, recipe_schema
from prunemap.pruning.recipes.plan import plan_by_rules
from prunemap.pruning.recipes.recipe import LayerChoice, LayerRule, Recipe

RECIPES = Path(__file__).parents[4] / "recipes"
SMALL = """\
model: {name: resnet8, options: {width: 0.25}}
dense: {epochs: 1}
layers:
  - {match: conv1, scheme: dense}
  - {match: conv, scheme: 'punched:8x4', density: 0.3}
retrain: {epochs: 2}
"""


def written(folder: Path, text: str = SMALL) -> Path:
    path = folder / "r.yaml"
    path.write_text(text)
    return path


def test_the_schema_is_what_recipes_are(update_golden: bool) -> None:
    path = RECIPES / "schema.json"
    if update_golden:
        path.write_text(recipe_schema())
    assert path.read_text() == recipe_schema()


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_published_recipes_are_valid_and_name_the_schema(path: Path) -> None:
    assert read_recipe(path).control
    assert path.read_text().startswith("# yaml-language-server: $schema=schema.json\n")


def test_the_recipe_of_the_docs_is_valid(tmp_path: Path) -> None:
    text = (RECIPES.parent / "docs" / "pruning.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(read_recipe(written(tmp_path, example)).layers) == 4


def test_values_are_changed_and_paths_are_relative_to_the_recipe(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL + "data: {folder: images}\noutput: runs/x\n")
    recipe = read_recipe(
        path, ["retrain.epochs=3", "layers.1.density=0.5", "model.start=w.pth", "prune.method=one_shot"]
    )
    assert recipe.retrain is not None
    assert (recipe.retrain.epochs, recipe.retrain.warmup_epochs) == (3, 0.75)
    assert recipe.layers[1].density == 0.5
    assert recipe.model.start == Path("w.pth"), "typed by the user, so where the user is"
    assert recipe.data.folder == tmp_path / "images"
    assert recipe.output == Path("runs/x")
    budget = read_recipe(written(tmp_path, SMALL + "prune: {latency: t.json, latency_ms: 0.5}\n"))
    assert (budget.phase(0).latency, budget.phase(0).config.latency_ms) == (tmp_path / "t.json", 0.5)
    own = read_recipe(written(tmp_path, SMALL.replace("resnet8", "net.py:make")))
    assert own.model.name == str(tmp_path / "net.py:make")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("retrain.epoch=3", r"retrain\.epoch: no such key; did you mean epochs\?"),
        ("colour=red", r"colour: no such key; allowed are model, data, plan"),
        ("layers.1.schema=dense", r"layers\.1\.schema: no such key; did you mean scheme\?"),
        ("prune.lambda=-1", r"prune\.lambda: got -1: Input should be greater than 0"),
        ("prune.lam=1", r"prune\.lam: no such key; did you mean lambda\?"),
        ("layers.1.scheme=punched:8", r"layers\.1\.scheme: .*got 'punched:8', allowed is NAME or NAME:RxC"),
        ("layers.1.density=0", r"layers\.1\.density: got 0: Input should be greater than 0"),
        ("layers.1.density=null", r"layers\.1: density: missing, punched:8x4 needs one"),
        ("layers.0.density=0.5", r"layers\.0: density: got 0\.5 with the scheme dense, allowed is none"),
        ("plan=p.json", r"plan and layers: allowed is exactly one of them"),
        ("dense=null", r"model\.start and dense: one is needed"),
        ("seeds=[1, 1]", r"seeds: got \[1, 1\], allowed are different numbers"),
        ("prune.method=gradual", r"prune: training: it is missing with method gradual"),
        ("prune.latency_ms=1", r"prune: latency and latency_ms: got one of them; a budget needs the table"),
        ("prune={latency: t.json, latency_ms: 1, density: 0.1}", r"prune: density and latency_ms: got both"),
        ("prune.training={epochs: 1}", r"prune: training: allowed is none with method one_shot"),
        ("retrain.warmup_epochs=2", r"retrain: warmup_epochs: got 2, allowed is less than epochs \(2\)"),
        ("layers.7.density=1", r"--set: layers\.7\.density: got 7, allowed are 0 to 1"),
        ("retrain", r"--set: got 'retrain', allowed is KEY=VALUE"),
        ("retrain.epochs.x=1", r"--set: retrain\.epochs\.x: retrain\.epochs is no section"),
        ("retrain.epochs.x.y=1", r"--set: retrain\.epochs\.x\.y: x is inside of no section"),
        ("seeds={", r"--set: the value of seeds is not YAML"),
    ],
)
def test_what_is_wrong_is_said_by_the_path_of_its_key(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_recipe(written(tmp_path), [change])


def test_all_problems_are_listed(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_recipe(written(tmp_path), ["retrain.lr=0", "control=maybe", "model.nam=x"])
    assert [line.split(":")[0] for line in str(caught.value).splitlines()[1:]] == [
        "  - model.nam",
        "  - retrain.lr",
        "  - control",
    ]


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "is not YAML"), ("- 1", "holds no keys"), ("layers: 3", "model: it is missing")]
)
def test_files_that_are_no_recipes(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_recipe(written(tmp_path, text))
    with pytest.raises(UserError, match="--recipe: no such file"):
        read_recipe(tmp_path / "none.yaml")


def test_a_control_needs_a_training() -> None:
    values: dict[str, Any] = {"model": {"name": "x"}, "dense": {"epochs": 1}, "plan": "p", "control": True}
    with pytest.raises(ValueError, match="control: there is no training to compare with"):
        Recipe.model_validate(values)


# --- rules


def layer(name: str, kind: str = "conv") -> LayerSpec:
    return LayerSpec.model_validate(
        {"name": name, "module": name, "kind": kind, "weight_shape": (8, 8, 3, 3), "macs": 1, "params": 576}
    )


LAYERS = [layer("stem"), layer("a.conv"), layer("a.dw", "depthwise"), layer("b.conv"), layer("fc", "linear")]
HALF = SchemeSpec.parse("punched:4x2")


def chosen(*patterns: str) -> list[str]:
    """The number of the rule of each layer, - for the default."""
    rules = [LayerRule(match=pattern, scheme=HALF, density=(i + 1) / 10) for i, pattern in enumerate(patterns)]
    plan = plan_by_rules(rules, LayerChoice(scheme=DENSE), LAYERS)
    assert [entry.name for entry in plan.layers] == [each.name for each in LAYERS]
    return ["-" if entry.scheme == DENSE else str(round(entry.density * 10) - 1) for entry in plan.layers]


@pytest.mark.parametrize(
    ("patterns", "numbers"),
    [
        (("a.conv",), "-0---"),
        (("*.conv",), "-0-0-"),
        (("conv",), "00-0-"),
        (("depthwise", "linear"), "--0-1"),
        ((r"re:[ab]\.conv",), "-0-0-"),
        (("re:conv", "*"), None),
        (("b*", "stem", "*"), "12202"),
    ],
)
def test_the_first_rule_that_matches_counts(patterns: tuple[str, ...], numbers: str | None) -> None:
    if numbers is None:
        with pytest.raises(UserError, match=r"layers\.0\.match: 're:conv' matches no layer; there are stem, a\.conv"):
            chosen(*patterns)
    else:
        assert "".join(chosen(*patterns)) == numbers


def test_a_layer_called_like_a_kind_is_meant() -> None:
    rule = LayerRule(match="conv", scheme=HALF, density=0.5)
    plan = plan_by_rules([rule], LayerChoice(scheme=DENSE), [layer("conv"), layer("other")])
    assert [entry.scheme for entry in plan.layers] == [HALF, DENSE]


def test_rules_that_do_nothing_are_refused() -> None:
    with pytest.raises(UserError) as caught:
        chosen("*", "fc", "re:(", "nothing")
    message = str(caught.value)
    assert "layers.1.match: 'fc' matches only layers that rules before it match" in message
    assert "layers.2.match: 're:(' is no regular expression" in message
    assert "layers.3.match: 'nothing' matches no layer" in message
