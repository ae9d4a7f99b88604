-- Note in which run of the server all waiting shards of a job were entered, unless the job isn't registered: then the
-- server was emptied meanwhile.
-- Return 1 where it was noted, else 0.
local jobs, entered = unpack(KEYS)
local job_key, run = unpack(ARGV)

if redis.call('HEXISTS', jobs, job_key) == 0 then return 0 end
redis.call('HSET', entered, job_key, run)
return 1
