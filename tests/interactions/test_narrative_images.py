"""A real store takes no narrative that fetches images from elsewhere when it is shown; a sandbox is plain R4."""

import os

import pytest

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from fhir_dmp.identity.actor import Actor
from fhir_dmp.interactions import create
from fhir_dmp.interactions.context import Context
from fhir_dmp.settings import Settings
from fhir_dmp.store.resources import wall_clock_ms


def composition(image: str) -> bytes:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml">Radio <img alt="poumon" src="{image}"/></div>'
    return json.dump(
        {
            "resourceType": "Composition",
            "status": "final",
            "type": {"text": "synthèse"},
            "date": "2026-11-22",
            "author": [{"display": "Dr Essai"}],
            "title": "Synthèse",
            "section": [{"title": "un"}, {"title": "deux", "text": {"status": "generated", "div": div}}],
        }
    )


def context_of(store) -> Context:
    actor = Actor(kind="system", issuer="test", subject="test", expires=float("inf"))
    return Context(store, actor, Settings(), "http://localhost/fhir", wall_clock_ms, os.urandom)


@pytest.mark.parametrize("image", ["http://evil.example/x.png", "HTTPS://evil.example/x", "//evil.example/x.png"])
async def test_a_remote_image_is_refused_where_dossiers_are_real(store, image):
    with pytest.raises(FhirError) as refused:
        await create.run(context_of(store), "Composition", composition(image))
    assert (refused.value.status, refused.value.where) == (422, "Composition.section[1].text.div")


@pytest.mark.parametrize("image", ["#image", "poumon.png", "data:image/png;base64,iVBORw0KGgo="])
async def test_an_image_of_the_resource_itself_is_taken(store, image):
    assert (await create.run(context_of(store), "Composition", composition(image))).status == 201


async def test_a_sandbox_takes_what_r4_allows(sandbox_store):
    assert (await create.run(context_of(sandbox_store), "Composition", composition("https://elsewhere.example/x.png"))).status == 201
