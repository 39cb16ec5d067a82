"""Opens pages in headless Chromium, at several widths, and uses them with the keyboard.

usage: browser.py CHROMIUM FOLDER PAGE.html...
Speaks the DevTools protocol over pipes. Writes a picture of each page and width into FOLDER, and prints one line of
JSON with what was found: errors of the console, figures without a size, text that is wider than the window, and
controls that the Tab key does not reach.
"""

import base64
import fcntl
import json
import os
import pathlib
import subprocess
import sys
import tempfile

WIDTHS = [380, 800, 1600]
# Controls that are drawn, and figures.
PAGE = """(() => {
  const shown = e => e.checkVisibility({ checkOpacity: false }) && e.getClientRects().length > 0;
  const controls = [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')];
  const own = controls.filter(e => shown(e) && !e.disabled && e.tabIndex >= 0);
  own.forEach((e, at) => e.setAttribute('data-control', at));
  const figures = [...document.querySelectorAll('svg')].filter(shown);
  const empty = figures.filter(e => e.getBoundingClientRect().width < 1 || !e.querySelector('*'));
  const images = [...document.images].filter(e => shown(e) && e.complete && e.naturalWidth === 0);
  return {
    controls: own.length, figures: figures.length, empty: empty.length, broken: images.length,
    wide: document.documentElement.scrollWidth - window.innerWidth,
  };
})()"""
FOCUS = "document.activeElement.getAttribute('data-control')"


class Browser:
    def __init__(self, chromium, profile):
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in [*os.pipe(), *os.pipe()]]
        there, commands, answers, back = ends
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        flags += [f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]

        def inherit():
            os.dup2(there, 3)
            os.dup2(back, 4)

        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([chromium, *flags], pass_fds=[3, 4], preexec_fn=inherit, **quiet)
        os.close(there)
        os.close(back)
        self.commands, self.answers = os.fdopen(commands, "wb", 0), os.fdopen(answers, "rb", 0)
        self.number, self.rest, self.session, self.events = 0, b"", None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")

    def message(self):
        while b"\0" not in self.rest:
            read = os.read(self.answers.fileno(), 1 << 16)
            if not read:
                raise SystemExit("Chromium has ended")
            self.rest += read
        one, self.rest = self.rest.split(b"\0", 1)
        return json.loads(one)

    def call(self, method, **parameters):
        self.number += 1
        request = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        self.commands.write(json.dumps(request).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == self.number:
                if "error" in message:
                    raise SystemExit(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def wait(self, event):
        while not any(one.get("method") == event for one in self.events):
            self.events.append(self.message())

    def value(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def key(self, name, code):
        for kind in ["rawKeyDown", "keyUp"]:
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def open(self, page, width):
        self.events = []
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **screen)
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait("Page.loadEventFired")
        found = self.value(PAGE)
        reached = set()
        for _ in range(found["controls"] + 5):
            self.key("Tab", 9)
            reached.add(self.value(FOCUS))
        found["unreached"] = found["controls"] - len(reached - {None})
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        found["errors"] = self.errors(("data:", "file:"))
        return found, base64.b64decode(shot)

    def errors(self, expected):
        """What the page logged as an error or asked for, but for addresses that start as expected."""
        errors = []
        for event in self.events:
            what = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                errors.append(what["exceptionDetails"]["text"])
            elif event.get("method") == "Runtime.consoleAPICalled" and what["type"] in ("error", "assert"):
                errors.append(str(what["args"]))
            elif event.get("method") == "Log.entryAdded" and what["entry"]["level"] == "error":
                errors.append(what["entry"]["text"])
            elif event.get("method") == "Network.requestWillBeSent":
                url = what["request"]["url"]
                if not url.startswith(expected):
                    errors.append(f"the page asks for {url}")
        return errors

    def close(self):
        self.process.terminate()
        self.process.wait(10)


def main(chromium, folder, *pages):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(chromium, profile)
        result = {}
        for page in map(pathlib.Path, pages):
            for width in WIDTHS:
                found, picture = browser.open(page, width)
                (pathlib.Path(folder) / f"{page.stem}-{width}.png").write_bytes(picture)
                result[f"{page.stem} {width}"] = found
        browser.close()
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
