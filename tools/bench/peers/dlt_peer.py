"""dlt into DuckDB, one table per kind, with two sets of settings.

defaults  nothing is set: keys become snake_case, texts that look like times become timestamps, nested objects become
          columns and nested lists become tables of their own.
best      what keeps most: max_table_nesting=0 (nested values stay whole in JSON columns), the naming convention "direct"
          (keys stay as they are), and no detection of types in texts (they stay texts). Numbers are read as json.load
          reads them: as Decimal they would come back as texts out of JSON columns.

usage: dlt_peer.py load SETTINGS DIR DB_FILE WORK_DIR
       dlt_peer.py fidelity SETTINGS LIST.json OUT.ndjson WORK_DIR
"""
import json
import os
import shutil
import sys
import tempfile

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"
SETTINGS = sys.argv[2]
if SETTINGS == "best":
    os.environ["SCHEMA__NAMING"] = "direct"

import dlt  # noqa: E402  the naming convention is read while importing
import duckdb  # noqa: E402


def source_of(documents):
    """One row per entity in the table of its kind; everything else of a document is a row of `cohorts`."""

    @dlt.resource(name="cohorts")
    def everything():
        for document in documents:
            document = dict(document)
            entities = document.pop("entities", {})
            yield dlt.mark.with_table_name(document, "cohorts")
            for kind, rows in entities.items():
                yield dlt.mark.with_table_name(list(rows), kind)

    options = {"max_table_nesting": 0} if SETTINGS == "best" else {}

    @dlt.source(name="legacy", **options)
    def legacy():
        return everything

    source = legacy()
    if SETTINGS == "best":
        for detection in list(source.schema._type_detections or []):
            source.schema.remove_type_detection(detection)
    return source


def run(documents, file, work):
    pipelines = tempfile.mkdtemp(dir=work)
    pipeline = dlt.pipeline("legacy", pipelines_dir=pipelines, destination=dlt.destinations.duckdb(file), dataset_name="data")
    pipeline.run(source_of(documents))
    naming = pipeline.default_schema.naming
    shutil.rmtree(pipelines, ignore_errors=True)
    return naming


def documents_of(folder):
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as source:
            yield json.load(source)


def load(folder, file, work):
    os.makedirs(work, exist_ok=True)
    run(documents_of(folder), file, work)


OWN = {"_dlt_id", "_dlt_load_id", "_dlt_parent_id", "_dlt_list_idx", "_dlt_root_id"}


def plain(value, type_name):
    if type_name == "JSON" and isinstance(value, str):
        return json.loads(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def put(target, path, value):
    for key in path[:-1]:
        if not isinstance(target.get(key), dict):
            target[key] = {}
        target = target[key]
    target[path[-1]] = value


def tables_back(connection, separator, keep_nulls):
    """Every table as rows of nested values, with the ids that lists of child tables refer to."""
    tables = {}
    for (table,) in connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'data' AND NOT starts_with(table_name, '_dlt')"
    ).fetchall():
        quoted = '"' + table.replace('"', '""') + '"'
        cursor = connection.execute(f"SELECT * FROM data.{quoted} ORDER BY rowid")
        columns = [(column[0], str(column[1])) for column in cursor.description]
        rows = []
        for record in cursor.fetchall():
            row, own = {}, {}
            for (name, type_name), value in zip(columns, record):
                if name in OWN:
                    own[name] = value
                    continue
                path = name.split(separator)
                is_variant = path[-1].startswith("v_") and len(path) > 1
                if is_variant:
                    path = path[:-1]  # the column of another type beside the first
                if value is not None or (keep_nulls and not is_variant):
                    put(row, path, plain(value, type_name))
            rows.append((own, row))
        tables[table] = rows
    return tables


def document_back(file, kinds, naming, keep_nulls):
    connection = duckdb.connect(file, read_only=True)
    tables = tables_back(connection, naming.PATH_SEPARATOR, keep_nulls)
    connection.close()
    by_id = {own.get("_dlt_id"): row for rows in tables.values() for own, row in rows}
    for table, rows in sorted(tables.items(), key=lambda entry: len(entry[0]), reverse=True):
        parents = [other for other in tables if table.startswith(other + naming.PATH_SEPARATOR)]
        if not parents:
            continue
        path = table[len(max(parents, key=len)) + len(naming.PATH_SEPARATOR) :].split(naming.PATH_SEPARATOR)
        for own, row in sorted(rows, key=lambda entry: entry[0].get("_dlt_list_idx") or 0):
            parent = by_id.get(own.get("_dlt_parent_id"))
            if parent is None:
                continue
            for key in path[:-1]:
                parent = parent.setdefault(key, {})
            parent.setdefault(path[-1], []).append(row["value"] if set(row) == {"value"} else row)
    document = tables["cohorts"][0][1]
    document["entities"] = {
        kind: [row for _, row in tables.get(naming.normalize_table_identifier(kind), [])] for kind in kinds
    }
    return json.dumps(document)


def fidelity(list_file, out, work):
    os.makedirs(work, exist_ok=True)
    with open(list_file, encoding="utf-8") as source:
        files = json.load(source)
    with open(out, "w", encoding="utf-8") as sink:
        for number, file in enumerate(files):
            database = os.path.join(work, f"fidelity-{number}.duckdb")
            try:
                with open(file, encoding="utf-8") as source:
                    document = json.load(source)
                naming = run([document], database, work)
                kinds = list(document.get("entities", {}))
                texts = [document_back(database, kinds, naming, keep_nulls) for keep_nulls in (False, True)]
                line = {"file": file, "texts": texts}
            except Exception as error:  # whatever a user would see as a traceback
                line = {"file": file, "error": f"{type(error).__name__}: {error}"[:300]}
            sink.write(json.dumps(line) + "\n")
            if os.path.exists(database):
                os.remove(database)


if __name__ == "__main__":
    {"load": load, "fidelity": fidelity}[sys.argv[1]](*sys.argv[3:])
