"""What papers claim is written down soundly, and what is not is refused where it is written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from posebook.ledger.claim import Variant, claims_of
from posebook.network import settings_of
from posebook.papers import PAPERS, network_class, select
from posebook.papers.soft_argmax.claims import LEDGER
from posebook.papers.soft_argmax.network import SoftArgmax
from posebook.training.profile import Profile


@pytest.mark.parametrize("paper", PAPERS)
def test_every_variant_is_a_network_at_every_profile(paper):
    claims = claims_of(paper)
    assert claims.slug == paper
    assert {"quick", "study", "paper"} <= set(claims.profiles)
    for variant in claims.variants.values():
        assert network_class(variant.network.name) is variant.network
        for profile in claims.profiles.values():
            own = variant.over(profile.settings).keys() - profile.settings.keys()
            assert own <= settings_of(variant.network).keys()


def test_claims_are_selected_by_id_and_by_paper():
    assert {claim.paper for claim in select()} == set(PAPERS)
    assert {claim.paper for claim in select(["part_groups"])} == {"part_groups"}
    assert [claim.id for claim in select(["part_groups_depth"])] == ["part_groups_depth"]
    with pytest.raises(ValueError, match="no claims are stored for a paper called 'nothing'"):
        claims_of("nothing")


def test_what_is_mistyped_fails_where_it_is_written():
    study = LEDGER.profiles["study"]
    with pytest.raises(TypeError, match="test_imges"):
        study.but(test_imges=3)
    with pytest.raises(TypeError, match="batchsize"):
        study.but(recipe={"batchsize": 3})
    with pytest.raises(ValueError, match="model 'soft_argmax' has no setting 'block'; it has joints, size, blocks"):
        study.but(settings={"block": 3})
    with pytest.raises(ValueError, match="has no setting 'contexts'"):
        Variant(SoftArgmax, {"contexts": 0})
    with pytest.raises(TypeError, match="stacks"):
        Profile(**vars(study) | {"stacks": 2})
    with pytest.raises(ValueError, match="the claims of soft_argmax name a variant 'detecton', which is not there"):
        replace(LEDGER, claims=(replace(LEDGER.claims[0], variants=("regression", "detecton")),))
    with pytest.raises(ValueError, match="soft_argmax_subpixel is not a claim of soft_argmax"):
        replace(LEDGER, claims=(replace(LEDGER.claims[0], paper="part_groups"),))
