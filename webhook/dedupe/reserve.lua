-- Reserve a delivery, take a reservation over, or return why that is not possible. One round trip, atomic.
-- KEYS: 1 record  2 mark of its bucket
-- ARGV: 1 record to write, with time 0  2 time to live in ms  3 record that may be replaced, or ''
--       4 mark under which the absence of a record was proved, or ''
-- Returns: {outcome, record found or '', time in ms, mark}
--   outcome: 'made' | 'own' (made for this very create before) | 'found' | 'missing' (and the bucket is not synced)
-- The first 30 bytes of a record are the same in every version; see core/record.py.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A server that was restarted, emptied or promoted has another replication id, or no mark: it may lack records.
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local mark = redis.call('GET', KEYS[2])
local synced = mark == 'W' .. replid
if not synced and (not mark or string.sub(mark, 2, 1 + #replid) ~= replid) then
  mark = 'L' .. replid .. ':' .. string.format('%.0f', now)
  redis.call('SET', KEYS[2], mark)
end

local found = redis.call('GET', KEYS[1])
if found and found ~= ARGV[3] then
  local reserved = string.byte(found, 2) == 1
  local same = string.sub(found, 9, 24) == string.sub(ARGV[1], 9, 24)
    or string.sub(found, 25, 30) == string.sub(ARGV[1], 25, 30)
  if not (reserved and same) then
    return {'found', found, now, mark}
  end
  -- Write it again, so that a WAIT after this call waits until the replicas have it.
  redis.call('SET', KEYS[1], found, 'KEEPTTL')
  return {'own', found, now, mark}
end
-- A proof that the record is obsolete or absent holds only for the mark under which it was made.
if (found or not synced) and mark ~= ARGV[4] then
  return {found and 'found' or 'missing', found or '', now, mark}
end
local head = string.sub(ARGV[1], 1, 2)
local at = struct.pack('>I6', now)
redis.call('SET', KEYS[1], head .. at .. string.sub(ARGV[1], 9), 'PX', ARGV[2])
return {'made', '', now, mark}
