"""The page in a real headless Chromium: what is drawn and said equals the NIfTI files."""

import re
import shutil
from functools import partial

import nibabel as nib
import numpy as np
import pytest

from sde_ct.report.html import report_file
from sde_ct.report.html.report_content import Prediction
from sde_ct.report.html.report_file import write_report

from . import html_cohort
from .html_cohort import FOLDERS, NAMES

driver = pytest.importorskip(
    "playwright.sync_api", reason="Playwright is not installed: pip install '.[browser]'"
)

SYSTEMS = ("chromium", "chromium-browser", "google-chrome")
PRESETS = {"Soft tissue": (400, 40), "Bone": (1800, 400), "Lung": (1500, -600)}
READ = """canvas => {
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const image = context.getImageData(0, 0, copy.width, copy.height);
  return [canvas.height, canvas.width, [...image.data]];
}"""


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, SYSTEMS)), None)
    with driver.sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=path)
        except driver.Error as error:
            pytest.skip(f"No Chromium starts: apt-get install chromium ({str(error)[:80]})")
        yield started
        started.close()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    html_cohort.write_cohort(folder)
    write_report(folder / "report.html", html_cohort.report(folder))
    return folder


@pytest.fixture
def page(browser, cohort):
    """The page, opened; fails where the console complains or anything else is asked for."""
    yield from opened(browser, cohort / "report.html")


def opened(browser, path):
    context = browser.new_context(offline=True, viewport={"width": 1400, "height": 1000})
    shown = context.new_page()
    complaints, requests = [], []
    shown.on("console", lambda message: complaints.append(message.text))
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on("request", lambda request: requests.append(request.url))
    shown.goto(path.as_uri())
    settled(shown)
    yield shown
    assert not complaints
    # Data URIs are pictures inside the file.
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    context.close()


def settled(page):
    page.wait_for_selector("#viewer[aria-busy=false]")


def canvas(page, pane: str):
    return page.locator(f"figure[data-pane={pane}] .picture canvas")


def pixels(page, pane: str) -> np.ndarray:
    """[row, column, RGB] as drawn."""
    height, width, data = canvas(page, pane).evaluate(READ)
    return np.array(data, np.uint8).reshape(height, width, 4)[..., :3]


def screen(volume: np.ndarray, z: int) -> np.ndarray:
    """Slice `z` of a file in axes P, S, R as a radiologist sees it: [to posterior, to left]."""
    return volume[:, z, ::-1]


def gray(hu: np.ndarray, width: float, level: float) -> np.ndarray:
    share = np.clip((hu.astype(float) - (level - width / 2)) / width, 0, 1)
    return np.repeat(np.floor(255 * share + 0.5).astype(np.uint8)[..., None], 3, axis=-1)


def choose(page, what: str, label: str):
    page.select_option(f"#{what}", label=label)
    settled(page)


def value(page, pane: str) -> float:
    return float(
        page.locator(f"figure[data-pane={pane}] figcaption output").inner_text().split()[0]
    )


def voxel(page) -> tuple[int, ...]:
    match = re.search(r"Voxel (\d+), (\d+), (\d+) of", page.inner_text("#position"))
    return tuple(map(int, match.groups()))


def test_names_are_text_and_nothing_else(page):
    """That the console is silent and no request leaves is asserted of every test's page."""
    assert page.title() == "Two <phantoms> & a title"
    assert page.locator("#patient option").all_inner_texts() == list(NAMES)
    choose(page, "patient", NAMES[1])
    assert page.title() == "Two <phantoms> & a title"
    assert NAMES[1] in page.inner_text(".warnings")
    assert page.locator("img").count() == 2  # the figure and the training curves


