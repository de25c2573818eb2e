-- Note the result of a read of a pending reservation's run, if the reservation is still the one that was read for.
-- KEYS: 1 record  2 pending set
-- ARGV: 1 record  2 member  3 member that replaces it, or '' to remove it  4 when to read next, in ms since 1970
-- Returns: 1 if it was noted, otherwise 0.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[3] ~= ARGV[2] then
  redis.call('ZREM', KEYS[2], ARGV[2])
end
if ARGV[3] ~= '' then
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
end
return 1
