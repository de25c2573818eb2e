-- Replace a record if it is still the one that the decision was based on.
-- KEYS: 1 record
-- ARGV: 1 record expected, or '' for none  2 record to write, or '' to delete
--       3 time of expiry in ms since 1970, or '' to leave it unchanged
-- Returns: 1 if the record is now the one to write, otherwise 0.
local found = redis.call('GET', KEYS[1]) or ''
if found == ARGV[2] then
  return 1
end
if found ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
elseif ARGV[3] == '' then
  redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
else
  redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
end
return 1
