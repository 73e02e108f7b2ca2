"""The README and its Python blocks."""

import re
from pathlib import Path
from typing import Final

README: Final = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS: Final = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
