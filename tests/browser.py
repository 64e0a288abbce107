"""A real Chromium without a window, spoken to by the DevTools protocol: what it shows, what it asks for elsewhere."""

import base64
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from shutil import which
from typing import Any

import websocket

PROGRAM = which("chromium") or which("chromium-browser") or which("google-chrome") or which("chrome")
PATIENCE = 60  # seconds for anything that the page does
WAIT = """new Promise((resolve, reject) => {
  const check = () => { let found; try { found = %s } catch { found = false } if (found) resolve(found) };
  const timer = setInterval(check, 50);
  setTimeout(() => { clearInterval(timer); reject(new Error("not within the time")) }, %d);
  check();
})"""


class Browser:
    """One tab. `asked` are the addresses of all requests, `complaints` the errors that the browser has written down."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=PATIENCE + 20, suppress_origin=True)
        self._numbers = count(1)
        self.session: str | None = None
        self.asked: list[str] = []
        self.complaints: list[str] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a command; events that come before it are kept."""
        number = next(self._numbers)
        session = {"sessionId": self.session} if self.session and not method.startswith("Browser.") else {}
        self._socket.send(json.dumps({"id": number, "method": method, "params": params, **session}))
        while (message := self._next()).get("id") != number:
            pass
        assert "error" not in message, message["error"]
        found: dict[str, Any] = message["result"]
        return found

    def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv())
        match message:
            case {"method": "Network.requestWillBeSent", "params": {"request": {"url": str(url)}}}:
                self.asked.append(url)
            case {"method": "Log.entryAdded", "params": {"entry": {"level": "error", **entry}}}:
                self.complaints.append(f"{entry.get('text')} {entry.get('url', '')}")
        return message

    def open(self, url: str, width: int = 1280, height: int = 1000) -> None:
        """A new tab of its own profile, with nothing from before."""
        self.session = None
        self.profile = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=self.profile)["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "DOM", "Log"):
            self.call(f"{domain}.enable")
        self.resize(width, height)
        self.call("Page.navigate", url=url)

    def resize(self, width: int, height: int) -> None:
        """The window's size in pixels; a narrow one is a telephone's."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def look(self, script: str) -> Any:
        """The value of a JavaScript expression, of a promise once it is there."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, f"{script[:300]}: {json.dumps(found)[:1000]}\n{self.text()}"
        return found["result"].get("value")

    def text(self) -> str:
        """What stands on the page."""
        found = self.call("Runtime.evaluate", expression="document.body.innerText", returnByValue=True)
        return str(found["result"].get("value"))

    def wait(self, condition: str) -> Any:
        """Wait until a JavaScript expression is true."""
        return self.look(WAIT % (condition, PATIENCE * 1000))

    def wait_for(self, selector: str, text: str) -> None:
        """Wait until a text stands in a part of the page."""
        self.wait(f"document.querySelector({json.dumps(selector)}).innerText.includes({json.dumps(text)})")

    def press(self, text: str, kind: str = "button") -> None:
        """Click the visible part of a kind whose text that is."""
        wanted = (
            f"[...document.querySelectorAll({json.dumps(kind)})]"
            f".find(one => one.offsetParent && one.innerText.trim() == {json.dumps(text)})"
        )
        self.wait(wanted + " != null")
        self.look(wanted + ".click()")

    def give(self, selector: str, files: Sequence[Path]) -> None:
        """Choose files in the input that a part of the page holds."""
        self.wait(f"document.querySelector({json.dumps(selector + ' input[type=file]')}) != null")
        found = self.call(
            "Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector + ' input[type=file]')})"
        )
        place = found["result"]["objectId"]
        self.call("DOM.setFileInputFiles", files=[str(file) for file in files], objectId=place)

    def save(self, selector: str, folder: Path) -> Path:
        """The file that a click on a part of the page downloads into a folder."""
        self.call(
            "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder), eventsEnabled=True,
            browserContextId=self.profile,
        )  # fmt: skip
        self.look(f"document.querySelector({json.dumps(selector)}).click()")
        name = ""
        while True:
            match self._next():
                case {"method": "Browser.downloadWillBegin", "params": {"suggestedFilename": str(name)}}:
                    pass
                case {"method": "Browser.downloadProgress", "params": {"state": "completed"}}:
                    return folder / name

    def write(self, selector: str, text: str) -> None:
        """Put a text into a field, in place of what is there, as typed."""
        self.look(f"(field => {{ field.focus(); field.select() }})(document.querySelector({json.dumps(selector)}))")
        self.call("Input.insertText", text=text)

    def paste(self, picture: bytes) -> None:
        """Copy a PNG file, and press Ctrl-V."""
        origin = self.look("location.origin")
        allowed = ["clipboardReadWrite", "clipboardSanitizedWrite"]
        self.call("Browser.grantPermissions", permissions=allowed, origin=origin, browserContextId=self.profile)
        self.call("Page.bringToFront")
        content = json.dumps(f"data:image/png;base64,{base64.b64encode(picture).decode()}")
        self.look(
            f"fetch({content}).then(file => file.blob()).then(file =>"
            " navigator.clipboard.write([new ClipboardItem({'image/png': file})]))"
        )
        key = {"modifiers": 2, "key": "v", "code": "KeyV", "windowsVirtualKeyCode": 86}
        self.call("Input.dispatchKeyEvent", type="keyDown", commands=["paste"], **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def shoot(self, path: Path, whole: bool = True) -> None:
        """A picture of the page as PNG."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A browser whose profile is in `folder`; closed at the end."""
    assert PROGRAM is not None
    options = [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0",
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--force-color-profile=srgb",
        f"--user-data-dir={folder}",
    ]  # fmt: skip
    process = subprocess.Popen(
        [PROGRAM, *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )
    assert process.stderr is not None
    try:
        address = next(line for line in process.stderr if "DevTools listening on" in line).rsplit(" ", 1)[-1].strip()
        browser = Browser(address)
        try:
            yield browser
        finally:
            browser._socket.close()
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # a camera's process may outlive the browser's
        process.wait()
        process.stderr.close()
