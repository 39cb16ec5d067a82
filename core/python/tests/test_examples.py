"""The examples of the folder examples/python."""

import subprocess
import sys
import unittest
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "python"


class Examples(unittest.TestCase):
    def test_the_grid_search_finds_partners(self):
        command = [sys.executable, EXAMPLES / "grid_search.py"]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        self.assertRegex(printed, r"recall@1 0\.[1-9]\d+ with \{'cca__dimensions'")


if __name__ == "__main__":
    unittest.main()
