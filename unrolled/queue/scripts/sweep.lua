-- Find the shards whose messages must be sent again, and record that they are sent now.
-- Return their members.
local ledger, leases, holders, order, later, swept, queue = unpack(KEYS)
local lease_seconds, limit, few, silence_seconds, renewal_seconds, pause_seconds = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6

-- The ledger also has the marks of jobs. Their scores are small; the scores of shards are times.
local MARKS = 1e9

-- Many workers sweep, and one sweep every `pause_seconds` is enough. `swept` is in the future while sweeping waits after a
-- silence. If it is further in the future, the clock was set back, and every later time becomes the present time.
local last = tonumber(redis.call('GET', swept) or now)
if last > now and last - now <= tonumber(renewal_seconds) then return {} end
if last <= now and now - last < tonumber(pause_seconds) and redis.call('EXISTS', swept) == 1 then return {} end
if last > now then
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', ledger, now, '+inf')) do
    redis.call('ZADD', ledger, now, member)
  end
  for _, set in ipairs({leases, later}) do
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', set, now + lease_seconds, '+inf')) do
      redis.call('ZADD', set, now + lease_seconds, member)
    end
  end
end

-- After a silence the server was away, so leases that expired meanwhile aren't their holders' fault: the holders get time
-- to renew them.
if last > now or now - last > tonumber(silence_seconds) then
  redis.call('SET', swept, now + renewal_seconds)
  return {}
end
redis.call('SET', swept, now)

local again = {}
local function send(member)
  redis.call('ZADD', order, 'NX', 0, member) -- its turn has come once, so it is among the next
  again[#again + 1] = member
end

-- First, shards whose lease has expired.
for _, member in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, limit)) do
  redis.call('ZREM', leases, member)
  redis.call('HDEL', holders, member)
  if redis.call('ZADD', ledger, 'XX', 'CH', now, member) == 1 then send(member) end
end

-- Then, shards that were chosen and not claimed, and those that a worker has put off.
for _, member in ipairs(redis.call('ZRANGEBYSCORE', later, '-inf', now, 'LIMIT', 0, limit)) do
  redis.call('ZREM', later, member)
  if not redis.call('ZSCORE', leases, member) and redis.call('ZADD', ledger, 'XX', 'CH', now, member) == 1 then
    send(member)
  end
end

-- Then, shards whose message was lost. Any message serves any shard, so they are noticed when the queue is empty and shards
-- wait that were sent more than a lease ago. While it isn't empty, only shards that no message would reach, because a key
-- was lost, are looked for among the oldest.
local is_empty = redis.call('LLEN', queue) == 0
local horizon = now - lease_seconds
for _, member in ipairs(redis.call('ZRANGEBYSCORE', ledger, MARKS, horizon, 'LIMIT', 0, is_empty and limit or few)) do
  if not redis.call('ZSCORE', leases, member)
    and not redis.call('ZSCORE', later, member)
    and (is_empty or not redis.call('ZSCORE', order, member)) then
    redis.call('ZADD', ledger, now, member)
    send(member)
  end
end
return again
