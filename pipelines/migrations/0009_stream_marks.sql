-- What the watch saw of the stream whenever it was other than before: a loss or a reset is then known to have been told or not,
-- also when the run that noticed it was killed before it could say so.

CREATE TABLE stream_marks (
    born    text NOT NULL,  -- the name of this incarnation of the stream
    lost    bigint NOT NULL CHECK (lost >= 0),  -- entries that it lost unread so far
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (born, lost)
);
