-- What a step left for the next one holds numbers of single people. When somebody is excluded or erased all of it goes. A run
-- that is at work notices, and begins again from its first step.
CREATE FUNCTION forget_step_results() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM step_results;
    RETURN NULL;
END $$;
CREATE TRIGGER exclusions_forget_step_results AFTER INSERT OR UPDATE ON exclusions
    FOR EACH STATEMENT EXECUTE FUNCTION forget_step_results();
