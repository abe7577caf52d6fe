"""sqlite-utils as its documentation shows it: one table per kind, insert_all(rows, alter=True), nested values as JSON text.

usage: sqlite_utils_peer.py load DIR DB_FILE
       sqlite_utils_peer.py fidelity LIST.json OUT.ndjson WORK_DIR
"""
import json
import os
import sys

import sqlite_utils


def store(db, document, number):
    document = dict(document)
    entities = document.pop("entities", {})
    db["cohorts"].insert({"_cohort": number, **document}, alter=True)
    for kind, rows in entities.items():
        db[kind].insert_all(({"_cohort": number, **row} for row in rows), alter=True)
    return list(entities)


def rows_back(db, table, keep_nulls):
    """The rows as `sqlite-utils rows --json-cols` gives them."""
    for row in db[table].rows:
        result = {}
        for key, value in row.items():
            if key == "_cohort" or (value is None and not keep_nulls):
                continue
            if isinstance(value, str) and value[:1] in ("{", "["):
                try:
                    value = json.loads(value)
                except ValueError:
                    pass
            result[key] = value
        yield result


def document_back(db, kinds, keep_nulls):
    document = next(rows_back(db, "cohorts", keep_nulls))
    document["entities"] = {kind: list(rows_back(db, kind, keep_nulls)) if db[kind].exists() else [] for kind in kinds}
    return json.dumps(document, ensure_ascii=True)


def load(folder, file):
    db = sqlite_utils.Database(file)
    for number, name in enumerate(sorted(os.listdir(folder))):
        with open(os.path.join(folder, name), encoding="utf-8") as source:
            store(db, json.load(source), number)
    db.close()


def fidelity(list_file, out, _work):
    with open(list_file, encoding="utf-8") as source:
        files = json.load(source)
    with open(out, "w", encoding="utf-8") as sink:
        for file in files:
            try:
                with open(file, encoding="utf-8") as source:
                    document = json.load(source)
                db = sqlite_utils.Database(memory=True)
                kinds = store(db, document, 0)
                line = {"file": file, "texts": [document_back(db, kinds, True), document_back(db, kinds, False)]}
            except Exception as error:  # whatever a user would see as a traceback
                line = {"file": file, "error": f"{type(error).__name__}: {error}"[:300]}
            sink.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    {"load": load, "fidelity": fidelity}[sys.argv[1]](*sys.argv[2:])
