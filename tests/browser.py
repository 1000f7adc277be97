"""Headless Chromium for tests, driven over its DevTools protocol: no package needed.

https://chromedevtools.github.io/devtools-protocol/ describes the messages. Chromium reads them from
file descriptor 3 and answers on 4, as JSON, each ended by a zero byte.
"""

from __future__ import annotations

import base64
import json
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PHONE = 390  # pixels

# All text of the page, also inside of web components, where innerText does not look.
TEXT = """(function text(node) {
    if (node.nodeType === Node.TEXT_NODE) return node.data.trim();
    if (node.matches?.("style, script, template")) return "";
    const children = [...(node.shadowRoot?.childNodes ?? []), ...node.childNodes];
    return children.map(text).filter(Boolean).join("\\n");
})(document.body)"""


class Browser:
    """One process; every page is a tab of its own. No name but this machine's resolves in it."""

    def __init__(self, profile: Path) -> None:
        names = ("chromium", "chromium-browser", "google-chrome")
        program = next(filter(None, map(shutil.which, names)), None)
        assert program, "Chromium is missing (Debian: apt-get install chromium)"
        flags = [
            "--headless",
            "--remote-debugging-pipe",
            "--no-sandbox",  # root has to do without
            "--disable-dev-shm-usage",  # containers have little
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
            f"--user-data-dir={profile}",
        ]
        self._log = profile / "log.txt"
        command = 'exec "$@" 3<&0 4>&1 </dev/null >"$0" 2>&1'
        self._process = subprocess.Popen(
            ["sh", "-c", command, str(self._log), program, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._buffer = b""
        self._number = 0
        self._pages: dict[str, Page] = {}

    def close(self) -> None:
        self.send("Browser.close")
        self._process.wait(30)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()

    def open(
        self, page: Path | str, width: int = 1200, height: int = 900, dark: bool = False
    ) -> Page:
        """Open a file or an address, once it has loaded and asked for nothing for half a second.

        A narrow page is laid out as phones do: 980 pixels wide unless it says otherwise.
        """
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        opened = self._pages[session] = Page(self, session, target, width)
        for domain in ("Page", "Runtime", "Log", "Network"):
            opened.send(f"{domain}.enable")
        opened.send("Page.setLifecycleEventsEnabled", enabled=True)
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        opened.send("Emulation.setDeviceMetricsOverride", mobile=width < 600, **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        opened.send("Emulation.setEmulatedMedia", features=[scheme])
        opened.go(page)
        return opened

    def send(self, method: str, session: str | None = None, **params: Any) -> Any:
        """Ask for something and return the answer; events that come before it go to their pages."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        assert self._process.stdin
        if session:
            message["sessionId"] = session
        self._process.stdin.write(json.dumps(message).encode() + b"\0")
        while (answer := self.receive()).get("id") != self._number:
            pass
        assert "error" not in answer, f"{method}: {answer['error']['message']}"
        return answer["result"]

    def receive(self, seconds: float = 60) -> dict[str, Any]:
        """Return the next message, after telling the page that it is about."""
        assert self._process.stdout
        while b"\0" not in self._buffer:
            assert select.select([self._process.stdout], [], [], seconds)[0], "Chromium is silent"
            chunk = self._process.stdout.read(1 << 16)
            assert chunk, f"Chromium is gone:\n{self._log.read_text()}"
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        if "method" in message and (page := self._pages.get(message.get("sessionId", ""))):
            page.hear(message["method"], message["params"])
        return message


class Page:
    """What a page did since it was opened.

    Attributes:
        errors: what it wrote to the console as an error, and exceptions that nobody caught.
        requests: the addresses that it asked for, beyond its own.
    """

    def __init__(self, browser: Browser, session: str, target: str, width: int) -> None:
        self._browser, self._session, self._target, self._width = browser, session, target, width
        self._idle: set[str] = set()
        self.errors: list[str] = []
        self.requests: list[str] = []

    def send(self, method: str, **params: Any) -> Any:
        return self._browser.send(method, self._session, **params)

    def close(self) -> None:
        self._browser.send("Target.closeTarget", targetId=self._target)

    def go(self, page: Path | str) -> None:
        url = page.resolve().as_uri() if isinstance(page, Path) else page
        answer = self.send("Page.navigate", url=url)
        assert "errorText" not in answer, f"{url}: {answer['errorText']}"
        end = time.monotonic() + 60
        while answer["loaderId"] not in self._idle:
            assert time.monotonic() < end, f"{url} still asks for {self.requests[-1:]}"
            self._browser.receive()

    def hear(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            values = (value.get("value", value.get("description")) for value in params["args"])
            self.errors.append(" ".join(map(str, values)))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            # The first request of a document, and the frame of the page itself, share their names.
            own = params["requestId"] == params["loaderId"] and params["frameId"] == self._target
            if not own and not url.startswith(("data:", "blob:")):
                self.requests.append(url)
        elif method == "Network.webSocketCreated":
            self.requests.append(params["url"])
        elif method == "Page.lifecycleEvent" and params["name"] == "networkIdle":
            self._idle.add(params["loaderId"])

    def evaluate(self, expression: str) -> Any:
        """Return the value of JavaScript, once it is there if it is a promise."""
        options = {"returnByValue": True, "awaitPromise": True}
        answer = self.send("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def read(self, ready: Callable[[str], Any] = lambda text: True, seconds: float = 60) -> str:
        """Return the text, one line for each piece, as soon as it is ready."""
        end = time.monotonic() + seconds
        while not ready(text := str(self.evaluate(TEXT))):
            assert time.monotonic() < end, f"The page stays at:\n{text}"
            time.sleep(0.1)
        return text

    @property
    def overflow(self) -> int:
        """How many pixels the document is wider than the window."""
        return int(self.evaluate("document.documentElement.scrollWidth")) - self._width

    def screenshot(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))
