"""The playground in headless Chromium: scenes load without an error, every control has its effect, on desktops and phones."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from sensorium.core import zoo
from sensorium.web import export as web
from sensorium.web.exports import dream
from tests import chromium
from tests.conftest import needs

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(chromium.missing()), reason=chromium.missing() or "a browser is here")]

DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 375, "height": 812}
SCENES = [
    ("cart-pole-clone", "senses", ""), ("ant-clone", "senses", "bullet"), ("pong-clone", "eyes", "envpool"), ("car-racing", "dream", "envpool"),
    ("take-cover", "latent", "doom"), ("proto-states.walker_run", "exploration", "control"), ("scratch.walker_run", "any", "control"),
]  # fmt: skip
"""(agent, scene, extra)"""
LABELLED = """() => [...document.querySelectorAll('input, select, button, canvas[role], .curve')].filter(
  (node) => !(node.labels?.length || node.getAttribute('aria-label') || node.textContent.trim())).map((node) => node.outerHTML)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium.chromium() as found:
        yield found


@contextmanager
def visit(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """A page at an address; errors in its console fail the test."""
    context = browser.new_context(**{"viewport": DESKTOP, **options})
    page, errors = context.new_page(), []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(60_000)
    page.goto(address)
    page.wait_for_selector("[data-panel], .card")
    try:
        yield page
        assert errors == []
    finally:
        context.close()


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def order(page: Any) -> list[str]:
    """The labels of the order control, slot by slot."""
    return page.locator("[data-control=order] li button").all_text_contents()


def status(page: Any) -> str:
    return page.locator("[data-panel=status] p").text_content()


def picture(page: Any, panel: str) -> str:
    """What a panel shows, as a string to compare."""
    return page.locator(f"[data-panel={panel}] canvas").evaluate("canvas => canvas.toDataURL()")


def rate(page: Any) -> int:
    """Frames drawn in the last second."""
    return int(page.locator(".speed").get_attribute("data-rate") or 0)


def scores(page: Any) -> list[float]:
    """The scores in the status line: the agent's, the network's."""
    return [float(number) for number in re.findall(r"(?:agent|network) (-?\d\.\d\d)", status(page))]


def slide(page: Any, control: str, value: float) -> None:
    page.locator(f"[data-control={control}] input").evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )


# exported pages


@pytest.fixture(scope="module")
def cart_pole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    out = tmp_path_factory.mktemp("cart-pole") / "page"
    web.export(zoo.FOLDER / "cart-pole-clone", out)
    with chromium.served(out) as address:
        yield address


@pytest.fixture(scope="module")
def dreams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    needs(["onnx"])
    out = tmp_path_factory.mktemp("dream") / "page"
    web.export(zoo.FOLDER / "take-cover", out)
    with chromium.served(out) as address:
        yield address


def test_exported_cart_pole(browser: Any, cart_pole: str, record_property: Callable[[str, object], None]) -> None:
    with visit(browser, cart_pole) as page:
        assert page.evaluate(LABELLED) == []
        until(lambda: min([0, *scores(page)][-2:]) > 0.9, 60)
        record_property("frames per second", rate(page))
        assert rate(page) >= 10
        # a key shuffles the sensors
        before = order(page)
        until(lambda: (page.keyboard.press("s"), order(page) != before)[1])
        assert sorted(order(page)) == sorted(before)
        page.get_by_role("button", name="First order").click()
        until(lambda: order(page) == before)
        # arrow keys and dragging swap two
        page.locator("[data-control=order] li button").first.focus()
        page.keyboard.press("ArrowRight")
        assert order(page)[:2] == [before[1], before[0]]
        page.locator("[data-control=order] li button").nth(0).drag_to(page.locator("[data-control=order] li button").nth(3))
        assert order(page) == [before[3], before[0], before[2], before[1], before[4]]
        # the agent recovers, in this episode or, where its start was hopeless, in a later one
        until(lambda: scores(page)[0] > 0.9, 60)
        # noise, copies and sensors that are off
        slide(page, "noise", 2)
        until(lambda: order(page)[-1] == "noise 2")
        page.get_by_label("Every sensor twice").check()
        until(lambda: len(order(page)) == 12)
        page.get_by_label("cos angle", exact=True).uncheck()
        slide(page, "every", 25)
        shown = order(page)
        until(lambda: order(page) != shown)


def test_exported_cart_is_pushed_by_keys_mouse_and_touch(browser: Any, cart_pole: str) -> None:
    with visit(browser, cart_pole, has_touch=True) as page:
        page.get_by_label("Pause").check()
        time.sleep(0.3)
        still = picture(page, "agent")
        time.sleep(0.3)
        assert picture(page, "agent") == still
        page.keyboard.down("ArrowRight")
        until(lambda: picture(page, "agent") != still)
        page.keyboard.up("ArrowRight")
        until(lambda: picture(page, "agent") == still)
        page.locator("[data-panel=agent] canvas").scroll_into_view_if_needed()
        box = page.locator("[data-panel=agent] canvas").bounding_box()
        page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 20)
        page.mouse.down()
        until(lambda: picture(page, "agent") != still)
        page.mouse.up()
        until(lambda: picture(page, "agent") == still)
        button = page.get_by_role("button", name="push left")
        button.dispatch_event("pointerdown", {"pointerId": 1})
        until(lambda: picture(page, "baseline") != still and "held" in button.get_attribute("class"))
        button.dispatch_event("pointerup", {"pointerId": 1})


