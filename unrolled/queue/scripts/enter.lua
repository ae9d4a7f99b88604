-- Enter lives of a job's shards, and move the job's mark, if the mark has the value that the caller has read.
-- `expected` is '' if no mark is expected, `priority` is '' to leave the job's priority as it is. The arguments after the
-- named ones are pairs: member, number of token ids.
-- Return {moved, members}: 1 and the new members, or 0 and nothing.
local ledger, tokens, jobs, left, offers, order, ranks, priorities, later = unpack(KEYS)
local job_key, job, expected, becomes, offer, priority, normal_priority = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6

local mark = redis.call('ZSCORE', ledger, job_key)
-- A job without a registered place counts as lost, whatever its mark is: no new worker would find it.
if mark and redis.call('HEXISTS', jobs, job_key) == 1 then
  if expected == '' or tonumber(mark) ~= tonumber(expected) then return {0, {}} end
elseif expected ~= '' then
  return {0, {}}
end
if not mark then -- what these say was lost with the mark
  redis.call('HDEL', left, job_key)
  redis.call('HDEL', ranks, job_key)
end
redis.call('HSET', jobs, job_key, job)
redis.call('SADD', offers, offer)
if priority ~= '' then redis.call('HSET', priorities, job_key, priority) end

-- Jobs take turns (start-time fair queueing, Goyal, Vin and Cheng 1996). A job's next shard ranks behind its last one by as
-- much as that one's tokens, divided by the job's priority; but a job that has nothing waiting begins where work is now.
-- Anybody with access to Redis may have written the numbers.
local function number(text, lowest, highest, otherwise)
  local found = tonumber(text or '')
  return found and found >= lowest and found <= highest and found or otherwise
end
local HIGHEST = 2 ^ 52
local weight = number(redis.call('HGET', priorities, job_key), 1, 1e6, tonumber(normal_priority))
local first = redis.call('ZRANGE', order, 0, 0, 'WITHSCORES')
local rank = number(redis.call('HGET', ranks, 'now'), 0, HIGHEST, number(first[2], 0, HIGHEST, 0))
rank = math.max(rank, number(redis.call('HGET', ranks, job_key), 0, HIGHEST, 0))

local new, size = {}, 0
for place = 8, #ARGV, 2 do
  local member = ARGV[place]
  if redis.call('ZADD', ledger, 'NX', now, member) == 1 then
    -- The tokens of a shard that was lost with the mark may still be counted.
    size = size + ARGV[place + 1] - (tonumber(redis.call('HGET', tokens, member)) or 0)
    redis.call('HSET', tokens, member, ARGV[place + 1])
    redis.call('ZADD', order, rank, member)
    redis.call('ZREM', later, member)
    rank = rank + math.ceil(100 * math.max(1, ARGV[place + 1]) / weight)
    new[#new + 1] = member
  end
end
redis.call('HSET', ranks, job_key, rank)
redis.call('HINCRBY', tokens, 'total', size)
redis.call('HINCRBY', left, job_key, #new)
redis.call('ZADD', ledger, becomes, job_key)
return {1, new}
