-- Take the lease of a shard, unless another worker has it. The first start is recorded in the same step, so that a
-- worker that dies right afterwards leaves a trace.
-- Return {state, suspect}: the state of a Lease, and 1 for a suspect, otherwise 0.
local ledger, leases, holders, started, lonely, resent, watermark = unpack(KEYS)
local member, holder, lease_seconds = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6

local sent = redis.call('ZSCORE', ledger, member)
if not sent then return {'gone', 0} end
local state, expiry = 'taken', redis.call('ZSCORE', leases, member)
if expiry and tonumber(expiry) > now then
  if redis.call('HGET', holders, member) ~= holder then return {'held', 0} end
  state = 'mine'
end
redis.call('ZADD', leases, now + lease_seconds, member)
redis.call('HSET', holders, member, holder)

-- The queue is first in, first out, so messages sent before this one have left it. If the shard's message was sent twice,
-- this may be either of the two, which proves nothing. (A shard that was removed and entered again proves nothing either,
-- but can't be recognised here. At worst, a message is sent again although it wasn't lost.)
if redis.call('SISMEMBER', resent, member) == 0
  and tonumber(sent) > tonumber(redis.call('GET', watermark) or '0') then redis.call('SET', watermark, sent) end

local starter = redis.call('HGET', started, member)
if not starter then redis.call('HSET', started, member, holder) end
local died_alone = not string.find(redis.call('HGET', lonely, member) or '0 ', '^0 ')
return {state, (starter and starter ~= holder or died_alone) and 1 or 0}
