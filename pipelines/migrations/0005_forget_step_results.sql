-- What a step left for the next one holds numbers of single people. When somebody is excluded or erased all of it goes: a run
-- that is at work stops at its next step and says to start it again, which is rare and loses nothing.
CREATE FUNCTION forget_step_results() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM step_results;
    RETURN NULL;
END $$;
CREATE TRIGGER exclusions_forget_step_results AFTER INSERT OR UPDATE ON exclusions
    FOR EACH STATEMENT EXECUTE FUNCTION forget_step_results();
