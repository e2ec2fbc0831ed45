"""Importance of layers from a sensitivity file, and what the rules make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from prunemap.core.plan import ModelIdentity
from prunemap.core.scheme_spec import SchemeSpec
from prunemap.core.sensitivity import Sensitivity, SensitivityConditions, SensitivityRow
from prunemap.errors import UserError
from prunemap.mapping import MAPPERS, Budget, MapRequest
from prunemap.mapping.importance import LEAST, Importance, fit, importance_of

BASELINE = 0.5
FILTER, UNSTRUCTURED = SchemeSpec("filter"), SchemeSpec("unstructured")
ENERGIES = (0.2, 0.5, 0.9)


def measured(network, slopes: Mapping[str, Mapping[SchemeSpec, float]]) -> Sensitivity:
    """A file of layers whose loss rises by exactly slope · (1 − energy), that of whole filters being a power."""
    specs = {layer.spec.name: layer.spec for layer in network}
    conditions = SensitivityConditions(weights_sha256="", dataset="none", images=1, images_sha256="")
    rows = tuple(
        SensitivityRow(
            layer=name,
            kind=specs[name].kind,
            weight_shape=specs[name].weight_shape,
            scheme=scheme,
            density=energy,
            energy_kept=energy ** (1 / 2.5) if scheme == FILTER else energy,
            accuracy=0.5,
            loss=max(0.0, BASELINE + slope * (1 - energy)),
        )
        for name, by_scheme in slopes.items()
        for scheme, slope in by_scheme.items()
        for energy in ENERGIES
    )
    return Sensitivity(
        model=ModelIdentity(), conditions=conditions, baseline_accuracy=0.9, baseline_loss=BASELINE, rows=rows
    )


def test_fits_the_slope_of_loss_over_lost_energy(network) -> None:
    file = measured(network, {"wide": {FILTER: 3.0}, "deep": {FILTER: -0.2}})
    assert fit(file.of_layers()["wide"], BASELINE) == pytest.approx(3.0)
    assert fit(file.of_layers()["deep"], BASELINE) == 0
    whole = [row.model_copy(update={"energy_kept": 1.0}) for row in file.rows]
    assert fit(whole, BASELINE) == 0


def test_the_mean_over_layers_is_one_and_schemes_have_their_own(network) -> None:
    slopes = {"wide": {FILTER: 6.0, UNSTRUCTURED: 2.0}, "deep": {UNSTRUCTURED: 2.0}}
    found = importance_of(measured(network, slopes), [layer.spec for layer in network])
    assert found.layers == pytest.approx({"wide": 4 / 3, "deep": 2 / 3})
    assert found.of("wide", FILTER) == pytest.approx(2.0)
    assert found.of("wide", UNSTRUCTURED) == pytest.approx(2 / 3)
    assert found.of("deep", FILTER) == pytest.approx(2 / 3), "not measured with it: all rows of the layer"
    assert found.of("point", FILTER) == 1.0


def test_no_layer_is_worth_nothing(network) -> None:
    specs = [layer.spec for layer in network]
    found = importance_of(measured(network, {"wide": {FILTER: 3.0}, "deep": {FILTER: -0.2}}), specs)
    assert found.layers == pytest.approx({"wide": 2.0, "deep": LEAST})
    assert importance_of(measured(network, {"deep": {FILTER: -0.2}}), specs).layers == {"deep": 1.0}
    assert importance_of(measured(network, {}), specs) == Importance()


def test_the_rules_keep_more_of_what_is_sensitive_and_say_so(network, make_table) -> None:
    request = MapRequest(network, make_table(network, {}), Budget(density=0.2))
    plain = {layer.name: layer for layer in MAPPERS["rules"].map(request).plan.layers}
    file = measured(network, {"wide": {UNSTRUCTURED: 0.2}, "deep": {UNSTRUCTURED: 8.0}})
    importance = importance_of(file, [layer.spec for layer in network])
    weighed = {layer.name: layer for layer in MAPPERS["rules"].map(replace(request, importance=importance)).plan.layers}
    assert weighed["deep"].density > plain["deep"].density
    assert weighed["wide"].density < plain["wide"].density
    assert weighed["deep"].reason.endswith("; sensitivity 2 of the mean")
    assert weighed["wide"].reason.endswith("; sensitivity 0.049 of the mean")
    assert weighed["point"].reason.endswith("; sensitivity not measured, taken as the mean")
    assert not any("sensitivity" in layer.reason for layer in plain.values())
    assert "sensitivity " not in weighed["stem"].reason


def test_a_file_of_another_network_is_refused_with_its_layers(network) -> None:
    file = measured(network, {"wide": {FILTER: 1.0}, "point": {FILTER: 1.0}, "deep": {FILTER: 1.0}})
    changes = {"wide": {"layer": "elsewhere"}, "deep": {"weight_shape": (7, 7)}}
    rows = tuple(row.model_copy(update=changes.get(row.layer, {})) for row in file.rows)
    with pytest.raises(UserError, match="sensitivity: it does not fit this model") as caught:
        importance_of(file.model_copy(update={"rows": rows}), [layer.spec for layer in network][3:])
    assert "'elsewhere' (conv [32, 32, 3, 3]) is not in the model" in str(caught.value)
    assert "'deep' has weight shape [64, 64, 3, 3], sensitivity says [7, 7]" in str(caught.value)
    assert "'point'" not in str(caught.value)
