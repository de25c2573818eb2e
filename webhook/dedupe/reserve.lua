-- Reserve a delivery, take a reservation over, or return what prevents it. One round trip, atomic.
-- KEYS: 1 record  2 mark of its bucket  3 head of its bucket  4 pending set  5 stream
-- ARGV: 1 record to write, its time left 0  2 time to live in ms  3 record that may be replaced, or ''
--       4 mark under which the absence of a record was proved, or ''
--       5 namespace  6 the caller's time in ms, or 0  7 by how much the two clocks may drift apart, in ms
--       8 ms until the run is read first  9 length of the stream
--       10 1 if a missing record proves nothing, even if the bucket is synced
-- Returns: {outcome, record found or '', time in ms, mark, number of the last write, proved}
--   outcome: 'made' | 'own' (this very create has it already) | 'found' | 'missing' (and the store is not synced)
--            | 'jumped' (the store's clock has jumped ahead, or this call comes late; nothing was changed)
--   proved: 1 if an early read has shown that the run of the record found was not stored
-- The first 30 bytes of a record are the same in every version; see core/record.py.
local mark = current_mark(KEYS[2], KEYS[3])
local caller = tonumber(ARGV[6])
local head = redis.call('HMGET', KEYS[3], 'n', 'o')
local writes, offset = tonumber(head[1] or 0), tonumber(head[2] or caller - now)
-- A clock that jumps ahead ends leases and retentions at once: what is missing then proves nothing. But a call that has
-- waited in a connection looks the same; only the caller knows, because it still waits for the answer, or does not.
if caller > 0 and caller - now < offset - ARGV[7] then
  return {'jumped', '', now, mark, writes, 0}
end
local synced = string.sub(mark, 1, 1) == 'W' and ARGV[10] == '0'
local digest = string.sub(KEYS[1], -16)

local found = redis.call('GET', KEYS[1])
if found and found ~= ARGV[3] then
  local reserved = string.byte(found, 2) == 1
  local same = string.sub(found, 9, 24) == string.sub(ARGV[1], 9, 24)
    or string.sub(found, 25, 30) == string.sub(ARGV[1], 25, 30)
  if reserved and same then
    -- Written once more, so that a WAIT after this call waits for the replicas to have it.
    redis.call('SET', KEYS[1], found, 'KEEPTTL')
    return {'own', found, now, mark, writes, 0}
  end
  if reserved then
    found = stamped(KEYS[1], found)
  end
  local proved = redis.call('ZSCORE', KEYS[4], digest .. '1' .. ARGV[5]) and 1 or 0
  return {'found', found, now, mark, writes, proved}
end
-- A proof that the record is obsolete or absent was made under one mark; under another it proves nothing.
if (found or not synced) and mark ~= ARGV[4] then
  return {found and 'found' or 'missing', found or '', now, mark, writes, 0}
end
redis.call('SET', KEYS[1], string.sub(ARGV[1], 1, 2) .. struct.pack('>I6', now) .. string.sub(ARGV[1], 9), 'PX', ARGV[2])
writes = redis.call('HINCRBY', KEYS[3], 'n', 1)
if caller > 0 then
  redis.call('HSET', KEYS[3], 'o', string.format('%.0f', math.max(offset, caller - now)))
end
redis.call('ZREM', KEYS[4], digest .. '1' .. ARGV[5])
redis.call('ZADD', KEYS[4], now + ARGV[8], digest .. '0' .. ARGV[5])
append(KEYS[3], KEYS[5], ARGV[9], digest)
return {'made', '', now, mark, writes, 0}
