"""The README and the guides beside the code, and their Python blocks."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text()
GUIDES: Final = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", *sorted(ROOT.glob("akool_async/**/README.md")), ROOT / ".github/CONTRIBUTING.md")
}
"""Every page by its name."""
BLOCKS: Final = [block for text in GUIDES.values() for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
ERRORS: Final = GUIDES["akool_async/_submit/README.md"]
"""The page that lists all errors."""
