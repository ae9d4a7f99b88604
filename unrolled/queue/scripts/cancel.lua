-- Take a job and all its shards out of the ledger, those on board of a worker too: their parts may still come, and are
-- as good as before.
-- Return how many shards there were.
local ledger, tokens, leases, holders, started, lonely, resent, jobs, entered = unpack(KEYS)
local job_key = unpack(ARGV)

-- HDEL and ZREM go first: they work where the server's memory is full, and after them so does the rest.
redis.call('HDEL', jobs, job_key)
redis.call('HDEL', entered, job_key)
local count, prefix = 0, job_key .. '/'
for _, member in ipairs(redis.call('ZRANGE', ledger, 0, -1)) do
  if string.sub(member, 1, #prefix) == prefix then
    redis.call('ZREM', ledger, member)
    redis.call('ZREM', leases, member)
    redis.call('SREM', resent, member)
    local size = tonumber(redis.call('HGET', tokens, member)) or 0
    for _, hash in ipairs({tokens, holders, started, lonely}) do redis.call('HDEL', hash, member) end
    -- pcall: a count that somebody spoilt must not keep the shard here.
    redis.pcall('HINCRBY', tokens, 'total', -size)
    count = count + 1
  end
end
return count
