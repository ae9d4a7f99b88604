-- Find the shards whose message must be sent again, and note that it is sent now.
-- Return their members.
local ledger, leases, holders, resent, watermark, swept, queue = unpack(KEYS)
local lease_seconds, limit, silence_seconds, renewal_seconds = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6

-- `swept` is ahead of now while sweeping waits after a silence. If it is further ahead, the clock was set back, and
-- whatever has a later time gets the present one.
local last = tonumber(redis.call('GET', swept) or now)
if last > now and last - now <= tonumber(renewal_seconds) then return {} end
if last > now then
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', ledger, now, '+inf')) do
    redis.call('ZADD', ledger, now, member)
  end
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', leases, now + lease_seconds, '+inf')) do
    redis.call('ZADD', leases, now + lease_seconds, member)
  end
  if tonumber(redis.call('GET', watermark) or '0') > now then redis.call('SET', watermark, now) end
end

-- After a silence the server was away, so leases that ran out meanwhile are not their holders' fault: they get the time
-- to renew.
if last > now or now - last > tonumber(silence_seconds) then
  redis.call('SET', swept, now + renewal_seconds)
  return {}
end
redis.call('SET', swept, now)

-- First, shards whose lease ran out.
local again = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, limit)) do
  redis.call('ZREM', leases, member)
  redis.call('HDEL', holders, member)
  if redis.call('ZADD', ledger, 'XX', 'CH', now, member) == 1 then again[#again + 1] = member end
end

-- Then, shards whose message was lost: it was sent more than a lease ago and isn't in the queue any more. It isn't if
-- the queue is empty, or if the message of a shard sent a second later was taken up. A second, because the messages of
-- two producers may swap places.
local horizon = now - lease_seconds
if redis.call('LLEN', queue) > 0 then
  horizon = math.min(horizon, tonumber(redis.call('GET', watermark) or '0') - 1)
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', ledger, '-inf', horizon, 'LIMIT', 0, limit)) do
  if not redis.call('ZSCORE', leases, member) then
    redis.call('ZADD', ledger, now, member)
    again[#again + 1] = member
  end
end
for _, member in ipairs(again) do redis.call('SADD', resent, member) end
return again
