-- Return what has happened in a bucket: its state, new reservations, and the pending ones whose runs are to be read.
-- KEYS: 1 mark  2 head  3 pending set  4 stream
-- ARGV: 1 number of the last reservation that was read  2 most reservations to return  3 most pending ones to return
--       4 ms for which a pending one is not returned again
--       5 id for the data of a bucket that has all records and no id: an older release made it
--       6 ms that are longer than any pause between two reads of a pending one
-- Returns: {mark, time in ms, number of the last write, id of the data or '',
--           if the mark is due to a restart alone the number of the last write before it, otherwise -1,
--           number of the last reservation, digests of reservations, number of the first of them or 0,
--           pending members and their records in turn}
local mark = current_mark(KEYS[1], KEYS[2])
if string.sub(mark, 1, 1) == 'W' then
  redis.call('HSETNX', KEYS[2], 'd', ARGV[5])
end
local head = redis.call('HMGET', KEYS[2], 'n', 'd', 'r', 's', 'm')
local writes, reservations = tonumber(head[1] or 0), tonumber(head[4] or 0)

local digests, first = {}, 0
if reservations > tonumber(ARGV[1]) then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[4], (ARGV[1] + 1) .. '-0', '+', 'COUNT', ARGV[2])) do
    if first == 0 then
      first = tonumber(string.match(entry[1], '^(%d+)'))
    end
    digests[#digests + 1] = entry[2][2]
  end
end

local due = {}
local members = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, ARGV[3])
-- Those that are due later than any pause is long were noted before the clock was set back.
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], now + ARGV[6], '+inf', 'LIMIT', 0, ARGV[3])) do
  members[#members + 1] = member
end
for _, member in ipairs(members) do
  local key = KEYS[1] .. string.sub(member, 1, 16)
  local record = redis.call('GET', key)
  if record and string.byte(record, 2) == 1 then
    redis.call('ZADD', KEYS[3], 'XX', now + ARGV[4], member)
    due[#due + 1] = member
    due[#due + 1] = stamped(key, record)
  else
    redis.call('ZREM', KEYS[3], member)
  end
end
local kept = head[3] == mark and tonumber(head[5]) or -1
return {mark, now, writes, head[2] or '', kept, reservations, digests, first, due}
