-- Common to the scripts that read the mark of a bucket: the time, the replication id, the mark, and times of records.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')

-- Mark a bucket as lacking records since `at`; the later of two losses counts, and none is in the future.
-- `r` of the head is the mark if it is due to nothing but a restart of a server that had all records, and `m` the number
-- of the last write that the server came back with.
local function set_lost(mark_key, head_key, mark, at, restarted)
  local known = mark and tonumber(string.match(mark, '^L%x+:(%d+)$')) or 0
  mark = 'L' .. replid .. ':' .. string.format('%.0f', math.min(math.max(known, at), now))
  redis.call('SET', mark_key, mark)
  redis.call('HSET', head_key, 'r', restarted and mark or '', 'm', redis.call('HGET', head_key, 'n') or 0)
  return mark
end

-- A server that was restarted, emptied or promoted has another replication id, or no mark: it may have lost records.
local function current_mark(mark_key, head_key)
  local mark = redis.call('GET', mark_key)
  local kind = mark and string.sub(mark, 1, 1)
  if (kind == 'W' or kind == 'L') and string.sub(mark, 2, 1 + #replid) == replid then
    local at = tonumber(string.match(mark, ':(%d+)$'))
    return at and at > now and set_lost(mark_key, head_key, mark, now, false) or mark
  end
  return set_lost(mark_key, head_key, mark, now, kind == 'W')
end

-- If the clock was set back, the lease of a reservation counts from now, and not from the future.
local function stamped(key, record)
  if #record < 8 or struct.unpack('>I6', record, 3) <= now then
    return record
  end
  record = string.sub(record, 1, 2) .. struct.pack('>I6', now) .. string.sub(record, 9)
  redis.call('SET', key, record, 'KEEPTTL')
  return record
end

-- Tell the servers that follow the bucket that a record was made.
local function append(head_key, stream_key, length, digest)
  local number = redis.call('HINCRBY', head_key, 's', 1)
  -- An eviction can take the head and leave the stream: its numbers are then too high.
  local added = redis.pcall('XADD', stream_key, 'MAXLEN', '~', length, number .. '-1', 'd', digest)
  if type(added) == 'table' and added.err then
    redis.call('DEL', stream_key)
    redis.call('XADD', stream_key, number .. '-1', 'd', digest)
  end
end
