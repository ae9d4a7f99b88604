-- Enter lives of a job's shards, and move the job's mark, if the mark has the value that the caller has read.
-- `expected` is '' if no mark is expected. The arguments after the named ones are pairs: member, number of token ids.
-- Return {moved, members}: 1 and the new members, or 0 and nothing.
local ledger, tokens, jobs, left, offers = unpack(KEYS)
local job_key, job, expected, becomes, offer = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6

local mark = redis.call('ZSCORE', ledger, job_key)
-- A job without a registered place counts as lost, whatever its mark is: no new worker would find it.
if mark and redis.call('HEXISTS', jobs, job_key) == 1 then
  if expected == '' or tonumber(mark) ~= tonumber(expected) then return {0, {}} end
elseif expected ~= '' then
  return {0, {}}
end
if not mark then redis.call('HDEL', left, job_key) end -- what it counted was lost with the mark
redis.call('HSET', jobs, job_key, job)
redis.call('SADD', offers, offer)
local new, size = {}, 0
for place = 6, #ARGV, 2 do
  local member = ARGV[place]
  if redis.call('ZADD', ledger, 'NX', now, member) == 1 then
    -- The tokens of a shard that was lost with the mark may still be counted.
    size = size + ARGV[place + 1] - (tonumber(redis.call('HGET', tokens, member)) or 0)
    redis.call('HSET', tokens, member, ARGV[place + 1])
    new[#new + 1] = member
  end
end
redis.call('HINCRBY', tokens, 'total', size)
redis.call('HINCRBY', left, job_key, #new)
redis.call('ZADD', ledger, becomes, job_key)
return {1, new}
