-- Read the mark of a bucket, and change it if it is the expected one.
-- KEYS: 1 mark  2 head
-- ARGV: 1 mark expected, or '' to only read, or '*' for any
--       2 'W' all records are there again | 'P' the restart has lost nothing | 'L' records are missing
--         | 'J' the clock has jumped ahead
--       3 for 'L': ms ago; for 'W': the new id of the bucket's data; for 'J': the caller's time in ms
-- Returns: {mark, time in ms}
local mark = current_mark(KEYS[1], KEYS[2])
if ARGV[1] == '' or (ARGV[1] ~= '*' and ARGV[1] ~= mark) then
  return {mark, now}
end
if ARGV[2] == 'J' then
  redis.call('HSET', KEYS[2], 'o', string.format('%.0f', ARGV[3] - now))
  return {set_lost(KEYS[1], KEYS[2], mark, now, false), now}
end
if ARGV[2] == 'L' then
  return {set_lost(KEYS[1], KEYS[2], mark, now - ARGV[3], false), now}
end
-- A restart has lost nothing only if nothing else has put the bucket in doubt since.
if ARGV[2] == 'P' and redis.call('HGET', KEYS[2], 'r') ~= mark then
  return {mark, now}
end
if ARGV[2] == 'W' then
  redis.call('HSET', KEYS[2], 'd', ARGV[3])
end
mark = 'W' .. replid
redis.call('SET', KEYS[1], mark)
redis.call('HSET', KEYS[2], 'r', '')
return {mark, now}
