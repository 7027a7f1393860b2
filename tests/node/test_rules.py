"""Which rule fits what a header says, and what is told of it; what of it enters the identity of a job."""

from pathlib import Path

import pytest

from lfmri_node.node.config import Config, from_document
from lfmri_node.node.errors import ConfigError
from lfmri_node.node.jobs.recipe import Recipe, goes_to
from lfmri_node.node.rules import Facts, Rule, answer_of, explain, first_that_fits
from lfmri_node.recon.errors import InvalidModel

KNEE = Facts(
    calling_ae="MR1", protocol="KNEE_PD_fs", manufacturer="Maker", field_strength_t=1.494, echo_time_ms=12.0
)


def fits(facts: Facts = KNEE, **only: object) -> bool:
    return answer_of(Rule.of("r", only), facts).fits


def test_texts_are_patterns_in_any_case() -> None:
    assert fits(protocol="*knee*")
    assert fits(protocol=["brain*", "knee_??_fs"])
    assert not fits(protocol="knee")
    assert not fits(protocol=["brain*", "*t2*"])


def test_numbers_are_ranges_with_both_ends() -> None:
    assert fits(field_strength_t=[1.4, 1.6])
    assert fits(echo_time_ms=[12, 12])
    assert not fits(echo_time_ms=[12.1, 90])


def test_every_condition_counts_and_no_condition_fits() -> None:
    assert fits(protocol="*knee*", calling_ae="MR1")
    assert not fits(protocol="*knee*", calling_ae="MR2")
    assert fits()


@pytest.mark.parametrize(
    "only", [{"body_part": "*"}, {"inversion_time_ms": [0, 1e6]}, {"three_dimensional": False}]
)
def test_what_is_not_known_meets_no_condition(only: dict[str, object]) -> None:
    answer = answer_of(Rule.of("r", only), KNEE)
    assert not answer.fits
    assert "not known" in answer.why


def test_the_first_that_fits_wins_and_each_says_why() -> None:
    rules = [
        Rule.of("brain", {"protocol": "*brain*", "field_strength_t": [1.4, 1.6]}),
        Rule.of("knee", {"protocol": ["*knee*", "*leg*"], "field_strength_t": [1.4, 1.6]}),
        Rule.of("rest", {}),
    ]
    first = first_that_fits(rules, KNEE)
    assert first is not None
    assert first.rule == "knee"
    assert first_that_fits(rules[:1], KNEE) is None
    brain, knee, rest = explain(rules, KNEE)
    assert (brain.fits, knee.fits, rest.fits) == (False, True, True)
    assert brain.why == "protocol is 'KNEE_PD_fs', wanted '*brain*'"
    assert "wanted '*knee*' or '*leg*'" in knee.why
    assert "field_strength_t is 1.494, wanted 1.4 to 1.6" in knee.why
    assert rest.why == "it has no conditions"


def configured(text: dict[str, object]) -> Config:
    document = {"recon": {"method": "cg-sense"}} | text
    return from_document(document, base=Path.cwd(), name="test")


PACS = {"kind": "dicom", "host": "h", "port": 104, "ae_title": "A"}


def test_a_pipeline_changes_what_it_names_and_nothing_else() -> None:
    config = configured(
        {
            "pipelines": [
                {"name": "brain", "only": {"protocol": "*brain*"}, "method": "zero-filled"},
                {"name": "knee", "only": {"protocol": "*knee*"}, "method": "wavelet", "fused": False},
            ]
        }
    )
    recipe = Recipe.from_json(Recipe.of(config).to_json())
    plain = recipe.chosen(Facts(protocol="foot"))
    knee = recipe.chosen(KNEE)
    assert (plain.rule, plain.recon.method) == ("", "cg-sense")
    assert (knee.rule, knee.recon.method, knee.objects["fused"]) == ("knee", "wavelet", False)
    assert knee.reader == plain.reader
    assert knee.candidates == ()
    assert Recipe.from_json(knee.to_json()) == knee


def test_only_what_changes_the_pixels_is_part_of_the_identity() -> None:
    """The name of a rule, the series and the destinations are not; nor are rules that do not fit."""
    only = {"protocol": "*knee*"}
    same = [
        {"name": "a", "only": only},
        {"name": "b", "only": only, "summary": True},
        {"name": "c", "only": {"protocol": "*brain*"}, "method": "wavelet"},
    ]
    settings = {Recipe.of(configured({"pipelines": [each]})).chosen(KNEE).pixel_settings() for each in same}
    assert settings == {Recipe.of(configured({})).pixel_settings()}
    other = {"name": "d", "only": only, "method": "wavelet"}
    assert Recipe.of(configured({"pipelines": [other]})).chosen(KNEE).pixel_settings() not in settings


