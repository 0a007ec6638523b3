"""Create the questions of questions.json in Metabase, through its API, which every edition has.

    METABASE_URL=http://127.0.0.1:3000 METABASE_API_KEY=mb_… python deployments/metabase/import_questions.py 2

The number is that of the database in Metabase: it is in the address of its page in the admin settings. A second call creates
the questions again.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

QUESTIONS = Path(__file__).parent / "questions.json"


def create_questions(url: str, api_key: str, database: int) -> list[str]:
    """Create each question; the names of those that Metabase took.

    Raises:
        urllib.error.URLError: Metabase cannot be reached, or refuses a question.
    """
    names = []
    for question in json.loads(QUESTIONS.read_text("utf-8")):
        question["dataset_query"]["database"] = database
        request = urllib.request.Request(
            f"{url.rstrip('/')}/api/card",
            json.dumps(question).encode(),
            {"Content-Type": "application/json", "x-api-key": api_key},
        )
        with urllib.request.urlopen(request, timeout=60):
            names.append(str(question["name"]))
    return names


def main() -> None:
    """Print the name of each question that was created."""
    settings = [os.environ.get(name, "") for name in ("METABASE_URL", "METABASE_API_KEY")]
    if not all(settings) or len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit("expected METABASE_URL, METABASE_API_KEY and the number of the database: import_questions.py 2")
    try:
        print("\n".join(create_questions(*settings, int(sys.argv[1]))))
    except urllib.error.URLError as error:
        sys.exit(f"Metabase at {settings[0]} did not take the questions: {error}")


if __name__ == "__main__":
    main()
