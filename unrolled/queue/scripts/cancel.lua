-- Take a job, its mark and all its shards out of the ledger, also those that a worker holds: it may still publish them.
-- With a limit that isn't '', do nothing unless the job's mark is from 0 to the limit.
-- Return how many shards there were.
local ledger, tokens, leases, holders, started, lonely, resent, jobs, left = unpack(KEYS)
local job_key, limit = unpack(ARGV)

local mark = tonumber(redis.call('ZSCORE', ledger, job_key) or '-1')
if limit ~= '' and (mark < 0 or mark > tonumber(limit)) then return 0 end
-- ZREM and HDEL go first: they work where the server's memory is full, and after them so does the rest.
redis.call('ZREM', ledger, job_key)
redis.call('HDEL', jobs, job_key)
redis.call('HDEL', left, job_key)
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
