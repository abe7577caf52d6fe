"""Has HealthSim itself read cohort files, and compares every value with the file.

    python3 tools/healthsim-readback.py <healthsim-workspace>/packages/core/src FILE...

Needs what HealthSim needs (duckdb below 1.5.2, pydantic, pyyaml, faker, pandas). Writes to a database in memory only.
Values compare as Python reads them: 860.00 and 860.0 are the same number.
"""

import json
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import duckdb
from healthsim.db.schema import apply_schema
from healthsim.state.manager import StateManager


def texts(entities):
    return Counter(json.dumps(entity) for entity in entities)


def as_read(entities):
    """What the reader makes of a list: wrapped entities lose their wrapper."""
    first = entities[0]
    if isinstance(first, dict) and "data" in first and "provenance" in first:
        return [{**entity["data"], "_provenance": entity.get("provenance", {})} for entity in entities]
    return entities


def main():
    connection = duckdb.connect(":memory:")
    apply_schema(connection)
    manager = StateManager(connection=connection)
    equal, different, refused = [], [], []
    written = same = 0
    for path in map(Path, sys.argv[2:]):
        file = json.loads(path.read_text(encoding="utf-8"))
        try:
            cohort = manager.load_cohort(manager.import_from_json(path, overwrite=True))
        except Exception as problem:
            refused.append(f"{path.name}: {type(problem).__name__}")
            continue
        is_equal = (
            all(cohort[key] == file[key] for key in ("name", "description"))
            and sorted(cohort["tags"]) == sorted(file["tags"])
        )
        lists = {key: as_read(entities) for key, entities in file["entities"].items() if entities}
        for key in {*lists, *cohort["entities"]}:
            before, after = texts(lists.get(key, [])), texts(cohort["entities"].get(key, []))
            written += before.total()
            same += (before & after).total()
            is_equal = is_equal and before == after
        (equal if is_equal else different).append(path.name)
    print(
        f"{len(sys.argv) - 2} files: {len(equal)} read back equal, {len(different)} read back otherwise, "
        f"{len(refused)} not read"
    )
    print(f"{written} entities in the files that were read, {same} equal")
    for line in [*(f"{name}: otherwise" for name in different), *refused]:
        print(line, file=sys.stderr)


main()
