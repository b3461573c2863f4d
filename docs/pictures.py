"""Make the pictures of the playground in docs/: `make pictures` (a minute; needs Chromium and the extras box2d, envpool, web).

playground.webp: cart-pole's senses shuffled, animated. playground-dream.webp: CarRacing's dream beside the real world. Stills for a look at the
page in other sizes and schemes go to build/pictures/.
"""

import io
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.chromium import chromium  # noqa: E402
from tests.test_browser import playground  # noqa: E402

OUT, LOOK = ROOT / "docs", ROOT / "build" / "pictures"
SIZE, QUALITY = {"width": 1080, "height": 760}, 50
MILLISECONDS = 120
STILLS = [
    ("cart-pole-clone", "senses"), ("ant-clone", "senses"), ("pong-clone", "eyes"), ("take-cover", "dream"), ("take-cover", "latent"),
    ("proto-states.walker_run", "exploration"),
]  # fmt: skip
"""(agent, scene)"""


def opened(browser: Any, address: str, seconds: float, **options: Any) -> Any:
    """A page at an address, some seconds after it has loaded."""
    page = browser.new_context(**{"viewport": SIZE, **options}).new_page()
    page.goto(address)
    page.wait_for_selector("[data-panel], .thumbnail img", timeout=60_000)
    time.sleep(seconds)
    return page


def film(page: Any, seconds: float, events: dict[float, str], path: Path) -> None:
    """Screenshots for some seconds as an animated WebP; `events`: second -> key that is pressed then."""
    # without the explanation
    top = page.locator(".stage").bounding_box()["y"] - 12
    clip = {"x": 0, "y": top, "width": SIZE["width"], "height": SIZE["height"] - top}
    frames, times, start, todo = [], [], time.monotonic(), dict(sorted(events.items()))
    while (now := time.monotonic() - start) < seconds:
        for second in [second for second in todo if second <= now]:
            page.keyboard.press(todo.pop(second))
        frames.append(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB"))
        times.append(now)
        time.sleep(max(0, MILLISECONDS / 1000 - (time.monotonic() - start - now)))
    durations = [round(1000 * (after - before)) for before, after in zip(times, [*times[1:], seconds], strict=True)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=QUALITY, method=4)
    print(f"{path}: {len(frames)} frames, {path.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    """Make all pictures."""
    LOOK.mkdir(parents=True, exist_ok=True)
    names = sorted({"cart-pole-clone", "car-racing", *(agent for agent, _ in STILLS)})
    with playground(names) as (address, _), chromium() as browser:
        page = opened(browser, f"{address}#/cart-pole-clone/senses", 3)
        film(page, 9, {1.5: "s", 6.0: "s"}, OUT / "playground.webp")
        page.context.close()
        page = opened(browser, f"{address}#/car-racing/dream", 5)
        film(page, 5, {}, OUT / "playground-dream.webp")
        page.context.close()
        for agent, scene in STILLS:
            for look, options in {
                "light": {},
                "dark": {"color_scheme": "dark"},
                "phone": {"viewport": {"width": 375, "height": 812}},
            }.items():
                page = opened(browser, f"{address}#/{agent}/{scene}", 5, **options)
                page.screenshot(path=str(LOOK / f"{agent}-{scene}-{look}.png"), full_page=True)
                page.context.close()
        page = opened(browser, address, 20)
        page.screenshot(path=str(LOOK / "gallery.png"), full_page=True)


if __name__ == "__main__":
    main()
