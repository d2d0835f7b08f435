-- Scripts that a backup and a restore run in one piece. KEYS[1] is the stream, the following keys are its lanes.

-- The moment of the backup: where every key ends, what each group has read, what is pending with whom, and our counters,
-- all at once. Entries are read afterwards, up to the last ids that stand here. KEYS: stream, counters, lanes.
-- name: moment
local function about(key)
  if redis.call('EXISTS', key) == 0 then return {} end
  return redis.call('XINFO', 'STREAM', key)
end
local groups, lanes = {}, {}
if redis.call('EXISTS', KEYS[1]) == 1 then
  for i, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local name, pending
    for j = 1, #group, 2 do
      if group[j] == 'name' then name = group[j + 1] end
      if group[j] == 'pending' then pending = group[j + 1] end
    end
    local rows = {}
    if pending > 0 then rows = redis.call('XPENDING', KEYS[1], name, '-', '+', pending) end
    groups[i] = {group, rows}
  end
end
for i = 3, #KEYS do lanes[i - 2] = about(KEYS[i]) end
return {about(KEYS[1]), groups, redis.call('HGETALL', KEYS[2]), lanes}

-- Entries as they lie there, field by field: a reply of XRANGE becomes a dict in the client, and a letter may hold a name
-- twice. ARGV: first, last, how many.
-- name: entries
return redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])

-- Put a finished copy (KEYS[1]) in the place of the key (KEYS[2]), unless somebody has published there meanwhile. A stream
-- brings its counters along (KEYS[3], names and values in ARGV): the loss alarm compares the two.
-- name: put_in_place
if redis.call('EXISTS', KEYS[2]) == 1 and redis.call('XLEN', KEYS[2]) > 0 then return 0 end
redis.call('RENAME', KEYS[1], KEYS[2])
if #ARGV > 0 then
  redis.call('DEL', KEYS[3])
  redis.call('HSET', KEYS[3], unpack(ARGV))
end
return 1
