-- Read a bucket's mark, and change it if it is the expected one.
-- KEYS: 1 mark
-- ARGV: 1 mark expected, or '' to only read, or '*' for any
--       2 'W' synced | 'L' lost   3 for 'L': ms ago
-- Returns: {mark, time in ms}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local mark = redis.call('GET', KEYS[1])
if not mark or string.sub(mark, 2, 1 + #replid) ~= replid then
  mark = 'L' .. replid .. ':' .. string.format('%.0f', now)
  redis.call('SET', KEYS[1], mark)
end
if ARGV[1] == '' or (ARGV[1] ~= '*' and ARGV[1] ~= mark) then
  return {mark, now}
end
if ARGV[2] == 'W' then
  mark = 'W' .. replid
else
  mark = 'L' .. replid .. ':' .. string.format('%.0f', now - ARGV[3])
end
redis.call('SET', KEYS[1], mark)
return {mark, now}
