-- Extend the leases of a worker. A lease that expired is taken again, unless another worker holds the shard or it was
-- given back.
-- The arguments from the third on are the members.
-- Return the members that another worker holds, that were given back, or that aren't in the ledger.
local ledger, leases, holders = unpack(KEYS)
local holder, lease_seconds = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6

local lost = {}
for place = 3, #ARGV do
  local member = ARGV[place]
  local found = redis.call('HGET', holders, member)
  if redis.call('ZSCORE', ledger, member) and (found == holder or not found) then
    redis.call('ZADD', leases, now + lease_seconds, member)
    redis.call('HSET', holders, member, holder)
  else
    lost[#lost + 1] = member
  end
end
return lost
