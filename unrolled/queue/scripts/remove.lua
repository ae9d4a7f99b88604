-- Remove a shard from the ledger, with everything that is known about it.
-- Return 1 if it was in the ledger, otherwise 0.
local ledger, tokens, leases, holders, started, lonely, order, later, left = unpack(KEYS)
local member, job_key = unpack(ARGV)

-- ZREM is first: it works when the server's memory is full, and after it the other commands work, too.
if redis.call('ZREM', ledger, member) == 0 then return 0 end
for _, set in ipairs({leases, order, later}) do redis.call('ZREM', set, member) end
local size = tonumber(redis.call('HGET', tokens, member)) or 0
for _, hash in ipairs({tokens, holders, started, lonely}) do redis.call('HDEL', hash, member) end
-- pcall: a count that was overwritten by hand must not keep the shard here.
redis.pcall('HINCRBY', tokens, 'total', -size)
redis.pcall('HINCRBY', left, job_key, -1)
return 1
