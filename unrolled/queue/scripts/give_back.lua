-- Give up the lease of a shard that isn't done, and revoke the start that was counted for it: "first", "alone" or "none".
-- Its message is about to be sent again.
-- Return 1 if this worker or no worker had the lease, otherwise 0.
local ledger, leases, holders, started, lonely, resent = unpack(KEYS)
local member, holder, start = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6

if not redis.call('ZSCORE', ledger, member) then return 0 end
local found = redis.call('HGET', holders, member)
if found and found ~= holder then return 0 end
redis.call('ZREM', leases, member)
redis.call('HSET', holders, member, '')
if start == 'alone' then
  local count = string.match(redis.call('HGET', lonely, member) or '0 ', '^(%d+) ')
  redis.call('HSET', lonely, member, math.max(0, count - 1) .. ' ')
elseif start == 'first' then
  redis.call('HDEL', started, member)
end
redis.call('ZADD', ledger, 'XX', now, member)
redis.call('SADD', resent, member)
return 1
