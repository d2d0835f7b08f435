-- A token bucket, kept as the one number that says it all: when it will be full again, in microseconds of the server's clock.
-- In one piece, so that two that ask at once do not both get the last token; the key is gone when the bucket is full.

-- ARGV: microseconds until one more token, and how many the bucket holds. Answers whether one was taken, how many are left,
-- and microseconds until there is one. A bucket that fills later than an empty one could was written by a clock that was
-- since set back: it counts as empty.
-- name: take
local clock = redis.call('TIME')
local now, each, size = clock[1] * 1000000 + clock[2], tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now), now + each * size)
local after = full + each
local wait = after - now - each * size
if wait > 0 then return {0, 0, math.ceil(wait)} end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
return {1, math.floor((each * size - (after - now)) / each), 0}
