-- Take a shard out of the ledger, with all that is known of it.
-- Return 1 where it was there, else 0.
local ledger, tokens, leases, holders, started, lonely, resent = unpack(KEYS)
local member = unpack(ARGV)

-- ZREM goes first: it works where the server's memory is full, and after it so does the rest.
if redis.call('ZREM', ledger, member) == 0 then return 0 end
redis.call('ZREM', leases, member)
redis.call('SREM', resent, member)
local size = tonumber(redis.call('HGET', tokens, member)) or 0
for _, hash in ipairs({tokens, holders, started, lonely}) do redis.call('HDEL', hash, member) end
-- pcall: a count that somebody spoilt must not keep the shard here.
redis.pcall('HINCRBY', tokens, 'total', -size)
return 1