def test_exported_dream(browser: Any, dreams: str, record_property: Callable[[str, object], None]) -> None:
    changes = """async () => {
      const canvas = document.querySelector('[data-panel=dream] canvas'), pen = canvas.getContext('2d');
      let last = null, sum = 0, count = 0;
      while (count < 40) {
        await new Promise(requestAnimationFrame);
        const now = pen.getImageData(0, 0, 64, 64).data;
        if (last) { const d = now.reduce((s, x, i) => s + Math.abs(x - last[i]), 0); if (d) { sum += d; count += 1; } }
        last = now;
      }
      return sum / count / (64 * 64 * 3);
    }"""
    with visit(browser, dreams) as page:
        assert page.evaluate(LABELLED) == []
        until(lambda: "Step" in status(page) and int(re.findall(r"\d+", status(page))[0]) > 40)
        record_property("frames per second", rate(page))
        assert rate(page) >= 8
        # temperature changes the dream
        page.get_by_role("button", name="Temperature 0.1").click()
        assert page.locator("[data-control=temperature] output").text_content() == "0.10"
        page.get_by_role("button", name="New dream").click()
        cold = page.evaluate(changes)
        slide(page, "temperature", 3)
        hot = page.evaluate(changes)
        assert hot > 1.5 * cold
        # keys steer, the agent takes over again
        page.keyboard.down("ArrowLeft")
        until(lambda: "you steer" in status(page))
        left = picture(page, "action")
        page.keyboard.up("ArrowLeft")
        page.keyboard.down("ArrowRight")
        until(lambda: "you steer" in status(page) and picture(page, "action") != left)
        page.keyboard.up("ArrowRight")
        until(lambda: "the agent steers" in status(page) or "ended" in status(page))
        page.get_by_label("The agent acts while no key is held").uncheck()
        until(lambda: "nobody steers" in status(page))


def test_exported_latent_space(browser: Any, dreams: str, record_property: Callable[[str, object], None]) -> None:
    with visit(browser, f"{dreams}#/take-cover/latent") as page:
        assert page.evaluate(LABELLED) == []
        until(lambda: rate(page) >= 8)
        record_property("frames per second", rate(page))
        kept, drawn = picture(page, "reconstruction"), picture(page, "imagined")
        # without a change the sliders' picture is the reconstruction
        assert kept == drawn
        slider = page.locator("[data-control] input[type=range]").first
        slider.press("End" if float(slider.input_value()) < 0 else "Home")
        until(lambda: picture(page, "imagined") != drawn)
        assert picture(page, "reconstruction") == kept
        page.keyboard.press("b")
        until(lambda: picture(page, "imagined") == drawn)
        real = picture(page, "real")
        page.keyboard.press("f")
        until(lambda: picture(page, "real") != real and picture(page, "reconstruction") != kept)


def test_networks_in_the_browser_equal_torch(browser: Any, dreams: str) -> None:
    """Parity of 1e-4 where the networks really run: onnxruntime-web in Chromium."""
    agent = dream.Agent.of(zoo.FOLDER / "take-cover")
    vision = dream.load_model(agent.stage.vision, bfloat16=False)  # type: ignore[attr-defined]
    memory = dream.load_model(agent.stage.dream_world().memory, bfloat16=False)  # type: ignore[attr-defined]
    torch.manual_seed(0)
    z, action, hidden, cell = torch.randn(1, 64), torch.rand(1, 1), torch.tanh(torch.randn(1, 512)), torch.randn(1, 512)
    inputs = {"z": z, "action": action, "first": torch.zeros(1, 1), "hidden": hidden, "cell": cell}
    with torch.no_grad():
        expected = [dream.Decoder(vision)(z), *dream.MemoryStep(memory)(*inputs.values())]
    found_by_browser = """async (inputs) => {
      const ort = await import(new URL('assets/ort.mjs', document.baseURI).href);
      const packed = await (await fetch('assets/ort.wasm.gz')).blob();
      ort.env.wasm.numThreads = 1;
      ort.env.wasm.wasmBinary = await new Response(packed.stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();
      const found = [];
      for (const name of ['decoder', 'memory']) {
        const model = new Uint8Array(await (await fetch(`dream/${name}.onnx`)).arrayBuffer());
        const session = await ort.InferenceSession.create(model, { executionProviders: ['wasm'] });
        const feeds = {};
        for (const key of session.inputNames) feeds[key] = new ort.Tensor('float32', Float32Array.from(inputs[key]), [1, inputs[key].length]);
        const outputs = await session.run(feeds);
        for (const key of session.outputNames) found.push([...outputs[key].data]);
      }
      return found;
    }"""
    with visit(browser, dreams) as page:
        found = page.evaluate(found_by_browser, {name: value[0].tolist() for name, value in inputs.items()})
    for ours, theirs in zip(expected, found, strict=True):
        assert float((ours.flatten() - torch.tensor(theirs)).abs().max()) <= 1e-4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_and_colour_schemes(browser: Any, cart_pole: str, scheme: str) -> None:
    with visit(browser, cart_pole, viewport=PHONE, color_scheme=scheme, is_mobile=True, has_touch=True) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(int(x) for x in re.findall(r"\d+", paper)[:3]) > 380) == (scheme == "light")
        # the controls follow the pictures and come before the curves
        places = [page.locator(where).bounding_box()["y"] for where in ("[data-panel=agent]", ".controls", "[data-panel=score]")]
        assert places == sorted(places)
        before = order(page)
        until(lambda: (page.get_by_role("button", name="Shuffle", exact=False).first.tap(), order(page) != before)[1])


