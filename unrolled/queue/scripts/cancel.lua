-- One step of taking a job out of the ledger: take out some of its lives, also those that a worker holds, since it may still
-- publish them, and move the job's mark. In between the mark is below zero: whoever wants the job back, or finds it left
-- here by a process that died, tells it everything or takes it out again.
-- Nothing is done unless the mark is from `lowest` to `highest`; with '' any will do, and none too. The mark becomes
-- `becomes`; with '' it goes, and with it what is known of the job. The fifth argument and all after it are members.
-- Return how many of them were there, -1 where the mark is another.
local ledger, tokens, leases, holders, started, lonely, resent, jobs, left = unpack(KEYS)
local job_key, lowest, highest, becomes = unpack(ARGV)

local mark = tonumber(redis.call('ZSCORE', ledger, job_key) or '')
if lowest ~= '' and (not mark or mark < tonumber(lowest) or mark > tonumber(highest)) then return -1 end
-- ZREM goes first: it works where the server's memory is full, and after it so does the rest.
redis.call('ZREM', ledger, job_key)
if becomes ~= '' then redis.call('ZADD', ledger, becomes, job_key) end
local count = 0
for place = 5, #ARGV do
  local member = ARGV[place]
  if redis.call('ZREM', ledger, member) == 1 then
    redis.call('ZREM', leases, member)
    redis.call('SREM', resent, member)
    local size = tonumber(redis.call('HGET', tokens, member)) or 0
    for _, hash in ipairs({tokens, holders, started, lonely}) do redis.call('HDEL', hash, member) end
    -- pcall: a count that somebody spoilt must not keep the shard here.
    redis.pcall('HINCRBY', tokens, 'total', -size)
    redis.pcall('HINCRBY', left, job_key, -1)
    count = count + 1
  end
end
if becomes == '' then
  redis.call('HDEL', jobs, job_key)
  redis.call('HDEL', left, job_key)
end
return count
