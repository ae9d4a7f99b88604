-- Enter lives of a job's shards, and move the job's mark, if the mark is where the caller believes it to be.
-- The third argument of all is '' where no mark is expected. After the named arguments come pairs: member, token ids.
-- Return {moved, members}: 1 and the members that are new, or 0 and nothing.
local ledger, tokens, jobs, left, offers = unpack(KEYS)
local job_key, job, expected, becomes, offer = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6

local mark = redis.call('ZSCORE', ledger, job_key)
-- A job that isn't registered any more is lost, whatever its mark says: no worker that is new to it would find it.
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
    -- A shard that was lost with the mark may be counted still.
    size = size + ARGV[place + 1] - (tonumber(redis.call('HGET', tokens, member)) or 0)
    redis.call('HSET', tokens, member, ARGV[place + 1])
    new[#new + 1] = member
  end
end
redis.call('HINCRBY', tokens, 'total', size)
redis.call('HINCRBY', left, job_key, #new)
redis.call('ZADD', ledger, becomes, job_key)
return {1, new}
