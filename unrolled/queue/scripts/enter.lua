-- Enter a shard, and register its job, unless they are there.
-- Return 1 where the shard was entered, 0 where it was there.
local ledger, tokens, jobs, models = unpack(KEYS)
local member, size, job_key, job, fingerprint = unpack(ARGV)
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6

redis.call('HSETNX', jobs, job_key, job)
redis.call('SADD', models, fingerprint)
if redis.call('ZADD', ledger, 'NX', now, member) == 0 then return 0 end
redis.call('HSET', tokens, member, size)
redis.call('HINCRBY', tokens, 'total', size)
return 1
