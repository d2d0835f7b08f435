-- Scripts that Redis (7.0 or later) or Valkey runs in one piece: what must not be torn apart by a crash.
-- KEYS[1] is always the stream. Entries are compared by a checksum of their fields, because after a fail-over or a flush
-- an id may come to hold another event, and that one must be neither acknowledged nor set aside in its place.

-- Make up to ARGV[3] new entries pending and count them in the same step: entries-added less what was ever delivered
-- is then an exact account of what was lost unread. (`lag` and `entries-read` are wrong after a trim.)
-- name: fetch
local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
if not reply then return 0 end
local count = #reply[1][2]
redis.call('HINCRBY', KEYS[2], 'delivered', count)
return count

-- Take over what other consumers left. JUSTID: nobody reads the entries now, so it is no delivery; our own that waited for
-- long come back too, and would otherwise become suspects while the line stands still.
-- name: adopt
return redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5], 'JUSTID')

-- Our pending entries after ARGV[3]. Those delivered more than ARGV[5] times come one at a time, so that an entry that
-- kills its reader is found; only what is handed out counts as delivered once more.
-- name: pending
local waiting = redis.call('XPENDING', KEYS[1], ARGV[1], '(' .. ARGV[3], '+', ARGV[4], ARGV[2])
if #waiting == 0 then return {} end
local suspect, take, bytes = tonumber(ARGV[5]), 0, 0
for i, item in ipairs(waiting) do
  if item[4] > suspect then
    if i == 1 then take = 1 end
    break
  end
  take = i
end
local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', take, 'STREAMS', KEYS[1], ARGV[3])
local deliveries = {}
for i = 1, #reply[1][2] do deliveries[i] = waiting[i][4] + 1 end
return {deliveries, reply[1][2]}

-- Acknowledge (id, checksum) pairs whose id is empty or still holds the same entry. They lie side by side as a rule, and are
-- read in one call; those behind the first that do not are read one by one.
-- name: finish
local function checksum(entry) return redis.sha1hex(table.concat(entry[2], '\0')) end
local held, ids = {}, {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[#ARGV - 1], 'COUNT', (#ARGV - 1) / 2)) do
  held[entry[1]] = checksum(entry)
end
for i = 2, #ARGV, 2 do
  local found = held[ARGV[i]]
  if not found then
    local entry = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])[1]
    found = entry and checksum(entry) or ARGV[i + 1]
  end
  if found == ARGV[i + 1] then ids[#ids + 1] = ARGV[i] end
end
if #ids == 0 or redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
return redis.call('XACK', KEYS[1], ARGV[1], unpack(ids))

-- Copy an entry to a lane (KEYS[2]) and acknowledge it: once, because both happen or neither. The server copies the
-- fields, so that they are the original ones to the byte. ARGV: group, id, checksum, keep, then pairs of our own fields.
-- An entry with more fields than a script may pass on is packed into one.
-- name: set_aside
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[2], ARGV[2], 1)
if #pending == 0 then return 0 end
local found = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])
if not found[1] then return 0 end
local fields = found[1][2]
if redis.sha1hex(table.concat(fields, '\0')) ~= ARGV[3] then return 0 end
local letter, original, replays = {}, {}, '0'
for i = 1, #fields, 2 do
  if fields[i] == 'replays' then
    replays = tostring(math.max(0, math.floor(tonumber(fields[i + 1]) or 0)))
  else
    original[#original + 1] = fields[i]
    original[#original + 1] = fields[i + 1]
  end
end
for i = 5, #ARGV do letter[#letter + 1] = ARGV[i] end
letter[#letter + 1], letter[#letter + 2] = 'deliveries', tostring(pending[1][4])
letter[#letter + 1], letter[#letter + 2] = 'replays', replays
letter[#letter + 1], letter[#letter + 2] = 'kept', (ARGV[4] == '0' and 'no') or (#original > 256 and 'packed') or 'yes'
if ARGV[4] ~= '0' then
  if #original > 256 then original = {'packed', cmsgpack.pack(original)} end
  for _, value in ipairs(original) do letter[#letter + 1] = value end
end
redis.call('XADD', KEYS[2], '*', unpack(letter))
redis.call('HINCRBY', KEYS[3], ARGV[6], 1)
return redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])

-- Put a letter (KEYS[2], ARGV[1]) back on the stream and remove it from its lane. 0: gone already; -1: payload not kept.
-- ARGV[2]: how many of the letter's first fields are ours.
-- name: replay
local found = redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])
if not found[1] then return 0 end
local letter, original, ours = found[1][2], {}, tonumber(ARGV[2]) * 2
local about = {}
for i = 1, ours, 2 do about[letter[i]] = letter[i + 1] end
if about.kept == 'no' then return -1 end
for i = ours + 1, #letter do original[#original + 1] = letter[i] end
if about.kept == 'packed' then original = cmsgpack.unpack(original[2]) end
original[#original + 1], original[#original + 2] = 'replays', tostring(tonumber(about.replays) + 1)
redis.call('XADD', KEYS[1], '*', unpack(original))
redis.call('XDEL', KEYS[2], ARGV[1])
return 1

-- How many entries were lost unread since the last time it was asked. Exact when nothing is left to read; else 0, and the
-- question is answered later. An answer settles the account, so that one loss is reported once.
-- name: audit
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local function field(list, name)
  for i = 1, #list, 2 do if list[i] == name then return list[i + 1] end end
end
local stream, last = redis.call('XINFO', 'STREAM', KEYS[1]), nil
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  if field(group, 'name') == ARGV[1] then last = field(group, 'last-delivered-id') end
end
if redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', 1)[1] then return 0 end
local lost = field(stream, 'entries-added') - tonumber(redis.call('HGET', KEYS[2], 'delivered') or '0')
if lost ~= 0 then redis.call('HINCRBY', KEYS[2], 'delivered', lost) end
if lost > 0 then redis.call('HINCRBY', KEYS[2], 'lost', lost) end
return lost

-- Drop entries older than ARGV[2] (ms) that are neither pending nor unread. XTRIM works on whole nodes of the stream ('~').
-- name: trim
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local function field(list, name)
  for i = 1, #list, 2 do if list[i] == name then return list[i + 1] end end
end
local function earlier(a, b)
  local ams, aseq = a:match('(%d+)-(%d+)')
  local bms, bseq = b:match('(%d+)-(%d+)')
  if ams ~= bms then return tonumber(ams) < tonumber(bms) end
  return tonumber(aseq) < tonumber(bseq)
end
local limit = ARGV[2] .. '-0'
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local last = field(group, 'last-delivered-id')
  if earlier(last, limit) then limit = last end
  local lowest = redis.call('XPENDING', KEYS[1], field(group, 'name'))[2]
  if lowest and earlier(lowest, limit) then limit = lowest end
end
return redis.call('XTRIM', KEYS[1], 'MINID', '~', limit)

-- name: lease_take
local holder = redis.call('HGET', KEYS[1], 'holder')
if holder and redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return holder end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'holder', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return ''

-- name: lease_renew
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])

-- name: lease_release
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])

-- Letters as they lie there, field by field: a reply of XRANGE becomes a dict in the client, and a letter may hold a name twice.
-- name: letters
return redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