# the server


@contextmanager
def playground(names: list[str], port: int = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server for these zoo agents."""
    command = [
        sys.executable,
        "-m",
        "sensorium.cli",
        "play",
        *(str(zoo.FOLDER / name) for name in names),
        "--no-browser",
        "--port",
        str(port),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stderr is not None
    try:
        address = None
        while address is None:
            line = process.stderr.readline()
            assert line, "the server has ended"
            address = re.search(r"http://[^/\s]+/", line)
        yield address[0], process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.stderr.close()


@pytest.fixture(scope="module")
def live() -> Iterator[str]:
    with playground([name for name, _, _ in SCENES]) as (address, _):
        yield address


@pytest.mark.parametrize(("agent", "scene", "extra"), SCENES, ids=[f"{agent}/{scene}" for agent, scene, _ in SCENES])
def test_scene(agent: str, scene: str, extra: str, browser: Any, live: str, record_property: Callable[[str, object], None]) -> None:
    needs([extra] if extra else [])
    with visit(browser, f"{live}#/{agent}/{scene}") as page:
        assert page.locator("[data-scene]").get_attribute("data-scene") == scene
        until(lambda: rate(page) >= 5)
        assert page.evaluate(LABELLED) == []
        assert page.locator(".message").is_hidden()
        moving = page.locator("[data-panel] canvas").first.evaluate_handle("canvas => canvas")
        first = moving.evaluate("canvas => canvas.toDataURL()")
        if scene in ("senses", "any"):
            before = order(page)
            until(lambda: (page.get_by_role("button", name="Shuffle").first.click(), time.sleep(0.3), order(page) != before)[2])
        if scene == "latent":
            page.locator("[data-control] input[type=range]").first.press("End")
        until(lambda: moving.evaluate("canvas => canvas.toDataURL()") != first or scene == "latent")
        record_property("frames per second", rate(page))


def test_gallery_shows_every_agent_with_a_moving_picture(browser: Any, live: str) -> None:
    with visit(browser, live) as page:
        assert page.locator(".card").count() == len(SCENES)
        until(lambda: page.locator(".thumbnail img").count() == len(SCENES), 60)
        assert page.locator(".thumbnail img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        page.get_by_role("link", name="Cart pole clone").click()
        page.wait_for_selector("[data-panel]")


@pytest.mark.parametrize(("fragment", "message"), [("#/%", "malformed"), ("#/nobody/senses", "no agent nobody")])
def test_an_address_without_an_agent_gives_the_gallery_and_says_why(browser: Any, live: str, fragment: str, message: str) -> None:
    with visit(browser, f"{live}{fragment}") as page:
        assert message in page.locator(".message").text_content()
        assert page.locator(".card").count() == len(SCENES)


def test_page_connects_again(browser: Any) -> None:
    with ExitStack() as stack:
        address, process = stack.enter_context(playground(["cart-pole-clone"]))
        port = int(address.rstrip("/").rpartition(":")[2])
        page = stack.enter_context(browser.new_context()).new_page()
        page.goto(address)
        page.wait_for_selector("[data-panel]")
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        page.wait_for_selector(".message:not([hidden])")
        assert "connection" in page.locator(".message").text_content()
        stack.enter_context(playground(["cart-pole-clone"], port))
        page.wait_for_selector(".message[hidden]", state="attached", timeout=30_000)
        until(lambda: rate(page) >= 5)


def test_folder_of_exports_is_plain_files(cart_pole: str, tmp_path: Path) -> None:
    """Nothing in an exported page asks for another host."""
    web.export(zoo.FOLDER / "cart-pole", tmp_path / "page")
    for path in (tmp_path / "page").rglob("*.html"):
        assert not re.search(r"(src|href)=\"https?:", path.read_text())