def test_the_network_is_forbidden(browser, cohort):
    """Were a script to run all the same, the policy refuses what it asks for."""
    shown = browser.new_page()
    shown.goto((cohort / "report.html").as_uri())
    asked = "() => fetch('https://example.org').then(() => 'sent', () => 'refused')"
    violation = "addEventListener('securitypolicyviolation', e => { window.kept = e.blockedURI })"
    shown.evaluate(violation)
    assert shown.evaluate(asked) == "refused"
    assert shown.evaluate("window.kept").startswith("https://example.org")
    shown.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "window.ran = true";
      document.body.append(script);
    }""")
    assert shown.evaluate("window.ran") is None
    shown.close()


def test_every_slice_and_preset_is_drawn_as_the_file_has_it(page, cohort):
    ct = html_cohort.voxels(cohort, NAMES[0], "ct")
    pictures = []
    for z in range(ct.shape[1]):
        page.locator("#slice").fill(str(z + 1))
        drawn = pixels(page, "ct")
        assert (drawn == gray(screen(ct, z), *PRESETS["Soft tissue"])).all()
        assert page.inner_text("#slice-text") == f"{z + 1} of {ct.shape[1]}"
        pictures.append(drawn.tobytes())
    assert len(set(pictures)) == ct.shape[1]
    last = {pixels(page, "ct").tobytes()}
    for preset, window in PRESETS.items():
        button = page.get_by_role("button", name=preset, exact=True)
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        assert page.locator(".presets [data-width][aria-pressed=true]").count() == 1
        assert (pixels(page, "ct") == gray(screen(ct, ct.shape[1] - 1), *window)).all()
        last.add(pixels(page, "ct").tobytes())
    assert len(last) == 3


@pytest.mark.parametrize("name", NAMES, ids=FOLDERS.values())
def test_the_cross_hair_reads_the_files_voxel(page, cohort, name):
    choose(page, "patient", name)
    choose(page, "method", "exact")
    files = {
        pane: html_cohort.voxels(cohort, name, kind)
        for pane, kind in {"mr": "mr", "ct": "ct", "sct": "exact", "spread": "exact_std"}.items()
    }
    affine = nib.load(cohort / FOLDERS[name] / "ct.nii.gz").affine
    places = [(0.03, 0.04, 1), (0.4, 0.3, 3), (0.55, 0.61, 4), (0.97, 0.96, 6)]
    seen = set()
    for across, down, number in places:
        page.locator("#slice").fill(str(number))
        picture = page.locator("figure[data-pane=error] .picture")
        picture.scroll_into_view_if_needed()
        box = picture.bounding_box()
        page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])
        at = voxel(page)
        rows, _, columns = files["ct"].shape
        assert at == (int(down * rows), number - 1, columns - 1 - int(across * columns))
        for pane in ("ct", "sct"):
            assert value(page, pane) == files[pane][at]
        assert value(page, "error") == files["sct"][at] - files["ct"][at]
        # Written as float32 and rounded once by the page.
        assert value(page, "spread") == np.rint(files["spread"][at])
        # The MR is kept in 4095 steps and shown with four digits.
        step = float(files["mr"].max()) / 4095
        assert value(page, "mr") == pytest.approx(float(files["mr"][at]), abs=step, rel=1e-3)
        mm = (affine @ [*at, 1])[:3]
        words = re.findall(r"([RLAPSI]) ([\d.]+)", page.inner_text("#position"))
        signs = [1 if side in "RAS" else -1 for side, _ in words]
        coordinates = [s * float(x) for s, (_, x) in zip(signs, words, strict=True)]
        np.testing.assert_allclose(coordinates, mm, atol=0.051)  # one digit
        said = canvas(page, "ct").get_attribute("aria-label")
        assert said == f"CT, slice {number} of 6: {files['ct'][at]} HU at the cross-hair"
        seen.add(at)
    assert len(seen) == len(places)


def test_methods_and_draws_switch(page, cohort):
    """A method without draws has no spread to show; the mean, each draw and its error do change."""
    window = PRESETS["Soft tissue"]

    def drawn_as(kind: str) -> bool:
        expected = gray(screen(html_cohort.voxels(cohort, NAMES[0], kind), z), *window)
        return (pixels(page, "sct") == expected).all()

    z = int(page.input_value("#slice")) - 1
    ambiguous = page.locator("figure[data-pane=spread]")
    assert page.locator("#method option:checked").inner_text() == "exact"  # it has a spread
    assert drawn_as("exact") and ambiguous.is_visible()
    for number, kind in enumerate(("exact_0", "exact_1"), start=1):
        choose(page, "choice", f"draw {number}")
        assert drawn_as(kind)
        assert f"exact, draw {number}" in page.inner_text("figure[data-pane=sct] figcaption")
    choose(page, "method", "lookup")
    assert drawn_as("lookup") and ambiguous.is_hidden() and page.locator("#choice").is_disabled()
    choose(page, "patient", NAMES[1])
    assert page.locator("#method option:checked").inner_text() == "lookup"  # it stays


def test_nothing_of_one_patient_stands_under_the_name_of_the_next(page):
    """Decoding takes a while: until it ends there is nothing to see, and keys move nothing."""
    picture = canvas(page, "ct").evaluate("canvas => canvas.toDataURL()")
    between = page.evaluate("""() => {
      choosePatient(1);
      move(0, 0, 1);
      const texts = [...document.querySelectorAll("#panes output, #position, .plots figcaption")];
      const ct = document.querySelector("figure[data-pane=ct] .picture canvas");
      return [texts.map((text) => text.textContent).join(""), ct.toDataURL(), ct.ariaLabel];
    }""")
    assert between[0] == "" and between[1] != picture and between[2] == ""
    settled(page)
    assert value(page, "ct") is not None and voxel(page)


def test_a_prediction_without_contrast_has_no_correlation(browser, cohort, tmp_path):
    view = html_cohort.view(cohort, NAMES[0])
    flat = view._replace(methods={"flat": Prediction(view.ct.with_array(0 * view.ct.array))})
    patients = {NAMES[0]: lambda: flat}
    write_report(tmp_path / "report.html", html_cohort.report(cohort, patients=patients))
    pages = opened(browser, tmp_path / "report.html")
    said = next(pages).locator("#histogram").get_attribute("aria-label")
    assert "Correlation" not in said and re.search(r"\. Mean error -?\d+\.\d HU", said)
    next(pages, None)


def test_error_is_white_at_zero_and_grey_outside_the_body(page, cohort):
    choose(page, "choice", "draw 1")  # the CT itself
    z = int(page.input_value("#slice")) - 1
    inside = screen(html_cohort.voxels(cohort, NAMES[0], "mask"), z) > 0
    drawn = pixels(page, "error").astype(int)
    assert (drawn[~inside] == 217).all()
    assert (drawn[inside] > 240).all() and inside.any()  # the middle of the diverging map
    assert "body 0.0 HU" in page.inner_text("#position")
    said = page.locator("#histogram").get_attribute("aria-label")
    voxels = (html_cohort.voxels(cohort, NAMES[0], "mask") > 0).sum()
    assert f"{voxels:,} body voxels" in said
    assert "Correlation 1.000, mean error 0.0 HU" in said


def test_the_plots_follow(page):
    def drawn(what: str) -> str:
        return page.locator(what).evaluate("canvas => canvas.toDataURL()")

    before = drawn("#profile"), drawn("#histogram")
    assert "band: one standard deviation" in page.inner_text("#profile-text")
    page.get_by_role("button", name="Front to back").click()
    turned = drawn("#profile")
    assert turned != before[0]
    choose(page, "method", "lookup")
    assert drawn("#profile") != turned and drawn("#histogram") != before[1]
    assert "band" not in page.inner_text("#profile-text")


def test_everything_works_from_the_keyboard(page, cohort):
    ct = html_cohort.voxels(cohort, NAMES[0], "ct")
    order = []
    page.locator("#patient").focus()
    for _ in range(9):
        active = "document.activeElement"
        order.append(page.evaluate(f"{active}.id || {active}.textContent"))
        if order[-1] in ("slice", "panes"):
            style = f"getComputedStyle({active}).outlineStyle"
            assert page.evaluate(style) == "solid"  # one sees where one is
        page.keyboard.press("Tab")
    controls = ["patient", "method", "choice", *PRESETS, "slice", "panes"]
    assert order == [*controls, "Across"]
    page.locator("#slice").focus()
    before = voxel(page)
    page.keyboard.press("ArrowLeft")
    assert voxel(page) == (before[0], before[1] - 1, before[2])
    page.locator("#panes").focus()
    at = np.array(voxel(page))
    # Axes P, S, R: left on the screen is the patient's right, up is to the front.
    moves = {"ArrowLeft": (0, 0, 1), "ArrowRight": (0, 0, -1), "ArrowUp": (-1, 0, 0),
             "ArrowDown": (1, 0, 0), "PageUp": (0, 1, 0), "PageDown": (0, -1, 0)}  # fmt: skip
    for key, step in moves.items():
        page.keyboard.press(key)
        at = at + step
        assert voxel(page) == tuple(at)
        assert value(page, "ct") == ct[tuple(at)]


def test_the_wheel_changes_the_slice_and_the_ends_hold(page):
    page.locator("#slice").fill("5")
    page.locator("figure[data-pane=ct] .picture").hover()
    before = pixels(page, "ct")
    page.mouse.wheel(0, -100)
    page.wait_for_function("document.getElementById('slice').value === '6'")
    assert (pixels(page, "ct") != before).any()
    page.locator("#panes").focus()
    page.keyboard.press("PageUp")
    assert page.input_value("#slice") == "6"


def test_tables_sort(page):
    table = page.locator("table.sortable").first

    def column(number: int) -> list[str]:
        return table.locator(f"tbody tr > :nth-child({number})").all_inner_texts()

    heads = table.locator("thead th")
    mae = 1 + [text.split()[0] for text in heads.all_inner_texts()].index("MAE")
    expected = sorted(float(text.split()[0]) for text in column(mae))
    button = heads.nth(mae - 1).locator("button")
    for way, order in (("ascending", expected), ("descending", expected[::-1])):
        button.press("Enter")
        assert heads.nth(mae - 1).get_attribute("aria-sort") == way
        assert [float(text.split()[0]) for text in column(mae)] == order
    cost = 1 + [text.split("/")[0] for text in heads.all_inner_texts()].index("evaluations")
    for _ in range(2):
        heads.nth(cost - 1).locator("button").click()
        assert column(cost)[-1] == "-"  # what was not measured stays last
    assert table.locator("[aria-sort]").count() == 1


def test_it_prints_what_is_shown(page):
    page.emulate_media(media="print")
    assert page.locator("#keys").is_hidden() and page.locator(".presets").first.is_hidden()
    assert canvas(page, "ct").is_visible() and page.locator("#profile").is_visible()
    box = page.locator("#panes").bounding_box()
    figures = [f.bounding_box() for f in page.locator("#panes figure").all()]
    assert len({round(f["y"]) for f in figures}) == 1  # five in a row
    assert all(f["x"] + f["width"] <= box["x"] + box["width"] + 1 for f in figures)
    pdf = page.pdf(prefer_css_page_size=True)
    assert pdf[:5] == b"%PDF-" and len(re.findall(rb"/Type /Page\b", pdf)) >= 2
    assert page.locator("details[open]").count() == 0  # opened for the paper alone


@pytest.mark.parametrize("width", [320, 800, 1400])
def test_nothing_is_cut_off_at_any_width(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    headings = "[...document.querySelectorAll('thead button')]"  # long ones must wrap
    assert page.evaluate(f"{headings}.every(b => b.scrollWidth <= b.clientWidth)")
    assert page.locator("figure[data-pane=spread]").is_visible()


def test_slices_left_out_are_said_and_the_others_still_true(browser, cohort, tmp_path, monkeypatch):
    """A voxel's number is still the file's."""
    one = {NAMES[0]: partial(html_cohort.view, cohort, NAMES[0])}
    whole = html_cohort.report(cohort, figures=(), patients=one)
    write_report(tmp_path / "all.html", whole)
    size = sum(
        map(len, re.findall(r'"([A-Za-z0-9+/=]{200,})"', (tmp_path / "all.html").read_text()))
    )
    monkeypatch.setattr(report_file, "REST", 0)
    write_report(tmp_path / "none.html", whole._replace(patients={}))
    still = (tmp_path / "none.html").stat().st_size
    monkeypatch.setattr(report_file, "LIMIT", still + int(0.4 * size))
    write_report(tmp_path / "report.html", whole)
    pages = opened(browser, tmp_path / "report.html")
    page = next(pages)
    kept = int(page.get_attribute("#slice", "max"))
    assert f"the middle {kept} of 6 slices" in page.inner_text(".note") and kept < 5
    ct = html_cohort.voxels(cohort, NAMES[0], "ct")
    at = voxel(page)
    assert value(page, "ct") == ct[at]
    assert at[1] == (6 - kept) // 2 + kept // 2
    assert page.inner_text("#slice-text") == f"{at[1] + 1} of 6"
    next(pages, None)
