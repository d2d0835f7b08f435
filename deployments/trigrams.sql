-- An operator class of the name that Prefect's migrations ask for, on a PostgreSQL that comes without the real pg_trgm.
-- Its indexes hold one empty entry for each row, and it has no operators, so that no query is ever answered by them.
-- All that is lost is speed in the search for a part of a name.
-- void_in looks at none of its arguments and answers nothing, which GIN takes for "no keys".
CREATE FUNCTION gin_trgm_no_keys(text, internal, internal) RETURNS internal
    LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'void_in';
CREATE FUNCTION gin_trgm_no_query(text, internal, int2, internal, internal, internal, internal) RETURNS internal
    LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'void_in';
CREATE FUNCTION gin_trgm_no_match(internal, int2, text, int4, internal, internal, internal, internal) RETURNS bool
    LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'void_in';
CREATE OPERATOR CLASS gin_trgm_ops FOR TYPE text USING gin AS
    FUNCTION 1 bttextcmp(text, text),
    FUNCTION 2 gin_trgm_no_keys(text, internal, internal),
    FUNCTION 3 gin_trgm_no_query(text, internal, int2, internal, internal, internal, internal),
    FUNCTION 4 gin_trgm_no_match(internal, int2, text, int4, internal, internal, internal, internal);
