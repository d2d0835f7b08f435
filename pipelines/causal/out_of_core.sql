-- Reading a panel larger than memory. {names} in braces are column names, quoted by the caller; `source` is the panel as given.

-- Smallest and greatest unit of each row group: enough to see whether a unit's rows lie together.
-- name: row_groups
SELECT file_name, row_group_num_rows, stats_min_value, stats_max_value
FROM parquet_metadata($files)
WHERE path_in_schema = $unit
ORDER BY try_cast(stats_min_value AS BIGINT), try_cast(stats_max_value AS BIGINT);

-- name: read_part
SELECT {unit} AS unit, {period} AS period, {cluster} AS cluster, {values}
FROM read_parquet($files)
WHERE {unit} BETWEEN $first AND $last;

-- name: number_units
CREATE TABLE units AS
SELECT name, row_number() OVER (ORDER BY name) AS code
FROM (SELECT DISTINCT {unit} AS name FROM source WHERE {unit} IS NOT NULL);

-- name: number_clusters
CREATE TABLE clusters AS
SELECT name, row_number() OVER (ORDER BY name) AS code
FROM (SELECT DISTINCT {cluster} AS name FROM source WHERE {cluster} IS NOT NULL);

-- Rows in which a column is missing or not finite are left out, as in any regression.
-- name: order_by_unit
COPY (
    SELECT units.code AS unit, {period} AS period, clusters.code AS cluster, {values}
    FROM source
    JOIN units ON source.{unit} = units.name
    JOIN clusters ON source.{cluster} = clusters.name
    WHERE {complete}
    ORDER BY 1, 2
) TO '{target}' (FORMAT parquet, ROW_GROUP_SIZE 65536);
