-- Give up the lease of a shard that isn't done, and revoke the start that was counted for it: "first", "alone" or "none".
-- With `at_once` 1 it is the next that is chosen, and its message is about to be sent; with 0 it waits for a lease first.
-- Return 1 if this worker or no worker had the lease, otherwise 0.
local ledger, leases, holders, started, lonely, order, later = unpack(KEYS)
local member, holder, start, at_once, lease_seconds = unpack(ARGV)
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
if at_once == '1' then
  redis.call('ZADD', order, 0, member)
  redis.call('ZREM', later, member)
else
  redis.call('ZREM', order, member)
  redis.call('ZADD', later, now + lease_seconds, member)
end
return 1
