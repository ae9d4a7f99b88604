-- Find the shards whose messages must be sent again, and record that they are sent now.
-- Return their members.
local ledger, leases, holders, resent, watermark, swept, queue = unpack(KEYS)
local lease_seconds, limit, silence_seconds, renewal_seconds, pause_seconds = unpack(ARGV)
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
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', leases, now + lease_seconds, '+inf')) do
    redis.call('ZADD', leases, now + lease_seconds, member)
  end
  if tonumber(redis.call('GET', watermark) or '0') > now then redis.call('SET', watermark, now) end
end

-- After a silence the server was away, so leases that expired meanwhile aren't their holders' fault: the holders get time
-- to renew them.
if last > now or now - last > tonumber(silence_seconds) then
  redis.call('SET', swept, now + renewal_seconds)
  return {}
end
redis.call('SET', swept, now)

-- First, shards whose lease has expired.
local again = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, limit)) do
  redis.call('ZREM', leases, member)
  redis.call('HDEL', holders, member)
  if redis.call('ZADD', ledger, 'XX', 'CH', now, member) == 1 then again[#again + 1] = member end
end

-- Then, shards whose message was lost: it was sent more than a lease ago and has left the queue. It has left the queue if
-- the queue is empty, or if a message sent a second later was received. A second, because the messages of two producers
-- may swap places.
local horizon = now - lease_seconds
if redis.call('LLEN', queue) > 0 then
  horizon = math.min(horizon, tonumber(redis.call('GET', watermark) or '0') - 1)
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', ledger, MARKS, horizon, 'LIMIT', 0, limit)) do
  if not redis.call('ZSCORE', leases, member) then
    redis.call('ZADD', ledger, now, member)
    again[#again + 1] = member
  end
end
for _, member in ipairs(again) do redis.call('SADD', resent, member) end
return again
