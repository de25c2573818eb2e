-- Replace a record if it is still the one that the decision was made for.
-- KEYS: 1 record  2 mark of its bucket  3 head of its bucket  4 pending set  5 stream
-- ARGV: 1 record expected, or '' for none  2 record to write, or '' to delete
--       3 time of expiry in ms since 1970, or '' to leave it unchanged  4 namespace  5 length of the stream
-- Returns: {1 if the store now holds the record that was to be written, otherwise 0, number of the last write, mark}
-- A restart must be noticed before the first write after it.
local mark = current_mark(KEYS[2], KEYS[3])
local digest = string.sub(KEYS[1], -16)
local found = redis.call('GET', KEYS[1]) or ''
if found ~= ARGV[1] and found ~= ARGV[2] then
  return {0, tonumber(redis.call('HGET', KEYS[3], 'n') or 0), mark}
end
if found ~= ARGV[2] then
  if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
  elseif ARGV[3] == '' then
    redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
  else
    redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
  end
  redis.call('HINCRBY', KEYS[3], 'n', 1)
  if found == '' then
    append(KEYS[3], KEYS[5], ARGV[5], digest)
  end
end
redis.call('ZREM', KEYS[4], digest .. '0' .. ARGV[4], digest .. '1' .. ARGV[4])
return {1, tonumber(redis.call('HGET', KEYS[3], 'n') or 0), mark}
