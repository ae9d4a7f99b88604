"""What changes the ledger: Lua scripts, each of which the server runs whole or not at all.

`KEYS` are those of `ledger.py`: 1 the ledger, 2 tokens, 3 leases, 4 holders, 5 started, 6 lonely, 7 watermark, 8 jobs,
9 the queue's list, 10 resent, 11 swept, 12 entered; SUBMIT and MARK_ENTERED are given fewer. Time is the
server's, in seconds.
"""

NOW = "local t = redis.call('TIME'); local now = t[1] + t[2] / 1e6; "

SUBMIT = (
    NOW
    + """
redis.call('HSETNX', KEYS[3], ARGV[3], ARGV[4])
redis.call('SADD', KEYS[4], ARGV[5])
if redis.call('ZADD', KEYS[1], 'NX', now, ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('HINCRBY', KEYS[2], 'total', ARGV[2])
return 1
"""
)

CLAIM = (
    NOW
    + """
local sent = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not sent then return {'gone', 0} end
local started = redis.call('HGET', KEYS[5], ARGV[1])
local lonely = redis.call('HGET', KEYS[6], ARGV[1]) or '0 '
local suspect = ((started and started ~= ARGV[2]) or not string.find(lonely, '^0 ')) and 1 or 0
local expiry, state = redis.call('ZSCORE', KEYS[3], ARGV[1]), 'taken'
if expiry and tonumber(expiry) > now then
  if redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[2] then return {'held', 0} end
  state = 'mine'
end
redis.call('ZADD', KEYS[3], now + ARGV[3], ARGV[1])
redis.call('HSET', KEYS[4], ARGV[1], ARGV[2])
if redis.call('SISMEMBER', KEYS[10], ARGV[1]) == 0
  and tonumber(sent) > tonumber(redis.call('GET', KEYS[7]) or '0') then redis.call('SET', KEYS[7], sent) end
if not started then redis.call('HSET', KEYS[5], ARGV[1], ARGV[2]) end
return {state, suspect}
"""
)

# Once for each worker: one that starts the shard again hasn't died of it, nor of a reply that got lost.
START_ALONE = """
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
local holder = redis.call('HGET', KEYS[4], ARGV[1]) or ''
local count, last = string.match(redis.call('HGET', KEYS[6], ARGV[1]) or '0 ', '^(%d+) (.*)$')
if holder ~= '' and holder == last then return tonumber(count) end
redis.call('HSET', KEYS[6], ARGV[1], (count + 1) .. ' ' .. holder)
return count + 1
"""

RENEW = (
    NOW
    + """
local lost = {}
for i = 3, #ARGV do
  local holder = redis.call('HGET', KEYS[4], ARGV[i])
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) and (holder == ARGV[1] or not holder) then
    redis.call('ZADD', KEYS[3], now + ARGV[2], ARGV[i])
    redis.call('HSET', KEYS[4], ARGV[i], ARGV[1])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
"""
)

REMOVE = """
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[2], 'total', -tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0'))
for i = 2, 6 do redis.call(i == 3 and 'ZREM' or 'HDEL', KEYS[i], ARGV[1]) end
redis.call('SREM', KEYS[10], ARGV[1])
return 1
"""

# All of a job's shards, running ones too: what their workers publish later is as good as before.
CANCEL = """
local count, prefix = 0, ARGV[1] .. '/'
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.sub(member, 1, #prefix) == prefix then
    redis.call('HINCRBY', KEYS[2], 'total', -tonumber(redis.call('HGET', KEYS[2], member) or '0'))
    for i = 1, 6 do redis.call((i == 1 or i == 3) and 'ZREM' or 'HDEL', KEYS[i], member) end
    redis.call('SREM', KEYS[10], member)
    count = count + 1
  end
end
redis.call('HDEL', KEYS[8], ARGV[1])
redis.call('HDEL', KEYS[12], ARGV[1])
return count
"""

GIVE_BACK = (
    NOW
    + """
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
local holder = redis.call('HGET', KEYS[4], ARGV[1])
if holder and holder ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('HSET', KEYS[4], ARGV[1], '')
if ARGV[3] == 'alone' then
  local count = string.match(redis.call('HGET', KEYS[6], ARGV[1]) or '0 ', '^(%d+) ')
  redis.call('HSET', KEYS[6], ARGV[1], math.max(0, count - 1) .. ' ')
elseif ARGV[3] == 'first' then redis.call('HDEL', KEYS[5], ARGV[1]) end
redis.call('ZADD', KEYS[1], 'XX', now, ARGV[1])
redis.call('SADD', KEYS[10], ARGV[1])
return 1
"""
)

SWEEP = (
    NOW
    + """
local swept = tonumber(redis.call('GET', KEYS[11]) or now)
if now < swept and swept - now <= tonumber(ARGV[4]) then return {} end
if now < swept then
  -- The clock was set back: what lies in the future is as of now.
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf')) do
    redis.call('ZADD', KEYS[1], now, member)
  end
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], now + ARGV[1], '+inf')) do
    redis.call('ZADD', KEYS[3], now + ARGV[1], member)
  end
  if tonumber(redis.call('GET', KEYS[7]) or '0') > now then redis.call('SET', KEYS[7], now) end
end
if now < swept or now - swept > tonumber(ARGV[3]) then
  redis.call('SET', KEYS[11], now + ARGV[4])
  return {}
end
redis.call('SET', KEYS[11], now)
local again = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, ARGV[2])) do
  redis.call('ZREM', KEYS[3], member)
  redis.call('HDEL', KEYS[4], member)
  if redis.call('ZADD', KEYS[1], 'XX', 'CH', now, member) == 1 then again[#again + 1] = member end
end
local horizon = now - ARGV[1]
if redis.call('LLEN', KEYS[9]) > 0 then
  horizon = math.min(horizon, tonumber(redis.call('GET', KEYS[7]) or '0') - 1)
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', horizon, 'LIMIT', 0, ARGV[2])) do
  if not redis.call('ZSCORE', KEYS[3], member) then
    redis.call('ZADD', KEYS[1], now, member)
    again[#again + 1] = member
  end
end
for _, member in ipairs(again) do redis.call('SADD', KEYS[10], member) end
return again
"""
)

MARK_ENTERED = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) end
return 1
"""
