"""A real browser for the tests: headless chromium, in a profile of its own, that talks to nobody else."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.chrome.service import Service

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--no-proxy-server",
)
PATIENCE_S = 30.0


class Browser:
    """One window. `close` ends the browser and its driver."""

    def __init__(self, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = _program("chromium", "chromium-browser", "google-chrome")
        for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "WARNING"})
        self.driver = webdriver.Chrome(options=options, service=Service(_program("chromedriver")))
        self.size(1280, 860)

    def close(self) -> None:
        self.driver.quit()

    def open(self, address: str) -> None:
        self.driver.get(address)

    def size(self, width: int, height: int) -> None:
        """A screen of this many pixels; narrow ones are phones."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def theme(self, name: str) -> None:
        """`light` or `dark`, as the reader's system says."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def scripts(self, *, allowed: bool) -> None:
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not allowed})

    def text(self, selector: str) -> str:
        """What a person reads there."""
        return self.driver.find_element("css selector", selector).text

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.driver.find_elements("css selector", selector)]

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def volume_ul(self, selector: str) -> int:
        """The litres that are shown there, as microlitres."""
        digits = self.text(selector).removesuffix("L").replace(",", "").replace("\n", "").strip()
        whole, _, decimals = digits.partition(".")
        assert len(decimals) == 6, f"{digits!r} is not shown to the microlitre"
        return int(whole + decimals)

    def eventually(self, condition: Callable[[], Any], what: str) -> Any:
        """The condition's first true value. AssertionError naming `what` when there is none in time."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := _now(condition)):
            assert time.monotonic() < deadline, f"waited in vain: {what}; the page says {self.text('body')[:2000]}"
            time.sleep(0.1)
        return value

    def complaints(self) -> list[str]:
        """What the browser's console holds against the page: errors, and whatever the CSP has blocked."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def picture(self, path: Path) -> None:
        """The whole page as a PNG."""
        found = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "format": "png"})
        path.write_bytes(base64.b64decode(found["data"]))


def _now(condition: Callable[[], Any]) -> Any:
    """The condition's value; None while the page is being replaced under it."""
    try:
        return condition()
    except (NoSuchElementException, StaleElementReferenceException):
        return None


def _program(*names: str) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    assert found, f"none of {names} on the PATH"
    return found
