"""The web page of `prunemap page` in headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from prunemap.errors import UserError
from tests.targets.chromium import CHROMIUM, Page, opened, served

pytest.importorskip("torch")
CHECKPOINTS = Path(__file__).parents[2] / "benchmarks" / "checkpoints"
PRUNED, DENSE = (CHECKPOINTS / f"resnet20-{kind}-s0.safetensors" for kind in ("pruned", "dense"))
FIRST_CLASS = "document.querySelector('#classes li span')?.textContent"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from prunemap.exporting.page import export_page

    output = tmp_path_factory.mktemp("page") / "page"
    result = export_page(PRUNED, DENSE, output)
    assert result.weight_bytes["pruned"] < result.weight_bytes["dense"] / 2
    return output


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: the page is not opened")
    with served(folder) as url, opened(url) as page:
        page.show(390, 844, mobile=True)
        page.wait_for("document.body?.dataset.state === 'timed'")
        yield page


def text(page: Page, id: str) -> str:
    return str(page.evaluate(f"document.getElementById('{id}').textContent"))


def test_drawn_pictures_are_classified_and_both_networks_timed(page: Page) -> None:
    names = page.evaluate("[...document.querySelectorAll('#pictures img')].map((image) => image.alt)")
    assert names == ["airplane", "automobile", "ship", "truck"]
    for k, name in enumerate(names):
        page.evaluate(f"document.querySelectorAll('#pictures button')[{k}].click()")
        page.wait_for(f"{FIRST_CLASS} === '{name}'")
    for name in ("dense", "pruned"):
        assert float(text(page, f"{name}-ms")) > 0
        assert int(text(page, f"{name}-fps").replace(",", "")) > 0
    assert text(page, "faster").endswith("x")
    status = text(page, "status")
    assert status.startswith("WebAssembly ") and "dense checked" in status and "pruned checked" in status
    assert page.complaints == []


def test_it_fits_a_phone(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_camera_takes_the_place_of_the_picture(page: Page) -> None:
    page.evaluate("document.getElementById('camera').click()")
    page.wait_for("document.getElementById('video').videoWidth > 0")
    page.evaluate("document.getElementById('camera').click()")
    page.wait_for("document.getElementById('video').srcObject === null")
    assert page.complaints == []


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    from prunemap.exporting import page as pages

    with pytest.raises(UserError, match=r"pictures: .* has no picture"):
        pages.export_page(PRUNED, DENSE, tmp_path / "page", pictures=tmp_path)
    assert not (tmp_path / "page").exists()
