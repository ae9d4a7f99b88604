-- Take the lease of a shard, unless another worker has it. The first start is recorded in the same step, so that a
-- worker that dies right afterwards leaves a trace.
-- Return {state, suspect}: the state of a Lease, and 1 for a suspect, otherwise 0.
local ledger, leases, holders, started, lonely, order, later = unpack(KEYS)
local member, holder, lease_seconds = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6

if not redis.call('ZSCORE', ledger, member) then return {'gone', 0} end
local state, expiry = 'taken', redis.call('ZSCORE', leases, member)
if expiry and tonumber(expiry) > now then
  if redis.call('HGET', holders, member) ~= holder then return {'held', 0} end
  state = 'mine'
end
redis.call('ZADD', leases, now + lease_seconds, member)
redis.call('HSET', holders, member, holder)
redis.call('ZREM', order, member)
redis.call('ZREM', later, member)

local starter = redis.call('HGET', started, member)
if not starter then redis.call('HSET', started, member, holder) end
local died_alone = not string.find(redis.call('HGET', lonely, member) or '0 ', '^0 ')
return {state, (starter and starter ~= holder or died_alone) and 1 or 0}
