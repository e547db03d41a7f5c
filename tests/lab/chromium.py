"""A browser for tests: Debian's Chromium, which nothing outside of this machine can be asked by."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webelement import WebElement

FLAGS = [
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1280,1000",
    # There is no network, whatever the machine has.
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=http://127.0.0.1:9",
]


def programs() -> tuple[str, str]:
    """Browser and driver; skips the test, or fails it where they have to be there."""
    found = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in found:
        reason = "chromium and chromedriver are not both here: apt-get install chromium-driver"
        if os.environ.get("TYPEDWAVE_BROWSER") == "required":
            pytest.fail(f"TYPEDWAVE_BROWSER is required, but {reason}")
        pytest.skip(reason)
    browser, driver = found
    return str(browser), str(driver)


class Browser:
    """What tests ask of a browser."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, path: Path) -> None:
        self.driver.get("about:blank")
        self.logged("performance")
        self.driver.get(path.as_uri())

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        texts: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent.trim())",
            selector,
        )
        return texts

    def point_at(self, element: WebElement, *, click: bool = False, **offset: int) -> None:
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        actions = ActionChains(self.driver, duration=0)
        if offset:
            actions.move_to_element_with_offset(element, offset["x"], offset["y"])
        else:
            actions.move_to_element(element)
        (actions.click() if click else actions).perform()

    def emulate(self, command: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)

    def logged(self, kind: str) -> list[dict[str, Any]]:
        return list(self.driver.get_log(kind))

    def requested(self) -> list[str]:
        """The addresses of all that was asked for since the page was opened."""
        events = [json.loads(entry["message"])["message"] for entry in self.logged("performance")]
        asked = ("Network.requestWillBeSent", "Network.webSocketCreated")
        return [
            event["params"].get("url") or event["params"]["request"]["url"]
            for event in events
            if event["method"] in asked
        ]


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    browser, driver = programs()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in [*FLAGS, f"--user-data-dir={folder}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    try:
        started.set_script_timeout(20)
        yield Browser(started)
    finally:
        started.quit()
