"""Uses the page of `chiasm serve` in headless Chromium as a visitor does.

usage: serve_page.py CHROMIUM ADDRESS PICTURE FOLDER
Types a text and presses Enter, then drops a picture on the page. Writes a picture of each into FOLDER, and prints one
line of JSON: for both searches the status line and the hits with their identifiers, scores, texts, and whether a
picture is drawn; and errors of the console or requests to other addresses.
"""

import base64
import json
import pathlib
import sys
import tempfile
import time

from browser import Browser

HITS = """[...document.querySelectorAll('#hits li')].map(item => ({
  id: item.querySelector('span').textContent, score: Number(item.querySelector('b').textContent),
  text: item.querySelector('p') && item.querySelector('p').textContent,
  drawn: [...item.querySelectorAll('img')].some(image => image.naturalWidth > 0),
}))"""
STATUS = "document.getElementById('status').textContent"


def status(browser, word, seconds=60):
    """Waits until the status line has a word, and returns the line."""
    end = time.monotonic() + seconds
    while word not in (line := browser.value(STATUS) or ""):
        if time.monotonic() > end:
            raise SystemExit(f"the page says {line!r}, expected {word!r}")
        time.sleep(0.05)
    return line


def found(browser, name, folder):
    line = status(browser, " items in ")
    shot = browser.call("Page.captureScreenshot", format="png")["data"]
    (folder / f"{name}.png").write_bytes(base64.b64decode(shot))
    return {"status": line, "hits": browser.value(HITS)}


def main(chromium, address, picture, folder):
    folder = pathlib.Path(folder)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(chromium, profile)
        browser.call("Page.navigate", url=address)
        status(browser, "Type a text")
        browser.value("document.getElementById('text').focus()")
        browser.call("Input.insertText", text="a red circle")
        browser.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
        by_text = found(browser, "text", folder)
        browser.value("document.getElementById('status').textContent = ''")
        data = {"items": [], "files": [str(pathlib.Path(picture).resolve())], "dragOperationsMask": 1}
        for kind in ["dragEnter", "dragOver", "drop"]:
            browser.call("Input.dispatchDragEvent", type=kind, x=200, y=200, data=data)
        by_picture = found(browser, "picture", folder)
        errors = browser.errors((address, f"blob:{address}", "data:"))
        browser.close()
    print(json.dumps({"text": by_text, "picture": by_picture, "errors": errors}))


main(*sys.argv[1:])