def test_destinations_are_chosen_by_their_own_rule_and_by_the_pipeline() -> None:
    config = configured(
        {
            "pipelines": [
                {"name": "knee", "only": {"protocol": "*knee*"}, "destinations": ["pacs", "study"]}
            ],
            "destinations": [
                {**PACS, "name": "pacs"},
                {**PACS, "name": "study", "only": {"field_strength_t": [2.5, 3.5]}},
                {**PACS, "name": "rest"},
            ],
        }
    )
    knee = Recipe.of(config).chosen(KNEE).to_json()
    foot = Recipe.of(config).chosen(Facts(protocol="foot", field_strength_t=3.0)).to_json()
    assert [name for name in ("pacs", "study", "rest") if goes_to(knee, name, ruled=False)] == ["pacs"]
    assert all(goes_to(foot, name, ruled=True) for name in ("pacs", "study", "rest"))
    assert goes_to(knee, "new", ruled=False), "a destination without rules takes what is not finished"
    assert not goes_to(knee, "new", ruled=True), "what its rules ask about is not known any more"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ({"pipelines": [{"name": "knee", "only": {"protocoll": "*"}}]}, "pipelines[0] 'knee'.only.protocoll"),
        ({"pipelines": [{"name": "knee", "only": {"protocol": []}}]}, "pipelines[0] 'knee'.only.protocol"),
        (
            {"pipelines": [{"name": "knee", "only": {"echo_time_ms": [9, 1]}}]},
            "pipelines[0] 'knee'.only.echo_time_ms",
        ),
        (
            {"pipelines": [{"name": "knee", "only": {}, "weights_sha256": "a" * 64}]},
            "pipelines[0] 'knee': weights_sha256 belongs to weights",
        ),
        (
            {"pipelines": [{"name": "knee", "only": {}, "destinations": ["nobody"]}]},
            "pipelines 'knee': no destination is called nobody",
        ),
        ({"pipelines": [{"name": "k", "only": {}}, {"name": "k", "only": {}}]}, "its own name"),
        (
            {"destinations": [{**PACS, "name": "p", "only": {"body_part": 3}}]},
            "destinations[0].only.body_part",
        ),
    ],
)
def test_a_wrong_rule_is_named(text: dict[str, object], where: str) -> None:
    with pytest.raises(ConfigError) as error:
        configured(text)
    assert where in error.value.message


def test_weights_that_are_missing_name_their_pipeline(tmp_path: Path) -> None:
    config = configured(
        {
            "recon": {"method": "cg-sense"},
            "pipelines": [
                {
                    "name": "knee",
                    "only": {},
                    "method": "lf-mri",
                    "weights": str(tmp_path / "gone.safetensors"),
                }
            ],
        }
    )
    with pytest.raises(InvalidModel, match="pipeline 'knee'"):
        Recipe.of(config)


@pytest.mark.parametrize(
    ("outputs", "more", "why"),
    [
        (["segmentation", "report"], {}, "the image itself cannot be left out"),
        ([], {}, "the image itself cannot be left out"),
        (["lf-mri", "report"], {}, "'report' needs 'segmentation'"),
        (["lf-mri", "lf-mri"], {}, "every series is named once"),
        (["lf-mri", "pictures"], {}, "Input should be 'lf-mri', 'reference'"),
        (["lf-mri"], {"fused": False, "summary": True}, "leave out fused, summary"),
    ],
)
def test_series_that_cannot_be_had_are_refused_by_name(tmp_path: Path, outputs, more, why) -> None:
    document = {"pipelines": [{"name": "few", "only": {}, "outputs": outputs, **more}]}
    with pytest.raises(ConfigError, match=r"pipelines.*'few'") as caught:
        from_document(document, base=tmp_path, name="test")
    assert caught.value.code == "LF-CFG-004"
    assert why in caught.value.message


def test_series_that_are_named_are_in_the_recipe_of_the_rule_alone(tmp_path: Path) -> None:
    rule = {"name": "few", "only": {"protocol": "KNEE*"}, "outputs": ["lf-mri", "map"]}
    document = {"pipelines": [rule], "objects": {"summary": True}}
    recipe = Recipe.from_json(Recipe.of(from_document(document, base=tmp_path, name="test")).to_json())
    assert "outputs" not in recipe.chosen(Facts(protocol="brain")).objects
    assert recipe.chosen(KNEE).objects["outputs"] == ["lf-mri", "map"]
