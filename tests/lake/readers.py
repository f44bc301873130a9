"""What do other programs read? One function a question; arguments and answers are JSON. Run by the tests of this folder."""

import json
import sys
import urllib.request


def sql(url, query, accept):
    """The bytes that a query answers."""
    body = json.dumps({"query": query}).encode()
    headers = {"Content-Type": "application/json", "Accept": accept}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/sql", body, headers)) as answer:
        return answer.read()


def plain(rows):
    """Rows as JSON has them: decimals and times as text."""
    return [[value if isinstance(value, (int, float, str, bool, type(None))) else str(value) for value in row] for row in rows]


def duckdb_query(query, files):
    """A query of DuckDB over Parquet files (`lake` in the query): a glob, or a list."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    source = connection.read_parquet(files, hive_partitioning=True, union_by_name=True)
    connection.register("lake", source)
    return plain(connection.execute(query).fetchall())


def polars_sums(files):
    """Events and cents by type, as Polars finds them."""
    import polars

    frame = polars.scan_parquet(files, hive_partitioning=True, missing_columns="insert", extra_columns="ignore")
    cents = (polars.col("amount") * 100).round().cast(polars.Int64).sum()
    found = frame.group_by("type").agg(polars.len().alias("events"), cents.alias("cents")).sort("type").collect()
    return plain(found.rows())


def pandas_sums(folder):
    """Events and cents by type, as pandas finds them through pyarrow."""
    import pyarrow.dataset

    dataset = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive", exclude_invalid_files=False)
    frame = dataset.to_table(columns=["type", "amount"]).to_pandas()
    frame["cents"] = (frame["amount"] * 100).round().fillna(0).astype("int64")
    found = frame.groupby("type").agg(events=("type", "size"), cents=("cents", "sum")).sort_index()
    return plain(found.reset_index().itertuples(index=False, name=None))


def arrow_answer(url, query):
    """A query's answer as an Arrow stream: schema, cursor, and the rows."""
    import io

    import pyarrow

    reader = pyarrow.ipc.open_stream(io.BytesIO(sql(url, query, "application/vnd.apache.arrow.stream")))
    table = reader.read_all()
    cursor = (table.schema.metadata or {}).get(b"factum.cursor", b"").decode()
    types = {field.name: str(field.type) for field in table.schema}
    frame = table.to_pandas()
    return {"types": types, "cursor": cursor, "rows": len(frame), "columns": list(frame.columns), "first": table.slice(0, 1).to_pylist()}


def parquet_answer(url, query, path, column):
    """A query's answer as a Parquet file: how many rows, and what a column adds up to, for each reader."""
    import duckdb
    import pandas
    import polars
    import pyarrow.parquet

    with open(path, "wb") as file:
        file.write(sql(url, query, "application/vnd.apache.parquet"))
    table = pyarrow.parquet.read_table(path)
    frame = pandas.read_parquet(path)
    lazy = polars.read_parquet(path)
    counted = duckdb.connect().execute(f"select count(*), sum({column}) from read_parquet('{path}')").fetchone()
    return {
        "duckdb": plain([counted])[0],
        "pyarrow": [table.num_rows, pyarrow.compute.sum(table[column]).as_py()],
        "pandas": [len(frame), frame[column].sum().item()],
        "polars": [lazy.height, lazy[column].sum()],
    }


def csv_answer(url, query, column):
    """A query's answer as CSV, read by pandas, Polars and DuckDB."""
    import io
    import tempfile

    import duckdb
    import pandas
    import polars

    text = sql(url, query, "text/csv")
    frame, lazy = pandas.read_csv(io.BytesIO(text)), polars.read_csv(io.BytesIO(text), infer_schema_length=None)
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(text)
        file.flush()
        counted = duckdb.connect().execute(f"select count(*), sum({column}) from read_csv('{file.name}')").fetchone()
    return {
        "duckdb": plain([counted])[0],
        "pandas": [len(frame), frame[column].sum().item()],
        "polars": [lazy.height, lazy[column].sum()],
    }


def s3_rows(endpoint, bucket, folder):
    """Rows of a lake in a bucket: how many, how many different ids, and cents in all."""
    import pyarrow.compute
    import pyarrow.dataset
    import pyarrow.fs

    store = pyarrow.fs.S3FileSystem(
        access_key="key", secret_key="secret", region="us-east-1", scheme="http", endpoint_override=endpoint.removeprefix("http://")
    )
    dataset = pyarrow.dataset.dataset(f"{bucket}/{folder}", filesystem=store, format="parquet", partitioning="hive")
    table = dataset.to_table(columns=["id", "stream", "version", "amount"])
    ids = pyarrow.compute.count_distinct(table["id"].cast(pyarrow.binary())).as_py()
    amounts = pyarrow.compute.sum(pyarrow.compute.round(pyarrow.compute.multiply(table["amount"], 100.0))).as_py()
    return {"rows": table.num_rows, "ids": ids, "cents": int(amounts or 0)}


if __name__ == "__main__":
    json.dump(globals()[sys.argv[1]](**json.loads(sys.argv[2])), sys.stdout, default=str)
