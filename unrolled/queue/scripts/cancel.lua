-- One step of removing a job: remove some of its lives, also those that a worker holds (it may still publish them), and
-- move the job's mark. Between two steps the mark is negative, so that a process that enters the job again, or finds it
-- left here by a process that died, enters everything or removes the job again.
-- Nothing happens unless the mark is from `lowest` to `highest`; with '' any mark is fine, also none. The mark becomes
-- `becomes`; with '' the mark and everything else about the job are removed. The arguments from the fifth on are members.
-- Return how many of the members were in the ledger, or -1 if the mark is out of range.
local ledger, tokens, leases, holders, started, lonely, order, later, jobs, left, ranks, priorities = unpack(KEYS)
local job_key, lowest, highest, becomes = unpack(ARGV)

local mark = tonumber(redis.call('ZSCORE', ledger, job_key) or '')
if lowest ~= '' and (not mark or mark < tonumber(lowest) or mark > tonumber(highest)) then return -1 end
-- ZREM is first: it works when the server's memory is full, and after it the other commands work, too.
redis.call('ZREM', ledger, job_key)
if becomes ~= '' then redis.call('ZADD', ledger, becomes, job_key) end
local count = 0
for place = 5, #ARGV do
  local member = ARGV[place]
  if redis.call('ZREM', ledger, member) == 1 then
    for _, set in ipairs({leases, order, later}) do redis.call('ZREM', set, member) end
    local size = tonumber(redis.call('HGET', tokens, member)) or 0
    for _, hash in ipairs({tokens, holders, started, lonely}) do redis.call('HDEL', hash, member) end
    -- pcall: a count that was overwritten by hand must not keep the shard here.
    redis.pcall('HINCRBY', tokens, 'total', -size)
    redis.pcall('HINCRBY', left, job_key, -1)
    count = count + 1
  end
end
if becomes == '' then
  for _, hash in ipairs({jobs, left, ranks, priorities}) do redis.call('HDEL', hash, job_key) end
end
return count
